//! A node's data set as a file: saved by the server, copied, checked, recorded.
//!
//! Invariants: the file that is kept was written behind the moment the operation asked for it; it is
//! recorded only when its hash is known and the engine's own checker read it to its end; what an
//! operation kept and did not record is removed by its undo.

use std::path::PathBuf;
use std::time::Duration;

use link::reply;
use model::At;
use model::backup::Backup;
use serde_json::{Value, json};

use super::cast::look;
use super::conn::{Conn, Trouble};
use super::create::observed;
use super::recycle::{provider, target};
use super::{ActError, Cx, Observed};
use crate::provider::{Checked, Copied};

/// Between two requests to save, while an earlier save runs.
const BUSY_EVERY: Duration = Duration::from_millis(500);

/// Name of a figure about the step's shard.
fn figure(cx: &Cx<'_>, what: &str) -> String {
    format!("{what} of shard {}", cx.step.args["shard"])
}

fn noted<'a>(cx: &'a Cx<'_>, what: &str) -> &'a Value {
    &cx.operation.outcome[figure(cx, what)]
}

/// Where the file is kept: the plan says the folder, the operation names the rest.
fn path(cx: &Cx<'_>) -> Result<PathBuf, ActError> {
    let dir = PathBuf::from(cx.arg("dir")?);
    Ok(dir.join(format!("{}-{}.rdb", cx.operation.id, cx.step.args["shard"])))
}

async fn persistence(
    conn: &mut Conn<'_>,
) -> Result<impl Fn(&str) -> Option<String> + use<>, ActError> {
    let value = conn.ask(&["INFO", "persistence"]).await?;
    let raw = reply::bytes(&value).unwrap_or_default().to_vec();
    Ok(move |name: &str| reply::info::text(&raw, name).map(str::to_string))
}

/// Whether a save that began when we asked, or later, has ended well.
pub(super) async fn observe_saved(cx: &Cx<'_>) -> Observed {
    let seen = async {
        let id = target(cx)?;
        let began = noted(cx, "save")["at_s"].as_u64().or_else(|| asked_in_this_run(cx));
        let Some(began) = began else {
            return Ok(Observed::NotYet(format!("{id} was not asked to save")));
        };
        let said = persistence(&mut Conn::dial(cx, &id).await?).await?;
        if said("rdb_bgsave_in_progress").as_deref() != Some("0") {
            return Ok(Observed::NotYet(format!("{id} saves")));
        }
        let saved = said("rdb_last_save_time").and_then(|s| s.parse::<u64>().ok()).unwrap_or(0);
        if saved < began {
            return Ok(Observed::NotYet(format!("{id} has saved at {saved}, asked at {began}")));
        }
        Ok(match said("rdb_last_bgsave_status").as_deref() {
            Some("ok") => Observed::Wished(json!({ "saved_at_s": saved })),
            other => Observed::Other(format!("the save of {id} ended {other:?}")),
        })
    };
    seen.await.unwrap_or_else(observed)
}

/// What is not written down yet.
fn asked_in_this_run(cx: &Cx<'_>) -> Option<u64> {
    cx.memo.lock().unwrap_or_else(std::sync::PoisonError::into_inner).as_u64()
}

pub(super) async fn apply_saved(cx: &Cx<'_>) -> Result<(), ActError> {
    let id = target(cx)?;
    let now = look(cx).await.map_err(ActError::Retry)?;
    let node = now.node(&id).ok_or_else(|| ActError::Retry(format!("{id} does not answer")))?;
    let mut conn = Conn::dial(cx, &id).await?;
    let clock = conn.ask(&["TIME"]).await?;
    let at_s = reply::items(&clock).and_then(|t| reply::number(t.first()?));
    let at_s = at_s.ok_or_else(|| ActError::Retry(format!("{id}: TIME is not readable")))?;
    loop {
        match conn.send(&["BGSAVE", "SCHEDULE"]).await {
            Ok(_) => break,
            // One runs already: it began too early, so it is waited for.
            Err(Trouble::Refused(why)) if why.contains("in progress") => cx.journal.note(why),
            Err(other) => return Err(other.into()),
        }
        tokio::time::sleep(BUSY_EVERY).await;
    }
    let view = node.cluster.as_ref();
    let up = node.master.as_deref().unwrap_or(id.address());
    let line = view.and_then(|v| v.nodes.iter().find(|n| n.address == up));
    *cx.memo.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = json!(at_s as u64);
    cx.journal.figure(
        &figure(cx, "save"),
        json!({
            "at_s": at_s as u64,
            "replid": node.facts.text.master_replid,
            "offset": node.offset.max(0.0) as u64,
            "version": node.facts.text.version,
            "slots": line.map(|n| n.slots.clone()).unwrap_or_default(),
        }),
    );
    Ok(())
}

