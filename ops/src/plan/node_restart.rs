//! Restart of one dead data node or Sentinel through its provider.
//!
//! Invariants: a node that answers is not restarted; a node that would come back as an empty master
//! its replicas copy is not restarted; roles are taken from the other nodes and the Sentinels, since
//! the node itself is silent. Refuses to know why it died.

use std::time::{Duration, Instant};

use model::field::Field;
use model::operation::OperationKind;
use model::plan::{Checked, Plan, PlannedStep};
use model::reading::Reason;
use model::refusal::Refusal;
use model::row::Row;
use model::service::{InstanceKind, Mode};
use model::{At, InstanceId, ServiceId};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::provider::NodeState;
use crate::topology::{self, Snapshot};
use crate::world::World;

/// Version of this definition.
pub const VERSION: u32 = 1;
/// Its steps.
pub const STEPS: &[&str] = &["start", "rejoin", "healthy"];
/// Shortest time a node has to be seen up: one scrape interval.
pub const UP_FOR_S_MIN: u32 = 5;
/// Longest: beyond it the verdict says nothing about the restart.
pub const UP_FOR_S_MAX: u32 = 600;

/// Time to read the topology: one poll deadline and a margin.
const LOOK: Duration = Duration::from_secs(5);
/// A plan older than this is made again: the world it was made in has moved on.
const VALID_MS: i64 = 300_000;
/// From the start of the process until it answers or loads: an empty one needs 50 ms.
const START_MS: i64 = 30_000;
/// Loading and a full synchronisation of 16 GB at 100 MB/s, and a margin.
const REJOIN_MS: i64 = 300_000;
/// What `healthy` has beyond the time it must hold: three scrape intervals of 15 s and the repeats.
const HEALTHY_SLACK_MS: i64 = 120_000;

/// Parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    /// The node.
    instance: InstanceId,
    /// How long it must be up at the end, seconds.
    #[serde(default = "up_for_default")]
    up_for_s: u32,
}

fn up_for_default() -> u32 {
    crate::Config::default().up_for_s
}

/// What the node was and will be, as the others see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Returns {
    /// Follows a master that is there.
    Replica,
    /// Is the only master of its shard.
    Master,
    /// Watches again, with the configuration it wrote down.
    Sentinel,
}

impl Returns {
    fn as_str(self) -> &'static str {
        match self {
            Returns::Replica => "replica",
            Returns::Master => "master",
            Returns::Sentinel => "sentinel",
        }
    }
}

/// Makes the plan.
pub async fn plan(
    world: &World,
    service: &ServiceId,
    params: &Value,
    now: At,
) -> Result<Plan, Refusal> {
    let params: Params = serde_json::from_value(params.clone())
        .map_err(|e| Refusal::new("params", service, format!("node_restart: {e}")))?;
    let node = &params.instance;
    check_params(world, service, &params)?;
    let state = provided(world, node).await?;
    let snapshot = topology::look(world, service, Instant::now() + LOOK).await?;
    let silent = silent(&snapshot, node)?;
    let (returns, role_seen) = match is_sentinel(world, node) {
        true => sentinel(&snapshot, node)?,
        false => returns(&snapshot, node)?,
    };
    let row = world.board.row(node);
    let data_seen = data_safe(&snapshot, node, returns, row.as_deref())?;
    let checks = vec![
        passed("provider", describe(&state)),
        passed("down", silent),
        passed("role", role_seen),
        passed("data", data_seen),
    ];
    let inventory = (world.inventory)();
    let host = inventory.instances.get(node).and_then(|i| i.host.clone());
    let mut plan = assemble(service, &params, &state, returns, checks, now);
    plan.locks.extend(host.map(|h| format!("host:{h}")));
    Ok(plan)
}

fn passed(check: &str, seen: String) -> Checked {
    Checked { check: check.into(), passed: true, seen }
}

fn check_params(world: &World, service: &ServiceId, params: &Params) -> Result<(), Refusal> {
    let node = &params.instance;
    let refuse = |why: String| Err(Refusal::new("params", node, why));
    if node.service() != *service {
        return refuse(format!("{node} is not a node of {service}"));
    }
    if !(UP_FOR_S_MIN..=UP_FOR_S_MAX).contains(&params.up_for_s) {
        let given = params.up_for_s;
        return refuse(format!("up_for_s = {given}: allowed are {UP_FOR_S_MIN} to {UP_FOR_S_MAX}"));
    }
    match (world.inventory)().instances.get(node) {
        None => refuse(format!("{node} is not in the inventory")),
        Some(_) => Ok(()),
    }
}

