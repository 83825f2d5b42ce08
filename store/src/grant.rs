//! Grants: which role somebody holds, where and until when.
//!
//! Invariant: nobody changes his own grants; only grants that are alive are ever answered, so an
//! expired one gives nothing from the moment it ends.

use model::At;
use model::caller::Caller;
use model::right::{Grant, Place, Right, Role, Scope};
use serde_json::json;

use crate::tx::Tx;
use crate::{AuditEntry, Error, Result, Store};

#[derive(sqlx::FromRow)]
struct Row {
    role: String,
    scope: String,
    until: Option<i64>,
}

impl Row {
    fn grant(self) -> Result<Grant> {
        let broken = |what: &str| Error::Internal(format!("grant_row: {what}"));
        Ok(Grant {
            role: Role::parse(&self.role).ok_or_else(|| broken(&self.role))?,
            scope: Scope::try_from(self.scope).map_err(|e| broken(&e))?,
            until: self.until.map(At::from_ms),
        })
    }
}

impl Store {
    /// The live grants of an account.
    pub async fn grant_live(&self, account: &str, now: At) -> Result<Vec<Grant>> {
        let rows: Vec<Row> = rd!(self, c => sqlx::query_as(
            "SELECT role, scope, until FROM grant_row \
             WHERE account = $1 AND (until IS NULL OR until > $2) ORDER BY id")
            .bind(account).bind(now.ms()).fetch_all(c).await)?;
        rows.into_iter().map(Row::grant).collect()
    }

    /// Gives a role to an account.
    pub async fn grant_add(
        &self,
        caller: &Caller,
        account: &str,
        grant: &Grant,
        reason: &str,
        now: At,
    ) -> Result<()> {
        caller.require(Right::GrantEdit, &Place::platform())?;
        let mut tx = self.begin().await?;
        let subject = tx.refuse_own(caller, account).await?;
        tx.grant_insert(caller, account, grant, "local", reason, now).await?;
        let entry = AuditEntry::new("grant.add", subject, place_of(&grant.scope))
            .change(json!(null), json!({ "grant": grant, "reason": reason }));
        tx.audit(caller, entry, now).await?;
        tx.commit().await
    }

    /// Ends every grant of a role in a scope.
    pub async fn grant_end(
        &self,
        caller: &Caller,
        account: &str,
        role: Role,
        scope: &Scope,
        now: At,
    ) -> Result<()> {
        caller.require(Right::GrantEdit, &Place::platform())?;
        let mut tx = self.begin().await?;
        let subject = tx.refuse_own(caller, account).await?;
        let text = String::from(scope.clone());
        let done = wr!(tx, c => sqlx::query(
            "UPDATE grant_row SET until = $4 WHERE account = $1 AND role = $2 AND scope = $3 \
             AND (until IS NULL OR until > $4)")
            .bind(account).bind(role.as_str()).bind(&text).bind(now.ms())
            .execute(c).await.map(|d| d.rows_affected()))?;
        if done == 0 {
            return Err(Error::NotFound(format!("a live grant of {} on {text}", role.as_str())));
        }
        let entry = AuditEntry::new("grant.end", subject, place_of(scope))
            .change(json!({ "role": role, "scope": text }), json!(null));
        tx.audit(caller, entry, now).await?;
        tx.commit().await
    }
}

impl Tx {
    pub(crate) async fn grant_insert(
        &mut self,
        caller: &Caller,
        account: &str,
        grant: &Grant,
        source: &str,
        reason: &str,
        now: At,
    ) -> Result<()> {
        let id = uuid::Uuid::now_v7().to_string();
        wr!(self, c => sqlx::query(
            "INSERT INTO grant_row (id, account, role, scope, until, source, reason, granted_by, at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
            .bind(&id).bind(account).bind(grant.role.as_str())
            .bind(String::from(grant.scope.clone())).bind(grant.until.map(At::ms))
            .bind(source).bind(reason).bind(caller.name()).bind(now.ms())
            .execute(c).await.map(|d| d.rows_affected()))?;
        Ok(())
    }

    async fn refuse_own(&mut self, caller: &Caller, account: &str) -> Result<String> {
        let who: Option<(String, String)> = wr!(self, c => sqlx::query_as(
            "SELECT issuer, subject FROM account WHERE id = $1")
            .bind(account).fetch_optional(c).await)?;
        let (issuer, subject) = who.ok_or_else(|| Error::NotFound(format!("account {account}")))?;
        if (&issuer, &subject) == (&caller.actor.issuer, &caller.actor.subject) {
            return Err(Error::Invalid("nobody changes his own grants".into()));
        }
        Ok(subject)
    }
}

/// The place a scope stands for: decides in which chain its change is recorded.
pub(crate) fn place_of(scope: &Scope) -> Place {
    match scope {
        Scope::Platform => Place::platform(),
        Scope::Tenant(t) => Place::tenant(t),
        Scope::System(s) => Place::system(s),
        Scope::Service(s) => {
            Place { tenant: Some(s.tenant()), system: None, service: Some(s.clone()) }
        }
    }
}
