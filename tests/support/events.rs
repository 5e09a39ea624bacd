//! Reads server-sent events as they come.

use super::server::{DEADLINE, Server};
use reqwest::{Method, Response};
use serde_json::Value;

/// One event, as a browser would see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub id: Option<u64>,
    pub kind: String,
    pub data: Value,
}

pub struct Events {
    response: Response,
    text: String,
    /// The last id seen: what a browser sends when it comes back.
    pub last: Option<u64>,
}

impl Events {
    /// Listens at a path, after the event with this id.
    pub async fn listen(server: &Server, path: &str, after: Option<u64>) -> Events {
        let request = server.request(Method::GET, path);
        let request = match after {
            Some(id) => request.header("last-event-id", id),
            None => request,
        };
        Events::of(request.send().await.unwrap(), after)
    }

    pub fn of(response: Response, after: Option<u64>) -> Events {
        assert_eq!(response.status(), 200);
        Events { response, text: String::new(), last: after }
    }

    pub fn header(&self, name: &str) -> &str {
        self.response.headers()[name].to_str().unwrap()
    }

    /// The next event; none at the end of the stream.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (told, rest) = (self.read(block), rest.to_owned());
                self.text = rest;
                if let Some(told) = told {
                    self.last = told.id.or(self.last);
                    return Some(told);
                }
            }
            let chunk = tokio::time::timeout(DEADLINE, self.response.chunk()).await.expect("something comes in time").unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// Reads on until an event is as wanted, and returns it.
    pub async fn until(&mut self, wanted: impl Fn(&Told) -> bool) -> Told {
        loop {
            let told = self.next().await.expect("the stream goes on");
            if wanted(&told) {
                return told;
            }
        }
    }

    /// Everything up to the end of the stream.
    pub async fn rest(mut self) -> Vec<Told> {
        let mut all = Vec::new();
        while let Some(told) = self.next().await {
            all.push(told);
        }
        all
    }

    fn read(&self, block: &str) -> Option<Told> {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let data = field("data:")?;
        let id = field("id:").map(|id| id.parse().unwrap());
        Some(Told { id, kind: field("event:").unwrap_or("message").to_owned(), data: serde_json::from_str(data).unwrap() })
    }
}
