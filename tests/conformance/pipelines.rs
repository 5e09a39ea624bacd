//! Pipelines: rows that two processes may want to change, and the jobs that belong to them.

use super::{heard, on_every_store};
use crate::support::records::{at, finish, lease_request, new_job, store_of};
use jiff::Timestamp;
use millrace::failure::{Code, Failure};
use millrace::job::{CancelMode, JobId, Lease, Occasion, PipelineId, State, Webhook};
use millrace::store::{
    DeliveryFilter, Filter, Letter, NewJob, Notice, PipelineFilter, PipelineRow, PurgePolicy, StepCounts, Store, StoreError, Target, Told,
};
use std::sync::Arc;

fn row(second: i64) -> PipelineRow {
    PipelineRow {
        id: PipelineId::new(),
        version: 1,
        state: State::Running,
        created_at: at(second),
        finished_at: None,
        owner: None,
        document: "{\"a\": \"ж\\n\"}".into(),
    }
}

fn next(row: &PipelineRow) -> PipelineRow {
    PipelineRow { version: row.version + 1, ..row.clone() }
}

fn ended(row: &PipelineRow, state: State, second: i64) -> PipelineRow {
    PipelineRow { state, finished_at: Some(at(second)), ..next(row) }
}

fn job_of(pipeline: &PipelineRow, step: &str, second: i64) -> NewJob {
    let mut new = new_job(second);
    (new.record.job.pipeline, new.record.job.step) = (Some(pipeline.id), Some(step.into()));
    new
}

fn counts(steps: &[(&str, State, u64)]) -> StepCounts {
    let mut counts = StepCounts::new();
    for (step, state, n) in steps {
        counts.entry((*step).to_owned()).or_default().insert(*state, *n);
    }
    counts
}

async fn put(store: &Arc<dyn Store>, row: PipelineRow, jobs: Vec<NewJob>, second: i64) -> bool {
    store.put_pipeline(row, jobs, None, at(second)).await.unwrap()
}

async fn listed(store: &Arc<dyn Store>, filter: PipelineFilter) -> Vec<PipelineId> {
    store.pipelines(filter).await.unwrap().iter().map(|row| row.id).collect()
}

#[test]
fn a_pipeline_goes_from_one_version_to_the_next_with_its_jobs() {
    on_every_store(|store| async move {
        let first = row(0);
        let (one, late) = (job_of(&first, "a", 0), job_of(&first, "a", 0));
        let (one_id, late_id) = (one.record.job.id, late.record.job.id);
        assert!(put(&store, first.clone(), vec![one], 0).await);
        assert_eq!(store.pipeline(first.id).await.unwrap(), first);
        assert!(!put(&store, first.clone(), vec![late.clone()], 1).await, "it is there already");
        assert!(!put(&store, next(&next(&first)), vec![late.clone()], 1).await, "a version is missing");
        assert!(matches!(store.get(late_id).await, Err(StoreError::NotFound(_))), "nothing was kept of either");
        let mut notices = store.notices();
        assert!(put(&store, PipelineRow { document: "{}".into(), ..next(&first) }, vec![], 1).await);
        heard(&mut notices, Notice::Pipeline(first.id)).await;
        assert!(!put(&store, next(&first), vec![late], 1).await, "somebody was faster");
        let kept = store.pipeline(first.id).await.unwrap();
        assert_eq!((kept.version, kept.document.as_str()), (2, "{}"));
        let job = store.get(one_id).await.unwrap().job;
        assert_eq!((job.pipeline, job.step.as_deref()), (Some(first.id), Some("a")));
        assert!(matches!(store.pipeline(PipelineId::new()).await, Err(StoreError::NotFound("pipeline"))));
    });
}

#[test]
fn a_job_that_cannot_be_inserted_keeps_its_pipeline_where_it_is() {
    on_every_store(|store| async move {
        let first = row(0);
        let mut wrong = job_of(&first, "a", 0);
        wrong.record.job.after = vec![JobId::new()];
        let refused = store.put_pipeline(first.clone(), vec![job_of(&first, "a", 0), wrong], None, at(0)).await;
        assert!(matches!(refused, Err(StoreError::UnknownDependency(_))), "{refused:?}");
        assert!(matches!(store.pipeline(first.id).await, Err(StoreError::NotFound(_))));
        assert_eq!(store.counts().await.unwrap().get("image"), None);
    });
}

#[test]
fn of_many_who_see_the_same_one_goes_on() {
    on_every_store(|store| async move {
        let first = row(0);
        assert!(put(&store, first.clone(), vec![], 0).await);
        let tries = (0..8).map(|_| {
            let (store, row) = (store.clone(), next(&first));
            let jobs = (0..3).map(|_| job_of(&row, "a", 1)).collect();
            tokio::spawn(async move { put(&store, row, jobs, 1).await })
        });
        let won = futures::future::join_all(tries).await.into_iter().filter(|won| *won.as_ref().unwrap()).count();
        assert_eq!((won, store.step_counts(first.id).await.unwrap()), (1, counts(&[("a", State::Queued, 3)])));
    });
}

