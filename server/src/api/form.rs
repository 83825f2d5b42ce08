//! Forms of the pages: the same handlers, asked by a urlencoded body, answered by 303.
//!
//! Invariant: a form adds no power: each is one action of the API, with its right, behind the origin
//! check and the session's token.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use model::action::{self, Action};
use model::code::{Code, Problem};
use portal::Page;
use serde_json::{Value, json};

use super::ask::{Answer, Ask, Fail, put_headers};
use super::gate::{self, Mount, Visit, pairs};
use super::page::{self, Viewer, see_other};
use super::{
    Api, Handler, alert_form, history, item, item_form, operation, policy, policy_form, routes,
    run, score_policy, score_policy_form,
};
use crate::app::App;

pub(super) type Fields = BTreeMap<String, String>;

/// One form: where it is posted, the action behind it, its body as the API reads it.
struct Form {
    path: &'static str,
    action: &'static str,
    body: fn(&Fields) -> Value,
}

const FORMS: [Form; 31] = [
    Form { path: "/session", action: "session.create", body: credentials },
    Form { path: "/session/delete", action: "session.delete", body: |_| json!({}) },
    Form { path: "/operations/plans", action: "operation.plan", body: wish },
    Form { path: "/operations", action: "operation.create", body: start },
    Form { path: "/operations/{id}/cancel", action: "operation.cancel", body: cancel },
    Form { path: "/incidents/{id}/approve", action: "incident.approve", body: approval },
    Form { path: "/operations/{id}/approve", action: "operation.approve", body: word },
    Form { path: "/operations/{id}/pause", action: "operation.pause", body: |_| json!({}) },
    Form { path: "/operations/{id}/resume", action: "operation.resume", body: |_| json!({}) },
    Form { path: "/instances/{id}/console", action: "console.run", body: line },
    Form { path: "/kill-switch", action: "kill_switch.set", body: kill_switch },
    Form { path: "/items", action: "item.put", body: item_form::definition },
    Form { path: "/items/check", action: "item.check", body: item_form::definition },
    Form { path: "/items/test", action: "item.test", body: item_form::trial },
    Form { path: "/items/{id}/delete", action: "item.delete", body: item_form::delete },
    Form { path: "/items/{id}/restore", action: "item.restore", body: item_form::restore },
    Form {
        path: "/score-policies/preview",
        action: "score_policy.preview",
        body: score_policy_form::draft,
    },
    Form { path: "/score-policies", action: "score_policy.put", body: score_policy_form::change },
    Form {
        path: "/services/{id}/profile",
        action: "service.profile",
        body: score_policy_form::profile,
    },
    Form { path: "/policies/check", action: "policy.check", body: policy_form::draft },
    Form { path: "/policies/backtest", action: "policy.backtest", body: policy_form::backtest },
    Form { path: "/policies", action: "policy.put", body: policy_form::change },
    Form { path: "/policies/{id}/restore", action: "policy.restore", body: policy_form::place },
    Form { path: "/policies/{id}/retire", action: "policy.retire", body: policy_form::place },
    Form { path: "/alerts/{id}/ack", action: "alert.ack", body: history::ack_form },
    Form { path: "/silences", action: "silence.create", body: alert_form::silence },
    Form { path: "/silences/{id}/expire", action: "silence.expire", body: |_| json!({}) },
    Form { path: "/maintenance", action: "maintenance.create", body: alert_form::maintenance },
    Form { path: "/maintenance/{id}/end", action: "maintenance.end", body: |_| json!({}) },
    Form { path: "/calendars", action: "calendar.put", body: alert_form::calendar },
    Form { path: "/calendars/{id}/delete", action: "calendar.delete", body: |_| json!({}) },
];

pub(super) fn field(fields: &Fields, name: &str) -> String {
    fields.get(name).cloned().unwrap_or_default()
}

fn credentials(f: &Fields) -> Value {
    let mut body = json!({ "name": field(f, "name"), "password": field(f, "password") });
    if !field(f, "setup_token").is_empty() {
        body["setup_token"] = field(f, "setup_token").into();
    }
    body
}

