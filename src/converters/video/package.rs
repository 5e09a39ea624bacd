//! How an adaptive stream is laid out: its playlists and segments, as FFmpeg's muxers are told.

use super::renditions::Rendition;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// What a package is made of.
pub struct Package<'a> {
    /// The rungs' names, in the order of their streams.
    pub rungs: &'a [String],
    /// The tracks of sound, in the order of their streams, which come after the rungs'.
    pub sounds: &'a [Rendition],
    pub segment_us: i64,
    /// One file for each rung, its segments parts of it.
    pub single_file: bool,
}

/// The playlist that a player is given.
pub fn entry(format: &str) -> &'static str {
    if format == "dash" { "manifest.mpd" } else { "master.m3u8" }
}

/// The finished tracks, each as its files, the one with the headers first.
pub fn tracks(folder: &Path) -> io::Result<Vec<Vec<PathBuf>>> {
    let mut tracks = BTreeMap::<String, Vec<PathBuf>>::new();
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if let Some((stem, "mp4" | "m4s")) = name.rsplit_once('.') {
            let track = stem.split('_').next().unwrap_or(stem);
            tracks.entry(track.to_owned()).or_default().push(path);
        }
    }
    for files in tracks.values_mut() {
        files.sort_by_key(|file| (file.extension() != Some("mp4".as_ref()), file.clone()));
    }
    Ok(tracks.into_values().collect())
}

impl Package<'_> {
    /// What the muxer is asked to write, below the output's folder: for HLS a pattern of playlists.
    pub fn target(format: &str) -> &'static str {
        if format == "dash" { entry(format) } else { "%v.m3u8" }
    }

    fn seconds(&self) -> String {
        format!("{}.{:06}", self.segment_us / 1_000_000, self.segment_us % 1_000_000)
    }

    /// HTTP Live Streaming (RFC 8216) with fragmented MP4, each track of sound a rendition of its own that all rungs share.
    pub fn hls(&self, folder: &Path) -> Vec<(&'static str, String)> {
        let group = if self.sounds.is_empty() { "" } else { ",agroup:sound" };
        let mut streams: Vec<String> = self.rungs.iter().enumerate().map(|(n, name)| format!("v:{n}{group},name:{name}")).collect();
        streams.extend(self.sounds.iter().enumerate().map(|(n, sound)| {
            let default = if sound.default { ",default:yes" } else { "" };
            format!("a:{n},agroup:sound,name:{}{default}", sound.file)
        }));
        // Only where there are several does the muxer put names in for the pattern.
        let alone = self.rungs.first().filter(|_| streams.len() == 1);
        let (flags, segments) = if self.single_file { ("+single_file", "%v.mp4") } else { ("", "%v_%05d.m4s") };
        vec![
            ("hls_time", self.seconds()),
            ("hls_playlist_type", "vod".into()),
            ("hls_list_size", "0".into()),
            ("hls_segment_type", "fmp4".into()),
            ("hls_flags", format!("independent_segments{flags}")),
            ("hls_segment_filename", folder.join(segments).to_string_lossy().into_owned()),
            ("hls_fmp4_init_filename", format!("{}_init.mp4", alone.map_or("%v", String::as_str))),
            ("master_pl_name", entry("hls").into()),
            ("var_stream_map", streams.join(" ")),
        ]
    }

    /// Dynamic Adaptive Streaming over HTTP (ISO/IEC 23009-1) with a timeline of segments.
    pub fn dash(&self) -> Vec<(&'static str, String)> {
        let set = |n: usize| format!(" id={},streams={}", n + 1, self.rungs.len() + n);
        let pictures: Vec<String> = (0..self.rungs.len()).map(|n| n.to_string()).collect();
        let sounds: String = (0..self.sounds.len()).map(set).collect();
        let mut settings = vec![
            ("seg_duration", self.seconds()),
            ("adaptation_sets", format!("id=0,streams={}{sounds}", pictures.join(","))),
            ("dash_segment_type", "mp4".into()),
            ("use_template", "1".into()),
            ("use_timeline", "1".into()),
        ];
        if self.single_file {
            settings.push(("single_file", "1".into()));
            settings.push(("single_file_name", "track$RepresentationID$.mp4".into()));
        } else {
            settings.push(("init_seg_name", "track$RepresentationID$_init.mp4".into()));
            settings.push(("media_seg_name", "track$RepresentationID$_$Number%05d$.m4s".into()));
        }
        settings
    }
}
