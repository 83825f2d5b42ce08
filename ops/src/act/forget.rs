//! Those who remain forget a node that is gone: Sentinels by RESET, cluster nodes by FORGET.
//!
//! Invariants: one Sentinel is reset at a time, and the next only when that one has found its quorum,
//! its peers and every replica again; a cluster node that was not told within a minute would tell the
//! others again, so the round is repeated until nobody lists it.

use std::time::{Duration, Instant};

use model::service::Mode;
use model::{InstanceId, ServiceId};
use serde_json::json;

use super::cast::{look, mode};
use super::conn::{Conn, Trouble};
use super::create::observed;
use super::member::view;
use super::recycle::target;
use super::{ActError, Cx, Observed};
use crate::topology::{Snapshot, Watch};

/// Between two looks at a Sentinel that finds its world again.
const FOUND_EVERY: Duration = Duration::from_millis(200);
/// Between two rounds over a cluster.
const ROUND_EVERY: Duration = Duration::from_millis(500);
/// Rounds a cluster is told in; each takes milliseconds, and gossip may tell a node anew in between.
const ROUNDS_MAX: u32 = 20;

pub(super) async fn observe(cx: &Cx<'_>) -> Observed {
    let id = match target(cx) {
        Ok(id) => id,
        Err(e) => return observed(e),
    };
    match look(cx).await {
        Ok(now) => judge(&now, id.address()),
        Err(why) => Observed::Unknown(why),
    }
}

fn judge(now: &Snapshot, address: &str) -> Observed {
    for (sentinel, watch) in now.watches() {
        if let Some(why) = unsettled(watch, address, now) {
            return Observed::NotYet(format!("{sentinel} {why}"));
        }
    }
    for (node, said) in now.answered().filter(|(id, _)| id.address() != address) {
        let mut lines = said.cluster.iter().flat_map(|view| &view.nodes);
        if lines.any(|line| line.address == address) {
            return Observed::NotYet(format!("{node} still lists {address}"));
        }
    }
    Observed::Wished(json!({ "forgotten": address }))
}

/// What a Sentinel still has to forget or to find again.
fn unsettled(watch: &Watch, address: &str, now: &Snapshot) -> Option<String> {
    if watch.replicas.iter().any(|r| r.address() == address) {
        return Some(format!("still knows {address}"));
    }
    let replicas = now.nodes.iter().filter(|n| n.id.address() != address).count().saturating_sub(1);
    if watch.replicas.len() < replicas {
        return Some(format!("knows {} of {replicas} replicas", watch.replicas.len()));
    }
    let (known, all) = (watch.master.sentinels as usize, now.sentinels.len());
    if known < all {
        return Some(format!("knows {known} of {all} Sentinels"));
    }
    match &watch.master.ckquorum {
        Some((true, _)) => None,
        Some((false, said)) => Some(said.clone()),
        None => Some("did not answer CKQUORUM".into()),
    }
}

pub(super) async fn apply(cx: &Cx<'_>) -> Result<(), ActError> {
    let id = target(cx)?;
    match mode(cx) {
        Some(Mode::Sentinel) => by_sentinels(cx, id.address()).await,
        Some(Mode::Cluster) => by_cluster(cx, id.address()).await,
        _ => Ok(()),
    }
}

/// SENTINEL RESET on each Sentinel that knows the address, one at a time.
pub(super) async fn by_sentinels(cx: &Cx<'_>, address: &str) -> Result<(), ActError> {
    let gap = Duration::from_secs(cx.step.args["gap_s"].as_u64().unwrap_or_default());
    let now = look(cx).await.map_err(ActError::Retry)?;
    let name = now.service.sentinel_master.clone();
    let mut reset = false;
    for sentinel in now.sentinels.iter().map(|s| &s.id) {
        let known = |now: &Snapshot| {
            let watch = now.watches().find(|(id, _)| *id == sentinel).map(|(_, w)| w);
            watch.is_some_and(|w| w.replicas.iter().any(|r| r.address() == address))
        };
        if !known(&look(cx).await.map_err(ActError::Retry)?) {
            continue;
        }
        if reset {
            pause(cx, gap).await?;
        }
        Conn::dial(cx, sentinel).await?.send(&["SENTINEL", "RESET", &name]).await?;
        reset = true;
        settled(cx, sentinel, address).await?;
    }
    Ok(())
}

/// Waits, as long as the step has time.
async fn pause(cx: &Cx<'_>, gap: Duration) -> Result<(), ActError> {
    let end = Instant::now() + gap;
    while Instant::now() < end {
        cx.may_send()?;
        tokio::time::sleep(FOUND_EVERY.min(gap)).await;
    }
    Ok(())
}

/// Until the Sentinel has found its quorum, its peers and the replicas again.
async fn settled(cx: &Cx<'_>, sentinel: &InstanceId, address: &str) -> Result<(), ActError> {
    loop {
        let now = look(cx).await.map_err(ActError::Retry)?;
        let watch = now.watches().find(|(id, _)| *id == sentinel).map(|(_, w)| w);
        let why = match watch {
            Some(watch) => unsettled(watch, address, &now),
            None => Some("does not answer".into()),
        };
        let Some(why) = why else { return Ok(()) };
        if let Err(over) = cx.may_send() {
            return Err(ActError::Failed(format!("{sentinel} {why}: {over}")));
        }
        tokio::time::sleep(FOUND_EVERY).await;
    }
}

/// CLUSTER FORGET on every node that lists the address, until none does.
pub(super) async fn by_cluster(cx: &Cx<'_>, address: &str) -> Result<(), ActError> {
    let service: &ServiceId = &cx.operation.service;
    let mut last = String::new();
    for _ in 0..ROUNDS_MAX {
        let inventory = (cx.world.inventory)();
        let others = inventory.nodes(service).filter(|i| i.id.address() != address);
        let mut listed = 0;
        for other in others {
            match forget(cx, &other.id, address).await {
                Ok(true) => listed += 1,
                Ok(false) => {}
                Err(why) => (listed, last) = (listed + 1, why.to_string()),
            }
        }
        if listed == 0 {
            return Ok(());
        }
        cx.may_send()?;
        tokio::time::sleep(ROUND_EVERY).await;
    }
    Err(ActError::Retry(format!("{address} is still listed; {last}")))
}

/// Whether the node listed it; it is told to forget it then.
async fn forget(cx: &Cx<'_>, node: &InstanceId, address: &str) -> Result<bool, ActError> {
    let mut conn = match Conn::dial(cx, node).await {
        Ok(conn) => conn,
        // A dead node has its own list when it comes back; whoever lives is asked.
        Err(Trouble::Gone(_)) => return Ok(false),
        Err(other) => return Err(other.into()),
    };
    let nodes = view(&mut conn).await?;
    let Some(line) = nodes.iter().find(|n| n.address == address) else { return Ok(false) };
    conn.send(&["CLUSTER", "FORGET", &line.id]).await?;
    Ok(true)
}
