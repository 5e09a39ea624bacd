//! Opens the keepers that the configuration names.

use crate::blobs::local::LocalBlobs;
use crate::blobs::s3::S3Blobs;
use crate::blobs::{Blobs, Cache, Links};
use crate::config::{BlobsPlace, Config, StorePlace};
use crate::store::Store;
use crate::store::redis::RedisStore;
use crate::store::sqlite::SqliteStore;
use std::path::Path;
use std::sync::Arc;

pub async fn open_store(place: &StorePlace, data: &Path) -> Result<Arc<dyn Store>, String> {
    match place {
        StorePlace::Sqlite => Ok(Arc::new(SqliteStore::open(&data.join("millrace.db")).map_err(|e| e.to_string())?)),
        StorePlace::Redis(url) => Ok(Arc::new(RedisStore::open(url).await.map_err(|e| e.to_string())?)),
    }
}

/// The bytes, and their addresses where they have some.
pub async fn open_blobs(config: &Config) -> Result<(Arc<dyn Blobs>, Option<Arc<dyn Links>>), String> {
    let local = |folder: &Path| LocalBlobs::open(folder).map_err(|e| format!("blobs in {}: {e}", folder.display()));
    match &config.blobs {
        BlobsPlace::Local => Ok((Arc::new(local(&config.data_dir.join("blobs"))?), None)),
        BlobsPlace::Folder(folder) => Ok((Arc::new(local(folder)?), None)),
        BlobsPlace::S3 { bucket, prefix } => {
            let cache = Cache::open(&config.data_dir.join("blobs-cache"), config.blobs_cache.max.0).map_err(|e| e.to_string())?;
            let s3 = Arc::new(S3Blobs::open(bucket, prefix, aws_variables(), cache).await.map_err(|e| e.to_string())?);
            Ok((s3.clone(), Some(s3)))
        }
    }
}

fn aws_variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars().filter(|(name, _)| name.starts_with("AWS_"))
}
