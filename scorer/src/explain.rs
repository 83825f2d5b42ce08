//! The score of one instance and everything that made it.
//!
//! Invariant: `bars` + points of the binding gate + `score` = 100.00 exactly when there is a score;
//! a confirmed `down` is a known fact (score 0, confidence 1); without a number the grade is "?".
//! Refuses to know: roll-ups, and where inputs come from.

use model::At;
use model::InstanceId;
use model::score::{Bar, Dimension, Explained, Level, NotApplicable, Threshold, UnknownSignal};
use model::verdict::Verdict;

use crate::exact::{ALL, cents, points, split};
use crate::gates::{self, Cap};
use crate::grade::{Evaluation, SLACK_INSTANCE, Sticky};
use crate::inputs::{Inputs, Seen};
use crate::measure::{Measure, Measures, SWITCHED_OFF, measure};
use crate::policy::{Gate, Policy};
use crate::signal::Signal;
use crate::{suggest, text};

/// Share of a dimension's signals other than the worst: correlated causes are not counted in full.
const OTHERS: f64 = 0.25;

/// Below this confidence there is no number.
pub(crate) const CONFIDENCE_MIN: f64 = 0.6;

const DIMENSIONS: [Dimension; 4] =
    [Dimension::Availability, Dimension::Memory, Dimension::Connections, Dimension::Slowlog];

/// A signal that loses points.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    pub signal: Signal,
    pub share: f64,
    /// Weight of the dimension, normalised.
    pub weight: f64,
    /// Exact points.
    pub points: f64,
}

/// The arithmetic of a score, without a word.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    pub losses: [Option<f64>; 4],
    pub pieces: Vec<Piece>,
    pub confidence: f64,
    /// Hundredths before gates; none: no number.
    pub raw: Option<i64>,
}

/// Losses to a raw score.
pub(crate) fn tally(measures: &Measures, policy: &Policy) -> Tally {
    let applicable = |d: usize| of_dimension(measures, d).any(|(_, m)| !is_not_applicable(&m));
    let total: f64 = (0..4).filter(|d| applicable(*d)).map(|d| policy.weights[d]).sum();
    let mut tally = Tally { losses: [None; 4], pieces: Vec::new(), confidence: 0.0, raw: None };
    let mut lost = 0.0;
    for d in (0..4).filter(|d| applicable(*d)) {
        let weight = policy.weights[d] / total;
        let loss = dimension(measures, d, weight, &mut tally.pieces);
        // A sum over nothing is -0.0, which would be printed as a loss of "-0.00".
        tally.losses[d] = Some(loss + 0.0);
        tally.confidence += weight * evidence(measures, policy, d);
        lost += weight * loss;
    }
    tally.confidence = tally.confidence.clamp(0.0, 1.0);
    let a1 = !matches!(measures[Signal::A1 as usize], Seen::Unknown { .. });
    if a1 && tally.confidence >= CONFIDENCE_MIN {
        tally.raw = Some(cents((100.0 - lost).clamp(0.0, 100.0)));
    }
    tally
}

fn of_dimension(
    measures: &Measures,
    d: usize,
) -> impl Iterator<Item = (Signal, Seen<crate::measure::Measure>)> + '_ {
    Signal::of_dimension(d).iter().map(|s| (*s, measures[*s as usize]))
}

fn is_not_applicable<T>(seen: &Seen<T>) -> bool {
    matches!(seen, Seen::NotApplicable(_))
}

/// Loss of a dimension: the worst signal in full, the others at a quarter, 100 at most. Adds its
/// pieces, worst first, scaled where the limit of 100 binds.
fn dimension(measures: &Measures, d: usize, weight: f64, pieces: &mut Vec<Piece>) -> f64 {
    let start = pieces.len();
    for (signal, seen) in of_dimension(measures, d) {
        if let Some(measure) = seen.known().filter(|m| m.loss > 0.0) {
            pieces.push(Piece { signal, share: OTHERS, weight, points: measure.loss });
        }
    }
    let mine = &mut pieces[start..];
    // A stable sort: of two equal losses the lower id is the worst.
    mine.sort_by(|a, b| b.points.total_cmp(&a.points));
    if let Some(worst) = mine.first_mut() {
        worst.share = 1.0;
    }
    let uncapped: f64 = mine.iter().map(|p| p.share * p.points).sum();
    let scale = if uncapped > 100.0 { 100.0 / uncapped } else { 1.0 };
    for piece in mine.iter_mut() {
        piece.points *= piece.share * weight * scale;
    }
    uncapped.min(100.0)
}

/// Known part of a dimension's evidence.
fn evidence(measures: &Measures, policy: &Policy, d: usize) -> f64 {
    let (mut known, mut all) = (0.0, 0.0);
    for (signal, seen) in of_dimension(measures, d).filter(|(_, m)| !is_not_applicable(m)) {
        let e = policy.evidence(signal);
        all += e;
        known += if matches!(seen, Seen::Known(_)) { e } else { 0.0 };
    }
    if all > 0.0 { known / all } else { 0.0 }
}

