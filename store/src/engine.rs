//! The two engines behind one door: how each is opened.
//!
//! SQLite has a writer pool of one connection, so a read-then-write transaction never meets BUSY
//! inside the process, and readers of their own. PostgreSQL is one pool.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::{Config, Error, Migrate, Store, lock, migrate};

/// Readers of SQLite: pages and scrapes read at once; more only wait for two cores.
const READERS_MAX: u32 = 4;
/// Connections to PostgreSQL: well below its default limit of 100 with several replicas.
const PG_CONNECTIONS_MAX: u32 = 10;
/// Opening takes milliseconds on a healthy disk; beyond this somebody should look at it.
const OPEN_MAX: Duration = Duration::from_secs(30);
/// A change that cannot begin in this time is refused: the caller can retry, a hanging disk cannot.
pub(crate) const WRITE_DEADLINE: Duration = Duration::from_secs(2);

/// A kept connection that does not answer a ping in this time is given up and another one is made: half
/// of `WRITE_DEADLINE`, so that the change that found it so can still begin.
const PING_MAX: Duration = Duration::from_secs(1);
/// A server that does not hear our good-bye in this time is left without one.
const CLOSE_MAX: Duration = Duration::from_secs(5);

pub(crate) enum Pool {
    Lite { w: SqlitePool, r: SqlitePool },
    Pg(PgPool),
}

impl Store {
    /// Opens the store; SQLite is created when the file does not exist. Refuses a file that is
    /// empty or damaged, a file another process holds (naming its pid), a schema newer than this
    /// program.
    pub async fn open(config: &Config, migrate: Migrate) -> crate::Result<Store> {
        match config.url.strip_prefix("sqlite:") {
            Some(path) => Store::open_lite(Path::new(path)).await,
            None if config.url.starts_with("postgres") => {
                Store::open_pg(&config.url, migrate).await
            }
            None => Err(Error::Invalid(
                "store.url: expected sqlite:/path/file.db or postgres://…".to_string(),
            )),
        }
    }

    async fn open_lite(path: &Path) -> crate::Result<Store> {
        let lock = lock::take(path)?;
        refuse_broken(path)?;
        private(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // FULL: an acknowledged change survives a power cut, not only kill -9.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(WRITE_DEADLINE);
        let w = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(WRITE_DEADLINE)
            // SQLite ends a transaction by itself when the disk is full; sqlx counts it as open for
            // ever, and every later change would be refused. Such a connection is not used again.
            .after_release(|connection, _| {
                Box::pin(async move {
                    connection.ping().await?;
                    Ok(!connection.is_in_transaction())
                })
            });
        let w = patiently(async || w.clone().connect_with(options.clone()).await)
            .await
            .map_err(|e| damaged(path, e))?;
        let pool = migrate::lite(&w).await;
        pool.map_err(|e| e.at(path))?;
        let r =
            SqlitePoolOptions::new().max_connections(READERS_MAX).acquire_timeout(WRITE_DEADLINE);
        let options = options.read_only(true);
        let r = patiently(async || r.clone().connect_with(options.clone()).await).await?;
        let pool = Pool::Lite { w, r };
        Ok(Store { pool, seal: Default::default(), _lock: Some(lock) })
    }

    async fn open_pg(url: &str, mode: Migrate) -> crate::Result<Store> {
        // The text of a parse error may quote the URL, which holds the password.
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| Error::Invalid("store.url is not a valid postgres:// URL".into()))?;
        let pool = PgPoolOptions::new()
            .max_connections(PG_CONNECTIONS_MAX)
            .acquire_timeout(WRITE_DEADLINE)
            // The pool's own tests wait for ever on a host that vanished, with the connection's
            // place taken: ten lost answers, and nobody gets a connection again.
            .test_before_acquire(false)
            .before_acquire(|connection, _| Box::pin(alive(connection)))
            .after_release(|connection, _| Box::pin(alive(connection)))
            .connect_with(options)
            .await?;
        migrate::pg(&pool, mode).await?;
        Ok(Store { pool: Pool::Pg(pool), seal: Default::default(), _lock: None })
    }

    /// Closes the connections; SQLite folds its log into the file. A server that is away does not
    /// hold up the end of the process.
    pub async fn close(&self) {
        match &self.pool {
            Pool::Lite { w, r } => {
                r.close().await;
                w.close().await;
            }
            Pool::Pg(pool) => {
                let _ = tokio::time::timeout(CLOSE_MAX, pool.close()).await;
            }
        }
    }
}

/// Whether the server answers on this connection soon. What was left of a query nobody waits for
/// any more, and the rollback of its transaction, are read first. An error closes the connection
/// hard and frees its place in the pool.
async fn alive(connection: &mut PgConnection) -> sqlx::Result<bool> {
    crate::tx::answered(PING_MAX, connection.ping()).await.map(|()| true)
}

/// Makes the file before SQLite does: it holds password hashes, and whoever may read it is asked
/// for by no umask. SQLite gives its side files the same mode. A file that is there keeps its own.
fn private(path: &Path) -> crate::Result<()> {
    let mut options = std::fs::File::options();
    let made = options.write(true).create(true).truncate(false).mode(0o600).open(path);
    made.map(drop).map_err(|e| Error::NotWritable(format!("{}: {e}", path.display())))
}

/// Connects again while that takes longer than a change may: after a crash SQLite first brings its
/// log back, and a slow disk must not keep the process from starting.
async fn patiently<T>(connect: impl AsyncFn() -> sqlx::Result<T>) -> sqlx::Result<T> {
    let end = tokio::time::Instant::now() + OPEN_MAX;
    loop {
        match connect().await {
            Err(sqlx::Error::PoolTimedOut) if tokio::time::Instant::now() < end => {}
            other => return other,
        }
    }
}

fn refuse_broken(path: &Path) -> crate::Result<()> {
    let Ok(meta) = std::fs::metadata(path) else { return Ok(()) };
    let wal: PathBuf = format!("{}-wal", path.display()).into();
    if meta.len() == 0 && !wal.exists() {
        return Err(Error::Internal(format!(
            "{} is an empty file where a database was expected; restore a backup, or remove the \
             file to start anew",
            path.display()
        )));
    }
    Ok(())
}

fn damaged(path: &Path, e: sqlx::Error) -> Error {
    match e {
        sqlx::Error::Database(db)
            if matches!(db.code().as_deref(), Some("11" | "26" | "779" | "267")) =>
        {
            Error::Internal(format!(
                "{} is damaged ({}); restore the last backup, nothing was changed",
                path.display(),
                db.message()
            ))
        }
        other => Error::from(other).at(path),
    }
}

impl Error {
    fn at(self, path: &Path) -> Error {
        let at = |text: String| format!("{}: {text}", path.display());
        match self {
            Error::NotWritable(t) => Error::NotWritable(at(t)),
            Error::Internal(t) => Error::Internal(at(t)),
            other => other,
        }
    }
}
