//! Tokens, what they have used, and what admins did.

use super::SqliteStore;
use super::tables::{Tx, documents, one, rows, text};
use crate::access::{AuditEntry, Token};
use crate::store::access::day;
use crate::store::{AUDIT_KEPT, Access, Audit, Result, StoreError};
use jiff::Timestamp;
use rusqlite::params;
use std::collections::HashMap;

#[async_trait::async_trait]
impl Access for SqliteStore {
    async fn tokens(&self) -> Result<Vec<Token>> {
        self.read(|c| documents(c, "SELECT token FROM tokens ORDER BY id", &[])).await
    }

    async fn put_token(&self, token: Token) -> Result<()> {
        let slots = token.quota.slots.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        let sql = "INSERT OR REPLACE INTO tokens (id, token, slots) VALUES (?1, ?2, ?3)";
        self.write(move |tx| tx.execute(sql, params![token.id, text(&token)?, slots]).map(drop)).await
    }

    async fn revoke_token(&self, id: &str) -> Result<()> {
        let id = id.to_owned();
        self.write(move |tx| match tx.execute("DELETE FROM tokens WHERE id = ?1", [&id])? {
            0 => Err(StoreError::NotFound("token")),
            _ => Ok(()),
        })
        .await
    }

    async fn spend(&self, token: &str, bytes: u64, now: Timestamp) -> Result<u64> {
        let (token, bytes) = (token.to_owned(), i64::try_from(bytes).unwrap_or(i64::MAX));
        self.write(move |tx| {
            let sql = "INSERT INTO spent VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes RETURNING bytes";
            let total = one(tx.connection, sql, &[&token, &day(now), &bytes], |r| r.get::<_, i64>(0))?;
            Ok(total.unwrap_or(0).unsigned_abs())
        })
        .await
    }

    async fn owned(&self, token: &str) -> Result<u64> {
        let token = token.to_owned();
        self.read(move |c| {
            let sql = "SELECT count(*) FROM jobs INDEXED BY jobs_owned WHERE state < 2 AND owner IS NOT NULL AND owner = ?1";
            Ok(one(c, sql, &[&token], |r| r.get::<_, i64>(0))?.unwrap_or(0).unsigned_abs())
        })
        .await
    }
}

#[async_trait::async_trait]
impl Audit for SqliteStore {
    async fn note(&self, entry: AuditEntry) -> Result<()> {
        self.write(move |tx| tx.execute("INSERT OR REPLACE INTO audit VALUES (?1, ?2)", params![entry.id, text(&entry)?]).map(drop)).await
    }

    async fn audit(&self, before: Option<String>, limit: usize) -> Result<Vec<AuditEntry>> {
        let before = before.unwrap_or_else(|| "~".into());
        self.read(move |c| documents(c, "SELECT entry FROM audit WHERE id < ?1 ORDER BY id DESC LIMIT ?2", &[&before, &(limit as i64)])).await
    }
}

/// What each token may still start that has a number of slots.
pub fn slots_left(tx: &Tx<'_>) -> Result<HashMap<String, i64>> {
    let sql = "SELECT id, slots - (SELECT count(*) FROM jobs INDEXED BY jobs_running WHERE state = 1 AND owner IS NOT NULL AND owner = tokens.id)
               FROM tokens WHERE slots IS NOT NULL";
    Ok(rows(tx.connection, sql, &[], |r| Ok((r.get(0)?, r.get(1)?)))?.into_iter().collect())
}

/// Forgets what is past its time.
pub fn purge(tx: &Tx<'_>, now: Timestamp) -> Result<()> {
    let before = AuditEntry::first_id(now.saturating_sub(AUDIT_KEPT).unwrap_or(Timestamp::MIN));
    tx.execute("DELETE FROM audit WHERE id < ?1", [before])?;
    tx.execute("DELETE FROM spent WHERE day < ?1", [day(now) - 1]).map(drop)
}
