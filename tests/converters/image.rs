//! The image family.
