//! One service: its shards, weighed by their slots.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::At;
use model::row::Row;
use model::score::{Explained, Level};
use model::service::{Mode, Service};

use super::Grades;
use super::agg::{Child, Node};
use super::cluster::View;
use super::failover::Promise;
use super::index::{Index, Member};
use super::shard::{Master, Rules, Shard};
use crate::exact::cents;
use crate::gates::Cap;
use crate::grade::Sticky;
use crate::inputs::SLOTS;
use crate::policy::{Gate, Policy};

/// Weight of the worst shard.
const WORST: f64 = 0.5;

/// Points lost on top of the unserved share: part of the users gets errors.
const UNSERVED_LOSS: f64 = 20.0;

/// A level with its grade memory.
#[derive(Debug, Clone)]
pub(super) struct Graded {
    pub explained: Arc<Explained>,
    pub sticky: Sticky,
    /// What is seen of it; none when all of it is down.
    pub sight: Option<f64>,
}

/// A scored service with what it was scored from.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    /// Of the inventory it was scored by.
    generation: i64,
    policy: Arc<Policy>,
    rows: Vec<Option<Arc<Row>>>,
    pub service: Graded,
    pub shards: Vec<Graded>,
}

impl Kept {
    /// Whether scoring again would change nothing: no row it depends on changed, and no grade
    /// moves by time alone.
    fn is_current(&self, service: &Service, index: &Index<'_>, generation: i64) -> bool {
        let mut old = self.rows.iter();
        let same = |new: Option<&Arc<Row>>| match (old.next(), new) {
            (Some(Some(old)), Some(new)) => Arc::ptr_eq(old, new),
            (Some(None), None) => true,
            _ => false,
        };
        let settled = |g: &Graded| g.sticky.is_settled(g.explained.score);
        self.generation == generation
            && Arc::ptr_eq(&self.policy, index.policy(service))
            && self.policy.is_steady()
            && dependencies(service, index).all(same)
            && settled(&self.service)
            && self.shards.iter().all(settled)
    }
}

/// Scores a service and its shards, unless what is kept of the last round is still right.
pub(super) fn score(
    service: &Service,
    index: &Index<'_>,
    kept: Option<Kept>,
    grades: &mut Grades,
    generation: i64,
    now: At,
) -> Kept {
    let mut old = match kept {
        Some(kept) if kept.is_current(service, index, generation) => return kept,
        Some(kept) => kept.shards.into_iter().chain([kept.service]).collect(),
        None => Vec::new(),
    };
    let mut remembered = |level: Level, id: &str| {
        let at =
            old.iter().position(|g: &Graded| g.explained.level == level && g.explained.id == id);
        at.map(|at| old.swap_remove(at).sticky).or_else(|| grades.take(level, id))
    };
    let view = match service.mode {
        Mode::Cluster => View::new(index.nodes(service)),
        _ => View::default(),
    };
    let shards = shards(service, index, &view);
    let policy = index.policy(service);
    let rules = Rules::of(service, policy, now);
    let promise = Promise::of(service, &rules, index, &shards);
    let mut grade_shard = |shard: &Shard<'_>| {
        let id = format!("{}/{}", service.id, shard.number);
        let mut sticky = remembered(Level::Shard, &id).unwrap_or_default();
        let (explained, sight) = shard.explain(&id, &rules, &promise, &mut sticky);
        Graded { explained: Arc::new(explained), sticky, sight }
    };
    let scored: Vec<Graded> = shards.iter().map(&mut grade_shard).collect();
    let mut node = Node::new(Level::Service, service.id.as_str(), WORST, policy.rise_ms);
    node.policy = shards.iter().find_map(Shard::policy);
    for (shard, done) in shards.iter().zip(&scored) {
        let weight = slot_share(shard, &view);
        node.children.push(Child::scored(
            "shard",
            &done.explained.id,
            (&done.explained, done.sight),
            weight,
        ));
    }
    if service.mode == Mode::Cluster {
        node.caps.push(unserved(&shards, &view, policy));
    }
    let mut sticky = remembered(Level::Service, service.id.as_str()).unwrap_or_default();
    let (explained, sight) = node.explain(&mut sticky, now);
    let graded = Graded { explained: Arc::new(explained), sticky, sight };
    let rows = dependencies(service, index).map(|row| row.cloned()).collect();
    Kept { generation, policy: policy.clone(), rows, service: graded, shards: scored }
}

