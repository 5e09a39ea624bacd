//! The client's commands against a real server.

use crate::support::command::{Done, good, millrace};
use crate::support::direct::tool;
use crate::support::server::{Config, Server};
use serde_json::{Value, json};
use std::process::{Command, Stdio};

const TOKEN: &str = "a token of sixteen letters";

/// A server and a folder for what its client downloads.
struct Client {
    server: Server,
    folder: tempfile::TempDir,
    token: &'static str,
}

impl Client {
    async fn start(config: Config) -> Client {
        Client { server: Server::start(config).await, folder: tempfile::tempdir().unwrap(), token: "" }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    /// Runs a command against the server, off the runtime's own threads.
    async fn run(&self, args: &[&str]) -> Done {
        let (folder, url, token) = (self.folder.path().to_owned(), self.server.url().to_owned(), self.token);
        let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        let run = move || {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let mut variables = vec![("MILLRACE_URL", url.as_str())];
            if !token.is_empty() {
                variables.push(("MILLRACE_TOKEN", token));
            }
            millrace(&folder, &args, &variables)
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    /// A command that must go well; its output.
    async fn ok(&self, args: &[&str]) -> String {
        let done = self.run(args).await;
        assert_eq!(done.exit, 0, "{args:?}: {}", done.complaint);
        done.out
    }

    async fn json(&self, args: &[&str]) -> Value {
        let out = self.ok(&[args, &["--json"]].concat()).await;
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{args:?}: {e}: {out}"))
    }

    /// Submits an attack that obeys a stop, and waits until it runs.
    async fn running(&self) -> String {
        let id = self.server.submit("x.attack", "obedient", json!({"to": "noop"})).await;
        self.server.until(&format!("/v1/jobs/{id}"), |job| job["state"] == "running").await;
        id
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_submitted_waited_for_and_downloaded() {
    let client = Client::start(Config::default()).await;
    let (photo, out) = (good("image/jpeg"), client.path("small.webp"));
    client.ok(&["submit", &photo, "--to", "webp", "-o", "width=64", "--priority", "9", "--out", &out]).await;
    assert!(tool("identify", &["-format", "%m %w", &out]).starts_with("WEBP 64"));
    let planned = client.ok(&["submit", &photo, "--to", "webp", "-o", "width=64", "--plan"]).await;
    assert!(planned.contains("(WebP by image.transcode, about ") && planned.contains("(learned from 1 job)"), "{planned}");
    // Without --wait: the id, which the other commands take.
    let id = client.ok(&["submit", &good("archive/zip"), "--to", "files"]).await.trim().to_owned();
    let watched = client.ok(&["jobs", "watch", &id]).await;
    assert!(watched.lines().last().unwrap().contains(&format!("{id} succeeded")), "{watched}");
    let folder = client.path("unpacked");
    let listed = client.ok(&["jobs", "outputs", &id, "--out-dir", &folder]).await;
    assert!(listed.contains("readme.txt") && std::path::Path::new(&folder).join("readme.txt").is_file(), "{listed}");
    assert!(std::path::Path::new(&folder).join("sub/deeper/note.md").is_file(), "folders are made");
    let shown = client.ok(&["jobs", "show", &id]).await;
    assert!(shown.contains("state     succeeded") && shown.contains("readme.txt") && shown.contains("ATTEMPT"), "{shown}");
    assert!(!client.ok(&["jobs", "log", &id]).await.is_empty());
    client.ok(&["queues", "pause", "archive"]).await;
    let first = client.ok(&["submit", &good("archive/zip"), "--to", "json"]).await.trim().to_owned();
    let after = client.ok(&["submit", &good("archive/zip"), "--to", "json", "--after", &first]).await.trim().to_owned();
    assert!(client.ok(&["jobs", "show", &after]).await.contains(&format!("waits for {first}")));
    client.ok(&["queues", "resume", "archive"]).await;
    client.ok(&["jobs", "watch", &after]).await;
    let table = client.ok(&["jobs", "list", "--queue", "image"]).await;
    assert!(table.starts_with("ID  ") && table.contains("jpeg > webp") && !table.contains('\x1b') && table.lines().count() == 2, "{table}");
    assert_eq!(client.json(&["jobs", "list", "--state", "succeeded", "--limit", "1"]).await["jobs"].as_array().unwrap().len(), 1);
    client.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_have_their_exit_codes() {
    let client = Client::start(Config::default()).await;
    let broken = crate::support::direct::fixture("image/png/broken/truncated.png").to_string_lossy().into_owned();
    let photo = good("image/jpeg");
    let out = client.path("out.webp");
    for (args, exit, words) in [
        (vec!["submit", &broken, "--to", "webp", "--out", &out], 1, vec!["corrupt_input: "]),
        (vec!["submit", &photo, "--to", "mp9"], 2, vec!["mp9"]),
        (vec!["submit", &photo, "--to", "docx"], 2, vec!["unsupported_conversion", "Possible: "]),
        (vec!["submit", &photo, "--to", "webp", "-o", "quality=101"], 2, vec!["options.quality", "1 to 100"]),
        (vec!["submit", &photo, "--to", "webp", "--queue", "mill"], 2, vec!["There is no queue `mill`", "video"]),
        (vec!["submit", "http://127.0.0.1:1/a.png", "--to", "webp"], 2, vec!["127.0.0.1 is this machine"]),
        (vec!["submit", "no such file", "--to", "webp"], 2, vec!["no such file: "]),
        (vec!["jobs", "show", "nobody"], 2, vec!["There is no such job"]),
        (vec!["queues", "set", "image", "concurrency=9999"], 2, vec!["0 to 1024"]),
        (vec!["queues", "set", "image", "colour=red"], 2, vec!["colour"]),
        (vec!["queues", "show", "mill"], 2, vec!["There is no queue `mill`"]),
        (vec!["jobs", "list", "--server", "http://127.0.0.1:1"], 5, vec!["no server at http://127.0.0.1:1", "millrace serve"]),
        (vec!["jobs", "list", "--server", "somewhere"], 2, vec!["--server", "http://127.0.0.1:8080"]),
    ] {
        let done = client.run(&args).await;
        assert_eq!(done.exit, exit, "{args:?}: {}", done.complaint);
        words.iter().for_each(|word| assert!(done.complaint.contains(word), "{args:?}: {} has no `{word}`", done.complaint));
        assert!(done.complaint.starts_with("millrace: "), "{}", done.complaint);
    }
    assert!(!std::path::Path::new(&out).exists());
    client.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn running_jobs_are_cancelled_and_retried() {
    let client = Client::start(Config::default()).await;
    let id = client.running().await;
    let watching = async { client.run(&["jobs", "watch", &id]).await };
    let cancelling = async {
        let told = client.ok(&["jobs", "cancel", &id]).await;
        assert!(told.contains(&id), "{told}");
    };
    let (watched, ()) = tokio::join!(watching, cancelling);
    assert_eq!(watched.exit, 3, "{}", watched.complaint);
    assert!(watched.complaint.contains("cancelled"), "{}", watched.complaint);
    assert!(client.ok(&["jobs", "retry", &id]).await.contains("queued"));
    client.server.until(&format!("/v1/jobs/{id}"), |job| job["state"] == "running").await;
    let second = client.running().await;
    client.ok(&["jobs", "cancel", "--kill", &id, &second]).await;
    for id in [&id, &second] {
        assert_eq!(client.server.ended(id).await["state"], "cancelled");
    }
    let slow = client.server.submit("x.attack", "obedient", json!({"to": "noop", "soft_time_limit": "500ms", "max_attempts": 1})).await;
    assert_eq!(client.run(&["jobs", "watch", &slow]).await.exit, 4);
    client.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_is_run_from_a_file_followed_and_cancelled() {
    let client = Client::start(Config::default()).await;
    std::fs::copy(good("archive/zip"), client.path("texts.zip")).unwrap();
    std::fs::write(client.path("slow.attack"), "obedient").unwrap();
    let steps = json!({"unpack": {"input": {"file": "texts.zip"}, "to": "files"}, "pack": {"input": {"step": "unpack"}, "to": "tar"}});
    std::fs::write(client.path("p.json"), json!({"steps": steps}).to_string()).unwrap();
    let followed = client.ok(&["pipelines", "run", &client.path("p.json"), "--wait"]).await;
    assert!(followed.lines().last().unwrap().contains("succeeded 100% of 2 jobs, 0 failed"), "{followed}");
    let slow = json!({"steps": {"slow": {"input": {"file": "slow.attack"}, "to": "noop"}, "pack": {"input": {"step": "slow"}, "to": "zip"}}});
    std::fs::write(client.path("slow.json"), slow.to_string()).unwrap();
    let id = client.ok(&["pipelines", "run", &client.path("slow.json")]).await.trim().to_owned();
    client.server.until(&format!("/v1/pipelines/{id}"), |pipeline| pipeline["stats"]["running"] == 1).await;
    let shown = client.ok(&["pipelines", "show", &id]).await;
    assert!(shown.contains("waiting") && shown.contains("AFTER"), "{shown}");
    let watching = async { client.run(&["pipelines", "watch", &id]).await };
    let (watched, cancelled) = tokio::join!(watching, async { client.ok(&["pipelines", "cancel", &id]).await });
    assert!(watched.exit == 3 && cancelled.contains(&id), "{} {cancelled}", watched.complaint);
    let table = client.ok(&["pipelines", "list"]).await;
    assert!(table.lines().count() == 3 && table.contains("cancelled") && table.contains("pack unpack"), "{table}");
    assert_eq!(client.json(&["jobs", "list", "--pipeline", &id]).await["jobs"].as_array().unwrap().len(), 1);
    assert_eq!(client.run(&["pipelines", "run", &client.path("none.json")]).await.exit, 2);
    client.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_are_set_paused_and_purged() {
    let client = Client::start(Config::default()).await;
    let table = client.ok(&["queues", "list"]).await;
    assert!(table.starts_with("QUEUE") && table.lines().count() == 8 && table.contains("document"), "{table}");
    let set = client.json(&["queues", "set", "image", "concurrency=2", "soft_time_limit=5m"]).await;
    assert_eq!((&set["concurrency"], &set["soft_time_limit"]), (&json!(2), &json!("5m")));
    assert_eq!(client.json(&["queues", "set", "image", "rate_limit=100/m"]).await["rate_limit"], "100/m");
    assert!(client.ok(&["queues", "list"]).await.contains("100/m"));
    assert_eq!(client.json(&["queues", "set", "image", "rate_limit=none"]).await["rate_limit"], Value::Null);
    assert_eq!(client.json(&["queues", "set", "image", "autoscale=1-3"]).await["autoscale"], json!({"min": 1, "max": 3}));
    assert!(client.ok(&["queues", "show", "image"]).await.contains("(1-3)"));
    assert_eq!(client.json(&["queues", "set", "image", "autoscale=none"]).await["concurrency"], 2);
    assert!(client.ok(&["queues", "pause", "image"]).await.contains("paused"));
    let id = client.ok(&["submit", &good("image/png"), "--to", "webp"]).await.trim().to_owned();
    assert!(client.ok(&["queues", "purge", "image"]).await.starts_with("1 job"));
    assert_eq!(client.json(&["jobs", "show", &id]).await["state"], "cancelled");
    assert_eq!(client.json(&["queues", "resume", "image"]).await["paused"], false);
    assert_eq!(client.json(&["queues", "show", "image"]).await["concurrency"], 2);
    client.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_seen_at_one_look() {
    let client = Client::start(Config::default()).await;
    let id = client.running().await;
    // No terminal: it is told once.
    let told = client.ok(&["top"]).await;
    let job = told.lines().find(|line| line.starts_with(&id)).expect("the job is told of");
    assert!(job.contains("archive") && job.contains("x.attack"), "{told}");
    assert!(told.lines().any(|line| line.starts_with("archive ") && line.contains("1/2")) && told.contains("workers: 1"), "{told}");
    let look = client.json(&["top", "--once"]).await;
    assert_eq!((&look["running"][0]["id"], look["queues"].as_array().unwrap().len()), (&json!(id), 7));
    client.ok(&["jobs", "cancel", &id, "--kill"]).await;
    client.server.ended(&id).await;
    assert!(client.ok(&["top", "--once"]).await.ends_with("Nothing runs.\n"));
    client.server.stop();
}

#[test]
fn every_command_has_a_page_in_the_manual() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    millrace(folder.path(), &["man", pages.to_str().unwrap()], &[]).said();
    for page in ["millrace.1", "millrace-convert.1", "millrace-jobs-list.1", "millrace-top.1"] {
        let shown = tool("man", &["-l", pages.join(page).to_str().unwrap()]);
        assert!(shown.contains("SYNOPSIS") && shown.contains("DESCRIPTION"), "{page}: {shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_are_put_run_and_deleted() {
    let client = Client::start(Config::default()).await;
    let table = client.ok(&["schedules", "list"]).await;
    assert!(table.contains("purge-staging") && table.contains("0 */6 * * *") && table.contains("never"), "{table}");
    let put = ["schedules", "put", "nightly", "--cron", "30 2 * * *", "--time-zone", "Europe/Berlin", "--converter", "cleanup.purge-records"];
    assert_eq!(client.json(&put).await["time_zone"], "Europe/Berlin");
    let id = client.ok(&["schedules", "run", "nightly"]).await.trim().to_owned();
    assert_eq!(client.server.ended(&id).await["state"], "succeeded");
    client.ok(&["schedules", "delete", "nightly"]).await;
    assert!(!client.ok(&["schedules", "list"]).await.contains("nightly"));
    client.ok(&["schedules", "put", "often", "--every", "15m", "--missed", "all", "--converter", "cleanup.purge-staging"]).await;
    assert!(client.ok(&["schedules", "list"]).await.contains("every 15m"));
    let wrong = client.run(&["schedules", "put", "x", "--cron", "soon", "--converter", "cleanup.purge-records"]).await;
    assert!(wrong.exit == 2 && wrong.complaint.contains("cron"), "{}", wrong.complaint);
    assert_eq!(client.run(&["schedules", "delete", "nobody"]).await.exit, 2);
    client.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_and_taken_from_the_environment() {
    let mut client = Client::start(Config::default().token(TOKEN)).await;
    let done = client.run(&["jobs", "list"]).await;
    assert_eq!(done.exit, 2);
    assert!(done.complaint.contains("MILLRACE_TOKEN") && !done.complaint.contains(TOKEN), "{}", done.complaint);
    client.ok(&["jobs", "list", "--token", TOKEN]).await;
    client.token = TOKEN;
    client.ok(&["jobs", "list"]).await;
    client.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_jobs_are_followed_until_the_watcher_goes() {
    let client = Client::start(Config::default()).await;
    let mut watcher = Command::new(env!("CARGO_BIN_EXE_millrace"))
        .args(["jobs", "watch", "--server", client.server.url()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let out = std::io::BufReader::new(watcher.stdout.take().unwrap());
    std::thread::spawn(move || std::io::BufRead::lines(out).map_while(Result::ok).try_for_each(|line| tell.send(line)));
    // Jobs until one is seen: the watcher may not have been listening yet when the first one ended.
    let deadline = std::time::Instant::now() + crate::support::server::DEADLINE;
    let (mut seen, mut ids) = (None, Vec::new());
    while seen.is_none() {
        assert!(std::time::Instant::now() < deadline, "the watcher says something");
        ids.push(client.server.submit("a.txt", "hello", json!({"to": "noop"})).await);
        client.server.ended(&ids[ids.len() - 1]).await;
        seen = told.recv_timeout(std::time::Duration::from_secs(2)).ok();
    }
    let seen = seen.unwrap();
    assert!(ids.iter().any(|id| seen.contains(id)), "{seen}");
    let pid = rustix::process::Pid::from_raw(watcher.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let done = tokio::task::spawn_blocking(move || crate::support::command::finish(watcher)).await.unwrap();
    assert_eq!(done.exit, 0, "Ctrl-C is how it ends");
    client.server.stop();
}

#[test]
fn files_are_probed_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let (photo, zip) = (good("image/jpeg"), good("archive/zip"));
    let done = millrace(folder.path(), &["probe", &photo, &zip, "--json"], &[]);
    assert_eq!(done.exit, 0, "{}", done.complaint);
    let inputs: Vec<Value> = done.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&inputs[0]["format"], &inputs[1]["media"]["entries"]), (&json!("jpeg"), &json!(4)), "{}", done.out);
    assert!(inputs[0]["media"]["width"].as_u64().unwrap() > 0);
    let broken = crate::support::direct::fixture("image/png/broken/huge.png").to_string_lossy().into_owned();
    let done = millrace(folder.path(), &["probe", &photo, &broken], &[]);
    assert!(done.out.contains("picture ") && done.about(&broken).starts_with("limit_exceeded: "), "{} {}", done.out, done.complaint);
    assert_eq!(done.exit, 1);
}

#[test]
fn the_doctor_tells_walls_families_and_disk() {
    let folder = tempfile::tempdir().unwrap();
    let done = millrace(folder.path(), &["doctor", "--data-dir", folder.path().to_str().unwrap()], &[]);
    assert_eq!(done.exit, 0, "{}", done.complaint);
    for word in ["landlock  holds", "seccomp   holds", "FAMILY", "document", "durable after"] {
        assert!(done.out.contains(word), "no `{word}` in {}", done.out);
    }
    let done = millrace(folder.path(), &["doctor", "--json"], &[]);
    let told: Value = serde_json::from_str(&done.out).unwrap();
    assert!(told["sandbox_level"].as_u64().unwrap() >= 3 && told["families"].as_array().unwrap().len() == 5);
    assert!(told["disk"]["fdatasync_median_us"].as_u64().is_some());
}

#[test]
fn the_bench_measures_the_engine() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let done = millrace(folder.path(), &["bench", "--jobs", "20", "--json", "--data-dir", data], &[]);
    assert_eq!(done.exit, 0, "{}", done.complaint);
    let told: Value = serde_json::from_str(&done.out).unwrap();
    let p50 = |what: &str| told[what]["p50"].as_f64().unwrap();
    assert!(p50("lease_to_finish_ms") > 0.0 && p50("lease_to_finish_ms") < p50("submit_to_succeeded_ms"), "{told}");
    assert!(told["jobs_per_s"].as_f64().unwrap() > 0.0);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "only the temporary folder is left");
}

#[test]
fn presets_are_told_with_those_of_the_site() {
    let folder = tempfile::tempdir().unwrap();
    let all = millrace(folder.path(), &["formats", "--presets", "--json"], &[]);
    let all: Value = serde_json::from_str(&all.out).unwrap();
    let named = |all: &Value, name: &str| all.as_array().unwrap().iter().find(|p| p["name"] == name).cloned().unwrap_or_default();
    assert_eq!((&named(&all, "hls-ladder")["queue"], &named(&all, "hls-ladder")["to"]), (&json!("video"), &json!("hls")));
    assert_eq!(named(&all, "podcast")["options"]["loudness"]["integrated"], json!(-19));
    let queues = folder.path().join("queues");
    std::fs::create_dir(&queues).unwrap();
    std::fs::write(queues.join("image.toml"), "[presets.tiny]\nto = \"jpeg\"\noptions = { width = 8 }\n").unwrap();
    let config = folder.path().join("millrace.toml");
    std::fs::write(&config, format!("queues_dir = \"{}\"\n", queues.display())).unwrap();
    let told = millrace(folder.path(), &["formats", "--presets", "--config", &config.to_string_lossy()], &[]);
    assert!(told.out.lines().any(|l| l.starts_with("image") && l.contains("tiny") && l.contains(r#"{"width":8}"#)), "{}", told.out);
    assert_eq!(millrace(folder.path(), &["formats", "--presets", "--from", "png"], &[]).exit, 2);
}
