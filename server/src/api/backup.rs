//! Backups: which files are kept of what.
//!
//! Invariant: answered from the manifests alone; whether a file still lies there is told when it is
//! used.

use std::sync::Arc;

use model::backup::Backup;

use super::ask::{Answer, Ask, Fail};
use super::{Api, list};

/// Newest backups a list is made from.
const LOOKED_AT: i64 = 5_000;

/// `GET /backups`.
pub async fn list(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let mut all = api.app.store.backup_list(&ask.caller, LOOKED_AT).await?;
    all.retain(|b| {
        list::matches(ask.query("q"), &[&b.id, b.service.as_str(), b.instance.as_str()])
    });
    Ok(Answer::ok(list::page(&ask, all, |b: &Backup| b.id.clone(), ask.now)))
}
