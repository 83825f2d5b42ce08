//! The page of the fleet: expectations, verdicts, scores, alerts, operations.
//!
//! Invariant: every series carries the labels of its object, taken from the inventory and never from a
//! Redis; what is unknown is absent. Labels shared by many series are rendered once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::alert::{Alert, Phase};
use model::board::Rollup;
use model::incident::Verb;
use model::inventory::Inventory;
use model::operation::{OperationKind, OperationState};
use model::policy::AlertLevel;
use model::reading::Role;
use model::risk::RiskClass;
use model::row::Row;
use model::score::Explained;
use model::service::{Class, Instance, Mode, Service};
use model::{At, InstanceId, ServiceId, SystemId, ZoneId};

use super::writer::{Writer, render_labels};
use super::{CapacityPoint, Format, Rendered, SloPoint, items, outlook};
use crate::catalog::Family;
use crate::shard::Shard;
use crate::topology;

/// Series of a page, at most: beyond it a Prometheus server is asked to shard.
const SERIES_MAX: u32 = 1_000_000;

/// A threshold in force for an instance.
#[derive(Debug, Clone, PartialEq)]
pub struct ThresholdPoint {
    /// Policy id.
    pub policy: String,
    /// Level.
    pub level: AlertLevel,
    /// Whose; none: every instance's that has none of its own.
    pub instance: Option<InstanceId>,
    /// Threshold, in the unit of the signal.
    pub value: f64,
}

/// One parameter of one instance beside the wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftPoint {
    /// Whose.
    pub instance: InstanceId,
    /// Name.
    pub parameter: String,
    /// It runs, or would start, with another value.
    pub drifts: bool,
}

/// An instance that left the inventory, and where it was.
#[derive(Debug, Clone, PartialEq)]
pub struct RemovedInstance {
    /// Its id.
    pub id: InstanceId,
    /// Business system of its service.
    pub system: SystemId,
    /// Zone it was in.
    pub zone: ZoneId,
}

/// When a certificate of ours ends.
#[derive(Debug, Clone, PartialEq)]
pub struct CertificateEnd {
    /// The service whose servers see it; none: it is our own listener's.
    pub service: Option<ServiceId>,
    /// Unix seconds.
    pub ends_at_s: f64,
}

/// Everything the page is made of.
pub struct FleetPage<'a> {
    /// What should exist.
    pub inventory: &'a Inventory,
    /// The Board's rows.
    pub rows: &'a [Arc<Row>],
    /// The Board's roll-ups.
    pub rollup: &'a Rollup,
    /// Alerts that are not inactive.
    pub alerts: &'a [Alert],
    /// Operations: kind, state, count.
    pub operations: &'a [(OperationKind, OperationState, u64)],
    /// Refused operations since start: check, count.
    pub refusals: &'a [(String, u64)],
    /// Decisions since start: runbook, verb, guard, count.
    pub decisions: &'a [(String, Verb, String, u64)],
    /// Findings of the zone-risk check: service, class, count.
    pub zone_risks: &'a [(ServiceId, RiskClass, usize)],
    /// Thresholds in force.
    pub thresholds: &'a [ThresholdPoint],
    /// Parameters that drift, and those that are wished and do not.
    pub drift: &'a [DriftPoint],
    /// Instances that left the inventory less than a few hours ago.
    pub removed: &'a [RemovedInstance],
    /// Instances in a maintenance window now.
    pub maintenance: &'a BTreeSet<InstanceId>,
    /// Series dropped since start: instance, reason, count.
    pub series_dropped: &'a [(InstanceId, &'static str, u64)],
    /// Nodes named by servers and not dialled, since start: who named them, reason, count.
    pub refused: &'a [(InstanceId, &'static str, u64)],
    /// Ends of our own certificates.
    pub certificates: &'a [CertificateEnd],
    /// Latest accept probes: whole duration, µs; none when it failed.
    pub accepts: &'a BTreeMap<InstanceId, Option<u32>>,
    /// Days to full.
    pub capacity: &'a [CapacityPoint],
    /// Objectives.
    pub slo: &'a [SloPoint],
    /// Part of the fleet wanted; none: all of it.
    pub shard: Option<Shard>,
    /// The present time.
    pub now: At,
}

