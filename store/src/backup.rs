//! Manifests of backups.
//!
//! Invariant: a manifest is written once, with its audit record, behind the proof that its file is
//! whole; it is struck out when its file is removed. Refuses to know files.

use model::At;
use model::backup::Backup;
use model::caller::Caller;
use model::right::Right;
use serde_json::Value;

use crate::audit::AuditEntry;
use crate::scoped::scoped;
use crate::{Error, Result, Store};

const COLUMNS: &str = "operation_id, service, shard, instance, path, bytes, sha256, key_count, \
     expire_count, engine_version, replid, repl_offset, slots, taken_at";

#[derive(sqlx::FromRow)]
struct Row {
    operation_id: String,
    service: String,
    shard: i64,
    instance: String,
    path: String,
    bytes: i64,
    sha256: String,
    key_count: i64,
    expire_count: i64,
    engine_version: String,
    replid: String,
    repl_offset: i64,
    slots: String,
    taken_at: i64,
}

impl Row {
    fn read(self) -> Result<Backup> {
        let broken = |e: &dyn std::fmt::Display| Error::Internal(format!("backup: {e}"));
        Ok(Backup {
            id: format!("{}/{}", self.operation_id, self.shard),
            operation_id: self.operation_id,
            service: self.service.parse().map_err(|e| broken(&e))?,
            shard: u32::try_from(self.shard).map_err(|e| broken(&e))?,
            instance: self.instance.parse().map_err(|e| broken(&e))?,
            path: self.path,
            bytes: self.bytes.unsigned_abs(),
            sha256: self.sha256,
            keys: self.key_count.unsigned_abs(),
            expires: self.expire_count.unsigned_abs(),
            engine_version: self.engine_version,
            replid: self.replid,
            repl_offset: self.repl_offset.unsigned_abs(),
            slots: serde_json::from_str(&self.slots).map_err(|e| broken(&e))?,
            taken_at: At::from_ms(self.taken_at),
        })
    }
}

fn number(n: u64) -> Result<i64> {
    i64::try_from(n).map_err(|_| Error::Invalid(format!("{n} does not fit")))
}

impl Store {
    /// Keeps a manifest; the same again changes nothing.
    pub async fn backup_put(&self, caller: &Caller, backup: &Backup, now: At) -> Result<()> {
        let place = self.place_of_service(&backup.service).await?;
        caller.require(Right::OpLow, &place)?;
        if self.backup_find(&backup.id).await?.is_some() {
            return Ok(());
        }
        let (bytes, keys, expires) =
            (number(backup.bytes)?, number(backup.keys)?, number(backup.expires)?);
        let offset = number(backup.repl_offset)?;
        let slots = serde_json::to_string(&backup.slots).expect("plain data");
        let system = place.system.as_ref().map(ToString::to_string).unwrap_or_default();
        let value = serde_json::to_value(backup).expect("plain data");
        let mut tx = self.begin().await?;
        wr!(tx, c => sqlx::query(
            "INSERT INTO backup (id, operation_id, tenant, system, service, shard, instance, path, \
             bytes, sha256, key_count, expire_count, engine_version, replid, repl_offset, slots, \
             taken_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, \
             $16, $17)")
            .bind(&backup.id).bind(&backup.operation_id).bind(backup.service.tenant().as_str())
            .bind(&system).bind(backup.service.as_str()).bind(i64::from(backup.shard))
            .bind(backup.instance.as_str()).bind(&backup.path).bind(bytes).bind(&backup.sha256)
            .bind(keys).bind(expires).bind(&backup.engine_version).bind(&backup.replid)
            .bind(offset).bind(&slots).bind(backup.taken_at.ms())
            .execute(c).await.map(|d| d.rows_affected()))?;
        let entry = AuditEntry::new("backup.add", &backup.id, place).change(Value::Null, value);
        tx.audit(caller, entry, now).await?;
        tx.commit().await
    }

    /// Strikes a manifest out; one that is not there is gone already.
    pub async fn backup_strike(&self, caller: &Caller, id: &str, now: At) -> Result<()> {
        let Some(backup) = self.backup_find(id).await? else { return Ok(()) };
        let place = self.place_of_service(&backup.service).await?;
        caller.require(Right::OpLow, &place)?;
        let value = serde_json::to_value(&backup).expect("plain data");
        let mut tx = self.begin().await?;
        wr!(tx, c => sqlx::query("DELETE FROM backup WHERE id = $1").bind(id)
            .execute(c).await.map(|d| d.rows_affected()))?;
        let entry = AuditEntry::new("backup.remove", id, place).change(value, Value::Null);
        tx.audit(caller, entry, now).await?;
        tx.commit().await
    }

    /// One manifest, for the engine, which authorises on the service it finds.
    pub async fn backup_find(&self, id: &str) -> Result<Option<Backup>> {
        let sql = format!("SELECT {COLUMNS} FROM backup WHERE id = $1");
        let row: Option<Row> = rd!(self, c =>
            sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str())).bind(id).fetch_optional(c).await)?;
        row.map(Row::read).transpose()
    }

    /// Manifests the caller may see, newest first.
    pub async fn backup_list(&self, caller: &Caller, limit: i64) -> Result<Vec<Backup>> {
        let scope = scoped(caller, Right::FleetRead, 1);
        let sql = format!(
            "SELECT {COLUMNS} FROM backup WHERE {} ORDER BY taken_at DESC, id LIMIT ${}",
            scope.sql,
            scope.binds.len() + 1
        );
        let rows: Vec<Row> = rd!(self, c => {
            let mut query = sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str()));
            for value in &scope.binds { query = query.bind(value); }
            query.bind(limit).fetch_all(c).await
        })?;
        rows.into_iter().map(Row::read).collect()
    }
}
