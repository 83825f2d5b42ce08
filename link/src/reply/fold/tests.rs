//! Folds over polls: places stay, sums never jump, floods stay small.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

type Count = (String, f64);

fn fold(values: usize) -> Fold<Count> {
    Fold::new(values, &["KNOWN"])
}

/// What one poll shows of these counts.
fn poll(fold: &mut Fold<Count>, counts: &[(&str, f64)]) -> BTreeMap<String, f64> {
    let mut list = Vec::new();
    counts.iter().for_each(|(name, n)| fold.push(&mut list, ((*name).to_string(), *n)));
    let (left_out, repeated) = fold.finish(&mut list);
    assert_eq!(repeated, 0);
    let shown: BTreeMap<String, f64> = list.iter().cloned().collect();
    assert_eq!(shown.len(), list.len(), "a name is shown once");
    let alone = list.iter().filter(|e| e.0 != OVERFLOW).count();
    assert_eq!(alone + left_out as usize, counts.len(), "none is lost");
    shown
}

fn flood(n: usize, from: usize, count: f64) -> Vec<(String, f64)> {
    (from..from + n).map(|i| (format!("E{i:05}"), count)).collect()
}

fn borrowed(counts: &[Count]) -> Vec<(&str, f64)> {
    counts.iter().map(|(name, n)| (name.as_str(), *n)).collect()
}

#[test]
fn a_short_list_is_shown_as_it_is_and_remembers_nothing() {
    let mut fold = fold(12);
    let shown = poll(&mut fold, &[("b", 1.0), ("a", 2.0)]);
    assert_eq!(shown, BTreeMap::from([("a".into(), 2.0), ("b".into(), 1.0)]));
    assert!(fold.places.is_empty());
}

#[test]
fn a_flood_of_names_is_summed_and_the_large_and_the_known_ones_stay() {
    let mut fold = fold(12);
    let mut counts = flood(5000, 0, 1.0);
    counts.push(("KNOWN".into(), 0.0));
    counts.push(("large".into(), 7.0));
    let shown = poll(&mut fold, &borrowed(&counts));
    assert_eq!(shown.len(), 12);
    assert_eq!((shown["large"], shown["KNOWN"]), (7.0, 0.0));
    assert_eq!(shown.values().sum::<f64>(), 5007.0);
    assert_eq!(shown[OVERFLOW], 5000.0 - 9.0);
}

#[test]
fn a_later_flood_of_larger_names_takes_no_place_and_lowers_no_counter() {
    let mut fold = fold(12);
    let first = [("a", 1.0), ("b", 2.0), ("c", 3.0), ("d", 4.0), ("e", 5.0), ("f", 6.0)];
    poll(&mut fold, &first);
    let mut names = BTreeSet::new();
    for round in 0..10 {
        let mut counts = flood(300, round * 300, 1e6);
        counts.extend(first.map(|(name, n)| (name.to_string(), n)));
        let shown = poll(&mut fold, &borrowed(&counts));
        assert!(first.iter().all(|(name, n)| shown.get(*name) == Some(n)));
        names.extend(shown.into_keys());
    }
    assert!(names.len() <= 12, "ten floods made no more series than one: {names:?}");
}

#[test]
fn a_name_that_outgrows_a_place_gets_it_and_the_sum_does_not_jump() {
    let mut fold = fold(5);
    let mut counts: Vec<Count> = ["a", "b", "c", "d", "e"].map(|n| (n.to_string(), 10.0)).into();
    let before = poll(&mut fold, &borrowed(&counts));
    assert_eq!(before[OVERFLOW], 20.0, "d and e have no place");
    let (mut last, mut placed_after) = (before[OVERFLOW], None);
    for round in 0..2 * CHANGE_EVERY {
        counts[4].1 += 10.0;
        let shown = poll(&mut fold, &borrowed(&counts));
        let grown = shown[OVERFLOW] - last;
        last = shown[OVERFLOW];
        match (shown.contains_key("e"), placed_after) {
            (true, None) => {
                placed_after = Some(round);
                assert_eq!(grown, 10.0, "a new series' first value counts for nothing yet");
            }
            (true, Some(_)) => assert_eq!(grown, 0.0),
            (false, _) => assert_eq!(grown, 10.0),
        }
    }
    assert_eq!(placed_after, Some(CHANGE_EVERY - 2), "the first poll counts too");
}

