//! What the four kinds of upkeep (clients_kill, memory_purge, slowlog_reset, bgsave) share: which nodes,
//! in which order, and a plan around a step for each.
//!
//! Invariant: replicas stand before masters; a node that does not answer refuses the plan, for nobody
//! knows what it would have been spared.

use std::time::{Duration, Instant};

use model::field::Field;
use model::operation::OperationKind;
use model::plan::{Checked, Plan, PlannedStep};
use model::refusal::Refusal;
use model::{At, InstanceId, ServiceId};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::topology::{self, Node, Snapshot};
use crate::world::World;

/// Version of these definitions.
pub const VERSION: u32 = 1;
/// Time to read the topology: one poll deadline and a margin.
const LOOK: Duration = Duration::from_secs(5);
/// A plan older than this is made again.
const VALID_MS: i64 = 300_000;

/// The kind's parameters; none given: its defaults.
pub(super) fn params<T: DeserializeOwned + Default>(
    kind: OperationKind,
    service: &ServiceId,
    given: &Value,
) -> Result<T, Refusal> {
    match given {
        Value::Null => Ok(T::default()),
        given => serde_json::from_value(given.clone())
            .map_err(|e| Refusal::new("params", service, format!("{}: {e}", kind.as_str()))),
    }
}

/// The service as it is now.
pub(super) async fn look(world: &World, service: &ServiceId) -> Result<Snapshot, Refusal> {
    topology::snapshot(world, service, Instant::now() + LOOK).await
}

/// The nodes meant: those named, else all; replicas first, in id order.
pub(super) fn nodes<'a>(
    now: &'a Snapshot,
    named: &[InstanceId],
) -> Result<Vec<(&'a InstanceId, &'a Node)>, Refusal> {
    let service = &now.service.id;
    if let Some(foreign) = named.iter().find(|id| now.place(id).is_none()) {
        return Err(Refusal::new("params", foreign, format!("{foreign} is no node of {service}")));
    }
    let meant = |id: &InstanceId| named.is_empty() || named.contains(id);
    let mut nodes = Vec::new();
    for node in now.nodes.iter().filter(|n| meant(&n.id)) {
        match &node.seen {
            Ok(said) => nodes.push((&node.id, said)),
            Err(why) => {
                let why = format!("{} does not answer: {why}", node.id);
                return Err(Refusal::new("P1", &node.id, why));
            }
        }
    }
    nodes.sort_by_key(|(id, node)| (node.master.is_none(), *id));
    Ok(nodes)
}

/// P6: a node that loads, saves or rewrites is left alone.
pub(super) fn idle(nodes: &[(&InstanceId, &Node)]) -> Result<Checked, Refusal> {
    const BUSY: [Field; 4] = [
        Field::Loading,
        Field::AsyncLoading,
        Field::RdbBgsaveInProgress,
        Field::AofRewriteInProgress,
    ];
    match nodes.iter().find(|(_, n)| BUSY.iter().any(|f| n.says(*f))) {
        Some((id, _)) => {
            let why = format!("{id} loads, saves or rewrites; try again when it is done");
            Err(Refusal::new("P6", id, why))
        }
        None => Ok(passed("P6", "nobody loads, saves or rewrites".into())),
    }
}

pub(super) fn passed(check: &str, seen: String) -> Checked {
    Checked { check: check.into(), passed: true, seen }
}

/// A step on one node.
pub(super) fn step(
    kind: &str,
    id: &InstanceId,
    title: String,
    args: Value,
    commands: Vec<String>,
    timeout_ms: i64,
) -> PlannedStep {
    PlannedStep {
        kind: kind.into(),
        target: id.to_string(),
        title,
        args,
        commands,
        timeout_ms,
        tries: 3,
        repeatable: true,
        point_of_no_return: false,
    }
}

/// What a plan of upkeep says of itself.
pub(super) struct Told {
    pub(super) kind: OperationKind,
    pub(super) params: Value,
    pub(super) title: String,
    pub(super) blast_radius: String,
    pub(super) level: u8,
}

/// The plan around the steps; its world are the processes and roles of the nodes it touches.
pub(super) fn assemble(
    now: &Snapshot,
    told: Told,
    checks: Vec<Checked>,
    steps: Vec<PlannedStep>,
    at: At,
) -> Plan {
    let service = &now.service.id;
    let of = |id: &InstanceId| {
        let node = now.node(id)?;
        let role = if node.master.is_none() { "master" } else { "slave" };
        Some(json!({ "run_id": node.facts.text.run_id, "role": role }))
    };
    let touched = steps.iter().filter_map(|s| {
        let id: InstanceId = s.target.parse().ok()?;
        Some((s.target.clone(), of(&id)?))
    });
    let world: serde_json::Map<_, _> = touched.collect();
    Plan {
        kind: told.kind,
        kind_version: VERSION,
        service: service.clone(),
        params: told.params,
        title: told.title,
        blast_radius: told.blast_radius,
        level: told.level,
        confirm: if told.level >= 3 { service.to_string() } else { String::new() },
        world: json!({ "nodes": world }),
        checks,
        steps,
        locks: vec![format!("service:{service}")],
        made_at: at,
        expires_at: at + VALID_MS,
    }
}
