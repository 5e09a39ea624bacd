//! A pdf that is cut off: the pages that are whole get a tree, a catalog and a table of places again (ISO 32000-1, 7.5). What lies in
//! packed objects is written out.

use flate2::read::ZlibDecoder;
use memchr::memmem;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::Read;

/// More objects than any document of 5,000 pages has.
const OBJECTS_MAX: usize = 2_000_000;
/// Unpacked, of one packed stream of objects.
const PACK_MAX: u64 = 64 << 20;

/// A pdf that can be read again.
pub struct Mended {
    pub bytes: Vec<u8>,
    pub pages: u64,
    /// How many there were by the word of what is left.
    pub of: Option<u64>,
}

/// Whether a pdf has an end: a place of its table after that of which nothing has to come.
pub fn has_end(bytes: &[u8]) -> bool {
    let Some(at) = memmem::rfind(bytes, b"startxref") else { return false };
    let place = number(bytes.get(at + 9..).unwrap_or_default());
    // A file that is written for the web has another table in front, whose place is 0.
    place.is_some_and(|place| place > 0 && place < at as u64)
}

/// None where no page is whole, or where the key to an encrypted one is gone.
pub fn mend(bytes: &[u8]) -> Option<Mended> {
    let objects = Objects::of(bytes)?;
    let pages: Vec<u32> = objects.in_order().filter(|id| objects.is_whole_page(*id)).collect();
    let of = objects.all().filter_map(|(_, text)| claimed(text)).max().filter(|of| *of >= pages.len() as u64);
    (!pages.is_empty()).then(|| Mended { bytes: objects.written(&pages), pages: pages.len() as u64, of })
}

/// How many pages there are, by a tree of them or by the first line of a file that is written for the web.
fn claimed(text: &[u8]) -> Option<u64> {
    let key: &[u8] = if is_of_type(text, b"Pages") { b"/Count" } else { b"/N" };
    if key == b"/N" && memmem::find(text, b"/Linearized").is_none() {
        return None;
    }
    number(after(text, key)?)
}

/// Every object that is there to its end, by its number: the dictionary or whatever else stands before a stream.
struct Objects<'b> {
    bytes: &'b [u8],
    /// Where the last whole object ends.
    end: usize,
    places: BTreeMap<u32, (usize, &'b [u8])>,
    /// Out of packed streams.
    unpacked: BTreeMap<u32, Vec<u8>>,
}

