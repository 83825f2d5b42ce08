//! Nodes that servers name and the inventory does not: candidates for an operator to look at.
//!
//! Invariant: nothing here is ever dialled, added or trusted; an address is shown only when it is
//! one and lies in the tenant's networks; what a lying server can make us remember is bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::board::Board;
use model::cidr::{Cidr, never_dialled};
use model::inventory::Inventory;
use model::row::Row;
use model::service::{Mode, Service};
use model::{At, InstanceId, ServiceId};

/// Addresses remembered of what one server names: a cluster has at most some hundred nodes, and the
/// strangers among them are few.
const REMEMBERED_MAX: usize = 64;

/// Why a named node is not dialled; the label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Why {
    /// The inventory does not have it: a candidate.
    NotInInventory,
    /// No network of the tenant covers it.
    OutsideNetworks,
    /// It is no address.
    NoAddress,
    /// The server names more strangers than we remember.
    TooMany,
}

impl Why {
    /// The label value.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Why::NotInInventory => "not_in_inventory",
            Why::OutsideNetworks => "outside_networks",
            Why::NoAddress => "no_address",
            Why::TooMany => "too_many",
        }
    }
}

/// A candidate: somebody of the service names it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub(crate) struct Stranger {
    /// `ip:port`.
    pub address: String,
    /// Since when it is named.
    pub since: At,
    /// Instances that name it.
    pub named_by: Vec<InstanceId>,
}

#[derive(Debug, Default)]
struct Seen {
    /// By who names it: address, why it is refused, since when.
    named: BTreeMap<InstanceId, BTreeMap<String, (Why, At)>>,
    /// Newly named nodes that were refused, since the start.
    refused: BTreeMap<(InstanceId, Why), u64>,
}

/// Everything named and not known.
#[derive(Debug, Default)]
pub(crate) struct Strangers(Mutex<Seen>);

impl Strangers {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares what every server says with the inventory. A server that does not answer has not
    /// taken back what it said.
    pub(crate) fn look(&self, inventory: &Inventory, board: &Board, now: At) {
        let mut seen = self.seen();
        let stays = |id: &InstanceId| inventory.instances.contains_key(id);
        seen.named.retain(|id, _| stays(id));
        seen.refused.retain(|(id, _), _| stays(id));
        for service in inventory.services.values() {
            let members: Vec<_> = inventory.of_service(&service.id).collect();
            let known: BTreeSet<&str> = members.iter().map(|i| i.id.address()).collect();
            let networks = networks(inventory, service);
            for row in members.iter().filter_map(|i| board.row(&i.id)) {
                let Some(facts) = row.facts() else { continue };
                let named = exporter::topology::named(facts, &service.sentinel_master);
                let strange = named.into_iter().filter(|address| !known.contains(address));
                seen.take(&row.instance.id, strange, &networks, now);
            }
        }
    }

    /// Candidates of a service, by address.
    pub(crate) fn of(&self, service: &ServiceId) -> Vec<Stranger> {
        let mut all: BTreeMap<String, Stranger> = BTreeMap::new();
        for (by, named) in self.seen().named.iter().filter(|(by, _)| by.service() == *service) {
            for (address, (why, since)) in named {
                if *why != Why::NotInInventory {
                    continue;
                }
                let one = all.entry(address.clone()).or_insert_with(|| Stranger {
                    address: address.clone(),
                    since: *since,
                    named_by: Vec::new(),
                });
                one.since = one.since.min(*since);
                one.named_by.push(by.clone());
            }
        }
        all.into_values().collect()
    }

    /// Refused nodes since the start: who named them, why, how many.
    pub(crate) fn refused(&self) -> Vec<(InstanceId, &'static str, u64)> {
        let seen = self.seen();
        seen.refused.iter().map(|((id, why), n)| (id.clone(), why.as_str(), *n)).collect()
    }
}

impl Seen {
    fn take<'a>(
        &mut self,
        by: &InstanceId,
        strange: impl Iterator<Item = &'a str>,
        networks: &[Cidr],
        now: At,
    ) {
        let mut present: BTreeMap<String, (Why, At)> = BTreeMap::new();
        let before = self.named.remove(by).unwrap_or_default();
        for address in strange {
            let (key, why) = match present.len() {
                ..REMEMBERED_MAX => (address, judge(address, networks)),
                _ => ("", Why::TooMany),
            };
            // Those no address is are not kept by their text: it is the server's to choose.
            let key = if why == Why::NoAddress { "-" } else { key };
            if present.contains_key(key) {
                continue;
            }
            let since = before.get(key).map(|(_, since)| *since);
            if since.is_none() {
                *self.refused.entry((by.clone(), why)).or_default() += 1;
            }
            present.insert(key.to_string(), (why, since.unwrap_or(now)));
        }
        if !present.is_empty() {
            self.named.insert(by.clone(), present);
        }
    }
}

