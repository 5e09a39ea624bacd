//! Still pictures of films.

use super::ffi::{self, Colour, Facts};
use super::geometry::{Turn, squared};
use super::look::{hdr, to_sdr};
use ffmpeg_next::{Dictionary, Error, Packet, Rational, codec, encoder, frame};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a film's picture is turned upright, and its size then in square pixels.
pub fn shown(picture: &Facts) -> (Turn, (u32, u32)) {
    let turn = Turn::of(picture.matrix);
    (turn, squared(turn.turned((picture.width, picture.height)), turn.turned(picture.aspect)))
}

fn scale((width, height): (u32, u32)) -> String {
    format!("scale=w={width}:h={height}:flags=bicubic")
}

/// What makes SDR of HDR. Small first: the light of HDR takes twelve bytes a pixel.
fn light(from: Colour, size: (u32, u32)) -> String {
    hdr(from).map(|hdr| format!("{},{},", scale(size), to_sdr(hdr))).unwrap_or_default()
}

/// A format of one still picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Still {
    Jpeg,
    Png,
    Webp,
}

impl Still {
    pub fn of(id: &str) -> Option<Still> {
        match id {
            "jpeg" => Some(Still::Jpeg),
            "png" => Some(Still::Png),
            "webp" => Some(Still::Webp),
            _ => None,
        }
    }

    pub fn id(self) -> &'static str {
        match self {
            Still::Jpeg => "jpeg",
            Still::Png => "png",
            Still::Webp => "webp",
        }
    }

    fn pixels(self) -> &'static str {
        match self {
            Still::Jpeg => "yuvj420p",
            Still::Png => "rgb24",
            Still::Webp => "yuv420p",
        }
    }

    /// What the scaler is told of the range of its result.
    fn range(self) -> &'static str {
        match self {
            Still::Jpeg => ":out_range=pc:out_color_matrix=bt601",
            Still::Png => "",
            Still::Webp => ":out_range=tv:out_color_matrix=bt601",
        }
    }

    /// The filters that make such a picture of this size of an upright one of these colours.
    pub fn filters(self, from: Colour, size: (u32, u32)) -> String {
        format!("{}{}", light(from, size), self.finish(size))
    }

    /// As [`Still::filters`], with further ones while the colours are the film's own; `whole` is the size that they make of it.
    pub fn filters_with(self, from: Colour, size: (u32, u32), further: &[String], whole: (u32, u32)) -> String {
        format!("{}{},{},{}", light(from, size), scale(size), further.join(","), self.finish(whole))
    }

    fn finish(self, size: (u32, u32)) -> String {
        format!("{}{},setsar=sar=1/1,format=pix_fmts={}", scale(size), self.range(), self.pixels())
    }

    /// The bytes of the picture's file.
    pub fn encode(self, frame: &frame::Video, quality: Option<u8>) -> Result<Vec<u8>, Error> {
        let (name, quality) = match self {
            Still::Jpeg => ("mjpeg", quality.unwrap_or(85)),
            Still::Png => ("png", 100),
            Still::Webp => ("libwebp", quality.unwrap_or(80)),
        };
        let found = encoder::find_by_name(name).ok_or(Error::EncoderNotFound)?;
        let mut context = codec::Context::new_with_codec(found).encoder().video()?;
        context.set_width(frame.width());
        context.set_height(frame.height());
        context.set_format(frame.format());
        context.set_time_base(Rational::new(1, 25));
        // The quantiser of jpeg runs from 1 (best) to 31, in FFmpeg's unit of 118.
        let q = ((1.0 + f64::from(100 - quality) * 30.0 / 99.0) * 118.0).round() as i32;
        let mut set = Dictionary::new();
        set.set("threads", "1");
        match self {
            Still::Jpeg => {
                set.set("flags", "+qscale");
                set.set("global_quality", &q.to_string());
            }
            Still::Png => {}
            Still::Webp => set.set("quality", &quality.to_string()),
        }
        let mut opened = context.open_with(set)?;
        let mut still = frame.clone();
        still.set_pts(Some(0));
        ffi::set_quality(&mut still, q);
        opened.send_frame(&still)?;
        opened.send_eof()?;
        let mut packet = Packet::empty();
        opened.receive_packet(&mut packet)?;
        packet.data().map(<[u8]>::to_vec).ok_or(Error::InvalidData)
    }
}
