//! Fonts that an office document names and this machine has not, and what stands for them in the pdf.

use crate::convert::Input;
use fontconfig::{FC_FAMILY, Fontconfig, ObjectSet, Pattern, list_fonts};
use hayro_syntax::Pdf;
use hayro_syntax::object::{Dict, Name};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use zip::ZipArchive;

/// Of a part so much is searched for names.
const PART_MAX: u64 = 64 << 20;
/// More names than any honest document has.
const NAMES_MAX: usize = 200;
/// What stands in front of the name of a font, in texts, tables, slides and their styles.
const MARKS: [&str; 11] = [
    "w:ascii=\"",
    "w:hAnsi=\"",
    "w:eastAsia=\"",
    "w:cs=\"",
    "<a:latin typeface=\"",
    "<a:ea typeface=\"",
    "<a:cs typeface=\"",
    "<name val=\"",
    "<rFont val=\"",
    "svg:font-family=\"",
    "fo:font-family=\"",
];

/// A warning for each font of the document that another one stands for.
pub fn warnings(input: &Input, pdf: &Pdf) -> Vec<String> {
    let named = named(input);
    if named.is_empty() {
        return Vec::new();
    }
    let (Some(machine), drawn) = (Fontconfig::new(), drawn(pdf)) else { return Vec::new() };
    let missing = named.iter().filter(|name| !drawn.contains(&key(name)) && !is_installed(&machine, name));
    missing
        .filter_map(|name| {
            // A font that nothing is written in has no substitute either.
            let other = substitute(&machine, name).filter(|other| drawn.contains(&key(other)))?;
            Some(format!("The font “{name}” is not on this machine; “{other}” stands for it."))
        })
        .collect()
}

/// The fonts that the document names.
fn named(input: &Input) -> BTreeSet<String> {
    let zip = File::open(&input.path).ok().and_then(|file| ZipArchive::new(file).ok());
    let Some(mut zip) = zip.filter(|_| matches!(input.format.id(), "docx" | "odt" | "pptx" | "odp" | "xlsx" | "ods" | "odg")) else {
        return BTreeSet::new();
    };
    let folders = ["word/", "ppt/slides/", "ppt/slideLayouts/", "ppt/slideMasters/", "ppt/theme/", "xl/styles", "xl/sharedStrings", "xl/theme/"];
    let wanted =
        |name: &str| name.ends_with(".xml") && (["content.xml", "styles.xml"].contains(&name) || folders.iter().any(|f| name.starts_with(f)));
    let parts: Vec<String> = zip.file_names().flatten().filter(|name| wanted(name)).map(|name| name.to_string()).collect();
    let mut found = BTreeSet::new();
    for part in parts {
        let mut text = String::new();
        let read = zip.by_name(&part).ok().and_then(|part| part.take(PART_MAX).read_to_string(&mut text).ok());
        if read.is_some() {
            found.extend(MARKS.iter().flat_map(|mark| values(&text, mark)));
        }
    }
    found.into_iter().take(NAMES_MAX).collect()
}

/// What stands between the mark and the next quote. A plus stands for a font of the theme, which is named there.
fn values<'t>(text: &'t str, mark: &'t str) -> impl Iterator<Item = String> + 't {
    let raw = text.match_indices(mark).filter_map(move |(at, _)| text.get(at + mark.len()..)?.split_once('"').map(|(value, _)| value));
    raw.map(plain).filter(|name| !name.is_empty() && !name.starts_with('+') && name.len() < 100)
}

/// The first family of the value, without quotes.
fn plain(value: &str) -> String {
    let value = value.replace("&apos;", "'").replace("&quot;", "\"").replace("&amp;", "&");
    value.split([',', ';']).next().unwrap_or_default().trim_matches(['\'', '"', ' ']).to_owned()
}

/// A name without what its spellings differ in: blanks, capitals, the style after a dash.
fn key(name: &str) -> String {
    let family = name.split(['-', ',']).next().unwrap_or(name);
    family.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect()
}

/// The fonts that the pdf is drawn with. Those it has a part of only have six letters in front.
fn drawn(pdf: &Pdf) -> BTreeSet<String> {
    let fonts = pdf.objects().into_iter().filter_map(|object| object.into_dict()).filter(is_font);
    let names = fonts.filter_map(|font: Dict| font.get::<Name>(b"BaseFont" as &[u8]).map(|name| name.as_str().to_owned()));
    names.map(|name| key(name.split_once('+').map_or(name.as_str(), |(_, family)| family))).collect()
}

fn is_font(dict: &Dict) -> bool {
    dict.get::<Name>(b"Type" as &[u8]).is_some_and(|kind| kind.as_str() == "Font")
}

fn pattern<'m>(machine: &'m Fontconfig, family: &str) -> Option<Pattern<'m>> {
    let mut pattern = Pattern::new(machine).ok()?;
    pattern.add_string(FC_FAMILY, &CString::new(family).ok()?).ok()?;
    Some(pattern)
}

/// Whether a font has this name, among all that it has.
fn is_installed(machine: &Fontconfig, family: &str) -> bool {
    let families = ObjectSet::new(machine).and_then(|mut set| set.add(FC_FAMILY).map(|()| set)).ok();
    let found = pattern(machine, family).and_then(|pattern| list_fonts(&pattern, families.as_ref()).ok());
    found.is_some_and(|fonts| fonts.iter().next().is_some())
}

/// What fontconfig has for it, whom LibreOffice asks as well.
fn substitute(machine: &Fontconfig, family: &str) -> Option<String> {
    pattern(machine, family)?.font_match().ok()?.get_string(FC_FAMILY).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let text = r#"<w:rFonts w:ascii="Nobody Sans" w:hAnsi="+mn-lt"/><style:font-face svg:font-family="&apos;Noto Sans&apos;, serif"/>"#;
        let found: Vec<String> = MARKS.iter().flat_map(|mark| values(text, mark)).collect();
        assert_eq!(found, ["Nobody Sans", "Noto Sans"]);
        assert_eq!((key("Liberation Sans"), key("LiberationSans-Bold")), ("liberationsans".into(), "liberationsans".into()));
    }
}
