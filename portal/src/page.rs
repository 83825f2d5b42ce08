//! The pages there are.
//!
//! Invariant: one template per page; whether a page may refresh itself is decided here, and never
//! for one with a form a person fills.

use model::right::Right;

use crate::frame::Frame;

/// A page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Page {
    /// `{next, error: {code, detail} or null, setup}`.
    Login,
    /// `view::Overview`.
    Overview,
    /// `view::List<ServiceItem>`.
    Services,
    /// `view::ServicePage`.
    Service,
    /// `health::HealthPage`.
    Health,
    /// `parameter::ParameterPage`.
    Parameters,
    /// `console::ConsolePage`.
    Console,
    /// `view::List<Alert>`.
    Alerts,
    /// `view::AlertPage`.
    Alert,
    /// `view::List<Incident>`.
    Incidents,
    /// `view::IncidentPage`.
    Incident,
    /// `view::List<OperationItem>`.
    Operations,
    /// `view::OperationPage`.
    Operation,
    /// `view::List<{name, title}>`.
    Docs,
    /// `{name, title, text}`, the text as Markdown.
    Doc,
    /// `{plan: Plan, hash, error: Problem or null}`.
    Plan,
    /// `view::List<ItemItem>`.
    Items,
    /// `item::ItemPage`.
    Item,
    /// `view::List<ScorePolicyItem>`.
    ScorePolicies,
    /// `score_policy::ScorePolicyPage`.
    ScorePolicy,
    /// `quality::QualityReport`.
    AlertQuality,
    /// `view::List<PolicyItem>`.
    Policies,
    /// `policy::PolicyPage`.
    Policy,
    /// `zone_loss::ZoneLoss`.
    ZoneLoss,
    /// `history::HistoryPage`.
    AlertHistory,
    /// `view::List<SilenceItem>`.
    Silences,
    /// `view::List<MaintenanceItem>`.
    Maintenance,
    /// `view::List<CalendarItem>`.
    Calendars,
    /// `code::Problem`.
    Error,
}

impl Page {
    /// Every page.
    pub const ALL: [Page; 29] = [
        Page::Login,
        Page::Overview,
        Page::Services,
        Page::Service,
        Page::Health,
        Page::Parameters,
        Page::Console,
        Page::Alerts,
        Page::Alert,
        Page::Incidents,
        Page::Incident,
        Page::Operations,
        Page::Operation,
        Page::Docs,
        Page::Doc,
        Page::Plan,
        Page::Items,
        Page::Item,
        Page::ScorePolicies,
        Page::ScorePolicy,
        Page::AlertQuality,
        Page::Policies,
        Page::Policy,
        Page::ZoneLoss,
        Page::AlertHistory,
        Page::Silences,
        Page::Maintenance,
        Page::Calendars,
        Page::Error,
    ];

    /// Word of the page: its template's name and its title's key.
    pub fn id(self) -> &'static str {
        self.template().trim_start_matches("pages/")
    }

    pub(crate) fn template(self) -> &'static str {
        match self {
            Page::Login => "pages/login",
            Page::Overview => "pages/overview",
            Page::Services => "pages/services",
            Page::Service => "pages/service",
            Page::Health => "pages/health",
            Page::Parameters => "pages/parameters",
            Page::Console => "pages/console",
            Page::Alerts => "pages/alerts",
            Page::Alert => "pages/alert",
            Page::Incidents => "pages/incidents",
            Page::Incident => "pages/incident",
            Page::Operations => "pages/operations",
            Page::Operation => "pages/operation",
            Page::Docs => "pages/docs",
            Page::Doc => "pages/doc",
            Page::Plan => "pages/plan",
            Page::Items => "pages/items",
            Page::Item => "pages/item",
            Page::ScorePolicies => "pages/score_policies",
            Page::ScorePolicy => "pages/score_policy",
            Page::AlertQuality => "pages/alert_quality",
            Page::Policies => "pages/policies",
            Page::Policy => "pages/policy",
            Page::ZoneLoss => "pages/zone_loss",
            Page::AlertHistory => "pages/alert_history",
            Page::Silences => "pages/silences",
            Page::Maintenance => "pages/maintenance",
            Page::Calendars => "pages/calendars",
            Page::Error => "pages/error",
        }
    }

    /// Entry of the menu it stands under.
    pub(crate) fn nav(self) -> &'static str {
        match self {
            Page::Overview => "overview",
            Page::Services
            | Page::Service
            | Page::Health
            | Page::Parameters
            | Page::Console
            | Page::ZoneLoss => "services",
            Page::Alerts | Page::Alert | Page::AlertHistory => "alerts",
            Page::Silences | Page::Maintenance | Page::Calendars => "alerts",
            Page::Policies | Page::Policy | Page::AlertQuality => "alerts",
            Page::Incidents | Page::Incident => "incidents",
            Page::Operations | Page::Operation | Page::Plan => "operations",
            Page::Items | Page::Item => "items",
            Page::ScorePolicies | Page::ScorePolicy => "score-policies",
            Page::Docs | Page::Doc => "docs",
            Page::Login | Page::Error => "",
        }
    }

    /// Answers of a POST (or of anything, for errors) have no address to come back to, so links
    /// that keep the view lead to the overview.
    pub(crate) fn is_answer_to_a_post(self) -> bool {
        matches!(self, Page::Plan | Page::Error)
    }

    /// Whether it may reload by itself: not while somebody may be typing into it.
    pub(crate) fn refreshes(self, frame: &Frame) -> bool {
        match self {
            // Somebody may be setting inputs.
            Page::Health => false,
            Page::Login | Page::Docs | Page::Doc | Page::Plan | Page::Error | Page::Console => {
                false
            }
            Page::Parameters => !frame.rights.has(Right::OpPlan),
            Page::Item => !frame.rights.has(Right::ItemEdit),
            Page::ScorePolicies | Page::ScorePolicy => false,
            Page::Policies | Page::Policy => false,
            Page::Alert => !frame.rights.has(Right::AlertAck),
            Page::AlertHistory | Page::AlertQuality => false,
            Page::Silences => !frame.rights.has(Right::SilenceEdit),
            Page::Maintenance => !frame.rights.has(Right::MaintenanceEdit),
            Page::Calendars => !frame.rights.has(Right::CalendarEdit),
            Page::Incidents => !frame.rights.has(Right::RunbookLower),
            Page::Incident => !frame.rights.has(Right::OpLow),
            _ => true,
        }
    }
}
