//! Listing by words: asks search.lua, step by step.

use super::scripts::SEARCH;
use super::stored::{Stored, decode};
use super::{RedisStore, maybe_milliseconds, read_all};
use crate::store::words::Term;
use crate::store::{Filter, Result};
use ::redis::{Cmd, Value};

/// Jobs looked at in one script: it holds the server for some milliseconds.
const CANDIDATES: usize = 1000;
/// Scripts for one page: beyond it a search that finds next to nothing ends.
const ROUNDS: usize = 10;

/// State, queue, format, pipeline and times, as list.lua and search.lua take them.
pub fn narrow(call: &mut Cmd, filter: &Filter) {
    call.arg(filter.state.map(|s| (s as u8).to_string()).unwrap_or_default()).arg(filter.queue.as_deref().unwrap_or_default());
    call.arg(filter.format.map(|f| f.id()).unwrap_or_default());
    call.arg(filter.pipeline.map(|id| id.to_string()).unwrap_or_default()).arg(filter.step.as_deref().unwrap_or_default());
    call.arg(maybe_milliseconds(filter.since)).arg(maybe_milliseconds(filter.until));
}

impl RedisStore {
    pub async fn search(&self, filter: &Filter, terms: &[Term]) -> Result<Vec<Stored>> {
        let mut before = filter.before.map(|id| id.to_string()).unwrap_or_default();
        let mut page = Vec::new();
        for _ in 0..ROUNDS {
            let mut call = SEARCH.call(self.link().prefix());
            call.arg(filter.limit - page.len()).arg(CANDIDATES).arg(&before);
            narrow(&mut call, filter);
            for term in terms {
                let (kind, word) = match term {
                    Term::Word(word) => ("=", word),
                    Term::Beginning(word) => ("*", word),
                    Term::Id(word) => ("#", word),
                };
                call.arg(kind).arg(word);
            }
            let mut found: Vec<Value> = decode(self.link().ask_one(&call).await?)?;
            before = decode(found.remove(0))?;
            page.extend(read_all(found)?);
            if before.is_empty() || page.len() >= filter.limit {
                break;
            }
        }
        Ok(page)
    }
}
