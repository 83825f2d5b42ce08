//! Forms of maintenances, silences and calendars as the API reads them.
//!
//! Invariant: each field becomes the part of the body that has its name; what a person typed wrongly
//! reaches the same checks as an API call.

use serde_json::{Value, json};

use super::form::{Fields, field};

/// `{scope, reason, duration, starts_at?}`.
pub(super) fn maintenance(f: &Fields) -> Value {
    let mut body = json!({
        "scope": field(f, "scope").trim(), "reason": field(f, "reason"),
        "duration": field(f, "duration").trim(),
    });
    let starts = field(f, "starts_at");
    if !starts.trim().is_empty() {
        body["starts_at"] = starts.trim().into();
    }
    body
}

/// `{scope, matchers, comment, duration}`, a matcher a line.
pub(super) fn silence(f: &Fields) -> Value {
    let text = field(f, "matchers");
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
    json!({
        "scope": field(f, "scope").trim(), "comment": field(f, "comment"),
        "duration": field(f, "duration").trim(),
        "matchers": lines.collect::<Vec<_>>(),
    })
}

/// `{calendar}`, a window a line: `22:00 8h daily`, `09:00 9h weekly mon,tue`,
/// `2026-03-29T02:30 1h once`, `00:00 4h month_day 1`, `02:00 4h nth_weekday 2 tue`.
pub(super) fn calendar(f: &Fields) -> Value {
    let text = field(f, "windows");
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
    json!({ "calendar": {
        "id": field(f, "id").trim(), "zone": field(f, "zone").trim(),
        "description": field(f, "description").trim(),
        "windows": lines.map(window).collect::<Vec<_>>(),
    } })
}

fn window(line: &str) -> Value {
    let mut words = line.split_whitespace();
    let mut next = || words.next().unwrap_or_default();
    let (start, duration, kind) = (next(), next(), next());
    let (first, second) = (next(), next());
    // A number where it is one, else the text, which the reader of the body then names.
    let number = |text: &str| text.parse::<i64>().map_or_else(|_| text.into(), Value::from);
    let repeat = match kind {
        "weekly" => json!({ "weekly": first.split(',').collect::<Vec<_>>() }),
        "month_day" => json!({ "month_day": number(first) }),
        "nth_weekday" => json!({ "nth_weekday": { "n": number(first), "day": second } }),
        word => json!(word),
    };
    json!({ "start": start, "duration": duration, "repeat": repeat })
}

#[cfg(test)]
mod tests {
    use model::calendar::CalendarDoc;

    use super::*;

    #[test]
    fn every_kind_of_window_can_be_filled_in() {
        let windows = "22:00 8h daily\n09:00 9h weekly mon,tue\n\n2026-03-29T02:30 1h once\n\
                       00:00 4h month_day -1\n02:00 4h nth_weekday 2 tue\n";
        let fields = [("id", "c"), ("zone", "UTC"), ("windows", windows)];
        let fields = fields.map(|(k, v)| (k.to_string(), v.to_string())).into();
        let read: CalendarDoc =
            serde_json::from_value(calendar(&fields)["calendar"].clone()).unwrap();
        assert_eq!(read.windows.len(), 5);
        read.compile().unwrap();
    }

    #[test]
    fn a_window_that_is_none_is_refused_by_the_reader_of_the_body() {
        for line in ["22:00", "22:00 8h", "22:00 8h sometimes", "22:00 8h month_day first"] {
            assert!(
                serde_json::from_value::<model::calendar::Window>(window(line)).is_err(),
                "{line}"
            );
        }
    }
}
