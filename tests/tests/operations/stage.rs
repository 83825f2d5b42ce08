//! A store with one tenant, a replicated service run by the local provider, and a watch that keeps
//! a Board as the server would.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::apply::InventoryDoc;
use model::board::Board;
use model::caller::Caller;
use model::inventory::Inventory;
use model::operation::{Operation, OperationEvent, OperationKind, OperationState};
use model::plan::{Plan, PlannedStep};
use model::reading::{Facts, Failure, Reading, Reason, Role};
use model::row::Row;
use model::verdict::Verdict;
use model::{At, InstanceId, ServiceId};
use ops::engine::Submission;
use ops::provider::{Control, Line, Local, NodeKind, NodeRef, NodeSpec, Provider, Providers};
use ops::{Config, Engine, World, topology};
use serde_json::{Value, json};
use store::{Apply, Migrate, Store};
use tests::fleet::{ZONES, free_port, program};
use tests::pg::Postgres;
use tests::wait;

/// How often the watch polls.
const INTERVAL_MS: u32 = 15_000;
/// How long a look at all nodes may take: longer than a busy machine needs.
const LOOK: Duration = Duration::from_secs(5);
/// A lease that no busy machine lets run out under a worker that lives.
const LEASE_S: u64 = 60;

/// A store in a folder of its own.
pub struct Kept {
    pub store: Arc<Store>,
    pub url: String,
    dir: tempfile::TempDir,
    _pg: Option<Postgres>,
}

fn config(url: &str, dir: &Path) -> store::Config {
    let key = dir.join("key");
    if !key.exists() {
        std::fs::write(&key, store::new_key().unwrap().reveal()).unwrap();
    }
    let key_file = Some(key.display().to_string());
    store::Config { url: url.into(), key_file, key_env: None, key_command: None }
}

impl Kept {
    pub async fn sqlite() -> Kept {
        let dir = tempfile::Builder::new().prefix("cw-ops-").tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("cw.db").display());
        Kept::open(url, dir, None).await
    }

    pub async fn postgres() -> Kept {
        let dir = tempfile::Builder::new().prefix("cw-ops-").tempdir().unwrap();
        let pg = Postgres::start().await;
        Kept::open(pg.url(), dir, Some(pg)).await
    }

    async fn open(url: String, dir: tempfile::TempDir, pg: Option<Postgres>) -> Kept {
        let config = config(&url, dir.path());
        let store = Arc::new(Store::open(&config, Migrate::Now).await.unwrap());
        store.unseal(&config).await.unwrap();
        store.inventory_seed(&system(), clock()).await.unwrap();
        Kept { store, url, dir, _pg: pg }
    }

    /// Another process on the same database.
    pub async fn again(&self) -> Arc<Store> {
        let config = config(&self.url, self.dir.path());
        Arc::new(Store::open(&config, Migrate::AtStart).await.unwrap())
    }

    pub async fn apply(&self, doc: Value) {
        let doc: InventoryDoc = serde_json::from_value(doc).unwrap();
        self.store.apply(&system(), &doc, Apply::default(), clock()).await.unwrap();
    }
}

pub fn system() -> Caller {
    Caller::system("test", "r1")
}

pub fn clock() -> At {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    At::from_ms(now.as_millis() as i64)
}

/// Three zones with a host each, tenant `demo` with service `cart` on these addresses.
pub fn inventory(managed: bool, addresses: &[String]) -> Value {
    inventory_with(managed, addresses, &[])
}

fn inventory_with(managed: bool, addresses: &[String], sentinels: &[String]) -> Value {
    let zones = ["az-1", "az-2", "az-3"];
    let zone_of = |a: &str| ZONES.iter().position(|z| a.starts_with(z)).unwrap();
    let data = addresses.iter().map(|a| (a, "redis"));
    let instances: Vec<Value> = data
        .chain(sentinels.iter().map(|a| (a, "sentinel")))
        .map(|(a, kind)| {
            let host = format!("h{}", zone_of(a));
            json!({"address": a, "kind": kind, "zone": zones[zone_of(a)], "host": host})
        })
        .collect();
    let mut service = json!({
        "id": "cart", "system": "shop", "managed": managed, "instances": instances,
    });
    match sentinels.is_empty() {
        true => service["mode"] = "standalone".into(),
        false => service["sentinel"] = json!({"master_name": "cart"}),
    }
    let hosts: Vec<Value> = (0..3)
        .map(|i| json!({"id": format!("h{i}"), "zone": zones[i], "address": ZONES[i], "provider": "local"}))
        .collect();
    json!({
        "version": 1,
        "sites": [{"id": "dc"}],
        "zones": zones.map(|z| json!({"id": z, "site": "dc"})),
        "hosts": hosts,
        "tenants": [{
            "id": "demo", "networks": ["127.0.0.0/8"], "systems": [{"id": "shop"}],
            "services": [service],
        }],
    })
}

