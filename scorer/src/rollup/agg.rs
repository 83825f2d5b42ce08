//! The one operator of roll-ups, `agg(x, w, λ) = λ·min(x) + (1−λ)·Σ w·x / Σ w`, and its waterfall.
//!
//! Invariant: unknown children leave both terms and lower coverage; children of weight 0 enter
//! neither term unless all are 0.

use model::At;
use model::score::{Bar, Explained, Grade, Level, PolicyUse, SwitchedOff, UnknownSignal};

use crate::exact::{ALL, cents, points, split};
use crate::gates::{self, Cap};
use crate::grade::{Evaluation, SLACK_ROLLUP, Sticky};
use crate::policy::Gate;

/// Below this coverage a roll-up is partial and never grade A.
const COVERAGE_FULL: f64 = 0.8;

/// Below this coverage there is no number.
const COVERAGE_MIN: f64 = 0.6;

/// Shares are compared with this tolerance, so that 4 of 5 is 0.8.
const NOISE: f64 = 1e-9;

/// Name of a master that is nowhere.
pub(super) const ABSENT: &str = "none";

/// Name of a replica that is wanted and does not exist.
pub(super) const MISSING: &str = "missing";

/// Why a level has no number when there is nothing below it.
const NOTHING: &str = "there is nothing to score here yet";
/// Nothing below has a score.
const ALL_UNKNOWN: &str = "nothing of it is known yet";

/// A child of a level.
#[derive(Debug, Clone)]
pub(super) struct Child<'a> {
    /// `master`, `replica`, `shard` …
    pub label: &'static str,
    pub name: &'a str,
    pub score: Option<f64>,
    pub confidence: f64,
    /// What is seen of it, 0..1; none when it is down, which leaves nothing to see.
    pub sight: Option<f64>,
    /// In the score.
    pub weight: f64,
    /// In coverage and confidence.
    pub cover: f64,
    /// Largest cause, or why it is unknown.
    pub cause: &'a str,
    /// What would make an unknown one known.
    pub needs: &'a str,
    /// Since when it loses what it loses.
    pub since: Option<At>,
    /// Level and id of the page that shows the child; none: it does not exist.
    pub page: Option<(Level, &'a str)>,
}

impl<'a> Child<'a> {
    pub fn scored(
        label: &'static str,
        name: &'a str,
        (explained, sight): (&'a Explained, Option<f64>),
        weight: f64,
    ) -> Child<'a> {
        Child {
            label,
            name,
            score: explained.score,
            confidence: explained.confidence,
            sight,
            weight,
            cover: weight,
            cause: cause(explained),
            needs: needs(explained),
            since: losing_since(explained),
            page: Some((explained.level, &explained.id)),
        }
    }
}

/// The page that explains a score.
fn link(level: Level, id: &str) -> String {
    match (level, id.split_once('/')) {
        (Level::Shard, Some((service, n))) => format!("/services/{service}/shards/{n}/health"),
        (Level::Fleet, _) => "/overview".to_owned(),
        _ => format!("/{}s/{id}/health", level.as_str()),
    }
}

/// What would make a score known that is not: of the first signal that says so.
pub(super) fn needs(explained: &Explained) -> &str {
    let unknown = match explained.score {
        Some(_) => &[][..],
        None => &explained.unknown,
    };
    unknown.iter().map(|u| u.needs.as_str()).find(|n| !n.is_empty()).unwrap_or_default()
}

/// Since when something loses: its oldest bar; the grade's time when a gate alone takes the points.
pub(super) fn losing_since(explained: &Explained) -> Option<At> {
    let gate = explained.gates.iter().any(|g| g.binds).then_some(explained.grade_since);
    explained.bars.iter().filter_map(|b| b.since).min().or(gate)
}

