//! Every transition of the store, and every fence around it.

use super::on_every_store;
use crate::support::records::{at, finish, lease_request, new_job, store_of};
use millrace::failure::{Code, Failure};
use millrace::format::Format;
use millrace::job::{Asked, CancelMode, Lease, LogLine, Media, State, Upload};
use millrace::limits::Span;
use millrace::progress::Progress;
use millrace::store::{Filter, Inserted, LeaseLost, Missed, NewJob, PurgePolicy, Renewal, Renewed, Schedule, StoreError, Tuning};

fn renewal(lease: Lease) -> Renewal {
    Renewal { lease, progress: None, outputs: vec![], media: None, log: vec![] }
}

#[test]
fn a_job_runs_from_queued_to_succeeded() {
    on_every_store(|store| async move {
        let id = store_of(&store, new_job(0)).await;
        let leased = store.lease(lease_request(1, 40), at(10)).await.unwrap();
        assert_eq!((leased.len(), leased[0].job.id, leased[0].job.attempt, leased[0].job.state), (1, id, 1, State::Running));
        let lease = Lease { job: id, attempt: 1 };
        assert!(store.is_live(lease).await.unwrap());
        let job = store.finish(finish(lease, None, None), at(20)).await.unwrap().unwrap();
        assert_eq!((job.state, job.finished_at, job.attempts[0].cause.as_deref()), (State::Succeeded, Some(at(20)), Some("succeeded")));
        let kinds: Vec<String> = store.events(0, None, 10).await.unwrap().into_iter().map(|e| e.kind).collect();
        assert_eq!(kinds, ["queued", "started", "succeeded"]);
    });
}

#[test]
fn a_stale_worker_changes_nothing() {
    on_every_store(|store| async move {
        let id = store_of(&store, new_job(0)).await;
        store.lease(lease_request(1, 40), at(10)).await.unwrap();
        let stale = Lease { job: id, attempt: 1 };
        assert_eq!(store.reap(at(41), at(41)).await.unwrap(), [stale]);
        store.lease(lease_request(1, 80), at(50)).await.unwrap();
        let before = store.get(id).await.unwrap();
        assert_eq!(before.job.attempt, 2);
        assert_eq!(store.finish(finish(stale, None, None), at(60)).await.unwrap(), Err(LeaseLost));
        assert_eq!(store.release(stale, vec![], at(60)).await.unwrap(), Err(LeaseLost));
        assert_eq!(store.renew(vec![renewal(stale)], at(100), at(60)).await.unwrap(), [Renewed::Lost]);
        assert_eq!(store.get(id).await.unwrap(), before);
    });
}

#[test]
fn live_settings_reach_waiting_and_running_jobs_but_not_what_a_client_set() {
    on_every_store(|store| async move {
        let (minutes, plain) = (|n: u64| Span::from_secs(60 * n), store_of(&store, new_job(0)).await);
        let mut own = new_job(1);
        own.record.job.hard_time_limit = minutes(2);
        own.record.asked = Asked { hard_time_limit: Some(minutes(2)), max_attempts: Some(9), ..Asked::default() };
        let own = store_of(&store, own).await;
        let tune = |soft| Tuning {
            soft_time_limit: Some(minutes(soft)),
            hard_time_limit: Some(minutes(soft + 10)),
            max_attempts: Some(5),
            ..Tuning::default()
        };
        store.tune("image", tune(20), at(5)).await.unwrap();
        let leased = store.lease(lease_request(2, 40), at(10)).await.unwrap();
        let limits: Vec<_> = leased.iter().map(|r| (r.job.id, r.job.soft_time_limit, r.job.hard_time_limit, r.job.max_attempts)).collect();
        assert_eq!(limits, [(plain, minutes(20), minutes(30), 5), (own, minutes(2), minutes(2), 9)]);
        store.tune("image", tune(40), at(15)).await.unwrap();
        let renewed = store.renew([plain, own].map(|job| renewal(Lease { job, attempt: 1 })).to_vec(), at(60), at(20)).await.unwrap();
        let held = |soft, hard| Renewed::Held { cancel: None, soft_time_limit: minutes(soft), hard_time_limit: minutes(hard) };
        assert_eq!(renewed, [held(40, 50), held(2, 2)]);
    });
}

