//! Gathers what the guards look at: Board, inventory, alerts, operations, and a fresh topology.
//!
//! Invariant: nothing here changes anything; what cannot be read is said to be unknown, and the
//! guards take unknown as no.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use model::alert::{Alert, Phase};
use model::incident::Incident;
use model::inventory::Inventory;
use model::maintenance::Maintenance;
use model::matcher::Matchers;
use model::operation::OperationState;
use model::reading::Role;
use model::right::Place;
use model::row::Row;
use model::runbook::ModeSetting;
use model::service::InstanceKind;
use model::silence::Silence;
use model::verdict::Verdict;
use model::{At, InstanceId, ServiceId, ZoneId};
use store::{AlertFact, KillSwitch, RemedyAction, runbook_mode_effective};

use super::book::Entry;
use super::guards::{
    Active, Context, FLEET_WINDOW_MS, Fresh, NODE_WINDOW_MS, RUNBOOK_WINDOW_MS, STORM_WINDOW_MS,
    Witness,
};
use super::witness;
use crate::topology::{self, Snapshot};
use crate::{Config, Engine, World};

/// Time to ask the nodes of a service.
const LOOK: Duration = Duration::from_secs(4);
/// Expected length of a failover whose detection time is not known: 15 s node-timeout needs 21 s.
const FAILOVER_MS: i64 = 25_000;
/// How far back failures in a row are counted.
pub(super) const FAILURES_WINDOW_MS: i64 = 7 * 86_400_000;

/// What one round reads once for all incidents.
pub(super) struct Seen {
    pub(super) now: At,
    pub(super) alerts: Vec<Alert>,
    pub(super) actions: Vec<RemedyAction>,
    /// Alerts that have an incident.
    pub(super) known: HashSet<String>,
    modes: Vec<(String, ModeSetting, i64)>,
    switches: Vec<KillSwitch>,
    kill_file: Option<String>,
    facts: Vec<AlertFact>,
    firing: Vec<(String, String)>,
    incidents: Vec<(String, i64)>,
    locks: Vec<(String, String)>,
    maintenances: Vec<Maintenance>,
    silences: Vec<Silence>,
}

impl Seen {
    pub(super) async fn read(engine: &Engine, now: At) -> store::Result<Seen> {
        let store = engine.store();
        Ok(Seen {
            now,
            alerts: store.alerts_with_runbooks().await?,
            actions: store.remedy_actions(now - FAILURES_WINDOW_MS).await?,
            known: store.alerts_with_incidents().await?.into_iter().collect(),
            modes: store.runbook_modes().await?,
            switches: store.kill_switches().await?,
            kill_file: kill_file(engine.config()),
            facts: store.alert_facts(now).await?,
            firing: store.alerts_firing_on().await?,
            incidents: store.incidents_since(now - STORM_WINDOW_MS).await?,
            locks: store.operation_locks().await?,
            maintenances: store.maintenances_open(now).await?,
            silences: store.silences(now).await?,
        })
    }

    /// Why nothing may act by itself there, when it is so.
    pub(super) fn killed(
        &self,
        runbook: &str,
        service: Option<&ServiceId>,
        zone: Option<&ZoneId>,
    ) -> Option<String> {
        if let Some(path) = &self.kill_file {
            return Some(format!("the file {path} exists"));
        }
        let mut scopes = vec!["platform".to_string(), format!("runbook:{runbook}")];
        scopes.extend(service.map(|s| format!("tenant:{}", s.tenant())));
        scopes.extend(zone.map(|z| format!("zone:{z}")));
        let on = self.switches.iter().find(|s| s.active && scopes.contains(&s.scope))?;
        Some(format!("switched off for {} by {}: {}", on.scope, on.by, on.reason))
    }

    pub(super) fn mode(&self, runbook: &str, place: &Place) -> model::runbook::RunbookMode {
        let ours = self.modes.iter().filter(|(r, _, _)| r == runbook);
        runbook_mode_effective(ours.map(|(_, s, _)| s), place)
    }

