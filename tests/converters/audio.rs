//! The audio family.

use crate::support::av::{codec, duration_s, ffprobe, packets, samples, stream};
use crate::support::direct::{Run, fails, fixture, tool};
use crate::support::jailed::Jailed;
use millrace::convert::Depth;
use millrace::converters;
use millrace::failure::Code;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A good file of each input format.
pub(super) fn good(format: &str) -> PathBuf {
    match format {
        "amr" => fixture("audio/amr/good/silence.amr"),
        "mp4" | "mov" | "mkv" | "webm" | "avi" | "flv" | "wmv" | "mpg" | "ts" | "3gp" | "ogv" | "mxf" => {
            fixture(&format!("video/{format}/good/clip.{format}"))
        }
        other => fixture(&format!("audio/{other}/good/tone.{other}")),
    }
}

pub(super) fn rate(probed: &Value) -> f64 {
    stream(probed, "audio").unwrap()["sample_rate"].as_str().unwrap().parse().unwrap()
}

#[test]
fn every_pair_converts() {
    let (_, converter) = converters::by_id("audio.transcode").unwrap();
    for (left, right) in converter.spec.pairs {
        for from in *left {
            let source = good(from);
            // Windows Media's decoder drops its first frames; their time stays.
            let asf = |format: &str| format.starts_with("wm");
            let probed = ffprobe(&source);
            let (before, own) = (rate(&probed), codec(&probed, "audio"));
            let length = if asf(from) { 1.207 } else { samples(&source) as f64 / before };
            for to in *right {
                let run = Run::new();
                let about = format!("{from} to {to}");
                let (produced, dir) = run.convert(&source, to, json!({})).unwrap_or_else(|e| panic!("{about}: {e:?}"));
                let file = dir.join(&produced.files[0].file);
                let found = ffprobe(&file);
                let wanted = match *to {
                    "m4a" => "aac",
                    "ogg" => "vorbis",
                    "wav" => "pcm_s16le",
                    "aiff" => "pcm_s16be",
                    "wma" => "wmav2",
                    "webm" if own == "vorbis" => "vorbis",
                    "webm" => "opus",
                    // Which takes nearly everything as it is, if it has its times.
                    "mka" if *from == "mpg" => "opus",
                    "mka" => match own.as_str() {
                        copied @ ("aac" | "mp3" | "mp2" | "ac3" | "dts" | "opus" | "vorbis" | "flac" | "pcm_s16le") => copied,
                        _ => "opus",
                    },
                    other => other,
                };
                assert_eq!(codec(&found, "audio"), wanted, "{about}");
                let after = samples(&file) as f64 / rate(&found);
                // Raw AAC, raw AC-3 and Windows Media have no place to say what their encoders put in front.
                let loose = [asf(from), asf(to), ["aac", "ac3"].contains(to)].into_iter().filter(|loose| *loose).count();
                let frame = (loose as f64 * 2100.0).max(1152.0) / rate(&found).min(before);
                assert!((after - length).abs() <= frame + 0.001, "{about}: {length} s became {after} s");
                let media = run.probe(&file, Depth::Proof).unwrap_or_else(|e| panic!("{about}: {e:?}"));
                let (expect, found) = (&produced.files[0].expect, media.duration_ms.unwrap());
                let wanted = expect.duration_ms.unwrap();
                assert!(found.abs_diff(wanted) <= expect.duration_tolerance_ms, "{about}: {found} ms, not {wanted}");
            }
        }
    }
}

