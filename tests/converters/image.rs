//! The image family.

use crate::support::direct::{Run, fails, fixture, tool};
use millrace::convert::Depth;
use millrace::converters;
use millrace::failure::Code;
use millrace::format::Format;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A good picture of each input format; all but some show the same scene.
pub fn good(format: &str) -> PathBuf {
    fixture(match format {
        "jpeg" => "image/jpeg/good/photo.jpg",
        "png" => "image/png/good/scene.png",
        "webp" => "image/webp/good/photo.webp",
        "gif" => "image/gif/good/still.gif",
        "apng" => "image/apng/good/moving.apng",
        "jxl" => "image/jxl/good/photo.jxl",
        "jp2" => "image/jp2/good/scene.jp2",
        "psd" => "image/psd/good/scene.psd",
        "raw" => "image/raw/good/camera.dng",
        "hdr" => "image/hdr/good/scene.hdr",
        "exr" => "image/exr/good/scene.exr",
        "dds" => "image/dds/good/scene.dds",
        "avif" => "image/avif/good/photo.avif",
        "heic" => "image/heic/good/photo.heic",
        "tiff" => "image/tiff/good/scene.tiff",
        "bmp" => "image/bmp/good/scene.bmp",
        "svg" => "image/svg/good/drawing.svg",
        "ico" => "image/ico/good/icon.ico",
        "qoi" => "image/qoi/good/ramp.qoi",
        "pnm" => "image/pnm/good/scene.ppm",
        "tga" => "image/tga/good/scene.tga",
        other => panic!("no fixture for {other}"),
    })
}

pub fn identify(file: &Path, format: &str) -> String {
    tool("/usr/bin/identify", &["-format", format, &format!("{}[0]", file.display())])
}

/// The colour of a pixel, as 8-bit RGBA, by another decoder than ours.
pub fn pixel(file: &Path, x: u32, y: u32) -> Vec<i32> {
    let raw = std::process::Command::new("/usr/bin/convert")
        .args([&format!("{}[0]", file.display()), "-colorspace", "sRGB", "-crop", &format!("1x1+{x}+{y}"), "+repage", "-depth", "8", "rgba:-"])
        .output()
        .unwrap()
        .stdout;
    raw.into_iter().map(i32::from).collect()
}

pub fn near(found: &[i32], wanted: [i32; 3]) -> bool {
    found.iter().zip(wanted).all(|(f, w)| (f - w).abs() <= 48)
}

/// Red, lime, blue, yellow clockwise from the top left.
pub fn assert_upright(file: &Path) {
    let (w, h): (u32, u32) = (identify(file, "%w").parse().unwrap(), identify(file, "%h").parse().unwrap());
    let (dx, dy) = (w / 10, h / 10);
    for (x, y, colour) in [(dx, dy, [255, 0, 0]), (w - dx, dy, [0, 255, 0]), (w - dx, h - dy, [0, 0, 255]), (dx, h - dy, [255, 255, 0])] {
        let found = pixel(file, x, y);
        assert!(near(&found, colour), "{}: {found:?} at {x},{y}, not {colour:?}", file.display());
    }
}

#[test]
fn every_pair_converts() {
    let (_, converter) = converters::by_id("image.transcode").unwrap();
    for (left, right) in converter.spec.pairs {
        for from in *left {
            for to in *right {
                let run = Run::new();
                let options = json!({"width": 64, "effort": 1});
                let (produced, dir) = run.convert(&good(from), to, options).unwrap_or_else(|e| panic!("{from} to {to}: {e:?}"));
                let file = dir.join(&produced.files[0].file);
                let width = identify_any(&file, to);
                let wanted = if *from == "qoi" { 40 } else { 64 };
                assert_eq!(width, wanted, "{from} to {to}");
                if *to == "pdf" {
                    // Measured by the document family, whose tests do so.
                    assert_eq!(produced.files[0].expect.pages, Some(1), "{from}");
                    continue;
                }
                let media = run.probe(&file, Depth::Proof).unwrap_or_else(|e| panic!("{from} to {to}: {e:?}"));
                assert_eq!((media.width, media.height), (produced.files[0].expect.width, produced.files[0].expect.height), "{from} to {to}");
            }
        }
    }
}

