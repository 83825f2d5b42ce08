//! A score from the series that were exported when it was shown.
//!
//! Invariant: points, score, grade and gates are the values of the series; nothing is scored again. What
//! the series do not carry (raw values, texts) is left out, for other series carry it; the policy comes
//! from the revisions of that time.

use std::collections::BTreeMap;

use model::At;
use model::score::{Bar, Explained, GateState, Grade, Level, UnknownSignal};

use crate::prometheus::{Prometheus, Sample};

/// What is read: all that makes a waterfall.
const FAMILIES: &str = "cachewarden_health_(score|grade|confidence|coverage|loss|gate|unknown)";

/// The score of an object at a moment; none: it had no series then.
pub(super) async fn read(
    prometheus: &Prometheus,
    (level, id): (Level, &str),
    at: At,
) -> Result<Option<Explained>, String> {
    // Ids are plain characters, but a label matcher is text all the same.
    let id_text = id.replace('\\', "\\\\").replace('"', "\\\"");
    let query = format!(r#"{{__name__=~"{FAMILIES}",level="{}",id="{id_text}"}}"#, level.as_str());
    let samples = prometheus.at(&query, at).await?;
    Ok(rebuild((level, id), &samples, at))
}

fn rebuild((level, id): (Level, &str), samples: &[Sample], at: At) -> Option<Explained> {
    let of = |name: &'static str| {
        let name = format!("cachewarden_health_{name}");
        samples.iter().filter(move |s| s.label("__name__") == name)
    };
    let one = |name| of(name).next().map(|s| s.value);
    let grade = Grade::BANDS.iter().map(|(grade, _)| *grade);
    let number = one("grade")?;
    let grade = grade.into_iter().find(|g| f64::from(g.number()) == number).unwrap_or_default();
    let score = one("score");
    let mut e = Explained {
        level,
        id: id.to_owned(),
        at,
        score,
        grade,
        confidence: one("confidence").unwrap_or_default(),
        coverage: one("coverage"),
        ..Explained::default()
    };
    e.partial = e.coverage.is_some_and(|c| c < 0.8 - 1e-9);
    e.bars = bars(of("loss"));
    e.unknown = of("unknown")
        .map(|s| UnknownSignal {
            signal: s.label("signal").into(),
            reason: s.label("reason").into(),
            needs: String::new(),
        })
        .collect();
    let lost: f64 = e.bars.iter().map(|b| b.points).sum();
    e.raw = score.map(|_| rounded(100.0 - lost));
    e.gates = gates(of("gate"), score, e.raw);
    if score.is_none() {
        e.reason = "there was no number at that time".into();
    }
    Some(e)
}

fn rounded(points: f64) -> f64 {
    (points * 100.0).round() / 100.0
}

/// Signals while they lost points; of roll-ups the sums of their parts.
fn bars<'s>(losses: impl Iterator<Item = &'s Sample>) -> Vec<Bar> {
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    let mut bars: Vec<Bar> = Vec::new();
    for sample in losses {
        let (dimension, signal) = (sample.label("dimension"), sample.label("signal"));
        if signal.is_empty() {
            sums.insert(dimension, sample.value);
        } else {
            bars.push(bar(dimension, signal, sample.value));
        }
    }
    let parts =
        sums.into_iter().filter(|(d, points)| matches!(*d, "child" | "worst") && *points > 0.0);
    bars.extend(parts.map(|(dimension, points)| bar(dimension, "", points)));
    bars.sort_by(|a, b| b.points.total_cmp(&a.points).then_with(|| a.signal.cmp(&b.signal)));
    bars
}

fn bar(dimension: &str, signal: &str, points: f64) -> Bar {
    let sources = scorer::Signal::parse(signal).map(|s| s.info().fields);
    Bar {
        dimension: dimension.into(),
        signal: signal.into(),
        points: rounded(points),
        sources: sources.unwrap_or_default().iter().map(|f| f.info().metric.to_owned()).collect(),
        text: match dimension {
            "child" => "all parts of it together".into(),
            "worst" => "its worst part".into(),
            _ => String::new(),
        },
        ..Bar::default()
    }
}

fn gates<'s>(
    held: impl Iterator<Item = &'s Sample>,
    score: Option<f64>,
    raw: Option<f64>,
) -> Vec<GateState> {
    let mut bound = false;
    let state = |sample: &Sample| {
        let limits = raw > score && score == Some(sample.value);
        let binds = limits && !bound;
        bound |= binds;
        let taken = raw.zip(score).filter(|_| binds).map_or(0.0, |(raw, score)| raw - score);
        GateState {
            gate: sample.label("gate").into(),
            cap: sample.value,
            holds: true,
            binds,
            points: rounded(taken),
            text: String::new(),
        }
    };
    held.map(state).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: At = At::from_ms(1_763_800_000_000);

    fn sample(name: &str, labels: &[(&str, &str)], value: f64) -> Sample {
        let name = [("__name__", format!("cachewarden_health_{name}"))];
        let own = name.iter().map(|(k, v)| ((*k).to_string(), v.clone()));
        let rest = labels.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string()));
        Sample { labels: own.chain(rest).collect(), value }
    }

    #[test]
    fn the_waterfall_of_then_adds_up_from_its_series() {
        let loss = |d: &str, s: &str, v: f64| sample("loss", &[("dimension", d), ("signal", s)], v);
        let samples = [
            sample("score", &[], 59.0),
            sample("grade", &[], 2.0),
            sample("confidence", &[], 1.0),
            loss("memory", "", 15.59),
            loss("memory", "M1", 13.0),
            loss("memory", "M5", 2.59),
            loss("availability", "", 0.0),
            sample("gate", &[("gate", "oom_errors")], 59.0),
            sample("unknown", &[("signal", "S4"), ("reason", "noperm")], 1.0),
        ];
        let e = rebuild((Level::Instance, "pay.cart@10.0.0.1:6379"), &samples, T0).unwrap();
        assert_eq!((e.score, e.raw, e.grade), (Some(59.0), Some(84.41), Grade::D));
        let sum: f64 = e.bars.iter().map(|b| b.points).sum::<f64>() + e.gates[0].points + 59.0;
        assert!((sum - 100.0).abs() < 1e-9 && e.gates[0].binds, "{e:?}");
        assert_eq!((e.bars[0].signal.as_str(), e.unknown[0].reason.as_str()), ("M1", "noperm"));
        assert!(e.bars[0].sources.contains(&"redis_memory_used_bytes".to_string()));
    }

    #[test]
    fn without_a_number_there_is_none_and_without_series_nothing() {
        let blind = [sample("grade", &[], 0.0), sample("confidence", &[], 0.4)];
        let e = rebuild((Level::Service, "pay.cart"), &blind, T0).unwrap();
        assert_eq!((e.score, e.raw, e.grade), (None, None, Grade::Unknown));
        assert!(rebuild((Level::Service, "pay.cart"), &[], T0).is_none());
    }

    #[test]
    fn a_roll_up_shows_the_sums_of_its_parts() {
        let loss = |d: &str, v: f64| sample("loss", &[("dimension", d), ("signal", "")], v);
        let samples = [
            sample("score", &[], 70.0),
            sample("grade", &[], 3.0),
            loss("child", 10.0),
            loss("worst", 20.0),
        ];
        let e = rebuild((Level::Service, "pay.cart"), &samples, T0).unwrap();
        let bars: Vec<_> = e.bars.iter().map(|b| (b.dimension.as_str(), b.points)).collect();
        assert_eq!((bars, e.raw), (vec![("worst", 20.0), ("child", 10.0)], Some(70.0)));
    }
}
