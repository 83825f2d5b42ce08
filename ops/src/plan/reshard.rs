//! A cluster's slots go elsewhere: to a new shard, away from a leaving one, or evenly to all.
//!
//! Invariants: slots move by bytes, from the fullest to the emptiest, in steps that can be resumed; a
//! number of shards that cannot survive a zone is refused where the class promises that; a shard
//! leaves only without a slot and without a key.

use std::time::Instant;

use model::field::Field;
use model::operation::OperationKind;
use model::plan::{Checked, Plan, PlannedStep};
use model::refusal::Refusal;
use model::service::{Class, Mode};
use model::{At, InstanceId, ServiceId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::fresh::{self, Fresh, HOLD_S, Leaving, Wish};
use super::{replica_remove, weigh};
use crate::placement::quorum::survives_a_zone;
use crate::placement::slots::{self, Move, Owner};
use crate::placement::{Layout, risk};
use crate::topology::{self, Snapshot};
use crate::world::World;

/// Version of these definitions.
pub const VERSION: u32 = 1;
/// Steps of a shard more.
pub const ADD: &[&str] = &["create", "meet", "replicate", "register", "move_slots", "healthy"];
/// Steps of a shard less.
pub const REMOVE: &[&str] = &["move_slots", "retire", "forget", "unregister", "release"];
/// Steps of an evening out.
pub const REBALANCE: &[&str] = &["move_slots"];

/// Slots of one step: a journal line each, written in one transaction of the store.
const SLOTS_MAX: usize = 256;
/// A step of a sixteenth of 16 GB at 30 % of 1 GBit/s, and a margin.
const MOVE_MS: i64 = 300_000;
/// Share of maxmemory the others may have when a shard has left.
const FILL_MAX: f64 = 0.75;
/// Slots of a cluster.
const SLOTS: u32 = 16_384;

/// Parameters of a shard more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Add {
    /// The new master and its replicas, in this order; empty: a master and as many replicas as the
    /// other shards have, on the best hosts.
    nodes: Vec<Wish>,
    /// At most so many slots now; a rebalance moves the rest.
    slots_max: u32,
    hold_s: u32,
}

impl Default for Add {
    fn default() -> Add {
        Add { nodes: Vec::new(), slots_max: SLOTS, hold_s: HOLD_S }
    }
}

/// Parameters of a shard less.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remove {
    /// Number of the shard.
    shard: u32,
    /// Its nodes' files stay, blanked.
    #[serde(default)]
    keep: bool,
}

/// Parameters of an evening out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Rebalance {
    /// At most so many slots now.
    slots_max: u32,
}

impl Default for Rebalance {
    fn default() -> Rebalance {
        Rebalance { slots_max: SLOTS }
    }
}

/// The steps a kind may have.
pub fn steps_of(kind: OperationKind) -> &'static [&'static str] {
    match kind {
        OperationKind::ShardAdd => ADD,
        OperationKind::ShardRemove => REMOVE,
        _ => REBALANCE,
    }
}

/// Makes the plan.
pub async fn plan(
    world: &World,
    kind: OperationKind,
    service: &ServiceId,
    params: &Value,
    now: At,
) -> Result<Plan, Refusal> {
    let snapshot = topology::snapshot(world, service, Instant::now() + fresh::LOOK).await?;
    if snapshot.service.mode != Mode::Cluster {
        return Err(Refusal::new("mode", service, format!("{service} is no cluster")));
    }
    let whole = whole(&snapshot)?;
    let owners = weigh::owners(world, &snapshot, now).await?;
    let mut draft = Draft {
        world,
        snapshot: &snapshot,
        owners,
        checks: vec![whole],
        steps: vec![],
        locks: vec![],
    };
    match kind {
        OperationKind::ShardAdd => draft.add(read(kind, service, params)?).await?,
        OperationKind::ShardRemove => draft.remove(read(kind, service, params)?).await?,
        _ => draft.rebalance(&read(kind, service, params)?)?,
    }
    Ok(draft.plan(kind, params, now))
}

