//! User and password of a service.
//!
//! Invariant: a password comes in once and never goes out; it is in force, for all of the service's
//! connections, when this answers. Refuses to know whether the servers take it: the next poll says.

use std::sync::Arc;

use axum::http::StatusCode;
use model::ServiceId;
use model::secret::Secret;
use serde::Deserialize;
use store::{SECRET_CONSOLE, SECRET_NEXT, SECRET_REDIS, SECRET_SENTINEL};

use super::Api;
use super::ask::{Answer, Ask, Fail, invalid};
use super::problem::not_found;

/// Longest password: Redis hashes what it gets, and nobody types more.
const PASSWORD_MAX: usize = 512;

/// A body of `secret.put`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    /// ACL user; absent: the present one stays; empty: the default user.
    user: Option<String>,
    password: String,
}

/// `PUT /services/{id}/secrets/{kind}`.
pub async fn put(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let (service, kind) = which(&ask)?;
    let body: Body = ask.json()?;
    if body.password.is_empty() || body.password.len() > PASSWORD_MAX {
        let said = format!("expected 1 to {PASSWORD_MAX} bytes; to have none, DELETE it");
        return Err(invalid("/password", said));
    }
    if body.user.as_deref().is_some_and(|u| !model::access::is_user(u)) {
        return Err(invalid("/user", "a user's name has no blanks and no control characters"));
    }
    let password = Secret::new(body.password);
    let store = &api.app.store;
    let user = body.user.as_deref();
    if is_apart(kind) {
        if user.is_some() {
            return Err(invalid("/user", "its user is fixed"));
        }
        store.secret_put(&ask.caller, &service, kind, &password, ask.now).await?;
        return Ok(Answer::with(StatusCode::NO_CONTENT, ()));
    }
    store.credential_put(&ask.caller, (&service, kind), user, &password, ask.now).await?;
    in_force(&api).await
}

/// `DELETE /services/{id}/secrets/{kind}`.
pub async fn remove(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let (service, kind) = which(&ask)?;
    if is_apart(kind) {
        let store = &api.app.store;
        return match store.secret_forget(&ask.caller, &service, kind, ask.now).await? {
            true => Ok(Answer::with(StatusCode::NO_CONTENT, ())),
            false => Err(not_found("secret").into()),
        };
    }
    if !api.app.store.credential_remove(&ask.caller, (&service, kind), ask.now).await? {
        return Err(not_found("secret").into());
    }
    in_force(&api).await
}

/// Secrets no connection is kept with: nothing has to take them up.
fn is_apart(kind: &str) -> bool {
    [SECRET_NEXT, SECRET_CONSOLE].contains(&kind)
}

async fn in_force(api: &Api) -> Result<Answer, Fail> {
    // It is stored: when it cannot be read back now, the generation moved and the loop tries again.
    if let Err(e) = api.app.reload_inventory().await {
        tracing::error!(cause = %format!("{e:#}"), "a secret is stored, but not in force yet");
    }
    Ok(Answer::with(StatusCode::NO_CONTENT, ()))
}

fn which(ask: &Ask) -> Result<(ServiceId, &'static str), Fail> {
    let service: ServiceId = ask.id().parse().map_err(|_| not_found("service"))?;
    let kind = match ask.path.get("kind").map(String::as_str) {
        Some("redis") => SECRET_REDIS,
        Some("sentinel") => SECRET_SENTINEL,
        Some("redis-next") => SECRET_NEXT,
        Some("console") => SECRET_CONSOLE,
        _ => {
            let kinds = "kind of secret; there are redis, redis-next, console and sentinel";
            return Err(not_found(kinds).into());
        }
    };
    Ok((service, kind))
}
