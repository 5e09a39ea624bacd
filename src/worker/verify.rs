//! The proof of an output: what was expected of it held against what a fresh jailed child measures.

use crate::convert::Expect;
use crate::format::Format;
use crate::job::{Check, Media, Verification};

/// Compares; `sniffed` is what the bytes are.
pub fn verify(expect: &Expect, wanted: Format, sniffed: Option<Format>, found: &Media) -> Verification {
    let mut checks = vec![Check {
        name: "format".into(),
        expected: wanted.id().into(),
        found: sniffed.map_or("unknown", Format::id).into(),
        passed: sniffed.is_some_and(|s| compatible(wanted, s)),
    }];
    let mut compare = |name: &str, expected: Option<u64>, found: Option<u64>, tolerance: u64| {
        if let Some(expected) = expected {
            let passed = found.is_some_and(|f| f.abs_diff(expected) <= tolerance);
            checks.push(Check {
                name: name.into(),
                expected: expected.to_string(),
                found: found.map_or("nothing".into(), |f| f.to_string()),
                passed,
            });
        }
    };
    compare("duration_ms", expect.duration_ms, found.duration_ms, expect.duration_tolerance_ms);
    compare("width", expect.width.map(u64::from), found.width.map(u64::from), 0);
    compare("height", expect.height.map(u64::from), found.height.map(u64::from), 0);
    compare("frames", expect.frames, found.frames, expect.frames_tolerance);
    compare("pages", expect.pages, found.pages, 0);
    compare("entries", expect.entries, found.entries, 0);
    if let Some(share) = expect.recovered {
        // What was saved is less than the whole, and held against what came through.
        let held = expect.duration_ms.or(expect.pages).or(expect.entries).or(expect.frames).or(expect.width.map(u64::from));
        checks.push(Check {
            name: "recovered".into(),
            expected: "a part that is known".into(),
            found: held.map_or("nothing to hold it against".into(), |_| format!("{share:.4}")),
            passed: held.is_some_and(|held| held > 0) && is_share(share),
        });
    }
    Verification { passed: checks.iter().all(|c| c.passed), checks }
}

/// A share of a file that was broken: never nothing of it.
pub fn is_share(share: f64) -> bool {
    share > 0.0 && share <= 1.0
}

/// Some formats share their bytes' shape: text is text, and a compressed tar is a compressed file.
fn compatible(wanted: Format, sniffed: Format) -> bool {
    let text = ["txt", "md", "csv", "tsv", "html", "json", "svg"];
    let same_shape = |pair: [&str; 2]| pair.contains(&wanted.id()) && pair.contains(&sniffed.id());
    wanted == sniffed
        || (text.contains(&wanted.id()) && text.contains(&sniffed.id()))
        || [
            ["mp4", "m4a"],
            ["mp4", "mov"],
            ["mp4", "3gp"],
            ["ogg", "opus"],
            ["ogg", "ogv"],
            ["mkv", "mka"],
            ["webm", "mkv"],
            ["gz", "tar.gz"],
            ["xz", "tar.xz"],
            ["bz2", "tar.bz2"],
            ["zst", "tar.zst"],
        ]
        .into_iter()
        .any(same_shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_of_a_film_is_not_the_film() {
        let mp4 = Format::parse("mp4").unwrap();
        let expect = Expect { duration_ms: Some(60_000), duration_tolerance_ms: 100, ..Expect::default() };
        let found = |ms| Media { duration_ms: Some(ms), ..Media::default() };
        assert!(verify(&expect, mp4, Some(mp4), &found(60_050)).passed);
        assert!(!verify(&expect, mp4, Some(mp4), &found(20_000)).passed);
        assert!(!verify(&expect, mp4, Some(mp4), &Media::default()).passed);
        assert!(!verify(&expect, mp4, None, &found(60_000)).passed);
    }

    #[test]
    fn what_was_saved_is_held_against_what_came_through() {
        let mp4 = Format::parse("mp4").unwrap();
        let saved = |share, ms| Expect { duration_ms: ms, duration_tolerance_ms: 100, recovered: Some(share), ..Expect::default() };
        let found = |ms| Media { duration_ms: Some(ms), ..Media::default() };
        let passes = |share, ms, there| verify(&saved(share, ms), mp4, Some(mp4), &found(there)).passed;
        assert!(passes(0.63, Some(38_000), 38_000));
        assert!(!passes(0.63, Some(38_000), 30_000), "less than came through");
        assert!(!passes(0.63, Some(38_000), 60_000), "more than came through");
        assert!(!passes(0.63, None, 38_000), "nothing to hold it against");
        for share in [0.0, -1.0, 1.5, f64::NAN] {
            assert!(!passes(share, Some(38_000), 38_000), "{share}");
        }
    }
}