pub fn cart() -> ServiceId {
    "demo.cart".parse().unwrap()
}

/// A plan of one repeatable step, for tests of the store alone.
pub fn plan(note: &str) -> Plan {
    let step = PlannedStep {
        kind: "start".into(),
        target: "demo.cart@127.0.1.1:1".into(),
        title: note.into(),
        args: json!({}),
        commands: vec!["provider start".into()],
        timeout_ms: 1_000,
        tries: 1,
        repeatable: true,
        point_of_no_return: false,
    };
    Plan {
        kind: OperationKind::NodeRestart,
        kind_version: 1,
        service: cart(),
        params: json!({ "note": note }),
        title: note.into(),
        blast_radius: String::new(),
        level: 2,
        confirm: String::new(),
        world: json!({}),
        checks: Vec::new(),
        steps: vec![step],
        locks: vec![format!("service:{}", cart())],
        made_at: At::EPOCH,
        expires_at: At::EPOCH,
    }
}

/// A master and replicas, run by the local provider.
pub struct Nodes {
    pub local: Local,
    pub ids: Vec<InstanceId>,
    pub sentinels: Vec<InstanceId>,
    dir: tempfile::TempDir,
}

impl Nodes {
    pub async fn start(replicas: usize) -> Nodes {
        let dir = tempfile::Builder::new().prefix("cw-nodes-").tempdir().unwrap();
        let local = Local::open(dir.path()).unwrap();
        let mut nodes = Nodes { local, ids: Vec::new(), sentinels: Vec::new(), dir };
        let mut master: Option<String> = None;
        for i in 0..=replicas {
            let mut lines =
                vec![Line::new("save", [""]), Line::new("repl-diskless-sync-delay", ["0"])];
            if let Some((host, port)) = master.as_deref().and_then(|m| m.rsplit_once(':')) {
                lines.push(Line::new("replicaof", [host, port]));
            }
            let id = nodes.add(ZONES[i % 3], NodeKind::Data, lines).await;
            master.get_or_insert(id.address().to_string());
            nodes.ids.push(id);
        }
        nodes
    }

    async fn add(&mut self, host: &str, kind: NodeKind, lines: Vec<Line>) -> InstanceId {
        let address = format!("{host}:{}", free_port(host));
        let program = program("redis-server");
        let spec = NodeSpec { address: address.clone(), kind, lines, program };
        let node = self.local.create(spec).await.unwrap();
        self.local.control(&node, Control::Start, "first").await.unwrap();
        InstanceId::new(&cart(), &address).unwrap()
    }

    /// A Sentinel in each zone, quorum 2, down after 5 s: a busy machine must not make it fail over.
    async fn watched(&mut self) {
        let (host, port) = self.ids[0].host_port();
        let (host, port) = (host.to_string(), port.to_string());
        for zone in ZONES {
            let lines = vec![
                Line::new("sentinel", ["monitor", "cart", &host, &port, "2"]),
                Line::new("sentinel", ["down-after-milliseconds", "cart", "5000"]),
                Line::new("sentinel", ["failover-timeout", "cart", "20000"]),
            ];
            let id = self.add(zone, NodeKind::Sentinel, lines).await;
            self.sentinels.push(id);
        }
    }

    pub fn addresses(&self) -> Vec<String> {
        texts(&self.ids)
    }

    /// SIGKILL from outside.
    pub async fn kill(&self, i: usize) {
        self.kill_node(&self.ids[i]).await;
    }

    /// The same for any node or Sentinel.
    pub async fn kill_node(&self, id: &InstanceId) {
        self.signal_node(id, "-9").await;
        let gone = || async { (!self.state_of(id).await.running).then_some(()) };
        wait::until("the node is gone", gone).await;
    }

    pub async fn signal(&self, i: usize, signal: &str) {
        self.signal_node(&self.ids[i], signal).await;
    }

    async fn signal_node(&self, id: &InstanceId, signal: &str) {
        let pid = self.state_of(id).await.pid.unwrap().to_string();
        assert!(
            std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success()
        );
    }

