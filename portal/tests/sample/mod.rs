//! Values to draw: a fleet with trouble, one that is fine, one nobody can see, an empty one.

#![allow(dead_code, missing_docs, clippy::unwrap_used, reason = "each test target uses its part")]

mod alerts;
mod fleet;
mod items;
mod operations;
mod outlook;
mod parameters;
mod policies;
mod response;
mod service;
mod thresholds;

use std::collections::BTreeMap;

use model::At;
use model::alert::{Alert, AlertSource, Phase, Transition};
use model::code::{Code, Problem};
use model::evidence::{Evidence, EvidencePart};
use model::health::{Crumb, HealthPage, HistoryMark, Lever, Mark, Source};
use model::incident::{Decision, GuardSeen, Incident, IncidentState, Verb};
use model::operation::{Operation, OperationEvent, OperationKind, OperationState, Step, StepState};
use model::plan::{Checked, Plan, PlannedStep};
use model::policy::AlertLevel;
use model::right::Role;
use model::score::{
    Bar, Explained, GateState, Grade, Level, NotApplicable, PolicyUse, Suggestion, SwitchedOff,
    Threshold, UnknownSignal,
};
use model::view::*;
use portal::{Frame, Lang, Page, Support, Theme};
use serde_json::{Value, json};

use alerts::*;
use fleet::*;
use items::*;
use operations::*;
use outlook::*;
use parameters::*;
use policies::*;
use response::*;
use service::*;
use thresholds::*;

/// The present of all samples.
pub const NOW: At = At::from_ms(1_763_780_584_000);

/// What the fleet is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Fine,
    Trouble,
    Blind,
    Empty,
}

pub const MOODS: [Mood; 4] = [Mood::Fine, Mood::Trouble, Mood::Blind, Mood::Empty];

pub fn frame(lang: Lang, theme: Theme, page: Page, mood: Mood) -> Frame {
    let path = match page {
        Page::Overview => "/overview",
        Page::Services => "/services",
        Page::Service => "/services/pay.cart",
        Page::Health => "/services/pay.cart/health",
        Page::Parameters => "/services/pay.cart/parameters",
        Page::Console => "/instances/pay.cart@10.1.1.7:6379/console",
        Page::Alerts => "/alerts",
        Page::Alert => "/alerts/9f2c",
        Page::Incidents => "/incidents",
        Page::Incident => "/incidents/77ab",
        Page::Operations => "/operations",
        Page::Operation => "/operations/0192f0c1",
        Page::Items => "/items",
        Page::Item => "/items/lag@service:pay.cart",
        Page::ScorePolicies => "/score-policies",
        Page::ScorePolicy => "/score-policies/tenant:pay",
        Page::AlertQuality => "/alerts/quality",
        Page::Policies => "/policies",
        Page::Policy => "/policies/memory-used",
        Page::ZoneLoss => "/zones/az-1/loss",
        Page::AlertHistory => "/alerts/history",
        Page::Silences => "/silences",
        Page::Maintenance => "/maintenance",
        Page::Calendars => "/calendars",
        Page::Docs => "/docs",
        Page::Doc => "/docs/runbooks/RedisDown",
        Page::Plan | Page::Login | Page::Error => "/",
    };
    let signed_in = page != Page::Login;
    Frame {
        lang,
        theme,
        zone: "Asia/Shanghai".into(),
        now: NOW,
        path: path.into(),
        query: if page == Page::Services { "sort=score".into() } else { String::new() },
        me: signed_in.then(|| "lin.wei".into()),
        rights: if signed_in { Role::Operator.rights() } else { model::right::Rights::NONE },
        csrf: "c5rf-t0ken".into(),
        live_s: (mood == Mood::Trouble).then_some(15),
        as_of: Some(NOW - 2_000),
        env_badge: "PROD".into(),
        firing: if mood == Mood::Trouble { 4 } else { 0 },
        kill_switch: mood == Mood::Blind,
        request_id: "01JD9Y6H2K4Q".into(),
        notices: if mood == Mood::Blind {
            vec!["The history service does not answer; live values are shown.".into()]
        } else {
            vec![]
        },
        version: "0.1.0".into(),
        support: Support { mail: "redis-team@bank.example".into(), url: String::new() },
    }
}

