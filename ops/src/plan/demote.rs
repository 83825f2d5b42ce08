//! A lost master that came back as a master is made a replica of the one its Sentinels chose meanwhile.
//!
//! Invariants: only where a majority of all Sentinels names another node, in an epoch nobody surpasses, and
//! that node itself says it is the master; Sentinels that disagree are a person's matter. What was
//! written to the old one since the failover is lost either way; each moment it stays adds to it.

use std::time::Instant;

use model::operation::OperationKind;
use model::plan::{Checked, Plan, PlannedStep};
use model::refusal::Refusal;
use model::service::Mode;
use model::{At, InstanceId, ServiceId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::fresh;
use crate::topology::{self, Snapshot};
use crate::world::World;

/// Version of this definition.
pub const VERSION: u32 = 1;
/// Its steps.
pub const STEPS: &[&str] = &["demote_stale"];
/// A handful of commands, and a node that is slow to come back.
const DEMOTE_MS: i64 = 30_000;

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    /// The old master.
    instance: InstanceId,
}

/// Whom the Sentinels chose.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chosen {
    /// The present master.
    pub(crate) new: InstanceId,
    /// In which epoch.
    pub(crate) epoch: u64,
}

/// Makes the plan.
pub async fn plan(
    world: &World,
    service: &ServiceId,
    params: &Value,
    now: At,
) -> Result<Plan, Refusal> {
    let params: Params = serde_json::from_value(params.clone())
        .map_err(|e| Refusal::new("params", service, format!("demote: {e}")))?;
    let old = &params.instance;
    // Two masters are what this is about: a look that refuses contradictions would refuse it.
    let snapshot = topology::look(world, service, Instant::now() + fresh::LOOK).await?;
    let Chosen { new, epoch } = chosen(&snapshot, old)?;
    let offset = |id: &InstanceId| snapshot.node(id).map(|n| n.offset).unwrap_or_default();
    let seen = format!(
        "{old} says master at offset {}, {new} at {}; Sentinels name {new} in epoch {epoch}",
        offset(old),
        offset(&new)
    );
    let (host, port) = new.host_port();
    let title = format!("Hold writes of {old}, make it a replica of {new}, send its clients away");
    let step =
        fresh::step("demote_stale", old, title, json!({ "new": new, "epoch": epoch }), DEMOTE_MS);
    let commands = vec![
        format!("{old}> CLIENT PAUSE 3000 WRITE"),
        format!("{old}> REPLICAOF {host} {port}"),
        format!("{old}> CLIENT UNPAUSE"),
        format!("{old}> CLIENT KILL TYPE normal SKIPME yes"),
        format!("{old}> CLIENT KILL TYPE pubsub SKIPME yes"),
    ];
    let run_id = |id: &InstanceId| snapshot.node(id).map(|n| n.facts.text.run_id.clone());
    Ok(Plan {
        kind: OperationKind::Demote,
        kind_version: VERSION,
        service: service.clone(),
        params: serde_json::to_value(&params).expect("parameters are plain data"),
        title: format!("Demote {old}, which came back as a master, to a replica of {new}"),
        blast_radius: format!(
            "what was written to {old} since the failover is gone; its clients reconnect"
        ),
        level: 3,
        confirm: service.to_string(),
        world: json!({ "old": run_id(old), "new": run_id(&new), "epoch": epoch }),
        checks: vec![Checked { check: "P2".into(), passed: true, seen }],
        steps: vec![PlannedStep { commands, tries: 3, point_of_no_return: true, ..step }],
        locks: vec![format!("service:{service}")],
        made_at: now,
        expires_at: now + fresh::VALID_MS,
    })
}

/// Whom the service's Sentinels chose instead of a node that says it is a master.
pub(crate) fn chosen(now: &Snapshot, old: &InstanceId) -> Result<Chosen, Refusal> {
    let no = |why: String| Err(Refusal::new("P4", old, why));
    if now.service.mode != Mode::Sentinel {
        return no(format!("{} is not watched by Sentinels", now.service.id));
    }
    match now.node(old) {
        None => return no(format!("{old} does not answer")),
        Some(node) if node.master.is_some() => return no(format!("{old} is a replica already")),
        Some(_) => {}
    }
    let highest = now.watches().map(|(_, w)| w.master.config_epoch).fold(0.0, f64::max);
    let mut named: Vec<&str> = now
        .watches()
        .filter(|(_, w)| w.master.config_epoch >= highest)
        .map(|(_, w)| w.master.address.as_str())
        .collect();
    let all = now.sentinels.len();
    let votes = named.len();
    named.dedup();
    let [address] = named.as_slice() else {
        return no(format!("Sentinels of epoch {highest} name {named:?}: a person has to decide"));
    };
    if 2 * votes <= all {
        return no(format!("{votes} of {all} Sentinels name {address}: no majority"));
    }
    if *address == old.address() {
        return no(format!("the Sentinels name {old} itself"));
    }
    let new = now.masters().into_iter().find(|id| id.address() == *address);
    match new {
        Some(new) => Ok(Chosen { new: new.clone(), epoch: highest as u64 }),
        None => no(format!("{address}, which the Sentinels name, does not say it is a master")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{id, promote, service, watch};

    /// The master of zone 1 came back; the others chose the node of zone 2.
    fn returned() -> Snapshot {
        let mut now = service(Mode::Sentinel);
        promote(&mut now, 2, 0.0);
        for n in 1..=3 {
            let master = &mut watch(&mut now, n).master;
            (master.address, master.config_epoch) = (id(2, 6379).address().to_string(), 4.0);
        }
        now
    }

    #[test]
    fn a_returned_master_yields_to_the_one_a_majority_chose() {
        let old = id(1, 6379);
        let found = chosen(&returned(), &old).unwrap();
        assert_eq!(found, Chosen { new: id(2, 6379), epoch: 4 });
        let mut late = returned();
        let one = &mut watch(&mut late, 3).master;
        (one.address, one.config_epoch) = (old.address().to_string(), 3.0);
        assert!(chosen(&late, &old).is_ok(), "one that has not heard yet does not count");
    }

    #[test]
    fn without_majority_agreement_or_a_master_it_is_left_alone() {
        let old = id(1, 6379);
        type Spoil = fn(&mut Snapshot);
        let spoiled: [(Spoil, &str); 5] = [
            (
                |now| now.sentinels.iter_mut().take(2).for_each(|s| s.seen = Err("gone".into())),
                "no majority",
            ),
            (
                |now| watch(now, 1).master.address = id(3, 6379).address().to_string(),
                "a person has to decide",
            ),
            (|now| crate::fixture::follow(now, 2, 1), "does not say it is a master"),
            (|now| crate::fixture::follow(now, 1, 2), "is a replica already"),
            (|now| now.nodes[0].seen = Err("gone".into()), "does not answer"),
        ];
        for (spoil, words) in spoiled {
            let mut now = returned();
            spoil(&mut now);
            let why = chosen(&now, &old).unwrap_err().message;
            assert!(why.contains(words), "{why}");
        }
    }
}
