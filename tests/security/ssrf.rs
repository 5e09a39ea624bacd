//! URLs that clients name, held against the one module that asks them.

use crate::support::sink::{Sink, redirect, status};
use axum::body::Body;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use futures::{StreamExt, stream};
use millrace::limits::{Size, Span};
use millrace::outbound::{Outbound, OutboundError, Policy, Reach, Resolver, SystemResolver, anywhere, public};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Gives its addresses in turn, whatever is asked; the last one for ever.
struct Rebinding {
    addresses: Vec<&'static str>,
    asked: AtomicUsize,
}

impl Rebinding {
    fn to(addresses: &[&'static str]) -> Arc<Rebinding> {
        Arc::new(Rebinding { addresses: addresses.to_vec(), asked: AtomicUsize::new(0) })
    }
}

#[async_trait::async_trait]
impl Resolver for Rebinding {
    async fn resolve(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
        let n = self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(vec![self.addresses[n.min(self.addresses.len() - 1)].parse().unwrap()])
    }
}

fn policy(reach: Reach) -> Policy {
    Policy { reach, redirects: 3, timeout: Span::from_secs(20), max_bytes: Size(1 << 16) }
}

fn outbound(reach: Reach, resolver: Arc<dyn Resolver>) -> Outbound {
    Outbound::new(policy(reach), resolver).unwrap()
}

/// 127.0.0.1 stands for the world here, every other address for what must not be reached.
fn first_loopback(address: IpAddr) -> Result<(), &'static str> {
    if address == IpAddr::from([127, 0, 0, 1]) { Ok(()) } else { Err("closed") }
}

async fn read(outbound: &Outbound, url: &str) -> Result<Vec<u8>, OutboundError> {
    let mut download = outbound.get(url).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = download.bytes.next().await {
        bytes.extend(piece?);
    }
    Ok(bytes)
}

#[tokio::test]
async fn no_notation_of_a_closed_address_is_connected_to() {
    let sink = Sink::answering(|_| status(200)).await;
    let port = sink.address.port();
    let hosts = [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0x7F.0.0.0x1",
        "0177.0.0.1",
        "017700000001",
        "0",
        "0.0.0.0",
        "127.127.127.127",
        "%31%32%37.0.0.1",
        "１２７.０.０.１",
        "127。0。0。1",
        "①②⑦.⓪.⓪.①",
        "localhost",
        "LOCALHOST",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "[fe80::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[ff02::1]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "0xa9fea9fe",
        "2852039166",
        "100.64.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
    ];
    let guarded = outbound(public, Arc::new(SystemResolver));
    for host in hosts {
        let url = format!("http://{host}:{port}/");
        let got = guarded.get(&url).await.map(|download| download.url);
        assert!(matches!(got, Err(OutboundError::Refused(_))), "{url}: {got:?}");
        let posted = guarded.post(&url, HeaderMap::new(), Bytes::new()).await;
        assert!(matches!(posted, Err(OutboundError::Refused(_))), "{url}: {posted:?}");
    }
    assert!(sink.asked().is_empty(), "{:?}", sink.asked());
    // They do lead here.
    let open = outbound(anywhere, Arc::new(SystemResolver));
    for host in ["127.0.0.1.", "127.1", "2130706433", "0x7f.1", "017700000001", "%31%32%37.0.0.1", "localhost", "０x7f.1"] {
        open.get(&format!("http://{host}:{port}/")).await.unwrap_or_else(|e| panic!("{host}: {e}"));
    }
}

#[tokio::test]
async fn other_schemes_and_credentials_are_refused() {
    let open = outbound(anywhere, Arc::new(SystemResolver));
    for url in [
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "gopher://127.0.0.1/",
        "data:,x",
        "http:",
        "http://",
        "//127.0.0.1/",
        "",
        "http://me:secret@127.0.0.1/",
    ] {
        let got = open.get(url).await.map(|download| download.url);
        assert!(matches!(got, Err(OutboundError::Refused(_))), "{url}: {got:?}");
    }
}

