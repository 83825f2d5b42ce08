//! Every attempt to sign in.
//!
//! Invariant: an attempt and its audit record are written together or the attempt fails. Refuses to
//! know passwords and delays.

use model::At;
use model::caller::Caller;
use model::right::Place;
use serde_json::json;

use crate::tx::Tx;
use crate::{AuditEntry, Result, Store};

/// One attempt.
#[derive(Debug, Clone)]
pub struct LoginAttempt {
    /// Account, when the name exists.
    pub account: Option<String>,
    /// Name that was tried.
    pub subject: String,
    /// `password`, `setup`.
    pub method: String,
    /// `ok`, `wrong`, `disabled`, `expired`.
    pub result: String,
    /// From where.
    pub address: String,
}

/// Longest name kept of an attempt: whoever has not signed in must not fill the table by long ones.
const SUBJECT_MAX: usize = 80;

impl Store {
    /// Records a failed attempt.
    pub async fn login_failed(
        &self,
        caller: &Caller,
        attempt: LoginAttempt,
        now: At,
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        tx.login_insert(caller, attempt, now).await?;
        tx.commit().await
    }

    /// The latest successful login of an account before `before`: when and from where.
    pub async fn login_last(&self, account: &str, before: At) -> Result<Option<(At, String)>> {
        let row: Option<(i64, String)> = rd!(self, c => sqlx::query_as(
            "SELECT at, address FROM login WHERE account = $1 AND result = 'ok' AND at < $2 \
             ORDER BY at DESC LIMIT 1")
            .bind(account).bind(before.ms()).fetch_optional(c).await)?;
        Ok(row.map(|(at, address)| (At::from_ms(at), address)))
    }
}

impl Tx {
    pub(crate) async fn login_insert(
        &mut self,
        caller: &Caller,
        attempt: LoginAttempt,
        now: At,
    ) -> Result<()> {
        let id = uuid::Uuid::now_v7().to_string();
        let subject: String =
            attempt.subject.chars().filter(|c| !c.is_control()).take(SUBJECT_MAX).collect();
        wr!(self, c => sqlx::query(
            "INSERT INTO login (id, at, account, subject, method, result, address) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)")
            .bind(&id).bind(now.ms()).bind(&attempt.account).bind(&subject)
            .bind(&attempt.method).bind(&attempt.result).bind(&attempt.address)
            .execute(c).await.map(|d| d.rows_affected()))?;
        let ok = attempt.result == "ok";
        let mut entry = AuditEntry::new("login", &subject, Place::platform())
            .change(json!(null), json!({ "method": attempt.method, "result": attempt.result }));
        if !ok {
            entry.result = "refused".into();
            entry.code = "CW-1101".into();
        }
        self.audit(caller, entry, now).await?;
        Ok(())
    }
}
