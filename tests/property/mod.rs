//! Random sequences of verbs against a model that is too simple to be wrong, and random words for whoever reads them.

mod cleanup;
mod forecast;
mod parsers;
mod pipelines;
mod store;
