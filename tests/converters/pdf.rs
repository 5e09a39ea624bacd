//! What is done to pdfs; checked by qpdf and poppler.

use crate::support::direct::{Run, fails, fixture, tool};
use crate::support::jailed::Jailed;
use millrace::convert::Depth;
use millrace::converters;
use millrace::failure::Code;
use millrace::format::Format;
use millrace::queue::Queues;
use serde_json::{Value, json};
use std::path::Path;

fn text(pdf: &Path, more: &[&str]) -> String {
    tool("pdftotext", &[more, &[pdf.to_str().unwrap(), "-"]].concat())
}

fn info(pdf: &Path, key: &str) -> String {
    let info = tool("pdfinfo", &[pdf.to_str().unwrap()]);
    info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).unwrap_or_default().trim().to_owned()
}

fn sound(pdf: &Path) {
    tool("qpdf", &["--check", pdf.to_str().unwrap()]);
}

fn told(run: &Run, pdf: &Path, options: Value) -> Value {
    serde_json::from_slice(&std::fs::read(run.file(pdf, "json", options).unwrap()).unwrap()).unwrap()
}

#[test]
fn pages_are_chosen_ordered_and_turned() {
    let run = Run::new();
    let slides = fixture("document/pdf/good/slides.pdf");
    let (produced, dir) = run.convert(&slides, "pdf", json!({"pages": "3,1-2,1", "rotate": 90})).unwrap();
    let file = dir.join(&produced.files[0].file);
    sound(&file);
    assert_eq!((produced.files[0].expect.pages, info(&file, "Pages")), (Some(4), "4".to_owned()));
    assert_eq!(info(&file, "Page rot"), "90");
    let order: Vec<String> =
        text(&file, &[]).split('\x0c').filter_map(|page| page.split("Slide ").nth(1)?.chars().next()).map(String::from).collect();
    assert_eq!(order, ["3", "1", "2", "1"]);
    fails(run.file(&slides, "pdf", json!({"pages": "9"})), Code::InvalidOption);
    let (_, converter) = converters::by_id("document.pdf_rewrite").unwrap();
    for (bad, field) in [
        (json!({"rotate": 45}), "rotate"),
        (json!({"split": 0}), "split"),
        (json!({"encrypt": {}}), "encrypt.password"),
        (json!({"encrypt": {"password": "a", "print": false}}), "encrypt.owner_password"),
        (json!({"metadata": {"title": "x".repeat(1001)}}), "metadata.title"),
    ] {
        assert_eq!((converter.check)(&bad).unwrap_err().field, field);
    }
}

#[test]
fn a_pdf_is_split_and_its_parts_are_merged() {
    let run = Run::new();
    let slides = fixture("document/pdf/good/slides.pdf");
    let (produced, dir) = run.convert(&slides, "pdf", json!({"split": 3})).unwrap();
    let parts: Vec<(String, Option<u64>)> = produced.files.iter().map(|f| (f.name.clone(), f.expect.pages)).collect();
    assert_eq!(parts.iter().map(|(_, pages)| *pages).collect::<Vec<_>>(), [Some(3), Some(1)], "{parts:?}");
    assert!(parts[0].0.ends_with("-1-3.pdf") && parts[1].0.ends_with("-4-4.pdf"), "{parts:?}");
    for file in &produced.files {
        sound(&dir.join(&file.file));
    }
    let merged = run.file(&fixture("document/zip/good/pdfs.zip"), "pdf", json!({})).unwrap();
    sound(&merged);
    let pages = |name: &str| info(&fixture(&format!("document/pdf/good/{name}.pdf")), "Pages").parse::<u32>().unwrap();
    assert_eq!(info(&merged, "Pages"), (pages("letter") + pages("slides")).to_string());
    let whole = text(&merged, &[]);
    assert!(whole.find("The last words.") < whole.find("Slide 4"), "2 comes before 10");
    let (produced, _) = run.convert(&fixture("document/zip/good/pdfs.zip"), "pdf", json!({})).unwrap();
    assert!(produced.warnings.iter().any(|w| w.contains("readme.txt")), "{:?}", produced.warnings);
    fails(run.file(&fixture("document/zip/odd/no-pdf.zip"), "pdf", json!({})), Code::UnsupportedFormat);
    fails(run.file(&fixture("archive/zip/broken/truncated.zip"), "pdf", json!({})), Code::CorruptInput);
}

