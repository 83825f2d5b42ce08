//! Open alerts evaluated elsewhere, held against what Alertmanagers list.
//!
//! Invariant: only a row that was listed before ends, in the second complete round that misses it;
//! its end and its step are written together. A complete round also ends what a truncated message
//! left open to doubt. Who lists what is `alerter`'s.

use std::collections::BTreeSet;

use model::At;
use model::alert::{Alert, Phase, Transition};
use model::caller::Caller;
use model::right::{Place, Right};

use crate::alert::{AlertRow, open_key};
use crate::{Result, Store};

/// Rounds an alert may be missing in.
const MISSED_MAX: i64 = 2;
/// The time of a listing is written anew this often: it is a sign, not a measurement.
const LISTED_MS: i64 = 3_600_000;

const OPEN: &str = "SELECT id, fingerprint, source, tenant, service, instance, alertname, policy, \
     level, phase, labels, annotations, value, threshold, runbooks, starts_at, ends_at, last_seen, \
     reason FROM alert WHERE source = 'alertmanager' AND open_key IS NOT NULL";

impl Store {
    /// Notes which open foreign alerts were listed and, when the round was complete, ends those that
    /// are missing again. Answers how many ended.
    pub async fn alerts_reconcile(
        &self,
        caller: &Caller,
        listed: &[&Alert],
        complete: bool,
        now: At,
    ) -> Result<usize> {
        caller.require(Right::IntakePost, &Place::platform())?;
        let listed: BTreeSet<String> = listed.iter().map(|a| open_key(a)).collect();
        let marks: Vec<(String, Option<i64>, i64)> = rd!(self, c => sqlx::query_as(
            "SELECT id, listed_at, missed FROM alert \
             WHERE source = 'alertmanager' AND open_key IS NOT NULL").fetch_all(c).await)?;
        let marks: std::collections::HashMap<String, (Option<i64>, i64)> =
            marks.into_iter().map(|(id, at, missed)| (id, (at, missed))).collect();
        let rows: Vec<AlertRow> =
            rd!(self, c => sqlx::query_as::<_, AlertRow>(OPEN).fetch_all(c).await)?;
        let mut tx = self.begin().await?;
        let mut ended = 0;
        for row in rows {
            let alert = row.into_alert()?;
            let Some((at, missed)) = marks.get(&alert.id).copied() else { continue };
            if listed.contains(&open_key(&alert)) {
                if missed > 0 || at.is_none_or(|at| now.ms() - at >= LISTED_MS) {
                    let sql = "UPDATE alert SET listed_at = $2, missed = 0 WHERE id = $1";
                    wr!(tx, c => sqlx::query(sql).bind(&alert.id).bind(now.ms())
                        .execute(c).await.map(|d| d.rows_affected()))?;
                }
                continue;
            }
            if at.is_none() || !complete {
                continue;
            }
            if missed + 1 < MISSED_MAX {
                wr!(tx, c => sqlx::query("UPDATE alert SET missed = missed + 1 WHERE id = $1")
                    .bind(&alert.id).execute(c).await.map(|d| d.rows_affected()))?;
                continue;
            }
            let step = Transition {
                alert_id: alert.id.clone(),
                at: now,
                from: alert.phase,
                to: Phase::Resolved,
                value: None,
                threshold: None,
                reason: "reconciled".into(),
                in_maintenance: false,
            };
            let ends_at = Some(now.max(alert.starts_at));
            let reason = "reconciled".to_string();
            let over = Alert { phase: Phase::Resolved, ends_at, last_seen: now, reason, ..alert };
            tx.alert_write(&over).await?;
            tx.transition_write(&step).await?;
            ended += 1;
        }
        if complete {
            wr!(tx, c => sqlx::query("DELETE FROM alert_fact WHERE kind = 'truncated' AND at < $1")
                .bind(now.ms()).execute(c).await.map(|d| d.rows_affected()))?;
        }
        tx.commit().await?;
        Ok(ended)
    }
}
