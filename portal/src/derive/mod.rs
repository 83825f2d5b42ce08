//! What a page says beyond its value: the answers of the overview, the rows of a waterfall, links of
//! a list, the same thing as CLI and as API.
//!
//! Invariant: computed from the value and the frame alone; it adds words and arithmetic, never
//! facts.

mod alert;
mod health;
mod item;
mod list;
mod operation;
mod outlook;
mod overview;
mod policy;
mod score_policy;
mod service;
mod waterfall;

use model::action;
use model::alert::Alert;
use model::code::Problem;
use model::console::ConsolePage;
use model::health::page_of;
use model::history::HistoryPage;
use model::incident::Incident;
use model::item::ItemItem;
use model::maintenance::MaintenanceItem;
use model::parameter::ParameterPage;
use model::policy::PolicyItem;
use model::quality::QualityReport;
use model::score::Level;
use model::score_policy::ScorePolicyItem;
use model::silence::SilenceItem;
use model::view::{AlertPage, IncidentPage, List, OperationItem, ServiceItem};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::frame::Frame;
use crate::page::Page;
use crate::words::Voice;

/// The value templates see as `d`.
pub(crate) fn derive(
    page: Page,
    value: &Value,
    frame: &Frame,
    voice: Voice<'_>,
) -> Result<Value, serde_json::Error> {
    let mut derived = match page {
        Page::Overview => overview::derive(&Deserialize::deserialize(value)?, frame, voice),
        Page::Services => shape::<List<ServiceItem>>(value, list::services(value, frame))?,
        Page::Alerts => shape::<List<Alert>>(value, list::plain(value, frame))?,
        Page::Incidents => shape::<List<Incident>>(value, list::plain(value, frame))?,
        Page::Operations => shape::<List<OperationItem>>(value, list::plain(value, frame))?,
        Page::Items => shape::<List<ItemItem>>(value, list::plain(value, frame))?,
        Page::Console => shape::<ConsolePage>(value, json!({}))?,
        Page::Parameters => shape::<ParameterPage>(value, list::plain(value, frame))?,
        Page::Item => item::derive(&Deserialize::deserialize(value)?),
        Page::ScorePolicies => shape::<List<ScorePolicyItem>>(value, list::plain(value, frame))?,
        Page::ScorePolicy => score_policy::derive(&Deserialize::deserialize(value)?),
        Page::AlertQuality => shape::<QualityReport>(value, list::plain(value, frame))?,
        Page::Policies => shape::<List<PolicyItem>>(value, list::plain(value, frame))?,
        Page::Policy => policy::derive(&Deserialize::deserialize(value)?),
        Page::Service => service::derive(&Deserialize::deserialize(value)?, voice),
        Page::Health => health::page(&Deserialize::deserialize(value)?, voice),
        Page::ZoneLoss => outlook::zone_loss(&Deserialize::deserialize(value)?),
        Page::Operation => operation::derive(&Deserialize::deserialize(value)?, frame),
        Page::Plan => operation::plan(value, frame)?,
        Page::Alert => alert::one(&AlertPage::deserialize(value)?),
        Page::AlertHistory => shape::<HistoryPage>(value, alert::history(value, frame))?,
        Page::Silences => shape::<List<SilenceItem>>(value, alert::silences(value, frame))?,
        Page::Maintenance => shape::<List<MaintenanceItem>>(value, list::plain(value, frame))?,
        Page::Calendars => alert::calendars(&Deserialize::deserialize(value)?, value, frame),
        Page::Incident => shape::<IncidentPage>(value, json!({}))?,
        Page::Docs => shape::<List<DocItem>>(value, list::plain(value, frame))?,
        Page::Doc => shape::<DocPage>(value, json!({}))?,
        Page::Login => shape::<LoginPage>(value, json!({}))?,
        Page::Error => shape::<Problem>(value, json!({}))?,
    };
    let id = id_of(page, value);
    derived["id"] = json!(id);
    derived["title"] = json!(title(page, &id, voice));
    derived["also"] = also(page, &id, value);
    Ok(derived)
}

