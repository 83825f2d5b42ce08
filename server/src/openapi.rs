//! The API as an OpenAPI 3.1 document.
//!
//! Invariant: paths, methods, rights and summaries come from `model::action`, so the document
//! cannot name a route that is not there; only the shapes of the main values are kept by hand.

mod body;
mod shapes;

use std::sync::Arc;

use model::action::{ACTIONS, Action, Need};
use serde_json::{Map, Value, json};

use crate::api::Api;
use crate::api::ask::{Answer, Ask, Fail};
use body::body;
pub use shapes::{columns, fields, schemas};

/// `GET /openapi.json`.
pub async fn get(_: Arc<Api>, _: Ask) -> Result<Answer, Fail> {
    Ok(Answer::ok(document()))
}

/// The whole document.
pub fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for action in ACTIONS {
        let path = paths.entry(action.path).or_insert_with(|| json!({}));
        path[action.method.to_lowercase()] = operation(action);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "cachewarden",
            "version": "v1",
            "description": "Times are RFC 3339 UTC with milliseconds; sizes _bytes, durations _ms \
                or _s; additive changes only within v1.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/api/v1" }],
        "security": [{ "bearer": [] }, { "session": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "cw_<id>_<secret>" },
                "session": { "type": "apiKey", "in": "cookie", "name": "__Host-cw" },
            },
            "schemas": schemas(),
        },
    })
}

fn operation(action: &Action) -> Value {
    let status = success(action);
    let mut responses = json!({
        status: { "description": "done", "content": content(action) },
        "default": {
            "description": "a problem; its code says which",
            "content": { "application/problem+json": { "schema": reference("Problem") } },
        },
    });
    if status == "204" {
        responses[status] = json!({ "description": "done" });
    }
    let mut operation = json!({
        "operationId": action.id,
        "summary": action.summary,
        "parameters": parameters(action),
        "responses": responses,
        "x-right": right(action.need),
        "x-danger-level": action.level,
        "x-page": action.page,
        "x-cli": action.cli,
    });
    if action.need == Need::Nobody {
        operation["security"] = json!([]);
    }
    if let Some(body) = body(action.id) {
        operation["requestBody"] = body;
    }
    operation
}

fn right(need: Need) -> &'static str {
    match need {
        Need::Nobody => "",
        Need::SignedIn => "signed in",
        Need::Right(right) => right.as_str(),
    }
}

fn success(action: &Action) -> &'static str {
    match action.id {
        "session.create" | "token.create" | "operation.create" | "silence.create"
        | "maintenance.create" => "201",
        "intake.alertmanager"
        | "operation.cancel"
        | "operation.approve"
        | "incident.approve"
        | "operation.pause"
        | "operation.resume" => "202",
        "session.delete" | "secret.put" | "secret.remove" => "204",
        _ => "200",
    }
}

fn parameters(action: &Action) -> Value {
    let mut all = Vec::new();
    let text = json!({ "type": "string" });
    for part in action.path.split('/') {
        if let Some(name) = part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
            all.push(json!({ "name": name, "in": "path", "required": true, "schema": text }));
        }
    }
    let mut query = |name: &str, what: &str, schema: Value| {
        all.push(json!({ "name": name, "in": "query", "description": what, "schema": schema }));
    };
    let file = json!({ "enum": ["json", "csv"] });
    if action.id.ends_with(".list") {
        query(
            "limit",
            "rows of a page",
            json!({ "type": "integer", "minimum": 1, "maximum": 500, "default": 100 }),
        );
        query("page", "cursor: next of the page before", text.clone());
        query("format", "json, or csv: up to 10 000 rows as a file", file.clone());
        if action.id != "audit.list" {
            query("q", "words that must occur", text.clone());
        }
    }
    match action.id {
        "service.list" | "instance.list" | "system.list" | "alert.list" | "incident.list"
        | "operation.list" | "item.list" | "score_policy.list" | "policy.list" | "silence.list"
        | "maintenance.list" => query("in", "tenant or system", text.clone()),
        "inventory.apply" => {
            query("dry_run", "1: only answer what would change", text.clone());
            query("prune", "1: remove what the file does not name", text.clone());
            query(
                "prune_count",
                "removals expected, when more than a fifth",
                json!({ "type": "integer" }),
            );
        }
        id if id.ends_with(".health") => {
            query("at", "a past moment, RFC 3339", text.clone());
            query("format", "json, or csv: the waterfall as a file", file.clone());
            query(
                "set.INPUT",
                "an input to set; above the instance set.INSTANCE.INPUT",
                json!({ "type": "number" }),
            );
        }
        "zone.loss" => query("format", "json, or csv: its services as a file", file.clone()),
        "history.list" | "response.list" => {
            for (name, what) in HISTORY {
                query(name, what, text.clone());
            }
        }
        "live" => query("topics", "kpi, alerts, op:ID, joined by commas", text.clone()),
        id => {
            for (name, what) in queries(id) {
                query(name, what, text.clone());
            }
        }
    }
    all.extend(header(action.id));
    Value::Array(all)
}

/// Words of a query that are plain text.
fn queries(id: &str) -> &'static [(&'static str, &'static str)] {
    match id {
        "policy.effective" => &[("instance", "which instance"), ("policy", "one policy only")],
        "policy.get" => &[
            ("scope", "where: platform, tenant:ID … ; platform when absent"),
            ("instance", "for one instance"),
            ("selector", "of the document: tier=core|important,env=prod"),
            ("from", "show the document of that revision"),
            ("new", "1: begin a policy that does not exist yet"),
        ],
        "policy.put" => &[("dry_run", "1: only check")],
        "quality.get" => &[("day", "2026-03-01: an older report")],
        "service.adopt" => &[("dry_run", "1: only answer what would be adopted")],
        "service.acl" => &[
            ("user", "name of the monitor user, cw-monitor when absent"),
            ("password_sha256", "hash of its password, 64 hex digits"),
        ],
        _ => &[],
    }
}

