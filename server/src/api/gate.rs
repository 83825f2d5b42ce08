//! The way in: from a raw request to an `Ask`, the same for API, pages and forms.
//!
//! Invariant: nothing reaches a handler without the route's need met and, for a change by a
//! browser, without our origin and the session's token; a body is read only after that, within its
//! limit and time. Refuses to know what the handlers do.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use model::action::{Action, Need};
use model::caller::Caller;
use model::code::{Code, Problem};
use model::right::Place;
use store::AuditEntry;

use super::ask::{Ask, Fail};
use crate::app::App;
use crate::auth::origin::{Source, source};
use crate::auth::{self, Session, opaque};

/// Longest body of most routes.
const BODY_MAX: usize = 1 << 20;
/// Longest inventory file: 10 000 instances with their hosts are about 2 MiB.
const APPLY_MAX: usize = 16 << 20;
/// Longest webhook: what an Alertmanager may send when a whole fleet fires at once.
pub const INTAKE_MAX: usize = 32 << 20;
/// A body that takes longer holds memory others need.
const BODY_TIME: Duration = Duration::from_secs(10);
/// Longest query we read; a longer one is refused, for what it asks must not be left out.
const QUERY_MAX: usize = 8 << 10;
/// Fields of a form at most: ours have some twenty, and each costs more memory than its text.
const FIELDS_MAX: usize = 1_000;

/// How a request came: decides where its form token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mount {
    /// Under `/api/v1`.
    Api,
    /// A page under `/`.
    Page,
    /// A form under `/`.
    Form,
}

/// The head of a request.
pub struct Visit {
    /// Method.
    pub method: Method,
    /// Path.
    pub path: String,
    /// Raw query.
    pub raw_query: String,
    /// Headers, with our `X-Request-Id`.
    pub headers: HeaderMap,
    /// The other end.
    pub peer: IpAddr,
    /// Path parameters.
    pub params: BTreeMap<String, String>,
    /// Query parameters.
    pub query: BTreeMap<String, String>,
}

impl Visit {
    /// Reads the head. A request id of the client is kept when it is short and plain.
    pub async fn of(parts: &mut Parts) -> Visit {
        let params = RawPathParams::from_request_parts(parts, &()).await;
        let params = params
            .map(|p| p.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect())
            .unwrap_or_default();
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|c| c.0.ip());
        let mut headers = parts.headers.clone();
        let id = request_id(&headers);
        headers.insert("x-request-id", HeaderValue::from_str(&id).expect("plain characters"));
        let raw_query = parts.uri.query().unwrap_or_default().to_string();
        Visit {
            method: parts.method.clone(),
            path: parts.uri.path().to_string(),
            // A longer one is refused by `admit`; nothing of it is read.
            query: match raw_query.len() > QUERY_MAX {
                true => BTreeMap::new(),
                false => pairs(&raw_query),
            },
            raw_query,
            headers,
            // Unknown only in tests that drive the router without a socket.
            peer: peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            params,
        }
    }

    /// Id of the request.
    pub fn request_id(&self) -> &str {
        self.headers.get("x-request-id").and_then(|v| v.to_str().ok()).unwrap_or_default()
    }
}

fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get("x-request-id").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=64).contains(&given.len()) && given.chars().all(plain) {
        return given.to_string();
    }
    uuid::Uuid::now_v7().simple().to_string()
}

