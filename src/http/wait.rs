//! Answers that wait for an end.

use super::Shared;
use crate::limits::Span;
use crate::store::Notice;
use serde::Deserialize;
use std::time::Duration;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::Instant;
use utoipa::IntoParams;

/// The longest any wait lasts.
const WAIT_MAX: Span = Span::from_secs(120);
/// A lost notice costs one look.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Wait {
    /// Answer at the end, or after this time at the latest; at most 2 minutes.
    pub wait: Option<Span>,
}

/// A wait that has begun: news counts from then on.
pub struct Waiting {
    notices: Receiver<Notice>,
    deadline: Instant,
}

impl Waiting {
    pub fn begin(service: &Shared, wait: &Wait) -> Waiting {
        let deadline = Instant::now() + wait.wait.unwrap_or(Span(0)).min(WAIT_MAX).duration();
        Waiting { notices: service.intake.store.notices(), deadline }
    }

    /// Returns when it is worth looking again; false when the wait is over.
    pub async fn news(&mut self, service: &Shared, concerns: impl Fn(&Notice) -> bool) -> bool {
        let now = Instant::now();
        if now >= self.deadline {
            return false;
        }
        tokio::select! {
            _ = tokio::time::timeout_at(self.deadline.min(now + LOOK_AGAIN), relevant(&mut self.notices, concerns)) => true,
            () = service.drain.cancelled() => false,
        }
    }
}

/// Returns when there is news that concerns somebody, or when news may have been missed.
async fn relevant(notices: &mut Receiver<Notice>, concerns: impl Fn(&Notice) -> bool) {
    loop {
        match notices.recv().await {
            Ok(notice) if concerns(&notice) => return,
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
