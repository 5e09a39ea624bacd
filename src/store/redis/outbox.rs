//! Letters to those who are told of jobs.

use super::scripts::{PURGE_LETTERS, SETTLE, TAKE_LETTERS};
use super::stored::{Facts, decode, leased};
use super::{RedisStore, maybe_milliseconds, milliseconds};
use crate::job::{Occasion, Record, State};
use crate::store::outbox::{is_wanted, letters};
use crate::store::{
    DELIVERIES_KEPT, Delivery, DeliveryFilter, DeliveryState, Due, LeaseLost, Letter, Outbox, Result, Settled, StoreError, Told, document,
};
use ::redis::{Cmd, Value, cmd};
use jiff::Timestamp;
use std::collections::HashMap;

/// Letters forgotten in one step.
const STEP: usize = 200;
/// Letters of one job that are looked through for those of one state.
const OF_JOB_MAX: usize = 10_000;

/// A letter as the scripts keep it.
type Fields = HashMap<String, String>;

#[async_trait::async_trait]
impl Outbox for RedisStore {
    async fn take_due(&self, max: usize, until: Timestamp, now: Timestamp) -> Result<Vec<Due>> {
        let call = TAKE_LETTERS.call(self.link().prefix()).arg(milliseconds(now)).arg(milliseconds(until)).arg(max).clone();
        let mut answers: Vec<Value> = decode(self.link().ask_one(&call).await?)?;
        let off: Vec<String> = if answers.is_empty() { Vec::new() } else { decode(answers.remove(0))? };
        let letter = |answer: Value| {
            let (id, fields): (String, Fields) = decode(answer)?;
            let delivery = Delivery { next_try: Some(until), ..delivery(&id, &fields)? };
            let is_off = delivery.url().is_some_and(|url| off.iter().any(|o| o == url));
            Ok(Due { told: told(&delivery, &fields)?, is_off, delivery })
        };
        answers.into_iter().map(letter).collect()
    }

    async fn settle(&self, settled: Settled, now: Timestamp) -> Result<std::result::Result<(), LeaseLost>> {
        let Settled { delivery, switched_off } = settled;
        let url = switched_off.map(|url| (url, true));
        Ok(if self.keep(&delivery, delivery.taken, url, now).await? { Ok(()) } else { Err(LeaseLost) })
    }

