//! V1, V3, V4 and V5: is the promised state there, on every node that should show it.

use model::board::Board;
use model::reading::Role;
use model::refusal::Refusal;
use model::service::Mode;
use model::{At, InstanceId};

use crate::act::cast::Cast;
use crate::topology::{Snapshot, layout};

/// V1: `new` is the master and everybody else a replica. V3: each follows it directly over a live
/// link. V4: Sentinels, or the nodes of the cluster, agree. What was seen, in words.
pub fn roles(cast: &Cast, new: &InstanceId, now: &Snapshot) -> Result<String, Refusal> {
    let mut following = Vec::new();
    for id in std::iter::once(&cast.old).chain(cast.replicas()).filter(|id| *id != new) {
        let silent = || Refusal::new("V1", id, format!("{id} does not answer"));
        let node = now.node(id).ok_or_else(silent)?;
        match node.master.as_deref() {
            None => {
                return Err(Refusal::new("V1", id, format!("{id} says master, wished replica")));
            }
            Some(up) if up != new.address() => {
                let why = format!("{id} follows {up}, wished {}", new.address());
                return Err(Refusal::new("V3", id, why));
            }
            Some(_) if node.link != "connected" => {
                let why = format!("the link of {id} to {new} is {:?}, wished connected", node.link);
                return Err(Refusal::new("V3", id, why));
            }
            Some(_) => following.push(id.as_str()),
        }
    }
    match now.service.mode {
        Mode::Sentinel => sentinels_agree(new, now)?,
        Mode::Cluster => cluster_agrees(now)?,
        _ => {}
    }
    Ok(format!("{new} is the master, followed by {}", following.join(", ")))
}

fn sentinels_agree(new: &InstanceId, now: &Snapshot) -> Result<(), Refusal> {
    let other = now.watches().find(|(_, w)| w.master.address != new.address());
    match other {
        Some((id, watch)) => {
            let why = format!("{id} names {}, wished {}", watch.master.address, new.address());
            Err(Refusal::new("V4", id, why))
        }
        None => Ok(()),
    }
}

fn cluster_agrees(now: &Snapshot) -> Result<(), Refusal> {
    let mut views = now.answered().filter_map(|(id, n)| Some((id, layout(n.cluster.as_ref()?))));
    let Some((first, one)) = views.next() else { return Ok(()) };
    match views.find(|(_, view)| *view != one) {
        Some((id, _)) => {
            Err(Refusal::new("V4", id, format!("{first} and {id} list different roles or slots")))
        }
        None => Ok(()),
    }
}

/// V5, first half: every node of the shard is up on the Board, in a poll that began after `since`,
/// and exactly one of them says it is a master, not the old one. Otherwise what is missing.
pub fn on_board(cast: &Cast, board: &Board, since: At) -> Result<(), String> {
    let mut masters = Vec::new();
    for id in std::iter::once(&cast.old).chain(cast.replicas()) {
        let row = board.row(id).ok_or_else(|| format!("the Board has no reading of {id}"))?;
        if row.reading.began < since {
            return Err(format!("the Board's reading of {id} is of {}", row.reading.at));
        }
        if !row.verdict.is_up() {
            return Err(format!("{id} is {} on the Board", row.verdict.as_str()));
        }
        if row.role() == Some(Role::Master) {
            masters.push(id);
        }
    }
    match masters.as_slice() {
        [one] if **one != cast.old => Ok(()),
        other => Err(format!("the Board shows {other:?} as masters")),
    }
}
