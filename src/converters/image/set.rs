//! Sets of files: several widths and formats of one picture, from one decode.

use super::options::Options;
use super::sequence;
use super::still::Rendition;
use super::transcode::Work;
use crate::convert::{Expect, Produced, ProducedFile};
use crate::failure::Failure;
use crate::format::Format;
use serde_json::json;
use std::borrow::Cow;

/// Makes all files of a set, and the manifest where one was asked for.
pub fn make(work: &mut Work) -> Result<Produced, Failure> {
    let (ctx, options, output) = (work.ctx, work.options, work.output);
    let still = work.still();
    let formats = formats(output.format, options);
    let mut renditions = Vec::new();
    for sized in sized(options, still.shown().0) {
        for to in &formats {
            let plan = work.fitted(*to, still.shown(), &sized)?;
            renditions.push(still.rendition(*to, plan)?);
        }
    }
    if work.has_more() {
        work.warnings.push("Only the first frame or page was taken: a set of files has still pictures.".into());
    }
    for to in formats.iter().filter(|to| still.loses_metadata(**to)) {
        work.warnings.push(format!("The metadata was left out: {} has no place for it.", to.name()));
    }
    let total = renditions.len() as u64;
    ctx.progress("decode", 0, total, "files");
    let wanted = renditions.iter().map(|r| still.wanted(r)).fold((1, 1), |a, b| (a.0.max(b.0), a.1.max(b.1)));
    let decoded = work.decoded(wanted, renditions.iter().all(|r| still.takes_planes(r)))?;
    work.opened.bytes = Vec::new();
    let mut files = Vec::new();
    for (n, rendition) in renditions.iter_mut().enumerate() {
        ctx.check()?;
        ctx.progress("encode", n as u64, total, "files");
        still.aim(&decoded, rendition)?;
        let bytes = still.file(Cow::Borrowed(&decoded), rendition)?;
        let path = output.numbered(n);
        std::fs::write(&path, bytes).map_err(|e| Failure::internal(e).stage("encode"))?;
        let width = rendition.plan.canvas.0;
        let name = match options.widths.is_empty() {
            true => rendition.to.file_name(output.stem()),
            false => rendition.to.file_name(&format!("{}-{width}w", output.stem())),
        };
        let expect = Expect { probe: true, recovered: work.recovered, ..sequence::expect_one(rendition.to, rendition.plan.canvas) };
        files.push(ProducedFile { file: file_name(&path), name, format: rendition.to, expect });
    }
    if options.manifest {
        let path = output.numbered(files.len());
        let json = Format::parse("json").ok_or_else(|| Failure::internal("no json"))?;
        let text = serde_json::to_vec_pretty(&manifest(&formats, &renditions, &files)).map_err(Failure::internal)?;
        std::fs::write(&path, text).map_err(|e| Failure::internal(e).stage("encode"))?;
        let expect = Expect { probe: true, ..Expect::default() };
        files.push(ProducedFile { file: file_name(&path), name: json.file_name(output.stem()), format: json, expect });
    }
    Ok(Produced::several(files, std::mem::take(&mut work.warnings)))
}

fn file_name(path: &std::path::Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The target and what is wanted beside it, each once.
pub fn formats(to: Format, options: &Options) -> Vec<Format> {
    let mut formats = vec![to];
    for format in options.also.iter().filter_map(|also| also.format()) {
        if !formats.contains(&format) {
            formats.push(format);
        }
    }
    formats
}

/// The options of each width; larger ones than the picture's own become that one, unless it may be enlarged.
fn sized(options: &Options, own: u32) -> Vec<Options> {
    if options.widths.is_empty() {
        return vec![options.clone()];
    }
    let own = options.crop.map_or(own, |crop| crop.width.min(own));
    let mut widths: Vec<u32> = options.widths.iter().map(|width| if options.enlarge { *width } else { (*width).min(own) }).collect();
    widths.sort_unstable();
    widths.dedup();
    widths.into_iter().map(|width| Options { width: Some(width), ..options.clone() }).collect()
}

fn manifest(formats: &[Format], renditions: &[Rendition], files: &[ProducedFile]) -> serde_json::Value {
    let of = |to: &Format| renditions.iter().zip(files).filter(move |(_, file)| file.format == *to).collect::<Vec<_>>();
    let sources: Vec<_> = formats
        .iter()
        .map(|to| {
            let srcset: Vec<String> = of(to).iter().map(|(r, file)| format!("{} {}w", file.name.replace(' ', "%20"), r.plan.canvas.0)).collect();
            let files: Vec<_> =
                of(to).iter().map(|(r, file)| json!({"name": file.name, "width": r.plan.canvas.0, "height": r.plan.canvas.1})).collect();
            json!({"type": to.mime(), "srcset": srcset.join(", "), "files": files})
        })
        .collect();
    json!({ "sources": sources })
}
