//! What the built-in notifier told its receivers last: one row per receiver and group.
//!
//! Invariant: a row is there while something told as firing was not told as ended. Refuses to know
//! what a notification says.

use model::At;
use model::caller::Caller;
use model::right::{Place, Right};

use crate::{Result, Store};

impl Store {
    /// Every row: (receiver, group, body).
    pub async fn notifications(&self, caller: &Caller) -> Result<Vec<(String, String, String)>> {
        caller.require(Right::IntakePost, &Place::platform())?;
        Ok(rd!(self, c => sqlx::query_as("SELECT receiver, group_key, body FROM notification \
            ORDER BY receiver, group_key").fetch_all(c).await)?)
    }

    /// Keeps what a receiver was told of a group, or forgets it (none).
    pub async fn notification_put(
        &self,
        caller: &Caller,
        receiver: &str,
        group: &str,
        body: Option<&str>,
        now: At,
    ) -> Result<()> {
        caller.require(Right::IntakePost, &Place::platform())?;
        let mut tx = self.begin().await?;
        match body {
            Some(body) => wr!(tx, c => sqlx::query(
                "INSERT INTO notification (receiver, group_key, body, at) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (receiver, group_key) DO UPDATE SET body = excluded.body, \
                 at = excluded.at")
                .bind(receiver).bind(group).bind(body).bind(now.ms())
                .execute(c).await.map(|d| d.rows_affected()))?,
            None => wr!(tx, c => sqlx::query(
                "DELETE FROM notification WHERE receiver = $1 AND group_key = $2")
                .bind(receiver).bind(group).execute(c).await.map(|d| d.rows_affected()))?,
        };
        tx.commit().await
    }
}
