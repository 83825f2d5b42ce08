//! All durable state, on SQLite or PostgreSQL by the same statements.
//!
//! Invariant: every method that touches tenant data takes `&Caller`, authorises, and writes the
//! audit record in the transaction of the change. Nothing is answered as done before its commit.
//! Refuses to know: Redis, HTTP, scores, what an alert or an operation means.

#[macro_use]
mod tx;

mod account;
mod alert;
mod approval;
mod audit;
mod backup;
mod calendar;
mod config;
mod delivery;
mod engine;
mod error;
mod evacuation;
mod evidence;
mod explained;
#[cfg(feature = "fault")]
pub mod fault;
mod grade;
mod grant;
mod history;
mod housekeeping;
mod idempotency;
mod incident;
mod intake;
mod inventory;
mod item;
mod lock;
mod login;
mod maintenance;
mod migrate;
mod nonce;
mod notification;
mod operation;
mod parameter;
mod policy;
mod quality;
mod reconcile;
mod rotation;
mod runbook;
mod scoped;
mod score_policy;
mod secret;
mod session;
mod setting;
mod sighting;
mod silence;
mod slowlog;
mod token;
mod usage;

pub use account::{Account, NewAccount};
pub use alert::{
    ALERT_KEPT_MS, AlertFact, AlertFilter, FACT_MS, MASS_EVENT_ALERTS, TOMBSTONE_MS, spread,
};
pub use approval::{Decision, Waiting};
pub use audit::{AuditEntry, AuditPage, ChainFault, ChainReport};
pub use calendar::CalendarRow;
pub use config::{Config, Migrate};
pub use delivery::{AlertWrite, DeliveryMark, RefusedWrite, Retained, SavedState};
pub use error::Error;
pub use explained::{EXPLAINED_KEPT_MS, Shown};
pub use grade::SavedGrades;
pub use history::HistoryFilter;
pub use idempotency::{KEPT_MS, KEY_MAX, Replay};
pub use incident::{IncidentFilter, RemedyAction};
pub use intake::{Effect, Known, Posted};
pub use inventory::{Apply, UNASSIGNED, inventory_check};
pub use item::ItemChange;
pub use login::LoginAttempt;
pub use maintenance::NewMaintenance;
pub use operation::{
    CLAIM_CHARGE_MS, Change, Claim, Holder, Line, NewOperation, OperationFilter, right_of_level,
};
pub use policy::PolicyChange;
pub use rotation::{SECRET_CONSOLE, SECRET_NEXT, SECRET_OLD};
pub use runbook::{KillSwitch, NewMode, effective as runbook_mode_effective};
pub use score_policy::ScorePolicyChange;
pub use secret::{SECRET_REDIS, SECRET_SENTINEL, new_key, secret_id};
pub use session::{SESSIONS_MAX, SessionRow};
pub use sighting::Sighting;
pub use slowlog::SlowlogKept;
pub use token::{NewToken, TOKEN_DAYS_MAX, TokenKind, TokenRow};
pub use tx::Tx;
pub use usage::UsageDay;

use engine::Pool;

/// Answer of a store method.
pub type Result<T> = std::result::Result<T, Error>;

/// The store of one process. Cheap to clone is not needed: share it in an `Arc`.
pub struct Store {
    pub(crate) pool: Pool,
    pub(crate) seal: secret::Seal,
    _lock: Option<lock::FileLock>,
}
