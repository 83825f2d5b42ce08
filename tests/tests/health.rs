//! The score on real servers: each dimension is degraded for real, and score, named bar and grade follow
//! and recover; what is down, what is unknown, what was, and what others see.

#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as a test may")]

#[path = "health/dimensions.rs"]
mod dimensions;
#[path = "health/past.rs"]
mod past;
#[path = "health/service.rs"]
mod service;
#[path = "health/sight.rs"]
mod sight;
#[path = "health/stage.rs"]
mod stage;
