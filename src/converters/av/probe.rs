//! Measures films and songs; the proof also decodes their first frames and their last second.

use super::ffi::{self, Facts, Kind};
use super::geometry::Turn;
use super::lane::micros;
use super::open::{self, Source};
use super::{SECOND_US, decode, disclosed, fault};
use crate::convert::{Ctx, Depth, Input};
use crate::failure::Failure;
use crate::job::{Media, Stream};
use ffmpeg_next::{Error, Packet, decoder, frame};

pub fn probe(ctx: &Ctx, input: &Input, depth: Depth) -> Result<Media, Failure> {
    let mut source = open::open(ctx, input)?;
    if open::is_script(input.format) {
        return script(ctx, &mut source, depth);
    }
    let picture = source.picture().cloned();
    let mut media = Media { duration_ms: source.duration_us.map(|us| (us as u64 + 500) / 1000), ..Media::default() };
    if let Some(picture) = &picture {
        let (w, h) = Turn::of(picture.matrix).turned((picture.width, picture.height));
        (media.width, media.height) = (Some(w), Some(h));
        media.frames = (picture.frames > 0).then_some(picture.frames);
    }
    media.streams = source.streams.iter().map(stream).collect();
    for (key, value) in ffi::tags(&source.input).into_iter().take(50) {
        media.tags.insert(key.to_lowercase(), value.chars().take(500).collect());
    }
    media.discloses = Some(disclosed::disclosed(&source));
    if depth == Depth::Proof {
        prove(ctx, &mut source)?;
    }
    fault::flush_words(ctx);
    Ok(media)
}

/// A file of subtitles tells how long it is by its last line alone.
fn script(ctx: &Ctx, source: &mut Source, depth: Depth) -> Result<Media, Failure> {
    let (mut lines, mut end_us) = (0u64, 0);
    let clocks: Vec<_> = source.streams.iter().map(|facts| facts.time_base).collect();
    let mut packet = Packet::empty();
    while packet.read(&mut source.input).is_ok() {
        ctx.check()?;
        let Some(clock) = clocks.get(packet.stream()).copied() else { continue };
        lines += 1;
        end_us = end_us.max(micros(packet.pts().unwrap_or(0) + packet.duration(), clock));
    }
    if lines == 0 && depth == Depth::Proof {
        return Err(Failure::corrupt("There are no lines in these subtitles.").detail(fault::flush_words(ctx)).stage("verify"));
    }
    fault::flush_words(ctx);
    let duration_ms = Some(end_us.max(0) as u64 / 1000);
    Ok(Media { duration_ms, streams: source.streams.iter().map(stream).collect(), discloses: Some(disclosed::disclosed(source)), ..Media::default() })
}

fn stream(facts: &Facts) -> Stream {
    let video = facts.kind == Kind::Video;
    let some = |n: u32| (n > 0).then_some(n);
    let turn = Turn::of(facts.matrix);
    Stream {
        kind: facts.kind.name().into(),
        codec: facts.codec.clone(),
        language: facts.language().map(|language| language.chars().take(20).collect()),
        bitrate: (facts.bit_rate > 0).then_some(facts.bit_rate),
        width: some(facts.width).filter(|_| video),
        height: some(facts.height).filter(|_| video),
        fps: facts.average_rate.or(facts.frame_rate).filter(|_| video).map(|r| (f64::from(r) * 1000.0).round() / 1000.0),
        pixel_format: video.then(|| facts.pixels.clone()).filter(|p| !p.is_empty()),
        rotation: (video && turn.degrees > 0).then_some(i32::from(turn.degrees)),
        channels: some(facts.channels),
        sample_rate: some(facts.sample_rate),
    }
}

enum Eye {
    Picture(decoder::Video),
    Sound(decoder::Audio),
}

/// One decoder and where its last frame ended.
struct Witness {
    index: usize,
    eye: Eye,
    frames: u64,
    end_us: i64,
}

impl Witness {
    fn new(index: usize, eye: Eye) -> Self {
        Self { index, eye, frames: 0, end_us: 0 }
    }

    /// Pictures no other picture is made from are left out on the way to the part that is looked at.
    fn hurry(&mut self, hurry: bool) {
        if let Eye::Picture(decoder) = &mut self.eye {
            ffi::skip_unreferenced(decoder, hurry);
        }
    }