#[test]
fn jobs_are_counted_by_step_and_state_whatever_becomes_of_them() {
    on_every_store(|store| async move {
        let (first, other) = (row(0), row(0));
        let jobs: Vec<NewJob> = (0..6).map(|n| job_of(&first, if n < 4 { "a" } else { "b" }, 0)).collect();
        let ids: Vec<JobId> = jobs.iter().map(|new| new.record.job.id).collect();
        assert!(put(&store, first.clone(), jobs, 0).await);
        assert!(put(&store, other.clone(), vec![job_of(&other, "a", 0)], 0).await);
        store_of(&store, new_job(0)).await;
        let mut notices = store.notices();
        for record in store.lease(lease_request(3, 40), at(1)).await.unwrap() {
            assert_eq!(record.job.pipeline, Some(first.id));
        }
        assert_eq!(store.step_counts(first.id).await.unwrap(), counts(&[("a", State::Queued, 1), ("a", State::Running, 3), ("b", State::Queued, 2)]));
        let lease = |n: usize, attempt| Lease { job: ids[n], attempt };
        store.finish(finish(lease(0, 1), None, None), at(2)).await.unwrap().unwrap();
        heard(&mut notices, Notice::Pipeline(first.id)).await;
        store.finish(finish(lease(1, 1), Some(Failure::new(Code::Crashed, "x")), None), at(2)).await.unwrap().unwrap();
        store.finish(finish(lease(2, 1), Some(Failure::new(Code::Crashed, "x")), Some(at(50))), at(2)).await.unwrap().unwrap();
        store.cancel(ids[4], CancelMode::Soft, at(2)).await.unwrap();
        store.retry(ids[1], at(3)).await.unwrap();
        let after = [("a", State::Succeeded, 1), ("a", State::Queued, 3), ("b", State::Queued, 1), ("b", State::Cancelled, 1)];
        assert_eq!(store.step_counts(first.id).await.unwrap(), counts(&after));
        store.remove(ids[0]).await.unwrap();
        assert_eq!(store.step_counts(first.id).await.unwrap(), counts(&after[1..]));
        assert_eq!(store.step_counts(other.id).await.unwrap(), counts(&[("a", State::Queued, 1)]));
    });
}

#[test]
fn a_pipelines_jobs_are_found() {
    on_every_store(|store| async move {
        let (first, other) = (row(0), row(0));
        let jobs: Vec<NewJob> = (0..5).map(|n| job_of(&first, if n % 2 == 0 { "a" } else { "b" }, n)).collect();
        let ids: Vec<JobId> = jobs.iter().map(|new| new.record.job.id).collect();
        assert!(put(&store, first.clone(), jobs, 0).await);
        assert!(put(&store, other.clone(), vec![job_of(&other, "a", 0)], 0).await);
        store_of(&store, new_job(9)).await;
        store.cancel(ids[4], CancelMode::Soft, at(10)).await.unwrap();
        let (store, pipeline) = (&store, Filter { pipeline: Some(first.id), ..Filter::default() });
        let list = |filter: Filter| async move { store.list(Filter { limit: 3, ..filter }).await.unwrap().iter().map(|j| j.id).collect::<Vec<_>>() };
        let of = |wanted: &[usize]| wanted.iter().map(|n| ids[*n]).collect::<Vec<_>>();
        assert_eq!(list(pipeline.clone()).await, of(&[4, 3, 2]));
        assert_eq!(list(Filter { before: Some(ids[2]), ..pipeline.clone() }).await, of(&[1, 0]));
        assert_eq!(list(Filter { step: Some("b".into()), ..pipeline.clone() }).await, of(&[3, 1]));
        assert_eq!(list(Filter { state: Some(State::Queued), step: Some("a".into()), ..pipeline.clone() }).await, of(&[2, 0]));
        assert_eq!(list(Filter { queue: Some("video".into()), ..pipeline.clone() }).await, of(&[]));
        assert_eq!(list(Filter { text: Some("pict".into()), before: Some(ids[2]), ..pipeline.clone() }).await, of(&[1, 0]));
        assert_eq!(list(Filter { text: Some("picture.png".into()), step: Some("b".into()), ..pipeline.clone() }).await, of(&[3, 1]));
        assert_eq!(list(Filter { since: Some(at(1)), until: Some(at(3)), ..pipeline.clone() }).await, of(&[2, 1]));
        assert_eq!(list(Filter { pipeline: Some(PipelineId::new()), ..Filter::default() }).await, of(&[]));
    });
}

