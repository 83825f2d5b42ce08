//! Wished parameters: one row per service and name.
//!
//! Invariant: a wish is written only by the operation that brought it about, with its audit record.

use model::At;
use model::ServiceId;
use model::caller::Caller;
use model::parameter::DesiredParameter;
use model::right::{Place, Right};
use serde_json::json;

use crate::audit::AuditEntry;
use crate::operation::text;
use crate::{Error, Result, Store};

type Row = (String, String, String, String, i64);

fn read((name, value, volatile, operation, at): Row) -> Result<DesiredParameter> {
    let volatile = serde_json::from_str(&volatile)
        .map_err(|e| Error::Internal(format!("parameter {name}: {e}")))?;
    Ok(DesiredParameter { name, value, volatile, operation, at: At::from_ms(at) })
}

impl Store {
    /// The wishes for a service, by name.
    pub async fn parameters(
        &self,
        caller: &Caller,
        service: &ServiceId,
    ) -> Result<Vec<DesiredParameter>> {
        let place = self.place_of_service(service).await?;
        caller.require(Right::FleetRead, &place)?;
        let rows: Vec<Row> = rd!(self, c => sqlx::query_as(
            "SELECT name, value, volatile, operation, at FROM parameter \
             WHERE service = $1 ORDER BY name")
            .bind(service.as_str()).fetch_all(c).await)?;
        rows.into_iter().map(read).collect()
    }

    /// Replaces the wishes of those names: `None` takes one back.
    pub async fn parameters_put(
        &self,
        caller: &Caller,
        service: &ServiceId,
        wishes: &[(String, Option<DesiredParameter>)],
        now: At,
    ) -> Result<()> {
        let place = self.place_of_service(service).await?;
        caller.require(Right::OpLow, &place)?;
        let tenant = service.tenant();
        let mut tx = self.begin().await?;
        for (name, wish) in wishes {
            wr!(tx, c => sqlx::query("DELETE FROM parameter WHERE service = $1 AND name = $2")
                .bind(service.as_str()).bind(name).execute(c).await.map(|d| d.rows_affected()))?;
            let Some(wish) = wish else { continue };
            let volatile = text(&wish.volatile)?;
            wr!(tx, c => sqlx::query(
                "INSERT INTO parameter (service, tenant, name, value, volatile, operation, at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7)")
                .bind(service.as_str()).bind(tenant.as_str()).bind(name).bind(&wish.value)
                .bind(&volatile).bind(&wish.operation).bind(wish.at.ms())
                .execute(c).await.map(|d| d.rows_affected()))?;
        }
        let after: serde_json::Map<String, serde_json::Value> = wishes
            .iter()
            .map(|(name, wish)| (name.clone(), json!(wish.as_ref().map(|w| &w.value))))
            .collect();
        let entry = audit(service, place, json!(after));
        tx.audit(caller, entry, now).await?;
        tx.commit().await
    }
}

fn audit(service: &ServiceId, place: Place, after: serde_json::Value) -> AuditEntry {
    AuditEntry::new("parameter.desire", service.as_str(), place)
        .change(serde_json::Value::Null, after)
}
