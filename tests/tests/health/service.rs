//! What a service, and those above it, lose: a node that is gone for good, a full cache, a cluster that
//! cannot fail over, and the seconds its users had to do without.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tests::fleet::{Node, RedisFleet, ZONES};
use tests::process::{Cachewarden, Options};
use tests::wait;

use crate::stage::{Stage, adds_up, bar, listed, score};

/// `health.md`, "Done means" 3.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_instance_is_a_known_zero_and_stays_one_until_it_is_back() {
    let mut stage = Stage::solo(&["maxmemory 1gb"], "store", &[]).await;
    let path = stage.instance("solo", 0);
    stage.well(&path).await;
    stage.fleet.nodes[0].kill();
    let zero =
        |page: &Value| page["score"] == 0.0 && page["grade"] == "E" && page["confidence"] == 1.0;
    // The poll that finds it gone, and two repeats.
    let (_, others) = stage.follows(&path, "it is down", zero).await;
    assert!(others <= 4, "{others} other scores before it");
    for page in stage.scores(&path, 12).await {
        assert!(zero(&page), "it stays down: {page:#}");
    }
    stage.fleet.nodes[0].spawn();
    stage.well(&path).await;
}

/// One SET of a kilobyte, or so many PINGs, as a client sends them at once.
fn write(stream: &mut TcpStream, sets: &mut u64, keys: usize, pings: usize) {
    let value = "x".repeat(1000);
    let mut out = Vec::with_capacity(1100 * keys + 14 * pings);
    for _ in 0..keys {
        *sets += 1;
        let key = format!("key:{sets:012}");
        let head = format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n$1000\r\n{value}\r\n", key.len());
        out.extend_from_slice(head.as_bytes());
    }
    out.extend(b"*1\r\n$4\r\nPING\r\n".repeat(pings));
    stream.write_all(&out).unwrap();
    // The last answer has come when all have; an error ends the line early, which is as well.
    let (mut left, mut buffer) = (keys + pings, [0; 65_536]);
    while left > 0 {
        let n = stream.read(&mut buffer).unwrap();
        assert!(n > 0, "the server hung up");
        left -= buffer[..n].iter().filter(|b| **b == b'\n').count().min(left);
    }
}

