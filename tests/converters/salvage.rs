//! Broken files: refused, or what is there of them saved.

use crate::support::av::{duration_s, ffprobe};
use crate::support::direct::{Run, fails, fixture, tool};
use millrace::convert::{Depth, Produced};
use millrace::failure::{Code, Failure};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The first part of a file, to so many bytes of a hundred.
fn cut(run: &Run, file: &Path, percent: usize) -> PathBuf {
    let bytes = std::fs::read(file).unwrap();
    let to = run.folder.path().join(format!("cut-{percent}-{}", file.file_name().unwrap().to_string_lossy()));
    std::fs::write(&to, &bytes[..bytes.len() * percent / 100]).unwrap();
    to
}

fn salvage(run: &Run, file: &Path, to: &str, mut options: Value) -> Result<(Produced, PathBuf), Failure> {
    options["salvage"] = json!(true);
    run.convert(file, to, options)
}

fn recovered(produced: &Produced) -> f64 {
    produced.files[0].expect.recovered.unwrap_or_else(|| panic!("no share: {produced:?}"))
}

/// Refused as it is.
fn refused(run: &Run, file: &Path, to: &str) -> Failure {
    fails(run.convert(file, to, json!({})), Code::CorruptInput)
}

fn film(run: &Run, name: &str, more: &[&str]) -> PathBuf {
    let file = run.folder.path().join(name);
    let inputs = ["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=10", "-f", "lavfi", "-i", "sine=duration=10"];
    tool("ffmpeg", &[&inputs, more, &[&*file.to_string_lossy()]].concat());
    file
}

#[test]
fn a_film_without_its_tail() {
    let run = Run::new();
    let fast = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-c:a", "aac", "-movflags", "+faststart"];
    for name in ["film.mp4", "film.mkv"] {
        let film = film(&run, name, &fast);
        for percent in [25, 70] {
            let file = cut(&run, &film, percent);
            let failure = refused(&run, &file, "mov");
            assert!(failure.hint.contains("salvage"), "{failure:?}");
            for options in [json!({}), json!({"copy": "never", "video": {"preset": "ultrafast"}})] {
                let (produced, dir) = salvage(&run, &file, "mov", options).unwrap();
                let share = recovered(&produced);
                assert!((share - percent as f64 / 100.0).abs() < 0.15, "{name}: {share} of {percent} %");
                assert!(produced.warnings.iter().any(|w| w.contains("breaks off")), "{:?}", produced.warnings);
                let made = dir.join(&produced.files[0].file);
                assert!((duration_s(&ffprobe(&made)) - share * 10.0).abs() < 0.3, "{name}: {share}");
                run.probe(&made, Depth::Proof).unwrap();
            }
        }
        let (whole, _) = salvage(&run, &film, "mov", json!({})).unwrap();
        assert_eq!(whole.files[0].expect.recovered, None, "nothing was missing");
    }
    // Behind the film it is the first thing to be lost, and without it nobody knows what the bytes are.
    let file = cut(&run, &film(&run, "late.mp4", &fast[..8]), 70);
    fails(salvage(&run, &file, "mov", json!({})), Code::CorruptInput);
}

#[test]
fn a_song_without_its_tail() {
    let run = Run::new();
    let song = run.folder.path().join("song.wav");
    tool("ffmpeg", &["-v", "error", "-f", "lavfi", "-i", "sine=duration=10", &song.to_string_lossy()]);
    let file = cut(&run, &song, 30);
    refused(&run, &file, "flac");
    let (produced, dir) = salvage(&run, &file, "flac", json!({})).unwrap();
    assert!((recovered(&produced) - 0.3).abs() < 0.01, "{produced:?}");
    assert!((duration_s(&ffprobe(&dir.join(&produced.files[0].file))) - 3.0).abs() < 0.1);
}

