//! Uploads, jobs and outputs come and go over days while the purges run at any moment: what a waiting or running job needs is
//! never touched, and in the end nothing is left that nobody needs.

use crate::support::records::finish;
use crate::support::redis::fresh_store;
use jiff::{SignedDuration, Timestamp};
use millrace::blobs::local::LocalBlobs;
use millrace::blobs::{Blobs, Staging, StagingFolder};
use millrace::cleanup::{self, PURGE_RECORDS, PURGE_STAGING};
use millrace::format::Format;
use millrace::intake::{InputRef, Intake, Request, Telling};
use millrace::job::{JobId, Lease, Output, Record, Source, State};
use millrace::queue::Queues;
use millrace::store::sqlite::SqliteStore;
use millrace::store::{LeaseRequest, OutputDone, Store};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

#[derive(Debug, Clone)]
enum Verb {
    Submit,
    /// A job whose input is the output of another one.
    SubmitOn {
        pick: usize,
    },
    Start,
    Publish {
        pick: usize,
    },
    /// The worker is gone: its folder stays.
    Die {
        pick: usize,
    },
    Finish {
        pick: usize,
    },
    Remove {
        pick: usize,
    },
    Wait {
        hours: i64,
    },
    Purge {
        staging: bool,
    },
}

fn verb() -> impl Strategy<Value = Verb> {
    let pick = || 0usize..6;
    prop_oneof![
        3 => Just(Verb::Submit),
        3 => pick().prop_map(|pick| Verb::SubmitOn { pick }),
        4 => Just(Verb::Start),
        4 => pick().prop_map(|pick| Verb::Publish { pick }),
        1 => pick().prop_map(|pick| Verb::Die { pick }),
        3 => pick().prop_map(|pick| Verb::Finish { pick }),
        1 => pick().prop_map(|pick| Verb::Remove { pick }),
        4 => prop_oneof![Just(1i64), Just(30), Just(24 * 8), Just(24 * 31)].prop_map(|hours| Verb::Wait { hours }),
        4 => any::<bool>().prop_map(|staging| Verb::Purge { staging }),
    ]
}

/// The engine's parts without a worker: the test plays the worker.
struct House {
    intake: Intake,
    store: Arc<dyn Store>,
    blobs: Arc<dyn Blobs>,
    now: Timestamp,
    jobs: Vec<JobId>,
    /// The attempts under way, with their folders.
    running: HashMap<JobId, (Lease, StagingFolder)>,
    folder: tempfile::TempDir,
}

impl House {
    fn open(store: Arc<dyn Store>) -> House {
        let folder = tempfile::tempdir().unwrap();
        let blobs: Arc<dyn Blobs> = Arc::new(LocalBlobs::open(&folder.path().join("blobs")).unwrap());
        let staging = Staging::open(&folder.path().join("staging")).unwrap();
        let queues = Arc::new(Queues::load(&[]).unwrap());
        let telling = Telling::default();
        let intake =
            Intake { store: store.clone(), blobs: blobs.clone(), staging, queues, input_roots: vec![], input_blobs: vec![], outbound: None, telling };
        House { intake, store, blobs, now: Timestamp::now(), jobs: vec![], running: HashMap::new(), folder }
    }

    async fn play(&mut self, verb: Verb) {
        match verb {
            Verb::Submit => {
                let upload = self.intake.receive("a.txt", &b"hello"[..], self.now).await.unwrap();
                self.submit(InputRef::Upload(upload.id)).await;
            }
            Verb::SubmitOn { pick } => {
                let mut made = Vec::new();
                for job in &self.jobs {
                    made.extend(self.store.get(*job).await.ok().filter(|r| !r.artifacts.is_empty()).map(|r| r.job.id));
                }
                if let Some(job) = made.get(pick % made.len().max(1)).copied() {
                    self.submit(InputRef::Job { job, output: None }).await;
                }
            }
            Verb::Start => {
                let until = Timestamp::MAX;
                let request = LeaseRequest { queue: "archive".into(), worker: "w".into(), max: 1, rate_limit: None, until, sandbox_level: 3 };
                for record in self.store.lease(request, self.now).await.unwrap() {
                    let lease = Lease { job: record.job.id, attempt: record.job.attempt };
                    self.running.insert(lease.job, (lease, self.intake.staging.for_attempt(lease).unwrap()));
                }
            }
            Verb::Publish { pick } => self.publish(pick).await,
            Verb::Die { pick } => {
                let Some(job) = self.picked(pick) else { return };
                let (lease, folder) = self.running.remove(&job).unwrap();
                // Its guard does not run: the process is no more.
                std::mem::forget(folder);
                self.store.release(lease, vec![], self.now).await.unwrap().unwrap();
            }
            Verb::Finish { pick } => {
                let Some(job) = self.picked(pick) else { return };
                let (lease, _folder) = self.running.remove(&job).unwrap();
                let end = finish(lease, None, None);
                self.store.finish(end, self.now).await.unwrap().unwrap();
            }
            Verb::Remove { pick } => {
                let Some(job) = self.jobs.get(pick).copied() else { return };
                // Refused while it waits or runs, and gone already after a purge.
                for key in self.store.remove(job).await.unwrap_or_default() {
                    self.blobs.delete(&key).await.unwrap();
                }
            }
            Verb::Wait { hours } => self.now += SignedDuration::from_hours(hours),
            Verb::Purge { staging } => self.purge(if staging { PURGE_STAGING } else { PURGE_RECORDS }).await,
        }
    }

