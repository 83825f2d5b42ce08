//! Objects other than instances that alerts can be about, and what is known of them.
//!
//! Invariant: what nobody told is absent. `server` fills an `Outlook` before each slot of the grid;
//! series that no part of the product fills yet are simply not in it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use model::{InstanceId, ServiceId, SystemId, TenantId, ZoneId};
use serde::{Deserialize, Serialize};

/// What an alert is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Object {
    /// A process.
    Instance(InstanceId),
    /// A process that does not answer: how what the grid says of it is saved.
    Silence(InstanceId),
    /// Master and its replicas.
    Shard(ServiceId, u32),
    /// A deployment.
    Service(ServiceId),
    /// A business system.
    System(SystemId),
    /// A tenant.
    Tenant(TenantId),
    /// A zone.
    Zone(ZoneId),
    /// The installation.
    Platform,
}

/// Kinds of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Processes.
    Instance,
    /// Shards.
    Shard,
    /// Deployments.
    Service,
    /// Business systems.
    System,
    /// Tenants.
    Tenant,
    /// Zones.
    Zone,
    /// The installation.
    Platform,
}

impl Object {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Object::Instance(_) | Object::Silence(_) => Kind::Instance,
            Object::Shard(..) => Kind::Shard,
            Object::Service(_) => Kind::Service,
            Object::System(_) => Kind::System,
            Object::Tenant(_) => Kind::Tenant,
            Object::Zone(_) => Kind::Zone,
            Object::Platform => Kind::Platform,
        }
    }

    /// Whose it is; none: the platform's.
    pub fn tenant(&self) -> Option<TenantId> {
        match self {
            Object::Instance(id) | Object::Silence(id) => Some(id.tenant()),
            Object::Shard(id, _) | Object::Service(id) => Some(id.tenant()),
            Object::System(id) => Some(id.tenant()),
            Object::Tenant(id) => Some(id.clone()),
            Object::Zone(_) | Object::Platform => None,
        }
    }

    /// Its service, when it is of one.
    pub fn service(&self) -> Option<ServiceId> {
        match self {
            Object::Instance(id) | Object::Silence(id) => Some(id.service()),
            Object::Shard(id, _) | Object::Service(id) => Some(id.clone()),
            _ => None,
        }
    }

    /// The instance, when it is one.
    pub fn instance(&self) -> Option<&InstanceId> {
        match self {
            Object::Instance(id) | Object::Silence(id) => Some(id),
            _ => None,
        }
    }
}

/// Instances are written by their bare id, as before there were other objects.
impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Object::Instance(id) => write!(f, "{id}"),
            Object::Silence(id) => write!(f, "silence:{id}"),
            Object::Shard(id, n) => write!(f, "shard:{id}/{n}"),
            Object::Service(id) => write!(f, "service:{id}"),
            Object::System(id) => write!(f, "system:{id}"),
            Object::Tenant(id) => write!(f, "tenant:{id}"),
            Object::Zone(id) => write!(f, "zone:{id}"),
            Object::Platform => write!(f, "platform:"),
        }
    }
}

impl From<Object> for String {
    fn from(object: Object) -> String {
        object.to_string()
    }
}

impl TryFrom<String> for Object {
    type Error = String;
    fn try_from(text: String) -> Result<Object, String> {
        let bad = |e: model::id::BadId| e.to_string();
        let (kind, id) = match text.split_once(':') {
            // The address of an instance holds a colon too, but its id an @ before it.
            Some((kind, id)) if !kind.contains('@') => (kind, id),
            _ => return Ok(Object::Instance(text.parse().map_err(bad)?)),
        };
        Ok(match kind {
            "shard" => {
                let (id, n) = id.split_once('/').ok_or_else(|| format!("{text:?} has no shard"))?;
                let n = n.parse().map_err(|_| format!("{text:?} has no shard number"))?;
                Object::Shard(id.parse().map_err(bad)?, n)
            }
            "silence" => Object::Silence(id.parse().map_err(bad)?),
            "service" => Object::Service(id.parse().map_err(bad)?),
            "system" => Object::System(id.parse().map_err(bad)?),
            "tenant" => Object::Tenant(id.parse().map_err(bad)?),
            "zone" => Object::Zone(id.parse().map_err(bad)?),
            "platform" => Object::Platform,
            _ => return Err(format!("{text:?} is no object")),
        })
    }
}

