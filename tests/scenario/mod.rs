//! The real binary on real files.

mod attempts;
mod cli;
mod convert;
mod disk;
mod hostile;
mod http;
mod kill;
mod power;
mod s3;
mod stale;
mod work;
