//! A proxy before a Redis server: it loses answers (the script runs, the link is cut before its caller hears of it), cuts every
//! connection, or lets nothing through.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub struct Cutter {
    pub port: u16,
    armed: Arc<AtomicBool>,
    cuts: Arc<AtomicU32>,
    gate: watch::Sender<Gate>,
    accepting: tokio::task::AbortHandle,
}

#[derive(Clone, Copy, Default)]
struct Gate {
    /// Connections are kept, and nothing goes over them.
    is_shut: bool,
    /// Those that were there when this number was smaller are cut.
    cut: u32,
}

impl Cutter {
    pub async fn before(server: u16) -> Cutter {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (armed, cuts, gate) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)), watch::Sender::<Gate>::default());
        let (is_armed, count, seen) = (armed.clone(), cuts.clone(), gate.subscribe());
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let carried = carry(client, server, is_armed.clone(), count.clone());
                tokio::spawn(unless_cut(seen.clone(), carried));
            }
        });
        Cutter { port, armed, cuts, gate, accepting: accepting.abort_handle() }
    }

    /// Cuts every connection there is.
    pub fn cut(&self) {
        self.gate.send_modify(|gate| gate.cut += 1);
    }

    /// From now on nothing goes through, and nobody is told.
    pub fn shut(&self) {
        self.gate.send_modify(|gate| gate.is_shut = true);
    }

    pub fn open(&self) {
        self.gate.send_modify(|gate| gate.is_shut = false);
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

/// Carries while the gate is open.
async fn unless_cut(mut gate: watch::Receiver<Gate>, carried: impl Future<Output = ()>) {
    tokio::pin!(carried);
    let Gate { cut, .. } = *gate.borrow();
    loop {
        let Gate { is_shut, cut: now } = *gate.borrow_and_update();
        if now > cut {
            return;
        }
        tokio::select! {
            changed = gate.changed() => if changed.is_err() { return },
            () = &mut carried, if !is_shut => return,
        }
    }
}

async fn carry(mut client: TcpStream, server: u16, armed: Arc<AtomicBool>, cuts: Arc<AtomicU32>) {
    // A server that is gone is the client's to notice.
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
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