#[test]
fn a_server_that_began_anew_begins_its_sum_anew() {
    let mut fold = fold(4);
    let mut counts: Vec<Count> = ["a", "b", "c", "d"].map(|n| (n.to_string(), 10.0)).into();
    for _ in 0..=CHANGE_EVERY {
        counts[3].1 += 10.0;
        poll(&mut fold, &borrowed(&counts));
    }
    let shown = poll(&mut fold, &[("a", 1.0), ("b", 1.0), ("c", 1.0), ("d", 1.0)]);
    assert_eq!(shown.values().sum::<f64>(), 4.0);
}

#[test]
fn an_entry_that_calls_itself_the_sum_is_added_to_it() {
    let mut fold = fold(12);
    let shown = poll(&mut fold, &[(OVERFLOW, 3.0), ("a", 1.0)]);
    assert_eq!(shown, BTreeMap::from([("a".into(), 1.0), (OVERFLOW.into(), 3.0)]));
}

#[test]
fn repeated_names_are_counted_and_never_fill_the_memory() {
    let mut fold = fold(12);
    let mut list = Vec::new();
    for i in 0..5000 {
        fold.push(&mut list, ("KNOWN".into(), f64::from(i)));
        assert!(list.len() <= LIST_MAX);
    }
    assert_eq!(fold.finish(&mut list), (0, 4999));
    assert_eq!(list, [("KNOWN".to_string(), 0.0)]);
}

#[test]
fn every_column_of_a_command_is_summed() {
    let mut fold: Fold<CommandStat> = Fold::new(2, &[]);
    let mut list = Vec::new();
    for (cmd, n) in [("get", 5.0), ("set", 3.0), ("del", 2.0)] {
        let (rejected, failed) = (Some(n), (n < 3.0).then_some(n));
        let one = CommandStat { cmd: cmd.into(), calls: n, usec: n * 2.0, rejected, failed };
        fold.push(&mut list, one);
    }
    assert_eq!(fold.finish(&mut list), (2, 0));
    let sum = &list[1];
    assert_eq!((sum.cmd.as_str(), sum.calls, sum.usec), (OVERFLOW, 5.0, 10.0));
    assert_eq!((sum.rejected, sum.failed), (Some(5.0), Some(2.0)));
}

proptest! {
    /// A server whose counters only grow: every series on the page only grows, whatever comes.
    #[test]
    fn while_counters_grow_no_series_falls(
        growth in proptest::collection::vec((0..40usize, 1..1000u32), 1..400),
        values in 3..20usize,
    ) {
        let mut fold = fold(values);
        let mut counts: BTreeMap<String, f64> = BTreeMap::new();
        let mut last: BTreeMap<String, f64> = BTreeMap::new();
        for chunk in growth.chunks(3) {
            for (name, n) in chunk {
                *counts.entry(format!("n{name}")).or_default() += f64::from(*n);
            }
            let all: Vec<(&str, f64)> = counts.iter().map(|(k, v)| (k.as_str(), *v)).collect();
            let shown = poll(&mut fold, &all);
            prop_assert!(shown.len() <= values.max(2));
            for (name, value) in &shown {
                prop_assert!(last.get(name).is_none_or(|before| before <= value), "{name}");
            }
            let gone = last.keys().filter(|k| !shown.contains_key(*k)).count();
            prop_assert!(gone <= 1, "one place changes hands at a time");
            last = shown;
        }
    }
}
