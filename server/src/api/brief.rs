//! Rows of the Board as lines of a list.
//!
//! Invariant: pure; what was not read is null, never zero; a value older than the last good poll is
//! not shown as present. Refuses to know callers.

use std::sync::Arc;

use model::At;
use model::alert::Alert;
use model::field::Field;
use model::operation::{Operation, Step, StepState};
use model::reading::{Facts, Role};
use model::row::Row;
use model::score::{Explained, Grade};
use model::service::{Instance, InstanceKind, Service};
use model::verdict::Verdict;
use model::view::{InstanceItem, OperationItem, ScoreBrief, ServiceItem, Verdicts};
use scorer::Rates;

/// A score in short; `None`: nothing was computed yet.
pub fn score(explained: Option<&Explained>) -> ScoreBrief {
    let Some(e) = explained else {
        return ScoreBrief {
            score: None,
            grade: Grade::Unknown,
            confidence: 0.0,
            cause: "not scored yet".into(),
        };
    };
    ScoreBrief {
        score: e.score,
        grade: e.grade,
        confidence: e.confidence,
        cause: scorer::cause(e).into(),
    }
}

/// A Sentinel has no score, and that is not a loss.
fn no_score() -> ScoreBrief {
    ScoreBrief { score: None, grade: Grade::Unknown, confidence: 0.0, cause: String::new() }
}

/// Counts one verdict; an instance without a row is unknown.
pub fn count(verdicts: &mut Verdicts, row: Option<&Row>) {
    match row.map(|r| &r.verdict) {
        Some(Verdict::Up) => verdicts.up += 1,
        Some(Verdict::Down(_)) => verdicts.down += 1,
        Some(Verdict::Unknown(_)) | None => verdicts.unknown += 1,
    }
}

/// An instance, the latest of it, and its rates.
pub struct Member<'t> {
    /// Who.
    pub instance: &'t Instance,
    /// Latest row.
    pub row: Option<Arc<Row>>,
    /// Rates over the window.
    pub rates: Rates,
}

impl Member<'_> {
    /// Whether it is a data node.
    pub fn is_node(&self) -> bool {
        self.instance.kind == InstanceKind::Redis
    }

    /// The role it has now.
    pub fn role(&self) -> Option<Role> {
        self.row.as_deref().and_then(Row::role)
    }

    /// A scalar of the present; none while it does not answer.
    pub fn value(&self, field: Field) -> Option<f64> {
        self.facts()?.values.get(field)
    }

    /// maxmemory in bytes; 0 on the server means no limit.
    pub fn memory_max(&self) -> Option<f64> {
        self.value(Field::Maxmemory).filter(|m| *m > 0.0)
    }

    /// What it said at the latest good poll, while it answers.
    pub fn facts(&self) -> Option<&Facts> {
        self.row.as_deref().and_then(Row::facts)
    }

    /// Rates, while it answers.
    fn rate(&self, rate: impl Fn(&Rates) -> Option<f64>) -> Option<f64> {
        self.facts().and_then(|_| rate(&self.rates))
    }

    /// Commands per second, while it answers.
    pub fn ops_per_s(&self) -> Option<f64> {
        self.rate(|r| r.ops_per_s)
    }

    fn clients_ratio(&self) -> Option<f64> {
        let max = self.value(Field::Maxclients).filter(|m| *m > 0.0)?;
        Some(self.value(Field::ConnectedClients)? / max)
    }

    fn version(&self) -> String {
        self.facts().map(version).unwrap_or_default().into()
    }
}

/// An instance; `shard` are the members of its service, among them its master, for the lag.
pub fn instance(m: &Member<'_>, service: &[Member<'_>], now: At) -> InstanceItem {
    let i = m.instance;
    let row = m.row.as_deref();
    let (state, reason) = match row.map(|r| &r.verdict) {
        Some(Verdict::Up) => ("up", String::new()),
        Some(Verdict::Down(why)) => ("down", why.clone()),
        Some(Verdict::Unknown(why)) => ("unknown", why.clone()),
        None => ("unknown", "not_polled_yet".into()),
    };
    let good = row.and_then(|r| r.last_good.as_ref());
    InstanceItem {
        id: i.id.clone(),
        address: i.id.address().into(),
        kind: i.kind.as_str().into(),
        shard: i.shard,
        zone: i.zone.to_string(),
        host: i.host.as_ref().map(ToString::to_string).unwrap_or_default(),
        role: m.role().map(Role::as_redis).unwrap_or_default().into(),
        state: state.into(),
        reason,
        health: match m.is_node() {
            true => score(row.and_then(|r| r.score.as_deref())),
            false => no_score(),
        },
        memory_used_bytes: m.value(Field::UsedMemory),
        memory_max_bytes: m.memory_max(),
        clients: m.value(Field::ConnectedClients),
        ops_per_s: m.ops_per_s(),
        lag_bytes: lag(m, service),
        link_up: m.facts().and_then(link_up),
        version: m.version(),
        polled_at: row.map(|r| r.reading.at),
        age_ms: good.map(|g| now.since_ms(g.at).max(0)),
    }
}

