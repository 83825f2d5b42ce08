//! Lists and waterfalls as CSV, for a spreadsheet: `?format=csv`.
//!
//! Invariant: the columns are those of the interface document, whatever the rows hold, so an empty
//! list has its header too; no cell is a formula to the program that opens it. Refuses to know what
//! the values mean.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::action::Action;
use model::code::{Code, Problem};
use serde_json::{Value, json};

use super::ask::{Answer, Fail, put_headers};
use super::gate::Visit;
use super::page;
use crate::openapi;

/// Form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// What the mount answers by itself: JSON or a page.
    Own,
    /// JSON.
    Json,
    /// CSV, of lists.
    Csv,
}

/// What `format=` asks for.
pub fn form(action: &Action, word: &str) -> Result<Form, Fail> {
    match word {
        "" => Ok(Form::Own),
        "json" => Ok(Form::Json),
        "csv" if is_table(action) => Ok(Form::Csv),
        _ => Err(Problem::new(
            Code::Malformed,
            format!("format={word:?} is not answered here"),
            if is_table(action) {
                "Ask for format=json or format=csv."
            } else {
                "Ask for format=json."
            },
        )
        .into()),
    }
}

/// What has rows: lists, waterfalls, and the services of a lost zone.
fn is_table(action: &Action) -> bool {
    action.id.ends_with(".list") || is_waterfall(action) || action.id == ZONE_LOSS
}

const ZONE_LOSS: &str = "zone.loss";

/// An explanation is a table too: its waterfall.
fn is_waterfall(action: &Action) -> bool {
    action.id.ends_with(".health")
}

/// A service of a lost zone, its moves in words.
fn lost(mut service: Value) -> Value {
    let word = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    for one in service["moves"].as_array_mut().into_iter().flatten() {
        *one = json!(format!("{} -> {}", word(&one["from"]), word(&one["to"])));
    }
    service
}

/// The rows of an answer: the items of a list; of an explanation 100, what was lost, and the score;
/// of a lost zone its services.
fn rows(action: &Action, value: &Value) -> Vec<Value> {
    let all = |name: &str| value[name].as_array().cloned().unwrap_or_default();
    if action.id == ZONE_LOSS {
        return all("services").into_iter().map(lost).collect();
    }
    if !is_waterfall(action) {
        return all("items");
    }
    let line = |what: &str, points: &Value| json!({ "dimension": what, "points": points });
    let mut rows = vec![line("start", &json!(100.0))];
    rows.extend(all("bars"));
    for gate in all("gates").iter().filter(|g| g["binds"] == true) {
        let mut row = line("gate", &gate["points"]);
        (row["signal"], row["text"]) = (gate["gate"].clone(), gate["text"].clone());
        rows.push(row);
    }
    rows.push(line("score", &value["score"]));
    rows
}

/// The items of a list answer as a file; the page behind it, when there is one, as a link.
pub fn table(action: &Action, visit: &Visit, answer: Answer) -> Response {
    let columns = openapi::columns(action.id);
    let mut text = line(columns.iter().map(String::as_str));
    for item in rows(action, &answer.value) {
        let cells: Vec<String> = columns.iter().map(|c| cell(at(&item, c))).collect();
        text.push_str(&line(cells.iter().map(String::as_str)));
    }
    let noun = action.path.rsplit('/').next().unwrap_or_default();
    let mut response = (StatusCode::OK, text).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let mut more =
        vec![(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{noun}.csv\""))];
    if let Some(next) = answer.value["next"].as_str() {
        let kept = visit.raw_query.split('&').filter(|p| !p.starts_with("page=") && !p.is_empty());
        let query: Vec<&str> = kept.collect();
        let link = format!("<{}?{}&page={}>", visit.path, query.join("&"), page::encode(next));
        more.push((header::LINK, format!("{link}; rel=\"next\"")));
    }
    put_headers(headers, more);
    page::secure(&mut response, false);
    response
}

/// The value at a dotted path.
fn at<'v>(item: &'v Value, path: &str) -> &'v Value {
    path.split('.').fold(item, |value, key| value.get(key).unwrap_or(&Value::Null))
}

