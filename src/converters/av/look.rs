//! What is made of a film's pictures: size, rate, colours.

use super::codecs::nearest_rate;
use super::containers::Container;
use super::ffi::{Colour, Facts};
use super::geometry::{Geometry, Turn, squared};
use super::mux::tag;
use super::options::{Crop, Deinterlace, Denoise, ToneMap, VideoCodec, VideoOptions};
use crate::convert::Ctx;
use crate::failure::{Code, Failure};
use ffmpeg_next::Rational;

/// Transfer characteristics of HDR by ISO/IEC 23091-2: PQ and HLG.
const HDR: [i32; 2] = [16, 18];
/// Of the same standard, for all that a film does not say.
const UNSPECIFIED: i32 = 2;
/// BT.709 in limited range.
const SDR: Colour = Colour { range: 1, primaries: 1, transfer: 1, matrix: 1 };

/// What is made of the picture.
#[derive(Debug, Clone)]
pub struct Look {
    pub codec: VideoCodec,
    pub turn: Turn,
    pub geometry: Geometry,
    /// Width to height of a pixel of the result.
    pub aspect: (i32, i32),
    pub colour: Colour,
    /// Full-range video becomes limited, which every player expects.
    pub narrow: bool,
    /// The colours of an HDR film, which becomes SDR.
    pub hdr: Option<Colour>,
    pub deinterlaced: bool,
    pub denoised: Option<Denoise>,
    pub crop: Option<Crop>,
    /// Frames per second of the result.
    pub rate: Rational,
    /// Frames are repeated and dropped to meet the rate.
    pub constant: bool,
    pub clock: Rational,
    /// The four letters by which the container names the codec; 0 for the muxer's choice.
    pub tag: u32,
    /// The filters that draw something over the picture.
    pub drawn: Vec<String>,
}

impl Look {
    pub fn plan(from: &Facts, codec: VideoCodec, options: &VideoOptions, container: &Container) -> Look {
        let turn = Turn::of(from.matrix).and(options.rotate as u16);
        let upright = turn.turned((from.width, from.height));
        let mut aspect = turn.turned(from.aspect);
        let crop = options.crop.map(|crop| within(crop, upright));
        let (mut width, mut source) = (options.width, crop.map_or(upright, |crop| (crop.width, crop.height)));
        if codec.is_picture() {
            // Pixels of a gif are square, and one wider than this is larger than the film it was made of.
            source = squared(source, aspect);
            aspect = (1, 1);
            width = width.or(options.height.is_none().then_some(480));
        }
        let geometry = Geometry::plan(source, width, options.height, options.fit, !codec.is_picture());
        let own = from.frame_rate.or(from.average_rate).unwrap_or(Rational::new(25, 1));
        // A rate beyond what eyes see is the clock of a film with irregular frames.
        let irregular = f64::from(own) > 120.0;
        let calm = from.average_rate.filter(|r| (1.0..=120.0).contains(&f64::from(*r))).unwrap_or(Rational::new(30, 1));
        let mut rate = if irregular { calm } else { own };
        if codec.is_picture() && f64::from(rate) > 15.0 {
            rate = Rational::new(15, 1);
        }
        let rate = options.fps.map_or(rate, |fps| Rational::new((fps * 1000.0).round() as i32, 1000).reduce());
        let mut rate = nearest_rate(codec, rate);
        if codec.strict_clock() {
            // Their headers have 16 bits for it.
            rate = rate.reduce_with_limit(60_000).unwrap_or_else(|nearest| nearest);
        }
        let constant = container.constant_rate || options.fps.is_some() || (irregular && codec.strict_clock());
        let clock = if irregular && !constant { from.time_base } else { rate.invert() };
        let narrow = from.pixels.starts_with("yuvj") || from.colour.range == 2;
        let rgb = from.colour.matrix == 0 || ["rgb", "bgr", "gbr", "pal", "0rgb", "argb", "abgr"].iter().any(|p| from.pixels.starts_with(p));
        let colour = if rgb { Colour { range: 1, primaries: 2, transfer: 2, matrix: 6 } } else { from.colour };
        let colour = if narrow { Colour { range: 1, ..colour } } else { colour };
        let hdr = hdr(from.colour).filter(|_| options.tone_map == ToneMap::Auto);
        let colour = if hdr.is_some() { SDR } else { colour };
        let deinterlaced = match options.deinterlace {
            Deinterlace::Auto => from.interlaced,
            Deinterlace::Always => true,
            Deinterlace::Never => false,
        };
        Look {
            codec,
            turn,
            geometry,
            aspect,
            colour,
            narrow,
            hdr,
            deinterlaced,
            denoised: options.denoise,
            crop,
            rate,
            constant,
            clock,
            tag: tag(container, codec.codec()),
            drawn: Vec::new(),
        }
    }

    /// The same, with these filters that draw something over it.
    pub fn with(self, drawn: Vec<String>) -> Look {
        Look { drawn, ..self }
    }

