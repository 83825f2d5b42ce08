//! How to read one Redis (`Poller`) and how to say the fleet in Prometheus' format (`catalog`,
//! `encode`, `sd`), with the topology that follows from readings.
//!
//! Invariant: pages are rendered from rows, never by asking a Redis; each metric is stated once, in
//! `catalog`. Refuses to know: stores, policies, what a score means, HTTP.

mod ability;
mod accept;
pub mod acl;
mod ask;
mod backoff;
pub mod catalog;
mod config;
pub mod encode;
#[cfg(test)]
mod fixture;
pub mod item;
mod modules;
mod poll;
pub mod sd;
mod shard;
mod tier;
pub mod topology;

pub use accept::{Accepted, accept};
pub use config::{Config, Latency, Optional, Profile, Sd};
pub use poll::Poller;
pub use shard::Shard;
