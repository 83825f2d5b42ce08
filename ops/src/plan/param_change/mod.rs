//! Change of parameters on every node of a service: a canary replica, the replicas, the masters.
//!
//! Invariants: every node gets the same values or keeps its own; a node that did not tell what it runs
//! with is not changed, nor any other; what shrinks memory begins at the master, so no promoted
//! replica can evict by surprise. Refuses to know how a value is sent.

mod host;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use model::caller::Caller;
use model::operation::OperationKind;
use model::parameter::DesiredParameter;
use model::plan::{Checked, Plan, PlannedStep};
use model::refusal::Refusal;
use model::service::Mode;
use model::{At, InstanceId, ServiceId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::params::look::{self, Seen};
use crate::params::{Param, Rule};
use crate::plan::Means;
use crate::provider::Limits;
use crate::topology::{self, Snapshot};
use crate::world::World;

/// Version of this definition.
pub const VERSION: u32 = 1;
/// Its steps.
pub const STEPS: &[&str] = &["lower", "set", "desired", "agree"];

/// Time to read topology and settings: one poll deadline and a margin.
const LOOK: Duration = Duration::from_secs(5);
/// A plan older than this is made again: the world it was made in has moved on.
const VALID_MS: i64 = 300_000;
/// CONFIG SET and REWRITE take milliseconds; turning the append-only file on forks.
const SET_MS: i64 = 60_000;
/// One write in the store, and looking at all nodes.
const KEEP_MS: i64 = 30_000;
/// Parameters of one change: more and nobody can judge it.
const NAMES_MAX: usize = 32;
/// A step down evicts at most this share of where it began, and this pause follows it: at one go
/// 310 366 keys were evicted in 4 s and the worst reply took 112 ms.
const LOWER_SHARE: f64 = 0.05;
const LOWER_PAUSE_MS: i64 = 10_000;

/// Parameters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// Values by name.
    pub set: BTreeMap<String, Value>,
    /// Bytes that may be evicted when maxmemory goes below what is used.
    pub evict_bytes_max: u64,
    /// Nodes without a configuration file are changed too and lose it at their next start.
    pub allow_volatile: bool,
    /// The append-only file may be turned on where the room on the disk is not known.
    pub allow_unknown_disk: bool,
}

/// What a plan is made from.
pub(crate) struct Sight<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) seen: &'a [Seen],
    /// Of nodes a provider controls.
    pub(crate) limits: &'a BTreeMap<InstanceId, Limits>,
    pub(crate) hosts: &'a BTreeMap<InstanceId, host::Room>,
    /// Wishes before.
    pub(crate) desired: &'a [DesiredParameter],
}

/// A wish in the form the server answers, with its parameter.
pub(crate) type Wishes = BTreeMap<&'static str, (&'static Param, String)>;

/// Asks the fleet, checks, and makes the plan.
pub async fn plan(
    world: &World,
    means: &Means<'_>,
    service: &ServiceId,
    params: &Value,
    now: At,
) -> Result<Plan, Refusal> {
    let params: Params = serde_json::from_value(params.clone())
        .map_err(|e| Refusal::new("params", service, format!("param_change: {e}")))?;
    let snapshot = topology::snapshot(world, service, Instant::now() + LOOK).await?;
    let seen = look::service(world, &snapshot.service, Instant::now() + LOOK).await;
    let limits = limits(world, &seen).await;
    let hosts = host::rooms(world, &snapshot);
    let plans = Caller::system("plan", service.as_str());
    let desired = means.store(service)?.parameters(&plans, service).await;
    let desired = desired.map_err(|e| Refusal::new("store", service, e.to_string()))?;
    let sight = Sight {
        snapshot: &snapshot,
        seen: &seen,
        limits: &limits,
        hosts: &hosts,
        desired: &desired,
    };
    make(&sight, &params, now)
}

async fn limits(world: &World, seen: &[Seen]) -> BTreeMap<InstanceId, Limits> {
    let inventory = (world.inventory)();
    let mut all = BTreeMap::new();
    for node in seen {
        let Ok((provider, at)) = world.providers.of(&inventory, &node.id) else { continue };
        if let Ok(limits) = provider.limits(&at).await {
            all.insert(node.id.clone(), limits);
        }
    }
    all
}

