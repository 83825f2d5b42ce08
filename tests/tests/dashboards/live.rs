//! Every panel of every dashboard has data of a real fleet, through our pages and a real Prometheus
//! on the shipped configuration and rules; and so has every name the dashboards of others ask for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::{Value, json};
use tests::alertmanager::Alertmanager;
use tests::fleet::{RedisFleet, ZONES, free_port};
use tests::nodes::link_to;
use tests::process::{Cachewarden, inventory};
use tests::prometheus::Prometheus;
use tests::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::board::{Board, PORTAL, Panel};
use crate::{boards, compat, names};

/// Looked back by queries over time: all of a short test.
const RANGE_S: u32 = 60;

/// The servers.
struct Fleet {
    solo: RedisFleet,
    cart: RedisFleet,
    catalog: RedisFleet,
    /// An address where nobody is.
    gone: String,
}

impl Fleet {
    async fn start() -> Fleet {
        let (mut solo, mut cart, mut catalog) =
            (RedisFleet::new(), RedisFleet::new(), RedisFleet::new());
        let small = [
            "maxmemory 8mb",
            "maxmemory-policy allkeys-lru",
            "appendonly yes",
            "latency-monitor-threshold 1",
            "slowlog-log-slower-than 1000",
        ];
        tokio::join!(
            async {
                solo.node(ZONES[0], &small).await;
                let locked = solo.node(ZONES[1], &[]).await;
                solo.nodes[locked].cli(&["CONFIG", "SET", "requirepass", "nobody-knows"]);
            },
            async {
                cart.sentinel("cart", 5000).await;
                for node in &cart.nodes[..3] {
                    node.cli(&["CONFIG", "SET", "maxmemory", "512mb"]);
                }
            },
            catalog.cluster(5000),
        );
        let gone = format!("{}:{}", ZONES[2], free_port(ZONES[2]));
        Fleet { solo, cart, catalog, gone }
    }

    fn services(&self) -> Value {
        let zone = |address: &str| {
            let zone = ZONES.iter().position(|z| address.starts_with(&format!("{z}:")));
            format!("az-{}", zone.unwrap() + 1)
        };
        let listed = |addresses: Vec<&str>, kind: &str| -> Vec<Value> {
            let one = |a: &&str| json!({"address": a, "zone": zone(a), "kind": kind});
            addresses.iter().map(one).collect()
        };
        let all = |of: &RedisFleet| -> Vec<String> {
            of.nodes.iter().map(|n| n.address.clone()).collect()
        };
        let (solo, cart, catalog) = (all(&self.solo), all(&self.cart), all(&self.catalog));
        let text = |of: &[String]| -> Vec<Value> {
            listed(of.iter().map(String::as_str).collect(), "redis")
        };
        let mut of_cart = text(&cart[..3]);
        of_cart.extend(listed(cart[3..].iter().map(String::as_str).collect(), "sentinel"));
        json!([
            {"id": "solo", "system": "shop", "instances": text(&solo[..1])},
            {"id": "locked", "system": "shop", "instances": text(&solo[1..])},
            {"id": "gone", "system": "shop", "instances": listed(vec![&self.gone], "redis")},
            {"id": "cart", "system": "shop", "class": "zone", "replicas": 2, "mode": "sentinel",
             "sentinel": {"master_name": "cart"}, "instances": of_cart},
            {"id": "catalog", "system": "shop", "class": "zone", "mode": "cluster",
             "instances": text(&catalog)},
        ])
    }
}

/// What the fleet is asked to do while Prometheus looks, until it is told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(fleet: &Fleet) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let (solo, cart) =
            (fleet.solo.nodes[0].address.clone(), fleet.cart.nodes[0].address.clone());
        let catalog = fleet.catalog.nodes[0].address.clone();
        let tasks = vec![
            tokio::spawn(misuse(solo.clone(), stop.clone())),
            tokio::spawn(waiting(solo, stop.clone())),
            tokio::spawn(use_well(cart, stop.clone())),
            tokio::spawn(use_well(catalog, stop.clone())),
        ];
        Load { stop, tasks }
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

