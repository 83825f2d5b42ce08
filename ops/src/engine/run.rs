//! The driver of one run: carries out the machine's orders against store and fleet.
//!
//! Invariants: no order is carried out without a valid lease; a store that does not answer ends the
//! run at once, and whoever claims next observes what happened; nothing is kept in memory that a
//! resumed run would need.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use model::caller::Caller;
use model::operation::{Operation, OperationState, Step};
use serde_json::Value;
use store::{Change, Holder, Line};

use super::core::Core;
use super::machine::{Commit, Heard, Machine, Order, When};
use super::{Journal, Lease};
use crate::act::{self, ActError, Cx, Observed};
use crate::fault;

/// A change that cannot be committed in this time is refused: nothing may be sent on it.
const COMMIT_MAX: Duration = Duration::from_secs(2);
/// Renewals in the length of a lease.
const RENEWALS: u32 = 3;
/// How often a run that only waits writes down why, at most: 200 waiting runs are 40 writes a second.
const FLUSH_EVERY: Duration = Duration::from_secs(5);

/// Why a run ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// A final state is committed.
    Over,
    /// This process is stopping; the lease is to be given back.
    Draining,
    /// A person asked to wait; the lease is to be given back, the locks stay.
    Paused,
    /// The lease is another's, or the store does not answer: nothing more is sent or written.
    Lost(String),
}

pub(super) struct Run {
    core: Arc<Core>,
    operation: Operation,
    holder: Holder,
    caller: Caller,
    lease: Arc<Lease>,
    machine: Machine,
    journal: Journal,
    memo: Mutex<Value>,
    figures: Value,
    began: Instant,
    flushed: Instant,
}

impl Run {
    pub(super) fn new(
        core: Arc<Core>,
        operation: Operation,
        steps: Vec<Step>,
        claimed: Instant,
    ) -> Run {
        let holder = Holder {
            id: operation.id.clone(),
            owner: core.worker_id.clone(),
            fence: operation.fence,
        };
        let now = Instant::now();
        Run {
            caller: Caller::system("worker", operation.id.clone()),
            lease: Arc::new(Lease::new(core.lease(), claimed)),
            machine: Machine::new(operation.state, operation.reason.clone(), steps),
            journal: Journal::default(),
            memo: Mutex::new(Value::Null),
            figures: operation.outcome.clone(),
            began: now,
            flushed: now,
            core,
            operation,
            holder,
        }
    }

    /// Runs until the operation is over, this process stops, or the lease is lost.
    pub(super) async fn go(mut self) {
        let renewing = self.renew();
        let end = tokio::select! {
            end = self.drive() => end,
            // Renewal never ends by itself.
            () = renewing => End::Lost("renewal ended".into()),
        };
        let id = &self.holder.id;
        match end {
            End::Over if self.machine.state == model::operation::OperationState::Stuck => {
                tracing::error!(operation = %id, "operation is stuck: a person has to decide")
            }
            End::Over => {
                tracing::info!(operation = %id, state = self.machine.state.as_str(), "operation ended")
            }
            End::Draining | End::Paused => {
                tracing::info!(operation = %id, "lease given back");
                if let Err(e) = self.core.store.operation_release(&self.holder).await {
                    tracing::warn!(operation = %id, error = %e, "the lease could not be given back; it runs out");
                }
            }
            End::Lost(why) => {
                tracing::warn!(operation = %id, why, "run given up; it is resumed by observation")
            }
        }
        self.core.notice(&self.holder.id);
    }

    /// Keeps the lease; a refused renewal loses it, an unanswered one lets it run out.
    fn renew(&self) -> impl Future<Output = ()> + use<> {
        let (core, lease, holder) = (self.core.clone(), self.lease.clone(), self.holder.clone());
        async move {
            loop {
                tokio::time::sleep(core.lease() / RENEWALS).await;
                let sent = Instant::now();
                match core.store.operation_renew(&holder, core.lease_ms()).await {
                    Ok(true) => lease.renewed(sent),
                    Ok(false) => lease.lose(),
                    Err(e) => {
                        tracing::warn!(operation = %holder.id, error = %e, "lease not renewed")
                    }
                }
            }
        }
    }

    async fn drive(&mut self) -> End {
        let mut order = self.machine.start();
        loop {
            if !self.lease.valid() {
                return End::Lost("the lease is not valid any more".into());
            }
            let heard = match self.carry_out(order).await {
                Ok(heard) => heard,
                Err(end) => return end,
            };
            let now = self.when();
            order = self.machine.hear(heard, now);
        }
    }

    fn when(&self) -> When {
        let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        When { at: (self.core.world.clock)(), ms }
    }

    async fn carry_out(&mut self, order: Order) -> Result<Heard, End> {
        self.core.touched().insert(self.operation.service.clone(), Instant::now());
        match order {
            Order::End => Err(End::Over),
            Order::Rest => Err(End::Paused),
            Order::Ask => self.ask().await,
            Order::Observe { seq, after_ms } => self.observe(seq, after_ms).await,
            Order::Commit(commit) => {
                self.commit(commit).await?;
                Ok(Heard::Committed)
            }
            Order::Apply { seq } => Ok(Heard::Applied(self.apply(seq).await)),
            Order::Undo { seq, after_ms } => {
                self.pause(seq, after_ms).await?;
                Ok(Heard::Undone(self.undo(seq).await))
            }
        }
    }

