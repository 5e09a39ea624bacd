//! Hears, on a connection of its own, what any process has changed.

use crate::link::Link;
use crate::store::Notice;
use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, oneshot};

/// Between two tries to listen again.
const LISTEN_AGAIN: Duration = Duration::from_millis(200);
/// A link may be dead without saying so: after a silence of this length a new one is made.
const SILENCE_MAX: Duration = Duration::from_secs(60);
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// Listens until aborted. What is said while the link is down is lost: a notice is a wake-up, and everybody who waits for one looks
/// from time to time all the same.
pub async fn listen(link: Arc<Link>, notices: broadcast::Sender<Notice>, ready: oneshot::Sender<()>) {
    let channel = link.key("notices");
    let mut ready = Some(ready);
    loop {
        let subscribed = tokio::time::timeout(CONNECT_WITHIN, async {
            let mut pubsub = link.client().await?.get_async_pubsub().await?;
            pubsub.subscribe(&channel).await.map(|()| pubsub)
        });
        match subscribed.await {
            Ok(Ok(pubsub)) => {
                ready.take().map(|ready| ready.send(()));
                let mut messages = pubsub.into_on_message();
                while let Ok(Some(message)) = tokio::time::timeout(SILENCE_MAX, messages.next()).await {
                    let text: String = message.get_payload().unwrap_or_default();
                    for notice in text.lines().filter_map(read) {
                        // Nobody listening is fine.
                        let _ = notices.send(notice);
                    }
                }
            }
            Ok(Err(error)) => tracing::debug!(%error, "notices cannot be heard"),
            Err(_) => tracing::debug!("notices cannot be heard: no answer"),
        }
        tokio::time::sleep(LISTEN_AGAIN).await;
    }
}

/// One line, as `notice` in shared.lua writes it.
fn read(line: &str) -> Option<Notice> {
    let (kind, of) = line.split_once(' ')?;
    match kind {
        "ready" => Some(Notice::Ready(of.to_owned())),
        "delivery" => Some(Notice::Delivery),
        "worker" => Some(Notice::Worker(of.to_owned())),
        "tuning" => Some(Notice::Tuning(of.to_owned())),
        "job" => of.parse().ok().map(Notice::Job),
        "pipeline" => of.parse().ok().map(Notice::Pipeline),
        "cancel" => of.parse().ok().map(Notice::Cancel),
        _ => None,
    }
}
