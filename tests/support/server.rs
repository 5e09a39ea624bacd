//! The real binary, as a site runs it: `millrace serve` on a free loopback port with a data folder of its own.
//!
//! A server can be stopped as a service is (SIGTERM), killed as a power cut does (SIGKILL) and started again on the same
//! data folder. Whichever way it ends, every process it started must end too, and a drained one leaves no staging folder.

use super::process::{Below, Process, clean};
use super::s3::{BUCKET, PREFIX, S3Server};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Longer than anything a test waits for.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// What a server is started with.
#[derive(Debug, Clone, Default)]
pub struct Config {
    queues: Vec<(String, String)>,
    variables: Vec<(String, String)>,
    token: Option<String>,
    disk: Option<Disk>,
}

/// What the data folder is on: a mount that only the server and what it starts can see, and that ends with them.
#[derive(Debug, Clone)]
struct Disk {
    kind: &'static str,
    option: String,
    source: PathBuf,
}

impl Config {
    /// TOML on top of the shipped file of this queue.
    pub fn queue(mut self, name: &str, toml: &str) -> Self {
        self.queues.push((name.into(), toml.into()));
        self
    }

    /// A variable of the environment.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// A configuration variable, without `MILLRACE_`: `INPUTS_ROOTS`, `TIME_ZONE` ...
    pub fn variable(self, name: &str, value: &str) -> Self {
        self.environment(&format!("MILLRACE_{name}"), value)
    }

    /// Keeps the bytes on this server.
    pub fn s3(mut self, server: &S3Server) -> Self {
        self.variables.extend(server.variables());
        self.variable("BLOBS", &format!("s3://{BUCKET}/{PREFIX}"))
    }

    /// Gives the process the time of day that this file says, as `+10m` (libfaketime); the clock that nobody can set goes on.
    pub fn clock(self, file: &Path) -> Self {
        let libraries = std::fs::read_dir("/usr/lib").unwrap().flatten().map(|e| e.path().join("faketime/libfaketimeMT.so.1"));
        let library = libraries.into_iter().find(|path| path.exists()).expect("faketime is installed (scripts/setup)");
        let config = self.environment("LD_PRELOAD", library.to_str().unwrap());
        let config = config.environment("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap());
        config.environment("FAKETIME_CACHE_DURATION", "1").environment("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    }

    /// Keeps the data folder in memory of this size; it ends with the server.
    pub fn disk_mib(self, size: u32) -> Self {
        self.disk(Disk { kind: "tmpfs", option: format!("size={size}m"), source: "none".into() })
    }

    /// Keeps the data folder on the ext4 disk in this file. Wants root.
    pub fn disk_image(self, image: &Path) -> Self {
        self.disk(Disk { kind: "ext4", option: "loop".into(), source: image.to_owned() })
    }

    fn disk(mut self, disk: Disk) -> Self {
        self.disk = Some(disk);
        self
    }

    /// The token that the server asks for; every request of [`Server`] carries it.
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.into());
        self.variable("AUTH_TOKEN", token)
    }

    /// Gives all this to a process; the queues' files are kept in `folder`.
    pub fn configure(&self, command: &mut Command, folder: &Path) {
        let queues = folder.join("queues");
        std::fs::create_dir_all(&queues).unwrap();
        for (name, toml) in &self.queues {
            std::fs::write(queues.join(format!("{name}.toml")), toml).unwrap();
        }
        command.env("MILLRACE_QUEUES_DIR", queues).envs(self.variables.iter().map(|(k, v)| (k, v)));
    }
}

/// A running (or killed) server and its folder.
pub struct Server {
    config: Config,
    /// Holds `data` and `queues`; goes away with the server.
    folder: tempfile::TempDir,
    client: Client,
    process: Option<Process>,
    url: String,
    /// The log of the processes before this one.
    past: String,
}

impl Server {
    /// Starts a server on an empty data folder and waits until it is ready.
    pub async fn start(config: Config) -> Server {
        let (folder, client) = (tempfile::tempdir().unwrap(), client(config.token.as_deref()));
        let mut server = Server { config, folder, client, process: None, url: String::new(), past: String::new() };
        server.spawn().await;
        server
    }

    /// `http://127.0.0.1:<port>`; another port after a restart.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn pid(&self) -> u32 {
        self.process().id()
    }

    /// The processes it has started.
    pub fn processes(&self) -> Vec<Below> {
        self.process().below()
    }

