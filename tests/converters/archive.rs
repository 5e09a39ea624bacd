//! The archive family.

use crate::support::direct::{Run, fails, fixture, tool};
use millrace::convert::Depth;
use millrace::converters;
use millrace::failure::{Code, Failure};
use millrace::limits::Size;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Compressed files of one entry.
const SINGLE: &[&str] = &["gz", "bz2", "xz", "zst", "lz4", "br"];

pub fn good(format: &str) -> PathBuf {
    fixture(&match format {
        "7z" => "archive/7z/good/plain.7z".to_owned(),
        format if SINGLE.contains(&format) => format!("archive/{format}/good/readme.txt.{format}"),
        _ => format!("archive/{format}/good/mixed.{format}"),
    })
}

pub fn text() -> String {
    (0..400).map(|n| format!("line {n}: the mill turns\n")).collect()
}

/// What bsdtar finds, by path.
pub fn listing(file: &Path) -> Vec<String> {
    let mut names: Vec<String> = tool("bsdtar", &["-tf", &file.to_string_lossy()])
        .lines()
        .map(|l| l.trim_start_matches("./").trim_end_matches('/').to_owned())
        .filter(|l| !l.is_empty())
        .collect();
    names.sort();
    names
}

fn content(file: &Path, entry: &str) -> String {
    tool("bsdtar", &["-xOf", &file.to_string_lossy(), entry])
}

/// Contents by name.
pub type Contents = BTreeMap<String, Vec<u8>>;

pub fn extracted(run: &Run, input: &Path, options: Value) -> Result<(Contents, Vec<String>), Failure> {
    let (produced, dir) = run.convert(input, "files", options)?;
    assert!(produced.files.iter().all(|f| !f.expect.probe));
    let read = |f: &millrace::convert::ProducedFile| (f.name.clone(), std::fs::read(dir.join(&f.file)).unwrap());
    Ok((produced.files.iter().map(read).collect(), produced.warnings))
}

