//! Equal jobs, as [`Reuse`] has them; insert.lua lets them follow one another.

use super::RedisStore;
use super::scripts::ANSWER;
use super::stored::Stored;
use crate::job::Record;
use crate::store::{Result, Reuse};

#[async_trait::async_trait]
impl Reuse for RedisStore {
    async fn answer(&self, reuse_key: &str) -> Result<Option<Record>> {
        let found = self.link().ask_one(ANSWER.call(self.link().prefix()).arg(reuse_key)).await?;
        Ok(Stored::read(found)?.map(|stored| stored.record))
    }
}
