//! Real redis-server, Sentinel and Cluster processes over three loopback "zones"
//! (127.0.1.1, 127.0.2.1, 127.0.3.1), each with its own folder.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::wait;

/// Addresses of the three zones.
pub const ZONES: [&str; 3] = ["127.0.1.1", "127.0.2.1", "127.0.3.1"];

/// One process.
pub struct Node {
    /// `host:port`.
    pub address: String,
    /// Loopback address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Its folder, with `redis.conf` and `log`.
    pub dir: PathBuf,
    program: PathBuf,
    sentinel: bool,
    child: Option<Child>,
}

/// A set of processes, stopped when dropped.
pub struct RedisFleet {
    /// The processes; services built by the methods below are appended.
    pub nodes: Vec<Node>,
    dir: tempfile::TempDir,
    program: PathBuf,
}

/// A Sentinel service: indices into `RedisFleet::nodes`.
pub struct SentinelService {
    /// First master.
    pub master: usize,
    /// Its replicas.
    pub replicas: Vec<usize>,
    /// Its Sentinels.
    pub sentinels: Vec<usize>,
    /// Name at the Sentinels.
    pub name: String,
}

/// Ports whose bus port, 10 000 above, is below the kernel's ephemeral range too (32 768), so that no
/// outgoing connection holds either between choosing and use.
const PORTS: std::ops::Range<u16> = 20_000..22_700;

/// A free port; each call gives another.
pub fn free_port(host: &str) -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Spread over processes: nextest runs each test in its own.
    let count = PORTS.end - PORTS.start;
    let start = (std::process::id() as u16).wrapping_mul(97) % count;
    for _ in 0..count {
        let next = NEXT.fetch_add(1, Ordering::Relaxed) % count;
        let port = PORTS.start + (start + next) % count;
        let free = |p: u16| TcpListener::bind((host, p)).is_ok();
        if free(port) && free(port + 10_000) {
            return port;
        }
    }
    panic!("no free port on {host}");
}

/// Finds a program on the PATH; panics with its package when it is missing.
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/lib/postgresql/15/bin")])
        .map(|dir| dir.join(name))
        .find(|p| p.is_file())
        .unwrap_or_else(|| panic!("{name} is not installed; tests/run.sh installs what tests need"))
}

impl RedisFleet {
    /// An empty fleet running the distribution's redis-server.
    pub fn new() -> RedisFleet {
        RedisFleet::with(program("redis-server"))
    }

    /// An empty fleet running `program`.
    pub fn with(program: PathBuf) -> RedisFleet {
        let dir = tempfile::Builder::new().prefix("cw-fleet-").tempdir().expect("tempdir");
        RedisFleet { nodes: Vec::new(), dir, program }
    }

    /// Where the fleet lives.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts a data node on `host` with further configuration lines; answers its index.
    pub async fn node(&mut self, host: &str, lines: &[&str]) -> usize {
        self.start(host, lines, false).await
    }

    async fn start(&mut self, host: &str, lines: &[&str], sentinel: bool) -> usize {
        let port = free_port(host);
        let dir = self.dir.path().join(format!("{host}-{port}"));
        fs::create_dir_all(&dir).expect("node folder");
        // Protected mode takes only 127.0.0.1 for loopback, and the zones are 127.0.1–3.1.
        let mut conf = format!(
            "protected-mode no\nport {port}\nbind {host}\nbind-source-addr {host}\ndir {}\nlogfile {}\ndaemonize no\n",
            dir.display(),
            dir.join("log").display()
        );
        if !sentinel {
            conf.push_str("save \"\"\nappendonly no\nrepl-diskless-sync-delay 0\n");
        }
        for line in lines {
            conf.push_str(line);
            conf.push('\n');
        }
        fs::write(dir.join("redis.conf"), conf).expect("redis.conf");
        let program = self.program.clone();
        let address = format!("{host}:{port}");
        let node = Node { address, host: host.into(), port, dir, program, sentinel, child: None };
        self.nodes.push(node);
        let index = self.nodes.len() - 1;
        self.nodes[index].spawn();
        self.nodes[index].answers().await;
        index
    }

    /// One master on the first zone and a replica on each of the others.
    pub async fn replicated(&mut self, replicas: usize, lines: &[&str]) -> Vec<usize> {
        let master = self.node(ZONES[0], lines).await;
        let of = format!("replicaof {} {}", self.nodes[master].host, self.nodes[master].port);
        let mut all = vec![master];
        for i in 0..replicas {
            let mut more = lines.to_vec();
            more.push(&of);
            all.push(self.node(ZONES[(i + 1) % 3], &more).await);
        }
        for i in &all[1..] {
            let node = &self.nodes[*i];
            wait::until("replica link up", || async {
                node.info("replication").contains("master_link_status:up").then_some(())
            })
            .await;
        }
        all
    }

