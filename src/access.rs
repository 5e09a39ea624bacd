//! Who may do what: tokens, what they are limited to, and the record of what admins did.

use crate::limits::Size;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use utoipa::ToSchema;

/// What a token's text begins with, so that scanners of source code know a leaked one.
const BEGIN: &str = "mr_";
const PREFIX_CHARS: usize = 8;

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// To send files and jobs, and to follow, cancel and download its own.
    Submit,
    /// To see everything, and change nothing.
    Read,
    /// To do everything.
    Admin,
}

impl Scope {
    pub const ALL: [Scope; 3] = [Scope::Submit, Scope::Read, Scope::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Submit => "submit",
            Scope::Read => "read",
            Scope::Admin => "admin",
        }
    }
}

/// What one token may use at most; what is not set is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Uploaded in one day, by UTC.
    pub bytes_per_day: Option<Size>,
    /// Jobs that are queued or running at a time. Requests of the same moment may pass it by their number.
    pub jobs: Option<u64>,
    /// Jobs that run at a time, wherever they do; the others wait, and let those of others pass.
    pub slots: Option<u64>,
}

/// A token, as kept: its text is told once, when it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    pub id: String,
    /// For people.
    pub name: String,
    /// The beginning of its text, by which it is found.
    pub prefix: String,
    /// SHA-256 of its text, in hex. The text has 160 random bits: there is nothing to guess that a slow hash would protect.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hash: String,
    pub scopes: Vec<Scope>,
    pub quota: Quota,
    /// Whether its jobs may share results with equal ones, of other tokens too, in queues that allow it.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub reuse: bool,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// Something an admin did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Sorts by time.
    pub id: String,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// A token's name and id; `config` for the one in the configuration, `local` where none is asked for.
    pub who: String,
    /// The address that asked; of a trusted proxy, the one it asked for.
    #[serde(default)]
    pub from: Option<String>,
    /// Method and path, as `POST /v1/queues/video/pause`.
    pub what: String,
    /// How it was answered.
    pub status: u16,
}

impl Token {
    /// A new token, and its text.
    pub fn new(name: &str, mut scopes: Vec<Scope>, quota: Quota, now: Timestamp) -> (Token, String) {
        scopes.sort_unstable();
        scopes.dedup();
        let (prefix, secret) = (random_hex(PREFIX_CHARS), random_hex(40));
        let text = format!("{BEGIN}{prefix}_{secret}");
        let token = Token {
            id: uuid::Uuid::now_v7().simple().to_string(),
            name: name.to_owned(),
            prefix: format!("{BEGIN}{prefix}"),
            hash: hex::encode(Sha256::digest(&text)),
            scopes,
            quota,
            reuse: true,
            created_at: now,
        };
        (token, text)
    }

    /// Whether this is its text. Takes the same time for every text of a known prefix.
    pub fn is(&self, text: &str) -> bool {
        let is_its_hash = same(hex::encode(Sha256::digest(text)).as_bytes(), self.hash.as_bytes());
        is_its_hash && text.starts_with(&self.prefix)
    }
}

/// Whether two secrets are the same, told in a time that does not depend on where they differ.
pub fn same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

impl AuditEntry {
    pub fn new(who: String, what: String, status: u16, now: Timestamp) -> AuditEntry {
        AuditEntry { id: format!("{}{}", AuditEntry::first_id(now), random_hex(8)), at: now, who, from: None, what, status }
    }

    /// The id that sorts before all of this time.
    pub fn first_id(at: Timestamp) -> String {
        format!("{:012x}", at.as_millisecond().max(0))
    }
}

pub fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_yes(value: &bool) -> bool {
    *value
}

fn random_hex(chars: usize) -> String {
    let bytes: Vec<u8> = std::iter::repeat_with(rand::random).take(chars / 2).collect();
    hex::encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_text_alone() {
        let (token, text) = Token::new("site", vec![Scope::Submit, Scope::Submit], Quota::default(), Timestamp::UNIX_EPOCH);
        let (other, other_text) = Token::new("site", vec![], Quota::default(), Timestamp::UNIX_EPOCH);
        assert!(token.is(&text) && other.is(&other_text));
        for wrong in [other_text.as_str(), "", &text[..text.len() - 1], &format!("{text}0"), &token.prefix, &token.hash] {
            assert!(!token.is(wrong), "{wrong}");
        }
        assert_eq!((text.len(), token.scopes), (3 + PREFIX_CHARS + 1 + 40, vec![Scope::Submit]));
        assert!(!token.hash.contains(&text[12..]));
    }
}
