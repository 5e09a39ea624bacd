//! What becomes of each stream, and why: copied or encoded.

use super::codecs::Depth;
use super::containers::Container;
use super::ffi::{Facts, Kind};
use super::geometry::{Geometry, Turn};
use super::open::Source;
use super::options::{AudioCodec, AudioOptions, Copying, Cover, VideoCodec, VideoOptions};
use super::words::Words;
use crate::failure::{Code, Failure};
use crate::job::{PlannedStream, Treatment};

/// What becomes of one stream.
#[derive(Debug, Clone)]
pub enum Fate {
    Copy,
    Video(VideoCodec),
    Audio(AudioCodec),
    Words(Words),
}

#[derive(Debug, Clone)]
pub struct Planned {
    pub index: usize,
    pub fate: Fate,
    /// Why, for the job's log.
    pub why: String,
}

impl Planned {
    /// The same in words, of a stream of this source.
    pub fn told(&self, source: &Source) -> PlannedStream {
        let facts = &source.streams[self.index];
        let to = match &self.fate {
            Fate::Copy => facts.codec.clone(),
            Fate::Video(codec) => codec.codec().to_owned(),
            Fate::Audio(codec) => codec.name(),
            Fate::Words(words) => words.encoder().to_owned(),
        };
        let treatment = if matches!(self.fate, Fate::Copy) { Treatment::Copy } else { Treatment::Encode };
        PlannedStream { stream: self.index, kind: facts.kind.name().to_owned(), codec: facts.codec.clone(), treatment, to, why: self.why.clone() }
    }
}

/// What the copy of a stream depends on beside the stream.
pub struct Circumstances<'a> {
    pub source: &'a Source,
    pub container: &'static Container,
    pub copying: Copying,
    /// The format the source is, by id.
    pub from: &'static str,
    /// Something is cut off at the start, and whether that is at a keyframe.
    pub cut: bool,
    pub at_keyframe: bool,
}

fn wrong(message: String) -> Failure {
    Failure::new(Code::InvalidOption, message).stage("open")
}

