//! The local provider on real servers: idempotent verbs, processes that outlive us, pids that are
//! reused.
#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as a test may")]

use std::fs;
use std::path::PathBuf;

use ops::provider::{
    Control, Line, Local, NodeFile, NodeKind, NodeRef, NodeSpec, NodeState, ProviderError,
};
use tests::fleet::{ZONES, free_port, program};
use tests::wait;

/// A provider in a folder of its own; what it started is released at the end.
struct Place {
    dir: tempfile::TempDir,
    local: Local,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::Builder::new().prefix("cw-nodes-").tempdir().unwrap();
        let local = Local::open(dir.path()).unwrap();
        Place { dir, local }
    }

    /// What a restart of ourselves leaves: the folder alone.
    fn reopened(&self) -> Local {
        Local::open(self.dir.path()).unwrap()
    }

    async fn started(&self, kind: NodeKind, lines: Vec<Line>) -> NodeRef {
        let node = self.local.create(spec(ZONES[1], kind, lines)).await.unwrap();
        self.local.control(&node, Control::Start, "k").await.unwrap();
        answers(&node).await;
        node
    }

    async fn clean(&self) {
        for node in self.local.nodes().unwrap() {
            self.local.release(&node).await.unwrap();
        }
    }
}

/// A test that fails leaves no process either: whoever works in one of our folders is ended.
impl Drop for Place {
    fn drop(&mut self) {
        let Ok(root) = fs::canonicalize(self.dir.path()) else { return };
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let ours =
                fs::read_link(process.path().join("cwd")).is_ok_and(|d| d.starts_with(&root));
            let pid = process.file_name().to_string_lossy().into_owned();
            if ours && pid.bytes().all(|b| b.is_ascii_digit()) {
                let _ = std::process::Command::new("kill").args(["-9", &pid]).status();
            }
        }
    }
}

fn spec(host: &str, kind: NodeKind, lines: Vec<Line>) -> NodeSpec {
    let address = format!("{host}:{}", free_port(host));
    NodeSpec { address, kind, lines, program: program("redis-server") }
}

fn quiet() -> Vec<Line> {
    vec![Line::new("save", [""]), Line::new("requirepass", ["a \"b\" c"])]
}

async fn call(node: &NodeRef, args: &[&str]) -> Result<link::Value, link::Error> {
    let limit = std::time::Duration::from_secs(20);
    let address = node.address.clone();
    let target = link::Target { address, user: String::new(), password: None, tls: None };
    link::dial(&target, limit).await?.call(args, limit).await
}

/// Answers anything, also that it wants a password.
async fn answers(node: &NodeRef) {
    wait::until(&format!("{} answers", node.address), || async {
        match call(node, &["PING"]).await {
            Ok(_) => Some(()),
            Err(e) => e.server().map(drop),
        }
    })
    .await;
}

fn session_of(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(3).unwrap().parse().unwrap()
}

fn send(signal: &str, pid: u32) {
    let done = std::process::Command::new("kill").args([signal, &pid.to_string()]).status();
    assert!(done.unwrap().success());
}

async fn gone(local: &Local, node: &NodeRef) -> NodeState {
    wait::until("the process is seen gone", || async {
        Some(local.observe(node).await.unwrap()).filter(|s| !s.running)
    })
    .await
}

#[tokio::test]
async fn a_node_starts_once_and_leads_a_session_of_its_own() {
    let place = Place::new();
    let node = place.started(NodeKind::Data, quiet()).await;
    let first = place.local.observe(&node).await.unwrap();
    place.local.control(&node, Control::Start, "again").await.unwrap();
    assert_eq!(place.local.observe(&node).await.unwrap(), first, "starting twice starts once");
    let pid = first.pid.unwrap();
    assert_eq!(session_of(pid), pid);
    let refused = call(&node, &["PING"]).await.unwrap_err();
    assert!(refused.server().unwrap().starts_with("NOAUTH"), "the rendered password holds");
    send("-9", pid);
    let state = gone(&place.local, &node).await;
    assert!(state.exists && state.exit.unwrap().contains("signal: 9"));
    assert!(!PathBuf::from(format!("/proc/{pid}")).exists(), "no zombie stays");
    place.clean().await;
}