/// The largest lost piece of a score in words; why there is no number; empty when nothing is lost.
pub fn cause(explained: &Explained) -> &str {
    if explained.score.is_none() {
        return &explained.reason;
    }
    let gate = explained.gates.iter().find(|g| g.binds);
    let bar = explained.bars.iter().reduce(|a, b| if b.points > a.points { b } else { a });
    match (gate, bar) {
        (Some(gate), Some(bar)) if bar.points > gate.points => &bar.text,
        (Some(gate), _) => &gate.text,
        (None, Some(bar)) if bar.points > 0.0 => &bar.text,
        _ => "",
    }
}

/// Whether a level holds nothing that could be scored.
pub(super) fn is_empty(explained: &Explained) -> bool {
    explained.reason == NOTHING
}

/// "No more than 20 above the worst core child".
#[derive(Debug, Clone)]
pub(super) struct CoreCap {
    pub child: String,
    pub score: f64,
    pub cap: f64,
}

/// A gate of a roll-up: fixed, or relative to the worst core child (which is shown only when it
/// takes something, as it "holds" for every healthy system too).
#[derive(Debug, Clone)]
pub(super) enum Limit {
    Gate(Cap),
    Core(CoreCap),
}

impl From<Cap> for Limit {
    fn from(cap: Cap) -> Limit {
        Limit::Gate(cap)
    }
}

impl From<CoreCap> for Limit {
    fn from(cap: CoreCap) -> Limit {
        Limit::Core(cap)
    }
}

impl Limit {
    fn cap(self, raw: Option<i64>) -> Cap {
        match self {
            Limit::Gate(cap) => cap,
            Limit::Core(core) => {
                let cents = cents(core.cap).min(ALL);
                let holds = raw.is_some_and(|raw| raw > cents);
                let text = format!("no more than 20 above core {} ({:.2})", core.child, core.score);
                let text = if holds { text } else { String::new() };
                Cap { gate: Gate::WorstCore, cents, holds, text }
            }
        }
    }
}

/// Limits of a level.
#[derive(Debug, Clone, Default)]
pub(super) struct Limits(Vec<Limit>);

impl Limits {
    pub fn push(&mut self, limit: impl Into<Limit>) {
        self.0.push(limit.into());
    }

    pub fn extend<L: Into<Limit>>(&mut self, limits: impl IntoIterator<Item = L>) {
        self.0.extend(limits.into_iter().map(Into::into));
    }
}

/// A level about to be scored.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    level: Level,
    id: &'a str,
    /// λ.
    worst: f64,
    /// How long a better grade must be earned, ms.
    rise_ms: i64,
    pub children: Vec<Child<'a>>,
    pub caps: Limits,
    /// The policy its members were judged by.
    pub policy: Option<PolicyUse>,
    /// Gates of this level that the policy does not count.
    pub switched_off: Vec<SwitchedOff>,
    /// Set when nothing can be said whatever the children are (a shard's master is unknown).
    pub unknown: Option<String>,
}

/// The score of instances that stand together without being a level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View<'a> {
    /// 0..100 in hundredths; none: too little is known.
    pub score: Option<f64>,
    /// Share of their weight that is known.
    pub coverage: f64,
    /// 0..1; below 1 the score is an upper bound.
    pub confidence: f64,
    /// The worst one that is known, and its score.
    pub worst: Option<(&'a str, f64)>,
}

impl View<'_> {
    /// The band of the score, not sticky: nothing watches a view. Never A while it is partial.
    pub fn grade(&self) -> Grade {
        let partial = self.coverage < COVERAGE_FULL - NOISE;
        match self.score.map(Grade::of) {
            Some(Grade::A) if partial => Grade::B,
            Some(grade) => grade,
            None => Grade::Unknown,
        }
    }
}

/// Known children with their normalised weights.
struct Known {
    /// (position, weight / Σ weights, score).
    parts: Vec<(usize, f64, f64)>,
    coverage: f64,
    confidence: f64,
    sight: Option<f64>,
}

