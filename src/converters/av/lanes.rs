//! All the ways from one source into one result.

use super::fault;
use super::ffi::Kind;
use super::film::Order;
use super::geometry::Turn;
use super::lane::{Lane, Tally, Window};
use super::lane_audio::{AudioLane, Tone};
use super::lane_copy::CopyLane;
use super::lane_video::VideoLane;
use super::lane_words::WordsLane;
use super::look::{Look, check_moving};
use super::mux::{Mux, tag};
use super::open::Source;
use super::options::VideoOptions;
use super::plan::{Fate, Planned};
use super::shaping::Take;
use super::stretch::Stretch;
use crate::convert::{Ctx, Level};
use crate::failure::Failure;
use ffmpeg_next::Packet;

/// What the lanes have in common.
pub struct Setting<'a> {
    pub ctx: &'a Ctx<'a>,
    pub source: &'a Source,
    pub order: &'a Order<'a>,
    pub window: Window,
    /// How long the result should become.
    pub wanted_us: Option<i64>,
}

#[derive(Default)]
pub struct Lanes {
    /// By the source's streams.
    all: Vec<Option<Lane>>,
    /// The streams whose end is the end of the work: few files say when there are no more subtitles.
    leading: Vec<usize>,
    /// Of each rung, the largest first, as displayed.
    pub sizes: Vec<(u32, u32)>,
    pub rate: Option<f64>,
    /// Samples a second of encoded sound; 0 without.
    pub sound_rate: u32,
    /// What is to be said of the result.
    pub remarks: Vec<String>,
}

impl Lanes {
    pub fn build(at: &Setting, mux: &mut Mux) -> Result<Lanes, Failure> {
        let mut lanes = Lanes { all: at.source.streams.iter().map(|_| None).collect(), ..Lanes::default() };
        for planned in &at.order.streams {
            let lane = lanes.lane(at, planned, mux)?;
            lanes.all[planned.index] = Some(lane);
        }
        let of_words = |index: usize| at.source.streams[index].kind == Kind::Subtitle;
        let mut indices: Vec<usize> = at.order.streams.iter().map(|s| s.index).collect();
        if at.order.stretch == Some(Stretch::First) && indices.len() > 1 {
            indices.retain(|index| at.source.streams[*index].kind != Kind::Video);
        }
        let scripts_alone = indices.iter().all(|index| of_words(*index));
        lanes.leading = indices.into_iter().filter(|index| scripts_alone || !of_words(*index)).collect();
        Ok(lanes)
    }

    fn lane(&mut self, at: &Setting, planned: &Planned, mux: &mut Mux) -> Result<Lane, Failure> {
        let Setting { ctx, source, order, window, wanted_us } = at;
        let from = &source.streams[planned.index];
        let verb = if matches!(planned.fate, Fate::Copy) { "copied" } else { "encoded" };
        ctx.log(Level::Info, format!("track {} ({}) is {verb}: {}", planned.index + 1, from.codec, planned.why));
        Ok(match &planned.fate {
            Fate::Copy => {
                let stream = mux.add_copy(source, from, tag(order.container, &from.codec)).map_err(|e| fault::encoding(ctx, e))?;
                if from.kind == Kind::Video {
                    self.sizes = vec![Turn::of(from.matrix).turned((from.width, from.height))];
                    self.rate = from.average_rate.map(f64::from);
                }
                Lane::Copy(CopyLane::new(from, stream, *window))
            }
            Fate::Video(codec) => {
                let look = |(n, options): (usize, &VideoOptions)| -> Result<(Look, VideoOptions), Failure> {
                    let plain = Look::plan(from, *codec, options, order.container);
                    let drawn = order.drawing.filters(ctx, n, plain.geometry.size)?;
                    Ok((plain.with(drawn), options.clone()))
                };
                let looks: Vec<(Look, VideoOptions)> = order.rungs.iter().enumerate().map(look).collect::<Result<_, _>>()?;
                if let Some((largest, _)) = looks.first() {
                    if codec.is_picture() {
                        check_moving(ctx, largest, *wanted_us)?;
                    }
                    self.rate = Some(f64::from(largest.rate));
                }
                self.sizes = looks.iter().map(|(look, _)| look.geometry.size).collect();
                Lane::Video(Box::new(VideoLane::new(ctx, source, from, looks, *window, order, mux)?))
            }
            Fate::Audio(codec) => {
                let tone = Tone::plan(from, *codec, order.audio, order.quality, order.container.least_rate);
                self.sound_rate = self.sound_rate.max(tone.rate);
                self.remarks.extend(tone.remark(order.audio));
                let end = source.sound_end_us(planned.index).map(|end| end - order.trim.start_us()).filter(|end| *end > 0);
                let length_us = [window.length_us, end].into_iter().flatten().min();
                let window = Window { length_us, ..*window };
                let shaped = order.shaping.shape(ctx, &Take { source, from, tone: &tone, window })?;
                self.remarks.extend(shaped.warnings);
                Lane::Audio(Box::new(AudioLane::new(ctx, source, from, tone, &shaped.filters, window, mux)?))
            }
            Fate::Words(words) => {
                // What is said goes on no longer than what is seen.
                let length_us = [window.length_us, wanted_us.filter(|_| !source.guessed)].into_iter().flatten().min();
                Lane::Words(Box::new(WordsLane::new(ctx, source, from, *words, Window { length_us, ..*window }, mux)?))
            }
        })
    }

    /// Takes a packet of the source; how far its lane has come.
    pub fn feed(&mut self, ctx: &Ctx, packet: &mut Packet, mux: &mut Mux) -> Result<i64, Failure> {
        let Some(Some(lane)) = self.all.get_mut(packet.stream()) else { return Ok(0) };
        lane.feed(ctx, packet, mux)?;
        Ok(lane.tally().read_us)
    }

    /// Nothing more is wanted of the source.
    pub fn done(&self) -> bool {
        self.leading.iter().filter_map(|index| self.all[*index].as_ref()).all(Lane::done)
    }

    /// The source has ended, or the window has.
    pub fn finish(&mut self, ctx: &Ctx, mux: &mut Mux) -> Result<(), Failure> {
        for lane in self.all.iter_mut().flatten() {
            ctx.check()?;
            lane.finish(ctx, mux)?;
        }
        Ok(())
    }

    /// What came of pictures and sounds, and of what is copied.
    pub fn tallies(&self) -> Vec<&Tally> {
        self.all.iter().flatten().filter(|lane| !matches!(lane, Lane::Words(_))).map(Lane::tally).collect()
    }

    /// Where the track made of this stream ends.
    pub fn end_us(&self, index: usize) -> Option<i64> {
        self.all.get(index)?.as_ref().map(|lane| lane.tally().end_us)
    }

    /// What came of subtitles that are written anew.
    pub fn words(&self) -> Vec<&Tally> {
        self.all.iter().flatten().filter(|lane| matches!(lane, Lane::Words(_))).map(Lane::tally).collect()
    }
}
