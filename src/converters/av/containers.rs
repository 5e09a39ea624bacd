//! What each container takes, and by which demuxer and muxer of FFmpeg it is read and written.

use super::options::{AudioCodec, VideoCodec};
use super::words::Words;
use crate::format::Format;

/// A container that is written.
pub struct Container {
    pub id: &'static str,
    pub muxer: &'static str,
    /// Codecs (FFmpeg's names) that players of this container expect: such streams are copied.
    pub video: &'static [&'static str],
    pub audio: &'static [&'static str],
    pub subtitles: &'static [&'static str],
    /// What other subtitles that are text become.
    pub words: Option<Words>,
    /// Codecs that can be encoded into it, the default first.
    pub encode_video: &'static [VideoCodec],
    pub encode_audio: &'static [AudioCodec],
    /// Keeps the matrix that turns the picture upright.
    pub turns: bool,
    /// Has room for several tracks of sound.
    pub tracks: bool,
    /// Every frame lasts as long as every other.
    pub constant_rate: bool,
    pub chapters: bool,
    /// Players choose among its streams by the bit rates it tells.
    pub adaptive: bool,
    /// Has room for cover art.
    pub covers: bool,
    /// Cannot say how much silence an encoder puts in front: at this many samples a second nobody notices.
    pub least_rate: u32,
}

use AudioCodec::{Aac, Ac3, Alac, Flac, Mp2, Mp3, Opus, Pcm, PcmBig, Vorbis, Wma};
use VideoCodec::{Apng, Av1, Ffv1, Gif, H264, Hevc, Mpeg2, Mpeg4, Prores, Theora, Vp8, Vp9, Webp};

const PLAIN: Container = Container {
    id: "",
    muxer: "",
    video: &[],
    audio: &[],
    subtitles: &[],
    words: None,
    encode_video: &[],
    encode_audio: &[],
    turns: false,
    tracks: false,
    constant_rate: false,
    chapters: false,
    adaptive: false,
    covers: false,
    least_rate: 0,
};

pub static CONTAINERS: &[Container] = &[
    Container {
        id: "mp4",
        muxer: "mp4",
        video: &["h264", "hevc", "av1", "vp9", "mpeg4"],
        audio: &["aac", "mp3", "ac3", "opus"],
        subtitles: &["mov_text"],
        words: Some(Words::MovText),
        encode_video: &[H264, Hevc, Av1, Vp9, Mpeg4],
        encode_audio: &[Aac, Mp3, Opus, Ac3, Flac, Alac],
        turns: true,
        tracks: true,
        chapters: true,
        covers: true,
        ..PLAIN
    },
    Container {
        id: "mov",
        muxer: "mov",
        video: &["h264", "hevc", "mpeg4", "prores", "mjpeg"],
        audio: &["aac", "mp3", "ac3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le"],
        subtitles: &["mov_text"],
        words: Some(Words::MovText),
        encode_video: &[H264, Hevc, Mpeg4, Prores],
        encode_audio: &[Aac, Mp3, Ac3, Alac, Pcm],
        turns: true,
        tracks: true,
        chapters: true,
        covers: true,
        ..PLAIN
    },
    Container {
        id: "mkv",
        muxer: "matroska",
        video: &["h264", "hevc", "av1", "vp8", "vp9", "mpeg4", "mpeg2video", "theora", "prores", "ffv1", "mjpeg"],
        audio: &["aac", "mp3", "mp2", "ac3", "eac3", "dts", "opus", "vorbis", "flac", "alac", "pcm_s16le", "pcm_s24le"],
        subtitles: &["subrip", "ass", "webvtt", "hdmv_pgs_subtitle", "dvd_subtitle"],
        words: Some(Words::Subrip),
        encode_video: &[H264, Hevc, Av1, Vp9, Vp8, Mpeg4, Mpeg2, Theora, Prores, Ffv1],
        encode_audio: &[Aac, Mp3, Opus, Vorbis, Flac, Ac3, Alac, Mp2, Pcm],
        tracks: true,
        chapters: true,
        ..PLAIN
    },
    Container {
        id: "webm",
        muxer: "webm",
        video: &["vp8", "vp9", "av1"],
        audio: &["opus", "vorbis"],
        subtitles: &["webvtt"],
        words: Some(Words::Webvtt),
        encode_video: &[Vp9, Vp8, Av1],
        encode_audio: &[Opus, Vorbis],
        tracks: true,
        chapters: true,
        ..PLAIN
    },
    Container {
        id: "avi",
        muxer: "avi",
        video: &["mpeg4", "mjpeg"],
        audio: &["mp3", "ac3", "pcm_s16le"],
        encode_video: &[Mpeg4, H264],
        encode_audio: &[Mp3, Ac3, Pcm, Aac],
        constant_rate: true,
        least_rate: 32000,
        ..PLAIN
    },
    Container { id: "gif", muxer: "gif", encode_video: &[Gif], constant_rate: true, ..PLAIN },
    Container { id: "apng", muxer: "apng", encode_video: &[Apng], constant_rate: true, ..PLAIN },
    Container { id: "webp", muxer: "webp", encode_video: &[Webp], constant_rate: true, ..PLAIN },
    Container {
        id: "flv",
        muxer: "flv",
        video: &["h264"],
        audio: &["aac", "mp3"],
        encode_video: &[H264],
        encode_audio: &[Aac, Mp3],
        least_rate: 32000,
        ..PLAIN
    },
    Container {
        id: "ts",
        muxer: "mpegts",
        video: &["h264", "hevc", "mpeg2video"],
        audio: &["aac", "mp2", "mp3", "ac3"],
        encode_video: &[H264, Hevc, Mpeg2],
        encode_audio: &[Aac, Mp3, Mp2, Ac3],
        tracks: true,
        least_rate: 32000,
        ..PLAIN
    },
    Container {
        id: "mpg",
        muxer: "vob",
        video: &["mpeg2video"],
        audio: &["mp2", "ac3"],
        encode_video: &[Mpeg2],
        encode_audio: &[Mp2, Ac3],
        constant_rate: true,
        least_rate: 32000,
        ..PLAIN
    },
    Container {
        id: "3gp",
        muxer: "3gp",
        video: &["h264", "mpeg4", "h263"],
        audio: &["aac", "amr_nb"],
        encode_video: &[H264, Mpeg4],
        encode_audio: &[Aac],
        turns: true,
        ..PLAIN
    },
    Container {
        id: "ogv",
        muxer: "ogv",
        video: &["theora"],
        audio: &["vorbis"],
        encode_video: &[Theora],
        encode_audio: &[Vorbis, Opus, Flac],
        constant_rate: true,
        ..PLAIN
    },
    Container { id: "hls", muxer: "hls", encode_video: &[H264, Hevc], encode_audio: &[Aac], constant_rate: true, adaptive: true, ..PLAIN },
    Container {
        id: "dash",
        muxer: "dash",
        encode_video: &[H264, Hevc, Av1, Vp9],
        encode_audio: &[Aac, Opus],
        constant_rate: true,
        adaptive: true,
        ..PLAIN
    },
    Container { id: "srt", muxer: "srt", words: Some(Words::Subrip), ..PLAIN },
    Container { id: "vtt", muxer: "webvtt", words: Some(Words::Webvtt), ..PLAIN },
    Container { id: "ass", muxer: "ass", words: Some(Words::Ass), ..PLAIN },
    Container { id: "mp3", muxer: "mp3", audio: &["mp3"], encode_audio: &[Mp3], covers: true, ..PLAIN },
    Container { id: "m4a", muxer: "ipod", audio: &["aac", "alac"], encode_audio: &[Aac, Alac], chapters: true, covers: true, ..PLAIN },
    Container { id: "aac", muxer: "adts", audio: &["aac"], encode_audio: &[Aac], least_rate: 32000, ..PLAIN },
    Container { id: "opus", muxer: "opus", audio: &["opus"], encode_audio: &[Opus], ..PLAIN },
    Container { id: "ogg", muxer: "ogg", audio: &["vorbis"], encode_audio: &[Vorbis, Flac], ..PLAIN },
    Container { id: "flac", muxer: "flac", audio: &["flac"], encode_audio: &[Flac], covers: true, ..PLAIN },
    Container { id: "wav", muxer: "wav", audio: &["pcm_s16le", "pcm_s24le"], encode_audio: &[Pcm], ..PLAIN },
    Container { id: "aiff", muxer: "aiff", audio: &["pcm_s16be", "pcm_s24be"], encode_audio: &[PcmBig], ..PLAIN },
    Container { id: "ac3", muxer: "ac3", audio: &["ac3"], encode_audio: &[Ac3], least_rate: 32000, ..PLAIN },
    Container { id: "wma", muxer: "asf", audio: &["wmav2", "wmav1"], encode_audio: &[Wma], least_rate: 32000, ..PLAIN },
    Container {
        id: "mka",
        muxer: "matroska",
        audio: &["aac", "mp3", "mp2", "ac3", "eac3", "dts", "opus", "vorbis", "flac", "alac", "pcm_s16le", "pcm_s24le"],
        encode_audio: &[Opus, Aac, Mp3, Vorbis, Flac, Ac3, Alac, Mp2, Pcm],
        chapters: true,
        ..PLAIN
    },
];

