//! Several pdfs, given in a zip, into one.

use super::qpdf;
use super::rewrite::{Compress, packing};
use crate::convert::{Converter, Ctx, Expect, Input, OutOfRange, Output, Produced, Spec, Validate};
use crate::converters::zipped::{self, Members};
use crate::failure::{Code, Failure};
use crate::format::{Family, Format, Sample};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Options of merging.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The password that opens those of the pdfs that are locked. Default: none.
    pub password: Option<String>,
    /// Makes the file smaller. Default: none.
    pub compress: Compress,
    /// Arranged so that the first page shows before the rest has come. Default: false.
    pub linearize: bool,
}

impl Validate for Options {
    fn validate(&self) -> Result<(), OutOfRange> {
        Ok(())
    }
}

/// Merges pdfs.
pub struct Merge;

impl Converter for Merge {
    const SPEC: Spec = Spec {
        id: "document.pdf_merge",
        family: Family::Document,
        summary: "The pdfs in a zip as one, in the order of their names.",
        pairs: &[(&["zip"], &["pdf"])],
    };
    type Options = Options;

    fn convert(ctx: &Ctx, input: &Input, options: &Options, output: &Output) -> Result<Produced, Failure> {
        let mut produced = Produced::single(output, Expect::default());
        let (mut parts, mut pages) = (Vec::new(), 0);
        for pdf in members(ctx, input, &mut produced)? {
            ctx.check()?;
            let locked = |failure: Failure| Failure { message: format!("{}: {}", pdf.name, failure.message), ..failure };
            pages += super::open(ctx, &pdf, options.password.as_deref()).map_err(locked)?.pages().len() as u64;
            if pages > ctx.limits.pages_max {
                return Err(Failure::limit(format!("The pdfs have more than {} pages together.", ctx.limits.pages_max)).stage("open"));
            }
            let mut part = Map::from_iter([("file".to_owned(), json!(pdf.path)), ("range".to_owned(), json!("1-z"))]);
            part.extend(options.password.as_ref().map(|password| ("password".to_owned(), json!(password))));
            parts.push(Value::Object(part));
        }
        if parts.is_empty() {
            return Err(Failure::new(Code::UnsupportedFormat, "There is no pdf in the zip.").stage("open"));
        }
        let mut job = Map::from_iter([
            ("empty".to_owned(), json!("")),
            ("outputFile".to_owned(), json!(output.path())),
            ("pages".to_owned(), Value::Array(parts)),
            ("warningExit0".to_owned(), json!("")),
        ]);
        job.extend(packing(options.compress, options.linearize));
        qpdf::run(ctx, &Value::Object(job), "write")?;
        if let Some(file) = produced.files.first_mut() {
            file.expect.pages = Some(pages);
        }
        Ok(produced)
    }
}

/// The pdfs of the zip in scratch, by name; what else it holds is warned of.
fn members(ctx: &Ctx, input: &Input, produced: &mut Produced) -> Result<Vec<Input>, Failure> {
    let is_pdf = |sample: &Sample| Format::parse("pdf").filter(|_| sample.head.starts_with(b"%PDF-"));
    let Members { mut taken, left } = zipped::members(ctx, input, &is_pdf).map_err(|failure| match failure.code {
        Code::UnsupportedFormat => failure.hint("Lock the pdfs, or the result, instead."),
        _ => failure,
    })?;
    produced.warnings.extend(left.iter().map(|name| format!("`{name}` is not a pdf and was left out.")));
    taken.sort_by_key(|pdf| natural(&pdf.name));
    Ok(taken)
}

/// A key that puts `2.pdf` before `10.pdf`.
fn natural(name: &str) -> Vec<(u64, String)> {
    let mut parts: Vec<(u64, String)> = vec![(0, String::new())];
    let mut within = false;
    for c in name.to_lowercase().chars() {
        match (c.to_digit(10), parts.last_mut()) {
            (Some(digit), Some((number, _))) if within => *number = number.saturating_mul(10).saturating_add(digit.into()),
            (Some(digit), _) => parts.push((digit.into(), String::new())),
            (None, Some((_, text))) => text.push(c),
            (None, None) => {}
        }
        within = c.is_ascii_digit();
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_as_such() {
        let mut names = vec!["b.pdf", "10.pdf", "2.pdf", "a11b2.pdf", "a2b10.pdf"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["2.pdf", "10.pdf", "a2b10.pdf", "a11b2.pdf", "b.pdf"]);
    }
}
