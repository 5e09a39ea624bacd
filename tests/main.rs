//! One test binary: linked once, run in parallel.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod celery;
mod chaos;
mod conformance;
mod converters;
mod golden;
mod hostile;
mod property;
mod scenario;
mod security;
mod shipping;
mod support;
mod tidy;
