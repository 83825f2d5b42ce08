//! The history of alerts: searched, counted, and how fast people answered.
//!
//! Invariant: the database cuts to the caller's scope, counts and pages; a word of the query that
//! means nothing is refused, for an answer to another question looks like one.

use std::sync::Arc;

use model::At;
use model::history::HistoryPage;
use model::policy::{AlertLevel, Span};
use model::view::List;
use portal::Page;
use serde::Deserialize;
use serde_json::{Value, json};
use store::HistoryFilter;

use super::ask::{Answer, Ask, Fail, invalid};
use super::{Api, list};

/// Looked at when nothing is said: a month.
const SPAN_MS: i64 = 30 * 86_400_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(default)]
    note: String,
}

/// `POST /alerts/{id}/ack`.
pub async fn ack(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let Body { note } = match ask.body.is_empty() {
        true => Body { note: String::new() },
        false => ask.json()?,
    };
    let ack = api.app.store.alert_ack(&ask.caller, ask.id(), &note, ask.now).await?;
    Ok(Answer::ok(ack))
}

/// `GET /alerts/history`.
pub async fn list(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let filter = filter(&ask)?;
    let store = &api.app.store;
    let cursor = match list::cursor(&ask) {
        None => None,
        Some(text) => Some(cursor(text).ok_or_else(|| invalid("/page", "no cursor of ours"))?),
    };
    let limit = list::limit(&ask);
    let before = cursor.as_ref().map(|(at, id)| (*at, id.as_str()));
    let mut items = store.history_list(&ask.caller, &filter, limit + 1, before).await?;
    let more = items.len() > limit;
    items.truncate(limit);
    let last = items.last().filter(|_| more);
    let next = last.map(|i| format!("{}.{}", i.alert.starts_at.ms(), i.alert.id));
    let count = store.history_count(&ask.caller, &filter).await? as usize;
    let answered = store.history_answered(&ask.caller, &filter).await?;
    let from = filter.from.unwrap_or(At::EPOCH);
    let page = HistoryPage { items, next, count, as_of: ask.now, answered, from, to: filter.to };
    Ok(Answer::ok(page).page(Page::AlertHistory))
}

/// `GET /alerts/response`.
pub async fn response(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let filter = filter(&ask)?;
    let items = api.app.store.history_answered(&ask.caller, &filter).await?;
    let count = items.len();
    Ok(Answer::ok(List { items, next: None, count, as_of: ask.now }))
}

fn cursor(text: &str) -> Option<(At, String)> {
    let (ms, id) = text.split_once('.')?;
    Some((At::from_ms(ms.parse().ok()?), id.to_string()))
}

fn filter(ask: &Ask) -> Result<HistoryFilter, Fail> {
    let text = |name: &str| ask.query(name).trim().to_string();
    let level = match ask.query("level") {
        "" => None,
        word => Some(AlertLevel::parse(word).ok_or_else(|| {
            invalid("/level", format!("{word:?}: expected info, warning or critical"))
        })?),
    };
    let open = match ask.query("phase") {
        "" => None,
        "firing" => Some(true),
        "resolved" => Some(false),
        word => {
            return Err(invalid("/phase", format!("{word:?}: expected firing or resolved")));
        }
    };
    let either = |name: &str| match ask.query(name) {
        "" => Ok(None),
        _ => ask.flag(name).map(Some),
    };
    Ok(HistoryFilter {
        from: Some(time(ask, "from")?.unwrap_or(ask.now - SPAN_MS)),
        to: time(ask, "to")?,
        within: text("in"),
        instance: text("instance"),
        policy: text("policy"),
        alertname: text("alertname"),
        level,
        open,
        acknowledged: either("acknowledged")?,
        in_maintenance: either("in_maintenance")?,
        reason: text("reason"),
        q: text("q"),
    })
}

/// A time, or a length of time ago: `2026-03-01T00:00:00Z`, `2026-03-01`, `7d`.
fn time(ask: &Ask, name: &str) -> Result<Option<At>, Fail> {
    let given = ask.query(name).trim();
    if given.is_empty() {
        return Ok(None);
    }
    let at = moment(given, ask.now);
    let wrong = || {
        let given: String = given.chars().take(40).collect();
        let like = "expected 7d, 2026-03-01 or 2026-03-01T00:00:00Z";
        invalid(&format!("/{name}"), format!("{name}={given:?}: {like}"))
    };
    at.map(Some).ok_or_else(wrong)
}

/// A time as people write it.
pub(super) fn moment(given: &str, now: At) -> Option<At> {
    let ago = Span::try_from(given.to_string()).ok().map(|span| now - span.ms);
    let day = || At::parse(&format!("{given}T00:00:00Z")).ok();
    ago.or_else(day).or_else(|| At::parse(given).ok())
}

/// `{note}`.
pub(super) fn ack_form(fields: &super::form::Fields) -> Value {
    json!({ "note": super::form::field(fields, "note") })
}