    /// Maintenances that go on at the node, and silences of the alert.
    pub(super) fn frozen(
        &self,
        incident: &Incident,
        node: &InstanceId,
        place: &Place,
    ) -> Vec<String> {
        let here = |m: &&Maintenance| m.runs(self.now) && m.covers(place, Some(node));
        let told = |m: &Maintenance| {
            let scope = String::from(m.scope.clone());
            format!("maintenance {} of {scope} until {}: {}", m.id, m.ends_at, m.reason)
        };
        let mut all: Vec<String> = self.maintenances.iter().filter(here).map(told).collect();
        let Some(alert) = self.alerts.iter().find(|a| a.id == incident.alert_id) else {
            return all;
        };
        let mutes = |s: &&Silence| {
            // What cannot be read may mean this alert.
            let matchers = Matchers::compile(&s.matchers);
            s.state(self.now) == "active" && matchers.map_or(true, |m| m.matches(&alert.labels))
        };
        all.extend(self.silences.iter().filter(mutes).map(|s| {
            format!("silence {} by {} until {}: {}", s.id, s.created_by, s.ends_at, s.comment)
        }));
        all
    }

    /// Mass events of this alert name and truncated messages, in this tenant or over the fleet; both
    /// mean that we see a part only.
    fn facts_about(&self, alertname: &str, tenant: &str) -> Vec<String> {
        let here = |f: &&AlertFact| f.tenant.is_empty() || f.tenant == tenant;
        let about = |f: &&AlertFact| f.kind != "mass_event" || f.subject == alertname;
        self.facts.iter().filter(here).filter(about).map(|f| f.detail.clone()).collect()
    }

    /// Incidents of the storm window that count for this tenant: its own, or the fleet's.
    fn incidents_about(&self, tenant: &str) -> i64 {
        let own = self.incidents.iter().find(|(t, _)| t == tenant).map_or(0, |(_, n)| *n);
        own.max(store::spread(self.incidents.iter().map(|(_, n)| *n)))
    }

    /// Failures in a row of the runbook, newest first, ended by a success or by a person who set
    /// its mode since.
    fn failures(&self, runbook: &str) -> usize {
        let ours = self.modes.iter().filter(|(r, _, _)| r == runbook);
        let set_at = ours.map(|(_, s, _)| s.at).max().unwrap_or(At::EPOCH);
        self.actions
            .iter()
            .filter(|a| a.runbook == runbook && a.state.is_final() && a.created_at > set_at)
            .filter(|a| a.state != OperationState::Cancelled && a.state != OperationState::Refused)
            .take_while(|a| a.state != OperationState::Done)
            .count()
    }

    fn sent_since(&self, window_ms: i64) -> impl Iterator<Item = &RemedyAction> {
        let since = self.now - window_ms;
        self.actions.iter().filter(move |a| a.created_at > since && sent(a))
    }
}

/// Whether it (perhaps) did something; one that was refused or cancelled in time did not.
fn sent(action: &RemedyAction) -> bool {
    !matches!(action.state, OperationState::Refused | OperationState::Cancelled)
}

fn kill_file(config: &Config) -> Option<String> {
    let path = config.kill_file.as_ref()?;
    // A file that cannot be looked for counts as there: this switch fails safe.
    path.try_exists().unwrap_or(true).then(|| path.display().to_string())
}

