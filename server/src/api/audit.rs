//! The audit trail: reading it and checking every hash.
//!
//! Invariant: the store answers only chains the caller may read.

use std::sync::Arc;

use model::right::Place;
use model::view::List;
use store::AuditEntry;

use super::ask::{Answer, Ask, Fail};
use super::{Api, list};

/// `GET /audit`.
pub async fn list(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let limit = list::limit(&ask);
    if ask.query("format") == "csv" {
        // What leaves the house as a file is itself on record.
        let entry = AuditEntry::new("audit.export", "csv", Place::platform());
        api.app.store.audit_write(&ask.caller, entry, ask.now).await?;
    }
    let page = api.app.store.audit_list(&ask.caller, list::cursor(&ask), limit).await?;
    let value = List { items: page.records, next: page.next, count: page.count, as_of: ask.now };
    Ok(Answer::ok(value))
}

/// `POST /audit/verify`.
pub async fn verify(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let items = api.app.store.audit_verify(&ask.caller).await?;
    let count = items.len();
    Ok(Answer::ok(List { items, next: None, count, as_of: ask.now }))
}
