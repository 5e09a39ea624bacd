//! The disk is full: a clear word to whoever submits, a sound database, and work that goes on when there is space again.

use crate::support::direct::fixture;
use crate::support::server::{Config, Server, text_of};
use reqwest::Method;
use serde_json::json;
use std::io::Write;

/// Fills the disk to the last byte; returns the file that does it.
fn fill(server: &Server) -> std::path::PathBuf {
    let path = server.disk().join("filler");
    let mut file = std::fs::File::create(&path).unwrap();
    let full = std::iter::repeat_with(|| file.write_all(&[0; 4096])).take(1 << 20).find_map(Result::err).expect("the disk gets full");
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_said_and_survived() {
    let quick = "retry_delay = \"100ms\"\nretry_delay_max = \"200ms\"\nmax_attempts = 100";
    let picture = fixture("image/png/good/scene.png");
    let roots = picture.parent().unwrap().to_string_lossy().into_owned();
    let server = Server::start(Config::default().disk_mib(24).queue("image", quick).variable("INPUTS_ROOTS", &roots)).await;
    let bytes = std::fs::read(&picture).unwrap();
    let before = server.submit("a.png", bytes.clone(), json!({"to": "webp"})).await;
    assert_eq!(server.ended(&before).await["state"], "succeeded");

    let filler = fill(&server);
    let refused = server.request(Method::POST, "/v1/uploads?name=a.png").body(bytes.clone()).send().await.unwrap();
    let (status, problem) = (refused.status(), refused.json::<serde_json::Value>().await.unwrap());
    assert_eq!((status.as_u16(), problem["code"].as_str()), (507, Some("insufficient_storage")), "{problem}");
    // Needs no space for its input: taken if its row still fits, refused with the same word if not.
    let (mut taken, mut full) = (Vec::new(), 0);
    for _ in 0..200 {
        let answer = server.send(Method::POST, "/v1/jobs", &json!({"input": {"path": picture}, "to": "png"})).await;
        match answer.status().as_u16() {
            202 => taken.push(text_of(&answer.json().await.unwrap(), "id")),
            status => {
                let problem = answer.json::<serde_json::Value>().await.unwrap();
                assert_eq!((status, problem["code"].as_str()), (507, Some("insufficient_storage")), "{problem}");
                full += 1;
            }
        }
    }
    assert!(full > 0, "the database never ran out of space");
    assert_eq!(server.get("/healthz").await.status(), 200);
    assert_eq!(server.json(&format!("/v1/jobs/{before}")).await["state"], "succeeded");

    std::fs::remove_file(filler).unwrap();
    for id in &taken {
        let job = server.ended(id).await;
        assert_eq!(job["state"], "succeeded", "{job}");
    }
    let after = server.submit("a.png", bytes, json!({"to": "webp"})).await;
    assert_eq!(server.ended(&after).await["state"], "succeeded");
    let database = rusqlite::Connection::open(server.disk().join("millrace.db")).unwrap();
    let verdict: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
    drop(database);
    server.stop();
}
