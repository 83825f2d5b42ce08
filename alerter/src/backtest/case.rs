//! Tests of policies: series written as for `promtool`, and which levels fire when.
//!
//! Invariant: pure; the series go through the live evaluator. A test that says nothing, or names a series
//! its policy does not read, is wrong and not passed.

use std::collections::{BTreeMap, BTreeSet};

use model::InstanceId;
use model::inventory::Inventory;
use model::policy::{AlertLevel, PolicyDoc, Span};
use model::service::{Instance, InstanceKind, Service};
use model::tenant::{Env, System};
use serde::Deserialize;

use super::input::{Input, of_signal};
use super::{Fill, Lane, Line, Track, walk};
use crate::defaults;
use crate::plan::{Ground, Plan};

/// Samples of one series at most: ten days at 15 s.
const SAMPLES_MAX: usize = 60_000;

/// A file of tests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Documents over the shipped ones.
    #[serde(default)]
    documents: Vec<PolicyDoc>,
    /// Between samples.
    #[serde(default = "quarter_minute")]
    interval: Span,
    /// Whose samples they are: it decides which layers apply.
    #[serde(default = "somebody")]
    instance: String,
    tests: Vec<Case>,
}

fn quarter_minute() -> Span {
    Span::from_ms(15_000)
}

fn somebody() -> String {
    "test.service@127.0.0.1:6379".into()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    policy: String,
    /// Series → values as promtool takes them: `1 2 _ 0.5x10 1+1x5`.
    series: BTreeMap<String, String>,
    expect: Vec<Expected>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    at: Span,
    /// Levels that fire, of any sub-series; empty: none.
    firing: BTreeSet<AlertLevel>,
}

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The test.
    pub name: String,
    /// What was not as expected; empty: it passed.
    pub failures: Vec<String>,
}

/// Runs the tests of a file; `Err`: the file cannot be read.
pub fn tests(text: &str) -> Result<Vec<Verdict>, String> {
    let file: File = serde_saphyr::from_str(text).map_err(|e| e.to_string())?;
    let id = InstanceId::parse(&file.instance).map_err(|e| format!("instance: {e}"))?;
    if file.tests.is_empty() || file.interval.ms < 1_000 {
        return Err("expected tests, and an interval of at least 1s".into());
    }
    let documents =
        file.documents.into_iter().map(|d| PolicyDoc { enabled: d.enabled.or(Some(true)), ..d });
    let docs: Vec<PolicyDoc> = defaults::policies().iter().cloned().chain(documents).collect();
    let inventory = inventory(&id);
    let verdict = |case: &Case| Verdict {
        name: case.name.clone(),
        failures: judge(case, &docs, &inventory, &id, file.interval.ms).unwrap_or_else(|e| vec![e]),
    };
    Ok(file.tests.iter().map(verdict).collect())
}

fn judge(
    case: &Case,
    docs: &[PolicyDoc],
    inventory: &Inventory,
    id: &InstanceId,
    step_ms: i64,
) -> Result<Vec<String>, String> {
    if case.expect.is_empty() {
        return Err("expects nothing".into());
    }
    let docs: Vec<PolicyDoc> = docs.iter().filter(|d| d.policy == case.policy).cloned().collect();
    let external = Default::default();
    let ground = Ground {
        inventory,
        docs: &docs,
        external: &external,
        interval_ms: step_ms,
        dialect: Default::default(),
    };
    let plan = Plan::build(&ground, |_| Default::default());
    if let Some((name, why)) = plan.problems.first_key_value() {
        return Err(format!("{name}: {why}"));
    }
    let slot = plan.slots.get(id).filter(|slot| !slot.rules.is_empty());
    let slot =
        slot.ok_or_else(|| format!("policy {:?} judges nothing of this instance", case.policy))?;
    let inputs = of_signal(&slot.rules[0].signal)?;
    let track = track(case, &inputs, id, step_ms)?;
    let mut lane = Lane::new(slot);
    let mut firing: Vec<(i64, BTreeSet<AlertLevel>)> = Vec::new();
    walk(step_ms, inventory, &track, |row| {
        lane.judge(row);
        let levels = lane.cell.lives().filter(|l| l.fired_at.is_some());
        firing.push((row.reading.at.ms(), levels.map(|l| l.identity.level).collect()));
    });
    let mut failures = Vec::new();
    for expected in &case.expect {
        let seen = firing.iter().rfind(|(at, _)| *at <= expected.at.ms);
        let got = seen.map(|(_, levels)| levels.clone()).unwrap_or_default();
        if got != expected.firing {
            let words = |levels: &BTreeSet<AlertLevel>| {
                let words: Vec<&str> = levels.iter().map(|l| l.as_str()).collect();
                if words.is_empty() { "nothing".to_string() } else { words.join(", ") }
            };
            let at = String::from(expected.at);
            failures.push(format!(
                "at {at}: {} fires, expected {}",
                words(&got),
                words(&expected.firing)
            ));
        }
    }
    Ok(failures)
}

fn track(case: &Case, inputs: &[Input], id: &InstanceId, step_ms: i64) -> Result<Track, String> {
    let mut lines = Vec::new();
    for (name, values) in &case.series {
        let (metric, labels) = labels_of(name)?;
        let fill = inputs.iter().filter(|i| i.metric == metric).find_map(|i| i.fill(&labels));
        let known: Vec<String> = inputs.iter().map(Input::name).collect();
        let fill =
            fill.ok_or_else(|| format!("series {name}: the policy reads {}", known.join(", ")))?;
        lines.push(Line { fill, values: expand(values).map_err(|e| format!("{name}: {e}"))? });
    }
    let n = lines.iter().map(|l| l.values.len()).max().unwrap_or(0);
    if !lines.iter().any(|l| l.fill == Fill::Up) {
        // Polls are good where anything was read, and failed where nothing was.
        let read = |i: &usize| lines.iter().any(|l| l.values.get(*i).is_some_and(|v| !v.is_nan()));
        let up = (0..n).map(|i| f64::from(u8::from(read(&i)))).collect();
        lines.push(Line { fill: Fill::Up, values: up });
    }
    let times = (0..n as i64).map(|i| i * step_ms).collect();
    Ok(Track { instance: id.clone(), times, lines })
}

