//! Servers that misbehave on purpose, on a free loopback port.
//!
//! Invariant: a rogue does what its script says to every connection, counts what it receives, and is
//! gone with its handle. Knows nothing of Redis beyond taking commands apart.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a rogue does with a connection.
#[derive(Debug, Clone)]
pub enum Script {
    /// Accepts and never says anything.
    Silent,
    /// Sends these bytes at once, then closes.
    SaysAndCloses(Vec<u8>),
    /// After the first bytes it receives: sends these, then keeps the connection and stays silent.
    Answers(Vec<u8>),
    /// After the first bytes it receives: sends `head`, then `unit` again and again without pause.
    Endless {
        /// Sent once.
        head: Vec<u8>,
        /// Repeated.
        unit: Vec<u8>,
    },
    /// After the first bytes it receives: one byte of these, over and over, with a pause after each.
    Drip {
        /// Sent in a circle, byte by byte.
        bytes: Vec<u8>,
        /// After each byte.
        pause: Duration,
    },
    /// Answers each command with its last argument, but late, twice, or later than the next command,
    /// each now and then.
    Echo,
    /// Answers the n-th chunk of bytes it receives on a connection with the n-th text.
    Turns(Vec<Vec<u8>>),
    /// Takes the pipeline apart: each command is answered by the moves of the first rule whose words
    /// it begins with (upper case; "" is every command), and with an error when there is none.
    On(Vec<Rule>),
    /// Answers commands one by one, but ends the connection after so many bytes in all.
    CutAfter(usize, Vec<Rule>),
}

