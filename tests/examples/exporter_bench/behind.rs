//! E10: what a Prometheus costs that scrapes our lean pages, beside one that scrapes redis_exporter.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tests::fleet::{free_port, program};
use tests::wait;
use tokio::time::sleep;

use crate::figure::ratio;
use crate::peer::{self, Setup, Theirs};
use crate::{Server, cpu, start, warm};

const SERVERS: u8 = 16;
/// Several blocks of samples and a stable heap.
const WINDOW: Duration = Duration::from_secs(90);

/// Prints the figures.
pub async fn run() {
    let servers: Vec<Server> = (0..SERVERS).map(|i| start(60 + i)).collect();
    sleep(Duration::from_secs(1)).await;
    servers.iter().for_each(warm);
    let targets: Vec<String> = servers.iter().flat_map(Server::targets).collect();
    let release = peer::releases().swap_remove(0);
    let theirs = Theirs::start(&release);
    let job = format!(
        "  - job_name: redis\n    metrics_path: /scrape\n    static_configs:\n      - targets: {}\n    \
         relabel_configs:\n      - {{source_labels: [__address__], target_label: __param_target}}\n      \
         - {{source_labels: [__param_target], target_label: instance}}\n      \
         - {{target_label: __address__, replacement: '{}'}}\n",
        serde_json::json!(targets.iter().map(|t| format!("redis://{t}")).collect::<Vec<_>>()),
        theirs.address
    );
    let b = cost(&job, targets.len()).await;
    drop(theirs);
    let lean = Setup { exporter: "profile = \"lean\"", ..Setup::default() };
    let warden = peer::ours(peer::services(&targets, 4), targets.len(), lean).await;
    let job =
        format!("  - job_name: redis\n    http_sd_configs:\n      - url: '{}/sd'\n", warden.url);
    let a = cost(&job, targets.len()).await;
    let said = |what: &str, a: f64, b: f64| {
        format!(
            "Prometheus' {what}: {a:.2} behind us (lean), {b:.2} behind redis_exporter 1.45; {} targets every 15 s",
            targets.len()
        )
    };
    ratio("E10", a.cpu / b.cpu, (0.25, 0.2), said("CPU seconds", a.cpu, b.cpu));
    ratio("E10-rss", a.rss / b.rss, (0.25, 0.2), said("MiB above an idle one", a.rss, b.rss));
}

struct Cost {
    /// Seconds in the window.
    cpu: f64,
    /// MiB more than before the first scrape.
    rss: f64,
}

struct Prometheus {
    child: Child,
    _dir: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn cost(job: &str, targets: usize) -> Cost {
    let idle = prometheus("  []\n").await;
    let rest = cpu::rss_mib(idle.0.child.id());
    drop(idle);
    let (running, url) = prometheus(&format!("\n{job}")).await;
    let http = reqwest::Client::builder().no_proxy().build().expect("client");
    wait::until_within("Prometheus scrapes all", Duration::from_secs(120), || async {
        let asked = http.get(format!("{url}/api/v1/query?query=count(redis_up==1)"));
        let answer: serde_json::Value = asked.send().await.ok()?.json().await.ok()?;
        let count = answer["data"]["result"][0]["value"][1].as_str()?.parse::<usize>().ok()?;
        (count >= targets).then_some(())
    })
    .await;
    let before = cpu::of_process(running.child.id());
    sleep(WINDOW).await;
    let pid = running.child.id();
    Cost { cpu: cpu::of_process(pid) - before, rss: (cpu::rss_mib(pid) - rest).max(0.1) }
}

async fn prometheus(jobs: &str) -> (Prometheus, String) {
    let dir = tempfile::tempdir().expect("tempdir");
    let config = dir.path().join("prometheus.yml");
    let text = format!("global: {{scrape_interval: 15s}}\nscrape_configs:{jobs}");
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
    let url = format!("http://{address}");
    let http = reqwest::Client::builder().no_proxy().build().expect("client");
    wait::until("Prometheus is ready", || async {
        let answer = http.get(format!("{url}/-/ready")).send().await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
    (Prometheus { child, _dir: dir }, url)
}
