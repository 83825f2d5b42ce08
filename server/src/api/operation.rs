//! Operations: plan, start, follow, cancel.
//!
//! Invariant: what is started is the plan whose hash was named, made again at the last moment; one
//! idempotency key starts one operation, over a restart too. Refuses to know what a step does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::http::{StatusCode, header};
use model::At;
use model::ServiceId;
use model::audit::{canonical, sha256_hex};
use model::caller::Caller;
use model::code::{Code, Problem};
use model::operation::{Operation, OperationKind, OperationState};
use model::right::{Place, Right};
use model::view::{List, OperationItem, OperationPage};
use ops::engine::{Submission, SubmitError};
use portal::Page;
use serde::Deserialize;
use serde_json::{Value, json};
use store::{KEY_MAX, OperationFilter, Replay};

use super::ask::{Answer, Ask, Fail, invalid};
use super::sight::Sight;
use super::{Api, batch, brief, list, problem, zone};
use crate::app::App;

/// Plans remembered between look and start: more than the people who look at one at a time.
const PLANS_MAX: usize = 1_000;
/// Newest operations a filtered list is made from.
const LOOKED_AT: i64 = 5_000;
/// Journal lines of the page: the longest operation of this part writes some hundred.
const EVENTS_MAX: i64 = 2_000;

/// What a plan was made from, by its hash: a form names only the hash.
#[derive(Default)]
pub struct Plans(Mutex<HashMap<String, (Wish, At)>>);

impl Plans {
    fn keep(&self, hash: &str, wish: Wish, expires_at: At, now: At) {
        let mut map = self.0.lock().expect("no panic while held");
        map.retain(|_, (_, until)| *until > now);
        if map.len() < PLANS_MAX {
            map.insert(hash.into(), (wish, expires_at));
        }
    }

    fn get(&self, hash: &str) -> Option<Wish> {
        self.0.lock().expect("no panic while held").get(hash).map(|(wish, _)| wish.clone())
    }
}

/// What is asked for.
#[derive(Debug, Clone, Deserialize)]
pub struct Wish {
    kind: String,
    service: String,
    #[serde(default)]
    params: Value,
}

impl Wish {
    fn parts(&self) -> Result<(OperationKind, ServiceId, Value), Fail> {
        let kind = OperationKind::parse(&self.kind).ok_or_else(|| {
            let known: Vec<&str> = OperationKind::ALL.iter().map(|k| k.as_str()).collect();
            invalid("/kind", format!("{:?}: expected {}", self.kind, known.join(", ")))
        })?;
        let unknown = |_| problem::not_found(&format!("service {}", short(&self.service)));
        let service = model::batch::named(kind, &self.service).map_err(unknown)?;
        let params = if self.params.is_null() { json!({}) } else { self.params.clone() };
        Ok((kind, service, params))
    }
}

fn short(text: &str) -> String {
    text.chars().take(120).collect()
}

/// `POST /operations/plans`.
pub async fn plan(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let wish: Wish = ask.json()?;
    let value = plan_value(&api, &ask, wish).await?;
    Ok(Answer::ok(value).page(Page::Plan))
}

/// `{plan, hash, error: null}` of a wish.
async fn plan_value(api: &Api, ask: &Ask, wish: Wish) -> Result<Value, Fail> {
    let (kind, service, params) = wish.parts()?;
    // What he may not see, and what is not there, have near names in his own sight only.
    if !kind.of_zone() {
        Sight::new(&api.app, ask).service(service.as_str())?;
    }
    let made = api.app.engine.plan(&ask.caller, kind, &service, &params, ask.now).await;
    let (mut plan, hash) = made.map_err(refused)?;
    // What its checks saw is no part of a plan's hash.
    if let Some(zone) = model::batch::zone_of(&service) {
        plan.checks.push(zone::foretold(&api.app, ask, &zone).await);
    }
    api.plans.keep(&hash, wish, plan.expires_at, ask.now);
    Ok(json!({ "plan": plan, "hash": hash, "error": null }))
}

