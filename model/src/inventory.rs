//! The whole tree at one moment: what should exist, whose it is and where it stands.
//!
//! Invariant: immutable and complete; `store` builds it, `server` swaps it whole, everybody else
//! holds an `Arc` of it. Every instance's service, system, tenant and zone are in it.

use std::collections::{BTreeMap, BTreeSet};

use crate::host::Host;
use crate::service::{Instance, InstanceKind, Service};
use crate::tenant::{Env, Site, System, Tenant, Zone};
use crate::{HostId, InstanceId, ServiceId, SiteId, SystemId, TenantId, ZoneId};

/// The tree at one moment.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// Grows with each change of the tree.
    pub generation: i64,
    /// Tenants.
    pub tenants: BTreeMap<TenantId, Tenant>,
    /// Business systems.
    pub systems: BTreeMap<SystemId, System>,
    /// Services.
    pub services: BTreeMap<ServiceId, Service>,
    /// Instances.
    pub instances: BTreeMap<InstanceId, Instance>,
    /// Sites.
    pub sites: BTreeMap<SiteId, Site>,
    /// Zones.
    pub zones: BTreeMap<ZoneId, Zone>,
    /// Hosts.
    pub hosts: BTreeMap<HostId, Host>,
    /// Zones that masters were moved out of and shall not return to yet.
    pub evacuated: BTreeSet<ZoneId>,
}

impl Inventory {
    /// The instances of a service, data nodes and Sentinels, in id order.
    pub fn of_service<'a>(&'a self, id: &'a ServiceId) -> impl Iterator<Item = &'a Instance> + 'a {
        // The ids of a service stand together: at 10 000 instances a walk over all would be felt.
        let from = InstanceId::before_all_of(id);
        let onwards = self.instances.range(from.clone()..);
        onwards.map(|(_, i)| i).take_while(move |i| i.id.as_str().starts_with(from.as_str()))
    }

    /// The data nodes of a service.
    pub fn nodes<'a>(&'a self, id: &'a ServiceId) -> impl Iterator<Item = &'a Instance> + 'a {
        self.of_service(id).filter(|i| i.kind == InstanceKind::Redis)
    }

    /// The Sentinels of a service.
    pub fn sentinels<'a>(&'a self, id: &'a ServiceId) -> impl Iterator<Item = &'a Instance> + 'a {
        self.of_service(id).filter(|i| i.kind == InstanceKind::Sentinel)
    }

    /// Service and system of an instance.
    pub fn owner(&self, id: &InstanceId) -> Option<(&Service, &System)> {
        let service = self.services.get(&id.service())?;
        Some((service, self.systems.get(&service.system)?))
    }

    /// The labels discovery attaches to an instance, in a fixed order.
    pub fn labels(&self, instance: &Instance) -> Vec<(&'static str, String)> {
        let Some((service, system)) = self.owner(&instance.id) else { return Vec::new() };
        let site = self.zones.get(&instance.zone).map(|z| z.site.to_string()).unwrap_or_default();
        vec![
            ("tenant", service.id.tenant().to_string()),
            ("system", system.id.slug().to_string()),
            ("service", service.id.slug().to_string()),
            ("shard", instance.shard.to_string()),
            ("instance", instance.id.to_string()),
            ("zone", instance.zone.to_string()),
            ("site", site),
            ("env", system.env.as_str().to_string()),
            ("tier", service.tier.as_str().to_string()),
        ]
    }

    /// Environment of a service.
    pub fn env(&self, service: &Service) -> Env {
        self.systems.get(&service.system).map(|s| s.env).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_its_own_instances_and_not_those_of_its_neighbours() {
        let mut inventory = Inventory::default();
        for id in [
            "pay.cart@10.0.0.1:1",
            "pay.cart@10.0.0.2:1",
            "pay.cart-b@10.0.0.3:1",
            "pay.ca@10.0.0.4:1",
        ] {
            let id: InstanceId = id.parse().unwrap();
            let instance = Instance {
                id: id.clone(),
                kind: InstanceKind::Redis,
                zone: "az-1".parse().unwrap(),
                host: None,
                shard: 0,
            };
            inventory.instances.insert(id, instance);
        }
        let found = |s: &str| inventory.of_service(&s.parse().unwrap()).count();
        assert_eq!((found("pay.cart"), found("pay.cart-b"), found("pay.c")), (2, 1, 0));
    }
}
