//! The sums by minute and hour: a hash for each, which expires by itself.

use super::RedisStore;
use super::change::pipeline;
use super::stored::decode;
use crate::store::{History, Measure, Result, Step, Stretch, Sums};
use ::redis::{Cmd, cmd};
use jiff::Timestamp;
use std::collections::HashMap;

/// Between queue and measure in a field's name; no queue's name has it.
const BETWEEN: char = '|';

#[async_trait::async_trait]
impl History for RedisStore {
    async fn add(&self, sums: Sums, now: Timestamp) -> Result<()> {
        let commands: Vec<Cmd> = Step::ALL.into_iter().flat_map(|step| self.additions(step, &sums, now)).collect();
        self.link().ask(|_| pipeline(&commands)).await.map(drop)
    }

    async fn history(&self, step: Step, since: Timestamp, now: Timestamp) -> Result<Vec<Stretch>> {
        let starts = std::iter::successors(Some(step.start(since)), |start| start.checked_add(step.length()).ok());
        let starts: Vec<Timestamp> = starts.take_while(|start| *start <= now).collect();
        let commands: Vec<Cmd> = starts.iter().map(|start| cmd("HGETALL").arg(self.stretch(step, *start)).clone()).collect();
        let mut found = Vec::new();
        for (start, answer) in starts.into_iter().zip(self.link().ask(|_| pipeline(&commands)).await?) {
            let fields: HashMap<String, f64> = decode(answer)?;
            let mut sums = Sums::new();
            for (field, value) in fields {
                if let Some((queue, measure)) = field.rsplit_once(BETWEEN)
                    && let Some(measure) = Measure::parse(measure)
                {
                    sums.entry(queue.to_owned()).or_default().insert(measure, value);
                }
            }
            if !sums.is_empty() {
                found.push(Stretch { start, sums });
            }
        }
        Ok(found)
    }
}

impl RedisStore {
    fn stretch(&self, step: Step, start: Timestamp) -> String {
        self.link().key(&format!("history:{}:{}", step.length().as_secs(), start.as_second()))
    }

    fn additions(&self, step: Step, sums: &Sums, now: Timestamp) -> Vec<Cmd> {
        let key = self.stretch(step, step.start(now));
        let add = |queue: &str, measure: Measure, value: f64| {
            cmd("HINCRBYFLOAT").arg(&key).arg(format!("{queue}{BETWEEN}{}", measure.as_str())).arg(value).clone()
        };
        let mut commands: Vec<Cmd> =
            sums.iter().flat_map(|(queue, measures)| measures.iter().map(|(measure, value)| add(queue, *measure, *value))).collect();
        let kept_for = step.kept_for() + step.length();
        commands.push(cmd("EXPIRE").arg(&key).arg(kept_for.as_secs()).clone());
        commands
    }
}
