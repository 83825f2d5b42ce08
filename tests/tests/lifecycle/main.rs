//! Nodes come, go and are replaced under continuous writers, and the process dies at every point of
//! each operation: it ends all the same, nothing acknowledged is lost, nothing is left behind.
#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as a test may")]
#![cfg(feature = "fault")]

mod course;
mod drills;
mod keep;
mod replicas;
mod rolling;
mod shards;
mod zones;
