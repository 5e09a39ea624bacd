//! Letters that transitions write.

use super::{heard, on_every_store};
use crate::support::records::{at, finish, lease_request, new_job, store_of};
use millrace::failure::{Code, Failure};
use millrace::job::{CancelMode, HookKind, Job, JobId, Lease, Occasion, Site, State, Webhook};
use millrace::progress::Progress;
use millrace::store::{
    Delivery, DeliveryFilter, DeliveryState, Due, Inserted, LeaseLost, NewJob, Notice, OutputDone, PurgePolicy, Renewal, Settled, Store, StoreError,
    Target,
};
use std::collections::BTreeMap;
use std::sync::Arc;

const URL: &str = "https://site.example/hook";

/// A job whose webhook wants these.
fn told(second: i64, events: &[Occasion]) -> NewJob {
    let mut new = new_job(second);
    new.record.job.webhook = Some(Webhook { url: URL.into(), events: events.to_vec() });
    new
}

fn first(job: JobId) -> Lease {
    Lease { job, attempt: 1 }
}

fn crashed() -> Option<Failure> {
    Some(Failure::new(Code::Crashed, "x"))
}

/// All letters, oldest first.
async fn letters(store: &Arc<dyn Store>) -> Vec<Delivery> {
    let mut found = store.deliveries(DeliveryFilter { limit: 500, ..DeliveryFilter::default() }).await.unwrap();
    found.reverse();
    found
}

async fn events(store: &Arc<dyn Store>) -> Vec<Occasion> {
    letters(store).await.into_iter().map(|d| d.event).collect()
}

async fn take(store: &Arc<dyn Store>, second: i64) -> Vec<Due> {
    store.take_due(100, at(second + 30), at(second)).await.unwrap()
}

fn job_of(due: &Due) -> &Job {
    due.told.job().unwrap()
}

fn ended(delivery: &Delivery, state: DeliveryState) -> Settled {
    Settled { delivery: Delivery { state, next_try: None, ..delivery.clone() }, switched_off: None }
}

fn percent(lease: Lease, percent: f64) -> Renewal {
    let progress = Progress { percent, ..Progress::default() };
    Renewal { lease, progress: Some(progress), outputs: vec![], media: None, log: vec![] }
}

#[test]
fn each_transition_tells_of_the_job_as_it_was_then() {
    on_every_store(|store| async move {
        let mut notices = store.notices();
        let id = store_of(&store, told(0, &Occasion::ALL)).await;
        heard(&mut notices, Notice::Delivery).await;
        let lease = store.lease(lease_request(1, 40), at(1)).await.unwrap()[0].job.id;
        assert_eq!(lease, id);
        for progress in [5.0, 9.0, 12.0, 13.0, 55.0, 50.0, 61.0] {
            store.renew(vec![percent(first(id), progress)], at(50), at(2)).await.unwrap();
        }
        let done = OutputDone { group: "a".into(), entries: vec![], artifacts: BTreeMap::new() };
        store.output_done(first(id), done, at(3)).await.unwrap().unwrap();
        store.finish(finish(first(id), crashed(), Some(at(5))), at(4)).await.unwrap().unwrap();
        store.lease(lease_request(1, 40), at(6)).await.unwrap();
        store.finish(finish(Lease { job: id, attempt: 2 }, crashed(), None), at(7)).await.unwrap().unwrap();
        store.retry(id, at(8)).await.unwrap();
        store.cancel(id, CancelMode::Soft, at(9)).await.unwrap();
        let wanted = [
            (Occasion::Queued, 0, State::Queued, 0),
            (Occasion::Started, 1, State::Running, 1),
            (Occasion::Progress, 2, State::Running, 1),
            (Occasion::Progress, 2, State::Running, 1),
            (Occasion::Progress, 2, State::Running, 1),
            (Occasion::OutputReady, 3, State::Running, 1),
            (Occasion::Retrying, 4, State::Queued, 1),
            (Occasion::Started, 6, State::Running, 2),
            (Occasion::Failed, 7, State::Failed, 2),
            (Occasion::Queued, 8, State::Queued, 2),
            (Occasion::Cancelled, 9, State::Cancelled, 2),
        ];
        let mut taken = take(&store, 9).await;
        taken.sort_by(|a, b| a.delivery.id.cmp(&b.delivery.id));
        let found: Vec<_> =
            taken.iter().map(|due| (due.delivery.event, due.delivery.at.as_second(), job_of(due).state, job_of(due).attempt)).collect();
        assert_eq!(found, wanted);
        assert!(
            taken
                .iter()
                .all(|due| due.delivery.job == Some(id) && job_of(due).id == id && due.delivery.target == Target::Webhook { url: URL.into() })
        );
        let done: Vec<f64> = taken.iter().filter(|due| due.delivery.event == Occasion::Progress).map(|due| job_of(due).progress.percent).collect();
        assert_eq!(done, [12.0, 55.0, 61.0]);
        assert_eq!(job_of(&taken[8]).error.as_ref().map(|e| e.code), Some(Code::Crashed));
    });
}