/// Words a command begins with, and what is done then.
pub type Rule = (&'static str, Vec<Move>);

/// One move of a rogue.
#[derive(Debug, Clone)]
pub enum Move {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends the command's last argument as a bulk string; PONG when it is the only one.
    Echo,
    /// Waits.
    Sleep(Duration),
    /// Sends byte by byte with a pause after each.
    Drip(Vec<u8>, Duration),
    /// Sends these bytes again and again.
    Endless(Vec<u8>),
    /// Ends the connection with FIN.
    Close,
    /// Ends the connection with RST.
    Reset,
}

impl Move {
    /// Sends text.
    pub fn say(text: &str) -> Move {
        Move::Send(text.as_bytes().to_vec())
    }

    /// Sends text as a bulk string.
    pub fn bulk(text: &str) -> Move {
        Move::say(&format!("${}\r\n{text}\r\n", text.len()))
    }
}

/// A small master in good health, to be made worse: rules put in front of these win.
pub fn healthy(info: &str) -> Vec<Rule> {
    vec![
        ("AUTH", vec![Move::say("+OK\r\n")]),
        ("PING", vec![Move::Echo]),
        ("INFO", vec![Move::bulk(info)]),
        ("SLOWLOG LEN", vec![Move::say(":0\r\n")]),
        ("SLOWLOG GET", vec![Move::say("*0\r\n")]),
        ("LATENCY LATEST", vec![Move::say("*0\r\n")]),
        ("ROLE", vec![Move::say("*3\r\n$6\r\nmaster\r\n:7\r\n*0\r\n")]),
    ]
}

/// INFO of that master.
pub const INFO: &str = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nrun_id:abc\r\n\
    uptime_in_seconds:100\r\n# Clients\r\nconnected_clients:1\r\nmaxclients:100\r\n# Memory\r\n\
    used_memory:1000\r\nmaxmemory:0\r\n# Replication\r\nrole:master\r\nconnected_slaves:0\r\n\
    master_replid:aa\r\nmaster_repl_offset:7\r\n# Cluster\r\ncluster_enabled:0\r\n";

/// An address where connections are never answered: the kernel drops every SYN.
pub struct BlackHole {
    /// `host:port`.
    pub address: String,
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl BlackHole {
    /// Fills the queue of a listener nobody accepts from.
    pub async fn start() -> BlackHole {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let listener = socket.listen(0).expect("it is bound");
        let address = listener.local_addr().expect("it is bound");
        let mut queue = Vec::new();
        // One finds its place in the queue of length 0; the first that waits shows it is full.
        let patience = Duration::from_millis(300);
        while let Ok(open) = tokio::time::timeout(patience, TcpStream::connect(address)).await {
            queue.push(open.expect("loopback"));
            assert!(queue.len() < 16, "this kernel never fills a queue");
        }
        BlackHole { address: address.to_string(), _listener: listener, _queue: queue }
    }
}

/// A running rogue.
pub struct Rogue {
    /// `host:port`.
    pub address: String,
    connections: Arc<AtomicUsize>,
    received: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Rogue {
    /// Listens on 127.0.0.1.
    pub async fn start(script: Script) -> Rogue {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let received = Arc::new(AtomicUsize::new(0));
        let counts = (connections.clone(), received.clone());
        // Shared: tests of memory must not measure copies of what the rogue says.
        let script = Arc::new(script);
        let task = tokio::spawn(async move {
            let mut served = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let n = counts.0.fetch_add(1, Ordering::SeqCst);
                served.spawn(serve(stream, script.clone(), counts.1.clone(), n));
            }
        });
        Rogue { address, connections, received, task }
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Bytes received so far.
    pub fn received(&self) -> usize {
        self.received.load(Ordering::SeqCst)
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    script: Arc<Script>,
    received: Arc<AtomicUsize>,
    seed: usize,
) {
    let _ = stream.set_nodelay(true);
    // A client that gives up closes the connection; that ends a rogue's part too.
    let _ = act(&mut stream, &script, &received, seed).await;
}

async fn act(
    stream: &mut TcpStream,
    script: &Script,
    received: &AtomicUsize,
    seed: usize,
) -> std::io::Result<()> {
    if let Script::SaysAndCloses(said) = script {
        return stream.write_all(said).await;
    }
    let heard = hear(stream, received).await?;
    match script {
        Script::Silent | Script::SaysAndCloses(_) => {}
        Script::Answers(said) => stream.write_all(said).await?,
        Script::Endless { head, unit } => {
            stream.write_all(head).await?;
            loop {
                stream.write_all(unit).await?;
            }
        }
        Script::Drip { bytes, pause } => {
            for byte in bytes.iter().cycle() {
                stream.write_all(&[*byte]).await?;
                tokio::time::sleep(*pause).await;
            }
        }
        Script::Turns(turns) => {
            for said in turns {
                stream.write_all(said).await?;
                hear(stream, received).await?;
            }
        }
        Script::Echo => return echo(stream, received, heard, seed).await,
        Script::On(rules) => return serve_rules(stream, received, heard, rules, usize::MAX).await,
        Script::CutAfter(bytes, rules) => {
            return serve_rules(stream, received, heard, rules, *bytes).await;
        }
    }
    loop {
        hear(stream, received).await?;
    }
}

/// Receives something; an error at the end of the stream.
async fn hear(stream: &mut TcpStream, received: &AtomicUsize) -> std::io::Result<Vec<u8>> {
    let mut buf = vec![0; 64 << 10];
    let n = stream.read(&mut buf).await?;
    if n == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    received.fetch_add(n, Ordering::SeqCst);
    buf.truncate(n);
    Ok(buf)
}

async fn echo(
    stream: &mut TcpStream,
    received: &AtomicUsize,
    mut heard: Vec<u8>,
    seed: usize,
) -> std::io::Result<()> {
    let mut dice = seed as u64 + 1;
    loop {
        for last in last_arguments(&heard) {
            let answer = format!("${}\r\n{last}\r\n", last.len());
            dice = dice
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            match (dice >> 33) % 32 {
                0 => tokio::time::sleep(Duration::from_millis(60)).await,
                1 => stream.write_all(answer.as_bytes()).await?,
                2 => {
                    stream.write_all(answer.as_bytes()).await?;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                _ => {}
            }
            stream.write_all(answer.as_bytes()).await?;
        }
        heard = hear(stream, received).await?;
    }
}

/// The last argument of each command of a pipeline that arrived whole.
fn last_arguments(raw: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(raw);
    let mut lines = text.split("\r\n");
    let mut all = Vec::new();
    while let Some(count) = lines.next().and_then(|l| l.strip_prefix('*')) {
        let arguments = (0..count.parse().unwrap_or(0)).map(|_| lines.nth(1).unwrap_or(""));
        all.extend(arguments.last().map(str::to_string));
    }
    all
}

/// Answers commands by rules until `left` bytes are sent.
async fn serve_rules(
    stream: &mut TcpStream,
    received: &AtomicUsize,
    mut heard: Vec<u8>,
    rules: &[Rule],
    mut left: usize,
) -> std::io::Result<()> {
    loop {
        while let Some(command) = take_command(&mut heard) {
            let words = command.join(" ").to_uppercase();
            match rules.iter().find(|(begins, _)| words.starts_with(begins)) {
                Some((_, moves)) => perform(stream, moves, &command, &mut left).await?,
                None => send(stream, b"-ERR unknown command\r\n", &mut left).await?,
            }
        }
        heard.extend(hear(stream, received).await?);
    }
}

async fn perform(
    stream: &mut TcpStream,
    moves: &[Move],
    command: &[String],
    left: &mut usize,
) -> std::io::Result<()> {
    for one in moves {
        match one {
            Move::Send(bytes) => send(stream, bytes, left).await?,
            Move::Echo if command.len() == 1 => send(stream, b"+PONG\r\n", left).await?,
            Move::Echo => {
                let last = command.last().map_or("", String::as_str);
                let said = format!("${}\r\n{last}\r\n", last.len());
                send(stream, said.as_bytes(), left).await?;
            }
            Move::Sleep(time) => tokio::time::sleep(*time).await,
            Move::Drip(bytes, pause) => {
                for byte in bytes {
                    send(stream, &[*byte], left).await?;
                    tokio::time::sleep(*pause).await;
                }
            }
            Move::Endless(bytes) => loop {
                send(stream, bytes, left).await?;
            },
            Move::Close => return Err(std::io::ErrorKind::ConnectionAborted.into()),
            Move::Reset => {
                stream.set_zero_linger()?;
                return Err(std::io::ErrorKind::ConnectionReset.into());
            }
        }
    }
    Ok(())
}

async fn send(stream: &mut TcpStream, bytes: &[u8], left: &mut usize) -> std::io::Result<()> {
    let now = bytes.len().min(*left);
    stream.write_all(&bytes[..now]).await?;
    *left -= now;
    if now < bytes.len() {
        return Err(std::io::ErrorKind::ConnectionAborted.into());
    }
    Ok(())
}

/// Takes the first whole command (an array of bulk strings) from what was heard.
fn take_command(heard: &mut Vec<u8>) -> Option<Vec<String>> {
    let text = String::from_utf8_lossy(heard).into_owned();
    let (head, mut rest) = text.split_once("\r\n")?;
    let mut command = Vec::new();
    for _ in 0..head.strip_prefix('*')?.parse::<usize>().ok()? {
        let (length, after) = rest.split_once("\r\n")?;
        let length: usize = length.strip_prefix('$')?.parse().ok()?;
        command.push(after.get(..length)?.to_string());
        rest = after.get(length + 2..)?;
    }
    heard.drain(..text.len() - rest.len());
    Some(command)
}
