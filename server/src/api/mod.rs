//! One handler per resource: under `/api/v1` its value is JSON, under `/` the same value is a page.
//!
//! Invariant: a route exists only as an entry of `model::action`, with the right it needs; nothing
//! reaches a handler but through `gate`. Refuses to know how anything is stored or drawn.

mod acl;
mod adopt;
pub(crate) mod alert;
mod alert_form;
mod apply;
mod approve;
pub(crate) mod ask;
mod asset;
mod audit;
mod backtest;
mod backup;
mod batch;
mod brief;
mod calendar;
mod capacity;
mod console;
mod csv;
mod docs;
mod form;
pub mod gate;
mod health;
mod history;
mod incident;
mod instance;
mod intake;
mod item;
mod item_form;
mod list;
mod maintenance;
mod near;
pub(crate) mod operation;
pub(crate) mod overview;
mod page;
mod parameter;
pub(crate) mod policy;
mod policy_form;
pub mod problem;
mod quality;
mod rules;
mod runbook;
mod score_policy;
mod score_policy_form;
mod secret;
mod service;
mod session;
mod sight;
mod silence;
mod slo;
mod topology;
mod tree;
mod turbo;
mod zone;
mod zone_risk;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, get, on};
use model::action::{self, Action};
use model::code::Problem;
use tokio::sync::Semaphore;

use crate::app::App;
use crate::{live, openapi};
use ask::{Answer, Ask, Fail, put_headers};
use csv::Form;
use gate::{Mount, Visit};

/// What handlers share beside the process.
pub struct Api {
    /// The process.
    pub app: Arc<App>,
    plans: operation::Plans,
    intake: Arc<Semaphore>,
    /// Places for live streams.
    pub(crate) streams: Arc<Semaphore>,
    /// What streams of the same sight share.
    pub(crate) shared: live::Shared,
}

type Done = Pin<Box<dyn Future<Output = Result<Answer, Fail>> + Send>>;
type Handler = Arc<dyn Fn(Arc<Api>, Ask) -> Done + Send + Sync>;

/// A route: an action and what answers it. There is no other way to make one than `route`.
pub struct Route {
    action: &'static Action,
    handler: Handler,
}

/// The route of the action `id`. Panics for an id that `model::action` does not know: such a handler
/// has no right to be checked.
fn route<F, Fut>(id: &str, handler: F) -> Route
where
    F: Fn(Arc<Api>, Ask) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Answer, Fail>> + Send + 'static,
{
    let action = action::action(id).unwrap_or_else(|| panic!("{id} is no action of model::action"));
    Route { action, handler: Arc::new(move |api, ask| Box::pin(handler(api, ask))) }
}

/// Every route, in the order of `model::action`.
fn routes() -> Vec<Route> {
    [of_fleet(), of_judgement(), of_change()].into_iter().flatten().collect()
}

/// Who asks, and what there is.
fn of_fleet() -> Vec<Route> {
    vec![
        route("session.create", session::create),
        route("session.delete", session::delete),
        route("me.get", session::me),
        route("token.create", session::token),
        route("overview.get", overview::get),
        route("tenant.list", tree::tenants),
        route("tenant.get", tree::tenant),
        route("tenant.health", health::get),
        route("tenant.whatif", health::whatif),
        route("system.list", tree::systems),
        route("system.get", tree::system),
        route("system.health", health::get),
        route("system.whatif", health::whatif),
        route("service.list", service::list),
        route("service.get", service::get),
        route("service.health", health::get),
        route("service.whatif", health::whatif),
        route("shard.health", health::get),
        route("shard.whatif", health::whatif),
        route("instance.list", instance::list),
        route("instance.get", instance::get),
        route("instance.health", health::get),
        route("instance.whatif", health::whatif),
        route("instance.turbo", turbo::start),
        route("instance.turbo_end", turbo::end),
        route("service.topology", topology::get),
        route("console.get", console::get),
        route("console.run", console::run),
        route("console.acl", console::acl),
        route("parameter.list", parameter::list),
        route("service.capacity", capacity::get),
        route("service.slo", slo::get),
        route("zone.loss", zone::loss),
        route("service.zone_risk", zone_risk::get),
        route("backup.list", backup::list),
    ]
}

