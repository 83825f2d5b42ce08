//! The way from a reply to numbers: `lag`, `0`, `*.pending`, `#`.
//!
//! Invariant: pure; what the reply does not hold is a fault, never zero; no text leaves but by the
//! labels asked for. Maps are lists of names and values in turn, as RESP2 has them.

use link::Value;
use link::reply;
use model::item::{ItemFault, ItemSeries};

/// Steps of a path: real replies need three.
const STEPS_MAX: usize = 6;
/// Series of one item on one instance, at most: as many as a policy judges.
pub const SERIES_MAX: usize = 64;
/// Longest label value, bytes: names of groups and consumers; a longer one is cut.
const LABEL_MAX: usize = 64;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// A part by name of a map.
    Name(String),
    /// An element by number of a list.
    Index(usize),
    /// Every element of a list.
    Each,
    /// The number of elements.
    Count,
}

/// A compiled path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Path(Vec<Step>);

impl Path {
    /// Reads a path; the empty one is the reply itself.
    pub(crate) fn parse(text: &str) -> Result<Path, String> {
        if text.is_empty() {
            return Ok(Path::default());
        }
        let steps: Vec<Step> = text.split('.').map(step).collect::<Result<_, _>>()?;
        if steps.len() > STEPS_MAX {
            return Err(format!("{} steps; at most {STEPS_MAX} are taken", steps.len()));
        }
        if steps.iter().filter(|s| **s == Step::Each).count() > 1 {
            return Err("`*` may stand once".into());
        }
        if steps.iter().position(|s| *s == Step::Count).is_some_and(|at| at + 1 < steps.len()) {
            return Err("`#` counts, so it stands last".into());
        }
        Ok(Path(steps))
    }

    /// Whether it gives a series per element.
    pub(crate) fn fans_out(&self) -> bool {
        self.0.contains(&Step::Each)
    }
}

fn step(text: &str) -> Result<Step, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ' ');
    match text {
        "" => Err("an empty step; steps are joined by one '.'".into()),
        "*" => Ok(Step::Each),
        "#" => Ok(Step::Count),
        _ if text.bytes().all(|b| b.is_ascii_digit()) => {
            text.parse().map(Step::Index).map_err(|_| format!("{text} is no place in a list"))
        }
        _ if text.len() <= 64 && text.chars().all(plain) => Ok(Step::Name(text.into())),
        _ => Err(format!("step {text:?}: expected a name, a number, `*` or `#`")),
    }
}

/// What a reply says: series, and the fault when there are none or not all.
pub(crate) type Found = (Vec<ItemSeries>, Option<ItemFault>);

/// Follows `path`; `labels` are name → part of the element; `equals` compares a text.
pub(crate) fn read(
    value: &Value,
    path: &Path,
    labels: &[(String, String)],
    equals: Option<&str>,
) -> Found {
    let each = path.0.iter().position(|s| *s == Step::Each);
    let (before, after) = match each {
        None => (path.0.as_slice(), &[] as &[Step]),
        Some(at) => (&path.0[..at], &path.0[at + 1..]),
    };
    let Ok(reached) = follow(value, before) else { return fault(ItemFault::Path) };
    if each.is_none() {
        return match number(&reached, equals) {
            Ok(value) => (vec![ItemSeries::new(Vec::new(), value)], None),
            Err(why) => fault(why),
        };
    }
    let Reached::Part(Value::Array(elements)) = reached else { return fault(ItemFault::Path) };
    let mut series = Vec::new();
    let mut why = None;
    for element in elements {
        let read = follow(element, after).and_then(|r| number(&r, equals));
        match (read, tags(element, labels)) {
            (Ok(value), Some(tags)) => series.push(ItemSeries::new(tags, value)),
            (Err(one), _) => why = Some(one),
            (_, None) => why = Some(ItemFault::Path),
        }
    }
    cap(series, why)
}

/// The largest series, at most so many; of one label set the first.
pub(crate) fn cap(mut series: Vec<ItemSeries>, mut why: Option<ItemFault>) -> Found {
    series.sort_by(|a, b| a.key.cmp(&b.key));
    series.dedup_by(|b, a| a.key == b.key);
    if series.len() > SERIES_MAX {
        series.sort_by(|a, b| b.value.total_cmp(&a.value).then_with(|| a.key.cmp(&b.key)));
        series.truncate(SERIES_MAX);
        why = Some(ItemFault::SeriesLimit);
    }
    (series, why)
}

fn fault(why: ItemFault) -> Found {
    (Vec::new(), Some(why))
}

/// Where a path ended.
enum Reached<'a> {
    Part(&'a Value),
    Number(f64),
}

fn follow<'a>(value: &'a Value, steps: &[Step]) -> Result<Reached<'a>, ItemFault> {
    let mut at = value;
    for step in steps {
        let list = reply::items(at).ok_or(ItemFault::Path)?;
        at = match step {
            Step::Count => return Ok(Reached::Number(list.len() as f64)),
            Step::Index(i) => list.get(*i).ok_or(ItemFault::Path)?,
            Step::Name(name) => named(list, name).ok_or(ItemFault::Path)?,
            Step::Each => return Err(ItemFault::Path),
        };
    }
    Ok(Reached::Part(at))
}