/// A value as text. Text that a spreadsheet would take for a formula gets a `'` before it: client
/// names and alert texts are written by strangers.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::Number(_) | Value::Bool(_) => return value.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            let words: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            words.join(" ")
        }
        other => other.to_string(),
    };
    let formula = |c: char| matches!(c, '=' | '+' | '-' | '@') || c.is_control();
    match text.starts_with(formula) {
        true => format!("'{text}"),
        false => text,
    }
}

/// One record, as RFC 4180 writes it.
fn line<'c>(cells: impl Iterator<Item = &'c str>) -> String {
    let quoted = cells.map(|c| match c.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", c.replace('"', "\"\"")),
        false => c.to_string(),
    });
    let mut text = quoted.collect::<Vec<_>>().join(",");
    text.push_str("\r\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::action::{ACTIONS, action};
    use serde_json::json;

    #[test]
    fn no_cell_is_a_formula_and_numbers_stay_numbers() {
        for (value, wanted) in [
            (json!("=HYPERLINK(1)"), "'=HYPERLINK(1)"),
            (json!("+1"), "'+1"),
            (json!("-1"), "'-1"),
            (json!("@SUM(A1)"), "'@SUM(A1)"),
            (json!("\t=1"), "'\t=1"),
            (json!("\r=1"), "'\r=1"),
            (json!(["=1", "a"]), "'=1 a"),
            (json!(-1.5), "-1.5"),
            (json!(null), ""),
            (json!({"a": 1}), "{\"a\":1}"),
            (json!("pay.cart"), "pay.cart"),
        ] {
            assert_eq!(cell(&value), wanted, "{value}");
        }
        let record = line(["a,b", "say \"x\"", "two\nlines", "plain"].into_iter());
        assert_eq!(record, "\"a,b\",\"say \"\"x\"\"\",\"two\nlines\",plain\r\n");
    }

    #[test]
    fn every_list_has_columns_and_nothing_else_is_answered_as_csv() {
        for a in ACTIONS {
            let is_table = ["list", "health", "loss"].contains(&a.id.rsplit('.').next().unwrap());
            assert_eq!(form(a, "csv").is_ok(), is_table, "{}", a.id);
            assert!(!is_table || openapi::columns(a.id).len() > 1, "{}", a.id);
            assert!(form(a, "xml").is_err());
        }
        let columns = openapi::columns("service.list");
        for name in ["id", "health.score", "verdicts.up", "zones", "alerts"] {
            assert!(columns.iter().any(|c| c == name), "{name}");
        }
        assert!(action("service.list").is_some());
    }

    #[test]
    fn a_lost_zone_is_a_table_of_its_services() {
        let value = json!({
            "services": [{
                "service": "pay.cart", "outcome": "degraded", "reasons": ["a", "b"],
                "moves": [{ "shard": 0, "from": "10.0.0.1:6379", "to": "10.0.0.2:6379" }],
            }],
        });
        let action = action("zone.loss").unwrap();
        let rows = rows(action, &value);
        let columns = openapi::columns(action.id);
        let cells: Vec<String> =
            columns.iter().map(|c| super::cell(super::at(&rows[0], c))).collect();
        assert_eq!(columns[..3], ["service", "tier", "outcome"]);
        for wanted in ["pay.cart", "a b", "10.0.0.1:6379 -> 10.0.0.2:6379"] {
            assert!(cells.iter().any(|c| c == wanted), "{cells:?}");
        }
    }

    #[test]
    fn a_waterfall_is_a_table_that_adds_up() {
        let value = json!({
            "score": 59.0,
            "bars": [{ "dimension": "memory", "signal": "M1", "points": 13.0 }],
            "gates": [
                { "gate": "oom_errors", "binds": true, "points": 28.0, "text": "full" },
                { "gate": "loading", "binds": false, "points": 0.0, "text": "" },
            ],
        });
        let rows = rows(action("service.health").unwrap(), &value);
        let points: Vec<f64> = rows.iter().map(|r| r["points"].as_f64().unwrap()).collect();
        assert_eq!(points, [100.0, 13.0, 28.0, 59.0]);
        assert_eq!(rows[2]["signal"], "oom_errors");
    }
}
