//! What is remembered of weeks: peaks by shard and day, and the seconds of each service.
//!
//! Invariant: writing the same again changes nothing, so a save whose end is unknown is repeated. It is
//! the process' own memory of what it saw: there is no caller and no audit record; whoever shows it
//! checks who looks. Refuses to know what a body means.

use model::{At, ServiceId};

use crate::tx::Tx;
use crate::{Result, Store};

/// Rows of one statement and one transaction: a few milliseconds of the writer, and far from either
/// engine's limit of parameters.
const BATCH: usize = 250;

/// The peaks of a shard and day.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsageDay {
    /// Service id.
    pub service: String,
    /// Shard.
    pub shard: i64,
    /// Days since 1970-01-01 UTC.
    pub day: i64,
    /// As the reader understands it.
    pub body: String,
}

impl Store {
    /// All days from `first` on.
    pub async fn usage_load(&self, first: i64) -> Result<Vec<UsageDay>> {
        let rows: Vec<(String, i64, i64, String)> = rd!(self, c => sqlx::query_as(
            "SELECT service, shard, day, body FROM usage_day WHERE day >= $1")
            .bind(first).fetch_all(c).await)?;
        let day = |(service, shard, day, body)| UsageDay { service, shard, day, body };
        Ok(rows.into_iter().map(day).collect())
    }

    /// Writes days (sorted, so that two processes never wait for each other in a circle) and deletes
    /// what is older than `first`.
    pub async fn usage_save(&self, days: &[UsageDay], first: i64) -> Result<()> {
        for batch in days.chunks(BATCH) {
            let mut tx = self.begin().await?;
            tx.usage_write(batch).await?;
            tx.commit().await?;
        }
        let mut tx = self.begin().await?;
        wr!(tx, c => sqlx::query("DELETE FROM usage_day WHERE day < $1").bind(first)
            .execute(c).await.map(|d| d.rows_affected()))?;
        tx.commit().await
    }

    /// The stored accounts: service, body, when.
    pub async fn slo_load(&self) -> Result<Vec<(String, String, At)>> {
        let rows: Vec<(String, String, i64)> = rd!(self, c => sqlx::query_as(
            "SELECT service, body, at FROM slo_account").fetch_all(c).await)?;
        Ok(rows.into_iter().map(|(s, body, at)| (s, body, At::from_ms(at))).collect())
    }

    /// Writes accounts, in the order of services, and deletes those of services that are gone.
    pub async fn slo_save(
        &self,
        accounts: &[(ServiceId, String)],
        gone: &[String],
        now: At,
    ) -> Result<()> {
        for batch in accounts.chunks(BATCH) {
            let mut tx = self.begin().await?;
            tx.slo_write(batch, now).await?;
            tx.commit().await?;
        }
        for service in gone {
            let mut tx = self.begin().await?;
            wr!(tx, c => sqlx::query("DELETE FROM slo_account WHERE service = $1").bind(service)
                .execute(c).await.map(|d| d.rows_affected()))?;
            tx.commit().await?;
        }
        Ok(())
    }
}

/// `($1, $2, $3), ($4, …`.
fn places(rows: usize, columns: usize) -> String {
    let row = |r: usize| {
        let all: Vec<String> = (1..=columns).map(|c| format!("${}", r * columns + c)).collect();
        format!("({})", all.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

impl Tx {
    async fn usage_write(&mut self, days: &[UsageDay]) -> Result<()> {
        let sql = format!(
            "INSERT INTO usage_day (service, shard, day, body) VALUES {} \
             ON CONFLICT (service, shard, day) DO UPDATE SET body = excluded.body",
            places(days.len(), 4)
        );
        wr!(self, c => {
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql.as_str()));
            for d in days {
                query = query.bind(&d.service).bind(d.shard).bind(d.day).bind(&d.body);
            }
            query.execute(c).await.map(|d| d.rows_affected())
        })?;
        Ok(())
    }

    async fn slo_write(&mut self, rows: &[(ServiceId, String)], now: At) -> Result<()> {
        let sql = format!(
            "INSERT INTO slo_account (service, body, at) VALUES {} ON CONFLICT (service) \
             DO UPDATE SET body = excluded.body, at = excluded.at",
            places(rows.len(), 3)
        );
        wr!(self, c => {
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql.as_str()));
            for (service, body) in rows {
                query = query.bind(service.as_str()).bind(body).bind(now.ms());
            }
            query.execute(c).await.map(|d| d.rows_affected())
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Migrate};

    const T0: At = At::from_ms(1_763_800_000_000);

    fn day(service: &str, day: i64, body: &str) -> UsageDay {
        UsageDay { service: service.into(), shard: 0, day, body: body.into() }
    }

    async fn open(dir: &tempfile::TempDir) -> Store {
        let config = Config {
            url: format!("sqlite:{}", dir.path().join("cw.db").display()),
            key_file: None,
            key_env: None,
            key_command: None,
        };
        Store::open(&config, Migrate::AtStart).await.unwrap()
    }

    #[tokio::test]
    async fn days_are_written_over_and_old_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir).await;
        // More than one batch.
        let all: Vec<UsageDay> =
            (0..2 * BATCH as i64 + 3).map(|n| day(&format!("pay.s{n:05}"), 100, "a")).collect();
        store.usage_save(&all, 72).await.unwrap();
        store
            .usage_save(&[day("pay.s00001", 100, "b"), day("pay.s00001", 101, "c")], 72)
            .await
            .unwrap();
        let mut loaded = store.usage_load(72).await.unwrap();
        loaded.sort();
        assert_eq!(loaded.len(), all.len() + 1);
        assert_eq!((loaded[1].body.as_str(), loaded[2].body.as_str()), ("b", "c"));
        store.usage_save(&[], 101).await.unwrap();
        assert_eq!(store.usage_load(0).await.unwrap(), [day("pay.s00001", 101, "c")]);
    }

    #[tokio::test]
    async fn accounts_are_written_over_and_those_of_services_that_left_go() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir).await;
        let row = |id: &str, body: &str| (id.parse::<ServiceId>().unwrap(), body.to_string());
        store.slo_save(&[row("pay.a", "1"), row("pay.b", "1")], &[], T0).await.unwrap();
        store.slo_save(&[row("pay.a", "2")], &["pay.b".into()], T0 + 1).await.unwrap();
        assert_eq!(store.slo_load().await.unwrap(), [("pay.a".into(), "2".into(), T0 + 1)]);
    }
}
