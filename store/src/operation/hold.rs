//! The worker's side of an operation: claim, renew, journal, release.
//!
//! Invariant: every write names the holder and the fence in its WHERE; a worker whose lease another
//! one took over changes no row and is told so (`Error::Moved`). Leases are counted by the clock all
//! processes of this store share.

use model::At;
use model::caller::Caller;
use model::operation::{Operation, OperationState, Step};
use model::right::Place;
use serde_json::{Value, json};

use super::row::{OPERATION, OperationRow};
use super::{id, text};
use crate::audit::AuditEntry;
use crate::tx::Tx;
use crate::{Error, Result, Store};

/// What a step pays for each claim after the first, ms: a run writes its time down every five
/// seconds, so this is the most a crash can hide. Without it a process that crashes sooner than
/// that would give its step for ever.
pub const CLAIM_CHARGE_MS: i64 = 5_000;

/// Who holds an operation, by which claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The operation.
    pub id: String,
    /// The worker.
    pub owner: String,
    /// Number of the claim.
    pub fence: i64,
}

/// Answer to a claim.
#[derive(Debug)]
pub enum Claim {
    /// Ours now: the operation with the new fence, and its steps.
    Got(Box<Operation>, Vec<Step>),
    /// Another operation holds a lock it needs.
    Held {
        /// The lock.
        key: String,
        /// The operation that holds it.
        by: String,
    },
    /// Another worker was faster, or it is over.
    Lost,
}

/// One journal line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Step it is about.
    pub seq: Option<u32>,
    /// intent, command, outcome, undo, decision, log.
    pub what: &'static str,
    /// One line for people.
    pub text: String,
}

/// What one journal write changes, all in one transaction.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// The step as it is now.
    pub step: Option<Step>,
    /// New state of the operation with its reason.
    pub state: Option<(OperationState, String)>,
    /// Figures so far.
    pub outcome: Option<Value>,
    /// Lines to append; each of kind `command` is an audit record too.
    pub lines: Vec<Line>,
}

#[derive(sqlx::FromRow)]
struct Standing {
    system: String,
    service: String,
    plan_hash: String,
}

impl Store {
    /// Ids of operations a worker may claim now, oldest first.
    pub async fn operation_claimable(&self, limit: i64) -> Result<Vec<String>> {
        let now = self.clock().await?.ms();
        Ok(rd!(self, c => sqlx::query_scalar(
            "SELECT id FROM operation WHERE lease_until < $1 AND not_before <= $1 \
             AND state IN ('queued', 'running', 'verifying', 'unwinding') ORDER BY id LIMIT $2")
            .bind(now).bind(limit).fetch_all(c).await)?)
    }

    /// Claims an operation whose lease is over, with all locks of its plan, for `lease_ms`.
    pub async fn operation_claim(&self, id: &str, owner: &str, lease_ms: i64) -> Result<Claim> {
        let now = self.clock().await?;
        let mut tx = self.begin().await?;
        let claimed = wr!(tx, c => sqlx::query(
            "UPDATE operation SET fence = fence + 1, lease_owner = $2, lease_until = $3, \
             state = CASE WHEN state = 'queued' THEN 'running' ELSE state END, \
             started_at = coalesce(started_at, $4) WHERE id = $1 AND lease_until < $4 \
             AND not_before <= $4 AND state IN ('queued', 'running', 'verifying', 'unwinding')")
            .bind(id).bind(owner).bind(now.ms() + lease_ms).bind(now.ms())
            .execute(c).await.map(|d| d.rows_affected()))?;
        if claimed != 1 {
            return Ok(Claim::Lost);
        }
        let operation = tx.operation(id).await?;
        if let Some((key, by)) = tx.take_locks(&operation).await? {
            return Ok(Claim::Held { key, by });
        }
        tx.charge(&operation).await?;
        let line = format!("claimed by {owner}");
        tx.event_row(id, None, now, operation.fence, "claimed", &line).await?;
        tx.commit().await?;
        let steps = self.steps_of(id).await?;
        Ok(Claim::Got(Box::new(operation), steps))
    }

    /// Prolongs the lease; false when the operation is not this holder's any more.
    pub async fn operation_renew(&self, holder: &Holder, lease_ms: i64) -> Result<bool> {
        #[cfg(feature = "fault")]
        crate::fault::point("lease.renew", "before").map_err(Error::NotWritable)?;
        let until = self.clock().await?.ms() + lease_ms;
        let mut tx = self.begin().await?;
        let renewed = wr!(tx, c => sqlx::query(
            "UPDATE operation SET lease_until = $4 \
             WHERE id = $1 AND lease_owner = $2 AND fence = $3")
            .bind(&holder.id).bind(&holder.owner).bind(holder.fence).bind(until)
            .execute(c).await.map(|d| d.rows_affected()))?;
        tx.commit().await?;
        Ok(renewed == 1)
    }

