//! Slots go from one master of a cluster to another, key by key while clients go on.
//!
//! Invariants: a slot that was begun is finished in the same direction, whoever resumes; its new owner
//! is told first, then the old one, then every other master, so no slot is ever without an owner; a
//! batch whose end is not known is listed again and sent with REPLACE; a master whose role changed
//! stops everything. Refuses to know which slots ought to be where.

use std::time::{Duration, Instant};

use link::reply::{self, role::RoleReply};
use model::InstanceId;
use model::reading::ClusterNode;
use serde_json::json;

use super::cast::look;
use super::conn::{Conn, Trouble};
use super::create::observed;
use super::member::{member, named, view};
use super::{ActError, Cx, Observed};
use crate::placement::slots::each;
use crate::topology::Snapshot;

/// Keys of a batch, and their bytes: both servers stand still while a batch is on its way.
const BATCH_KEYS: &str = "100";
/// See `BATCH_KEYS`.
const BATCH_BYTES_MAX: f64 = 1_048_576.0;
/// A larger key stands still for so long that a person decides.
const KEY_BYTES_MAX: f64 = 64.0 * 1_048_576.0;
/// The time MIGRATE gives the target, ms, and the longest we wait for MIGRATE itself.
const MIGRATE_MS: &str = "5000";
/// See `MIGRATE_MS`.
const MIGRATE_MAX: Duration = Duration::from_secs(8);
/// A question about a hundred keys.
const ASK_MAX: Duration = Duration::from_secs(3);
/// Behind a batch the servers rest that many times as long as it took: moving takes 30 % of them.
const REST: f64 = 7.0 / 3.0;
/// SETSLOT writes the nodes' file to disk before it answers.
const SET_MAX: Duration = Duration::from_secs(2);
/// Longest rest; a batch that took longer is no measure.
const REST_MAX: Duration = Duration::from_secs(5);

/// What a step moves.
struct Route {
    from: InstanceId,
    to: InstanceId,
    slots: Vec<(u16, u16)>,
}

fn route(cx: &Cx<'_>) -> Result<Route, ActError> {
    let slots = serde_json::from_value(cx.step.args["slots"].clone());
    let slots = slots.map_err(|e| ActError::Failed(format!("the step's slots: {e}")))?;
    Ok(Route { from: named(cx, "from")?, to: named(cx, "to")?, slots })
}

/// The id of the node that owns a slot in a view.
fn owner(nodes: &[ClusterNode], slot: u16) -> Option<&str> {
    let has = |n: &&ClusterNode| n.slots.iter().any(|(a, b)| (*a..=*b).contains(&slot));
    nodes.iter().find(has).map(|n| n.id.as_str())
}

/// Whether a view has that slot open, in either direction.
fn is_open(nodes: &[ClusterNode], slot: u16) -> bool {
    let mark = format!("[{slot}-");
    nodes.iter().flat_map(|n| &n.open_slots).any(|open| open.starts_with(&mark))
}

/// Whether everybody, replicas too, lists the target as owner and nobody has a slot open.
pub(super) async fn observe(cx: &Cx<'_>) -> Observed {
    seen(cx).await.unwrap_or_else(observed)
}

async fn seen(cx: &Cx<'_>) -> Result<Observed, ActError> {
    let route = route(cx)?;
    let now = look(cx).await.map_err(ActError::Retry)?;
    for id in [&route.from, &route.to] {
        if now.node(id).is_none() {
            return Ok(Observed::Unknown(format!("{id} does not answer")));
        }
    }
    let all = each(&route.slots).count();
    let settled = [&route.from, &route.to].into_iter().all(|id| lists(&now, id, &route));
    for (id, node) in now.answered() {
        let nodes = node.cluster.as_ref().map(|c| c.nodes.as_slice()).unwrap_or_default();
        let Some(to) = member(nodes, route.to.address()).map(|n| n.id.clone()) else {
            return Ok(Observed::NotYet(format!("{id} does not list {}", route.to)));
        };
        let there = each(&route.slots).filter(|s| owner(nodes, *s) == Some(to.as_str())).count();
        if there < all {
            // Others hear of it by gossip, later than an emptied source turns to its new master.
            if let Some(why) = demoted(&now, &route).filter(|_| !settled) {
                return Ok(Observed::Other(why));
            }
            return Ok(Observed::NotYet(format!(
                "{id} lists {there} of {all} slots at {}",
                route.to
            )));
        }
        if let Some(slot) = each(&route.slots).find(|s| is_open(nodes, *s)) {
            return Ok(Observed::NotYet(format!("{id} has slot {slot} open")));
        }
    }
    Ok(Observed::Wished(json!({ "slots": all })))
}

/// Whether a node itself lists the target as owner of every slot.
fn lists(now: &Snapshot, id: &InstanceId, route: &Route) -> bool {
    let view = now.node(id).and_then(|n| n.cluster.as_ref());
    let nodes = view.map(|c| c.nodes.as_slice()).unwrap_or_default();
    let to = member(nodes, route.to.address()).map(|n| n.id.as_str());
    to.is_some() && each(&route.slots).all(|slot| owner(nodes, slot) == to)
}

