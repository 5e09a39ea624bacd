//! A server's event stream (server-sent events): read as it comes, taken up again where it broke off.

use super::Exit;
use super::client::{Client, Trouble};
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::Value;
use std::collections::VecDeque;
use std::time::Duration;

/// Between two tries to reach a server that went away.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);
/// A server that says nothing for this long, not even that it lives, is asked anew.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// A line beyond this is no event of ours.
const LINE_MAX_BYTES: usize = 1 << 20;

/// One event as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    pub kind: String,
    pub data: Value,
}

pub struct Events<'a> {
    client: &'a Client,
    path: Vec<&'a str>,
    body: Option<BoxStream<'static, reqwest::Result<bytes::Bytes>>>,
    parser: Parser,
    ready: VecDeque<Heard>,
}

impl<'a> Events<'a> {
    /// None: this server has no such stream.
    pub async fn open(client: &'a Client, path: Vec<&'a str>) -> Result<Option<Events<'a>>, Trouble> {
        let mut events = Events { client, path, body: None, parser: Parser::default(), ready: VecDeque::new() };
        match events.connect().await {
            Ok(()) => Ok(Some(events)),
            Err(trouble) if trouble.exit == Exit::Usage => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    async fn connect(&mut self) -> Result<(), Trouble> {
        self.parser = Parser { id: std::mem::take(&mut self.parser.id), ..Parser::default() };
        let mut headers = vec![("accept", "text/event-stream")];
        if !self.parser.id.is_empty() {
            headers.push(("last-event-id", &self.parser.id));
        }
        let response = self.client.open(&self.path, &headers).await?;
        self.body = Some(response.bytes_stream().boxed());
        Ok(())
    }

    /// The next event; waits out a server's restart. May be dropped while it waits: nothing is lost by that.
    pub async fn next(&mut self) -> Result<Heard, Trouble> {
        loop {
            if let Some(heard) = self.ready.pop_front() {
                return Ok(heard);
            }
            let Some(body) = &mut self.body else {
                tokio::time::sleep(RECONNECT_AFTER).await;
                match self.connect().await {
                    Err(trouble) if trouble.exit == Exit::Usage => return Err(trouble),
                    Err(_) | Ok(()) => continue,
                }
            };
            match tokio::time::timeout(SILENCE_MAX, body.next()).await {
                Ok(Some(Ok(bytes))) => self.ready.extend(self.parser.feed(&bytes)),
                Ok(Some(Err(_)) | None) | Err(_) => self.body = None,
            }
        }
    }
}

/// Lines into events, as the HTML standard says.
#[derive(Debug, Default)]
struct Parser {
    line: Vec<u8>,
    kind: String,
    data: String,
    /// The last event's, which a new connection names.
    id: String,
}

impl Parser {
    fn feed(&mut self, bytes: &[u8]) -> Vec<Heard> {
        let mut heard = Vec::new();
        for byte in bytes {
            match byte {
                b'\n' => heard.extend(self.end_line()),
                _ if self.line.len() < LINE_MAX_BYTES => self.line.push(*byte),
                _ => {}
            }
        }
        heard
    }

    fn end_line(&mut self) -> Option<Heard> {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        let line = line.trim_end_matches('\r');
        if line.is_empty() {
            let (kind, data) = (std::mem::take(&mut self.kind), std::mem::take(&mut self.data));
            return (!data.is_empty()).then(|| Heard { kind, data: serde_json::from_str(&data).unwrap_or(Value::String(data)) });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.kind = value.to_owned(),
            "id" => self.id = value.to_owned(),
            "data" if self.data.is_empty() => self.data = value.to_owned(),
            "data" => self.data += &format!("\n{value}"),
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_are_read_however_they_are_cut() {
        let text = b": alive\n\nid: 7\r\nevent: started\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\nid:8\ndata:[]\n\n";
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let heard: Vec<Heard> = text.chunks(size).flat_map(|part| parser.feed(part)).collect();
            assert_eq!(heard[0], Heard { kind: "started".into(), data: json!({"a": 1}) }, "in parts of {size}");
            assert_eq!((heard.len(), &heard[1].data, parser.id.as_str()), (2, &json!([]), "8"));
        }
    }
}