#[test]
fn locks_are_put_on_and_taken_off() {
    // Through the jail: the library brings its own cryptography along.
    let run = Jailed::new();
    let letter = fixture("document/pdf/good/letter.pdf");
    let lock = json!({"encrypt": {"password": "open", "owner_password": "all", "print": false, "copy": false}});
    let locked = run.file(&letter, "pdf", lock).unwrap();
    let said = tool("pdfinfo", &["-upw", "open", locked.to_str().unwrap()]);
    assert!(said.contains("print:no copy:no change:yes") && said.contains("AES-256"), "{said}");
    assert_eq!(run.convert(&locked, "txt", json!({})).unwrap_err().code, Code::PasswordRequired);
    assert_eq!(run.convert(&locked, "pdf", json!({"password": "wrong"})).unwrap_err().code, Code::WrongPassword);
    assert_eq!(run.probe(&locked, Depth::Proof).unwrap().pages, None, "a locked one does not show its pages, and is none the worse for it");
    let open = run.file(&locked, "pdf", json!({"password": "open"})).unwrap();
    assert_eq!(info(&open, "Encrypted"), "no");
    assert_eq!(text(&open, &[]), text(&letter, &[]));
    // What an owner has locked for others still opens without a password.
    let limited = run.file(&letter, "pdf", json!({"encrypt": {"owner_password": "all", "modify": false}})).unwrap();
    assert!(info(&limited, "Encrypted").contains("change:no"));
    assert!(run.probe(&limited, Depth::Proof).unwrap().pages.is_some());
}

#[test]
fn pdfs_are_described_shrunk_and_arranged() {
    let run = Run::new();
    let letter = fixture("document/pdf/good/letter.pdf");
    let metadata = json!({"title": "Über die Mühle", "author": "水車", "subject": "(a) \\ b"});
    let described = run.file(&letter, "pdf", json!({"metadata": metadata, "linearize": true, "compress": "lossless"})).unwrap();
    sound(&described);
    assert_eq!(
        (info(&described, "Title"), info(&described, "Author"), info(&described, "Subject")),
        ("Über die Mühle".into(), "水車".into(), "(a) \\ b".into())
    );
    assert_eq!((info(&described, "Producer"), info(&described, "Optimized")), (String::new(), "yes".to_owned()));
    assert_eq!(text(&described, &[]), text(&letter, &[]));
    let loose = run.folder.path().join("loose.pdf");
    tool("qpdf", &["--stream-data=uncompress", "--object-streams=disable", letter.to_str().unwrap(), loose.to_str().unwrap()]);
    let small = run.file(&loose, "pdf", json!({"compress": "pictures"})).unwrap();
    sound(&small);
    let size = |file: &Path| std::fs::metadata(file).unwrap().len();
    assert!(size(&small) * 2 < size(&loose), "{} of {}", size(&small), size(&loose));
}

#[test]
fn pdfs_tell_what_they_are() {
    let run = Run::new();
    let found = told(&run, &fixture("document/pdf/odd/attached.pdf"), json!({}));
    assert_eq!((&found["attachments"][0]["name"], &found["attachments"][0]["mime"]), (&json!("notes.txt"), &json!("text/plain")));
    assert_eq!(found["information"]["title"], "A letter of many scripts");
    assert_eq!(found["pages"].to_string(), info(&fixture("document/pdf/good/letter.pdf"), "Pages"));
    assert_eq!(found["encryption"], Value::Null);
    let locked = told(&run, &fixture("document/pdf/odd/password-256.pdf"), json!({"password": "sesame"}));
    assert_eq!(locked["encryption"]["bits"], 256);
}

