//! Searches by words, newest row first. What is rarest leads, a word or what else is asked for; the others are looked up in the rows it
//! leads to. Nothing here reads all jobs of a frequent word.

use super::pages::{self, Narrowed};
use super::tables::{Tx, one, parse, rows};
use crate::job::Record;
use crate::store::words::{self, Term};
use crate::store::{Filter, Result, document};
use rusqlite::{Connection, Row, params};

/// Rows looked at for one page: beyond it a search that finds next to nothing ends.
const CANDIDATES_MAX: usize = 10_000;
/// So many rows are no more than a page's work.
const FEW: usize = 2000;
/// Different words that a beginning stands for.
const WORDS_MAX: usize = 64;
/// Rows of one word read at a time.
const STEP: usize = 100;

/// Writes down what a search finds a job by.
pub fn index(tx: &Tx<'_>, seq: i64, words: &str) -> Result<()> {
    words.split_ascii_whitespace().try_for_each(|word| tx.execute("INSERT OR IGNORE INTO job_words VALUES (?1, ?2)", params![word, seq]).map(drop))
}

pub fn forget(tx: &Tx<'_>, seq: i64, words: &str) -> Result<()> {
    words.split_ascii_whitespace().try_for_each(|word| tx.execute("DELETE FROM job_words WHERE word = ?1 AND job = ?2", params![word, seq]).map(drop))
}

/// Does so for the jobs of a database that had another index.
pub fn index_all(connection: &Connection) -> Result<()> {
    let tx = Tx::new(connection);
    let mut last = i64::MIN;
    loop {
        let next = one(connection, "SELECT seq, record FROM jobs WHERE seq > ?1 ORDER BY seq LIMIT 1", &[&last], |r| {
            Ok((r.get::<_, i64>(0)?, r.get::<_, String>(1)?))
        })?;
        let Some((seq, record)) = next else { return Ok(()) };
        // One that cannot be read is told of where it is wanted.
        let words = document::parse(&record).map(|record| words::of(&record)).unwrap_or_default();
        tx.execute("UPDATE jobs SET words = ?2 WHERE seq = ?1", params![seq, words])?;
        index(&tx, seq, &words)?;
        last = seq;
    }
}

pub fn search(connection: &Connection, filter: &Filter, terms: &[Term]) -> Result<Vec<Record>> {
    let before = filter.before.map(|id| pages::place(connection, id)).transpose()?;
    let below = match before {
        None => i64::MAX,
        Some(Some((_, seq))) => seq,
        Some(None) => return Ok(Vec::new()),
    };
    let mut candidates = leader(connection, filter, terms, below)?;
    let mut narrowed = Narrowed::by(filter);
    narrowed.and("seq = ?", 0i64);
    let sql = format!("SELECT id, words, record FROM jobs WHERE 1{}", narrowed.sql);
    let mut page = Vec::new();
    for _ in 0..CANDIDATES_MAX {
        let Some(seq) = candidates.next(connection)? else { break };
        if let Some(last) = narrowed.values.last_mut() {
            *last = seq.into();
        }
        if let Some(Some(record)) = one(connection, &sql, &narrowed.params(), |row| fitting(row, terms))? {
            page.push(parse(&record)?);
            if page.len() == filter.limit {
                break;
            }
        }
    }
    Ok(page)
}

/// The record of a row that has every term.
fn fitting(row: &Row<'_>, terms: &[Term]) -> rusqlite::Result<Option<String>> {
    let (id, words) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?);
    let has = |term: &Term| {
        let has_word = |fits: &dyn Fn(&str) -> bool| words.split(' ').any(fits);
        let is_id = term.as_id().is_some_and(|beginning| id.starts_with(beginning));
        is_id
            || match term {
                Term::Word(wanted) => has_word(&|word| word == wanted),
                Term::Beginning(wanted) => has_word(&|word| word.starts_with(wanted)),
                Term::Id(_) => false,
            }
    };
    if terms.iter().all(has) { row.get(2).map(Some) } else { Ok(None) }
}

/// Rows in falling order, from several places at once.
struct Candidates {
    sources: Vec<Source>,
    below: i64,
}

struct Source {
    /// Read ahead; the newest is the last.
    rows: Vec<i64>,
    kind: Kind,
}

enum Kind {
    Word(String),
    /// Every job from this one on.
    AllUpTo(i64),
    /// There are no more than those read.
    Exhausted,
}

impl Candidates {
    fn next(&mut self, connection: &Connection) -> Result<Option<i64>> {
        let below = self.below;
        let mut newest = None;
        for source in &mut self.sources {
            newest = newest.max(source.newest(connection, below)?);
        }
        self.below = newest.unwrap_or(i64::MIN);
        Ok(newest)
    }
}

impl Source {
    fn read(mut rows: Vec<i64>) -> Source {
        rows.sort_unstable();
        Source { rows, kind: Kind::Exhausted }
    }