/// The pairs of a query or form; the first of a name counts.
pub fn pairs(text: &str) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    for pair in text.split('&').filter(|p| !p.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        map.entry(decode(name)).or_insert_with(|| decode(value));
    }
    map
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let pair = bytes.get(i + 1..i + 3).and_then(|p| std::str::from_utf8(p).ok());
        match (bytes[i], pair.and_then(|p| u8::from_str_radix(p, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                i += 2;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        i += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Who asks, as far as the route needs to know.
pub async fn identify(
    app: &App,
    action: &Action,
    visit: &Visit,
) -> Result<(Caller, Option<Session>), Fail> {
    if action.need == Need::Nobody {
        return Ok((auth::nobody(app, &visit.headers, visit.peer, ""), None));
    }
    // Who signs has proven nothing before the body was read: only the intake waits for that.
    let signed = auth::signed::given(&visit.headers).filter(|_| action.id == "intake.alertmanager");
    let (caller, session) = match signed.transpose()? {
        Some(s) => (auth::signed::caller(app, &visit.headers, visit.peer, &s).await?, None),
        None => auth::caller(app, &visit.headers, visit.peer).await?,
    };
    if let Need::Right(right) = action.need
        && !caller.may_somewhere(right)
    {
        let problem = Problem::new(
            Code::RightMissing,
            format!("the right {} is missing, in every scope", right.as_str()),
            "A security administrator can grant a role that holds it.",
        );
        note_refusal(app, action, &visit.path, &caller, &problem).await;
        return Err(problem.into());
    }
    if let Some(session) = &session
        && action.id != "live"
        && !visit.query.contains_key("live")
    {
        auth::active(app, session, app.now()).await;
    }
    Ok((caller, session))
}

/// Puts a refused change on record: whoever tries what he may not is worth knowing. Reads are not,
/// or a page with a forbidden part would fill the trail. It was refused already, so a trail that
/// cannot be written changes nothing.
pub async fn note_refusal(
    app: &App,
    action: &Action,
    path: &str,
    caller: &Caller,
    problem: &Problem,
) {
    let denied = [Code::RightMissing, Code::SecondPerson].map(Code::as_str);
    // A plan that cannot be made is an answer to a question, not a change that was tried.
    let guarded = problem.code == Code::Refused.as_str() && action.level > 0;
    if action.method == "GET" || !(guarded || denied.contains(&problem.code.as_str())) {
        return;
    }
    let target: String = path.chars().filter(|c| !c.is_control()).take(200).collect();
    let mut entry = AuditEntry::new(action.id, target, Place::platform());
    entry.result = "refused".into();
    entry.code = problem.code.clone();
    if let Err(e) = app.store.audit_write(caller, entry, app.now()).await {
        tracing::warn!(cause = %e, "a refusal is not on record");
    }
}

/// Whether a change was asked for by a page of ours. `form_token`: the field of a form.
pub fn check_origin(
    app: &App,
    action: &Action,
    visit: &Visit,
    session: Option<&Session>,
    mount: Mount,
    form_token: Option<&str>,
) -> Result<(), Fail> {
    if matches!(visit.method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    let from = source(&visit.headers, app.public_url());
    let refuse = |detail: &str| {
        let next = "Reload the page and send the form again.";
        Err(Fail::from(Problem::new(Code::OriginCheck, detail, next)))
    };
    let Some(session) = session else {
        // Without a session nobody can be made to use one; signing in itself must not be done for
        // somebody by a foreign page.
        let silent_form = mount == Mount::Form && from == Source::Silent;
        if action.need == Need::Nobody && (from == Source::Foreign || silent_form) {
            return refuse("this did not come from a page of ours");
        }
        return Ok(());
    };
    if from != Source::Ours {
        return refuse("this did not come from a page of ours");
    }
    let header = visit.headers.get("x-csrf-token").and_then(|v| v.to_str().ok());
    match form_token.or(header) {
        Some(given) if opaque::same(given, &session.csrf) => Ok(()),
        _ => refuse("the token of the session is missing or of another session"),
    }
}

/// Reads the body within the route's limit.
pub async fn body(action: &Action, headers: &HeaderMap, body: Body) -> Result<Bytes, Fail> {
    let max = match action.id {
        "inventory.apply" | "service.adopt" => APPLY_MAX,
        "intake.alertmanager" => INTAKE_MAX,
        _ => BODY_MAX,
    };
    let encoding = headers.get(header::CONTENT_ENCODING).and_then(|v| v.to_str().ok());
    if encoding.is_some_and(|e| !e.eq_ignore_ascii_case("identity")) {
        let detail = "compressed bodies are not read";
        return Err(Problem::new(Code::WrongType, detail, "Send the body as it is.").into());
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok());
    if length.and_then(|l| l.parse::<u64>().ok()).is_some_and(|l| l > max as u64) {
        return Err(too_large(max));
    }
    match tokio::time::timeout(BODY_TIME, Limited::new(body, max).collect()).await {
        Ok(Ok(read)) => Ok(read.to_bytes()),
        Ok(Err(e)) if e.downcast_ref::<LengthLimitError>().is_some() => Err(too_large(max)),
        Ok(Err(_)) => {
            Err(Problem::new(Code::Malformed, "the body broke off", "Send it again.").into())
        }
        Err(_) => Err(Problem::new(
            Code::OverCapacity,
            format!("the body did not come within {} s", BODY_TIME.as_secs()),
            "Send it again.",
        )
        .into()),
    }
}

fn too_large(max: usize) -> Fail {
    let detail = format!("the body is longer than {} MiB", max >> 20);
    Problem::new(Code::TooLarge, detail, "Send it in several parts.").into()
}

/// Refuses a query too long to be read: without it the request would ask for something else.
fn check_query(raw: &str) -> Result<(), Fail> {
    if raw.len() <= QUERY_MAX {
        return Ok(());
    }
    let detail = format!("the query is longer than {} KiB", QUERY_MAX >> 10);
    Err(Problem::new(Code::Malformed, detail, "Send a shorter one.").into())
}

/// The fields of a form; one of ours is never refused by their number.
fn fields(text: &str) -> Result<BTreeMap<String, String>, Fail> {
    if text.bytes().filter(|b| *b == b'&').count() >= FIELDS_MAX {
        let detail = format!("the form has more than {FIELDS_MAX} fields");
        return Err(Problem::new(Code::Malformed, detail, "Use the form.").into());
    }
    Ok(pairs(text))
}

/// Everything together.
pub async fn admit(
    app: &App,
    action: &'static Action,
    visit: &Visit,
    mount: Mount,
    raw: Body,
) -> Result<Ask, Fail> {
    check_query(&visit.raw_query)?;
    let (caller, session) = identify(app, action, visit).await?;
    let body = match mount {
        Mount::Form => form(app, action, visit, session.as_ref(), raw).await?,
        Mount::Api | Mount::Page => {
            check_origin(app, action, visit, session.as_ref(), mount, None)?;
            body(action, &visit.headers, raw).await?
        }
    };
    Ok(Ask {
        action,
        caller,
        session,
        path: visit.params.clone(),
        query: visit.query.clone(),
        headers: visit.headers.clone(),
        peer: visit.peer,
        body,
        now: app.now(),
    })
}

/// A form's token stands in its body, so the body is read first; forms are small.
async fn form(
    app: &App,
    action: &Action,
    visit: &Visit,
    session: Option<&Session>,
    raw: Body,
) -> Result<Bytes, Fail> {
    let kind = visit.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    if !kind.is_some_and(|k| k.starts_with("application/x-www-form-urlencoded")) {
        let detail = "a form is application/x-www-form-urlencoded";
        return Err(Problem::new(Code::WrongType, detail, "Use the form.").into());
    }
    let read = body(action, &visit.headers, raw).await?;
    let token = fields(&String::from_utf8_lossy(&read))?.remove("csrf");
    let token = token.unwrap_or_default();
    check_origin(app, action, visit, session, Mount::Form, Some(&token))?;
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded_and_the_first_of_a_name_counts() {
        let q = pairs("q=mem%3E80+%E6%94%AF&q=other&in=pay&x&bad=%zz%4");
        assert_eq!(q["q"], "mem>80 支");
        assert_eq!((q["in"].as_str(), q["x"].as_str(), q["bad"].as_str()), ("pay", "", "%zz%4"));
    }

    #[test]
    fn a_query_too_long_to_be_read_is_refused_and_a_form_of_that_length_is_read() {
        let long = format!("dry_run=1&x={}", "%E6%94%AF".repeat(4096));
        assert_eq!(check_query(&long).unwrap_err().0.status, 400);
        assert!(check_query(&long[..QUERY_MAX]).is_ok());
        let read = fields(&format!("{long}&csrf=t")).unwrap();
        assert_eq!((read["csrf"].as_str(), read["x"].chars().count()), ("t", 4096));
        assert_eq!(fields(&"a&".repeat(FIELDS_MAX)).unwrap_err().0.status, 400);
    }

    #[test]
    fn a_request_id_of_the_client_is_kept_only_when_it_is_plain() {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", HeaderValue::from_static("abc-1"));
        assert_eq!(request_id(&headers), "abc-1");
        headers.insert("x-request-id", HeaderValue::from_static("a b\"<script>"));
        assert_eq!(request_id(&headers).len(), 32);
    }
}
