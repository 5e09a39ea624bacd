//! The Celery edge, proven with the real packages (scripts/setup.d/celery): scripts beside this file speak to a real `millrace serve`
//! over a real Redis or Valkey, with the newest client, one that is years older and one in between.

use crate::support::direct::fixture;
use crate::support::redis::RedisServer;
use crate::support::server::{Config, DEADLINE, Server};
use crate::support::tools::folder;
use base64::Engine;
use millrace::celery::{Outlet, Settings};
use millrace::job::JobId;
use millrace::schedule::TaskQueues;
use millrace::store::CeleryTask;
use reqwest::Method;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// A broker, a server on it, and a folder with inputs.
struct Site {
    broker: RedisServer,
    /// Where results are kept, if not on the broker.
    backend: Option<RedisServer>,
    server: Server,
    inputs: tempfile::TempDir,
}

const INPUTS: [(&str, &str); 8] = [
    ("video/mp4/good/clip.mp4", "clip.mp4"),
    ("audio/wav/good/tone.wav", "tone.wav"),
    ("image/jpeg/good/photo.jpg", "photo.jpg"),
    ("document/md/good/notes.md", "notes.md"),
    ("document/txt/good/notes.txt", "notes.txt"),
    ("archive/zip/good/mixed.zip", "mixed.zip"),
    ("document/csv/good/sheet.csv", "sheet.csv"),
    ("image/png/good/scene.png", "picture.png"),
];

impl Site {
    async fn start(change: impl FnOnce(Config) -> Config) -> Site {
        Site::on(RedisServer::start(&[]), None, change).await
    }

    async fn on(broker: RedisServer, backend: Option<RedisServer>, change: impl FnOnce(Config) -> Config) -> Site {
        let inputs = tempfile::tempdir().unwrap();
        let root = inputs.path().canonicalize().unwrap();
        for (from, to) in INPUTS {
            std::fs::copy(fixture(from), root.join(to)).unwrap();
        }
        std::fs::create_dir(root.join("out")).unwrap();
        std::fs::write(root.join("broken.jpg"), &std::fs::read(root.join("photo.jpg")).unwrap()[..900]).unwrap();
        for (loops, name) in [("8", "long.mp4"), ("900", "endless.mp4")] {
            let loop_it = ["-v", "error", "-stream_loop", loops, "-i", "clip.mp4", "-c", "copy", name];
            assert!(Command::new("ffmpeg").args(loop_it).current_dir(&root).status().unwrap().success());
        }
        let config = Config::default()
            .variable("CELERY_BROKER_URL", &url(&broker, 0))
            .variable("CELERY_RESULT_BACKEND", &url(backend.as_ref().unwrap_or(&broker), 1))
            .variable("CELERY_NODE", "millrace@test")
            .variable("CELERY_DEFAULT_QUEUE", "python")
            .variable("INPUTS_ROOTS", root.to_str().unwrap())
            .variable("OUTPUTS_ROOTS", root.to_str().unwrap());
        let server = Server::start(change(config)).await;
        Site { broker, backend, server, inputs }
    }

    /// Runs a script of this folder with `new` or `old` Celery.
    fn script(&self, which: &str, name: &str) -> Command {
        let mut command = Command::new(tools(which).join("python"));
        command.arg(here().join(name)).current_dir(here()).env("PYTHONDONTWRITEBYTECODE", "1");
        let backend = self.backend.as_ref().unwrap_or(&self.broker);
        command.env("BROKER", url(&self.broker, 0)).env("BACKEND", url(backend, 1)).env("INPUTS", self.inputs.path().canonicalize().unwrap());
        command.env("CELERY", tools(which).join("celery")).env("MILLRACE_URL", self.server.url()).env("MILLRACE", env!("CARGO_BIN_EXE_millrace"));
        command
    }

    async fn passes(&self, which: &str, name: &str) {
        let mut command = self.script(which, name);
        let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert_passed(&done, self);
    }
}

fn assert_passed(done: &Output, site: &Site) {
    let (out, errors) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{out}\n{errors}\nthe server:\n{}", site.server.log());
}

fn url(broker: &RedisServer, database: u8) -> String {
    format!("redis://127.0.0.1:{}/{database}", broker.port)
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/celery")
}

