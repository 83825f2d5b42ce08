//! Cost of polling: cachewarden beside releases of redis_exporter and a floor program, on the same
//! targets at the same pace, and what follows from it: pages, ten thousand instances, bad neighbours,
//! TLS, the Prometheus behind. Prints one JSON object a figure; started by `tests/bench/exporter.sh`,
//! which takes names of parts: poll page scale bad failover tls behind.
//!
//! 32 redis-server processes listen on 16 loopback addresses each: 512 targets, each polled every
//! 15 s. One contender runs at a time; rounds are interleaved and medians are printed.

mod bad;
mod behind;
mod cpu;
mod failover;
mod figure;
mod floor;
mod page;
mod peer;
mod scale;
mod tls;

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tests::fleet::{free_port, program};
use tests::process::Cachewarden;
use tokio::time::sleep;

use crate::figure::{quantile, ratio};
use crate::peer::{Release, Setup, Theirs};

const SERVERS: u8 = 32;
const ADDRESSES: u8 = 16;
const INTERVAL: Duration = Duration::from_secs(15);
/// Whole intervals, and one turn of what is read once a minute.
const WINDOW: Duration = Duration::from_secs(60);
/// After a start everything that is read seldom is read at once, and a minute later the parameters of
/// all services, which is done once a day.
const SETTLE: Duration = Duration::from_secs(100);
const ROUNDS: usize = 3;

/// One redis-server on many addresses.
struct Server {
    child: Child,
    hosts: Vec<String>,
    port: u16,
}

impl Server {
    /// `host:port` of each address.
    fn targets(&self) -> Vec<String> {
        self.hosts.iter().map(|h| format!("{h}:{}", self.port)).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What one window of one contender cost.
#[derive(Clone, Copy, Default)]
struct Cost {
    /// CPU of the contender, seconds.
    own: f64,
    /// CPU of all Redis, seconds.
    redis: f64,
    /// Connections the servers accepted, ours for measuring taken away.
    connections: f64,
    /// Polls that fell into the window.
    polls: f64,
}

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).is_some_and(|a| a == "floor") {
        return floor::run(args[2].split(',').map(str::to_string).collect(), INTERVAL).await;
    }
    // Clients of HTTP bring no provider of their own, and any part may be the first to make one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let wanted = |name: &str| args.len() < 2 || args[1..].iter().any(|a| a == name);
    if wanted("poll") {
        polling().await;
    }
    if wanted("page") {
        page::run().await;
    }
    if wanted("scale") {
        scale::run().await;
    }
    if wanted("bad") {
        bad::run().await;
    }
    if wanted("failover") {
        failover::run().await;
    }
    if wanted("tls") {
        tls::run().await;
    }
    if wanted("behind") {
        behind::run().await;
    }
}

/// Windows of each contender, and one in which nobody polls.
struct Costs {
    idle: Cost,
    ours: Vec<Cost>,
    theirs: Vec<(Release, Vec<Cost>)>,
    floor: Vec<Cost>,
}

/// E1, E2, E4, E5.
async fn polling() {
    let servers: Vec<Server> = (0..SERVERS).map(start).collect();
    let targets: Vec<String> = servers.iter().flat_map(Server::targets).collect();
    sleep(Duration::from_secs(1)).await;
    servers.iter().for_each(warm);
    let theirs = peer::releases().into_iter().map(|release| (release, Vec::new())).collect();
    let idle = measure(&servers, 0, 0.0).await;
    let mut all = Costs { idle, ours: Vec::new(), theirs, floor: Vec::new() };
    for round in 0..ROUNDS {
        eprintln!("round {} of {ROUNDS}", round + 1);
        let services = peer::services(&targets, usize::from(ADDRESSES));
        all.ours.push(ours(&servers, services, targets.len(), Setup::default()).await);
        for (release, costs) in &mut all.theirs {
            costs.push(theirs_of(release, &servers, &targets).await);
        }
        all.floor.push(least(&servers, &targets).await);
    }
    print(&all, targets.len());
}

