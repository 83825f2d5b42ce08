//! What each slot of a cluster weighs: keys counted slot by slot, times the mean size of a key.
//!
//! Invariant: weights stay the same while a plan made with them is valid and the slots have the same
//! owners: looked at twice, a plan is the same, although keys come and go. Refuses to know what is
//! moved.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use link::{Pipeline, reply};
use model::reading::ClusterNode;
use model::refusal::Refusal;
use model::{At, InstanceId, ServiceId};

use super::fresh::VALID_MS;
use crate::placement::slots::{Owner, each};
use crate::topology::Snapshot;
use crate::world::World;

/// Slots asked for at once.
const CHUNK: usize = 1_024;
/// Such a question is answered from memory.
const ASK_MAX: Duration = Duration::from_secs(3);
/// What a slot weighs without any key: an empty cluster is shared out by slots.
const EMPTY: f64 = 1.0;

/// Weights by service with their time. Of this process alone: another one weighs anew, and whoever
/// confirmed the other's plan is shown the new one.
static WEIGHED: Mutex<BTreeMap<ServiceId, (At, Vec<Owner>)>> = Mutex::new(BTreeMap::new());

/// The masters of the cluster with their slots and weights; masters without slots too.
pub(super) async fn owners(
    world: &World,
    snapshot: &Snapshot,
    now: At,
) -> Result<Vec<Owner>, Refusal> {
    let present = owned(snapshot);
    let service = &snapshot.service.id;
    if let Some(kept) = kept(service, &present, now) {
        return Ok(kept);
    }
    let mut owners = Vec::new();
    for (id, slots) in present {
        owners.push(weigh(world, &id, &slots).await?);
    }
    let mut all = WEIGHED.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|_, (at, _)| now.since_ms(*at) < VALID_MS);
    all.insert(service.clone(), (now, owners.clone()));
    Ok(owners)
}

fn kept(service: &ServiceId, present: &[(InstanceId, Vec<u16>)], now: At) -> Option<Vec<Owner>> {
    let all = WEIGHED.lock().unwrap_or_else(PoisonError::into_inner);
    let (at, owners) = all.get(service)?;
    let same = owners.len() == present.len()
        && owners.iter().zip(present).all(|(o, (id, slots))| {
            o.id == *id && o.slots.iter().map(|(s, _)| *s).eq(slots.iter().copied())
        });
    (same && now.since_ms(*at) < VALID_MS).then(|| owners.clone())
}

/// Each master's slots as it lists them itself.
fn owned(snapshot: &Snapshot) -> Vec<(InstanceId, Vec<u16>)> {
    let own = |nodes: &[ClusterNode], me: &str| -> Vec<u16> {
        let line = nodes.iter().find(|n| n.id == me);
        let mut slots: Vec<u16> = line.map(|n| each(&n.slots).collect()).unwrap_or_default();
        slots.sort_unstable();
        slots
    };
    let masters = snapshot.answered().filter(|(_, n)| n.master.is_none());
    masters
        .filter_map(|(id, n)| {
            let view = n.cluster.as_ref()?;
            Some((id.clone(), own(&view.nodes, &view.my_id)))
        })
        .collect()
}

async fn weigh(world: &World, id: &InstanceId, slots: &[u16]) -> Result<Owner, Refusal> {
    let refuse = |why: String| Refusal::new("weigh", id, why);
    let target = (world.target)(id).ok_or_else(|| refuse(format!("{id}: no address or secret")))?;
    let mut link = link::dial(&target, ASK_MAX).await.map_err(|e| refuse(e.to_string()))?;
    let mut keys: Vec<f64> = Vec::with_capacity(slots.len());
    for chunk in slots.chunks(CHUNK) {
        let words: Vec<String> = chunk.iter().map(u16::to_string).collect();
        let commands: Vec<[&str; 3]> =
            words.iter().map(|slot| ["CLUSTER", "COUNTKEYSINSLOT", slot.as_str()]).collect();
        let commands: Vec<&[&str]> = commands.iter().map(|c| &c[..]).collect();
        let answers = link.pipeline(&Pipeline::new(&commands), ASK_MAX).await;
        let answers = answers.map_err(|e| refuse(e.to_string()))?;
        keys.extend(answers.iter().map(|a| reply::number(a).unwrap_or(0.0)));
    }
    let info = link.call(&["INFO", "memory"], ASK_MAX).await.map_err(|e| refuse(e.to_string()))?;
    let raw = reply::bytes(&info).unwrap_or_default();
    let data = reply::info::text(raw, "used_memory_dataset").and_then(|t| t.parse::<f64>().ok());
    let all: f64 = keys.iter().sum();
    // A small data set's memory is mostly not its keys; none below what an empty key costs.
    let mean = data.filter(|_| all > 0.0).map_or(0.0, |bytes| (bytes / all).max(64.0));
    let weighed = slots.iter().zip(&keys).map(|(slot, n)| (*slot, EMPTY + n * mean)).collect();
    Ok(Owner { id: id.clone(), slots: weighed })
}