impl Container {
    /// The muxer's words for how often a moving picture plays, 0 for ever; none for films.
    pub fn plays(&self, times: u16) -> Vec<(&'static str, String)> {
        match self.id {
            // It counts the plays after the first one.
            "gif" if times == 1 => vec![("loop", "-1".into())],
            "gif" => vec![("loop", times.saturating_sub(1).to_string())],
            "apng" => vec![("plays", times.to_string())],
            "webp" => vec![("loop", times.to_string())],
            _ => Vec::new(),
        }
    }
}

/// The container of this format.
pub fn container(format: Format) -> Option<&'static Container> {
    CONTAINERS.iter().find(|c| c.id == format.id())
}

/// The demuxers that read a format, the usual one first.
pub fn demuxers(format: Format) -> &'static [&'static str] {
    match format.id() {
        "mp4" | "mov" | "3gp" | "m4a" => &["mov"],
        "mkv" | "webm" | "mka" => &["matroska"],
        "avi" => &["avi"],
        "flv" => &["flv"],
        "wmv" | "wma" => &["asf"],
        "mpg" => &["mpeg", "mpegvideo"],
        "ts" => &["mpegts"],
        "ogv" | "ogg" | "opus" => &["ogg"],
        "mxf" => &["mxf"],
        "y4m" => &["yuv4mpegpipe"],
        "h264" => &["h264"],
        "hevc" => &["hevc"],
        "obu" => &["obu"],
        "ivf" => &["ivf"],
        "srt" => &["srt"],
        "vtt" => &["webvtt"],
        "ass" => &["ass"],
        "gif" => &["gif"],
        "mp3" => &["mp3"],
        "aac" => &["aac"],
        "flac" => &["flac"],
        "wav" => &["wav"],
        "aiff" => &["aiff"],
        "ac3" => &["ac3", "eac3"],
        "amr" => &["amr"],
        "au" => &["au"],
        "caf" => &["caf"],
        "wv" => &["wv"],
        "tta" => &["tta"],
        "dts" => &["dts"],
        _ => &[],
    }
}
