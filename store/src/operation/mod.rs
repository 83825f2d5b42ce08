//! Operations: created, read, cancelled. The worker's side is in `hold`.
//!
//! Invariant: an operation, its steps, its first journal line and its audit record appear in one
//! transaction; one idempotency key makes one operation, whatever is repeated.

mod hold;
mod row;

use model::At;
use model::caller::Caller;
use model::operation::{Operation, OperationEvent, OperationState, Step};
use model::plan::{Plan, PlannedStep};
use model::right::{Place, Right};
use serde_json::json;

use crate::approval::{Waiting, person};
use crate::audit::AuditEntry;
use crate::scoped::scoped;
use crate::tx::Tx;
use crate::{Error, Result, Store};
pub use hold::{CLAIM_CHARGE_MS, Change, Claim, Holder, Line};
use row::{EventRow, OPERATION, OperationRow, STEP, StepRow};
pub(crate) use row::{id, json as read_json, text};

/// Longest idempotency key: a UUID or a hash fits twice.
const KEY_CHARS_MAX: usize = 128;

/// What an operation is made from.
#[derive(Debug, Clone)]
pub struct NewOperation {
    /// Unique; the same key again answers the operation it made.
    pub idem_key: String,
    /// The plan, as confirmed.
    pub plan: Plan,
    /// Why, in the asker's words.
    pub why: String,
    /// Incident it answers.
    pub incident: Option<String>,
    /// The batch it is a part of.
    pub parent: Option<String>,
    /// Why it may not begin; none: it may. What is refused is written down like what is done.
    pub refused: Option<String>,
}

/// Which operations a list shows; empty fields do not restrict.
#[derive(Debug, Clone, Default)]
pub struct OperationFilter {
    /// Of this service.
    pub service: Option<model::ServiceId>,
    /// In this state.
    pub state: Option<OperationState>,
    /// Only those that are not over.
    pub unfinished: bool,
}

/// The right a plan of that danger level needs.
pub fn right_of_level(level: u8) -> Right {
    match level {
        0..=2 => Right::OpLow,
        3 => Right::OpDisrupt,
        _ => Right::OpDestroy,
    }
}

impl Store {
    /// Creates the operation, queued, with its steps; or answers the one that key made before.
    /// A key that made something else is a conflict.
    pub async fn operation_create(
        &self,
        caller: &Caller,
        new: NewOperation,
        at: At,
    ) -> Result<Operation> {
        self.operation_create_waiting(caller, new, Waiting::default(), at).await
    }

    /// The same for one that others must approve, or that begins only after a while.
    pub async fn operation_create_waiting(
        &self,
        caller: &Caller,
        new: NewOperation,
        waiting: Waiting,
        at: At,
    ) -> Result<Operation> {
        let place = self.place_of_service(&new.plan.service).await?;
        caller.require(right_of_level(new.plan.level), &place)?;
        if new.idem_key.is_empty() || new.idem_key.chars().count() > KEY_CHARS_MAX {
            return Err(Error::Invalid(format!(
                "idempotency key: expected 1 to {KEY_CHARS_MAX} characters"
            )));
        }
        if let Some(made) = self.made_before(caller, &new).await? {
            return Ok(made);
        }
        match self.insert_operation(caller, (&new, waiting), &place, at).await {
            // A twin was faster.
            Err(Error::Conflict(said)) => {
                self.made_before(caller, &new).await?.ok_or(Error::Conflict(said))
            }
            other => other,
        }
    }

    async fn made_before(&self, caller: &Caller, new: &NewOperation) -> Result<Option<Operation>> {
        let Some(made) = self.operation_by_key(&new.idem_key).await? else { return Ok(None) };
        let same = made.created_by == caller.name()
            && made.service == new.plan.service
            && made.plan_hash == new.plan.hash();
        if same {
            return Ok(Some(made));
        }
        Err(Error::Conflict(format!(
            "idempotency key {:?} was used for another operation",
            new.idem_key
        )))
    }

    async fn insert_operation(
        &self,
        caller: &Caller,
        (new, waiting): (&NewOperation, Waiting),
        place: &Place,
        at: At,
    ) -> Result<Operation> {
        let mut operation = fresh(caller, new, waiting, at);
        if waiting.needed == 0 {
            operation.not_before = self.in_ms(waiting.delay_ms).await?;
        }
        let system = place.system.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut tx = self.begin().await?;
        tx.operation_row(&operation, &system).await?;
        for (seq, step) in (0i64..).zip(&operation.plan.steps) {
            tx.step_row(&operation.id, seq, step).await?;
        }
        let line = format!("{}: {}", operation.plan.title, operation.why);
        tx.event_row(&operation.id, None, at, 0, "planned", &line).await?;
        let mut entry = AuditEntry::new("operation.create", &operation.id, place.clone())
            .change(serde_json::Value::Null, intent(&operation));
        entry.plan_hash = operation.plan_hash.clone();
        tx.audit(caller, entry, at).await?;
        tx.commit().await?;
        Ok(operation)
    }