pub fn list(run: &Run, input: &Path, options: Value) -> Value {
    let file = run.file(input, "json", options).unwrap();
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

#[test]
fn every_archive_becomes_every_other() {
    let (_, converter) = converters::by_id("archive.repack").unwrap();
    for (left, right) in converter.spec.pairs {
        for (from, to) in left.iter().flat_map(|from| right.iter().map(move |to| (*from, *to))) {
            let run = Run::new();
            let (produced, dir) = run.convert(&good(from), to, json!({"level": 2})).unwrap_or_else(|e| panic!("{from} to {to}: {e:?}"));
            let file = dir.join(&produced.files[0].file);
            let media = run.probe(&file, Depth::Proof).unwrap_or_else(|e| panic!("{from} to {to}: {e:?}"));
            assert_eq!(media.entries, produced.files[0].expect.entries, "{from} to {to}");
            match to {
                to if SINGLE.contains(&to) => {
                    let program = match to {
                        "gz" => "gzip",
                        "bz2" => "bzip2",
                        "xz" => "xz",
                        "lz4" => "lz4",
                        _ => "zstd",
                    };
                    assert_eq!(tool(program, &["-dc", &file.to_string_lossy()]), text(), "{from} to {to}");
                }
                _ => {
                    if matches!(to, "zip" | "7z") {
                        tool("7z", &["t", "-bd", &file.to_string_lossy()]);
                    }
                    let (inside, files) = match from {
                        // A package is an archive of two archives.
                        "deb" => ("data.tar.xz", 3),
                        "ar" => ("readme.txt", 3),
                        from if SINGLE.contains(&from) => ("readme.txt", 1),
                        _ => ("readme.txt", 4),
                    };
                    let found = listing(&file);
                    assert!(found.len() >= files && found.iter().any(|name| name == inside), "{from} to {to}: {found:?}");
                    if inside == "readme.txt" {
                        assert_eq!(content(&file, inside), text(), "{from} to {to}");
                    }
                }
            }
        }
    }
}

#[test]
fn modes_times_and_links_are_kept() {
    for (from, to) in [("tar.gz", "zip"), ("zip", "tar.zst"), ("tar", "7z"), ("zip", "zip"), ("7z", "tar")] {
        let run = Run::new();
        let file = run.file(&good(from), to, json!({})).unwrap();
        let found = list(&run, &file, json!({}));
        let entry = |path: &str| found["entries"].as_array().unwrap().iter().find(|e| e["path"] == path).cloned().unwrap_or_default();
        assert_eq!(entry("readme.txt")["modified"], "2024-02-29T12:34:56Z", "{from} to {to}");
        if from != "7z" {
            assert_eq!(entry("tool.sh")["mode"], "0755", "{from} to {to}");
            assert_eq!(entry("sub/link.txt")["kind"], "symlink", "{from} to {to}");
            assert_eq!(entry("folder")["kind"], "folder", "{from} to {to}");
        } else {
            assert_eq!(entry("link.txt")["target"], "readme.txt");
        }
        let unpacked = tempfile::tempdir().unwrap();
        tool("bsdtar", &["-xf", &file.to_string_lossy(), "-C", &unpacked.path().to_string_lossy()]);
        let link = if from == "7z" { "link.txt" } else { "sub/link.txt" };
        assert_eq!(std::fs::read_to_string(unpacked.path().join(link)).unwrap(), text(), "{from} to {to}: the link leads to the text");
    }
}

#[test]
fn second_names_stay_reachable() {
    let run = Run::new();
    let file = run.file(&good("tar"), "tar.xz", json!({})).unwrap();
    assert!(tool("bsdtar", &["-tvf", &file.to_string_lossy()]).contains("second_name.txt link to readme.txt"));
    let (produced, dir) = run.convert(&good("tar"), "zip", json!({})).unwrap();
    assert!(produced.warnings.iter().any(|w| w.contains("second_name.txt")), "{:?}", produced.warnings);
    let unpacked = tempfile::tempdir().unwrap();
    tool("bsdtar", &["-xf", &dir.join(&produced.files[0].file).to_string_lossy(), "-C", &unpacked.path().to_string_lossy()]);
    assert_eq!(std::fs::read_to_string(unpacked.path().join("second_name.txt")).unwrap(), text());
    let (files, _) = extracted(&run, &good("tar"), json!({})).unwrap();
    assert_eq!(files["second_name.txt"], text().into_bytes());
}

#[test]
fn files_come_out_as_they_went_in() {
    for format in ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst", "tar.lz4", "7z", "rar", "iso", "cpio"] {
        let run = Run::new();
        let (produced, dir) = run.convert(&good(format), "files", json!({})).unwrap();
        let by_name = |name: &str| produced.files.iter().find(|f| f.name == name).unwrap_or_else(|| panic!("{name} in {format}"));
        assert_eq!(std::fs::read_to_string(dir.join(&by_name("readme.txt").file)).unwrap(), text(), "{format}");
        assert_eq!((by_name("readme.txt").format.id(), by_name("pictures/noise.bin").format.id()), ("txt", "bin"));
        assert_eq!(by_name("sub/deeper/note.md").format.id(), "md");
        assert_eq!(std::fs::metadata(dir.join(&by_name("empty.txt").file)).unwrap().len(), 0);
        assert!(std::fs::read_dir(&dir).unwrap().all(|f| f.unwrap().file_type().unwrap().is_file()), "only plain files");
    }
    let run = Run::new();
    for odd in [
        "zip/good/bzip2.zip",
        "zip/good/lzma.zip",
        "zip/good/deflate64.zip",
        "7z/good/ppmd.7z",
        "rar/good/mixed4.rar",
        "cab/good/mixed.cab",
        "cab/odd/stored.cab",
        "cpio/odd/old.cpio",
        "ar/good/mixed.ar",
    ] {
        let (files, _) = extracted(&run, &fixture(&format!("archive/{odd}")), json!({})).unwrap();
        assert_eq!(files["readme.txt"], text().into_bytes(), "{odd}");
    }
    let (files, _) = extracted(&run, &good("gz"), json!({})).unwrap();
    assert_eq!(files.keys().collect::<Vec<_>>(), ["readme.txt"]);
    let (files, _) = extracted(&run, &fixture("archive/gz/odd/tar_inside.gz"), json!({})).unwrap();
    assert!(files.contains_key("tool.sh"), "a tar inside a gz is found");
}

#[test]
fn patterns_choose() {
    let run = Run::new();
    let (files, _) = extracted(&run, &good("zip"), json!({"include": ["*.txt", "sub/**"], "exclude": ["empty*"]})).unwrap();
    assert_eq!(files.keys().collect::<Vec<_>>(), ["readme.txt", "sub/deeper/note.md"]);
    let (produced, _) = run.convert(&good("zip"), "tar", json!({"include": ["nothing"]})).unwrap();
    assert!(produced.warnings[0].contains("No entry"), "{:?}", produced.warnings);
    let (_, converter) = converters::by_id("archive.extract").unwrap();
    assert_eq!((converter.check)(&json!({"include": ["[a"]})).unwrap_err().field, "include");
    assert!((converter.check)(&json!({"name_encoding": "klingon"})).is_err());
}

