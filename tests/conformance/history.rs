//! What happened, by minute and hour.

use super::on_every_store;
use crate::support::records::at;
use jiff::{SignedDuration, Timestamp};
use millrace::store::sqlite::SqliteStore;
use millrace::store::{History, Measure, Step, Stretch, Sums};

fn sums(queue: &str, measure: Measure, value: f64) -> Sums {
    [(queue.to_owned(), [(measure, value)].into())].into()
}

fn later(since: Timestamp, seconds: i64) -> Timestamp {
    since + SignedDuration::from_secs(seconds)
}

fn told(stretches: &[Stretch], queue: &str, measure: Measure) -> Vec<f64> {
    stretches.iter().filter_map(|s| s.sums.get(queue)?.get(&measure).copied()).collect()
}

#[test]
fn sums_add_up_by_minute_and_by_hour() {
    on_every_store(|store| async move {
        let start = Step::Hour.start(at(0));
        assert!(store.history(Step::Minute, start, later(start, 60)).await.unwrap().is_empty());
        store.add(sums("video", Measure::RanS, 1.5), later(start, 1)).await.unwrap();
        store.add(sums("video", Measure::RanS, 2.25), later(start, 59)).await.unwrap();
        store.add(sums("", Measure::BusyS, 5.0), later(start, 59)).await.unwrap();
        store.add(sums("video", Measure::RanS, 4.0), later(start, 180)).await.unwrap();
        store.add(sums("video", Measure::RanS, 8.0), later(start, 3600)).await.unwrap();
        let minutes = store.history(Step::Minute, later(start, 30), later(start, 180)).await.unwrap();
        assert_eq!(minutes.iter().map(|s| s.start).collect::<Vec<_>>(), [start, later(start, 180)]);
        assert_eq!((told(&minutes, "video", Measure::RanS), told(&minutes, "", Measure::BusyS)), (vec![3.75, 4.0], vec![5.0]));
        // Up to the minute asked, and no further.
        assert_eq!(store.history(Step::Minute, start, later(start, 179)).await.unwrap().len(), 1);
        let hours = store.history(Step::Hour, start, later(start, 4000)).await.unwrap();
        assert_eq!(told(&hours, "video", Measure::RanS), [7.75, 8.0]);
        assert_eq!(told(&hours, "video", Measure::Failed), Vec::<f64>::new());
    });
}

#[test]
fn what_is_past_its_time_is_forgotten() {
    // On Redis its own clock does that.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (store, start) = (SqliteStore::in_memory().unwrap(), Step::Hour.start(at(0)));
        store.add(sums("video", Measure::RanS, 1.0), start).await.unwrap();
        for (hours, minutes_left, hours_left) in [(25, 1, 1), (27, 0, 1), (36 * 24, 0, 0)] {
            store.add(Sums::new(), later(start, hours * 3600)).await.unwrap();
            let kept = [store.history(Step::Minute, start, start).await.unwrap().len(), store.history(Step::Hour, start, start).await.unwrap().len()];
            assert_eq!(kept, [minutes_left, hours_left], "after {hours} hours");
        }
    });
}
