//! The formats Millrace knows by name. A format is neither a MIME type nor an extension: it is what the bytes are.
//!
//! One row per format; sniffing, the API's answers and README's table follow from these rows.

mod sniff;

pub use sniff::{Sample, sniff};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use utoipa::ToSchema;

/// The five families; each has its own queue, and its name is the queue's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    Video,
    Audio,
    Image,
    Document,
    Archive,
}

impl Family {
    pub const ALL: [Family; 5] = [Family::Video, Family::Audio, Family::Image, Family::Document, Family::Archive];

    pub fn as_str(self) -> &'static str {
        match self {
            Family::Video => "video",
            Family::Audio => "audio",
            Family::Image => "image",
            Family::Document => "document",
            Family::Archive => "archive",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One row of the format table.
#[derive(Debug)]
pub struct Row {
    /// The stable name, as in `"to": "webm"`.
    pub id: &'static str,
    pub family: Family,
    pub name: &'static str,
    pub mime: &'static str,
    /// Extensions without the dot, the preferred one first. Empty: the result is a folder of files.
    pub extensions: &'static [&'static str],
}

/// A known format; compares by identity of its row.
#[derive(Clone, Copy)]
pub struct Format(&'static Row);

const fn row(id: &'static str, family: Family, name: &'static str, mime: &'static str, extensions: &'static [&'static str]) -> Row {
    Row { id, family, name, mime, extensions }
}

use Family::{Archive, Audio, Document, Image, Video};

/// Every known format.
pub static FORMATS: &[Row] = &[
    row("mp4", Video, "MPEG-4", "video/mp4", &["mp4", "m4v"]),
    row("mov", Video, "QuickTime", "video/quicktime", &["mov", "qt"]),
    row("mkv", Video, "Matroska", "video/x-matroska", &["mkv", "mk3d"]),
    row("webm", Video, "WebM", "video/webm", &["webm"]),
    row("avi", Video, "AVI", "video/x-msvideo", &["avi"]),
    row("flv", Video, "Flash Video", "video/x-flv", &["flv", "f4v"]),
    row("wmv", Video, "Windows Media Video", "video/x-ms-wmv", &["wmv", "asf"]),
    row("mpg", Video, "MPEG program stream", "video/mpeg", &["mpg", "mpeg", "vob"]),
    row("ts", Video, "MPEG transport stream", "video/mp2t", &["ts", "m2ts", "mts"]),
    row("3gp", Video, "3GPP", "video/3gpp", &["3gp", "3g2"]),
    row("ogv", Video, "Ogg video", "video/ogg", &["ogv"]),
    row("mxf", Video, "MXF", "application/mxf", &["mxf"]),
    row("y4m", Video, "YUV4MPEG2", "video/x-yuv4mpeg", &["y4m"]),
    row("h264", Video, "H.264 elementary stream", "video/h264", &["h264", "264", "avc"]),
    row("hevc", Video, "HEVC elementary stream", "video/h265", &["hevc", "h265", "265"]),
    row("obu", Video, "AV1 elementary stream", "video/av1", &["obu", "av1"]),
    row("ivf", Video, "IVF", "video/x-ivf", &["ivf"]),
    row("hls", Video, "HLS", "application/vnd.apple.mpegurl", &[]),
    row("dash", Video, "DASH", "application/dash+xml", &[]),
    row("sprites", Video, "Sprite sheets with WebVTT", "text/vtt", &[]),
    row("srt", Video, "SubRip", "application/x-subrip", &["srt"]),
    row("ass", Video, "Advanced SubStation Alpha", "text/x-ssa", &["ass", "ssa"]),
    row("vtt", Video, "WebVTT", "text/vtt", &["vtt"]),
    row("mp3", Audio, "MP3", "audio/mpeg", &["mp3"]),
    row("m4a", Audio, "MPEG-4 audio", "audio/mp4", &["m4a", "m4b"]),
    row("aac", Audio, "AAC (ADTS)", "audio/aac", &["aac"]),
    row("opus", Audio, "Opus", "audio/opus", &["opus"]),
    row("ogg", Audio, "Ogg Vorbis", "audio/ogg", &["ogg", "oga"]),
    row("flac", Audio, "FLAC", "audio/flac", &["flac"]),
    row("wav", Audio, "WAV", "audio/wav", &["wav"]),
    row("aiff", Audio, "AIFF", "audio/aiff", &["aiff", "aif"]),
    row("wma", Audio, "Windows Media Audio", "audio/x-ms-wma", &["wma"]),
    row("ac3", Audio, "Dolby Digital", "audio/ac3", &["ac3", "eac3", "ec3"]),
    row("amr", Audio, "AMR", "audio/amr", &["amr"]),
    row("au", Audio, "Sun audio", "audio/basic", &["au", "snd"]),
    row("caf", Audio, "Core Audio", "audio/x-caf", &["caf"]),
    row("mka", Audio, "Matroska audio", "audio/x-matroska", &["mka"]),
    row("wv", Audio, "WavPack", "audio/x-wavpack", &["wv"]),
    row("tta", Audio, "True Audio", "audio/x-tta", &["tta"]),
    row("dts", Audio, "DTS", "audio/vnd.dts", &["dts"]),
    row("jpeg", Image, "JPEG", "image/jpeg", &["jpg", "jpeg", "jpe", "jfif"]),
    row("png", Image, "PNG", "image/png", &["png"]),
    row("preview", Image, "Preview, a small WebP of any file", "image/webp", &["preview.webp"]),
    row("webp", Image, "WebP", "image/webp", &["webp"]),
    row("gif", Image, "GIF", "image/gif", &["gif"]),
    row("apng", Image, "Animated PNG", "image/apng", &["apng"]),
    row("avif", Image, "AVIF", "image/avif", &["avif"]),
    row("heic", Image, "HEIC", "image/heic", &["heic", "heif"]),
    row("tiff", Image, "TIFF", "image/tiff", &["tiff", "tif"]),
    row("bmp", Image, "BMP", "image/bmp", &["bmp", "dib"]),
    row("svg", Image, "SVG", "image/svg+xml", &["svg"]),
    row("ico", Image, "Windows icon", "image/vnd.microsoft.icon", &["ico"]),
    row("qoi", Image, "QOI", "image/qoi", &["qoi"]),
    row("pnm", Image, "Netpbm", "image/x-portable-anymap", &["pnm", "ppm", "pgm", "pbm", "pam"]),
    row("tga", Image, "Targa", "image/x-tga", &["tga"]),
    row("jxl", Image, "JPEG XL", "image/jxl", &["jxl"]),
    row("jp2", Image, "JPEG 2000", "image/jp2", &["jp2", "j2k", "j2c", "jpf", "jpx"]),
    row("psd", Image, "Photoshop", "image/vnd.adobe.photoshop", &["psd", "psb"]),
    row("raw", Image, "Camera raw", "image/x-dcraw", &["dng", "cr2", "nef", "nrw", "arw", "pef", "srw", "rw2", "raf"]),
    row("hdr", Image, "Radiance HDR", "image/vnd.radiance", &["hdr"]),
    row("exr", Image, "OpenEXR", "image/x-exr", &["exr"]),
    row("dds", Image, "DirectDraw surface", "image/vnd-ms.dds", &["dds"]),
    row("pdf", Document, "PDF", "application/pdf", &["pdf"]),
    row("docx", Document, "Word", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", &["docx", "docm"]),
    row("doc", Document, "Word 97-2003", "application/msword", &["doc"]),
    row("odt", Document, "OpenDocument text", "application/vnd.oasis.opendocument.text", &["odt"]),
    row("rtf", Document, "Rich Text", "application/rtf", &["rtf"]),
    row("txt", Document, "Plain text", "text/plain", &["txt", "text", "log"]),
    row("md", Document, "Markdown", "text/markdown", &["md", "markdown"]),
    row("html", Document, "HTML", "text/html", &["html", "htm", "xhtml"]),
    row("epub", Document, "EPUB", "application/epub+zip", &["epub"]),
    row("xlsx", Document, "Excel", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", &["xlsx", "xlsm"]),
    row("xls", Document, "Excel 97-2003", "application/vnd.ms-excel", &["xls"]),
    row("ods", Document, "OpenDocument spreadsheet", "application/vnd.oasis.opendocument.spreadsheet", &["ods"]),
    row("csv", Document, "CSV", "text/csv", &["csv"]),
    row("tsv", Document, "TSV", "text/tab-separated-values", &["tsv", "tab"]),
    row("pptx", Document, "PowerPoint", "application/vnd.openxmlformats-officedocument.presentationml.presentation", &["pptx", "pptm"]),
    row("ppt", Document, "PowerPoint 97-2003", "application/vnd.ms-powerpoint", &["ppt"]),
    row("odp", Document, "OpenDocument presentation", "application/vnd.oasis.opendocument.presentation", &["odp"]),
    row("odg", Document, "OpenDocument drawing", "application/vnd.oasis.opendocument.graphics", &["odg"]),
    row("zip", Archive, "ZIP", "application/zip", &["zip"]),
    row("tar", Archive, "tar", "application/x-tar", &["tar"]),
    row("tar.gz", Archive, "tar, gzip", "application/gzip", &["tar.gz", "tgz"]),
    row("tar.bz2", Archive, "tar, bzip2", "application/x-bzip2", &["tar.bz2", "tbz2", "tbz"]),
    row("tar.xz", Archive, "tar, xz", "application/x-xz", &["tar.xz", "txz"]),
    row("tar.zst", Archive, "tar, Zstandard", "application/zstd", &["tar.zst", "tzst"]),
    row("tar.lz4", Archive, "tar, LZ4", "application/x-lz4", &["tar.lz4", "tlz4"]),
    row("7z", Archive, "7-Zip", "application/x-7z-compressed", &["7z"]),
    row("gz", Archive, "gzip", "application/gzip", &["gz"]),
    row("bz2", Archive, "bzip2", "application/x-bzip2", &["bz2"]),
    row("xz", Archive, "xz", "application/x-xz", &["xz"]),
    row("zst", Archive, "Zstandard", "application/zstd", &["zst"]),
    row("lz4", Archive, "LZ4", "application/x-lz4", &["lz4"]),
    row("br", Archive, "Brotli", "application/x-brotli", &["br"]),
    row("rar", Archive, "RAR", "application/vnd.rar", &["rar"]),
    row("iso", Archive, "ISO 9660", "application/x-iso9660-image", &["iso"]),
    row("cab", Archive, "Cabinet", "application/vnd.ms-cab-compressed", &["cab"]),
    row("cpio", Archive, "cpio", "application/x-cpio", &["cpio"]),
    row("deb", Archive, "Debian package", "application/vnd.debian.binary-package", &["deb", "udeb"]),
    row("ar", Archive, "ar", "application/x-archive", &["ar", "a"]),
    row("files", Archive, "Extracted files", "application/octet-stream", &[]),
    row("json", Archive, "JSON", "application/json", &["json"]),
    row("bin", Archive, "Unrecognised bytes", "application/octet-stream", &["bin"]),
    #[cfg(feature = "testing")]
    row("attack", Archive, "Script for the hostile test converter", "text/plain", &["attack"]),
    #[cfg(feature = "testing")]
    row("noop", Archive, "Output of the no-op test converter", "text/plain", &["noop"]),
];

impl Format {
    /// The format with this id or extension, ignoring case: `jpg`, `JPEG` and `jpeg` are one.
    pub fn parse(name: &str) -> Option<Format> {
        let name = name.trim_start_matches('.').to_ascii_lowercase();
        FORMATS.iter().find(|r| r.id == name).or_else(|| FORMATS.iter().find(|r| r.extensions.contains(&name.as_str()))).map(Format)
    }

    /// The format that a file's name claims, by its longest matching extension.
    pub fn from_file_name(name: &str) -> Option<Format> {
        let name = name.to_ascii_lowercase();
        let matches =
            |r: &&Row| r.extensions.iter().filter(|e| name.strip_suffix(**e).is_some_and(|stem| stem.ends_with('.'))).map(|e| e.len()).max();
        FORMATS
            .iter()
            .filter_map(|r| matches(&r).map(|len| (len, r)))
            .max_by(|a, b| a.0.cmp(&b.0).then(std::cmp::Ordering::Greater))
            .map(|(_, r)| Format(r))
    }

    pub fn all() -> impl Iterator<Item = Format> {
        FORMATS.iter().map(Format)
    }

    pub fn id(self) -> &'static str {
        self.0.id
    }

    pub fn family(self) -> Family {
        self.0.family
    }

    pub fn name(self) -> &'static str {
        self.0.name
    }

    pub fn mime(self) -> &'static str {
        self.0.mime
    }

    /// The preferred extension; empty for a folder of files.
    pub fn extension(self) -> &'static str {
        self.0.extensions.first().copied().unwrap_or("")
    }

    pub fn extensions(self) -> &'static [&'static str] {
        self.0.extensions
    }

