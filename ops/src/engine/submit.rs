//! Planning and submitting: from a wish to a durable intent.
//!
//! Invariant: what is submitted is exactly the plan whose hash the asker named, made again from the
//! present world at the last moment; one idempotency key makes one operation.

use std::time::Duration;

use model::At;
use model::ServiceId;
use model::caller::Caller;
use model::operation::{Operation, OperationKind};
use model::plan::Plan;
use model::refusal::Refusal;
use model::right::{Place, Right};
use serde_json::Value;
use store::NewOperation;

use super::Engine;
use crate::plan;

/// An intent that cannot be committed in this time is refused.
const INTENT_MAX: Duration = Duration::from_secs(2);
/// Longest reason, characters.
const REASON_CHARS_MAX: usize = 500;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Kind of operation.
    pub kind: OperationKind,
    /// Service it changes.
    pub service: ServiceId,
    /// Input of the kind.
    pub params: Value,
    /// Hash of the plan that was seen and agreed to.
    pub plan_hash: String,
    /// What was typed to confirm; compared with the plan's wish when it has one.
    pub confirm: String,
    /// Why, in the asker's words; not empty.
    pub reason: String,
    /// Unique; the same again answers the same operation.
    pub idem_key: String,
    /// Incident it answers.
    pub incident: Option<String>,
}

/// Why there is no plan or no operation. Nothing was sent in any case.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// A check or guard says no: 409 with the refusal.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The world moved since the plan was made: 409 with the new plan.
    #[error("the plan has changed since; look at the new one")]
    PlanMoved {
        /// The present plan.
        plan: Box<Plan>,
        /// Its hash.
        hash: String,
    },
    /// The typed confirmation is wrong: 422.
    #[error("the confirmation must be exactly {expected:?}")]
    Confirm {
        /// What has to be typed.
        expected: String,
    },
    /// The reason is empty or too long: 422.
    #[error("{0}")]
    Invalid(String),
    /// The store refused or did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Engine {
    /// Makes a plan with all its checks; changes nothing. Answers it with its hash.
    pub async fn plan(
        &self,
        caller: &Caller,
        kind: OperationKind,
        service: &ServiceId,
        params: &Value,
        now: At,
    ) -> Result<(Plan, String), SubmitError> {
        let place = self.place(service)?;
        caller.require(Right::OpPlan, &place).map_err(store::Error::from)?;
        self.make(kind, service, params, now).await
    }

    fn place(&self, service: &ServiceId) -> Result<Place, SubmitError> {
        if let Some(zone) = model::batch::zone_of(service) {
            return Ok(model::batch::place_of(&zone));
        }
        let inventory = (self.core.world.inventory)();
        match inventory.services.get(service) {
            Some(found) => Ok(Place::service(service, &found.system)),
            None => Err(store::Error::NotFound(format!("service {service}")).into()),
        }
    }

    pub(super) async fn make(
        &self,
        kind: OperationKind,
        service: &ServiceId,
        params: &Value,
        now: At,
    ) -> Result<(Plan, String), SubmitError> {
        // The services of a zone are held against it one by one.
        let managed = kind.of_zone()
            || (self.core.world.inventory)().services.get(service).is_some_and(|s| s.managed);
        let means = plan::Means {
            store: Some(&self.core.store),
            backup_dir: self.core.config.backup_dir.as_deref(),
        };
        let made = match managed {
            true => plan::make(&self.core.world, &means, kind, service, params, now).await,
            false => Err(Refusal::new(
                "managed",
                service,
                format!("{service} is not managed (managed: false); switch it on first"),
            )),
        };
        let mut plan = made.inspect_err(|refusal| self.core.refused(&refusal.check))?;
        self.thaw(&mut plan, now).await?;
        let hash = plan.hash();
        Ok((plan, hash))
    }

    /// Commits the operation of the plan with that hash and wakes the worker.
    pub async fn submit(
        &self,
        caller: &Caller,
        wish: Submission,
        now: At,
    ) -> Result<Operation, SubmitError> {
        let place = self.place(&wish.service)?;
        caller.require(Right::OpPlan, &place).map_err(store::Error::from)?;
        let chars = wish.reason.trim().chars().count();
        if chars == 0 || chars > REASON_CHARS_MAX {
            let said = format!("reason: expected 1 to {REASON_CHARS_MAX} characters");
            return Err(SubmitError::Invalid(said));
        }
        // Before planning anew: what the first call began has changed the world by now.
        if let Some(made) = self.made_before(caller, &wish).await? {
            return Ok(made);
        }
        let (plan, hash) = self.make(wish.kind, &wish.service, &wish.params, now).await?;
        if hash != wish.plan_hash {
            return Err(SubmitError::PlanMoved { plan: Box::new(plan), hash });
        }
        if plan.confirm != wish.confirm && !plan.confirm.is_empty() {
            return Err(SubmitError::Confirm { expected: plan.confirm });
        }
        self.intend(caller, wish, plan, now).await
    }

    async fn made_before(
        &self,
        caller: &Caller,
        wish: &Submission,
    ) -> Result<Option<Operation>, SubmitError> {
        let made = self.core.store.operation_by_key(&wish.idem_key).await?;
        let Some(made) = made else { return Ok(None) };
        let same = made.created_by == caller.name()
            && (made.kind, &made.service) == (wish.kind, &wish.service)
            && made.plan_hash == wish.plan_hash;
        if same {
            return Ok(Some(made));
        }
        let key = &wish.idem_key;
        let said = format!("idempotency key {key:?} was used for another operation");
        Err(store::Error::Conflict(said).into())
    }

    async fn intend(
        &self,
        caller: &Caller,
        wish: Submission,
        plan: Plan,
        now: At,
    ) -> Result<Operation, SubmitError> {
        let new = NewOperation {
            idem_key: wish.idem_key,
            plan,
            why: wish.reason.trim().to_string(),
            incident: wish.incident,
            parent: None,
            refused: None,
        };
        let waiting = self.core.config.waiting(&new.plan, caller, now);
        let create = self.core.store.operation_create_waiting(caller, new, waiting, now);
        let created = tokio::time::timeout(INTENT_MAX, create).await.map_err(|_| {
            // Unknown, not failed: the same key again answers the operation, if there is one.
            store::Error::NotWritable("the intent did not commit within 2 s".into())
        })?;
        let operation = created?;
        self.core.notice(&operation.id);
        self.core.wake.notify_one();
        Ok(operation)
    }
}
