//! [`Blobs`] in an S3-compatible bucket, below a prefix that is the service's own.
//!
//! Keys are written once, so nothing rests on conditional requests, which some servers ignore, and each request may be repeated.
//! Requests are: PUT, multipart upload, CopyObject, GET with ranges, HEAD, DELETE and ListObjectsV2.

mod upload;
mod words;

use super::{BlobError, Blobs, Cache, Fetched, LinkHeaders, Links, Opened, Range, SizeKnown, check_key};
use futures::TryStreamExt;
use jiff::Timestamp;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Location;
use object_store::signer::{Method, SignedUrlOptions, Signer};
use object_store::{BackoffConfig, ClientOptions, GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt, RetryConfig};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio_util::io::StreamReader;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// From the beginning of a request to its answer's head, and between two pieces of its body.
const SILENCE: Duration = Duration::from_secs(60);
/// A request that fails is repeated this often, for this long.
const REPEATS_MAX: usize = 8;
const REPEAT_WITHIN: Duration = Duration::from_secs(60);
const REPEAT_AFTER: Duration = Duration::from_millis(100);
const REPEAT_AFTER_MAX: Duration = Duration::from_secs(10);

pub struct S3Blobs {
    s3: AmazonS3,
    bucket: String,
    prefix: String,
    cache: Cache,
}

impl S3Blobs {
    /// Opens the part of `bucket` below `prefix`; `variables` are the usual `AWS_*` ones: endpoint, region, keys, `AWS_ALLOW_HTTP`. Asks for a
    /// list, so that a wrong key or a missing bucket is told at once.
    pub async fn open(bucket: &str, prefix: &str, variables: impl IntoIterator<Item = (String, String)>, cache: Cache) -> Result<S3Blobs, BlobError> {
        crate::tls::use_ring();
        let client = ClientOptions::new().with_timeout_disabled().with_connect_timeout(CONNECT_WITHIN).with_read_timeout(SILENCE);
        let backoff = BackoffConfig { init_backoff: REPEAT_AFTER, max_backoff: REPEAT_AFTER_MAX, base: 2.0 };
        let retry = RetryConfig { backoff, max_retries: REPEATS_MAX, retry_timeout: REPEAT_WITHIN };
        // One key at a time needs no bulk request, which not every server knows.
        let mut builder = AmazonS3Builder::new().with_client_options(client).with_retry(retry).with_disable_bulk_delete(true);
        for (name, value) in variables {
            if let Ok(key) = name.to_ascii_lowercase().parse() {
                builder = builder.with_config(key, value);
            }
        }
        let wrong = |error: object_store::Error| words::failed(bucket, prefix, "opening", error);
        let s3 = builder.with_bucket_name(bucket).build().map_err(wrong)?;
        s3.list(Some(&Location::from(prefix))).try_next().await.map_err(wrong)?;
        Ok(S3Blobs { s3, bucket: bucket.to_owned(), prefix: prefix.to_owned(), cache })
    }

    fn location(&self, key: &str) -> Result<Location, BlobError> {
        check_key(key)?;
        Location::parse(format!("{}/{key}", self.prefix)).map_err(|e| BlobError::Io(e.to_string()))
    }

    /// What a failure means for who asked for this key.
    fn failed(&self, doing: &str, key: &str, error: object_store::Error) -> BlobError {
        match error {
            object_store::Error::NotFound { source, .. } if !words::no_bucket(&source.to_string()) => BlobError::NotFound(key.to_owned()),
            error => words::failed(&self.bucket, &self.prefix, doing, error),
        }
    }

    async fn get(&self, key: &str, range: Option<GetRange>) -> Result<GetResult, object_store::Error> {
        self.s3.get_opts(&Location::from(format!("{}/{key}", self.prefix)), GetOptions { range, ..GetOptions::default() }).await
    }

    async fn size_of(&self, key: &str) -> Result<u64, BlobError> {
        self.s3.head(&self.location(key)?).await.map(|meta| meta.size).map_err(|e| self.failed("reading", key, e))
    }

    /// Copies a blob to a local file; one that arrives shorter than it is was cut off.
    async fn download(&self, key: &str, to: PathBuf, size: SizeKnown) -> Result<(), BlobError> {
        let got = self.get(key, None).await.map_err(|e| self.failed("reading", key, e))?;
        let size_bytes = got.meta.size;
        size.is(size_bytes);
        let (mut bytes, mut file) = (got.into_stream(), tokio::fs::File::create(to).await?);
        let mut written = 0;
        while let Some(chunk) = bytes.try_next().await.map_err(|e| self.failed("reading", key, e))? {
            file.write_all(&chunk).await?;
            written += chunk.len() as u64;
        }
        file.flush().await?;
        if written == size_bytes { Ok(()) } else { Err(BlobError::Io(format!("{key}: {written} of {size_bytes} bytes came"))) }
    }
}

