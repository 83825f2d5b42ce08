//! Alerts and what keeps them from people: what is filled in, and calendars in one line a window.

use model::alert::Phase;
use model::calendar::{CalendarItem, Day, Repeat, Window};
use model::view::{AlertPage, List};
use serde_json::{Value, json};

use super::list;
use crate::frame::Frame;
use crate::link;

/// Labels a silence made from an alert takes over: what, and on which thing.
const SILENCED_BY: [&str; 5] = ["alertname", "tenant", "service", "instance", "policy"];

pub(super) fn one(page: &AlertPage) -> Value {
    let labels = &page.alert.labels;
    let own = SILENCED_BY.iter().filter_map(|name| Some((name, labels.get(*name)?)));
    let lines: Vec<String> = own.map(|(name, value)| format!("{name}={value}")).collect();
    let scope = match (&page.alert.service, &page.alert.tenant) {
        (Some(service), _) => format!("service:{service}"),
        (None, Some(tenant)) => format!("tenant:{tenant}"),
        (None, None) => "platform".into(),
    };
    let silence =
        format!("scope={}&matchers={}", link::encode(&scope), link::encode(&lines.join("\n")));
    json!({ "open": page.alert.phase != Phase::Resolved, "silence": silence })
}

/// What was asked, to be filled in again.
fn asked(frame: &Frame, names: &[&str]) -> Value {
    names.iter().map(|n| (n.to_string(), Value::from(link::param(&frame.query, n)))).collect()
}

fn options(frame: &Frame, name: &str, words: &[&str]) -> Vec<Value> {
    let chosen = link::param(&frame.query, name);
    words.iter().map(|w| json!({ "value": w, "here": chosen == *w })).collect()
}

pub(super) fn history(value: &Value, frame: &Frame) -> Value {
    const ASKED: [&str; 5] = ["from", "to", "in", "policy", "q"];
    let mut derived = list::plain(value, frame);
    derived["asked"] = asked(frame, &ASKED);
    derived["levels"] = options(frame, "level", &["info", "warning", "critical"]).into();
    derived["phases"] = options(frame, "phase", &["firing", "resolved"]).into();
    derived["acks"] = options(frame, "acknowledged", &["yes", "no"]).into();
    let chosen = ["level", "phase", "acknowledged"];
    let any = |name: &&str| !link::param(&frame.query, name).is_empty();
    derived["filtered"] = (ASKED.iter().any(any) || chosen.iter().any(any)).into();
    derived
}

pub(super) fn silences(value: &Value, frame: &Frame) -> Value {
    let mut derived = list::plain(value, frame);
    derived["asked"] = asked(frame, &["scope", "matchers"]);
    derived
}

pub(super) fn calendars(page: &List<CalendarItem>, value: &Value, frame: &Frame) -> Value {
    let mut derived = list::plain(value, frame);
    let row = |item: &CalendarItem| {
        let windows: Vec<String> = item.calendar.windows.iter().map(line).collect();
        json!({
            "id": item.id, "state": if item.open { "open" } else { "closed" },
            "description": item.calendar.description, "zone": item.calendar.zone,
            "windows": windows, "changes_at": item.changes_at, "at": item.at, "by": item.by,
            "rev": item.rev,
        })
    };
    derived["calendars"] = page.items.iter().map(row).collect();
    derived
}

/// A window as the form takes it.
fn line(window: &Window) -> String {
    let day = |d: &Day| serde_json::to_value(d).ok()?.as_str().map(str::to_string);
    let repeat = match &window.repeat {
        Repeat::Once => "once".to_string(),
        Repeat::Daily => "daily".to_string(),
        Repeat::Weekly(days) => {
            format!("weekly {}", days.iter().filter_map(day).collect::<Vec<_>>().join(","))
        }
        Repeat::MonthDay(n) => format!("month_day {n}"),
        Repeat::NthWeekday { n, day: d } => {
            format!("nth_weekday {n} {}", day(d).unwrap_or_default())
        }
    };
    format!("{} {} {repeat}", window.start, String::from(window.duration))
}
