//! Threshold policies: append-only revisions; the newest of each (policy, scope, selector) is in
//! force unless it retires the document.
//!
//! Invariant: a revision is never changed; publishing writes revision and audit record together; a
//! change that was decided on other documents than those in force is refused.
//! Refuses to know: what a policy means; documents are checked by `alerter` before they come here.

use std::collections::BTreeMap;

use model::At;
use model::caller::Caller;
use model::policy::{Meta, PolicyDoc, PolicyRevision, PolicyScope};
use model::right::{Place, Right};
use serde_json::{Value, json};

use crate::audit::AuditEntry;
use crate::{Error, Result, Store};

/// Longest reason, characters.
const REASON_CHARS_MAX: usize = 500;
/// Longest document: a text of every alert of the catalogue is a tenth of it.
const BODY_MAX: usize = 64 * 1024;
/// Revisions of one policy answered, newest first.
const REVISIONS_MAX: i64 = 200;

const COLUMNS: &str = "p.policy, p.scope, p.selector, p.rev, p.seq, p.retired, p.body, p.actor, \
     p.reason, p.at";

type Row = (String, String, String, i64, i64, bool, String, String, String, i64);

fn read(row: Row) -> Result<PolicyRevision> {
    let (policy, scope, selector, rev, seq, retired, body, by, reason, at) = row;
    let wrong = |e: String| Error::Internal(format!("policy {policy}@{scope}, rev {rev}: {e}"));
    let doc: PolicyDoc = serde_json::from_str(&body).map_err(|e| wrong(e.to_string()))?;
    let selector: BTreeMap<String, Vec<String>> =
        serde_json::from_str(&selector).map_err(|e| wrong(e.to_string()))?;
    let at = At::from_ms(at);
    let meta = Meta { rev, by: by.clone(), at, reason: reason.clone(), ..Meta::default() };
    let doc = (!retired).then_some(PolicyDoc { meta: Some(meta), ..doc });
    let scope = PolicyScope::try_from(scope.clone()).map_err(wrong)?;
    Ok(PolicyRevision { policy, scope, selector, rev, seq, doc, by, reason, at })
}

/// A change of a document.
#[derive(Debug, Clone)]
pub struct PolicyChange<'a> {
    /// The new document; of one that is retired its place is enough.
    pub doc: &'a PolicyDoc,
    /// Takes the document out of force: its fields are inherited from then on.
    pub retire: bool,
    /// Why.
    pub reason: &'a str,
    /// `policy_generation` it was decided on; none: whatever is in force.
    pub generation: Option<i64>,
}

impl Store {
    /// Publishes a document whatever is in force: the inventory file and its like.
    pub async fn policy_put(
        &self,
        caller: &Caller,
        doc: &PolicyDoc,
        reason: &str,
        now: At,
    ) -> Result<i64> {
        let change = PolicyChange { doc, retire: false, reason, generation: None };
        self.policy_publish(caller, &change, now).await
    }

