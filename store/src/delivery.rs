//! What the evaluator keeps: its transitions, its states over a restart, and who took which alert.
//!
//! Invariant: rows, transitions, states and delivery marks of one batch commit together, so a
//! restarted evaluator agrees with the history people read.

use std::sync::Arc;

use model::At;
use model::alert::{Alert, Phase, Transition};
use model::caller::Caller;
use model::history::Hold;
use model::right::{Place, Right};
use model::view::DeliveryLine;

use crate::alert::{AlertRow, names};
use crate::tx::Tx;
use crate::{Result, Store};

/// One thing the evaluator tells, in the order it happened.
#[derive(Debug, Clone)]
pub enum AlertWrite {
    /// An occurrence changed: its row as it is now, and the step that led there.
    Step(Arc<Alert>, Transition),
    /// An occurrence as it is now, without a step (last seen, a row that history had lost).
    Row(Arc<Alert>),
    /// State of delivery to a receiver changed.
    Delivery(DeliveryMark),
    /// An occurrence is withheld from its receivers, or let go.
    Hold(Hold),
}

/// State of delivery of one occurrence to one receiver.
#[derive(Debug, Clone, PartialEq)]
pub struct DeliveryMark {
    /// The occurrence.
    pub alert_id: String,
    /// Alertmanager URL, or source of the intake.
    pub receiver: String,
    /// `waiting`, `accepted`, `rejected` or `seen`.
    pub state: &'static str,
    /// Whether it is the end that was sent.
    pub resolved: bool,
    /// When.
    pub at: At,
    /// Why it waits or was rejected; empty when accepted.
    pub detail: String,
}

/// An occurrence of ours that is open, or ended so lately that its end may have to be sent again.
#[derive(Debug, Clone)]
pub struct Retained {
    /// The occurrence.
    pub alert: Alert,
    /// Receivers that accepted or rejected its end.
    pub settled: Vec<String>,
    /// What withheld it.
    pub hold: Option<Hold>,
}

/// One thing of a batch the database will never take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedWrite {
    /// The occurrence or the cell.
    pub subject: String,
    /// What the database said.
    pub why: String,
}

/// A saved state: its cell, and the text to keep (none: forget it).
pub type SavedState = (String, Option<String>);

impl Store {
    /// Writes a batch of the evaluator in one transaction.
    pub async fn alert_commit(
        &self,
        caller: &Caller,
        writes: &[AlertWrite],
        states: &[SavedState],
        now: At,
    ) -> Result<()> {
        caller.require(Right::IntakePost, &Place::platform())?;
        let mut tx = self.begin().await?;
        for write in writes {
            tx.evaluator_write(write).await?;
        }
        tx.mass_events(&names(began(writes)), now).await?;
        for (cell, body) in states {
            tx.state_write(cell, body.as_deref(), now).await?;
        }
        tx.commit().await
    }

    /// `alert_commit` for a batch that was refused for its content: every item by itself, still in one
    /// transaction. Those the database refuses are left out and answered; when the store itself
    /// fails, nothing is written and nothing is left out.
    pub async fn alert_commit_sifted(
        &self,
        caller: &Caller,
        writes: &[AlertWrite],
        states: &[SavedState],
        now: At,
    ) -> Result<Vec<RefusedWrite>> {
        caller.require(Right::IntakePost, &Place::platform())?;
        let mut tx = self.begin().await?;
        let mut refused = Vec::new();
        for write in writes {
            let item = Item::Write(write);
            refused.extend(tx.sift(&item, now).await?);
        }
        tx.mass_events(&names(began(writes)), now).await?;
        for (cell, body) in states {
            let item = Item::State(cell, body.as_deref());
            refused.extend(tx.sift(&item, now).await?);
        }
        tx.commit().await?;
        Ok(refused)
    }

    /// The saved states: (cell, text).
    pub async fn alert_states(&self, caller: &Caller) -> Result<Vec<(String, String)>> {
        caller.require(Right::IntakePost, &Place::platform())?;
        Ok(rd!(self, c => sqlx::query_as("SELECT cell, body FROM alert_state ORDER BY cell")
            .fetch_all(c).await)?)
    }

    /// Our own occurrences that are open or ended after `since`.
    pub async fn alerts_retained(&self, caller: &Caller, since: At) -> Result<Vec<Retained>> {
        caller.require(Right::IntakePost, &Place::platform())?;
        let rows: Vec<AlertRow> = rd!(self, c => sqlx::query_as::<_, AlertRow>(
            "SELECT id, fingerprint, source, tenant, service, instance, alertname, policy, level, \
             phase, labels, annotations, value, threshold, runbooks, starts_at, ends_at, \
             last_seen, reason FROM alert WHERE source = 'embedded' \
             AND (ends_at > $1 OR open_key IS NOT NULL) ORDER BY starts_at")
            .bind(since.ms()).fetch_all(c).await)?;
        let settled: Vec<(String, String)> = rd!(self, c => sqlx::query_as(
            "SELECT d.alert_id, d.receiver FROM delivery d JOIN alert a ON a.id = d.alert_id \
             WHERE a.source = 'embedded' AND a.ends_at > $1 AND d.resolved = TRUE \
             AND d.state IN ('accepted', 'rejected')")
            .bind(since.ms()).fetch_all(c).await)?;
        let alerts = rows.into_iter().map(AlertRow::into_alert).collect::<Result<Vec<_>>>()?;
        let ids: Vec<&str> = alerts.iter().map(|a| a.id.as_str()).collect();
        let mut holds = self.holds(&ids).await?;
        let one = |alert: Alert| {
            let own = settled.iter().filter(|(id, _)| *id == alert.id);
            let settled = own.map(|(_, receiver)| receiver.clone()).collect();
            Retained { settled, hold: holds.remove(&alert.id), alert }
        };
        Ok(alerts.into_iter().map(one).collect())
    }

