//! Calendars: what they say, and whether a window is open now.
//!
//! Invariant: a calendar that cannot be read is not saved; one that a policy names is not deleted.

use std::sync::Arc;

use model::At;
use model::calendar::{CalendarDoc, CalendarItem};
use portal::Page;
use serde::Deserialize;
use store::CalendarRow;

use super::ask::{Answer, Ask, Fail, if_match, invalid, moved};
use super::maintenance::in_force;
use super::{Api, list};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    calendar: CalendarDoc,
}

fn item(row: CalendarRow, now: At) -> CalendarItem {
    let compiled = row.calendar.compile().ok();
    CalendarItem {
        id: row.calendar.id.clone(),
        open: compiled.as_ref().is_some_and(|c| c.covers(now)),
        changes_at: compiled.and_then(|c| c.changes_after(now)),
        calendar: row.calendar,
        rev: row.rev,
        by: row.by,
        at: row.at,
    }
}

/// `GET /calendars`.
pub async fn list(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let all = api.app.store.calendar_list(&ask.caller).await?;
    let q = ask.query("q");
    let wanted = |row: &CalendarRow| {
        let c = &row.calendar;
        list::matches(q, &[&c.id, &c.description, &c.zone])
    };
    let found: Vec<CalendarItem> =
        all.into_iter().filter(wanted).map(|row| item(row, ask.now)).collect();
    Ok(Answer::ok(list::page(&ask, found, |i| i.id.clone(), ask.now)).page(Page::Calendars))
}

/// `GET /calendars/{id}`.
pub async fn get(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let row = api.app.store.calendar_get(&ask.caller, ask.id()).await?;
    let rev = row.rev;
    Ok(Answer::ok(item(row, ask.now)).rev(rev))
}

/// `PUT /calendars/{id}`.
pub async fn put(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let Body { calendar } = ask.json()?;
    // A form is posted to the list, so it has no id in its path.
    if !ask.id().is_empty() && ask.id() != calendar.id {
        return Err(invalid("/calendar/id", format!("the path says {:?}", ask.id())));
    }
    calendar.compile().map_err(|(at, why)| invalid(&format!("/calendar{at}"), why))?;
    let present = match api.app.store.calendar_get(&ask.caller, &calendar.id).await {
        Ok(row) => Some(row),
        Err(store::Error::NotFound(_)) => None,
        Err(e) => return Err(e.into()),
    };
    let rev = present.as_ref().map_or(0, |row| row.rev);
    if let Some(row) = present {
        if_match(&ask, rev, item(row, ask.now))?;
    }
    let saved = api.app.store.calendar_put(&ask.caller, &calendar, Some(rev), ask.now).await;
    let rev = match saved {
        Err(store::Error::Moved { present, .. }) => {
            let row = api.app.store.calendar_get(&ask.caller, &calendar.id).await?;
            return Err(moved(&rev.to_string(), present, item(row, ask.now)));
        }
        saved => saved?,
    };
    in_force(&api.app, ask.now).await;
    let row = api.app.store.calendar_get(&ask.caller, &calendar.id).await?;
    Ok(Answer::ok(item(row, ask.now)).rev(rev))
}

/// `DELETE /calendars/{id}`.
pub async fn delete(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    ask.require(model::right::Right::CalendarEdit, &model::right::Place::platform())?;
    let row = api.app.store.calendar_get(&ask.caller, ask.id()).await?;
    let rev = row.rev;
    let gone = item(row, ask.now);
    if_match(&ask, rev, &gone)?;
    api.app.store.calendar_delete(&ask.caller, ask.id(), ask.now).await?;
    in_force(&api.app, ask.now).await;
    Ok(Answer::ok(gone))
}
