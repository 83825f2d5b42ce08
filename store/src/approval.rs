//! Approvals of operations, and the pauses between their steps.
//!
//! Invariants: an approval names the plan's hash and counts once per person; nobody approves what he
//! asked for, also not by a second account; what nobody approved in time never starts. Refuses to know
//! which plans need whom.

use model::At;
use model::caller::{Actor, Caller};
use model::operation::{Approval, Operation, OperationState};
use model::right::Right;
use serde_json::{Value, json};

use crate::audit::AuditEntry;
use crate::tx::Tx;
use crate::{Error, Result, Store};

/// What an operation waits for before it may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waiting {
    /// Other persons who must agree.
    pub needed: u32,
    /// Until when they may.
    pub until: At,
    /// How long it can still be cancelled after that, ms.
    pub delay_ms: i64,
}

/// A person's word on an operation.
#[derive(Debug, Clone)]
pub struct Decision<'a> {
    /// Operation.
    pub id: &'a str,
    /// Hash of the plan that was seen.
    pub plan_hash: &'a str,
    /// Yes or no.
    pub approve: bool,
    /// Why; needed to say no.
    pub reason: &'a str,
    /// How long it can still be cancelled after the last yes, ms.
    pub delay_ms: i64,
}

/// Who somebody is over several accounts: the staff id, else the account.
pub(crate) fn person(actor: &Actor) -> String {
    match actor.staff_id.is_empty() {
        true => format!("{}/{}", actor.issuer, actor.subject),
        false => format!("staff/{}", actor.staff_id),
    }
}

type Row = (String, String, String, String, i64);

impl Store {
    /// That long from now by the clock leases are counted by; at once when it is no time.
    pub(crate) async fn in_ms(&self, delay_ms: i64) -> Result<At> {
        match delay_ms {
            0 => Ok(At::EPOCH),
            _ => Ok(self.clock().await? + delay_ms),
        }
    }

    /// The decisions about an operation, oldest first.
    pub async fn approvals(&self, caller: &Caller, id: &str) -> Result<Vec<Approval>> {
        self.operation_get(caller, id).await?;
        let rows: Vec<Row> = rd!(self, c => sqlx::query_as(
            "SELECT decided_by, plan_hash, decision, reason, at FROM approval \
             WHERE operation = $1 ORDER BY at, decided_by")
            .bind(id).fetch_all(c).await)?;
        let read = |(decided_by, plan_hash, decision, reason, at): Row| Approval {
            decided_by,
            plan_hash,
            approved: decision == "approve",
            reason,
            at: At::from_ms(at),
        };
        Ok(rows.into_iter().map(read).collect())
    }

    /// Writes a person's word. The last yes that is needed queues the operation; a no ends it.
    pub async fn operation_decide(
        &self,
        caller: &Caller,
        decision: &Decision<'_>,
        at: At,
    ) -> Result<Operation> {
        let operation = self.operation_get(caller, decision.id).await?;
        let place = self.place_of_service(&operation.service).await?;
        caller.require(Right::OpApprove, &place)?;
        let who = person(&caller.actor);
        if who == operation.created_person || caller.name() == operation.created_by {
            return Err(Error::OwnRequest(format!("operation {} is your own", decision.id)));
        }
        if operation.plan_hash != decision.plan_hash {
            let present = operation.plan_hash;
            return Err(Error::Conflict(format!("its plan is {present}, not the one you saw")));
        }
        if !decision.approve && decision.reason.trim().is_empty() {
            return Err(Error::Invalid("reason: say why not".into()));
        }
        let begin = self.in_ms(decision.delay_ms).await?;
        let mut tx = self.begin().await?;
        // Taken first: two who decide at once are counted one after the other.
        tx.touch_awaiting(decision.id, at).await?;
        tx.approval_row(caller, &who, decision, at).await?;
        let word = if decision.approve { "approved" } else { "refused" };
        let line = format!("{word} by {}: {}", caller.name(), decision.reason.trim());
        tx.event_row(decision.id, None, at, operation.fence, "decision", &line).await?;
        tx.settle(&operation, decision, &line, (at, begin)).await?;
        let mut entry = AuditEntry::new("operation.approve", decision.id, place);
        entry.plan_hash = operation.plan_hash;
        let after = json!({ "approve": decision.approve, "reason": decision.reason.trim() });
        tx.audit(caller, entry.change(Value::Null, after), at).await?;
        tx.commit().await?;
        self.operation_get(caller, decision.id).await
    }

