//! The levels above some instances, had these other rows: for what-if.
//!
//! Invariant: the same shards, operators and gates as the live roll-up; services without a changed row
//! count as they are published, so the cost is that of the changed services and their siblings' sum.
//! Grades are plain bands, for nothing was watched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::At;
use model::board::{Levels, Rollup};
use model::inventory::Inventory;
use model::row::Row;
use model::score::{Explained, Level};
use model::service::{Mode, Service, Tier};

use super::index::Index;
use super::service::{self, Kept};
use super::{Grades, Round, Scored};
use crate::policy::Policies;

/// A published level by its id.
pub type Published<'a> = dyn Fn(Level, &str) -> Option<Arc<Explained>> + 'a;

/// Shards, services, systems and tenants that hang on `services`, from `rows`: all rows of these
/// services, and of the Sentinels that watch them. The rest is taken from `published`.
pub fn rollup_path(
    inventory: &Inventory,
    policies: &Policies,
    services: &[&Service],
    rows: &[Arc<Row>],
    published: &Published<'_>,
    now: At,
) -> Rollup {
    let part = part(inventory, services);
    let index = Index::new(&part, policies, rows);
    let mut grades = Grades::default();
    let mut levels = Levels::default();
    let mut fresh: BTreeMap<&str, Kept> = BTreeMap::new();
    for service in services.iter().filter(|s| s.mode != Mode::Sentinels) {
        let kept = service::score(service, &index, None, &mut grades, part.generation, now);
        for done in kept.shards.iter().chain([&kept.service]) {
            levels.push(done.explained.clone());
        }
        fresh.insert(service.id.as_str(), kept);
    }
    let rise_ms = policies.rise_ms();
    let mut round = Round { last: Grades::default(), next: Grades::default(), rise_ms, now };
    let systems: BTreeSet<&str> = services.iter().map(|s| s.system.as_str()).collect();
    let tenants: BTreeSet<&str> = services.iter().map(|s| s.id.as_str()).map(tenant_of).collect();
    for tenant in tenants {
        let below = by_system(inventory, tenant);
        let mut children = Vec::new();
        for (system, of_system) in &below {
            let as_is = published(Level::System, system).filter(|_| !systems.contains(system));
            let done = match as_is {
                Some(explained) => {
                    let tier = of_system.iter().map(|s| s.tier).min().unwrap_or(Tier::Test);
                    let sight = Some(explained.confidence);
                    Scored { id: system, tier, explained, sight }
                }
                None => {
                    let scored = of_system.iter().filter_map(|s| scored(s, &fresh, published));
                    round.level(Level::System, system, &scored.collect::<Vec<_>>())
                }
            };
            if systems.contains(system) {
                levels.push(done.explained.clone());
            }
            children.push(done);
        }
        let done = round.level(Level::Tenant, tenant, &children);
        levels.push(done.explained);
    }
    levels.sort();
    Rollup { at: now, levels }
}

/// The services of a tenant by system, those without any among them.
fn by_system<'i>(inventory: &'i Inventory, tenant: &str) -> BTreeMap<&'i str, Vec<&'i Service>> {
    let mine = |id: &&str| tenant_of(id) == tenant;
    let systems = inventory.systems.keys().map(|s| s.as_str()).filter(mine);
    let mut all: BTreeMap<&str, Vec<&Service>> = systems.map(|s| (s, Vec::new())).collect();
    for service in inventory.services.values().filter(|s| tenant_of(s.id.as_str()) == tenant) {
        if let Some(below) = all.get_mut(service.system.as_str()) {
            below.push(service);
        }
    }
    all
}

fn tenant_of(id: &str) -> &str {
    id.split('.').next().unwrap_or(id)
}

fn scored<'s>(
    service: &'s Service,
    fresh: &BTreeMap<&str, Kept>,
    published: &Published<'_>,
) -> Option<Scored<'s>> {
    let (explained, sight) = match fresh.get(service.id.as_str()) {
        Some(kept) => (kept.service.explained.clone(), kept.service.sight),
        None => {
            let as_is = published(Level::Service, service.id.as_str())?;
            let sight = Some(as_is.confidence);
            (as_is, sight)
        }
    };
    Some(Scored { id: service.id.as_str(), tier: service.tier, explained, sight })
}

/// The tree of these services and of those that are Sentinels alone.
fn part(inventory: &Inventory, services: &[&Service]) -> Inventory {
    let watchers = inventory.services.values().filter(|s| s.mode == Mode::Sentinels);
    let mut part = Inventory { generation: inventory.generation, ..Inventory::default() };
    for service in services.iter().copied().chain(watchers) {
        part.services.insert(service.id.clone(), service.clone());
        let instances = inventory.of_service(&service.id);
        part.instances.extend(instances.map(|i| (i.id.clone(), i.clone())));
    }
    part
}