    /// `stem` with the preferred extension.
    pub fn file_name(self, stem: &str) -> String {
        match self.extension() {
            "" => stem.to_owned(),
            ext => format!("{stem}.{ext}"),
        }
    }
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Format {}

impl std::hash::Hash for Format {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.id)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.id)
    }
}

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.0.id)
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let name = String::deserialize(d)?;
        Format::parse(&name).ok_or_else(|| serde::de::Error::custom(format!("`{name}` is not a known format")))
    }
}

impl utoipa::PartialSchema for Format {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .description(Some("a format's id, as listed by /v1/formats"))
            .examples(["webm"])
            .build()
            .into()
    }
}

impl ToSchema for Format {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_extensions_are_unambiguous() {
        let mut seen = std::collections::HashMap::new();
        for row in FORMATS {
            for name in row.extensions.iter().chain([&row.id]) {
                let owner = *seen.entry(*name).or_insert(row.id);
                assert_eq!(owner, row.id, "{name} belongs to two formats");
            }
        }
    }

    #[test]
    fn the_longest_extension_wins() {
        let id = |name| Format::from_file_name(name).map(Format::id);
        assert_eq!(id("a.tar.gz"), Some("tar.gz"));
        assert_eq!(id("a.gz"), Some("gz"));
        assert_eq!(id("PHOTO.JPG"), Some("jpeg"));
        assert_eq!(id("jpg"), None);
        assert_eq!(id("noext"), None);
    }
}