impl<'a> FleetPage<'a> {
    /// A page of the fleet as it stands, without alerts and operations (set the fields for those).
    pub fn new(
        inventory: &'a Inventory,
        rows: &'a [Arc<Row>],
        rollup: &'a Rollup,
        now: At,
    ) -> FleetPage<'a> {
        static NONE: BTreeSet<InstanceId> = BTreeSet::new();
        static NO_PROBE: BTreeMap<InstanceId, Option<u32>> = BTreeMap::new();
        FleetPage {
            inventory,
            rows,
            rollup,
            alerts: &[],
            operations: &[],
            refusals: &[],
            decisions: &[],
            zone_risks: &[],
            thresholds: &[],
            drift: &[],
            removed: &[],
            maintenance: &NONE,
            series_dropped: &[],
            refused: &[],
            certificates: &[],
            accepts: &NO_PROBE,
            capacity: &[],
            slo: &[],
            shard: None,
            now,
        }
    }

    pub(super) fn wants(&self, id: &str) -> bool {
        self.shard.is_none_or(|shard| shard.holds(id))
    }
}

/// Renders the page of the fleet.
pub fn fleet(page: &FleetPage<'_>, format: Format) -> Rendered {
    let mut w = Writer::new(format, SERIES_MAX, 1 << 20);
    let known = Known::of(page);
    expectations(&mut w, page, &known);
    services(&mut w, page, &known);
    states(&mut w, page, &known);
    accepts(&mut w, page, &known);
    health(&mut w, page, &known);
    outlook::write(&mut w, page);
    items::write(&mut w, &known.items());
    alerts(&mut w, page);
    thresholds(&mut w, page, &known);
    if page.shard.is_none_or(Shard::is_first) {
        operations(&mut w, page);
    }
    w.finish()
}

/// One instance of the page with its labels rendered.
struct Entry<'a> {
    instance: &'a Instance,
    service: &'a Service,
    row: Option<&'a Row>,
    labels: Vec<u8>,
}

struct Known<'a> {
    entries: Vec<Entry<'a>>,
    by_id: BTreeMap<&'a str, usize>,
    /// All rows, also those of other parts of the fleet: a replica's master may be in one.
    rows: BTreeMap<&'a str, &'a Row>,
}

impl<'a> Known<'a> {
    fn of(page: &FleetPage<'a>) -> Known<'a> {
        let rows: BTreeMap<&'a str, &'a Row> =
            page.rows.iter().map(|r| (r.instance.id.as_str(), r.as_ref())).collect();
        let wanted = page.inventory.instances.values().filter(|i| page.wants(i.id.as_str()));
        let entries: Vec<Entry<'a>> = wanted
            .filter_map(|instance| {
                let (service, _) = page.inventory.owner(&instance.id)?;
                let row = rows.get(instance.id.as_str()).copied();
                let labels = instance_labels(service, &instance.id, instance.zone.as_str());
                Some(Entry { instance, service, row, labels })
            })
            .collect();
        let by_id = entries.iter().enumerate().map(|(i, e)| (e.instance.id.as_str(), i)).collect();
        Known { entries, by_id, rows }
    }

    fn find(&self, id: &InstanceId) -> Option<&Entry<'a>> {
        self.by_id.get(id.as_str()).map(|i| &self.entries[*i])
    }

    fn items(&self) -> Vec<items::Of<'_>> {
        let one = |e: &'_ Entry<'a>| e.row.and_then(Row::facts).filter(|f| !f.items.is_empty());
        let all = self.entries.iter().filter_map(|e| Some((e.labels.as_slice(), &*one(e)?.items)));
        all.collect()
    }

    /// One sample for each entry that has a value.
    fn each(&self, w: &mut Writer, family: Family, value: impl Fn(&Entry<'a>) -> Option<f64>) {
        w.family(family);
        for entry in &self.entries {
            if let Some(value) = value(entry) {
                w.sample_with(&entry.labels, &[], value);
            }
        }
    }
}