/// What the history is cut to.
const HISTORY: [(&str, &str); 11] = [
    ("from", "began at or after: a time, a date, or 7d ago; 30d when absent"),
    ("to", "began before"),
    ("in", "tenant, system or service"),
    ("instance", "instance id"),
    ("policy", "policy id"),
    ("alertname", "name of the alert"),
    ("level", "info, warning or critical"),
    ("phase", "firing or resolved"),
    ("acknowledged", "yes or no"),
    ("in_maintenance", "yes or no: began in a maintenance"),
    ("reason", "why it ended: threshold, missing, reconciled …"),
];

/// The header a route reads, beyond those of every request.
fn header(id: &str) -> Option<Value> {
    let (name, what, required) = match id {
        "token.create" | "operation.create" => {
            ("Idempotency-Key", "the same request again gives the same answer for 24 h", false)
        }
        "score_policy.put" | "policy.put" | "policy.retire" => {
            ("If-Match", "revision that was seen, or *; none for a first document", false)
        }
        "runbook.mode" | "item.delete" | "calendar.delete" => {
            ("If-Match", "revision that was seen, or *", true)
        }
        "item.put" | "calendar.put" => {
            ("If-Match", "revision that was seen, or *; none for a new one", false)
        }
        "kill_switch.set" => {
            ("If-Match", "needed to switch off: revision that was seen, or *", false)
        }
        _ => return None,
    };
    let schema = json!({ "type": "string", "maxLength": 64 });
    Some(json!({
        "name": name, "in": "header", "required": required, "description": what, "schema": schema,
    }))
}

fn content(action: &Action) -> Value {
    if action.id == "live" {
        return json!({ "text/event-stream": { "schema": { "type": "string" } } });
    }
    json!({ "application/json": { "schema": answer(action.id) } })
}

fn answer(id: &str) -> Value {
    let one = match id {
        "session.create" => "Session",
        "me.get" => "Me",
        "token.create" => "Token",
        "overview.get" => "Overview",
        "tenant.list" | "tenant.get" => "TenantItem",
        "system.list" | "system.get" => "SystemItem",
        "service.list" => "ServiceItem",
        "service.get" => "ServicePage",
        "instance.list" => "InstanceItem",
        "instance.get" => "InstancePage",
        "instance.turbo" | "instance.turbo_end" => "Turbo",
        "service.topology" => "Topology",
        "parameter.list" => "ParameterRow",
        "console.get" | "console.run" => "ConsolePage",
        "console.acl" => "ConsoleAcl",
        "service.capacity" => "CapacityPage",
        "service.slo" => "SloPage",
        "zone.loss" => "ZoneLoss",
        "service.zone_risk" => "ZoneRisk",
        "backup.list" => "Backup",
        "alert.list" => "Alert",
        "alert.get" => "AlertPage",
        "incident.list" | "incident.approve" => "Incident",
        "incident.get" => "IncidentPage",
        "runbook.list" | "runbook.mode" => "Runbook",
        "kill_switch.set" => "KillSwitch",
        "item.list" => "ItemItem",
        "item.get" | "item.check" | "item.test" | "item.put" | "item.restore" | "item.delete" => {
            "ItemPage"
        }
        "score_policy.list" => "ScorePolicyItem",
        "score_policy.get"
        | "score_policy.preview"
        | "score_policy.put"
        | "score_policy.restore"
        | "service.profile" => "ScorePolicyPage",
        "policy.list" => "PolicyItem",
        "policy.get" | "policy.check" | "policy.backtest" | "policy.put" | "policy.restore"
        | "policy.retire" => "PolicyPage",
        "operation.plan" => "Planned",
        "operation.list" => "OperationItem",
        "operation.get" => "OperationPage",
        "operation.create" | "operation.cancel" | "operation.approve" | "operation.pause"
        | "operation.resume" => "Operation",
        "inventory.apply" => "Diff",
        "audit.list" => "AuditRecord",
        "alert.ack" => "Ack",
        "history.list" => "HistoryItem",
        "response.list" => "Answered",
        "quality.get" => "QualityReport",
        "silence.list" | "silence.create" | "silence.expire" => "SilenceItem",
        "maintenance.list" | "maintenance.create" | "maintenance.end" => "MaintenanceItem",
        "calendar.list" | "calendar.get" | "calendar.put" | "calendar.delete" => "CalendarItem",
        "docs.list" => "DocItem",
        "docs.get" => "DocPage",
        "audit.verify" => "ChainReport",
        _ if id.ends_with(".health") || id.ends_with(".whatif") => "HealthPage",
        _ => return json!({ "type": "object" }),
    };
    if id.ends_with(".list") || id == "audit.verify" {
        return json!({ "allOf": [reference("List"), {
            "type": "object",
            "properties": { "items": { "type": "array", "items": reference(one) } },
        }] });
    }
    reference(one)
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_to_a_schema() {
        let document = document();
        let text = document.to_string();
        for part in text.split("#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap_or_default();
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
    }

    #[test]
    fn every_action_is_in_the_document() {
        let document = document();
        for action in ACTIONS {
            let found = &document["paths"][action.path][action.method.to_lowercase()];
            assert_eq!(found["operationId"], action.id);
        }
    }
}
