//! Silences: Alertmanager's own, or ours while none is configured.
//!
//! Invariant: a silence never reaches further than its maker's grants: the matchers of the scope he
//! names, or of the only one he has, are forced on. It is on record before an Alertmanager hears of
//! it.

use std::sync::Arc;

use axum::http::StatusCode;
use model::alert::Alert;
use model::code::{Code, Problem};
use model::matcher::{self, Matchers};
use model::policy::Span;
use model::right::{Right, Scope};
use model::silence::{LENGTH_MAX_MS, Matcher, Silence, SilenceItem, TEXT_MAX, bounds};
use model::{At, caller::Caller};
use portal::Page;
use serde::Deserialize;
use serde_json::{Value, json};
use store::{AlertFilter, AuditEntry};

use super::alert::FIRING;
use super::ask::{Answer, Ask, Fail, invalid};
use super::maintenance::{end, in_force};
use super::{Api, list, problem};

/// Firing alerts that are held against the silences of a page.
const ALERTS_MAX: usize = 2_000;

#[derive(Deserialize)]
#[serde(untagged)]
enum Given {
    Whole(Matcher),
    Text(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    matchers: Vec<Given>,
    comment: String,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    starts_at: Option<At>,
    #[serde(default)]
    ends_at: Option<At>,
    #[serde(default)]
    duration: Option<Span>,
}

/// `GET /silences`.
pub async fn list(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let firing = AlertFilter { phases: FIRING.to_vec(), ..AlertFilter::default() };
    let alerts = api.app.store.alert_list(&ask.caller, &firing, ALERTS_MAX, None).await?;
    let (q, within, state) = (ask.query("q"), ask.query("in"), ask.query("state"));
    let mut found: Vec<SilenceItem> = Vec::new();
    for silence in visible(&api, &ask.caller, ask.now).await? {
        if found.iter().any(|i| i.silence.is_twin(&silence)) {
            continue;
        }
        let item = item(&api, &ask, silence, &alerts).await;
        let texts = [item.text.as_str(), &item.silence.comment, &item.silence.created_by];
        let inside = within.is_empty() || inside(&item, within);
        if inside && list::matches(q, &texts) && (state.is_empty() || item.state == state) {
            found.push(item);
        }
    }
    let rank = |i: &SilenceItem| match i.state.as_str() {
        "active" => 0,
        "pending" => 1,
        _ => 2,
    };
    found.sort_by_key(rank);
    let page = list::page(&ask, found, |i| i.silence.id.clone(), ask.now);
    Ok(Answer::ok(page).page(Page::Silences))
}

fn inside(item: &SilenceItem, within: &str) -> bool {
    let id = item.scope.split_once(':').map_or("", |(_, id)| id);
    id == within || id.strip_prefix(within).is_some_and(|rest| rest.starts_with('.'))
}

/// Silences whose bounds lie in what the caller reads.
async fn visible(api: &Api, caller: &Caller, now: At) -> Result<Vec<Silence>, Fail> {
    let mut seen = Vec::new();
    for silence in api.app.store.silences(now).await? {
        if let Ok(place) = api.app.store.silence_place(&silence).await
            && caller.may(Right::FleetRead, &place)
        {
            seen.push(silence);
        }
    }
    Ok(seen)
}

async fn item(api: &Api, ask: &Ask, silence: Silence, alerts: &[Alert]) -> SilenceItem {
    let place = api.app.store.silence_place(&silence).await.ok();
    let state = silence.state(ask.now);
    let hits = match (state, Matchers::compile(&silence.matchers)) {
        ("active", Ok(m)) => alerts.iter().filter(|a| m.matches(&a.labels)).count(),
        _ => 0,
    };
    let may = place.is_some_and(|p| ask.caller.may(Right::SilenceEdit, &p));
    let text: Vec<String> = silence.matchers.iter().map(Matcher::to_string).collect();
    SilenceItem {
        text: text.join(", "),
        scope: String::from(silence.scope()),
        state: state.into(),
        alerts: hits as u32,
        expirable: may && state != "expired",
        silence,
    }
}

/// `POST /silences`.
pub async fn create(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let body: Body = ask.json()?;
    let scope = scope(&ask.caller, &body.scope)?;
    let mut matchers = bounds(&scope);
    for (n, given) in body.matchers.into_iter().enumerate() {
        let matcher = match given {
            Given::Whole(matcher) => matcher,
            Given::Text(text) => {
                Matcher::parse(&text).map_err(|e| invalid(&format!("/matchers/{n}"), e))?
            }
        };
        if !matchers.contains(&matcher) {
            matchers.push(matcher);
        }
    }
    let starts_at = body.starts_at.unwrap_or(ask.now).max(ask.now);
    let ends_at = end(starts_at, body.ends_at, body.duration)?;
    if ends_at <= starts_at || ends_at.since_ms(starts_at) > LENGTH_MAX_MS {
        return Err(invalid("/ends_at", "behind the beginning, by at most 366 days"));
    }
    let comment = body.comment.trim().to_string();
    if comment.is_empty() || comment.chars().count() > TEXT_MAX {
        return Err(invalid("/comment", format!("say why, in at most {TEXT_MAX} characters")));
    }
    let id = uuid::Uuid::now_v7().to_string();
    let (created_by, keeper) = (ask.caller.name(), String::new());
    let mut made = Silence { id, matchers, starts_at, ends_at, created_by, comment, keeper };
    let place = api.app.store.silence_place(&made).await?;
    ask.require(Right::SilenceEdit, &place)?;
    matcher::check(&made.matchers).map_err(|e| invalid("/matchers", e))?;
    if api.app.alerter.has_alertmanager() {
        let after = json!({ "matchers": made.matchers, "starts_at": made.starts_at,
            "ends_at": made.ends_at, "comment": made.comment });
        let entry = AuditEntry::new("silence.create", &made.id, place).change(Value::Null, after);
        api.app.store.audit_write(&ask.caller, entry, ask.now).await?;
        made.id = api.app.alerter.silence_make(&made).await.map_err(away)?;
    } else {
        api.app.store.silence_create(&ask.caller, &made, ask.now).await?;
    }
    in_force(&api.app, ask.now).await;
    Ok(Answer::with(StatusCode::CREATED, item(&api, &ask, made, &[]).await))
}

/// The scope he named, or the only one in which he may silence.
fn scope(caller: &Caller, named: &str) -> Result<Scope, Fail> {
    if !named.is_empty() {
        return Scope::try_from(named.to_string()).map_err(|e| invalid("/scope", e));
    }
    let mut own: Vec<&Scope> = caller.scopes(Right::SilenceEdit);
    own.dedup();
    match own[..] {
        [one] => Ok(one.clone()),
        _ => {
            let words: Vec<String> = own.into_iter().map(|s| String::from(s.clone())).collect();
            Err(invalid("/scope", format!("say in which scope: {}", words.join(", "))))
        }
    }
}

fn away(why: String) -> Fail {
    let detail = format!("an Alertmanager did not take it: {why}");
    Problem::new(Code::NotWritable, detail, "Try again; look at the Alertmanager.").into()
}

/// `DELETE /silences/{id}`.
pub async fn expire(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let all = visible(&api, &ask.caller, ask.now).await?;
    let missing = || Fail::from(problem::not_found("silence of this id"));
    let mut silence = all.iter().find(|s| s.id == ask.id()).cloned().ok_or_else(missing)?;
    let place = api.app.store.silence_place(&silence).await.map_err(|_| missing())?;
    ask.require(Right::SilenceEdit, &place)?;
    if silence.keeper.is_empty() {
        api.app.store.silence_expire(&ask.caller, &silence.id, ask.now).await?;
    } else {
        let before = json!({ "ends_at": silence.ends_at });
        let entry = AuditEntry::new("silence.expire", &silence.id, place);
        let entry = entry.change(before, json!({ "ends_at": ask.now }));
        api.app.store.audit_write(&ask.caller, entry, ask.now).await?;
        let twins: Vec<Silence> = all.into_iter().filter(|s| s.is_twin(&silence)).collect();
        api.app.alerter.silence_end(&twins).await.map_err(away)?;
    }
    silence.ends_at = silence.ends_at.min(ask.now);
    in_force(&api.app, ask.now).await;
    Ok(Answer::ok(item(&api, &ask, silence, &[]).await))
}