fn instance_labels(service: &Service, id: &InstanceId, zone: &str) -> Vec<u8> {
    render_labels(&[
        ("tenant", service.id.tenant().as_str()),
        ("system", service.system.slug()),
        ("service", service.id.slug()),
        ("instance", id.as_str()),
        ("zone", zone),
    ])
}

pub(super) fn service_labels(service: &Service) -> Vec<u8> {
    render_labels(&[
        ("tenant", service.id.tenant().as_str()),
        ("system", service.system.slug()),
        ("service", service.id.slug()),
    ])
}

fn expectations(w: &mut Writer, page: &FleetPage<'_>, known: &Known<'_>) {
    w.family(Family::FleetInfo);
    for e in &known.entries {
        let labels = [
            ("kind", e.instance.kind.as_str()),
            ("tier", e.service.tier.as_str()),
            ("env", page.inventory.env(e.service).as_str()),
            ("class", e.service.class.as_str()),
            ("engine", engine(e.row)),
        ];
        w.sample_with(&e.labels, &labels, 1.0);
    }
    known.each(w, Family::Expected, |_| Some(1.0));
    w.family(Family::Removed);
    for gone in page.removed.iter().filter(|gone| page.wants(gone.id.as_str())) {
        let service = gone.id.service();
        let labels = [
            ("tenant", service.tenant().to_string()),
            ("system", gone.system.slug().to_string()),
            ("service", service.slug().to_string()),
            ("instance", gone.id.to_string()),
            ("zone", gone.zone.to_string()),
        ];
        let labels: Vec<(&str, &str)> = labels.iter().map(|(n, v)| (*n, v.as_str())).collect();
        w.sample(&labels, 1.0);
    }
    known
        .each(w, Family::Maintenance, |e| page.maintenance.contains(&e.instance.id).then_some(1.0));
}

/// `redis` or `valkey` as the latest good poll said; empty while unknown.
fn engine(row: Option<&Row>) -> &'static str {
    match row.and_then(|r| r.last_good.as_ref()) {
        Some(good) if !good.facts.text.valkey_version.is_empty() => "valkey",
        Some(good) if !good.facts.text.version.is_empty() => "redis",
        _ => "",
    }
}

fn services(w: &mut Writer, page: &FleetPage<'_>, known: &Known<'_>) {
    let services: Vec<(&Service, Vec<u8>)> = page
        .inventory
        .services
        .values()
        .filter(|s| page.wants(s.id.as_str()))
        .map(|s| (s, service_labels(s)))
        .collect();
    w.family(Family::ServiceExpected);
    services.iter().for_each(|(_, labels)| w.sample_with(labels, &[], 1.0));
    w.family(Family::MastersExpected);
    for (service, labels) in &services {
        if let Some(masters) = masters_expected(page.inventory, service) {
            w.sample_with(labels, &[], f64::from(masters));
        }
    }
    known.each(w, Family::ReplicasExpected, |e| {
        let is_master = e.row.and_then(Row::role) == Some(Role::Master);
        is_master.then_some(f64::from(e.service.replicas_wanted))
    });
    w.family(Family::ZoneShare);
    for (service, labels) in &services {
        if matches!(service.class, Class::Zone | Class::ZoneDurable) {
            for (zone, share) in zone_shares(page.inventory, &service.id) {
                w.sample_with(labels, &[("zone", &zone)], share);
            }
        }
    }
    w.family(Family::ConfigDrift);
    for point in page.drift {
        if let Some(entry) = known.find(&point.instance) {
            let parameter = [("parameter", point.parameter.as_str())];
            w.sample_with(&entry.labels, &parameter, f64::from(u8::from(point.drifts)));
        }
    }
}

/// One master per shard; none expected of a fleet of Sentinels.
fn masters_expected(inventory: &Inventory, service: &Service) -> Option<u32> {
    match service.mode {
        Mode::Sentinels => None,
        Mode::Standalone | Mode::Sentinel => Some(1),
        Mode::Cluster => {
            let shards: BTreeSet<u32> = inventory.nodes(&service.id).map(|i| i.shard).collect();
            Some(shards.len() as u32)
        }
    }
}

