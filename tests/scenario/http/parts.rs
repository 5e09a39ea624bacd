//! Films that a pipeline encodes in parts.

use super::pipelines::{ended, jobs, run};
use crate::support::av::{all_packets, frames, shown_at};
use crate::support::direct::tool;
use crate::support::server::{Config, Server, text_of};
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::path::Path;

/// A film of so many seconds, with sound.
fn film(folder: &Path, seconds: u32) -> Vec<u8> {
    let path = folder.join("holiday.mp4");
    let (shown, heard) = (format!("testsrc2=size=480x270:rate=25:duration={seconds}"), format!("sine=frequency=440:duration={seconds}"));
    let words = [
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        &shown,
        "-f",
        "lavfi",
        "-i",
        &heard,
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-bf",
        "2",
        "-c:a",
        "aac",
    ];
    tool("ffmpeg", &[&words[..], &[path.to_str().unwrap()]].concat());
    std::fs::read(path).unwrap()
}

async fn saved(server: &Server, job: &Value, path: &Path) {
    let bytes = server.get(job["outputs"][0]["url"].as_str().unwrap()).await.bytes().await.unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_in_parts_outlives_the_death_of_one_and_is_that_of_one_run() {
    let server = Server::start(Config::default().queue("video", "concurrency = 2\nretry_delay = \"100ms\"")).await;
    let folder = tempfile::tempdir().unwrap();
    let upload = server.upload("holiday.mp4", film(folder.path(), 12)).await;
    let options = json!({"video": {"crf": 30, "preset": "slow"}, "audio": {"codec": "aac", "bitrate": "64k"}});
    let pipeline = json!({"steps": {"film": {"input": {"upload": upload}, "to": "mp4", "options": options, "parts": 4}}});
    let accepted = run(&server, &pipeline).await;
    let id = text_of(&accepted, "id");
    assert_eq!(
        (&accepted["steps"]["film"]["needs"], &accepted["steps"]["film.parts"]["stats"]["total"]),
        (&json!(["film.parts"]), &json!(5)),
        "{accepted}"
    );
    let encodes = |page: &Value| {
        let jobs = page["jobs"].as_array().unwrap().iter();
        jobs.filter(|job| job["progress"]["stage"] == "encode" && job["progress"]["percent"].as_f64() > Some(1.0)).count()
    };
    server.until(&format!("/v1/jobs?pipeline={id}&state=running"), |page| encodes(page) > 0).await;
    let child = server.processes().into_iter().find(|below| below.depth == 3 && !below.is_zombie).expect("a part is encoded");
    kill_process(Pid::from_raw(child.id.cast_signed()).unwrap(), Signal::KILL).unwrap();
    let done = ended(&server, &id).await;
    assert_eq!(
        (&done["state"], &done["partial"], &done["stats"]["total"], &done["stats"]["done"]),
        (&json!("succeeded"), &json!(false), &json!(6), &json!(6))
    );
    let parts = jobs(&server, &id, "film.parts").await;
    let mut attempts: Vec<u64> = parts.iter().map(|job| job["attempt"].as_u64().unwrap()).collect();
    attempts.sort_unstable();
    assert_eq!(attempts, [1, 1, 1, 1, 2], "one part was made twice");
    let joined = jobs(&server, &id, "film").await.remove(0);
    assert_eq!((&joined["converter"], &joined["attempt"], &joined["outputs"][0]["name"]), (&json!("video.join"), &json!(1), &json!("holiday.mp4")));
    assert_eq!(joined["outputs"][0]["verification"]["passed"], true);
    let whole = run(&server, &json!({"steps": {"film": {"input": {"upload": upload}, "to": "mp4", "options": options}}})).await;
    let whole = text_of(&whole, "id");
    assert_eq!(ended(&server, &whole).await["state"], "succeeded");
    let (a, b) = (folder.path().join("joined.mp4"), folder.path().join("whole.mp4"));
    saved(&server, &joined, &a).await;
    saved(&server, &jobs(&server, &whole, "film").await[0], &b).await;
    assert_eq!((shown_at(&a), frames(&a)), (shown_at(&b), 300));
    let sound = |file: &Path| all_packets(file, "a:0", "pts,dts,duration,size,data_hash");
    assert_eq!(sound(&a), sound(&b));
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_have_a_length_and_what_is_wrong_with_them_is_named() {
    let server = Server::start(Config::default().queue("video", "concurrency = 2")).await;
    let folder = tempfile::tempdir().unwrap();
    let upload = server.upload("holiday.mp4", film(folder.path(), 3)).await;
    let step = |change: Value| {
        let mut step = json!({"input": {"upload": upload}, "to": "mp4", "parts": "2s", "options": {"video": {"preset": "ultrafast"}}});
        change.as_object().unwrap().iter().for_each(|(key, value)| step[key] = value.clone());
        step
    };
    let strip = json!({"options": {"video": {"preset": "ultrafast"}, "metadata": "strip"}});
    let id = text_of(&run(&server, &json!({"steps": {"film": step(strip), "poster": {"input": {"step": "film"}, "to": "webp"}}})).await, "id");
    let done = ended(&server, &id).await;
    assert_eq!((&done["state"], &done["steps"]["film.parts"]["stats"]["done"]), (&json!("succeeded"), &json!(3)), "{done}");
    assert_eq!(jobs(&server, &id, "film").await[0]["outputs"][0]["options"], json!({"faststart": null, "metadata": "strip"}));
    for (steps, field) in [
        (json!({"film": step(json!({"to": "avi"}))}), "steps.film.to"),
        (json!({"film": step(json!({"to": null}))}), "steps.film.to"),
        (json!({"film": step(json!({"preset": "none"}))}), "steps.film.preset"),
        (json!({"film": step(json!({"options": {"target_size": "1MB"}}))}), "steps.film.options.target_size"),
        (json!({"film": step(json!({"options": {"video": {"crf": 90}}}))}), "steps.film.options.video.crf"),
        (json!({"film": step(json!({"input": {"upload": "nobody"}}))}), "steps.film.input.upload"),
        (json!({"film": step(json!({"parts": "a few"}))}), "steps.film.parts"),
        (json!({"film": step(json!({"parts": 0}))}), "steps.film.parts"),
        (json!({"a": step(json!({"parts": 2})), "film": step(json!({"input": {"step": "a"}}))}), "steps.film.parts"),
        (json!({"film": step(json!({})), "film.parts": step(json!({"parts": null}))}), "steps.film.parts"),
    ] {
        let response = server.send(Method::POST, "/v1/pipelines", &json!({"steps": steps})).await;
        let (status, problem) = (response.status(), response.json::<Value>().await.unwrap());
        assert!(status.is_client_error() && problem["field"] == field, "{field}, {steps}: {status} {problem}");
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_is_not_joined_of_what_there_is() {
    let server = Server::start(Config::default().queue("video", "concurrency = 2\nmax_attempts = 1")).await;
    let folder = tempfile::tempdir().unwrap();
    let upload = server.upload("holiday.mp4", film(folder.path(), 2)).await;
    // Of fifty pictures two or three are left, too few for six parts.
    let options = json!({"video": {"preset": "ultrafast", "fps": 1}});
    let pipeline = json!({"steps": {"film": {"input": {"upload": upload}, "to": "mp4", "options": options, "parts": 6}}, "on_failure": "continue"});
    let id = text_of(&run(&server, &pipeline).await, "id");
    let done = ended(&server, &id).await;
    let errors = done["errors"].as_array().unwrap();
    let of = |step: &str| errors.iter().filter(|error| error["step"] == step).map(|error| text_of(&error["error"], "message")).collect::<Vec<_>>();
    assert!(of("film.parts").iter().all(|message| message.contains("ask for fewer parts")) && of("film.parts").len() >= 3, "{done}");
    assert!(of("film").len() == 1 && of("film")[0].contains("of 6 is missing"), "{done}");
    server.stop();
}
