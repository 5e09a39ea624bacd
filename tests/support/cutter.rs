//! A proxy before a Redis server that loses answers: the script runs, the link is cut before its caller hears of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub struct Cutter {
    pub port: u16,
    armed: Arc<AtomicBool>,
    cuts: Arc<AtomicU32>,
    accepting: tokio::task::AbortHandle,
}

impl Cutter {
    pub async fn before(server: u16) -> Cutter {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (armed, cuts) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (is_armed, count) = (armed.clone(), cuts.clone());
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                tokio::spawn(carry(client, server, is_armed.clone(), count.clone()));
            }
        });
        Cutter { port, armed, cuts, accepting: accepting.abort_handle() }
    }

    /// The answer to the next script is lost.
    pub fn lose_next_answer(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    pub fn cuts(&self) -> u32 {
        self.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(mut client: TcpStream, mut server: TcpStream, armed: Arc<AtomicBool>, cuts: Arc<AtomicU32>) {
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut is_doomed = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => match read {
                Ok(n) if n > 0 && server.write_all(&asked[..n]).await.is_ok() => {
                    is_doomed |= asked[..n].windows(7).any(|w| w == b"EVALSHA") && armed.swap(false, Ordering::SeqCst);
                }
                _ => return,
            },
            read = server.read(&mut answered) => match read {
                Ok(_) if is_doomed => {
                    cuts.fetch_add(1, Ordering::SeqCst);
                    return;
                }
                Ok(n) if n > 0 && client.write_all(&answered[..n]).await.is_ok() => {}
                _ => return,
            },
        }
    }
}
