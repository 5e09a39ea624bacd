//! The audio family.