#[test]
fn options_do_what_they_say() {
    let run = Run::new();
    let convert = |to: &str, options: Value| ffprobe(&run.file(&good("wav"), to, options).unwrap());
    for (to, channels, hz) in
        [("mp3", 2, "44100"), ("m4a", 2, "16000"), ("opus", 1, "48000"), ("ogg", 2, "32000"), ("flac", 2, "96000"), ("wav", 2, "8000")]
    {
        let found = convert(to, json!({"channels": channels, "sample_rate": hz.parse::<u32>().unwrap()}));
        let sound = stream(&found, "audio").unwrap();
        assert_eq!((sound["channels"].as_u64(), sound["sample_rate"].as_str()), (Some(channels), Some(hz)), "{to}");
        assert!((duration_s(&found) - 1.2).abs() < 0.1, "{to}");
    }
    let bytes = |to: &str, options: Value| std::fs::metadata(run.file(&good("flac"), to, options).unwrap()).unwrap().len();
    for to in ["mp3", "m4a", "opus"] {
        assert!(bytes(to, json!({"bitrate": "32k"})) * 3 < bytes(to, json!({"bitrate": 160000})) * 2, "{to}");
        assert!(bytes(to, json!({"quality": 1})) < bytes(to, json!({"quality": 10})), "{to}");
    }
    let mp3 = ffprobe(&run.file(&good("flac"), "mp3", json!({"bitrate": "96k", "channels": 1})).unwrap());
    assert_eq!(stream(&mp3, "audio").unwrap()["bit_rate"], "96000");
    let deep = ffprobe(&run.file(&fixture("audio/wav/odd/deep.wav"), "flac", json!({})).unwrap());
    assert_eq!(stream(&deep, "audio").unwrap()["bits_per_raw_sample"], "24");
    let alac = ffprobe(&run.file(&good("wav"), "m4a", json!({"codec": "alac"})).unwrap());
    assert_eq!(codec(&alac, "audio"), "alac");
    for to in ["mp3", "m4a", "opus", "ogg", "wav"] {
        let low = ffprobe(&run.file(&fixture("audio/wav/odd/mono_8k.wav"), to, json!({})).unwrap());
        assert_eq!(stream(&low, "audio").unwrap()["channels"], 1, "{to}");
        let around = ffprobe(&run.file(&fixture("audio/flac/odd/surround.flac"), to, json!({})).unwrap());
        assert_eq!(stream(&around, "audio").unwrap()["channels"], if to == "mp3" { 2 } else { 6 }, "{to}");
    }
    fails(run.file(&good("wav"), "mp3", json!({"codec": "opus"})), Code::InvalidOption);
}

#[test]
fn bit_rates_out_of_reach_become_the_nearest() {
    let run = Run::new();
    for (source, channels, hz) in [("wav/odd/mono_8k.wav", 1, 8000), ("wav/good/tone.wav", 1, 22050), ("flac/odd/surround.flac", 6, 44100)] {
        let source = fixture(&format!("audio/{source}"));
        for to in ["mp3", "m4a", "opus", "ogg", "ac3", "wma", "aac"] {
            for bitrate in [6000, 160_000, 3_000_000] {
                let about = format!("{} to {to} at {bitrate}", source.display());
                let (produced, dir) = run.convert(&source, to, json!({"bitrate": bitrate})).unwrap_or_else(|e| panic!("{about}: {e:?}"));
                assert!(samples(&dir.join(&produced.files[0].file)) > 0, "{about}");
                assert!(bitrate < 3_000_000 || produced.warnings.iter().any(|w| w.contains("bit rate")), "{about}: {:?}", produced.warnings);
            }
        }
        for (channels, hz) in [(channels, hz), (2, 48000)] {
            for codec in ["mp2", "vorbis"] {
                let options = json!({"codec": codec, "bitrate": 1_000_000, "channels": channels, "sample_rate": hz});
                run.file(&source, "mka", options).unwrap_or_else(|e| panic!("{codec} {channels} {hz}: {e:?}"));
            }
        }
    }
    let (produced, _) = run.convert(&good("wav"), "ogg", json!({"bitrate": "160k"})).unwrap();
    assert!(produced.warnings[0].contains("became 90000, not 160000"), "{:?}", produced.warnings);
    let (produced, _) = run.convert(&good("flac"), "mp3", json!({"bitrate": "128k"})).unwrap();
    assert_eq!(produced.warnings, Vec::<String>::new());
}

