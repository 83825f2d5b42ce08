//! A replica less: not to be promoted, ended, blanked, forgotten by everybody, struck out, released.
//!
//! Invariants: never a master (a switchover comes first); never the last copy a class counts on (P7);
//! behind its end there is only forward, and what was removed cannot rejoin by being started.

use std::time::Instant;

use model::field::Field;
use model::operation::OperationKind;
use model::plan::{Checked, Plan, PlannedStep};
use model::refusal::Refusal;
use model::service::Mode;
use model::{At, HostId, InstanceId, ServiceId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::fresh::{self, Leaving};
use crate::placement::{Layout, risk};
use crate::topology::{self, Snapshot};
use crate::world::World;

/// Version of this definition.
pub const VERSION: u32 = 1;
/// Its steps.
pub const STEPS: &[&str] = &["bench", "retire", "forget", "unregister", "release"];

/// Sentinel reads a replica's INFO every 10 s.
const BENCH_MS: i64 = 60_000;
/// Seconds between two Sentinels that are reset: each finds the others within 2 s, and every replica
/// within 10.
pub(super) const GAP_S: u32 = 30;
/// Longest gap.
pub(super) const GAP_S_MAX: u32 = 600;

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The replica.
    pub instance: InstanceId,
    /// Its files stay where they are, blanked.
    #[serde(default)]
    pub keep: bool,
    /// Seconds between two Sentinels.
    #[serde(default = "gap_default")]
    pub gap_s: u32,
}

fn gap_default() -> u32 {
    GAP_S
}

/// Makes the plan.
pub async fn plan(
    world: &World,
    service: &ServiceId,
    params: &Value,
    now: At,
) -> Result<Plan, Refusal> {
    let params: Params = serde_json::from_value(params.clone())
        .map_err(|e| Refusal::new("params", service, format!("replica_remove: {e}")))?;
    let id = &params.instance;
    if params.gap_s > GAP_S_MAX {
        let why = format!("gap_s = {}: at most {GAP_S_MAX}", params.gap_s);
        return Err(Refusal::new("params", service, why));
    }
    let snapshot = topology::snapshot(world, service, Instant::now() + fresh::LOOK).await?;
    let checks = vec![is_replica(&snapshot, id)?];
    let (checks, host) = removable(world, &snapshot, &[id], checks).await?;
    make(&snapshot, &params, &host[0], checks, now)
}

/// Whether it is a replica nobody follows.
pub(super) fn is_replica(snapshot: &Snapshot, id: &InstanceId) -> Result<Checked, Refusal> {
    let refuse = |check: &str, why: String| Err(Refusal::new(check, id, why));
    let Some(place) = snapshot.place(id) else {
        return refuse("params", format!("{id} is no node of {}", snapshot.service.id));
    };
    let node = match &place.seen {
        Ok(node) => node,
        Err(why) => return refuse("P1", format!("{id} does not answer: {why}")),
    };
    let Some(master) = &node.master else {
        return refuse("role", format!("{id} is a master: switch over first"));
    };
    if let Some(behind) = snapshot.replicas_of(id).first() {
        return refuse("role", format!("{behind} follows {id}: attach it to {master} first"));
    }
    Ok(Checked { check: "role".into(), passed: true, seen: format!("{id} follows {master}") })
}

/// P7 without these nodes, and their hosts: each must be under a provider that made it.
pub(super) async fn removable(
    world: &World,
    snapshot: &Snapshot,
    ids: &[&InstanceId],
    mut checks: Vec<Checked>,
) -> Result<(Vec<Checked>, Vec<HostId>), Refusal> {
    let inventory = (world.inventory)();
    let mut hosts = Vec::new();
    for id in ids {
        hosts.push(host_of(world, id).await?);
    }
    if let Some(before) = Layout::of_snapshot(&inventory, snapshot) {
        let after = ids.iter().fold(before.clone(), |layout, id| layout.without(id));
        checks.push(risk::check(&before, &after)?);
    }
    Ok((checks, hosts))
}

/// The host of a node that its provider can take away, for it made it.
pub(super) async fn host_of(world: &World, id: &InstanceId) -> Result<HostId, Refusal> {
    let inventory = (world.inventory)();
    let (provider, at) = world.providers.of(&inventory, id)?;
    let state = provider.observe(&at).await;
    let state = state.map_err(|e| Refusal::new("provider", id, e.to_string()))?;
    let host = inventory.instances.get(id).and_then(|i| i.host.clone());
    host.filter(|_| state.exists).ok_or_else(|| {
        let why = format!("the provider of {id} did not make it: it cannot blank its files");
        Refusal::new("provider", id, why)
    })
}

