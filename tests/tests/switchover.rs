//! Switchovers of real services under continuous writers: nothing acknowledged may be lost, whatever
//! happens in between.
#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as a test may")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use model::inventory::Inventory;
use model::operation::{Operation, OperationState, Step, StepState};
use model::plan::Plan;
use model::refusal::Refusal;
use model::service::{Instance, InstanceKind, Mode, Service};
use model::{At, InstanceId, ServiceId};
use ops::World;
use ops::act::{self, ActError, Cx, Observed};
use ops::engine::{Journal, Lease};
use serde_json::{Map, Value, json};
use tests::fleet::{RedisFleet, SentinelService, ZONES};
use tests::load::{Find, Load};
use tests::wait;

/// One fleet at a time: on two cores several would disturb each other's time-outs.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const WRITERS: usize = 4;

/// Told each address that is about to be dialled.
type Hook = Arc<Mutex<Box<dyn FnMut(&str) + Send>>>;

/// A service in an inventory, and the world operations act in.
struct Stage {
    service: ServiceId,
    world: World,
    /// Called with each address that is about to be dialled.
    on_dial: Hook,
}

fn stage(mode: Mode, data: &[String], sentinels: &[String]) -> Stage {
    let service = ServiceId::parse("demo.cart").unwrap();
    let mut inventory = Inventory::default();
    let described = json!({
        "id": service, "system": "demo.shop", "display": "cart", "tier": "core", "class": "zone",
        "mode": mode, "profile": "store", "managed": true, "sentinel_master": "cart",
        "replicas_wanted": 2, "auth_user": "", "has_password": false
    });
    let described: Service = serde_json::from_value(described).unwrap();
    inventory.services.insert(service.clone(), described);
    let all = data.iter().map(|a| (a, InstanceKind::Redis));
    for (address, kind) in all.chain(sentinels.iter().map(|a| (a, InstanceKind::Sentinel))) {
        let zone = 1 + ZONES.iter().position(|z| address.starts_with(z)).unwrap();
        let id = InstanceId::new(&service, address).unwrap();
        let zone = model::ZoneId::parse(&format!("az-{zone}")).unwrap();
        inventory.instances.insert(id.clone(), Instance { id, kind, zone, host: None, shard: 0 });
    }
    let inventory = Arc::new(inventory);
    let on_dial: Hook = Arc::new(Mutex::new(Box::new(|_| {})));
    let hook = Arc::clone(&on_dial);
    let target = move |id: &InstanceId| {
        hook.lock().unwrap()(id.address());
        let address = id.address().to_string();
        Some(link::Target { address, user: String::new(), password: None, tls: None })
    };
    let world = World {
        board: Arc::default(),
        inventory: Box::new(move || Arc::clone(&inventory)),
        target: Box::new(target),
        providers: ops::provider::Providers::default(),
        clock: || At::EPOCH,
    };
    Stage { service, world, on_dial }
}

impl Stage {
    async fn plan(&self, params: Value) -> Result<Plan, Refusal> {
        let kind = model::operation::OperationKind::Switchover;
        ops::plan::make(
            &self.world,
            &ops::plan::Means::default(),
            kind,
            &self.service,
            &params,
            At::EPOCH,
        )
        .await
    }

    fn id(&self, address: &str) -> InstanceId {
        InstanceId::new(&self.service, address).unwrap()
    }

    fn on_dial(&self, hook: impl FnMut(&str) + Send + 'static) {
        *self.on_dial.lock().unwrap() = Box::new(hook);
    }
}

/// How a run ended, and what it wrote down.
#[derive(Debug)]
struct Ended {
    state: OperationState,
    why: String,
    figures: Map<String, Value>,
    lines: Vec<String>,
}

/// A sequential run of a plan in memory: what the engine does, without store and crash. The step
/// `health` needs a watched Board and is left out.
struct Run<'a> {
    world: &'a World,
    operation: Operation,
    steps: Vec<Step>,
    journal: Journal,
    lease: Lease,
}

