//! What a document gives away beside what is printed.

mod legacy;
pub mod package;
pub mod pdf;

pub use legacy::of_compound;

use crate::job::Disclosure;
use memchr::memmem;
use std::collections::BTreeSet;

/// What properties give away, by the names that office formats have for them.
const PROPERTIES: [(Disclosure, &[&str]); 4] = [
    (Disclosure::Author, &["creator", "initial-creator", "printed-by", "lastModifiedBy", "Company", "Manager", "publisher", "contributor"]),
    (Disclosure::Software, &["Application", "generator"]),
    (Disclosure::Time, &["created", "modified", "lastPrinted", "creation-date", "print-date", "date"]),
    (Disclosure::Description, &["title", "subject", "description", "keywords", "keyword", "category"]),
];

/// What rich text has, by the words of its groups.
const RICH_TEXT: [(Disclosure, &[&str]); 7] = [
    (Disclosure::Author, &["{\\author ", "{\\operator ", "{\\company ", "{\\manager "]),
    (Disclosure::Software, &["{\\*\\generator ", "{\\generator "]),
    (Disclosure::Time, &["{\\creatim", "{\\revtim"]),
    (Disclosure::Description, &["{\\title ", "{\\subject ", "{\\keywords ", "{\\doccomm "]),
    (Disclosure::Comments, &["{\\*\\annotation"]),
    (Disclosure::TrackedChanges, &["\\revauth", "\\revauthdel"]),
    (Disclosure::Attachments, &["\\objemb"]),
];

/// What a page of HTML has, in small letters.
const PAGE: [(Disclosure, &[&str]); 5] = [
    (Disclosure::Author, &["name=\"author\"", "name=\"copyright\"", "name=\"changedby\""]),
    (Disclosure::Software, &["name=\"generator\""]),
    (Disclosure::Time, &["name=\"created\"", "name=\"changed\"", "name=\"date\""]),
    (Disclosure::Description, &["name=\"description\"", "name=\"keywords\"", "name=\"subject\""]),
    (Disclosure::Macros, &["<script"]),
];

/// What a property of this name gives away.
pub fn of_property(name: &str) -> Option<Disclosure> {
    PROPERTIES.iter().find(|(_, names)| names.contains(&name)).map(|(what, _)| *what)
}

pub fn of_rich_text(bytes: &[u8]) -> BTreeSet<Disclosure> {
    among(bytes, &RICH_TEXT)
}

pub fn of_page(bytes: &[u8]) -> BTreeSet<Disclosure> {
    among(&bytes.to_ascii_lowercase(), &PAGE)
}

fn among(bytes: &[u8], signs: &[(Disclosure, &[&str])]) -> BTreeSet<Disclosure> {
    let has = |words: &[&str]| words.iter().any(|word| memmem::find(bytes, word.as_bytes()).is_some());
    signs.iter().filter(|(_, words)| has(words)).map(|(what, _)| *what).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_known_by_their_marks() {
        let rich = br"{\rtf1{\info{\author A. Writer}{\creatim\yr2026}}{\*\generator X;}text}";
        assert_eq!(of_rich_text(rich), BTreeSet::from([Disclosure::Author, Disclosure::Software, Disclosure::Time]));
        assert_eq!(of_rich_text(br"{\rtf1 author}"), BTreeSet::new());
        let page = b"<html><META NAME=\"Author\" content=\"x\"><SCRIPT>1</SCRIPT></html>";
        assert_eq!(of_page(page), BTreeSet::from([Disclosure::Author, Disclosure::Macros]));
    }
}
