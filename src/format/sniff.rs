//! What the bytes are, told from the bytes. The file's name only decides between formats that share a shape
//! (`.md` and `.txt`, `.tar.gz` and `.gz`).

use super::Format;

/// What sniffing may look at: the first and last 64 KiB of a file, and its claimed name.
pub struct Sample<'a> {
    pub head: &'a [u8],
    pub tail: &'a [u8],
    pub name: &'a str,
}

impl Sample<'_> {
    /// Bytes wanted from either end of the file.
    pub const LEN: usize = 64 * 1024;
}

/// Leading bytes that settle the question alone, with the offset they stand at.
const MAGIC: &[(usize, &[u8], &str)] = &[
    (0, b"\xff\xd8\xff", "jpeg"),
    (0, b"GIF87a", "gif"),
    (0, b"GIF89a", "gif"),
    (0, b"8BPS", "psd"),
    (0, b"qoif", "qoi"),
    (0, b"\xff\x0a", "jxl"),
    (0, b"\0\0\0\x0cJXL ", "jxl"),
    (0, b"\0\0\0\x0cjP  ", "jp2"),
    (0, b"\xff\x4f\xff\x51", "jp2"),
    (0, b"#?RADIANCE", "hdr"),
    (0, b"#?RGBE", "hdr"),
    (0, b"\x76\x2f\x31\x01", "exr"),
    (0, b"DDS ", "dds"),
    (0, b"FUJIFILMCCD-RAW", "raw"),
    (0, b"IIU\0", "raw"),
    (0, b"\0\0\x01\0", "ico"),
    (0, b"%PDF-", "pdf"),
    (0, b"{\\rtf", "rtf"),
    (0, b"fLaC", "flac"),
    (0, b"#!AMR", "amr"),
    (0, b".snd", "au"),
    (0, b"caff", "caf"),
    (0, b"wvpk", "wv"),
    (0, b"TTA1", "tta"),
    (0, b"\x7f\xfe\x80\x01", "dts"),
    (0, b"FLV\x01", "flv"),
    (0, b"DKIF\0\0", "ivf"),
    (0, b"YUV4MPEG2 ", "y4m"),
    (0, b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01\x01\x02", "mxf"),
    (0, b"\0\0\x01\xba", "mpg"),
    (0, b"\0\0\x01\xb3", "mpg"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z"),
    (0, b"Rar!\x1a\x07", "rar"),
    (0, b"MSCF\0\0\0\0", "cab"),
    (0, b"070701", "cpio"),
    (0, b"070702", "cpio"),
    (0, b"070707", "cpio"),
    (0, b"\xc7\x71", "cpio"),
    (0, b"!<arch>\ndebian-binary", "deb"),
    (0, b"!<arch>\n", "ar"),
    (32_769, b"CD001", "iso"),
    (257, b"ustar", "tar"),
    (0, b"\x0b\x77", "ac3"),
];

/// The format of these bytes, or none when they match nothing known.
pub fn sniff(sample: &Sample) -> Option<Format> {
    let head = sample.head;
    if head.is_empty() {
        return None;
    }
    let id = MAGIC
        .iter()
        .find(|(at, magic, _)| head.get(*at..).is_some_and(|rest| rest.starts_with(magic)))
        .map(|(_, _, id)| *id)
        .or_else(|| png(head))
        .or_else(|| tiff(sample))
        .or_else(|| compressed(sample))
        .or_else(|| riff(head))
        .or_else(|| iso_media(head))
        .or_else(|| ebml(sample))
        .or_else(|| ogg(head))
        .or_else(|| asf(sample))
        .or_else(|| zip(sample))
        .or_else(|| ole(sample))
        .or_else(|| bmp_or_netpbm(head))
        .or_else(|| mpeg_sync(head))
        .or_else(|| elementary(head))
        .or_else(|| targa(sample))
        // Brotli begins with nothing in particular: its name is all there is.
        .or_else(|| named(sample, "br").then_some("br"))
        .or_else(|| text(sample))?;
    Format::parse(id)
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|w| w == needle)
}

fn named(sample: &Sample, id: &str) -> bool {
    Format::from_file_name(sample.name).is_some_and(|f| f.id() == id)
}

/// Single-file compressors; whether a tar is inside is the name's claim here and the converter's finding later.
fn compressed(sample: &Sample) -> Option<&'static str> {
    let (plain, tar) = match sample.head {
        [0x1f, 0x8b, ..] => ("gz", "tar.gz"),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => ("bz2", "tar.bz2"),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => ("xz", "tar.xz"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ("zst", "tar.zst"),
        [0x04, 0x22, 0x4d, 0x18, ..] | [0x02, 0x21, 0x4c, 0x18, ..] => ("lz4", "tar.lz4"),
        _ => return None,
    };
    Some(if named(sample, tar) { tar } else { plain })
}

/// An animated one has its control chunk before the first pixels.
fn png(head: &[u8]) -> Option<&'static str> {
    let chunks = head.strip_prefix(b"\x89PNG\r\n\x1a\n")?;
    let pixels = chunks.windows(4).position(|w| w == b"IDAT").unwrap_or(chunks.len());
    Some(if contains(&chunks[..pixels], b"acTL") { "apng" } else { "png" })
}

