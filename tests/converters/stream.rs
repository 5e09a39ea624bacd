//! Adaptive streams, played by ffmpeg as a player would.

use crate::support::av::{codec, duration_s, ffprobe, frames, size};
use crate::support::direct::{Run, fails, fixture, tool};
use crate::support::jailed::Jailed;
use millrace::converters;
use millrace::failure::Code;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Five seconds of moving picture with sound, below the folder of the run.
fn film(run: &Run, size: &str) -> PathBuf {
    let file = run.folder.path().join("film.mp4");
    let picture = format!("testsrc2=size={size}:rate=25:duration=5");
    let sound = "sine=frequency=440:sample_rate=48000:duration=5";
    let encoders = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "300", "-c:a", "aac"];
    let mut arguments = vec!["-v", "error", "-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", sound];
    arguments.extend(encoders);
    let path = file.to_string_lossy().into_owned();
    arguments.push(&path);
    tool("ffmpeg", &arguments);
    file
}

fn stream(run: &Run, film: &Path, to: &str, options: Value) -> (Vec<String>, PathBuf) {
    let (produced, dir) = run.convert(film, to, options).unwrap();
    (produced.files.into_iter().map(|f| f.name).collect(), dir)
}

/// Each video stream's pictures as (time in ms, whether it is a keyframe).
fn pictures(playlist: &Path, stream: usize) -> Vec<(i64, bool)> {
    let (select, file) = (format!("v:{stream}"), playlist.to_string_lossy().into_owned());
    let told = tool("ffprobe", &["-v", "error", "-select_streams", &select, "-show_entries", "packet=pts_time,flags", "-of", "csv=p=0", &file]);
    let mut all: Vec<(i64, bool)> = told
        .lines()
        .map(|line| {
            let (time, flags) = line.split_once(',').unwrap();
            ((time.parse::<f64>().unwrap() * 1000.0).round() as i64, flags.starts_with('K'))
        })
        .collect();
    all.sort();
    all
}

/// Every rung has all pictures, with keyframes where segments begin, and the sound is as long.
fn plays(entry: &Path, heights: &[u64], segment_ms: i64) {
    let probed = ffprobe(entry);
    let videos: Vec<u64> =
        probed["streams"].as_array().unwrap().iter().filter(|s| s["codec_type"] == "video").map(|s| s["height"].as_u64().unwrap()).collect();
    assert_eq!(videos, heights);
    assert!((duration_s(&probed) - 5.0).abs() < 0.1, "{}", duration_s(&probed));
    assert_eq!(codec(&probed, "audio"), "aac");
    for stream in 0..heights.len() {
        let seen = pictures(entry, stream);
        assert_eq!(seen.len(), 125, "rung {stream}");
        let start = seen[0].0;
        assert!(seen.windows(2).all(|w| w[1].0 - w[0].0 == 40), "rung {stream} has gaps");
        for segment in 0..=(4999 / segment_ms) {
            assert!(seen.contains(&(start + segment * segment_ms, true)), "rung {stream}: no keyframe at segment {segment}");
        }
    }
    // All of it decodes without a word.
    assert_eq!(tool("ffmpeg", &["-v", "error", "-i", &entry.to_string_lossy(), "-map", "0", "-f", "null", "-"]), "");
}

