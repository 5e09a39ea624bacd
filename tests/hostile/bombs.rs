//! Small files that ask for very much: pixels, bytes, pages or depth.

use flate2::Compression;
use flate2::write::ZlibEncoder;
use std::io::Write;
use std::process::{Command, Stdio};

/// What the packed bombs unpack to; each takes a thousandth of that.
const ZEROS: usize = 256 << 20;

/// Those that convert in little time and memory, as what they hide is never unpacked whole.
pub const DEFUSED: [&str; 2] = ["bomb-text.png", "bomb-stream.pdf"];

/// File names and bytes; others than the [`DEFUSED`] ones must be refused or fail.
pub fn bombs() -> Vec<(String, Vec<u8>)> {
    let named = [
        ("pixels.png", png(&[])),
        ("text.png", png(&chunk(b"zTXt", &[b"Comment\0\0".as_slice(), &deflated(ZEROS)].concat()))),
        ("screen.gif", gif()),
        ("strip.tiff", tiff()),
        ("canvas.webp", webp()),
        ("sides.jxl", jxl()),
        ("laughs.svg", laughs()),
        ("depth.svg", format!("{SVG}{}{}</svg>", "<g>".repeat(200_000), "</g>".repeat(200_000)).into_bytes()),
        ("uses.svg", uses()),
        ("stream.pdf", pdf(&format!("[{}]", "/FlateDecode ".repeat(2)), &deflated_twice(), 1)),
        ("pages.pdf", pdf("/FlateDecode", &deflated(0), 20_000)),
        ("zeros.gz", piped("gzip", &["-9"])),
        ("zeros.xz", piped("xz", &["-1"])),
        ("zeros.zst", piped("zstd", &["-3", "-q"])),
        ("zeros.bz2", piped("bzip2", &["-9"])),
    ];
    named.map(|(name, bytes)| (format!("bomb-{name}"), bytes)).into()
}

const SVG: &str = r#"<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="100" height="100">"#;

/// 60,000 pixels each way, and all of them said to be there. PNG (third edition), 11.2.
fn png(more: &[u8]) -> Vec<u8> {
    let side = if more.is_empty() { 60_000u32 } else { 1 };
    let header = [&side.to_be_bytes()[..], &side.to_be_bytes(), &[1, 0, 0, 0, 0]].concat();
    let rows = deflated(if more.is_empty() { ZEROS } else { 2 });
    [b"\x89PNG\r\n\x1a\n".as_slice(), &chunk(b"IHDR", &header), more, &chunk(b"IDAT", &rows), &chunk(b"IEND", &[])].concat()
}

fn chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut sum = flate2::Crc::new();
    sum.update(kind);
    sum.update(body);
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], kind, body, &sum.sum().to_be_bytes()].concat()
}

fn deflated(zeros: usize) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![0; zeros]).unwrap();
    encoder.finish().unwrap()
}

fn deflated_twice() -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&deflated(ZEROS)).unwrap();
    encoder.finish().unwrap()
}

/// A screen of 65,535 pixels each way with a thousand pictures of one pixel. GIF89a, 18 and 20.
fn gif() -> Vec<u8> {
    let screen = [b"GIF89a".as_slice(), &[0xff, 0xff, 0xff, 0xff, 0x80, 0, 0], &[0, 0, 0, 255, 255, 255]].concat();
    let picture = [0x2c, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 2, 0x44, 1, 0];
    [screen, picture.repeat(1000), vec![0x3b]].concat()
}

/// One strip of 200,000 rows of as many grey pixels, which is not there. TIFF 6.0, section 2.
fn tiff() -> Vec<u8> {
    let entries: [(u16, u32); 8] = [(256, 200_000), (257, 200_000), (258, 8), (259, 1), (262, 1), (273, 8), (278, 200_000), (279, 4_000_000_000)];
    let count = u16::try_from(entries.len()).unwrap().to_le_bytes();
    let rows = entries.map(|(tag, value)| [&tag.to_le_bytes()[..], &4u16.to_le_bytes(), &1u32.to_le_bytes(), &value.to_le_bytes()].concat());
    [b"II*\0\x08\0\0\0".as_slice(), &count, &rows.concat(), &[0; 4]].concat()
}

