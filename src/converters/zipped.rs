//! The files of a zip that are read together, each in a file of its own.

use crate::convert::{Ctx, Input};
use crate::failure::{Code, Failure};
use crate::format::{Format, Sample};
use std::fs::File;
use std::io::{self, BufReader, Read};
use zip::ZipArchive;
use zip::result::ZipError;

/// What was in the zip, in its order.
#[derive(Default)]
pub struct Members {
    /// Those that are wanted, in scratch.
    pub taken: Vec<Input>,
    /// The names of the first hundred of the others.
    pub left: Vec<String>,
}

const LEFT_MAX: usize = 100;

/// Unpacks the files that `is` tells the format of, from their first 64 KiB.
pub fn members(ctx: &Ctx, input: &Input, is: &dyn Fn(&Sample) -> Option<Format>) -> Result<Members, Failure> {
    let wrong = |e: &dyn std::fmt::Display| Failure::corrupt("The zip is damaged or cut off.").detail(e).stage("open");
    let file = BufReader::new(File::open(&input.path).map_err(Failure::internal)?);
    let mut zip = ZipArchive::new(file).map_err(|e| wrong(&e))?;
    if zip.len() as u64 > ctx.limits.entries_max {
        return Err(Failure::limit(format!("The zip has more than {} entries.", ctx.limits.entries_max)).stage("open"));
    }
    let (mut members, mut left) = (Members::default(), ctx.limits.input_max.0);
    for at in 0..zip.len() {
        ctx.check()?;
        ctx.progress("open", at as u64, zip.len() as u64, "files");
        let mut member = match zip.by_index(at) {
            Err(ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED)) => {
                return Err(Failure::new(Code::UnsupportedFormat, "The zip itself is encrypted.").stage("open"));
            }
            member => member.map_err(|e| wrong(&e))?,
        };
        if member.is_dir() {
            continue;
        }
        let name: String = String::from_utf8_lossy(member.name_raw()).chars().filter(|c| !c.is_control()).collect();
        let mut head = Vec::new();
        (&mut member).take(Sample::LEN as u64).read_to_end(&mut head).map_err(|e| wrong(&e))?;
        let Some(format) = is(&Sample { head: &head, tail: &[], name: &name }) else {
            if members.left.len() < LEFT_MAX {
                members.left.push(name);
            }
            continue;
        };
        let path = ctx.scratch.join(format!("member-{at}"));
        let mut target = File::create(&path).map_err(Failure::internal)?;
        let mut whole = head.as_slice().chain(member).take(left.saturating_add(1));
        let size_bytes = io::copy(&mut whole, &mut target).map_err(|e| wrong(&e))?;
        left = left.checked_sub(size_bytes).ok_or_else(|| {
            let message = format!("The files in the zip have more than {} together.", ctx.limits.input_max);
            Failure::limit(message).stage("open")
        })?;
        members.taken.push(Input { path, format, name, size_bytes });
    }
    Ok(members)
}
