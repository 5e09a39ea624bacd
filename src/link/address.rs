//! Where the server is, asked anew for each connection: after a failover it is another one.

use super::ask_once;
use ::redis::{Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError, RedisResult, Value, cmd};

const SENTINEL_PORT: u16 = 26379;
const REDIS_PORT: u16 = 6379;

/// A parsed URL.
#[derive(Debug)]
pub struct Address {
    place: Place,
    /// Any of them will do.
    nodes: Vec<ConnectionInfo>,
    /// Host and port of these are replaced by those of the server found.
    server: ConnectionInfo,
    /// `{millrace}`: what every key begins with.
    pub prefix: String,
}

#[derive(Debug, PartialEq)]
enum Place {
    Here,
    /// The sentinels know the master of this service.
    Sentinel(String),
    /// The nodes know who owns our slot; all keys lie in one.
    Cluster,
}

impl Address {
    /// Reads a URL of one of the forms that the Redis store's page lists. The message says what is wrong, without the password.
    pub fn parse(url: &str) -> Result<Address, String> {
        // Of TLS: `#insecure`.
        let (plain, fragment) = url.find('#').map_or((url, ""), |at| url.split_at(at));
        let (scheme, rest) = plain.split_once("://").ok_or("a store URL begins with redis://, rediss:// or redis+unix://")?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let prefix = query.split('&').find_map(|pair| pair.strip_prefix("prefix=")).unwrap_or("millrace");
        if prefix.is_empty() || !prefix.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
            return Err(format!("prefix={prefix}: it is made of a-z, A-Z, 0-9, `-`, `_` and `.`"));
        }
        let prefix = format!("{{{prefix}}}");
        let Some((tls, kind)) = scheme.split_once('+').filter(|(_, kind)| matches!(*kind, "sentinel" | "cluster")) else {
            let server = info(url)?;
            return Ok(Address { place: Place::Here, nodes: vec![server.clone()], server, prefix });
        };
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, hosts) = hosts.rsplit_once('@').map_or(("", hosts), |(c, hosts)| (c, hosts));
        let at = if credentials.is_empty() { String::new() } else { format!("{credentials}@") };
        let (place, database, port) = match kind {
            "cluster" => (Place::Cluster, "", REDIS_PORT),
            _ => {
                let (service, database) = path.split_once('/').unwrap_or((path, ""));
                if service.is_empty() {
                    return Err("a sentinel URL names its service: redis+sentinel://host1,host2/service".into());
                }
                (Place::Sentinel(service.to_owned()), database, SENTINEL_PORT)
            }
        };
        // A sentinel has no password of the server's, a cluster's node has.
        let node_at = if place == Place::Cluster { at.as_str() } else { "" };
        let node = |host: &str| info(&format!("{}{fragment}", with_port(&format!("{tls}://{node_at}{host}"), host, port)));
        let nodes = hosts.split(',').map(node).collect::<Result<Vec<_>, _>>()?;
        Ok(Address { place, nodes, server: info(&format!("{tls}://{at}localhost/{database}{fragment}"))?, prefix })
    }

    /// The number of the database.
    pub fn database(&self) -> i64 {
        self.server.redis_settings().db()
    }

    /// Is it the same server, written the same way and entered as the same user, whatever the database? Of a cluster it never is:
    /// two keys may have two owners.
    pub fn is_same_server(&self, other: &Address) -> bool {
        let who = |info: &ConnectionInfo| {
            let redis = info.redis_settings();
            (info.addr().clone(), redis.username().map(str::to_owned), redis.password().map(str::to_owned))
        };
        let all = |address: &Address| address.nodes.iter().chain([&address.server]).map(who).collect::<Vec<_>>();
        self.place != Place::Cluster && self.place == other.place && all(self) == all(other)
    }

    /// The server that takes our writes now.
    pub async fn find(&self) -> RedisResult<Client> {
        let mut last = RedisError::from((ErrorKind::InvalidClientConfig, "the store URL names no host"));
        for node in &self.nodes {
            let found = match &self.place {
                Place::Here => Ok(node.clone()),
                Place::Sentinel(service) => self.master(node, service).await,
                Place::Cluster => self.owner(node).await,
            };
            match found.and_then(Client::open) {
                Ok(client) => return Ok(client),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn master(&self, sentinel: &ConnectionInfo, service: &str) -> RedisResult<ConnectionInfo> {
        let question = cmd("SENTINEL").arg("get-master-addr-by-name").arg(service).clone();
        let master: Option<(String, u16)> = answer(sentinel, question).await?;
        let unknown = || RedisError::from((ErrorKind::Io, "the sentinel does not know this service", service.to_owned()));
        master.map(|(host, port)| self.server_at(host, port)).ok_or_else(unknown)
    }

    async fn owner(&self, node: &ConnectionInfo) -> RedisResult<ConnectionInfo> {
        let slot: u64 = answer(node, cmd("CLUSTER").arg("KEYSLOT").arg(&self.prefix).clone()).await?;
        let ranges: Vec<Vec<Value>> = answer(node, cmd("CLUSTER").arg("SLOTS").clone()).await?;
        for range in ranges {
            let [Value::Int(first), Value::Int(last), Value::Array(owner), ..] = &range[..] else { continue };
            if !(*first..=*last).contains(&(slot as i64)) {
                continue;
            }
            if let [Value::BulkString(host), Value::Int(port), ..] = &owner[..] {
                let host = String::from_utf8_lossy(host).into_owned();
                let port = u16::try_from(*port).unwrap_or(REDIS_PORT);
                // No name: the node that was asked.
                return Ok(if host.is_empty() { node.clone() } else { self.server_at(host, port) });
            }
        }
        Err(RedisError::from((ErrorKind::Io, "no node of the cluster owns our slot")))
    }

    fn server_at(&self, host: String, port: u16) -> ConnectionInfo {
        let address = match self.server.addr() {
            ConnectionAddr::TcpTls { insecure, .. } => ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: None },
            _ => ConnectionAddr::Tcp(host, port),
        };
        self.server.clone().set_addr(address)
    }
}

async fn answer<T: ::redis::FromRedisValue>(node: &ConnectionInfo, question: Cmd) -> RedisResult<T> {
    ask_once(&Client::open(node.clone())?, &question).await
}

fn info(url: &str) -> Result<ConnectionInfo, String> {
    url.into_connection_info().map_err(|e| format!("this is not a store URL: {e}"))
}

fn with_port(url: &str, host: &str, port: u16) -> String {
    let has_port = host.rsplit_once(':').is_some_and(|(name, port)| port.parse::<u16>().is_ok() && (!name.contains(':') || name.ends_with(']')));
    if has_port { url.to_owned() } else { format!("{url}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(url: &str) -> Vec<String> {
        Address::parse(url).unwrap().nodes.iter().map(|n| n.addr().to_string()).collect()
    }

    #[test]
    fn one_server_is_named_by_host_or_socket() {
        let address = Address::parse("redis://me:secret@db:7000/3?prefix=second").unwrap();
        assert_eq!((address.prefix.as_str(), address.server.addr().to_string().as_str()), ("{second}", "db:7000"));
        let redis = address.server.redis_settings();
        assert_eq!((redis.db(), redis.username(), redis.password()), (3, Some("me"), Some("secret")));
        assert_eq!(nodes("redis+unix:///run/redis.sock?db=1"), ["/run/redis.sock"]);
        assert!(matches!(Address::parse("rediss://db").unwrap().server.addr(), ConnectionAddr::TcpTls { insecure: false, .. }));
        let loose = Address::parse("rediss+cluster://a,b?prefix=x#insecure").unwrap();
        assert!(matches!(loose.nodes[1].addr(), ConnectionAddr::TcpTls { insecure: true, .. }), "{loose:?}");
    }

    #[test]
    fn sentinels_and_clusters_are_named_by_several_hosts() {
        let sentinel = "redis+sentinel://:secret@a,b:1234/mymaster/2";
        assert_eq!(nodes(sentinel), ["a:26379", "b:1234"]);
        let address = Address::parse(sentinel).unwrap();
        assert_eq!(address.place, Place::Sentinel("mymaster".into()));
        assert_eq!((address.server.redis_settings().db(), address.server.redis_settings().password()), (2, Some("secret")));
        assert_eq!(address.nodes[0].redis_settings().password(), None);
        assert_eq!(address.server_at("c".into(), 1).addr().to_string(), "c:1");
        assert_eq!(nodes("rediss+cluster://a:7001,[::1]:7002,[::1]"), ["a:7001", "::1:7002", "::1:6379"]);
    }

    #[test]
    fn two_databases_of_one_server_are_one_server() {
        let same = |one: &str, other: &str| Address::parse(one).unwrap().is_same_server(&Address::parse(other).unwrap());
        assert!(same("redis://me:secret@db/0", "redis://me:secret@db:6379/5"));
        assert!(same("redis+sentinel://a,b/one/0", "redis+sentinel://a,b/one/1"));
        for (one, other) in [
            ("redis://db/0", "redis://other/0"),
            ("redis://db:1", "redis://db:2"),
            ("redis://me:secret@db", "redis://db"),
            ("redis://db", "rediss://db"),
            ("redis+sentinel://a,b/one", "redis+sentinel://a,b/two"),
            ("redis+cluster://a,b", "redis+cluster://a,b"),
        ] {
            assert!(!same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn what_is_no_store_url_is_refused() {
        for url in ["", "redis", "http://a", "redis+sentinel://a", "redis+sentinel://a/", "redis://a?prefix=", "redis://a?prefix={x}", "redis://a/x"]
        {
            assert!(Address::parse(url).is_err(), "{url}");
        }
    }
}
