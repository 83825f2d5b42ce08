//! The heart: one task per instance polls, judges, publishes and evaluates, and nothing else writes
//! its row.
//!
//! Invariant: every poll, good or failed, ends in one published row; cycles keep the instance's own
//! phase, so a slow one delays nobody and drifts nowhere; the time of a row never runs backwards.
//! Extra polls (events, turbo) take the same way. Refuses to know what an alert does.

use std::sync::Arc;
use std::time::Duration;

use exporter::Poller;
use model::inventory::Inventory;
use model::reading::{Facts, Failure, Reading, Reason, Role};
use model::row::Row;
use model::score::Explained;
use model::service::{Instance, InstanceKind};
use model::verdict::Verdict;
use model::{At, InstanceId};
use scorer::{Sticky, Window};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::{around, evidence, scoring};

mod accept;
mod desk;
pub(crate) mod events;
mod grades;
mod load;
mod pace;
mod past;
mod places;
mod turns;

use accept::Accepts;
pub(crate) use desk::{AcceptSeen, Desk, Desks, TURBO_MINUTES_MAX, TURBOS_MAX};
pub(crate) use grades::Grades;
pub(crate) use load::Load;
use pace::Pace;
pub(crate) use past::Recall;
pub(crate) use places::Places;
use turns::Turns;

/// When a first failure is looked at again, after it: a restarting server is back by then or not.
const REPEATS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];

/// What the watch tasks share with each other and show to the rest.
#[derive(Default)]
pub(crate) struct Watching {
    /// What all turns are counted from.
    pub anchor: turns::Anchor,
    /// What each task may be asked, and shows besides its row.
    pub desks: Desks,
    /// Grades that outlive the process.
    pub grades: Grades,
    /// Whether the process keeps up.
    pub load: Load,
    /// How many servers are asked at once.
    pub places: Places,
    /// Nodes that servers name and the inventory does not.
    pub strangers: crate::topology::Strangers,
    /// Woken when a Sentinel told of a change.
    pub topology_moved: Notify,
}

/// Watches one instance until `stop`.
pub(crate) async fn watch(app: Arc<App>, id: InstanceId, desk: Arc<Desk>, stop: CancellationToken) {
    let exporter = &app.config.exporter;
    let base = Duration::from_secs(u64::from(exporter.interval_s));
    let every = Duration::from_secs(u64::from(exporter.accept_interval_s));
    let anchor = app.watching.anchor;
    let mut turns = Turns::new(id.clone(), base, anchor, Instant::now());
    let mut accepts = Accepts::new(&id, every, base, anchor);
    let mut watched = Watched::new(&app, id, base, desk);
    loop {
        turns.set_interval(watched.interval(&app, base), Instant::now());
        let (idle, next, probe) = (Instant::now(), turns.next(), accepts.due());
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = sleep_until(next) => {}
            () = watched.desk.rung() => {
                turns.ring(Instant::now());
                continue;
            }
            ended = accepts.ended() => {
                watched.accepted(&app, ended);
                continue;
            }
            () = until(probe) => {
                accepts.begin(&app, &watched.id, Instant::now());
                continue;
            }
        }
        let began = Instant::now();
        if idle <= next {
            app.watching.load.began(began - next);
        }
        watched.set_interval(turns.interval());
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = watched.cycle(&app) => {}
        }
        app.metrics.polls_missed.inc_by(turns.polled(began, Instant::now()));
    }
}

/// Waits until a moment; for ever without one.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// What one task keeps about its instance.
struct Watched {
    id: InstanceId,
    instance: Option<Arc<Instance>>,
    poller: Option<(Poller, link::Target, InstanceKind)>,
    interval_ms: u32,
    window: Window,
    sticky: Sticky,
    last_good: Option<Arc<Reading>>,
    verdict: Option<Verdict>,
    role_since: Option<(Role, At)>,
    silent_since: Option<At>,
    /// Why a new client was not let in at the latest accept probe.
    shut: Option<Failure>,
    pace: Pace,
    desk: Arc<Desk>,
}

impl Watched {
    fn new(app: &App, id: InstanceId, interval: Duration, desk: Arc<Desk>) -> Watched {
        Watched {
            id,
            instance: None,
            poller: None,
            interval_ms: interval.as_millis() as u32,
            window: Window::new(app.config.scorer.window_s),
            sticky: desk.grade(),
            last_good: None,
            verdict: None,
            role_since: None,
            silent_since: None,
            shut: None,
            pace: Pace::default(),
            desk,
        }
    }

    /// Interval in force now: turbo while it lasts, else the usual one, stretched while the process
    /// does not keep up.
    fn interval(&self, app: &App, base: Duration) -> Duration {
        if self.desk.turbo_until(Instant::now()).is_some() {
            return desk::TURBO_INTERVAL.min(base);
        }
        let inventory = app.inventory.load();
        let tier = inventory.services.get(&self.id.service()).map(|s| s.tier);
        base * tier.map_or(1, |tier| app.watching.load.factor(tier))
    }

