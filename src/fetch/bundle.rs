//! Several outputs as one zip, for a converter that reads one file.

use super::{blob, unavailable};
use crate::blobs::{Blobs, Fetched};
use crate::failure::Failure;
use crate::format::{Family, Format};
use crate::job::Member;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

type Zip = ZipWriter<BufWriter<File>>;

pub async fn make(blobs: &dyn Blobs, members: &[Member], path: &Path) -> Result<Fetched, Failure> {
    let failed = |error: &dyn std::fmt::Display| unavailable("The inputs could not be put together.", error.to_string());
    let folder = path.parent().unwrap_or(path);
    let file = std::fs::create_dir_all(folder).and_then(|()| File::create(path)).map_err(|e| failed(&e))?;
    let mut zip = ZipWriter::new(BufWriter::new(file));
    for member in members {
        let fetched = blob(blobs, &member.key).await?;
        let (name, options) = (member.name.clone(), options(member.format));
        let added = tokio::task::spawn_blocking(move || add(zip, &name, options, &fetched));
        zip = added.await.map_err(|e| failed(&e))?.map_err(|e| failed(&e))?;
    }
    let finished = tokio::task::spawn_blocking(move || zip.finish()?.into_inner().map_err(|e| e.into_error()).map(drop));
    finished.await.map_err(|e| failed(&e))?.map_err(|e| failed(&e))?;
    Ok(Fetched::lasting(path.to_owned()))
}

fn add(mut zip: Zip, name: &str, options: SimpleFileOptions, from: &Fetched) -> io::Result<Zip> {
    zip.start_file(name, options)?;
    io::copy(&mut File::open(from.path())?, &mut zip)?;
    Ok(zip)
}

/// What is packed already is stored; the rest is packed, for a zip made of this one copies it as it is.
fn options(format: Format) -> SimpleFileOptions {
    let is_loose = format.family() == Family::Document || ["json", "bin", "tar", "bmp", "svg", "ppm", "tiff", "wav", "aiff"].contains(&format.id());
    let method = if is_loose { CompressionMethod::Deflated } else { CompressionMethod::Stored };
    // Films may be larger than what a zip was once made for.
    SimpleFileOptions::default().compression_method(method).large_file(true).last_modified_time(DateTime::default())
}
