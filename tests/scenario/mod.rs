//! The real binary on real files.

mod attempts;
mod cli;
mod convert;
mod hostile;
mod http;