#[tokio::test]
async fn a_node_outlives_us_and_is_known_again() {
    let place = Place::new();
    let node = place.started(NodeKind::Data, quiet()).await;
    let before = place.local.observe(&node).await.unwrap();
    let later = place.reopened();
    assert_eq!(later.observe(&node).await.unwrap(), before);
    later.control(&node, Control::Start, "x").await.unwrap();
    assert_eq!(later.observe(&node).await.unwrap(), before);
    place.clean().await;
}

#[tokio::test]
async fn a_reused_pid_is_not_ours_and_is_left_alone() {
    let place = Place::new();
    let node = place.started(NodeKind::Data, quiet()).await;
    let mine = place.local.observe(&node).await.unwrap().pid.unwrap();
    send("-9", mine);
    gone(&place.local, &node).await;
    // Another program got the pid of the record.
    let mut stranger = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let file = place.local.folder(&node).join("node.json");
    let mut record: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    record["process"]["pid"] = stranger.id().into();
    fs::write(&file, record.to_string()).unwrap();
    assert!(!place.local.observe(&node).await.unwrap().running);
    place.local.control(&node, Control::Kill, "x").await.unwrap();
    place.local.control(&node, Control::Restart, "y").await.unwrap();
    answers(&node).await;
    let now = place.local.observe(&node).await.unwrap();
    assert!(now.running && now.pid != Some(stranger.id()));
    assert!(stranger.try_wait().unwrap().is_none(), "the stranger still runs");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    place.clean().await;
}

#[tokio::test]
async fn a_process_started_right_before_our_death_is_found_and_not_started_twice() {
    let place = Place::new();
    let node = place.started(NodeKind::Data, quiet()).await;
    let pid = place.local.observe(&node).await.unwrap().pid;
    let file = place.local.folder(&node).join("node.json");
    let mut record: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    record["process"] = serde_json::Value::Null;
    fs::write(&file, record.to_string()).unwrap();
    let later = place.reopened();
    assert_eq!(later.observe(&node).await.unwrap().pid, pid);
    later.control(&node, Control::Start, "x").await.unwrap();
    assert_eq!(later.observe(&node).await.unwrap().pid, pid);
    place.clean().await;
}

#[tokio::test]
async fn a_restart_happens_once_per_key() {
    let place = Place::new();
    let node = place.started(NodeKind::Data, quiet()).await;
    let first = place.local.observe(&node).await.unwrap().incarnation;
    place.local.control(&node, Control::Restart, "op-1").await.unwrap();
    let second = place.local.observe(&node).await.unwrap().incarnation;
    assert_ne!(first, second);
    place.reopened().control(&node, Control::Restart, "op-1").await.unwrap();
    assert_eq!(place.local.observe(&node).await.unwrap().incarnation, second);
    place.local.control(&node, Control::Restart, "op-2").await.unwrap();
    assert_ne!(place.local.observe(&node).await.unwrap().incarnation, second);
    place.clean().await;
}

#[tokio::test]
async fn a_frozen_process_runs_and_is_ended_after_its_grace() {
    let place = Place::new();
    let node = place.started(NodeKind::Data, quiet()).await;
    send("-STOP", place.local.observe(&node).await.unwrap().pid.unwrap());
    assert!(place.local.observe(&node).await.unwrap().running, "frozen is not gone");
    place.local.control(&node, Control::Stop { grace_ms: 100 }, "x").await.unwrap();
    assert!(!place.local.observe(&node).await.unwrap().running);
    place.local.control(&node, Control::Stop { grace_ms: 100 }, "y").await.unwrap();
    place.clean().await;
}

