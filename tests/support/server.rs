//! The real binary, as a site runs it: `millrace serve` on a free loopback port with a data folder of its own.
//!
//! A server can be stopped as a service is (SIGTERM), killed as a power cut does (SIGKILL) and started again on the same
//! data folder. Whichever way it ends, every process it started must end too, and a drained one leaves no staging folder.

use super::s3::{BUCKET, PREFIX, S3Server};
use reqwest::{Client, Method, RequestBuilder, Response};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// Longer than anything a test waits for.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// What a server is started with.
#[derive(Debug, Clone, Default)]
pub struct Config {
    queues: Vec<(String, String)>,
    variables: Vec<(String, String)>,
    token: Option<String>,
    disk_mib: Option<u32>,
}

impl Config {
    /// TOML on top of the shipped file of this queue.
    pub fn queue(mut self, name: &str, toml: &str) -> Self {
        self.queues.push((name.into(), toml.into()));
        self
    }

    /// A configuration variable, without `MILLRACE_`: `INPUTS_ROOTS`, `TIME_ZONE` ...
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((format!("MILLRACE_{name}"), value.into()));
        self
    }

    /// Keeps the bytes on this server.
    pub fn s3(mut self, server: &S3Server) -> Self {
        self.variables.extend(server.variables());
        self.variable("BLOBS", &format!("s3://{BUCKET}/{PREFIX}"))
    }

    /// Keeps the data folder on a disk of this size, which nobody else sees and which ends with the server.
    pub fn disk_mib(mut self, size: u32) -> Self {
        self.disk_mib = Some(size);
        self
    }

    /// The token that the server asks for; every request of [`Server`] carries it.
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.into());
        self.variable("AUTH_TOKEN", token)
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
    log: Arc<Mutex<String>>,
}

struct Process {
    child: Child,
    pidfd: OwnedFd,
}

impl Server {
    /// Starts a server on an empty data folder and waits until it is ready.
    pub async fn start(config: Config) -> Server {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("queues")).unwrap();
        for (name, toml) in &config.queues {
            std::fs::write(folder.path().join(format!("queues/{name}.toml")), toml).unwrap();
        }
        let client = client(config.token.as_deref());
        let mut server = Server { config, folder, client, process: None, url: String::new(), log: Arc::default() };
        server.spawn().await;
        server
    }

    /// `http://127.0.0.1:<port>`; another port after a restart.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the server runs").child.id()
    }

    /// The processes it has started, each with how many steps it is away: 1 is the fork server, 2 a zygote, the rest are below one.
    pub fn processes(&self) -> Vec<(u32, usize)> {
        Descendants::of(self.pid()).0.into_iter().map(|(id, depth, _)| (id, depth)).collect()
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
        self.log.lock().unwrap().clone()
    }

    /// SIGKILL, as a power cut would do it. Returns once the process and all that it started are gone.
    pub fn kill_9(&mut self) {
        let process = self.process.take().expect("the server runs");
        let started = Descendants::of(process.child.id());
        let _ = kill_process(pid(process.child.id()), Signal::KILL);
        reap(process);
        started.assert_gone();
    }

    /// SIGTERM; asserts a clean end within [`DEADLINE`] with no process and no staging folder left. The folder stays.
    pub fn terminate(&mut self) -> Duration {
        let process = self.process.take().expect("the server runs");
        let started = Descendants::of(process.child.id());
        let asked = Instant::now();
        kill_process(pid(process.child.id()), Signal::TERM).unwrap();
        assert!(ends(&process.pidfd, DEADLINE), "the server ends after SIGTERM:\n{}", self.log());
        let took = asked.elapsed();
        let status = reap(process);
        assert!(status.success(), "{status}:\n{}", self.log());
        started.assert_gone();
        if self.config.disk_mib.is_none() {
            let left: Vec<_> = std::fs::read_dir(self.data_dir().join("staging")).unwrap().flatten().map(|e| e.path()).collect();
            assert!(left.is_empty(), "staging folders are left: {left:?}");
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

    async fn spawn(&mut self) {
        let mut command = match self.config.disk_mib {
            None => Command::new(env!("CARGO_BIN_EXE_millrace")),
            Some(mib) => on_small_disk(&self.data_dir(), mib),
        };
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(self.data_dir());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MILLRACE_")) {
            command.env_remove(name);
        }
        command.env("MILLRACE_QUEUES_DIR", self.folder.path().join("queues")).envs(self.config.variables.iter().map(|(k, v)| (k, v)));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let pidfd = pidfd_open(pid(child.id()), PidfdFlags::empty()).unwrap();
        let (told, address) = mpsc::channel();
        let (errors, log) = (child.stderr.take().unwrap(), self.log.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("millrace is at ") {
                    let _ = told.send(rest.trim().trim_end_matches('/').to_owned());
                }
                let mut log = log.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        self.process = Some(Process { child, pidfd });
        let address = tokio::task::spawn_blocking(move || address.recv_timeout(DEADLINE)).await.unwrap();
        self.url = address.unwrap_or_else(|e| panic!("the server says where it is ({e}):\n{}", self.log()));
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
            let started = Descendants::of(process.child.id());
            let _ = kill_process(pid(process.child.id()), Signal::KILL);
            reap(process);
            if !std::thread::panicking() {
                started.assert_gone();
            } else {
                eprintln!("the server's log:\n{}", self.log());
            }
        }
    }
}

