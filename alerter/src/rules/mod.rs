//! Policies as Prometheus rule files: those that say `engine: prometheus` or `both`, and those only
//! Prometheus can evaluate.
//!
//! Invariant: pure; what cannot be said in PromQL is refused by name, never weakened. File, group and
//! rule names follow from policies alone and never change, or Prometheus would lose their states. A copy
//! that only shadows ours is marked, so that it pages nobody. Every selector of a tenant's policy is held
//! to that tenant. Refuses to know: where files lie, who reloads them.

mod signal;

use std::collections::BTreeMap;

use model::inventory::Inventory;
use model::policy::{Compare, Engine, OnMissing, PolicyDoc, PolicyScope, Span};
use serde::Serialize;

use crate::explain::at_scope;
use crate::resolve::{Effective, LevelRule, depth, resolve};
use crate::signal::{Signal, scoped};
use signal::Said;

/// A rule file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFile {
    /// `cw-memory.yml`.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Policies in it.
    pub policies: Vec<String>,
}

/// What policies say as rules.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Emitted {
    /// The files, by name.
    pub files: Vec<RuleFile>,
    /// Documents that cannot be said (`policy@scope`), with the reason.
    pub problems: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct File {
    groups: Vec<Group>,
}

#[derive(Serialize)]
struct Group {
    name: String,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Rule {
    alert: String,
    expr: String,
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    hold_for: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_firing_for: Option<Span>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

/// The rules of all policies that are Prometheus' to evaluate. `docs`: the shipped ones, then those
/// published.
pub fn emit(docs: &[PolicyDoc], inventory: &Inventory) -> Emitted {
    let mut by_policy: BTreeMap<&str, Vec<&PolicyDoc>> = BTreeMap::new();
    for doc in docs {
        by_policy.entry(&doc.policy).or_default().push(doc);
    }
    let mut domains: BTreeMap<String, Vec<Group>> = BTreeMap::new();
    let mut problems = BTreeMap::new();
    for (policy, docs) in by_policy {
        let (mut rules, mut domain) = (Vec::new(), String::new());
        for place in places(&docs) {
            let chain = at_scope(docs.iter().copied(), place, inventory);
            let Ok(merged) = resolve(&chain) else { continue };
            if !is_theirs(&merged) {
                continue;
            }
            domain = domain_of(&merged);
            let others = places(&docs).into_iter().filter(|o| is_deeper(o, place)).collect();
            match (Variant { place, chain: &chain, merged: &merged, others }).rules() {
                Ok(mine) => rules.extend(mine),
                Err(why) => drop(problems.insert(format!("{policy}@{}", place.scope), why)),
            }
        }
        if !rules.is_empty() {
            domains.entry(domain).or_default().push(Group { name: policy.to_string(), rules });
        }
    }
    let files = domains.into_iter().map(|(domain, groups)| file(&domain, groups)).collect();
    Emitted { files, problems }
}

/// Whether Prometheus evaluates it, for itself or as a shadow.
fn is_theirs(rule: &Effective) -> bool {
    let delegated = matches!(rule.signal, Signal::Delegated(_));
    rule.enabled && (delegated || rule.engine != Engine::Embedded)
}

fn domain_of(rule: &Effective) -> String {
    let domain = rule.labels.get("dimension").filter(|d| model::id::is_slug(d));
    domain.cloned().unwrap_or_else(|| "own".into())
}

fn file(domain: &str, groups: Vec<Group>) -> RuleFile {
    let policies = groups.iter().map(|g| g.name.clone()).collect();
    let text = serde_saphyr::to_string(&File { groups }).unwrap_or_default();
    let head = "# Written by cachewarden from its policies; changes are overwritten.\n";
    RuleFile { name: format!("cw-{domain}.yml"), text: format!("{head}{text}"), policies }
}

/// One document for each scope and selector, the most general first.
fn places<'a>(docs: &[&'a PolicyDoc]) -> Vec<&'a PolicyDoc> {
    let mut all: Vec<&PolicyDoc> = Vec::new();
    for doc in crate::resolve::by_depth(docs) {
        if !all.iter().any(|d| d.scope == doc.scope && d.selector == doc.selector) {
            all.push(doc);
        }
    }
    all
}

fn is_deeper(one: &PolicyDoc, than: &PolicyDoc) -> bool {
    let rank = |d: &PolicyDoc| (depth(&d.scope), d.selector.len());
    rank(one) > rank(than)
}

