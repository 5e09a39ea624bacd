//! The engine's own jobs: they remove what is past its time, and never what belongs to a job that has not ended.

use crate::blobs::{Blobs, Staging, is_ours};
use crate::failure::{Code, Failure};
use crate::queue::Queues;
use crate::store::{PurgePolicy, Store};
use crate::tus;
use jiff::{SignedDuration, Timestamp};
use std::path::Path;
use std::sync::Arc;

pub const PURGE_STAGING: &str = "cleanup.purge-staging";
pub const PURGE_RECORDS: &str = "cleanup.purge-records";

/// Bytes younger than this may belong to a submission or a publication that is under way.
const SETTLING: SignedDuration = SignedDuration::from_hours(1);
const BATCH: usize = 100;

/// Runs one of the engine's jobs; returns a sentence for its log. `pieces` is where uploads that are not whole are kept.
pub async fn run(
    store: &Arc<dyn Store>,
    blobs: &Arc<dyn Blobs>,
    staging: &Staging,
    queues: &Queues,
    pieces: &Path,
    job: &str,
    now: Timestamp,
) -> Result<String, Failure> {
    match job {
        PURGE_STAGING => purge_staging(store, blobs, staging, pieces, now).await,
        PURGE_RECORDS => purge_records(store, blobs, queues, now).await,
        other => Err(Failure::new(Code::Internal, format!("There is no engine job `{other}`."))),
    }
}

/// Orphan staging folders and orphan blobs, which a crash left between bytes and rows, and uploads in pieces that nobody goes on with.
async fn purge_staging(store: &Arc<dyn Store>, blobs: &Arc<dyn Blobs>, staging: &Staging, pieces: &Path, now: Timestamp) -> Result<String, Failure> {
    let before = now.saturating_sub(SETTLING).unwrap_or(Timestamp::MIN);
    let mut folders = 0;
    for leftover in staging.list_stale(before).map_err(Failure::internal)? {
        let live = match leftover.lease {
            Some(lease) => store.is_live(lease).await.map_err(Failure::internal)?,
            None => false,
        };
        if !live {
            staging.remove(&leftover).map_err(Failure::internal)?;
            folders += 1;
        }
    }
    let mut stale = blobs.list_stale(before).await.map_err(Failure::internal)?;
    stale.retain(|key| is_ours(key));
    let orphans = store.orphans(stale).await.map_err(Failure::internal)?;
    for key in &orphans {
        blobs.delete(key).await.map_err(Failure::internal)?;
    }
    let unfinished = tus::expire(pieces, now).map_err(Failure::internal)?;
    Ok(format!("removed {folders} staging folders, {} orphan blobs and {unfinished} unfinished uploads", orphans.len()))
}

/// Outputs, records and uploads past the times their queues keep them.
async fn purge_records(store: &Arc<dyn Store>, blobs: &Arc<dyn Blobs>, queues: &Queues, now: Timestamp) -> Result<String, Failure> {
    let before = |kept: crate::limits::Span| now.saturating_sub(SignedDuration::from_millis(kept.as_millis() as i64)).unwrap_or(Timestamp::MIN);
    let policy = PurgePolicy {
        outputs_before: queues.iter().map(|(name, q)| (name.to_owned(), before(q.settings.keep_outputs))).collect(),
        records_before: queues.iter().map(|(name, q)| (name.to_owned(), before(q.settings.keep_records))).collect(),
        limit: BATCH,
    };
    let (mut outputs, mut records, mut uploads, mut pipelines) = (0, 0, 0, 0);
    loop {
        let purged = store.purge(policy.clone(), now).await.map_err(Failure::internal)?;
        for key in &purged.blobs {
            blobs.delete(key).await.map_err(Failure::internal)?;
        }
        outputs += purged.outputs;
        records += purged.records;
        uploads += purged.uploads;
        pipelines += purged.pipelines;
        if !purged.more {
            return Ok(format!("removed the outputs of {outputs} jobs, {records} records, {uploads} uploads and {pipelines} pipelines"));
        }
    }
}
