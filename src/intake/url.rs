//! Inputs by address: fetched within the configured limits, and kept as an upload.

use super::{Intake, Owner};
use crate::failure::{Refusal, RefusalKind};
use crate::job::Upload;
use crate::outbound::{Download, OutboundError};
use futures::TryStreamExt;
use jiff::Timestamp;
use reqwest::header::CONTENT_DISPOSITION;
use std::sync::{Mutex, PoisonError};
use tokio_util::io::StreamReader;

impl Intake {
    /// What is at this address, as an upload.
    pub async fn fetch(&self, url: &str, owner: Option<&Owner>, now: Timestamp) -> Result<Upload, Refusal> {
        let Some(outbound) = &self.outbound else {
            return Err(Refusal::new(RefusalKind::InvalidRequest, "Addresses are not fetched here.").field("input.url").given(url));
        };
        let download = outbound.get(url).await.map_err(|error| refusal(&error, url))?;
        let name = name(&download);
        // The reader knows one kind of error; ours is told beside it.
        let broken: Mutex<Option<Refusal>> = Mutex::new(None);
        let bytes = download.bytes.map_err(|error| {
            broken.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(refusal(&error, url));
            std::io::Error::other(error.to_string())
        });
        let received = self.receive_for(owner, &name, StreamReader::new(bytes), now).await;
        let broken = broken.into_inner().unwrap_or_else(PoisonError::into_inner);
        broken.map_or(received, Err)
    }
}

fn refusal(error: &OutboundError, url: &str) -> Refusal {
    let (kind, text) = match error {
        OutboundError::Refused(_) => (RefusalKind::InvalidRequest, format!("The address is not fetched: {error}.")),
        OutboundError::TooLarge(_) => (RefusalKind::TooLarge, format!("The file at the address is too large: {error}.")),
        OutboundError::Status(_) | OutboundError::Timeout(_) | OutboundError::Unreachable(_) => {
            (RefusalKind::InputUnavailable, format!("The file could not be fetched: {error}."))
        }
    };
    Refusal::new(kind, text).field("input.url").given(url)
}

/// As its server names it, or by the end of the address.
fn name(download: &Download) -> String {
    let said = download.headers.get(CONTENT_DISPOSITION).and_then(|value| value.to_str().ok()).and_then(named);
    let last = || download.url.path_segments().and_then(|mut parts| parts.next_back()).map(decoded).filter(|name| !name.is_empty());
    said.or_else(last).unwrap_or_else(|| "download".into())
}

/// `filename` of a Content-Disposition (RFC 6266), in its plain form.
fn named(disposition: &str) -> Option<String> {
    let of = |key: &str| disposition.split(';').find_map(|part| part.trim().strip_prefix(key)).map(|value| value.trim().trim_matches('"').to_owned());
    let utf8 = of("filename*=").and_then(|value| Some(decoded(value.get(7..).filter(|_| value.to_ascii_lowercase().starts_with("utf-8''"))?)));
    utf8.or_else(|| of("filename=")).filter(|name| !name.is_empty())
}

/// `%20` and its like as what they stand for.
fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [first, after @ ..] = rest {
        let code = after.get(..2).filter(|_| *first == b'%').and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_servers_write_them() {
        for (disposition, name) in [
            ("attachment; filename=\"a b.png\"", Some("a b.png")),
            ("attachment; filename=a.png; filename*=UTF-8''%C3%A4.png", Some("ä.png")),
            ("inline; filename*=iso-8859-1''%E4.png; filename=a.png", Some("a.png")),
            ("attachment; filename*=u", None),
            ("attachment", None),
        ] {
            assert_eq!(named(disposition).as_deref(), name, "{disposition}");
        }
        assert_eq!((decoded("a%20b%"), decoded("%zz%2"), decoded("%c3%a4")), ("a b%".into(), "%zz%2".into(), "ä".into()));
    }
}
