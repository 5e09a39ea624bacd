//! Writes zip under a password (AES-256), entry after entry.

use super::entry::{Entry, Kind};
use super::fault;
use super::sink::Sink;
use super::zip_sink::relative;
use crate::failure::Failure;
use ::zip::result::ZipError;
use ::zip::write::FileOptions;
use ::zip::{AesMode, CompressionMethod, DateTime, ZipWriter};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

const LEVEL: u8 = 7;

pub struct LockedZipSink {
    writer: ZipWriter<BufWriter<File>>,
    level: u8,
    password: String,
}

impl LockedZipSink {
    pub fn create(path: &Path, level: Option<u8>, password: &str) -> Result<LockedZipSink, Failure> {
        let file = BufWriter::with_capacity(256 << 10, File::create(path).map_err(fault::writing)?);
        Ok(LockedZipSink { writer: ZipWriter::new(file), level: level.unwrap_or(LEVEL), password: password.to_owned() })
    }
}

/// The header of an entry; without its lock.
fn options(entry: &Entry, level: u8) -> FileOptions<'static, 'static, ()> {
    FileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(i64::from(level)))
        .unix_permissions(entry.mode.unwrap_or(if entry.is_folder() { 0o755 } else { 0o644 }) & 0o777)
        .large_file(entry.size.is_none_or(|size| size >= ::zip::ZIP64_BYTES_THR / 2))
        // The earliest date the format can hold stands for none.
        .last_modified_time(entry.modified.and_then(calendar).unwrap_or_default())
}

fn failure(error: ZipError) -> Failure {
    match error {
        ZipError::Io(e) => fault::writing(e),
        other => Failure::internal(other),
    }
}

/// The date in the format's own calendar, which begins in 1980.
fn calendar(seconds: i64) -> Option<DateTime> {
    let t = jiff::Timestamp::from_second(seconds).ok()?.to_zoned(jiff::tz::TimeZone::UTC).datetime();
    let small = |v: i8| u8::try_from(v).ok();
    DateTime::from_date_and_time(
        u16::try_from(t.year()).ok()?,
        small(t.month())?,
        small(t.day())?,
        small(t.hour())?,
        small(t.minute())?,
        small(t.second())?,
    )
    .ok()
}

impl Sink for LockedZipSink {
    fn add(&mut self, entry: &Entry, data: &mut dyn Read) -> Result<Option<String>, Failure> {
        let open = options(entry, self.level);
        let locked = open.with_aes_encryption(AesMode::Aes256, &self.password);
        match &entry.kind {
            Kind::File => {
                self.writer.start_file(&entry.path, locked).map_err(failure)?;
                io::copy(&mut BufReader::with_capacity(256 << 10, data), &mut self.writer).map_err(fault::writing)?;
            }
            Kind::Folder => self.writer.add_directory(&entry.path, open).map_err(failure)?,
            Kind::Symlink(target) => self.writer.add_symlink(&entry.path, target, locked).map_err(failure)?,
            Kind::Hardlink(target) => {
                self.writer.add_symlink(&entry.path, relative(&entry.path, target), locked).map_err(failure)?;
                return Ok(Some(format!("`{}` was a second name of `{}` and became a link to it.", fault::shown(&entry.path), fault::shown(target))));
            }
        }
        Ok(None)
    }

    fn finish(self: Box<Self>) -> Result<(), Failure> {
        self.writer.finish().map_err(failure)?.flush().map_err(fault::writing)
    }
}
