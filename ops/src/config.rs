//! `[ops]` of the configuration file.

use std::path::PathBuf;

use model::At;
use model::caller::{Caller, Via};
use model::plan::Plan;
use serde::{Deserialize, Serialize};
use store::Waiting;

use crate::provider;

/// Shortest lease: below it one slow commit (2 s) would already stop a run.
const LEASE_S_MIN: u64 = 6;
/// Longest: what a crashed process may keep an operation waiting.
const LEASE_S_MAX: u64 = 120;

/// Level of plans that destroy.
const DESTROYS: u8 = 4;
/// Longest wait before they begin: beyond an hour the plan has grown old.
const DESTROY_WAIT_S_MAX: u32 = 3_600;
/// How long somebody may take to approve, ms.
const APPROVE_MS: i64 = 24 * 3_600_000;

/// Section `[ops]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Length of a worker's lease on an operation, seconds.
    pub lease_s: u64,
    /// Who starts and stops processes.
    pub provider: Vec<provider::Config>,
    /// While this file exists, nothing acts by itself: the kill switch for whoever has a shell but
    /// no portal.
    pub kill_file: Option<PathBuf>,
    /// Danger level from which a plan made by a person needs another person's word: 3, 4, or 5 where
    /// nobody else is there to ask.
    pub second_person_from: u8,
    /// How long a plan of level 4 can still be cancelled before it begins, seconds.
    pub destroy_wait_s: u32,
    /// Where backups are kept, on this machine; none: there are none.
    pub backup_dir: Option<PathBuf>,
    /// Calendars that freeze: while one of them is open, nothing of level 2 and above may be planned.
    pub freeze_calendars: Vec<String>,
    /// How long a restarted node must be seen up, with its link up, to count as recovered, seconds.
    pub up_for_s: u32,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            lease_s: 15,
            provider: Vec::new(),
            kill_file: None,
            second_person_from: DESTROYS,
            destroy_wait_s: 300,
            backup_dir: None,
            freeze_calendars: Vec::new(),
            up_for_s: 60,
        }
    }
}

impl Config {
    /// Refuses values that cannot work, naming key and limit.
    pub fn check(&self) -> Result<(), String> {
        if !(LEASE_S_MIN..=LEASE_S_MAX).contains(&self.lease_s) {
            return Err(format!(
                "ops.lease_s = {}: allowed are {LEASE_S_MIN} to {LEASE_S_MAX}",
                self.lease_s
            ));
        }
        let (min, max) =
            (crate::plan::node_restart::UP_FOR_S_MIN, crate::plan::node_restart::UP_FOR_S_MAX);
        if !(min..=max).contains(&self.up_for_s) {
            return Err(format!("ops.up_for_s = {}: allowed are {min} to {max}", self.up_for_s));
        }
        if !(3..=5).contains(&self.second_person_from) {
            let given = self.second_person_from;
            return Err(format!("ops.second_person_from = {given}: allowed are 3 to 5"));
        }
        if let Some(id) = self.freeze_calendars.iter().find(|id| !model::id::is_slug(id)) {
            return Err(format!("ops.freeze_calendars: {id:?} is no id of a calendar"));
        }
        if self.destroy_wait_s > DESTROY_WAIT_S_MAX {
            let given = self.destroy_wait_s;
            return Err(format!(
                "ops.destroy_wait_s = {given}: allowed are 0 to {DESTROY_WAIT_S_MAX}"
            ));
        }
        if let Some(file) = self.kill_file.as_ref().filter(|f| f.is_relative()) {
            return Err(format!("ops.kill_file = {file:?}: expected a whole path, from /"));
        }
        if let Some(dir) = self.backup_dir.as_ref().filter(|d| d.is_relative()) {
            return Err(format!("ops.backup_dir = {dir:?}: expected a whole path, from /"));
        }
        self.providers()
    }

    /// What a plan made by `caller` waits for before it begins. What the process makes by itself has
    /// passed its own guards.
    pub(crate) fn waiting(&self, plan: &Plan, caller: &Caller, now: At) -> Waiting {
        if caller.via == Via::System {
            return Waiting::default();
        }
        Waiting {
            needed: u32::from(plan.level >= self.second_person_from),
            until: now + APPROVE_MS,
            delay_ms: self.delay_ms(plan.level),
        }
    }

    /// How long a plan of that level can still be cancelled, ms.
    pub(crate) fn delay_ms(&self, level: u8) -> i64 {
        if level >= DESTROYS { i64::from(self.destroy_wait_s) * 1000 } else { 0 }
    }

    /// Names and folders are whole and each stands once: two providers in one folder would stop
    /// each other's nodes.
    fn providers(&self) -> Result<(), String> {
        for (n, provider) in self.provider.iter().enumerate() {
            let key = format!("ops.provider[{n}]");
            let provider::Config { name, dir, .. } = provider;
            let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if name.is_empty() || !name.chars().all(fine) {
                return Err(format!("{key}.name = {name:?}: allowed are a-z, 0-9 and '-'"));
            }
            if dir.is_relative() {
                return Err(format!("{key}.dir = {dir:?}: expected a whole path, from /"));
            }
            let before = &self.provider[..n];
            if before.iter().any(|p| p.name == *name) {
                return Err(format!("{key}.name = {name:?}: another provider has that name"));
            }
            if let Some(other) = before.iter().find(|p| p.dir == *dir) {
                let other = &other.name;
                return Err(format!("{key}.dir = {dir:?}: that is the folder of {other}"));
            }
        }
        Ok(())
    }
}
