//! A way to a server that can be cut for one process alone, as a network does that fails for one scraper.
//!
//! Invariant: who connects is known by the kernel's own tables, not by what he says; what is cut off gets
//! no answer, and is not refused either.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::fleet::free_port;

/// A relay in front of one server.
pub struct Relay {
    /// Its own address.
    pub address: String,
    cut: Cut,
    task: JoinHandle<()>,
}

type Cut = Arc<Mutex<BTreeSet<u32>>>;

impl Relay {
    /// Starts one on `host` that leads to the server at `to`.
    pub async fn start(host: &str, to: &str) -> Relay {
        let address = format!("{host}:{}", free_port(host));
        let listener = TcpListener::bind(&address).await.expect("a free port");
        let cut = Cut::default();
        let task = tokio::spawn(accept(listener, to.to_owned(), cut.clone()));
        Relay { address, cut, task }
    }

    /// Cuts off the process `pid`: what it sends and would receive is lost.
    pub fn cut(&self, pid: u32) {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner).insert(pid);
    }

    /// Mends it for all.
    pub fn mend(&self) {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, to: String, cut: Cut) {
    while let Ok((client, peer)) = listener.accept().await {
        let (to, cut) = (to.clone(), cut.clone());
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(&to).await else { return };
            let who = Who { socket: socket_of(peer) };
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::select! {
                () = carry(from_client, to_server, &who, &cut) => {}
                () = carry(from_server, to_client, &who, &cut) => {}
            }
        });
    }
}

/// The other end of a connection; none when it was gone before it could be found.
struct Who {
    socket: Option<String>,
}

impl Who {
    fn is_cut(&self, cut: &Cut) -> bool {
        let cut = cut.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(socket) = &self.socket else { return false };
        cut.into_iter().any(|pid| holds(pid, socket))
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, who: &Who, cut: &Cut) {
    let mut buffer = vec![0; 65_536];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        if who.is_cut(cut) {
            continue;
        }
        if to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}

/// `socket:[inode]` of the connection from `peer`.
fn socket_of(peer: SocketAddr) -> Option<String> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let SocketAddr::V4(peer) = peer else { return None };
    let local = format!("{:08X}:{:04X}", u32::from_ne_bytes(peer.ip().octets()), peer.port());
    let mut lines = table.lines().skip(1).map(|l| l.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|l| l.len() > 9 && l[1] == local)?;
    Some(format!("socket:[{}]", line[9]))
}

fn holds(pid: u32, socket: &str) -> bool {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut targets = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.any(|target| target.to_string_lossy() == socket)
}
