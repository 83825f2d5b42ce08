//! The weeks behind every shard: filled from the Board, kept in the store, read at the start.
//!
//! Invariant: a score never waits for it; what the store does not give or take is tried again, and what
//! was seen meanwhile stays. Two looks at one moment change nothing. Refuses to know forecasts' arithmetic.

mod prometheus;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use exporter::encode::CapacityPoint;
use model::field::Field;
use model::inventory::Inventory;
use model::reading::Role;
use model::row::Row;
use model::service::{Mode, Service};
use model::{At, ServiceId};
use scorer::past::{Day, Past, Quantity, Sample, Track, day_of};
use store::UsageDay;

use crate::app::App;
use crate::around;

pub(crate) use prometheus::backfill;

const HOUR_MS: i64 = 3_600_000;
type Points = Vec<CapacityPoint>;

/// What a crash may take of the peaks of the present hour.
const SAVE_EVERY_MS: i64 = 600_000;
/// A growth moves by a part of a day's meanwhile; in between, its shard costs nothing.
const PAST_FRESH_MS: i64 = HOUR_MS / 4;
/// Shards whose past is made anew in one round: some 20 ms of one processor.
const PASTS_MAX: usize = 200;
/// The last save, which does not hold up the end of the process.
const LAST_SAVE: Duration = Duration::from_secs(5);
/// Days that are stored.
const DAYS_KEPT: i64 = scorer::forecast::DAYS_MAX as i64;

type Key = (ServiceId, u32);

/// One shard.
#[derive(Default)]
struct Kept {
    track: Track,
    /// Days that are not in the store as they are here.
    changed: BTreeSet<i64>,
    past: Past,
    /// When that was made; none: never.
    past_at: Option<At>,
    /// What `/metrics` says of it.
    points: Points,
}

/// All shards.
#[derive(Default)]
pub(crate) struct Usage {
    shards: Mutex<BTreeMap<Key, Kept>>,
    loaded: AtomicBool,
    saved_at: Mutex<Option<At>>,
    /// Prometheus gave a part of it.
    pub(super) backfilled: AtomicBool,
    /// When Prometheus answered about a service.
    asked: Mutex<BTreeMap<ServiceId, At>>,
}

impl Usage {
    fn shards(&self) -> MutexGuard<'_, BTreeMap<Key, Kept>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the past of a shard says to a score.
    pub(crate) fn past(&self, service: &ServiceId, shard: u32) -> Past {
        self.shards().get(&(service.clone(), shard)).map_or(Past::default(), |k| k.past)
    }

    /// The days of every shard of a service.
    pub(crate) fn tracks(&self, service: &ServiceId) -> Vec<(u32, Track)> {
        let shards = self.shards();
        let mine = shards.range((service.clone(), 0)..=(service.clone(), u32::MAX));
        mine.map(|((_, shard), kept)| (*shard, kept.track.clone())).collect()
    }

    /// What `/metrics` says.
    pub(crate) fn points(&self) -> Points {
        self.shards().values().flat_map(|k| k.points.iter().cloned()).collect()
    }

    /// Where it comes from, in words.
    pub(crate) fn source(&self) -> &'static str {
        match self.backfilled.load(Ordering::Relaxed) {
            true => "daily and prometheus",
            false => "daily",
        }
    }

    /// Takes days in that somebody else kept.
    fn put(&self, key: Key, days: impl IntoIterator<Item = Day>, changed: bool) {
        let mut shards = self.shards();
        let kept = shards.entry(key).or_default();
        for day in days {
            if changed {
                kept.changed.insert(day.day);
            }
            kept.track.put(day);
        }
        kept.past_at = None;
    }

    async fn load(&self, app: &App, now: At) -> anyhow::Result<()> {
        if self.loaded.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut by_shard: BTreeMap<Key, Vec<Day>> = BTreeMap::new();
        for row in app.store.usage_load(day_of(now) - DAYS_KEPT).await? {
            let service: Option<ServiceId> = row.service.parse().ok();
            // One that another version wrote is as good as none.
            let day: Option<Day> = serde_json::from_str(&row.body).ok();
            if let (Some(service), Ok(shard), Some(mut day)) = (service, row.shard.try_into(), day)
            {
                day.day = row.day;
                by_shard.entry((service, shard)).or_default().push(day);
            }
        }
        by_shard.into_iter().for_each(|(key, days)| self.put(key, days, false));
        self.loaded.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Writes the days that changed; those it could not write stay changed.
    async fn save(&self, app: &App, now: At) -> anyhow::Result<()> {
        let mut days = Vec::new();
        for ((service, shard), kept) in self.shards().iter() {
            for day in kept.track.days().filter(|d| kept.changed.contains(&d.day)) {
                days.push(UsageDay {
                    service: service.to_string(),
                    shard: i64::from(*shard),
                    day: day.day,
                    body: serde_json::to_string(day)?,
                });
            }
        }
        app.store.usage_save(&days, day_of(now) - DAYS_KEPT).await?;
        let mut shards = self.shards();
        for day in days {
            let key = day.service.parse().ok().zip(u32::try_from(day.shard).ok());
            let Some(kept) = key.and_then(|key| shards.get_mut(&key)) else { continue };
            // A sample that came in while it was written is not lost: the next one marks it again,
            // and a peak of this hour is seen more than once.
            kept.changed.remove(&day.day);
        }
        Ok(())
    }

    /// Makes the pasts anew that are old, a bounded number of them, the oldest first.
    fn refresh(&self, now: At) {
        let mut shards = self.shards();
        let fresh = |k: &Kept| k.past_at.is_some_and(|at| now.since_ms(at).abs() < PAST_FRESH_MS);
        let mut old: Vec<(&Key, &mut Kept)> =
            shards.iter_mut().filter(|(_, k)| !fresh(k)).collect();
        old.sort_by_key(|(_, k)| k.past_at);
        for (key, kept) in old.into_iter().take(PASTS_MAX) {
            kept.past = kept.track.past(now);
            kept.points = points(key, &kept.track, now);
            kept.past_at = Some(now);
        }
    }
}

