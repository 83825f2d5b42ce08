//! A second person's word on an operation, and pauses between its steps.
//!
//! Invariant: a word names the hash of the plan that was seen; the store refuses the asker's own.

use std::sync::Arc;

use axum::http::StatusCode;
use serde::Deserialize;

use super::Api;
use super::ask::{Answer, Ask, Fail, invalid};
use super::operation::refused;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Word {
    /// Hash of the plan that was seen.
    plan: String,
    #[serde(default = "yes")]
    approve: bool,
    #[serde(default)]
    reason: String,
}

fn yes() -> bool {
    true
}

/// Longest reason, characters.
const REASON_CHARS_MAX: usize = 500;

/// `POST /operations/{id}/approve`.
pub async fn decide(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let word: Word = ask.json()?;
    if word.reason.chars().count() > REASON_CHARS_MAX {
        return Err(invalid("/reason", format!("at most {REASON_CHARS_MAX} characters")));
    }
    let of = (ask.id(), word.plan.as_str());
    let decided = api.app.engine.decide(&ask.caller, of, word.approve, &word.reason, ask.now).await;
    Ok(Answer::with(StatusCode::ACCEPTED, decided.map_err(refused)?))
}

/// `POST /operations/{id}/pause`.
pub async fn pause(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let paused = api.app.engine.pause(&ask.caller, ask.id(), true, ask.now).await?;
    Ok(Answer::with(StatusCode::ACCEPTED, paused))
}

/// `POST /operations/{id}/resume`.
pub async fn resume(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let resumed = api.app.engine.pause(&ask.caller, ask.id(), false, ask.now).await?;
    Ok(Answer::with(StatusCode::ACCEPTED, resumed))
}
