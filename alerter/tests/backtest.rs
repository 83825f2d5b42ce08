//! Backtests against live evaluation: the same samples, the same alerts.
#![allow(clippy::unwrap_used, reason = "clippy does not see that helpers here are tests too")]

mod stage;

use alerter::backtest::{Fill, Line, Setup, Track, Trial};
use model::At;
use model::alert::Phase;
use model::policy::{Backtest, BacktestData, PolicyDoc};
use stage::*;

/// Half a day of memory that swings slowly, with polls that fail and a gap.
fn ratios() -> Vec<(i64, Option<f64>)> {
    let mut all = Vec::new();
    for s in (0..43_200).step_by(STEP as usize) {
        // Nobody polled for ten minutes.
        if (20_000..20_600).contains(&s) {
            continue;
        }
        let ratio = 0.75 + 0.24 * (s as f64 / 3_000.0).sin();
        let failed = s % 4_500 == 0;
        all.push((s, (!failed).then_some(ratio)));
    }
    all
}

/// The same as a history service has it.
fn track(ratios: &[(i64, Option<f64>)], inputs: &[alerter::backtest::Input]) -> Track {
    let line = |input: &alerter::backtest::Input| {
        let fill = input.fill(&Default::default()).unwrap();
        let value = |(_, ratio): &(i64, Option<f64>)| match (input.metric.as_str(), ratio) {
            ("redis_up", ratio) => f64::from(u8::from(ratio.is_some())),
            ("redis_memory_used_bytes", Some(ratio)) => ratio * 1000.0,
            ("redis_memory_max_bytes", Some(_)) => 1000.0,
            _ => f64::NAN,
        };
        Line { fill, values: ratios.iter().map(value).collect() }
    };
    Track {
        instance: id(),
        times: ratios.iter().map(|(s, _)| at(*s).ms()).collect(),
        lines: inputs.iter().map(line).collect(),
    }
}

fn docs(texts: &[&str]) -> Vec<PolicyDoc> {
    texts.iter().map(|t| serde_saphyr::from_str(t).unwrap()).collect()
}

fn tried(draft: &[&str], current: &[&str], pages_per_week: Option<f64>) -> Backtest {
    let inventory = inventory("az-1");
    let (draft, current) = (docs(draft), docs(current));
    let setup = Setup {
        inventory: &inventory,
        draft: &draft,
        current: &current,
        instances: &[id()],
        from: at(0),
        to: at(43_200),
        step_ms: STEP * 1000,
        dialect: Default::default(),
        pages_per_week,
    };
    let mut trial = Trial::new(&setup).unwrap();
    let track = track(&ratios(), &trial.inputs().unwrap());
    trial.judge(&[track]);
    trial.finish(BacktestData::default())
}

/// (level, start, end) of what fires live over the same samples.
fn live(doc: &str) -> Vec<(&'static str, At, Option<At>)> {
    let mut bench = Bench::new(doc);
    let mut all: Vec<(&str, At, Option<At>)> = Vec::new();
    for (s, ratio) in ratios() {
        for change in bench.feed(s, ratio) {
            let level = change.identity.level.as_str();
            match (change.from, change.to) {
                (Phase::Pending, Phase::Firing) => all.push((level, change.at, None)),
                (_, Phase::Resolved) => {
                    let open = all.iter_mut().rfind(|(l, _, end)| *l == level && end.is_none());
                    open.unwrap().2 = Some(change.at);
                }
                _ => {}
            }
        }
    }
    all.sort();
    all
}

#[test]
fn a_backtest_of_samples_says_what_fired_on_them() {
    let found = tried(&[MEMORY], &[MEMORY], None);
    let mut told: Vec<_> =
        found.intervals.iter().map(|i| (i.level.as_str(), i.start, i.end)).collect();
    told.sort();
    let live = live(MEMORY);
    assert!(live.len() >= 6, "{live:?}");
    assert_eq!(told, live);
    assert_eq!(found.draft.fired, live.len() as u64);
    assert_eq!((found.versus.both, found.versus.only_draft), (live.len() as u64, 0));
    assert_eq!(found.current.as_ref(), Some(&found.draft));
    let peak = found.intervals.iter().filter_map(|i| i.peak).fold(0.0, f64::max);
    assert!((0.98..1.0).contains(&peak), "{peak}");
}