    fn newest(&mut self, connection: &Connection, below: i64) -> Result<Option<i64>> {
        while self.rows.last().is_some_and(|row| *row >= below) {
            self.rows.pop();
        }
        if self.rows.is_empty() {
            let read = |r: &Row<'_>| r.get(0);
            self.rows = match &self.kind {
                Kind::Word(word) => {
                    let sql = "SELECT job FROM job_words WHERE word = ?1 AND job < ?2 ORDER BY job DESC LIMIT ?3";
                    rows(connection, sql, &[word, &below, &(STEP as i64)], read)?
                }
                Kind::AllUpTo(newest) => {
                    let sql = "SELECT seq FROM jobs WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2";
                    rows(connection, sql, &[&below.min(newest.saturating_add(1)), &(STEP as i64)], read)?
                }
                Kind::Exhausted => Vec::new(),
            };
            if self.rows.len() < STEP {
                self.kind = Kind::Exhausted;
            }
            self.rows.reverse();
        }
        Ok(self.rows.last().copied())
    }
}

/// The shortest way to all that may fit.
fn leader(connection: &Connection, filter: &Filter, terms: &[Term], below: i64) -> Result<Candidates> {
    let mut rarest = None;
    for term in terms {
        let lists = Lists::of(connection, term)?;
        let size = lists.size(connection)?;
        if rarest.as_ref().is_none_or(|(least, _)| size < *least) {
            rarest = Some((size, lists));
        }
    }
    let Some((size, lists)) = rarest else { return Ok(Candidates { sources: Vec::new(), below }) };
    let is_narrow = filter.state.is_some() || filter.owner.is_some() || filter.pipeline.is_some() || filter.since.is_some();
    if is_narrow && size > 0 {
        let few = pages::places(connection, &by_index(filter), None, FEW + 1)?;
        if few.len() <= FEW.min(size) {
            return Ok(Candidates { sources: vec![Source::read(few.into_iter().map(|(_, seq)| seq).collect())], below });
        }
    }
    Ok(Candidates { sources: lists.into_sources(), below })
}

/// As much of a filter as an index answers.
fn by_index(filter: &Filter) -> Filter {
    match filter.clone() {
        Filter { state, owner: Some(owner), since, until, pipeline: None, .. } => {
            Filter { state, owner: Some(owner), since, until, ..Filter::default() }
        }
        filter => filter,
    }
}

/// Where the jobs are that have one term.
struct Lists {
    words: Vec<String>,
    /// The newest of those whose id begins so, a few at most.
    ids: Vec<i64>,
    /// There are too many words that begin so: it is looked for in every job.
    is_anywhere: bool,
}

impl Lists {
    fn of(connection: &Connection, term: &Term) -> Result<Lists> {
        let words = match term {
            Term::Word(word) => vec![word.clone()],
            Term::Beginning(beginning) => begun_by(connection, beginning)?,
            Term::Id(_) => Vec::new(),
        };
        let ids = term.as_id().map_or(Ok(Vec::new()), |beginning| of_id(connection, beginning))?;
        Ok(Lists { is_anywhere: words.len() == WORDS_MAX, words, ids })
    }

    /// How many they are; beyond a few it is all the same.
    fn size(&self, connection: &Connection) -> Result<usize> {
        if self.is_anywhere {
            return Ok(usize::MAX);
        }
        let mut size = self.ids.len();
        for word in &self.words {
            if size > FEW {
                break;
            }
            let sql = "SELECT count(*) FROM (SELECT 1 FROM job_words WHERE word = ?1 LIMIT ?2)";
            size += one(connection, sql, &[word, &(FEW as i64 + 1)], |r| r.get::<_, i64>(0))?.unwrap_or(0) as usize;
        }
        Ok(size)
    }

    fn into_sources(self) -> Vec<Source> {
        if self.is_anywhere {
            return vec![Source { rows: Vec::new(), kind: Kind::AllUpTo(i64::MAX) }];
        }
        let word = |word| Source { rows: Vec::new(), kind: Kind::Word(word) };
        let mut sources: Vec<Source> = self.words.into_iter().map(word).collect();
        // Ids of one beginning lie together: where there are many, all from their newest on are looked at.
        sources.push(match self.ids.iter().max() {
            Some(newest) if self.ids.len() > FEW => Source { rows: Vec::new(), kind: Kind::AllUpTo(*newest) },
            _ => Source::read(self.ids),
        });
        sources
    }
}

/// The newest few jobs whose id begins so, and one more if there are more.
fn of_id(connection: &Connection, beginning: &str) -> Result<Vec<i64>> {
    let sql = "SELECT seq FROM jobs WHERE id >= ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3";
    rows(connection, sql, &[&beginning, &after_all(beginning), &(FEW as i64 + 1)], |r| r.get(0))
}

/// The different words that begin so, one look each.
fn begun_by(connection: &Connection, beginning: &str) -> Result<Vec<String>> {
    let end = after_all(beginning);
    let mut words: Vec<String> = Vec::new();
    while words.len() < WORDS_MAX {
        let (sql, from) = match words.last() {
            None => ("SELECT min(word) FROM job_words WHERE word >= ?1 AND word < ?2", beginning),
            Some(last) => ("SELECT min(word) FROM job_words WHERE word > ?1 AND word < ?2", last.as_str()),
        };
        match one(connection, sql, &[&from, &end], |r| r.get::<_, Option<String>>(0))?.flatten() {
            Some(word) => words.push(word),
            None => break,
        }
    }
    Ok(words)
}

/// What all that begin so sort before.
fn after_all(beginning: &str) -> String {
    format!("{beginning}{}", char::MAX)
}
