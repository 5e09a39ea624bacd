//! `millrace healthcheck`: whether the service that this configuration describes is ready. For container images, which have no
//! other HTTP client.

use super::client::{self, Server, Trouble};
use super::{Exit, complain, environment, print};
use crate::config::Config;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

const ANSWER_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long)]
    config: Option<PathBuf>,
    /// Where the service listens, if not where the configuration says.
    #[arg(long)]
    listen: Option<SocketAddr>,
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Exit {
    let listen = match Config::load(args.config.as_deref(), &environment()) {
        Ok(config) => args.listen.unwrap_or(config.listen),
        Err(error) => {
            complain(error);
            return Exit::Usage;
        }
    };
    client::with(&Server::at(format!("http://{}", reachable(listen))), async |client| {
        let late = Trouble::new(Exit::Unavailable, format!("{listen} does not answer"));
        let answer = tokio::time::timeout(ANSWER_WITHIN, client.open(&["readyz"], &[])).await.unwrap_or(Err(late));
        if args.json {
            let why = answer.as_ref().err().map(|trouble| trouble.text.as_str());
            print(&format!("{}\n", serde_json::json!({"ready": why.is_none(), "why": why})));
            return Ok(if why.is_none() { Exit::Done } else { Exit::Unavailable });
        }
        answer.map(|_| Exit::Done).map_err(|trouble| Trouble { exit: Exit::Unavailable, ..trouble })
    })
}

/// A service that listens on every address is asked on loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_asked_where_it_answers() {
        for (listen, asked) in [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:81", "[::1]:81"), ("10.0.0.1:8080", "10.0.0.1:8080")] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), asked);
        }
    }
}