    async fn ask(&mut self) -> Result<Heard, End> {
        if self.core.draining.is_cancelled() {
            return Err(End::Draining);
        }
        *self.memo.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Value::Null;
        let asked = self.core.store.operation_asked(&self.holder).await;
        let (stop, pause) = asked.map_err(|e| End::Lost(e.to_string()))?;
        if pause && !stop && self.machine.may_pause() {
            let state = (OperationState::Paused, "a person asked to wait".to_string());
            let lines = vec![("outcome", "paused before the next step".to_string())];
            self.commit(Commit { seq: None, state: Some(state), lines }).await?;
            return Err(End::Paused);
        }
        Ok(Heard::Asked { stop })
    }

    /// Waiting is where a stopping process leaves: what is being waited for is observed again by
    /// whoever resumes, and what was sent so far is on record before.
    async fn pause(&mut self, seq: usize, ms: u64) -> Result<(), End> {
        if ms == 0 {
            return Ok(());
        }
        tokio::select! {
            () = self.core.draining.cancelled() => {}
            () = tokio::time::sleep(Duration::from_millis(ms)) => return Ok(()),
        }
        self.commit(Commit { seq: Some(seq), ..Commit::default() }).await?;
        Err(End::Draining)
    }

    async fn observe(&mut self, seq: usize, after_ms: u64) -> Result<Heard, End> {
        self.pause(seq, after_ms).await?;
        // Also when it has nothing new to say: the time it has spent must outlive a crash.
        if self.flushed.elapsed() >= FLUSH_EVERY {
            self.commit(Commit { seq: Some(seq), ..Commit::default() }).await?;
        }
        let cx = self.cx(seq);
        // An observation that hangs is no observation; the step's own time still counts.
        let longest = cx.left().max(self.core.lease());
        let seen = tokio::time::timeout(longest, act::observe(&cx)).await;
        Ok(Heard::Observed(seen.unwrap_or_else(|_| Observed::Unknown("no answer in time".into()))))
    }

    async fn apply(&self, seq: usize) -> Result<(), ActError> {
        let place = fault::place(self.operation.kind, &self.machine.steps[seq].kind);
        fault::point(&place, "before").map_err(ActError::Retry)?;
        let answer = act::apply(&self.cx(seq)).await;
        fault::point(&place, "after").map_err(ActError::Retry)?;
        answer
    }

    async fn undo(&self, seq: usize) -> Result<(), ActError> {
        let step = &self.machine.steps[seq].kind;
        let place = fault::place(self.operation.kind, &format!("{step}.undo"));
        fault::point(&place, "before").map_err(ActError::Retry)?;
        let answer = act::undo(&self.cx(seq)).await;
        fault::point(&place, "after").map_err(ActError::Retry)?;
        answer
    }

    fn cx(&self, seq: usize) -> Cx<'_> {
        Cx {
            world: &self.core.world,
            operation: &self.operation,
            step: &self.machine.steps[seq],
            journal: &self.journal,
            lease: &self.lease,
            deadline: self.began + Duration::from_millis(self.machine.deadline_ms()),
            tree: Some((&self.core.store, &self.caller)),
            memo: &self.memo,
        }
    }

    /// Writes what the act left in the journal and the machine's change, in one transaction.
    async fn commit(&mut self, commit: Commit) -> Result<(), End> {
        let (entries, figures) = self.journal.take();
        let seq = commit.seq.and_then(|s| u32::try_from(s).ok());
        let mut lines: Vec<Line> = entries
            .into_iter()
            .map(|e| Line { seq, what: if e.command { "command" } else { "log" }, text: e.line })
            .collect();
        lines.extend(commit.lines.into_iter().map(|(what, text)| Line { seq, what, text }));
        let outcome = self.merge(figures);
        let change = Change {
            step: commit.seq.map(|s| self.machine.steps[s].clone()),
            state: commit.state,
            outcome,
            lines,
        };
        let at = (self.core.world.clock)();
        let write = self.core.store.operation_journal(&self.caller, &self.holder, &change, at);
        match tokio::time::timeout(COMMIT_MAX, write).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return Err(End::Lost(e.to_string())),
            Err(_) => return Err(End::Lost("a journal write did not commit within 2 s".into())),
        }
        self.flushed = Instant::now();
        self.core.notice(&self.holder.id);
        Ok(())
    }

    fn merge(&mut self, figures: serde_json::Map<String, Value>) -> Option<Value> {
        if figures.is_empty() {
            return None;
        }
        let mut all = self.figures.as_object().cloned().unwrap_or_default();
        all.extend(figures);
        self.figures = Value::Object(all);
        // Later steps compare with what earlier ones measured.
        self.operation.outcome.clone_from(&self.figures);
        Some(self.figures.clone())
    }
}
