//! Calendars: one row each, with the revision a change must be based on.
//!
//! Invariant: a calendar that a policy in force names is not deleted. Calendars are the platform's:
//! everybody reads them, `calendar.edit` changes them. Refuses to know what a window means.

use model::At;
use model::calendar::CalendarDoc;
use model::caller::Caller;
use model::right::{Place, Right};
use serde_json::{Value, json};

use crate::audit::AuditEntry;
use crate::{Error, Result, Store};

/// Calendars of an installation: each is asked once a second.
const CALENDARS_MAX: i64 = 200;

/// A calendar as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct CalendarRow {
    /// Definition.
    pub calendar: CalendarDoc,
    /// Revision.
    pub rev: i64,
    /// Who changed it last.
    pub by: String,
    /// When.
    pub at: At,
}

type Row = (String, i64, String, String, i64);

fn read((id, rev, body, by, at): Row) -> Result<CalendarRow> {
    let calendar =
        serde_json::from_str(&body).map_err(|e| Error::Internal(format!("calendar {id}: {e}")))?;
    Ok(CalendarRow { calendar, rev, by, at: At::from_ms(at) })
}

impl Store {
    /// Every calendar, by id.
    pub async fn calendar_list(&self, caller: &Caller) -> Result<Vec<CalendarRow>> {
        if !caller.may_somewhere(Right::FleetRead) {
            caller.require(Right::FleetRead, &Place::platform())?;
        }
        let rows: Vec<Row> = rd!(self, c => sqlx::query_as(
            "SELECT id, rev, body, actor, at FROM calendar ORDER BY id").fetch_all(c).await)?;
        rows.into_iter().map(read).collect()
    }

    /// One calendar.
    pub async fn calendar_get(&self, caller: &Caller, id: &str) -> Result<CalendarRow> {
        let all = self.calendar_list(caller).await?;
        let found = all.into_iter().find(|row| row.calendar.id == id);
        found.ok_or_else(|| Error::NotFound(format!("calendar {id}")))
    }

    /// Creates or changes it; answers its revision. `rev` is the one the change is based on, 0 for a
    /// new one; none: whatever it is. The definition was checked before.
    pub async fn calendar_put(
        &self,
        caller: &Caller,
        doc: &CalendarDoc,
        rev: Option<i64>,
        now: At,
    ) -> Result<i64> {
        caller.require(Right::CalendarEdit, &Place::platform())?;
        let body = serde_json::to_string(doc).map_err(|e| Error::Internal(e.to_string()))?;
        let mut tx = self.begin().await?;
        let present: Option<(i64, String)> = wr!(tx, c => sqlx::query_as(
            "SELECT rev, body FROM calendar WHERE id = $1").bind(&doc.id).fetch_optional(c).await)?;
        let at = present.as_ref().map_or(0, |(rev, _)| *rev);
        if rev.is_some_and(|rev| rev != at) {
            return Err(Error::Moved { what: format!("calendar {}", doc.id), present: at });
        }
        if present.as_ref().is_some_and(|(_, old)| *old == body) {
            return Ok(at);
        }
        let count: i64 = wr!(tx, c => sqlx::query_scalar("SELECT count(*) FROM calendar")
            .fetch_one(c).await)?;
        if present.is_none() && count >= CALENDARS_MAX {
            return Err(Error::Invalid(format!("at most {CALENDARS_MAX} calendars are kept")));
        }
        wr!(tx, c => sqlx::query(
            "INSERT INTO calendar (id, rev, body, actor, at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (id) DO UPDATE SET rev = excluded.rev, body = excluded.body, \
             actor = excluded.actor, at = excluded.at")
            .bind(&doc.id).bind(at + 1).bind(&body).bind(caller.name()).bind(now.ms())
            .execute(c).await.map(|d| d.rows_affected()))?;
        let before = present.map_or(Value::Null, |(rev, old)| json!({ "rev": rev, "doc": old }));
        let after = json!({ "rev": at + 1, "doc": body });
        let entry = AuditEntry::new("calendar.put", &doc.id, Place::platform());
        tx.audit(caller, entry.change(before, after), now).await?;
        tx.commit().await?;
        Ok(at + 1)
    }

    /// Deletes it, unless a policy in force names it.
    pub async fn calendar_delete(&self, caller: &Caller, id: &str, now: At) -> Result<()> {
        caller.require(Right::CalendarEdit, &Place::platform())?;
        let present = self.calendar_get(caller, id).await?;
        let all = self.policies(&Caller::system("calendar", "calendar")).await?;
        let names = |doc: &&model::policy::PolicyDoc| {
            let used = doc.calendar.iter().flat_map(|u| u.active.iter().chain(&u.mute));
            used.into_iter().any(|name| name == id)
        };
        if let Some(doc) = all.iter().find(names) {
            let scope = String::from(doc.scope.clone());
            return Err(Error::Conflict(format!(
                "policy {} of {scope} names the calendar {id}; change it first",
                doc.policy
            )));
        }
        let mut tx = self.begin().await?;
        wr!(tx, c => sqlx::query("DELETE FROM calendar WHERE id = $1").bind(id)
            .execute(c).await.map(|d| d.rows_affected()))?;
        let body = serde_json::to_string(&present.calendar).unwrap_or_default();
        let before = json!({ "rev": present.rev, "doc": body });
        let entry = AuditEntry::new("calendar.delete", id, Place::platform());
        tx.audit(caller, entry.change(before, Value::Null), now).await?;
        tx.commit().await
    }
}
