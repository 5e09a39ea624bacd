//! What a client may ask of an archive.

use crate::convert::{OutOfRange, Validate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How an archive is read.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Only entries whose path matches one of these patterns: `*.jpg`, `docs/**`. `*` does not cross `/`. Default: all.
    pub include: Vec<String>,
    /// Not the entries whose path matches one of these patterns. Default: none.
    pub exclude: Vec<String>,
    /// Password of an encrypted zip or 7z. Default: none.
    pub password: Option<String>,
    /// The encoding of names that are not Unicode: `auto`, or a label as `cp437`, `ibm866`, `windows-1251`, `shift_jis`, `gbk`. Default: `auto`.
    pub name_encoding: Option<String>,
    /// What happens to a second entry of the same path. Default: `rename`.
    pub on_duplicate: OnDuplicate,
    /// Takes the whole entries of an archive that is cut off or damaged, with a warning for what is lost and the share that came
    /// through, instead of refusing it. Default: false.
    pub salvage: bool,
}

/// What happens to a second entry of the same path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDuplicate {
    /// It gets a number: `name (2).txt`.
    #[default]
    Rename,
    /// The conversion fails.
    Refuse,
}

impl Validate for Options {
    fn validate(&self) -> Result<(), OutOfRange> {
        validate_reading(&self.include, &self.exclude, self.name_encoding.as_deref())
    }
}

fn validate_reading(include: &[String], exclude: &[String], encoding: Option<&str>) -> Result<(), OutOfRange> {
    for (field, patterns) in [("include", include), ("exclude", exclude)] {
        if patterns.len() > 100 {
            return Err(OutOfRange::new(field, patterns.len(), "at most 100 patterns"));
        }
        for pattern in patterns {
            super::select::glob(pattern).map_err(|e| OutOfRange::new(field, pattern, e))?;
        }
    }
    match encoding {
        Some(label) if super::names::Encoding::parse(label).is_none() => {
            Err(OutOfRange::new("name_encoding", label, "auto, cp437 or a label of the WHATWG Encoding Standard"))
        }
        _ => Ok(()),
    }
}

/// Options of `archive.repack`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RepackOptions {
    /// Only entries whose path matches one of these patterns: `*.jpg`, `docs/**`. `*` does not cross `/`. Default: all.
    pub include: Vec<String>,
    /// Not the entries whose path matches one of these patterns. Default: none.
    pub exclude: Vec<String>,
    /// Password of an encrypted zip or 7z. Default: none.
    pub password: Option<String>,
    /// The encoding of names that are not Unicode: `auto`, or a label as `cp437`, `ibm866`, `windows-1251`, `shift_jis`, `gbk`. Default: `auto`.
    pub name_encoding: Option<String>,
    /// What happens to a second entry of the same path. Default: `rename`.
    pub on_duplicate: OnDuplicate,
    /// Takes the whole entries of an archive that is cut off or damaged, with a warning for what is lost and the share that came
    /// through, instead of refusing it. Default: false.
    pub salvage: bool,
    /// Time spent on a smaller file, 1 (fast) to 9 (small). Default: deflate 7, bzip2 9, xz 6, 7z 5; zstd as its own level 3. LZ4 has one.
    pub level: Option<u8>,
    /// Encrypts the result with this password (zip and 7z, AES-256; of a 7z the names too). Default: none.
    pub output_password: Option<String>,
    /// Cuts the result into volumes of this many bytes, 64 KiB or more, named `.001`, `.002` ...; put together they are the archive. Default: one whole.
    pub volume_bytes: Option<u64>,
}

impl Validate for RepackOptions {
    fn validate(&self) -> Result<(), OutOfRange> {
        OutOfRange::check("level", self.level, 1..=9)?;
        OutOfRange::check("volume_bytes", self.volume_bytes, 64 << 10..=1 << 50)?;
        if self.output_password.as_deref() == Some("") {
            return Err(OutOfRange::new("output_password", "an empty text", "at least one character"));
        }
        validate_reading(&self.include, &self.exclude, self.name_encoding.as_deref())
    }
}

impl RepackOptions {
    pub fn reading(&self) -> Options {
        Options {
            include: self.include.clone(),
            exclude: self.exclude.clone(),
            password: self.password.clone(),
            name_encoding: self.name_encoding.clone(),
            on_duplicate: self.on_duplicate,
            salvage: self.salvage,
        }
    }
}

/// Options of `archive.list`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ListOptions {
    /// Password of an encrypted zip or 7z; needed only for hashes and for encrypted names. Default: none.
    pub password: Option<String>,
    /// The encoding of names that are not Unicode; see `archive.repack`. Default: `auto`.
    pub name_encoding: Option<String>,
    /// Whether every entry is unpacked to compute its SHA-256. Default: false.
    pub sha256: bool,
    /// Tests the archive: every entry is unpacked and held against its checksum; a damaged one is named and fails the job. Default: false.
    pub test: bool,
    /// Lists the whole entries of an archive that is cut off or damaged, instead of refusing it; each is unpacked to see. Default: false.
    pub salvage: bool,
}

impl Validate for ListOptions {
    fn validate(&self) -> Result<(), OutOfRange> {
        validate_reading(&[], &[], self.name_encoding.as_deref())
    }
}