/// Camera raw files are TIFFs with tags of their own: Canon's mark, the version of DNG, or a maker's name for them.
fn tiff(sample: &Sample) -> Option<&'static str> {
    let head = sample.head;
    let version: &[u8] = match head.get(..4)? {
        b"II*\0" => b"\x12\xc6\x01\0\x04\0\0\0",
        b"MM\0*" => b"\xc6\x12\0\x01\0\0\0\x04",
        _ => return None,
    };
    let raw = head.get(8..10) == Some(b"CR") || contains(head, version) || named(sample, "raw");
    Some(if raw { "raw" } else { "tiff" })
}

fn riff(head: &[u8]) -> Option<&'static str> {
    if head.starts_with(b"FORM") {
        return matches!(head.get(8..12)?, b"AIFF" | b"AIFC").then_some("aiff");
    }
    if !head.starts_with(b"RIFF") && !head.starts_with(b"RF64") {
        return None;
    }
    match head.get(8..12)? {
        b"WAVE" => Some("wav"),
        b"AVI " => Some("avi"),
        b"WEBP" => Some("webp"),
        _ => None,
    }
}

/// ISO base media: the major brand of `ftyp` (ISO/IEC 14496-12, 4.3), then the compatible ones.
fn iso_media(head: &[u8]) -> Option<&'static str> {
    match head.get(4..8)? {
        b"ftyp" => {}
        b"moov" | b"mdat" | b"wide" | b"free" | b"skip" | b"pnot" => return Some("mov"),
        _ => return None,
    }
    let size = u32::from_be_bytes(head.get(..4)?.try_into().ok()?) as usize;
    let brands = head.get(8..size.clamp(12, head.len()))?;
    Some(match brands.get(..4)? {
        b"qt  " => "mov",
        b"M4A " | b"M4B " => "m4a",
        b"avif" | b"avis" => "avif",
        b"heic" | b"heix" | b"hevc" | b"heim" | b"heis" => "heic",
        b"mif1" | b"msf1" => {
            if brands.chunks(4).any(|b| b == b"avif") {
                "avif"
            } else {
                "heic"
            }
        }
        brand if brand.starts_with(b"3g") => "3gp",
        _ => "mp4",
    })
}

fn ebml(sample: &Sample) -> Option<&'static str> {
    if !sample.head.starts_with(b"\x1a\x45\xdf\xa3") {
        return None;
    }
    let start = &sample.head[..sample.head.len().min(4096)];
    Some(if contains(start, b"webm") {
        "webm"
    } else if named(sample, "mka") {
        "mka"
    } else {
        "mkv"
    })
}

