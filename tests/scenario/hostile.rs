//! Bad input of every family through the real binary and its jail: each file ends with its stable code and a sentence, in
//! bounded time, with no output and nothing left behind, and nobody outside is asked for anything.

use crate::support::command::{Done, convert, good, millrace};
use crate::support::direct::{fixture, tool};
use crate::support::server::{Config, Server, text_of};
use serde_json::json;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// Files of one call and the code that each must end with.
#[derive(Default)]
struct Table(Vec<(String, &'static [&'static str])>);

impl Table {
    fn file(mut self, path: impl Into<PathBuf>, codes: &'static [&'static str]) -> Self {
        self.0.push((path.into().to_string_lossy().into_owned(), codes));
        self
    }

    fn fixtures(mut self, codes: &'static [&'static str], names: &[&str]) -> Self {
        self.0.extend(names.iter().map(|name| (fixture(name).to_string_lossy().into_owned(), codes)));
        self
    }

    /// Converts all in one call; every one must fail with one of its codes and leave nothing.
    fn all_fail(&self, folder: &Path, to: &str, exit: i32) -> Done {
        self.all_fail_with(folder, to, exit, &[], &[])
    }

    fn all_fail_with(&self, folder: &Path, to: &str, exit: i32, more: &[&str], variables: &[(&str, &str)]) -> Done {
        let out = folder.join(format!("out-{to}"));
        let out_text = out.to_string_lossy();
        let mut args: Vec<&str> = vec!["convert", "--to", to, "--out-dir", &out_text];
        args.extend(more);
        args.push("--");
        args.extend(self.0.iter().map(|(path, _)| path.as_str()));
        let done = millrace(folder, &args, variables);
        for (path, codes) in &self.0 {
            // One file is complained of as one of many is.
            let (code, words) = done.about(path).split_once(": ").unwrap();
            assert!(codes.contains(&code), "{path} to {to}: {code}: {words}, not {codes:?}");
            assert!(words.len() > 15 && words.ends_with('.') && words.contains(' '), "{path}: `{words}` is a sentence");
        }
        assert_eq!(done.exit, exit, "{}", done.complaint);
        assert!(!out.exists(), "outputs were left: {:?}", std::fs::read_dir(&out).map(|d| d.flatten().map(|e| e.path()).collect::<Vec<_>>()));
        done
    }
}

const UNKNOWN: &[&str] = &["unsupported_format"];
const CORRUPT: &[&str] = &["corrupt_input"];
const LIMIT: &[&str] = &["limit_exceeded"];
const VIOLATION: &[&str] = &["policy_violation"];
const PASSWORD: &[&str] = &["password_required"];
const NO_WAY: &[&str] = &["unsupported_conversion"];

/// Bytes without a pattern, the same every time.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    // The first bytes are no format's, and no text's.
    [0x9d, 1, 2, 3].into_iter().chain((4..length).map(|_| next())).collect()
}

fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn empty_and_random_files_of_every_family_are_refused() {
    for (to, names) in [
        ("webp", ["png", "jpg", "gif", "webp", "avif", "heic", "tiff", "bmp", "svg"].as_slice()),
        ("pdf", &["docx", "doc", "odt", "xlsx", "pptx", "rtf", "txt"]),
        ("tar", &["zip", "tar", "tar.gz", "7z", "xz", "zst"]),
        ("mp4", &["mp4", "mkv", "avi", "webm"]),
        ("wav", &["mp3", "flac", "ogg", "m4a"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut table = Table::default();
        for name in names {
            table = table.file(write(folder.path(), &format!("empty.{name}"), b""), UNKNOWN);
            table = table.file(write(folder.path(), &format!("noise.{name}"), noise(4000)), UNKNOWN);
        }
        table.all_fail(folder.path(), to, 2);
    }
}

#[test]
fn truncated_and_oversized_pictures_end_with_their_code() {
    let folder = tempfile::tempdir().unwrap();
    let kinds = ["png/broken/truncated.png", "jpeg/broken/truncated.jpg", "gif/broken/truncated.gif", "webp/broken/truncated.webp"];
    let more =
        ["avif/broken/truncated.avif", "heic/broken/truncated.heic", "tiff/broken/truncated.tiff", "bmp/broken/truncated.bmp", "svg/broken/cut.svg"];
    let names: Vec<String> = kinds.iter().chain(&more).map(|name| format!("image/{name}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // 60000 x 60000 pixels each.
    let huge = ["image/png/broken/huge.png", "image/jpeg/broken/huge.jpg", "image/svg/broken/huge.svg"];
    Table::default().fixtures(CORRUPT, &names).fixtures(LIMIT, &huge).all_fail(folder.path(), "webp", 1);
}

#[test]
fn truncated_documents_are_named_by_what_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let cut = ["document/docx/broken/cut.docx", "document/xlsx/broken/cut.xlsx", "document/pptx/broken/cut.pptx", "document/odt/broken/cut.odt"];
    let done = Table::default().fixtures(CORRUPT, &cut).all_fail(folder.path(), "pdf", 1);
    assert!(done.about(&fixture(cut[0]).to_string_lossy()).contains("Word"), "{}", done.complaint);
    Table::default().fixtures(CORRUPT, &["document/pdf/broken/cut.pdf"]).all_fail(folder.path(), "txt", 1);
}

#[test]
fn hostile_archives_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let zip = ["dotdot", "absolute", "link_out", "overlap", "backslash", "drive"].map(|name| format!("archive/zip/broken/{name}.zip"));
    let tar = ["dotdot", "absolute", "link_out", "device", "behind_link"].map(|name| format!("archive/tar/broken/{name}.tar"));
    let names: Vec<&str> = zip.iter().chain(&tar).map(String::as_str).collect();
    let cut = [
        "archive/zip/broken/truncated.zip",
        "archive/tar.gz/broken/truncated.tar.gz",
        "archive/7z/broken/truncated.7z",
        "archive/zip/broken/flipped.zip",
    ];
    let locked = ["archive/zip/odd/aes.zip", "archive/zip/odd/zipcrypto.zip", "archive/7z/odd/encrypted.7z"];
    let table = || Table::default().fixtures(VIOLATION, &names).fixtures(CORRUPT, &cut).fixtures(PASSWORD, &locked);
    table().all_fail(folder.path(), "tar.zst", 1);
    table().all_fail(folder.path(), "files", 1);
    assert!(!folder.path().join("evil.txt").exists() && !Path::new("/etc/cron.d/evil").exists());
}

/// 64 MiB of nothing in some 64 KiB: a thousand to one.
#[test]
fn bombs_are_cut_short() {
    let folder = tempfile::tempdir().unwrap();
    let zeros = write(folder.path(), "zeros", vec![0; 64 << 20]);
    let mut table = Table::default();
    for (name, format) in [("bomb.zip", ["--format", "zip"]), ("bomb.tar.gz", ["--format", "ustar"]), ("bomb.7z", ["--format", "7zip"])] {
        let bomb = folder.path().join(name);
        let mut args = vec!["-cf", bomb.to_str().unwrap(), format[0], format[1]];
        args.extend(if name.ends_with("gz") { ["-z", "-C"] } else { ["--no-acls", "-C"] });
        tool("bsdtar", &[&args[..], &[folder.path().to_str().unwrap(), "zeros"]].concat());
        assert!(std::fs::metadata(&bomb).unwrap().len() * 300 < 64 << 20, "{name} is a bomb");
        table = table.file(bomb, LIMIT);
    }
    std::fs::remove_file(zeros).unwrap();
    table.all_fail(folder.path(), "tar.xz", 1);
    table.all_fail(folder.path(), "files", 1);
}

#[test]
fn locked_documents_ask_for_their_password_and_do_not_hang() {
    let folder = tempfile::tempdir().unwrap();
    let office = ["document/docx/odd/password.docx", "document/xlsx/odd/password.xlsx", "document/odt/odd/password.odt"];
    Table::default().fixtures(PASSWORD, &office).all_fail(folder.path(), "pdf", 1);
    let pdf = ["document/pdf/odd/password-128.pdf", "document/pdf/odd/password-256.pdf"];
    Table::default().fixtures(PASSWORD, &pdf).all_fail(folder.path(), "txt", 1);
}

#[test]
fn files_beyond_their_queues_limit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let queues = folder.path().join("queues");
    std::fs::create_dir(&queues).unwrap();
    for queue in ["video", "audio", "image", "document", "archive"] {
        write(&queues, &format!("{queue}.toml"), "input_max = \"100B\"");
    }
    let variables = [("MILLRACE_QUEUES_DIR", queues.to_str().unwrap())];
    for (to, kind) in [("webp", "image/jpeg"), ("pdf", "document/docx"), ("tar", "archive/zip")] {
        let done = Table::default().file(good(kind), &["too_large"]).all_fail_with(folder.path(), to, 2, &[], &variables);
        assert!(done.complaint.contains("100B"), "{}", done.complaint);
    }
}

#[test]
fn content_is_trusted_and_names_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let lie = |kind: &str, name: &str| {
        let path = folder.path().join(name);
        std::fs::copy(good(kind), &path).unwrap();
        path.to_string_lossy().into_owned()
    };
    let out = folder.path().join("out").to_string_lossy().into_owned();
    for (kind, name, to, made) in [
        ("image/jpeg", "photo.docx", "png", "photo.png"),
        ("document/docx", "letter.jpg", "pdf", "letter.pdf"),
        ("archive/zip", "mixed.png", "tar", "mixed.tar"),
        ("document/pdf", "page.zip", "txt", "page.txt"),
    ] {
        let done = convert(folder.path(), &[&lie(kind, name), "--to", to, "--out-dir", &out]);
        assert_eq!(done.exit, 0, "{kind} as {name}: {}", done.complaint);
        assert!(Path::new(&out).join(made).is_file(), "{made}");
    }
    // What the name promises and the content cannot give.
    let table = Table::default().file(lie("image/jpeg", "letter.docx"), NO_WAY);
    let done = table.file(lie("archive/zip", "film.mp4"), NO_WAY).all_fail(folder.path(), "odt", 2);
    assert!(done.complaint.contains("Possible: "), "{}", done.complaint);
}

