//! Giving memory back that the allocator holds in fragments: MEMORY PURGE, replicas first.
//!
//! Invariant: only nodes that gain by it are touched, for it blocks a node for up to hundreds of
//! milliseconds. What it cannot give back is offered to active defragmentation.

use model::field::Field;
use model::operation::OperationKind;
use model::plan::Plan;
use model::refusal::Refusal;
use model::{At, InstanceId, ServiceId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::upkeep::{self, Told, passed};
use crate::topology::Node;
use crate::world::World;

/// Its steps.
pub const STEPS: &[&str] = &["purge"];
/// Less fragmentation than this is usual.
const RATIO_MIN: f64 = 1.5;
/// Less than this is not worth a stall.
const BYTES_MIN: u64 = 256 << 20;
const PURGE_MS: i64 = 60_000;

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// On these nodes only; empty: all.
    pub nodes: Vec<InstanceId>,
    /// Allocator fragmentation from which a node is purged.
    pub ratio_min: f64,
    /// And fragments of at least that many bytes.
    pub bytes_min: u64,
}

impl Default for Params {
    fn default() -> Params {
        Params { nodes: Vec::new(), ratio_min: RATIO_MIN, bytes_min: BYTES_MIN }
    }
}

/// Asks the fleet which nodes gain by it.
pub async fn plan(
    world: &World,
    service: &ServiceId,
    params: &Value,
    now: At,
) -> Result<Plan, Refusal> {
    let params: Params = upkeep::params(OperationKind::MemoryPurge, service, params)?;
    let snapshot = upkeep::look(world, service).await?;
    let nodes = upkeep::nodes(&snapshot, &params.nodes)?;
    let checks = vec![
        upkeep::idle(&nodes)?,
        passed(
            "fragmentation",
            format!("{} % and {} bytes", params.ratio_min * 100.0, params.bytes_min),
        ),
    ];
    let gains: Vec<&InstanceId> =
        nodes.iter().filter(|(_, n)| fragmented(n, &params)).map(|(id, _)| *id).collect();
    if gains.is_empty() {
        let why = format!(
            "no node of {service} has allocator fragmentation of {} and {} bytes or more",
            params.ratio_min, params.bytes_min
        );
        return Err(Refusal::new("fragmentation", service, why));
    }
    let steps = gains.iter().map(|id| {
        let commands = ["MEMORY DOCTOR", "MEMORY PURGE", "MEMORY DOCTOR"];
        let commands = commands.iter().map(|c| format!("{id}> {c}")).collect();
        upkeep::step("purge", id, format!("Purge {id}"), json!({}), commands, PURGE_MS)
    });
    let steps = steps.collect();
    let told = Told {
        kind: OperationKind::MemoryPurge,
        params: serde_json::to_value(&params).expect("parameters are plain data"),
        title: format!("Give fragmented memory of {service} back"),
        blast_radius: format!("{} nodes, each stalls for up to some hundred ms", gains.len()),
        level: 2,
    };
    Ok(upkeep::assemble(&snapshot, told, checks, steps, now))
}

fn fragmented(node: &Node, params: &Params) -> bool {
    let get = |field| node.get(field).unwrap_or_default();
    get(Field::AllocatorFragRatio) >= params.ratio_min
        && get(Field::AllocatorFragBytes) >= params.bytes_min as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_gains_only_with_both_ratio_and_bytes() {
        let node = |ratio: f64, bytes: f64| {
            let mut node = Node::default();
            node.facts.values.set(Field::AllocatorFragRatio, ratio);
            node.facts.values.set(Field::AllocatorFragBytes, bytes);
            fragmented(&node, &Params::default())
        };
        assert!(node(1.5, 268_435_456.0));
        assert!(!node(1.4, 268_435_456.0) && !node(3.0, 1_000_000.0));
        assert!(!fragmented(&Node::default(), &Params::default()), "not known is not fragmented");
    }
}
