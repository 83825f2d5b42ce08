//! Ids of the tree and of places. Their text is the identity: on disk, in URLs and in labels.
//!
//! Invariant: a value of these types has passed its rule, so ids are compared and joined without
//! looking again. Ids never change and are never reused; a display name may change.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An id that breaks its rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} id {text:?}: {rule}")]
pub struct BadId {
    /// Which kind of id.
    pub what: &'static str,
    /// The offending text, cut at 80 characters.
    pub text: String,
    /// What is allowed.
    pub rule: &'static str,
}

const SLUG_RULE: &str = "allowed are 1 to 40 of a-z, 0-9 and '-', not starting or ending with '-'";
const PATH_RULE: &str = "expected <tenant>.<slug>, each 1 to 40 of a-z, 0-9 and '-'";
const INSTANCE_RULE: &str = "expected <tenant>.<service>@<host>:<port>";

/// Whether `text` is a slug: `[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?`.
pub fn is_slug(text: &str) -> bool {
    let b = text.as_bytes();
    let edge = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=40).contains(&b.len())
        && edge(b[0])
        && edge(b[b.len() - 1])
        && b.iter().all(|c| edge(*c) || *c == b'-')
}

fn is_path(text: &str) -> bool {
    text.split_once('.').is_some_and(|(t, s)| is_slug(t) && is_slug(s))
}

/// Splits `host:port`; IPv6 hosts stand in brackets. `None` when it is not an address.
pub fn split_address(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok().filter(|p| *p > 0)?;
    let inner = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_');
    (!inner.is_empty() && inner.len() <= 253 && inner.chars().all(fine)).then_some((inner, port))
}

fn is_instance(text: &str) -> bool {
    text.split_once('@').is_some_and(|(s, a)| is_path(s) && split_address(a).is_some())
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:expr, $rule:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the rule of this id.
            pub fn parse(text: &str) -> Result<$name, BadId> {
                if $check(text) {
                    return Ok($name(text.into()));
                }
                Err(BadId { what: $what, text: text.chars().take(80).collect(), rule: $rule })
            }
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<$name, D::Error> {
                $name::parse(&String::deserialize(d)?).map_err(serde::de::Error::custom)
            }
        }
        impl std::str::FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<$name, BadId> {
                $name::parse(text)
            }
        }
    };
}

id!(
    /// A tenant: `pay`.
    TenantId, "tenant", is_slug, SLUG_RULE
);
id!(
    /// A site (cloud or data centre): `dc-east`.
    SiteId, "site", is_slug, SLUG_RULE
);
id!(
    /// An availability zone: `az-1`.
    ZoneId, "zone", is_slug, SLUG_RULE
);
id!(
    /// A host: `h1`.
    HostId, "host", is_slug, SLUG_RULE
);
id!(
    /// A business system: `pay.shop`.
    SystemId, "system", is_path, PATH_RULE
);
id!(
    /// A service, one Redis deployment: `pay.cart`.
    ServiceId, "service", is_path, PATH_RULE
);
id!(
    /// An instance: `pay.cart@10.1.0.7:6379`, the announced address.
    InstanceId, "instance", is_instance, INSTANCE_RULE
);

macro_rules! path {
    ($name:ident) => {
        impl $name {
            /// From its two slugs.
            pub fn new(tenant: &TenantId, slug: &str) -> Result<$name, BadId> {
                $name::parse(&format!("{tenant}.{slug}"))
            }
            /// The tenant it belongs to.
            pub fn tenant(&self) -> TenantId {
                TenantId(self.0.split_once('.').expect("checked on parse").0.into())
            }
            /// Its name within the tenant, as used in labels.
            pub fn slug(&self) -> &str {
                self.0.split_once('.').expect("checked on parse").1
            }
        }
    };
}
path!(SystemId);
path!(ServiceId);

impl InstanceId {
    /// From the service and the announced `host:port`.
    pub fn new(service: &ServiceId, address: &str) -> Result<InstanceId, BadId> {
        InstanceId::parse(&format!("{service}@{address}"))
    }
    /// Stands before every id of `service` in a sorted map; no instance itself.
    pub(crate) fn before_all_of(service: &ServiceId) -> InstanceId {
        InstanceId(format!("{service}@").into())
    }
    /// The service it belongs to.
    pub fn service(&self) -> ServiceId {
        ServiceId(self.0.split_once('@').expect("checked on parse").0.into())
    }
    /// The tenant it belongs to.
    pub fn tenant(&self) -> TenantId {
        self.service().tenant()
    }
    /// The announced address, `host:port`.
    pub fn address(&self) -> &str {
        self.0.split_once('@').expect("checked on parse").1
    }
    /// Host and port of the address.
    pub fn host_port(&self) -> (&str, u16) {
        split_address(self.address()).expect("checked on parse")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_id_names_service_and_address() {
        let id = InstanceId::parse("pay.cart@10.1.0.7:6379").unwrap();
        assert_eq!((id.service().as_str(), id.tenant().as_str()), ("pay.cart", "pay"));
        assert_eq!(id.host_port(), ("10.1.0.7", 6379));
    }

    #[test]
    fn ids_that_break_their_rule_are_refused_with_what_is_allowed() {
        for bad in ["", "-a", "a-", "A", "a b", "é", &"x".repeat(41)] {
            assert!(TenantId::parse(bad).is_err(), "{bad:?}");
        }
        for bad in
            ["pay", "pay.", "pay.a.b", "pay.cart@", "pay.cart@h:0", "pay.cart@h:x", "p.c@a/b:1"]
        {
            assert!(InstanceId::parse(bad).is_err(), "{bad:?}");
        }
        let said = ServiceId::parse("Pay").unwrap_err().to_string();
        assert!(said.contains("<tenant>.<slug>"), "{said}");
    }

    #[test]
    fn ipv6_addresses_stand_in_brackets() {
        assert_eq!(split_address("[::1]:6379"), Some(("::1", 6379)));
        assert_eq!(split_address("::1:6379"), None);
    }
}