#[test]
fn everybody_who_wants_it_gets_a_letter_of_an_own() {
    on_every_store(|store| async move {
        let mut new = told(0, &[]);
        new.record.job.notify_email = Some("me@site.example".into());
        new.record.site = Site { hooks: vec![HookKind::OnFailure, HookKind::OnRetry, HookKind::OnSuccess, HookKind::AfterReturn], admins: true };
        let id = store_of(&store, new).await;
        store.lease(lease_request(1, 40), at(1)).await.unwrap();
        store.finish(finish(first(id), crashed(), Some(at(3))), at(2)).await.unwrap().unwrap();
        let hook = |hook| Target::Hook { hook };
        let targets = |letters: Vec<Delivery>| letters.into_iter().map(|d| d.target).collect::<Vec<_>>();
        assert_eq!(targets(letters(&store).await), [hook(HookKind::OnRetry)]);
        store.lease(lease_request(1, 40), at(4)).await.unwrap();
        store.finish(finish(Lease { job: id, attempt: 2 }, crashed(), None), at(5)).await.unwrap().unwrap();
        let mails = [Some("me@site.example".to_owned()), None].map(|to| Target::Email { to });
        let all = [hook(HookKind::OnRetry), Target::Webhook { url: URL.into() }, hook(HookKind::OnFailure), hook(HookKind::AfterReturn)];
        assert_eq!(targets(letters(&store).await), [&all[..], &mails].concat());
        // A job of which nobody wants to hear writes none.
        let quiet = store_of(&store, new_job(6)).await;
        store.lease(lease_request(1, 40), at(7)).await.unwrap();
        store.finish(finish(first(quiet), None, None), at(8)).await.unwrap().unwrap();
        assert_eq!(letters(&store).await.len(), 6);
    });
}

#[test]
fn what_changes_nothing_tells_nothing() {
    on_every_store(|store| async move {
        let all = Occasion::ALL;
        let mut new = told(0, &all);
        new.idempotency = Some(("key".into(), "digest".into()));
        let again = NewJob { idempotency: new.idempotency.clone(), ..told(0, &all) };
        let id = store_of(&store, new).await;
        assert!(matches!(store.insert(vec![again], at(1)).await.unwrap()[0], Inserted::Existing(_)));
        let mut waiting = told(1, &all);
        waiting.record.job.after = vec![JobId::new()];
        assert!(store.insert(vec![told(1, &all), waiting], at(1)).await.is_err());
        assert_eq!(events(&store).await, [Occasion::Queued]);
        // A stale worker: its lease has run out, another one has the job.
        store.lease(lease_request(1, 10), at(2)).await.unwrap();
        assert_eq!(store.reap(at(20), at(20)).await.unwrap().len(), 1);
        store.lease(lease_request(1, 90), at(21)).await.unwrap();
        let before = events(&store).await;
        assert_eq!(before, [Occasion::Queued, Occasion::Started, Occasion::Retrying, Occasion::Started]);
        let done = OutputDone { group: "a".into(), entries: vec![], artifacts: BTreeMap::new() };
        assert_eq!(store.output_done(first(id), done, at(22)).await.unwrap(), Err(LeaseLost));
        assert_eq!(store.finish(finish(first(id), None, None), at(23)).await.unwrap(), Err(LeaseLost));
        assert_eq!(store.finish_and_lease(finish(first(id), None, None), lease_request(0, 90), at(23)).await.unwrap().0, Err(LeaseLost));
        store.renew(vec![percent(first(id), 80.0)], at(50), at(24)).await.unwrap();
        assert_eq!(events(&store).await, before);
        // Nor does a second cancel.
        store.finish(finish(Lease { job: id, attempt: 2 }, None, None), at(25)).await.unwrap().unwrap();
        store.cancel(id, CancelMode::Kill, at(26)).await.unwrap();
        assert_eq!(events(&store).await[4..], [Occasion::Succeeded]);
    });
}

