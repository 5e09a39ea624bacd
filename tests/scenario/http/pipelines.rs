//! Pipelines over HTTP, with real files.

use crate::support::command::good;
use crate::support::direct::{fixture, tool};
use crate::support::server::{Config, DEADLINE, Server, text_of};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Instant;

pub async fn run(server: &Server, pipeline: &Value) -> Value {
    let response = server.send(Method::POST, "/v1/pipelines", pipeline).await;
    let (status, text) = (response.status(), response.text().await.unwrap());
    assert_eq!(status, 202, "{text}");
    serde_json::from_str(&text).unwrap()
}

pub async fn ended(server: &Server, id: &str) -> Value {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let pipeline = server.json(&format!("/v1/pipelines/{id}?wait=10s")).await;
        if pipeline["state"] != "running" {
            return pipeline;
        }
        assert!(Instant::now() < deadline, "the pipeline ends in time: {pipeline}");
    }
}

pub async fn jobs(server: &Server, id: &str, step: &str) -> Vec<Value> {
    server.json(&format!("/v1/jobs?pipeline={id}&step={step}&limit=500")).await["jobs"].as_array().unwrap().clone()
}

async fn download(server: &Server, job: &Value) -> Vec<u8> {
    server.get(job["outputs"][0]["url"].as_str().unwrap()).await.bytes().await.unwrap().to_vec()
}

