//! What is shown of a policy: its documents with their revisions, what is in force where and from
//! whom, what a change would break and whom it would reach.
//!
//! Invariant: plain values; a field in force always says who set it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Backtest, Engine, PolicyDoc, PolicyScope};
use crate::At;

/// A revision of a document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyRevision {
    /// Policy id.
    pub policy: String,
    /// Where the document applies.
    pub scope: PolicyScope,
    /// To which instances of it.
    pub selector: BTreeMap<String, Vec<String>>,
    /// Number among the revisions of this policy, scope and selector.
    pub rev: i64,
    /// Number among all revisions of the platform.
    pub seq: i64,
    /// The document; none: it was taken out of force.
    pub doc: Option<PolicyDoc>,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: At,
}

/// A policy in the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyItem {
    /// Policy id.
    pub id: String,
    /// Names of its alerts.
    pub alertnames: Vec<String>,
    /// What the platform's layer judges, in words.
    pub signal: String,
    /// Its levels: `critical > 0.95 for 2m`.
    pub levels: Vec<String>,
    /// Shipped with the program.
    pub shipped: bool,
    /// Switched on for the platform.
    pub enabled: bool,
    /// Who evaluates it.
    pub engine: Engine,
    /// Scopes with a document of their own, of those in sight.
    pub layers: Vec<String>,
    /// Alerts of it that fire now, of those in sight.
    pub firing: u32,
    /// Who changed it last; empty: nobody did.
    pub by: String,
    /// When.
    pub at: Option<At>,
}

/// A field in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyField {
    /// `levels.critical.fire`, `keep_firing_for` …
    pub field: String,
    /// Its value as written.
    pub value: String,
    /// Who set it: `tenant:pay, rev 3`, `platform, shipped`, `built in`.
    pub origin: String,
    /// Which layers above forbid to loosen it; empty: none.
    pub locked: String,
    /// Bounds of layers above: `at most 0.95 (platform, rev 2)`; empty: none.
    pub cap: String,
    /// What other layers say, the nearest first.
    pub beaten: Vec<Beaten>,
}

/// A value that another layer wins over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Beaten {
    /// The value.
    pub value: String,
    /// Who set it.
    pub origin: String,
}

/// Something in a document that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyFault {
    /// Line of the text that was sent, from 1; none: it was no text, or the line is not known.
    pub line: Option<u64>,
    /// Where: JSON pointer into what was sent, `/levels/critical/fire`.
    pub pointer: String,
    /// What was found and what is allowed.
    pub detail: String,
}

/// Whom a document reaches in one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyReach {
    /// Tenant.
    pub tenant: String,
    /// Instances it selects.
    pub instances: u32,
    /// Of them judged otherwise than now.
    pub changed: u32,
}

/// What a document would do, before it is published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyCheck {
    /// What stands against it; empty: it may be published.
    pub faults: Vec<PolicyFault>,
    /// Whom it reaches, of those in sight.
    pub reach: Vec<PolicyReach>,
}

/// One policy as it is at a scope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyPage {
    /// When it was read.
    pub as_of: At,
    /// Policy id.
    pub id: String,
    /// The scope that is looked at.
    pub scope: String,
    /// The instance that is looked at; none: the scope in general.
    pub instance: Option<String>,
    /// Revision of the scope's own document; 0: it has none.
    pub rev: i64,
    /// The scope's own document, or the one that was sent.
    pub doc: PolicyDoc,
    /// The same as YAML.
    pub text: String,
    /// Every field in force, with its origin.
    pub effective: Vec<PolicyField>,
    /// Why what is in force cannot be evaluated; empty: it can.
    pub problem: String,
    /// Shipped with the program.
    pub shipped: bool,
    /// Documents in force, of those in sight.
    pub layers: Vec<PolicyRevision>,
    /// Revisions, newest first, of those in sight.
    pub revisions: Vec<PolicyRevision>,
    /// Alerts of it that fire now, of those in sight.
    pub firing: u32,
    /// What the document that was sent would do.
    pub check: Option<PolicyCheck>,
    /// What it would have done.
    pub backtest: Option<Backtest>,
}

impl PolicyDoc {
    /// A document that sets nothing.
    pub fn empty(policy: &str, scope: PolicyScope) -> PolicyDoc {
        let doc = serde_json::json!({ "policy": policy, "scope": scope });
        serde_json::from_value(doc).expect("policy and scope are enough")
    }

    /// Every field it sets, by its path, with the value as text.
    pub fn fields(&self) -> BTreeMap<String, String> {
        /// What says which document it is, or what others may do, and is no field of the policy.
        const ABOUT: [&str; 7] =
            ["policy", "scope", "selector", "meta", "locked", "caps", "priority"];
        let Ok(Value::Object(all)) = serde_json::to_value(self) else { return BTreeMap::new() };
        let mut out = BTreeMap::new();
        for (name, value) in all.into_iter().filter(|(name, _)| !ABOUT.contains(&name.as_str())) {
            let depth = match name.as_str() {
                "levels" => 2,
                "labels" | "annotations" | "severity_map" => 1,
                _ => 0,
            };
            flatten(name, value, depth, &mut out);
        }
        out
    }
}

fn flatten(path: String, value: Value, depth: u8, out: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(inner) if depth > 0 => {
            for (name, value) in inner {
                // The texts of a level lie one deeper than its numbers.
                let depth = if name == "annotations" { 1 } else { depth - 1 };
                flatten(format!("{path}.{name}"), value, depth, out);
            }
        }
        Value::String(text) => drop(out.insert(path, text)),
        value => drop(out.insert(path, value.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_its_path_and_the_value_as_written() {
        let doc: PolicyDoc = serde_json::from_value(serde_json::json!({
            "policy": "memory-used", "scope": "tenant:pay", "priority": 3, "locked": true,
            "selector": {"tier": ["core"]}, "compare": ">", "keep_firing_for": "5m",
            "levels": {"critical": {"fire": 0.95, "for": "2m", "annotations": {"summary": "s"}}},
            "labels": {"team": "a"}, "on_missing": {"hold": "10m"}, "enabled": true,
        }))
        .unwrap();
        let fields = doc.fields();
        let told: Vec<String> = fields.iter().map(|(f, v)| format!("{f}={v}")).collect();
        assert_eq!(
            told,
            [
                "compare=>",
                "enabled=true",
                "keep_firing_for=5m",
                "labels.team=a",
                "levels.critical.annotations.summary=s",
                "levels.critical.fire=0.95",
                "levels.critical.for=2m",
                "on_missing={\"hold\":\"10m\"}",
            ]
        );
        assert!(PolicyDoc::empty("a", PolicyScope::Platform).fields().is_empty());
    }
}
