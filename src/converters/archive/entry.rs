//! What an archive holds, in one shape for all formats.

use crate::failure::Failure;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
    /// A symbolic link and its target.
    Symlink(String),
    /// Another name of an earlier file, by that one's path.
    Hardlink(String),
}

impl Kind {
    pub fn name(&self) -> &'static str {
        match self {
            Kind::File => "file",
            Kind::Folder => "folder",
            Kind::Symlink(_) => "symlink",
            Kind::Hardlink(_) => "hardlink",
        }
    }
}

/// One entry of an archive.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Relative, separated by `/`, without `.`; safe unless there is a hazard.
    pub path: String,
    pub kind: Kind,
    /// Unpacked; absent where the format does not say before the end.
    pub size: Option<u64>,
    pub packed: Option<u64>,
    /// Permission bits.
    pub mode: Option<u32>,
    /// Seconds since 1970.
    pub modified: Option<i64>,
    pub crc32: Option<u32>,
    pub encrypted: bool,
    /// Why this entry must not be unpacked.
    pub hazard: Option<Failure>,
}

impl Entry {
    pub fn file(path: String) -> Entry {
        Entry { path, kind: Kind::File, size: None, packed: None, mode: None, modified: None, crc32: None, encrypted: false, hazard: None }
    }

    pub fn is_folder(&self) -> bool {
        self.kind == Kind::Folder
    }
}