    /// Publishes a change: a new revision, in force at once. Answers its number. An unchanged document
    /// makes none.
    pub async fn policy_publish(
        &self,
        caller: &Caller,
        change: &PolicyChange<'_>,
        now: At,
    ) -> Result<i64> {
        let PolicyChange { doc, retire, .. } = *change;
        let place = self.policy_place(&doc.scope).await?;
        caller.require(Right::PolicyPublish, &place)?;
        let reason = change.reason.trim();
        let chars = reason.chars().count();
        if chars == 0 || chars > REASON_CHARS_MAX {
            let said = format!("reason: expected 1 to {REASON_CHARS_MAX} characters");
            return Err(Error::Invalid(said));
        }
        let scope = String::from(doc.scope.clone());
        // Which revision it was is ours to say.
        let doc = &PolicyDoc { meta: None, ..doc.clone() };
        let (selector, body) = (text(&doc.selector)?, text(doc)?);
        if body.len() > BODY_MAX {
            return Err(Error::Invalid(format!("the document has more than {BODY_MAX} bytes")));
        }
        let mut tx = self.begin().await?;
        let newest = "SELECT coalesce(max(seq), 0) FROM policy_revision";
        let newest: i64 = wr!(tx, c => sqlx::query_scalar(newest).fetch_one(c).await)?;
        if change.generation.is_some_and(|decided_on| decided_on != newest) {
            return Err(Error::Moved { what: "the policies".into(), present: newest });
        }
        let present: Option<(i64, bool, String)> = wr!(tx, c => sqlx::query_as(
            "SELECT rev, retired, body FROM policy_revision WHERE policy = $1 AND scope = $2 \
             AND selector = $3 ORDER BY rev DESC LIMIT 1")
            .bind(&doc.policy).bind(&scope).bind(&selector).fetch_optional(c).await)?;
        let live = present.as_ref().filter(|(_, retired, _)| !retired);
        match live {
            None if retire => {
                let said = format!("policy {} has no document of its own at {scope}", doc.policy);
                return Err(Error::NotFound(said));
            }
            Some((rev, _, old)) if !retire && *old == body => return Ok(*rev),
            _ => {}
        }
        let rev = present.as_ref().map_or(1, |(rev, _, _)| rev + 1);
        // What was retired stays readable.
        let kept = live.filter(|_| retire).map_or(&body, |(_, _, old)| old);
        wr!(tx, c => sqlx::query(
            "INSERT INTO policy_revision (policy, scope, selector, rev, seq, retired, body, actor, \
             reason, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)")
            .bind(&doc.policy).bind(&scope).bind(&selector).bind(rev).bind(newest + 1).bind(retire)
            .bind(kept).bind(caller.name()).bind(reason).bind(now.ms())
            .execute(c).await.map(|d| d.rows_affected()))?;
        // Thresholds are floats and the record holds none, so documents stand in it as text.
        let old = live.map_or(Value::Null, |(rev, _, old)| json!({"rev": rev, "doc": old}));
        let after = match retire {
            true => json!({"rev": rev, "retired": true, "reason": reason}),
            false => json!({"rev": rev, "doc": body, "reason": reason}),
        };
        let what = if retire { "policy.retire" } else { "policy.publish" };
        let entry = AuditEntry::new(what, format!("{}@{scope}", doc.policy), place);
        tx.audit(caller, entry.change(old, after), now).await?;
        tx.commit().await?;
        Ok(rev)
    }

    /// Number of the newest revision of all documents; 0: there is none.
    pub async fn policy_generation(&self) -> Result<i64> {
        let newest = "SELECT coalesce(max(seq), 0) FROM policy_revision";
        Ok(rd!(self, c => sqlx::query_scalar(newest).fetch_one(c).await)?)
    }

    /// The documents in force that the caller may read: those of his scopes, and the platform's,
    /// which apply to everybody. Without their revisions.
    pub async fn policies(&self, caller: &Caller) -> Result<Vec<PolicyDoc>> {
        let all = self.policies_in_force(caller).await?;
        let plain = |r: PolicyRevision| r.doc.map(|doc| PolicyDoc { meta: None, ..doc });
        Ok(all.into_iter().filter_map(plain).collect())
    }

