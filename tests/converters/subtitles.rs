//! Subtitles: as tracks, as files, drawn into the picture; and which tracks of a film are taken.

use crate::support::av::{codec, ffprobe, packets, stream};
use crate::support::direct::{Run, fails, fixture, tool};
use crate::support::jailed::Jailed;
use millrace::convert::Depth;
use millrace::converters;
use millrace::failure::Code;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

fn good(format: &str) -> PathBuf {
    match format {
        "srt" | "vtt" | "ass" => fixture(&format!("video/{format}/good/lines.{format}")),
        film => fixture(&format!("video/{film}/odd/words.{film}")),
    }
}

/// A track of subtitles as SubRip, as ffmpeg reads it.
fn lines(file: &Path, track: usize) -> String {
    tool("ffmpeg", &["-v", "error", "-i", &file.to_string_lossy(), "-map", &format!("0:s:{track}"), "-f", "srt", "-"])
}

/// The lines with their times in milliseconds.
fn cues(file: &Path, track: usize) -> Vec<(i64, i64, String)> {
    let ms = |text: &str| -> i64 {
        let [clock, ms] = text.trim().split(',').collect::<Vec<_>>()[..] else { panic!("{text}") };
        clock.split(':').fold(0, |sum, part| sum * 60 + part.parse::<i64>().unwrap()) * 1000 + ms.parse::<i64>().unwrap()
    };
    let text = lines(file, track);
    let blocks = text.split("\n\n").filter(|block| block.contains("-->"));
    blocks
        .map(|block| {
            let mut lines = block.lines().skip_while(|line| !line.contains("-->"));
            let (from, to) = lines.next().unwrap().split_once("-->").unwrap();
            (ms(from), ms(to), lines.collect::<Vec<_>>().join("\n"))
        })
        .collect()
}

/// Encoders of sound put up to 25 ms before a film's beginning, which moves all else; a fixture and its result may both be moved.
fn near(found: &[(i64, i64, String)], wanted: &[(i64, i64, &str)], about: &str) {
    assert_eq!(found.len(), wanted.len(), "{about}: {found:?}");
    for ((from, to, text), (start, end, part)) in found.iter().zip(wanted) {
        assert!((from - start).abs() <= 50 && (to - end).abs() <= 50 && text.contains(part), "{about}: {found:?}");
    }
}

fn tracks(file: &Path, kind: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let probed = ffprobe(file);
    let all = probed["streams"].as_array().unwrap().iter().filter(|s| s["codec_type"] == kind);
    all.map(|s| (text(&s["codec_name"]), text(&s["tags"]["language"]))).collect()
}

#[test]
fn every_pair_converts() {
    let (_, converter) = converters::by_id("video.subtitles").unwrap();
    for (left, right) in converter.spec.pairs {
        for from in *left {
            for to in *right {
                let about = format!("{from} to {to}");
                let run = Run::new();
                let (produced, dir) = run.convert(&good(from), to, json!({})).unwrap_or_else(|e| panic!("{about}: {e:?}"));
                let file = dir.join(&produced.files[0].file);
                let wanted = match *to {
                    "srt" => "subrip",
                    "vtt" => "webvtt",
                    other => other,
                };
                assert_eq!(codec(&ffprobe(&file), "subtitle"), wanted, "{about}");
                near(&cues(&file, 0), &[(100, 500, "The mill turns."), (600, 1100, "水车")], &about);
                let media = run.probe(&file, Depth::Proof).unwrap_or_else(|e| panic!("{about}: {e:?}"));
                let expect = &produced.files[0].expect;
                assert!(media.duration_ms.unwrap().abs_diff(expect.duration_ms.unwrap()) <= expect.duration_tolerance_ms, "{about}");
                assert_eq!(produced.warnings, Vec::<String>::new(), "{about}");
            }
        }
    }
}

