//! What a file carries beside its pixels, and what of it may travel on.

use super::options::Strip;
use super::{exif, xmp};
use crate::failure::Failure;
use crate::format::Format;
use img_parts::jpeg::{Jpeg, JpegSegment, markers};
use img_parts::png::{Png, PngChunk};
use img_parts::riff::{RiffChunk, RiffContent};
use img_parts::webp::{CHUNK_XMP, WebP};
use img_parts::{ImageEXIF, ImageICC};

/// EXIF as a TIFF block, XMP as a packet of XML, ICC as a profile.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    pub exif: Option<Vec<u8>>,
    pub xmp: Option<Vec<u8>>,
    pub icc: Option<Vec<u8>>,
}

/// What stands before a block in a jpeg, and before a packet in a png.
pub const EXIF_IN_JPEG: &[u8] = b"Exif\0\0";
pub const XMP_IN_JPEG: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
const XMP_IN_PNG: &[u8] = b"XML:com.adobe.xmp\0\0\0\0\0";

/// A segment of a jpeg has two bytes for its length.
const SEGMENT_MAX: usize = 65_533;

impl Metadata {
    pub fn is_empty(&self) -> bool {
        self.exif.is_none() && self.xmp.is_none() && self.icc.is_none()
    }

    /// What goes with upright pixels; the profile is judged elsewhere.
    pub fn travelling(exif: Option<&[u8]>, xmp: Option<&[u8]>, strip: Strip) -> Metadata {
        if strip == Strip::All {
            return Metadata::default();
        }
        let xmp = xmp.and_then(|raw| xmp::travelling(raw, strip == Strip::Location));
        Metadata { exif: exif.and_then(|raw| exif::travelling(raw, strip)), xmp, icc: None }
    }

    /// Whether the format has a place for EXIF and XMP as we write it.
    pub fn has_room(to: Format) -> bool {
        matches!(to.id(), "jpeg" | "png" | "webp" | "avif" | "jxl")
    }

    /// Puts it into a finished file of a format made of parts; other encoders write it themselves.
    pub fn attach(&self, file: Vec<u8>, to: Format) -> Result<Vec<u8>, Failure> {
        if self.is_empty() || !matches!(to.id(), "jpeg" | "png" | "webp") {
            return Ok(file);
        }
        let (exif, icc) = (self.exif.clone().map(Into::into), self.icc.clone().map(Into::into));
        let mut out = Vec::with_capacity(file.len());
        match to.id() {
            "jpeg" => {
                let mut parts = Jpeg::from_bytes(file.into()).map_err(Failure::internal)?;
                parts.set_icc_profile(icc);
                // Both are segments of one kind, which set_exif would take for its own. They follow the JFIF header.
                let at = usize::from(parts.segments().first().is_some_and(|s| s.marker() == markers::APP0));
                for (name, block) in [(XMP_IN_JPEG, &self.xmp), (EXIF_IN_JPEG, &self.exif)] {
                    let whole = block.as_ref().map(|block| [name, block.as_slice()].concat());
                    if let Some(whole) = whole.filter(|s| s.len() <= SEGMENT_MAX) {
                        parts.segments_mut().insert(at, JpegSegment::new_with_contents(markers::APP1, whole.into()));
                    }
                }
                parts.encoder().write_to(&mut out)
            }
            "png" => {
                let mut parts = Png::from_bytes(file.into()).map_err(Failure::internal)?;
                parts.set_icc_profile(icc);
                parts.set_exif(exif);
                if let Some(xmp) = &self.xmp {
                    parts.chunks_mut().insert(1, PngChunk::new(*b"iTXt", [XMP_IN_PNG, xmp].concat().into()));
                }
                parts.encoder().write_to(&mut out)
            }
            _ => {
                let mut parts = WebP::from_bytes(file.into()).map_err(Failure::internal)?;
                if let Some(xmp) = &self.xmp {
                    parts.chunks_mut().push(RiffChunk::new(CHUNK_XMP, RiffContent::Data(xmp.clone().into())));
                }
                parts.set_icc_profile(icc);
                // Also sets the flags of what was put in.
                parts.set_exif(exif);
                parts.encoder().write_to(&mut out)
            }
        }
        .map_err(Failure::internal)?;
        Ok(out)
    }
}
