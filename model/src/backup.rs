//! A backup: one file of one shard, with what is needed to trust it and to find where it fits.

use serde::{Deserialize, Serialize};

use crate::{At, InstanceId, ServiceId};

/// The manifest of a kept file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Backup {
    /// `<operation>/<shard>`.
    pub id: String,
    /// The operation that took it; the files of one operation are a set.
    pub operation_id: String,
    /// Of which service.
    pub service: ServiceId,
    /// Of which shard.
    pub shard: u32,
    /// The node it was taken from.
    pub instance: InstanceId,
    /// Where it is kept, on the machine of this program.
    pub path: String,
    /// Length.
    pub bytes: u64,
    /// SHA-256 of the kept file.
    pub sha256: String,
    /// Keys in it, as the engine's own checker counted.
    pub keys: u64,
    /// Keys of those that have a time to live.
    pub expires: u64,
    /// Version of the server that wrote it.
    pub engine_version: String,
    /// Replication id of the data.
    pub replid: String,
    /// Replication offset when the save began.
    pub repl_offset: u64,
    /// Slots of the shard, in a cluster.
    pub slots: Vec<(u16, u16)>,
    /// When the save began.
    pub taken_at: At,
}
