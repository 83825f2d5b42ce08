//! The durable step engine: claims operations, runs their steps, resumes after a crash, undoes.
//!
//! Invariants: intent is committed before anything is sent and the outcome is read back; one worker
//! holds an operation, by a fence every write proves; an operation ends done, refused, cancelled,
//! unwound or stuck, never silently running. Refuses to know what a step does.

mod approve;
mod core;
mod freeze;
mod journal;
mod lease;
mod machine;
#[cfg(test)]
mod rest;
mod run;
#[cfg(test)]
mod sim;
mod submit;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::caller::Caller;
use model::operation::{Operation, OperationKind};
use model::{At, ServiceId};
use store::{Claim, Store};
use tokio::sync::{Notify, broadcast};

use self::core::Core;
pub use journal::{Entry, Journal};
pub use lease::Lease;
pub use submit::{Submission, SubmitError};

use crate::{Config, World, plan};

/// Operations one process runs at once. Each is a task that mostly waits and a lease that is
/// renewed three times its length; 200 renewals per 5 s are a tenth of what SQLite commits.
pub const RUNS_MAX: usize = 200;

/// What an operation changed is seen by polls that late: four of the longest usual interval.
const ECHO: Duration = Duration::from_secs(60);

/// An operation changed: read it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationNotice {
    /// Its id.
    pub id: String,
}

/// The engine of one process. Clones share everything.
#[derive(Clone)]
pub struct Engine {
    core: Arc<Core>,
}

impl Engine {
    /// An engine that works as `worker_id`, unique among the processes of the store and its past:
    /// a restarted process is another worker.
    pub fn new(config: Config, store: Arc<Store>, world: World, worker_id: String) -> Engine {
        Engine { core: Arc::new(Core::new(config, store, world, worker_id)) }
    }

    /// The fleet as this engine sees it.
    pub fn world(&self) -> &World {
        &self.core.world
    }

    /// The store.
    pub fn store(&self) -> &Arc<Store> {
        &self.core.store
    }

    /// Its configuration.
    pub fn config(&self) -> &Config {
        &self.core.config
    }

    /// Notified when there is something to claim.
    pub fn wake(&self) -> Arc<Notify> {
        self.core.wake.clone()
    }

    /// A notice for each journalled change. A receiver that lags reads the state again.
    pub fn subscribe(&self) -> broadcast::Receiver<OperationNotice> {
        self.core.notices.subscribe()
    }

    /// Refusals since the start, by check.
    pub fn refusals(&self) -> BTreeMap<String, u64> {
        self.core.refusals().clone()
    }

    /// Refuses when unfinished operations are of a kind or version this program does not know,
    /// naming them. To be called before the first round.
    pub async fn check_unfinished(&self) -> Result<(), Unfinished> {
        let rows = self.core.store.operation_unfinished().await?;
        let unknown: Vec<String> = rows
            .into_iter()
            .filter(|(_, kind, version)| {
                let known = OperationKind::parse(kind).map(plan::version_of);
                known.map(i64::from) != Some(*version)
            })
            .map(|(id, kind, version)| format!("{id} ({kind}, version {version})"))
            .collect();
        match unknown.is_empty() {
            true => Ok(()),
            false => Err(Unfinished::Unknown(unknown.join(", "))),
        }
    }

    /// Whether an operation of this process changes the service now, or did so moments ago: roles
    /// and restarts seen then were planned.
    pub fn acting_on(&self, service: &ServiceId) -> bool {
        self.core.touched().get(service).is_some_and(|at| at.elapsed() < ECHO)
    }

    /// Asks a queued operation to end, a running one to stop after its present step.
    pub async fn cancel(
        &self,
        caller: &Caller,
        id: &str,
        reason: &str,
        now: At,
    ) -> store::Result<Operation> {
        let operation = self.core.store.operation_cancel(caller, id, reason, now).await?;
        self.core.notice(id);
        self.core.wake.notify_one();
        Ok(operation)
    }

    /// Claims what can be claimed and starts its runs. Answers the number started.
    pub async fn round(&self, _now: At) -> store::Result<usize> {
        if self.core.draining.is_cancelled() {
            return Ok(0);
        }
        let free = RUNS_MAX.saturating_sub(self.core.active().len());
        // Those that wait for a lock stand before others: look past them.
        let candidates = self.core.store.operation_claimable(4 * RUNS_MAX as i64).await?;
        let mut started = 0;
        for id in candidates {
            if started >= free {
                break;
            }
            started += usize::from(self.claim(&id).await?);
        }
        Ok(started)
    }

    async fn claim(&self, id: &str) -> store::Result<bool> {
        let core = &self.core;
        if !core.active().insert(id.to_string()) {
            return Ok(false);
        }
        // Before the claim is sent: the lease may only look shorter than it is.
        let sent = Instant::now();
        let claim = core.store.operation_claim(id, &core.worker_id, core.lease_ms()).await;
        match claim {
            Ok(Claim::Got(operation, steps)) => {
                self.spawn(run::Run::new(core.clone(), *operation, steps, sent), id);
                Ok(true)
            }
            Ok(Claim::Held { key, by }) => {
                tracing::debug!(operation = id, lock = key, by, "waits for a lock");
                core.active().remove(id);
                Ok(false)
            }
            Ok(Claim::Lost) => {
                core.active().remove(id);
                Ok(false)
            }
            Err(e) => {
                core.active().remove(id);
                Err(e)
            }
        }
    }

    fn spawn(&self, run: run::Run, id: &str) {
        let (core, id) = (self.core.clone(), id.to_string());
        self.core.runs.spawn(async move {
            let run = tokio::spawn(run.go());
            if let Err(e) = run.await {
                // The lease runs out and the operation is resumed by observation.
                tracing::error!(operation = %id, error = %e, "a run panicked");
            }
            core.active().remove(&id);
            // A lock may be free now.
            core.wake.notify_one();
        });
    }

    /// Graceful stop: no new claims; each run ends the act it is in, gives its lease back and
    /// keeps its state, so that it resumes elsewhere or after the restart. Answers when all ended.
    pub async fn drain(&self) {
        self.core.draining.cancel();
        self.core.runs.close();
        self.core.runs.wait().await;
    }
}

/// Why the engine must not start.
#[derive(Debug, thiserror::Error)]
pub enum Unfinished {
    /// Operations this program cannot go on with.
    #[error(
        "unfinished operations of kinds this program does not know: {0}; start the program that \
         made them, or let them end there first"
    )]
    Unknown(String),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
}