fn zone_shares(inventory: &Inventory, service: &ServiceId) -> BTreeMap<String, f64> {
    let mut shares: BTreeMap<String, f64> = BTreeMap::new();
    for node in inventory.nodes(service) {
        *shares.entry(node.zone.to_string()).or_default() += 1.0;
    }
    let all: f64 = shares.values().sum();
    shares.values_mut().for_each(|n| *n /= all);
    shares
}

fn states(w: &mut Writer, page: &FleetPage<'_>, known: &Known<'_>) {
    w.family(Family::State);
    for e in &known.entries {
        let state = e.row.map_or("unknown", |r| r.verdict.as_str());
        w.sample_with(&e.labels, &[("state", state)], 1.0);
    }
    w.family(Family::ScrapeError);
    for e in &known.entries {
        if let Some(failure) = e.row.and_then(|r| r.reading.failure.as_ref()) {
            w.sample_with(&e.labels, &[("reason", failure.reason.as_str())], 1.0);
        }
    }
    known.each(w, Family::IntervalEffective, |e| {
        e.row.map(|r| f64::from(r.reading.interval_ms) / 1e3)
    });
    known.each(w, Family::InfoConflict, |e| {
        e.row.and_then(Row::facts).is_some_and(|f| f.conflicts > 0).then_some(1.0)
    });
    certificates(w, page, known);
    known.each(w, Family::SlowlogLost, |e| {
        let good = e.row.and_then(|r| r.last_good.as_ref())?;
        good.facts.detail.slow.as_ref().map(|slow| slow.lost)
    });
    known.each(w, Family::ReplicaLag, |e| lag(e, known));
}

fn certificates(w: &mut Writer, page: &FleetPage<'_>, known: &Known<'_>) {
    w.family(Family::CertificateExpires);
    for e in &known.entries {
        let good = e.row.and_then(|r| r.last_good.as_ref());
        if let Some(end) = good.and_then(|r| r.facts.certificate_ends_at_s) {
            w.sample_with(&e.labels, &[("use", "server")], end);
        }
    }
    for own in page.certificates {
        match &own.service {
            None if page.shard.is_none_or(Shard::is_first) => {
                w.sample(&[("use", "listener")], own.ends_at_s);
            }
            Some(id) if page.wants(id.as_str()) => {
                if let Some(service) = page.inventory.services.get(id) {
                    w.sample_with(&service_labels(service), &[("use", "client")], own.ends_at_s);
                }
            }
            _ => {}
        }
    }
}

fn lag(entry: &Entry<'_>, known: &Known<'_>) -> Option<f64> {
    let replica = entry.row?;
    let upstream = replica.facts()?.upstream.as_deref()?;
    let id = InstanceId::new(&entry.service.id, upstream).ok()?;
    topology::lag_bytes(replica, known.rows.get(id.as_str())?)
}

/// A scored object: its level, id and rendered labels.
struct Scored<'a> {
    of: &'a Explained,
    labels: Vec<u8>,
}

fn scored<'a>(page: &FleetPage<'a>, known: &Known<'a>) -> Vec<Scored<'a>> {
    let rollups = page.rollup.levels.iter().filter(|e| page.wants(&e.id)).map(Arc::as_ref);
    let mut all: Vec<Scored<'a>> =
        rollups.map(|of| Scored { of, labels: level_labels(page.inventory, of) }).collect();
    for entry in &known.entries {
        if let Some(of) = entry.row.and_then(|r| r.score.as_deref()) {
            let mut labels = render_labels(&[("level", "instance"), ("id", of.id.as_str())]);
            labels.push(b',');
            labels.extend_from_slice(&entry.labels);
            all.push(Scored { of, labels });
        }
    }
    all
}

