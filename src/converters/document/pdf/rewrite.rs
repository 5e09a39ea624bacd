//! A pdf into another: pages chosen, turned, split, locked, unlocked, made smaller. What is on the pages stays as it is.

use super::super::ranges;
use super::qpdf;
use crate::convert::{Converter, Ctx, Expect, Input, OutOfRange, Output, Produced, ProducedFile, Spec, Validate};
use crate::failure::{Code, Failure};
use crate::format::Family;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Options of rewriting.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The password that opens the pdf. Default: none. The result opens without one unless `encrypt` gives it another.
    pub password: Option<String>,
    /// Pages to keep, in this order, as `1-3,5,2`. Default: all.
    pub pages: Option<String>,
    /// Turns every kept page clockwise by 90, 180 or 270 degrees. Default: 0.
    pub rotate: Option<u16>,
    /// Makes several files of so many pages each, 1 or more. Default: one of all.
    pub split: Option<u32>,
    /// Makes the file smaller. Default: none.
    pub compress: Compress,
    /// Arranged so that the first page shows before the rest has come. Default: false.
    pub linearize: bool,
    /// Locks the result with AES-256. Default: unlocked.
    pub encrypt: Option<Encrypt>,
    /// Takes the whole pages of a pdf that is cut off, with a warning and their share, instead of refusing it. Default: false.
    pub salvage: bool,
    /// New information; whatever else the pdf told of itself is removed. Default: kept as it is.
    pub metadata: Option<Metadata>,
}

/// How much smaller a pdf is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compress {
    #[default]
    None,
    /// Packs everything anew, without loss.
    Lossless,
    /// Also turns pictures that are not yet JPEG into it, where that is smaller.
    Pictures,
}

/// A lock.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Encrypt {
    /// Opens the pdf. Default: none, so that everybody can open it and readers heed what is allowed.
    pub password: Option<String>,
    /// Opens it with every right. Needed where something is not allowed. Default: as `password`.
    pub owner_password: Option<String>,
    /// Whether it may be printed. Default: true.
    pub print: Option<bool>,
    /// Whether text and pictures may be copied from it. Default: true.
    pub copy: Option<bool>,
    /// Whether it may be changed. Default: true.
    pub modify: Option<bool>,
}

impl Encrypt {
    /// `path` is the lock's own, among the options.
    pub fn validate(&self, path: &str) -> Result<(), OutOfRange> {
        let given = |password: &Option<String>| password.as_ref().is_some_and(|p| !p.is_empty());
        for (field, password) in [("password", &self.password), ("owner_password", &self.owner_password)] {
            if password.as_ref().is_some_and(|p| p.len() > PASSWORD_MAX || p.contains('\0')) {
                return Err(OutOfRange::new(&format!("{path}.{field}"), "a longer one", format!("up to {PASSWORD_MAX} bytes without NUL")));
            }
        }
        if !given(&self.password) && !given(&self.owner_password) {
            return Err(OutOfRange::new(&format!("{path}.password"), "none", "a password, or an owner_password"));
        }
        if [self.print, self.copy, self.modify].contains(&Some(false)) && !given(&self.owner_password) {
            return Err(OutOfRange::new(&format!("{path}.owner_password"), "none", "a password, as something is not allowed without it"));
        }
        Ok(())
    }

    /// Whether a password is asked for before anything is shown.
    pub fn is_closed(&self) -> bool {
        self.password.as_ref().is_some_and(|p| !p.is_empty())
    }
}

/// Locks a pdf.
pub fn encrypt(ctx: &Ctx, from: &Path, lock_with: &Encrypt, to: &Path) -> Result<(), Failure> {
    let mut job = Map::from_iter([("inputFile".to_owned(), json!(from)), ("outputFile".to_owned(), json!(to))]);
    job.extend(lock(Some(lock_with)));
    qpdf::run(ctx, &Value::Object(job), "encrypt").map(drop)
}

