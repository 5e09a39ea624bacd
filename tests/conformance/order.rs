//! The order in which jobs are leased: priority, then fair turns, then age.

use super::on_every_store;
use crate::support::records::{at, finish, lease_request, new_job, store_of};
use millrace::failure::{Code, Failure};
use millrace::job::{CancelMode, JobId, Lease, Record};
use millrace::store::{NewJob, PurgePolicy};

/// An image job of a site, due at `second`.
fn job_of(key: &str, second: i64) -> NewJob {
    let mut new = new_job(second);
    new.record.job.fairness_key = Some(key.to_owned());
    new
}

fn with_priority(priority: u8, mut new: NewJob) -> NewJob {
    new.record.job.priority = priority;
    new
}

/// `n` jobs like this one.
fn many(n: usize, new: NewJob) -> Vec<NewJob> {
    let another = || {
        let mut another = new.clone();
        another.record.job.id = JobId::new();
        another
    };
    std::iter::repeat_with(another).take(n).collect()
}

fn ids(new: &[NewJob]) -> Vec<JobId> {
    new.iter().map(|n| n.record.job.id).collect()
}

fn leased(records: &[Record]) -> Vec<JobId> {
    records.iter().map(|r| r.job.id).collect()
}

fn keys(records: &[Record]) -> String {
    records.iter().map(|r| r.job.fairness_key.as_deref().unwrap_or("-")).collect()
}

#[test]
fn ten_thousand_jobs_of_one_site_cost_another_one_lease() {
    on_every_store(|store| async move {
        for _ in 0..20 {
            store.insert(many(500, job_of("a", 0)), at(0)).await.unwrap();
        }
        assert_eq!(keys(&store.lease(lease_request(3, 40), at(1)).await.unwrap()), "aaa");
        let single = store_of(&store, job_of("b", 2)).await;
        let next = store.lease(lease_request(2, 40), at(3)).await.unwrap();
        assert!(leased(&next).contains(&single), "{}", keys(&next));
    });
}

#[test]
fn keys_take_turns_and_jobs_without_one_share_one() {
    on_every_store(|store| async move {
        let plain = many(3, new_job(0));
        let (a, b) = (many(3, job_of("a", 0)), many(2, job_of("b", 0)));
        for new in [plain, a, b] {
            store.insert(new, at(0)).await.unwrap();
        }
        assert_eq!(keys(&store.lease(lease_request(9, 40), at(1)).await.unwrap()), "-ab-ab-a");
    });
}

#[test]
fn one_key_is_served_in_order_of_age() {
    on_every_store(|store| async move {
        let mut order = Vec::new();
        for second in 0..4 {
            order.push(store_of(&store, job_of("a", second)).await);
        }
        let first = store.lease(lease_request(1, 40), at(10)).await.unwrap();
        order.push(store_of(&store, job_of("a", 11)).await);
        // What was interrupted is as old as its return.
        store.release(Lease { job: first[0].job.id, attempt: 1 }, vec![], at(12)).await.unwrap().unwrap();
        order.push(order[0]);
        order.push(store_of(&store, job_of("a", 13)).await);
        assert_eq!(leased(&store.lease(lease_request(9, 60), at(20)).await.unwrap()), order[1..]);
    });
}

#[test]
fn delayed_jobs_line_up_when_they_become_due() {
    on_every_store(|store| async move {
        let batch = vec![job_of("a", 30), job_of("a", 10), job_of("a", 20), job_of("a", 10)];
        let delayed = ids(&batch);
        store.insert(batch, at(0)).await.unwrap();
        assert!(store.lease(lease_request(9, 40), at(9)).await.unwrap().is_empty());
        // Due since 10 and 20, and so before what comes at 25.
        let late = store_of(&store, job_of("a", 25)).await;
        let order = [delayed[1], delayed[3], delayed[2], late, delayed[0]];
        assert_eq!(leased(&store.lease(lease_request(9, 60), at(30)).await.unwrap()), order);
    });
}