/// The plan for what was seen; pure.
pub(crate) fn make(sight: &Sight<'_>, params: &Params, now: At) -> Result<Plan, Refusal> {
    let service = &sight.snapshot.service.id;
    let wishes = wishes(sight, params)?;
    let mut checks = vec![all_answer(sight)?, files(sight, params)?];
    checks.push(Checked { check: "drift".into(), passed: true, seen: drift(sight, &wishes) });
    checks.extend(rules::all(sight, &wishes, params)?);
    let steps = steps(sight, &wishes, params)?;
    let level = rules::level(sight, &wishes);
    let names: Vec<String> = wishes.iter().map(|(n, (_, v))| format!("{n} = {v:?}")).collect();
    let masters = sight.snapshot.masters().len();
    Ok(Plan {
        kind: OperationKind::ParamChange,
        kind_version: VERSION,
        service: service.clone(),
        params: serde_json::to_value(params).expect("parameters are plain data"),
        title: format!("Set {} on {service}", names.join(", ")),
        blast_radius: format!(
            "{} nodes of {service}, {masters} of them masters; none restarts",
            sight.seen.len()
        ),
        level,
        confirm: if level >= 3 { service.to_string() } else { String::new() },
        world: identity(sight, &wishes),
        checks,
        steps,
        locks: vec![format!("service:{service}")],
        made_at: now,
        expires_at: now + VALID_MS,
    })
}

/// What is asked for, checked against the table; nothing that cannot be changed online gets through.
fn wishes(sight: &Sight<'_>, params: &Params) -> Result<Wishes, Refusal> {
    let service = &sight.snapshot.service;
    let refuse = |check: &str, why: String| Err(Refusal::new(check, &service.id, why));
    if params.set.is_empty() || params.set.len() > NAMES_MAX {
        return refuse("params", format!("set: expected 1 to {NAMES_MAX} names with their values"));
    }
    let mut wishes = Wishes::new();
    for (name, value) in &params.set {
        let shown: String = name.chars().take(60).collect();
        let Some(param) = Param::find(name) else {
            return refuse("parameter", format!("{shown:?} is no parameter of the schema"));
        };
        match param.rule {
            Rule::Never(what) => return refuse("immutable", format!("{}: {what}", param.name)),
            Rule::Restart => {
                let name = param.name;
                let why = format!("{name} is read at the start only: start a rolling_restart");
                return refuse("immutable", why);
            }
            _ => {}
        }
        if param.is_sentinels() && service.mode != Mode::Sentinel {
            return refuse(
                "parameter",
                format!("{} has no Sentinels to set {shown} on", service.id),
            );
        }
        let present = present_anywhere(sight, param).unwrap_or(param.default);
        let text = text_of(value).map_err(|why| Refusal::new("params", &service.id, why))?;
        let normal = param.normal(&text, present);
        let normal = normal.map_err(|why| Refusal::new("parameter", &service.id, why))?;
        wishes.insert(param.name, (param, normal));
    }
    Ok(wishes)
}

fn text_of(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(n) => Ok(n.to_string()),
        Value::Bool(on) => Ok(if *on { "yes" } else { "no" }.into()),
        other => Err(format!("set: a value is a text, a number, true or false, not {other}")),
    }
}

/// Completes a wish that names a part: of a master, for it is what clients meet.
fn present_anywhere<'a>(sight: &'a Sight<'_>, param: &Param) -> Option<&'a str> {
    let masters = sight.snapshot.masters();
    let of = |s: &'a Seen| Some(s.running.as_ref().ok()?.get(param.name)?.as_str());
    let master = sight.seen.iter().find(|s| masters.contains(&&s.id)).and_then(of);
    master.or_else(|| sight.seen.iter().find_map(of))
}

/// P1: also the parameters: a node that is silent now would be changed by nobody.
fn all_answer(sight: &Sight<'_>) -> Result<Checked, Refusal> {
    let silent = sight.snapshot.nodes.iter().find_map(|n| Some((&n.id, n.seen.as_ref().err()?)));
    let silent =
        silent.or_else(|| sight.seen.iter().find_map(|s| Some((&s.id, s.running.as_ref().err()?))));
    match silent {
        Some((id, why)) => Err(Refusal::new("P1", id, format!("{id} does not answer: {why}"))),
        None => Ok(passed("P1", format!("{} nodes told what they run with", sight.seen.len()))),
    }
}