/// The value of a page in a mood; `text` is put wherever a foreign server or person may write.
pub fn value(page: Page, mood: Mood, text: &str) -> Value {
    let to = |v: Result<Value, serde_json::Error>| v.unwrap();
    match page {
        Page::Login => json!({
            "next": "/overview", "setup": mood == Mood::Empty,
            "error": (mood == Mood::Trouble).then(|| json!({"code": "CW-1101", "detail": "Name or password is wrong."})),
        }),
        Page::Overview => to(serde_json::to_value(overview(mood, text))),
        Page::Services => to(serde_json::to_value(list(services(mood, text)))),
        Page::Service => to(serde_json::to_value(service_page(mood, text))),
        Page::Health => to(serde_json::to_value(health_page(mood, text))),
        Page::Console => to(serde_json::to_value(console_page(mood, text))),
        Page::Parameters => to(serde_json::to_value(parameter_page(mood, text))),
        Page::Alerts => to(serde_json::to_value(list(alerts(mood, text)))),
        Page::Alert => to(serde_json::to_value(alert_page(mood, text))),
        Page::Incidents => to(serde_json::to_value(list(incidents(mood, text)))),
        Page::Incident => to(serde_json::to_value(incident_page(mood, text))),
        Page::Operations => to(serde_json::to_value(list(operations(mood, text)))),
        Page::Operation => to(serde_json::to_value(operation_page(mood, text))),
        Page::Items => to(serde_json::to_value(list(items(mood, text)))),
        Page::Item => to(serde_json::to_value(item_page(mood, text))),
        Page::ScorePolicies => to(serde_json::to_value(list(score_policies(mood, text)))),
        Page::ScorePolicy => to(serde_json::to_value(score_policy_page(mood, text))),
        Page::AlertQuality => to(serde_json::to_value(quality(mood, text))),
        Page::Policies => to(serde_json::to_value(list(policies(mood, text)))),
        Page::Policy => to(serde_json::to_value(policy_page(mood, text))),
        Page::ZoneLoss => to(serde_json::to_value(zone_loss(mood, text))),
        Page::AlertHistory => to(serde_json::to_value(history_page(mood, text))),
        Page::Silences => to(serde_json::to_value(list(silences(mood, text)))),
        Page::Maintenance => to(serde_json::to_value(list(maintenances(mood, text)))),
        Page::Calendars => to(serde_json::to_value(list(calendars(mood, text)))),
        Page::Docs => to(serde_json::to_value(list(match mood {
            Mood::Empty => Vec::new(),
            _ => vec![json!({ "name": "RedisDown", "title": format!("RedisDown {text}") })],
        }))),
        Page::Doc => json!({
            "name": "RedisDown", "title": "RedisDown",
            "text": format!(
                "# RedisDown\n\nThe instance does not answer. {text}\n\n## Look\n\n\
                 1. `redis-cli -h HOST ping`\n2. the [service](/services)\n\n\
                 | answer | meaning |\n|---|---|\n| LOADING | wait |\n"
            ),
        }),
        Page::Plan => json!({
            "plan": plan(mood, text), "hash": plan(mood, text).hash(),
            "error": (mood == Mood::Trouble).then(|| Problem::new(Code::PlanMoved, format!("A failover happened since: the master is now 10.1.2.7:6379. {text}"), "Look at the new plan, then confirm it.")),
        }),
        Page::Error => {
            let mut p = match mood {
                Mood::Fine => Problem::new(
                    Code::NotFound,
                    "There is no service pay.crat. Nearest: pay.cart, pay.card.",
                    "Check the name, or open the list of services.",
                ),
                Mood::Trouble => Problem::new(
                    Code::RightMissing,
                    format!("op.disrupt is missing in service pay.cart. {text}"),
                    "Ask chen.yu or the team DBA to grant it.",
                ),
                _ => Problem::new(Code::NotWritable, text, "Try again; watching goes on."),
            };
            p.request_id = "01JD9Y6H2K4Q".into();
            to(serde_json::to_value(p))
        }
    }
}

fn list<T>(items: Vec<T>) -> List<T> {
    let count = if items.is_empty() { 0 } else { items.len() + 214 };
    let next = (!items.is_empty()).then(|| "c2VydmljZTox".into());
    List { items, next, count, as_of: NOW }
}

fn brief(score: Option<f64>, grade: Grade, cause: &str) -> ScoreBrief {
    let confidence = if grade == Grade::Unknown { 0.4 } else { 1.0 };
    ScoreBrief { score, grade, confidence, cause: cause.into() }
}

const OP: &str = "0192f0c1-7b3a-7c52-9d0e-5a1f6b2c3d4e";
