//! What whole-product tests share: real servers on loopback, started and stopped by the test.
//!
//! Invariant: a test stops only processes it started, by pid; every port is free when chosen; a
//! missing program is a failure, never a silent skip.

pub mod alertmanager;
pub mod disk;
pub mod exposition;
pub mod fleet;
pub mod inventory;
pub mod load;
pub mod nodes;
pub mod pg;
pub mod process;
pub mod prometheus;
pub mod rogue;
pub mod stage;
pub mod wait;
pub mod warden;
