//! A new data node: made with the settings of one that exists, started, attached, made electable.
//!
//! Invariants: secrets are read from the living node when they are needed and stand in no plan and no
//! journal; until it is in step it can never be promoted (priority 0); whatever was made is released
//! on undo, and Sentinels that had already heard of it forget it.

use link::reply::{self, role::RoleReply};
use model::InstanceId;
use model::service::Mode;
use serde_json::json;

use super::cast::{look, mode};
use super::conn::{Conn, Trouble};
use super::recycle::{provider, start, state, target};
use super::steer::rewrite_file;
use super::{ActError, Cx, Observed, forget};
use crate::provider::{Line, NodeKind, NodeSpec};

/// A replica this far behind will catch up by itself, bytes.
const LAG_BYTES_MAX: f64 = 1_048_576.0;
/// What a replica has when it may be promoted.
const PRIORITY: &str = "100";

/// Settings of one value that are copied from the node the new one is to be like.
const COPIED: [&str; 18] = [
    "maxmemory",
    "maxmemory-policy",
    "appendonly",
    "appendfsync",
    "maxclients",
    "timeout",
    "tcp-keepalive",
    "hz",
    "databases",
    "repl-backlog-size",
    "repl-diskless-sync",
    "repl-diskless-sync-delay",
    "slowlog-log-slower-than",
    "slowlog-max-len",
    "latency-monitor-threshold",
    "lazyfree-lazy-eviction",
    "min-replicas-to-write",
    "min-replicas-max-lag",
];
/// The same, of cluster nodes only.
const COPIED_IN_CLUSTER: [&str; 3] =
    ["cluster-node-timeout", "cluster-require-full-coverage", "cluster-allow-replica-migration"];

/// `Refused` and `Lost` in the engine's words.
pub(super) fn observed(error: ActError) -> Observed {
    match error {
        ActError::Retry(why) => Observed::Unknown(why),
        ActError::Failed(why) => Observed::Other(why),
    }
}

pub(super) async fn observe(cx: &Cx<'_>) -> Observed {
    match seen(cx).await {
        Ok(seen) => seen,
        Err(e) => observed(e),
    }
}

async fn seen(cx: &Cx<'_>) -> Result<Observed, ActError> {
    let id = target(cx)?;
    let state = state(cx, &id).await?;
    if !state.exists {
        return Ok(Observed::NotYet(format!("{id} is not made yet")));
    }
    if !state.running {
        return Ok(Observed::NotYet(format!("{id} does not run")));
    }
    let said = match Conn::dial_new(cx, &id).await {
        Ok(mut conn) => conn.ask(&["PING"]).await.map(drop),
        Err(trouble) => Err(trouble),
    };
    Ok(match said {
        Ok(()) => Observed::Wished(json!({ "pid": state.pid })),
        Err(trouble) => Observed::NotYet(trouble.to_string()),
    })
}

pub(super) async fn apply(cx: &Cx<'_>) -> Result<(), ActError> {
    let id = target(cx)?;
    let (provider, at) = provider(cx, &id)?;
    if !state(cx, &id).await?.exists {
        let like = cx.arg("like")?.parse();
        let like: InstanceId =
            like.map_err(|e: model::id::BadId| ActError::Failed(e.to_string()))?;
        let cluster = mode(cx) == Some(Mode::Cluster);
        let lines = lines(&mut Conn::dial(cx, &like).await?, cluster, cx).await?;
        let kind = if cluster { NodeKind::Cluster } else { NodeKind::Data };
        let program = cx.arg("program")?.into();
        let spec = NodeSpec { address: at.address.clone(), kind, lines, program };
        cx.command(&id, format!("provider create {} like {like}", at.address))?;
        provider.create(spec).await.map_err(|e| ActError::Failed(e.to_string()))?;
    }
    start(cx, &id).await
}

