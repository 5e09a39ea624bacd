//! Uploads in pieces, by the clients people use, over breaks, kills and a store elsewhere.

use crate::support::clients::{command, python, said, script};
use crate::support::s3::S3Server;
use crate::support::server::{Config, Server, text_of};
use crate::support::service::Service;
use jiff::SignedDuration;
use millrace::clock::{Clock, SystemClock};
use millrace::tus::{Piece, Tus, expire};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::header::HeaderMap;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;

const SIZE: usize = 20 << 20;

/// A zip of bytes that nothing makes smaller, as a file.
fn large() -> (tempfile::TempDir, String, String) {
    let mut random = StdRng::seed_from_u64(7);
    let bytes: Vec<u8> = (0..SIZE / 8).flat_map(|_| random.random::<u64>().to_le_bytes()).collect();
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    zip.start_file("noise", stored).unwrap();
    std::io::Write::write_all(&mut zip, &bytes).unwrap();
    let zip = zip.finish().unwrap().into_inner();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nöise.zip");
    std::fs::write(&path, &zip).unwrap();
    (folder, path.to_str().unwrap().to_owned(), hex::encode(Sha256::digest(&zip)))
}

/// A request of the protocol.
pub async fn ask(server: &Server, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Response {
    let mut request = server.request(method, path).header("tus-resumable", "1.0.0");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).send().await.unwrap()
}

pub fn number(headers: &HeaderMap, name: &str) -> u64 {
    headers[name].to_str().unwrap().parse().unwrap()
}

/// Begins an upload of this size; its address.
pub async fn begin(server: &Server, size: usize) -> String {
    let created = ask(server, Method::POST, "/v1/tus", &[("upload-length", &size.to_string()), ("upload-metadata", "filename YS50eHQ=")], "").await;
    assert_eq!(created.status(), 201);
    created.headers()["location"].to_str().unwrap().to_owned()
}

pub async fn send(server: &Server, path: &str, offset: usize, bytes: impl Into<reqwest::Body>) -> Response {
    ask(server, Method::PATCH, path, &[("upload-offset", &offset.to_string()), ("content-type", "application/offset+octet-stream")], bytes).await
}

pub async fn offset(server: &Server, path: &str) -> u64 {
    let told = ask(server, Method::HEAD, path, &[], "").await;
    assert_eq!((told.status().as_u16(), told.headers()["cache-control"].to_str().unwrap()), (200, "no-store"));
    number(told.headers(), "upload-offset")
}

/// What the service says of an upload.
async fn probed(server: &Server, place: &str) -> Value {
    let id = place.rsplit('/').next().unwrap();
    server.send(Method::POST, "/v1/probe", &json!({"input": {"upload": id}})).await.json().await.unwrap()
}

