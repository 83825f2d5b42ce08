//! The service page: its nodes in one list, its zones, and each action as a form, a command and a
//! request.

use model::operation::OperationKind;
use model::view::{InstanceItem, PageAction, ServicePage};
use serde_json::{Value, json};

use super::{outlook, waterfall};
use crate::words::Voice;

pub(super) fn derive(v: &ServicePage, voice: Voice<'_>) -> Value {
    let nodes: Vec<&InstanceItem> = v.shards.iter().flat_map(|s| &s.instances).collect();
    let violations: Vec<Value> = v
        .shards
        .iter()
        .flat_map(|s| {
            s.violations.iter().map(move |text| json!({ "shard": s.shard, "text": text }))
        })
        .collect();
    let masters = nodes.iter().filter(|n| n.role == "master").count();
    let actions: Vec<Value> = v.actions.iter().map(|a| action(v, a, &nodes)).collect();
    json!({
        "nodes": nodes,
        "masters": masters,
        "roles_known": !nodes.is_empty() && nodes.iter().all(|n| !n.role.is_empty()),
        "replicas": nodes.iter().filter(|n| n.role == "slave").count(),
        "violations": violations,
        "waterfall": v.health.as_ref().map(|e| waterfall::one(e, voice)),
        "actions": actions,
        "kinds": kinds(),
        "capacity": outlook::capacity(&v.capacity, voice),
        "slo": outlook::slo(&v.slo),
        "several_shards": v.shards.len() > 1,
    })
}

/// Kinds a person may plan for a service.
fn kinds() -> Vec<&'static str> {
    OperationKind::ALL.iter().filter(|k| !k.of_zone()).map(|k| k.as_str()).collect()
}

fn action(v: &ServicePage, a: &PageAction, nodes: &[&InstanceItem]) -> Value {
    let service = v.service.id.as_str();
    let target = if a.target.is_empty() { service } else { a.target.as_str() };
    let params = if a.target.is_empty() {
        json!({})
    } else {
        json!({ target_parameter(&a.kind): a.target })
    };
    let body = json!({ "kind": a.kind, "service": service, "params": params });
    let node = nodes.iter().find(|n| n.id.as_str() == a.target);
    json!({
        "kind": a.kind, "target": a.target, "label": a.label, "cli": a.cli, "shown": target,
        "zone": node.map_or("", |n| n.zone.as_str()),
        "address": node.map_or("", |n| n.address.as_str()),
        "role": node.map_or("", |n| n.role.as_str()),
        "api": format!(
            "curl -X POST -H \"Authorization: Bearer $CACHEWARDEN_TOKEN\" -H 'Content-Type: application/json' \"$CACHEWARDEN_URL/api/v1/operations/plans\" -d '{body}'"
        ),
    })
}

/// The parameter of a kind that names the node it acts on.
fn target_parameter(kind: &str) -> &'static str {
    if matches!(kind, "node_restart" | "replica_remove" | "restore" | "node_move" | "demote") {
        "instance"
    } else {
        "target"
    }
}
