//! Score policies: append-only revisions; the newest of each scope is in force. And the profile of a
//! service, when its owner confirms or changes it.
//!
//! Invariant: a revision is never changed; revision and audit record are written together; a change
//! that was decided on older documents than those in force is refused. Refuses to know what a document
//! means: it is judged before it comes here, but who may write and who may sign is decided here.

use model::caller::Caller;
use model::right::{Right, Scope};
use model::score_policy::{ScorePolicyDoc, ScorePolicyRevision};
use model::service::{Profile, ProfileFrom};
use model::{At, ServiceId};
use serde_json::{Value, json};

use crate::audit::AuditEntry;
use crate::{Error, Result, Store};

/// Longest reason, characters.
const REASON_CHARS_MAX: usize = 500;
/// Longest document: twelve knots for every signal are a tenth of it.
const BODY_MAX: usize = 64 * 1024;
/// Revisions of one scope answered, newest first.
const REVISIONS_MAX: i64 = 100;

const NEWEST: &str = "SELECT rev, scope, body, actor, approver, reason, at \
     FROM score_policy_revision p WHERE p.rev = (SELECT max(q.rev) FROM score_policy_revision q \
     WHERE q.scope = p.scope) ORDER BY p.scope";

type Row = (i64, String, String, String, String, String, i64);

fn read((rev, scope, body, by, approver, reason, at): Row) -> Result<ScorePolicyRevision> {
    let doc = serde_json::from_str(&body)
        .map_err(|e| Error::Internal(format!("score policy {scope}, revision {rev}: {e}")))?;
    Ok(ScorePolicyRevision { rev, doc, by, approver, reason, at: At::from_ms(at) })
}

/// A change of a scope's document.
#[derive(Debug, Clone)]
pub struct ScorePolicyChange<'a> {
    /// The new document.
    pub doc: &'a ScorePolicyDoc,
    /// Why.
    pub reason: &'a str,
    /// Newest revision of the whole platform it was decided on.
    pub generation: i64,
    /// The caller signs, as a system administrator, what lies far from the profile.
    pub sign: bool,
}

impl Store {
    /// Every document in force, for the process itself, with the newest revision of all.
    pub async fn score_policies_in_force(&self) -> Result<(i64, Vec<ScorePolicyRevision>)> {
        let generation = self.score_policy_generation().await?;
        let rows: Vec<Row> = rd!(self, c => sqlx::query_as(NEWEST).fetch_all(c).await)?;
        Ok((generation, rows.into_iter().map(read).collect::<Result<_>>()?))
    }

    /// Every document that was in force at a moment, for the process itself.
    pub async fn score_policies_at(&self, at: At) -> Result<Vec<ScorePolicyRevision>> {
        let then = "SELECT rev, scope, body, actor, approver, reason, at \
             FROM score_policy_revision p WHERE p.rev = (SELECT max(q.rev) \
             FROM score_policy_revision q WHERE q.scope = p.scope AND q.at <= $1) ORDER BY p.scope";
        let rows: Vec<Row> = rd!(self, c => sqlx::query_as(then).bind(at.ms()).fetch_all(c).await)?;
        rows.into_iter().map(read).collect()
    }

    /// The newest revision of all documents; 0: there is none.
    pub async fn score_policy_generation(&self) -> Result<i64> {
        let newest = "SELECT coalesce(max(rev), 0) FROM score_policy_revision";
        Ok(rd!(self, c => sqlx::query_scalar(newest).fetch_one(c).await)?)
    }

    /// The revisions of a scope's document, newest first. Those of the platform apply to everybody and
    /// are shown to everybody who sees anything.
    pub async fn score_policy_revisions(
        &self,
        caller: &Caller,
        scope: &Scope,
    ) -> Result<Vec<ScorePolicyRevision>> {
        let place = self.item_place(scope).await?;
        if *scope != Scope::Platform || !caller.may_somewhere(Right::FleetRead) {
            caller.require(Right::FleetRead, &place)?;
        }
        let rows: Vec<Row> = rd!(self, c => sqlx::query_as(
            "SELECT rev, scope, body, actor, approver, reason, at FROM score_policy_revision \
             WHERE scope = $1 ORDER BY rev DESC LIMIT $2")
            .bind(String::from(scope.clone())).bind(REVISIONS_MAX).fetch_all(c).await)?;
        rows.into_iter().map(read).collect()
    }

