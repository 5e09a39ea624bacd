//! What the options of `image.transcode` do to a picture, seen by other tools.

use super::image::{assert_upright, good, identify, near, pixel};
use crate::support::direct::{Run, fails, fixture, tool};
use millrace::converters;
use millrace::failure::Code;
use serde_json::json;
use std::path::Path;

const RED: [i32; 3] = [255, 0, 0];
const LIME: [i32; 3] = [0, 255, 0];
const BLUE: [i32; 3] = [0, 0, 255];
const YELLOW: [i32; 3] = [255, 255, 0];

#[test]
fn gravity_chooses_what_stays() {
    let run = Run::new();
    // The scene has its colours in the corners, 80 pixels wide each.
    for (gravity, colour) in [("north_west", RED), ("north_east", LIME), ("south_east", BLUE), ("south_west", YELLOW)] {
        for (from, to) in [("jpeg", "jpeg"), ("jpeg", "webp"), ("png", "png")] {
            // Only the height is cut here; the sides tell east from west.
            let file = run.file(&good(from), to, json!({"width": 300, "height": 60, "fit": "cover", "gravity": gravity})).unwrap();
            assert_eq!(identify(&file, "%wx%h"), "300x60");
            let x = if gravity.ends_with("west") { 20 } else { 280 };
            assert!(near(&pixel(&file, x, 30), colour), "{gravity} {from} to {to}");
        }
    }
    let file =
        run.file(&good("png"), "png", json!({"width": 200, "height": 100, "fit": "contain", "gravity": "west", "background": "#ff00ff"})).unwrap();
    assert!(near(&pixel(&file, 5, 5), RED) && near(&pixel(&file, 195, 50), [255, 0, 255]));
}

#[test]
fn gravity_follows_a_turned_picture() {
    let run = Run::new();
    for n in 1..=8 {
        let source = fixture(&format!("image/jpeg/odd/orientation_{n}.jpg"));
        for to in ["jpeg", "png"] {
            let file = run.file(&source, to, json!({"width": 300, "height": 60, "fit": "cover", "gravity": "south_east"})).unwrap();
            assert!(near(&pixel(&file, 280, 30), BLUE) && near(&pixel(&file, 20, 30), YELLOW), "orientation {n} to {to}");
            let file = run.file(&source, to, json!({"crop": {"x": 250, "y": 5, "width": 60, "height": 40}})).unwrap();
            assert_eq!(identify(&file, "%wx%h"), "60x40", "orientation {n}");
            assert!(near(&pixel(&file, 30, 20), LIME), "orientation {n} to {to}");
        }
    }
}

#[test]
fn a_smart_crop_finds_what_is_aside() {
    let run = Run::new();
    let source = fixture("image/png/odd/aside.png");
    for to in ["png", "jpeg"] {
        let middle = run.file(&source, to, json!({"width": 200, "height": 200, "fit": "cover"})).unwrap();
        assert!(!near(&pixel(&middle, 120, 100), [224, 172, 140]));
        let smart = run.file(&source, to, json!({"width": 200, "height": 200, "fit": "cover", "gravity": "smart"})).unwrap();
        let found = (0..200).step_by(10).filter(|x| near(&pixel(&smart, *x, 120), [224, 172, 140])).count();
        assert!(found >= 10, "{to}: the whole disc, {found}");
    }
    let jpeg = run.file(&source, "jpeg", json!({})).unwrap();
    let smart = run.file(&jpeg, "webp", json!({"width": 100, "height": 100, "fit": "cover", "gravity": "smart"})).unwrap();
    assert!((0..100).step_by(5).filter(|x| near(&pixel(&smart, *x, 60), [224, 172, 140])).count() >= 10, "from planes too");
}

