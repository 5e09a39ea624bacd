//! What is done to a film's pictures on their way, seen by ffmpeg.

use crate::support::av::{codec, colour, ffprobe, frames, size, stream};
use crate::support::direct::{Run, fails, fixture, tool};
use millrace::converters;
use millrace::failure::Code;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

const RED: [i32; 3] = [255, 0, 0];
const BLUE: [i32; 3] = [0, 0, 255];
const LIME: [i32; 3] = [0, 255, 0];
const YELLOW: [i32; 3] = [255, 255, 0];

/// A film of four colours: red, lime, blue, yellow, clockwise from the top left.
fn clip() -> PathBuf {
    fixture("video/mp4/good/clip.mp4")
}

fn with(run: &Run, film: &Path, to: &str, mut video: Value) -> PathBuf {
    if video["codec"].is_null() {
        video["preset"] = "ultrafast".into();
    }
    run.file(film, to, json!({"video": video})).unwrap()
}

fn near(found: [i32; 3], wanted: [i32; 3]) -> bool {
    found.iter().zip(wanted).all(|(f, w)| (f - w).abs() < 70)
}

/// A film made by ffmpeg's generators, below the folder of the run.
fn generated(run: &Run, name: &str, graph: &str, encoder: &[&str]) -> PathBuf {
    let file = run.folder.path().join(name);
    let path = file.to_string_lossy().into_owned();
    let arguments: Vec<&str> = ["-v", "error", "-f", "lavfi", "-i", graph].iter().chain(encoder).copied().chain([path.as_str()]).collect();
    tool("ffmpeg", &arguments);
    file
}

#[test]
fn a_part_is_cut_out_and_turned() {
    let run = Run::new();
    let (w, h) = size(&ffprobe(&clip()));
    let file = with(&run, &clip(), "mp4", json!({"crop": {"left": w / 2, "width": w / 2, "height": h / 2}}));
    assert_eq!(size(&ffprobe(&file)), (w / 2, h / 2));
    assert!(near(colour(&file, 0.0, 0.9, 0.1), LIME) && !near(colour(&file, 0.0, 0.9, 0.9), BLUE));
    let file = with(&run, &clip(), "webm", json!({"crop": {"left": w / 2, "width": 9000, "height": 9000}, "width": w / 4}));
    assert_eq!(size(&ffprobe(&file)), (w / 4, h / 2));
    assert!(near(colour(&file, 0.0, 0.9, 0.1), LIME) && near(colour(&file, 0.0, 0.9, 0.9), BLUE));
    for (degrees, wanted) in [(90, YELLOW), (270, LIME), (0, RED)] {
        let file = with(&run, &clip(), "mp4", json!({"rotate": degrees}));
        assert_eq!(size(&ffprobe(&file)), if degrees == 0 { (w, h) } else { (h, w) });
        assert!(near(colour(&file, 0.0, 0.1, 0.1), wanted), "{degrees}: {:?}", colour(&file, 0.0, 0.1, 0.1));
    }
}

/// How many frames ffmpeg takes for two half ones of different moments.
fn combed(film: &Path) -> u64 {
    let told = Command::new("ffmpeg").args(["-hide_banner", "-i", &film.to_string_lossy(), "-vf", "idet", "-f", "null", "-"]).output().unwrap();
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    let line = told.lines().find(|l| l.contains("Multi frame detection")).unwrap_or_else(|| panic!("{told}")).to_owned();
    ["TFF:", "BFF:"].iter().map(|n| line.split(n).nth(1).unwrap().split_whitespace().next().unwrap().parse::<u64>().unwrap()).sum()
}

#[test]
fn half_pictures_become_whole() {
    let run = Run::new();
    let graph = "testsrc2=size=320x240:rate=50:duration=2,scroll=h=0.02,tinterlace=mode=interleave_top,fieldorder=tff";
    let film = generated(&run, "halves.ts", graph, &["-c:v", "mpeg2video", "-q:v", "2", "-flags", "+ilme+ildct"]);
    assert!(combed(&film) > 30, "{}", combed(&film));
    for (wish, whole) in [("auto", true), ("always", true), ("never", false)] {
        let file = with(&run, &film, "mp4", json!({"deinterlace": wish}));
        assert_eq!(combed(&file) < 3, whole, "{wish}: {}", combed(&file));
        assert!(frames(&file).abs_diff(50) <= 1, "{wish}: {}", frames(&file));
    }
}

