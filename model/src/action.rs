//! The one table of actions: every route with its right, danger level and CLI form.
//!
//! Invariant: `server` can register a route only from an entry here, so a route without a right does
//! not exist; the OpenAPI document, menus, "as CLI/as API" and the rights matrix are drawn from it.

use crate::right::Right;

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Anybody, also without login.
    Nobody,
    /// Anybody who is signed in.
    SignedIn,
    /// Whoever has the right somewhere; the object's place is checked in the store or handler.
    Right(Right),
}

/// One route.
#[derive(Debug, Clone, Copy)]
pub struct Action {
    /// Stable id: `operation.create`.
    pub id: &'static str,
    /// HTTP method.
    pub method: &'static str,
    /// Path under `/api/v1`.
    pub path: &'static str,
    /// Who.
    pub need: Need,
    /// Danger level 0 (reads) to 4.
    pub level: u8,
    /// Whether a page is mounted at the same path without `/api/v1`.
    pub page: bool,
    /// CLI form.
    pub cli: &'static str,
    /// One sentence.
    pub summary: &'static str,
}

macro_rules! actions {
    ($($id:literal $method:literal $path:literal $need:expr, $level:literal, $page:literal, $cli:literal, $summary:literal;)*) => {
        /// Every route of the API.
        pub const ACTIONS: &[Action] = &[$(Action {
            id: $id, method: $method, path: $path, need: $need, level: $level, page: $page,
            cli: $cli, summary: $summary,
        },)*];
    };
}

use Need::{Nobody, SignedIn};
const fn r(right: Right) -> Need {
    Need::Right(right)
}

