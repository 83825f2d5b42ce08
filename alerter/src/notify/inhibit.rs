//! Inhibition: one alert speaks for others, as the rules shipped in `deploy/alertmanager.yml` say.
//!
//! Invariant: the rules here are those of the file (a test compares them). A missing label equals an
//! empty one; an alert never mutes itself. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use model::alert::{Alert, Phase};
use model::matcher::Matchers;
use model::silence::Matcher;

/// A rule as it is written: source, target, labels that must be equal.
type Written = (&'static [&'static str], &'static [&'static str], &'static [&'static str]);

const RULES: [Written; 4] = [
    (
        &[r#"level="critical""#],
        &[r#"level=~"warning|info""#],
        &["tenant", "service", "instance", "policy"],
    ),
    (&[r#"level="warning""#], &[r#"level="info""#], &["tenant", "service", "instance", "policy"]),
    (
        &[r#"alertname="RedisDown""#],
        &[r#"alertname!="RedisDown""#, r#"instance=~".+""#],
        &["tenant", "service", "instance"],
    ),
    (
        &[r#"alertname="ZoneOutage""#],
        &[r#"dimension="availability""#, r#"instance=~".+""#],
        &["zone"],
    ),
];

struct Rule {
    source: Matchers,
    target: Matchers,
    equal: &'static [&'static str],
}

static COMPILED: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let compile = |texts: &[&str]| {
        let parsed = texts.iter().map(|t| Matcher::parse(t)).collect::<Result<Vec<_>, _>>();
        let compiled = parsed.and_then(|m| Matchers::compile(&m));
        compiled.expect("the rules of the program are tested")
    };
    let one = |(source, target, equal): &Written| Rule {
        source: compile(source),
        target: compile(target),
        equal,
    };
    RULES.iter().map(one).collect()
});

/// Ids of the alerts that another one speaks for.
pub fn inhibited(alerts: &[&Alert]) -> BTreeSet<String> {
    let firing = || alerts.iter().filter(|a| a.phase != Phase::Resolved);
    let mut muted = BTreeSet::new();
    for rule in COMPILED.iter() {
        let mut sources: BTreeMap<Vec<&str>, BTreeSet<&str>> = BTreeMap::new();
        for alert in firing().filter(|a| rule.source.matches(&a.labels)) {
            sources.entry(values(alert, rule.equal)).or_default().insert(&alert.id);
        }
        if sources.is_empty() {
            continue;
        }
        for alert in firing().filter(|a| rule.target.matches(&a.labels)) {
            let Some(speakers) = sources.get(&values(alert, rule.equal)) else { continue };
            if speakers.iter().any(|id| *id != alert.id) {
                muted.insert(alert.id.clone());
            }
        }
    }
    muted
}

fn values<'a>(alert: &'a Alert, names: &[&str]) -> Vec<&'a str> {
    names.iter().map(|n| alert.labels.get(*n).map_or("", String::as_str)).collect()
}

#[cfg(test)]
mod tests {
    use model::At;
    use model::alert::AlertSource;
    use model::policy::AlertLevel;
    use serde::Deserialize;

    use super::*;

    fn alert(id: &str, labels: &[(&str, &str)]) -> Alert {
        let labels: BTreeMap<String, String> =
            labels.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        Alert {
            id: id.into(),
            fingerprint: id.into(),
            source: AlertSource::Embedded,
            tenant: None,
            service: None,
            instance: None,
            alertname: labels.get("alertname").cloned().unwrap_or_default(),
            policy: String::new(),
            level: AlertLevel::Warning,
            phase: Phase::Firing,
            labels,
            annotations: BTreeMap::new(),
            value: None,
            threshold: None,
            runbooks: Vec::new(),
            starts_at: At::EPOCH,
            ends_at: None,
            last_seen: At::EPOCH,
            reason: String::new(),
        }
    }

    #[test]
    fn the_higher_level_a_dead_instance_and_a_lost_zone_speak_for_the_others() {
        let at = |name, level, instance, dimension| {
            vec![
                ("alertname", name),
                ("level", level),
                ("tenant", "pay"),
                ("service", "cart"),
                ("instance", instance),
                ("policy", name),
                ("zone", "az-1"),
                ("dimension", dimension),
            ]
        };
        let alerts = [
            alert("down", &at("RedisDown", "critical", "i1", "availability")),
            alert("memory", &at("MemoryHigh", "warning", "i1", "memory")),
            alert("crit", &at("ClientsHigh", "critical", "i2", "connections")),
            alert("warn", &at("ClientsHigh", "warning", "i2", "connections")),
            alert("other", &at("ClientsHigh", "warning", "i3", "connections")),
            // Of the service itself: it has no instance and stays audible.
            alert("service", &at("NoMaster", "critical", "", "availability")),
        ];
        let muted = |more: Option<Alert>| {
            let all: Vec<&Alert> = alerts.iter().chain(&more).collect();
            inhibited(&all).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(muted(None), ["memory", "warn"]);
        let zone = alert("zone", &[("alertname", "ZoneOutage"), ("zone", "az-1")]);
        assert_eq!(muted(Some(zone.clone())), ["down", "memory", "warn"]);
        let over = Alert { phase: Phase::Resolved, ..zone };
        assert_eq!(muted(Some(over)), ["memory", "warn"], "what is over speaks for nobody");
    }

    #[derive(Deserialize)]
    struct File {
        inhibit_rules: Vec<InFile>,
    }

    #[derive(Deserialize)]
    struct InFile {
        source_matchers: Vec<String>,
        target_matchers: Vec<String>,
        equal: Vec<String>,
    }

    #[test]
    fn the_rules_are_those_shipped_for_alertmanager() {
        let text = include_str!("../../../deploy/alertmanager.yml");
        let file: File = serde_saphyr::from_str(text).unwrap();
        let own = |texts: &[&str]| texts.iter().map(|x| x.to_string()).collect::<Vec<_>>();
        let ours: Vec<[Vec<String>; 3]> =
            RULES.iter().map(|(s, t, e)| [own(s), own(t), own(e)]).collect();
        let theirs: Vec<[Vec<String>; 3]> = file
            .inhibit_rules
            .into_iter()
            .map(|r| [r.source_matchers, r.target_matchers, r.equal])
            .collect();
        assert_eq!(ours, theirs);
    }
}
