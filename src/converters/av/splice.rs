//! A film put together from its parts: the pictures of each, one part after the other, beside the rest. Nothing is encoded.

use super::containers::Container;
use super::ffi::{self, Facts, Kind};
use super::in_order::InOrder;
use super::lane::micros;
use super::mark::Mark;
use super::mux::{Mux, tag};
use super::open::{self, Source};
use super::options::{Metadata, Tags};
use super::{SECOND_US, fault};
use crate::convert::{Ctx, Input};
use crate::failure::Failure;
use ffmpeg_next::{Error, Packet, Rational, Rescale};

/// One part, as its headers tell of it.
pub struct Piece {
    pub mark: Mark,
    input: Input,
    facts: Facts,
    headers: Vec<u8>,
}

impl Piece {
    /// None: the file says nothing of being a part.
    pub fn of(source: &Source, input: &Input) -> Option<Piece> {
        let comment = ffi::tags(&source.input).into_iter().find(|(key, _)| key.eq_ignore_ascii_case("comment"))?.1;
        let (mark, facts) = (Mark::parse(&comment)?, source.picture()?.clone());
        Some(Piece { mark, input: input.clone(), headers: ffi::headers(&source.input, facts.index), facts })
    }

    pub fn size(&self) -> (u32, u32) {
        (self.facts.width, self.facts.height)
    }

    /// What of its pictures a player could not go on with after those of `other`.
    pub fn unlike(&self, other: &Piece) -> Option<&'static str> {
        let (a, b) = (&self.facts, &other.facts);
        let differ = [
            ("codec", a.codec != b.codec),
            ("size", (a.width, a.height) != (b.width, b.height)),
            ("pixels", (&a.pixels, a.aspect) != (&b.pixels, b.aspect)),
            ("colours", a.colour != b.colour),
            ("clock", a.time_base != b.time_base),
            ("settings of the encoder", self.headers != other.headers),
        ];
        differ.into_iter().find_map(|(what, is)| is.then_some(what))
    }

    fn broken(&self, what: &str) -> Failure {
        Failure::corrupt(format!("Part {} of {} {what}.", self.mark.number, self.mark.of)).stage("join")
    }
}

/// What was joined.
pub struct Joined {
    pub pictures: u64,
    pub duration_us: i64,
}

/// How the result is written.
pub struct Binding<'a> {
    pub container: &'static Container,
    pub metadata: Metadata,
    pub faststart: bool,
    pub path: &'a std::path::Path,
}

/// `pieces` in order, all alike; `rest` has what goes beside the pictures.
pub fn join(ctx: &Ctx, pieces: &[Piece], rest: &mut Source, binding: &Binding) -> Result<Joined, Failure> {
    let wrong = |e: Error| fault::encoding(ctx, e);
    let mut mux = Mux::create(ctx, binding.container, binding.container.muxer, binding.path, binding.metadata)?;
    let mut pictures = Pictures::new(ctx, pieces)?;
    let shown = rest.picture().ok_or_else(|| Failure::corrupt("The rest of the film has no picture to go by.").stage("open"))?.clone();
    let matroska = matches!(binding.container.id, "mkv" | "webm");
    let mut beside = Beside::new(rest, matroska);
    // Where one run would have put the first picture.
    let begins = first_time(ctx, rest, shown.index)?.rescale(shown.time_base, pictures.facts.time_base);
    pictures.shift = begins - first_time(ctx, &pictures.source, pictures.facts.index)?;
    for facts in rest.streams.clone() {
        if facts.index == shown.index {
            mux.add_copy(&pictures.source, &pictures.facts, tag(binding.container, &pictures.facts.codec)).map_err(wrong)?;
        } else if matches!(facts.kind, Kind::Audio | Kind::Subtitle) {
            let stream = mux.add_copy(rest, &facts, tag(binding.container, &facts.codec)).map_err(wrong)?;
            beside.ways[facts.index] = Some((stream, facts.time_base));
        }
    }
    for cover in rest.streams.iter().filter(|facts| facts.still) {
        mux.add_cover(rest, cover).map_err(wrong)?;
    }
    mux.describe(rest, binding.container.chapters, 0, None, &Tags::default());
    // All times are those that one run has written already: nothing is to be moved once more.
    mux.begin(ctx, binding.faststart, &[("avoid_negative_ts", "disabled".into())])?;
    let total_ms = rest.duration_us.unwrap_or(0).max(0) as u64 / 1000;
    let (mut next, mut other) = (pictures.next(ctx)?, beside.next(ctx, rest)?);
    let clock = pictures.facts.time_base;
    loop {
        ctx.check()?;
        let due = |packet: &Packet, clock: Rational| packet.dts().map_or(i64::MIN, |t| micros(t, clock));
        let first = match (&next, &other) {
            (Some(picture), Some((packet, _, own))) => due(picture, clock) <= due(packet, *own),
            (picture, _) => picture.is_some(),
        };
        if first && let Some(mut picture) = next.take() {
            ctx.progress("join", micros(picture.pts().unwrap_or(0), clock).max(0) as u64 / 1000, total_ms, "ms");
            mux.write(&mut picture, 0, clock).map_err(wrong)?;
            next = pictures.next(ctx)?;
        } else if let Some((mut packet, stream, own)) = other.take() {
            mux.write(&mut packet, stream, own).map_err(wrong)?;
            other = beside.next(ctx, rest)?;
        } else {
            break;
        }
    }
    mux.end(ctx)?;
    fault::flush_words(ctx);
    Ok(Joined { pictures: pictures.order.read as u64, duration_us: pictures.end_us.max(beside.end_us) })
}

