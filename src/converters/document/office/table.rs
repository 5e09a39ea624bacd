//! Tables of text into a spreadsheet that LibreOffice reads: its own csv import asks questions that nobody answers here.

use super::super::csv_shape::{self, Shape};
use super::filter::{CsvEncoding, CsvOptions};
use crate::convert::{Ctx, Input};
use crate::failure::Failure;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// The grid LibreOffice 7.4 can hold by default.
const ROWS_MAX: u64 = 1_048_576;
const COLUMNS_MAX: usize = 16_384;

const HEAD: &str = r#"<?xml version="1.0" encoding="UTF-8"?><office:document xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" office:version="1.3" office:mimetype="application/vnd.oasis.opendocument.spreadsheet"><office:body><office:spreadsheet><table:table table:name="Sheet1">"#;
const TAIL: &str = "</table:table></office:spreadsheet></office:body></office:document>";

/// Writes the table into a flat OpenDocument file in scratch. Numbers become numbers, everything else stays the text it is:
/// nothing that looks like a formula is one.
pub fn flat(ctx: &Ctx, input: &Input, options: &CsvOptions) -> Result<PathBuf, Failure> {
    let path = ctx.scratch.join("table.fods");
    let encoding = match options.encoding {
        CsvEncoding::Auto => None,
        CsvEncoding::Utf8 => Some(encoding_rs::UTF_8),
        CsvEncoding::Windows1252 => Some(encoding_rs::WINDOWS_1252),
        CsvEncoding::Windows1251 => Some(encoding_rs::WINDOWS_1251),
        CsvEncoding::Utf16 => Some(encoding_rs::UTF_16LE),
    };
    let text = csv_shape::decoded(&std::fs::read(&input.path).map_err(Failure::internal)?, encoding)?;
    let shape = Shape { separator: options.separator, tabs: input.format.id() == "tsv" };
    write(ctx, &mut shape.reader(&text), &path)?;
    Ok(path)
}

/// Writes a UTF-8 table again in another character set; true when it could not hold every character.
pub fn encode(path: &Path, encoding: CsvEncoding) -> Result<bool, Failure> {
    let io = |e: std::io::Error| Failure::internal(e).stage("write");
    let to = match encoding {
        CsvEncoding::Auto | CsvEncoding::Utf8 => return Ok(false),
        CsvEncoding::Windows1252 => encoding_rs::WINDOWS_1252,
        CsvEncoding::Windows1251 => encoding_rs::WINDOWS_1251,
        CsvEncoding::Utf16 => encoding_rs::UTF_16LE,
    };
    let text = std::fs::read_to_string(path).map_err(io)?;
    if encoding == CsvEncoding::Utf16 {
        let wide: Vec<u8> = std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        return std::fs::write(path, wide).map(|()| false).map_err(io);
    }
    let (bytes, _, lossy) = to.encode(&text);
    if !lossy {
        return std::fs::write(path, bytes).map(|()| false).map_err(io);
    }
    let one = |c: char| {
        let mut buffer = [0; 4];
        let (bytes, _, lossy) = to.encode(c.encode_utf8(&mut buffer));
        if lossy { vec![b'?'] } else { bytes.into_owned() }
    };
    let bytes: Vec<u8> = text.chars().flat_map(one).collect();
    std::fs::write(path, bytes).map(|()| true).map_err(io)
}

fn write<R: Read>(ctx: &Ctx, reader: &mut csv::Reader<R>, path: &Path) -> Result<(), Failure> {
    let mut out = BufWriter::new(File::create(path).map_err(Failure::internal)?);
    let io = |e: std::io::Error| Failure::internal(e).stage("open");
    out.write_all(HEAD.as_bytes()).map_err(io)?;
    let mut record = csv::StringRecord::new();
    let mut rows = 0;
    while reader.read_record(&mut record).map_err(|e| Failure::corrupt("The table cannot be read.").detail(e).stage("open"))? {
        rows += 1;
        if rows % 1000 == 1 {
            ctx.check()?;
        }
        if rows > ROWS_MAX || record.len() > COLUMNS_MAX {
            return Err(Failure::limit(format!("Row {rows} is beyond the largest table, {ROWS_MAX} rows of {COLUMNS_MAX} columns.")).stage("open"));
        }
        out.write_all(b"<table:table-row>").map_err(io)?;
        for field in &record {
            cell(&mut out, field).map_err(io)?;
        }
        out.write_all(b"</table:table-row>").map_err(io)?;
    }
    if rows == 0 {
        out.write_all(b"<table:table-row><table:table-cell/></table:table-row>").map_err(io)?;
    }
    out.write_all(TAIL.as_bytes()).and_then(|()| out.flush()).map_err(io)
}

fn cell(out: &mut impl Write, field: &str) -> std::io::Result<()> {
    if field.is_empty() {
        return out.write_all(b"<table:table-cell/>");
    }
    if is_number(field) {
        return write!(out, r#"<table:table-cell office:value-type="float" office:value="{field}"><text:p>{field}</text:p></table:table-cell>"#);
    }
    out.write_all(br#"<table:table-cell office:value-type="string">"#)?;
    for line in field.lines() {
        out.write_all(b"<text:p>")?;
        for c in line.chars() {
            match c {
                '&' => out.write_all(b"&amp;")?,
                '<' => out.write_all(b"&lt;")?,
                '>' => out.write_all(b"&gt;")?,
                '\t' => out.write_all(b"<text:tab/>")?,
                // Not allowed in XML 1.0.
                '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {}
                other => out.write_all(other.encode_utf8(&mut [0; 4]).as_bytes())?,
            }
        }
        out.write_all(b"</text:p>")?;
    }
    out.write_all(b"</table:table-cell>")
}

/// A number that survives being one: no leading zeros, no more digits than a double holds.
fn is_number(field: &str) -> bool {
    let digits = field.strip_prefix('-').unwrap_or(field);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    all_digits(whole) && all_digits(fraction) && digits.len() <= 16 && (whole == "0" || !whole.starts_with('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_numbers_are_numbers() {
        for number in ["0", "-1", "3.14", "0.5", "123456789012345"] {
            assert!(is_number(number), "{number}");
        }
        for text in ["", "-", "007", "1e5", "1,5", "=1+1", "+1", ".5", "1.", "12345678901234567890", "0x1"] {
            assert!(!is_number(text), "{text}");
        }
    }
}