/// The programs of one of the Celeries.
fn tools(which: &str) -> PathBuf {
    folder(&format!("celery-{which}")).join("bin")
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_the_newest_client_end_as_it_expects() {
    let site = Site::start(|config| config).await;
    site.passes("new", "results.py").await;
    site.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_an_old_client_end_as_it_expects() {
    let site = Site::start(|config| config).await;
    site.passes("old", "results.py").await;
    site.server.stop();
}

#[test]
fn the_end_of_a_task_is_all_of_it_or_nothing_on_every_server() {
    let others = folder("redis-others");
    for program in [PathBuf::from("redis-server"), others.join("redis-6.2"), others.join("valkey-9.1")] {
        let broker = RedisServer::of(&program, &[]);
        let mut script = Command::new(tools("new").join("python"));
        script.arg(here().join("finish.py")).env("PYTHONDONTWRITEBYTECODE", "1").env("BROKER", url(&broker, 0)).env("BACKEND", url(&broker, 1));
        let done = script.output().unwrap();
        assert!(done.status.success(), "{}: {}", program.display(), String::from_utf8_lossy(&done.stdout));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_in_between_and_the_oldest_redis_work() {
    let site = Site::on(RedisServer::of(&folder("redis-others").join("redis-6.2"), &[]), None, |config| config).await;
    site.passes("mid", "results.py").await;
    site.passes("mid", "canvas.py").await;
    site.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_valkey_works() {
    let site = Site::on(RedisServer::of(&folder("redis-others").join("valkey-9.1"), &[]), None, |config| config).await;
    site.passes("new", "results.py").await;
    site.passes("new", "canvas.py").await;
    site.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn results_may_have_a_server_of_their_own() {
    let site = Site::on(RedisServer::start(&[]), Some(RedisServer::start(&[])), |config| config).await;
    site.passes("new", "results.py").await;
    site.passes("new", "canvas.py").await;
    site.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn chains_groups_and_chords_go_from_millrace_to_python_and_back() {
    let site = Site::start(|config| config).await;
    site.passes("new", "canvas.py").await;
    site.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn chains_groups_and_chords_of_an_old_celery_work_too() {
    let site = Site::start(|config| config).await;
    site.passes("old", "canvas.py").await;
    site.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_of_celery_inspects_and_controls() {
    let site = Site::start(|config| config).await;
    site.passes("new", "control.py").await;
    site.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_of_celery_restarts_the_pools_and_ends_the_service() {
    let mut site = Site::start(|config| config).await;
    site.passes("new", "orders.py").await;
    // It ends by itself, as on SIGTERM, and what it held is another's to take.
    let deadline = std::time::Instant::now() + DEADLINE;
    while site.server.is_alive() {
        assert!(std::time::Instant::now() < deadline, "the service ends:\n{}", site.server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let left = |question: &'static [&'static str]| async { redis::from_redis_value::<i64>(site.broker.command(question).await).unwrap() };
    assert_eq!((left(&["HLEN", "unacked"]).await, left(&["LLEN", "archive"]).await), (0, 1));
    assert!(site.server.log().contains("Celery's remote control orders the end"));
    site.server.restart().await;
    site.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_send_tasks_to_a_python_worker() {
    let site = Site::start(|config| config).await;
    site.passes("new", "schedules.py").await;
    site.server.stop();
}

#[tokio::test]
async fn a_task_is_sent_once_however_often_its_job_is_tried() {
    let broker = RedisServer::start(&[]);
    let settings = Settings { broker_url: Some(url(&broker, 0)), routes: [("site.*".to_owned(), "python".to_owned())].into(), ..Settings::default() };
    let outlet = Outlet::open(&settings).unwrap().unwrap();
    let task = CeleryTask { task: "site.report".into(), args: vec![], kwargs: serde_json::Map::new(), queue: None };
    let (one, other) = (JobId::new(), JobId::new());
    for id in [one, one, other, one] {
        assert_eq!(outlet.send(id, &task).await.unwrap(), "python");
    }
    assert_eq!(redis::from_redis_value::<i64>(broker.command(&["LLEN", "python"]).await).unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_of_the_readme_fills_the_tables_of_django_celery_results() {
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let hook = format!("[hooks]\nafter_return = \"http://127.0.0.1:{port}/hooks/millrace/\"\n");
    let site = Site::start(|config| config.queue("image", &hook).variable("WEBHOOKS_SECRET", SECRET)).await;
    let mut script = site.script("new", "django_results.py");
    script.env("SITE_PORT", port.to_string()).env("SECRET", SECRET);
    let done = tokio::task::spawn_blocking(move || script.output().unwrap()).await.unwrap();
    assert_passed(&done, &site);
    site.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn flower_shows_the_worker_and_its_buttons_work() {
    let site = Site::start(|config| config).await;
    site.passes("new", "flower_page.py").await;
    site.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_django_site_converts_a_file_of_each_family() {
    let site = Site::start(|config| config).await;
    site.passes("new", "django_site.py").await;
    site.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_taken_than_may_be_held_and_all_of_it_in_the_end() {
    for prefetch in [1, 8] {
        let site = Site::start(|config| config.variable("CELERY_PREFETCH", &prefetch.to_string())).await;
        site.server.send(Method::POST, "/v1/queues/archive/pause", &json!({})).await;
        let body = base64::engine::general_purpose::STANDARD.encode(r#"[[1, "notes.txt", "noop"], {}, {}]"#);
        for n in 0..40 {
            let headers = json!({"task": "converter.tasks.convert_archive", "id": format!("task-{n}")});
            let properties = json!({"body_encoding": "base64", "delivery_tag": format!("tag-{n}")});
            let message = json!({"body": body, "content-type": "application/json", "headers": headers, "properties": properties});
            // As kombu writes it: with a space after each colon.
            let message = message.to_string().replace("\":", "\": ");
            site.broker.command(&["LPUSH", "archive", &message]).await;
        }
        let count = |question: &'static [&'static str]| async { redis::from_redis_value::<usize>(site.broker.command(question).await).unwrap() };
        let are = |jobs: usize| move |page: &Value| page["jobs"].as_array().unwrap().len() >= jobs;
        // The last few of a full hand are not asked for one by one; one more may be on its way.
        site.server.until("/v1/jobs?queue=archive&limit=100", are(prefetch - prefetch / 4)).await;
        assert!(count(&["HLEN", "unacked"]).await <= prefetch && count(&["LLEN", "archive"]).await >= 39 - prefetch);
        site.server.send(Method::POST, "/v1/queues/archive/resume", &json!({})).await;
        site.server.until("/v1/jobs?queue=archive&state=succeeded&limit=100", are(40)).await;
        let deadline = std::time::Instant::now() + DEADLINE;
        while count(&["HLEN", "unacked"]).await > 0 {
            assert!(std::time::Instant::now() < deadline, "all is settled");
        }
        site.server.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_kills_loses_nothing_and_doubles_nothing() {
    let (count, kills) = std::env::var("CELERY_STORM").map_or((200, 5), |count| (count.parse().unwrap(), 20));
    let mut site = Site::start(|config| config).await;
    let mut storm = site.script("new", "storm.py");
    storm.arg(count.to_string());
    let storm = tokio::task::spawn_blocking(move || storm.output().unwrap());
    for _ in 0..kills {
        // Not a wait for something: the time between two kills.
        tokio::time::sleep(Duration::from_millis(700)).await;
        site.server.kill_9();
        site.server.restart().await;
    }
    assert_passed(&storm.await.unwrap(), &site);
    site.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_server_had_is_given_back_by_another_within_seconds() {
    let mut site = Site::start(|config| config).await;
    let mut script = site.script("new", "results.py");
    script.arg("check_nothing_stays_in_work");
    let tag = r#"{"body": "W10=", "headers": {"task": "converter.tasks.convert_archive", "id": "held"}, "properties": {"delivery_tag": "first"}}"#;
    // As a server leaves it that was killed after a take: in work, under the name of a process that is not there.
    site.server.kill_9();
    site.broker.command(&["HSET", "unacked", "first", &format!("[{tag}, \"\", \"archive\"]")]).await;
    site.broker.command(&["ZADD", "unacked_index", "1", "first"]).await;
    site.broker.command(&["SADD", "millrace:tags:gone", "first"]).await;
    site.broker.command(&["SADD", "millrace:instances", "gone"]).await;
    site.server.restart().await;
    let done = tokio::task::spawn_blocking(move || script.output().unwrap()).await.unwrap();
    assert_passed(&done, &site);
    let dead: String = redis::from_redis_value(site.broker.command(&["LINDEX", "millrace:dead", "0"]).await).unwrap();
    let kept = serde_json::from_str::<serde_json::Value>(&dead).unwrap()["message"].as_str().unwrap().to_owned();
    assert!(kept.contains(r#""millrace_tag": "first""#) && !kept.contains(r#""delivery_tag": "first""#), "a fresh tag: {kept}");
    site.server.stop();
}
