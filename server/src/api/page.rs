//! From an answer to a page: the frame around it, its headers, the way to sign in.
//!
//! Invariant: every HTML answer carries the content security policy; whoever is not signed in gets
//! `/login`, and is led back only to a path of ours. Refuses to know what the values mean.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::At;
use model::caller::Caller;
use model::code::{Code, Problem};
use model::right::{Place, Right, Rights};
use portal::{Frame, Lang, Page, Theme};
use serde_json::{Value, json};
use store::AlertFilter;

use super::ask::{Answer, put_headers};
use super::gate::Visit;
use super::problem;
use crate::app::App;
use crate::auth::{Session, cookie};

/// Scripts and styles only from us, no framing, no other place for forms.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types cw";
/// Refresh periods a page offers, seconds.
const REFRESH_S: [u32; 2] = [15, 60];

/// Who looks, for the frame.
pub struct Viewer<'a> {
    /// Rights.
    pub caller: &'a Caller,
    /// Session; none for tokens, which may read pages too.
    pub session: Option<&'a Session>,
}

/// A page of a value.
pub async fn page(app: &App, visit: &Visit, viewer: Viewer<'_>, answer: Answer) -> Response {
    let Some(page) = answer.page else {
        return error(app, visit, Some(viewer), problem::fault()).await;
    };
    let frame = frame(app, visit, Some(&viewer), &answer.value).await;
    let mut response = html(app, visit, page, &answer.value, &frame, answer.status);
    put_headers(response.headers_mut(), answer.headers);
    response
}

/// A problem as a page; whoever is not signed in goes to `/login`.
pub async fn error(
    app: &App,
    visit: &Visit,
    viewer: Option<Viewer<'_>>,
    mut problem: Problem,
) -> Response {
    if problem.code == Code::NotSignedIn.as_str() {
        return to_login(visit);
    }
    problem.request_id = visit.request_id().to_string();
    let frame = frame(app, visit, viewer.as_ref(), &Value::Null).await;
    let value = serde_json::to_value(&problem).unwrap_or_default();
    let mut response = html(app, visit, Page::Error, &value, &frame, problem::status(&problem));
    problem::retry_after(&problem, &mut response);
    response
}

/// The login page; `problem` is what went wrong with a try.
pub async fn login(app: &App, visit: &Visit, next: &str, problem: Option<Problem>) -> Response {
    let setup = app.store.setup_open(app.now()).await.unwrap_or(false);
    let status = problem.as_ref().map_or(StatusCode::OK, problem::status);
    let error = problem.as_ref().map(|p| json!({ "code": p.code, "detail": p.detail }));
    let value = json!({ "next": local(next), "error": error, "setup": setup });
    let frame = frame(app, visit, None, &value).await;
    let mut response = html(app, visit, Page::Login, &value, &frame, status);
    if let Some(p) = &problem {
        problem::retry_after(p, &mut response);
    }
    response
}

/// A target on this site, or the overview: nothing a browser could read as another host.
pub fn local(next: &str) -> &str {
    let fine = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains('\\')
        && !next.chars().any(char::is_control)
        && !next.starts_with("/login")
        && !next.starts_with("/session");
    if fine { next } else { "/overview" }
}

/// 303 to a path of ours.
pub fn see_other(path: &str) -> Response {
    let target = HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/overview"));
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, target)]).into_response();
    secure(&mut response, false);
    response
}

fn to_login(visit: &Visit) -> Response {
    let wanted = match visit.raw_query.as_str() {
        "" => visit.path.clone(),
        query => format!("{}?{query}", visit.path),
    };
    see_other(&format!("/login?next={}", encode(local(&wanted))))
}