/// Whether the copy lies there and its hash and keys are known.
pub(super) fn observe_kept(cx: &Cx<'_>) -> Observed {
    let path = match path(cx) {
        Ok(path) => path,
        Err(e) => return observed(e),
    };
    let known = noted(cx, "file").is_object() || cx.journal.has_figure(&figure(cx, "file"));
    match known && path.is_file() {
        true => Observed::Wished(json!({ "path": path })),
        false => Observed::NotYet(format!("{} is not there yet", path.display())),
    }
}

pub(super) async fn apply_kept(cx: &Cx<'_>) -> Result<(), ActError> {
    let (id, path) = (target(cx)?, path(cx)?);
    let (provider, at) = provider(cx, &id)?;
    let name = Conn::dial(cx, &id).await?.config("dbfilename").await?;
    let dir = cx.arg("dir")?;
    std::fs::create_dir_all(dir).map_err(|e| ActError::Failed(format!("{dir}: {e}")))?;
    cx.command(&id, format!("provider fetch {name} to {}", path.display()))?;
    let copied: Copied =
        provider.fetch(&at, &name, &path).await.map_err(|e| ActError::Retry(e.to_string()))?;
    cx.command(&id, format!("provider check {}", path.display()))?;
    let Checked { keys, expires, .. } =
        provider.check_rdb(&at, &path).await.map_err(|e| ActError::Failed(e.to_string()))?;
    cx.journal.figure(
        &figure(cx, "file"),
        json!({ "bytes": copied.bytes, "sha256": copied.sha256, "keys": keys, "expires": expires }),
    );
    Ok(())
}

pub(super) fn undo_kept(cx: &Cx<'_>) -> Result<(), ActError> {
    let path = path(cx)?;
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(ActError::Retry(format!("{}: {e}", path.display())))
        }
        _ => Ok(()),
    }
}

fn id(cx: &Cx<'_>) -> String {
    format!("{}/{}", cx.operation.id, cx.step.args["shard"])
}

/// Whether the store has the manifest.
pub(super) async fn observe_recorded(cx: &Cx<'_>) -> Observed {
    let store = match cx.tree() {
        Ok((store, _)) => store,
        Err(e) => return observed(e),
    };
    match store.backup_find(&id(cx)).await {
        Ok(Some(kept)) => Observed::Wished(json!({ "id": kept.id, "sha256": kept.sha256 })),
        Ok(None) => Observed::NotYet("the manifest is not written yet".into()),
        Err(e) => Observed::Unknown(e.to_string()),
    }
}

pub(super) async fn apply_recorded(cx: &Cx<'_>) -> Result<(), ActError> {
    let (save, file) = (noted(cx, "save"), noted(cx, "file"));
    let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
    let number = |v: &Value| v.as_u64().unwrap_or_default();
    let shard = cx.step.args["shard"].as_u64().and_then(|n| u32::try_from(n).ok());
    let backup = Backup {
        id: id(cx),
        operation_id: cx.operation.id.clone(),
        service: cx.operation.service.clone(),
        shard: shard.unwrap_or_default(),
        instance: target(cx)?,
        path: path(cx)?.display().to_string(),
        bytes: number(&file["bytes"]),
        sha256: text(&file["sha256"]),
        keys: number(&file["keys"]),
        expires: number(&file["expires"]),
        engine_version: text(&save["version"]),
        replid: text(&save["replid"]),
        repl_offset: number(&save["offset"]),
        slots: serde_json::from_value(save["slots"].clone()).unwrap_or_default(),
        taken_at: At::from_ms(save["at_s"].as_i64().unwrap_or_default() * 1000),
    };
    if backup.sha256.is_empty() {
        return Err(ActError::Failed("the file's hash is not known".into()));
    }
    cx.command(&backup.instance, format!("manifest {}", backup.id))?;
    let (store, caller) = cx.tree()?;
    let put = store.backup_put(caller, &backup, (cx.world.clock)()).await;
    put.map_err(|e| ActError::Retry(e.to_string()))
}

pub(super) async fn undo_recorded(cx: &Cx<'_>) -> Result<(), ActError> {
    let (store, caller) = cx.tree()?;
    let struck = store.backup_strike(caller, &id(cx), (cx.world.clock)()).await;
    struck.map_err(|e| ActError::Retry(e.to_string()))
}

