//! A job answered from an equal one that has finished: its files are copied, and nothing runs. What came of that one was proven, and is
//! proven for the same bytes.

use super::running::RunningAttempt;
use super::{Engine, publish};
use crate::blobs::BlobError;
use crate::convert::Level;
use crate::job::{Lease, Output, Record, State};
use crate::store::OutputDone;
use futures::StreamExt;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Copies under way at a time.
const TOGETHER: usize = 8;

/// What is still to be made of a job, copied; none: it must be made. `files` counts the attempt's files, as for what it makes itself.
pub async fn answer(engine: &Engine, attempt: &RunningAttempt, record: &Record, files: &AtomicUsize) -> Option<Vec<OutputDone>> {
    let key = record.reuse_key.as_deref()?;
    let equal = engine.store.answer(key).await.unwrap_or_else(|error| {
        tracing::warn!(job = %record.job.id, %error, "it could not be looked for an equal job");
        None
    })?;
    let now = engine.clock.now();
    let (outputs, copies) = renamed(record, &equal, attempt.lease, files, now)?;
    let copied = tokio::select! {
        copied = copy(engine, &copies) => copied,
        () = attempt.stop.cancelled() => return None,
        () = attempt.kill.cancelled() => return None,
    };
    if let Err(error) = copied {
        // A purge was faster, as a rule.
        tracing::info!(job = %record.job.id, %error, "the outputs of an equal job could not be copied");
        for (_, to) in &copies {
            if let Err(error) = engine.blobs.delete(to).await {
                tracing::warn!(%error, key = to, "a copy stays for the cleanup queue");
            }
        }
        return None;
    }
    attempt.log(now, Level::Info, "worker", "an equal job had finished: its outputs were copied, nothing was converted");
    equal.job.input.into_iter().for_each(|input| attempt.media(input.media));
    engine.meters.reused(&record.job);
    Some(outputs)
}

async fn copy(engine: &Engine, copies: &[(String, String)]) -> Result<(), BlobError> {
    let all: Vec<_> = copies.iter().map(|(from, to)| engine.blobs.copy(from, to)).collect();
    let mut all = futures::stream::iter(all).buffer_unordered(TOGETHER);
    while let Some(copied) = all.next().await {
        copied?;
    }
    Ok(())
}

type Copies = Vec<(String, String)>;

/// The equal job's outputs as this job's own, and which blob becomes which; none: they do not match.
fn renamed(record: &Record, equal: &Record, lease: Lease, files: &AtomicUsize, now: Timestamp) -> Option<(Vec<OutputDone>, Copies)> {
    let (own, made) = (groups(&record.job.outputs), groups(&equal.job.outputs));
    if own.len() != made.len() {
        return None;
    }
    let (mut outputs, mut copies) = (Vec::new(), Vec::new());
    for (own, made) in own.into_iter().zip(made) {
        let planned = own.first().filter(|planned| planned.state != State::Succeeded);
        let Some(planned) = planned else { continue };
        let (mut entries, mut artifacts) = (Vec::with_capacity(made.len()), BTreeMap::new());
        for file in made {
            let name = publish::name(record, planned, &entries, made.len() == 1, &file.name);
            let to = Record::artifact_key(lease, files.fetch_add(1, Ordering::Relaxed));
            copies.push((equal.artifacts.get(&file.name)?.clone(), to.clone()));
            artifacts.insert(name.clone(), to);
            entries.push(Output {
                url: Some(publish::url(record.job.id, &name)),
                name,
                group: planned.group.clone(),
                preset: planned.preset.clone(),
                ready_at: Some(now),
                ..file.clone()
            });
        }
        outputs.push(OutputDone { group: planned.group.clone(), entries, artifacts });
    }
    Some((outputs, copies))
}

/// The files of each output.
fn groups(outputs: &[Output]) -> Vec<&[Output]> {
    outputs.chunk_by(|a, b| a.group == b.group).collect()
}