    /// Gives the lease back, so that any worker may go on at once; the state stays.
    pub async fn operation_release(&self, holder: &Holder) -> Result<()> {
        let mut tx = self.begin().await?;
        wr!(tx, c => sqlx::query(
            "UPDATE operation SET lease_until = 0, lease_owner = '' \
             WHERE id = $1 AND lease_owner = $2 AND fence = $3")
            .bind(&holder.id).bind(&holder.owner).bind(holder.fence)
            .execute(c).await.map(|d| d.rows_affected()))?;
        tx.commit().await
    }

    /// What a person asked for since: (stop, pause), provided the operation is still this holder's.
    pub async fn operation_asked(&self, holder: &Holder) -> Result<(bool, bool)> {
        let asked: Option<(bool, bool)> = rd!(self, c => sqlx::query_as(
            "SELECT cancel_requested, pause_requested FROM operation \
             WHERE id = $1 AND lease_owner = $2 AND fence = $3")
            .bind(&holder.id).bind(&holder.owner).bind(holder.fence).fetch_optional(c).await)?;
        asked.ok_or_else(|| moved(holder))
    }

    /// Writes a change under the holder's fence. A final state ends the lease and frees the locks.
    pub async fn operation_journal(
        &self,
        caller: &Caller,
        holder: &Holder,
        change: &Change,
        at: At,
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        tx.touch(holder, change, at).await?;
        let standing: Standing = wr!(tx, c => sqlx::query_as(
            "SELECT system, service, plan_hash FROM operation WHERE id = $1")
            .bind(&holder.id).fetch_one(c).await)?;
        if let Some(step) = &change.step {
            tx.step_update(step).await?;
        }
        for line in &change.lines {
            tx.event_row(&holder.id, line.seq, at, holder.fence, line.what, &line.text).await?;
        }
        for entry in audits(&standing, holder, change)? {
            tx.audit(caller, entry, at).await?;
        }
        tx.commit().await
    }

    /// (lock, operation) of all locks held.
    pub async fn operation_locks(&self) -> Result<Vec<(String, String)>> {
        Ok(rd!(self, c => sqlx::query_as(
            "SELECT key, operation_id FROM operation_lock ORDER BY key").fetch_all(c).await)?)
    }
}

fn moved(holder: &Holder) -> Error {
    Error::Moved {
        what: format!("the lease of operation {}", holder.id),
        present: holder.fence + 1,
    }
}

fn audits(standing: &Standing, holder: &Holder, change: &Change) -> Result<Vec<AuditEntry>> {
    let place = Place::service(&id(&standing.service)?, &id(&standing.system)?);
    let entry = |action: &str, after: Value| AuditEntry {
        plan_hash: standing.plan_hash.clone(),
        ..AuditEntry::new(action, &holder.id, place.clone()).change(Value::Null, after)
    };
    let commands = change.lines.iter().filter(|l| l.what == "command");
    let mut all: Vec<AuditEntry> = commands
        .map(|l| entry("operation.command", json!({ "step": l.seq, "command": l.text })))
        .collect();
    if let Some((state, reason)) = &change.state
        && state.is_final()
    {
        let mut end = entry("operation.end", json!({ "state": state, "reason": reason }));
        end.result = result_of(*state).into();
        all.push(end);
    }
    Ok(all)
}

fn result_of(state: OperationState) -> &'static str {
    match state {
        OperationState::Refused => "refused",
        OperationState::Unwound => "failed",
        OperationState::Stuck => "unknown",
        _ => "ok",
    }
}

