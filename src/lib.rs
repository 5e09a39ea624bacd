//! Millrace converts media for upload sites: jobs go in, converted files come out, and nothing is lost.
//!
//! # Map of the code
//! One job, one line: [`intake`] checks and stores it, [`worker`] leases it and runs it in a jailed child ([`sandbox`]),
//! the child runs a converter ([`converters`]), the worker proves and publishes what came out ([`blobs`]) and finishes
//! the job in the [`store`].
//!
//! | layer | modules | may import |
//! |---|---|---|
//! | 0 words | [`access`] [`queue`] [`job`] [`failure`] [`limits`] [`forecast`] [`format`](mod@format) [`progress`] [`tls`] [`trace`] [`link`] | each other |
//! | 1 ports | [`store`] [`blobs`] [`convert`] [`sandbox`] [`clock`] [`outbound`] | 0 |
//! | 2 keepers | `store::*` `blobs::*` [`converters`] `sandbox::*` | 0 and their own port |
//! | 3 use cases | `intake` `pipeline` `worker` `fetch` `probe` `schedule` `cleanup` `notify` `tus` | 0, 1, the converter registry |
//! | 4 edges | `http` `celery` `cli` | 0, 1, 3 |
//! | 5 root | `app` `config` `main` | all |

pub mod access;
pub mod app;
pub mod blobs;
pub mod celery;
pub mod cleanup;
pub mod cli;
pub mod clock;
pub mod config;
pub mod convert;
pub mod converters;
pub mod failure;
pub mod fetch;
pub mod forecast;
pub mod format;
pub mod http;
pub mod intake;
pub mod job;
pub mod limits;
pub mod link;
pub mod notify;
pub mod outbound;
pub mod pipeline;
pub mod probe;
pub mod progress;
pub mod queue;
pub mod sandbox;
pub mod schedule;
pub mod store;
pub mod tls;
pub mod trace;
pub mod tus;
pub mod worker;
