//! The nouns that cross a crate edge, reach disk or go on the wire.
//!
//! Invariant: plain data and pure functions only; two parties that exchange a noun share its one
//! definition. Refuses to know: IO, async, SQL, HTTP, the clock.

pub mod access;
pub mod action;
pub mod adopt;
pub mod alert;
pub mod apply;
pub mod audit;
pub mod backup;
pub mod batch;
pub mod board;
pub mod calendar;
pub mod caller;
pub mod cidr;
pub mod code;
pub mod console;
pub mod detail;
pub mod evidence;
pub mod field;
pub mod health;
pub mod history;
pub mod host;
pub mod id;
pub mod incident;
pub mod inventory;
pub mod item;
pub mod maintenance;
pub mod matcher;
pub mod operation;
pub mod outlook;
pub mod parameter;
pub mod plan;
pub mod policy;
pub mod quality;
pub mod reading;
pub mod refusal;
pub mod right;
pub mod risk;
pub mod row;
pub mod runbook;
pub mod score;
pub mod score_policy;
pub mod secret;
pub mod service;
pub mod silence;
pub mod tenant;
pub mod time;
pub mod verdict;
pub mod view;
pub mod zone_loss;

pub use id::{HostId, InstanceId, ServiceId, SiteId, SystemId, TenantId, ZoneId};
pub use time::At;
