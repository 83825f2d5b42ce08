//! Accounts of people, and the one-time setup token that makes the first of them.
//!
//! Invariant: no account exists that nobody made: there is no default one, and the setup token works
//! once, within its hour, only while there is no account. Refuses to know how a password is hashed
//! or compared: it keeps the text it is given.

use model::At;
use model::caller::{Actor, Caller};
use model::right::{Grant, Place, Right};
use serde_json::json;

use crate::tx::Tx;
use crate::{AuditEntry, Error, Result, Store};

/// Somebody who may sign in.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Account {
    /// UUID.
    pub id: String,
    /// `local`, or the issuer of an identity provider.
    pub issuer: String,
    /// Name at the issuer.
    pub subject: String,
    /// Who the person is over several accounts; empty when unknown.
    pub staff_id: String,
    /// Name for people.
    pub display: String,
    /// May not come in any more.
    pub disabled: bool,
}

impl Account {
    /// Identity for records.
    pub fn actor(&self) -> Actor {
        Actor {
            issuer: self.issuer.clone(),
            subject: self.subject.clone(),
            staff_id: self.staff_id.clone(),
            token: None,
        }
    }
}

/// An account to be made.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// Name to sign in with.
    pub subject: String,
    /// Name for people.
    pub display: String,
    /// Staff id; empty when unknown.
    pub staff_id: String,
    /// PHC string of the password.
    pub password: String,
}

impl Store {
    /// How many accounts there are.
    pub async fn account_count(&self) -> Result<i64> {
        Ok(rd!(self, c => sqlx::query_scalar("SELECT count(*) FROM account").fetch_one(c).await)?)
    }

    /// The local account of that name with the PHC string of its password.
    pub async fn account_login(&self, subject: &str) -> Result<Option<(Account, String)>> {
        let found: Option<Account> = rd!(self, c => sqlx::query_as(
            "SELECT id, issuer, subject, staff_id, display, disabled FROM account \
             WHERE issuer = 'local' AND subject = $1")
            .bind(subject).fetch_optional(c).await)?;
        let Some(account) = found else { return Ok(None) };
        let password: String = rd!(self, c => sqlx::query_scalar("SELECT password FROM account WHERE id = $1")
            .bind(&account.id).fetch_one(c).await)?;
        Ok(Some((account, password)))
    }

    /// Makes a local account with its first grants.
    pub async fn account_create(
        &self,
        caller: &Caller,
        new: NewAccount,
        grants: &[Grant],
        now: At,
    ) -> Result<Account> {
        caller.require(Right::UserEdit, &Place::platform())?;
        caller.require(Right::GrantEdit, &Place::platform())?;
        let mut tx = self.begin().await?;
        let account = tx.account_insert(caller, new, grants, "local", now).await?;
        tx.commit().await?;
        Ok(account)
    }

    /// Disables an account or lets it in again; its sessions end at once.
    pub async fn account_disable(
        &self,
        caller: &Caller,
        id: &str,
        disabled: bool,
        now: At,
    ) -> Result<()> {
        caller.require(Right::UserEdit, &Place::platform())?;
        let mut tx = self.begin().await?;
        let done = wr!(tx, c => sqlx::query("UPDATE account SET disabled = $2 WHERE id = $1")
            .bind(id).bind(disabled).execute(c).await.map(|d| d.rows_affected()))?;
        if done == 0 {
            return Err(Error::NotFound(format!("account {id}")));
        }
        wr!(tx, c => sqlx::query(
            "UPDATE session SET ended_at = $2, ended_why = 'disabled' \
             WHERE account = $1 AND ended_at IS NULL")
            .bind(id).bind(now.ms()).execute(c).await.map(|d| d.rows_affected()))?;
        let entry = AuditEntry::new("account.disable", id, Place::platform())
            .change(json!({ "disabled": !disabled }), json!({ "disabled": disabled }));
        tx.audit(caller, entry, now).await?;
        tx.commit().await
    }

