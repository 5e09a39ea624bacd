//! Uploads in pieces under attack: races for an offset, sizes and sums that lie, ids that are paths.

use crate::scenario::http::tus::{ask, begin, number, offset, send};
use crate::support::server::{Config, DEADLINE, Server};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::Instant;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const PIECE: (&str, &str) = ("content-type", "application/offset+octet-stream");

async fn sha256_of(server: &Server, path: &str) -> Value {
    let id = path.rsplit('/').next().unwrap();
    let file: Value = server.send(Method::POST, "/v1/probe", &json!({"input": {"upload": id}})).await.json().await.unwrap();
    file["sha256"].clone()
}

/// A piece by hand: its head, and so much of its body.
async fn half(server: &Server, path: &str, length: usize, more: &str, bytes: &[u8]) -> TcpStream {
    let host = server.url().trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).await.unwrap();
    let head = format!(
        "PATCH {path} HTTP/1.1\r\nHost: {host}\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Type: {}\r\nContent-Length: {length}\r\n{more}\r\n",
        PIECE.1
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// Waits until the upload stands there.
async fn stands_at(server: &Server, path: &str, wanted: u64) {
    let deadline = Instant::now() + DEADLINE;
    while offset(server, path).await != wanted {
        assert!(Instant::now() < deadline, "it stands at {wanted} in time");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_pieces_for_one_offset_exactly_one_counts() {
    let server = Server::start(Config::default()).await;
    for round in 0..20 {
        let pieces = [vec![b'a'; 300_000], vec![b'b'; 300_000]];
        let path = begin(&server, pieces[0].len()).await;
        let (one, other) = tokio::join!(send(&server, &path, 0, pieces[0].clone()), send(&server, &path, 0, pieces[1].clone()));
        let statuses = [one.status().as_u16(), other.status().as_u16()];
        let winner = statuses.iter().position(|status| *status == 204).unwrap_or_else(|| panic!("round {round}: one counts: {statuses:?}"));
        assert!([409, 423].contains(&statuses[1 - winner]), "round {round}: {statuses:?}");
        assert_eq!(sha256_of(&server, &path).await, json!(hex::encode(Sha256::digest(&pieces[winner]))), "round {round}: nothing is mixed");
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_piece_holds_its_upload_and_no_other() {
    let server = Server::start(Config::default()).await;
    let (held, free) = (begin(&server, 100).await, begin(&server, 5).await);
    let stalled = half(&server, &held, 100, "", &[b'a'; 40]).await;
    stands_at(&server, &held, 40).await;
    assert_eq!(send(&server, &held, 40, "b").await.status(), 423);
    assert_eq!(ask(&server, Method::DELETE, &held, &[], "").await.status(), 423);
    assert_eq!(send(&server, &free, 0, "hello").await.status(), 204);
    drop(stalled);
    let deadline = Instant::now() + DEADLINE;
    while send(&server, &held, 40, vec![b'b'; 60]).await.status() != 204 {
        assert!(Instant::now() < deadline, "it is let go");
    }
    let whole = [[b'a'; 40].as_slice(), &[b'b'; 60]].concat();
    assert_eq!(sha256_of(&server, &held).await, json!(hex::encode(Sha256::digest(whole))));
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_that_lie_change_nothing() {
    let server = Server::start(Config::default()).await;
    let path = begin(&server, 10).await;
    let sum = |bytes: &str| format!("sha256 {}", BASE64_STANDARD.encode(Sha256::digest(bytes)));
    let checked = async |offset: &str, sum: &str, bytes: &'static str| {
        let headers = [("upload-offset", offset), PIECE, ("upload-checksum", sum)];
        ask(&server, Method::PATCH, &path, &headers, bytes).await.status().as_u16()
    };
    assert_eq!(checked("0", &sum("other"), "hello").await, 460);
    assert_eq!(offset(&server, &path).await, 0);
    for unknown in ["md4 AAAA", "sha1", "sha1 !", ""] {
        assert_eq!(checked("0", unknown, "hello").await, 400, "{unknown}");
    }
    // One that breaks off was never proven.
    drop(half(&server, &path, 10, &format!("Upload-Checksum: {}\r\n", sum("helloworld")), b"hell").await);
    let deadline = Instant::now() + DEADLINE;
    while checked("0", &sum("hello"), "hello").await != 204 {
        assert!(Instant::now() < deadline, "it is let go");
    }
    assert_eq!(offset(&server, &path).await, 5);
    assert_eq!(checked("5", "sha1 fCEUM/Ahcr5r43ayWcgrXHVKpYg=", "world").await, 460);
    assert_eq!(checked("5", "sha1 fCEUM/Agcl9r43ayWcgrXHVKpYg=", "world").await, 460);
    assert_eq!(checked("5", &sum("world"), "world").await, 204);
    assert_eq!(sha256_of(&server, &path).await, json!(hex::encode(Sha256::digest("helloworld"))));
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_words_are_refused_and_ids_are_no_paths() {
    let server = Server::start(Config::default()).await;
    let path = begin(&server, 10).await;
    let patch = async |headers: &[(&str, &str)], bytes: &'static str| ask(&server, Method::PATCH, &path, headers, bytes).await.status().as_u16();
    for (headers, bytes, status) in [
        (vec![("upload-offset", "3"), PIECE], "hello", 409),
        (vec![("upload-offset", "-1"), PIECE], "hello", 422),
        (vec![("upload-offset", "99999999999999999999"), PIECE], "hello", 422),
        (vec![PIECE], "hello", 422),
        (vec![("upload-offset", "0"), ("content-type", "text/plain")], "hello", 415),
        (vec![("upload-offset", "0"), PIECE], "hello world, and more", 413),
    ] {
        assert_eq!(patch(&headers, bytes).await, status, "{headers:?}");
    }
    let old = server.request(Method::HEAD, &path).header("tus-resumable", "0.2.2").send().await.unwrap();
    assert_eq!((old.status().as_u16(), old.headers()["tus-version"].to_str().unwrap()), (412, "1.0.0"));
    for id in ["..%2f..%2fblobs", "..", "nobody", "%00", &"A".repeat(32)] {
        let path = format!("/v1/tus/{id}");
        for method in [Method::HEAD, Method::PATCH, Method::DELETE] {
            let answer = ask(&server, method.clone(), &path, &[("upload-offset", "0"), PIECE], "x").await;
            assert!([404, 405, 412].contains(&answer.status().as_u16()), "{method} {path}: {}", answer.status());
        }
    }
    let create = async |length: &str| ask(&server, Method::POST, "/v1/tus", &[("upload-length", length)], "").await;
    assert_eq!(create("21474836481").await.status(), 413);
    assert_eq!(create("many").await.status(), 422);
    let empty = create("0").await;
    assert_eq!((empty.status().as_u16(), number(empty.headers(), "upload-offset")), (201, 0));
    assert_eq!(offset(&server, empty.headers()["location"].to_str().unwrap()).await, 0);
    server.stop();
}
