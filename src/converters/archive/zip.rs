//! zip: read through its directory, written with entries compressed in parallel.

use super::entry::{Entry, Kind};
use super::fault;
use super::guard::{Guard, Metered, Packed};
use super::names::{self, Encoding};
use super::near::Near;
use super::walk::{Reading, Visit};
use crate::failure::{Code, Failure};
use ::zip::extra_fields::ExtraField;
use ::zip::read::{Config, ZipFile, ZipFileEntry};
use ::zip::result::ZipError;
use ::zip::unstable::read::ZipIterable;
use ::zip::{System, ZipReadOptions};
use std::io::{self, BufReader, Read};

/// Longer targets of links are not believed.
const TARGET_MAX: u64 = 4096;
/// The fixed part of an entry's local header.
const LOCAL_HEADER: u64 = 30;

pub fn failure(error: ZipError, path: Option<&str>) -> Failure {
    match error {
        ZipError::InvalidPassword => fault::wrong_password(),
        ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) => fault::password_required(),
        ZipError::Io(e) => fault::reading(e, path),
        ZipError::UnsupportedArchive(_) | ZipError::CompressionMethodNotSupported(_) => {
            Failure::new(Code::UnsupportedFormat, "The archive uses a kind of compression or encryption that cannot be read.").detail(error)
        }
        other => fault::reading(io::Error::other(other.to_string()), path),
    }
}

/// What the directory says of one entry; enough to see overlaps and encodings before anything is unpacked.
struct Place {
    start: u64,
    end: u64,
    size: u64,
    name: Vec<u8>,
}

pub fn read(reading: &Reading, source: BufReader<Packed>, mut body: Near, guard: &mut Guard, visit: Visit) -> Result<(), Failure> {
    // Unlike the library's usual reader this one does not lose entries that share a name.
    let mut archive = ZipIterable::try_new(source, Config::default()).map_err(|e| failure(e, None))?;
    let most = reading.ctx.limits.entries_max;
    if archive.len() as u64 > most {
        return Err(Failure::limit(format!("The archive has more than {most} entries.")).stage("open"));
    }
    let mut places = Vec::with_capacity(archive.len());
    for found in archive.files().map_err(|e| failure(e, None))? {
        let found = found.map_err(|e| failure(e, None))?;
        let name = found.name_raw().to_vec();
        let start = found.header_start();
        let end = start.saturating_add(LOCAL_HEADER + name.len() as u64).saturating_add(found.compressed_size());
        places.push(Place { start, end, size: found.size(), name });
    }
    let encoding = reading.encoding.settled(places.iter().map(|p| p.name.as_slice()));
    if reading.data {
        guard.declared(places.iter().map(|p| p.size).fold(0, u64::saturating_add))?;
    }
    places.sort_by_key(|p| p.start);
    if places.windows(2).any(|pair| matches!(pair, [a, b] if a.end > b.start)) {
        return Err(Failure::new(Code::PolicyViolation, "Entries of the archive overlap, as only bombs' do.").stage("open"));
    }
    drop(places);
    for found in archive.files().map_err(|e| failure(e, None))? {
        guard.entry()?;
        let found = found.map_err(|e| failure(e, None))?;
        let mut options = ZipReadOptions::new();
        if found.encrypted() {
            if !reading.data {
                visit(describe(&found, encoding, Extra::default()), &mut io::empty())?;
                continue;
            }
            options = options.password(Some(reading.password.ok_or_else(fault::password_required)?.as_bytes()));
        }
        let path = encoding.decode(found.name_raw());
        let found = found.with_reader(&mut body, options).map_err(|e| failure(e, Some(&path)))?;
        one(reading, found, encoding, guard, visit)?;
    }
    Ok(())
}

fn one(reading: &Reading, found: ZipFile<'_, impl Read>, encoding: Encoding, guard: &mut Guard, visit: Visit) -> Result<(), Failure> {
    let mut extra = Extra::default();
    for field in found.extra_data_fields() {
        match field {
            ExtraField::UnicodePath(_) => extra.path = found.name().ok().map(|n| n.into_owned()),
            ExtraField::ExtendedTimestamp(t) => extra.modified = t.mod_time().map(i64::from),
            _ => {}
        }
    }
    let mut entry = describe(&found.entry(), encoding, extra);
    if let Kind::Symlink(_) = entry.kind {
        let mut target = Vec::new();
        entry.size = None;
        Metered::new(found, guard, &entry).take(TARGET_MAX).read_to_end(&mut target).map_err(|e| fault::reading(e, Some(&entry.path)))?;
        let target = encoding.decode(&target);
        entry.hazard = entry.hazard.or_else(|| names::link_hazard(&entry.path, &target));
        entry.kind = Kind::Symlink(target);
        return visit(entry, &mut io::empty());
    }
    if entry.kind != Kind::File || !reading.data {
        return visit(entry, &mut io::empty());
    }
    let mut data = Metered::new(found, guard, &entry);
    if entry.encrypted {
        // The old cipher lets one wrong password in 256 pass; what comes out is then damaged.
        data = data.on_error(|e, path| fault::unwrap(&e).unwrap_or_else(|| fault::wrong_password().detail(format!("{path}: {e}"))));
    }
    visit(entry.clone(), &mut data)
}

/// What an entry's extra fields say better than its header.
#[derive(Default)]
struct Extra {
    path: Option<String>,
    modified: Option<i64>,
}

fn describe(found: &ZipFileEntry, encoding: Encoding, extra: Extra) -> Entry {
    let text = extra.path.unwrap_or_else(|| encoding.decode(found.name_raw()));
    let (path, hazard) = names::inside(&text, !matches!(found.system(), System::Unix) || text.contains(":\\"));
    let mut entry = Entry { hazard, ..Entry::file(path) };
    entry.size = Some(found.size());
    entry.packed = Some(found.compressed_size());
    entry.crc32 = Some(found.crc32());
    entry.encrypted = found.encrypted();
    entry.mode = found.unix_mode().map(|m| m & 0o7777).filter(|m| *m != 0);
    entry.modified = extra.modified.or_else(|| {
        let t = found.last_modified()?;
        let small = |v: u8| i8::try_from(v).ok();
        let civil = jiff::civil::DateTime::new(
            i16::try_from(t.year()).ok()?,
            small(t.month())?,
            small(t.day())?,
            small(t.hour())?,
            small(t.minute())?,
            small(t.second().min(59))?,
            0,
        );
        civil.ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|z| z.timestamp().as_second())
    });
    let kind = found.unix_mode().map(|m| m & 0o170_000).unwrap_or(0);
    match kind {
        0o120_000 => entry.kind = Kind::Symlink(String::new()),
        0o020_000 | 0o060_000 | 0o010_000 | 0o140_000 => {
            let words = format!("The entry `{}` is a device, which an upload has no use for.", fault::shown(&entry.path));
            entry.hazard = Some(Failure::new(Code::PolicyViolation, words).stage("open"));
        }
        _ if found.is_dir() || text.ends_with('/') => (entry.kind, entry.size) = (Kind::Folder, None),
        _ => {}
    }
    entry
}
