//! From instances to shard, service, system, tenant and fleet.
//!
//! Invariant: computed from published scores only, so anybody can recompute it; bars + points of
//! the binding gate + score = 100.00 at every level; what is unknown lowers coverage and is never
//! counted as green. Refuses to know: how an instance is scored, and who reads the result.

mod agg;
mod cluster;
mod failover;
mod index;
mod path;
mod service;
mod shard;
mod zone;

use std::collections::HashMap;
use std::sync::Arc;

use model::At;
use model::ServiceId;
use model::board::{Levels, Rollup};
use model::inventory::Inventory;
use model::row::Row;
use model::score::{Explained, Level};
use model::service::{Mode, Tier};

use crate::grade::Sticky;
use crate::policy::Policies;
use agg::{Child, Node};
pub use agg::{View, cause};
use index::Index;
pub use path::{Published, rollup_path};
use service::Kept;
pub use zone::{Load, lose_zone};

/// Weight of the worst child above the service.
const SYSTEM_WORST: f64 = 0.4;
const TENANT_WORST: f64 = 0.3;

/// How far above its worst core child a system or tenant may score.
const CORE_HEADROOM: f64 = 20.0;

/// What the roll-up remembers between rounds: grades, and services whose rows did not change.
#[derive(Debug, Default)]
pub struct RollupMemory {
    services: HashMap<ServiceId, Kept>,
    /// Of systems, tenants and the fleet; before the first round also what was restored.
    grades: Grades,
}

impl RollupMemory {
    /// The grade memory of everything above instance, to be stored and brought back by `restore`.
    pub fn grades(&self) -> impl Iterator<Item = (Level, &str, &Sticky)> {
        let kept = self.services.values().flat_map(|k| k.shards.iter().chain([&k.service]));
        kept.map(|g| (g.explained.level, g.explained.id.as_str(), &g.sticky))
            .chain(self.grades.0.iter().map(|((level, id), s)| (*level, id.as_str(), s)))
    }

    /// Brings a stored grade back, before the first round.
    pub fn restore(&mut self, level: Level, id: &str, sticky: Sticky) {
        self.grades.0.insert((level, id.to_owned()), sticky);
    }
}

/// Grade memories by level and id.
#[derive(Debug, Default)]
struct Grades(HashMap<(Level, String), Sticky>);

impl Grades {
    fn take(&mut self, level: Level, id: &str) -> Option<Sticky> {
        self.0.remove(&(level, id.to_owned()))
    }
}

/// A scored child on its way up: its id, tier, score, and how much of it is seen.
struct Scored<'a> {
    id: &'a str,
    tier: Tier,
    explained: Arc<Explained>,
    sight: Option<f64>,
}

/// Rolls all rows up. `rows` may be in any order and may lack instances; rows of instances that
/// are not in the inventory are ignored.
pub fn rollup(
    inventory: &Inventory,
    policies: &Policies,
    rows: &[Arc<Row>],
    memory: &mut RollupMemory,
    now: At,
) -> Rollup {
    let index = Index::new(inventory, policies, rows);
    let mut last = std::mem::take(&mut memory.services);
    memory.services.reserve(inventory.services.len());
    for service in inventory.services.values().filter(|s| s.mode != Mode::Sentinels) {
        // The key comes along: of what did not change nothing is made anew.
        let (id, kept) = match last.remove_entry(&service.id) {
            Some((id, kept)) => (id, Some(kept)),
            None => (service.id.clone(), None),
        };
        let grades = &mut memory.grades;
        let done = service::score(service, &index, kept, grades, inventory.generation, now);
        memory.services.insert(id, done);
    }
    let above = above_services(inventory, policies, memory, now);
    let shards = memory.services.values().map(|k| k.shards.len()).sum();
    let mut levels = Levels::with_room(shards, memory.services.len());
    for kept in inventory.services.keys().filter_map(|id| memory.services.get(id)) {
        kept.shards.iter().chain([&kept.service]).for_each(|g| levels.push(g.explained.clone()));
    }
    above.into_iter().for_each(|explained| levels.push(explained));
    levels.sort();
    Rollup { at: now, levels }
}

/// The score of one service, from a tree that holds it and the instances its score hangs on.
pub(crate) fn of_service(
    inventory: &Inventory,
    policies: &Policies,
    rows: &[Arc<Row>],
    service: &model::service::Service,
    now: At,
) -> Arc<Explained> {
    let index = Index::new(inventory, policies, rows);
    let mut grades = Grades::default();
    service::score(service, &index, None, &mut grades, inventory.generation, now).service.explained
}

