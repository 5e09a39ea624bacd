//! Searches by words within a state.

use super::on_every_store;
use crate::support::records::{at, finish, lease_request, new_job};
use millrace::failure::{Code, Failure};
use millrace::job::{JobId, Lease, State};
use millrace::store::Filter;

#[test]
fn the_few_jobs_of_a_state_are_searched_page_by_page() {
    on_every_store(|store| async move {
        let mut jobs: Vec<_> = (0..30).map(new_job).collect();
        jobs[4].record.job.input.as_mut().unwrap().name = "film.png".into();
        let ids: Vec<JobId> = jobs.iter().map(|new| new.record.job.id).collect();
        store.insert(jobs, at(40)).await.unwrap();
        for record in store.lease(lease_request(10, 90), at(50)).await.unwrap() {
            let lease = Lease { job: record.job.id, attempt: 1 };
            store.finish(finish(lease, Some(Failure::new(Code::Crashed, "x")), None), at(60)).await.unwrap().unwrap();
        }
        store.lease(lease_request(2, 90), at(70)).await.unwrap();
        let page = |state, text: &str, before| {
            let filter = Filter { state: Some(state), text: Some(text.into()), before, limit: 4, ..Filter::default() };
            let listed = store.list(filter);
            async { listed.await.unwrap().into_iter().map(|job| job.id).collect::<Vec<_>>() }
        };
        let failed = |wanted: &[usize]| wanted.iter().map(|n| ids[*n]).collect::<Vec<_>>();
        assert_eq!(page(State::Failed, "pict", None).await, failed(&[9, 8, 7, 6]));
        assert_eq!(page(State::Failed, "pict", Some(ids[6])).await, failed(&[5, 3, 2, 1]));
        assert_eq!(page(State::Failed, "pict crashed png", Some(ids[1])).await, failed(&[0]));
        assert_eq!(page(State::Running, "pict", None).await, failed(&[11, 10]));
        assert_eq!(page(State::Failed, "film", None).await, failed(&[4]));
        assert_eq!(page(State::Queued, "film", None).await, []);
    });
}
