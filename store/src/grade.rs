//! The memory of grades over a restart.
//!
//! Invariant: one row per scored object; writing the same again changes nothing, so a save whose end is
//! unknown is simply repeated. It is the process' own memory and nobody's data: there is no caller
//! and no audit record. Refuses to know what a body means, and which objects there are.

use model::At;

use crate::tx::Tx;
use crate::{Result, Store};

/// Rows of one statement and one transaction: a few milliseconds of the writer, and far from either
/// engine's limit of parameters.
const BATCH: usize = 500;

/// The row that tells when the memory was saved last. Objects are called `level:id`, so none is
/// called like this.
const MARK: &str = "saved";

/// What was saved.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SavedGrades {
    /// The latest save, whether or not anything had changed; none before the first.
    pub at: Option<At>,
    /// Object and body, in no order.
    pub rows: Vec<(String, String)>,
}

impl Store {
    /// Everything that was saved.
    pub async fn grade_load(&self) -> Result<SavedGrades> {
        let rows: Vec<(String, String, i64)> = rd!(self, c => sqlx::query_as(
            "SELECT object, body, at FROM grade").fetch_all(c).await)?;
        let mut saved = SavedGrades::default();
        for (object, body, at) in rows {
            match object == MARK {
                true => saved.at = Some(At::from_ms(at)),
                false => saved.rows.push((object, body)),
            }
        }
        Ok(saved)
    }

    /// Writes the rows that changed (object and body, in the order of objects, so that two processes
    /// never wait for each other in a circle), deletes those that are gone, and marks the time.
    ///
    /// Several transactions when there is much: after an error some of it may be written.
    pub async fn grade_save(
        &self,
        changed: &[(String, String)],
        gone: &[String],
        now: At,
    ) -> Result<()> {
        for batch in changed.chunks(BATCH) {
            let mut tx = self.begin().await?;
            tx.grade_write(batch, now).await?;
            tx.commit().await?;
        }
        for batch in gone.chunks(BATCH) {
            let mut tx = self.begin().await?;
            tx.grade_delete(batch).await?;
            tx.commit().await?;
        }
        // Last: the mark says that everything before it is there.
        let mut tx = self.begin().await?;
        tx.grade_write(&[(MARK.to_string(), String::new())], now).await?;
        tx.commit().await
    }
}

impl Tx {
    async fn grade_write(&mut self, rows: &[(String, String)], now: At) -> Result<()> {
        let places: Vec<String> =
            (0..rows.len()).map(|n| format!("(${}, ${}, $1)", 2 * n + 2, 2 * n + 3)).collect();
        let sql = format!(
            "INSERT INTO grade (object, body, at) VALUES {} ON CONFLICT (object) \
             DO UPDATE SET body = excluded.body, at = excluded.at",
            places.join(", ")
        );
        wr!(self, c => {
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql.as_str())).bind(now.ms());
            for (object, body) in rows { query = query.bind(object).bind(body); }
            query.execute(c).await.map(|d| d.rows_affected())
        })?;
        Ok(())
    }

    async fn grade_delete(&mut self, objects: &[String]) -> Result<()> {
        let places: Vec<String> = (1..=objects.len()).map(|n| format!("${n}")).collect();
        let sql = format!("DELETE FROM grade WHERE object IN ({})", places.join(", "));
        wr!(self, c => {
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql.as_str()));
            for object in objects { query = query.bind(object); }
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

    fn row(n: usize, body: &str) -> (String, String) {
        (format!("instance:pay.cart@10.0.0.1:{n:05}"), body.to_string())
    }

    async fn loaded(store: &Store) -> SavedGrades {
        let mut saved = store.grade_load().await.unwrap();
        saved.rows.sort();
        saved
    }

    #[tokio::test]
    async fn what_changed_is_written_what_is_gone_is_deleted_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            url: format!("sqlite:{}", dir.path().join("cw.db").display()),
            key_file: None,
            key_env: None,
            key_command: None,
        };
        let store = Store::open(&config, Migrate::AtStart).await.unwrap();
        assert_eq!(loaded(&store).await, SavedGrades::default());
        // More than one batch.
        let all: Vec<_> = (0..2 * BATCH + 3).map(|n| row(n, "a")).collect();
        store.grade_save(&all, &[], T0).await.unwrap();
        assert_eq!(loaded(&store).await, SavedGrades { at: Some(T0), rows: all.clone() });
        let gone: Vec<String> = all[2..].iter().map(|(object, _)| object.clone()).collect();
        for again in [T0 + 1, T0 + 2] {
            store.grade_save(&[row(1, "b")], &gone, again).await.unwrap();
            let rows = vec![row(0, "a"), row(1, "b")];
            assert_eq!(loaded(&store).await, SavedGrades { at: Some(again), rows });
        }
        store.grade_save(&[], &[], T0 + 3).await.unwrap();
        assert_eq!(loaded(&store).await.at, Some(T0 + 3), "nothing changed, but we were there");
    }
}