/// The width by a tool that is not ours; ImageMagick 6 cannot read QOI, FFmpeg can; Poppler tells a PDF's pictures.
fn identify_any(file: &Path, format: &str) -> u32 {
    if format == "pdf" {
        let text = tool("pdfimages", &["-list", &file.to_string_lossy()]);
        return text.lines().nth(2).and_then(|row| row.split_whitespace().nth(3)).unwrap().parse().unwrap();
    }
    let jxl = file.with_extension("from_jxl.png");
    if format == "jxl" {
        tool("djxl", &["--quiet", &file.to_string_lossy(), &jxl.to_string_lossy()]);
        return identify(&jxl, "%w").parse().unwrap();
    }
    let text = if matches!(format, "qoi" | "apng") {
        tool("ffprobe", &["-v", "error", "-show_entries", "stream=width", "-of", "csv=p=0", &file.to_string_lossy()])
    } else {
        identify(file, "%w")
    };
    text.trim().trim_end_matches(',').parse().unwrap()
}

#[test]
fn the_scene_survives_every_lossy_road() {
    for from in ["jpeg", "png", "webp", "avif", "heic", "tiff", "jxl", "jp2", "psd", "raw", "hdr", "exr", "dds"] {
        for to in ["jpeg", "webp", "avif", "png"] {
            let run = Run::new();
            let file = run.file(&good(from), to, json!({"width": 200, "quality": 80})).unwrap();
            assert_upright(&file);
        }
    }
}

#[test]
fn exif_orientation_is_obeyed() {
    for n in 1..=8 {
        let source = fixture(&format!("image/jpeg/odd/orientation_{n}.jpg"));
        let run = Run::new();
        let media = run.probe(&source, Depth::Header).unwrap();
        assert_eq!((media.width, media.height), (Some(320), Some(240)), "orientation {n}");
        for (to, width) in [("jpeg", 101), ("webp", 101), ("png", 160), ("avif", 100)] {
            let file = run.file(&source, to, json!({"width": width})).unwrap();
            assert_eq!(identify(&file, "%w"), width.to_string(), "orientation {n}");
            assert_upright(&file);
        }
    }
    let run = Run::new();
    let as_stored = run.file(&fixture("image/jpeg/odd/orientation_6.jpg"), "png", json!({"auto_orient": false})).unwrap();
    assert_eq!(identify(&as_stored, "%wx%h"), "240x320");
}

#[test]
fn turns_and_mirrors() {
    let run = Run::new();
    let file = run.file(&good("png"), "png", json!({"rotate": 90})).unwrap();
    assert_eq!(identify(&file, "%wx%h"), "240x320");
    assert!(near(&pixel(&file, 235, 5), [255, 0, 0]), "the red corner goes to the top right");
    let file = run.file(&good("jpeg"), "jpeg", json!({"flip": "horizontal"})).unwrap();
    assert!(near(&pixel(&file, 315, 5), [255, 0, 0]));
    let file = run.file(&good("jpeg"), "webp", json!({"flip": "vertical"})).unwrap();
    assert!(near(&pixel(&file, 5, 235), [255, 0, 0]));
}

#[test]
fn fits_give_their_sizes() {
    let run = Run::new();
    for (fit, wanted) in [("inside", "100x75"), ("outside", "133x100"), ("cover", "100x100"), ("contain", "100x100"), ("fill", "100x100")] {
        for (from, to) in [("jpeg", "webp"), ("png", "jpeg")] {
            let file = run.file(&good(from), to, json!({"width": 100, "height": 100, "fit": fit})).unwrap();
            assert_eq!(identify(&file, "%wx%h"), wanted, "{fit} {from} to {to}");
        }
    }
    let file = run.file(&good("jpeg"), "png", json!({"width": 100, "height": 100, "fit": "contain", "background": "#ff00ff"})).unwrap();
    assert_eq!(&pixel(&file, 50, 2)[..3], [255, 0, 255]);
    let file = run.file(&good("jpeg"), "jpeg", json!({"width": 640})).unwrap();
    assert_eq!(identify(&file, "%w"), "320", "never enlarged by default");
    let file = run.file(&good("jpeg"), "jpeg", json!({"width": 640, "enlarge": true})).unwrap();
    assert_eq!(identify(&file, "%w"), "640");
}

#[test]
fn transparency_meets_the_background() {
    let run = Run::new();
    let source = fixture("image/png/good/alpha.png");
    let file = run.file(&source, "jpeg", json!({})).unwrap();
    assert!(near(&pixel(&file, 2, 2), [255, 255, 255]), "white by default");
    let file = run.file(&source, "bmp", json!({"background": "#0000ff"})).unwrap();
    assert_eq!(&pixel(&file, 2, 2)[..3], [0, 0, 255]);
    for to in ["webp", "avif", "png", "gif", "tiff"] {
        let mut file = run.file(&source, to, json!({})).unwrap();
        if to == "avif" {
            // ImageMagick 6 drops the alpha of AVIF; libheif's own tool does not.
            let png = file.with_extension("png");
            tool("heif-convert", &[&file.to_string_lossy(), &png.to_string_lossy()]);
            file = png;
        }
        assert_eq!(pixel(&file, 2, 2)[3], 0, "{to} stays transparent");
        assert_eq!(pixel(&file, 80, 60)[3], 255, "{to} keeps its middle");
    }
}