/// The plan page again for a start that was refused, with the refusal; none when no plan can be
/// made now.
pub async fn plan_again(api: &Api, ask: &Ask, refusal: &Problem) -> Option<Value> {
    let hash = ask.json::<Value>().ok()?["plan"].as_str()?.to_string();
    let mut value = match refusal.errors.iter().find(|e| e["plan"].is_object()) {
        Some(moved) => json!({ "plan": moved["plan"], "hash": moved["hash"] }),
        None => plan_value(api, ask, api.plans.get(&hash)?).await.ok()?,
    };
    value["error"] = serde_json::to_value(refusal).ok()?;
    Some(value)
}

#[derive(Deserialize)]
struct Start {
    /// Hash of the plan.
    plan: String,
    #[serde(default)]
    confirm: String,
    #[serde(default)]
    reason: String,
    /// A form's way to send `Idempotency-Key`.
    #[serde(default)]
    idem_key: String,
    /// What the plan was made from; needed when this process does not remember it.
    #[serde(flatten)]
    wish: Option<Wish>,
}

/// `POST /operations`.
pub async fn create(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let start: Start = ask.json()?;
    let key = idem_key(&api, &ask, &start).await?;
    let request_hash = request_hash(&ask)?;
    let kept = api.app.store.replay_get(&ask.caller, &key, &request_hash, ask.now).await;
    if let Some(replay) = kept.map_err(reused)? {
        let value: Value = serde_json::from_str(&replay.answer).unwrap_or_default();
        return Ok(started(value));
    }
    let wish = start.wish.clone().or_else(|| api.plans.get(&start.plan)).ok_or_else(forgotten)?;
    let (kind, service, params) = wish.parts()?;
    let submission = Submission {
        kind,
        service,
        params,
        plan_hash: start.plan.clone(),
        confirm: start.confirm,
        reason: start.reason,
        idem_key: engine_key(&ask.caller, &key),
        incident: None,
    };
    let operation = api.app.engine.submit(&ask.caller, submission, ask.now).await;
    let operation = operation.map_err(|e| {
        if let SubmitError::PlanMoved { plan, hash } = &e {
            api.plans.keep(hash, wish.clone(), plan.expires_at, ask.now);
        }
        refused(e)
    })?;
    let value = serde_json::to_value(&operation).expect("an operation is plain data");
    let replay = Replay { key, request_hash, status: 201, answer: value.to_string() };
    // Lost with a crash here: the engine knows the key too and answers the same operation.
    if let Err(e) = api.app.store.replay_put(&ask.caller, &replay, ask.now).await {
        tracing::warn!(cause = %e, operation = operation.id, "the answer is not kept");
    }
    Ok(started(value))
}

fn started(value: Value) -> Answer {
    let location = format!("/operations/{}", value["id"].as_str().unwrap_or_default());
    Answer::with(StatusCode::CREATED, value).header(header::LOCATION, location)
}

async fn idem_key(api: &Api, ask: &Ask, start: &Start) -> Result<String, Fail> {
    let key = match ask.header("idempotency-key") {
        "" => start.idem_key.as_str(),
        key => key,
    };
    if key.is_empty() {
        return plan_key(api, ask, &start.plan).await;
    }
    if key.len() > KEY_MAX {
        return Err(invalid(
            "/idem_key",
            format!("an idempotency key has at most {KEY_MAX} characters"),
        ));
    }
    Ok(key.into())
}

/// The key as the engine knows it: of this caller, so nobody else's key can name his operation.
fn engine_key(caller: &Caller, key: &str) -> String {
    sha256_hex(format!("{}\n{key}", caller.name()).as_bytes())
}

