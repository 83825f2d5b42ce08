//! Redis nodes made through the local provider, so that each has its record and the program under
//! test can restart it.
//!
//! Invariant: whoever works in one of our folders is ended with this value, also when a test fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use link::{Link, Target, Value};
use ops::provider::{Control, Line, Local, NodeKind, NodeRef, NodeSpec};

use crate::fleet::{ZONES, free_port, program};
use crate::wait;

/// Longer than a busy machine keeps a server from answering.
const CALL: Duration = Duration::from_secs(10);
/// Holds what tests write in the time a node takes to come back, however fast the machine is.
const BACKLOG: &str = "512mb";

/// Nodes in a folder of their own.
pub struct Nodes {
    dir: tempfile::TempDir,
    local: Local,
}

impl Default for Nodes {
    fn default() -> Nodes {
        Nodes::new()
    }
}

impl Nodes {
    /// No node yet.
    pub fn new() -> Nodes {
        let dir = tempfile::Builder::new().prefix("cw-nodes-").tempdir().expect("tempdir");
        let local = Local::open(dir.path()).expect("a folder of ours");
        Nodes { dir, local }
    }

    /// The provider's folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The section of the configuration that names it.
    pub fn section(&self) -> String {
        let dir = self.dir().display();
        format!("[[ops.provider]]\nname = \"local\"\nkind = \"local\"\ndir = \"{dir}\"\n")
    }

    /// Starts a node in a zone (0 to 2); answers its address.
    pub async fn node(&self, zone: usize, kind: NodeKind, lines: Vec<Line>) -> String {
        let address = format!("{}:{}", ZONES[zone], free_port(ZONES[zone]));
        let program = program("redis-server");
        let spec = NodeSpec { address: address.clone(), kind, lines, program };
        let node = self.local.create(spec).await.expect("the provider makes it");
        self.local.control(&node, Control::Start, "test").await.expect("it starts");
        self.answers(&address).await;
        address
    }

    /// A master in the first zone and replicas in the next ones, in sync.
    pub async fn replicated(&self, replicas: usize, lines: &[Line]) -> Vec<String> {
        let mut quiet = vec![
            Line::new("save", [""]),
            Line::new("repl-diskless-sync-delay", ["0"]),
            Line::new("repl-backlog-size", [BACKLOG]),
        ];
        quiet.extend(lines.iter().cloned());
        let master = self.node(0, NodeKind::Data, quiet.clone()).await;
        let (host, port) = master.rsplit_once(':').expect("host:port");
        quiet.push(Line::new("replicaof", [host.to_string(), port.to_string()]));
        let mut all = vec![master];
        for i in 1..=replicas {
            all.push(self.node(i % 3, NodeKind::Data, quiet.clone()).await);
        }
        for replica in &all[1..] {
            self.in_sync(replica).await;
        }
        all
    }

    /// Three Sentinels, one per zone, quorum 2, that know the master and each other.
    pub async fn sentinels(&self, name: &str, data: &[String]) -> Vec<String> {
        let (host, port) = data[0].rsplit_once(':').expect("host:port");
        let monitor = ["monitor", name, host, port, "2"].map(str::to_string);
        let set = |key: &str, value: &str| Line::new("sentinel", [key, name, value]);
        let lines = vec![
            Line::new("sentinel", monitor),
            set("down-after-milliseconds", "5000"),
            set("failover-timeout", "20000"),
        ];
        let mut all = Vec::new();
        for zone in 0..3 {
            all.push(self.node(zone, NodeKind::Sentinel, lines.clone()).await);
        }
        let wanted = format!("slaves={},sentinels=3", data.len() - 1);
        for sentinel in &all {
            wait::until("Sentinels know each other and the replicas", || async {
                info(sentinel, "sentinel").await?.contains(&wanted).then_some(())
            })
            .await;
        }
        all
    }

    /// A cluster of three masters and three replicas over the zones, masters first.
    pub async fn cluster(&self, node_timeout_ms: u32) -> Vec<String> {
        let lines = vec![
            Line::new("save", [""]),
            Line::new("repl-diskless-sync-delay", ["0"]),
            Line::new("repl-backlog-size", [BACKLOG]),
            Line::new("cluster-node-timeout", [node_timeout_ms.to_string()]),
            Line::new("cluster-require-full-coverage", ["no"]),
        ];
        let mut all = Vec::new();
        for i in 0..6 {
            all.push(self.node([0, 1, 2, 1, 2, 0][i], NodeKind::Cluster, lines.clone()).await);
        }
        for (i, [from, to]) in
            [["0", "5460"], ["5461", "10922"], ["10923", "16383"]].iter().enumerate()
        {
            let epoch = (i + 1).to_string();
            for words in [
                &["CLUSTER", "ADDSLOTSRANGE", from, to][..],
                &["CLUSTER", "SET-CONFIG-EPOCH", &epoch],
            ] {
                call(&all[i], words).await.expect("a fresh node");
            }
        }
        let (host, port) = all[0].rsplit_once(':').expect("host:port");
        for node in &all[1..] {
            call(node, &["CLUSTER", "MEET", host, port]).await.expect("a fresh node");
        }
        for (i, replica) in all[3..].iter().enumerate() {
            let id = call(&all[i], &["CLUSTER", "MYID"]).await.as_ref().and_then(link::reply::text);
            let id = id.expect("an id");
            wait::until("a replica is attached", || async {
                call(replica, &["CLUSTER", "REPLICATE", &id]).await.map(drop)
            })
            .await;
        }
        for replica in &all[3..] {
            self.in_sync(replica).await;
        }
        for node in &all {
            wait::until("the cluster is whole", || async {
                let nodes = call(node, &["CLUSTER", "NODES"]).await?;
                let raw = String::from_utf8_lossy(link::reply::bytes(&nodes)?).into_owned();
                let state = call(node, &["CLUSTER", "INFO"]).await?;
                let state = String::from_utf8_lossy(link::reply::bytes(&state)?).into_owned();
                let settled =
                    raw.matches(" slave ").count() + raw.matches("myself,slave").count() == 3;
                (settled && state.contains("cluster_state:ok")).then_some(())
            })
            .await;
        }
        all
    }

