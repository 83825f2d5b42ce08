//! Backup of every shard, and restore of a file into an empty node.
//!
//! Invariants: a copy is taken from a replica when there is one; the files of a cluster are one set and
//! not one moment (each shard has its own), which the plan says; a backup is restored only into a
//! node without a key, of a version that can read it.

use std::path::Path;
use std::time::Instant;

use model::backup::Backup;
use model::field::Field;
use model::operation::OperationKind;
use model::plan::{Checked, Plan, PlannedStep};
use model::refusal::Refusal;
use model::service::Mode;
use model::{At, HostId, InstanceId, ServiceId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::choose::version;
use super::{Means, fresh};
use crate::provider::NodeState;
use crate::topology::{self, Node, Snapshot};
use crate::world::World;

/// Version of these definitions.
pub const VERSION: u32 = 1;
/// Steps of a backup.
pub const BACKUP: &[&str] = &["save", "keep", "record"];
/// Steps of a restore.
pub const RESTORE: &[&str] = &["restore", "append", "healthy"];

/// Saving 16 GB at 100 MB/s, twice when one was on its way.
const SAVE_MS: i64 = 600_000;
/// Copying, hashing and checking 16 GB.
const KEEP_MS: i64 = 600_000;
/// One row.
const RECORD_MS: i64 = 30_000;
/// Loading 16 GB, and rewriting it as an append-only file.
const RESTORE_MS: i64 = 600_000;
/// How long the restored node is looked at.
const HOLD_MS: i64 = 5_000;
/// What a step that waits for the Board has beyond the time it must hold.
const HEALTHY_SLACK_MS: i64 = 120_000;

/// Parameters of a restore.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Restore {
    /// Id of the backup.
    backup: String,
    /// The empty node; none: the only data node of the service.
    instance: Option<InstanceId>,
}

/// Makes the plan of a backup.
pub async fn plan(
    world: &World,
    means: &Means<'_>,
    service: &ServiceId,
    params: &Value,
    now: At,
) -> Result<Plan, Refusal> {
    if params.as_object().is_some_and(|p| !p.is_empty()) {
        return Err(Refusal::new("params", service, "backup: it takes no parameters"));
    }
    let dir = means.backup_dir.ok_or_else(|| {
        Refusal::new(
            "backup_dir",
            service,
            "ops.backup_dir is not set: there is no place for files",
        )
    })?;
    let snapshot = topology::snapshot(world, service, Instant::now() + fresh::LOOK).await?;
    let mut steps = Vec::new();
    let mut checks = Vec::new();
    let mut bytes = 0.0;
    let mut locks = vec![format!("service:{service}")];
    for master in snapshot.masters() {
        let source = source(&snapshot, master)?;
        let (host, _) = provided(world, source).await?;
        let shard = snapshot.place(master).map_or(0, |p| p.shard);
        bytes += snapshot.node(source).and_then(|n| n.get(Field::UsedMemory)).unwrap_or(0.0);
        steps.extend(of_shard(source, &host, shard, dir));
        checks.push(Checked {
            check: "P3".into(),
            passed: true,
            seen: format!("shard {shard}: {source}"),
        });
        locks.push(format!("host:{host}"));
    }
    let files = checks.len();
    checks.push(space(service, dir, bytes)?);
    locks.sort();
    locks.dedup();
    let set = match snapshot.service.mode {
        Mode::Cluster => "; each shard has its own moment",
        _ => "",
    };
    Ok(Plan {
        kind: OperationKind::Backup,
        kind_version: VERSION,
        service: service.clone(),
        params: json!({}),
        title: format!("Back up {service}: {files} files{set}"),
        blast_radius: "each server asked forks once; its memory grows by what is written meanwhile"
            .into(),
        level: 1,
        confirm: String::new(),
        world: fresh::identity(&snapshot),
        checks,
        steps,
        locks,
        made_at: now,
        expires_at: now + fresh::VALID_MS,
    })
}

/// A file is smaller than what it holds in memory; the rest is for the next one.
const SPACE_TIMES_USED: f64 = 1.2;

/// The folder of backups has room for the set.
fn space(service: &ServiceId, dir: &Path, used: f64) -> Result<Checked, Refusal> {
    let no = |why: String| Refusal::new("space", service, why);
    // It is made with the first backup.
    let there = dir.ancestors().find(|d| d.exists()).unwrap_or(dir);
    let disk = rustix::fs::statvfs(there)
        .map_err(|e| no(format!("ops.backup_dir {}: {e}", dir.display())))?;
    let (free, needs) = ((disk.f_bavail * disk.f_frsize) as f64, used * SPACE_TIMES_USED);
    let seen = format!("{free} bytes are free in {}, {needs:.0} are needed", dir.display());
    if free < needs {
        Err(no(seen))
    } else {
        Ok(Checked { check: "space".into(), passed: true, seen })
    }
}

