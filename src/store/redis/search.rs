//! Listing by words: what a client typed becomes terms for search.lua.

use super::scripts::SEARCH;
use super::stored::{self, Stored, decode};
use super::{RedisStore, maybe_milliseconds, read_all};
use crate::store::{Filter, Result};
use ::redis::{Cmd, Value};

/// Jobs looked at in one script: it holds the server for some milliseconds.
const CANDIDATES: usize = 1000;
/// Scripts for one page: beyond it a search that finds next to nothing ends.
const ROUNDS: usize = 10;

/// One thing every job found must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    Word(String),
    Beginning(String),
    /// The beginning of an id, with its dashes.
    Id(String),
}

/// Every word of the text must be there; the last run of letters in each may go on.
pub fn terms(text: &str) -> Vec<Term> {
    let mut terms = Vec::new();
    for word in text.split_whitespace() {
        let lower = word.to_lowercase();
        if is_part_of_an_id(&lower) {
            terms.push(Term::Id(lower));
            continue;
        }
        let mut parts: Vec<String> = stored::split(word).collect();
        let last = parts.pop();
        terms.extend(parts.into_iter().map(Term::Word));
        terms.extend(last.map(Term::Beginning));
    }
    terms
}

/// As `019ab3c4-5678-7` is; a run of hex digits without a dash may be a word as well, which search.lua heeds.
fn is_part_of_an_id(word: &str) -> bool {
    let is_fitting = |(at, c): (usize, char)| if matches!(at, 8 | 13 | 18 | 23) { c == '-' } else { c.is_ascii_hexdigit() };
    word.len() > 8 && word.len() <= 36 && word.chars().enumerate().all(is_fitting)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_ids_and_signs_are_told_apart() {
        let (word, beginning) = (|w: &str| Term::Word(w.into()), |w: &str| Term::Beginning(w.into()));
        assert_eq!(terms("My holiday.MO"), [beginning("my"), word("holiday"), beginning("mo")]);
        assert_eq!(terms("019AB3C4-5678"), [Term::Id("019ab3c4-5678".into())]);
        assert_eq!(terms("019ab3c4"), [beginning("019ab3c4")]);
        assert_eq!(terms("\" * --"), []);
    }
}