/// Hears whoever comes asking.
struct Ear(TcpListener);

impl Ear {
    fn new() -> Ear {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Ear(listener)
    }

    fn url(&self) -> String {
        format!("http://{}/canary.png", self.0.local_addr().unwrap())
    }

    fn heard_nothing(&self) {
        assert_eq!(self.0.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "somebody came asking");
    }
}

#[test]
fn a_linked_picture_is_not_fetched_and_the_letter_still_made() {
    let (folder, ear) = (tempfile::tempdir().unwrap(), Ear::new());
    // The fixture again, with this test's own address in it.
    let parts = folder.path().join("parts");
    std::fs::create_dir(&parts).unwrap();
    let (parts, docx) = (parts.to_str().unwrap(), folder.path().join("letter.docx"));
    tool("bsdtar", &["-xf", fixture("document/docx/odd/linked-image.docx").to_str().unwrap(), "-C", parts]);
    let links = Path::new(parts).join("word/_rels/document.xml.rels");
    let text = std::fs::read_to_string(&links).unwrap().replace("http://127.0.0.1:47811/canary.png", &ear.url());
    assert!(text.contains(&ear.url()));
    std::fs::write(&links, text).unwrap();
    tool("bsdtar", &["-cf", docx.to_str().unwrap(), "--format", "zip", "-C", parts, "[Content_Types].xml", "_rels", "word"]);
    let pdf = folder.path().join("letter.pdf");
    let done = convert(folder.path(), &[docx.to_str().unwrap(), pdf.to_str().unwrap()]);
    assert_eq!(done.exit, 0, "{}", done.complaint);
    assert!(tool("pdftotext", &[pdf.to_str().unwrap(), "-"]).contains("A picture from afar"));
    ear.heard_nothing();
}

#[test]
fn a_drawing_reaches_nothing_outside() {
    let (folder, ear) = (tempfile::tempdir().unwrap(), Ear::new());
    let secret = write(folder.path(), "secret.txt", "canary-in-a-file");
    let picture = good("image/png");
    let (url, secret) = (ear.url(), secret.to_string_lossy().into_owned());
    let svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' xmlns:xlink='http://www.w3.org/1999/xlink' width='100' height='100'>\
         <style>@import url('{url}'); rect {{ fill: lime; }} @font-face {{ font-family: f; src: url('{url}'); }}</style>\
         <rect width='100' height='100' fill='lime'/><image href='{url}' width='100' height='100'/>\
         <image href='file://{picture}' width='100' height='100'/><image xlink:href='{picture}' width='100' height='100'/>\
         <use href='file://{secret}#a'/><use href='{url}#a'/></svg>"
    );
    let drawing = write(folder.path(), "drawing.svg", svg);
    let png = folder.path().join("drawing.png");
    let done = convert(folder.path(), &[drawing.to_str().unwrap(), png.to_str().unwrap()]);
    assert_eq!(done.exit, 0, "{}", done.complaint);
    assert_eq!(tool("identify", &["-format", "%k %[pixel:p{50,50}]", png.to_str().unwrap()]), "1 srgba(0,255,0,1)", "only the green square is drawn");
    ear.heard_nothing();
}

