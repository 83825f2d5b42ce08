//! Scores as they were shown: transitions of grades and gates, and the hours of services.
//!
//! Invariant: a row is written once and never changed; writing it again changes nothing, so a save whose
//! end is unknown is simply repeated. Rows are read inside what the caller may see. Refuses to know what
//! a score means.

use model::At;
use model::caller::Caller;
use model::health::{HistoryMark, Mark};
use model::right::{Place, Right};
use model::score::{Explained, Grade, Level};

use crate::scoped::scoped;
use crate::tx::Tx;
use crate::{Error, Result, Store};

/// Rows are kept this long, ms: 400 days, as everything that tells how it went.
pub const EXPLAINED_KEPT_MS: i64 = 400 * 86_400_000;

/// Rows of one statement and one transaction: a few milliseconds of the writer, and far from either
/// engine's limit of parameters.
const BATCH: usize = 200;

/// A score to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// The moment it tells of.
    pub at: At,
    /// Why it is stored.
    pub why: Mark,
    /// Where it stands, for the rights of whoever reads it.
    pub place: Place,
    /// The score.
    pub explained: std::sync::Arc<Explained>,
}

impl Store {
    /// Writes rows; those that are there stay. It is the process' own memory of what it showed: there
    /// is no caller and no audit record. After an error some may be written.
    pub async fn explained_save(&self, rows: &[Shown]) -> Result<()> {
        for batch in rows.chunks(BATCH) {
            let mut tx = self.begin().await?;
            tx.explained_write(batch).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// The latest row of an object at or before a moment, with the moment it tells of.
    pub async fn explained_at(
        &self,
        caller: &Caller,
        (level, object): (Level, &str),
        at: At,
    ) -> Result<Option<(At, Explained)>> {
        let mine = scoped(caller, Right::FleetRead, 4);
        let sql = format!(
            "SELECT at, body FROM explained WHERE level = $1 AND object = $2 AND at <= $3 \
             AND {} ORDER BY at DESC LIMIT 1",
            mine.sql
        );
        let row: Option<(i64, String)> = rd!(self, c => {
            let mut query = sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str()))
                .bind(level.as_str()).bind(object).bind(at.ms());
            for value in &mine.binds { query = query.bind(value); }
            query.fetch_optional(c).await
        })?;
        let read = |(at, body): (i64, String)| {
            let explained = serde_json::from_str(&body)
                .map_err(|e| Error::Internal(format!("explained {object} at {at}: {e}")))?;
            Ok((At::from_ms(at), explained))
        };
        row.map(read).transpose()
    }

    /// The newest rows of an object since a moment, newest first, at most `limit`.
    pub async fn explained_marks(
        &self,
        caller: &Caller,
        (level, object): (Level, &str),
        since: At,
        limit: i64,
    ) -> Result<Vec<HistoryMark>> {
        let mine = scoped(caller, Right::FleetRead, 5);
        let sql = format!(
            "SELECT at, why, score, grade, gates FROM explained WHERE level = $1 AND object = $2 \
             AND at >= $3 AND {} ORDER BY at DESC LIMIT $4",
            mine.sql
        );
        type Row = (i64, String, Option<f64>, String, String);
        let rows: Vec<Row> = rd!(self, c => {
            let mut query = sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str()))
                .bind(level.as_str()).bind(object).bind(since.ms()).bind(limit);
            for value in &mine.binds { query = query.bind(value); }
            query.fetch_all(c).await
        })?;
        let mark = |(at, why, score, grade, gates): Row| HistoryMark {
            at: At::from_ms(at),
            why: Mark::parse(&why).unwrap_or_default(),
            score,
            grade: Grade::parse(&grade).unwrap_or_default(),
            gates: gates.split_whitespace().map(str::to_string).collect(),
        };
        Ok(rows.into_iter().map(mark).collect())
    }
}

impl Tx {
    async fn explained_write(&mut self, rows: &[Shown]) -> Result<()> {
        const COLUMNS: usize = 11;
        let place = |n: usize| {
            let all: Vec<String> = (1..=COLUMNS).map(|k| format!("${}", COLUMNS * n + k)).collect();
            format!("({})", all.join(", "))
        };
        let places: Vec<String> = (0..rows.len()).map(place).collect();
        let sql = format!(
            "INSERT INTO explained (level, object, at, why, tenant, system, service, score, grade, \
             gates, body) VALUES {} ON CONFLICT (level, object, at) DO NOTHING",
            places.join(", ")
        );
        let bodies: Vec<String> = rows.iter().map(|r| body(&r.explained)).collect::<Result<_>>()?;
        wr!(self, c => {
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql.as_str()));
            for (row, body) in rows.iter().zip(&bodies) {
                let (e, place) = (&*row.explained, &row.place);
                query = query
                    .bind(e.level.as_str()).bind(&e.id).bind(row.at.ms()).bind(row.why.as_str())
                    .bind(text(&place.tenant)).bind(text(&place.system)).bind(text(&place.service))
                    .bind(e.score).bind(e.grade.as_str()).bind(holding(e)).bind(body);
            }
            query.execute(c).await.map(|d| d.rows_affected())
        })?;
        Ok(())
    }
}

