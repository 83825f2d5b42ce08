//! Everything that changes the fleet: plans, the durable step engine, providers, remediation.
//!
//! Invariants: every change is an `Operation` whose intent is committed before anything is sent and
//! whose outcome is read back from the fleet; a worker without a valid lease sends nothing; a
//! time-out is unknown, so it is observed again, never assumed. Refuses to know: who evaluates
//! alerts, HTTP, how scores are made.

pub mod act;
pub mod adopt;
pub mod check;
mod config;
pub mod console;
pub mod engine;
pub mod fault;
#[cfg(test)]
mod fixture;
pub mod params;
pub mod placement;
pub mod plan;
pub mod provider;
pub mod remedy;
pub mod topology;
pub mod words;
mod world;

pub use config::Config;
pub use engine::Engine;
pub use remedy::Remedy;
pub use world::{InventoryNow, TargetOf, World};
