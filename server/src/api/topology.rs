//! A service as its servers name it, beside the service as the inventory has it.
//!
//! Invariant: candidates are addresses to look at; nothing here was dialled, and nothing is added by
//! looking. An instance of the inventory stays expected until the inventory lets it go.

use std::sync::Arc;

use model::row::Row;
use serde_json::{Value, json};

use super::Api;
use super::ask::{Answer, Ask, Fail};
use super::sight::Sight;
use crate::topology::unnamed;

/// `GET /services/{id}/topology`.
pub async fn get(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let sight = Sight::new(&api.app, &ask);
    let service = sight.service(ask.id())?;
    let nodes: Vec<Value> = sight
        .inventory
        .of_service(&service.id)
        .map(|instance| {
            let row = sight.row(&instance.id);
            let facts = row.as_deref().and_then(Row::facts);
            json!({
                "instance": instance.id,
                "kind": instance.kind.as_str(),
                "shard": instance.shard,
                "role": facts.and_then(|f| f.role).map(|r| r.as_redis()).unwrap_or_default(),
                "role_since": row.as_ref().and_then(|r| r.role_since),
                "upstream": facts.and_then(|f| f.upstream.clone()).unwrap_or_default(),
                "read_at": row.as_ref().map(|r| r.reading.at),
            })
        })
        .collect();
    Ok(Answer::ok(json!({
        "as_of": ask.now,
        "service": service.id,
        "nodes": nodes,
        "missing": unnamed(&sight.inventory, &api.app.board, service),
        "candidates": api.app.watching.strangers.of(&service.id),
    })))
}