/// The facts for one incident about a node; the plan is added by the caller.
pub(super) async fn context(
    engine: &Engine,
    seen: &Seen,
    incident: &Incident,
    entry: &'static Entry,
    node: &InstanceId,
) -> Context {
    let world = engine.world();
    let inventory = (world.inventory)();
    let service = node.service();
    let look = topology::look(world, &service, Instant::now() + LOOK).await;
    let known = inventory.instances.get(node);
    let zone = known.map(|i| &i.zone);
    let row = world.board.row(node);
    let place = place(&inventory, &service);
    let mut context = Context {
        now: seen.now,
        entry,
        mode: seen.mode(entry.name, &place),
        killed: seen.killed(entry.name, Some(&service), zone),
        managed: inventory.services.get(&service).is_some_and(|s| s.managed),
        frozen: seen.frozen(incident, node, &place),
        fresh: fresh(row.as_deref(), seen, incident),
        silent: silent(world),
        witnesses: Vec::new(),
        master_at: master_at(row.as_deref()),
        master_says: Err("nobody was asked".into()),
        recovered_at: recovered(seen, &service, entry),
        node_restarts: seen
            .sent_since(NODE_WINDOW_MS)
            .filter(|a| a.instance.as_ref() == Some(node))
            .count(),
        fleet_actions: seen.sent_since(FLEET_WINDOW_MS).count(),
        runbook_actions: seen
            .sent_since(RUNBOOK_WINDOW_MS)
            .filter(|a| a.runbook == entry.name)
            .count(),
        failures: seen.failures(entry.name),
        incidents: seen.incidents_about(service.tenant().as_str()),
        zone_alerting: zone_alerting(&inventory, seen, zone),
        facts: seen.facts_about(&incident.alertname, service.tenant().as_str()),
        active: active(&inventory, seen, node),
        sizes: sizes(&inventory, &service, zone),
        copies: Vec::new(),
        process_gone: None,
        quorum: Err("nobody was asked".into()),
        competing: competing(seen, &service),
        failover_ms: FAILOVER_MS,
        plan: Err("not made".into()),
    };
    match look {
        Ok(snapshot) => ask(&mut context, &snapshot, node),
        Err(refusal) => context.master_says = Err(refusal.to_string()),
    }
    let process = process(world, &inventory, node).await;
    context.process_gone = process.as_ref().map(|(gone, _)| *gone);
    context.witnesses.extend(process.map(|(gone, said)| Witness {
        who: "its provider".into(),
        // A process that runs may hang: that tells nothing.
        agrees: gone.then_some(true),
        said,
    }));
    context
}

fn ask(context: &mut Context, snapshot: &Snapshot, node: &InstanceId) {
    context.witnesses = witness::witnesses(snapshot, node);
    context.master_says = witness::named_master(snapshot, node);
    context.copies = witness::copies(snapshot, node);
    context.quorum = witness::quorum(snapshot);
    context.competing.extend(witness::failovers(snapshot));
    context.failover_ms = witness::failover_ms(snapshot).unwrap_or(FAILOVER_MS);
}

/// Whether its provider sees no process of the node, and in words; none when there is no provider
/// that made it, or it does not answer.
async fn process(
    world: &World,
    inventory: &Inventory,
    node: &InstanceId,
) -> Option<(bool, String)> {
    let (provider, at) = world.providers.of(inventory, node).ok()?;
    let state = tokio::time::timeout(LOOK, provider.observe(&at)).await.ok()?.ok()?;
    let said = match (state.pid, &state.exit) {
        (Some(pid), _) if state.running => format!("process {pid} runs"),
        (_, Some(exit)) => format!("no process; it ended with {exit}"),
        (_, None) => "no process".into(),
    };
    state.exists.then_some((!state.running, said))
}

pub(super) fn place(inventory: &Inventory, service: &ServiceId) -> Place {
    match inventory.services.get(service) {
        Some(found) => Place::service(service, &found.system),
        None => Place { service: Some(service.clone()), ..Place::tenant(&service.tenant()) },
    }
}

fn fresh(row: Option<&Row>, seen: &Seen, incident: &Incident) -> Fresh {
    let verdict = match row.map(|r| &r.verdict) {
        Some(Verdict::Up) => "up".to_string(),
        Some(Verdict::Down(why)) => format!("down ({why})"),
        Some(Verdict::Unknown(why)) => format!("unknown ({why})"),
        None => "not polled".into(),
    };
    let alert = seen.alerts.iter().find(|a| a.id == incident.alert_id);
    Fresh {
        age_ms: row.map(|r| seen.now.since_ms(r.reading.at)),
        interval_ms: row.map_or(0, |r| i64::from(r.reading.interval_ms)),
        down: row.is_some_and(|r| r.verdict.is_down()),
        up: row.is_some_and(|r| r.verdict.is_up()),
        firing: alert.is_some_and(|a| a.phase == Phase::Firing),
        verdict,
    }
}

