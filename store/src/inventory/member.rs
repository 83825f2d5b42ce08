//! One instance listed in the tree or struck out of it, for the operations that make and remove nodes.
//!
//! Invariant: the row, the service's expectation of replicas and their audit records are one
//! transaction; listing what is listed and striking out what is gone changes nothing.

use model::apply::Change;
use model::caller::Caller;
use model::inventory::Inventory;
use model::right::{Place, Right};
use model::service::{Instance, InstanceKind, Mode, Service};
use model::{At, InstanceId};
use serde_json::Value;

use super::diff::{Row, Step};
use super::{bump, write};
use crate::{Error, Result, Store};

impl Store {
    /// Lists an instance of a service. Answers whether it was not listed before.
    pub async fn instance_list(
        &self,
        caller: &Caller,
        instance: &Instance,
        now: At,
    ) -> Result<bool> {
        let present = self.inventory().await?;
        if present.instances.get(&instance.id) == Some(instance) {
            return Ok(false);
        }
        let mut after = present.clone();
        after.instances.insert(instance.id.clone(), instance.clone());
        self.write_member(caller, &present, &after, &instance.id, now).await?;
        Ok(true)
    }

    /// Strikes an instance out. Answers whether it was listed.
    pub async fn instance_strike(&self, caller: &Caller, id: &InstanceId, now: At) -> Result<bool> {
        let present = self.inventory().await?;
        let mut after = present.clone();
        if after.instances.remove(id).is_none() {
            return Ok(false);
        }
        self.write_member(caller, &present, &after, id, now).await?;
        Ok(true)
    }

    async fn write_member(
        &self,
        caller: &Caller,
        present: &Inventory,
        after: &Inventory,
        id: &InstanceId,
        now: At,
    ) -> Result<()> {
        let missing = || Error::NotFound(format!("service {}", id.service()));
        let service = present.services.get(&id.service()).ok_or_else(missing)?;
        caller.require(Right::TreeEdit, &Place::instance(id, &service.system))?;
        let (was, is) = (present.instances.get(id), after.instances.get(id));
        let row = is.or(was).map(|instance| Row::Instance(instance, &service.system));
        let row = row.ok_or_else(|| Error::NotFound(format!("instance {id}")))?;
        let value = |instance: Option<&Instance>| match instance {
            Some(i) => serde_json::to_value(i).expect("rows are plain data"),
            None => Value::Null,
        };
        let what = match (was, is) {
            (None, _) => "add",
            (_, None) => "remove",
            _ => "change",
        };
        let change = Change {
            kind: "instance".into(),
            id: id.to_string(),
            what: what.into(),
            before: value(was),
            after: value(is),
        };
        let expecting = Service { replicas_wanted: replicas(service, after), ..service.clone() };
        let mut tx = self.begin().await?;
        bump(&mut tx, present.generation).await?;
        write::step(&mut tx, caller, &Step { row, change }, now).await?;
        if expecting.replicas_wanted != service.replicas_wanted {
            let change = Change {
                kind: "service".into(),
                id: service.id.to_string(),
                what: "change".into(),
                before: Row::Service(service).value(),
                after: Row::Service(&expecting).value(),
            };
            let row = Row::Service(&expecting);
            write::step(&mut tx, caller, &Step { row, change }, now).await?;
        }
        tx.commit().await
    }
}

/// Replicas each master has when the nodes are shared evenly: what the service is to be held against
/// from now on.
fn replicas(service: &Service, after: &Inventory) -> u32 {
    let nodes: Vec<&Instance> =
        after.nodes(&service.id).filter(|i| i.kind == InstanceKind::Redis).collect();
    let mut shards: Vec<u32> = nodes.iter().map(|i| i.shard).collect();
    shards.sort_unstable();
    shards.dedup();
    let per_shard = match service.mode {
        Mode::Cluster => nodes.len() / shards.len().max(1),
        _ => nodes.len(),
    };
    u32::try_from(per_shard.saturating_sub(1)).unwrap_or(service.replicas_wanted)
}
