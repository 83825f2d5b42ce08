//! The inventory file (`cachewarden apply -f FILE`) and the answer to it.
//!
//! Invariant: the form is closed (an unknown key is an error) and says only what the store keeps.
//! Refuses to know: files, the store, whether what it names exists.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::access::Tls;
use crate::policy::PolicyDoc;
use crate::secret::Secret;
use crate::service::{Class, InstanceKind, Mode, Profile, Tier};
use crate::tenant::Env;

/// The only version of the form.
pub const VERSION: u32 = 1;

/// The whole file. What is in it is created or set; what is not is left alone.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InventoryDoc {
    /// `VERSION`.
    pub version: u32,
    /// Clouds or data centres.
    #[serde(default)]
    pub sites: Vec<SiteDoc>,
    /// Availability zones.
    #[serde(default)]
    pub zones: Vec<ZoneDoc>,
    /// Machines.
    #[serde(default)]
    pub hosts: Vec<HostDoc>,
    /// Tenants with their systems and services.
    #[serde(default)]
    pub tenants: Vec<TenantDoc>,
    /// Threshold policies, stored as new revisions where they differ.
    #[serde(default)]
    pub policies: Vec<PolicyDoc>,
}

/// A site.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteDoc {
    /// Slug.
    pub id: String,
    /// Name for people; default: the id.
    pub display: Option<String>,
}

/// A zone.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneDoc {
    /// Slug.
    pub id: String,
    /// Id of its site.
    pub site: String,
    /// CIDRs that stand in it: where adoption puts an address no host has.
    #[serde(default)]
    pub networks: Vec<String>,
}

/// A host.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostDoc {
    /// Slug.
    pub id: String,
    /// Id of its zone.
    pub zone: String,
    /// IP address.
    pub address: String,
    /// Name of the `[[ops.provider]]` that controls it; absent: nobody does.
    #[serde(default)]
    pub provider: String,
    /// Rack, empty when unknown.
    #[serde(default)]
    pub rack: String,
    /// Memory: bytes as a number, or `64GiB`; 0 unknown.
    #[serde(default, deserialize_with = "size")]
    pub memory_bytes: u64,
    /// Processors; 0 unknown.
    #[serde(default)]
    pub cpu: u32,
}

/// A tenant.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantDoc {
    /// Slug.
    pub id: String,
    /// Name for people; default: the id.
    pub display: Option<String>,
    /// CIDRs that may be dialled for this tenant.
    #[serde(default)]
    pub networks: Vec<String>,
    /// Business systems.
    #[serde(default)]
    pub systems: Vec<SystemDoc>,
    /// Services.
    #[serde(default)]
    pub services: Vec<ServiceDoc>,
}

/// A business system.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemDoc {
    /// Slug within the tenant.
    pub id: String,
    /// Name for people; default: the id.
    pub display: Option<String>,
    /// Environment; default prod.
    #[serde(default)]
    pub env: Env,
    /// Owner in the organisation's directory.
    #[serde(default)]
    pub owner: String,
    /// Id in the CMDB.
    #[serde(default)]
    pub cmdb: String,
}

/// A service.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceDoc {
    /// Slug within the tenant.
    pub id: String,
    /// Slug of its business system, same tenant.
    pub system: String,
    /// Name for people; default: the id.
    pub display: Option<String>,
    /// Importance; default general.
    #[serde(default)]
    pub tier: Tier,
    /// Availability class; default single.
    #[serde(default)]
    pub class: Class,
    /// Profile of the data; absent: as it stands, store for a new service.
    pub profile: Option<Profile>,
    /// The profile is a guess of adoption's; not in a file.
    #[serde(skip)]
    pub profile_guessed: bool,
    /// How it is built; default sentinel when `sentinel` is given, else standalone.
    pub mode: Option<Mode>,
    /// Whether operations and remediation are allowed; default no.
    #[serde(default)]
    pub managed: bool,
    /// Replicas each master should have; default: what the listed data nodes give.
    pub replicas: Option<u32>,
    /// How its data nodes know us.
    pub auth: Option<AuthDoc>,
    /// Its Sentinels' side.
    pub sentinel: Option<SentinelDoc>,
    /// How its processes speak TLS; absent: plain TCP.
    pub tls: Option<Tls>,
    /// Addresses to expand; refused in a file, `cachewarden adopt` takes them.
    #[serde(default)]
    pub seeds: Vec<String>,
    /// Its processes.
    #[serde(default)]
    pub instances: Vec<InstanceDoc>,
}

