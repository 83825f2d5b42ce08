//! Rights, roles, grants and the places they reach (`tenancy.md` section 2).
//!
//! Invariant: everything not granted is refused; a caller's rights are the union of his live grants.

use serde::{Deserialize, Serialize};

use crate::{At, InstanceId, ServiceId, SystemId, TenantId};

macro_rules! rights {
    ($($v:ident = $text:literal,)*) => {
        /// One thing a caller may do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[repr(u8)]
        #[allow(missing_docs, reason = "the words of tenancy.md")]
        pub enum Right { $(#[serde(rename = $text)] $v,)* }
        impl Right {
            /// All rights.
            pub const ALL: &'static [Right] = &[$(Right::$v,)*];
            /// Its word: `fleet.read`.
            pub fn as_str(self) -> &'static str {
                match self { $(Right::$v => $text,)* }
            }
            /// From its word.
            pub fn parse(text: &str) -> Option<Right> {
                match text { $($text => Some(Right::$v),)* _ => None }
            }
        }
    };
}

rights! {
    FleetRead = "fleet.read", ReportRead = "report.read", StatsRead = "stats.read",
    FeedbackSend = "feedback.send", SelfEdit = "self.edit", TokenCreate = "token.create",
    RequestCreate = "request.create", AlertAck = "alert.ack", PolicyDraft = "policy.draft",
    ItemEdit = "item.edit", InspectRun = "inspect.run", ConsoleRead = "console.read",
    ConsoleWrite = "console.write", NoteAdd = "note.add", OpPlan = "op.plan", OpLow = "op.low",
    OpDisrupt = "op.disrupt", OpDestroy = "op.destroy", OpCancel = "op.cancel",
    ConsoleDanger = "console.danger", SilenceEdit = "silence.edit",
    FindingWaive = "finding.waive", TagEdit = "tag.edit", ServiceAdopt = "service.adopt",
    AnalysisRun = "analysis.run", RunbookLower = "runbook.lower",
    PolicyPublish = "policy.publish", ScheduleEdit = "schedule.edit",
    MaintenanceEdit = "maintenance.edit", RequestApprove = "request.approve",
    OpApprove = "op.approve", RunbookApprove = "runbook.approve", UserEdit = "user.edit",
    RoleEdit = "role.edit", GrantEdit = "grant.edit", MappingEdit = "mapping.edit",
    SessionKill = "session.kill", TokenRevoke = "token.revoke", SecretEdit = "secret.edit",
    AuditRead = "audit.read", AccessExplain = "access.explain", AuditExport = "audit.export",
    TreeEdit = "tree.edit", HostEdit = "host.edit", QuotaEdit = "quota.edit",
    RunbookRaise = "runbook.raise", CalendarEdit = "calendar.edit",
    IntegrationEdit = "integration.edit", SystemAdmin = "system.admin",
    FeedbackAnswer = "feedback.answer", DataRead = "data.read", MetricsScrape = "metrics.scrape",
    IntakePost = "intake.post",
}

/// A set of rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Rights(u64);

impl Rights {
    /// No right.
    pub const NONE: Rights = Rights(0);
    /// Every right, for the process itself.
    pub const ALL: Rights = Rights(u64::MAX);

    /// The set of `rights`.
    pub fn of(rights: &[Right]) -> Rights {
        Rights(rights.iter().fold(0, |set, r| set | 1 << *r as u8))
    }
    /// Whether `right` is in the set.
    pub fn has(self, right: Right) -> bool {
        self.0 & (1 << right as u8) != 0
    }
    /// Both sets together.
    pub fn union(self, other: Rights) -> Rights {
        Rights(self.0 | other.0)
    }
    /// What both sets hold.
    pub fn intersect(self, other: Rights) -> Rights {
        Rights(self.0 & other.0)
    }
    /// Its words.
    pub fn words(self) -> Vec<&'static str> {
        Right::ALL.iter().filter(|r| self.has(**r)).map(|r| r.as_str()).collect()
    }
}

use crate::service::word;
word! {
    /// The default roles.
    Role {
        /// Reads.
        #[default]
        Reader = "reader",
        /// Works on his own systems.
        Developer = "developer",
        /// Operates the fleet.
        Operator = "operator",
        /// Approves.
        Approver = "approver",
        /// Users, grants, secrets.
        SecurityAdministrator = "security_administrator",
        /// Reads every record.
        Auditor = "auditor",
        /// Tree, hosts, integration, process.
        SystemAdministrator = "system_administrator",
        /// Tokens that only scrape.
        Scraper = "scraper",
        /// Tokens that only post alerts.
        Intake = "intake",
    }
}

impl Role {
    /// The rights of a default role, as the table of `tenancy.md` section 2.
    pub fn rights(self) -> Rights {
        use Right::*;
        let base = [FleetRead, ReportRead, StatsRead, FeedbackSend, SelfEdit, TokenCreate];
        let work = [
            RequestCreate,
            AlertAck,
            PolicyDraft,
            ItemEdit,
            InspectRun,
            ConsoleRead,
            ConsoleWrite,
            NoteAdd,
        ];
        let operate = [
            OpPlan,
            OpLow,
            OpDisrupt,
            OpDestroy,
            OpCancel,
            ConsoleDanger,
            SilenceEdit,
            FindingWaive,
            TagEdit,
            ServiceAdopt,
            AnalysisRun,
        ];
        let steer = [RunbookLower, PolicyPublish, ScheduleEdit, MaintenanceEdit];
        let approve = [RequestApprove, OpApprove, RunbookApprove];
        let secure =
            [UserEdit, RoleEdit, GrantEdit, MappingEdit, SessionKill, TokenRevoke, SecretEdit];
        let audit = [AuditRead, AccessExplain];
        let system = [
            TreeEdit,
            HostEdit,
            QuotaEdit,
            RunbookRaise,
            CalendarEdit,
            IntegrationEdit,
            SystemAdmin,
            FeedbackAnswer,
        ];
        let sets: &[&[Right]] = match self {
            Role::Reader => &[&base],
            Role::Developer => &[&base, &work, &[OpPlan]],
            Role::Operator => &[&base, &work, &operate, &steer],
            Role::Approver => &[&base, &[OpPlan], &approve],
            Role::SecurityAdministrator => &[&base, &secure, &audit],
            Role::Auditor => &[&base, &audit, &[AuditExport]],
            Role::SystemAdministrator => &[&base, &steer, &system],
            Role::Scraper => &[&[MetricsScrape]],
            Role::Intake => &[&[IntakePost]],
        };
        sets.iter().fold(Rights::NONE, |all, set| all.union(Rights::of(set)))
    }
}

