//! Pipelines of any shape, whose jobs end any way, looked at by several at once who may be gone in the middle of it: every step
//! becomes exactly the jobs that a few lines of arithmetic say, each once. What has failed is mended then, and the pipeline runs again: the
//! same arithmetic says what is there at the second end.

use crate::support::records::finish;
use crate::support::redis::fresh_store;
use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use millrace::blobs::Staging;
use millrace::blobs::local::LocalBlobs;
use millrace::failure::{Code, Failure};
use millrace::format::Format;
use millrace::intake::{Intake, Telling};
use millrace::job::{JobId, Lease, Output, PipelineId, State};
use millrace::pipeline::{self, PipelineView, StepState, Submission};
use millrace::queue::Queues;
use millrace::store::sqlite::SqliteStore;
use millrace::store::{Filter, Finish, LeaseRequest, OutputDone, Store};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

/// What a step reads; steps are named by their number and read earlier ones.
#[derive(Debug, Clone)]
enum Reads {
    Own,
    Each { from: usize, chunk: usize },
    All { from: usize },
}

#[derive(Debug, Clone)]
struct Step {
    reads: Reads,
    after: Option<usize>,
    /// What becomes of its jobs, by turns: how many files they make; none: they fail.
    fates: Vec<Option<u8>>,
}

#[derive(Debug, Clone)]
enum Verb {
    /// Somebody looks and is gone after so many steps of the way.
    Look { patience: usize },
    /// Two look at once.
    Race,
    /// A job ends.
    Work,
}

fn step() -> impl Strategy<Value = Step> {
    let reads = prop_oneof![
        1 => Just(Reads::Own),
        3 => (0usize..9, 1usize..4).prop_map(|(from, chunk)| Reads::Each { from, chunk }),
        2 => (0usize..9).prop_map(|from| Reads::All { from }),
    ];
    let fate = prop_oneof![9 => (0u8..4).prop_map(Some), 1 => Just(None)];
    (reads, proptest::option::of(0usize..9), proptest::collection::vec(fate, 1..4)).prop_map(|(reads, after, fates)| Step { reads, after, fates })
}

fn verb() -> impl Strategy<Value = Verb> {
    prop_oneof![2 => (0usize..12).prop_map(|patience| Verb::Look { patience }), 1 => Just(Verb::Race), 4 => Just(Verb::Work)]
}

/// Earlier ones only; the first has nothing to read but its own.
fn shaped(mut steps: Vec<Step>) -> Vec<Step> {
    for (n, step) in steps.iter_mut().enumerate() {
        step.after = step.after.filter(|_| n > 0).map(|after| after % n.max(1));
        step.reads = match step.reads.clone() {
            _ if n == 0 => Reads::Own,
            Reads::Own => Reads::Own,
            Reads::Each { from, chunk } => Reads::Each { from: from % n, chunk },
            Reads::All { from } => Reads::All { from: from % n },
        };
    }
    steps
}

fn request(steps: &[Step], upload: &str, on_failure: &str) -> Value {
    let mut fields = BTreeMap::new();
    for (n, step) in steps.iter().enumerate() {
        let mut field = match step.reads {
            Reads::Own => json!({"input": {"upload": upload}, "to": "noop"}),
            Reads::Each { from, chunk: 1 } => json!({"foreach": from.to_string(), "to": "noop"}),
            Reads::Each { from, chunk } => json!({"foreach": from.to_string(), "chunk": chunk, "to": "tar"}),
            Reads::All { from } => json!({"input": {"step": from.to_string()}, "to": "tar"}),
        };
        if let Some(after) = step.after {
            field["after"] = json!([after.to_string()]);
        }
        fields.insert(n.to_string(), field);
    }
    json!({"steps": fields, "on_failure": on_failure})
}

/// Jobs of each step, and items that cannot become one, when every step has its turn.
fn expected(steps: &[Step]) -> Vec<(usize, u64)> {
    let mut made: Vec<usize> = Vec::new();
    let mut expected = Vec::new();
    for step in steps {
        let (jobs, refused) = match step.reads {
            Reads::Own => (1, 0),
            Reads::Each { from, chunk } => (made[from].div_ceil(chunk), 0),
            // Nothing to read; or one file, which no tar is made of.
            Reads::All { from } if made[from] == 0 => (0, 1),
            Reads::All { from } if made[from] == 1 && !matches!(steps[from].reads, Reads::Each { .. }) => (0, 1),
            Reads::All { .. } => (1, 0),
        };
        made.push((0..jobs).map(|n| usize::from(step.fates[n % step.fates.len()].unwrap_or(0))).sum());
        expected.push((jobs, refused));
    }
    expected
}