#[test]
fn a_retry_lines_up_behind_what_was_due_before_it() {
    on_every_store(|store| async move {
        let first = store_of(&store, job_of("a", 0)).await;
        store.lease(lease_request(1, 40), at(1)).await.unwrap();
        let failed = finish(Lease { job: first, attempt: 1 }, Some(Failure::new(Code::Crashed, "x")), Some(at(10)));
        store.finish(failed, at(2)).await.unwrap().unwrap();
        let (before, after) = (store_of(&store, job_of("a", 9)).await, store_of(&store, job_of("a", 11)).await);
        assert_eq!(leased(&store.lease(lease_request(9, 40), at(12)).await.unwrap()), [before, first, after]);
    });
}

#[test]
fn turns_count_for_each_priority_alone() {
    on_every_store(|store| async move {
        store.insert(many(9, with_priority(2, job_of("a", 0))), at(0)).await.unwrap();
        // Had this one a turn behind the nine, the flood of b would pass it.
        let urgent = store_of(&store, with_priority(9, job_of("a", 1))).await;
        store.insert(many(9, with_priority(9, job_of("b", 2))), at(2)).await.unwrap();
        assert_eq!(leased(&store.lease(lease_request(1, 40), at(3)).await.unwrap()), [urgent]);
        assert_eq!(keys(&store.lease(lease_request(9, 40), at(3)).await.unwrap()), "bbbbbbbbb");
        // Nor do leases of the urgent ones push a newcomer behind the nine.
        store_of(&store, with_priority(2, job_of("c", 4))).await;
        assert_eq!(keys(&store.lease(lease_request(3, 40), at(5)).await.unwrap()), "aca");
    });
}

#[test]
fn a_purged_queue_and_a_purged_store_forget_what_has_gone_by() {
    on_every_store(|store| async move {
        store.insert(many(5, job_of("a", 0)), at(0)).await.unwrap();
        assert_eq!(store.purge_queue("image", at(1)).await.unwrap(), 5);
        // The five were never run: a stands where b does.
        let again = store_of(&store, job_of("a", 2)).await;
        store.insert(many(5, job_of("b", 3)), at(3)).await.unwrap();
        assert_eq!(leased(&store.lease(lease_request(1, 40), at(4)).await.unwrap()), [again]);
        assert_eq!(keys(&store.lease(lease_request(2, 40), at(4)).await.unwrap()), "bb");
        let nothing = PurgePolicy { outputs_before: [].into(), records_before: [].into(), limit: 10 };
        store.purge(nothing, at(5)).await.unwrap();
        // Three b still wait with their turns, which nothing may forget.
        store_of(&store, job_of("b", 6)).await;
        store_of(&store, job_of("a", 7)).await;
        assert_eq!(keys(&store.lease(lease_request(9, 60), at(8)).await.unwrap()), "babbb");
    });
}

#[test]
fn a_cancelled_job_is_passed_over() {
    on_every_store(|store| async move {
        let (first, second) = (store_of(&store, job_of("a", 0)).await, store_of(&store, job_of("a", 1)).await);
        store.cancel(first, CancelMode::Soft, at(2)).await.unwrap();
        store.retry(first, at(3)).await.unwrap();
        assert_eq!(leased(&store.lease(lease_request(9, 40), at(4)).await.unwrap()), [second, first]);
    });
}

#[test]
fn more_than_can_be_promoted_at_once_keep_their_order() {
    on_every_store(|store| async move {
        let batch = many(2100, job_of("a", 10));
        let mut order = ids(&batch);
        store.insert(batch, at(0)).await.unwrap();
        order.push(store_of(&store, job_of("a", 11)).await);
        let mut taken = Vec::new();
        for _ in 0..5 {
            taken.extend(leased(&store.lease(lease_request(500, 60), at(12)).await.unwrap()));
        }
        assert_eq!(taken, order);
    });
}
