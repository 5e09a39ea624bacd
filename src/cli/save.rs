//! Results on their way to where they were asked for; a file appears whole or not at all.

use std::path::{Component, Path, PathBuf};
use tokio::io::{AsyncRead, AsyncWriteExt};

#[derive(Debug, Clone)]
pub enum Target {
    File(PathBuf),
    Folder(PathBuf),
    Stdout,
}

impl Target {
    /// `-` is standard output; a folder is there already or ends in a slash.
    pub fn parse(path: &Path) -> Target {
        match path {
            _ if path.as_os_str() == "-" => Target::Stdout,
            _ if path.is_dir() || path.to_string_lossy().ends_with('/') => Target::Folder(path.to_owned()),
            _ => Target::File(path.to_owned()),
        }
    }

    /// Says when a single place is to take several files.
    pub fn check(&self, files: usize) -> Result<(), String> {
        match self {
            Target::Folder(_) => Ok(()),
            _ if files > 1 => Err(format!("this makes {files} files: give a folder")),
            _ => Ok(()),
        }
    }

    /// Writes one result; returns its path, if it has one.
    pub async fn write(&self, name: &str, bytes: &mut (impl AsyncRead + Unpin)) -> Result<Option<PathBuf>, String> {
        let path = match self {
            Target::Stdout => {
                let mut out = tokio::io::stdout();
                tokio::io::copy(bytes, &mut out).await.map_err(|e| e.to_string())?;
                out.flush().await.map_err(|e| e.to_string())?;
                return Ok(None);
            }
            Target::File(path) => path.clone(),
            Target::Folder(folder) => folder.join(within(name)?),
        };
        write_whole(&path, bytes).await.map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Some(path))
    }
}

/// A result's name may have folders, as files from an archive do; it may not lead out of the target.
fn within(name: &str) -> Result<&Path, String> {
    let path = Path::new(name);
    let plain = !name.is_empty() && path.components().all(|c| matches!(c, Component::Normal(_)));
    if plain { Ok(path) } else { Err(format!("the result is named `{}`, which leads out of the folder", super::table::plain(name))) }
}

async fn write_whole(path: &Path, bytes: &mut (impl AsyncRead + Unpin)) -> std::io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tokio::fs::create_dir_all(folder).await?;
    let (file, temporary) = tempfile::NamedTempFile::new_in(folder)?.into_parts();
    let mut file = tokio::fs::File::from_std(file);
    tokio::io::copy(bytes, &mut file).await?;
    file.flush().await?;
    // As any program would have made it: readable by all that the umask allows.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666 & !umask());
    tokio::fs::set_permissions(&temporary, mode).await?;
    temporary.persist(path).map_err(|e| e.error)
}

/// Asked of the kernel: the system call can only be read by changing it, for every thread.
fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let octal = status.lines().find_map(|line| line.strip_prefix("Umask:")).map(str::trim);
    octal.and_then(|digits| u32::from_str_radix(digits, 8).ok()).unwrap_or(0o077)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out() {
        for name in ["../x", "/etc/passwd", "a/../../x", ""] {
            assert!(within(name).is_err(), "{name}");
        }
        assert_eq!(within("a/b.txt"), Ok(Path::new("a/b.txt")));
    }

    #[tokio::test]
    async fn a_broken_stream_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let target = Target::Folder(folder.path().to_owned());
        let breaks = tokio_util::io::StreamReader::new(futures::stream::iter([Ok(&b"half"[..]), Err(std::io::Error::other("cut"))]));
        assert!(target.write("x.bin", &mut Box::pin(breaks)).await.is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(target.write("y.bin", &mut &b"whole"[..]).await.is_ok());
        assert_eq!(std::fs::read(folder.path().join("y.bin")).unwrap(), b"whole");
    }
}
