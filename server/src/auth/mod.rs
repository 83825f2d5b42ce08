//! Who asks: local accounts, sessions of browsers, bearer tokens of programs.
//!
//! Invariant: a `Caller` is made from live grants for one request; everything that proves identity
//! is kept as a hash. Refuses to know what the caller wants: rights are checked by the route and
//! again by the store.

pub mod backoff;
pub mod cookie;
mod known;
pub mod login;
pub mod opaque;
pub mod origin;
pub mod password;
pub mod reach;
pub mod setup;
pub(crate) mod signed;

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, USER_AGENT};
use base64::Engine as _;
use model::At;
use model::caller::{Actor, Caller, Via};
use model::code::{Code, Problem};
use serde::Deserialize;
use store::{Account, SessionRow, TokenKind, TokenRow};

use crate::api::problem;
use crate::app::App;
use known::Known;
use reach::Reach;

/// Idle end of a session that may operate: a screen left alone.
const IDLE_OPERATING_MS: i64 = 15 * 60_000;
/// Idle end of a session that only reads.
const IDLE_READING_MS: i64 = 60 * 60_000;
/// Absolute end of every session: a working day.
pub const SESSION_MS: i64 = 8 * 3_600_000;

/// `[auth]` of the configuration file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `asvs`: at least 15 characters.
    pub password_profile: password::Profile,
}

/// What authentication remembers while the process runs.
pub struct Auth {
    /// Acceptable passwords.
    pub profile: password::Profile,
    hasher: password::Hasher,
    backoff: backoff::Backoff,
    sessions: Known<SessionRow>,
    tokens: Known<TokenRow>,
}

impl Auth {
    /// Nothing remembered yet.
    pub fn new(config: &Config) -> Auth {
        Auth {
            profile: config.password_profile,
            hasher: password::Hasher::new(),
            backoff: backoff::Backoff::default(),
            sessions: Known::default(),
            tokens: Known::default(),
        }
    }
}

/// A browser's session.
#[derive(Debug, Clone)]
pub struct Session {
    /// Hash of its cookie: its name in the store.
    pub hash: String,
    /// Token its forms carry.
    pub csrf: String,
    /// Account.
    pub account: String,
    /// Name for people.
    pub display: String,
    /// Signed in.
    pub created_at: At,
}

/// Who asks, from the headers: a bearer token, else a session cookie. `request_id` is read from
/// `X-Request-Id`, which the router sets. Refuses with CW-1100 when neither is there or alive.
pub async fn caller(
    app: &App,
    headers: &HeaderMap,
    peer: IpAddr,
) -> Result<(Caller, Option<Session>), Problem> {
    let now = app.now();
    if let Some(value) = headers.get(AUTHORIZATION) {
        let offered = offered(value.to_str().unwrap_or_default());
        let bearer = offered.as_deref().and_then(opaque::bearer);
        return match bearer {
            Some(bearer) => by_token(app, headers, peer, bearer, now).await.map(|c| (c, None)),
            None => Err(not_signed_in("the Authorization header holds no token of ours")),
        };
    }
    match cookie::get(headers, cookie::SESSION) {
        Some(cookie) if !cookie.is_empty() => by_cookie(app, headers, peer, cookie, now).await,
        _ => Err(not_signed_in("nobody is signed in")),
    }
}

/// The token of an Authorization header: itself, or the password of basic authentication, for
/// senders that can do no better.
fn offered(header: &str) -> Option<String> {
    let (how, rest) = header.split_once(' ')?;
    if how.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_string());
    }
    if !how.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = base64::engine::general_purpose::STANDARD.decode(rest.trim()).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    pair.split_once(':').map(|(_, password)| password.to_string())
}

async fn by_cookie(
    app: &App,
    headers: &HeaderMap,
    peer: IpAddr,
    cookie: &str,
    now: At,
) -> Result<(Caller, Option<Session>), Problem> {
    let over = || not_signed_in("the session is over");
    let hash = opaque::hash(cookie);
    let (row, used_at) = match app.store.session_get(&hash, now).await {
        Ok(Some(row)) => {
            let used = app.auth.sessions.saw(&hash, &row, row.seen_at, row.expires_at, now);
            (row, used)
        }
        Ok(None) => {
            app.auth.sessions.forget(&hash);
            return Err(over());
        }
        Err(store::Error::NotWritable(_)) => app.auth.sessions.last(&hash, now).ok_or_else(over)?,
        Err(e) => return Err(problem::of_store(e)),
    };
    let reach = reach::of_grants(&row.grants);
    let idle = if reach::operates(&reach) { IDLE_OPERATING_MS } else { IDLE_READING_MS };
    if now.since_ms(used_at) > idle {
        return Err(over());
    }
    let session = Session {
        csrf: opaque::csrf(cookie),
        account: row.account.id.clone(),
        display: row.account.display.clone(),
        created_at: row.created_at,
        hash,
    };
    Ok((made(app, headers, peer, &row.account, Via::Portal, None, reach), Some(session)))
}

