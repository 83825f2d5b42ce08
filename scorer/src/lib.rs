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
pub use rollup::{Load, Published, RollupMemory, cause, lose_zone, rollup, rollup_path};
pub use shadow::{Scene, shadow};
pub use signal::Signal;
pub use verdict::{Evidence, verdict};
pub use whatif::{BadOverride, Overrides, Settable, whatif};
pub use window::{Rates, Window};

/// `[scorer]` of the configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Length of the window that rates and shares are taken over, seconds.
    pub window_s: u32,
}

impl Default for Config {
    fn default() -> Config {
        Config { window_s: 300 }
    }
}

impl Config {
    /// Refuses what cannot work, naming the key and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        // Below a minute a window holds too few 15 s samples for a share; above an hour a counter
        // gate would hold for longer than anybody remembers why.
        if (60..=3600).contains(&self.window_s) {
            return Ok(());
        }
        Err(format!("scorer.window_s = {}: allowed are 60 to 3600 seconds", self.window_s))
    }
}