impl<'a> Node<'a> {
    pub fn new(level: Level, id: &'a str, worst: f64, rise_ms: i64) -> Node<'a> {
        let caps = Limits::default();
        Node {
            level,
            id,
            worst,
            rise_ms,
            children: Vec::new(),
            caps,
            policy: None,
            switched_off: Vec::new(),
            unknown: None,
        }
    }

    fn known(&self) -> Known {
        let weightless = self.children.iter().all(|c| c.weight <= 0.0);
        let weight = |c: &Child<'_>| if weightless { 1.0 } else { c.weight };
        let cover = |c: &Child<'_>| if weightless { 1.0 } else { c.cover };
        let covers: f64 = self.children.iter().map(cover).sum();
        let mean = |f: &dyn Fn(&Child<'_>) -> f64| {
            let sum: f64 = self.children.iter().map(|c| cover(c) * f(c)).sum();
            if covers > 0.0 { (sum / covers).clamp(0.0, 1.0) } else { 0.0 }
        };
        let coverage = mean(&|c| if c.score.is_some() { 1.0 } else { 0.0 });
        let confidence = mean(&|c| c.confidence);
        let seen = self.children.iter().filter_map(|c| Some((cover(c), c.sight?)));
        let (weights, sights) = seen.fold((0.0, 0.0), |(w, s), (c, x)| (w + c, s + c * x));
        let sight = (weights > 0.0).then(|| sights / weights);
        let mut parts: Vec<(usize, f64, f64)> = (self.children.iter().enumerate())
            .filter_map(|(i, c)| Some((i, weight(c), c.score?)))
            .filter(|(_, w, _)| *w > 0.0)
            .collect();
        let sum: f64 = parts.iter().map(|p| p.1).sum();
        parts.iter_mut().for_each(|p| p.1 /= sum);
        Known { parts, coverage, confidence, sight }
    }

    /// Position and score of the worst known child; the first of equals.
    fn minimum(&self, known: &Known) -> Option<(usize, f64)> {
        let worst = known.parts.iter().min_by(|a, b| a.2.total_cmp(&b.2))?;
        Some((worst.0, worst.2))
    }

    /// Hundredths before gates; none: no number.
    fn raw(&self, known: &Known, minimum: Option<(usize, f64)>) -> Option<i64> {
        let (_, min) =
            minimum.filter(|_| self.unknown.is_none() && known.coverage >= COVERAGE_MIN - NOISE)?;
        let mean: f64 = known.parts.iter().map(|(_, w, x)| w * x).sum();
        Some(cents((self.worst * min + (1.0 - self.worst) * mean).clamp(0.0, 100.0)))
    }

    /// The number alone, of what is no level and has no gates.
    pub fn view(&self) -> View<'a> {
        let known = self.known();
        let minimum = self.minimum(&known);
        let worst = minimum.map(|(i, score)| (self.children[i].name, score));
        View {
            score: self.raw(&known, minimum).map(points),
            coverage: known.coverage,
            confidence: known.confidence,
            worst,
        }
    }

    /// Scores the level; answers also its sight, for the level above.
    pub fn explain(mut self, sticky: &mut Sticky, now: At) -> (Explained, Option<f64>) {
        let known = self.known();
        let minimum = self.minimum(&known);
        let raw = self.raw(&known, minimum);
        let caps = std::mem::take(&mut self.caps).0.into_iter().map(|l| l.cap(raw));
        let caps: Vec<Cap> = caps.collect();
        let score = raw.map(|raw| gates::capped(raw, &caps));
        let partial = known.coverage < COVERAGE_FULL - NOISE && !self.children.is_empty();
        let evaluation = Evaluation {
            score: score.map(points),
            sight: known.sight.unwrap_or(0.0),
            slack: SLACK_ROLLUP,
            gate_binds: score < raw,
            best: if partial { Grade::B } else { Grade::A },
            rise_ms: self.rise_ms,
        };
        let (grade, grade_since) = sticky.step(evaluation, now);
        let explained = Explained {
            level: self.level,
            id: self.id.to_owned(),
            at: now,
            score: score.map(points),
            raw: raw.map(points),
            grade,
            grade_since,
            confidence: known.confidence,
            coverage: Some(known.coverage),
            partial,
            policy: self.policy,
            bars: raw.map_or_else(Vec::new, |raw| self.bars(&known, minimum, raw)),
            gates: gates::states(caps, raw),
            unknown: self.silent(),
            switched_off: std::mem::take(&mut self.switched_off),
            reason: if raw.is_some() { String::new() } else { self.why_no_number(&known) },
            ..Explained::default()
        };
        (explained, known.sight)
    }

