//! Maintenances: begin, end, and who works where.
//!
//! Invariant: what was changed here is in force in this process before it is answered; other
//! processes read the row within seconds. The store authorises and records.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use model::At;
use model::caller::Caller;
use model::inventory::Inventory;
use model::maintenance::{Maintenance, MaintenanceItem};
use model::policy::{PolicyScope, Span};
use model::right::{Place, Right};
use portal::Page;
use serde::Deserialize;
use store::NewMaintenance;

use super::ask::{Answer, Ask, Fail, invalid};
use super::sight::Sight;
use super::{Api, list};
use crate::app::App;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    scope: String,
    reason: String,
    #[serde(default)]
    starts_at: Option<At>,
    #[serde(default)]
    ends_at: Option<At>,
    #[serde(default)]
    duration: Option<Span>,
}

/// When a span given by its end or its length ends.
pub(super) fn end(starts_at: At, ends_at: Option<At>, duration: Option<Span>) -> Result<At, Fail> {
    match (ends_at, duration) {
        (Some(end), None) => Ok(end),
        (None, Some(span)) => Ok(starts_at + span.ms.min(model::silence::LENGTH_MAX_MS + 1)),
        _ => Err(invalid("/ends_at", "give either ends_at or duration")),
    }
}

/// `GET /maintenance`.
pub async fn list(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let app = &api.app;
    let sight = Sight::new(app, &ask);
    let withheld = app.alerter.withheld();
    let (q, scope) = (ask.query("q"), ask.query("in"));
    let mut found = Vec::new();
    for maintenance in app.store.maintenance_list(&ask.caller).await? {
        let inside = instances(&sight.inventory, &maintenance, |service| {
            scope.is_empty() || sight.inside(scope, service)
        });
        let text = String::from(maintenance.scope.clone());
        let texts = [text.as_str(), &maintenance.reason, &maintenance.by, &maintenance.id];
        if list::matches(q, &texts) && (scope.is_empty() || inside > 0) {
            found.push(item(&sight, maintenance, inside, &withheld));
        }
    }
    let rank = |i: &MaintenanceItem| match i.state.as_str() {
        "running" => 0,
        "planned" => 1,
        _ => 2,
    };
    found.sort_by_key(rank);
    let page = list::page(&ask, found, |i| i.maintenance.id.clone(), ask.now);
    Ok(Answer::ok(page).page(Page::Maintenance))
}

fn item(
    sight: &Sight<'_>,
    maintenance: Maintenance,
    instances: u32,
    withheld: &BTreeMap<String, u32>,
) -> MaintenanceItem {
    let now = sight.now;
    let state = match () {
        () if maintenance.runs(now) => "running",
        () if maintenance.starts_at > now => "planned",
        () => "over",
    };
    let why = format!("maintenance {}", maintenance.id);
    let place = place(&sight.inventory, &maintenance.scope);
    let may = |place: &Place| sight.caller.may(Right::MaintenanceEdit, place);
    MaintenanceItem {
        state: state.into(),
        instances,
        // Alerts of a wider place than is in sight are not counted out loud.
        withheld: match place.as_ref().is_some_and(|p| sight.caller.may(Right::FleetRead, p)) {
            true => withheld.get(&why).copied().unwrap_or_default(),
            false => 0,
        },
        endable: state != "over" && place.as_ref().is_some_and(may),
        maintenance,
    }
}

fn place(inventory: &Inventory, scope: &PolicyScope) -> Option<Place> {
    let service = match scope {
        PolicyScope::Platform => return Some(Place::platform()),
        PolicyScope::Tenant(id) => return Some(Place::tenant(id)),
        PolicyScope::System(id) => return Some(Place::system(id)),
        PolicyScope::Service(id) => id.clone(),
        PolicyScope::Instance(id) => id.service(),
    };
    inventory.services.get(&service).map(|s| Place::service(&service, &s.system))
}

/// Instances in sight that a maintenance covers.
fn instances(
    inventory: &Inventory,
    maintenance: &Maintenance,
    wanted: impl Fn(&model::service::Service) -> bool,
) -> u32 {
    let covered = |id: &&model::InstanceId| {
        let Some(service) = inventory.services.get(&id.service()) else { return false };
        let place = Place::service(&service.id, &service.system);
        wanted(service) && maintenance.covers(&place, Some(id))
    };
    inventory.instances.keys().filter(covered).count() as u32
}

/// `POST /maintenance`.
pub async fn create(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let body: Body = ask.json()?;
    let scope = PolicyScope::try_from(body.scope).map_err(|e| invalid("/scope", e))?;
    let starts_at = body.starts_at.unwrap_or(ask.now).max(ask.now);
    let ends_at = end(starts_at, body.ends_at, body.duration)?;
    let id = uuid::Uuid::now_v7().to_string();
    let new = NewMaintenance { id: &id, scope: &scope, starts_at, ends_at, reason: &body.reason };
    let made = api.app.store.maintenance_begin(&ask.caller, &new, ask.now).await?;
    in_force(&api.app, ask.now).await;
    Ok(Answer::with(StatusCode::CREATED, whole(&api.app, &ask.caller, made, ask.now)))
}

/// `POST /maintenance/{id}/end`.
pub async fn finish(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let ended = api.app.store.maintenance_end(&ask.caller, ask.id(), ask.now).await?;
    in_force(&api.app, ask.now).await;
    Ok(Answer::ok(whole(&api.app, &ask.caller, ended, ask.now)))
}

fn whole(app: &App, caller: &Caller, maintenance: Maintenance, now: At) -> MaintenanceItem {
    let sight = Sight::of(app, caller, now);
    let inside = instances(&sight.inventory, &maintenance, |_| true);
    item(&sight, maintenance, inside, &app.alerter.withheld())
}

/// The change is committed: when it cannot be read back now, the next round reads it.
pub(super) async fn in_force(app: &App, now: At) {
    if let Err(e) = app.alerter.reload_gate(now).await {
        tracing::warn!(error = %e, "what withholds alerts is read at the next round");
    }
}
