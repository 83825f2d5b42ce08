//! Incidents: what was decided about alerts, also when it was to do nothing.
//!
//! Invariant: the store cuts to the caller's scope; an approval names the plan that was seen.

use std::sync::Arc;

use axum::http::StatusCode;
use model::incident::{Decision, Incident, IncidentState};
use model::view::IncidentPage;
use portal::Page;
use serde::Deserialize;
use store::IncidentFilter;

use super::ask::{Answer, Ask, Fail, invalid};
use super::sight::Sight;
use super::{Api, list, operation};

/// Newest incidents a list is made from.
const LOOKED_AT: i64 = 5_000;

/// `GET /incidents`.
pub async fn list(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let state = match ask.query("state") {
        "" => None,
        word => Some(IncidentState::parse(word).ok_or_else(|| {
            invalid(
                "/state",
                format!("{word:?}: expected open, acting, waiting, escalated or closed"),
            )
        })?),
    };
    let filter = IncidentFilter { state, ..IncidentFilter::default() };
    let found = api.app.store.incident_list(&ask.caller, &filter, LOOKED_AT, None).await?;
    let sight = Sight::new(&api.app, &ask);
    let (q, scope) = (ask.query("q"), ask.query("in"));
    let wanted = |i: &Incident| {
        let service = i.service.as_ref().and_then(|s| sight.inventory.services.get(s));
        let inside = scope.is_empty()
            || service.is_some_and(|s| sight.inside(scope, s))
            || i.tenant.as_ref().is_some_and(|t| t.as_str() == scope);
        inside && list::matches(q, &texts(i))
    };
    let items: Vec<Incident> = found.into_iter().filter(wanted).collect();
    Ok(Answer::ok(list::page(&ask, items, |i| i.id.clone(), ask.now)).page(Page::Incidents))
}

fn texts(i: &Incident) -> Vec<&str> {
    let ids = [i.instance.as_ref().map(|i| i.as_str()), i.service.as_ref().map(|s| s.as_str())];
    let own = [i.runbook.as_str(), i.alertname.as_str(), i.state.as_str(), i.reason.as_str()];
    ids.into_iter().flatten().chain(own).collect()
}

/// `GET /incidents/{id}`.
pub async fn get(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let (store, caller) = (&api.app.store, &ask.caller);
    let incident = store.incident_get(caller, ask.id()).await?;
    let alert = match store.alert_get(caller, &incident.alert_id).await {
        Err(store::Error::NotFound(_)) => None,
        other => Some(other?),
    };
    let operation = match &incident.operation {
        None => None,
        Some(id) => match store.operation_get(caller, id).await {
            Err(store::Error::NotFound(_)) => None,
            other => Some(other?),
        },
    };
    let items = operation::items(&api.app, caller, operation.as_slice(), ask.now).await;
    let decisions = store.decisions(caller, &incident.id).await?;
    let page = IncidentPage {
        waits_with: waits_with(&incident, &decisions),
        decisions,
        evidence: store.evidence_of(caller, &incident.id).await?,
        incident,
        alert,
        operation: items.into_iter().next(),
    };
    Ok(Answer::ok(page).page(Page::Incident))
}

/// The plan of the newest decision, while the incident waits for somebody to agree to it.
fn waits_with(incident: &Incident, decisions: &[Decision]) -> Option<String> {
    let plan = decisions.first()?.plan.as_ref()?;
    (incident.state == IncidentState::Waiting).then(|| plan.hash())
}

/// `POST /incidents/{id}/approve`.
pub async fn approve(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Approval {
        plan: String,
        reason: String,
    }
    let body: Approval = ask.json()?;
    let remedy = ops::Remedy::new((*api.app.engine).clone());
    let approved = remedy.approve(&ask.caller, ask.id(), &body.plan, &body.reason, ask.now).await;
    let incident = approved.map_err(operation::refused)?;
    Ok(Answer::with(StatusCode::ACCEPTED, incident))
}