/// A node without a file forgets.
fn files(sight: &Sight<'_>, params: &Params) -> Result<Checked, Refusal> {
    let without: Vec<&str> =
        sight.seen.iter().filter(|s| !s.has_file).map(|s| s.id.as_str()).collect();
    if let (Some(first), false) = (without.first(), params.allow_volatile) {
        let why = format!(
            "{} run without a configuration file and forget this at their next start; say \
             allow_volatile to do it all the same",
            without.join(", ")
        );
        return Err(Refusal::new("file", first, why));
    }
    let unread = sight.seen.iter().filter(|s| s.has_file && s.file.is_err()).count();
    let said = match (without.len(), unread) {
        (0, 0) => "every file is read back after the change".to_string(),
        (0, n) => {
            format!("{n} files cannot be read from here: the server's word is taken for them")
        }
        (n, _) => format!("{n} nodes have no file: volatile, by wish"),
    };
    Ok(passed("file", said))
}

/// Nodes that differ from each other now, in words.
fn drift(sight: &Sight<'_>, wishes: &Wishes) -> String {
    let mut words = Vec::new();
    for (name, (param, _)) in wishes {
        let mut values: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for node in sight.seen.iter().filter(|s| s.is_sentinel == param.is_sentinels()) {
            let value = node.running.as_ref().ok().and_then(|r| r.get(name));
            values
                .entry(value.map_or("unknown", String::as_str))
                .or_default()
                .push(node.id.as_str());
        }
        let said = match values.len() {
            0 | 1 => format!("{name} is {:?} everywhere", values.keys().next().unwrap_or(&"")),
            _ => {
                let each: Vec<String> =
                    values.iter().map(|(v, ids)| format!("{v:?} on {}", ids.join(", "))).collect();
                format!("{name} drifts: {}", each.join("; "))
            }
        };
        words.push(said);
    }
    words.join(". ")
}

pub(crate) fn passed(check: &str, seen: String) -> Checked {
    Checked { check: check.into(), passed: true, seen }
}

/// What must not have moved when it runs: processes, roles and the values that would be restored.
fn identity(sight: &Sight<'_>, wishes: &Wishes) -> Value {
    let mut nodes = serde_json::Map::new();
    for node in sight.seen {
        let said = sight.snapshot.node(&node.id);
        let role = said.map(|n| if n.master.is_none() { "master" } else { "slave" });
        let run_id = said.map(|n| n.facts.text.run_id.as_str());
        let saved = saved(node, wishes);
        nodes.insert(node.id.to_string(), json!({ "run_id": run_id, "role": role, "has": saved }));
    }
    json!({ "nodes": nodes })
}

/// What the node runs with of the names wished.
fn saved(node: &Seen, wishes: &Wishes) -> BTreeMap<&'static str, String> {
    let Ok(running) = &node.running else { return BTreeMap::new() };
    let of_this = |(name, (param, _)): (&&'static str, &(&Param, String))| {
        let mine = param.is_sentinels() == node.is_sentinel;
        mine.then(|| Some((*name, running.get(name)?.clone()))).flatten()
    };
    wishes.iter().filter_map(of_this).collect()
}

fn steps(sight: &Sight<'_>, wishes: &Wishes, params: &Params) -> Result<Vec<PlannedStep>, Refusal> {
    let lowered = rules::lowered(sight, wishes, params)?;
    let masters = sight.snapshot.masters();
    let mut steps = Vec::new();
    for (id, values) in &lowered {
        steps.extend(lower(sight, id, values));
    }
    let is_master = |s: &&Seen| masters.contains(&&s.id);
    let data = || sight.seen.iter().filter(|s| !s.is_sentinel);
    let replicas = data().filter(|s| !is_master(s));
    // Masters that were lowered have it; the replicas follow.
    let last = data().filter(|s| is_master(s) && !lowered.iter().any(|(id, _)| *id == s.id));
    let sentinels = sight.seen.iter().filter(|s| s.is_sentinel);
    for (n, node) in replicas.chain(last).chain(sentinels).enumerate() {
        steps.extend(set(sight, node, wishes, n == 0 && lowered.is_empty()));
    }
    steps.push(desired(sight, wishes));
    steps.push(agree(sight, wishes));
    Ok(steps)
}

fn args(sight: &Sight<'_>, node: &Seen, set: Value, saved: Value, pause_ms: i64) -> Value {
    let sentinel = node.is_sentinel.then_some(&sight.snapshot.service.sentinel_master);
    json!({ "set": set, "saved": saved, "sentinel": sentinel, "file": node.has_file,
            "pause_ms": pause_ms })
}

