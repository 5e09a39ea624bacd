//! Rate limits: one clock for all workers of a queue.

use super::on_every_store;
use crate::support::records::{at, lease_request, new_job};
use jiff::Timestamp;
use millrace::job::JobId;
use millrace::limits::Rate;
use millrace::store::{LeaseRequest, NewJob, Tuning};

/// Milliseconds after the thousandth second.
fn ms(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_000_000 + ms).unwrap()
}

fn rate(text: &str) -> Option<Rate> {
    Some(Rate::parse(text).unwrap())
}

/// Asks for `max` jobs under the limit of the queue's file.
fn limited(max: usize, text: &str) -> LeaseRequest {
    LeaseRequest { rate_limit: rate(text), ..lease_request(max, 100_000) }
}

fn live(rate_limit: Option<Rate>) -> Tuning {
    Tuning { rate_limit: Some(rate_limit), ..Tuning::default() }
}

fn jobs(n: usize) -> Vec<NewJob> {
    let new = new_job(0);
    let another = || {
        let mut another = new.clone();
        another.record.job.id = JobId::new();
        another
    };
    std::iter::repeat_with(another).take(n).collect()
}

#[test]
fn a_slow_rate_starts_one_after_the_other() {
    on_every_store(|store| async move {
        store.insert(jobs(10), at(0)).await.unwrap();
        assert_eq!(store.next_start("image", rate("6/m"), ms(0)).await.unwrap(), None);
        assert_eq!(store.lease(limited(5, "6/m"), ms(0)).await.unwrap().len(), 1);
        assert_eq!(store.next_start("image", rate("6/m"), ms(1)).await.unwrap(), Some(ms(10_000)));
        assert!(store.lease(limited(5, "6/m"), ms(9_999)).await.unwrap().is_empty());
        assert_eq!(store.lease(limited(5, "6/m"), ms(10_000)).await.unwrap().len(), 1);
        // A long pause earns one.
        assert_eq!(store.lease(limited(5, "6/m"), ms(900_000)).await.unwrap().len(), 1);
        assert_eq!(store.next_start("image", rate("6/m"), ms(910_000)).await.unwrap(), None);
        assert_eq!(store.next_start("image", None, ms(900_001)).await.unwrap(), None);
    });
}

#[test]
fn a_fast_rate_is_steady_over_all_workers() {
    on_every_store(|store| async move {
        store.insert(jobs(100), at(0)).await.unwrap();
        let mut starts = Vec::new();
        for step in 0..60 {
            for worker in ["a", "b", "c"] {
                let request = LeaseRequest { worker: worker.into(), ..limited(3, "5/s") };
                starts.extend(store.lease(request, ms(step * 50)).await.unwrap().iter().map(|_| step * 50));
            }
        }
        // One second's worth at once, then one every 200 ms.
        let steady: Vec<i64> = std::iter::repeat_n(0, 5).chain((1..15).map(|n| n * 200)).collect();
        assert_eq!(starts, steady);
    });
}

#[test]
fn only_what_starts_counts() {
    on_every_store(|store| async move {
        for step in 0..5 {
            assert!(store.lease(limited(5, "6/m"), ms(step)).await.unwrap().is_empty());
        }
        assert_eq!(store.next_start("image", rate("6/m"), ms(5)).await.unwrap(), None);
        store.insert(jobs(2), at(0)).await.unwrap();
        assert_eq!(store.lease(limited(2, "6/m"), ms(6)).await.unwrap().len(), 1);
        // A queue of another name has a time of its own.
        let mut other = new_job(0);
        other.record.job.queue = "video".into();
        store.insert(vec![other], at(0)).await.unwrap();
        let request = LeaseRequest { queue: "video".into(), ..limited(1, "6/m") };
        assert_eq!(store.lease(request, ms(7)).await.unwrap().len(), 1);
    });
}

#[test]
fn a_live_rate_goes_before_the_files_and_holds_at_once() {
    on_every_store(|store| async move {
        store.insert(jobs(20), at(0)).await.unwrap();
        assert_eq!(store.lease(limited(5, "1/h"), ms(0)).await.unwrap().len(), 1);
        store.tune("image", live(rate("60/m")), ms(1)).await.unwrap();
        assert_eq!(store.next_start("image", rate("1/h"), ms(2)).await.unwrap(), Some(ms(1000)));
        assert!(store.lease(limited(5, "1/h"), ms(999)).await.unwrap().is_empty());
        assert_eq!(store.lease(limited(5, "1/h"), ms(1000)).await.unwrap().len(), 1);
        // None is a value, and other settings leave it alone.
        store.tune("image", live(None), ms(1001)).await.unwrap();
        let kept = store.tune("image", Tuning { concurrency: Some(3), ..Tuning::default() }, ms(1002)).await.unwrap();
        assert_eq!(kept.autoscale, Some(None), "a fixed number ends an autoscale");
        assert_eq!((kept.rate_limit, store.tunings().await.unwrap()["image"].rate_limit), (Some(None), Some(None)));
        assert_eq!(store.next_start("image", rate("1/h"), ms(1003)).await.unwrap(), None);
        assert_eq!(store.lease(limited(5, "1/h"), ms(1003)).await.unwrap().len(), 5);
    });
}
