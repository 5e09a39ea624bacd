//! Somebody else's HTTP server on loopback: it notes what it is asked and answers as the test says.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::sync::watch;

/// Longer than anything a test waits for.
const DEADLINE: Duration = Duration::from_secs(60);

/// One request.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Asked {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("there is a header {name}: {:?}", self.headers)).to_str().unwrap()
    }
}

type Answer = dyn Fn(&Asked) -> Response + Send + Sync;

#[derive(Clone)]
struct Desk {
    answer: Arc<Answer>,
    asked: Arc<Mutex<Vec<Asked>>>,
    count: Arc<watch::Sender<usize>>,
}

pub struct Sink {
    pub address: SocketAddr,
    desk: Desk,
    server: tokio::task::JoinHandle<()>,
}

impl Sink {
    /// Says 204 to everything.
    pub async fn start() -> Sink {
        Sink::answering(|_| status(204)).await
    }

    pub async fn answering(answer: impl Fn(&Asked) -> Response + Send + Sync + 'static) -> Sink {
        Sink::at("127.0.0.1:0", answer).await
    }

    pub async fn at(address: impl ToSocketAddrs, answer: impl Fn(&Asked) -> Response + Send + Sync + 'static) -> Sink {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let desk = Desk { answer: Arc::new(answer), asked: Arc::default(), count: Arc::new(watch::channel(0).0) };
        let router = Router::new().fallback(take).with_state(desk.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Sink { address, desk, server }
    }

    /// The address of a path here, as `/hook`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.desk.asked.lock().unwrap().clone()
    }

    /// What was asked, once that is at least `n` times.
    pub async fn asked_for(&self, n: usize) -> Vec<Asked> {
        let mut count = self.desk.count.subscribe();
        let asked = tokio::time::timeout(DEADLINE, count.wait_for(|count| *count >= n)).await;
        assert!(asked.is_ok(), "it is asked {n} times: {:?}", self.asked());
        self.asked()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(State(desk): State<Desk>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let asked = Asked { method, uri, headers, body };
    desk.asked.lock().unwrap().push(asked.clone());
    desk.count.send_modify(|count| *count += 1);
    (desk.answer)(&asked)
}

pub fn status(code: u16) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

pub fn redirect(to: &str) -> Response {
    let mut response = status(302);
    response.headers_mut().insert("location", to.parse().unwrap());
    response
}