    /// Takes the interval that readings report.
    fn set_interval(&mut self, interval: Duration) {
        self.interval_ms = interval.as_millis() as u32;
        if let Some((poller, ..)) = &mut self.poller {
            poller.set_interval_ms(self.interval_ms);
        }
    }

    /// Takes in an accept probe: a control probe like the PING of a poll, and known to the next row
    /// when a new client is not let in.
    fn accepted(&mut self, app: &App, ended: accept::Ended) {
        let Some(ended) = ended else { return };
        let at = app.now();
        let ping_us = ended.as_ref().ok().and_then(|a| a.ping_us);
        let failure = ended.as_ref().err().cloned();
        self.window.push_accept(at, ping_us, failure.as_ref().map(|f| f.reason));
        let total_us = ended.ok().map(|a| a.total_us);
        self.desk.set_accept(Some(AcceptSeen { at, total_us, failure: failure.clone() }));
        self.shut = failure;
    }

    /// A server that answers us and nobody new is not well: while the latest accept probe failed,
    /// a good reading says so. What no poll can read is not known any more.
    fn say_shut(&mut self, reading: &mut Reading) {
        if !reading.up {
            self.shut = None;
            self.desk.set_accept(None);
        } else if reading.failure.is_none() {
            reading.failure.clone_from(&self.shut);
        }
    }

    /// One scheduled poll, and its two repeats when it is the first that fails.
    async fn cycle(&mut self, app: &App) {
        let reading = self.poll(app).await;
        let first_failure = reading.failed_in_row == 1 && is_silence(&reading);
        let failed = Instant::now();
        self.excuse(app, reading.at);
        self.window.push(&reading);
        self.publish(app, reading).await;
        if !first_failure {
            return;
        }
        for after in REPEATS {
            sleep_until(failed + after).await;
            let reading = self.repeat(app).await;
            let silent = is_silence(&reading);
            self.excuse(app, reading.at);
            self.window.push_repeat(&reading);
            self.publish(app, reading).await;
            if !silent {
                return;
            }
        }
    }

    /// Restarts and role changes that an operation of ours makes are no unrest.
    fn excuse(&mut self, app: &App, now: At) {
        if app.engine.acting_on(&self.id.service()) {
            self.window.expect_changes_until(now);
        }
    }

    /// poll → verdict → score → Board → alerts: the sample's whole journey.
    async fn publish(&mut self, app: &App, mut reading: Reading) {
        let inventory = app.inventory();
        let Some(instance) = self.instance(&inventory) else { return };
        app.metrics.saw(&reading);
        self.say_shut(&mut reading);
        self.pace.published(reading.at, Instant::now());
        let reading = Arc::new(reading);
        self.silent_since = match is_silence(&reading) {
            true => self.silent_since.or(Some(reading.began)),
            false => None,
        };
        if reading.up {
            self.last_good = Some(reading.clone());
        }
        self.role_since = reading.facts.role.filter(|_| reading.up).map(|role| {
            let begun = self.role_since.filter(|(before, _)| *before == role);
            begun.unwrap_or((role, reading.at))
        });
        let verdict = self.judge(app, &inventory, &instance, &reading);
        let score = self.score(app, &inventory, &instance, &reading, &verdict);
        app.rates.set(&self.id, self.window.rates());
        let row = Row {
            instance,
            reading,
            last_good: self.last_good.clone(),
            role_since: self.role_since.map(|(_, since)| since),
            verdict: verdict.clone(),
            score,
        };
        self.verdict = Some(verdict);
        app.board.publish(row.clone());
        app.alerter.evaluate(&row, app.now());
        if app.prometheus.is_none() {
            app.recent.take(&row, inventory.instances.len());
        }
    }

    fn judge(
        &self,
        app: &App,
        inventory: &Inventory,
        instance: &Instance,
        reading: &Reading,
    ) -> Verdict {
        let evidence = match self.silent_since {
            Some(since) => {
                let before = self.verdict.as_ref();
                evidence::evidence(app, inventory, instance, reading, since, before)
            }
            None => scorer::Evidence::default(),
        };
        scorer::verdict(&self.window, &evidence, reading.at)
    }

    /// The waterfall; none for Sentinels, which have no score.
    fn score(
        &mut self,
        app: &App,
        inventory: &Inventory,
        instance: &Instance,
        reading: &Reading,
        verdict: &Verdict,
    ) -> Option<Arc<Explained>> {
        if instance.kind == InstanceKind::Sentinel {
            return None;
        }
        let service = inventory.services.get(&instance.id.service())?;
        let since = self.role_since.map(|(_, since)| since);
        let policy = scoring::policy(app, service);
        let of = (service, instance, &*policy);
        let around = around::around(app, inventory, of, reading, since, verdict);
        let good = self.last_good.as_deref();
        let inputs = scorer::inputs(&self.window, reading, good, &around, reading.at);
        let sticky = &mut self.sticky;
        let score = scorer::explain(&inputs, &policy, &self.id, sticky, reading.at);
        let score = Arc::new(score);
        self.desk.set_grade(sticky);
        self.desk.remember(reading.at, inputs, Recall::of(inventory.instances.len()));
        app.scores.saw(&score);
        Some(score)
    }