/// What a pdf tells of itself; each up to 1,000 characters.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Metadata {
    /// Title. Default: none.
    pub title: Option<String>,
    /// Author. Default: none.
    pub author: Option<String>,
    /// Subject. Default: none.
    pub subject: Option<String>,
    /// Keywords. Default: none.
    pub keywords: Option<String>,
}

impl Metadata {
    fn entries(&self) -> [(&'static str, Option<&str>); 4] {
        [
            ("Title", self.title.as_deref()),
            ("Author", self.author.as_deref()),
            ("Subject", self.subject.as_deref()),
            ("Keywords", self.keywords.as_deref()),
        ]
    }
}

/// The longest password of the format, in bytes (ISO 32000-2, 7.6.4.3.3).
const PASSWORD_MAX: usize = 127;

impl Validate for Options {
    fn validate(&self) -> Result<(), OutOfRange> {
        if let Some(pages) = &self.pages {
            ranges::parse(pages).map_err(|allowed| OutOfRange::new("pages", pages, allowed))?;
        }
        if self.rotate.is_some_and(|angle| ![0, 90, 180, 270].contains(&angle)) {
            return Err(OutOfRange::new("rotate", self.rotate.unwrap_or(0), "0, 90, 180 or 270"));
        }
        OutOfRange::check("split", self.split, 1..=u32::MAX)?;
        if let Some(lock) = &self.encrypt {
            lock.validate("encrypt")?;
        }
        let entries = self.metadata.iter().flat_map(Metadata::entries);
        for (key, value) in entries.filter_map(|(key, value)| Some((key, value?))) {
            let field = format!("metadata.{}", key.to_ascii_lowercase());
            if value.contains('\0') {
                return Err(OutOfRange::new(&field, "a text with NUL", "text without NUL"));
            }
            OutOfRange::check(&field, Some(value.chars().count()), 0..=1000)?;
        }
        Ok(())
    }
}

/// Rewrites pdf.
pub struct Rewrite;

impl Converter for Rewrite {
    const SPEC: Spec = Spec {
        id: "document.pdf_rewrite",
        family: Family::Document,
        summary: "Chooses, turns and splits the pages of a pdf, locks, unlocks, describes or shrinks it.",
        pairs: &[(&["pdf"], &["pdf"])],
    };
    type Options = Options;