    fn send(&mut self, packet: Option<&Packet>) {
        // What cannot be decoded gives no frames, and those are counted.
        let _ = match (&mut self.eye, packet) {
            (Eye::Picture(d), Some(packet)) => d.send_packet(packet),
            (Eye::Sound(d), Some(packet)) => d.send_packet(packet),
            (Eye::Picture(d), None) => d.send_eof(),
            (Eye::Sound(d), None) => d.send_eof(),
        };
    }

    fn look(&mut self, source: &Source) {
        let clock = source.streams[self.index].time_base;
        loop {
            let (time, length) = match &mut self.eye {
                Eye::Picture(d) => {
                    let mut frame = frame::Video::empty();
                    if d.receive_frame(&mut frame).is_err() {
                        return;
                    }
                    (frame.timestamp(), micros(frame.packet().duration, clock))
                }
                Eye::Sound(d) => {
                    let mut frame = frame::Audio::empty();
                    if d.receive_frame(&mut frame).is_err() {
                        return;
                    }
                    (frame.timestamp(), frame.samples() as i64 * SECOND_US / i64::from(frame.rate().max(1)))
                }
            };
            self.frames += 1;
            if let Some(time) = time {
                self.end_us = self.end_us.max(micros(time, clock) - source.start_us + length);
            }
        }
    }

    fn forget(&mut self) {
        match &mut self.eye {
            Eye::Picture(d) => d.flush(),
            Eye::Sound(d) => d.flush(),
        }
    }
}

/// How much of the beginning is decoded.
const BEGINNING_US: i64 = SECOND_US / 4;

/// Decodes the first frames and the last second.
fn prove(ctx: &Ctx, source: &mut Source) -> Result<(), Failure> {
    let mut witnesses = Vec::new();
    if let Some(index) = source.picture().map(|s| s.index) {
        witnesses.push(Witness::new(index, Eye::Picture(decode::roughly(ctx, source, index)?)));
    }
    for index in source.sounds().into_iter().map(|s| s.index).collect::<Vec<_>>() {
        witnesses.push(Witness::new(index, Eye::Sound(decode::audio(ctx, source, index)?)));
    }
    let streams: Vec<usize> = witnesses.iter().map(|w| w.index).collect();
    let duration = source.claimed_us(&streams).or(source.duration_us).unwrap_or(0);
    let over = watch(ctx, source, &mut witnesses, Part::Beginning)?;
    if witnesses.iter().all(|w| w.frames == 0) {
        return Err(Failure::corrupt("The beginning cannot be decoded.").detail(fault::flush_words(ctx)).stage("verify"));
    }
    if !over {
        let from_us = (duration - SECOND_US).max(0);
        source.seek(from_us);
        witnesses.iter_mut().for_each(Witness::forget);
        watch(ctx, source, &mut witnesses, Part::End { from_us })?;
    }
    let end = witnesses.iter().map(|w| w.end_us).max().unwrap_or(0);
    let missing = duration - end;
    if !source.guessed && missing > SECOND_US / 3 && missing > duration / 50 {
        let message = format!("The file breaks off at {} of {}.", fault::clock(end), fault::clock(duration));
        return Err(Failure::corrupt(message).detail(fault::flush_words(ctx)).stage("verify"));
    }
    Ok(())
}

/// What is decoded in one go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Beginning,
    /// From `from_us` to the last packet; what lies before it is only decoded as far as it is needed for that.
    End {
        from_us: i64,
    },
}

/// Decodes one part; whether the end of the file was reached.
fn watch(ctx: &Ctx, source: &mut Source, witnesses: &mut [Witness], part: Part) -> Result<bool, Failure> {
    let mut failed = 0;
    loop {
        ctx.check()?;
        let mut packet = Packet::empty();
        match packet.read(&mut source.input) {
            Ok(()) => {}
            Err(e) if (fault::again(e) || e == Error::InvalidData) && failed < 50 => {
                failed += 1;
                continue;
            }
            Err(_) => {
                for witness in witnesses {
                    witness.send(None);
                    witness.look(source);
                }
                return Ok(true);
            }
        }
        let Some(witness) = witnesses.iter_mut().find(|w| w.index == packet.stream()) else { continue };
        if let Part::End { from_us } = part {
            let time = packet.pts().map(|t| micros(t, source.streams[witness.index].time_base) - source.start_us);
            witness.hurry(time.is_some_and(|time| time < from_us));
        }
        witness.send(Some(&packet));
        witness.look(source);
        let seen_us = witnesses.iter().map(|w| w.end_us).max().unwrap_or(0);
        if part == Part::Beginning && seen_us >= BEGINNING_US && witnesses.iter().all(|w| w.frames > 0) {
            return Ok(false);
        }
    }
}
