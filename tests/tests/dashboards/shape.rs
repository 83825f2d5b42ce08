//! The files as Grafana's classic schema has them: a typed model that knows no other key.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::board::COLUMNS;
use crate::repository;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Dashboard {
    uid: String,
    title: String,
    description: String,
    tags: Vec<String>,
    schema_version: u32,
    version: u32,
    editable: bool,
    graph_tooltip: u8,
    refresh: String,
    timezone: String,
    time: Value,
    timepicker: Value,
    annotations: Value,
    links: Vec<Value>,
    templating: Templating,
    panels: Vec<Panel>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Templating {
    list: Vec<Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Panel {
    id: u32,
    r#type: String,
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    datasource: Option<Source>,
    grid_pos: Grid,
    #[serde(skip_serializing_if = "Option::is_none")]
    field_config: Option<FieldConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    targets: Option<Vec<Target>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transformations: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    collapsed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    panels: Option<Vec<Value>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    r#type: String,
    uid: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Grid {
    x: u32,
    y: u32,
    w: u32,
    h: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldConfig {
    defaults: Defaults,
    overrides: Vec<Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Defaults {
    unit: String,
    color: Value,
    thresholds: Thresholds,
    mappings: Vec<Value>,
    links: Vec<Value>,
    custom: Value,
    #[serde(rename = "noValue", skip_serializing_if = "Option::is_none")]
    no_value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<f64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Thresholds {
    mode: String,
    steps: Vec<Step>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    color: String,
    value: Option<f64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Target {
    ref_id: String,
    datasource: Source,
    editor_mode: String,
    expr: String,
    legend_format: String,
    format: String,
    instant: bool,
    range: bool,
}

/// Units of Grafana's list that are used here.
const UNITS: &[&str] = &["none", "short", "bytes", "binBps", "s", "ops", "percentunit"];
/// Panels Grafana brings itself; Angular's `graph` and `singlestat` are gone since Grafana 12.
const KINDS: &[&str] = &["timeseries", "stat", "bargauge", "table", "state-timeline", "row"];

fn files() -> Vec<(String, Value)> {
    let folder = repository().join("dashboards");
    let all = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let read = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path.display().to_string(), serde_json::from_str(&text).unwrap())
    };
    all.map(read).collect()
}

#[test]
fn every_file_is_read_and_written_again_without_losing_a_key() {
    assert!(files().len() >= 10);
    for (path, value) in files() {
        let read: Dashboard =
            serde_json::from_value(value.clone()).unwrap_or_else(|e| panic!("{path}: {e}"));
        let again = serde_json::to_value(&read).unwrap();
        // Whole numbers may come back as floats: compare as numbers.
        assert!(same(&again, &value), "{path} changes when it is read and written");
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| same(v, w)))
        }
        _ => a == b,
    }
}

#[test]
fn panels_do_not_overlap_and_are_of_kinds_and_units_grafana_has() {
    for (path, value) in files() {
        let read: Dashboard = serde_json::from_value(value).unwrap();
        assert!((39..=41).contains(&read.schema_version), "{path}");
        let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
        for panel in &read.panels {
            let at = format!("{path}: {}", panel.title);
            assert!(ids.insert(panel.id), "{at}: its id is used twice");
            assert!(KINDS.contains(&panel.r#type.as_str()), "{at}: {}", panel.r#type);
            let grid = &panel.grid_pos;
            assert!(grid.w > 0 && grid.h > 0 && grid.x + grid.w <= COLUMNS, "{at}");
            for x in grid.x..grid.x + grid.w {
                for y in grid.y..grid.y + grid.h {
                    assert!(cells.insert((x, y)), "{at} lies over another");
                }
            }
            if panel.r#type != "row" {
                whole(panel, &at);
            }
        }
    }
}

fn whole(panel: &Panel, at: &str) {
    assert!(panel.description.as_ref().is_some_and(|d| d.contains('.')), "{at}: no description");
    let field = panel.field_config.as_ref().unwrap();
    assert!(UNITS.contains(&field.defaults.unit.as_str()), "{at}: {}", field.defaults.unit);
    let steps = &field.defaults.thresholds.steps;
    assert!(steps[0].value.is_none(), "{at}: the first step has no lower end");
    assert!(steps[1..].is_sorted_by(|a, b| a.value < b.value), "{at}: steps rise");
    assert!(panel.options.is_some(), "{at}");
    let targets = panel.targets.as_ref().unwrap();
    for target in targets {
        assert_eq!(target.datasource.uid, "${datasource}", "{at}");
        assert_ne!(target.instant, target.range, "{at}");
        assert!(!target.expr.contains('@') && !target.expr.is_empty(), "{at}: {}", target.expr);
    }
    assert_eq!(panel.datasource.as_ref().unwrap().uid, "${datasource}", "{at}");
}

#[test]
fn every_variable_a_file_uses_is_declared_in_it() {
    for (path, value) in files() {
        let list = value["templating"]["list"].as_array().unwrap();
        let declared: BTreeSet<&str> = list.iter().map(|v| v["name"].as_str().unwrap()).collect();
        assert_eq!(list[0]["type"], "datasource", "{path}");
        for used in variables(&value.to_string()) {
            let built_in = used.starts_with("__");
            assert!(built_in || declared.contains(used.as_str()), "{path}: ${used}");
        }
    }
}

/// Names after `$` or `${`, without the format after a colon or the path after a dot.
fn variables(text: &str) -> BTreeSet<String> {
    let name = |rest: &str| -> String {
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    text.split('$').skip(1).map(name).collect()
}