/// How far a grant reaches.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Scope {
    /// Everything.
    Platform,
    /// One tenant.
    Tenant(TenantId),
    /// One business system.
    System(SystemId),
    /// One service.
    Service(ServiceId),
}

impl TryFrom<String> for Scope {
    type Error = String;
    fn try_from(text: String) -> Result<Scope, String> {
        use crate::policy::PolicyScope;
        match PolicyScope::try_from(text.clone())? {
            PolicyScope::Platform => Ok(Scope::Platform),
            PolicyScope::Tenant(t) => Ok(Scope::Tenant(t)),
            PolicyScope::System(s) => Ok(Scope::System(s)),
            PolicyScope::Service(s) => Ok(Scope::Service(s)),
            PolicyScope::Instance(_) => {
                Err(format!("scope {text:?}: an instance is no scope of a grant"))
            }
        }
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> String {
        match scope {
            Scope::Platform => "platform".into(),
            Scope::Tenant(t) => format!("tenant:{t}"),
            Scope::System(s) => format!("system:{s}"),
            Scope::Service(s) => format!("service:{s}"),
        }
    }
}

/// Where an object stands in the tree: what a grant's scope is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// Tenant; none: the platform itself.
    pub tenant: Option<TenantId>,
    /// Business system.
    pub system: Option<SystemId>,
    /// Service.
    pub service: Option<ServiceId>,
}

impl Place {
    /// The platform itself.
    pub fn platform() -> Place {
        Place::default()
    }
    /// A tenant.
    pub fn tenant(id: &TenantId) -> Place {
        Place { tenant: Some(id.clone()), ..Place::default() }
    }
    /// A business system.
    pub fn system(id: &SystemId) -> Place {
        Place { tenant: Some(id.tenant()), system: Some(id.clone()), service: None }
    }
    /// A service in its system.
    pub fn service(service: &ServiceId, system: &SystemId) -> Place {
        Place {
            tenant: Some(service.tenant()),
            system: Some(system.clone()),
            service: Some(service.clone()),
        }
    }
    /// An instance of a service in `system`.
    pub fn instance(id: &InstanceId, system: &SystemId) -> Place {
        Place::service(&id.service(), system)
    }
    /// Audit chain of changes here: the tenant's, or `platform`.
    pub fn chain(&self) -> String {
        self.tenant.as_ref().map_or("platform".into(), |t| t.to_string())
    }
    /// `platform`, `tenant:…`, `system:…` or `service:…`.
    pub fn to_scope(&self) -> Scope {
        match (&self.service, &self.system, &self.tenant) {
            (Some(s), _, _) => Scope::Service(s.clone()),
            (_, Some(s), _) => Scope::System(s.clone()),
            (_, _, Some(t)) => Scope::Tenant(t.clone()),
            _ => Scope::Platform,
        }
    }
}

impl Scope {
    /// Whether an object at `place` lies inside.
    pub fn covers(&self, place: &Place) -> bool {
        match self {
            Scope::Platform => true,
            Scope::Tenant(t) => place.tenant.as_ref() == Some(t),
            Scope::System(s) => place.system.as_ref() == Some(s),
            Scope::Service(s) => place.service.as_ref() == Some(s),
        }
    }
}

/// A role given to somebody, somewhere, until.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The role.
    pub role: Role,
    /// Where.
    pub scope: Scope,
    /// Until when; none: without end (allowed for the first accounts only).
    pub until: Option<At>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_every_right() {
        assert!(Right::ALL.len() <= 64);
        assert_eq!(Rights::of(Right::ALL).words().len(), Right::ALL.len());
    }

    #[test]
    fn an_operator_may_operate_but_not_grant_and_reads_no_data() {
        let r = Role::Operator.rights();
        assert!(r.has(Right::OpDisrupt) && r.has(Right::PolicyPublish));
        assert!(!r.has(Right::GrantEdit) && !r.has(Right::DataRead) && !r.has(Right::AuditRead));
    }

    #[test]
    fn a_scope_covers_what_lies_below_it_and_nothing_beside_it() {
        let place = Place::service(&"pay.cart".parse().unwrap(), &"pay.shop".parse().unwrap());
        assert!(Scope::Platform.covers(&place));
        assert!(Scope::Tenant("pay".parse().unwrap()).covers(&place));
        assert!(Scope::System("pay.shop".parse().unwrap()).covers(&place));
        assert!(!Scope::Tenant("hr".parse().unwrap()).covers(&place));
        assert!(!Scope::Service("pay.cart2".parse().unwrap()).covers(&place));
        assert!(!Scope::Tenant("pay".parse().unwrap()).covers(&Place::platform()));
    }
}
