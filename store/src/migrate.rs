//! Schema: one set of migrations for both engines, and the append-only guard of the audit table,
//! which each engine says in its own words.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgPool;
use sqlx::sqlite::SqlitePool;

use crate::{Error, Migrate};

static SCHEMA: Migrator = sqlx::migrate!("./migrations");

const LITE_GUARD: &str = "
CREATE TRIGGER IF NOT EXISTS audit_no_update BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'audit records are append-only'); END;
CREATE TRIGGER IF NOT EXISTS audit_no_delete BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'audit records are append-only'); END;";

const PG_GUARD: &str = "
CREATE OR REPLACE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'audit records are append-only'; END $$;
CREATE OR REPLACE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit
FOR EACH ROW EXECUTE FUNCTION audit_append_only();";

pub(crate) async fn lite(pool: &SqlitePool) -> crate::Result<()> {
    SCHEMA.run(pool).await.map_err(said)?;
    sqlx::raw_sql(LITE_GUARD).execute(pool).await?;
    Ok(())
}

pub(crate) async fn pg(pool: &PgPool, mode: Migrate) -> crate::Result<()> {
    if mode == Migrate::Now {
        SCHEMA.run(pool).await.map_err(said)?;
        sqlx::raw_sql(PG_GUARD).execute(pool).await?;
        return Ok(());
    }
    let wanted = SCHEMA.iter().map(|m| m.version).max().unwrap_or_default();
    let found: i64 = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
        .fetch_one(pool)
        .await
        .unwrap_or_default();
    match found.cmp(&wanted) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => Err(Error::Invalid(format!(
            "the database is at schema version {found}, this program needs {wanted}: run \
             `cachewarden migrate` with the migration role first"
        ))),
        std::cmp::Ordering::Greater => Err(newer(found, wanted)),
    }
}

fn newer(found: i64, known: i64) -> Error {
    Error::Invalid(format!(
        "the database is at schema version {found}, this program knows up to {known}: it is older \
         than the database; start the newer program"
    ))
}

fn said(e: MigrateError) -> Error {
    let known = SCHEMA.iter().map(|m| m.version).max().unwrap_or_default();
    match e {
        MigrateError::VersionMissing(v) | MigrateError::VersionTooNew(v, _) => newer(v, known),
        MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _) => Error::from(e),
        other => Error::Internal(other.to_string()),
    }
}
