//! `POST /intake/alertmanager`: an Alertmanager's webhook.
//!
//! Invariant: 202 is answered after the commit only. When we are busy or the store is away the
//! answer is 503, never 429: the sender repeats 5xx, a 4xx loses the alert.

use std::sync::Arc;

use alerter::IntakeError;
use axum::http::StatusCode;
use model::code::{Code, Problem};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;

use super::ask::{Answer, Ask, Fail};
use super::{Api, problem};
use crate::auth;

/// Bytes of messages in memory at once, KiB: four of the longest.
pub const IN_FLIGHT_KIB: usize = 4 * 32 * 1024;
/// The least a message counts for, KiB, so that small ones are bounded in number too (64).
const LEAST_KIB: usize = IN_FLIGHT_KIB / 64;

/// A place for a message of that length (as announced; none: the longest), or 503.
pub fn place(api: &Api, length: Option<usize>) -> Result<OwnedSemaphorePermit, Fail> {
    let longest = super::gate::INTAKE_MAX;
    let kib = length.unwrap_or(longest).min(longest).div_ceil(1024).max(LEAST_KIB);
    let permits = u32::try_from(kib).expect("at most 32 MiB in KiB");
    api.intake.clone().try_acquire_many_owned(permits).map_err(|_| {
        let mut p = Problem::new(
            Code::OverCapacity,
            "as many messages as we can hold are being stored",
            "Send it again.",
        );
        p.errors.push(json!({ "retry_after_s": 1 }));
        p.into()
    })
}

/// Stores a message.
pub async fn alertmanager(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    auth::signed::prove(&api.app, &ask).await?;
    let source = ask.caller.actor.token.clone().unwrap_or_else(|| ask.caller.name());
    match api.app.alerter.intake(&ask.caller, &source, &ask.body, ask.now).await {
        Ok(receipt) => {
            let value = json!({ "results": receipt.results, "truncated": receipt.truncated });
            Ok(Answer::with(StatusCode::ACCEPTED, value))
        }
        Err(e @ (IntakeError::Malformed(_) | IntakeError::Stale(_))) => {
            let next = "Send Alertmanager's webhook, version 4.";
            Err(Problem::new(Code::Malformed, e.to_string(), next).into())
        }
        Err(e @ IntakeError::TooMany(_)) => {
            // The sender does not repeat it: somebody must hear of what is lost.
            tracing::warn!(source, error = %e, "a message of alerts is refused");
            let next = "Set max_alerts of the webhook's receiver, or group by more labels.";
            Err(Problem::new(Code::TooLarge, e.to_string(), next).into())
        }
        Err(IntakeError::Denied(denied)) => Err(Problem::new(
            Code::RightMissing,
            format!("this token may not post alerts of {}", denied.scope),
            "Post alerts of the token's tenants only, or use a token of the platform.",
        )
        .into()),
        Err(IntakeError::Store(e)) => Err(away(e)),
    }
}

/// Whatever the store says no with, the alert must come again.
fn away(e: store::Error) -> Fail {
    match problem::of_store(e) {
        p if p.status == 503 => p.into(),
        p => {
            tracing::error!(code = p.code, detail = p.detail, "an alert could not be stored");
            let next = "Send it again.";
            Problem::new(Code::NotWritable, "the alert could not be stored", next).into()
        }
    }
}
