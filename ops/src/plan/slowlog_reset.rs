//! Emptying the slow log, with its entries kept in the store first.
//!
//! Invariant: nothing is reset before it is kept; kept are shapes, times and durations, never an
//! argument.

use model::operation::OperationKind;
use model::plan::Plan;
use model::refusal::Refusal;
use model::{At, InstanceId, ServiceId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::upkeep::{self, Told, passed};
use crate::world::World;

/// Its steps.
pub const STEPS: &[&str] = &["slowlog"];
const RESET_MS: i64 = 60_000;

/// Parameters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// On these nodes only; empty: all.
    pub nodes: Vec<InstanceId>,
}

/// A step for each node.
pub async fn plan(
    world: &World,
    service: &ServiceId,
    params: &Value,
    now: At,
) -> Result<Plan, Refusal> {
    let params: Params = upkeep::params(OperationKind::SlowlogReset, service, params)?;
    let snapshot = upkeep::look(world, service).await?;
    let nodes = upkeep::nodes(&snapshot, &params.nodes)?;
    let steps = nodes.iter().map(|(id, _)| {
        let commands = vec![
            format!("{id}> SLOWLOG GET -1"),
            format!("store> keep the slow log of {id}"),
            format!("{id}> SLOWLOG RESET"),
        ];
        let title = format!("Keep and empty the slow log of {id}");
        upkeep::step("slowlog", id, title, json!({}), commands, RESET_MS)
    });
    let steps = steps.collect();
    let told = Told {
        kind: OperationKind::SlowlogReset,
        params: serde_json::to_value(&params).expect("parameters are plain data"),
        title: format!("Empty the slow logs of {service}"),
        blast_radius: format!("{} nodes; clients notice nothing", nodes.len()),
        level: 2,
    };
    let checks = vec![passed("P1", format!("{} nodes answer", nodes.len()))];
    Ok(upkeep::assemble(&snapshot, told, checks, steps, now))
}