    /// The operation that key made. For the engine, which authorises on what it finds.
    pub async fn operation_by_key(&self, key: &str) -> Result<Option<Operation>> {
        let sql = format!("SELECT {OPERATION} FROM operation WHERE idem_key = $1");
        let row: Option<OperationRow> = rd!(self, c =>
            sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str())).bind(key).fetch_optional(c).await)?;
        row.map(OperationRow::read).transpose()
    }

    /// The parts of a batch, oldest first. For the engine and for who may see the batch.
    pub async fn operation_parts(&self, parent: &str) -> Result<Vec<Operation>> {
        let sql = format!("SELECT {OPERATION} FROM operation WHERE parent = $1 ORDER BY id");
        let rows: Vec<OperationRow> = rd!(self, c =>
            sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str())).bind(parent).fetch_all(c).await)?;
        rows.into_iter().map(OperationRow::read).collect()
    }

    /// Steps of an operation of the caller's own, in order. For the engine, which asks for its parts.
    pub async fn operation_steps_of(&self, id: &str) -> Result<Vec<Step>> {
        self.steps_of(id).await
    }

    /// One operation.
    pub async fn operation_get(&self, caller: &Caller, id: &str) -> Result<Operation> {
        let row = self.visible(caller, id).await?;
        row.read()
    }

    async fn visible(&self, caller: &Caller, id: &str) -> Result<OperationRow> {
        let gone = || Error::NotFound(format!("operation {id}"));
        let sql = format!("SELECT {OPERATION} FROM operation WHERE id = $1");
        let row: Option<OperationRow> = rd!(self, c =>
            sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str())).bind(id).fetch_optional(c).await)?;
        let row = row.ok_or_else(gone)?;
        if !caller.may(Right::FleetRead, &row.place()?) {
            return Err(gone());
        }
        Ok(row)
    }

    /// Its steps in order.
    pub async fn operation_steps(&self, caller: &Caller, id: &str) -> Result<Vec<Step>> {
        self.visible(caller, id).await?;
        self.steps_of(id).await
    }

    async fn steps_of(&self, id: &str) -> Result<Vec<Step>> {
        let sql = format!("SELECT {STEP} FROM step WHERE operation_id = $1 ORDER BY seq");
        let rows: Vec<StepRow> = rd!(self, c =>
            sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str())).bind(id).fetch_all(c).await)?;
        rows.into_iter().map(StepRow::read).collect()
    }

    /// Lines of its journal after line `after`, oldest first.
    pub async fn operation_events(
        &self,
        caller: &Caller,
        id: &str,
        after: i64,
        limit: i64,
    ) -> Result<Vec<OperationEvent>> {
        self.visible(caller, id).await?;
        let rows: Vec<EventRow> = rd!(self, c => sqlx::query_as(
            "SELECT operation_id, n, seq, at, fence, what, line FROM operation_event \
             WHERE operation_id = $1 AND n > $2 ORDER BY n LIMIT $3")
            .bind(id).bind(after).bind(limit).fetch_all(c).await)?;
        rows.into_iter().map(EventRow::read).collect()
    }

    /// Operations the caller may see, newest first; `before` is the id a page ended with.
    pub async fn operation_list(
        &self,
        caller: &Caller,
        filter: &OperationFilter,
        limit: i64,
        before: Option<&str>,
    ) -> Result<Vec<Operation>> {
        let (condition, mut binds) = condition(caller, filter);
        // Ids are UUIDv7: their order is the order of creation.
        let n = binds.len();
        let sql = format!(
            "SELECT {OPERATION} FROM operation WHERE {condition} AND id < ${} \
             ORDER BY id DESC LIMIT ${}",
            n + 1,
            n + 2
        );
        binds.push(before.unwrap_or("zzzz").to_string());
        let rows: Vec<OperationRow> = rd!(self, c => {
            let mut query = sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str()));
            for value in &binds { query = query.bind(value); }
            query.bind(limit).fetch_all(c).await
        })?;
        rows.into_iter().map(OperationRow::read).collect()
    }

    /// How many there are in all.
    pub async fn operation_count(&self, caller: &Caller, filter: &OperationFilter) -> Result<i64> {
        let (condition, binds) = condition(caller, filter);
        let sql = format!("SELECT count(*) FROM operation WHERE {condition}");
        Ok(rd!(self, c => {
            let mut query = sqlx::query_scalar(sqlx::AssertSqlSafe(sql.as_str()));
            for value in &binds { query = query.bind(value); }
            query.fetch_one(c).await
        })?)
    }

    /// Number of operations by (kind, state), for our own metrics.
    pub async fn operation_counts(&self) -> Result<Vec<(String, String, i64)>> {
        Ok(rd!(self, c => sqlx::query_as(
            "SELECT kind, state, count(*) FROM operation GROUP BY kind, state ORDER BY kind, state")
            .fetch_all(c).await)?)
    }

    /// (id, kind, kind version) of all that are not over, as text: the kind may be unknown here.
    pub async fn operation_unfinished(&self) -> Result<Vec<(String, String, i64)>> {
        Ok(rd!(self, c => sqlx::query_as(
            "SELECT id, kind, kind_version FROM operation WHERE state IN \
             ('planned', 'awaiting_approval', 'queued', 'running', 'paused', 'verifying', \
              'unwinding') ORDER BY id")
            .fetch_all(c).await)?)
    }

    /// Ends a queued operation at once; asks a running one to stop after its present step.
    pub async fn operation_cancel(
        &self,
        caller: &Caller,
        id: &str,
        reason: &str,
        at: At,
    ) -> Result<Operation> {
        let row = self.visible(caller, id).await?;
        let place = row.place()?;
        caller.require(Right::OpCancel, &place)?;
        let operation = row.read()?;
        let steps = self.operation_steps(caller, id).await?;
        if let Some(why) = operation.past_stopping(&steps) {
            return Err(Error::Conflict(format!("operation {id} cannot be stopped: {why}")));
        }
        let by = format!("cancelled by {}: {reason}", caller.name());
        let mut tx = self.begin().await?;
        let ended = wr!(tx, c => sqlx::query(
            "UPDATE operation SET state = 'cancelled', reason = $2, cancel_requested = TRUE, \
             ended_at = $3 WHERE id = $1 AND fence = 0 \
             AND state IN ('planned', 'awaiting_approval', 'queued')")
            .bind(id).bind(&by).bind(at.ms()).execute(c).await.map(|d| d.rows_affected()))?;
        let asked = wr!(tx, c => sqlx::query(
            "UPDATE operation SET cancel_requested = TRUE, \
             state = CASE WHEN state = 'paused' THEN 'running' ELSE state END WHERE id = $1 \
             AND state IN ('queued', 'running', 'paused', 'verifying', 'unwinding')")
            .bind(id).execute(c).await.map(|d| d.rows_affected()))?;
        if ended + asked == 0 {
            let state = operation.state.as_str();
            return Err(Error::Conflict(format!("operation {id} is over ({state})")));
        }
        tx.event_row(id, None, at, operation.fence, "decision", &by).await?;
        let mut entry = AuditEntry::new("operation.cancel", id, place);
        entry.plan_hash = operation.plan_hash;
        tx.audit(caller, entry.change(json!(null), json!({ "reason": reason })), at).await?;
        tx.commit().await?;
        self.operation_get(caller, id).await
    }
}

