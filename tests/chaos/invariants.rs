//! What holds after the fire, whatever has burnt.

use super::load::{Accepted, Kind};
use super::site::{Machine, PREFIX, Site};
use crate::support::process::{Below, assert_no_orphans};
use crate::support::s3;
use crate::support::server::DEADLINE;
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use millrace::blobs::s3::S3Blobs;
use millrace::blobs::{Blobs, Cache, Staging};
use millrace::cleanup::{self, PURGE_RECORDS, PURGE_STAGING};
use millrace::failure::Code;
use millrace::job::{Job, Record, State};
use millrace::queue::Queues;
use millrace::store::Store;
use millrace::store::redis::RedisStore;
use millrace::store::transition::RECOVERIES_MAX;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LOOKS_AT_ONCE: usize = 8;
const ENDS: [&str; 3] = ["succeeded", "failed", "cancelled"];

/// The site's rows and bytes, seen by somebody who has taken no part.
pub struct Witness {
    store: Arc<dyn Store>,
    blobs: Arc<dyn Blobs>,
    staging: Staging,
    queues: Queues,
    _folder: tempfile::TempDir,
}

impl Witness {
    pub async fn of(site: &Site) -> Witness {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("cache"), 1 << 20).unwrap();
        Witness {
            store: Arc::new(RedisStore::open(&site.redis.url(PREFIX)).await.unwrap()),
            blobs: Arc::new(S3Blobs::open(s3::BUCKET, s3::PREFIX, site.s3.variables(), cache).await.unwrap()),
            staging: Staging::open(&folder.path().join("staging")).unwrap(),
            queues: Queues::load(&[]).unwrap(),
            _folder: folder,
        }
    }

    /// The queue drains, and each job has ended as its kind must. Returns how many ended how.
    pub async fn assert_ended(&self, site: &Site, accepted: &[Accepted]) -> BTreeMap<&'static str, usize> {
        let live = |queue: &serde_json::Value| queue["jobs"]["queued"].as_u64().unwrap() + queue["jobs"]["running"].as_u64().unwrap();
        site.api.until("/v1/queues", |queues| queues.as_array().unwrap().iter().map(live).sum::<u64>() == 0).await;
        let looks = futures::stream::iter(accepted).map(|job| self.end_of(site, job)).buffer_unordered(LOOKS_AT_ONCE);
        looks
            .fold(BTreeMap::new(), async |mut ends, end| {
                *ends.entry(end).or_default() += 1;
                ends
            })
            .await
    }

    async fn end_of(&self, site: &Site, Accepted { id, kind }: &Accepted) -> &'static str {
        let record = self.store.get(id.parse().unwrap()).await.unwrap_or_else(|e| panic!("{id} was accepted: {e}"));
        assert_fate(&record.job, *kind);
        assert_attempts(&record.job);
        self.assert_events(&record.job).await;
        assert_outputs(site, &record).await;
        end_of(&record.job)
    }

    /// Each job that was ever accepted is there, once, and no other one.
    pub async fn assert_all_counted(&self, accepted: &[Accepted]) {
        assert_eq!(accepted.iter().map(|a| &a.id).collect::<BTreeSet<_>>().len(), accepted.len(), "an id was given twice");
        let counts = self.store.counts().await.unwrap();
        let ours = counts.iter().filter(|(queue, _)| *queue != "cleanup");
        assert_eq!(ours.map(|(_, states)| states.values().sum::<u64>()).sum::<u64>(), accepted.len() as u64, "{counts:?}");
    }

    async fn assert_events(&self, job: &Job) {
        let events = self.store.events(0, Some(job.id), 1000).await.unwrap();
        let count = |kinds: &[&str]| events.iter().filter(|event| kinds.contains(&event.kind.as_str())).count();
        assert_eq!((count(&ENDS), count(&[job.state.as_str()])), (1, 1), "{events:?}");
        assert_eq!(events.last().map(|event| event.kind.as_str()), Some(job.state.as_str()), "nothing comes after the end: {events:?}");
        assert_eq!(count(&["started"]), job.attempts.len(), "{events:?}");
    }

    /// After a cleanup every blob belongs to somebody.
    pub async fn assert_no_orphan_blobs(&self, accepted: &[Accepted]) {
        self.cleanup(PURGE_STAGING, SignedDuration::from_hours(2)).await;
        let mut owned = BTreeSet::new();
        for Accepted { id, .. } in accepted {
            owned.extend(self.store.get(id.parse().unwrap()).await.unwrap().artifacts.into_values());
        }
        let there: BTreeSet<String> = self.blobs.list_stale(Timestamp::MAX).await.unwrap().into_iter().collect();
        for key in there.difference(&owned) {
            let upload = key.strip_prefix("uploads/").unwrap_or_else(|| panic!("{key} is nobody's"));
            assert!(self.store.upload(upload).await.is_ok(), "{key} is nobody's");
        }
        assert_eq!(owned.difference(&there).next(), None);
    }

    /// When all has been kept for long enough, nothing is left.
    pub async fn assert_all_goes(&self) {
        for job in [PURGE_RECORDS, PURGE_STAGING] {
            self.cleanup(job, SignedDuration::from_hours(24 * 365)).await;
        }
        assert_eq!(self.blobs.list_stale(Timestamp::MAX).await.unwrap(), Vec::<String>::new());
    }

    async fn cleanup(&self, job: &str, later: SignedDuration) {
        cleanup::run(&self.store, &self.blobs, &self.staging, &self.queues, Path::new("none"), job, Timestamp::now() + later).await.unwrap();
    }
}

