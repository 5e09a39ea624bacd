//! Bytes in S3: large files, links that break, servers that restart, buckets that refuse, and the service upon it.

use crate::support::direct::fixture;
use crate::support::s3::{BUCKET, PREFIX, S3Server};
use crate::support::server::{Config, Server, client, text_of};
use millrace::blobs::s3::S3Blobs;
use millrace::blobs::{BlobError, Blobs, Cache, LinkHeaders, Links};
use reqwest::Method;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// Three parts, the last one short.
const LARGE: usize = (20 << 20) + 123;
const KEY: &str = "jobs/a/1/0";

/// A bucket on a server, and a folder for files and copies.
struct Bucket {
    server: S3Server,
    folder: tempfile::TempDir,
    blobs: S3Blobs,
}

impl Bucket {
    async fn open() -> Bucket {
        let (server, folder) = (S3Server::start().await, tempfile::tempdir().unwrap());
        let blobs = open(server.variables(), folder.path()).await.unwrap();
        Bucket { server, folder, blobs }
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    async fn read(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.blobs.open(KEY, None).await.unwrap().bytes.read_to_end(&mut bytes).await.unwrap();
        bytes
    }
}

async fn open(variables: Vec<(String, String)>, folder: &Path) -> Result<S3Blobs, BlobError> {
    S3Blobs::open(BUCKET, PREFIX, variables, Cache::open(&folder.join("cache"), 64 << 20)?).await
}

/// Bytes in which every part differs from every other.
fn large() -> Vec<u8> {
    (0..LARGE as u32 / 4 + 1).flat_map(u32::to_le_bytes).take(LARGE).collect()
}

fn words(error: BlobError) -> String {
    error.to_string()
}

#[tokio::test]
async fn a_large_file_goes_in_parts_and_comes_back_whole() {
    let (bucket, bytes) = (Bucket::open().await, large());
    bucket.blobs.publish(&bucket.file(&bytes), KEY).await.unwrap();
    assert_eq!(std::fs::metadata(bucket.server.object(KEY)).unwrap().len(), LARGE as u64);
    assert!(bucket.read().await == bytes);
    let across = (8 << 20) - 5..(8 << 20) + 5;
    let mut part = Vec::new();
    let mut opened = bucket.blobs.open(KEY, Some(across.start as u64..across.end as u64)).await.unwrap();
    assert_eq!(opened.size_bytes, LARGE as u64);
    opened.bytes.read_to_end(&mut part).await.unwrap();
    assert_eq!(part, bytes[across]);
    assert!(std::fs::read(bucket.blobs.fetch(KEY).await.unwrap().path()).unwrap() == bytes);
}

#[tokio::test]
async fn a_server_that_restarts_in_the_middle_of_an_upload_gets_the_rest_afterwards() {
    let (mut bucket, bytes) = (Bucket::open().await, large());
    let file = bucket.file(&bytes);
    // The upload is begun and one part is there.
    bucket.server.hold_after(2);
    let restart = async {
        bucket.server.holds().await;
        bucket.server.restart().await;
    };
    let (published, ()) = tokio::join!(bucket.blobs.publish(&file, KEY), restart);
    published.unwrap();
    assert!(bucket.read().await == bytes);
    assert!(!file.exists());
}

#[tokio::test]
async fn errors_of_the_server_and_cut_links_are_nothing_to_those_who_wait() {
    let (bucket, bytes) = (Bucket::open().await, large());
    for content in [&bytes[..], &bytes[..1000]] {
        bucket.server.answer(2, 500, "InternalError");
        bucket.blobs.publish(&bucket.file(content), KEY).await.unwrap();
        bucket.server.cut_after(content.len() / 2);
        bucket.blobs.publish(&bucket.file(content), KEY).await.unwrap();
        assert!(bucket.server.has_cut());
        bucket.server.answer(2, 503, "SlowDown");
        assert!(bucket.read().await == content);
        bucket.server.cut_after(content.len() / 2);
        assert!(bucket.read().await == content);
        assert!(bucket.server.has_cut());
        bucket.server.cut_after(content.len() / 2);
        assert!(std::fs::read(bucket.blobs.fetch(KEY).await.unwrap().path()).unwrap() == content);
        assert!(bucket.server.has_cut());
        bucket.blobs.delete(KEY).await.unwrap();
    }
}

#[tokio::test]
async fn a_bucket_that_refuses_is_told_in_words_for_an_admin() {
    let bucket = Bucket::open().await;
    let file = bucket.file(b"x");
    bucket.server.answer(usize::MAX, 403, "AccessDenied");
    for refused in [
        bucket.blobs.publish(&file, KEY).await.map_err(words),
        bucket.blobs.open(KEY, None).await.map(drop).map_err(words),
        bucket.blobs.delete(KEY).await.map_err(words),
    ] {
        let text = refused.unwrap_err();
        assert!(text.contains("s3://media/millrace/test") && text.contains("s3:PutObject"), "{text}");
    }
    assert!(file.exists(), "what could not be published is still there");
    bucket.server.answer(usize::MAX, 403, "QuotaExceeded");
    assert!(matches!(bucket.blobs.publish(&file, KEY).await, Err(BlobError::Full)));

    bucket.server.answer(0, 200, "");
    let mut wrong_key = bucket.server.variables();
    wrong_key.push(("AWS_SECRET_ACCESS_KEY".into(), "wrong".into()));
    let mut no_http = bucket.server.variables();
    no_http.retain(|(name, _)| name != "AWS_ALLOW_HTTP");
    for (variables, word) in [(wrong_key, "AWS_SECRET_ACCESS_KEY"), (no_http, "AWS_ALLOW_HTTP")] {
        let text = words(open(variables, bucket.folder.path()).await.err().expect("it is refused"));
        assert!(text.contains(word), "{text}");
    }
    std::fs::remove_dir_all(bucket.server.object("").parent().unwrap().parent().unwrap()).unwrap();
    let text = words(open(bucket.server.variables(), bucket.folder.path()).await.err().expect("it is refused"));
    assert!(text.contains("no such bucket"), "{text}");
}

#[tokio::test]
async fn a_link_opens_its_own_blob_with_its_own_headers_and_nothing_else() {
    let bucket = Bucket::open().await;
    bucket.blobs.publish(&bucket.file(b"0123456789"), KEY).await.unwrap();
    let headers = LinkHeaders { content_type: "image/webp".into(), content_disposition: "attachment; filename=\"a b.webp\"".into() };
    let link = bucket.blobs.link(KEY, &headers, Duration::from_secs(60)).await.unwrap();
    assert!(link.contains("response-content-type=image%2Fwebp") && link.contains("filename%3D%22a%20b.webp%22"), "{link}");
    let get = |link: String| async move { client(None).get(link).header("range", "bytes=2-4").send().await.unwrap() };
    let answer = get(link.clone()).await;
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (206, "234"));
    for (from, to) in [("a%20b.webp", "b.html"), ("image%2Fwebp", "text%2Fhtml"), ("jobs/a/1/0", "jobs/a/1/1")] {
        let tampered = link.replace(from, to);
        assert_ne!(tampered, link);
        assert_eq!(get(tampered).await.status().as_u16(), 403, "{from}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_keeps_inputs_and_outputs_in_s3() {
    let s3 = S3Server::start().await;
    let picture = std::fs::read(fixture("image/png/good/scene.png")).unwrap();
    for redirect in ["false", "true"] {
        let server = Server::start(Config::default().s3(&s3).variable("OUTPUTS_REDIRECT", redirect)).await;
        let upload = server.upload("a.png", picture.clone()).await;
        assert!(std::fs::read(s3.object(&format!("uploads/{upload}"))).unwrap() == picture);
        let job = server.send(Method::POST, "/v1/jobs", &json!({"input": {"upload": upload}, "to": "webp"})).await.json().await.unwrap();
        let job = server.ended(&text_of(&job, "id")).await;
        assert_eq!(job["state"], "succeeded", "{job}");
        let output = &job["outputs"][0];
        let answer = server.get(output["url"].as_str().unwrap()).await;
        let bytes = match redirect {
            "true" => {
                assert_eq!(answer.status(), 307);
                let head = server.request(Method::HEAD, output["url"].as_str().unwrap()).send().await.unwrap();
                assert_eq!(head.status(), 200, "a link answers GET only");
                client(None).get(answer.headers()["location"].to_str().unwrap()).send().await.unwrap()
            }
            _ => answer,
        };
        assert_eq!(bytes.status(), 200);
        assert_eq!(bytes.bytes().await.unwrap().len() as u64, output["size_bytes"].as_u64().unwrap());
        let copies = server.data_dir().join("blobs-cache").join(format!("uploads+{upload}"));
        assert!(std::fs::read(copies).unwrap() == picture, "the input's copy is kept");
        assert!(!server.data_dir().join("blobs").exists());
        server.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_site_has_put_into_its_bucket_is_read_and_left_alone() {
    let s3 = S3Server::start().await;
    let server = Server::start(Config::default().s3(&s3).variable("INPUTS_BLOBS", "incoming/")).await;
    let picture = std::fs::read(fixture("image/png/good/scene.png")).unwrap();
    let put = |key: &str| {
        std::fs::create_dir_all(s3.object(key).parent().unwrap()).unwrap();
        std::fs::write(s3.object(key), &picture).unwrap();
        // Older than anything that may still be under way.
        let old = std::time::SystemTime::now() - Duration::from_secs(7200);
        std::fs::File::options().write(true).open(s3.object(key)).unwrap().set_modified(old).unwrap();
    };
    for key in ["incoming/a/scene.png", "private/scene.png", "uploads/nobodys"] {
        put(key);
    }
    let upload = server.upload("scene.png", picture.clone()).await;
    let submit = async |key: &str| server.send(Method::POST, "/v1/jobs", &json!({"input": {"blob": key}, "to": "webp"})).await;
    let job: serde_json::Value = submit("incoming/a/scene.png").await.json().await.unwrap();
    let job = server.ended(&text_of(&job, "id")).await;
    assert_eq!((&job["state"], &job["input"]["name"], &job["from"]), (&json!("succeeded"), &json!("scene.png"), &json!("png")), "{job}");
    assert_eq!(job["input"]["sha256"], hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&picture)));
    for key in [
        "private/scene.png",
        "incoming/none.png",
        "incoming/../private/scene.png",
        "incoming//a/scene.png",
        "incoming/",
        &format!("uploads/{upload}"),
    ] {
        let refused = submit(key).await;
        assert_eq!((refused.status().as_u16(), text_of(&refused.json().await.unwrap(), "field").as_str()), (404, "input.blob"), "{key}");
    }
    server.send(Method::POST, "/v1/schedules/purge-staging/run", &json!({})).await;
    server.until("/v1/jobs?queue=cleanup", |page| page["jobs"][0]["state"] == "succeeded").await;
    assert!(!s3.object("uploads/nobodys").exists(), "what nobody needs of ours is gone");
    assert!(s3.object("incoming/a/scene.png").exists() && s3.object("private/scene.png").exists(), "the site's own is not");
    server.stop();
}
