//! The items of one instance over time: which are due in a poll, and what each last said.
//!
//! Invariant: items come after the poll's own work and within what is left of its deadline; one that
//! broke the connection waits longer each time; a value older than three of its cadences is not
//! shown. Refuses to know where definitions come from.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use link::Link;
use model::At;
use model::field::{self, Field};
use model::item::{ItemFault, ItemKind, ItemName, ItemReading, ItemReadings, ItemSeries};
use model::reading::Facts;

use super::check::{Compiled, Work};
use super::expr::{Ask, Expr, Fold};
use super::path::Found;
use super::read::{self, Replies};

/// What all items together may take of one poll: its deadline is 3 s, its own commands take
/// milliseconds.
const ROUND_MAX: Duration = Duration::from_secs(1);
/// Longest wait of an item that keeps breaking the connection, ms.
const WAIT_MAX_MS: i64 = 3_600_000;
/// A value is shown for so many cadences.
const SHOWN_CADENCES: i64 = 3;

/// The items of one instance.
#[derive(Default)]
pub(crate) struct Items {
    plan: Arc<[Arc<Compiled>]>,
    states: BTreeMap<ItemName, State>,
    published: ItemReadings,
}

/// What is known of one item.
struct State {
    due: At,
    breaks: u32,
    latest: Option<ItemReading>,
    /// Of expressions: what their rates were last made from.
    rates: Vec<Rate>,
}

/// The latest sample of something a rate is made of.
struct Rate {
    of: Ask,
    at: At,
    value: f64,
    latest: Option<f64>,
}

impl Items {
    /// Takes other definitions; what did not change goes on.
    pub(crate) fn set(&mut self, plan: Arc<[Arc<Compiled>]>) {
        if Arc::ptr_eq(&self.plan, &plan) {
            return;
        }
        let same = |item: &Arc<Compiled>| plan.contains(item);
        let kept: Vec<ItemName> = self.plan.iter().filter(|i| same(i)).map(|i| i.name()).collect();
        self.states.retain(|name, _| kept.contains(name));
        self.plan = plan;
    }

    /// Whether there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.plan.is_empty()
    }

    /// Reads what is due and puts everything known into `facts`. False: the connection must be
    /// dropped.
    pub(crate) async fn round(
        &mut self,
        link: &mut Link,
        facts: &mut Facts,
        now: At,
        left: Duration,
    ) -> bool {
        let (start, limit) = (Instant::now(), left.min(ROUND_MAX));
        let (mut replies, mut sound) = (Replies::default(), true);
        for item in self.plan.clone().iter() {
            let state = self.states.entry(item.name()).or_insert_with(|| State::new(now));
            if !read::applies(item, facts) {
                // Due at once when it applies again: after a failover, say.
                *state = State::new(now);
                continue;
            }
            let left = limit.saturating_sub(start.elapsed());
            if !state.is_due(item, now) || !sound || left.is_zero() {
                continue;
            }
            if let Work::Expr(expr) = &item.work {
                let found = self.expression(item, expr, facts, now);
                self.note(item, found, now);
                continue;
            }
            match read::read(link, item, facts, &mut replies, left).await {
                Ok(found) => self.note(item, found, now),
                Err(broken) => {
                    sound = false;
                    self.broke(item, broken.0, now);
                }
            }
        }
        facts.items = self.publish(now);
        sound
    }

    fn note(&mut self, item: &Compiled, (series, fault): Found, now: At) {
        let Some(state) = self.states.get_mut(&item.name()) else { return };
        let cadence = i64::from(item.doc.cadence_s) * 1000;
        // Polls are never exactly an interval apart; without slack every other one would be missed.
        state.due = now + (cadence - cadence / 10);
        state.breaks = 0;
        let (name, peer) = (item.name(), item.peer.clone());
        state.latest = Some(ItemReading { name, at: now, series, fault, peer });
    }

    fn broke(&mut self, item: &Compiled, fault: ItemFault, now: At) {
        let Some(state) = self.states.get_mut(&item.name()) else { return };
        state.breaks = (state.breaks + 1).min(16);
        let wait = i64::from(item.doc.cadence_s) * 1000 * (1 << state.breaks);
        state.due = now + wait.min(WAIT_MAX_MS);
        let (name, series, fault) = (item.name(), Vec::new(), Some(fault));
        let peer = item.peer.clone();
        state.latest = Some(ItemReading { name, at: now, series, fault, peer });
    }

    fn publish(&mut self, now: At) -> ItemReadings {
        let one = |item: &Arc<Compiled>| {
            let latest = self.states.get(&item.name())?.latest.clone()?;
            let shown = i64::from(item.doc.cadence_s) * 1000 * SHOWN_CADENCES;
            if latest.fault.is_none() && now.since_ms(latest.at) > shown {
                let fault = Some(ItemFault::Budget);
                return Some(ItemReading { series: Vec::new(), fault, ..latest });
            }
            Some(latest)
        };
        let all: Vec<ItemReading> = self.plan.iter().filter_map(one).collect();
        if *all != *self.published {
            self.published = all.into();
        }
        self.published.clone()
    }

    fn expression(&mut self, item: &Compiled, expr: &Expr, facts: &Facts, now: At) -> Found {
        let sample = |ask: Ask| self.sample(ask, facts, now);
        let samples: Vec<(Ask, Option<(At, f64)>)> =
            expr.asks().iter().map(|ask| (*ask, sample(*ask))).collect();
        let counters: Vec<bool> = samples.iter().map(|(ask, _)| self.counts(*ask)).collect();
        let Some(state) = self.states.get_mut(&item.name()) else { return (Vec::new(), None) };
        let mut answers: Vec<(Ask, Option<f64>)> = Vec::with_capacity(samples.len());
        for ((ask, sample), counts) in samples.into_iter().zip(counters) {
            let value = match ask {
                Ask::ItemRate(_) | Ask::FieldRate(_) => state.rate(ask, sample, counts),
                _ => sample.map(|(_, value)| value),
            };
            answers.push((ask, value));
        }
        finish(expr, &answers)
    }

    /// What an operand says now, and when that was read.
    fn sample(&self, ask: Ask, facts: &Facts, now: At) -> Option<(At, f64)> {
        let known = |name| self.states.get(&name).and_then(|s| s.latest.as_ref());
        sample(ask, facts, now, known)
    }

    /// Whether an operand only grows, so that a fall means it began anew.
    fn counts(&self, ask: Ask) -> bool {
        match ask {
            Ask::FieldRate(field) => field.info().kind == field::Kind::Counter,
            Ask::ItemRate(name) => {
                let item = self.plan.iter().find(|i| i.name() == name);
                item.is_some_and(|i| i.doc.kind == ItemKind::Counter || is_counter(&i.work))
            }
            _ => false,
        }
    }
}

