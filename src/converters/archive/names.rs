//! Names of entries: from bytes to text, and from text to a path that stays inside.

use super::fault::shown;
use crate::failure::{Code, Failure};
use encoding_rs::Encoding as Standard;

/// How names that are not UTF-8 are read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Encoding {
    /// The code page of the first PCs, which zip names have unless they say otherwise.
    Cp437,
    Standard(&'static Standard),
    Auto,
}

impl Encoding {
    pub fn parse(label: &str) -> Option<Encoding> {
        match label.to_ascii_lowercase().as_str() {
            "auto" => Some(Encoding::Auto),
            "cp437" | "ibm437" => Some(Encoding::Cp437),
            "cp866" => Some(Encoding::Standard(encoding_rs::IBM866)),
            "cp932" => Some(Encoding::Standard(encoding_rs::SHIFT_JIS)),
            "cp936" => Some(Encoding::Standard(encoding_rs::GBK)),
            other => Standard::for_label(other.as_bytes()).map(Encoding::Standard),
        }
    }

    /// Settles `auto` by looking at all names that are not UTF-8.
    pub fn settled<'a>(self, names: impl Iterator<Item = &'a [u8]>) -> Encoding {
        if self != Encoding::Auto {
            return self;
        }
        let mut detector = chardetng::EncodingDetector::new(chardetng::Iso2022JpDetection::Deny);
        let mut fed = 0;
        for name in names.filter(|n| std::str::from_utf8(n).is_err()) {
            detector.feed(name, false);
            detector.feed(b"\n", false);
            fed += name.len();
        }
        if fed == 0 {
            return Encoding::Cp437;
        }
        detector.feed(b"", true);
        Encoding::Standard(detector.guess(None, chardetng::Utf8Detection::Allow))
    }

    pub fn decode(self, raw: &[u8]) -> String {
        if let Ok(text) = std::str::from_utf8(raw) {
            return text.to_owned();
        }
        match self {
            Encoding::Standard(encoding) => encoding.decode_without_bom_handling(raw).0.into_owned(),
            Encoding::Cp437 | Encoding::Auto => raw.iter().map(|b| cp437(*b)).collect(),
        }
    }
}

fn cp437(byte: u8) -> char {
    const UPPER: &str =
        "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";
    match byte.checked_sub(128) {
        None => char::from(byte),
        Some(n) => UPPER.chars().nth(usize::from(n)).unwrap_or('\u{fffd}'),
    }
}

fn escape(path: &str, why: &str) -> Failure {
    Failure::new(Code::PolicyViolation, format!("The entry `{}` {why}.", shown(path))).stage("open")
}

/// The path with its separators and dots put right, and what is wrong with it. An empty path is the archive's own folder.
pub fn inside(name: &str, backslash_separates: bool) -> (String, Option<Failure>) {
    let name = if backslash_separates { name.replace('\\', "/") } else { name.to_owned() };
    let drive = matches!(name.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic());
    let hazard = if name.contains('\0') {
        Some(escape(&name, "has a NUL in its name"))
    } else if name.starts_with(['/', '\\']) {
        Some(escape(&name, "has an absolute path"))
    } else if drive {
        Some(escape(&name, "names a drive"))
    } else if name.split(['/', '\\']).any(|part| part == "..") {
        Some(escape(&name, "leads out of the archive by `..`"))
    } else if name.len() > 4096 || name.split('/').any(|part| part.len() > 255) {
        Some(escape(&name, "has a name that is too long"))
    } else {
        None
    };
    let parts: Vec<&str> = name.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
    (parts.join("/"), hazard)
}

/// Why a symbolic link at `path` with this target would lead outside; `..` may only stand at the target's beginning.
pub fn link_hazard(path: &str, target: &str) -> Option<Failure> {
    let out = || Some(escape(path, "is a link that leads out of the archive"));
    if target.is_empty()
        || target.contains('\0')
        || target.starts_with(['/', '\\'])
        || target.contains(':') && target.as_bytes().get(1) == Some(&b':')
    {
        return out();
    }
    let folders = path.split('/').count() - 1;
    let mut parts = target.split(['/', '\\']).filter(|p| !p.is_empty() && *p != ".").peekable();
    let mut up = 0;
    while parts.next_if_eq(&"..").is_some() {
        up += 1;
    }
    if up > folders || parts.any(|p| p == "..") { out() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_encodings_are_told_apart() {
        let russian = ["Отчёт за год.txt", "Фотографии", "Новая папка/документ.doc"];
        let raw: Vec<Vec<u8>> = russian.iter().map(|n| encoding_rs::IBM866.encode(n).0.into_owned()).collect();
        let settled = Encoding::Auto.settled(raw.iter().map(Vec::as_slice));
        let decoded: Vec<String> = raw.iter().map(|r| settled.decode(r)).collect();
        assert_eq!(decoded, russian);
        assert_eq!(Encoding::Cp437.decode(b"\x81ber\x9a"), "überÜ");
        assert_eq!((128..=255).filter(|b| cp437(*b) == '\u{fffd}').count(), 0);
    }

    #[test]
    fn paths_stay_inside() {
        for bad in ["../a", "a/../../b", "/etc/passwd", "C:\\x", "c:x", "a\\..\\b", "a\0b", "\\\\host\\share"] {
            assert!(inside(bad, false).1.is_some() && inside(bad, true).1.is_some(), "{bad}");
        }
        for (good, clean) in [("./a//b/", "a/b"), ("-rf", "-rf"), ("a\nb", "a\nb"), ("..a/b..", "..a/b.."), ("./", "")] {
            let (path, hazard) = inside(good, false);
            assert_eq!((path.as_str(), hazard.is_none()), (clean, true), "{good}");
        }
    }

    #[test]
    fn links_stay_inside() {
        for (path, target) in [("a", "/etc"), ("a", ".."), ("a/b", "../.."), ("a/b", "c/../../.."), ("a", "C:\\x"), ("a", "")] {
            assert!(link_hazard(path, target).is_some(), "{path} to {target}");
        }
        for (path, target) in [("a", "b"), ("a/b", "../c"), ("a/b/c", "../../d/e"), ("a", "./b")] {
            assert!(link_hazard(path, target).is_none(), "{path} to {target}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_clean_path_never_climbs(name in "[a/.\\\\:]{0,12}") {
            let (path, hazard) = inside(&name, true);
            proptest::prop_assert!(hazard.is_some() || !(path.starts_with('/') || path.split('/').any(|p| p == "..")));
        }
    }
}
