//! A wave of a batch: its parts are begun as operations of their own and awaited; then it is judged.
//!
//! Invariants: a part is begun once, by a key made of batch, step and row, whoever resumes; a part that
//! its own checks refuse is written down as refused; what a part did stays. After a wave that went
//! wrong nothing further begins before a person said so.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use model::ServiceId;
use model::batch::{Move, zone_of};
use model::operation::{Operation, OperationKind, OperationState, StepState};
use model::plan::Plan;
use model::refusal::Refusal;
use serde_json::{Value, json};
use store::NewOperation;

use super::{ActError, Cx, Observed};
use crate::plan::{self, Means};

/// A node that saves or loads is asked again that many times; each try waits for it by itself.
const BUSY_TRIES: u32 = 3;
/// Between two of them.
const BUSY_EVERY: Duration = Duration::from_secs(2);
/// Share of a batch's parts that may fail before a person is asked.
const FAILED_MAX: f64 = 0.05;

fn rows(cx: &Cx<'_>) -> Result<Vec<Move>, ActError> {
    let rows = serde_json::from_value(cx.step.args["rows"].clone());
    rows.map_err(|e| ActError::Failed(format!("the step's rows: {e}")))
}

/// The key of a part: the same for everybody who works on this batch.
pub(super) fn key(operation: &str, seq: u32, row: usize) -> String {
    format!("{operation}/{seq}/{row}")
}

/// Step and row a part belongs to.
pub(crate) fn belongs(part: &Operation) -> Option<(u32, usize)> {
    let mut words = part.idem_key.rsplit('/');
    let row = words.next()?.parse().ok()?;
    Some((words.next()?.parse().ok()?, row))
}

fn failed(part: &Operation) -> bool {
    part.state.is_final() && part.state != OperationState::Done
}

async fn parts(cx: &Cx<'_>) -> Result<Vec<Operation>, String> {
    let store = cx.store().map_err(|e| e.to_string())?;
    store.operation_parts(&cx.operation.id).await.map_err(|e| e.to_string())
}

/// Whether every part is over, however.
pub(super) async fn observe(cx: &Cx<'_>) -> Observed {
    let wished = match rows(cx) {
        Ok(rows) => rows.len(),
        Err(e) => return Observed::Other(e.to_string()),
    };
    let all = match parts(cx).await {
        Ok(all) => all,
        Err(why) => return Observed::Unknown(why),
    };
    let own = |p: &&Operation| belongs(p).is_some_and(|(seq, _)| seq == cx.step.seq);
    let own: Vec<&Operation> = all.iter().filter(own).collect();
    let over = own.iter().filter(|p| p.state.is_final()).count();
    if own.len() < wished {
        return Observed::NotYet(format!("{} of {wished} are begun", own.len()));
    }
    if over < wished {
        return Observed::NotYet(format!("{over} of {wished} are over"));
    }
    let told =
        |p: &&Operation| json!({ "service": p.service, "operation": p.id, "state": p.state });
    Observed::Wished(json!({ "parts": own.iter().map(told).collect::<Vec<_>>() }))
}

pub(super) async fn apply(cx: &Cx<'_>) -> Result<(), ActError> {
    let rows = rows(cx)?;
    let begun = join_all(rows.iter().enumerate().map(|(n, row)| begin(cx, n, row))).await;
    begun.into_iter().collect()
}

/// Begins a part, unless it is there.
pub(super) async fn begin(cx: &Cx<'_>, n: usize, row: &Move) -> Result<(), ActError> {
    let retry = |e: store::Error| ActError::Retry(e.to_string());
    let (store, caller) = cx.tree()?;
    let key = key(&cx.operation.id, cx.step.seq, n);
    if store.operation_by_key(&key).await.map_err(retry)?.is_some() {
        return Ok(());
    }
    let (plan, refused) = match asked(cx).await?.0 {
        true => (nothing(cx, row), Some("a person stopped the batch before".to_string())),
        false => match planned(cx, row).await {
            Ok(plan) => (plan, None),
            Err(refusal) => (nothing(cx, row), Some(refusal.to_string())),
        },
    };
    cx.command(&row.service, format!("begin {}", plan.title))?;
    let new = NewOperation {
        idem_key: key,
        plan,
        why: format!("part of {}: {}", cx.operation.id, cx.operation.why),
        incident: None,
        parent: Some(cx.operation.id.clone()),
        refused,
    };
    let made = store.operation_create(caller, new, (cx.world.clock)()).await;
    made.map(drop).map_err(retry)
}

/// Whether somebody asked the batch to stop, or to wait.
async fn asked(cx: &Cx<'_>) -> Result<(bool, bool), ActError> {
    let own = cx.store()?.operation_by_key(&cx.operation.idem_key).await;
    let own = own.map_err(|e| ActError::Retry(e.to_string()))?;
    Ok(own.map_or((false, false), |o| (o.cancel_requested, o.pause_requested)))
}

