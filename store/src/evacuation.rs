//! Zones that masters were moved out of, with the layout they return to.
//!
//! Invariant: the row, the inventory's generation and the audit record are one transaction, so every
//! process learns of it as of any other change of the tree. Refuses to know how masters move.

use std::collections::BTreeSet;

use model::batch::{Evacuation, place_of};
use model::caller::Caller;
use model::right::Right;
use model::{At, ZoneId};
use serde_json::{Value, json};

use crate::audit::AuditEntry;
use crate::inventory::bump;
use crate::operation::{id, read_json, text};
use crate::{Result, Store};

type Row = (String, String, String, String, i64);

fn read((zone, operation, homes, benched, at): Row) -> Result<Evacuation> {
    Ok(Evacuation {
        zone: id(&zone)?,
        operation,
        at: At::from_ms(at),
        homes: read_json(&homes)?,
        benched: read_json(&benched)?,
    })
}

/// The zones alone, for the tree.
pub(crate) async fn zones(store: &Store) -> Result<BTreeSet<ZoneId>> {
    let zones: Vec<String> = rd!(store, c =>
        sqlx::query_scalar("SELECT zone FROM evacuation").fetch_all(c).await)?;
    zones.iter().map(|zone| id(zone)).collect()
}

impl Store {
    /// Every evacuated zone. For the engine, which authorises on what it does there.
    pub async fn evacuations(&self) -> Result<Vec<Evacuation>> {
        let rows: Vec<Row> = rd!(self, c => sqlx::query_as(
            "SELECT zone, operation_id, homes, benched, at FROM evacuation ORDER BY zone")
            .fetch_all(c).await)?;
        rows.into_iter().map(read).collect()
    }

    /// Marks a zone as evacuated; the same again changes nothing.
    pub async fn zone_evacuate(&self, caller: &Caller, of: &Evacuation, now: At) -> Result<()> {
        let place = place_of(&of.zone);
        caller.require(Right::OpDisrupt, &place)?;
        let present = self.inventory().await?;
        if present.evacuated.contains(&of.zone) {
            return Ok(());
        }
        let (homes, benched) = (text(&of.homes)?, text(&of.benched)?);
        let mut tx = self.begin().await?;
        bump(&mut tx, present.generation).await?;
        wr!(tx, c => sqlx::query(
            "INSERT INTO evacuation (zone, operation_id, homes, benched, actor, at) \
             VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(of.zone.as_str()).bind(&of.operation).bind(&homes).bind(&benched)
            .bind(caller.name()).bind(of.at.ms()).execute(c).await.map(|d| d.rows_affected()))?;
        let after = json!({ "operation": of.operation, "masters": of.homes.len() });
        let entry = AuditEntry::new("zone.evacuate", of.zone.as_str(), place);
        tx.audit(caller, entry.change(Value::Null, after), now).await?;
        tx.commit().await
    }

    /// Lets masters return to a zone; one that is not evacuated stays as it is.
    pub async fn zone_reopen(&self, caller: &Caller, zone: &ZoneId, now: At) -> Result<()> {
        let place = place_of(zone);
        caller.require(Right::OpDisrupt, &place)?;
        let present = self.inventory().await?;
        if !present.evacuated.contains(zone) {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        bump(&mut tx, present.generation).await?;
        wr!(tx, c => sqlx::query("DELETE FROM evacuation WHERE zone = $1")
            .bind(zone.as_str()).execute(c).await.map(|d| d.rows_affected()))?;
        let entry = AuditEntry::new("zone.reopen", zone.as_str(), place);
        tx.audit(caller, entry.change(json!({ "evacuated": true }), Value::Null), now).await?;
        tx.commit().await
    }
}
