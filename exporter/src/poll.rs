//! One poll of one Redis: a kept connection, one pipelined write, one deadline.
//!
//! Invariant: a poll always ends by its deadline and always yields a reading; a failure is data with a
//! reason. A connection that failed in any way is dropped, never used again. Refuses to know what a
//! failure means for the verdict or the score.

use std::sync::Arc;
use std::time::{Duration, Instant};

use link::reply::info::Folds;
use link::{Link, Target};
use model::At;
use model::reading::{Failure, Reading, Reason};
use model::service::InstanceKind;

use crate::ask::{Asker, Gathered};
use crate::backoff::Backoff;
use crate::config::{Config, Profile};
use crate::encode;
use crate::item::{Compiled, Items};
use crate::tier::{Tiers, Wishes};

mod slower;

/// Exchanges in one poll at most: the first, one after learning version or cluster, one after
/// learning a cluster's epoch or a Sentinel's masters.
const ROUNDS_MAX: usize = 3;

/// Reads one instance. Owned by its watch task.
pub struct Poller {
    target: Target,
    kind: InstanceKind,
    deadline: Duration,
    interval_ms: u32,
    kept: Option<(Link, Asker)>,
    backoff: Backoff,
    seed: u64,
    failed_in_row: u32,
    last_failure: Option<Failure>,
    connect_us: u32,
    tiers: Tiers,
    pings: slower::Pings,
    items: Items,
    folds: Folds,
}

impl Poller {
    /// A poller of the instance at `target`; `deadline` covers a whole poll.
    pub fn new(target: Target, kind: InstanceKind, deadline: Duration) -> Poller {
        let seed = target.address.bytes().fold(17, |h: u64, b| h.wrapping_mul(131) + u64::from(b));
        Poller {
            target,
            kind,
            deadline,
            interval_ms: 15_000,
            kept: None,
            backoff: Backoff::default(),
            seed,
            failed_in_row: 0,
            last_failure: None,
            connect_us: 0,
            tiers: Tiers::new(seed, Wishes::of(&Config::default())),
            pings: slower::Pings::default(),
            items: Items::default(),
            folds: Folds::default(),
        }
    }

    /// Takes a changed address or secret: the next poll connects anew, at once.
    pub fn set_target(&mut self, target: Target) {
        self.target = target;
        self.kept = None;
        self.backoff.reset();
    }

    /// Sets the interval that readings report, milliseconds; 15 000 until called.
    pub fn set_interval_ms(&mut self, interval_ms: u32) {
        self.interval_ms = interval_ms;
    }

    /// Sets the profile, which says how many commands and errors have series of their own; full until
    /// called. What was chosen before is forgotten.
    pub fn set_profile(&mut self, profile: Profile) {
        self.folds = encode::folds(profile);
    }

    /// Reads what this configuration wants, and chooses for its profile; as the default until called.
    pub fn set_config(&mut self, config: &Config) {
        self.tiers.set_wishes(Wishes::of(config));
        self.set_profile(config.profile);
    }

    /// Failed probes in a row, polls and [`Poller::probe`] together; 0 after a good one.
    pub fn failed_in_row(&self) -> u32 {
        self.failed_in_row
    }

    /// Polls once. Never fails: what went wrong is in the reading. While the target is backed off
    /// (only with polls faster than 10 s apart, or when it turns us away) nothing is sent and the last
    /// failure is repeated without counting as a probe.
    pub async fn poll(&mut self, began: At) -> Reading {
        let start = Instant::now();
        if self.kept.is_none() && self.backoff.holds(start) {
            return self.reading(began, start, Gathered::default(), self.last_failure.clone());
        }
        let mut got = Gathered::lent(std::mem::take(&mut self.folds));
        let ended = self.exchange(start, began, &mut got).await;
        self.folds = std::mem::take(&mut got.folds);
        if let Err(e) = ended {
            self.kept = None;
            got.failure.get_or_insert(Failure { reason: e.reason, detail: e.detail });
        }
        got.facts.time_skew_s = slower::skew_s(&got, began, start.elapsed());
        got.facts.ping = self.pings.push(began, got.ping_us);
        let limits = (start, self.deadline);
        let (tiers, kept) = (&mut self.tiers, &mut self.kept);
        slower::ask(tiers, kept, self.kind, limits, began, &mut got).await;
        let failure = self.settle(&got);
        let mut reading = self.reading(began, start, got, failure);
        self.read_items(&mut reading, left(start, self.deadline)).await;
        reading
    }

    /// Takes the custom items of the instance; from the next poll on they are read.
    pub fn set_items(&mut self, plan: Arc<[Arc<Compiled>]>) {
        self.items.set(plan);
    }

