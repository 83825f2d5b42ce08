//! What an inventory file changes, in the order it is written. Pure.
//!
//! Invariant: a row that already stands as the file says yields no step, so a second apply writes
//! nothing.

use std::collections::{BTreeMap, BTreeSet};

use model::apply::Change;
use model::host::Host;
use model::inventory::Inventory;
use model::right::Place;
use model::service::{Instance, Service};
use model::tenant::{Site, System, Tenant, Zone};
use model::{SystemId, TenantId};
use serde_json::Value;

use super::DEFAULT_SYSTEM;
use super::check::Wanted;

/// One row of the tree.
#[derive(Clone, Copy)]
pub(super) enum Row<'a> {
    Site(&'a Site),
    Zone(&'a Zone),
    Host(&'a Host),
    Tenant(&'a Tenant),
    System(&'a System),
    Service(&'a Service),
    Instance(&'a Instance, &'a SystemId),
}

impl Row<'_> {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Row::Site(_) => "site",
            Row::Zone(_) => "zone",
            Row::Host(_) => "host",
            Row::Tenant(_) => "tenant",
            Row::System(_) => "system",
            Row::Service(_) => "service",
            Row::Instance(..) => "instance",
        }
    }

    pub(super) fn id(&self) -> &str {
        match self {
            Row::Site(r) => r.id.as_str(),
            Row::Zone(r) => r.id.as_str(),
            Row::Host(r) => r.id.as_str(),
            Row::Tenant(r) => r.id.as_str(),
            Row::System(r) => r.id.as_str(),
            Row::Service(r) => r.id.as_str(),
            Row::Instance(r, _) => r.id.as_str(),
        }
    }

    pub(super) fn place(&self) -> Place {
        match self {
            Row::Site(_) | Row::Zone(_) | Row::Host(_) => Place::platform(),
            Row::Tenant(r) => Place::tenant(&r.id),
            Row::System(r) => Place::system(&r.id),
            Row::Service(r) => Place::service(&r.id, &r.system),
            Row::Instance(r, system) => Place::instance(&r.id, system),
        }
    }

    /// The row for people and for comparison; passwords have lines of their own.
    pub(super) fn value(&self) -> Value {
        let value = match self {
            Row::Site(r) => serde_json::to_value(r),
            Row::Zone(r) => serde_json::to_value(r),
            Row::Host(r) => serde_json::to_value(r),
            Row::Tenant(r) => serde_json::to_value(r),
            Row::System(r) => serde_json::to_value(r),
            Row::Service(r) => serde_json::to_value(r),
            Row::Instance(r, _) => serde_json::to_value(r),
        };
        let mut value = value.expect("rows are plain data");
        if let Some(map) = value.as_object_mut() {
            map.remove("has_password");
        }
        value
    }
}

/// One row to write.
pub(super) struct Step<'a> {
    pub row: Row<'a>,
    pub change: Change,
}

impl Step<'_> {
    /// Whether the row is new.
    pub(super) fn adds(&self) -> bool {
        self.change.what == "add"
    }
}

/// All of them.
#[derive(Default)]
pub(super) struct Plan<'a> {
    pub places: Vec<Step<'a>>,
    pub tenants: BTreeMap<TenantId, Vec<Step<'a>>>,
    pub unchanged: usize,
}

impl Plan<'_> {
    /// Rows removed of a tenant.
    pub(super) fn removals(&self, tenant: &TenantId) -> usize {
        let steps = self.tenants.get(tenant).map(Vec::as_slice).unwrap_or_default();
        steps.iter().filter(|s| s.change.what == "remove").count()
    }
}

/// Systems, services and instances of a tenant.
pub(super) fn rows_of(present: &Inventory, tenant: &TenantId) -> usize {
    present.systems.keys().filter(|id| id.tenant() == *tenant).count()
        + present.services.keys().filter(|id| id.tenant() == *tenant).count()
        + present.instances.keys().filter(|id| id.tenant() == *tenant).count()
}

