//! The services of the sample fleet and its overview.

use super::*;

/// id, name, mode, tier, shards, nodes, score, grade, cause.
type Line = (&'static str, &'static str, &'static str, &'static str, u32, u32, Option<f64>, Grade);

#[rustfmt::skip]
const SERVICES: [(Line, &str); 7] = [
    (("pay.cart", "Shopping cart", "sentinel", "core", 1, 3, Some(57.40), Grade::D), "1 of 2 replicas is down since 14 min"),
    (("pay.ledger", "Ledger cache", "cluster", "core", 3, 9, Some(72.06), Grade::C), "used 88 % of maxmemory, noeviction"),
    (("risk.score", "Risk scoring", "cluster", "important", 6, 12, None, Grade::Unknown), "auth: the password was refused on 12 of 12 nodes"),
    (("crm.session", "客户会话 Sessions", "sentinel", "important", 1, 3, Some(84.31), Grade::B), "3.1 slow commands per minute"),
    (("pay.limits", "Card limits", "sentinel", "core", 1, 3, Some(93.75), Grade::A), "full in 26 days"),
    (("web.page", "Page cache", "standalone", "general", 1, 1, Some(100.0), Grade::A), ""),
    (("lab.solo", "Lab", "standalone", "test", 1, 1, Some(100.0), Grade::A), ""),
];

pub fn services(mood: Mood, text: &str) -> Vec<ServiceItem> {
    if mood == Mood::Empty {
        return vec![];
    }
    let mut out: Vec<ServiceItem> =
        SERVICES.iter().map(|(line, cause)| service_item(*line, cause, mood)).collect();
    if !text.is_empty() {
        out[0].display = text.into();
        out[0].health.cause = text.into();
        out[0].engine = text.into();
    }
    out
}

fn service_item(line: Line, cause: &str, mood: Mood) -> ServiceItem {
    let (id, display, mode, tier, shards, nodes, score, grade) = line;
    let trouble = mood == Mood::Trouble;
    let health = match mood {
        Mood::Fine => brief(Some(100.0), Grade::A, ""),
        Mood::Blind => brief(None, Grade::Unknown, "observer_isolated: this scraper lost the zone"),
        _ if grade == Grade::C => ScoreBrief { confidence: 0.81, ..brief(score, grade, cause) },
        _ => brief(score, grade, cause),
    };
    let blind = health.score.is_none();
    let down = u32::from(trouble && id == "pay.cart");
    let known = |v: f64| (!blind).then_some(v);
    let size = f64::from(nodes);
    ServiceItem {
        id: id.parse().unwrap(),
        display: display.into(),
        system: format!("{}.main", id.split('.').next().unwrap()),
        mode: mode.into(),
        tier: tier.into(),
        class: if nodes > 1 { "zone" } else { "single" }.into(),
        managed: id != "web.page",
        engine: if blind { String::new() } else { "redis 7.2.6".into() },
        shards,
        nodes,
        zones: (1..=nodes.min(3)).map(|z| format!("az-{z}")).collect(),
        verdicts: Verdicts {
            up: if blind { 0 } else { nodes - down },
            down,
            unknown: if blind { nodes } else { 0 },
        },
        memory_ratio: known(if grade == Grade::C { 0.88 } else { 0.41 + size / 50.0 })
            .filter(|_| id != "lab.solo"),
        memory_used_bytes: known(size * 2.93e9),
        ops_per_s: known(size * 2810.7),
        clients_ratio: known(0.034 * size),
        slow_per_min: known(if grade == Grade::B { 3.1 } else { 0.0 }),
        alerts: Some(u32::from(trouble && !matches!(grade, Grade::A | Grade::B)) + down),
        operation: (down > 0).then(|| OP.into()),
        health,
    }
}

fn trend(mood: Mood) -> Vec<Point> {
    (0..60)
        .map(|i| {
            let t = NOW - (60 - i) * 60_000;
            let wave = ((i * 37) % 11) as f64 * 0.09;
            let v = match mood {
                Mood::Fine => Some(98.6 + wave),
                Mood::Trouble if (18..23).contains(&i) => None,
                Mood::Trouble if i < 46 => Some(95.1 + wave),
                Mood::Trouble => Some(95.1 - (i - 45).min(6) as f64 * 2.4 + wave),
                _ => None,
            };
            Point { t, v }
        })
        .collect()
}