fn version(facts: &Facts) -> &str {
    match facts.text.valkey_version.as_str() {
        "" => &facts.text.version,
        valkey => valkey,
    }
}

fn link_up(facts: &Facts) -> Option<bool> {
    (facts.role? == Role::Replica).then(|| facts.link_state.as_deref() == Some("connected"))
}

/// Bytes behind the master, out of one reply of the master that lists this replica: two replies of
/// different moments would show a lag that is only the time between them.
fn lag(m: &Member<'_>, service: &[Member<'_>]) -> Option<f64> {
    if m.role()? != Role::Replica {
        return None;
    }
    let address = m.instance.id.address();
    service.iter().filter(|o| o.role() == Some(Role::Master)).find_map(|master| {
        let facts = master.facts()?;
        let link = facts.replicas.iter().find(|r| r.address == address)?;
        Some((facts.offset? - link.offset).max(0.0))
    })
}

/// A service; `members` are its instances, Sentinels included.
pub fn service(
    s: &Service,
    members: &[Member<'_>],
    explained: Option<&Explained>,
    alerts: Option<&[Alert]>,
    operation: Option<String>,
) -> ServiceItem {
    let nodes: Vec<&Member<'_>> = members.iter().filter(|m| m.is_node()).collect();
    let masters: Vec<&&Member<'_>> =
        nodes.iter().filter(|m| m.role() == Some(Role::Master)).collect();
    let mut verdicts = Verdicts::default();
    members.iter().for_each(|m| count(&mut verdicts, m.row.as_deref()));
    let mut zones: Vec<String> = nodes.iter().map(|m| m.instance.zone.to_string()).collect();
    zones.sort_unstable();
    zones.dedup();
    ServiceItem {
        id: s.id.clone(),
        display: s.display.clone(),
        system: s.system.to_string(),
        mode: s.mode.as_str().into(),
        tier: s.tier.as_str().into(),
        class: s.class.as_str().into(),
        managed: s.managed,
        engine: engine(&nodes),
        shards: nodes.iter().map(|m| m.instance.shard).max().map_or(0, |n| n + 1),
        nodes: nodes.len() as u32,
        zones,
        verdicts,
        health: score(explained),
        memory_ratio: memory_ratio(&masters),
        memory_used_bytes: sum(masters.iter().map(|m| m.value(Field::UsedMemory))),
        ops_per_s: sum(nodes.iter().map(|m| m.ops_per_s())),
        clients_ratio: nodes.iter().filter_map(|m| m.clients_ratio()).reduce(f64::max),
        slow_per_min: sum(nodes.iter().map(|m| m.rate(|r| r.slow_per_min))),
        alerts: alerts
            .map(|all| all.iter().filter(|a| a.service.as_ref() == Some(&s.id)).count() as u32),
        operation,
    }
}

fn engine(nodes: &[&Member<'_>]) -> String {
    let known = nodes.iter().filter_map(|m| m.facts()).filter(|f| !version(f).is_empty());
    let mut names: Vec<String> = known
        .map(|f| match f.text.valkey_version.is_empty() {
            true => format!("redis {}", version(f)),
            false => format!("valkey {}", version(f)),
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

/// Used share of maxmemory over masters; none when one has no limit or is not known: the sum would
/// be of different things.
fn memory_ratio(masters: &[&&Member<'_>]) -> Option<f64> {
    let used: f64 = masters.iter().map(|m| m.value(Field::UsedMemory)).sum::<Option<f64>>()?;
    let max: f64 = masters.iter().map(|m| m.memory_max()).sum::<Option<f64>>()?;
    (max > 0.0).then(|| used / max)
}

/// The sum of what is known; none when nothing is.
pub fn sum(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    values.flatten().reduce(|a, b| a + b)
}

/// An operation in a list.
pub fn operation(o: &Operation, steps: &[Step], now: At) -> OperationItem {
    let begun = o.started_at.unwrap_or(o.created_at);
    OperationItem {
        id: o.id.clone(),
        kind: o.kind.as_str().into(),
        service: o.service.clone(),
        title: o.plan.title.clone(),
        state: o.state,
        reason: o.reason.clone(),
        steps_done: steps.iter().filter(|s| s.state == StepState::Done).count() as u32,
        steps: o.plan.steps.len() as u32,
        created_by: o.created_by.clone(),
        created_at: o.created_at,
        ended_at: o.ended_at,
        elapsed_ms: o.ended_at.unwrap_or(now).since_ms(begun).max(0),
    }
}