#[test]
fn finishing_twice_is_refused() {
    on_every_store(|store| async move {
        let id = store_of(&store, new_job(0)).await;
        store.lease(lease_request(1, 40), at(10)).await.unwrap();
        let lease = Lease { job: id, attempt: 1 };
        assert!(store.finish(finish(lease, None, None), at(20)).await.unwrap().is_ok());
        let failure = Failure::new(Code::Crashed, "x");
        assert_eq!(store.finish(finish(lease, Some(failure), None), at(21)).await.unwrap(), Err(LeaseLost));
        assert_eq!(store.get(id).await.unwrap().job.state, State::Succeeded);
    });
}

#[test]
fn better_priority_first_then_older() {
    on_every_store(|store| async move {
        let mut ids = Vec::new();
        for (second, priority) in [(0, 5), (1, 9), (2, 5), (3, 0), (4, 9)] {
            let mut new = new_job(second);
            new.record.job.priority = priority;
            ids.push(store_of(&store, new).await);
        }
        let leased = store.lease(lease_request(5, 40), at(10)).await.unwrap();
        let order: Vec<_> = leased.iter().map(|r| ids.iter().position(|id| *id == r.job.id).unwrap()).collect();
        assert_eq!(order, [1, 4, 0, 2, 3]);
    });
}

#[test]
fn what_is_not_due_waits() {
    on_every_store(|store| async move {
        let mut new = new_job(0);
        new.record.job.run_at = at(100);
        store_of(&store, new).await;
        assert!(store.lease(lease_request(1, 90), at(99)).await.unwrap().is_empty());
        assert_eq!(store.lease(lease_request(1, 190), at(100)).await.unwrap().len(), 1);
    });
}

#[test]
fn what_is_past_its_time_expires() {
    on_every_store(|store| async move {
        let mut new = new_job(0);
        new.record.job.expires_at = Some(at(5));
        let id = store_of(&store, new).await;
        assert!(store.lease(lease_request(1, 90), at(6)).await.unwrap().is_empty());
        let job = store.get(id).await.unwrap().job;
        assert_eq!((job.state, job.error.map(|e| e.code)), (State::Failed, Some(Code::Expired)));
    });
}

#[test]
fn a_retry_waits_and_counts_a_failure() {
    on_every_store(|store| async move {
        let id = store_of(&store, new_job(0)).await;
        store.lease(lease_request(1, 40), at(10)).await.unwrap();
        let failure = Failure::new(Code::Crashed, "x");
        let job = store.finish(finish(Lease { job: id, attempt: 1 }, Some(failure), Some(at(50))), at(20)).await.unwrap().unwrap();
        assert_eq!((job.state, job.failures, job.run_at), (State::Queued, 1, at(50)));
        assert!(store.lease(lease_request(1, 90), at(49)).await.unwrap().is_empty());
        assert_eq!(store.lease(lease_request(1, 90), at(50)).await.unwrap()[0].job.attempt, 2);
    });
}

#[test]
fn an_interruption_counts_nothing() {
    on_every_store(|store| async move {
        let id = store_of(&store, new_job(0)).await;
        store.lease(lease_request(1, 40), at(10)).await.unwrap();
        store.release(Lease { job: id, attempt: 1 }, vec![], at(20)).await.unwrap().unwrap();
        let job = store.get(id).await.unwrap().job;
        assert_eq!((job.state, job.failures, job.recoveries), (State::Queued, 0, 0));
        assert_eq!(job.attempts[0].cause.as_deref(), Some("interrupted"));
    });
}

#[test]
fn the_third_lost_lease_ends_the_job() {
    on_every_store(|store| async move {
        let id = store_of(&store, new_job(0)).await;
        for round in 0..3 {
            let now = 100 * (round + 1);
            assert_eq!(store.lease(lease_request(1, now + 30), at(now)).await.unwrap().len(), 1);
            assert_eq!(store.reap(at(now + 31), at(now + 31)).await.unwrap().len(), 1);
        }
        let job = store.get(id).await.unwrap().job;
        assert_eq!((job.state, job.recoveries, job.error.map(|e| e.code)), (State::Failed, 3, Some(Code::WorkerLost)));
    });
}

