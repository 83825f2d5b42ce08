//! The waterfall of a score as lines of text, for terminals and mails.
//!
//! Invariant: the lines add up to the score, or say that they do not; text that comes from servers breaks
//! no line.

use super::Explained;

/// A text without what could break a line.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn cents(points: f64) -> i64 {
    (points * 100.0).round() as i64
}

fn number(score: Option<f64>) -> String {
    score.map_or("?".into(), |s| format!("{s:.2}"))
}

/// The waterfall, from 100 down to the score, and what would help most.
pub fn waterfall(e: &Explained) -> String {
    let mut out = format!(
        "{} {}  {}  {}\n",
        e.level.as_str(),
        plain(&e.id),
        number(e.score),
        e.grade.as_str()
    );
    if e.score.is_none() {
        out.push_str(&format!("  no score: {}\n", plain(&e.reason)));
    }
    let mut left = 10_000;
    out.push_str("  100.00  to begin with\n");
    let mut line = |points: f64, what: String| {
        left -= cents(points);
        out.push_str(&format!("  {:>6}  {what}\n", format!("-{points:.2}")));
    };
    for bar in e.bars.iter().filter(|b| cents(b.points) != 0) {
        line(bar.points, format!("{} {}: {}", bar.dimension, bar.signal, plain(&bar.text)));
    }
    for gate in e.gates.iter().filter(|g| g.binds && cents(g.points) != 0) {
        line(
            gate.points,
            format!("gate {} (at most {:.0}): {}", gate.gate, gate.cap, plain(&gate.text)),
        );
    }
    out.push_str("  ------\n");
    match e.score {
        Some(score) if cents(score) == left => out.push_str(&format!("  {score:>6.2}  = score\n")),
        Some(score) => {
            let sum = left as f64 / 100.0;
            out.push_str(&format!("  {score:>6.2}  = score, but the lines add up to {sum:.2}\n"));
        }
        None => {}
    }
    if e.confidence < 1.0 {
        out.push_str(&format!(
            "  known: {:.0} % of the weight; the score is an upper bound\n",
            e.confidence * 100.0
        ));
    }
    for u in &e.unknown {
        out.push_str(&format!(
            "  unknown {}: {} (needs {})\n",
            u.signal,
            plain(&u.reason),
            plain(&u.needs)
        ));
    }
    for s in &e.suggestions {
        out.push_str(&format!("  +{:.2} if {}\n", s.gain, plain(&s.text)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::At;
    use crate::score::{Bar, GateState, Grade, Level};

    fn bar(points: f64) -> Bar {
        Bar {
            dimension: "memory".into(),
            signal: "M1".into(),
            points,
            text: "90 % of maxmemory".into(),
            ..Bar::default()
        }
    }

    fn explained(score: f64) -> Explained {
        Explained {
            level: Level::Service,
            id: "pay.cart".into(),
            at: At::EPOCH,
            score: Some(score),
            raw: Some(88.88),
            grade: Grade::D,
            grade_since: At::EPOCH,
            confidence: 1.0,
            bars: vec![bar(11.11), bar(0.01)],
            gates: vec![GateState {
                gate: "down".into(),
                cap: 40.0,
                holds: true,
                binds: true,
                points: 48.88,
                text: "the master is down".into(),
            }],
            ..Explained::default()
        }
    }

    #[test]
    fn the_lines_add_up_to_the_score() {
        let text = waterfall(&explained(40.0));
        assert!(text.contains(" 40.00  = score\n"), "{text}");
        assert!(text.contains("-48.88  gate down"), "{text}");
    }

    #[test]
    fn lines_that_do_not_add_up_are_told() {
        assert!(waterfall(&explained(41.0)).contains("add up to 40.00"));
    }
}
