//! The HTTP edge, asked as a client asks it: the real binary on a free port.

mod dashboard;
mod document;
mod downloads;
mod events;
mod jobs;
mod page;
mod queues;
mod refusals;
mod way_in;
mod workers;
