//! Objects other than instances: which rules are about them, and which instances they gather.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use model::inventory::Inventory;
use model::policy::PolicyScope;
use model::{ServiceId, SystemId};

use super::{Bearer, ByScope, Ground, Rules, among, rules};
use crate::resolve::Effective;
use crate::signal::{Kind, Object, Signal};

/// An object and the rules about it.
pub struct GridObject {
    /// Who carries the alerts.
    pub bearer: Bearer,
    /// Policies in force whose signal is about objects of its kind.
    pub rules: Vec<Arc<Effective>>,
    /// Places of its instances in columns.
    pub members: Vec<usize>,
}

/// An object of the tree with what selectors see of it.
struct Found {
    object: Object,
    labels: BTreeMap<&'static str, String>,
    scopes: Vec<PolicyScope>,
}

/// The objects some rule is about.
pub(super) fn of(
    ground: &Ground<'_>,
    by_scope: &ByScope<'_>,
    problems: &mut BTreeMap<String, String>,
) -> Vec<GridObject> {
    let mut wanted: Vec<Kind> = ground.docs.iter().filter_map(kind).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut out = Vec::new();
    for kind in wanted {
        let members = members(ground.inventory, kind);
        let mut variants: HashMap<Vec<usize>, Rules> = HashMap::new();
        for found in found(ground.inventory, kind) {
            let mine = among(&found.scopes, ground.docs, by_scope, &found.labels);
            let all = variants
                .entry(mine)
                .or_insert_with_key(|mine| rules(mine, ground.docs, problems))
                .clone();
            let about = |r: &&Arc<Effective>| {
                r.signal.kind() == kind && !matches!(r.signal, Signal::Delegated(_))
            };
            let rules: Vec<_> = all.iter().filter(about).cloned().collect();
            if rules.is_empty() {
                continue;
            }
            let labels = found.labels.into_iter().map(|(n, v)| (n.to_string(), v)).collect();
            let members = members.get(&found.object).cloned().unwrap_or_default();
            let external = ground.external.clone();
            let bearer = Bearer { object: found.object, labels, external };
            out.push(GridObject { bearer, rules, members });
        }
    }
    out
}

/// Which objects a document's signal is about; none: instances, or it cannot be said.
fn kind(doc: &model::policy::PolicyDoc) -> Option<Kind> {
    let signal = Signal::compile(doc.signal.as_ref()?, doc.window.as_ref()).ok()?;
    Some(signal.kind()).filter(|kind| *kind != Kind::Instance)
}

fn members(inventory: &Inventory, kind: Kind) -> HashMap<Object, Vec<usize>> {
    let mut members: HashMap<Object, Vec<usize>> = HashMap::new();
    for (ordinal, instance) in inventory.instances.values().enumerate() {
        let id = &instance.id;
        let object = match kind {
            Kind::Instance => continue,
            Kind::Shard => Object::Shard(id.service(), instance.shard),
            Kind::Service => Object::Service(id.service()),
            Kind::System => match inventory.owner(id) {
                Some((_, system)) => Object::System(system.id.clone()),
                None => continue,
            },
            Kind::Tenant => Object::Tenant(id.tenant()),
            Kind::Zone => Object::Zone(instance.zone.clone()),
            Kind::Platform => Object::Platform,
        };
        members.entry(object).or_default().push(ordinal);
    }
    members
}

fn found(inventory: &Inventory, kind: Kind) -> Vec<Found> {
    let of_service = |id: &ServiceId| service(inventory, id);
    match kind {
        Kind::Instance => Vec::new(),
        Kind::Service => inventory.services.keys().filter_map(of_service).collect(),
        Kind::Shard => {
            let shards: std::collections::BTreeSet<(ServiceId, u32)> =
                inventory.instances.values().map(|i| (i.id.service(), i.shard)).collect();
            let shard = |(id, n): (ServiceId, u32)| {
                let mut found = of_service(&id)?;
                found.labels.insert("shard", n.to_string());
                Some(Found { object: Object::Shard(id, n), ..found })
            };
            shards.into_iter().filter_map(shard).collect()
        }
        Kind::System => inventory.systems.keys().filter_map(|id| system(inventory, id)).collect(),
        Kind::Tenant => {
            let tenants: std::collections::BTreeSet<_> =
                inventory.instances.values().map(|i| i.id.tenant()).collect();
            let tenant = |id: model::TenantId| Found {
                labels: [("tenant", id.to_string())].into(),
                scopes: vec![PolicyScope::Platform, PolicyScope::Tenant(id.clone())],
                object: Object::Tenant(id),
            };
            tenants.into_iter().map(tenant).collect()
        }
        Kind::Zone => {
            let zones: std::collections::BTreeSet<_> =
                inventory.instances.values().map(|i| i.zone.clone()).collect();
            let zone = |id: model::ZoneId| Found {
                labels: [("zone", id.to_string())].into(),
                object: Object::Zone(id),
                scopes: vec![PolicyScope::Platform],
            };
            zones.into_iter().map(zone).collect()
        }
        Kind::Platform => vec![Found {
            object: Object::Platform,
            labels: BTreeMap::new(),
            scopes: vec![PolicyScope::Platform],
        }],
    }
}

fn service(inventory: &Inventory, id: &ServiceId) -> Option<Found> {
    let service = inventory.services.get(id)?;
    let system = inventory.systems.get(&service.system)?;
    Some(Found {
        object: Object::Service(id.clone()),
        labels: [
            ("tenant", id.tenant().to_string()),
            ("system", system.id.slug().to_string()),
            ("service", id.slug().to_string()),
            ("env", system.env.as_str().to_string()),
            ("tier", service.tier.as_str().to_string()),
        ]
        .into(),
        scopes: vec![
            PolicyScope::Platform,
            PolicyScope::Tenant(id.tenant()),
            PolicyScope::System(system.id.clone()),
            PolicyScope::Service(id.clone()),
        ],
    })
}

fn system(inventory: &Inventory, id: &SystemId) -> Option<Found> {
    let system = inventory.systems.get(id)?;
    Some(Found {
        object: Object::System(id.clone()),
        labels: [
            ("tenant", id.tenant().to_string()),
            ("system", id.slug().to_string()),
            ("env", system.env.as_str().to_string()),
        ]
        .into(),
        scopes: vec![
            PolicyScope::Platform,
            PolicyScope::Tenant(id.tenant()),
            PolicyScope::System(id.clone()),
        ],
    })
}
