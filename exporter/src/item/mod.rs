//! Custom monitoring items: figures that tenants define, read beside a poll's own.
//!
//! Invariant: a definition becomes a command only by `check`; what is read is a number, or absent
//! with a reason. Refuses to know stores, callers and policies.

mod check;
mod command;
mod expr;
mod lua;
mod path;
mod peer;
mod plan;
mod read;
mod run;
mod trial;

pub use check::{Compiled, SCAN_KEYS_MAX, compile};
pub use command::Class;
pub use path::SERIES_MAX;
pub use plan::{COMMANDS_PER_MIN_MAX, ITEMS_MAX, Plan, SERIES_PER_INSTANCE_MAX, resolve};
pub use read::applies;
pub use trial::{Trial, try_once};

pub(crate) use run::Items;
