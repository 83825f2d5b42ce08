//! Functions over the samples of the latest stretch of time, exactly as Prometheus has them.
//!
//! Invariant: a result depends on the samples and the time of evaluation only; nothing is carried
//! from one evaluation to the next, so live, backtest and restart agree bit for bit.

mod dialect;
mod functions;
mod ring;

pub use dialect::Dialect;
pub use functions::apply;
pub use ring::{COARSE_POINTS, POINTS_MAX, RAW_INTERVALS, Ring, Thin};

/// Samples of one series, oldest first.
#[derive(Debug, Clone, Copy)]
pub struct Samples<'a> {
    /// Milliseconds after `base`.
    pub offsets: &'a [u32],
    /// Values, as many as offsets.
    pub values: &'a [f64],
    /// Unix milliseconds.
    pub base: i64,
}

impl<'a> Samples<'a> {
    /// How many.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Time of the i-th sample, Unix milliseconds.
    pub fn time(&self, i: usize) -> i64 {
        self.base + i64::from(self.offsets[i])
    }

    /// Those a range selector of `range_ms` takes at `now_ms`.
    pub fn within(self, now_ms: i64, range_ms: i64, dialect: Dialect) -> Samples<'a> {
        let start = now_ms - range_ms;
        let old = |at: &u32| {
            let at = self.base + i64::from(*at);
            at < start || (dialect.left_open && at == start)
        };
        let from = self.offsets.partition_point(old);
        let to = self.offsets.partition_point(|at| self.base + i64::from(*at) <= now_ms);
        let to = to.max(from);
        Samples {
            offsets: &self.offsets[from..to],
            values: &self.values[from..to],
            base: self.base,
        }
    }
}
