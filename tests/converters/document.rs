//! The document family.