#[test]
fn a_crop_is_taken_before_all_else() {
    let run = Run::new();
    let file = run.file(&good("png"), "png", json!({"crop": {"x": 240, "y": 180, "width": 80, "height": 60}, "width": 40})).unwrap();
    assert_eq!(identify(&file, "%wx%h"), "40x30");
    assert!(near(&pixel(&file, 20, 15), BLUE));
    let file = run.file(&good("jpeg"), "jpeg", json!({"width": 50, "dpr": 2.0})).unwrap();
    assert_eq!(identify(&file, "%w"), "100");
    fails(run.file(&good("png"), "png", json!({"crop": {"x": 320, "width": 80, "height": 60}})), Code::InvalidOption);
}

#[test]
fn options_out_of_range_are_named() {
    let (_, converter) = converters::by_id("image.transcode").unwrap();
    for (options, field) in [
        (json!({"crop": {"x": 1, "width": 0, "height": 5}}), "crop.width"),
        (json!({"crop": {"x": 1, "width": 5}}), "crop"),
        (json!({"crop": {"x": 1, "width": 5, "height": 5, "z": 1}}), "crop.z"),
        (json!({"gravity": "up"}), "gravity"),
        (json!({"dpr": 9}), "dpr"),
        (json!({"blur": 0.1}), "blur"),
        (json!({"sharpen": 11}), "sharpen"),
        (json!({"chroma": "4:1:1"}), "chroma"),
        (json!({"bit_depth": 9}), "bit_depth"),
        (json!({"target_bytes": "0"}), "target_bytes"),
        (json!({"rotate": 45}), "rotate"),
    ] {
        assert_eq!((converter.check)(&options).unwrap_err().field, field, "{options}");
    }
    assert!((converter.check)(&json!({"target_bytes": "20KiB", "chroma": "4:2:2", "blur": 0.3})).is_ok());
}

#[test]
fn both_mirrors_are_half_a_turn() {
    let run = Run::new();
    for (from, to) in [("png", "png"), ("jpeg", "jpeg")] {
        let file = run.file(&good(from), to, json!({"rotate": 180, "flip": "both"})).unwrap();
        assert_upright(&file);
    }
}

/// How far the brightest and the darkest of the picture's pixels are apart, from 0 to 1.
fn deviation(file: &Path) -> f64 {
    identify(file, "%[fx:standard_deviation]").parse().unwrap()
}

#[test]
fn effects_are_seen() {
    let run = Run::new();
    for (from, to) in [("jpeg", "jpeg"), ("jpeg", "webp"), ("png", "png")] {
        let plain = run.file(&good(from), to, json!({"quality": 95})).unwrap();
        let grey = run.file(&good(from), to, json!({"quality": 95, "grayscale": true})).unwrap();
        let found = pixel(&grey, 20, 20);
        assert!((found[0] - found[1]).abs() <= 2 && (found[1] - found[2]).abs() <= 2, "{from} to {to}: {found:?}");
        // The crop has nothing but noise; blurring takes it away, sharpening brings it out.
        let noise = |options: serde_json::Value| {
            let mut all = json!({"quality": 95, "crop": {"x": 120, "y": 90, "width": 64, "height": 64}});
            all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
            deviation(&run.file(&good(from), to, all).unwrap())
        };
        let (soft, none, sharp) = (noise(json!({"blur": 3.0})), noise(json!({})), noise(json!({"sharpen": 1.0})));
        assert!(soft < none && none < sharp, "{from} to {to}: {soft} {none} {sharp}");
        assert!(near(&pixel(&run.file(&good(from), to, json!({"blur": 8.0})).unwrap(), 20, 20), RED), "a wide blur keeps the colours");
        assert_upright(&plain);
    }
    let grey = run.file(&fixture("image/jpeg/good/grey.jpg"), "jpeg", json!({"width": 101, "chroma": "4:2:0"})).unwrap();
    assert_eq!(identify(&grey, "%w %[colorspace]"), "101 Gray");
}

#[test]
fn a_blur_lets_nothing_hidden_bleed() {
    let run = Run::new();
    // What is transparent is black below; the red disc must stay red to its edge.
    let file = run.file(&fixture("image/png/good/alpha.png"), "png", json!({"blur": 3.0})).unwrap();
    let edge = (40..80).map(|x| pixel(&file, x, 60)).find(|p| (60..200).contains(&p[3])).expect("a soft edge");
    assert!(edge[0] > 230, "{edge:?}");
}

