//! Whether more memory for one node still fits on its host.
//!
//! Invariant: what is not known is a refusal, for the host's other nodes pay for a wrong guess.

use std::collections::BTreeMap;

use model::InstanceId;
use model::field::Field;
use model::inventory::Inventory;
use model::refusal::Refusal;
use model::service::InstanceKind;

use crate::topology::{Node, Snapshot};
use crate::world::World;

/// Allocator and fragmentation on top of maxmemory.
const OVERHEAD: f64 = 1.1;
/// Share of the host that may be promised.
const SHARE_MAX: f64 = 0.8;

/// A host as one of its nodes needs to know it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Room {
    /// Memory of the host, or of the limit the process runs under, bytes; none: not known.
    pub(crate) memory: Option<f64>,
    /// What the host's other nodes may come to, bytes, or why that is not known.
    pub(crate) others: Result<f64, String>,
}

/// The hosts of a service's nodes.
pub(crate) fn rooms(world: &World, snapshot: &Snapshot) -> BTreeMap<InstanceId, Room> {
    let inventory = (world.inventory)();
    let room = |id: &InstanceId, node: &Node| {
        let host = inventory.instances.get(id).and_then(|i| i.host.as_ref());
        let listed = host.and_then(|h| inventory.hosts.get(h)).map(|h| h.memory_bytes as f64);
        let said = node.get(Field::TotalSystemMemory);
        Room {
            memory: listed.filter(|m| *m > 0.0).or(said.filter(|m| *m > 0.0)),
            others: others(world, &inventory, snapshot, id),
        }
    };
    snapshot.answered().map(|(id, node)| (id.clone(), room(id, node))).collect()
}

fn others(
    world: &World,
    inventory: &Inventory,
    snapshot: &Snapshot,
    id: &InstanceId,
) -> Result<f64, String> {
    let Some(host) = inventory.instances.get(id).and_then(|i| i.host.clone()) else {
        return Ok(0.0);
    };
    let beside = inventory
        .instances
        .values()
        .filter(|i| i.host.as_ref() == Some(&host) && i.id != *id && i.kind == InstanceKind::Redis);
    let mut sum = 0.0;
    for other in beside {
        // A node of the same service gets the same limit: counted with what it has, and by its own
        // check with what it will have.
        if let Some(node) = snapshot.node(&other.id) {
            sum += need(node.get(Field::Maxmemory).unwrap_or_default(), &|f| node.get(f));
            continue;
        }
        let row = world.board.row(&other.id).and_then(|r| r.last_good.clone());
        let last =
            row.ok_or_else(|| format!("{} stands on the same host and was never read", other.id))?;
        sum += need(last.get(Field::Maxmemory).unwrap_or_default(), &|f| last.get(f));
    }
    Ok(sum)
}

/// What a node may come to: its limit with overhead, its buffers, and what a fork copies.
fn need(maxmemory: f64, get: &dyn Fn(Field) -> Option<f64>) -> f64 {
    let used = get(Field::UsedMemory).unwrap_or_default();
    let of = |field| get(field).unwrap_or_default();
    let buffers = of(Field::MemClientsNormal) + of(Field::MemClientsSlaves);
    let persists = of(Field::AofEnabled) != 0.0 || saved_once(get);
    let fork = if persists { used } else { 0.0 };
    maxmemory.max(used) * OVERHEAD + buffers + fork
}

/// A server that never saved answers -1.
fn saved_once(get: &dyn Fn(Field) -> Option<f64>) -> bool {
    get(Field::RdbLastBgsaveTimeSec).is_some_and(|s| s >= 0.0)
}

impl Room {
    /// Refuses when the host would be promised more than its share.
    pub(crate) fn fits(&self, id: &InstanceId, wished: f64, node: &Node) -> Result<(), Refusal> {
        let refuse = |why: String| Err(Refusal::new("P8", id, why));
        let Some(memory) = self.memory else {
            return refuse(format!("the memory of the host of {id} is not known"));
        };
        let others = match &self.others {
            Ok(others) => *others,
            Err(why) => return refuse(format!("the host of {id} cannot be summed up: {why}")),
        };
        let (sum, limit) = (others + need(wished, &|f| node.get(f)), memory * SHARE_MAX);
        if sum > limit {
            return refuse(format!(
                "with maxmemory {wished} of {id} its host may come to {sum:.0} bytes, {limit:.0} of \
                 {memory:.0} are allowed"
            ));
        }
        Ok(())
    }
}
