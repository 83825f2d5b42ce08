//! Rolling restart and version upgrade: per shard the replicas one by one, a switchover, the old
//! master; at last the Sentinels.
//!
//! Invariants: a master others follow is never ended; one node is away at a time; in an upgrade no
//! replica that has yet to be upgraded is ever asked to copy a newer master anew without need: it is
//! the next one to be replaced. It is one plan (decision 106): the switchover's steps stand between
//! the restarts, with the processes the operation itself started.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use model::field::Field;
use model::operation::OperationKind;
use model::plan::{Checked, Plan, PlannedStep};
use model::refusal::Refusal;
use model::service::Mode;
use model::{At, InstanceId, ServiceId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::choose::version;
use super::switchover::{self, Discovery};
use crate::act::cast::Cast;
use crate::placement::{Layout, risk};
use crate::provider::NodeState;
use crate::topology::{self, Snapshot};
use crate::world::World;

/// Version of this definition.
pub const VERSION: u32 = 1;
/// Its steps; each mode uses some.
pub const STEPS: &[&str] = &[
    "recycle",
    "rejoin",
    "healthy",
    "steer",
    "fence",
    "priorities",
    "drain",
    "cluster_failover",
    "persist",
    "roles",
    "data",
    "watching",
    "health",
];

/// Time to read the topology: one poll deadline and a margin.
const LOOK: Duration = Duration::from_secs(5);
/// A plan older than this is made again.
const VALID_MS: i64 = 600_000;
/// Saving 16 GB at 200 MB/s, ending and starting.
const RECYCLE_MS: i64 = 180_000;
/// Loading and a full synchronisation of 16 GB at 100 MB/s, and a margin.
const REJOIN_MS: i64 = 300_000;
/// What a step that waits for the Board has beyond the time it must hold.
const HEALTHY_SLACK_MS: i64 = 120_000;
/// A Sentinel starts at once and hears of the others within 2 s.
const WATCHING_MS: i64 = 60_000;
/// How long a restarted node is looked at before the next one goes, seconds.
const HOLD_S: u32 = 30;
/// Longest.
const HOLD_S_MAX: u32 = 3_600;
/// A node is away about that long; its master's backlog must hold twice what is written then.
const AWAY_S: f64 = 10.0;

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// Upgrade only: absolute path of the program to run from now on.
    pub program: Option<PathBuf>,
    /// Also the Sentinels; an upgrade does them unless told not to.
    pub sentinels: Option<bool>,
    /// Seconds a node must be up before the next one goes; 0: only until its link is up.
    pub hold_s: u32,
    /// How clients of a service without Sentinels and cluster find the new master.
    pub discovery: Option<Discovery>,
    /// A master without replicas is away while it restarts: say that it may be.
    pub outage: bool,
}

impl Default for Params {
    fn default() -> Params {
        Params { program: None, sentinels: None, hold_s: HOLD_S, discovery: None, outage: false }
    }
}

/// What a step needs to know of a node that is to be replaced.
struct Node {
    id: InstanceId,
    host: String,
    state: NodeState,
}

/// What all steps share.
struct Roll<'a> {
    snapshot: &'a Snapshot,
    params: &'a Params,
    /// Engine and version of the new program.
    to: Option<String>,
    nodes: Vec<Node>,
}

/// Makes the plan.
pub async fn plan(
    world: &World,
    kind: OperationKind,
    service: &ServiceId,
    params: &Value,
    now: At,
) -> Result<Plan, Refusal> {
    let params: Params = serde_json::from_value(params.clone())
        .map_err(|e| Refusal::new("params", service, format!("{}: {e}", kind.as_str())))?;
    admitted(kind, service, &params)?;
    let snapshot = topology::snapshot(world, service, Instant::now() + LOOK).await?;
    let mut nodes = Vec::new();
    let all = snapshot.nodes.iter().map(|n| &n.id);
    let watchers =
        snapshot.sentinels.iter().map(|s| &s.id).filter(|_| with_sentinels(kind, &params));
    for id in all.chain(watchers) {
        nodes.push(provided(world, id).await?);
    }
    let to = match &params.program {
        Some(program) => Some(new_version(world, &nodes, program).await?),
        None => None,
    };
    let roll = Roll { snapshot: &snapshot, params: &params, to, nodes };
    let layout = Layout::of_snapshot(&(world.inventory)(), &snapshot);
    roll.make(kind, layout.as_ref(), now)
}