#[test]
fn a_heartbeat_brings_a_cancel_back() {
    on_every_store(|store| async move {
        let id = store_of(&store, new_job(0)).await;
        store.lease(lease_request(1, 40), at(10)).await.unwrap();
        assert_eq!(store.cancel(id, CancelMode::Soft, at(11)).await.unwrap().state, State::Running);
        store.cancel(id, CancelMode::Kill, at(12)).await.unwrap();
        // A softer wish afterwards does not take the harder one back.
        store.cancel(id, CancelMode::Soft, at(13)).await.unwrap();
        let lease = Lease { job: id, attempt: 1 };
        let renewed = store.renew(vec![renewal(lease)], at(60), at(20)).await.unwrap();
        assert!(matches!(renewed[..], [Renewed::Held { cancel: Some(CancelMode::Kill), .. }]), "{renewed:?}");
        assert!(store.reap(at(59), at(59)).await.unwrap().is_empty(), "the lease was extended");
        let cancelled = Failure::new(Code::Cancelled, "x");
        let job = store.finish(finish(lease, Some(cancelled), None), at(21)).await.unwrap().unwrap();
        assert_eq!((job.state, job.failures), (State::Cancelled, 0));
    });
}

#[test]
fn a_queued_job_is_cancelled_at_once_and_can_be_retried() {
    on_every_store(|store| async move {
        let id = store_of(&store, new_job(0)).await;
        assert_eq!(store.cancel(id, CancelMode::Soft, at(1)).await.unwrap().state, State::Cancelled);
        assert!(store.lease(lease_request(1, 40), at(10)).await.unwrap().is_empty());
        let job = store.retry(id, at(20)).await.unwrap();
        assert_eq!((job.state, job.error, job.finished_at), (State::Queued, None, None));
        assert!(matches!(store.retry(id, at(21)).await, Err(StoreError::WrongState(State::Queued))));
        assert_eq!(store.lease(lease_request(1, 60), at(22)).await.unwrap().len(), 1);
    });
}

#[test]
fn keys_find_the_job_they_stand_for() {
    on_every_store(|store| async move {
        let keyed = |digest: &str| NewJob { idempotency: Some(("key".into(), digest.into())), ..new_job(0) };
        let first = store.insert(vec![keyed("a")], at(0)).await.unwrap();
        let again = store.insert(vec![keyed("a")], at(1)).await.unwrap();
        assert!(matches!(&again[..], [Inserted::Existing(job)] if job.id == first[0].job().id));
        assert!(matches!(store.insert(vec![keyed("b")], at(2)).await, Err(StoreError::IdempotencyMismatch)));
        let unique = || {
            let mut new = new_job(3);
            new.record.job.unique_key = Some("u".into());
            new
        };
        let id = store_of(&store, unique()).await;
        let twin = store.insert(vec![unique()], at(4)).await.unwrap();
        assert!(matches!(&twin[..], [Inserted::Existing(job)] if job.id == id));
        store.cancel(id, CancelMode::Soft, at(5)).await.unwrap();
        let fresh = store.insert(vec![unique()], at(6)).await.unwrap();
        assert!(matches!(&fresh[..], [Inserted::New(_)]), "an ended job frees its key");
    });
}

#[test]
fn a_paused_queue_yields_nothing() {
    on_every_store(|store| async move {
        store_of(&store, new_job(0)).await;
        let pause = |paused| Tuning { paused: Some(paused), ..Tuning::default() };
        store.tune("image", pause(true), at(1)).await.unwrap();
        assert!(store.lease(lease_request(1, 40), at(10)).await.unwrap().is_empty());
        let kept = store.tune("image", Tuning { concurrency: Some(7), ..Tuning::default() }, at(2)).await.unwrap();
        assert_eq!((kept.paused, kept.concurrency), (Some(true), Some(7)));
        store.tune("image", pause(false), at(3)).await.unwrap();
        assert_eq!(store.lease(lease_request(1, 40), at(10)).await.unwrap().len(), 1);
    });
}

