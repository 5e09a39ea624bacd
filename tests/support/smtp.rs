//! A mail server on loopback that keeps what it is given.

use serde::Deserialize;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Longer than anything a test waits for.
const DEADLINE: Duration = Duration::from_secs(60);
/// Reads a mail as a reader's program does.
const READ: &str = "import sys, json, email, email.policy
m = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
print(json.dumps({'to': str(m['to']), 'subject': str(m['subject']), 'text': m.get_content()}))";

#[derive(Debug, Deserialize)]
pub struct Mail {
    pub to: String,
    pub subject: String,
    pub text: String,
}

pub struct MailServer {
    pub address: SocketAddr,
    taken: Arc<Mutex<Vec<Vec<u8>>>>,
    count: watch::Receiver<usize>,
    server: tokio::task::JoinHandle<()>,
}

impl MailServer {
    pub async fn start() -> MailServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, taken) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<Vec<u8>>>>::default());
        let (tell, count) = watch::channel(0);
        let (keeps, tell) = (taken.clone(), Arc::new(tell));
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (keeps, tell) = (keeps.clone(), tell.clone());
                tokio::spawn(async move {
                    // A client may go whenever it likes.
                    let _ = talk(stream, |mail| {
                        keeps.lock().unwrap().push(mail);
                        tell.send_modify(|count| *count += 1);
                    })
                    .await;
                });
            }
        });
        MailServer { address, taken, count, server }
    }

    /// Every mail so far, once there are at least `n`.
    pub async fn mails(&self, n: usize) -> Vec<Mail> {
        let mut count = self.count.clone();
        let waited = tokio::time::timeout(DEADLINE, count.wait_for(|count| *count >= n)).await;
        assert!(waited.is_ok(), "{n} mails come in time");
        self.taken.lock().unwrap().iter().map(|mail| read(mail)).collect()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn talk(stream: TcpStream, keep: impl Fn(Vec<u8>)) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 test ESMTP\r\n").await?;
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        let answer: &[u8] = match line.split_whitespace().next().unwrap_or_default().to_ascii_uppercase().as_str() {
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                keep(content(&mut stream).await?);
                b"250 kept\r\n"
            }
            "QUIT" => b"221 bye\r\n",
            _ => b"250 fine\r\n",
        };
        stream.write_all(answer).await?;
        line.clear();
    }
    Ok(())
}

async fn content(stream: &mut BufReader<TcpStream>) -> std::io::Result<Vec<u8>> {
    let mut mail = Vec::new();
    loop {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line).await? == 0 || line == b".\r\n" {
            return Ok(mail);
        }
        mail.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
}

fn read(mail: &[u8]) -> Mail {
    let mut python = Command::new("python3").args(["-c", READ]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut python.stdin.take().unwrap(), mail).unwrap();
    let done = python.wait_with_output().unwrap();
    serde_json::from_slice(&done.stdout).unwrap()
}