    /// What all that is made of these pictures shares; numbers and words of ours only, with a comma at its end if there is any.
    /// `late`: the first pictures are not those of the film's beginning.
    pub fn trunk(&self, late: bool) -> String {
        let mut chain: Vec<String> = Vec::new();
        if self.deinterlaced {
            // Whole pictures, as often as before.
            chain.push("bwdif=mode=send_frame:deint=all".into());
        }
        if self.constant {
            let start = if late { "" } else { ":start_time=0" };
            chain.push(format!("fps=fps={}/{}{start}", self.rate.numerator(), self.rate.denominator()));
        }
        chain.extend(self.turn.filters().into_iter().map(str::to_owned));
        if let Some(Crop { left, top, width, height }) = self.crop {
            chain.push(format!("crop=w={width}:h={height}:x={left}:y={top}"));
        }
        if let Some(strength) = self.denoised {
            let [luma, chroma, time] = match strength {
                Denoise::Light => [2, 1, 3],
                Denoise::Medium => [4, 3, 6],
                Denoise::Strong => [8, 6, 12],
            };
            chain.push(format!("hqdn3d=luma_spatial={luma}:chroma_spatial={chroma}:luma_tmp={time}:chroma_tmp={time}"));
        }
        chain.into_iter().map(|filter| filter + ",").collect()
    }

    /// From there to the encoder, for decoded pictures of this size.
    pub fn branch(&self, width: u32, height: u32) -> String {
        let mut chain: Vec<String> = Vec::new();
        let upright = self.turn.turned((width, height));
        let (own_w, own_h) = self.crop.map_or(upright, |crop| (crop.width, crop.height));
        let ((w, h), (cut_w, cut_h)) = (self.geometry.scaled, self.geometry.size);
        let range = if self.narrow { ":out_range=tv" } else { "" };
        if (w, h) != (own_w, own_h) || self.narrow {
            chain.push(format!("scale=w={w}:h={h}:flags=bicubic{range}"));
        }
        if (cut_w, cut_h) != (w, h) {
            chain.push(format!("crop=w={cut_w}:h={cut_h}"));
        }
        chain.extend(self.hdr.map(to_sdr));
        chain.extend(self.drawn.iter().cloned());
        chain.push(format!("setsar=sar={}/{}", self.aspect.0, self.aspect.1));
        if self.codec == VideoCodec::Webp {
            // It knows no other colours.
            chain.push("scale=out_color_matrix=bt601:out_range=tv".into());
        }
        if self.codec == VideoCodec::Gif {
            chain.push("split[a][b];[a]palettegen=stats_mode=diff[p];[b][p]paletteuse=dither=sierra2_4a".into());
        } else {
            chain.push(format!("format=pix_fmts={}", self.codec.pixel_names()));
        }
        chain.join(",")
    }
}

/// These colours, if they are of HDR.
pub fn hdr(colour: Colour) -> Option<Colour> {
    HDR.contains(&colour.transfer).then_some(colour)
}

/// The filters that make SDR of HDR: to light as it is, pressed into what a screen of 100 nits shows, and back to signals.
pub fn to_sdr(from: Colour) -> String {
    // What the film does not say is what HDR films are.
    let unsaid = [(from.primaries, "color_primaries=bt2020"), (from.matrix, "colorspace=bt2020nc")];
    let said: Vec<&str> = unsaid.into_iter().filter(|(value, _)| *value == UNSPECIFIED).map(|(_, words)| words).collect();
    let said = if said.is_empty() { String::new() } else { format!("setparams={},", said.join(":")) };
    said + "zscale=transfer=linear:npl=100,format=pix_fmts=gbrpf32le,zscale=primaries=bt709,\
            tonemap=tonemap=hable:desat=0,zscale=transfer=bt709:matrix=bt709:range=limited"
}

/// The part of a crop that lies within the picture, with even sides.
fn within(crop: Crop, (width, height): (u32, u32)) -> Crop {
    let (left, top) = (crop.left.min(width.saturating_sub(2)), crop.top.min(height.saturating_sub(2)));
    let even = |side: u32| (side & !1).max(2);
    Crop { left, top, width: even(crop.width.min(width - left)), height: even(crop.height.min(height - top)) }
}

/// A gif keeps all its frames in memory until the palette is known; nobody wants the others longer either.
pub fn check_moving(ctx: &Ctx, look: &Look, length_us: Option<i64>) -> Result<(), Failure> {
    let (w, h) = look.geometry.size;
    let frames = length_us.map_or(1.0, |us| us as f64 / 1e6 * f64::from(look.rate)).max(1.0);
    let pixels = f64::from(w) * f64::from(h) * frames;
    if pixels > ctx.limits.total_pixels_max as f64 || pixels * 4.0 > ctx.limits.memory_max.0 as f64 * 0.8 {
        let message = format!("The film is too long for a {} of {w} x {h} at {:.0} frames per second.", look.codec.codec(), f64::from(look.rate));
        return Err(Failure::new(Code::LimitExceeded, message).hint("Trim it, or ask for a smaller width or a lower fps.").stage("open"));
    }
    Ok(())
}
