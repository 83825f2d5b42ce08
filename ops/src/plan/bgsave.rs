//! A snapshot on disk: BGSAVE SCHEDULE, on one replica of each shard unless nodes are named.
//!
//! Invariant: one node forks at a time, and only where memory and disk leave room for it.

use std::collections::BTreeSet;

use model::field::Field;
use model::operation::OperationKind;
use model::plan::{Checked, Plan};
use model::refusal::Refusal;
use model::{At, InstanceId, ServiceId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::upkeep::{self, Told, passed};
use crate::topology::{Node, Snapshot};
use crate::world::World;

/// Its steps.
pub const STEPS: &[&str] = &["snapshot"];
/// 16 GB at 100 MB/s, scheduled behind a rewrite of the same length, and a margin.
const SAVE_MS: i64 = 900_000;
/// A snapshot stands beside the last one until it is whole.
const DISK_TIMES_USED: f64 = 1.2;

/// Parameters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// On these nodes; empty: on one of each shard, a replica where there is one.
    pub nodes: Vec<InstanceId>,
}

/// A step for each node meant.
pub async fn plan(
    world: &World,
    service: &ServiceId,
    params: &Value,
    now: At,
) -> Result<Plan, Refusal> {
    let params: Params = upkeep::params(OperationKind::Bgsave, service, params)?;
    let snapshot = upkeep::look(world, service).await?;
    let nodes = upkeep::nodes(&snapshot, &params.nodes)?;
    let nodes = if params.nodes.is_empty() { one_of_each(&snapshot, nodes) } else { nodes };
    let mut checks = vec![upkeep::idle(&nodes)?];
    checks.extend(disk(world, &nodes).await?);
    let step = |(id, node): &(&InstanceId, &Node)| {
        let before = node.get(Field::RdbLastSaveTime).unwrap_or_default();
        let commands = vec![format!("{id}> BGSAVE SCHEDULE")];
        let args = json!({ "saved_at": before });
        upkeep::step("snapshot", id, format!("Save {id}"), args, commands, SAVE_MS)
    };
    let steps = nodes.iter().map(step).collect();
    let told = Told {
        kind: OperationKind::Bgsave,
        params: serde_json::to_value(&params).expect("parameters are plain data"),
        title: format!("Save {} nodes of {service}", nodes.len()),
        blast_radius: format!("{} nodes fork, one after the other", nodes.len()),
        level: 2,
    };
    Ok(upkeep::assemble(&snapshot, told, checks, steps, now))
}

/// Replicas stand first, so the first of each shard is one where there is any.
fn one_of_each<'a>(
    now: &Snapshot,
    nodes: Vec<(&'a InstanceId, &'a Node)>,
) -> Vec<(&'a InstanceId, &'a Node)> {
    let mut seen = BTreeSet::new();
    let shard = |id: &InstanceId| now.place(id).map(|p| p.shard);
    nodes.into_iter().filter(|(id, _)| seen.insert(shard(id))).collect()
}

async fn disk(world: &World, nodes: &[(&InstanceId, &Node)]) -> Result<Option<Checked>, Refusal> {
    let inventory = (world.inventory)();
    let mut unknown = 0;
    for (id, node) in nodes {
        let Ok((provider, at)) = world.providers.of(&inventory, id) else {
            unknown += 1;
            continue;
        };
        let limits = provider.limits(&at).await;
        let limits = limits.map_err(|e| Refusal::new("disk", id, e.to_string()))?;
        let needs = node.get(Field::UsedMemory).unwrap_or_default() * DISK_TIMES_USED;
        if let Some(free) = limits.disk_free_bytes.filter(|free| (*free as f64) < needs) {
            let why = format!("{id}: {free} bytes are free on its disk, {needs:.0} are needed");
            return Err(Refusal::new("disk", id, why));
        }
    }
    let said = match unknown {
        0 => "room for another snapshot on every disk".to_string(),
        n => format!("the disks of {n} nodes are not known: no provider controls them"),
    };
    Ok(Some(passed("disk", said)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{id, service};
    use model::service::Mode;

    #[test]
    fn one_replica_of_each_shard_is_saved() {
        let now = service(Mode::Sentinel);
        let nodes = one_of_each(&now, upkeep::nodes(&now, &[]).unwrap());
        let ids: Vec<&InstanceId> = nodes.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [&id(2, 6379)]);
    }

    #[test]
    fn a_stranger_and_a_silent_node_are_refused() {
        let mut now = service(Mode::Sentinel);
        assert_eq!(upkeep::nodes(&now, &[id(9, 6379)]).unwrap_err().check, "params");
        now.nodes[1].seen = Err("timeout".into());
        assert_eq!(upkeep::nodes(&now, &[]).unwrap_err().check, "P1");
    }
}
