//! Opens the keepers that the configuration names.

use super::store_time;
use crate::blobs::local::LocalBlobs;
use crate::blobs::s3::S3Blobs;
use crate::blobs::{Blobs, Cache, Links};
use crate::clock::{SharedClock, SystemClock};
use crate::config::{BlobsPlace, Config, StorePlace};
use crate::store::Store;
use crate::store::redis::RedisStore;
use crate::store::sqlite::SqliteStore;
use std::path::Path;
use std::sync::Arc;

pub struct Keepers {
    pub store: Arc<dyn Store>,
    pub blobs: Arc<dyn Blobs>,
    /// The addresses of the bytes, where they have some.
    pub links: Option<Arc<dyn Links>>,
    /// What the store's rows are dated by.
    pub clock: SharedClock,
}

impl Keepers {
    pub async fn open(config: &Config) -> Result<Keepers, String> {
        let (store, clock) = open_store(&config.store, &config.data_dir).await?;
        let local = |folder: &Path| LocalBlobs::open(folder).map_err(|e| format!("blobs in {}: {e}", folder.display()));
        match &config.blobs {
            BlobsPlace::Local => Ok(Keepers { store, blobs: Arc::new(local(&config.data_dir.join("blobs"))?), links: None, clock }),
            BlobsPlace::Folder(folder) => Ok(Keepers { store, blobs: Arc::new(local(folder)?), links: None, clock }),
            BlobsPlace::S3 { bucket, prefix } => {
                let cache = Cache::open(&config.data_dir.join("blobs-cache"), config.blobs_cache.max.0).map_err(|e| e.to_string())?;
                let s3 = Arc::new(S3Blobs::open(bucket, prefix, aws_variables(), cache).await.map_err(|e| e.to_string())?);
                Ok(Keepers { store, blobs: s3.clone(), links: Some(s3), clock })
            }
        }
    }

    /// Keepers that end with this process.
    pub fn fleeting(data: &Path) -> Result<Keepers, String> {
        let store = SqliteStore::in_memory().map_err(|e| e.to_string())?;
        let blobs = LocalBlobs::fleeting(&data.join("blobs")).map_err(|e| e.to_string())?;
        Ok(Keepers { store: Arc::new(store), blobs: Arc::new(blobs), links: None, clock: Arc::new(SystemClock) })
    }
}

async fn open_store(place: &StorePlace, data: &Path) -> Result<(Arc<dyn Store>, SharedClock), String> {
    match place {
        StorePlace::Sqlite => {
            let store = SqliteStore::open(&data.join("millrace.db")).map_err(|e| e.to_string())?;
            Ok((Arc::new(store), Arc::new(SystemClock)))
        }
        StorePlace::Redis(url) => {
            let store = RedisStore::open(url).await.map_err(|e| e.to_string())?;
            let clock = store_time::follow(store.clone()).await;
            Ok((Arc::new(store), clock))
        }
    }
}

fn aws_variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars().filter(|(name, _)| name.starts_with("AWS_"))
}
