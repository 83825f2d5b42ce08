//! Lists: filter, order, one page of it, the exact number of all.
//!
//! Invariant: `count` is the number after filtering; a cursor names the last id of a page, so a row
//! that appears or goes between two pages moves no other. Unknown parameters are ignored.

use model::At;
use model::action::Action;
use model::view::List;

use super::ask::{Ask, Fail, invalid};

/// Rows of a page when nothing is said.
const LIMIT: usize = 100;
/// Rows of a page at most.
const LIMIT_MAX: usize = 500;

/// Rows of a file: what a spreadsheet shows and one request can gather; a link leads on.
const FILE_MAX: usize = 10_000;

/// `limit`, within its bounds. A file is the whole list unless somebody asks for less.
pub fn limit(ask: &Ask) -> usize {
    let (usual, most) = bounds(ask.query("format"));
    ask.query("limit").parse().unwrap_or(usual).clamp(1, most)
}

/// Rows when nothing is said, and at most, of an answer in that form.
fn bounds(format: &str) -> (usize, usize) {
    match format {
        "csv" => (FILE_MAX, FILE_MAX),
        _ => (LIMIT, LIMIT_MAX),
    }
}

/// Refuses a limit of a list that is none: another number of rows than asked is a wrong answer.
pub fn check_limit(action: &Action, limit: Option<&str>, format: &str) -> Result<(), Fail> {
    let (Some(given), true) = (limit, action.id.ends_with(".list")) else { return Ok(()) };
    let (_, most) = bounds(format);
    if given.parse().is_ok_and(|n: usize| (1..=most).contains(&n)) {
        return Ok(());
    }
    let given: String = given.chars().take(40).collect();
    Err(invalid("/limit", format!("limit={given:?}: expected a number from 1 to {most}")))
}

/// What lists can be sorted by; the others have one order.
const SORTS: &[(&str, &[&str])] = &[
    ("service.list", &["name", "score", "mem", "ops", "clients", "slow", "alerts"]),
    ("instance.list", &["name", "score", "mem", "ops"]),
];

/// Refuses an order that is not one of the list's: sorted otherwise than asked is a wrong answer.
pub fn check_order(action: &Action, sort: &str) -> Result<(), Fail> {
    let known = SORTS.iter().find(|(id, _)| *id == action.id).map_or(&[][..], |(_, words)| words);
    let is_list = action.id.ends_with(".list");
    if sort.is_empty() || !is_list || known.contains(&sort.trim_start_matches('-')) {
        return Ok(());
    }
    Err(invalid(
        "/sort",
        match known {
            [] => format!("sort={sort:?}: this list has one order only; leave sort out"),
            words => {
                format!("sort={sort:?}: expected {}, with - before it downwards", words.join(", "))
            }
        },
    ))
}

/// The cursor: `page`, or `next` as the answer calls it.
pub fn cursor(ask: &Ask) -> Option<&str> {
    [ask.query("page"), ask.query("next")].into_iter().find(|c| !c.is_empty())
}

/// Whether every word of `q` occurs in one of `texts`, whatever the case.
pub fn matches(q: &str, texts: &[&str]) -> bool {
    q.split_whitespace().all(|word| {
        let word = word.to_lowercase();
        texts.iter().any(|t| t.to_lowercase().contains(&word))
    })
}

/// One page of `items`, which are filtered and in order; `id` is the cursor of an item.
pub fn page<T>(ask: &Ask, items: Vec<T>, id: impl Fn(&T) -> String, as_of: At) -> List<T> {
    let count = items.len();
    let start = match cursor(ask) {
        Some(last) => items.iter().position(|i| id(i) == last).map_or(0, |n| n + 1),
        None => 0,
    };
    let mut rest = items.into_iter().skip(start);
    let items: Vec<T> = rest.by_ref().take(limit(ask)).collect();
    let next = rest.next().and(items.last()).map(id);
    List { items, next, count, as_of }
}

/// Sorts by a number: `None` stands last in either direction, for unknown is neither small nor large.
pub fn by_number<T>(items: &mut [T], down: bool, key: impl Fn(&T) -> Option<f64>) {
    items.sort_by(|a, b| match (key(a), key(b)) {
        (Some(x), Some(y)) if down => y.total_cmp(&x),
        (Some(x), Some(y)) => x.total_cmp(&y),
        (Some(_), None) => std::cmp::Ordering::Less,
        (None, Some(_)) => std::cmp::Ordering::Greater,
        (None, None) => std::cmp::Ordering::Equal,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_stands_last_in_either_direction() {
        let mut items = vec![Some(1.0), None, Some(3.0)];
        by_number(&mut items, true, |v| *v);
        assert_eq!(items, [Some(3.0), Some(1.0), None]);
        by_number(&mut items, false, |v| *v);
        assert_eq!(items, [Some(1.0), Some(3.0), None]);
    }

    #[test]
    fn a_limit_that_is_no_number_or_out_of_bounds_is_refused() {
        let list = model::action::action("service.list").unwrap();
        let check = |limit, format| check_limit(list, limit, format);
        for (limit, format) in
            [(None, ""), (Some("1"), ""), (Some("500"), ""), (Some("501"), "csv")]
        {
            assert!(check(limit, format).is_ok(), "{limit:?} {format}");
        }
        for limit in ["", "0", "501", "-1", "ten"] {
            let refused = check(Some(limit), "").unwrap_err().0;
            assert_eq!(refused.status, 422, "{limit}");
            assert!(refused.detail.contains("from 1 to 500"), "{}", refused.detail);
        }
        let other = model::action::action("service.get").unwrap();
        assert!(check_limit(other, Some("x"), "").is_ok());
    }

    #[test]
    fn an_unknown_order_is_refused_with_the_known_ones() {
        let of = |id: &str| model::action::action(id).unwrap();
        for (id, sort) in [("service.list", "-mem"), ("instance.list", ""), ("service.get", "x")] {
            assert!(check_order(of(id), sort).is_ok(), "{id} {sort}");
        }
        for (id, sort, said) in
            [("service.list", "memory", "mem, ops"), ("alert.list", "score", "one order")]
        {
            let refused = check_order(of(id), sort).unwrap_err();
            assert_eq!(refused.0.status, 422);
            assert!(refused.0.detail.contains(said), "{}", refused.0.detail);
        }
    }

    #[test]
    fn every_word_must_be_found_somewhere() {
        assert!(matches("CART pay", &["pay.cart", "Basket"]));
        assert!(!matches("cart hr", &["pay.cart", "Basket"]));
        assert!(matches("", &[]));
    }
}