/// A replica in step, the first by id; the master when it has none. Lags move by themselves, so none
/// ranks.
fn source<'a>(snapshot: &'a Snapshot, master: &'a InstanceId) -> Result<&'a InstanceId, Refusal> {
    let fit = |id: &&InstanceId| {
        let node: Option<&Node> = snapshot.node(id);
        node.is_some_and(|n| n.link == "connected" && !n.says(Field::MasterSyncInProgress))
    };
    let replicas = snapshot.replicas_of(master);
    match (replicas.iter().copied().find(fit), replicas.is_empty()) {
        (Some(replica), _) => Ok(replica),
        (None, true) => Ok(master),
        (None, false) => {
            let why = format!("no replica of {master} is in step with it");
            Err(Refusal::new("P3", master, why))
        }
    }
}

async fn provided(world: &World, id: &InstanceId) -> Result<(HostId, NodeState), Refusal> {
    let inventory = (world.inventory)();
    let (provider, at) = world.providers.of(&inventory, id)?;
    let state = provider.observe(&at).await;
    let state = state.map_err(|e| Refusal::new("provider", id, e.to_string()))?;
    let host = inventory.instances.get(id).and_then(|i| i.host.clone());
    match host.filter(|_| state.exists) {
        Some(host) => Ok((host, state)),
        None => {
            let why = format!("the provider of {id} did not make it: it cannot copy its files");
            Err(Refusal::new("provider", id, why))
        }
    }
}

fn of_shard(source: &InstanceId, host: &HostId, shard: u32, dir: &Path) -> [PlannedStep; 3] {
    let args = json!({ "host": host, "shard": shard, "dir": dir });
    let step = |kind: &str, title: String, commands: Vec<String>, ms: i64| {
        let step = fresh::step(kind, source, title, args.clone(), ms);
        PlannedStep { commands, tries: 5, ..step }
    };
    let save = vec![format!("{source}> BGSAVE SCHEDULE")];
    let file = format!("{}/<operation>-{shard}.rdb", dir.display());
    let keep = vec![
        format!("{source}> provider fetch dump to {file}"),
        format!("{source}> provider check {file}"),
    ];
    let record = vec![format!("{source}> manifest <operation>/{shard}")];
    [
        step("save", format!("Save shard {shard} on {source}"), save, SAVE_MS),
        step("keep", format!("Copy and check the file of shard {shard}"), keep, KEEP_MS),
        step("record", format!("Write the manifest of shard {shard}"), record, RECORD_MS),
    ]
}

/// Makes the plan of a restore.
pub async fn restore(
    world: &World,
    means: &Means<'_>,
    service: &ServiceId,
    params: &Value,
    now: At,
) -> Result<Plan, Refusal> {
    let params: Restore = serde_json::from_value(params.clone())
        .map_err(|e| Refusal::new("params", service, format!("restore: {e}")))?;
    let away = || Refusal::new("store", service, "no store holds manifests");
    let found = means.store.ok_or_else(away)?.backup_find(&params.backup).await;
    let backup = found.map_err(|e| Refusal::new("store", service, e.to_string()))?;
    let backup = backup.filter(|b| b.service.tenant() == service.tenant()).ok_or_else(|| {
        Refusal::new("params", service, format!("no backup {} of this tenant", params.backup))
    })?;
    let snapshot = topology::snapshot(world, service, Instant::now() + fresh::LOOK).await?;
    let id = empty_node(&snapshot, &params, &backup)?.clone();
    let (host, state) = provided(world, &id).await?;
    let appendonly = snapshot.node(&id).is_some_and(|n| n.says(Field::AofEnabled));
    let file = file_of(world, &id).await?;
    let node = Empty { id: &id, host: &host, state: &state, file: &file, appendonly };
    Ok(assemble(&snapshot, &params, &backup, &node, now))
}

/// The node that is to take a file.
struct Empty<'a> {
    id: &'a InstanceId,
    host: &'a HostId,
    state: &'a NodeState,
    /// Name the server looks for.
    file: &'a str,
    appendonly: bool,
}

