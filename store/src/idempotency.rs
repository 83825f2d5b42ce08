//! Answers kept for requests that may be repeated.
//!
//! Invariant: one (actor, key) has one answer for `KEPT_MS`; another body under the same key is
//! refused, never answered with it.

use model::At;
use model::caller::Caller;

use crate::tx::Tx;
use crate::{Error, Result, Store};

/// How long an answer is kept: a day, so that a job of the night may be repeated in the morning.
pub const KEPT_MS: i64 = 86_400_000;
/// Longest key.
pub const KEY_MAX: usize = 64;

/// An answer to be kept, or found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// `Idempotency-Key`.
    pub key: String,
    /// SHA-256 over route and body, hex.
    pub request_hash: String,
    /// HTTP status.
    pub status: i64,
    /// Body, JSON. Never holds a secret.
    pub answer: String,
}

impl Store {
    /// The answer kept for this key; `Conflict` when the request was another one.
    pub async fn replay_get(
        &self,
        caller: &Caller,
        key: &str,
        request_hash: &str,
        now: At,
    ) -> Result<Option<Replay>> {
        let row: Option<(String, i64, String)> = rd!(self, c => sqlx::query_as(
            "SELECT request_hash, status, answer FROM idempotency \
             WHERE actor = $1 AND key = $2 AND at > $3")
            .bind(caller.name()).bind(key).bind(now.ms() - KEPT_MS).fetch_optional(c).await)?;
        let Some((hash, status, answer)) = row else { return Ok(None) };
        if hash != request_hash {
            return Err(Error::Conflict(format!("the key {key:?} belongs to another request")));
        }
        Ok(Some(Replay { key: key.into(), request_hash: hash, status, answer }))
    }

    /// Keeps an answer; the first one kept stands.
    pub async fn replay_put(&self, caller: &Caller, replay: &Replay, now: At) -> Result<()> {
        let mut tx = self.begin().await?;
        tx.replay_insert(caller, replay, now).await?;
        tx.commit().await
    }
}

impl Tx {
    /// Whether it was kept: false when an answer stands under that key already.
    pub(crate) async fn replay_insert(
        &mut self,
        caller: &Caller,
        replay: &Replay,
        now: At,
    ) -> Result<bool> {
        let actor = caller.name();
        wr!(self, c => sqlx::query("DELETE FROM idempotency WHERE at <= $1")
            .bind(now.ms() - KEPT_MS).execute(c).await.map(|d| d.rows_affected()))?;
        let kept = wr!(self, c => sqlx::query(
            "INSERT INTO idempotency (actor, key, request_hash, status, answer, at) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING")
            .bind(&actor).bind(&replay.key).bind(&replay.request_hash).bind(replay.status)
            .bind(&replay.answer).bind(now.ms()).execute(c).await.map(|d| d.rows_affected()))?;
        Ok(kept == 1)
    }
}
