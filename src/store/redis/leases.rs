//! The worker's verbs.

use super::change::{Change, pipeline};
use super::outbox::add_letters;
use super::scripts::{LEASE, RENEW};
use super::stored::{self, Facts, Stored, decode, is_nothing};
use super::{RedisStore, milliseconds, read_all};
use crate::job::{Job, Lease, LogLine, Record};
use crate::limits::Rate;
use crate::store::outbox::progress_letters;
use crate::store::{
    Delivery, Finish, LeaseLost, LeaseRequest, Leases, OutputDone, Renewal, Renewed, Result, StoreError, Tuning, document, transition,
};
use ::redis::{Cmd, Pipeline, Value, cmd};
use jiff::Timestamp;

pub type Fenced<T> = std::result::Result<T, LeaseLost>;

/// Leases taken back, and waiting jobs failed as expired, in one call of the reaper.
const REAPED_MAX: usize = 100;

#[async_trait::async_trait]
impl Leases for RedisStore {
    async fn lease(&self, request: LeaseRequest, now: Timestamp) -> Result<Vec<Record>> {
        if request.max == 0 {
            return Ok(Vec::new());
        }
        let call = self.lease_call(&request, now)?;
        loop {
            let mut answers = self.link().ask(|repeated| std::mem::take(Pipeline::new().add_command(repeatable(&call, repeated)))).await?;
            match leased(answers.pop().unwrap_or(Value::Nil))? {
                Leased::Records(found) => return Ok(self.hold(found)),
                Leased::Expired(expired) => self.expire(expired, now).await?,
            }
        }
    }

    async fn next_start(&self, queue: &str, rate_limit: Option<Rate>, now: Timestamp) -> Result<Option<Timestamp>> {
        let get = |table: &str| cmd("HGET").arg(self.link().key(table)).arg(queue).clone();
        let mut answers = self.link().ask(|_| pipeline(&[get("tunings"), get("starts")])).await?.into_iter();
        let (tuning, last): (Option<String>, Option<i64>) =
            (decode(answers.next().unwrap_or(Value::Nil))?, decode(answers.next().unwrap_or(Value::Nil))?);
        let tuning: Tuning = tuning.map(|text| document::parse(&text)).transpose()?.unwrap_or_default();
        let last = last.and_then(|at| Timestamp::from_microsecond(at).ok()).unwrap_or(Timestamp::MIN);
        Ok(tuning.rate_limit.unwrap_or(rate_limit).map(|rate| rate.opens(last)).filter(|opens| *opens > now))
    }

    async fn renew(&self, renewals: Vec<Renewal>, until: Timestamp, now: Timestamp) -> Result<Vec<Renewed>> {
        if renewals.is_empty() {
            return Ok(Vec::new());
        }
        let mut call = RENEW.call(self.link().prefix());
        call.arg(milliseconds(until)).arg(self.operation()).arg(milliseconds(now));
        for renewal in &renewals {
            self.add_renewal(&mut call, renewal, now)?;
        }
        let answers: Vec<Value> = decode(self.link().ask_one(&call).await?)?;
        let mut renewed = Vec::with_capacity(renewals.len());
        for (renewal, answer) in renewals.iter().zip(answers) {
            renewed.push(self.renewed(renewal, answer).await?);
        }
        Ok(renewed)
    }

    async fn output_done(&self, lease: Lease, done: OutputDone, now: Timestamp) -> Result<Fenced<()>> {
        let told = self.fenced(lease, now, |record| output_done(record, done.clone(), now));
        Ok(told.await?.map(drop))
    }

    async fn finish(&self, finish: Finish, now: Timestamp) -> Result<Fenced<Job>> {
        let told = self.fenced(finish.lease, now, |record| finished(record, &finish, now));
        Ok(told.await?.map(|record| record.job))
    }

    async fn finish_and_lease(&self, end: Finish, request: LeaseRequest, now: Timestamp) -> Result<(Fenced<Job>, Vec<Record>)> {
        self.take_turn(end, request, now).await
    }

    async fn release(&self, lease: Lease, log: Vec<LogLine>, now: Timestamp) -> Result<Fenced<()>> {
        let told = self.fenced(lease, now, |record| {
            let kind = transition::release(record, now);
            Change::transition(record, kind, now).with_log(&log)
        });
        Ok(told.await?.map(drop))
    }

    async fn reap(&self, limit: Timestamp, now: Timestamp) -> Result<Vec<Lease>> {
        self.tell().await?;
        let expired = self.select("expiry", Some(now), REAPED_MAX).await?;
        self.expire(expired, now).await?;
        let lost = self.select("leased", Some(limit), REAPED_MAX).await?;
        let leases: Vec<Lease> = lost.iter().map(|s| Lease { job: s.id(), attempt: s.record.job.attempt }).collect();
        let done = self.change_all(lost, now, |record| Some(transition::reap(record, now))).await?;
        Ok(leases.into_iter().zip(done).filter_map(|(lease, done)| done.then_some(lease)).collect())
    }
}