/// The name of the file the node loads when it starts.
async fn file_of(world: &World, id: &InstanceId) -> Result<String, Refusal> {
    let refuse = |why: String| Refusal::new("P1", id, why);
    let target = (world.target)(id).ok_or_else(|| refuse(format!("{id}: no address or secret")))?;
    let mut link = link::dial(&target, fresh::LOOK).await.map_err(|e| refuse(e.to_string()))?;
    let said = link.call(&["CONFIG", "GET", "dbfilename"], fresh::LOOK).await;
    let said = said.map_err(|e| refuse(e.to_string()))?;
    let name = link::reply::items(&said).and_then(|i| link::reply::text(i.get(1)?));
    name.ok_or_else(|| refuse(format!("{id} does not tell its dbfilename")))
}

/// The one node of the service that is to take it: without a key, without replicas, able to read it.
fn empty_node<'a>(
    snapshot: &'a Snapshot,
    params: &Restore,
    backup: &Backup,
) -> Result<&'a InstanceId, Refusal> {
    let service = &snapshot.service.id;
    let refuse = |check: &str, why: String| Err(Refusal::new(check, service, why));
    if snapshot.service.mode != Mode::Standalone || !backup.slots.is_empty() {
        return refuse(
            "mode",
            "a backup is restored into one node without Sentinels and cluster".into(),
        );
    }
    let wished = |id: &InstanceId| params.instance.as_ref().is_none_or(|i| i == id);
    let nodes: Vec<_> = snapshot.answered().filter(|(id, _)| wished(id)).collect();
    let [(id, node)] = nodes.as_slice() else {
        return refuse("params", format!("name the node: {service} has {}", snapshot.nodes.len()));
    };
    let keys: f64 = node.facts.keyspace.iter().map(|db| db.keys).sum();
    if keys != 0.0 {
        return refuse("empty", format!("{id} holds {keys} keys: restore into an empty node"));
    }
    if node.master.is_some() || !snapshot.replicas_of(id).is_empty() {
        return refuse("role", format!("{id} replicates: its emptiness or its data would spread"));
    }
    let wrote: Vec<u32> = backup.engine_version.split('.').map_while(|p| p.parse().ok()).collect();
    if version(node) < wrote {
        let (has, wrote) = (&node.facts.text.version, &backup.engine_version);
        return refuse("version", format!("{id} runs {has}, the file was written by {wrote}"));
    }
    Ok(id)
}

fn assemble(
    snapshot: &Snapshot,
    params: &Restore,
    backup: &Backup,
    node: &Empty<'_>,
    now: At,
) -> Plan {
    let Empty { id, host, state, file, appendonly } = *node;
    let service = &snapshot.service.id;
    let appends = if appendonly { "yes" } else { "no" };
    let args = json!({
        "host": host, "incarnation": state.incarnation, "path": backup.path, "role": "master",
        "sha256": backup.sha256, "keys": backup.keys, "expires": backup.expires,
        "appendonly": appends, "file": file, "up_for_ms": HOLD_MS,
    });
    let step = |kind: &str, title: String, ms: i64| fresh::step(kind, id, title, args.clone(), ms);
    let title = format!("Start {id} with the file, {} keys", backup.keys);
    let mut steps = vec![PlannedStep {
        commands: vec![
            format!("{id}> CONFIG SET appendonly no"),
            format!("{id}> CONFIG REWRITE"),
            format!("{id}> SHUTDOWN NOSAVE"),
            format!("{id}> provider clear {}", id.address()),
            format!("{id}> provider place {file} from {}", backup.path),
            format!("{id}> provider start {}", id.address()),
        ],
        tries: 3,
        ..step("restore", title, RESTORE_MS)
    }];
    if appendonly {
        let commands =
            vec![format!("{id}> CONFIG SET appendonly yes"), format!("{id}> CONFIG REWRITE")];
        let append = step("append", format!("{id} appends to a file again"), RESTORE_MS);
        steps.push(PlannedStep { commands, tries: 3, ..append });
    }
    steps.push(step("healthy", format!("{id} up for 5 s"), HOLD_MS + HEALTHY_SLACK_MS));
    Plan {
        kind: OperationKind::Restore,
        kind_version: VERSION,
        service: service.clone(),
        params: serde_json::to_value(params).expect("parameters are plain data"),
        title: format!("Restore backup {} of {} into {id}", backup.id, backup.service),
        blast_radius: format!(
            "{id}, which is empty, is away while it loads {} bytes",
            backup.bytes
        ),
        level: 3,
        confirm: service.to_string(),
        world: json!({ "sha256": backup.sha256, "incarnation": state.incarnation }),
        checks: vec![Checked {
            check: "empty".into(),
            passed: true,
            seen: format!("{id} holds no key; the file holds {}", backup.keys),
        }],
        steps,
        locks: vec![format!("service:{service}"), format!("host:{host}")],
        made_at: now,
        expires_at: now + fresh::VALID_MS,
    }
}
