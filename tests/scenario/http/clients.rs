//! The OpenAPI document in other people's hands: it is valid, what it says is so, and clients made of it work.

use crate::support::clients::{command, folder, node, python, said, script};
use crate::support::server::{Config, Server};
use std::path::{Path, PathBuf};

/// The service's document, as a file.
async fn document(server: &Server, folder: &Path) -> PathBuf {
    let path = folder.join("openapi.json");
    std::fs::write(&path, server.get("/openapi.json").await.bytes().await.unwrap()).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_valid_and_every_answer_is_in_it() {
    let (server, folder) = (Server::start(Config::default()).await, tempfile::tempdir().unwrap());
    let path = document(&server, folder.path()).await;
    let mut validate = python("openapi-spec-validator");
    validate.arg(&path);
    said(validate).await;
    let mut fuzz = python("schemathesis");
    fuzz.current_dir(folder.path()).arg("run").arg(&path).args(["--url", server.url(), "--no-color", "--request-timeout", "30"]);
    fuzz.args(["--phases", "examples,coverage,fuzzing", "--max-examples", "3", "--generation-deterministic"]);
    fuzz.args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"]);
    // Streams of events have no end, pieces of uploads are of a type it cannot make, downloads are of any type.
    fuzz.args(["--exclude-path-regex", "/events$|/v1/tus|/outputs/"]);
    said(fuzz).await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_made_for_python_works() {
    let (server, folder) = (Server::start(Config::default()).await, tempfile::tempdir().unwrap());
    let path = document(&server, folder.path()).await;
    let mut make = python("openapi-python-client");
    make.current_dir(folder.path()).args(["generate", "--meta", "none", "--output-path", "made", "--path"]).arg(path);
    said(make).await;
    let mut user = python("python");
    user.arg(script("generated.py")).arg(folder.path()).arg(server.url());
    assert_eq!(said(user).await, "done");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_made_for_typescript_works() {
    let (server, work) = (Server::start(Config::default()).await, tempfile::tempdir().unwrap());
    let path = document(&server, work.path()).await;
    let mut make = node("openapi-typescript");
    make.arg(path).arg("--default-non-nullable=false").arg("-o").arg(work.path().join("made.ts"));
    said(make).await;
    std::fs::copy(script("generated.ts"), work.path().join("user.ts")).unwrap();
    std::fs::write(work.path().join("package.json"), r#"{"type": "module"}"#).unwrap();
    std::os::unix::fs::symlink(folder().join("node/node_modules"), work.path().join("node_modules")).unwrap();
    let mut check = node("tsc");
    check.current_dir(work.path()).args(["--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom", "user.ts"]);
    said(check).await;
    let mut user = command("node");
    user.arg(work.path().join("user.js")).arg(server.url());
    assert_eq!(said(user).await, "done");
    server.stop();
}
