//! Seconds of every service: counted from the Board's rows, kept in the store.
//!
//! Invariant: nothing is counted before the stored accounts are back, so no second is counted twice; a
//! save that fails is repeated. Refuses to know what a good second is: `scorer::slo` says so.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use exporter::encode::SloPoint;
use model::inventory::Inventory;
use model::row::Row;
use model::service::{Mode, Service};
use model::{At, ServiceId};
use scorer::slo::{self, Account, Slo};

use crate::app::App;
use crate::scoring;
use crate::usage::by_shard;

/// Slots of a Redis Cluster.
const SLOTS: f64 = 16384.0;
/// What a crash makes unknown at most.
const SAVE_EVERY_MS: i64 = 300_000;
/// Windows are whole minutes, and a slot of the grid has 15 s: a third of it is soon enough.
const POINTS_FRESH_MS: i64 = 5_000;
/// The last save, which does not hold up the end of the process.
const LAST_SAVE: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Kept {
    accounts: BTreeMap<ServiceId, Slo>,
    /// Until when operations of ours were seen at work.
    planned_until: BTreeMap<ServiceId, At>,
    generation: u64,
    saved_at: Option<At>,
    /// Services with a row in the store.
    stored: Vec<String>,
}

/// All accounts.
#[derive(Default)]
pub(crate) struct SloBook {
    kept: Mutex<Kept>,
    loaded: AtomicBool,
    /// What alerts were last told, and when.
    points: Mutex<(At, Arc<Vec<SloPoint>>)>,
}

impl SloBook {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The account of a service; none before its first poll.
    pub(crate) fn account(&self, service: &ServiceId) -> Option<Account> {
        self.kept().accounts.get(service).map(|slo| slo.account().clone())
    }

    /// What `/metrics` says of a service; none before its first poll.
    pub(crate) fn point(&self, app: &App, service: &Service, now: At) -> Option<SloPoint> {
        let kept = self.kept();
        let account = kept.accounts.get(&service.id)?.account();
        let (target, totals) = (target(app, service), account.totals());
        let windows = slo::WINDOWS.map(|(label, length)| (label, account.window(length, now)));
        let period = account.period(now);
        Some(SloPoint {
            service: service.id.clone(),
            seconds: [totals.free, totals.planned],
            target,
            burn: windows.map(|(label, seen)| (label, target.map(|t| seen.burn(t)))).to_vec(),
            unknown: windows.map(|(label, seen)| (label, seen.unknown_ratio())).to_vec(),
            budget: target.map(|t| slo::budget(&period, t)),
        })
    }

    /// The points of all services; made anew when those of the last time are too old for a slot of
    /// the alerts' grid.
    pub(crate) fn points(&self, app: &App, now: At) -> Arc<Vec<SloPoint>> {
        let mut seen = self.points.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since_ms(seen.0).abs() >= POINTS_FRESH_MS {
            let inventory = app.inventory();
            let all = inventory.services.values().filter_map(|s| self.point(app, s, now));
            *seen = (now, Arc::new(all.collect()));
        }
        seen.1.clone()
    }

