//! The document family: through the jail, as LibreOffice lives only once in a process.

use crate::support::direct::{Run, fixture, tool};
use crate::support::jailed::Jailed;
use millrace::convert::Depth;
use millrace::converters;
use millrace::failure::Code;
use millrace::format::{Family, Format};
use millrace::limits::{Limits, Size};
use millrace::sandbox::{End, OutputOrder, Report, Work};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

const WORDS: &str = "The last words.";

fn good(format: &str) -> PathBuf {
    let folder = fixture(&format!("document/{format}/good"));
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())).flatten().map(|e| e.path()).collect();
    files.sort();
    files[0].clone()
}

fn pdf_text(pdf: &Path) -> String {
    tool("pdftotext", &[pdf.to_str().unwrap(), "-"])
}

fn pdf_info(pdf: &Path, key: &str) -> String {
    let info = tool("pdfinfo", &[pdf.to_str().unwrap()]);
    info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).unwrap_or_default().trim().to_owned()
}

fn part(file: &Path, name: &str) -> String {
    tool("unzip", &["-p", file.to_str().unwrap(), name])
}

/// Checked by a tool that is not ours, by format.
fn check(file: &Path, from: &str, to: &str) {
    let path = file.to_str().unwrap();
    let mut needle = match from {
        "xlsx" | "xls" | "ods" => "amount",
        "csv" | "tsv" => "name",
        "pptx" | "ppt" | "odp" => "Slide",
        "odg" => "rectangle",
        "txt" => "Plain words",
        "html" => "A page",
        "md" => "Water",
        "pdf" if to == "json" => "A letter of many scripts",
        _ => WORDS,
    };
    let text = match to {
        "pdf" => pdf_text(file),
        "docx" => part(file, "word/document.xml"),
        "xlsx" => part(file, "xl/sharedStrings.xml"),
        "pptx" => part(file, "ppt/slides/slide1.xml"),
        "odt" | "ods" | "odp" => part(file, "content.xml"),
        "png" | "jpeg" | "webp" => {
            let size = tool("identify", &["-format", "%m %w", path]);
            assert!(size.to_lowercase().starts_with(to), "{size}");
            return;
        }
        "epub" => tool("sh", &["-c", "unzip -p \"$0\" 'OEBPS/sections/*'", path]),
        "doc" | "xls" | "ppt" => {
            assert!(std::fs::read(file).unwrap().starts_with(b"\xd0\xcf\x11\xe0"));
            return;
        }
        "json" => std::fs::read_to_string(file).unwrap(),
        _ => {
            // Attributes and line ends stand between words of markup.
            needle = needle.split(' ').next().unwrap();
            std::fs::read_to_string(file).unwrap()
        }
    };
    assert!(text.contains(needle), "{from} to {to}: no `{needle}` in {}", text.chars().take(600).collect::<String>());
}

fn pairs() -> Vec<(Format, Format)> {
    let mut pairs = Vec::new();
    // Previews have tests of their own.
    for converter in converters::family(Family::Document).converters.iter().filter(|c| c.spec.id != "document.preview") {
        for from in Format::all() {
            pairs.extend(Format::all().filter(|to| converter.spec.converts(from, *to)).map(|to| (from, to)));
        }
    }
    pairs
}

