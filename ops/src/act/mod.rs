//! What a step does: observe, apply, undo, chosen by the step's kind.
//!
//! Contract of every act:
//! - `observe` changes nothing and answers from the fleet, never from the journal or from a reply.
//! - `apply` looks first and acts only on a difference; before each command it calls
//!   [`Cx::command`], which refuses once the lease or the deadline has run out.
//! - `undo` looks first too: it is called for steps that are done and for steps that only may be.
//! - A step that is not `repeatable` answers [`Observed::NotYet`] only with proof that nothing
//!   happened (same epoch, same role), because a resumed run applies again on it; in doubt it is
//!   [`Observed::Unknown`].
//!
//! Refuses to know: retries, the order of steps. The store is for what a step brings about there (a wish
//! kept, a secret switched, an archive), never for the operation's own story.

mod backup;
pub(crate) mod batch;
pub(crate) mod cast;
pub(crate) mod clients;
mod cluster_failover;
mod conn;
mod create;
mod demote;
mod drain;
mod drill;
mod fence;
mod forget;
mod member;
mod parameter;
mod pause;
mod recycle;
pub mod restart;
mod retire;
mod roles;
mod rotate;
mod slots;
mod stale;
mod steer;
mod upkeep;
mod watching;
mod zone;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use model::operation::{Operation, Step};
use serde_json::Value;

use crate::engine::{Journal, Lease};
use crate::world::World;

/// What the fleet shows about a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Observed {
    /// As wished, with the figures worth keeping.
    Wished(Value),
    /// Not (or not yet) as wished, and nothing speaks against getting there.
    NotYet(String),
    /// Something else than before and wished: a contradiction that ends the waiting.
    Other(String),
    /// Cannot be seen now.
    Unknown(String),
    /// As far as it should get by itself: a person has to say that the rest may follow.
    Hold(String),
}

/// Why an apply or undo ended without success. Neither says whether something was changed: the
/// engine observes next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActError {
    /// May work on the next try.
    #[error("{0}")]
    Retry(String),
    /// Will not work by repeating.
    #[error("{0}")]
    Failed(String),
}

/// What an act works with.
pub struct Cx<'a> {
    /// The fleet.
    pub world: &'a World,
    /// The operation, as claimed.
    pub operation: &'a Operation,
    /// The step; `attempt` is 0 before the first intent.
    pub step: &'a Step,
    /// Lines for the operation's journal, written to the store behind the act.
    pub journal: &'a Journal,
    /// Whether this worker may still send.
    pub lease: &'a Lease,
    /// End of the step's time.
    pub deadline: Instant,
    /// The store and as whom it is asked, for what a step brings about there: a node listed or struck
    /// out, a wish kept, a secret switched, an archive.
    pub tree: Option<(&'a store::Store, &'a model::caller::Caller)>,
    /// Scratch of this step in this run; gone after a crash, so it may only delay, never decide.
    pub memo: &'a Mutex<Value>,
}

impl Cx<'_> {
    /// Time left for the step.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Whether a command may be sent now: the lease was renewed lately and the step has time.
    pub fn may_send(&self) -> Result<(), ActError> {
        if !self.lease.valid() {
            return Err(ActError::Failed("the lease is not valid any more".into()));
        }
        if self.left().is_zero() {
            return Err(ActError::Failed("the time of the step is over".into()));
        }
        Ok(())
    }

    /// Call directly before sending a command: `may_send`, then a line in the journal. `masked` is
    /// the command with its secrets replaced.
    pub fn command(
        &self,
        target: impl ToString,
        masked: impl Into<String>,
    ) -> Result<(), ActError> {
        self.may_send()?;
        self.journal.command(target, masked);
        Ok(())
    }

    /// The store and as whom it is asked.
    pub(crate) fn tree(&self) -> Result<(&store::Store, &model::caller::Caller), ActError> {
        self.tree.ok_or_else(|| ActError::Failed("no store is at hand".into()))
    }

    /// The store.
    pub(crate) fn store(&self) -> Result<&store::Store, ActError> {
        self.tree().map(|(store, _)| store)
    }

    /// As whom it is asked.
    pub(crate) fn caller(&self) -> Result<&model::caller::Caller, ActError> {
        self.tree().map(|(_, caller)| caller)
    }

    /// A text argument of the step.
    pub fn arg(&self, name: &str) -> Result<&str, ActError> {
        self.step.args[name]
            .as_str()
            .ok_or_else(|| ActError::Failed(format!("the step has no argument {name:?}")))
    }
}

