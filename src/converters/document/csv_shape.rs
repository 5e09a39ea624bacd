//! What a table of text is made of, where nobody says: its character set and what stands between its fields.

use crate::convert::OutOfRange;
use crate::converters::charset;
use crate::failure::Failure;
use encoding_rs::Encoding;

/// Candidates, the likeliest first.
const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Enough lines to see a pattern.
const LINES: usize = 50;

/// How a table is read.
pub struct Shape {
    /// None: found out.
    pub separator: Option<char>,
    /// Whether tabs are what the name promises.
    pub tabs: bool,
}

impl Shape {
    pub fn reader<'t>(&self, text: &'t str) -> csv::Reader<&'t [u8]> {
        let separator = match self.separator.and_then(|c| u8::try_from(c).ok()) {
            Some(separator) => separator,
            None if self.tabs => b'\t',
            None => separator(text),
        };
        csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(separator).from_reader(text.as_bytes())
    }
}

/// Refuses what cannot stand between fields.
pub fn check_separator(field: &str, separator: Option<char>) -> Result<(), OutOfRange> {
    match separator {
        Some(c) if !c.is_ascii() || c.is_ascii_alphanumeric() || matches!(c, '"' | '\n' | '\r' | '\0') => {
            Err(OutOfRange::new(field, c, "one ASCII character that is no letter, digit, quote or line end"))
        }
        _ => Ok(()),
    }
}

/// The separator that cuts the most of the first lines into the same number of fields, and into more than one.
fn separator(text: &str) -> u8 {
    let score = |separator: u8| {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(separator).from_reader(text.as_bytes());
        let counts: Vec<usize> = reader.records().take(LINES).map_while(Result::ok).map(|record| record.len()).collect();
        let first = counts.first().copied().unwrap_or(0);
        let alike = counts.iter().filter(|count| **count == first).count();
        if first < 2 { (0, 0) } else { (alike, first) }
    };
    // The first of equals wins.
    SEPARATORS.into_iter().rev().max_by_key(|separator| score(*separator)).unwrap_or(b',')
}

/// The text of a table: in this character set, or else in UTF-8, or else in what it looks like. A byte order mark outranks all.
pub fn decoded(bytes: &[u8], encoding: Option<&'static Encoding>) -> Result<String, Failure> {
    let (text, used, broken) = encoding.unwrap_or_else(|| charset::guess(bytes)).decode(bytes);
    if broken {
        return Err(Failure::corrupt(format!("The table is not written in {}.", used.name()))
            .hint("Give its character set in the option `csv.encoding`.")
            .stage("open"));
    }
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_are_found_out() {
        assert_eq!(separator("a,b\n1,2\n"), b',');
        assert_eq!(separator("name;price\nx;1,50\ny;2,75\n"), b';');
        assert_eq!(separator("a\tb\tc\n1\t2, 3\t4\n"), b'\t');
        assert_eq!(separator("a|b\n\"x,y\"|c\n"), b'|');
        assert_eq!(separator("one column\nno more\n"), b',');
        assert_eq!(separator(""), b',');
    }

    #[test]
    fn character_sets_are_found_out() {
        let russian = "город,цена\nМосква,10\nСанкт-Петербург,20\n";
        let (bytes, _, _) = encoding_rs::WINDOWS_1251.encode(russian);
        assert_eq!(decoded(&bytes, None).unwrap(), russian);
        let german = "Straße,Größe\nMühlweg,3\n";
        let (bytes, _, _) = encoding_rs::WINDOWS_1252.encode(german);
        assert_eq!(decoded(&bytes, None).unwrap(), german);
        assert_eq!(decoded(b"\xff\xfea\0", None).unwrap(), "a");
        assert!(decoded(b"\xff\xff\xff", Some(encoding_rs::UTF_8)).is_err());
    }
}
