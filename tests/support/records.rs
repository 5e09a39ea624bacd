//! Records and requests for the store's tests; times are seconds since 1970.

use jiff::Timestamp;
use millrace::failure::Failure;
use millrace::format::Format;
use millrace::intake::engine_job;
use millrace::job::{Input, JobId, Lease, Media};
use millrace::queue::Queues;
use millrace::store::{Finish, LeaseRequest, NewJob, Store};
use std::sync::Arc;

pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// An image job that is due at `second`.
pub fn new_job(second: i64) -> NewJob {
    let mut record = engine_job(&Queues::load(&[]).unwrap(), "image.transcode", at(second));
    record.job.queue = "image".into();
    record.job.unique_key = None;
    let format = Format::parse("png").unwrap();
    record.job.input = Some(Input { name: "picture.png".into(), size_bytes: 1, sha256: String::new(), format, media: Media::default() });
    NewJob { record, idempotency: None }
}

/// Inserts one job and returns its id.
pub async fn store_of(store: &Arc<dyn Store>, job: NewJob) -> JobId {
    let now = job.record.job.created_at;
    store.insert(vec![job], now).await.unwrap()[0].job().id
}

pub fn lease_request(max: usize, until: i64) -> LeaseRequest {
    LeaseRequest { queue: "image".into(), worker: "w".into(), max, rate_limit: None, until: at(until), sandbox_level: 3 }
}

pub fn finish(lease: Lease, failure: Option<Failure>, retry_at: Option<Timestamp>) -> Finish {
    Finish {
        lease,
        failure,
        retry_at,
        cpu_ms: 1,
        memory_peak_bytes: 1,
        scratch_peak_bytes: 1,
        sandbox_level: 3,
        media: None,
        output: None,
        reused: false,
        log: vec![],
    }
}
