//! Backtests: which samples of which instances a policy is tried on, and for how long.
//!
//! Invariant: bounded in samples, in time and in number at once; what was not looked at is said. Judging
//! is `alerter`'s; nothing is changed. Refuses to know requests.

use std::sync::Arc;
use std::time::Duration;

use alerter::backtest::{Setup, Track, Trial};
use alerter::explain;
use model::policy::{BACKTEST_DAYS_MAX, Backtest, BacktestData, PolicyDoc};
use model::{At, InstanceId};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::app::App;
use crate::policies::World;
use crate::recent;
use crate::samples::Wanted;

/// Backtests at once: each uses the cores that watching needs, too.
static TURNS: Semaphore = Semaphore::const_new(2);
/// How long one may take: a request is answered within 30 s.
const TIME_MAX: Duration = Duration::from_secs(24);
/// Samples read when nobody says how close they shall lie: some ten seconds of Prometheus.
const SAMPLES_USUAL: i64 = 8_000_000;
/// Samples read at most: 30 days of 1 000 instances every minute.
const SAMPLES_MAX: i64 = 50_000_000;
/// Spans up to this are read as they were scraped.
const RAW_MS: i64 = 2 * 86_400_000;
/// Steps of longer spans.
const STEP_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;

/// What somebody wants to know.
pub(crate) struct Wish {
    /// The document.
    pub doc: PolicyDoc,
    /// Beginning.
    pub from: At,
    /// End.
    pub to: At,
    /// Between samples, ms; none: as fits.
    pub step_ms: Option<i64>,
    /// Look for thresholds that page at most so often.
    pub pages_per_week: Option<f64>,
    /// Instances the caller sees, of those the document reaches.
    pub instances: Vec<InstanceId>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum NoBacktest {
    /// The wish cannot be met: (field, why).
    Wrong(&'static str, String),
    /// Others are being made.
    Busy,
    /// The history service does not answer, or refuses.
    Away(String),
}

/// Tries the document on the past.
pub(crate) async fn run(app: &Arc<App>, world: &World, wish: Wish) -> Result<Backtest, NoBacktest> {
    let wrong = |field, why: String| Err(NoBacktest::Wrong(field, why));
    let span_ms = wish.to.since_ms(wish.from);
    if !(60_000..=BACKTEST_DAYS_MAX * DAY_MS).contains(&span_ms) {
        return wrong("/from", format!("expected a span of a minute to {BACKTEST_DAYS_MAX} days"));
    }
    if wish.instances.is_empty() {
        return wrong("/scope", "the document reaches no instance in sight".into());
    }
    let _turn = TURNS.try_acquire().map_err(|_| NoBacktest::Busy)?;
    let (draft, current) = documents(world, &wish.doc);
    let poll_ms = i64::from(app.config.exporter.interval_s) * 1000;
    let url = app.config.history.as_ref().map(|h| h.url.clone());
    let setup = |step_ms, from| Setup {
        inventory: &world.inventory,
        draft: &draft,
        current: &current,
        instances: &wish.instances,
        from,
        to: wish.to,
        step_ms,
        dialect: Default::default(),
        pages_per_week: wish.pages_per_week,
    };
    let probe = Trial::new(&setup(poll_ms, wish.from))
        .map_err(|why| NoBacktest::Wrong("/doc", format!("it cannot be backtested: {why}")))?;
    let Some(url) = url else {
        let from = wish.from.max(wish.to - recent::REACH_MS);
        let trial =
            Trial::new(&setup(poll_ms, from)).map_err(|why| NoBacktest::Wrong("/doc", why))?;
        return from_memory(app, trial, &wish).await;
    };
    let mut notes = Vec::new();
    let step_ms = step(&probe, &wish, poll_ms, &mut notes)?;
    let judged_ms = if step_ms > 0 { step_ms } else { poll_ms };
    let trial =
        Trial::new(&setup(judged_ms, wish.from)).map_err(|why| NoBacktest::Wrong("/doc", why))?;
    from_prometheus(trial, &wish, (&url, step_ms), notes).await
}

/// The policy's documents with the draft in its place, and as they are.
fn documents(world: &World, doc: &PolicyDoc) -> (Vec<PolicyDoc>, Vec<PolicyDoc>) {
    let current: Vec<PolicyDoc> =
        world.all().into_iter().filter(|d| d.policy == doc.policy).collect();
    let replaced =
        |d: &&PolicyDoc| d.meta.is_some() && d.scope == doc.scope && d.selector == doc.selector;
    let kept = current.iter().filter(|d| !replaced(d)).cloned();
    (kept.chain([doc.clone()]).collect(), current)
}

/// How close samples lie: 0 for as they were scraped.
fn step(
    trial: &Trial,
    wish: &Wish,
    poll_ms: i64,
    notes: &mut Vec<String>,
) -> Result<i64, NoBacktest> {
    let span_ms = wish.to.since_ms(wish.from);
    let series = trial.inputs().map_or(1, |inputs| inputs.len()) as i64;
    let lines = wish.instances.len() as i64 * series;
    let samples = |step_ms: i64| lines * (span_ms / step_ms.max(1) + 1);
    if let Some(step_ms) = wish.step_ms {
        if samples(step_ms) > SAMPLES_MAX {
            let said = format!(
                "{} samples; at most {SAMPLES_MAX}: take a longer step, a shorter span or a smaller \
                 scope",
                samples(step_ms)
            );
            return Err(NoBacktest::Wrong("/step", said));
        }
        return Ok(step_ms);
    }
    if span_ms <= RAW_MS && samples(poll_ms) <= SAMPLES_USUAL {
        return Ok(0);
    }
    // A range needs some samples in it to say what it said live.
    let range_ms = trial.shortest_range_ms().unwrap_or(i64::MAX);
    let close = (range_ms / 4 / poll_ms * poll_ms).clamp(poll_ms, STEP_MS.max(poll_ms));
    let fits = (lines * span_ms / SAMPLES_USUAL).div_euclid(poll_ms) * poll_ms + poll_ms;
    let step_ms = if samples(close) > SAMPLES_USUAL { fits.max(close) } else { close };
    if step_ms > close {
        notes.push(format!(
            "samples every {} s, for there are many; step= asks for closer ones",
            step_ms / 1000
        ));
    }
    if range_ms < 2 * step_ms {
        let range = range_ms / 1000;
        notes.push(format!("a range of {range} s holds too few samples to say anything"));
    }
    Ok(step_ms)
}

/// Judges on a thread of its own: watching goes on.
async fn judge(mut trial: Trial, tracks: Vec<Track>) -> Result<Trial, NoBacktest> {
    let judged = tokio::task::spawn_blocking(move || {
        trial.judge(&tracks);
        trial
    });
    judged.await.map_err(|_| NoBacktest::Away("the evaluation broke off".into()))
}

fn data(source: &str, trial: &Trial, step_ms: i64, notes: Vec<String>) -> BacktestData {
    let inputs = trial.inputs().unwrap_or_default();
    BacktestData {
        source: source.into(),
        dialect: <&str>::from(alerter::window::Dialect::default()).into(),
        step_s: step_ms / 1000,
        series: inputs.iter().map(|i| i.name()).collect(),
        notes,
        ..BacktestData::default()
    }
}

async fn from_memory(app: &App, trial: Trial, wish: &Wish) -> Result<Backtest, NoBacktest> {
    let inputs = trial.inputs().unwrap_or_default();
    let (tracks, missing) = app.recent.tracks(&inputs, &wish.instances);
    let mut notes = vec![
        "only the last hour, which is in memory: no Prometheus is configured ([history])"
            .to_string(),
    ];
    if !missing.is_empty() {
        notes.push(format!("not kept in memory: {}", missing.join(", ")));
    }
    let span = |t: &Track| {
        let within = t.times.iter().filter(|at| **at >= wish.from.ms() && **at <= wish.to.ms());
        within.count() > 0
    };
    let tracks = tracks.into_iter().filter(span).collect();
    let data = data("memory", &trial, 0, notes);
    Ok(judge(trial, tracks).await?.finish(data))
}

async fn from_prometheus(
    mut trial: Trial,
    wish: &Wish,
    (url, step_ms): (&str, i64),
    mut notes: Vec<String>,
) -> Result<Backtest, NoBacktest> {
    let inputs = trial.inputs().unwrap_or_default();
    let (from, to) = (wish.from, wish.to);
    let wanted = Wanted { url, inputs: &inputs, from, to, step_ms };
    let http = reqwest::Client::builder().no_proxy().build();
    let http = http.map_err(|e| NoBacktest::Away(e.to_string()))?;
    let end = Instant::now() + TIME_MAX;
    let mut looked_at = 0;
    for ids in wish.instances.chunks(wanted.instances_at_once()) {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match wanted.tracks(&http, ids, left).await {
            Ok(tracks) => trial = judge(trial, tracks).await?,
            // The others still say something.
            Err(e) if looked_at > 0 => {
                tracing::warn!(error = format!("{e:#}"), "a backtest ends early");
                break;
            }
            Err(e) => {
                tracing::warn!(error = format!("{e:#}"), "a backtest has no history");
                return Err(NoBacktest::Away(format!("{e:#}")));
            }
        }
        looked_at += ids.len();
    }
    if looked_at < wish.instances.len() {
        notes.push(format!(
            "only {looked_at} of {} instances were read in time: take a shorter span or a smaller scope",
            wish.instances.len()
        ));
    }
    let data = data("prometheus", &trial, step_ms, notes);
    Ok(trial.finish(data))
}

/// The instances of the tree a document reaches, of those that `seen` lets through.
pub(crate) fn instances(
    world: &World,
    doc: &PolicyDoc,
    seen: impl Fn(&InstanceId) -> bool,
) -> Vec<InstanceId> {
    explain::reached(doc, &world.inventory).filter(|id| seen(id)).cloned().collect()
}
