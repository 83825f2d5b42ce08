//! In which zone an address stands. Pure.
//!
//! Invariant: what a person said comes first (document, request), then the hosts of the tree, then the
//! networks of its zones; of networks the narrowest counts. Nothing a server says counts.

use std::net::IpAddr;

use model::ZoneId;
use model::apply::Fault;
use model::cidr::Cidr;
use model::id::split_address;
use model::inventory::Inventory;
use store::UNASSIGNED;

use super::draft::Wish;
use super::walk::Found;

/// Answers zones.
pub(super) struct Zones<'a> {
    present: &'a Inventory,
    asked: Vec<(Cidr, String)>,
    tree: Vec<(Cidr, String)>,
    fallback: String,
}

impl<'a> Zones<'a> {
    /// From the request and the tree.
    pub(super) fn new(wish: &Wish<'a>) -> Result<Zones<'a>, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut asked = Vec::new();
        for (network, zone) in &wish.doc.zones {
            match network.parse::<Cidr>() {
                Ok(cidr) => asked.push((cidr, zone.clone())),
                Err(detail) => faults.push(Fault { pointer: "/zones".into(), detail }),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut tree = Vec::new();
        for zone in wish.present.zones.values() {
            let networks = zone.networks.iter().filter_map(|n| n.parse::<Cidr>().ok());
            tree.extend(networks.map(|cidr| (cidr, zone.id.to_string())));
        }
        let fallback = match wish.doc.zone.as_str() {
            "" => UNASSIGNED.to_string(),
            zone => zone.to_string(),
        };
        Ok(Zones { present: wish.present, asked, tree, fallback })
    }

    /// Zone of a process, and its host when the tree knows it there.
    pub(super) fn of(&self, address: &str, found: &Found) -> (String, Option<String>) {
        if let Some(known) = found.known.as_ref().and_then(|id| self.present.instances.get(id)) {
            return (known.zone.to_string(), known.host.as_ref().map(|h| h.to_string()));
        }
        let ip = split_address(address).and_then(|(host, _)| host.parse::<IpAddr>().ok());
        let host = self.present.hosts.values().find(|h| h.address.parse::<IpAddr>().ok() == ip);
        let said = found.hints.zone.clone().filter(|z| self.exists(z));
        let zone = said
            .or_else(|| narrowest(&self.asked, ip))
            .or_else(|| host.map(|h| h.zone.to_string()))
            .or_else(|| narrowest(&self.tree, ip))
            .unwrap_or_else(|| self.fallback.clone());
        let host = host.filter(|h| h.zone.as_str() == zone).map(|h| h.id.to_string());
        (zone, host)
    }

    /// Whether a service can be put there.
    pub(super) fn exists(&self, zone: &str) -> bool {
        zone == UNASSIGNED
            || ZoneId::parse(zone).is_ok_and(|id| self.present.zones.contains_key(&id))
    }
}

fn narrowest(networks: &[(Cidr, String)], ip: Option<IpAddr>) -> Option<String> {
    let ip = ip?;
    let covering = networks.iter().filter(|(cidr, _)| cidr.covers(ip));
    covering.max_by_key(|(cidr, _)| cidr.bits()).map(|(_, zone)| zone.clone())
}
