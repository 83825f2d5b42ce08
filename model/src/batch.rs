//! A change of a whole zone: what it is filed under, which masters it moves in which wave, and how far
//! each of them is.
//!
//! Invariant: a zone is filed under `zone.<id>`, an id no service has, for no tenant may be called
//! `zone`; so only grants of the platform reach it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::operation::{OperationKind, OperationState};
use crate::right::Place;
use crate::{At, InstanceId, ServiceId, SystemId, ZoneId};

/// The tenant zones are filed under; no tenant of the tree may have that id.
pub const ZONE_TENANT: &str = "zone";

/// What operations on a zone are filed under.
pub fn file_of(zone: &ZoneId) -> ServiceId {
    ServiceId::parse(&format!("{ZONE_TENANT}.{zone}")).expect("a zone's id is a slug")
}

/// The zone that is filed under an id; none: it is a service.
pub fn zone_of(file: &ServiceId) -> Option<ZoneId> {
    let zone = file.as_str().strip_prefix(ZONE_TENANT)?.strip_prefix('.')?;
    ZoneId::parse(zone).ok()
}

/// Where a zone stands among places: covered by grants of the platform only.
pub fn place_of(zone: &ZoneId) -> Place {
    let system = SystemId::parse(&format!("{ZONE_TENANT}.all")).expect("two slugs");
    Place::service(&file_of(zone), &system)
}

/// What a person may name an operation's service by: its id, or a zone for the kinds that change one.
pub fn named(kind: OperationKind, text: &str) -> Result<ServiceId, crate::id::BadId> {
    match kind.of_zone() && !text.contains('.') {
        true => ZoneId::parse(text).map(|zone| file_of(&zone)),
        false => ServiceId::parse(text),
    }
}

/// A master that is to move.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Move {
    /// Its service.
    pub service: ServiceId,
    /// Its shard.
    pub shard: u32,
    /// Master now.
    pub from: InstanceId,
    /// Master afterwards.
    pub to: InstanceId,
    /// Input of its switchover.
    pub params: Value,
}

/// A node nobody shall promote while its zone is empty, or that may be promoted again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bench {
    /// Who.
    pub id: InstanceId,
    /// `replica-priority` or `cluster-replica-no-failover`.
    pub setting: String,
    /// Its value before.
    pub saved: String,
}

/// A zone without masters, on purpose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evacuation {
    /// Which.
    pub zone: ZoneId,
    /// The operation that emptied it.
    pub operation: String,
    /// Since when.
    pub at: At,
    /// Masters that were there: their home.
    pub homes: Vec<Move>,
    /// Nodes that are kept from being promoted.
    pub benched: Vec<Bench>,
}

/// How far one part of a batch is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchRow {
    /// Its service.
    pub service: ServiceId,
    /// What happens: `… to …`.
    pub title: String,
    /// Number of the wave, from 1; 0: left out.
    pub wave: u32,
    /// Its own operation, once there is one.
    pub operation: Option<String>,
    /// State of that; none: not begun.
    pub state: Option<OperationState>,
    /// Why it is left out or failed.
    pub reason: String,
    /// Steps done, of all.
    pub steps: (u32, u32),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::right::Scope;

    #[test]
    fn a_zone_is_filed_where_only_the_platform_reaches() {
        let zone: ZoneId = "az-1".parse().unwrap();
        assert_eq!(zone_of(&file_of(&zone)), Some(zone.clone()));
        assert_eq!(zone_of(&"zones.az-1".parse().unwrap()), None);
        assert_eq!(zone_of(&"pay.cart".parse().unwrap()), None);
        let place = place_of(&zone);
        assert!(Scope::Platform.covers(&place));
        assert!(!Scope::Tenant("pay".parse().unwrap()).covers(&place));
    }

    #[test]
    fn a_zone_may_be_named_by_itself() {
        let named = |kind, text| named(kind, text).ok().map(|s| s.to_string());
        assert_eq!(named(OperationKind::Evacuate, "az-1").as_deref(), Some("zone.az-1"));
        assert_eq!(named(OperationKind::Evacuate, "zone.az-1").as_deref(), Some("zone.az-1"));
        assert_eq!(named(OperationKind::Switchover, "az-1"), None);
    }
}