    pub async fn state(&self, i: usize) -> ops::provider::NodeState {
        self.state_of(&self.ids[i]).await
    }

    async fn state_of(&self, id: &InstanceId) -> ops::provider::NodeState {
        self.local.observe(&NodeRef::of(id)).await.unwrap()
    }

    /// A provider that found the same folder, as another process would.
    fn provider(&self) -> Provider {
        Provider::Local(Local::open(self.dir.path()).unwrap())
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        // Each node's folder names its process; SIGKILL by that pid, whatever the test did.
        for id in self.ids.iter().chain(&self.sentinels) {
            let file = self.local.folder(&NodeRef::of(id)).join("node.json");
            let Ok(text) = std::fs::read_to_string(file) else { continue };
            let record: Value = serde_json::from_str(&text).unwrap_or_default();
            if let Some(pid) = record["process"]["pid"].as_u64() {
                let mut kill = std::process::Command::new("kill");
                // Gone already is fine, and not worth a line.
                let _ = kill.args(["-9", &pid.to_string()]).stderr(Stdio::null()).status();
            }
        }
    }
}

fn texts(ids: &[InstanceId]) -> Vec<String> {
    ids.iter().map(|i| i.address().to_string()).collect()
}

/// Everything together: store, nodes, Board.
pub struct Stage {
    pub kept: Kept,
    pub nodes: Nodes,
    pub board: Arc<Board>,
    pub inventory: Arc<Inventory>,
}

pub async fn stage(kept: Kept, replicas: usize, managed: bool) -> Stage {
    set(kept, Nodes::start(replicas).await, managed).await
}

/// The same with two replicas under three Sentinels.
pub async fn sentinel_stage(kept: Kept) -> Stage {
    let mut nodes = Nodes::start(2).await;
    nodes.watched().await;
    let s = set(kept, nodes, true).await;
    wait::until("the Sentinels agree on two replicas and a quorum", || async {
        let end = Instant::now() + LOOK;
        let seen = topology::look(&s.world(clock), &cart(), end).await.ok()?;
        let ready = seen.watches().filter(|(_, w)| {
            let quorum = w.master.ckquorum.as_ref().is_some_and(|(ok, _)| *ok);
            w.replicas.len() == 2 && w.master.sentinels == 3.0 && quorum
        });
        (ready.count() == 3).then_some(())
    })
    .await;
    s
}

async fn set(kept: Kept, nodes: Nodes, managed: bool) -> Stage {
    kept.apply(inventory_with(managed, &nodes.addresses(), &texts(&nodes.sentinels))).await;
    let inventory = Arc::new(kept.store.inventory().await.unwrap());
    let board = Arc::new(Board::default());
    board.reshape(inventory.instances.keys());
    let stage = Stage { kept, nodes, board, inventory };
    stage.watch();
    wait::until("every replica is attached on the Board", || async {
        let linked = |i: &&InstanceId| {
            let row = stage.board.row(i);
            let state = row.and_then(|r| r.facts().and_then(|f| f.link_state.clone()));
            state.as_deref() == Some("connected")
        };
        let n = stage.nodes.ids.len();
        (stage.nodes.ids.iter().filter(linked).count() + 1 == n).then_some(())
    })
    .await;
    stage
}

impl Stage {
    pub fn world(&self, clock: fn() -> At) -> World {
        let inventory = self.inventory.clone();
        let mut providers = Providers::default();
        providers.insert("local", self.nodes.provider());
        World {
            board: self.board.clone(),
            inventory: Box::new(move || inventory.clone()),
            target: Box::new(|id| {
                let address = id.address().to_string();
                Some(link::Target { address, user: String::new(), password: None, tls: None })
            }),
            providers,
            clock,
        }
    }

    pub fn engine(&self, worker: &str) -> Engine {
        self.engine_on(self.kept.store.clone(), worker, clock)
    }

    pub fn engine_on(&self, store: Arc<Store>, worker: &str, clock: fn() -> At) -> Engine {
        self.engine_for(store, worker, clock, LEASE_S)
    }

    /// An engine whose lease ends so many seconds after it was last renewed.
    pub fn engine_for(
        &self,
        store: Arc<Store>,
        worker: &str,
        clock: fn() -> At,
        lease_s: u64,
    ) -> Engine {
        let config = Config { lease_s, up_for_s: 5, ..Config::default() };
        Engine::new(config, store, self.world(clock), worker.into())
    }

