//! Signing in and out, who I am, and tokens of mine.
//!
//! Invariant: a secret is answered once, to its owner, and kept nowhere.

use std::sync::Arc;

use axum::http::{StatusCode, header};
use model::At;
use model::code::{Code, Problem};
use model::right::{Right, Rights, Scope};
use model::secret::Secret;
use model::view::Me;
use serde::Deserialize;
use serde_json::{Value, json};
use store::{KEY_MAX, NewToken, Replay, TOKEN_DAYS_MAX, TokenKind};

use super::Api;
use super::ask::{Answer, Ask, Fail, invalid};
use super::operation::{request_hash, reused};
use crate::auth::{cookie, login, opaque};

/// Life of a token when nothing is said, days: a quarter, so that forgotten ones end.
const TOKEN_DAYS: i64 = 90;
/// A day in milliseconds.
const DAY_MS: i64 = 86_400_000;
/// Longest name of a token.
const NAME_MAX: usize = 80;

/// `POST /session`: with name and password, or with the setup token and the first account's ones.
pub async fn create(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        name: String,
        password: String,
        setup_token: Option<String>,
    }
    let body: Body = ask.json()?;
    let given = login::Credentials {
        name: body.name,
        password: Secret::new(body.password),
        setup_token: body.setup_token.map(Secret::new),
    };
    let signed_in = login::sign_in(&api.app, &ask.headers, ask.peer, given).await?;
    let value = json!({
        "name": format!("{}/{}", signed_in.account.issuer, signed_in.account.subject),
        "display": signed_in.account.display,
        "csrf": signed_in.csrf,
        "expires_at": signed_in.expires_at,
    });
    let cookie = cookie::session(&signed_in.cookie);
    Ok(Answer::with(StatusCode::CREATED, value).header(header::SET_COOKIE, cookie))
}

/// `DELETE /session`: ends the session; asked with a token, revokes that token.
pub async fn delete(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    match (&ask.session, &ask.caller.actor.token) {
        (Some(session), _) => login::sign_out(&api.app, &ask.caller, &session.hash).await?,
        (None, Some(token)) => login::revoke(&api.app, &ask.caller, token).await?,
        (None, None) => {}
    }
    let gone = cookie::session_gone();
    Ok(Answer::with(StatusCode::NO_CONTENT, Value::Null).header(header::SET_COOKIE, gone))
}