/// The key of who sends none: one plan, sent twice, is one operation as long as that has not ended.
/// After its end it is another wish, held against the present world like every other.
async fn plan_key(api: &Api, ask: &Ask, plan: &str) -> Result<String, Fail> {
    let mut nth = 0;
    loop {
        let key = derived_key(plan, nth);
        let made = api.app.store.operation_by_key(&engine_key(&ask.caller, &key)).await?;
        if made.is_none_or(|o| !o.state.is_final()) {
            return Ok(key);
        }
        nth += 1;
    }
}

fn derived_key(plan: &str, nth: u32) -> String {
    sha256_hex(format!("plan\n{plan}\n{nth}").as_bytes())
}

/// Route and body; the key itself is no part of the request.
pub fn request_hash(ask: &Ask) -> Result<String, Fail> {
    let mut body: Value = ask.json()?;
    if let Some(map) = body.as_object_mut() {
        map.remove("idem_key");
    }
    Ok(sha256_hex(format!("{}\n{}", ask.action.id, canonical(&body)).as_bytes()))
}

/// The key belongs to another request.
pub fn reused(e: store::Error) -> Fail {
    match e {
        store::Error::Conflict(text) => {
            Problem::new(Code::KeyReused, text, "Use a new key for a new request.").into()
        }
        other => other.into(),
    }
}

fn forgotten() -> Fail {
    Problem::new(
        Code::PlanMoved,
        "the plan of that hash is not known any more",
        "Make the plan again, or send kind, service and params beside its hash.",
    )
    .into()
}

pub(super) fn refused(e: SubmitError) -> Fail {
    match e {
        SubmitError::Refused(refusal) => problem::of_refusal(&refusal).into(),
        SubmitError::PlanMoved { plan, hash } => {
            let mut p = Problem::new(
                Code::PlanMoved,
                "the world has changed since the plan was made; nothing was sent",
                "Look at the new plan (in errors) and confirm that one.",
            );
            p.errors.push(json!({ "plan": plan, "hash": hash }));
            p.into()
        }
        SubmitError::Confirm { expected } => {
            let mut p = Problem::new(
                Code::Confirmation,
                format!("type exactly {expected} to confirm"),
                "Send it as confirm.",
            );
            p.errors
                .push(json!({ "pointer": "/confirm", "detail": format!("expected {expected}") }));
            p.into()
        }
        SubmitError::Invalid(text) => invalid("", text),
        SubmitError::Store(e) => reused(e),
    }
}

/// `GET /operations`.
pub async fn list(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let state =
        match ask.query("state") {
            "" => None,
            word => Some(OperationState::parse(word).ok_or_else(|| {
                invalid("/state", format!("{word:?} is no state of an operation"))
            })?),
        };
    let filter = OperationFilter { state, ..OperationFilter::default() };
    let filtered = !ask.query("q").is_empty() || !ask.query("in").is_empty();
    let page = match filtered {
        true => filtered_page(&api, &ask, &filter).await?,
        false => whole_page(&api, &ask, &filter).await?,
    };
    Ok(Answer::ok(page).page(Page::Operations))
}

async fn whole_page(
    api: &Api,
    ask: &Ask,
    filter: &OperationFilter,
) -> Result<List<OperationItem>, Fail> {
    let (store, limit) = (&api.app.store, list::limit(ask));
    let count = store.operation_count(&ask.caller, filter).await?;
    let before = list::cursor(ask);
    let found = store.operation_list(&ask.caller, filter, limit as i64 + 1, before).await?;
    let more = found.len() > limit;
    let shown = &found[..found.len().min(limit)];
    let next = shown.last().filter(|_| more).map(|o| o.id.clone());
    let items = items(&api.app, &ask.caller, shown, ask.now).await;
    Ok(List { items, next, count: count as usize, as_of: ask.now })
}

