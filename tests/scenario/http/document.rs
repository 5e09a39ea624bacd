//! The OpenAPI document: every route is in it, and it changes only on purpose.

use millrace::http::openapi::generate;
use std::collections::BTreeSet;
use std::path::Path;

/// `METHOD /path` for every route of the router, read from its source.
fn routes() -> BTreeSet<String> {
    let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http.rs")).unwrap();
    let mut found = BTreeSet::new();
    for line in source.lines().filter_map(|line| line.trim().strip_prefix(".route(\"")) {
        let (path, verbs) = line.split_once('"').unwrap();
        for verb in ["get", "head", "options", "post", "put", "patch", "delete"].into_iter().filter(|verb| verbs.contains(&format!("{verb}("))) {
            found.insert(format!("{verb} {}", path.replace("{*", "{")));
        }
    }
    found
}

#[test]
fn every_route_is_in_the_document_and_nothing_else_is() {
    let document = serde_json::to_value(generate()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let described: BTreeSet<String> =
        paths.iter().flat_map(|(path, verbs)| verbs.as_object().unwrap().keys().map(move |verb| format!("{verb} {path}"))).collect();
    assert!(described.len() > 25, "{described:?}");
    assert_eq!(described, routes());
}

#[test]
fn the_document_is_the_one_that_was_looked_at() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/openapi.json");
    let mut text = serde_json::to_string_pretty(&generate()).unwrap();
    text.push('\n');
    if std::env::var_os("MILLRACE_RENEW_GOLDEN").is_some() {
        std::fs::create_dir_all(golden.parent().unwrap()).unwrap();
        std::fs::write(&golden, &text).unwrap();
    }
    let known = std::fs::read_to_string(&golden).unwrap_or_default();
    assert!(known == text, "tests/golden/openapi.json differs; look at the change and renew it: MILLRACE_RENEW_GOLDEN=1 cargo test -- looked_at");
}