    /// An engine by another configuration.
    pub fn engine_with(&self, worker: &str, config: Config) -> Engine {
        Engine::new(config, self.kept.store.clone(), self.world(clock), worker.into())
    }

    /// Waits until the operation is in that state.
    pub async fn in_state(&self, id: &str, state: OperationState) -> Operation {
        wait::until(&format!("the operation is {}", state.as_str()), || async {
            Some(self.operation(id).await).filter(|o| o.state == state)
        })
        .await
    }

    /// Polls all nodes and publishes rows, until the test ends.
    fn watch(&self) {
        let (board, world) = (Arc::downgrade(&self.board), self.world(clock));
        tokio::spawn(async move {
            while let Some(board) = board.upgrade() {
                poll(&board, &world).await;
                drop(board);
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
    }

    pub fn params(&self, i: usize) -> Value {
        json!({ "instance": self.nodes.ids[i], "up_for_s": 5 })
    }

    /// Plans a restart of node `i`; answers what to submit under that key.
    pub async fn wish(&self, engine: &Engine, i: usize, key: &str) -> Submission {
        let params = self.params(i);
        let kind = OperationKind::NodeRestart;
        let (plan, hash) =
            engine.plan(&system(), kind, &cart(), &params, clock()).await.expect("a plan");
        Submission {
            kind,
            service: cart(),
            params,
            plan_hash: hash,
            confirm: plan.confirm,
            reason: "test".into(),
            idem_key: key.into(),
            incident: None,
        }
    }

    pub async fn operation(&self, id: &str) -> Operation {
        self.kept.store.operation_get(&system(), id).await.unwrap()
    }

    pub async fn events(&self, id: &str) -> Vec<OperationEvent> {
        self.kept.store.operation_events(&system(), id, 0, 1_000).await.unwrap()
    }

    /// Rounds of these engines until the operation is over.
    pub async fn finish(&self, engines: &[&Engine], id: &str) -> Operation {
        wait::until("the operation ends", || async {
            for engine in engines {
                engine.round(clock()).await.unwrap();
            }
            Some(self.operation(id).await).filter(|o| o.state.is_final())
        })
        .await
    }

    /// The Board has read the role of node `i`.
    pub async fn seen_up(&self, i: usize) {
        wait::until("the Board knows its role", || async {
            self.board.row(&self.nodes.ids[i]).filter(|r| r.role().is_some()).map(drop)
        })
        .await;
    }

    /// The Board shows node `i` down.
    pub async fn seen_down(&self, i: usize) {
        wait::until("the Board shows it down", || async {
            self.board.row(&self.nodes.ids[i]).filter(|r| r.verdict.is_down()).map(drop)
        })
        .await;
    }
}

async fn poll(board: &Board, world: &World) {
    let Ok(seen) = topology::look(world, &cart(), Instant::now() + LOOK).await else { return };
    for node in seen.nodes {
        publish(board, world, &node.id, node.seen.map(facts));
    }
    for sentinel in seen.sentinels {
        let watched = |w: topology::Watch| Facts { masters: vec![w.master], ..Facts::default() };
        publish(board, world, &sentinel.id, sentinel.seen.map(watched));
    }
}

fn publish(board: &Board, world: &World, id: &InstanceId, seen: Result<Facts, String>) {
    let before = board.row(id).and_then(|r| r.last_good.clone());
    let (verdict, reading) = match seen {
        Ok(facts) => (Verdict::Up, reading(true, facts)),
        Err(why) => (Verdict::Down(why), reading(false, Facts::default())),
    };
    let reading = Arc::new(reading);
    let last_good = if reading.up { Some(reading.clone()) } else { before };
    let instance = Arc::new((world.inventory)().instances[id].clone());
    board.publish(Row { instance, reading, last_good, role_since: None, verdict, score: None });
}

fn facts(node: topology::Node) -> Facts {
    let mut facts = node.facts;
    facts.role = Some(if node.master.is_none() { Role::Master } else { Role::Replica });
    facts.link_state = node.master.is_some().then_some(node.link);
    facts.upstream = node.master;
    facts
}

fn reading(up: bool, facts: Facts) -> Reading {
    let failure = (!up).then(|| Failure { reason: Reason::Refused, detail: "gone".into() });
    Reading {
        at: clock(),
        began: clock(),
        up,
        failure,
        ping_us: None,
        duration_us: 0,
        connect_us: 0,
        failed_in_row: 0,
        interval_ms: INTERVAL_MS,
        facts,
    }
}
