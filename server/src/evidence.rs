//! What others say about an instance that does not answer us: Sentinels, its replicas, its master,
//! its cluster, other processes of ours, its zone.
//!
//! Invariant: only what others were asked after the silence began counts, so an old "all is well"
//! cannot vouch for the dead. Refuses to know verdicts: `scorer::verdict` weighs this.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::field::Field;
use model::inventory::Inventory;
use model::reading::{Reading, Reason, Role};
use model::row::Row;
use model::service::Instance;
use model::verdict::Verdict;
use model::{At, ZoneId};
use scorer::Evidence;

use crate::app::App;

/// A replica acknowledges every second; one that was silent this long is gone for its master.
const ACK_SILENT_S: f64 = 10.0;
/// A master pings its replicas every 10 s; two pings missed are no accident.
const MASTER_SILENT_S: f64 = 21.0;
/// A zone with fewer targets says nothing about the observer.
const ISOLATION_TARGETS_MIN: u32 = 5;
/// Age at which the view of the zones is made anew: one walk over the Board for all failures.
const ZONES_FRESH_MS: i64 = 1_000;

/// One zone as this process sees it.
#[derive(Debug, Clone, Default)]
struct ZoneSeen {
    answering: u32,
    all: u32,
    /// Latest good polls of those that do not answer: first and last.
    vanished: Option<(At, At)>,
}

/// The zones, made at most once a second.
#[derive(Default)]
pub(crate) struct Zones(Mutex<(At, Arc<BTreeMap<ZoneId, ZoneSeen>>)>);

impl Zones {
    fn seen(&self, app: &App, now: At) -> Arc<BTreeMap<ZoneId, ZoneSeen>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since_ms(kept.0).abs() >= ZONES_FRESH_MS {
            *kept = (now, Arc::new(zones(&app.board.rows())));
        }
        kept.1.clone()
    }
}

fn zones(rows: &[Arc<Row>]) -> BTreeMap<ZoneId, ZoneSeen> {
    let mut zones: BTreeMap<ZoneId, ZoneSeen> = BTreeMap::new();
    for row in rows {
        let zone = zones.entry(row.instance.zone.clone()).or_default();
        zone.all += 1;
        if answers(&row.reading) {
            zone.answering += 1;
        } else if let Some(good) = &row.last_good {
            let (first, last) = zone.vanished.unwrap_or((good.at, good.at));
            zone.vanished = Some((first.min(good.at), last.max(good.at)));
        }
    }
    zones
}

/// An answer of any kind, also an error, shows that the way there works.
fn answers(reading: &Reading) -> bool {
    let reason = reading.failure.as_ref().map(|f| f.reason);
    reading.up
        || !matches!(reason, Some(Reason::Refused | Reason::Timeout | Reason::Reset | Reason::Dns))
}

/// Collects the evidence about `instance`, whose latest `reading` failed; `silent_since` is the
/// beginning of its first failed poll.
pub(crate) fn evidence(
    app: &App,
    inventory: &Inventory,
    instance: &Instance,
    reading: &Reading,
    silent_since: At,
    before: Option<&Verdict>,
) -> Evidence {
    let zones = app.zones.seen(app, reading.at);
    let own = zones.get(&instance.zone);
    let others_answer = zones.iter().filter(|(z, _)| **z != instance.zone).map(|(_, s)| s);
    let others: Vec<bool> = others_answer.map(|s| s.answering > 0).collect();
    let refused = reading.failure.as_ref().is_some_and(|f| f.reason == Reason::Refused);
    Evidence {
        port_refuses: refused,
        others_agree: others_agree(app, inventory, instance, silent_since, reading.at),
        zone_others_answering: own.map(|z| (z.answering, z.all.saturating_sub(1))),
        observer_isolated: own.is_some_and(|z| isolated(z, i64::from(reading.interval_ms))),
        other_zones_answer: (!others.is_empty()).then(|| others.iter().any(|answer| *answer)),
        was_down: before.is_some_and(Verdict::is_down),
    }
}

/// More than half of the zone vanished, all within one interval (of which each poll has its own
/// moment, so the last good ones may be one and a half apart).
fn isolated(zone: &ZoneSeen, interval_ms: i64) -> bool {
    let together = zone
        .vanished
        .is_some_and(|(first, last)| last.since_ms(first) <= interval_ms + interval_ms / 2);
    zone.all >= ISOLATION_TARGETS_MIN && (zone.all - zone.answering) * 2 > zone.all && together
}

/// Some(true): at least one of those who can know says it is gone. Some(false): all who can know
/// see it. None: nobody was asked since.
fn others_agree(
    app: &App,
    inventory: &Inventory,
    instance: &Instance,
    silent_since: At,
    now: At,
) -> Option<bool> {
    let service_id = instance.id.service();
    let master_name = inventory.services.get(&service_id).map_or("", |s| &s.sentinel_master);
    let votes = inventory
        .of_service(&service_id)
        .filter(|other| other.id != instance.id)
        .filter_map(|other| app.board.row(&other.id))
        .filter(|row| row.reading.began >= silent_since)
        .filter_map(|row| vote(&row, instance.id.address(), master_name));
    let vantages = app.vantages.votes(&instance.id, silent_since, inventory.generation, now);
    votes.chain(vantages).fold(None, |agreed, gone| Some(agreed.unwrap_or(false) || gone))
}

/// Whether the server behind `row` says that `address` is gone; none when it cannot know.
fn vote(row: &Row, address: &str, master_name: &str) -> Option<bool> {
    let facts = row.facts()?;
    if facts.role == Some(Role::Sentinel) {
        let master =
            facts.masters.iter().find(|m| m.name == master_name && m.address == address)?;
        return Some(master.flags.split(',').any(|f| f == "s_down" || f == "o_down"));
    }
    if let Some(view) = &facts.cluster {
        let node = view.nodes.iter().find(|n| n.address == address)?;
        return Some(node.flags.iter().any(|f| f == "fail" || f == "fail?"));
    }
    if facts.upstream.as_deref() == Some(address) {
        let silent = facts.values.get(Field::MasterLastIoSecondsAgo);
        return Some(
            facts.link_state.as_deref() != Some("connected")
                || silent.is_some_and(|s| s >= MASTER_SILENT_S),
        );
    }
    if facts.role == Some(Role::Master) {
        // One it does not list may follow another master, or nobody: this one cannot know.
        let link = facts.replicas.iter().find(|r| r.address == address)?;
        return Some(link.lag_s >= ACK_SILENT_S);
    }
    None
}

#[cfg(test)]
mod tests;
