//! Days to full, objectives and a lost zone.

use model::outlook::*;
use model::score::Level;
use model::service::Tier;
use model::zone_loss::*;

use super::*;

pub fn capacity(mood: Mood, text: &str) -> CapacityPage {
    let line = |resource: &str, low, mid, high| CapacityLine {
        resource: resource.into(),
        days: 28,
        limit: 10e9,
        level: 8.1e9,
        per_day: 2.2e8,
        low,
        mid,
        high,
        text: "full between 6 and 11 days (80 %)".into(),
        known: true,
        ..CapacityLine::default()
    };
    let soon = CapacityLine {
        hour: Some(NOW + 691_200_000),
        steps: vec![CapacityStep {
            at: NOW - 864_000_000,
            by: 1.1e9,
            near: format!("switchover {text}"),
        }],
        weak: true,
        ..line("memory", Some(6.0), Some(8.4), Some(11.0))
    };
    let short = CapacityLine { days: 3, known: false, ..line("connections", None, None, None) };
    let lines = match mood {
        Mood::Trouble => vec![
            soon,
            line("host_memory", Some(40.0), Some(90.0), None),
            line("connections", Some(40.0), None, None),
            line("memory", Some(0.0), Some(0.0), Some(0.0)),
        ],
        Mood::Fine => vec![line("memory", None, None, None), short],
        _ => vec![],
    };
    let (as_of, service) = (NOW, "pay.cart".into());
    CapacityPage { as_of, service, source: format!("daily {text}"), days: 28, lines }
}

pub fn slo(mood: Mood) -> SloPage {
    let trouble = mood == Mood::Trouble;
    let some = matches!(mood, Mood::Trouble | Mood::Fine);
    let both = |low, high| some.then_some([low, high]);
    let window = |label: &str, burn| SloWindow {
        window: label.into(),
        bad_s: if trouble { 31.0 } else { 0.0 },
        unknown_ratio: 0.12,
        burn,
    };
    let alert = |kind: &str, holds| SloAlert {
        kind: kind.into(),
        factor: 14.4,
        long: "1h".into(),
        short: "5m".into(),
        holds,
    };
    SloPage {
        as_of: NOW,
        service: "pay.cart".into(),
        target: trouble.then_some(0.9999),
        period_days: 30,
        since: some.then_some(NOW - 86_400_000),
        seconds: SloSeconds { good: 86_000.0, bad: 300.0, bad_planned: 20.0, unknown: 100.0 },
        availability: both(0.9953, 0.9965),
        adjusted: both(0.9970, 0.9970),
        budget_s: trouble.then_some(259.2),
        budget_remaining: if trouble { both(-0.31, -0.1) } else { None },
        windows: vec![window("5m", trouble.then_some(103.0)), window("3d", None)],
        alerts: vec![alert("page", trouble), alert("ticket", trouble)],
        too_much_unknown: trouble,
    }
}

pub fn zone_loss(mood: Mood, text: &str) -> ZoneLoss {
    let service = |id: &str, outcome| ServiceLoss {
        service: id.into(),
        tier: Tier::Core,
        outcome,
        was_down: mood == Mood::Blind,
        reasons: vec![format!("the master 10.1.1.7:6379 is lost {text}")],
        lost: vec!["pay.cart@10.1.1.7:6379".into()],
        moves: vec![MasterMove {
            shard: 0,
            from: "10.1.1.7:6379".into(),
            to: "10.1.2.7:6379".into(),
            lag_bytes: (mood == Mood::Trouble).then_some(1024.0),
        }],
        breaks: vec!["shard 0: 1 of 2 required replicas".into()],
        ..ServiceLoss::default()
    };
    let host = |ratio: Option<f64>| HostLoad {
        host: "h-az-2-1".into(),
        masters: 3,
        memory_ratio: ratio,
        cpu_ratio: None,
        network_bytes_per_s: None,
        over: ratio.is_some_and(|r| r > 0.85),
    };
    let level = LevelLoss {
        level: Level::Fleet,
        id: String::new(),
        before: Some(98.0),
        after: (mood != Mood::Blind).then_some(41.0),
    };
    let empty = mood == Mood::Empty;
    ZoneLoss {
        evacuated: mood == Mood::Trouble,
        as_of: NOW,
        zone: "az-1".into(),
        instances: if empty { 0 } else { 12 },
        ok: 40,
        degraded: u32::from(!empty),
        down: u32::from(!empty),
        services: match empty {
            true => vec![],
            false => {
                vec![service("pay.cart", Outcome::Down), service("pay.card", Outcome::Degraded)]
            }
        },
        hosts: if empty { vec![] } else { vec![host(Some(0.91)), host(None)] },
        levels: if empty { vec![] } else { vec![level] },
    }
}