fn condition(caller: &Caller, filter: &OperationFilter) -> (String, Vec<String>) {
    let scope = scoped(caller, Right::FleetRead, 1);
    let (mut sql, mut binds) = (scope.sql, scope.binds);
    let mut and = |column: &str, value: Option<String>| {
        if let Some(value) = value {
            binds.push(value);
            sql.push_str(&format!(" AND {column} = ${}", binds.len()));
        }
    };
    and("service", filter.service.as_ref().map(ToString::to_string));
    and("state", filter.state.map(|s| s.as_str().to_string()));
    if filter.unfinished {
        sql.push_str(" AND ended_at IS NULL");
    }
    (sql, binds)
}

fn fresh(caller: &Caller, new: &NewOperation, waiting: Waiting, at: At) -> Operation {
    let queued = waiting.needed == 0;
    Operation {
        id: uuid::Uuid::now_v7().to_string(),
        kind: new.plan.kind,
        idem_key: new.idem_key.clone(),
        tenant: new.plan.service.tenant(),
        service: new.plan.service.clone(),
        plan: new.plan.clone(),
        plan_hash: new.plan.hash(),
        state: match (&new.refused, queued) {
            (Some(_), _) => OperationState::Refused,
            (None, true) => OperationState::Queued,
            (None, false) => OperationState::AwaitingApproval,
        },
        reason: new.refused.clone().unwrap_or_default(),
        cancel_requested: false,
        lease_owner: String::new(),
        lease_until: At::EPOCH,
        fence: 0,
        created_by: caller.name(),
        why: new.why.clone(),
        created_at: at,
        started_at: None,
        ended_at: new.refused.as_ref().map(|_| at),
        incident: new.incident.clone(),
        outcome: json!({}),
        created_person: person(&caller.actor),
        approvals_needed: waiting.needed,
        approve_until: if queued { At::EPOCH } else { waiting.until },
        not_before: At::EPOCH,
        pause_requested: false,
        parent: new.parent.clone(),
    }
}

