//! Which master is replaced, and by whom.
//!
//! Invariant: the same world gives the same choice; a lag only admits, it never ranks.

use model::InstanceId;
use model::field::Field;
use model::refusal::Refusal;

use super::switchover::Params;
use crate::check::before;
use crate::topology::{Node, Snapshot};

/// The master to be replaced: of the target's shard, of the named shard, or the only one.
pub(super) fn old_master<'a>(
    snapshot: &'a Snapshot,
    params: &Params,
) -> Result<&'a InstanceId, Refusal> {
    let service = &snapshot.service.id;
    let masters = snapshot.masters();
    if let Some(target) = &params.target {
        let silent = || match snapshot.place(target).map(|p| &p.seen) {
            Some(Err(why)) => {
                Refusal::new("P1", target, format!("{target} does not answer: {why}"))
            }
            _ => Refusal::new("P1", target, format!("{target} does not answer")),
        };
        let node = snapshot.node(target).ok_or_else(silent)?;
        let Some(up) = node.master.as_deref() else {
            return Err(Refusal::new("target", target, format!("{target} is a master already")));
        };
        return snapshot.nodes.iter().map(|n| &n.id).find(|id| id.address() == up).ok_or_else(
            || {
                Refusal::new(
                    "P2",
                    target,
                    format!("{target} follows {up}, which is no node of {service}"),
                )
            },
        );
    }
    let in_shard = |id: &&&InstanceId| {
        params.shard.is_none() || snapshot.place(id).map(|p| p.shard) == params.shard
    };
    let candidates: Vec<_> = masters.iter().filter(in_shard).collect();
    match (candidates.as_slice(), params.shard) {
        ([one], _) => Ok(**one),
        ([], None) => {
            Err(Refusal::new("P2", service, format!("no node of {service} says it is a master")))
        }
        (several, None) => {
            let why = format!("{service} has masters {several:?}: name a target or a shard");
            Err(Refusal::new("P2", service, why))
        }
        (several, Some(shard)) => {
            let why = format!("shard {shard} of {service} has masters {several:?}, wanted one");
            Err(Refusal::new("P2", service, why))
        }
    }
}

/// The caller's target if it is fit, else the best fit replica: outside the old master's zone, then
/// by id. The lag only admits: ranking by it would give another plan each time.
pub(super) fn target<'a>(
    snapshot: &'a Snapshot,
    params: &Params,
    old: &InstanceId,
) -> Result<&'a InstanceId, Refusal> {
    if let Some(wished) = &params.target {
        let place = snapshot.place(wished);
        let id = &place.expect("admitted: the target is a node of the service").id;
        return match unfit(snapshot, params, old, id) {
            Some(why) => Err(Refusal::new("target", id, format!("{id} {why}"))),
            None => Ok(id),
        };
    }
    let zone = snapshot.place(old).map(|p| &p.zone);
    let mut fit: Vec<_> = Vec::new();
    let mut reasons = String::new();
    for id in snapshot.replicas_of(old) {
        match unfit(snapshot, params, old, id).or_else(|| unready(snapshot, old, id)) {
            None => fit.push((snapshot.place(id).map(|p| &p.zone) == zone, id)),
            Some(why) => reasons.push_str(&format!("; {id} {why}")),
        }
    }
    fit.sort();
    let none = || {
        let why = format!("no replica of {old} can be promoted{reasons}");
        Refusal::new("target", old, why)
    };
    fit.first().map(|(_, id)| *id).ok_or_else(none)
}

/// Why a replica can never be the new master as it is configured.
fn unfit(
    snapshot: &Snapshot,
    params: &Params,
    old: &InstanceId,
    id: &InstanceId,
) -> Option<String> {
    let (node, master) = (snapshot.node(id)?, snapshot.node(old)?);
    let zone = snapshot.place(id).map(|p| p.zone.clone());
    if params.avoid_zone.is_some() && zone == params.avoid_zone {
        return Some(format!("is in zone {}, which is to be avoided", zone?));
    }
    if node.get(Field::SlavePriority) == Some(0.0) {
        return Some("has replica-priority 0: it must never be promoted".into());
    }
    if version(node) < version(master) {
        let (has, wants) = (&node.facts.text.version, &master.facts.text.version);
        return Some(format!("runs version {has}, older than the master's {wants}"));
    }
    let (has, wants) = (node.get(Field::Maxmemory), master.get(Field::Maxmemory));
    (has != wants).then(|| format!("has maxmemory {has:?}, the master {wants:?} bytes"))
}

/// Why a replica cannot take over just now.
pub(super) fn unready(snapshot: &Snapshot, old: &InstanceId, id: &InstanceId) -> Option<String> {
    let (node, master) = (snapshot.node(id)?, snapshot.node(old)?);
    if node.link != "connected" || node.says(Field::MasterSyncInProgress) {
        return Some(format!("has a link that is {:?}", node.link));
    }
    let (lag, limit) = (master.offset - node.offset, before::lag_max(master));
    (lag > limit).then(|| format!("lags {lag} bytes, at most {limit} are allowed"))
}

pub(super) fn version(node: &Node) -> Vec<u32> {
    node.facts.text.version.split('.').map_while(|part| part.parse().ok()).collect()
}
