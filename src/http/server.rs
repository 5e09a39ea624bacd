//! Connections: accepted until the drain begins, served with limits on the time and size of a request's head.

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::IpAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::add_extension::AddExtension;
use tower_http::timeout::RequestBodyTimeout;

const HEAD_MAX_BYTES: usize = 64 * 1024;
/// How long answers under way may take once the drain has begun.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);
/// After a failure to accept: descriptors may have run out, others have to end first.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// How long a client may take over what.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// The head of a request; an idle connection is kept for so long.
    pub head: Duration,
    /// Sending nothing of a body that has begun, or taking nothing of an answer.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience { head: Duration::from_secs(20), silence: Duration::from_secs(60) }
    }
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// Serves until the drain begins, then lets answers under way finish.
pub async fn serve(listener: TcpListener, router: Router, patience: Patience, drain: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let service = AddExtension::new(router.clone(), Peer(peer.ip()));
                drop(connections.spawn(connection(stream, service, patience, drain.clone())));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(DRAIN_WITHIN, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "answers were still under way and are cut off");
    }
}

async fn connection(stream: TcpStream, service: AddExtension<Router, Peer>, patience: Patience, drain: CancellationToken) {
    // Small events are sent at once; without it they are only later.
    let _ = stream.set_nodelay(true);
    // Whoever reads nothing of an answer would keep it, and what it is made of, for ever.
    let silence_ms = u32::try_from(patience.silence.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(&stream, silence_ms) {
        tracing::debug!(%error, "a connection has no limit to its silence");
    }
    let service = RequestBodyTimeout::new(service, patience.silence);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(patience.head).max_buf_size(HEAD_MAX_BYTES);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = drain.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}
