//! Slow logs kept before they were emptied.
//!
//! Invariant: shapes, times and durations only; an argument of a client never comes here.

use model::caller::Caller;
use model::right::Right;
use model::{At, InstanceId};
use serde_json::{Value, json};

use crate::audit::AuditEntry;
use crate::operation::text;
use crate::{Result, Store};

/// What is kept of one node by one operation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlowlogKept {
    /// Entries.
    pub entries: u64,
    /// Id of the newest; -1 when the log was empty.
    pub last_id: f64,
}

impl Store {
    /// What that operation kept of that node; none when nothing yet.
    pub async fn slowlog_kept(
        &self,
        operation: &str,
        instance: &InstanceId,
    ) -> Result<Option<SlowlogKept>> {
        let row: Option<(i64, i64)> = rd!(self, c => sqlx::query_as(
            "SELECT entries, last_id FROM slowlog_archive WHERE operation = $1 AND instance = $2")
            .bind(operation).bind(instance.as_str()).fetch_optional(c).await)?;
        Ok(row.map(|(entries, last)| SlowlogKept {
            entries: u64::try_from(entries).unwrap_or_default(),
            last_id: last as f64,
        }))
    }

    /// Keeps the entries of a node; a later call of the same operation replaces them.
    pub async fn slowlog_keep(
        &self,
        caller: &Caller,
        operation: &str,
        instance: &InstanceId,
        (kept, shapes): (SlowlogKept, &[Value]),
        now: At,
    ) -> Result<()> {
        let service = instance.service();
        let place = self.place_of_service(&service).await?;
        caller.require(Right::OpLow, &place)?;
        let (tenant, body) = (service.tenant(), text(&shapes)?);
        let mut tx = self.begin().await?;
        wr!(tx, c => sqlx::query(
            "DELETE FROM slowlog_archive WHERE operation = $1 AND instance = $2")
            .bind(operation).bind(instance.as_str()).execute(c).await.map(|d| d.rows_affected()))?;
        wr!(tx, c => sqlx::query(
            "INSERT INTO slowlog_archive (operation, instance, tenant, service, entries, last_id, \
             body, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)")
            .bind(operation).bind(instance.as_str()).bind(tenant.as_str()).bind(service.as_str())
            .bind(kept.entries as i64).bind(kept.last_id as i64).bind(&body).bind(now.ms())
            .execute(c).await.map(|d| d.rows_affected()))?;
        let entry = AuditEntry::new("slowlog.keep", instance.as_str(), place)
            .change(Value::Null, json!({ "operation": operation, "entries": kept.entries }));
        tx.audit(caller, entry, now).await?;
        tx.commit().await
    }
}
