//! Moments out of Prometheus: the readings of the last week as its series hold them, and what scores
//! would be made from.
//!
//! Invariant: one query, bounded by the number of samples it may answer; readings are rebuilt from the
//! raw series and go through the same window and inputs as live ones, so a past score is computed, not
//! looked up. What a series does not hold is not known. Refuses to know policies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use model::field::Field;
use model::reading::{Facts, Failure, Reading, Reason, Role};
use model::row::Row;
use model::service::{Instance, Service};
use model::verdict::Verdict;
use model::{At, InstanceId};
use scorer::shadow::Member;
use scorer::{Around, Scene, Window};
use serde_json::Value;

/// How far back, s.
const WEEK_S: i64 = 7 * 86_400;
/// Closest moments, s: five minutes, the window of the signals.
const STEP_S: i64 = 300;
/// Samples one preview may ask for: some 30 MB of answer.
const SAMPLES_MAX: i64 = 1_500_000;
/// Series of one instance that are read, roughly.
const SERIES: i64 = 60;
/// Instances one preview asks Prometheus for: their names stand in one query.
pub(super) const NODES_MAX: usize = 200;
/// Longest wait.
const ANSWER_MAX: Duration = Duration::from_secs(15);

const INFO: &str = "redis_instance_info";
const STATE: &str = "cachewarden_instance_state";
const UP: &str = "redis_up";
const PING: &str = "redis_exporter_last_scrape_ping_time_seconds";
const SLOW_LEN: &str = "redis_slowlog_length";
const SLOW_ID: &str = "redis_slowlog_last_id";
const SLOW_S: &str = "redis_last_slow_execution_duration_seconds";
const ERRORS: &str = "redis_errors_total";
/// Of the errors those that gates look at; the empty one lets series without that label through.
const ERRORS_READ: &str = "|OOM|MISCONF|NOREPLICAS|READONLY";

/// One instance at one moment.
#[derive(Debug, Clone)]
struct Point {
    reading: Reading,
    verdict: Verdict,
}

/// What Prometheus held.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    /// Between moments.
    pub step_ms: i64,
    points: BTreeMap<InstanceId, BTreeMap<At, Point>>,
}

/// Asks for the series of these instances.
pub(super) async fn recorded(
    url: &str,
    nodes: &BTreeSet<InstanceId>,
    now: At,
) -> anyhow::Result<Recorded> {
    let points = SAMPLES_MAX / (SERIES * nodes.len().max(1) as i64);
    let step_s = (WEEK_S / points.max(1)).max(STEP_S);
    let end = now.ms() / 1000;
    let query = query(nodes);
    let form = [
        ("query", query),
        ("start", (end - WEEK_S).to_string()),
        ("end", end.to_string()),
        ("step", step_s.to_string()),
    ];
    let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_MAX).build()?;
    let url = format!("{}/api/v1/query_range", url.trim_end_matches('/'));
    // As a form: the names of all instances are longer than an address may be.
    let encoded = reqwest::Url::parse_with_params(&url, form)?;
    let body = encoded.query().unwrap_or_default().to_string();
    let kind = "application/x-www-form-urlencoded";
    let request = http.post(url).header("content-type", kind).body(body);
    let answer = request.send().await.context("Prometheus does not answer")?;
    let body: Value = answer.json().await.context("Prometheus answered something else")?;
    let Some(series) = body["data"]["result"].as_array() else {
        bail!("Prometheus refuses: {}", body["error"].as_str().unwrap_or("no result"));
    };
    Ok(Recorded { step_ms: step_s * 1000, points: read(series, step_s * 1000) })
}

