//! The daily comparison of wished, running and stored parameters of every service.
//!
//! Invariant: figures are of one look at all nodes of a service; a service that was not looked at, and a
//! node that did not tell, has none. Refuses to change anything.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use exporter::encode::DriftPoint;
use futures_util::StreamExt;
use futures_util::stream;
use model::caller::Caller;
use model::parameter::{ParameterRow, ParameterState, ParameterValue};
use model::service::Service;
use model::{At, ServiceId};
use ops::params::{drift, look};

use crate::app::App;

/// Files and settings change by hand, so once a day is told soon enough.
const EVERY_MS: i64 = 24 * 3_600_000;
/// Services looked at in one round of a minute: 10 000 take a seventh of a day.
const SERVICES_MAX: usize = 50;
/// At once: each answer is some KiB.
const AT_ONCE: usize = 5;
/// One poll deadline and a margin.
const LOOK: Duration = Duration::from_secs(4);

/// What was seen of a service.
struct Looked {
    at: At,
    points: Vec<DriftPoint>,
}

/// The latest figures.
#[derive(Default)]
pub(crate) struct Drift(Mutex<BTreeMap<ServiceId, Looked>>);

impl Drift {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ServiceId, Looked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of all services looked at.
    pub(crate) fn all(&self) -> Vec<DriftPoint> {
        self.lock().values().flat_map(|looked| looked.points.clone()).collect()
    }

    /// Services that are due, longest ago first.
    fn due(&self, services: impl Iterator<Item = ServiceId>, now: At) -> Vec<ServiceId> {
        let all = self.lock();
        let since = |id: &ServiceId| all.get(id).map_or(At::EPOCH, |l| l.at);
        let mut due: Vec<(At, ServiceId)> = services
            .map(|id| (since(&id), id))
            .filter(|(at, _)| now.since_ms(*at) >= EVERY_MS)
            .collect();
        due.sort();
        due.truncate(SERVICES_MAX);
        due.into_iter().map(|(_, id)| id).collect()
    }
}

/// Looks at the services that are due.
pub(crate) async fn round(app: &App, now: At) -> anyhow::Result<()> {
    let inventory = app.inventory();
    app.drift.lock().retain(|id, _| inventory.services.contains_key(id));
    let due = app.drift.due(inventory.services.keys().cloned(), now);
    let services: Vec<Service> =
        due.iter().filter_map(|id| inventory.services.get(id).cloned()).collect();
    let looks = services.into_iter().map(|service| one(app, service, now));
    let seen: Vec<_> = stream::iter(looks).buffer_unordered(AT_ONCE).collect().await;
    for (id, looked) in seen {
        app.drift.lock().insert(id, looked?);
    }
    Ok(())
}

async fn one(app: &App, service: Service, now: At) -> (ServiceId, anyhow::Result<Looked>) {
    let caller = Caller::system("drift", format!("drift-{}", now.ms()));
    let desired = match app.store.parameters(&caller, &service.id).await {
        Ok(desired) => desired,
        Err(e) => return (service.id, Err(e.into())),
    };
    let seen = look::service(app.engine.world(), &service, Instant::now() + LOOK).await;
    let page = drift::page(&service.id, &seen, &desired, now);
    let points = page.items.iter().flat_map(points).collect();
    (service.id, Ok(Looked { at: now, points }))
}

/// A wished parameter is told also where it does not drift: its series says that somebody looks.
fn points(row: &ParameterRow) -> Vec<DriftPoint> {
    let told = row.nodes.iter().filter(|node| node.state != ParameterState::Unknown);
    let of = |node: &ParameterValue| DriftPoint {
        instance: node.instance.clone(),
        parameter: row.name.clone(),
        drifts: node.state != ParameterState::Same,
    };
    told.map(of).filter(|point| point.drifts || row.desired.is_some()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_due_once_a_day_and_the_longest_ago_first() {
        let drift = Drift::default();
        let id = |s: &str| s.parse::<ServiceId>().expect("an id");
        let now = At::from_ms(10 * EVERY_MS);
        let looked = |ms: i64| Looked { at: now - ms, points: Vec::new() };
        drift.lock().insert(id("a.one"), looked(EVERY_MS - 1));
        drift.lock().insert(id("a.two"), looked(EVERY_MS));
        let all = ["a.one", "a.two", "a.three"].map(id);
        assert_eq!(drift.due(all.into_iter(), now), [id("a.three"), id("a.two")]);
    }

    #[test]
    fn a_node_that_drifts_is_told_and_one_that_does_not_only_of_what_is_wished() {
        let node = |port: u16, state| ParameterValue {
            instance: format!("a.one@10.0.0.1:{port}").parse().expect("an id"),
            running: None,
            file: None,
            state,
        };
        let mut row = ParameterRow {
            name: "hz".into(),
            unit: String::new(),
            risk: "low".into(),
            mutable: true,
            default: "10".into(),
            desired: None,
            drift: true,
            nodes: vec![
                node(1, ParameterState::Same),
                node(2, ParameterState::Unlike),
                node(3, ParameterState::Unknown),
            ],
        };
        let told = |row: &ParameterRow| -> Vec<(String, bool)> {
            let all = points(row).into_iter();
            all.map(|p| (p.instance.address().to_string(), p.drifts)).collect()
        };
        assert_eq!(told(&row), [("10.0.0.1:2".to_string(), true)]);
        row.desired = Some(model::parameter::DesiredParameter {
            name: "hz".into(),
            value: "10".into(),
            volatile: Vec::new(),
            operation: String::new(),
            at: At::EPOCH,
        });
        let wished = [("10.0.0.1:1".to_string(), false), ("10.0.0.1:2".to_string(), true)];
        assert_eq!(told(&row), wished);
    }
}
