//! A node becomes a member: of a cluster (MEET, REPLICATE) and of the inventory.
//!
//! Invariants: it is a member when every node lists it, not when one command answered OK; what is
//! listed in the inventory is what is watched, so it is listed behind the proof that it works, and
//! struck out in front of the removal of its files.

use std::time::Duration;

use link::reply::{self, role::RoleReply};
use model::InstanceId;
use model::reading::ClusterNode;
use model::service::{Instance, InstanceKind};
use serde_json::json;

use super::cast::look;
use super::conn::{Conn, Trouble};
use super::create::observed;
use super::recycle::target;
use super::{ActError, Cx, Observed, forget};

/// Between two tries of a command that waits for gossip; a message goes round in a second.
const GOSSIP_EVERY: Duration = Duration::from_millis(200);

/// The instance an argument names.
pub(super) fn named(cx: &Cx<'_>, arg: &str) -> Result<InstanceId, ActError> {
    cx.arg(arg)?.parse().map_err(|e: model::id::BadId| ActError::Failed(e.to_string()))
}

/// What a node of the cluster lists.
pub(super) async fn view(conn: &mut Conn<'_>) -> Result<Vec<ClusterNode>, ActError> {
    let value = conn.ask(&["CLUSTER", "NODES"]).await?;
    let raw = reply::bytes(&value).unwrap_or_default();
    let (view, conflicts) = reply::cluster::nodes(raw);
    if conflicts > 0 {
        return Err(ActError::Failed(format!("{}: CLUSTER NODES is not readable", conn.id)));
    }
    Ok(view.nodes)
}

/// The line of an address, when the node behind it is fully known.
pub(super) fn member<'a>(nodes: &'a [ClusterNode], address: &str) -> Option<&'a ClusterNode> {
    let half = |flags: &[String]| flags.iter().any(|f| f == "handshake" || f == "noaddr");
    nodes.iter().find(|n| n.address == address && !half(&n.flags))
}

/// Whether all nodes list it, and it lists them.
pub(super) async fn observe_met(cx: &Cx<'_>) -> Observed {
    met(cx).await.unwrap_or_else(observed)
}

async fn met(cx: &Cx<'_>) -> Result<Observed, ActError> {
    let id = target(cx)?;
    let own = view(&mut Conn::dial_new(cx, &id).await?).await?;
    let now = look(cx).await.map_err(ActError::Retry)?;
    for (other, node) in now.answered().filter(|(other, _)| **other != id) {
        let nodes = node.cluster.as_ref().map(|c| c.nodes.as_slice()).unwrap_or_default();
        if member(nodes, id.address()).is_none_or(|n| !n.connected) {
            return Ok(Observed::NotYet(format!("{other} does not list {id} yet")));
        }
        if member(&own, other.address()).is_none() {
            return Ok(Observed::NotYet(format!("{id} does not list {other} yet")));
        }
    }
    Ok(Observed::Wished(json!({ "members": own.len() })))
}

pub(super) async fn apply_met(cx: &Cx<'_>) -> Result<(), ActError> {
    let (id, via) = (target(cx)?, named(cx, "via")?);
    let (host, port) = id.host_port();
    let mut conn = Conn::dial(cx, &via).await?;
    conn.send(&["CLUSTER", "MEET", host, &port.to_string()]).await?;
    Ok(())
}

/// Every node forgets it within the minute that a forgotten node stays out, and it forgets them.
pub(super) async fn undo_met(cx: &Cx<'_>) -> Result<(), ActError> {
    let id = target(cx)?;
    forget::by_cluster(cx, id.address()).await?;
    match Conn::dial_new(cx, &id).await {
        Ok(mut conn) => {
            conn.send(&["CLUSTER", "RESET", "HARD"]).await?;
            Ok(())
        }
        Err(Trouble::Gone(_)) => Ok(()),
        Err(other) => Err(other.into()),
    }
}

/// Whether it follows its master over a live link.
pub(super) async fn observe_replicating(cx: &Cx<'_>) -> Observed {
    let seen = async {
        let (id, master) = (target(cx)?, named(cx, "master")?);
        Ok(match Conn::dial_new(cx, &id).await?.role().await? {
            RoleReply::Replica { master: up, link, .. }
                if up == master.address() && link == "connected" =>
            {
                Observed::Wished(json!({ "master": master }))
            }
            RoleReply::Replica { master: up, link, .. } => {
                Observed::NotYet(format!("{id} follows {up}, link {link}"))
            }
            _ => Observed::NotYet(format!("{id} is no replica yet")),
        })
    };
    seen.await.unwrap_or_else(observed)
}

/// REPLICATE until it is accepted: the node has to have heard of its master.
pub(super) async fn apply_replicating(cx: &Cx<'_>) -> Result<(), ActError> {
    let (id, master) = (target(cx)?, named(cx, "master")?);
    let mut conn = Conn::dial_new(cx, &id).await?;
    loop {
        let nodes = view(&mut conn).await?;
        let refused = match member(&nodes, master.address()) {
            None => format!("{id} does not list {master}"),
            Some(line) => match conn.send(&["CLUSTER", "REPLICATE", &line.id]).await {
                Ok(_) => return Ok(()),
                Err(Trouble::Refused(why)) => why,
                Err(other) => return Err(other.into()),
            },
        };
        if cx.may_send().is_err() {
            return Err(ActError::Failed(refused));
        }
        tokio::time::sleep(GOSSIP_EVERY).await;
    }
}

/// Whether the inventory in force lists the node (`register`) or does not (`unregister`).
pub(super) fn observe_listed(cx: &Cx<'_>) -> Observed {
    let id = match target(cx) {
        Ok(id) => id,
        Err(e) => return observed(e),
    };
    let listed = (cx.world.inventory)().instances.contains_key(&id);
    let wished = cx.step.kind == "register";
    match (listed == wished, wished) {
        (true, _) => Observed::Wished(json!({ "listed": listed })),
        (false, true) => Observed::NotYet(format!("{id} is not in the inventory yet")),
        (false, false) => Observed::NotYet(format!("{id} is still in the inventory")),
    }
}

pub(super) async fn apply_listed(cx: &Cx<'_>) -> Result<(), ActError> {
    let id = target(cx)?;
    if cx.step.kind == "unregister" {
        return strike(cx, &id).await;
    }
    let bad = |e: model::id::BadId| ActError::Failed(e.to_string());
    let instance = Instance {
        zone: cx.arg("zone")?.parse().map_err(bad)?,
        host: Some(cx.arg("host")?.parse().map_err(bad)?),
        shard: cx.step.args["shard"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
        kind: InstanceKind::Redis,
        id,
    };
    cx.command(&instance.id, format!("inventory add {}", instance.id))?;
    let (store, caller) = cx.tree()?;
    let listed = store.instance_list(caller, &instance, (cx.world.clock)()).await;
    listed.map(drop).map_err(|e| ActError::Retry(e.to_string()))
}

pub(super) async fn undo_listed(cx: &Cx<'_>) -> Result<(), ActError> {
    strike(cx, &target(cx)?).await
}

async fn strike(cx: &Cx<'_>, id: &InstanceId) -> Result<(), ActError> {
    cx.command(id, format!("inventory remove {id}"))?;
    let (store, caller) = cx.tree()?;
    let gone = store.instance_strike(caller, id, (cx.world.clock)()).await;
    gone.map(drop).map_err(|e| ActError::Retry(e.to_string()))
}
