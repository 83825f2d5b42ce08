//! The layout of a service: its nodes with zone, host, shard and role, and the settings a failover
//! depends on.
//!
//! Invariant: what is not known is none, never a default that would look safe. A layout can be
//! changed on paper (a node less, a node more, another master) to ask what a plan would leave.

use model::board::Board;
use model::detail::Parameters;
use model::field::Field;
use model::inventory::Inventory;
use model::reading::{Facts, Role};
use model::row::Row;
use model::service::{Class, Mode};
use model::{InstanceId, ServiceId};

use crate::topology::Snapshot;

/// A node.
#[derive(Debug, Clone, PartialEq)]
pub struct Spot {
    /// Who.
    pub id: InstanceId,
    /// Zone; empty: not known.
    pub zone: String,
    /// Machine: the host of the inventory, else the address' host.
    pub host: String,
    /// Shard.
    pub shard: u32,
    /// Whether it is the master; none while its role is not known.
    pub master: Option<bool>,
    /// `replica-priority`; none when not known.
    pub priority: Option<f64>,
    /// Whether its link to its master is up; none for a master and when not known.
    pub linked: Option<bool>,
    /// `cluster-replica-no-failover`.
    pub no_failover: Option<bool>,
}

/// What is known of a service's layout.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// Which.
    pub service: ServiceId,
    /// How it is built.
    pub mode: Mode,
    /// What it promises.
    pub class: Class,
    /// Data nodes.
    pub nodes: Vec<Spot>,
    /// Zones of its Sentinels.
    pub sentinels: Vec<String>,
    /// Their `quorum`.
    pub quorum: Option<usize>,
    /// Sentinels they know of: more than there are means dead ones.
    pub sentinels_known: Option<usize>,
    /// Addresses of replicas the Sentinels flag s_down.
    pub unseen_by_sentinels: Vec<String>,
    /// `cluster-require-full-coverage`.
    pub full_coverage: Option<bool>,
    /// `cluster-allow-replica-migration`.
    pub migration: Option<bool>,
    /// `down-after-milliseconds` or `cluster-node-timeout`, ms.
    pub patience_ms: Option<f64>,
    /// `min-replicas-to-write` of the masters, the lowest.
    pub min_replicas: Option<f64>,
}

impl Layout {
    /// As the inventory places it and the Board's latest readings show it.
    pub fn on_board(inventory: &Inventory, board: &Board, service: &ServiceId) -> Option<Layout> {
        let mut layout = Layout::empty(inventory, service)?;
        for instance in inventory.nodes(service) {
            let row = board.row(&instance.id);
            layout.push(inventory, &instance.id, row.as_deref().and_then(Row::facts));
        }
        for sentinel in inventory.sentinels(service) {
            layout.sentinels.push(sentinel.zone.to_string());
            let row = board.row(&sentinel.id);
            let name = &inventory.services[service].sentinel_master;
            let masters = row.as_deref().and_then(Row::facts).map(|f| f.masters.as_slice());
            if let Some(m) = masters.unwrap_or_default().iter().find(|m| m.name == *name) {
                layout.watched(m.quorum, m.sentinels, m.down_after_ms);
            }
        }
        Some(layout)
    }

    /// As its servers just said themselves.
    pub fn of_snapshot(inventory: &Inventory, now: &Snapshot) -> Option<Layout> {
        let mut layout = Layout::empty(inventory, &now.service.id)?;
        for place in &now.nodes {
            layout.push(inventory, &place.id, None);
            let Some(spot) = layout.nodes.last_mut() else { continue };
            let Ok(node) = &place.seen else { continue };
            spot.master = Some(node.master.is_none());
            spot.priority = node.get(Field::SlavePriority);
            spot.linked = node.master.as_ref().map(|_| node.link == "connected");
        }
        for sentinel in &now.sentinels {
            layout.sentinels.push(sentinel.zone.to_string());
        }
        for (_, watch) in now.watches() {
            let m = &watch.master;
            layout.watched(m.quorum, m.sentinels, m.down_after_ms);
            let down = watch.replicas.iter().filter(|r| !r.is_ok()).map(|r| r.address());
            layout.unseen_by_sentinels.extend(down);
        }
        Some(layout)
    }

    fn empty(inventory: &Inventory, service: &ServiceId) -> Option<Layout> {
        let found = inventory.services.get(service)?;
        Some(Layout {
            service: service.clone(),
            mode: found.mode,
            class: found.class,
            nodes: Vec::new(),
            sentinels: Vec::new(),
            quorum: None,
            sentinels_known: None,
            unseen_by_sentinels: Vec::new(),
            full_coverage: None,
            migration: None,
            patience_ms: None,
            min_replicas: None,
        })
    }

    fn watched(&mut self, quorum: f64, known: f64, down_after_ms: f64) {
        let most = |old: Option<usize>, new: f64| Some(old.unwrap_or(0).max(new as usize));
        self.quorum = most(self.quorum, quorum);
        self.sentinels_known = most(self.sentinels_known, known);
        self.patience_ms = Some(self.patience_ms.unwrap_or(0.0).max(down_after_ms));
    }

    fn push(&mut self, inventory: &Inventory, id: &InstanceId, facts: Option<&Facts>) {
        let instance = inventory.instances.get(id);
        let host = instance.and_then(|i| i.host.as_ref()).map(ToString::to_string);
        let role = facts.and_then(|f| f.role);
        let set = facts.and_then(|f| f.detail.settings.as_ref()?.parameters.as_ref());
        let says = |name: &str| set.and_then(|s: &Parameters| s.get(name)).map(|v| v == "yes");
        self.nodes.push(Spot {
            id: id.clone(),
            zone: instance.map(|i| i.zone.to_string()).unwrap_or_default(),
            host: host.unwrap_or_else(|| id.host_port().0.to_string()),
            shard: instance.map_or(0, |i| i.shard),
            master: role.map(|r| r == Role::Master),
            priority: facts.and_then(|f| f.values.get(Field::SlavePriority)),
            linked: facts.and_then(|f| f.link_state.as_deref()).map(|l| l == "connected"),
            no_failover: says("cluster-replica-no-failover"),
        });
        if self.mode == Mode::Cluster {
            self.full_coverage = self.full_coverage.or(says("cluster-require-full-coverage"));
            self.migration = self.migration.or(says("cluster-allow-replica-migration"));
            let timeout = set.and_then(|s| s.number("cluster-node-timeout"));
            self.patience_ms = self.patience_ms.or(timeout);
        }
        let writes = set.and_then(|s| s.number("min-replicas-to-write"));
        if role == Some(Role::Master) {
            self.min_replicas = match (self.min_replicas, writes) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
    }

    /// Without that node.
    pub fn without(&self, id: &InstanceId) -> Layout {
        let mut after = self.clone();
        after.nodes.retain(|n| n.id != *id);
        after
    }

    /// With a node more.
    pub fn with(&self, spot: Spot) -> Layout {
        let mut after = self.clone();
        after.nodes.push(spot);
        after
    }

    /// With `new` as master instead of `old`.
    pub fn promoted(&self, old: &InstanceId, new: &InstanceId) -> Layout {
        let mut after = self.clone();
        for node in &mut after.nodes {
            if node.id == *old || node.id == *new {
                node.master = Some(node.id == *new);
            }
        }
        after
    }

    /// Shard numbers that have nodes, ascending.
    pub fn shards(&self) -> Vec<u32> {
        let mut all: Vec<u32> = self.nodes.iter().map(|n| n.shard).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}