/// Every row the score of a service is made from.
fn dependencies<'a>(
    service: &Service,
    index: &Index<'a>,
) -> impl Iterator<Item = Option<&'a Arc<Row>>> {
    let watchers = match service.mode {
        Mode::Sentinel => index.watchers(&service.sentinel_master),
        _ => &[],
    };
    let members = index.nodes(service).iter().chain(index.sentinels(service));
    members.map(|m| m.row).chain(watchers.iter().map(|(s, _)| s.row))
}

pub(super) fn shards<'a>(service: &Service, index: &Index<'a>, view: &View<'a>) -> Vec<Shard<'a>> {
    let nodes = index.nodes(service);
    let shard = |(number, members)| Shard::new(number, members, service.mode, |m| view.owns(m));
    if service.mode != Mode::Cluster {
        return if nodes.is_empty() { Vec::new() } else { vec![shard((0, nodes.to_vec()))] };
    }
    let mut groups: BTreeMap<u32, Vec<Member<'a>>> = BTreeMap::new();
    for member in nodes {
        groups.entry(member.shard()).or_default().push(*member);
    }
    let mut shards: Vec<Shard<'a>> = groups.into_iter().map(shard).collect();
    mark_unsorted(&mut shards);
    shards
}

/// A replica that follows a master of another shard: the numbers are older than the cluster.
fn mark_unsorted(shards: &mut [Shard<'_>]) {
    let home = |address: &str| {
        let has = |s: &&Shard<'_>| s.members.iter().any(|m| m.instance.id.address() == address);
        shards.iter().find(has).map(|s| s.number)
    };
    let mut wrong = Vec::new();
    for shard in shards.iter() {
        let upstreams = shard.members.iter().filter_map(|m| m.facts()?.upstream.as_deref());
        for other in upstreams.filter_map(home).filter(|n| *n != shard.number) {
            wrong.extend([shard.number, other]);
        }
    }
    for shard in shards.iter_mut().filter(|s| wrong.contains(&s.number)) {
        shard.misplaced = true;
    }
}

/// Share of the slots; 1 where slots mean nothing or nothing is known of them.
fn slot_share(shard: &Shard<'_>, view: &View<'_>) -> f64 {
    if !view.is_known() {
        return 1.0;
    }
    let owned: u32 = shard.members.iter().map(|m| view.owns(m)).sum();
    f64::from(owned) / SLOTS
}

fn unserved(shards: &[Shard<'_>], view: &View<'_>, policy: &Policy) -> Cap {
    let gone: f64 = shards
        .iter()
        .filter(|s| matches!(s.master, Master::Gone(_)))
        .map(|s| if view.is_known() { slot_share(s, view) } else { 1.0 / shards.len() as f64 })
        .sum();
    let share = view.unserved.max(gone).min(1.0);
    // A cluster that answers CLUSTERDOWN to everybody serves nothing (full coverage is required).
    let cap = match view.failed {
        true => 0.0,
        false => (100.0 * (1.0 - share) - UNSERVED_LOSS).max(0.0),
    };
    let all = if view.failed { ", and full coverage is required: nothing is" } else { "" };
    let text = format!("{} of the slots are not served{all}", crate::text::percent(share));
    let mut state = Cap::of(policy, Gate::UnservedSlots, share > 0.0, &text);
    state.cents = if state.holds { cents(cap) } else { crate::exact::ALL };
    state
}
