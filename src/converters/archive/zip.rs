//! zip: read through its directory, written with entries compressed in parallel.

use super::entry::{Entry, Kind};
use super::fault;
use super::guard::{Guard, Metered};
use super::names::{self, Encoding};
use super::walk::{Reading, Visit};
use crate::failure::{Code, Failure};
use ::zip::extra_fields::ExtraField;
use ::zip::read::ZipFile;
use ::zip::result::ZipError;
use ::zip::{System, ZipArchive};
use std::fs::File;
use std::io::{self, BufReader, Read};

/// Longer targets of links are not believed.
const TARGET_MAX: u64 = 4096;

fn failure(error: ZipError, path: Option<&str>) -> Failure {
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

pub fn read(reading: &Reading, source: BufReader<File>, guard: &mut Guard, visit: Visit) -> Result<(), Failure> {
    let mut archive = ZipArchive::new(source).map_err(|e| failure(e, None))?;
    let most = reading.ctx.limits.entries_max;
    if archive.len() as u64 > most {
        return Err(Failure::limit(format!("The archive has more than {most} entries.")).stage("open"));
    }
    if archive.has_overlapping_entries().map_err(|e| failure(e, None))? {
        let words = "Entries of the archive overlap, as only bombs' do.";
        return Err(Failure::new(Code::PolicyViolation, words).stage("open"));
    }
    if reading.data {
        let total = (0..archive.len()).filter_map(|n| archive.by_index_data(n).ok().map(|e| e.size())).fold(0u64, u64::saturating_add);
        guard.declared(total)?;
    }
    let encoding = reading.encoding.settled(archive.file_names_raw());
    for n in 0..archive.len() {
        guard.entry()?;
        let mut entry = {
            let found = archive.by_index_raw(n).map_err(|e| failure(e, None))?;
            describe(&found, encoding)
        };
        let link = matches!(entry.kind, Kind::Symlink(_));
        if entry.is_folder() || !(reading.data || link && !entry.encrypted) {
            visit(entry, &mut io::empty())?;
            continue;
        }
        let password = reading.password.map(str::as_bytes);
        if entry.encrypted && password.is_none() {
            return Err(fault::password_required());
        }
        let options = ::zip::ZipReadOptions::new().password(password.filter(|_| entry.encrypted));
        let found = archive.by_index_with_options(n, options).map_err(|e| failure(e, Some(&entry.path)))?;
        if link {
            entry.size = None;
            let mut target = Vec::new();
            Metered::new(found, guard, &entry).take(TARGET_MAX).read_to_end(&mut target).map_err(|e| fault::reading(e, Some(&entry.path)))?;
            let target = encoding.decode(&target);
            entry.hazard = entry.hazard.or_else(|| names::link_hazard(&entry.path, &target));
            entry.kind = Kind::Symlink(target);
            visit(entry, &mut io::empty())?;
            continue;
        }
        let mut data = Metered::new(found, guard, &entry);
        if entry.encrypted {
            // The old cipher lets one wrong password in 256 pass; the checksum then does not match.
            data = data.on_error(|e, path| if e.to_string().contains("checksum") { fault::wrong_password() } else { fault::reading(e, Some(path)) });
        }
        visit(entry.clone(), &mut data)?;
    }
    Ok(())
}

fn describe(found: &ZipFile<'_, impl Read>, encoding: Encoding) -> Entry {
    let utf8 = found.extra_data_fields().find_map(|f| match f {
        ExtraField::UnicodePath(_) => found.name().ok().map(|n| n.into_owned()),
        _ => None,
    });
    let text = utf8.unwrap_or_else(|| encoding.decode(found.name_raw()));
    let (path, hazard) = names::inside(&text, !matches!(found.system(), System::Unix) || text.contains(":\\"));
    let mut entry = Entry { hazard, ..Entry::file(path) };
    entry.size = Some(found.size());
    entry.packed = Some(found.compressed_size());
    entry.crc32 = Some(found.crc32());
    entry.encrypted = found.encrypted();
    entry.mode = found.unix_mode().map(|m| m & 0o7777).filter(|m| *m != 0);
    entry.modified = found.extra_data_fields().find_map(|f| match f {
        ExtraField::ExtendedTimestamp(t) => t.mod_time().map(i64::from),
        _ => None,
    });
    entry.modified = entry.modified.or_else(|| {
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
