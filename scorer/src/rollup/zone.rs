//! "Lose this zone now": which masters move and where to, what stops, and what is left of every score.
//!
//! Invariant: changes nothing and says the same for the same rows. The roll-up itself scores what is
//! left, so before and after cannot differ in method. What cannot be read is taken as it was last seen:
//! a server nobody sees is not counted on. Refuses to know when it will be.

mod hosts;
mod moves;

use std::collections::BTreeMap;
use std::sync::Arc;

use model::board::Rollup;
use model::inventory::Inventory;
use model::reading::Role;
use model::row::Row;
use model::score::Level;
use model::service::{Class, Mode, Service};
use model::verdict::Verdict;
use model::zone_loss::{LevelLoss, Outcome, ServiceLoss, ZoneLoss};
use model::{At, InstanceId, ZoneId};

use super::cluster::View;
use super::failover;
use super::index::{Index, Member};
use super::shard::{Master, Shard};
use super::{RollupMemory, rollup, service};
use crate::inputs::replica_healthy;
use crate::policy::Policies;
use moves::{Moved, candidate};

/// Load of an instance, as far as it was measured.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Load {
    /// Processors in use.
    pub cpu: Option<f64>,
}

/// What is lost with a zone, and what takes over.
pub fn lose_zone(
    inventory: &Inventory,
    policies: &Policies,
    rows: &[Arc<Row>],
    zone: &ZoneId,
    load: &dyn Fn(&InstanceId) -> Load,
    now: At,
) -> ZoneLoss {
    let gone = |id: &InstanceId| inventory.instances.get(id).is_some_and(|i| i.zone == *zone);
    let left: Vec<Arc<Row>> = rows.iter().map(|row| without(row, &gone, now)).collect();
    let before = Index::new(inventory, policies, rows);
    let after = Index::new(inventory, policies, &left);
    let (mut services, mut moved) = (Vec::new(), Moved::default());
    for service in inventory.services.values() {
        let look = Look { service, before: &before, after: &after, gone: &gone };
        if let Some(loss) = look.loss(&mut moved) {
            services.push(loss);
        }
    }
    let count = |o: Outcome| services.iter().filter(|s| s.outcome == o).count() as u32;
    let (degraded, down) = (count(Outcome::Degraded), count(Outcome::Down));
    let hosts = hosts::take_over(inventory, rows, &gone, &moved, load);
    let taken_over = moved.apply(&left, now);
    let score =
        |rows: &[Arc<Row>]| rollup(inventory, policies, rows, &mut RollupMemory::default(), now);
    services.sort_by_key(|s| (std::cmp::Reverse(s.outcome), s.tier));
    ZoneLoss {
        evacuated: inventory.evacuated.contains(zone),
        as_of: now,
        zone: zone.to_string(),
        instances: inventory.instances.keys().filter(|id| gone(id)).count() as u32,
        ok: inventory.services.len() as u32 - degraded - down,
        degraded,
        down,
        services,
        hosts,
        levels: levels(&score(rows), &score(&taken_over)),
    }
}

/// The row of an instance after the loss.
fn without(row: &Arc<Row>, gone: &dyn Fn(&InstanceId) -> bool, now: At) -> Arc<Row> {
    if !gone(&row.instance.id) {
        return row.clone();
    }
    let mut lost = Row::clone(row);
    let mut silent = (*row.reading).clone();
    (silent.up, silent.at, silent.began) = (false, now, now);
    lost.reading = Arc::new(silent);
    lost.verdict = Verdict::Down("its zone is lost".into());
    lost.score = row.score.as_ref().map(|score| {
        let mut score = (**score).clone();
        (score.score, score.raw, score.confidence) = (Some(0.0), Some(0.0), 1.0);
        Arc::new(score)
    });
    Arc::new(lost)
}