fn is_sentinel(world: &World, node: &InstanceId) -> bool {
    let inventory = (world.inventory)();
    inventory.instances.get(node).is_some_and(|i| i.kind == InstanceKind::Sentinel)
}

/// One Sentinel at a time, and only while the others can decide: with the majority gone, who is
/// master is no question for a restart.
fn sentinel(snapshot: &Snapshot, node: &InstanceId) -> Result<(Returns, String), Refusal> {
    let Some(master) = named_master(snapshot) else {
        let service = &snapshot.service.id;
        let why = format!("no majority of the Sentinels of {service} answers and names a master");
        return Err(Refusal::new("role", node, why));
    };
    Ok((Returns::Sentinel, format!("a majority of the Sentinels answers and names {master}")))
}

async fn provided(world: &World, node: &InstanceId) -> Result<NodeState, Refusal> {
    let inventory = (world.inventory)();
    let (provider, at) = world.providers.of(&inventory, node)?;
    let state = provider.observe(&at).await;
    let state = state.map_err(|e| Refusal::new("provider", node, e.to_string()))?;
    if !state.exists {
        let why = format!("the provider of {node} did not make it and cannot start it");
        return Err(Refusal::new("provider", node, why));
    }
    Ok(state)
}

fn describe(state: &NodeState) -> String {
    match (state.pid, &state.exit) {
        (Some(pid), _) => format!("process {pid} runs but does not answer"),
        (None, Some(exit)) => format!("no process; it ended with {exit}"),
        (None, None) => "no process".into(),
    }
}

/// The node must be silent: only a port that refuses, resets or does not answer in time counts. A
/// node that says anything else (loading, busy, wrong password) is alive.
fn silent(snapshot: &Snapshot, node: &InstanceId) -> Result<String, Refusal> {
    const SILENT: [Reason; 3] = [Reason::Refused, Reason::Timeout, Reason::Reset];
    let refuse = |why: String| Err(Refusal::new("down", node, why));
    match snapshot.silence(node) {
        Some(Err(why)) if SILENT.iter().any(|r| why.contains(&format!("{}:", r.as_str()))) => {
            Ok(format!("{node} does not answer: {why}"))
        }
        Some(Err(why)) => {
            refuse(format!("{node} is not silent ({why}); a restart is not the cure"))
        }
        Some(Ok(_)) => refuse(format!("{node} answers; there is nothing to restart")),
        None => refuse(format!("{node} was not asked")),
    }
}

/// What the node comes back as, by everybody but itself.
fn returns(snapshot: &Snapshot, node: &InstanceId) -> Result<(Returns, String), Refusal> {
    let refuse = |why: String| Err(Refusal::new("role", node, why));
    match snapshot.service.mode {
        Mode::Sentinel => match named_master(snapshot) {
            None => refuse(format!(
                "no majority of the Sentinels of {} names a master",
                snapshot.service.id
            )),
            Some(master) if master == node.address() => refuse(format!(
                "the Sentinels still name {node} as master: wait for their failover"
            )),
            Some(master) => {
                Ok((Returns::Replica, format!("a majority of Sentinels names {master}")))
            }
        },
        Mode::Cluster => match cluster_owner(snapshot, node) {
            None => refuse(format!("no other node of the cluster lists {node}")),
            Some(true) => refuse(format!(
                "the cluster still lists {node} as owner of slots: wait for its failover"
            )),
            Some(false) => Ok((Returns::Replica, "the other nodes list it without slots".into())),
        },
        Mode::Standalone => Ok(standalone(snapshot, node)),
        Mode::Sentinels => refuse(format!("{} has no data nodes", snapshot.service.id)),
    }
}