#[tokio::test]
async fn a_name_is_checked_by_the_address_that_is_connected_to() {
    let world = Sink::answering(|_| status(200)).await;
    let inner = Sink::at("127.0.0.2:0", |_| status(200)).await;
    let name = |sink: &Sink| format!("http://rebind.example:{}/", sink.address.port());
    // The first answer is harmless, the next ones are not: each connection asks once, and goes where it was told.
    let resolver = Rebinding::to(&["127.0.0.1", "127.0.0.2"]);
    let guarded = outbound(first_loopback, resolver.clone());
    guarded.get(&name(&world)).await.unwrap();
    assert_eq!((resolver.asked.load(Ordering::SeqCst), world.asked().len()), (1, 1));
    let rebound = guarded.get(&name(&inner)).await.map(|d| d.url);
    assert!(matches!(&rebound, Err(OutboundError::Refused(why)) if why.contains("127.0.0.2")), "{rebound:?}");
    assert!(inner.asked().is_empty());
    outbound(anywhere, Rebinding::to(&["127.0.0.2"])).get(&name(&inner)).await.unwrap();
    assert_eq!(inner.asked().len(), 1);
}

#[tokio::test]
async fn redirects_are_checked_like_what_was_asked() {
    let inner = Sink::at("127.0.0.2:0", |_| status(200)).await;
    let leads_in = [inner.url("/"), format!("http://inner.example:{}/", inner.address.port()), "file:///etc/passwd".to_owned()];
    let sink = Sink::answering(move |asked| match asked.uri.path() {
        "/end" => Response::new(Body::from("there")),
        "/loop" => redirect("/loop"),
        path => match path.trim_start_matches('/').parse::<usize>() {
            Ok(0) => redirect("end"),
            Ok(n) if n < 10 => redirect(&format!("/{}", n - 1)),
            Ok(n) => redirect(&leads_in[n - 10]),
            Err(_) => status(404),
        },
    })
    .await;
    let guarded = outbound(first_loopback, Rebinding::to(&["127.0.0.2"]));
    assert_eq!(read(&guarded, &sink.url("/2")).await.unwrap(), b"there");
    for path in ["/3", "/loop", "/10", "/11", "/12"] {
        let got = read(&guarded, &sink.url(path)).await;
        assert!(matches!(got, Err(OutboundError::Refused(_))), "{path}: {got:?}");
    }
    assert!(inner.asked().is_empty());
    let posted = guarded.post(&sink.url("/2"), HeaderMap::new(), Bytes::new()).await.unwrap();
    assert_eq!(posted.status, 302, "followed by nobody");
    assert!(matches!(read(&guarded, &sink.url("/none")).await, Err(OutboundError::Status(code)) if code == 404));
}

#[tokio::test]
async fn an_answer_ends_by_its_size_and_by_the_clock() {
    let endless = || Body::from_stream(stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[0; 1000]))));
    let sink = Sink::answering(move |asked| match asked.uri.path() {
        "/endless" => Response::new(endless()),
        "/large" => Response::new(Body::from(vec![0; (1 << 16) + 1])),
        "/full" => Response::new(Body::from(vec![0; 1 << 16])),
        _ => Response::new(Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>())),
    })
    .await;
    let open = outbound(anywhere, Arc::new(SystemResolver));
    for path in ["/endless", "/large"] {
        let got = read(&open, &sink.url(path)).await;
        assert!(matches!(got, Err(OutboundError::TooLarge(_))), "{path}: {:?}", got.map(|b| b.len()));
    }
    assert_eq!(read(&open, &sink.url("/full")).await.unwrap().len(), 1 << 16);
    let short = Policy { timeout: Span(300), ..policy(anywhere) };
    let short = Outbound::new(short, Arc::new(SystemResolver)).unwrap();
    let got = read(&short, &sink.url("/silent")).await;
    assert!(matches!(got, Err(OutboundError::Timeout(_))), "{got:?}");
    assert_eq!(open.post(&sink.url("/endless"), HeaderMap::new(), Bytes::new()).await.unwrap().excerpt.len(), 1024);
}
