//! Score policies to draw.

use model::score_policy::{
    EffectiveField, IgnoredField, PolicyFlaw, ScorePolicyDoc, ScorePolicyItem, ScorePolicyPage,
    ScorePolicyPreview, ScorePolicyRevision, ShadowLine,
};
use model::service::{Profile, ProfileFrom};
use serde_json::json;

use super::{Grade, Mood, NOW};

pub fn score_policies(mood: Mood, text: &str) -> Vec<ScorePolicyItem> {
    if mood == Mood::Empty {
        return Vec::new();
    }
    let one = |id: &str, rev| ScorePolicyItem {
        id: id.into(),
        rev,
        fields: if rev > 0 { vec![format!("curves.{text}M1"), "slo".into()] } else { vec![] },
        services: 12,
        by: format!("local/lin.wei{text}"),
        approver: if mood == Mood::Trouble { format!("local/x{text}") } else { String::new() },
        reason: format!("CHG-12 {text}"),
        at: NOW - 3_600_000,
    };
    vec![one("platform", 0), one("tenant:pay", 17)]
}

fn doc(text: &str) -> ScorePolicyDoc {
    serde_json::from_value(json!({
        "scope": "tenant:pay", "profile": "store", "slo": {"target": 0.9999},
        "weights": {"availability": 0.45, "memory": 0.25, "connections": 0.1, "slowlog": 0.2},
        "required": {"replicas": 2, "persistence": true}, "slowlog_limit_ms": 5.0,
        "curves": {"M1": [[0.7, 0.0], [0.8, 25.0], [1.0, 100.0]], text: [[0.7, 0.0]]},
        "off": {"C3": {"reason": format!("CHG-7 {text}"), "until": NOW + 86_400_000}, "S5": null},
        "gates": {"no_replica": 60.0}, "locked": ["curves", text],
    }))
    .unwrap()
}

fn line(text: &str, after: Option<f64>) -> ShadowLine {
    ShadowLine {
        service: format!("pay.cart{text}"),
        score_before: Some(87.0),
        score_after: after,
        grade_before: Grade::B,
        grade_after: after.map_or(Grade::Unknown, Grade::of),
        mean_before: Some(90.67),
        mean_after: after,
        lowest_before: Some(85.0),
        lowest_after: after,
        moved: 0.25,
        moments: if after.is_some() { 60 } else { 0 },
        cause: format!("used 88 % of maxmemory {text}"),
    }
}

fn preview(mood: Mood, text: &str) -> ScorePolicyPreview {
    let flaw = |signable| PolicyFlaw {
        pointer: format!("/curves/M1/1{text}"),
        detail: format!("40.0 is far from the profile's 20.0 {text}"),
        signable,
    };
    ScorePolicyPreview {
        at: NOW,
        hash: format!("1-ab{text}"),
        flaws: match mood {
            Mood::Trouble => vec![flaw(true)],
            Mood::Blind => vec![flaw(true), flaw(false)],
            _ => vec![],
        },
        source: if mood == Mood::Fine { "prometheus" } else { "memory" }.into(),
        window_s: 3600,
        step_s: 60,
        note: format!("compared over the last 60 minutes in memory {text}"),
        services: match mood {
            Mood::Trouble => vec![line(text, Some(78.5)), line("", None)],
            _ => vec![],
        },
        unchanged: 3,
        ignored: vec![ignored(text)],
    }
}

fn ignored(text: &str) -> IgnoredField {
    IgnoredField {
        scope: "service:pay.cart".into(),
        field: "curves.M1".into(),
        why: format!("platform, rev 3 locks it {text}"),
    }
}

pub fn score_policy_page(mood: Mood, text: &str) -> ScorePolicyPage {
    let saved = mood != Mood::Empty;
    let field = |field: &str, origin: &str| EffectiveField {
        field: field.into(),
        value: format!("0.7: 0, 1: 100 {text}"),
        origin: origin.into(),
        locked: if mood == Mood::Trouble { "platform, rev 3".into() } else { String::new() },
    };
    let revision = |rev, approver: &str| ScorePolicyRevision {
        rev,
        doc: doc(if rev == 17 { text } else { "" }),
        by: format!("local/lin.wei{text}"),
        approver: approver.into(),
        reason: format!("CHG-12 {text}"),
        at: NOW - 3_600_000,
    };
    let empty = || serde_json::from_value(json!({"scope": "service:pay.cart"})).unwrap();
    ScorePolicyPage {
        as_of: NOW,
        id: if mood == Mood::Empty { "service:pay.cart" } else { "tenant:pay" }.into(),
        rev: if saved { 17 } else { 0 },
        doc: if saved { doc(text) } else { empty() },
        profile: Profile::Cache,
        profile_from: if saved { ProfileFrom::Given } else { ProfileFrom::Guessed },
        effective: vec![
            field("curves.M1", "tenant pay, rev 17"),
            field("curves.M3", "profile store"),
        ],
        ignored: if mood == Mood::Trouble { vec![ignored(text)] } else { vec![] },
        above: vec!["platform".into()],
        revisions: if saved { vec![revision(17, "local/x"), revision(9, "")] } else { vec![] },
        preview: (mood != Mood::Empty).then(|| preview(mood, text)),
    }
}