/// An end of the route that is a replica now: of a failover, as long as slots are missing. (A master
/// that gave its last slot away follows the one that got it, by itself.)
fn demoted(now: &Snapshot, route: &Route) -> Option<String> {
    let replica = |id: &&InstanceId| now.node(id).is_some_and(|n| n.master.is_some());
    let id = [&route.from, &route.to].into_iter().find(|id| replica(id))?;
    Some(format!("{id} is not a master any more"))
}

pub(super) async fn apply(cx: &Cx<'_>) -> Result<(), ActError> {
    let route = route(cx)?;
    transfer(cx, &route).await
}

/// The same slots the other way.
pub(super) async fn undo(cx: &Cx<'_>) -> Result<(), ActError> {
    let Route { from, to, slots } = route(cx)?;
    transfer(cx, &Route { from: to, to: from, slots }).await
}

/// Both ends of a route and everybody who has to know.
struct Ends<'c> {
    from: Conn<'c>,
    to: Conn<'c>,
    others: Vec<Conn<'c>>,
    from_id: String,
    to_id: String,
}

async fn my_id(conn: &mut Conn<'_>) -> Result<String, ActError> {
    let said = conn.ask(&["CLUSTER", "MYID"]).await?;
    let odd = || ActError::Failed(format!("{}: CLUSTER MYID is not readable", conn.id));
    reply::text(&said).ok_or_else(odd)
}

async fn ends<'c>(cx: &'c Cx<'c>, route: &Route) -> Result<Ends<'c>, ActError> {
    let (mut from, mut to) = (Conn::dial(cx, &route.from).await?, Conn::dial(cx, &route.to).await?);
    let now = look(cx).await.map_err(ActError::Retry)?;
    let mut others = Vec::new();
    for id in now.masters().into_iter().filter(|id| **id != route.from && **id != route.to) {
        others.push(Conn::dial(cx, id).await?);
    }
    let (from_id, to_id) = (my_id(&mut from).await?, my_id(&mut to).await?);
    Ok(Ends { from, to, others, from_id, to_id })
}

async fn transfer(cx: &Cx<'_>, route: &Route) -> Result<(), ActError> {
    let mut ends = ends(cx, route).await?;
    let (at_from, at_to) = (view(&mut ends.from).await?, view(&mut ends.to).await?);
    let (mut moved, mut keys) = (0u64, 0u64);
    for slot in each(&route.slots) {
        let has = owner(&at_to, slot) == Some(ends.to_id.as_str());
        let told = owner(&at_from, slot) == Some(ends.to_id.as_str());
        if has && told && !is_open(&at_to, slot) && !is_open(&at_from, slot) {
            continue;
        }
        still_masters(&mut ends).await?;
        cx.command(
            &route.from,
            format!(
                "slot {slot} to {}: CLUSTER SETSLOT {slot} IMPORTING, MIGRATING; MIGRATE until it is \
                 empty; CLUSTER SETSLOT {slot} NODE on target, source, other masters",
                route.to
            ),
        )?;
        if !has {
            keys += one(&mut ends, route, slot).await?;
        }
        hand_over(&mut ends, slot).await?;
        moved += 1;
        cx.journal.figure(
            &format!("slots of step {}", cx.step.seq),
            json!({
                "moved": moved, "keys": keys, "last": slot
            }),
        );
        crate::fault::point("slots.moved", "after").map_err(ActError::Retry)?;
    }
    Ok(())
}

/// Our own failovers wait for the service's lock; the servers' own do not.
async fn still_masters(ends: &mut Ends<'_>) -> Result<(), ActError> {
    for conn in [&mut ends.from, &mut ends.to] {
        match conn.role().await? {
            RoleReply::Master { .. } => {}
            _ => return Err(ActError::Failed(format!("{} is not a master any more", conn.id))),
        }
    }
    Ok(())
}

async fn set(conn: &mut Conn<'_>, slot: u16, what: &str, id: &str) -> Result<(), Trouble> {
    let slot = slot.to_string();
    let words = ["CLUSTER", "SETSLOT", slot.as_str(), what, id];
    conn.send_masked(&words, &words.join(" "), SET_MAX).await.map(drop)
}

/// Opens a slot and empties it. Answers the keys that went over.
async fn one(ends: &mut Ends<'_>, route: &Route, slot: u16) -> Result<u64, ActError> {
    let (from_id, to_id) = (ends.from_id.clone(), ends.to_id.clone());
    set(&mut ends.to, slot, "IMPORTING", &from_id).await?;
    set(&mut ends.from, slot, "MIGRATING", &to_id).await?;
    crate::fault::point("slots.opened", "after").map_err(ActError::Retry)?;
    let (mut moved, mut replace) = (0, false);
    loop {
        let keys = keys_of(&mut ends.from, slot).await?;
        if keys.is_empty() {
            return Ok(moved);
        }
        let batch = batch(&mut ends.from, &keys, slot).await?;
        let began = Instant::now();
        match migrate(ends, route, &batch, replace).await? {
            Sent::All => {
                moved += batch.len() as u64;
                replace = false;
            }
            Sent::Unknown => replace = true,
        }
        tokio::time::sleep(began.elapsed().mul_f64(REST).min(REST_MAX)).await;
    }
}

