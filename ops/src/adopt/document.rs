//! Documents full of addresses: CSV, Prometheus service discovery, Prometheus configurations with jobs
//! for redis_exporter, one address a line. Pure.
//!
//! Invariant: the form is found by looking at the text; of a document of a known form every address
//! is taken or refused by name. Refuses to follow what a document points to.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::seed::{Hints, Seeds};

/// Addresses of one document: above it a request takes longer than anybody waits.
const ADDRESSES_MAX: usize = 10_000;
/// The label redis_exporter's relabelling fills with the address of the Redis.
const TARGET: &str = "__param_target";

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    targets: Vec<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Configuration {
    scrape_configs: Vec<Job>,
}

#[derive(Deserialize)]
struct Job {
    #[serde(default)]
    metrics_path: String,
    #[serde(default)]
    params: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    static_configs: Vec<Group>,
}

/// Reads the document into `all`; says what is wrong when its form is none of these.
pub(super) fn read(text: &str, all: &mut Seeds) -> Result<(), String> {
    let text = text.trim_start_matches('\u{feff}').trim();
    let first = text.lines().find(|l| is_content(l)).unwrap_or_default().trim();
    if first.starts_with(['[', '{']) {
        json(text, all)?;
    } else if is_header(first) {
        csv(text, all)?;
    } else if first.starts_with('-') || first.ends_with(':') || first.contains(": ") {
        yaml(text, all)?;
    } else {
        let lines = text.lines().filter(|l| is_content(l));
        lines.for_each(|line| all.push(line, &Hints::default()));
    }
    let found = all.seeds.len() + all.refused.len();
    if found > ADDRESSES_MAX {
        return Err(format!("{found} addresses, at most {ADDRESSES_MAX}; send it in parts"));
    }
    Ok(())
}

fn is_content(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#') && line != "---"
}

fn json(text: &str, all: &mut Seeds) -> Result<(), String> {
    let said = |e: serde_json::Error| format!("the document is JSON, but {e}");
    match text.starts_with('[') {
        true => groups(serde_json::from_str(text).map_err(said)?, all),
        false => jobs(serde_json::from_str(text).map_err(said)?, all),
    }
    Ok(())
}

fn yaml(text: &str, all: &mut Seeds) -> Result<(), String> {
    let said = |e: serde_saphyr::Error| format!("the document looks like YAML, but {e}");
    match text.lines().any(|l| l.starts_with("scrape_configs:")) {
        true => jobs(serde_saphyr::from_str(text).map_err(said)?, all),
        false => groups(serde_saphyr::from_str(text).map_err(said)?, all),
    }
    Ok(())
}

/// A list of service discovery. With the label of redis_exporter the target is the exporter itself.
fn groups(groups: Vec<Group>, all: &mut Seeds) {
    for group in groups {
        let mut hints = Hints::default();
        for (name, value) in &group.labels {
            hints.set(name, value);
        }
        match group.labels.get(TARGET) {
            Some(target) => all.push(target, &hints),
            None => group.targets.iter().for_each(|target| all.push(target, &hints)),
        }
    }
}

/// The jobs of a Prometheus configuration whose targets are Redis addresses: those of redis_exporter's
/// multi-target form.
fn jobs(configuration: Configuration, all: &mut Seeds) {
    for job in configuration.scrape_configs {
        for target in job.params.get("target").into_iter().flatten() {
            all.push(target, &Hints::default());
        }
        if job.metrics_path == "/scrape" && !job.params.contains_key("target") {
            groups(job.static_configs, all);
        }
    }
}

fn is_header(line: &str) -> bool {
    cells(line).iter().any(|cell| cell.eq_ignore_ascii_case("address"))
}