/// What a lease's script answers.
pub enum Leased {
    Records(Vec<Stored>),
    /// These are past their time and must be failed first.
    Expired(Vec<Stored>),
}

impl RedisStore {
    /// All arguments but the last, which [`repeatable`] adds.
    pub fn lease_call(&self, request: &LeaseRequest, now: Timestamp) -> Result<Cmd> {
        let facts = Facts { worker: request.worker.clone(), sandbox_level: request.sandbox_level, now };
        let mut call = LEASE.call(self.link().prefix());
        call.arg(milliseconds(now)).arg(&request.queue).arg(request.max).arg(milliseconds(request.until));
        call.arg(document::text(&facts)?).arg(self.operation());
        call.arg(request.rate_limit.map(|rate| rate.to_string()).unwrap_or_default()).arg(now.as_microsecond()).arg(Delivery::new_id());
        Ok(call)
    }

    pub fn hold(&self, leased: Vec<Stored>) -> Vec<Record> {
        leased.iter().for_each(|stored| self.held().put(stored.clone()));
        leased.into_iter().map(|stored| stored.record).collect()
    }

    /// Changes a record if the lease still holds.
    async fn fenced(&self, lease: Lease, now: Timestamp, mut apply: impl FnMut(&mut Record) -> Change) -> Result<Fenced<Record>> {
        let changed = self.change(lease.job, now, |record| if transition::is_held(record, lease) { Ok(apply(record)) } else { Err(LeaseLost) });
        match changed.await {
            Err(StoreError::NotFound(_)) => Ok(Err(LeaseLost)),
            told => told,
        }
    }

    pub async fn expire(&self, expired: Vec<Stored>, now: Timestamp) -> Result<()> {
        self.change_all(expired, now, |record| Some(transition::expire(record, now))).await.map(drop)
    }

    fn add_renewal(&self, call: &mut Cmd, renewal: &Renewal, now: Timestamp) -> Result<()> {
        let (lease, facts) = (renewal.lease, stored::facts(renewal)?);
        call.arg(lease.job.to_string()).arg(lease.attempt).arg(self.held().version(lease.job)).arg(facts.len());
        for (name, text) in facts {
            call.arg(name).arg(text);
        }
        call.arg(renewal.log.len());
        for line in &renewal.log {
            call.arg(document::text(line)?);
        }
        // Of an attempt whose record is not known here no progress is told; there will be more.
        let letters = self.held().look(lease.job, |record| {
            let mut record = record.clone();
            let before = record.job.progress.percent;
            transition::renew(&mut record, renewal);
            progress_letters(&record, before, now)
        });
        add_letters(call, &letters.unwrap_or_default())
    }

    async fn renewed(&self, renewal: &Renewal, answer: Value) -> Result<Renewed> {
        let id = renewal.lease.job;
        let stored = match answer {
            nothing if is_nothing(&nothing) => None,
            found @ Value::Array(_) => Stored::read(found)?,
            version => match self.held().renew(renewal, decode(version)?, |stored| held(&stored.record)) {
                Some(held) => return Ok(held),
                // Another verb of this process had the record in its hands.
                None => {
                    self.read(id).await.map(Some).or_else(|error| if matches!(error, StoreError::NotFound(_)) { Ok(None) } else { Err(error) })?
                }
            },
        };
        match stored.filter(|stored| transition::is_held(&stored.record, renewal.lease)) {
            Some(stored) => {
                let held = held(&stored.record);
                self.held().put(stored);
                Ok(held)
            }
            None => {
                self.held().take(id);
                Ok(Renewed::Lost)
            }
        }
    }
}

fn held(record: &Record) -> Renewed {
    let job = &record.job;
    Renewed::Held { cancel: job.cancel, soft_time_limit: job.soft_time_limit, hard_time_limit: job.hard_time_limit }
}

pub fn repeatable(call: &Cmd, repeated: bool) -> Cmd {
    call.clone().arg(if repeated { "1" } else { "" }).clone()
}

pub fn leased(answer: Value) -> Result<Leased> {
    let mut found: Vec<Value> = decode(answer)?;
    let kind: String = if found.is_empty() { String::new() } else { decode(found.remove(0))? };
    let found = read_all(found)?;
    Ok(if kind == "expired" { Leased::Expired(found) } else { Leased::Records(found) })
}

fn output_done(record: &mut Record, done: OutputDone, now: Timestamp) -> Change {
    let detail = serde_json::json!({"output": done.group, "files": done.entries.len()});
    let kind = transition::output_done(record, done);
    Change::event(record, kind, detail, now)
}

pub fn finished(record: &mut Record, finish: &Finish, now: Timestamp) -> Change {
    let told = finish.output.clone().map(|done| output_done(record, done, now));
    let kind = transition::finish(record, finish, now);
    let change = Change::transition(record, kind, now).with_log(&finish.log);
    match told {
        Some(told) => change.after(told),
        None => change,
    }
}
