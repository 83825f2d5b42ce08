//! S-api: what an explanation takes through the API at 10 000 instances, of every level, now, with other
//! inputs and of a past moment, while the fleet is polled every 15 s. One JSON object a figure.
//!
//! One redis-server answers on every address of 127.0.0.0/8, in protected mode: nobody outside this
//! machine reaches it.

#[path = "exporter_bench/figure.rs"]
#[allow(dead_code, reason = "the other benchmark uses all of it")]
mod figure;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use figure::{Figure, quantile};
use serde_json::{Value, json};
use tests::fleet::{free_port, program};
use tests::process::{Cachewarden, Options, inventory};
use tests::wait;

const SERVICES: usize = 5_000;
const SYSTEMS: usize = 50;
/// Requests of each kind.
const TIMES: usize = 200;
/// Starting with ten thousand connections on a busy machine.
const UP_WITHIN: Duration = Duration::from_secs(600);
/// The gate of `health.md`.
const GATE_MS: f64 = 30.0;

struct Crowd {
    child: Child,
    port: u16,
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn crowd() -> Crowd {
    let port = free_port("127.0.0.1");
    let child = Command::new(program("redis-server"))
        .args(["--port", &port.to_string(), "--save", "", "--protected-mode", "yes"])
        .args(["--maxclients", "15000", "--bind", "0.0.0.0"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server starts");
    Crowd { child, port }
}

/// Services of two standalone nodes each, in fifty systems of one tenant.
fn document(port: u16) -> Value {
    let address =
        |i: usize| format!("127.{}.{}.{}:{port}", 64 + i / 50_000, i / 250 % 200, i % 250 + 1);
    let service = |n: usize| {
        let nodes: Vec<Value> =
            (0..2).map(|k| json!({"address": address(2 * n + k), "zone": "az-1"})).collect();
        json!({
            "id": format!("s{n}"), "system": format!("y{}", n % SYSTEMS), "instances": nodes,
            "replicas": 0,
        })
    };
    let mut fleet = inventory((0..SERVICES).map(service).collect::<Vec<_>>().into());
    let systems = (0..SYSTEMS).map(|n| json!({"id": format!("y{n}")}));
    fleet["tenants"][0]["systems"] = systems.collect::<Vec<_>>().into();
    fleet["policies"] = json!([{"policy": "restarted", "scope": "tenant:pay",
        "enabled": false, "until": "2099-01-01T00:00:00Z"}]);
    fleet
}

async fn started(fleet: &Value) -> Cachewarden {
    let mut warden = Cachewarden::prepared(&Options { interval_s: Some(15), ..Options::default() });
    warden.spawn_with(&[]);
    warden.answers().await;
    warden.apply(fleet).await;
    wait::until_within("every instance is scored", UP_WITHIN, || async {
        let (_, tenant) = warden.api("/tenants/pay/health").await;
        (tenant["coverage"] == 1.0).then_some(())
    })
    .await;
    warden
}

async fn measure(warden: &Cachewarden, kind: &str, path: impl Fn(usize) -> String) {
    let mut took = Vec::with_capacity(TIMES);
    for i in 0..TIMES {
        let path = path(i);
        let began = Instant::now();
        let (status, answer) = warden.api(&path).await;
        took.push(began.elapsed().as_secs_f64() * 1000.0);
        assert_eq!(status, 200, "{path}: {answer}");
    }
    let median = quantile(took.clone(), 0.5);
    Figure {
        id: &format!("S-api-{kind}"),
        value: quantile(took, 0.99),
        unit: "ms",
        gate: GATE_MS,
        stretch: GATE_MS / 2.0,
        context: format!(
            "p99 of {TIMES} requests one after another, median {median:.2} ms; {} instances polled \
             every 15 s",
            2 * SERVICES
        ),
    }
    .print();
}

#[tokio::main]
async fn main() {
    let crowd = crowd();
    let fleet = document(crowd.port);
    let warden = started(&fleet).await;
    let instance = |i: usize| {
        let n = i * 37 % SERVICES;
        let address = fleet["tenants"][0]["services"][n]["instances"][0]["address"].as_str();
        format!("pay.s{n}@{}", address.expect("an address"))
    };
    let (_, now) = warden.api("/overview").await;
    let now = now["as_of"].as_str().expect("a time").to_string();
    let set = "set.used_memory_bytes=1000000000";
    measure(&warden, "instance", |i| format!("/instances/{}/health", instance(i))).await;
    measure(&warden, "whatif", |i| format!("/instances/{}/health?{set}", instance(i))).await;
    measure(&warden, "past", |i| format!("/instances/{}/health?at={now}", instance(i))).await;
    measure(&warden, "shard", |i| format!("/services/pay.s{}/shards/0/health", i * 37 % SERVICES))
        .await;
    measure(&warden, "service", |i| format!("/services/pay.s{}/health", i * 37 % SERVICES)).await;
    measure(&warden, "system", |i| format!("/systems/pay.y{}/health", i % SYSTEMS)).await;
    measure(&warden, "tenant", |_| "/tenants/pay/health".into()).await;
    let rolled = |i: usize| format!("/tenants/pay/health?set.{}.maxmemory_bytes=0", instance(i));
    measure(&warden, "tenant-whatif", rolled).await;
}
