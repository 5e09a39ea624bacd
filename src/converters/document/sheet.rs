//! `document.sheet`: tables as JSON with types, without an office.

use super::csv_shape::{self, Shape};
use super::source;
use crate::convert::{Converter, Ctx, Expect, Input, OutOfRange, Output, Produced, Spec, Validate};
use crate::failure::{Code, Failure};
use crate::format::Family;
use calamine::{Data, DataType, Ods, Reader, Sheets, Xls, Xlsx};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};

/// Options of tables.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The sheet to read, by its name; `*` for all, as an object by their names. Default: the first.
    pub sheet: Option<String>,
    /// Whether the first row names the fields, so that rows become objects and not lists. Default: true.
    pub header: Option<bool>,
    /// Whether fields of csv and tsv that look like numbers, `true` or `false` become those; a leading zero keeps a text. Default: true.
    pub types: Option<bool>,
    /// One character between the fields of csv. Default: found out.
    pub separator: Option<char>,
}

impl Validate for Options {
    fn validate(&self) -> Result<(), OutOfRange> {
        csv_shape::check_separator("separator", self.separator)
    }
}

/// Reads tables.
pub struct Sheet;

impl Converter for Sheet {
    const SPEC: Spec = Spec {
        id: "document.sheet",
        family: Family::Document,
        summary: "Rows of a spreadsheet or table as JSON, with numbers, dates and truth values as such.",
        pairs: &[(&["csv", "tsv", "xlsx", "xls", "ods"], &["json"])],
    };
    type Options = Options;

    fn convert(ctx: &Ctx, input: &Input, options: &Options, output: &Output) -> Result<Produced, Failure> {
        source::check(ctx, input)?;
        let mut out = BufWriter::new(File::create(output.path()).map_err(Failure::internal)?);
        match input.format.id() {
            "csv" | "tsv" => of_text(ctx, input, options, &mut out)?,
            _ => of_workbook(ctx, input, options, &mut out)?,
        }
        out.write_all(b"\n").and_then(|()| out.flush()).map_err(Failure::internal)?;
        let mut produced = Produced::single(output, Expect::default());
        if let Some(file) = produced.files.first_mut() {
            file.expect.probe = false;
        }
        Ok(produced)
    }
}

/// Writes rows as they come: a list of objects, or of lists.
struct Rows<'a> {
    out: &'a mut dyn Write,
    names: Option<Vec<String>>,
    header: bool,
    count: u64,
}

impl<'a> Rows<'a> {
    fn begin(out: &'a mut dyn Write, options: &Options) -> std::io::Result<Rows<'a>> {
        out.write_all(b"[")?;
        Ok(Rows { out, names: None, header: options.header.unwrap_or(true), count: 0 })
    }

    fn row(&mut self, cells: Vec<Value>) -> std::io::Result<()> {
        if self.header && self.names.is_none() {
            self.names = Some(names(cells));
            return Ok(());
        }
        let row = match &self.names {
            Some(names) => {
                // More cells than names are kept under their column's number.
                let number = |at: usize| format!("column {}", at + 1);
                let name = |at: usize| names.get(at).cloned().unwrap_or_else(|| number(at));
                Value::Object(cells.into_iter().enumerate().map(|(at, cell)| (name(at), cell)).collect::<Map<_, _>>())
            }
            None => Value::Array(cells),
        };
        let comma = if self.count == 0 { "\n" } else { ",\n" };
        self.count += 1;
        write!(self.out, "{comma}{row}")
    }

    fn end(self) -> std::io::Result<()> {
        self.out.write_all(b"\n]")
    }
}

/// Field names of a first row, each its own.
fn names(cells: Vec<Value>) -> Vec<String> {
    let mut taken = HashSet::new();
    let text = |at: usize, cell: Value| match cell {
        Value::String(text) if !text.trim().is_empty() => text.trim().to_owned(),
        Value::Null | Value::String(_) => format!("column {}", at + 1),
        other => other.to_string(),
    };
    let free = |name: String| {
        let name =
            (1u32..).map(|n| if n == 1 { name.clone() } else { format!("{name} ({n})") }).find(|name| !taken.contains(name)).unwrap_or_default();
        taken.insert(name.clone());
        name
    };
    cells.into_iter().enumerate().map(|(at, cell)| text(at, cell)).map(free).collect()
}

fn of_text(ctx: &Ctx, input: &Input, options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let bytes = std::fs::read(&input.path).map_err(Failure::internal)?;
    let text = csv_shape::decoded(&bytes, None)?;
    let shape = Shape { separator: options.separator, tabs: input.format.id() == "tsv" };
    let mut reader = shape.reader(&text);
    let mut rows = Rows::begin(out, options).map_err(Failure::internal)?;
    let typed = options.types.unwrap_or(true);
    for (at, record) in reader.records().enumerate() {
        if at % 1000 == 0 {
            ctx.check()?;
            ctx.progress("read", at as u64, 0, "rows");
        }
        let record = record.map_err(|e| Failure::corrupt("The table cannot be read.").detail(e).stage("open"))?;
        let named = rows.header && rows.names.is_none();
        rows.row(record.iter().map(|field| if typed && !named { typed_field(field) } else { json!(field) }).collect()).map_err(Failure::internal)?;
    }
    rows.end().map_err(Failure::internal)
}

/// What a field of text means.
fn typed_field(field: &str) -> Value {
    let plain = field.trim();
    match plain {
        "" => return Value::Null,
        "true" | "TRUE" | "True" => return json!(true),
        "false" | "FALSE" | "False" => return json!(false),
        _ => {}
    }
    let digits = plain.strip_prefix('-').unwrap_or(plain);
    // Article numbers and telephone numbers are no numbers; `inf` and `nan` are words.
    let is_code = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit()) && digits.len() <= 15;
    if is_code || !is_number {
        return json!(field);
    }
    if let Ok(whole) = plain.parse::<i64>() {
        return json!(whole);
    }
    plain.parse::<f64>().ok().filter(|n| n.is_finite()).map_or_else(|| json!(field), |n| json!(n))
}

