//! The bytes of one upload: appended, proven, never shorter than a client was told.

use super::{io, keep};
use crate::failure::{Refusal, RefusalKind};
use sha1::Sha1;
use sha2::digest::DynDigest;
use sha2::{Digest, Sha256};
use std::path::Path;
use tokio::fs::{self, OpenOptions};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

/// Checksums that a piece may come with.
pub const ALGORITHMS: &str = "sha1,sha256";

/// Bytes on their way in.
pub struct Piece {
    pub offset: u64,
    pub bytes: Box<dyn AsyncRead + Send + Unpin>,
    pub checksum: Option<Checksum>,
}

/// What a piece must hash to.
pub struct Checksum {
    hash: Box<dyn DynDigest + Send>,
    expected: Vec<u8>,
}

impl Checksum {
    /// None: no algorithm that is known here.
    pub fn new(algorithm: &str, expected: Vec<u8>) -> Option<Checksum> {
        let hash: Box<dyn DynDigest + Send> = match algorithm {
            "sha1" => Box::new(Sha1::new()),
            "sha256" => Box::new(Sha256::new()),
            _ => return None,
        };
        Some(Checksum { hash, expected })
    }
}

pub async fn offset(folder: &Path) -> std::io::Result<u64> {
    if let Some(unproven) = unproven(folder).await {
        return Ok(unproven);
    }
    match fs::metadata(folder.join("bytes")).await {
        Ok(meta) => Ok(meta.len()),
        // They have gone on to where uploads are kept.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let whole: Option<crate::job::Upload> =
                fs::read(folder.join("whole.json")).await.ok().and_then(|text| serde_json::from_slice(&text).ok());
            whole.map(|upload| upload.size_bytes).ok_or(error)
        }
        Err(error) => Err(error),
    }
}

async fn unproven(folder: &Path) -> Option<u64> {
    fs::read_to_string(folder.join("unproven")).await.ok()?.parse().ok()
}

/// Takes back a piece whose checksum was never seen.
pub async fn settle(folder: &Path) -> std::io::Result<()> {
    let Some(offset) = unproven(folder).await else { return Ok(()) };
    let file = OpenOptions::new().write(true).open(folder.join("bytes")).await?;
    file.set_len(offset).await?;
    file.sync_all().await?;
    fs::remove_file(folder.join("unproven")).await
}

/// Appends a piece; of one that breaks off, the beginning. Durable when it returns, whatever it returns.
pub async fn write(folder: &Path, mut piece: Piece, size_bytes: u64) -> Result<(), Refusal> {
    if piece.checksum.is_some() {
        keep(folder, "unproven", piece.offset.to_string().as_bytes()).await.map_err(io)?;
    }
    let mut file = OpenOptions::new().append(true).open(folder.join("bytes")).await.map_err(io)?;
    let written = copy(&mut piece, &mut file, size_bytes).await;
    file.flush().await.map_err(io)?;
    file.sync_data().await.map_err(io)?;
    let Some(Checksum { hash, expected }) = piece.checksum else { return written };
    let is_right = written.is_ok() && *hash.finalize() == *expected;
    if is_right {
        return fs::remove_file(folder.join("unproven")).await.map_err(io);
    }
    settle(folder).await.map_err(io)?;
    written
        .and(Err(Refusal::new(RefusalKind::ChecksumMismatch, "The bytes are not those of the checksum; send them again.").field("Upload-Checksum")))
}

async fn copy(piece: &mut Piece, file: &mut fs::File, size_bytes: u64) -> Result<(), Refusal> {
    let (mut room, mut chunk) = (size_bytes - piece.offset, vec![0; 256 * 1024]);
    loop {
        let broken = |e: std::io::Error| Refusal::new(RefusalKind::InvalidRequest, "The upload broke off.").given(e);
        let n = piece.bytes.read(&mut chunk).await.map_err(broken)?;
        if n == 0 {
            return Ok(());
        }
        let bytes = &chunk[..n];
        room = room.checked_sub(n as u64).ok_or_else(|| {
            let text = format!("More bytes came than the {size_bytes} announced.");
            Refusal::new(RefusalKind::TooLarge, text).field("Upload-Length").given(size_bytes)
        })?;
        file.write_all(bytes).await.map_err(io)?;
        if let Some(checksum) = &mut piece.checksum {
            checksum.hash.update(bytes);
        }
    }
}
