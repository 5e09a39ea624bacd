//! The real binary on real files.

mod attempts;
mod convert;
mod http;
