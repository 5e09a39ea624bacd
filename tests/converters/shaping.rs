//! What is done to sound on its way: loudness, fades, silence, speed; measured by ffmpeg.

use crate::support::av::{ffprobe, samples, stream};
use crate::support::direct::{Run, fails, fixture, tool};
use millrace::converters;
use millrace::failure::Code;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Sound made by ffmpeg's generators, below the folder of the run.
fn generated(run: &Run, name: &str, graph: &str) -> PathBuf {
    let file = run.folder.path().join(name);
    tool("ffmpeg", &["-v", "error", "-f", "lavfi", "-i", graph, &file.to_string_lossy()]);
    file
}

/// Integrated loudness in LUFS and the highest true peak in dBTP, as ffmpeg's meter hears them.
fn ebur128(file: &Path) -> (f64, f64) {
    let told = Command::new("ffmpeg")
        .args([
            "-hide_banner",
            "-nostats",
            "-i",
            &file.to_string_lossy(),
            "-map",
            "0:a:0",
            "-af",
            "ebur128=peak=true:framelog=verbose",
            "-f",
            "null",
            "-",
        ])
        .output()
        .unwrap();
    assert!(told.status.success());
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    let summary = told.split("Summary:").nth(1).unwrap_or_else(|| panic!("{told}"));
    let value = |name: &str| summary.split(name).nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    (value("I:"), value("Peak:"))
}

/// The loudest sample between two times, in dBFS; -91 is silence.
fn peak(file: &Path, from: f64, to: f64) -> f64 {
    let cut = format!("atrim=start={from}:end={to},volumedetect");
    let told =
        Command::new("ffmpeg").args(["-hide_banner", "-nostats", "-i", &file.to_string_lossy(), "-af", &cut, "-f", "null", "-"]).output().unwrap();
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    told.split("max_volume:").nth(1).unwrap_or_else(|| panic!("{told}")).split_whitespace().next().unwrap().parse().unwrap()
}

/// Loud and soft passages with sharp beats.
const MUSIC: &str = "aevalsrc=exprs='(0.08+0.06*sin(2*PI*t/5))*(sin(2*PI*220*t)+sin(2*PI*330.7*t))+0.75*exp(-40*mod(t,0.5))*sin(2*PI*95*t)|\
                     (0.08+0.06*cos(2*PI*t/5))*(sin(2*PI*221*t)+sin(2*PI*441.3*t))+0.7*exp(-50*mod(t,0.5))*sin(2*PI*1900*t)':s=44100:d=12";

#[test]
fn loudness_meets_its_goal_below_its_ceiling() {
    let run = Run::new();
    let music = generated(&run, "music.wav", MUSIC);
    let (before, _) = ebur128(&music);
    for (to, integrated, true_peak) in [
        // One gain is enough; then the peaks have to be held down, hard.
        ("wav", -30.0, -1.5),
        ("flac", -16.0, -1.5),
        ("wav", -12.0, -2.0),
        ("mp3", -16.0, -1.5),
        ("m4a", -14.0, -1.0),
        ("opus", -16.0, -1.5),
        ("ogg", -18.0, -3.0),
    ] {
        let goal = json!({"loudness": {"integrated": integrated, "true_peak": true_peak}});
        let (produced, dir) = run.convert(&music, to, goal).unwrap();
        let (found, peak) = ebur128(&dir.join(&produced.files[0].file));
        assert!((found - integrated).abs() <= 0.5, "{to}: {found} LUFS of {before}, not {integrated}");
        assert!(peak <= true_peak, "{to}: {peak} dBTP, over {true_peak}");
        assert_eq!(produced.warnings, Vec::<String>::new(), "{to}");
    }
    // The loudness of a film's sound, and what is already right in a file that could have been copied.
    let film = run
        .file(&fixture("video/mp4/good/clip.mp4"), "mp4", json!({"audio": {"loudness": {"integrated": -23}}, "video": {"codec": "copy"}}))
        .unwrap();
    assert!((ebur128(&film).0 + 23.0).abs() <= 0.5);
}

#[test]
fn a_goal_out_of_reach_is_told() {
    let run = Run::new();
    let clicks = generated(&run, "clicks.wav", "aevalsrc=exprs='0.9*exp(-3000*mod(t,1))':s=48000:d=6");
    let (produced, dir) = run.convert(&clicks, "wav", json!({"loudness": {"integrated": -5, "true_peak": -9}})).unwrap();
    assert!(produced.warnings.iter().any(|w| w.contains("LUFS, not -5.0")), "{:?}", produced.warnings);
    assert!(ebur128(&dir.join(&produced.files[0].file)).1 <= -8.9);
    let silent = generated(&run, "silent.wav", "anullsrc=r=48000:d=2");
    let (produced, _) = run.convert(&silent, "mp3", json!({"loudness": {}})).unwrap();
    assert!(produced.warnings[0].contains("silent"), "{:?}", produced.warnings);
}

