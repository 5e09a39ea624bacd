//! Languages, by whichever of their codes.

use std::fmt;

/// A language, however a file or a client writes it: `de`, `deu`, `ger` and `de-AT` are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Language(isolang::Language);

/// Codes of libraries (ISO 639-2/B) that are not those of the language's own name; Matroska and disc authors use them.
const OF_LIBRARIES: [(&str, &str); 20] = [
    ("alb", "sqi"),
    ("arm", "hye"),
    ("baq", "eus"),
    ("bur", "mya"),
    ("chi", "zho"),
    ("cze", "ces"),
    ("dut", "nld"),
    ("fre", "fra"),
    ("geo", "kat"),
    ("ger", "deu"),
    ("gre", "ell"),
    ("ice", "isl"),
    ("mac", "mkd"),
    ("mao", "mri"),
    ("may", "msa"),
    ("per", "fas"),
    ("rum", "ron"),
    ("slo", "slk"),
    ("tib", "bod"),
    ("wel", "cym"),
];

impl Language {
    pub fn parse(text: &str) -> Option<Language> {
        let code = text.split(['-', '_']).next()?.to_ascii_lowercase();
        let own = OF_LIBRARIES.iter().find(|(library, _)| *library == code).map_or(code.as_str(), |(_, own)| *own);
        let found = if own.len() == 2 { isolang::Language::from_639_1(own) } else { isolang::Language::from_639_3(own) };
        found.map(Language)
    }

    /// As those who speak it call it; its code where that is not known.
    pub fn own_name(self) -> String {
        self.0.to_autonym().map_or_else(|| self.to_string(), str::to_owned)
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_639_1().unwrap_or(self.0.to_639_3()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_one_language_are_one() {
        for code in ["de", "deu", "ger", "DE", "de-AT", "de_CH"] {
            assert_eq!(Language::parse(code), Language::parse("de"), "{code}");
            assert!(Language::parse(code).is_some());
        }
        assert_eq!(Language::parse("fre").map(|l| l.to_string()).as_deref(), Some("fr"));
        assert_eq!(Language::parse("ast").map(|l| l.to_string()).as_deref(), Some("ast"));
        assert_eq!((Language::parse(""), Language::parse("german"), Language::parse("d")), (None, None, None));
        assert_ne!(Language::parse("en"), Language::parse("de"));
    }
}
