//! A real S3 server on a free loopback port: it checks signatures, keeps objects in a folder of its own, and fails as it is told.

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpError};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

pub const BUCKET: &str = "media";
pub const PREFIX: &str = "millrace/test";
const KEY_ID: &str = "test-key";
const SECRET: &str = "test-secret";

pub struct S3Server {
    address: SocketAddr,
    root: tempfile::TempDir,
    faults: Arc<Faults>,
    /// Ends with its connections when it is dropped.
    serving: Option<JoinSet<()>>,
}

/// What goes wrong next.
#[derive(Default)]
struct Faults {
    planned: Mutex<Planned>,
    held: Notify,
}

#[derive(Default)]
struct Planned {
    /// So many requests are answered with this status and S3 code.
    answers: Option<(usize, u16, &'static str)>,
    /// After so many more requests none is answered any more.
    hold_after: Option<usize>,
    /// The connection over which this byte goes, counted from now, is cut.
    cut_after: Option<usize>,
}

impl S3Server {
    /// Starts a server with one bucket; it lives as long as the runtime this is called in.
    pub async fn start() -> S3Server {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join(BUCKET)).unwrap();
        let mut server = S3Server { address: ([127, 0, 0, 1], 0).into(), root, faults: Arc::default(), serving: None };
        server.serve().await;
        server
    }

    /// What tells a client where it is and who asks.
    pub fn variables(&self) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", "true".into()),
            ("AWS_REGION", "us-east-1".into()),
            ("AWS_ACCESS_KEY_ID", KEY_ID.into()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.into()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// The file that keeps an object.
    pub fn object(&self, key: &str) -> PathBuf {
        self.root.path().join(BUCKET).join(PREFIX).join(key)
    }

    /// Answers the next `times` requests with an error.
    pub fn answer(&self, times: usize, status: u16, code: &'static str) {
        self.faults.planned.lock().unwrap().answers = Some((times, status, code));
    }

    /// Cuts the connection that carries the byte after so many, in whichever direction.
    pub fn cut_after(&self, bytes: usize) {
        self.faults.planned.lock().unwrap().cut_after = Some(bytes);
    }

    /// Whether a cut that was ordered has been made.
    pub fn has_cut(&self) -> bool {
        self.faults.planned.lock().unwrap().cut_after.is_none()
    }

    /// After so many more requests, none is answered until a restart.
    pub fn hold_after(&self, requests: usize) {
        self.faults.planned.lock().unwrap().hold_after = Some(requests);
    }

    /// Returns when a request is being held.
    pub async fn holds(&self) {
        self.faults.held.notified().await;
    }

    /// Cuts every connection and refuses new ones.
    pub async fn stop(&mut self) {
        if let Some(mut serving) = self.serving.take() {
            serving.shutdown().await;
        }
    }

    /// Cuts every connection and comes back at the same address, with all faults forgotten.
    pub async fn restart(&mut self) {
        self.stop().await;
        *self.faults.planned.lock().unwrap() = Planned::default();
        self.serve().await;
    }

    async fn serve(&mut self) {
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(self.root.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(KEY_ID, SECRET));
        let (service, faults) = (builder.build(), self.faults.clone());
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(connection(stream, service.clone(), faults.clone()));
            }
        });
        self.serving = Some(serving);
    }
}

async fn connection(stream: TcpStream, service: S3Service, faults: Arc<Faults>) {
    let answer = service_fn(|request: Request<Incoming>| {
        let (service, faults) = (service.clone(), faults.clone());
        async move {
            match faults.of_next() {
                Fault::None => hyper::service::Service::call(&service, request).await,
                Fault::Answer(status, code) => Ok::<_, HttpError>(error(status, code)),
                Fault::Hold => {
                    faults.held.notify_one();
                    std::future::pending().await
                }
            }
        }
    });
    // How a connection ends is the client's to notice.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(Fragile { stream, faults: faults.clone() }), answer).await;
}

enum Fault {
    None,
    Answer(u16, &'static str),
    Hold,
}

impl Faults {
    fn of_next(&self) -> Fault {
        let mut planned = self.planned.lock().unwrap();
        if let Some((left, status, code)) = planned.answers.filter(|(left, ..)| *left > 0) {
            planned.answers = Some((left - 1, status, code));
            return Fault::Answer(status, code);
        }
        match planned.hold_after {
            Some(0) => Fault::Hold,
            Some(left) => {
                planned.hold_after = Some(left - 1);
                Fault::None
            }
            None => Fault::None,
        }
    }

    /// Counts bytes over a connection; an error when it is to be cut.
    fn carry(&self, bytes: usize) -> io::Result<()> {
        let mut planned = self.planned.lock().unwrap();
        match planned.cut_after {
            Some(left) if left < bytes => {
                planned.cut_after = None;
                Err(io::ErrorKind::ConnectionReset.into())
            }
            Some(left) => {
                planned.cut_after = Some(left - bytes);
                Ok(())
            }
            None => Ok(()),
        }
    }
}

fn error(status: u16, code: &str) -> Response<Body> {
    let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>as ordered</Message></Error>");
    Response::builder().status(status).header("content-type", "application/xml").body(Body::from(body)).unwrap()
}

/// A connection that can be cut.
struct Fragile {
    stream: TcpStream,
    faults: Arc<Faults>,
}

impl AsyncRead for Fragile {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        Poll::Ready(self.faults.carry(buffer.filled().len() - before))
    }
}

impl AsyncWrite for Fragile {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        Poll::Ready(self.faults.carry(written).map(|()| written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