    /// Writes a revision, in force at once; answers its number. An unchanged document makes none.
    pub async fn score_policy_put(
        &self,
        caller: &Caller,
        change: &ScorePolicyChange<'_>,
        now: At,
    ) -> Result<i64> {
        let scope = String::from(change.doc.scope.clone());
        let place = self.item_place(&change.doc.scope).await?;
        caller.require(Right::PolicyPublish, &place)?;
        if change.sign {
            caller.require(Right::SystemAdmin, &place)?;
        }
        let reason = change.reason.trim();
        let chars = reason.chars().count();
        if chars == 0 || chars > REASON_CHARS_MAX {
            let said = format!("reason: expected 1 to {REASON_CHARS_MAX} characters");
            return Err(Error::Invalid(said));
        }
        let body = serde_json::to_string(change.doc)
            .map_err(|e| Error::Internal(format!("score policy {scope}: {e}")))?;
        if body.len() > BODY_MAX {
            return Err(Error::Invalid(format!("the document has more than {BODY_MAX} bytes")));
        }
        let mut tx = self.begin().await?;
        let newest = "SELECT coalesce(max(rev), 0) FROM score_policy_revision";
        let newest: i64 = wr!(tx, c => sqlx::query_scalar(newest).fetch_one(c).await)?;
        if newest != change.generation {
            return Err(Error::Moved { what: "the score policies".into(), present: newest });
        }
        let present: Option<(i64, String)> = wr!(tx, c => sqlx::query_as(
            "SELECT rev, body FROM score_policy_revision WHERE scope = $1 ORDER BY rev DESC LIMIT 1")
            .bind(&scope).fetch_optional(c).await)?;
        if let Some((rev, old)) = &present
            && *old == body
        {
            return Ok(*rev);
        }
        let rev = newest + 1;
        let tenant = place.tenant.as_ref().map(ToString::to_string).unwrap_or_default();
        let approver = if change.sign { caller.name() } else { String::new() };
        wr!(tx, c => sqlx::query(
            "INSERT INTO score_policy_revision (rev, scope, tenant, body, actor, approver, reason, at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)")
            .bind(rev).bind(&scope).bind(&tenant).bind(&body).bind(caller.name()).bind(&approver)
            .bind(reason).bind(now.ms())
            .execute(c).await.map(|d| d.rows_affected()))?;
        // Losses are floats and the record holds none, so documents stand in it as text.
        let before = present.map_or(Value::Null, |(rev, old)| json!({ "rev": rev, "doc": old }));
        let after = json!({ "rev": rev, "doc": body, "reason": reason, "approver": approver });
        let entry = AuditEntry::new("score_policy.put", &scope, place).change(before, after);
        tx.audit(caller, entry, now).await?;
        tx.commit().await?;
        Ok(rev)
    }

    /// Sets or confirms the profile of a service: from then on it is given, not guessed.
    ///
    /// Whoever may publish policies there may, and the owner the tree names, who is a reader.
    pub async fn profile_confirm(
        &self,
        caller: &Caller,
        service: &ServiceId,
        profile: Profile,
        now: At,
    ) -> Result<()> {
        let place = self.place_of_service(service).await?;
        let system = place.system.clone().map(|s| s.to_string()).unwrap_or_default();
        let owner: Option<String> = rd!(self, c => sqlx::query_scalar(
            "SELECT owner FROM system WHERE id = $1").bind(&system).fetch_optional(c).await)?;
        let actor = &caller.actor;
        let owner = owner.filter(|o| !o.is_empty());
        let owns = owner.is_some_and(|o| o == actor.staff_id || o == actor.subject);
        if !(owns && caller.may(Right::FleetRead, &place)) {
            caller.require(Right::PolicyPublish, &place)?;
        }
        let generation = self.inventory_generation().await?;
        let mut tx = self.begin().await?;
        crate::inventory::bump(&mut tx, generation).await?;
        let before: (String, String) = wr!(tx, c => sqlx::query_as(
            "SELECT profile, profile_from FROM service WHERE id = $1")
            .bind(service.as_str()).fetch_one(c).await)?;
        wr!(tx, c => sqlx::query("UPDATE service SET profile = $2, profile_from = $3 WHERE id = $1")
            .bind(service.as_str()).bind(profile.as_str()).bind(ProfileFrom::Given.as_str())
            .execute(c).await.map(|d| d.rows_affected()))?;
        let told = |profile: &str, from: &str| json!({ "profile": profile, "profile_from": from });
        let entry = AuditEntry::new("service.profile", service, place).change(
            told(&before.0, &before.1),
            told(profile.as_str(), ProfileFrom::Given.as_str()),
        );
        tx.audit(caller, entry, now).await?;
        tx.commit().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Migrate};
    use model::right::Role;

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

