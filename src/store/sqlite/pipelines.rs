//! Pipelines: a row each, changed by compare-and-set.

use super::SqliteStore;
use super::tables::{Tx, one, rows, state_from, state_number, time};
use super::{jobs, outbox};
use crate::job::PipelineId;
use crate::store::{Letter, NewJob, Notice, PipelineFilter, PipelineRow, Pipelines, PurgePolicy, Purged, Result, StepCounts, StoreError};
use jiff::Timestamp;
use rusqlite::{Connection, Row, ToSql, params};

const COLUMNS: &str = "id, version, state, created_at, finished_at, owner, document";

#[async_trait::async_trait]
impl Pipelines for SqliteStore {
    async fn begin_pipeline(&self, pipeline: PipelineRow, idempotency: Option<(String, String)>, now: Timestamp) -> Result<PipelineId> {
        self.write(move |tx| {
            if let Some((key, digest)) = idempotency {
                let known =
                    one(tx.connection, "SELECT digest, id FROM pipeline_keys JOIN pipelines ON id = pipeline WHERE key = ?1", &[&key], |r| {
                        Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?))
                    })?;
                // A key whose pipeline was purged stands for nothing any more.
                if let Some((known_digest, id)) = known {
                    let id = id.parse().map_err(|e| StoreError::Unavailable(format!("an id cannot be read: {e}")))?;
                    return if known_digest == digest { Ok(id) } else { Err(StoreError::IdempotencyMismatch) };
                }
                let row = params![key, digest, pipeline.id.to_string(), now.as_millisecond()];
                tx.execute("INSERT OR REPLACE INTO pipeline_keys VALUES (?1, ?2, ?3, ?4)", row)?;
            }
            put(tx, &pipeline)?;
            tell(tx, &pipeline, now)?;
            tx.notice(Notice::Pipeline(pipeline.id));
            Ok(pipeline.id)
        })
        .await
    }

    async fn put_pipeline(&self, pipeline: PipelineRow, new: Vec<NewJob>, letter: Option<Letter>, now: Timestamp) -> Result<bool> {
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
            outbox::write(tx, letter)?;
            tx.notice(Notice::Pipeline(pipeline.id));
            Ok(true)
        })
        .await
    }

    async fn pipeline(&self, id: PipelineId) -> Result<PipelineRow> {
        let found = self.read(move |c| one(c, &format!("SELECT {COLUMNS} FROM pipelines WHERE id = ?1"), &[&id.to_string()], row)).await?;
        found.flatten().ok_or(StoreError::NotFound("pipeline"))
    }

    async fn pipelines(&self, filter: PipelineFilter) -> Result<Vec<PipelineRow>> {
        self.read(move |c| list(c, &filter)).await
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
    let sql = "INSERT INTO pipelines (id, version, state, created_at, finished_at, document, owner) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
               ON CONFLICT (id) DO UPDATE SET version = ?2, state = ?3, finished_at = ?5, document = ?6";
    let ended = pipeline.finished_at.map(Timestamp::as_millisecond);
    let version = i64::try_from(pipeline.version).unwrap_or(i64::MAX);
    let created = pipeline.created_at.as_millisecond();
    tx.execute(sql, params![pipeline.id.to_string(), version, state_number(pipeline.state), created, ended, pipeline.document, pipeline.owner])
        .map(drop)
}

/// It has begun, again perhaps, or ended.
fn tell(tx: &Tx<'_>, pipeline: &PipelineRow, now: Timestamp) -> Result<()> {
    let detail = pipeline.detail().to_string();
    tx.execute("INSERT INTO events (at, kind, queue, detail) VALUES (?1, 'pipeline', '', ?2)", params![now.as_millisecond(), detail]).map(drop)
}

fn list(c: &Connection, filter: &PipelineFilter) -> Result<Vec<PipelineRow>> {
    let (before, state) = (filter.before.map(|id| id.to_string()), filter.state.map(state_number));
    // No index serves every combination: each has a text of its own.
    let mut sql = format!("SELECT {COLUMNS} FROM pipelines WHERE (?1 IS NULL OR seq < (SELECT seq FROM pipelines WHERE id = ?1))");
    let mut values: Vec<&dyn ToSql> = vec![&before];
    for (column, value) in [("state", state.as_ref().map(|s| s as &dyn ToSql)), ("owner", filter.owner.as_ref().map(|o| o as &dyn ToSql))] {
        if let Some(value) = value {
            values.push(value);
            sql += &format!(" AND {column} = ?{}", values.len());
        }
    }
    let found = rows(c, &format!("{sql} ORDER BY seq DESC LIMIT {}", filter.limit), &values, row)?;
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
        owner: r.get(5)?,
        document: r.get(6)?,
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
