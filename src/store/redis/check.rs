//! What the server must be: looked at once, at the start.

use super::stored::decode;
use crate::link::Link;
use crate::store::{Result, StoreError};
use ::redis::cmd;

/// Scripts that are refused whole when memory is full are new in 7.0.
const VERSION_MIN: u64 = 7;

/// Refuses a server that is too old, or that throws keys away when its memory is full; warns loudly of one that forgets all at its end.
pub async fn check(link: &Link) -> Result<()> {
    link.ask_one(&cmd("PING")).await?;
    let Ok(info) = link.ask_one(cmd("INFO").arg("everything")).await else {
        tracing::warn!("the store's user may not read INFO: version, maxmemory-policy and persistence of Redis were not looked at");
        return Ok(());
    };
    let info: String = decode(info)?;
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let version = field("redis_version").unwrap_or_default();
    if version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0u64) < VERSION_MIN {
        return Err(StoreError::Unavailable(format!("Redis {version} is too old: it must be {VERSION_MIN}.0 or newer")));
    }
    match field("maxmemory_policy") {
        Some("noeviction") => {}
        Some(policy) => {
            return Err(StoreError::Unavailable(format!(
                "Redis would throw jobs away when its memory is full: set maxmemory-policy to noeviction, it is {policy}"
            )));
        }
        None => tracing::warn!("Redis does not tell its maxmemory-policy; it must be noeviction"),
    }
    if field("aof_enabled") != Some("1") {
        tracing::warn!("Redis keeps no append-only file: its crash or restart LOSES JOBS. Set `appendonly yes` (appendfsync everysec, or always)");
    }
    Ok(())
}