fn admitted(kind: OperationKind, service: &ServiceId, params: &Params) -> Result<(), Refusal> {
    let refuse = |why: String| Err(Refusal::new("params", service, why));
    if (kind == OperationKind::Upgrade) != params.program.is_some() {
        return refuse(match kind {
            OperationKind::Upgrade => "program: name the program to upgrade to".into(),
            _ => "program: a restart keeps the program; an upgrade changes it".into(),
        });
    }
    if params.hold_s > HOLD_S_MAX {
        return refuse(format!("hold_s = {}: at most {HOLD_S_MAX}", params.hold_s));
    }
    Ok(())
}

fn with_sentinels(kind: OperationKind, params: &Params) -> bool {
    params.sentinels.unwrap_or(kind == OperationKind::Upgrade)
}

async fn provided(world: &World, id: &InstanceId) -> Result<Node, Refusal> {
    let inventory = (world.inventory)();
    let (provider, at) = world.providers.of(&inventory, id)?;
    let state = provider.observe(&at).await;
    let state = state.map_err(|e| Refusal::new("provider", id, e.to_string()))?;
    if !state.exists {
        let why = format!("the provider of {id} did not make it and cannot start it again");
        return Err(Refusal::new("provider", id, why));
    }
    let host = inventory.instances.get(id).and_then(|i| i.host.as_ref());
    Ok(Node { id: id.clone(), host: host.map(ToString::to_string).unwrap_or_default(), state })
}

/// Engine and version of the program, as every node's provider knows it.
async fn new_version(
    world: &World,
    nodes: &[Node],
    program: &std::path::Path,
) -> Result<String, Refusal> {
    let mut all = Vec::new();
    for node in nodes {
        let inventory = (world.inventory)();
        let (provider, _) = world.providers.of(&inventory, &node.id)?;
        let said = provider.version(program).await;
        all.push(said.map_err(|e| Refusal::new("provider", &node.id, e.to_string()))?);
    }
    all.dedup();
    match all.as_slice() {
        [one] => Ok(one.clone()),
        other => {
            let why = format!("{} is not the same everywhere: {other:?}", program.display());
            Err(Refusal::new("version", program.display(), why))
        }
    }
}