#[test]
fn every_pair_works() {
    let pairs = pairs();
    assert!(pairs.len() > 80, "{}", pairs.len());
    let mut failures = Vec::new();
    for (from, to) in pairs {
        let run = Jailed::new();
        match run.file(&good(from.id()), to.id(), json!({})) {
            Ok(file) => check(&file, from.id(), to.id()),
            Err(e) => failures.push(format!("{from} to {to}: {e} {:?}", e.detail)),
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn a_letter_is_the_same_as_by_the_command_line() {
    let run = Jailed::new();
    let letter = fixture("document/docx/good/letter.docx");
    let (produced, dir) = run.convert(&letter, "pdf", json!({})).unwrap();
    let pdf = dir.join(&produced.files[0].file);
    let other = run.folder.path().to_str().unwrap();
    let profile = format!("-env:UserInstallation=file://{other}/soffice");
    tool("soffice", &["--headless", &profile, "--convert-to", "pdf", "--outdir", other, letter.to_str().unwrap()]);
    let theirs = run.folder.path().join("letter.pdf");
    assert_eq!(pdf_text(&pdf), pdf_text(&theirs));
    assert_eq!(pdf_info(&pdf, "Pages"), pdf_info(&theirs, "Pages"));
    assert_eq!(produced.files[0].expect.pages.unwrap().to_string(), pdf_info(&pdf, "Pages"));
    let images = tool("pdfimages", &["-list", pdf.to_str().unwrap()]);
    assert!(images.lines().count() > 2, "the picture is gone: {images}");
    for words in ["Straße", "Съешь", "天地", "いろは"] {
        assert!(pdf_text(&pdf).contains(words), "{words}");
    }
}

#[test]
fn passwords_are_asked_for_and_checked() {
    for (file, to) in [
        ("docx/odd/password.docx", "pdf"),
        ("odt/odd/password.odt", "docx"),
        ("xlsx/odd/password.xlsx", "csv"),
        ("pdf/odd/password-128.pdf", "txt"),
        ("pdf/odd/password-256.pdf", "png"),
    ] {
        let run = Jailed::new();
        let file = fixture(&format!("document/{file}"));
        assert_eq!(run.convert(&file, to, json!({})).unwrap_err().code, Code::PasswordRequired, "{}", file.display());
        assert_eq!(run.convert(&file, to, json!({"password": "wrong"})).unwrap_err().code, Code::WrongPassword, "{}", file.display());
        run.convert(&file, to, json!({"password": "sesame"})).unwrap();
    }
    // An owner's password alone does not lock reading.
    Jailed::new().file(&fixture("document/pdf/odd/owner-password.pdf"), "txt", json!({})).unwrap();
}

#[test]
fn broken_files_are_called_broken() {
    for format in ["docx", "odt", "doc", "xlsx", "pptx", "pdf"] {
        for file in std::fs::read_dir(fixture(&format!("document/{format}/broken"))).unwrap().flatten() {
            let to = if format == "pdf" { "txt" } else { "pdf" };
            let failure = Jailed::new().convert(&file.path(), to, json!({})).map(|_| ()).unwrap_err();
            assert_eq!(failure.code, Code::CorruptInput, "{}: {failure}", file.path().display());
            let probed = Jailed::new().probe(&file.path(), Depth::Proof).map(|_| ()).unwrap_err();
            assert_eq!(probed.code, Code::CorruptInput, "{}", file.path().display());
        }
    }
    let run = Jailed::new();
    let lie = run.folder.path().join("lie.docx");
    std::fs::copy(good("pdf"), &lie).unwrap();
    assert_eq!(run.convert(&lie, "pdf", json!({})).unwrap_err().code, Code::CorruptInput);
}

#[test]
fn linked_pictures_are_not_fetched() {
    let listener = std::net::TcpListener::bind("127.0.0.1:47811").unwrap();
    listener.set_nonblocking(true).unwrap();
    let pdf = Jailed::new();
    let pdf = (pdf.file(&fixture("document/docx/odd/linked-image.docx"), "pdf", json!({})).unwrap(), pdf);
    assert!(pdf_text(&pdf.0).contains("A picture from afar"));
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "somebody came for the picture");
}

#[test]
fn options_of_pdf_do_what_they_say() {
    let run = Jailed::new();
    let letter = fixture("document/docx/good/letter.docx");
    let pages = |file: &Path| pdf_info(file, "Pages").parse::<u32>().unwrap();
    let all = run.file(&letter, "pdf", json!({})).unwrap();
    assert!(pages(&all) >= 2);
    assert_eq!(pdf_info(&all, "PDF version"), "1.6");
    assert_eq!(pdf_info(&all, "Tagged"), "yes");
    assert_eq!(pages(&run.file(&letter, "pdf", json!({"pages": "2"})).unwrap()), 1);
    assert_eq!(pdf_info(&run.file(&letter, "pdf", json!({"pdf": {"tagged": false}})).unwrap(), "Tagged"), "no");
    // A-1 is written tagged, which makes it A-1a: all that A-1b asks for and more.
    for (version, part, level) in [("a-1b", "1", "A"), ("a-2b", "2", "B"), ("a-3b", "3", "B")] {
        let file = run.file(&letter, "pdf", json!({"pdf": {"version": version}})).unwrap();
        let xmp = tool("pdfinfo", &["-meta", file.to_str().unwrap()]);
        assert!(
            xmp.contains(&format!("<pdfaid:part>{part}</pdfaid:part>")) && xmp.contains(&format!("<pdfaid:conformance>{level}<")),
            "{version}: {xmp}"
        );
    }
    let size = |quality: u8| std::fs::metadata(run.file(&letter, "pdf", json!({"pdf": {"quality": quality}})).unwrap()).unwrap().len();
    assert!(size(10) < size(100));
    for bad in [json!({"pages": "0"}), json!({"pdf": {"quality": 0}}), json!({"csv": {"separator": "x"}}), json!({"pdf": {"version": "1.9"}})] {
        let (_, converter) = converters::by_id("document.office").unwrap();
        assert!((converter.check)(&bad).is_err(), "{bad}");
    }
}

#[test]
fn csv_keeps_to_its_separator_and_encoding() {
    let run = Jailed::new();
    let csv = run.file(&good("xlsx"), "csv", json!({"csv": {"separator": ";"}})).unwrap();
    let text = std::fs::read_to_string(&csv).unwrap();
    assert!(text.starts_with("name;amount") && text.contains("total;67.5") && text.contains("天地"), "{text}");
    let wide = run.file(&good("xlsx"), "csv", json!({"csv": {"encoding": "windows-1251"}})).unwrap();
    assert!(std::fs::read(&wide).unwrap().windows(5).any(|w| w == b"\xd1\xfa\xe5\xf8\xfc"), "Съешь in windows-1251");
    let back = run.file(&wide, "xlsx", json!({"csv": {"encoding": "windows-1251"}})).unwrap();
    assert!(part(&back, "xl/sharedStrings.xml").contains("Съешь"));
    let sum = run.file(&good("csv"), "ods", json!({})).unwrap();
    assert!(part(&sum, "content.xml").contains("Straße"));
}

#[test]
fn pages_are_drawn_as_wanted() {
    let run = Jailed::new();
    let letter = good("pdf");
    let (produced, dir) = run.convert(&letter, "png", json!({"dpi": 72, "pages": "1-2"})).unwrap();
    assert_eq!(produced.files.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["page-001.png", "page-002.png"]);
    let first = dir.join(&produced.files[0].file);
    let size = pdf_info(&letter, "Page size");
    let (width, height): (f64, f64) = {
        let mut numbers = size.split_whitespace().filter_map(|w| w.parse().ok());
        (numbers.next().unwrap(), numbers.next().unwrap())
    };
    assert_eq!(tool("identify", &["-format", "%w %h", first.to_str().unwrap()]), format!("{} {}", width.round(), height.round()));
    assert_eq!(produced.files[0].expect.width, Some(width.round() as u32));
    // Another renderer sees the same page: blurred, so that a shift below a pixel does not count, the mean difference is small.
    let theirs = run.folder.path().join("theirs");
    tool("pdftoppm", &["-r", "72", "-png", "-f", "1", "-l", "1", "-singlefile", letter.to_str().unwrap(), theirs.to_str().unwrap()]);
    let scaled = format!("{}x{}!", width.round(), height.round());
    let (ours, other) = (run.folder.path().join("ours.png"), run.folder.path().join("other.png"));
    tool("convert", &[first.to_str().unwrap(), "-blur", "0x3", ours.to_str().unwrap()]);
    tool("convert", &[&format!("{}.png", theirs.display()), "-resize", &scaled, "-blur", "0x3", other.to_str().unwrap()]);
    let compared = Command::new("compare").args(["-metric", "MAE"]).args([&ours, &other]).arg("null:").output().unwrap();
    let text = String::from_utf8_lossy(&compared.stderr).into_owned();
    let difference: f64 = text.split(['(', ')']).nth(1).unwrap_or_else(|| panic!("{text}")).parse().unwrap();
    assert!(difference < 0.01, "{difference}");
    let rotated = run.file(&fixture("document/pdf/odd/rotated.pdf"), "jpeg", json!({"dpi": 40, "pages": "1"})).unwrap();
    let shape: Vec<u32> = tool("identify", &["-format", "%w %h", rotated.to_str().unwrap()]).split(' ').map(|n| n.parse().unwrap()).collect();
    assert!(shape[0] > shape[1], "a page on its side is wide: {shape:?}");
    assert_eq!(run.convert(&letter, "png", json!({"pages": "99"})).unwrap_err().code, Code::InvalidOption);
}

#[test]
fn pdf_text_reads_like_the_page() {
    let run = Run::new();
    let ours = std::fs::read_to_string(run.file(&good("pdf"), "txt", json!({})).unwrap()).unwrap();
    let theirs = pdf_text(&good("pdf"));
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let (ours_words, theirs_words) = (words(&ours), words(&theirs));
    let found = theirs_words.iter().filter(|w| ours_words.contains(w)).count();
    assert!(found * 100 >= theirs_words.len() * 97, "{found} of {}:\n{ours}", theirs_words.len());
    for line in ["A letter of many scripts", "Съешь же ещё этих мягких французских булок, да выпей чаю.", "天地玄黃 宇宙洪荒", "الشَمسِ", WORDS]
    {
        assert!(words(&ours).join(" ").contains(line), "no `{line}` in {ours}");
    }
    assert_eq!(ours.matches('\x0c').count().to_string(), pdf_info(&good("pdf"), "Pages"));
    let one = std::fs::read_to_string(run.file(&good("pdf"), "txt", json!({"pages": "1"})).unwrap()).unwrap();
    assert!(!one.contains(WORDS) && one.contains("Before the table."));
}

#[test]
fn markdown_is_a_whole_and_harmless_page() {
    let run = Run::new();
    let html = std::fs::read_to_string(run.file(&good("md"), "html", json!({"title": "A & B"})).unwrap()).unwrap();
    assert!(html.starts_with("<!DOCTYPE html>") && html.contains("<title>A &amp; B</title>") && html.contains("<table>"), "{html}");
    assert!(html.contains("&lt;b&gt;not bold") && !html.contains("javascript:"), "{html}");
    let jailed = Jailed::new();
    let pdf = jailed.file(&good("md"), "pdf", json!({})).unwrap();
    assert!(pdf_text(&pdf).contains("Notes of the mill"));
}

#[test]
fn probes_tell_pages_titles_and_authors() {
    let run = Run::new();
    let pdf = run.probe(&good("pdf"), Depth::Proof).unwrap();
    assert_eq!(pdf.pages.unwrap().to_string(), pdf_info(&good("pdf"), "Pages"));
    assert_eq!(pdf.tags.get("title").map(String::as_str), Some("A letter of many scripts"));
    let docx = run.probe(&good("docx"), Depth::Header).unwrap();
    assert_eq!(docx.tags.get("title").map(String::as_str), Some("A letter of many scripts"));
    assert_eq!(docx.tags.get("author").map(String::as_str), Some("Millrace"));
    assert_eq!(run.probe(&good("odt"), Depth::Proof).unwrap().tags.get("title").map(String::as_str), Some("A letter of many scripts"));
    assert_eq!(run.probe(&good("pptx"), Depth::Proof).unwrap().pages, Some(4));
}

#[test]
fn limits_are_kept() {
    let mut run = Jailed::new();
    run.limits.pages_max = 1;
    assert_eq!(run.convert(&good("pdf"), "txt", json!({})).unwrap_err().code, Code::LimitExceeded);
    assert_eq!(run.convert(&good("docx"), "pdf", json!({})).unwrap_err().code, Code::LimitExceeded);
    run.limits = Limits { frame_pixels_max: 10_000, ..Limits::default() };
    assert_eq!(run.convert(&good("pdf"), "png", json!({})).unwrap_err().code, Code::LimitExceeded);
    let large = run.folder.path().join("large.txt");
    std::fs::File::create(&large).unwrap().set_len((100 << 20) + 1).unwrap();
    assert_eq!(run.convert(&large, "pdf", json!({})).unwrap_err().code, Code::LimitExceeded);
}

#[test]
fn memory_is_walled_off() {
    // From far too little, where not even LibreOffice starts, to nearly enough.
    for mib in [60, 86, 90] {
        let mut run = Jailed::new();
        run.limits.memory_max = Size::mib(mib);
        let (index, options, name) = (0, json!({}), "result.pdf".into());
        let output = OutputOrder { index, converter: "document.office".into(), options, to: Format::parse("pdf").unwrap(), name };
        let outcome = run.run(&good("docx"), run.staging(), Work::Convert(vec![output]));
        let told = matches!(outcome.reports.last(), Some(Report::Output { result: Err(f), .. }) if f.code == Code::OutOfMemory);
        let done = matches!(outcome.reports.last(), Some(Report::Output { result: Ok(_), .. }));
        assert!(told || done || outcome.exit.end == End::OutOfMemory, "{mib} MiB: {:?} {:?}", outcome.exit, outcome.reports);
        assert!(mib > 60 || !done);
    }
}