#[test]
fn ends_without_an_attempt_are_told_too() {
    on_every_store(|store| async move {
        let last = &[Occasion::Failed, Occasion::Cancelled];
        let mut expiring = told(0, last);
        expiring.record.job.expires_at = Some(at(5));
        store_of(&store, expiring).await;
        assert!(store.lease(lease_request(9, 40), at(6)).await.unwrap().is_empty());
        let mut other = new_job(7);
        other.record.job.run_at = at(1000);
        let other = store_of(&store, other).await;
        let mut waiting = told(8, last);
        waiting.record.job.after = vec![other];
        store_of(&store, waiting).await;
        store.cancel(other, CancelMode::Soft, at(9)).await.unwrap();
        let mut late = told(10, last);
        late.record.job.run_at = at(1000);
        store_of(&store, late).await;
        store.purge_queue("image", at(11)).await.unwrap();
        let errors: Vec<_> = take(&store, 12).await.iter().map(|due| (due.delivery.event, job_of(due).error.as_ref().unwrap().code)).collect();
        let wanted = [(Occasion::Failed, Code::Expired), (Occasion::Failed, Code::DependencyFailed), (Occasion::Cancelled, Code::Cancelled)];
        assert_eq!(errors, wanted);
    });
}

#[test]
fn a_letter_is_one_senders_at_a_time() {
    on_every_store(|store| async move {
        let id = store_of(&store, told(0, &[Occasion::Queued])).await;
        let taken = take(&store, 1).await;
        assert_eq!((taken.len(), taken[0].delivery.taken, taken[0].delivery.next_try), (1, 1, Some(at(31))));
        assert!(take(&store, 30).await.is_empty());
        // Its sender was killed.
        let again = take(&store, 31).await.remove(0);
        assert_eq!((again.delivery.id.as_str(), again.delivery.taken), (taken[0].delivery.id.as_str(), 2));
        let (stale, fresh) = (ended(&taken[0].delivery, DeliveryState::Dead), ended(&again.delivery, DeliveryState::Delivered));
        assert_eq!(store.settle(stale, at(32)).await.unwrap(), Err(LeaseLost));
        assert_eq!(store.settle(fresh.clone(), at(32)).await.unwrap(), Ok(()));
        assert!(take(&store, 1000).await.is_empty());
        let kept = store.delivery(&again.delivery.id).await.unwrap();
        assert_eq!((job_of(&kept).id, kept.delivery), (id, fresh.delivery));
        assert!(matches!(store.delivery("msg_none").await, Err(StoreError::NotFound("delivery"))));
        assert!(matches!(store.replay("msg_none", at(1)).await, Err(StoreError::NotFound("delivery"))));
    });
}

#[test]
fn a_letter_that_failed_is_due_again_at_its_time() {
    on_every_store(|store| async move {
        for second in [0, 1, 2] {
            store_of(&store, told(second, &[Occasion::Queued])).await;
        }
        let taken = store.take_due(2, at(40), at(10)).await.unwrap();
        assert_eq!(taken.iter().map(|due| due.delivery.at.as_second()).collect::<Vec<_>>(), [0, 1], "those due for longest");
        let later = Delivery { next_try: Some(at(20)), ..taken[0].delivery.clone() };
        store.settle(Settled { delivery: later, switched_off: None }, at(11)).await.unwrap().unwrap();
        assert_eq!(take(&store, 12).await.len(), 1);
        let again = take(&store, 20).await;
        assert_eq!((again.len(), again[0].delivery.id.as_str(), again[0].delivery.taken), (1, taken[0].delivery.id.as_str(), 2));
    });
}

#[test]
fn the_dead_are_listed_and_rise_again() {
    on_every_store(|store| async move {
        let mut jobs = Vec::new();
        for second in 0..3 {
            jobs.push(store_of(&store, told(second, &[Occasion::Queued])).await);
        }
        let taken = take(&store, 5).await;
        for (due, state) in taken.iter().zip([DeliveryState::Dead, DeliveryState::Delivered, DeliveryState::Dead]) {
            store.settle(ended(&due.delivery, state), at(6)).await.unwrap().unwrap();
        }
        let ids = async |filter: DeliveryFilter| store.deliveries(filter).await.unwrap().into_iter().filter_map(|d| d.job).collect::<Vec<_>>();
        let dead = DeliveryFilter { state: Some(DeliveryState::Dead), limit: 9, ..DeliveryFilter::default() };
        assert_eq!(ids(dead.clone()).await, [jobs[2], jobs[0]]);
        assert_eq!(ids(DeliveryFilter { limit: 1, ..dead.clone() }).await, [jobs[2]]);
        let newest = taken.iter().map(|due| due.delivery.id.clone()).max();
        assert_eq!(ids(DeliveryFilter { before: newest, ..dead.clone() }).await, [jobs[0]]);
        assert_eq!(ids(DeliveryFilter { job: Some(jobs[1]), limit: 9, ..DeliveryFilter::default() }).await, [jobs[1]]);
        assert!(ids(DeliveryFilter { job: Some(jobs[1]), ..dead.clone() }).await.is_empty());

        let mut notices = store.notices();
        let replayed = store.replay(&taken[0].delivery.id, at(50)).await.unwrap();
        heard(&mut notices, Notice::Delivery).await;
        assert_eq!((replayed.state, replayed.next_try, replayed.replayed_at), (DeliveryState::Pending, Some(at(50)), Some(at(50))));
        assert_eq!(ids(dead).await, [jobs[2]]);
        let again = take(&store, 50).await;
        assert_eq!((again.len(), &again[0].delivery.id), (1, &replayed.id));
        // Replayed while somebody has it in hand: that one's word does not count any more.
        store.replay(&replayed.id, at(51)).await.unwrap();
        assert_eq!(store.settle(ended(&again[0].delivery, DeliveryState::Dead), at(52)).await.unwrap(), Err(LeaseLost));
        assert_eq!(take(&store, 53).await.len(), 1);
    });
}

