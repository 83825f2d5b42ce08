//! Alerts: the list, firing first, and one with its story.
//!
//! Invariant: the store cuts to the caller's scope; nothing is added here that it did not answer.

use std::sync::Arc;

use model::alert::{Alert, Phase};
use model::policy::AlertLevel;
use model::view::AlertPage;
use portal::Page;
use store::{AlertFilter, IncidentFilter};

use super::ask::{Answer, Ask, Fail, invalid};
use super::{Api, list};

/// Phases that are on the wire as firing.
pub const FIRING: [Phase; 2] = [Phase::Firing, Phase::Recovering];
/// Firing alerts a list begins with: beyond it the fleet has another problem than their order.
const FIRING_MAX: usize = 10_000;
/// Newest ended alerts a list is made from: a month of a large fleet; older ones are found by their
/// id.
const ENDED_MAX: usize = 5_000;

/// `GET /alerts`.
pub async fn list(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let phases = match ask.query("phase") {
        "" => vec![Phase::Firing, Phase::Recovering, Phase::Resolved],
        "firing" => FIRING.to_vec(),
        word => vec![Phase::parse(word).ok_or_else(|| {
            invalid("/phase", format!("{word:?}: expected firing, recovering or resolved"))
        })?],
    };
    let within = ask.query("in").to_string();
    let filter = AlertFilter { phases, within, ..AlertFilter::default() };
    let mut found = read(&api, &ask, &filter).await?;
    let q = ask.query("q");
    found.retain(|a| list::matches(q, &texts(a)));
    firing_first(&mut found);
    let mut page = list::page(&ask, found, |a| a.id.clone(), ask.now);
    if q.is_empty() {
        page.count = api.app.store.alert_count(&ask.caller, &filter).await? as usize;
    }
    Ok(Answer::ok(page).page(Page::Alerts))
}

/// What fires, however long since, and the newest of what ended.
async fn read(api: &Api, ask: &Ask, filter: &AlertFilter) -> Result<Vec<Alert>, Fail> {
    let mut found = Vec::new();
    let wanted = |p: &Phase| filter.phases.contains(p);
    let firing: Vec<Phase> = FIRING.into_iter().filter(wanted).collect();
    for (phases, most) in [(firing, FIRING_MAX), (vec![Phase::Resolved], ENDED_MAX)] {
        if phases.iter().any(wanted) {
            let part = AlertFilter { phases, ..filter.clone() };
            found.extend(api.app.store.alert_list(&ask.caller, &part, most, None).await?);
        }
    }
    Ok(found)
}

/// Firing before ended, critical before others, newest first.
fn firing_first(found: &mut [Alert]) {
    let rank = |a: &Alert| match FIRING.contains(&a.phase) {
        true => (true, a.level, a.starts_at),
        false => (false, AlertLevel::Info, a.starts_at),
    };
    found.sort_by_key(|a| std::cmp::Reverse(rank(a)));
}

fn texts(a: &Alert) -> Vec<&str> {
    let ids = [a.instance.as_ref().map(|i| i.as_str()), a.service.as_ref().map(|s| s.as_str())];
    let own = [a.alertname.as_str(), a.level.as_str(), a.phase.as_str(), a.policy.as_str()];
    let labels = a.labels.values().map(String::as_str);
    ids.into_iter().flatten().chain(own).chain(labels).collect()
}

/// `GET /alerts/{id}`.
pub async fn get(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let (store, caller, id) = (&api.app.store, &ask.caller, ask.id());
    let of_alert = IncidentFilter { alert: Some(id.into()), ..IncidentFilter::default() };
    let (ack, hold) = store.alert_marks(caller, id).await?;
    let page = AlertPage {
        alert: store.alert_get(caller, id).await?,
        transitions: store.transitions(caller, id).await?,
        deliveries: store.deliveries(caller, id).await?,
        incidents: store.incident_list(caller, &of_alert, 100, None).await?,
        ack,
        hold,
    };
    Ok(Answer::ok(page).page(Page::Alert))
}