actions! {
    "session.create" "POST" "/session" Nobody, 0, false, "cachewarden login", "Sign in with name and password, or with the setup token.";
    "session.delete" "DELETE" "/session" SignedIn, 0, false, "cachewarden logout", "Sign out.";
    "me.get" "GET" "/me" SignedIn, 0, false, "cachewarden get me", "Who I am and what I may do.";
    "token.create" "POST" "/me/tokens" r(Right::TokenCreate), 1, false, "cachewarden token create", "Create an API token of mine; shown once.";
    "overview.get" "GET" "/overview" r(Right::FleetRead), 0, true, "cachewarden get overview", "Is the fleet fine, where not, since when, who acts.";
    "tenant.list" "GET" "/tenants" r(Right::FleetRead), 0, false, "cachewarden get tenants", "Tenants I may see.";
    "tenant.get" "GET" "/tenants/{id}" r(Right::FleetRead), 0, false, "cachewarden describe tenant ID", "One tenant.";
    "tenant.health" "GET" "/tenants/{id}/health" r(Right::FleetRead), 0, true, "cachewarden explain score ID", "Why the tenant's score is what it is.";
    "tenant.whatif" "POST" "/tenants/{id}/health/whatif" r(Right::FleetRead), 0, false, "cachewarden explain score ID --set INPUT=VALUE", "What the tenant's score would be with other inputs; changes nothing.";
    "system.list" "GET" "/systems" r(Right::FleetRead), 0, false, "cachewarden get systems", "Business systems I may see.";
    "system.get" "GET" "/systems/{id}" r(Right::FleetRead), 0, false, "cachewarden describe system ID", "One business system.";
    "system.health" "GET" "/systems/{id}/health" r(Right::FleetRead), 0, true, "cachewarden explain score ID", "Why the system's score is what it is.";
    "system.whatif" "POST" "/systems/{id}/health/whatif" r(Right::FleetRead), 0, false, "cachewarden explain score ID --set INPUT=VALUE", "What the system's score would be with other inputs; changes nothing.";
    "service.list" "GET" "/services" r(Right::FleetRead), 0, true, "cachewarden get services", "Services I may see, worst first.";
    "service.get" "GET" "/services/{id}" r(Right::FleetRead), 0, true, "cachewarden describe service ID", "One service: score, shards, zones, alerts, operations.";
    "service.health" "GET" "/services/{id}/health" r(Right::FleetRead), 0, true, "cachewarden explain score ID", "Why the service's score is what it is.";
    "service.whatif" "POST" "/services/{id}/health/whatif" r(Right::FleetRead), 0, false, "cachewarden explain score ID --set INPUT=VALUE", "What the service's score would be with other inputs; changes nothing.";
    "shard.health" "GET" "/services/{id}/shards/{n}/health" r(Right::FleetRead), 0, true, "cachewarden explain score ID", "Why the shard's score is what it is.";
    "shard.whatif" "POST" "/services/{id}/shards/{n}/health/whatif" r(Right::FleetRead), 0, false, "cachewarden explain score ID --set INPUT=VALUE", "What the shard's score would be with other inputs; changes nothing.";
    "instance.list" "GET" "/instances" r(Right::FleetRead), 0, false, "cachewarden get instances", "Instances I may see.";
    "instance.get" "GET" "/instances/{id}" r(Right::FleetRead), 0, false, "cachewarden describe instance ID", "One instance with its latest reading.";
    "instance.health" "GET" "/instances/{id}/health" r(Right::FleetRead), 0, true, "cachewarden explain score ID", "Why the instance's score is what it is.";
    "instance.whatif" "POST" "/instances/{id}/health/whatif" r(Right::FleetRead), 0, false, "cachewarden explain score ID --set INPUT=VALUE", "What the instance's score would be with other inputs; changes nothing.";
    "instance.turbo" "POST" "/instances/{id}/turbo" r(Right::InspectRun), 1, false, "cachewarden turbo ID --minutes N", "Poll the instance every second for at most 10 minutes.";
    "instance.turbo_end" "DELETE" "/instances/{id}/turbo" r(Right::InspectRun), 0, false, "cachewarden turbo ID --end", "Poll the instance at its usual pace again.";
    "service.topology" "GET" "/services/{id}/topology" r(Right::FleetRead), 0, false, "cachewarden explain topology ID", "The service as its servers name it: roles, missing nodes, candidates.";
    "console.get" "GET" "/instances/{id}/console" r(Right::ConsoleRead), 0, true, "cachewarden console ID", "The command console of an instance.";
    "console.run" "POST" "/instances/{id}/console" r(Right::ConsoleRead), 1, false, "cachewarden console ID COMMAND", "Ask an instance by a command that only reads.";
    "console.acl" "GET" "/instances/{id}/console/acl" r(Right::ConsoleRead), 0, false, "cachewarden console ID --acl", "The rules of the user of Redis the console logs in as.";
    "parameter.list" "GET" "/services/{id}/parameters" r(Right::FleetRead), 0, true, "cachewarden parameters ID", "Parameters of a service over its nodes: wished, running, in the file, and what drifts.";
    "service.capacity" "GET" "/services/{id}/capacity" r(Right::FleetRead), 0, false, "cachewarden explain capacity ID", "Days to full of every shard and resource, with the interval.";
    "service.slo" "GET" "/services/{id}/slo" r(Right::FleetRead), 0, false, "cachewarden explain slo ID", "Good, bad and unknown seconds, error budget and burn rates of the service.";
    "zone.loss" "GET" "/zones/{zone}/loss" r(Right::FleetRead), 0, true, "cachewarden whatif zone-loss ZONE", "What would move, stop and break if the zone were lost now; changes nothing.";
    "service.zone_risk" "GET" "/services/{id}/zone-risk" r(Right::FleetRead), 0, false, "cachewarden explain zone-risk ID", "What a lost zone or host would cost the service, and why a failover would not work.";
    "alert.list" "GET" "/alerts" r(Right::FleetRead), 0, true, "cachewarden get alerts", "Alerts, firing first.";
    "alert.get" "GET" "/alerts/{id}" r(Right::FleetRead), 0, true, "cachewarden describe alert ID", "One alert with its history and deliveries.";
    "incident.list" "GET" "/incidents" r(Right::FleetRead), 0, true, "cachewarden get incidents", "Incidents with the decision taken, also when it was to do nothing.";
    "incident.get" "GET" "/incidents/{id}" r(Right::FleetRead), 0, true, "cachewarden describe incident ID", "One incident: decision, guards, plan, evidence.";
    "incident.approve" "POST" "/incidents/{id}/approve" r(Right::OpLow), 3, false, "cachewarden runbook approve ID", "Start the plan an incident waits with.";
    "item.list" "GET" "/items" r(Right::FleetRead), 0, true, "cachewarden item list", "Custom monitoring items I may see.";
    "item.get" "GET" "/items/{id}" r(Right::FleetRead), 0, true, "cachewarden item get ID", "One custom item: definition, cost, present values, revisions.";
    "item.check" "POST" "/items/check" r(Right::ItemEdit), 0, false, "cachewarden item apply -f FILE --dry-run", "What is wrong with a custom item, and what it would cost; saves nothing.";
    "item.test" "POST" "/items/test" r(Right::ItemEdit), 1, false, "cachewarden item test -f FILE --on INSTANCE", "Read a custom item once on one instance.";
    "item.put" "PUT" "/items/{id}" r(Right::ItemEdit), 2, false, "cachewarden item apply -f FILE", "Create or change a custom item.";
    "item.restore" "POST" "/items/{id}/restore" r(Right::ItemEdit), 2, false, "cachewarden item restore ID REV", "Make an old revision of a custom item the newest one.";
    "item.delete" "DELETE" "/items/{id}" r(Right::ItemEdit), 2, false, "cachewarden item delete ID", "Stop reading a custom item; its revisions stay.";
    "score_policy.list" "GET" "/score-policies" r(Right::FleetRead), 0, true, "cachewarden score-policy list", "Scopes with their score policies.";
    "score_policy.get" "GET" "/score-policies/{id}" r(Right::FleetRead), 0, true, "cachewarden score-policy get SCOPE", "The score policy in force at a scope: every field with its origin, its own document, revisions.";
    "score_policy.revisions" "GET" "/score-policies/{id}/revisions" r(Right::FleetRead), 0, false, "cachewarden score-policy revisions SCOPE", "Revisions of a scope's document: who, when, why, who signed.";
    "score_policy.preview" "POST" "/score-policies/preview" r(Right::FleetRead), 0, false, "cachewarden score-policy apply -f FILE --dry-run", "Score and grade of every affected service before and after a change; changes nothing.";
    "score_policy.put" "PUT" "/score-policies/{id}" r(Right::PolicyPublish), 2, false, "cachewarden score-policy apply -f FILE", "Save a previewed score policy; in force with the next evaluation.";
    "score_policy.restore" "POST" "/score-policies/{id}/restore" r(Right::PolicyPublish), 2, false, "cachewarden score-policy restore SCOPE REV", "Make an old revision of a score policy the newest one.";
    "service.profile" "PUT" "/services/{id}/profile" r(Right::FleetRead), 2, false, "cachewarden score-policy profile ID PROFILE", "Say what the data of a service is for; its owner confirms a guess with it.";
    "policy.list" "GET" "/policies" r(Right::FleetRead), 0, true, "cachewarden policy list", "Threshold policies: what is judged, at which levels, who has a layer of his own.";
    "policy.effective" "GET" "/policies/effective" r(Right::FleetRead), 0, false, "cachewarden policy effective INSTANCE", "Every policy of an instance: each field in force with its origin and what it beat.";
    "policy.get" "GET" "/policies/{id}" r(Right::FleetRead), 0, true, "cachewarden policy show ID", "One policy at a scope: fields in force with their origin, documents, revisions.";
    "policy.revisions" "GET" "/policies/{id}/revisions" r(Right::FleetRead), 0, false, "cachewarden policy history ID", "Revisions of a policy's documents: who, when, why.";
    "policy.check" "POST" "/policies/check" r(Right::FleetRead), 0, false, "cachewarden policy lint FILE", "What stands against policy documents and whom they would reach; changes nothing.";
    "policy.backtest" "POST" "/policies/backtest" r(Right::FleetRead), 0, false, "cachewarden policy backtest FILE", "What a policy would have done over the past, beside the one in force; changes nothing.";
    "policy.put" "PUT" "/policies/{id}" r(Right::PolicyPublish), 2, false, "cachewarden policy publish FILE", "Publish a document of a policy; in force at once.";
    "policy.restore" "POST" "/policies/{id}/restore" r(Right::PolicyPublish), 2, false, "cachewarden policy restore ID REV --scope SCOPE", "Make an old revision of a policy's document the newest one.";
    "policy.retire" "POST" "/policies/{id}/retire" r(Right::PolicyPublish), 2, false, "cachewarden policy retire ID --scope SCOPE", "Take a scope's document of a policy out of force: its fields are inherited again.";
    "runbook.list" "GET" "/runbooks" r(Right::FleetRead), 0, false, "cachewarden get runbooks", "Runbooks and their modes.";
    "runbook.mode" "PUT" "/runbooks/{name}/mode" r(Right::RunbookLower), 3, false, "cachewarden runbook mode NAME MODE --scope SCOPE", "Set how far a runbook may go. Raising needs runbook.raise.";
    "kill_switch.set" "PUT" "/kill-switch" r(Right::RunbookLower), 1, false, "cachewarden runbook kill-switch on|off", "Stop or allow every automatic action.";
    "operation.plan" "POST" "/operations/plans" r(Right::OpPlan), 0, false, "cachewarden op plan KIND SERVICE", "Make a plan: checks and the exact commands; changes nothing.";
    "operation.create" "POST" "/operations" r(Right::OpLow), 3, false, "cachewarden op run KIND SERVICE", "Start the plan of that hash.";
    "operation.list" "GET" "/operations" r(Right::FleetRead), 0, true, "cachewarden get operations", "Operations, newest first.";
    "operation.get" "GET" "/operations/{id}" r(Right::FleetRead), 0, true, "cachewarden op watch ID", "One operation with its steps and journal.";
    "operation.cancel" "POST" "/operations/{id}/cancel" r(Right::OpCancel), 1, false, "cachewarden op cancel ID", "Stop after the present step and undo.";
    "operation.approve" "POST" "/operations/{id}/approve" r(Right::OpApprove), 1, false, "cachewarden op approve ID --plan HASH", "Agree to another person's plan, or refuse it.";
    "operation.pause" "POST" "/operations/{id}/pause" r(Right::OpCancel), 1, false, "cachewarden op pause ID", "Wait before the next step.";
    "operation.resume" "POST" "/operations/{id}/resume" r(Right::OpCancel), 1, false, "cachewarden op resume ID", "Go on after a pause.";
    "backup.list" "GET" "/backups" r(Right::FleetRead), 0, false, "cachewarden get backups", "Backups of services I may see, newest first.";
    "inventory.apply" "POST" "/apply" r(Right::TreeEdit), 2, false, "cachewarden apply -f FILE", "Create or change what an inventory file names.";
    "service.adopt" "POST" "/services/adopt" r(Right::ServiceAdopt), 2, false, "cachewarden adopt SEED", "Find services from an address, a Sentinel, a cluster node or a list, and take them into the inventory.";
    "service.acl" "GET" "/services/{id}/acl" r(Right::FleetRead), 0, false, "cachewarden acl ID", "The least access a monitor user needs on the service's processes.";
    "service.acl_proof" "POST" "/services/{id}/acl/proof" r(Right::ServiceAdopt), 1, false, "cachewarden acl ID --prove", "Whether a monitor user may do what polling needs and nothing else, as every process says by ACL DRYRUN.";
    "secret.put" "PUT" "/services/{id}/secrets/{kind}" r(Right::SecretEdit), 2, false, "cachewarden secret set ID", "Set the user and password of a service's nodes or Sentinels.";
    "secret.remove" "DELETE" "/services/{id}/secrets/{kind}" r(Right::SecretEdit), 2, false, "cachewarden secret remove ID", "Forget a password: the service is read without one.";
    "intake.alertmanager" "POST" "/intake/alertmanager" r(Right::IntakePost), 0, false, "", "Alertmanager's webhook, version 4.";
    "audit.list" "GET" "/audit" r(Right::AuditRead), 0, false, "cachewarden audit list", "Audit records, newest first.";
    "audit.verify" "POST" "/audit/verify" r(Right::AuditRead), 0, false, "cachewarden audit verify", "Check every hash of the chains.";
    "docs.list" "GET" "/docs" SignedIn, 0, true, "", "Pages of the manual.";
    "docs.get" "GET" "/docs/runbooks/{name}" SignedIn, 0, true, "", "What an alert means and what to do.";
    "live" "GET" "/live" r(Right::FleetRead), 0, false, "", "Server-sent events of the named topics.";
    "alert.ack" "POST" "/alerts/{id}/ack" r(Right::AlertAck), 1, false, "cachewarden ack ID", "Say that I have seen an alert and take care of it.";
    "history.list" "GET" "/alerts/history" r(Right::FleetRead), 0, true, "cachewarden get alert-history", "Alerts of the past, searched, and how fast they were answered.";
    "response.list" "GET" "/alerts/response" r(Right::FleetRead), 0, false, "cachewarden get alert-response", "Mean time to acknowledge and to resolve, by tenant and policy.";
    "quality.get" "GET" "/alerts/quality" r(Right::FleetRead), 0, true, "cachewarden get alert-quality", "The nightly report: noisy, ignored, short and flapping alerts, by policy and tenant.";
    "rules.all" "GET" "/rules" r(Right::FleetRead), 0, false, "cachewarden policy rules", "Policies as rule files for Prometheus: state, what cannot be said, how shadows differ.";
    "rules.get" "GET" "/rules/{name}" r(Right::FleetRead), 0, false, "cachewarden policy rules FILE", "One rule file, as Prometheus reads it.";
    "silence.list" "GET" "/silences" r(Right::FleetRead), 0, true, "cachewarden silence list", "Silences I may see, active first.";
    "silence.create" "POST" "/silences" r(Right::SilenceEdit), 2, false, "cachewarden silence add MATCHER", "Keep alerts with these labels from people until an end.";
    "silence.expire" "DELETE" "/silences/{id}" r(Right::SilenceEdit), 1, false, "cachewarden silence expire ID", "End a silence now.";
    "maintenance.list" "GET" "/maintenance" r(Right::FleetRead), 0, true, "cachewarden maintenance list", "Who works where, until when.";
    "maintenance.create" "POST" "/maintenance" r(Right::MaintenanceEdit), 2, false, "cachewarden maintenance start SCOPE", "Withhold new alerts of a part of the fleet while somebody works on it.";
    "maintenance.end" "POST" "/maintenance/{id}/end" r(Right::MaintenanceEdit), 1, false, "cachewarden maintenance end ID", "End a maintenance now: what still fires is told.";
    "calendar.list" "GET" "/calendars" r(Right::FleetRead), 0, true, "cachewarden calendar list", "Calendars that policies name.";
    "calendar.get" "GET" "/calendars/{id}" r(Right::FleetRead), 0, false, "cachewarden calendar get ID", "One calendar, and when it changes next.";
    "calendar.put" "PUT" "/calendars/{id}" r(Right::CalendarEdit), 2, false, "cachewarden calendar put -f FILE", "Create or change a calendar.";
    "calendar.delete" "DELETE" "/calendars/{id}" r(Right::CalendarEdit), 2, false, "cachewarden calendar delete ID", "Delete a calendar that no policy names.";
    "openapi" "GET" "/openapi.json" SignedIn, 0, false, "", "This interface as OpenAPI 3.1.";
}

/// The action with that id.
pub fn action(id: &str) -> Option<&'static Action> {
    ACTIONS.iter().find(|a| a.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_routes_are_unique() {
        let mut ids: Vec<_> = ACTIONS.iter().map(|a| a.id).collect();
        let mut routes: Vec<_> = ACTIONS.iter().map(|a| (a.method, a.path)).collect();
        ids.sort_unstable();
        routes.sort_unstable();
        let n = ACTIONS.len();
        ids.dedup();
        routes.dedup();
        assert_eq!((ids.len(), routes.len()), (n, n));
    }
}