#[test]
fn an_endpoint_that_wants_no_more_is_off_until_a_replay() {
    on_every_store(|store| async move {
        store_of(&store, told(0, &[Occasion::Queued])).await;
        let due = take(&store, 1).await.remove(0);
        assert!(!due.is_off);
        let settled = Settled { switched_off: Some(URL.into()), ..ended(&due.delivery, DeliveryState::Dead) };
        store.settle(settled, at(2)).await.unwrap().unwrap();
        store_of(&store, told(3, &[Occasion::Queued])).await;
        let mut elsewhere = told(4, &[Occasion::Queued]);
        elsewhere.record.job.webhook.as_mut().unwrap().url = "https://other.example/".into();
        store_of(&store, elsewhere).await;
        let off: Vec<bool> = take(&store, 5).await.iter().map(|due| due.is_off).collect();
        assert_eq!(off, [true, false]);
        assert!(store.delivery(&due.delivery.id).await.unwrap().is_off);
        store.replay(&due.delivery.id, at(6)).await.unwrap();
        assert!(!take(&store, 7).await[0].is_off);
    });
}

#[test]
fn the_log_is_kept_for_a_month() {
    on_every_store(|store| async move {
        let now = jiff::Timestamp::now();
        let day = |n: i64| now + jiff::SignedDuration::from_hours(24 * n);
        for _ in 0..2 {
            store_of(&store, told(0, &[Occasion::Queued])).await;
        }
        let taken = store.take_due(1, day(99), day(0)).await.unwrap();
        store.settle(ended(&taken[0].delivery, DeliveryState::Delivered), now).await.unwrap().unwrap();
        let policy = PurgePolicy { outputs_before: BTreeMap::new(), records_before: BTreeMap::new(), limit: 100 };
        store.purge(policy.clone(), day(29)).await.unwrap();
        assert_eq!(letters(&store).await.len(), 2);
        store.purge(policy, day(31)).await.unwrap();
        let left = letters(&store).await;
        assert!(left.len() == 1 && left[0].is_pending(), "what was not delivered is not forgotten: {left:?}");
    });
}

#[test]
fn a_very_long_list_of_outputs_is_cut() {
    on_every_store(|store| async move {
        let id = store_of(&store, told(0, &[])).await;
        store.lease(lease_request(1, 40), at(1)).await.unwrap();
        let entry = store_entry();
        let entries = (0..1500).map(|n| millrace::job::Output { name: format!("{n}.png"), ..entry.clone() }).collect();
        let done = OutputDone { group: "a".into(), entries, artifacts: BTreeMap::new() };
        let mut end = finish(first(id), None, None);
        end.output = Some(done);
        store.finish(end, at(2)).await.unwrap().unwrap();
        let Job { outputs, stats, .. } = job_of(&take(&store, 3).await[0]).clone();
        assert_eq!((outputs.len(), stats.items_total), (1000, 1500));
    });
}

fn store_entry() -> millrace::job::Output {
    let png = millrace::format::Format::parse("png").unwrap();
    millrace::job::Output {
        name: String::new(),
        group: "a".into(),
        converter: "image.transcode".into(),
        to: png,
        preset: None,
        options: serde_json::Value::Null,
        state: State::Succeeded,
        progress: Progress::default(),
        error: None,
        size_bytes: Some(1),
        sha256: None,
        format: png,
        media: millrace::job::Media::default(),
        verification: None,
        warnings: vec![],
        recovered: None,
        receipt: None,
        url: None,
        ready_at: None,
    }
}
