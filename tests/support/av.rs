//! What ffprobe and ffmpeg, as tools that are not ours, say of films and songs.

use super::direct::tool;
use serde_json::Value;
use std::path::Path;

pub fn ffprobe(file: &Path) -> Value {
    let file = file.to_string_lossy();
    let text = tool("ffprobe", &["-v", "error", "-print_format", "json", "-show_streams", "-show_format", "-show_chapters", &file]);
    serde_json::from_str(&text).unwrap()
}

/// The first stream of this kind.
pub fn stream<'a>(probed: &'a Value, kind: &str) -> Option<&'a Value> {
    probed["streams"].as_array().unwrap().iter().find(|s| s["codec_type"] == kind)
}

pub fn codec(probed: &Value, kind: &str) -> String {
    stream(probed, kind).map(|s| s["codec_name"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
}

pub fn duration_s(probed: &Value) -> f64 {
    probed["format"]["duration"].as_str().and_then(|d| d.parse().ok()).unwrap_or(0.0)
}

pub fn size(probed: &Value) -> (u64, u64) {
    let video = stream(probed, "video").unwrap();
    (video["width"].as_u64().unwrap(), video["height"].as_u64().unwrap())
}

/// The pictures' and sounds' packets of a kind of stream, as a hash: equal when nothing was encoded again.
pub fn packets(file: &Path, kind: &str) -> String {
    tool("ffmpeg", &["-v", "error", "-i", &file.to_string_lossy(), "-map", &format!("0:{kind}:0"), "-c", "copy", "-f", "hash", "-"])
}

/// What the container says of each packet of a stream, in the order of the file: these fields of ffprobe's, comma between them.
pub fn all_packets(file: &Path, stream: &str, fields: &str) -> Vec<String> {
    let (entries, file) = (format!("packet={fields}"), file.to_string_lossy());
    let args = ["-v", "error", "-select_streams", stream, "-show_data_hash", "md5", "-show_entries", &entries, "-of", "csv=p=0", &file];
    tool("ffprobe", &args).lines().map(str::to_owned).collect()
}

/// When each picture is shown, in the stream's own clock.
pub fn shown_at(file: &Path) -> Vec<i64> {
    let mut times: Vec<i64> = all_packets(file, "v:0", "pts").iter().map(|line| line.trim_matches(',').parse().unwrap()).collect();
    times.sort_unstable();
    times
}

/// How many frames, or samples per channel, a decoder makes of the file.
pub fn frames(file: &Path) -> usize {
    tool("ffmpeg", &["-v", "error", "-i", &file.to_string_lossy(), "-map", "0:v:0", "-f", "framecrc", "-"])
        .lines()
        .filter(|l| !l.starts_with('#'))
        .count()
}

pub fn samples(file: &Path) -> usize {
    let raw = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-i", &file.to_string_lossy(), "-map", "0:a:0", "-ac", "1", "-f", "s16le", "-"])
        .output()
        .unwrap();
    raw.stdout.len() / 2
}

/// The colour at a place of the frame at `second`, 0 to 1 across and down.
pub fn colour(file: &Path, second: f64, x: f64, y: f64) -> [i32; 3] {
    let crop = format!("crop=w=4:h=4:x='iw*{x}-2':y='ih*{y}-2',scale=1:1:flags=area");
    let mut ffmpeg = std::process::Command::new("ffmpeg");
    ffmpeg.args(["-v", "error"]);
    if second > 0.0 {
        ffmpeg.args(["-ss", &second.to_string()]);
    }
    let raw = ffmpeg
        .args(["-i", &file.to_string_lossy(), "-vf", &crop, "-frames:v", "1", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"])
        .output()
        .unwrap()
        .stdout;
    assert_eq!(raw.len(), 3, "{}", file.display());
    std::array::from_fn(|i| i32::from(raw[i]))
}

/// Red, lime, blue, yellow clockwise from the top left.
pub fn assert_upright(file: &Path, second: f64) {
    for (x, y, wanted) in [(0.1, 0.1, [255, 0, 0]), (0.9, 0.1, [0, 255, 0]), (0.9, 0.9, [0, 0, 255]), (0.1, 0.9, [255, 255, 0])] {
        let found = colour(file, second, x, y);
        let near = found.iter().zip(wanted).all(|(f, w): (&i32, i32)| (f - w).abs() < 70);
        assert!(near, "{}: {found:?} at {x},{y}, not {wanted:?}", file.display());
    }
}