/// The largest canvas there is, 16,384 pixels each way, in lossless form. RFC 9649, 3.4.
fn webp() -> Vec<u8> {
    let sides = (16_383u32 | (16_383 << 14)).to_le_bytes();
    let body = [b"WEBPVP8L".as_slice(), &101u32.to_le_bytes(), &[0x2f], &sides, &[0; 96]].concat();
    [b"RIFF".as_slice(), &u32::try_from(body.len()).unwrap().to_le_bytes(), &body, &[0]].concat()
}

/// 2^30 pixels each way. ISO/IEC 18181-1, the size header: a bit, two for the width of the number and thirty for it, three for the
/// ratio, then the other side; from the lowest bit on.
fn jxl() -> Vec<u8> {
    let side: u128 = 3 | (((1 << 30) - 1) << 2);
    let bits = side << 1 | side << 36;
    [&[0xff, 0x0a], &bits.to_le_bytes()[..9], &[0; 64]].concat()
}

/// Ten entities of ten entities, nine times over.
fn laughs() -> Vec<u8> {
    let entities: String = (1..10).map(|n| format!("<!ENTITY l{n} \"{}\">", format!("&l{};", n - 1).repeat(10))).collect();
    format!("<?xml version=\"1.0\"?><!DOCTYPE svg [<!ENTITY l0 \"ha\">{entities}]>{SVG}<text>&l9;</text></svg>").into_bytes()
}

/// Groups that use the one before ten times, ten deep: ten thousand million squares.
fn uses() -> Vec<u8> {
    let groups = (1..=10).map(|n| format!("<g id=\"g{n}\">{}</g>", format!("<use xlink:href=\"#g{}\"/>", n - 1).repeat(10)));
    format!("{SVG}<defs><rect id=\"g0\" width=\"1\" height=\"1\"/>{}</defs><use xlink:href=\"#g10\"/></svg>", groups.collect::<String>()).into_bytes()
}

/// Pages that all have this content. ISO 32000-1, 7.5 and 7.7.3.
fn pdf(filter: &str, content: &[u8], pages: usize) -> Vec<u8> {
    let kids: String = (0..pages).map(|n| format!("{} 0 R ", n + 4)).collect();
    let first = [
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        format!("<< /Type /Pages /Count {pages} /Kids [{kids}] >>").into_bytes(),
        [format!("<< /Length {} /Filter {filter} >>\nstream\n", content.len()).as_bytes(), content, b"\nendstream"].concat(),
    ];
    let page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 3 0 R >>".to_vec();
    let objects: Vec<Vec<u8>> = first.into_iter().chain(std::iter::repeat_n(page, pages)).collect();
    let (mut file, mut places) = (b"%PDF-1.4\n".to_vec(), String::new());
    for (n, object) in objects.iter().enumerate() {
        places += &format!("{:010} 00000 n \n", file.len());
        file.extend([format!("{} 0 obj\n", n + 1).as_bytes(), object, b"\nendobj\n"].concat());
    }
    let end = file.len();
    let count = objects.len() + 1;
    file.extend(format!("xref\n0 {count}\n0000000000 65535 f \n{places}trailer\n<< /Size {count} /Root 1 0 R >>\nstartxref\n{end}\n%%EOF\n").bytes());
    file
}

/// Zeros through one of the programs that every machine has.
fn piped(program: &str, args: &[&str]) -> Vec<u8> {
    let mut packer = Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = packer.stdin.take().unwrap();
    let feeding = std::thread::spawn(move || (0..ZEROS >> 20).try_for_each(|_| input.write_all(&[0; 1 << 20])).unwrap());
    let done = packer.wait_with_output().unwrap();
    feeding.join().unwrap();
    assert!(done.status.success(), "{program}");
    done.stdout
}
