//! What `ops` may see of the running process: the Board, the inventory, how to dial, who controls
//! hosts, and the time.
//!
//! Invariant: everything here is read at the moment it is needed, never kept, so a run that lasts
//! minutes acts on the present inventory and the present secrets. Refuses to know who fills it.

use std::sync::Arc;

use model::board::Board;
use model::inventory::Inventory;
use model::{At, InstanceId};

use crate::provider::Providers;

/// The present inventory.
pub type InventoryNow = Box<dyn Fn() -> Arc<Inventory> + Send + Sync>;
/// Where and as whom to connect to an instance; none when it is not (or no longer) ours.
pub type TargetOf = Box<dyn Fn(&InstanceId) -> Option<link::Target> + Send + Sync>;

/// The world operations act in.
pub struct World {
    /// Latest readings and scores.
    pub board: Arc<Board>,
    /// The tree, complete.
    pub inventory: InventoryNow,
    /// Addresses and secrets.
    pub target: TargetOf,
    /// Who starts and stops processes.
    pub providers: Providers,
    /// The wall clock, for what is written down; leases and deadlines use the monotonic one.
    pub clock: fn() -> At,
}

impl World {
    /// Where and as whom to connect to a node that is being made for a service and is not in the
    /// inventory yet: as to a data node of that service, at the address the operation names. That
    /// address comes from a person's request, checked against the hosts of the inventory.
    pub fn target_of_new(&self, id: &InstanceId) -> Option<link::Target> {
        if let Some(known) = (self.target)(id) {
            return Some(known);
        }
        let inventory = (self.inventory)();
        let service = id.service();
        let mut like = inventory.nodes(&service).find_map(|i| (self.target)(&i.id))?;
        like.address = id.address().to_string();
        Some(like)
    }
}