#[test]
fn lossless_sound_is_as_deep_as_asked() {
    let run = Run::new();
    let deep = fixture("audio/wav/odd/deep.wav");
    for (to, bits, wanted) in [
        ("wav", 16, "pcm_s16le"),
        ("wav", 24, "pcm_s24le"),
        ("wav", 32, "pcm_f32le"),
        ("aiff", 16, "pcm_s16be"),
        ("aiff", 24, "pcm_s24be"),
        ("aiff", 32, "pcm_f32be"),
        ("flac", 16, "flac"),
    ] {
        let found = ffprobe(&run.file(&deep, to, json!({"bit_depth": bits})).unwrap());
        assert_eq!(codec(&found, "audio"), wanted, "{to} {bits}");
        if to == "flac" {
            assert_eq!(stream(&found, "audio").unwrap()["bits_per_raw_sample"], "16");
        }
    }
    fails(run.file(&deep, "flac", json!({"bit_depth": 32})), Code::InvalidOption);
}

#[test]
fn tags_are_set_kept_and_stripped() {
    let run = Run::new();
    let song = fixture("audio/mp3/odd/tags.mp3");
    let tags = |to: &str, options: Value| {
        let probed = ffprobe(&run.file(&song, to, options).unwrap());
        let format = probed["format"]["tags"].as_object().cloned().unwrap_or_default();
        let stream = stream(&probed, "audio").unwrap()["tags"].as_object().cloned().unwrap_or_default();
        format.into_iter().chain(stream).map(|(key, value)| (key.to_lowercase(), value)).collect::<serde_json::Map<_, _>>()
    };
    for to in ["mp3", "m4a", "opus", "ogg", "flac", "mka", "wma"] {
        let found = tags(to, json!({"tags": {"title": "One=two; 三", "track": "3/12", "date": "2026"}}));
        assert_eq!((found["title"].as_str(), found["artist"].as_str()), (Some("One=two; 三"), Some("Ж")), "{to}");
        assert!(found.get("track").or(found.get("track number")).is_some_and(|t| t.as_str().unwrap().starts_with('3')), "{to}: {found:?}");
        let found = tags(to, json!({"metadata": "strip", "tags": {"album": "Only this"}}));
        assert_eq!((found["album"].as_str(), found.get("artist"), found.get("title")), (Some("Only this"), None, None), "{to}");
    }
    let (_, converter) = converters::by_id("audio.transcode").unwrap();
    for (options, field) in [
        (json!({"tags": {"title": "a\nb"}}), "tags.title"),
        (json!({"tags": {"album": "x".repeat(1001)}}), "tags.album"),
        (json!({"tags": {"encoder": "x"}}), "tags.encoder"),
    ] {
        assert_eq!((converter.check)(&options).expect_err("accepted").field, field, "{options}");
    }
}

#[test]
fn a_cover_comes_along_where_there_is_room() {
    let run = Run::new();
    let song = fixture("audio/mp3/odd/cover.mp3");
    let picture = |file: &Path| tool("ffmpeg", &["-v", "error", "-i", &file.to_string_lossy(), "-map", "0:v:0", "-f", "framehash", "-"]);
    for (to, options) in [("mp3", json!({})), ("mp3", json!({"bitrate": "48k"})), ("m4a", json!({})), ("flac", json!({"trim": {"start": 0.5}}))] {
        let (produced, dir) = run.convert(&song, to, options).unwrap();
        let file = dir.join(&produced.files[0].file);
        assert_eq!(stream(&ffprobe(&file), "video").unwrap()["disposition"]["attached_pic"], 1, "{to}");
        assert_eq!(picture(&file).lines().last(), picture(&song).lines().last(), "{to}");
        assert_eq!(produced.warnings, Vec::<String>::new(), "{to}");
        run.probe(&file, Depth::Proof).unwrap();
    }
    for to in ["mp3", "m4a", "flac"] {
        let (produced, dir) = run.convert(&song, to, json!({"cover": "strip"})).unwrap();
        assert_eq!(stream(&ffprobe(&dir.join(&produced.files[0].file)), "video"), None, "{to}");
        assert_eq!(produced.warnings, Vec::<String>::new(), "{to}");
    }
    let (produced, _) = run.convert(&song, "ogg", json!({})).unwrap();
    assert!(produced.warnings[0].contains("cover art"), "{:?}", produced.warnings);
}