    fn doc(scope: &str, slow_ms: f64) -> ScorePolicyDoc {
        serde_json::from_value(json!({ "scope": scope, "slowlog_limit_ms": slow_ms })).unwrap()
    }

    fn caller(role: Role, scope: &str) -> Caller {
        let mut caller = Caller::system("test", "");
        caller.grants = vec![(role.rights(), Scope::try_from(scope.to_string()).unwrap())];
        caller
    }

    fn change(doc: &ScorePolicyDoc, generation: i64) -> ScorePolicyChange<'_> {
        ScorePolicyChange { doc, reason: "test", generation, sign: false }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn revisions_are_numbered_over_the_platform_kept_and_on_record() {
        let open = open().await;
        let store = &open.store;
        let (pay, hr) = (caller(Role::Operator, "tenant:pay"), caller(Role::Operator, "tenant:hr"));
        let (first, second) = (doc("tenant:pay", 5.0), doc("tenant:pay", 6.0));
        let other = doc("tenant:hr", 7.0);
        let put = async |who: &Caller, c: ScorePolicyChange<'_>| {
            // The first at 10 ms, the next ones 10 ms apart.
            store.score_policy_put(who, &c, At::from_ms((c.generation + 1) * 10)).await
        };
        assert_eq!(put(&pay, change(&first, 0)).await.unwrap(), 1);
        assert_eq!(put(&pay, change(&first, 1)).await.unwrap(), 1, "nothing changed");
        assert_eq!(put(&hr, change(&other, 1)).await.unwrap(), 2);
        let moved = put(&pay, change(&second, 1)).await.unwrap_err();
        assert!(matches!(moved, Error::Moved { present: 2, .. }), "{moved:?}");
        assert_eq!(put(&pay, change(&second, 2)).await.unwrap(), 3);
        let (generation, in_force) = store.score_policies_in_force().await.unwrap();
        let told: Vec<_> = in_force.iter().map(|r| (r.rev, r.doc.slowlog_limit_ms)).collect();
        assert_eq!((generation, told), (3, vec![(2, Some(7.0)), (3, Some(6.0))]));
        for (ms, revisions) in [(9, vec![]), (10, vec![1]), (25, vec![2, 1]), (30, vec![2, 3])] {
            let then = store.score_policies_at(At::from_ms(ms)).await.unwrap();
            assert_eq!(then.iter().map(|r| r.rev).collect::<Vec<_>>(), revisions, "{ms} ms");
        }
        let all = store.score_policy_revisions(&pay, &first.scope).await.unwrap();
        let told: Vec<_> = all.iter().map(|r| (r.rev, r.doc == first)).collect();
        assert_eq!(told, [(3, false), (1, true)]);
        assert!(store.score_policy_revisions(&hr, &first.scope).await.is_err());
        let system = Caller::system("test", "");
        let trail = store.audit_list(&system, None, 10).await.unwrap();
        assert_eq!(trail.count, 3, "one record for each revision");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_may_write_and_who_may_sign_is_decided_by_the_scope() {
        let open = open().await;
        let mine = doc("tenant:pay", 5.0);
        let put = async |who: Caller, c: ScorePolicyChange<'_>| {
            open.store.score_policy_put(&who, &c, At::EPOCH).await
        };
        for (role, scope) in [(Role::Developer, "tenant:pay"), (Role::Operator, "tenant:hr")] {
            let denied = put(caller(role, scope), change(&mine, 0)).await;
            assert!(matches!(denied, Err(Error::Denied(_))), "{scope}");
        }
        let platform = doc("platform", 5.0);
        let denied = put(caller(Role::Operator, "tenant:pay"), change(&platform, 0)).await;
        assert!(matches!(denied, Err(Error::Denied(_))));
        let signed = ScorePolicyChange { sign: true, ..change(&mine, 0) };
        let denied = put(caller(Role::Operator, "tenant:pay"), signed.clone()).await;
        assert!(matches!(denied, Err(Error::Denied(d)) if d.right == "system.admin"));
        let admin = caller(Role::SystemAdministrator, "platform");
        let silent = ScorePolicyChange { reason: " ", ..signed.clone() };
        assert!(matches!(put(admin.clone(), silent).await, Err(Error::Invalid(_))));
        put(admin.clone(), signed).await.unwrap();
        let all = open.store.score_policy_revisions(&admin, &mine.scope).await.unwrap();
        assert_eq!((all[0].approver.as_str(), all[0].by.as_str()), ("system/test", "system/test"));
    }
}