fn networks(inventory: &Inventory, service: &Service) -> Vec<Cidr> {
    let tenant = inventory.tenants.get(&service.id.tenant());
    let written = tenant.map(|t| t.networks.as_slice()).unwrap_or_default();
    written.iter().filter_map(|n| n.parse().ok()).collect()
}

fn judge(address: &str, networks: &[Cidr]) -> Why {
    match address.parse::<SocketAddr>() {
        Err(_) => Why::NoAddress,
        Ok(at) if never_dialled(at.ip()) || !networks.iter().any(|n| n.covers(at.ip())) => {
            Why::OutsideNetworks
        }
        Ok(_) => Why::NotInInventory,
    }
}

/// Data nodes of a service that should be there and are not: they do not answer, and nobody who
/// does names them any more. Services whose nodes do not name each other have none.
pub(crate) fn unnamed(inventory: &Inventory, board: &Board, service: &Service) -> Vec<InstanceId> {
    if !matches!(service.mode, Mode::Sentinel | Mode::Cluster) {
        return Vec::new();
    }
    let rows: Vec<_> = inventory.of_service(&service.id).filter_map(|i| board.row(&i.id)).collect();
    let answering: Vec<&Row> = rows.iter().map(AsRef::as_ref).filter(|r| r.reading.up).collect();
    let named: BTreeSet<&str> = answering
        .iter()
        .filter_map(|row| row.facts())
        .flat_map(|facts| exporter::topology::named(facts, &service.sentinel_master))
        .collect();
    let here = |id: &InstanceId| answering.iter().any(|row| row.instance.id == *id);
    let nodes = inventory.nodes(&service.id).filter(|i| !here(&i.id));
    let gone = nodes.filter(|i| !named.contains(i.id.address()));
    match answering.is_empty() {
        true => Vec::new(),
        false => gone.map(|i| i.id.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: At = At::from_ms(1_763_800_000_000);

    fn id() -> InstanceId {
        "pay.cart@10.0.0.1:6379".parse().unwrap()
    }

    fn seen(rounds: &[&[&str]]) -> Seen {
        let networks = ["10.0.0.0/8".parse().unwrap()];
        let mut seen = Seen::default();
        for (i, named) in rounds.iter().enumerate() {
            seen.take(&id(), named.iter().copied(), &networks, T0 + i as i64);
        }
        seen
    }

    fn count(seen: &Seen, why: Why) -> u64 {
        seen.refused.get(&(id(), why)).copied().unwrap_or(0)
    }

    #[test]
    fn a_named_node_is_counted_once_while_it_stays_named_and_again_when_it_returns() {
        let one = seen(&[&["10.0.0.9:1"], &["10.0.0.9:1"], &[], &["10.0.0.9:1"]]);
        assert_eq!(count(&one, Why::NotInInventory), 2);
        assert_eq!(one.named[&id()]["10.0.0.9:1"], (Why::NotInInventory, T0 + 3));
    }

    #[test]
    fn what_is_no_address_or_outside_of_the_tenant_is_no_candidate() {
        let one = seen(&[&["169.254.169.254:80", "192.168.0.1:1", "evil.example:1", "x\r\ny"]]);
        assert_eq!(count(&one, Why::OutsideNetworks), 2);
        assert_eq!(count(&one, Why::NoAddress), 1, "their text is the server's to choose");
        let all = Strangers(Mutex::new(one));
        assert!(all.of(&id().service()).is_empty());
        assert_eq!(all.refused().len(), 2);
    }

    #[test]
    fn a_server_that_names_thousands_is_remembered_in_part() {
        let many: Vec<String> =
            (0..5_000).map(|i| format!("10.1.{}.{}:1", i / 250, i % 250)).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let one = seen(&[&many, &many]);
        assert_eq!(one.named[&id()].len(), REMEMBERED_MAX + 1);
        assert_eq!(count(&one, Why::NotInInventory), REMEMBERED_MAX as u64);
        assert_eq!(count(&one, Why::TooMany), 1);
    }
}