fn is_counter(work: &Work) -> bool {
    matches!(work, Work::Field(f) if f.info().kind == field::Kind::Counter)
}

/// An operand's value in `facts` and in the latest readings.
fn sample<'a>(
    ask: Ask,
    facts: &Facts,
    now: At,
    known: impl Fn(ItemName) -> Option<&'a ItemReading>,
) -> Option<(At, f64)> {
    let of_field = |f: Field| facts.values.get(f).map(|v| (now, v));
    match ask {
        Ask::Field(f) | Ask::FieldRate(f) => of_field(f),
        Ask::Item(name) | Ask::ItemRate(name) => {
            let reading = known(name)?;
            let [only] = reading.series.as_slice() else { return None };
            only.labels.is_empty().then_some((reading.at, only.value))
        }
        Ask::Fold(fold, name) => {
            let reading = known(name)?;
            let values = reading.series.iter().map(|s| s.value);
            // A reading that failed has no series, which is not a sum of 0.
            if reading.series.is_empty() && reading.fault.is_some() {
                return None;
            }
            let value = match fold {
                Fold::Sum => Some(values.sum()),
                Fold::Count => Some(values.count() as f64),
                Fold::Min => values.reduce(f64::min),
                Fold::Max => values.reduce(f64::max),
            };
            value.map(|v| (reading.at, v))
        }
    }
}

fn finish(expr: &Expr, answers: &[(Ask, Option<f64>)]) -> Found {
    let answer = |ask: Ask| answers.iter().find(|(a, _)| *a == ask).and_then(|(_, v)| *v);
    match expr.value(&answer) {
        Some(value) => (vec![ItemSeries::new(Vec::new(), value)], None),
        None if answers.iter().any(|(_, v)| v.is_none()) => {
            (Vec::new(), Some(ItemFault::Reference))
        }
        // Everything is known, only this number does not exist: a division by zero.
        None => (Vec::new(), Some(ItemFault::NotANumber)),
    }
}

/// An expression's value from what is known now; rates need two readings and are unknown here.
pub(super) fn once(expr: &Expr, facts: &Facts, now: At) -> Found {
    let known = |name| facts.items.iter().find(|r| r.name == name);
    let value = |ask: &Ask| match ask {
        Ask::ItemRate(_) | Ask::FieldRate(_) => None,
        ask => sample(*ask, facts, now, known).map(|(_, v)| v),
    };
    let answers: Vec<(Ask, Option<f64>)> = expr.asks().iter().map(|a| (*a, value(a))).collect();
    finish(expr, &answers)
}

impl State {
    fn new(now: At) -> State {
        State { due: now, breaks: 0, latest: None, rates: Vec::new() }
    }

    fn is_due(&self, item: &Compiled, now: At) -> bool {
        // A clock set back must not stop an item for the time it was set back by.
        let ahead = self.due.since_ms(now);
        ahead <= 0 || ahead > WAIT_MAX_MS.max(i64::from(item.doc.cadence_s) * 1000)
    }