fn step(kind: &str, target: &str, title: String, args: Value, timeout_ms: i64) -> PlannedStep {
    PlannedStep {
        kind: kind.into(),
        target: target.into(),
        title,
        args,
        commands: Vec::new(),
        timeout_ms,
        tries: 3,
        repeatable: true,
        point_of_no_return: false,
    }
}

/// One node, all its wishes at once; none when nothing of the change is for its kind.
fn set(sight: &Sight<'_>, node: &Seen, wishes: &Wishes, canary: bool) -> Option<PlannedStep> {
    let saved = saved(node, wishes);
    let values: BTreeMap<&str, &String> = wishes
        .iter()
        .filter(|(_, (param, _))| param.is_sentinels() == node.is_sentinel)
        .map(|(name, (_, value))| (*name, value))
        .collect();
    if values.is_empty() {
        return None;
    }
    let word = if canary { "canary" } else { "node" };
    let title = format!("Set {} on {word} {}", name_list(&values), node.id);
    let (set, saved) = (json!(values), json!(saved));
    let mut step = step("set", node.id.as_str(), title, args(sight, node, set, saved, 0), SET_MS);
    step.commands = commands(sight, node, &values);
    Some(step)
}

fn name_list(values: &BTreeMap<&str, &String>) -> String {
    values.iter().map(|(n, v)| format!("{n} = {v:?}")).collect::<Vec<_>>().join(", ")
}

fn commands(sight: &Sight<'_>, node: &Seen, values: &BTreeMap<&str, &String>) -> Vec<String> {
    let id = &node.id;
    if node.is_sentinel {
        let name = &sight.snapshot.service.sentinel_master;
        return values.iter().map(|(n, v)| format!("{id}> SENTINEL SET {name} {n} {v}")).collect();
    }
    let words: Vec<String> = values.iter().map(|(n, v)| format!("{n} {v:?}")).collect();
    let mut commands = vec![format!("{id}> CONFIG SET {}", words.join(" "))];
    if node.has_file {
        commands.push(format!("{id}> CONFIG REWRITE"));
    }
    commands
}

/// The way down on one master.
fn lower(sight: &Sight<'_>, id: &InstanceId, values: &[u64]) -> Vec<PlannedStep> {
    const NAME: &str = "maxmemory";
    let Some(node) = sight.seen.iter().find(|s| s.id == *id) else { return Vec::new() };
    let running = node.running.as_ref().ok().and_then(|r| r.get(NAME)).cloned();
    let mut before = running.unwrap_or_default();
    let mut steps = Vec::new();
    for value in values {
        let value = value.to_string();
        let title = format!("Lower maxmemory of {id} to {value} bytes");
        let pause = if values.len() > 1 { LOWER_PAUSE_MS } else { 0 };
        let args = args(sight, node, json!({ NAME: value }), json!({ NAME: before }), pause);
        let mut step = step("lower", id.as_str(), title, args, SET_MS + pause);
        step.commands = commands(sight, node, &BTreeMap::from([(NAME, &value)]));
        steps.push(step);
        before = value;
    }
    steps
}

fn desired(sight: &Sight<'_>, wishes: &Wishes) -> PlannedStep {
    let service = &sight.snapshot.service.id;
    let volatile: Vec<&InstanceId> =
        sight.seen.iter().filter(|s| !s.has_file).map(|s| &s.id).collect();
    let values: BTreeMap<&str, &String> = wishes.iter().map(|(n, (_, v))| (*n, v)).collect();
    let before: Vec<&DesiredParameter> =
        sight.desired.iter().filter(|d| wishes.contains_key(d.name.as_str())).collect();
    let args = json!({ "set": values, "before": before, "volatile": volatile });
    let title = "Keep the values as the wish for this service".to_string();
    PlannedStep {
        commands: vec![format!("store> parameters of {service}")],
        ..step("desired", service.as_str(), title, args, KEEP_MS)
    }
}

/// Every node at once: a failover or a restart in between may have brought an old value back.
fn agree(sight: &Sight<'_>, wishes: &Wishes) -> PlannedStep {
    let service = &sight.snapshot.service.id;
    let values: BTreeMap<&str, &String> = wishes.iter().map(|(n, (_, v))| (*n, v)).collect();
    let title = "Every node runs with the values, and every file that can be read says so".into();
    PlannedStep {
        tries: 1,
        ..step("agree", service.as_str(), title, json!({ "set": values }), KEEP_MS)
    }
}