/// The part's plan in the present world. A server that is busy is waited for.
async fn planned(cx: &Cx<'_>, row: &Move) -> Result<Plan, Refusal> {
    let mut tries = 1;
    loop {
        let (kind, now) = (OperationKind::Switchover, (cx.world.clock)());
        let means = Means { store: cx.store().ok(), ..Means::default() };
        let made = plan::make(cx.world, &means, kind, &row.service, &row.params, now).await;
        match made {
            Err(busy) if busy.check == "P6" && tries < BUSY_TRIES && cx.may_send().is_ok() => {
                tries += 1;
                tokio::time::sleep(BUSY_EVERY).await;
            }
            made => return made,
        }
    }
}

/// What stands in the record of a part that was refused: a plan that does nothing.
fn nothing(cx: &Cx<'_>, row: &Move) -> Plan {
    let now = (cx.world.clock)();
    Plan {
        kind: OperationKind::Switchover,
        kind_version: plan::version_of(OperationKind::Switchover),
        service: row.service.clone(),
        params: row.params.clone(),
        title: format!("Make {} the master instead of {}", row.to, row.from),
        blast_radius: String::new(),
        level: 0,
        confirm: String::new(),
        world: Value::Null,
        checks: Vec::new(),
        steps: Vec::new(),
        locks: Vec::new(),
        made_at: now,
        expires_at: now,
    }
}

/// Whether the wave went well, for as long as it is to be watched.
pub(super) async fn observe_judged(cx: &Cx<'_>) -> Observed {
    let parts = match parts(cx).await {
        Ok(parts) => parts,
        Err(why) => return Observed::Unknown(why),
    };
    match ill(cx, &parts).await {
        Err(why) => return Observed::Unknown(why),
        Ok(Some(why)) => return Observed::Hold(why),
        Ok(None) => {}
    }
    // Who asks is heard between steps: a watch of an hour is no reason to let him wait.
    if let Ok((true, _) | (_, true)) = asked(cx).await {
        return Observed::Wished(json!({ "watched_ms": 0, "asked": true }));
    }
    let soak_ms = cx.step.args["soak_s"].as_i64().unwrap_or_default() * 1_000;
    let ended = own(cx, &parts).filter_map(|p| p.ended_at).max();
    let waited = ended.map_or(soak_ms, |at| (cx.world.clock)().since_ms(at));
    match waited >= soak_ms {
        true => Observed::Wished(json!({ "watched_ms": waited.max(0) })),
        false => Observed::NotYet(format!("watched for {waited} of {soak_ms} ms")),
    }
}

/// The parts of the wave that is judged.
fn own<'p>(cx: &Cx<'_>, parts: &'p [Operation]) -> impl Iterator<Item = &'p Operation> {
    let wave = cx.step.args["seq"].as_u64();
    parts.iter().filter(move |p| belongs(p).map(|(seq, _)| u64::from(seq)) == wave)
}

/// The stop rule that is met.
async fn ill(cx: &Cx<'_>, parts: &[Operation]) -> Result<Option<String>, String> {
    let store = cx.store().map_err(|e| e.to_string())?;
    let bad: Vec<&Operation> = own(cx, parts).filter(|p| failed(p)).collect();
    for part in &bad {
        let steps = store.operation_steps_of(&part.id).await.map_err(|e| e.to_string())?;
        if steps.iter().any(|s| s.kind == "data" && s.state == StepState::Failed) {
            return Ok(Some(format!("the data path of {} is broken", part.service)));
        }
    }
    let total = cx.step.args["total"].as_u64().unwrap_or(1).max(1);
    if let Some(why) = too_many(parts, &bad, total) {
        return Ok(Some(why));
    }
    if let Some(why) = zone_of(&cx.operation.service).and_then(|z| plan::zone::unwell(cx.world, &z))
    {
        return Ok(Some(why));
    }
    let moved: BTreeSet<&ServiceId> = parts.iter().map(|p| &p.service).collect();
    let critical =
        store.alerts_critical_on(cx.operation.created_at).await.map_err(|e| e.to_string())?;
    let hit = critical.iter().find(|(service, _)| moved.iter().any(|m| m.as_str() == service));
    Ok(hit.map(|(service, alert)| format!("{alert} fires on {service}")))
}

/// Two failures one after the other, or too many of all.
fn too_many(parts: &[Operation], bad: &[&Operation], total: u64) -> Option<String> {
    let last = bad.last()?;
    let told = |p: &Operation| format!("{} is {}: {}", p.service, p.state.as_str(), p.reason);
    let over: Vec<&Operation> = parts.iter().filter(|p| p.state.is_final()).collect();
    let row = over
        .windows(2)
        .find(|w| failed(w[0]) && failed(w[1]) && bad.iter().any(|b| b.id == w[1].id));
    if let Some([one, two]) = row {
        return Some(format!("two failed in a row: {}; {}", told(one), told(two)));
    }
    let all = parts.iter().filter(|p| failed(p)).count();
    let share = all as f64 / total as f64;
    (share > FAILED_MAX).then(|| format!("{all} of {total} failed: {}", told(last)))
}