    async fn read_items(&mut self, reading: &mut Reading, left: Duration) {
        let Some((link, _)) = &mut self.kept else { return };
        if !reading.up || self.items.is_empty() || self.kind == InstanceKind::Sentinel {
            return;
        }
        if !self.items.round(link, &mut reading.facts, reading.began, left).await {
            self.kept = None;
        }
    }

    /// Connects anew, authenticates and sends PING, apart from the kept connection: what a new client
    /// would see. Answers the whole time in µs. Counts into [`Poller::failed_in_row`].
    pub async fn probe(&mut self) -> Result<u32, link::Error> {
        let start = Instant::now();
        let answered = async {
            let mut link = link::dial(&self.target, self.deadline).await?;
            link.call(&["PING"], left(start, self.deadline)).await
        };
        match answered.await {
            Ok(_) => {
                self.failed_in_row = 0;
                self.backoff.reset();
                Ok(micros(start))
            }
            Err(e) => {
                self.failed_in_row = self.failed_in_row.saturating_add(1);
                Err(e)
            }
        }
    }

    async fn exchange(
        &mut self,
        start: Instant,
        now: At,
        got: &mut Gathered,
    ) -> Result<(), link::Error> {
        let was_kept = self.kept.is_some();
        match self.rounds(start, now, got).await {
            // The server closed the idle connection (its `timeout`, a restart): nothing was answered
            // and everything we send only reads, so the same poll may ask again.
            Err(e) if was_kept && e.reason == Reason::Reset && !self.heard() => {
                self.kept = None;
                self.rounds(start, now, got).await
            }
            ended => ended,
        }
    }

    fn heard(&self) -> bool {
        self.kept.as_ref().is_some_and(|(link, _)| link.heard())
    }

    async fn rounds(
        &mut self,
        start: Instant,
        now: At,
        got: &mut Gathered,
    ) -> Result<(), link::Error> {
        if self.kept.is_none() {
            let link = link::dial(&self.target, left(start, self.deadline)).await?;
            self.connect_us = link.connect_us();
            self.kept = Some((link, Asker::new(self.kind)));
        }
        let Some((link, asker)) = &mut self.kept else { return Ok(()) };
        let script = asker.begin(now);
        let asks = script.asks.clone();
        let replies = link.pipeline(&script.packed, left(start, self.deadline)).await?;
        let first_us = link.first_us();
        let mut more = asker.take(&asks, replies, got);
        got.ping_us = first_us.filter(|_| got.pong);
        for _ in 1..ROUNDS_MAX {
            let Some(script) = more else { break };
            let replies = link.pipeline(&script.packed, left(start, self.deadline)).await?;
            more = asker.take(&script.asks, replies, got);
        }
        asker.finish(got);
        got.facts.certificate_ends_at_s = link.certificate_ends_at().map(|s| s as f64);
        Ok(())
    }

    /// Counts the outcome; answers the failure the reading carries.
    fn settle(&mut self, got: &Gathered) -> Option<Failure> {
        if got.info {
            self.failed_in_row = 0;
            self.backoff.reset();
            self.last_failure.clone_from(&got.failure);
            return got.failure.clone();
        }
        let failure = got.failure.clone().unwrap_or(Failure {
            reason: Reason::Protocol,
            detail: "INFO was not answered with text".into(),
        });
        self.failed_in_row = self.failed_in_row.saturating_add(1);
        // A server that answers with an error keeps its connection; all else starts anew.
        let answers = matches!(
            failure.reason,
            Reason::Loading | Reason::Busy | Reason::Masterdown | Reason::Noperm
        );
        if !answers {
            self.kept = None;
            self.backoff.failed(Instant::now(), failure.reason, self.seed);
        }
        self.last_failure = Some(failure.clone());
        Some(failure)
    }

    fn reading(
        &self,
        began: At,
        start: Instant,
        got: Gathered,
        failure: Option<Failure>,
    ) -> Reading {
        let duration_us = micros(start);
        Reading {
            at: began + i64::from(duration_us / 1000),
            began,
            up: got.info,
            failure,
            ping_us: got.ping_us,
            duration_us,
            connect_us: self.connect_us,
            failed_in_row: self.failed_in_row,
            interval_ms: self.interval_ms,
            facts: if got.info { got.facts } else { Default::default() },
        }
    }
}

fn left(start: Instant, deadline: Duration) -> Duration {
    deadline.saturating_sub(start.elapsed())
}

fn micros(start: Instant) -> u32 {
    u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX)
}
