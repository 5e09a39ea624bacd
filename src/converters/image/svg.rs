//! SVG drawings: drawn at the size asked for, with no way to reach anything outside the file.

use super::limit;
use crate::failure::Failure;
use crate::limits::Limits;
use image::{DynamicImage, RgbaImage};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{ImageHrefResolver, ImageKind, Options, Tree, fontdb, roxmltree};
use std::io::Cursor;
use std::sync::{Arc, LazyLock};

/// More elements than any drawing has; a bound on what entities and `use` can blow up to.
const NODES_MAX: u32 = 1_000_000;

static FONTS: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = fontdb::Database::new();
    fonts.load_fonts_dir("/usr/share/fonts");
    for (set, name) in [
        (fontdb::Database::set_serif_family as fn(&mut fontdb::Database, String), "DejaVu Serif"),
        (fontdb::Database::set_sans_serif_family, "DejaVu Sans"),
        (fontdb::Database::set_monospace_family, "DejaVu Sans Mono"),
    ] {
        set(&mut fonts, name.to_owned());
    }
    Arc::new(fonts)
});

/// Reads the list of fonts, once.
pub fn warm() {
    LazyLock::force(&FONTS);
}

/// A parsed drawing.
pub struct Drawing(Tree);

fn damaged(cause: impl std::fmt::Display) -> Failure {
    Failure::corrupt("The SVG drawing is not well-formed.").detail(cause).stage("open")
}

impl Drawing {
    pub fn open(bytes: &[u8], limits: &Limits) -> Result<Drawing, Failure> {
        let text = std::str::from_utf8(bytes).map_err(damaged)?;
        let xml = roxmltree::ParsingOptions { allow_dtd: true, nodes_limit: NODES_MAX, ..Default::default() };
        let xml = roxmltree::Document::parse_with_options(text, xml).map_err(|e| match e {
            roxmltree::Error::NodesLimitReached => Failure::limit("The SVG drawing has too many elements.").stage("open"),
            roxmltree::Error::EntityReferenceLoop(_) => Failure::limit("The SVG drawing's entities refer to each other without end.").stage("open"),
            other => damaged(other),
        })?;
        let owned = limits.clone();
        let embedded = move |_: &str, data: Arc<Vec<u8>>, _: &Options| raster(data, &owned);
        let options = Options {
            image_href_resolver: ImageHrefResolver { resolve_data: Box::new(embedded), resolve_string: Box::new(|_, _| None) },
            font_family: "DejaVu Sans".to_owned(),
            fontdb: FONTS.clone(),
            ..Options::default()
        };
        let tree = Tree::from_xmltree(&xml, &options).map_err(|e| match e {
            resvg::usvg::Error::ElementsLimitReached => Failure::limit("The SVG drawing has too many elements.").stage("open"),
            other => damaged(other),
        })?;
        Ok(Drawing(tree))
    }

    /// Its own size in pixels.
    pub fn size(&self) -> (u32, u32) {
        let size = self.0.size();
        let side = |length: f32| (f64::from(length).ceil().clamp(1.0, f64::from(u32::MAX))) as u32;
        (side(size.width()), side(size.height()))
    }

    /// Draws it stretched to `size` pixels.
    pub fn draw(&self, size: (u32, u32)) -> Result<DynamicImage, Failure> {
        let mut canvas = Pixmap::new(size.0, size.1).ok_or_else(|| Failure::internal("a canvas without pixels"))?;
        let own = self.0.size();
        let scale = Transform::from_scale(size.0 as f32 / own.width(), size.1 as f32 / own.height());
        resvg::render(&self.0, scale, &mut canvas.as_mut());
        let mut pixels = canvas.take();
        // The canvas holds premultiplied colours, files hold plain ones.
        for pixel in pixels.as_chunks_mut::<4>().0 {
            let alpha = u32::from(pixel[3]);
            if alpha != 0 && alpha != 255 {
                for channel in pixel.iter_mut().take(3) {
                    *channel = ((u32::from(*channel) * 255 + alpha / 2) / alpha).min(255) as u8;
                }
            }
        }
        let image = RgbaImage::from_raw(size.0, size.1, pixels).ok_or_else(|| Failure::internal("a buffer of the wrong size"))?;
        Ok(DynamicImage::from(image))
    }
}

/// An embedded picture of a size within the limits; everything else is left out of the drawing.
fn raster(data: Arc<Vec<u8>>, limits: &Limits) -> Option<ImageKind> {
    let reader = image::ImageReader::new(Cursor::new(data.as_slice())).with_guessed_format().ok()?;
    let format = reader.format()?;
    let (width, height) = reader.into_dimensions().ok()?;
    limit::check(limits, width.into(), height.into(), 1).ok()?;
    Some(match format {
        image::ImageFormat::Jpeg => ImageKind::JPEG(data),
        image::ImageFormat::Png => ImageKind::PNG(data),
        image::ImageFormat::Gif => ImageKind::GIF(data),
        image::ImageFormat::WebP => ImageKind::WEBP(data),
        _ => return None,
    })
}
