//! Links and hidden fields of a list: sorting, filtering, the next page.

use serde_json::{Value, json};

use crate::frame::Frame;
use crate::link;

/// Columns a list of services can be sorted by, with the direction a first click means: worst or
/// largest first, names from A.
const SERVICE_SORTS: [(&str, &str); 7] = [
    ("name", "name"),
    ("score", "score"),
    ("mem", "-mem"),
    ("ops", "-ops"),
    ("clients", "-clients"),
    ("slow", "-slow"),
    ("alerts", "-alerts"),
];

/// Parameters a filter form carries along.
const KEPT: [&str; 3] = ["in", "sort", "live"];

pub(super) fn plain(value: &Value, frame: &Frame) -> Value {
    let asked = |name: &str| link::param(&frame.query, name);
    let kept: Vec<Value> = KEPT
        .iter()
        .map(|name| json!({ "name": name, "value": asked(name) }))
        .filter(|pair| pair["value"] != "")
        .collect();
    let next =
        value["next"].as_str().map(|c| link::with(&frame.path, &frame.query, "page", Some(c)));
    let first = link::with(&frame.path, &frame.query, "page", None);
    let shown = value["items"].as_array().map_or(0, Vec::len);
    json!({
        "q": asked("q"), "scope": asked("in"), "kept": kept, "next": next, "first": first,
        "on_first": asked("page").is_empty(), "shown": shown, "filtered": !asked("q").is_empty(),
        "unfiltered": link::with(&frame.path, &frame.query, "q", None),
    })
}

pub(super) fn services(value: &Value, frame: &Frame) -> Value {
    let mut derived = plain(value, frame);
    let asked = link::param(&frame.query, "sort");
    let mut sorts = json!({});
    for (column, first) in SERVICE_SORTS {
        let here = asked.trim_start_matches('-') == column;
        let down = asked.starts_with('-');
        let next = match (here, down) {
            (false, _) => first.to_owned(),
            (true, true) => column.to_owned(),
            (true, false) => format!("-{column}"),
        };
        sorts[column] = json!({
            "href": link::with(&frame.path, &frame.query, "sort", Some(&next)),
            "aria": if !here { "none" } else if down { "descending" } else { "ascending" },
            "icon": if !here { "" } else if down { "down" } else { "up" },
        });
    }
    derived["sorts"] = sorts;
    derived
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_click_on_a_column_turns_its_order() {
        let frame =
            Frame { path: "/services".into(), query: "sort=-mem".into(), ..Frame::default() };
        let d = services(&json!({ "items": [], "next": "c1" }), &frame);
        assert_eq!(d["sorts"]["mem"]["href"], "/services?sort=mem");
        assert_eq!(d["sorts"]["mem"]["aria"], "descending");
        assert_eq!(d["sorts"]["name"]["href"], "/services?sort=name");
        assert_eq!(d["next"], "/services?sort=-mem&page=c1");
    }
}
