//! Walks an archive of any format, entry by entry, without unpacking it anywhere.

use super::entry::Entry;
use super::guard::{Guard, Metered, Packed};
use super::names::Encoding;
use super::near::Near;
use super::options::Options;
use super::{fault, libarchive, salvage, seven, tar, zip};
use crate::convert::{Ctx, Input};
use crate::failure::{Code, Failure};
use std::cell::Cell;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};

/// Every format that can be walked.
pub const READABLE: &[&str] = &[
    "zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst", "tar.lz4", "7z", "rar", "iso", "cab", "cpio", "ar", "deb", "gz", "bz2", "xz", "zst",
    "lz4", "br",
];

/// What is done with each entry. Its data may be left unread.
pub type Visit<'v> = &'v mut dyn FnMut(Entry, &mut dyn Read) -> Result<(), Failure>;

/// How to read.
pub struct Reading<'a> {
    pub ctx: &'a Ctx<'a>,
    pub password: Option<&'a str>,
    pub encoding: Encoding,
    /// False when only names and sizes are wanted: then data readers are empty where that saves time.
    pub data: bool,
    /// Whether a compressed file that is no tar counts as an archive of one file.
    pub single: bool,
    /// Whether what is whole of a broken archive is wanted.
    pub salvage: bool,
    /// Set when a compressed file broke off while it was salvaged.
    pub cut: Cell<bool>,
}

impl<'a> Reading<'a> {
    pub fn new(ctx: &'a Ctx<'a>, options: &'a Options) -> Reading<'a> {
        let encoding = options.name_encoding.as_deref().and_then(Encoding::parse).unwrap_or(Encoding::Auto);
        let password = options.password.as_deref().filter(|p| !p.is_empty());
        Reading { ctx, password, encoding, data: true, single: true, salvage: options.salvage, cut: Cell::new(false) }
    }
}

impl Reading<'_> {
    /// The bytes of a compressed file, up to where it breaks off where that is wanted.
    pub fn forgiving<'r>(&'r self, source: impl Read + 'r) -> Box<dyn Read + 'r> {
        if self.salvage { Box::new(salvage::Lenient::new(source, &self.cut)) } else { Box::new(source) }
    }
}

pub fn open(input: &Input) -> Result<BufReader<Packed>, Failure> {
    if input.size_bytes == 0 {
        return Err(Failure::corrupt("The file is empty.").stage("open"));
    }
    let file = File::open(&input.path).map_err(|e| Failure::new(Code::InputUnavailable, "The file could not be read.").detail(e).stage("open"))?;
    Ok(BufReader::with_capacity(256 << 10, Packed::new(file)))
}

/// The decompressor a format needs; plain bytes for tar.
pub fn decompress(source: BufReader<Packed>, format: &str) -> Result<Box<dyn Read + Send>, Failure> {
    /// The largest dictionary of `xz -9` needs 65 MiB; anything far beyond is an attack.
    const XZ_MEMORY_MAX: u64 = 512 << 20;
    Ok(match format {
        "tar.gz" | "gz" => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
        "tar.bz2" | "bz2" => Box::new(bzip2::bufread::MultiBzDecoder::new(source)),
        "tar.xz" | "xz" => {
            // 8 is LZMA_CONCATENATED: several streams one after the other.
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY_MAX, 8).map_err(Failure::internal)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(source, stream))
        }
        "tar.zst" | "zst" => Box::new(zstd::stream::read::Decoder::with_buffer(source).map_err(Failure::internal)?),
        "tar.lz4" | "lz4" => Box::new(Lz4Frames(lz4_flex::frame::FrameDecoder::new(source))),
        "br" => Box::new(brotli_decompressor::Decompressor::new(source, 64 << 10)),
        _ => Box::new(source),
    })
}

/// Frames of LZ4 one behind the other are one file; the library's reader ends with each.
struct Lz4Frames(lz4_flex::frame::FrameDecoder<BufReader<Packed>>);

impl Read for Lz4Frames {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let read = self.0.read(buffer)?;
            if read > 0 || buffer.is_empty() || self.0.get_mut().fill_buf()?.is_empty() {
                return Ok(read);
            }
        }
    }
}

/// Visits every entry in the archive's order.
pub fn walk(reading: &Reading, input: &Input, visit: Visit) -> Result<(), Failure> {
    let mut guard = Guard::new(reading.ctx, input.size_bytes);
    let source = open(input)?;
    guard.follow(&[&source]);
    match input.format.id() {
        "zip" => {
            let body = open(input)?;
            guard.follow(&[&source, &body]);
            zip::read(reading, source, Near::new(body), &mut guard, visit)
        }
        "7z" => seven::read(reading, source, &mut guard, visit),
        format if libarchive::FORMATS.contains(&format) => libarchive::read(reading, input, &mut guard, visit),
        format if format.starts_with("tar") => tar::read(reading, decompress(source, format)?, &mut guard, visit),
        format => {
            let mut stream = BufReader::with_capacity(64 << 10, decompress(source, format)?);
            if looks_like_tar(&mut stream)? {
                return tar::read(reading, stream, &mut guard, visit);
            }
            drop(stream);
            if !reading.single {
                return Err(Failure::corrupt("There is no archive inside this compressed file.").stage("open"));
            }
            single(reading, input, &mut guard, visit)
        }
    }
}

/// Whether the unpacked bytes begin like a tar; reads ahead, consumes nothing.
fn looks_like_tar(stream: &mut BufReader<Box<dyn Read + Send>>) -> Result<bool, Failure> {
    let head = stream.fill_buf().map_err(|e| fault::reading(e, None))?;
    Ok(head.get(257..262) == Some(b"ustar".as_slice()))
}

/// A compressed file as an archive of one entry. Targets want sizes before data, so it is decompressed once to measure.
fn single(reading: &Reading, input: &Input, guard: &mut Guard, visit: Visit) -> Result<(), Failure> {
    let format = input.format.id();
    let extension = format!(".{}", input.format.extension());
    let name = input.name.strip_suffix(&extension).filter(|n| !n.is_empty()).unwrap_or("content");
    let mut entry = Entry::file(super::names::inside(name, true).0);
    entry.packed = Some(input.size_bytes);
    guard.entry()?;
    if reading.data {
        let mut measuring = Guard::new(reading.ctx, input.size_bytes);
        let mut source = Metered::new(reading.forgiving(decompress(open(input)?, format)?), &mut measuring, &entry);
        let size = std::io::copy(&mut source, &mut std::io::sink()).map_err(|e| fault::reading(e, Some(&entry.path)))?;
        entry.size = Some(size);
    }
    let source = open(input)?;
    guard.follow(&[&source]);
    let source = reading.forgiving(decompress(source, format)?);
    visit(entry.clone(), &mut Metered::new(source, guard, &entry))
}
