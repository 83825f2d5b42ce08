//! One operation that is killed at each of its points in turn.
//!
//! Invariant: a point is armed only when the one before it was passed, so the process dies as often as
//! the list is long, each time at the place that was asked for.

use std::time::{Duration, Instant};

use model::operation::{OperationKind, OperationState};
use model::view::OperationPage;
use serde_json::{Value, json};
use tests::stage::{SERVICE, Stage};
use tests::wait;

/// Steps that only look: they are not applied when the first look shows what they want.
const LOOKING: &[&str] = &["rejoin", "healthy", "attach", "watching", "roles", "health", "judge"];

/// Every point of the acting steps of a plan, in its order, each kind of step once.
pub fn points(plan: &Value) -> Vec<String> {
    let kind = plan["plan"]["kind"].as_str().unwrap();
    let mut seen: Vec<&str> = Vec::new();
    for step in plan["plan"]["steps"].as_array().unwrap() {
        let step = step["kind"].as_str().unwrap();
        if !LOOKING.contains(&step) && !seen.contains(&step) {
            seen.push(step);
        }
    }
    let both = |step: &&str| ["before", "after"].map(|when| format!("{kind}.{step}:{when}"));
    seen.iter().flat_map(both).collect()
}

/// The plan, as soon as the traces of what happened before allow one.
pub async fn plan(stage: &Stage, kind: &str, params: &Value) -> Value {
    plan_of(stage, SERVICE, kind, params).await
}

/// The same of another service.
pub async fn plan_of(stage: &Stage, service: &str, kind: &str, params: &Value) -> Value {
    let last = std::sync::Mutex::new(Value::Null);
    let what = format!("{kind} can be planned");
    let planned = wait::until_within(&what, wait::PATIENCE * 2, || async {
        match stage.warden.plan(kind, service, params).await {
            Ok(plan) => Some(plan),
            Err(refused) => {
                if *last.lock().unwrap() != refused {
                    println!("{kind}: {refused}");
                    *last.lock().unwrap() = refused;
                }
                None
            }
        }
    });
    planned.await
}

/// Runs the plan to its end and dies at each of the points on the way.
pub async fn through(stage: &mut Stage, plan: &Value, points: &[String]) -> OperationPage {
    let key: String = plan["hash"].as_str().unwrap().chars().take(40).collect();
    let mut next = points.iter();
    let mut point = next.next();
    arm(stage, point);
    let mut made = stage.warden.begin(plan, &key).await;
    let mut deaths = 0;
    let page = loop {
        match died_or_over(stage, made.as_deref()).await {
            None => {
                let word = point.unwrap();
                println!("died at {word}");
                deaths += 1;
                point = next.next();
                stage.warden.disarm();
                arm(stage, point);
                stage.warden.start_again().await;
                // Not before it is ready: it may die at once when it takes the operation up.
                stage.end_leases().await;
                if made.is_none() {
                    // Its answer died with the process; the same key asks for the same operation.
                    made = stage.warden.begin(plan, &key).await;
                }
            }
            Some(page) => break page,
        }
    };
    stage.warden.disarm();
    let story = || format!("{page:#?}\n{}", stage.warden.tail());
    assert_eq!(deaths, points.len(), "passed until {point:?}\n{}", story());
    assert_eq!(page.operation.state, OperationState::Done, "{}", story());
    nothing_held(stage).await;
    page
}

fn arm(stage: &Stage, point: Option<&String>) {
    if let Some(point) = point {
        stage.warden.arm(&format!("{point}:crash"));
    }
}

/// None: it died. Else the operation as it ended.
async fn died_or_over(stage: &mut Stage, id: Option<&str>) -> Option<OperationPage> {
    let end = Instant::now() + 6 * wait::PATIENCE;
    loop {
        if stage.warden.is_dead() {
            let status = stage.warden.ended().await;
            assert!(status.code().is_none(), "it ended with {status}\n{}", stage.warden.tail());
            return None;
        }
        if let Some(page) = stage.warden.try_operation(id.unwrap_or_default()).await
            && page.operation.state.is_final()
        {
            return Some(page);
        }
        assert!(Instant::now() < end, "neither dead nor over\n{}", stage.warden.tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// No lock, no lease, and a trail that is whole.
pub async fn nothing_held(stage: &Stage) {
    let locks = stage.count("SELECT count(*) FROM operation_lock").await;
    let leases = stage.count("SELECT count(*) FROM operation WHERE lease_until > 0").await;
    assert_eq!((locks, leases), (0, 0));
    let report = stage.warden.post("/audit/verify", &json!({})).await;
    let text = report.body.to_string();
    assert_eq!(
        text.matches("\"fault\":").count(),
        text.matches("\"fault\":null").count(),
        "{text}"
    );
}

/// Addresses of the data nodes the inventory lists.
pub async fn listed(stage: &Stage) -> Vec<String> {
    let instances = stage.warden.items("/instances").await;
    let nodes = instances.iter().filter(|i| i["kind"] == "redis");
    nodes.filter_map(|i| i["address"].as_str()).map(str::to_string).collect()
}

#[test]
fn every_acting_step_of_these_kinds_is_passed_by_a_test() {
    use OperationKind::*;
    let passed = [
        (ReplicaAdd, super::replicas::ADDED),
        (ReplicaRemove, super::replicas::REMOVED),
        (RollingRestart, super::rolling::RESTARTED),
        (Upgrade, super::rolling::RESTARTED),
        (ShardAdd, super::shards::ADDED),
        (ShardRemove, super::shards::REMOVED),
        (Rebalance, super::shards::MOVED),
        (Backup, super::keep::KEPT),
        (Restore, super::keep::RESTORED),
        (Evacuate, super::zones::EMPTIED),
        (ZoneRestore, super::zones::FILLED),
    ];
    let moved = ops::plan::steps_of(NodeMove).iter();
    let (more, less) = (super::replicas::ADDED, super::replicas::REMOVED);
    for step in moved.filter(|s| !LOOKING.contains(*s)) {
        assert!(more.contains(step) || less.contains(step), "node_move.{step}");
    }
    for (kind, steps) in passed {
        for step in ops::plan::steps_of(kind) {
            assert!(steps.contains(step) || LOOKING.contains(step), "{}.{step}", kind.as_str());
        }
    }
}