    /// Change a second since the sample before; none with the first, after a restart of the
    /// counter, and while the operand is unknown.
    fn rate(&mut self, of: Ask, sample: Option<(At, f64)>, counts: bool) -> Option<f64> {
        let before = self.rates.iter().position(|r| r.of == of);
        let Some((at, value)) = sample else {
            // The time without a value is not part of any rate.
            self.rates.retain(|r| r.of != of);
            return None;
        };
        let Some(before) = before else {
            self.rates.push(Rate { of, at, value, latest: None });
            return None;
        };
        let rate = &mut self.rates[before];
        let ms = at.since_ms(rate.at);
        if ms == 0 {
            return rate.latest;
        }
        let fell = counts && value < rate.value;
        let per_s = (value - rate.value) * 1000.0 / ms as f64;
        let latest = (ms > 0 && !fell).then_some(per_s);
        *rate = Rate { of, at, value, latest };
        latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn expr_item(text: &str) -> Arc<Compiled> {
        let doc = json!({ "name": "e", "scope": "tenant:pay", "source": {"expr": text},
            "cadence_s": 15 });
        Arc::new(super::super::check::compile(&serde_json::from_value(doc).unwrap()).unwrap())
    }

    fn facts(field: Field, value: f64) -> Facts {
        let mut facts = Facts::default();
        facts.values.set(field, value);
        facts
    }

    fn step(items: &mut Items, item: &Arc<Compiled>, facts: &Facts, at_s: i64) -> Option<f64> {
        let Work::Expr(expr) = &item.work else { panic!("an expression") };
        let now = At::from_ms(at_s * 1000);
        items.states.entry(item.name()).or_insert_with(|| State::new(now));
        items.expression(item, expr, facts, now).0.first().map(|s| s.value)
    }

    #[test]
    fn a_rate_of_a_counter_needs_two_samples_and_is_unknown_over_a_restart() {
        let item = expr_item("rate(total_commands_processed)");
        let mut items = Items::default();
        items.set([item.clone()].into());
        let field = Field::TotalCommandsProcessed;
        let rates = [(0, 100.0), (15, 400.0), (30, 50.0), (45, 80.0)]
            .map(|(at, v)| step(&mut items, &item, &facts(field, v), at));
        assert_eq!(rates, [None, Some(20.0), None, Some(2.0)]);
        assert_eq!(step(&mut items, &item, &Facts::default(), 60), None);
        assert_eq!(step(&mut items, &item, &facts(field, 900.0), 75), None, "a gap ends the rate");
    }

    #[test]
    fn a_rate_of_a_gauge_may_be_negative() {
        let item = expr_item("rate(used_memory)");
        let mut items = Items::default();
        items.set([item.clone()].into());
        let rates = [(0, 100.0), (10, 50.0)]
            .map(|(at, v)| step(&mut items, &item, &facts(Field::UsedMemory, v), at));
        assert_eq!(rates, [None, Some(-5.0)]);
    }

    #[test]
    fn a_division_by_zero_has_a_reason_of_its_own() {
        let item = expr_item("used_memory / maxmemory");
        let Work::Expr(expr) = &item.work else { panic!("an expression") };
        let mut both = facts(Field::UsedMemory, 1.0);
        assert_eq!(once(expr, &both, At::EPOCH).1, Some(ItemFault::Reference));
        both.values.set(Field::Maxmemory, 0.0);
        assert_eq!(once(expr, &both, At::EPOCH).1, Some(ItemFault::NotANumber));
    }

    #[test]
    fn an_item_that_breaks_the_connection_waits_longer_each_time_and_a_stale_value_goes() {
        let item = expr_item("1");
        let mut items = Items::default();
        items.set([item.clone()].into());
        let at = |s: i64| At::from_ms(s * 1000);
        items.states.insert(item.name(), State::new(at(0)));
        items.note(&item, (vec![ItemSeries::new(vec![], 1.0)], None), at(0));
        assert_eq!(items.publish(at(45))[0].series.len(), 1);
        assert_eq!(items.publish(at(46))[0].fault, Some(ItemFault::Budget));
        let waits = [1, 2, 3].map(|_| {
            items.broke(&item, ItemFault::TooLarge, at(100));
            items.states[&item.name()].due.since_ms(at(100)) / 1000
        });
        assert_eq!(waits, [30, 60, 120]);
        assert!(!items.states[&item.name()].is_due(&item, at(219)));
        assert!(items.states[&item.name()].is_due(&item, at(220)));
        assert!(items.states[&item.name()].is_due(&item, at(-9_000)), "the clock was set back");
    }

    #[test]
    fn an_unchanged_item_goes_on_when_others_change() {
        let item = expr_item("1");
        let mut items = Items::default();
        items.set([item.clone()].into());
        items.states.insert(item.name(), State::new(At::EPOCH));
        items.set([expr_item("1")].into());
        assert_eq!(items.states.len(), 1);
        items.set([expr_item("2")].into());
        assert_eq!(items.states.len(), 0);
    }
}