#[test]
fn films_keep_their_subtitles_as_far_as_they_can() {
    let run = Run::new();
    for (to, wanted) in
        [("mp4", ["mov_text", "mov_text"]), ("mov", ["mov_text", "mov_text"]), ("webm", ["webvtt", "webvtt"]), ("mkv", ["subrip", "ass"])]
    {
        let (produced, dir) = run.convert(&good("mkv"), to, json!({"video": {"preset": "ultrafast"}})).unwrap();
        let file = dir.join(&produced.files[0].file);
        let found = tracks(&file, "subtitle");
        assert_eq!(found.iter().map(|(codec, _)| codec.as_str()).collect::<Vec<_>>(), wanted, "{to}");
        assert_eq!(found[0].1, "eng", "{to}");
        assert!(["ger", "deu"].contains(&found[1].1.as_str()), "{to}: {found:?}");
        assert!(lines(&file, 0).contains("The mill turns.") && lines(&file, 1).contains("Die Mühle"), "{to}: {}", lines(&file, 1));
        assert_eq!(produced.warnings, Vec::<String>::new(), "{to}");
        run.probe(&file, Depth::Proof).unwrap();
    }
    let back = run.file(&good("mp4"), "mkv", json!({})).unwrap();
    near(&cues(&back, 0), &[(100, 500, "The mill turns."), (600, 1100, "水车")], "mp4 to mkv");
    let (produced, dir) = run.convert(&good("mkv"), "mp4", json!({"subtitles": "drop"})).unwrap();
    assert_eq!((tracks(&dir.join(&produced.files[0].file), "subtitle"), produced.warnings), (vec![], vec![]));
    let (produced, _) = run.convert(&good("mkv"), "avi", json!({})).unwrap();
    assert!(produced.warnings.iter().any(|w| w.contains("Left out: subtitles")), "{:?}", produced.warnings);
}

#[test]
fn their_times_follow_a_cut() {
    let run = Run::new();
    let options = |copy: &str| json!({"trim": {"start": 0.3, "end": 0.9}, "copy": copy, "video": {"preset": "ultrafast"}});
    for to in ["mp4", "mkv", "webm"] {
        for copy in ["auto", "never"] {
            let file = run.file(&good("mkv"), to, options(copy)).unwrap();
            near(&cues(&file, 0), &[(0, 200, "The mill turns."), (300, 600, "水车")], to);
        }
    }
    let file = run.file(&good("srt"), "vtt", json!({"trim": {"start": 0.55}})).unwrap();
    near(&cues(&file, 0), &[(50, 550, "水车")], "srt");
    fails(run.file(&good("srt"), "vtt", json!({"trim": {"start": "1m"}})), Code::InvalidOption);
    fails(run.file(&good("mkv"), "srt", json!({"trim": {"start": 0.54, "end": 0.58}})), Code::UnsupportedConversion);
}

/// The brightest pixel of the frame at `second`.
fn brightest(file: &Path, second: &str) -> u8 {
    let raw = Command::new("ffmpeg")
        .args(["-v", "error", "-i", &file.to_string_lossy(), "-ss", second, "-frames:v", "1", "-pix_fmt", "gray", "-f", "rawvideo", "-"])
        .output()
        .unwrap();
    raw.stdout.into_iter().max().unwrap_or_else(|| panic!("{} has no picture at {second}", file.display()))
}

#[test]
fn words_are_drawn_into_the_picture() {
    let jailed = Jailed::new();
    let (script, night) = (jailed.folder.path().join("words.srt"), jailed.folder.path().join("night.mkv"));
    std::fs::write(&script, "1\n00:00:00,800 --> 00:00:01,600\nWater; [out0] 'drawtext=x:y' %{n}\n").unwrap();
    let black = "color=black:size=320x240:rate=10:duration=2";
    tool(
        "ffmpeg",
        &["-v", "error", "-f", "lavfi", "-i", black, "-i", &script.to_string_lossy(), "-c:v", "libx264", "-c:s", "srt", &night.to_string_lossy()],
    );
    for (to, options, shift) in [
        ("mp4", json!({"subtitles": "burn"}), 0.0),
        ("webm", json!({"subtitles": "burn", "video": {"height": 120}}), 0.0),
        ("mkv", json!({"subtitles": "burn", "trim": {"start": 0.5}}), 0.5),
        ("gif", json!({"subtitles": "burn"}), 0.0),
    ] {
        let file = jailed.file(&night, to, options).unwrap_or_else(|e| panic!("{to}: {e:?}"));
        let at = |second: f64| brightest(&file, &format!("{:.2}", second - shift));
        assert!(at(0.6) < 40 && at(1.2) > 180 && at(1.8) < 40, "{to}: {} {} {}", at(0.6), at(1.2), at(1.8));
        assert_eq!(stream(&ffprobe(&file), "subtitle"), None, "{to}");
    }
    let run = Run::new();
    fails(run.file(&night, "mp4", json!({"subtitles": "burn", "video": {"codec": "copy"}})), Code::InvalidOption);
    let (produced, _) = run.convert(&fixture("video/mp4/good/clip.mp4"), "mp4", json!({"subtitles": "burn"})).unwrap();
    assert_eq!(produced.warnings, Vec::<String>::new(), "a film without words stays as it is");
}

