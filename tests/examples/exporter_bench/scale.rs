//! E6, E7 and E11: ten thousand instances on this machine.
//!
//! One redis-server answers on every address of 127.0.0.0/8 (in protected mode, so nobody outside
//! this machine), beside twenty real ones. Counted over five minutes: our CPU, memory, missed cycles,
//! the age of the oldest reading; then the time and the rate of a page of about 50 000 series.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tests::fleet::{free_port, program};
use tests::process::Cachewarden;
use tokio::time::sleep;

use crate::figure::{Figure, quantile};
use crate::peer::Setup;
use crate::{Server, cpu, peer, start};

const CROWD: usize = 9_980;
const REAL: u8 = 20;
const WINDOW: Duration = Duration::from_secs(300);
/// The slow tiers have all run once, and connections are open.
const SETTLE: Duration = Duration::from_secs(60);
const PAGES: usize = 50;

/// Prints the figures.
pub async fn run() {
    let real: Vec<Server> = (0..REAL).map(|i| start(210 + i)).collect();
    let crowd = crowd();
    sleep(Duration::from_secs(1)).await;
    let mut targets: Vec<String> = real.iter().map(|s| s.targets().swap_remove(0)).collect();
    let address = |i: usize| format!("127.{}.{}.{}", 64 + i / 50_000, i / 250 % 200, i % 250 + 1);
    targets.extend((0..CROWD).map(|i| format!("{}:{}", address(i), crowd.port)));
    let warden = peer::ours(peer::services(&targets, 5), targets.len(), Setup::default()).await;
    sleep(SETTLE).await;
    paced(&warden, targets.len()).await;
    page(&warden).await;
}

/// One redis-server for all loopback addresses.
fn crowd() -> Server {
    let port = free_port("127.0.0.1");
    let mut command = Command::new(program("redis-server"));
    command.args(["--port", &port.to_string(), "--save", "", "--protected-mode", "yes"]);
    command.args(["--maxclients", "15000", "--bind", "0.0.0.0"]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let child = command.spawn().expect("redis-server starts");
    Server { child, hosts: vec!["127.0.0.1".into()], port }
}

async fn paced(warden: &Cachewarden, targets: usize) {
    let missed = async || {
        let (_, page) = warden.get("/metrics/self").await;
        peer::value(&page, "cachewarden_polls_missed_total").expect("it is counted")
    };
    let (cpu_before, missed_before, began) =
        (cpu::of_process(warden.pid()), missed().await, Instant::now());
    let mut ages = Vec::new();
    while began.elapsed() < WINDOW {
        sleep(Duration::from_secs(1)).await;
        let (_, page) = warden.get("/metrics/self").await;
        ages.extend(peer::value(&page, "cachewarden_oldest_row_age_seconds"));
    }
    let cores = (cpu::of_process(warden.pid()) - cpu_before) / began.elapsed().as_secs_f64();
    let missed = missed().await - missed_before;
    let rss = cpu::rss_mib(warden.pid());
    let about = format!("{targets} instances every 15 s for {} s", WINDOW.as_secs());
    let figure = |id, value, unit, gate, stretch, context: &str| {
        let context = format!("{context}; {about}");
        Figure { id, value, unit, gate, stretch, context }.print();
    };
    figure("E6", cores, "cores", 0.3, 0.15, "average CPU");
    figure("E6-rss", rss, "MiB", 400.0, 400.0, "resident");
    figure("E6-missed", missed, "cycles", 0.0, 0.0, "cycles not begun in time");
    let oldest = quantile(ages, 0.99);
    figure("E7", oldest, "seconds", 16.0, 15.3, "p99 of the age of the oldest reading of all");
}

/// A part of /metrics of about 50 000 series.
async fn page(warden: &Cachewarden) {
    let (_, whole) = warden.get("/metrics").await;
    let series = |page: &str| page.lines().filter(|l| !l.starts_with('#')).count();
    let parts = (series(&whole) / 50_000).max(1);
    let (mut took, mut bytes, mut count) = (Vec::new(), 0, 0);
    let before = cpu::of_process(warden.pid());
    let began = Instant::now();
    for i in 0..PAGES {
        let one = Instant::now();
        let path = format!("/metrics?shard={}/{parts}", i % parts);
        let (status, page) = warden.get(&path).await;
        assert_eq!(status, 200, "{page}");
        took.push(one.elapsed().as_secs_f64() * 1000.0);
        (bytes, count) = (bytes + page.len(), series(&page));
    }
    let spent = cpu::of_process(warden.pid()) - before;
    let rate = bytes as f64 / 1e6 / spent.max(0.01);
    let context = format!(
        "p99 of {PAGES} pages of about {count} series, {} kB each, identity, in {:.1} s beside polling",
        bytes / PAGES / 1000,
        began.elapsed().as_secs_f64()
    );
    let value = quantile(took, 0.99);
    Figure { id: "E11", value, unit: "ms", gate: 60.0, stretch: 60.0, context }.print();
    let context = format!("{rate:.0} MB of page a second of CPU, polling included; 100 asked for");
    let value = 100.0 / rate;
    Figure { id: "E11-rate", value, unit: "ratio", gate: 1.0, stretch: 1.0, context }.print();
}