fn named<'a>(list: &'a [Value], name: &str) -> Option<&'a Value> {
    let pair = list.chunks_exact(2).find(|p| reply::bytes(&p[0]) == Some(name.as_bytes()))?;
    Some(&pair[1])
}

fn number(reached: &Reached<'_>, equals: Option<&str>) -> Result<f64, ItemFault> {
    let value = match reached {
        Reached::Number(n) => return Ok(*n),
        Reached::Part(value) => value,
    };
    if let Some(wanted) = equals {
        let text = reply::bytes(value).ok_or(ItemFault::NotANumber)?;
        return Ok(f64::from(u8::from(text == wanted.as_bytes())));
    }
    // Nil: there is no such key, rank or lag; nothing is not zero.
    let read = match value {
        Value::Nil => return Err(ItemFault::Path),
        other => reply::number(other),
    };
    read.filter(|n| n.is_finite()).ok_or(ItemFault::NotANumber)
}

fn tags(element: &Value, labels: &[(String, String)]) -> Option<Vec<(String, String)>> {
    let one = |(name, part): &(String, String)| {
        let list = reply::items(element)?;
        let found = match part.parse::<usize>() {
            Ok(index) => list.get(index)?,
            Err(_) => named(list, part)?,
        };
        let mut text = match found {
            Value::Int(n) => n.to_string(),
            other => reply::text(other)?,
        };
        let mut end = LABEL_MAX.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        Some((name.clone(), text))
    };
    labels.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(s: &str) -> Value {
        Value::BulkString(s.as_bytes().to_vec())
    }

    fn group(name: &str, lag: Option<i64>) -> Value {
        let lag = lag.map_or(Value::Nil, Value::Int);
        Value::Array(vec![text("name"), text(name), text("lag"), lag])
    }

    fn go(value: &Value, path: &str, labels: &[(&str, &str)]) -> Found {
        let labels: Vec<(String, String)> =
            labels.iter().map(|(n, p)| (n.to_string(), p.to_string())).collect();
        read(value, &Path::parse(path).unwrap(), &labels, None)
    }

    #[test]
    fn a_list_of_groups_gives_a_series_per_group_and_an_unknown_lag_gives_none() {
        let reply = Value::Array(vec![group("a", Some(7)), group("b", None), group("c", Some(0))]);
        let (series, why) = go(&reply, "*.lag", &[("group", "name")]);
        let got: Vec<_> = series.iter().map(|s| (s.key.as_str(), s.value)).collect();
        assert_eq!(got, [("group=a", 7.0), ("group=c", 0.0)]);
        assert_eq!(why, Some(ItemFault::Path));
        assert_eq!(go(&reply, "#", &[]).0[0].value, 3.0);
        assert_eq!(go(&reply, "0.lag", &[]).0[0].value, 7.0);
    }

    #[test]
    fn what_is_not_there_is_a_fault_and_not_zero() {
        for (value, path, why) in [
            (Value::Nil, "", ItemFault::Path),
            (Value::Int(1), "a", ItemFault::Path),
            (Value::Array(vec![]), "0", ItemFault::Path),
            (text("abc"), "", ItemFault::NotANumber),
            (text("inf"), "", ItemFault::NotANumber),
            (Value::Array(vec![Value::Int(1)]), "", ItemFault::NotANumber),
        ] {
            assert_eq!(go(&value, path, &[]), (vec![], Some(why)), "{value:?} {path}");
        }
        assert_eq!(go(&text("12.5"), "", &[]).0[0].value, 12.5);
    }

    #[test]
    fn a_flood_of_groups_keeps_the_largest() {
        let all = (0..200).map(|i| group(&format!("g{i}"), Some(i))).collect();
        let (series, why) = go(&Value::Array(all), "*.lag", &[("group", "name")]);
        assert_eq!((series.len(), why), (SERIES_MAX, Some(ItemFault::SeriesLimit)));
        assert!(series.iter().all(|s| s.value >= 136.0));
    }

    #[test]
    fn a_path_that_cannot_be_is_refused() {
        for bad in [".", "a..b", "*.*", "#.a", "a.b.c.d.e.f.g", "a$"] {
            assert!(Path::parse(bad).is_err(), "{bad}");
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<i64>().prop_map(Value::Int),
            proptest::collection::vec(any::<u8>(), 0..9).prop_map(Value::BulkString),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            proptest::collection::vec(inner, 0..6).prop_map(Value::Array)
        })
    }

    proptest! {
        #[test]
        fn no_reply_makes_a_value_that_is_not_a_number(
            value in any_value(), path in "([a-c]|[0-3]|\\*|#)(\\.([a-c]|[0-3]|#)){0,3}"
        ) {
            if let Ok(path) = Path::parse(&path) {
                let labels = [("l".to_string(), "0".to_string())];
                let (series, why) = read(&value, &path, &labels, None);
                prop_assert!(series.iter().all(|s| s.value.is_finite()));
                prop_assert!(!path.fans_out() && series.is_empty() == why.is_some() || path.fans_out());
            }
        }
    }
}
