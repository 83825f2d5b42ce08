//! The acts of upkeep: close listed connections, purge memory, keep and empty a slow log, save.
//!
//! Invariants: a connection is closed only while it is the one that was listed; a slow log is emptied
//! only behind its archive; what a server does not tell is done again by a resumed run, for all of it
//! may be repeated. Nothing here can be undone, and the journal says so.

use std::time::Duration;

use link::reply;
use model::InstanceId;
use model::field::Field;
use model::reading::Facts;
use serde::Deserialize;
use serde_json::{Value, json};
use store::SlowlogKept;

use super::clients::{self, Client};
use super::conn::{Conn, Trouble};
use super::{ActError, Cx, Observed};

/// Connections closed in a row before a pause, so that clients do not all come back at one moment.
const KILLS_AT_ONCE: usize = 10;
/// That pause: 100 connections in a second.
const KILL_PAUSE: Duration = Duration::from_millis(100);
/// A second and what a server's clock may be behind.
const CLOCK_LOOKS: usize = 20;
const CLOCK_PAUSE: Duration = Duration::from_millis(100);
/// A purge blocks for up to hundreds of ms, a fork of 16 GB as well.
const LONG: Duration = Duration::from_secs(5);

type Seen = Result<Observed, ActError>;

pub(super) async fn observe(cx: &Cx<'_>) -> Observed {
    let seen = match cx.step.kind.as_str() {
        "kill_clients" => left(cx).await,
        "purge" => Ok(done_here(cx, "the memory was not purged in this run")),
        "slowlog" => emptied(cx).await,
        _ => saved(cx).await,
    };
    match seen {
        Ok(observed) => observed,
        Err(ActError::Failed(why)) => Observed::Other(why),
        Err(ActError::Retry(why)) => Observed::Unknown(why),
    }
}

pub(super) async fn apply(cx: &Cx<'_>) -> Result<(), ActError> {
    match cx.step.kind.as_str() {
        "kill_clients" => kill(cx).await,
        "purge" => purge(cx).await,
        "slowlog" => archive_and_reset(cx).await,
        _ => save(cx).await,
    }
}

pub(super) async fn undo(cx: &Cx<'_>) -> Result<(), ActError> {
    cx.journal.note(format!("{} is not undone: there is nothing to restore", cx.step.kind));
    Ok(())
}

fn node(cx: &Cx<'_>) -> Result<InstanceId, ActError> {
    cx.step.target.parse().map_err(|e: model::id::BadId| ActError::Failed(e.to_string()))
}

fn remember(cx: &Cx<'_>, value: Value) {
    *cx.memo.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = value;
}

/// What no server tells afterwards: whether this run did it.
fn done_here(cx: &Cx<'_>, why: &str) -> Observed {
    let memo = cx.memo.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match memo.is_null() {
        true => Observed::NotYet(why.into()),
        false => Observed::Wished(memo.clone()),
    }
}

#[derive(Debug, Deserialize)]
struct Listed {
    id: u64,
    addr: String,
}

/// Those of the list that are still there: same id, same address, and old enough to have been seen
/// when the plan was made.
async fn still_there(cx: &Cx<'_>, conn: &mut Conn<'_>) -> Result<Vec<Client>, ActError> {
    let listed: Vec<Listed> = serde_json::from_value(cx.step.args["clients"].clone())
        .map_err(|e| ActError::Failed(format!("the list: {e}")))?;
    let planned_s = (cx.world.clock)().since_ms(cx.operation.plan.made_at) / 1000;
    let all = clients::list(conn).await?;
    let same = |c: &Client| {
        listed.iter().any(|l| l.id == c.id && l.addr == c.address) && c.age_s + 1 >= planned_s
    };
    Ok(all.into_iter().filter(same).collect())
}

async fn left(cx: &Cx<'_>) -> Seen {
    let mut conn = Conn::dial(cx, &node(cx)?).await?;
    let left = still_there(cx, &mut conn).await?.len();
    Ok(match left {
        0 => Observed::Wished(json!({ "left": 0 })),
        n => Observed::NotYet(format!("{n} of the listed connections are open")),
    })
}

async fn kill(cx: &Cx<'_>) -> Result<(), ActError> {
    let mut conn = Conn::dial(cx, &node(cx)?).await?;
    let open = still_there(cx, &mut conn).await?;
    for (n, client) in open.iter().enumerate() {
        if n > 0 && n % KILLS_AT_ONCE == 0 {
            tokio::time::sleep(KILL_PAUSE).await;
        }
        clients::kill(&mut conn, client).await?;
    }
    Ok(())
}

async fn facts(conn: &mut Conn<'_>) -> Result<Facts, ActError> {
    let value = conn.ask(&["INFO"]).await?;
    let mut facts = Facts::default();
    reply::info::read(reply::bytes(&value).unwrap_or_default(), &mut facts);
    Ok(facts)
}

async fn purge(cx: &Cx<'_>) -> Result<(), ActError> {
    let id = node(cx)?;
    let mut conn = Conn::dial(cx, &id).await?;
    let frag = |f: &Facts| f.values.get(Field::AllocatorFragBytes).unwrap_or_default();
    let before = frag(&facts(&mut conn).await?);
    doctor(cx, &mut conn).await?;
    conn.send_within(&["MEMORY", "PURGE"], LONG).await?;
    doctor(cx, &mut conn).await?;
    let after = frag(&facts(&mut conn).await?);
    if after > before / 2.0 {
        cx.journal.note(format!(
            "{id} still holds {after} bytes in fragments: activedefrag moves them \
             (param_change, activedefrag = yes, in quiet hours)"
        ));
    }
    remember(cx, json!({ "fragments_before": before, "fragments_after": after }));
    Ok(())
}

