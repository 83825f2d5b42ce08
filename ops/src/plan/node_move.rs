//! A replica moves to another host: the new one is made, in step and listed before the old one goes.
//!
//! Invariants: at no moment has the shard fewer copies than before; the old node is touched only behind
//! the proof that the new one is up; a master moves by a switchover first.

use std::time::Instant;

use model::operation::OperationKind;
use model::plan::Plan;
use model::refusal::Refusal;
use model::{At, HostId, InstanceId, ServiceId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fresh::{self, HOLD_S, Wish};
use super::{replica_add, replica_remove};
use crate::placement::{Layout, risk};
use crate::topology;
use crate::world::World;

/// Version of this definition.
pub const VERSION: u32 = 1;
/// Its steps: those of a replica more, then those of a replica less.
pub const STEPS: &[&str] = &[
    "create",
    "attach",
    "enlist",
    "meet",
    "replicate",
    "register",
    "healthy",
    "bench",
    "retire",
    "forget",
    "unregister",
    "release",
];

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    /// The replica.
    instance: InstanceId,
    /// Where to; none: the best host.
    #[serde(default)]
    host: Option<HostId>,
    /// Port; none: the next free one.
    #[serde(default)]
    port: Option<u16>,
    /// Seconds the new node must be up.
    #[serde(default = "hold")]
    hold_s: u32,
    /// Seconds between two Sentinels that forget the old one.
    #[serde(default = "gap")]
    gap_s: u32,
}

fn hold() -> u32 {
    HOLD_S
}

fn gap() -> u32 {
    replica_remove::GAP_S
}

/// Makes the plan.
pub async fn plan(
    world: &World,
    service: &ServiceId,
    params: &Value,
    now: At,
) -> Result<Plan, Refusal> {
    let params: Params = serde_json::from_value(params.clone())
        .map_err(|e| Refusal::new("params", service, format!("node_move: {e}")))?;
    let (old, bad) = (&params.instance, |why: String| Refusal::new("params", service, why));
    if params.gap_s > replica_remove::GAP_S_MAX {
        let max = replica_remove::GAP_S_MAX;
        return Err(bad(format!("gap_s = {}: at most {max}", params.gap_s)));
    }
    let snapshot = topology::snapshot(world, service, Instant::now() + fresh::LOOK).await?;
    let mut checks = vec![replica_remove::is_replica(&snapshot, old)?];
    let up = snapshot.node(old).and_then(|n| n.master.clone()).unwrap_or_default();
    let master = snapshot.nodes.iter().map(|n| &n.id).find(|id| id.address() == up);
    let master = master.ok_or_else(|| bad(format!("{old} follows {up}, no node of {service}")))?;
    let shard = snapshot.place(old).map_or(0, |p| p.shard);
    checks.push(replica_add::backlog(&snapshot, master)?);
    let wish = Wish { host: params.host.clone(), port: params.port };
    let node = fresh::place(world, service, &wish, master, shard, &[]).await?;
    checks.extend(replica_add::room(world, &node, master).await?);
    let from = replica_remove::host_of(world, old).await?;
    if let Some(before) = Layout::of_snapshot(&(world.inventory)(), &snapshot) {
        let after = before.with(replica_add::spot(&node)).without(old);
        checks.push(risk::check(&before, &after)?);
    }
    let mut steps = replica_add::comes(snapshot.service.mode, &node, master, params.hold_s);
    steps.extend(replica_remove::leaves(&snapshot, old, &from, (params.gap_s, false)));
    let mut locks = vec![
        format!("service:{service}"),
        format!("host:{}", node.host.id),
        format!("host:{from}"),
    ];
    locks.sort();
    locks.dedup();
    Ok(Plan {
        kind: OperationKind::NodeMove,
        kind_version: VERSION,
        service: service.clone(),
        params: serde_json::to_value(&params).expect("parameters are plain data"),
        title: format!("Move {old} to {} on {}", node.id, node.host.id),
        blast_radius: format!(
            "{master} forks once and sends a copy of everything; clients that read from {old} are sent \
             away"
        ),
        level: 3,
        confirm: service.to_string(),
        world: fresh::identity(&snapshot),
        checks,
        steps,
        locks,
        made_at: now,
        expires_at: now + fresh::VALID_MS,
    })
}