/// The master a majority of *known* Sentinels names; those that do not answer count against it.
fn named_master(snapshot: &Snapshot) -> Option<String> {
    let named: Vec<&str> = snapshot.watches().map(|(_, w)| w.master.address.as_str()).collect();
    let majority = snapshot.sentinels.len() / 2 + 1;
    let most = named.iter().find(|a| named.iter().filter(|b| b == a).count() >= majority)?;
    Some((*most).to_string())
}

/// Whether the other nodes list it with slots; none when none of them lists it.
fn cluster_owner(snapshot: &Snapshot, node: &InstanceId) -> Option<bool> {
    let lines: Vec<bool> = snapshot
        .answered()
        .filter_map(|(_, n)| n.cluster.as_ref())
        .filter_map(|view| view.nodes.iter().find(|n| n.address == node.address()))
        .map(|line| !line.slots.is_empty())
        .collect();
    (!lines.is_empty()).then(|| lines.contains(&true))
}

fn standalone(snapshot: &Snapshot, node: &InstanceId) -> (Returns, String) {
    let masters = snapshot.masters();
    match masters.first() {
        Some(master) => (Returns::Replica, format!("{master} is master")),
        None => (Returns::Master, format!("no other node of {} is master", node.service())),
    }
}

/// A master that comes back empty is copied by its replicas; so it must have been writing its data
/// down, or have had no data to keep for anybody.
fn data_safe(
    snapshot: &Snapshot,
    node: &InstanceId,
    returns: Returns,
    row: Option<&Row>,
) -> Result<String, Refusal> {
    match returns {
        Returns::Replica => return Ok("it copies its master's data".into()),
        Returns::Sentinel => return Ok("it holds no data".into()),
        Returns::Master => {}
    }
    let last = row.and_then(|r| r.last_good.as_deref());
    let aof = last.and_then(|r| r.get(Field::AofEnabled));
    let replicas = snapshot.nodes.len() - 1;
    match (aof, replicas) {
        (Some(on), _) if on != 0.0 => Ok("it writes an append-only file".into()),
        (_, 0) => Ok("it is alone: nobody would copy an empty data set".into()),
        _ => Err(Refusal::new(
            "data",
            node,
            format!(
                "{node} is a master without a known append-only file and has {replicas} replicas: it \
                 could come back empty and they would copy that; promote a replica instead"
            ),
        )),
    }
}

fn assemble(
    service: &ServiceId,
    params: &Params,
    state: &NodeState,
    returns: Returns,
    checks: Vec<Checked>,
    now: At,
) -> Plan {
    let node = &params.instance;
    let role = returns.as_str();
    let up_for_ms = i64::from(params.up_for_s) * 1000;
    let how = if state.running { "restart" } else { "start" };
    Plan {
        kind: OperationKind::NodeRestart,
        kind_version: VERSION,
        service: service.clone(),
        params: json!({ "instance": node, "up_for_s": params.up_for_s }),
        title: format!("Restart {node}, which does not answer"),
        blast_radius: format!("1 node of {service}, down already; it returns as {role}"),
        level: 2,
        confirm: String::new(),
        world: json!({ "node": node, "incarnation": state.incarnation, "returns_as": role }),
        checks,
        steps: vec![
            step(
                "start",
                node,
                format!("{how} the process"),
                json!({ "how": how, "incarnation": state.incarnation }),
                vec![format!("provider {how} {}", node.address())],
                START_MS,
                3,
            ),
            step(
                "rejoin",
                node,
                format!("wait until it is a {role} again"),
                json!({ "role": role }),
                Vec::new(),
                REJOIN_MS,
                1,
            ),
            step(
                "healthy",
                node,
                format!("up for {} s", params.up_for_s),
                json!({ "up_for_ms": up_for_ms, "role": role }),
                Vec::new(),
                up_for_ms + HEALTHY_SLACK_MS,
                1,
            ),
        ],
        locks: vec![format!("service:{service}")],
        made_at: now,
        expires_at: now + VALID_MS,
    }
}