#[test]
fn wrong_options_are_named() {
    let (_, converter) = converters::by_id("audio.transcode").unwrap();
    for (options, field) in [
        (json!({"quality": 11}), "quality"),
        (json!({"channels": 0}), "channels"),
        (json!({"sample_rate": 1}), "sample_rate"),
        (json!({"bitrate": "1k"}), "bitrate"),
        (json!({"trim": {"end": 0}}), "trim.end"),
        (json!({"filter": "amovie=/etc/passwd"}), "filter"),
    ] {
        assert_eq!((converter.check)(&options).expect_err("accepted").field, field, "{options}");
    }
}

#[test]
fn lossless_is_lossless() {
    let run = Run::new();
    let raw = |file: &std::path::Path| {
        std::process::Command::new("ffmpeg").args(["-v", "error", "-i", &file.to_string_lossy(), "-f", "s16le", "-"]).output().unwrap().stdout
    };
    let wanted = raw(&good("wav"));
    assert!(wanted.len() > 40_000);
    for (to, options) in [("flac", json!({})), ("wav", json!({"copy": "never"})), ("m4a", json!({"codec": "alac"}))] {
        assert_eq!(raw(&run.file(&good("wav"), to, options).unwrap()), wanted, "{to}");
    }
}

#[test]
fn what_fits_is_copied() {
    let run = Run::new();
    for (from, to) in [
        ("m4a", "m4a"),
        ("mp4", "m4a"),
        ("mov", "m4a"),
        ("webm", "opus"),
        ("opus", "opus"),
        ("mka", "ogg"),
        ("flac", "flac"),
        ("mp3", "mp3"),
        ("avi", "mp3"),
    ] {
        let file = run.file(&good(from), to, json!({})).unwrap();
        assert_eq!(packets(&file, "a"), packets(&good(from), "a"), "{from} to {to}");
    }
    assert!(run.listener.log.lock().unwrap().iter().any(|l| l.contains("is copied")));
    let file = run.file(&good("m4a"), "m4a", json!({"copy": "never"})).unwrap();
    assert_ne!(packets(&file, "a"), packets(&good("m4a"), "a"));
    fails(run.file(&good("wav"), "mp3", json!({"copy": "always"})), Code::InvalidOption);
}

#[test]
fn trimming_is_to_the_sample() {
    let run = Run::new();
    for (from, to) in [("wav", "flac"), ("mp3", "wav"), ("m4a", "wav"), ("mp4", "flac"), ("opus", "wav")] {
        let file = run.file(&good(from), to, json!({"trim": {"start": "0.25", "duration": 0.5}})).unwrap();
        let wanted = rate(&ffprobe(&file)) / 2.0;
        assert!((samples(&file) as f64 - wanted).abs() <= 2.0, "{from}: {} of {wanted}", samples(&file));
    }
    let file = run.file(&good("wav"), "wav", json!({"trim": {"end": "00:00:01"}})).unwrap();
    assert!(samples(&file).abs_diff(22050) <= 1024, "{}", samples(&file));
}

#[test]
fn tags_go_as_asked() {
    let run = Run::new();
    let title = |value: &Value| {
        let tags = [&value["format"]["tags"], &value["streams"][0]["tags"]];
        tags.into_iter().flat_map(|t| [t["title"].as_str(), t["TITLE"].as_str()]).flatten().next().map(str::to_owned)
    };
    for to in ["mp3", "m4a", "opus", "ogg", "flac", "wav"] {
        let source = fixture("audio/mp3/odd/tags.mp3");
        let kept = ffprobe(&run.file(&source, to, json!({})).unwrap());
        assert_eq!(title(&kept).as_deref(), Some("Мельница 水车"), "{to}");
        let stripped = ffprobe(&run.file(&source, to, json!({"metadata": "strip"})).unwrap());
        assert_eq!(title(&stripped), None, "{to}");
    }
    let media = run.probe(&fixture("audio/mp3/odd/tags.mp3"), Depth::Header).unwrap();
    assert_eq!(media.tags.get("artist").map(String::as_str), Some("Ж"));
    let (produced, _) = run.convert(&fixture("audio/mp3/odd/cover.mp3"), "opus", json!({})).unwrap();
    assert!(produced.warnings.iter().any(|w| w.contains("cover art")), "{:?}", produced.warnings);
}