fn start(index: u8) -> Server {
    start_with(index, &[])
}

/// A server with further arguments; the addresses are those of `index`.
fn start_with(index: u8, more: &[String]) -> Server {
    let hosts: Vec<String> = (1..=ADDRESSES).map(|a| format!("127.1.{index}.{a}")).collect();
    let port = free_port(&hosts[0]);
    let mut command = Command::new(program("redis-server"));
    command.args(["--port", &port.to_string(), "--save", "", "--protected-mode", "no", "--bind"]);
    command.args(&hosts).args(more).stdin(Stdio::null()).stdout(Stdio::null());
    Server { child: command.spawn().expect("redis-server starts"), hosts, port }
}

/// A server that has seen some commands has as many lines of commandstats.
fn warm(server: &Server) {
    let commands = "SET a 1\nGET a\nINCR n\nLPUSH l 1 2 3\nLRANGE l 0 -1\nHSET h f v\nHGETALL h\n\
        SADD s a b\nSMEMBERS s\nZADD z 1 a\nZRANGE z 0 -1\nEXPIRE a 1000\nTTL a\nDEL b\n\
        EXISTS a\nTYPE a\nAPPEND a x\nSTRLEN a\nMGET a b\nMSET c 1 d 2\n";
    let mut child = Command::new("redis-cli")
        .args(["-h", &server.hosts[0], "-p", &server.port.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-cli starts");
    use std::io::Write;
    child.stdin.take().expect("piped").write_all(commands.as_bytes()).expect("redis-cli reads");
    child.wait().expect("redis-cli ends");
}

fn redis_cpu(servers: &[Server]) -> f64 {
    servers.iter().map(|s| cpu::of_threads(s.child.id())).sum()
}

fn connections(servers: &[Server]) -> f64 {
    let of = |s: &Server| cpu::info(&s.hosts[0], s.port, "stats", "total_connections_received");
    servers.iter().map(of).sum()
}

/// What happens in one window; `pid` 0: nobody polls.
async fn measure(servers: &[Server], pid: u32, polls: f64) -> Cost {
    let own = |pid| if pid == 0 { 0.0 } else { cpu::of_process(pid) };
    let seen = connections(servers);
    let before = (own(pid), redis_cpu(servers));
    sleep(WINDOW).await;
    let after = (own(pid), redis_cpu(servers));
    // The second look is itself one connection a server.
    let connections = connections(servers) - seen - servers.len() as f64;
    Cost { own: after.0 - before.0, redis: after.1 - before.1, connections, polls }
}

fn polls_in_window(targets: usize) -> f64 {
    targets as f64 * WINDOW.as_secs_f64() / INTERVAL.as_secs_f64()
}

async fn ours(servers: &[Server], services: Vec<Value>, targets: usize, setup: Setup<'_>) -> Cost {
    let warden = peer::ours(services, targets, setup).await;
    sleep(SETTLE).await;
    let before = polled(&warden).await;
    let mut cost = measure(servers, warden.pid(), polls_in_window(targets)).await;
    // On a busy machine some turns are missed, and what was not done must not look cheap.
    cost.polls = polled(&warden).await - before;
    cost
}

/// Polls of ours so far, however they ended.
async fn polled(warden: &Cachewarden) -> f64 {
    let (_, page) = warden.get("/metrics/self").await;
    let counts = page.lines().filter(|l| l.starts_with("cachewarden_polls_total{"));
    counts.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

async fn theirs_of(release: &Release, servers: &[Server], targets: &[String]) -> Cost {
    let theirs = Theirs::start(release);
    let http = reqwest::Client::builder().no_proxy().build().expect("client");
    theirs.answers(&http).await;
    let start = tokio::time::Instant::now();
    let (done, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut pacers = tokio::task::JoinSet::new();
    for (i, target) in targets.iter().enumerate() {
        let url = theirs.url(target);
        let (http, done, failed) = (http.clone(), done.clone(), failed.clone());
        let mut next = start + INTERVAL * i as u32 / targets.len() as u32;
        pacers.spawn(async move {
            loop {
                tokio::time::sleep_until(next).await;
                next += INTERVAL;
                let answer = http.get(&url).send().await.expect("redis_exporter answers");
                let page = answer.text().await.expect("a page");
                done.fetch_add(1, Ordering::Relaxed);
                failed.fetch_add(usize::from(!page.contains("redis_up 1")), Ordering::Relaxed);
            }
        });
    }
    sleep(INTERVAL).await;
    let before = done.load(Ordering::Relaxed);
    let mut cost = measure(servers, theirs.pid(), polls_in_window(targets.len())).await;
    cost.polls = (done.load(Ordering::Relaxed) - before) as f64;
    // One that fails now and then is a busy machine; many would be cheaper than they should be.
    let failed = failed.load(Ordering::Relaxed);
    assert!(failed as f64 <= cost.polls / 100.0, "{failed} scrapes failed");
    pacers.shutdown().await;
    cost
}

async fn least(servers: &[Server], targets: &[String]) -> Cost {
    let own = std::env::current_exe().expect("a path");
    let mut child = Command::new(own)
        .args(["floor", &targets.join(",")])
        .stdin(Stdio::null())
        .spawn()
        .expect("the floor program starts");
    sleep(INTERVAL).await;
    let cost = measure(servers, child.id(), polls_in_window(targets.len())).await;
    let _ = child.kill();
    let _ = child.wait();
    cost
}

fn median(costs: &[Cost], of: impl Fn(&Cost) -> f64) -> f64 {
    quantile(costs.iter().map(of).collect(), 0.5)
}

/// CPU of the contender a poll, ms.
fn own_ms(costs: &[Cost]) -> f64 {
    median(costs, |c| c.own / c.polls * 1000.0)
}

/// CPU of Redis a poll, ms, without what it spends when nobody polls.
fn redis_ms(costs: &[Cost], idle: &Cost) -> f64 {
    median(costs, |c| (c.redis - idle.redis) / c.polls * 1000.0)
}

fn print(all: &Costs, targets: usize) {
    let about = format!("{targets} targets, every 15 s, median of {ROUNDS}");
    let shown = |name: &str, a: f64, b: f64| format!("ours {a:.3} ms, {name} {b:.3} ms, {about}");
    let (own, redis) = (own_ms(&all.ours), redis_ms(&all.ours, &all.idle));
    let per_poll = |costs: &[Cost]| median(costs, |c| c.connections / c.polls);
    for (release, costs) in &all.theirs {
        let (name, end) = (format!("redis_exporter {}", release.version), release.suffix);
        let cost = own_ms(costs);
        ratio(&format!("E1{end}"), own / cost, (0.1, 0.05), shown(&name, own, cost));
        // A current release asks for more, and costs Redis more.
        let gates = if end.is_empty() { (0.55, 0.4) } else { (0.4, 0.25) };
        let cost = redis_ms(costs, &all.idle);
        let context = shown(&name, redis, cost) + ", CPU of Redis, idle subtracted";
        ratio(&format!("E4{end}"), redis / cost, gates, context);
    }
    let cost = own_ms(&all.floor);
    ratio("E2", own / cost, (2.5, 1.5), shown("floor", own, cost));
    // The accept probe, one a minute and target, is apart.
    let probes = INTERVAL.as_secs_f64() / 60.0;
    let context = format!(
        "new connections a poll apart from the probe's {probes}; redis_exporter 1.45: {:.2}",
        per_poll(&all.theirs[0].1)
    );
    ratio("E5", (per_poll(&all.ours) - probes).max(0.0), (0.0, 0.0), context);
}