impl Circumstances<'_> {
    /// Settles a stream from why it cannot be copied and whether that was insisted on.
    fn settle(
        &self,
        facts: &Facts,
        obstacle: Option<String>,
        insisted: bool,
        encode: impl FnOnce() -> Result<Fate, Failure>,
    ) -> Result<Planned, Failure> {
        let index = facts.index;
        match obstacle {
            None => Ok(Planned { index, fate: Fate::Copy, why: format!("{} fits {}", facts.codec, self.container.id) }),
            Some(why) if insisted || self.copying == Copying::Always => {
                Err(wrong(format!("Track {} ({}) cannot be copied into {}: {why}.", index + 1, facts.codec, self.container.id)))
            }
            Some(why) => Ok(Planned { index, fate: encode()?, why }),
        }
    }

    /// `drawn`: what is drawn over the picture, if anything is.
    pub fn video(&self, facts: &Facts, options: &VideoOptions, drawn: Option<&str>) -> Result<Planned, Failure> {
        let allowed = self.container.encode_video;
        let codec = match options.codec {
            None | Some(VideoCodec::Copy) => allowed.first().copied(),
            Some(wanted) => allowed.contains(&wanted).then_some(wanted),
        };
        let codec = codec.ok_or_else(|| {
            let names: Vec<&str> = allowed.iter().map(|c| c.codec()).collect();
            wrong(format!("`video.codec`: {} takes {}.", self.container.id, names.join(", ")))
        })?;
        if let Some(crf) = options.crf.filter(|crf| !codec.crf_range().contains(crf)) {
            let range = codec.crf_range();
            return Err(wrong(format!("`video.crf`: {crf} is out of range; {} takes {} to {}.", codec.codec(), range.start(), range.end())));
        }
        if let Some(wrong_tune) = options.tune.filter(|tune| !codec.tunes().contains(tune)) {
            return Err(wrong(format!("`video.tune`: {} cannot be tuned for {}.", codec.codec(), wrong_tune.name())));
        }
        if options.profile.is_some() && codec != VideoCodec::H264 {
            return Err(wrong(format!("`video.profile`: {} has none to choose; h264 has.", codec.codec())));
        }
        if options.takes_two() && !codec.takes_notes() {
            return Err(wrong(format!("`video.passes`: {} is encoded in one; h264, hevc, vp8 and vp9 can take two.", codec.codec())));
        }
        let obstacle = self.video_obstacle(facts, options).or(drawn.map(str::to_owned));
        self.settle(facts, obstacle, options.codec == Some(VideoCodec::Copy), || Ok(Fate::Video(codec)))
    }

    fn video_obstacle(&self, facts: &Facts, options: &VideoOptions) -> Option<String> {
        if self.copying == Copying::Never {
            return Some("copy is never".into());
        }
        if let Some(wanted) = options.codec.filter(|c| *c != VideoCodec::Copy && c.codec() != facts.codec) {
            return Some(format!("{} was asked for", wanted.codec()));
        }
        if !self.container.video.contains(&facts.codec.as_str()) {
            return Some(format!("{} does not play {}", self.container.id, facts.codec));
        }
        let turn = Turn::of(facts.matrix);
        if !turn.is_none() && !self.container.turns {
            return Some(format!("{} cannot say that the picture is turned", self.container.id));
        }
        let upright = turn.turned((facts.width, facts.height));
        let size = Geometry::plan(upright, options.width, options.height, options.fit, false).size;
        if size != upright {
            return Some(format!("{} x {} becomes {} x {}", upright.0, upright.1, size.0, size.1));
        }
        if let Some(fps) = options.fps {
            let own = facts.average_rate.or(facts.frame_rate).map_or(0.0, f64::from);
            if (own - fps).abs() > 0.01 {
                return Some(format!("{own:.3} frames per second become {fps}"));
            }
        }
        if let Some(most) = options.bitrate.filter(|most| facts.bit_rate == 0 || facts.bit_rate as f64 > f64::from(most.0) * 1.1) {
            return Some(format!("its bit rate ({}) is not known to be within {}", facts.bit_rate, most.0));
        }
        if let Some(why) = options.wants_encoder() {
            return Some(why.into());
        }
        let plain = ["yuv420p", "yuvj420p"].contains(&facts.pixels.as_str());
        if !plain && ["mp4", "mov", "webm", "3gp", "flv"].contains(&self.container.id) && !["prores", "mjpeg"].contains(&facts.codec.as_str()) {
            return Some(format!("pixels of {} do not play everywhere", facts.pixels));
        }
        if facts.reordered && (self.from == "avi" || self.container.id == "avi") {
            return Some("avi does not keep the times of frames that are stored out of order".into());
        }
        if self.from == "mpg" && self.container.id != "mpg" {
            return Some("a program stream does not give every frame its time".into());
        }
        if ["h264", "hevc", "obu"].contains(&self.from) {
            return Some("an elementary stream does not give every frame its time".into());
        }
        (self.cut && !self.at_keyframe).then(|| "the cut is not at a keyframe".into())
    }

    pub fn audio(&self, facts: &Facts, options: &AudioOptions, exact: Option<&str>) -> Result<Planned, Failure> {
        let allowed = self.container.encode_audio;
        let codec = match options.codec {
            None | Some(AudioCodec::Copy) => allowed.first().copied(),
            Some(wanted) => allowed.contains(&wanted).then_some(wanted),
        };
        let codec = codec.ok_or_else(|| {
            let names: Vec<String> = allowed.iter().map(|c| c.name()).collect();
            wrong(format!("`audio.codec`: {} takes {}.", self.container.id, names.join(", ")))
        })?;
        if options.bit_depth == Some(Depth::Float) && !codec.floats() {
            return Err(wrong(format!("`bit_depth`: {} takes 16 or 24.", codec.name())));
        }
        let obstacle = self.audio_obstacle(facts, options).or(exact.map(str::to_owned));
        self.settle(facts, obstacle, options.codec == Some(AudioCodec::Copy), || Ok(Fate::Audio(codec)))
    }

    fn audio_obstacle(&self, facts: &Facts, options: &AudioOptions) -> Option<String> {
        if self.copying == Copying::Never {
            return Some("copy is never".into());
        }
        if let Some(wanted) = options.codec.filter(|c| !c.is(&facts.codec)) {
            return Some(format!("{} was asked for", wanted.name()));
        }
        if !self.container.audio.contains(&facts.codec.as_str()) {
            return Some(format!("{} does not play {}", self.container.id, facts.codec));
        }
        if let Some(channels) = options.channels.filter(|c| u32::from(*c) != facts.channels) {
            return Some(format!("{} channels become {channels}", facts.channels));
        }
        if let Some(rate) = options.sample_rate.filter(|r| *r != facts.sample_rate) {
            return Some(format!("{} Hz become {rate}", facts.sample_rate));
        }
        if options.bit_depth.is_some_and(|depth| depth as u32 != facts.bits) {
            return Some("another depth of the samples was asked for".into());
        }
        let lossless = facts.codec == "flac" || facts.codec == "alac" || facts.codec.starts_with("pcm_");
        if let Some(most) = options.bitrate.filter(|most| !lossless && (facts.bit_rate == 0 || facts.bit_rate as f64 > f64::from(most.0) * 1.1)) {
            return Some(format!("its bit rate ({}) is not known to be within {}", facts.bit_rate, most.0));
        }
        if self.from == "mpg" {
            return Some("a program stream does not give every frame its time".into());
        }
        (self.cut && self.copying != Copying::Always).then(|| "the cut is to the sample".into())
    }

    /// The pictures beside the sound that come along.
    pub fn covers(&self, wish: Cover) -> Vec<usize> {
        let shown = |s: &&Facts| s.kind == Kind::Video && s.still && ["mjpeg", "png"].contains(&s.codec.as_str());
        let all = self.source.streams.iter().filter(shown).map(|s| s.index);
        all.filter(|_| self.container.covers && wish == Cover::Keep).take(1).collect()
    }

    /// What is left out beside pictures, sound and subtitles, in words: all but the covers that come along or are not wanted.
    pub fn others(&self, wish: Cover) -> Vec<String> {
        let covers = self.covers(wish);
        let mut left = std::collections::BTreeMap::<&str, Vec<String>>::new();
        for stream in &self.source.streams {
            let name = match stream.kind {
                Kind::Attachment => "attached files",
                Kind::Data => "data",
                Kind::Video if covers.contains(&stream.index) || (stream.still && wish == Cover::Strip) => continue,
                Kind::Video if stream.still => "cover art",
                _ => continue,
            };
            left.entry(name).or_default().push(format!("track {} ({})", stream.index + 1, stream.codec));
        }
        left.into_iter().map(|(what, tracks)| format!("Left out: {what}, {}.", tracks.join(", "))).collect()
    }
}
