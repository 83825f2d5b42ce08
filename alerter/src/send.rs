//! One POST to an Alertmanager, and what its answer means.
//!
//! Invariant: an answer decides between taken, cut in halves, wait and misconfigured; nothing else
//! is read from it. Credentials are read from their files at every sending and never logged.

use std::time::Duration;

use crate::book::Wire;
use crate::config::AlertmanagerConfig;

/// A whole POST; Alertmanager answers within milliseconds, so this only meets one that hangs.
pub(crate) const POST_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest piece of an answer kept for people.
const DETAIL_MAX: usize = 300;

/// What an Alertmanager answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// It has them.
    Taken,
    /// At least one of them is not to its liking; the valid ones are stored.
    Refused(String),
    /// Wrong address or credentials: no alert is at fault.
    Misconfigured(String),
    /// Not now.
    Busy(String),
}

pub(crate) async fn post(
    http: &reqwest::Client,
    am: &AlertmanagerConfig,
    batch: &[&Wire],
) -> Answer {
    let body = match serde_json::to_vec(batch) {
        Ok(body) => body,
        Err(e) => return Answer::Refused(e.to_string()),
    };
    let request = http
        .post(am.endpoint())
        .timeout(POST_TIMEOUT)
        .header("content-type", "application/json")
        .body(body);
    let request = match signed(request, am).await {
        Ok(request) => request,
        Err(why) => return Answer::Misconfigured(why),
    };
    let response = match request.send().await {
        Ok(response) => response,
        Err(e) => return Answer::Busy(causes(&e.without_url())),
    };
    let status = response.status().as_u16();
    answer(status, beginning(response).await)
}

/// The request with the credentials of that Alertmanager.
pub(crate) async fn signed(
    request: reqwest::RequestBuilder,
    am: &AlertmanagerConfig,
) -> Result<reqwest::RequestBuilder, String> {
    Ok(match credentials(am).await? {
        Credentials::None => request,
        Credentials::Bearer(token) => request.bearer_auth(token),
        Credentials::Basic(user, password) => request.basic_auth(user, Some(password)),
    })
}

/// What people may read of an answer. Whoever answers at that address decides what it says and how
/// long it is, and the store takes no control characters.
pub(crate) async fn beginning(mut response: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < DETAIL_MAX * 4 {
        let Ok(Some(chunk)) = response.chunk().await else { break };
        bytes.extend_from_slice(&chunk);
    }
    plain(&bytes)
}

pub(crate) fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().take(DETAIL_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

pub(crate) fn answer(status: u16, text: String) -> Answer {
    let said = format!("{status} {text}").trim().to_string();
    match status {
        200..300 => Answer::Taken,
        401 | 403 | 404 | 405 => Answer::Misconfigured(said),
        // A proxy between may be out of breath; that is no verdict on an alert.
        408 | 425 | 429 => Answer::Busy(said),
        400..500 => Answer::Refused(said),
        _ => Answer::Busy(said),
    }
}

enum Credentials {
    None,
    Bearer(String),
    Basic(String, String),
}

async fn credentials(am: &AlertmanagerConfig) -> Result<Credentials, String> {
    if let Some(file) = &am.bearer_file {
        return Ok(Credentials::Bearer(secret(file).await?));
    }
    match (&am.basic_user, &am.basic_password_file) {
        (Some(user), Some(file)) => Ok(Credentials::Basic(user.clone(), secret(file).await?)),
        _ => Ok(Credentials::None),
    }
}

pub(crate) async fn secret(file: &str) -> Result<String, String> {
    let text = tokio::fs::read_to_string(file).await.map_err(|e| format!("{file}: {e}"))?;
    Ok(text.trim_end().to_string())
}

/// reqwest says "error sending request"; the cause stands in its sources.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text.chars().take(DETAIL_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_answer_only_the_beginning_is_kept_and_no_control_character() {
        assert_eq!(plain(b"bad\0\ngateway \xff"), "bad  gateway \u{fffd}");
        assert_eq!(plain("é".repeat(5_000).as_bytes()).chars().count(), DETAIL_MAX);
    }

    #[test]
    fn only_an_answer_about_an_alert_can_drop_an_alert() {
        let kind = |status| match answer(status, String::new()) {
            Answer::Taken => "taken",
            Answer::Refused(_) => "refused",
            Answer::Misconfigured(_) => "misconfigured",
            Answer::Busy(_) => "busy",
        };
        for (status, said) in [
            (200, "taken"),
            (202, "taken"),
            (400, "refused"),
            (413, "refused"),
            (422, "refused"),
            (401, "misconfigured"),
            (403, "misconfigured"),
            (404, "misconfigured"),
            (429, "busy"),
            (302, "busy"),
            (500, "busy"),
            (503, "busy"),
        ] {
            assert_eq!(kind(status), said, "{status}");
        }
    }
}
