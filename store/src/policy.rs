//! Threshold policies: append-only revisions; the newest of each (policy, scope, selector) is in
//! force.
//!
//! Invariant: a revision is never changed; publishing writes revision and audit record together.
//! Refuses to know: what a policy means; documents are checked by `alerter` before they come here.

use model::At;
use model::caller::Caller;
use model::policy::{PolicyDoc, PolicyScope};
use model::right::{Place, Right};
use serde_json::{Value, json};

use crate::audit::AuditEntry;
use crate::{Error, Result, Store};

const NEWEST: &str = "SELECT p.policy, p.body FROM policy_revision p WHERE p.rev = \
     (SELECT max(q.rev) FROM policy_revision q WHERE q.policy = p.policy AND q.scope = p.scope \
     AND q.selector = p.selector) ORDER BY p.policy, p.scope, p.selector";

impl Store {
    /// Publishes a document: a new revision, in force at once. Answers its number. An unchanged
    /// document makes no revision.
    pub async fn policy_put(
        &self,
        caller: &Caller,
        doc: &PolicyDoc,
        reason: &str,
        now: At,
    ) -> Result<i64> {
        let place = self.policy_place(&doc.scope).await?;
        caller.require(Right::PolicyPublish, &place)?;
        let scope = String::from(doc.scope.clone());
        // Which revision it was is ours to say.
        let doc = &PolicyDoc { meta: None, ..doc.clone() };
        let (selector, body) = (text(&doc.selector)?, text(doc)?);
        let mut tx = self.begin().await?;
        let present: Option<(i64, String)> = wr!(tx, c => sqlx::query_as(
            "SELECT rev, body FROM policy_revision WHERE policy = $1 AND scope = $2 \
             AND selector = $3 ORDER BY rev DESC LIMIT 1")
            .bind(&doc.policy).bind(&scope).bind(&selector).fetch_optional(c).await)?;
        if let Some((rev, old)) = &present
            && *old == body
        {
            return Ok(*rev);
        }
        let rev = present.as_ref().map_or(1, |(rev, _)| rev + 1);
        wr!(tx, c => sqlx::query(
            "INSERT INTO policy_revision (policy, scope, selector, rev, body, actor, reason, at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)")
            .bind(&doc.policy).bind(&scope).bind(&selector).bind(rev).bind(&body)
            .bind(caller.name()).bind(reason).bind(now.ms())
            .execute(c).await.map(|d| d.rows_affected()))?;
        // Thresholds are floats and the record holds none, so documents stand in it as text.
        let before = present.map_or(Value::Null, |(rev, old)| json!({"rev": rev, "doc": old}));
        let after = json!({"rev": rev, "doc": body, "reason": reason});
        let entry = AuditEntry::new("policy.publish", format!("{}@{scope}", doc.policy), place)
            .change(before, after);
        tx.audit(caller, entry, now).await?;
        tx.commit().await?;
        Ok(rev)
    }

    /// The documents in force that the caller may read: those of his scopes, and the platform's,
    /// which apply to everybody.
    pub async fn policies(&self, caller: &Caller) -> Result<Vec<PolicyDoc>> {
        if !caller.may_somewhere(Right::FleetRead) {
            caller.require(Right::FleetRead, &Place::platform())?;
        }
        let rows: Vec<(String, String)> =
            rd!(self, c => sqlx::query_as(NEWEST).fetch_all(c).await)?;
        let mut visible = Vec::with_capacity(rows.len());
        for (policy, body) in rows {
            let doc: PolicyDoc = serde_json::from_str(&body)
                .map_err(|e| Error::Internal(format!("policy {policy}: {e}")))?;
            let place = match self.policy_place(&doc.scope).await {
                // The system, service or instance is gone; so is what the document applied to.
                Err(Error::NotFound(_)) => continue,
                place => place?,
            };
            if doc.scope == PolicyScope::Platform || caller.may(Right::FleetRead, &place) {
                visible.push(doc);
            }
        }
        Ok(visible)
    }

    /// Where a scope stands in the tree.
    pub(crate) async fn policy_place(&self, scope: &PolicyScope) -> Result<Place> {
        let service = match scope {
            PolicyScope::Platform => return Ok(Place::platform()),
            PolicyScope::Tenant(id) => return Ok(Place::tenant(id)),
            PolicyScope::System(id) => return Ok(Place::system(id)),
            PolicyScope::Service(id) => id.clone(),
            PolicyScope::Instance(id) => id.service(),
        };
        let system: Option<String> = rd!(self, c =>
            sqlx::query_scalar("SELECT system FROM service WHERE id = $1")
            .bind(service.as_str()).fetch_optional(c).await)?;
        let system = system.ok_or_else(|| Error::NotFound(format!("service {service}")))?;
        let system =
            system.parse().map_err(|e: model::id::BadId| Error::Internal(e.to_string()))?;
        Ok(Place::service(&service, &system))
    }
}

fn text<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::Internal(e.to_string()))
}