/// 203 nits, the white of a page, in the signal of SMPTE ST 2084; its colours are said, or only that it is HDR.
fn bright(run: &Run, name: &str, said: &str) -> PathBuf {
    let graph = "color=c=0x949494:size=160x120:rate=10:duration=1,scale=out_color_matrix=bt2020:out_range=tv,format=yuv420p10le";
    let settings = format!("log-level=none:transfer=smpte2084{said}");
    let film = generated(run, name, graph, &["-c:v", "libx265", "-x265-params", &settings, "-color_trc", "smpte2084"]);
    assert_eq!(stream(&ffprobe(&film), "video").unwrap()["color_transfer"], "smpte2084");
    film
}

#[test]
fn hdr_becomes_what_every_screen_shows() {
    let run = Run::new();
    for (name, said) in [("said.mkv", ":colorprim=bt2020:colormatrix=bt2020nc"), ("unsaid.mkv", "")] {
        let film = bright(&run, name, said);
        let file = with(&run, &film, "mp4", json!({}));
        let found = ffprobe(&file);
        let picture = stream(&found, "video").unwrap();
        assert_eq!(
            (picture["color_transfer"].as_str(), picture["color_primaries"].as_str(), picture["pix_fmt"].as_str()),
            (Some("bt709"), Some("bt709"), Some("yuv420p"))
        );
        let sheet = json!({"sheet": {"columns": 1, "rows": 1}});
        let stills = [("png", json!({})), ("jpeg", json!({})), ("webp", sheet)].map(|(to, options)| run.file(&film, to, options).unwrap());
        for shown in stills.iter().chain([&file]) {
            let mapped = colour(shown, 0.0, 0.5, 0.5);
            assert!(mapped.iter().all(|c| (180..=245).contains(c)), "{name}: white became {mapped:?} in {}", shown.display());
        }
        let kept = with(&run, &film, "mp4", json!({"tone_map": "never"}));
        assert_eq!(stream(&ffprobe(&kept), "video").unwrap()["color_transfer"], "smpte2084");
    }
}

#[test]
fn noise_goes_and_the_file_gets_smaller() {
    let run = Run::new();
    let film = generated(&run, "noise.mp4", "testsrc2=size=320x240:rate=10:duration=1,noise=alls=7:allf=t", &["-crf", "8", "-pix_fmt", "yuv420p"]);
    let bytes = |denoise: Value| std::fs::metadata(with(&run, &film, "mp4", json!({"crf": 20, "denoise": denoise}))).unwrap().len();
    let all = [bytes(json!(null)), bytes(json!("light")), bytes(json!("medium")), bytes(json!("strong"))];
    assert!(all.windows(2).all(|w| w[1] * 100 < w[0] * 98), "{all:?}");
}

/// The numbers of the pictures that stand for themselves.
fn keyframes(film: &Path) -> Vec<usize> {
    let told = tool("ffprobe", &["-v", "error", "-select_streams", "v", "-show_entries", "packet=flags", "-of", "csv=p=0", &film.to_string_lossy()]);
    told.lines().enumerate().filter(|(_, flags)| flags.starts_with('K')).map(|(n, _)| n).collect()
}

#[test]
fn keyframes_come_as_often_as_asked() {
    let run = Run::new();
    let film = generated(&run, "film.mp4", "testsrc2=size=160x120:rate=25:duration=4", &["-pix_fmt", "yuv420p"]);
    for (to, codec) in [("mp4", "h264"), ("mp4", "hevc"), ("webm", "vp9"), ("webm", "vp8"), ("webm", "av1"), ("avi", "mpeg4")] {
        let file = with(&run, &film, to, json!({"codec": codec, "keyframe_interval": "0.8s", "preset": "ultrafast"}));
        let keys = keyframes(&file);
        assert!([0, 20, 40, 60, 80].iter().all(|n| keys.contains(n)), "{codec}: {keys:?}");
    }
    // And often enough to jump about where nothing was asked.
    let long = generated(&run, "long.mp4", "testsrc2=size=160x120:rate=25:duration=12", &["-pix_fmt", "yuv420p"]);
    for codec in ["vp9", "av1"] {
        let keys = keyframes(&with(&run, &long, "webm", json!({"codec": codec, "preset": "ultrafast"})));
        assert!(keys.len() > 1, "{codec}: {keys:?}");
    }
}

