//! Who plays which part in a switchover, and what the fleet shows of it.
//!
//! Invariant: a scene is judged from one snapshot and the plan alone, so a resumed run in another
//! process judges the same. In doubt it says so and never guesses which data to drop.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use model::InstanceId;
use model::score::Level;
use model::service::Mode;
use serde::{Deserialize, Serialize};

use super::{ActError, Cx, Observed};
use crate::topology::{self, Snapshot};

/// Longest one look at the whole service may take.
const LOOK_MAX: Duration = Duration::from_secs(3);

/// The parts, fixed by the plan: the arguments of every step of a switchover.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cast {
    /// The master to be replaced.
    pub old: InstanceId,
    /// The replica wished for.
    pub target: InstanceId,
    /// The shard's further replicas that take part, in id order.
    pub others: Vec<InstanceId>,
    /// Those of `others` that must not be promoted: lagging, or priority 0.
    pub excluded: Vec<InstanceId>,
    /// Nodes allowed to be dead: nothing is asked of them.
    pub dead: Vec<InstanceId>,
    /// Run id of each node of the shard when it was planned.
    pub run_ids: BTreeMap<InstanceId, String>,
    /// Sentinel services only.
    pub sentinel: Option<SentinelPart>,
    /// Key the data path is proved with; in a cluster it lies in a slot of the shard.
    pub key: String,
}

/// The figure of an operation that keeps the run id of a process it started itself.
pub(super) fn run_id_figure(id: &InstanceId) -> String {
    format!("run_id {id}")
}

/// What the plan fixed about the Sentinels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SentinelPart {
    /// The one that is told to fail over; outside the old master's zone.
    pub id: InstanceId,
    /// Name of the master at the Sentinels.
    pub name: String,
    /// Configuration epoch all of them agreed on.
    pub epoch: u64,
    /// Longest time one failover of theirs may last, ms.
    pub failover_timeout_ms: u64,
    /// `replica-priority` of every replica, to be restored.
    pub saved: BTreeMap<InstanceId, u32>,
}

impl SentinelPart {
    /// The priority a replica is steered to.
    pub fn wished(&self, cast: &Cast, id: &InstanceId) -> u32 {
        match () {
            () if *id == cast.target => 1,
            () if cast.excluded.contains(id) => 0,
            () => 100,
        }
    }
}

/// What the fleet shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scene {
    /// Provably nothing happened yet: same roles, same processes, same epoch.
    Fresh,
    /// That node was promoted; what follows a promotion is not finished.
    Promoted(InstanceId),
    /// The target was promoted, has taken no write of its own, and the old master has taken some:
    /// attaching the target again loses nothing.
    GoBack,
    /// Everything the fenced section promises is there, with that master.
    Done(InstanceId),
    /// In motion, or not to be seen: look again.
    Unclear(String),
    /// Contradicts both the old and the wished state: a person decides.
    Contradiction(String),
}

impl Scene {
    /// In the engine's words, for a step that may run again only on proof.
    pub(super) fn observed(self) -> Observed {
        match self {
            Scene::Fresh => Observed::NotYet("nothing happened yet: same roles and epoch".into()),
            Scene::Promoted(new) => Observed::NotYet(format!("{new} is promoted, not finished")),
            Scene::GoBack => {
                Observed::NotYet("the target took no writes: it goes back first".into())
            }
            Scene::Done(new) => Observed::Wished(serde_json::json!({ "new_master": new })),
            Scene::Unclear(why) => Observed::Unknown(why),
            Scene::Contradiction(why) => Observed::Other(why),
        }
    }
}

impl Cast {
    /// From the arguments of the step.
    pub(super) fn of(cx: &Cx<'_>) -> Result<Cast, ActError> {
        let mut cast: Cast = serde_json::from_value(cx.step.args.clone()).map_err(|e| {
            ActError::Failed(format!("the arguments of step {}: {e}", cx.step.kind))
        })?;
        // Processes this very operation has replaced since it was planned.
        for (id, run_id) in &mut cast.run_ids {
            if let Some(now) = cx.operation.outcome[run_id_figure(id)].as_str() {
                *run_id = now.to_string();
            }
        }
        Ok(cast)
    }

    /// The replicas at planning time: target first, then the others.
    pub(crate) fn replicas(&self) -> impl Iterator<Item = &InstanceId> {
        std::iter::once(&self.target).chain(&self.others)
    }

    /// Those that could be promoted: all of them are drained.
    pub(super) fn electable(&self) -> impl Iterator<Item = &InstanceId> {
        self.replicas().filter(|id| !self.excluded.contains(id))
    }

    /// The Sentinels' part; a plan for another kind of service has none.
    pub(super) fn sentinel(&self) -> Result<&SentinelPart, ActError> {
        let missing = || ActError::Failed("the plan names no Sentinel".into());
        self.sentinel.as_ref().ok_or_else(missing)
    }

    /// The replicas that say they are masters.
    pub(super) fn promoted<'a>(&'a self, now: &Snapshot) -> Vec<&'a InstanceId> {
        let is_master = |id: &&InstanceId| now.node(id).is_some_and(|n| n.master.is_none());
        self.replicas().filter(is_master).collect()
    }

    /// The one node of the shard that is master now, whichever it is.
    pub(super) fn master_now<'a>(&'a self, now: &Snapshot) -> Option<&'a InstanceId> {
        let all = std::iter::once(&self.old).chain(self.replicas());
        let mut masters = all.filter(|id| now.node(id).is_some_and(|n| n.master.is_none()));
        let one = masters.next()?;
        masters.next().is_none().then_some(one)
    }

    /// The process of a node is still the one the plan was made with.
    pub(super) fn same_process(&self, now: &Snapshot, id: &InstanceId) -> bool {
        let run_id = now.node(id).map(|n| n.facts.text.run_id.as_str());
        run_id.is_some() && run_id == self.run_ids.get(id).map(String::as_str)
    }

    /// Offsets of both sides of a divergence, in words for the person who decides.
    pub(super) fn offsets(&self, now: &Snapshot, new: &InstanceId) -> String {
        let offset = |id: &InstanceId| match now.node(id) {
            Some(node) => format!("{id} at offset {}", node.offset),
            None => format!("{id} unreachable"),
        };
        let split = now.node(new).and_then(|n| n.get(model::field::Field::SecondReplOffset));
        let split = split.map_or("unknown".to_string(), |o| format!("{}", o - 1.0));
        format!("{}, {}, common up to {split}", offset(&self.old), offset(new))
    }
}

/// One look at the service of the operation.
pub(super) async fn look(cx: &Cx<'_>) -> Result<Snapshot, String> {
    let end = (Instant::now() + LOOK_MAX).min(cx.deadline.max(Instant::now() + LOOK_MAX / 3));
    topology::look(cx.world, &cx.operation.service, end).await.map_err(|r| r.to_string())
}

/// Keeps the figure later steps compare with: the service's score before anything was sent.
pub(super) fn note_score(cx: &Cx<'_>) {
    let known = cx.operation.outcome.get("score_before").is_some();
    if let (false, Some(score)) = (known, score_of(cx)) {
        cx.journal.figure("score_before", score);
    }
}

/// The service's score in the latest roll-up.
pub(super) fn score_of(cx: &Cx<'_>) -> Option<f64> {
    let rollup = cx.world.board.rollup();
    rollup.levels.get(Level::Service, cx.operation.service.as_str())?.score
}

/// The mode of the operation's service in the present inventory.
pub(super) fn mode(cx: &Cx<'_>) -> Option<Mode> {
    (cx.world.inventory)().services.get(&cx.operation.service).map(|s| s.mode)
}
