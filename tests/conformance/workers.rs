//! The list of workers and their orders.

use super::{heard, on_every_store};
use crate::support::records::at;
use millrace::job::JobId;
use millrace::store::{Notice, PoolPresence, Presence, StoreError, WorkerOrder, WorkerState};

fn worker(id: &str) -> Presence {
    Presence {
        id: id.into(),
        host: "mill".into(),
        pid: 7,
        version: "1".into(),
        started_at: at(0),
        seen_at: at(0),
        state: WorkerState::Running,
        order: None,
        queues: vec![PoolPresence { queue: "image".into(), slots: 4, running: vec![JobId::new()] }],
        memory_bytes: 1 << 20,
        sandbox_level: 4,
    }
}

fn ids(workers: &[Presence]) -> Vec<&str> {
    workers.iter().map(|w| w.id.as_str()).collect()
}

#[test]
fn who_spoke_last_stands_there_until_it_is_silent_for_too_long() {
    on_every_store(|store| async move {
        assert!(store.workers(at(0)).await.unwrap().is_empty());
        store.announce(worker("b"), at(10)).await.unwrap();
        store.announce(worker("a"), at(20)).await.unwrap();
        let drained = Presence { state: WorkerState::Draining, ..worker("b") };
        store.announce(drained.clone(), at(25)).await.unwrap();
        let all = store.workers(at(49)).await.unwrap();
        assert_eq!(ids(&all), ["a", "b"]);
        assert_eq!(all[1], Presence { seen_at: at(25), ..drained });
        assert_eq!(ids(&store.workers(at(50)).await.unwrap()), ["b"]);
        store.leave("b").await.unwrap();
        store.leave("b").await.unwrap();
        assert!(store.workers(at(50)).await.unwrap().is_empty());
        // Who was silent may come back.
        store.announce(worker("a"), at(100)).await.unwrap();
        assert_eq!(ids(&store.workers(at(101)).await.unwrap()), ["a"]);
    });
}

#[test]
fn an_order_is_heard_once_by_the_one_it_is_for() {
    on_every_store(|store| async move {
        for id in ["a", "b"] {
            store.announce(worker(id), at(0)).await.unwrap();
        }
        let mut notices = store.notices();
        assert_eq!(store.order("a", WorkerOrder::Drain, at(1)).await.unwrap().order, Some(WorkerOrder::Drain));
        heard(&mut notices, Notice::Worker("a".into())).await;
        assert_eq!(store.workers(at(2)).await.unwrap()[0].order, Some(WorkerOrder::Drain));
        // A word of its own takes no order away, a later order takes the place of the first.
        store.announce(worker("a"), at(3)).await.unwrap();
        store.order("a", WorkerOrder::Restart, at(4)).await.unwrap();
        assert_eq!(store.take_order("b").await.unwrap(), None);
        assert_eq!(store.take_order("a").await.unwrap(), Some(WorkerOrder::Restart));
        assert_eq!(store.take_order("a").await.unwrap(), None);
        assert_eq!(store.workers(at(5)).await.unwrap()[0].order, None);
    });
}

#[test]
fn who_is_gone_takes_no_orders_and_leaves_none_to_its_successor() {
    on_every_store(|store| async move {
        let refused = store.order("a", WorkerOrder::Drain, at(0)).await;
        assert!(matches!(refused, Err(StoreError::NotFound("worker"))), "{refused:?}");
        store.announce(worker("a"), at(0)).await.unwrap();
        assert!(store.order("a", WorkerOrder::Drain, at(30)).await.is_err());
        store.order("a", WorkerOrder::Drain, at(29)).await.unwrap();
        store.leave("a").await.unwrap();
        store.announce(worker("a"), at(31)).await.unwrap();
        assert_eq!(store.take_order("a").await.unwrap(), None);
        assert_eq!(store.take_order("nobody").await.unwrap(), None);
    });
}
