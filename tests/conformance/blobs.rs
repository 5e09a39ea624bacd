//! What every keeper of bytes must do.

use super::on_every_blobs;
use jiff::{SignedDuration, Timestamp};
use millrace::blobs::{BlobError, Blobs};
use std::path::{Path, PathBuf};
use tokio::io::AsyncReadExt;

fn staged(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("staged");
    std::fs::write(&path, text).unwrap();
    path
}

async fn read(blobs: &dyn Blobs, key: &str, range: Option<std::ops::Range<u64>>) -> (u64, String) {
    let mut opened = blobs.open(key, range).await.unwrap();
    let mut text = String::new();
    opened.bytes.read_to_string(&mut text).await.unwrap();
    (opened.size_bytes, text)
}

#[test]
fn what_is_published_is_read_back_whole_and_in_part() {
    on_every_blobs(|blobs, folder| async move {
        let path = staged(&folder, "0123456789");
        blobs.publish(&path, "jobs/a/1/0").await.unwrap();
        assert!(!path.exists(), "the staged file has moved");
        for (range, text) in [(None, "0123456789"), (Some(2..5), "234"), (Some(8..99), "89"), (Some(10..12), ""), (Some(0..0), "")] {
            assert_eq!(read(&*blobs, "jobs/a/1/0", range.clone()).await, (10, text.to_owned()), "{range:?}");
        }
        let local = blobs.fetch("jobs/a/1/0").await.unwrap();
        assert_eq!(std::fs::read_to_string(local.path()).unwrap(), "0123456789");
    });
}

#[test]
fn what_is_deleted_is_gone_and_deleting_it_again_is_no_fault() {
    on_every_blobs(|blobs, folder| async move {
        for key in ["jobs/a/1/0", "jobs/a/1/1"] {
            blobs.publish(&staged(&folder, "x"), key).await.unwrap();
            blobs.fetch(key).await.unwrap();
        }
        for _ in 0..2 {
            blobs.delete("jobs/a/1/0").await.unwrap();
        }
        assert!(matches!(blobs.open("jobs/a/1/0", None).await, Err(BlobError::NotFound(_))));
        assert!(matches!(blobs.fetch("jobs/a/1/0").await, Err(BlobError::NotFound(_))));
        assert_eq!(read(&*blobs, "jobs/a/1/1", None).await.1, "x");
    });
}

#[test]
fn a_copy_has_the_same_bytes_and_outlives_what_it_was_made_of() {
    on_every_blobs(|blobs, folder| async move {
        blobs.publish(&staged(&folder, "0123456789"), "jobs/a/1/0").await.unwrap();
        blobs.copy("jobs/a/1/0", "jobs/b/1/0").await.unwrap();
        blobs.copy("jobs/b/1/0", "jobs/c/1/7").await.unwrap();
        // A call that was repeated has done no harm.
        blobs.copy("jobs/a/1/0", "jobs/b/1/0").await.unwrap();
        assert_eq!(read(&*blobs, "jobs/a/1/0", None).await, (10, "0123456789".to_owned()));
        for gone in ["jobs/a/1/0", "jobs/b/1/0"] {
            blobs.delete(gone).await.unwrap();
        }
        assert_eq!(read(&*blobs, "jobs/c/1/7", Some(2..5)).await, (10, "234".to_owned()));
        assert!(matches!(blobs.open("jobs/b/1/0", None).await, Err(BlobError::NotFound(_))));
        for (from, to) in [("jobs/a/1/0", "jobs/d/1/0"), ("../secret", "jobs/d/1/0"), ("jobs/c/1/7", "../d")] {
            assert!(matches!(blobs.copy(from, to).await, Err(BlobError::NotFound(_))), "{from} {to}");
        }
        assert_eq!(blobs.list_stale(Timestamp::MAX).await.unwrap(), ["jobs/c/1/7"]);
    });
}

#[test]
fn keys_cannot_leave_the_store() {
    on_every_blobs(|blobs, folder| async move {
        std::fs::write(folder.join("secret"), "secret").unwrap();
        for key in ["", "../secret", "/etc/passwd", "a/../../secret", "."] {
            assert!(blobs.open(key, None).await.is_err(), "{key}");
            assert!(blobs.fetch(key).await.is_err(), "{key}");
            assert!(blobs.publish(&staged(&folder, "x"), key).await.is_err(), "{key}");
            assert!(blobs.delete(key).await.is_err(), "{key}");
        }
        assert_eq!(std::fs::read_to_string(folder.join("secret")).unwrap(), "secret");
    });
}

#[test]
fn stale_blobs_are_listed_by_age() {
    on_every_blobs(|blobs, folder| async move {
        for key in ["jobs/a/1/0", "uploads/b"] {
            blobs.publish(&staged(&folder, "x"), key).await.unwrap();
        }
        let hour = SignedDuration::from_hours(1);
        let mut stale = blobs.list_stale(Timestamp::now() + hour).await.unwrap();
        stale.sort();
        assert_eq!(stale, ["jobs/a/1/0", "uploads/b"]);
        assert_eq!(blobs.list_stale(Timestamp::now() - hour).await.unwrap(), Vec::<String>::new());
    });
}

#[test]
fn a_file_that_is_not_there_cannot_be_published() {
    on_every_blobs(|blobs, folder| async move {
        assert!(blobs.publish(&folder.join("missing"), "jobs/a/1/0").await.is_err());
        assert!(matches!(blobs.open("jobs/a/1/0", None).await, Err(BlobError::NotFound(_))));
    });
}

#[test]
fn publishing_and_deleting_side_by_side_disturb_nobody() {
    on_every_blobs(|blobs, folder| async move {
        let side = |n: usize| {
            let (blobs, folder) = (blobs.clone(), folder.clone());
            async move {
                for round in 0..100 {
                    let (path, key) = (folder.join(format!("{n}")), format!("uploads/{n}-{round}"));
                    std::fs::write(&path, "x").unwrap();
                    blobs.publish(&path, &key).await.unwrap();
                    blobs.delete(&key).await.unwrap();
                }
            }
        };
        futures::future::join_all((0..4).map(side)).await;
        assert_eq!(blobs.list_stale(Timestamp::MAX).await.unwrap(), Vec::<String>::new());
    });
}
