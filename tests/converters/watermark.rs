//! A picture laid over pictures and films.

use crate::support::av::{colour, ffprobe, size};
use crate::support::direct::{Run, fails, fixture, tool};
use crate::support::jailed::Jailed;
use base64::Engine;
use image::{ImageFormat, Rgba, RgbaImage};
use millrace::converters;
use millrace::failure::Code;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A magenta square as the option wants it.
fn magenta() -> String {
    let mut bytes = Vec::new();
    RgbaImage::from_pixel(40, 40, Rgba([255, 0, 255, 255])).write_to(&mut std::io::Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
    format!("data:image/png;base64,{}", base64::engine::general_purpose::STANDARD.encode(bytes))
}

fn mark(more: Value) -> Value {
    let mut mark = json!({"image": magenta(), "scale": 0.25, "margin": 0.05});
    mark.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "watermark": mark })
}

fn near(found: [i32; 3], wanted: [i32; 3], about: &str) {
    assert!(found.iter().zip(wanted).all(|(f, w)| (f - w).abs() < 40), "{about}: {found:?}, not {wanted:?}");
}

fn plain(folder: &Path, name: &str, more: &[&str]) -> PathBuf {
    let file = folder.join(name);
    let source = "color=0x202020:size=320x240:rate=10:duration=1";
    let name = file.to_string_lossy();
    tool("ffmpeg", &[&["-v", "error", "-f", "lavfi", "-i", source][..], more, &[&name]].concat());
    file
}

#[test]
fn films_carry_a_mark() {
    let run = Jailed::new();
    let film = plain(run.folder.path(), "plain.mp4", &["-c:v", "libx264", "-pix_fmt", "yuv420p"]);
    for (to, options) in [("mp4", json!({})), ("webm", json!({})), ("mkv", json!({"video": {"height": 120}})), ("gif", json!({})), ("avi", json!({}))]
    {
        let mut all = mark(json!({}));
        all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        let file = run.file(&film, to, all).unwrap_or_else(|e| panic!("{to}: {e:?}"));
        for second in [0.0, 0.8] {
            near(colour(&file, second, 0.85, 0.8), [255, 0, 255], to);
            near(colour(&file, second, 0.4, 0.4), [32, 32, 32], to);
            near(colour(&file, second, 0.985, 0.98), [32, 32, 32], to);
        }
    }
    let faint = run.file(&film, "mp4", mark(json!({"position": "north_west", "opacity": 0.5}))).unwrap();
    near(colour(&faint, 0.0, 0.15, 0.2), [144, 16, 144], "half to be seen");
    for to in ["jpeg", "png", "webp"] {
        let poster = run.file(&film, to, mark(json!({}))).unwrap();
        near(colour(&poster, 0.0, 0.85, 0.8), [255, 0, 255], to);
        near(colour(&poster, 0.0, 0.4, 0.4), [32, 32, 32], to);
        let mut sheet = mark(json!({}));
        sheet["sheet"] = json!({"columns": 2, "rows": 2});
        let sheet = run.file(&film, to, sheet).unwrap();
        near(colour(&sheet, 0.0, 0.85, 0.8), [255, 0, 255], "one mark over the whole sheet");
        near(colour(&sheet, 0.0, 0.4, 0.4), [32, 32, 32], "and none over each of its pictures");
    }
    let mut moving = mark(json!({}));
    moving["animation"] = json!({"duration": 0.5});
    let moving = image::open(run.file(&film, "webp", moving).unwrap()).unwrap().into_rgb8();
    let (x, y) = (moving.width() * 85 / 100, moving.height() * 80 / 100);
    near(moving.get_pixel(x, y).0.map(i32::from), [255, 0, 255], "a moving one");
    let (produced, dir) = run.convert(&film, "hls", mark(json!({}))).unwrap();
    let playlist =
        produced.files.iter().find(|f| f.name.ends_with(".m3u8") && f.name.contains("240")).unwrap_or_else(|| panic!("{:?}", produced.files));
    near(colour(&dir.join(&playlist.file), 0.0, 0.85, 0.8), [255, 0, 255], "hls");
    fails(
        run.file(&film, "mp4", {
            let mut all = mark(json!({}));
            all["copy"] = json!("always");
            all
        }),
        Code::InvalidOption,
    );
}

#[test]
fn pictures_carry_a_mark() {
    let run = Run::new();
    let picture = plain(run.folder.path(), "plain.png", &["-frames:v", "1"]);
    let grey = plain(run.folder.path(), "grey.png", &["-frames:v", "1", "-pix_fmt", "gray16be"]);
    let photo = plain(run.folder.path(), "photo.jpg", &["-frames:v", "1"]);
    let moving = plain(run.folder.path(), "moving.gif", &["-vf", "noise=alls=3"]);
    for (source, to) in [
        (&picture, "png"),
        (&picture, "webp"),
        (&grey, "png"),
        (&photo, "jpeg"),
        (&photo, "avif"),
        (&photo, "webp"),
        (&moving, "gif"),
        (&moving, "webp"),
    ] {
        let about = format!("{} to {to}", source.display());
        let file = run.file(source, to, mark(json!({}))).unwrap_or_else(|e| panic!("{about}: {e:?}"));
        let flat = run.file(&file, "png", json!({"frames": "first"})).unwrap();
        near(colour(&flat, 0.0, 0.85, 0.8), [255, 0, 255], &about);
        near(colour(&flat, 0.0, 0.4, 0.4), [32, 32, 32], &about);
    }
    let mut all = mark(json!({"position": "center", "scale": 0.5}));
    all["width"] = json!(100);
    let small = run.file(&photo, "jpeg", all).unwrap();
    assert_eq!(size(&ffprobe(&small)), (100, 75));
    near(colour(&small, 0.0, 0.5, 0.5), [255, 0, 255], "scaled");
    near(colour(&small, 0.0, 0.1, 0.1), [32, 32, 32], "scaled");
}

#[test]
fn marks_have_bounds() {
    let cut = format!("{}AAAA", &magenta()[..62]);
    for id in ["video.transcode", "video.stream", "image.transcode"] {
        let (_, converter) = converters::by_id(id).unwrap();
        for (more, field) in [
            (json!({"opacity": 1.1}), "watermark.opacity"),
            (json!({"scale": 0}), "watermark.scale"),
            (json!({"margin": 0.5}), "watermark.margin"),
            (json!({"position": "left"}), "watermark.position"),
            (json!({"image": "file:///etc/passwd"}), "watermark.image"),
            (json!({"image": "x".repeat(1 << 20)}), "watermark.image"),
            (json!({"path": "/etc/passwd"}), "watermark.path"),
        ] {
            let refused = (converter.check)(&mark(more)).expect_err("accepted");
            assert!(refused.field == field && refused.given.len() <= 200, "{id}: {refused:?}");
        }
    }
    let run = Run::new();
    let options = mark(json!({"image": cut}));
    let photo = fixture("image/jpeg/good/photo.jpg");
    assert!((converters::by_id("image.transcode").unwrap().1.check)(&options).is_ok(), "its header is fine");
    fails(run.file(&photo, "png", options), Code::InvalidOption);
}
