//! What the tests share.

pub mod direct;
