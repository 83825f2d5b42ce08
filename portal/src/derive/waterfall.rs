//! The rows of a waterfall: 100 at the top, each lost piece below, the score at the bottom.
//!
//! Invariant: the rows fall exactly from 100 to the score; nothing is added up twice, nothing left
//! out. Without a score there are no rows, only the reason.

use model::score::{Bar, Explained, GateState, Grade};
use serde_json::{Value, json};

use super::health;
use crate::format;
use crate::helpers::kind;
use crate::link;
use crate::words::{Arg, Voice};

/// Everything a waterfall part draws.
pub(super) fn one(e: &Explained, voice: Voice<'_>) -> Value {
    let rows = if e.score.is_some() { rows(e, voice) } else { Vec::new() };
    let held: Vec<&GateState> = e.gates.iter().filter(|g| g.holds && !g.binds).collect();
    let suggestions: Vec<Value> = e
        .suggestions
        .iter()
        .map(|s| json!({ "s": s, "href": health::try_it(e, &s.overrides) }))
        .collect();
    json!({
        "e": e, "rows": rows, "held": held, "suggestions": suggestions,
        "result": kind::grade(e.grade.as_str()), "grade_held": grade_held(e, voice),
    })
}

/// Why the grade is not the one of its score; null when it is.
fn grade_held(e: &Explained, voice: Voice<'_>) -> Option<String> {
    let own = Grade::of(e.score?);
    if own == e.grade || e.grade == Grade::Unknown {
        return None;
    }
    let key = match own.number() > e.grade.number() {
        true if e.partial && e.grade == Grade::B => "grade-held-partial",
        true => "grade-held-low",
        false => "grade-held-high",
    };
    let args = [("own", Arg::from(own.as_str())), ("grade", Arg::from(e.grade.as_str()))];
    Some(voice.say(key, &args))
}

fn rows(e: &Explained, voice: Voice<'_>) -> Vec<Value> {
    let mut top = 100.0;
    let mut rows = Vec::new();
    let gate_is_a_bar = e.bars.iter().any(|b| b.dimension == "gate");
    let gate = |g: &GateState| Bar {
        dimension: "gate".into(),
        signal: g.gate.clone(),
        text: g.text.clone(),
        points: g.points,
        ..Bar::default()
    };
    let binding = e.gates.iter().filter(|g| g.binds && !gate_is_a_bar).map(gate);
    for bar in e.bars.iter().cloned().chain(binding).filter(|b| b.points > 0.0) {
        rows.push(row(&bar, top, voice));
        top -= bar.points;
    }
    rows
}

fn row(bar: &Bar, top: f64, voice: Voice<'_>) -> Value {
    let dimension = bar.dimension.as_str();
    let threshold = bar.threshold.as_ref().map(|t| {
        let at = health::amount(t.at, &bar.unit);
        let args = [("at", Arg::from(at)), ("origin", Arg::from(t.origin.as_str()))];
        voice.say("bar-threshold", &args)
    });
    // Only signals have a curve; a part's points are told by its own score.
    let arithmetic = bar.threshold.as_ref().map(|_| {
        let [loss, share, weight] =
            [bar.loss, bar.share, bar.weight].map(|x| Arg::from(format::score(x)));
        voice.say("bar-loss", &[("loss", loss), ("share", share), ("weight", weight)])
    });
    json!({
        "dimension": voice.word("dimension", dimension),
        "signal": if dimension == "child" { "" } else { bar.signal.as_str() },
        "text": bar.text, "points": -bar.points, "since": bar.since,
        "value": bar.value.map(|v| health::amount(v, &bar.unit)),
        "arithmetic": arithmetic, "threshold": threshold,
        "link": link::safe(&bar.link), "sources": bar.sources.join(", "),
        "from": top, "to": top - bar.points,
        "kind": if dimension == "gate" || bar.points >= 10.0 { "crit" } else { "warn" },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Lang;
    use crate::words::Words;
    use model::score::Threshold;

    fn bar(dimension: &str, points: f64) -> Bar {
        Bar {
            dimension: dimension.into(),
            signal: "M1".into(),
            value: Some(0.88),
            unit: "ratio".into(),
            loss: 52.0,
            share: 1.0,
            weight: 0.25,
            points,
            threshold: Some(Threshold { at: 0.7, origin: "profile store".into() }),
            text: "t".into(),
            link: "javascript:alert(1)".into(),
            ..Bar::default()
        }
    }

    #[test]
    fn the_rows_fall_from_100_to_the_score_and_carry_no_foreign_link() {
        let e = Explained {
            id: "x".into(),
            score: Some(72.06),
            raw: Some(72.06),
            grade: Grade::C,
            confidence: 1.0,
            bars: vec![bar("availability", 10.0), bar("memory", 17.94), bar("slowlog", 0.0)],
            ..Explained::default()
        };
        let words = Words::new();
        let rows = rows(&e, Voice { words: &words, lang: Lang::En });
        assert_eq!(rows.len(), 2);
        let last = rows[1]["to"].as_f64().unwrap();
        assert!((last - 72.06).abs() < 1e-9);
        assert_eq!(rows[0]["link"], Value::Null);
        assert_eq!(rows[0]["threshold"], "loss begins at 70 %, set by profile store");
        assert_eq!(rows[0]["arithmetic"], "loss 52.00 × 1.00 × 0.25");
        let voice = Voice { words: &words, lang: Lang::En };
        let held = |score: f64, partial: bool, grade: Grade| {
            let e = Explained { score: Some(score), partial, grade, ..e.clone() };
            grade_held(&e, voice).unwrap_or_default()
        };
        assert_eq!(held(72.06, false, Grade::C), "");
        assert!(held(91.0, false, Grade::C).contains("five minutes"));
        assert!(held(79.0, false, Grade::B).contains("clearly below"));
        assert!(held(95.0, true, Grade::B).contains("not all of it is known"));
    }
}