/// The program behind a mount of its own: a small disk in memory over the data folder.
fn on_small_disk(data: &Path, mib: u32) -> Command {
    std::fs::create_dir_all(data).unwrap();
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--mount", "sh", "-c", "mount -t tmpfs -o size=\"$1\"m tmpfs \"$2\" && shift 2 && exec \"$@\"", "sh"]);
    command.arg(mib.to_string()).arg(data).arg(env!("CARGO_BIN_EXE_millrace"));
    command
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

fn pid(id: u32) -> Pid {
    Pid::from_raw(id.cast_signed()).unwrap()
}

/// Waits until the process of this descriptor has ended.
fn ends(pidfd: &OwnedFd, within: Duration) -> bool {
    let within = Timespec { tv_sec: within.as_secs().cast_signed(), tv_nsec: 0 };
    poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&within)).unwrap() > 0
}

fn reap(mut process: Process) -> ExitStatus {
    process.child.wait().unwrap()
}

/// The processes below one with their depth, by descriptor: an id that is used again cannot be mistaken for them.
struct Descendants(Vec<(u32, usize, OwnedFd)>);

impl Descendants {
    fn of(root: u32) -> Descendants {
        let parents: Vec<(u32, u32)> =
            std::fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).filter_map(parent).collect();
        let (mut found, mut next) = (Vec::new(), vec![(root, 0)]);
        while let Some((above, depth)) = next.pop() {
            for (child, _) in parents.iter().filter(|(_, parent)| *parent == above) {
                next.push((*child, depth + 1));
                // Gone in the meantime: nothing to wait for.
                found.extend(pidfd_open(pid(*child), PidfdFlags::empty()).ok().map(|fd| (*child, depth + 1, fd)));
            }
        }
        Descendants(found)
    }

    fn assert_gone(self) {
        for (child, _, pidfd) in self.0 {
            assert!(ends(&pidfd, Duration::from_secs(20)), "process {child} outlived the server: {:?}", command_of(child));
        }
    }
}

/// A process and its parent.
fn parent(child: u32) -> Option<(u32, u32)> {
    let stat = std::fs::read_to_string(Path::new("/proc").join(child.to_string()).join("stat")).ok()?;
    // The name in brackets may hold anything.
    let rest = stat.rsplit_once(") ")?.1;
    Some((child, rest.split(' ').nth(1)?.parse().ok()?))
}

fn command_of(child: u32) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{child}/stat")).ok()
}
