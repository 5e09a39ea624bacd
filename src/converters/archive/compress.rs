//! Compressors of one stream.

use super::gzip::GzipWriter;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

type Target = BufWriter<File>;

/// One of the compressors, or none.
pub enum Compressor {
    Plain(Target),
    Gzip(GzipWriter<Target>),
    Bzip2(bzip2::write::BzEncoder<Target>),
    Xz(liblzma::write::XzEncoder<Target>),
    Zstd(zstd::stream::write::Encoder<'static, Target>),
    Lz4(lz4_flex::frame::FrameEncoder<Target>),
}

impl Compressor {
    /// For a format such as `tar.xz` or `xz`; `level` is 1 to 9 or the tool's own default.
    pub fn create(path: &Path, format: &str, level: Option<u8>, threads: usize) -> io::Result<Compressor> {
        let target = BufWriter::with_capacity(256 << 10, File::create(path)?);
        let threads = threads.clamp(1, 16) as u32;
        Ok(match format {
            "tar.gz" | "gz" => Compressor::Gzip(GzipWriter::new(target, level, threads as usize)?),
            "tar.bz2" | "bz2" => Compressor::Bzip2(bzip2::write::BzEncoder::new(target, bzip2::Compression::new(level.unwrap_or(9).into()))),
            "tar.xz" | "xz" => {
                let mut builder = liblzma::stream::MtStreamBuilder::new();
                builder.threads(threads).preset(level.unwrap_or(6).into()).check(liblzma::stream::Check::Crc64);
                Compressor::Xz(liblzma::write::XzEncoder::new_stream(target, builder.encoder()?))
            }
            "tar.zst" | "zst" => {
                let level = level.and_then(|l| [1, 2, 3, 5, 7, 9, 12, 15, 19].get(usize::from(l).saturating_sub(1)).copied()).unwrap_or(3);
                let mut encoder = zstd::stream::write::Encoder::new(target, level)?;
                encoder.multithread(if threads > 1 { threads } else { 0 })?;
                encoder.include_checksum(true)?;
                Compressor::Zstd(encoder)
            }
            "tar.lz4" | "lz4" => {
                let frame = lz4_flex::frame::FrameInfo::new().block_size(lz4_flex::frame::BlockSize::Max4MB).content_checksum(true);
                Compressor::Lz4(lz4_flex::frame::FrameEncoder::with_frame_info(frame, target))
            }
            _ => Compressor::Plain(target),
        })
    }

    pub fn finish(self) -> io::Result<()> {
        match self {
            Compressor::Plain(target) => Ok(target),
            Compressor::Gzip(encoder) => encoder.finish(),
            Compressor::Bzip2(encoder) => encoder.finish(),
            Compressor::Xz(encoder) => encoder.finish(),
            Compressor::Zstd(encoder) => encoder.finish(),
            Compressor::Lz4(encoder) => encoder.finish().map_err(Into::into),
        }?
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .flush()
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Compressor::Plain(target) => target,
            Compressor::Gzip(encoder) => encoder,
            Compressor::Bzip2(encoder) => encoder,
            Compressor::Xz(encoder) => encoder,
            Compressor::Zstd(encoder) => encoder,
            Compressor::Lz4(encoder) => encoder,
        }
    }
}

impl Write for Compressor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer().flush()
    }
}
