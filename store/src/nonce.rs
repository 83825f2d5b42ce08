//! Nonces of signed messages.
//!
//! Invariant: of any number of processes that are shown a nonce, one takes it.

use model::At;

use crate::{Result, Store};

impl Store {
    /// Whether nobody has shown that nonce of that source yet; from now on somebody has.
    pub async fn nonce_take(&self, source: &str, nonce: &str, now: At) -> Result<bool> {
        let mut tx = self.begin().await?;
        let taken = wr!(tx, c => sqlx::query(
            "INSERT INTO intake_nonce (source, nonce, at) VALUES ($1, $2, $3) \
             ON CONFLICT (source, nonce) DO NOTHING")
            .bind(source).bind(nonce).bind(now.ms())
            .execute(c).await.map(|d| d.rows_affected()))?;
        tx.commit().await?;
        Ok(taken == 1)
    }
}