    async fn load(&self, app: &App) -> anyhow::Result<()> {
        if self.loaded.load(Ordering::Relaxed) {
            return Ok(());
        }
        let rows = app.store.slo_load().await?;
        let mut kept = self.kept();
        for (service, body, _) in rows {
            // One that another version wrote is begun anew.
            let account = serde_json::from_str(&body).ok();
            if let Some((id, account)) = service.parse().ok().zip(account) {
                kept.accounts.insert(id, Slo::resume(account));
            }
            kept.stored.push(service);
        }
        self.loaded.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn save(&self, app: &App, now: At) -> anyhow::Result<()> {
        let (mut accounts, gone) = {
            let kept = self.kept();
            let there = |s: &String| s.parse().is_ok_and(|id| kept.accounts.contains_key(&id));
            let gone = kept.stored.iter().filter(|s| !there(s)).cloned().collect::<Vec<_>>();
            (Vec::with_capacity(kept.accounts.len()), gone)
        };
        for (id, slo) in &self.kept().accounts {
            accounts.push((id.clone(), serde_json::to_string(slo.account())?));
        }
        app.store.slo_save(&accounts, &gone, now).await?;
        self.kept().stored = accounts.into_iter().map(|(id, _)| id.to_string()).collect();
        Ok(())
    }
}

/// The target of a service: what a policy says, else its tier's.
pub(crate) fn target(app: &App, service: &Service) -> Option<f64> {
    slo::target(service.tier, scoring::policy(app, service).slo_target)
}

/// Counts what the Board shows since the last time. Called by the loop `slo`.
pub(crate) async fn round(app: &App, now: At) -> anyhow::Result<()> {
    app.slo.load(app).await?;
    count(app, now);
    let due = {
        let mut kept = app.slo.kept();
        let last = *kept.saved_at.get_or_insert(now);
        let due = now.since_ms(last).abs() >= SAVE_EVERY_MS;
        kept.saved_at = Some(if due { now } else { last });
        due
    };
    if due { app.slo.save(app, now).await } else { Ok(()) }
}

fn count(app: &App, now: At) {
    let inventory = app.inventory();
    let mut kept = app.slo.kept();
    for service in inventory.services.keys().filter(|s| app.engine.acting_on(s)) {
        kept.planned_until.insert(service.clone(), now);
    }
    let generation = app.board.generation();
    if kept.generation == generation {
        return;
    }
    kept.generation = generation;
    let kept = &mut *kept;
    kept.accounts.retain(|id, _| inventory.services.contains_key(id));
    kept.planned_until.retain(|id, _| inventory.services.contains_key(id));
    let deadline_ms = app.config.link.deadline_ms as i64;
    for service in inventory.services.values().filter(|s| s.mode != Mode::Sentinels) {
        let shards = by_shard(app, &inventory, service);
        if shards.is_empty() {
            continue;
        }
        let planned = kept.planned_until.get(&service.id).copied().unwrap_or(At::EPOCH);
        let whole = is_whole(app, &inventory, service);
        let account = kept.accounts.entry(service.id.clone()).or_default();
        account.keep(|n| shards.contains_key(&n));
        for ((shard, rows), share) in shards.iter().zip(shares(&shards)) {
            if let Some(look) = slo::look(rows, whole, deadline_ms) {
                account.take(*shard, &look, share, planned);
            }
        }
    }
}

/// Whether every node was polled since it is in the tree as it is now: after a start, and while a
/// cluster is sorted into shards, the master may be the one that is missing.
fn is_whole(app: &App, inventory: &Inventory, service: &Service) -> bool {
    inventory.nodes(&service.id).all(|node| {
        let row = app.board.row(&node.id);
        row.is_some_and(|row| row.instance.shard == node.shard)
    })
}

/// Saves at the end of the process.
pub(crate) async fn save_last(app: &App) {
    if !app.slo.loaded.load(Ordering::Relaxed) {
        return;
    }
    let why = match tokio::time::timeout(LAST_SAVE, app.slo.save(app, app.now())).await {
        Ok(Ok(())) => return,
        Ok(Err(e)) => format!("{e:#}"),
        Err(_) => "it took too long".to_string(),
    };
    tracing::warn!(why, "the latest seconds of the objectives are not saved");
}

/// Share of the slots of each shard; equal parts where slots mean nothing or are not all known.
fn shares(shards: &BTreeMap<u32, Vec<Arc<Row>>>) -> Vec<f64> {
    let slots: Vec<u32> = shards.values().map(|rows| slots(rows)).collect();
    let all: u32 = slots.iter().sum();
    if slots.contains(&0) || f64::from(all) != SLOTS {
        return vec![1.0 / shards.len() as f64; shards.len()];
    }
    slots.into_iter().map(|n| f64::from(n) / SLOTS).collect()
}

/// Slots a shard's members said they own when they last said so.
fn slots(rows: &[Arc<Row>]) -> u32 {
    let own = |row: &Arc<Row>| {
        let view = row.last_good.as_ref()?.facts.cluster.as_ref()?;
        let me = view.nodes.iter().find(|n| n.id == view.my_id)?;
        Some(me.slots.iter().map(|(a, b)| u32::from(b.saturating_sub(*a)) + 1).sum::<u32>())
    };
    rows.iter().filter_map(own).max().unwrap_or(0)
}
