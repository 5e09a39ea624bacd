//! Which tracks of a film are taken.

use super::language::Language;
use crate::convert::OutOfRange;
use crate::converters::av::ffi::Facts;
use crate::failure::{Code, Failure};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// Which tracks are kept, where a film has several.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Streams {
    /// The picture: its number among the film's pictures, from 0. Default: the one marked as default, else the largest.
    pub video: Option<u16>,
    /// The tracks of sound: `all`, a number from 0, a language as `de`, or several of those as `[0, "fr"]`. Default: all that the
    /// format has room for.
    pub audio: Option<Pick>,
    /// The tracks of subtitles, chosen as those of sound. Default: all.
    pub subtitles: Option<Pick>,
}

/// What happens to subtitles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Subtitles {
    /// They come along as tracks where the format has room for them: mp4, mov, mkv, webm.
    #[default]
    Auto,
    Drop,
    /// The first of the chosen ones that is text is drawn into the picture; the others stay out.
    Burn,
}

/// One track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Track {
    /// Its number among those of its kind, from 0.
    Number(u16),
    /// The first one in this language.
    Language(Language),
}

/// Some tracks of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pick {
    All,
    Tracks(Vec<Track>),
}

/// A file has at most so many.
const TRACKS_MAX: u16 = 200;
const TRACK_SAYS: &str = "a number from 0 to 199, or a language as de or deu";
const PICK_SAYS: &str = "all, a number from 0 to 199, a language as de or deu, or several of those as [0, \"fr\"]";

#[derive(Deserialize)]
#[serde(untagged)]
enum Given {
    Number(u16),
    Text(String),
    Several(Vec<Given>),
}

impl Track {
    fn of(given: &Given) -> Option<Track> {
        match given {
            Given::Number(n) => (*n < TRACKS_MAX).then_some(Track::Number(*n)),
            // It is a language too, that of few films.
            Given::Text(text) if text == "all" => None,
            Given::Text(text) => Language::parse(text).map(Track::Language),
            Given::Several(_) => None,
        }
    }

    fn is(&self, number: usize, facts: &Facts) -> bool {
        match self {
            Track::Number(n) => usize::from(*n) == number,
            Track::Language(language) => facts.language().is_some_and(|own| Language::parse(own).as_ref() == Some(language)),
        }
    }

    /// The track among those of its kind, in the order of the file.
    pub fn find<'f>(&self, all: &[&'f Facts], kind: &str, at: &str) -> Result<&'f Facts, Failure> {
        let mut ordered = all.to_vec();
        ordered.sort_by_key(|facts| facts.index);
        let found = ordered.iter().enumerate().find(|(number, facts)| self.is(*number, facts)).map(|(_, facts)| *facts);
        found.ok_or_else(|| missing(self, &ordered, kind, at))
    }
}

/// What was asked for is not there; what is, in words.
fn missing(track: &Track, all: &[&Facts], kind: &str, at: &str) -> Failure {
    let there: Vec<String> = all.iter().enumerate().map(|(n, facts)| format!("{n} ({})", facts.language().unwrap_or("no language"))).collect();
    let there = if there.is_empty() { "none".into() } else { there.join(", ") };
    Failure::new(Code::InvalidOption, format!("`{at}`: the file has no track {track} of {kind}; there are: {there}.")).stage("open")
}

impl Pick {
    fn of(given: &Given) -> Option<Pick> {
        match given {
            Given::Text(text) if text == "all" => Some(Pick::All),
            Given::Several(several) if !several.is_empty() && several.len() <= usize::from(TRACKS_MAX) => {
                several.iter().map(Track::of).collect::<Option<_>>().map(Pick::Tracks)
            }
            one => Track::of(one).map(|track| Pick::Tracks(vec![track])),
        }
    }

    /// The chosen ones of `all`, as they are asked for.
    pub fn choose<'f>(&self, all: &[&'f Facts], kind: &str, at: &str) -> Result<Vec<&'f Facts>, Failure> {
        let Pick::Tracks(tracks) = self else { return Ok(all.to_vec()) };
        let mut chosen: Vec<&Facts> = Vec::new();
        for track in tracks {
            let found = track.find(all, kind, at)?;
            if chosen.iter().all(|facts| facts.index != found.index) {
                chosen.push(found);
            }
        }
        Ok(chosen)
    }
}

impl Streams {
    pub fn validate(&self) -> Result<(), OutOfRange> {
        OutOfRange::check("streams.video", self.video, 0..=TRACKS_MAX - 1)
    }
}

impl fmt::Display for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Track::Number(n) => n.fmt(f),
            Track::Language(language) => language.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Track {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Given::deserialize(d).ok().as_ref().and_then(Track::of).ok_or_else(|| de::Error::custom(TRACK_SAYS))
    }
}

impl<'de> Deserialize<'de> for Pick {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Given::deserialize(d).ok().as_ref().and_then(Pick::of).ok_or_else(|| de::Error::custom(PICK_SAYS))
    }
}

impl Serialize for Track {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Track::Number(n) => s.serialize_u16(*n),
            Track::Language(language) => s.collect_str(language),
        }
    }
}

impl Serialize for Pick {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Pick::All => s.serialize_str("all"),
            Pick::Tracks(tracks) => tracks.serialize(s),
        }
    }
}

macro_rules! schema {
    ($name:ident, $types:tt, $says:ident) => {
        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": $types, "description": $says })
            }
            fn inline_schema() -> bool {
                true
            }
        }
    };
}

schema!(Track, ["integer", "string"], TRACK_SAYS);
schema!(Pick, ["integer", "string", "array"], PICK_SAYS);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json, to_value};

    #[test]
    fn tracks_are_chosen_in_several_ways() {
        for (given, written) in
            [(json!("all"), json!("all")), (json!(1), json!([1])), (json!("de"), json!(["de"])), (json!(["ger", 0]), json!(["de", 0]))]
        {
            let pick: Pick = from_value(given.clone()).expect("read");
            assert_eq!(to_value(&pick).expect("written"), written, "{given}");
            assert_eq!(from_value::<Pick>(written).expect("read again"), pick);
        }
        for wrong in [json!([]), json!(200), json!("klingon"), json!({}), json!([[0]]), json!("xx")] {
            assert!(from_value::<Pick>(wrong.clone()).is_err(), "{wrong}");
        }
        assert!(from_value::<Track>(json!("all")).is_err() && from_value::<Track>(json!([0])).is_err());
    }
}