async fn filtered_page(
    api: &Api,
    ask: &Ask,
    filter: &OperationFilter,
) -> Result<List<OperationItem>, Fail> {
    let mut found = api.app.store.operation_list(&ask.caller, filter, LOOKED_AT, None).await?;
    let (q, scope) = (ask.query("q"), ask.query("in"));
    {
        let sight = Sight::new(&api.app, ask);
        found.retain(|o| {
            let service = sight.inventory.services.get(&o.service);
            let inside = scope.is_empty()
                || o.tenant.as_str() == scope
                || service.is_some_and(|s| sight.inside(scope, s));
            let texts = [
                o.service.as_str(),
                o.kind.as_str(),
                o.state.as_str(),
                &o.plan.title,
                &o.created_by,
            ];
            inside && list::matches(q, &texts)
        });
    }
    let page = list::page(ask, found, |o| o.id.clone(), ask.now);
    let items = items(&api.app, &ask.caller, &page.items, ask.now).await;
    Ok(List { items, next: page.next, count: page.count, as_of: page.as_of })
}

/// Operations as lines of a list; steps that cannot be read count as not done.
pub async fn items(
    app: &App,
    caller: &Caller,
    operations: &[Operation],
    now: At,
) -> Vec<OperationItem> {
    let mut items = Vec::with_capacity(operations.len());
    for o in operations {
        let steps = app.store.operation_steps(caller, &o.id).await.unwrap_or_default();
        items.push(brief::operation(o, &steps, now));
    }
    items
}

/// `GET /operations/{id}`.
pub async fn get(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    Ok(Answer::ok(page(&api.app, &ask.caller, ask.id()).await?).page(Page::Operation))
}

/// An operation with its steps and journal.
pub async fn page(app: &App, caller: &Caller, id: &str) -> Result<OperationPage, Fail> {
    let operation = app.store.operation_get(caller, id).await?;
    let place = match app.inventory().services.get(&operation.service) {
        Some(service) => Place::service(&service.id, &service.system),
        None => match model::batch::zone_of(&operation.service) {
            Some(zone) => model::batch::place_of(&zone),
            None => Place::tenant(&operation.tenant),
        },
    };
    let steps = app.store.operation_steps(caller, id).await?;
    let open = !operation.cancel_requested && operation.past_stopping(&steps).is_none();
    let may_steer = caller.may(Right::OpCancel, &place);
    let waits = operation.state == OperationState::AwaitingApproval;
    let own = operation.created_by == caller.name();
    let running = matches!(operation.state, OperationState::Queued | OperationState::Running);
    let held = operation.state == OperationState::Paused || operation.pause_requested;
    Ok(OperationPage {
        rows: batch::rows(app, &operation).await?,
        steps,
        events: app.store.operation_events(caller, id, 0, EVENTS_MAX).await?,
        cancellable: open && may_steer,
        approvals: app.store.approvals(caller, id).await?,
        approvable: waits && !own && caller.may(Right::OpApprove, &place),
        pausable: running && !operation.pause_requested && may_steer,
        resumable: held && !operation.state.is_final() && may_steer,
        operation,
    })
}

/// `POST /operations/{id}/cancel`.
pub async fn cancel(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    #[derive(Deserialize)]
    struct Cancel {
        #[serde(default)]
        reason: String,
    }
    let reason = match ask.body.is_empty() {
        true => String::new(),
        false => ask.json::<Cancel>()?.reason,
    };
    let reason = if reason.trim().is_empty() { "no reason given".to_string() } else { reason };
    let reason: String = reason.chars().take(400).collect();
    let operation = api.app.engine.cancel(&ask.caller, ask.id(), &reason, ask.now).await?;
    Ok(Answer::with(StatusCode::ACCEPTED, operation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_sent_without_a_key_has_the_same_one_each_time() {
        let key = derived_key("plan-a", 0);
        assert_eq!(key, derived_key("plan-a", 0));
        assert!(key.len() <= KEY_MAX, "{key}");
        assert!(key != derived_key("plan-b", 0) && key != derived_key("plan-a", 1));
    }
}
