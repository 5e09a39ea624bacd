//! What a pdf tells of itself, as JSON: pages and their sizes, information, encryption, attachments.

use super::qpdf;
use crate::convert::{Converter, Ctx, Expect, Input, OutOfRange, Output, Produced, Spec, Validate};
use crate::failure::Failure;
use crate::format::Family;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Options of the description.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The password that opens the pdf. Default: none.
    pub password: Option<String>,
}

impl Validate for Options {
    fn validate(&self) -> Result<(), OutOfRange> {
        Ok(())
    }
}

/// Describes a pdf.
pub struct Info;

impl Converter for Info {
    const SPEC: Spec = Spec {
        id: "document.pdf_info",
        family: Family::Document,
        summary: "Describes a pdf: pages, information, encryption, attachments.",
        pairs: &[(&["pdf"], &["json"])],
    };
    type Options = Options;

    fn convert(ctx: &Ctx, input: &Input, options: &Options, output: &Output) -> Result<Produced, Failure> {
        let pdf = super::open(ctx, input, options.password.as_deref())?;
        let raw = ctx.scratch.join("raw.json");
        let mut job = json!({
            "inputFile": input.path, "outputFile": raw, "json": "2", "jsonKey": ["attachments", "encrypt", "outlines"], "warningExit0": "",
        });
        if let (Some(password), Some(job)) = (&options.password, job.as_object_mut()) {
            job.insert("password".to_owned(), json!(password));
        }
        let words = qpdf::run(ctx, &job, "read")?;
        let raw: Value = serde_json::from_slice(&std::fs::read(&raw).map_err(Failure::internal)?).map_err(Failure::internal)?;
        let pages: Vec<Value> = pdf
            .pages()
            .iter()
            .map(|page| {
                let (width, height) = page.render_dimensions();
                json!({"width_pt": width.round(), "height_pt": height.round()})
            })
            .collect();
        let told = json!({
            "format": "pdf", "size_bytes": input.size_bytes, "pages": pages.len(), "page_sizes": pages,
            "information": super::super::probe::information(&pdf), "encryption": encryption(&raw), "attachments": attachments(&raw),
            "outline": raw["outlines"].as_array().into_iter().flatten().map(outline).collect::<Vec<_>>(),
        });
        std::fs::write(output.path(), format!("{told:#}\n")).map_err(Failure::internal)?;
        let mut produced = Produced::single(output, Expect::default());
        if let Some(file) = produced.files.first_mut() {
            file.expect.probe = false;
        }
        Ok(if words.is_empty() { produced } else { produced.warn("The pdf is damaged; what it tells may not be all.") })
    }
}

fn encryption(raw: &Value) -> Value {
    let found = &raw["encrypt"];
    if found["encrypted"] != true {
        return Value::Null;
    }
    let allowed = &found["capabilities"];
    json!({
        "method": found["parameters"]["method"], "bits": found["parameters"]["bits"],
        "print": allowed["printhigh"], "copy": allowed["extract"], "modify": allowed["modify"],
    })
}

fn attachments(raw: &Value) -> Vec<Value> {
    let found = raw["attachments"].as_object().into_iter().flat_map(Map::values);
    found
        .map(|attachment| {
            let stream = attachment["streams"].as_object().and_then(|streams| streams.values().next()).cloned().unwrap_or_default();
            json!({
                "name": attachment["preferredname"], "description": attachment["description"], "mime": stream["mimetype"],
                "created": stream["creationdate"], "modified": stream["modificationdate"], "md5": stream["checksum"],
            })
        })
        .collect()
}

fn outline(entry: &Value) -> Value {
    let children: Vec<Value> = entry["kids"].as_array().into_iter().flatten().map(outline).collect();
    json!({"title": entry["title"], "page": entry["destpageposfrom1"], "children": children})
}
