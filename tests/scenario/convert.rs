//! `millrace convert`: one file of each family goes in and comes out, bad ones end with a clear word, nothing is left behind.

use crate::support::command::{convert, good};
use crate::support::direct::{fixture, tool};
use std::path::Path;

fn path(folder: &tempfile::TempDir, name: &str) -> String {
    folder.path().join(name).to_string_lossy().into_owned()
}

fn source(name: &str) -> String {
    fixture(name).to_string_lossy().into_owned()
}

#[test]
fn a_picture_becomes_a_smaller_webp() {
    let folder = tempfile::tempdir().unwrap();
    let out = path(&folder, "out.webp");
    let done = convert(folder.path(), &[&good("image/jpeg"), &out, "-o", "width=64"]);
    assert_eq!(done.exit, 0, "{}", done.complaint);
    assert!(tool("identify", &["-format", "%m %w", &out]).starts_with("WEBP 64"));
}

#[test]
fn a_plan_is_said_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let out = path(&folder, "out.webp");
    let said = convert(folder.path(), &["--plan", &source("image/png/good/scene.png"), &out, "--preset", "thumb-320"]);
    assert_eq!(said.exit, 0, "{}", said.complaint);
    for word in ["scene.png (PNG", "scene.webp (WebP by image.transcode)", "preset thumb-320", "\"width\":320", "queue     image: "] {
        assert!(said.out.contains(word), "{word}: {}", said.out);
    }
    assert!(!Path::new(&out).exists());
    let said = convert(folder.path(), &["--plan", &good("video/mp4"), &path(&folder, "out.mkv"), "-o", "copy=never"]);
    assert!(said.out.contains(": copy is never\n") && said.out.contains("takes     unknown: "), "{}", said.out);
}

#[test]
fn a_word_document_becomes_a_pdf() {
    let folder = tempfile::tempdir().unwrap();
    let out = path(&folder, "out.pdf");
    let done = convert(folder.path(), &[&good("document/docx"), &out]);
    assert_eq!(done.exit, 0, "{}", done.complaint);
    assert!(tool("pdfinfo", &[&out]).contains("Pages:"));
}

#[test]
fn a_zip_becomes_a_tar_and_a_folder_of_files() {
    let folder = tempfile::tempdir().unwrap();
    let (tar, files) = (path(&folder, "out.tar.zst"), path(&folder, "files/"));
    let zip = good("archive/zip");
    let done = convert(folder.path(), &[&zip, &tar]);
    assert_eq!(done.exit, 0, "{}", done.complaint);
    let entries = tool("bsdtar", &["-tf", &tar]);
    assert!(!entries.is_empty());
    let done = convert(folder.path(), &[&zip, &files, "--to", "files"]);
    assert_eq!(done.exit, 0, "{}", done.complaint);
    let first = entries.lines().find(|e| !e.ends_with('/')).unwrap();
    assert!(Path::new(&files).join(first).is_file(), "{first} was extracted");
}

#[test]
fn many_files_go_to_a_folder_and_failures_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (out, empty) = (path(&folder, "out"), path(&folder, "empty.png"));
    std::fs::write(&empty, b"").unwrap();
    let done = convert(folder.path(), &[&good("image/png"), &empty, "--to", "jpeg", "--out-dir", &out]);
    assert_eq!(done.exit, 2);
    assert!(done.complaint.contains("1 converted, 1 failed"), "{}", done.complaint);
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 1);
}

#[test]
fn bad_files_end_with_a_clear_word_and_no_output() {
    for (input, to, exit, word) in [("image/jpeg/broken/huge.jpg", "webp", 1, "limit_exceeded"), ("image/jpeg/good", "mp4", 2, "Possible")] {
        let folder = tempfile::tempdir().unwrap();
        let out = path(&folder, &format!("out.{to}"));
        let input = if input.ends_with("good") { good(input.trim_end_matches("/good")) } else { source(input) };
        let done = convert(folder.path(), &[&input, &out]);
        assert_eq!(done.exit, exit, "{input}: {}", done.complaint);
        assert!(done.complaint.contains(word), "{input}: {}", done.complaint);
        assert!(!Path::new(&out).exists(), "{input}");
    }
}

#[test]
fn a_wrong_option_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (option, words) in [
        ("quality=101", ["`options.quality` does not take 101", "1 to 100"]),
        ("quality=300", ["`options.quality` does not take 300", "1 (small) to 100 (best)"]),
        ("fit=stretch", ["`options.fit` does not take \"stretch\"", "contain"]),
        ("qality=1", ["no option `options.qality`", "quality"]),
    ] {
        let done = convert(folder.path(), &[&good("image/png"), &path(&folder, "out.webp"), "-o", option]);
        assert_eq!(done.exit, 2, "{option}");
        assert!(words.iter().all(|word| done.complaint.contains(word)), "{option}: {}", done.complaint);
    }
}

#[test]
fn hostile_names_are_only_names() {
    let folder = tempfile::tempdir().unwrap();
    let name = path(&folder, "-rf \"$(touch x)\"\n\u{202e}gnp.png");
    std::fs::copy(good("image/png"), &name).unwrap();
    let out = path(&folder, "out");
    let done = convert(folder.path(), &[&name, "--to", "bmp", "--out-dir", &out]);
    assert_eq!(done.exit, 0, "{}", done.complaint);
    let made = std::fs::read_dir(&out).unwrap().next().unwrap().unwrap().file_name().to_string_lossy().into_owned();
    assert!(made.ends_with(".bmp") && !made.contains(['\n', '"', '\u{202e}']) && !made.starts_with('-'), "{made:?}");
}

#[test]
fn equal_names_of_two_folders_do_not_overwrite_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b, out) = (path(&folder, "a/x.png"), path(&folder, "b/x.png"), path(&folder, "out"));
    for (file, source) in [(&a, "alpha.png"), (&b, "scene.png")] {
        std::fs::create_dir_all(Path::new(file).parent().unwrap()).unwrap();
        std::fs::copy(fixture(&format!("image/png/good/{source}")), file).unwrap();
    }
    let done = convert(folder.path(), &[&a, &b, "--to", "webp", "--out-dir", &out, "--jobs", "1"]);
    assert_eq!(done.exit, 0, "{}", done.complaint);
    let mut made: Vec<_> = std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    made.sort();
    assert_eq!(made, ["x (2).webp", "x.webp"]);
}

#[test]
fn hundreds_of_files_are_converted_a_few_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let (source, out) = (good("image/qoi"), path(&folder, "out"));
    let files: Vec<String> = (0..300).map(|n| path(&folder, &format!("{n}.qoi"))).collect();
    for file in &files {
        std::fs::copy(&source, file).unwrap();
    }
    let mut args: Vec<&str> = files.iter().map(String::as_str).collect();
    args.extend(["--to", "bmp", "--out-dir", &out, "--jobs", "3", "--json", "-o", "width=8"]);
    let done = convert(folder.path(), &args);
    assert_eq!(done.exit, 0, "{}", done.complaint);
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 300);
    // Six are under way at most: three in slots, three being looked at or written.
    let mut under_way = std::collections::BTreeSet::new();
    for line in done.out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()) {
        let id = line["id"].as_str().unwrap().to_owned();
        let ended = ["succeeded", "failed"].contains(&line["state"].as_str().unwrap());
        if ended {
            under_way.remove(&id)
        } else {
            under_way.insert(id)
        };
        assert!(under_way.len() <= 6, "{under_way:?}");
    }
}