/// A policy where one document of it is the deepest.
struct Variant<'a> {
    place: &'a PolicyDoc,
    chain: &'a [&'a PolicyDoc],
    merged: &'a Effective,
    /// Documents that take instances away from it.
    others: Vec<&'a PolicyDoc>,
}

impl Variant<'_> {
    fn rules(&self) -> Result<Vec<Rule>, String> {
        if self.merged.calendar != Default::default() {
            return Err("a calendar is kept here; Prometheus has none".into());
        }
        let said = self.said()?;
        let top = self.merged.levels.last().map(|l| l.level);
        let levels = self.merged.levels.iter();
        levels.map(|level| self.rule(&said, level, top == Some(level.level))).collect()
    }

    /// The signal as PromQL.
    fn said(&self) -> Result<Said, String> {
        // In the order of the merge the last one that sets it wins.
        let chain = crate::resolve::by_depth(self.chain);
        let signal = chain.iter().rev().find_map(|d| d.signal.as_ref());
        let window = chain.iter().rev().find_map(|d| d.window.as_ref());
        let hold = match self.merged.on_missing {
            OnMissing::Hold(span) => Some(span),
            _ => None,
        };
        signal::say(signal.ok_or("signal is not set by any layer")?, window, hold)
    }

    fn rule(&self, said: &Said, level: &LevelRule, top: bool) -> Result<Rule, String> {
        let rule = self.merged;
        let (compare, x) = (rule.compare.as_str(), &said.expr);
        let beyond = |threshold: f64| format!("({x}) {compare} {threshold}");
        let mut expr = beyond(level.fire);
        let steps = !matches!(rule.compare, Compare::Eq | Compare::Ne);
        if steps && level.clear != level.fire {
            let on = said.on();
            let alerts = format!(
                "ALERTS{{alertname={:?},alertstate=\"firing\",policy={:?},level=\"{}\"}}",
                level.alertname,
                rule.policy,
                level.level.as_str()
            );
            expr = format!("({expr}) or (({}) and on ({on}) {alerts})", beyond(level.clear));
        }
        if rule.on_missing == OnMissing::Fire && top {
            let Some(series) = &said.first else {
                return Err("on_missing: fire needs a signal of plain series".into());
            };
            let missing = format!("cachewarden_instance_expected unless on (instance) {series}");
            expr = format!("({expr}) or ({missing})");
        }
        if said.of_instance {
            expr = self.partition(&expr);
        } else if !self.others.is_empty() || !self.place.selector.is_empty() {
            return Err("layers of what is about many instances cannot be told apart".into());
        }
        Ok(Rule {
            alert: level.alertname.clone(),
            expr: scoped(&expr, &self.place.scope)?,
            hold_for: (level.for_ms > 0).then_some(Span::from_ms(level.for_ms)),
            keep_firing_for: (rule.keep_ms > 0).then_some(Span::from_ms(rule.keep_ms)),
            labels: self.labels(level),
            annotations: self.annotations(level),
        })
    }

    /// Keeps the instances of this document: by labels of the inventory, and without those that a
    /// deeper one judges. What restricts is looked back for, so that its absence resolves nothing.
    fn partition(&self, expr: &str) -> String {
        let mut out = format!("({expr})");
        if !self.place.selector.is_empty() {
            out = format!("{out} and on (instance) {}", info(self.place, false));
        }
        for other in &self.others {
            out = format!("{out} unless on (instance) {}", info(other, true));
        }
        let gone = "cachewarden_instance_removed";
        let maintained = "(cachewarden_instance_maintenance == 1)";
        format!("{out} unless on (instance) {gone} unless on (instance) {maintained}")
    }

    fn labels(&self, level: &LevelRule) -> BTreeMap<String, String> {
        let rule = self.merged;
        let mut labels = rule.labels.clone();
        let mut set = |name: &str, value: &str| drop(labels.insert(name.into(), value.into()));
        set("policy", &rule.policy);
        set("level", level.level.as_str());
        set("severity", &level.severity);
        set("evaluator", "prometheus");
        if let Some(receiver) = &rule.receiver {
            set("receiver", receiver);
        }
        let delegated = matches!(rule.signal, Signal::Delegated(_));
        if rule.engine == Engine::Both && !delegated {
            set("shadow", "true");
        }
        labels
    }

    fn annotations(&self, level: &LevelRule) -> BTreeMap<String, String> {
        let mut annotations = level.annotations.clone();
        let rev = self.place.meta.as_ref().map_or(0, |meta| meta.rev);
        annotations.insert("policy_rev".into(), rev.to_string());
        annotations.insert("threshold".into(), level.fire.to_string());
        annotations
    }
}