fn silent(world: &World) -> (usize, usize) {
    let rows = world.board.rows();
    (rows.iter().filter(|r| !r.reading.up).count(), rows.len())
}

/// When the node itself last said it was a master.
pub(super) fn master_at(row: Option<&Row>) -> Option<At> {
    let last = row?.last_good.as_ref()?;
    (last.facts.role == Some(Role::Master)).then_some(last.at)
}

fn recovered(seen: &Seen, service: &ServiceId, entry: &Entry) -> Option<At> {
    let dangerous = |a: &&RemedyAction| {
        super::book::find(&a.runbook).unwrap_or(entry).tier >= super::book::Tier::T2
    };
    let ours = seen.actions.iter().filter(|a| a.service == *service && sent(a));
    ours.filter(dangerous).map(|a| a.created_at).max()
}

fn zone_alerting(inventory: &Inventory, seen: &Seen, zone: Option<&ZoneId>) -> (usize, usize) {
    let Some(zone) = zone else { return (0, 0) };
    let alerting: BTreeSet<&str> = seen.firing.iter().map(|(i, _)| i.as_str()).collect();
    let there = || inventory.instances.values().filter(|i| i.zone == *zone);
    (there().filter(|i| alerting.contains(i.id.as_str())).count(), there().count())
}

fn active(inventory: &Inventory, seen: &Seen, node: &InstanceId) -> Active {
    let mine = inventory.instances.get(node);
    let running = seen.actions.iter().filter(|a| !a.state.is_final());
    let others = running.filter_map(|a| a.instance.as_ref()).filter(|i| *i != node);
    let mut active = Active::default();
    let mut shards = BTreeSet::new();
    for other in others {
        let Some((theirs, mine)) = inventory.instances.get(other).zip(mine) else { continue };
        let same_service = other.service() == node.service();
        active.service += usize::from(same_service);
        active.shard += usize::from(same_service && theirs.shard == mine.shard);
        active.zone += usize::from(theirs.zone == mine.zone);
        active.host += usize::from(theirs.host.is_some() && theirs.host == mine.host);
        if same_service && theirs.shard != mine.shard {
            shards.insert(theirs.shard);
        }
    }
    active.shards = shards.len();
    active
}

fn sizes(inventory: &Inventory, service: &ServiceId, zone: Option<&ZoneId>) -> (usize, usize) {
    let in_zone = |z: &ZoneId| inventory.instances.values().filter(|i| i.zone == *z).count();
    (inventory.nodes(service).count(), zone.map_or(0, in_zone))
}

fn competing(seen: &Seen, service: &ServiceId) -> Vec<String> {
    let key = format!("service:{service}");
    let held = seen.locks.iter().filter(|(k, _)| *k == key);
    held.map(|(_, operation)| format!("operation {operation} holds {service}")).collect()
}

/// Whether somebody but the node names it as master, by the latest readings alone.
pub(super) fn named_on_board(world: &World, inventory: &Inventory, node: &InstanceId) -> bool {
    let service = node.service();
    inventory.of_service(&service).filter_map(|i| world.board.row(&i.id)).any(|row| {
        let Some(facts) = row.facts() else { return false };
        let watched = facts.masters.iter().any(|m| m.address == node.address());
        let owner = facts.cluster.as_ref().is_some_and(|view| {
            view.nodes.iter().any(|n| n.address == node.address() && !n.slots.is_empty())
        });
        row.instance.id != *node
            && (row.instance.kind == InstanceKind::Sentinel && watched || owner)
    })
}