#[test]
fn counts_and_lists_follow_the_states() {
    on_every_store(|store| async move {
        let mut ids = Vec::new();
        for second in 0..5 {
            ids.push(store_of(&store, new_job(second)).await);
        }
        store.cancel(ids[0], CancelMode::Soft, at(6)).await.unwrap();
        let counts = store.counts().await.unwrap();
        assert_eq!((counts["image"][&State::Queued], counts["image"][&State::Cancelled]), (4, 1));
        let list = |filter: Filter| store.list(Filter { limit: 2, ..filter });
        let page: Vec<_> = list(Filter::default()).await.unwrap().iter().map(|j| j.id).collect();
        assert_eq!(page, [ids[4], ids[3]]);
        let next: Vec<_> = list(Filter { before: Some(ids[3]), ..Filter::default() }).await.unwrap().iter().map(|j| j.id).collect();
        assert_eq!(next, [ids[2], ids[1]]);
        let cancelled = list(Filter { state: Some(State::Cancelled), ..Filter::default() }).await.unwrap();
        assert_eq!(cancelled.len(), 1);
        assert_eq!(list(Filter { text: Some("pict".into()), ..Filter::default() }).await.unwrap().len(), 2);
        assert!(list(Filter { text: Some("nothing\" OR *".into()), ..Filter::default() }).await.unwrap().is_empty());
    });
}

#[test]
fn a_schedule_fires_once() {
    on_every_store(|store| async move {
        let schedule = Schedule {
            name: "s".into(),
            cron: Some("0 3 * * *".into()),
            every: None,
            missed: Missed::Once,
            time_zone: "UTC".into(),
            converter: "cleanup.purge-records".into(),
            celery: None,
            enabled: true,
            last_fire: None,
            next_fire: at(10),
        };
        store.put_schedule(schedule).await.unwrap();
        assert!(store.fire("s", at(10), at(100), vec![new_job(10)], at(10)).await.unwrap());
        assert!(!store.fire("s", at(10), at(100), vec![new_job(10)], at(11)).await.unwrap());
        let jobs = || async { store.list(Filter { limit: 10, ..Filter::default() }).await.unwrap().len() };
        assert_eq!(jobs().await, 1);
        let kept = store.schedules().await.unwrap().remove(0);
        assert_eq!((kept.last_fire, kept.next_fire), (Some(at(10)), at(100)));
        // Without a job it only moves on; with several, all come.
        assert!(store.fire("s", at(100), at(200), vec![], at(150)).await.unwrap());
        assert_eq!((jobs().await, store.schedules().await.unwrap()[0].last_fire), (1, Some(at(10))));
        assert!(store.fire("s", at(200), at(300), vec![new_job(200), new_job(201)], at(250)).await.unwrap());
        assert_eq!((jobs().await, store.schedules().await.unwrap()[0].last_fire), (3, Some(at(250))));
    });
}

#[test]
fn a_purge_spares_what_still_runs() {
    on_every_store(|store| async move {
        let upload = |id: &str| Upload {
            id: id.into(),
            name: "n".into(),
            size_bytes: 1,
            sha256: String::new(),
            format: None,
            created_at: at(0),
            expires_at: at(5),
            owner: None,
        };
        for id in ["used", "free"] {
            store.put_upload(upload(id)).await.unwrap();
        }
        let mut running = new_job(0);
        running.record.upload = Some("used".into());
        let running = store_of(&store, running).await;
        let ended = store_of(&store, new_job(1)).await;
        store.cancel(ended, CancelMode::Soft, at(2)).await.unwrap();
        store.lease(lease_request(1, 2000), at(3)).await.unwrap();
        let before = [("image".to_owned(), at(1000))];
        let policy = PurgePolicy { outputs_before: before.clone().into(), records_before: before.into(), limit: 10 };
        let purged = store.purge(policy, at(1000)).await.unwrap();
        assert_eq!((purged.records, purged.uploads, purged.blobs), (1, 1, vec!["uploads/free".to_owned()]));
        assert!(store.get(running).await.is_ok() && store.upload("used").await.is_ok());
        assert!(matches!(store.get(ended).await, Err(StoreError::NotFound(_))));
        let keys = vec!["uploads/used".to_owned(), "uploads/free".to_owned(), format!("jobs/{running}/1/0"), format!("jobs/{ended}/1/0")];
        assert_eq!(store.orphans(keys.clone()).await.unwrap(), [keys[1].clone(), keys[3].clone()]);
    });
}

