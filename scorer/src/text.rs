//! One plain sentence per lost point, with value and limit.
//!
//! Invariant: numbers come from the inputs; text written by a server is not repeated here except
//! the eviction policy, which is one of Redis' own words.

use crate::inputs::Inputs;
use crate::measure::Measure;
use crate::policy::Policy;
use crate::signal::Signal;

/// Unit of a measure, also of a signal's second form.
pub(crate) fn unit(signal: Signal, measure: &Measure) -> &'static str {
    match signal {
        Signal::S6 if measure.second => "per_hour",
        _ => signal.info().unit,
    }
}

/// The sentence of a signal that loses points.
pub(crate) fn signal(
    signal: Signal,
    measure: &Measure,
    inputs: &Inputs,
    policy: &Policy,
) -> String {
    let value = measure.value;
    match signal {
        Signal::A1 | Signal::A2 | Signal::A3 | Signal::A4 => probes_and_link(signal, value, inputs),
        Signal::A5 => {
            let wanted = inputs.replicas_required.known().unwrap_or(0);
            let healthy = inputs.replicas_healthy.known().unwrap_or(0);
            let noun = if wanted == 1 { "replica" } else { "replicas" };
            format!("{} of {wanted} {noun} missing", wanted.saturating_sub(healthy))
        }
        Signal::A6 => format!("{value:.0} unplanned restarts and role changes in 24 h"),
        Signal::A7 => match value as u8 {
            3 => "the latest write to the append-only file failed".into(),
            2 => "the latest background save failed".into(),
            _ => "the latest rewrite of the append-only file failed".into(),
        },
        Signal::A8 if value > 0.0 => {
            format!("{} of the hash slots are not served", percent(value))
        }
        Signal::A8 => "a node or slot is suspected to fail (pfail)".into(),
        Signal::M1 | Signal::M1c | Signal::M3 | Signal::M7 => fill(signal, measure, inputs),
        Signal::M2 => {
            let keys = inputs.evicted.known().unwrap_or(0.0);
            format!("{keys:.0} keys evicted in the window, {} of commands", percent(value))
        }
        Signal::M4 => {
            let lost = inputs.fragmentation_bytes.known().unwrap_or(0.0);
            format!("memory is fragmented {value:.2} times, {} lost", bytes(lost))
        }
        Signal::M5 if value < 0.5 => "memory is full today".into(),
        Signal::M5 => format!("full in {value:.0} days"),
        Signal::M6 => format!("overhead is {} of maxmemory", percent(value)),
        Signal::M8 => format!("only {value:.2} of used memory is resident: swapping is suspected"),
        Signal::C1 => {
            let (n, max) = (inputs.connected_clients.known(), inputs.maxclients.known());
            let of = n.zip(max).map_or(String::new(), |(n, max)| format!(" ({n:.0} of {max:.0})"));
            format!("{} of maxclients{of}", percent(value))
        }
        Signal::C2 => format!("{value:.0} connections rejected in the window"),
        Signal::C3 => format!("{value:.0} new connections per second"),
        Signal::C4 => format!("{value:.1} times the usual number of connections"),
        Signal::C5 => buffers(value, inputs),
        Signal::C6 => format!("{} of clients are blocked", percent(value)),
        _ => slow(signal, measure, inputs, policy),
    }
}

fn probes_and_link(signal: Signal, value: f64, inputs: &Inputs) -> String {
    match signal {
        Signal::A1 => {
            let (failed, all) = inputs.probes.known().unwrap_or_default();
            format!("{failed} of {all} probes failed")
        }
        Signal::A2 => format!("PING takes {value:.1} ms (99th percentile)"),
        Signal::A3 => format!("the link to its master has been down for {value:.0} s"),
        _ => {
            let lag = inputs.lag_bytes.known().unwrap_or(0.0);
            let backlog = inputs.backlog_bytes.known().unwrap_or(0.0);
            format!("{} behind its master, backlog is {}", bytes(lag), bytes(backlog))
        }
    }
}

