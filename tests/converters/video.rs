//! The video family.
