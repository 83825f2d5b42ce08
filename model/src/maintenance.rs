//! A maintenance: somebody works on a part of the fleet until a stated end; its new alerts are
//! withheld and nothing acts there by itself.
//!
//! Invariant: every maintenance has an end. Row of table `maintenance`.

use serde::{Deserialize, Serialize};

use crate::policy::PolicyScope;
use crate::right::Place;
use crate::{At, InstanceId};

/// The longest one, 31 days: what is withheld longer is forgotten, and a policy says it better.
pub const LENGTH_MAX_MS: i64 = 31 * 86_400_000;
/// The furthest beginning, a year.
pub const AHEAD_MAX_MS: i64 = 366 * 86_400_000;

/// A maintenance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Maintenance {
    /// Id.
    pub id: String,
    /// What is worked on.
    pub scope: PolicyScope,
    /// Begin.
    pub starts_at: At,
    /// End; that of an ended one is when somebody ended it.
    pub ends_at: At,
    /// Why.
    pub reason: String,
    /// Who began it.
    pub by: String,
    /// When it was entered.
    pub created_at: At,
    /// Who ended it before its time; empty: nobody.
    pub ended_by: String,
}

impl Maintenance {
    /// Whether it is going on.
    pub fn runs(&self, now: At) -> bool {
        self.starts_at <= now && now < self.ends_at
    }

    /// Whether something at that place lies inside.
    pub fn covers(&self, place: &Place, instance: Option<&InstanceId>) -> bool {
        match &self.scope {
            PolicyScope::Platform => true,
            PolicyScope::Tenant(id) => place.tenant.as_ref() == Some(id),
            PolicyScope::System(id) => place.system.as_ref() == Some(id),
            PolicyScope::Service(id) => place.service.as_ref() == Some(id),
            PolicyScope::Instance(id) => instance == Some(id),
        }
    }
}

/// A maintenance in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MaintenanceItem {
    /// The maintenance.
    #[serde(flatten)]
    pub maintenance: Maintenance,
    /// `planned`, `running` or `over`.
    pub state: String,
    /// Instances inside that the caller may see.
    pub instances: u32,
    /// Alerts that are withheld because of it now.
    pub withheld: u32,
    /// The caller may end it.
    pub endable: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_maintenance_covers_what_lies_below_its_layer_and_nothing_beside_it() {
        let instance: InstanceId = "pay.cart@10.0.0.1:6379".parse().unwrap();
        let place = Place::instance(&instance, &"pay.shop".parse().unwrap());
        let covers = |scope: &str| {
            let scope = PolicyScope::try_from(scope.to_string()).unwrap();
            let at = At::EPOCH;
            let (id, reason, by, ended_by) = Default::default();
            let m = Maintenance {
                id,
                scope,
                starts_at: at,
                ends_at: at + 1,
                reason,
                by,
                created_at: at,
                ended_by,
            };
            assert!(m.runs(at) && !m.runs(at + 1) && !m.runs(at - 1));
            m.covers(&place, Some(&instance))
        };
        for inside in [
            "platform",
            "tenant:pay",
            "system:pay.shop",
            "service:pay.cart",
            "instance:pay.cart@10.0.0.1:6379",
        ] {
            assert!(covers(inside), "{inside}");
        }
        for outside in
            ["tenant:hr", "system:pay.x", "service:pay.c", "instance:pay.cart@10.0.0.2:6379"]
        {
            assert!(!covers(outside), "{outside}");
        }
    }
}