#[async_trait::async_trait]
impl Blobs for S3Blobs {
    /// Returns once the bucket says that it has every byte.
    async fn publish(&self, file: &Path, key: &str) -> Result<(), BlobError> {
        let location = self.location(key)?;
        let size_bytes = tokio::fs::metadata(file).await?.len();
        let sent = upload::send(&self.s3, &location, file, size_bytes).await;
        let sent = sent.map_err(|fault| match fault {
            upload::Fault::File(error) => error.into(),
            upload::Fault::S3(error) => words::failed(&self.bucket, &self.prefix, "writing", error),
        });
        // An answer may be lost on the way: what is there counts, and under this key it can only be this file.
        match (sent, self.size_of(key).await) {
            (_, Ok(there)) if there == size_bytes => Ok(tokio::fs::remove_file(file).await?),
            (Err(error), _) | (Ok(()), Err(error)) => Err(error),
            (Ok(()), Ok(there)) => Err(BlobError::Io(format!("{key}: {size_bytes} bytes were sent, {there} are there"))),
        }
    }

    /// By the bucket's server; S3's own copies nothing larger than 5 GiB so.
    async fn copy(&self, from: &str, to: &str) -> Result<(), BlobError> {
        let size_bytes = self.size_of(from).await?;
        let copied = self.s3.copy(&self.location(from)?, &self.location(to)?).await.map_err(|e| self.failed("copying", from, e));
        // As in `publish`: what is there counts, whatever the answer was.
        match (copied, self.size_of(to).await) {
            (_, Ok(there)) if there == size_bytes => Ok(()),
            (Err(error), _) | (Ok(()), Err(error)) => Err(error),
            (Ok(()), Ok(there)) => Err(BlobError::Io(format!("{to}: {there} of {size_bytes} bytes were copied"))),
        }
    }

    async fn open(&self, key: &str, range: Option<Range>) -> Result<Opened, BlobError> {
        check_key(key)?;
        let wanted = match range {
            None => None,
            Some(range) if range.is_empty() => return self.nothing_of(key).await,
            Some(range) => Some(GetRange::Bounded(range)),
        };
        match self.get(key, wanted).await {
            Ok(got) => {
                let size_bytes = got.meta.size;
                Ok(Opened { size_bytes, bytes: Box::new(StreamReader::new(got.into_stream().map_err(io::Error::other))) })
            }
            Err(error) if words::beyond_the_end(&error) => self.nothing_of(key).await,
            Err(error) => Err(self.failed("reading", key, error)),
        }
    }

    async fn fetch(&self, key: &str) -> Result<Fetched, BlobError> {
        check_key(key)?;
        self.cache.get(key, |path, size| self.download(key, path, size)).await
    }

    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        self.cache.forget(key)?;
        match self.s3.delete(&self.location(key)?).await.map_err(|e| self.failed("deleting", key, e)) {
            Err(BlobError::NotFound(_)) => Ok(()),
            deleted => deleted,
        }
    }

    /// By the time the bucket's server gives a blob, which for a large one may be when its upload began.
    async fn list_stale(&self, before: Timestamp) -> Result<Vec<String>, BlobError> {
        let below = format!("{}/", self.prefix);
        let listed = self.s3.list(Some(&Location::from(self.prefix.as_str())));
        let stale = listed.try_filter(|meta| std::future::ready(meta.last_modified.timestamp_millis() < before.as_millisecond()));
        let keys = stale.try_filter_map(async |meta| Ok(meta.location.as_ref().strip_prefix(&below).map(str::to_owned)));
        keys.try_collect().await.map_err(|e| words::failed(&self.bucket, &self.prefix, "listing", e))
    }
}

impl S3Blobs {
    async fn nothing_of(&self, key: &str) -> Result<Opened, BlobError> {
        Ok(Opened { size_bytes: self.size_of(key).await?, bytes: Box::new(tokio::io::empty()) })
    }
}

#[async_trait::async_trait]
impl Links for S3Blobs {
    async fn link(&self, key: &str, headers: &LinkHeaders, valid_for: Duration) -> Result<String, BlobError> {
        let LinkHeaders { content_type, content_disposition } = headers;
        let answer = [("response-content-type", content_type), ("response-content-disposition", content_disposition)];
        let options = SignedUrlOptions::new().with_query(answer);
        let url = self.s3.signed_url_opts(Method::GET, &self.location(key)?, valid_for, &options).await;
        url.map(String::from).map_err(|e| self.failed("linking", key, e))
    }
}