#[test]
fn a_ladder_is_made_of_one_decoding() {
    let run = Run::new();
    let film = film(&run, "640x360");
    let options = json!({"ladder": [{"height": 180, "bitrate": "150k"}, {"height": 360}], "segment": 2, "preset": "ultrafast"});
    let (names, dir) = stream(&run, &film, "hls", options.clone());
    assert_eq!(names[0], "result/master.m3u8");
    for wanted in ["result/360p.m3u8", "result/180p.m3u8", "result/sound.m3u8", "result/360p_init.mp4", "result/180p_00002.m4s"] {
        assert!(names.contains(&wanted.to_owned()), "{names:?} lacks {wanted}");
    }
    plays(&dir.join("master.m3u8"), &[360, 180], 2000);
    let master = std::fs::read_to_string(dir.join("master.m3u8")).unwrap();
    assert!(master.contains("RESOLUTION=640x360") && master.contains("RESOLUTION=320x180") && master.contains("TYPE=AUDIO"), "{master}");
    assert!(master.contains("avc1.") && master.contains("mp4a."), "{master}");
    let playlist = std::fs::read_to_string(dir.join("180p.m3u8")).unwrap();
    assert!(playlist.contains("#EXT-X-PLAYLIST-TYPE:VOD") && playlist.contains("#EXT-X-ENDLIST") && playlist.contains("#EXT-X-MAP"), "{playlist}");
    assert_eq!(playlist.matches("#EXTINF:").count(), 3);
    for line in master.lines().filter(|l| l.contains("STREAM-INF")) {
        let number = |name: &str| line.split(name).nth(1).unwrap().split(',').next().unwrap().parse::<u64>().unwrap();
        let (peak, average) = (number(":BANDWIDTH="), number(",AVERAGE-BANDWIDTH="));
        assert!(peak >= average && average > 70_000 && line.contains("FRAME-RATE=25.000"), "{line}");
    }
    // No path of this machine gets into what a player is given.
    assert!(!playlist.contains(&*dir.to_string_lossy()) && !master.contains('/'));
    // The small rung keeps to its bit rate.
    let bytes: u64 = std::fs::read_dir(&dir)
        .unwrap()
        .flatten()
        .filter(|f| f.file_name().to_string_lossy().starts_with("180p_"))
        .map(|f| f.metadata().unwrap().len())
        .sum();
    // And to what its buffer of two seconds may hold beyond.
    assert!(bytes * 8 < 150_000 * (5 + 2), "{bytes}");
    let (names, dir) = stream(&run, &film, "dash", options);
    assert_eq!(names[0], "result/manifest.mpd");
    plays(&dir.join("manifest.mpd"), &[360, 180], 2000);
    assert!(!std::fs::read_to_string(dir.join("manifest.mpd")).unwrap().contains(&*dir.to_string_lossy()));
}

