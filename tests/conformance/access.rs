//! Tokens, what they have used, whose a job is, and what admins did.

use super::on_every_store;
use crate::support::records::{at, finish, lease_request, new_job, store_of};
use millrace::access::{AuditEntry, Quota, Scope, Token};
use millrace::job::Lease;
use millrace::store::{AUDIT_KEPT, Filter, PurgePolicy, StoreError};
use std::collections::BTreeMap;

const DAY: i64 = 86_400;

#[test]
fn tokens_are_kept_until_they_are_revoked() {
    on_every_store(|store| async move {
        assert!(store.tokens().await.unwrap().is_empty());
        let token = |name: &str| Token::new(name, vec![Scope::Submit], Quota { jobs: Some(3), ..Quota::default() }, at(0)).0;
        let (first, second) = (token("first"), token("second"));
        store.put_token(second.clone()).await.unwrap();
        store.put_token(first.clone()).await.unwrap();
        assert_eq!(store.tokens().await.unwrap(), [first.clone(), second.clone()]);
        let renamed = Token { name: "renamed".into(), ..first.clone() };
        store.put_token(renamed.clone()).await.unwrap();
        store.revoke_token(&second.id).await.unwrap();
        assert_eq!(store.tokens().await.unwrap(), [renamed]);
        assert!(matches!(store.revoke_token(&second.id).await, Err(StoreError::NotFound("token"))));
    });
}

#[test]
fn a_day_adds_up_and_the_next_one_begins_at_nothing() {
    on_every_store(|store| async move {
        assert_eq!(store.spend("a", 0, at(DAY - 1)).await.unwrap(), 0);
        assert_eq!(store.spend("a", 5, at(DAY - 1)).await.unwrap(), 5);
        assert_eq!(store.spend("a", 7, at(1)).await.unwrap(), 12);
        assert_eq!(store.spend("b", 1, at(1)).await.unwrap(), 1);
        assert_eq!(store.spend("a", 2, at(DAY)).await.unwrap(), 2);
    });
}

#[test]
fn a_token_runs_no_more_jobs_than_its_slots_and_holds_up_nobody() {
    on_every_store(|store| async move {
        let owned = |second, owner: Option<&str>| {
            let mut new = new_job(second);
            new.record.owner = owner.map(str::to_owned);
            new
        };
        let limited = |slots| Token { id: "a".into(), ..Token::new("a", vec![Scope::Submit], Quota { slots, ..Quota::default() }, at(0)).0 };
        store.put_token(limited(Some(2))).await.unwrap();
        let (mut hers, mut others) = (Vec::new(), Vec::new());
        for second in 0..150 {
            hers.push(store_of(&store, owned(second, Some("a"))).await);
        }
        for owner in [Some("b"), None] {
            others.push(store_of(&store, owned(200, owner)).await);
        }
        let lease = async |max, second| {
            let leased = store.lease(lease_request(max, 999), at(second)).await.unwrap();
            leased.iter().map(|record| record.job.id).collect::<Vec<_>>()
        };
        // A batch takes no more than there are slots, either.
        assert_eq!(lease(1, 300).await, hers[..1]);
        assert!(lease(3, 301).await.iter().filter(|id| hers.contains(id)).count() <= 1);
        let rest: Vec<_> = [lease(3, 302).await, lease(3, 303).await].concat();
        assert!(rest.iter().all(|id| others.contains(id)), "hers wait, and let the others pass");
        assert_eq!(lease(9, 304).await, []);
        let end = |job| finish(Lease { job, attempt: 1 }, None, None);
        store.finish(end(hers[0]), at(305)).await.unwrap().unwrap();
        assert_eq!(lease(9, 306).await, hers[2..3], "in their order");
        let (_, taken) = store.finish_and_lease(end(hers[1]), lease_request(1, 999), at(307)).await.unwrap();
        assert_eq!(taken[0].job.id, hers[3]);
        // A live change, and a token that is gone.
        store.put_token(limited(Some(3))).await.unwrap();
        assert_eq!(lease(9, 308).await, hers[4..5]);
        store.put_token(limited(None)).await.unwrap();
        assert_eq!(lease(2, 309).await, hers[5..7]);
        store.put_token(limited(Some(1))).await.unwrap();
        assert_eq!(lease(9, 310).await, []);
        store.revoke_token("a").await.unwrap();
        assert_eq!(lease(9, 311).await, hers[7..16]);
    });
}

#[test]
fn a_job_is_its_tokens_and_counts_while_it_is_not_over() {
    on_every_store(|store| async move {
        let owned = |second, owner: Option<&str>| {
            let mut new = new_job(second);
            new.record.owner = owner.map(str::to_owned);
            new
        };
        let mut hers = Vec::new();
        for second in 0..3 {
            hers.push(store_of(&store, owned(second, Some("a"))).await);
            store_of(&store, owned(second, Some("b"))).await;
            store_of(&store, owned(second, None)).await;
        }
        assert_eq!((store.owned("a").await.unwrap(), store.owned("none").await.unwrap()), (3, 0));
        let of = async |limit, before| {
            let filter = Filter { owner: Some("a".into()), limit, before, ..Filter::default() };
            store.list(filter).await.unwrap().into_iter().map(|job| job.id).collect::<Vec<_>>()
        };
        assert_eq!(of(9, None).await, [hers[2], hers[1], hers[0]]);
        assert_eq!(of(2, None).await, [hers[2], hers[1]]);
        assert_eq!(of(2, Some(hers[1])).await, [hers[0]]);
        assert_eq!(store.get(hers[0]).await.unwrap().owner.as_deref(), Some("a"));
        store.lease(lease_request(1, 40), at(5)).await.unwrap();
        assert_eq!(store.owned("a").await.unwrap(), 3, "a running one counts");
        let lease = Lease { job: hers[0], attempt: 1 };
        store.finish(finish(lease, None, None), at(6)).await.unwrap().unwrap();
        store.cancel(hers[1], millrace::job::CancelMode::Soft, at(7)).await.unwrap();
        assert_eq!(store.owned("a").await.unwrap(), 1);
        store.retry(hers[1], at(8)).await.unwrap();
        assert_eq!(store.owned("a").await.unwrap(), 2);
        store.remove(hers[0]).await.unwrap();
        assert_eq!((store.owned("a").await.unwrap(), of(9, None).await), (2, vec![hers[2], hers[1]]));
    });
}

#[test]
fn what_admins_did_is_read_back_for_a_year() {
    on_every_store(|store| async move {
        let entries: Vec<AuditEntry> = (1..=3).map(|n| AuditEntry::new("config".into(), format!("POST /{n}"), 200, at(n * DAY))).collect();
        for entry in &entries {
            store.note(entry.clone()).await.unwrap();
        }
        let newest: Vec<AuditEntry> = entries.iter().rev().cloned().collect();
        assert_eq!(store.audit(None, 10).await.unwrap(), newest);
        assert_eq!(store.audit(None, 1).await.unwrap(), newest[..1]);
        assert_eq!(store.audit(Some(newest[0].id.clone()), 10).await.unwrap(), newest[1..]);
        let policy = PurgePolicy { outputs_before: BTreeMap::new(), records_before: BTreeMap::new(), limit: 100 };
        store.purge(policy, at(2 * DAY) + AUDIT_KEPT).await.unwrap();
        assert_eq!(store.audit(None, 10).await.unwrap(), newest[..2]);
    });
}
