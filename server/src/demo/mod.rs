//! `cachewarden demo`: a real fleet on this machine, watched, broken and mended before the reader's
//! eyes; with `--check` the same, unattended, with a verdict.
//!
//! Invariant: everything listens on loopback and on free ports, lives in one folder of its own, and
//! is ended and removed when the demonstration ends, however it ends but by SIGKILL.

mod check;
mod client;
mod files;
mod fleet;
mod load;
mod narrate;
mod pager;
mod process;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use client::Client;
use files::Parts;
use fleet::Fleet;
use narrate::say;
use pager::Pager;
use process::Process;

/// Name of the administrator of the demonstration.
const ADMIN: &str = "demo-admin";
/// Time to look around before something breaks.
const CALM: Duration = Duration::from_secs(30);

/// What the command line gives.
pub struct Options {
    /// Observe everything unattended and answer with a verdict.
    pub check: bool,
    /// Folder with redis-server, prometheus and prometheus-alertmanager.
    pub engines: PathBuf,
}

/// The whole demonstration, running.
struct Demo {
    start: Instant,
    dir: PathBuf,
    parts: Parts,
    fleet: Fleet,
    warden: Process,
    peers: Vec<Process>,
    pager: Pager,
    client: Client,
    password: String,
    clients: Vec<load::Client>,
}

/// Runs the demonstration; true when it ended as it should.
pub async fn run(options: Options) -> anyhow::Result<bool> {
    let dir = std::env::temp_dir().join(format!("cachewarden-demo-{}", random_hex(4)?));
    std::fs::create_dir(&dir).with_context(|| format!("making {}", dir.display()))?;
    let stop = CancellationToken::new();
    let ended = tokio::select! {
        ended = guided(&options, &dir, stop.clone()) => ended,
        () = interrupted() => {
            println!("\nstopping");
            Ok(!options.check)
        }
    };
    stop.cancel();
    tidy(&dir).await;
    ended
}

async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate()).expect("SIGTERM can be listened to");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = term.recv() => {}
    }
}

/// Ends what the provider's records name and removes the folder. The other processes end with
/// their `Process` values.
async fn tidy(dir: &Path) {
    let nodes = dir.join("nodes");
    if let Ok(local) = ops::provider::Local::open(&nodes) {
        for node in local.nodes().unwrap_or_default() {
            if let Err(e) = local.release(&node).await {
                eprintln!("demo: {}: {e}", node.address);
            }
        }
    }
    if let Err(e) = std::fs::remove_dir_all(dir) {
        eprintln!("demo: removing {}: {e}", dir.display());
    }
}

async fn guided(options: &Options, dir: &Path, stop: CancellationToken) -> anyhow::Result<bool> {
    let mut demo = Demo::start(options, dir).await?;
    let telling = narrate::narrate(demo.client.clone(), demo.start, stop.clone());
    let telling = tokio::spawn(telling);
    let ended = if options.check { check::run(&mut demo).await } else { demo.guide().await };
    stop.cancel();
    let _ = telling.await;
    demo.stop();
    ended
}

impl Demo {
    async fn start(options: &Options, dir: &Path) -> anyhow::Result<Demo> {
        let start = Instant::now();
        let engine = |name: &str| -> anyhow::Result<PathBuf> {
            let path = options.engines.join(name);
            let path = std::fs::canonicalize(&path);
            path.with_context(|| format!("{name} is not in {}", options.engines.display()))
        };
        // A symbolic link named redis-server may lead to redis-check-rdb, which decides by its name
        // what it is: the path in the folder is used, not what it leads to.
        let redis = std::path::absolute(options.engines.join("redis-server"))?;
        engine("redis-server")?;
        say(start, "starting 13 Redis processes over the zones 127.0.1.1, 127.0.2.1, 127.0.3.1");
        let fleet = Fleet::start(&dir.join("nodes"), &redis).await?;
        let pager = Pager::start().await?;
        let parts = Parts {
            warden: free_address()?,
            prometheus: free_address()?,
            alertmanager: free_address()?,
            pager: pager.address.to_string(),
        };
        files::warden(dir, &parts)?;
        say(start, "starting cachewarden");
        let serve = vec!["serve".into(), "--config".into(), shown(dir, "cachewarden.toml")];
        let program = std::env::current_exe()?;
        let mut warden = Process::start("cachewarden", &program, serve, dir.join("warden.log"))?;
        let password = random_hex(10)?;
        let client = sign_in(&parts, &mut warden, &password).await?;
        set_up(&client, &fleet).await?;
        files::peers(dir, &parts, &client.token("intake").await?)?;
        say(start, "starting Prometheus and Alertmanager");
        let peers = vec![
            prometheus(&engine("prometheus")?, dir, &parts)?,
            alertmanager(&engine("prometheus-alertmanager")?, dir, &parts)?,
        ];
        let clients = fleet.finders().map(load::Client::light).into_iter().collect();
        let dir = dir.to_path_buf();
        Ok(Demo { start, dir, parts, fleet, warden, peers, pager, client, password, clients })
    }

