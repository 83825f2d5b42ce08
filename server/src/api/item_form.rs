//! The form of an item as the API reads it.
//!
//! Invariant: each field becomes the part of the definition that its source has, and nothing else;
//! what a person typed wrongly reaches the same checks as an API call.

use serde_json::{Map, Value, json};

use super::form::{Fields, field};

/// `{item, reason, rev}`.
pub(super) fn definition(f: &Fields) -> Value {
    let mut item = json!({
        "name": field(f, "name").trim(), "scope": field(f, "scope").trim(),
        "description": field(f, "description").trim(), "unit": field(f, "unit").trim(),
        "kind": field(f, "kind"), "source": source(f), "labels": labels(&field(f, "labels")),
        "cadence_s": number(f, "cadence_s"), "timeout_ms": number(f, "timeout_ms"),
        "enabled": field(f, "enabled") != "false",
    });
    let on = field(f, "on");
    if !matches!(on.as_str(), "" | "auto") {
        item["on"] = on.into();
    }
    let mut body = json!({ "item": item, "reason": field(f, "reason") });
    if let Value::Number(rev) = number(f, "rev") {
        body["rev"] = rev.into();
    }
    body
}

/// The same with the instance to ask.
pub(super) fn trial(f: &Fields) -> Value {
    let mut body = definition(f);
    if !field(f, "instance").is_empty() {
        body["instance"] = field(f, "instance").into();
    }
    body
}

/// `{rev, reason}`.
pub(super) fn delete(f: &Fields) -> Value {
    json!({ "rev": number(f, "rev"), "reason": field(f, "reason") })
}

/// `{rev}`.
pub(super) fn restore(f: &Fields) -> Value {
    json!({ "rev": number(f, "rev"), "reason": field(f, "reason") })
}

/// A number where it is one, else the text, which the reader of the body then names.
fn number(f: &Fields, name: &str) -> Value {
    let text = field(f, name);
    text.trim().parse::<i64>().map_or_else(|_| text.into(), Value::from)
}

fn source(f: &Fields) -> Value {
    let kind = field(f, "source");
    // A browser ends lines with CR LF; a script or an argument is meant without.
    let text = field(f, "text").replace("\r\n", "\n");
    let line = text.trim().to_string();
    let mut parts = Map::new();
    let mut put = |name: &str, value: Value| drop(parts.insert(name.to_string(), value));
    let optional = |names: &[&str], put: &mut dyn FnMut(&str, Value)| {
        for name in names.iter().filter(|name| !field(f, name).trim().is_empty()) {
            put(name, field(f, name).trim().into());
        }
    };
    match kind.as_str() {
        "expr" => return json!({ "expr": line }),
        "info" => {
            put("field", line.into());
            optional(&["section", "part", "equals"], &mut put);
        }
        "config" => {
            put("parameter", line.into());
            optional(&["equals"], &mut put);
        }
        "scan" => {
            put("pattern", line.into());
            put("keys_max", number(f, "keys_max"));
        }
        "script" | "function" => {
            let own = if kind == "script" { ("lua", text) } else { ("function", line) };
            put(own.0, own.1.into());
            put("keys", words(&field(f, "keys")));
            put("args", words(&field(f, "args")));
            optional(&["path"], &mut put);
        }
        _ => {
            put("args", words(&line));
            optional(&["path", "equals"], &mut put);
        }
    }
    let kind = if kind.is_empty() { "command".to_string() } else { kind };
    json!({ kind: parts })
}

/// One a line when there are several lines, else parted by blanks.
fn words(text: &str) -> Value {
    let text = text.trim();
    match text.contains('\n') {
        true => text.lines().map(|l| Value::from(l.trim_end())).collect(),
        false => text.split_whitespace().map(Value::from).collect(),
    }
}

/// `group=name, consumer=0`.
fn labels(text: &str) -> Value {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let one = |pair: &str| {
        let (name, part) = pair.split_once('=').unwrap_or((pair, ""));
        (name.trim().to_string(), Value::from(part.trim()))
    };
    Value::Object(pairs.map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::super::gate::pairs;
    use super::*;
    use model::item::{ItemDoc, ItemSource};

    fn read(query: &str) -> ItemDoc {
        let rest = "name=x&scope=tenant%3Apay&kind=gauge&cadence_s=60&timeout_ms=500&enabled=true&";
        let body = definition(&pairs(&format!("{rest}{query}")));
        serde_json::from_value(body["item"].clone()).unwrap()
    }

    #[test]
    fn every_kind_of_source_can_be_filled_in() {
        let lag = read("source=command&text=XINFO+GROUPS+s&path=*.lag&labels=group%3Dname");
        assert_eq!(lag.labels["group"], "name");
        assert!(matches!(lag.source, ItemSource::Command { args, .. } if args.len() == 3));
        let blank = read("source=command&text=LLEN%0D%0Aa+b");
        assert!(matches!(blank.source, ItemSource::Command { args, .. } if args[1] == "a b"));
        for (kind, more) in [
            ("info", "text=used_memory"),
            ("config", "text=maxmemory"),
            ("scan", "text=s%3A*&keys_max=100"),
            ("script", "text=return+1&keys=a+b"),
            ("function", "text=depth"),
            ("expr", "text=%7Ba%7D+%2F+2"),
        ] {
            assert_eq!(read(&format!("source={kind}&{more}")).source.word(), kind);
        }
    }

    #[test]
    fn a_number_that_is_none_is_refused_by_the_reader_of_the_body() {
        let body =
            definition(&pairs("name=x&scope=tenant%3Apay&source=expr&text=1&cadence_s=soon"));
        let said = serde_json::from_value::<ItemDoc>(body["item"].clone()).unwrap_err();
        assert!(said.to_string().contains("soon"), "{said}");
    }
}