    async fn submit(&mut self, input: InputRef) {
        let inserted = self.intake.submit(Request::new(input, Format::parse("noop")), None, self.now).await.unwrap();
        self.jobs.push(inserted.job().id);
    }

    /// One of the running jobs.
    fn picked(&self, pick: usize) -> Option<JobId> {
        let running: Vec<_> = self.jobs.iter().filter(|id| self.running.contains_key(id)).collect();
        running.get(pick % running.len().max(1)).map(|id| **id)
    }

    async fn publish(&self, pick: usize) {
        let Some(job) = self.picked(pick) else { return };
        let (lease, folder) = &self.running[&job];
        let planned = self.store.get(job).await.unwrap().job.outputs[0].clone();
        let (made, key) = (folder.path().join("made"), Record::artifact_key(*lease, 0));
        std::fs::write(&made, "ok").unwrap();
        self.blobs.publish(&made, &key).await.unwrap();
        // Text, so that another job can take it as its input.
        let entry = Output { state: State::Succeeded, size_bytes: Some(2), format: Format::parse("txt").unwrap(), ..planned };
        let artifacts = BTreeMap::from([(entry.name.clone(), key)]);
        let done = OutputDone { group: entry.group.clone(), entries: vec![entry], artifacts };
        self.store.output_done(*lease, done, self.now).await.unwrap().unwrap();
    }

    async fn purge(&self, job: &str) {
        let Intake { staging, queues, .. } = &self.intake;
        cleanup::run(&self.store, &self.blobs, staging, queues, &self.folder.path().join("tus"), job, self.now).await.unwrap();
    }

    /// What live jobs need is there.
    async fn assert_untouched(&self) {
        for id in &self.jobs {
            let Ok(record) = self.store.get(*id).await else { continue };
            if record.job.state.is_terminal() {
                continue;
            }
            if let Some(Source::Blob(key)) = &record.source {
                assert!(self.blobs.open(key, None).await.is_ok(), "the input {key} of a {:?} job is gone", record.job.state);
            }
            for key in record.artifacts.values() {
                assert!(self.blobs.open(key, None).await.is_ok(), "the output {key} of a {:?} job is gone", record.job.state);
            }
        }
        for (lease, folder) in self.running.values() {
            assert!(folder.path().is_dir(), "the folder of {lease:?} is gone");
        }
    }

    /// Once everything has ended and its time has passed, nothing is left.
    async fn assert_all_goes(mut self) {
        while let Some(job) = self.picked(0) {
            let (lease, _folder) = self.running.remove(&job).unwrap();
            self.store.release(lease, vec![], self.now).await.unwrap().unwrap();
        }
        self.store.purge_queue("archive", self.now).await.unwrap();
        self.now += SignedDuration::from_hours(24 * 365);
        for job in [PURGE_RECORDS, PURGE_STAGING] {
            self.purge(job).await;
        }
        assert_eq!(self.intake.staging.count().unwrap(), 0);
        assert_eq!(self.blobs.list_stale(Timestamp::MAX).await.unwrap(), Vec::<String>::new());
        assert!(self.folder.path().exists());
    }
}

async fn play(store: Arc<dyn Store>, verbs: Vec<Verb>) {
    let mut house = House::open(store);
    for verb in verbs {
        house.play(verb).await;
        house.assert_untouched().await;
    }
    house.assert_all_goes().await;
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn a_purge_never_takes_what_a_live_job_needs(verbs in proptest::collection::vec(verb(), 10..60)) {
        runtime().block_on(play(Arc::new(SqliteStore::in_memory().unwrap()), verbs));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    #[test]
    fn a_purge_on_redis_never_takes_what_a_live_job_needs(verbs in proptest::collection::vec(verb(), 10..60)) {
        runtime().block_on(async {
            let (_server, store) = fresh_store().await;
            play(Arc::new(store), verbs).await;
        });
    }
}
