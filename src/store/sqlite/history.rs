//! The sums by minute and hour.

use super::SqliteStore;
use super::tables::{rows, time};
use crate::store::{History, Measure, Result, Step, Stretch, Sums};
use jiff::Timestamp;
use rusqlite::{Row, params};

#[async_trait::async_trait]
impl History for SqliteStore {
    async fn add(&self, sums: Sums, now: Timestamp) -> Result<()> {
        self.write(move |tx| {
            for step in Step::ALL {
                let (length, start) = (step.length().as_secs(), step.start(now).as_millisecond());
                let forgotten = now.saturating_sub(step.kept_for()).unwrap_or(Timestamp::MIN).as_millisecond();
                tx.execute("DELETE FROM history WHERE step_s = ?1 AND start < ?2", [length, forgotten])?;
                for (queue, measures) in &sums {
                    for (measure, value) in measures {
                        let sql = "INSERT INTO history VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET value = value + excluded.value";
                        tx.execute(sql, params![length, start, queue, measure.as_str(), value])?;
                    }
                }
            }
            Ok(())
        })
        .await
    }

    async fn history(&self, step: Step, since: Timestamp, now: Timestamp) -> Result<Vec<Stretch>> {
        self.read(move |c| {
            let sql = "SELECT start, queue, measure, value FROM history WHERE step_s = ?1 AND start BETWEEN ?2 AND ?3 ORDER BY start";
            let read = |r: &Row<'_>| Ok((r.get::<_, i64>(0)?, r.get::<_, String>(1)?, r.get::<_, String>(2)?, r.get::<_, f64>(3)?));
            let found = rows(c, sql, &[&step.length().as_secs(), &step.start(since).as_millisecond(), &now.as_millisecond()], read)?;
            let mut stretches: Vec<Stretch> = Vec::new();
            for (start, queue, measure, value) in found {
                let start = time(start);
                if stretches.last().is_none_or(|last| last.start != start) {
                    stretches.push(Stretch { start, sums: Sums::new() });
                }
                if let (Some(last), Some(measure)) = (stretches.last_mut(), Measure::parse(&measure)) {
                    last.sums.entry(queue).or_default().insert(measure, value);
                }
            }
            Ok(stretches)
        })
        .await
    }
}
