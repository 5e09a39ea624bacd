//! The video family.

use crate::support::av::{assert_upright, codec, colour, duration_s, ffprobe, frames, packets, size, stream};
use crate::support::direct::{Run, fails, fixture, tool};
use crate::support::jailed::Jailed;
use millrace::convert::Depth;
use millrace::converters;
use millrace::failure::Code;
use millrace::format::Format;
use millrace::queue::Queues;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// A good film of each input format.
pub(super) fn good(format: &str) -> PathBuf {
    match format {
        "gif" => fixture("image/gif/good/moving.gif"),
        other => fixture(&format!("video/{other}/good/clip.{other}")),
    }
}

/// The fastest settings; the tests look at shapes, not at beauty.
fn fast() -> Value {
    json!({"video": {"preset": "ultrafast"}})
}

/// What a fresh measurement finds must be what was expected of the result.
pub(super) fn holds(run: &Run, produced: &millrace::convert::Produced, dir: &Path, about: &str) {
    let file = &produced.files[0];
    let media = run.probe(&dir.join(&file.file), Depth::Proof).unwrap_or_else(|e| panic!("{about}: {e:?}"));
    let expect = &file.expect;
    assert_eq!((media.width, media.height), (expect.width, expect.height), "{about}");
    if let Some(ms) = expect.duration_ms {
        let found = media.duration_ms.unwrap();
        assert!(found.abs_diff(ms) <= expect.duration_tolerance_ms, "{about}: {found} ms, not {ms} ± {}", expect.duration_tolerance_ms);
    }
}

/// Frames a second.
fn rate(probed: &Value) -> f64 {
    let (frames, seconds) = stream(probed, "video").unwrap()["r_frame_rate"].as_str().unwrap().split_once('/').unwrap();
    frames.parse::<f64>().unwrap() / seconds.parse::<f64>().unwrap()
}

#[test]
fn every_pair_converts() {
    let (_, converter) = converters::by_id("video.transcode").unwrap();
    for (left, right) in converter.spec.pairs {
        for from in *left {
            let source = good(from);
            let before = ffprobe(&source);
            for to in *right {
                let run = Run::new();
                let about = format!("{from} to {to}");
                let (produced, dir) = run.convert(&source, to, fast()).unwrap_or_else(|e| panic!("{about}: {e:?}"));
                holds(&run, &produced, &dir, &about);
                let after = ffprobe(&dir.join(&produced.files[0].file));
                let wanted = match *to {
                    "webm" => "vp9",
                    "avi" => "mpeg4",
                    picture @ ("gif" | "apng") => picture,
                    "mpg" => "mpeg2video",
                    "ogv" => "theora",
                    _ => "h264",
                };
                assert_eq!(codec(&after, "video"), wanted, "{about}");
                let sounding = stream(&before, "audio").is_some() && !["gif", "apng"].contains(to);
                assert_eq!(stream(&after, "audio").is_some(), sounding, "{about}");
                assert_eq!(size(&after), size(&before), "{about}");
                // Neither elementary streams, of 30 pictures here, say how long they are, nor moving pictures.
                let known = |probed: &Value, frames: usize, fps: f64| Some(duration_s(probed)).filter(|s| *s > 0.0).unwrap_or(frames as f64 / fps);
                let fps = rate(&before);
                let (a, b) = (known(&before, 30, fps), known(&after, frames(&dir.join(&produced.files[0].file)), fps.min(15.0)));
                // A frame of sound at 8 kHz, as in the 3gp, lasts 0.128 s; there is one of padding at either end.
                assert!((a - b).abs() < if *from == "3gp" { 0.3 } else { 0.12 }, "{about}: {a} s became {b} s");
            }
        }
    }
}