#[test]
fn text_can_be_set_out_as_on_the_page() {
    let letter = fixture("document/pdf/good/letter.pdf");
    let run = Run::new();
    let ours = std::fs::read_to_string(run.file(&letter, "txt", json!({"layout": true, "pages": "1"})).unwrap()).unwrap();
    let column = |word: &str| {
        let line = ours.lines().find(|line| line.contains(word)).unwrap_or_else(|| panic!("no `{word}` in {ours}"));
        line.split(word).next().unwrap().chars().count()
    };
    assert_eq!((column("Latin"), column("Cyrillic")), (0, 0));
    assert!(column("The quick brown") > 20);
    for word in ["déjà vu", "Съешь", "天地"] {
        assert_eq!(column(word), column("The quick brown"), "{ours}");
    }
    let theirs = text(&letter, &["-layout", "-l", "1"]);
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    for start in ["Latin", "Cyrillic", "Paragraph 1."] {
        let line = |text: &str| words(text.lines().find(|line| line.trim_start().starts_with(start)).unwrap());
        assert_eq!(line(&ours), line(&theirs));
    }
    assert!(ours.contains("الشَمسِ"), "{ours}");
}

#[test]
fn broken_pdfs_are_not_rewritten() {
    for name in ["cut", "empty", "noise"] {
        for to in ["pdf", "json"] {
            fails(Run::new().file(&fixture(&format!("document/pdf/broken/{name}.pdf")), to, json!({})), Code::CorruptInput);
        }
    }
}

#[test]
fn office_documents_are_locked_on_their_way() {
    let run = Jailed::new();
    let letter = fixture("document/docx/good/letter.docx");
    let locked = run.file(&letter, "pdf", json!({"pdf": {"encrypt": {"password": "open"}}})).unwrap();
    assert!(tool("pdfinfo", &["-upw", "open", locked.to_str().unwrap()]).contains("AES-256"));
    let (_, converter) = converters::by_id("document.office").unwrap();
    let bad = json!({"pdf": {"version": "a-2b", "encrypt": {"password": "open"}}});
    assert_eq!((converter.check)(&bad).unwrap_err().field, "pdf.encrypt");
}

#[test]
fn archival_pdfs_have_their_fonts_and_colours_inside() {
    let run = Jailed::new();
    let letter = fixture("document/docx/good/letter.docx");
    for version in ["a-1b", "a-2b", "a-3b"] {
        let file = run.file(&letter, "pdf", json!({"pdf": {"version": version}})).unwrap();
        let path = file.to_str().unwrap();
        sound(&file);
        let fonts = tool("pdffonts", &[path]);
        let embedded: Vec<&str> = fonts.lines().skip(2).map(|line| line.split_whitespace().rev().nth(4).unwrap()).collect();
        assert!(!embedded.is_empty() && embedded.iter().all(|word| *word == "yes"), "{version}: {fonts}");
        let objects = tool("qpdf", &["--qdf", "--object-streams=disable", path, "-"]);
        for wanted in ["/OutputIntents", "/GTS_PDFA1", "/DestOutputProfile", "/ID ["] {
            assert!(objects.contains(wanted), "{version}: no {wanted}");
        }
        for forbidden in ["/JavaScript", "/Encrypt", "/Launch"] {
            assert!(!objects.contains(forbidden), "{version}: {forbidden}");
        }
        assert!(version != "a-1b" || !objects.contains("/SMask "), "PDF/A-1 knows no transparency");
    }
}

#[test]
fn shipped_presets_are_accepted() {
    let queues = Queues::load(&[]).unwrap();
    let (_, definition) = queues.iter().find(|(name, _)| "document" == *name).unwrap();
    assert!(definition.settings.presets.len() >= 4);
    for (name, preset) in &definition.settings.presets {
        let accepts = |from: &&str| (converters::find(Format::parse(from).unwrap(), preset.to).unwrap().1.check)(&preset.options).is_ok();
        assert!(["docx", "pdf"].iter().any(accepts), "{name}");
    }
}
