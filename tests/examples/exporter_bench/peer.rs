//! The two exporters as processes: cachewarden with an inventory of the bench's targets, and
//! redis_exporter.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tests::fleet::{free_port, program};
use tests::process::{Cachewarden, Options, inventory};
use tests::wait;

/// Starting with ten thousand connections on a busy machine.
const UP_WITHIN: Duration = Duration::from_secs(300);

/// What differs from a plain start of ours.
#[derive(Default)]
pub struct Setup<'a> {
    /// Lines of the section `exporter`.
    pub exporter: &'a str,
    /// The authority that services know as `shared/ca.pem`.
    pub authority: Option<&'a Path>,
}

/// cachewarden that polls every target of `services` every 15 s and has reached `up` of them.
pub async fn ours(services: Vec<Value>, up: usize, setup: Setup<'_>) -> Cachewarden {
    let mut warden = Cachewarden::prepared(&Options::default());
    let text = std::fs::read_to_string(warden.config()).expect("configuration");
    let mut text = text.replace("interval_s = 1", &format!("interval_s = 15\n{}", setup.exporter));
    if let Some(authority) = setup.authority {
        let dir = warden.dir.join("tls");
        std::fs::create_dir_all(dir.join("_shared")).expect("a folder");
        std::fs::copy(authority, dir.join("_shared/ca.pem")).expect("a certificate");
        text = text.replace("[link]", &format!("[link]\ntls_dir = \"{}\"", dir.display()));
    }
    std::fs::write(warden.config(), text).expect("configuration");
    warden.spawn_with(&[]);
    warden.answers().await;
    let mut fleet = inventory(services.into());
    // In production hardly any server is younger than five minutes; here every one is.
    fleet["policies"] = json!([{"policy": "restarted", "scope": "tenant:pay",
        "enabled": false, "until": "2099-01-01T00:00:00Z"}]);
    warden.apply(&fleet).await;
    // Every target was polled once, so connections are open and windows have a sample.
    wait::until_within("every target is up", UP_WITHIN, || async {
        let (_, page) = warden.get("/metrics").await;
        (page.lines().filter(|l| is_up(l)).count() >= up).then_some(())
    })
    .await;
    warden
}

fn is_up(line: &str) -> bool {
    line.starts_with("cachewarden_instance_state{") && line.contains("state=\"up\"")
}

/// Standalone services of `size` targets each.
pub fn services(targets: &[String], size: usize) -> Vec<Value> {
    let one = |address: &String| json!({"address": address, "zone": "az-1"});
    let chunks = targets.chunks(size).enumerate();
    chunks
        .map(|(i, chunk)| {
            let instances: Vec<Value> = chunk.iter().map(one).collect();
            json!({"id": format!("s{i}"), "system": "shop", "instances": instances, "replicas": 0})
        })
        .collect()
}

/// The instance id of a target under [`services`].
pub fn id(targets: &[String], size: usize, index: usize) -> String {
    format!("pay.s{}@{}", index / size, targets[index])
}

/// A release of redis_exporter to compare with.
pub struct Release {
    /// Its version.
    pub version: &'static str,
    /// What its figures' ids end in.
    pub suffix: &'static str,
    program: PathBuf,
}

/// Debian's, and a current one where `tests/bench/exporter.sh` could fetch it.
pub fn releases() -> Vec<Release> {
    let program = program("prometheus-redis-exporter");
    let mut all = vec![Release { version: "1.45", suffix: "", program }];
    if let Some(program) = std::env::var_os("PEER_CURRENT").filter(|p| !p.is_empty()) {
        all.push(Release { version: "1.69", suffix: "-1.69", program: program.into() });
    }
    all
}

/// A running redis_exporter.
pub struct Theirs {
    child: Child,
    /// `host:port`.
    pub address: String,
}

impl Theirs {
    /// Starts a release that scrapes what it is asked for, with its defaults.
    pub fn start(release: &Release) -> Theirs {
        let address = format!("127.0.0.1:{}", free_port("127.0.0.1"));
        let child = Command::new(&release.program)
            .args(["-web.listen-address", &address, "-redis.addr", ""])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis_exporter starts");
        Theirs { child, address }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The page of a target.
    pub fn url(&self, target: &str) -> String {
        format!("http://{}/scrape?target=redis://{target}", self.address)
    }

    /// Waits until it answers.
    pub async fn answers(&self, http: &reqwest::Client) {
        let url = format!("http://{}/health", self.address);
        wait::until("redis_exporter answers", || async { http.get(&url).send().await.ok() }).await;
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A value of a page that holds one series of that start.
pub fn value(page: &str, start: &str) -> Option<f64> {
    let line = page.lines().find(|l| l.starts_with(start))?;
    line.rsplit(' ').next()?.parse().ok()
}