fn body(explained: &Explained) -> Result<String> {
    serde_json::to_string(explained).map_err(|e| Error::Internal(e.to_string()))
}

fn text<T: ToString>(id: &Option<T>) -> String {
    id.as_ref().map(ToString::to_string).unwrap_or_default()
}

fn holding(explained: &Explained) -> String {
    let names: Vec<&str> =
        explained.gates.iter().filter(|g| g.holds).map(|g| g.gate.as_str()).collect();
    names.join(" ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::right::{Rights, Scope};
    use model::score::GateState;

    use super::*;
    use crate::{Config, Migrate};

    const T0: At = At::from_ms(1_763_800_000_000);

    fn shown(at: At, id: &str, score: Option<f64>, gate: Option<&str>) -> Shown {
        let held = gate.map(|gate| GateState {
            gate: gate.into(),
            cap: 59.0,
            holds: true,
            binds: true,
            points: 1.0,
            text: String::new(),
        });
        let explained = Explained {
            level: Level::Service,
            id: id.into(),
            at,
            score,
            grade: score.map_or(Grade::Unknown, Grade::of),
            gates: held.into_iter().collect(),
            ..Explained::default()
        };
        let service: model::ServiceId = id.parse().unwrap();
        let place = Place::service(&service, &"pay.shop".parse().unwrap());
        Shown { at, why: Mark::Gate, place, explained: Arc::new(explained) }
    }

    fn reader(scope: &str) -> Caller {
        let mut caller = Caller::system("test", "");
        let scope = Scope::try_from(scope.to_string()).unwrap();
        caller.grants = vec![(Rights::of(&[Right::FleetRead]), scope)];
        caller
    }

    #[tokio::test]
    async fn what_was_shown_is_found_at_its_time_by_who_may_see_it_until_its_retention_ends() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            url: format!("sqlite:{}", dir.path().join("cw.db").display()),
            key_file: None,
            key_env: None,
            key_command: None,
        };
        let store = Store::open(&config, Migrate::AtStart).await.unwrap();
        let first = shown(T0, "pay.cart", Some(72.06), Some("oom_errors"));
        let mut rows = vec![first.clone(), shown(T0 + 60_000, "pay.cart", None, None)];
        // More than one batch.
        rows.extend((0..BATCH as i64 + 3).map(|n| shown(T0 + n, "pay.card", Some(90.0), None)));
        store.explained_save(&rows).await.unwrap();
        store.explained_save(&rows[..2]).await.unwrap();
        let of = (Level::Service, "pay.cart");
        let (mine, theirs) = (reader("system:pay.shop"), reader("system:pay.desk"));
        assert_eq!(store.explained_at(&mine, of, T0 - 1).await.unwrap(), None);
        let (at, found) = store.explained_at(&mine, of, T0 + 59_999).await.unwrap().unwrap();
        assert_eq!((at, &found), (T0, &*first.explained));
        assert_eq!(store.explained_at(&theirs, of, T0 + 59_999).await.unwrap(), None);
        let marks = store.explained_marks(&mine, of, T0, 10).await.unwrap();
        let seen: Vec<_> = marks.iter().map(|m| (m.at, m.score, m.gates.len())).collect();
        assert_eq!(seen, [(T0 + 60_000, None, 0), (T0, Some(72.06), 1)]);
        assert_eq!(marks[0].grade, Grade::Unknown);
        assert!(store.explained_marks(&theirs, of, T0, 10).await.unwrap().is_empty());

        let house = Caller::system("housekeeping", "");
        let gone = store.sweep(&house, T0 + EXPLAINED_KEPT_MS + 60_000).await.unwrap();
        assert!(gone.contains(&("explained", BATCH as u64 + 4)), "{gone:?}");
        assert_eq!(store.explained_marks(&mine, of, T0, 10).await.unwrap().len(), 1);
    }
}
