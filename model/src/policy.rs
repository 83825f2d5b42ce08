//! A threshold policy: which signal of which instances is judged how, and what it is called.
//!
//! Part of a policy's document form (YAML, JSON). Evaluation is in `alerter`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::At;
use crate::service::word;

mod backtest;
pub mod check;
mod page;
mod rule_file;
mod signal;
mod span;
mod window;

pub use backtest::{
    BACKTEST_DAYS_MAX, Backtest, BacktestData, FiringInterval, INTERVALS_MAX, Outcome, Suggestion,
    Tally, Versus,
};
pub use page::{
    Beaten, PolicyCheck, PolicyFault, PolicyField, PolicyItem, PolicyPage, PolicyReach,
    PolicyRevision,
};
pub use rule_file::{EngineDifference, RuleFileItem};
pub use signal::{Aggregate, By, Fact, Fold, SignalRef};
pub use span::Span;
pub use window::{Window, WindowFn};

word! {
    /// Severity levels, lowest first.
    AlertLevel {
        /// For the record.
        Info = "info",
        /// Look at it in working hours.
        #[default]
        Warning = "warning",
        /// Wake somebody.
        Critical = "critical",
    }
}
word! {
    /// Comparison of the signal with a threshold.
    Compare {
        /// >
        #[default]
        Gt = ">",
        /// >=
        Ge = ">=",
        /// <
        Lt = "<",
        /// <=
        Le = "<=",
        /// ==
        Eq = "==",
        /// !=
        Ne = "!=",
    }
}

impl Compare {
    /// Whether `value` breaches `threshold`; false for NaN.
    pub fn holds(self, value: f64, threshold: f64) -> bool {
        match self {
            Compare::Gt => value > threshold,
            Compare::Ge => value >= threshold,
            Compare::Lt => value < threshold,
            Compare::Le => value <= threshold,
            Compare::Eq => value == threshold,
            Compare::Ne => value != threshold && !value.is_nan(),
        }
    }
}

/// Where a policy document applies: `platform`, `tenant:pay`, `system:pay.shop`,
/// `service:pay.cart`, `instance:pay.cart@10.1.0.7:6379`. Depth decides who wins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum PolicyScope {
    /// Everything.
    Platform,
    /// One tenant.
    Tenant(crate::TenantId),
    /// One business system.
    System(crate::SystemId),
    /// One service.
    Service(crate::ServiceId),
    /// One instance.
    Instance(crate::InstanceId),
}

impl std::fmt::Display for PolicyScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from(self.clone()))
    }
}

impl TryFrom<String> for PolicyScope {
    type Error = String;
    fn try_from(text: String) -> Result<PolicyScope, String> {
        let (kind, id) = text.split_once(':').unwrap_or((text.as_str(), ""));
        let bad = |e: crate::id::BadId| e.to_string();
        Ok(match kind {
            "platform" if id.is_empty() => PolicyScope::Platform,
            "tenant" => PolicyScope::Tenant(id.parse().map_err(bad)?),
            "system" => PolicyScope::System(id.parse().map_err(bad)?),
            "service" => PolicyScope::Service(id.parse().map_err(bad)?),
            "instance" => PolicyScope::Instance(id.parse().map_err(bad)?),
            _ => {
                return Err(format!(
                    "scope {text:?}: expected platform, tenant:ID, system:ID, service:ID or instance:ID"
                ));
            }
        })
    }
}

impl From<PolicyScope> for String {
    fn from(scope: PolicyScope) -> String {
        match scope {
            PolicyScope::Platform => "platform".into(),
            PolicyScope::Tenant(id) => format!("tenant:{id}"),
            PolicyScope::System(id) => format!("system:{id}"),
            PolicyScope::Service(id) => format!("service:{id}"),
            PolicyScope::Instance(id) => format!("instance:{id}"),
        }
    }
}