fn failed(steps: &[Step], expected: &[(usize, u64)]) -> bool {
    let fails = |(step, (jobs, refused)): (&Step, &(usize, u64))| *refused > 0 || (0..*jobs).any(|n| step.fates[n % step.fates.len()].is_none());
    steps.iter().zip(expected).any(fails)
}

struct House {
    store: Arc<dyn Store>,
    intake: Intake,
    now: Timestamp,
    pipeline: PipelineId,
    steps: Vec<Step>,
    expected: Vec<(usize, u64)>,
    _folder: tempfile::TempDir,
}

impl House {
    async fn open(store: Arc<dyn Store>, steps: Vec<Step>, on_failure: &str) -> House {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Arc::new(LocalBlobs::open(&folder.path().join("blobs")).unwrap());
        let staging = Staging::open(&folder.path().join("staging")).unwrap();
        let intake = Intake {
            store: store.clone(),
            blobs,
            staging,
            queues: Arc::new(Queues::load(&[]).unwrap()),
            input_roots: vec![],
            input_blobs: vec![],
            outbound: None,
            telling: Telling::default(),
        };
        let now = Timestamp::now();
        let upload = intake.receive("a.txt", &b"hello"[..], now).await.unwrap();
        let request = serde_json::from_value(request(&steps, &upload.id, on_failure)).unwrap();
        let submission = Submission { request, owner: None, idempotency_key: None };
        let pipeline = pipeline::submit(&intake, None, submission, now).await.unwrap().pipeline.id;
        let expected = expected(&steps);
        House { store, intake, now, pipeline, steps, expected, _folder: folder }
    }

