//! The acts of `param_change`: set a node's parameters, lower its memory, keep the wish, see it
//! everywhere.
//!
//! Invariants: a node is as wished only when its running values *and*, where it can be read, its file
//! say so; a value that is neither the saved nor the wished one is somebody else's and ends the
//! operation; the undo restores the saved values and their file.

use std::collections::BTreeMap;
use std::time::Duration;

use link::reply;
use model::InstanceId;
use model::parameter::DesiredParameter;
use model::service::{InstanceKind, Service};
use serde::Deserialize;
use serde_json::{Value, json};

use super::conn::{Conn, Trouble};
use super::{ActError, Cx, Observed};
use crate::fault;
use crate::params::Param;
use crate::params::look::{self, Seen};

/// Longest look at one node: settings and file.
const LOOK_MAX: Duration = Duration::from_secs(3);

/// Arguments of `set` and `lower`.
#[derive(Debug, Deserialize)]
struct Args {
    set: BTreeMap<String, String>,
    saved: BTreeMap<String, String>,
    /// Name of the master at the Sentinel to be set; none: a data node.
    sentinel: Option<String>,
    /// Whether the node has a file to keep it in.
    file: bool,
    /// How long the value has to stand before the next one.
    pause_ms: i64,
}

/// Arguments of `desired`.
#[derive(Debug, Deserialize)]
struct Kept {
    set: BTreeMap<String, String>,
    before: Vec<DesiredParameter>,
    volatile: Vec<InstanceId>,
}

fn args<T: serde::de::DeserializeOwned>(cx: &Cx<'_>) -> Result<T, ActError> {
    serde_json::from_value(cx.step.args.clone())
        .map_err(|e| ActError::Failed(format!("the arguments of step {}: {e}", cx.step.kind)))
}

fn node(cx: &Cx<'_>) -> Result<InstanceId, ActError> {
    cx.step.target.parse().map_err(|e: model::id::BadId| ActError::Failed(e.to_string()))
}

pub(super) async fn observe(cx: &Cx<'_>) -> Observed {
    let seen = match cx.step.kind.as_str() {
        "desired" => kept(cx).await,
        "agree" => agree(cx).await,
        _ => node_seen(cx).await,
    };
    match seen {
        Ok(observed) => observed,
        Err(ActError::Failed(why)) => Observed::Other(why),
        Err(ActError::Retry(why)) => Observed::Unknown(why),
    }
}

pub(super) async fn apply(cx: &Cx<'_>) -> Result<(), ActError> {
    match cx.step.kind.as_str() {
        "desired" => keep(cx).await,
        "agree" => Ok(()),
        _ => {
            let args: Args = args(cx)?;
            bring(cx, &args.set, &args).await
        }
    }
}

pub(super) async fn undo(cx: &Cx<'_>) -> Result<(), ActError> {
    match cx.step.kind.as_str() {
        "desired" => forget(cx).await,
        "agree" => Ok(()),
        _ => {
            let args: Args = args(cx)?;
            bring(cx, &args.saved, &args).await
        }
    }
}

fn service(cx: &Cx<'_>) -> Result<Service, ActError> {
    let inventory = (cx.world.inventory)();
    let found = inventory.services.get(&cx.operation.service).cloned();
    found.ok_or_else(|| ActError::Failed("the service is not in the inventory any more".into()))
}

async fn look(cx: &Cx<'_>, id: &InstanceId, sentinel: bool) -> Result<Seen, ActError> {
    let kind = if sentinel { InstanceKind::Sentinel } else { InstanceKind::Redis };
    let end = std::time::Instant::now() + LOOK_MAX;
    Ok(look::node(cx.world, &service(cx)?, id, kind, end).await)
}

async fn node_seen(cx: &Cx<'_>) -> Result<Observed, ActError> {
    let args: Args = args(cx)?;
    let seen = look(cx, &node(cx)?, args.sentinel.is_some()).await?;
    let observed = judge(&seen, &args);
    Ok(match observed {
        Observed::Wished(value) => settled(cx, &args, value),
        other => {
            forget_since(cx);
            other
        }
    })
}