impl Roll<'_> {
    fn make(&self, kind: OperationKind, layout: Option<&Layout>, now: At) -> Result<Plan, Refusal> {
        let service = &self.snapshot.service.id;
        self.upgradable()?;
        let (mut steps, mut checks, mut world) = (Vec::new(), Vec::new(), Vec::new());
        let mut after = layout.cloned();
        let masters: Vec<InstanceId> = self.snapshot.masters().into_iter().cloned().collect();
        for master in &masters {
            self.backlog(master)?;
            match self.snapshot.replicas_of(master).is_empty() {
                true => self.alone(master, &mut steps)?,
                false => {
                    let (cast, checked) = self.cast(master, masters.len())?;
                    checks.extend(checked);
                    world.push(switchover::identity(self.snapshot, &cast));
                    after = after.map(|a| a.promoted(&cast.old, &cast.target));
                    self.shard(&cast, &mut steps);
                }
            }
        }
        self.sentinels(&mut steps);
        if steps.is_empty() {
            let why = format!("no node of {service} says it is a master");
            return Err(Refusal::new("P2", service, why));
        }
        if let (Some(before), Some(after)) = (layout, &after) {
            checks.push(risk::told_check(before, after));
        }
        Ok(self.assemble(kind, steps, checks, world, now))
    }

    fn cast(&self, master: &InstanceId, masters: usize) -> Result<(Cast, Vec<Checked>), Refusal> {
        let shard = self.snapshot.place(master).map(|p| p.shard);
        let params = switchover::Params {
            shard: shard.filter(|_| masters > 1),
            discovery: self.params.discovery,
            ..switchover::Params::default()
        };
        switchover::parts(self.snapshot, &params, None)
    }

    /// Replicas, the hand-over, the old master.
    fn shard(&self, cast: &Cast, steps: &mut Vec<PlannedStep>) {
        // The target last: it is master as soon as it is back, and fresh.
        for id in cast.others.iter().chain([&cast.target]) {
            self.node(id, "replica", steps);
        }
        let mut hand_over = switchover::steps(self.snapshot.service.mode, cast);
        let health = hand_over.pop();
        steps.extend(hand_over);
        self.node(&cast.old, "replica", steps);
        steps.extend(health);
    }

    fn alone(&self, master: &InstanceId, steps: &mut Vec<PlannedStep>) -> Result<(), Refusal> {
        if !self.params.outage {
            let why = format!(
                "{master} has no replica: it is away while it restarts; say outage = true to accept \
                 that"
            );
            return Err(Refusal::new("outage", master, why));
        }
        self.node(master, "master", steps);
        Ok(())
    }

    fn node(&self, id: &InstanceId, role: &str, steps: &mut Vec<PlannedStep>) {
        let Some(node) = self.nodes.iter().find(|n| n.id == *id) else { return };
        let mut args =
            json!({ "host": node.host, "incarnation": node.state.incarnation, "role": role });
        let mut commands = vec![
            format!("{id}> CONFIG REWRITE"),
            format!("{id}> SHUTDOWN SAVE"),
            format!("{id}> provider start {}", id.address()),
        ];
        let mut title = format!("Restart {id}");
        if let (Some(program), Some(to)) = (&self.params.program, &self.to) {
            let (program, was) = (program.display().to_string(), node.state.program.display());
            args["program"] = program.clone().into();
            args["was"] = was.to_string().into();
            args["version"] = to.split(' ').next_back().unwrap_or_default().into();
            commands.insert(2, format!("{id}> provider install {program}"));
            title = format!("Restart {id} as {to}");
        }
        let recycle =
            PlannedStep { commands, tries: 3, ..step("recycle", id, title, &args, RECYCLE_MS) };
        steps.push(recycle);
        let title = format!("Wait until {id} is a {role} again, in step with its master");
        steps.push(step("rejoin", id, title, &args, REJOIN_MS));
        let hold_ms = i64::from(self.params.hold_s) * 1000;
        if hold_ms > 0 {
            args["up_for_ms"] = hold_ms.into();
            let title = format!("{id} up for {} s", self.params.hold_s);
            steps.push(step("healthy", id, title, &args, hold_ms + HEALTHY_SLACK_MS));
        }
    }

    fn sentinels(&self, steps: &mut Vec<PlannedStep>) {
        for sentinel in &self.snapshot.sentinels {
            let Some(node) = self.nodes.iter().find(|n| n.id == sentinel.id) else { continue };
            let id = &node.id;
            let mut args = json!({ "host": node.host, "incarnation": node.state.incarnation });
            let mut commands = vec![
                format!("{id}> SENTINEL FLUSHCONFIG"),
                format!("{id}> SHUTDOWN"),
                format!("{id}> provider start {}", id.address()),
            ];
            if let Some(program) = &self.params.program {
                let program = program.display().to_string();
                args["was"] = node.state.program.display().to_string().into();
                commands.insert(2, format!("{id}> provider install {program}"));
                args["program"] = program.into();
            }
            let title = format!("Restart Sentinel {id}");
            let recycle = step("recycle", id, title, &args, RECYCLE_MS);
            steps.push(PlannedStep { commands, tries: 3, ..recycle });
            let title = format!("Wait until {id} watches and finds a quorum");
            steps.push(step("watching", id, title, &args, WATCHING_MS));
        }
    }

    /// A replica that comes back must find what it missed in its master's backlog.
    fn backlog(&self, master: &InstanceId) -> Result<(), Refusal> {
        let Some(node) = self.snapshot.node(master) else { return Ok(()) };
        let rate = node.get(Field::InstantaneousInputKbps).unwrap_or(0.0) * 1024.0;
        let (has, needs) = (node.get(Field::ReplBacklogSize), rate * AWAY_S * 2.0);
        match has {
            Some(has) if has < needs => Err(Refusal::new(
                "backlog",
                master,
                format!(
                    "{master} has a backlog of {has} bytes, {needs} are needed: every restart \
                         would copy everything"
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Never backwards, and never from an engine whose files the other cannot read.
    fn upgradable(&self) -> Result<(), Refusal> {
        let Some(to) = &self.to else { return Ok(()) };
        let (engine, number) = to.split_once(' ').unwrap_or(("", to));
        let wanted: Vec<u32> = number.split('.').map_while(|p| p.parse().ok()).collect();
        for (id, node) in self.snapshot.answered() {
            let text = &node.facts.text;
            let is_valkey = !text.valkey_version.is_empty();
            let refuse = |why: String| Err(Refusal::new("version", id, why));
            let has = if is_valkey { numbers(&text.valkey_version) } else { version(node) };
            if is_valkey && engine == "redis" {
                return refuse(format!("{id} runs Valkey: Redis does not read its files"));
            }
            if !is_valkey && engine == "valkey" && has >= vec![7, 4] {
                return refuse(format!(
                    "{id} runs Redis {}: Valkey reads files up to 7.2",
                    text.version
                ));
            }
            let same_engine = is_valkey == (engine == "valkey");
            if same_engine && has > wanted {
                return refuse(format!("{id} runs {}, newer than {number}", text.version));
            }
        }
        Ok(())
    }

    fn assemble(
        &self,
        kind: OperationKind,
        steps: Vec<PlannedStep>,
        checks: Vec<Checked>,
        world: Vec<Value>,
        now: At,
    ) -> Plan {
        let service = &self.snapshot.service.id;
        let stall = match (self.params.outage, self.snapshot.service.mode) {
            (true, _) => "a master without replicas is away while it restarts",
            (_, Mode::Sentinel) => "writes stall ≤ 2.5 s",
            (_, Mode::Cluster) => "writes of each shard stall ≤ 0.2 s",
            _ => "writes stall ≤ 0.3 s",
        };
        let count = self.nodes.len();
        let title = match &self.to {
            Some(to) => {
                format!("Upgrade {service} to {to}, node by node; not back once a master runs it")
            }
            None => format!("Restart {service}, node by node"),
        };
        let mut locks = vec![format!("service:{service}")];
        locks.extend(self.nodes.iter().map(|n| format!("host:{}", n.host)));
        locks.sort();
        locks.dedup();
        let processes: serde_json::Map<String, Value> = self
            .nodes
            .iter()
            .map(|n| (n.id.to_string(), n.state.incarnation.clone().into()))
            .collect();
        Plan {
            kind,
            kind_version: VERSION,
            service: service.clone(),
            params: serde_json::to_value(self.params).expect("parameters are plain data"),
            title,
            blast_radius: format!("{count} processes of {service}, one at a time; {stall}"),
            level: 3,
            confirm: service.to_string(),
            world: json!({ "shards": world, "processes": processes }),
            checks,
            steps,
            locks,
            made_at: now,
            expires_at: now + VALID_MS,
        }
    }
}

fn numbers(text: &str) -> Vec<u32> {
    text.split('.').map_while(|p| p.parse().ok()).collect()
}

/// A step that may be looked at and repeated as often as one likes.
fn step(kind: &str, id: &InstanceId, title: String, args: &Value, timeout_ms: i64) -> PlannedStep {
    PlannedStep {
        kind: kind.into(),
        target: id.to_string(),
        title,
        args: args.clone(),
        commands: Vec::new(),
        timeout_ms,
        tries: 1,
        repeatable: true,
        point_of_no_return: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{edit, id, service};

    fn roll(snapshot: &Snapshot, params: Params, to: Option<&str>) -> Result<Plan, Refusal> {
        let state = |id: &InstanceId| NodeState {
            exists: true,
            running: true,
            pid: Some(7),
            incarnation: "7-7".into(),
            address: id.address().into(),
            program: "/usr/bin/redis-server".into(),
            exit: None,
        };
        let data = snapshot.nodes.iter().map(|n| &n.id);
        let watch = snapshot.sentinels.iter().map(|s| &s.id);
        let watch = watch.filter(|_| params.sentinels == Some(true));
        let nodes =
            data.chain(watch).map(|id| Node { id: id.clone(), host: "h".into(), state: state(id) });
        let nodes = nodes.collect();
        let roll = Roll { snapshot, params: &params, to: to.map(Into::into), nodes };
        roll.make(OperationKind::RollingRestart, None, At::EPOCH)
    }

    fn held() -> Params {
        Params { hold_s: 0, discovery: Some(Discovery::Manual), ..Params::default() }
    }

    #[test]
    fn replicas_go_first_then_the_hand_over_then_the_old_master_and_the_sentinels() {
        let now = service(Mode::Sentinel);
        let params = Params { sentinels: Some(true), ..held() };
        let plan = roll(&now, params, None).unwrap();
        let kinds: Vec<&str> = plan.steps.iter().map(|s| s.kind.as_str()).collect();
        let hand_over = ["steer", "fence", "priorities", "roles", "data"];
        let node = ["recycle", "rejoin"];
        let mut wished = [node, node].concat();
        wished.extend(hand_over);
        wished.extend(node);
        wished.push("health");
        wished.extend(["recycle", "watching"].repeat(3));
        assert_eq!(kinds, wished);
        let order: Vec<&str> =
            plan.steps.iter().filter(|s| s.kind == "recycle").map(|s| s.target.as_str()).collect();
        assert_eq!(order[..3], [id(3, 6379), id(2, 6379), id(1, 6379)].map(|i| i.to_string()));
        assert!(plan.steps.iter().all(|s| STEPS.contains(&s.kind.as_str())));
    }

    #[test]
    fn every_mode_hands_over_its_own_way_and_nothing_that_moves_is_in_the_hash() {
        for (mode, step) in [(Mode::Cluster, "cluster_failover"), (Mode::Standalone, "drain")] {
            let now = service(mode);
            let plan = roll(&now, held(), None).unwrap();
            assert!(plan.steps.iter().any(|s| s.kind == step), "{mode:?}");
            let mut later = now.clone();
            (1..=3).for_each(|n| edit(&mut later, n).offset += 99.0);
            assert_eq!(plan.hash(), roll(&later, held(), None).unwrap().hash());
        }
    }

    #[test]
    fn a_lone_master_is_restarted_only_when_its_outage_is_accepted() {
        let mut now = service(Mode::Standalone);
        now.nodes.truncate(1);
        assert_eq!(roll(&now, held(), None).unwrap_err().check, "outage");
        let plan = roll(&now, Params { outage: true, ..held() }, None).unwrap();
        assert_eq!(plan.steps.len(), 2);
    }

    #[test]
    fn an_upgrade_never_goes_back_and_never_to_an_engine_that_cannot_read_the_files() {
        let mut now = service(Mode::Sentinel);
        let to = |now: &Snapshot, to: &str| {
            let params = Params { program: Some("/new".into()), ..held() };
            roll(now, params, Some(to)).map_err(|r| r.message)
        };
        let plan = to(&now, "redis 8.0.2").unwrap();
        assert!(plan.steps[0].commands.iter().any(|c| c.ends_with("provider install /new")));
        assert_eq!(plan.steps[0].args["version"], "8.0.2");
        assert!(to(&now, "redis 6.2.1").unwrap_err().contains("newer than"));
        assert!(to(&now, "valkey 8.1.1").is_ok());
        edit(&mut now, 1).facts.text.version = "7.4.0".into();
        assert!(to(&now, "valkey 8.1.1").unwrap_err().contains("up to 7.2"));
        for n in 1..=3 {
            edit(&mut now, n).facts.text.version = "7.2.4".into();
            edit(&mut now, n).facts.text.valkey_version = "8.0.0".into();
        }
        assert!(to(&now, "redis 8.0.2").unwrap_err().contains("Valkey"));
        assert!(to(&now, "valkey 8.1.1").is_ok());
    }
}