/// The packets of everything but the pictures.
struct Beside {
    /// By the source's streams: the result's stream, and the clock.
    ways: Vec<Option<(usize, Rational)>>,
    /// Added to all times: of Matroska's sound, what its encoder put in front has been taken off.
    early_us: i64,
    /// Where the rest ends by its own word: in Matroska, a last packet that was cut short does not say so.
    told_us: Option<i64>,
    end_us: i64,
}

impl Beside {
    fn new(rest: &Source, matroska: bool) -> Beside {
        let starts = rest.streams.iter().filter_map(|facts| Some(micros(facts.start?, facts.time_base)));
        let early_us = starts.min().filter(|start| matroska && *start < 0).map_or(0, |start| -start);
        Beside { ways: vec![None; rest.streams.len()], early_us, told_us: rest.duration_us.filter(|_| matroska), end_us: 0 }
    }

    fn next(&mut self, ctx: &Ctx, rest: &mut Source) -> Result<Option<(Packet, usize, Rational)>, Failure> {
        loop {
            let Some(mut packet) = read(ctx, rest).map_err(|_| Failure::corrupt("The rest of the film breaks off.").stage("join"))? else {
                return Ok(None);
            };
            if let Some(Some((stream, clock))) = self.ways.get(packet.stream()) {
                let early = self.early_us.rescale((1, SECOND_US as i32), *clock);
                packet.set_pts(packet.pts().map(|time| time + early));
                packet.set_dts(packet.dts().map(|time| time + early));
                if let (Some(told), Some(time)) = (self.told_us, packet.pts()) {
                    let left = told.rescale((1, SECOND_US as i32), *clock) - time;
                    packet.set_duration(packet.duration().min(left.max(0)));
                }
                let end = packet.pts().map_or(0, |time| micros(time + packet.duration(), *clock));
                self.end_us = self.end_us.max(end);
                return Ok(Some((packet, *stream, *clock)));
            }
        }
    }
}

/// The pictures of all parts.
struct Pictures<'a> {
    left: std::slice::Iter<'a, Piece>,
    piece: &'a Piece,
    source: Source,
    facts: Facts,
    /// Added to all times.
    shift: i64,
    /// Of this part so far.
    count: u64,
    order: InOrder,
    end_us: i64,
}

impl<'a> Pictures<'a> {
    fn new(ctx: &Ctx, pieces: &'a [Piece]) -> Result<Self, Failure> {
        let mut left = pieces.iter();
        let piece = left.next().ok_or_else(|| Failure::internal("a film of no parts"))?;
        let source = open::open(ctx, &piece.input)?;
        let facts = piece.facts.clone();
        let order = InOrder::new(ffi::delay(&source.input, facts.index));
        Ok(Pictures { left, piece, source, facts, shift: 0, count: 0, order, end_us: 0 })
    }

    fn next(&mut self, ctx: &Ctx) -> Result<Option<Packet>, Failure> {
        loop {
            match read(ctx, &mut self.source).map_err(|_| self.piece.broken("cannot be read to its end"))? {
                Some(packet) if packet.stream() != self.piece.facts.index => {}
                Some(mut packet) => {
                    self.count += 1;
                    let moved = |time: Option<i64>| time.map(|t| t + self.shift);
                    let (pts, dts) = (moved(packet.pts()), moved(packet.dts()));
                    packet.set_pts(pts);
                    packet.set_dts(Some(self.order.settle(pts, dts).map_err(|what| self.piece.broken(what))?));
                    let clock = self.facts.time_base;
                    self.end_us = self.end_us.max(micros(packet.pts().unwrap_or(0) + packet.duration(), clock));
                    return Ok(Some(packet));
                }
                None => {
                    self.check_end()?;
                    let Some(piece) = self.left.next() else { return Ok(None) };
                    self.source = open::open(ctx, &piece.input)?;
                    (self.piece, self.count) = (piece, 0);
                    self.order.close();
                }
            }
        }
    }

    /// Whether the part that was read to its end was all of it.
    fn check_end(&self) -> Result<(), Failure> {
        let told = self.piece.facts.frames;
        let short = self.source.duration_us.is_some_and(|end| end - self.end_us > SECOND_US / 3);
        if self.count == 0 || (told > 0 && told != self.count) || short { Err(self.piece.broken("is cut off")) } else { Ok(()) }
    }
}

/// When the first picture of a file is shown; its headers only guess that.
fn first_time(ctx: &Ctx, source: &Source, index: usize) -> Result<i64, Failure> {
    let mut fresh = source.again(ctx)?;
    let broken = || Failure::corrupt("The beginning of the film cannot be read.").stage("join");
    while let Some(packet) = read(ctx, &mut fresh).map_err(|_| broken())? {
        ctx.check()?;
        if packet.stream() == index {
            return packet.pts().ok_or_else(broken);
        }
    }
    Err(broken())
}

/// The next packet; none: the file is over.
fn read(ctx: &Ctx, source: &mut Source) -> Result<Option<Packet>, Error> {
    let mut packet = Packet::empty();
    match packet.read(&mut source.input) {
        Ok(()) => Ok(Some(packet)),
        Err(Error::Eof) => Ok(None),
        Err(e) => {
            fault::flush_words(ctx);
            Err(e)
        }
    }
}
