//! Archives of every origin, and what options make of them.

use super::archive::{extracted, good, list, listing, text};
use crate::support::direct::{Run, fails, fixture, tool};
use millrace::converters;
use millrace::failure::Code;
use millrace::format::Format;
use millrace::queue::Queues;
use serde_json::{Value, json};
use std::os::unix::fs::FileExt;
use std::path::Path;

#[test]
fn archives_of_other_systems_keep_names_times_and_links() {
    let run = Run::new();
    for (file, modes) in [("rar/good/mixed.rar", true), ("rar/good/mixed4.rar", true), ("cpio/good/mixed.cpio", true), ("iso/good/mixed.iso", false)]
    {
        let found = list(&run, &fixture(&format!("archive/{file}")), json!({"sha256": true}));
        let entry = |path: &str| found["entries"].as_array().unwrap().iter().find(|e| e["path"] == path).cloned().unwrap_or_default();
        assert_eq!(entry("readme.txt")["modified"], "2024-02-29T12:34:56Z", "{file}");
        assert_eq!(entry("readme.txt")["size_bytes"], text().len(), "{file}");
        assert_eq!(entry("readme.txt")["sha256"], hex::encode(<sha2::Sha256 as sha2::Digest>::digest(text().as_bytes())), "{file}");
        if modes {
            assert_eq!(entry("tool.sh")["mode"], "0755", "{file}");
            assert_eq!(entry("sub/link.txt")["target"], "../readme.txt", "{file}");
        }
    }
    for (file, name) in [("rar/odd/unicode.rar", "Мельница/水車.txt"), ("iso/odd/joliet.iso", "Мельница.txt")] {
        let (files, _) = extracted(&run, &fixture(&format!("archive/{file}")), json!({})).unwrap();
        assert!(files.contains_key(name), "{file}: {:?}", files.keys());
    }
    let (files, _) = extracted(&run, &fixture("archive/lz4/odd/two_frames.txt.lz4"), json!({})).unwrap();
    assert_eq!(files.into_values().next().unwrap(), text().repeat(2).into_bytes());
}

#[test]
fn what_a_zip_holds_goes_into_another_as_it_is() {
    let run = Run::new();
    // Packed with the least effort: packing it anew would make it smaller.
    let source = run.folder.path().join("weak.zip");
    let folder = run.folder.path().join("weak");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("readme.txt"), text()).unwrap();
    std::fs::write(folder.join("other.txt"), text()).unwrap();
    tool("bsdtar", &["-cf", source.to_str().unwrap(), "--format", "zip", "--options", "compression-level=1", "-C", folder.to_str().unwrap(), "."]);
    let packed = |file: &Path| {
        list(&run, file, json!({}))["entries"].as_array().unwrap().iter().find(|e| e["path"] == "readme.txt").unwrap()["packed_bytes"].as_u64()
    };
    let before = packed(&source);
    let copied = run.file(&source, "zip", json!({"exclude": ["other*"]})).unwrap();
    assert_eq!(packed(&copied), before);
    tool("7z", &["t", "-bd", &copied.to_string_lossy()]);
    assert_eq!(listing(&copied), ["readme.txt"]);
    let anew = run.file(&source, "zip", json!({"level": 9})).unwrap();
    assert_ne!(packed(&anew), before);
}

#[test]
fn holes_of_sparse_files_come_out_as_zeros() {
    let run = Run::new();
    let file = run.folder.path().join("holes.bin");
    let mut content = vec![0; 3 << 20];
    let holes = std::fs::File::create(&file).unwrap();
    holes.set_len(content.len() as u64).unwrap();
    for at in [0, 1 << 20, content.len() - 4] {
        content[at..at + 4].copy_from_slice(b"mill");
        holes.write_all_at(b"mill", at as u64).unwrap();
    }
    for (name, flags) in [("old", &["--format=gnu"][..]), ("pax1", &["--format=posix"]), ("pax01", &["--format=posix", "--sparse-version=0.1"])] {
        let tar = run.folder.path().join(format!("{name}.tar"));
        let folder = run.folder.path().to_str().unwrap();
        tool("tar", &[flags, &["-S", "-cf", tar.to_str().unwrap(), "-C", folder, "holes.bin"]].concat());
        assert!(std::fs::metadata(&tar).unwrap().len() < 1 << 20, "{name} has holes");
        let (files, _) = extracted(&run, &tar, json!({})).unwrap();
        assert!(files.keys().eq(["holes.bin"]) && files["holes.bin"] == content, "{name}: {:?}", files.keys());
        let zip = run.file(&tar, "zip", json!({})).unwrap();
        tool("7z", &["t", "-bd", zip.to_str().unwrap()]);
        let back = std::process::Command::new("unzip").args(["-p", zip.to_str().unwrap()]).output().unwrap().stdout;
        assert!(back == content, "{name}");
    }
    let tar = run.folder.path().join("pax0.tar");
    tool(
        "tar",
        &["--format=posix", "--sparse-version=0.0", "-S", "-cf", tar.to_str().unwrap(), "-C", run.folder.path().to_str().unwrap(), "holes.bin"],
    );
    fails(run.file(&tar, "zip", json!({})), Code::UnsupportedFormat);
}

