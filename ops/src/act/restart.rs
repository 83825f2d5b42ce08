//! The acts of `node_restart`: start the process, see it rejoin, see it stay up.
//!
//! Invariant: a process is recognised by its incarnation (pid and start time), so "it runs again" is
//! never mistaken for "it still runs". Only `start` changes anything, and it cannot be undone: a
//! node that was started and does not recover is left running for whoever is called.

use model::reading::Role;
use model::verdict::Verdict;
use model::{At, InstanceId};
use serde_json::{Value, json};

use super::cast::run_id_figure;
use super::{ActError, Cx, Observed};
use crate::provider::{Control, NodeState};
use crate::topology::{self, Node};

/// A replica this far behind its master will catch up by itself, bytes.
const LAG_BYTES_MAX: f64 = 1_048_576.0;

pub(super) async fn observe(cx: &Cx<'_>) -> Observed {
    let node = match node(cx) {
        Ok(node) => node,
        Err(e) => return Observed::Other(e.to_string()),
    };
    let state = match process(cx, &node).await {
        Ok(state) => state,
        Err(e) => return Observed::Unknown(e),
    };
    if !state.exists {
        return Observed::Other(format!("its provider has no node {}", node.address()));
    }
    if cx.step.kind == "start" {
        return started(cx, &state);
    }
    if !state.running {
        let exit = state.exit.unwrap_or_else(|| "no known status".into());
        return Observed::Other(format!("the process of {node} ended again with {exit}"));
    }
    match cx.step.kind.as_str() {
        "rejoin" => rejoined(cx, &node).await,
        _ => healthy(cx, &node),
    }
}

pub(super) async fn apply(cx: &Cx<'_>) -> Result<(), ActError> {
    if cx.step.kind != "start" {
        return Ok(());
    }
    let node = node(cx)?;
    let how = cx.arg("how")?;
    let control = if how == "restart" { Control::Restart } else { Control::Start };
    let inventory = (cx.world.inventory)();
    let (provider, at) =
        cx.world.providers.of(&inventory, &node).map_err(|r| ActError::Failed(r.to_string()))?;
    cx.command(&node, format!("provider {how} {}", at.address))?;
    // The same for every try: a later one finishes the restart an earlier one began, and must not end
    // the process that one has just started.
    let key = format!("{}/{}", cx.operation.id, cx.step.seq);
    provider.control(&at, control, &key).await.map_err(|e| ActError::Retry(e.to_string()))
}

pub(super) async fn undo(cx: &Cx<'_>) -> Result<(), ActError> {
    if cx.step.kind == "start" {
        cx.journal.note("nothing is undone: the process is left as it is, as evidence");
    }
    Ok(())
}

fn node(cx: &Cx<'_>) -> Result<InstanceId, ActError> {
    cx.step.target.parse().map_err(|e: model::id::BadId| ActError::Failed(e.to_string()))
}

async fn process(cx: &Cx<'_>, node: &InstanceId) -> Result<NodeState, String> {
    let inventory = (cx.world.inventory)();
    let (provider, at) = cx.world.providers.of(&inventory, node).map_err(|r| r.to_string())?;
    provider.observe(&at).await.map_err(|e| e.to_string())
}

fn started(cx: &Cx<'_>, state: &NodeState) -> Observed {
    let dead = cx.step.args["incarnation"].as_str().unwrap_or_default();
    if state.running && state.incarnation != dead {
        return Observed::Wished(json!({ "pid": state.pid, "incarnation": state.incarnation }));
    }
    Observed::NotYet(match state.pid {
        Some(pid) => format!("process {pid} is still the one that does not answer"),
        None => "no process".into(),
    })
}

async fn rejoined(cx: &Cx<'_>, id: &InstanceId) -> Observed {
    let end = cx.deadline.min(std::time::Instant::now() + topology::PING_MAX * 4);
    let snapshot = match topology::look(cx.world, &cx.operation.service, end).await {
        Ok(snapshot) => snapshot,
        Err(refusal) => return Observed::Unknown(refusal.to_string()),
    };
    if cx.step.args["role"].as_str() == Some("sentinel") {
        return watching(&snapshot, id);
    }
    let node = match snapshot.place(id).map(|n| &n.seen) {
        Some(Ok(node)) => node,
        Some(Err(why)) => return Observed::NotYet(format!("{id}: {why}")),
        None => return Observed::Other(format!("{id} is not in the inventory any more")),
    };
    if let Some(odd) = other_version(cx, id, node) {
        return Observed::Other(odd);
    }
    let wanted = cx.step.args["role"].as_str().unwrap_or("replica");
    let Some(master) = &node.master else {
        return match wanted {
            "master" => {
                note_process(cx, id, node);
                Observed::Wished(json!({ "role": "master" }))
            }
            _ => {
                Observed::NotYet(format!("{id} says it is a master; it is not told otherwise yet"))
            }
        };
    };
    if wanted == "master" {
        return Observed::Other(format!("{id} is a replica of {master} now"));
    }
    let upstream = snapshot.answered().find(|(i, _)| i.address() == master).map(|(_, n)| n);
    let seen = following(id, node, master, upstream);
    if let Observed::Wished(_) = seen {
        note_process(cx, id, node);
    }
    seen
}

