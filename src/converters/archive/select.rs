//! Which entries are taken, and under which path.

use super::entry::{Entry, Kind};
use super::fault::shown;
use super::options::{OnDuplicate, Options};
use crate::failure::{Code, Failure};
use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use std::collections::HashSet;

pub fn glob(pattern: &str) -> Result<Glob, String> {
    GlobBuilder::new(pattern).literal_separator(true).build().map_err(|e| e.to_string())
}

/// The choice, and the paths taken so far.
pub struct Selection {
    include: Option<GlobSet>,
    exclude: GlobSet,
    on_duplicate: OnDuplicate,
    taken: HashSet<String>,
    folders: HashSet<String>,
    links: HashSet<String>,
    pub warnings: Vec<String>,
}

impl Selection {
    pub fn new(options: &Options) -> Result<Selection, Failure> {
        let set = |patterns: &[String]| {
            let mut builder = GlobSetBuilder::new();
            for pattern in patterns {
                builder.add(glob(pattern).map_err(|e| Failure::new(Code::InvalidOption, "A pattern is not valid.").detail(e))?);
            }
            builder.build().map_err(|e| Failure::new(Code::InvalidOption, "The patterns are too large.").detail(e))
        };
        Ok(Selection {
            include: if options.include.is_empty() { None } else { Some(set(&options.include)?) },
            exclude: set(&options.exclude)?,
            on_duplicate: options.on_duplicate,
            taken: HashSet::new(),
            folders: HashSet::new(),
            links: HashSet::new(),
            warnings: Vec::new(),
        })
    }

    /// Whether the entry is taken; then its path is its own among all taken. Hazards end the conversion, wanted or not.
    pub fn take(&mut self, entry: &mut Entry) -> Result<bool, Failure> {
        if let Some(hazard) = &entry.hazard {
            return Err(hazard.clone());
        }
        if entry.path.is_empty() {
            return Ok(false);
        }
        let mut parent = entry.path.as_str();
        while let Some((folder, _)) = parent.rsplit_once('/') {
            if self.links.contains(folder) {
                let words = format!("The entry `{}` lies behind a link.", shown(&entry.path));
                return Err(Failure::new(Code::PolicyViolation, words).stage("open"));
            }
            parent = folder;
        }
        if matches!(entry.kind, Kind::Symlink(_)) {
            self.links.insert(entry.path.clone());
        }
        if !self.include.as_ref().is_none_or(|set| set.is_match(&entry.path)) || self.exclude.is_match(&entry.path) {
            return Ok(false);
        }
        if entry.is_folder() {
            return Ok(self.folders.insert(entry.path.clone()));
        }
        if self.taken.contains(&entry.path) || self.folders.contains(&entry.path) {
            if self.on_duplicate == OnDuplicate::Refuse {
                let words = format!("The archive has more than one entry `{}`.", shown(&entry.path));
                return Err(Failure::corrupt(words).hint("Set on_duplicate to rename to keep them all.").stage("open"));
            }
            let free = self.free_path(&entry.path);
            self.warn(format!("A second `{}` was renamed to `{}`.", shown(&entry.path), shown(&free)));
            entry.path = free;
        }
        self.taken.insert(entry.path.clone());
        Ok(true)
    }

    fn free_path(&self, path: &str) -> String {
        let (folder, name) = path.rsplit_once('/').map_or(("", path), |(f, n)| (f, n));
        let (stem, extension) =
            name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map_or((name, String::new()), |(s, e)| (s, format!(".{e}")));
        let slash = if folder.is_empty() { "" } else { "/" };
        let free = (2u64..).map(|n| format!("{folder}{slash}{stem} ({n}){extension}")).find(|p| !self.taken.contains(p) && !self.folders.contains(p));
        free.unwrap_or_else(|| path.to_owned())
    }

    /// Whether a file of this path has been taken.
    pub fn has(&self, path: &str) -> bool {
        self.taken.contains(path)
    }

    /// Adds a warning; after a hundred only their number would be news.
    pub fn warn(&mut self, warning: String) {
        if self.warnings.len() < 100 {
            self.warnings.push(warning);
        }
    }
}
