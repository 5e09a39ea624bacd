//! Schedulers that race on one store.

use super::on_every_store;
use jiff::Timestamp;
use millrace::clock::ManualClock;
use millrace::limits::Span;
use millrace::queue::Queues;
use millrace::schedule::{ScheduleRequest, Scheduler, put};
use millrace::store::{Filter, Missed};
use std::sync::Arc;
use std::time::Duration;

fn every_minute(missed: Missed) -> ScheduleRequest {
    let (every, converter) = (Some(Span::from_secs(60)), Some("cleanup.purge-records".to_owned()));
    ScheduleRequest { cron: None, every, missed, time_zone: None, converter, celery: None, enabled: None }
}

#[test]
fn three_schedulers_fire_each_time_exactly_once() {
    on_every_store(|store| async move {
        let start: Timestamp = "2026-05-01T10:00:00Z".parse().unwrap();
        let (clock, queues) = (ManualClock::at(start), Arc::new(Queues::load(&[]).unwrap()));
        put(&*store, "s", every_minute(Missed::All), "UTC", start).await.unwrap();
        let scheduler = || Scheduler { store: store.clone(), queues: queues.clone(), clock: clock.clone(), time_zone: "UTC".into() };
        let racing = [scheduler(), scheduler(), scheduler()];
        for minute in 1..=20u64 {
            // Now and then nobody looks for a while.
            clock.advance(Duration::from_secs(if minute % 5 == 0 { 180 } else { 60 }));
            for next in futures::future::join_all(racing.iter().map(Scheduler::fire_due)).await {
                assert!(next.unwrap().unwrap() > start);
            }
        }
        let jobs = store.list(Filter { limit: 500, ..Filter::default() }).await.unwrap();
        assert_eq!(jobs.len(), 16 + 4 * 3);
        assert_eq!(store.schedules().await.unwrap()[0].next_fire, start + Duration::from_secs(29 * 60));
    });
}
