//! Pipelines: a row each, changed by compare-and-set.

use super::SqliteStore;
use super::jobs;
use super::tables::{Tx, one, rows, state_from, state_number, time};
use crate::job::{PipelineId, State};
use crate::store::{NewJob, Notice, PipelineRow, Pipelines, PurgePolicy, Purged, Result, StepCounts, StoreError};
use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

const COLUMNS: &str = "id, version, state, created_at, finished_at, document";

#[async_trait::async_trait]
impl Pipelines for SqliteStore {
    async fn put_pipeline(&self, pipeline: PipelineRow, new: Vec<NewJob>, now: Timestamp) -> Result<bool> {
        self.write(move |tx| {
            let before = one(tx.connection, "SELECT version, state FROM pipelines WHERE id = ?1", &[&pipeline.id.to_string()], |r| {
                Ok((r.get::<_, i64>(0)?.unsigned_abs(), state_from(r.get(1)?)))
            })?;
            if before.map_or(0, |(version, _)| version) + 1 != pipeline.version {
                return Ok(false);
            }
            put(tx, &pipeline)?;
            if before.map(|(_, state)| state) != Some(pipeline.state) {
                tell(tx, &pipeline, now)?;
            }
            for job in new {
                jobs::insert(tx, job, now)?;
            }
            tx.notice(Notice::Pipeline(pipeline.id));
            Ok(true)
        })
        .await
    }

    async fn pipeline(&self, id: PipelineId) -> Result<PipelineRow> {
        let found = self.read(move |c| one(c, &format!("SELECT {COLUMNS} FROM pipelines WHERE id = ?1"), &[&id.to_string()], row)).await?;
        found.flatten().ok_or(StoreError::NotFound("pipeline"))
    }

    async fn pipelines(&self, state: Option<State>, before: Option<PipelineId>, limit: usize) -> Result<Vec<PipelineRow>> {
        self.read(move |c| list(c, state, before, limit)).await
    }

    async fn step_counts(&self, id: PipelineId) -> Result<StepCounts> {
        self.read(move |c| {
            let read = |r: &Row<'_>| Ok((r.get::<_, String>(0)?, state_from(r.get(1)?), r.get::<_, i64>(2)?.unsigned_abs()));
            let mut counts = StepCounts::new();
            for (step, state, n) in rows(c, "SELECT step, state, n FROM step_counts WHERE pipeline = ?1 AND n > 0", &[&id.to_string()], read)? {
                counts.entry(step).or_default().insert(state, n);
            }
            Ok(counts)
        })
        .await
    }
}

fn put(tx: &Tx<'_>, pipeline: &PipelineRow) -> Result<()> {
    let sql = "INSERT INTO pipelines (id, version, state, created_at, finished_at, document) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
               ON CONFLICT (id) DO UPDATE SET version = ?2, state = ?3, finished_at = ?5, document = ?6";
    let ended = pipeline.finished_at.map(Timestamp::as_millisecond);
    let version = i64::try_from(pipeline.version).unwrap_or(i64::MAX);
    let created = pipeline.created_at.as_millisecond();
    tx.execute(sql, params![pipeline.id.to_string(), version, state_number(pipeline.state), created, ended, pipeline.document]).map(drop)
}

/// It has begun, or ended.
fn tell(tx: &Tx<'_>, pipeline: &PipelineRow, now: Timestamp) -> Result<()> {
    let detail = pipeline.detail().to_string();
    tx.execute("INSERT INTO events (at, kind, queue, detail) VALUES (?1, 'pipeline', '', ?2)", params![now.as_millisecond(), detail]).map(drop)
}

fn list(c: &Connection, state: Option<State>, before: Option<PipelineId>, limit: usize) -> Result<Vec<PipelineRow>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM pipelines WHERE (?1 IS NULL OR seq < (SELECT seq FROM pipelines WHERE id = ?1)) {} ORDER BY seq DESC LIMIT ?3",
        if state.is_some() { "AND state = ?2" } else { "AND ?2 IS NULL" }
    );
    let found = rows(c, &sql, &[&before.map(|id| id.to_string()), &state.map(state_number), &(limit as i64)], row)?;
    Ok(found.into_iter().flatten().collect())
}

/// None: its id is none of ours.
fn row(r: &Row<'_>) -> rusqlite::Result<Option<PipelineRow>> {
    let Ok(id) = r.get::<_, String>(0)?.parse() else { return Ok(None) };
    Ok(Some(PipelineRow {
        id,
        version: r.get::<_, i64>(1)?.unsigned_abs(),
        state: state_from(r.get(2)?),
        created_at: time(r.get(3)?),
        finished_at: r.get::<_, Option<i64>>(4)?.map(time),
        document: r.get(5)?,
    }))
}

/// Rows of which no job is left.
pub fn purge(tx: &mut Tx<'_>, policy: &PurgePolicy, purged: &mut Purged) -> Result<()> {
    let Some(before) = policy.pipelines_before() else { return Ok(()) };
    let sql = "SELECT id FROM pipelines WHERE state > 1 AND finished_at < ?1
               AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.pipeline = pipelines.id) LIMIT ?2";
    let gone = rows(tx.connection, sql, &[&before.as_millisecond(), &(policy.limit as i64)], |r| r.get::<_, String>(0))?;
    for id in &gone {
        tx.execute("DELETE FROM pipelines WHERE id = ?1", [id])?;
        tx.execute("DELETE FROM step_counts WHERE pipeline = ?1", [id])?;
    }
    purged.pipelines = gone.len();
    purged.more |= gone.len() >= policy.limit;
    Ok(())
}
