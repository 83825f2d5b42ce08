//! Judgement: how close to trouble an instance, shard, service, business system or tenant is.
//!
//! Invariant: everything here is a pure function of its arguments; `now` is one of them. The same
//! code scores live, in what-if and in reports, so their numbers cannot differ. Missing data is
//! `Seen::Unknown`, never zero. Refuses to know: clocks, IO, async, randomness, SQL, HTTP.
//!
//! One instance: `Window::push` each reading, `verdict` from the evidence, `inputs` from window,
//! reading and surroundings, `explain` to the waterfall. The fleet: `rollup` over all rows.

pub mod curve;
mod exact;
pub mod explain;
#[cfg(test)]
mod fixture;
pub mod forecast;
mod gates;
pub mod grade;
pub mod inputs;
mod measure;
pub mod past;
pub mod policy;
pub mod rollup;
pub mod shadow;
pub mod signal;
pub mod slo;
mod suggest;
mod text;
pub mod verdict;
pub mod whatif;
pub mod window;

use serde::{Deserialize, Serialize};

pub use curve::{BadCurve, Curve};
pub use explain::explain;
pub use grade::Sticky;
pub use inputs::{Around, HostMemory, Inputs, Seen, inputs, replica_healthy};
pub use past::{Past, Track};
pub use policy::{BadPolicy, Policies, Policy};
pub use rollup::{
    Load, Published, RollupMemory, View, cause, lose_zone, rollup, rollup_path, view,
};
pub use shadow::{Scene, shadow};
pub use signal::Signal;
pub use verdict::{Evidence, verdict};
pub use whatif::{BadOverride, Overrides, Settable, whatif};
pub use window::{Rates, SlowTop, Window};

/// `[scorer]` of the configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Length of the window that rates and shares are taken over, seconds.
    pub window_s: u32,
    /// How long a better grade must be earned without a break, seconds.
    pub rise_s: u32,
}

impl Default for Config {
    fn default() -> Config {
        Config { window_s: 300, rise_s: (grade::RISE_MS / 1000) as u32 }
    }
}

impl Config {
    /// Refuses what cannot work, naming the key and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        // Below ten seconds a window holds too few polls for a share, however fast they are; above an
        // hour a counter gate would hold for longer than anybody remembers why.
        within("window_s", self.window_s, 10..=3600)?;
        // Below a few seconds a grade follows every poll; nobody waits a day for a better one.
        within("rise_s", self.rise_s, 5..=3600)
    }
}

fn within(key: &str, value: u32, allowed: std::ops::RangeInclusive<u32>) -> Result<(), String> {
    if allowed.contains(&value) {
        return Ok(());
    }
    let (low, high) = (allowed.start(), allowed.end());
    Err(format!("scorer.{key} = {value}: allowed are {low} to {high} seconds"))
}
