//! What a dashboard is made of, and its JSON as Grafana imports it (classic schema).
//!
//! Invariant: the JSON follows from the value alone, byte for byte; a panel cannot be made without a
//! title, a sentence on what it shows and when to worry, and a unit. Refuses to know which
//! dashboards there are.

use serde_json::{Map, Value, json};

/// That of Grafana 10.3: later ones read it, and colours by series name are there.
const SCHEMA: u32 = 39;
/// Columns of Grafana's grid.
pub const COLUMNS: u32 = 24;
/// On every dashboard; the links between them go by it.
pub const TAG: &str = "cachewarden";

/// Meanings of colours. The names are Grafana's, so that both of its themes show them well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    Ok,
    Warn,
    Crit,
    Info,
    Unknown,
    Second,
}

impl Color {
    fn name(self) -> &'static str {
        match self {
            Color::Ok => "green",
            Color::Warn => "orange",
            Color::Crit => "red",
            Color::Info => "blue",
            Color::Unknown => "#8a96a3",
            Color::Second => "purple",
        }
    }
}

/// How a panel draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Stat,
    Lines,
    /// Lines over each other, for parts of a whole.
    Stacked,
    Bars,
    Table,
    States,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Stat => "stat",
            Kind::Lines | Kind::Stacked => "timeseries",
            Kind::Bars => "bargauge",
            Kind::Table => "table",
            Kind::States => "state-timeline",
        }
    }
}

/// One query.
#[derive(Debug, Clone)]
pub struct Target {
    /// PromQL with Grafana's variables and macros.
    pub expr: String,
    /// Legend with `{{label}}`; of a table: the column's title, or nothing when only its labels count.
    pub legend: &'static str,
}

