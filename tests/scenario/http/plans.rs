//! Plans: what would become of a job, and what it would take, held against what then becomes of it.

use crate::support::direct::{fixture, tool};
use crate::support::server::{Config, Server, text_of};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_the_plan_and_makes_nothing() {
    let server = Server::start(Config::default()).await;
    let upload = server.upload("scene.png", std::fs::read(fixture("image/png/good/scene.png")).unwrap()).await;
    let planned = ask(&server, json!({"input": {"upload": upload}, "preset": "thumb-320", "options": {"quality": 50}, "priority": 9})).await;
    assert_eq!(planned.status(), 200);
    let plan: Value = planned.json().await.unwrap();
    let output = &plan["outputs"][0];
    assert_eq!((text_of(output, "converter"), text_of(output, "name")), ("image.transcode".into(), "scene.webp".into()));
    assert_eq!((&output["options"]["quality"], &output["options"]["width"], &plan["priority"]), (&json!(50), &json!(320), &json!(9)));
    assert!(plan["input"]["media"]["width"].as_u64() > Some(0) && plan["memory_max"].is_string(), "{plan}");
    assert!(plan["prediction"].is_null() && output["size_bytes"].is_null(), "nothing was learned yet: {plan}");
    assert_eq!(ask(&server, json!({"input": {"upload": upload}, "to": "mp4"})).await.status(), 422);
    assert_eq!(server.json("/v1/jobs").await["jobs"], json!([]), "nothing was made");
    server.stop();
}

async fn ask(server: &Server, body: Value) -> reqwest::Response {
    server.send(Method::POST, "/v1/jobs?dry_run=1", &body).await
}

async fn plan(server: &Server, name: &str, bytes: Vec<u8>, mut fields: Value) -> Value {
    fields["input"] = json!({"upload": server.upload(name, bytes).await});
    let response = ask(server, fields).await;
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

/// So many seconds of moving bars, in H.264, with a tone or without.
fn film(seconds: u32, has_sound: bool) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("film.mp4").to_string_lossy().into_owned();
    let (picture, sound) = (format!("testsrc2=size=320x240:rate=25:duration={seconds}"), format!("sine=duration={seconds}"));
    let mut args = vec!["-v", "error", "-f", "lavfi", "-i", &picture];
    if has_sound {
        args.extend(["-f", "lavfi", "-i", &sound, "-c:a", "aac"]);
    }
    args.extend(["-c:v", "libx264", "-pix_fmt", "yuv420p", &path]);
    tool("ffmpeg", &args);
    std::fs::read(path).unwrap()
}

fn treated(plan: &Value) -> Vec<(String, String)> {
    let streams = plan["outputs"][0]["streams"].as_array().unwrap();
    streams.iter().map(|stream| (text_of(stream, "kind"), text_of(stream, "treatment"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_tells_of_each_stream_whether_it_is_copied_and_why() {
    let server = Server::start(Config::default()).await;
    let of = |kind: &str, treatment: &str| (kind.to_owned(), treatment.to_owned());
    let copied = plan(&server, "film.mp4", film(1, true), json!({"to": "mkv"})).await;
    assert_eq!(treated(&copied), [of("video", "copy"), of("audio", "copy")]);
    let smaller = plan(&server, "film.mp4", film(1, true), json!({"to": "mkv", "options": {"video": {"height": 120}}})).await;
    assert_eq!(treated(&smaller), [of("video", "encode"), of("audio", "copy")]);
    let streams = &smaller["outputs"][0]["streams"];
    assert_eq!((text_of(&streams[0], "codec"), text_of(&streams[0], "to")), ("h264".into(), "h264".into()));
    assert_eq!((text_of(&streams[0], "why"), text_of(&streams[1], "why")), ("320 x 240 becomes 160 x 120".into(), "aac fits mkv".into()));
    let song = plan(&server, "film.mp4", film(1, true), json!({"to": "mp3"})).await;
    let (sound, why) = (&song["outputs"][0]["streams"][0], "mp3 does not play aac");
    assert_eq!((text_of(sound, "treatment"), text_of(sound, "to"), text_of(sound, "why")), ("encode".into(), "mp3".into(), why.into()));
    assert_eq!(sound["stream"], 1, "the second stream of the film");
    let ladder = plan(&server, "film.mp4", film(1, true), json!({"to": "hls"})).await;
    assert_eq!(treated(&ladder), [of("video", "encode"), of("audio", "encode")]);
    // What would fail is told too.
    let silent = plan(&server, "film.mp4", film(1, false), json!({"to": "mp3"})).await;
    assert_eq!(text_of(&silent["outputs"][0]["error"], "code"), "unsupported_conversion", "{silent}");
    assert!(copied["outputs"][0]["error"].is_null());
    server.stop();
}

/// Whether one is at most so many times the other.
fn is_within(factor: f64, told: &Value, was: f64) -> bool {
    let told = told.as_f64().unwrap();
    told > 0.0 && told <= was * factor && told >= was / factor
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plan_predicts_is_near_what_the_job_then_takes() {
    let server = Server::start(Config::default()).await;
    let fields = || json!({"to": "mkv", "options": {"video": {"height": 120}}});
    for seconds in [1, 3, 6] {
        let id = server.submit("film.mp4", film(seconds, true), fields()).await;
        assert_eq!(server.ended(&id).await["state"], "succeeded");
    }
    let planned = plan(&server, "film.mp4", film(20, true), fields()).await;
    let prediction = &planned["prediction"];
    assert_eq!(prediction["learned_from"], 3, "{planned}");
    let id = server.submit("film.mp4", film(20, true), fields()).await;
    let job = server.ended(&id).await;
    let (output, attempt) = (&job["outputs"][0], &job["attempts"][0]);
    let (size, memory) = (output["size_bytes"].as_f64().unwrap(), attempt["memory_peak_bytes"].as_f64().unwrap());
    let at = |field: &str| text_of(attempt, field).parse::<jiff::Timestamp>().unwrap();
    let took_s = at("finished_at").duration_since(at("started_at")).as_secs_f64();
    let told = |field: &str, factor, was| assert!(is_within(factor, &prediction[field], was), "{field}: {prediction} and {was}");
    told("size_bytes", 1.5, size);
    assert!(is_within(1.5, &planned["outputs"][0]["size_bytes"], size), "{planned} and {size}");
    told("memory_bytes", 2.0, memory);
    told("scratch_bytes", 3.0, attempt["scratch_peak_bytes"].as_f64().unwrap().max(size));
    told("seconds", 10.0, took_s);
    // Of another target nothing is known.
    let other = plan(&server, "film.mp4", film(1, true), json!({"to": "webm"})).await;
    assert!(other["prediction"].is_null(), "{other}");
    server.stop();
}