impl Tx {
    pub(super) async fn operation(&mut self, id: &str) -> Result<Operation> {
        let sql = format!("SELECT {OPERATION} FROM operation WHERE id = $1");
        let row: OperationRow = wr!(self, c =>
            sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str())).bind(id).fetch_one(c).await)?;
        row.read()
    }

    /// All locks of the plan, or the first that another operation holds. In one order everywhere,
    /// so two claims cannot wait for each other.
    async fn take_locks(&mut self, operation: &Operation) -> Result<Option<(String, String)>> {
        let mut keys = operation.plan.locks.clone();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            wr!(self, c => sqlx::query(
                "INSERT INTO operation_lock (key, operation_id, fence) VALUES ($1, $2, $3) \
                 ON CONFLICT (key) DO NOTHING")
                .bind(&key).bind(&operation.id).bind(operation.fence)
                .execute(c).await.map(|d| d.rows_affected()))?;
            let ours = wr!(self, c => sqlx::query(
                "UPDATE operation_lock SET fence = $3 WHERE key = $1 AND operation_id = $2")
                .bind(&key).bind(&operation.id).bind(operation.fence)
                .execute(c).await.map(|d| d.rows_affected()))?;
            if ours != 1 {
                let by: Option<String> = wr!(self, c => sqlx::query_scalar(
                    "SELECT operation_id FROM operation_lock WHERE key = $1")
                    .bind(&key).fetch_optional(c).await)?;
                return Ok(Some((key, by.unwrap_or_default())));
            }
        }
        Ok(None)
    }

    /// A claim that is not the first took over from somebody who did not end his step: the present
    /// step pays for the time nobody wrote down.
    async fn charge(&mut self, operation: &Operation) -> Result<()> {
        if operation.fence < 2 {
            return Ok(());
        }
        wr!(self, c => sqlx::query(
            "UPDATE step SET spent_ms = spent_ms + $2 WHERE operation_id = $1 AND seq = \
             (SELECT min(seq) FROM step WHERE operation_id = $1 AND state <> 'done')")
            .bind(&operation.id).bind(CLAIM_CHARGE_MS)
            .execute(c).await.map(|d| d.rows_affected()))?;
        Ok(())
    }

    /// The conditional write that proves the fence and takes the operation's row.
    async fn touch(&mut self, holder: &Holder, change: &Change, at: At) -> Result<()> {
        let Holder { id, owner, fence } = holder;
        let touched = match &change.state {
            None => wr!(self, c => sqlx::query(
                "UPDATE operation SET fence = fence WHERE id = $1 AND lease_owner = $2 AND fence = $3")
                .bind(id).bind(owner).bind(fence).execute(c).await.map(|d| d.rows_affected()))?,
            Some((state, reason)) if state.is_final() => wr!(self, c => sqlx::query(
                "UPDATE operation SET state = $4, reason = $5, ended_at = $6, lease_until = 0, \
                 lease_owner = '' WHERE id = $1 AND lease_owner = $2 AND fence = $3")
                .bind(id).bind(owner).bind(fence).bind(state.as_str()).bind(reason).bind(at.ms())
                .execute(c).await.map(|d| d.rows_affected()))?,
            Some((state, reason)) => wr!(self, c => sqlx::query(
                "UPDATE operation SET state = $4, reason = $5 \
                 WHERE id = $1 AND lease_owner = $2 AND fence = $3")
                .bind(id).bind(owner).bind(fence).bind(state.as_str()).bind(reason)
                .execute(c).await.map(|d| d.rows_affected()))?,
        };
        if touched != 1 {
            return Err(moved(holder));
        }
        if change.state.as_ref().is_some_and(|(s, _)| s.is_final()) {
            wr!(self, c => sqlx::query("DELETE FROM operation_lock WHERE operation_id = $1")
                .bind(id).execute(c).await.map(|d| d.rows_affected()))?;
        }
        if let Some(outcome) = &change.outcome {
            let outcome = text(outcome)?;
            wr!(self, c => sqlx::query("UPDATE operation SET outcome = $2 WHERE id = $1")
                .bind(id).bind(&outcome).execute(c).await.map(|d| d.rows_affected()))?;
        }
        Ok(())
    }

    async fn step_update(&mut self, s: &Step) -> Result<()> {
        let (before, after) = (text(&s.before)?, text(&s.after)?);
        wr!(self, c => sqlx::query(
            "UPDATE step SET state = $3, attempt = $4, undo_attempt = $5, started_at = $6, \
             ended_at = $7, seen_before = $8, seen_after = $9, error = $10, spent_ms = $11 \
             WHERE operation_id = $1 AND seq = $2")
            .bind(&s.operation_id).bind(i64::from(s.seq)).bind(s.state.as_str())
            .bind(i64::from(s.attempt)).bind(i64::from(s.undo_attempt))
            .bind(s.started_at.map(At::ms)).bind(s.ended_at.map(At::ms))
            .bind(&before).bind(&after).bind(&s.error).bind(s.spent_ms)
            .execute(c).await.map(|d| d.rows_affected()))?;
        Ok(())
    }
}
