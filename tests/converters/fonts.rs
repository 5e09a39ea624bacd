//! Fonts that a document names and the machine has not.

use crate::support::direct::{fixture, tool};
use crate::support::jailed::Jailed;
use crate::support::package;
use serde_json::json;
use std::path::PathBuf;

/// The fixture with another font in place of its own, in every part that names one.
fn written_in(run: &Jailed, source: &str, own: &[&str], font: &str) -> PathBuf {
    let source = fixture(source);
    let change = |_: &str, text: String| own.iter().fold(text, |text, own| text.replace(own, font));
    let file = run.folder.path().join(source.file_name().unwrap());
    std::fs::write(&file, package::changed(&source, change, &[])).unwrap();
    file
}

#[test]
fn substitutes_are_named() {
    let run = Jailed::new();
    let named = "Nobody Has This";
    for (source, own) in [
        ("document/docx/good/letter.docx", &["Liberation Serif", "Liberation Sans"][..]),
        ("document/xlsx/good/sheet.xlsx", &["Arial"]),
        ("document/pptx/good/slides.pptx", &["Arial"]),
        ("document/odt/good/letter.odt", &["Liberation Serif", "Liberation Sans"]),
    ] {
        let file = written_in(&run, source, own, named);
        let (produced, dir) = run.convert(&file, "pdf", json!({})).unwrap_or_else(|e| panic!("{source}: {e:?}"));
        let fonts = tool("pdffonts", &[&dir.join(&produced.files[0].file).to_string_lossy()]);
        let said = produced.warnings.iter().find(|w| w.contains(named)).unwrap_or_else(|| panic!("{source}: {:?}\n{fonts}", produced.warnings));
        let other = said.split('“').nth(2).and_then(|rest| rest.split('”').next()).unwrap().replace(' ', "");
        assert!(fonts.contains(&other) && !other.is_empty(), "{said}\n{fonts}");
        let (pages, _) = run.convert(&file, "png", json!({"dpi": 50})).unwrap();
        assert!(pages.warnings.iter().any(|w| w.contains(named)), "{source}: {:?}", pages.warnings);
    }
    // What is there has nothing to stand for it.
    let (produced, _) = run.convert(&fixture("document/docx/good/letter.docx"), "pdf", json!({})).unwrap();
    assert!(!produced.warnings.iter().any(|w| w.contains("Liberation")), "{:?}", produced.warnings);
}
