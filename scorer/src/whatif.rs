//! What the score would be if some inputs were different.
//!
//! Invariant: `explain` itself answers; derived signals follow their inputs. What does not apply to an
//! instance cannot be set on it. Refuses to know whether a change can be made (`suggest` says so where
//! it is known).

use model::At;
use model::InstanceId;
use model::score::Explained;
use serde::{Deserialize, Serialize};

use crate::explain::explain;
use crate::grade::Sticky;
use crate::inputs::{Growth, Inputs, Seen};
use crate::policy::Policy;

/// An input that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settable {
    /// Name, as in `set.<input>=`.
    pub name: String,
    /// `bytes`, `count`, `ms` …
    pub unit: String,
    /// What it is now; none while it is not known.
    pub value: Option<f64>,
}

/// Overrides that make no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{input}: {reason}")]
pub struct BadOverride {
    /// Which input.
    pub input: &'static str,
    /// What is wrong and what is allowed.
    pub reason: String,
}

macro_rules! settable {
    ($($(#[$doc:meta])* $name:ident: $kind:ty, $unit:literal;)*) => {
        /// Inputs to replace; all of the same names as in `set.<input>=` of the API.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Overrides {
            $($(#[$doc])* #[serde(skip_serializing_if = "Option::is_none")] pub $name: Option<$kind>,)*
            /// Bytes per day that memory grows by.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub growth_bytes_per_day: Option<f64>,
            /// Names of gates whose condition is cleared.
            #[serde(skip_serializing_if = "Vec::is_empty")]
            pub gates_cleared: Vec<String>,
        }

        impl Overrides {
            /// Names of everything that can be set.
            pub const NAMES: &[&str] =
                &[$(stringify!($name),)* "growth_bytes_per_day", "gates_cleared"];

            fn replace_all(&self, out: &mut Inputs) {
                $(if let Some(value) = self.$name { out.$name = Seen::Known(value); })*
            }

            fn check_all(&self, inputs: &Inputs) -> Result<(), BadOverride> {
                $(check(stringify!($name), self.$name.map(f64::from), inputs.$name.map(|_| ()))?;)*
                Ok(())
            }

            fn list(inputs: &Inputs, list: &mut Vec<Settable>) {
                $(if !matches!(inputs.$name, Seen::NotApplicable(_)) {
                    list.push(Settable {
                        name: stringify!($name).into(),
                        unit: $unit.into(),
                        value: inputs.$name.known().map(f64::from),
                    });
                })*
            }
        }
    };
}

settable! {
    /// `maxmemory`, bytes; 0 = no limit.
    maxmemory_bytes: f64, "bytes";
    /// `used_memory`, bytes; the forecast's level moves with it.
    used_memory_bytes: f64, "bytes";
    /// `maxclients`.
    maxclients: f64, "count";
    /// `connected_clients`.
    connected_clients: f64, "count";
    /// Replicas that must be there.
    replicas_required: u32, "count";
    /// Replicas that are healthy.
    replicas_healthy: u32, "count";
    /// Slow commands per minute; their time and the slowest one shrink in proportion, 0 removes all.
    slow_per_min: f64, "per_minute";
    /// Share of time the main thread is blocked by slow commands.
    slow_share: f64, "ratio";
    /// Slowest command.
    slow_worst_ms: f64, "ms";
    /// 99th percentile of the busiest commands.
    command_p99_ms: f64, "ms";
    /// 99th percentile of the control probes.
    probe_p99_ms: f64, "ms";
    /// CPU share of the main thread.
    cpu_ratio: f64, "ratio";
    /// Seconds the replica's link has been down.
    link_down_s: f64, "seconds";
    /// Bytes behind the master.
    lag_bytes: f64, "bytes";
    /// Size of the replication backlog.
    backlog_bytes: f64, "bytes";
    /// Unplanned restarts and role changes in 24 h.
    changes_24h: u32, "count";
    /// Keys evicted in the window.
    evicted: f64, "count";
    /// Resident memory; that of the host moves with it.
    rss_bytes: f64, "bytes";
    /// Memory of the host.
    host_memory_bytes: f64, "bytes";
    /// Fragmentation of the allocator.
    fragmentation: f64, "ratio";
    /// Memory of normal clients.
    client_memory_bytes: f64, "bytes";
    /// Connections rejected in the window.
    rejected: f64, "count";
    /// New connections per second.
    connections_per_s: f64, "per_second";
    /// Clients blocked on lists and streams.
    blocked_clients: f64, "count";
    /// Latest fork.
    fork_s: f64, "seconds";
    /// Latency spikes of at least 100 ms per hour.
    spikes_per_h: f64, "per_hour";
    /// The server's slow-log limit; negative = off.
    slowlog_limit_ms: f64, "ms";
}

/// Gates whose condition can be cleared.
pub const CLEARABLE: &[&str] = &[
    "two_masters",
    "cluster_fail",
    "writes_refused",
    "loading",
    "oom_errors",
    "rejected_connections",
];

fn check(input: &'static str, value: Option<f64>, present: Seen<()>) -> Result<(), BadOverride> {
    let Some(value) = value else { return Ok(()) };
    let bad = |reason: String| Err(BadOverride { input, reason });
    if !value.is_finite() || (value < 0.0 && input != "slowlog_limit_ms") {
        return bad(format!("{value}, allowed are numbers from 0"));
    }
    match present {
        Seen::NotApplicable(why) => bad(format!("does not apply here: {why}")),
        _ => Ok(()),
    }
}

impl Overrides {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Overrides::default()
    }

    /// Whether they can be set on these inputs; the error names the input and what is allowed.
    pub fn check(&self, inputs: &Inputs) -> Result<(), BadOverride> {
        self.check_all(inputs)?;
        check("growth_bytes_per_day", self.growth_bytes_per_day, inputs.growth.map(|_| ()))?;
        match self.gates_cleared.iter().find(|g| !CLEARABLE.contains(&g.as_str())) {
            None => Ok(()),
            Some(gate) => Err(BadOverride {
                input: "gates_cleared",
                reason: format!(
                    "{:?} is no gate of an instance; allowed are {}",
                    gate.chars().take(40).collect::<String>(),
                    CLEARABLE.join(", ")
                ),
            }),
        }
    }

    /// Everything that can be set on these inputs, with its present value.
    pub fn settable(inputs: &Inputs) -> Vec<Settable> {
        let mut list = Vec::new();
        Overrides::list(inputs, &mut list);
        if let Seen::Known(growth) = inputs.growth {
            list.push(Settable {
                name: "growth_bytes_per_day".into(),
                unit: "bytes".into(),
                value: Some(growth.bytes_per_day),
            });
        }
        list
    }

    /// The inputs with these values in place.
    pub fn apply(&self, inputs: &Inputs) -> Inputs {
        let mut out = inputs.clone();
        self.replace_all(&mut out);
        self.follow(inputs, &mut out);
        self.clear_gates(&mut out);
        out
    }

    /// What moves with the inputs that were set, unless it was set itself.
    fn follow(&self, old: &Inputs, out: &mut Inputs) {
        if let Seen::Known(growth) = &mut out.growth {
            let moved = self.used_memory_bytes.zip(old.used_memory_bytes.known());
            growth.level_bytes += moved.map_or(0.0, |(new, old)| new - old);
            growth.bytes_per_day = self.growth_bytes_per_day.unwrap_or(growth.bytes_per_day);
        } else if let Some(bytes_per_day) = self.growth_bytes_per_day {
            let level_bytes = out.used_memory_bytes.known().unwrap_or(0.0);
            out.growth = Seen::Known(Growth { level_bytes, bytes_per_day });
        }
        // With that much room nothing would have been evicted.
        let room = self.maxmemory_bytes.zip(out.used_memory_bytes.known());
        out.evicted_24h &= room.is_none_or(|(limit, used)| limit > 0.0 && limit <= used);
        let grown = self.rss_bytes.zip(old.rss_bytes.known()).map_or(0.0, |(new, old)| new - old);
        out.host_rss_bytes = out.host_rss_bytes.map(|all| (all + grown).max(0.0));
        if let Some(rate) = self.slow_per_min {
            let part = old.slow_per_min.known().filter(|r| *r > 0.0).map_or(1.0, |r| rate / r);
            if self.slow_share.is_none() {
                out.slow_share = out.slow_share.map(|share| share * part);
            }
            if rate <= 0.0 && self.slow_worst_ms.is_none() {
                out.slow_worst_ms = out.slow_worst_ms.map(|_| 0.0);
            }
        }
        // The gate and C2 look at the same counter.
        if let Some(rejected) = self.rejected {
            out.alarms.rejected_connections = rejected > 0.0;
        }
    }

    fn clear_gates(&self, inputs: &mut Inputs) {
        let alarms = &mut inputs.alarms;
        for gate in &self.gates_cleared {
            match gate.as_str() {
                "two_masters" => alarms.two_masters = false,
                "cluster_fail" => alarms.cluster_fail = false,
                "writes_refused" => alarms.writes_refused = false,
                "loading" => alarms.loading = false,
                "oom_errors" => alarms.oom_errors = false,
                "rejected_connections" => {
                    alarms.rejected_connections = false;
                    inputs.rejected = inputs.rejected.map(|_| 0.0);
                }
                _ => {}
            }
        }
    }
}

/// Explains the inputs with overrides; the grade is the plain band of that score.
pub fn whatif(
    inputs: &Inputs,
    overrides: &Overrides,
    policy: &Policy,
    id: &InstanceId,
    now: At,
) -> Explained {
    explain(&overrides.apply(inputs), policy, id, &mut Sticky::default(), now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{T0, healthy, id};
    use model::service::Profile;

    fn set(text: &str) -> Result<Overrides, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn an_input_nobody_knows_is_refused_with_those_that_are_known() {
        let said = set(r#"{"maxmemory": 1}"#).unwrap_err().to_string();
        for name in Overrides::NAMES {
            assert!(said.contains(&format!("`{name}`")), "{name}: {said}");
        }
    }

    #[test]
    fn what_does_not_apply_or_is_no_number_is_refused() {
        let refused = |text: &str| set(text).unwrap().check(&healthy()).unwrap_err().to_string();
        let said = refused(r#"{"link_down_s": 3}"#);
        assert_eq!(said, "link_down_s: does not apply here: not a replica");
        assert!(refused(r#"{"maxclients": -1}"#).starts_with("maxclients: -1, allowed"));
        let said = refused(r#"{"gates_cleared": ["down"]}"#);
        assert!(said.contains("\"down\" is no gate of an instance; allowed are two_masters"));
        assert_eq!(set(r#"{"slowlog_limit_ms": -1}"#).unwrap().check(&healthy()), Ok(()));
    }

    #[test]
    fn everything_that_can_be_set_is_listed_with_its_present_value_and_takes_effect() {
        let policy = Policy::for_profile(Profile::Store);
        let listed = Overrides::settable(&healthy());
        let not_here = ["link_down_s", "lag_bytes", "gates_cleared"];
        let wanted: Vec<&str> =
            Overrides::NAMES.iter().copied().filter(|n| !not_here.contains(n)).collect();
        assert_eq!(listed.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), wanted);
        let same: serde_json::Map<String, serde_json::Value> = listed
            .iter()
            .map(|s| {
                let value = s.value.unwrap();
                let whole = value.fract() == 0.0;
                (s.name.clone(), if whole { (value as i64).into() } else { value.into() })
            })
            .collect();
        let overrides: Overrides = serde_json::from_value(same.into()).unwrap();
        assert_eq!(overrides.apply(&healthy()), healthy(), "the present values change nothing");
        let worse = Overrides { rss_bytes: Some(60e9), ..Overrides::default() };
        let explained = whatif(&healthy(), &worse, &policy, &id(), T0);
        assert!(explained.bars.iter().any(|b| b.signal == "M3"), "host memory follows");
    }
}
