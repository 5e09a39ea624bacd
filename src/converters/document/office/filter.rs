//! Our options in the words of LibreOffice's filters.

use super::super::csv_shape;
use super::super::pdf::Encrypt;
use super::Options;
use crate::convert::OutOfRange;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// How a pdf is written.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PdfOptions {
    /// Which kind of pdf. Default: 1.6.
    pub version: PdfVersion,
    /// JPEG quality of pictures, 1 to 100. Default: 90.
    pub quality: Option<u8>,
    /// Marks headings, lists and tables for screen readers. Default: true; PDF/A-1 always is.
    pub tagged: Option<bool>,
    /// Pictures finer than this are made coarser, in dots an inch: 75, 150, 300, 600 or 1200. Default: as they are.
    pub dpi: Option<u16>,
    /// Locks the pdf with AES-256; not with PDF/A, which forbids it. Default: unlocked.
    pub encrypt: Option<Encrypt>,
}

/// A kind of pdf.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PdfVersion {
    #[default]
    #[serde(rename = "1.6")]
    V16,
    #[serde(rename = "1.5")]
    V15,
    #[serde(rename = "a-1b")]
    A1b,
    #[serde(rename = "a-2b")]
    A2b,
    #[serde(rename = "a-3b")]
    A3b,
}

impl PdfOptions {
    pub fn validate(&self) -> Result<(), OutOfRange> {
        OutOfRange::check("pdf.quality", self.quality, 1..=100)?;
        if self.dpi.is_some_and(|dpi| ![75, 150, 300, 600, 1200].contains(&dpi)) {
            return Err(OutOfRange::new("pdf.dpi", self.dpi.unwrap_or(0), "75, 150, 300, 600 or 1200"));
        }
        match &self.encrypt {
            Some(_) if matches!(self.version, PdfVersion::A1b | PdfVersion::A2b | PdfVersion::A3b) => {
                Err(OutOfRange::new("pdf.encrypt", "a password", "none with PDF/A"))
            }
            Some(lock) => lock.validate("pdf.encrypt"),
            None => Ok(()),
        }
    }
}

/// How csv is read and written.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CsvOptions {
    /// One character between fields. Default: found out when a csv is read, a tab for tsv; a comma when one is written.
    pub separator: Option<char>,
    /// Character set. Default: `auto`, found out when a table is read and utf-8 when one is written.
    pub encoding: CsvEncoding,
}

/// A character set of csv files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CsvEncoding {
    #[default]
    #[serde(rename = "auto")]
    Auto,
    #[serde(rename = "utf-8")]
    Utf8,
    #[serde(rename = "windows-1252")]
    Windows1252,
    #[serde(rename = "windows-1251")]
    Windows1251,
    #[serde(rename = "utf-16")]
    Utf16,
}

impl CsvOptions {
    pub fn validate(&self) -> Result<(), OutOfRange> {
        csv_shape::check_separator("csv.separator", self.separator)
    }
}

/// The extension that LibreOffice knows the target by, and filter options for writing.
pub fn export_options<'a>(to: &'a str, options: &Options) -> (&'a str, String) {
    match to {
        "pdf" => ("pdf", pdf(options)),
        "csv" => {
            // Separator, quote, UTF-8, first line, no formats, any language, quotes where needed, values as shown.
            let separator = u32::from(options.csv.separator.unwrap_or(','));
            ("csv", format!("{separator},34,76,1,,0,false,true,true"))
        }
        other => (other, String::new()),
    }
}

fn pdf(options: &Options) -> String {
    let value = |kind: &str, value: serde_json::Value| json!({ "type": kind, "value": value });
    let number = |n: u32| value("long", json!(n.to_string()));
    let flag = |yes: bool| value("boolean", json!(yes.to_string()));
    let version = match options.pdf.version {
        PdfVersion::V16 => 16,
        PdfVersion::V15 => 15,
        PdfVersion::A1b => 1,
        PdfVersion::A2b => 2,
        PdfVersion::A3b => 3,
    };
    let mut filter = json!({
        "SelectPdfVersion": number(version),
        "Quality": number(u32::from(options.pdf.quality.unwrap_or(90))),
        "UseTaggedPDF": flag(options.pdf.tagged.unwrap_or(true)),
        "ExportBookmarks": flag(true),
    });
    if let Some(map) = filter.as_object_mut() {
        map.extend(options.pages.as_ref().map(|pages| ("PageRange".to_owned(), value("string", json!(pages)))));
        map.extend(options.pdf.dpi.map(|dpi| ("MaxImageResolution".to_owned(), number(dpi.into()))));
        map.insert("ReduceImageResolution".into(), flag(options.pdf.dpi.is_some()));
    }
    filter.to_string()
}