/// Whether the node runs in another process and holds what the manifest says.
pub(super) async fn observe_restored(cx: &Cx<'_>) -> Observed {
    let seen = async {
        let id = target(cx)?;
        let state = super::recycle::state(cx, &id).await?;
        if !state.running
            || Some(state.incarnation.as_str()) == cx.step.args["incarnation"].as_str()
        {
            return Ok(Observed::NotYet(format!("{id} was not started with the file yet")));
        }
        let mut conn = match Conn::dial(cx, &id).await {
            Ok(conn) => conn,
            Err(trouble) => return Ok(Observed::NotYet(trouble.to_string())),
        };
        let size = match conn.ask(&["DBSIZE"]).await {
            Ok(value) => reply::number(&value).unwrap_or(-1.0),
            Err(trouble) => return Ok(Observed::NotYet(trouble.to_string())),
        };
        let number = |name: &str| cx.step.args[name].as_f64().unwrap_or_default();
        let (keys, expires) = (number("keys"), number("expires"));
        // Keys with a time to live may have ended since.
        Ok(match (keys - expires..=keys).contains(&size) {
            true => Observed::Wished(json!({ "keys": size, "of": keys })),
            false => Observed::NotYet(format!("{id} holds {size} keys, the backup has {keys}")),
        })
    };
    seen.await.unwrap_or_else(observed)
}

/// The order matters: an append-only file would hide the RDB file, and a server that ends by itself
/// would write over it.
pub(super) async fn apply_restored(cx: &Cx<'_>) -> Result<(), ActError> {
    let id = target(cx)?;
    let (provider, at) = provider(cx, &id)?;
    let was = super::recycle::state(cx, &id).await?;
    if was.running {
        let mut conn = Conn::dial(cx, &id).await?;
        let size = reply::number(&conn.ask(&["DBSIZE"]).await?);
        let same = Some(was.incarnation.as_str()) == cx.step.args["incarnation"].as_str();
        if same && size != Some(0.0) {
            return Err(ActError::Failed(format!(
                "{id} holds {size:?} keys: it is not empty any more"
            )));
        }
        conn.send(&["CONFIG", "SET", "appendonly", "no"]).await?;
        conn.send(&["CONFIG", "REWRITE"]).await?;
        drop(conn);
        super::recycle::end(cx, &id, "NOSAVE").await?;
    }
    cx.command(&id, format!("provider clear {}", at.address))?;
    provider.clear(&at).await.map_err(|e| ActError::Retry(e.to_string()))?;
    let (from, name) = (PathBuf::from(cx.arg("path")?), cx.arg("file")?);
    cx.command(&id, format!("provider place {name} from {}", from.display()))?;
    let placed = provider.place(&at, name, &from).await;
    let placed = placed.map_err(|e| ActError::Failed(e.to_string()))?;
    if placed.sha256 != cx.arg("sha256")? {
        let (has, wants) = (placed.sha256, cx.arg("sha256")?);
        return Err(ActError::Failed(format!(
            "{}: sha256 {has}, recorded {wants}",
            from.display()
        )));
    }
    super::recycle::start(cx, &id).await
}

/// Empty again, as it was.
pub(super) async fn undo_restored(cx: &Cx<'_>) -> Result<(), ActError> {
    let id = target(cx)?;
    let (provider, at) = provider(cx, &id)?;
    if super::recycle::state(cx, &id).await?.running {
        super::recycle::end(cx, &id, "NOSAVE").await?;
    }
    provider.clear(&at).await.map_err(|e| ActError::Retry(e.to_string()))?;
    super::recycle::start(cx, &id).await
}

/// Whether it appends to a file again, when it did before.
pub(super) async fn observe_appending(cx: &Cx<'_>) -> Observed {
    let seen = async {
        let id = target(cx)?;
        let mut conn = Conn::dial(cx, &id).await?;
        if conn.config("appendonly").await? != cx.arg("appendonly")? {
            return Ok(Observed::NotYet(format!("{id} has appendonly off")));
        }
        let said = persistence(&mut conn).await?;
        let busy = ["aof_rewrite_in_progress", "aof_rewrite_scheduled"];
        Ok(match busy.iter().any(|name| said(name).as_deref() == Some("1")) {
            true => Observed::NotYet(format!("{id} writes its append-only file")),
            false => Observed::Wished(json!({ "appendonly": cx.arg("appendonly")? })),
        })
    };
    seen.await.unwrap_or_else(observed)
}

pub(super) async fn apply_appending(cx: &Cx<'_>) -> Result<(), ActError> {
    let mut conn = Conn::dial(cx, &target(cx)?).await?;
    conn.send(&["CONFIG", "SET", "appendonly", cx.arg("appendonly")?]).await?;
    conn.send(&["CONFIG", "REWRITE"]).await?;
    Ok(())
}
