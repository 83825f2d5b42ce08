//! An alert: one occurrence of a breached policy (ours), or of a rule evaluated elsewhere and
//! posted to the intake. Row of table `alert`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::policy::AlertLevel;
use crate::service::word;
use crate::{At, InstanceId, ServiceId, TenantId};

word! {
    /// Phase of a (policy, level, series).
    Phase {
        /// Not breached.
        #[default]
        Inactive = "inactive",
        /// Breached, `for` still runs.
        Pending = "pending",
        /// Firing.
        Firing = "firing",
        /// Firing on the wire; the condition no longer holds fully.
        Recovering = "recovering",
        /// Over.
        Resolved = "resolved",
    }
}
word! {
    /// Who evaluated it.
    AlertSource {
        /// Our own engine.
        #[default]
        Embedded = "embedded",
        /// Posted by an Alertmanager.
        Alertmanager = "alertmanager",
    }
}

/// One occurrence of an alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// sha256(tenant, fingerprint, startsAt), hex.
    pub id: String,
    /// FNV-1a over sorted labels minus replica labels, 16 hex digits (Alertmanager's way).
    pub fingerprint: String,
    /// Who evaluated it.
    pub source: AlertSource,
    /// Owner; none for alerts of the platform itself.
    pub tenant: Option<TenantId>,
    /// Service, when it is about one.
    pub service: Option<ServiceId>,
    /// Instance, when it is about one.
    pub instance: Option<InstanceId>,
    /// `alertname`.
    pub alertname: String,
    /// Policy id; empty for foreign alerts.
    pub policy: String,
    /// Level.
    pub level: AlertLevel,
    /// firing, recovering or resolved.
    pub phase: Phase,
    /// All labels.
    pub labels: BTreeMap<String, String>,
    /// Rendered annotations.
    pub annotations: BTreeMap<String, String>,
    /// Value at the last transition; none for foreign alerts.
    pub value: Option<f64>,
    /// Threshold in force then.
    pub threshold: Option<f64>,
    /// Runbooks that may react.
    pub runbooks: Vec<String>,
    /// When it fired.
    pub starts_at: At,
    /// When it was resolved.
    pub ends_at: Option<At>,
    /// Last time it was seen true.
    pub last_seen: At,
    /// Why it ended: `threshold`, `missing`, `instance_removed`, `policy_changed`, `reconciled` …
    pub reason: String,
}

/// A step of an alert's history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// The occurrence.
    pub alert_id: String,
    /// When (time of the sample).
    pub at: At,
    /// From.
    pub from: Phase,
    /// To.
    pub to: Phase,
    /// Value then.
    pub value: Option<f64>,
    /// Threshold then.
    pub threshold: Option<f64>,
    /// Why.
    pub reason: String,
    /// A maintenance went on there.
    #[serde(default)]
    pub in_maintenance: bool,
}

/// FNV-1a, 64 bit, over sorted `name 0xff value 0xff`: Prometheus' and Alertmanager's fingerprint.
pub fn fingerprint(labels: &BTreeMap<String, String>) -> String {
    const REPLICA: [&str; 3] = ["replica", "prometheus_replica", "cachewarden_replica"];
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut eat = |b: u8| {
        hash ^= u64::from(b);
        hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
    };
    for (name, value) in labels.iter().filter(|(n, _)| !REPLICA.contains(&n.as_str())) {
        name.bytes().for_each(&mut eat);
        eat(0xff);
        value.bytes().for_each(&mut eat);
        eat(0xff);
    }
    format!("{hash:016x}")
}

/// Id of an occurrence.
pub fn occurrence_id(tenant: Option<&TenantId>, fingerprint: &str, starts_at: At) -> String {
    use sha2::{Digest, Sha256};
    let tenant = tenant.map(TenantId::as_str).unwrap_or("");
    let text = format!("{tenant}\n{fingerprint}\n{}", starts_at.ms());
    hex::encode(Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replica_labels_do_not_change_the_fingerprint() {
        let base: BTreeMap<String, String> =
            [("alertname", "A"), ("instance", "x")].map(|(k, v)| (k.into(), v.into())).into();
        let mut twin = base.clone();
        twin.insert("replica".into(), "b".into());
        assert_eq!(fingerprint(&base), fingerprint(&twin));
        twin.insert("zone".into(), "az-1".into());
        assert_ne!(fingerprint(&base), fingerprint(&twin));
    }
}
