//! The real binary on real files.

mod attempts;
mod cli;
mod convert;
mod disk;
mod hostile;
mod http;
mod kill;
mod s3;
mod slots;
mod work;
