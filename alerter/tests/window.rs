//! The window functions against Prometheus' own: the same series through promtool and through ours.
#![allow(clippy::unwrap_used, reason = "clippy does not see that helpers here are tests too")]

mod promtool;

use alerter::window::{Dialect, Ring, Samples, Thin, apply};
use model::policy::{Span, WindowFn};
use promtool::{Input, ask};

/// Length of the generated series, seconds.
const LENGTH: usize = 1_200;

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> f64 {
        // xorshift64*: no crate for a dozen numbers.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A value each second or none: polls every 15 s with jitter and gaps, of one temper each.
fn series(kind: usize, dice: &mut Dice) -> Vec<Option<f64>> {
    let mut values = vec![None; LENGTH];
    let (mut at, mut counter) = (dice.next() * 14.0, dice.next() * 1000.0);
    while (at as usize) < LENGTH {
        let roll = dice.next();
        counter += dice.next() * 50.0;
        let value = match kind {
            // A counter, one that begins anew, one from zero.
            0 => counter,
            1 | 2 => {
                counter = if roll < 0.1 { dice.next() * 5.0 } else { counter };
                counter
            }
            3 => dice.next() * 2e9 - 1e9,
            4 => 42.0,
            5 => (dice.next() * 3.0).floor(),
            6 if roll < 0.2 => f64::NAN,
            7 if roll < 0.1 => f64::INFINITY,
            7 if roll < 0.2 => f64::NEG_INFINITY,
            8 => 1e16 + counter,
            9 => counter * 1e-12,
            10 => f64::INFINITY,
            11 => -counter,
            12 => f64::NAN,
            _ => counter * 0.1,
        };
        let at_s = at as usize;
        if !(kind % 3 == 2 && roll > 0.75) {
            values[at_s] = Some(value);
        }
        // A gap of minutes now and then.
        at += if roll > 0.97 {
            240.0
        } else {
            15.0 + (dice.next() - 0.5) * 6.0 * f64::from(roll < 0.5)
        };
    }
    values
}

fn promql(f: WindowFn, series: &str, range: &str) -> String {
    let over = format!("{series}[{range}]");
    match f {
        WindowFn::Quantile(q) => format!("quantile_over_time({q}, {over})"),
        WindowFn::Forecast(span) => format!("predict_linear({over}, {})", span.ms / 1000),
        WindowFn::Rate
        | WindowFn::Increase
        | WindowFn::Delta
        | WindowFn::Changes
        | WindowFn::Resets => {
            format!("{}({over})", String::from(f))
        }
        plain => format!("{}_over_time({over})", String::from(plain)),
    }
}

fn functions() -> Vec<WindowFn> {
    let plain = [
        "last", "avg", "min", "max", "sum", "count", "rate", "increase", "delta", "changes",
        "resets", "absent",
    ];
    let more = [
        "quantile(0)",
        "quantile(0.5)",
        "quantile(0.99)",
        "quantile(1)",
        "forecast(1h)",
        "forecast(1d)",
    ];
    plain.iter().chain(&more).map(|f| WindowFn::try_from(f.to_string()).unwrap()).collect()
}

/// Equal but for the last bit; NaN equals NaN.
fn same(ours: f64, theirs: f64) -> bool {
    let steps = |v: f64| {
        let bits = v.to_bits() as i64;
        if bits < 0 { i64::MIN - bits } else { bits }
    };
    ours == theirs || (ours.is_nan() && theirs.is_nan()) || steps(ours).abs_diff(steps(theirs)) <= 2
}

#[test]
fn every_function_answers_as_prometheus_does() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let all: Vec<Vec<Option<f64>>> = (0..14).map(|kind| series(kind, &mut dice)).collect();
    let inputs: Vec<Input> = all
        .iter()
        .enumerate()
        .map(|(i, values)| Input { series: format!("s{i}"), values: values.clone() })
        .collect();
    let ranges = [30_i64, 60, 300, 600];
    let times = [29_i64, 150, 451, 600, 907, 1_199];
    let mut questions = Vec::new();
    let mut known = Vec::new();
    for i in 0..all.len() {
        for f in functions() {
            for range in ranges {
                for at in times {
                    let range_text = String::from(Span::from_ms(range * 1000));
                    questions.push((promql(f, &format!("s{i}"), &range_text), at));
                    known.push((i, f, range, at));
                }
            }
        }
    }
    let answers = ask(1, "", &inputs, &questions);
    let mut compared = 0;
    for (question, (i, f, range, at)) in questions.iter().zip(known) {
        let points: Vec<(u32, f64)> =
            all[i].iter().enumerate().filter_map(|(s, v)| Some((s as u32 * 1000, (*v)?))).collect();
        let (offsets, values): (Vec<u32>, Vec<f64>) = points.into_iter().unzip();
        let samples = Samples { offsets: &offsets, values: &values, base: 0 };
        let ours = apply(f, samples, at * 1000, range * 1000, Dialect::V2_42);
        let theirs = answers.get(question).and_then(|got| got.first()).map(|(_, v)| *v);
        match (ours, theirs) {
            (None, None) => {}
            (Some(ours), Some(theirs)) => {
                assert!(same(ours, theirs), "{question:?}: ours {ours:e}, Prometheus {theirs:e}");
                compared += 1;
            }
            (ours, theirs) => panic!("{question:?}: ours {ours:?}, Prometheus {theirs:?}"),
        }
    }
    assert!(compared > 3_000, "{compared} answers compared");
}

#[test]
fn a_ring_fed_poll_by_poll_answers_as_all_samples_would() {
    let mut dice = Dice(7);
    for kind in [0, 1, 3, 5, 6] {
        let (mut ring, mut offsets, mut values) = (Ring::default(), Vec::new(), Vec::new());
        let range = 300_000;
        for poll in 0..200_i64 {
            // Within a tenth of the interval, as polls are.
            let at = poll * 15_000 + (dice.next() * 600.0) as i64;
            let value = match kind {
                0 => poll as f64 * 3.0,
                1 => (poll % 17) as f64,
                6 if poll % 5 == 0 => f64::NAN,
                _ => dice.next() * 100.0,
            };
            ring.push(at, value, Thin::of(range, 15_000), range);
            offsets.push(at as u32);
            values.push(value);
            let all = Samples { offsets: &offsets, values: &values, base: 0 };
            for f in functions() {
                let [ringed, whole] =
                    [ring.samples(), all].map(|s| apply(f, s, at, range, Dialect::V3));
                assert_eq!(ringed.map(f64::to_bits), whole.map(f64::to_bits), "{f:?} at {at}");
            }
        }
    }
}
