//! The result file: streams, tags, chapters, packets in order.

use super::containers::Container;
use super::fault;
use super::ffi::{self, Facts};
use super::open::Source;
use super::options::{Metadata, Tags};
use crate::convert::Ctx;
use crate::failure::Failure;
use ffmpeg_next::{Dictionary, Error, Packet, Rational, codec, format};
use std::path::Path;

/// Tags that speak of the old file's container or encoder.
const STALE: &[&str] = &[
    "major_brand",
    "minor_version",
    "compatible_brands",
    "encoder",
    "duration",
    "handler_name",
    "vendor_id",
    "creation_time",
    "metadatacreator",
    "hasKeyframes",
    "hasVideo",
    "hasAudio",
    "hasMetadata",
    "canSeekToEnd",
    "datasize",
    "videosize",
    "audiosize",
    "lasttimestamp",
    "lastkeyframetimestamp",
    "lastkeyframelocation",
    "number_of_bytes",
    "number_of_frames",
    "bps",
    "_statistics_tags",
    "_statistics_writing_app",
    "_statistics_writing_date_utc",
    "rotate",
    "language",
];

/// Whether a tag says where something was recorded: `location`, `com.apple.quicktime.location.ISO6709`, `RECORDING_LOCATION`, `GPSLatitude` ...
pub fn is_place(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["location", "iso6709", "gps", "latitude", "longitude", "altitude", "\u{a9}xyz"].iter().any(|word| key.contains(word))
}

pub struct Mux {
    output: format::context::Output,
    /// The clock of each stream, once the header is written.
    clocks: Vec<Rational>,
    metadata: Metadata,
    adaptive: bool,
    /// Waiting for the header.
    covers: Vec<(usize, Packet)>,
}

/// The letters by which containers of Apple's kind name HEVC so that their players know it.
pub fn tag(container: &Container, codec: &str) -> u32 {
    if codec == "hevc" && matches!(container.id, "mp4" | "mov") { u32::from_le_bytes(*b"hvc1") } else { 0 }
}

impl Mux {
    /// `muxer` is the container's own, or one that writes nothing.
    pub fn create(ctx: &Ctx, container: &Container, muxer: &str, path: &Path, metadata: Metadata) -> Result<Mux, Failure> {
        let path = path.to_str().ok_or_else(|| Failure::internal("the path of the result is not UTF-8"))?;
        let output = ffi::create_output(&format!("file:{path}"), muxer).map_err(|e| fault::encoding(ctx, e))?;
        Ok(Mux { output, clocks: Vec::new(), metadata, adaptive: container.adaptive, covers: Vec::new() })
    }

    pub fn wants_global_header(&self) -> bool {
        ffi::wants_global_header(&self.output)
    }

    fn tags(&self, all: &[(String, String)]) -> Vec<(String, String)> {
        let stale = |key: &str| STALE.iter().any(|s| key.to_ascii_lowercase().starts_with(&s.to_ascii_lowercase()));
        let language = all.iter().filter(|(key, value)| key == "language" && value != "und");
        let kept = |key: &str| match self.metadata {
            Metadata::Keep => !stale(key),
            Metadata::StripLocation => !stale(key) && !is_place(key),
            Metadata::Strip => false,
        };
        let rest = all.iter().filter(|(key, _)| kept(key));
        language.chain(rest).cloned().collect()
    }

    fn label(&mut self, index: usize, from: &Facts) {
        let tags = ffi::dictionary(&self.tags(&from.tags));
        if let Some(mut stream) = self.output.stream_mut(index) {
            stream.set_metadata(tags);
        }
    }

    /// A stream whose packets come from the source as they are.
    pub fn add_copy(&mut self, source: &Source, from: &Facts, tag: u32) -> Result<usize, Error> {
        let index = ffi::add_copy(&mut self.output, &source.input, from, tag)?;
        self.label(index, from);
        Ok(index)
    }

    /// A picture beside the sound, as it is; written right after the header.
    pub fn add_cover(&mut self, source: &Source, from: &Facts) -> Result<(), Error> {
        let Some(picture) = ffi::attached_picture(&source.input, from.index) else { return Ok(()) };
        let index = self.add_copy(source, from, 0)?;
        self.covers.push((index, picture));
        Ok(())
    }

