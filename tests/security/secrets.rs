//! What a broken child could read in its own memory: it is a fork, of a fork, of the service.

use crate::support::process::Below;
use crate::support::server::{Config, Server};
use serde_json::json;

const TOKEN: &str = "a-token-that-nobody-below-may-know";

/// The arguments and the environment a process was started with, as they stand in its memory now.
fn start_of(process: u32) -> String {
    let read = |name: &str| std::fs::read(format!("/proc/{process}/{name}")).unwrap_or_default();
    String::from_utf8_lossy(&[read("cmdline"), read("environ")].concat()).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_processes_below_the_service_know_nothing_of_its_start() {
    let server = Server::start(Config::default().token(TOKEN)).await;
    assert!(start_of(server.pid()).contains(TOKEN), "the service itself was told by its environment");
    let id = server.submit("a.txt", "hello", json!({"to": "noop"})).await;
    assert_eq!(server.ended(&id).await["state"], "succeeded");
    let below = server.processes();
    assert!(below.len() >= 2, "the fork server and a zygote: {below:?}");
    for Below { id, depth, .. } in below {
        let start = start_of(id);
        assert!(!start.contains(TOKEN) && !start.contains("MILLRACE_") && !start.contains("--data-dir"), "{depth} away: {start:?}");
    }
    server.stop();
}