fn wish(f: &Fields) -> Value {
    let kind = field(f, "kind");
    // What a form calls its target, each kind calls by its own name.
    let name = if matches!(
        kind.as_str(),
        "node_restart" | "replica_remove" | "restore" | "node_move" | "demote"
    ) {
        "instance"
    } else {
        "target"
    };
    let mut params = json!({});
    for (given, name) in [("target", name), ("discovery", "discovery")] {
        if !field(f, given).is_empty() {
            params[name] = field(f, given).into();
        }
    }
    let given = field(f, "params");
    if !given.trim().is_empty() {
        // What is no JSON goes on as the text it is: the plan says what it expects instead.
        params = serde_json::from_str(&given).unwrap_or(Value::String(given));
    }
    if !field(f, "name").is_empty() && params.is_object() {
        params["set"] = json!({ field(f, "name"): field(f, "value") });
    }
    json!({ "kind": kind, "service": field(f, "service"), "params": params })
}

fn start(f: &Fields) -> Value {
    json!({
        "plan": field(f, "plan"), "confirm": field(f, "confirm").trim(),
        "reason": field(f, "reason"), "idem_key": field(f, "idem_key"),
    })
}

fn cancel(f: &Fields) -> Value {
    json!({ "reason": field(f, "reason") })
}

fn approval(f: &Fields) -> Value {
    json!({ "plan": field(f, "plan"), "reason": field(f, "reason") })
}

fn word(f: &Fields) -> Value {
    json!({
        "plan": field(f, "plan"), "approve": field(f, "approve") == "true",
        "reason": field(f, "reason"),
    })
}

fn line(f: &Fields) -> Value {
    json!({ "command": field(f, "command") })
}

fn kill_switch(f: &Fields) -> Value {
    json!({ "on": field(f, "on") == "true", "reason": field(f, "reason") })
}

/// Adds the forms.
pub fn mount(mut router: Router<Arc<App>>, api: &Arc<Api>) -> Router<Arc<App>> {
    for form in FORMS {
        let action = action::action(form.action).expect("a form's action is in the table");
        let route = routes().into_iter().find(|r| r.action.id == action.id);
        let handler = route.expect("every action is mounted").handler;
        let api = api.clone();
        let take = move |request| submit(api.clone(), action, form.body, handler.clone(), request);
        router = router.route(form.path, post(take));
    }
    router
}

async fn submit(
    api: Arc<Api>,
    action: &'static Action,
    shape: fn(&Fields) -> Value,
    handler: Handler,
    request: Request,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let visit = Visit::of(&mut parts).await;
    let mut ask = match gate::admit(&api.app, action, &visit, Mount::Form, body).await {
        Ok(ask) => ask,
        Err(Fail(problem)) => {
            let who = crate::auth::caller(&api.app, &visit.headers, visit.peer).await.ok();
            let viewer = who.as_ref().map(|(c, s)| Viewer { caller: c, session: s.as_ref() });
            return page::error(&api.app, &visit, viewer, *problem).await;
        }
    };
    let fields = pairs(&String::from_utf8_lossy(&ask.body));
    as_json(&mut ask, &shape(&fields));
    let again = copy(&ask);
    match run(&api, &handler, ask, &visit).await {
        Ok(answer) => accepted(&api, &visit, &again, &fields, answer).await,
        Err(Fail(problem)) => rejected(&api, &visit, &again, &fields, *problem).await,
    }
}

/// The form's body as the API reads it. What a page shows has no older revision to be held against.
fn as_json(ask: &mut Ask, body: &Value) {
    ask.body = Bytes::from(body.to_string());
    ask.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    ask.headers.insert(header::IF_MATCH, HeaderValue::from_static("*"));
}

/// The same request again: for drawing the page it came from.
fn copy(ask: &Ask) -> Ask {
    Ask {
        action: ask.action,
        caller: ask.caller.clone(),
        session: ask.session.clone(),
        path: ask.path.clone(),
        query: ask.query.clone(),
        headers: ask.headers.clone(),
        peer: ask.peer,
        body: ask.body.clone(),
        now: ask.now,
    }
}