    async fn play(&self, verb: &Verb) {
        match verb {
            Verb::Look { patience } => {
                let mut look = pin!(pipeline::advance(&self.intake, self.pipeline, self.now));
                for _ in 0..*patience {
                    if look.as_mut().now_or_never().is_some() {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            }
            Verb::Race => {
                let look = || pipeline::advance(&self.intake, self.pipeline, self.now);
                let (one, other) = futures::join!(look(), look());
                one.and(other).unwrap();
            }
            Verb::Work => drop(self.work().await),
        }
    }

    /// Ends the next job as its step says; false: there is none.
    async fn work(&self) -> bool {
        let request = LeaseRequest { queue: "archive".into(), worker: "w".into(), max: 1, rate_limit: None, until: Timestamp::MAX, sandbox_level: 3 };
        let Some(record) = self.store.lease(request, self.now).await.unwrap().pop() else { return false };
        let job = &record.job;
        let step: usize = job.step.as_deref().unwrap().parse().unwrap();
        let before = self.jobs(step).await.into_iter().position(|id| id == job.id).unwrap();
        let fates = &self.steps[step].fates;
        let (planned, lease) = (&job.outputs[0], Lease { job: job.id, attempt: job.attempt });
        let fate = fates[before % fates.len()];
        let text = Format::parse("txt").unwrap();
        let entry = |n: u8| Output { name: format!("{n}.txt"), state: State::Succeeded, size_bytes: Some(2), format: text, ..planned.clone() };
        let entries: Vec<Output> = (0..fate.unwrap_or(0)).map(entry).collect();
        let artifacts = entries.iter().map(|e| (e.name.clone(), format!("jobs/{}/1/{}", job.id, e.name))).collect();
        let output = fate.map(|_| OutputDone { group: planned.group.clone(), entries, artifacts });
        let failure = fate.is_none().then(|| Failure::new(Code::ToolFailed, "x"));
        let end = Finish { output, ..finish(lease, failure, None) };
        self.store.finish(end, self.now).await.unwrap().unwrap();
        true
    }

    /// A step's jobs, oldest first.
    async fn jobs(&self, step: usize) -> Vec<JobId> {
        let filter = Filter { pipeline: Some(self.pipeline), step: Some(step.to_string()), limit: 500, ..Filter::default() };
        let mut jobs: Vec<JobId> = self.store.list(filter).await.unwrap().iter().map(|job| job.id).collect();
        jobs.reverse();
        jobs
    }

    async fn view(&self) -> PipelineView {
        pipeline::show(&self.intake, self.pipeline).await.unwrap()
    }

    /// No step has more jobs than its due, and none before its turn.
    async fn assert_nothing_twice(&self) {
        self.assert_no_more_than_due().await;
        let view = self.view().await;
        for n in 0..self.steps.len() {
            let (there, step) = (self.jobs(n).await.len(), &view.steps[&n.to_string()]);
            let all_over = step.needs.iter().all(|needed| view.steps[needed].state == StepState::Over);
            assert!(there == 0 || all_over, "step {n} began before its turn: {view:?}");
        }
    }

    async fn assert_no_more_than_due(&self) {
        for (n, (jobs, _)) in self.expected.iter().enumerate() {
            let there = self.jobs(n).await.len();
            assert!(there <= *jobs, "step {n} has {there} jobs, {jobs} are its due");
        }
    }

    /// Whatever was left half way is taken up by whoever looks next.
    async fn run_to_its_end(&self) {
        loop {
            pipeline::advance(&self.intake, self.pipeline, self.now).await.unwrap();
            if !self.work().await {
                break;
            }
        }
    }

    /// It ended as it must; whether something of it has failed.
    async fn assert_ended(&self, on_failure: &str) -> bool {
        let (view, fails) = (self.view().await, failed(&self.steps, &self.expected));
        if on_failure == "stop" && fails {
            assert_eq!((view.state, view.stats.queued + view.stats.running), (State::Failed, 0), "{view:?}");
            return true;
        }
        let (mut jobs, mut refused) = (Vec::new(), 0);
        for n in 0..self.steps.len() {
            jobs.push(self.jobs(n).await.len());
            refused += self.expected[n].1;
        }
        assert_eq!(jobs, self.expected.iter().map(|(jobs, _)| *jobs).collect::<Vec<_>>());
        assert_eq!(view.errors.iter().filter(|e| e.job.is_none()).count() as u64, refused);
        let state = if view.stats.done == 0 && fails { State::Failed } else { State::Succeeded };
        assert_eq!((view.state, view.partial), (state, fails && state == State::Succeeded), "{view:?}");
        fails
    }

    /// What has failed makes two files from now on.
    fn mend(&mut self) {
        for fate in self.steps.iter_mut().flat_map(|step| &mut step.fates) {
            fate.get_or_insert(2);
        }
        self.expected = expected(&self.steps);
    }

    /// Asked to run again by somebody who is gone after so many steps of the way, and by another if that was too soon.
    async fn retry(&mut self, patience: usize) {
        self.now += SignedDuration::from_secs(1);
        {
            let mut asked = pin!(pipeline::retry(&self.intake, self.pipeline, self.now));
            for _ in 0..patience {
                if asked.as_mut().now_or_never().is_some() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        if self.view().await.state.is_terminal() {
            pipeline::retry(&self.intake, self.pipeline, self.now).await.unwrap();
        }
        self.now += SignedDuration::from_secs(1);
    }
}

/// How it goes: first, and again where something has failed.
#[derive(Debug, Clone)]
struct Acts {
    first: Vec<Verb>,
    patience: usize,
    second: Vec<Verb>,
}

fn acts() -> impl Strategy<Value = Acts> {
    let verbs = || proptest::collection::vec(verb(), 0..30);
    (verbs(), 0usize..30, verbs()).prop_map(|(first, patience, second)| Acts { first, patience, second })
}

async fn play(store: Arc<dyn Store>, steps: Vec<Step>, on_failure: &str, acts: Acts) {
    let mut house = House::open(store, shaped(steps), on_failure).await;
    for verb in acts.first {
        house.play(&verb).await;
        house.assert_nothing_twice().await;
    }
    house.run_to_its_end().await;
    house.assert_nothing_twice().await;
    if !house.assert_ended(on_failure).await {
        return;
    }
    house.mend();
    house.retry(acts.patience).await;
    for verb in acts.second {
        house.play(&verb).await;
        // Jobs that are to be made anew stay for a moment after what they have read was reopened: turns cannot be told from here.
        house.assert_no_more_than_due().await;
    }
    house.run_to_its_end().await;
    house.assert_nothing_twice().await;
    house.assert_ended(on_failure).await;
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn policy() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("stop"), Just("continue")]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn every_step_is_taken_once(
        steps in proptest::collection::vec(step(), 1..6), policy in policy(), acts in acts()
    ) {
        runtime().block_on(play(Arc::new(SqliteStore::in_memory().unwrap()), steps, policy, acts));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    #[test]
    fn every_step_is_taken_once_on_redis(
        steps in proptest::collection::vec(step(), 1..6), policy in policy(), acts in acts()
    ) {
        runtime().block_on(async {
            let (_server, store) = fresh_store().await;
            play(Arc::new(store), steps, policy, acts).await;
        });
    }
}