/// What one node shows of its wishes; pure.
fn judge(seen: &Seen, args: &Args) -> Observed {
    let running = match &seen.running {
        Ok(running) => running,
        Err(why) => return Observed::Unknown(format!("{}: {why}", seen.id)),
    };
    let mut open = Vec::new();
    for (name, wished) in &args.set {
        let Some(param) = Param::find(name) else {
            return Observed::Other(format!("this program knows no parameter {name}"));
        };
        let Some(has) = running.get(param.name) else {
            return Observed::Other(format!("{} has no parameter {name}", seen.id));
        };
        let was = args.saved.get(name).is_some_and(|saved| param.same(has, saved));
        if !param.same(has, wished) {
            let said = format!("{} runs with {name} = {has:?}, wished {wished:?}", seen.id);
            match was {
                true => open.push(said),
                false => return Observed::Other(said),
            }
        }
    }
    open.extend(files_open(seen, args, &args.set));
    match open.is_empty() {
        true => Observed::Wished(json!({ "running": args.set, "file": file_word(seen, args) })),
        false => Observed::NotYet(open.join("; ")),
    }
}

/// What the file does not say yet; nothing where no file can be read.
fn files_open(seen: &Seen, args: &Args, wished: &BTreeMap<String, String>) -> Vec<String> {
    if !args.file || seen.file.is_err() {
        return Vec::new();
    }
    let said = |(name, wished): (&String, &String)| {
        let param = Param::find(name)?;
        let starts = seen.starts_with(param)?;
        let same = param.same(&starts, wished);
        (!same).then(|| format!("the file of {} says {name} = {starts:?}", seen.id))
    };
    wished.iter().filter_map(said).collect()
}

fn file_word(seen: &Seen, args: &Args) -> &'static str {
    match (args.file, &seen.file) {
        (false, _) => "volatile",
        (true, Ok(_)) => "read",
        (true, Err(_)) => "not read from here",
    }
}

/// A value that must stand for a while before the next one follows.
fn settled(cx: &Cx<'_>, args: &Args, value: Value) -> Observed {
    if args.pause_ms == 0 || cx.step.attempt == 0 {
        return Observed::Wished(value);
    }
    let now = (cx.world.clock)().ms();
    let mut memo = cx.memo.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let since = memo["since"].as_i64().unwrap_or(now);
    *memo = json!({ "since": since });
    match now - since {
        stood if stood >= args.pause_ms => Observed::Wished(value),
        stood => Observed::NotYet(format!("stands for {stood} of {} ms", args.pause_ms)),
    }
}

fn forget_since(cx: &Cx<'_>) {
    *cx.memo.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Value::Null;
}

/// Brings the node to `wished`: what differs in one command, then its file.
async fn bring(
    cx: &Cx<'_>,
    wished: &BTreeMap<String, String>,
    args: &Args,
) -> Result<(), ActError> {
    let id = node(cx)?;
    let seen = look(cx, &id, args.sentinel.is_some()).await?;
    let running = seen.running.as_ref().map_err(|why| ActError::Retry(format!("{id}: {why}")))?;
    let differs = |(name, wished): &(&String, &String)| {
        let param = Param::find(name);
        param.is_some_and(|p| running.get(p.name).is_none_or(|has| !p.same(has, wished)))
    };
    let open: Vec<(&String, &String)> = wished.iter().filter(differs).collect();
    let mut conn = Conn::dial(cx, &id).await?;
    if let Some(master) = &args.sentinel {
        // A Sentinel keeps its file by itself.
        for (name, value) in open {
            conn.send(&["SENTINEL", "SET", master, name, value]).await?;
        }
        return Ok(());
    }
    if !open.is_empty() {
        let mut command = vec!["CONFIG", "SET"];
        command.extend(open.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]));
        conn.send(&command).await?;
        let place = fault::place(cx.operation.kind, &format!("{}.running", cx.step.kind));
        fault::point(&place, "after").map_err(ActError::Retry)?;
    }
    if args.file {
        rewrite(&mut conn).await?;
    }
    Ok(())
}

/// CONFIG REWRITE; refused, the node would forget, and that is no success.
async fn rewrite(conn: &mut Conn<'_>) -> Result<(), Trouble> {
    let said = conn.send(&["CONFIG", "REWRITE"]).await?;
    match reply::bytes(&said) {
        Some(b"OK") => Ok(()),
        _ => Err(Trouble::Refused(format!("{}: CONFIG REWRITE was not answered OK", conn.id))),
    }
}