fn ogg(head: &[u8]) -> Option<&'static str> {
    if !head.starts_with(b"OggS") {
        return None;
    }
    let start = &head[..head.len().min(4096)];
    Some(if contains(start, b"\x80theora") {
        "ogv"
    } else if contains(start, b"OpusHead") {
        "opus"
    } else {
        "ogg"
    })
}

fn asf(sample: &Sample) -> Option<&'static str> {
    const HEADER: &[u8] = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c";
    // The stream type GUID of video, ASF specification 10.2.
    const VIDEO: &[u8] = b"\xc0\xef\x19\xbc\x4d\x5b\xcf\x11\xa8\xfd\x00\x80\x5f\x5c\x44\x2b";
    sample.head.starts_with(HEADER).then(|| if contains(sample.head, VIDEO) { "wmv" } else { "wma" })
}

/// Office files are zips with known members; their names stand in the local headers and again in the central directory.
fn zip(sample: &Sample) -> Option<&'static str> {
    let head = sample.head;
    if head.starts_with(b"PK\x05\x06") {
        return Some("zip");
    }
    if !head.starts_with(b"PK\x03\x04") {
        return None;
    }
    if let Some(rest) = head.get(30..).and_then(|rest| rest.strip_prefix(b"mimetype")) {
        const MIMES: [(&[u8], &str); 5] = [
            (b"application/epub+zip", "epub"),
            (b"application/vnd.oasis.opendocument.text", "odt"),
            (b"application/vnd.oasis.opendocument.spreadsheet", "ods"),
            (b"application/vnd.oasis.opendocument.presentation", "odp"),
            (b"application/vnd.oasis.opendocument.graphics", "odg"),
        ];
        if let Some((_, id)) = MIMES.iter().find(|(mime, _)| contains(&rest[..rest.len().min(128)], mime)) {
            return Some(id);
        }
    }
    const MEMBERS: [(&[u8], &str); 3] = [(b"word/document.xml", "docx"), (b"xl/workbook.xml", "xlsx"), (b"ppt/presentation.xml", "pptx")];
    if contains(head, b"[Content_Types].xml") || contains(sample.tail, b"[Content_Types].xml") {
        for (member, id) in MEMBERS {
            if contains(sample.tail, member) || contains(head, member) {
                return Some(id);
            }
        }
    }
    // One that was cut off has lost its directory: its first members show that it is an office file, its name tells which.
    const FIRST: [&[u8]; 3] = [b"[Content_Types].xml", b"_rels/.rels", b"docProps/"];
    let cut_off = !contains(sample.tail, b"PK\x05\x06");
    let claimed = MEMBERS.iter().find(|(_, id)| named(sample, id));
    match claimed {
        Some((_, id)) if cut_off && FIRST.iter().any(|member| contains(head, member)) => Some(id),
        _ => Some("zip"),
    }
}

/// OLE compound files: stream names are UTF-16; an encrypted OOXML file is one of these too and keeps its claimed name.
fn ole(sample: &Sample) -> Option<&'static str> {
    if !sample.head.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") {
        return None;
    }
    let has = |name: &str| {
        let wide: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        contains(sample.head, &wide) || contains(sample.tail, &wide)
    };
    if has("EncryptedPackage") {
        return Some(match Format::from_file_name(sample.name).map(Format::id) {
            Some("xlsx") => "xlsx",
            Some("pptx") => "pptx",
            _ => "docx",
        });
    }
    Some(if has("PowerPoint Document") {
        "ppt"
    } else if has("Workbook") || has("Book") {
        "xls"
    } else if has("WordDocument") || named(sample, "doc") {
        "doc"
    } else {
        Format::from_file_name(sample.name).map(Format::id).filter(|id| ["xls", "ppt"].contains(id)).unwrap_or("doc")
    })
}

fn bmp_or_netpbm(head: &[u8]) -> Option<&'static str> {
    match head {
        [b'B', b'M', ..] if head.get(14..18).is_some_and(|size| matches!(size, [12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0])) => Some("bmp"),
        [b'P', b'1'..=b'7', b' ' | b'\n' | b'\r' | b'\t' | b'#', ..] => Some("pnm"),
        _ => None,
    }
}

