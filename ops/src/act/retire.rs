//! A data node goes for good: not to be promoted any more, clients sent away, ended, blanked, released.
//!
//! Invariants: a master that others follow, or that owns slots, is never ended; a node that was ended
//! here cannot come back as what it was, whoever starts it: its data and its ties are gone before
//! anybody is told to forget it.

use link::reply::{self, role::RoleReply};
use model::service::Mode;
use serde_json::json;

use super::cast::{look, mode};
use super::conn::{Conn, Trouble};
use super::create::observed;
use super::recycle::{end, provider, state, target};
use super::{ActError, Cx, Observed};

/// The setting that keeps a replica from being promoted, and the value that does.
fn bench(cx: &Cx<'_>) -> (&'static str, &'static str) {
    match mode(cx) {
        Some(Mode::Cluster) => ("cluster-replica-no-failover", "yes"),
        _ => ("replica-priority", "0"),
    }
}

/// Whether nobody will promote it, in the eyes of every Sentinel too.
pub(super) async fn observe_benched(cx: &Cx<'_>) -> Observed {
    let seen = async {
        let id = target(cx)?;
        let (setting, wished) = bench(cx);
        let has = Conn::dial(cx, &id).await?.config(setting).await?;
        if has != wished {
            return Ok(Observed::NotYet(format!("{id} has {setting} {has}")));
        }
        let now = look(cx).await.map_err(ActError::Retry)?;
        for (sentinel, watch) in now.watches() {
            let known = watch.replicas.iter().find(|r| r.address() == id.address());
            if known.is_some_and(|r| r.priority != 0) {
                return Ok(Observed::NotYet(format!("{sentinel} could still promote {id}")));
            }
        }
        Ok(Observed::Wished(json!({ setting: has })))
    };
    seen.await.unwrap_or_else(observed)
}

pub(super) async fn apply_benched(cx: &Cx<'_>) -> Result<(), ActError> {
    let (id, (setting, wished)) = (target(cx)?, bench(cx));
    let mut conn = Conn::dial(cx, &id).await?;
    if let RoleReply::Master { .. } = conn.role().await? {
        return Err(ActError::Failed(format!("{id} is a master now: switch over first")));
    }
    if conn.config(setting).await? != wished {
        conn.send(&["CONFIG", "SET", setting, wished]).await?;
    }
    Ok(())
}

pub(super) async fn undo_benched(cx: &Cx<'_>) -> Result<(), ActError> {
    let (id, (setting, _)) = (target(cx)?, bench(cx));
    let saved = cx.arg("saved")?;
    let mut conn = match Conn::dial(cx, &id).await {
        Ok(conn) => conn,
        // The set value was in its memory only.
        Err(Trouble::Gone(why)) => {
            cx.journal.note(format!("nothing to restore: {why}"));
            return Ok(());
        }
        Err(other) => return Err(other.into()),
    };
    if conn.config(setting).await? != saved {
        conn.send(&["CONFIG", "SET", setting, saved]).await?;
    }
    Ok(())
}

/// Whether it is ended and blanked. No provider tells what is in a file, so after a crash it is
/// blanked once more.
pub(super) async fn observe(cx: &Cx<'_>) -> Observed {
    let seen = async {
        let id = target(cx)?;
        let state = state(cx, &id).await?;
        if state.running {
            return Ok(Observed::NotYet(format!("{id} runs")));
        }
        let memo = cx.memo.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(match state.exists && memo["blanked"].is_null() {
            true => Observed::NotYet(format!("the files of {id} are not blanked")),
            false => Observed::Wished(json!({ "running": false })),
        })
    };
    seen.await.unwrap_or_else(observed)
}

pub(super) async fn apply(cx: &Cx<'_>) -> Result<(), ActError> {
    let id = target(cx)?;
    let (provider, at) = provider(cx, &id)?;
    if state(cx, &id).await?.running {
        let mut conn = Conn::dial_new(cx, &id).await?;
        idle(cx, &mut conn).await?;
        match conn.send(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await {
            Ok(_) | Err(Trouble::Refused(_)) => {}
            Err(other) => return Err(other.into()),
        }
        drop(conn);
        end(cx, &id, "NOSAVE").await?;
    }
    cx.command(&id, format!("provider blank {}", at.address))?;
    provider.blank(&at).await.map_err(|e| ActError::Retry(e.to_string()))?;
    let mut memo = cx.memo.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    *memo = json!({ "blanked": true });
    Ok(())
}

/// It is a replica, or a master of a cluster without slots and keys, as the plan said.
async fn idle(cx: &Cx<'_>, conn: &mut Conn<'_>) -> Result<(), ActError> {
    let RoleReply::Master { .. } = conn.role().await? else { return Ok(()) };
    let id = conn.id.clone();
    if cx.step.args["role"].as_str() != Some("master") {
        return Err(ActError::Failed(format!("{id} is a master now: switch over first")));
    }
    let slots = super::member::view(conn).await?;
    let own = slots.iter().find(|n| n.flags.iter().any(|f| f == "myself"));
    let keys = reply::number(&conn.ask(&["DBSIZE"]).await?);
    match (own.map(|n| n.slots.len()), keys) {
        (Some(0), Some(0.0)) => Ok(()),
        (slots, keys) => {
            let why = format!("{id} still has {slots:?} ranges of slots and {keys:?} keys");
            Err(ActError::Failed(why))
        }
    }
}

/// Until it is ended nothing happened to its data, and it goes on as it was; behind that its data is
/// gone, and the step is one of no return.
pub(super) async fn undo(cx: &Cx<'_>) -> Result<(), ActError> {
    let id = target(cx)?;
    match state(cx, &id).await?.running {
        true => Ok(()),
        false => Err(ActError::Failed(format!("{id} is ended and blanked: add a replica instead"))),
    }
}

/// Whether nothing of it is left at its provider.
pub(super) async fn observe_released(cx: &Cx<'_>) -> Observed {
    let seen = async {
        let id = target(cx)?;
        Ok(match state(cx, &id).await?.exists {
            true => Observed::NotYet(format!("the provider still has {id}")),
            false => Observed::Wished(json!({ "exists": false })),
        })
    };
    seen.await.unwrap_or_else(observed)
}

pub(super) async fn apply_released(cx: &Cx<'_>) -> Result<(), ActError> {
    let id = target(cx)?;
    let (provider, at) = provider(cx, &id)?;
    cx.command(&id, format!("provider release {}", at.address))?;
    provider.release(&at).await.map_err(|e| ActError::Retry(e.to_string()))
}