/// What is wrong with it, and by which rules.
fn of_judgement() -> Vec<Route> {
    vec![
        route("alert.list", alert::list),
        route("alert.get", alert::get),
        route("incident.list", incident::list),
        route("incident.get", incident::get),
        route("incident.approve", incident::approve),
        route("item.list", item::list),
        route("item.get", item::get),
        route("item.check", item::check),
        route("item.test", item::test),
        route("item.put", item::put),
        route("item.restore", item::restore),
        route("item.delete", item::delete),
        route("score_policy.list", score_policy::list),
        route("score_policy.get", score_policy::get),
        route("score_policy.revisions", score_policy::revisions),
        route("score_policy.preview", score_policy::preview),
        route("score_policy.put", score_policy::put),
        route("score_policy.restore", score_policy::restore),
        route("service.profile", score_policy::profile),
        route("policy.list", policy::list),
        route("policy.effective", policy::effective),
        route("policy.get", policy::get),
        route("policy.revisions", policy::revisions),
        route("policy.check", policy::check),
        route("policy.backtest", backtest::run),
        route("policy.put", policy::put),
        route("policy.restore", policy::restore),
        route("policy.retire", policy::retire),
        route("runbook.list", runbook::list),
        route("runbook.mode", runbook::mode),
        route("kill_switch.set", runbook::kill_switch),
    ]
}

/// What is done about it, and on record.
fn of_change() -> Vec<Route> {
    vec![
        route("operation.plan", operation::plan),
        route("operation.create", operation::create),
        route("operation.list", operation::list),
        route("operation.get", operation::get),
        route("operation.cancel", operation::cancel),
        route("operation.approve", approve::decide),
        route("operation.pause", approve::pause),
        route("operation.resume", approve::resume),
        route("inventory.apply", apply::apply),
        route("service.adopt", adopt::adopt),
        route("service.acl", acl::get),
        route("service.acl_proof", acl::prove),
        route("secret.put", secret::put),
        route("secret.remove", secret::remove),
        route("intake.alertmanager", intake::alertmanager),
        route("audit.list", audit::list),
        route("audit.verify", audit::verify),
        route("docs.list", docs::list),
        route("docs.get", docs::get),
        route("live", live::stream),
        route("alert.ack", history::ack),
        route("history.list", history::list),
        route("response.list", history::response),
        route("quality.get", quality::get),
        route("rules.all", rules::list),
        route("rules.get", rules::get),
        route("silence.list", silence::list),
        route("silence.create", silence::create),
        route("silence.expire", silence::expire),
        route("maintenance.list", maintenance::list),
        route("maintenance.create", maintenance::create),
        route("maintenance.end", maintenance::finish),
        route("calendar.list", calendar::list),
        route("calendar.get", calendar::get),
        route("calendar.put", calendar::put),
        route("calendar.delete", calendar::delete),
        route("openapi", openapi::get),
    ]
}

/// API, pages, forms and assets.
pub fn router(app: Arc<App>) -> Router<Arc<App>> {
    let api = Arc::new(Api {
        app,
        plans: operation::Plans::default(),
        intake: Arc::new(Semaphore::new(intake::IN_FLIGHT_KIB)),
        streams: Arc::new(Semaphore::new(live::STREAMS_MAX)),
        shared: live::Shared::default(),
    });
    let mut router = Router::new();
    for Route { action, handler } in routes() {
        let path = format!("/api/v1{}", action.path);
        let (mine, answer) = (api.clone(), handler.clone());
        let json = move |request| call(mine.clone(), action, answer.clone(), request);
        router = router.route(&path, on(filter(action.method), json));
        if action.page {
            let mine = api.clone();
            let drawn = move |request| draw(mine.clone(), action, handler.clone(), request);
            router = router.route(action.path, get(drawn));
        }
    }
    let (for_login, for_rest) = (api.clone(), api.clone());
    form::mount(router, &api)
        .route("/", get(async || page::see_other("/overview")))
        .route("/login", get(move |request| sign_in(for_login.clone(), request)))
        .route("/assets/{*path}", get(asset::get))
        .route("/favicon.ico", get(asset::get))
        .route("/favicon.svg", get(asset::get))
        .fallback(move |request| nothing(for_rest.clone(), request))
}

fn filter(method: &str) -> MethodFilter {
    let method: Method = method.parse().expect("the table's methods are HTTP methods");
    MethodFilter::try_from(method).expect("the table's methods are routable")
}

/// Answers a route as JSON.
async fn call(
    api: Arc<Api>,
    action: &'static Action,
    handler: Handler,
    request: Request,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let visit = Visit::of(&mut parts).await;
    let answered = async {
        let _place = match action.id {
            "intake.alertmanager" => {
                // Whoever may not post must not take a place.
                gate::identify(&api.app, action, &visit).await?;
                Some(intake::place(&api, length(&visit))?)
            }
            _ => None,
        };
        let ask = gate::admit(&api.app, action, &visit, Mount::Api, body).await?;
        let form = asked(&api.app, &ask)?;
        Ok((run(&api, &handler, ask, &visit).await?, form))
    };
    match answered.await {
        Ok((answer, Form::Csv)) => csv::table(action, &visit, answer),
        Ok((answer, Form::Own | Form::Json)) => json(answer),
        Err(Fail(problem)) => refuse(&visit, *problem),
    }
}