/// The configuration of a node like that one.
async fn lines(conn: &mut Conn<'_>, cluster: bool, cx: &Cx<'_>) -> Result<Vec<Line>, ActError> {
    let mut lines = Vec::new();
    let more: &[&str] = if cluster { &COPIED_IN_CLUSTER } else { &[] };
    for name in COPIED.iter().chain(more) {
        // One that server does not know is left out.
        if let Some(value) = value(conn, name).await?.filter(|v| !v.is_empty()) {
            lines.push(Line::new(name, [value]));
        }
    }
    let save = value(conn, "save").await?.unwrap_or_default();
    lines.extend(in_parts("save", &save, 2));
    let limits = value(conn, "client-output-buffer-limit").await?.unwrap_or_default();
    lines.extend(in_parts("client-output-buffer-limit", &limits, 4).filter(|_| !limits.is_empty()));
    for name in ["masteruser", "masterauth"] {
        if let Some(value) = value(conn, name).await?.filter(|v| !v.is_empty()) {
            lines.push(Line::new(name, [value]));
        }
    }
    lines.extend(users(conn).await?);
    if let (false, Some(follows)) = (cluster, cx.step.args["follows"].as_str()) {
        let (host, port) = model::id::split_address(follows)
            .ok_or_else(|| ActError::Failed(format!("{follows} is no host:port")))?;
        lines.push(Line::new("replicaof", [host.to_string(), port.to_string()]));
        lines.push(Line::new("replica-priority", ["0"]));
    }
    Ok(lines)
}

/// A setting as it stands, whole; none when the server has no such setting.
async fn value(conn: &mut Conn<'_>, name: &str) -> Result<Option<String>, Trouble> {
    let answer = conn.ask(&["CONFIG", "GET", name]).await?;
    let value = reply::items(&answer).and_then(|items| reply::bytes(items.get(1)?));
    Ok(value.map(|raw| String::from_utf8_lossy(raw).into_owned()))
}

/// `save "3600 1 300 100"` as a directive per pair; an empty one as `save ""`.
fn in_parts(name: &str, value: &str, words: usize) -> impl Iterator<Item = Line> {
    let all: Vec<String> = value.split_whitespace().map(str::to_string).collect();
    let mut parts: Vec<Vec<String>> = all.chunks(words).map(<[String]>::to_vec).collect();
    if parts.is_empty() {
        parts.push(vec![String::new()]);
    }
    let name = name.to_string();
    parts.into_iter().map(move |part| Line::new(&name, part))
}

/// Its accounts, passwords as hashes. Before Redis 6 there is only the one password.
async fn users(conn: &mut Conn<'_>) -> Result<Vec<Line>, Trouble> {
    match conn.ask(&["ACL", "LIST"]).await {
        Ok(list) => {
            let users = reply::items(&list).unwrap_or_default().iter().filter_map(reply::bytes);
            Ok(users.filter_map(|raw| account(&String::from_utf8_lossy(raw))).collect())
        }
        Err(Trouble::Refused(_)) => {
            let password = value(conn, "requirepass").await?.filter(|v| !v.is_empty());
            Ok(password.map(|p| Line::new("requirepass", [p])).into_iter().collect())
        }
        Err(other) => Err(other),
    }
}

/// A line of ACL LIST as the directive of the same meaning.
fn account(line: &str) -> Option<Line> {
    let rest = line.strip_prefix("user ")?;
    Some(Line::new("user", rest.split(' ').map(str::to_string)))
}

/// Made things are taken away again, also from the memory of Sentinels that had heard of them.
pub(super) async fn undo(cx: &Cx<'_>) -> Result<(), ActError> {
    let id = target(cx)?;
    let (provider, at) = provider(cx, &id)?;
    cx.command(&id, format!("provider release {}", at.address))?;
    provider.release(&at).await.map_err(|e| ActError::Retry(e.to_string()))?;
    if mode(cx) == Some(Mode::Sentinel) {
        forget::by_sentinels(cx, id.address()).await?;
    }
    Ok(())
}

