//! A transaction on either engine, and the two macros that write a statement once for both.
//!
//! Invariant: every query ends in time, with an answer or without; a change begins and commits within
//! `WRITE_DEADLINE` each, or is refused; SQLite takes the write lock at the beginning. A dropped transaction is rolled back.

use std::io;
use std::time::Duration;

use sqlx::{Postgres, Sqlite, Transaction};
use tokio::time::timeout;

use crate::engine::{Pool, WRITE_DEADLINE};
use crate::{Error, Result, Store};

/// Reads: runs the query against a pooled reader of either engine.
/// `rd!(self, c => sqlx::query_as::<_, Row>(SQL).bind(id).fetch_all(c).await)?`
macro_rules! rd {
    ($store:expr, $c:ident => $query:expr) => {
        $crate::tx::answered($crate::tx::READ_DEADLINE, async {
            match &$store.pool {
                $crate::engine::Pool::Lite { r: $c, .. } => $query,
                $crate::engine::Pool::Pg($c) => $query,
            }
        })
        .await
    };
}

/// Runs a statement inside a transaction of either engine; both arms must answer one type, so
/// changes end in `.map(|done| done.rows_affected())`.
/// `wr!(tx, c => sqlx::query(SQL).bind(id).execute(c).await.map(|d| d.rows_affected()))?`
macro_rules! wr {
    ($tx:expr, $c:ident => $query:expr) => {
        $crate::tx::answered($crate::tx::STATEMENT_DEADLINE, async {
            match &mut $tx.0 {
                $crate::tx::Inner::Lite(t) => {
                    let $c = &mut **t;
                    $query
                }
                $crate::tx::Inner::Pg(t) => {
                    let $c = &mut **t;
                    $query
                }
            }
        })
        .await
    };
}

/// One read. A database host that vanished sends nothing at all: without an end every loop that
/// reads would wait for ever, and the stop of the process for it.
pub(crate) const READ_DEADLINE: Duration = Duration::from_secs(10);
/// One statement of a change. Longer, for one of them may delete a year of history.
pub(crate) const STATEMENT_DEADLINE: Duration = Duration::from_secs(30);

/// The answer of a query, or `NotWritable` (by way of an IO error) when none comes in time.
pub(crate) async fn answered<T>(
    limit: Duration,
    query: impl Future<Output = sqlx::Result<T>>,
) -> sqlx::Result<T> {
    let late = || format!("the database did not answer within {} s", limit.as_secs());
    match timeout(limit, query).await {
        Ok(answer) => answer,
        Err(_) => Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, late()))),
    }
}

/// A transaction.
pub struct Tx(pub(crate) Inner);

pub(crate) enum Inner {
    Lite(Transaction<'static, Sqlite>),
    Pg(Transaction<'static, Postgres>),
}

impl Store {
    /// Begins a change.
    pub(crate) async fn begin(&self) -> Result<Tx> {
        let begun = async {
            Ok::<_, sqlx::Error>(match &self.pool {
                Pool::Lite { w, .. } => Inner::Lite(w.begin_with("BEGIN IMMEDIATE").await?),
                Pool::Pg(pool) => Inner::Pg(pool.begin().await?),
            })
        };
        match timeout(WRITE_DEADLINE, begun).await {
            Ok(inner) => Ok(Tx(inner?)),
            Err(_) => Err(Error::NotWritable("no change could begin within 2 s".into())),
        }
    }
}

impl Tx {
    /// A mark to go back to: what follows it can be taken back without the whole change.
    pub(crate) async fn mark(&mut self) -> Result<()> {
        self.say("SAVEPOINT item").await
    }

    /// Forgets the mark; what followed it stays.
    pub(crate) async fn keep(&mut self) -> Result<()> {
        self.say("RELEASE SAVEPOINT item").await
    }

    /// Takes back what followed the mark, and forgets it.
    pub(crate) async fn back(&mut self) -> Result<()> {
        self.say("ROLLBACK TO SAVEPOINT item").await?;
        self.keep().await
    }

    async fn say(&mut self, sql: &'static str) -> Result<()> {
        wr!(self, c => sqlx::query(sql).execute(c).await.map(|d| d.rows_affected()))?;
        Ok(())
    }

    /// Commits. An error or a time-out means *unknown*: the caller reads back before it repeats.
    pub(crate) async fn commit(self) -> Result<()> {
        #[cfg(feature = "fault")]
        crate::fault::point("store.commit", "before").map_err(Error::NotWritable)?;
        let committed = async {
            match self.0 {
                Inner::Lite(t) => t.commit().await,
                Inner::Pg(t) => t.commit().await,
            }
        };
        match timeout(WRITE_DEADLINE, committed).await {
            Ok(done) => done?,
            Err(_) => return Err(Error::NotWritable("a change did not commit within 2 s".into())),
        }
        #[cfg(feature = "fault")]
        crate::fault::point("store.commit", "after").map_err(Error::NotWritable)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_database_that_never_answers_is_not_available() {
        let never = std::future::pending::<sqlx::Result<()>>();
        let said = answered(Duration::from_millis(1), never).await.unwrap_err();
        assert!(
            matches!(Error::from(said), Error::NotWritable(why) if why.contains("did not answer"))
        );
    }
}