async fn by_token(
    app: &App,
    headers: &HeaderMap,
    peer: IpAddr,
    bearer: opaque::Bearer<'_>,
    now: At,
) -> Result<Caller, Problem> {
    let row = row_of(app, bearer.id, now).await?;
    if !opaque::same(&row.hash, &opaque::hash(bearer.whole)) {
        return Err(no_token());
    }
    app.auth.tokens.saw(bearer.id, &row, row.used_at.unwrap_or_default(), row.expires_at, now);
    if app.auth.tokens.used(bearer.id, now) {
        // The use is a courtesy to the owner: reading goes on when it cannot be noted.
        let _ = app.store.token_touch(bearer.id, now).await;
    }
    Ok(of_row(app, headers, peer, row))
}

fn no_token() -> Problem {
    not_signed_in("the token is unknown, revoked or expired")
}

/// The token of that id, as last known while the store is away.
async fn row_of(app: &App, id: &str, now: At) -> Result<TokenRow, Problem> {
    match app.store.token_get(id, now).await {
        Ok(found) => found.ok_or_else(no_token),
        Err(store::Error::NotWritable(_)) => {
            app.auth.tokens.last(id, now).map(|(row, _)| row).ok_or_else(no_token)
        }
        Err(e) => Err(problem::of_store(e)),
    }
}

fn of_row(app: &App, headers: &HeaderMap, peer: IpAddr, row: TokenRow) -> Caller {
    let inventory = app.inventory();
    let system_of = |s: &model::ServiceId| inventory.services.get(s).map(|s| s.system.clone());
    let via = match row.kind {
        TokenKind::Intake => Via::Webhook,
        _ if from_cli(headers) => Via::Cli,
        _ => Via::Api,
    };
    let reach = reach::of_token(&row, system_of);
    made(app, headers, peer, &row.account, via, Some(row.id), reach)
}

/// Notes that a person did something: reading pages that refresh by themselves is not activity.
pub(crate) async fn active(app: &App, session: &Session, now: At) {
    if app.auth.sessions.used(&session.hash, now) {
        // Kept in memory anyway; a store that cannot be written must not end reading.
        let _ = app.store.session_touch(&session.hash, now).await;
    }
}

fn made(
    app: &App,
    headers: &HeaderMap,
    peer: IpAddr,
    account: &Account,
    via: Via,
    token: Option<String>,
    grants: Reach,
) -> Caller {
    Caller {
        actor: Actor { token, ..account.actor() },
        via,
        address: Some(app.client_address(headers, peer)),
        request_id: request_id(headers),
        grants,
    }
}

/// Whoever has not signed in, for records of attempts.
pub(crate) fn nobody(app: &App, headers: &HeaderMap, peer: IpAddr, subject: &str) -> Caller {
    let known: String = subject.chars().filter(|c| !c.is_control()).take(80).collect();
    Caller {
        actor: Actor { issuer: "local".into(), subject: known, ..Actor::default() },
        via: if from_cli(headers) { Via::Cli } else { Via::Portal },
        address: Some(app.client_address(headers, peer)),
        request_id: request_id(headers),
        grants: Vec::new(),
    }
}

fn from_cli(headers: &HeaderMap) -> bool {
    let agent = headers.get(USER_AGENT).and_then(|v| v.to_str().ok());
    agent.is_some_and(|a| a.starts_with("cachewarden/"))
}

fn request_id(headers: &HeaderMap) -> String {
    let id = headers.get("x-request-id").and_then(|v| v.to_str().ok());
    id.unwrap_or_default().to_string()
}

fn not_signed_in(detail: &str) -> Problem {
    Problem::new(
        Code::NotSignedIn,
        detail,
        "Sign in at /login, or send a token: Authorization: Bearer cw_…",
    )
}
