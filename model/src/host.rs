//! Hosts: where instances run.

use serde::{Deserialize, Serialize};

use crate::{HostId, ZoneId};

/// A machine (or, for the local provider, a loopback address that stands for one).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Its id.
    pub id: HostId,
    /// Where it is.
    pub zone: ZoneId,
    /// IP address.
    pub address: String,
    /// Provider that controls it (`[[ops.provider]] name`); empty: nobody does.
    pub provider: String,
    /// Rack, empty when unknown.
    pub rack: String,
    /// Memory, bytes; 0 unknown.
    pub memory_bytes: u64,
    /// Processors; 0 unknown.
    pub cpu: u32,
}
