//! XMP: a packet of XML whose properties may be taken out one by one.

use crate::job::Disclosure;
use roxmltree::{Document, Node, ParsingOptions};
use std::collections::BTreeSet;
use std::ops::Range;

/// Properties of a place, by their local names; those of GPS begin with that.
const PLACES: [&str; 11] = [
    "City",
    "State",
    "Country",
    "CountryCode",
    "CountryName",
    "Location",
    "LocationCreated",
    "LocationShown",
    "ProvinceState",
    "Sublocation",
    "WorldRegion",
];
/// What would be wrong for pixels that were turned and scaled.
const STALE: [&str; 2] = ["Orientation", "Thumbnails"];
/// More elements than any packet has.
const NODES_MAX: u32 = 100_000;

/// What properties give away beside places, by their local names.
const DISCLOSING: [(Disclosure, &[&str]); 6] = [
    (Disclosure::Author, &["creator", "rights", "Artist", "Copyright", "Author", "Credit", "OwnerName", "CameraOwnerName", "LastModifiedBy"]),
    (Disclosure::Device, &["Make", "Model", "SerialNumber", "BodySerialNumber", "Lens", "LensModel", "LensSerialNumber"]),
    (Disclosure::Software, &["CreatorTool", "Software", "Producer", "softwareAgent"]),
    (Disclosure::Time, &["CreateDate", "ModifyDate", "MetadataDate", "DateCreated", "DateTimeOriginal", "DateTimeDigitized", "date"]),
    (Disclosure::Description, &["title", "description", "subject", "Headline", "Keywords", "UserComment", "Instructions"]),
    (Disclosure::Thumbnail, &["Thumbnails"]),
];

fn is_place(name: &str) -> bool {
    name.starts_with("GPS") || PLACES.contains(&name)
}

/// What a packet gives away; of one that cannot be read nothing is known.
pub fn disclosed(raw: &[u8]) -> BTreeSet<Disclosure> {
    let Some(document) = text(raw).and_then(parsed) else { return BTreeSet::new() };
    let of = |name: &str| match is_place(name) {
        true => Some(Disclosure::Location),
        false => DISCLOSING.iter().find(|(_, names)| names.contains(&name)).map(|(what, _)| *what),
    };
    let elements = document.descendants().filter(Node::is_element);
    let is_empty = |node: &Node| node.descendants().all(|n| n.text().is_none_or(|text| text.trim().is_empty()) && n.attributes().len() == 0);
    let names = elements.flat_map(|node| {
        let own = (!is_empty(&node)).then(|| node.tag_name().name());
        own.into_iter().chain(node.attributes().filter(|a| !a.value().trim().is_empty()).map(|a| a.name()))
    });
    names.filter_map(of).collect()
}

fn text(raw: &[u8]) -> Option<&str> {
    std::str::from_utf8(raw).ok().map(|text| text.trim_matches(['\u{feff}', '\0']))
}

fn parsed(text: &str) -> Option<Document<'_>> {
    Document::parse_with_options(text, ParsingOptions { allow_dtd: false, nodes_limit: NODES_MAX, ..Default::default() }).ok()
}

/// The packet for a result whose pixels are upright, without places where `location` is to go. None when it cannot be read: what
/// it says is unknown then.
pub fn travelling(raw: &[u8], location: bool) -> Option<Vec<u8>> {
    let text = text(raw)?;
    let document = parsed(text)?;
    let goes = |name: &str| STALE.contains(&name) || (location && is_place(name));
    let mut holes: Vec<Range<usize>> = Vec::new();
    for node in document.descendants().filter(Node::is_element) {
        // What encloses it is gone already, with all of it.
        if holes.last().is_some_and(|hole| hole.contains(&node.range().start)) {
            continue;
        }
        if goes(node.tag_name().name()) {
            holes.push(node.range());
            continue;
        }
        holes.extend(node.attributes().filter(|a| goes(a.name())).map(|a| a.range()));
    }
    holes.sort_by_key(|hole| hole.start);
    let mut kept = String::with_capacity(text.len());
    let mut at = 0;
    for hole in holes {
        kept.push_str(text.get(at..hole.start)?);
        at = hole.end;
    }
    kept.push_str(text.get(at..)?);
    Some(kept.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: &str = r#"<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" exif:GPSLatitude="48,12N"
 exif:ISOSpeed="100" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"><exif:GPSLongitude>16,22E</exif:GPSLongitude>
<dc:creator><rdf:Seq><rdf:li>A. Painter</rdf:li></rdf:Seq></dc:creator></rdf:Description></rdf:RDF></x:xmpmeta>"#;

    #[test]
    fn places_go_and_the_rest_stays() {
        let kept = String::from_utf8(travelling(PACKET.as_bytes(), true).unwrap()).unwrap();
        assert!(!kept.contains("GPS") && !kept.contains("Orientation"), "{kept}");
        assert!(kept.contains("ISOSpeed") && kept.contains("A. Painter"), "{kept}");
        Document::parse(&kept).unwrap();
        assert_eq!(disclosed(kept.as_bytes()), BTreeSet::from([Disclosure::Author]));
        assert_eq!(disclosed(PACKET.as_bytes()), BTreeSet::from([Disclosure::Author, Disclosure::Location]));
        let kept = String::from_utf8(travelling(PACKET.as_bytes(), false).unwrap()).unwrap();
        assert!(kept.contains("GPSLatitude") && kept.contains("GPSLongitude"));
    }

    #[test]
    fn what_cannot_be_read_does_not_travel() {
        assert_eq!(travelling(b"<x:xmpmeta GPSLatitude='1'", true), None);
        assert_eq!(travelling(b"\xff\xfe", false), None);
    }
}