/// Systems, tenants and the fleet.
fn above_services(
    inventory: &Inventory,
    policies: &Policies,
    memory: &mut RollupMemory,
    now: At,
) -> Vec<Arc<Explained>> {
    let mut by_system: HashMap<&str, Vec<Scored<'_>>> = HashMap::new();
    for service in inventory.services.values() {
        if let Some(kept) = memory.services.get(&service.id) {
            by_system.entry(service.system.as_str()).or_default().push(Scored {
                id: service.id.as_str(),
                tier: service.tier,
                explained: kept.service.explained.clone(),
                sight: kept.service.sight,
            });
        }
    }
    let last = std::mem::take(&mut memory.grades);
    let rise_ms = policies.rise_ms();
    let mut round = Round { last, next: Grades::default(), rise_ms, now };
    let mut by_tenant: HashMap<&str, Vec<Scored<'_>>> = HashMap::new();
    let mut out = Vec::new();
    for system in inventory.systems.keys() {
        let services = by_system.remove(system.as_str()).unwrap_or_default();
        let tenant = system.as_str().split_once('.').map_or("", |(tenant, _)| tenant);
        let scored = round.level(Level::System, system.as_str(), &services);
        out.push(scored.explained.clone());
        by_tenant.entry(tenant).or_default().push(scored);
    }
    let mut tenants = Vec::with_capacity(inventory.tenants.len());
    for tenant in inventory.tenants.keys() {
        let systems = by_tenant.remove(tenant.as_str()).unwrap_or_default();
        let scored = round.level(Level::Tenant, tenant.as_str(), &systems);
        out.push(scored.explained.clone());
        tenants.push(scored);
    }
    let fleet = round.level(Level::Fleet, "", &tenants);
    out.push(fleet.explained);
    memory.grades = round.next;
    out
}

/// One round above the services: grades of the last one, and of this one so far. What is not
/// scored any more is forgotten with `last`.
struct Round {
    last: Grades,
    next: Grades,
    rise_ms: i64,
    now: At,
}

impl Round {
    /// One level by the tier operator. Children that hold nothing to score are not counted.
    fn level<'a>(&mut self, level: Level, id: &'a str, children: &[Scored<'_>]) -> Scored<'a> {
        let (worst, label) = match level {
            Level::System => (SYSTEM_WORST, "service"),
            Level::Tenant => (TENANT_WORST, "system"),
            _ => (TENANT_WORST, "tenant"),
        };
        let mut node = Node::new(level, id, worst, self.rise_ms);
        for child in children.iter().filter(|c| !agg::is_empty(&c.explained)) {
            let weight = tier_weight(child.tier);
            node.children.push(Child::scored(
                label,
                child.id,
                (&child.explained, child.sight),
                weight,
            ));
        }
        if level != Level::Fleet {
            node.caps.extend(worst_core(children));
        }
        // The highest tier is the smallest in the order of `Tier`.
        let tier = children.iter().map(|c| c.tier).min().unwrap_or(Tier::Test);
        let mut sticky = self.last.take(level, id).unwrap_or_default();
        let (explained, sight) = node.explain(&mut sticky, self.now);
        self.next.0.insert((level, id.to_owned()), sticky);
        Scored { id, tier, explained: Arc::new(explained), sight }
    }
}

/// Instances of a zone or a host seen together, by the operator of tenants without its gate: a view, not
/// a level. `None` stands for one that was never polled.
pub fn view<'a>(members: impl Iterator<Item = (&'a str, Tier, Option<&'a Explained>)>) -> View<'a> {
    let mut node = Node::new(Level::Fleet, "", TENANT_WORST, crate::grade::RISE_MS);
    node.children = members
        .map(|(id, tier, explained)| Child {
            label: "instance",
            name: id,
            score: explained.and_then(|e| e.score),
            confidence: explained.map_or(0.0, |e| e.confidence),
            sight: None,
            weight: tier_weight(tier),
            cover: tier_weight(tier),
            cause: "",
            needs: "",
            since: None,
            page: None,
        })
        .collect();
    node.view()
}

fn worst_core(children: &[Scored<'_>]) -> Option<agg::CoreCap> {
    let core = children.iter().filter(|c| c.tier == Tier::Core);
    let scored = core.filter_map(|c| Some((c.id, c.explained.score?)));
    let (id, score) = scored.min_by(|a, b| a.1.total_cmp(&b.1))?;
    Some(agg::CoreCap { child: id.to_owned(), score, cap: score + CORE_HEADROOM })
}

fn tier_weight(tier: Tier) -> f64 {
    match tier {
        Tier::Core => 4.0,
        Tier::Important => 2.0,
        Tier::General => 1.0,
        Tier::Test => 0.0,
    }
}

#[cfg(test)]
mod tests;
