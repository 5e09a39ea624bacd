//! Results of several pictures: responsive sets, icons.

use super::image::{assert_upright, good, identify, near, pixel};
use crate::support::direct::{Run, fails, fixture, tool};
use millrace::convert::{Depth, Produced};
use millrace::converters;
use millrace::failure::Code;
use serde_json::{Value, json};
use std::path::Path;

fn names(produced: &Produced) -> Vec<&str> {
    produced.files.iter().map(|f| f.name.as_str()).collect()
}

/// Files of a result have no extension on disk; other tools go by it.
fn named(dir: &Path, produced: &Produced, n: usize) -> std::path::PathBuf {
    let file = dir.join(&produced.files[n].name);
    std::fs::copy(dir.join(&produced.files[n].file), &file).unwrap();
    file
}

#[test]
fn a_set_has_a_file_of_each_width_and_format() {
    let run = Run::new();
    let options = json!({"widths": [160, 80, 240, 640, 320], "also": ["avif", "jpeg", "webp"], "manifest": true, "effort": 1});
    for source in ["jpeg", "png", "heic"] {
        let (produced, dir) = run.convert(&good(source), "webp", options.clone()).unwrap();
        assert_eq!(produced.files.len(), 4 * 3 + 1, "{source}");
        assert_eq!(names(&produced)[..4], ["result-80w.webp", "result-80w.avif", "result-80w.jpg", "result-160w.webp"]);
        for (n, made) in produced.files.iter().enumerate().take(12) {
            let file = named(&dir, &produced, n);
            let width = [80, 160, 240, 320][n / 3];
            assert_eq!(identify(&file, "%w"), width.to_string(), "{}", made.name);
            assert_upright(&file);
            let media = run.probe(&file, Depth::Proof).unwrap();
            assert_eq!((media.width, media.height), (made.expect.width, made.expect.height));
        }
        assert_eq!(produced.files[12].name, "result.json");
        let manifest: Value = serde_json::from_slice(&std::fs::read(dir.join(&produced.files[12].file)).unwrap()).unwrap();
        assert_eq!(manifest["sources"][1]["type"], "image/avif");
        let srcset = "result-80w.webp 80w, result-160w.webp 160w, result-240w.webp 240w, result-320w.webp 320w";
        assert_eq!(manifest["sources"][0]["srcset"], srcset);
    }
    let (produced, _) = run.convert(&good("jpeg"), "webp", json!({"width": 100, "also": ["png"]})).unwrap();
    assert_eq!(names(&produced), ["result.webp", "result.png"]);
    let (produced, _) = run.convert(&good("jpeg"), "pdf", json!({"also": ["png"]})).unwrap();
    assert_eq!((produced.files[0].expect.pages, produced.files[0].expect.width), (Some(1), None), "a document has pages");
    let (produced, _) = run.convert(&good("jpeg"), "webp", json!({"widths": [640], "enlarge": true, "dpr": 2})).unwrap();
    assert_eq!((names(&produced), produced.files[0].expect.width), (vec!["result-1280w.webp"], Some(1280)));
}

#[test]
fn a_set_is_refused_where_it_makes_no_sense() {
    let (_, converter) = converters::by_id("image.transcode").unwrap();
    for (options, field) in [
        (json!({"widths": [0]}), "widths.0"),
        (json!({"widths": [100], "height": 50}), "widths"),
        (json!({"widths": vec![1; 33]}), "widths"),
        (json!({"sizes": [257]}), "sizes.0"),
        (json!({"also": ["exe"]}), "also[0]"),
    ] {
        assert_eq!((converter.check)(&options).unwrap_err().field, field, "{options}");
    }
    let run = Run::new();
    fails(run.convert(&good("png"), "webp", json!({"also": ["png"], "target_bytes": 1000})), Code::InvalidOption);
}

#[test]
fn an_icon_has_its_sizes() {
    let run = Run::new();
    for (source, fit) in [(good("jpeg"), "inside"), (good("png"), "cover"), (good("svg"), "inside")] {
        let file =
            run.file(&source, "ico", json!({"sizes": [48, 16, 32, 256], "fit": fit})).unwrap_or_else(|e| panic!("{}: {e:?}", source.display()));
        assert_eq!(tool("/usr/bin/identify", &["-format", "%wx%h ", &file.to_string_lossy()]).trim(), "16x16 32x32 48x48 256x256");
        assert_eq!(run.probe(&file, Depth::Proof).unwrap().width, Some(256));
        let large = format!("{}[3]", file.display());
        let corner = tool("/usr/bin/identify", &["-format", "%[fx:p{0,0}.a]", &large]);
        assert_eq!(corner.trim() == "0", fit == "inside", "{}: borders are transparent", source.display());
    }
}

#[test]
fn the_first_of_a_moving_picture_makes_the_set() {
    let run = Run::new();
    let (produced, dir) = run.convert(&fixture("image/gif/good/moving.gif"), "webp", json!({"widths": [60]})).unwrap();
    assert!(produced.warnings[0].contains("first"), "{:?}", produced.warnings);
    let first = run.file(&fixture("image/gif/good/moving.gif"), "png", json!({"page": 1})).unwrap();
    let (found, wanted) = (pixel(&named(&dir, &produced, 0), 2, 2), pixel(&first, 2, 2));
    assert!(near(&found, [wanted[0], wanted[1], wanted[2]]), "{found:?} {wanted:?}");
}