#[test]
fn drawings_are_drawn_at_the_size_asked_for() {
    let run = Run::new();
    let file = run.file(&good("svg"), "png", json!({"width": 800})).unwrap();
    assert_eq!(identify(&file, "%wx%h"), "800x400");
    assert!(near(&pixel(&file, 400, 60), [29, 95, 168]));
    let white = (280..640).any(|x| near(&pixel_row(&file, 216)[x as usize], [255, 255, 255]));
    assert!(white, "the text is drawn");
    let file = run.file(&fixture("image/svg/odd/outside.svg"), "png", json!({})).unwrap();
    assert_eq!(&pixel(&file, 50, 50)[..3], [0, 255, 0], "nothing from outside is drawn");
}

fn pixel_row(file: &Path, y: u32) -> Vec<Vec<i32>> {
    let crop = format!("0x1+0+{y}");
    let raw =
        std::process::Command::new("/usr/bin/convert").arg(file).args(["-crop", &crop, "+repage", "-depth", "8", "rgb:-"]).output().unwrap().stdout;
    raw.chunks(3).map(|p| p.iter().map(|c| i32::from(*c)).collect()).collect()
}

#[test]
fn animations_keep_frames_delays_and_loops() {
    let run = Run::new();
    let sources = ["image/gif/good/moving.gif", "image/webp/good/moving.webp", "image/apng/good/moving.apng"];
    for (source, to) in sources.iter().flat_map(|source| ["webp", "gif", "apng"].map(|to| (*source, to))) {
        let (produced, dir) = run.convert(&fixture(source), to, json!({"width": 60})).unwrap();
        let file = dir.join(&produced.files[0].file);
        let media = run.probe(&file, Depth::Proof).unwrap();
        assert_eq!((media.frames, media.width), (Some(6), Some(60)), "{source} to {to}");
        if to == "webp" {
            let info = tool("webpmux", &["-info", &file.to_string_lossy()]);
            assert!(info.contains("Loop Count : 3"), "{info}");
            assert_eq!(info.lines().filter(|l| l.contains(" 200 ")).count(), 6, "{info}");
        } else if to == "apng" {
            let frames = tool("ffprobe", &["-v", "error", "-show_entries", "packet=duration_time", "-of", "csv=p=0", &file.to_string_lossy()]);
            assert_eq!(frames.lines().filter(|l| l.starts_with("0.2")).count(), 6, "{source}: {frames}");
            assert_eq!(tool("exiftool", &["-s3", "-AnimationPlays", &file.to_string_lossy()]).trim(), "3");
        } else {
            let delays = tool("/usr/bin/identify", &["-format", "%T ", &file.to_string_lossy()]);
            assert_eq!(delays.trim(), "20 20 20 20 20 20");
            let bytes = std::fs::read(&file).unwrap();
            let at = bytes.windows(11).position(|w| w == b"NETSCAPE2.0").unwrap();
            assert_eq!(bytes[at + 13..at + 15], [2, 0], "two repeats are three plays");
        }
    }
    let (produced, dir) = run.convert(&fixture("image/gif/good/moving.gif"), "jpeg", json!({})).unwrap();
    assert!(produced.warnings[0].contains("first of 6"), "{:?}", produced.warnings);
    assert_eq!(identify(&dir.join(&produced.files[0].file), "%wx%h"), "120x80");
    let file = run.file(&fixture("image/gif/good/moving.gif"), "webp", json!({"frames": "first"})).unwrap();
    assert_eq!(run.probe(&file, Depth::Header).unwrap().frames, None);
}