/// A zone's score as the process would say it.
fn zone_health(up: u32, down: u32, unknown: u32) -> ScoreBrief {
    match (up, down, unknown) {
        (0, ..) => ScoreBrief {
            score: None,
            grade: Grade::Unknown,
            confidence: 0.0,
            cause: "only 0 % of it by weight is known, at least 60 % are needed".into(),
        },
        (_, 0, _) => {
            ScoreBrief { score: Some(97.2), grade: Grade::A, confidence: 1.0, cause: String::new() }
        }
        _ => ScoreBrief {
            score: Some(66.4),
            grade: Grade::C,
            confidence: 1.0,
            cause: "worst, instance pay.cart@10.0.0.1:6379 at 0.00".into(),
        },
    }
}

/// Lines (up, down, unknown, masters) of the three zones, and their sum.
fn zones(mood: Mood) -> (Vec<ZoneLine>, Verdicts) {
    let lines: &[(u32, u32, u32, u32)] = match mood {
        Mood::Empty => &[],
        Mood::Fine => &[(11, 0, 0, 5), (11, 0, 0, 5), (10, 0, 0, 4)],
        Mood::Trouble => &[(11, 0, 4, 9), (9, 1, 4, 3), (7, 0, 4, 2)],
        Mood::Blind => &[(0, 0, 11, 0), (0, 0, 11, 0), (0, 0, 10, 0)],
    };
    let all = lines.iter().map(|l| l.3).sum::<u32>().max(1);
    let mut sum = Verdicts::default();
    let mut zones = Vec::new();
    for (i, (up, down, unknown, masters)) in lines.iter().copied().enumerate() {
        sum.up += up;
        sum.down += down;
        sum.unknown += unknown;
        zones.push(ZoneLine {
            zone: format!("az-{}", i + 1),
            verdicts: Verdicts { up, down, unknown },
            health: zone_health(up, down, unknown),
            masters: (up > 0).then_some(masters),
            masters_share: (up > 0).then_some(f64::from(masters) / f64::from(all)),
            memory_used_bytes: (up > 0).then_some(3.7e9 * f64::from(up)),
        });
    }
    (zones, sum)
}

pub fn overview(mood: Mood, text: &str) -> Overview {
    let health = match mood {
        Mood::Fine => brief(Some(99.41), Grade::A, ""),
        Mood::Trouble => ScoreBrief { confidence: 0.93, ..brief(Some(81.27), Grade::B, "") },
        _ => brief(None, Grade::Unknown, "only 12 % of the fleet's weight is readable"),
    };
    let (zones, verdicts) = zones(mood);
    let only = |when: bool, text: &str| if when { text.to_owned() } else { String::new() };
    let trouble = mood == Mood::Trouble;
    let mut worst: Vec<ServiceItem> = services(mood, text);
    worst.retain(|s| s.health.score != Some(100.0));
    let mut running = operations(mood, text);
    running.truncate(usize::from(trouble));
    Overview {
        as_of: NOW,
        score_before: health.score.map(|s| Point {
            t: NOW - 3_600_000,
            v: Some(if mood == Mood::Fine { s } else { 95.3 }),
        }),
        health,
        trend: trend(mood),
        verdicts,
        services: services(mood, text).len() as u32,
        firing: Some(if mood == Mood::Trouble { [1, 1, 2] } else { [0, 0, 0] }),
        ops_per_s: (mood != Mood::Blind).then_some(84_213.0),
        memory_used_bytes: (mood != Mood::Blind).then_some(118.4e9),
        memory_max_bytes: (mood != Mood::Blind).then_some(206.2e9),
        zones,
        imbalance: only(trouble, "az-1 holds 64 % of the masters"),
        worst,
        alerts: alerts(mood, text).into_iter().filter(|a| a.phase == Phase::Firing).collect(),
        operations: running,
        changes: if matches!(mood, Mood::Trouble | Mood::Fine) { changes(text) } else { vec![] },
        kill_switch: Some(mood == Mood::Blind),
        notices: vec![],
    }
}

fn changes(text: &str) -> Vec<ChangeLine> {
    let line =
        |ago, t: &str, link: &str| ChangeLine { at: NOW - ago, text: t.into(), link: link.into() };
    vec![
        line(
            840_000,
            &format!("pay.cart@10.1.3.7:6379 went down: the port refuses {text}"),
            "/services/pay.cart",
        ),
        line(
            2_040_000,
            "pay.ledger: maxmemory-policy changed to noeviction",
            "/services/pay.ledger",
        ),
        line(
            7_920_000,
            "pay.limits: switchover to az-2 done, writes stalled 1.4 s",
            "/operations/0192f0c1",
        ),
        line(91_000_000, "risk.score adopted, 12 nodes", "javascript:alert(1)"),
    ]
}
