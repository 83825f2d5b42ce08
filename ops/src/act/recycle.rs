//! A living node ends and starts again, perhaps with another program: settings written down, data
//! saved, the process replaced.
//!
//! Invariants: a master that has replicas is never ended here; the process is known by its
//! incarnation, so it is replaced once whatever is repeated; a program is taken back only from a
//! replica, whose data its master has.

use std::time::Duration;

use link::reply::role::RoleReply;
use model::InstanceId;
use serde_json::json;

use super::conn::{Conn, Trouble};
use super::steer::rewrite_file;
use super::{ActError, Cx, Observed};
use crate::provider::{Control, NodeRef, NodeState, Provider};

/// Between two looks at a process that ends: saving takes seconds per GB.
const END_EVERY: Duration = Duration::from_millis(50);
/// Share of the step's time the server has to save and end by itself.
const END_SHARE: u32 = 2;
/// SHUTDOWN answers only when it refuses.
const SHUTDOWN_CALL: Duration = Duration::from_millis(700);
/// A server that was told and still runs is ended like that.
const STOP_GRACE_MS: u64 = 10_000;

/// The instance a step is about.
pub(super) fn target(cx: &Cx<'_>) -> Result<InstanceId, ActError> {
    cx.step.target.parse().map_err(|e: model::id::BadId| ActError::Failed(e.to_string()))
}

/// The provider of the step's host (argument `host`) and the node as it knows it. Not through the
/// instance: it may not be in the inventory yet, or any more.
pub(super) fn provider(cx: &Cx<'_>, id: &InstanceId) -> Result<(Provider, NodeRef), ActError> {
    let host = cx.arg("host")?;
    let host = host.parse().map_err(|e: model::id::BadId| ActError::Failed(e.to_string()))?;
    let inventory = (cx.world.inventory)();
    let found = cx.world.providers.on_host(&inventory, &host);
    let found = found.map_err(|refusal| ActError::Failed(refusal.to_string()))?;
    Ok((found.clone(), NodeRef::of(id)))
}

/// What the provider knows of the step's node.
pub(super) async fn state(cx: &Cx<'_>, id: &InstanceId) -> Result<NodeState, ActError> {
    let (provider, at) = provider(cx, id)?;
    provider.observe(&at).await.map_err(|e| ActError::Retry(e.to_string()))
}

pub(super) async fn observe(cx: &Cx<'_>) -> Observed {
    let seen = async {
        let id = target(cx)?;
        Ok((state(cx, &id).await?, id))
    };
    let (state, id) = match seen.await {
        Ok(seen) => seen,
        Err(ActError::Retry(why)) => return Observed::Unknown(why),
        Err(ActError::Failed(why)) => return Observed::Other(why),
    };
    if !state.exists {
        return Observed::Other(format!("its provider has no node {}", id.address()));
    }
    judge(&id, &state, cx.step.args["incarnation"].as_str(), cx.step.args["program"].as_str())
}

fn judge(id: &InstanceId, state: &NodeState, was: Option<&str>, wished: Option<&str>) -> Observed {
    let old = Some(state.incarnation.as_str()) == was;
    let program = state.program.display().to_string();
    match (state.running, old, wished) {
        (true, true, _) => Observed::NotYet(format!("{id} still runs in its old process")),
        (false, ..) => Observed::NotYet(format!("{id} does not run")),
        (true, false, Some(wished)) if wished != program => {
            Observed::NotYet(format!("{id} was started again, with {program}"))
        }
        (true, false, _) => Observed::Wished(json!({
            "pid": state.pid, "incarnation": state.incarnation, "program": program
        })),
    }
}

pub(super) async fn apply(cx: &Cx<'_>) -> Result<(), ActError> {
    let id = target(cx)?;
    let wished = cx.step.args["program"].as_str();
    let was = state(cx, &id).await?;
    if let Observed::NotYet(_) = judge(&id, &was, cx.step.args["incarnation"].as_str(), wished)
        && was.running
    {
        end(cx, &id, "SAVE").await?;
    }
    let (provider, at) = provider(cx, &id)?;
    if let Some(program) = wished.filter(|p| **p != *was.program.display().to_string()) {
        cx.command(&id, format!("provider install {program}"))?;
        let installed = provider.install(&at, program.as_ref()).await;
        installed.map_err(|e| ActError::Failed(e.to_string()))?;
    }
    start(cx, &id).await
}

pub(super) async fn start(cx: &Cx<'_>, id: &InstanceId) -> Result<(), ActError> {
    let (provider, at) = provider(cx, id)?;
    cx.command(id, format!("provider start {}", at.address))?;
    let key = format!("{}/{}", cx.operation.id, cx.step.seq);
    let started = provider.control(&at, Control::Start, &key).await;
    started.map_err(|e| ActError::Retry(e.to_string()))
}

