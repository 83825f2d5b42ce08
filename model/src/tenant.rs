//! Tenants, business systems, sites and zones.

use serde::{Deserialize, Serialize};

use crate::{SiteId, SystemId, TenantId, ZoneId};

/// A tenant: the outer wall of visibility.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Name for people.
    pub display: String,
    /// CIDRs that discovery and adoption may dial; loopback only when listed.
    pub networks: Vec<String>,
}

/// A business system: what a service belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct System {
    /// Its id.
    pub id: SystemId,
    /// Name for people.
    pub display: String,
    /// Environment.
    pub env: Env,
    /// Owner (a user of the organisation), empty when nobody is named.
    pub owner: String,
    /// CMDB id, empty when unknown.
    pub cmdb: String,
}

/// Environment of a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Env {
    /// Production.
    #[default]
    Prod,
    /// Acceptance.
    Uat,
    /// Development.
    Dev,
}

impl Env {
    /// As written in files and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Env::Prod => "prod",
            Env::Uat => "uat",
            Env::Dev => "dev",
        }
    }
}

/// A site: cloud or data centre.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Site {
    /// Its id.
    pub id: SiteId,
    /// Name for people.
    pub display: String,
}

/// An availability zone of a site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Zone {
    /// Its id.
    pub id: ZoneId,
    /// Where it is.
    pub site: SiteId,
    /// CIDRs that stand in it: where adoption puts an address no host has.
    #[serde(default)]
    pub networks: Vec<String>,
}