/// Everything a replica goes through to be gone.
pub(super) fn leaves(
    snapshot: &Snapshot,
    id: &InstanceId,
    host: &HostId,
    (gap_s, keep): (u32, bool),
) -> Vec<PlannedStep> {
    let mode = snapshot.service.mode;
    let priority = snapshot.node(id).and_then(|n| n.get(Field::SlavePriority));
    let saved = match mode {
        Mode::Cluster => "no".to_string(),
        _ => format!("{}", priority.unwrap_or(100.0)),
    };
    let setting = match mode {
        Mode::Cluster => "cluster-replica-no-failover yes",
        _ => "replica-priority 0",
    };
    let title = format!("{id} is not to be promoted any more");
    let args = json!({ "host": host, "saved": saved });
    let bench = fresh::step("bench", id, title, args, BENCH_MS);
    let mut steps = vec![PlannedStep {
        commands: vec![format!("{id}> CONFIG SET {setting}")],
        tries: 3,
        ..bench
    }];
    steps.extend(Leaving { id, host, mode, role: "replica", gap_s, keep }.steps(snapshot));
    steps
}

fn make(
    snapshot: &Snapshot,
    params: &Params,
    host: &HostId,
    checks: Vec<Checked>,
    now: At,
) -> Result<Plan, Refusal> {
    let (service, id) = (&snapshot.service.id, &params.instance);
    let steps = leaves(snapshot, id, host, (params.gap_s, params.keep));
    Ok(Plan {
        kind: OperationKind::ReplicaRemove,
        kind_version: VERSION,
        service: service.clone(),
        params: serde_json::to_value(params).expect("parameters are plain data"),
        title: format!("Remove replica {id}"),
        blast_radius: format!("clients that read from {id} are sent away; its data goes with it"),
        level: 3,
        confirm: service.to_string(),
        world: fresh::identity(snapshot),
        checks,
        steps,
        locks: vec![format!("service:{service}"), format!("host:{host}")],
        made_at: now,
        expires_at: now + fresh::VALID_MS,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{follow, id, service};

    fn planned(snapshot: &Snapshot, n: usize) -> Result<Plan, Refusal> {
        let params = Params { instance: id(n, 6379), keep: false, gap_s: 30 };
        let checks = vec![is_replica(snapshot, &params.instance)?];
        make(snapshot, &params, &"h".parse().unwrap(), checks, At::EPOCH)
    }

    #[test]
    fn each_mode_forgets_its_own_way_and_only_the_end_is_without_return() {
        let kinds = |mode| -> Vec<String> {
            let plan = planned(&service(mode), 3).unwrap();
            assert!(plan.steps.iter().all(|s| STEPS.contains(&s.kind.as_str())));
            let no_return: Vec<_> = plan.steps.iter().filter(|s| s.point_of_no_return).collect();
            assert_eq!(no_return.len(), 1);
            plan.steps.iter().flat_map(|s| s.commands.clone()).collect()
        };
        let sentinel = kinds(Mode::Sentinel);
        assert_eq!(sentinel.iter().filter(|c| c.ends_with("SENTINEL RESET cart")).count(), 3);
        let cluster = kinds(Mode::Cluster);
        assert_eq!(cluster.iter().filter(|c| c.contains("CLUSTER FORGET")).count(), 2);
        assert!(cluster.iter().any(|c| c.contains("no-failover yes")));
        let plain = kinds(Mode::Standalone);
        assert!(!plain.iter().any(|c| c.contains("RESET") || c.contains("FORGET")), "{plain:?}");
    }

    #[test]
    fn a_master_and_a_node_others_follow_are_not_removed() {
        let mut now = service(Mode::Sentinel);
        assert!(planned(&now, 1).unwrap_err().message.contains("switch over first"));
        follow(&mut now, 3, 2);
        assert!(planned(&now, 2).unwrap_err().message.contains("follows"));
        now.nodes[1].seen = Err("refused".into());
        assert_eq!(planned(&now, 2).unwrap_err().check, "P1");
    }
}
