//! What the Board and the inventory together tell of services and of what lies above them.
//!
//! Invariant: of what was not read nothing is claimed: a service of which no node was read has no
//! count of masters. Series of parts that do not exist yet (rotations, schedules) are left out, and
//! policies about them have no data.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::board::{Board, Rollup};
use model::inventory::Inventory;
use model::reading::Role;
use model::row::Row;
use model::score::{Dimension, Level};
use model::service::{Class, Mode, Service};
use model::{ServiceId, SystemId, TenantId};

use crate::signal::{
    Kind, MASTERS_EXPECTED, MASTERS_SEEN, Object, Outlook, ZONE_SHARE, picked, score_key,
};

/// What users got of a service, by window (`5m`, `1h` …).
#[derive(Debug, Clone, Copy)]
pub struct Objective<'a> {
    /// Burn rates; none without a target.
    pub burn: &'a [(&'static str, Option<f64>)],
    /// Shares nobody can tell about.
    pub unknown: &'a [(&'static str, f64)],
}

/// Adds what users got of a service.
pub fn objective(out: &mut Outlook, service: &ServiceId, objective: Objective<'_>) {
    let object = Object::Service(service.clone());
    let mut set = |name, window, value| {
        out.set(&picked(name, "window", window), object.clone(), "", value);
    };
    for (window, burn) in objective.burn {
        burn.iter().for_each(|burn| set("cachewarden_slo_burn_rate", window, *burn));
    }
    for (window, share) in objective.unknown {
        set("cachewarden_slo_unknown_ratio", window, *share);
    }
}

/// Everything known of the objects other than instances that are `due`.
pub fn outlook(
    inventory: &Inventory,
    board: &Board,
    rollup: &Rollup,
    due: &dyn Fn(&Object) -> bool,
) -> Outlook {
    let mut out = Outlook::default();
    for service in inventory.services.values() {
        let object = Object::Service(service.id.clone());
        if !due(&object) {
            continue;
        }
        out.set("cachewarden_service_expected", object.clone(), "", 1.0);
        if service.mode == Mode::Sentinels {
            continue;
        }
        let rows: Vec<Arc<Row>> =
            inventory.nodes(&service.id).filter_map(|i| board.row(&i.id)).collect();
        if rows.iter().any(|row| row.last_good.is_some()) {
            out.set(MASTERS_SEEN, object.clone(), "", masters(&rows) as f64);
        }
        let expected = masters_expected(inventory, service);
        out.set(MASTERS_EXPECTED, object.clone(), "", f64::from(expected));
        if matches!(service.class, Class::Zone | Class::ZoneDurable) {
            zones(inventory, &service.id, |zone, share| {
                out.set(ZONE_SHARE, object.clone(), zone, share);
            });
        }
    }
    scores(rollup, due, &mut out);
    out
}

/// Masters there are now. Rows are up to an interval apart: one that was read before its shard's
/// newer master began is of the time before a failover.
fn masters(rows: &[Arc<Row>]) -> usize {
    let masters: Vec<&Arc<Row>> =
        rows.iter().filter(|row| row.role() == Some(Role::Master)).collect();
    let superseded = |row: &Row| {
        masters.iter().any(|other| {
            other.instance.id != row.instance.id
                && other.instance.shard == row.instance.shard
                && other.role_since.is_some_and(|since| row.reading.at < since)
        })
    };
    masters.iter().filter(|row| !superseded(row)).count()
}

/// One master per shard.
fn masters_expected(inventory: &Inventory, service: &Service) -> u32 {
    if service.mode != Mode::Cluster {
        return 1;
    }
    let shards: BTreeSet<u32> = inventory.nodes(&service.id).map(|i| i.shard).collect();
    shards.len() as u32
}

fn zones(inventory: &Inventory, service: &ServiceId, mut each: impl FnMut(&str, f64)) {
    let mut counts: BTreeMap<&str, f64> = BTreeMap::new();
    for node in inventory.nodes(service) {
        *counts.entry(node.zone.as_str()).or_default() += 1.0;
    }
    let all: f64 = counts.values().sum();
    counts.into_iter().for_each(|(zone, n)| each(zone, n / all));
}

fn scores(rollup: &Rollup, due: &dyn Fn(&Object) -> bool, out: &mut Outlook) {
    for explained in rollup.levels.iter() {
        let Some((kind, object)) = object(explained.level, &explained.id) else { continue };
        if !due(&object) {
            continue;
        }
        if let Some(score) = explained.score {
            out.set(&score_key("score", kind), object.clone(), "", score);
        }
        for dimension in
            [Dimension::Availability, Dimension::Memory, Dimension::Connections, Dimension::Slowlog]
        {
            if let Some(loss) = explained.losses[dimension as usize] {
                out.set(&score_key(dimension.as_str(), kind), object.clone(), "", loss);
            }
        }
    }
}

fn object(level: Level, id: &str) -> Option<(Kind, Object)> {
    Some(match level {
        Level::Instance => return None,
        Level::Shard => {
            let (service, n) = id.rsplit_once('/')?;
            (Kind::Shard, Object::Shard(service.parse().ok()?, n.parse().ok()?))
        }
        Level::Service => (Kind::Service, Object::Service(id.parse().ok()?)),
        Level::System => (Kind::System, Object::System(id.parse::<SystemId>().ok()?)),
        Level::Tenant => (Kind::Tenant, Object::Tenant(id.parse::<TenantId>().ok()?)),
        Level::Fleet => (Kind::Platform, Object::Platform),
    })
}
