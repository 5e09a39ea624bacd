//! XMP: a packet of XML whose properties may be taken out one by one.

use roxmltree::{Document, Node, ParsingOptions};
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

/// The packet for a result whose pixels are upright, without places where `location` is to go. None when it cannot be read: what
/// it says is unknown then.
pub fn travelling(raw: &[u8], location: bool) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(raw).ok()?.trim_matches(['\u{feff}', '\0']);
    let options = ParsingOptions { allow_dtd: false, nodes_limit: NODES_MAX, ..Default::default() };
    let document = Document::parse_with_options(text, options).ok()?;
    let goes = |name: &str| STALE.contains(&name) || (location && (name.starts_with("GPS") || PLACES.contains(&name)));
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
        let kept = String::from_utf8(travelling(PACKET.as_bytes(), false).unwrap()).unwrap();
        assert!(kept.contains("GPSLatitude") && kept.contains("GPSLongitude"));
    }

    #[test]
    fn what_cannot_be_read_does_not_travel() {
        assert_eq!(travelling(b"<x:xmpmeta GPSLatitude='1'", true), None);
        assert_eq!(travelling(b"\xff\xfe", false), None);
    }
}