#[tokio::test]
async fn making_a_node_again_keeps_what_the_server_rewrote_and_another_one_is_refused() {
    let place = Place::new();
    let spec = spec(ZONES[0], NodeKind::Data, vec![Line::new("maxmemory", ["64mb"])]);
    let node = place.local.create(spec.clone()).await.unwrap();
    place.local.control(&node, Control::Start, "k").await.unwrap();
    answers(&node).await;
    call(&node, &["CONFIG", "SET", "maxmemory", "32mb"]).await.unwrap();
    call(&node, &["CONFIG", "REWRITE"]).await.unwrap();
    assert_eq!(place.local.create(spec.clone()).await.unwrap(), node);
    let conf = fs::read_to_string(place.local.folder(&node).join("redis.conf")).unwrap();
    assert!(conf.contains("maxmemory 32mb"), "{conf}");
    let other = NodeSpec { lines: vec![Line::new("maxmemory", ["1mb"])], ..spec };
    let refused = place.local.create(other).await.unwrap_err();
    assert!(matches!(refused, ProviderError::Conflict(_)), "{refused}");
    place.clean().await;
}

#[tokio::test]
async fn sentinels_and_cluster_nodes_announce_their_zone_address() {
    let place = Place::new();
    let cluster = place.started(NodeKind::Cluster, vec![Line::new("save", [""])]).await;
    let value = call(&cluster, &["CLUSTER", "NODES"]).await.unwrap();
    let nodes = String::from_utf8_lossy(link::reply::bytes(&value).unwrap()).into_owned();
    assert!(nodes.contains(&format!(" {}@", cluster.address)), "{nodes}");
    let (host, port) = cluster.address.split_once(':').unwrap();
    let monitor = Line::new("sentinel", ["monitor", "m", host, port, "1"]);
    let sentinel = place.started(NodeKind::Sentinel, vec![monitor]).await;
    let asked = call(&sentinel, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "m"]).await.unwrap();
    assert_eq!(link::reply::sentinel::address(&asked), Some(cluster.address.clone()));
    place.clean().await;
}

#[tokio::test]
async fn a_released_node_leaves_nothing_and_folders_of_others_stay() {
    let place = Place::new();
    let node = place.started(NodeKind::Data, quiet()).await;
    let pid = place.local.observe(&node).await.unwrap().pid.unwrap();
    let stranger = NodeRef { address: "127.0.1.1:1".into() };
    let kept = place.local.folder(&stranger);
    fs::create_dir_all(&kept).unwrap();
    place.local.release(&stranger).await.unwrap();
    assert!(kept.exists(), "without a record it is not ours");
    place.local.release(&node).await.unwrap();
    place.local.release(&node).await.unwrap();
    assert!(!place.local.folder(&node).exists());
    assert!(!PathBuf::from(format!("/proc/{pid}")).exists());
    let started = place.local.control(&node, Control::Start, "k").await.unwrap_err();
    assert!(matches!(started, ProviderError::NoSuchNode(_)), "{started}");
}

#[tokio::test]
async fn files_stay_within_the_nodes_folder() {
    let place = Place::new();
    let node = place.local.create(spec(ZONES[0], NodeKind::Data, quiet())).await.unwrap();
    let file = |name: &str| NodeFile { name: name.into(), mode: 0o600, bytes: b"x".to_vec() };
    place.local.write_files(&node, vec![file("users.acl")]).await.unwrap();
    assert_eq!(fs::read(place.local.folder(&node).join("users.acl")).unwrap(), b"x");
    for bad in ["../x", "a/b", "", ".hidden", "node.json"] {
        let refused = place.local.write_files(&node, vec![file(bad)]).await;
        assert!(matches!(refused, Err(ProviderError::Invalid { .. })), "{bad:?}");
    }
    place.clean().await;
}

#[tokio::test]
async fn a_server_that_refuses_its_configuration_is_seen_with_its_exit() {
    let place = Place::new();
    let wrong = spec(ZONES[0], NodeKind::Data, vec![Line::new("maxmemory", ["much"])]);
    let node = place.local.create(wrong).await.unwrap();
    place.local.control(&node, Control::Start, "k").await.unwrap();
    let state = gone(&place.local, &node).await;
    assert!(state.exit.unwrap().contains("exit status"));
    let said = fs::read_to_string(place.local.folder(&node).join("out")).unwrap();
    assert!(said.contains("maxmemory"), "{said}");
    place.clean().await;
}
