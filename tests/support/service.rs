//! The service without its edges, in this process: real store, real zygotes, real jail. Its end asserts that nothing is left.

use jiff::Timestamp;
use millrace::blobs::local::LocalBlobs;
use millrace::blobs::{Blobs, Staging};
use millrace::clock::{SharedClock, SystemClock};
use millrace::format::Format;
use millrace::intake::{InputRef, Intake, Request, Telling};
use millrace::job::{Job, JobId, State};
use millrace::queue::Queues;
use millrace::sandbox::{ForkServer, Launcher, Wear, Zygotes};
use millrace::store::Store;
use millrace::store::sqlite::SqliteStore;
use millrace::worker::{Engine, Experience, LEASE, PoolSpec, Renewable, Room, Worker};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Longer than anything a test waits for.
const DEADLINE: Duration = Duration::from_secs(60);

fn pools() -> [PoolSpec; 2] {
    ["archive", "cleanup"].map(|queue| PoolSpec { queue: queue.into(), slots: None })
}

pub struct Service {
    pub intake: Arc<Intake>,
    pub engine: Arc<Engine>,
    worker: Option<Worker>,
    folder: tempfile::TempDir,
}

fn sqlite(folder: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(&folder.join("test.db")).unwrap())
}

impl Service {
    /// A service whose archive queue is set to `archive` (TOML on top of the shipped file).
    pub fn start(archive: &str) -> Service {
        Service::with(archive, Arc::new(SystemClock), sqlite, None)
    }

    /// The same, with this clock for its rows.
    pub fn with_clock(archive: &str, clock: SharedClock) -> Service {
        Service::with(archive, clock, sqlite, None)
    }

    /// The same, on a store of its own kind.
    pub fn on(archive: &str, open: impl FnOnce(&Path) -> Arc<dyn Store>) -> Service {
        Service::with(archive, Arc::new(SystemClock), open, None)
    }

    /// The same, on a machine that has this room.
    pub fn in_room(archive: &str, room: Arc<Room>) -> Service {
        Service::with(archive, Arc::new(SystemClock), sqlite, Some(room))
    }

    fn with(archive: &str, clock: SharedClock, open: impl FnOnce(&Path) -> Arc<dyn Store>, room: Option<Arc<Room>>) -> Service {
        let folder = tempfile::tempdir().unwrap();
        let queues = Arc::new(Queues::load(&[("archive".into(), archive.into())]).unwrap());
        let store = open(folder.path());
        let blobs: Arc<dyn Blobs> = Arc::new(LocalBlobs::open(&folder.path().join("blobs")).unwrap());
        let staging = Staging::open(&folder.path().join("staging")).unwrap();
        let intake = Arc::new(Intake {
            store: store.clone(),
            blobs: blobs.clone(),
            staging: staging.clone(),
            queues: queues.clone(),
            input_roots: vec![],
            input_blobs: vec![],
            outbound: None,
            telling: Telling::default(),
        });
        let executed = || ForkServer::executed(env!("CARGO_BIN_EXE_millrace"), &[]);
        let zygotes = move || Arc::new(Zygotes::new(executed(), Wear::default()).unwrap()) as Arc<dyn Launcher>;
        let launcher = Renewable::new(zygotes(), move || Ok(zygotes()));
        let engine = Engine {
            store,
            blobs,
            launcher,
            room: room.unwrap_or_else(|| Room::on(&staging)),
            staging,
            queues,
            pieces: folder.path().join("tus"),
            clock,
            name: "test".into(),
            sandbox_level: 3,
            threads: 2,
            meters: Arc::default(),
            experience: Experience::default(),
            lease: LEASE,
            task_queues: None,
        };
        let engine = Arc::new(engine);
        let worker = Some(Worker::start(engine.clone(), &pools()));
        Service { intake, engine, worker, folder }
    }

    /// Submits an attack file, or a no-op for plain text, with changes to the request.
    pub async fn submit(&self, name: &str, content: impl AsRef<[u8]>, change: impl FnOnce(&mut Request)) -> JobId {
        let now = Timestamp::now();
        let upload = self.intake.receive(name, content.as_ref(), now).await.unwrap();
        let mut request = Request::new(InputRef::Upload(upload.id), Format::parse("noop"));
        change(&mut request);
        self.intake.submit(request, None, now).await.unwrap().job().id
    }

    pub async fn job(&self, id: JobId) -> Job {
        self.intake.store.get(id).await.unwrap().job
    }

    /// Waits, with a deadline, until the job satisfies `wanted`.
    pub async fn until(&self, id: JobId, wanted: impl Fn(&Job) -> bool) -> Job {
        let mut notices = self.intake.store.notices();
        let wait = async {
            loop {
                let job = self.job(id).await;
                if wanted(&job) {
                    return job;
                }
                // A lost notice costs one look.
                let _ = tokio::time::timeout(Duration::from_secs(1), notices.recv()).await;
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.expect("the job gets there in time")
    }

    pub async fn ended(&self, id: JobId) -> Job {
        self.until(id, |job| job.state.is_terminal()).await
    }

    /// Drains the worker and keeps the store: what a restart would find.
    pub async fn drain(&mut self) {
        if let Some(worker) = self.worker.take() {
            worker.drain().await;
        }
    }

    pub fn resume(&mut self) {
        self.worker = Some(Worker::start(self.engine.clone(), &pools()));
    }

    /// Stops the service; nothing may be running or staged any more.
    pub async fn stop(mut self) {
        self.drain().await;
        let counts = self.intake.store.counts().await.unwrap();
        let running: u64 = counts.values().filter_map(|states| states.get(&State::Running)).sum();
        assert_eq!(running, 0, "jobs still run: {counts:?}");
        assert_eq!(self.engine.staging.count().unwrap(), 0, "staging folders are left");
        assert!(self.folder.path().exists());
    }
}
