//! The signals: id, dimension, unit and the fields behind each.
//!
//! Invariant: the order of the variants is the order of ids, which settles ties for a dimension's
//! worst signal. Refuses to know: how a value is measured (`measure`) and judged (`policy`).

use model::field::Field;
use model::score::Dimension;
use serde::{Deserialize, Serialize};

/// What is fixed about a signal.
#[derive(Debug, Clone, Copy)]
pub struct SignalInfo {
    /// `A1` … `S7`.
    pub name: &'static str,
    /// Which dimension it counts for.
    pub dimension: Dimension,
    /// Unit of its value.
    pub unit: &'static str,
    /// Fields it is computed from; their series are the evidence.
    pub fields: &'static [Field],
}

macro_rules! signals {
    ($($(#[$doc:meta])* $v:ident $dim:ident $unit:literal [$($f:ident),*];)*) => {
        /// A signal of the health model.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[repr(u8)]
        pub enum Signal { $($(#[$doc])* $v,)* }

        const ALL: &[Signal] = &[$(Signal::$v,)*];
        const INFO: &[SignalInfo] = &[$(SignalInfo {
            name: stringify!($v), dimension: Dimension::$dim, unit: $unit,
            fields: &[$(Field::$f),*],
        },)*];
    };
}

signals! {
    /// Share of failed control probes.
    A1 Availability "ratio" [];
    /// 99th percentile of the control probes, ms.
    A2 Availability "ms" [];
    /// Seconds the replica's link has been down.
    A3 Availability "seconds" [MasterLinkStatus, MasterLinkDownSinceSeconds];
    /// Lag behind the master in parts of the master's backlog.
    A4 Availability "ratio" [MasterReplOffset, SlaveReplOffset, ReplBacklogSize];
    /// Share of the required replicas that is missing.
    A5 Availability "ratio" [ConnectedSlaves];
    /// Unplanned restarts and role changes in 24 h.
    A6 Availability "count" [UptimeInSeconds];
    /// Persistence: 0 fine, 1 rewrite failed, 2 background save failed, 3 AOF write failed.
    A7 Availability "state" [AofLastBgrewriteStatus, RdbLastBgsaveStatus, AofLastWriteStatus];
    /// Share of the slots not served, in this node's view.
    A8 Availability "ratio" [ClusterSlotsAssigned, ClusterSlotsFail, ClusterSlotsPfail];
    /// Used share of maxmemory where the limit refuses writes or loses data.
    M1 Memory "ratio" [UsedMemory, Maxmemory];
    /// Used share of maxmemory where eviction is wanted.
    M1c Memory "ratio" [UsedMemory, Maxmemory];
    /// Evicted keys per command.
    M2 Memory "ratio" [EvictedKeys, TotalCommandsProcessed];
    /// Resident memory in parts of what the process or host has.
    M3 Memory "ratio" [UsedMemoryRss, TotalSystemMemory];
    /// Fragmentation of the allocator.
    M4 Memory "ratio" [AllocatorFragRatio, AllocatorFragBytes, MemFragmentationRatio];
    /// Days until the memory limit is reached.
    M5 Memory "days" [UsedMemory, Maxmemory];
    /// Overhead beyond the start-up in parts of maxmemory.
    M6 Memory "ratio" [UsedMemoryOverhead, UsedMemoryStartup, Maxmemory];
    /// Resident memory and expected copy-on-write in parts of memory.
    M7 Memory "ratio" [UsedMemoryRss, RdbLastCowSize, AofLastCowSize, TotalSystemMemory];
    /// Fragmentation below one: pages are probably swapped out.
    M8 Memory "ratio" [MemFragmentationRatio];
    /// Connected clients in parts of maxclients.
    C1 Connections "ratio" [ConnectedClients, Maxclients];
    /// Rejected connections in the window.
    C2 Connections "count" [RejectedConnections];
    /// New connections per second.
    C3 Connections "per_second" [TotalConnectionsReceived];
    /// Connections in parts of the median of the same hour of the week.
    C4 Connections "ratio" [ConnectedClients];
    /// Memory of normal clients in parts of maxmemory.
    C5 Connections "ratio" [MemClientsNormal, Maxmemory, ClientOutputBufferLimitDisconnections];
    /// Share of clients that are blocked.
    C6 Connections "ratio" [BlockedClients, ConnectedClients];
    /// Slow commands per minute.
    S1 Slowlog "per_minute" [];
    /// Share of time the main thread was blocked by slow commands.
    S2 Slowlog "ratio" [];
    /// Slowest command, ms.
    S3 Slowlog "ms" [];
    /// 99th percentile of the busiest commands, ms.
    S4 Slowlog "ms" [];
    /// Main-thread CPU share.
    S5 Slowlog "ratio" [UsedCpuSysMainThread, UsedCpuUserMainThread];
    /// Forks and latency spikes: seconds of the latest fork, or spikes per hour.
    S6 Slowlog "seconds" [LatestForkUsec];
    /// Blindness: the slow log is off or its limit too high.
    S7 Slowlog "state" [];
}

impl Signal {
    /// How many there are.
    pub const COUNT: usize = ALL.len();

    /// All, in the order of ids.
    pub fn all() -> &'static [Signal] {
        ALL
    }

    /// What is fixed about it.
    pub fn info(self) -> &'static SignalInfo {
        &INFO[self as usize]
    }

    /// Its id as text.
    pub fn as_str(self) -> &'static str {
        self.info().name
    }

    /// From its id.
    pub fn parse(text: &str) -> Option<Signal> {
        ALL.iter().copied().find(|s| s.as_str() == text)
    }

    /// The signals of a dimension, by its position in `Dimension` order; they stand together.
    pub(crate) fn of_dimension(d: usize) -> &'static [Signal] {
        const STARTS: [Signal; 4] = [Signal::A1, Signal::M1, Signal::C1, Signal::S1];
        let end = STARTS.get(d + 1).map_or(Signal::COUNT, |s| *s as usize);
        &ALL[STARTS[d] as usize..end]
    }

    /// Position of its dimension in `Dimension` order.
    pub(crate) fn dimension(self) -> usize {
        self.info().dimension as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signals_of_a_dimension_stand_together() {
        for d in 0..4 {
            let mine: Vec<_> = ALL.iter().filter(|s| s.dimension() == d).copied().collect();
            assert_eq!(Signal::of_dimension(d), mine);
        }
    }
}
