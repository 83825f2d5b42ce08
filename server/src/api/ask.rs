//! What a handler gets and gives: one shape for every resource, whether JSON or a page comes of it.
//!
//! Invariant: a handler sees a caller who passed the route's need and the origin check; what it
//! answers does not depend on the mount. Refuses to know HTML.

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use model::At;
use model::action::Action;
use model::caller::Caller;
use model::code::{Code, Problem};
use model::right::{Place, Right};
use portal::Page;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::problem;
use crate::auth::Session;

/// A request that may be answered.
pub struct Ask {
    /// Which route.
    pub action: &'static Action,
    /// Who; nobody's rights for routes open to all.
    pub caller: Caller,
    /// Session of a browser.
    pub session: Option<Session>,
    /// Path parameters.
    pub path: BTreeMap<String, String>,
    /// Query parameters; the first of a name counts.
    pub query: BTreeMap<String, String>,
    /// Headers.
    pub headers: HeaderMap,
    /// The other end of the connection.
    pub peer: IpAddr,
    /// Body, within the route's limit.
    pub body: Bytes,
    /// When it came.
    pub now: At,
}

impl Ask {
    /// Path parameter `{id}` or `{name}`.
    pub fn id(&self) -> &str {
        let given = self.path.get("id").or_else(|| self.path.get("name"));
        given.map(String::as_str).unwrap_or_default()
    }

    /// A query parameter; empty when absent.
    pub fn query(&self, name: &str) -> &str {
        self.query.get(name).map(String::as_str).unwrap_or_default()
    }

    /// A query parameter that is yes or no; no when absent. Anything else is refused, a bare name
    /// too: who mistypes `dry_run` must not change anything by it.
    pub fn flag(&self, name: &str) -> Result<bool, Fail> {
        flag(&self.query, name)
    }

    /// A header; empty when absent or not text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// The JSON body.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Fail> {
        let kind = self.header(header::CONTENT_TYPE.as_str());
        if !kind.to_ascii_lowercase().starts_with("application/json") {
            let detail = format!("the body is {kind:?}, expected application/json");
            return Err(Problem::new(
                Code::WrongType,
                detail,
                "Send Content-Type: application/json.",
            )
            .into());
        }
        serde_json::from_slice(&self.body).map_err(|e| malformed(&e))
    }

    /// The right at that place, or the refusal to answer: 404 when the caller may not see it either.
    pub fn require(&self, right: Right, place: &Place) -> Result<(), Fail> {
        self.caller.require(right, place).map_err(|d| problem::of_denied(&d).into())
    }
}

/// A body that is not what the route reads: 400 when it is no JSON, 422 with the field otherwise.
pub fn malformed(e: &serde_json::Error) -> Fail {
    if !e.is_data() {
        return Problem::new(
            Code::Malformed,
            format!("the body is not JSON: {e}"),
            "Send valid JSON.",
        )
        .into();
    }
    let mut p = Problem::new(Code::Invalid, format!("the body: {e}"), "Correct the field named.");
    p.errors.push(json!({ "pointer": "", "detail": e.to_string() }));
    p.into()
}

fn flag(query: &BTreeMap<String, String>, name: &str) -> Result<bool, Fail> {
    let Some(given) = query.get(name) else { return Ok(false) };
    match given.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" => Ok(true),
        "0" | "false" | "no" => Ok(false),
        _ => {
            let given: String = given.chars().take(40).collect();
            let said = format!("{name}={given:?}: expected 1, true, yes, 0, false or no");
            Err(invalid(&format!("/{name}"), said))
        }
    }
}

/// A field that is wrong.
pub fn invalid(pointer: &str, detail: impl Into<String>) -> Fail {
    let detail = detail.into();
    let mut p = Problem::new(Code::Invalid, &detail, "Correct the field named and send it again.");
    p.errors.push(json!({ "pointer": pointer, "detail": detail }));
    p.into()
}

/// Why there is no answer.
#[derive(Debug)]
pub struct Fail(pub Box<Problem>);

impl From<Problem> for Fail {
    fn from(p: Problem) -> Fail {
        Fail(Box::new(p))
    }
}

impl From<store::Error> for Fail {
    fn from(e: store::Error) -> Fail {
        problem::of_store(e).into()
    }
}

/// An answer.
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// The value, the same for API and page.
    pub value: Value,
    /// Further headers.
    pub headers: Vec<(HeaderName, String)>,
    /// A body that is not a value: the live stream.
    pub stream: Option<Response>,
    /// Page it is drawn as, when the route is one.
    pub page: Option<Page>,
}

impl Answer {
    /// 200 with a value.
    pub fn ok(value: impl Serialize) -> Answer {
        Answer::with(StatusCode::OK, value)
    }

    /// Another success.
    pub fn with(status: StatusCode, value: impl Serialize) -> Answer {
        let value = serde_json::to_value(value).expect("values of the model are plain data");
        Answer { status, value, headers: Vec::new(), stream: None, page: None }
    }

    /// A body that is written while it is read.
    pub fn stream(response: Response) -> Answer {
        Answer { stream: Some(response), ..Answer::ok(()) }
    }

    /// With a header.
    pub fn header(mut self, name: HeaderName, value: impl Into<String>) -> Answer {
        self.headers.push((name, value.into()));
        self
    }

    /// Drawn as this page under `/`.
    pub fn page(mut self, page: Page) -> Answer {
        self.page = Some(page);
        self
    }

    /// With its revision.
    pub fn rev(self, rev: i64) -> Answer {
        self.header(header::ETAG, format!("\"{rev}\""))
    }
}

/// The headers as a client gets them; one that cannot be written is left out.
pub fn put_headers(headers: &mut HeaderMap, more: Vec<(HeaderName, String)>) {
    for (name, value) in more {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.append(name, value);
        }
    }
}

/// Checks `If-Match` against the present revision; `present` is the value to answer when it moved.
pub fn if_match(ask: &Ask, rev: i64, present: impl Serialize) -> Result<(), Fail> {
    let given = ask.header(header::IF_MATCH.as_str()).trim();
    if given.is_empty() {
        return Err(Problem::new(
            Code::IfMatchMissing,
            format!("the present revision is {rev}; say which one you mean to change"),
            format!("Send If-Match: \"{rev}\"."),
        )
        .into());
    }
    if given == "*" || given.trim_start_matches("W/").trim_matches('"') == rev.to_string() {
        return Ok(());
    }
    Err(moved(given, rev, present))
}

/// 409: the revision moved, with the present value.
pub fn moved(given: &str, rev: i64, present: impl Serialize) -> Fail {
    let mut p = Problem::new(
        Code::Moved,
        format!("you changed revision {given}, the present one is {rev}"),
        "Look at the present value (in errors) and decide again.",
    );
    p.errors.push(serde_json::to_value(present).unwrap_or_default());
    p.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_that_is_neither_yes_nor_no_is_refused_with_what_is_allowed() {
        let asked =
            |value: &str| flag(&BTreeMap::from([("dry_run".into(), value.into())]), "dry_run");
        for (value, meant) in [("1", true), ("TRUE", true), ("Yes", true), ("0", false)] {
            assert_eq!(asked(value).unwrap(), meant, "{value}");
        }
        assert!(!asked("No").unwrap() && !flag(&BTreeMap::new(), "dry_run").unwrap());
        for value in ["", "on", "2", "true "] {
            let refused = asked(value).unwrap_err().0;
            assert_eq!(refused.status, 422, "{value:?}");
            assert!(refused.detail.contains("1, true, yes, 0, false or no"), "{}", refused.detail);
        }
    }
}
