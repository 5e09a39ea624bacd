//! The port to results that equal jobs have in common.

use super::Result;
use crate::job::Record;

/// Jobs are equal when their records have the same `reuse_key`; those without one share nothing.
///
/// **Answered**: a worker that begins an attempt of such a job asks for an equal one that has finished, and copies its outputs. Which
/// token sent that one makes no difference.
///
/// **In flight**: a job that [`Jobs::insert`](super::Jobs::insert) makes due at once follows an equal one, where there is one to lead it:
/// - The *leader* is of the same token, itself waits for nobody, and either runs, or is queued and due with the same fairness key and at
///   least the follower's priority: by itself the follower would have been no sooner. One that was due when it came counts as due, though
///   it came a moment later by its own clock: jobs that come at once are kept in any order. Of several it is the oldest. So nobody
///   follows a follower.
/// - The follower is `queued` and has the leader in `waiting_on`, but not in `after`. An id that is in the first alone lets go on any
///   end: the leader's success, failure, cancellation, expiry and purge all make the follower due, at that moment. An attempt that ends
///   with the leader queued again (a retry, an interruption, a lost lease) is no end.
/// - Then the follower's attempt is answered from the leader, if that has succeeded. If not, each follower runs unless it finds an equal
///   job finished by then: no more of them convert at once than there are slots.
/// - A follower that ends while it waits (cancelled, expired, purged) forgets its leader; retried, it follows nobody. A retried leader
///   may lead again.
#[async_trait::async_trait]
pub trait Reuse {
    /// A job with this key that has succeeded in full and whose outputs are stored ([`Record::is_whole`]); of several the one that ended last.
    async fn answer(&self, reuse_key: &str) -> Result<Option<Record>>;
}
