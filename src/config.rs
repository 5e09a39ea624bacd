//! The configuration: defaults, then the file, then `MILLRACE_SECTION_KEY` variables, then flags. Unknown keys are refused.

mod places;
mod variables;

pub use places::{BlobsPlace, StorePlace};
pub use variables::VARIABLES;

use crate::blobs;
use crate::celery;
use crate::http::AuthSettings;
use crate::limits::{Size, Span};
use crate::notify::{MailSettings, WebhookSettings};
use crate::outbound::{Outbound, Policy, SystemResolver, anywhere, public};
use crate::queue::Queues;
use crate::sandbox::Wear;
use crate::worker::{LEASE, LEASE_MIN, PoolSpec};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Redirects that a download follows.
const REDIRECTS_MAX: usize = 3;

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub data_dir: PathBuf,
    /// Loopback as shipped; any other address needs `auth.token`.
    pub listen: SocketAddr,
    /// `sqlite`, or the URL of a Redis that several processes share.
    pub store: StorePlace,
    /// `local`, a folder, or `s3://bucket/prefix` with the usual `AWS_*` variables.
    pub blobs: BlobsPlace,
    /// Queue files on top of the shipped ones.
    pub queues_dir: Option<PathBuf>,
    /// Queues that this process works on, as `video` or `video:2` (so many slots in this process); empty: all.
    pub pools: Vec<PoolSpec>,
    /// How long the jobs of a worker that says nothing any more stay its own.
    pub lease: Span,
    /// IANA name, for the shipped schedules.
    pub time_zone: String,
    pub inputs: Inputs,
    pub outputs: Outputs,
    pub blobs_cache: BlobsCache,
    pub sandbox: Sandbox,
    pub work: Work,
    pub auth: AuthSettings,
    pub webhooks: WebhookSettings,
    pub email: MailSettings,
    pub celery: celery::Settings,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Inputs {
    /// Folders that `{"path": ...}` may read; empty: none.
    pub roots: Vec<PathBuf>,
    /// What the keys of `{"blob": ...}` must begin with, as `incoming/`; empty: none. In the same bucket and below its prefix.
    pub blobs: Vec<String>,
    pub url: Urls,
}

/// What `{"url": ...}` may fetch.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Urls {
    /// Addresses of the site's own network too.
    pub allow_private: bool,
    pub max_bytes: Size,
    /// For a whole download, redirects included.
    pub timeout: Span,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outputs {
    /// Answer a download with a redirect to the bytes in S3, which the client must be able to reach; else they are passed on.
    pub redirect: bool,
    /// Folders that outputs of Celery's tasks may be written to beside the blob store; empty: none.
    pub roots: Vec<PathBuf>,
}

/// Local copies of inputs that are kept elsewhere.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlobsCache {
    /// What has not been read for longest goes first; what is being read stays, even beyond this.
    pub max: Size,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sandbox {
    /// The lowest level of the jail to start with, 0 to 4.
    pub floor: u8,
    /// Children that one zygote forks before a fresh one takes its place; at least 1.
    pub max_jobs_per_zygote: u64,
    /// Memory that a zygote may gain over its first child before a fresh one takes its place.
    pub zygote_growth_max: Size,
}

/// Of `millrace work` alone.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Work {
    /// Where it tells how it is (`/healthz`, `/readyz`, `/metrics`); none: nowhere. Loopback, or any address with `auth.token`.
    pub listen: Option<SocketAddr>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            data_dir: "millrace-data".into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            store: StorePlace::Sqlite,
            blobs: BlobsPlace::Local,
            queues_dir: None,
            pools: Vec::new(),
            lease: LEASE,
            time_zone: "UTC".into(),
            inputs: Inputs::default(),
            outputs: Outputs::default(),
            blobs_cache: BlobsCache::default(),
            sandbox: Sandbox::default(),
            work: Work::default(),
            auth: AuthSettings::default(),
            webhooks: WebhookSettings::default(),
            email: MailSettings::default(),
            celery: celery::Settings::default(),
        }
    }
}

impl Inputs {
    /// A folder of the site's own, where it can be.
    fn check_blobs(&self, place: &BlobsPlace) -> Result<(), String> {
        if !self.blobs.is_empty() && !matches!(place, BlobsPlace::S3 { .. }) {
            return Err(format!("inputs.blobs needs blobs in S3, they are in `{place}`; files of this machine are let in by inputs.roots"));
        }
        match self.blobs.iter().find(|prefix| blobs::is_ours(prefix) || !blobs::is_folder(prefix)) {
            Some(prefix) => Err(format!("inputs.blobs: `{prefix}` is no folder of the site's own, as `incoming/`")),
            None => Ok(()),
        }
    }
}