#[test]
fn codecs_are_as_asked() {
    let run = Run::new();
    for (to, video, audio) in [
        ("mp4", "hevc", "aac"),
        ("mp4", "av1", "opus"),
        ("mp4", "mpeg4", "mp3"),
        ("webm", "vp8", "vorbis"),
        ("webm", "av1", "opus"),
        ("mkv", "vp9", "flac"),
        ("mkv", "mpeg2", "ac3"),
        ("mov", "h264", "alac"),
    ] {
        let options = json!({"video": {"codec": video, "preset": "ultrafast"}, "audio": {"codec": audio}});
        let file = run.file(&good("mov"), to, options).unwrap_or_else(|e| panic!("{video} in {to}: {e:?}"));
        let found = ffprobe(&file);
        assert_eq!(codec(&found, "video"), if video == "mpeg2" { "mpeg2video" } else { video });
        assert_eq!(codec(&found, "audio"), audio);
        assert_eq!(frames(&file), 30, "{video} in {to}");
    }
    let failure = fails(run.file(&good("mp4"), "webm", json!({"video": {"codec": "h264"}})), Code::InvalidOption);
    assert!(failure.message.contains("vp9"), "{}", failure.message);
    let file = run.file(&good("mp4"), "mp4", json!({"audio": {"codec": "none"}})).unwrap();
    assert!(stream(&ffprobe(&file), "audio").is_none());
}

#[test]
fn options_do_what_they_say() {
    let run = Run::new();
    let convert = |options: Value| ffprobe(&run.file(&good("mp4"), "mp4", options).unwrap());
    assert_eq!(size(&convert(json!({"video": {"height": 60}}))), (80, 60));
    assert_eq!(size(&convert(json!({"video": {"width": 75, "height": 75}}))), (76, 56));
    assert_eq!(size(&convert(json!({"video": {"width": 60, "height": 60, "fit": "cover"}}))), (60, 60));
    assert_eq!(size(&convert(json!({"video": {"height": 1080}}))), (160, 120), "never enlarged");
    let slow = convert(json!({"video": {"fps": 10}}));
    assert_eq!(stream(&slow, "video").unwrap()["r_frame_rate"], "10/1");
    assert!((duration_s(&slow) - 1.2).abs() < 0.15, "{}", duration_s(&slow));
    let sound = convert(json!({"audio": {"channels": 2, "sample_rate": 22050, "bitrate": "40k"}}));
    let sound = stream(&sound, "audio").unwrap();
    assert_eq!((sound["channels"].as_u64(), sound["sample_rate"].as_str()), (Some(2), Some("22050")));
    let bytes = |options: Value| std::fs::metadata(run.file(&good("mp4"), "mp4", options).unwrap()).unwrap().len();
    assert!(bytes(json!({"video": {"crf": 45}})) * 2 < bytes(json!({"video": {"crf": 18}})));
    let silent = |bitrate: &str| json!({"video": {"bitrate": bitrate}, "audio": {"codec": "none"}});
    assert!(bytes(silent("40k")) * 3 < bytes(silent("600k")) * 2);
    let front = std::fs::read(run.file(&good("mp4"), "mp4", json!({})).unwrap()).unwrap();
    let at = |bytes: &[u8], name: &[u8]| bytes.windows(4).position(|w| w == name).unwrap();
    assert!(at(&front, b"moov") < at(&front, b"mdat"), "the index is in front");
    let back = std::fs::read(run.file(&good("mp4"), "mp4", json!({"faststart": false})).unwrap()).unwrap();
    assert!(at(&back, b"moov") > at(&back, b"mdat"));
}