async fn keys_of(conn: &mut Conn<'_>, slot: u16) -> Result<Vec<Vec<u8>>, ActError> {
    let slot = slot.to_string();
    let value = conn.ask(&["CLUSTER", "GETKEYSINSLOT", &slot, BATCH_KEYS]).await?;
    let items = reply::items(&value).unwrap_or_default();
    Ok(items.iter().filter_map(reply::bytes).map(<[u8]>::to_vec).collect())
}

/// As many of the keys as may go at once. Keys that are too large are left; when nothing else is, a
/// person is asked.
async fn batch(conn: &mut Conn<'_>, keys: &[Vec<u8>], slot: u16) -> Result<Vec<Vec<u8>>, ActError> {
    let usage: Vec<[&[u8]; 3]> = keys.iter().map(|k| [&b"MEMORY"[..], b"USAGE", k]).collect();
    let usage: Vec<&[&[u8]]> = usage.iter().map(|c| &c[..]).collect();
    let sizes = conn.raw(&usage, "MEMORY USAGE", ASK_MAX).await?;
    let (mut batch, mut bytes, mut large) = (Vec::new(), 0.0, Vec::new());
    for (key, size) in keys.iter().zip(&sizes) {
        let size = reply::number(size).unwrap_or(0.0);
        if size > KEY_BYTES_MAX {
            large.push(format!("{} ({size} bytes)", reply::cut(key)));
            continue;
        }
        if !batch.is_empty() && bytes + size > BATCH_BYTES_MAX {
            break;
        }
        bytes += size;
        batch.push(key.clone());
    }
    if batch.is_empty() {
        let why = format!(
            "slot {slot} holds keys above {KEY_BYTES_MAX} bytes, which stop both servers while they \
             move: {}; the slot stays open and its other keys have moved",
            large.join(", ")
        );
        return Err(ActError::Failed(why));
    }
    Ok(batch)
}

/// What became of a batch.
enum Sent {
    All,
    /// Some may be over: they are listed again and sent with REPLACE.
    Unknown,
}

async fn migrate(
    ends: &mut Ends<'_>,
    route: &Route,
    batch: &[Vec<u8>],
    replace: bool,
) -> Result<Sent, ActError> {
    let (host, port) = route.to.host_port();
    let port = port.to_string();
    let mut words: Vec<&[u8]> =
        vec![b"MIGRATE", host.as_bytes(), port.as_bytes(), b"", b"0", MIGRATE_MS.as_bytes()];
    if replace {
        words.push(b"REPLACE");
    }
    let login = ends.to.login();
    if let Some((user, password)) = &login {
        match user.is_empty() {
            true => words.extend([&b"AUTH"[..], password.reveal().as_bytes()]),
            false => words.extend([&b"AUTH2"[..], user.as_bytes(), password.reveal().as_bytes()]),
        }
    }
    words.push(b"KEYS");
    words.extend(batch.iter().map(Vec::as_slice));
    let answer = ends.from.raw(&[&words], "MIGRATE", MIGRATE_MAX).await;
    let said = match answer {
        Ok(replies) => replies.first().and_then(reply::error),
        Err(Trouble::Barred(error)) => return Err(error),
        Err(_) => {
            ends.from.again().await?;
            return Ok(Sent::Unknown);
        }
    };
    match said {
        None => Ok(Sent::All),
        // The first try brought it over and could not take it away here: here is where clients are.
        Some(why) if why.starts_with("BUSYKEY") || why.starts_with("IOERR") => Ok(Sent::Unknown),
        Some(why) => Err(ActError::Failed(format!("{}: MIGRATE answered {why}", route.from))),
    }
}

/// The new owner first: should it die before anybody else knows, the old one still has the slot.
async fn hand_over(ends: &mut Ends<'_>, slot: u16) -> Result<(), ActError> {
    let to_id = ends.to_id.clone();
    set(&mut ends.to, slot, "NODE", &to_id).await?;
    if let Err(trouble) = set(&mut ends.from, slot, "NODE", &to_id).await {
        let Trouble::Refused(why) = trouble else { return Err(trouble.into()) };
        // Gossip was faster: with its last slot gone it follows the new owner by itself, and a replica
        // takes no SETSLOT. Whether it lists the new owner is observed.
        match ends.from.role().await? {
            RoleReply::Replica { master, .. } if master == ends.to.id.address() => {}
            _ => return Err(ActError::Failed(why)),
        }
    }
    for other in &mut ends.others {
        set(other, slot, "NODE", &to_id).await?;
    }
    Ok(())
}