    /// A stream whose packets come from an encoder, in the encoder's clock.
    pub fn add_encoded(&mut self, encoder: &codec::Context, from: &Facts, clock: Rational, rate: Option<Rational>, tag: u32) -> Result<usize, Error> {
        let mut stream = self.output.add_stream_with(encoder)?;
        stream.set_time_base(clock);
        if let Some(rate) = rate {
            stream.set_avg_frame_rate(rate);
        }
        let index = stream.index();
        ffi::set_default(&mut self.output, index, from.default);
        ffi::set_tag(&mut self.output, index, tag);
        self.label(index, from);
        Ok(index)
    }

    /// What a stream uses at most, in bits per second, where players choose by that.
    pub fn announce(&mut self, stream: usize, bitrate: u32) {
        if self.adaptive {
            ffi::set_bit_rate(&mut self.output, stream, bitrate);
        }
    }

    /// Tags of the whole file, those given above those of the source, and its chapters, seen from `from_us` on.
    pub fn describe(&mut self, source: &Source, chapters: bool, from_us: i64, length_us: Option<i64>, given: &Tags) {
        let strips = self.metadata == Metadata::Strip;
        let mut tags = if strips { Vec::new() } else { self.tags(&ffi::tags(&source.input)) };
        tags.retain(|(key, _)| given.pairs().all(|(name, _)| !key.eq_ignore_ascii_case(name)));
        tags.extend(given.pairs().map(|(name, value)| (name.to_owned(), value.to_owned())));
        self.output.set_metadata(ffi::dictionary(&tags));
        if strips || !chapters {
            return;
        }
        let end = length_us.unwrap_or(i64::MAX / 2);
        for (n, chapter) in source.chapters().into_iter().enumerate() {
            let at = |us: i64| (us - from_us).clamp(0, end);
            if at(chapter.start_us) < at(chapter.end_us) && !chapter.title.contains('\0') {
                let _ = self.output.add_chapter(n as i64, (1, 1_000_000), at(chapter.start_us), at(chapter.end_us), chapter.title);
            }
        }
    }

    /// Has a file that says when its first picture is shown say so as exactly as the picture's own clock: usually it does to the
    /// millisecond.
    pub fn exact_start(&self) -> Option<(&'static str, String)> {
        let clock = self.output.streams().next().filter(|_| ["mp4", "mov"].contains(&self.output.format().name()))?.time_base();
        // As the muxer refines it.
        let fine = std::iter::successors(Some(i64::from(clock.denominator())), |ticks| Some(ticks * 2)).find(|ticks| *ticks >= 10_000)?;
        Some(("movie_timescale", fine.to_string()))
    }

    /// `settings` are the muxer's own; names, numbers and paths of ours only.
    pub fn begin(&mut self, ctx: &Ctx, faststart: bool, settings: &[(&str, String)]) -> Result<(), Failure> {
        let mut options = Dictionary::new();
        for (name, value) in settings {
            options.set(name, value);
        }
        let muxer = self.output.format().name().to_owned();
        if faststart && ["mp4", "mov", "ipod", "3gp"].contains(&muxer.as_str()) {
            options.set("movflags", "+faststart");
        }
        if self.metadata == Metadata::Strip {
            options.set("fflags", "+bitexact");
        }
        self.output.write_header_with(options).map_err(|e| fault::encoding(ctx, e))?;
        self.clocks = self.output.streams().map(|s| s.time_base()).collect();
        for (stream, mut picture) in std::mem::take(&mut self.covers) {
            picture.set_stream(stream);
            picture.set_position(-1);
            picture.set_pts(Some(0));
            picture.set_dts(Some(0));
            picture.write_interleaved(&mut self.output).map_err(|e| fault::encoding(ctx, e))?;
        }
        Ok(())
    }

    /// Writes a packet whose times are in `clock`.
    pub fn write(&mut self, packet: &mut Packet, stream: usize, clock: Rational) -> Result<(), Error> {
        packet.set_stream(stream);
        packet.set_position(-1);
        if let Some(own) = self.clocks.get(stream) {
            packet.rescale_ts(clock, *own);
        }
        if packet.size() == 0 && packet.side_data().next().is_none() {
            return Ok(());
        }
        packet.write_interleaved(&mut self.output)
    }

    pub fn end(&mut self, ctx: &Ctx) -> Result<(), Failure> {
        self.output.write_trailer().map_err(|e| fault::encoding(ctx, e))
    }
}
