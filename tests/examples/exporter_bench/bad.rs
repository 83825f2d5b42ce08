//! E8: one target in ten is black-holed or two seconds slow; what the healthy ones feel of it.

use std::time::Duration;

use tests::process::Cachewarden;
use tests::rogue::BlackHole;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::figure::{Figure, quantile, ratio};
use crate::peer::Setup;
use crate::{INTERVAL, Server, WINDOW, cpu, peer, start, warm};

const SERVERS: u8 = 29;
const BAD: usize = 26;
const SLOW: Duration = Duration::from_secs(2);
/// Ages are looked at at as many moments.
const LOOKS: usize = 5;

/// Prints the figures.
pub async fn run() {
    let servers: Vec<Server> = (0..SERVERS).map(|i| start(100 + i)).collect();
    sleep(Duration::from_secs(1)).await;
    servers.iter().for_each(warm);
    let healthy: Vec<String> = servers.iter().flat_map(Server::targets).collect();
    let calm = look(&healthy, &[], &[]).await;
    let (mut bad, mut dead) = (Vec::new(), Vec::new());
    let mut held = Vec::new();
    for _ in 0..BAD {
        let hole = BlackHole::start().await;
        dead.push(hole.address.clone());
        bad.push(hole.address.clone());
        held.push(hole);
        bad.push(slow(healthy[0].clone()).await);
    }
    let beside = look(&healthy, &bad, &dead).await;
    let said = |what: &str, a: f64, b: f64, unit: &str| {
        let n = healthy.len();
        format!(
            "{what} of {n} healthy targets {b:.3} {unit} beside {} bad ones, {a:.3} without",
            bad.len()
        )
    };
    let of = |name, a: f64, b: f64| said(name, a, b, "s");
    ratio("E8", beside.age / calm.age, (1.1, 1.0), of("p99 of the age", calm.age, beside.age));
    ratio(
        "E8-cpu",
        beside.cpu / calm.cpu,
        (1.1, 1.0),
        of("CPU of the process, polls", calm.cpu, beside.cpu),
    );
    let value = beside.dead_up;
    let context = format!("of {} black-holed targets still shown up after two cycles", dead.len());
    Figure { id: "E8-known", value, unit: "targets", gate: 0.0, stretch: 0.0, context }.print();
}

struct Seen {
    /// p99 of the healthy ones' age at any moment, seconds.
    age: f64,
    /// CPU in the window, seconds.
    cpu: f64,
    /// Dead targets shown up.
    dead_up: f64,
}

async fn look(healthy: &[String], bad: &[String], dead: &[String]) -> Seen {
    let mut all = healthy.to_vec();
    all.extend_from_slice(bad);
    let warden = peer::ours(peer::services(&all, 1), healthy.len(), Setup::default()).await;
    // Two cycles: what is down is known to be.
    sleep(2 * INTERVAL).await;
    let (_, page) = warden.get("/metrics").await;
    let is_up = |address: &&String| {
        let about = format!("@{address}\"");
        let state = |l: &str| l.starts_with("cachewarden_instance_state{") && l.contains(&about);
        page.lines().any(|l| state(l) && l.contains("state=\"up\""))
    };
    let dead_up = dead.iter().filter(is_up).count() as f64;
    let before = cpu::of_process(warden.pid());
    sleep(WINDOW).await;
    let cpu = cpu::of_process(warden.pid()) - before;
    let mut ages = Vec::new();
    for _ in 0..LOOKS {
        ages.extend(ages_of(&warden, &all, healthy.len()).await);
        sleep(Duration::from_secs(4)).await;
    }
    Seen { age: quantile(ages, 0.99), cpu, dead_up }
}

async fn ages_of(warden: &Cachewarden, all: &[String], healthy: usize) -> Vec<f64> {
    let mut ages = Vec::new();
    for i in 0..healthy {
        let (_, page) = warden.get(&format!("/scrape?target={}", peer::id(all, 1, i))).await;
        ages.extend(peer::value(&page, "cachewarden_reading_age_seconds"));
    }
    ages
}

/// An address behind which `target` answers two seconds late.
async fn slow(target: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let target = target.clone();
            tokio::spawn(async move {
                let Ok(server) = TcpStream::connect(target).await else { return };
                let _ = pass_late(client, server).await;
            });
        }
    });
    address
}

async fn pass_late(mut client: TcpStream, mut server: TcpStream) -> std::io::Result<()> {
    let (mut asked, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        tokio::select! {
            n = client.read(&mut asked) => {
                let n = n?;
                if n == 0 { return Ok(()) }
                sleep(SLOW).await;
                server.write_all(&asked[..n]).await?;
            }
            n = server.read(&mut answered) => {
                let n = n?;
                if n == 0 { return Ok(()) }
                client.write_all(&answered[..n]).await?;
            }
        }
    }
}
