//! Films made in parts: joined, they are what one run makes.

use crate::support::av::{all_packets, ffprobe, frames, shown_at, stream};
use crate::support::direct::{Run, fails, tool};
use millrace::converters;
use millrace::failure::Code;
use serde_json::{Value, json};
use std::fs::File;
use std::path::{Path, PathBuf};
use zip::write::SimpleFileOptions;

/// A film made by a tool that is not ours.
fn film(run: &Run, name: &str, seconds: u32, pictures: &str, words: &[&str]) -> PathBuf {
    let path = run.folder.path().join(name);
    let (shown, heard) =
        (format!("testsrc2=size=160x120:rate=25:duration={seconds}{pictures}"), format!("sine=frequency=440:sample_rate=44100:duration={seconds}"));
    let mut args = vec!["-v", "error", "-f", "lavfi", "-i", &shown, "-f", "lavfi", "-i", &heard];
    args.extend(words);
    let file = path.to_string_lossy();
    tool("ffmpeg", &[&args[..], &[&file]].concat());
    path
}

fn with(options: &Value, part: &str) -> Value {
    let mut options = options.clone();
    options["part"] = json!(part);
    options
}

/// Every part of the film, and the rest, each made by a run of its own.
fn parts(run: &Run, source: &Path, to: &str, options: &Value, of: usize) -> Vec<PathBuf> {
    let names = (1..=of).map(|n| format!("{n}/{of}")).chain(["rest".to_owned()]);
    names.map(|part| run.file(source, to, with(options, &part)).unwrap_or_else(|e| panic!("{part} of {to}: {e:?}"))).collect()
}

fn zipped(run: &Run, files: &[PathBuf]) -> PathBuf {
    let path = run.folder.path().join(format!("parts-{}.zip", std::fs::read_dir(run.folder.path()).unwrap().count()));
    let mut zip = zip::ZipWriter::new(File::create(&path).unwrap());
    for (n, file) in files.iter().enumerate() {
        zip.start_file(format!("{n}.{}", file.extension().unwrap().display()), SimpleFileOptions::default()).unwrap();
        std::io::copy(&mut File::open(file).unwrap(), &mut zip).unwrap();
    }
    zip.finish().unwrap();
    path
}