/// The form an answer is asked in. What every list takes is checked here, once: an order or a scope
/// that is none would be answered as if something else had been asked.
fn asked(app: &crate::app::App, ask: &Ask) -> Result<Form, Fail> {
    let form = csv::form(ask.action, ask.query("format"))?;
    list::check_order(ask.action, ask.query("sort"))?;
    let limit = ask.query.get("limit").map(String::as_str);
    list::check_limit(ask.action, limit, ask.query("format"))?;
    if ask.action.id.ends_with(".list") {
        sight::Sight::new(app, ask).check_scope(ask.query("in"))?;
    }
    Ok(form)
}

/// Runs a handler and puts its refusal on record.
async fn run(api: &Arc<Api>, handler: &Handler, ask: Ask, visit: &Visit) -> Result<Answer, Fail> {
    let (action, caller) = (ask.action, ask.caller.clone());
    let done = handler(api.clone(), ask).await;
    if let Err(Fail(problem)) = &done {
        gate::note_refusal(&api.app, action, &visit.path, &caller, problem).await;
    }
    done
}

fn length(visit: &Visit) -> Option<usize> {
    visit.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Answers a route as a page.
async fn draw(
    api: Arc<Api>,
    action: &'static Action,
    handler: Handler,
    request: Request,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let visit = Visit::of(&mut parts).await;
    let ask = match gate::admit(&api.app, action, &visit, Mount::Page, body).await {
        Ok(ask) => ask,
        Err(Fail(problem)) => {
            // Signed in without the right: the page around the refusal is still his.
            let who = crate::auth::caller(&api.app, &visit.headers, visit.peer).await.ok();
            let viewer = who.as_ref().map(|(c, s)| page::Viewer { caller: c, session: s.as_ref() });
            return page::error(&api.app, &visit, viewer, *problem).await;
        }
    };
    let (caller, session) = (ask.caller.clone(), ask.session.clone());
    let viewer = page::Viewer { caller: &caller, session: session.as_ref() };
    let form = match asked(&api.app, &ask) {
        Ok(form) => form,
        Err(Fail(problem)) => return page::error(&api.app, &visit, Some(viewer), *problem).await,
    };
    match handler(api.clone(), ask).await {
        Ok(answer) if form == Form::Csv => csv::table(action, &visit, answer),
        Ok(answer) if form == Form::Json => json(answer),
        Ok(answer) => page::page(&api.app, &visit, viewer, answer).await,
        Err(Fail(problem)) => page::error(&api.app, &visit, Some(viewer), *problem).await,
    }
}

/// `GET /login`.
async fn sign_in(api: Arc<Api>, request: Request) -> Response {
    let visit = Visit::of(&mut request.into_parts().0).await;
    let next = visit.query.get("next").cloned().unwrap_or_default();
    match crate::auth::caller(&api.app, &visit.headers, visit.peer).await {
        Ok((_, Some(_))) => page::see_other(page::local(&next)),
        _ => page::login(&api.app, &visit, &next, None).await,
    }
}

/// Whatever no route takes: told only to those who are signed in.
async fn nothing(api: Arc<Api>, request: Request) -> Response {
    let visit = Visit::of(&mut request.into_parts().0).await;
    let missing = problem::not_found("page or resource at this path");
    let who = crate::auth::caller(&api.app, &visit.headers, visit.peer).await;
    let is_api = visit.path.starts_with("/api/");
    match who {
        Ok(_) if is_api => refuse(&visit, missing),
        Err(problem) if is_api => refuse(&visit, problem),
        Ok((caller, session)) => {
            let viewer = page::Viewer { caller: &caller, session: session.as_ref() };
            page::error(&api.app, &visit, Some(viewer), missing).await
        }
        Err(problem) => page::error(&api.app, &visit, None, problem).await,
    }
}

fn json(answer: Answer) -> Response {
    let Answer { status, value, headers, stream, page: _ } = answer;
    let mut response = match (stream, value.is_null()) {
        (Some(stream), _) => stream,
        (None, true) => status.into_response(),
        (None, false) => (status, axum::Json(value)).into_response(),
    };
    let mine = response.headers_mut();
    mine.entry(header::CACHE_CONTROL).or_insert(axum::http::HeaderValue::from_static("no-store"));
    put_headers(mine, headers);
    response
}

fn refuse(visit: &Visit, mut problem: Problem) -> Response {
    problem.request_id = visit.request_id().to_string();
    problem::json(&problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_action_is_mounted_and_only_once() {
        let mounted: Vec<&str> = routes().iter().map(|r| r.action.id).collect();
        let all: BTreeSet<&str> = action::ACTIONS.iter().map(|a| a.id).collect();
        assert_eq!(mounted.iter().copied().collect::<BTreeSet<_>>(), all);
        assert_eq!(mounted.len(), all.len());
    }

    #[test]
    #[should_panic(expected = "is no action of model::action")]
    fn a_handler_without_an_action_cannot_be_mounted() {
        let _ = route("service.destroy", session::me);
    }
}
