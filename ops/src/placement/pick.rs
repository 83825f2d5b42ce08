//! Which host a node more goes to, when nobody names one.
//!
//! Invariant: the same inventory gives the same host; a host without a provider, or that holds a node
//! of the shard, is never chosen. Refuses to know memory and processors: capacity is reserved where
//! services are provisioned.

use std::collections::BTreeMap;

use model::host::Host;
use model::inventory::Inventory;
use model::service::Instance;
use model::{HostId, ServiceId};

/// The best host for a node of a shard: in the zone with fewest nodes of the shard, then with fewest
/// instances, then by id. `taken` are hosts that other new nodes of the shard go to.
pub fn host<'a>(
    inventory: &'a Inventory,
    service: &ServiceId,
    shard: u32,
    taken: &[HostId],
) -> Option<&'a Host> {
    let of_shard: Vec<&Instance> = inventory.nodes(service).filter(|i| i.shard == shard).collect();
    let mut in_zone: BTreeMap<&str, usize> = BTreeMap::new();
    let zones_taken = taken.iter().filter_map(|h| inventory.hosts.get(h)).map(|h| h.zone.as_str());
    for zone in of_shard.iter().map(|i| i.zone.as_str()).chain(zones_taken) {
        *in_zone.entry(zone).or_default() += 1;
    }
    let mut on_host: BTreeMap<&HostId, usize> = BTreeMap::new();
    for host in inventory.instances.values().filter_map(|i| i.host.as_ref()) {
        *on_host.entry(host).or_default() += 1;
    }
    let holds = |h: &Host| of_shard.iter().any(|i| i.host.as_ref() == Some(&h.id));
    let fit = inventory
        .hosts
        .values()
        .filter(|h| !h.provider.is_empty() && !holds(h) && !taken.contains(&h.id))
        .filter(|h| !inventory.evacuated.contains(&h.zone));
    fit.min_by_key(|h| {
        let zone = in_zone.get(h.zone.as_str()).copied().unwrap_or_default();
        (zone, on_host.get(&h.id).copied().unwrap_or_default(), h.id.clone())
    })
}

/// The lowest port from `from` on that no instance of the inventory has on that address.
pub fn port(inventory: &Inventory, address: &str, from: u16) -> Option<u16> {
    let used = |port: u16| {
        inventory.instances.keys().any(|id| {
            let (host, has) = id.host_port();
            host == address && has == port
        })
    };
    (from..=u16::MAX).find(|port| !used(*port))
}
