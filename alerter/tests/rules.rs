//! Rule files against Prometheus: every one is taken by promtool, and a policy compiled to rules fires when
//! the embedded evaluator does.
#![allow(clippy::unwrap_used, reason = "clippy does not see that helpers here are tests too")]

mod promtool;
mod stage;

use std::collections::BTreeSet;
use std::process::Command;

use alerter::defaults;
use alerter::rules::emit;
use model::alert::Phase;
use model::inventory::Inventory;
use model::policy::{Engine, PolicyDoc, PolicyScope};
use promtool::{Input, ask};
use stage::*;

/// The shipped policies, left to Prometheus.
fn theirs() -> Vec<PolicyDoc> {
    let one =
        |d: &PolicyDoc| PolicyDoc { enabled: None, engine: Some(Engine::Prometheus), ..d.clone() };
    defaults::policies().iter().map(one).collect()
}

fn check(name: &str, docs: &[PolicyDoc]) -> (usize, BTreeSet<String>) {
    let found = emit(docs, &Inventory::default());
    let dir = std::env::temp_dir().join(format!("cw-rules-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let mut rules = 0;
    for file in &found.files {
        let path = dir.join(&file.name);
        std::fs::write(&path, &file.text).unwrap();
        let out = Command::new("promtool").args(["check", "rules"]).arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "{}: {said}\n{}", file.name, file.text);
        rules += file.text.matches("alert: ").count();
    }
    std::fs::remove_dir_all(&dir).ok();
    (rules, found.problems.into_keys().collect())
}

#[test]
fn every_shipped_policy_that_prometheus_can_evaluate_compiles_to_rules_it_takes() {
    let (rules, problems) = check("shipped", &theirs());
    // What only we know: facts of the inventory, scores without a label of their owner, what nothing fills.
    let known = ["config-drift", "instance-missing", "no-master", "policy-failing", "zone-outage"];
    for policy in known {
        assert!(problems.contains(&format!("{policy}@platform")), "{policy}: {problems:?}");
    }
    assert!(problems.len() <= 12, "{problems:?}");
    assert!(rules >= 40, "{rules} rules, left out: {problems:?}");
}

#[test]
fn layers_of_tenants_services_and_labels_compile_to_rules_it_takes() {
    let layer = |scope: &str, more: &str| -> PolicyDoc {
        let text = format!("{{policy: memory-used, scope: '{scope}', meta: {{rev: 2}}, {more}}}");
        serde_saphyr::from_str(&text).unwrap()
    };
    let levels = "levels: {critical: {fire: 0.9, clear: 0.8}}";
    let mut docs = theirs();
    docs.push(layer("tenant:pay", levels));
    docs.push(layer("service:pay.cart", "keep_firing_for: 1m"));
    docs.push(layer(
        "platform",
        "selector: {tier: [core, 'gen*'], env: prod}, keep_firing_for: 2m",
    ));
    docs.push(layer("tenant:hr", "engine: both, severity_map: {critical: P1}"));
    let (_, problems) = check("layers", &docs);
    let mine: Vec<&String> = problems.iter().filter(|p| p.starts_with("memory-used")).collect();
    assert!(mine.is_empty(), "{mine:?}");
    let found = emit(&docs, &Inventory::default());
    let text =
        &found.files.iter().find(|f| f.policies.contains(&"memory-used".into())).unwrap().text;
    assert!(text.contains("shadow: 'true'") || text.contains("shadow: \"true\""), "{text}");
    assert_eq!(PolicyScope::Platform.to_string(), "platform");
}

const POLICY: &str = "
policy: memory-used
scope: platform
signal: {metric: redis_memory_used_bytes, over: redis_memory_max_bytes}
compare: '>'
levels:
  warning: {fire: 0.85, clear: 0.80, for: 1m}
  critical: {fire: 0.95, clear: 0.90}
keep_firing_for: 1m
on_missing: {hold: 1m}
";

#[test]
fn a_compiled_policy_fires_when_the_embedded_one_does() {
    // Short, through both levels, in the clear zone, calm, and once missing for two minutes.
    let parts: [(f64, usize); 9] = [
        (0.5, 10),
        (0.87, 3),
        (0.5, 8),
        (0.97, 12),
        (0.92, 10),
        (0.82, 10),
        (0.5, 20),
        (f64::NAN, 8),
        (0.97, 10),
    ];
    let ratios: Vec<Option<f64>> = parts
        .iter()
        .flat_map(|(v, n)| std::iter::repeat_n((!v.is_nan()).then_some(*v), *n))
        .collect();
    let series = |name: &str, of: fn(f64) -> f64| Input {
        series: format!("{name}{{instance=\"a\",tenant=\"pay\"}}"),
        values: ratios.iter().map(|r| r.map(of)).collect(),
    };
    let inputs = [
        series("redis_memory_used_bytes", |r| r * 1000.0),
        series("redis_memory_max_bytes", |_| 1000.0),
    ];
    let mut doc: PolicyDoc = serde_saphyr::from_str(POLICY).unwrap();
    doc.engine = Some(Engine::Prometheus);
    let found = emit(&[doc], &Inventory::default());
    let expr = "ALERTS{alertstate=\"firing\"}";
    let questions: Vec<(String, i64)> =
        (1..ratios.len()).map(|i| (expr.to_string(), i as i64 * STEP)).collect();
    let answers = ask(STEP, &found.files[0].text, &inputs, &questions);
    let mut bench = Bench::new(POLICY);
    let mut seen = BTreeSet::new();
    for (i, ratio) in ratios.iter().enumerate() {
        bench.feed(i as i64 * STEP, *ratio);
        let fires = |(_, phase): &&(&str, Phase)| *phase != Phase::Pending;
        let ours: BTreeSet<String> =
            bench.phases().iter().filter(fires).map(|(l, _)| l.to_string()).collect();
        let Some(got) = answers.get(&(expr.to_string(), i as i64 * STEP)) else { continue };
        let level =
            |labels: &String| Some(labels.split("level=\"").nth(1)?.split('"').next()?.to_string());
        let theirs: BTreeSet<String> = got.iter().filter_map(|(labels, _)| level(labels)).collect();
        assert_eq!(ours, theirs, "after sample {i} ({ratio:?})\n{}", found.files[0].text);
        seen.extend(theirs);
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
}