/// One panel.
#[derive(Debug, Clone)]
pub struct Panel {
    pub title: &'static str,
    pub kind: Kind,
    /// What it shows and when to worry.
    pub what: &'static str,
    pub unit: &'static str,
    pub targets: Vec<Target>,
    width: u32,
    steps: Vec<(f64, Color)>,
    base: Color,
    range: (Option<f64>, Option<f64>),
    colors: Vec<(&'static str, Color)>,
    words: Vec<(f64, &'static str, Color)>,
    columns: Vec<(&'static str, &'static str)>,
    sort: Option<(&'static str, bool)>,
    opens: Option<(&'static str, &'static [&'static str])>,
    by_name: bool,
    absent: Option<&'static str>,
    /// Why the live test expects no data.
    pub empty: Option<&'static str>,
    /// Why the live test takes data as well as none.
    pub missing: Option<&'static str>,
    /// Why all of its values may be 0 in the live test.
    pub zero: Option<&'static str>,
}

/// A panel: how it draws, its title, its unit, what it shows and when to worry.
pub fn panel(kind: Kind, title: &'static str, unit: &'static str, what: &'static str) -> Panel {
    Panel {
        title,
        kind,
        what,
        unit,
        targets: Vec::new(),
        width: if kind == Kind::Stat { 4 } else { 12 },
        steps: Vec::new(),
        base: if kind == Kind::Stat { Color::Info } else { Color::Ok },
        range: (None, None),
        colors: Vec::new(),
        words: Vec::new(),
        columns: Vec::new(),
        sort: None,
        opens: None,
        by_name: false,
        absent: None,
        empty: None,
        missing: None,
        zero: None,
    }
}

impl Panel {
    /// A query with its legend, or its column's title.
    pub fn q(mut self, legend: &'static str, expr: &str) -> Panel {
        let expr = expr.split_whitespace().collect::<Vec<_>>().join(" ");
        self.targets.push(Target { expr, legend });
        self
    }

    /// Columns of the grid it takes.
    pub fn wide(mut self, columns: u32) -> Panel {
        self.width = columns;
        self
    }

    /// Ends of the axis.
    pub fn between(mut self, low: f64, high: f64) -> Panel {
        self.range = (Some(low), Some(high));
        self
    }

    /// The axis starts at 0.
    pub fn over_zero(mut self) -> Panel {
        self.range.0 = Some(0.0);
        self
    }

    /// Colours from values upward; below the first: `base`.
    pub fn steps(mut self, base: Color, steps: &[(f64, Color)]) -> Panel {
        self.base = base;
        self.steps = steps.to_vec();
        self
    }

    /// A fixed colour of a legend.
    pub fn color(mut self, legend: &'static str, color: Color) -> Panel {
        self.colors.push((legend, color));
        self
    }

    /// Words for values.
    pub fn words(mut self, words: &[(f64, &'static str, Color)]) -> Panel {
        self.words = words.to_vec();
        self
    }

    /// Unit of a table's column.
    pub fn column(mut self, title: &'static str, unit: &'static str) -> Panel {
        self.columns.push((title, unit));
        self
    }

    /// Column a table is sorted by, ascending or descending.
    pub fn sorted(mut self, column: &'static str, descending: bool) -> Panel {
        self.sort = Some((column, descending));
        self
    }

    /// A click opens that dashboard with these variables from the series' labels.
    pub fn opens(mut self, uid: &'static str, labels: &'static [&'static str]) -> Panel {
        self.opens = Some((uid, labels));
        self
    }

    /// Shows the legend, not the figure.
    pub fn by_name(mut self) -> Panel {
        self.by_name = true;
        self
    }

    /// What stands there when there is no series, and that is fine.
    pub fn when_absent(mut self, word: &'static str) -> Panel {
        self.absent = Some(word);
        self
    }

    /// Keeps the rows of a table to those of its first query, which is a topk or bottomk: at ten
    /// thousand instances the others would bring all of them.
    pub fn only_first(mut self, keys: &str) -> Panel {
        let first = self.targets[0].expr.clone();
        for target in &mut self.targets[1..] {
            target.expr = format!("({}) and on ({keys}) ({first})", target.expr);
        }
        self
    }

    /// No data in the live test, which fails when there is some after all.
    pub fn may_be_empty(mut self, why: &'static str) -> Panel {
        self.empty = Some(why);
        self
    }

    /// The live test may be over before there is data.
    pub fn may_be_missing(mut self, why: &'static str) -> Panel {
        self.missing = Some(why);
        self
    }

    /// Nothing but zeros is fine in the live test.
    pub fn may_be_zero(mut self, why: &'static str) -> Panel {
        self.zero = Some(why);
        self
    }

    /// Labels a click needs.
    pub fn opened_by(&self) -> &'static [&'static str] {
        self.opens.map_or(&[], |(_, labels)| labels)
    }

    /// Dashboard a click opens.
    pub fn opened(&self) -> Option<&'static str> {
        self.opens.map(|(uid, _)| uid)
    }

    fn json(&self, id: usize, at: (u32, u32, u32), sources: &str) -> Value {
        let (x, y, h) = at;
        let mut panel = json!({
            "id": id,
            "type": self.kind.name(),
            "title": self.title,
            "description": format!("{}\n\n{sources}", self.what).trim_end(),
            "datasource": source(),
            "gridPos": {"x": x, "y": y, "w": self.width, "h": h},
            "fieldConfig": {"defaults": self.defaults(), "overrides": self.overrides()},
            "options": self.options(),
            "targets": self.targets(),
        });
        if self.kind == Kind::Table {
            panel["transformations"] = self.transformations();
        }
        panel
    }

    fn targets(&self) -> Vec<Value> {
        let table = self.kind == Kind::Table;
        let one = |(i, t): (usize, &Target)| {
            json!({
                "refId": letter(i),
                "datasource": source(),
                "editorMode": "code",
                "expr": t.expr,
                "legendFormat": if table { "" } else { t.legend },
                "format": if table { "table" } else { "time_series" },
                "instant": self.is_instant(),
                "range": !self.is_instant(),
            })
        };
        self.targets.iter().enumerate().map(one).collect()
    }

    /// Whether only the newest value is asked for.
    pub fn is_instant(&self) -> bool {
        matches!(self.kind, Kind::Table | Kind::Bars)
    }

    fn defaults(&self) -> Value {
        let mut steps = vec![json!({"color": self.base.name(), "value": null})];
        steps.extend(self.steps.iter().map(|(v, c)| json!({"color": c.name(), "value": v})));
        let mode = match self.kind {
            Kind::Stat | Kind::Bars | Kind::States | Kind::Table => "thresholds",
            // A name keeps its colour, whatever else is on the panel.
            Kind::Lines | Kind::Stacked => "palette-classic-by-name",
        };
        let mut out = json!({
            "unit": self.unit,
            "color": {"mode": mode},
            "thresholds": {"mode": "absolute", "steps": steps},
            "mappings": self.mappings(),
            "links": self.links(),
            "custom": self.custom(),
        });
        if let Some(word) = self.absent {
            out["noValue"] = json!(word);
        }
        for (key, end) in [("min", self.range.0), ("max", self.range.1)] {
            if let Some(end) = end {
                out[key] = json!(end);
            }
        }
        out
    }

    fn custom(&self) -> Value {
        match self.kind {
            Kind::Lines | Kind::Stacked => {
                let stacked = self.kind == Kind::Stacked;
                json!({
                    "drawStyle": "line",
                    "lineWidth": 1,
                    "fillOpacity": if stacked { 30 } else { 6 },
                    "showPoints": "never",
                    // A gap is a gap: missing is not zero and not the last value.
                    "spanNulls": false,
                    "stacking": {"mode": if stacked { "normal" } else { "none" }, "group": "A"},
                    "thresholdsStyle": {"mode": if self.steps.is_empty() { "off" } else { "line" }},
                })
            }
            Kind::States => json!({"fillOpacity": 70, "lineWidth": 0}),
            Kind::Table => json!({"align": "auto", "filterable": true}),
            Kind::Stat | Kind::Bars => json!({}),
        }
    }

    fn mappings(&self) -> Value {
        if self.words.is_empty() {
            return json!([]);
        }
        let mut words = Map::new();
        for (i, (value, word, color)) in self.words.iter().enumerate() {
            words.insert(
                value.to_string(),
                json!({"text": word, "color": color.name(), "index": i}),
            );
        }
        json!([{"type": "value", "options": words}])
    }

    fn links(&self) -> Value {
        let Some((uid, labels)) = self.opens else { return json!([]) };
        let of = |label: &&str| match self.kind {
            Kind::Table => format!("&var-{label}=${{__data.fields.{label}}}"),
            _ => format!("&var-{label}=${{__field.labels.{label}}}"),
        };
        let vars: String = labels.iter().map(of).collect();
        let url = format!("/d/{uid}?${{datasource:queryparam}}{vars}&${{__url_time_range}}");
        json!([{"title": "Open", "url": url, "targetBlank": false}])
    }

    fn overrides(&self) -> Vec<Value> {
        let fixed = |(legend, color): &(&str, Color)| {
            json!({
                "matcher": {"id": "byName", "options": legend},
                "properties": [
                    {"id": "color", "value": {"mode": "fixed", "fixedColor": color.name()}},
                ],
            })
        };
        let unit = |(title, unit): &(&str, &str)| {
            json!({
                "matcher": {"id": "byName", "options": title},
                "properties": [{"id": "unit", "value": unit}],
            })
        };
        let mut all: Vec<Value> = self.colors.iter().map(fixed).collect();
        all.extend(self.columns.iter().map(unit));
        // Only the first figure of a table is judged by the steps; labels and the others are plain.
        if self.kind == Kind::Table
            && !self.steps.is_empty()
            && let Some(first) = self.targets.first()
        {
            all.push(json!({
                "matcher": {"id": "byName", "options": first.legend},
                "properties": [{"id": "custom.cellOptions", "value": {"type": "color-text"}}],
            }));
        }
        all
    }

    fn options(&self) -> Value {
        let last = json!({"calcs": ["lastNotNull"], "fields": "", "values": false});
        match self.kind {
            Kind::Stat => json!({
                "reduceOptions": last, "colorMode": "value", "graphMode": "area",
                "textMode": if self.by_name { "name" } else { "auto" }, "justifyMode": "auto", "orientation": "auto",
            }),
            Kind::Bars => json!({
                "reduceOptions": last, "displayMode": "basic", "orientation": "horizontal",
                "showUnfilled": true, "valueMode": "color",
            }),
            Kind::Lines | Kind::Stacked => json!({
                "legend": {"displayMode": "table", "placement": "bottom", "showLegend": true,
                           "calcs": ["lastNotNull", "max"]},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }),
            Kind::States => json!({
                "mergeValues": true, "showValue": "auto", "alignValue": "left", "rowHeight": 0.9,
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true},
                "tooltip": {"mode": "single", "sort": "none"},
            }),
            Kind::Table => {
                let by: Vec<Value> = self
                    .sort
                    .iter()
                    .map(|(column, desc)| json!({"displayName": column, "desc": desc}))
                    .collect();
                json!({"showHeader": true, "cellHeight": "sm", "sortBy": by})
            }
        }
    }

    fn transformations(&self) -> Value {
        let (mut names, mut hidden) = (Map::new(), Map::new());
        hidden.insert("Time".into(), json!(true));
        for (i, target) in self.targets.iter().enumerate() {
            let column = match self.targets.len() {
                1 => "Value".to_string(),
                _ => format!("Value #{}", letter(i)),
            };
            // A query without a title is asked for its labels.
            match target.legend {
                "" => hidden.insert(column, json!(true)),
                title => names.insert(column, json!(title)),
            };
        }
        json!([
            {"id": "merge", "options": {}},
            {"id": "organize", "options": {
                "excludeByName": hidden, "indexByName": {}, "renameByName": names,
            }},
        ])
    }
}

fn letter(i: usize) -> char {
    char::from(b'A' + i as u8)
}

fn source() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

/// A variable that chooses values of a label.
#[derive(Debug, Clone, Copy)]
pub struct Var {
    /// Name, and the label it chooses.
    pub name: &'static str,
    /// Series it looks at, with the variables before it.
    pub of: &'static str,
    /// Several at once, and all of them.
    pub many: bool,
}

impl Var {
    /// What Grafana asks Prometheus.
    pub fn query(&self) -> String {
        format!("label_values({}, {})", self.of, self.name)
    }

    fn json(&self) -> Value {
        let current = match self.many {
            true => json!({"selected": true, "text": ["All"], "value": ["$__all"]}),
            false => json!({}),
        };
        let mut chars = self.name.chars();
        let label: String =
            chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect();
        let mut out = json!({
            "name": self.name,
            "label": label,
            "type": "query",
            "datasource": source(),
            "definition": self.query(),
            "query": {"query": self.query(), "refId": "PrometheusVariableQueryEditor-VariableQuery"},
            "refresh": 2,
            "sort": 1,
            "regex": "",
            "multi": self.many,
            "includeAll": self.many,
            "current": current,
            "options": [],
            "hide": 0,
            "skipUrlSync": false,
        });
        if self.many {
            out["allValue"] = json!(".*");
        }
        out
    }
}

/// A row of panels of one height.
#[derive(Debug, Clone)]
pub struct Row {
    pub title: &'static str,
    pub height: u32,
    pub panels: Vec<Panel>,
}

/// One dashboard.
#[derive(Debug, Clone)]
pub struct Board {
    pub uid: &'static str,
    pub title: &'static str,
    pub what: &'static str,
    pub vars: Vec<Var>,
    pub rows: Vec<Row>,
    /// Path of the portal that shows the same object.
    pub portal: &'static str,
}

impl Board {
    /// Adds a row; `@i`, `@s` and `@t` in queries stand for the variables that choose instances,
    /// services and tenants.
    pub fn row(mut self, title: &'static str, height: u32, panels: Vec<Panel>) -> Board {
        let select = |level: &[&str]| -> String {
            let chosen = self.vars.iter().filter(|v| level.contains(&v.name));
            let all: Vec<String> = chosen.map(|v| format!("{0}=~\"${0}\"", v.name)).collect();
            all.join(",")
        };
        let macros = [
            ("@i", select(&["tenant", "system", "service", "instance", "zone"])),
            ("@s", select(&["tenant", "system", "service"])),
            ("@y", select(&["tenant", "system"])),
            ("@t", select(&["tenant"])),
        ];
        let mut panels = panels;
        for target in panels.iter_mut().flat_map(|p| &mut p.targets) {
            for (name, value) in &macros {
                target.expr = target.expr.replace(name, value);
            }
        }
        self.rows.push(Row { title, height, panels });
        self
    }

    /// All panels.
    pub fn panels(&self) -> impl Iterator<Item = &Panel> {
        self.rows.iter().flat_map(|r| &r.panels)
    }

    /// File name.
    pub fn file(&self) -> String {
        format!("{}.json", self.uid)
    }

    /// The file; `sources` says of a panel where its figures come from.
    pub fn text(&self, sources: impl Fn(&Panel) -> String) -> String {
        let mut panels = Vec::new();
        let mut y = 0;
        for row in &self.rows {
            panels.push(json!({
                "id": panels.len() + 1, "type": "row", "title": row.title, "collapsed": false,
                "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1}, "panels": [],
            }));
            y += 1;
            let mut x = 0;
            for panel in &row.panels {
                if x + panel.width > COLUMNS {
                    (x, y) = (0, y + row.height);
                }
                panels.push(panel.json(panels.len() + 1, (x, y, row.height), &sources(panel)));
                x += panel.width;
            }
            y += row.height;
        }
        let mut text = serde_json::to_string_pretty(&self.json(panels)).expect("plain data");
        text.push('\n');
        text
    }

    fn json(&self, panels: Vec<Value>) -> Value {
        let datasource = json!({
            "name": "datasource", "label": "Data source", "type": "datasource",
            "query": "prometheus", "regex": "", "refresh": 1, "multi": false, "includeAll": false,
            "current": {}, "options": [], "hide": 0, "skipUrlSync": false,
        });
        // Where the portal is, as the process itself says: nothing to edit after an import.
        let portal = json!({
            "name": "portal", "label": "Portal", "type": "query", "datasource": source(),
            "definition": PORTAL,
            "query": {"query": PORTAL, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
            "refresh": 1, "sort": 1, "regex": "", "multi": false, "includeAll": false,
            "current": {}, "options": [], "hide": 2, "skipUrlSync": true,
        });
        let mut vars = vec![datasource];
        vars.extend(self.vars.iter().map(Var::json));
        vars.push(portal);
        json!({
            "uid": self.uid,
            "title": self.title,
            "description": self.what,
            "tags": [TAG, "redis"],
            "schemaVersion": SCHEMA,
            "version": 1,
            "editable": true,
            "graphTooltip": 1,
            "refresh": "30s",
            "timezone": "browser",
            "time": {"from": "now-3h", "to": "now"},
            "timepicker": {},
            "annotations": {"list": []},
            "links": [
                {"title": "cachewarden", "type": "dashboards", "tags": [TAG], "asDropdown": true,
                 "includeVars": true, "keepTime": true, "targetBlank": false, "icon": "external link",
                 "tooltip": "The other dashboards, with the same choice and time", "url": ""},
                {"title": "Portal", "type": "link", "tags": [], "asDropdown": false,
                 "includeVars": false, "keepTime": false, "targetBlank": true, "icon": "external link",
                 "tooltip": "The same in cachewarden's portal",
                 "url": format!("${{portal}}{}", self.portal)},
            ],
            "templating": {"list": vars},
            "panels": panels,
        })
    }
}

/// Series that says where the portal is.
pub const PORTAL: &str = "label_values(cachewarden_portal_info, url)";
