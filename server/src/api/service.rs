//! Services: the list, worst first, and the page of one.
//!
//! Invariant: an action is offered only where the caller may do it and the service is managed; the
//! plan decides whether it can be done.

use std::cmp::Ordering;
use std::sync::Arc;

use model::alert::Alert;
use model::operation::{Operation, OperationKind};
use model::reading::Role;
use model::right::{Place, Right};
use model::score::{Explained, Level};
use model::service::{Mode, Service};
use model::view::{PageAction, ServiceItem, ServicePage, ShardLine};
use portal::Page;
use store::{AlertFilter, OperationFilter};

use super::ask::{Answer, Ask, Fail};
use super::brief::{self, Member};
use super::overview::{running_of, worst_first};
use super::sight::Sight;
use super::{Api, alert, capacity, list, operation, slo, zone_risk};

/// Operations shown on the page of a service.
const OPERATIONS: i64 = 10;
/// Alerts looked at for a list's counts.
const FIRING_MAX: usize = 10_000;
/// Running operations looked at for a list.
const RUNNING_MAX: i64 = 1_000;

/// `GET /services`.
pub async fn list(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let kept = kept(&api, &ask).await?;
    let firing = kept.as_ref().map(|(firing, _)| firing.as_slice());
    let running = kept.as_ref().map_or(&[][..], |(_, running)| running);
    let sight = Sight::new(&api.app, &ask);
    let (q, scope) = (ask.query("q"), ask.query("in"));
    let mut items: Vec<ServiceItem> = sight
        .inventory
        .services
        .values()
        .filter(|s| sight.inside(scope, s))
        .filter(|s| {
            list::matches(q, &[s.id.as_str(), &s.display, s.system.as_str(), s.mode.as_str()])
        })
        .map(|s| item(&sight, s, &sight.members(&s.id), firing, running))
        .collect();
    sort(&mut items, ask.query("sort"));
    let page = list::page(&ask, items, |s| s.id.to_string(), ask.now);
    Ok(Answer::ok(page).page(Page::Services))
}

/// What the store knows of them; none while it is away: the counts are unknown then, not the list.
async fn kept(api: &Api, ask: &Ask) -> Result<Option<(Vec<Alert>, Vec<Operation>)>, Fail> {
    let store = &api.app.store;
    let firing = AlertFilter { phases: alert::FIRING.to_vec(), ..AlertFilter::default() };
    let unfinished = OperationFilter { unfinished: true, ..OperationFilter::default() };
    let read = async {
        let firing = store.alert_list(&ask.caller, &firing, FIRING_MAX, None).await?;
        let running = store.operation_list(&ask.caller, &unfinished, RUNNING_MAX, None).await?;
        Ok(Some((firing, running)))
    };
    match read.await {
        Err(store::Error::NotWritable(_)) => Ok(None),
        other => other.map_err(Fail::from),
    }
}

