//! A drill: the master is handed over and brought back while a writer of ours counts what that costs.
//!
//! Invariants: a drill is made of switchovers a person could plan, with their checks and undo; it begins
//! only where all is well; what it measures is what a client sees. Killing a master is no part of it.

use std::time::Instant;

use model::batch::Move;
use model::operation::OperationKind;
use model::plan::{Checked, Plan, PlannedStep};
use model::refusal::Refusal;
use model::score::{Grade, Level};
use model::{At, InstanceId, ServiceId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::fresh;
use super::switchover::{self, Discovery};
use crate::topology::{self, Snapshot};
use crate::world::World;

/// Version of this definition.
pub const VERSION: u32 = 1;
/// Its steps.
pub const STEPS: &[&str] = &["drill"];
/// A switchover with all its deadlines, and its wait for the service's lock.
const DRILL_MS: i64 = 900_000;

/// Parameters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Who is master meanwhile; none: the best replica.
    target: Option<InstanceId>,
    /// Shard of a cluster, when no target is named.
    shard: Option<u32>,
    /// How clients find the master where nobody tells them.
    discovery: Option<Discovery>,
}

/// Asks the fleet, checks, and makes the plan.
pub async fn plan(
    world: &World,
    service: &ServiceId,
    params: &Value,
    now: At,
) -> Result<Plan, Refusal> {
    let params: Params = super::upkeep::params(OperationKind::Drill, service, params)?;
    let well = well(world, service)?;
    let snapshot = topology::snapshot(world, service, Instant::now() + fresh::LOOK).await?;
    let there = switchover::Params {
        target: params.target.clone(),
        shard: params.shard,
        discovery: params.discovery,
        ..switchover::Params::default()
    };
    let (cast, mut checks) = switchover::parts(&snapshot, &there, None)?;
    checks.push(well);
    let commands: Vec<String> = switchover::steps(snapshot.service.mode, &cast)
        .into_iter()
        .flat_map(|s| s.commands)
        .collect();
    let key = cast.key.replace("probe", "canary");
    let nodes: Vec<&InstanceId> = std::iter::once(&cast.old).chain(cast.replicas()).collect();
    let step = |way: &str, row: Move, handed: &[String]| PlannedStep {
        kind: "drill".into(),
        target: row.to.to_string(),
        title: format!("Make {} the master while a writer of ours counts", row.to),
        args: json!({ "row": row, "key": key, "way": way, "nodes": nodes }),
        commands: std::iter::once(format!("the master> SET {key} 1, 2, 3 … until it is over"))
            .chain(handed.iter().cloned())
            .collect(),
        timeout_ms: DRILL_MS,
        tries: 1,
        repeatable: true,
        // Whoever failed half way must not be left where he is without somebody knowing.
        point_of_no_return: way == "back",
    };
    let back = vec![format!("the same, back to {}", cast.old)];
    Ok(Plan {
        kind: OperationKind::Drill,
        kind_version: VERSION,
        service: service.clone(),
        params: serde_json::to_value(&params).expect("parameters are plain data"),
        title: format!("Drill {service}: {} takes over and hands back", cast.target),
        blast_radius: format!("1 shard of {service} is handed over twice; its clients reconnect"),
        level: 3,
        confirm: service.to_string(),
        world: switchover::identity(&snapshot, &cast),
        checks,
        steps: vec![
            step("there", leg(&snapshot, &params, &cast.old, &cast.target), &commands),
            step("back", leg(&snapshot, &params, &cast.target, &cast.old), &back),
        ],
        // The service itself is locked by each of the two switchovers.
        locks: vec![format!("drill:{service}")],
        made_at: now,
        expires_at: now + fresh::VALID_MS,
    })
}

/// One way of it, as a switchover of its own.
fn leg(now: &Snapshot, params: &Params, from: &InstanceId, to: &InstanceId) -> Move {
    let fixed = switchover::Params {
        target: Some(to.clone()),
        discovery: params.discovery,
        ..switchover::Params::default()
    };
    Move {
        service: now.service.id.clone(),
        shard: now.place(from).map(|p| p.shard).unwrap_or_default(),
        from: from.clone(),
        to: to.clone(),
        params: serde_json::to_value(fixed).expect("parameters are plain data"),
    }
}

/// A service that is not well has no need of a drill.
fn well(world: &World, service: &ServiceId) -> Result<Checked, Refusal> {
    let rollup = world.board.rollup();
    let grade = rollup.levels.get(Level::Service, service.as_str()).map(|s| s.grade);
    match grade {
        Some(grade @ (Grade::A | Grade::B)) => {
            let seen = format!("grade {}", grade.as_str());
            Ok(Checked { check: "grade".into(), passed: true, seen })
        }
        Some(grade) => {
            let why = format!("{service} has grade {}; a drill needs A or B", grade.as_str());
            Err(Refusal::new("grade", service, why))
        }
        None => Err(Refusal::new("grade", service, format!("{service} has no score yet"))),
    }
}