    /// Replaces whatever setup token there is by one with this hash; refused once there is an
    /// account.
    pub async fn setup_put(&self, hash: &str, expires_at: At) -> Result<()> {
        let mut tx = self.begin().await?;
        tx.refuse_second_setup().await?;
        wr!(tx, c => sqlx::query("DELETE FROM setup_token")
            .execute(c).await.map(|d| d.rows_affected()))?;
        wr!(tx, c => sqlx::query("INSERT INTO setup_token (hash, expires_at) VALUES ($1, $2)")
            .bind(hash).bind(expires_at.ms()).execute(c).await.map(|d| d.rows_affected()))?;
        tx.commit().await
    }

    /// Whether a setup token waits to be used.
    pub async fn setup_open(&self, now: At) -> Result<bool> {
        let n: i64 = rd!(self, c => sqlx::query_scalar(
            "SELECT count(*) FROM setup_token WHERE expires_at > $1")
            .bind(now.ms()).fetch_one(c).await)?;
        Ok(n > 0 && self.account_count().await? == 0)
    }

    /// Makes the first account and spends the setup token, both or neither. `Denied` never: a wrong,
    /// spent or expired token is `NotFound`.
    pub async fn account_setup(
        &self,
        caller: &Caller,
        token_hash: &str,
        new: NewAccount,
        grants: &[Grant],
        now: At,
    ) -> Result<Account> {
        let mut tx = self.begin().await?;
        let spent = wr!(tx, c => sqlx::query(
            "DELETE FROM setup_token WHERE hash = $1 AND expires_at > $2")
            .bind(token_hash).bind(now.ms()).execute(c).await.map(|d| d.rows_affected()))?;
        if spent != 1 {
            return Err(Error::NotFound("the setup token".into()));
        }
        tx.refuse_second_setup().await?;
        let account = tx.account_insert(caller, new, grants, "setup", now).await?;
        tx.commit().await?;
        Ok(account)
    }
}

impl Tx {
    async fn refuse_second_setup(&mut self) -> Result<()> {
        let n: i64 = wr!(self, c => sqlx::query_scalar("SELECT count(*) FROM account")
            .fetch_one(c).await)?;
        if n > 0 {
            return Err(Error::Conflict("the first account exists already".into()));
        }
        Ok(())
    }

    async fn account_insert(
        &mut self,
        caller: &Caller,
        new: NewAccount,
        grants: &[Grant],
        source: &str,
        now: At,
    ) -> Result<Account> {
        let account = Account {
            id: uuid::Uuid::now_v7().to_string(),
            issuer: "local".into(),
            subject: new.subject,
            staff_id: new.staff_id,
            display: new.display,
            disabled: false,
        };
        wr!(self, c => sqlx::query(
            "INSERT INTO account (id, issuer, subject, staff_id, display, password, password_at, \
             disabled, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
            .bind(&account.id).bind(&account.issuer).bind(&account.subject).bind(&account.staff_id)
            .bind(&account.display).bind(&new.password).bind(now.ms()).bind(false).bind(now.ms())
            .execute(c).await.map(|d| d.rows_affected()))
        .map_err(|e| taken(e, &account.subject))?;
        for grant in grants {
            self.grant_insert(caller, &account.id, grant, source, "first grants", now).await?;
        }
        let after =
            json!({ "subject": account.subject, "display": account.display, "grants": grants });
        let entry = AuditEntry::new("account.create", &account.subject, Place::platform())
            .change(json!(null), after);
        self.audit(caller, entry, now).await?;
        Ok(account)
    }
}

fn taken(e: sqlx::Error, subject: &str) -> Error {
    match Error::from(e) {
        Error::Conflict(_) => Error::Conflict(format!("the account {subject} exists already")),
        other => other,
    }
}

#[cfg(test)]
mod tests;
