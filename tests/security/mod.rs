//! Attacks: on the jail, on the service, and through it on others. README.md lists them.

#[cfg(feature = "testing")]
mod jail;
mod markup;
mod requests;
mod secrets;
mod secrets_compared;
mod slow;
mod ssrf;
mod tus;
