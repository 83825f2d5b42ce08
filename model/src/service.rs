//! Services and instances: one Redis deployment and its processes.

use serde::{Deserialize, Serialize};

use crate::access::Access;
use crate::{HostId, InstanceId, ServiceId, SystemId, ZoneId};

macro_rules! word {
    ($(#[$doc:meta])* $name:ident { $($(#[$vd:meta])* $v:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        pub enum $name { $($(#[$vd])* #[serde(rename = $text)] $v,)* }
        impl $name {
            /// Every one, in the order of declaration.
            pub const ALL: &'static [$name] = &[$($name::$v,)*];
            /// As written in files, JSON and labels.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$v => $text,)* }
            }
            /// From its written form.
            pub fn parse(text: &str) -> Option<$name> {
                match text { $($text => Some($name::$v),)* _ => None }
            }
        }
    };
}
pub(crate) use word;

word! {
    /// Importance. A system has its highest.
    Tier {
        /// Weight 4.
        Core = "core",
        /// Weight 2.
        Important = "important",
        /// Weight 1.
        #[default]
        General = "general",
        /// Weight 0.
        Test = "test",
    }
}
word! {
    /// Availability class: what the service survives.
    Class {
        /// Nothing but a restart.
        #[default]
        Single = "single",
        /// One host.
        Host = "host",
        /// One zone of three.
        Zone = "zone",
        /// One zone, and a cut-off master refuses writes.
        ZoneDurable = "zone_durable",
    }
}
word! {
    /// How the service is built.
    Mode {
        /// One master, perhaps replicas, no automatic failover.
        #[default]
        Standalone = "standalone",
        /// Watched by Sentinels.
        Sentinel = "sentinel",
        /// Redis Cluster.
        Cluster = "cluster",
        /// A shared fleet of Sentinels.
        Sentinels = "sentinels",
    }
}
word! {
    /// What the data is for (`health.md` section 9).
    Profile {
        /// Evictable.
        Cache = "cache",
        /// Must be kept.
        #[default]
        Store = "store",
        /// Lists and streams consumers block on.
        Queue = "queue",
        /// Sessions.
        Session = "session",
    }
}
word! {
    /// Who said what the profile of a service is.
    ProfileFrom {
        /// Nobody: the built-in default.
        #[default]
        Default = "default",
        /// Adoption, from what the server does at its limit; its owner has not confirmed it.
        Guessed = "guessed",
        /// A person or a file.
        Given = "given",
    }
}

word! {
    /// What process an instance is.
    InstanceKind {
        /// A data node.
        #[default]
        Redis = "redis",
        /// A Sentinel: scraped and alerted on, no score.
        Sentinel = "sentinel",
    }
}

/// One Redis deployment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Its id.
    pub id: ServiceId,
    /// The business system it belongs to (same tenant).
    pub system: SystemId,
    /// Name for people.
    pub display: String,
    /// Importance.
    pub tier: Tier,
    /// Availability class.
    pub class: Class,
    /// How it is built.
    pub mode: Mode,
    /// Profile of the data.
    pub profile: Profile,
    /// Who said so.
    #[serde(default)]
    pub profile_from: ProfileFrom,
    /// Whether operations and remediation are allowed at all.
    pub managed: bool,
    /// Name of the master at its Sentinels; empty unless `mode` is sentinel.
    pub sentinel_master: String,
    /// Replicas each master should have.
    pub replicas_wanted: u32,
    /// User for AUTH; empty: the default user.
    pub auth_user: String,
    /// Whether a sealed password is stored (the value never leaves the store's secrets).
    pub has_password: bool,
    /// TLS, and who we are at its Sentinels.
    #[serde(default)]
    pub access: Access,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// Its id; the address in it is the announced one.
    pub id: InstanceId,
    /// Data node or Sentinel.
    pub kind: InstanceKind,
    /// Where it is.
    pub zone: ZoneId,
    /// On which host; none when unknown.
    pub host: Option<HostId>,
    /// Shard number from 0; standalone and Sentinel services: 0. Learnt for clusters.
    pub shard: u32,
}
