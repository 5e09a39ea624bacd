//! What is made of recordings beyond other files of sound: several files, pictures of their tones.

use super::audio::{good, rate};
use crate::support::av::{ffprobe, samples};
use crate::support::direct::{Run, fails, fixture, tool};
use millrace::converters;
use millrace::failure::Code;
use serde_json::json;

#[test]
fn recordings_are_cut_at_chapters_and_pauses() {
    let run = Run::new();
    let film = fixture("video/mkv/odd/chapters.mkv");
    for to in ["mp3", "m4a", "flac", "opus"] {
        let (produced, dir) = run.convert(&film, to, json!({"split": "chapters"})).unwrap();
        let names: Vec<&str> = produced.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, [format!("result-01.{to}"), format!("result-02.{to}")]);
        for (n, file) in produced.files.iter().enumerate() {
            let found = ffprobe(&dir.join(&file.file));
            let seconds = samples(&dir.join(&file.file)) as f64 / rate(&found);
            assert!((seconds - 0.6).abs() < 0.06, "{to} {n}: {seconds}");
            let tags = [&found["format"]["tags"], &found["streams"][0]["tags"]].map(|tags| tags.to_string().to_lowercase()).concat();
            let title = ["one", "two"][n];
            assert!(tags.contains(&format!("\"{title}\"")) && tags.contains(&format!("{}/2", n + 1)), "{to} {n}: {tags}");
        }
    }
    // Two tones with a pause of half a second, and silence at the ends.
    let song = run.folder.path().join("song.wav");
    let graph = "aevalsrc=exprs='if(between(t,0.3,1)+between(t,1.5,2.2),0.5*sin(2*PI*440*t),0)':s=48000:d=2.5";
    tool("ffmpeg", &["-v", "error", "-f", "lavfi", "-i", graph, &song.to_string_lossy()]);
    let (produced, dir) = run.convert(&song, "flac", json!({"split": {"silence": {"least": 0.2}}})).unwrap();
    let lengths: Vec<f64> = produced.files.iter().map(|file| samples(&dir.join(&file.file)) as f64 / 48000.0).collect();
    assert!(lengths.len() == 2 && lengths.iter().all(|length| (length - 1.25).abs() < 0.01), "{lengths:?}");
    let (produced, _) = run.convert(&song, "wav", json!({"split": {"silence": {"least": 1}}})).unwrap();
    assert_eq!(produced.files.len(), 1);
    fails(run.file(&song, "mp3", json!({"split": "chapters"})), Code::InvalidOption);
    let (_, converter) = converters::by_id("audio.transcode").unwrap();
    for (options, field) in [
        (json!({"split": "chapters", "trim": {"start": 1}}), "split"),
        (json!({"split": {"silence": {"least": 0}}}), "split.silence.least"),
        (json!({"split": "words"}), "split"),
    ] {
        assert_eq!((converter.check)(&options).expect_err("accepted").field, field, "{options}");
    }
}

#[test]
fn tones_are_seen_at_their_height() {
    let run = Run::new();
    let song = run.folder.path().join("song.wav");
    // A second at 1 kHz, then one at 3 kHz, of 8 kHz that are sampled.
    tool(
        "ffmpeg",
        &["-v", "error", "-f", "lavfi", "-i", "aevalsrc=exprs='0.8*sin(2*PI*t*if(lt(t,1),1000,3000))':s=8000:d=2", &song.to_string_lossy()],
    );
    let options = json!({"style": "spectrogram", "width": 100, "height": 80, "range": 60});
    let file = run.file(&song, "png", options.clone()).unwrap();
    let picture = image::open(&file).unwrap().into_rgb8();
    assert_eq!(picture.dimensions(), (100, 80));
    let light = |x: u32, y: u32| picture.get_pixel(x, y).0.iter().map(|c| u32::from(*c)).sum::<u32>();
    let brightest = |x: u32| (0..80).max_by_key(|y| light(x, *y)).unwrap();
    assert!((58..=61).contains(&brightest(25)) && (18..=21).contains(&brightest(75)), "{} {}", brightest(25), brightest(75));
    assert!(light(25, 20) < 100 && light(75, 60) < 100, "nothing else is heard");
    for from in ["mp3", "flac", "dts", "amr"] {
        let file = run.file(&good(from), "png", options.clone()).unwrap_or_else(|e| panic!("{from}: {e:?}"));
        assert_eq!(image::open(file).unwrap().to_rgb8().dimensions(), (100, 80), "{from}");
    }
    fails(run.file(&song, "svg", options), Code::InvalidOption);
    let (_, converter) = converters::by_id("audio.waveform").unwrap();
    assert_eq!((converter.check)(&json!({"range": 5})).expect_err("accepted").field, "range");
}