/// Transport streams, MP3 and ADTS have no header, only sync words that must repeat.
fn mpeg_sync(head: &[u8]) -> Option<&'static str> {
    for (packet, first) in [(188, 0), (192, 4)] {
        if head.len() > first + packet * 2 && (0..3).all(|i| head[first + packet * i] == 0x47) {
            return Some("ts");
        }
    }
    if head.starts_with(b"ID3") {
        return Some("mp3");
    }
    match head {
        // The mark of UTF-16, and a letter.
        [0xff, 0xfe, _, 0, ..] => None,
        [0xff, b, ..] if b & 0xf6 == 0xf0 => Some("aac"),
        [0xff, b, c, ..] if b & 0xe0 == 0xe0 && b & 0x06 != 0 && c >> 4 != 0x0f => Some("mp3"),
        _ => None,
    }
}

/// Pictures without a container. Streams by Annex B of H.264 and H.265 begin with parameter sets or a delimiter; AV1's with a
/// temporal delimiter and a sequence header, each with its size (AV1 specification, 5.3).
fn elementary(head: &[u8]) -> Option<&'static str> {
    let unit = head.strip_prefix(b"\0\0\0\x01").or(head.strip_prefix(b"\0\0\x01"));
    match (unit, head) {
        (Some([0x40 | 0x46, 0x01, ..]), _) => Some("hevc"),
        (Some([0x09 | 0x27 | 0x47 | 0x67, ..]), _) => Some("h264"),
        (_, [0x12, 0x00, 0x0a, ..]) => Some("obu"),
        _ => None,
    }
}

/// Targa has a footer in version 2 only; without one the claimed name and a sane header decide.
fn targa(sample: &Sample) -> Option<&'static str> {
    if contains(&sample.tail[sample.tail.len().saturating_sub(26)..], b"TRUEVISION-XFILE") {
        return Some("tga");
    }
    let sane = matches!(sample.head, [_, 0 | 1, 1..=3 | 9..=11, ..]) && matches!(sample.head.get(16), Some(8 | 15 | 16 | 24 | 32));
    (sane && named(sample, "tga")).then_some("tga")
}

/// Text has no magic: markup is looked for, then the name decides what kind of text it is.
fn text(sample: &Sample) -> Option<&'static str> {
    let head = sample.head;
    let utf16 = head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff");
    if !utf16 && head.iter().any(|b| *b < 9 || (14..27).contains(b) || (28..32).contains(b)) {
        return None;
    }
    let start: Vec<u8> = head.iter().take(4096).filter(|b| **b != 0).map(u8::to_ascii_lowercase).collect();
    let marks: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"];
    let start = start.trim_ascii_start();
    let start = marks.iter().find_map(|mark| start.strip_prefix(*mark)).unwrap_or(start).trim_ascii_start();
    if contains(start, b"<svg") && start.starts_with(b"<") {
        return Some("svg");
    }
    if start.starts_with(b"<!doctype html") || start.starts_with(b"<html") || (start.starts_with(b"<") && contains(start, b"<html")) {
        return Some("html");
    }
    if let Some(id) = subtitles(start) {
        return Some(id);
    }
    let claimed = Format::from_file_name(sample.name).map(Format::id);
    #[cfg(feature = "testing")]
    if claimed == Some("attack") {
        return claimed;
    }
    Some(match claimed {
        Some("md") => "md",
        Some("csv") => "csv",
        Some("tsv") => "tsv",
        Some("html") => "html",
        Some("json") => "json",
        _ => "txt",
    })
}

