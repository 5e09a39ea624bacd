//! From a file to an object: one PUT for a small file, parts for a large one, never more than a few parts in memory.

use futures::TryStreamExt;
use futures::stream::FuturesUnordered;
use object_store::aws::AmazonS3;
use object_store::path::Path as Location;
use object_store::{MultipartUpload, ObjectStoreExt};
use std::io;
use std::path::Path;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

/// A file up to this size is sent at once; larger ones in parts of at least this size (S3 wants 5 MiB).
const PART_BYTES: u64 = 8 << 20;
/// The most parts that S3 takes for one object.
const PARTS_MAX: u64 = 10_000;
/// Parts on their way at a time.
const PARTS_AT_ONCE: usize = 4;

#[derive(Debug)]
pub enum Fault {
    File(io::Error),
    S3(object_store::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Fault::File(error)
    }
}

impl From<object_store::Error> for Fault {
    fn from(error: object_store::Error) -> Self {
        Fault::S3(error)
    }
}

/// Sends a file of this size. What was sent of one that fails is given up, if the server still listens; a bucket's lifecycle rule
/// has to remove the rest.
pub async fn send(s3: &AmazonS3, to: &Location, file: &Path, size_bytes: u64) -> Result<(), Fault> {
    let mut file = File::open(file).await?;
    if size_bytes <= PART_BYTES {
        let bytes = read(&mut file, PART_BYTES).await?;
        return Ok(s3.put(to, bytes.into()).await.map(drop)?);
    }
    let mut upload = s3.put_multipart(to).await?;
    let sent = send_parts(&mut *upload, &mut file, PART_BYTES.max(size_bytes.div_ceil(PARTS_MAX))).await;
    let sent = match sent {
        Ok(()) => upload.complete().await.map(drop).map_err(Fault::S3),
        failed => failed,
    };
    if sent.is_err()
        && let Err(error) = upload.abort().await
    {
        tracing::debug!(%error, object = %to, "an upload that failed could not be given up");
    }
    sent
}

async fn send_parts(upload: &mut dyn MultipartUpload, file: &mut File, part_bytes: u64) -> Result<(), Fault> {
    let mut under_way = FuturesUnordered::new();
    loop {
        let part = read(file, part_bytes).await?;
        if part.is_empty() {
            break;
        }
        under_way.push(upload.put_part(part.into()));
        if under_way.len() == PARTS_AT_ONCE {
            under_way.try_next().await?;
        }
    }
    Ok(under_way.try_collect::<()>().await?)
}

/// The next bytes of a file, at most so many.
async fn read(file: &mut File, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(max_bytes).read_to_end(&mut bytes).await?;
    Ok(bytes)
}