#[test]
fn passwords() {
    for (file, fate) in [
        ("locked", Code::PasswordRequired),
        ("locked4", Code::PasswordRequired),
        ("sealed", Code::PasswordRequired),
        ("sealed4", Code::PasswordRequired),
    ] {
        let (run, source) = (Run::new(), fixture(&format!("archive/rar/odd/{file}.rar")));
        fails(run.file(&source, "tar", json!({})), fate);
        let failure = fails(run.file(&source, "tar", json!({"password": "test"})), Code::UnsupportedFormat);
        assert!(failure.message.contains("Encrypted RAR"), "{file}: {failure:?}");
    }
    for file in ["zip/odd/aes.zip", "zip/odd/zipcrypto.zip", "7z/odd/encrypted.7z"] {
        let (run, source) = (Run::new(), fixture(&format!("archive/{file}")));
        fails(run.file(&source, "tar", json!({})), Code::PasswordRequired);
        fails(run.file(&source, "tar", json!({"password": "wrong"})), Code::WrongPassword);
        let plain = run.file(&source, "tar", json!({"password": "test"})).unwrap();
        assert_eq!(content(&plain, "readme.txt"), text(), "{file}");
    }
    let run = Run::new();
    let sealed = run.file(&good("tar.gz"), "zip", json!({"output_password": "mill"})).unwrap();
    tool("7z", &["t", "-bd", "-pmill", &sealed.to_string_lossy()]);
    assert!(tool("7z", &["l", "-slt", &sealed.to_string_lossy()]).contains("AES-256"));
    fails(run.file(&sealed, "tar", json!({"password": "wrong"})), Code::WrongPassword);
    assert!(run.probe(&sealed, Depth::Proof).unwrap().entries.is_some(), "a sealed result can still be counted");
    let sealed = run.file(&good("tar.gz"), "7z", json!({"output_password": "mill"})).unwrap();
    tool("7z", &["t", "-bd", "-pmill", &sealed.to_string_lossy()]);
    let told = std::process::Command::new("7z").args(["l", "-pwrong", &sealed.to_string_lossy()]).output().unwrap();
    assert!(!told.status.success() && !String::from_utf8_lossy(&told.stdout).contains("readme.txt"), "the names are sealed too");
    fails(run.file(&sealed, "tar", json!({})), Code::PasswordRequired);
    let plain = run.file(&sealed, "tar", json!({"password": "mill"})).unwrap();
    assert_eq!(content(&plain, "readme.txt"), text());
    fails(run.file(&good("zip"), "tar", json!({"output_password": "x"})), Code::InvalidOption);
}

#[test]
fn listings_tell_everything() {
    let run = Run::new();
    let found = list(&run, &good("zip"), json!({"sha256": true}));
    let entry = found["entries"].as_array().unwrap().iter().find(|e| e["path"] == "readme.txt").unwrap();
    assert_eq!(entry["size_bytes"], text().len());
    let wanted = tool("bsdtar", &["-xOf", &good("zip").to_string_lossy(), "readme.txt"]);
    assert_eq!(entry["sha256"], hex::encode(<sha2::Sha256 as sha2::Digest>::digest(wanted.as_bytes())));
    assert_eq!(entry["crc32"].as_str().unwrap().len(), 8);
    let hostile = list(&run, &fixture("archive/zip/broken/dotdot.zip"), json!({}));
    assert!(hostile["warnings"][0].as_str().unwrap().contains("`..`"), "a listing warns where unpacking refuses");
    assert_eq!(list(&run, &fixture("archive/zip/odd/aes.zip"), json!({}))["entries"][0]["encrypted"].as_bool(), Some(true));
    assert_eq!(list(&run, &fixture("archive/zip/odd/empty.zip"), json!({}))["files"], 0);
}