/// Ten files of noise, 20 kB each, as an archive.
fn archive(run: &Run, name: &str) -> PathBuf {
    let folder = run.folder.path().join("files");
    if !folder.exists() {
        std::fs::create_dir(&folder).unwrap();
        let mut noise = 1u32;
        for n in 0..10 {
            let mut next = || {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (noise >> 24) as u8
            };
            std::fs::write(folder.join(format!("{n}.bin")), (0..20_000).map(|_| next()).collect::<Vec<u8>>()).unwrap();
        }
    }
    let file = run.folder.path().join(name);
    let names: Vec<String> = (0..10).map(|n| format!("{n}.bin")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (path, folder) = (file.to_string_lossy().into_owned(), folder.to_string_lossy().into_owned());
    tool("bsdtar", &[&["-acf", &path, "-C", &folder][..], &names].concat());
    file
}

#[test]
fn an_archive_without_its_tail() {
    let run = Run::new();
    for name in ["all.zip", "all.tar", "all.tar.gz"] {
        let file = cut(&run, &archive(&run, name), 55);
        refused(&run, &file, "tar.xz");
        let (produced, dir) = salvage(&run, &file, "tar.xz", json!({})).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        let made = dir.join(&produced.files[0].file);
        let entries = tool("bsdtar", &["-tf", &made.to_string_lossy()]);
        let kept = entries.lines().count();
        assert!((4..=5).contains(&kept), "{name}: {entries}");
        assert_eq!(produced.files[0].expect.entries, Some(kept as u64), "{name}");
        assert!(!produced.warnings.is_empty(), "{name}");
        for entry in entries.lines() {
            let content = std::process::Command::new("bsdtar").args(["-xOf", &made.to_string_lossy(), entry]).output().unwrap().stdout;
            assert!(content == std::fs::read(run.folder.path().join("files").join(entry)).unwrap(), "{name}: {entry}");
        }
        // The last one is known by its header.
        assert!((recovered(&produced) - kept as f64 / (kept + 1) as f64).abs() < 0.01, "{name}: {:?}", produced.files[0].expect);
        let (files, _) = salvage(&run, &file, "files", json!({})).unwrap();
        assert_eq!(files.files.len(), kept, "{name}");
        let listed = salvage(&run, &file, "json", json!({})).unwrap();
        assert!(!listed.0.warnings.is_empty(), "{name}");
    }
}

#[test]
fn an_archive_with_a_damaged_entry() {
    let run = Run::new();
    let file = archive(&run, "damaged.zip");
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(5).position(|w| w == b"3.bin").unwrap() + 5000;
    bytes[at..at + 16].fill(0x55);
    std::fs::write(&file, bytes).unwrap();
    assert!(refused(&run, &file, "tar").message.contains("3.bin"));
    let (produced, dir) = salvage(&run, &file, "tar", json!({})).unwrap();
    let entries = tool("bsdtar", &["-tf", &dir.join(&produced.files[0].file).to_string_lossy()]);
    assert!(entries.lines().count() == 9 && !entries.contains("3.bin"), "{entries}");
    assert!((recovered(&produced) - 0.9).abs() < 0.01);
    assert!(produced.warnings.iter().any(|w| w.contains("3.bin")), "{:?}", produced.warnings);
    // What a client asked to be refused is no damage.
    let dotdot = fixture("archive/zip/broken/dotdot.zip");
    fails(salvage(&run, &dotdot, "tar", json!({})), Code::PolicyViolation);
    fails(salvage(&run, &fixture("archive/zip/broken/noise.zip"), "tar", json!({})), Code::CorruptInput);
}

#[test]
fn a_compressed_file_without_its_tail() {
    let run = Run::new();
    let text: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
    let plain = run.folder.path().join("lines.txt");
    std::fs::write(&plain, &text).unwrap();
    tool("gzip", &["-k", &plain.to_string_lossy()]);
    let file = cut(&run, &run.folder.path().join("lines.txt.gz"), 60);
    refused(&run, &file, "xz");
    for to in ["xz", "zip"] {
        let (produced, dir) = salvage(&run, &file, to, json!({})).unwrap();
        let made = dir.join(&produced.files[0].file);
        let path = made.to_string_lossy();
        let content = if to == "xz" { tool("xz", &["-dc", &path]) } else { tool("bsdtar", &["-xOf", &path]) };
        assert!(content.len() > text.len() / 3 && text.starts_with(&content), "{to}: {} of {}", content.len(), text.len());
        assert!(produced.warnings.iter().any(|w| w.contains("cut off")), "{to}: {:?}", produced.warnings);
    }
}

#[test]
fn pictures_without_their_last_rows() {
    let run = Run::new();
    for (source, lossless) in [("image/png/good/scene.png", true), ("image/jpeg/good/photo.jpg", false), ("image/jpeg/good/grey.jpg", false)] {
        let source = fixture(source);
        let file = cut(&run, &source, 60);
        let failure = refused(&run, &file, "png");
        assert!(failure.hint.contains("salvage"), "{failure:?}");
        let (produced, dir) = salvage(&run, &file, "png", json!({})).unwrap();
        let share = recovered(&produced);
        assert!((0.4..0.8).contains(&share), "{}: {share}", source.display());
        let (saved, whole) = (image::open(dir.join(&produced.files[0].file)).unwrap().into_rgb8(), image::open(&source).unwrap().into_rgb8());
        assert_eq!(saved.dimensions(), whole.dimensions());
        let kept = (f64::from(whole.height()) * share) as u32;
        let shades = if lossless { 0 } else { 24 };
        let other = |x: u32, y: u32| saved.get_pixel(x, y).0.iter().zip(whole.get_pixel(x, y).0).any(|(a, b)| a.abs_diff(b) > shades);
        let differ = |y: u32| (0..whole.width()).filter(|x| other(*x, y)).count();
        assert!((0..kept.saturating_sub(1)).all(|y| differ(y) < 16), "{}: the rows that are there are right", source.display());
        let missing = image::open(dir.join(&produced.files[0].file)).unwrap().into_rgba8().get_pixel(5, whole.height() - 1).0;
        let clear = image::open(&source).unwrap().color().has_alpha();
        assert_eq!(missing, if clear { [0; 4] } else { [255; 4] }, "{}: what is missing is white or transparent", source.display());
        // Several sizes come from one decode.
        let (set, _) = salvage(&run, &file, "webp", json!({"widths": [40, 80]})).unwrap();
        assert!(set.files.iter().all(|f| f.expect.recovered.is_some_and(|r| (r - share).abs() < 0.1)), "{:?}", set.files);
    }
    for broken in ["image/png/broken/noise.png", "image/jpeg/broken/noise.jpg"] {
        if fixture(broken).exists() {
            fails(salvage(&run, &fixture(broken), "png", json!({})), Code::CorruptInput);
        }
    }
}

/// A pdf whose pages follow each other, each with its content before it.
fn pages(run: &Run, count: usize) -> PathBuf {
    let mut pdf = String::from("%PDF-1.4\n");
    let mut places = Vec::new();
    let mut object = |pdf: &mut String, id: usize, text: &str| {
        places.push((id, pdf.len()));
        pdf.push_str(&format!("{id} 0 obj\n{text}\nendobj\n"));
    };
    let kids: String = (0..count).map(|n| format!("{} 0 R ", 5 + n * 2)).collect();
    object(&mut pdf, 1, "<</Type/Catalog/Pages 2 0 R>>");
    object(&mut pdf, 2, &format!("<</Type/Pages/MediaBox[0 0 200 100]/Resources<</Font<</F 3 0 R>>>>/Kids[{kids}]/Count {count}>>"));
    object(&mut pdf, 3, "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>");
    for n in 0..count {
        let text = format!("BT /F 20 Tf 10 40 Td (Page {}) Tj ET", n + 1);
        object(&mut pdf, 4 + n * 2, &format!("<</Length {}>>stream\n{text}\nendstream", text.len()));
        object(&mut pdf, 5 + n * 2, &format!("<</Type/Page/Parent 2 0 R/Resources<</Font<</F 3 0 R>>>>/Contents {} 0 R>>", 4 + n * 2));
    }
    let start = pdf.len();
    let size = places.len() + 1;
    pdf.push_str(&format!("xref\n0 {size}\n0000000000 65535 f \n"));
    places.sort_unstable();
    for (_, place) in &places {
        pdf.push_str(&format!("{place:010} 00000 n \n"));
    }
    pdf.push_str(&format!("trailer\n<</Size {size}/Root 1 0 R>>\nstartxref\n{start}\n%%EOF\n"));
    let file = run.folder.path().join("pages.pdf");
    std::fs::write(&file, pdf).unwrap();
    file
}

#[test]
fn a_pdf_without_its_tail() {
    let run = Run::new();
    let whole = pages(&run, 10);
    assert!(tool("pdfinfo", &[&whole.to_string_lossy()]).contains("Pages:           10"));
    let file = cut(&run, &whole, 60);
    for to in ["pdf", "txt", "png"] {
        refused(&run, &file, to);
    }
    let (produced, dir) = salvage(&run, &file, "pdf", json!({})).unwrap();
    let made = dir.join(&produced.files[0].file);
    let kept = produced.files[0].expect.pages.unwrap();
    assert!((6..=8).contains(&kept), "{kept}");
    assert!((recovered(&produced) - kept as f64 / 10.0).abs() < 0.001);
    assert!(tool("pdfinfo", &[&made.to_string_lossy()]).contains(&format!("Pages:           {kept}")));
    let text = tool("pdftotext", &[&made.to_string_lossy(), "-"]);
    assert!((1..=kept).all(|n| text.contains(&format!("Page {n}\n"))), "{text}");
    tool("qpdf", &["--check", &made.to_string_lossy()]);
    let (drawn, _) = salvage(&run, &file, "png", json!({"dpi": 72})).unwrap();
    assert_eq!(drawn.files.len() as u64, kept);
    assert!((recovered(&drawn) - kept as f64 / 10.0).abs() < 0.001);
    fails(salvage(&run, &fixture("document/pdf/broken/noise.pdf"), "pdf", json!({})), Code::CorruptInput);
}
