//! Searches by words.

use super::on_every_store;
use crate::support::records::{at, finish, lease_request, new_job};
use millrace::failure::{Code, Failure};
use millrace::job::{JobId, Lease, State};
use millrace::store::sqlite::SqliteStore;
use millrace::store::{Filter, Jobs, NewJob, Store};
use std::sync::Arc;

async fn found(store: &Arc<dyn Store>, filter: Filter) -> Vec<JobId> {
    store.list(filter).await.unwrap().into_iter().map(|job| job.id).collect()
}

fn text(text: &str) -> Filter {
    Filter { text: Some(text.into()), limit: 500, ..Filter::default() }
}

fn named(second: i64, name: &str) -> NewJob {
    let mut new = new_job(second);
    new.record.job.input.as_mut().unwrap().name = name.into();
    new
}

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

#[test]
fn a_word_that_most_jobs_have_is_read_newest_first_and_joined_with_any_other() {
    on_every_store(|store| async move {
        // More than are looked at in one step, and more words that begin so than are looked for.
        let jobs: Vec<_> = (0..3000).map(|n| named(n, &format!("film-{}{n}.mkv", if n % 1000 == 7 { "rare-" } else { "a" }))).collect();
        let ids: Vec<JobId> = jobs.iter().map(|new| new.record.job.id).collect();
        for some in jobs.chunks(500) {
            store.insert(some.to_vec(), at(4000)).await.unwrap();
        }
        let of = |positions: &[usize]| positions.iter().map(|n| ids[*n]).collect::<Vec<_>>();
        let page = |filter: Filter, before: Option<usize>| Filter { before: before.map(|n| ids[n]), limit: 3, ..filter };
        assert_eq!(found(&store, page(text("film"), None)).await, of(&[2999, 2998, 2997]));
        assert_eq!(found(&store, page(text("fi"), Some(1500))).await, of(&[1499, 1498, 1497]));
        assert_eq!(found(&store, page(text("film rare"), None)).await, of(&[2007, 1007, 7]));
        assert_eq!(found(&store, page(text("film a17"), None)).await, of(&[1799, 1798, 1797]));
        assert_eq!(found(&store, page(text("a2 a"), Some(2001))).await, of(&[2000, 299, 298]));
        assert_eq!(found(&store, page(text("mkv film-a17"), None)).await, of(&[1799, 1798, 1797]));
        assert_eq!(found(&store, page(text("film opera"), None)).await, []);
        // The time in an id's beginning is shared by many.
        let beginning = &ids[7].to_string()[..6];
        assert_eq!(found(&store, page(text(&format!("{beginning} rare")), None)).await, of(&[2007, 1007, 7]));
        assert_eq!(found(&store, text(&ids[1234].to_string())).await, of(&[1234]));
        store.cancel(ids[40], millrace::job::CancelMode::Soft, at(4001)).await.unwrap();
        assert_eq!(found(&store, Filter { state: Some(State::Cancelled), ..text("film") }).await, of(&[40]));
        store.remove(ids[40]).await.unwrap();
        assert_eq!(found(&store, Filter { state: Some(State::Cancelled), ..text("film") }).await, []);
        assert_eq!(found(&store, Filter { since: Some(at(39)), until: Some(at(42)), ..text("film") }).await, of(&[41, 39]));
    });
}

#[test]
fn accents_make_no_difference() {
    on_every_store(|store| async move {
        let jobs = vec![named(0, "Rodéo à Zürich.mkv"), named(1, "rodeo a zurich.mkv"), named(2, "Rode\u{301}o.mkv"), named(3, "rondo.mkv")];
        let ids: Vec<JobId> = jobs.iter().map(|new| new.record.job.id).collect();
        store.insert(jobs, at(10)).await.unwrap();
        for typed in ["rodeo", "RODÉO", "rodé"] {
            assert_eq!(found(&store, text(typed)).await, [ids[2], ids[1], ids[0]], "{typed}");
        }
        assert_eq!(found(&store, text("zürich")).await, [ids[1], ids[0]]);
    });
}

#[test]
fn a_database_of_an_older_program_is_searched_as_well() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("old.db");
    runtime.block_on(async {
        let id = SqliteStore::open(&file).unwrap().insert(vec![named(0, "holiday.png")], at(0)).await.unwrap()[0].job().id;
        // What version 8 and later ones have made, unmade.
        let old = rusqlite::Connection::open(&file).unwrap();
        old.execute_batch(
            "DROP INDEX jobs_equal; ALTER TABLE jobs DROP COLUMN reuse_key; DROP TABLE job_words; DROP INDEX jobs_lane; DROP INDEX jobs_format; DROP INDEX jobs_owner; ALTER TABLE jobs DROP COLUMN words;
             CREATE TABLE job_text (words TEXT); CREATE INDEX jobs_state ON jobs (state, seq); CREATE INDEX jobs_queue ON jobs (queue, seq);
             CREATE INDEX jobs_owner ON jobs (owner, seq) WHERE owner IS NOT NULL; PRAGMA user_version = 7;",
        )
        .unwrap();
        drop(old);
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&file).unwrap());
        assert_eq!(found(&store, text("holi")).await, [id]);
        store.cancel(id, millrace::job::CancelMode::Soft, at(1)).await.unwrap();
        assert_eq!(found(&store, text("holiday cancelled")).await, [id]);
        store.remove(id).await.unwrap();
        assert_eq!(found(&store, text("holi")).await, []);
    });
}