/// Nobody has ended who was not killed, and nothing that they started for a job is left.
pub async fn assert_idle(site: &Site) {
    assert!(site.api.is_alive(), "{}", site.api.log());
    until_idle(|| site.api.processes()).await;
    for Machine { worker, .. } in &site.workers {
        assert!(worker.is_alive(), "{}", worker.log());
        until_idle(|| worker.processes()).await;
    }
}

/// What has just ended may not be reaped yet.
async fn until_idle(processes: impl Fn() -> Vec<Below>) {
    let deadline = Instant::now() + DEADLINE;
    while let Some(left) = processes().into_iter().find(|below| below.depth >= 3 || below.is_zombie) {
        assert!(Instant::now() < deadline, "{left:?} is left of {:?}", processes());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// All processes end as they are told, with nothing staged and nothing left.
pub fn assert_ends_well(site: Site) {
    let Site { api, workers, .. } = site;
    for Machine { worker, link } in workers {
        worker.terminate();
        // It gives its jobs back over this.
        drop(link);
    }
    api.stop();
    assert_no_orphans();
}

/// An output is there exactly if it succeeded, and is what its record says.
async fn assert_outputs(site: &Site, record: &Record) {
    let job = &record.job;
    for output in &job.outputs {
        let succeeded = output.state == State::Succeeded;
        assert!(succeeded || job.state != State::Succeeded, "{job:?}");
        assert_eq!(record.artifacts.contains_key(&output.name), succeeded, "{record:?}");
        let answer = site.api.get(&format!("/v1/jobs/{}/outputs/{}", job.id, output.name)).await;
        assert_eq!(answer.status() == 200, succeeded, "{} {job:?}", answer.status());
        if succeeded {
            let bytes = answer.bytes().await.unwrap();
            assert_eq!(Some(bytes.len() as u64), output.size_bytes, "{job:?}");
            assert_eq!(Some(hex::encode(Sha256::digest(&bytes))), output.sha256, "{job:?}");
        }
    }
}

/// A job that takes its workers down with it is given up; every other one ends by its kind.
fn assert_fate(job: &Job, kind: Kind) {
    let wanted = match kind {
        Kind::Noop | Kind::Picture | Kind::TwoPictures | Kind::Archive | Kind::Files => State::Succeeded,
        Kind::BrokenPicture | Kind::BrokenArchive => State::Failed,
        Kind::Endless => State::Cancelled,
    };
    let given_up = end_of(job) == "given up" && job.recoveries == RECOVERIES_MAX;
    assert!(job.state == wanted || given_up, "{kind:?}: {job:?}");
    if wanted == State::Failed && !given_up {
        assert_eq!(job.error.as_ref().map(|e| e.code), Some(Code::CorruptInput), "{job:?}");
    }
}

fn end_of(job: &Job) -> &'static str {
    match job.error.as_ref().map(|e| e.code) {
        Some(Code::WorkerLost) => "given up",
        _ => job.state.as_str(),
    }
}

/// Numbered without a gap, each with its end, and no more than the limits let there be.
fn assert_attempts(job: &Job) {
    let numbers: Vec<u32> = job.attempts.iter().map(|a| a.number).collect();
    assert_eq!(numbers, (1..=job.attempt).collect::<Vec<_>>(), "{job:?}");
    let causes = |cause: &str| job.attempts.iter().filter(|a| a.cause.as_deref() == Some(cause)).count() as u32;
    assert!(job.attempts.iter().all(|a| a.cause.is_some() && a.finished_at.is_some()), "{job:?}");
    assert_eq!(causes(Code::WorkerLost.as_str()), job.recoveries, "{job:?}");
    assert!(job.recoveries <= RECOVERIES_MAX && job.failures <= job.max_attempts, "{job:?}");
    assert!(job.attempt <= job.failures + job.recoveries + causes("interrupted") + 1, "{job:?}");
}
