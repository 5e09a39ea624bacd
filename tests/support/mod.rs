//! What the tests share.

pub mod command;
pub mod direct;
pub mod jailed;
pub mod records;
pub mod server;
pub mod service;