#[test]
fn shipped_presets_are_accepted() {
    let queues = Queues::load(&[]).unwrap();
    let mut seen = 0;
    for (queue, from) in [("video", "mov"), ("audio", "wav")] {
        let (_, definition) = queues.iter().find(|(name, _)| queue == *name).unwrap();
        for (name, preset) in &definition.settings.presets {
            let (_, converter) = converters::find(Format::parse(from).unwrap(), preset.to).unwrap();
            let filled = (converter.check)(&preset.options);
            assert!(filled.is_ok(), "{name}: {filled:?}");
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen} presets");
}

#[test]
fn wrong_options_are_named() {
    let (_, converter) = converters::by_id("video.transcode").unwrap();
    for (options, field) in [
        (json!({"video": {"crf": 99}}), "video.crf"),
        (json!({"video": {"codec": "h264", "crf": 60}}), "video.crf"),
        (json!({"video": {"codec": "realvideo"}}), "video.codec"),
        (json!({"video": {"height": 1}}), "video.height"),
        (json!({"video": {"fps": 1000}}), "video.fps"),
        (json!({"audio": {"bitrate": "much"}}), "audio.bitrate"),
        (json!({"trim": {"start": 5, "end": 3}}), "trim.end"),
        (json!({"trim": {"start": "soon"}}), "trim.start"),
        (json!({"video": {"filter": "movie=/etc/passwd"}}), "video.filter"),
    ] {
        let refused = (converter.check)(&options).expect_err("accepted");
        assert_eq!(refused.field, field, "{options}: {refused:?}");
    }
}

#[test]
fn what_fits_is_copied() {
    let run = Run::new();
    for (from, to) in
        [("mp4", "mp4"), ("mp4", "mkv"), ("mkv", "mp4"), ("mov", "mp4"), ("mp4", "mov"), ("webm", "mkv"), ("webm", "webm"), ("ogv", "ogv")]
    {
        let file = run.file(&good(from), to, json!({})).unwrap();
        for kind in ["v", "a"] {
            assert_eq!(packets(&file, kind), packets(&good(from), kind), "{kind} of {from} to {to}");
        }
    }
    assert!(run.listener.log.lock().unwrap().iter().any(|l| l.contains("track 1 (h264) is copied")));
    // Sound is copied beside a picture that is not.
    let file = run.file(&good("mp4"), "mp4", json!({"video": {"height": 60}})).unwrap();
    assert_eq!(packets(&file, "a"), packets(&good("mp4"), "a"));
    assert!(run.listener.log.lock().unwrap().iter().any(|l| l.contains("160 x 120 becomes 80 x 60")));
    let file = run.file(&good("mp4"), "mp4", json!({"copy": "never", "video": {"preset": "ultrafast"}})).unwrap();
    assert_ne!(packets(&file, "v"), packets(&good("mp4"), "v"));
    let failure = fails(run.file(&good("mp4"), "webm", json!({"copy": "always"})), Code::InvalidOption);
    assert!(failure.message.contains("h264"), "{}", failure.message);
    fails(run.file(&fixture("video/mp4/odd/deep.mp4"), "mp4", json!({"video": {"codec": "copy"}})), Code::InvalidOption);
    let deep = ffprobe(&run.file(&fixture("video/mp4/odd/deep.mp4"), "mp4", fast()).unwrap());
    assert_eq!(stream(&deep, "video").unwrap()["pix_fmt"], "yuv420p");
}

#[test]
fn trimming_is_to_the_frame() {
    let run = Run::new();
    let source = fixture("video/mp4/odd/keyframes.mp4");
    let whole = |trim: Value, to: &str| {
        let (produced, dir) = run.convert(&source, to, json!({"trim": trim, "video": {"preset": "ultrafast"}, "copy": "never"})).unwrap();
        holds(&run, &produced, &dir, &trim.to_string());
        dir.join(&produced.files[0].file)
    };
    assert_eq!(frames(&whole(json!({"start": 0.52, "end": 1.52}), "mp4")), 25);
    assert_eq!(frames(&whole(json!({"start": "00:00:01.2", "duration": "1s"}), "mkv")), 25);
    assert_eq!(frames(&whole(json!({"end": 0.4}), "webm")), 10);
    let file = whole(json!({"start": 1.0, "duration": 1.0}), "mp4");
    let samples = crate::support::av::samples(&file);
    assert!(samples.abs_diff(44100) <= 1024, "{samples} samples");
    // From a keyframe on, the picture is copied.
    let options = json!({"trim": {"start": 1, "end": 2}});
    let file = run.file(&source, "mp4", options).unwrap();
    assert!(run.listener.log.lock().unwrap().iter().any(|l| l.contains("track 1 (h264) is copied")));
    assert!((25..=28).contains(&frames(&file)), "{}", frames(&file));
    fails(run.file(&source, "mp4", json!({"trim": {"start": "1h"}})), Code::InvalidOption);
}

#[test]
fn turned_films_end_upright() {
    for degrees in [90, 180, 270] {
        let source = fixture(&format!("video/mp4/odd/rotated_{degrees}.mp4"));
        let run = Run::new();
        let media = run.probe(&source, Depth::Header).unwrap();
        assert_eq!((media.width, media.height), (Some(160), Some(120)), "{degrees}");
        assert_eq!(media.streams[0].rotation, Some(degrees));
        // The tool turns what carries a matrix, as players do.
        for (to, copied) in [("mp4", true), ("mov", true), ("mkv", false), ("avi", false)] {
            let (produced, dir) = run.convert(&source, to, json!({"video": {}})).unwrap();
            holds(&run, &produced, &dir, to);
            let file = dir.join(&produced.files[0].file);
            assert_upright(&file, 0.0);
            let stored = size(&ffprobe(&file));
            assert_eq!(stored, if copied && degrees != 180 { (120, 160) } else { (160, 120) }, "{degrees} {to}");
        }
        let file = run.file(&source, "mp4", json!({"video": {"height": 60}})).unwrap();
        assert_eq!(size(&ffprobe(&file)), (80, 60));
        assert_upright(&file, 0.0);
        assert_upright(&run.file(&source, "png", json!({})).unwrap(), 0.0);
    }
}

#[test]
fn facts_survive() {
    let run = Run::new();
    let convert = |path: &str, to: &str, options: Value| run.file(&fixture(path), to, options).unwrap();
    let never = || json!({"copy": "never", "video": {"preset": "ultrafast"}});
    for options in [json!({}), never()] {
        let tracks = ffprobe(&convert("video/mkv/odd/tracks.mkv", "mp4", options.clone()));
        let languages: Vec<&str> = tracks["streams"].as_array().unwrap().iter().filter_map(|s| s["tags"]["language"].as_str()).collect();
        assert!(["eng", "rus", "tur"].iter().all(|l| languages.contains(l)), "{languages:?}");
        let tags = ffprobe(&convert("video/mp4/odd/tags.mp4", "mkv", options.clone()));
        assert_eq!(tags["format"]["tags"]["title"], "Мельница 水车 değirmen");
        let chapters = ffprobe(&convert("video/mkv/odd/chapters.mkv", "mp4", options.clone()));
        assert_eq!(chapters["chapters"].as_array().unwrap().len(), 2);
        assert_eq!(chapters["chapters"][1]["tags"]["title"], "Two");
        let wide = ffprobe(&convert("video/mp4/odd/anamorphic.mp4", "mp4", options.clone()));
        assert_eq!(stream(&wide, "video").unwrap()["sample_aspect_ratio"], "4:3");
        let colours = ffprobe(&convert("video/mp4/odd/colours.mp4", "mkv", options.clone()));
        let video = stream(&colours, "video").unwrap();
        assert_eq!((video["color_space"].as_str(), video["color_primaries"].as_str()), (Some("bt709"), Some("bt709")));
    }
    let narrow = ffprobe(&convert("video/mp4/odd/full_range.mp4", "mp4", never()));
    assert_eq!(stream(&narrow, "video").unwrap()["pix_fmt"], "yuv420p");
    let stripped = ffprobe(&convert("video/mp4/odd/tags.mp4", "mp4", json!({"metadata": "strip"})));
    assert!(stripped["format"]["tags"]["title"].is_null() && stripped["format"]["tags"]["artist"].is_null());
    assert_eq!(stream(&stripped, "audio").unwrap()["tags"]["language"], "rus");
    let odd = ffprobe(&convert("video/mkv/odd/odd_size.mkv", "mp4", fast()));
    assert_eq!(size(&odd), (160, 120));
    let surround = ffprobe(&convert("video/mkv/odd/surround.mkv", "mp4", json!({"audio": {"codec": "aac"}})));
    assert_eq!(stream(&surround, "audio").unwrap()["channels"], 6);
    let (produced, dir) = run.convert(&fixture("video/mkv/odd/chapters.mkv"), "mp4", json!({})).unwrap();
    assert_eq!(codec(&ffprobe(&dir.join(&produced.files[0].file)), "subtitle"), "mov_text");
    assert_eq!(produced.warnings, Vec::<String>::new());
    let kept = ffprobe(&convert("video/mkv/odd/chapters.mkv", "mkv", json!({})));
    assert_eq!(codec(&kept, "subtitle"), "subrip");
}

#[test]
fn irregular_frames_keep_their_times() {
    let run = Run::new();
    let source = fixture("video/mkv/odd/vfr.mkv");
    let times = |file: &Path| -> Vec<i64> {
        let text =
            tool("ffprobe", &["-v", "error", "-select_streams", "v", "-show_entries", "frame=pts_time", "-of", "csv=p=0", &file.to_string_lossy()]);
        text.lines()
            .filter(|l| !l.trim_matches(',').is_empty())
            .map(|l| (l.trim_end_matches(',').parse::<f64>().unwrap() * 1000.0).round() as i64)
            .collect()
    };
    let file = run.file(&source, "mp4", json!({"copy": "never", "video": {"preset": "ultrafast"}})).unwrap();
    let (before, after) = (times(&source), times(&file));
    assert_eq!(before.len(), after.len());
    assert!(before.iter().zip(&after).all(|(a, b)| (a - b).abs() <= 20), "{before:?} {after:?}");
    let (produced, dir) = run.convert(&fixture("video/mp4/odd/late_sound.mp4"), "webm", fast()).unwrap();
    holds(&run, &produced, &dir, "late sound");
    let samples = crate::support::av::samples(&dir.join(&produced.files[0].file));
    assert!(samples.abs_diff(48000 * 12 / 10) < 3000, "the gap before the sound is silence: {samples}");
}

#[test]
fn a_broadcast_whose_clock_jumps_stays_whole() {
    let run = Run::new();
    let late = run.folder.path().join("late.ts");
    let source = good("ts");
    tool("ffmpeg", &["-v", "error", "-i", &source.to_string_lossy(), "-c", "copy", "-output_ts_offset", "5000", &late.to_string_lossy()]);
    let both = run.folder.path().join("both.ts");
    std::fs::write(&both, [std::fs::read(&source).unwrap(), std::fs::read(&late).unwrap()].concat()).unwrap();
    let (produced, dir) = run.convert(&both, "mp4", json!({"copy": "never", "video": {"preset": "ultrafast"}})).unwrap();
    holds(&run, &produced, &dir, "jump");
    let file = dir.join(&produced.files[0].file);
    assert!((2.2..2.7).contains(&duration_s(&ffprobe(&file))), "{}", duration_s(&ffprobe(&file)));
    assert!(frames(&file) >= 58, "{}", frames(&file));
}

#[test]
fn films_become_gifs_and_back() {
    let run = Run::new();
    let (produced, dir) = run.convert(&good("mp4"), "gif", json!({"video": {"width": 80}})).unwrap();
    let file = dir.join(&produced.files[0].file);
    holds(&run, &produced, &dir, "gif");
    assert_eq!(size(&ffprobe(&file)), (80, 60));
    assert_eq!(frames(&file), 18, "15 frames a second");
    assert_upright(&file, 0.0);
    assert!(produced.warnings.iter().any(|w| w.contains("sound")), "{:?}", produced.warnings);
    let film = run.file(&good("gif"), "mp4", fast()).unwrap();
    assert_eq!((codec(&ffprobe(&film), "video"), size(&ffprobe(&film))), ("h264".into(), (120, 80)));
    let mut small = Run::new();
    small.limits.total_pixels_max = 160 * 120 * 5;
    fails(small.file(&good("mp4"), "gif", json!({})), Code::LimitExceeded);
}

#[test]
fn posters_show_the_right_moment() {
    let run = Run::new();
    for from in ["mp4", "mov", "mkv", "webm", "avi", "flv", "wmv", "mpg", "ts", "3gp", "ogv", "mxf", "y4m"] {
        for to in ["jpeg", "png", "webp"] {
            let (produced, dir) = run.convert(&good(from), to, json!({"height": 40})).unwrap_or_else(|e| panic!("{from} to {to}: {e:?}"));
            let file = dir.join(&produced.files[0].file);
            let found = tool("/usr/bin/identify", &["-format", "%m %h", &file.to_string_lossy()]);
            assert_eq!(found, format!("{} 40", to.to_uppercase()), "{from} to {to}");
            holds(&run, &produced, &dir, from);
            if to == "png" {
                assert_upright(&file, 0.0);
            }
        }
    }
    let black = fixture("video/mp4/odd/black_start.mp4");
    let at = |options: Value| colour(&run.file(&black, "png", options).unwrap(), 0.0, 0.5, 0.5);
    assert!(at(json!({}))[0] > 200, "black frames are passed over");
    assert!(at(json!({"at": 0.5}))[0] < 40, "but not where the time is given");
    assert!(at(json!({"at": "00:00:01.5"}))[0] > 200);
    assert!(at(json!({"at": "100%"}))[0] > 200);
    let wide = run.file(&fixture("video/mp4/odd/anamorphic.mp4"), "png", json!({})).unwrap();
    assert_eq!(tool("/usr/bin/identify", &["-format", "%wx%h", &wide.to_string_lossy()]), "213x120");
    let large = std::fs::metadata(run.file(&good("mp4"), "jpeg", json!({"quality": 95})).unwrap()).unwrap().len();
    let small = std::fs::metadata(run.file(&good("mp4"), "jpeg", json!({"quality": 10})).unwrap()).unwrap().len();
    assert!(small * 2 < large, "{small} {large}");
    fails(run.file(&fixture("video/mp4/broken/sound_only.mp4"), "jpeg", json!({})), Code::UnsupportedConversion);
}

#[test]
fn fates_are_as_the_manifest_says() {
    let manifest: toml::Table = toml::from_str(&std::fs::read_to_string(fixture("video/MANIFEST.toml")).unwrap()).unwrap();
    let mut broken = 0;
    for file in manifest["file"].as_array().unwrap() {
        let (path, fate) = (file["path"].as_str().unwrap(), file["fate"].as_str().unwrap());
        let run = Run::new();
        let (to, options) = match path.rsplit('.').next() {
            Some("srt" | "vtt" | "ass") => ("vtt", json!({})),
            Some("mkv") => ("mov", fast()),
            _ => ("mkv", fast()),
        };
        match run.file(&fixture(&format!("video/{path}")), to, options) {
            Ok(_) => assert_eq!(fate, "converts", "{path}"),
            Err(failure) => {
                broken += 1;
                assert_eq!(failure.code.as_str(), fate, "{path}: {failure:?}");
                assert!(failure.message.ends_with('.'), "{path}: {}", failure.message);
                if fate != "unsupported_conversion" {
                    assert!(run.probe(&fixture(&format!("video/{path}")), Depth::Proof).is_err(), "{path}");
                }
            }
        }
    }
    assert!(broken >= 15, "{broken}");
    let run = Run::new();
    let (produced, _) =
        run.convert(&fixture("video/mp4/odd/damaged.mp4"), "mp4", json!({"copy": "never", "video": {"preset": "ultrafast"}})).unwrap();
    assert!(produced.warnings.len() <= 1, "{:?}", produced.warnings);
}

#[test]
fn a_truncated_result_is_not_proven() {
    let run = Run::new();
    let file = run.file(&fixture("video/mp4/odd/keyframes.mp4"), "mp4", json!({})).unwrap();
    run.probe(&file, Depth::Proof).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    let cut = run.folder.path().join("cut.mp4");
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    fails(run.probe(&cut, Depth::Proof), Code::CorruptInput);
}

#[test]
fn playlists_are_never_followed() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    for name in ["playlist", "concat"] {
        let text = std::fs::read_to_string(fixture(&format!("video/mp4/broken/{name}.mp4"))).unwrap().replace("PORT", &port);
        for extension in ["mp4", "mkv", "webm", "avi", "ts", "mpg", "flv", "ogv", "mp3", "wav"] {
            let run = Run::new();
            let path = run.folder.path().join(format!("{name}.{extension}"));
            std::fs::write(&path, &text).unwrap();
            let to = if ["mp3", "wav"].contains(&extension) { "flac" } else { "mkv" };
            let failure = run.file(&path, to, json!({})).expect_err("a playlist is no film");
            assert!([Code::CorruptInput, Code::UnsupportedFormat].contains(&failure.code), "{failure:?}");
            let said = format!("{failure:?} {:?}", run.listener.log.lock().unwrap());
            assert!(!said.contains("root:"), "{said}");
        }
    }
    assert!(listener.accept().is_err(), "somebody asked the address in the playlist");
}

