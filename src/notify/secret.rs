//! Signatures of Standard Webhooks: what a receiver knows our letters by.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;

/// The standard's own bounds for the key's bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Keys that letters are signed with: all of them, so that receivers can change from one to the next in their own time.
#[derive(Clone, Default, Deserialize)]
#[serde(try_from = "OneOrMany")]
pub struct Secrets(Vec<Vec<u8>>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    /// Several may be parted by commas, as in a variable.
    One(String),
    Many(Vec<String>),
}

impl TryFrom<OneOrMany> for Secrets {
    type Error = String;

    fn try_from(given: OneOrMany) -> Result<Secrets, String> {
        let texts: Vec<String> = match given {
            OneOrMany::One(text) => text.split(',').map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()).collect(),
            OneOrMany::Many(texts) => texts,
        };
        texts.iter().map(|text| key(text)).collect::<Result<_, _>>().map(Secrets)
    }
}

/// The message does not repeat it.
fn key(text: &str) -> Result<Vec<u8>, String> {
    let wrong = || "a webhook secret is `whsec_` and 24 to 64 random bytes in base64, as `whsec_$(openssl rand -base64 32)` makes it".to_owned();
    let key = STANDARD.decode(text.strip_prefix("whsec_").ok_or_else(wrong)?).map_err(|_| wrong())?;
    if KEY_BYTES.contains(&key.len()) { Ok(key) } else { Err(wrong()) }
}

/// The keys stay out of logs.
impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

impl Secrets {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The header `webhook-signature`: one signature for each key.
    pub fn sign(&self, id: &str, second: i64, body: &[u8]) -> String {
        let signatures = self.0.iter().filter_map(|key| {
            let hmac = Hmac::<Sha256>::new_from_slice(key).ok()?;
            let code = hmac.chain_update(format!("{id}.{second}.")).chain_update(body).finalize().into_bytes();
            Some(format!("v1,{}", STANDARD.encode(code)))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Section {
        secret: Secrets,
    }

    fn read(text: &str) -> Result<Secrets, String> {
        toml::from_str::<Section>(text).map(|s| s.secret).map_err(|e| e.to_string())
    }

    #[test]
    fn a_letter_is_signed_with_each_key_as_the_standard_has_it() {
        let texts = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"];
        let secrets = read(&format!("secret = {texts:?}")).unwrap();
        let signed = secrets.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        let parts: Vec<&str> = signed.split(' ').collect();
        // The example of the standard's own libraries.
        assert_eq!(parts[0], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        for (text, signature) in texts.iter().zip(parts) {
            let theirs = standardwebhooks::Webhook::new(text).unwrap();
            assert_eq!(theirs.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#).unwrap(), signature);
        }
    }

    #[test]
    fn what_is_no_secret_is_refused_and_not_repeated() {
        assert_eq!(read("secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw, whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX\"").unwrap().0.len(), 2);
        assert!(read("secret = \"\"").unwrap().is_empty());
        for text in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ=", "whsec_%%%"] {
            let error = read(&format!("secret = {text:?}")).unwrap_err();
            assert!(error.contains("openssl"), "{error}");
        }
        assert_eq!(format!("{:?}", read("secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"").unwrap()), "1 secrets");
    }
}
