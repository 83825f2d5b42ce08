//! The one-time setup token of the first start.
//!
//! Invariant: it is printed once and kept as a hash; it works once, within its hour, only while
//! there is no account.

use model::At;
use model::right::{Grant, Role, Scope};
use store::Store;

use super::opaque;

/// How long it works: long enough to read a console, short enough to be gone before a visitor.
pub const LIFE_MS: i64 = 3_600_000;

/// Makes a setup token when there is no account yet, and answers its text to print; a former one
/// stops working.
pub async fn ensure(store: &Store, now: At) -> store::Result<Option<String>> {
    if store.account_count().await? > 0 {
        return Ok(None);
    }
    let token = opaque::fresh();
    match store.setup_put(&opaque::hash(&token), now + LIFE_MS).await {
        Ok(()) => Ok(Some(token)),
        // Somebody was faster: there is an account now.
        Err(store::Error::Conflict(_)) => Ok(None),
        Err(e) => Err(e),
    }
}

/// What the first account may do: the installation has one person at that moment, who has to bring
/// in the tree, the others and the first operation.
pub fn first_grants() -> Vec<Grant> {
    [Role::SystemAdministrator, Role::SecurityAdministrator, Role::Operator]
        .into_iter()
        .map(|role| Grant { role, scope: Scope::Platform, until: None })
        .collect()
}
