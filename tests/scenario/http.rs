//! The HTTP edge, asked as a client asks it: the real binary on a free port.

use crate::support::server::{Config, Server};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_comes_back_with_its_jobs_after_a_stop_and_after_a_kill() {
    let mut server = Server::start(Config::default()).await;
    let id = server.submit("a.txt", "hello", serde_json::json!({"to": "noop"})).await;
    assert_eq!(server.ended(&id).await["state"], "succeeded");
    server.restart().await;
    assert_eq!(server.json(&format!("/v1/jobs/{id}")).await["state"], "succeeded");
    server.kill_9();
    server.restart().await;
    assert_eq!(server.json(&format!("/v1/jobs/{id}")).await["state"], "succeeded");
    server.stop();
}
