//! The archive family.