    /// Ends what nobody approved in time; answers how many.
    pub async fn operation_expire(&self, caller: &Caller, at: At) -> Result<u64> {
        let late: Vec<String> = rd!(self, c => sqlx::query_scalar(
            "SELECT id FROM operation WHERE state = 'awaiting_approval' AND approve_until < $1")
            .bind(at.ms()).fetch_all(c).await)?;
        let mut ended = 0;
        for id in late {
            let operation = self.operation_get(caller, &id).await?;
            let place = self.place_of_service(&operation.service).await?;
            let said = "nobody approved it in time";
            let mut tx = self.begin().await?;
            let gone = wr!(tx, c => sqlx::query(
                "UPDATE operation SET state = 'cancelled', reason = $2, ended_at = $3 \
                 WHERE id = $1 AND state = 'awaiting_approval'")
                .bind(&id).bind(said).bind(at.ms()).execute(c).await.map(|d| d.rows_affected()))?;
            if gone == 1 {
                tx.event_row(&id, None, at, operation.fence, "decision", said).await?;
                let after = json!({ "state": "cancelled", "reason": said });
                let entry = AuditEntry::new("operation.end", &id, place);
                tx.audit(caller, entry.change(Value::Null, after), at).await?;
                tx.commit().await?;
            }
            ended += gone;
        }
        Ok(ended)
    }

    /// Asks a running operation to wait before its next step, or lets a waiting one go on.
    pub async fn operation_pause(
        &self,
        caller: &Caller,
        id: &str,
        pause: bool,
        at: At,
    ) -> Result<Operation> {
        let operation = self.operation_get(caller, id).await?;
        let place = self.place_of_service(&operation.service).await?;
        caller.require(Right::OpCancel, &place)?;
        let mut tx = self.begin().await?;
        let changed = match pause {
            true => wr!(tx, c => sqlx::query(
                "UPDATE operation SET pause_requested = TRUE WHERE id = $1 \
                 AND pause_requested = FALSE AND state IN ('queued', 'running')")
                .bind(id).execute(c).await.map(|d| d.rows_affected()))?,
            false => wr!(tx, c => sqlx::query(
                "UPDATE operation SET pause_requested = FALSE, \
                 state = CASE WHEN state = 'paused' THEN 'running' ELSE state END WHERE id = $1 \
                 AND (pause_requested = TRUE OR state = 'paused') \
                 AND state IN ('queued', 'running', 'paused', 'verifying')")
                .bind(id).execute(c).await.map(|d| d.rows_affected()))?,
        };
        if changed != 1 {
            let (word, state) =
                (if pause { "paused" } else { "resumed" }, operation.state.as_str());
            return Err(Error::Conflict(format!("operation {id} cannot be {word}: it is {state}")));
        }
        let word = if pause { "asked to pause" } else { "resumed" };
        let line = format!("{word} by {}", caller.name());
        tx.event_row(id, None, at, operation.fence, "decision", &line).await?;
        let action = if pause { "operation.pause" } else { "operation.resume" };
        tx.audit(caller, AuditEntry::new(action, id, place), at).await?;
        tx.commit().await?;
        self.operation_get(caller, id).await
    }
}

impl Tx {
    async fn touch_awaiting(&mut self, id: &str, at: At) -> Result<()> {
        let open = wr!(self, c => sqlx::query(
            "UPDATE operation SET fence = fence WHERE id = $1 AND state = 'awaiting_approval' \
             AND approve_until >= $2")
            .bind(id).bind(at.ms()).execute(c).await.map(|d| d.rows_affected()))?;
        match open {
            1 => Ok(()),
            _ => Err(Error::Conflict(format!("operation {id} does not wait for an approval"))),
        }
    }

    async fn approval_row(
        &mut self,
        caller: &Caller,
        who: &str,
        d: &Decision<'_>,
        at: At,
    ) -> Result<()> {
        let word = if d.approve { "approve" } else { "refuse" };
        let new = wr!(self, c => sqlx::query(
            "INSERT INTO approval (operation, decided_by, person, plan_hash, decision, reason, at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (operation, person) DO NOTHING")
            .bind(d.id).bind(caller.name()).bind(who).bind(d.plan_hash).bind(word)
            .bind(d.reason.trim()).bind(at.ms()).execute(c).await.map(|d| d.rows_affected()))?;
        match new {
            1 => Ok(()),
            _ => Err(Error::Conflict(format!("you have decided about operation {} already", d.id))),
        }
    }

    async fn settle(
        &mut self,
        operation: &Operation,
        d: &Decision<'_>,
        line: &str,
        (at, begin): (At, At),
    ) -> Result<()> {
        if !d.approve {
            wr!(self, c => sqlx::query(
                "UPDATE operation SET state = 'cancelled', reason = $2, ended_at = $3 WHERE id = $1")
                .bind(d.id).bind(line).bind(at.ms()).execute(c).await.map(|d| d.rows_affected()))?;
            return Ok(());
        }
        let given: i64 = wr!(self, c => sqlx::query_scalar(
            "SELECT count(*) FROM approval WHERE operation = $1 AND plan_hash = $2 \
             AND decision = 'approve'")
            .bind(d.id).bind(d.plan_hash).fetch_one(c).await)?;
        if given >= i64::from(operation.approvals_needed) {
            let state = OperationState::Queued.as_str();
            wr!(self, c => sqlx::query(
                "UPDATE operation SET state = $2, not_before = $3 WHERE id = $1")
                .bind(d.id).bind(state).bind(begin.ms())
                .execute(c).await.map(|d| d.rows_affected()))?;
        }
        Ok(())
    }
}
