//! The names and labels the popular dashboards for redis_exporter ask for.
//!
//! Names are facts: the list holds no query and no layout of theirs.

use exporter::catalog::{self, Page};

use crate::names;

const LIST: &str = include_str!("../../data/dashboard-names.tsv");

/// One name a panel of theirs asks for.
pub struct Row {
    /// 763, 11835, 14091, `mixin` (of redis_exporter), `jsonnet-libs` (of Grafana).
    pub dashboard: &'static str,
    /// What the panel is about.
    pub panel: &'static str,
    /// Metric.
    pub metric: &'static str,
    /// Labels it selects, groups or names the legend by.
    pub labels: Vec<&'static str>,
}

/// The list.
pub fn rows() -> Vec<Row> {
    let lines = LIST.lines().filter(|l| !l.starts_with('#')).skip(1);
    let row = |line: &'static str| {
        let cells: Vec<&str> = line.split('\t').collect();
        let [dashboard, panel, metric, labels] = cells[..] else { panic!("four cells: {line}") };
        let labels = labels.split(' ').filter(|l| !l.is_empty()).collect();
        Row { dashboard, panel, metric, labels }
    };
    lines.map(row).collect()
}

#[test]
fn every_name_of_the_popular_dashboards_is_ours_with_its_labels() {
    let known = names::known();
    let rows = rows();
    for dashboard in ["763", "11835", "14091", "mixin", "jsonnet-libs"] {
        assert!(rows.iter().any(|r| r.dashboard == dashboard), "{dashboard}");
    }
    for row in rows {
        let at = format!("{} / {}: {}", row.dashboard, row.panel, row.metric);
        let series =
            known.get(row.metric).unwrap_or_else(|| panic!("{at} is not in the catalogue"));
        // Attached by discovery when `exporter.sd.compat_labels` is set.
        let compat = ["namespace", "pod"];
        for label in row.labels.iter().filter(|l| !compat.contains(l)) {
            assert!(series.labels.contains(*label), "{at} has no label {label}");
        }
    }
}

#[test]
fn their_names_stand_on_the_page_of_an_instance_or_are_the_one_rule() {
    let pages = |name: &str| catalog::metrics().iter().find(|m| m.name == name).map(|m| m.page);
    for row in rows() {
        let rule = row.metric == "redis_memory_fragmentation_ratio";
        assert!(rule || pages(row.metric) == Some(Page::Scrape), "{}", row.metric);
    }
}
