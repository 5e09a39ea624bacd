//! Reading and rewriting pdf.

mod info;
mod layout;
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
use crate::convert::{Ctx, Input};
use crate::failure::{Code, Failure};
use hayro_syntax::{LoadPdfError, Pdf};
use std::path::Path;

/// Opens a pdf and checks its number of pages.
pub fn open(ctx: &Ctx, input: &Input, password: Option<&str>) -> Result<Pdf, Failure> {
    source::check(ctx, input)?;
    load(&input.path, password, ctx)
}

/// Reads a pdf, of which it is known that it is one.
pub fn load(path: &Path, password: Option<&str>, ctx: &Ctx) -> Result<Pdf, Failure> {
    let bytes = std::fs::read(path).map_err(|e| Failure::internal(e).stage("open"))?;
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
