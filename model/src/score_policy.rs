//! A score policy: how one scope wants its scores made (`health.md` section 9), and what the API says
//! of it.
//!
//! Invariant: the form is closed; an absent field is inherited. There is no field that names another
//! document: who inherits from whom is the tree itself, so a circle cannot be written. Refuses to know
//! what a field means (`scorer` judges and merges) and who may change it (`store`).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::At;
use crate::right::Scope;
use crate::score::Grade;
use crate::service::{Profile, ProfileFrom};

/// Knots of a loss curve: (value, loss 0..100), healthy side first.
pub type Knots = Vec<(f64, f64)>;

/// One document of one scope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScorePolicyDoc {
    /// Where it applies: `platform`, `tenant:pay`, `system:pay.shop`, `service:pay.cart`.
    pub scope: Scope,
    /// What the data is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// Weights of the dimensions, all four together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<Weights>,
    /// Loss curves by signal (`M1`; `S6.spikes` is the second one of S6), all knots together.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub curves: BTreeMap<String, Knots>,
    /// Signals that do not count for a while; null counts one again that a scope above switched off.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub off: BTreeMap<String, Option<Off>>,
    /// Highest scores while a gate holds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gates: BTreeMap<String, f64>,
    /// What must be there.
    #[serde(default, skip_serializing_if = "Required::is_empty")]
    pub required: Required,
    /// A command that takes longer is slow, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowlog_limit_ms: Option<f64>,
    /// What is promised to users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo: Option<Slo>,
    /// Fields (`curves.M1`) and groups of fields (`curves`) that nothing below may loosen.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub locked: BTreeSet<String>,
}

impl ScorePolicyDoc {
    /// A document that sets nothing.
    pub fn empty(scope: Scope) -> ScorePolicyDoc {
        ScorePolicyDoc {
            scope,
            profile: None,
            weights: None,
            curves: BTreeMap::new(),
            off: BTreeMap::new(),
            gates: BTreeMap::new(),
            required: Required::default(),
            slowlog_limit_ms: None,
            slo: None,
            locked: BTreeSet::new(),
        }
    }

    /// The fields it sets, by the names that `locked` knows.
    pub fn fields(&self) -> Vec<String> {
        let one = |set: bool, name: &str| set.then(|| name.to_string());
        let group = |name: &'static str, keys: Vec<&String>| {
            keys.into_iter().map(|k| format!("{name}.{k}")).collect::<Vec<_>>()
        };
        let required = &self.required;
        let mut all: Vec<String> = Vec::new();
        all.extend(one(self.profile.is_some(), "profile"));
        all.extend(one(self.weights.is_some(), "weights"));
        all.extend(group("curves", self.curves.keys().collect()));
        all.extend(group("off", self.off.keys().collect()));
        all.extend(group("gates", self.gates.keys().collect()));
        all.extend(one(required.replicas.is_some(), "required.replicas"));
        all.extend(one(required.zones.is_some(), "required.zones"));
        all.extend(one(required.persistence.is_some(), "required.persistence"));
        all.extend(one(self.slowlog_limit_ms.is_some(), "slowlog_limit_ms"));
        all.extend(one(self.slo.is_some(), "slo"));
        all.extend(one(!self.locked.is_empty(), "locked"));
        all
    }
}

/// Weights of the dimensions; they sum to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// A signals.
    pub availability: f64,
    /// M signals.
    pub memory: f64,
    /// C signals.
    pub connections: f64,
    /// S signals.
    pub slowlog: f64,
}

impl Weights {
    /// In the order of `Dimension`.
    pub fn array(self) -> [f64; 4] {
        [self.availability, self.memory, self.connections, self.slowlog]
    }

    /// From the order of `Dimension`.
    pub fn of([availability, memory, connections, slowlog]: [f64; 4]) -> Weights {
        Weights { availability, memory, connections, slowlog }
    }
}

/// A signal or gate that does not count for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Off {
    /// Why.
    pub reason: String,
    /// When it counts again.
    pub until: At,
}

/// What must be there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Required {
    /// Replicas of each master.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Zones the members of a shard stand in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zones: Option<u32>,
    /// Whether data must survive a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence: Option<bool>,
}

impl Required {
    fn is_empty(&self) -> bool {
        *self == Required::default()
    }
}

/// What is promised to users.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slo {
    /// Share of the time in which writes work: 0.9999.
    pub target: f64,
}

/// A revision of a scope's document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScorePolicyRevision {
    /// Its number; each revision of the platform has its own, so the largest one of several documents
    /// says which moment they are of.
    pub rev: i64,
    /// The document.
    pub doc: ScorePolicyDoc,
    /// Who.
    pub by: String,
    /// System administrator who signed what lies far from the profile; empty: nothing does.
    pub approver: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: At,
}

/// Something in a document that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyFlaw {
    /// Where: JSON pointer into the document, `/curves/M1/2`.
    pub pointer: String,
    /// What was found and what is allowed.
    pub detail: String,
    /// A system administrator may sign it.
    pub signable: bool,
}