/// What the audit keeps of a plan: what will be sent where. Figures of the plan stay in its row.
fn intent(operation: &Operation) -> serde_json::Value {
    let steps: Vec<_> = operation
        .plan
        .steps
        .iter()
        .map(|s| json!({ "step": s.kind, "target": s.target, "commands": s.commands }))
        .collect();
    json!({
        "kind": operation.kind, "service": operation.service, "why": operation.why,
        "incident": operation.incident, "steps": steps,
    })
}

impl Tx {
    async fn operation_row(&mut self, o: &Operation, system: &str) -> Result<()> {
        let (plan, outcome) = (text(&o.plan)?, text(&o.outcome)?);
        wr!(self, c => sqlx::query(
            "INSERT INTO operation (id, kind, kind_version, idem_key, tenant, system, service, plan, \
             plan_hash, state, cancel_requested, lease_owner, lease_until, fence, \
             created_by, why, created_at, incident, outcome, created_person, approvals_needed, \
             approve_until, not_before, parent, reason, ended_at) VALUES ($1, $2, $3, $4, $5, $6, $7, \
             $8, $9, $10, FALSE, '', 0, 0, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)")
            .bind(&o.id).bind(o.kind.as_str()).bind(i64::from(o.plan.kind_version))
            .bind(&o.idem_key).bind(o.tenant.as_str()).bind(system).bind(o.service.as_str())
            .bind(&plan).bind(&o.plan_hash).bind(o.state.as_str()).bind(&o.created_by)
            .bind(&o.why).bind(o.created_at.ms()).bind(&o.incident).bind(&outcome)
            .bind(&o.created_person).bind(i64::from(o.approvals_needed))
            .bind(o.approve_until.ms()).bind(o.not_before.ms()).bind(&o.parent).bind(&o.reason)
            .bind(o.ended_at.map(At::ms))
            .execute(c).await.map(|d| d.rows_affected()))?;
        Ok(())
    }

    async fn step_row(&mut self, operation: &str, seq: i64, s: &PlannedStep) -> Result<()> {
        let (args, commands) = (text(&s.args)?, text(&s.commands)?);
        wr!(self, c => sqlx::query(
            "INSERT INTO step (operation_id, seq, kind, target, title, args, commands, timeout_ms, \
             tries, repeatable, point_of_no_return, state, attempt, undo_attempt, seen_before, \
             seen_after, error) VALUES \
             ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'pending', 0, 0, 'null', 'null', '')")
            .bind(operation).bind(seq).bind(&s.kind).bind(&s.target).bind(&s.title).bind(&args)
            .bind(&commands).bind(s.timeout_ms).bind(i64::from(s.tries)).bind(s.repeatable)
            .bind(s.point_of_no_return).execute(c).await.map(|d| d.rows_affected()))?;
        Ok(())
    }

    /// Appends a journal line. The caller holds the operation's row, so numbers are gapless.
    pub(crate) async fn event_row(
        &mut self,
        operation: &str,
        seq: Option<u32>,
        at: At,
        fence: i64,
        what: &str,
        line: &str,
    ) -> Result<()> {
        wr!(self, c => sqlx::query(
            "INSERT INTO operation_event (operation_id, n, seq, at, fence, what, line) \
             SELECT $1, coalesce(max(n), 0) + 1, $2, $3, $4, $5, $6 \
             FROM operation_event WHERE operation_id = $7")
            .bind(operation).bind(seq.map(i64::from)).bind(at.ms()).bind(fence).bind(what)
            .bind(line).bind(operation).execute(c).await.map(|d| d.rows_affected()))?;
        Ok(())
    }
}