fn of_workbook(ctx: &Ctx, input: &Input, options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let wrong = |e: calamine::Error| match e.to_string() {
        words if words.contains("assword") => {
            Failure::new(Code::PasswordRequired, "The spreadsheet is encrypted; its tables cannot be read without an office.")
        }
        words => Failure::corrupt(format!("This is not a readable {} file.", input.format.name())).detail(words),
    };
    let file = BufReader::new(File::open(&input.path).map_err(Failure::internal)?);
    let opened = match input.format.id() {
        "xlsx" => Xlsx::new(file).map(Sheets::Xlsx).map_err(calamine::Error::from),
        "xls" => Xls::new(file).map(Sheets::Xls).map_err(calamine::Error::from),
        _ => Ods::new(file).map(Sheets::Ods).map_err(calamine::Error::from),
    };
    let mut book = opened.map_err(|e| wrong(e).stage("open"))?;
    let there = book.sheet_names();
    let wanted: Vec<String> = match options.sheet.as_deref() {
        Some("*") => there.clone(),
        Some(name) if there.iter().any(|sheet| sheet == name) => vec![name.to_owned()],
        Some(name) => {
            let words = format!("The spreadsheet has no sheet `{name}`; it has {}.", there.join(", "));
            return Err(Failure::new(Code::InvalidOption, words).stage("open"));
        }
        None => there.first().cloned().into_iter().collect(),
    };
    let by_name = options.sheet.as_deref() == Some("*");
    let io = |e: std::io::Error| Failure::internal(e);
    for (at, name) in wanted.iter().enumerate() {
        ctx.check()?;
        ctx.progress("read", at as u64, wanted.len() as u64, "sheets");
        let range = book.worksheet_range(name).map_err(wrong)?;
        if by_name {
            let before = if at == 0 { "{" } else { "," };
            write!(out, "{before}\n{}: ", json!(name)).map_err(io)?;
        }
        let mut rows = Rows::begin(out, options).map_err(io)?;
        for row in range.rows() {
            rows.row(row.iter().map(cell).collect()).map_err(io)?;
        }
        rows.end().map_err(io)?;
    }
    if by_name { out.write_all(if wanted.is_empty() { b"{}" } else { b"\n}" }).map_err(io) } else { Ok(()) }
}

fn cell(cell: &Data) -> Value {
    match cell {
        Data::Empty => Value::Null,
        Data::Bool(yes) => json!(yes),
        Data::Int(n) => json!(n),
        Data::Float(n) if n.fract() == 0.0 && n.abs() < 9e15 => json!(*n as i64),
        Data::Float(n) => json!(n),
        Data::DateTime(moment) if moment.is_datetime() => {
            let (year, month, day, hour, minute, second, _) = moment.to_ymd_hms_milli();
            match (hour, minute, second) {
                (0, 0, 0) => json!(format!("{year:04}-{month:02}-{day:02}")),
                _ => json!(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")),
            }
        }
        Data::DateTime(length) => json!(format!("PT{}S", (length.as_f64() * 86_400.0).round())),
        Data::DateTimeIso(text) | Data::DurationIso(text) => json!(text),
        Data::Error(error) => json!(error.to_string()),
        other => other.as_string().map_or(Value::Null, Value::String),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_what_they_look_like() {
        let cases = [("12", json!(12)), ("-1.5", json!(-1.5)), ("0", json!(0)), ("0.5", json!(0.5)), ("007", json!("007")), ("", Value::Null)];
        for (field, value) in
            cases.into_iter().chain([("true", json!(true)), ("inf", json!("inf")), ("1e400", json!("1e400")), ("1,5", json!("1,5"))])
        {
            assert_eq!(typed_field(field), value, "{field}");
        }
        assert_eq!(names(vec![json!("a"), json!("a"), Value::Null, json!(3)]), ["a", "a (2)", "column 3", "3"]);
    }
}