#[test]
fn character_sets_are_found_out() {
    let run = Run::new();
    let old = fixture("video/srt/odd/cyrillic.srt");
    for options in [json!({}), json!({"encoding": "windows-1251"})] {
        let text = std::fs::read_to_string(run.file(&old, "vtt", options).unwrap()).unwrap();
        assert!(text.contains("Мельница стоит на реке"), "{text}");
    }
    fails(run.file(&old, "vtt", json!({"encoding": "utf-8"})), Code::CorruptInput);
    let wide = run.folder.path().join("wide.srt");
    let text = std::fs::read_to_string(good("srt")).unwrap();
    std::fs::write(&wide, format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>()).unwrap();
    assert!(lines(&run.file(&wide, "ass", json!({})).unwrap(), 0).contains("水车"));
}

#[test]
fn tracks_are_chosen() {
    let run = Run::new();
    let film = fixture("video/mkv/odd/tracks.mkv");
    let languages = |options: Value| tracks(&run.file(&film, "mp4", options).unwrap(), "audio").into_iter().map(|t| t.1).collect::<Vec<_>>();
    assert_eq!(languages(json!({})), ["eng", "rus", "tur"]);
    assert_eq!(languages(json!({"streams": {"audio": "all"}})), ["eng", "rus", "tur"]);
    assert_eq!(languages(json!({"streams": {"audio": "ru"}})), ["rus"]);
    assert_eq!(languages(json!({"streams": {"audio": [2, "en-GB"]}})), ["tur", "eng"]);
    let failure = fails(run.file(&film, "mp4", json!({"streams": {"audio": "fr"}})), Code::InvalidOption);
    assert!(failure.message.contains("0 (eng), 1 (rus), 2 (tur)"), "{}", failure.message);
    fails(run.file(&film, "mp4", json!({"streams": {"video": 1}})), Code::InvalidOption);
    let (produced, dir) = run.convert(&film, "m4a", json!({"track": "tr"})).unwrap();
    let third = tool("ffmpeg", &["-v", "error", "-i", &film.to_string_lossy(), "-map", "0:a:2", "-c", "copy", "-f", "hash", "-"]);
    assert_eq!((packets(&dir.join(&produced.files[0].file), "a"), produced.warnings), (third, vec![]));
    let words = tracks(&run.file(&good("mkv"), "mp4", json!({"streams": {"subtitles": "de"}})).unwrap(), "subtitle");
    assert_eq!(words.len(), 1);
    let german = run.file(&good("mkv"), "srt", json!({"track": "de"})).unwrap();
    assert!(std::fs::read_to_string(german).unwrap().contains("Die Mühle"));
    fails(run.file(&fixture("video/mp4/good/clip.mp4"), "srt", json!({})), Code::UnsupportedConversion);
    for (id, options, field) in [
        ("video.transcode", json!({"streams": {"audio": []}}), "streams.audio"),
        ("video.transcode", json!({"streams": {"audio": "klingon"}}), "streams.audio"),
        ("video.transcode", json!({"streams": {"video": 200}}), "streams.video"),
        ("video.transcode", json!({"subtitles": "hide"}), "subtitles"),
        ("audio.transcode", json!({"track": "all"}), "track"),
        ("video.subtitles", json!({"encoding": "klingon"}), "encoding"),
    ] {
        let (_, converter) = converters::by_id(id).unwrap();
        assert_eq!((converter.check)(&options).expect_err("accepted").field, field, "{options}");
    }
}
