//! Where rows and bytes are kept, as the configuration and the flags write it.

use serde::Deserialize;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where the rows are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum StorePlace {
    /// A file in the data folder: for one process.
    Sqlite,
    /// A Redis URL, which many processes may share. It may hold a password, so it is never shown.
    Redis(String),
}

/// Where the bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum BlobsPlace {
    /// A folder in the data folder.
    Local,
    Folder(PathBuf),
    S3 {
        bucket: String,
        /// Without slashes around it; never empty: everything below it is the service's own, to be deleted when no job needs it.
        prefix: String,
    },
}

impl FromStr for StorePlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            None if text == "sqlite" => Ok(StorePlace::Sqlite),
            Some((scheme, rest)) if scheme.starts_with("redis") && !rest.is_empty() => Ok(StorePlace::Redis(text.to_owned())),
            // The rest of a URL may be a secret.
            Some((scheme, _)) => Err(format!("`{scheme}://` is no store; write `sqlite` or redis://user:password@host:6379/0")),
            None => Err(format!("`{text}` is no store; write `sqlite` or redis://user:password@host:6379/0")),
        }
    }
}

impl FromStr for BlobsPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("`{text}` {why}; write `local`, a folder's path or s3://bucket/prefix"));
        let Some(place) = text.strip_prefix("s3://") else {
            return match text {
                "local" => Ok(BlobsPlace::Local),
                folder if folder.contains('/') && !folder.contains("://") => Ok(BlobsPlace::Folder(folder.into())),
                _ => wrong("is no place for bytes"),
            };
        };
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let prefix = prefix.trim_matches('/');
        if bucket.is_empty() {
            return wrong("names no bucket");
        }
        if prefix.is_empty() {
            return wrong("names no prefix: what is below it is deleted when no job needs it, so a whole bucket is not taken");
        }
        let plain = |part: &str| !part.trim_matches('.').is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !plain(bucket) || !prefix.split('/').all(plain) {
            return wrong("has other characters than letters, digits and -_.");
        }
        Ok(BlobsPlace::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl fmt::Display for StorePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorePlace::Sqlite => f.write_str("sqlite"),
            StorePlace::Redis(url) => f.write_str(url.split_once("://").map_or("redis", |(scheme, _)| scheme)),
        }
    }
}

impl fmt::Display for BlobsPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BlobsPlace::Local => f.write_str("local"),
            BlobsPlace::Folder(folder) => write!(f, "{}", folder.display()),
            BlobsPlace::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

impl TryFrom<String> for StorePlace {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl TryFrom<String> for BlobsPlace {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        let s3 = |bucket: &str, prefix: &str| Ok(BlobsPlace::S3 { bucket: bucket.into(), prefix: prefix.into() });
        assert_eq!("sqlite".parse(), Ok(StorePlace::Sqlite));
        assert_eq!("rediss://h/0".parse(), Ok(StorePlace::Redis("rediss://h/0".into())));
        assert_eq!("local".parse(), Ok(BlobsPlace::Local));
        assert_eq!("/srv/blobs".parse(), Ok(BlobsPlace::Folder("/srv/blobs".into())));
        assert_eq!("s3://media/millrace/".parse(), s3("media", "millrace"));
        assert_eq!("s3://media/a/b".parse(), s3("media", "a/b"));
    }

    #[test]
    fn a_wrong_place_is_named_and_a_secret_is_not() {
        for text in ["sqlit", "", "redis://", "postgres://u:hunter2@h/x"] {
            let error = text.parse::<StorePlace>().unwrap_err();
            assert!(error.contains("sqlite") && !error.contains("hunter2"), "{text}: {error}");
        }
        for text in ["", "here", "s3://", "s3://bucket", "s3://bucket/", "s3:///x", "s3://bucket/a b", "s3://bucket/../x", "gs://bucket/x"] {
            let error = text.parse::<BlobsPlace>().unwrap_err();
            assert!(error.contains("s3://bucket/prefix"), "{text}: {error}");
        }
        let place = StorePlace::Redis("redis://u:hunter2@h/0".into());
        assert_eq!(place.to_string(), "redis");
    }
}