pub(super) fn plan<'a>(wanted: &'a Wanted<'a>, present: &'a Inventory, prune: bool) -> Plan<'a> {
    let mut plan = Plan::default();
    let mut places = Vec::new();
    for r in &wanted.sites {
        plan.unchanged += step(Row::Site(r), present.sites.get(&r.id).map(Row::Site), &mut places);
    }
    for r in &wanted.zones {
        plan.unchanged += step(Row::Zone(r), present.zones.get(&r.id).map(Row::Zone), &mut places);
    }
    for r in &wanted.hosts {
        plan.unchanged += step(Row::Host(r), present.hosts.get(&r.id).map(Row::Host), &mut places);
    }
    plan.places = places;
    for tenant in &wanted.tenants {
        let mut steps = Vec::new();
        let before = present.tenants.get(&tenant.id).map(Row::Tenant);
        plan.unchanged += step(Row::Tenant(tenant), before, &mut steps);
        plan.unchanged += sets(&tenant.id, wanted, present, &mut steps);
        if prune {
            removals(&tenant.id, wanted, present, &mut steps);
        }
        plan.tenants.insert(tenant.id.clone(), steps);
    }
    plan
}

/// Adds the step from `before` to `after`; answers 1 when there is none.
fn step<'a>(after: Row<'a>, before: Option<Row<'a>>, steps: &mut Vec<Step<'a>>) -> usize {
    let (old, new) = (before.map_or(Value::Null, |b| b.value()), after.value());
    if old == new {
        return 1;
    }
    let what = if old.is_null() { "add" } else { "change" };
    steps.push(Step { row: after, change: change(&after, what, old, new) });
    0
}

fn change(row: &Row, what: &str, before: Value, after: Value) -> Change {
    let (kind, id) = (row.kind().into(), row.id().into());
    Change { kind, id, what: what.into(), before, after }
}

fn sets<'a>(
    tenant: &TenantId,
    wanted: &'a Wanted<'a>,
    present: &'a Inventory,
    steps: &mut Vec<Step<'a>>,
) -> usize {
    let mut unchanged = 0;
    for r in wanted.systems.iter().filter(|r| r.id.tenant() == *tenant) {
        unchanged += step(Row::System(r), present.systems.get(&r.id).map(Row::System), steps);
    }
    let mut systems = BTreeMap::new();
    for r in wanted.services.iter().filter(|r| r.id.tenant() == *tenant) {
        systems.insert(&r.id, &r.system);
        unchanged += step(Row::Service(r), present.services.get(&r.id).map(Row::Service), steps);
    }
    for r in wanted.instances.iter().filter(|r| r.id.tenant() == *tenant) {
        let system = systems[&r.id.service()];
        let before = present.instances.get(&r.id).map(|old| Row::Instance(old, system));
        unchanged += step(Row::Instance(r, system), before, steps);
    }
    unchanged
}

/// What the file does not name, in the order that leaves no row without its parent.
fn removals<'a>(
    tenant: &TenantId,
    wanted: &'a Wanted<'a>,
    present: &'a Inventory,
    steps: &mut Vec<Step<'a>>,
) {
    let instances: BTreeSet<_> = wanted.instances.iter().map(|r| &r.id).collect();
    let services: BTreeSet<_> = wanted.services.iter().map(|r| &r.id).collect();
    let systems: BTreeSet<_> = wanted
        .systems
        .iter()
        .map(|r| &r.id)
        .chain(wanted.services.iter().map(|r| &r.system))
        .collect();
    let mut remove = |row: Row<'a>| {
        let change = change(&row, "remove", row.value(), Value::Null);
        steps.push(Step { row, change });
    };
    for r in present.instances.values().filter(|r| r.id.tenant() == *tenant) {
        if let (false, Some((service, _))) = (instances.contains(&r.id), present.owner(&r.id)) {
            remove(Row::Instance(r, &service.system));
        }
    }
    for r in present.services.values().filter(|r| r.id.tenant() == *tenant) {
        if !services.contains(&r.id) {
            remove(Row::Service(r));
        }
    }
    for r in present.systems.values().filter(|r| r.id.tenant() == *tenant) {
        if !systems.contains(&r.id) && r.id.as_str() != DEFAULT_SYSTEM {
            remove(Row::System(r));
        }
    }
}
