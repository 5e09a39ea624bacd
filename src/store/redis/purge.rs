//! Forgets what is past its time, in small bites between which leases go on: the server works at nothing else while it works at one.

use super::RedisStore;
use super::change::{Change, Outcome, pipeline};
use super::jobs::{Removal, removal};
use super::scripts::{FORGET_TURNS, PAST, PURGE_EVENTS, PURGE_PIPELINES, PURGE_UPLOADS};
use super::stored::{Stored, decode};
use super::{milliseconds, read_all};
use crate::job::Upload;
use crate::store::{PurgePolicy, Purged, Result, document, transition};
use ::redis::cmd;
use jiff::{SignedDuration, Timestamp};

/// How long events can be read back.
const EVENTS_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Entries of the stream of events in one bite, some events each.
const EVENTS_BITE: usize = 50;
/// Jobs forgotten in one bite: about a millisecond.
const BITE: usize = 10;

/// Idempotency keys end by themselves.
pub async fn purge(store: &RedisStore, policy: &PurgePolicy, now: Timestamp) -> Result<Purged> {
    let mut purged = Purged::default();
    outputs(store, policy, now, &mut purged).await?;
    records(store, policy, &mut purged).await?;
    uploads(store, policy.limit, now, &mut purged).await?;
    // The rest is looked through once, when the jobs are gone.
    if purged.more {
        return Ok(purged);
    }
    pipelines(store, policy, &mut purged).await?;
    store.link().ask_one(&FORGET_TURNS.call(store.link().prefix())).await?;
    store.purge_letters(now).await?;
    store.purge_audit(now).await?;
    events(store, now.saturating_sub(EVENTS_KEPT).unwrap_or(Timestamp::MIN)).await?;
    Ok(purged)
}

async fn outputs(store: &RedisStore, policy: &PurgePolicy, now: Timestamp, purged: &mut Purged) -> Result<()> {
    for (queue, before) in &policy.outputs_before {
        let found = past(store, "bytes", queue, *before, policy.limit).await?;
        let mut changes: Vec<_> = found.into_iter().map(|stored| (stored, Change::default())).collect();
        let keys: Vec<Vec<String>> = changes.iter_mut().map(|(stored, _)| transition::forget_outputs(&mut stored.record)).collect();
        for (changes, keys) in changes.chunks(BITE).zip(keys.chunks(BITE)) {
            let outcomes = store.commit(changes, now).await?;
            let done = keys.iter().zip(outcomes).filter(|(_, outcome)| matches!(outcome, Outcome::Done));
            let done: Vec<&Vec<String>> = done.map(|(keys, _)| keys).collect();
            purged.outputs += done.len();
            purged.blobs.extend(unneeded(store, done.into_iter().flatten().cloned().collect()).await?);
        }
    }
    purged.more |= purged.outputs >= policy.limit;
    Ok(())
}

/// Those blobs that no waiting or running job reads; the orphan search finds the others later.
async fn unneeded(store: &RedisStore, keys: Vec<String>) -> Result<Vec<String>> {
    if keys.is_empty() {
        return Ok(keys);
    }
    let users: Vec<Option<u64>> = decode(store.link().ask_one(cmd("HMGET").arg(store.link().key("borrowed")).arg(&keys)).await?)?;
    Ok(keys.into_iter().zip(users).filter_map(|(key, users)| users.is_none().then_some(key)).collect())
}

async fn records(store: &RedisStore, policy: &PurgePolicy, purged: &mut Purged) -> Result<()> {
    for (queue, before) in &policy.records_before {
        let ended = past(store, "ended", queue, *before, policy.limit).await?;
        let calls: Vec<_> = ended.iter().map(|stored| store.remove_call(stored)).collect();
        for calls in calls.chunks(BITE) {
            for answer in store.link().ask(|_| pipeline(calls)).await? {
                if let Removal::Done(keys) = removal(answer)? {
                    purged.blobs.extend(keys);
                    purged.records += 1;
                }
            }
        }
    }
    purged.more |= purged.records >= policy.limit;
    Ok(())
}

/// Ended jobs of a queue's index that are past their time.
async fn past(store: &RedisStore, index: &str, queue: &str, before: Timestamp, limit: usize) -> Result<Vec<Stored>> {
    let call = PAST.call(store.link().prefix()).arg(format!(":{index}:{queue}")).arg(milliseconds(before)).arg(limit).clone();
    read_all(decode(store.link().ask_one(&call).await?)?)
}

/// Those of which no job is left.
async fn pipelines(store: &RedisStore, policy: &PurgePolicy, purged: &mut Purged) -> Result<()> {
    let Some(before) = policy.pipelines_before() else { return Ok(()) };
    let call = PURGE_PIPELINES.call(store.link().prefix()).arg(milliseconds(before)).arg(policy.limit).clone();
    purged.pipelines = decode(store.link().ask_one(&call).await?)?;
    purged.more |= purged.pipelines >= policy.limit;
    Ok(())
}

async fn uploads(store: &RedisStore, limit: usize, now: Timestamp, purged: &mut Purged) -> Result<()> {
    let call = PURGE_UPLOADS.call(store.link().prefix()).arg(milliseconds(now)).arg(limit).clone();
    let expired: Vec<String> = decode(store.link().ask_one(&call).await?)?;
    for text in &expired {
        purged.blobs.push(document::parse::<Upload>(text)?.blob_key());
    }
    purged.uploads = expired.len();
    purged.more |= expired.len() >= limit;
    Ok(())
}

async fn events(store: &RedisStore, before: Timestamp) -> Result<()> {
    loop {
        let call = PURGE_EVENTS.call(store.link().prefix()).arg(milliseconds(before)).arg(EVENTS_BITE).clone();
        let gone: usize = decode(store.link().ask_one(&call).await?)?;
        if gone < EVENTS_BITE {
            return Ok(());
        }
    }
}