/// The instances of a document, as the inventory tells Prometheus; `scope` says its scope too.
fn info(doc: &PolicyDoc, scope: bool) -> String {
    let mut labels: Vec<String> = Vec::new();
    let mut exactly = |name: &str, value: &str| labels.push(format!("{name}={value:?}"));
    if scope {
        match &doc.scope {
            PolicyScope::Platform => {}
            PolicyScope::Tenant(id) => exactly("tenant", id.as_str()),
            PolicyScope::System(id) => {
                exactly("tenant", id.tenant().as_str());
                exactly("system", id.slug());
            }
            PolicyScope::Service(id) => {
                exactly("tenant", id.tenant().as_str());
                exactly("service", id.slug());
            }
            PolicyScope::Instance(id) => exactly("instance", id.as_str()),
        }
    }
    for (label, words) in &doc.selector {
        let words: Vec<String> = words.iter().map(|w| pattern(w)).collect();
        labels.push(format!("{label}=~\"{}\"", words.join("|")));
    }
    format!("last_over_time(cachewarden_instance_info{{{}}}[1h])", labels.join(","))
}

/// A glob as a regular expression in a string of PromQL.
fn pattern(glob: &str) -> String {
    let one = |c: char| match c {
        '*' => ".*".to_string(),
        c if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') => c.to_string(),
        c => format!("\\\\{c}"),
    };
    glob.chars().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn docs(texts: &[&str]) -> Vec<PolicyDoc> {
        texts.iter().map(|t| serde_saphyr::from_str(t).unwrap()).collect()
    }

    const BASE: &str = "
policy: memory-used
scope: platform
signal: {metric: redis_memory_used_bytes, over: redis_memory_max_bytes}
compare: '>'
levels: {critical: {fire: 0.95, clear: 0.9, for: 2m, alertname: RedisMemoryFull}}
keep_firing_for: 5m
on_missing: {hold: 10m}
labels: {dimension: memory}
";

    #[test]
    fn only_what_prometheus_shall_evaluate_becomes_a_rule_and_a_shadow_is_marked() {
        let none = emit(&docs(&[BASE]), &Inventory::default());
        assert_eq!(none, Emitted::default());
        let engine =
            |word: &str| format!("{{policy: memory-used, scope: platform, engine: {word}}}");
        let both = emit(&docs(&[BASE, &engine("both")]), &Inventory::default());
        assert_eq!(both.problems, BTreeMap::new());
        assert_eq!(both.files[0].name, "cw-memory.yml");
        assert!(both.files[0].text.contains("shadow"), "{}", both.files[0].text);
        let own = emit(&docs(&[BASE, &engine("prometheus")]), &Inventory::default());
        let text = &own.files[0].text;
        assert!(!text.contains("shadow") && text.contains("evaluator"), "{text}");
        assert!(text.contains("alert: RedisMemoryFull") && text.contains("for: 2m"), "{text}");
        assert!(text.contains("last_over_time(redis_memory_used_bytes[10m])"), "{text}");
        assert!(text.contains("ALERTS{"), "{text}");
    }

    #[test]
    fn a_deeper_layer_has_a_rule_of_its_own_that_is_held_to_its_tenant() {
        let tenant = "{policy: memory-used, scope: 'tenant:pay', levels: {critical: {fire: 0.8, \
                      clear: 0.7}}}";
        let all = "{policy: memory-used, scope: platform, engine: prometheus}";
        let found = emit(&docs(&[BASE, all, tenant]), &Inventory::default());
        let text = &found.files[0].text;
        assert_eq!(text.matches("alert: RedisMemoryFull").count(), 2, "{text}");
        assert!(text.contains("tenant=\"pay\""), "{text}");
        assert!(text.contains("> 0.8") && text.contains("> 0.95"), "{text}");
    }

    #[test]
    fn what_prometheus_has_no_word_for_is_refused_by_name() {
        let night = "{policy: memory-used, scope: platform, engine: prometheus, calendar: {mute: \
                     [night]}}";
        let found = emit(&docs(&[BASE, night]), &Inventory::default());
        assert!(found.files.is_empty());
        assert!(found.problems["memory-used@platform"].contains("calendar"));
        assert_eq!(pattern("az-*.b"), "az-.*\\\\.b");
    }
}
