//! The form of a score policy: fields of a page into the document the API reads.
//!
//! Invariant: a line is passed on as it stands when it cannot be read, so that the reader of the body
//! refuses it by its name; an empty field is inherited. The way back is in `portal`.

use serde_json::{Map, Value, json};

use super::form::{Fields, field};

/// Body of a preview.
pub fn draft(f: &Fields) -> Value {
    json!({ "doc": document(f) })
}

/// Body of a change.
pub fn change(f: &Fields) -> Value {
    json!({
        "doc": document(f), "reason": field(f, "reason"), "preview": field(f, "preview"),
        "sign": field(f, "sign") == "true",
    })
}

/// Body of a profile.
pub fn profile(f: &Fields) -> Value {
    json!({ "profile": field(f, "profile") })
}

fn document(f: &Fields) -> Value {
    let mut doc = Map::new();
    doc.insert("scope".into(), field(f, "scope").trim().into());
    let mut set = |name: &str, value: Value| {
        if !value.is_null() {
            doc.insert(name.into(), value);
        }
    };
    set("profile", word(&field(f, "profile")));
    set("weights", group(f, &["availability", "memory", "connections", "slowlog"], number));
    set("curves", lines(&field(f, "curves"), knots));
    set("off", lines(&field(f, "off"), off));
    set("gates", lines(&field(f, "gates"), number));
    set("required", required(f));
    set("slowlog_limit_ms", number(&field(f, "slowlog_limit_ms")));
    let target = number(&field(f, "slo"));
    set("slo", if target.is_null() { Value::Null } else { json!({ "target": target }) });
    let locked: Vec<Value> = field(f, "locked")
        .split([',', '\n', '\r', ' '])
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(Value::from)
        .collect();
    set("locked", if locked.is_empty() { Value::Null } else { locked.into() });
    Value::Object(doc)
}

fn word(text: &str) -> Value {
    match text.trim() {
        "" => Value::Null,
        word => word.into(),
    }
}

/// A number; a text that is none is passed on, to be refused by its name.
fn number(text: &str) -> Value {
    let text = text.trim();
    match text.parse::<u32>() {
        Ok(whole) => whole.into(),
        Err(_) => text.parse::<f64>().map_or_else(|_| word(text), Value::from),
    }
}

fn group(f: &Fields, names: &[&str], read: fn(&str) -> Value) -> Value {
    let values = names.iter().map(|name| ((*name).to_string(), read(&field(f, name))));
    let set: Map<String, Value> = values.filter(|(_, value)| !value.is_null()).collect();
    if set.is_empty() { Value::Null } else { set.into() }
}

fn required(f: &Fields) -> Value {
    let mut set = match group(f, &["replicas", "zones"], number) {
        Value::Object(set) => set,
        _ => Map::new(),
    };
    match field(f, "persistence").as_str() {
        "true" => drop(set.insert("persistence".into(), true.into())),
        "false" => drop(set.insert("persistence".into(), false.into())),
        _ => {}
    }
    if set.is_empty() { Value::Null } else { set.into() }
}

/// Lines of `name: value`.
fn lines(text: &str, read: fn(&str) -> Value) -> Value {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let all: Map<String, Value> = lines
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            (name.trim().to_string(), read(value.trim()))
        })
        .collect();
    if all.is_empty() { Value::Null } else { all.into() }
}

/// `0.7 0, 0.8 25`: value and loss of each knot.
fn knots(text: &str) -> Value {
    let knot = |pair: &str| -> Value { pair.split_whitespace().map(number).collect() };
    text.split(',').map(str::trim).filter(|pair| !pair.is_empty()).map(knot).collect()
}

/// `until 2026-12-31T00:00:00Z CHG-7 …`, or `on` for something that counts again.
fn off(text: &str) -> Value {
    let mut words = text.splitn(3, ' ');
    match (words.next(), words.next(), words.next()) {
        (Some("on"), None, None) => Value::Null,
        (Some("until"), Some(until), reason) => {
            json!({ "reason": reason.unwrap_or_default(), "until": until })
        }
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::gate::pairs;
    use super::*;
    use model::score_policy::ScorePolicyDoc;

    fn read(query: &str) -> Result<ScorePolicyDoc, String> {
        let body = draft(&pairs(query));
        serde_json::from_value(body["doc"].clone()).map_err(|e| e.to_string())
    }

    #[test]
    fn every_field_can_be_filled_in_and_an_empty_one_is_inherited() {
        let doc = read(
            "scope=tenant%3Apay&profile=store&availability=0.45&memory=0.25&connections=0.1&slowlog=0.2\
             &curves=M1%3A+0.7+0%2C+0.8+25%2C+1+100%0D%0AC1%3A+0.6+0%2C+1+100&replicas=2&zones=3\
             &persistence=true&slowlog_limit_ms=5&slo=0.9999&gates=no_replica%3A+60\
             &off=C3%3A+until+2026-12-31T00%3A00%3A00Z+CHG-7+known%0AS5%3A+on&locked=curves%2C+slo",
        )
        .unwrap();
        assert_eq!(doc.fields().len(), 13, "{:?}", doc.fields());
        assert_eq!(doc.curves["M1"], vec![(0.7, 0.0), (0.8, 25.0), (1.0, 100.0)]);
        assert_eq!(doc.off["C3"].as_ref().unwrap().reason, "CHG-7 known");
        assert!(doc.off["S5"].is_none() && doc.required.zones == Some(3));
        let empty = read("scope=tenant%3Apay&profile=&availability=&curves=%0D%0A&persistence=");
        assert!(empty.unwrap().fields().is_empty());
    }

    #[test]
    fn a_line_that_cannot_be_read_is_refused_by_the_reader_of_the_body() {
        assert!(read("scope=tenant%3Apay&curves=M1%3A+0.7+zero").unwrap_err().contains("zero"));
        assert!(read("scope=tenant%3Apay&off=C3%3A+soon").is_err());
        assert!(read("scope=tenant%3Apay&availability=0.45").unwrap_err().contains("memory"));
    }
}