async fn accepted(
    api: &Api,
    visit: &Visit,
    ask: &Ask,
    fields: &Fields,
    answer: Answer,
) -> Response {
    let next = field(fields, "next");
    let id = ask.id().to_string();
    let target = match ask.action.id {
        "session.create" => page::local(&next).to_string(),
        "session.delete" => "/login".into(),
        "operation.cancel" | "operation.approve" | "operation.pause" | "operation.resume" => {
            format!("/operations/{id}")
        }
        "kill_switch.set" => "/incidents".into(),
        "incident.approve" => format!("/incidents/{id}"),
        "item.put" | "item.restore" => {
            format!("/items/{}", page::encode(answer.value["id"].as_str().unwrap_or_default()))
        }
        "item.delete" => "/items".into(),
        "score_policy.put" | "service.profile" => {
            let scope = answer.value["id"].as_str().unwrap_or_default();
            format!("/score-policies/{}", page::encode(scope))
        }
        "policy.put" | "policy.restore" | "policy.retire" => {
            let text = |name: &str| page::encode(answer.value[name].as_str().unwrap_or_default());
            format!("/policies/{}?scope={}", text("id"), text("scope"))
        }
        "alert.ack" => format!("/alerts/{id}"),
        "silence.create" | "silence.expire" => "/silences".into(),
        "maintenance.create" | "maintenance.end" => "/maintenance".into(),
        "calendar.put" | "calendar.delete" => "/calendars".into(),
        "operation.create" => {
            let made = answer.value["id"].as_str().unwrap_or_default();
            format!("/operations/{made}")
        }
        _ => {
            let viewer = Viewer { caller: &ask.caller, session: ask.session.as_ref() };
            return page::page(&api.app, visit, viewer, answer).await;
        }
    };
    let mut response = see_other(&target);
    let cookies = answer.headers.into_iter().filter(|(name, _)| *name == header::SET_COOKIE);
    put_headers(response.headers_mut(), cookies.collect());
    response
}

async fn rejected(
    api: &Api,
    visit: &Visit,
    ask: &Ask,
    fields: &Fields,
    problem: Problem,
) -> Response {
    if ask.action.id == "session.create" {
        return page::login(&api.app, visit, &field(fields, "next"), Some(problem)).await;
    }
    let viewer = Viewer { caller: &ask.caller, session: ask.session.as_ref() };
    let again = [Code::PlanMoved, Code::Confirmation, Code::Invalid].map(Code::as_str);
    if ask.action.id == "operation.create" && again.contains(&problem.code.as_str()) {
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::CONFLICT);
        if let Some(value) = operation::plan_again(api, ask, &problem).await {
            let answer = Answer { status, ..Answer::ok(value) }.page(Page::Plan);
            return page::page(&api.app, visit, viewer, answer).await;
        }
    }
    let wrong = [Code::Invalid, Code::Moved].map(Code::as_str);
    if ask.action.id.starts_with("item.")
        && wrong.contains(&problem.code.as_str())
        && let Some(value) = item::again(api, ask, &problem).await
    {
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::CONFLICT);
        let answer = Answer { status, ..Answer::ok(value) }.page(Page::Item);
        return page::page(&api.app, visit, viewer, answer).await;
    }
    if ask.action.id == "score_policy.put"
        && wrong.contains(&problem.code.as_str())
        && let Some(value) = score_policy::again(api, ask).await
    {
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::CONFLICT);
        let answer = Answer { status, ..Answer::ok(value) }.page(Page::ScorePolicy);
        return page::page(&api.app, visit, viewer, answer).await;
    }
    if ask.action.id.starts_with("policy.")
        && wrong.contains(&problem.code.as_str())
        && let Some(value) = policy::again(api, ask, &problem).await
    {
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::CONFLICT);
        let answer = Answer { status, ..Answer::ok(value) }.page(Page::Policy);
        return page::page(&api.app, visit, viewer, answer).await;
    }
    page::error(&api.app, visit, Some(viewer), problem).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_names_the_target_as_its_kind_does() {
        let f = pairs("kind=node_restart&service=a.b&target=a.b%40h%3A1");
        assert_eq!(wish(&f)["params"], json!({ "instance": "a.b@h:1" }));
        let f = pairs("kind=drill&service=a.b&params=not+json&name=x&value=1");
        assert_eq!(wish(&f)["params"], json!("not json"));
        let f = pairs("kind=switchover&service=a.b&target=");
        assert_eq!(wish(&f)["params"], json!({}));
    }

    #[test]
    fn every_form_is_an_action_of_the_table() {
        for form in FORMS {
            assert!(action::action(form.action).is_some(), "{}", form.action);
        }
    }
}