#[test]
fn a_draft_is_held_against_the_policy_in_force_and_what_is_unknown_is_told() {
    let tighter = "{policy: memory-used, scope: 'tenant:pay', levels: {warning: {fire: 0.6, clear: \
                   0.55}}}";
    let found = tried(&[MEMORY, tighter], &[MEMORY], None);
    let current = found.current.unwrap();
    assert!(found.draft.minutes_firing > current.minutes_firing);
    assert_eq!(found.versus.only_current, 0, "{:?}", found.versus);
    assert_eq!(found.draft.services[0].name, "pay.cart");
    // Ten minutes of the half day are missing.
    assert!((0.97..0.995).contains(&found.data.coverage), "{}", found.data.coverage);
    assert_eq!((found.data.instances, found.data.without_data), (1, 0));
}

#[test]
fn a_suggested_threshold_pages_as_seldom_as_it_says() {
    let found = tried(&[MEMORY], &[MEMORY], Some(20.0));
    let suggested = found.suggestions.iter().find(|s| s.level.as_str() == "warning").unwrap();
    assert!(suggested.pages_per_week <= 20.0, "{suggested:?}");
    let with = format!(
        "{{policy: memory-used, scope: 'tenant:pay', levels: {{warning: {{fire: {}, clear: {}}}, \
         critical: {{fire: 2, clear: 2}}}}}}",
        suggested.fire, suggested.clear
    );
    let again = tried(&[MEMORY, &with], &[MEMORY], None);
    let warning = again.draft.levels.iter().find(|t| t.name == "warning");
    let pages = warning.map_or(0.0, |t| t.pages_per_week);
    assert_eq!(pages, suggested.pages_per_week, "{suggested:?}");
}

#[test]
fn an_instance_without_samples_is_unknown_not_calm() {
    let inventory = inventory("az-1");
    let docs = docs(&[MEMORY]);
    let setup = Setup {
        inventory: &inventory,
        draft: &docs,
        current: &docs,
        instances: &[id()],
        from: at(0),
        to: at(3_600),
        step_ms: 15_000,
        dialect: Default::default(),
        pages_per_week: None,
    };
    let mut trial = Trial::new(&setup).unwrap();
    trial.judge(&[Track { instance: id(), times: vec![], lines: vec![] }]);
    let found = trial.finish(BacktestData::default());
    assert_eq!((found.data.without_data, found.data.coverage), (1, 0.0));
    assert_eq!(found.data.without_data_names, [id().to_string()]);
}

#[test]
fn samples_recorded_less_often_than_we_poll_are_as_good() {
    let inventory = inventory("az-1");
    // A failed poll is held over the minute to the next one.
    let policy = MEMORY.replace("hold: 1m", "hold: 5m");
    let docs = docs(&[&policy]);
    let setup = Setup {
        inventory: &inventory,
        draft: &docs,
        current: &docs,
        instances: &[id()],
        from: at(0),
        to: at(43_200),
        step_ms: STEP * 1000,
        dialect: Default::default(),
        pages_per_week: None,
    };
    let mut trial = Trial::new(&setup).unwrap();
    let minutely: Vec<_> = ratios().into_iter().filter(|(s, _)| s % 60 == 0).collect();
    let track = track(&minutely, &trial.inputs().unwrap());
    trial.judge(&[track]);
    let found = trial.finish(BacktestData::default());
    assert_eq!(found.draft.fired, live(&policy).len() as u64);
    assert!(found.data.coverage > 0.95, "{}", found.data.coverage);
}

#[test]
fn what_cannot_be_tried_is_refused_in_words() {
    let zone = "{policy: z, scope: platform, signal: {aggregate: {of: {fact: unanswered}, op: avg, by: \
                zone}}, compare: '>', levels: {critical: {fire: 0.5}}}";
    let inventory = inventory("az-1");
    let docs = docs(&[zone]);
    let setup = Setup {
        inventory: &inventory,
        draft: &docs,
        current: &[],
        instances: &[id()],
        from: at(0),
        to: at(3_600),
        step_ms: 15_000,
        dialect: Default::default(),
        pages_per_week: None,
    };
    let said = Trial::new(&setup).err().unwrap();
    assert!(said.contains("many instances"), "{said}");
    assert_ne!(Fill::Up, Fill::One(alerter::signal::Scalar::Up));
}
