//! The report on the quality of alerts.
//!
//! Invariant: what was made at night is answered, cut to what the caller sees.

use std::sync::Arc;

use model::quality::QualityReport;
use portal::Page;

use super::Api;
use super::ask::{Answer, Ask, Fail, invalid};

/// `GET /alerts/quality`; `day=2026-03-01` asks for an older one.
pub async fn get(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let day = ask.query("day").trim();
    let dates = |c: char| c.is_ascii_digit() || c == '-';
    if !day.is_empty() && (day.len() != 10 || !day.chars().all(dates)) {
        return Err(invalid("/day", format!("day={day:?}: expected 2026-03-01")));
    }
    let found = api.app.store.quality_get(&ask.caller, day).await?;
    let none =
        || QualityReport { as_of: ask.now, from: ask.now, items: Vec::new(), count: 0, next: None };
    Ok(Answer::ok(found.unwrap_or_else(none)).page(Page::AlertQuality))
}
