//! Plans: one file per kind, from the present topology to steps with their exact commands.
//!
//! Invariant: making a plan changes nothing; the same world gives the same hash.

pub mod backup;
pub mod bgsave;
mod choose;
pub mod clients_kill;
pub mod demote;
pub mod drill;
mod fresh;
pub mod memory_purge;
pub mod node_move;
pub mod node_restart;
pub mod param_change;
pub mod password_rotate;
pub mod replica_add;
pub mod replica_remove;
pub mod reshard;
pub mod rolling;
pub mod slot;
pub mod slowlog_reset;
pub mod switchover;
pub mod upkeep;
pub(crate) mod wave;
mod weigh;
pub mod zone;

use model::operation::OperationKind;
use model::plan::Plan;
use model::refusal::Refusal;
use model::{At, ServiceId};
use serde_json::Value;

use crate::world::World;

/// Version of a kind's definition. It grows when the meaning of a stored step changes; unfinished
/// operations of a version this program does not know keep it from starting.
pub fn version_of(kind: OperationKind) -> u32 {
    match kind {
        OperationKind::Backup | OperationKind::Restore => backup::VERSION,
        OperationKind::NodeRestart => node_restart::VERSION,
        OperationKind::ParamChange => param_change::VERSION,
        OperationKind::PasswordRotate => password_rotate::VERSION,
        OperationKind::ClientsKill
        | OperationKind::MemoryPurge
        | OperationKind::SlowlogReset
        | OperationKind::Bgsave => upkeep::VERSION,
        OperationKind::ReplicaAdd => replica_add::VERSION,
        OperationKind::ReplicaRemove => replica_remove::VERSION,
        OperationKind::RollingRestart | OperationKind::Upgrade => rolling::VERSION,
        OperationKind::ShardAdd | OperationKind::ShardRemove | OperationKind::Rebalance => {
            reshard::VERSION
        }
        OperationKind::Switchover => switchover::VERSION,
        OperationKind::Demote => demote::VERSION,
        OperationKind::Drill => drill::VERSION,
        OperationKind::NodeMove => node_move::VERSION,
        OperationKind::Evacuate | OperationKind::ZoneRestore => zone::VERSION,
    }
}

/// The step kinds of an operation kind, in order: with the kind they name the fault points.
pub fn steps_of(kind: OperationKind) -> &'static [&'static str] {
    match kind {
        OperationKind::Backup => backup::BACKUP,
        OperationKind::Restore => backup::RESTORE,
        OperationKind::NodeRestart => node_restart::STEPS,
        OperationKind::ParamChange => param_change::STEPS,
        OperationKind::PasswordRotate => password_rotate::STEPS,
        OperationKind::ClientsKill => clients_kill::STEPS,
        OperationKind::MemoryPurge => memory_purge::STEPS,
        OperationKind::SlowlogReset => slowlog_reset::STEPS,
        OperationKind::Bgsave => bgsave::STEPS,
        OperationKind::ReplicaAdd => replica_add::STEPS,
        OperationKind::ReplicaRemove => replica_remove::STEPS,
        OperationKind::RollingRestart | OperationKind::Upgrade => rolling::STEPS,
        OperationKind::ShardAdd | OperationKind::ShardRemove | OperationKind::Rebalance => {
            reshard::steps_of(kind)
        }
        OperationKind::Switchover => switchover::STEPS,
        OperationKind::Demote => demote::STEPS,
        OperationKind::Drill => drill::STEPS,
        OperationKind::NodeMove => node_move::STEPS,
        OperationKind::Evacuate | OperationKind::ZoneRestore => zone::steps_of(kind),
    }
}

/// What some plans need besides the fleet.
#[derive(Clone, Copy, Default)]
pub struct Means<'a> {
    /// Manifests of backups, wishes, secrets.
    pub store: Option<&'a store::Store>,
    /// Where backups are kept.
    pub backup_dir: Option<&'a std::path::Path>,
}

impl<'a> Means<'a> {
    /// The store; without one nothing that is kept there can be planned.
    pub fn store(&self, service: &ServiceId) -> Result<&'a store::Store, Refusal> {
        self.store.ok_or_else(|| Refusal::new("store", service, "no store is at hand"))
    }
}

/// Makes the plan, or says which check refuses it. `params` is the kind's input as the caller gave
/// it.
pub async fn make(
    world: &World,
    means: &Means<'_>,
    kind: OperationKind,
    service: &ServiceId,
    params: &Value,
    now: At,
) -> Result<Plan, Refusal> {
    match kind {
        OperationKind::Backup => backup::plan(world, means, service, params, now).await,
        OperationKind::Restore => backup::restore(world, means, service, params, now).await,
        OperationKind::NodeRestart => node_restart::plan(world, service, params, now).await,
        OperationKind::ParamChange => param_change::plan(world, means, service, params, now).await,
        OperationKind::PasswordRotate => {
            password_rotate::plan(world, means, service, params, now).await
        }
        OperationKind::ClientsKill => clients_kill::plan(world, service, params, now).await,
        OperationKind::MemoryPurge => memory_purge::plan(world, service, params, now).await,
        OperationKind::SlowlogReset => slowlog_reset::plan(world, service, params, now).await,
        OperationKind::Bgsave => bgsave::plan(world, service, params, now).await,
        OperationKind::ReplicaAdd => replica_add::plan(world, service, params, now).await,
        OperationKind::ReplicaRemove => replica_remove::plan(world, service, params, now).await,
        OperationKind::RollingRestart | OperationKind::Upgrade => {
            rolling::plan(world, kind, service, params, now).await
        }
        OperationKind::ShardAdd | OperationKind::ShardRemove | OperationKind::Rebalance => {
            reshard::plan(world, kind, service, params, now).await
        }
        OperationKind::Switchover => switchover::plan(world, service, params, now).await,
        OperationKind::Demote => demote::plan(world, service, params, now).await,
        OperationKind::Drill => drill::plan(world, service, params, now).await,
        OperationKind::NodeMove => node_move::plan(world, service, params, now).await,
        OperationKind::Evacuate | OperationKind::ZoneRestore => {
            zone::plan(world, means, kind, service, params, now).await
        }
    }
}