async fn doctor(cx: &Cx<'_>, conn: &mut Conn<'_>) -> Result<(), ActError> {
    let said = reply::text(&conn.ask(&["MEMORY", "DOCTOR"]).await?).unwrap_or_default();
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    cx.journal.note(format!("{}: {said}", conn.id));
    Ok(())
}

/// Every entry that is there now is younger than the last one kept.
async fn emptied(cx: &Cx<'_>) -> Seen {
    let id = node(cx)?;
    let kept = cx.store()?.slowlog_kept(&cx.operation.id, &id).await;
    let Some(last) = kept.map_err(|e| ActError::Retry(e.to_string()))? else {
        return Ok(Observed::NotYet(format!("the slow log of {id} is not kept yet")));
    };
    let mut conn = Conn::dial(cx, &id).await?;
    let value = conn.ask(&["SLOWLOG", "GET", "-1"]).await?;
    let entries = reply::slowlog::read(&value).unwrap_or_default();
    let older = entries.iter().filter(|e| e.id <= last.last_id).count();
    Ok(match older {
        0 => Observed::Wished(json!({ "kept": last.entries })),
        n => Observed::NotYet(format!("{n} entries that are kept stand in the slow log of {id}")),
    })
}

async fn archive_and_reset(cx: &Cx<'_>) -> Result<(), ActError> {
    let id = node(cx)?;
    let mut conn = Conn::dial(cx, &id).await?;
    let value = conn.ask(&["SLOWLOG", "GET", "-1"]).await?;
    let entries = reply::slowlog::entries(&value)
        .ok_or_else(|| ActError::Retry(format!("{id}: SLOWLOG GET is not readable")))?;
    let kept = cx.store()?.slowlog_kept(&cx.operation.id, &id).await;
    let kept = kept.map_err(|e| ActError::Retry(e.to_string()))?;
    let newest = entries.iter().map(|(e, _)| e.id).fold(-1.0, f64::max);
    if kept.is_none_or(|k| k.last_id < newest) {
        let shapes: Vec<Value> = entries
            .iter()
            .map(|(e, shape)| json!({ "id": e.id, "at_s": e.at_s, "us": e.us, "shape": shape }))
            .collect();
        let row = SlowlogKept { entries: shapes.len() as u64, last_id: newest };
        cx.may_send()?;
        let now = (cx.world.clock)();
        let keep =
            cx.store()?.slowlog_keep(cx.caller()?, &cx.operation.id, &id, (row, &shapes), now);
        keep.await.map_err(|e| ActError::Retry(e.to_string()))?;
    }
    conn.send(&["SLOWLOG", "RESET"]).await?;
    Ok(())
}

async fn saved(cx: &Cx<'_>) -> Seen {
    let id = node(cx)?;
    let mut conn = Conn::dial(cx, &id).await?;
    let facts = facts(&mut conn).await?;
    let get = |field| facts.values.get(field).unwrap_or_default();
    if get(Field::RdbBgsaveInProgress) != 0.0 {
        // Somebody's; ours is scheduled behind it at worst.
        return Ok(match cx.step.attempt {
            0 => Observed::NotYet(format!("{id} is saving already")),
            _ => Observed::Unknown(format!("{id} is saving")),
        });
    }
    let before = cx.step.args["saved_at"].as_f64().unwrap_or_default();
    let saved_at = get(Field::RdbLastSaveTime);
    if cx.step.attempt > 0 && get(Field::RdbLastBgsaveStatus) == 0.0 {
        return Ok(Observed::Other(format!("{id}: the last BGSAVE failed")));
    }
    Ok(match saved_at > before {
        true => Observed::Wished(json!({ "saved_at": saved_at })),
        false => Observed::NotYet(format!("{id} was last saved at {saved_at}")),
    })
}

async fn save(cx: &Cx<'_>) -> Result<(), ActError> {
    let mut conn = Conn::dial(cx, &node(cx)?).await?;
    a_later_second(cx, &mut conn).await?;
    conn.send_within(&["BGSAVE", "SCHEDULE"], LONG).await?;
    Ok(())
}

/// Waits until the server's clock has left the second of the save before: its time is told in whole
/// seconds, and a save within the same one would never be seen to have ended.
async fn a_later_second(cx: &Cx<'_>, conn: &mut Conn<'_>) -> Result<(), ActError> {
    let before = cx.step.args["saved_at"].as_f64().unwrap_or_default();
    for _ in 0..CLOCK_LOOKS {
        let told = match conn.ask(&["TIME"]).await {
            Ok(clock) => reply::items(&clock).and_then(|t| reply::number(t.first()?)),
            // Who may not ask for the time waits for the time-out of the step at worst.
            Err(Trouble::Refused(_)) => None,
            Err(e) => return Err(e.into()),
        };
        if told.is_none_or(|seconds| seconds > before) {
            return Ok(());
        }
        tokio::time::sleep(CLOCK_PAUSE).await;
    }
    Ok(())
}
