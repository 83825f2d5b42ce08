//! The shipped policies: scope platform, below everything an installation sets itself.
//!
//! One entry per alert of `rules/catalogue/alerts.yml`, which a test holds against them, and three of
//! our own: what cannot be read, policies that cannot be evaluated, the last day of a certificate. A tenant, system, service
//! or instance overrides single fields. Those with `enabled: false` are shipped switched off.

use std::sync::LazyLock;

use model::policy::PolicyDoc;

const TEXTS: [&str; 9] = [
    include_str!("defaults/availability.yml"),
    include_str!("defaults/memory.yml"),
    include_str!("defaults/connections.yml"),
    include_str!("defaults/replication.yml"),
    include_str!("defaults/sentinel-cluster.yml"),
    include_str!("defaults/persistence.yml"),
    include_str!("defaults/performance.yml"),
    include_str!("defaults/slo.yml"),
    include_str!("defaults/upkeep.yml"),
];

static POLICIES: LazyLock<Vec<PolicyDoc>> = LazyLock::new(|| {
    let read = |text| -> Vec<PolicyDoc> {
        serde_saphyr::from_str(text).expect("a test reads the shipped policies")
    };
    TEXTS.into_iter().flat_map(read).collect()
});

/// The shipped policies.
pub fn policies() -> &'static [PolicyDoc] {
    &POLICIES
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::publish::alone;
    use crate::resolve::resolve;

    #[test]
    fn every_shipped_policy_can_be_evaluated_and_names_its_runbook_page() {
        assert!(policies().len() >= 50);
        for doc in policies() {
            // What is shipped switched off waits for a person, without a date.
            let flaws = alone(doc, 15_000, model::At::EPOCH);
            let flaws: Vec<_> = flaws.iter().filter(|f| f.place != "until").collect();
            assert!(flaws.is_empty(), "{}: {flaws:?}", doc.policy);
            let rule = resolve(&[doc]).unwrap_or_else(|e| panic!("{}: {e}", doc.policy));
            for level in &rule.levels {
                let url = &level.annotations["runbook_url"];
                assert_eq!(url, &format!("/docs/runbooks/{}", level.alertname));
                assert!(!level.annotations["summary"].is_empty());
                assert_eq!(rule.runbooks, crate::intake::runbooks(&level.alertname));
            }
            assert!(rule.labels.contains_key("dimension"), "{}", doc.policy);
        }
    }

    #[test]
    fn each_policy_is_shipped_once() {
        let mut ids: Vec<&str> = policies().iter().map(|d| d.policy.as_str()).collect();
        ids.sort_unstable();
        let n = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), n);
    }

    /// Alerts of the shipped policies and of the rule files, with the runbooks that react to them.
    fn shipped() -> BTreeMap<String, Vec<String>> {
        let own = policies().iter().flat_map(|doc| {
            let rule = resolve(&[doc]).expect("checked above");
            let runbooks = rule.runbooks.clone();
            rule.levels.into_iter().map(move |l| (l.alertname, runbooks.clone()))
        });
        let rules = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../rules")).unwrap();
        let files = rules.map(|f| f.unwrap().path()).filter(|f| f.extension().is_some());
        let text = files.map(|f| std::fs::read_to_string(f).unwrap()).collect::<String>();
        let named = text.lines().filter_map(|l| l.trim().strip_prefix("- alert: "));
        own.chain(named.map(|name| (name.trim().to_string(), Vec::new()))).collect()
    }

    /// A rule of the catalogue.
    #[derive(serde::Deserialize)]
    struct Rule {
        alert: String,
        #[serde(default, rename = "for")]
        hold_for: Option<model::policy::Span>,
        #[serde(default)]
        keep_firing_for: Option<model::policy::Span>,
        labels: BTreeMap<String, String>,
        annotations: BTreeMap<String, String>,
    }

    #[derive(serde::Deserialize)]
    struct Group {
        name: String,
        rules: Vec<Rule>,
    }

    #[derive(serde::Deserialize)]
    struct Catalogue {
        groups: Vec<Group>,
    }

    #[test]
    fn every_alert_of_the_catalogue_is_a_default_policy_that_says_the_same() {
        let text = include_str!("../../rules/catalogue/alerts.yml");
        let catalogue: Catalogue = serde_saphyr::from_str(text).unwrap();
        let rules: Vec<(&str, &Rule)> = catalogue
            .groups
            .iter()
            .flat_map(|g| g.rules.iter().map(|r| (g.name.as_str(), r)))
            .collect();
        let off = |r: &Rule| r.annotations.get("default").is_some_and(|word| word == "off");
        assert_eq!(rules.len(), 56);
        assert_eq!(rules.iter().filter(|(_, r)| !off(r)).count(), 48);
        let embedded = rules.iter().filter(|(group, _)| *group != "cw-meta");
        let mut known = vec!["unreadable", "policy-failing", "certificate-ending"];
        for (_, rule) in embedded {
            let id = rule.labels["policy"].as_str();
            let doc = policies().iter().find(|d| d.policy == id);
            let doc = doc.unwrap_or_else(|| panic!("{}: no policy {id}", rule.alert));
            known.push(id);
            let merged = resolve(&[doc]).unwrap();
            let level = merged.levels.iter().find(|l| l.level.as_str() == rule.labels["level"]);
            let level = level.unwrap_or_else(|| panic!("{}: no such level", rule.alert));
            assert_eq!(level.alertname, rule.alert);
            assert_eq!(level.for_ms, rule.hold_for.map_or(0, |s| s.ms), "{}", rule.alert);
            assert_eq!(merged.keep_ms, rule.keep_firing_for.map_or(0, |s| s.ms), "{}", rule.alert);
            assert_eq!(merged.labels["dimension"], rule.labels["dimension"], "{}", rule.alert);
            assert_eq!(merged.enabled, !off(rule), "{}", rule.alert);
            assert_eq!(level.annotations["runbook_url"], rule.annotations["runbook_url"]);
        }
        let stray = policies().iter().find(|d| !known.contains(&d.policy.as_str()));
        assert_eq!(stray.map(|d| &d.policy), None, "in no catalogue");
    }

    #[test]
    fn the_windows_of_the_shipped_policies_are_small() {
        let all: Vec<PolicyDoc> =
            policies().iter().cloned().map(|d| PolicyDoc { enabled: None, ..d }).collect();
        let rules: Vec<_> =
            all.iter().map(|d| std::sync::Arc::new(resolve(&[d]).unwrap())).collect();
        let of = |rules: &[_]| crate::Windows::of(rules, 15_000, Default::default()).points();
        assert!(of(&rules) <= crate::POINTS_PER_INSTANCE_MAX);
        let on: Vec<_> = policies().iter().filter(|d| d.enabled != Some(false)).collect();
        let on: Vec<_> = on.iter().map(|d| std::sync::Arc::new(resolve(&[d]).unwrap())).collect();
        assert!(of(&on) <= 600, "{} points an instance", of(&on));
    }

    #[test]
    fn every_alert_has_its_page_and_every_page_its_alert() {
        let shipped = shipped();
        assert!(shipped.contains_key("Watchdog") && shipped.contains_key("RedisDown"));
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/runbooks");
        for (alert, runbooks) in &shipped {
            let page = std::fs::read_to_string(folder.join(format!("{alert}.md")))
                .unwrap_or_else(|e| panic!("docs/runbooks/{alert}.md: {e}"));
            let title = format!("# {alert}\n");
            let parts = [
                title.as_str(),
                "**Meaning.** ",
                "**Impact.** ",
                "## First look",
                "## What cachewarden does",
                "## What a person does",
                "## Over when",
            ];
            let mut rest = page.as_str();
            for part in parts {
                let at = rest.find(part).unwrap_or_else(|| panic!("{alert}.md: no {part:?}"));
                rest = &rest[at..];
            }
            for runbook in runbooks {
                assert!(
                    page.contains(&format!("`{runbook}`")),
                    "{alert}.md does not name {runbook}"
                );
            }
        }
        for file in std::fs::read_dir(&folder).unwrap() {
            let file = file.unwrap().path();
            let name = file.file_stem().unwrap().to_str().unwrap();
            assert!(shipped.contains_key(name), "{}: no such alert is shipped", file.display());
        }
    }
}
