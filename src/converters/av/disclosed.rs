//! What a film or song gives away beside what is to be seen and heard.

use super::ffi;
use super::mux::is_place;
use super::open::Source;
use crate::job::Disclosure;
use std::collections::BTreeSet;

/// Parts of tags' names, in small letters.
const DISCLOSING: [(Disclosure, &[&str]); 5] = [
    (Disclosure::Device, &["make", "model", "manufacturer", "device", "serial", "camera"]),
    (Disclosure::Software, &["encoder", "software", "encoded_by", "writing_app", "handler_vendor"]),
    (Disclosure::Time, &["creation_time", "creationdate", "date", "year", "timecode"]),
    (Disclosure::Author, &["artist", "author", "composer", "performer", "copyright", "publisher", "director", "producer", "owner"]),
    (Disclosure::Description, &["title", "comment", "description", "synopsis", "keywords", "lyrics", "album", "subject"]),
];
/// The handler of the track in which some cameras write where they were.
const TELEMETRY: &str = "GoPro MET";

pub fn disclosed(source: &Source) -> BTreeSet<Disclosure> {
    let whole = ffi::tags(&source.input);
    let all = whole.iter().chain(source.streams.iter().flat_map(|stream| &stream.tags));
    let mut found: BTreeSet<Disclosure> = all.filter(|(_, value)| !value.trim().is_empty()).filter_map(|(key, value)| of_tag(key, value)).collect();
    found.extend(source.streams.iter().any(|stream| stream.still).then_some(Disclosure::Thumbnail));
    found
}

fn of_tag(key: &str, value: &str) -> Option<Disclosure> {
    if is_place(key) || (key == "handler_name" && value.contains(TELEMETRY)) {
        return Some(Disclosure::Location);
    }
    let key = key.to_ascii_lowercase();
    let named = |names: &[&str]| names.iter().any(|name| key.contains(name));
    DISCLOSING.iter().find(|(_, names)| named(names)).map(|(what, _)| *what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_known_by_what_their_makers_call_them() {
        let cases = [
            ("location", "+48+16/", Some(Disclosure::Location)),
            ("com.apple.quicktime.location.ISO6709", "+48+16/", Some(Disclosure::Location)),
            ("com.apple.quicktime.make", "Apple", Some(Disclosure::Device)),
            ("com.android.manufacturer", "X", Some(Disclosure::Device)),
            ("creation_time", "2026-01-01", Some(Disclosure::Time)),
            ("encoder", "Lavf", Some(Disclosure::Software)),
            ("ARTIST", "A. Singer", Some(Disclosure::Author)),
            ("handler_name", "\tGoPro MET", Some(Disclosure::Location)),
            ("handler_name", "VideoHandler", None),
            ("language", "de", None),
            ("major_brand", "isom", None),
        ];
        for (key, value, expected) in cases {
            assert_eq!(of_tag(key, value), expected, "{key}");
        }
    }
}
