//! Operations and remediation: claims on both database engines, restarts of real nodes, workers
//! that freeze, and what the guards let pass.
#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as a test may")]

mod approvals;
mod claims;
mod incidents;
mod remedy;
mod restart;
mod stage;
mod sweep;