/// How alike the pictures of two films are, 0 to 1, picture by picture.
fn likeness(a: &Path, b: &Path) -> f64 {
    let (a, b) = (a.to_string_lossy(), b.to_string_lossy());
    let done = std::process::Command::new("ffmpeg")
        .args(["-hide_banner", "-i", &a, "-i", &b, "-lavfi", "[0:v][1:v]ssim=shortest=0", "-f", "null", "-"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    let all = text.rsplit_once("All:").unwrap_or_else(|| panic!("{text}")).1;
    all.split(' ').next().unwrap().parse().unwrap()
}

/// One run and several joined make the same film.
fn same(run: &Run, source: &Path, to: &str, options: &Value, counts: &[usize]) {
    let whole = run.file(source, to, options.clone()).unwrap();
    for of in counts {
        let about = format!("{} to {to}, {options}, in {of} parts", source.display());
        let zip = zipped(run, &parts(run, source, to, options, *of));
        let (produced, dir) = run.convert(&zip, to, json!({})).unwrap_or_else(|e| panic!("{about}: {e:?}"));
        super::video::holds(run, &produced, &dir, &about);
        assert_eq!(produced.warnings, Vec::<String>::new(), "{about}");
        let joined = dir.join(&produced.files[0].file);
        assert_eq!(shown_at(&joined), shown_at(&whole), "{about}");
        let decoded = |file: &Path| all_packets(file, "v:0", "dts");
        assert_eq!(decoded(&joined), decoded(&whole), "{about}");
        for kind in ["a", "s"] {
            let all = |file: &Path| all_packets(file, kind, "pts,dts,duration,size,data_hash");
            assert_eq!(all(&joined), all(&whole), "{about}: {kind}");
        }
        assert_eq!(frames(&joined), frames(&whole), "{about}");
        let told = |file: &Path| {
            let probed = ffprobe(file);
            let of = |kind: &str, names: &[&str]| names.iter().map(|name| stream(&probed, kind).map(|s| s[*name].clone())).collect::<Vec<_>>();
            let picture = of(
                "video",
                &[
                    "codec_name",
                    "codec_tag_string",
                    "time_base",
                    "start_pts",
                    "color_space",
                    "color_range",
                    "field_order",
                    "has_b_frames",
                    "sample_aspect_ratio",
                    "disposition",
                ],
            );
            let sound = of("audio", &["codec_name", "time_base", "start_pts", "duration_ts", "sample_rate", "disposition"]);
            let whole =
                [&probed["format"]["duration"], &probed["format"]["start_time"], &probed["format"]["tags"], &probed["chapters"]].map(Value::clone);
            (picture, sound, whole)
        };
        assert_eq!(told(&joined), told(&whole), "{about}");
        let file = joined.to_string_lossy();
        assert_eq!(tool("ffmpeg", &["-v", "error", "-xerror", "-i", &file, "-f", "null", "-"]), "", "{about}");
        let likeness = likeness(&joined, &whole);
        assert!(likeness > 0.95, "{about}: {likeness}");
    }
}

#[test]
fn a_film_of_parts_is_that_of_one_run() {
    let run = Run::new();
    // Open groups, pictures stored out of order, and sound with 1024 samples of priming.
    let words = ["-c:v", "libx264", "-bf", "3", "-g", "30", "-x264-params", "open-gop=1", "-c:a", "aac", "-metadata", "title=Test", "-shortest"];
    let source = film(&run, "film.mp4", 6, "", &words);
    let settings = json!({"video": {"crf": 30, "preset": "fast"}, "audio": {"codec": "aac", "bitrate": "64k"}});
    same(&run, &source, "mp4", &settings, &[1, 2, 3, 7]);
}

#[test]
fn a_film_of_irregular_pictures_keeps_their_times() {
    let run = Run::new();
    let words = ["-fps_mode", "vfr", "-video_track_timescale", "90000", "-c:v", "libx264", "-g", "40", "-c:a", "aac"];
    let source = film(&run, "vfr.mp4", 6, ",select='not(mod(n\\,3))+lt(mod(n\\,40)\\,11)',setpts='PTS+(mod(N\\,5)*0.003)/TB'", &words);
    let settings = json!({"video": {"crf": 30, "preset": "fast"}, "copy": "never"});
    same(&run, &source, "mp4", &settings, &[1, 2, 3, 7]);
    same(&run, &source, "mkv", &settings, &[3]);
    // At a rate of its own, pictures are repeated and dropped as one run would.
    same(&run, &source, "mp4", &json!({"video": {"crf": 30, "preset": "fast", "fps": 10}, "copy": "never"}), &[3]);
}

#[test]
fn parts_are_joined_in_every_container_and_codec() {
    let run = Run::new();
    let webm = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "30", "-c:a", "libopus"];
    let source = film(&run, "film.webm", 4, "", &webm);
    same(&run, &source, "webm", &json!({"video": {"codec": "vp9", "preset": "ultrafast"}, "copy": "never"}), &[1, 2, 3, 7]);
    for (to, codec) in [("mp4", "hevc"), ("mp4", "av1"), ("mov", "prores"), ("mkv", "mpeg4"), ("mkv", "ffv1"), ("mkv", "h264"), ("webm", "vp8")] {
        same(&run, &source, to, &json!({"video": {"codec": codec, "preset": "veryfast"}}), &[3]);
    }
    // A broadcast's pictures are only found from its beginning.
    let source = film(&run, "film.ts", 4, "", &["-c:v", "mpeg2video", "-c:a", "mp2"]);
    same(&run, &source, "mp4", &json!({"video": {"preset": "veryfast"}}), &[3]);
}

#[test]
fn what_goes_beside_the_pictures_comes_along() {
    let run = Run::new();
    let lines = run.folder.path().join("lines.srt");
    std::fs::write(&lines, "1\n00:00:01,000 --> 00:00:02,000\nOne\n\n2\n00:00:03,000 --> 00:00:03,500\nTwo\n").unwrap();
    let notes = run.folder.path().join("notes.txt");
    std::fs::write(&notes, ";FFMETADATA1\ntitle=A film\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=2000\ntitle=Begin\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=2000\nEND=4000\ntitle=End\n").unwrap();
    let (lines, notes) = (lines.to_string_lossy().into_owned(), notes.to_string_lossy().into_owned());
    let words = [
        "-i",
        &lines,
        "-i",
        &notes,
        "-map",
        "0",
        "-map",
        "1",
        "-map",
        "1",
        "-map",
        "2",
        "-map_metadata",
        "3",
        "-c:v",
        "libx264",
        "-c:a",
        "aac",
        "-c:s",
        "srt",
        "-metadata:s:a:1",
        "language=deu",
        "-t",
        "4",
    ];
    let source = film(&run, "film.mkv", 4, "", &words);
    for to in ["mp4", "mkv"] {
        same(&run, &source, to, &json!({"video": {"crf": 30, "preset": "veryfast"}}), &[2]);
    }
    let silent = film(&run, "silent.mp4", 2, "", &["-map", "0", "-c:v", "libx264"]);
    same(&run, &silent, "mp4", &json!({"video": {"crf": 30}}), &[2]);
}

#[test]
fn what_cannot_be_made_in_parts_is_named() {
    let run = Run::new();
    let (_, converter) = converters::by_id("video.transcode").unwrap();
    for wrong in ["0/5", "6/5", "a/b", "1/201", "1"] {
        assert_eq!((converter.check)(&json!({"part": wrong})).expect_err(wrong).field, "part");
    }
    for (with, field) in [
        (json!({"target_size": "1MB"}), "target_size"),
        (json!({"trim": {"start": 1}}), "trim"),
        (json!({"salvage": true}), "salvage"),
        (json!({"copy": "always"}), "copy"),
        (json!({"video": {"codec": "copy"}}), "video.codec"),
        (json!({"video": {"bitrate": "1M", "passes": 2}}), "video.passes"),
    ] {
        assert_eq!((converter.check)(&self::with(&with, "1/2")).expect_err(field).field, field);
    }
    let source = film(&run, "film.mp4", 1, "", &["-c:v", "libx264", "-c:a", "aac"]);
    for (to, part, word) in [("avi", "1/2", "mp4, mov, mkv, webm"), ("mp4", "3/26", "25 pictures")] {
        let failure = fails(run.file(&source, to, json!({"part": part})), Code::InvalidOption);
        assert!(failure.message.starts_with("`part`") && failure.message.contains(word), "{}", failure.message);
    }
    let sound = film(&run, "sound.m4a", 1, "", &["-map", "1", "-c:a", "aac"]);
    std::fs::rename(&sound, sound.with_extension("mp4")).unwrap();
    fails(run.file(&sound.with_extension("mp4"), "mp4", json!({"part": "1/2"})), Code::UnsupportedConversion);
}

#[test]
fn parts_that_are_no_film_together_are_refused() {
    let run = Run::new();
    let source = film(&run, "film.mp4", 2, "", &["-c:v", "libx264", "-c:a", "aac"]);
    let longer = film(&run, "longer.mp4", 3, "", &["-c:v", "libx264", "-c:a", "aac"]);
    let settings = json!({"video": {"crf": 30, "preset": "veryfast"}});
    let made = parts(&run, &source, "mp4", &settings, 3);
    let other = parts(&run, &longer, "mp4", &settings, 3);
    let unlike = parts(&run, &source, "mp4", &json!({"video": {"crf": 30, "preset": "slow"}}), 3);
    let cut = run.folder.path().join("cut.mp4");
    let bytes = std::fs::read(&made[1]).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() - bytes.len() / 3]).unwrap();
    let [one, two, three, rest] = &made[..] else { panic!("{made:?}") };
    for (files, word) in [
        (vec![one, three, rest], "Part 2 of 3 is missing"),
        (vec![one, two, two, three, rest], "Part 2 of 3 is there 2 times"),
        (vec![one, two, three], "The rest of the film is missing"),
        (vec![rest], "no part of a film"),
        (vec![one, two, three, rest, &source], "2 files are no part"),
        (vec![one, &other[1], three, rest], "Part 2 does not begin where part 1 ends"),
        (vec![one, two, &unlike[2], rest], "settings of the encoder"),
        (vec![one, &cut, three, rest], ""),
    ] {
        let zip = zipped(&run, &files.into_iter().cloned().collect::<Vec<_>>());
        let failure = fails(run.file(&zip, "mp4", json!({})), Code::CorruptInput);
        assert!(failure.message.contains(word), "{word}: {}", failure.message);
    }
    // In any order, for each says which it is.
    let zip = zipped(&run, &[rest.clone(), three.clone(), one.clone(), two.clone()]);
    assert_eq!(frames(&run.file(&zip, "mp4", json!({})).unwrap()), 50);
    let failure = fails(run.file(&zip, "mkv", json!({})), Code::UnsupportedConversion);
    assert!(failure.message.contains("become mp4") || failure.message.contains("become mkv"), "{}", failure.message);
}
