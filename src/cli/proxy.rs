//! The way to a server, which may be bad.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::cli::Failure;

/// What happens to what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// It arrives.
    Open,
    /// It arrives later.
    Slow(Duration),
    /// Nothing arrives, and nobody is told.
    Blocked,
    /// Connections break, and none is made.
    Cut,
    /// Answers are replaced by bytes that are none.
    Garbled,
}

/// Passes connections on to a port that may change.
pub(crate) struct Proxy {
    port: u16,
    target: Arc<AtomicU16>,
    way: watch::Sender<Way>,
}

impl Proxy {
    pub async fn start(host: &str, target: u16) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::failed(format!("no port to be had: {error}"));
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let (way, watched) = watch::channel(Way::Open);
        let target = Arc::new(AtomicU16::new(target));

        tokio::spawn(accept(listener, host.into(), target.clone(), watched));
        Ok(Self { port, target, way })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// Leads elsewhere from now on; connections that were made go on as they are.
    pub fn lead_to(&self, port: u16) {
        self.target.store(port, SeqCst);
    }
}

async fn accept(listener: TcpListener, host: Arc<str>, target: Arc<AtomicU16>, way: watch::Receiver<Way>) {
    while let Ok((client, _)) = listener.accept().await {
        if *way.borrow() == Way::Cut {
            continue;
        }
        let (host, target, way) = (host.clone(), target.load(SeqCst), way.clone());
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect((&*host, target)).await else { return };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let (client_in, client_out) = client.into_split();
            let (server_in, server_out) = server.into_split();
            let mut cut = way.clone();
            tokio::select! {
                () = pass(client_in, server_out, way.clone(), false) => {}
                () = pass(server_in, client_out, way, true) => {}
                _ = cut.wait_for(|way| *way == Way::Cut) => {}
            }
        });
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
    is_answer: bool,
) {
    let mut bytes = vec![0; 16 << 10];
    while let Ok(length) = from.read(&mut bytes).await {
        if length == 0 {
            return;
        }
        let now = *way.borrow();
        match now {
            Way::Slow(by) => tokio::time::sleep(by).await,
            Way::Blocked => drop(way.wait_for(|way| *way != Way::Blocked).await),
            Way::Garbled if is_answer => bytes[..length].iter_mut().for_each(|byte| *byte ^= 0x15),
            _ => {}
        }
        if to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}
