//! Rule files for a Prometheus that reads them from here, and how its shadows differ.
//!
//! Invariant: the files say thresholds of every tenant, so only who sees the whole platform reads them.

use std::sync::Arc;

use model::policy::EngineDifference;
use model::right::{Place, Right};
use serde_json::json;

use super::Api;
use super::ask::{Answer, Ask, Fail};
use super::problem;

/// `GET /rules`.
pub async fn list(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    ask.require(Right::FleetRead, &Place::platform())?;
    let rules = &api.app.rules;
    let differences: Vec<EngineDifference> = rules
        .differences()
        .iter()
        .map(|(policy, (embedded, prometheus))| EngineDifference {
            policy: policy.clone(),
            only_embedded: *embedded,
            only_prometheus: *prometheus,
        })
        .collect();
    let items = rules.items();
    Ok(Answer::ok(json!({
        "as_of": ask.now, "count": items.len(), "items": items, "next": null,
        "problems": rules.emitted().problems, "differences": differences,
    })))
}

/// `GET /rules/{name}`: the text of a file.
pub async fn get(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    ask.require(Right::FleetRead, &Place::platform())?;
    let emitted = api.app.rules.emitted();
    let Some(file) = emitted.files.iter().find(|f| f.name == ask.id()) else {
        let names = emitted.files.iter().map(|f| f.name.as_str());
        return Err(problem::not_found_near("rule file", ask.id(), names).into());
    };
    Ok(Answer::stream(text(&file.text)))
}

/// As Prometheus reads it.
fn text(text: &str) -> axum::response::Response {
    use axum::http::header::CONTENT_TYPE;
    use axum::response::IntoResponse;
    ([(CONTENT_TYPE, "application/yaml")], text.to_string()).into_response()
}