    pub fn is_alive(&self) -> bool {
        self.process().is_alive()
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("the server runs")
    }

    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The data folder as the server sees it, on a disk of its own.
    pub fn disk(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.pid(), self.data_dir().display()))
    }

    /// A request to a path of this server, as `/v1/jobs`.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    /// Sends JSON.
    pub async fn send(&self, method: Method, path: &str, body: &Value) -> Response {
        self.request(method, path).json(body).send().await.unwrap()
    }

    /// The JSON at a path that must answer with success.
    pub async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Uploads bytes under a name and returns the upload's id.
    pub async fn upload(&self, name: &str, bytes: impl Into<reqwest::Body>) -> String {
        let response = self.request(Method::POST, "/v1/uploads").query(&[("name", name)]).body(bytes).send().await.unwrap();
        assert_eq!(response.status(), 201);
        text_of(&response.json::<Value>().await.unwrap(), "id")
    }

    /// Uploads a file, submits it with these fields and returns the job's id.
    pub async fn submit(&self, name: &str, bytes: impl Into<reqwest::Body>, fields: Value) -> String {
        let mut job = fields;
        job["input"] = serde_json::json!({"upload": self.upload(name, bytes).await});
        let response = self.send(Method::POST, "/v1/jobs", &job).await;
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, 202, "{text}");
        text_of(&serde_json::from_str(&text).unwrap(), "id")
    }

    /// The job, once it has ended.
    pub async fn ended(&self, id: &str) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let job = self.json(&format!("/v1/jobs/{id}?wait=10s")).await;
            if matches!(job["state"].as_str(), Some("succeeded" | "failed" | "cancelled")) {
                return job;
            }
            assert!(Instant::now() < deadline, "the job ends in time: {job}");
        }
    }

    /// The JSON at a path, once it is as wanted; asked again every 50 ms.
    pub async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let value = self.json(path).await;
            if wanted(&value) {
                return value;
            }
            assert!(Instant::now() < deadline, "{path} gets there in time: {value}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Everything the server has logged since it was first started.
    pub fn log(&self) -> String {
        self.past.clone() + &self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// SIGKILL, as a power cut would do it. Returns once the process and all that it started are gone.
    pub fn kill_9(&mut self) {
        let process = self.process.take().expect("the server runs");
        self.past += &process.log();
        process.kill_9();
    }

    /// SIGTERM; asserts a clean end within [`DEADLINE`] with no process and no staging folder left. The folder stays.
    pub fn terminate(&mut self) -> Duration {
        let (took, log) = self.process.take().expect("the server runs").terminate(DEADLINE);
        self.past += &log;
        if self.config.disk.is_none() {
            assert_nothing_staged(&self.data_dir());
        }
        took
    }

    /// Ends the server as a service is ended, and removes its folder.
    pub fn stop(mut self) {
        self.terminate();
    }

    /// Starts again on the same data folder, stopping first what still runs.
    pub async fn restart(&mut self) {
        if self.process.is_some() {
            self.terminate();
        }
        self.spawn().await;
    }

    /// Starts again with another configuration.
    pub async fn restart_with(&mut self, change: impl FnOnce(Config) -> Config) {
        self.config = change(std::mem::take(&mut self.config));
        self.restart().await;
    }

    async fn spawn(&mut self) {
        let mut command = clean(match &self.config.disk {
            None => Command::new(env!("CARGO_BIN_EXE_millrace")),
            Some(disk) => disk.under(&self.data_dir()),
        });
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(self.data_dir());
        self.config.configure(&mut command, self.folder.path());
        let process = self.process.insert(Process::start(&mut command));
        self.url = process.says("millrace is at ", DEADLINE).await.trim().trim_end_matches('/').to_owned();
        let deadline = Instant::now() + DEADLINE;
        while !self.request(Method::GET, "/readyz").send().await.is_ok_and(|r| r.status().is_success()) {
            assert!(Instant::now() < deadline, "the server gets ready:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Server {
    /// A test that failed leaves nothing running either.
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill_9();
        }
    }
}

/// A process that has ended well has tidied up.
pub fn assert_nothing_staged(data: &Path) {
    let left: Vec<_> = std::fs::read_dir(data.join("staging")).unwrap().flatten().map(|e| e.path()).collect();
    assert!(left.is_empty(), "staging folders are left: {left:?}");
}

impl Disk {
    /// The program, with this disk mounted over its data folder.
    fn under(&self, data: &Path) -> Command {
        std::fs::create_dir_all(data).unwrap();
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--mount", "sh", "-c", "mount -t \"$1\" -o \"$2\" \"$3\" \"$4\" && shift 4 && exec \"$@\"", "sh", self.kind, &self.option]);
        command.arg(&self.source).arg(data).arg(env!("CARGO_BIN_EXE_millrace"));
        command
    }
}

/// A client that follows no redirects and sends the token, if there is one.
pub fn client(token: Option<&str>) -> Client {
    // Fails when another test has done it: just as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut headers = reqwest::header::HeaderMap::new();
    if let Some(token) = token {
        headers.insert(reqwest::header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    }
    Client::builder().default_headers(headers).no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(DEADLINE).build().unwrap()
}

/// A field that must be text.
pub fn text_of(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("`{field}` is text in {value}")).to_owned()
}
