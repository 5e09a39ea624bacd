//! Sprite sheets and contact sheets: pictures where and when they are said to be.

use crate::support::av::{colour, ffprobe, size};
use crate::support::direct::{Run, fixture, tool};
use crate::support::jailed::Jailed;
use millrace::convert::{Depth, Produced};
use millrace::converters;
use serde_json::json;
use std::path::{Path, PathBuf};

const COLOURS: [(&str, [i32; 3]); 6] =
    [("red", [255, 0, 0]), ("lime", [0, 255, 0]), ("blue", [0, 0, 255]), ("yellow", [255, 255, 0]), ("white", [255, 255, 255]), ("black", [0, 0, 0])];

/// Two seconds of each colour, one after the other.
fn film(run: &Run) -> PathBuf {
    let file = run.folder.path().join("film.mp4");
    let parts: String = COLOURS.iter().enumerate().map(|(n, (name, _))| format!("color={name}:size=320x180:rate=25:duration=2[p{n}];")).collect();
    let labels: String = (0..COLOURS.len()).map(|n| format!("[p{n}]")).collect();
    let graph = format!("{parts}{labels}concat=n={},format=yuv420p", COLOURS.len());
    tool("ffmpeg", &["-v", "error", "-f", "lavfi", "-i", &graph, "-g", "10", &file.to_string_lossy()]);
    file
}

fn assert_colour(file: &Path, x: f64, y: f64, wanted: [i32; 3]) {
    let found = colour(file, 0.0, x, y);
    assert!(found.iter().zip(wanted).all(|(f, w): (&i32, i32)| (f - w).abs() < 40), "{}: {found:?} at {x},{y}, not {wanted:?}", file.display());
}

fn names(produced: &Produced) -> Vec<&str> {
    produced.files.iter().map(|f| f.name.as_str()).collect()
}

#[test]
fn every_moment_has_its_picture() {
    let run = Run::new();
    let film = film(&run);
    for (to, extension) in [("jpeg", "jpg"), ("webp", "webp"), ("png", "png")] {
        let options = json!({"interval": 2, "width": 96, "columns": 2, "rows": 2, "format": to});
        let (produced, dir) = run.convert(&film, "sprites", options).unwrap();
        let sheets = [format!("result/sprite_000.{extension}"), format!("result/sprite_001.{extension}")];
        assert_eq!(names(&produced), ["result/thumbnails.vtt", &sheets[0], &sheets[1]]);
        for sheet in &produced.files[1..] {
            let media = run.probe(&dir.join(&sheet.file), Depth::Proof).unwrap();
            assert_eq!((media.width, media.height), (Some(192), Some(108)));
            assert_eq!((sheet.expect.width, sheet.expect.height), (Some(192), Some(108)));
        }
        let vtt = std::fs::read_to_string(dir.join("thumbnails.vtt")).unwrap();
        let cues: Vec<&str> = vtt.split("\n\n").skip(1).collect();
        assert_eq!(cues.len(), 6, "{vtt}");
        for (n, (cue, (_, wanted))) in cues.iter().zip(COLOURS).enumerate() {
            let (times, place) = cue.trim().split_once('\n').unwrap();
            assert_eq!(times, format!("00:00:{:02}.000 --> 00:00:{:02}.000", n * 2, n * 2 + 2));
            let (file, rectangle) = place.split_once("#xywh=").unwrap();
            let at: Vec<f64> = rectangle.split(',').map(|v| v.parse().unwrap()).collect();
            assert_colour(&dir.join(file), (at[0] + at[2] / 2.0) / 192.0, (at[1] + at[3] / 2.0) / 108.0, wanted);
        }
    }
}

#[test]
fn a_contact_sheet_shows_all_of_the_film() {
    let run = Run::new();
    let film = film(&run);
    for to in ["jpeg", "png", "webp"] {
        let (produced, dir) = run.convert(&film, to, json!({"sheet": {"columns": 3, "rows": 2}, "width": 100})).unwrap();
        let file = dir.join(&produced.files[0].file);
        assert_eq!(size(&ffprobe(&file)), (300, 2 * 56));
        for (n, (_, wanted)) in COLOURS.iter().enumerate() {
            assert_colour(&file, (n % 3) as f64 / 3.0 + 1.0 / 6.0, (n / 3) as f64 / 2.0 + 0.25, *wanted);
        }
    }
}

#[test]
fn long_films_are_skimmed_by_their_keyframes() {
    let run = Run::new();
    let file = run.folder.path().join("long.mp4");
    let graph = "color=red:size=64x64:rate=5:duration=30[a];color=blue:size=64x64:rate=5:duration=30[b];[a][b]concat=n=2,format=yuv420p";
    tool("ffmpeg", &["-v", "error", "-f", "lavfi", "-i", graph, "-g", "25", &file.to_string_lossy()]);
    let (produced, dir) = run.convert(&file, "sprites", json!({"interval": 10, "columns": 6, "rows": 1, "format": "png"})).unwrap();
    assert_eq!(produced.warnings, Vec::<String>::new());
    assert_eq!(produced.files.len(), 2);
    let sheet = dir.join(&produced.files[1].file);
    for n in 0..6 {
        assert_colour(&sheet, (n as f64 + 0.5) / 6.0, 0.5, if n < 3 { [255, 0, 0] } else { [0, 0, 255] });
    }
    assert!(std::fs::read_to_string(dir.join("thumbnails.vtt")).unwrap().contains("00:00:50.000 --> 00:01:00.000"));
}

#[test]
fn every_film_has_sprites_in_the_jail() {
    let (_, converter) = converters::by_id("video.sprites").unwrap();
    for (left, _) in converter.spec.pairs {
        for from in *left {
            let source = fixture(&format!("video/{from}/good/clip.{from}"));
            let jailed = Jailed::new();
            let (produced, dir) = jailed.convert(&source, "sprites", json!({"interval": 0.5, "columns": 2, "rows": 1})).unwrap();
            // The corners of the picture: red, lime, blue, yellow, clockwise from the top left.
            let sheet = dir.join(&produced.files[1].file);
            assert_colour(&sheet, 0.04, 0.08, [255, 0, 0]);
        }
    }
}

#[test]
fn ranges_are_named() {
    for (id, options, field) in [
        ("video.sprites", json!({"interval": 0}), "interval"),
        ("video.sprites", json!({"width": 5000}), "width"),
        ("video.sprites", json!({"columns": 0}), "columns"),
        ("video.sprites", json!({"format": "gif"}), "format"),
        ("video.poster", json!({"sheet": {"rows": 21}}), "sheet.rows"),
    ] {
        let (_, converter) = converters::by_id(id).unwrap();
        assert_eq!((converter.check)(&options).expect_err("accepted").field, field, "{options}");
    }
}