    async fn deliveries(&self, filter: DeliveryFilter) -> Result<Vec<Delivery>> {
        let (limit, below) = (filter.limit.clamp(1, 500), filter.before.as_ref().map_or("+".to_owned(), |id| format!("({id}")));
        let newest = |index: String, limit: usize| {
            cmd("ZREVRANGEBYLEX").arg(self.link().key(&index)).arg(&below).arg("-").arg("LIMIT").arg(0).arg(limit).clone()
        };
        let calls = match (filter.about(), filter.state) {
            (Some(id), _) => vec![newest(format!("letters:of:{id}"), OF_JOB_MAX)],
            (None, Some(state)) => vec![newest(format!("letters:{}", state as u8), limit)],
            (None, None) => DeliveryState::ALL.into_iter().map(|state| newest(format!("letters:{}", state as u8), limit)).collect(),
        };
        let mut ids = Vec::new();
        for answer in self.link().ask(|_| super::change::pipeline(&calls)).await? {
            ids.extend(decode::<Vec<String>>(answer)?);
        }
        ids.sort_by(|a, b| b.cmp(a));
        let mut found = Vec::new();
        for some in ids.chunks(limit) {
            found.extend(self.letters(some).await?.into_iter().map(|due| due.delivery).filter(|d| filter.state.is_none_or(|state| d.state == state)));
            if found.len() >= limit {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    async fn delivery(&self, id: &str) -> Result<Due> {
        let due = self.letters(&[id.to_owned()]).await?.pop().ok_or(StoreError::NotFound("delivery"))?;
        let Some(url) = due.delivery.url() else { return Ok(due) };
        let is_off: bool = decode(self.link().ask_one(cmd("HEXISTS").arg(self.link().key("off")).arg(url)).await?)?;
        Ok(Due { is_off, ..due })
    }

    async fn replay(&self, id: &str, now: Timestamp) -> Result<Delivery> {
        loop {
            let known = self.delivery(id).await?.delivery;
            let mut delivery = known.clone();
            delivery.replay(now);
            let url = delivery.url().map(|url| (url.to_owned(), false));
            if self.keep(&delivery, known.taken, url, now).await? {
                return Ok(delivery);
            }
        }
    }
}

impl RedisStore {
    /// Writes a letter back that was taken so often, and switches its endpoint; false when somebody else has taken it since.
    async fn keep(&self, delivery: &Delivery, taken: u32, url: Option<(String, bool)>, now: Timestamp) -> Result<bool> {
        let (url, is_off) = url.map_or((String::new(), false), |(url, is_off)| (url, is_off));
        let mut call = SETTLE.call(self.link().prefix());
        call.arg(&delivery.id).arg(taken).arg(delivery.taken).arg(delivery.state as u8).arg(maybe_milliseconds(delivery.next_try));
        call.arg(document::text(delivery)?).arg(url).arg(if is_off { "1" } else { "" }).arg(milliseconds(now));
        match decode::<String>(self.link().ask_one(&call).await?)?.as_str() {
            "" => Err(StoreError::NotFound("delivery")),
            answer => Ok(answer == "done"),
        }
    }

    async fn letters(&self, ids: &[String]) -> Result<Vec<Due>> {
        let fields = |id: &String| cmd("HGETALL").arg(self.link().key(&format!("letter:{id}"))).clone();
        let due = |id: &String| cmd("ZSCORE").arg(self.link().key("outbox")).arg(id).clone();
        let calls: Vec<Cmd> = ids.iter().flat_map(|id| [fields(id), due(id)]).collect();
        let mut answers = self.link().ask(|_| super::change::pipeline(&calls)).await?.into_iter();
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            let (fields, due): (Fields, Option<f64>) = (decode(answers.next().unwrap_or(Value::Nil))?, decode(answers.next().unwrap_or(Value::Nil))?);
            // Purged meanwhile.
            if fields.is_empty() {
                continue;
            }
            let delivery = Delivery { next_try: due.map(|at| document::time(at as i64)), ..delivery(id, &fields)? };
            found.push(Due { told: told(&delivery, &fields)?, is_off: false, delivery });
        }
        Ok(found)
    }

    /// Forgets the ended ones that are past their time.
    pub async fn purge_letters(&self, now: Timestamp) -> Result<()> {
        let first = Delivery::first_id(now.saturating_sub(DELIVERIES_KEPT).unwrap_or(Timestamp::MIN));
        loop {
            let call = PURGE_LETTERS.call(self.link().prefix()).arg(&first).arg(STEP).clone();
            if decode::<usize>(self.link().ask_one(&call).await?)? < STEP {
                return Ok(());
            }
        }
    }
}

/// Letters as the scripts take them: their number, then of each its id, its JSON and what it tells of.
pub fn add_letters<'l>(call: &mut Cmd, letters: impl IntoIterator<Item = &'l Letter, IntoIter: ExactSizeIterator>) -> Result<()> {
    let letters = letters.into_iter();
    call.arg(letters.len());
    for Letter { delivery, told } in letters {
        call.arg(&delivery.id).arg(document::text(delivery)?).arg(document::text(told)?);
    }
    Ok(())
}

/// What the script of a lease writes when this job starts, for it knows no JSON: '' to leave it as it is, '-' to forget it.
pub fn watch(record: &Record) -> Result<String> {
    if !is_wanted(record, Occasion::Started) || record.job.state == State::Running {
        return Ok(String::new());
    }
    if record.job.state.is_terminal() {
        return Ok("-".into());
    }
    // Only a webhook can want it, so there is one at most.
    let letter = letters(record, Occasion::Started.as_str(), Timestamp::UNIX_EPOCH).into_iter().next();
    letter.map_or_else(|| Ok(String::new()), |letter| document::text(&letter.delivery))
}

fn delivery(id: &str, fields: &Fields) -> Result<Delivery> {
    let mut delivery: Delivery = document::parse(fields.get("d").map(String::as_str).unwrap_or_default())?;
    delivery.taken = fields.get("a").and_then(|n| n.parse().ok()).unwrap_or(delivery.taken);
    if let Some(facts) = fields.get("f") {
        delivery.at = document::parse::<Facts>(facts)?.now;
        delivery.id = id.to_owned();
    }
    Ok(delivery)
}

fn told(delivery: &Delivery, fields: &Fields) -> Result<Told> {
    if let Some(told) = fields.get("j") {
        return Told::read(delivery, told);
    }
    // It has just been leased.
    let text = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
    let mut record: Record = document::parse(text("b").split_once('\n').map_or("", |(_, json)| json))?;
    leased(&mut record, text("f"), text("t"))?;
    Ok(Told::Job(Box::new(record.job)))
}