/// A film that speaks German and French, with a second French track and subtitles in two languages.
fn of_many_tongues(run: &Run) -> PathBuf {
    let at = |name: &str| run.folder.path().join(name).to_string_lossy().into_owned();
    for (name, said) in [("de.srt", "Guten Tag."), ("fr.srt", "Bonjour.")] {
        std::fs::write(at(name), format!("1\n00:00:01,000 --> 00:00:02,500\n{said}\n")).unwrap();
    }
    let mut arguments = ["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25:duration=5"].map(str::to_owned).to_vec();
    for hertz in [440, 550, 660] {
        arguments.extend(["-f", "lavfi", "-i"].map(str::to_owned));
        arguments.push(format!("sine=frequency={hertz}:sample_rate=48000:duration=5"));
    }
    let (de, fr, file) = (at("de.srt"), at("fr.srt"), at("tongues.mkv"));
    let rest = [
        "-i",
        &de,
        "-i",
        &fr,
        "-map",
        "0",
        "-map",
        "1",
        "-map",
        "2",
        "-map",
        "3",
        "-map",
        "4",
        "-map",
        "5",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-c:a",
        "aac",
        "-c:s",
        "srt",
        "-metadata:s:a:0",
        "language=ger",
        "-metadata:s:a:1",
        "language=fre",
        "-metadata:s:a:2",
        "language=fre",
        "-metadata:s:a:2",
        "title=\"Le réalisateur\"",
        "-metadata:s:s:0",
        "language=ger",
        "-metadata:s:s:1",
        "language=fre",
        "-disposition:a:0",
        "0",
        "-disposition:a:1",
        "default",
        &file,
    ];
    arguments.extend(rest.map(str::to_owned));
    tool("ffmpeg", &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    PathBuf::from(file)
}

#[test]
fn tracks_are_there_to_choose_from() {
    let run = Run::new();
    let film = of_many_tongues(&run);
    let options = json!({"ladder": [{"height": 90}], "segment": 2, "preset": "ultrafast"});
    let (names, dir) = stream(&run, &film, "hls", options.clone());
    let master = std::fs::read_to_string(dir.join("master.m3u8")).unwrap();
    for wanted in [
        // The default one comes first.
        r#"TYPE=AUDIO,GROUP-ID="sound",NAME="français",LANGUAGE="fr",DEFAULT=YES,AUTOSELECT=YES,URI="sound-fr.m3u8""#,
        r#"TYPE=AUDIO,GROUP-ID="sound",NAME="Deutsch",LANGUAGE="de",DEFAULT=NO,AUTOSELECT=YES,URI="sound-de.m3u8""#,
        r#"TYPE=AUDIO,GROUP-ID="sound",NAME="Le réalisateur",LANGUAGE="fr",DEFAULT=NO,AUTOSELECT=YES,URI="sound-fr-2.m3u8""#,
        r#"TYPE=SUBTITLES,GROUP-ID="words",NAME="Deutsch",LANGUAGE="de",DEFAULT=NO,AUTOSELECT=YES,URI="words-de.m3u8""#,
        r#"AUDIO="sound",SUBTITLES="words""#,
    ] {
        assert!(master.contains(wanted), "{wanted}:\n{master}");
    }
    assert!(names.contains(&"result/words-fr.vtt".to_owned()), "{names:?}");
    assert!(std::fs::read_to_string(dir.join("words-fr.vtt")).unwrap().contains("Bonjour."));
    let probed = ffprobe(&dir.join("master.m3u8"));
    let kinds = |kind: &str| probed["streams"].as_array().unwrap().iter().filter(|s| s["codec_type"] == kind).count();
    // This FFmpeg passes over subtitles in a master playlist; their files it reads.
    assert_eq!((kinds("video"), kinds("audio")), (1, 3));
    let words = std::fs::read_to_string(dir.join("words-de.m3u8")).unwrap();
    assert!(words.contains("#EXT-X-TARGETDURATION:6\n") && words.contains("\nwords-de.vtt\n#EXT-X-ENDLIST"), "{words}");
    assert_eq!(codec(&ffprobe(&dir.join("words-de.vtt")), "subtitle"), "webvtt");
    assert_eq!(tool("ffmpeg", &["-v", "error", "-i", &dir.join("master.m3u8").to_string_lossy(), "-map", "0", "-f", "null", "-"]), "");

    let (_, dir) = stream(&run, &film, "dash", options.clone());
    let manifest = std::fs::read_to_string(dir.join("manifest.mpd")).unwrap();
    assert_eq!(manifest.matches("contentType=\"audio\"").count(), 3, "{manifest}");
    for wanted in ["lang=\"fre\"", "lang=\"ger\"", "mimeType=\"text/vtt\" lang=\"de\"", "<BaseURL>words-fr.vtt</BaseURL>"] {
        assert!(manifest.contains(wanted), "{wanted}:\n{manifest}");
    }
    roxmltree::Document::parse(&manifest).unwrap();

    let mut few = options;
    few["streams"] = json!({"audio": "de", "subtitles": [1]});
    let (names, dir) = stream(&run, &film, "hls", few.clone());
    let master = std::fs::read_to_string(dir.join("master.m3u8")).unwrap();
    assert_eq!((master.matches("TYPE=AUDIO").count(), master.matches("TYPE=SUBTITLES").count()), (1, 1), "{master}");
    assert!(master.contains("NAME=\"Deutsch\",LANGUAGE=\"de\",DEFAULT=YES"), "{master}");
    assert!(names.contains(&"result/sound.m3u8".to_owned()), "one alone has the plain name: {names:?}");
    few["subtitles"] = json!("drop");
    let (names, _) = stream(&run, &film, "hls", few.clone());
    assert!(!names.iter().any(|name| name.contains("words")), "{names:?}");
    few["streams"]["audio"] = json!("tr");
    fails(run.convert(&film, "hls", few), Code::InvalidOption);
}

#[test]
fn every_codec_cuts_where_segments_begin() {
    let run = Run::new();
    let film = film(&run, "320x180");
    for codec in ["vp9", "av1", "hevc"] {
        let options = json!({"codec": codec, "ladder": [{"height": 180}, {"height": 90}], "segment": 2, "preset": "ultrafast"});
        let (_, dir) = stream(&run, &film, "dash", options);
        plays(&dir.join("manifest.mpd"), &[180, 90], 2000);
    }
}

#[test]
fn segments_may_be_parts_of_one_file() {
    let run = Run::new();
    let film = film(&run, "320x180");
    let options = json!({"ladder": [{"height": 180}, {"height": 90}], "segment": 2, "preset": "ultrafast", "single_file": true});
    let (names, dir) = stream(&run, &film, "hls", options.clone());
    assert_eq!(names.iter().filter(|n| n.ends_with(".mp4")).count(), 3, "{names:?}");
    assert!(std::fs::read_to_string(dir.join("90p.m3u8")).unwrap().contains("#EXT-X-BYTERANGE"));
    plays(&dir.join("master.m3u8"), &[180, 90], 2000);
    let (names, dir) = stream(&run, &film, "dash", options);
    assert_eq!(names.len(), 4, "{names:?}");
    // This FFmpeg's own reader of DASH goes round for ever in such files, so each is played by itself.
    for (track, height) in [("track0.mp4", 180), ("track1.mp4", 90)] {
        assert_eq!(size(&ffprobe(&dir.join(track))), (height * 16 / 9, height));
        assert_eq!(pictures(&dir.join(track), 0).len(), 125);
    }
    let manifest = std::fs::read_to_string(dir.join("manifest.mpd")).unwrap();
    assert!(manifest.contains("track2.mp4") && manifest.contains("mediaRange="), "{manifest}");
}

#[test]
fn the_usual_sizes_follow_the_film() {
    let run = Run::new();
    // Upright, and without sound.
    let file = run.folder.path().join("upright.mp4");
    tool("ffmpeg", &["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=270x480:rate=10:duration=2", "-pix_fmt", "yuv420p", &file.to_string_lossy()]);
    let (names, dir) = stream(&run, &file, "hls", json!({"preset": "ultrafast"}));
    assert!(names.contains(&"result/240p.m3u8".to_owned()) && !names.iter().any(|n| n.contains("sound") || n.contains("360p")), "{names:?}");
    assert_eq!(size(&ffprobe(&dir.join("master.m3u8"))), (240, 426));
    let (names, dir) =
        stream(&run, &fixture("video/mp4/good/clip.mp4"), "dash", json!({"codec": "vp9", "preset": "ultrafast", "audio": {"codec": "opus"}}));
    assert_eq!(names[0], "result/manifest.mpd");
    let probed = ffprobe(&dir.join("manifest.mpd"));
    assert_eq!((codec(&probed, "video"), codec(&probed, "audio")), ("vp9".into(), "opus".into()));
}

#[test]
fn every_film_becomes_a_stream_in_the_jail() {
    let (_, converter) = converters::by_id("video.stream").unwrap();
    for (left, right) in converter.spec.pairs {
        for from in *left {
            for to in *right {
                let jailed = Jailed::new();
                let source = fixture(&format!("video/{from}/good/clip.{from}"));
                let (produced, dir) = jailed.convert(&source, to, json!({"preset": "ultrafast"})).unwrap_or_else(|e| panic!("{from} to {to}: {e:?}"));
                let entry = dir.join(&produced.files[0].file);
                let (after, before) = (pictures(&entry, 0).len(), frames(&source));
                assert!(after.abs_diff(before) <= 2, "{from} to {to}: {before} pictures became {after}");
            }
        }
    }
}

#[test]
fn wrong_ladders_are_named() {
    let (_, converter) = converters::by_id("video.stream").unwrap();
    for (options, field) in [
        (json!({"ladder": []}), "ladder"),
        (json!({"ladder": "all"}), "ladder"),
        (json!({"ladder": [{"height": 20}]}), "ladder[0].height"),
        (json!({"ladder": [{"height": 360}, {"height": 360}]}), "ladder[1].height"),
        (json!({"segment": 0.5}), "segment"),
        (json!({"codec": "copy"}), "codec"),
    ] {
        assert_eq!((converter.check)(&options).expect_err("accepted").field, field, "{options}");
    }
    let run = Run::new();
    fails(run.convert(&fixture("video/mp4/good/clip.mp4"), "hls", json!({"codec": "vp9"})), Code::InvalidOption);
    fails(run.convert(&fixture("video/mp4/broken/sound_only.mp4"), "hls", json!({})), Code::UnsupportedConversion);
}