fn read<T: serde::de::DeserializeOwned>(
    kind: OperationKind,
    service: &ServiceId,
    params: &Value,
) -> Result<T, Refusal> {
    serde_json::from_value(params.clone())
        .map_err(|e| Refusal::new("params", service, format!("{}: {e}", kind.as_str())))
}

/// P1, P5 and P6 of the whole cluster: everybody answers, every slot is served, nothing is open.
fn whole(snapshot: &Snapshot) -> Result<Checked, Refusal> {
    for place in &snapshot.nodes {
        if let Err(why) = &place.seen {
            let why = format!("{} does not answer: {why}", place.id);
            return Err(Refusal::new("P1", &place.id, why));
        }
    }
    for (id, node) in snapshot.answered() {
        let no = |check: &str, why: String| Err(Refusal::new(check, id, why));
        if node.says(Field::RdbBgsaveInProgress) || node.says(Field::Loading) {
            return no("P6", format!("{id} saves or loads; try again when it is done"));
        }
        if node.master.is_some() && node.link != "connected" {
            return no("P3", format!("the link of {id} to its master is {:?}", node.link));
        }
        if node.master.is_none() && node.get(Field::ClusterSlotsOk) != Some(f64::from(SLOTS)) {
            let ok = node.get(Field::ClusterSlotsOk).unwrap_or(f64::NAN);
            return no("P5", format!("{id} sees {ok} slots ok, {SLOTS} are needed"));
        }
        let view = node.cluster.iter().flat_map(|v| &v.nodes);
        if let Some(open) = view.flat_map(|n| &n.open_slots).next() {
            return no("P5", format!("{id} has an open slot: {open}"));
        }
    }
    let seen = format!("{} nodes answer, {SLOTS} slots ok, none open", snapshot.nodes.len());
    Ok(Checked { check: "P5".into(), passed: true, seen })
}

/// N shards must survive a zone where the class promises it.
fn number(snapshot: &Snapshot, shards: usize) -> Result<Checked, Refusal> {
    let class = snapshot.service.class;
    let by_zone = matches!(class, Class::Zone | Class::ZoneDurable);
    if by_zone && !survives_a_zone(shards) {
        let why = format!(
            "{shards} shards cannot survive the loss of a zone, which class {} promises: 3, 5 or more \
             can",
            class.as_str()
        );
        return Err(Refusal::new("P7", &snapshot.service.id, why));
    }
    Ok(Checked { check: "P7".into(), passed: true, seen: format!("{shards} shards afterwards") })
}

struct Draft<'a> {
    world: &'a World,
    snapshot: &'a Snapshot,
    owners: Vec<Owner>,
    checks: Vec<Checked>,
    steps: Vec<PlannedStep>,
    locks: Vec<String>,
}

