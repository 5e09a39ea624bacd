//! Looks at pipelines when one of their jobs has ended, and from time to time all the same: a lost notice costs one interval.

use super::advance::advance;
use crate::clock::SharedClock;
use crate::intake::Intake;
use crate::job::{PipelineId, State};
use crate::store::{Notice, PipelineFilter, StoreError};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Between two looks at all pipelines that run.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
const PAGE: usize = 200;

/// One in each service; what one of them does, no other does again.
pub struct Driver {
    pub intake: Arc<Intake>,
    pub clock: SharedClock,
}

impl Driver {
    pub async fn run(self, stop: CancellationToken) {
        // Listening begins before the first look: nothing falls between.
        let mut notices = self.intake.store.notices();
        let mut look_again = Instant::now();
        while !stop.is_cancelled() {
            let noticed = tokio::select! {
                noticed = noticed(&mut notices) => noticed,
                () = tokio::time::sleep_until(look_again) => None,
                () = stop.cancelled() => return,
            };
            let ids = match noticed {
                Some(ids) => ids,
                None => {
                    look_again = Instant::now() + LOOK_AGAIN;
                    self.running().await.unwrap_or_else(|error| {
                        tracing::warn!(%error, "pipelines could not be looked for");
                        BTreeSet::new()
                    })
                }
            };
            for id in ids {
                if let Err(error) = advance(&self.intake, id, self.clock.now()).await {
                    tracing::warn!(pipeline = %id, %error, "a pipeline could not go on; it is looked at again");
                }
            }
        }
    }

    async fn running(&self) -> Result<BTreeSet<PipelineId>, StoreError> {
        let (mut ids, mut before) = (BTreeSet::new(), None);
        loop {
            let filter = PipelineFilter { state: Some(State::Running), before, limit: PAGE, ..PipelineFilter::default() };
            let page = self.intake.store.pipelines(filter).await?;
            before = page.last().map(|row| row.id);
            ids.extend(page.iter().map(|row| row.id));
            if page.len() < PAGE {
                return Ok(ids);
            }
        }
    }
}

/// The pipelines with news; none when some may have been missed.
async fn noticed(notices: &mut Receiver<Notice>) -> Option<BTreeSet<PipelineId>> {
    let mut ids = BTreeSet::new();
    loop {
        let notice = match ids.is_empty() {
            true => notices.recv().await,
            // What else there is goes along.
            false => match notices.try_recv() {
                Ok(notice) => Ok(notice),
                Err(_) => return Some(ids),
            },
        };
        match notice {
            Ok(Notice::Pipeline(id)) => drop(ids.insert(id)),
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return None,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
