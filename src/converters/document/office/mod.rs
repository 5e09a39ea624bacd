//! Office documents of every kind, by LibreOffice in this process.

mod filter;
pub mod lok;
mod pages;
mod profile;
mod table;

pub use pages::OfficePages;

use super::{fonts, source, warn};
use crate::convert::{Converter, Ctx, Expect, Input, OutOfRange, Output, Produced, Spec, Validate};
use crate::failure::{Code, Failure};
use crate::format::Family;
use filter::CsvOptions;
pub use filter::PdfOptions;
use lok::OpenError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

const TEXTS: &[&str] = &["docx", "doc", "odt", "rtf", "html", "txt"];
const SHEETS: &[&str] = &["xlsx", "xls", "ods", "csv", "tsv"];
const SLIDES: &[&str] = &["pptx", "ppt", "odp"];

/// Options of the office formats.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The password that opens the document. Default: none.
    pub password: Option<String>,
    /// Pages of the pdf to keep, as `1-3,5`. Default: all.
    pub pages: Option<String>,
    /// How a pdf is written.
    pub pdf: PdfOptions,
    /// How csv is read and written.
    pub csv: CsvOptions,
}

impl Validate for Options {
    fn validate(&self) -> Result<(), OutOfRange> {
        if let Some(pages) = &self.pages {
            super::ranges::parse(pages).map_err(|allowed| OutOfRange::new("pages", pages, allowed))?;
        }
        self.pdf.validate()?;
        self.csv.validate()
    }
}

/// Turns office documents into each other and into pdf.
pub struct Office;

impl Converter for Office {
    const SPEC: Spec = Spec {
        id: "document.office",
        family: Family::Document,
        summary: "Text documents, spreadsheets and presentations into each other and into pdf.",
        pairs: &[
            (TEXTS, &["pdf", "docx", "doc", "odt", "rtf", "txt", "html", "epub"]),
            (SHEETS, &["pdf", "xlsx", "xls", "ods", "csv", "html"]),
            (SLIDES, &["pdf", "pptx", "ppt", "odp"]),
            (&["odg"], &["pdf"]),
        ],
    };
    type Options = Options;

    fn takes_names(_options: &Options) -> bool {
        false
    }

    fn convert(ctx: &Ctx, input: &Input, options: &Options, output: &Output) -> Result<Produced, Failure> {
        let file = source_of(ctx, input, options)?;
        let produced = produce(ctx, input, &file, options, output)?;
        let mut produced = warn::missing_parts(produced, input, output.format);
        if output.format.id() == "csv" && table::encode(&output.path(), options.csv.encoding)? {
            produced = produced.warn("The character set does not hold every character; question marks stand for the others.");
        }
        Ok(produced)
    }
}

/// The file to hand to LibreOffice: the input, checked, or what stands for it.
fn source_of(ctx: &Ctx, input: &Input, options: &Options) -> Result<PathBuf, Failure> {
    match input.format.id() {
        "csv" | "tsv" => source::check(ctx, input).and_then(|()| table::flat(ctx, input, &options.csv)),
        _ => source::checked(ctx, input),
    }
}

/// Converts `file` into the output: written, locked where that is asked for, its pages counted.
pub fn produce(ctx: &Ctx, input: &Input, file: &Path, options: &Options, output: &Output) -> Result<Produced, Failure> {
    let to = output.format.id();
    let lock = options.pdf.encrypt.as_ref().filter(|_| to == "pdf");
    let written = if lock.is_some() { ctx.scratch.join("open.pdf") } else { output.path() };
    write(ctx, input, file, options, to, &written)?;
    let (mut expect, mut warnings) = (Expect::default(), Vec::new());
    if to == "pdf" {
        let pdf = super::pdf::load(&written, None, ctx)?;
        expect.pages = Some(pdf.pages().len() as u64);
        warnings = fonts::warnings(input, &pdf);
    }
    if let Some(lock) = lock {
        super::pdf::encrypt(ctx, &written, lock, &output.path())?;
        // A locked file does not show its pages.
        expect.pages = expect.pages.filter(|_| !lock.is_closed());
    }
    Ok(Produced { warnings, ..Produced::single(output, expect) })
}

/// Converts `file` into `to` at `target`, with this office.
pub fn write(ctx: &Ctx, input: &Input, file: &Path, options: &Options, to: &str, target: &Path) -> Result<(), Failure> {
    let profile = ctx.scratch.join("profile");
    profile::write(&profile).map_err(Failure::internal)?;
    ctx.progress("open", 0, 100, "percent");
    let office = lok::office(&profile).map_err(|e| Failure::internal(e).stage("open"))?;
    let office = office.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    ctx.check()?;
    let document = office
        .open(file, options.password.as_deref(), &|percent| ctx.progress("open", percent.min(100) / 2, 100, "percent"))
        .map_err(|e| refused(input, e))?;
    ctx.check()?;
    ctx.progress("write", 50, 100, "percent");
    let (extension, writes) = filter::export_options(to, options);
    document.save(target, extension, &writes).map_err(|words| {
        if memory_is_short() {
            return Failure::new(Code::OutOfMemory, "The document needs more memory than one conversion may use.").detail(words).stage("write");
        }
        Failure::new(Code::ToolFailed, format!("The {} could not be written as {to}.", input.format.name())).detail(words).stage("write")
    })?;
    ctx.progress("write", 100, 100, "percent");
    if target.metadata().map(|m| m.len()).unwrap_or(0) == 0 {
        return Err(Failure::new(Code::ToolFailed, format!("Nothing was written as {to}.")).stage("write"));
    }
    Ok(())
}

/// LibreOffice calls a document broken, too, when it ran out of memory over it.
fn memory_is_short() -> bool {
    const SPARE: usize = 32 << 20;
    let mut spare = Vec::<u8>::new();
    let reserved = spare.try_reserve_exact(SPARE);
    // Unseen it would be optimised away, and memory never short.
    std::hint::black_box(&spare);
    reserved.is_err()
}

fn refused(input: &Input, error: OpenError) -> Failure {
    match error {
        OpenError::PasswordRequired => Failure::new(Code::PasswordRequired, format!("This {} file opens only with a password.", input.format.name())),
        OpenError::WrongPassword => Failure::new(Code::WrongPassword, format!("The password does not open this {} file.", input.format.name())),
        OpenError::Other(words) if memory_is_short() => {
            Failure::new(Code::OutOfMemory, "The document needs more memory than one conversion may use.").detail(words)
        }
        OpenError::Other(words) => Failure::corrupt(format!("This is not a readable {} file.", input.format.name())).detail(words),
    }
    .stage("open")
}

/// Loads LibreOffice ahead of the fork, with a profile that is needed only while it is read.
pub fn preload() -> Result<(), String> {
    if !Path::new(lok::PROGRAM).is_dir() {
        return Err("LibreOffice is not installed (packages libreoffice-writer-nogui, -calc-nogui, -impress-nogui)".into());
    }
    let folder: PathBuf = std::env::temp_dir().join(format!("millrace-office-{}", std::process::id()));
    let loaded = profile::write(&folder).map_err(|e| e.to_string()).and_then(|()| lok::preload(&folder));
    let _ = std::fs::remove_dir_all(&folder);
    loaded
}
