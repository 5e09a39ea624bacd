//! Converters run directly, outside the jail, on the fixtures; results are checked by tools that are not ours.

mod archive;
mod audio;
mod document;
mod image;
mod look;
mod pdf;
mod repack;
mod shaping;
mod sheet;
mod stream;
mod tables;
mod video;