/// Values by sub-series.
type Values = Vec<(Box<str>, f64)>;

/// What is known of objects other than instances at one moment.
#[derive(Debug, Clone, Default)]
pub struct Outlook {
    series: HashMap<Arc<str>, HashMap<Object, Values>>,
}

impl Outlook {
    /// Adds a value of an object's series; `sub` is empty where it has one only.
    pub fn set(&mut self, key: &str, object: Object, sub: &str, value: f64) {
        let of = match self.series.get_mut(key) {
            Some(of) => of,
            None => self.series.entry(key.into()).or_default(),
        };
        of.entry(object).or_default().push((sub.into(), value));
    }

    /// The sub-series of an object.
    pub fn series(&self, key: &str, object: &Object) -> &[(Box<str>, f64)] {
        self.series.get(key).and_then(|of| of.get(object)).map_or(&[][..], Vec::as_slice)
    }

    /// The largest of them.
    pub fn value(&self, key: &str, object: &Object) -> Option<f64> {
        self.series(key, object).iter().map(|(_, v)| *v).reduce(f64::max)
    }
}

/// Key of a score in an `Outlook`.
pub fn score_key(of: &str, kind: Kind) -> String {
    format!("score:{of}@{kind:?}")
}

/// Key of a series of which one label is picked.
pub fn picked(name: &str, label: &str, value: &str) -> String {
    format!("{name}{{{label}=\"{value}\"}}")
}

/// Series of objects, by name: whose they are, the label that tells sub-series apart, and the one
/// by which one must be picked.
type Known = (&'static str, Kind, Option<&'static str>, Option<&'static str>);

const SERIES: [Known; 7] = [
    ("cachewarden_service_expected", Kind::Service, None, None),
    ("cachewarden_masters_expected", Kind::Service, None, None),
    ("cachewarden_service_zone_share", Kind::Service, Some("zone"), None),
    ("cachewarden_slo_burn_rate", Kind::Service, None, Some("window")),
    ("cachewarden_slo_unknown_ratio", Kind::Service, None, Some("window")),
    ("cachewarden_secret_expires_timestamp_seconds", Kind::Service, None, None),
    ("cachewarden_schedule_failures_in_row", Kind::Platform, Some("schedule"), None),
];

/// Finds an object's series: its kind, its key and the label of its sub-series. None: no such name.
pub fn find(
    name: &str,
    pick: &[(String, String)],
) -> Option<Result<(Kind, super::ObjectLeaf), String>> {
    let (_, kind, label, needs) = SERIES.iter().find(|known| known.0 == name)?;
    let key = match (needs, pick) {
        (None, []) => name.to_string(),
        (Some(needs), [(label, value)]) if label == needs => picked(name, label, value),
        (Some(needs), _) => {
            return Some(Err(format!("{name} needs {needs}=\"…\" and nothing else")));
        }
        (None, _) => return Some(Err(format!("{name} has no label to pick by in process"))),
    };
    Some(Ok((*kind, super::ObjectLeaf { key: key.into(), label: *label })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_written_as_it_is_read() {
        for text in [
            "pay.cart@10.0.0.1:6379",
            "pay.cart@[fd00::1]:6379",
            "silence:pay.cart@10.0.0.1:6379",
            "shard:pay.cart/3",
            "service:pay.cart",
            "system:pay.shop",
            "tenant:pay",
            "zone:az-1",
            "platform:",
        ] {
            assert_eq!(Object::try_from(text.to_string()).unwrap().to_string(), text);
        }
        assert!(Object::try_from("host:a".to_string()).is_err());
    }
}