    fn bars(&self, known: &Known, minimum: Option<(usize, f64)>, raw: i64) -> Vec<Bar> {
        let mut lost: Vec<(usize, f64, f64, f64)> = known
            .parts
            .iter()
            .filter(|(_, _, x)| *x < 100.0)
            .map(|(i, w, x)| (*i, 100.0 - x, (1.0 - self.worst) * w, 0.0))
            .collect();
        lost.iter_mut().for_each(|l| l.3 = l.2 * l.1);
        lost.sort_by(|a, b| b.3.total_cmp(&a.3));
        let worst = minimum.filter(|(_, min)| self.worst > 0.0 && *min < 100.0);
        if let ([(i, loss, ..)], Some(_), 1) = (lost.as_slice(), worst, known.parts.len()) {
            // The only part is the worst one too: said once.
            return vec![self.bar("child", *i, *loss, 1.0, ALL - raw)];
        }
        let mut exact: Vec<f64> = lost.iter().map(|l| l.3).collect();
        exact.extend(worst.map(|(_, min)| self.worst * (100.0 - min)));
        let parts = split(&exact, ALL - raw);
        let mut bars: Vec<Bar> = lost
            .iter()
            .zip(&parts)
            .map(|((i, loss, weight, _), part)| self.bar("child", *i, *loss, *weight, *part))
            .collect();
        if let (Some((i, min)), Some(part)) = (worst, parts.get(lost.len())) {
            bars.push(self.bar("worst", i, 100.0 - min, self.worst, *part));
        }
        bars
    }

    fn bar(&self, kind: &str, i: usize, loss: f64, weight: f64, part: i64) -> Bar {
        let child = &self.children[i];
        let score = 100.0 - loss;
        let cause = if child.cause.is_empty() { "" } else { child.cause };
        let colon = if cause.is_empty() { "" } else { ": " };
        let worst = if kind == "worst" { "worst, " } else { "" };
        Bar {
            dimension: kind.to_owned(),
            signal: child.name.to_owned(),
            loss,
            share: 1.0,
            weight,
            points: points(part),
            since: child.since,
            text: match child.name {
                // What is not there has no score of its own to tell.
                ABSENT | MISSING => format!("{worst}{cause}"),
                name => format!("{worst}{} {name} at {score:.2}{colon}{cause}", child.label),
            },
            link: child.page.map_or_else(String::new, |(level, id)| link(level, id)),
            ..Bar::default()
        }
    }

    fn silent(&self) -> Vec<UnknownSignal> {
        let unknown = self.children.iter().filter(|c| c.score.is_none());
        let entry = |c: &Child<'_>| UnknownSignal {
            signal: c.name.to_owned(),
            reason: c.cause.to_owned(),
            needs: c.needs.to_owned(),
        };
        unknown.map(entry).collect()
    }

    fn why_no_number(&self, known: &Known) -> String {
        match &self.unknown {
            Some(why) => why.clone(),
            None if self.children.is_empty() => NOTHING.to_owned(),
            None if known.coverage < 0.005 => {
                match self.children.iter().map(|c| c.cause).find(|c| !c.is_empty()) {
                    // A child that says the same of itself has said why, too.
                    Some(why) if why.starts_with(ALL_UNKNOWN) => why.to_owned(),
                    Some(why) => format!("{ALL_UNKNOWN}: {why}"),
                    None => ALL_UNKNOWN.to_owned(),
                }
            }
            None => format!(
                "only {:.0} % of it by weight is known, at least 60 % are needed",
                known.coverage * 100.0
            ),
        }
    }
}