#[test]
fn pages_of_a_tiff() {
    let run = Run::new();
    let source = fixture("image/tiff/odd/pages.tiff");
    assert_eq!(run.probe(&source, Depth::Proof).unwrap().pages, Some(3));
    let file = run.file(&source, "png", json!({"page": 3})).unwrap();
    assert_eq!(identify(&file, "%wx%h"), "60x90");
    assert_eq!(&pixel(&file, 5, 5)[..3], [0, 0, 255]);
    fails(run.file(&source, "png", json!({"page": 4})), Code::InvalidOption);
    let (produced, _) = run.convert(&source, "png", json!({})).unwrap();
    assert!(produced.warnings[0].contains("first of 3 pages"), "{:?}", produced.warnings);
    let (produced, dir) = run.convert(&source, "tiff", json!({"width": 60})).unwrap();
    let all = dir.join(&produced.files[0].file);
    assert_eq!(produced.files[0].expect.pages, Some(3));
    assert_eq!(tool("/usr/bin/identify", &["-format", "%wx%h ", &all.to_string_lossy()]).trim(), "60x40 60x40 60x90");
    assert_eq!(run.probe(&all, Depth::Proof).unwrap().pages, Some(3));
    let file = run.file(&source, "pdf", json!({})).unwrap();
    let info = tool("pdfinfo", &["-l", "3", &file.to_string_lossy()]);
    assert!(info.contains("Pages:           3") && info.contains("45 x 67.5"), "{info}");
    let mut run = Run::new();
    run.limits.total_pixels_max = 120 * 80 * 2;
    fails(run.file(&source, "tiff", json!({})), Code::LimitExceeded);
}

#[test]
fn metadata_goes_as_asked() {
    let run = Run::new();
    let source = fixture("image/jpeg/odd/located.jpg");
    assert_eq!(run.probe(&source, Depth::Header).unwrap().tags.get("artist").map(String::as_str), Some("A. Painter"));
    let read = |file: &Path, tag: &str| tool("exiftool", &["-s3", tag, &file.to_string_lossy()]).trim().to_owned();
    for to in ["jpeg", "webp", "png", "avif"] {
        let all = run.file(&source, to, json!({})).unwrap();
        assert_eq!((read(&all, "-Artist"), read(&all, "-GPSLatitude")), (String::new(), String::new()), "{to}");
        let location = run.file(&source, to, json!({"strip": "location"})).unwrap();
        assert_eq!((read(&location, "-Artist"), read(&location, "-GPSLatitude")), ("A. Painter".into(), String::new()), "{to}");
        let keep = run.file(&source, to, json!({"strip": "keep"})).unwrap();
        assert!(read(&keep, "-GPSLatitude").starts_with("48 deg 12'"), "{to}");
    }
    let turned = run.file(&fixture("image/jpeg/odd/orientation_6.jpg"), "jpeg", json!({"strip": "keep"})).unwrap();
    assert_eq!(read(&turned, "-Orientation"), "Horizontal (normal)", "upright pixels are not turned again");
}

#[test]
fn deep_colour_stays_where_it_can() {
    let run = Run::new();
    for to in ["png", "tiff"] {
        let file = run.file(&fixture("image/png/good/deep.png"), to, json!({"width": 80})).unwrap();
        assert_eq!(identify(&file, "%z"), "16", "{to}");
    }
    let file = run.file(&fixture("image/jpeg/odd/cmyk.jpg"), "png", json!({})).unwrap();
    assert_upright(&file);
}

#[test]
fn quality_and_effort_change_the_size() {
    let run = Run::new();
    let size = |to: &str, options: Value| std::fs::metadata(run.file(&good("png"), to, options).unwrap()).unwrap().len();
    for to in ["jpeg", "webp", "avif"] {
        assert!(size(to, json!({"quality": 20})) * 2 < size(to, json!({"quality": 90})), "{to}");
    }
    let file = run.file(&good("png"), "webp", json!({"lossless": true, "effort": 2})).unwrap();
    let difference = std::process::Command::new("/usr/bin/compare")
        .args(["-metric", "AE", &good("png").to_string_lossy(), &file.to_string_lossy(), "null:"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&difference.stderr).trim(), "0", "lossless is lossless");
    let file = run.file(&good("png"), "jpeg", json!({"progressive": true})).unwrap();
    assert_eq!(identify(&file, "%[interlace]"), "JPEG");
    fails(run.file(&good("png"), "jpeg", json!({"lossless": true})), Code::InvalidOption);
}

#[test]
fn broken_files_end_as_their_manifest_says() {
    let manifest: toml::Table = toml::from_str(&std::fs::read_to_string(fixture("image/MANIFEST.toml")).unwrap()).unwrap();
    let mut broken = 0;
    for file in manifest["file"].as_array().unwrap() {
        let (path, fate) = (file["path"].as_str().unwrap(), file["fate"].as_str().unwrap());
        let run = Run::new();
        let result = run.file(&fixture(&format!("image/{path}")), "png", json!({}));
        match result {
            Ok(_) => assert_eq!(fate, "converts", "{path}"),
            Err(failure) => {
                broken += 1;
                assert_eq!(failure.code.as_str(), fate, "{path}: {failure:?}");
                assert!(run.probe(&fixture(&format!("image/{path}")), Depth::Proof).is_err(), "{path}");
            }
        }
    }
    assert!(broken > 20);
}

