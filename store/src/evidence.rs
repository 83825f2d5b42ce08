//! Evidence of incidents.
//!
//! Invariant: what was read for one opening is written once and never changed; whoever may see the
//! incident may see it. It goes with its incident.

use model::caller::Caller;
use model::evidence::Evidence;
use model::right::{Place, Right};

use crate::operation::text;
use crate::{Error, Result, Store};

impl Store {
    /// Openings (incident, opening) of open incidents that have their evidence. For remediation.
    pub async fn evidence_known(&self) -> Result<Vec<(String, i64)>> {
        Ok(rd!(self, c => sqlx::query_as(
            "SELECT e.incident_id, e.opening FROM evidence e JOIN incident i \
             ON i.id = e.incident_id WHERE i.closed_at IS NULL").fetch_all(c).await)?)
    }

    /// Keeps what remediation read for an opening; false when that has evidence already. Not
    /// audited: nobody's fleet or settings change, and the trail would hold every text twice.
    pub async fn evidence_put(&self, caller: &Caller, evidence: &Evidence) -> Result<bool> {
        caller.require(Right::SystemAdmin, &Place::platform())?;
        let body = text(evidence)?;
        let mut tx = self.begin().await?;
        let put = wr!(tx, c => sqlx::query(
            "INSERT INTO evidence (incident_id, opening, at, body) VALUES ($1, $2, $3, $4) \
             ON CONFLICT DO NOTHING")
            .bind(&evidence.incident_id).bind(i64::from(evidence.opening))
            .bind(evidence.at.ms()).bind(&body)
            .execute(c).await.map(|d| d.rows_affected()))?;
        tx.commit().await?;
        Ok(put == 1)
    }

    /// Evidence of an incident the caller may see, latest opening first.
    pub async fn evidence_of(&self, caller: &Caller, incident: &str) -> Result<Vec<Evidence>> {
        self.incident_get(caller, incident).await?;
        let bodies: Vec<String> = rd!(self, c => sqlx::query_scalar(
            "SELECT body FROM evidence WHERE incident_id = $1 ORDER BY opening DESC")
            .bind(incident).fetch_all(c).await)?;
        let bad = |e: serde_json::Error| Error::Internal(format!("evidence: {e}"));
        bodies.iter().map(|body| serde_json::from_str(body).map_err(bad)).collect()
    }
}
