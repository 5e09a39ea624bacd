//! What becomes of subtitles.

use super::ffi::{Facts, Kind};
use super::options::Subtitles;
use super::plan::{Circumstances, Fate, Planned};
use super::words::{Words, are_text};

impl Circumstances<'_> {
    /// These tracks of subtitles as the container can have them; and in words, which of them do not come along.
    pub fn subtitles(&self, tracks: &[&Facts], wish: Subtitles) -> (Vec<Planned>, Vec<String>) {
        if wish != Subtitles::Auto {
            return (Vec::new(), Vec::new());
        }
        let (mut kept, mut left) = (Vec::new(), Vec::new());
        for facts in tracks {
            match self.words(facts) {
                Some((fate, why)) => kept.push(Planned { index: facts.index, fate, why: why.into() }),
                None => left.push(format!("track {} ({})", facts.index + 1, facts.codec)),
            }
        }
        let told = if left.is_empty() { vec![] } else { vec![format!("Left out: subtitles, {}.", left.join(", "))] };
        (kept, told)
    }

    fn words(&self, facts: &Facts) -> Option<(Fate, &'static str)> {
        let known = self.container.subtitles.contains(&facts.codec.as_str());
        match Words::of(&facts.codec) {
            _ if known && !self.cut => Some((Fate::Copy, "subtitles this container knows")),
            Some(own) if known => Some((Fate::Words(own), "their times change")),
            _ => self.container.words.filter(|_| are_text(&facts.codec)).map(|words| (Fate::Words(words), "as this container writes subtitles")),
        }
    }

    /// The track whose words are drawn into the picture: the first that is text.
    pub fn drawn<'f>(tracks: &[&'f Facts]) -> Option<&'f Facts> {
        tracks.iter().find(|facts| facts.kind == Kind::Subtitle && are_text(&facts.codec)).copied()
    }
}