/// Looks whether the step's wished state is there.
pub async fn observe(cx: &Cx<'_>) -> Observed {
    match cx.step.kind.as_str() {
        "start" | "rejoin" | "healthy" => restart::observe(cx).await,
        "wave" => batch::observe(cx).await,
        "drill" => drill::observe(cx).await,
        "demote_stale" => stale::observe(cx).await,
        "judge" => batch::observe_judged(cx).await,
        "close_zone" | "open_zone" => zone::observe_marked(cx),
        "bench_zone" | "unbench_zone" => zone::observe_benched(cx).await,
        "recycle" => recycle::observe(cx).await,
        "watching" => watching::observe(cx).await,
        "create" => create::observe(cx).await,
        "attach" => create::observe_attached(cx).await,
        "enlist" => create::observe_enlisted(cx).await,
        "meet" => member::observe_met(cx).await,
        "replicate" => member::observe_replicating(cx).await,
        "register" | "unregister" => member::observe_listed(cx),
        "bench" => retire::observe_benched(cx).await,
        "retire" => retire::observe(cx).await,
        "forget" => forget::observe(cx).await,
        "move_slots" => slots::observe(cx).await,
        "save" => backup::observe_saved(cx).await,
        "keep" => backup::observe_kept(cx),
        "record" => backup::observe_recorded(cx).await,
        "restore" => backup::observe_restored(cx).await,
        "append" => backup::observe_appending(cx).await,
        "release" => retire::observe_released(cx).await,
        "steer" => steer::observe(cx).await,
        "fence" => fence::observe(cx).await,
        "priorities" => steer::observe_restored(cx).await,
        "drain" => drain::observe(cx).await,
        "persist" => drain::observe_persist(cx),
        "cluster_failover" => cluster_failover::observe(cx).await,
        "roles" => roles::observe_roles(cx).await,
        "data" => roles::observe_data(cx).await,
        "health" => roles::observe_health(cx),
        "set" | "lower" | "desired" | "agree" => parameter::observe(cx).await,
        "grant" | "masterauth" | "auth_pass" | "switch_secret" | "gate" | "revoke"
        | "requirepass" | "prove_login" | "drop_secrets" => rotate::observe(cx).await,
        "kill_clients" | "purge" | "slowlog" | "snapshot" => upkeep::observe(cx).await,
        other => Observed::Other(format!("this program knows no step {other:?}")),
    }
}

/// Brings it about.
pub async fn apply(cx: &Cx<'_>) -> Result<(), ActError> {
    match cx.step.kind.as_str() {
        "start" | "rejoin" | "healthy" => restart::apply(cx).await,
        // Parts are planned by the planner, which knows every act there is.
        "wave" => Box::pin(batch::apply(cx)).await,
        "drill" => Box::pin(drill::apply(cx)).await,
        "demote_stale" => stale::apply(cx).await,
        "close_zone" | "open_zone" => zone::apply_marked(cx).await,
        "bench_zone" | "unbench_zone" => zone::apply_benched(cx).await,
        "recycle" => recycle::apply(cx).await,
        "create" => create::apply(cx).await,
        "enlist" => create::apply_enlisted(cx).await,
        "meet" => member::apply_met(cx).await,
        "replicate" => member::apply_replicating(cx).await,
        "register" | "unregister" => member::apply_listed(cx).await,
        "bench" => retire::apply_benched(cx).await,
        "retire" => retire::apply(cx).await,
        "forget" => forget::apply(cx).await,
        "move_slots" => slots::apply(cx).await,
        "save" => backup::apply_saved(cx).await,
        "keep" => backup::apply_kept(cx).await,
        "record" => backup::apply_recorded(cx).await,
        "restore" => backup::apply_restored(cx).await,
        "append" => backup::apply_appending(cx).await,
        "release" => retire::apply_released(cx).await,
        "steer" => steer::apply(cx).await,
        "fence" => fence::apply(cx).await,
        "priorities" => steer::apply_restored(cx).await,
        "drain" => drain::apply(cx).await,
        "persist" => drain::apply_persist(cx).await,
        "cluster_failover" => cluster_failover::apply(cx).await,
        "data" => roles::apply_data(cx).await,
        "set" | "lower" | "desired" | "agree" => parameter::apply(cx).await,
        "grant" | "masterauth" | "auth_pass" | "switch_secret" | "gate" | "revoke"
        | "requirepass" | "prove_login" | "drop_secrets" => rotate::apply(cx).await,
        "kill_clients" | "purge" | "slowlog" | "snapshot" => upkeep::apply(cx).await,
        "roles" | "health" | "watching" | "attach" | "judge" => Ok(()),
        other => Err(ActError::Failed(format!("this program knows no step {other:?}"))),
    }
}

/// Takes it back.
pub async fn undo(cx: &Cx<'_>) -> Result<(), ActError> {
    match cx.step.kind.as_str() {
        "start" | "rejoin" | "healthy" => restart::undo(cx).await,
        "recycle" => recycle::undo(cx).await,
        "create" => create::undo(cx).await,
        "meet" => member::undo_met(cx).await,
        "register" => member::undo_listed(cx).await,
        "bench" => retire::undo_benched(cx).await,
        "retire" => retire::undo(cx).await,
        "move_slots" => slots::undo(cx).await,
        "keep" => backup::undo_kept(cx),
        "record" => backup::undo_recorded(cx).await,
        "restore" => backup::undo_restored(cx).await,
        "save" | "append" => Ok(()),
        "watching" | "attach" | "enlist" | "replicate" => Ok(()),
        "unregister" | "forget" | "release" => Ok(()),
        "close_zone" => zone::undo_closed(cx).await,
        "demote_stale" | "drill" | "wave" | "judge" | "open_zone" | "bench_zone"
        | "unbench_zone" => Ok(()),
        "steer" => steer::undo(cx).await,
        "fence" => fence::undo(cx).await,
        "drain" => drain::undo(cx).await,
        "cluster_failover" => cluster_failover::undo(cx).await,
        "set" | "lower" | "desired" | "agree" => parameter::undo(cx).await,
        "grant" | "masterauth" | "auth_pass" | "switch_secret" | "gate" | "revoke"
        | "requirepass" | "prove_login" | "drop_secrets" => rotate::undo(cx).await,
        "kill_clients" | "purge" | "slowlog" | "snapshot" => upkeep::undo(cx).await,
        "priorities" | "persist" | "roles" | "data" | "health" => Ok(()),
        other => Err(ActError::Failed(format!("this program knows no step {other:?}"))),
    }
}