fn query(nodes: &BTreeSet<InstanceId>) -> String {
    let own = [INFO, STATE, UP, PING, SLOW_LEN, SLOW_ID, SLOW_S, ERRORS];
    let names: Vec<&str> = Field::all().iter().map(|f| f.info().metric).chain(own).collect();
    // Ids hold dots and brackets of addresses; in a string of PromQL a backslash is written twice.
    let escaped = |id: &InstanceId| -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '@' | ':' | '-' | '_');
        id.as_str()
            .chars()
            .map(|c| if plain(c) { c.to_string() } else { format!("\\\\{c}") })
            .collect()
    };
    let ids: Vec<String> = nodes.iter().map(escaped).collect();
    let (names, ids) = (names.join("|"), ids.join("|"));
    format!("{{__name__=~\"{names}\",err=~\"{ERRORS_READ}\",instance=~\"{ids}\"}}")
}

/// Readings out of a matrix.
fn read(series: &[Value], step_ms: i64) -> BTreeMap<InstanceId, BTreeMap<At, Point>> {
    let mut all: BTreeMap<InstanceId, BTreeMap<At, Point>> = BTreeMap::new();
    for one in series {
        let metric = &one["metric"];
        let Some(id) = metric["instance"].as_str().and_then(|id| InstanceId::parse(id).ok()) else {
            continue;
        };
        let points = all.entry(id).or_default();
        for pair in one["values"].as_array().into_iter().flatten() {
            let (Some(t), Some(value)) = (pair[0].as_f64(), number(&pair[1])) else { continue };
            let at = At::from_ms((t * 1000.0) as i64);
            let point = points.entry(at).or_insert_with(|| blank(at, step_ms));
            take(point, metric, value);
        }
    }
    all
}

fn number(value: &Value) -> Option<f64> {
    value.as_str()?.parse().ok().filter(|v: &f64| v.is_finite())
}

fn blank(at: At, step_ms: i64) -> Point {
    let reading = Reading {
        at,
        began: at,
        up: false,
        failure: None,
        ping_us: None,
        duration_us: 0,
        connect_us: 0,
        failed_in_row: 0,
        interval_ms: step_ms as u32,
        facts: Facts::default(),
    };
    Point { reading, verdict: Verdict::Unknown("not recorded".into()) }
}

/// One sample into a reading.
fn take(point: &mut Point, metric: &Value, value: f64) {
    let facts = &mut point.reading.facts;
    let label = |name: &str| metric[name].as_str().unwrap_or_default().to_string();
    match metric["__name__"].as_str().unwrap_or_default() {
        UP => point.reading.up = value >= 1.0,
        PING => point.reading.ping_us = Some((value * 1e6) as u32),
        SLOW_LEN => facts.slowlog.len = Some(value),
        SLOW_ID => facts.slowlog.last_id = Some(value),
        SLOW_S => facts.slowlog.last_us = Some(value * 1e6),
        ERRORS => facts.errors.push((label("err"), value)),
        INFO => {
            facts.role = match label("role").as_str() {
                "master" => Some(Role::Master),
                "slave" => Some(Role::Replica),
                _ => None,
            };
            facts.text.maxmemory_policy = label("maxmemory_policy");
            facts.text.run_id = label("run_id");
            facts.text.version = label("redis_version");
            facts.text.valkey_version = label("valkey_version");
        }
        STATE if value >= 1.0 => {
            point.verdict = match label("state").as_str() {
                "up" => Verdict::Up,
                "down" => Verdict::Down("recorded as down".into()),
                _ => Verdict::Unknown("recorded as unknown".into()),
            };
        }
        name => {
            if let Some(field) = Field::by_metric(name) {
                facts.values.set(field, value);
            }
        }
    }
}

/// What is carried from one moment of an instance to the next.
struct Follower<'a> {
    instance: &'a Instance,
    points: &'a BTreeMap<At, Point>,
    window: Window,
    last_good: Option<Arc<Reading>>,
}

