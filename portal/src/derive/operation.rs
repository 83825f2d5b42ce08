//! Progress of an operation and the plan before it.

use model::At;
use model::operation::{OperationState, StepState};
use model::plan::Plan;
use model::view::OperationPage;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::frame::Frame;

pub(super) fn derive(v: &OperationPage, frame: &Frame) -> Value {
    let end = v.operation.ended_at.unwrap_or(frame.now);
    let done = v.steps.iter().filter(|s| s.state == StepState::Done).count();
    let elapsed: Vec<Option<i64>> = v
        .steps
        .iter()
        .map(|s| s.started_at.map(|at| s.ended_at.unwrap_or(end).since_ms(at).max(0)))
        .collect();
    let waves = v.rows.iter().filter(|r| r.wave > 0);
    let rows_done = waves.clone().filter(|r| r.state == Some(OperationState::Done)).count();
    let outcome: Vec<Value> = v
        .operation
        .outcome
        .as_object()
        .map(|o| o.iter().map(|(k, v)| json!({ "name": k, "value": v })).collect())
        .unwrap_or_default();
    json!({
        "done": done,
        "total": v.steps.len(),
        "ratio": if v.steps.is_empty() { 0.0 } else { done as f64 / v.steps.len() as f64 },
        "progress_kind": progress_kind(v.operation.state),
        "elapsed_ms": end.since_ms(v.operation.started_at.unwrap_or(v.operation.created_at)),
        "step_ms": elapsed,
        "outcome": outcome,
        "rows_done": rows_done,
        "rows_all": waves.count(),
        "final": v.operation.state.is_final(),
    })
}

fn progress_kind(state: OperationState) -> &'static str {
    match state {
        OperationState::Done => "ok",
        OperationState::Stuck => "crit",
        OperationState::Unwinding | OperationState::Unwound | OperationState::Refused => "warn",
        _ => "info",
    }
}

/// What the plan page carries: `{plan, hash, error}`.
#[derive(Deserialize)]
struct PlanPage {
    plan: Plan,
    hash: String,
}

pub(super) fn plan(value: &Value, frame: &Frame) -> Result<Value, serde_json::Error> {
    let PlanPage { plan, hash } = PlanPage::deserialize(value)?;
    let failed = plan.checks.iter().filter(|c| !c.passed).count();
    let expired = frame.now > plan.expires_at && plan.expires_at > At::EPOCH;
    let named = ["target", "instance"].iter().find_map(|n| plan.params.get(*n)?.as_str());
    let target = named.unwrap_or_default();
    let aim = if target.is_empty() { String::new() } else { format!(" --target {target}") };
    let (aim, confirm) = (aim + &further(&plan), confirmed(&plan));
    let (kind, service) = (plan.kind.as_str(), &plan.service);
    let command = format!("cachewarden op run {kind} {service}{aim}{confirm} --reason TEXT");
    Ok(json!({
        "failed": failed,
        "passed": plan.checks.len() - failed,
        "expired": expired,
        "startable": failed == 0 && !expired,
        // The same plan made at another time is another wish; the same form sent twice is not.
        "idem_key": format!("{}-{}", &hash.chars().take(32).collect::<String>(), plan.made_at.ms()),
        "cli": command,
        "api": format!(
            "curl -X POST -H \"Authorization: Bearer $CACHEWARDEN_TOKEN\" -H 'Content-Type: application/json' \"$CACHEWARDEN_URL/api/v1/operations\" -d '{}'",
            json!({ "plan": hash, "confirm": plan.confirm, "reason": "TEXT" })
        ),
        "target": target,
        "params": plan.params.to_string(),
    }))
}

fn confirmed(plan: &Plan) -> String {
    if plan.confirm.is_empty() { String::new() } else { format!(" --confirm {}", plan.confirm) }
}

/// The rest of the input, as the command line takes it.
fn further(plan: &Plan) -> String {
    let given = plan.params.as_object().into_iter().flatten();
    let told = given.filter(|(name, value)| {
        let empty = value.is_null()
            || value == &&json!(false)
            || value.as_array().is_some_and(Vec::is_empty);
        !empty && !["target", "instance"].contains(&name.as_str())
    });
    let mut out = String::new();
    for (name, value) in told {
        match (name.as_str(), value.as_object()) {
            ("set", Some(set)) => set.iter().for_each(|(name, value)| {
                let plain = value.as_str().map_or_else(|| value.to_string(), str::to_string);
                out.push_str(&format!(" --set {}", quoted(&format!("{name}={plain}"))));
            }),
            _ => {
                let plain = value.as_str().map_or_else(|| value.to_string(), str::to_string);
                out.push_str(&format!(" --param {}", quoted(&format!("{name}={plain}"))));
            }
        }
    }
    out
}

/// A word of a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "=-_.:/@,".contains(c);
    match word.chars().all(plain) {
        true => word.to_string(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}
