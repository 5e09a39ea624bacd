//! The real binary on real files.

mod attempts;
mod cli;
mod convert;
mod disk;
mod hooks;
mod hostile;
pub mod http;
mod kill;
mod power;
mod receipts;
mod reuse;
mod room;
mod s3;
mod slots;
mod stale;
mod tokens;
mod traces;
mod webhooks;
mod work;