#[test]
fn limits_hold_before_pixels_are_decoded() {
    for (format, to) in [
        ("jpeg", "webp"),
        ("png", "jpeg"),
        ("webp", "png"),
        ("avif", "png"),
        ("heic", "png"),
        ("svg", "png"),
        ("tiff", "png"),
        ("gif", "png"),
        ("bmp", "png"),
        ("qoi", "png"),
        ("apng", "png"),
        ("jxl", "png"),
        ("jp2", "png"),
        ("psd", "png"),
        ("raw", "png"),
        ("hdr", "png"),
        ("exr", "png"),
        ("dds", "png"),
    ] {
        let mut run = Run::new();
        run.limits.frame_pixels_max = 1000;
        let failure = fails(run.file(&good(format), to, json!({})), Code::LimitExceeded);
        assert_eq!(failure.stage.as_deref(), Some("open"), "{format}");
    }
    let mut run = Run::new();
    run.limits.total_pixels_max = 120 * 80 * 5;
    fails(run.file(&fixture("image/gif/good/moving.gif"), "webp", json!({})), Code::LimitExceeded);
    fails(run.file(&fixture("image/webp/good/moving.webp"), "gif", json!({})), Code::LimitExceeded);
    let mut run = Run::new();
    run.limits.frame_pixels_max = 100_000;
    fails(run.file(&good("svg"), "png", json!({"width": 4000})), Code::LimitExceeded);
}

#[test]
fn hostile_drawings_are_bounded() {
    let run = Run::new();
    let write = |name: &str, text: String| {
        let path = run.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let mut entities = String::from("<!DOCTYPE svg [<!ENTITY a0 \"<rect width='1' height='1'/>\">");
    let mut uses = String::from("<rect id='u0' width='1' height='1'/>");
    for i in 1..24 {
        entities += &format!("<!ENTITY a{i} \"{}\">", format!("&a{};", i - 1).repeat(10));
        uses += &format!("<g id='u{i}'>{}</g>", format!("<use href='#u{}'/>", i - 1).repeat(10));
    }
    let open = "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'>";
    let bombs = [
        write("entities.svg", format!("{entities}]>{open}&a23;</svg>")),
        write("uses.svg", format!("{open}<defs>{uses}</defs><use href='#u23'/></svg>")),
    ];
    for bomb in bombs {
        let started = std::time::Instant::now();
        let result = run.file(&bomb, "png", json!({}));
        assert!(result.is_err(), "{}", bomb.display());
        assert!(started.elapsed().as_secs() < 20, "{}", bomb.display());
    }
}

#[test]
fn a_stop_request_ends_the_work() {
    let run = Run::new();
    run.listener.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    fails(run.file(&good("jpeg"), "webp", json!({})), Code::Cancelled);
}

#[test]
fn mutated_files_never_panic() {
    for format in [
        "jpeg", "png", "webp", "gif", "apng", "avif", "heic", "jxl", "jp2", "psd", "raw", "hdr", "exr", "dds", "tiff", "bmp", "svg", "ico", "qoi",
        "pnm", "tga",
    ] {
        let source = std::fs::read(good(format)).unwrap();
        let mut run = Run::new();
        run.limits.frame_pixels_max = 1_000_000;
        run.limits.total_pixels_max = 4_000_000;
        let mut state = 0x2545_f491_u32;
        let mut random = move |below: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize % below
        };
        for round in 0..12 {
            let mut bytes = source.clone();
            let reach = if round % 2 == 0 { bytes.len().min(400) } else { bytes.len() };
            for _ in 0..=random(6) {
                let at = random(reach);
                bytes[at] = random(256) as u8;
            }
            if round % 4 == 3 {
                bytes.truncate(random(reach) + 1);
            }
            let path = run.folder.path().join(Format::parse(format).unwrap().file_name("mutant"));
            std::fs::write(&path, bytes).unwrap();
            if let Err(failure) = run.file(&path, "png", json!({"width": 32, "effort": 1})) {
                let known = [Code::CorruptInput, Code::UnsupportedFormat, Code::LimitExceeded];
                assert!(known.contains(&failure.code), "{format} round {round}: {failure:?}");
            }
        }
    }
}
