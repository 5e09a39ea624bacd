//! Formats of pictures with something of their own to get right.

use super::image::{assert_upright, good, identify, pixel};
use crate::support::direct::{Run, fails, fixture, tool};
use millrace::convert::Depth;
use millrace::failure::Code;
use serde_json::{Value, json};

#[test]
fn camera_files_give_their_largest_picture_upright() {
    let run = Run::new();
    for name in ["camera.dng", "camera.nef", "camera.cr2", "camera.raf"] {
        let source = fixture(&format!("image/raw/good/{name}"));
        let media = run.probe(&source, Depth::Proof).unwrap();
        assert_eq!((media.width, media.height), (Some(320), Some(240)), "{name}");
        for to in ["jpeg", "png"] {
            let file = run.file(&source, to, json!({})).unwrap();
            assert_eq!(identify(&file, "%wx%h"), "320x240", "{name}");
            assert_upright(&file);
        }
    }
    fails(run.file(&fixture("image/raw/broken/nothing.dng"), "png", json!({})), Code::UnsupportedFormat);
}

#[test]
fn photoshop_files_of_every_kind() {
    let run = Run::new();
    for name in ["good/scene.psd", "good/plain.psd", "good/deep.psd", "odd/cmyk.psd"] {
        let file = run.file(&fixture(&format!("image/psd/{name}")), "png", json!({})).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert_upright(&file);
    }
    let file = run.file(&fixture("image/psd/good/grey.psd"), "png", json!({})).unwrap();
    assert_eq!(identify(&file, "%[colorspace]"), "Gray");
    let file = run.file(&fixture("image/psd/good/alpha.psd"), "png", json!({})).unwrap();
    assert_eq!((pixel(&file, 2, 2)[3], pixel(&file, 80, 60)[3]), (0, 255));
}

#[test]
fn a_bare_codestream_of_jpeg_2000_is_read() {
    let run = Run::new();
    assert_upright(&run.file(&fixture("image/jp2/good/codestream.j2k"), "png", json!({})).unwrap());
}

#[test]
fn transparency_comes_through() {
    let run = Run::new();
    for name in ["jxl/good/alpha.jxl", "dds/good/alpha.dds"] {
        let file = run.file(&fixture(&format!("image/{name}")), "png", json!({})).unwrap();
        assert_eq!((pixel(&file, 2, 2)[3], pixel(&file, 80, 60)), (0, vec![255, 0, 0, 255]), "{name}");
    }
    let file = run.file(&fixture("image/png/good/alpha.png"), "jxl", json!({"effort": 3})).unwrap();
    let png = file.with_extension("png");
    tool("djxl", &["--quiet", &file.to_string_lossy(), &png.to_string_lossy()]);
    assert_eq!((pixel(&png, 2, 2)[3], pixel(&png, 80, 60)[3]), (0, 255));
}

#[test]
fn jpeg_xl_is_written_as_asked() {
    let run = Run::new();
    let decoded = |options: Value, source: &str| {
        let file = run.file(&fixture(source), "jxl", options).unwrap();
        let png = file.with_extension("png");
        tool("djxl", &["--quiet", &file.to_string_lossy(), &png.to_string_lossy()]);
        (std::fs::metadata(&file).unwrap().len(), png, file)
    };
    let (small, png, _) = decoded(json!({"quality": 30, "effort": 3}), "image/png/good/scene.png");
    assert_upright(&png);
    let (large, ..) = decoded(json!({"quality": 95, "effort": 3}), "image/png/good/scene.png");
    assert!(small * 2 < large, "{small} {large}");
    let (_, png, _) = decoded(json!({"lossless": true, "effort": 3}), "image/png/good/scene.png");
    let difference = std::process::Command::new("/usr/bin/compare")
        .args(["-metric", "AE", &good("png").to_string_lossy(), &png.to_string_lossy(), "null:"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&difference.stderr).trim(), "0", "lossless is lossless");
    let (_, png, _) = decoded(json!({"lossless": true, "effort": 3}), "image/png/good/deep.png");
    assert_eq!(tool("exiftool", &["-s3", "-BitDepth", &png.to_string_lossy()]).trim(), "16");
    let (_, png, _) = decoded(json!({"effort": 3}), "image/jpeg/good/grey.jpg");
    assert_eq!(identify(&png, "%[colorspace]"), "Gray");
    let (.., file) = decoded(json!({"strip": "location", "effort": 3}), "image/jpeg/odd/located_xmp.jpg");
    let all = tool("exiftool", &["-G1", "-s", "-a", &file.to_string_lossy()]);
    assert!(all.contains("A. Painter") && all.contains("The mill") && !all.contains("GPS"), "{all}");
    let (size, ..) = decoded(json!({"target_bytes": 6000, "effort": 3}), "image/png/good/scene.png");
    assert!(size <= 6000);
}

#[test]
fn a_placeholder_tells_what_a_picture_looks_like() {
    let run = Run::new();
    let tell = |source: &str| -> Value {
        let file = run.file(&fixture(source), "json", json!({"colours": 3})).unwrap();
        serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
    };
    let scene = tell("image/jpeg/odd/orientation_6.jpg");
    assert_eq!((&scene["width"], &scene["height"], &scene["alpha"]), (&json!(320), &json!(240), &json!(false)));
    assert_eq!(scene["blurhash"].as_str().unwrap().len(), 4 + 2 * 4 * 3, "six digits and two for each wave but the first");
    assert_eq!(scene["colours"].as_array().unwrap().len(), 3);
    let disc = tell("image/png/good/alpha.png");
    assert_eq!(disc["alpha"], json!(true));
    assert_eq!(disc["colours"][0]["colour"], "#ff0000");
    assert!(disc["colours"][0]["share"].as_f64().unwrap() > 0.9);
    let aside = tell("image/png/odd/aside.png");
    assert!(["#595b5d", "#5a5c5e"].iter().any(|grey| aside["colours"][0]["colour"] == *grey), "{aside}");
    assert_eq!(aside["colours"][1]["colour"], "#e0ac8c", "{aside}");
    // Read back by the formats' own decoders: the disc is bright at the right, and the picture three times as wide as high.
    use base64::Engine;
    let thumbhash = base64::engine::general_purpose::STANDARD.decode(aside["thumbhash"].as_str().unwrap()).unwrap();
    let (w, h, pixels) = thumbhash::thumb_hash_to_rgba(&thumbhash).unwrap();
    assert!((2.0..4.0).contains(&(w as f64 / h as f64)), "{w} x {h}");
    let blurred = blurhash::decode(aside["blurhash"].as_str().unwrap(), w as u32, h as u32, 1.0).unwrap();
    for pixels in [pixels, blurred] {
        let red = |x: usize| i32::from(pixels[(h / 2 * w + x) * 4]);
        assert!(red(w * 13 / 15) > red(w / 4) + 20, "{} {}", red(w * 13 / 15), red(w / 4));
    }
}
