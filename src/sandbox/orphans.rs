//! What a killed zygote or fork server leaves behind comes to the service, which asked for it as the subreaper.

use rustix::process::{WaitId, WaitIdOptions, waitid};
use tokio::signal::unix::{SignalKind, signal};

/// Reaps whatever ends below this process: for a service, which starts nothing but its fork server and waits for nobody. Not
/// every orphan is known by a descriptor, as it may have been forked a moment ago; who holds one sees the end all the same.
pub async fn reap() {
    let mut ended = match signal(SignalKind::child()) {
        Ok(ended) => ended,
        Err(error) => return tracing::warn!(%error, "ends of orphans are not heard: they stay as zombies"),
    };
    loop {
        while matches!(waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG), Ok(Some(_))) {}
        if ended.recv().await.is_none() {
            return;
        }
    }
}
