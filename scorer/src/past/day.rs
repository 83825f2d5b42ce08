//! One day of a shard: the peak of each hour, and the limits they are held against.
//!
//! Invariant: 24 hours each, never more; a value nobody read is absent. Refuses to know the days beside it.

use serde::{Deserialize, Serialize};

use super::Sample;
use crate::forecast::HourPeak;

const HOURS: usize = 24;

/// What has an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantity {
    /// Used memory of the master against `maxmemory`, or the host where that is not set.
    Memory,
    /// Connections of the master against `maxclients`.
    Connections,
    /// Resident memory of the host's instances against its memory.
    HostMemory,
}

impl Quantity {
    /// All of them.
    pub const ALL: [Quantity; 3] = [Quantity::Memory, Quantity::Connections, Quantity::HostMemory];

    /// As in JSON and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Quantity::Memory => "memory",
            Quantity::Connections => "connections",
            Quantity::HostMemory => "host_memory",
        }
    }
}

/// The day of a shard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Day {
    /// Days since 1970-01-01 UTC.
    #[serde(skip)]
    pub day: i64,
    /// Latest limits.
    pub maxmemory_bytes: Option<f64>,
    /// `maxclients`.
    pub maxclients: Option<f64>,
    /// Memory of the master's host.
    pub host_bytes: Option<f64>,
    /// Peak of the instances' resident memory on that host.
    pub host_used_bytes: Option<f64>,
    /// Largest copy-on-write of the latest save or rewrite.
    pub cow_bytes: Option<f64>,
    // Compact: a fleet keeps 28 days of every shard, and 24 bits are a relative error of 10⁻⁷.
    used: [Option<f32>; HOURS],
    clients: [Option<f32>; HOURS],
    replicas: [Option<u8>; HOURS],
}

impl Day {
    /// A day nothing is known of.
    pub fn new(day: i64) -> Day {
        Day {
            day,
            maxmemory_bytes: None,
            maxclients: None,
            host_bytes: None,
            host_used_bytes: None,
            cow_bytes: None,
            used: [None; HOURS],
            clients: [None; HOURS],
            replicas: [None; HOURS],
        }
    }

    /// Takes a sample of that hour in; answers whether it changed anything.
    pub fn take(&mut self, sample: &Sample, hour: usize) -> bool {
        let mut changed = false;
        let mut latest = |mine: &mut Option<f64>, new: Option<f64>| {
            if new.is_some() && *mine != new {
                (*mine, changed) = (new, true);
            }
        };
        latest(&mut self.maxmemory_bytes, sample.maxmemory_bytes);
        latest(&mut self.maxclients, sample.maxclients);
        latest(&mut self.host_bytes, sample.host_bytes);
        changed |= raise(&mut self.host_used_bytes, sample.host_used_bytes);
        changed |= raise(&mut self.cow_bytes, sample.cow_bytes.filter(|b| *b > 0.0));
        let Some(used) = self.used.get_mut(hour) else { return changed };
        changed |= raise(used, sample.used_bytes.map(|v| v as f32));
        changed |= raise(&mut self.clients[hour], sample.clients.map(|v| v as f32));
        changed | raise(&mut self.replicas[hour], sample.replicas.map(|n| n.min(255) as u8))
    }

    /// The higher of both, hour by hour.
    pub(super) fn merge(&mut self, other: &Day) {
        let or = |mine: &mut Option<f64>, other: Option<f64>| *mine = mine.or(other);
        or(&mut self.maxmemory_bytes, other.maxmemory_bytes);
        or(&mut self.maxclients, other.maxclients);
        or(&mut self.host_bytes, other.host_bytes);
        raise(&mut self.host_used_bytes, other.host_used_bytes);
        raise(&mut self.cow_bytes, other.cow_bytes);
        for hour in 0..HOURS {
            raise(&mut self.used[hour], other.used[hour]);
            raise(&mut self.clients[hour], other.clients[hour]);
            raise(&mut self.replicas[hour], other.replicas[hour]);
        }
    }

    pub(super) fn peak(&self, quantity: Quantity) -> Option<f64> {
        match quantity {
            Quantity::HostMemory => self.host_used_bytes,
            _ => self.hours(quantity).map(|h| h.value).reduce(f64::max),
        }
    }

    /// Peaks of the hours that were seen; host memory has only its day's.
    pub(super) fn hours(&self, quantity: Quantity) -> impl Iterator<Item = HourPeak> + '_ {
        let values: &[Option<f32>] = match quantity {
            Quantity::Memory => &self.used,
            Quantity::Connections => &self.clients,
            Quantity::HostMemory => &[],
        };
        let first = self.day * HOURS as i64;
        let one = move |(i, v): (usize, &Option<f32>)| {
            Some(HourPeak { hour: first + i as i64, value: f64::from((*v)?) })
        };
        values.iter().enumerate().filter_map(one)
    }

    pub(super) fn replicas(&self) -> impl Iterator<Item = u8> + '_ {
        self.replicas.iter().copied().flatten()
    }
}

fn raise<T: PartialOrd + Copy>(mine: &mut Option<T>, new: Option<T>) -> bool {
    match (*mine, new) {
        (None, Some(_)) => *mine = new,
        (Some(old), Some(value)) if value > old => *mine = new,
        _ => return false,
    }
    true
}
