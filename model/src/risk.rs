//! What a zone, a host or a wrong setting would cost a service: findings with their class.
//!
//! Invariant: plain data; `ops::placement` makes it, pages, metrics and plans show it.

use serde::{Deserialize, Serialize};

use crate::service::word;

word! {
    /// How bad a finding is.
    RiskClass {
        /// Data or quorum would be lost.
        A = "A",
        /// The layout is wrong, or a failover cannot work.
        B = "B",
        /// Slower or weaker than promised.
        #[default]
        C = "C",
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RiskFinding {
    /// Its class.
    pub class: RiskClass,
    /// Which rule: `shard_in_one_zone`, `masters_quorum` …
    pub rule: String,
    /// What it is about: a shard, an instance, the service. With the rule it names the finding.
    pub about: String,
    /// Points off.
    pub off: u32,
    /// One sentence with the node, the value and the limit.
    pub text: String,
}

/// All findings about a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneRisk {
    /// 100 less everything that is off, at least 0.
    pub score: u32,
    /// The worst class; none: no finding.
    pub class: Option<RiskClass>,
    /// Worst first.
    pub findings: Vec<RiskFinding>,
}

impl ZoneRisk {
    /// Of findings.
    pub fn of(mut findings: Vec<RiskFinding>) -> ZoneRisk {
        findings.sort_by(|a, b| {
            (a.class, &a.rule, &a.about, &a.text).cmp(&(b.class, &b.rule, &b.about, &b.text))
        });
        let off: u32 = findings.iter().map(|f| f.off).sum();
        let class = findings.first().map(|f| f.class);
        ZoneRisk { score: 100u32.saturating_sub(off), class, findings }
    }

    /// How many findings of that class.
    pub fn count(&self, class: RiskClass) -> usize {
        self.findings.iter().filter(|f| f.class == class).count()
    }

    /// Findings of class A and B that `before` has not.
    pub fn new_since<'a>(&'a self, before: &'a ZoneRisk) -> impl Iterator<Item = &'a RiskFinding> {
        let known = move |f: &RiskFinding| {
            before.findings.iter().any(|b| b.rule == f.rule && b.about == f.about)
        };
        self.findings.iter().filter(move |f| f.class != RiskClass::C && !known(f))
    }
}