impl Default for Urls {
    fn default() -> Self {
        Urls { allow_private: false, max_bytes: Size::gib(4), timeout: Span::from_secs(600) }
    }
}

impl Urls {
    pub fn outbound(&self) -> Result<Outbound, String> {
        let reach = if self.allow_private { anywhere } else { public };
        let policy = Policy { reach, redirects: REDIRECTS_MAX, timeout: self.timeout, max_bytes: self.max_bytes };
        Outbound::new(policy, Arc::new(SystemResolver))
    }
}

impl Default for BlobsCache {
    fn default() -> Self {
        BlobsCache { max: Size::gib(20) }
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        let Wear { jobs_max, growth_max } = Wear::default();
        Sandbox { floor: 3, max_jobs_per_zygote: jobs_max, zygote_growth_max: growth_max }
    }
}

impl Sandbox {
    pub fn wear(&self) -> Wear {
        Wear { jobs_max: self.max_jobs_per_zygote, growth_max: self.zygote_growth_max }
    }
}

impl Config {
    /// Reads the file, if one is given, with the environment on top. The error names the line or the variable.
    pub fn load(file: Option<&Path>, environment: &BTreeMap<String, String>) -> Result<Config, String> {
        let text = match file {
            Some(path) => std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?,
            None => String::new(),
        };
        let name = file.map_or_else(|| "configuration".into(), |p| p.display().to_string());
        // Once for the line of a wrong key, then again with the variables on top.
        toml::from_str::<Config>(&text).map_err(|e| format!("{name}: {e}"))?;
        let mut table: toml::Table = text.parse().map_err(|e| format!("{name}: {e}"))?;
        for (variable, path) in VARIABLES {
            if let Some(value) = environment.get(&format!("MILLRACE_{variable}")) {
                variables::set(&mut table, path, value);
            }
        }
        table.try_into().map_err(|e: toml::de::Error| format!("{name} with MILLRACE_ variables: {}", e.message())).and_then(Config::checked)
    }

    fn checked(self) -> Result<Config, String> {
        self.auth.check()?;
        if self.lease < LEASE_MIN {
            return Err(format!("lease must be at least {LEASE_MIN}"));
        }
        if self.sandbox.floor > 4 {
            return Err("sandbox.floor must be 0 to 4".into());
        }
        if self.sandbox.max_jobs_per_zygote == 0 {
            return Err("sandbox.max_jobs_per_zygote must be at least 1".into());
        }
        for (section, roots) in [("inputs", &self.inputs.roots), ("outputs", &self.outputs.roots)] {
            if let Some(root) = roots.iter().find(|r| !r.is_absolute()) {
                return Err(format!("{section}.roots: {} is not an absolute path", root.display()));
            }
        }
        self.inputs.check_blobs(&self.blobs)?;
        self.webhooks.check()?;
        self.email.check()?;
        self.celery.check()?;
        jiff::tz::TimeZone::get(&self.time_zone).map_err(|_| format!("time_zone: `{}` is not an IANA name", self.time_zone))?;
        Ok(self)
    }

    /// For one command's own files: nothing of a service that the same variables describe is touched.
    pub fn alone_in(self, folder: &Path) -> Config {
        Config { data_dir: folder.to_owned(), store: StorePlace::Sqlite, blobs: BlobsPlace::Local, pools: Vec::new(), ..self }
    }

    /// Loopback needs no token; everything else does.
    pub fn check_exposure(&self, listen: SocketAddr) -> Result<(), String> {
        match listen.ip().is_loopback() || self.auth.token.is_some() {
            true => Ok(()),
            false => Err(format!("listening on {listen} needs auth.token (MILLRACE_AUTH_TOKEN)")),
        }
    }

    /// A redirect can only lead to bytes that have an address of their own.
    pub fn check_redirect(&self) -> Result<(), String> {
        match self.outputs.redirect && !matches!(self.blobs, BlobsPlace::S3 { .. }) {
            true => Err(format!("outputs.redirect needs blobs in S3; they are in `{}`", self.blobs)),
            false => Ok(()),
        }
    }

