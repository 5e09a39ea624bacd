//! Uploads in pieces (tus 1.0, <https://tus.io/protocols/resumable-upload>): what a client has sent so far outlives a broken
//! connection and a restart. The pieces are kept in this process's data folder until they are whole, and become an upload then;
//! behind a balancer a client must come back to the same process.
//!
//! A folder for each: `about.json` says what it is to be, `bytes` is what has come, whose length is the offset. `unproven` holds
//! the offset before a piece whose checksum is still to be seen; `whole.json` is the upload as it will be kept, so that an end
//! that was cut short is made good by whoever looks next.

mod pieces;

pub use pieces::{ALGORITHMS, Checksum, Piece};

use crate::blobs::BlobError;
use crate::clock::SharedClock;
use crate::failure::{Refusal, RefusalKind};
use crate::intake::{self, Intake, Owner, storage};
use crate::job::Upload;
use crate::limits::Size;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::fs;
use tokio::io::AsyncWriteExt;

/// How long an upload that gets no further bytes is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

pub struct Tus {
    pub intake: Arc<Intake>,
    pub clock: SharedClock,
    root: PathBuf,
    busy: Arc<Mutex<HashSet<String>>>,
}

/// What a client said at the beginning.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct About {
    name: String,
    size_bytes: u64,
    /// As it was sent; given back as it was.
    metadata: Option<String>,
    /// The token that sends it.
    #[serde(default)]
    owner: Option<String>,
}

/// How far an upload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub id: String,
    pub offset: u64,
    pub size_bytes: u64,
    pub metadata: Option<String>,
    pub expires_at: Timestamp,
}

/// While it lives nobody else touches the upload.
struct Hold {
    busy: Arc<Mutex<HashSet<String>>>,
    id: String,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Tus {
    /// Keeps the pieces below `root`.
    pub fn open(intake: Arc<Intake>, clock: SharedClock, root: &Path) -> std::io::Result<Tus> {
        std::fs::create_dir_all(root)?;
        Ok(Tus { intake, clock, root: std::fs::canonicalize(root)?, busy: Arc::default() })
    }

    /// The largest upload that is taken.
    pub fn size_max(&self) -> Size {
        self.intake.upload_max()
    }

    /// Begins an upload of this size, which counts for its owner from now on; an empty one is whole at once.
    pub async fn create(&self, name: &str, size_bytes: u64, metadata: Option<String>, owner: Option<Owner>) -> Result<Standing, Refusal> {
        let max = self.size_max();
        if size_bytes > max.0 {
            let text = format!("The file is larger than the {max} allowed here.");
            return Err(Refusal::new(RefusalKind::TooLarge, text).field("Upload-Length").given(size_bytes).allowed([max.to_string()]));
        }
        let now = self.clock.now();
        self.intake.reserve(owner.as_ref(), size_bytes, now).await?;
        expire(&self.root, now).map_err(io)?;
        let id = uuid::Uuid::now_v7().simple().to_string();
        let _hold = self.hold(&id)?;
        let folder = self.root.join(&id);
        fs::create_dir(&folder).await.map_err(io)?;
        let about = About { name: intake::safe_name(name), size_bytes, metadata, owner: owner.map(|owner| owner.token) };
        keep(&folder, "about.json", &serde_json::to_vec(&about).unwrap_or_default()).await.map_err(io)?;
        keep(&folder, "bytes", b"").await.map_err(io)?;
        self.standing_of(&id, about).await
    }

    /// How far an upload is; one that is whole stands at its end. Another owner's is not there, here and below.
    pub async fn standing(&self, id: &str, owner: Option<&Owner>) -> Result<Standing, Refusal> {
        let Some(about) = self.about(id, owner).await? else { return self.whole(id, owner).await };
        if let Ok(_hold) = self.hold(id) {
            pieces::settle(&self.folder(id)?).await.map_err(io)?;
            return self.standing_of(id, about).await;
        }
        // A piece is on its way: what has come of it so far.
        let folder = self.folder(id)?;
        let offset = pieces::offset(&folder).await.map_err(io)?;
        Ok(Standing { id: id.to_owned(), offset, size_bytes: about.size_bytes, metadata: about.metadata, expires_at: self.expiry(&folder).await })
    }

    /// Adds a piece at this offset, which must be where the upload stands. What came of a piece that broke off is kept, unless it
    /// had a checksum.
    pub async fn append(&self, id: &str, piece: Piece, owner: Option<&Owner>) -> Result<Standing, Refusal> {
        let hold = self.hold(id);
        let Some(about) = self.about(id, owner).await? else {
            return Err(match self.whole(id, owner).await {
                Ok(standing) => conflict(standing.offset, piece.offset),
                Err(refusal) => refusal,
            });
        };
        let _hold = hold?;
        let folder = self.folder(id)?;
        pieces::settle(&folder).await.map_err(io)?;
        let offset = pieces::offset(&folder).await.map_err(io)?;
        if offset != piece.offset {
            return Err(conflict(offset, piece.offset));
        }
        pieces::write(&folder, piece, about.size_bytes).await?;
        self.standing_of(id, about).await
    }

    /// Forgets an upload that is not whole yet.
    pub async fn terminate(&self, id: &str, owner: Option<&Owner>) -> Result<(), Refusal> {
        self.about(id, owner).await?.ok_or_else(|| missing(id))?;
        let _hold = self.hold(id)?;
        match fs::remove_dir_all(self.folder(id)?).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(missing(id)),
            done => done.map_err(io),
        }
    }