#[test]
fn silence_is_told_from_sound() {
    let run = Run::new();
    let failure = fails(run.file(&fixture("video/mp4/odd/silent.mp4"), "mp3", json!({})), Code::UnsupportedConversion);
    assert!(failure.message.contains("no sound"), "{}", failure.message);
    let (produced, _) = run.convert(&fixture("video/mkv/odd/tracks.mkv"), "mp3", json!({})).unwrap();
    assert!(produced.warnings.iter().any(|w| w.contains("first of 3")), "{:?}", produced.warnings);
}

#[test]
fn fates_are_as_the_manifest_says() {
    let manifest: toml::Table = toml::from_str(&std::fs::read_to_string(fixture("audio/MANIFEST.toml")).unwrap()).unwrap();
    let mut broken = 0;
    for file in manifest["file"].as_array().unwrap() {
        let (path, fate) = (file["path"].as_str().unwrap(), file["fate"].as_str().unwrap());
        let run = Run::new();
        let to = if path.ends_with("opus") { "mp3" } else { "opus" };
        match run.file(&fixture(&format!("audio/{path}")), to, json!({})) {
            Ok(_) => assert_eq!(fate, "converts", "{path}"),
            Err(failure) => {
                broken += 1;
                assert_eq!(failure.code.as_str(), fate, "{path}: {failure:?}");
                assert!(run.probe(&fixture(&format!("audio/{path}")), Depth::Proof).is_err(), "{path}");
            }
        }
    }
    assert!(broken >= 12, "{broken}");
}

#[test]
fn a_stop_request_ends_the_work() {
    let run = Run::new();
    run.listener.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    fails(run.file(&good("wav"), "mp3", json!({})), Code::Cancelled);
}

#[test]
fn the_jail_holds_every_encoder() {
    let jailed = Jailed::new();
    for to in ["mp3", "m4a", "opus", "ogg", "flac", "wav"] {
        let file = jailed.file(&good("mp4"), to, json!({"copy": "never"})).unwrap_or_else(|e| panic!("{to}: {e:?}"));
        let media = jailed.probe(&file, Depth::Proof).unwrap();
        assert!(media.duration_ms.unwrap().abs_diff(1200) < 100, "{to}: {media:?}");
    }
}

/// The samples of a song's first track as ffmpeg decodes them, mixed or with so many channels.
fn decoded(file: &Path, channels: usize) -> Vec<i16> {
    let channels = channels.to_string();
    let told =
        Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(file).args(["-map", "0:a:0", "-ac", &channels, "-f", "s16le", "-"]).output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    told.stdout.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect()
}