/// Subtitles say what they are in their first line; those of SubRip are numbered from there on.
fn subtitles(start: &[u8]) -> Option<&'static str> {
    let mut lines = start.split(|byte| *byte == b'\n' || *byte == b'\r').filter(|line| !line.is_empty());
    let (first, second) = (lines.next()?.trim_ascii(), lines.next().unwrap_or_default());
    match first {
        b"[script info]" => Some("ass"),
        b"webvtt" => Some("vtt"),
        _ if first.starts_with(b"webvtt ") || first.starts_with(b"webvtt\t") => Some("vtt"),
        _ if first.iter().all(u8::is_ascii_digit) && second.starts_with(b"0") && contains(second, b" --> ") => Some("srt"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(bytes: &[u8], name: &str) -> Option<&'static str> {
        sniff(&Sample { head: bytes, tail: bytes, name }).map(Format::id)
    }

    #[test]
    fn content_outranks_the_name() {
        assert_eq!(id(b"\x89PNG\r\n\x1a\n....", "a.mp4"), Some("png"));
        assert_eq!(id(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "a.mp4"), Some("txt"));
        assert_eq!(id(b"\0\0\0\x18ftypqt  \0\0\0\0", "a.mp4"), Some("mov"));
    }

    #[test]
    fn the_name_decides_between_equals() {
        assert_eq!(id(b"\x1f\x8b\x08\0", "a.tgz"), Some("tar.gz"));
        assert_eq!(id(b"\x1f\x8b\x08\0", "a.gz"), Some("gz"));
        assert_eq!(id(b"# Title\n", "a.md"), Some("md"));
        assert_eq!(id(b"# Title\n", "a"), Some("txt"));
    }

    #[test]
    fn subtitles_are_told_from_text() {
        assert_eq!(id(b"\xef\xbb\xbf1\r\n00:00:01,000 --> 00:00:02,000\r\nWater\r\n", "a.txt"), Some("srt"));
        assert_eq!(id(b"\n1\n00:00:01,000 --> 00:00:02,000\n", "a"), Some("srt"));
        assert_eq!((id(b"WEBVTT\n\n", "a"), id(b"WEBVTT - Mill\n", "a"), id(b"WEBVTTX\n", "a")), (Some("vtt"), Some("vtt"), Some("txt")));
        assert_eq!(id(b"[Script Info]\n; by hand\n", "a"), Some("ass"));
        assert_eq!((id(b"1\n2 --> 3\n", "a"), id(b"1\n", "a.srt")), (Some("txt"), Some("txt")));
        let wide: Vec<u8> = "\u{feff}WEBVTT\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(id(&wide, "a"), Some("vtt"));
    }

    #[test]
    fn pictures_without_a_container_are_known() {
        assert_eq!((id(b"\0\0\0\x01\x67\x42\0", "a"), id(b"\0\0\x01\x09\xf0", "a.mp4")), (Some("h264"), Some("h264")));
        assert_eq!((id(b"\0\0\0\x01\x40\x01\x0c", "a"), id(b"\x12\0\x0a\x0b\0", "a")), (Some("hevc"), Some("obu")));
        assert_eq!((id(b"DKIF\0\0\x20\0", "a"), id(b"\0\0\0\x01\x06\x01\x0c", "a")), (Some("ivf"), None));
    }

    #[test]
    fn half_an_office_file_is_one_still() {
        let mut bytes = b"PK\x03\x04".to_vec();
        bytes.resize(30, 0);
        bytes.extend_from_slice(b"_rels/.rels");
        assert_eq!((id(&bytes, "a.docx"), id(&bytes, "a.xlsx"), id(&bytes, "a.zip")), (Some("docx"), Some("xlsx"), Some("zip")));
        bytes.extend_from_slice(b"PK\x05\x06");
        assert_eq!(id(&bytes, "a.docx"), Some("zip"), "a whole one without its members is an archive");
    }

    #[test]
    fn nothing_is_made_of_nothing() {
        assert_eq!(id(b"", "a.png"), None);
        assert_eq!(id(b"\x01\x02\x03\x04\x05", "a.png"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(head in proptest::collection::vec(proptest::num::u8::ANY, 0..600), name in ".{0,20}") {
            let found = id(&head, &name);
            proptest::prop_assert!(found.is_none_or(|id| Format::parse(id).is_some()));
        }
    }
}
