//! What is generated and kept: it changes only when somebody has looked at the change.

mod readme;