/// A text as one part of a path or query.
pub fn encode(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    text.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

fn html(
    app: &App,
    visit: &Visit,
    page: Page,
    value: &Value,
    frame: &Frame,
    status: StatusCode,
) -> Response {
    let body = match app.portal.page(page, value, frame) {
        Ok(body) => body,
        Err(e) => {
            let request = visit.request_id();
            tracing::error!(error = %e, request, "a page cannot be drawn");
            return plain_fault(app, request);
        }
    };
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    let mut response = (status, [(header::CONTENT_TYPE, kind)], body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (parameter, name, value) in [
        ("lang", cookie::LANG, frame.lang.as_str()),
        ("theme", cookie::THEME, frame.theme.as_str()),
    ] {
        if visit.query.contains_key(parameter)
            && let Ok(line) = HeaderValue::from_str(&cookie::choice(name, value))
        {
            headers.append(header::SET_COOKIE, line);
        }
    }
    secure(&mut response, tls(app));
    response
}

/// Whether browsers reach us by TLS, ours or a proxy's.
fn tls(app: &App) -> bool {
    app.config.http.tls.is_some() || app.public_url().starts_with("https:")
}

/// When even the error page fails: words without a template.
fn plain_fault(app: &App, request: &str) -> Response {
    let text = format!("CW-1500: something went wrong on our side. Request {request}.\n");
    let mut response = (StatusCode::INTERNAL_SERVER_ERROR, text).into_response();
    secure(&mut response, tls(app));
    response
}

/// The headers of every HTML answer and of every redirect.
pub fn secure(response: &mut Response, tls: bool) {
    const ALWAYS: [(HeaderName, &str); 4] = [
        (header::CONTENT_SECURITY_POLICY, CSP),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Not no-referrer: with it a form's POST carries `Origin: null` and fails the origin check.
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if tls {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
}

async fn frame(app: &App, visit: &Visit, viewer: Option<&Viewer<'_>>, value: &Value) -> Frame {
    let query = |name: &str| visit.query.get(name).map(String::as_str);
    let rights =
        viewer.map(|v| v.caller.grants.iter().fold(Rights::NONE, |all, (r, _)| all.union(*r)));
    let live_s = query("live").and_then(|s| s.parse().ok()).filter(|s| REFRESH_S.contains(s));
    let mut frame = Frame {
        lang: lang(app, visit),
        theme: theme(visit),
        zone: query("tz").unwrap_or("UTC").to_string(),
        now: app.now(),
        path: visit.path.clone(),
        query: visit.raw_query.clone(),
        me: viewer.map(name),
        rights: rights.unwrap_or_default(),
        csrf: viewer.and_then(|v| v.session).map(|s| s.csrf.clone()).unwrap_or_default(),
        live_s,
        as_of: value["as_of"].as_str().and_then(|t| At::parse(t).ok()),
        env_badge: value["env"]
            .as_str()
            .filter(|e| *e == "prod")
            .map(str::to_uppercase)
            .unwrap_or_default(),
        request_id: visit.request_id().to_string(),
        version: crate::VERSION.into(),
        support: app.config.portal.support.clone(),
        ..Frame::default()
    };
    let Some(viewer) = viewer else { return frame };
    match counts(app, viewer.caller).await {
        Ok((firing, kill_switch)) => {
            frame.firing = firing;
            frame.kill_switch = kill_switch;
        }
        Err(_) => frame.notices.push(STORE_AWAY.into()),
    }
    if viewer.caller.may(Right::FleetRead, &Place::platform()) {
        frame.notices.extend(undelivered(app));
    }
    frame
}

/// Changes an Alertmanager or a receiver has not taken for this long are worth a line, seconds.
const UNDELIVERED_S: f64 = 300.0;

/// Whom alerts do not reach, and why.
fn undelivered(app: &App) -> Vec<String> {
    let receivers = app.alerter.status(app.now()).receivers;
    let bad = |r: &alerter::ReceiverStatus| {
        r.misconfigured || (!r.error.is_empty() && r.oldest_unsent_seconds >= UNDELIVERED_S)
    };
    let told = |r: alerter::ReceiverStatus| {
        let why = if r.misconfigured { "wrong address or credentials" } else { "no answer" };
        format!("alerts do not reach {} ({why}): {}", r.url, r.error)
    };
    receivers.into_iter().filter(bad).map(told).collect()
}

/// Said on pages while the store cannot be asked.
pub const STORE_AWAY: &str = "the store is not available: what is shown is measured live, history, \
    alerts and operations are missing, and nothing can be changed";

async fn counts(app: &App, caller: &Caller) -> store::Result<(u32, bool)> {
    let firing = AlertFilter { phases: super::alert::FIRING.to_vec(), ..AlertFilter::default() };
    let alerts = app.store.alert_count(caller, &firing).await?;
    Ok((alerts as u32, super::runbook::kill_switch_on(app).await?))
}

fn name(viewer: &Viewer<'_>) -> String {
    match viewer.session {
        Some(session) => session.display.clone(),
        None => viewer.caller.actor.subject.clone(),
    }
}

fn lang(app: &App, visit: &Visit) -> Lang {
    let asked = visit.query.get("lang").and_then(|l| Lang::parse(l));
    let kept = || cookie::get(&visit.headers, cookie::LANG).and_then(Lang::parse);
    let accepted = || {
        let line = visit.headers.get(header::ACCEPT_LANGUAGE)?.to_str().ok()?;
        line.split(',').find_map(|part| Lang::parse(part.split(';').next()?.trim()))
    };
    let default = || Lang::parse(&app.config.portal.language);
    asked.or_else(kept).or_else(accepted).or_else(default).unwrap_or_default()
}

fn theme(visit: &Visit) -> Theme {
    let asked = visit.query.get("theme").and_then(|t| Theme::parse(t));
    let kept = || cookie::get(&visit.headers, cookie::THEME).and_then(Theme::parse);
    asked.or_else(kept).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_signing_in_nobody_is_led_to_another_site() {
        for good in ["/services?q=a", "/operations/1"] {
            assert_eq!(local(good), good);
        }
        for bad in [
            "",
            "//evil.example",
            "https://evil.example",
            "/\\evil",
            "/a\r\nSet-Cookie: x",
            "/login?next=/login",
        ] {
            assert_eq!(local(bad), "/overview", "{bad:?}");
        }
    }

    #[test]
    fn a_path_with_a_query_survives_as_a_parameter() {
        assert_eq!(encode("/services?q=a b"), "/services%3Fq%3Da%20b");
    }
}
