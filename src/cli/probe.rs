//! `millrace probe`: what a file holds, measured in the same jail as a conversion, without a server.

use super::convert::refused;
use super::table::{Table, plain, span};
use super::{Exit, complain, environment, print, runtime};
use crate::app::{App, Purpose};
use crate::config::{Config, Inputs};
use crate::intake::InputRef;
use crate::job::{Input, Stream};
use crate::limits::Size;
use crate::sandbox::ForkServer;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// One JSON line per file.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, fork_server: ForkServer) -> Exit {
    match runtime().map_err(|e| e.to_string()).and_then(|runtime| runtime.block_on(probe(args, fork_server))) {
        Ok(exit) => exit,
        Err(error) => {
            complain(error);
            Exit::Unavailable
        }
    }
}

async fn probe(args: &Args, fork_server: ForkServer) -> Result<Exit, String> {
    let data = tempfile::Builder::new().prefix("millrace-").tempdir().map_err(|e| e.to_string())?;
    let inputs = Inputs { roots: vec![PathBuf::from("/")], ..Inputs::default() };
    let config = Config { data_dir: data.path().to_owned(), inputs, ..Config::load(None, &environment())? };
    let app = App::start(&config, Purpose::errand(args.files.first().map_or(Path::new(""), |file| file)), fork_server).await?;
    let mut exit = Exit::Done;
    for file in &args.files {
        match look(&app, file).await {
            Ok(input) => print(&if args.json { format!("{}\n", json!(input)) } else { describe(&input) }),
            Err((failed, text)) => {
                exit = failed;
                complain(format!("{}: {text}", plain(&file.to_string_lossy())));
            }
        }
    }
    app.stop().await;
    Ok(exit)
}

async fn look(app: &App, file: &Path) -> Result<Input, (Exit, String)> {
    let path = std::path::absolute(file).map_err(|e| (Exit::Usage, e.to_string()))?;
    let (mut input, source) = app.intake.look_at(&InputRef::Path(path), None, app.clock.now()).await.map_err(refused)?;
    let looked = app.prober.look(&input, &source).await;
    input.media = looked.map_err(|f| (Exit::Failed, plain(&format!("{}: {} {}", f.code, f.message, f.hint))))?;
    Ok(input)
}

fn describe(input: &Input) -> String {
    let media = &input.media;
    let mut facts = vec![("file", input.name.clone()), ("format", format!("{} ({}, {})", input.format, input.format.name(), input.format.family()))];
    facts.push(("size", format!("{} ({} bytes)", Size(input.size_bytes), input.size_bytes)));
    facts.extend(media.width.zip(media.height).map(|(w, h)| ("picture", format!("{w} x {h}"))));
    facts.extend(media.duration_ms.map(|ms| ("duration", span(ms))));
    for (label, count) in [("frames", media.frames), ("pages", media.pages), ("entries", media.entries)] {
        facts.extend(count.map(|n| (label, n.to_string())));
    }
    facts.extend(media.unpacked_bytes.map(|n| ("unpacked", Size(n).to_string())));
    facts.push(("sha256", input.sha256.clone()));
    let mut text: String = facts.iter().map(|(label, value)| format!("{label:<9} {}\n", plain(value))).collect();
    let mut streams = Table::new(["STREAM", "CODEC", "LANGUAGE", "FACTS"]);
    media.streams.iter().for_each(|s| streams.row([s.kind.clone(), s.codec.clone(), s.language.clone().unwrap_or_default(), stream(s)]));
    if !media.streams.is_empty() {
        text += &streams.to_string();
    }
    text.extend(media.tags.iter().map(|(key, value)| format!("  {}: {}\n", plain(key), plain(value))));
    text
}

fn stream(s: &Stream) -> String {
    let mut facts = Vec::new();
    facts.extend(s.width.zip(s.height).map(|(w, h)| format!("{w}x{h}")));
    facts.extend(s.fps.map(|fps| format!("{fps:.2} fps")));
    facts.extend(s.pixel_format.clone());
    facts.extend(s.rotation.map(|degrees| format!("rotated by {degrees}")));
    facts.extend(s.channels.map(|n| format!("{n} channels")));
    facts.extend(s.sample_rate.map(|hz| format!("{hz} Hz")));
    facts.extend(s.bitrate.map(|bits| format!("{} kbit/s", bits / 1000)));
    facts.join(", ")
}