fn level_labels(inventory: &Inventory, of: &Explained) -> Vec<u8> {
    use model::score::Level;
    let id = of.id.as_str();
    let service = match of.level {
        Level::Service | Level::Shard => {
            let id = id.split('/').next().unwrap_or(id);
            ServiceId::parse(id).ok().and_then(|id| inventory.services.get(&id))
        }
        _ => None,
    };
    let system = (of.level == Level::System).then(|| id.split_once('.')).flatten();
    let (tenant, system, slug) = match (service, system) {
        (Some(s), _) => (s.id.tenant().to_string(), s.system.slug(), s.id.slug()),
        (None, Some((tenant, slug))) => (tenant.to_string(), slug, ""),
        _ if of.level == Level::Tenant => (id.to_string(), "", ""),
        _ => (String::new(), "", ""),
    };
    render_labels(&[
        ("level", of.level.as_str()),
        ("id", id),
        ("tenant", &tenant),
        ("system", system),
        ("service", slug),
    ])
}

fn health(w: &mut Writer, page: &FleetPage<'_>, known: &Known<'_>) {
    type Of = fn(&Explained) -> Option<f64>;
    const NUMBERS: [(Family, Of); 4] = [
        (Family::HealthScore, |e| e.score),
        (Family::HealthGrade, |e| Some(f64::from(e.grade.number()))),
        (Family::HealthConfidence, |e| Some(e.confidence)),
        (Family::HealthCoverage, |e| e.coverage),
    ];
    let all = scored(page, known);
    for (family, of) in NUMBERS {
        w.family(family);
        for object in &all {
            if let Some(value) = of(object.of) {
                w.sample_with(&object.labels, &[], value);
            }
        }
    }
    w.family(Family::HealthLoss);
    all.iter().for_each(|object| losses(w, object));
    w.family(Family::HealthGate);
    for object in &all {
        for gate in object.of.gates.iter().filter(|g| g.holds) {
            w.sample_with(&object.labels, &[("gate", &gate.gate)], gate.cap);
        }
    }
    w.family(Family::HealthUnknown);
    for object in &all {
        for signal in &object.of.unknown {
            let labels = [("signal", signal.signal.as_str()), ("reason", &signal.reason)];
            w.sample_with(&object.labels, &labels, 1.0);
        }
    }
}

/// The dimensions always, single signals only while they lose points. Bars of children would repeat
/// the children's own scores, so roll-ups show their sums alone.
fn losses(w: &mut Writer, object: &Scored<'_>) {
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for dimension in ["availability", "memory", "connections", "slowlog"] {
        if object.of.level == model::score::Level::Instance {
            sums.insert(dimension, 0.0);
        }
    }
    for bar in &object.of.bars {
        *sums.entry(bar.dimension.as_str()).or_default() += bar.points;
    }
    for (dimension, points) in &sums {
        w.sample_with(&object.labels, &[("dimension", dimension), ("signal", "")], *points);
    }
    let mut seen: BTreeSet<(&str, &str)> = BTreeSet::new();
    let single = |d: &str| sums.contains_key(d) && !matches!(d, "child" | "worst");
    for bar in object.of.bars.iter().filter(|b| b.points > 0.0 && single(&b.dimension)) {
        if !bar.signal.is_empty() && seen.insert((&bar.dimension, &bar.signal)) {
            let labels = [("dimension", bar.dimension.as_str()), ("signal", &bar.signal)];
            w.sample_with(&object.labels, &labels, bar.points);
        }
    }
}

fn alerts(w: &mut Writer, page: &FleetPage<'_>) {
    const CARRIED: [&str; 6] = ["severity", "tenant", "system", "service", "instance", "zone"];
    w.family(Family::AlertState);
    let mut seen: BTreeSet<Vec<u8>> = BTreeSet::new();
    for alert in page.alerts.iter().filter(|a| a.phase != Phase::Inactive) {
        let about = alert.instance.as_ref().map(InstanceId::as_str);
        let about = about.or(alert.service.as_ref().map(ServiceId::as_str)).unwrap_or("");
        if !page.wants(about) {
            continue;
        }
        let mut labels = vec![
            ("alertname", alert.alertname.as_str()),
            ("policy", &alert.policy),
            ("level", alert.level.as_str()),
            ("state", alert.phase.as_str()),
        ];
        for name in CARRIED {
            labels.push((name, alert.labels.get(name).map_or("", String::as_str)));
        }
        let rendered = render_labels(&labels);
        // Two occurrences that differ only in labels not shown here are one series.
        if seen.insert(rendered.clone()) {
            w.sample_with(&rendered, &[], 1.0);
        }
    }
}