/// Comma-separated values under a header with a column `address`; others taken are `service`, `system`
/// and `zone`.
fn csv(text: &str, all: &mut Seeds) -> Result<(), String> {
    let mut lines = text.lines().filter(|l| is_content(l));
    let header: Vec<String> =
        cells(lines.next().unwrap_or_default()).iter().map(|c| c.to_ascii_lowercase()).collect();
    for (n, line) in lines.enumerate() {
        let row = cells(line);
        if row.len() > header.len() {
            let (found, wanted) = (row.len(), header.len());
            return Err(format!("row {}: {found} values under {wanted} columns", n + 1));
        }
        let mut hints = Hints::default();
        let mut address = "";
        for (name, value) in header.iter().zip(&row) {
            match name.as_str() {
                "address" => address = value,
                other => hints.set(other, value),
            }
        }
        all.push(address, &hints);
    }
    Ok(())
}

/// The values of a line; quotes may hold commas and doubled quotes.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let cell = cells.last_mut().expect("never empty");
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            other => cell.push(other),
        }
    }
    cells.iter().map(|cell| cell.trim().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses with their hints, as `address service/system/zone`.
    fn found(text: &str) -> Vec<String> {
        let mut all = Seeds::default();
        read(text, &mut all).unwrap();
        let show = |h: &Option<String>| h.clone().unwrap_or_default();
        let line = |s: &super::super::seed::Seed| {
            let h = &s.hints;
            format!("{} {}/{}/{}", s.address, show(&h.service), show(&h.system), show(&h.zone))
        };
        all.seeds.iter().map(line).collect()
    }

    #[test]
    fn a_csv_needs_a_column_address_and_may_say_more() {
        let text =
            "# ours\nService,address,zone,owner\ncart,10.0.0.1:6379,az-1,\"a, b\"\n\n,10.0.0.2,,\n";
        assert_eq!(found(text), ["10.0.0.1:6379 cart//az-1", "10.0.0.2:6379 //"]);
        let mut all = Seeds::default();
        assert!(read("address\n10.0.0.1,x\n", &mut all).unwrap_err().contains("row 1"));
    }

    #[test]
    fn service_discovery_is_read_as_json_and_as_yaml() {
        let json =
            r#"[{"targets": ["10.0.0.1:6379", "redis://10.0.0.2"], "labels": {"zone": "az-1"}}]"#;
        assert_eq!(found(json), ["10.0.0.1:6379 //az-1", "10.0.0.2:6379 //az-1"]);
        let yaml = "- targets:\n  - rediss://10.0.0.3:6380\n  labels:\n    service: cart\n";
        assert_eq!(found(yaml), ["10.0.0.3:6380 cart//"]);
    }

    #[test]
    fn what_was_written_for_redis_exporter_names_the_redis_and_not_the_exporter() {
        let sd = r#"[{"targets": ["exporter:9121"], "labels": {"__param_target": "redis://10.0.0.1:6379"}}]"#;
        assert_eq!(found(sd), ["10.0.0.1:6379 //"]);
        let config = "global: {scrape_interval: 15s}\nscrape_configs:\n- job_name: redis\n  \
            metrics_path: /scrape\n  static_configs:\n  - targets: ['redis://10.0.0.1:6379', \
            '10.0.0.2:6379']\n  relabel_configs:\n  - {source_labels: [__address__], target_label: \
            __param_target}\n- job_name: node\n  static_configs: [{targets: ['10.0.0.9:9100']}]\n\
            - job_name: one\n  metrics_path: /scrape\n  params: {target: ['redis://10.0.0.3']}\n  \
            static_configs: [{targets: ['exporter:9121']}]\n";
        assert_eq!(found(config), ["10.0.0.1:6379 //", "10.0.0.2:6379 //", "10.0.0.3:6379 //"]);
        // Our own discovery: ids of instances.
        let ours =
            r#"[{"targets": ["cw:9850"], "labels": {"__param_target": "pay.cart@10.0.0.1:6379"}}]"#;
        assert_eq!(found(ours), ["10.0.0.1:6379 cart//"]);
    }

    #[test]
    fn one_address_a_line_is_enough_and_what_is_no_document_is_refused() {
        assert_eq!(found("10.0.0.1:6379\n# old\n10.0.0.2:6379\n").len(), 2);
        let mut all = Seeds::default();
        for bad in ["{\"a\": 1}", "[1, 2]", "version: 1\ntenants: []\n", "[{\"targets\": 7}]"] {
            assert!(read(bad, &mut all).is_err(), "{bad}");
        }
    }
}