#[test]
fn limits_hold_before_anything_is_decoded() {
    let mut run = Run::new();
    run.limits.frame_pixels_max = 1000;
    for to in ["webm", "jpeg", "gif"] {
        let failure = fails(run.file(&good("mp4"), to, json!({})), Code::LimitExceeded);
        assert_eq!(failure.stage.as_deref(), Some("open"));
    }
    let mut run = Run::new();
    run.limits.media_duration_max = millrace::limits::Span(500);
    fails(run.file(&good("mp4"), "webm", json!({})), Code::LimitExceeded);
    fails(run.probe(&fixture("video/mp4/broken/days.mp4"), Depth::Header), Code::LimitExceeded);
}

#[test]
fn a_stop_request_ends_the_work() {
    let run = Run::new();
    run.listener.stop.store(true, Ordering::Relaxed);
    fails(run.file(&good("mp4"), "webm", json!({})), Code::Cancelled);
    fails(run.file(&good("mp4"), "jpeg", json!({})), Code::Cancelled);
}

#[test]
fn progress_is_told_in_time() {
    let run = Run::new();
    run.file(&good("mp4"), "mp4", json!({"copy": "never", "video": {"preset": "ultrafast"}})).unwrap();
    let told = run.listener.progress.lock().unwrap();
    assert!(told.iter().all(|p| p.stage == "encode" && p.unit == "ms"), "{told:?}");
    assert!(told.windows(2).all(|w| w[0].current <= w[1].current), "{told:?}");
    assert_eq!(told.last().unwrap().percent, 100.0);
}

