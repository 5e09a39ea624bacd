//! The tracks of sound and subtitles beside an adaptive stream's pictures, as a player shows them to choose from.

use super::package::entry;
use crate::convert::Ctx;
use crate::converters::av::Facts;
use crate::converters::av::open::Source;
use crate::converters::av::options::{Language, Trim};
use crate::converters::av::{SECOND_US, words};
use crate::failure::Failure;
use crate::format::Format;
use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

/// One track to choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendition {
    /// The name of its files, without an extension.
    pub file: String,
    /// What people choose it by; no two of a kind have the same.
    pub name: String,
    /// By its shortest code (RFC 5646).
    pub language: Option<String>,
    /// The one that is taken where nobody chooses.
    pub default: bool,
}

/// Names for tracks of one kind, the first of which is the default.
pub fn renditions(kind: &str, tracks: &[&Facts]) -> Vec<Rendition> {
    let mut named: Vec<Rendition> = Vec::new();
    for (n, track) in tracks.iter().enumerate() {
        let language = track.language().and_then(Language::parse);
        let title =
            track.tags.iter().find(|(key, _)| key.eq_ignore_ascii_case("title")).map(|(_, title)| shown(title)).filter(|title| !title.is_empty());
        let own = language.map(|language| language.own_name());
        let name = title.or(own).unwrap_or_else(|| if tracks.len() == 1 { kind.to_owned() } else { format!("{kind} {}", n + 1) });
        let code = language.map(|language| language.to_string());
        let file = match &code {
            _ if tracks.len() == 1 => kind.to_owned(),
            Some(code) => format!("{kind}-{code}"),
            None => format!("{kind}-{}", n + 1),
        };
        let file = unused(&file, '-', |file| named.iter().any(|other| other.file == file));
        let name = unused(&name, ' ', |name| named.iter().any(|other| other.name == name));
        named.push(Rendition { file, name, language: code, default: n == 0 });
    }
    named
}

/// A title fit for an attribute of a playlist or of XML.
fn shown(title: &str) -> String {
    title.chars().filter(|c| !c.is_control() && !"\"<>&'".contains(*c)).take(60).collect::<String>().trim().to_owned()
}

fn unused(name: &str, between: char, taken: impl Fn(&str) -> bool) -> String {
    let others = (2..).map(|n| format!("{name}{between}{n}"));
    std::iter::once(name.to_owned()).chain(others).find(|name| !taken(name)).unwrap_or_default()
}

impl Rendition {
    /// The line of the master playlist (RFC 8216, 4.3.4.1) for a track of this type and group.
    pub fn media(&self, kind: &str, group: &str) -> String {
        let language = self.language.as_ref().map(|code| format!(",LANGUAGE=\"{code}\"")).unwrap_or_default();
        let Rendition { file, name, default, .. } = self;
        let default = if *default && kind == "AUDIO" { "YES" } else { "NO" };
        format!("#EXT-X-MEDIA:TYPE={kind},GROUP-ID=\"{group}\",NAME=\"{name}\"{language},DEFAULT={default},AUTOSELECT=YES,URI=\"{file}.m3u8\"\n")
    }
}

/// Writes the subtitles of these tracks as WebVTT into the package, each one file. Those that say nothing in this part stay out.
pub fn write_words(ctx: &Ctx, source: &Source, tracks: &[&Facts], trim: Trim, folder: &Path) -> Result<Vec<Rendition>, Failure> {
    let vtt = Format::parse("vtt").ok_or_else(|| Failure::internal("no vtt"))?;
    let mut written = Vec::new();
    for (rendition, track) in renditions("words", tracks).into_iter().zip(tracks) {
        let path = folder.join(format!("{}.vtt", rendition.file));
        let made = words::write(ctx, &mut source.again(ctx)?, track.index, vtt, trim, &path)?;
        if made.cues > 0 {
            written.push(rendition);
        } else {
            fs::remove_file(&path).map_err(|e| Failure::internal(e).stage("encode"))?;
        }
    }
    Ok(written)
}

/// A playlist for each file of subtitles: one segment as long as the film.
pub fn list_words(folder: &Path, words: &[Rendition], length_us: i64) -> io::Result<()> {
    let seconds = length_us as f64 / SECOND_US as f64;
    for Rendition { file, .. } in words {
        let head = format!("#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{}\n#EXT-X-PLAYLIST-TYPE:VOD\n", seconds.ceil().max(1.0));
        fs::write(folder.join(format!("{file}.m3u8")), format!("{head}#EXTINF:{seconds:.3},\n{file}.vtt\n#EXT-X-ENDLIST\n"))?;
    }
    Ok(())
}

/// Puts the files of subtitles into the manifest of DASH, each a set of its own (ISO/IEC 23009-1, 5.3.3).
pub fn add_words(folder: &Path, words: &[Rendition]) -> io::Result<()> {
    let path = folder.join(entry("dash"));
    let told = fs::read_to_string(&path)?;
    let Some((before, after)) = told.rsplit_once("</Period>") else { return Err(io::Error::other("a manifest without a period")) };
    let mut sets = String::new();
    for Rendition { file, name, language, .. } in words {
        let lang = language.as_ref().map(|code| format!(" lang=\"{code}\"")).unwrap_or_default();
        let _ = write!(
            sets,
            "\t<AdaptationSet contentType=\"text\" mimeType=\"text/vtt\"{lang}>\n\t\t\t<Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"subtitle\"/>\n\
             \t\t\t<Label>{name}</Label>\n\t\t\t<Representation id=\"{file}\" bandwidth=\"256\">\n\t\t\t\t<BaseURL>{file}.vtt</BaseURL>\n\
             \t\t\t</Representation>\n\t\t</AdaptationSet>\n\t"
        );
    }
    fs::write(path, format!("{before}{sets}</Period>{after}"))
}