#[test]
fn broken_and_hostile_files_end_as_their_manifest_says() {
    let manifest: toml::Table = toml::from_str(&std::fs::read_to_string(fixture("archive/MANIFEST.toml")).unwrap()).unwrap();
    let mut bad = 0;
    for file in manifest["file"].as_array().unwrap() {
        let (path, fate) = (file["path"].as_str().unwrap(), file["fate"].as_str().unwrap());
        for to in ["tar", "files"] {
            let run = Run::new();
            match run.convert(&fixture(&format!("archive/{path}")), to, json!({})) {
                Ok(_) => assert_eq!(fate, "converts", "{path} to {to}"),
                Err(failure) => {
                    bad += 1;
                    assert_eq!(failure.code.as_str(), fate, "{path} to {to}: {failure:?}");
                }
            }
        }
    }
    assert!(bad > 60);
    let failure = fails(Run::new().file(&fixture("archive/tar/broken/truncated.tar"), "zip", json!({})), Code::CorruptInput);
    assert!(failure.message.contains("noise.bin"), "{}", failure.message);
}

#[test]
fn bombs_are_refused() {
    let run = Run::new();
    let zeros = run.folder.path().join("zeros");
    std::fs::write(&zeros, vec![0; 64 << 20]).unwrap();
    let zeros = zeros.to_string_lossy().into_owned();
    for (name, args) in [("bomb.zip", "zip"), ("bomb.7z", "7zip")] {
        let bomb = run.folder.path().join(name);
        tool("bsdtar", &["-cf", &bomb.to_string_lossy(), "--format", args, &zeros]);
        fails(run.file(&bomb, "tar", json!({})), Code::LimitExceeded);
        fails(extracted(&run, &bomb, json!({})), Code::LimitExceeded);
    }
    for (name, flag) in [("bomb.tar.gz", "-z"), ("bomb.tar.zst", "--zstd"), ("bomb.tar.xz", "-J"), ("bomb.tar.bz2", "-j")] {
        let bomb = run.folder.path().join(name);
        tool("bsdtar", &["-cf", &bomb.to_string_lossy(), flag, &zeros]);
        fails(run.file(&bomb, "zip", json!({})), Code::LimitExceeded);
        fails(run.probe(&bomb, Depth::Proof), Code::LimitExceeded);
        fails(run.file(&bomb, "json", json!({})), Code::LimitExceeded);
    }
    let single = run.folder.path().join("zeros.gz");
    std::fs::write(&single, std::process::Command::new("gzip").args(["-c", &zeros]).output().unwrap().stdout).unwrap();
    fails(run.file(&single, "zst", json!({})), Code::LimitExceeded);
    for format in ["zip", "tar.gz", "7z"] {
        let mut run = Run::new();
        run.limits.unpacked_max = Size(10_000);
        fails(run.file(&good(format), "tar", json!({})), Code::LimitExceeded);
        let mut run = Run::new();
        run.limits.entries_max = 3;
        fails(run.file(&good(format), "tar", json!({})), Code::LimitExceeded);
        fails(run.file(&good(format), "json", json!({})), Code::LimitExceeded);
    }
}

#[test]
fn probes_measure() {
    let run = Run::new();
    for format in ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst", "7z"] {
        let proof = run.probe(&good(format), Depth::Proof).unwrap();
        let wanted = if format == "zip" {
            6
        } else if format == "7z" {
            5
        } else {
            7
        };
        assert_eq!(proof.entries, Some(wanted), "{format}");
        let unpacked = proof.unpacked_bytes.unwrap();
        assert!((text().len() as u64 + 20_007..text().len() as u64 + 20_100).contains(&unpacked), "{format}: {unpacked}");
        assert_eq!(run.probe(&good(format), Depth::Header).unwrap().entries, proof.entries, "{format}");
    }
    assert_eq!(run.probe(&good("gz"), Depth::Proof).unwrap().unpacked_bytes, Some(text().len() as u64));
    assert_eq!(run.probe(&good("gz"), Depth::Header).unwrap().unpacked_bytes, None);
    fails(run.probe(&fixture("archive/zip/broken/flipped.zip"), Depth::Proof), Code::CorruptInput);
    assert!(run.probe(&fixture("archive/zip/broken/flipped.zip"), Depth::Header).is_ok(), "a header does not look that far");
}

