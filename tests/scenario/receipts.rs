//! Privacy receipts through the whole service: what a file gave away, and what of it is gone from the result.

use crate::support::direct::{fixture, tool};
use crate::support::package;
use crate::support::server::{Config, Server};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What was found and what was removed.
async fn receipt(server: &Server, name: &str, bytes: Vec<u8>, fields: Value) -> (BTreeSet<String>, BTreeSet<String>) {
    let job = server.submit(name, bytes, fields.clone()).await;
    let job = server.ended(&job).await;
    assert_eq!(job["state"], "succeeded", "{name} {fields}: {}", job["error"]);
    let receipt = &job["outputs"][0]["receipt"];
    let list = |field: &str| {
        receipt[field].as_array().unwrap_or_else(|| panic!("{name} {fields}: {job}")).iter().map(|v| v.as_str().unwrap().to_owned()).collect()
    };
    (list("found"), list("removed"))
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn read(path: &str) -> Vec<u8> {
    std::fs::read(fixture(path)).unwrap()
}

/// A photograph with everything that cameras and agencies write: EXIF with a thumbnail, XMP, IPTC.
fn photograph() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (photo, small) = (folder.path().join("photo.jpg"), folder.path().join("small.jpg"));
    std::fs::copy(fixture("image/jpeg/odd/located_xmp.jpg"), &photo).unwrap();
    std::fs::write(&small, read("image/jpeg/good/grey.jpg")).unwrap();
    let thumbnail = format!("-ThumbnailImage<={}", small.display());
    let (photo, place) = (photo.to_str().unwrap(), "-IPTC:City=Vienna");
    tool("exiftool", &["-q", "-Make=Miller", "-Software=Stone 2", "-DateTimeOriginal=2026:05:01 10:00:00", &thumbnail, place, photo]);
    std::fs::read(photo).unwrap()
}

#[tokio::test]
async fn pictures_say_what_went() {
    let server = Server::start(Config::default()).await;
    let everything = set(&["author", "description", "device", "location", "software", "thumbnail", "time"]);
    let kept = |strip: &str| json!({"to": "webp", "options": {"strip": strip}});
    let (found, removed) = receipt(&server, "photo.jpg", photograph(), json!({"to": "png"})).await;
    assert_eq!((&found, &removed), (&everything, &everything));
    let (found, removed) = receipt(&server, "photo.jpg", photograph(), kept("location")).await;
    assert_eq!((found, removed), (everything.clone(), set(&["location", "thumbnail"])));
    let (found, removed) = receipt(&server, "photo.jpg", photograph(), kept("keep")).await;
    assert_eq!((found, removed), (everything, set(&["thumbnail"])));
    let (found, removed) = receipt(&server, "scene.png", read("image/png/good/scene.png"), json!({"to": "jpeg"})).await;
    assert!(removed == found && !found.contains("location"), "{found:?}");
    server.stop();
}

#[tokio::test]
async fn films_and_songs_say_what_went() {
    let server = Server::start(Config::default()).await;
    let film = read("video/mov/odd/places.mov");
    let fast = |metadata: &str| json!({"to": "mp4", "options": {"metadata": metadata, "video": {"preset": "ultrafast"}}});
    let (found, removed) = receipt(&server, "places.mov", film.clone(), fast("strip_location")).await;
    assert!(found.is_superset(&set(&["location", "description"])), "{found:?}");
    assert!(removed.contains("location") && !removed.contains("description"), "{removed:?}");
    let (_, removed) = receipt(&server, "places.mov", film.clone(), fast("keep")).await;
    assert!(!removed.contains("location"), "{removed:?}");
    let (found, removed) = receipt(&server, "places.mov", film.clone(), fast("strip")).await;
    assert_eq!(removed, found, "nothing is left");
    // The frame of a film has nothing of it.
    let (found, removed) = receipt(&server, "places.mov", film, json!({"to": "webp"})).await;
    assert_eq!(removed, found);
    server.stop();
}

/// A letter with a program, notes, changes, a file and a photograph with a story in it.
fn letter() -> Vec<u8> {
    let more: [(&str, &[u8]); 4] = [
        ("word/vbaProject.bin", b"x"),
        ("word/comments.xml", b"<w:comments/>"),
        ("word/embeddings/a.bin", b"x"),
        ("word/media/p.jpg", &photograph()),
    ];
    let change = |name: &str, text: String| match name {
        "word/document.xml" => text.replacen("</w:p>", "<w:ins w:id=\"1\" w:author=\"A. Reader\"><w:r><w:t>more</w:t></w:r></w:ins></w:p>", 1),
        _ => text,
    };
    package::changed(&fixture("document/docx/good/letter.docx"), change, &more)
}

#[tokio::test]
async fn documents_say_what_went() {
    let server = Server::start(Config::default()).await;
    let (found, removed) = receipt(&server, "letter.docx", letter(), json!({"to": "pdf"})).await;
    let hidden = set(&["macros", "comments", "tracked_changes", "attachments", "location", "device"]);
    assert!(found.is_superset(&hidden) && found.contains("author"), "{found:?}");
    assert!(removed.is_superset(&hidden), "{removed:?}");
    let (_, removed) = receipt(&server, "letter.docx", letter(), json!({"to": "txt"})).await;
    assert_eq!(removed, found, "text holds nothing else");

    let hide = |name: &str, text: String| match name {
        "xl/workbook.xml" => {
            let at = text.rfind("<sheet ").unwrap();
            let (before, last) = text.split_at(at);
            assert!(last.contains("state=\"visible\""), "{last}");
            before.to_owned() + &last.replacen("state=\"visible\"", "state=\"hidden\"", 1)
        }
        _ => text,
    };
    let sheet = package::changed(&fixture("document/xlsx/good/sheet.xlsx"), hide, &[]);
    let (found, removed) = receipt(&server, "sheet.xlsx", sheet.clone(), json!({"to": "pdf"})).await;
    assert!(found.contains("hidden_sheets") && removed.contains("hidden_sheets"), "{found:?} {removed:?}");
    let (found, removed) = receipt(&server, "sheet.xlsx", sheet, json!({"to": "ods"})).await;
    assert!(found.contains("hidden_sheets") && !removed.contains("hidden_sheets"), "{found:?} {removed:?}");
    server.stop();
}
