//! The windows of one instance: which series are kept how far back, and the rings.
//!
//! Invariant: a ring exists only where a policy of the instance looks back, and one instance keeps at
//! most `POINTS_PER_INSTANCE_MAX` points. Rings outlive a change of policies as long as one asks for
//! them. Of a restart only those survive that a live alert looks at; the others fill anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::policy::WindowFn;
use model::row::Row;
use serde::{Deserialize, Serialize};

use crate::resolve::Effective;
use crate::signal::{Leaf, SUB_SERIES_MAX};
use crate::window::{Dialect, Ring, Thin, apply};

/// Most points one instance keeps: 18 KB, 180 MB at 10 000 instances.
pub const POINTS_PER_INSTANCE_MAX: usize = 1_500;

/// One series that is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    leaf: Leaf,
    name: Arc<str>,
    thin: Thin,
    range_ms: i64,
}

/// Which series the policies of an instance look back on; shared by all instances with the same
/// policies.
#[derive(Debug, Default)]
pub struct Windows {
    kept: Vec<Kept>,
    /// For each rule the ring of each of its windows.
    of_rule: Vec<Box<[u16]>>,
    policies: Vec<Box<str>>,
    dialect: Dialect,
}

impl Windows {
    /// What `rules` need where polls come every `interval_ms`; functions answer as that Prometheus.
    pub fn of(rules: &[Arc<Effective>], interval_ms: i64, dialect: Dialect) -> Windows {
        let mut windows = Windows { dialect, ..Windows::default() };
        for rule in rules {
            let of = rule.signal.windows().iter().map(|w| {
                let thin = Thin::of(w.range_ms, interval_ms);
                windows.index(Kept {
                    leaf: w.leaf.clone(),
                    name: w.name.clone(),
                    thin,
                    range_ms: w.range_ms,
                })
            });
            let of: Box<[u16]> = of.collect();
            windows.of_rule.push(of);
            windows.policies.push(rule.policy.as_str().into());
        }
        windows
    }

    fn index(&mut self, wanted: Kept) -> u16 {
        let same = |k: &Kept| k.name == wanted.name && k.thin == wanted.thin;
        let index = match self.kept.iter().position(same) {
            Some(index) => {
                let range = &mut self.kept[index].range_ms;
                *range = (*range).max(wanted.range_ms);
                index
            }
            None => {
                self.kept.push(wanted);
                self.kept.len() - 1
            }
        };
        u16::try_from(index).unwrap_or(u16::MAX)
    }

    /// Points an instance keeps for them; a family counts as one sub-series.
    pub fn points(&self) -> usize {
        self.kept.iter().map(|k| k.thin.points(k.range_ms)).sum()
    }

    /// Nothing looks back.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

/// The rings of a series' sub-series, by name.
type Subs = Vec<(Box<str>, Ring)>;

/// The rings of one instance.
#[derive(Debug, Clone, Default)]
pub struct Rings {
    windows: Option<Arc<Windows>>,
    /// Per kept series its sub-series.
    rings: Vec<Subs>,
}

/// A ring as it is saved.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SavedRing {
    name: Arc<str>,
    thin: Thin,
    sub: Box<str>,
    ring: Ring,
}

impl Rings {
    /// Takes a sample in. `replicas_wanted` is the inventory's word for the service.
    pub fn record(&mut self, windows: &Arc<Windows>, row: &Row, replicas_wanted: u32) {
        self.shape(windows);
        if windows.is_empty() {
            return;
        }
        let at = row.reading.at.ms();
        let room = |(kept, subs): (&Kept, &Vec<_>)| kept.thin.points(kept.range_ms) * subs.len();
        let mut points: usize = windows.kept.iter().zip(&self.rings).map(room).sum();
        for (kept, subs) in windows.kept.iter().zip(&mut self.rings) {
            let mut push = |sub: &str, value: f64| {
                let found = subs.iter().position(|(s, _)| **s == *sub);
                let index = match found {
                    Some(index) => index,
                    // A server may rename its sub-series for ever; what is kept stays bounded.
                    None if subs.len() >= SUB_SERIES_MAX || points >= POINTS_PER_INSTANCE_MAX => {
                        return;
                    }
                    None => {
                        points += kept.thin.points(kept.range_ms);
                        subs.push((sub.into(), Ring::default()));
                        subs.len() - 1
                    }
                };
                subs[index].1.push(at, value, kept.thin, kept.range_ms);
            };
            match &kept.leaf {
                Leaf::One(scalar) => {
                    scalar.read(row, replicas_wanted).into_iter().for_each(|v| push("", v));
                }
                Leaf::Many(family, pick) => family.read(row, pick, push),
                Leaf::Unfilled => {}
            }
            let gone = |ring: &Ring| ring.newest().is_none_or(|t| t < at - kept.range_ms);
            subs.retain(|(_, ring)| !gone(ring));
        }
    }

