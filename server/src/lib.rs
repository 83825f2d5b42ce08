//! The process: configuration, loops, HTTP, wiring.
//!
//! Invariant: only this crate reads the clock, owns loops and spawns; the others are rounds and pure
//! functions it calls. Nothing is shared but `App`, and its big parts are swapped whole.

pub mod api;
pub mod app;
mod around;
pub mod auth;
mod backtest;
mod certificates;
pub mod config;
pub mod demo;
mod descriptors;
mod drift;
mod evidence;
mod facts;
pub mod history;
mod http;
pub mod inventory_file;
mod items;
pub mod live;
pub mod logs;
pub mod loops;
mod migrate;
pub mod openapi;
mod policies;
mod prometheus;
mod quality;
pub mod reach;
mod recent;
mod rollup;
mod rules;
mod samples;
mod score_book;
mod scoring;
pub mod self_metrics;
mod serve;
mod shadow;
mod slo;
mod topology;
mod usage;
mod vantage;
mod watch;
mod watchers;

pub use alerter::backtest::tests as policy_tests;

pub use config::{Config, ConfigError, check};
pub use migrate::migrate;
pub use serve::serve;

/// The hash of a password as `ACL SETUSER` takes it behind `#`: SHA-256, lower-case hex.
pub fn acl_hash(password: &str) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(password))
}

/// Version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
