//! Clients that take their time: each is let go, and what it held is free again.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::{get, post};
use futures::stream;
use millrace::http::{Patience, serve};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(60);
/// What `millrace serve` grants by the minute.
const PATIENCE: Patience = Patience { head: Duration::from_millis(300), silence: Duration::from_millis(500) };

/// Tells when it is gone.
struct Held(Arc<(AtomicBool, Notify)>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::SeqCst);
        self.0.1.notify_one();
    }
}

/// A server with one call that reads a body, and one whose answer never ends and holds something.
async fn start() -> (SocketAddr, Arc<(AtomicBool, Notify)>, CancellationToken) {
    let gone = Arc::new((AtomicBool::new(false), Notify::new()));
    let holds = gone.clone();
    let endless = move || async move {
        let held = Held(holds);
        Body::from_stream(stream::unfold(held, |held| async { Some((Ok::<_, std::io::Error>(Bytes::from_static(&[0; 65_536])), held)) }))
    };
    let router = Router::new().route("/take", post(|body: Bytes| async move { body.len().to_string() })).route("/endless", get(endless));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, drain) = (listener.local_addr().unwrap(), CancellationToken::new());
    tokio::spawn(serve(listener, router, PATIENCE, drain.clone()));
    (address, gone, drain)
}

/// Sends this and waits for the end of the connection; what came until then.
async fn rest(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A reset is an end as well.
    let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("the connection ends");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_head_that_does_not_end_is_not_waited_for() {
    let (address, ..) = start().await;
    assert!(!rest(address, "POST /take HTTP/1.1\r\nhost: x\r\nx-slow: ").await.contains("200 OK"));
    assert_eq!(rest(address, "").await, "", "nor is one that does not begin");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let (address, ..) = start().await;
    let answer = rest(address, "POST /take HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nbegin").await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    // One that comes is read.
    let whole = rest(address, "POST /take HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\nconnection: close\r\n\r\nbegin").await;
    assert!(whole.starts_with("HTTP/1.1 200") && whole.ends_with('5'), "{whole}");
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_not_kept() {
    let (address, gone, _drain) = start().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).await.unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
    assert!(!gone.0.load(Ordering::SeqCst));
    // From now on it reads nothing, and stays connected.
    tokio::time::timeout(DEADLINE, gone.1.notified()).await.expect("what the answer was made of is free again");
    drop(stream);
}