    /// Where it stands; at its end it becomes an upload.
    async fn standing_of(&self, id: &str, about: About) -> Result<Standing, Refusal> {
        let folder = self.folder(id)?;
        let offset = pieces::offset(&folder).await.map_err(io)?;
        if offset == about.size_bytes {
            self.finish(id, &folder, &about).await?;
        }
        Ok(Standing { id: id.to_owned(), offset, size_bytes: about.size_bytes, metadata: about.metadata, expires_at: self.expiry(&folder).await })
    }

    /// Bytes before rows, and each step may be repeated.
    async fn finish(&self, id: &str, folder: &Path, about: &About) -> Result<(), Refusal> {
        let bytes = folder.join("bytes");
        let upload: Upload = match fs::read(folder.join("whole.json")).await.ok().and_then(|text| serde_json::from_slice(&text).ok()) {
            Some(upload) => upload,
            None => {
                let upload = self.intake.describe(id, &about.name, &bytes, self.clock.now()).await?;
                let upload = Upload { owner: about.owner.clone(), ..upload };
                keep(folder, "whole.json", &serde_json::to_vec(&upload).unwrap_or_default()).await.map_err(io)?;
                upload
            }
        };
        if fs::try_exists(&bytes).await.map_err(io)? {
            self.intake.blobs.publish(&bytes, &upload.blob_key()).await.map_err(storage)?;
        }
        self.intake.store.put_upload(upload).await.map_err(intake::store)?;
        // It is kept twice at worst, for a day.
        if let Err(error) = fs::remove_dir_all(folder).await {
            tracing::warn!(%error, folder = %folder.display(), "the pieces of an upload stay until they expire");
        }
        Ok(())
    }

    async fn whole(&self, id: &str, owner: Option<&Owner>) -> Result<Standing, Refusal> {
        let upload = self.intake.store.upload(id).await.ok().filter(|upload| intake::is_open(upload.owner.as_deref(), owner));
        let upload = upload.ok_or_else(|| missing(id))?;
        Ok(Standing { id: id.to_owned(), offset: upload.size_bytes, size_bytes: upload.size_bytes, metadata: None, expires_at: upload.expires_at })
    }

    /// None: there are no pieces of it.
    async fn about(&self, id: &str, owner: Option<&Owner>) -> Result<Option<About>, Refusal> {
        let text = match fs::read(self.folder(id)?.join("about.json")).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(io)?,
        };
        let about: About = serde_json::from_slice(&text).map_err(|e| io(e.into()))?;
        if intake::is_open(about.owner.as_deref(), owner) { Ok(Some(about)) } else { Err(missing(id)) }
    }

    /// Only ids of ours name a folder.
    fn folder(&self, id: &str) -> Result<PathBuf, Refusal> {
        let plain = id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if plain { Ok(self.root.join(id)) } else { Err(missing(id)) }
    }

    fn hold(&self, id: &str) -> Result<Hold, Refusal> {
        if self.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned()) {
            return Ok(Hold { busy: self.busy.clone(), id: id.to_owned() });
        }
        Err(Refusal::new(RefusalKind::Locked, "Another request is writing to this upload; ask again in a moment.").given(id))
    }

    async fn expiry(&self, folder: &Path) -> Timestamp {
        let changed = fs::metadata(folder.join("bytes")).await.and_then(|meta| meta.modified()).ok();
        let changed = changed.and_then(|at| Timestamp::try_from(at).ok()).unwrap_or(self.clock.now());
        changed.saturating_add(KEPT).unwrap_or(Timestamp::MAX)
    }
}

/// Removes uploads that got no bytes for a day; returns how many.
pub fn expire(root: &Path, now: Timestamp) -> std::io::Result<usize> {
    let before = now.saturating_sub(KEPT).unwrap_or(Timestamp::MIN);
    let mut gone = 0;
    let entries = match std::fs::read_dir(root) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    for folder in entries.flatten().map(|entry| entry.path()) {
        let changed = |path: &Path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok().and_then(|at| Timestamp::try_from(at).ok());
        if changed(&folder.join("bytes")).or_else(|| changed(&folder)).is_some_and(|at| at < before) {
            std::fs::remove_dir_all(&folder)?;
            gone += 1;
        }
    }
    Ok(gone)
}

/// A small file, there with all it holds after a power cut, or not at all.
async fn keep(folder: &Path, name: &str, content: &[u8]) -> std::io::Result<()> {
    let (unfinished, path) = (folder.join(format!("{name}.new")), folder.join(name));
    let mut file = fs::File::create(&unfinished).await?;
    file.write_all(content).await?;
    file.sync_all().await?;
    fs::rename(&unfinished, &path).await?;
    fs::File::open(folder).await?.sync_all().await
}

fn missing(id: &str) -> Refusal {
    Refusal::new(RefusalKind::NotFound, "There is no such upload; one that gets no bytes for 24 hours is forgotten.").given(id)
}

fn conflict(offset: u64, given: u64) -> Refusal {
    let text = format!("The upload stands at {offset}; go on from there.");
    Refusal::new(RefusalKind::Conflict, text).field("Upload-Offset").given(given).allowed([offset.to_string()])
}

fn io(error: std::io::Error) -> Refusal {
    storage(BlobError::from(error))
}
