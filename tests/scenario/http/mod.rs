//! The HTTP edge, asked as a client asks it: the real binary on a free port.

mod clients;
mod crowd;
mod dashboard;
mod document;
mod downloads;
mod events;
mod jobs;
mod looks;
mod page;
mod parts;
mod pipelines;
mod plans;
mod queues;
mod refusals;
pub mod tus;
mod urls;
mod way_in;
mod workers;
