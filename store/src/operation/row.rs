//! Rows of `operation`, `step` and `operation_event` as the nouns they hold.

use model::At;
use model::operation::{Operation, OperationEvent, OperationKind, OperationState, Step, StepState};
use model::right::Place;
use model::{ServiceId, SystemId, TenantId};
use serde::de::DeserializeOwned;

use crate::{Error, Result};

pub(super) const OPERATION: &str = "id, kind, idem_key, tenant, system, service, plan, plan_hash, \
    state, reason, cancel_requested, lease_owner, lease_until, fence, created_by, why, created_at, \
    started_at, ended_at, incident, outcome, created_person, approvals_needed, approve_until, \
    not_before, pause_requested, parent";

pub(super) const STEP: &str = "operation_id, seq, kind, target, title, args, commands, timeout_ms, \
    tries, repeatable, point_of_no_return, state, attempt, undo_attempt, started_at, ended_at, \
    seen_before, seen_after, error, spent_ms";

#[derive(sqlx::FromRow)]
pub(super) struct OperationRow {
    id: String,
    kind: String,
    idem_key: String,
    tenant: String,
    system: String,
    service: String,
    plan: String,
    plan_hash: String,
    state: String,
    reason: String,
    cancel_requested: bool,
    lease_owner: String,
    lease_until: i64,
    fence: i64,
    created_by: String,
    why: String,
    created_at: i64,
    started_at: Option<i64>,
    ended_at: Option<i64>,
    incident: Option<String>,
    outcome: String,
    created_person: String,
    approvals_needed: i64,
    approve_until: i64,
    not_before: i64,
    pause_requested: bool,
    parent: Option<String>,
}

impl OperationRow {
    /// Where it stands, as when it was created.
    pub(super) fn place(&self) -> Result<Place> {
        Ok(Place::service(&id::<ServiceId>(&self.service)?, &id::<SystemId>(&self.system)?))
    }

    pub(super) fn read(self) -> Result<Operation> {
        Ok(Operation {
            kind: word(&self.kind, OperationKind::parse)?,
            tenant: id::<TenantId>(&self.tenant)?,
            service: id::<ServiceId>(&self.service)?,
            plan: json(&self.plan)?,
            state: word(&self.state, OperationState::parse)?,
            outcome: json(&self.outcome)?,
            id: self.id,
            idem_key: self.idem_key,
            plan_hash: self.plan_hash,
            reason: self.reason,
            cancel_requested: self.cancel_requested,
            lease_owner: self.lease_owner,
            lease_until: At::from_ms(self.lease_until),
            fence: self.fence,
            created_by: self.created_by,
            why: self.why,
            created_at: At::from_ms(self.created_at),
            started_at: self.started_at.map(At::from_ms),
            ended_at: self.ended_at.map(At::from_ms),
            incident: self.incident,
            created_person: self.created_person,
            approvals_needed: small(self.approvals_needed)?,
            approve_until: At::from_ms(self.approve_until),
            not_before: At::from_ms(self.not_before),
            pause_requested: self.pause_requested,
            parent: self.parent,
        })
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct StepRow {
    operation_id: String,
    seq: i64,
    kind: String,
    target: String,
    title: String,
    args: String,
    commands: String,
    timeout_ms: i64,
    tries: i64,
    repeatable: bool,
    point_of_no_return: bool,
    state: String,
    attempt: i64,
    undo_attempt: i64,
    started_at: Option<i64>,
    ended_at: Option<i64>,
    seen_before: String,
    seen_after: String,
    error: String,
    spent_ms: i64,
}

impl StepRow {
    pub(super) fn read(self) -> Result<Step> {
        Ok(Step {
            seq: small(self.seq)?,
            args: json(&self.args)?,
            commands: json(&self.commands)?,
            tries: small(self.tries)?,
            state: word(&self.state, StepState::parse)?,
            attempt: small(self.attempt)?,
            undo_attempt: small(self.undo_attempt)?,
            before: json(&self.seen_before)?,
            after: json(&self.seen_after)?,
            operation_id: self.operation_id,
            kind: self.kind,
            target: self.target,
            title: self.title,
            timeout_ms: self.timeout_ms,
            repeatable: self.repeatable,
            point_of_no_return: self.point_of_no_return,
            started_at: self.started_at.map(At::from_ms),
            ended_at: self.ended_at.map(At::from_ms),
            spent_ms: self.spent_ms,
            error: self.error,
        })
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct EventRow {
    operation_id: String,
    n: i64,
    seq: Option<i64>,
    at: i64,
    fence: i64,
    what: String,
    line: String,
}

impl EventRow {
    pub(super) fn read(self) -> Result<OperationEvent> {
        Ok(OperationEvent {
            operation_id: self.operation_id,
            n: self.n,
            seq: self.seq.map(small).transpose()?,
            at: At::from_ms(self.at),
            fence: self.fence,
            what: self.what,
            line: self.line,
        })
    }
}

pub(super) fn small(n: i64) -> Result<u32> {
    u32::try_from(n).map_err(|_| Error::Internal(format!("{n} is not a small count")))
}

/// The value of a closed set; an unknown word was written by a newer program.
pub(crate) fn word<T>(text: &str, parse: fn(&str) -> Option<T>) -> Result<T> {
    parse(text).ok_or_else(|| Error::Internal(format!("unknown word {text:?} in a row")))
}

pub(crate) fn id<T: std::str::FromStr<Err = model::id::BadId>>(text: &str) -> Result<T> {
    text.parse().map_err(|e: model::id::BadId| Error::Internal(e.to_string()))
}

pub(crate) fn json<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| Error::Internal(format!("a row's JSON: {e}")))
}

pub(crate) fn text<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::Internal(format!("to JSON: {e}")))
}
