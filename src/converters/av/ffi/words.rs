//! Subtitles that are text, taken from one codec to another.

use ffmpeg_next::format::context::Input;
use ffmpeg_next::packet::Ref;
use ffmpeg_next::{Dictionary, Error, Packet, Rational, codec, decoder, encoder, ffi};
use libc::c_int;

/// The longest text that is shown at once, in bytes.
const ROOM: usize = 64 * 1024;

/// What is shown for a while.
pub struct Cue {
    /// As the new codec writes it.
    pub text: Vec<u8>,
    /// From the packet's time until it is shown.
    pub delay_ms: u32,
    /// None: the packet does not say.
    pub length_ms: Option<u32>,
}

/// A decoder and the encoder behind it.
pub struct Scribe {
    decoder: decoder::Subtitle,
    encoder: encoder::subtitle::Encoder,
    room: Vec<u8>,
}

impl Scribe {
    /// `clock` is that of the stream, `name` that of the encoder.
    pub fn open(input: &Input, index: usize, clock: Rational, name: &str) -> Result<Scribe, Error> {
        let parameters = super::parameters(input, index).ok_or(Error::StreamNotFound)?;
        let found = decoder::find(parameters.id()).ok_or(Error::DecoderNotFound)?;
        let mut reader = codec::Context::from_parameters(parameters)?.decoder();
        reader.set_packet_time_base(clock);
        let reader = reader.open_as(found)?.subtitle()?;
        let found = encoder::find_by_name(name).ok_or(Error::EncoderNotFound)?;
        let mut writer = codec::Context::new_with_codec(found).encoder().subtitle()?;
        writer.set_time_base(Rational::new(1, 1000));
        // SAFETY: both contexts are owned; the decoder's header has the size it says, and the copy, with its NUL, is freed
        // with the encoder, which is not open yet.
        unsafe {
            let (from, to) = (reader.as_ptr(), writer.as_mut_ptr());
            let size = (*from).subtitle_header_size.max(0) as usize;
            if !(*from).subtitle_header.is_null() {
                let header = ffi::av_mallocz(size + 1).cast::<u8>();
                if header.is_null() {
                    return Err(Error::Other { errno: libc::ENOMEM });
                }
                std::ptr::copy_nonoverlapping((*from).subtitle_header, header, size);
                (*to).subtitle_header = header;
                (*to).subtitle_header_size = size as c_int;
            }
        }
        Ok(Scribe { decoder: reader, encoder: writer.open_with(Dictionary::new())?, room: vec![0; ROOM] })
    }

    pub fn encoder(&self) -> &codec::Context {
        &self.encoder
    }

    /// What a packet says; none when it only ends what was said before.
    pub fn transcribe(&mut self, packet: &Packet) -> Result<Option<Cue>, Error> {
        // SAFETY: both contexts are open and owned; the subtitle is plain data, filled by the decoder and freed here; the encoder
        // writes no more than the room it is told of.
        unsafe {
            let mut heard: ffi::AVSubtitle = std::mem::zeroed();
            let mut got = 0;
            let decoded = ffi::avcodec_decode_subtitle2(self.decoder.as_mut_ptr(), &mut heard, &mut got, packet.as_ptr().cast_mut());
            if decoded < 0 {
                return Err(Error::from(decoded));
            }
            if got == 0 {
                return Ok(None);
            }
            let (delay_ms, end_ms) = (heard.start_display_time, heard.end_display_time);
            let length_ms = end_ms.saturating_sub(delay_ms);
            // Encoders want it so.
            (heard.start_display_time, heard.end_display_time) = (0, length_ms);
            let size = match heard.num_rects {
                0 => 0,
                _ => ffi::avcodec_encode_subtitle(self.encoder.as_mut_ptr(), self.room.as_mut_ptr(), self.room.len() as c_int, &heard),
            };
            ffi::avsubtitle_free(&mut heard);
            match usize::try_from(size) {
                Err(_) => Err(Error::from(size)),
                Ok(0) => Ok(None),
                Ok(size) => {
                    let text = self.room.get(..size).unwrap_or_default().to_vec();
                    let length_ms = Some(length_ms).filter(|ms| *ms > 0 && end_ms != u32::MAX);
                    Ok(Some(Cue { text, delay_ms, length_ms }))
                }
            }
        }
    }
}