/// The moments of a service in which all of its nodes are recorded, the latest first.
pub(super) fn scenes(
    recorded: &Recorded,
    service: &Service,
    nodes: &[&Instance],
    watchers: &[Member],
) -> Vec<Scene> {
    // Only the newest poll of a window counts: they lie a window apart.
    let window_s = (recorded.step_ms / 1000 - 1).max(1) as u32;
    if nodes.is_empty() || !nodes.iter().all(|n| recorded.points.contains_key(&n.id)) {
        return Vec::new();
    }
    let mut all: Vec<Follower<'_>> = nodes
        .iter()
        .map(|instance| Follower {
            instance,
            points: &recorded.points[&instance.id],
            window: Window::new(window_s),
            last_good: None,
        })
        .collect();
    let moments: BTreeSet<At> = all.iter().flat_map(|f| f.points.keys().copied()).collect();
    let mut scenes = Vec::new();
    for at in moments {
        let members = moment(&mut all, service, at);
        if members.len() == nodes.len() {
            let members = members.into_iter().chain(watchers.iter().cloned()).collect();
            scenes.push(Scene { at, members });
        }
    }
    scenes.reverse();
    scenes
}

fn moment(all: &mut [Follower<'_>], service: &Service, at: At) -> Vec<Member> {
    let peers: Vec<(u32, Point)> =
        all.iter().filter_map(|f| Some((f.instance.shard, f.points.get(&at)?.clone()))).collect();
    let mut members = Vec::with_capacity(all.len());
    for follower in all.iter_mut() {
        let Some(point) = follower.points.get(&at) else { continue };
        let mut reading = point.reading.clone();
        if !reading.up {
            let down = point.verdict.is_down();
            let reason = if down { Reason::Refused } else { Reason::Timeout };
            reading.failure = Some(Failure { reason, detail: String::new() });
            reading.failed_in_row = if down { 3 } else { 1 };
            reading.facts = Facts::default();
        }
        let reading = Arc::new(reading);
        follower.window.push(&reading);
        if reading.up {
            follower.last_good = Some(reading.clone());
        }
        let around = around(service, follower.instance, point, &peers);
        let good = follower.last_good.as_deref();
        let inputs = scorer::inputs(&follower.window, &reading, good, &around, at);
        let row = Row {
            instance: Arc::new(follower.instance.clone()),
            role_since: Some(at),
            last_good: follower.last_good.clone(),
            verdict: point.verdict.clone(),
            reading,
            score: None,
        };
        members.push((Arc::new(row), Some(Arc::new(inputs))));
    }
    members
}

/// The surroundings as the series of the same moment tell them.
fn around<'a>(
    service: &'a Service,
    instance: &'a Instance,
    point: &'a Point,
    peers: &[(u32, Point)],
) -> Around<'a> {
    let mine = || peers.iter().filter(|(shard, _)| *shard == instance.shard).map(|(_, p)| p);
    let is = |p: &&Point, role: Role| p.reading.facts.role == Some(role) && p.reading.up;
    let linked = |p: &&Point| p.reading.get(Field::MasterLinkStatus).is_some_and(|v| v >= 1.0);
    let master = mine().find(|p| is(p, Role::Master));
    let lag = master.and_then(|m| {
        let sent = m.reading.get(Field::MasterReplOffset)?;
        Some((sent - point.reading.get(Field::SlaveReplOffset)?).max(0.0))
    });
    let role = point.reading.facts.role;
    let healthy = mine().filter(|p| is(p, Role::Replica)).filter(linked).count() as u32;
    Around {
        service,
        instance,
        verdict: &point.verdict,
        lag_bytes: lag.filter(|_| role == Some(Role::Replica)),
        healthy_replicas: (role == Some(Role::Master)).then_some(healthy),
        required_replicas: service.replicas_wanted,
        masters_in_group: 1,
        host_memory: None,
        slowlog_limit_ms: None,
        past: scorer::Past::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sample(name: &str, more: Value, values: Value) -> Value {
        let mut metric = json!({"__name__": name, "instance": "pay.cart@10.0.0.1:6379"});
        metric.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"metric": metric, "values": values})
    }

    #[test]
    fn readings_are_rebuilt_from_the_series_of_a_moment() {
        let none = json!({});
        let series = [
            sample(UP, none.clone(), json!([[100, "1"], [400, "0"]])),
            sample(STATE, json!({"state": "down"}), json!([[100, "0"], [400, "1"]])),
            sample(STATE, json!({"state": "up"}), json!([[100, "1"], [400, "0"]])),
            sample(INFO, json!({"role": "master", "run_id": "r"}), json!([[100, "1"]])),
            sample("redis_memory_used_bytes", none.clone(), json!([[100, "8800"], [400, "NaN"]])),
            sample(ERRORS, json!({"err": "OOM"}), json!([[100, "7"]])),
            sample(PING, none, json!([[100, "0.0003"]])),
        ];
        let all = read(&series, 300_000);
        let points = &all[&"pay.cart@10.0.0.1:6379".parse().unwrap()];
        let (first, second) = (&points[&At::from_ms(100_000)], &points[&At::from_ms(400_000)]);
        assert!(first.reading.up && first.verdict == Verdict::Up);
        assert_eq!(first.reading.get(Field::UsedMemory), Some(8800.0));
        assert_eq!(first.reading.facts.role, Some(Role::Master));
        assert_eq!(first.reading.ping_us, Some(300));
        assert_eq!(first.reading.facts.errors, [("OOM".to_string(), 7.0)]);
        assert!(!second.reading.up && second.verdict.is_down());
        assert_eq!(second.reading.get(Field::UsedMemory), None);
    }

    #[test]
    fn a_recorded_week_is_scored_with_both_policies() {
        let steady = |value: &str| json!([[300, value], [600, value], [900, value]]);
        let none = json!({});
        let series = [
            sample(UP, none.clone(), steady("1")),
            sample(STATE, json!({"state": "up"}), steady("1")),
            sample(INFO, json!({"role": "master", "run_id": "r"}), steady("1")),
            sample(PING, none.clone(), steady("0.0003")),
            sample("redis_memory_max_bytes", none.clone(), steady("10000")),
            sample("redis_connected_clients", none.clone(), steady("10")),
            sample("redis_max_clients", none.clone(), steady("10000")),
            sample(
                "redis_memory_used_bytes",
                none,
                json!([[300, "9000"], [600, "1000"], [900, "8800"]]),
            ),
        ];
        let recorded = Recorded { step_ms: 300_000, points: read(&series, 300_000) };
        let service: Service = serde_json::from_value(json!({
            "id": "pay.cart", "system": "pay.shop", "display": "", "tier": "core",
            "class": "single", "mode": "standalone", "profile": "store", "managed": false,
            "sentinel_master": "", "replicas_wanted": 0, "auth_user": "", "has_password": false,
        }))
        .unwrap();
        let node: Instance = serde_json::from_value(json!({
            "id": "pay.cart@10.0.0.1:6379", "kind": "redis", "zone": "az-1", "host": null,
            "shard": 0,
        }))
        .unwrap();
        let scenes = scenes(&recorded, &service, &[&node], &[]);
        assert_eq!(
            scenes.iter().map(|s| s.at.ms()).collect::<Vec<_>>(),
            [900_000, 600_000, 300_000]
        );
        let usual = Arc::new(scorer::Policy::for_profile(service.profile));
        let mut strict = (*usual).clone();
        let knots = vec![(0.7, 0.0), (0.8, 25.0), (0.9, 70.0), (0.95, 90.0), (1.0, 100.0)];
        strict.set_curve(scorer::Signal::M1, knots).unwrap();
        let line = scorer::shadow(&service, &scenes, &usual, &Arc::new(strict));
        assert_eq!((line.moments, line.score_before), (3, Some(87.0)), "{line:?}");
        assert_eq!((line.lowest_before, line.lowest_after), (Some(85.0), Some(82.5)));
    }

    #[test]
    fn an_id_is_one_alternative_of_the_query_and_nothing_more() {
        let nodes = BTreeSet::from(["pay.cart@10.0.0.1:6379".parse().unwrap()]);
        let query = query(&nodes);
        assert!(query.ends_with(r#"instance=~"pay\\.cart@10\\.0\\.0\\.1:6379"}"#), "{query}");
        assert!(query.contains("redis_memory_used_bytes|"));
    }
}
