//! 7z, read block by block and written in solid blocks of bounded size.

use super::entry::{Entry, Kind};
use super::fault;
use super::guard::{Guard, Metered, Packed};
use super::names;
use super::sink::Sink;
use super::walk::{Reading, Visit};
use super::zip_sink::relative;
use crate::failure::{Code, Failure};
use sevenz_rust2::encoder_options::{AesEncoderOptions, Lzma2Options};
use sevenz_rust2::{Archive, ArchiveEntry, ArchiveReader, ArchiveWriter, EncoderConfiguration, EncoderMethod, Error, NtTime, Password, SourceReader};
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;

/// Seconds from 1601, where the format's clock starts, to 1970.
const EPOCH: i64 = 11_644_473_600;
const UNIX_EXTENSION: u32 = 0x8000;
const FOLDER_ATTRIBUTE: u32 = 0x10;
const LINK: u32 = 0o120_000;
/// Uncompressed size of a solid block; also the most that waits in memory.
const BLOCK: u64 = 16 << 20;

fn failure(error: Error, password: bool) -> Failure {
    match error {
        Error::PasswordRequired => fault::password_required(),
        Error::MaybeBadPassword(e) => fault::unwrap(&e).unwrap_or_else(fault::wrong_password),
        Error::Io(e, _) => match fault::unwrap(&e) {
            Some(failure) => failure,
            None if password => fault::wrong_password().detail(e),
            None => fault::reading(e, None),
        },
        Error::ChecksumVerificationFailed | Error::NextHeaderCrcMismatch if password => fault::wrong_password(),
        Error::UnsupportedCompressionMethod(_) | Error::Unsupported(_) | Error::ExternalUnsupported | Error::UnsupportedVersion { .. } => {
            Failure::new(Code::UnsupportedFormat, "The archive uses a kind of compression that cannot be read.").detail(error)
        }
        Error::MaxMemLimited { .. } => Failure::limit("The archive needs more memory to unpack than is allowed.").detail(error),
        other => fault::reading(io::Error::other(other.to_string()), None),
    }
}

pub fn read(reading: &Reading, mut source: BufReader<Packed>, guard: &mut Guard, visit: Visit) -> Result<(), Failure> {
    let password = reading.password.map_or_else(Password::empty, Password::new);
    let given = reading.password.is_some();
    let archive = Archive::read(&mut source, &password).map_err(|e| failure(e, given))?;
    let most = reading.ctx.limits.entries_max;
    if archive.files.len() as u64 > most {
        return Err(Failure::limit(format!("The archive has more than {most} entries.")).stage("open"));
    }
    if !reading.data {
        for found in &archive.files {
            guard.entry()?;
            visit(describe(found), &mut io::empty())?;
        }
        return Ok(());
    }
    guard.declared(archive.files.iter().map(|f| f.size).fold(0, u64::saturating_add))?;
    let mut reader = ArchiveReader::from_archive(archive, source, password);
    reader.set_thread_count(reading.ctx.threads.clamp(1, 16) as u32);
    let mut ended: Option<Failure> = None;
    let walked = reader.for_each_entries(|found, data| {
        // To stop within a block does not keep the library from the next one.
        if ended.is_none() {
            ended = guard.entry().and_then(|()| one(found, data, guard, visit)).err();
        }
        Ok(ended.is_none())
    });
    match ended {
        Some(failure) if given && failure.code == Code::CorruptInput => Err(fault::wrong_password().detail(failure)),
        Some(failure) => Err(failure),
        None => walked.map_err(|e| failure(e, given)),
    }
}

fn one(found: &ArchiveEntry, data: &mut dyn Read, guard: &mut Guard, visit: Visit) -> Result<(), Failure> {
    let mut entry = describe(found);
    let mut data = Metered::new(data, guard, &entry);
    if let Kind::Symlink(_) = entry.kind {
        let mut target = String::new();
        data.take(4096).read_to_string(&mut target).map_err(|e| fault::reading(e, Some(&entry.path)))?;
        entry.hazard = entry.hazard.or_else(|| names::link_hazard(&entry.path, &target));
        entry.kind = Kind::Symlink(target);
        return visit(entry, &mut io::empty());
    }
    visit(entry.clone(), &mut data)?;
    io::copy(&mut data, &mut io::sink()).map(drop).map_err(|e| fault::reading(e, Some(&entry.path)))
}

fn describe(found: &ArchiveEntry) -> Entry {
    let (path, hazard) = names::inside(&found.name, false);
    let mut entry = Entry { hazard, ..Entry::file(path) };
    entry.size = Some(found.size);
    entry.crc32 = found.has_crc.then_some(found.crc as u32);
    entry.modified = found.has_last_modified_date.then(|| (u64::from(found.last_modified_date) / 10_000_000) as i64 - EPOCH);
    let attributes = if found.has_windows_attributes { found.windows_attributes } else { 0 };
    let unix = if attributes & UNIX_EXTENSION != 0 { attributes >> 16 } else { 0 };
    entry.mode = Some(unix & 0o7777).filter(|m| *m != 0);
    if found.is_directory {
        (entry.kind, entry.size) = (Kind::Folder, None);
    } else if unix & 0o170_000 == LINK {
        entry.kind = Kind::Symlink(String::new());
    } else if matches!(unix & 0o170_000, 0o020_000 | 0o060_000 | 0o010_000 | 0o140_000) {
        let words = format!("The entry `{}` is a device, which an upload has no use for.", fault::shown(&entry.path));
        entry.hazard = Some(Failure::new(Code::PolicyViolation, words).stage("open"));
    }
    entry
}

