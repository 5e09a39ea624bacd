//! The layer table of the house, held: a module imports only what its layer may.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Top-level modules by layer. `store`, `blobs` and `sandbox` are ports; the files below them are their keepers.
const LAYERS: [(&str, u8); 31] = [
    ("access", 0),
    ("queue", 0),
    ("job", 0),
    ("failure", 0),
    ("limits", 0),
    ("forecast", 0),
    ("format", 0),
    ("progress", 0),
    ("tls", 0),
    ("trace", 0),
    ("link", 0),
    ("store", 1),
    ("blobs", 1),
    ("convert", 1),
    ("sandbox", 1),
    ("clock", 1),
    ("outbound", 1),
    ("converters", 2),
    ("intake", 3),
    ("pipeline", 3),
    ("tus", 3),
    ("worker", 3),
    ("fetch", 3),
    ("probe", 3),
    ("schedule", 3),
    ("cleanup", 3),
    ("notify", 3),
    ("http", 4),
    ("celery", 4),
    ("config", 5),
    ("app", 5),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Module names after `crate::` in this file, with what follows them.
fn imports(text: &str) -> Vec<(String, String)> {
    let code = text.lines().filter(|l| !l.trim_start().starts_with("//"));
    code.flat_map(|line| line.split("crate::").skip(1).map(str::to_owned).collect::<Vec<_>>())
        .map(|rest| {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            (rest[..end].to_owned(), rest[end..].to_owned())
        })
        .collect()
}

fn may_import(from: &str, from_layer: u8, to: &str, to_layer: u8, rest: &str) -> bool {
    let keeper = ["::sqlite", "::redis", "::local", "::s3"].iter().any(|k| rest.starts_with(k));
    match from_layer {
        0 => to_layer == 0,
        1 => to_layer == 0 || to == from || (from == "sandbox" && to == "convert"),
        2 => to_layer == 0 || to == "convert" || to == from,
        3 => !keeper && (to_layer <= 1 || to_layer == 3 || to == "converters"),
        4 => !keeper && to_layer <= 4,
        _ => true,
    }
}

#[test]
fn every_module_keeps_to_its_layer() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let layers: BTreeMap<&str, u8> = LAYERS.into();
    let (mut files, mut breaches, mut seen) = (Vec::new(), Vec::new(), 0);
    sources(&root, &mut files);
    for file in files {
        let relative = file.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        let module = relative.split(['/', '.']).next().unwrap();
        let Some(layer) = layers.get(module) else { continue };
        for (to, rest) in imports(&std::fs::read_to_string(&file).unwrap()) {
            let Some(to_layer) = layers.get(to.as_str()) else { continue };
            seen += 1;
            if !may_import(module, *layer, &to, *to_layer, &rest) {
                breaches.push(format!("{relative} imports {to}{rest}"));
            }
        }
    }
    assert!(seen > 100, "the imports were read");
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn the_table_sees_a_breach() {
    assert!(!may_import("job", 0, "store", 1, ""));
    assert!(!may_import("worker", 3, "store", 1, "::sqlite::SqliteStore"));
    assert!(!may_import("converters", 2, "sandbox", 1, ""));
    assert!(may_import("worker", 3, "store", 1, "::Store"));
}

#[test]
fn words_and_converters_know_no_runtime() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root.join("converters"), &mut files);
    files.extend(["job.rs", "failure.rs", "limits.rs", "format.rs", "progress.rs", "queue.rs", "convert.rs"].map(|f| root.join(f)));
    assert!(files.len() > 20, "the files were found");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains("tokio::"), "{} uses tokio", file.display());
    }
}

/// The texts that the page's scripts and markup ask for.
fn texts_of_the_page(folder: &Path) -> std::collections::BTreeSet<String> {
    let mut texts = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let (name, text) = (entry.file_name().to_string_lossy().into_owned(), std::fs::read_to_string(entry.path()).unwrap());
        if name.ends_with(".js") && !name.starts_with("texts.") {
            let calls = text.match_indices("t(\"").filter(|(at, _)| !text[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '.'));
            texts.extend(calls.map(|(at, start)| text[at + start.len()..].split('"').next().unwrap().to_owned()));
        } else if name.ends_with(".html") {
            let words = |part: &str| part.split_whitespace().collect::<Vec<_>>().join(" ");
            texts.extend(text.split("data-t>").skip(1).map(|rest| words(rest.split('<').next().unwrap())));
            let given = |before: &str| before.rsplit("placeholder=\"").next().unwrap().trim_end_matches('"').to_owned();
            texts.extend(text.rsplit(" data-t-placeholder").skip(1).map(given));
        }
    }
    texts
}

#[test]
fn every_text_of_the_page_is_there_in_every_language() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/page");
    let texts = texts_of_the_page(&folder);
    assert!(texts.len() > 150, "{} texts", texts.len());
    for language in ["ru", "zh", "tr"] {
        let file = std::fs::read_to_string(folder.join(format!("texts.{language}.js"))).unwrap();
        let known: std::collections::BTreeSet<String> =
            file.lines().filter_map(|line| line.strip_prefix("  \"")?.split_once("\": \"").map(|(key, _)| key.to_owned())).collect();
        let lacking: Vec<&String> = texts.symmetric_difference(&known).collect();
        assert!(lacking.is_empty(), "{language}: asked for or translated, but not both: {lacking:?}");
    }
}