impl<'a> Run<'a> {
    fn new(world: &'a World, plan: &Plan) -> Run<'a> {
        let operation = json!({
            "id": "0199-test", "kind": plan.kind, "idem_key": "k", "tenant": "demo",
            "service": plan.service, "plan": plan, "plan_hash": plan.hash(), "state": "running",
            "reason": "", "cancel_requested": false, "lease_owner": "me", "lease_until": At::EPOCH,
            "fence": 1, "created_by": "t", "why": "t", "created_at": At::EPOCH, "started_at": null,
            "ended_at": null, "incident": null, "outcome": {}
        });
        let planned = plan.steps.iter().filter(|s| s.kind != "health").enumerate();
        let steps = planned.map(|(seq, s)| {
            let step = json!({
                "operation_id": "0199-test", "seq": seq, "kind": s.kind, "target": s.target,
                "title": s.title, "args": s.args, "commands": s.commands, "tries": s.tries,
                "timeout_ms": s.timeout_ms, "repeatable": s.repeatable,
                "point_of_no_return": s.point_of_no_return, "state": "pending", "attempt": 0,
                "undo_attempt": 0, "started_at": null, "ended_at": null, "before": null,
                "after": null, "error": ""
            });
            serde_json::from_value(step).unwrap()
        });
        Run {
            world,
            operation: serde_json::from_value(operation).unwrap(),
            steps: steps.collect(),
            journal: Journal::default(),
            lease: Lease::new(Duration::from_secs(600), Instant::now()),
        }
    }

    async fn run(&mut self) -> Ended {
        for seq in 0..self.steps.len() {
            if let Err(why) = self.step(seq).await {
                let state = match self.unwind(seq).await {
                    Ok(()) => OperationState::Unwound,
                    Err(_) => OperationState::Stuck,
                };
                return self.ended(state, why);
            }
        }
        self.ended(OperationState::Done, String::new())
    }

    async fn step(&mut self, seq: usize) -> Result<(), String> {
        let patience = Duration::from_millis(self.steps[seq].timeout_ms as u64);
        let deadline = Instant::now() + patience;
        let memo = Mutex::new(Value::Null);
        let mut answer: Option<Result<(), ActError>> = None;
        loop {
            let seen = act::observe(&self.cx(seq, deadline, &memo)).await;
            let late = Instant::now() > deadline;
            let step = &self.steps[seq];
            match (seen, &answer) {
                (Observed::Wished(value), _) => {
                    self.steps[seq].after = value;
                    self.steps[seq].state = StepState::Done;
                    return Ok(());
                }
                (Observed::Other(why), _) => return Err(why),
                (Observed::NotYet(_), Some(Err(ActError::Failed(why)))) => return Err(why.clone()),
                (Observed::NotYet(_), Some(Err(ActError::Retry(_))) | None)
                    if step.attempt < step.tries =>
                {
                    self.steps[seq].attempt += 1;
                    answer = Some(act::apply(&self.cx(seq, deadline, &memo)).await);
                    continue;
                }
                (Observed::NotYet(why) | Observed::Unknown(why), _) if late => return Err(why),
                _ => {}
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn unwind(&mut self, from: usize) -> Result<(), String> {
        for seq in (0..=from).rev().filter(|s| self.steps[*s].attempt > 0) {
            let memo = Mutex::new(Value::Null);
            let deadline = Instant::now() + Duration::from_secs(30);
            let mut undone = Err(ActError::Retry(String::new()));
            for _ in 0..5 {
                undone = act::undo(&self.cx(seq, deadline, &memo)).await;
                if undone.is_ok() {
                    break;
                }
            }
            undone.map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    fn cx<'b>(&'b self, seq: usize, deadline: Instant, memo: &'b Mutex<Value>) -> Cx<'b> {
        Cx {
            world: self.world,
            operation: &self.operation,
            step: &self.steps[seq],
            journal: &self.journal,
            lease: &self.lease,
            deadline,
            tree: None,
            memo,
        }
    }

    fn ended(&self, state: OperationState, why: String) -> Ended {
        let (entries, figures) = self.journal.take();
        Ended { state, why, figures, lines: entries.into_iter().map(|e| e.line).collect() }
    }
}

fn addresses(fleet: &RedisFleet, indices: &[usize]) -> Vec<String> {
    indices.iter().map(|i| fleet.nodes[*i].address.clone()).collect()
}

/// Key of INFO.
fn said(info: &str, key: &str) -> String {
    let line = info.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or_default().trim().to_string()
}

fn upstream(fleet: &RedisFleet, index: usize) -> String {
    let info = fleet.nodes[index].info("replication");
    format!("{}:{}", said(&info, "master_host"), said(&info, "master_port"))
}

struct Sentinels {
    fleet: RedisFleet,
    service: SentinelService,
    stage: Stage,
    find: Find,
}

async fn sentinels() -> Sentinels {
    let mut fleet = RedisFleet::new();
    let service = fleet.sentinel("cart", 5_000).await;
    let mut data = vec![service.master];
    data.extend(&service.replicas);
    let asked = addresses(&fleet, &service.sentinels);
    let stage = stage(Mode::Sentinel, &addresses(&fleet, &data), &asked);
    let find = Find::Sentinel(asked, "cart".into());
    Sentinels { fleet, service, stage, find }
}

impl Sentinels {
    fn address(&self, index: usize) -> String {
        self.fleet.nodes[index].address.clone()
    }

    fn priorities(&self) -> Vec<String> {
        let get = |i: &usize| self.fleet.nodes[*i].cli(&["CONFIG", "GET", "replica-priority"]);
        self.service.replicas.iter().map(get).collect()
    }

    /// The master Sentinels name.
    fn named(&self) -> Vec<String> {
        let ask = |i: &usize| {
            let said = self.fleet.nodes[*i].cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "cart"]);
            said.split_whitespace().collect::<Vec<_>>().join(":")
        };
        self.service.sentinels.iter().map(ask).collect()
    }

    /// The node was told to let writers go, and does; a pause that only ran out is not that.
    async fn takes_writes_again(&self, index: usize) {
        let node = &self.fleet.nodes[index];
        let told = node.info("commandstats");
        assert!(told.contains("cmdstat_client|unpause:calls="), "{told}");
        wait::until("writers are let go", || async {
            (node.cli(&["SET", "let-go", "1"]).trim() == "OK").then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_switchover_under_load_loses_nothing_and_leaves_everybody_on_the_new_master() {
    let _alone = ALONE.lock().await;
    let s = sentinels().await;
    let (old, target) = (s.service.master, s.service.replicas[1]);
    let load = Load::start(s.find.clone(), WRITERS).await;
    let plan = s.stage.plan(json!({ "target": s.stage.id(&s.address(target)) })).await.unwrap();
    let again = s.stage.plan(json!({ "target": s.stage.id(&s.address(target)) })).await.unwrap();
    assert_eq!(plan.hash(), again.hash(), "the same world gives the same plan");
    let saved = s.priorities();
    let ended = Run::new(&s.stage.world, &plan).run().await;
    assert_eq!(ended.state, OperationState::Done, "{ended:#?}");
    load.goes_on().await;
    let written = load.stop().await;
    assert_eq!(written.lost().await, Vec::<String>::new());
    assert_eq!(ended.figures["new_master"], json!(s.stage.id(&s.address(target))));
    let demoted = format!("{}> REPLICAOF", s.stage.id(&s.address(old)));
    assert!(ended.lines.iter().any(|l| l.starts_with(&demoted)), "{:#?}", ended.lines);
    for other in [old, s.service.replicas[0]] {
        assert_eq!(upstream(&s.fleet, other), s.address(target));
    }
    assert_eq!(s.named(), vec![s.address(target); 3]);
    assert_eq!(s.priorities(), saved);
    for i in &s.service.replicas {
        let file = std::fs::read_to_string(s.fleet.nodes[*i].dir.join("redis.conf")).unwrap();
        let steered = file.lines().any(|l| l == "replica-priority 1");
        assert!(!steered, "the steered priority is not left in the file");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_writers_notice_what_a_bare_sentinel_failover_throws_away() {
    let _alone = ALONE.lock().await;
    let s = sentinels().await;
    let load = Load::start(s.find.clone(), WRITERS).await;
    s.fleet.nodes[s.service.sentinels[1]].cli(&["SENTINEL", "FAILOVER", "cart"]);
    let old = &s.fleet.nodes[s.service.master];
    wait::until("Sentinel demotes the old master", || async { (!old.is_master()).then_some(()) })
        .await;
    load.goes_on().await;
    let written = load.stop().await;
    assert!(!written.lost().await.is_empty(), "else the other tests prove nothing");
}

/// Ends the fenced section by what `signal` does to the target right before the pause; answers the
/// service, its old master, and what was written down.
async fn spoiled_by(signal: &'static str) -> (Sentinels, Load, Ended) {
    let s = sentinels().await;
    let (old, target) = (s.service.master, s.service.replicas[0]);
    let load = Load::start(s.find.clone(), WRITERS).await;
    let plan = s.stage.plan(json!({ "target": s.stage.id(&s.address(target)) })).await.unwrap();
    let (pid, master) = (s.fleet.nodes[target].pid().unwrap().to_string(), s.address(old));
    let mut run = Run::new(&s.stage.world, &plan);
    run.step(0).await.unwrap();
    // From here on the old master is dialled for two looks, the rechecks, and then for the pause.
    let dials = AtomicUsize::new(0);
    s.stage.on_dial(move |address| {
        if address == master && dials.fetch_add(1, Ordering::SeqCst) == 3 {
            let sent = std::process::Command::new("kill").args([signal, &pid]).status();
            assert!(sent.unwrap().success());
        }
    });
    let why = run.step(1).await.unwrap_err();
    s.stage.on_dial(|_| {});
    if signal == "-STOP" {
        assert!(run.unwind(1).await.is_err(), "a frozen node keeps its steered priority");
        s.fleet.nodes[target].signal("CONT");
    }
    run.unwind(1).await.unwrap();
    let ended = run.ended(OperationState::Unwound, why);
    s.takes_writes_again(old).await;
    load.goes_on().await;
    (s, load, ended)
}

fn assert_paused_and_let_go(ended: &Ended) {
    assert!(ended.lines.iter().any(|l| l.contains("CLIENT PAUSE")), "{ended:#?}");
    assert!(ended.lines.iter().any(|l| l.contains("CLIENT UNPAUSE")), "{ended:#?}");
    assert!(!ended.lines.iter().any(|l| l.contains("SENTINEL FAILOVER")), "{ended:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_dies_before_the_drain_aborts_and_lets_writers_go() {
    let _alone = ALONE.lock().await;
    let (mut s, load, ended) = spoiled_by("-9").await;
    assert_paused_and_let_go(&ended);
    assert_eq!(load.stop().await.lost().await, Vec::<String>::new());
    assert_eq!(s.named(), vec![s.address(s.service.master); 3]);
    let dead = &mut s.fleet.nodes[s.service.replicas[0]];
    dead.kill();
    dead.spawn();
    dead.answers().await;
    assert!(s.priorities().iter().all(|p| p.contains("100")), "{:?}", s.priorities());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_freezes_before_the_drain_aborts_and_lets_writers_go() {
    let _alone = ALONE.lock().await;
    let (s, load, ended) = spoiled_by("-STOP").await;
    assert_paused_and_let_go(&ended);
    assert_eq!(load.stop().await.lost().await, Vec::<String>::new());
    assert_eq!(s.named(), vec![s.address(s.service.master); 3]);
    assert!(s.priorities().iter().all(|p| p.contains("100")), "{:?}", s.priorities());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_dies_after_the_promotion_is_finished_by_the_next_one() {
    let _alone = ALONE.lock().await;
    let s = sentinels().await;
    let (old, target) = (s.service.master, s.service.replicas[0]);
    let load = Load::start(s.find.clone(), WRITERS).await;
    let plan = s.stage.plan(json!({ "target": s.stage.id(&s.address(target)) })).await.unwrap();
    let mut run = Run::new(&s.stage.world, &plan);
    run.step(0).await.unwrap();
    let promoted = wait::until("the target is promoted", || async {
        s.fleet.nodes[target].is_master().then_some(())
    });
    // Dropping the run is what its death is to the servers: connections close, nothing more comes.
    tokio::select! {
        out = run.step(1) => out.unwrap(),
        () = promoted => {}
    }
    let mut next = Run::new(&s.stage.world, &plan);
    next.steps[0].state = StepState::Done;
    let mut ended = Ok(());
    for seq in 1..next.steps.len() {
        ended = ended.and(next.step(seq).await);
    }
    assert_eq!(ended, Ok(()), "{:#?}", next.ended(OperationState::Stuck, String::new()));
    let ended = next.ended(OperationState::Done, String::new());
    load.goes_on().await;
    let lost = load.stop().await.lost().await;
    let told = ended.figures.get("bytes_possibly_lost").and_then(Value::as_f64).unwrap_or(0.0);
    assert!(lost.is_empty() || told > 0.0, "{} lost and not a word", lost.len());
    assert_eq!(upstream(&s.fleet, old), s.address(target));
    assert_eq!(s.named(), vec![s.address(target); 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_on_an_unfit_or_doubtful_service_is_refused_naming_the_node() {
    let _alone = ALONE.lock().await;
    let mut s = sentinels().await;
    let (a, b) = (s.service.replicas[0], s.service.replicas[1]);
    let (ida, idb) = (s.stage.id(&s.address(a)), s.stage.id(&s.address(b)));
    // Priority 0.
    s.fleet.nodes[a].cli(&["CONFIG", "SET", "replica-priority", "0"]);
    let refused = s.stage.plan(json!({ "target": ida })).await.unwrap_err();
    assert_eq!((refused.check.as_str(), refused.target.as_str()), ("target", ida.as_str()));
    s.fleet.nodes[a].cli(&["CONFIG", "SET", "replica-priority", "100"]);
    // Link down: the replica may not synchronise any more.
    let master = &s.fleet.nodes[s.service.master];
    master.cli(&["ACL", "SETUSER", "default", "-psync", "-sync"]);
    master.cli(&["CLIENT", "KILL", "TYPE", "replica"]);
    wait::until("the links are down", || async {
        let down =
            |i: usize| said(&s.fleet.nodes[i].info("replication"), "master_link_status") == "down";
        (down(a) && down(b)).then_some(())
    })
    .await;
    let refused = s.stage.plan(json!({ "target": ida })).await.unwrap_err();
    assert_eq!(refused.check, "P3", "{refused}");
    s.fleet.nodes[s.service.master].cli(&["ACL", "SETUSER", "default", "+@all"]);
    wait::until("the plan is possible again", || async {
        s.stage.plan(json!({ "target": ida })).await.ok()
    })
    .await;
    // A dead node, then the same allowed.
    s.fleet.nodes[b].kill();
    let refused = s.stage.plan(json!({ "target": ida })).await.unwrap_err();
    assert_eq!((refused.check.as_str(), refused.target.as_str()), ("P1", idb.as_str()));
    let allowed = json!({ "target": ida, "allow_dead": [idb] });
    let early = s.stage.plan(allowed.clone()).await.unwrap_err();
    assert_eq!(early.check, "P4", "Sentinel could still promote it: {early}");
    wait::until("the Sentinels see it down too", || async {
        s.stage.plan(allowed.clone()).await.ok()
    })
    .await;
    let refused = s.stage.plan(json!({ "target": idb, "allow_dead": [idb] })).await.unwrap_err();
    assert_eq!(refused.check, "P1");
    // The Sentinels cannot form a majority.
    s.fleet.nodes[b].spawn();
    s.fleet.nodes[b].answers().await;
    for i in &s.service.sentinels.clone()[..2] {
        s.fleet.nodes[*i].kill();
    }
    let refused = s.stage.plan(json!({ "target": ida })).await.unwrap_err();
    assert_eq!(refused.check, "P4", "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_that_disagree_are_a_refusal() {
    let _alone = ALONE.lock().await;
    let s = sentinels().await;
    let one = &s.fleet.nodes[s.service.sentinels[2]];
    one.cli(&["SENTINEL", "REMOVE", "cart"]);
    let (host, port) = (ZONES[1], s.fleet.nodes[s.service.replicas[0]].port.to_string());
    one.cli(&["SENTINEL", "MONITOR", "cart", host, &port, "2"]);
    let refused =
        wait::until("the disagreement is seen", || async { s.stage.plan(json!({})).await.err() })
            .await;
    assert!(["P2", "P4"].contains(&refused.check.as_str()), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_switchover_without_sentinels_loses_nothing_and_survives_restarts() {
    let _alone = ALONE.lock().await;
    let mut fleet = RedisFleet::new();
    let data = fleet.replicated(2, &[]).await;
    let all = addresses(&fleet, &data);
    let stage = stage(Mode::Standalone, &all, &[]);
    assert_eq!(stage.plan(json!({})).await.unwrap_err().check, "discovery");
    let load = Load::start(Find::Role(all.clone()), WRITERS).await;
    let params = json!({ "target": stage.id(&all[2]), "discovery": "none_needed" });
    let plan = stage.plan(params).await.unwrap();
    let ended = Run::new(&stage.world, &plan).run().await;
    assert_eq!(ended.state, OperationState::Done, "{ended:#?}");
    load.goes_on().await;
    assert_eq!(load.stop().await.lost().await, Vec::<String>::new());
    for i in [0, 1] {
        assert_eq!(upstream(&fleet, data[i]), all[2]);
        fleet.nodes[data[i]].kill();
        fleet.nodes[data[i]].spawn();
        fleet.nodes[data[i]].answers().await;
        assert_eq!(upstream(&fleet, data[i]), all[2], "the file holds the role");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_masters_found_on_resume_go_back_only_while_the_target_is_unused() {
    let _alone = ALONE.lock().await;
    let mut fleet = RedisFleet::new();
    let data = fleet.replicated(1, &[]).await;
    let all = addresses(&fleet, &data);
    let stage = stage(Mode::Standalone, &all, &[]);
    let plan = stage.plan(json!({ "discovery": "none_needed" })).await.unwrap();
    // Another run died right behind the promotion, and the old master took a write since.
    fleet.nodes[data[1]].cli(&["REPLICAOF", "NO", "ONE"]);
    fleet.nodes[data[0]].cli(&["SET", "late", "1"]);
    let ended = Run::new(&stage.world, &plan).run().await;
    assert_eq!(ended.state, OperationState::Done, "{ended:#?}");
    assert_eq!(fleet.nodes[data[1]].cli(&["GET", "late"]).trim(), "1");
    // Back again, and now both took writes: nobody guesses.
    let plan = stage.plan(json!({ "discovery": "none_needed" })).await.unwrap();
    fleet.nodes[data[0]].cli(&["REPLICAOF", "NO", "ONE"]);
    fleet.nodes[data[0]].cli(&["SET", "here", "1"]);
    fleet.nodes[data[1]].cli(&["SET", "there", "1"]);
    let mut run = Run::new(&stage.world, &plan);
    run.steps[0].attempt = 1;
    let ended = run.run().await;
    assert_eq!(ended.state, OperationState::Stuck, "{ended:#?}");
    assert!(ended.why.contains("two masters") && ended.why.contains("offset"), "{}", ended.why);
    assert_eq!(ended.lines, Vec::<String>::new(), "nothing was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_failovers_there_and_back_at_once_lose_nothing() {
    let _alone = ALONE.lock().await;
    let mut fleet = RedisFleet::new();
    let nodes = fleet.cluster(2_000).await;
    let all = addresses(&fleet, &nodes);
    let stage = stage(Mode::Cluster, &all, &[]);
    let load = Load::start(Find::Slots(all.clone()), WRITERS).await;
    let target = stage.id(&all[3]);
    let plan = stage.plan(json!({ "target": target })).await.unwrap();
    let ended = Run::new(&stage.world, &plan).run().await;
    assert_eq!(ended.state, OperationState::Done, "{ended:#?}");
    load.goes_on().await;
    assert!(fleet.nodes[nodes[3]].is_master());
    assert_eq!(upstream(&fleet, nodes[0]), all[3]);
    // Twice more: now the target won the election before the last one and still holds its votes.
    for (from, to) in [(3, 0), (0, 3)] {
        let plan = wait::until("a plan is possible", || async {
            stage.plan(json!({ "target": stage.id(&all[to]) })).await.ok()
        })
        .await;
        let ended = Run::new(&stage.world, &plan).run().await;
        assert_eq!(ended.state, OperationState::Done, "{ended:#?}");
        assert!(ended.lines.iter().any(|l| l.ends_with("waiting")), "{ended:#?}");
        assert_eq!(upstream(&fleet, nodes[from]), all[to]);
    }
    load.goes_on().await;
    assert_eq!(load.stop().await.lost().await, Vec::<String>::new());
    let refused = stage.plan(json!({})).await.unwrap_err();
    assert_eq!(refused.check, "P2", "which shard has to be said: {refused}");
}
