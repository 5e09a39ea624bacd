//! How near a finished job is to one that is asked for.

use super::{Part, Wanted};
use serde_json::Value;

/// The nearest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Likeness {
    /// The same options.
    Same,
    /// Those that change the cost a lot are the same.
    AsCostly,
    /// The same converters and formats.
    SameFormats,
}

/// Options that make the work or its result another one, wherever they stand.
const COSTLY: &str = "bitrate channels codec copy crf crop deinterlace denoise dpi dpr effort fps frames height ladder level loudness lossless \
    page pages passes preset quality sample_rate sizes speed split subtitles target_bytes target_size trim width widths";

/// None: nothing is learned from the one for the other.
pub fn likeness(wanted: &Wanted, past: &Wanted) -> Option<Likeness> {
    let pairs = || wanted.parts.iter().zip(&past.parts);
    let is_of_its_kind = |(one, other): (&Part, &Part)| (&one.converter, one.to) == (&other.converter, other.to);
    if wanted.subject.from != past.subject.from || wanted.parts.len() != past.parts.len() || !pairs().all(is_of_its_kind) {
        return None;
    }
    // Before it was looked into, nothing is known of its streams.
    if !wanted.subject.codecs.is_empty() && wanted.subject.codecs != past.subject.codecs {
        return Some(Likeness::SameFormats);
    }
    Some(if pairs().all(|(one, other)| one.options == other.options) {
        Likeness::Same
    } else if pairs().all(|(one, other)| costly(&one.options) == costly(&other.options)) {
        Likeness::AsCostly
    } else {
        Likeness::SameFormats
    })
}

/// Sets the size of the result, whatever that of the input.
pub fn is_boxed(options: &Value) -> bool {
    costly(options).iter().any(|(name, _)| ["width", "height", "widths", "sizes", "page"].contains(name))
}

/// Those options that are set, in their order.
fn costly(options: &Value) -> Vec<(&str, &Value)> {
    let mut found = Vec::new();
    for (name, value) in options.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        match COSTLY.split_ascii_whitespace().any(|costly| costly == name) {
            true => found.push((name.as_str(), value)),
            false => found.extend(costly(value)),
        }
    }
    found
}
