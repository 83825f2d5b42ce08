//! Which runbooks react to an alert.
//!
//! Invariant: a dead node belongs to one runbook, by what it last was and by what the others say of
//! it now. An alert's labels choose nothing.

use model::At;
use model::alert::Alert;
use model::inventory::Inventory;
use model::service::{InstanceKind, Mode};

use super::book::{
    Entry, MASTER_FAILOVER, REPLICA_RESTART, SENTINEL_DOWN, STANDALONE_RESTART, find,
};
use super::context::{master_at, named_on_board};
use super::guards::MASTER_LATELY_MS;
use crate::World;

/// The runbooks that exclude each other for a dead node.
const DOWN: [&str; 4] = [REPLICA_RESTART, MASTER_FAILOVER, STANDALONE_RESTART, SENTINEL_DOWN];

/// The runbooks of the alert; those of a dead node narrowed to the one that fits it.
pub(super) fn runbooks_for(
    world: &World,
    inventory: &Inventory,
    alert: &Alert,
    now: At,
) -> Vec<&'static Entry> {
    let mut named: Vec<&'static Entry> = alert.runbooks.iter().filter_map(|r| find(r)).collect();
    named.dedup_by_key(|e| e.number);
    let about_down = named.iter().any(|e| DOWN.contains(&e.name));
    let Some(node) = alert.instance.as_ref().filter(|_| about_down) else { return named };
    named.retain(|e| !DOWN.contains(&e.name));
    let fits = inventory.instances.get(node).and_then(|instance| {
        let service = inventory.services.get(&node.service())?;
        let row = world.board.row(node);
        let lately = |at: At| now.since_ms(at) < MASTER_LATELY_MS;
        let was = master_at(row.as_deref());
        let master = named_on_board(world, inventory, node)
            || was.is_some_and(|at| service.mode == Mode::Standalone || lately(at));
        find(name(instance.kind, service.mode, master))
    });
    // A node that is not in the inventory (any more) is nobody's to restart.
    named.extend(fits);
    named
}

fn name(kind: InstanceKind, mode: Mode, master: bool) -> &'static str {
    match (kind, mode, master) {
        (InstanceKind::Sentinel, _, _) => SENTINEL_DOWN,
        (_, _, false) => REPLICA_RESTART,
        (_, Mode::Standalone, true) => STANDALONE_RESTART,
        (_, _, true) => MASTER_FAILOVER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_node_belongs_to_the_runbook_of_what_it_was() {
        use InstanceKind::{Redis, Sentinel};
        for (kind, mode, master, wanted) in [
            (Redis, Mode::Sentinel, false, REPLICA_RESTART),
            (Redis, Mode::Cluster, false, REPLICA_RESTART),
            (Redis, Mode::Standalone, false, REPLICA_RESTART),
            (Redis, Mode::Sentinel, true, MASTER_FAILOVER),
            (Redis, Mode::Cluster, true, MASTER_FAILOVER),
            (Redis, Mode::Standalone, true, STANDALONE_RESTART),
            (Sentinel, Mode::Sentinel, false, SENTINEL_DOWN),
        ] {
            assert_eq!(name(kind, mode, master), wanted, "{kind:?} {mode:?} {master}");
        }
    }
}
