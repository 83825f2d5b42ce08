//! What hosts carry after taking masters over.
//!
//! Invariant: a share is told only where both the use and the host's own size are known.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::field::Field;
use model::inventory::Inventory;
use model::row::Row;
use model::zone_loss::HostLoad;
use model::{HostId, InstanceId};

use super::Load;
use super::moves::Moved;

/// Above this a host has no room for a second surprise.
const FULL: f64 = 0.85;

/// Bytes of a kibibyte, the unit of Redis' traffic figures.
const KIB: f64 = 1024.0;

/// Sum of what is known; none while nothing is.
#[derive(Debug, Clone, Copy, Default)]
struct Sum(Option<f64>);

impl Sum {
    fn add(&mut self, value: Option<f64>) {
        if let Some(value) = value {
            *self.0.get_or_insert(0.0) += value;
        }
    }
}

#[derive(Default)]
struct Use {
    masters: u32,
    memory: Sum,
    cpu: Sum,
    network: Sum,
}

/// Hosts that take masters over, fullest first.
pub(super) fn take_over(
    inventory: &Inventory,
    rows: &[Arc<Row>],
    gone: &dyn Fn(&InstanceId) -> bool,
    moved: &Moved,
    load: &dyn Fn(&InstanceId) -> Load,
) -> Vec<HostLoad> {
    let host = |id: &InstanceId| inventory.instances.get(id).and_then(|i| i.host.clone());
    let mut uses: BTreeMap<HostId, Use> = BTreeMap::new();
    for (to, from) in moved.each() {
        let Some(host) = InstanceId::parse(to).ok().and_then(|to| host(&to)) else { continue };
        let took = uses.entry(host).or_default();
        took.masters += 1;
        // The data is there already; what comes on top is its clients and their work.
        took.memory.add(get(from, Field::MemClientsNormal));
        took.cpu.add(load(&from.instance.id).cpu);
        took.network.add(traffic(from));
    }
    for row in rows.iter().filter(|r| !gone(&r.instance.id)) {
        let Some(took) = host(&row.instance.id).and_then(|host| uses.get_mut(&host)) else {
            continue;
        };
        took.memory.add(get(row, Field::UsedMemoryRss));
        took.cpu.add(load(&row.instance.id).cpu);
        took.network.add(traffic(row));
    }
    let mut all: Vec<HostLoad> =
        uses.into_iter().map(|(id, took)| told(inventory, &id, &took)).collect();
    let fill = |h: &HostLoad| h.memory_ratio.unwrap_or(0.0).max(h.cpu_ratio.unwrap_or(0.0));
    all.sort_by(|a, b| fill(b).total_cmp(&fill(a)).then_with(|| a.host.cmp(&b.host)));
    all
}

fn told(inventory: &Inventory, id: &HostId, took: &Use) -> HostLoad {
    let host = inventory.hosts.get(id);
    let part = |used: Sum, all: f64| used.0.filter(|_| all > 0.0).map(|used| used / all);
    let memory_ratio = part(took.memory, host.map_or(0.0, |h| h.memory_bytes as f64));
    let cpu_ratio = part(took.cpu, host.map_or(0.0, |h| f64::from(h.cpu)));
    HostLoad {
        host: id.to_string(),
        masters: took.masters,
        memory_ratio,
        cpu_ratio,
        network_bytes_per_s: took.network.0,
        over: [memory_ratio, cpu_ratio].into_iter().flatten().any(|ratio| ratio > FULL),
    }
}

fn get(row: &Row, field: Field) -> Option<f64> {
    row.last_good.as_ref()?.get(field)
}

fn traffic(row: &Row) -> Option<f64> {
    let both = get(row, Field::InstantaneousInputKbps)? + get(row, Field::InstantaneousOutputKbps)?;
    Some(both * KIB)
}