/// Scores that differ, worst fall first within a level, levels from the top.
fn levels(before: &Rollup, after: &Rollup) -> Vec<LevelLoss> {
    let order = [Level::Fleet, Level::Tenant, Level::System, Level::Service];
    let mut all: Vec<(usize, LevelLoss)> = Vec::new();
    for now in before.levels.iter() {
        let Some(place) = order.iter().position(|level| *level == now.level) else { continue };
        let then = after.levels.get(now.level, &now.id).and_then(|e| e.score);
        if now.score != then {
            let (level, id) = (now.level, now.id.clone());
            all.push((place, LevelLoss { level, id, before: now.score, after: then }));
        }
    }
    let fall = |l: &LevelLoss| l.before.unwrap_or(0.0) - l.after.unwrap_or(0.0);
    all.sort_by(|(p, a), (q, b)| p.cmp(q).then(fall(b).total_cmp(&fall(a))));
    all.into_iter().map(|(_, loss)| loss).collect()
}

/// One service before and after.
struct Look<'s, 'a> {
    service: &'s Service,
    before: &'s Index<'a>,
    after: &'s Index<'a>,
    gone: &'s dyn Fn(&InstanceId) -> bool,
}

impl<'a> Look<'_, 'a> {
    /// What it loses; none when it neither has nor needs anything there.
    fn loss(&self, moved: &mut Moved) -> Option<ServiceLoss> {
        let mut loss = ServiceLoss {
            service: self.service.id.to_string(),
            tier: self.service.tier,
            ..ServiceLoss::default()
        };
        let all = self.before.nodes(self.service).iter().chain(self.before.sentinels(self.service));
        let lost = all.filter(|m| (self.gone)(&m.instance.id));
        loss.lost = lost.map(|m| m.instance.id.to_string()).collect();
        if self.service.mode == Mode::Sentinels {
            return self.sentinels(loss);
        }
        let shards = self.shards(self.before);
        self.decide_quorum(&shards, &mut loss);
        for shard in &shards {
            self.shard(shard, &mut loss, moved);
        }
        self.coverage(&shards, &mut loss);
        self.rules(&shards, &mut loss);
        let touched = !loss.lost.is_empty() || loss.outcome != Outcome::Ok;
        if touched && loss.outcome == Outcome::Ok {
            loss.outcome = Outcome::Degraded;
        }
        touched.then_some(loss)
    }

    /// A fleet of Sentinels: those it watches tell of the quorum.
    fn sentinels(&self, mut loss: ServiceLoss) -> Option<ServiceLoss> {
        let all = self.before.sentinels(self.service).len();
        if loss.lost.is_empty() {
            return None;
        }
        let left = all - loss.lost.len();
        loss.outcome = if left == 0 { Outcome::Down } else { Outcome::Degraded };
        loss.reasons.push(format!("{left} of {all} Sentinels are left"));
        Some(loss)
    }

    fn shards(&self, index: &Index<'a>) -> Vec<Shard<'a>> {
        let view = match self.service.mode {
            Mode::Cluster => View::new(index.nodes(self.service)),
            _ => View::default(),
        };
        service::shards(self.service, index, &view)
    }

    /// Whether somebody can still decide about a new master.
    fn decide_quorum(&self, shards: &[Shard<'a>], loss: &mut ServiceLoss) {
        match self.service.mode {
            Mode::Sentinel => {
                let broken = failover::sentinels(self.service, self.after);
                let was = failover::sentinels(self.service, self.before);
                loss.quorum_lost = broken.is_some();
                if let (Some(why), None) = (broken, was) {
                    loss.breaks.push(format!("no automatic failover: {why}"));
                    loss.outcome = Outcome::Degraded;
                }
            }
            Mode::Cluster => {
                let serving = |s: &&Shard<'a>| matches!(s.master, Master::Serving(_));
                let voters = shards.iter().filter(serving).count();
                let left = shards.iter().filter(|s| self.keeps_master(s)).count();
                // A cluster decides by the majority of all masters with slots, dead ones included.
                loss.quorum_lost = left < shards.len() / 2 + 1;
                if loss.quorum_lost && voters > left {
                    loss.outcome = Outcome::Down;
                    loss.reasons.push(format!(
                        "{left} of {} masters are left: the cluster stops, and nobody can promote",
                        shards.len()
                    ));
                }
            }
            Mode::Standalone | Mode::Sentinels => {}
        }
    }

    fn keeps_master(&self, shard: &Shard<'_>) -> bool {
        matches!(shard.master, Master::Serving(m) if !(self.gone)(&m.instance.id))
    }

    fn shard(&self, shard: &Shard<'a>, loss: &mut ServiceLoss, moved: &mut Moved) {
        let Master::Serving(master) = shard.master else {
            if shard.members.iter().any(|m| (self.gone)(&m.instance.id)) || !loss.lost.is_empty() {
                loss.was_down = true;
                loss.outcome = Outcome::Down;
                loss.reasons.push(format!("shard {} has no master now either", shard.number));
            }
            return;
        };
        let left: Vec<&Member<'a>> =
            shard.replicas().filter(|m| !(self.gone)(&m.instance.id)).collect();
        if !(self.gone)(&master.instance.id) {
            return self.refuses_writes(&master, &left, None, loss);
        }
        let chosen = match self.service.mode {
            Mode::Sentinel | Mode::Cluster if !loss.quorum_lost => {
                candidate(self.service.mode, &master, &left)
            }
            _ => None,
        };
        if let Some(chosen) = chosen {
            loss.moves.push(moved.note(shard.number, &master, chosen));
            return self.refuses_writes(chosen, &left, Some(chosen), loss);
        }
        loss.outcome = Outcome::Down;
        loss.without_candidate.push(shard.number);
        let why = match self.service.mode {
            Mode::Standalone if left.is_empty() => "it has no replica elsewhere",
            Mode::Standalone => "nobody promotes a replica of a standalone service",
            _ if loss.quorum_lost => "nobody can decide about a new master",
            _ => "no replica elsewhere could take over",
        };
        loss.reasons.push(format!("the master {} is lost: {why}", master.instance.id.address()));
    }

    /// A master that wants replicas at its side and has too few of them refuses writes.
    fn refuses_writes(
        &self,
        master: &Member<'a>,
        left: &[&Member<'a>],
        chosen: Option<&Member<'a>>,
        loss: &mut ServiceLoss,
    ) {
        let wanted = moves::parameter(master, "min-replicas-to-write").unwrap_or(0.0);
        let healthy = left
            .iter()
            .filter(|m| chosen.is_none_or(|c| c.instance.id != m.instance.id))
            .filter(|m| m.row.is_some_and(|r| replica_healthy(r) == Some(true)))
            .count();
        let before = master.role() == Some(Role::Replica) || !loss.lost.is_empty();
        if wanted > healthy as f64 && before {
            loss.outcome = Outcome::Down;
            loss.reasons.push(format!(
                "{} refuses writes: {healthy} replicas are left, min-replicas-to-write is {wanted:.0}",
                master.instance.id.address()
            ));
        }
    }

    /// A cluster that wants full coverage stops with its first lost shard.
    fn coverage(&self, shards: &[Shard<'a>], loss: &mut ServiceLoss) {
        let holes = loss.without_candidate.len();
        if self.service.mode != Mode::Cluster || holes == 0 || loss.quorum_lost {
            return;
        }
        let says = |m: &Member<'a>| moves::text(m, "cluster-require-full-coverage");
        let full = self.after.nodes(self.service).iter().find_map(says) != Some("no");
        loss.reasons.push(match full {
            true => "the cluster stops as a whole: full coverage is required".into(),
            false => format!("{holes} of {} shards are lost, the others go on", shards.len()),
        });
    }

    /// Rules the service breaks afterwards and did not break before.
    fn rules(&self, shards: &[Shard<'a>], loss: &mut ServiceLoss) {
        let zoned = matches!(self.service.class, Class::Zone | Class::ZoneDurable);
        let wanted = self.service.replicas_wanted as usize;
        for shard in shards {
            let (mut all, mut left) = (BTreeMap::new(), BTreeMap::new());
            for member in &shard.members {
                *all.entry(&member.instance.zone).or_insert(0_usize) += 1;
                if !(self.gone)(&member.instance.id) && member.is_up() {
                    *left.entry(&member.instance.zone).or_insert(0) += 1;
                }
            }
            let (had, has): (usize, usize) = (all.values().sum(), left.values().sum());
            if has < had && has.saturating_sub(1) < wanted {
                let replicas = has.saturating_sub(1);
                loss.breaks.push(format!(
                    "shard {}: {replicas} of {wanted} required replicas",
                    shard.number
                ));
            }
            if zoned && left.len() == 1 && all.len() > 1 {
                loss.breaks
                    .push(format!("shard {}: all its members stand in one zone", shard.number));
            }
        }
    }
}

#[cfg(test)]
mod tests;