async fn assert_clients_upload(server: &Server) {
    let (_folder, path, sha256) = large();
    let endpoint = format!("{}/v1/tus", server.url());
    let mut node = command("node");
    node.arg(script("tus.mjs"));
    let mut tuspy = python("python");
    tuspy.arg(script("tus.py"));
    for mut client in [node, tuspy] {
        client.args([&endpoint, &path]);
        let place = said(client).await;
        let file = probed(server, &place).await;
        assert_eq!((text_of(&file, "sha256"), text_of(&file, "name")), (sha256.clone(), "nöise.zip".into()));
        let id = place.rsplit('/').next().unwrap();
        let job: Value = server.send(Method::POST, "/v1/jobs?wait=60s", &json!({"input": {"upload": id}, "to": "json"})).await.json().await.unwrap();
        assert_eq!(job["state"], "succeeded", "{job}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_tus_break_off_and_go_on() {
    let server = Server::start(Config::default()).await;
    assert_clients_upload(&server).await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_in_pieces_end_in_s3_as_well() {
    let s3 = S3Server::start().await;
    let server = Server::start(Config::default().s3(&s3)).await;
    assert_clients_upload(&server).await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_come_outlives_a_kill() {
    let mut server = Server::start(Config::default()).await;
    let path = begin(&server, 11).await;
    let sent = send(&server, &path, 0, "hello ").await;
    assert_eq!((sent.status().as_u16(), number(sent.headers(), "upload-offset")), (204, 6));
    server.kill_9();
    server.restart().await;
    assert_eq!(offset(&server, &path).await, 6);
    let told = ask(&server, Method::HEAD, &path, &[], "").await;
    assert_eq!((number(told.headers(), "upload-length"), &told.headers()["upload-metadata"]), (11, &"filename YS50eHQ=".parse().unwrap()));
    assert!(told.headers()["upload-expires"].to_str().unwrap().ends_with(" GMT"));
    assert_eq!(send(&server, &path, 6, "world").await.status(), 204);
    let file = probed(&server, &path).await;
    assert_eq!((text_of(&file, "sha256"), text_of(&file, "name")), (hex::encode(Sha256::digest("hello world")), "a.txt".into()));
    assert_eq!(offset(&server, &path).await, 11, "one that is whole stands at its end");
    let id = server.submit("b.txt", "x", json!({"to": "noop"})).await;
    server.ended(&id).await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_forgotten_and_options_are_told() {
    let server = Server::start(Config::default()).await;
    let told = server.request(Method::OPTIONS, "/v1/tus").send().await.unwrap();
    assert_eq!(told.status(), 204);
    for (name, word) in [("tus-version", "1.0.0"), ("tus-extension", "checksum"), ("tus-checksum-algorithm", "sha1"), ("tus-resumable", "1.0.0")] {
        assert!(told.headers()[name].to_str().unwrap().contains(word), "{name}");
    }
    assert_eq!(number(told.headers(), "tus-max-size"), 20 << 30);
    let path = begin(&server, 5).await;
    assert_eq!(ask(&server, Method::DELETE, &path, &[], "").await.status(), 204);
    assert_eq!(ask(&server, Method::HEAD, &path, &[], "").await.status(), 404);
    assert_eq!(ask(&server, Method::DELETE, &path, &[], "").await.status(), 404);
    let headers = [("upload-length", "5"), ("content-type", "application/offset+octet-stream")];
    let at_once = ask(&server, Method::POST, "/v1/tus", &headers, "hello").await;
    assert_eq!((at_once.status().as_u16(), number(at_once.headers(), "upload-offset")), (201, 5));
    let whole = at_once.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(text_of(&probed(&server, &whole).await, "name"), "upload");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_was_cut_short_is_made_good_and_what_nobody_goes_on_with_expires() {
    let service = Service::start("");
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(SystemClock);
    let tus = || Tus::open(service.intake.clone(), clock.clone(), folder.path()).unwrap();
    let piece = |offset, bytes: &'static [u8]| Piece { offset, bytes: Box::new(bytes), checksum: None };
    let id = tus().create("a.txt", 11, None, None).await.unwrap().id;
    tus().append(&id, piece(0, b"hello "), None).await.unwrap();
    // As if the process had gone with the last bytes written and nothing else done.
    let bytes = folder.path().join(&id).join("bytes");
    std::fs::write(&bytes, "hello world").unwrap();
    assert_eq!(tus().standing(&id, None).await.unwrap().offset, 11);
    assert_eq!(service.intake.store.upload(&id).await.unwrap().size_bytes, 11);
    assert!(!bytes.exists());
    // As if it had gone before the checksum of a piece was seen.
    let second = tus().create("b.txt", 11, None, None).await.unwrap().id;
    std::fs::write(folder.path().join(&second).join("bytes"), "hello w").unwrap();
    std::fs::write(folder.path().join(&second).join("unproven"), "5").unwrap();
    assert_eq!(tus().standing(&second, None).await.unwrap().offset, 5);
    tus().append(&second, piece(5, b" world"), None).await.unwrap();
    let now = clock.now();
    let third = tus().create("c.txt", 11, None, None).await.unwrap().id;
    assert_eq!(expire(folder.path(), now + SignedDuration::from_hours(23)).unwrap(), 0);
    assert_eq!(expire(folder.path(), now + SignedDuration::from_hours(25)).unwrap(), 1);
    assert!(tus().standing(&third, None).await.is_err());
    service.stop().await;
}
