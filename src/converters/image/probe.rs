//! Measures pictures.

use super::picture::Picture;
use super::{disclosed, exif, open};
use crate::convert::{Ctx, Depth, Input};
use crate::failure::Failure;
use crate::job::Media;

/// Size as displayed, frames, pages, a few tags and what they give away; the proof also decodes every frame.
pub fn probe(ctx: &Ctx, input: &Input, depth: Depth) -> Result<Media, Failure> {
    let opened = open::open(ctx, input, 1)?;
    let facts = &opened.facts;
    let (width, height) = facts.displayed();
    let mut media = Media { width: Some(width), height: Some(height), ..Media::default() };
    media.frames = (facts.frames > 1).then_some(facts.frames);
    media.pages = (facts.pages > 1).then_some(facts.pages);
    media.tags = facts.exif.as_deref().map(exif::tags).unwrap_or_default();
    media.discloses = Some(disclosed::disclosed(&opened, input.format));
    if depth == Depth::Proof {
        if facts.frames > 1 {
            for (n, frame) in opened.frames(input)?.enumerate() {
                ctx.check()?;
                frame.map_err(|e| open::damaged(input, e).detail(format!("frame {}", n + 1)))?;
            }
        } else if let Picture::Pixels(image) = opened.decode(input, (facts.width, facts.height), true)?
            && (image.width(), image.height()) != (facts.width, facts.height)
        {
            return Err(open::damaged(input, "the header's size is not the picture's"));
        }
    }
    Ok(media)
}
