//! `archive.list`: what is inside, as JSON.

use super::entry::{Entry, Kind};
use super::fault;
use super::options::{ListOptions, Options};
use super::salvage::walk;
use super::walk::{self, Reading};
use crate::convert::{Converter, Ctx, Expect, Input, Output, Produced, Spec};
use crate::failure::Failure;
use crate::format::Family;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::io::{self, BufWriter, Read, Write};

pub struct List;

impl Converter for List {
    const SPEC: Spec = Spec {
        id: "archive.list",
        family: Family::Archive,
        summary: "Lists what an archive holds, with sizes, times, checksums and warnings.",
        pairs: &[(walk::READABLE, &["json"])],
    };
    type Options = ListOptions;

    fn convert(ctx: &Ctx, input: &Input, options: &ListOptions, output: &Output) -> Result<Produced, Failure> {
        let reading_options = Options {
            password: options.password.clone(),
            name_encoding: options.name_encoding.clone(),
            salvage: options.salvage,
            ..Options::default()
        };
        let mut reading = Reading::new(ctx, &reading_options);
        reading.data = options.sha256 || options.test || options.salvage;
        let file = std::fs::File::create(output.path()).map_err(fault::writing)?;
        let mut out = BufWriter::new(file);
        out.write_all(b"{\"entries\":[").map_err(fault::writing)?;
        let (mut seen, mut total, mut files, mut unpacked) = (HashSet::new(), 0u64, 0u64, 0u64);
        let mut warnings = Vec::new();
        let saved = walk(&reading, input, &mut |entry, data| {
            let mut line = describe(&entry);
            if options.sha256 && entry.kind == Kind::File {
                line["sha256"] = json!(hash(data)?);
            } else if options.test {
                io::copy(data, &mut io::sink()).map_err(|e| fault::reading(e, Some(&entry.path)))?;
            }
            if let Some(hazard) = &entry.hazard {
                warnings.push(hazard.message.clone());
            }
            if !entry.is_folder() && !seen.insert(entry.path.clone()) {
                warnings.push(format!("There is more than one entry `{}`.", fault::shown(&entry.path)));
            }
            let comma = if total == 0 { "\n" } else { ",\n" };
            write!(out, "{comma}{line}").map_err(fault::writing)?;
            total += 1;
            files += u64::from(entry.kind == Kind::File);
            unpacked = unpacked.saturating_add(entry.size.unwrap_or(0));
            Ok(())
        })?;
        warnings.truncate(100);
        let end = json!({
            "format": input.format, "files": files, "size_bytes": unpacked, "packed_bytes": input.size_bytes, "tested": reading.data, "warnings": warnings,
        });
        let end = end.to_string();
        write!(out, "\n],\n{}\n", end.get(1..).unwrap_or_default()).and_then(|()| out.flush()).map_err(fault::writing)?;
        let mut produced = Produced::single(output, Expect::default());
        if let Some(file) = produced.files.first_mut() {
            file.expect.probe = false;
        }
        produced.warnings = warnings;
        Ok(saved.tell(produced))
    }
}

fn describe(entry: &Entry) -> Value {
    let mut line = json!({"path": entry.path, "kind": entry.kind.name()});
    let modified = entry.modified.and_then(|t| jiff::Timestamp::from_second(t).ok()).map(|t| t.to_string());
    let target = match &entry.kind {
        Kind::Symlink(target) | Kind::Hardlink(target) if !target.is_empty() => Some(target.clone()),
        _ => None,
    };
    let facts = [
        ("size_bytes", json!(entry.size)),
        ("packed_bytes", json!(entry.packed)),
        ("modified", json!(modified)),
        ("mode", json!(entry.mode.map(|m| format!("{m:04o}")))),
        ("crc32", json!(entry.crc32.map(|c| format!("{c:08x}")))),
        ("target", json!(target)),
        ("encrypted", json!(entry.encrypted.then_some(true))),
        ("warning", json!(entry.hazard.as_ref().map(|h| h.message.clone()))),
    ];
    for (name, value) in facts.into_iter().filter(|(_, v)| !v.is_null()) {
        line[name] = value;
    }
    line
}

fn hash(data: &mut dyn Read) -> Result<String, Failure> {
    let mut hasher = Sha256::new();
    let mut block = vec![0; 64 << 10];
    loop {
        match data.read(&mut block).map_err(|e| fault::reading(e, None))? {
            0 => return Ok(hex::encode(hasher.finalize())),
            n => hasher.update(block.get(..n).unwrap_or_default()),
        }
    }
}