#[test]
fn entities_neither_read_files_nor_grow() {
    let (folder, ear) = (tempfile::tempdir().unwrap(), Ear::new());
    let open = "<svg xmlns='http://www.w3.org/2000/svg' width='90' height='20'>";
    let mut growing = String::from("<!DOCTYPE svg [<!ENTITY a0 'lol'>");
    (1..12).for_each(|n| growing += &format!("<!ENTITY a{n} '{}'>", format!("&a{};", n - 1).repeat(10)));
    let reading = |system: &str| format!("<!DOCTYPE svg [<!ENTITY x SYSTEM '{system}'>]>{open}<text y='15'>&x;</text></svg>");
    Table::default()
        .file(write(folder.path(), "growing.svg", format!("{growing}]>{open}<text>&a11;</text></svg>")), LIMIT)
        .file(write(folder.path(), "file.svg", reading("file:///etc/passwd")), CORRUPT)
        .file(write(folder.path(), "net.svg", reading(&ear.url())), CORRUPT)
        .all_fail(folder.path(), "png", 1);
    ear.heard_nothing();
}

#[test]
fn a_playlist_named_mp4_opens_nothing() {
    let (folder, ear) = (tempfile::tempdir().unwrap(), Ear::new());
    let url = ear.url();
    let head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXT-X-MEDIA-SEQUENCE:0\n";
    let playlists = [
        ("file.mp4", format!("{head}#EXTINF:10.0,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")),
        ("concat.mp4", format!("{head}#EXTINF:10.0,\nconcat:{url}|file:///etc/passwd\n#EXT-X-ENDLIST\n")),
        ("net.mp4", format!("{head}#EXTINF:10.0,\n{url}\n#EXT-X-ENDLIST\n")),
        ("key.mp4", format!("{head}#EXT-X-KEY:METHOD=AES-128,URI=\"{url}\"\n#EXTINF:10.0,\n{url}\n#EXT-X-ENDLIST\n")),
        ("list.mp4", format!("ffconcat version 1.0\nfile /etc/passwd\nfile {url}\n")),
    ];
    let table = |codes| playlists.iter().fold(Table::default(), |table, (name, text)| table.file(write(folder.path(), name, text), codes));
    let mut ends = vec![table(NO_WAY).all_fail(folder.path(), "webm", 2), table(NO_WAY).all_fail(folder.path(), "wav", 2)];
    // Even who insists that it is a film gets nothing out of it.
    for (from, to) in [("mp4", "gif"), ("m4a", "mp3"), ("ts", "mkv"), ("mkv", "mp4"), ("avi", "webm")] {
        ends.push(table(CORRUPT).all_fail_with(folder.path(), to, 1, &["--from", from], &[]));
    }
    for done in ends {
        assert!(!done.complaint.contains("root:") && !done.out.contains("root:"), "{}", done.complaint);
    }
    ear.heard_nothing();
}

/// What a name must not do to a terminal, a header, a folder or a log.
fn harmless(name: &str) {
    assert!(!name.is_empty() && name.len() <= 255 && !name.starts_with('-') && !name.starts_with('.'), "{name:?}");
    let bad = |c: char| c.is_control() || matches!(c, '/' | '\\' | '"' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!name.contains(bad), "{name:?}");
}

const NAMES: [&str; 7] = [
    "new\nline\r\nSet-Cookie: x.png",
    "\"quoted\" 'twice' `thrice`.png",
    "\u{202e}gnp.\u{2066}exe.png",
    "-rf --version.png",
    "$(touch pwned);&|<>*?.png",
    "..png",
    "Мельница \u{0}null %2e%2e%2f.png",
];