async fn kept(cx: &Cx<'_>) -> Result<Observed, ActError> {
    let wish: Kept = args(cx)?;
    let rows = cx.store()?.parameters(cx.caller()?, &cx.operation.service).await;
    let rows = rows.map_err(|e| ActError::Retry(e.to_string()))?;
    let has = |(name, value): (&String, &String)| {
        rows.iter().any(|r| r.name == *name && r.value == *value && r.operation == cx.operation.id)
    };
    Ok(match wish.set.iter().all(has) {
        true => Observed::Wished(json!({ "desired": wish.set })),
        false => Observed::NotYet("the wish is not kept yet".into()),
    })
}

async fn keep(cx: &Cx<'_>) -> Result<(), ActError> {
    let wish: Kept = args(cx)?;
    let now = (cx.world.clock)();
    let row = |(name, value): (String, String)| {
        let wished = DesiredParameter {
            name: name.clone(),
            value,
            volatile: wish.volatile.clone(),
            operation: cx.operation.id.clone(),
            at: now,
        };
        (name, Some(wished))
    };
    let rows: Vec<_> = wish.set.into_iter().map(row).collect();
    write(cx, &rows).await
}

async fn forget(cx: &Cx<'_>) -> Result<(), ActError> {
    let wish: Kept = args(cx)?;
    let row = |name: String| {
        let before = wish.before.iter().find(|d| d.name == name).cloned();
        (name, before)
    };
    let rows: Vec<_> = wish.set.into_keys().map(row).collect();
    write(cx, &rows).await
}

async fn write(cx: &Cx<'_>, rows: &[(String, Option<DesiredParameter>)]) -> Result<(), ActError> {
    cx.may_send()?;
    let (service, now) = (&cx.operation.service, (cx.world.clock)());
    cx.store()?
        .parameters_put(cx.caller()?, service, rows, now)
        .await
        .map_err(|e| ActError::Retry(e.to_string()))
}

/// Every node and every readable file at one time.
async fn agree(cx: &Cx<'_>) -> Result<Observed, ActError> {
    let wished: BTreeMap<String, String> = serde_json::from_value(cx.step.args["set"].clone())
        .map_err(|e| ActError::Failed(e.to_string()))?;
    let end = std::time::Instant::now() + LOOK_MAX;
    let mut nodes = 0;
    for seen in look::service(cx.world, &service(cx)?, end).await {
        let mine: BTreeMap<String, String> = wished
            .iter()
            .filter(|(n, _)| Param::find(n).is_some_and(|p| p.is_sentinels() == seen.is_sentinel))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect();
        let sentinel = seen.is_sentinel.then(String::new);
        let whole =
            Args { saved: mine.clone(), set: mine, sentinel, file: seen.has_file, pause_ms: 0 };
        match judge(&seen, &whole) {
            Observed::Wished(_) => nodes += 1,
            Observed::Other(why) => return Ok(Observed::NotYet(why)),
            other => return Ok(other),
        }
    }
    Ok(Observed::Wished(json!({ "nodes": nodes })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::id;
    use crate::params::{Engine, file};

    fn seen(running: &[(&'static str, &str)], text: Option<&str>) -> Seen {
        Seen {
            id: id(1, 6379),
            is_sentinel: false,
            engine: Some(Engine { valkey: false, version: (7, 0) }),
            has_file: true,
            running: Ok(running.iter().map(|(k, v)| (*k, v.to_string())).collect()),
            file: text.map(file::read).ok_or_else(|| "no provider".into()),
        }
    }

    fn wish() -> Args {
        let of = |v: &str| BTreeMap::from([("hz".to_string(), v.to_string())]);
        Args { set: of("20"), saved: of("10"), sentinel: None, file: true, pause_ms: 0 }
    }

    #[test]
    fn a_node_is_as_wished_only_with_its_file() {
        let done = |text| judge(&seen(&[("hz", "20")], text), &wish());
        assert!(matches!(done(Some("hz 20\n")), Observed::Wished(_)));
        assert!(matches!(done(None), Observed::Wished(_)), "no file can be read");
        assert!(matches!(done(Some("hz 10\n")), Observed::NotYet(_)));
        assert!(matches!(done(Some("")), Observed::NotYet(_)), "the default is 10");
    }

    #[test]
    fn a_value_that_is_neither_old_nor_new_is_somebody_elses() {
        assert!(matches!(judge(&seen(&[("hz", "10")], None), &wish()), Observed::NotYet(_)));
        assert!(matches!(judge(&seen(&[("hz", "33")], None), &wish()), Observed::Other(_)));
        assert!(matches!(judge(&seen(&[], None), &wish()), Observed::Other(_)));
    }
}
