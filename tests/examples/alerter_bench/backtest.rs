//! A-backtest: a policy over thirty days of a thousand instances, beside the one in force.

use std::time::Instant;

use alerter::backtest::{Fill, Input, Line, Setup, Track, Trial};
use alerter::defaults;
use model::policy::{BacktestData, PolicyDoc};
use model::{At, InstanceId};

use crate::figure::Figure;
use crate::fleet::{T0, inventory};

const INSTANCES: usize = 1_000;
const DAYS: i64 = 30;
const STEP_MS: i64 = 60_000;
/// Instances read together: as from a history service, piece by piece.
const AT_ONCE: usize = 50;

/// Prints the figures.
pub fn run() {
    one("A-backtest", "memory-used", None);
    one("A-backtest-suggest", "memory-used", Some(5.0));
    one("A-backtest-window", "connection-churn", None);
}

/// One figure: the policy with its first level sooner, beside the shipped one.
fn one(id: &'static str, policy: &str, pages_per_week: Option<f64>) {
    let inventory = inventory(INSTANCES);
    let current: Vec<PolicyDoc> =
        defaults::policies().iter().filter(|d| d.policy == policy).cloned().collect();
    let base = current.first().expect("a shipped policy");
    let level = base.levels.keys().next().expect("a level").as_str();
    let text = format!(
        "{{policy: {policy}, scope: platform, meta: {{rev: 1}}, levels: {{{level}: {{for: 1m}}}}}}"
    );
    let changed: PolicyDoc = serde_saphyr::from_str(&text).expect("a policy");
    let draft: Vec<PolicyDoc> = current.iter().cloned().chain([changed]).collect();
    let instances: Vec<InstanceId> = inventory.instances.keys().cloned().collect();
    let setup = Setup {
        inventory: &inventory,
        draft: &draft,
        current: &current,
        instances: &instances,
        from: T0,
        to: T0 + DAYS * 86_400_000,
        step_ms: STEP_MS,
        dialect: Default::default(),
        pages_per_week,
    };
    let mut trial = Trial::new(&setup).expect("it can be tried");
    let inputs = trial.inputs().expect("series");
    let mut spent = 0.0;
    for (n, ids) in instances.chunks(AT_ONCE).enumerate() {
        let tracks: Vec<Track> =
            ids.iter().enumerate().map(|(i, id)| track(id, n * AT_ONCE + i, &inputs)).collect();
        let began = Instant::now();
        trial.judge(&tracks);
        spent += began.elapsed().as_secs_f64();
    }
    let found = trial.finish(BacktestData::default());
    assert_eq!(found.data.without_data, 0);
    let context = format!(
        "{policy} over {DAYS} days of {INSTANCES} instances every {} s beside the one in force, samples read \
         before: {} samples, {} alerts with the draft, {} without",
        STEP_MS / 1000,
        found.data.samples,
        found.draft.fired,
        found.current.map_or(0, |c| c.fired)
    );
    Figure { id, value: spent, unit: "s", gate: 10.0, stretch: 5.0, context }.print();
}

/// Memory that fills over hours and is freed again, another rhythm for each instance.
fn track(id: &InstanceId, i: usize, inputs: &[Input]) -> Track {
    let times: Vec<i64> = (0..DAYS * 86_400_000 / STEP_MS).map(|n| T0.ms() + n * STEP_MS).collect();
    let line = |input: &Input| {
        let fill = input.fill(&Default::default()).expect("one value");
        let values = times.iter().map(|at| value(&fill, &input.metric, i, *at)).collect();
        Line { fill, values }
    };
    Track { instance: id.clone(), lines: inputs.iter().map(line).collect(), times }
}

fn value(fill: &Fill, metric: &str, i: usize, at: i64) -> f64 {
    let s = At::from_ms(at).since_ms(T0) as f64 / 1000.0;
    let period = 40_000.0 + (i % 97) as f64 * 1_000.0;
    match (fill, metric) {
        (Fill::Up, _) => 1.0,
        (_, "redis_memory_max_bytes") => 10e9,
        (_, "redis_memory_used_bytes") => 10e9 * (0.5 + 0.45 * (s / period).sin().abs()),
        (_, "redis_max_clients") => 10_000.0,
        _ => s * (1.0 + (i % 13) as f64),
    }
}