    /// The same, each as the revision it is.
    pub async fn policies_in_force(&self, caller: &Caller) -> Result<Vec<PolicyRevision>> {
        if !caller.may_somewhere(Right::FleetRead) {
            caller.require(Right::FleetRead, &Place::platform())?;
        }
        let sql = format!(
            "SELECT {COLUMNS} FROM policy_revision p WHERE p.rev = (SELECT max(q.rev) FROM \
             policy_revision q WHERE q.policy = p.policy AND q.scope = p.scope AND q.selector = \
             p.selector) AND NOT p.retired ORDER BY p.policy, p.scope, p.selector"
        );
        let rows: Vec<Row> = rd!(self, c => {
            sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str())).fetch_all(c).await
        })?;
        self.in_sight(caller, rows).await
    }

    /// The revisions of a policy's documents that the caller may read, newest first.
    pub async fn policy_revisions(
        &self,
        caller: &Caller,
        policy: &str,
    ) -> Result<Vec<PolicyRevision>> {
        if !caller.may_somewhere(Right::FleetRead) {
            caller.require(Right::FleetRead, &Place::platform())?;
        }
        let sql = format!(
            "SELECT {COLUMNS} FROM policy_revision p WHERE p.policy = $1 ORDER BY p.seq DESC LIMIT $2"
        );
        let rows: Vec<Row> = rd!(self, c => {
            sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str()))
                .bind(policy).bind(REVISIONS_MAX).fetch_all(c).await
        })?;
        self.in_sight(caller, rows).await
    }

    async fn in_sight(&self, caller: &Caller, rows: Vec<Row>) -> Result<Vec<PolicyRevision>> {
        let mut visible = Vec::with_capacity(rows.len());
        for row in rows {
            let revision = read(row)?;
            let place = match self.policy_place(&revision.scope).await {
                // The system, service or instance is gone; so is what the document applied to.
                Err(Error::NotFound(_)) => continue,
                place => place?,
            };
            if revision.scope == PolicyScope::Platform || caller.may(Right::FleetRead, &place) {
                visible.push(revision);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Migrate};
    use model::right::{Role, Scope};

    struct Open {
        store: Store,
        _dir: tempfile::TempDir,
    }

    async fn open() -> Open {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("cw.db").display());
        let config = Config { url, key_file: None, key_env: None, key_command: None };
        Open { store: Store::open(&config, Migrate::AtStart).await.unwrap(), _dir: dir }
    }

    fn doc(scope: &str, fire: f64) -> PolicyDoc {
        serde_json::from_value(json!({
            "policy": "memory-used", "scope": scope, "levels": {"warning": {"fire": fire}},
        }))
        .unwrap()
    }

    fn caller(role: Role, scope: &str) -> Caller {
        let mut caller = Caller::system("test", "");
        caller.grants = vec![(role.rights(), Scope::try_from(scope.to_string()).unwrap())];
        caller
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_change_is_decided_on_what_is_in_force_and_stays_on_record() {
        let open = open().await;
        let store = &open.store;
        let (pay, hr) = (caller(Role::Operator, "tenant:pay"), caller(Role::Operator, "tenant:hr"));
        let put = async |doc: &PolicyDoc, retire, generation| {
            let change = PolicyChange { doc, retire, reason: "CHG-1", generation };
            store.policy_publish(&pay, &change, At::from_ms(7)).await
        };
        let (first, second) = (doc("tenant:pay", 0.8), doc("tenant:pay", 0.7));
        assert_eq!(put(&first, false, Some(0)).await.unwrap(), 1);
        assert_eq!(put(&first, false, Some(1)).await.unwrap(), 1, "unchanged");
        let late = put(&second, false, Some(0)).await;
        assert!(matches!(late, Err(Error::Moved { present: 1, .. })), "{late:?}");
        assert_eq!(put(&second, false, Some(1)).await.unwrap(), 2);
        assert_eq!(put(&second, true, Some(2)).await.unwrap(), 3);
        assert!(matches!(put(&second, true, None).await, Err(Error::NotFound(_))));
        assert!(store.policies(&pay).await.unwrap().is_empty(), "what is retired is inherited");
        assert_eq!(put(&second, false, None).await.unwrap(), 4, "and can come back");
        assert_eq!(store.policy_generation().await.unwrap(), 4);

        let all = store.policy_revisions(&pay, "memory-used").await.unwrap();
        let told: Vec<_> = all.iter().map(|r| (r.rev, r.doc.is_some(), &*r.reason)).collect();
        assert_eq!(
            told,
            [(4, true, "CHG-1"), (3, false, "CHG-1"), (2, true, "CHG-1"), (1, true, "CHG-1")]
        );
        let meta = all[0].doc.as_ref().unwrap().meta.as_ref().unwrap();
        assert_eq!((meta.rev, meta.at), (4, At::from_ms(7)));
        assert!(store.policy_revisions(&hr, "memory-used").await.unwrap().is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_foreign_layer_a_missing_reason_and_a_huge_document_are_refused() {
        let open = open().await;
        let pay = caller(Role::Operator, "tenant:pay");
        let try_it = async |doc: &PolicyDoc, reason: &str| {
            let change = PolicyChange { doc, retire: false, reason, generation: None };
            open.store.policy_publish(&pay, &change, At::EPOCH).await
        };
        for scope in ["platform", "tenant:hr"] {
            let said = try_it(&doc(scope, 0.8), "x").await;
            assert!(matches!(said, Err(Error::Denied(_))), "{scope}: {said:?}");
        }
        assert!(matches!(try_it(&doc("tenant:pay", 0.8), " ").await, Err(Error::Invalid(_))));
        let mut huge = doc("tenant:pay", 0.8);
        huge.annotations.insert("summary".into(), "x".repeat(BODY_MAX));
        assert!(matches!(try_it(&huge, "x").await, Err(Error::Invalid(_))));
    }
}