    /// The folder of a node.
    pub fn folder(&self, address: &str) -> std::path::PathBuf {
        self.local.folder(&node(address))
    }

    /// Waits until a node answers PING.
    pub async fn answers(&self, address: &str) {
        wait::until(&format!("{address} answers"), || async {
            call(address, &["PING"]).await.map(drop)
        })
        .await;
    }

    /// Waits until a replica's link is up.
    pub async fn in_sync(&self, address: &str) {
        wait::until(&format!("{address} is in sync"), || async {
            info(address, "replication").await?.contains("master_link_status:up").then_some(())
        })
        .await;
    }

    /// SIGKILL, as a crash of the node.
    pub async fn kill(&self, address: &str) {
        let killed = self.local.control(&node(address), Control::Kill, "test").await;
        killed.expect("the process ends");
    }

    /// Starts it without waiting for an answer.
    pub async fn begin(&self, address: &str) {
        let started = self.local.control(&node(address), Control::Start, "test").await;
        started.expect("it starts");
    }

    /// Takes it and everything of it away.
    pub async fn release(&self, address: &str) {
        self.local.release(&node(address)).await.expect("it is released");
    }

    /// What an operator does to bring it back.
    pub async fn start(&self, address: &str) {
        self.begin(address).await;
        self.answers(address).await;
    }

    /// Process id of a node; none when it does not run.
    pub async fn pid(&self, address: &str) -> Option<u32> {
        self.local.observe(&node(address)).await.expect("its record is readable").pid
    }

    /// Sends a signal by name to a node's process.
    pub async fn signal(&self, address: &str, name: &str) {
        let pid = self.pid(address).await.expect("it runs").to_string();
        let done = std::process::Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(done.expect("kill runs").success());
    }

    /// The configuration file of a node.
    pub fn conf_text(&self, address: &str) -> String {
        let path = self.local.folder(&node(address)).join("redis.conf");
        fs::read_to_string(path).expect("a file of ours")
    }

    /// Pids of everybody who works in a node's folder: two would be two processes of one node.
    pub fn processes(&self, address: &str) -> Vec<u32> {
        working_in(&self.local.folder(&node(address)))
    }
}

fn node(address: &str) -> NodeRef {
    NodeRef { address: address.into() }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for pid in working_in(self.dir.path()) {
            let _ = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    }
}

/// Processes whose working folder is `folder` or lies in it.
fn working_in(folder: &Path) -> Vec<u32> {
    let Ok(folder) = fs::canonicalize(folder) else { return Vec::new() };
    let inside = |p: &PathBuf| fs::read_link(p.join("cwd")).is_ok_and(|d| d.starts_with(&folder));
    let all = fs::read_dir("/proc").into_iter().flatten().flatten().map(|e| e.path());
    let ours = all.filter(inside);
    ours.filter_map(|p| p.file_name()?.to_str()?.parse().ok()).collect()
}

/// One command on a connection of its own; none when it is not answered well.
pub async fn call(address: &str, args: &[&str]) -> Option<Value> {
    link_to(address).await?.call(args, CALL).await.ok()
}

/// A value of CONFIG GET.
pub async fn config(address: &str, name: &str) -> String {
    let value = call(address, &["CONFIG", "GET", name]).await.expect("every node answers");
    let value = link::reply::items(&value).and_then(|i| link::reply::text(i.get(1)?));
    value.expect("every node has it")
}

/// A connection without a password.
pub async fn link_to(address: &str) -> Option<Link> {
    let target = Target { address: address.into(), user: String::new(), password: None, tls: None };
    link::dial(&target, CALL).await.ok()
}

/// One section of INFO.
pub async fn info(address: &str, section: &str) -> Option<String> {
    // Not `text`, which is cut for messages.
    let value = call(address, &["INFO", section]).await?;
    Some(String::from_utf8_lossy(link::reply::bytes(&value)?).into_owned())
}

/// A value of an INFO section.
pub async fn said(address: &str, section: &str, key: &str) -> Option<String> {
    let info = info(address, section).await?;
    let line = info.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'))?;
    Some(line.trim().to_string())
}

/// Calls of a command since the statistics were reset: `replicaof`, `cluster|failover`.
pub async fn calls(address: &str, command: &str) -> u64 {
    let line = said(address, "commandstats", &format!("cmdstat_{command}")).await;
    let calls = line.as_deref().and_then(|l| l.strip_prefix("calls=")?.split(',').next());
    calls.and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// What a node says it is.
pub async fn role(address: &str) -> Option<link::reply::role::RoleReply> {
    link::reply::role::read(&call(address, &["ROLE"]).await?)
}

/// A field of `SENTINEL MASTER <name>`.
pub async fn told(sentinel: &str, name: &str, field: &str) -> Option<String> {
    let value = call(sentinel, &["SENTINEL", "MASTER", name]).await?;
    let words: Vec<String> =
        link::reply::items(&value)?.iter().filter_map(link::reply::text).collect();
    let found = words.chunks(2).find(|pair| pair[0] == field)?;
    found.get(1).cloned()
}
