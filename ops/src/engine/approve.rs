//! A second person's word, and pauses between steps.
//!
//! Invariant: what is approved is a plan that would be made the same now; a world that moved since asks
//! for a new plan. Nobody's word is taken about his own request: the store sees to that.

use model::At;
use model::caller::Caller;
use model::operation::Operation;
use store::Decision;

use super::{Engine, SubmitError};

impl Engine {
    /// Takes a person's word about the plan of that hash. A yes makes the plan once more and compares.
    pub async fn decide(
        &self,
        caller: &Caller,
        (id, plan_hash): (&str, &str),
        approve: bool,
        reason: &str,
        now: At,
    ) -> Result<Operation, SubmitError> {
        let operation = self.core.store.operation_get(caller, id).await?;
        if approve && operation.plan_hash == plan_hash {
            let (kind, params) = (operation.kind, &operation.plan.params);
            let (plan, hash) = self.make(kind, &operation.service, params, now).await?;
            if hash != plan_hash {
                return Err(SubmitError::PlanMoved { plan: Box::new(plan), hash });
            }
        }
        let delay_ms = self.core.config.delay_ms(operation.plan.level);
        let decision = Decision { id, plan_hash, approve, reason, delay_ms };
        let decided = self.core.store.operation_decide(caller, &decision, now).await?;
        self.core.notice(id);
        self.core.wake.notify_one();
        Ok(decided)
    }

    /// Asks an operation to wait before its next step, or lets it go on.
    pub async fn pause(
        &self,
        caller: &Caller,
        id: &str,
        pause: bool,
        now: At,
    ) -> store::Result<Operation> {
        let operation = self.core.store.operation_pause(caller, id, pause, now).await?;
        self.core.notice(id);
        self.core.wake.notify_one();
        Ok(operation)
    }
}
