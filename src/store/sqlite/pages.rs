//! Pages of jobs, newest first: by `created_at`, then by row. Each queue and state is a lane of its own in an index, so that a page is
//! made of the heads of a few lanes, however many jobs there are.

use super::tables::{documents, one, rows};
use super::upkeep;
use crate::job::{JobId, Record, State};
use crate::store::{Filter, Result};
use rusqlite::types::Value;
use rusqlite::{Connection, ToSql};

/// A job's place in the order of the lists.
pub type Place = (i64, i64);

/// What a row must fulfil, as SQL with numbered parameters.
#[derive(Default)]
pub struct Narrowed {
    pub sql: String,
    pub values: Vec<Value>,
}

impl Narrowed {
    pub fn and(&mut self, clause: &str, value: impl Into<Value>) {
        self.values.push(value.into());
        self.sql.push_str(" AND ");
        self.sql.push_str(&clause.replace('?', &format!("?{}", self.values.len())));
    }

    pub fn params(&self) -> Vec<&dyn ToSql> {
        self.values.iter().map(|value| value as &dyn ToSql).collect()
    }

    /// What is asked of a job itself; `before` and words are another matter.
    pub fn by(filter: &Filter) -> Narrowed {
        let mut narrowed = Narrowed::default();
        filter.state.into_iter().for_each(|state| narrowed.and("state = ?", state as i64));
        filter.queue.iter().for_each(|queue| narrowed.and("queue = ?", queue.clone()));
        filter.format.into_iter().for_each(|format| narrowed.and("format = ?", format.id().to_owned()));
        filter.pipeline.into_iter().for_each(|pipeline| narrowed.and("pipeline = ?", pipeline.to_string()));
        filter.step.iter().for_each(|step| narrowed.and("step = ?", step.clone()));
        filter.since.into_iter().for_each(|since| narrowed.and("created_at >= ?", since.as_millisecond()));
        filter.until.into_iter().for_each(|until| narrowed.and("created_at < ?", until.as_millisecond()));
        filter.owner.iter().for_each(|owner| narrowed.and("owner = ?", owner.clone()));
        narrowed
    }
}

pub fn page(connection: &Connection, filter: &Filter) -> Result<Vec<Record>> {
    let places = match filter.before {
        None => places(connection, filter, None, filter.limit)?,
        Some(id) => match place(connection, id)? {
            Some(before) => places(connection, filter, Some(before), filter.limit)?,
            None => Vec::new(),
        },
    };
    let mut records = Vec::with_capacity(places.len());
    for (_, seq) in places {
        records.extend(documents(connection, "SELECT record FROM jobs WHERE seq = ?1", &[&seq])?);
    }
    Ok(records)
}

/// Where a job stands, if it is there.
pub fn place(connection: &Connection, id: JobId) -> Result<Option<Place>> {
    one(connection, "SELECT created_at, seq FROM jobs WHERE id = ?1", &[&id.to_string()], |r| Ok((r.get(0)?, r.get(1)?)))
}

/// The newest jobs below one that fit, whatever words they have.
pub fn places(connection: &Connection, filter: &Filter, before: Option<Place>, limit: usize) -> Result<Vec<Place>> {
    let mut found = Vec::new();
    for (index, lane) in lanes(connection, filter)? {
        let mut narrowed = Narrowed::by(&lane);
        if let Some((created_at, seq)) = before {
            narrowed.and("created_at <= ?", created_at);
            narrowed.and("(created_at, seq) < (?", created_at);
            narrowed.values.push(seq.into());
            narrowed.sql.push_str(&format!(", ?{})", narrowed.values.len()));
        }
        narrowed.values.push(Value::from(limit as i64));
        let (wanted, limit_at) = (&narrowed.sql, narrowed.values.len());
        let sql = format!("SELECT created_at, seq FROM jobs INDEXED BY {index} WHERE 1{wanted} ORDER BY created_at DESC, seq DESC LIMIT ?{limit_at}");
        found.extend(rows(connection, &sql, &narrowed.params(), |r| Ok((r.get(0)?, r.get(1)?)))?);
    }
    found.sort_unstable_by(|one: &Place, other| other.cmp(one));
    found.truncate(limit);
    Ok(found)
}

/// The index to look into, and what to ask of each of its lanes. A pipeline's jobs are few enough to be sorted.
fn lanes(connection: &Connection, filter: &Filter) -> Result<Vec<(&'static str, Filter)>> {
    if filter.pipeline.is_some() {
        return Ok(vec![("jobs_pipeline", filter.clone())]);
    }
    if filter.owner.is_some() {
        let states = State::ALL.into_iter().filter(|state| filter.state.is_none_or(|wanted| wanted == *state));
        return Ok(states.map(|state| ("jobs_owner", Filter { state: Some(state), ..filter.clone() })).collect());
    }
    let index = if filter.format.is_some() { "jobs_format" } else { "jobs_lane" };
    let mut lanes = Vec::new();
    for (queue, states) in upkeep::count(connection)? {
        let is_wanted = filter.queue.as_ref().is_none_or(|wanted| *wanted == queue);
        let states = states.into_iter().filter(|(state, n)| is_wanted && *n > 0 && filter.state.is_none_or(|wanted| wanted == *state));
        lanes.extend(states.map(|(state, _)| (index, Filter { queue: Some(queue.clone()), state: Some(state), ..filter.clone() })));
    }
    Ok(lanes)
}
