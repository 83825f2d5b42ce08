//! A-breach, A-storm: from a sample to the POST, and five thousand alerts that begin at once.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alerter::{Alerter, AlertmanagerConfig, Config};
use model::At;
use model::policy::PolicyDoc;
use model::reading::Reading;
use model::row::Row;
use model::service::Instance;
use model::verdict::Verdict;
use store::{Migrate, Store};

use crate::figure::{Figure, quantile};
use crate::fleet;

const STORM: usize = 5_000;
const BREACHES: usize = 100;

/// Plays Alertmanager: takes everything, notes when each alert came first.
#[derive(Default)]
struct Sink {
    requests: AtomicUsize,
    seen: Mutex<std::collections::HashMap<String, Instant>>,
}

impl Sink {
    fn start() -> (Arc<Sink>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let sink = Arc::new(Sink::default());
        let own = sink.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sink = own.clone();
                std::thread::spawn(move || sink.serve(stream));
            }
        });
        (sink, url)
    }

    fn serve(&self, stream: TcpStream) {
        let mut out = stream.try_clone().expect("a second handle");
        let mut reader = BufReader::new(stream);
        loop {
            let mut length = 0;
            let mut line = String::new();
            while {
                line.clear();
                reader.read_line(&mut line).unwrap_or(0) > 2
            } {
                let lower = line.to_ascii_lowercase();
                if let Some(n) = lower.strip_prefix("content-length:") {
                    length = n.trim().parse().unwrap_or(0);
                }
            }
            if line.is_empty() {
                return;
            }
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_err() {
                return;
            }
            let now = Instant::now();
            let alerts: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap_or_default();
            let mut seen = self.seen.lock().expect("no panic");
            for instance in alerts.iter().filter_map(|a| a["labels"]["instance"].as_str()) {
                seen.entry(instance.to_string()).or_insert(now);
            }
            drop(seen);
            self.requests.fetch_add(1, Ordering::Relaxed);
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            if out.write_all(answer).is_err() {
                return;
            }
        }
    }

    fn has(&self, instance: &str) -> Option<Instant> {
        self.seen.lock().expect("no panic").get(instance).copied()
    }
}

fn now() -> At {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    At::from_ms(since.expect("after 1970").as_millis() as i64)
}

fn down(instance: &Arc<Instance>, i: usize) -> Row {
    let row = fleet::row(instance, i, now());
    let reading =
        Arc::new(Reading { up: false, facts: Default::default(), ..(*row.reading).clone() });
    Row { reading, verdict: Verdict::Down("refused".into()), ..row }
}

/// Prints the figures.
pub async fn run() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", dir.path().join("cw.db").display());
    let config = store::Config { url, key_file: None, key_env: None, key_command: None };
    let store = Arc::new(Store::open(&config, Migrate::Now).await.expect("the store opens"));
    let (sink, url) = Sink::start();
    let am =
        AlertmanagerConfig { url, bearer_file: None, basic_user: None, basic_password_file: None };
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let config = Config { alertmanager: vec![am], ..Config::default() };
    let alerter = Arc::new(Alerter::new(config, store, http, "http://127.0.0.1".into()));
    alerter.restore(now()).await.expect("restores");
    let inventory = fleet::inventory(STORM + BREACHES);
    let at_once = "{policy: instance-down, scope: platform, levels: {critical: {for: 0s}}}";
    let at_once: PolicyDoc = serde_saphyr::from_str(at_once).expect("a policy");
    alerter.rebuild(&inventory, &[at_once], now());
    let instances: Vec<Arc<Instance>> =
        inventory.instances.values().cloned().map(Arc::new).collect();
    let own = alerter.clone();
    let delivery = tokio::spawn(async move {
        loop {
            own.deliver(0, now()).await;
            let wake = own.delivery_wake(0).notified();
            let _ = tokio::time::timeout(Duration::from_secs(1), wake).await;
        }
    });
    breaches(&alerter, &sink, &instances[..BREACHES]).await;
    storm(&alerter, &sink, &instances[BREACHES..]).await;
    delivery.abort();
}

async fn breaches(alerter: &Arc<Alerter>, sink: &Arc<Sink>, instances: &[Arc<Instance>]) {
    let mut took = Vec::new();
    for (i, instance) in instances.iter().enumerate() {
        tokio::time::sleep(Duration::from_millis(37)).await;
        let row = down(instance, i);
        let began = Instant::now();
        alerter.evaluate(&row, row.reading.at);
        let id = instance.id.to_string();
        let seen = tests::wait::until("the POST", || async { sink.has(&id) }).await;
        took.push((seen - began).as_secs_f64());
    }
    let context =
        format!("sample to POST, for: 0, p99 of {BREACHES}; the scrape interval comes on top");
    let value = quantile(took, 0.99);
    Figure { id: "A-breach", value, unit: "s", gate: 0.5, stretch: 0.1, context }.print();
}

async fn storm(alerter: &Arc<Alerter>, sink: &Arc<Sink>, instances: &[Arc<Instance>]) {
    let rows: Vec<Row> = instances.iter().enumerate().map(|(i, x)| down(x, i)).collect();
    let before = sink.requests.load(Ordering::Relaxed);
    let began = Instant::now();
    rows.iter().for_each(|row| alerter.evaluate(row, row.reading.at));
    let ids: Vec<String> = instances.iter().map(|x| x.id.to_string()).collect();
    let all = || async { ids.iter().all(|id| sink.has(id).is_some()).then_some(()) };
    tests::wait::until("all alerts at the sink", all).await;
    let seen = ids.iter().filter_map(|id| sink.has(id)).max().expect("all came");
    let value = (seen - began).as_secs_f64();
    let requests = sink.requests.load(Ordering::Relaxed) - before;
    let context = format!("{STORM} alerts begin at once, all at the sink");
    Figure { id: "A-storm", value, unit: "s", gate: 2.0, stretch: 1.0, context }.print();
    let context = format!("POSTs of these {STORM} alerts");
    let value = requests as f64;
    Figure { id: "A-storm-posts", value, unit: "requests", gate: 40.0, stretch: 25.0, context }
        .print();
    let began = Instant::now();
    alerter.round(now()).await.expect("written");
    let value = began.elapsed().as_secs_f64();
    let context = format!("{STORM} steps and states written in one transaction (SQLite)");
    Figure { id: "A-storm-store", value, unit: "s", gate: 5.0, stretch: 2.0, context }.print();
}
