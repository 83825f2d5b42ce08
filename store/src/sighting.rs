//! What the processes of one installation tell each other about servers they cannot reach.
//!
//! Invariant: a process writes its own row only, and ages are by the database's clock, so clocks that
//! differ mislead nobody. It is the processes' talk and nobody's data: there is no caller and no audit
//! record. Refuses to know what a body means.

use crate::engine::Pool;
use crate::{Result, Store};

/// What another process said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Which process.
    pub process: String,
    /// How long ago, ms.
    pub age_ms: i64,
    /// What.
    pub body: String,
}

/// Processes that said nothing for this long are gone, ms.
const FORGOTTEN_MS: i64 = 3_600_000;

impl Store {
    /// Whether other processes may share this store: on SQLite there is one alone.
    pub fn is_shared(&self) -> bool {
        matches!(self.pool, Pool::Pg(_))
    }

    /// Says what this process sees, and answers what the others said last.
    pub async fn sighting_exchange(&self, process: &str, body: &str) -> Result<Vec<Sighting>> {
        let now = self.clock().await?.ms();
        let mut tx = self.begin().await?;
        wr!(tx, c => sqlx::query(
            "INSERT INTO sighting (process, at, body) VALUES ($1, $2, $3) ON CONFLICT (process) \
             DO UPDATE SET at = excluded.at, body = excluded.body")
            .bind(process).bind(now).bind(body).execute(c).await.map(|d| d.rows_affected()))?;
        wr!(tx, c => sqlx::query("DELETE FROM sighting WHERE at < $1")
            .bind(now - FORGOTTEN_MS).execute(c).await.map(|d| d.rows_affected()))?;
        tx.commit().await?;
        let others: Vec<(String, i64, String)> = rd!(self, c => sqlx::query_as(
            "SELECT process, at, body FROM sighting WHERE process <> $1")
            .bind(process).fetch_all(c).await)?;
        let said = |(process, at, body): (String, i64, String)| Sighting {
            process,
            age_ms: (now - at).max(0),
            body,
        };
        Ok(others.into_iter().map(said).collect())
    }
}

#[cfg(test)]
mod tests {
    use crate::{Config, Migrate, Store};

    #[tokio::test]
    async fn each_process_hears_what_the_others_said_last() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            url: format!("sqlite:{}", dir.path().join("cw.db").display()),
            key_file: None,
            key_env: None,
            key_command: None,
        };
        let store = Store::open(&config, Migrate::AtStart).await.unwrap();
        assert!(!store.is_shared());
        assert_eq!(store.sighting_exchange("a", "1").await.unwrap(), []);
        store.sighting_exchange("a", "2").await.unwrap();
        let heard = store.sighting_exchange("b", "3").await.unwrap();
        let said: Vec<_> = heard.iter().map(|s| (s.process.as_str(), s.body.as_str())).collect();
        assert_eq!(said, [("a", "2")]);
        assert!(heard[0].age_ms < 60_000);
    }
}
