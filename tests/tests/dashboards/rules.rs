//! The recording rules: named as is the custom, made of series that exist, right by promtool.

use std::process::Command;

use tests::fleet::program;

use crate::{names, promql, repository};

#[test]
fn a_rule_is_called_level_metric_operations_and_made_of_series_that_exist() {
    let known = names::known();
    for rule in names::rules() {
        let parts: Vec<&str> = rule.name.split(':').collect();
        let levels = ["instance", "service"];
        let fine = match parts[..] {
            [level, metric, operations] => {
                let made_of = metric.starts_with("redis_") || metric.starts_with("cachewarden_");
                levels.contains(&level) && made_of && !operations.is_empty()
            }
            // The one name other people's dashboards ask for.
            [name] => name == "redis_memory_fragmentation_ratio",
            _ => false,
        };
        assert!(fine, "{}", rule.name);
        let query = promql::read(&rule.expr).unwrap();
        for asked in &query.asked {
            let series = known.get(&asked.name);
            let series = series.unwrap_or_else(|| panic!("{}: {}", rule.name, asked.name));
            let rated = matches!(asked.ranged_by.as_deref(), Some("rate" | "increase"));
            assert_eq!(series.counter, rated, "{}: {}", rule.name, asked.name);
        }
        let answers = query.answers(&|name: &str| known[name].labels.clone());
        let level: Vec<&str> = match parts[0] {
            "service" => vec!["tenant", "system", "service"],
            _ => vec!["tenant", "system", "service", "instance", "zone"],
        };
        for label in level {
            assert!(answers.contains(label), "{} lost {label}", rule.name);
        }
    }
}

#[test]
fn no_rule_is_recorded_in_vain() {
    let asked = |text: &str| promql::read(text).unwrap().asked.into_iter().map(|a| a.name);
    let mut used: Vec<String> = names::rules().iter().flat_map(|r| asked(&r.expr)).collect();
    for board in crate::boards::all() {
        let targets = board.panels().flat_map(|p| &p.targets);
        used.extend(targets.flat_map(|t| asked(&t.expr)));
    }
    for rule in names::rules() {
        assert!(used.contains(&rule.name), "nobody asks for {}", rule.name);
    }
}

#[test]
fn promtool_accepts_the_rules_and_their_tests_pass() {
    for args in [
        &["check", "rules", "rules/recording.yml"][..],
        &["test", "rules", "rules/tests/recording.yml"],
        &["check", "rules", "rules/cw-slo.yml"],
        &["test", "rules", "rules/tests/cw-slo.yml"],
    ] {
        let out = Command::new(program("promtool")).current_dir(repository()).args(args).output();
        let out = out.unwrap();
        let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{args:?}: {said}");
    }
}

#[test]
fn grafana_is_provisioned_from_the_folder_the_guide_installs_to() {
    let read = |path: &str| std::fs::read_to_string(repository().join(path)).unwrap();
    let yaml = |path: &str| -> serde_json::Value { serde_saphyr::from_str(&read(path)).unwrap() };
    let boards = yaml("deploy/grafana/dashboards/cachewarden.yml");
    let folder = boards["providers"][0]["options"]["path"].as_str().unwrap();
    assert!(read("docs/guides/grafana.md").contains(&format!("-t {folder} dashboards/*.json")));
    let sources = yaml("deploy/grafana/datasources/cachewarden.yml");
    let source = &sources["datasources"][0];
    assert_eq!(source["type"], "prometheus");
    // $__rate_interval is made of it, so it must not be shorter than what Prometheus does.
    let interval = yaml("deploy/prometheus.yml")["global"]["scrape_interval"].clone();
    assert_eq!(source["jsonData"]["timeInterval"], interval);
}