/// Later steps of the same operation hold the process against the one it started.
fn note_process(cx: &Cx<'_>, id: &InstanceId, node: &Node) {
    cx.journal.figure(&run_id_figure(id), node.facts.text.run_id.clone());
}

/// Why the node runs another version than the one it was started for.
fn other_version(cx: &Cx<'_>, id: &InstanceId, node: &Node) -> Option<String> {
    let wished = cx.step.args["version"].as_str()?;
    let text = &node.facts.text;
    let has = [text.version.as_str(), text.valkey_version.as_str()];
    (!has.contains(&wished)).then(|| format!("{id} runs version {}, wished {wished}", text.version))
}

/// A Sentinel is back when it names the master the others name.
fn watching(snapshot: &topology::Snapshot, id: &InstanceId) -> Observed {
    let mine = match snapshot.sentinels.iter().find(|s| s.id == *id).map(|s| &s.seen) {
        Some(Ok(watch)) => &watch.master.address,
        Some(Err(why)) => return Observed::NotYet(format!("{id}: {why}")),
        None => return Observed::Other(format!("{id} is not in the inventory any more")),
    };
    let others = snapshot.watches().filter(|(other, _)| *other != id);
    match others.map(|(_, w)| &w.master.address).find(|theirs| *theirs != mine) {
        Some(theirs) => Observed::NotYet(format!("{id} names {mine}, others name {theirs}")),
        None => Observed::Wished(json!({ "role": "sentinel", "master": mine })),
    }
}

fn following(id: &InstanceId, node: &Node, master: &str, upstream: Option<&Node>) -> Observed {
    let Some(upstream) = upstream.filter(|n| n.master.is_none()) else {
        return Observed::NotYet(format!(
            "{id} follows {master}, which does not say it is a master"
        ));
    };
    if node.link != "connected" {
        return Observed::NotYet(format!("the link of {id} to {master} is {}", node.link));
    }
    let lag = upstream.offset - node.offset;
    if lag > LAG_BYTES_MAX {
        return Observed::NotYet(format!("{id} is {lag} bytes behind {master}"));
    }
    Observed::Wished(json!({ "role": "slave", "master": master }))
}

/// The success predicate: the Board shows it up, its link up, without a break for the whole time.
fn healthy(cx: &Cx<'_>, id: &InstanceId) -> Observed {
    let now = (cx.world.clock)();
    let hold_ms = cx.step.args["up_for_ms"].as_i64().unwrap_or_default();
    let since = match good_since(cx, id) {
        Ok(read_at) => kept(cx, read_at),
        Err(why) => {
            forget(cx);
            return Observed::NotYet(why);
        }
    };
    let held = now.since_ms(since);
    if held < hold_ms {
        return Observed::NotYet(format!("up for {} of {} s", held / 1000, hold_ms / 1000));
    }
    Observed::Wished(json!({ "up_for_ms": held }))
}

/// Time of the latest reading when it is good; else why it is not.
fn good_since(cx: &Cx<'_>, id: &InstanceId) -> Result<At, String> {
    let row = cx.world.board.row(id).ok_or_else(|| format!("{id} was not polled yet"))?;
    if row.verdict != Verdict::Up || !row.reading.up {
        return Err(format!("the Board shows {id} {}", row.verdict.as_str()));
    }
    if cx.step.started_at.is_some_and(|begun| row.reading.at < begun) {
        return Err(format!("{id} was not polled since"));
    }
    let wants_link = !matches!(cx.step.args["role"].as_str(), Some("master" | "sentinel"));
    let facts = &row.reading.facts;
    let linked =
        facts.role == Some(Role::Replica) && facts.link_state.as_deref() == Some("connected");
    if wants_link && !linked {
        let state = facts.link_state.as_deref().unwrap_or("not known");
        return Err(format!("the link of {id} is {state}"));
    }
    Ok(row.reading.at)
}

fn kept(cx: &Cx<'_>, read_at: At) -> At {
    let mut memo = cx.memo.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match memo.as_i64() {
        Some(ms) => At::from_ms(ms),
        None => {
            *memo = Value::from(read_at.ms());
            read_at
        }
    }
}

fn forget(cx: &Cx<'_>) {
    *cx.memo.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Value::Null;
}