fn thresholds(w: &mut Writer, page: &FleetPage<'_>, known: &Known<'_>) {
    w.family(Family::PolicyThreshold);
    for point in page.thresholds {
        let labels = [("policy", point.policy.as_str()), ("level", point.level.as_str())];
        let Some(instance) = &point.instance else {
            if page.shard.is_none_or(Shard::is_first) {
                w.sample_with(&render_labels(&labels), &[], point.value);
            }
            continue;
        };
        if let Some(entry) = known.find(instance) {
            w.sample_with(&entry.labels, &labels, point.value);
        }
    }
    w.family(Family::SeriesDropped);
    for (id, reason, count) in page.series_dropped {
        if let Some(entry) = known.find(id) {
            w.sample_with(&entry.labels, &[("reason", reason)], *count as f64);
        }
    }
    w.family(Family::DiscoveryRefused);
    for (id, reason, count) in page.refused {
        if let Some(entry) = known.find(id) {
            w.sample_with(&entry.labels, &[("reason", reason)], *count as f64);
        }
    }
}

/// Whether a new client is let in, which a kept connection cannot tell.
fn accepts(w: &mut Writer, page: &FleetPage<'_>, known: &Known<'_>) {
    let probe = |e: &Entry<'_>| page.accepts.get(&e.instance.id).copied();
    known.each(w, Family::AcceptUp, |e| probe(e).map(|took| f64::from(u8::from(took.is_some()))));
    known.each(w, Family::AcceptDuration, |e| probe(e)?.map(|us| f64::from(us) / 1e6));
}