/// `name{label="value",…}`.
fn labels_of(name: &str) -> Result<(String, BTreeMap<String, String>), String> {
    let Some((metric, rest)) = name.split_once('{') else {
        return Ok((name.to_string(), BTreeMap::new()));
    };
    let bad = || format!("series {name}: expected name{{label=\"value\"}}");
    let inner = rest.strip_suffix('}').ok_or_else(bad)?;
    let pair = |part: &str| {
        let (label, value) = part.split_once('=')?;
        let value = value.strip_prefix('"')?.strip_suffix('"')?;
        Some((label.trim().to_string(), value.to_string()))
    };
    let labels: Option<BTreeMap<String, String>> = inner.split(',').map(pair).collect();
    Ok((metric.to_string(), labels.ok_or_else(bad)?))
}

/// Values as promtool writes them.
fn expand(text: &str) -> Result<Vec<f64>, String> {
    let mut all = Vec::new();
    for token in text.split_whitespace() {
        let bad = || format!("{token:?}: expected 1, _, 1x5, 1+0.5x5 or _x5");
        let (value, times) = match token.split_once('x') {
            Some((value, times)) => (value, times.parse::<usize>().map_err(|_| bad())?),
            None => (token, 0),
        };
        if all.len() + times > SAMPLES_MAX {
            return Err(format!("more than {SAMPLES_MAX} samples"));
        }
        if value == "_" {
            all.extend(std::iter::repeat_n(f64::NAN, times.max(1)));
            continue;
        }
        // The sign of an exponent or of the value itself is no step.
        let step = value
            .char_indices()
            .skip(1)
            .find(|(i, c)| matches!(c, '+' | '-') && !value[..*i].ends_with(['e', 'E']));
        let (start, step) = match step {
            Some((i, _)) => (&value[..i], value[i..].parse::<f64>().map_err(|_| bad())?),
            None => (value, 0.0),
        };
        let start: f64 = start.parse().map_err(|_| bad())?;
        all.extend((0..=times).map(|n| start + step * n as f64));
    }
    Ok(all)
}

/// A tree with that instance in it.
fn inventory(id: &InstanceId) -> Inventory {
    let mut inventory = Inventory::default();
    let system = model::SystemId::new(&id.tenant(), "test");
    let (Ok(system), Ok(zone)) = (system, "zone".parse()) else { return inventory };
    let service = Service {
        id: id.service(),
        system: system.clone(),
        display: String::new(),
        tier: Default::default(),
        class: Default::default(),
        mode: Default::default(),
        profile: Default::default(),
        profile_from: Default::default(),
        managed: false,
        sentinel_master: String::new(),
        replicas_wanted: 0,
        auth_user: String::new(),
        has_password: false,
        access: Default::default(),
    };
    let (display, owner, cmdb) = Default::default();
    let system = System { id: system, display, env: Env::Prod, owner, cmdb };
    inventory.systems.insert(system.id.clone(), system);
    inventory.services.insert(service.id.clone(), service);
    let kind = InstanceKind::Redis;
    let instance = Instance { id: id.clone(), kind, zone, host: None, shard: 0 };
    inventory.instances.insert(id.clone(), instance);
    inventory
}

#[cfg(test)]
mod cases {
    use super::*;

    const FILE: &str = "
documents:
- policy: memory-used
  scope: tenant:pay
  levels: {critical: {fire: 0.9, clear: 0.8, for: 1m}}
instance: pay.cart@10.0.0.1:6379
tests:
- name: fires after a minute and not before
  policy: memory-used
  series:
    redis_memory_used_bytes: '50x3 93x20'
    redis_memory_max_bytes: '100x24'
  expect:
  - {at: 1m45s, firing: []}
  - {at: 2m, firing: [critical]}
- name: is wrong
  policy: memory-used
  series: {redis_memory_used_bytes: '93x20', redis_memory_max_bytes: '100x20'}
  expect: [{at: 2m, firing: []}]
- name: reads another series
  policy: memory-used
  series: {redis_connected_clients: '1'}
  expect: [{at: 0s, firing: []}]
";

    #[test]
    fn a_test_passes_by_what_the_evaluator_says() {
        let found = tests(FILE).unwrap();
        assert_eq!(found[0].failures, Vec::<String>::new());
        assert_eq!(found[1].failures, ["at 2m: critical fires, expected nothing"]);
        assert!(found[2].failures[0].contains("the policy reads redis_up"), "{found:?}");
        assert!(tests("tests: []").is_err());
    }

    #[test]
    fn values_are_written_as_promtool_takes_them() {
        let read = |text: &str| expand(text).unwrap();
        assert_eq!(read("1 2x2 5-1x2"), [1.0, 2.0, 2.0, 2.0, 5.0, 4.0, 3.0]);
        assert_eq!(read("1e-3+1x1"), [0.001, 1.001]);
        assert!(read("_x2 _").iter().all(|v| v.is_nan()) && read("_x2 _").len() == 3);
        assert!(expand("1xx").is_err() && expand("x").is_err());
        let (metric, labels) = labels_of("a{b=\"c\",d=\"e\"}").unwrap();
        assert_eq!((metric.as_str(), labels.len()), ("a", 2));
    }
}