#[test]
fn pipelines_are_listed_by_state_and_their_ends_are_told() {
    on_every_store(|store| async move {
        let rows: Vec<PipelineRow> = (0..4).map(row).collect();
        for row in &rows {
            assert!(put(&store, row.clone(), vec![], 0).await);
        }
        assert!(put(&store, ended(&rows[1], State::Failed, 5), vec![], 5).await);
        let list = |state, before, limit| listed(&store, PipelineFilter { state, before, limit, owner: None });
        let of = |wanted: &[usize]| wanted.iter().map(|n| rows[*n].id).collect::<Vec<_>>();
        assert_eq!(list(None, None, 3).await, of(&[3, 2, 1]));
        assert_eq!(list(None, Some(rows[1].id), 3).await, of(&[0]));
        assert_eq!(list(Some(State::Running), None, 9).await, of(&[3, 2, 0]));
        assert_eq!(list(Some(State::Running), Some(rows[1].id), 9).await, of(&[0]));
        assert_eq!(list(Some(State::Failed), None, 9).await, of(&[1]));
        let end = store.pipeline(rows[1].id).await.unwrap();
        assert_eq!((end.state, end.finished_at, end.created_at), (State::Failed, Some(at(5)), at(1)));
        let told: Vec<_> = store.events(0, None, 99).await.unwrap().into_iter().map(|e| (e.kind, e.detail["state"].clone())).collect();
        assert_eq!(told.last().unwrap(), &("pipeline".to_owned(), serde_json::json!("failed")));
        assert_eq!(told.len(), 5);
    });
}

#[test]
fn nothing_of_a_pipeline_that_runs_is_purged_and_all_of_it_goes_in_the_end() {
    on_every_store(|store| async move {
        let first = row(0);
        let jobs: Vec<NewJob> = (0..3).map(|_| job_of(&first, "a", 0)).collect();
        let ids: Vec<JobId> = jobs.iter().map(|new| new.record.job.id).collect();
        assert!(put(&store, first.clone(), jobs, 0).await);
        let alone = store_of(&store, new_job(0)).await;
        for id in ids.iter().chain([&alone]) {
            store.cancel(*id, CancelMode::Soft, at(1)).await.unwrap();
        }
        let purge = |limit, now: Timestamp| {
            let policy =
                PurgePolicy { outputs_before: [("image".to_owned(), now)].into(), records_before: [("image".to_owned(), now)].into(), limit };
            let store = &store;
            async move { store.purge(policy, now).await.unwrap() }
        };
        let purged = purge(2, at(100)).await;
        assert_eq!((purged.records, purged.pipelines, purged.more), (1, 0, false), "only the one that is in no pipeline");
        assert!(put(&store, ended(&first, State::Cancelled, 101), vec![], 101).await);
        let purged = purge(2, at(200)).await;
        assert_eq!((purged.records, purged.pipelines, purged.more), (2, 0, true), "the row stays as long as a job does");
        let purged = purge(2, at(200)).await;
        assert_eq!((purged.records, purged.pipelines), (1, 1));
        assert!(matches!(store.pipeline(first.id).await, Err(StoreError::NotFound(_))));
        assert_eq!(
            (store.step_counts(first.id).await.unwrap(), listed(&store, PipelineFilter { limit: 9, ..PipelineFilter::default() }).await),
            (StepCounts::new(), vec![])
        );
        // One that never had a job.
        let bare = row(300);
        assert!(put(&store, bare.clone(), vec![], 300).await);
        assert!(put(&store, ended(&bare, State::Failed, 301), vec![], 301).await);
        assert_eq!(purge(2, at(301)).await.pipelines, 0);
        assert_eq!(purge(2, at(302)).await.pipelines, 1);
    });
}

#[test]
fn a_key_stands_for_one_pipeline() {
    on_every_store(|store| async move {
        let key = |key: &str, digest: &str| Some((key.to_owned(), digest.to_owned()));
        let (first, again, other) = (row(0), row(1), row(2));
        assert_eq!(store.begin_pipeline(first.clone(), key("k", "d"), at(0)).await.unwrap(), first.id);
        assert_eq!(store.begin_pipeline(again.clone(), key("k", "d"), at(1)).await.unwrap(), first.id);
        assert_eq!(store.pipeline(first.id).await.unwrap(), first);
        assert!(matches!(store.pipeline(again.id).await, Err(StoreError::NotFound("pipeline"))));
        let mismatch = store.begin_pipeline(again.clone(), key("k", "e"), at(1)).await;
        assert!(matches!(mismatch, Err(StoreError::IdempotencyMismatch)), "{mismatch:?}");
        assert_eq!(store.begin_pipeline(other.clone(), None, at(2)).await.unwrap(), other.id);
        // A job's key is another thing.
        let job = NewJob { idempotency: key("k", "job"), ..new_job(3) };
        store.insert(vec![job], at(3)).await.unwrap();
        // What was purged is stood for by nothing.
        assert!(put(&store, ended(&first, State::Failed, 5), vec![], 5).await);
        let policy = PurgePolicy { outputs_before: [].into(), records_before: [("image".to_owned(), at(9))].into(), limit: 9 };
        assert_eq!(store.purge(policy, at(9)).await.unwrap().pipelines, 1);
        assert_eq!(store.begin_pipeline(again.clone(), key("k", "e"), at(10)).await.unwrap(), again.id);
    });
}