impl Draft<'_> {
    async fn add(&mut self, params: Add) -> Result<(), Refusal> {
        let service = &self.snapshot.service.id;
        self.checks.push(number(self.snapshot, self.shards() + 1)?);
        let masters = self.snapshot.masters();
        let like = masters.first().copied().cloned();
        let like =
            like.ok_or_else(|| Refusal::new("P2", service, "no node says it is a master"))?;
        let highest = self.snapshot.nodes.iter().map(|n| n.shard).max().unwrap_or(0);
        let shard = (highest + 1).max(u32::try_from(self.shards()).unwrap_or(u32::MAX));
        let usual = self.snapshot.nodes.len() / masters.len().max(1);
        let wishes = match params.nodes.is_empty() {
            true => vec![Wish::default(); usual],
            false => params.nodes,
        };
        let mut made: Vec<Fresh> = Vec::new();
        for wish in &wishes {
            let node = fresh::place(self.world, service, wish, &like, shard, &made).await?;
            made.push(node);
        }
        let Some((master, replicas)) = made.split_first() else { return Ok(()) };
        self.layout_with(&made)?;
        for node in &made {
            self.steps.extend([node.create(None), node.meet(&like)]);
            self.locks.push(format!("host:{}", node.host.id));
        }
        // Listed before they take slots: what serves data is watched.
        self.steps.extend(made.iter().map(Fresh::register));
        self.steps.extend(replicas.iter().map(|r| r.replicate(&master.id)));
        self.owners.push(Owner { id: master.id.clone(), slots: Vec::new() });
        let moves = slots::level(&self.owners, params.slots_max as usize);
        self.moves(&moves);
        self.steps.push(master.healthy("master", params.hold_s));
        Ok(())
    }

    /// P7 with the new shard.
    fn layout_with(&mut self, made: &[Fresh]) -> Result<(), Refusal> {
        let Some(before) = Layout::of_snapshot(&(self.world.inventory)(), self.snapshot) else {
            return Ok(());
        };
        let mut after = before.clone();
        for (n, node) in made.iter().enumerate() {
            let mut spot = super::replica_add::spot(node);
            spot.master = Some(n == 0);
            after = after.with(spot);
        }
        self.checks.push(risk::check(&before, &after)?);
        Ok(())
    }

    async fn remove(&mut self, params: Remove) -> Result<(), Refusal> {
        let (snapshot, service) = (self.snapshot, &self.snapshot.service.id);
        let inside = snapshot.nodes.iter().filter(|n| n.shard == params.shard).map(|n| &n.id);
        let inside: Vec<&InstanceId> = inside.collect();
        let master =
            inside.iter().copied().find(|id| snapshot.node(id).is_some_and(|n| n.master.is_none()));
        let none =
            || Refusal::new("params", service, format!("{service} has no shard {}", params.shard));
        let master = master.ok_or_else(none)?;
        self.checks.push(number(snapshot, self.shards().saturating_sub(1))?);
        self.room(master)?;
        let replicas: Vec<&InstanceId> =
            inside.iter().copied().filter(|id| *id != master).collect();
        let order: Vec<&InstanceId> = replicas.iter().copied().chain([master]).collect();
        let (checks, hosts) = replica_remove::removable(
            self.world,
            snapshot,
            &order,
            std::mem::take(&mut self.checks),
        )
        .await?;
        self.checks = checks;
        let moves = slots::empty(&self.owners, master, usize::MAX);
        self.moves(&moves);
        for (id, host) in order.iter().zip(&hosts) {
            let role = if *id == master { "master" } else { "replica" };
            let mode = Mode::Cluster;
            let leaving = Leaving { id, host, mode, role, gap_s: 0, keep: params.keep };
            self.steps.extend(leaving.steps(snapshot));
            self.locks.push(format!("host:{host}"));
        }
        Ok(())
    }

    /// What leaves must fit into the others.
    fn room(&mut self, leaving: &InstanceId) -> Result<(), Refusal> {
        let (mut used, mut max) = (0.0, 0.0);
        for id in self.snapshot.masters() {
            let Some(node) = self.snapshot.node(id) else { continue };
            used += node.get(Field::UsedMemory).unwrap_or(0.0);
            if id != leaving {
                // Without a limit there is nothing to hold it against.
                let limit =
                    node.get(Field::Maxmemory).filter(|m| *m > 0.0).unwrap_or(f64::INFINITY);
                max += limit;
            }
        }
        let limit = if max.is_finite() { format!("{max} bytes") } else { "no limit".into() };
        let seen = format!("{used} bytes used, {limit} in the shards that stay");
        if used > FILL_MAX * max {
            let why = format!("{seen}: more than {} of them", FILL_MAX);
            return Err(Refusal::new("P8", leaving, why));
        }
        self.checks.push(Checked { check: "P8".into(), passed: true, seen });
        Ok(())
    }

    fn rebalance(&mut self, params: &Rebalance) -> Result<(), Refusal> {
        let moves = slots::level(&self.owners, params.slots_max as usize);
        if moves.is_empty() {
            let why = "every master holds the mean within 5 %: there is nothing to move";
            return Err(Refusal::new("balanced", &self.snapshot.service.id, why));
        }
        self.moves(&moves);
        Ok(())
    }

    /// Shards there are: masters, for the inventory learns numbers only after a while.
    fn shards(&self) -> usize {
        self.snapshot.masters().len()
    }

    fn moves(&mut self, moves: &[Move]) {
        for part in moves.iter().flat_map(|m| slots::in_parts(m, SLOTS_MAX)) {
            let (from, to, words) = (&part.from, &part.to, slots::words(&part.slots));
            let count = slots::each(&part.slots).count();
            let args = json!({ "from": from, "to": to, "slots": part.slots });
            let title = format!("Move {count} slots from {from} to {to}: {words}");
            let step = fresh::step("move_slots", from, title, args, MOVE_MS);
            let commands = vec![
                format!("{to}> CLUSTER SETSLOT <each of {words}> IMPORTING <id of {from}>"),
                format!("{from}> CLUSTER SETSLOT <each> MIGRATING <id of {to}>"),
                format!(
                    "{from}> CLUSTER GETKEYSINSLOT <each> 100, MIGRATE {} \"\" 0 5000 AUTH2 *** KEYS …, until empty",
                    to.address()
                ),
                format!(
                    "{to}, {from}, every other master> CLUSTER SETSLOT <each> NODE <id of {to}>"
                ),
            ];
            self.steps.push(PlannedStep { commands, tries: 5, ..step });
        }
    }

    fn plan(self, kind: OperationKind, params: &Value, now: At) -> Plan {
        let service = &self.snapshot.service.id;
        let moved: usize = self
            .steps
            .iter()
            .filter(|s| s.kind == "move_slots")
            .filter_map(|s| serde_json::from_value::<Vec<(u16, u16)>>(s.args["slots"].clone()).ok())
            .map(|ranges| slots::each(&ranges).count())
            .sum();
        let title = match kind {
            OperationKind::ShardAdd => {
                format!("Add a shard to {service} and move {moved} slots to it")
            }
            OperationKind::ShardRemove => {
                format!(
                    "Move {moved} slots off a shard of {service} and remove it; its end is final"
                )
            }
            _ => format!("Move {moved} slots of {service} until each master holds its share"),
        };
        let mut locks = self.locks;
        locks.push(format!("service:{service}"));
        locks.sort();
        locks.dedup();
        Plan {
            kind,
            kind_version: VERSION,
            service: service.clone(),
            params: params.clone(),
            title,
            blast_radius: format!(
                "keys of {moved} slots are asked for twice while they move; commands over several of \
                 them may be answered TRYAGAIN"
            ),
            level: 3,
            confirm: service.to_string(),
            world: fresh::identity(self.snapshot),
            checks: self.checks,
            steps: self.steps,
            locks,
            made_at: now,
            expires_at: now + fresh::VALID_MS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{edit, service};

    #[test]
    fn a_number_of_shards_that_no_zone_may_leave_is_refused_where_that_is_promised() {
        let mut now = service(Mode::Cluster);
        for shards in [1, 2, 4] {
            let no = number(&now, shards).unwrap_err();
            assert!(no.message.contains(&format!("{shards} shards cannot")), "{no}");
        }
        assert!([3, 5, 6, 7].iter().all(|n| number(&now, *n).is_ok()));
        now.service.class = Class::Host;
        assert!(number(&now, 4).is_ok());
    }

    #[test]
    fn a_cluster_that_is_not_whole_is_not_touched() {
        assert!(whole(&service(Mode::Cluster)).is_ok());
        let mut open = service(Mode::Cluster);
        edit(&mut open, 1).cluster.as_mut().unwrap().nodes[0].open_slots.push("[5->-x]".into());
        assert!(whole(&open).unwrap_err().message.contains("open slot"));
        let mut lost = service(Mode::Cluster);
        edit(&mut lost, 1).facts.values.set(Field::ClusterSlotsOk, 16_000.0);
        assert_eq!(whole(&lost).unwrap_err().check, "P5");
        let mut away = service(Mode::Cluster);
        away.nodes[2].seen = Err("refused".into());
        assert_eq!(whole(&away).unwrap_err().check, "P1");
    }
}