#[test]
fn chroma_and_depth_are_as_asked() {
    let run = Run::new();
    for (chroma, factor) in [("4:2:0", "2x2,1x1,1x1"), ("4:2:2", "2x1,1x1,1x1"), ("4:4:4", "1x1,1x1,1x1")] {
        for from in ["jpeg", "png"] {
            let file = run.file(&good(from), "jpeg", json!({"chroma": chroma, "width": 101})).unwrap();
            assert_eq!(identify(&file, "%[jpeg:sampling-factor]"), factor, "{from}");
            assert_upright(&file);
        }
    }
    let layout = |file: &Path| tool("ffprobe", &["-v", "error", "-show_entries", "stream=pix_fmt", "-of", "csv=p=0", &file.to_string_lossy()]);
    for (chroma, wanted) in [("4:2:0", "420p"), ("4:4:4", "444p")] {
        for from in ["jpeg", "png"] {
            let file = run.file(&good(from), "avif", json!({"chroma": chroma, "effort": 1})).unwrap();
            assert!(layout(&file).trim().ends_with(wanted), "{}", layout(&file));
            assert_upright(&file);
        }
    }
    fails(run.file(&good("jpeg"), "avif", json!({"chroma": "4:2:2"})), Code::InvalidOption);
    for (to, bits) in [("png", 8), ("png", 16), ("tiff", 8), ("tiff", 16)] {
        for source in ["image/png/good/deep.png", "image/png/good/scene.png"] {
            let file = run.file(&fixture(source), to, json!({"bit_depth": bits})).unwrap();
            let tag = if to == "png" { "-BitDepth" } else { "-BitsPerSample" };
            let found = tool("exiftool", &["-s3", tag, &file.to_string_lossy()]);
            assert_eq!(found.split_whitespace().next(), Some(bits.to_string().as_str()), "{source} to {to}");
        }
    }
    let file = run.file(&fixture("image/png/good/deep.png"), "avif", json!({"bit_depth": 12, "effort": 1})).unwrap();
    assert!(layout(&file).contains("12le"), "{}", layout(&file));
    fails(run.file(&good("png"), "webp", json!({"bit_depth": 16})), Code::InvalidOption);
    fails(run.file(&good("png"), "webp", json!({"chroma": "4:4:4"})), Code::InvalidOption);
}

#[test]
fn a_size_asked_for_is_kept_or_refused() {
    let run = Run::new();
    for (to, most) in [("jpeg", 9_000), ("webp", 5_000), ("avif", 5_000)] {
        let file = run.file(&good("jpeg"), to, json!({"target_bytes": most, "effort": 1, "strip": "keep"})).unwrap();
        let size = std::fs::metadata(&file).unwrap().len();
        assert!(size <= most && size * 10 >= most * 6, "{to}: {size}");
        assert_upright(&file);
    }
    let failure = fails(run.file(&good("jpeg"), "jpeg", json!({"target_bytes": 500})), Code::InvalidOption);
    assert!(failure.message.contains("500"), "{}", failure.message);
    fails(run.file(&good("jpeg"), "png", json!({"target_bytes": "1MB"})), Code::InvalidOption);
    fails(run.file(&fixture("image/gif/good/moving.gif"), "webp", json!({"target_bytes": "1MB"})), Code::InvalidOption);
    fails(run.file(&fixture("image/tiff/odd/pages.tiff"), "pdf", json!({"target_bytes": "1MB"})), Code::InvalidOption);
    assert!(run.file(&fixture("image/gif/good/moving.gif"), "webp", json!({"target_bytes": "1MB", "page": 2})).is_ok());
}

