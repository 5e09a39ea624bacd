//! What is made of films beyond other films: moving pictures, two passes, what they tell of places.

use super::video::{good, holds};
use crate::support::av::{assert_upright, ffprobe, frames, size};
use crate::support::direct::{Run, fails, fixture, tool};
use crate::support::jailed::Jailed;
use millrace::convert::Depth;
use millrace::converters;
use millrace::failure::Code;
use serde_json::{Value, json};

#[test]
fn parts_of_films_become_moving_pictures() {
    let run = Run::new();
    let (produced, dir) = run.convert(&good("mp4"), "apng", json!({"video": {"width": 80, "fps": 10}, "plays": 3, "trim": {"duration": 1}})).unwrap();
    let file = dir.join(&produced.files[0].file);
    holds(&run, &produced, &dir, "apng");
    assert_eq!((size(&ffprobe(&file)), frames(&file)), ((80, 60), 10));
    let bytes = std::fs::read(&file).unwrap();
    let control = bytes.windows(4).position(|w| w == b"acTL").unwrap();
    assert_eq!(bytes[control + 4..control + 12], [0, 0, 0, 10, 0, 0, 0, 3]);
    assert_upright(&file, 0.0);
    let options = json!({"at": "10%", "width": 80, "quality": 60, "animation": {"duration": 0.8, "fps": 5, "plays": 2}});
    let (produced, dir) = run.convert(&good("mkv"), "webp", options).unwrap();
    let file = dir.join(&produced.files[0].file);
    holds(&run, &produced, &dir, "webp");
    let told = tool("webpinfo", &[&file.to_string_lossy()]);
    assert_eq!((told.matches("Duration: 200").count(), told.contains("Loop count      : 2")), (4, true), "{told}");
    let first = run.folder.path().join("first.png");
    tool("webpmux", &["-get", "frame", "1", &file.to_string_lossy(), "-o", &first.with_extension("webp").to_string_lossy()]);
    tool("dwebp", &["-quiet", &first.with_extension("webp").to_string_lossy(), "-o", &first.to_string_lossy()]);
    assert_upright(&first, 0.0);
    for once in ["gif", "apng"] {
        let media = run.probe(&run.file(&good("mp4"), once, json!({"plays": 1, "trim": {"duration": 0.4}})).unwrap(), Depth::Proof).unwrap();
        assert_eq!(media.frames, Some(6), "{once}");
    }
    fails(run.file(&good("mp4"), "jpeg", json!({"animation": {}})), Code::InvalidOption);
    let (_, poster) = converters::by_id("video.poster").unwrap();
    for (options, field) in [(json!({"animation": {"fps": 60}}), "animation.fps"), (json!({"animation": {}, "sheet": {}}), "animation")] {
        assert_eq!((poster.check)(&options).expect_err("accepted").field, field);
    }
}

#[test]
fn two_passes_spend_the_bits_where_they_are_needed() {
    let run = Run::new();
    // A second of rest, then one of movement.
    let film = run.folder.path().join("film.mkv");
    let graph = "testsrc2=size=320x240:rate=25:duration=2,loop=loop=24:size=1:start=0,trim=duration=2";
    tool("ffmpeg", &["-v", "error", "-f", "lavfi", "-i", graph, "-c:v", "ffv1", &film.to_string_lossy()]);
    for (to, codec) in [("mp4", "h264"), ("mp4", "hevc"), ("webm", "vp9"), ("webm", "vp8")] {
        let options = json!({"video": {"codec": codec, "bitrate": "300k", "passes": 2, "preset": "veryfast"}});
        let (produced, dir) = run.convert(&film, to, options).unwrap_or_else(|e| panic!("{codec}: {e:?}"));
        holds(&run, &produced, &dir, codec);
        let file = dir.join(&produced.files[0].file);
        assert_eq!(frames(&file), frames(&film), "{codec}");
        let bits = std::fs::metadata(&file).unwrap().len() as f64 * 8.0 / 2.0;
        assert!((200_000.0..400_000.0).contains(&bits), "{codec}: {bits} bits a second");
    }
    let stages: Vec<String> = run.listener.progress.lock().unwrap().iter().map(|p| p.stage.clone()).collect();
    assert!(stages.iter().any(|s| s == "analyse") && stages.iter().any(|s| s == "encode"));
    let jailed = Jailed::new();
    let small = jailed.file(&film, "mp4", json!({"target_size": "60KB", "video": {"passes": 2, "preset": "veryfast"}})).unwrap();
    assert!((40_000..=60_000).contains(&std::fs::metadata(small).unwrap().len()));
    fails(run.file(&film, "mkv", json!({"video": {"codec": "av1", "bitrate": "300k", "passes": 2}})), Code::InvalidOption);
    let (_, converter) = converters::by_id("video.transcode").unwrap();
    for options in [json!({"video": {"passes": 2}}), json!({"video": {"passes": 3}}), json!({"video": {"passes": 2, "crf": 20, "bitrate": "1M"}})] {
        assert_eq!((converter.check)(&options).expect_err("accepted").field, "video.passes", "{options}");
    }
}

#[test]
fn places_alone_are_taken_away() {
    let run = Run::new();
    let film = fixture("video/mov/odd/places.mov");
    let tags = |to: &str, metadata: &str, copy: &str| {
        let options = json!({"metadata": metadata, "copy": copy, "video": {"preset": "ultrafast"}});
        let file = run.file(&film, to, options).unwrap();
        let left = std::fs::read(&file).unwrap().windows(4).any(|w| [b"loci", b"xyz\0", b"52.5"].contains(&w.try_into().unwrap()));
        assert_eq!(left, metadata == "keep", "{to} {metadata}");
        ffprobe(&file)["format"]["tags"].clone()
    };
    for (to, copy) in [("mov", "auto"), ("mp4", "auto"), ("mkv", "never")] {
        assert!(tags(to, "keep", copy).to_string().contains("+52.5200"), "{to}");
        assert_eq!(tags(to, "strip_location", copy)["title"], "Mill", "{to}");
        assert_eq!(tags(to, "strip", copy)["title"], Value::Null, "{to}");
    }
}
