//! Adoption on the wire: what a person names, and what was found there.
//!
//! Invariant: the request's form is closed; passwords go in and never come out. Refuses to know how
//! anything is found.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::access::Tls;
use crate::apply::{AuthDoc, Diff};
use crate::service::{InstanceKind, Mode, Tier};

/// `POST /services/adopt`.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdoptDoc {
    /// Addresses: `host:port`, `redis://…`, `rediss://…`. A standalone, a replica, a Sentinel or a node
    /// of a cluster.
    pub seeds: Vec<String>,
    /// Text of a file with more of them: CSV with a column `address`, a Prometheus file_sd or http_sd
    /// document, a Prometheus configuration with redis_exporter jobs, or one address a line.
    pub document: String,
    /// Tenant that gets what is found; empty: `default`.
    pub tenant: String,
    /// Slug of its business system; empty: `unassigned`.
    pub system: String,
    /// Slug of the service, when only one is found; empty: from the Sentinels' name or the address.
    pub service: String,
    /// Importance of new services.
    pub tier: Tier,
    /// Whether operations and remediation are allowed on new services.
    pub managed: bool,
    /// User and password of the data nodes.
    pub auth: Option<AuthDoc>,
    /// User and password of the Sentinels.
    pub sentinel_auth: Option<AuthDoc>,
    /// TLS; absent: plain TCP, but for seeds written `rediss://`.
    pub tls: Option<Tls>,
    /// CIDRs added to those the tenant may be reached in. Needs the right to edit the tree.
    pub networks: Vec<String>,
    /// CIDR → zone, before what hosts and zones of the tree say.
    pub zones: BTreeMap<String, String>,
    /// Zone of what no network places; empty: `unassigned`.
    pub zone: String,
    /// The user whose access is to be printed for each service; none: not wanted.
    pub acl: Option<AclDoc>,
    /// What the dry run answered as `hash`: when the fleet looks different now, nothing is adopted.
    pub hash: String,
}

/// A monitor user to print the ACL of.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AclDoc {
    /// Its name.
    pub user: String,
    /// SHA-256 of its password, 64 hex digits; empty: a placeholder stands in the text.
    #[serde(default)]
    pub password_sha256: String,
}

/// The least a monitor user needs on one kind of process, ready to be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclText {
    /// Data nodes or Sentinels.
    pub kind: InstanceKind,
    /// Engine and version it was made for.
    pub engine: String,
    /// `ACL SETUSER …`.
    pub setuser: String,
    /// The same as a line of `users.acl`, `redis.conf` or `sentinel.conf`.
    pub file: String,
    /// What to know about it.
    pub notes: Vec<String>,
}

/// What one process says of a monitor user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclProof {
    /// Which process.
    pub instance: String,
    /// `proved`: it may do what polling needs and nothing else; `wrong`: see the lists; `unknown`: see
    /// the detail.
    pub state: String,
    /// Commands tried.
    pub tried: usize,
    /// Commands it needs and may not run.
    pub lacking: Vec<String>,
    /// Commands it may run and does not need.
    pub surplus: Vec<String>,
    /// Why nothing is known; empty otherwise.
    pub detail: String,
}

/// Answer: what was found, and what becomes of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Adoption {
    /// Nothing was written.
    pub dry_run: bool,
    /// Of what would be written: services, their nodes and zones.
    pub hash: String,
    /// Tenant.
    pub tenant: String,
    /// Services, new ones and those that are known.
    pub services: Vec<AdoptedService>,
    /// Addresses that were not taken, each with the reason.
    pub refused: Vec<RefusedAddress>,
    /// Addresses nobody was asked for want of time or room: adopt again, known ones cost nothing.
    pub unasked: usize,
    /// What the inventory goes through; as in the answer to an inventory file.
    pub diff: Diff,
}

/// A service that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdoptedService {
    /// Its id.
    pub id: String,
    /// Its business system.
    pub system: String,
    /// `new`, `grows`, `known`, or `conflict`: then nothing of it is written.
    pub state: String,
    /// Where its name is from: `asked`, `document`, `sentinel`, `address`, `inventory`.
    pub named_by: String,
    /// How it is built.
    pub mode: Mode,
    /// Name of its master at the Sentinels; empty: none.
    pub master_name: String,
    /// Nodes and Sentinels.
    pub nodes: Vec<AdoptedNode>,
    /// What is worth knowing, conflicts first.
    pub notes: Vec<String>,
    /// The least access a monitor user needs, when it was asked for.
    pub acl: Vec<AclText>,
}

/// A process that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdoptedNode {
    /// `host:port`.
    pub address: String,
    /// Data node or Sentinel.
    pub kind: InstanceKind,
    /// `master`, `slave` or `sentinel`, as it says itself.
    pub role: String,
    /// `redis` or `valkey`.
    pub engine: String,
    /// Its version.
    pub version: String,
    /// Zone it is put into.
    pub zone: String,
    /// `new` or `known`.
    pub state: String,
    /// `named`, or the address of the node that named it.
    pub found_by: String,
}

/// An address that was not taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RefusedAddress {
    /// As it was written, without what could be a secret, at most 200 characters.
    pub address: String,
    /// `named`, or the address of the node that named it.
    pub found_by: String,
    /// `address`, `name`, `network`, `never`, `own`, `other_tenant`, `alias`, or why it could not be
    /// read: `refused`, `timeout`, `auth`, `tls` …
    pub reason: String,
    /// In words.
    pub detail: String,
}
