//! Small values of the installation itself, and the clock leases are measured by.

use model::At;

use crate::engine::Pool;
use crate::tx::{READ_DEADLINE, answered};
use crate::{Result, Store};

impl Store {
    /// The clock that all processes of this store share: PostgreSQL's own; for SQLite, which has
    /// one process, that process'.
    pub async fn clock(&self) -> Result<At> {
        match &self.pool {
            Pool::Lite { .. } => Ok(wall_clock()),
            Pool::Pg(pool) => {
                let asked = sqlx::query_scalar(
                    "SELECT (extract(epoch from clock_timestamp()) * 1000)::bigint",
                )
                .fetch_one(pool);
                let ms: i64 = answered(READ_DEADLINE, asked).await?;
                Ok(At::from_ms(ms))
            }
        }
    }

    /// A setting of the installation.
    pub async fn setting_get(&self, name: &str) -> Result<Option<String>> {
        Ok(rd!(self, c => sqlx::query_scalar("SELECT value FROM setting WHERE name = $1")
            .bind(name).fetch_optional(c).await)?)
    }

    /// Sets it.
    pub async fn setting_put(&self, name: &str, value: &str) -> Result<()> {
        let mut tx = self.begin().await?;
        wr!(tx, c => sqlx::query(
            "INSERT INTO setting (name, value) VALUES ($1, $2) \
             ON CONFLICT (name) DO UPDATE SET value = excluded.value")
            .bind(name).bind(value).execute(c).await.map(|d| d.rows_affected()))?;
        tx.commit().await
    }
}

fn wall_clock() -> At {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    At::from_ms(now.map(|d| d.as_millis() as i64).unwrap_or_default())
}