    /// Whether another process, on another machine, can see this one's rows and bytes.
    pub fn check_shared(&self) -> Result<(), String> {
        if self.store == StorePlace::Sqlite {
            return Err("store = \"sqlite\" is a file of one process: nobody else could give this worker a job; use store = \"redis://...\"".into());
        }
        if self.blobs == BlobsPlace::Local {
            return Err(
                "blobs = \"local\" is this process's own folder: the inputs of its jobs are not there; use blobs = \"s3://bucket/prefix\"".into()
            );
        }
        Ok(())
    }

    /// The shipped queues with the files of `queues_dir` on top; those named in `pools` must be among them.
    pub fn queues(&self) -> Result<Queues, String> {
        let mut files = Vec::new();
        if let Some(folder) = &self.queues_dir {
            let entries = std::fs::read_dir(folder).map_err(|e| format!("queues_dir {}: {e}", folder.display()))?;
            for path in entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "toml")) {
                let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
                files.push((path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), text));
            }
            files.sort();
        }
        let queues = Queues::load(&files)?;
        match self.pools.iter().map(|p| &p.queue).find(|name| queues.get(name).is_none()) {
            Some(name) => Err(format!("pools: there is no queue `{name}`; there are {}", queues.names().collect::<Vec<_>>().join(", "))),
            None => Ok(queues),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        Config::load(Some(file.path()), &variables.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect())
    }

    #[test]
    fn variables_outrank_the_file() {
        let config =
            load("listen = \"127.0.0.1:1\"\n[sandbox]\nfloor = 2", &[("MILLRACE_LISTEN", "127.0.0.1:2"), ("MILLRACE_SANDBOX_FLOOR", "1")]).unwrap();
        assert_eq!((config.listen.port(), config.sandbox.floor), (2, 1));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, word) in [
            ("lisen = 1", "lisen"),
            ("[sandbox]\nfloor = 9", "floor"),
            ("[sandbox]\nmax_jobs_per_zygote = 0", "max_jobs_per_zygote"),
            ("lease = \"2s\"", "3s"),
            ("time_zone = \"Mars\"", "Mars"),
            ("[auth]\ntoken = \"x\"", "16"),
            ("pools = [\"vidio\"]", "vidio"),
            ("pools = [\"video:many\"]", "video:many"),
            ("store = \"mysql://h\"", "mysql"),
            ("blobs = \"s3://media\"", "prefix"),
            ("inputs = { url = { timeout = \"soon\" } }", "soon"),
            ("blobs_cache = { max = \"much\" }", "much"),
            ("outputs = { roots = [\"here\"] }", "here"),
            ("inputs = { blobs = [\"incoming/\"] }", "S3"),
            ("blobs = \"s3://media/millrace\"\ninputs = { blobs = [\"jobs/\"] }", "jobs/"),
            ("blobs = \"s3://media/millrace\"\ninputs = { blobs = [\"in/../jobs/\"] }", "in/../jobs/"),
            ("auth = { trusted_proxies = [\"proxy\"] }", "proxy"),
            ("auth = { hosts = [\"https://a.example\"] }", "https://a.example"),
            ("celery = { priority_steps = [3] }", "priority_steps"),
            ("[celery.tasks.x]\nargs = [\"a\"]", "input_path"),
        ] {
            let error = load(text, &[]).and_then(|config| config.queues()).map(drop).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
        assert!(load("a = 1\nlisen = 1", &[]).unwrap_err().contains("line 1"));
    }

    #[test]
    fn a_redirect_needs_an_address_and_many_machines_need_a_shared_place() {
        let config = |text: &str| load(text, &[]).unwrap();
        assert!(config("outputs = { redirect = true }").check_redirect().is_err());
        assert!(config("blobs = \"s3://media/millrace\"\noutputs = { redirect = true }").check_redirect().is_ok());
        assert!(config("blobs = \"s3://media/millrace\"").check_shared().unwrap_err().contains("sqlite"));
        assert!(config("store = \"redis://h\"").check_shared().unwrap_err().contains("local"));
        assert!(config("store = \"redis://h\"\nblobs = \"s3://media/millrace\"").check_shared().is_ok());
    }

    #[test]
    fn the_world_needs_a_token() {
        let mut config = Config { listen: "0.0.0.0:80".parse().unwrap(), ..Config::default() };
        assert!(config.check_exposure(config.listen).is_err());
        config.auth.token = Some("0123456789abcdef".into());
        assert!(config.check_exposure(config.listen).is_ok());
    }
}
