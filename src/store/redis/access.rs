//! Tokens, what they have used, and what admins did.

use super::RedisStore;
use super::stored::decode;
use crate::access::{AuditEntry, Token};
use crate::store::access::day;
use crate::store::{AUDIT_KEPT, Access, Audit, Result, StoreError, document};
use ::redis::cmd;
use jiff::Timestamp;

/// What was used of a day is of no interest when that is over.
const SPENT_KEPT_S: u64 = 2 * 86_400;

#[async_trait::async_trait]
impl Access for RedisStore {
    async fn tokens(&self) -> Result<Vec<Token>> {
        let mut tokens = self.table::<String>("tokens").await?.values().map(|text| document::parse(text)).collect::<Result<Vec<Token>>>()?;
        tokens.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(tokens)
    }

    async fn put_token(&self, token: Token) -> Result<()> {
        let put = cmd("HSET").arg(self.link().key("tokens")).arg(&token.id).arg(document::text(&token)?).clone();
        let slots = match token.quota.slots {
            Some(slots) => cmd("HSET").arg(self.link().key("slots")).arg(&token.id).arg(slots).clone(),
            None => cmd("HDEL").arg(self.link().key("slots")).arg(&token.id).clone(),
        };
        self.together(&[put, slots]).await.map(drop)
    }

    async fn revoke_token(&self, id: &str) -> Result<()> {
        let gone = |table: &str| cmd("HDEL").arg(self.link().key(table)).arg(id).clone();
        match self.together(&[gone("tokens"), gone("slots")]).await?.first() {
            None | Some(0) => Err(StoreError::NotFound("token")),
            _ => Ok(()),
        }
    }

    /// A repetition after a lost answer counts twice.
    async fn spend(&self, token: &str, bytes: u64, now: Timestamp) -> Result<u64> {
        let key = self.link().key(&format!("spent:{token}:{}", day(now)));
        let answers = self.together(&[cmd("INCRBY").arg(&key).arg(bytes).clone(), cmd("EXPIRE").arg(&key).arg(SPENT_KEPT_S).clone()]).await?;
        Ok(answers.first().copied().unwrap_or(0))
    }

    async fn owned(&self, token: &str) -> Result<u64> {
        let owned: Option<u64> = decode(self.link().ask_one(cmd("HGET").arg(self.link().key("owned")).arg(token)).await?)?;
        Ok(owned.unwrap_or(0))
    }
}

#[async_trait::async_trait]
impl Audit for RedisStore {
    async fn note(&self, entry: AuditEntry) -> Result<()> {
        let call = cmd("ZADD").arg(self.link().key("audit")).arg(0).arg(format!("{} {}", entry.id, document::text(&entry)?)).clone();
        self.link().ask_one(&call).await?;
        Ok(())
    }

    async fn audit(&self, before: Option<String>, limit: usize) -> Result<Vec<AuditEntry>> {
        let below = before.map_or("+".to_owned(), |id| format!("({id}"));
        let call = cmd("ZREVRANGEBYLEX").arg(self.link().key("audit")).arg(below).arg("-").arg("LIMIT").arg(0).arg(limit).clone();
        let found: Vec<String> = decode(self.link().ask_one(&call).await?)?;
        found.iter().map(|text| document::parse(text.split_once(' ').map_or("", |(_, json)| json))).collect()
    }
}

impl RedisStore {
    /// Forgets what is past its time.
    pub async fn purge_audit(&self, now: Timestamp) -> Result<()> {
        let before = AuditEntry::first_id(now.saturating_sub(AUDIT_KEPT).unwrap_or(Timestamp::MIN));
        let call = cmd("ZREMRANGEBYLEX").arg(self.link().key("audit")).arg("-").arg(format!("({before}")).clone();
        self.link().ask_one(&call).await?;
        Ok(())
    }
}
