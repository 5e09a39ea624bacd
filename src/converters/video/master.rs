//! The playlist of playlists (RFC 8216, 4.3.4): what players choose a rung by, measured from the finished segments.

use super::package::entry;
use super::renditions::Rendition;
use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

/// A rung as its playlist is named, with its size.
pub struct Variant<'a> {
    pub name: &'a str,
    pub size: (u32, u32),
}

/// Bits per second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Load {
    /// Of the heaviest segment.
    peak: u64,
    average: u64,
}

/// Writes it anew over the muxer's own, which knows bit rates only as they were asked for; the names of the codecs are taken from there.
pub fn write(folder: &Path, variants: &[Variant], rate: f64, sounds: &[Rendition], words: &[Rendition]) -> io::Result<()> {
    let path = folder.join(entry("hls"));
    let told = fs::read_to_string(&path)?;
    let mut heard = Load::default();
    for sound in sounds {
        let load = measure(folder, &sound.file)?;
        // A player hears one of them; which one is not known.
        heard = Load { peak: heard.peak.max(load.peak), average: heard.average.max(load.average) };
    }
    let mut text = String::from("#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    text.extend(sounds.iter().map(|sound| sound.media("AUDIO", "sound")));
    text.extend(words.iter().map(|words| words.media("SUBTITLES", "words")));
    for Variant { name, size: (width, height) } in variants {
        let seen = measure(folder, name)?;
        let (peak, average) = (seen.peak + heard.peak, seen.average + heard.average);
        let _ = write!(text, "#EXT-X-STREAM-INF:BANDWIDTH={peak},AVERAGE-BANDWIDTH={average},RESOLUTION={width}x{height},FRAME-RATE={rate:.3}");
        if let Some(codecs) = codecs(&told, name) {
            let _ = write!(text, ",CODECS=\"{codecs}\"");
        }
        text.push_str(if sounds.is_empty() { "" } else { ",AUDIO=\"sound\"" });
        text.push_str(if words.is_empty() { "" } else { ",SUBTITLES=\"words\"" });
        let _ = writeln!(text, "\n{name}.m3u8");
    }
    fs::write(path, text)
}

/// What the muxer's playlist calls the codecs of a rung.
fn codecs<'a>(told: &'a str, name: &str) -> Option<&'a str> {
    let lines: Vec<&str> = told.lines().collect();
    let line = lines.windows(2).find(|pair| pair[1] == format!("{name}.m3u8")).map(|pair| pair[0])?;
    line.split_once("CODECS=\"")?.1.split_once('"').map(|(codecs, _)| codecs)
}

fn measure(folder: &Path, name: &str) -> io::Result<Load> {
    let playlist = fs::read_to_string(folder.join(format!("{name}.m3u8")))?;
    let mut segments = Vec::new();
    let (mut seconds, mut part) = (0.0, None);
    for line in playlist.lines() {
        if let Some(length) = line.strip_prefix("#EXTINF:") {
            seconds = length.trim_end_matches(',').parse::<f64>().unwrap_or_default();
        } else if let Some(range) = line.strip_prefix("#EXT-X-BYTERANGE:") {
            part = range.split('@').next().and_then(|bytes| bytes.parse::<u64>().ok());
        } else if !line.starts_with('#') && !line.is_empty() {
            let bytes = match part.take() {
                Some(bytes) => bytes,
                None => fs::metadata(folder.join(line))?.len(),
            };
            segments.push((bytes, seconds));
        }
    }
    Ok(load(&segments))
}

/// Of segments as (bytes, seconds); a last one of hardly any length tells nothing of the peak.
fn load(segments: &[(u64, f64)]) -> Load {
    let longest = segments.iter().map(|(_, seconds)| *seconds).fold(0.0, f64::max);
    let per_second = |bytes: u64, seconds: f64| if seconds > 0.0 { (bytes as f64 * 8.0 / seconds).ceil() as u64 } else { 0 };
    let long = segments.iter().filter(|(_, seconds)| *seconds >= longest / 2.0);
    let all = segments.iter().fold((0, 0.0), |sum, (bytes, seconds)| (sum.0 + bytes, sum.1 + seconds));
    Load { peak: long.map(|(bytes, seconds)| per_second(*bytes, *seconds)).max().unwrap_or(0), average: per_second(all.0, all.1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_are_of_the_segments() {
        assert_eq!(load(&[(1000, 2.0), (3000, 2.0), (900, 0.1)]), Load { peak: 12_000, average: 9_561 });
        assert_eq!(load(&[]), Load::default());
    }

    #[test]
    fn codecs_are_found_by_the_playlist() {
        let told = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"avc1.42c00c,mp4a.40.2\",AUDIO=\"x\"\n360p.m3u8\n\n#EXT-X-STREAM-INF:BANDWIDTH=1\n90p.m3u8\n";
        assert_eq!(codecs(told, "360p"), Some("avc1.42c00c,mp4a.40.2"));
        assert_eq!(codecs(told, "90p"), None);
    }
}
