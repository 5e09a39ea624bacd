//! qpdf's library: pages are chosen, turned and locked without touching what is on them.
//!
//! A job is a JSON document of its own (`qpdf --job-json-help`), made here of typed values only; it is loaded when the first comes.

mod ffi;

use crate::convert::Ctx;
use crate::failure::{Code, Failure};
use serde_json::Value;
use std::path::Path;

/// What is written into a pdf's information before anything else is done with it.
pub type Entries<'a> = [(&'static str, Option<&'a str>)];

/// Runs a job; returns warnings in qpdf's words.
pub fn run(ctx: &Ctx, job: &Value, stage: &str) -> Result<Vec<String>, Failure> {
    ctx.check()?;
    let report = |percent: u8| ctx.progress(stage, percent.min(100).into(), 100, "percent");
    ffi::run(&job.to_string(), &report).map_err(|words| failure(words, stage))
}

/// Copies `from` to `to` without its metadata, but for these new entries of the information.
pub fn inform(from: &Path, password: Option<&str>, to: &Path, entries: &Entries) -> Result<(), Failure> {
    ffi::inform(from, password.unwrap_or(""), to, entries).map_err(|words| failure(words, "read"))
}

fn failure(words: String, stage: &str) -> Failure {
    let failure = if words.contains("invalid password") {
        Failure::new(Code::WrongPassword, "The password does not open this pdf.")
    } else if words.contains("libqpdf") {
        Failure::new(Code::UnsupportedFormat, "Pdf files cannot be rewritten on this machine.")
    } else {
        Failure::corrupt("The pdf is too damaged to be rewritten.")
    };
    failure.detail(words).stage(stage)
}
