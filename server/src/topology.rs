//! The loop that learns which shard a cluster's nodes belong to, and who is named by servers without
//! being in the inventory.
//!
//! Invariant: changes nothing but shard numbers of instances the inventory already has; roles are
//! never stored, they come from the latest rows. Refuses to add, or to dial, what a Redis announces.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::caller::Caller;
use model::row::Row;
use model::service::{Mode, Service};
use model::{At, InstanceId};

use crate::app::App;

mod strangers;

pub(crate) use strangers::{Strangers, unnamed};

/// Stores the numbers that moved and puts them in force.
pub(crate) async fn round(app: &App, now: At) -> anyhow::Result<()> {
    let inventory = app.inventory();
    let caller = Caller::system("topology", format!("topology-{}", now.ms()));
    let mut moved = false;
    for service in inventory.services.values().filter(|s| s.mode == Mode::Cluster) {
        let (previous, present) = shards(app, service);
        let changed: Vec<(InstanceId, u32)> =
            present.into_iter().filter(|(id, n)| previous.get(id) != Some(n)).collect();
        if !changed.is_empty() {
            moved |= app.store.shard_set(&caller, &service.id, &changed, now).await?;
        }
    }
    app.watching.strangers.look(&inventory, &app.board, now);
    if moved {
        app.reload_inventory().await?;
    }
    Ok(())
}

type Numbers = BTreeMap<InstanceId, u32>;

fn shards(app: &App, service: &Service) -> (Numbers, Numbers) {
    let inventory = app.inventory();
    let previous: Numbers = inventory.nodes(&service.id).map(|i| (i.id.clone(), i.shard)).collect();
    let rows: Vec<Arc<Row>> =
        inventory.nodes(&service.id).filter_map(|i| app.board.row(&i.id)).collect();
    // A cluster nobody numbered yet has every node in shard 0: no memory worth a vote.
    let fresh = previous.values().all(|n| *n == 0);
    let known = if fresh { Numbers::new() } else { previous.clone() };
    let present = exporter::topology::shards(&known, &rows);
    (previous, present)
}