    /// Follows a change of policies: rings somebody still asks for stay.
    fn shape(&mut self, windows: &Arc<Windows>) {
        if self.windows.as_ref().is_some_and(|w| Arc::ptr_eq(w, windows)) {
            return;
        }
        let old = self.windows.replace(windows.clone());
        let mut before: BTreeMap<(Arc<str>, u64), Subs> = old
            .iter()
            .flat_map(|w| w.kept.iter())
            .zip(std::mem::take(&mut self.rings))
            .map(|(kept, subs)| ((kept.name.clone(), code(kept.thin)), subs))
            .collect();
        let again = |k: &Kept| before.remove(&(k.name.clone(), code(k.thin))).unwrap_or_default();
        self.rings = windows.kept.iter().map(again).collect();
    }

    /// Memory of the points, bytes.
    pub fn bytes(&self) -> usize {
        self.rings.iter().flatten().map(|(_, ring)| ring.capacity() * 12).sum()
    }

    /// What the rule with that index looks back on.
    pub fn held(&self, rule: usize) -> Held<'_> {
        let of = self.windows.as_ref().and_then(|w| w.of_rule.get(rule));
        let dialect = self.windows.as_ref().map_or_else(Dialect::default, |w| w.dialect);
        Held { rings: &self.rings, of: of.map_or(&[][..], |of| &of[..]), dialect }
    }

    /// The rings of the policies for which `live` says yes.
    pub fn saved(&self, live: impl Fn(&str) -> bool) -> Vec<SavedRing> {
        let Some(windows) = &self.windows else { return Vec::new() };
        let rules = windows.policies.iter().zip(&windows.of_rule);
        let mut wanted: Vec<u16> =
            rules.filter(|(p, _)| live(p)).flat_map(|(_, of)| of.iter().copied()).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let of = |index: u16| {
            let kept = &windows.kept[usize::from(index)];
            let subs = self.rings.get(usize::from(index)).into_iter().flatten();
            subs.map(move |(sub, ring)| SavedRing {
                name: kept.name.clone(),
                thin: kept.thin,
                sub: sub.clone(),
                ring: ring.clone(),
            })
        };
        wanted.into_iter().flat_map(of).collect()
    }

    /// Rings of before a restart; the first sample puts them where they belong.
    pub fn restored(saved: Vec<SavedRing>) -> Rings {
        let mut windows = Windows::default();
        let mut rings: Vec<Subs> = Vec::new();
        for s in saved {
            let kept = Kept { leaf: Leaf::Unfilled, name: s.name, thin: s.thin, range_ms: 0 };
            let index = usize::from(windows.index(kept));
            rings.resize_with(windows.kept.len(), Vec::new);
            rings[index].push((s.sub, s.ring));
        }
        Rings { windows: Some(Arc::new(windows)), rings }
    }
}

fn code(thin: Thin) -> u64 {
    match thin {
        Thin::Interval(ms) => u64::from(ms),
        Thin::Step(ms) => u64::from(ms) | 1 << 32,
    }
}

/// The windows of one rule.
#[derive(Clone, Copy)]
pub struct Held<'a> {
    rings: &'a [Subs],
    of: &'a [u16],
    dialect: Dialect,
}

impl<'a> Held<'a> {
    /// No windows.
    pub const NONE: Held<'static> = Held { rings: &[], of: &[], dialect: Dialect::V3 };

    fn ring(self, index: usize) -> &'a [(Box<str>, Ring)] {
        let ring = self.of.get(index).and_then(|i| self.rings.get(usize::from(*i)));
        ring.map_or(&[][..], Vec::as_slice)
    }

    /// The sub-series of a window.
    pub fn subs(self, index: usize) -> impl Iterator<Item = &'a str> {
        self.ring(index).iter().map(|(sub, _)| &**sub)
    }

    /// A function over a sub-series of a window.
    pub fn apply(
        self,
        index: usize,
        function: WindowFn,
        sub: &str,
        now_ms: i64,
        range_ms: i64,
    ) -> Option<f64> {
        let subs = self.ring(index);
        let ring = subs.iter().find(|(s, _)| **s == *sub).or(match subs {
            // A window of one value, in a program that walks a family.
            [one] if one.0.is_empty() => Some(one),
            _ => None,
        });
        match ring {
            Some((_, ring)) => apply(function, ring.samples(), now_ms, range_ms, self.dialect),
            None => (function == WindowFn::Absent).then_some(1.0),
        }
    }
}