#[test]
fn the_jail_holds_every_encoder() {
    let jailed = Jailed::new();
    for (codec, to) in [("h264", "mp4"), ("hevc", "mp4"), ("vp9", "webm"), ("av1", "webm"), ("mpeg4", "avi")] {
        let options = json!({"copy": "never", "video": {"codec": codec, "preset": "ultrafast"}});
        let file = jailed.file(&good("mp4"), to, options).unwrap_or_else(|e| panic!("{codec}: {e:?}"));
        assert_eq!(frames(&file), 30, "{codec}");
        let media = jailed.probe(&file, Depth::Proof).unwrap();
        assert_eq!((media.width, media.height), (Some(160), Some(120)));
    }
    let poster = jailed.file(&good("webm"), "webp", json!({})).unwrap();
    assert_upright(&poster, 0.0);
    let gif = jailed.file(&good("mp4"), "gif", json!({})).unwrap();
    assert_eq!(frames(&gif), 18);
}

#[test]
fn mutated_films_never_panic() {
    for format in ["mp4", "mkv", "webm", "avi", "flv", "ts", "ogv", "mpg"] {
        let source = std::fs::read(good(format)).unwrap();
        let mut state = 0x2545_f491_u32;
        let mut random = move |below: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize % below
        };
        for round in 0..6 {
            let run = Run::new();
            let mut bytes = source.clone();
            let reach = if round % 2 == 0 { bytes.len().min(1200) } else { bytes.len() };
            for _ in 0..=random(8) {
                let at = random(reach);
                bytes[at] = random(256) as u8;
            }
            if round % 3 == 2 {
                bytes.truncate(random(reach) + 1);
            }
            let path = run.folder.path().join(format!("mutant.{format}"));
            std::fs::write(&path, bytes).unwrap();
            if let Err(failure) = run.file(&path, "mp4", json!({"video": {"preset": "ultrafast", "height": 32}, "copy": "never"})) {
                let known = [Code::CorruptInput, Code::UnsupportedFormat, Code::LimitExceeded, Code::UnsupportedConversion];
                assert!(known.contains(&failure.code), "{format} round {round}: {failure:?}");
            }
        }
    }
}
