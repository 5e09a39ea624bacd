//! A real Redis server of the tests' own: free loopback port, own folder, ended by its process id.

use millrace::store::redis::RedisStore;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

const PROGRAM: &str = "redis-server";
const PATIENCE: Duration = Duration::from_secs(20);

pub struct RedisServer {
    program: PathBuf,
    process: Child,
    pub port: u16,
    folder: tempfile::TempDir,
    settings: Vec<String>,
}

impl RedisServer {
    /// `settings` as in a redis.conf, one name and value after the other.
    pub fn start(settings: &[&str]) -> RedisServer {
        RedisServer::of(Path::new(PROGRAM), settings)
    }

    /// Another program than the installed one.
    pub fn of(program: &Path, settings: &[&str]) -> RedisServer {
        let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
        let settings: Vec<String> = settings.iter().map(|s| (*s).to_owned()).collect();
        let process = launch(program, port, &folder, &settings);
        RedisServer { program: program.to_owned(), process, port, folder, settings }
    }

    /// A node of a cluster that has not met the others yet.
    pub fn node() -> RedisServer {
        RedisServer::start(&["cluster-enabled", "yes", "cluster-port", &free_port().to_string()])
    }

    /// Speaks TLS, with a certificate nobody has signed, on the port returned too.
    pub fn with_tls() -> (RedisServer, u16) {
        let (port, tls_port, folder) = (free_port(), free_port(), tempfile::tempdir().unwrap());
        let (key, certificate) = (folder.path().join("key.pem"), folder.path().join("certificate.pem"));
        let mut make = Command::new("openssl");
        make.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost"]);
        let made = make.arg("-keyout").arg(&key).arg("-out").arg(&certificate).output().expect("openssl is installed (scripts/setup)");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let (key, certificate) = (key.to_str().unwrap(), certificate.to_str().unwrap());
        let tls_port_text = tls_port.to_string();
        let settings = [
            "tls-port",
            &tls_port_text,
            "tls-auth-clients",
            "no",
            "tls-key-file",
            key,
            "tls-cert-file",
            certificate,
            "tls-ca-cert-file",
            certificate,
        ];
        let settings: Vec<String> = settings.iter().map(|s| (*s).to_owned()).collect();
        let process = launch(Path::new(PROGRAM), port, &folder, &settings);
        (RedisServer { program: PROGRAM.into(), process, port, folder, settings }, tls_port)
    }

    /// Watches this server under the name `watched`; alone it may decide that the server is gone.
    pub fn sentinel_of(master: &RedisServer) -> RedisServer {
        let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
        let file = folder.path().join("sentinel.conf");
        // A failover that a busy moment spoils is tried again after twice this, and not after minutes.
        let watch = format!(
            "sentinel monitor watched 127.0.0.1 {} 1\nsentinel down-after-milliseconds watched 500\nsentinel failover-timeout watched 3000\n",
            master.port
        );
        std::fs::write(&file, format!("port {port}\nbind 127.0.0.1\n{watch}")).unwrap();
        let mut command = Command::new("redis-server");
        command.arg(file).arg("--sentinel").current_dir(folder.path());
        RedisServer { program: PROGRAM.into(), process: spawn(command, port), port, folder, settings: vec![] }
    }

    /// Does the answer, as that of INFO, have this line?
    pub async fn says(&self, question: &[&str], line: &str) -> bool {
        let text: String = redis::from_redis_value(self.command(question).await).unwrap();
        text.lines().any(|l| l.trim() == line)
    }

    pub fn url(&self, prefix: &str) -> String {
        format!("redis://127.0.0.1:{}/?prefix={prefix}", self.port)
    }

    /// Ends it as a crash does.
    pub fn crash(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Ends it as a crash does, and starts it again on what it has written.
    pub fn crash_and_restart(&mut self) {
        self.crash();
        self.restart();
    }

    /// Starts it again, after a crash, on what it has written.
    pub fn restart(&mut self) {
        self.process = launch(&self.program, self.port, &self.folder, &self.settings);
    }

    pub async fn command(&self, words: &[&str]) -> redis::Value {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}/", self.port)).unwrap();
        // The crate's own default of half a second is less than a busy machine may take.
        let patient = redis::AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
        let mut connection = client.get_multiplexed_async_connection_with_config(&patient).await.unwrap();
        redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await.unwrap()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn launch(program: &Path, port: u16, folder: &tempfile::TempDir, settings: &[String]) -> Child {
    let mut command = Command::new(program);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(folder.path());
    command.args(settings.chunks(2).flat_map(|pair| [format!("--{}", pair[0]), pair[1].clone()]));
    spawn(command, port)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn spawn(mut command: Command, port: u16) -> Child {
    let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("redis-server is installed (scripts/setup)");
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "redis-server does not listen");
        std::thread::yield_now();
    }
    process
}

/// The server most tests share while any of them runs.
static SHARED: Mutex<Weak<RedisServer>> = Mutex::new(Weak::new());
static PREFIXES: AtomicU32 = AtomicU32::new(0);

/// An empty store on the shared server, which runs as long as somebody holds it.
pub async fn fresh_store() -> (Arc<RedisServer>, RedisStore) {
    let server = {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let server = shared.upgrade().unwrap_or_else(|| Arc::new(RedisServer::start(&[])));
        *shared = Arc::downgrade(&server);
        server
    };
    let store = RedisStore::open(&server.url(&format!("test-{}", PREFIXES.fetch_add(1, Ordering::Relaxed)))).await.unwrap();
    (server, store)
}