#[test]
fn large_entries_stream() {
    let run = Run::new();
    let source = run.folder.path().join("large.bin");
    let block: Vec<u8> = (0..1 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(&source, block.repeat(20)).unwrap();
    let tar = run.folder.path().join("large.tar");
    tool("bsdtar", &["-cf", &tar.to_string_lossy(), "-C", &run.folder.path().to_string_lossy(), "large.bin"]);
    for to in ["zip", "7z", "tar.zst", "tar.xz"] {
        let file = run.file(&tar, to, json!({"level": 1})).unwrap();
        let (files, _) = extracted(&run, &file, json!({})).unwrap();
        assert!(files["large.bin"] == block.repeat(20), "{to}");
        tool("bsdtar", &["-tf", &file.to_string_lossy()]);
    }
}

#[test]
fn a_stop_request_ends_the_work() {
    for to in ["zip", "files", "json"] {
        let run = Run::new();
        run.listener.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        fails(run.convert(&good("tar.gz"), to, json!({})), Code::Cancelled);
    }
}

#[test]
fn mutated_files_never_panic() {
    for format in ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst", "7z", "gz"] {
        let source = std::fs::read(good(format)).unwrap();
        let mut run = Run::new();
        run.limits.unpacked_max = Size(50 << 20);
        let mut state = 0x9e37_79b9_u32;
        let mut random = move |below: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize % below
        };
        for round in 0..24 {
            let mut bytes = source.clone();
            // Directories stand at either end.
            let length = bytes.len();
            for _ in 0..=random(4) {
                let at = if round % 2 == 0 { random(length.min(200)) } else { length - 1 - random(length.min(400)) };
                bytes[at] = random(256) as u8;
            }
            let path = run.folder.path().join(format!("mutant.{format}"));
            std::fs::write(&path, bytes).unwrap();
            for to in ["tar", "files", "json"] {
                if let Err(failure) = run.convert(&path, to, json!({})) {
                    let wrong = [Code::Internal, Code::Crashed, Code::ToolFailed, Code::Cancelled];
                    assert!(!wrong.contains(&failure.code), "{format} round {round} to {to}: {failure:?}");
                }
            }
        }
    }
}

#[test]
fn progress_is_how_much_of_the_archive_was_read() {
    let folder = tempfile::tempdir().unwrap();
    let noise: Vec<u8> = (0..4_000_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    std::fs::write(folder.path().join("noise.bin"), noise).unwrap();
    let tar = folder.path().join("noise.tar");
    tool("bsdtar", &["-cf", tar.to_str().unwrap(), "-C", folder.path().to_str().unwrap(), "noise.bin"]);
    let run = Run::new();
    run.file(&tar, "zip", json!({})).unwrap();
    let steps: Vec<f64> = run.listener.progress.lock().unwrap().iter().map(|p| p.percent).collect();
    assert!(steps.is_sorted(), "{steps:?}");
    assert!(steps.iter().any(|p| (20.0..80.0).contains(p)) && steps.last().is_some_and(|p| *p > 95.0), "{steps:?}");
}

#[test]
fn a_stop_is_heeded_while_a_block_is_being_packed() {
    let folder = tempfile::tempdir().unwrap();
    let noise: Vec<u8> = (0..16_000_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).rotate_left(n % 31).to_le_bytes()).collect();
    std::fs::write(folder.path().join("noise.bin"), noise).unwrap();
    let tar = folder.path().join("noise.tar");
    tool("bsdtar", &["-cf", tar.to_str().unwrap(), "-C", folder.path().to_str().unwrap(), "noise.bin"]);
    for to in ["tar.xz", "7z"] {
        let run = Run::new();
        std::thread::scope(|scope| {
            let asker = scope.spawn(|| {
                while run.listener.progress.lock().unwrap().is_empty() {
                    std::thread::yield_now();
                }
                run.listener.stop.store(true, std::sync::atomic::Ordering::Relaxed);
                std::time::Instant::now()
            });
            let failure = run.file(&tar, to, json!({"level": 9})).expect_err("it was stopped");
            let took = asker.join().unwrap().elapsed();
            assert_eq!(failure.code, Code::Cancelled, "{to}: {failure:?}");
            assert!(took < std::time::Duration::from_secs(3), "{to}: {took:?}");
        });
    }
}

#[test]
fn the_first_fault_of_a_7z_is_the_one_that_is_told() {
    let run = Run::new();
    let mut bytes = std::fs::read(fixture("archive/7z/good/plain.7z")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    let flipped = run.folder.path().join("flipped.7z");
    std::fs::write(&flipped, bytes).unwrap();
    // What comes after the damaged entry must not be heard of; two threads decide who is heard first.
    for _ in 0..30 {
        fails(run.file(&flipped, "tar", json!({})), Code::CorruptInput);
    }
}
