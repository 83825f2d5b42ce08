//! What requests carry, by action.
//!
//! Invariant: kept by hand beside the handlers; a body that names a schema names one of `shapes`.

use model::operation::OperationKind;
use serde_json::{Value, json};

use super::reference;

fn item(id: &str) -> (Value, Value) {
    let string = || json!({ "type": "string" });
    let mut properties = json!({
        "item": reference("ItemDoc"), "reason": string(), "rev": { "type": "integer" },
    });
    if id != "item.test" {
        return (json!(["item"]), properties);
    }
    properties["instance"] = string();
    (json!(["item", "instance"]), properties)
}

fn adoption() -> (Value, Value) {
    let string = || json!({ "type": "string" });
    let strings = || json!({ "type": "array", "items": { "type": "string" } });
    let mut properties = json!({
        "seeds": strings(), "networks": strings(), "managed": { "type": "boolean" },
        "zones": { "type": "object", "additionalProperties": string() },
    });
    for name in ["document", "tenant", "system", "service", "tier", "zone", "hash"] {
        properties[name] = string();
    }
    for name in ["auth", "sentinel_auth", "tls", "acl"] {
        properties[name] = json!({ "type": "object" });
    }
    (json!([]), properties)
}

/// What people do about alerts.
fn respond(id: &str) -> (Value, Value) {
    let string = || json!({ "type": "string" });
    let mut properties = json!({
        "scope": string(), "starts_at": string(), "ends_at": string(), "duration": string(),
    });
    match id {
        "silence.create" => {
            properties["matchers"] = json!({ "type": "array", "items": {} });
            properties["comment"] = string();
            (json!(["matchers", "comment"]), properties)
        }
        "maintenance.create" => {
            properties["reason"] = string();
            (json!(["scope", "reason"]), properties)
        }
        "calendar.put" => (json!(["calendar"]), json!({ "calendar": { "type": "object" } })),
        _ => (json!([]), json!({ "note": string() })),
    }
}

pub(super) fn body(id: &str) -> Option<Value> {
    let string = || json!({ "type": "string" });
    let strings = || json!({ "type": "array", "items": { "type": "string" } });
    let (required, properties) = match id {
        id if of_change(id).is_some() => of_change(id)?,
        "session.create" => (
            json!(["name", "password"]),
            json!({ "name": string(), "password": string(), "setup_token": string() }),
        ),
        "token.create" => (
            json!(["name"]),
            json!({
                "name": string(), "kind": { "enum": ["api", "scrape", "intake"] },
                "days": { "type": "integer", "minimum": 1, "maximum": 365 },
                "rights": strings(), "scopes": strings(),
            }),
        ),
        "runbook.mode" => (
            json!(["mode", "scope", "reason"]),
            json!({
                "mode": { "enum": ["off", "observe", "ask", "auto"] },
                "scope": string(), "reason": string(),
            }),
        ),
        "item.put" | "item.check" | "item.test" => item(id),
        "score_policy.preview" => (json!(["doc"]), json!({ "doc": reference("ScorePolicyDoc") })),
        "score_policy.put" | "score_policy.restore" => score_policy(id),
        id if id.starts_with("policy.") => policy(id)?,
        "service.profile" => (
            json!(["profile"]),
            json!({ "profile": { "enum": ["cache", "store", "queue", "session"] } }),
        ),
        "item.restore" => {
            (json!(["rev"]), json!({ "rev": { "type": "integer" }, "reason": string() }))
        }
        "kill_switch.set" => (
            json!(["on", "reason"]),
            json!({ "on": { "type": "boolean" }, "scope": string(), "reason": string() }),
        ),
        "alert.ack" | "silence.create" | "maintenance.create" | "calendar.put" => respond(id),
        id if id.ends_with(".whatif") => {
            (json!(["overrides"]), json!({ "overrides": { "type": "object" } }))
        }
        "instance.turbo" => (
            json!(["minutes"]),
            json!({ "minutes": { "type": "integer", "minimum": 1, "maximum": 10 } }),
        ),
        "secret.put" => (json!(["password"]), json!({ "user": string(), "password": string() })),
        "service.adopt" => adoption(),
        "service.acl_proof" => {
            let login = json!({ "type": "object" });
            let properties = json!({ "user": string(), "auth": login, "sentinel_auth": login });
            (json!([]), properties)
        }
        "inventory.apply" => {
            let any = json!({ "schema": { "type": "object" } });
            return Some(json!({
                "required": true,
                "content": { "application/yaml": any, "application/json": any },
            }));
        }
        "intake.alertmanager" => (
            json!(["version", "alerts"]),
            json!({ "version": { "const": "4" }, "alerts": { "type": "array", "items": { "type": "object" } } }),
        ),
        _ => return None,
    };
    let schema = json!({ "type": "object", "required": required, "properties": properties });
    Some(json!({ "required": true, "content": { "application/json": { "schema": schema } } }))
}

/// Of operations, approvals and the console.
fn of_change(id: &str) -> Option<(Value, Value)> {
    let string = || json!({ "type": "string" });
    Some(match id {
        "operation.plan" => (json!(["kind", "service"]), wish()),
        "operation.create" => {
            let mut properties = wish();
            for name in ["plan", "confirm", "reason", "idem_key"] {
                properties[name] = string();
            }
            (json!(["plan", "confirm", "reason"]), properties)
        }
        "incident.approve" => {
            (json!(["plan", "reason"]), json!({ "plan": string(), "reason": string() }))
        }
        "operation.cancel" => (json!([]), json!({ "reason": string() })),
        "console.run" => (json!(["command"]), json!({ "command": string() })),
        "operation.approve" => (
            json!(["plan"]),
            json!({ "plan": string(), "approve": { "type": "boolean" }, "reason": string() }),
        ),
        _ => return None,
    })
}

fn score_policy(id: &str) -> (Value, Value) {
    let string = || json!({ "type": "string" });
    let mut properties =
        json!({ "reason": string(), "preview": string(), "sign": { "type": "boolean" } });
    let what = if id == "score_policy.put" { "doc" } else { "rev" };
    properties[what] = match what {
        "doc" => reference("ScorePolicyDoc"),
        _ => json!({ "type": "integer" }),
    };
    (json!([what, "reason", "preview"]), properties)
}

/// Of threshold policies.
fn policy(id: &str) -> Option<(Value, Value)> {
    let string = || json!({ "type": "string" });
    let selector = json!({ "type": "object" });
    let document = json!({ "doc": reference("PolicyDoc"), "text": string() });
    Some(match id {
        "policy.check" => (json!([]), document),
        "policy.backtest" => {
            let mut properties = document;
            for name in ["from", "to", "step"] {
                properties[name] = string();
            }
            properties["pages_per_week"] = json!({ "type": "number", "minimum": 0 });
            (json!([]), properties)
        }
        "policy.put" => {
            let mut properties = document;
            properties["reason"] = string();
            properties["rev"] = json!({ "type": "integer" });
            (json!(["reason"]), properties)
        }
        "policy.restore" | "policy.retire" => (
            json!(["scope", "reason"]),
            json!({
                "scope": string(), "selector": selector, "reason": string(),
                "rev": { "type": "integer" },
            }),
        ),
        _ => return None,
    })
}

fn wish() -> Value {
    json!({
        "kind": { "enum": OperationKind::ALL.iter().map(|k| k.as_str()).collect::<Vec<_>>() },
        "service": { "type": "string" },
        "params": { "type": "object" },
    })
}
