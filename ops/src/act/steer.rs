//! Steering Sentinel's choice, and taking the steering back.
//!
//! `steer` gives the target the best priority and waits until the Sentinel that will fail over has
//! seen it: Sentinel reads priorities with its own INFO, every 10 s. `priorities` restores what was
//! there. Invariant: only the values the plan saw or the values it wished are overwritten; a priority
//! somebody else changed meanwhile is a contradiction.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use model::InstanceId;

use super::cast::{Cast, SentinelPart, look, note_score};
use super::conn::{Conn, Trouble};
use super::{ActError, Cx, Observed};
use crate::topology::Snapshot;

/// Redis' name of the setting.
const SETTING: &str = "replica-priority";

/// Whether the priorities are set and the executing Sentinel has seen them.
pub(super) async fn observe(cx: &Cx<'_>) -> Observed {
    let cast = match Cast::of(cx) {
        Ok(cast) => cast,
        Err(e) => return Observed::Other(e.to_string()),
    };
    match look(cx).await {
        Ok(now) => steered(&cast, &now),
        Err(why) => Observed::Unknown(why),
    }
}

fn steered(cast: &Cast, now: &Snapshot) -> Observed {
    let Some(part) = &cast.sentinel else {
        return Observed::Other("the plan names no Sentinel".into());
    };
    if now.node(&cast.old).is_some_and(|n| n.master.is_some()) {
        return Observed::Other(format!("{} is not the master any more", cast.old));
    }
    let mut seen = BTreeMap::new();
    for id in cast.replicas() {
        let Some(node) = now.node(id) else {
            return Observed::Unknown(format!("{id} does not answer"));
        };
        let wished = f64::from(part.wished(cast, id));
        let has = node.get(model::field::Field::SlavePriority);
        if has != Some(wished) {
            return Observed::NotYet(format!("{id} has priority {has:?}, wished {wished}"));
        }
        seen.insert(id.to_string(), wished);
    }
    match unseen_by_sentinel(cast, part, now) {
        Err(why) => Observed::Unknown(why),
        Ok(Some(why)) => Observed::NotYet(why),
        Ok(None) => Observed::Wished(serde_json::json!({ "priorities": seen, "at": part.id })),
    }
}

fn unseen_by_sentinel(
    cast: &Cast,
    part: &SentinelPart,
    now: &Snapshot,
) -> Result<Option<String>, String> {
    let watch = now.watches().find(|(id, _)| **id == part.id).map(|(_, w)| w);
    let watch = watch.ok_or_else(|| format!("Sentinel {} does not answer", part.id))?;
    for id in cast.replicas() {
        let known = watch.replicas.iter().find(|r| r.address() == id.address());
        let known = known.ok_or_else(|| format!("{} does not know {id}", part.id))?;
        let wished = part.wished(cast, id);
        if known.priority != wished {
            let has = known.priority;
            return Ok(Some(format!(
                "{} still sees {id} with priority {has}, not {wished}",
                part.id
            )));
        }
    }
    Ok(None)
}

/// Sets the priorities that differ.
pub(super) async fn apply(cx: &Cx<'_>) -> Result<(), ActError> {
    let cast = Cast::of(cx)?;
    let part = cast.sentinel()?;
    note_score(cx);
    for id in cast.replicas() {
        set(cx, id, part.wished(&cast, id), saved(part, id)?, false).await?;
    }
    Ok(())
}

/// Puts the saved priorities back. Where no process listens there is nothing to put back: the steered
/// value was in its memory only.
pub(super) async fn undo(cx: &Cx<'_>) -> Result<(), ActError> {
    let cast = Cast::of(cx)?;
    let part = cast.sentinel()?;
    for id in cast.replicas() {
        match set(cx, id, saved(part, id)?, part.wished(&cast, id), false).await {
            Err(Trouble::Gone(why)) => cx.journal.note(format!("nothing to restore: {why}")),
            other => other?,
        }
    }
    Ok(())
}

/// Whether every priority is the saved one.
pub(super) async fn observe_restored(cx: &Cx<'_>) -> Observed {
    let cast = match Cast::of(cx) {
        Ok(cast) => cast,
        Err(e) => return Observed::Other(e.to_string()),
    };
    let Some(part) = &cast.sentinel else {
        return Observed::Other("the plan names no Sentinel".into());
    };
    let asked = join_all(
        part.saved.iter().map(|(id, saved)| async move { (id, *saved, ask(cx, id).await) }),
    );
    let mut seen = BTreeMap::new();
    for (id, saved, answer) in asked.await {
        match answer {
            Ok(has) if has == saved => seen.insert(id.to_string(), has),
            Ok(has) => return Observed::NotYet(format!("{id} has priority {has}, saved {saved}")),
            Err(trouble) => return Observed::Unknown(trouble.to_string()),
        };
    }
    Observed::Wished(serde_json::json!({ "priorities": seen }))
}

/// Restores after a switchover. Sentinel wrote the steered values into the configuration files when
/// it moved the nodes, so the files are rewritten too.
pub(super) async fn apply_restored(cx: &Cx<'_>) -> Result<(), ActError> {
    let cast = Cast::of(cx)?;
    let part = cast.sentinel()?;
    for id in cast.replicas() {
        set(cx, id, saved(part, id)?, part.wished(&cast, id), true).await?;
    }
    Ok(())
}

fn saved(part: &SentinelPart, id: &InstanceId) -> Result<u32, ActError> {
    let unknown = || ActError::Failed(format!("the plan does not know the priority of {id}"));
    part.saved.get(id).copied().ok_or_else(unknown)
}

async fn ask(cx: &Cx<'_>, id: &InstanceId) -> Result<u32, Trouble> {
    read(&mut Conn::dial(cx, id).await?).await
}

async fn read(conn: &mut Conn<'_>) -> Result<u32, Trouble> {
    let text = conn.config(SETTING).await?;
    let odd = |_| Trouble::Refused(format!("{}: {SETTING} is {text:?}", conn.id));
    text.parse().map_err(odd)
}

/// Sets one priority from `from` to `wished`, on the connection it was read on.
async fn set(
    cx: &Cx<'_>,
    id: &InstanceId,
    wished: u32,
    from: u32,
    rewrite: bool,
) -> Result<(), Trouble> {
    let mut conn = Conn::dial(cx, id).await?;
    let has = read(&mut conn).await?;
    if has != wished {
        if has != from {
            let why = format!("{id} has {SETTING} {has}; the plan knew {from} and wishes {wished}");
            return Err(Trouble::Refused(why));
        }
        conn.send(&["CONFIG", "SET", SETTING, &wished.to_string()]).await?;
    }
    if rewrite {
        rewrite_file(cx, &mut conn).await?;
    }
    Ok(())
}

/// CONFIG REWRITE. A server that runs without a file, or cannot write it, is told to people and no
/// failure of the switchover: what runs is right.
pub(super) async fn rewrite_file(cx: &Cx<'_>, conn: &mut Conn<'_>) -> Result<(), Trouble> {
    match conn.send(&["CONFIG", "REWRITE"]).await {
        Ok(_) => Ok(()),
        Err(Trouble::Refused(why)) => {
            cx.journal.note(format!("{why}: a restart would bring back the old settings"));
            Ok(())
        }
        Err(other) => Err(other),
    }
}