fn operations(w: &mut Writer, page: &FleetPage<'_>) {
    w.family(Family::ZoneRisk);
    for (id, class, count) in page.zone_risks.iter().filter(|(id, ..)| page.wants(id.as_str())) {
        if let Some(service) = page.inventory.services.get(id) {
            w.sample_with(&service_labels(service), &[("risk", class.as_str())], *count as f64);
        }
    }
    w.family(Family::Operations);
    for (kind, state, count) in page.operations {
        w.sample(&[("kind", kind.as_str()), ("state", state.as_str())], *count as f64);
    }
    w.family(Family::OperationRefusals);
    for (check, count) in page.refusals {
        w.sample(&[("check", check)], *count as f64);
    }
    w.family(Family::Decisions);
    for (runbook, verb, guard, count) in page.decisions {
        let labels = [("runbook", runbook.as_str()), ("decision", verb.as_str()), ("guard", guard)];
        w.sample(&labels, *count as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{inventory, reading, row, with_role};
    use model::reading::{Facts, Failure, Reason};
    use model::score::{Bar, Grade, Level};
    use model::verdict::Verdict;

    fn board() -> Vec<Arc<Row>> {
        let tree = inventory();
        let mut rows = Vec::new();
        for instance in tree.instances.values() {
            let facts = match instance.id.address() {
                "10.0.0.1:1" => with_role(Role::Master, 100.0),
                "10.0.0.2:1" => {
                    Facts { upstream: Some("10.0.0.1:1".into()), ..with_role(Role::Replica, 60.0) }
                }
                _ => Facts { conflicts: 2, ..Facts::default() },
            };
            rows.push(row(instance.clone(), reading(facts)));
        }
        let down = &mut rows[4];
        let mut failed = (*down.reading).clone();
        failed.up = false;
        failed.failure = Some(Failure { reason: Reason::Refused, detail: "no".into() });
        down.reading = Arc::new(failed);
        down.verdict = Verdict::Down("it refuses".into());
        rows.into_iter().map(Arc::new).collect()
    }

    fn text(page: &FleetPage<'_>) -> String {
        String::from_utf8(fleet(page, Format::Text).body).unwrap()
    }

    const MASTER: &str = "tenant=\"pay\",system=\"shop\",service=\"cart\",\
                          instance=\"pay.cart@10.0.0.1:1\",zone=\"az-1\"";

    #[test]
    fn expectations_come_from_the_inventory_even_without_any_reading() {
        let (tree, rollup) = (inventory(), Rollup::default());
        let page = text(&FleetPage::new(&tree, &[], &rollup, At::EPOCH));
        assert_eq!(page.matches("cachewarden_instance_expected{").count(), 5);
        assert_eq!(page.matches("state=\"unknown\"").count(), 5);
        let cart = "{tenant=\"pay\",system=\"shop\",service=\"cart\"";
        assert!(page.contains(&format!("cachewarden_masters_expected{cart}}} 2\n")));
        let share = format!("cachewarden_service_zone_share{cart},zone=\"az-1\"}} 0.666");
        assert!(page.contains(&share), "{page}");
        assert!(!page.contains("cachewarden_replicas_expected{"), "nobody is known as master");
    }

    #[test]
    fn a_removed_instance_says_where_it_was() {
        let (tree, rollup) = (inventory(), Rollup::default());
        let gone = [RemovedInstance {
            id: "pay.old@10.0.0.9:1".parse().unwrap(),
            system: "pay.shop".parse().unwrap(),
            zone: "az-3".parse().unwrap(),
        }];
        let mut page = FleetPage::new(&tree, &[], &rollup, At::EPOCH);
        page.removed = &gone;
        let labels = "tenant=\"pay\",system=\"shop\",service=\"old\",\
                      instance=\"pay.old@10.0.0.9:1\",zone=\"az-3\"";
        let series = format!("cachewarden_instance_removed{{{labels}}} 1\n");
        assert!(text(&page).contains(&series), "{}", text(&page));
    }

    #[test]
    fn states_faults_and_lag_stand_on_the_instance_they_are_about() {
        let (tree, rollup, rows) = (inventory(), Rollup::default(), board());
        let page = text(&FleetPage::new(&tree, &rows, &rollup, At::EPOCH));
        assert!(page.contains(&format!("cachewarden_replicas_expected{{{MASTER}}} 1\n")));
        assert_eq!(page.matches("cachewarden_replicas_expected{").count(), 1);
        let lag: Vec<&str> =
            page.lines().filter(|l| l.starts_with("cachewarden_replica_lag_bytes{")).collect();
        assert!(lag.len() == 1 && lag[0].contains("10.0.0.2:1") && lag[0].ends_with(" 40"));
        assert_eq!(page.matches("state=\"down\"").count(), 1);
        assert_eq!(page.matches("reason=\"refused\"").count(), 1);
        assert_eq!(page.matches("cachewarden_info_conflict{").count(), 2);
    }

    fn explained(level: Level, id: &str, score: Option<f64>) -> Explained {
        let bar = |signal: &str, points| Bar {
            dimension: "memory".into(),
            signal: signal.into(),
            points,
            ..Bar::default()
        };
        Explained {
            level,
            id: id.into(),
            at: At::EPOCH,
            score,
            raw: score,
            grade: if score.is_some() { Grade::B } else { Grade::Unknown },
            grade_since: At::EPOCH,
            confidence: 0.5,
            bars: vec![bar("M1", 12.5), bar("M2", 0.0)],
            ..Explained::default()
        }
    }

    #[test]
    fn an_unknown_score_is_absent_and_its_grade_is_zero() {
        let tree = inventory();
        let mut rollup = Rollup::default();
        for (level, id, score) in
            [(Level::Shard, "pay.cart/0", Some(87.5)), (Level::System, "pay.shop", None)]
        {
            let of = Arc::new(explained(level, id, score));
            rollup.levels.push(of);
        }
        let page = text(&FleetPage::new(&tree, &[], &rollup, At::EPOCH));
        let shard = "{level=\"shard\",id=\"pay.cart/0\",tenant=\"pay\",system=\"shop\",\
                     service=\"cart\"}";
        assert!(page.contains(&format!("cachewarden_health_score{shard} 87.5\n")), "{page}");
        assert_eq!(page.matches("cachewarden_health_score{").count(), 1);
        let system = "{level=\"system\",id=\"pay.shop\",tenant=\"pay\",system=\"shop\"}";
        assert!(page.contains(&format!("cachewarden_health_grade{system} 0\n")));
    }

    #[test]
    fn every_dimension_is_shown_and_single_signals_only_while_they_lose() {
        let (tree, rollup) = (inventory(), Rollup::default());
        let mut rows = board();
        let mut one = (*rows[1]).clone();
        let id = one.instance.id.to_string();
        one.score = Some(Arc::new(explained(Level::Instance, &id, Some(87.5))));
        rows[1] = Arc::new(one);
        let page = text(&FleetPage::new(&tree, &rows, &rollup, At::EPOCH));
        let losses: Vec<&str> =
            page.lines().filter(|l| l.starts_with("cachewarden_health_loss{")).collect();
        assert_eq!(losses.len(), 5, "{losses:#?}");
        assert!(losses.iter().any(|l| l.contains("memory\",signal=\"\"} 12.5")));
        assert!(losses.iter().any(|l| l.contains("signal=\"M1\"} 12.5")));
    }

    #[test]
    fn a_healthy_instance_has_at_most_eight_series_of_its_score() {
        let (tree, rollup) = (inventory(), Rollup::default());
        let mut rows = board();
        let mut one = (*rows[1]).clone();
        let id = one.instance.id.to_string();
        let score = explained(Level::Instance, &id, Some(100.0));
        one.score = Some(Arc::new(Explained { bars: Vec::new(), confidence: 1.0, ..score }));
        rows[1] = Arc::new(one);
        let page = text(&FleetPage::new(&tree, &rows, &rollup, At::EPOCH));
        let object = format!("{{level=\"instance\",id=\"{id}\"");
        let own: Vec<&str> = page
            .lines()
            .filter(|l| l.starts_with("cachewarden_health_") && l.contains(&object))
            .collect();
        assert!((7..=8).contains(&own.len()), "{own:#?}");
    }

    #[test]
    fn our_own_certificates_stand_on_the_service_they_are_shown_to_or_on_nothing() {
        let (tree, rollup) = (inventory(), Rollup::default());
        let of = |service: Option<&str>, ends_at_s| CertificateEnd {
            service: service.map(|id| id.parse().unwrap()),
            ends_at_s,
        };
        let ends = [of(None, 7e8), of(Some("pay.cart"), 8e8), of(Some("pay.gone"), 9e8)];
        let mut page = FleetPage::new(&tree, &[], &rollup, At::EPOCH);
        page.certificates = &ends;
        let page = text(&page);
        let name = "cachewarden_certificate_expires_timestamp_seconds";
        assert_eq!(page.matches(&format!("{name}{{")).count(), 2, "{page}");
        assert!(page.contains(&format!("{name}{{use=\"listener\"}} 700000000\n")), "{page}");
        let cart = "{tenant=\"pay\",system=\"shop\",service=\"cart\",use=\"client\"}";
        assert!(page.contains(&format!("{name}{cart} 800000000\n")), "{page}");
    }

    #[test]
    fn parts_of_the_fleet_add_up_to_the_whole() {
        let (tree, rollup, rows) = (inventory(), Rollup::default(), board());
        let operations = [(OperationKind::Switchover, OperationState::Done, 3)];
        let own =
            ["pay.cart", ""].map(|id| CertificateEnd { service: id.parse().ok(), ends_at_s: 1.0 });
        let series = |shard| {
            let mut page = FleetPage::new(&tree, &rows, &rollup, At::EPOCH);
            page.operations = &operations;
            page.certificates = &own;
            page.shard = shard;
            fleet(&page, Format::OpenMetrics).series
        };
        let parts: u32 = (0..3).map(|i| series(Shard::new(i, 3))).sum();
        assert_eq!(parts, series(None));
    }
}
