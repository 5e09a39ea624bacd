//! The port to tokens, what they have used, and what admins did.

use super::Result;
use crate::access::{AuditEntry, Token};
use jiff::{SignedDuration, Timestamp};

/// How long it can be read back what admins did.
pub const AUDIT_KEPT: SignedDuration = SignedDuration::from_hours(365 * 24);

#[async_trait::async_trait]
pub trait Access {
    /// By age. Those with the same id replace one another.
    async fn tokens(&self) -> Result<Vec<Token>>;
    async fn put_token(&self, token: Token) -> Result<()>;
    /// The token is worth nothing any more. Its jobs stay.
    async fn revoke_token(&self, id: &str) -> Result<()>;
    /// Counts bytes for a token's day, `now`'s by UTC; returns what the day has come to.
    async fn spend(&self, token: &str, bytes: u64, now: Timestamp) -> Result<u64>;
    /// How many of a token's jobs are queued or running.
    async fn owned(&self, token: &str) -> Result<u64>;
}

#[async_trait::async_trait]
pub trait Audit {
    async fn note(&self, entry: AuditEntry) -> Result<()>;
    /// Newest first, below this id.
    async fn audit(&self, before: Option<String>, limit: usize) -> Result<Vec<AuditEntry>>;
}

/// The day that a moment belongs to.
pub fn day(now: Timestamp) -> i64 {
    now.as_second().div_euclid(86_400)
}