/// Scores an instance and says why. `sticky` is the instance's own grade memory.
pub fn explain(
    inputs: &Inputs,
    policy: &Policy,
    id: &InstanceId,
    sticky: &mut Sticky,
    now: At,
) -> Explained {
    if let Verdict::Down(evidence) = &inputs.verdict {
        return down(evidence, policy, id, sticky, now);
    }
    let measures = measure(inputs, policy, now);
    let tally = tally(&measures, policy);
    let caps = gates::of_instance(inputs, policy, now);
    let score = tally.raw.map(|raw| gates::capped(raw, &caps));
    let bars = bars((inputs, policy, id), &measures, &tally, sticky, now);
    let suggestions = match score {
        Some(score) => suggest::suggest((inputs, policy, now), &measures, &caps, score),
        None => Vec::new(),
    };
    let evaluation = Evaluation {
        score: score.map(points),
        sight: tally.confidence,
        slack: SLACK_INSTANCE,
        gate_binds: score < tally.raw,
        best: model::score::Grade::A,
        rise_ms: policy.rise_ms,
    };
    let (grade, grade_since) = sticky.step(evaluation, now);
    let (unknown, not_applicable) = silent(&measures);
    Explained {
        level: Level::Instance,
        id: id.as_str().to_owned(),
        at: now,
        score: score.map(points),
        raw: tally.raw.map(points),
        grade,
        grade_since,
        confidence: tally.confidence,
        coverage: None,
        partial: false,
        policy: Some(policy.used()),
        losses: tally.losses,
        bars,
        gates: gates::states(caps, tally.raw),
        reason: if score.is_some() { String::new() } else { why_no_number(inputs, &tally) },
        unknown,
        switched_off: policy.switched_off(now, gates::is_of_instance),
        not_applicable,
        suggestions,
    }
}

fn bars(
    (inputs, policy, id): (&Inputs, &Policy, &InstanceId),
    measures: &Measures,
    tally: &Tally,
    sticky: &mut Sticky,
    now: At,
) -> Vec<Bar> {
    let exact: Vec<f64> = tally.pieces.iter().map(|p| p.points).collect();
    let total = match tally.raw {
        Some(raw) => ALL - raw,
        // No number to add up to: the known losses are shown, each rounded for itself.
        None => cents(exact.iter().sum()),
    };
    for signal in Signal::all() {
        let loses = measures[*signal as usize].known().is_some_and(|m| m.loss > 0.0);
        sticky.losing(*signal, loses, now);
    }
    let parts = split(&exact, total);
    let shown = tally.pieces.iter().zip(parts).filter_map(|(piece, part)| {
        let measure = measures[piece.signal as usize].known()?;
        let info = piece.signal.info();
        Some(Bar {
            dimension: DIMENSIONS[piece.signal.dimension()].as_str().to_owned(),
            signal: info.name.to_owned(),
            value: measure.value.is_finite().then_some(measure.value),
            unit: text::unit(piece.signal, &measure).to_owned(),
            loss: measure.loss,
            share: piece.share,
            weight: piece.weight,
            points: points(part),
            since: sticky.losing(piece.signal, true, now),
            threshold: Some(threshold(piece.signal, &measure, policy)),
            sources: info.fields.iter().map(|f| f.info().metric.to_owned()).collect(),
            text: text::signal(piece.signal, &measure, inputs, policy),
            link: format!("/instances/{id}/health"),
        })
    });
    shown.collect()
}

fn threshold(signal: Signal, measure: &Measure, policy: &Policy) -> Threshold {
    // Without maxmemory M1 is judged by the curve of the host's memory.
    let judged_by = match signal {
        Signal::M1 if measure.second => Signal::M3,
        signal => signal,
    };
    Threshold { at: measure.threshold, origin: policy.origin(judged_by) }
}

fn silent(measures: &Measures) -> (Vec<UnknownSignal>, Vec<NotApplicable>) {
    // About that many have no meaning for a healthy server: growing costs more than the room.
    let (mut unknown, mut not_applicable) = (Vec::new(), Vec::with_capacity(16));
    for signal in Signal::all() {
        match measures[*signal as usize] {
            Seen::Known(_) | Seen::NotApplicable(SWITCHED_OFF) => {}
            Seen::NotApplicable(why) => not_applicable
                .push(NotApplicable { signal: signal.as_str().into(), why: why.into() }),
            Seen::Unknown { reason, needs } => unknown.push(UnknownSignal {
                signal: signal.as_str().into(),
                reason: reason.into(),
                needs: needs.into(),
            }),
        }
    }
    (unknown, not_applicable)
}

fn why_no_number(inputs: &Inputs, tally: &Tally) -> String {
    match &inputs.verdict {
        Verdict::Unknown(reason) => format!("whether it is up is not known: {reason}"),
        _ => format!(
            "only {:.0} % of what the score is made from could be read, at least 60 % are needed",
            tally.confidence * 100.0
        ),
    }
}

/// A confirmed down: nothing else is readable, and nothing else matters.
fn down(
    evidence: &str,
    policy: &Policy,
    id: &InstanceId,
    sticky: &mut Sticky,
    now: At,
) -> Explained {
    let evaluation = Evaluation {
        score: Some(0.0),
        sight: 0.0,
        slack: SLACK_INSTANCE,
        gate_binds: true,
        best: model::score::Grade::A,
        rise_ms: policy.rise_ms,
    };
    let (grade, grade_since) = sticky.step(evaluation, now);
    let cap = Cap::of(policy, Gate::Down, true, &format!("down: {evidence}"));
    let why = |signal: &Signal| NotApplicable {
        signal: signal.as_str().into(),
        why: "not readable while down".into(),
    };
    Explained {
        level: Level::Instance,
        id: id.as_str().to_owned(),
        at: now,
        score: Some(0.0),
        raw: Some(100.0),
        grade,
        grade_since,
        confidence: 1.0,
        policy: Some(policy.used()),
        gates: gates::states(vec![cap], Some(ALL)),
        not_applicable: Signal::all().iter().map(why).collect(),
        ..Explained::default()
    }
}

#[cfg(test)]
mod tests;