#[test]
fn encoders_are_tuned_and_bound() {
    let run = Run::new();
    for (wish, wanted) in [("baseline", "Constrained Baseline"), ("main", "Main"), ("high", "High")] {
        let file = run.file(&clip(), "mp4", json!({"video": {"profile": wish, "tune": "film"}})).unwrap();
        assert_eq!(stream(&ffprobe(&file), "video").unwrap()["profile"], wanted);
    }
    for (to, wish, pixels) in [("mov", "prores", "yuv422p10le"), ("mkv", "ffv1", "yuv420p")] {
        let probed = ffprobe(&with(&run, &clip(), to, json!({"codec": wish})));
        assert_eq!((codec(&probed, "video").as_str(), stream(&probed, "video").unwrap()["pix_fmt"].as_str()), (wish, Some(pixels)));
    }
    fails(run.file(&clip(), "mp4", json!({"video": {"codec": "hevc", "tune": "film"}})), Code::InvalidOption);
    fails(run.file(&clip(), "webm", json!({"video": {"profile": "main"}})), Code::InvalidOption);
    fails(run.file(&clip(), "mp4", json!({"video": {"codec": "prores"}})), Code::InvalidOption);
    let (_, converter) = converters::by_id("video.transcode").unwrap();
    for (options, field) in [
        (json!({"video": {"crop": {"width": 1, "height": 10}}}), "video.crop.width"),
        (json!({"video": {"rotate": 45}}), "video.rotate"),
        (json!({"video": {"keyframe_interval": 0}}), "video.keyframe_interval"),
        (json!({"video": {"denoise": "all"}}), "video.denoise"),
    ] {
        assert_eq!((converter.check)(&options).expect_err("accepted").field, field, "{options}");
    }
}

#[test]
fn a_film_fits_the_size_asked() {
    let run = Run::new();
    let film = run.folder.path().join("film.mp4");
    let picture = "testsrc2=size=320x240:rate=25:duration=4,noise=alls=30:allf=t";
    let sound = "anoisesrc=duration=4:sample_rate=44100";
    tool(
        "ffmpeg",
        &[
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            picture,
            "-f",
            "lavfi",
            "-i",
            sound,
            "-crf",
            "18",
            "-preset",
            "ultrafast",
            "-pix_fmt",
            "yuv420p",
            &film.to_string_lossy(),
        ],
    );
    for (to, codec, target) in [("mp4", "h264", 300_000u64), ("avi", "mpeg4", 750_000)] {
        let options = json!({"target_size": target, "video": {"codec": codec, "preset": "ultrafast"}, "audio": {"bitrate": "96k"}});
        let bytes = std::fs::metadata(run.file(&film, to, options).unwrap()).unwrap().len();
        assert!(bytes <= target && bytes * 100 >= target * 60, "{to}: {bytes} of {target}");
    }
    // What is small enough already is copied.
    run.file(&clip(), "mkv", json!({"target_size": "2MB"})).unwrap();
    assert!(run.listener.log.lock().unwrap().last().is_some_and(|l| l.contains("copied")), "{:?}", run.listener.log.lock().unwrap().last());
    fails(run.file(&film, "mp4", json!({"target_size": 20_000})), Code::LimitExceeded);
    fails(run.file(&film, "gif", json!({"target_size": "1MB"})), Code::InvalidOption);
    let (_, converter) = converters::by_id("video.transcode").unwrap();
    for options in [json!({"target_size": 5}), json!({"target_size": "1MB", "video": {"crf": 20}})] {
        assert_eq!((converter.check)(&options).expect_err("accepted").field, "target_size", "{options}");
    }
}
