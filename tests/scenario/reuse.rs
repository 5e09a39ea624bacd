//! Results that equal jobs have in common.

use crate::support::direct::fixture;
use crate::support::server::{Config, Server, client, text_of};
use reqwest::Method;
use serde_json::{Value, json};

const ADMIN: &str = "the admin's own token";

fn picture() -> Vec<u8> {
    std::fs::read(fixture("image/png/good/scene.png")).unwrap()
}

/// Whether its attempt had no child: none used the processor.
fn ran_nothing(job: &Value) -> bool {
    let attempts = job["attempts"].as_array().unwrap();
    job["reused"] == true && attempts.len() == 1 && attempts[0]["cpu_ms"] == 0 && attempts[0]["memory_peak_bytes"] == 0
}

/// An output's name, digest, measures and proof: all that is the same, but for the name.
fn result(job: &Value, n: usize) -> [Value; 4] {
    ["name", "sha256", "media", "verification"].map(|field| job["outputs"][n][field].clone())
}

async fn sends(server: &Server, name: &str, fields: Value) -> Value {
    let id = server.submit(name, picture(), fields).await;
    let job = server.ended(&id).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    job
}

async fn bytes(server: &Server, job: &Value, n: usize) -> Vec<u8> {
    let response = server.get(&text_of(&job["outputs"][n], "url")).await;
    assert_eq!(response.status(), 200, "{job}");
    response.bytes().await.unwrap().to_vec()
}

async fn answered(server: &Server) -> u64 {
    let told = server.get("/metrics").await.text().await.unwrap();
    let line = told.lines().find(|l| l.starts_with("millrace_jobs_reused_total{queue=\"image\"}"));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_sent_twice_is_converted_once() {
    let server = Server::start(Config::default().queue("image", "reuse = true")).await;
    let wanted = json!({"to": "webp", "options": {"width": 100}});
    let first = sends(&server, "first.png", wanted.clone()).await;
    assert!(first["reused"].is_null() && first["attempts"][0]["cpu_ms"].as_u64().unwrap() > 0, "{first}");
    let second = sends(&server, "second.png", wanted.clone()).await;
    assert!(ran_nothing(&second), "{second}");
    assert_eq!(second["outputs"][0]["name"], "second.webp");
    assert_eq!(result(&first, 0)[1..], result(&second, 0)[1..]);
    assert_eq!((&first["input"]["media"], second["input"]["media"]["width"].is_u64()), (&second["input"]["media"], true));
    // Nothing in it tells of the first job.
    let (one, log) = (text_of(&first, "id"), server.json(&format!("/v1/jobs/{}/log", text_of(&second, "id"))).await);
    assert!(!second.to_string().contains(&one) && !second.to_string().contains("first"), "{second}");
    assert!(log.to_string().contains("equal") && !log.to_string().contains(&one), "{log}");
    // Its bytes are its own.
    let kept = bytes(&server, &first, 0).await;
    assert_eq!(server.request(Method::DELETE, &format!("/v1/jobs/{one}")).send().await.unwrap().status(), 204);
    assert_eq!(bytes(&server, &second, 0).await, kept);
    let third = sends(&server, "third.png", wanted).await;
    assert!(ran_nothing(&third) && bytes(&server, &third, 0).await == kept, "an answered job answers others");
    let other = sends(&server, "second.png", json!({"to": "webp", "options": {"width": 101}})).await;
    assert!(other["reused"].is_null(), "{other}");
    assert_eq!(answered(&server).await, 2);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn several_outputs_and_files_are_answered_as_they_were_asked_for() {
    let server = Server::start(Config::default().queue("image", "reuse = true")).await;
    let set = json!({"name": "set", "to": "webp", "options": {"widths": [40, 80], "also": ["jpeg"], "manifest": true}});
    let wanted = json!({"outputs": [{"name": "small", "to": "png", "options": {"width": 30}}, set]});
    let first = sends(&server, "a.png", wanted.clone()).await;
    let second = sends(&server, "a.png", wanted.clone()).await;
    assert!(ran_nothing(&second) && second["outputs"].as_array().unwrap().len() == 6, "{second}");
    assert_eq!(second["stats"]["items_done"], 6);
    for n in 0..6 {
        assert_eq!(result(&first, n), result(&second, n));
        assert_eq!(bytes(&server, &first, n).await, bytes(&server, &second, n).await);
    }
    // The names of a set are made of the client's: another name is another result.
    let renamed = sends(&server, "b.png", wanted).await;
    assert!(renamed["reused"].is_null(), "{renamed}");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_jobs_at_once_share_one_run() {
    let server = Server::start(Config::default().queue("image", "reuse = true")).await;
    let upload = server.upload("a.png", picture()).await;
    server.request(Method::POST, "/v1/queues/image/pause").send().await.unwrap();
    let wanted = json!({"input": {"upload": upload}, "to": "avif"});
    let ids = futures::future::join_all((0..20).map(async |_| {
        let response = server.send(Method::POST, "/v1/jobs", &wanted).await;
        text_of(&response.json::<Value>().await.unwrap(), "id")
    }))
    .await;
    server.request(Method::POST, "/v1/queues/image/resume").send().await.unwrap();
    let (mut ran, mut digests) = (0, Vec::new());
    for id in &ids {
        let job = server.ended(id).await;
        assert_eq!(job["state"], "succeeded", "{job}");
        ran += usize::from(!ran_nothing(&job));
        digests.push(text_of(&job["outputs"][0], "sha256"));
    }
    digests.dedup();
    assert_eq!((ran, digests.len()), (1, 1));
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_may_keep_out_of_it() {
    let server = Server::start(Config::default().token(ADMIN).queue("image", "reuse = true")).await;
    let create = async |body: Value| server.send(Method::POST, "/v1/tokens", &body).await;
    let token = async |reuse: Option<bool>| {
        let mut body = json!({"name": "site", "scopes": ["submit"]});
        reuse.iter().for_each(|reuse| body["reuse"] = json!(reuse));
        let made: Value = create(body).await.json().await.unwrap();
        assert_eq!(made["reuse"].as_bool().unwrap_or(true), reuse.unwrap_or(true), "{made}");
        client(Some(&text_of(&made, "secret")))
    };
    let sends = async |client: &reqwest::Client| {
        let upload = client.post(format!("{}/v1/uploads?name=a.png", server.url())).body(picture()).send().await.unwrap();
        let wanted = json!({"input": {"upload": upload.json::<Value>().await.unwrap()["id"]}, "to": "webp"});
        let job: Value = client.post(format!("{}/v1/jobs?wait=60s", server.url())).json(&wanted).send().await.unwrap().json().await.unwrap();
        server.ended(&text_of(&job, "id")).await
    };
    let (alone, alice, bob) = (token(Some(false)).await, token(None).await, token(Some(true)).await);
    assert!(sends(&alone).await["reused"].is_null());
    assert!(sends(&alice).await["reused"].is_null(), "what a token keeps to itself answers nobody");
    assert!(sends(&alone).await["reused"].is_null(), "and is answered by nobody");
    let answered = sends(&bob).await;
    assert!(ran_nothing(&answered), "{answered}");
    let refused = create(json!({"name": "ops", "scopes": ["admin"], "reuse": false})).await;
    assert_eq!((refused.status().as_u16(), text_of(&refused.json::<Value>().await.unwrap(), "field").as_str()), (422, "reuse"));
    server.stop();
}
