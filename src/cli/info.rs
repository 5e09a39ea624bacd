//! Commands that only tell: formats, config check.

use super::{Exit, complain, environment, options, print};
use crate::config::Config;
use crate::converters;
use crate::format::Format;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct FormatsArgs {
    /// Only what this format can become.
    #[arg(long)]
    from: Option<String>,
    /// Only what can become this format.
    #[arg(long)]
    to: Option<String>,
    /// The presets instead, those of the shipped queues and of the configured ones.
    #[arg(long, conflicts_with_all = ["from", "to"])]
    presets: bool,
    /// The configuration whose presets are meant.
    #[arg(long, requires = "presets")]
    config: Option<PathBuf>,
    #[arg(long)]
    json: bool,
}

/// One line per preset: its queue, its name, what it makes of which options.
fn presets(config: Option<&Path>, as_json: bool) -> Exit {
    let queues = match Config::load(config, &environment()).and_then(|config| config.queues()) {
        Ok(queues) => queues,
        Err(error) => {
            complain(error);
            return Exit::Usage;
        }
    };
    let all = queues.iter().flat_map(|(queue, settings)| settings.settings.presets.iter().map(move |(name, preset)| (queue, name, preset)));
    if as_json {
        let rows: Vec<_> = all.map(|(queue, name, p)| json!({"name": name, "queue": queue, "to": p.to, "options": p.options})).collect();
        print(&format!("{}\n", json!(rows)));
    } else {
        all.for_each(|(queue, name, preset)| print(&format!("{queue:<9} {name:<14} -> {:<8} {}\n", preset.to.id(), preset.options)));
    }
    Exit::Done
}

/// One line per source format and converter: what it can become.
pub fn formats(args: &FormatsArgs) -> Exit {
    if args.presets {
        return presets(args.config.as_deref(), args.json);
    }
    let (from, to) = match (options::format(args.from.as_deref()), options::format(args.to.as_deref())) {
        (Ok(from), Ok(to)) => (from, to),
        (Err(error), _) | (_, Err(error)) => {
            complain(error);
            return Exit::Usage;
        }
    };
    let mut rows = Vec::new();
    for source in Format::all().filter(|f| from.is_none_or(|from| from == *f)) {
        let targets: Vec<&str> = converters::targets(source).into_iter().filter(|t| to.is_none_or(|to| to == *t)).map(Format::id).collect();
        if !targets.is_empty() {
            rows.push((source, targets));
        }
    }
    if args.json {
        let rows: Vec<_> = rows.iter().map(|(f, targets)| json!({"from": f, "family": f.family(), "name": f.name(), "to": targets})).collect();
        print(&format!("{}\n", json!(rows)));
    } else {
        rows.iter().for_each(|(f, targets)| print(&format!("{:<9} {:<8} -> {}\n", f.family(), f.id(), targets.join(" "))));
    }
    Exit::Done
}

/// Reads the configuration and the queues as `serve` would.
pub fn check_config(file: Option<&Path>, as_json: bool) -> Exit {
    let checked =
        Config::load(file, &environment()).and_then(|c| c.check_exposure(c.listen).and(c.check_redirect()).and_then(|()| c.queues()).map(|q| (c, q)));
    match checked {
        Ok((config, queues)) => {
            let Config { data_dir, listen, store, blobs, .. } = config;
            let (folder, count) = (data_dir.display(), queues.iter().count());
            if as_json {
                let (store, blobs) = (store.to_string(), blobs.to_string());
                print(&format!("{}\n", json!({"ok": true, "data_dir": data_dir, "store": store, "blobs": blobs, "listen": listen, "queues": count})));
                return Exit::Done;
            }
            print(&format!("ok: data in {folder}, jobs in {store}, bytes in {blobs}, listening on {listen}, {count} queues\n"));
            Exit::Done
        }
        Err(error) if as_json => {
            print(&format!("{}\n", json!({"ok": false, "error": error})));
            Exit::Usage
        }
        Err(error) => {
            complain(error);
            Exit::Usage
        }
    }
}