    async fn poll(&mut self, app: &App) -> Reading {
        let _place = self.place(app).await;
        let began = self.tick(app);
        match self.poller(app) {
            Ok(poller) => poller.poll(began).await,
            Err(failure) => self.failed(began, failure, 0),
        }
    }

    /// A probe on a fresh connection; when it is answered, a whole poll.
    async fn repeat(&mut self, app: &App) -> Reading {
        let _place = self.place(app).await;
        let began = self.tick(app);
        let start = Instant::now();
        let (failure, failed_in_row) = match self.poller(app) {
            Ok(poller) => match poller.probe().await {
                Ok(_) => return poller.poll(began).await,
                Err(e) => {
                    let failure = Failure { reason: e.reason, detail: e.detail };
                    (failure, poller.failed_in_row())
                }
            },
            Err(failure) => (failure, 0),
        };
        let mut reading = self.failed(began, failure, failed_in_row);
        reading.duration_us = start.elapsed().as_micros() as u32;
        reading.at = began + i64::from(reading.duration_us / 1000);
        reading
    }

    /// A place among the polls of its zone.
    async fn place(&self, app: &App) -> Option<OwnedSemaphorePermit> {
        let zone = app.inventory.load().instances.get(&self.id).map(|i| i.zone.clone())?;
        Some(app.watching.places.of_zone(&zone).await)
    }

    /// The time of the next poll; later than every row, also when the clock was set back.
    fn tick(&self, app: &App) -> At {
        self.pace.next(app.now(), Instant::now())
    }

    /// The poller of the present target, or why there is none.
    fn poller(&mut self, app: &App) -> Result<&mut Poller, Failure> {
        let targets = app.targets.load();
        let target = match targets.get(&self.id) {
            Some(Ok(target)) => target,
            Some(Err(e)) => {
                self.poller = None;
                // Without its password we do not even connect.
                return Err(Failure {
                    reason: Reason::Auth,
                    detail: e.chars().take(200).collect(),
                });
            }
            None => {
                let detail = "left the inventory".to_string();
                return Err(Failure { reason: Reason::Auth, detail });
            }
        };
        let inventory = app.inventory.load();
        let kind = inventory.instances.get(&self.id).map_or(InstanceKind::Redis, |i| i.kind);
        if self.poller.as_ref().is_some_and(|(_, _, k)| *k != kind) {
            self.poller = None;
        }
        let (poller, present, _) = self.poller.get_or_insert_with(|| {
            let deadline = Duration::from_millis(app.config.link.deadline_ms);
            let mut poller = Poller::new(target.clone(), kind, deadline);
            poller.set_interval_ms(self.interval_ms);
            poller.set_config(&app.config.exporter);
            (poller, target.clone(), kind)
        });
        if !same(present, target) {
            poller.set_target(target.clone());
            *present = target.clone();
        }
        poller.set_items(app.items.load().of(&self.id.service()));
        Ok(poller)
    }

    /// The instance as the inventory has it now; kept while it did not change.
    fn instance(&mut self, inventory: &Inventory) -> Option<Arc<Instance>> {
        let present = inventory.instances.get(&self.id)?;
        match &self.instance {
            Some(kept) if **kept == *present => {}
            _ => self.instance = Some(Arc::new(present.clone())),
        }
        self.instance.clone()
    }

    /// A failure found without a poll of its own.
    fn failed(&self, began: At, failure: Failure, failed_in_row: u32) -> Reading {
        Reading {
            at: began,
            began,
            up: false,
            failure: Some(failure),
            ping_us: None,
            duration_us: 0,
            connect_us: 0,
            failed_in_row,
            interval_ms: self.interval_ms,
            facts: Facts::default(),
        }
    }
}

fn same(a: &link::Target, b: &link::Target) -> bool {
    let password = |t: &link::Target| t.password.as_ref().map(|p| p.reveal().to_string());
    (&a.address, &a.user, &a.tls) == (&b.address, &b.user, &b.tls) && password(a) == password(b)
}

/// No answer at all, as against an answer we cannot use: only silence is worth repeating at once,
/// and a wrong password must not become three wrong logins.
fn is_silence(reading: &Reading) -> bool {
    let reason = reading.failure.as_ref().map(|f| f.reason);
    !reading.up && matches!(reason, Some(Reason::Refused | Reason::Timeout | Reason::Reset))
}

#[cfg(test)]
mod tests;