/// Two to this power rounds make the key of a password, as 7-Zip does it: guessing shall take time.
const KEY_CYCLES_POWER: u8 = 19;

pub struct SevenSink {
    writer: ArchiveWriter<File>,
    compression: EncoderConfiguration,
    password: Option<Password>,
    entries: Vec<ArchiveEntry>,
    contents: Vec<SourceReader<Cursor<Vec<u8>>>>,
    held: u64,
}

impl SevenSink {
    pub fn create(path: &Path, level: Option<u8>, password: Option<&str>, threads: usize) -> Result<SevenSink, Failure> {
        let writer = ArchiveWriter::new(File::create(path).map_err(fault::writing)?).map_err(|e| Failure::internal(format!("{e:?}")))?;
        let level = u32::from(level.unwrap_or(5));
        let options = if threads > 1 { Lzma2Options::from_level_mt(level, threads as u32, BLOCK) } else { Lzma2Options::from_level(level) };
        let compression = EncoderConfiguration::new(EncoderMethod::LZMA2).with_options(options.into());
        let mut sink = SevenSink { writer, compression, password: password.map(Password::new), entries: Vec::new(), contents: Vec::new(), held: 0 };
        sink.writer.set_content_methods(sink.methods());
        Ok(sink)
    }

    /// What a block goes through. The library encrypts the names, too, as soon as there is something to encrypt them with.
    fn methods(&self) -> Vec<EncoderConfiguration> {
        let encryption = self.password.clone().map(|password| {
            // Salt and initialisation vector are new for every block.
            let mut options = AesEncoderOptions::new(password);
            options.num_cycles_power = KEY_CYCLES_POWER;
            options.into()
        });
        encryption.into_iter().chain([self.compression.clone()]).collect()
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.held = 0;
        let (entries, contents) = (std::mem::take(&mut self.entries), std::mem::take(&mut self.contents));
        if entries.is_empty() {
            return Ok(());
        }
        let block = sevenz_rust2::prepare_block(Arc::new(self.methods()), entries, contents).map_err(internal)?;
        self.writer.push_prepared_block(block).map(drop).map_err(internal)
    }
}

fn internal(error: Error) -> Failure {
    match error {
        Error::Io(e, _) => fault::writing(e),
        other => Failure::internal(format!("{other:?}")),
    }
}

impl Sink for SevenSink {
    fn add(&mut self, entry: &Entry, data: &mut dyn Read) -> Result<Option<String>, Failure> {
        let mut made = if entry.is_folder() { ArchiveEntry::new_directory(&entry.path) } else { ArchiveEntry::new_file(&entry.path) };
        let link = matches!(entry.kind, Kind::Symlink(_) | Kind::Hardlink(_));
        let kind = if entry.is_folder() {
            0o040_000
        } else if link {
            LINK
        } else {
            0o100_000
        };
        let mode = if link { 0o777 } else { entry.mode.unwrap_or(if entry.is_folder() { 0o755 } else { 0o644 }) & 0o777 };
        made.has_windows_attributes = true;
        made.windows_attributes = (kind | mode) << 16 | UNIX_EXTENSION | if entry.is_folder() { FOLDER_ATTRIBUTE } else { 0 };
        if let Some(ticks) = entry.modified.and_then(|t| u64::try_from(t + EPOCH).ok()).and_then(|t| t.checked_mul(10_000_000)) {
            made.has_last_modified_date = true;
            made.last_modified_date = NtTime::new(ticks);
        }
        match &entry.kind {
            Kind::Folder => self.writer.push_archive_entry(made, None::<Cursor<Vec<u8>>>).map(drop).map_err(internal)?,
            Kind::File if entry.size.is_none_or(|size| size > BLOCK) => {
                self.flush()?;
                self.writer.set_content_methods(self.methods());
                self.writer.push_archive_entry(made, Some(data)).map(drop).map_err(internal)?;
            }
            Kind::File => {
                let mut content = Vec::with_capacity(entry.size.unwrap_or(0) as usize);
                data.read_to_end(&mut content).map_err(fault::writing)?;
                self.hold(made, content)?;
            }
            Kind::Symlink(target) => self.hold(made, target.clone().into_bytes())?,
            Kind::Hardlink(target) => {
                self.hold(made, relative(&entry.path, target).into_bytes())?;
                return Ok(Some(format!("`{}` was a second name of `{}` and became a link to it.", fault::shown(&entry.path), fault::shown(target))));
            }
        }
        Ok(None)
    }

    fn finish(mut self: Box<Self>) -> Result<(), Failure> {
        self.flush()?;
        self.writer.finish().map(drop).map_err(fault::writing)
    }
}

impl SevenSink {
    fn hold(&mut self, entry: ArchiveEntry, content: Vec<u8>) -> Result<(), Failure> {
        if content.is_empty() {
            return self.writer.push_archive_entry(entry, None::<Cursor<Vec<u8>>>).map(drop).map_err(internal);
        }
        self.held += content.len() as u64;
        self.entries.push(entry);
        self.contents.push(Cursor::new(content).into());
        if self.held >= BLOCK { self.flush() } else { Ok(()) }
    }
}
