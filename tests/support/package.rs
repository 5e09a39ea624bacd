//! Office packages with other parts than their fixtures have.

use std::io::{Cursor, Read, Write};
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// The type of an ODF package stands in it unpacked.
fn stored() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(CompressionMethod::Stored)
}

/// The package with parts changed by `change`, which is given the part's path and content, and with `more` parts.
pub fn changed(package: &Path, change: impl Fn(&str, String) -> String, more: &[(&str, &[u8])]) -> Vec<u8> {
    let mut from = ZipArchive::new(std::fs::File::open(package).unwrap()).unwrap();
    let mut to = ZipWriter::new(Cursor::new(Vec::new()));
    for at in 0..from.len() {
        let mut part = from.by_index(at).unwrap();
        let name = part.name().unwrap().into_owned();
        let mut content = Vec::new();
        part.read_to_end(&mut content).unwrap();
        if name.ends_with(".xml") || name.ends_with(".rels") {
            content = change(&name, String::from_utf8(content).unwrap()).into_bytes();
        }
        to.start_file(name.as_str(), stored()).unwrap();
        to.write_all(&content).unwrap();
    }
    for (name, content) in more {
        to.start_file(*name, stored()).unwrap();
        to.write_all(content).unwrap();
    }
    to.finish().unwrap().into_inner()
}