    fn convert(ctx: &Ctx, input: &Input, options: &Options, output: &Output) -> Result<Produced, Failure> {
        let opened = super::open_as(ctx, input, options.password.as_deref(), options.salvage)?;
        let count = opened.pdf.pages().len() as u32;
        let (mut path, mut password) = (opened.path.clone(), options.password.as_deref().filter(|_| opened.warning.is_none()));
        if let Some(metadata) = &options.metadata {
            path = ctx.scratch.join("described.pdf");
            qpdf::inform(&opened.path, password.take(), &path, &metadata.entries())?;
        }
        let (pages, kept) = range(options.pages.as_deref(), count)?;
        let mut job = Map::from_iter([
            ("inputFile".to_owned(), json!(path)),
            ("pages".to_owned(), json!([{"file": ".", "range": pages}])),
            ("warningExit0".to_owned(), json!("")),
        ]);
        job.extend(password.map(|password| ("password".to_owned(), json!(password))));
        job.extend(options.rotate.filter(|angle| *angle > 0).map(|angle| ("rotate".to_owned(), json!(format!("+{angle}")))));
        job.extend(lock(options.encrypt.as_ref()));
        job.extend(packing(options.compress, options.linearize));
        let locked = options.encrypt.as_ref().is_some_and(Encrypt::is_closed);
        let produced = match options.split {
            Some(each) if each < kept => split(ctx, job, output, kept, each, locked)?,
            _ => {
                job.insert("outputFile".to_owned(), json!(output.path()));
                let words = qpdf::run(ctx, &Value::Object(job), "write")?;
                warned(Produced::single(output, expect(kept, locked)), &words)
            }
        };
        Ok(opened.tell(produced))
    }
}

/// The pages in qpdf's words, and their number.
fn range(wanted: Option<&str>, count: u32) -> Result<(String, u32), Failure> {
    let ranges = wanted.and_then(|text| ranges::parse(text).ok()).unwrap_or_else(|| vec![(1, u32::MAX)]);
    let ranges: Vec<(u32, u32)> = ranges.into_iter().filter(|(first, _)| *first <= count).map(|(first, last)| (first, last.min(count))).collect();
    if ranges.is_empty() {
        return Err(Failure::new(Code::InvalidOption, format!("The document has {count} pages; none of them is asked for.")));
    }
    let kept = ranges.iter().map(|(first, last)| last - first + 1).fold(0, u32::saturating_add);
    Ok((ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect::<Vec<_>>().join(","), kept))
}

fn lock(lock: Option<&Encrypt>) -> Option<(String, Value)> {
    let Some(lock) = lock else { return Some(("decrypt".to_owned(), json!(""))) };
    let user = lock.password.clone().unwrap_or_default();
    let owner = lock.owner_password.clone().filter(|p| !p.is_empty()).unwrap_or_else(|| user.clone());
    let mut rights = Map::new();
    let refusals = [("print", lock.print, "none"), ("extract", lock.copy, "n"), ("modify", lock.modify, "none")];
    for (right, allowed, word) in refusals {
        if allowed == Some(false) {
            rights.insert(right.to_owned(), json!(word));
        }
    }
    Some(("encrypt".to_owned(), json!({"userPassword": user, "ownerPassword": owner, "256bit": rights})))
}

/// How a file is packed, in qpdf's words.
pub fn packing(compress: Compress, linearize: bool) -> impl Iterator<Item = (String, Value)> {
    let lossless: &[(&str, &str)] = &[("objectStreams", "generate"), ("recompressFlate", ""), ("compressionLevel", "9")];
    let mut words = Vec::new();
    match compress {
        Compress::None => {}
        Compress::Lossless => words.extend(lossless),
        Compress::Pictures => words.extend(lossless.iter().chain(&[("optimizeImages", "")])),
    }
    if linearize {
        words.push(("linearize", ""));
    }
    words.into_iter().map(|(key, value)| (key.to_owned(), json!(value)))
}

/// Several files; the library puts the numbers of their pages into their names, all of one length.
fn split(ctx: &Ctx, mut job: Map<String, Value>, output: &Output, kept: u32, each: u32, locked: bool) -> Result<Produced, Failure> {
    job.insert("splitPages".to_owned(), json!(each.to_string()));
    job.insert("outputFile".to_owned(), json!(output.dir.join("part-%d.pdf")));
    let words = qpdf::run(ctx, &Value::Object(job), "write")?;
    let mut written: Vec<PathBuf> = std::fs::read_dir(&output.dir).map_err(Failure::internal)?.flatten().map(|file| file.path()).collect();
    written.sort();
    let files = written.iter().enumerate().map(|(at, path)| {
        let file = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let pages = each.min(kept.saturating_sub((at as u32).saturating_mul(each)));
        let name = format!("{}-{}", output.stem(), file.trim_start_matches("part-"));
        ProducedFile { file, name, format: output.format, expect: Expect { probe: true, ..expect(pages, locked) } }
    });
    Ok(warned(Produced::several(files.collect(), Vec::new()), &words))
}

/// A locked file does not show its pages.
fn expect(pages: u32, locked: bool) -> Expect {
    Expect { pages: (!locked).then_some(pages.into()), ..Expect::default() }
}

fn warned(produced: Produced, words: &[String]) -> Produced {
    if words.is_empty() { produced } else { produced.warn("The pdf was damaged; it was repaired as far as possible.") }
}