/// A client that mostly reads: now and then a key goes for a new one.
struct Client {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Client {
    fn go_on(mut stream: TcpStream, mut sets: u64) -> Client {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                write(&mut stream, &mut sets, 1, 2000);
                // As fast as it can it would take a core from the servers.
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Client { stop, thread: Some(thread) }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(std::thread::JoinHandle::join);
    }
}

fn connect(node: &Node) -> TcpStream {
    let stream = TcpStream::connect(&node.address).unwrap();
    stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    stream
}

/// `health.md`, "Done means" 5.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_cache_that_evicts_a_little_stays_a_and_under_noeviction_it_does_not() {
    let lines = ["maxmemory 40mb", "maxmemory-policy allkeys-lru"];
    let stage = Stage::solo(&lines, "cache", &[]).await;
    let path = stage.instance("solo", 0);
    stage.well(&path).await;
    let mut client = connect(&stage.fleet.nodes[0]);
    let mut sets = 0;
    while stage.info("stats", "evicted_keys") == 0.0 {
        write(&mut client, &mut sets, 1000, 0);
    }
    let client = Client::go_on(client, sets);
    let light = |page: &Value| {
        let value = |signal| bar(page, signal).and_then(|b| b["value"].as_f64());
        let m2 = value("M2");
        value("M1c") > Some(0.97) && m2 > Some(0.0) && m2 < Some(0.002)
    };
    // What the filling evicted leaves the window first.
    let full = stage.until(&path, "full, with light evictions", light).await;
    adds_up(&full);
    stage.until(&path, "graded A", |page| page["grade"] == "A").await;
    for page in stage.scores(&path, 8).await {
        assert!(page["grade"] == "A" && score(&page) >= 90.0, "{page:#}");
    }
    drop(client);
    stage.redis(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    let kept = stage
        .until(&path, "the same fill where data must be kept", |page| {
            bar(page, "M1").is_some() && ["C", "D", "E"].contains(&page["grade"].as_str().unwrap())
        })
        .await;
    assert!(bar(&kept, "M1").unwrap()["value"].as_f64() > Some(0.97), "{kept:#}");
    adds_up(&kept);
}

/// `health.md`, "Done means" 6.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_shard_of_a_cluster_that_cannot_fail_over_halves_it_and_with_full_coverage_ends_it()
{
    let mut fleet = RedisFleet::new();
    let nodes = fleet.cluster(2_000).await;
    let other = fleet.node(ZONES[0], &["maxmemory 1gb"]).await;
    for i in &nodes[3..] {
        fleet.nodes[*i].cli(&["CONFIG", "SET", "cluster-replica-no-failover", "yes"]);
    }
    let members: Vec<&Node> = nodes.iter().map(|i| &fleet.nodes[*i]).collect();
    let grid = json!({"id": "grid", "system": "shop", "tier": "core", "mode": "cluster",
        "instances": listed(&members)});
    let solo = json!({"id": "solo", "system": "shop", "tier": "core",
        "instances": listed(&[&fleet.nodes[other]])});
    let mut stage = Stage::new(fleet, json!([grid, solo]), &[]).await;
    let (service, system) = ("/services/pay.grid/health", "/systems/pay.shop/health");
    for path in [service, "/services/pay.solo/health", system] {
        stage.until(path, "all is well", |page| page["grade"] == "A").await;
    }
    stage.fleet.nodes[nodes[0]].kill();
    let halved = |page: &Value| page["score"].as_f64().is_some_and(|s| s > 0.0 && s < 50.0);
    let page = stage.until(service, "a third of the slots is gone", halved).await;
    adds_up(&page);
    // A cluster judges its coverage when a node fails, not when it is told to mind it.
    stage.fleet.nodes[nodes[0]].spawn();
    stage.until(service, "it is whole again", |page| page["grade"] == "A").await;
    for i in &nodes {
        stage.fleet.nodes[*i].cli(&["CONFIG", "SET", "cluster-require-full-coverage", "yes"]);
    }
    stage.fleet.nodes[nodes[0]].kill();
    stage.until(service, "nothing is served any more", |page| page["score"] == 0.0).await;
    let page = stage
        .until(system, "no more than 20 above its worst core service", |page| {
            page["score"].as_f64().is_some_and(|s| s <= 20.0)
        })
        .await;
    adds_up(&page);
    stage.fleet.nodes[nodes[0]].spawn();
    for path in [service, system] {
        stage.until(path, "it is back", |page| page["grade"] == "A").await;
    }
}

/// Of polls that are scheduled: below ten seconds a gone server is dialled less often than it is polled.
const INTERVAL_S: u32 = 10;

/// `health.md`, "Done means" 11.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_counts_as_many_bad_seconds_as_it_had() {
    let mut fleet = RedisFleet::new();
    fleet.node(ZONES[0], &["maxmemory 1gb"]).await;
    let solo = json!({"id": "solo", "system": "shop", "instances": listed(&[&fleet.nodes[0]])});
    let options = Options { interval_s: Some(INTERVAL_S), ..Options::default() };
    let mut stage = Stage::on(Cachewarden::with(options).await, fleet, json!([solo]), &[]).await;
    let path = stage.instance("solo", 0);
    stage.until(&path, "it is up", |page| score(page) > 0.0).await;
    let seconds = async |stage: &Stage| {
        let (_, page) = stage.ask(Method::GET, "/services/pay.solo/slo", &Value::Null).await;
        let of = |name: &str| page["seconds"][name].as_f64().unwrap_or(f64::NAN);
        (of("good"), of("bad"), of("unknown"))
    };
    wait::until("good seconds are counted", || async {
        (seconds(&stage).await.0 > 3.0).then_some(())
    })
    .await;
    let before = seconds(&stage).await;
    let began = Instant::now();
    stage.fleet.nodes[0].kill();
    wait::until("two intervals are counted as bad", || async {
        (seconds(&stage).await.1 > before.1 + f64::from(2 * INTERVAL_S)).then_some(())
    })
    .await;
    stage.fleet.nodes[0].spawn();
    stage.fleet.nodes[0].answers().await;
    let outage = began.elapsed().as_secs_f64();
    stage.until(&path, "it is up again", |page| score(page) > 0.0).await;
    let good = seconds(&stage).await.0;
    let after = wait::until("good seconds go on", || async {
        let now = seconds(&stage).await;
        (now.0 > good + 3.0).then_some(now)
    })
    .await;
    let bad = after.1 - before.1;
    // Plus what a poll lasts; a busy machine sends it late.
    let most = f64::from(INTERVAL_S) + 3.0;
    assert!((bad - outage).abs() <= most, "{bad} bad seconds of an outage of {outage}");

    // While nobody looks nothing is known, and nothing is bad.
    stage.cw.signal("STOP");
    let age = stage.info("server", "uptime_in_seconds");
    wait::until("the server is older by a pause", || async {
        (stage.info("server", "uptime_in_seconds") >= age + 45.0).then_some(())
    })
    .await;
    stage.cw.signal("CONT");
    let later = wait::until("the pause is known as unknown", || async {
        let now = seconds(&stage).await;
        (now.2 > after.2 + 30.0).then_some(now)
    })
    .await;
    assert!(later.1 - after.1 < 1.0, "{} bad seconds of a pause of ours", later.1 - after.1);
}
