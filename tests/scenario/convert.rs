//! `millrace convert`: one file of each family goes in and comes out, bad ones end with a clear word, nothing is left behind.

use crate::support::direct::{fixture, tool};
use std::path::Path;
use std::process::{Command, Output};

/// Runs the command with a temporary folder of its own and asserts that it leaves nothing there.
fn convert(folder: &Path, args: &[&str]) -> Output {
    let temporary = folder.join("tmp");
    std::fs::create_dir_all(&temporary).unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_millrace")).arg("convert").args(args).env("TMPDIR", &temporary).output().unwrap();
    let left: Vec<_> = std::fs::read_dir(&temporary).unwrap().flatten().map(|e| e.path()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    done
}

fn path(folder: &tempfile::TempDir, name: &str) -> String {
    folder.path().join(name).to_string_lossy().into_owned()
}

fn source(name: &str) -> String {
    fixture(name).to_string_lossy().into_owned()
}

fn complaint(done: &Output) -> String {
    String::from_utf8_lossy(&done.stderr).into_owned()
}

/// The first good fixture of a format.
fn good(kind: &str) -> String {
    let mut files: Vec<_> = std::fs::read_dir(fixture(&format!("{kind}/good"))).unwrap().flatten().map(|e| e.path()).collect();
    files.sort();
    files[0].to_string_lossy().into_owned()
}

#[test]
fn a_picture_becomes_a_smaller_webp() {
    let folder = tempfile::tempdir().unwrap();
    let out = path(&folder, "out.webp");
    let done = convert(folder.path(), &[&good("image/jpeg"), &out, "-o", "width=64"]);
    assert_eq!(done.status.code(), Some(0), "{}", complaint(&done));
    assert!(tool("identify", &["-format", "%m %w", &out]).starts_with("WEBP 64"));
}

#[test]
fn a_word_document_becomes_a_pdf() {
    let folder = tempfile::tempdir().unwrap();
    let out = path(&folder, "out.pdf");
    let done = convert(folder.path(), &[&good("document/docx"), &out]);
    assert_eq!(done.status.code(), Some(0), "{}", complaint(&done));
    assert!(tool("pdfinfo", &[&out]).contains("Pages:"));
}

#[test]
fn a_zip_becomes_a_tar_and_a_folder_of_files() {
    let folder = tempfile::tempdir().unwrap();
    let (tar, files) = (path(&folder, "out.tar.zst"), path(&folder, "files/"));
    let zip = good("archive/zip");
    let done = convert(folder.path(), &[&zip, &tar]);
    assert_eq!(done.status.code(), Some(0), "{}", complaint(&done));
    let entries = tool("bsdtar", &["-tf", &tar]);
    assert!(!entries.is_empty());
    let done = convert(folder.path(), &[&zip, &files, "--to", "files"]);
    assert_eq!(done.status.code(), Some(0), "{}", complaint(&done));
    let first = entries.lines().find(|e| !e.ends_with('/')).unwrap();
    assert!(Path::new(&files).join(first).is_file(), "{first} was extracted");
}

#[test]
fn many_files_go_to_a_folder_and_failures_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (out, empty) = (path(&folder, "out"), path(&folder, "empty.png"));
    std::fs::write(&empty, b"").unwrap();
    let done = convert(folder.path(), &[&good("image/png"), &empty, "--to", "jpeg", "--out-dir", &out]);
    assert_eq!(done.status.code(), Some(2));
    assert!(complaint(&done).contains("1 converted, 1 failed"), "{}", complaint(&done));
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 1);
}

#[test]
fn bad_files_end_with_a_clear_word_and_no_output() {
    for (input, to, exit, word) in [("image/jpeg/broken/huge.jpg", "webp", 1, "limit_exceeded"), ("image/jpeg/good", "mp4", 2, "Possible")] {
        let folder = tempfile::tempdir().unwrap();
        let out = path(&folder, &format!("out.{to}"));
        let input = if input.ends_with("good") { good(input.trim_end_matches("/good")) } else { source(input) };
        let done = convert(folder.path(), &[&input, &out]);
        assert_eq!(done.status.code(), Some(exit), "{input}: {}", complaint(&done));
        assert!(complaint(&done).contains(word), "{input}: {}", complaint(&done));
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
        assert_eq!(done.status.code(), Some(2), "{option}");
        assert!(words.iter().all(|word| complaint(&done).contains(word)), "{option}: {}", complaint(&done));
    }
}

#[test]
fn hostile_names_are_only_names() {
    let folder = tempfile::tempdir().unwrap();
    let name = path(&folder, "-rf \"$(touch x)\"\n\u{202e}gnp.png");
    std::fs::copy(good("image/png"), &name).unwrap();
    let out = path(&folder, "out");
    let done = convert(folder.path(), &[&name, "--to", "bmp", "--out-dir", &out]);
    assert_eq!(done.status.code(), Some(0), "{}", complaint(&done));
    let made = std::fs::read_dir(&out).unwrap().next().unwrap().unwrap().file_name().to_string_lossy().into_owned();
    assert!(made.ends_with(".bmp") && !made.contains(['\n', '"', '\u{202e}']) && !made.starts_with('-'), "{made:?}");
}