/// `derived`, when `value` is a `T`: a template that only asks "is there any" would take a missing
/// list for an empty one.
fn shape<T: for<'a> Deserialize<'a>>(
    value: &Value,
    derived: Value,
) -> Result<Value, serde_json::Error> {
    T::deserialize(value).map(|_| derived)
}

/// What the sign-in page is drawn from.
#[derive(Deserialize)]
#[allow(dead_code, reason = "read by the template; here only its shape is checked")]
struct LoginPage {
    next: String,
    error: Option<Value>,
    setup: bool,
}

/// One page of the manual in a list.
#[derive(Deserialize)]
#[allow(dead_code, reason = "read by the template; here only its shape is checked")]
struct DocItem {
    name: String,
    title: String,
}

/// One page of the manual.
#[derive(Deserialize)]
#[allow(dead_code, reason = "read by the template; here only its shape is checked")]
struct DocPage {
    name: String,
    title: String,
    text: String,
}

/// Id of the thing a page is about; empty for lists.
fn id_of(page: Page, value: &Value) -> String {
    let id = match page {
        Page::Service => &value["service"]["id"],
        Page::Alert => &value["alert"]["id"],
        Page::Incident => &value["incident"]["id"],
        Page::Operation => &value["operation"]["id"],
        Page::Item | Page::Health | Page::ScorePolicy | Page::Policy => &value["id"],
        Page::Parameters => &value["service"],
        Page::Console => &value["instance"],
        Page::Doc => &value["name"],
        Page::ZoneLoss => &value["zone"],
        _ => &Value::Null,
    };
    id.as_str().unwrap_or_default().to_owned()
}

fn title(page: Page, id: &str, voice: Voice<'_>) -> String {
    let name = voice.word("title", page.id());
    match page {
        Page::Service
        | Page::Health
        | Page::ScorePolicy
        | Page::Policy
        | Page::Parameters
        | Page::Console
        | Page::Doc => {
            format!("{id} · {name}")
        }
        _ => name,
    }
}

/// The same facts as a command and as a request.
fn also(page: Page, id: &str, value: &Value) -> Value {
    let name = match page {
        Page::Overview => "overview.get",
        Page::Services => "service.list",
        Page::Service => "service.get",
        Page::Health => return also_health(value, id),
        Page::Alerts => "alert.list",
        Page::Alert => "alert.get",
        Page::Incidents => "incident.list",
        Page::Incident => "incident.get",
        Page::Parameters => "parameter.list",
        Page::Console => "console.run",
        Page::Operations => "operation.list",
        Page::Operation => "operation.get",
        Page::Items => "item.list",
        Page::Item if id.is_empty() => return Value::Null,
        Page::Item => "item.get",
        Page::ScorePolicies => "score_policy.list",
        Page::ScorePolicy => "score_policy.get",
        Page::AlertQuality => "quality.get",
        Page::Policies => "policy.list",
        Page::Policy => "policy.get",
        Page::ZoneLoss => "zone.loss",
        Page::AlertHistory => "history.list",
        Page::Silences => "silence.list",
        Page::Maintenance => "maintenance.list",
        Page::Calendars => "calendar.list",
        Page::Docs | Page::Doc | Page::Login | Page::Plan | Page::Error => return Value::Null,
    };
    let Some(action) = action::action(name) else { return Value::Null };
    let cli = ["SCOPE", "ID", "ZONE"].iter().fold(action.cli.to_owned(), |c, n| c.replace(n, id));
    said(cli, &action.path.replace("{id}", id).replace("{zone}", id))
}

/// The level says which action answers it.
fn also_health(value: &Value, id: &str) -> Value {
    let level = Level::deserialize(&value["level"]).unwrap_or_default();
    said(format!("cachewarden explain score {id}"), &page_of(level, id))
}

fn said(cli: String, path: &str) -> Value {
    json!({
        "cli": cli,
        "api": format!(
            "curl -H \"Authorization: Bearer $CACHEWARDEN_TOKEN\" \"$CACHEWARDEN_URL/api/v1{path}\""
        ),
    })
}
