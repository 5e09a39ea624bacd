//! Names to addresses, checked before they are used.

use super::Reach;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Asks for the addresses of a name.
#[async_trait::async_trait]
pub trait Resolver: Send + Sync {
    async fn resolve(&self, host: &str) -> std::io::Result<Vec<IpAddr>>;
}

/// As the machine is set up.
pub struct SystemResolver;

#[async_trait::async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, host: &str) -> std::io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// The name leads where this site lets nobody send it.
#[derive(Debug, thiserror::Error)]
#[error("{host} is {address}, which is {what}")]
pub struct Forbidden {
    host: String,
    address: IpAddr,
    what: &'static str,
}

/// What the client connects to, and all it connects to.
pub struct Checked {
    pub resolver: Arc<dyn Resolver>,
    pub reach: Reach,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolver, reach) = (self.resolver.clone(), self.reach);
        Box::pin(async move {
            let found = resolver.resolve(name.as_str()).await?;
            // One bad address among good ones is no accident.
            for address in &found {
                reach(*address).map_err(|what| Forbidden { host: name.as_str().to_owned(), address: *address, what })?;
            }
            Ok(Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}
