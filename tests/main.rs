//! One test binary: linked once, run in parallel.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod converters;
mod security;
mod support;
