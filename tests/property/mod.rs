//! Random sequences of verbs against a model that is too simple to be wrong.

mod cleanup;
mod pipelines;
mod store;