#[test]
fn events_are_told_of_all_jobs_or_of_one() {
    on_every_store(|store| async move {
        assert_eq!(store.last_event().await.unwrap(), 0);
        let (first, second) = (store_of(&store, new_job(0)).await, store_of(&store, new_job(1)).await);
        store.cancel(first, CancelMode::Soft, at(2)).await.unwrap();
        let all = store.events(0, None, 10).await.unwrap();
        let told: Vec<_> = all.iter().map(|e| (e.job.unwrap(), e.kind.as_str())).collect();
        assert_eq!(told, [(first, "queued"), (second, "queued"), (first, "cancelled")]);
        assert_eq!(store.last_event().await.unwrap(), all[2].seq);
        assert_eq!(store.events(0, Some(first), 10).await.unwrap(), [all[0].clone(), all[2].clone()]);
        assert_eq!(store.events(all[0].seq, Some(first), 10).await.unwrap(), [all[2].clone()]);
        assert_eq!(store.events(0, None, 1).await.unwrap(), [all[0].clone()]);
        assert!(store.events(u64::MAX, None, 10).await.unwrap().is_empty());
    });
}

#[test]
fn the_longest_wait_is_the_first_due_of_any_priority() {
    on_every_store(|store| async move {
        assert!(store.due_since().await.unwrap().is_empty());
        for (second, priority) in [(7, 9), (3, 2), (5, 2)] {
            let mut new = new_job(second);
            new.record.job.priority = priority;
            store_of(&store, new).await;
        }
        assert_eq!(store.due_since().await.unwrap()["image"], at(3));
        // The most urgent one goes; the longest wait is still the other's.
        store.lease(lease_request(1, 40), at(10)).await.unwrap();
        assert_eq!(store.due_since().await.unwrap()["image"], at(3));
    });
}

#[test]
fn every_filter_narrows_and_pages_do_not_overlap() {
    on_every_store(|store| async move {
        let mut ids = Vec::new();
        for second in 0..12 {
            let mut new = new_job(second / 3);
            new.record.job.queue = if second % 2 == 0 { "image" } else { "video" }.into();
            new.record.job.from = Format::parse(if second % 3 == 0 { "png" } else { "mp4" });
            new.record.job.metadata.insert("site".into(), format!("Shop-{second} Zürich").into());
            ids.push(store_of(&store, new).await);
        }
        let of = |positions: &[usize]| positions.iter().map(|n| ids[*n]).collect::<Vec<_>>();
        let list = |filter: Filter| {
            let store = store.clone();
            async move { store.list(Filter { limit: 100, ..filter }).await.unwrap().iter().map(|j| j.id).collect::<Vec<_>>() }
        };
        store.cancel(ids[4], CancelMode::Soft, at(20)).await.unwrap();
        let text = |text: &str| Filter { text: Some(text.into()), ..Filter::default() };
        let queue = |name: &str| Filter { queue: Some(name.into()), ..Filter::default() };
        assert_eq!(list(queue("video")).await, of(&[11, 9, 7, 5, 3, 1]));
        assert_eq!(list(Filter { state: Some(State::Queued), ..queue("image") }).await, of(&[10, 8, 6, 2, 0]));
        assert_eq!(list(Filter { format: Format::parse("png"), ..Filter::default() }).await, of(&[9, 6, 3, 0]));
        assert_eq!(list(Filter { format: Format::parse("mp4"), state: Some(State::Cancelled), ..queue("image") }).await, of(&[4]));
        assert_eq!(list(Filter { since: Some(at(3)), ..Filter::default() }).await, of(&[11, 10, 9]));
        assert_eq!(list(Filter { until: Some(at(1)), ..Filter::default() }).await, of(&[2, 1, 0]));
        assert_eq!(list(Filter { since: Some(at(1)), until: Some(at(3)), ..queue("image") }).await, of(&[8, 6, 4]));
        assert_eq!(list(text("shop-11")).await, of(&[11]));
        assert_eq!(list(text("SHOP zürich")).await.len(), 12);
        assert_eq!(list(Filter { before: Some(ids[3]), ..text("picture.png shop") }).await, of(&[2, 1, 0]));
        assert_eq!(list(Filter { since: Some(at(2)), format: Format::parse("png"), ..text("shop") }).await, of(&[9, 6]));
        assert_eq!(list(text("cancelled")).await, of(&[4]));
        assert_eq!(list(text(&ids[5].to_string())).await, of(&[5]));
        assert_eq!(list(text(&ids[5].to_string()[..35])).await.iter().filter(|id| **id == ids[5]).count(), 1);
        assert_eq!(list(text("* -")).await.len(), 12);
        // Pages of five meet without a gap, also within jobs of one moment.
        let (mut pages, mut before) = (Vec::new(), None);
        loop {
            let page = store.list(Filter { before, limit: 5, ..Filter::default() }).await.unwrap();
            let Some(last) = page.last() else { break };
            before = Some(last.id);
            pages.extend(page.iter().map(|j| j.id));
        }
        assert_eq!(pages, ids.iter().rev().copied().collect::<Vec<_>>());
    });
}