/// Credentials at the data nodes.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthDoc {
    /// ACL user; empty: the default user.
    #[serde(default)]
    pub user: String,
    /// Password; sealed when stored. Absent: the stored one stays.
    #[serde(default, deserialize_with = "secret")]
    pub password: Option<Secret>,
    /// File with the password, read by the command line before it sends the document.
    pub password_file: Option<String>,
}

/// What a Sentinel service adds.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SentinelDoc {
    /// Name of the master at the Sentinels.
    pub master_name: String,
    /// ACL user at the Sentinels; empty: the default user.
    #[serde(default)]
    pub user: String,
    /// Password of the Sentinels themselves; sealed when stored. Absent: the stored one stays.
    #[serde(default, deserialize_with = "secret")]
    pub password: Option<Secret>,
    /// File with it, read by the command line before it sends the document.
    pub password_file: Option<String>,
}

/// A process.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceDoc {
    /// The announced `host:port`.
    pub address: String,
    /// redis (default) or sentinel.
    #[serde(default)]
    pub kind: InstanceKind,
    /// Id of its zone.
    pub zone: String,
    /// Id of its host.
    pub host: Option<String>,
}

/// Something in the document that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Where: JSON pointer into the document, `/tenants/0/services/1/instances/0/address`.
    pub pointer: String,
    /// What was found and what is allowed.
    pub detail: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.pointer, self.detail)
    }
}

/// What one row of the tree goes through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// `site`, `zone`, `host`, `tenant`, `system`, `service`, `instance`, `secret` or `policy`.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// `add`, `change` or `remove`.
    pub what: String,
    /// The row before; null when added. Secrets are never in it.
    pub before: Value,
    /// The row after; null when removed. Secrets are never in it.
    pub after: Value,
}

/// Answer to an inventory file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Diff {
    /// Nothing was written, this is what would be.
    pub dry_run: bool,
    /// Rows that differ, in the order they are written.
    pub changes: Vec<Change>,
    /// Rows of the file that already stood as it says.
    pub unchanged: usize,
}

impl Diff {
    /// Number of changes of that kind (`add`, `change`, `remove`).
    pub fn count(&self, what: &str) -> usize {
        self.changes.iter().filter(|c| c.what == what).count()
    }
}

/// Bytes of `64GiB`, `512 MiB`, `1024`; units KiB, MiB, GiB, TiB.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let bad =
        || format!("{text:?} is not a size; expected bytes as a number, or for example 64GiB");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().map_err(|_| bad())?;
    let shift = match text[digits..].trim() {
        "" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err(bad()),
    };
    number.checked_mul(1 << shift).ok_or_else(bad)
}

fn size<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Size {
        Bytes(u64),
        Text(String),
    }
    match Size::deserialize(d)? {
        Size::Bytes(bytes) => Ok(bytes),
        Size::Text(text) => parse_size(&text).map_err(D::Error::custom),
    }
}

fn secret<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Secret>, D::Error> {
    Ok(Option::<String>::deserialize(d)?.map(Secret::new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_or_have_a_binary_unit() {
        assert_eq!(parse_size("64GiB"), Ok(64 << 30));
        assert_eq!(parse_size("7"), Ok(7));
        for bad in ["", "GiB", "64GB", "-1", "99999999999999999TiB", "1.5GiB"] {
            assert!(parse_size(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_key_nobody_knows_is_refused() {
        let text = r#"{"version": 1, "tenants": [{"id": "pay", "contcts": []}]}"#;
        let said = serde_json::from_str::<InventoryDoc>(text).err().unwrap().to_string();
        assert!(said.contains("contcts") && said.contains("networks"), "{said}");
    }
}