    /// Prints where to look, breaks a replica after a while and waits to be stopped.
    async fn guide(&mut self) -> anyhow::Result<bool> {
        let Parts { warden, prometheus, alertmanager, .. } = &self.parts;
        println!();
        println!("  portal        http://{warden}");
        println!("  sign in as    {ADMIN}  {}", self.password);
        println!("  prometheus    http://{prometheus}");
        println!("  alertmanager  http://{alertmanager}");
        println!("  files, logs   {}", self.dir.display());
        println!();
        println!("  Runbook replica-restart is switched to auto for tenant demo, all others only");
        println!("  observe. In {} s a replica is killed. Ctrl-C ends everything.", CALM.as_secs());
        println!();
        tokio::time::sleep(CALM).await;
        let (_, replicas) = self.fleet.cart_roles().await;
        let replica = replicas.first().context("the Sentinel service has a replica")?.clone();
        say(self.start, &format!("✕ the demonstration kills the replica {replica} (kill -9)"));
        self.fleet.kill(&replica).await?;
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.warden.check()?;
            self.peers.iter_mut().try_for_each(Process::check)?;
        }
    }

    /// Ends everything but the nodes, in reverse order.
    fn stop(mut self) {
        self.clients.clear();
        while let Some(mut peer) = self.peers.pop() {
            peer.stop();
        }
        self.warden.stop();
    }
}

/// Waits for the process, reads the setup token it prints and creates the administrator.
async fn sign_in(parts: &Parts, warden: &mut Process, password: &str) -> anyhow::Result<Client> {
    let url = format!("http://{}", parts.warden);
    let log = warden.log().to_path_buf();
    let mut ended = Ok(());
    let token = fleet::until("cachewarden prints its setup token", async || {
        ended = warden.check();
        if ended.is_err() {
            return Some(String::new());
        }
        let log = std::fs::read_to_string(&log).ok()?;
        let mut lines = log.lines().skip_while(|l| !l.contains("with the setup token"));
        Some(lines.nth(1)?.trim().to_string())
    })
    .await?;
    ended?;
    fleet::until("cachewarden is ready", async || {
        let answer = reqwest::get(format!("{url}/readyz")).await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await?;
    Client::set_up(&url, &token, ADMIN, password).await
}

/// Applies the inventory and switches one runbook to auto for the demonstration's own tenant.
async fn set_up(client: &Client, fleet: &Fleet) -> anyhow::Result<()> {
    let inventory = files::inventory(fleet, crate::serve::clock());
    let applied = client.post("/apply", &inventory, &[]).await?;
    if applied.status >= 300 {
        bail!("applying the inventory: {} {}", applied.status, applied.body);
    }
    let mode = json!({"scope": "tenant:demo", "mode": "auto", "reason": "demonstration"});
    let path = "/runbooks/replica-restart/mode";
    let set = client.put(path, &mode, &[("if-match", "*")]).await?;
    if set.status >= 300 {
        bail!("switching replica-restart to auto: {} {}", set.status, set.body);
    }
    Ok(())
}

fn prometheus(program: &Path, dir: &Path, parts: &Parts) -> anyhow::Result<Process> {
    let args = vec![
        format!("--config.file={}", shown(dir, "prometheus.yml")),
        format!("--storage.tsdb.path={}", shown(dir, "prometheus")),
        format!("--web.listen-address={}", parts.prometheus),
        "--storage.tsdb.retention.time=1d".into(),
    ];
    Process::start("prometheus", program, args, dir.join("prometheus.log"))
}

fn alertmanager(program: &Path, dir: &Path, parts: &Parts) -> anyhow::Result<Process> {
    let args = vec![
        format!("--config.file={}", shown(dir, "alertmanager.yml")),
        format!("--storage.path={}", shown(dir, "alertmanager")),
        format!("--web.listen-address={}", parts.alertmanager),
        "--cluster.listen-address=".into(),
    ];
    Process::start("alertmanager", program, args, dir.join("alertmanager.log"))
}

fn shown(dir: &Path, name: &str) -> String {
    dir.join(name).display().to_string()
}

/// A loopback address with a port that is free now, below the ephemeral range.
fn free_address() -> anyhow::Result<String> {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 22_000 + (std::process::id() % 2_000) as u16;
    loop {
        let port = start + NEXT.fetch_add(1, Ordering::Relaxed);
        if port > 30_000 {
            bail!("no free port between {start} and 30000 on 127.0.0.1");
        }
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(format!("127.0.0.1:{port}"));
        }
    }
}

/// Random bytes as hex digits.
fn random_hex(bytes: usize) -> anyhow::Result<String> {
    let mut buffer = vec![0; bytes];
    getrandom::fill(&mut buffer).map_err(|e| anyhow::anyhow!("no randomness: {e}"))?;
    Ok(hex::encode(buffer))
}