fn fill(signal: Signal, measure: &Measure, inputs: &Inputs) -> String {
    let share = percent(measure.value);
    let (used, of) = match (signal, measure.second) {
        (Signal::M1 | Signal::M1c, false) => (inputs.used_memory_bytes, inputs.maxmemory_bytes),
        _ => (inputs.host_rss_bytes, inputs.host_memory_bytes),
    };
    let amounts = used.known().zip(of.known()).map_or(String::new(), |(a, b)| pair(a, b));
    match signal {
        Signal::M1 if measure.second => {
            format!("maxmemory is not set; {share} of host memory is resident ({amounts})")
        }
        Signal::M1 | Signal::M1c => {
            let policy = match inputs.maxmemory_policy.as_str() {
                "" => String::new(),
                policy => format!(", {policy}"),
            };
            format!("used {share} of maxmemory ({amounts}){policy}")
        }
        Signal::M3 => format!("{share} of host memory is resident ({amounts})"),
        _ => {
            let guess = inputs.cow_bytes.known().is_some_and(|(_, guess)| guess);
            let word = if guess { ", copy-on-write estimated" } else { "" };
            format!("a fork would need {share} of host memory{word}")
        }
    }
}

fn buffers(value: f64, inputs: &Inputs) -> String {
    match inputs.buffer_disconnections.known() {
        Some(n) if n > 0.0 => format!(
            "{n:.0} clients cut off at their output buffer limit, buffers hold {} of maxmemory",
            percent(value)
        ),
        _ => format!("client buffers hold {} of maxmemory", percent(value)),
    }
}

fn slow(signal: Signal, measure: &Measure, inputs: &Inputs, policy: &Policy) -> String {
    let value = measure.value;
    let least = if inputs.slow_partial { "at least " } else { "" };
    match signal {
        Signal::S1 => format!("{value:.1} slow commands/min{}", server_limit(inputs, policy)),
        Signal::S2 => format!("slow commands block {least}{} of the time", percent(value)),
        Signal::S3 => format!("the slowest command took {least}{value:.0} ms"),
        Signal::S4 => format!("busiest commands take {value:.1} ms (99th percentile)"),
        Signal::S5 => format!("the main thread uses {} of a processor", percent(value)),
        Signal::S6 if measure.second => {
            format!("{value:.0} latency spikes of 100 ms or more in the last hour")
        }
        Signal::S6 => format!("the latest fork stopped it for {:.0} ms", value * 1000.0),
        _ => match inputs.slowlog_limit_ms.known() {
            Some(ms) if ms < 0.0 => "the slow log is switched off".into(),
            Some(ms) => format!("the slow log starts at {ms:.0} ms, above 100 ms it is blind"),
            None => "the slow log is blind".into(),
        },
    }
}

/// Slow commands are counted from the server's own limit on; said when it is above the policy's.
fn server_limit(inputs: &Inputs, policy: &Policy) -> String {
    match inputs.slowlog_limit_ms.known() {
        Some(ms) if ms > policy.slowlog_limit_ms => {
            format!(" (counted from the server's limit of {ms:.0} ms)")
        }
        _ => String::new(),
    }
}

/// `88 %`, `6.5 %`, `0.05 %`.
pub(crate) fn percent(ratio: f64) -> String {
    let p = ratio * 100.0;
    match p {
        _ if (9.95..99.5).contains(&p) => format!("{p:.0} %"),
        _ if p >= 1.0 => format!("{p:.1} %"),
        _ => format!("{p:.2} %"),
    }
}

const UNITS: [(f64, &str); 4] = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];

fn scale(bytes: f64) -> (f64, &'static str) {
    UNITS.into_iter().find(|(size, _)| bytes >= *size).unwrap_or((1.0, "bytes"))
}

/// `8.8 GB`.
pub(crate) fn bytes(bytes: f64) -> String {
    match scale(bytes) {
        (_, "bytes") => format!("{bytes:.0} bytes"),
        (size, name) => format!("{:.1} {name}", bytes / size),
    }
}

/// `8.8 of 10.0 GB`.
fn pair(used: f64, all: f64) -> String {
    let (size, name) = scale(all);
    format!("{:.1} of {:.1} {name}", used / size, all / size)
}