#[test]
fn volumes_put_together_are_the_archive() {
    let run = Run::new();
    let noise: Vec<u8> = (0..200_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let source = run.folder.path().join("noise.tar");
    std::fs::write(run.folder.path().join("noise.bin"), noise).unwrap();
    tool("bsdtar", &["-cf", source.to_str().unwrap(), "-C", run.folder.path().to_str().unwrap(), "noise.bin"]);
    for to in ["zip", "7z", "tar.gz"] {
        let (produced, dir) = run.convert(&source, to, json!({"volume_bytes": 300_000})).unwrap();
        let sizes: Vec<u64> = produced.files.iter().map(|f| std::fs::metadata(dir.join(&f.file)).unwrap().len()).collect();
        assert!(sizes.len() >= 2 && sizes[..sizes.len() - 1].iter().all(|size| *size == 300_000), "{to}: {sizes:?}");
        assert!(produced.files[1].name.ends_with(&format!(".{to}.002")), "{:?}", produced.files[1].name);
        let whole: Vec<u8> = produced.files.iter().flat_map(|f| std::fs::read(dir.join(&f.file)).unwrap()).collect();
        let path = run.folder.path().join(format!("whole.{to}"));
        std::fs::write(&path, whole).unwrap();
        assert_eq!(listing(&path), ["noise.bin"], "{to}");
    }
    let (_, converter) = converters::by_id("archive.repack").unwrap();
    assert_eq!((converter.check)(&json!({"volume_bytes": 10})).unwrap_err().field, "volume_bytes");
}

#[test]
fn archives_can_be_tested_alone() {
    let run = Run::new();
    assert_eq!(list(&run, &good("zip"), json!({}))["tested"], false);
    for format in ["zip", "tar.zst", "7z", "rar"] {
        assert_eq!(list(&run, &good(format), json!({"test": true}))["tested"], true, "{format}");
    }
    for broken in ["zip/broken/flipped.zip", "rar/broken/flipped.rar"] {
        let failure = fails(run.file(&fixture(&format!("archive/{broken}")), "json", json!({"test": true})), Code::CorruptInput);
        assert!(failure.message.contains("readme.txt"), "{broken}: {failure:?}");
    }
}

#[test]
fn shipped_presets_are_accepted() {
    let queues = Queues::load(&[]).unwrap();
    let (_, definition) = queues.iter().find(|(name, _)| "archive" == *name).unwrap();
    assert!(definition.settings.presets.len() >= 4);
    for (name, preset) in &definition.settings.presets {
        let accepts = |from: &&str| (converters::find(Format::parse(from).unwrap(), preset.to).unwrap().1.check)(&preset.options).is_ok();
        assert!(["zip"].iter().any(accepts), "{name}");
    }
}

#[test]
fn equal_names_are_renamed_or_refused() {
    let run = Run::new();
    let source = fixture("archive/zip/odd/duplicates.zip");
    let (files, warnings) = extracted(&run, &source, json!({})).unwrap();
    assert_eq!(files.len(), 3);
    assert_eq!(files["same.txt"], b"first");
    assert!(!warnings.is_empty());
    fails(run.convert(&source, "tar", json!({"on_duplicate": "refuse"})), Code::CorruptInput);
}

#[test]
fn names_in_old_encodings_are_read() {
    let run = Run::new();
    let names = |file: &str, options: Value| {
        extracted(&run, &fixture(&format!("archive/zip/odd/{file}.zip")), options).unwrap().0.into_keys().collect::<Vec<_>>()
    };
    assert!(names("cp866", json!({})).contains(&"Отчёт за год.txt".to_owned()), "{:?}", names("cp866", json!({})));
    assert!(names("cp866", json!({"name_encoding": "cp866"})).contains(&"Фотографии/лето.txt".to_owned()));
    assert!(names("shift_jis", json!({})).contains(&"写真/夏休みの思い出.txt".to_owned()), "{:?}", names("shift_jis", json!({})));
    assert_eq!(names("german_cp437", json!({"name_encoding": "cp437"})), ["Grüße.txt"]);
    let odd = names("unicode", json!({}));
    for name in ["Мельница.txt", "new\nline.txt", "-rf", "\u{202e}cod.exe"] {
        assert!(odd.contains(&name.to_owned()), "{name:?}");
    }
    let file = run.file(&fixture("archive/zip/odd/cp866.zip"), "tar.gz", json!({})).unwrap();
    let (files, _) = extracted(&run, &file, json!({})).unwrap();
    assert_eq!(files["Отчёт за год.txt"], "Отчёт за год.txt".as_bytes());
}