/// Hits, misses, keys with and without a time to live, memory that grows.
async fn use_well(address: String, stop: Arc<AtomicBool>) {
    let mut link = link_to(&address).await.unwrap();
    let value = "x".repeat(4096);
    let mut i = 0u64;
    while !stop.load(Ordering::Relaxed) {
        i += 1;
        let (key, brief) = (format!("{{a}}:{}", i % 20_000), format!("{{a}}:brief:{i}"));
        for args in [
            &["SET", &key, &value][..],
            &["GET", &key],
            &["GET", "{a}:never"],
            &["SET", &brief, "x", "PX", "200"],
        ] {
            // A cluster's node answers MOVED for what is not its own: that is an error reply, and load.
            let _ = link.call(args, wait::PATIENCE).await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Evictions, slow commands, latency spikes, errors, refused connections, saves.
async fn misuse(address: String, stop: Arc<AtomicBool>) {
    let mut link = link_to(&address).await.unwrap();
    let value = "x".repeat(64 << 10);
    let mut i = 0u64;
    while !stop.load(Ordering::Relaxed) {
        i += 1;
        let key = format!("big:{i}");
        let slow = "local n = 0 for i = 1, 300000 do n = n + i end return n";
        for args in [
            &["SET", &key, &value][..],
            &["SET", "brief", "x", "PX", "100"],
            &["GET", &key],
            &["EVAL", slow, "0"],
            &["LPUSH", &key, "not a list"],
        ] {
            let _ = link.call(args, wait::PATIENCE).await;
        }
        if i.is_multiple_of(10) {
            let _ = link.call(&["CONFIG", "SET", "maxclients", "1"], wait::PATIENCE).await;
            refused(&address).await;
            let _ = link.call(&["CONFIG", "SET", "maxclients", "10000"], wait::PATIENCE).await;
            let _ = link.call(&["BGSAVE"], wait::PATIENCE).await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// One connection the server turns away, or none when it went while it was tried.
async fn refused(address: &str) {
    if let Ok(mut socket) = TcpStream::connect(address).await {
        let _ = socket.read(&mut [0; 64]).await;
    }
}

/// A client in a blocking command.
async fn waiting(address: String, stop: Arc<AtomicBool>) {
    let mut socket = TcpStream::connect(&address).await.unwrap();
    socket.write_all(b"BLPOP nothing-here 0\r\n").await.unwrap();
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// A query as Grafana would send it, with everything chosen.
fn resolved(expr: &str) -> String {
    let mut expr = expr.replace("$__rate_interval", "10s").replace("$__range", "60s");
    for var in ["tenant", "system", "service", "instance", "zone"] {
        expr = expr.replace(&format!("${var}"), ".*");
    }
    expr
}

/// What is wrong with a panel's data now; none when all of its queries have some.
async fn lacks(prometheus: &Prometheus, panel: &Panel) -> Option<String> {
    let mut nonzero = false;
    for target in &panel.targets {
        let expr = resolved(&target.expr);
        let series: Vec<Vec<f64>> = match panel.is_instant() {
            true => prometheus.now(&expr).await.into_iter().map(|(_, v)| vec![v]).collect(),
            false => {
                let all = prometheus.lately(&expr, RANGE_S).await;
                all.into_iter().map(|(_, values)| values).collect()
            }
        };
        let numbers: Vec<f64> = series.into_iter().flatten().filter(|v| !v.is_nan()).collect();
        if numbers.is_empty() {
            return Some(format!("no data: {expr}"));
        }
        nonzero |= numbers.iter().any(|v| *v != 0.0);
    }
    (!nonzero && panel.zero.is_none()).then(|| "nothing but zeros".to_string())
}

type Wanted = Vec<(Board, Panel)>;

fn panels(wanted: impl Fn(&Panel) -> bool) -> Wanted {
    let of = |board: Board| {
        let all: Wanted = board.panels().map(|p| (board.clone(), p.clone())).collect();
        all
    };
    boards::all().into_iter().flat_map(of).filter(|(_, panel)| wanted(panel)).collect()
}

/// Asks again and again for what has no data yet, until everything has.
async fn everything_shows(prometheus: &Prometheus, wanted: Wanted) {
    let end = Instant::now() + 3 * wait::PATIENCE;
    let mut left = wanted;
    while !left.is_empty() {
        let mut still = Vec::new();
        let mut why = Vec::new();
        for (board, panel) in left {
            if let Some(lack) = lacks(prometheus, &panel).await {
                why.push(format!("{} / {}: {lack}", board.uid, panel.title));
                still.push((board, panel));
            }
        }
        left = still;
        assert!(left.is_empty() || Instant::now() < end, "panels lack:\n{}", why.join("\n"));
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
}

/// Who chooses a tenant that has nothing sees nothing: no figure of another.
async fn a_choice_narrows(prometheus: &Prometheus) {
    for (board, panel) in panels(|p| p.targets.iter().any(|t| t.expr.contains("$tenant"))) {
        for target in panel.targets.iter().filter(|t| t.expr.contains("$tenant")) {
            let expr = resolved(&target.expr.replace("$tenant", "nobody"));
            for (labels, value) in prometheus.now(&expr).await {
                // What is counted is 0 then, and not missing.
                let none = labels.as_object().is_some_and(|l| l.is_empty()) && value == 0.0;
                assert!(none, "{} / {}: {expr} says {value} of {labels}", board.uid, panel.title);
            }
        }
    }
}

/// Variables have values to choose from; the portal's address is known.
async fn variables_have_values(prometheus: &Prometheus, portal: &str) {
    let mut asked: BTreeMap<String, &str> = BTreeMap::new();
    for board in boards::all() {
        for var in board.vars {
            asked.insert(resolved(var.of), var.name);
        }
    }
    for (selector, label) in asked {
        let values = prometheus.label_values(&selector, label).await;
        assert!(!values.is_empty(), "no value of {label} in {selector}");
    }
    let (selector, label) = ("cachewarden_portal_info", "url");
    assert_eq!(PORTAL, format!("label_values({selector}, {label})"));
    assert_eq!(prometheus.label_values(selector, label).await, [portal]);
}

/// Every name of other people's dashboards answers with the labels they choose by.
async fn old_dashboards_show(prometheus: &Prometheus) {
    for row in compat::rows() {
        let labels: Vec<String> = row.labels.iter().map(|l| format!("{l}!=\"\"")).collect();
        let selector = format!("{}{{{}}}", row.metric, labels.join(","));
        // A scrape that was late once leaves a hole in an instant query.
        let what = format!("data for {} / {}: {selector}", row.dashboard, row.panel);
        wait::until(&what, || async {
            (!prometheus.now(&selector).await.is_empty()).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_panel_has_data_of_a_real_fleet_and_so_has_every_name_of_the_popular_dashboards() {
    let mut alertmanager = Alertmanager::prepare(None);
    let (fleet, ()) = tokio::join!(Fleet::start(), alertmanager.start());
    let more = format!(
        "[exporter.sd]\ncompat_labels = true\n[alerter]\nresend_s = 5\n[[alerter.alertmanager]]\nurl = \"{}\"\n",
        alertmanager.url()
    );
    let warden = Cachewarden::start(&more).await;
    let mut document = inventory(fleet.services());
    document["policies"] = json!([{
        "policy": "instance-down", "scope": "tenant:pay", "levels": {"critical": {"for": "1s"}},
    }]);
    warden.apply(&document).await;
    let host = warden.url.trim_start_matches("http://").to_string();
    let load = Load::start(&fleet);
    let prometheus = Prometheus::start(&host).await;

    everything_shows(&prometheus, panels(|p| p.empty.is_none() && p.missing.is_none())).await;
    variables_have_values(&prometheus, &warden.url).await;
    old_dashboards_show(&prometheus).await;
    a_choice_narrows(&prometheus).await;
    for (board, panel) in panels(|p| p.empty.is_some()) {
        let lack = lacks(&prometheus, &panel).await;
        let why = panel.empty.unwrap_or_default();
        assert!(lack.is_some(), "{} / {} has data after all: {why}", board.uid, panel.title);
    }
    let own = warden.get("/metrics/self").await.1;
    for (name, _, _) in names::OWN.iter().filter(|o| o.0 != "cachewarden_watchdog_age_seconds") {
        assert!(own.lines().any(|l| l.starts_with(name)), "{name} is not on /metrics/self");
    }
    load.stop().await;
}
