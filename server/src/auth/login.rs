//! Signing in and out.
//!
//! Invariant: one answer and one cost for a wrong name and a wrong password; every attempt that is
//! looked at is a row and a record before it is answered; the cookie is always a fresh one.

use std::net::IpAddr;

use axum::http::HeaderMap;
use model::At;
use model::caller::Caller;
use model::code::{Code, Problem};
use model::secret::Secret;
use serde_json::json;
use store::{Account, LoginAttempt, NewAccount};

use super::{SESSION_MS, nobody, opaque, setup};
use crate::api::problem;
use crate::app::App;

/// Longest name looked at, bytes. Each name that is tried is remembered for its delay: ten thousand
/// of the longest body would fill the memory.
const NAME_MAX: usize = 256;

/// What somebody offers to be let in.
pub struct Credentials {
    /// Name.
    pub name: String,
    /// Password.
    pub password: Secret,
    /// With the setup token the account is made first.
    pub setup_token: Option<Secret>,
}

/// A session just opened.
pub struct SignedIn {
    /// Value of the cookie.
    pub cookie: String,
    /// Token forms and changes carry.
    pub csrf: String,
    /// Who.
    pub account: Account,
    /// Ends at the latest.
    pub expires_at: At,
}

/// Lets somebody in, or says why not.
pub async fn sign_in(
    app: &App,
    headers: &HeaderMap,
    peer: IpAddr,
    given: Credentials,
) -> Result<SignedIn, Problem> {
    let now = app.now();
    let address = app.client_address(headers, peer);
    let name = given.name.trim().to_lowercase();
    if name.len() > NAME_MAX {
        return Err(wrong_field("/name", "nobody has a name of that length"));
    }
    app.auth.backoff.begin(&name, &address, now).map_err(too_many)?;
    let asker = nobody(app, headers, peer, &name);
    let given = Credentials { name: name.clone(), ..given };
    let (account, method) = match given.setup_token {
        Some(_) => (set_up(app, &asker, &address, given, now).await?, "setup"),
        None => (check(app, &asker, &address, given, now).await?, "password"),
    };
    let cookie = opaque::fresh();
    let attempt = LoginAttempt {
        account: Some(account.id.clone()),
        subject: name.clone(),
        method: method.into(),
        result: "ok".into(),
        address: address.clone(),
    };
    let asker = Caller { actor: account.actor(), ..asker };
    let expires_at = now + SESSION_MS;
    app.store
        .session_open(&asker, &opaque::hash(&cookie), attempt, expires_at, now)
        .await
        .map_err(problem::of_store)?;
    app.auth.backoff.succeeded(&name, &address, now);
    Ok(SignedIn { csrf: opaque::csrf(&cookie), cookie, account, expires_at })
}

async fn check(
    app: &App,
    asker: &Caller,
    address: &str,
    given: Credentials,
    now: At,
) -> Result<Account, Problem> {
    let found = app.store.account_login(&given.name).await.map_err(problem::of_store)?;
    let phc = found.as_ref().map(|(_, phc)| phc.clone());
    let right = app.auth.hasher.verify(address, phc, given.password).await.map_err(busy)?;
    let (account, result) = match found {
        Some((account, _)) if right && !account.disabled => return Ok(account),
        Some((account, _)) if right => (Some(account.id), "disabled"),
        Some((account, _)) => (Some(account.id), "wrong"),
        None => (None, "wrong"),
    };
    refused(app, asker, address, (account, "password", result), now).await
}

async fn set_up(
    app: &App,
    asker: &Caller,
    address: &str,
    given: Credentials,
    now: At,
) -> Result<Account, Problem> {
    let Credentials { name, password, setup_token } = given;
    if !is_name(&name) {
        return Err(wrong_field("/name", "a name has 1 to 64 of a-z, 0-9 and - _ . @"));
    }
    let checked = app.auth.profile.check(password.reveal(), &name);
    checked.map_err(|e| wrong_field("/password", &e))?;
    let phc = app.auth.hasher.hash(address, password).await.map_err(busy)?;
    let token = setup_token.map(|t| opaque::hash(t.reveal().trim())).unwrap_or_default();
    let new =
        NewAccount { subject: name.clone(), display: name, staff_id: String::new(), password: phc };
    match app.store.account_setup(asker, &token, new, &setup::first_grants(), now).await {
        Ok(account) => {
            tracing::warn!(
                account = %account.subject,
                "the first account holds the system, security and operating rights together; give \
                 them to several persons"
            );
            Ok(account)
        }
        Err(store::Error::NotFound(_) | store::Error::Conflict(_)) => {
            refused(app, asker, address, (None, "setup", "wrong"), now).await
        }
        Err(e) => Err(problem::of_store(e)),
    }
}

/// Names are written into records, files and command lines.
fn is_name(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.@".contains(c);
    (1..=64).contains(&name.len()) && name.chars().all(fine)
}

fn wrong_field(pointer: &str, detail: &str) -> Problem {
    let mut p = Problem::new(Code::Invalid, detail, "Choose another one.");
    p.errors.push(json!({ "pointer": pointer, "detail": detail }));
    p
}

async fn refused<T>(
    app: &App,
    asker: &Caller,
    address: &str,
    (account, method, result): (Option<String>, &str, &str),
    now: At,
) -> Result<T, Problem> {
    let attempt = LoginAttempt {
        account,
        subject: asker.actor.subject.clone(),
        method: method.into(),
        result: result.into(),
        address: address.into(),
    };
    app.store.login_failed(asker, attempt, now).await.map_err(problem::of_store)?;
    let detail = match method {
        "setup" => "the setup token is wrong, spent or older than an hour",
        _ => "name or password is wrong",
    };
    let next = match method {
        "setup" => "Restart the server: while there is no account it prints a new setup token.",
        _ => "Try again; an administrator can set a new password.",
    };
    Err(Problem::new(Code::WrongCredentials, detail, next))
}

fn too_many(wait_ms: i64) -> Problem {
    let mut p = Problem::new(
        Code::TooManyTries,
        format!("too many wrong tries of this name from your address; wait {} s", seconds(wait_ms)),
        "Wait, then try again; from another address it works at once.",
    );
    p.errors.push(json!({ "retry_after_s": seconds(wait_ms) }));
    p
}

fn seconds(ms: i64) -> i64 {
    (ms + 999) / 1_000
}

fn busy(_: super::password::Busy) -> Problem {
    let mut p = Problem::new(
        Code::TooManyTries,
        "many people sign in at this moment",
        "Try again in a second.",
    );
    p.errors.push(json!({ "retry_after_s": 1 }));
    p
}

/// Ends the session.
pub async fn sign_out(app: &App, caller: &Caller, hash: &str) -> Result<(), Problem> {
    let now = app.now();
    app.store.session_end(caller, hash, "signed_out", now).await.map_err(problem::of_store)?;
    app.auth.sessions.forget(hash);
    Ok(())
}

/// Revokes the token that was used to ask.
pub async fn revoke(app: &App, caller: &Caller, id: &str) -> Result<(), Problem> {
    app.store.token_revoke(caller, id, app.now()).await.map_err(problem::of_store)?;
    app.auth.tokens.forget(id);
    Ok(())
}