/// `GET /me`.
pub async fn me(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let last_login = match &ask.session {
        Some(s) => api.app.store.login_last(&s.account, s.created_at).await?,
        None => None,
    };
    let words = |r: &Rights| r.words().iter().map(ToString::to_string).collect();
    let grants = ask.caller.grants.iter().map(|(r, s)| (words(r), String::from(s.clone())));
    let display = ask.session.as_ref().map(|s| s.display.clone());
    Ok(Answer::ok(Me {
        name: ask.caller.name(),
        display: display.unwrap_or_else(|| ask.caller.actor.subject.clone()),
        grants: grants.collect(),
        last_login,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenBody {
    #[serde(default)]
    kind: Option<String>,
    name: String,
    /// Until when, in days from now.
    #[serde(default)]
    days: Option<i64>,
    /// Rights; absent: all of mine.
    #[serde(default)]
    rights: Option<Vec<String>>,
    /// Scopes; absent: all of mine.
    #[serde(default)]
    scopes: Option<Vec<String>>,
}

/// `POST /me/tokens`.
pub async fn token(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let body: TokenBody = ask.json()?;
    let (id, token) = opaque::fresh_bearer();
    let mut new = read(&ask, &body, &id, &token)?;
    if let Some(parent) = &ask.caller.actor.token {
        let until = api.app.store.token_get(parent, ask.now).await?.map(|p| p.expires_at);
        let until = until.unwrap_or(ask.now);
        // Less than a day short is what passed since that one was made.
        if body.days.is_some() && new.expires_at.since_ms(until) >= DAY_MS {
            return Err(outlives(until, ask.now));
        }
        new.expires_at = new.expires_at.min(until);
    }
    let mut value = json!({
        "id": id,
        "kind": new.kind.as_str(),
        "name": new.name,
        "scopes": new.scopes,
        "expires_at": new.expires_at,
        "token": null,
    });
    let key = ask.header("idempotency-key");
    if key.len() > KEY_MAX {
        let detail = format!("an idempotency key has at most {KEY_MAX} characters");
        return Err(invalid("/idempotency-key", detail));
    }
    let replay = match key {
        "" => None,
        key => {
            let request_hash = request_hash(&ask)?;
            if let Some(found) = kept(&api, &ask, key, &request_hash).await? {
                return Ok(found);
            }
            Some(Replay { key: key.into(), request_hash, status: 201, answer: value.to_string() })
        }
    };
    let raced = replay.clone();
    match (api.app.store.token_create(&ask.caller, new, replay, ask.now).await, raced) {
        (Ok(()), _) => {}
        // The same request at the same moment won: its answer stands.
        (Err(store::Error::Conflict(text)), Some(replay)) => {
            let found = kept(&api, &ask, &replay.key, &replay.request_hash).await?;
            return found.ok_or_else(|| store::Error::Conflict(text).into());
        }
        (Err(e), _) => return Err(e.into()),
    }
    value["token"] = token.into();
    Ok(Answer::with(StatusCode::CREATED, value))
}

/// A token made by a token ends no later than that one; whoever asks for more is told, for a token
/// that ends a quarter early is found out by what stops working.
fn outlives(until: At, now: At) -> Fail {
    let days = (until.since_ms(now) + DAY_MS - 1) / DAY_MS;
    let mut fail = invalid(
        "/days",
        format!("the token you ask with ends {until}, and none made by it outlives it"),
    );
    fail.0.next = format!(
        "{}sign in with your password for longer (cachewarden login --days N) and create it then.",
        match days {
            ..1 => "Leave days out to have it end with that one, or ".to_string(),
            n => format!(
                "Ask for at most {n} days, leave days out to have it end with that one, or "
            ),
        }
    );
    fail
}

/// The answer kept under a key; the token in it is null, for it was shown once.
async fn kept(api: &Api, ask: &Ask, key: &str, hash: &str) -> Result<Option<Answer>, Fail> {
    let found = api.app.store.replay_get(&ask.caller, key, hash, ask.now).await.map_err(reused)?;
    let value = |r: Replay| serde_json::from_str::<Value>(&r.answer).unwrap_or_default();
    Ok(found.map(|r| Answer::with(StatusCode::CREATED, value(r))))
}

fn read(ask: &Ask, body: &TokenBody, id: &str, token: &str) -> Result<NewToken, Fail> {
    let word = body.kind.as_deref().unwrap_or("api");
    let kind = TokenKind::parse(word)
        .ok_or_else(|| invalid("/kind", format!("{word:?}: expected api, scrape or intake")))?;
    let name: String = body.name.trim().chars().filter(|c| !c.is_control()).collect();
    if name.is_empty() || name.chars().count() > NAME_MAX {
        return Err(invalid("/name", format!("a name has 1 to {NAME_MAX} characters")));
    }
    let days = body.days.unwrap_or(TOKEN_DAYS);
    if !(1..=TOKEN_DAYS_MAX).contains(&days) {
        return Err(invalid("/days", format!("{days}: expected 1 to {TOKEN_DAYS_MAX}")));
    }
    Ok(NewToken {
        id: id.into(),
        hash: opaque::hash(token),
        kind,
        name,
        rights: rights(ask, kind, body.rights.as_deref())?,
        scopes: scopes(ask, kind, body.scopes.as_deref())?,
        expires_at: ask.now + days * DAY_MS,
    })
}

fn rights(ask: &Ask, kind: TokenKind, words: Option<&[String]>) -> Result<Rights, Fail> {
    match (kind, words) {
        (TokenKind::Api, Some(words)) => {
            let unknown = |w: &String| invalid("/rights", format!("{w:?} is no right"));
            let rights: Result<Vec<Right>, Fail> =
                words.iter().map(|w| Right::parse(w).ok_or_else(|| unknown(w))).collect();
            Ok(Rights::of(&rights?))
        }
        (TokenKind::Api, None) if ask.caller.actor.token.is_none() => Ok(Rights::ALL),
        (TokenKind::Api, None) => {
            Ok(ask.caller.grants.iter().fold(Rights::NONE, |all, (r, _)| all.union(*r)))
        }
        (_, Some(_)) => Err(invalid("/rights", "tokens of this kind have one fixed right")),
        (_, None) => Ok(Rights::NONE),
    }
}

fn scopes(ask: &Ask, kind: TokenKind, words: Option<&[String]>) -> Result<Vec<Scope>, Fail> {
    if let Some(words) = words {
        let parse = |w: &String| Scope::try_from(w.clone()).map_err(|e| invalid("/scopes", e));
        return words.iter().map(parse).collect();
    }
    let mut scopes: Vec<Scope> = match kind.owner_right() {
        Some(right) => ask.caller.scopes(right).into_iter().cloned().collect(),
        None if ask.caller.actor.token.is_none() => vec![Scope::Platform],
        None => ask.caller.grants.iter().map(|(_, s)| s.clone()).collect(),
    };
    scopes.sort_by_key(|s| String::from(s.clone()));
    scopes.dedup();
    if let (Some(right), true) = (kind.owner_right(), scopes.is_empty()) {
        let detail = format!("a token of this kind needs your right {}", right.as_str());
        let next = "A security administrator can grant a role that holds it.";
        return Err(Problem::new(Code::RightMissing, detail, next).into());
    }
    Ok(scopes)
}
