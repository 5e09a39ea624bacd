//! What the tests share.

pub mod av;
pub mod browser;
pub mod clients;
pub mod command;
pub mod cutter;
pub mod direct;
pub mod events;
pub mod jailed;
pub mod loop_disk;
pub mod package;
pub mod picture;
pub mod process;
pub mod records;
pub mod redis;
pub mod s3;
pub mod server;
pub mod service;
pub mod sink;
pub mod smtp;
pub mod tools;
pub mod worker;
