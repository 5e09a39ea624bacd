//! The words that jobs are found by, the same in every keeper: runs of letters and digits, in lower case and without accents.

use crate::job::Record;
use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Words of one job, at most; and bytes of each.
const WORDS_MAX: usize = 64;
const WORD_MAX_BYTES: usize = 40;

/// One thing every job found must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    Word(String),
    Beginning(String),
    /// The beginning of an id, with its dashes.
    Id(String),
}

impl Term {
    /// The beginning of an id that this may be: a run of hex digits without a dash may be a word as well.
    pub fn as_id(&self) -> Option<&str> {
        match self {
            Term::Id(id) => Some(id),
            Term::Beginning(word) if word.bytes().all(|b| b.is_ascii_hexdigit()) => Some(word),
            Term::Beginning(_) | Term::Word(_) => None,
        }
    }
}

/// The words a record is found by, parted by blanks. Its id is another matter.
pub fn of(record: &Record) -> String {
    let job = &record.job;
    let mut texts = vec![Cow::Borrowed(job.converter.as_str())];
    texts.extend(job.input.iter().map(|input| Cow::Borrowed(input.name.as_str())));
    texts.extend(job.outputs.iter().map(|output| Cow::Borrowed(output.name.as_str())));
    texts.extend(job.error.iter().map(|error| Cow::Borrowed(error.code.as_str())));
    texts.extend(job.fairness_key.iter().map(|key| Cow::Borrowed(key.as_str())));
    texts.extend(job.metadata.values().map(|value| value.as_str().map_or_else(|| Cow::Owned(value.to_string()), Cow::Borrowed)));
    let words: BTreeSet<String> = texts.iter().flat_map(|text| split(text)).collect();
    words.into_iter().take(WORDS_MAX).collect::<Vec<_>>().join(" ")
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
        let mut parts = split(word);
        let last = parts.pop();
        terms.extend(parts.into_iter().map(Term::Word));
        terms.extend(last.map(Term::Beginning));
    }
    terms
}

fn split(text: &str) -> Vec<String> {
    let text = without_accents(text);
    let shorten = |mut word: String| {
        word.truncate(word.floor_char_boundary(WORD_MAX_BYTES));
        word
    };
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(|word| shorten(word.to_lowercase())).collect()
}

/// An accent that is typed, missing or written as a sign of its own makes no other word.
fn without_accents(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let apart = DecomposingNormalizerBorrowed::new_nfd().normalize(text);
    let bare: String = apart.chars().filter(|c| !matches!(c, '\u{300}'..='\u{36f}')).collect();
    Cow::Owned(ComposingNormalizerBorrowed::new_nfc().normalize(&bare).into_owned())
}

/// As `019ab3c4-5678-7` is.
fn is_part_of_an_id(word: &str) -> bool {
    let is_fitting = |(at, c): (usize, char)| if matches!(at, 8 | 13 | 18 | 23) { c == '-' } else { c.is_ascii_hexdigit() };
    word.len() > 8 && word.len() <= 36 && word.chars().enumerate().all(is_fitting)
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
        assert_eq!((beginning("019a").as_id(), beginning("film").as_id()), (Some("019a"), None));
    }

    #[test]
    fn accents_make_no_difference_however_they_are_written() {
        for text in ["Zürich-Café.한국", "Zu\u{308}rich Cafe\u{301} 한국", "zurich cafe 한국"] {
            assert_eq!(split(text), ["zurich", "cafe", "한국"], "{text}");
        }
    }
}
