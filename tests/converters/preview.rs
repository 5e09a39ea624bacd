//! One small picture of any file.

use crate::support::command::good;
use crate::support::direct::{fails, fixture, tool};
use crate::support::jailed::Jailed;
use millrace::convert::{Looks, Produced};
use millrace::converters;
use millrace::failure::Code;
use millrace::format::Format;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn preview(run: &Jailed, input: &Path, options: Value) -> (PathBuf, Looks) {
    let (Produced { files, looks, .. }, dir) = run.convert(input, "preview", options).unwrap_or_else(|e| panic!("{}: {e:?}", input.display()));
    assert_eq!((files.len(), files[0].name.as_str()), (1, "result.preview.webp"));
    (dir.join(&files[0].file), looks.expect("a preview tells what it looks like"))
}

/// Format, width and height as ImageMagick sees them.
fn seen(picture: &Path) -> (String, u32, u32) {
    let told = tool("identify", &["-format", "%m %w %h", picture.to_str().unwrap()]);
    let mut words = told.split(' ');
    (words.next().unwrap().to_owned(), words.next().unwrap().parse().unwrap(), words.next().unwrap().parse().unwrap())
}

#[test]
fn every_format_that_can_be_read_has_one() {
    let target = Format::parse("preview").unwrap();
    let run = Jailed::new();
    let mut count = 0;
    for from in Format::all().filter(|from| converters::find(*from, target).is_some()) {
        let (picture, looks) = preview(&run, good(&format!("{}/{from}", from.family())).as_ref(), json!({}));
        let (format, width, height) = seen(&picture);
        assert_eq!(format, "WEBP", "{from}");
        assert!((1..=640).contains(&width) && (1..=640).contains(&height), "{from}: {width} x {height}");
        assert!((5..=25).contains(&looks.thumbhash.len()), "{from}: {looks:?}");
        count += 1;
    }
    assert!(count > 80, "{count}");
    for readable in Format::all().filter(|from| converters::find(*from, Format::parse("json").unwrap()).is_some()) {
        assert!(converters::find(readable, target).is_some(), "{readable} has no preview");
    }
}

#[test]
fn the_box_and_the_colours_are_held() {
    let run = Jailed::new();
    let photo = fixture("image/jpeg/good/photo.jpg");
    let (picture, _) = preview(&run, &photo, json!({"width": 100, "height": 40}));
    assert_eq!(seen(&picture), ("WEBP".into(), 53, 40));
    let drawing = run.folder.path().join("sky.svg");
    std::fs::write(
        &drawing,
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="300" height="200"><rect width="300" height="200" fill="#2080c0"/></svg>"##,
    )
    .unwrap();
    let (picture, looks) = preview(&run, &drawing, json!({}));
    assert_eq!(seen(&picture), ("WEBP".into(), 640, 427));
    assert!(looks.colour.iter().zip([0x20, 0x80, 0xc0]).all(|(is, wanted)| is.abs_diff(wanted) < 4), "{looks:?}");
}

#[test]
fn a_song_shows_its_cover_and_else_its_sound() {
    let run = Jailed::new();
    let (cover, _) = preview(&run, &fixture("audio/mp3/odd/cover.mp3"), json!({}));
    let (curve, _) = preview(&run, &fixture("audio/mp3/odd/tags.mp3"), json!({}));
    assert_eq!(seen(&curve), ("WEBP".into(), 640, 213));
    assert_ne!(seen(&cover), seen(&curve));
    // A file for films in which there is only sound.
    let sound = run.folder.path().join("sound.mp4");
    tool("ffmpeg", &["-v", "error", "-i", fixture("audio/mp3/good/tone.mp3").to_str().unwrap(), "-c:a", "aac", sound.to_str().unwrap()]);
    assert_eq!(seen(&preview(&run, &sound, json!({})).0), ("WEBP".into(), 640, 213));
}

#[test]
fn an_archive_shows_the_names_in_it() {
    let run = Jailed::new();
    let (listing, _) = preview(&run, &fixture("archive/zip/good/mixed.zip"), json!({}));
    assert_eq!(seen(&listing), ("WEBP".into(), 640, 480));
    // Names are dark on the light ground, from the left edge on.
    let told =
        tool("convert", &[listing.to_str().unwrap(), "-crop", "300x60+20+10", "-colorspace", "Gray", "-format", "%[fx:minima] %[fx:mean]", "info:"]);
    let shades: Vec<f64> = told.split(' ').map(|number| number.parse().unwrap()).collect();
    assert!(shades[0] < 0.4 && shades[1] > 0.7, "{told}");
}

#[test]
fn what_has_no_picture_says_why() {
    let run = Jailed::new();
    fails(run.convert(&fixture("document/pdf/odd/password-256.pdf"), "preview", json!({})), Code::PasswordRequired);
    fails(run.convert(&fixture("image/png/broken/truncated.png"), "preview", json!({})), Code::CorruptInput);
    fails(run.convert(&fixture("image/png/broken/huge.png"), "preview", json!({})), Code::LimitExceeded);
    fails(run.convert(&fixture("archive/zip/broken/truncated.zip"), "preview", json!({})), Code::CorruptInput);
}
