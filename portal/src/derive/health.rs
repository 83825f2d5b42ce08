//! The page of a score: its waterfall, what could be set, how it went, what lies below.
//!
//! Invariant: links lead to the same explanation at another moment or with other inputs, so that a page
//! without script can do all of it.

use model::health::{HealthPage, HistoryMark, Lever, page_of};
use model::score::{Explained, Level};
use serde_json::{Value, json};

use super::waterfall;
use crate::format;
use crate::link;
use crate::words::Voice;

pub(super) fn page(v: &HealthPage, voice: Voice<'_>) -> Value {
    let here = page_of(v.health.level, &v.health.id);
    let children: Vec<Value> = v.children.iter().map(|c| child(c, voice)).collect();
    json!({
        "waterfall": waterfall::one(&v.health, voice),
        "children": children,
        "children_more": v.children_count.saturating_sub(v.children.len()),
        "groups": groups(&v.inputs, v.health.level),
        "marks": v.history.iter().map(|m| mark(m, &here)).collect::<Vec<_>>(),
        "is_past": v.asked.is_some(),
        "here": here,
    })
}

fn child(e: &Explained, voice: Voice<'_>) -> Value {
    let mut one = waterfall::one(e, voice);
    one["href"] = page_of(e.level, &e.id).into();
    one
}

fn mark(m: &HistoryMark, here: &str) -> Value {
    let href = format!("{here}?at={}", link::encode(&m.at.to_string()));
    json!({ "m": m, "href": href, "gates": m.gates.join(", ") })
}

/// The inputs by instance; at the instance level one group without a name.
fn groups(levers: &[Lever], level: Level) -> Vec<Value> {
    let mut groups: Vec<(&str, Vec<Value>)> = Vec::new();
    for lever in levers {
        if groups.last().is_none_or(|(name, _)| *name != lever.instance) {
            groups.push((&lever.instance, Vec::new()));
        }
        let field = json!({
            "parameter": lever.parameter,
            "input": lever.input,
            "now": lever.value.map(|v| amount(v, &lever.unit)),
            "set": lever.set.map(plain).unwrap_or_default(),
        });
        groups.last_mut().expect("just pushed").1.push(field);
    }
    let name = |instance: &str| if level == Level::Instance { "" } else { instance }.to_owned();
    groups.iter().map(|(i, fields)| json!({ "instance": name(i), "fields": fields })).collect()
}

/// A number as a field takes it.
fn plain(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { value.to_string() }
}

/// A value of a signal or input in its unit.
pub(super) fn amount(value: f64, unit: &str) -> String {
    let with = |unit: &str| format!("{}{unit}", format::number(value));
    match unit {
        "ratio" => format::percent(value),
        "bytes" => format::bytes(value),
        "seconds" => with(" s"),
        "ms" => with(" ms"),
        "days" => with(" d"),
        "per_minute" => with("/min"),
        "per_second" => with("/s"),
        "per_hour" => with("/h"),
        _ => format::number(value),
    }
}

/// The same explanation with the inputs of a suggestion.
pub(super) fn try_it(e: &Explained, overrides: &Value) -> Option<String> {
    let mut pairs = Vec::new();
    for (name, value) in overrides.as_object()? {
        match value {
            Value::Object(inputs) => {
                pairs.extend(inputs.iter().map(|(k, v)| pair(&format!("{name}.{k}"), v)));
            }
            value => pairs.push(pair(name, value)),
        }
    }
    (!pairs.is_empty()).then(|| format!("{}?{}", page_of(e.level, &e.id), pairs.join("&")))
}

fn pair(name: &str, value: &Value) -> String {
    let text = match value {
        Value::Array(words) => words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        value => value.as_f64().map(plain).unwrap_or_default(),
    };
    format!("set.{}={}", link::encode(name), link::encode(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suggestion_leads_to_the_same_page_with_its_inputs() {
        let e = |level, id: &str| Explained { level, id: id.into(), ..Explained::default() };
        let instance = e(Level::Instance, "pay.cart@10.0.0.1:6379");
        let said = try_it(&instance, &json!({ "maxmemory_bytes": 12e9 }));
        let wanted = "/instances/pay.cart@10.0.0.1:6379/health?set.maxmemory_bytes=12000000000";
        assert_eq!(said.as_deref(), Some(wanted));
        let shard = e(Level::Shard, "pay.cart/0");
        let said = try_it(&shard, &json!({ "pay.cart@h:1": { "gates_cleared": ["loading"] } }));
        let wanted =
            "/services/pay.cart/shards/0/health?set.pay.cart%40h%3A1.gates_cleared=loading";
        assert_eq!(said.as_deref(), Some(wanted));
        assert_eq!(try_it(&shard, &json!({})), None);
    }

    #[test]
    fn amounts_carry_their_unit() {
        assert_eq!(amount(0.88, "ratio"), format::percent(0.88));
        assert_eq!(amount(3.0, "per_minute"), "3/min");
        assert_eq!((plain(2.0), plain(0.5)), ("2".into(), "0.5".into()));
    }
}
