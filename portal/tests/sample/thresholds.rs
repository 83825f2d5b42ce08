//! Threshold policies to draw.

use model::policy::*;
use model::quality::{QualityLine, QualityReport};
use serde_json::json;

use super::{Mood, NOW};

pub fn policies(mood: Mood, text: &str) -> Vec<PolicyItem> {
    if mood == Mood::Empty {
        return Vec::new();
    }
    let one = |id: &str, layers: Vec<String>| PolicyItem {
        id: id.into(),
        alertnames: vec!["RedisMemoryHigh".into(), format!("RedisMemoryFull{text}")],
        signal: format!("redis_memory_used_bytes / redis_memory_max_bytes {text}"),
        levels: vec!["critical > 0.95 for 2m".into(), format!("warning > 0.85 {text}")],
        shipped: mood != Mood::Blind,
        enabled: mood != Mood::Trouble,
        engine: if mood == Mood::Trouble { Engine::Both } else { Engine::Embedded },
        firing: if mood == Mood::Trouble { 3 } else { 0 },
        by: if layers.is_empty() { String::new() } else { format!("local/lin.wei{text}") },
        at: (!layers.is_empty()).then_some(NOW - 3_600_000),
        layers,
    };
    vec![one("memory-used", vec![format!("tenant:pay {text}")]), one("swapping", Vec::new())]
}

fn doc(text: &str) -> PolicyDoc {
    serde_json::from_value(json!({
        "policy": "memory-used", "scope": "tenant:pay",
        "levels": {"critical": {"fire": 0.9, "for": "2m"}},
        "annotations": {"summary": format!("full {text}")},
    }))
    .unwrap()
}

fn outcome(fired: u64, text: &str) -> Outcome {
    let tally = |name: String| Tally { name, fired, minutes_firing: 17.5, pages_per_week: 3.5 };
    Outcome {
        fired,
        instances: 2,
        minutes_firing: 35.0,
        flaps: 1,
        pages_per_week: 3.5,
        levels: vec![tally("critical".into())],
        services: vec![tally(format!("pay.cart{text}"))],
        receivers: vec![tally(String::new())],
    }
}

fn backtest(mood: Mood, text: &str) -> Backtest {
    let interval = |end| FiringInterval {
        instance: format!("pay.cart@10.1.1.7:6379{text}"),
        series: format!("slave_ip=\"{text}\""),
        level: AlertLevel::Critical,
        start: NOW - 7_200_000,
        end,
        peak: Some(0.97),
        flapping: mood == Mood::Trouble,
    };
    Backtest {
        from: NOW - 86_400_000,
        to: NOW,
        draft: outcome(5, text),
        current: (mood != Mood::Fine).then(|| outcome(2, text)),
        versus: Versus { only_draft: 3, only_current: 0, both: 2, per_day: 0.43 },
        suggestions: vec![Suggestion {
            level: AlertLevel::Critical,
            fire: 0.93,
            clear: 0.9,
            pages_per_week: 1.0,
        }],
        intervals: vec![interval(Some(NOW - 3_600_000)), interval(None)],
        data: BacktestData {
            source: if mood == Mood::Trouble { "memory" } else { "prometheus" }.into(),
            dialect: "3".into(),
            step_s: if mood == Mood::Fine { 0 } else { 60 },
            samples: 1440,
            coverage: 0.98,
            instances: 3,
            without_data: u32::from(mood == Mood::Trouble),
            without_data_names: vec![format!("pay.cart@10.1.1.9:6379{text}")],
            series: vec!["redis_up".into()],
            notes: vec![format!("samples every 60 s {text}")],
        },
    }
}

pub fn policy_page(mood: Mood, text: &str) -> PolicyPage {
    let revision = |seq, rev, doc: Option<PolicyDoc>| PolicyRevision {
        policy: "memory-used".into(),
        scope: PolicyScope::Tenant("pay".parse().unwrap()),
        selector: Default::default(),
        rev,
        seq,
        doc,
        by: format!("local/lin.wei{text}"),
        reason: format!("CHG-12 {text}"),
        at: NOW - 3_600_000,
    };
    let field = |name: &str, locked: &str| PolicyField {
        field: name.into(),
        value: format!("0.9 {text}"),
        origin: format!("tenant:pay, rev 2{text}"),
        locked: locked.into(),
        cap: format!("at most 0.95 {text}"),
        beaten: vec![Beaten { value: format!("0.95{text}"), origin: "platform, shipped".into() }],
    };
    let fault = |line| PolicyFault {
        line,
        pointer: format!("/levels/critical/fire{text}"),
        detail: format!("platform locks it; it may only be tightened {text}"),
    };
    let own = mood != Mood::Empty;
    let revisions =
        vec![revision(4, 3, None), revision(3, 2, Some(doc(text))), revision(1, 1, Some(doc("")))];
    PolicyPage {
        as_of: NOW,
        id: "memory-used".into(),
        scope: "tenant:pay".into(),
        instance: (mood == Mood::Blind).then(|| "pay.cart@10.1.1.7:6379".into()),
        rev: if own { 3 } else { 0 },
        doc: doc(text),
        text: format!("policy: memory-used\nscope: tenant:pay\n# {text}\n"),
        effective: vec![field("levels.critical.fire", "platform, rev 1"), field("compare", "")],
        problem: if mood == Mood::Blind { format!("no signal {text}") } else { String::new() },
        shipped: own,
        layers: if own { vec![revision(3, 2, Some(doc(text)))] } else { vec![] },
        revisions: if own { revisions } else { vec![] },
        firing: u32::from(mood == Mood::Trouble),
        check: (mood == Mood::Trouble || mood == Mood::Fine).then(|| PolicyCheck {
            faults: match mood {
                Mood::Trouble => vec![fault(Some(7)), fault(None)],
                _ => vec![],
            },
            reach: vec![PolicyReach { tenant: "pay".into(), instances: 3, changed: 2 }],
        }),
        backtest: (mood != Mood::Empty).then(|| backtest(mood, text)),
    }
}

pub fn quality(mood: Mood, text: &str) -> QualityReport {
    let line = |tenant: &str, fired| {
        let mut line = QualityLine {
            tenant: tenant.into(),
            policy: format!("memory-used{text}"),
            fired,
            short: fired,
            flapping: i64::from(mood == Mood::Trouble),
            pages_per_week: fired as f64 * 7.0 / 30.0,
            mtta_ms: (mood == Mood::Fine).then_some(60_000),
            ..QualityLine::default()
        };
        line.verdicts = model::quality::verdicts(&line);
        line
    };
    let items = if mood == Mood::Empty { vec![] } else { vec![line("pay", 60), line("", 0)] };
    let count = items.len();
    QualityReport { as_of: NOW, from: NOW - 30 * 86_400_000, items, count, next: None }
}
