//! What belongs to whom: a token's files and jobs are its own, and no more than its quota allows.

use super::{Intake, Owner, Request, not_found, request, store};
use crate::access::Quota;
use crate::failure::{Refusal, RefusalKind};
use crate::job::{JobId, Upload};
use crate::limits::Size;
use crate::store::{Inserted, Store};
use jiff::Timestamp;
use serde::Serialize;
use tokio::io::AsyncRead;

impl Intake {
    /// Keeps a file for its owner, and counts it.
    pub async fn receive_for(&self, owner: Option<&Owner>, name: &str, bytes: impl AsyncRead + Unpin, now: Timestamp) -> Result<Upload, Refusal> {
        let Some(owner) = owner else { return self.receive(name, bytes, now).await };
        let left = self.left(owner, now).await?;
        let upload = self.receive_up_to(left.unwrap_or(Size(u64::MAX)), name, bytes, now).await.map_err(|refusal| match left {
            Some(left) if refusal.kind == RefusalKind::TooLarge && left < self.upload_max() => {
                over("bytes_per_day", format!("{left} of today's {} are left", owner.quota.bytes_per_day.unwrap_or(left)))
            }
            _ => refusal,
        })?;
        let upload = Upload { owner: Some(owner.token.clone()), ..upload };
        self.store.spend(&owner.token, upload.size_bytes, now).await.map_err(store)?;
        self.store.put_upload(upload.clone()).await.map_err(store)?;
        Ok(upload)
    }

    /// Counts a file of this size before it comes, if there is room for it.
    pub async fn reserve(&self, owner: Option<&Owner>, size_bytes: u64, now: Timestamp) -> Result<(), Refusal> {
        let Some(owner) = owner else { return Ok(()) };
        if let Some(left) = self.left(owner, now).await?.filter(|left| size_bytes > left.0) {
            return Err(over("bytes_per_day", format!("{left} of today's {} are left", owner.quota.bytes_per_day.unwrap_or(left))));
        }
        self.store.spend(&owner.token, size_bytes, now).await.map(drop).map_err(store)
    }

    /// What is left of an owner's day; none: it is not limited.
    async fn left(&self, owner: &Owner, now: Timestamp) -> Result<Option<Size>, Refusal> {
        let Quota { bytes_per_day: Some(max), .. } = owner.quota else { return Ok(None) };
        let spent = self.store.spend(&owner.token, 0, now).await.map_err(store)?;
        match max.0.saturating_sub(spent) {
            0 => Err(over("bytes_per_day", format!("today's {max} are used up"))),
            left => Ok(Some(Size(left))),
        }
    }

    /// How many more jobs an owner may have now.
    pub async fn room(&self, owner: &Owner) -> Result<u64, Refusal> {
        let Some(max) = owner.quota.jobs else { return Ok(u64::MAX) };
        Ok(max.saturating_sub(self.store.owned(&owner.token).await.map_err(store)?))
    }

    /// An owner may send one more job.
    pub(super) async fn check_owner(&self, request: &Request) -> Result<(), Refusal> {
        let Some(owner) = &request.owner else { return Ok(()) };
        if self.room(owner).await? == 0 {
            return Err(over("jobs", format!("{} are queued or running", owner.quota.jobs.unwrap_or(0))));
        }
        for (n, id) in request.after.iter().enumerate() {
            self.check_own(owner, *id, &format!("after[{n}]")).await?;
        }
        Ok(())
    }

    /// Another token's job is not told from one that does not exist.
    pub(super) async fn check_own(&self, owner: &Owner, id: JobId, field: &str) -> Result<(), Refusal> {
        let found = self.store.get(id).await.ok().filter(|record| record.owner.as_deref() == Some(&owner.token));
        found.map(drop).ok_or_else(|| not_found(field, id, "There is no such job."))
    }
}

/// A client's key for a request, and what the request was: one token's keys are nothing to another's.
pub fn idempotency(owner: Option<&Owner>, key: &str, request: &impl Serialize) -> (String, String) {
    (owner.map_or_else(|| key.to_owned(), |owner| format!("{}:{key}", owner.token)), request::digest(request))
}

/// Whether somebody may use what belongs to this token: without an owner it is the site's, and for everybody it lets in.
pub fn is_open(of: Option<&str>, to: Option<&Owner>) -> bool {
    of.is_none() || to.is_none_or(|owner| of == Some(owner.token.as_str()))
}

/// A job that a unique key stands for may be another token's.
pub(super) async fn check_inserted(store: &dyn Store, owner: Option<&Owner>, inserted: &Inserted) -> Result<(), Refusal> {
    let (Some(owner), Inserted::Existing(job)) = (owner, inserted) else { return Ok(()) };
    let is_own = store.get(job.id).await.is_ok_and(|record| record.owner.as_deref() == Some(&owner.token));
    let taken = || Refusal::new(RefusalKind::Conflict, "This unique_key is in use.").field("unique_key");
    if is_own { Ok(()) } else { Err(taken()) }
}

fn over(what: &str, why: String) -> Refusal {
    Refusal::new(RefusalKind::TooMany, format!("The token's quota is exhausted: {why}.")).field(format!("quota.{what}"))
}
