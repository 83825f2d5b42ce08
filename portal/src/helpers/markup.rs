//! Helpers that write HTML: status words with their shape, times, charts.
//!
//! Invariant: every text put into markup here goes through `escape`.

use model::At;
use model::health::HistoryMark;
use model::view::{Point, ServicePage, Verdicts};
use serde::Deserialize;
use serde_json::Value;

use super::text::plain_text;
use super::{Args, Failed, MarkupFn, kind};
use crate::format;
use crate::svg::{self, Ring, Segment, Span, Trend, escape};
use crate::words::Arg;

pub(super) const ALL: &[(&str, MarkupFn)] = &[
    ("icon", |a| Ok(svg::icon(a.text(0)?))),
    ("status", status),
    ("phase", phase),
    ("mark", mark),
    ("grade", grade),
    ("show", show),
    ("markdown", |a| Ok(crate::manual::rendered(a.text(0)?))),
    ("na", |a| Ok(unknown(a, a.text(0)?))),
    ("time", time),
    ("since", since),
    ("ring", ring),
    ("trend", trend),
    ("meter", meter),
    ("verdicts", verdicts),
    ("fall", fall),
    ("topology", topology),
    ("strip", strip),
];

fn chip(kind: &str, word: &str) -> String {
    format!(r#"<span class="st k-{kind}">{}{}</span>"#, svg::icon(shape(kind)), escape(word))
}

fn shape(kind: &str) -> &str {
    if kind == "idle" { "unknown" } else { kind }
}

/// `{{status "verdict" state}}`: shape and word.
fn status(a: &Args<'_, '_>) -> Result<String, Failed> {
    let (family, word) = (a.text(0)?, plain_text(a.value(1)?));
    Ok(chip(kind::of(family, &word), &a.voice.word(family, &word)))
}

/// `{{phase phase level}}`: a firing alert looks as grave as its level, an `info` is no fire.
fn phase(a: &Args<'_, '_>) -> Result<String, Failed> {
    let (phase, level) = (a.text(0)?, a.text(1)?);
    let kind = if phase == "firing" { kind::of("level", level) } else { kind::of("phase", phase) };
    Ok(chip(kind, &a.voice.word("phase", phase)))
}

/// `{{mark "warn" text}}`: a shape with any text.
fn mark(a: &Args<'_, '_>) -> Result<String, Failed> {
    let kind = a.text(0)?;
    Ok(chip(&escape(kind), &plain_text(a.value(1)?)))
}

/// The part of a score that lists and headers show; both `ScoreBrief` and `Explained` have it.
#[derive(Deserialize)]
struct Brief {
    score: Option<f64>,
    grade: String,
    confidence: f64,
    #[serde(default)]
    cause: String,
    #[serde(default)]
    reason: String,
}

impl Brief {
    fn is_bound(&self) -> bool {
        self.confidence < 0.995
    }
}

/// `{{grade health}}`: shape, number, letter; the words of the grade in the tooltip.
fn grade(a: &Args<'_, '_>) -> Result<String, Failed> {
    let brief: Brief = a.noun(0)?;
    let word = a.voice.word("grade", &brief.grade);
    let kind = kind::grade(&brief.grade);
    let why = if brief.cause.is_empty() { &brief.reason } else { &brief.cause };
    let Some(score) = brief.score else {
        return Ok(format!(
            r#"<span class="st score k-unknown" title="{}">{}<b>–</b><i>{}</i></span>"#,
            escape(why),
            svg::icon("unknown"),
            escape(&word)
        ));
    };
    let bound = if brief.is_bound() { "≤\u{2009}" } else { "" };
    let title = if brief.is_bound() {
        let confidence = format::percent(brief.confidence);
        format!("{word} · {}", a.voice.say("confidence-is", &[("ratio", confidence.into())]))
    } else {
        word
    };
    Ok(format!(
        r#"<span class="st score k-{kind}" title="{}">{}<b>{bound}{}</b><i>{}</i></span>"#,
        escape(&title),
        svg::icon(kind),
        format::score(score),
        escape(&brief.grade)
    ))
}

fn unknown(a: &Args<'_, '_>, why: &str) -> String {
    let why = if why.is_empty() { a.voice.say("not-known", &[]) } else { why.to_owned() };
    format!(r#"<span class="na" title="{w}">–<span class="sr">{w}</span></span>"#, w = escape(&why))
}

/// `{{show "bytes" value why=reason}}`: a number, or the hatched dash with its reason.
fn show(a: &Args<'_, '_>) -> Result<String, Failed> {
    let Some(value) = a.number(1)? else { return Ok(unknown(a, a.named("why"))) };
    Ok(match a.text(0)? {
        "bytes" => format::bytes(value),
        "percent" => format::percent(value),
        "score" => format::score(value),
        "span" => escape(&format::span(a.voice, value as i64)),
        _ => format::number(value),
    })
}

/// `{{time at}}`: clock time in the reader's zone, UTC in the tooltip.
fn time(a: &Args<'_, '_>) -> Result<String, Failed> {
    let Some(at) = a.at(0)? else { return Ok(unknown(a, "")) };
    let zone = format::zone(a.frame_text("zone"));
    let text = format::clock(at, a.now(), &zone);
    Ok(format!(
        r#"<time datetime="{at}" title="{}">{}</time>"#,
        escape(&format::utc(at)),
        escape(&text)
    ))
}

/// `{{since at}}`: how long ago, UTC in the tooltip.
fn since(a: &Args<'_, '_>) -> Result<String, Failed> {
    let Some(at) = a.at(0)? else { return Ok(unknown(a, "")) };
    let text = format::ago(a.voice, a.now(), at);
    Ok(format!(
        r#"<time datetime="{at}" title="{}">{}</time>"#,
        escape(&format::utc(at)),
        escape(&text)
    ))
}

/// `{{ring health}}`.
fn ring(a: &Args<'_, '_>) -> Result<String, Failed> {
    let brief: Brief = a.noun(0)?;
    let word = a.voice.word("grade", &brief.grade);
    let label = match brief.score {
        Some(score) => a.voice.say(
            "ring-label",
            &[("score", format::score(score).into()), ("grade", word.as_str().into())],
        ),
        None => a.voice.say("ring-label-unknown", &[]),
    };
    Ok(svg::ring(&Ring {
        score: brief.score,
        grade: &brief.grade,
        kind: kind::grade(&brief.grade),
        upper_bound: brief.is_bound(),
        label: &label,
    }))
}

/// `{{trend points grade}}`.
fn trend(a: &Args<'_, '_>) -> Result<String, Failed> {
    let points: Vec<Point> = a.noun(0)?;
    let zone = format::zone(a.frame_text("zone"));
    let clock = |p: Option<&Point>| p.map_or(String::new(), |p| format::clock(p.t, a.now(), &zone));
    let values: Vec<(i64, Option<f64>)> = points.iter().map(|p| (p.t.ms(), p.v)).collect();
    let known = || points.iter().filter_map(|p| p.v);
    let label = if known().next().is_some() {
        let (low, high) = (known().fold(100.0, f64::min), known().fold(0.0, f64::max));
        a.voice.say(
            "trend-label",
            &[("low", format::score(low).into()), ("high", format::score(high).into())],
        )
    } else {
        a.voice.say("trend-label-unknown", &[])
    };
    let (from, to) = (clock(points.first()), clock(points.last()));
    let kind = kind::grade(a.text(1)?);
    Ok(svg::trend(&Trend { points: &values, kind, ends: (&from, &to), label: &label }))
}

/// `{{meter ratio kind}}`; without a kind the colour follows the ratio, null draws a hatched track.
fn meter(a: &Args<'_, '_>) -> Result<String, Failed> {
    let Some(ratio) = a.number(0)? else { return Ok(svg::meter(0.0, "unknown", None)) };
    let limit = a.helper.hash_get("limit").and_then(|v| v.value().as_f64());
    let kind = match a.helper.param(1) {
        Some(_) => a.text(1)?,
        None => kind::ratio(ratio),
    };
    Ok(svg::meter(ratio, kind, limit))
}

/// `{{verdicts counts}}`: up, down and unknown as parts of a bar.
fn verdicts(a: &Args<'_, '_>) -> Result<String, Failed> {
    let v: Verdicts = a.noun(0)?;
    let count = |n: u32| Arg::Number(f64::from(n));
    let label = a.voice.say(
        "verdicts-label",
        &[("up", count(v.up)), ("down", count(v.down)), ("unknown", count(v.unknown))],
    );
    let part = |kind, n: u32| Segment { kind, amount: f64::from(n) };
    Ok(svg::segments(&[part("ok", v.up), part("crit", v.down), part("unknown", v.unknown)], &label))
}

/// `{{fall from to kind total}}`: the bar of one row of a waterfall.
fn fall(a: &Args<'_, '_>) -> Result<String, Failed> {
    let end = |i| a.number(i).map(Option::unwrap_or_default);
    Ok(svg::fall(end(0)?, end(1)?, a.text(2)?, a.value(3)? == &Value::Bool(true)))
}

/// `{{strip page}}`: the grades of the last 24 hours.
fn strip(a: &Args<'_, '_>) -> Result<String, Failed> {
    const LENGTH_MS: f64 = 86_400_000.0;
    #[derive(Deserialize)]
    struct Marks {
        as_of: At,
        history: Vec<HistoryMark>,
    }
    let page: Marks = a.noun(0)?;
    let part = |at: At| 1.0 - page.as_of.since_ms(at) as f64 / LENGTH_MS;
    // Newest first: each holds until the one before it.
    let ends = std::iter::once(1.0).chain(page.history.iter().map(|m| part(m.at)));
    let spans: Vec<Span<'_>> = page
        .history
        .iter()
        .zip(ends)
        .map(|(m, to)| Span { from: part(m.at), to, kind: kind::grade(m.grade.as_str()) })
        .collect();
    let changes = Arg::Number(page.history.len() as f64);
    Ok(svg::strip(&spans, &a.voice.say("strip-label", &[("n", changes)])))
}

/// `{{topology page}}`.
fn topology(a: &Args<'_, '_>) -> Result<String, Failed> {
    let page: ServicePage = a.noun(0)?;
    let nodes = page.shards.iter().map(|s| s.instances.len()).sum::<usize>();
    let label = a.voice.say(
        "topology-label",
        &[("shards", Arg::Number(page.shards.len() as f64)), ("nodes", Arg::Number(nodes as f64))],
    );
    Ok(svg::topology(&page.shards, &label, a.voice))
}