/// One policy document of one scope. Absent fields are inherited from the scope above.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyDoc {
    /// Stable id, never reused: `instance-down`.
    pub policy: String,
    /// Where it applies.
    pub scope: PolicyScope,
    /// Alert name; default: CamelCase of the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alertname: Option<String>,
    /// Equality sets and globs (`*`) over inventory labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "one_or_many")]
    pub selector: BTreeMap<String, Vec<String>>,
    /// What is judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<SignalRef>,
    /// Function over the latest stretch of the signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Comparison.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare: Option<Compare>,
    /// Thresholds per level.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub levels: BTreeMap<AlertLevel, Threshold>,
    /// How long a firing alert outlives its condition: `2m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_firing_for: Option<Span>,
    /// What missing data means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_missing: Option<OnMissing>,
    /// Extra labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// `summary`, `description`, `runbook_url` … with templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Names of runbooks that may react (`operations.md` section 12).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runbooks: Vec<String>,
    /// When alerts may leave, by calendars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar: Option<crate::calendar::CalendarUse>,
    /// Level → label `severity`; default: the level's own name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub severity_map: BTreeMap<AlertLevel, String>,
    /// Whom it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// Who evaluates it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<Engine>,
    /// Of documents of one depth with as many selector labels, the higher one wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// False needs `until`: what is switched off for ever is forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// When a policy that is switched off comes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<At>,
    /// What layers below may not loosen.
    #[serde(default, skip_serializing_if = "Locked::is_none")]
    pub locked: Locked,
    /// Bounds of numeric fields below: `levels.critical.fire` → `{max: 0.95}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub caps: BTreeMap<String, Cap>,
    /// Of which revision it is; written by the store, ignored when published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Meta>,
}

/// Whom a policy's alerts are for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Label `receiver` of its alerts.
    pub receiver: String,
}

word! {
    /// Who evaluates a policy.
    Engine {
        /// We do, as samples come.
        #[default]
        Embedded = "embedded",
        /// Prometheus does, by a rule file.
        Prometheus = "prometheus",
        /// We do and page; Prometheus' copy is a shadow to compare with.
        Both = "both",
    }
}

/// What layers below may not loosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Locked {
    /// Everything, or nothing.
    All(bool),
    /// These fields: `levels.critical.fire`.
    Fields(Vec<String>),
}

impl Default for Locked {
    fn default() -> Locked {
        Locked::All(false)
    }
}

impl Locked {
    /// Nothing is locked.
    pub fn is_none(&self) -> bool {
        match self {
            Locked::All(all) => !all,
            Locked::Fields(fields) => fields.is_empty(),
        }
    }

    /// Whether that field is; a lock on `levels.critical` covers what is in it.
    pub fn covers(&self, field: &str) -> bool {
        let inside = |lock: &String| {
            field.strip_prefix(lock.as_str()).is_some_and(|r| r.is_empty() || r.starts_with('.'))
        };
        match self {
            Locked::All(all) => *all,
            Locked::Fields(fields) => fields.iter().any(inside),
        }
    }
}

/// Bounds of a numeric field; lengths of time count in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cap {
    /// Not below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Not above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

/// Which revision a document is, who published it and why.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meta {
    /// Revision of its (policy, scope, selector).
    pub rev: i64,
    /// Who published it.
    #[serde(default)]
    pub by: String,
    /// When.
    #[serde(default)]
    pub at: At,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// Who approved it; empty: nobody had to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub approved_by: String,
}

/// `{tier: core}` and `{tier: [core, important]}` are both selectors.
fn one_or_many<'de, D: serde::Deserializer<'de>>(
    d: D,
) -> Result<BTreeMap<String, Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        One(String),
        Many(Vec<String>),
    }
    let read = BTreeMap::<String, Words>::deserialize(d)?;
    let list = |words| match words {
        Words::One(word) => vec![word],
        Words::Many(words) => words,
    };
    Ok(read.into_iter().map(|(label, words)| (label, list(words))).collect())
}

impl PolicyDoc {
    /// The first `for` or `keep_firing_for` beyond `Span::HELD_MAX`: its place in the document
    /// (`levels/critical/for`) and its length.
    pub fn held_too_long(&self) -> Option<(String, Span)> {
        let levels = self.levels.iter();
        let levels = levels.map(|(l, t)| (format!("levels/{}/for", l.as_str()), t.hold_for));
        let keep = ("keep_firing_for".to_string(), self.keep_firing_for);
        let mut set = levels.chain([keep]).filter_map(|(place, span)| Some((place, span?)));
        set.find(|(_, span)| *span > Span::HELD_MAX)
    }
}

/// Thresholds of one level.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// Fires beyond this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fire: Option<f64>,
    /// Once firing, holds until this; default: `fire`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear: Option<f64>,
    /// How long the condition must hold.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub hold_for: Option<Span>,
    /// Alert name of this level; default: the policy's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alertname: Option<String>,
    /// Annotations of this level, over the policy's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What missing data does to a policy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnMissing {
    /// The last value stands in for this long, then the alert resolves.
    Hold(Span),
    /// Resolves at once.
    Resolve,
    /// Counts as breached.
    Fire,
}
