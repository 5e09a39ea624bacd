//! Other people's programs, as the steps of scripts/setup.d have put them in place.

use std::path::PathBuf;

/// The folder of one step.
pub fn folder(step: &str) -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"), PathBuf::from);
    let folder = cache.join("millrace").join(step);
    assert!(folder.join("wanted").exists(), "{} is missing: run scripts/setup", folder.display());
    folder
}
