//! A-cpu: twenty rules over ten thousand instances: Prometheus 2.42 with them less without them, beside
//! the same twenty policies in the embedded evaluator.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use alerter::defaults;
use model::policy::PolicyDoc;
use tests::fleet::{free_port, program};
use tests::wait;
use tokio::time::sleep;

use crate::cpu;
use crate::figure::ratio;
use crate::fleet::{INSTANCES, INTERVAL_MS, Judged, SERIES, T0, value};

/// Policies of twenty rules of the catalogue, on the series of the toy page.
const POLICIES: [&str; 18] = [
    "scrape-slow",
    "restarted",
    "crash-loop",
    "loading-long",
    "memory-used",
    "fragmentation",
    "swapping",
    "clients-used",
    "rejected-connections",
    "output-buffer-kills",
    "auth-failures",
    "replica-link-down",
    "full-resync-loop",
    "bgsave-failed",
    "aof-write-failed",
    "cpu-saturated",
    "slowlog-rate",
    "connection-churn",
];
const RULES: usize = 20;
const CATALOGUE: &str = include_str!("../../../rules/catalogue/alerts.yml");
const SETTLE: Duration = Duration::from_secs(45);
/// Whole intervals.
const WINDOW: Duration = Duration::from_secs(60);
const ROUNDS: usize = 3;

/// Prints the figures.
pub async fn run() {
    let toy = toy();
    let (mut with, mut without) = (Vec::new(), Vec::new());
    let asked = std::env::var("ROUNDS").ok().and_then(|n| n.parse().ok());
    for _ in 0..asked.unwrap_or(ROUNDS).max(1) {
        without.push(prometheus(&toy, "").await);
        with.push(prometheus(&toy, &rules()).await);
    }
    let (with, without) = (median(with), median(without));
    let theirs = with - without;
    let ours = ours();
    let context = format!(
        "CPU seconds a minute for {INSTANCES} instances x {RULES} rules every 15 s: ours {ours:.3}, \
         Prometheus {theirs:.2} ({with:.2} with the rules, {without:.2} without)"
    );
    ratio("A-cpu", ours / theirs, (0.1, 0.05), context);
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// CPU seconds of a minute of evaluation in process.
fn ours() -> f64 {
    let here = |d: &&PolicyDoc| POLICIES.contains(&d.policy.as_str());
    let docs: Vec<PolicyDoc> = defaults::policies()
        .iter()
        .filter(here)
        .map(|d| PolicyDoc { enabled: None, ..d.clone() })
        .collect();
    let judged = Judged::new(&docs);
    let mut spent = Vec::new();
    for round in 0..160 {
        let ms = judged.judge(&judged.rows(T0 + round * INTERVAL_MS));
        // Half an hour fills the windows.
        if round >= 120 {
            spent.push(ms);
        }
    }
    let rounds = WINDOW.as_millis() as f64 / INTERVAL_MS as f64;
    median(spent) / 1000.0 * rounds
}

/// The catalogue's rules of these policies, one group.
fn rules() -> String {
    let all: serde_json::Value = serde_saphyr::from_str(CATALOGUE).expect("YAML");
    let groups = all["groups"].as_array().expect("groups").iter();
    let rules: Vec<&serde_json::Value> = groups
        .flat_map(|g| g["rules"].as_array().expect("rules"))
        .filter(|r| r["labels"]["policy"].as_str().is_some_and(|p| POLICIES.contains(&p)))
        .collect();
    assert_eq!(rules.len(), RULES);
    // JSON is YAML.
    serde_json::json!({ "groups": [{ "name": "bench", "rules": rules }] }).to_string()
}

/// One page with the series of all instances, anew at each scrape.
fn toy() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let began = Instant::now();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let mut page = String::with_capacity(32 << 20);
            let s = began.elapsed().as_secs_f64();
            for name in SERIES {
                for i in 0..INSTANCES {
                    use std::fmt::Write as _;
                    let (tenant, value) = (i / 2 % 20, value(name, i, s));
                    let _ = writeln!(
                        page,
                        "{name}{{instance=\"i{i}\",tenant=\"t{tenant}\",service=\"s{}\"}} {value}",
                        i / 2
                    );
                }
            }
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\n\
                 connection: close\r\ncontent-length: {}\r\n\r\n",
                page.len()
            );
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(page.as_bytes());
        }
    });
    address
}

struct Running(Child, #[allow(dead_code, reason = "removed when dropped")] tempfile::TempDir);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// CPU seconds a Prometheus uses in the window.
async fn prometheus(toy: &str, rules: &str) -> f64 {
    let dir = tempfile::tempdir().expect("tempdir");
    let rule_file = dir.path().join("rules.yml");
    std::fs::write(&rule_file, if rules.is_empty() { "groups: []" } else { rules }).expect("rules");
    let config = dir.path().join("prometheus.yml");
    let text = format!(
        "global: {{scrape_interval: 15s, evaluation_interval: 15s}}\nrule_files: [{rule_file:?}]\n\
         scrape_configs:\n  - job_name: toy\n    honor_labels: true\n    static_configs: \
         [{{targets: ['{toy}']}}]\n"
    );
    std::fs::write(&config, text).expect("configuration");
    let address = format!("127.0.0.1:{}", free_port("127.0.0.1"));
    let child = Command::new(program("prometheus"))
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("prometheus starts");
    let running = Running(child, dir);
    let http = reqwest::Client::builder().no_proxy().build().expect("client");
    wait::until_within("Prometheus scraped the page", Duration::from_secs(120), || async {
        let url = format!("http://{address}/api/v1/query?query=count(redis_up==1)");
        let answer: serde_json::Value = http.get(url).send().await.ok()?.json().await.ok()?;
        let count = answer["data"]["result"][0]["value"][1].as_str()?.parse::<usize>().ok()?;
        (count >= INSTANCES).then_some(())
    })
    .await;
    sleep(SETTLE).await;
    let pid = running.0.id();
    let before = cpu::of_process(pid);
    sleep(WINDOW).await;
    cpu::of_process(pid) - before
}
