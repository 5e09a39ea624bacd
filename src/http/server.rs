//! Connections: accepted until the drain begins, served with limits on the time and size of a request's head.

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A client that has not sent its request's head by then is let go; so is one that keeps an idle connection.
const HEAD_WITHIN: Duration = Duration::from_secs(20);
const HEAD_MAX_BYTES: usize = 64 * 1024;
/// How long answers under way may take once the drain has begun.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);
/// After a failure to accept: descriptors may have run out, others have to end first.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// Serves until the drain begins, then lets answers under way finish.
pub async fn serve(listener: TcpListener, router: Router, drain: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => drop(connections.spawn(connection(stream, router.clone(), drain.clone()))),
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

async fn connection(stream: TcpStream, router: Router, drain: CancellationToken) {
    // Small events are sent at once; without it they are only later.
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_buf_size(HEAD_MAX_BYTES);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
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
