//! PDF out: one page a picture, which fills it at 96 pixels an inch.

use super::jpeg;
use super::picture::Picture;
use crate::failure::Failure;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use image::DynamicImage;
use pdf_writer::{Content, Filter, Finish, Name, Pdf, Rect, Ref};
use std::io::Write;

const POINTS_PER_PIXEL: f32 = 72.0 / 96.0;
const LEVEL: u32 = 6;

/// A picture in the bytes of its page.
pub struct Page {
    size: (u32, u32),
    grey: bool,
    filter: Filter,
    bytes: Vec<u8>,
}

impl Page {
    pub fn new(picture: &Picture, settings: &jpeg::Settings, lossless: bool) -> Result<Page, Failure> {
        let size = picture.size();
        Ok(match picture {
            Picture::Planes(planes) => {
                Page { size, grey: planes.chroma.is_none(), filter: Filter::DctDecode, bytes: jpeg::encode_planes(planes, settings)? }
            }
            Picture::Pixels(image) if lossless => {
                let (grey, pixels) = match image {
                    DynamicImage::ImageLuma8(_) | DynamicImage::ImageLuma16(_) => (true, image.to_luma8().into_raw()),
                    other => (false, other.to_rgb8().into_raw()),
                };
                let mut packed = ZlibEncoder::new(Vec::new(), Compression::new(LEVEL));
                packed.write_all(&pixels).map_err(Failure::internal)?;
                Page { size, grey, filter: Filter::FlateDecode, bytes: packed.finish().map_err(Failure::internal)? }
            }
            Picture::Pixels(image) => {
                let grey = matches!(image, DynamicImage::ImageLuma8(_) | DynamicImage::ImageLuma16(_));
                Page { size, grey, filter: Filter::DctDecode, bytes: jpeg::encode_pixels(image, settings)? }
            }
        })
    }
}

pub fn document(pages: impl Iterator<Item = Result<Page, Failure>>) -> Result<Vec<u8>, Failure> {
    let mut pdf = Pdf::new();
    let (catalog, tree) = (Ref::new(1), Ref::new(2));
    let (mut kids, mut next) = (Vec::new(), 3);
    for page in pages {
        let ids = [next, next + 1, next + 2].map(Ref::new);
        next += 3;
        add(&mut pdf, &page?, tree, ids)?;
        kids.push(ids[0]);
    }
    let count = i32::try_from(kids.len()).map_err(Failure::internal)?;
    pdf.catalog(catalog).pages(tree);
    pdf.pages(tree).kids(kids).count(count);
    Ok(pdf.finish())
}

fn add(pdf: &mut Pdf, page: &Page, tree: Ref, [id, image, content]: [Ref; 3]) -> Result<(), Failure> {
    let name = Name(b"P");
    let (width, height) = (page.size.0 as f32 * POINTS_PER_PIXEL, page.size.1 as f32 * POINTS_PER_PIXEL);
    let mut entry = pdf.page(id);
    entry.media_box(Rect::new(0.0, 0.0, width, height)).parent(tree).contents(content);
    entry.resources().x_objects().pair(name, image);
    entry.finish();
    let mut object = pdf.image_xobject(image, &page.bytes);
    object.filter(page.filter);
    object.width(i32::try_from(page.size.0).map_err(Failure::internal)?).height(i32::try_from(page.size.1).map_err(Failure::internal)?);
    if page.grey {
        object.color_space().device_gray();
    } else {
        object.color_space().device_rgb();
    }
    object.bits_per_component(8);
    object.finish();
    let mut drawing = Content::new();
    drawing.transform([width, 0.0, 0.0, height, 0.0, 0.0]).x_object(name);
    pdf.stream(content, &drawing.finish());
    Ok(())
}