/// Whether the new replica follows its master over a live link and has nearly everything.
pub(super) async fn observe_attached(cx: &Cx<'_>) -> Observed {
    let seen = async {
        let id = target(cx)?;
        let follows = cx.arg("follows")?;
        let RoleReply::Replica { master, link, offset } =
            Conn::dial_new(cx, &id).await?.role().await?
        else {
            return Ok(Observed::NotYet(format!("{id} is no replica yet")));
        };
        if master != follows {
            return Ok(Observed::Other(format!("{id} follows {master}, wished {follows}")));
        }
        if link != "connected" {
            return Ok(Observed::NotYet(format!("the link of {id} to {master} is {link}")));
        }
        let upstream = InstanceId::new(&cx.operation.service, follows);
        let upstream = upstream.map_err(|e| ActError::Failed(e.to_string()))?;
        let lag = Conn::dial(cx, &upstream).await?.master_offset().await? - offset;
        Ok(match lag > LAG_BYTES_MAX {
            true => Observed::NotYet(format!("{id} is {lag} bytes behind {master}")),
            false => Observed::Wished(json!({ "master": master, "lag_bytes": lag.max(0.0) })),
        })
    };
    let seen: Result<Observed, ActError> = seen.await;
    seen.unwrap_or_else(|e| match e {
        // A copy of everything keeps a small server busy: it is asked again.
        ActError::Failed(why) | ActError::Retry(why) => Observed::Unknown(why),
    })
}

/// Whether the replica may be promoted, in its memory, in its file, and in the eyes of every Sentinel.
pub(super) async fn observe_enlisted(cx: &Cx<'_>) -> Observed {
    let seen = async {
        let id = target(cx)?;
        let has = Conn::dial_new(cx, &id).await?.config("replica-priority").await?;
        if has != PRIORITY {
            return Ok(Observed::NotYet(format!("{id} has replica-priority {has}")));
        }
        if cx.memo.lock().unwrap_or_else(std::sync::PoisonError::into_inner)["rewritten"].is_null()
        {
            return Ok(Observed::NotYet(format!("the file of {id} holds the old priority")));
        }
        let now = look(cx).await.map_err(ActError::Retry)?;
        for (sentinel, watch) in now.watches() {
            let known = watch.replicas.iter().find(|r| r.address() == id.address());
            let fine = known.is_some_and(|r| r.is_ok() && r.priority.to_string() == PRIORITY);
            if !fine {
                return Ok(Observed::NotYet(format!("{sentinel} does not count on {id} yet")));
            }
        }
        Ok(Observed::Wished(json!({ "priority": has })))
    };
    seen.await.unwrap_or_else(observed)
}

pub(super) async fn apply_enlisted(cx: &Cx<'_>) -> Result<(), ActError> {
    let id = target(cx)?;
    let mut conn = Conn::dial_new(cx, &id).await?;
    if conn.config("replica-priority").await? != PRIORITY {
        conn.send(&["CONFIG", "SET", "replica-priority", PRIORITY]).await?;
    }
    rewrite_file(cx, &mut conn).await?;
    let mut memo = cx.memo.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    *memo = json!({ "rewritten": true });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_several_parts_become_a_directive_each() {
        let lines: Vec<Line> = in_parts("save", "3600 1 300 100", 2).collect();
        assert_eq!(lines, [Line::new("save", ["3600", "1"]), Line::new("save", ["300", "100"])]);
        let none: Vec<Line> = in_parts("save", "", 2).collect();
        assert_eq!(none, [Line::new("save", [""])]);
    }

    #[test]
    fn an_account_is_copied_with_its_hashes_and_rules() {
        let line = account("user app on #ab12 ~cart:* &* -@all +get").unwrap();
        let wished = ["app", "on", "#ab12", "~cart:*", "&*", "-@all", "+get"];
        assert_eq!(line, Line::new("user", wished));
        assert_eq!(account("nonsense"), None);
    }
}
