//! Silences, maintenances, calendars and the history of alerts to draw.

use model::calendar::CalendarItem;
use model::history::{Ack, Answered, HistoryItem, HistoryPage};
use model::maintenance::{Maintenance, MaintenanceItem};
use model::silence::{Matcher, Silence, SilenceItem};
use serde_json::json;

use super::alerts::alerts;
use super::{Mood, NOW};

pub fn history_page(mood: Mood, text: &str) -> HistoryPage {
    let known = if mood == Mood::Empty { vec![] } else { alerts(Mood::Trouble, text) };
    let ack = Ack { by: format!("local/lin.wei{text}"), at: NOW - 60_000, note: text.into() };
    let one = |(n, alert): (usize, model::alert::Alert)| HistoryItem {
        duration_ms: alert.ends_at.map(|end| end.since_ms(alert.starts_at)),
        ack: (n % 2 == 0).then(|| ack.clone()),
        in_maintenance: n == 1,
        withheld: if n == 1 { format!("maintenance m1{text}") } else { String::new() },
        alert,
    };
    let answered = |policy: &str, mtta_ms: Option<i64>| Answered {
        tenant: if mtta_ms.is_some() { "pay".into() } else { String::new() },
        policy: policy.into(),
        fired: 12,
        acknowledged: 3,
        resolved: 11,
        mtta_ms,
        mttr_ms: mtta_ms.map(|ms| ms * 9),
    };
    let items: Vec<HistoryItem> = known.into_iter().enumerate().map(one).collect();
    HistoryPage {
        next: (!items.is_empty()).then(|| "1763780584000.9f2c".into()),
        count: items.len(),
        answered: match items.is_empty() {
            true => vec![],
            false => vec![answered("instance-down", Some(240_000)), answered(text, None)],
        },
        items,
        as_of: NOW,
        from: NOW - 2_592_000_000,
        to: None,
    }
}

pub fn silences(mood: Mood, text: &str) -> Vec<SilenceItem> {
    if mood == Mood::Empty {
        return vec![];
    }
    let one = |state: &str, keeper: &str| {
        let matchers = vec![Matcher::equal("alertname", &format!("RedisDown{text}"))];
        SilenceItem {
            text: matchers[0].to_string(),
            scope: "tenant:pay".into(),
            state: state.into(),
            alerts: 3,
            expirable: state == "active",
            silence: Silence {
                id: "0192".into(),
                matchers,
                starts_at: NOW - 60_000,
                ends_at: NOW + 60_000,
                created_by: format!("local/lin.wei{text}"),
                comment: format!("CHG-12 {text}"),
                keeper: keeper.into(),
            },
        }
    };
    vec![one("active", "http://alertmanager:9093"), one("expired", ""), one("pending", "")]
}

pub fn maintenances(mood: Mood, text: &str) -> Vec<MaintenanceItem> {
    if mood == Mood::Empty {
        return vec![];
    }
    let one = |state: &str, withheld| MaintenanceItem {
        maintenance: Maintenance {
            id: "0192".into(),
            scope: "service:pay.cart".to_string().try_into().unwrap(),
            starts_at: NOW - 60_000,
            ends_at: NOW + 60_000,
            reason: format!("CHG-12 {text}"),
            by: format!("local/lin.wei{text}"),
            created_at: NOW - 60_000,
            ended_by: if state == "over" { format!("local/x{text}") } else { String::new() },
        },
        state: state.into(),
        instances: 6,
        withheld,
        endable: state != "over",
    };
    vec![one("running", 2), one("planned", 0), one("over", 0)]
}

pub fn calendars(mood: Mood, text: &str) -> Vec<CalendarItem> {
    if mood == Mood::Empty {
        return vec![];
    }
    let calendar = serde_json::from_value(json!({
        "id": "office-cn", "zone": "Asia/Shanghai", "description": format!("Office hours {text}"),
        "windows": [
            {"start": "09:00", "duration": "9h", "repeat": {"weekly": ["mon", "tue"]}},
            {"start": format!("22:00{text}"), "duration": "8h", "repeat": "daily"},
            {"start": "00:00", "duration": "4h", "repeat": {"month_day": -1}},
            {"start": "02:00", "duration": "4h", "repeat": {"nth_weekday": {"n": 2, "day": "tue"}}},
        ],
    }));
    vec![CalendarItem {
        id: "office-cn".into(),
        calendar: calendar.unwrap(),
        rev: 3,
        by: format!("local/lin.wei{text}"),
        at: NOW - 3_600_000,
        open: mood == Mood::Fine,
        changes_at: (mood != Mood::Blind).then_some(NOW + 3_600_000),
    }]
}