/// A zip of these files, under these names.
fn zip_of(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        std::io::Write::write_all(&mut zip, bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn names(zip: &[u8]) -> Vec<String> {
    zip::ZipArchive::new(std::io::Cursor::new(zip)).unwrap().file_names().map(|name| name.unwrap().into_owned()).collect()
}

fn album() -> Vec<u8> {
    let (png, jpeg) = (std::fs::read(fixture("image/png/good/scene.png")).unwrap(), std::fs::read(good("image/jpeg")).unwrap());
    zip_of(&[("a.png", png.clone()), ("more/a.png", png), ("b.jpg", jpeg), ("list.csv", b"a,b\n1,2\n".to_vec())])
}

fn thumbs(upload: &str) -> Value {
    json!({"steps": {
        "unpack": {"input": {"upload": upload}, "to": "files"},
        "thumbs": {"foreach": "unpack", "where": {"family": "image"}, "to": "webp", "preset": "thumb-320"},
        "pack": {"after": ["thumbs"], "input": {"step": "thumbs"}, "to": "zip"},
    }, "context": {"locale": "ru"}, "priority": 7, "fairness_key": "site-a", "metadata": {"album": 7}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zip_of_pictures_becomes_a_zip_of_thumbnails() {
    let server = Server::start(Config::default()).await;
    let upload = server.upload("album.zip", album()).await;
    let accepted = run(&server, &thumbs(&upload)).await;
    let id = text_of(&accepted, "id");
    let pipeline = ended(&server, &id).await;
    assert_eq!((&pipeline["state"], &pipeline["partial"], &pipeline["errors"]), (&json!("succeeded"), &json!(false), &json!([])), "{pipeline}");
    let stats = &pipeline["stats"];
    assert_eq!((&stats["total"], &stats["done"], &stats["failed"], &stats["percent"]), (&json!(5), &json!(5), &json!(0), &json!(100.0)));
    assert_eq!(pipeline["steps"]["pack"]["needs"], json!(["thumbs"]));
    let pack = jobs(&server, &id, "pack").await.remove(0);
    assert_eq!((&pack["pipeline"], &pack["step"], &pack["priority"]), (&json!(id), &json!("pack"), &json!(7)));
    assert_eq!((&pack["context"]["locale"], &pack["fairness_key"]), (&json!("ru"), &json!("site-a")));
    let zip = download(&server, &pack).await;
    let mut found = names(&zip);
    found.sort();
    assert_eq!(found, ["a.webp", "b.webp", "more/a.webp"]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("out.zip"), &zip).unwrap();
    tool("unzip", &["-q", folder.path().join("out.zip").to_str().unwrap(), "-d", folder.path().to_str().unwrap()]);
    assert!(tool("identify", &["-format", "%m %w", folder.path().join("more/a.webp").to_str().unwrap()]).starts_with("WEBP 320"));
    let listed = server.json("/v1/pipelines?state=succeeded").await;
    assert_eq!((&listed["pipelines"][0]["id"], &listed["pipelines"][0]["metadata"]["album"]), (&json!(id), &json!(7)));
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_stops_a_pipeline_or_is_left_out() {
    let server = Server::start(Config::default()).await;
    let (good, broken) =
        (std::fs::read(fixture("image/png/good/scene.png")).unwrap(), std::fs::read(fixture("image/png/broken/truncated.png")).unwrap());
    let upload = server.upload("album.zip", zip_of(&[("good.png", good), ("bad.png", broken), ("odd.xyz", vec![1, 2, 3, 255])])).await;
    let steps = json!({
        "unpack": {"input": {"upload": upload}, "to": "files"},
        "thumbs": {"foreach": "unpack", "to": "webp"},
        "pack": {"input": {"step": "thumbs"}, "to": "zip"},
    });
    let going_on = run(&server, &json!({"steps": steps, "on_failure": "continue"})).await;
    let pipeline = ended(&server, &text_of(&going_on, "id")).await;
    assert_eq!(
        (&pipeline["state"], &pipeline["partial"], &pipeline["stats"]["failed"]),
        (&json!("succeeded"), &json!(true), &json!(2)),
        "{pipeline}"
    );
    let mut errors: Vec<_> = pipeline["errors"].as_array().unwrap().iter().map(|e| (text_of(e, "item"), text_of(&e["error"], "code"))).collect();
    errors.sort();
    assert_eq!(errors, [("bad.png".into(), "corrupt_input".into()), ("odd.xyz".into(), "unsupported_conversion".to_owned())]);
    let pack = jobs(&server, &text_of(&going_on, "id"), "pack").await.remove(0);
    assert_eq!(names(&download(&server, &pack).await), ["good.webp"]);
    let stopped = run(&server, &json!({"steps": steps})).await;
    let pipeline = ended(&server, &text_of(&stopped, "id")).await;
    assert_eq!((&pipeline["state"], &pipeline["steps"]["pack"]["state"]), (&json!("failed"), &json!("skipped")), "{pipeline}");
    assert_eq!((&pipeline["stats"]["queued"], &pipeline["stats"]["running"]), (&json!(0), &json!(0)));
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_chains_and_chosen_outputs() {
    let server = Server::start(Config::default()).await;
    let upload = server.upload("album.zip", album()).await;
    let pipeline = json!({"steps": {
        "unpack": {"input": {"upload": upload}, "to": "files"},
        "pairs": {"foreach": "unpack", "where": {"name": "*.png"}, "chunk": 2, "to": "tar"},
        "sizes": {"foreach": "unpack", "where": {"format": "jpeg"}, "outputs": [{"name": "s", "to": "webp", "options": {"width": 20}}, {"name": "l", "to": "png"}]},
        "large": {"input": {"step": "sizes", "output": "l"}, "to": "zip"},
        "table": {"foreach": "unpack", "where": {"name": "*.csv"}, "to": "json"},
        "again": {"input": {"upload": upload}, "to": "tar.gz", "after": ["table", "pairs"]},
        "list": {"input": {"step": "again"}, "to": "json"},
    }});
    let id = text_of(&run(&server, &pipeline).await, "id");
    let done = ended(&server, &id).await;
    assert_eq!(done["state"], "succeeded", "{done}");
    let pairs = jobs(&server, &id, "pairs").await;
    assert_eq!((pairs.len(), pairs[0]["input"]["name"].as_str(), &pairs[0]["outputs"][0]["media"]["entries"]), (1, Some("pairs-1.zip"), &json!(2)));
    let large = jobs(&server, &id, "large").await.remove(0);
    assert_eq!(names(&download(&server, &large).await), ["l.png"]);
    // A step that made one file hands it on as it is.
    let list = jobs(&server, &id, "list").await.remove(0);
    assert_eq!((list["input"]["name"].as_str(), &list["from"]), (Some("album.tar.gz"), &json!("tar.gz")));
    let order = |job: &Value, field: &str| text_of(job, field).parse::<jiff::Timestamp>().unwrap();
    let again = jobs(&server, &id, "again").await.remove(0);
    assert!(order(&again, "created_at") >= order(&pairs[0], "finished_at"), "{again}");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_pipeline_is_cancelled() {
    let server = Server::start(Config::default().queue("archive", "concurrency = 1")).await;
    let upload = server.upload("x.attack", "obedient").await;
    let steps: Value = (0..3).map(|n| (n.to_string(), json!({"input": {"upload": upload}, "to": "noop"}))).collect::<serde_json::Map<_, _>>().into();
    let mut pipeline = json!({"steps": steps});
    pipeline["steps"]["last"] = json!({"input": {"step": "0"}, "to": "zip"});
    let id = text_of(&run(&server, &pipeline).await, "id");
    let path = format!("/v1/pipelines/{id}");
    server.until(&path, |pipeline| pipeline["stats"]["running"] == 1).await;
    let job = text_of(&server.json(&format!("/v1/jobs?pipeline={id}&state=running")).await["jobs"][0], "id");
    let asked: Value = server.send(Method::POST, &format!("{path}/cancel"), &json!({"mode": "soft"})).await.json().await.unwrap();
    assert_eq!(asked["cancel"], "soft", "{asked}");
    let pipeline = ended(&server, &id).await;
    assert_eq!((&pipeline["state"], &pipeline["stats"]["cancelled"], &pipeline["stats"]["total"]), (&json!("cancelled"), &json!(3), &json!(3)));
    assert_eq!(pipeline["steps"]["last"]["state"], "skipped");
    assert_eq!(server.request(Method::DELETE, &format!("/v1/jobs/{job}")).send().await.unwrap().status(), 204);
    assert_eq!(server.request(Method::POST, &format!("{path}/cancel")).send().await.unwrap().status(), 200, "it is over");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_stays_while_its_pipeline_may_read_it() {
    let server = Server::start(Config::default()).await;
    let (text, slow) = (server.upload("a.txt", "hello").await, server.upload("x.attack", "obedient").await);
    let pipeline = json!({"steps": {"a": {"input": {"upload": text}, "to": "noop"}, "b": {"input": {"upload": slow}, "to": "noop"}}});
    let id = text_of(&run(&server, &pipeline).await, "id");
    server.until(&format!("/v1/pipelines/{id}"), |pipeline| pipeline["steps"]["a"]["state"] == "over").await;
    let job = format!("/v1/jobs/{}", text_of(&jobs(&server, &id, "a").await[0], "id"));
    assert_eq!(server.request(Method::DELETE, &job).send().await.unwrap().status(), 409);
    server.send(Method::POST, &format!("/v1/pipelines/{id}/cancel"), &json!({"mode": "kill"})).await;
    ended(&server, &id).await;
    assert_eq!(server.request(Method::DELETE, &job).send().await.unwrap().status(), 204);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_pipeline_is_named() {
    let server = Server::start(Config::default()).await;
    let upload = server.upload("a.txt", "hello").await;
    let own = json!({"input": {"upload": upload}, "to": "noop"});
    for (pipeline, field) in [
        (json!({"steps": {}}), "steps"),
        (json!({"steps": {"a": {"input": {"upload": "nobody"}, "to": "noop"}}}), "steps.a.input.upload"),
        (json!({"steps": {"a": {"input": {"upload": upload}, "to": "mp4"}}}), "steps.a.to"),
        (json!({"steps": {"a": {"input": {"upload": upload}, "to": "noop", "options": {"x": 1}}}}), "steps.a.options.x"),
        (json!({"steps": {"a": own, "b": {"foreach": "a"}}}), "steps.b.to"),
        (json!({"steps": {"a": own, "b": {"foreach": "a", "preset": "none"}}}), "steps.b.preset"),
        (json!({"steps": {"a": own, "b": {"foreach": "a", "to": "webp", "queue": "mill"}}}), "steps.b.queue"),
        (json!({"steps": {"a": own}, "priority": 12}), "priority"),
        (json!({"steps": {"a": {"input": {"upload": upload}, "to": "noop", "colour": "red"}}}), "steps.a.colour"),
    ] {
        let response = server.send(Method::POST, "/v1/pipelines", &pipeline).await;
        let (status, problem) = (response.status(), response.json::<Value>().await.unwrap());
        assert!(status.is_client_error() && problem["field"] == field, "{pipeline}: {status} {problem}");
    }
    assert_eq!(server.json("/v1/pipelines").await["pipelines"], json!([]), "nothing was kept");
    assert_eq!(server.get("/v1/pipelines/nobody").await.status(), 404);
    assert_eq!(server.get("/v1/pipelines?limit=0").await.status(), 422);
    let alone = server.send(Method::POST, "/v1/jobs", &json!({"input": {"step": "a"}, "to": "noop"})).await;
    assert_eq!(alone.json::<Value>().await.unwrap()["field"], "input.step");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_service_goes_on_with_its_pipelines() {
    let mut server = Server::start(Config::default()).await;
    let files: Vec<(String, Vec<u8>)> = (0..60).map(|n| (format!("{n}.txt"), b"hello".to_vec())).collect();
    let files: Vec<(&str, Vec<u8>)> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    let upload = server.upload("texts.zip", zip_of(&files)).await;
    let pipeline = json!({"steps": {
        "unpack": {"input": {"upload": upload}, "to": "files"},
        "each": {"foreach": "unpack", "to": "noop"},
        "pack": {"input": {"step": "each"}, "to": "zip"},
    }});
    // Twice only: a job that loses its worker three times is given up.
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(text_of(&run(&server, &pipeline).await, "id"));
    }
    server.kill_9();
    server.restart().await;
    server.until(&format!("/v1/pipelines/{}", ids[3]), |pipeline| pipeline["stats"]["done"].as_u64() > Some(5)).await;
    server.kill_9();
    server.restart().await;
    for id in &ids {
        let pipeline = ended(&server, id).await;
        assert_eq!((&pipeline["state"], &pipeline["stats"]["total"], &pipeline["stats"]["done"]), (&json!("succeeded"), &json!(62), &json!(62)));
        let each = jobs(&server, id, "each").await;
        let inputs: std::collections::BTreeSet<String> = each.iter().map(|job| text_of(&job["input"], "name")).collect();
        assert_eq!((each.len(), inputs.len()), (60, 60), "each file has one job");
        assert_eq!(names(&download(&server, &jobs(&server, id, "pack").await[0]).await).len(), 60);
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_goes_on_where_it_has_failed() {
    let server = Server::start(Config::default().queue("archive", "concurrency = 1")).await;
    let files = zip_of(&[("a.txt", b"hello".to_vec()), ("b.attack", b"obedient".to_vec()), ("c.txt", b"hello".to_vec())]);
    let upload = server.upload("files.zip", files).await;
    let steps = json!({
        "unpack": {"input": {"upload": upload}, "to": "files"},
        "each": {"foreach": "unpack", "to": "noop"},
        "pack": {"input": {"step": "each"}, "to": "zip"},
        "aside": {"after": ["pack"], "input": {"upload": upload}, "to": "tar"},
    });
    let id = text_of(&run(&server, &json!({"steps": steps, "on_failure": "continue"})).await, "id");
    let path = format!("/v1/pipelines/{id}");
    // One of its files never ends by itself.
    let stuck = |page: &Value| page["jobs"].as_array().unwrap().iter().any(|job| job["input"]["name"] == "b.attack");
    let running = server.until(&format!("/v1/jobs?pipeline={id}&step=each&state=running"), stuck).await;
    let job = running["jobs"].as_array().unwrap().iter().find(|job| job["input"]["name"] == "b.attack").map(|job| text_of(job, "id")).unwrap();
    assert_eq!(server.send(Method::POST, &format!("{path}/retry"), &json!({})).await.status(), 409, "it still runs");
    server.send(Method::POST, &format!("/v1/jobs/{job}/cancel"), &json!({"mode": "kill"})).await;
    let partly = ended(&server, &id).await;
    assert_eq!((&partly["state"], &partly["partial"], &partly["stats"]["cancelled"]), (&json!("succeeded"), &json!(true), &json!(1)), "{partly}");
    let (pack, aside) = (jobs(&server, &id, "pack").await.remove(0), jobs(&server, &id, "aside").await.remove(0));
    let again: Value = server.request(Method::POST, &format!("{path}/retry")).send().await.unwrap().json().await.unwrap();
    assert_eq!((&again["state"], &again["finished_at"]), (&json!("running"), &Value::Null), "{again}");
    // The same job runs again; what has read of the others begins anew, what has not stays as it is.
    server.until(&format!("/v1/jobs/{job}"), |job| job["state"] == "running").await;
    server.send(Method::POST, &format!("{path}/cancel"), &json!({"mode": "kill"})).await;
    let cancelled = ended(&server, &id).await;
    assert_eq!((&cancelled["state"], &cancelled["stats"]["total"]), (&json!("cancelled"), &json!(5)), "{cancelled}");
    assert_eq!(server.get(&format!("/v1/jobs/{}", text_of(&pack, "id"))).await.status(), 404, "what it had packed is gone");
    assert_eq!(jobs(&server, &id, "aside").await[0]["id"], aside["id"]);
    // Cancelled as a whole, it goes on as well, until its record is gone.
    assert_eq!(server.request(Method::POST, &format!("{path}/retry")).send().await.unwrap().status(), 200);
    server.until(&format!("/v1/jobs/{job}"), |job| job["state"] == "running").await;
    server.send(Method::POST, &format!("/v1/jobs/{job}/cancel"), &json!({"mode": "kill"})).await;
    let done = ended(&server, &id).await;
    assert_eq!((&done["state"], &done["stats"]["done"], &done["stats"]["cancelled"]), (&json!("succeeded"), &json!(5), &json!(1)), "{done}");
    let mut packed = names(&download(&server, &jobs(&server, &id, "pack").await[0]).await);
    packed.sort();
    assert_eq!(packed, ["a.noop", "c.noop"]);
    assert_eq!(server.request(Method::DELETE, &format!("/v1/jobs/{job}")).send().await.unwrap().status(), 204);
    assert_eq!(server.request(Method::POST, &format!("{path}/retry")).send().await.unwrap().status(), 409);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_sends_a_pipeline_once() {
    let server = Server::start(Config::default()).await;
    let upload = server.upload("a.txt", "hello").await;
    let send = async |key: &str, album: u32| {
        let body = json!({"steps": {"a": {"input": {"upload": upload}, "to": "noop"}}, "metadata": {"album": album}});
        let answer = server.request(Method::POST, "/v1/pipelines").header("Idempotency-Key", key).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let (status, first) = send("k", 1).await;
    assert_eq!(status, 202, "{first}");
    let (status, again) = send("k", 1).await;
    assert_eq!((status, &again["id"]), (200, &first["id"]));
    assert_eq!(send("other", 1).await.0, 202);
    let (status, problem) = send("k", 2).await;
    assert_eq!((status, problem["code"].as_str()), (422, Some("idempotency_mismatch")), "{problem}");
    assert_eq!(send("", 1).await.0, 422);
    assert_eq!(server.json("/v1/pipelines").await["pipelines"].as_array().unwrap().len(), 2);
    server.stop();
}
