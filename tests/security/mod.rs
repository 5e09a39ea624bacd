//! Attacks on the jail, through the real launcher and the real binary.

#[cfg(feature = "testing")]
mod jail;
mod secrets;
mod ssrf;
mod tus;