fn item(
    sight: &Sight<'_>,
    s: &Service,
    members: &[Member<'_>],
    firing: Option<&[Alert]>,
    running: &[Operation],
) -> ServiceItem {
    let explained = sight.rolled(Level::Service, s.id.as_str());
    brief::service(s, members, explained.as_deref(), firing, running_of(running, &s.id))
}

fn sort(items: &mut [ServiceItem], by: &str) {
    let (down, column) = (by.starts_with('-'), by.trim_start_matches('-'));
    match column {
        "name" => {
            let order = |o: Ordering| if down { o.reverse() } else { o };
            items.sort_by(|a, b| order(a.id.cmp(&b.id)));
        }
        "score" => list::by_number(items, down, |s| s.health.score),
        "mem" => list::by_number(items, down, |s| s.memory_ratio),
        "ops" => list::by_number(items, down, |s| s.ops_per_s),
        "clients" => list::by_number(items, down, |s| s.clients_ratio),
        "slow" => list::by_number(items, down, |s| s.slow_per_min),
        "alerts" => list::by_number(items, down, |s| s.alerts.map(f64::from)),
        _ => worst_first(items),
    }
}

/// `GET /services/{id}`.
pub async fn get(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let id = Sight::new(&api.app, &ask).service(ask.id())?.id.clone();
    let filter = AlertFilter {
        phases: alert::FIRING.to_vec(),
        service: Some(id.clone()),
        ..AlertFilter::default()
    };
    let mine = OperationFilter { service: Some(id.clone()), ..OperationFilter::default() };
    let store = &api.app.store;
    let read = async {
        let alerts = store.alert_list(&ask.caller, &filter, 100, None).await?;
        let operations = store.operation_list(&ask.caller, &mine, OPERATIONS, None).await?;
        store::Result::Ok((alerts, operations))
    };
    let kept = match read.await {
        Err(store::Error::NotWritable(_)) => None,
        other => Some(other?),
    };
    let is_known = kept.is_some();
    let (alerts, operations) = kept.unwrap_or_default();
    let items = operation::items(&api.app, &ask.caller, &operations, ask.now).await;
    let sight = Sight::new(&api.app, &ask);
    let service = sight.service(id.as_str())?;
    let members = sight.members(&id);
    let running: Vec<Operation> =
        operations.iter().filter(|o| !o.state.is_final()).cloned().collect();
    let system = sight.inventory.systems.get(&service.system);
    let explained = sight.rolled(Level::Service, id.as_str());
    let sentinels = members.iter().filter(|m| !m.is_node());
    let page = ServicePage {
        as_of: ask.now,
        service: item(&sight, service, &members, is_known.then_some(&alerts[..]), &running),
        owner: system.map(|s| s.owner.clone()).unwrap_or_default(),
        env: sight.inventory.env(service).as_str().into(),
        endpoints: endpoints(service, &members),
        health: explained.map(|e| Explained::clone(&e)),
        shards: shards(&sight, service, &members),
        sentinels: sentinels.map(|m| brief::instance(m, &members, ask.now)).collect(),
        alerts,
        operations: items,
        actions: actions(&sight, service, &members),
        capacity: capacity::value(&api.app, &id, &operations, ask.now),
        slo: slo::value(&api.app, service, ask.now),
        zone_risk: Some(zone_risk::of(&api, &sight, &service.id)),
    };
    Ok(Answer::ok(page).page(Page::Service))
}

/// What a client has to be told to find the service.
fn endpoints(service: &Service, members: &[Member<'_>]) -> Vec<String> {
    let address = |m: &Member<'_>| m.instance.id.address().to_string();
    let nodes = members.iter().filter(|m| m.is_node());
    match service.mode {
        Mode::Standalone => {
            let masters = nodes.filter(|m| m.role() != Some(Role::Replica));
            masters.map(address).collect()
        }
        Mode::Cluster => nodes.map(address).collect(),
        Mode::Sentinel | Mode::Sentinels => {
            let sentinels = members.iter().filter(|m| !m.is_node());
            let name = &service.sentinel_master;
            sentinels.map(|m| format!("{} master {name}", address(m))).collect()
        }
    }
}

fn shards(sight: &Sight<'_>, service: &Service, members: &[Member<'_>]) -> Vec<ShardLine> {
    let mut numbers: Vec<u32> =
        members.iter().filter(|m| m.is_node()).map(|m| m.instance.shard).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let line = |n: u32| {
        let mut nodes: Vec<&Member<'_>> =
            members.iter().filter(|m| m.is_node() && m.instance.shard == n).collect();
        nodes.sort_by_key(|m| (m.role() != Some(Role::Master), m.instance.id.clone()));
        let explained = sight.rolled(Level::Shard, &format!("{}/{n}", service.id));
        ShardLine {
            shard: n,
            slots: (service.mode == Mode::Cluster).then(|| slots(&nodes)).flatten(),
            health: brief::score(explained.as_deref()),
            violations: violations(&nodes),
            instances: nodes.iter().map(|m| brief::instance(m, members, sight.now)).collect(),
        }
    };
    numbers.into_iter().map(line).collect()
}

/// Slots the shard's master says it serves; none when it does not answer.
fn slots(nodes: &[&Member<'_>]) -> Option<u32> {
    let master = nodes.iter().find(|m| m.role() == Some(Role::Master))?;
    let view = master.facts()?.cluster.as_ref()?;
    let me = view.nodes.iter().find(|n| n.id == view.my_id)?;
    Some(me.slots.iter().map(|(a, b)| u32::from(b - a) + 1).sum())
}

/// Nodes of a shard that would be lost together.
fn violations(nodes: &[&Member<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    let masters: Vec<_> = nodes.iter().filter(|m| m.role() == Some(Role::Master)).collect();
    if masters.len() > 1 {
        found.push(format!("{} masters in one shard", masters.len()));
    }
    for (n, a) in nodes.iter().enumerate() {
        for b in &nodes[n + 1..] {
            let host = |m: &Member<'_>| m.instance.id.host_port().0.to_string();
            if host(a) == host(b) {
                found.push(format!(
                    "{} and {} on one host",
                    a.instance.id.address(),
                    b.instance.id.address()
                ));
            }
        }
    }
    if nodes.len() > 1 && nodes.iter().all(|m| m.instance.zone == nodes[0].instance.zone) {
        found.push(format!("all {} nodes in zone {}", nodes.len(), nodes[0].instance.zone));
    }
    found
}

/// A switchover to each replica that follows its master. Not where nobody tells the clients of the
/// new master: there its asker has to say how they learn of it.
fn actions(sight: &Sight<'_>, service: &Service, members: &[Member<'_>]) -> Vec<PageAction> {
    let place = Place::service(&service.id, &service.system);
    let told = matches!(service.mode, Mode::Sentinel | Mode::Cluster);
    if !service.managed || !told || !sight.caller.may(Right::OpDisrupt, &place) {
        return Vec::new();
    }
    let kind = OperationKind::Switchover.as_str();
    members
        .iter()
        .filter(|m| m.is_node() && m.role() == Some(Role::Replica))
        .filter(|m| m.facts().is_some_and(|f| f.link_state.as_deref() == Some("connected")))
        .map(|m| PageAction {
            kind: kind.into(),
            target: m.instance.id.to_string(),
            label: format!("Switch over to {}", m.instance.id.address()),
            cli: format!("cachewarden op run {kind} {} --target {}", service.id, m.instance.id),
        })
        .collect()
}