    /// To whom an alert was delivered, and who showed it back to us.
    pub async fn deliveries(&self, caller: &Caller, id: &str) -> Result<Vec<DeliveryLine>> {
        self.alert_get(caller, id).await?;
        let rows: Vec<(String, String, i64, String)> = rd!(self, c => sqlx::query_as(
            "SELECT receiver, state, at, detail FROM delivery WHERE alert_id = $1 \
             ORDER BY receiver")
            .bind(id).fetch_all(c).await)?;
        Ok(rows
            .into_iter()
            .map(|(receiver, state, at, detail)| DeliveryLine {
                receiver,
                state,
                at: At::from_ms(at),
                detail,
            })
            .collect())
    }
}

/// The occurrences that began with these writes.
fn began(writes: &[AlertWrite]) -> impl Iterator<Item = &Alert> {
    writes.iter().filter_map(|w| match w {
        AlertWrite::Step(alert, t) if t.from == Phase::Pending => Some(&**alert),
        _ => None,
    })
}

/// One thing of a batch.
enum Item<'a> {
    Write(&'a AlertWrite),
    State(&'a str, Option<&'a str>),
}

impl Item<'_> {
    fn subject(&self) -> String {
        match self {
            Item::Write(AlertWrite::Step(alert, _) | AlertWrite::Row(alert)) => alert.id.clone(),
            Item::Write(AlertWrite::Delivery(mark)) => mark.alert_id.clone(),
            Item::Write(AlertWrite::Hold(hold)) => hold.alert_id.clone(),
            Item::State(cell, _) => cell.to_string(),
        }
    }
}

impl Tx {
    async fn evaluator_write(&mut self, write: &AlertWrite) -> Result<()> {
        match write {
            AlertWrite::Step(alert, transition) => {
                self.alert_write(alert).await?;
                self.transition_write(transition).await
            }
            AlertWrite::Row(alert) => self.alert_write(alert).await,
            AlertWrite::Delivery(mark) => self.delivery_write(mark).await,
            AlertWrite::Hold(hold) => self.hold_write(hold).await,
        }
    }

    /// Writes one item, or answers that and why the database refuses it.
    async fn sift(&mut self, item: &Item<'_>, now: At) -> Result<Option<RefusedWrite>> {
        let mut why = String::new();
        // Twice: another process may have opened the same alert between our look and our insert,
        // which is in conflict once and seen the second time.
        for _ in 0..2 {
            self.mark().await?;
            let written = match item {
                Item::Write(write) => self.evaluator_write(write).await,
                Item::State(cell, body) => self.state_write(cell, *body, now).await,
            };
            match written {
                Ok(()) => return self.keep().await.map(|()| None),
                Err(e) if e.is_refusal() => why = e.to_string(),
                Err(e) => return Err(e),
            }
            self.back().await?;
        }
        Ok(Some(RefusedWrite { subject: item.subject(), why }))
    }

    pub(crate) async fn delivery_write(&mut self, m: &DeliveryMark) -> Result<()> {
        wr!(self, c => sqlx::query(
            "INSERT INTO delivery (alert_id, receiver, state, resolved, at, detail) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (alert_id, receiver) DO UPDATE SET \
             state = excluded.state, resolved = excluded.resolved, at = excluded.at, \
             detail = excluded.detail")
            .bind(&m.alert_id).bind(&m.receiver).bind(m.state).bind(m.resolved).bind(m.at.ms())
            .bind(&m.detail).execute(c).await.map(|d| d.rows_affected()))?;
        Ok(())
    }

    async fn state_write(&mut self, cell: &str, body: Option<&str>, now: At) -> Result<()> {
        match body {
            Some(body) => wr!(self, c => sqlx::query(
                "INSERT INTO alert_state (cell, body, at) VALUES ($1, $2, $3) \
                 ON CONFLICT (cell) DO UPDATE SET body = excluded.body, at = excluded.at")
                .bind(cell).bind(body).bind(now.ms())
                .execute(c).await.map(|d| d.rows_affected()))?,
            None => wr!(self, c => sqlx::query("DELETE FROM alert_state WHERE cell = $1")
                .bind(cell).execute(c).await.map(|d| d.rows_affected()))?,
        };
        Ok(())
    }
}
