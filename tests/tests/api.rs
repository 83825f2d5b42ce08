//! The API, the pages and the command line on the real process: who may what, what nobody may, and
//! what is promised to whoever repeats himself.

#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as a test may")]

#[path = "api/away.rs"]
mod away;
#[path = "api/manners.rs"]
mod manners;
#[path = "api/operate.rs"]
mod operate;
#[path = "api/postgres.rs"]
mod postgres;
#[path = "api/respond.rs"]
mod respond;
#[path = "api/rights.rs"]
mod rights;
#[path = "api/sessions.rs"]
mod sessions;
#[path = "api/terminal.rs"]
mod terminal;
#[path = "api/trail.rs"]
mod trail;
#[path = "api/webhook.rs"]
mod webhook;
#[path = "api/world.rs"]
mod world;
