//! Sessions of browsers.
//!
//! Invariant: a session is known by the hash of its token only; it ends by itself at its absolute
//! limit, and an account holds at most `SESSIONS_MAX`. Whether it was idle too long is judged by the
//! caller, who knows the rights.

use model::At;
use model::caller::Caller;
use model::right::{Grant, Place};

use crate::{Account, AuditEntry, LoginAttempt, Result, Store};

/// Live sessions of one account: one browser at work, one at home, one spare.
pub const SESSIONS_MAX: usize = 3;

/// A live session.
#[derive(Debug, Clone)]
pub struct SessionRow {
    /// SHA-256 of its token, hex.
    pub hash: String,
    /// Whose.
    pub account: Account,
    /// What is granted to him now.
    pub grants: Vec<Grant>,
    /// Signed in.
    pub created_at: At,
    /// Last activity, to the minute.
    pub seen_at: At,
    /// Ends at the latest.
    pub expires_at: At,
}

#[derive(sqlx::FromRow)]
struct Row {
    created_at: i64,
    seen_at: i64,
    expires_at: i64,
    #[sqlx(flatten)]
    account: Account,
}

impl Store {
    /// Opens a session for an account that has just proved who it is: the attempt, its record and
    /// the session together; the oldest ones above `SESSIONS_MAX` end.
    pub async fn session_open(
        &self,
        caller: &Caller,
        hash: &str,
        attempt: LoginAttempt,
        expires_at: At,
        now: At,
    ) -> Result<()> {
        let account = attempt.account.clone().unwrap_or_default();
        let address = attempt.address.clone();
        let mut tx = self.begin().await?;
        tx.login_insert(caller, attempt, now).await?;
        wr!(tx, c => sqlx::query(
            "INSERT INTO session (hash, account, created_at, seen_at, expires_at, address, \
             ended_at, ended_why) VALUES ($1, $2, $3, $3, $4, $5, NULL, '')")
            .bind(hash).bind(&account).bind(now.ms()).bind(expires_at.ms()).bind(&address)
            .execute(c).await.map(|d| d.rows_affected()))?;
        let live: Vec<String> = wr!(tx, c => sqlx::query_scalar(
            "SELECT hash FROM session WHERE account = $1 AND ended_at IS NULL AND expires_at > $2 \
             ORDER BY created_at DESC, hash")
            .bind(&account).bind(now.ms()).fetch_all(c).await)?;
        let older = live.iter().filter(|h| *h != hash).skip(SESSIONS_MAX - 1);
        for old in older {
            wr!(tx, c => sqlx::query(
                "UPDATE session SET ended_at = $2, ended_why = 'too_many' WHERE hash = $1")
                .bind(old).bind(now.ms()).execute(c).await.map(|d| d.rows_affected()))?;
        }
        tx.commit().await
    }

    /// The session with that token hash while it lives and its account may come in.
    pub async fn session_get(&self, hash: &str, now: At) -> Result<Option<SessionRow>> {
        let row: Option<Row> = rd!(self, c => sqlx::query_as(
            "SELECT s.created_at, s.seen_at, s.expires_at, a.id, a.issuer, a.subject, a.staff_id, \
             a.display, a.disabled FROM session s JOIN account a ON a.id = s.account \
             WHERE s.hash = $1 AND s.ended_at IS NULL AND s.expires_at > $2 AND NOT a.disabled")
            .bind(hash).bind(now.ms()).fetch_optional(c).await)?;
        let Some(row) = row else { return Ok(None) };
        let grants = self.grant_live(&row.account.id, now).await?;
        Ok(Some(SessionRow {
            hash: hash.into(),
            account: row.account,
            grants,
            created_at: At::from_ms(row.created_at),
            seen_at: At::from_ms(row.seen_at),
            expires_at: At::from_ms(row.expires_at),
        }))
    }

    /// Notes activity. No record: it changes nobody's state.
    pub async fn session_touch(&self, hash: &str, now: At) -> Result<()> {
        let mut tx = self.begin().await?;
        wr!(tx, c => sqlx::query("UPDATE session SET seen_at = $2 WHERE hash = $1 AND seen_at < $2")
            .bind(hash).bind(now.ms()).execute(c).await.map(|d| d.rows_affected()))?;
        tx.commit().await
    }

    /// Ends a session; one that is over stays over.
    pub async fn session_end(&self, caller: &Caller, hash: &str, why: &str, now: At) -> Result<()> {
        let mut tx = self.begin().await?;
        let done = wr!(tx, c => sqlx::query(
            "UPDATE session SET ended_at = $2, ended_why = $3 WHERE hash = $1 AND ended_at IS NULL")
            .bind(hash).bind(now.ms()).bind(why).execute(c).await.map(|d| d.rows_affected()))?;
        if done == 1 {
            let entry = AuditEntry::new("logout", &caller.actor.subject, Place::platform());
            tx.audit(caller, entry, now).await?;
        }
        tx.commit().await
    }
}
