//! Converters run directly, outside the jail, on the fixtures; results are checked by tools that are not ours.

mod archive;
mod audio;
mod document;
mod film;
mod fonts;
mod image;
mod image_formats;
mod image_options;
mod image_sets;
mod join;
mod look;
mod pdf;
mod preview;
mod recording;
mod repack;
mod salvage;
mod shaping;
mod sheet;
mod stream;
mod subtitles;
mod tables;
mod video;
mod watermark;