#[test]
fn a_token_finds_its_own_pipelines() {
    on_every_store(|store| async move {
        let of = |owner: Option<&str>, second| PipelineRow { owner: owner.map(str::to_owned), ..row(second) };
        let (hers, his, nobodys) = ([of(Some("a"), 0), of(Some("a"), 1), of(Some("a"), 2)], of(Some("b"), 3), of(None, 4));
        for row in hers.iter().chain([&his, &nobodys]) {
            store.begin_pipeline(row.clone(), None, at(5)).await.unwrap();
        }
        assert!(put(&store, ended(&hers[1], State::Failed, 6), vec![], 6).await);
        assert_eq!(store.pipeline(hers[1].id).await.unwrap().owner.as_deref(), Some("a"));
        let list = |state, before, limit| listed(&store, PipelineFilter { state, owner: Some("a".into()), before, limit });
        assert_eq!(list(None, None, 9).await, [hers[2].id, hers[1].id, hers[0].id]);
        assert_eq!(list(None, Some(hers[2].id), 1).await, [hers[1].id]);
        assert_eq!(list(Some(State::Running), None, 9).await, [hers[2].id, hers[0].id]);
        // One that goes on again is in no list of those that ended, and nothing purges it.
        let again = PipelineRow { state: State::Running, finished_at: None, ..next(&next(&hers[1])) };
        assert!(put(&store, again.clone(), vec![], 7).await);
        assert_eq!(store.pipeline(again.id).await.unwrap(), again);
        assert_eq!((list(Some(State::Failed), None, 9).await, list(Some(State::Running), None, 9).await.len()), (vec![], 3));
        let policy = PurgePolicy { outputs_before: [].into(), records_before: [("image".to_owned(), at(99))].into(), limit: 9 };
        assert_eq!(store.purge(policy.clone(), at(99)).await.unwrap().pipelines, 0);
        assert!(put(&store, ended(&again, State::Failed, 50), vec![], 50).await);
        assert_eq!(store.purge(policy, at(99)).await.unwrap().pipelines, 1);
        assert_eq!(list(None, None, 9).await, [hers[2].id, hers[0].id]);
    });
}

#[test]
fn an_end_is_told_once_however_many_see_it() {
    on_every_store(|store| async move {
        let first = row(0);
        assert!(put(&store, first.clone(), vec![], 0).await);
        let webhook = Webhook { url: "https://site.example/hook".into(), events: vec![Occasion::Failed] };
        let told = serde_json::json!({"id": first.id, "stats": {"failed": 1}});
        let letter = |state| Letter::of_pipeline(first.id, state, &webhook, told.clone(), at(5));
        assert!(letter(State::Succeeded).is_none() && letter(State::Running).is_none(), "nobody wants to hear of it");
        let tries = (0..8).map(|_| {
            let (store, row, letter) = (store.clone(), ended(&first, State::Failed, 5), letter(State::Failed));
            tokio::spawn(async move { store.put_pipeline(row, vec![], letter, at(5)).await.unwrap() })
        });
        let won = futures::future::join_all(tries).await.into_iter().filter(|won| *won.as_ref().unwrap()).count();
        let taken = store.take_due(9, at(40), at(6)).await.unwrap();
        assert_eq!((won, taken.len(), store.take_due(9, at(40), at(6)).await.unwrap().len()), (1, 1, 0));
        let (delivery, is_off) = (&taken[0].delivery, taken[0].is_off);
        assert_eq!((delivery.event, delivery.pipeline, delivery.job, delivery.queue.as_str()), (Occasion::Failed, Some(first.id), None, ""));
        assert_eq!((&delivery.target, is_off), (&Target::Webhook { url: webhook.url.clone() }, false));
        assert_eq!(taken[0].told, Told::Pipeline(told));
        let of = |pipeline| DeliveryFilter { pipeline: Some(pipeline), limit: 9, ..DeliveryFilter::default() };
        assert_eq!(store.deliveries(of(first.id)).await.unwrap().len(), 1);
        assert_eq!(store.deliveries(of(PipelineId::new())).await.unwrap(), []);
        assert_eq!(store.delivery(&delivery.id).await.unwrap().told, taken[0].told);
    });
}
