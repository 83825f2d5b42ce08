//! A replica more: made like its master, in step, electable, listed.
//!
//! Invariants: until it is in step it can never be promoted; it is listed only when it works; one full
//! synchronisation of the service at a time (the service's lock).

use std::time::Instant;

use model::field::Field;
use model::operation::OperationKind;
use model::plan::{Checked, Plan, PlannedStep};
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
    checks.extend(room(world, &node, &master).await?);
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
pub(super) fn backlog(snapshot: &Snapshot, master: &InstanceId) -> Result<Checked, Refusal> {
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

/// Whether master and host have room for a copy.
pub(super) async fn room(
    world: &World,
    node: &Fresh,
    master: &InstanceId,
) -> Result<[Checked; 2], Refusal> {
    Ok([output_buffer(world, master).await?, memory(world, node, master)?])
}

/// What a replica that copies may leave unread, bytes: below it the master cuts it off, and it begins
/// anew for ever.
const OUTPUT_BYTES_MIN: u64 = 256 << 20;
/// Share of a host's memory its nodes may take.
const HOST_FILL_MAX: f64 = 0.8;

/// The master's `client-output-buffer-limit` for replicas lets a copy come to its end.
async fn output_buffer(world: &World, master: &InstanceId) -> Result<Checked, Refusal> {
    let name = "client-output-buffer-limit";
    let said = topology::setting(world, master, name).await;
    let said = said.map_err(|why| Refusal::new("P1", master, format!("{master}: {why}")))?;
    let limit = replica_limit(&said).unwrap_or_default();
    let seen = format!("{master} lets a replica leave {limit} bytes unread (0: any number)");
    match limit > 0 && limit < OUTPUT_BYTES_MIN {
        true => {
            let why = format!(
                "{seen}, {OUTPUT_BYTES_MIN} are needed: set {name} \"replica 256mb 64mb 60\" first"
            );
            Err(Refusal::new("output_buffer", master, why))
        }
        false => Ok(Checked { check: "output_buffer".into(), passed: true, seen }),
    }
}

/// The hard limit of class `slave` or `replica`: `normal 0 0 0 slave 268435456 67108864 60 pubsub …`.
fn replica_limit(said: &str) -> Option<u64> {
    let mut words = said.split_whitespace();
    words.find(|w| matches!(*w, "slave" | "replica"))?;
    words.next()?.parse().ok()
}

/// The host has room for what the node may grow to; a host whose size nobody told has.
fn memory(world: &World, node: &Fresh, master: &InstanceId) -> Result<Checked, Refusal> {
    let inventory = (world.inventory)();
    let told = |seen: String| Ok(Checked { check: "P8".into(), passed: true, seen });
    let host = inventory.hosts.get(&node.host.id).filter(|h| h.memory_bytes > 0);
    let Some(host) = host else {
        return told(format!("the memory of host {} is not known", node.host.id));
    };
    let grows_to = |id: &InstanceId| {
        let row = world.board.row(id)?;
        let facts = &row.last_good.as_ref()?.facts;
        let of = |field| facts.values.get(field).unwrap_or(0.0);
        Some(of(Field::Maxmemory).max(of(Field::UsedMemory)))
    };
    let there = inventory.instances.values().filter(|i| i.host.as_ref() == Some(&host.id));
    let taken: f64 = there.filter_map(|i| grows_to(&i.id)).sum();
    let (needs, limit) =
        (grows_to(master).unwrap_or(0.0), host.memory_bytes as f64 * HOST_FILL_MAX);
    let seen = format!(
        "host {}: {taken} bytes promised, {needs} more, {limit} are 80 % of its memory",
        host.id
    );
    if taken + needs > limit { Err(Refusal::new("P8", &host.id, seen)) } else { told(seen) }
}

/// Everything a new node goes through to be a replica that counts.
pub(super) fn comes(
    mode: Mode,
    node: &Fresh,
    master: &InstanceId,
    hold_s: u32,
) -> Vec<PlannedStep> {
    let mut steps = Vec::new();
    match mode {
        Mode::Cluster => {
            steps.extend([node.create(None), node.meet(master), node.replicate(master)]);
        }
        _ => {
            steps.push(node.create(Some(master)));
            steps.extend(node.attach(master));
        }
    }
    steps.push(node.register());
    steps.push(node.healthy("replica", hold_s));
    steps
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
    let steps = comes(snapshot.service.mode, node, master, params.hold_s);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_replicas_is_read_by_either_name() {
        let old = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
        assert_eq!(replica_limit(old), Some(268_435_456));
        assert_eq!(replica_limit("normal 0 0 0 replica 0 0 0"), Some(0));
        assert_eq!(replica_limit("normal 0 0 0"), None);
    }
}