/// Takes the present in; saves when that is due. Called by the loop `usage`.
pub(crate) async fn round(app: &App, now: At) -> anyhow::Result<()> {
    let usage = &app.usage;
    let loaded = usage.load(app, now).await;
    let inventory = app.inventory();
    for service in inventory.services.values().filter(|s| s.mode != Mode::Sentinels) {
        for (shard, rows) in by_shard(app, &inventory, service) {
            let sample = sample(app, &inventory, &rows);
            let mut shards = usage.shards();
            let kept = shards.entry((service.id.clone(), shard)).or_default();
            if sample.used_bytes.is_some() && kept.track.take(&sample, now) {
                kept.changed.insert(day_of(now));
            }
        }
    }
    usage.shards().retain(|(service, _), _| inventory.services.contains_key(service));
    usage.refresh(now);
    loaded?;
    let due = {
        let mut saved = usage.saved_at.lock().unwrap_or_else(PoisonError::into_inner);
        let last = *saved.get_or_insert(now);
        let due = now.since_ms(last).abs() >= SAVE_EVERY_MS;
        *saved = Some(if due { now } else { last });
        due
    };
    if due { usage.save(app, now).await } else { Ok(()) }
}

/// Saves at the end of the process.
pub(crate) async fn save_last(app: &App) {
    if !app.usage.loaded.load(Ordering::Relaxed) {
        return;
    }
    let why = match tokio::time::timeout(LAST_SAVE, app.usage.save(app, app.now())).await {
        Ok(Ok(())) => return,
        Ok(Err(e)) => format!("{e:#}"),
        Err(_) => "it took too long".to_string(),
    };
    tracing::warn!(why, "the latest peaks of usage are not saved");
}

/// The rows of a service's data nodes, by the shard they are in now.
pub(crate) fn by_shard(
    app: &App,
    inventory: &Inventory,
    service: &Service,
) -> BTreeMap<u32, Vec<Arc<Row>>> {
    let mut shards: BTreeMap<u32, Vec<Arc<Row>>> = BTreeMap::new();
    for row in inventory.nodes(&service.id).filter_map(|i| app.board.row(&i.id)) {
        let shard = if service.mode == Mode::Cluster { row.instance.shard } else { 0 };
        shards.entry(shard).or_default().push(row);
    }
    shards
}

/// The forecasts of a shard; nothing of what has no limit or too short a past.
fn points((service, shard): &Key, track: &Track, now: At) -> Points {
    let point = |quantity: Quantity| {
        let seen = track.forecast(quantity, track.limit(quantity)?, now).ok()?;
        Some(CapacityPoint {
            service: service.clone(),
            shard: *shard,
            resource: quantity.as_str(),
            days: [seen.low, seen.mid, seen.high],
        })
    };
    Quantity::ALL.into_iter().filter_map(point).collect()
}

fn sample(app: &App, inventory: &Inventory, rows: &[Arc<Row>]) -> Sample {
    let masters = rows.iter().filter(|r| r.role() == Some(Role::Master));
    let Some(master) = masters.max_by_key(|r| r.role_since) else { return Sample::default() };
    let get = |field| master.reading.get(field);
    let host = around::host_memory(app, inventory, &master.instance, &master.reading);
    let cow = |row: &Arc<Row>| {
        let facts = row.facts()?;
        let sizes = [Field::RdbLastCowSize, Field::AofLastCowSize];
        sizes.into_iter().filter_map(|field| facts.values.get(field)).reduce(f64::max)
    };
    let healthy = rows.iter().filter(|r| scorer::replica_healthy(r) == Some(true)).count();
    Sample {
        used_bytes: get(Field::UsedMemory),
        maxmemory_bytes: get(Field::Maxmemory),
        clients: get(Field::ConnectedClients),
        maxclients: get(Field::Maxclients),
        host_used_bytes: host.map(|h| h.instances_rss_bytes).or(get(Field::UsedMemoryRss)),
        host_bytes: host.map(|h| h.total_bytes).or(get(Field::TotalSystemMemory)),
        cow_bytes: rows.iter().filter_map(cow).reduce(f64::max),
        replicas: Some(healthy as u32),
    }
}