    /// One master, two replicas and three Sentinels (quorum 2) over the zones.
    pub async fn sentinel(&mut self, name: &str, down_after_ms: u32) -> SentinelService {
        let data = self.replicated(2, &[]).await;
        let (host, port) = (self.nodes[data[0]].host.clone(), self.nodes[data[0]].port);
        let lines = [
            format!("sentinel monitor {name} {host} {port} 2"),
            format!("sentinel down-after-milliseconds {name} {down_after_ms}"),
            format!("sentinel failover-timeout {name} 20000"),
        ];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let mut sentinels = Vec::new();
        for zone in ZONES {
            sentinels.push(self.start(zone, &lines, true).await);
        }
        for i in &sentinels {
            let node = &self.nodes[*i];
            wait::until("Sentinels know each other and both replicas", || async {
                let seen = node.info("sentinel");
                seen.contains("slaves=2,sentinels=3").then_some(())
            })
            .await;
        }
        SentinelService {
            master: data[0],
            replicas: data[1..].to_vec(),
            sentinels,
            name: name.into(),
        }
    }

    /// A cluster of three masters and three replicas: masters one per zone, each replica in the
    /// zone after its master's. Answers the indices, masters first.
    pub async fn cluster(&mut self, node_timeout_ms: u32) -> Vec<usize> {
        let timeout = format!("cluster-node-timeout {node_timeout_ms}");
        let mut all = Vec::new();
        for i in 0..6 {
            let host = if i < 3 { ZONES[i] } else { ZONES[(i - 2) % 3] };
            let announce = format!("cluster-announce-ip {host}");
            let lines =
                ["cluster-enabled yes", &timeout, &announce, "cluster-require-full-coverage no"];
            all.push(self.node(host, &lines).await);
        }
        let first = (self.nodes[all[0]].host.clone(), self.nodes[all[0]].port.to_string());
        for (i, ends) in [(0, "0 5460"), (1, "5461 10922"), (2, "10923 16383")] {
            let (a, b) = ends.split_once(' ').expect("two ends");
            self.nodes[all[i]].cli(&["CLUSTER", "ADDSLOTSRANGE", a, b]);
            self.nodes[all[i]].cli(&["CLUSTER", "SET-CONFIG-EPOCH", &(i + 1).to_string()]);
        }
        for i in &all[1..] {
            self.nodes[*i].cli(&["CLUSTER", "MEET", &first.0, &first.1]);
        }
        for i in &all {
            let node = &self.nodes[*i];
            wait::until("every node knows six", || async {
                node.cli(&["CLUSTER", "INFO"]).contains("cluster_known_nodes:6").then_some(())
            })
            .await;
        }
        for i in 3..6 {
            let id = self.nodes[all[i - 3]].cli(&["CLUSTER", "MYID"]).trim().to_string();
            let node = &self.nodes[all[i]];
            wait::until("replica attached", || async {
                (node.cli(&["CLUSTER", "REPLICATE", &id]).trim() == "OK").then_some(())
            })
            .await;
        }
        for i in &all {
            let node = &self.nodes[*i];
            wait::until("cluster ok and replicas known", || async {
                let ok = node.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
                let replicas = node.cli(&["CLUSTER", "NODES"]).matches("slave").count();
                (ok && replicas == 3).then_some(())
            })
            .await;
        }
        for i in &all[3..] {
            let node = &self.nodes[*i];
            wait::until("replica link up", || async {
                node.info("replication").contains("master_link_status:up").then_some(())
            })
            .await;
        }
        all
    }
}

impl Default for RedisFleet {
    fn default() -> RedisFleet {
        RedisFleet::new()
    }
}

impl Node {
    /// Starts the process (again) with the configuration in its folder.
    pub fn spawn(&mut self) {
        let mut command = Command::new(&self.program);
        command.arg(self.dir.join("redis.conf"));
        if self.sentinel {
            command.arg("--sentinel");
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("redis-server starts"));
    }

    /// Waits until it answers PING.
    pub async fn answers(&self) {
        wait::until(&format!("{} answers", self.address), || async {
            self.cli(&["PING"]).contains("PONG").then_some(())
        })
        .await;
    }

    /// Runs redis-cli against it; answers stdout.
    pub fn cli(&self, args: &[&str]) -> String {
        // redis-cli 7.0 has no time-out of its own, and a stopped server must not hold a test.
        let out = Command::new(program("timeout"))
            .args(["20", "redis-cli", "-h", &self.host, "-p", &self.port.to_string()])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .expect("redis-cli runs");
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// One INFO section.
    pub fn info(&self, section: &str) -> String {
        self.cli(&["INFO", section])
    }

    /// Whether INFO says it is a master.
    pub fn is_master(&self) -> bool {
        self.info("replication").contains("role:master")
    }

    /// Process id; none after `kill`.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Sends a signal by name (`STOP`, `CONT`, `TERM`).
    pub fn signal(&self, name: &str) {
        let pid = self.pid().expect("the node runs").to_string();
        let ok = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(ok.expect("kill runs").success());
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for RedisFleet {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            node.kill();
        }
    }
}