#[test]
fn names_of_files_are_only_names() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out").to_string_lossy().into_owned();
    let longest = format!("{}.png", "é".repeat(125));
    let paths: Vec<String> = NAMES
        .iter()
        .copied()
        .chain([longest.as_str()])
        .filter(|n| !n.contains('\0'))
        .map(|name| {
            let path = folder.path().join(name);
            std::fs::copy(good("image/png"), &path).unwrap();
            path.to_string_lossy().into_owned()
        })
        .collect();
    let mut args = vec!["--to", "bmp", "--out-dir", &out];
    args.extend(paths.iter().map(String::as_str));
    let done = convert(folder.path(), &args);
    assert_eq!(done.exit, 0, "{}", done.complaint);
    let made: Vec<String> = std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(made.len(), paths.len());
    made.iter().for_each(|name| harmless(name));
    assert!(!Path::new("pwned").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_uploads_are_only_names() {
    let server = Server::start(Config::default()).await;
    let picture = std::fs::read(good("image/qoi")).unwrap();
    let longest = format!("{}.qoi", "long ".repeat(820));
    for name in NAMES.iter().copied().chain([longest.as_str(), "", "/etc/passwd", "..\\..\\boot.ini", "../../../etc/cron.d/evil"]) {
        let id = server.submit(name, picture.clone(), json!({"to": "png", "metadata": {"name": name}})).await;
        let job = server.ended(&id).await;
        assert_eq!(job["state"], "succeeded", "{name:?}: {job}");
        harmless(&text_of(&job["input"], "name"));
        harmless(&text_of(&job["outputs"][0], "name"));
        assert_eq!(job["metadata"]["name"], name, "the client's own words are kept as they were");
        let response = server.get(&text_of(&job["outputs"][0], "url")).await;
        assert_eq!(response.status(), 200, "{name:?}");
        let disposition = response.headers()["content-disposition"].to_str().unwrap().to_owned();
        assert!(disposition.starts_with("attachment; filename=\"") && !disposition.contains(['\n', '\r']), "{disposition}");
        assert!(!disposition.contains("Set-Cookie:") && response.headers().get("set-cookie").is_none());
        assert_eq!(&response.bytes().await.unwrap()[1..4], b"PNG");
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_parts_are_only_names() {
    let server = Server::start(Config::default()).await;
    let picture = std::fs::read(good("image/qoi")).unwrap();
    for name in NAMES.iter().copied().filter(|n| !n.contains(['\0', '\n'])) {
        let part = reqwest::multipart::Part::bytes(picture.clone()).file_name(name);
        let form = reqwest::multipart::Form::new().part("file", part).text("job", json!({"to": "bmp"}).to_string());
        let answer = server.request(reqwest::Method::POST, "/v1/jobs?wait=30s").multipart(form).send().await.unwrap();
        assert_eq!(answer.status(), 202, "{name:?}");
        let job: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(job["state"], "succeeded", "{name:?}: {job}");
        harmless(&text_of(&job["input"], "name"));
    }
    server.stop();
}

/// Cut before their index, which comes last in both: there is nothing to play.
#[test]
fn films_and_songs_cut_in_half_or_too_large_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (film, song) = (path("film.mp4"), path("song.m4a"));
    tool("ffmpeg", &["-v", "error", "-f", "lavfi", "-i", "testsrc=s=64x48:d=1", "-f", "lavfi", "-i", "sine=d=1", "-shortest", &film]);
    tool("ffmpeg", &["-v", "error", "-f", "lavfi", "-i", "sine=d=1", &song]);
    for (file, from, to) in [(&film, "mp4", "webm"), (&song, "m4a", "wav")] {
        let whole = std::fs::read(file).unwrap();
        let cut = write(folder.path(), &format!("cut.{from}"), &whole[..whole.len() / 2]);
        Table::default().file(cut, CORRUPT).all_fail(folder.path(), to, 1);
    }
    let queues = folder.path().join("queues");
    std::fs::create_dir(&queues).unwrap();
    ["video", "audio"].iter().for_each(|queue| drop(write(&queues, &format!("{queue}.toml"), "input_max = \"100B\"")));
    let variables = [("MILLRACE_QUEUES_DIR", queues.to_str().unwrap())];
    for (file, to) in [(film, "webm"), (song, "wav")] {
        Table::default().file(file, &["too_large"]).all_fail_with(folder.path(), to, 2, &[], &variables);
    }
}