#[test]
fn old_events_are_forgotten_and_their_numbers_stay_used() {
    on_every_store(|store| async move {
        let (old, new) = (store_of(&store, new_job(0)).await, 8 * 24 * 3600);
        let young = store_of(&store, new_job(new)).await;
        store.purge(PurgePolicy { outputs_before: [].into(), records_before: [].into(), limit: 10 }, at(new)).await.unwrap();
        let kept = store.events(0, None, 10).await.unwrap();
        assert_eq!(kept.iter().map(|e| (e.seq, e.job)).collect::<Vec<_>>(), [(2, Some(young))]);
        assert!(store.events(0, Some(old), 10).await.unwrap().is_empty());
        assert_eq!(store.last_event().await.unwrap(), 2);
    });
}

#[test]
fn progress_measures_and_log_are_read_back_while_the_attempt_runs() {
    on_every_store(|store| async move {
        let id = store_of(&store, new_job(0)).await;
        store.lease(lease_request(1, 40), at(10)).await.unwrap();
        let lease = Lease { job: id, attempt: 1 };
        let line = |n: usize| LogLine { at: at(20), attempt: 1, level: "info".into(), source: "child".into(), message: n.to_string() };
        let progress = |percent| Progress { percent, ..Progress::default() };
        let media = Media { width: Some(7), ..Media::default() };
        let told = Renewal { progress: Some(progress(10.0)), media: Some(media.clone()), log: vec![line(0), line(1)], ..renewal(lease) };
        store.renew(vec![told], at(60), at(20)).await.unwrap();
        store
            .renew(vec![Renewal { progress: Some(progress(20.0)), log: (2..2100).map(line).collect(), ..renewal(lease) }], at(60), at(21))
            .await
            .unwrap();
        let job = store.get(id).await.unwrap().job;
        assert_eq!((job.progress.percent, job.input.unwrap().media), (20.0, media));
        let log: Vec<_> = store.log(id, 1).await.unwrap().into_iter().map(|l| l.message).collect();
        assert_eq!((log.len(), log[0].as_str(), log[1998].as_str()), (1999, "1", "1999"));
    });
}

#[test]
fn an_end_and_the_next_lease_are_one_verb() {
    on_every_store(|store| async move {
        let (first, second) = (store_of(&store, new_job(0)).await, store_of(&store, new_job(1)).await);
        store.lease(lease_request(1, 40), at(10)).await.unwrap();
        let (lease, next) = (Lease { job: first, attempt: 1 }, Lease { job: second, attempt: 1 });
        let (ended, leased) = store.finish_and_lease(finish(lease, None, None), lease_request(1, 50), at(20)).await.unwrap();
        assert_eq!((ended.unwrap().state, store.get(first).await.unwrap().job.state), (State::Succeeded, State::Succeeded));
        assert_eq!(leased.iter().map(|r| (r.job.id, r.job.state, r.job.attempt)).collect::<Vec<_>>(), [(second, State::Running, 1)]);
        // A job that is retried at once comes back to the same hands, and an end that came too late keeps nobody from work.
        let failure = Failure::new(Code::Crashed, "x");
        let (ended, leased) = store.finish_and_lease(finish(next, Some(failure), Some(at(30))), lease_request(1, 60), at(30)).await.unwrap();
        assert_eq!((ended.unwrap().state, leased[0].job.attempt), (State::Queued, 2));
        let third = store_of(&store, new_job(31)).await;
        let (late, leased) = store.finish_and_lease(finish(next, None, None), lease_request(1, 70), at(40)).await.unwrap();
        assert_eq!((late, leased[0].job.id), (Err(LeaseLost), third));
    });
}
