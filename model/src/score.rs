//! A score and everything that made it (`health.md`). Shapes only; the judgement is in `scorer`.
//!
//! Invariant: `bars` + gate and worst-child points + `score` = 100.00 exactly, when there is a score.

mod waterfall;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::At;
use crate::service::{Profile, word};

pub use waterfall::waterfall;

word! {
    /// Grade; the only bands of the product.
    Grade {
        /// 90–100 healthy.
        A = "A",
        /// 80–89 good.
        B = "B",
        /// 60–79 attention.
        C = "C",
        /// 40–59 at risk.
        D = "D",
        /// Below 40, critical.
        E = "E",
        /// Nothing can be said.
        #[default]
        Unknown = "?",
    }
}

impl Grade {
    /// The grades with the lower bound of their scores, best first.
    pub const BANDS: [(Grade, f64); 5] =
        [(Grade::A, 90.0), (Grade::B, 80.0), (Grade::C, 60.0), (Grade::D, 40.0), (Grade::E, 0.0)];

    /// The band a score lies in. The grade of something may differ from it: grades are sticky.
    pub fn of(score: f64) -> Grade {
        let found = Grade::BANDS.iter().find(|(_, lower)| score >= *lower);
        found.map_or(Grade::E, |(grade, _)| *grade)
    }

    /// A 5, B 4, C 3, D 2, E 1, ? 0: the value of `cachewarden_health_grade`.
    pub fn number(self) -> u8 {
        match self {
            Grade::A => 5,
            Grade::B => 4,
            Grade::C => 3,
            Grade::D => 2,
            Grade::E => 1,
            Grade::Unknown => 0,
        }
    }
}

word! {
    /// The four dimensions, in the order of their weights.
    Dimension {
        /// A signals, 0.40.
        #[default]
        Availability = "availability",
        /// M signals, 0.25.
        Memory = "memory",
        /// C signals, 0.15.
        Connections = "connections",
        /// S signals, 0.20.
        Slowlog = "slowlog",
    }
}

word! {
    /// Levels of the roll-up.
    Level {
        /// One process.
        #[default]
        Instance = "instance",
        /// Master and its replicas.
        Shard = "shard",
        /// One deployment.
        Service = "service",
        /// Business system.
        System = "system",
        /// Tenant.
        Tenant = "tenant",
        /// All tenants.
        Fleet = "fleet",
    }
}

/// Where loss begins, and who set it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// First knot of the curve, in the unit of the signal.
    pub at: f64,
    /// The document that set the curve: `profile store`, `tenant pay, rev 17`.
    pub origin: String,
}

/// The policy a score was made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyUse {
    /// Profile in force.
    pub profile: Profile,
    /// Newest revision of the documents that made it; 0: the built-in table alone.
    pub revision: i64,
}

/// A signal that a policy does not count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SwitchedOff {
    /// Signal id.
    pub signal: String,
    /// Reason given by whoever switched it off.
    pub why: String,
    /// When it counts again.
    pub until: Option<At>,
}

/// One lost piece of the score.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    /// `availability` … for signals; `child`, `worst` or `gate` in roll-ups.
    pub dimension: String,
    /// Signal id (`M1`), child id, or gate name.
    pub signal: String,
    /// Value of the signal in `unit`; absent for children and gates.
    pub value: Option<f64>,
    /// `ratio`, `seconds`, `ms`, `per_minute`, `count` … or empty.
    pub unit: String,
    /// Loss of the signal, 0..100.
    pub loss: f64,
    /// 1 for the dimension's worst signal, else 0.25.
    pub share: f64,
    /// Weight of the dimension or child.
    pub weight: f64,
    /// Points taken from 100, in hundredths exactly.
    pub points: f64,
    /// Since when the signal, or what the child loses most by, loses; none when not tracked.
    pub since: Option<At>,
    /// Where loss begins; none for children.
    pub threshold: Option<Threshold>,
    /// Prometheus series behind the value.
    pub sources: Vec<String>,
    /// One sentence for people.
    pub text: String,
    /// Path of the evidence page, relative; empty when there is none.
    pub link: String,
}

/// A named cap.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateState {
    /// `down`, `two_masters` …
    pub gate: String,
    /// Highest score while it holds.
    pub cap: f64,
    /// Whether it holds.
    pub holds: bool,
    /// Whether it is what limits the score.
    pub binds: bool,
    /// Points it takes (raw − score) when it binds.
    pub points: f64,
    /// One sentence for people.
    pub text: String,
}

/// A signal nobody could read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnknownSignal {
    /// Signal id.
    pub signal: String,
    /// Why: `stale`, `auth`, `no_history` …
    pub reason: String,
    /// What would make it known (ACL rule, agent, record).
    pub needs: String,
}

/// A signal that does not apply here. Every score has some, always the same words: they are borrowed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NotApplicable {
    /// Signal id.
    pub signal: Cow<'static, str>,
    /// Why.
    pub why: Cow<'static, str>,
}

/// A change that would raise the score most.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Suggestion {
    /// Inputs to override.
    pub overrides: Value,
    /// Score with them.
    pub score: f64,
    /// Gain over the present score.
    pub gain: f64,
    /// Whether it can be done; none when not known.
    pub feasible: Option<bool>,
    /// One sentence for people.
    pub text: String,
}

/// A score with its whole derivation; the same value at every level.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    /// Which level.
    pub level: Level,
    /// Id at that level (`shard`: `<service id>/<n>`).
    pub id: String,
    /// When it was computed from.
    pub at: At,
    /// 0..100 in hundredths; none = grade "?" (never shown as a number).
    pub score: Option<f64>,
    /// Before gates.
    pub raw: Option<f64>,
    /// Sticky grade.
    pub grade: Grade,
    /// Since when the grade holds.
    pub grade_since: At,
    /// 0..1; below 1 the score is an upper bound.
    pub confidence: f64,
    /// Roll-ups: share of weight that is known.
    pub coverage: Option<f64>,
    /// Roll-ups: coverage below 0.8.
    pub partial: bool,
    /// The policy it was made by; none above the service.
    pub policy: Option<PolicyUse>,
    /// Loss of each dimension (instance level), 0..100, in `Dimension` order; none = not applicable.
    pub losses: [Option<f64>; 4],
    /// Waterfall.
    pub bars: Vec<Bar>,
    /// Gates that apply at this level.
    pub gates: Vec<GateState>,
    /// Signals nobody could read; in roll-ups children without a number.
    pub unknown: Vec<UnknownSignal>,
    /// Signals the policy does not count.
    pub switched_off: Vec<SwitchedOff>,
    /// Signals that do not apply.
    pub not_applicable: Vec<NotApplicable>,
    /// What would help most, best first, at most three.
    pub suggestions: Vec<Suggestion>,
    /// Why there is no number; empty when there is one.
    pub reason: String,
}
