//! Reading and rewriting pdf.

mod info;
mod layout;
mod mend;
mod merge;
mod pages;
mod qpdf;
mod rewrite;
mod text;

pub use info::Info;
pub use merge::Merge;
pub use pages::{Options as PageOptions, Pages, draw};
pub use rewrite::{Encrypt, Rewrite, encrypt};
pub use text::Text;

use super::source;
use crate::convert::{Ctx, Input, Produced};
use crate::failure::{Code, Failure};
use hayro_syntax::{LoadPdfError, Pdf};
use std::path::{Path, PathBuf};

/// Opens a pdf and checks its number of pages.
pub fn open(ctx: &Ctx, input: &Input, password: Option<&str>) -> Result<Pdf, Failure> {
    source::check(ctx, input)?;
    let bytes = read(&input.path)?;
    if !mend::has_end(&bytes) {
        let hint = "Set `salvage` where the pdf becomes a pdf or pictures to take the pages that are there.";
        return Err(Failure::corrupt("The PDF file is incomplete: its end is missing.").hint(hint).stage("open"));
    }
    parse(bytes, password, ctx)
}

/// A pdf, and where it was broken what of it was saved.
pub struct Opened {
    pub pdf: Pdf,
    /// Where it is to be read from.
    pub path: PathBuf,
    /// The share of its pages that are there.
    pub recovered: Option<f64>,
    pub warning: Option<String>,
}

/// Opens a pdf; of one that is cut off, where that is wanted, the pages that are whole.
pub fn open_as(ctx: &Ctx, input: &Input, password: Option<&str>, salvage: bool) -> Result<Opened, Failure> {
    let whole = open(ctx, input, password);
    match whole {
        Err(failure) if salvage && failure.code == Code::CorruptInput => {
            let mended = read(&input.path).ok().and_then(|bytes| mend::mend(&bytes)).ok_or(failure)?;
            let path = ctx.scratch.join("mended.pdf");
            std::fs::write(&path, &mended.bytes).map_err(Failure::internal)?;
            let (pages, of) = (mended.pages, mended.of.map_or(String::new(), |of| format!(" of {of}")));
            let warning = Some(format!("The pdf is cut off; {pages}{of} pages are there."));
            let recovered = mended.of.map(|of| pages as f64 / of as f64);
            Ok(Opened { pdf: parse(mended.bytes, None, ctx)?, path, recovered, warning })
        }
        whole => Ok(Opened { pdf: whole?, path: input.path.clone(), recovered: None, warning: None }),
    }
}

impl Opened {
    /// Says of a result what is not in it.
    pub fn tell(&self, mut produced: Produced) -> Produced {
        for file in &mut produced.files {
            file.expect.recovered = self.recovered;
        }
        produced.warnings.extend(self.warning.clone());
        produced
    }
}

/// Reads a pdf, of which it is known that it is one.
pub fn load(path: &Path, password: Option<&str>, ctx: &Ctx) -> Result<Pdf, Failure> {
    parse(read(path)?, password, ctx)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|e| Failure::internal(e).stage("open"))
}

fn parse(bytes: Vec<u8>, password: Option<&str>, ctx: &Ctx) -> Result<Pdf, Failure> {
    let pdf = Pdf::new_with_password(bytes, password.unwrap_or("")).map_err(|e| refused(e, password.is_some()).stage("open"))?;
    let pages = pdf.pages().len() as u64;
    if pages == 0 {
        return Err(Failure::corrupt("The pdf has no pages that can be read.").stage("open"));
    }
    if pages > ctx.limits.pages_max {
        return Err(Failure::limit(format!("The document has {pages} pages; at most {} are converted.", ctx.limits.pages_max)).stage("open"));
    }
    Ok(pdf)
}

fn refused(error: LoadPdfError, password_given: bool) -> Failure {
    match error {
        // The crate keeps the type of the cause to itself; its name is all there is to go by.
        LoadPdfError::Decryption(cause) => match format!("{cause:?}").as_str() {
            "PasswordProtected" if password_given => Failure::new(Code::WrongPassword, "The password does not open this pdf."),
            "PasswordProtected" => Failure::new(Code::PasswordRequired, "This pdf opens only with a password."),
            "UnsupportedAlgorithm" => Failure::new(Code::UnsupportedFormat, "This pdf is encrypted in a way that cannot be read."),
            other => Failure::corrupt("The encryption of this pdf is broken.").detail(other),
        },
        LoadPdfError::Invalid => Failure::corrupt("This is not a readable PDF file."),
    }
}