#[test]
fn a_waveform_has_the_least_and_greatest_sample_of_each_stretch() {
    let run = Run::new();
    let stereo = run.folder.path().join("stereo.wav");
    let waves = "aevalsrc=0.5*sin(600*PI*t)|0.1*sin(1800*PI*t+t):s=32000:d=0.7";
    let made = Command::new("ffmpeg").args(["-v", "error", "-f", "lavfi", "-i", waves]).arg(&stereo).status().unwrap();
    assert!(made.success());
    for (source, channels, options) in [
        (fixture("audio/flac/good/tone.flac"), 1, json!({"samples_per_pixel": 100})),
        (stereo.clone(), 1, json!({"samples_per_pixel": 320})),
        (stereo, 2, json!({"samples_per_pixel": 441, "split_channels": true})),
    ] {
        let name = source.display();
        let told: Value = serde_json::from_slice(&std::fs::read(run.file(&source, "json", options.clone()).unwrap()).unwrap()).unwrap();
        let (stretch, samples) = (options["samples_per_pixel"].as_u64().unwrap() as usize, decoded(&source, channels));
        let mut wanted = Vec::new();
        for stretch in samples.chunks(stretch * channels) {
            for channel in 0..channels {
                let own = || stretch.iter().skip(channel).step_by(channels).copied();
                wanted.extend([own().min().unwrap(), own().max().unwrap()]);
            }
        }
        assert!(wanted.len() > 20 && wanted.iter().any(|v| *v > 1000), "{name}: there is something to see");
        assert_eq!(told["data"], json!(wanted), "{name}");
        assert_eq!(told["length"], wanted.len() / 2 / channels);
        let facts = ["version", "channels", "sample_rate", "samples_per_pixel", "bits"].map(|fact| told[fact].as_u64().unwrap());
        assert_eq!(facts, [2, channels as u64, rate(&ffprobe(&source)) as u64, stretch as u64, 16]);
    }
}

#[test]
fn every_song_can_be_drawn() {
    let (_, converter) = converters::by_id("audio.waveform").unwrap();
    for from in converter.spec.pairs.iter().flat_map(|(left, _)| left.iter()) {
        let run = Run::new();
        let options = json!({"width": 300, "height": 80, "color": "#ff0000", "background": "white", "normalize": *from != "amr"});
        let png = image::open(run.file(&good(from), "png", options.clone()).unwrap_or_else(|e| panic!("{from}: {e:?}"))).unwrap().into_rgb8();
        let svg = run.file(&good(from), "svg", options).unwrap();
        let drawn = svg.with_extension("png");
        let renderer = Command::new("rsvg-convert").arg(&svg).arg("-o").arg(&drawn).output().unwrap();
        assert!(renderer.status.success(), "{from}: {}", String::from_utf8_lossy(&renderer.stderr));
        let drawn = image::open(drawn).unwrap().into_rgb8();
        for (what, picture) in [("png", &png), ("svg", &drawn)] {
            assert_eq!(picture.dimensions(), (300, 80), "{from} {what}");
            let is_red = |x: u32, y: u32| picture.get_pixel(x, y).0[1] < 128;
            let rows: Vec<u32> = (0..80).filter(|y| (0..300).any(|x| is_red(x, *y))).collect();
            assert!((0..300).all(|x| (0..80).any(|y| is_red(x, y))), "{from} {what}: every column is drawn");
            // A fixture of silence is a line in the middle; the others reach the edges.
            let (first, last) = (rows[0], rows[rows.len() - 1]);
            assert!(if *from == "amr" { (38..42).contains(&first) && last < 42 } else { first <= 3 || last >= 76 }, "{from} {what}: {rows:?}");
        }
    }
}

#[test]
fn a_waveform_of_nothing_is_refused_and_options_have_ranges() {
    let check = |options: Value| (converters::by_id("audio.waveform").unwrap().1.check)(&options).map_err(|e| (e.field, e.allowed));
    assert_eq!(check(json!({"samples_per_pixel": 63})).unwrap_err(), ("samples_per_pixel".into(), "64 to 1000000".into()));
    assert!(check(json!({"bits": 12})).unwrap_err().1.contains("8 (-128 to 127) or 16"));
    assert!(check(json!({"color": "red"})).unwrap_err().1.contains("#rrggbb"));
    let run = Run::new();
    let text = run.folder.path().join("words.mp3");
    std::fs::write(&text, "no sound here").unwrap();
    assert_eq!(run.file(&text, "json", json!({})).unwrap_err().code, Code::CorruptInput);
}

#[test]
fn matroska_sound_that_breaks_off_is_damaged_not_out_of_reach() {
    let run = Run::new();
    let whole = std::fs::read(fixture("audio/mka/good/tone.mka")).unwrap();
    let cut = run.folder.path().join("cut.mka");
    std::fs::write(&cut, &whole[..whole.len() * 40 / 100]).unwrap();
    fails(run.file(&cut, "mp3", json!({})), Code::CorruptInput);
}