/// One scope in the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScorePolicyItem {
    /// The scope.
    pub id: String,
    /// Revision in force.
    pub rev: i64,
    /// Fields it sets.
    pub fields: Vec<String>,
    /// Services it reaches, of those in sight.
    pub services: u32,
    /// Who changed it last.
    pub by: String,
    /// Who signed it; empty: nobody had to.
    pub approver: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: At,
}

/// A field in force at a scope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EffectiveField {
    /// `weights`, `curves.M1` …
    pub field: String,
    /// Its value in words: knots, numbers.
    pub value: String,
    /// Who set it: `tenant pay, rev 17`, `profile store`.
    pub origin: String,
    /// Who locked it; empty: nobody.
    pub locked: String,
}

/// A value that is not in force because something above is locked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IgnoredField {
    /// Scope that sets it.
    pub scope: String,
    /// `curves.M1` …
    pub field: String,
    /// Why it does not count.
    pub why: String,
}

/// A service before and after a change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShadowLine {
    /// Service id.
    pub service: String,
    /// Score now; null: unknown.
    pub score_before: Option<f64>,
    /// Score now with the change.
    pub score_after: Option<f64>,
    /// Band of the score now.
    pub grade_before: Grade,
    /// Band with the change.
    pub grade_after: Grade,
    /// Mean over the window.
    pub mean_before: Option<f64>,
    /// Mean with the change.
    pub mean_after: Option<f64>,
    /// Lowest of the window.
    pub lowest_before: Option<f64>,
    /// Lowest with the change.
    pub lowest_after: Option<f64>,
    /// Share of the moments in which the band differs, 0..1.
    pub moved: f64,
    /// Moments of it that could be compared.
    pub moments: u32,
    /// What takes most with the change; empty: nothing.
    pub cause: String,
}

/// What a change would do, before it is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScorePolicyPreview {
    /// When it was made.
    pub at: At,
    /// To be sent when saving; stale when the tree, a document above or below, or this one moved.
    pub hash: String,
    /// What stands against saving it.
    pub flaws: Vec<PolicyFlaw>,
    /// `prometheus` or `memory`.
    pub source: String,
    /// How far back the moments reach, seconds.
    pub window_s: i64,
    /// Seconds between moments.
    pub step_s: i64,
    /// Why less than seven days are compared; empty: they are.
    pub note: String,
    /// Services whose policy changes, largest fall first.
    pub services: Vec<ShadowLine>,
    /// Services in its reach that stay as they are.
    pub unchanged: u32,
    /// Values below that would not count any more.
    pub ignored: Vec<IgnoredField>,
}

/// One scope: what is in force and from where, its own document, its past.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScorePolicyPage {
    /// When it was read.
    pub as_of: At,
    /// The scope.
    pub id: String,
    /// Revision of its own document; 0: it never had one.
    pub rev: i64,
    /// Its own document; with a preview the one that was sent.
    pub doc: ScorePolicyDoc,
    /// Profile in force.
    pub profile: Profile,
    /// For a service: who said what its profile is.
    pub profile_from: ProfileFrom,
    /// Every field in force, with its origin.
    pub effective: Vec<EffectiveField>,
    /// Values of its own that a lock above keeps from counting.
    pub ignored: Vec<IgnoredField>,
    /// Scopes above it, outermost first.
    pub above: Vec<String>,
    /// Revisions of its own document, newest first.
    pub revisions: Vec<ScorePolicyRevision>,
    /// What the document that was sent would do.
    pub preview: Option<ScorePolicyPreview>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(doc: Value) -> Result<ScorePolicyDoc, String> {
        serde_json::from_value(doc).map_err(|e| e.to_string())
    }

    #[test]
    fn the_example_of_the_manual_is_read_and_written_as_it_stands() {
        let text = json!({
            "scope": "tenant:pay", "profile": "store",
            "weights": {"availability": 0.45, "memory": 0.25, "connections": 0.10, "slowlog": 0.20},
            "slo": {"target": 0.9999},
            "required": {"replicas": 2, "zones": 3, "persistence": true},
            "curves": {"M1": [[0.70, 0.0], [0.80, 25.0], [0.90, 70.0], [0.95, 90.0], [1.0, 100.0]]},
            "off": {"C3": {"reason": "CHG-7", "until": "2026-12-31T00:00:00.000Z"}, "S5": null},
            "locked": ["curves", "required.replicas"],
        });
        let doc = read(text.clone()).unwrap();
        assert_eq!(serde_json::to_value(&doc).unwrap(), text);
        let fields = doc.fields();
        for field in ["profile", "weights", "curves.M1", "off.C3", "required.zones", "slo"] {
            assert!(fields.iter().any(|f| f == field), "{field}: {fields:?}");
        }
    }

    #[test]
    fn a_document_cannot_name_whom_it_inherits_from() {
        let said = read(json!({"scope": "tenant:pay", "extends": "service:pay.cart"})).unwrap_err();
        assert!(said.contains("extends") && said.contains("profile"), "{said}");
        assert!(read(json!({"scope": "instance:pay.cart@10.0.0.1:1"})).is_err());
    }
}
