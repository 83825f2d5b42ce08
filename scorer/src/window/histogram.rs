//! Durations of the busiest commands between two readings of LATENCY HISTOGRAM.
//!
//! Invariant: statistics that were reset, or a server that started anew, count from zero and never below
//! it. Refuses to know single commands' names beyond telling them apart.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::At;
use model::detail::{CommandHistogram, Latencies};

/// Commands looked at: the ones users wait for.
const BUSIEST: usize = 8;

/// The latest reading, and what happened between it and the one before.
#[derive(Debug, Clone, Default)]
pub(super) struct Histograms {
    latest: Option<Arc<Latencies>>,
    /// (when, 99th percentile in µs).
    p99: Option<(At, f64)>,
}

impl Histograms {
    pub fn take(&mut self, latencies: &Arc<Latencies>, restarted: bool) {
        if restarted {
            (self.latest, self.p99) = (None, None);
        }
        if self.latest.as_ref().is_some_and(|old| old.at == latencies.at) {
            return;
        }
        if let Some(old) = self.latest.replace(latencies.clone()) {
            self.p99 = Some((latencies.at, p99(&old.histograms, &latencies.histograms)));
        }
    }

    /// When, and the 99th percentile in µs; none before the second reading.
    pub fn p99(&self) -> Option<(At, f64)> {
        self.p99
    }
}

fn p99(old: &[CommandHistogram], new: &[CommandHistogram]) -> f64 {
    let before = |cmd: &str| old.iter().find(|h| &*h.cmd == cmd);
    let mut grown: Vec<(f64, &CommandHistogram, Option<&CommandHistogram>)> = new
        .iter()
        .map(|h| {
            let past = before(&h.cmd).filter(|p| p.calls <= h.calls);
            (h.calls - past.map_or(0.0, |p| p.calls), h, past)
        })
        .filter(|(calls, ..)| *calls > 0.0)
        .collect();
    grown.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut buckets: BTreeMap<u64, f64> = BTreeMap::new();
    for (_, histogram, past) in grown.into_iter().take(BUSIEST) {
        let mut last = 0.0;
        for (bound, calls) in &histogram.buckets {
            let since = (calls - past.map_or(0.0, |p| up_to(p, *bound))).max(last);
            *buckets.entry(*bound as u64).or_default() += since - last;
            last = since;
        }
    }
    let all: f64 = buckets.values().sum();
    let mut below = 0.0;
    let reached = |(_, calls): &(&u64, &f64)| {
        below += **calls;
        below >= 0.99 * all
    };
    buckets.iter().find(reached).map_or(0.0, |(bound, _)| *bound as f64)
}

/// Calls of a histogram up to a bound it may not name itself.
fn up_to(histogram: &CommandHistogram, bound: f64) -> f64 {
    let at = histogram.buckets.iter().take_while(|(b, _)| *b <= bound).last();
    at.map_or(0.0, |(_, calls)| *calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(cmd: &str, buckets: &[(f64, f64)]) -> CommandHistogram {
        let calls = buckets.last().map_or(0.0, |b| b.1);
        CommandHistogram { cmd: cmd.into(), calls, usec: None, buckets: buckets.into() }
    }

    #[test]
    fn only_what_happened_between_two_readings_counts() {
        let old = [histogram("get", &[(1.0, 1000.0), (50_000.0, 2000.0)])];
        let new = [histogram("get", &[(1.0, 1000.0), (2.0, 1099.0), (50_000.0, 2100.0)])];
        assert_eq!(p99(&old, &new), 2.0);
        assert_eq!(p99(&new, &new), 0.0, "nothing was called");
    }

    #[test]
    fn the_busiest_eight_count_and_a_reset_counts_from_zero() {
        let mut new: Vec<_> =
            (0..8).map(|i| histogram(&format!("c{i}"), &[(4.0, 100.0)])).collect();
        new.push(histogram("slow", &[(1e6, 99.0)]));
        assert_eq!(p99(&[], &new), 4.0);
        let before = [histogram("c0", &[(4.0, 1e6)])];
        assert_eq!(p99(&before, &new[..1]), 4.0);
    }
}