#[test]
fn places_go_and_the_rest_stays() {
    let run = Run::new();
    let source = fixture("image/jpeg/odd/located_xmp.jpg");
    let read = |file: &Path, tag: &str| tool("exiftool", &["-s3", "-n", tag, &file.to_string_lossy()]).trim().to_owned();
    for to in ["jpeg", "png", "webp", "avif"] {
        let location = run.file(&source, to, json!({"strip": "location", "effort": 1})).unwrap();
        let all = tool("exiftool", &["-G1", "-s", "-a", &location.to_string_lossy()]);
        assert!(!all.contains("GPS") && !all.contains("Vienna"), "{to}: {all}");
        assert_eq!((read(&location, "-XMP:Title"), read(&location, "-EXIF:Artist")), ("The mill".into(), "A. Painter".into()), "{to}");
        let keep = run.file(&source, to, json!({"strip": "keep", "effort": 1})).unwrap();
        assert_eq!((read(&keep, "-XMP:GPSLatitude"), read(&keep, "-XMP:City")), ("48.2".into(), "Vienna".into()), "{to}");
        assert_eq!(read(&keep, "-EXIF:Orientation"), "1", "{to}");
        assert_eq!(read(&keep, "-XMP:Orientation"), "", "{to}: upright pixels are not turned again");
        assert_upright(&keep);
        let again = run.file(&keep, "jpeg", json!({"strip": "keep"})).unwrap();
        assert_eq!(read(&again, "-XMP:Title"), "The mill", "{to} is read too");
        let none = tool("exiftool", &["-G1", "-s", &run.file(&source, to, json!({"effort": 1})).unwrap().to_string_lossy()]);
        assert!(!none.contains("[XMP") && !none.contains("[IFD0]"), "{to}: {none}");
    }
}

#[test]
fn a_frame_may_be_chosen() {
    let run = Run::new();
    for source in ["image/gif/good/moving.gif", "image/webp/good/moving.webp"] {
        let first = run.file(&fixture(source), "png", json!({"frames": "first"})).unwrap();
        let fourth = run.file(&fixture(source), "png", json!({"page": 4})).unwrap();
        assert_ne!(pixel(&first, 5, 5), pixel(&fourth, 5, 5), "{source}");
        let still = run.file(&fixture(source), "webp", json!({"page": 4, "lossless": true})).unwrap();
        assert_eq!(pixel(&still, 5, 5), pixel(&fourth, 5, 5), "{source}");
        fails(run.file(&fixture(source), "png", json!({"page": 7})), Code::InvalidOption);
    }
}

#[test]
fn wide_colours_are_converted_or_kept() {
    let run = Run::new();
    let (wide, profile) = (run.folder.path().join("wide.png"), run.folder.path().join("p3.icc"));
    std::fs::write(&profile, moxcms::ColorProfile::new_display_p3().encode().unwrap()).unwrap();
    std::fs::copy(fixture("image/png/odd/aside.png"), &wide).unwrap();
    tool("exiftool", &["-q", "-overwrite_original", &format!("-icc_profile<={}", profile.display()), &wide.to_string_lossy()]);
    let described = |file: &Path| tool("exiftool", &["-s3", "-ICC_Profile:ColorSpaceData", &file.to_string_lossy()]).trim().to_owned();
    assert_eq!(described(&wide), "RGB");
    // The disc is (224, 172, 140) in the wide colours: redder in sRGB.
    for to in ["png", "jpeg", "webp", "avif", "jxl", "tiff"] {
        let disc = |options: serde_json::Value| {
            let file = run.file(&wide, to, options).unwrap();
            let shown = if to == "jxl" {
                let png = file.with_extension("png");
                tool("djxl", &["--quiet", &file.to_string_lossy(), &png.to_string_lossy()]);
                png
            } else {
                file.clone()
            };
            (described(&file), described(&shown), pixel(&shown, 520, 130)[0])
        };
        let (embedded, _, red) = disc(json!({"quality": 95, "effort": 3}));
        assert!(embedded.is_empty() || to == "jxl", "{to}: {embedded}");
        assert!((230..=240).contains(&red), "{to}: {red}");
        let (embedded, shown, red) = disc(json!({"quality": 95, "effort": 3, "profile": "keep"}));
        assert!(embedded == "RGB" || shown == "RGB", "{to}: {embedded} {shown}");
        assert!((219..=229).contains(&red), "{to}: {red}");
    }
}