/// Ends the server by its own means and waits until its process is gone.
pub(super) async fn end(cx: &Cx<'_>, id: &InstanceId, how: &str) -> Result<(), ActError> {
    match Conn::dial_new(cx, id).await {
        Ok(mut conn) => shut_down(cx, &mut conn, how).await?,
        Err(Trouble::Gone(_)) => {}
        Err(other) => return Err(other.into()),
    }
    if gone(cx, id, cx.left() / END_SHARE).await? {
        return Ok(());
    }
    let (provider, at) = provider(cx, id)?;
    cx.command(id, format!("provider stop {}", at.address))?;
    let stop = Control::Stop { grace_ms: STOP_GRACE_MS };
    let stopped = provider.control(&at, stop, &cx.operation.id).await;
    stopped.map_err(|e| ActError::Retry(e.to_string()))
}

async fn shut_down(cx: &Cx<'_>, conn: &mut Conn<'_>, how: &str) -> Result<(), ActError> {
    let is_sentinel = match conn.role().await? {
        RoleReply::Master { .. } if has_replicas(conn).await? => {
            let why = format!("{} is a master others follow: it is not ended", conn.id);
            return Err(ActError::Failed(why));
        }
        RoleReply::Sentinel(_) => true,
        _ => false,
    };
    if is_sentinel {
        conn.send(&["SENTINEL", "FLUSHCONFIG"]).await?;
    } else if how == "SAVE" {
        rewrite_file(cx, conn).await?;
    }
    let words: &[&str] = if is_sentinel { &["SHUTDOWN"] } else { &["SHUTDOWN", how] };
    cx.command(&conn.id, words.join(" "))?;
    match conn.send_masked(words, &words.join(" "), SHUTDOWN_CALL).await {
        // A disk that cannot take the file: what is lost by that is a full synchronisation.
        Err(Trouble::Refused(why)) if how == "SAVE" => {
            cx.journal.note(format!("{why}: ended without saving, it copies its master again"));
            match conn.send(&["SHUTDOWN", "NOSAVE"]).await {
                Err(Trouble::Refused(why)) => Err(ActError::Failed(why)),
                _ => Ok(()),
            }
        }
        Err(Trouble::Refused(why)) => Err(ActError::Failed(why)),
        Err(Trouble::Barred(error)) => Err(error),
        _ => Ok(()),
    }
}

async fn has_replicas(conn: &mut Conn<'_>) -> Result<bool, Trouble> {
    let value = conn.ask(&["INFO", "replication"]).await?;
    let raw = link::reply::bytes(&value).unwrap_or_default();
    Ok(link::reply::info::text(raw, "connected_slaves").is_some_and(|n| n != "0"))
}

/// Whether the process is gone within that time.
pub(super) async fn gone(cx: &Cx<'_>, id: &InstanceId, within: Duration) -> Result<bool, ActError> {
    let end = std::time::Instant::now() + within;
    loop {
        if !state(cx, id).await?.running {
            return Ok(true);
        }
        if std::time::Instant::now() >= end {
            return Ok(false);
        }
        cx.may_send()?;
        tokio::time::sleep(END_EVERY).await;
    }
}

/// A plain restart leaves nothing to take back. Another program is taken back as long as the node is
/// a replica: what the newer one wrote, the older one may not be able to read, so it copies anew.
pub(super) async fn undo(cx: &Cx<'_>) -> Result<(), ActError> {
    let (Some(new), Some(old)) = (cx.step.args["program"].as_str(), cx.step.args["was"].as_str())
    else {
        cx.journal.note("nothing is undone: a restarted node is as it was");
        return Ok(());
    };
    let id = target(cx)?;
    let now = state(cx, &id).await?;
    let (provider, at) = provider(cx, &id)?;
    if now.program.display().to_string() == new {
        if now.running {
            let mut conn = Conn::dial_new(cx, &id).await?;
            if let RoleReply::Master { .. } = conn.role().await? {
                let why = format!("{id} is a master on {new}: its data goes back by export only");
                return Err(ActError::Failed(why));
            }
            drop(conn);
            end(cx, &id, "NOSAVE").await?;
        }
        if cx.step.args["role"].as_str() == Some("replica") {
            cx.command(&id, format!("provider clear {}", at.address))?;
            provider.clear(&at).await.map_err(|e| ActError::Retry(e.to_string()))?;
        }
        cx.command(&id, format!("provider install {old}"))?;
        let back = provider.install(&at, old.as_ref()).await;
        back.map_err(|e| ActError::Failed(e.to_string()))?;
    }
    start(cx, &id).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_process_of_the_wished_program_is_as_wished() {
        let id: InstanceId = "pay.cart@10.0.0.1:1".parse().unwrap();
        let state = |running: bool, incarnation: &str, program: &str| NodeState {
            exists: true,
            running,
            pid: running.then_some(1),
            incarnation: incarnation.into(),
            address: id.address().into(),
            program: program.into(),
            exit: None,
        };
        let judged = |s: NodeState, wished| {
            matches!(judge(&id, &s, Some("1-1"), wished), Observed::Wished(_))
        };
        assert!(!judged(state(true, "1-1", "/a"), None), "the old process");
        assert!(!judged(state(false, "", "/a"), None), "no process");
        assert!(judged(state(true, "2-9", "/a"), None));
        assert!(!judged(state(true, "2-9", "/a"), Some("/b")), "crashed before the install");
        assert!(judged(state(true, "2-9", "/b"), Some("/b")));
    }
}
