//! Tables as data, books and pages as text.

use crate::support::direct::{Run, fails, fixture, tool};
use crate::support::jailed::Jailed;
use millrace::failure::Code;
use serde_json::{Value, json};
use std::path::Path;

fn rows(run: &Run, file: &Path, options: Value) -> Value {
    serde_json::from_slice(&std::fs::read(run.file(file, "json", options).unwrap()).unwrap()).unwrap()
}

#[test]
fn tables_become_rows_with_types() {
    let run = Run::new();
    let table = fixture("document/csv/odd/semicolons-1251.csv");
    let found = rows(&run, &table, json!({}));
    assert_eq!(found[0], json!({"город": "Москва", "цена": 10, "код": "007", "есть": true}));
    assert_eq!(found[1]["цена"], 2.5);
    let plain = rows(&run, &table, json!({"types": false, "header": false}));
    assert_eq!(plain[1], json!(["Москва", "10", "007", "true"]));
    assert_eq!(rows(&run, &table, json!({"separator": ","}))[0].as_object().unwrap().len(), 1);
    let tabs = rows(&run, &fixture("document/tsv/good/sheet.tsv"), json!({}));
    assert_eq!(tabs, json!([{"name": "one", "amount": 1}, {"name": "two", "amount": 2}]));
}

#[test]
fn workbooks_become_rows_of_their_sheets() {
    let run = Run::new();
    for format in ["xlsx", "xls", "ods"] {
        let book = fixture(&format!("document/{format}/good/sheet.{format}"));
        let first = rows(&run, &book, json!({}));
        assert_eq!(
            (first[1]["amount"].clone(), first[10]["name"].clone(), first[10]["amount"].clone()),
            (json!(1.5), json!("total"), json!(67.5)),
            "{format}"
        );
        let all = rows(&run, &book, json!({"sheet": "*"}));
        assert_eq!(all["Amounts"], first, "{format}");
        assert_eq!(all["Second"][0], json!({"another sheet": "one", "when": "2024-02-29", "done": true}), "{format}");
        let failure = fails(run.file(&book, "json", json!({"sheet": "Third"})), Code::InvalidOption);
        assert!(failure.message.contains("Second"), "{}", failure.message);
    }
    // The same numbers as the office sees.
    let jailed = Jailed::new();
    let csv = jailed.file(&fixture("document/xlsx/good/sheet.xlsx"), "csv", json!({})).unwrap();
    assert_eq!(rows(&run, &csv, json!({})), rows(&run, &fixture("document/xlsx/good/sheet.xlsx"), json!({})));
    fails(run.file(&fixture("document/xlsx/odd/password.xlsx"), "json", json!({})), Code::PasswordRequired);
    fails(run.file(&fixture("document/xlsx/broken/noise.xlsx"), "json", json!({})), Code::CorruptInput);
    fails(run.file(&fixture("document/xlsx/broken/cut.xlsx"), "json", json!({})), Code::CorruptInput);
}

#[test]
fn separators_and_character_sets_are_found_out_for_the_office_too() {
    let run = Jailed::new();
    let book = run.file(&fixture("document/csv/odd/semicolons-1251.csv"), "xlsx", json!({})).unwrap();
    let strings = tool("unzip", &["-p", book.to_str().unwrap(), "xl/sharedStrings.xml"]);
    assert!(strings.contains(">Москва<") && strings.contains(">цена<"), "{strings}");
}

#[test]
fn macros_stay_where_they_are() {
    let run = Jailed::new();
    let pdf = run.file(&fixture("document/docx/odd/macros.docm"), "pdf", json!({})).unwrap();
    assert!(tool("pdftotext", &[pdf.to_str().unwrap(), "-"]).contains("The last words."));
    let rows = run.file(&fixture("document/xlsx/odd/macros.xlsm"), "json", json!({})).unwrap();
    assert!(std::fs::read_to_string(rows).unwrap().contains("67.5"));
    let plain = run.file(&fixture("document/docx/odd/macros.docm"), "odt", json!({})).unwrap();
    assert!(!tool("unzip", &["-l", plain.to_str().unwrap()]).contains("vba"));
}

#[test]
fn a_book_is_one_page_with_its_pictures() {
    let run = Run::new();
    let html = std::fs::read_to_string(run.file(&fixture("document/epub/good/book.epub"), "html", json!({})).unwrap()).unwrap();
    assert!(html.find("<h1>First</h1>") < html.find("<h1>Second</h1>"), "{html}");
    assert!(html.contains("<title>The mill &amp; the water</title>") && html.contains("<img src=\"data:image/png;base64,iVBOR"), "{html}");
    assert!(!html.contains("alert") && !html.contains("onclick"), "{html}");
    let jailed = Jailed::new();
    let pdf = jailed.file(&fixture("document/epub/good/book.epub"), "pdf", json!({})).unwrap();
    assert!(tool("pdfimages", &["-list", pdf.to_str().unwrap()]).lines().count() > 2, "the picture is there");
    for broken in ["hollow", "cut", "noise", "empty"] {
        fails(run.file(&fixture(&format!("document/epub/broken/{broken}.epub")), "html", json!({})), Code::CorruptInput);
    }
}

#[test]
fn pages_and_letters_become_markdown_and_back() {
    let run = Jailed::new();
    let markdown = std::fs::read_to_string(run.file(&fixture("document/docx/good/letter.docx"), "md", json!({})).unwrap()).unwrap();
    assert!(markdown.contains("# A letter of many scripts") && markdown.contains("| Latin"), "{markdown}");
    assert!(!markdown.contains("<p") && !markdown.contains("<img"), "{markdown}");
    let book = run.file(&fixture("document/epub/good/book.epub"), "md", json!({})).unwrap();
    let text = std::fs::read_to_string(&book).unwrap();
    assert!(text.contains("# First") && text.contains("[the page](https://mill.example/)"), "{text}");
    let html = run.file(&book, "html", json!({})).unwrap();
    assert!(std::fs::read_to_string(html).unwrap().contains("<h1>Second</h1>"));
}