#[test]
fn silence_goes_and_what_is_to_stay_of_it_stays() {
    let run = Run::new();
    // 2 s of silence, 3 s of sound, 1.5 s of hiss.
    let song = generated(&run, "song.wav", "aevalsrc=exprs='if(between(t,2,5),0.5*sin(2*PI*440*t),if(gt(t,5),0.001*random(0),0))':s=48000:d=6.5");
    for (options, length) in [
        (json!({"trim_silence": {}}), 3.2),
        (json!({"trim_silence": {"keep": 0}}), 3.0),
        (json!({"trim_silence": {"keep": "1s", "threshold": -40}}), 5.0),
        (json!({"trim_silence": {"keep": 0, "threshold": -75}}), 4.5),
        (json!({"trim_silence": {"keep": 0}, "trim": {"start": 3}}), 2.0),
    ] {
        let file = run.file(&song, "wav", options.clone()).unwrap();
        let found = samples(&file) as f64 / 48000.0;
        assert!((found - length).abs() < 0.005, "{options}: {found} s");
    }
    let silent = generated(&run, "silent.wav", "anullsrc=r=48000:d=2");
    fails(run.file(&silent, "wav", json!({"trim_silence": {}})), Code::InvalidOption);
}

#[test]
fn sound_comes_and_goes() {
    let run = Run::new();
    let tone = generated(&run, "tone.wav", "sine=frequency=440:sample_rate=48000:duration=4,volume=4");
    let file = run.file(&tone, "wav", json!({"fade_in": "1s", "fade_out": 2})).unwrap();
    let full = peak(&tone, 0.0, 4.0);
    assert!(peak(&file, 0.0, 0.05) < full - 20.0);
    assert!((peak(&file, 1.1, 1.9) - full).abs() < 0.5);
    assert!((peak(&file, 2.9, 3.0) - full + 6.0).abs() < 1.5, "{}", peak(&file, 2.9, 3.0));
    assert!(peak(&file, 3.95, 4.0) < full - 25.0);
    assert_eq!(samples(&file), 4 * 48000);
    // A fade longer than the sound fades all of it.
    let short = run.file(&tone, "wav", json!({"fade_out": 60})).unwrap();
    assert!((peak(&short, 1.9, 2.0) - full + 6.0).abs() < 1.5);
}

#[test]
fn speed_changes_the_length_and_not_the_pitch() {
    let run = Run::new();
    let tone = generated(&run, "tone.wav", "sine=frequency=440:sample_rate=48000:duration=6");
    for speed in [0.25, 0.75, 1.5, 4.0] {
        let (produced, dir) = run.convert(&tone, "flac", json!({"speed": speed})).unwrap();
        let file = dir.join(&produced.files[0].file);
        let seconds = samples(&file) as f64 / 48000.0;
        assert!((seconds - 6.0 / speed).abs() < 0.08, "{speed}: {seconds} s");
        assert!(produced.files[0].expect.duration_ms.unwrap().abs_diff((seconds * 1000.0) as u64) < 2, "{speed}");
        assert_eq!(produced.warnings, Vec::<String>::new(), "{speed}");
        // A tone of 440 Hz passes through zero 880 times a second.
        let raw = Command::new("ffmpeg").args(["-v", "error", "-i", &file.to_string_lossy(), "-f", "s16le", "-"]).output().unwrap().stdout;
        let wave: Vec<i16> = raw.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
        let crossings = wave.windows(2).filter(|w| (w[0] < 0) != (w[1] < 0)).count() as f64 / seconds;
        assert!((crossings - 880.0).abs() < 20.0, "{speed}: {crossings}");
    }
    assert_eq!(stream(&ffprobe(&run.file(&tone, "mp3", json!({"speed": 1})).unwrap()), "audio").unwrap()["codec_name"], "mp3");
}

#[test]
fn ranges_are_named() {
    let (_, converter) = converters::by_id("audio.transcode").unwrap();
    for (options, field) in [
        (json!({"loudness": {"integrated": 3}}), "loudness.integrated"),
        (json!({"loudness": {"true_peak": 1}}), "loudness.true_peak"),
        (json!({"loudness": {"range": 7}}), "loudness.range"),
        (json!({"trim_silence": {"threshold": -5}}), "trim_silence.threshold"),
        (json!({"speed": 0}), "speed"),
        (json!({"fade_in": "soon"}), "fade_in"),
    ] {
        assert_eq!((converter.check)(&options).expect_err("accepted").field, field, "{options}");
    }
}
