//! Errors on their way through readers and writers: a [`Failure`] travels inside an `io::Error` and is taken out again.

use crate::failure::{Code, Failure};
use std::io;

pub fn wrap(failure: Failure) -> io::Error {
    io::Error::other(failure)
}

/// The failure inside, or none for an error that is not ours.
pub fn unwrap(error: &io::Error) -> Option<Failure> {
    let mut inner = error.get_ref().map(|e| e as &(dyn std::error::Error + 'static));
    while let Some(cause) = inner {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return Some(failure.clone());
        }
        inner =
            cause.downcast_ref::<io::Error>().and_then(|e| e.get_ref()).map(|e| e as &(dyn std::error::Error + 'static)).or_else(|| cause.source());
    }
    None
}

/// An error met while reading the entry `path`, or the archive itself.
pub fn reading(error: io::Error, path: Option<&str>) -> Failure {
    unwrap(&error).unwrap_or_else(|| {
        let words = match path {
            Some(path) => format!("The entry `{}` is damaged or cut off.", shown(path)),
            None => "The archive is damaged or cut off.".to_owned(),
        };
        Failure::corrupt(words).detail(error).stage("decode")
    })
}

/// An error met while writing the result: everything wrong with the input has been wrapped before.
pub fn writing(error: io::Error) -> Failure {
    unwrap(&error)
        .unwrap_or_else(|| match error.kind() {
            io::ErrorKind::FileTooLarge => Failure::limit("The result is larger than this queue allows.").detail(error),
            _ => Failure::internal(error),
        })
        .stage("encode")
}

pub fn password_required() -> Failure {
    Failure::new(Code::PasswordRequired, "The archive is encrypted and no password was given.").stage("open")
}

pub fn wrong_password() -> Failure {
    Failure::new(Code::WrongPassword, "The password does not open this archive.").stage("decode")
}

/// A path fit for a sentence.
pub fn shown(path: &str) -> String {
    let clean: String = path.chars().map(|c| if c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) { '\u{fffd}' } else { c }).collect();
    if clean.chars().count() > 120 { clean.chars().take(117).chain("...".chars()).collect() } else { clean }
}