fn step(
    kind: &str,
    node: &InstanceId,
    title: String,
    args: Value,
    commands: Vec<String>,
    timeout_ms: i64,
    tries: u32,
) -> PlannedStep {
    PlannedStep {
        kind: kind.into(),
        target: node.to_string(),
        title,
        args,
        commands,
        timeout_ms,
        tries,
        // The provider acts once per key, and looking again changes nothing.
        repeatable: true,
        point_of_no_return: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{edit, id, promote, service, watch};

    fn dead(mode: Mode, n: usize) -> (Snapshot, InstanceId) {
        let mut snapshot = service(mode);
        snapshot.nodes[n - 1].seen = Err("refused: connecting: no".into());
        (snapshot, id(n, 6379))
    }

    #[test]
    fn only_silence_is_death() {
        let (mut snapshot, node) = dead(Mode::Standalone, 3);
        for why in ["refused: connecting", "PING: timeout: no answer", "reset: closed"] {
            snapshot.nodes[2].seen = Err(why.into());
            assert!(silent(&snapshot, &node).is_ok(), "{why}");
        }
        for why in ["PING: loading: LOADING Redis is loading", "auth: wrong password", "busy: BUSY"]
        {
            snapshot.nodes[2].seen = Err(why.into());
            let refused = silent(&snapshot, &node).unwrap_err();
            assert!(refused.message.contains(why), "{refused}");
        }
        let alive = silent(&service(Mode::Standalone), &node).unwrap_err();
        assert!(alive.message.contains("answers"), "{alive}");
    }

    #[test]
    fn a_dead_sentinel_returns_only_while_a_majority_of_the_others_decides() {
        let mut snapshot = service(Mode::Sentinel);
        let dead = snapshot.sentinels[0].id.clone();
        snapshot.sentinels[0].seen = Err("refused: connecting: no".into());
        assert!(silent(&snapshot, &dead).is_ok());
        let (returns, why) = sentinel(&snapshot, &dead).unwrap();
        assert_eq!(returns, Returns::Sentinel, "{why}");
        assert!(data_safe(&snapshot, &dead, returns, None).is_ok());
        snapshot.sentinels[1].seen = Err("refused: connecting: no".into());
        let refused = sentinel(&snapshot, &dead).unwrap_err();
        assert!(refused.message.contains("no majority"), "{refused}");
    }

    #[test]
    fn a_dead_replica_returns_as_replica_in_every_mode() {
        for mode in [Mode::Standalone, Mode::Sentinel, Mode::Cluster] {
            let (snapshot, node) = dead(mode, 3);
            let (returns, why) = returns(&snapshot, &node).unwrap();
            assert_eq!(returns, Returns::Replica, "{mode:?}: {why}");
            assert!(data_safe(&snapshot, &node, returns, None).is_ok());
        }
    }

    #[test]
    fn a_dead_master_is_left_to_the_failover_until_somebody_else_is_master() {
        let (snapshot, node) = dead(Mode::Sentinel, 1);
        let refused = returns(&snapshot, &node).unwrap_err();
        assert!(refused.message.contains("failover"), "{refused}");
        let (mut moved, node) = dead(Mode::Sentinel, 1);
        promote(&mut moved, 2, 0.0);
        for n in 1..=3 {
            watch(&mut moved, n).master.address = id(2, 6379).address().to_string();
        }
        assert_eq!(returns(&moved, &node).unwrap().0, Returns::Replica);
        moved.sentinels[0].seen = Err("refused".into());
        watch(&mut moved, 2).master.address = node.address().to_string();
        let split = returns(&moved, &node).unwrap_err();
        assert!(split.message.contains("no majority"), "1 of 3 known Sentinels: {split}");
        let (cluster, node) = dead(Mode::Cluster, 1);
        assert!(returns(&cluster, &node).unwrap_err().message.contains("slots"));
    }

    #[test]
    fn a_master_that_could_come_back_empty_is_not_restarted_under_its_replicas() {
        let (mut snapshot, node) = dead(Mode::Standalone, 1);
        let (back, _) = returns(&snapshot, &node).unwrap();
        assert_eq!(back, Returns::Master);
        let refused = data_safe(&snapshot, &node, back, None).unwrap_err();
        assert!(refused.message.contains("2 replicas"), "{refused}");
        snapshot.nodes.truncate(1);
        assert!(data_safe(&snapshot, &node, back, None).is_ok(), "alone");
        let (mut other, node) = dead(Mode::Standalone, 1);
        edit(&mut other, 2).master = None;
        assert_eq!(returns(&other, &node).unwrap().0, Returns::Replica, "another is master");
    }
}