impl<'b> Objects<'b> {
    fn of(bytes: &'b [u8]) -> Option<Objects<'b>> {
        let mut objects = Objects { bytes, end: 0, places: BTreeMap::new(), unpacked: BTreeMap::new() };
        let mut at = 0;
        while let Some(found) = memmem::find(bytes.get(at..)?, b" obj").map(|found| at + found) {
            at = found + 4;
            let Some((start, id)) = header(bytes, found) else { continue };
            let Some(length) = memmem::find(bytes.get(at..)?, b"endobj") else { break };
            let body = bytes.get(at..at + length)?;
            at += length + 6;
            objects.end = at;
            let text = memmem::find(body, b"stream").map_or(body, |stream| &body[..stream]);
            if memmem::find(text, b"/Encrypt").is_some() || objects.places.len() >= OBJECTS_MAX {
                return None;
            }
            objects.places.insert(id, (start, text));
            if is_of_type(text, b"ObjStm") {
                objects.unpacked.extend(unpack(text, body).into_iter().flatten());
            }
        }
        Some(objects)
    }

    fn get(&self, id: u32) -> Option<&[u8]> {
        self.places.get(&id).map(|(_, text)| *text).or_else(|| self.unpacked.get(&id).map(Vec::as_slice))
    }

    fn all(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let packed = self.unpacked.iter().map(|(id, text)| (*id, text.as_slice()));
        self.places.iter().map(|(id, (_, text))| (*id, *text)).chain(packed)
    }

    /// As they stand in the file, which is how pages mostly follow each other.
    fn in_order(&self) -> impl Iterator<Item = u32> + use<> {
        let mut ids: Vec<(usize, u32)> = self.places.iter().map(|(id, (start, _))| (*start, *id)).collect();
        ids.sort_unstable();
        let packed: Vec<u32> = self.unpacked.keys().copied().filter(|id| !self.places.contains_key(id)).collect();
        ids.into_iter().map(|(_, id)| id).chain(packed)
    }

    /// A page of whose content everything is there.
    fn is_whole_page(&self, id: u32) -> bool {
        let Some(text) = self.get(id).filter(|text| is_of_type(text, b"Page")) else { return false };
        let contents = after(text, b"/Contents").map(references).unwrap_or_default();
        !contents.is_empty() && contents.iter().all(|id| self.get(*id).is_some())
    }

    /// The whole objects, with a tree of these pages and what belongs to it.
    fn written(&self, pages: &[u32]) -> Vec<u8> {
        let last = self.all().map(|(id, _)| id).max().unwrap_or(0);
        let (root, catalog) = (last.saturating_add(1), last.saturating_add(2));
        let mut texts: BTreeMap<u32, Vec<u8>> = self.unpacked.clone();
        texts.retain(|id, _| !self.places.contains_key(id));
        texts.extend(pages.iter().filter_map(|id| Some((*id, self.with_parent(self.get(*id)?, root)))));
        let kids: String = pages.iter().map(|id| format!("{id} 0 R ")).collect();
        texts.insert(root, format!("<</Type/Pages/Kids[{kids}]/Count {}>>", pages.len()).into_bytes());
        texts.insert(catalog, format!("<</Type/Catalog/Pages {root} 0 R>>").into_bytes());

        let mut out = self.bytes.get(..self.end).unwrap_or_default().to_vec();
        let mut places: BTreeMap<u32, usize> = self.places.iter().map(|(id, (start, _))| (*id, *start)).collect();
        for (id, text) in &texts {
            out.push(b'\n');
            places.insert(*id, out.len());
            out.extend_from_slice(format!("{id} 0 obj\n").as_bytes());
            out.extend_from_slice(text);
            out.extend_from_slice(b"\nendobj");
        }
        let mut table = String::from("xref\n0 1\n0000000000 65535 f \n");
        for (id, place) in &places {
            let _ = write!(table, "{id} 1\n{place:010} 00000 n \n");
        }
        let _ = write!(table, "trailer\n<</Size {}/Root {catalog} 0 R>>\nstartxref\n{}\n%%EOF\n", catalog.saturating_add(1), out.len() + 1);
        out.push(b'\n');
        out.extend_from_slice(table.as_bytes());
        out
    }

    /// The page below its new tree, with what it had from its old one.
    fn with_parent(&self, page: &[u8], root: u32) -> Vec<u8> {
        let Some(at) = memmem::find(page, b"/Parent") else { return page.to_vec() };
        let value = page.get(at + 7..).unwrap_or_default();
        let end = memmem::find(value, b"R").map_or(value.len(), |end| end + 1);
        let parent = references(value.get(..end).unwrap_or_default()).first().and_then(|id| self.get(*id)).unwrap_or_default();
        let mut new = format!("/Parent {root} 0 R").into_bytes();
        for key in [b"/MediaBox".as_slice(), b"/Resources", b"/Rotate"] {
            if let Some(value) = after(parent, key).filter(|_| memmem::find(page, key).is_none()).and_then(simple) {
                new.extend_from_slice(key);
                new.push(b' ');
                new.extend_from_slice(value);
            }
        }
        [page.get(..at).unwrap_or_default(), &new, value.get(end..).unwrap_or_default()].concat()
    }
}

/// Where the header of an object begins whose word `obj` comes next, and its number.
fn header(bytes: &[u8], end: usize) -> Option<(usize, u32)> {
    let digits = |end: usize| bytes.get(..end).unwrap_or_default().iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let generation = digits(end);
    let gap = end.checked_sub(generation + 1).filter(|_| generation > 0)?;
    let length = digits(gap);
    let start = gap.checked_sub(length).filter(|_| length > 0 && bytes.get(gap) == Some(&b' '))?;
    let free = start == 0 || bytes.get(start - 1).is_some_and(|byte| byte.is_ascii_whitespace() || *byte == b'j');
    let id = std::str::from_utf8(bytes.get(start..gap)?).ok()?.parse().ok()?;
    free.then_some((start, id))
}

/// What follows a key that ends there.
fn after<'t>(text: &'t [u8], key: &'t [u8]) -> Option<&'t [u8]> {
    memmem::find_iter(text, key).find_map(|at| text.get(at + key.len()..).filter(|rest| !rest.first().is_some_and(u8::is_ascii_alphabetic)))
}

fn is_of_type(text: &[u8], name: &[u8]) -> bool {
    let value = after(text, b"/Type").map(<[u8]>::trim_ascii_start).and_then(|value| value.strip_prefix(b"/")?.strip_prefix(name));
    value.is_some_and(|rest| !rest.first().is_some_and(u8::is_ascii_alphanumeric))
}

/// The number that stands first.
fn number(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii_start();
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(text.get(..digits)?).ok()?.parse().ok()
}

/// The objects that a reference, or a list of them, leads to.
fn references(value: &[u8]) -> Vec<u32> {
    let value = value.trim_ascii_start();
    let list = value.strip_prefix(b"[").map(|list| list.split(|byte| *byte == b']').next().unwrap_or_default());
    let words: Vec<&[u8]> = list.unwrap_or(value).split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
    let most = if list.is_some() { usize::MAX } else { 1 };
    let ids = words.chunks(3).take_while(|three| three.get(2).is_some_and(|word| word.starts_with(b"R"))).take(most);
    ids.filter_map(|three| number(three.first()?)?.try_into().ok()).collect()
}

/// A value that is a list without lists in it, a reference or a number.
fn simple(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii_start();
    let length = match value.first()? {
        b'[' => memmem::find(value, b"]")? + 1,
        b'0'..=b'9' => value.iter().take_while(|byte| byte.is_ascii_digit() || matches!(byte, b' ' | b'R')).count(),
        _ => return None,
    };
    value.get(..length)
}

/// The objects of a packed stream: numbers and places first, then one after the other.
fn unpack(text: &[u8], body: &[u8]) -> Option<Vec<(u32, Vec<u8>)>> {
    let stream = body.get(text.len() + 6..)?;
    let stream = stream.strip_prefix(b"\r\n").or_else(|| stream.strip_prefix(b"\n"))?;
    let (count, first) = (number(after(text, b"/N")?)?, number(after(text, b"/First")?)?);
    let mut content = Vec::new();
    match after(text, b"/Filter") {
        Some(filter) if memmem::find(filter, b"/FlateDecode").is_some() && memmem::find(text, b"/Predictor").is_none() => {
            ZlibDecoder::new(stream).take(PACK_MAX).read_to_end(&mut content).ok()?;
        }
        Some(_) => return None,
        None => content.extend_from_slice(stream),
    }
    let (head, rest) = content.split_at_checked(usize::try_from(first).ok()?)?;
    let numbers: Vec<usize> = head.split(u8::is_ascii_whitespace).filter_map(|word| std::str::from_utf8(word).ok()?.parse().ok()).collect();
    let pairs: Vec<(u32, usize)> =
        numbers.chunks(2).take(count as usize).filter_map(|two| Some((u32::try_from(*two.first()?).ok()?, *two.get(1)?))).collect();
    let ends = pairs.iter().skip(1).map(|(_, place)| *place).chain([rest.len()]);
    let one = |((id, place), end): (&(u32, usize), usize)| Some((*id, rest.get(*place..end)?.to_vec()));
    Some(pairs.iter().zip(ends).filter_map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pdf of `count` pages, each with its content before it; the tree comes first.
    fn paged(count: u32) -> Vec<u8> {
        let mut out = b"%PDF-1.4\n".to_vec();
        let kids: String = (0..count).map(|n| format!("{} 0 R ", 11 + n * 2)).collect();
        let tree = format!("2 0 obj\n<</Type/Pages/MediaBox[0 0 100 100]/Kids[{kids}]/Count {count}>>\nendobj\n");
        out.extend(format!("1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n{tree}").bytes());
        for n in 0..count {
            let (content, page) = (10 + n * 2, 11 + n * 2);
            out.extend(format!("{content} 0 obj\n<</Length 9>>stream\n0 0 9 9 re\nendstream\nendobj\n").bytes());
            out.extend(format!("{page} 0 obj\n<</Type /Page/Parent 2 0 R/Contents {content} 0 R>>\nendobj\n").bytes());
        }
        out
    }

    #[test]
    fn whole_pages_are_found_wherever_it_breaks_off() {
        let whole = paged(5);
        assert!(!has_end(&whole));
        for cut in 0..=whole.len() {
            let there = &whole[..cut];
            let expected = memmem::find_iter(there, b"/Type /Page").filter(|at| memmem::find(&there[*at..], b"endobj").is_some()).count() as u64;
            let Some(mended) = mend(there) else {
                assert_eq!(expected, 0, "cut at {cut}");
                continue;
            };
            assert_eq!((mended.pages, mended.of), (expected, Some(5)), "cut at {cut}");
            assert!(has_end(&mended.bytes));
            let pdf = hayro_syntax::Pdf::new(mended.bytes).unwrap();
            assert_eq!(pdf.pages().len() as u64, expected);
            assert_eq!(pdf.pages()[0].render_dimensions(), (100.0, 100.0), "the size comes from the old tree");
        }
    }

    #[test]
    fn packed_objects_are_written_out() {
        use flate2::{Compression, write::ZlibEncoder};
        use std::io::Write as _;
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
        packed.write_all(b"4 0 <</Type/Page/MediaBox[0 0 50 50]/Contents 3 0 R>>").unwrap();
        let packed = packed.finish().unwrap();
        let mut bytes = b"%PDF-1.5\n3 0 obj\n<</Length 4>>stream\n0 0 m\nendstream\nendobj\n".to_vec();
        bytes.extend(format!("5 0 obj\n<</Type/ObjStm/N 1/First 4/Filter/FlateDecode/Length {}>>stream\n", packed.len()).bytes());
        bytes.extend(packed);
        bytes.extend(b"\nendstream\nendobj\n6 0 obj\n<</Type/XRef");
        let mended = mend(&bytes).unwrap();
        assert_eq!((mended.pages, mended.of), (1, None));
        assert_eq!(hayro_syntax::Pdf::new(mended.bytes).unwrap().pages().len(), 1);
    }

    proptest::proptest! {
        #[test]
        fn anything_is_survived(at in 0usize..600, with in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40)) {
            let mut bytes = paged(3);
            let at = at.min(bytes.len());
            bytes.splice(at..(at + with.len()).min(bytes.len()), with);
            mend(&bytes);
            has_end(&bytes);
        }
    }
}
