//! The Celery edge, proven with the real packages (scripts/setup.d/celery): scripts beside this file speak to a real `millrace serve`
//! over a real Redis, with the newest client and with one that is years older.

use crate::support::direct::fixture;
use crate::support::redis::RedisServer;
use crate::support::server::{Config, Server};
use crate::support::tools::folder;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// A broker, a server on it, and a folder with inputs.
struct Site {
    broker: RedisServer,
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
        let (broker, inputs) = (RedisServer::start(&[]), tempfile::tempdir().unwrap());
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
            .variable("CELERY_RESULT_BACKEND", &url(&broker, 1))
            .variable("CELERY_NODE", "millrace@test")
            .variable("CELERY_DEFAULT_QUEUE", "python")
            .variable("INPUTS_ROOTS", root.to_str().unwrap())
            .variable("OUTPUTS_ROOTS", root.to_str().unwrap());
        let server = Server::start(change(config)).await;
        Site { broker, server, inputs }
    }

    /// Runs a script of this folder with `new` or `old` Celery.
    fn script(&self, which: &str, name: &str) -> Command {
        let mut command = Command::new(tools(which).join("python"));
        command.arg(here().join(name)).current_dir(here()).env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("BROKER", url(&self.broker, 0)).env("BACKEND", url(&self.broker, 1)).env("INPUTS", self.inputs.path().canonicalize().unwrap());
        command.env("CELERY", tools(which).join("celery")).env("MILLRACE_URL", self.server.url());
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

/// The programs of one of the two Celeries.
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
