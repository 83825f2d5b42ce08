//! The last hour of values of every instance: what a backtest looks at when no Prometheus is configured.
//!
//! Invariant: all of it together stays within `BYTES_MAX`, whatever the fleet; then values lie further
//! apart, and still reach an hour back. Lives in memory only. Refuses to know policies.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use alerter::backtest::{Fill, Input, Line, Track};
use model::field::{Field, Values};
use model::inventory::Inventory;
use model::row::Row;
use model::{At, InstanceId};

/// How far back.
pub(crate) const REACH_MS: i64 = 3_600_000;
/// Samples of one instance at most: four a minute, every poll of the usual interval.
const SAMPLES_MAX: usize = 240;
/// Memory of all samples of the fleet.
const BYTES_MAX: usize = 64 << 20;

/// One poll.
struct Sample {
    at: At,
    up: bool,
    down: bool,
    poll_s: f64,
    values: Values,
}

/// The samples, by instance.
#[derive(Default)]
pub(crate) struct Recent(Mutex<BTreeMap<InstanceId, VecDeque<Sample>>>);

/// Samples an instance may keep in a fleet of that size.
fn share(instances: usize) -> usize {
    let one = size_of::<Sample>() + Field::COUNT * size_of::<f64>();
    (BYTES_MAX / (one * instances.max(1))).clamp(2, SAMPLES_MAX)
}

impl Recent {
    /// Keeps a row when the last one kept is old enough. Called by the instance's watch task.
    pub fn take(&self, row: &Row, instances: usize) {
        let most = share(instances);
        // A tenth less: a poll that comes a little early is kept, too.
        let step_ms = REACH_MS / most as i64 * 9 / 10;
        let at = row.reading.at;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = all.entry(row.instance.id.clone()).or_default();
        if mine.back().is_some_and(|last| at.since_ms(last.at) < step_ms) {
            return;
        }
        mine.push_back(Sample {
            at,
            up: row.reading.up,
            down: row.verdict.is_down(),
            poll_s: f64::from(row.reading.duration_us) / 1e6,
            values: row.reading.facts.values.clone(),
        });
        let old = |s: &Sample| at.since_ms(s.at) > REACH_MS;
        while mine.len() > most || mine.front().is_some_and(old) {
            mine.pop_front();
        }
    }

    /// Forgets instances that are gone.
    pub fn keep(&self, inventory: &Inventory) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|id, _| inventory.instances.contains_key(id));
    }

    /// The tracks of these instances, of what is kept in memory; and the series that are not.
    pub fn tracks(&self, inputs: &[Input], ids: &[InstanceId]) -> (Vec<Track>, Vec<String>) {
        let fills: Vec<Option<Kept>> = inputs.iter().map(Kept::of).collect();
        let missing = inputs.iter().zip(&fills).filter(|(_, kept)| kept.is_none());
        let missing = missing.map(|(input, _)| input.name()).collect();
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let track = |id: &InstanceId| {
            let samples = all.get(id)?;
            let line = |kept: &Kept| Line {
                fill: kept.fill.clone(),
                values: samples.iter().map(|s| (kept.read)(s, &kept.fill)).collect(),
            };
            let lines = fills.iter().flatten().map(line).collect();
            let times = samples.iter().map(|s| s.at.ms()).collect();
            Some(Track { instance: id.clone(), times, lines })
        };
        (ids.iter().filter_map(track).collect(), missing)
    }
}

/// How a series is read out of a sample.
struct Kept {
    fill: Fill,
    read: fn(&Sample, &Fill) -> f64,
}

impl Kept {
    fn of(input: &Input) -> Option<Kept> {
        let fill = input.fill(&BTreeMap::new())?;
        let read: fn(&Sample, &Fill) -> f64 = match (&fill, input.metric.as_str()) {
            (Fill::Up, _) => |s, _| f64::from(u8::from(s.up)),
            (_, "cachewarden_instance_state") if input.name().contains("\"down\"") => {
                |s, _| f64::from(u8::from(s.down))
            }
            (_, "redis_exporter_last_scrape_duration_seconds") => |s, _| s.poll_s,
            _ => {
                fill.field()?;
                |s, fill| {
                    let value = fill.field().filter(|_| s.up).and_then(|f| s.values.get(f));
                    value.unwrap_or(f64::NAN)
                }
            }
        };
        Some(Kept { fill, read })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_fleet_keeps_fewer_samples_and_none_more_than_its_share() {
        assert_eq!(share(10), SAMPLES_MAX);
        let large = share(10_000);
        assert!((2..10).contains(&large), "{large}");
    }
}
