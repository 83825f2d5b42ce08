//! A replica more: made like its master, in step, electable, listed.
//!
//! Invariants: until it is in step it can never be promoted; it is listed only when it works; one full
//! synchronisation of the service at a time (the service's lock).

use std::time::Instant;

use model::field::Field;
use model::operation::OperationKind;
use model::plan::{Checked, Plan};
use model::refusal::Refusal;
use model::service::Mode;
use model::{At, InstanceId, ServiceId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::choose::old_master;
use super::fresh::{self, Fresh, HOLD_S, Wish};
use super::switchover;
use crate::placement::{Layout, Spot, risk};
use crate::topology::{self, Snapshot};
use crate::world::World;

/// Version of this definition.
pub const VERSION: u32 = 1;
/// Its steps; a cluster uses other ones than the rest.
pub const STEPS: &[&str] =
    &["create", "attach", "enlist", "meet", "replicate", "register", "healthy"];

/// What is written while a replica copies must fit the backlog, seconds of it.
const BACKLOG_S: f64 = 60.0;

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// Host; none: the best one.
    pub host: Option<model::HostId>,
    /// Port; none: the next free one.
    pub port: Option<u16>,
    /// Shard of a cluster.
    pub shard: Option<u32>,
    /// Seconds it must be up at the end.
    pub hold_s: u32,
}

impl Default for Params {
    fn default() -> Params {
        Params { host: None, port: None, shard: None, hold_s: HOLD_S }
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
        .map_err(|e| Refusal::new("params", service, format!("replica_add: {e}")))?;
    let snapshot = topology::snapshot(world, service, Instant::now() + fresh::LOOK).await?;
    let chosen = switchover::Params { shard: params.shard, ..switchover::Params::default() };
    let master = old_master(&snapshot, &chosen)?.clone();
    let shard = snapshot.place(&master).map_or(0, |p| p.shard);
    let backlog = backlog(&snapshot, &master)?;
    let wish = Wish { host: params.host.clone(), port: params.port };
    let node = fresh::place(world, service, &wish, &master, shard, &[]).await?;
    let mut checks = vec![backlog];
    if let Some(before) = Layout::of_snapshot(&(world.inventory)(), &snapshot) {
        checks.push(risk::check(&before, &before.with(spot(&node)))?);
    }
    Ok(assemble(&snapshot, &params, &node, &master, checks, now))
}

/// The node as it will stand.
pub(super) fn spot(node: &Fresh) -> Spot {
    Spot {
        id: node.id.clone(),
        zone: node.host.zone.clone(),
        host: node.host.id.to_string(),
        shard: node.shard,
        master: Some(false),
        priority: Some(100.0),
        linked: Some(true),
        no_failover: None,
    }
}

/// What is written during the copy must fit the master's backlog, else it copies for ever.
fn backlog(snapshot: &Snapshot, master: &InstanceId) -> Result<Checked, Refusal> {
    let node = snapshot.node(master);
    let node =
        node.ok_or_else(|| Refusal::new("P1", master, format!("{master} does not answer")))?;
    let rate = node.get(Field::InstantaneousInputKbps).unwrap_or(0.0) * 1024.0;
    let (has, needs) = (node.get(Field::ReplBacklogSize).unwrap_or(f64::MAX), rate * BACKLOG_S);
    let seen = format!("{master} has a backlog of {has} bytes, {needs} are needed");
    match has < needs {
        true => Err(Refusal::new("backlog", master, seen)),
        false => Ok(Checked { check: "backlog".into(), passed: true, seen }),
    }
}

fn assemble(
    snapshot: &Snapshot,
    params: &Params,
    node: &Fresh,
    master: &InstanceId,
    checks: Vec<Checked>,
    now: At,
) -> Plan {
    let service = &snapshot.service.id;
    let mut steps = Vec::new();
    match snapshot.service.mode {
        Mode::Cluster => {
            steps.extend([node.create(None), node.meet(master), node.replicate(master)]);
        }
        _ => {
            steps.push(node.create(Some(master)));
            steps.extend(node.attach(master));
        }
    }
    steps.push(node.register());
    steps.push(node.healthy("replica", params.hold_s));
    Plan {
        kind: OperationKind::ReplicaAdd,
        kind_version: VERSION,
        service: service.clone(),
        params: serde_json::to_value(params).expect("parameters are plain data"),
        title: format!("Add replica {} of {master} in {}", node.id, node.host.zone),
        blast_radius: format!("{master} forks once and sends a copy of everything"),
        level: 2,
        confirm: String::new(),
        world: fresh::identity(snapshot),
        checks,
        steps,
        locks: vec![format!("service:{service}"), format!("host:{}", node.host.id)],
        made_at: now,
        expires_at: now + fresh::VALID_MS,
    }
}
