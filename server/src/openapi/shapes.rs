//! The shapes of the main values, and the columns lists have as tables.
//!
//! Invariant: a field stands here as the answers have it; tests hold real answers against it.

use model::code::Code;
use serde_json::{Map, Value, json};

use super::{answer, reference};

/// One word per field: `text`, `int`, `number`, `bool`, `time`, `any`, `[X]` an array, `X?` or null,
/// a capital name a schema.
const SHAPES: &[(&str, &str)] = &[
    ("Ack", "by:text at:time note:text"),
    (
        "HistoryItem",
        "id:text alertname:text level:text phase:text policy:text tenant:text? service:text? \
         instance:text? starts_at:time ends_at:time? duration_ms:int? reason:text value:number? \
         threshold:number? source:text ack:any in_maintenance:bool withheld:text labels:any",
    ),
    (
        "Answered",
        "tenant:text policy:text fired:int acknowledged:int resolved:int mtta_ms:int? mttr_ms:int?",
    ),
    ("QualityReport", "as_of:time from:time items:[any] count:int next:text?"),
    (
        "SilenceItem",
        "id:text scope:text state:text text:text starts_at:time ends_at:time created_by:text \
         comment:text alerts:int keeper:text expirable:bool matchers:[any]",
    ),
    (
        "MaintenanceItem",
        "id:text scope:text state:text starts_at:time ends_at:time reason:text by:text \
         created_at:time ended_by:text instances:int withheld:int endable:bool",
    ),
    ("CalendarItem", "id:text rev:int open:bool changes_at:time? by:text at:time calendar:any"),
    ("List", "items:[any] next:text? count:int as_of:time"),
    ("Verdicts", "up:int down:int unknown:int"),
    ("ScoreBrief", "score:number? grade:text confidence:number cause:text"),
    ("CapacityPage", "as_of:time service:text source:text days:int lines:[any]"),
    (
        "SloPage",
        "as_of:time service:text target:number? period_days:int since:time? seconds:any \
         availability:any adjusted:any budget_s:number? budget_remaining:any windows:[any] \
         alerts:[any] too_much_unknown:bool",
    ),
    (
        "ZoneLoss",
        "as_of:time zone:text evacuated:bool instances:int ok:int degraded:int down:int \
         services:[ServiceLoss] \
         hosts:[any] levels:[any]",
    ),
    (
        "ServiceLoss",
        "service:text tier:text outcome:text was_down:bool reasons:[text] lost:[text] moves:[any] \
         without_candidate:[int] quorum_lost:bool breaks:[text]",
    ),
    ("Session", "name:text display:text csrf:text expires_at:time"),
    ("Me", "name:text display:text grants:[any] last_login:any"),
    ("Token", "id:text kind:text name:text scopes:[text] expires_at:time token:text?"),
    (
        "Overview",
        "as_of:time health:ScoreBrief score_before:any trend:[any] verdicts:Verdicts services:int \
         firing:any ops_per_s:number? memory_used_bytes:number? memory_max_bytes:number? zones:[any] \
         imbalance:text worst:[ServiceItem] alerts:[Alert] operations:[OperationItem] changes:[any] \
         kill_switch:bool? notices:[text]",
    ),
    (
        "TenantItem",
        "id:text display:text systems:int services:int verdicts:Verdicts health:ScoreBrief",
    ),
    (
        "SystemItem",
        "id:text display:text env:text owner:text cmdb:text services:int verdicts:Verdicts \
         health:ScoreBrief",
    ),
    (
        "ServiceItem",
        "id:text display:text system:text mode:text tier:text class:text managed:bool engine:text \
         shards:int nodes:int zones:[text] verdicts:Verdicts health:ScoreBrief memory_ratio:number? \
         memory_used_bytes:number? ops_per_s:number? clients_ratio:number? slow_per_min:number? \
         alerts:int? operation:text?",
    ),
    (
        "ServicePage",
        "as_of:time service:ServiceItem owner:text env:text endpoints:[text] health:any shards:[any] \
         sentinels:[InstanceItem] alerts:[Alert] operations:[OperationItem] actions:[any] \
         capacity:CapacityPage slo:SloPage zone_risk:any",
    ),
    (
        "InstanceItem",
        "id:text address:text kind:text shard:int zone:text host:text role:text state:text reason:text \
         health:ScoreBrief memory_used_bytes:number? memory_max_bytes:number? clients:number? \
         ops_per_s:number? lag_bytes:number? link_up:bool? version:text polled_at:time? age_ms:int?",
    ),
    (
        "InstancePage",
        "as_of:time instance:InstanceItem system:text health:any values:any texts:any upstream:text \
         failure:text accept:any turbo_until:time? interval_ms:int?",
    ),
    ("Accept", "at:time ok:bool duration_us:int? failure:text"),
    ("Turbo", "instance:text turbo_until:time?"),
    (
        "ConsolePage",
        "instance:text service:text role:text user:text ready:bool command:text answer:any",
    ),
    ("ConsoleAcl", "user:text rules:[text] setuser:text"),
    (
        "ParameterRow",
        "name:text unit:text risk:text mutable:bool default:text desired:any drift:bool nodes:[any]",
    ),
    (
        "Backup",
        "id:text operation_id:text service:text shard:int instance:text path:text bytes:int \
         sha256:text keys:int expires:int engine_version:text replid:text repl_offset:int slots:[any] \
         taken_at:time",
    ),
    ("ZoneRisk", "as_of:time service:text score:int class:text? findings:[any]"),
    ("Topology", "as_of:time service:text nodes:[any] missing:[text] candidates:[any]"),
    (
        "Explained",
        "level:text id:text at:time score:number? raw:number? grade:text grade_since:time \
         confidence:number coverage:number? partial:bool policy:any losses:[any] bars:[Bar] \
         gates:[any] unknown:[any] switched_off:[any] not_applicable:[any] suggestions:[any] \
         reason:text",
    ),
    (
        "Bar",
        "dimension:text signal:text value:number? unit:text loss:number share:number weight:number \
         points:number since:time? threshold:any sources:[text] text:text link:text",
    ),
    (
        "HealthPage",
        "level:text id:text at:time score:number? raw:number? grade:text grade_since:time \
         confidence:number coverage:number? partial:bool policy:any losses:[any] bars:[Bar] \
         gates:[any] unknown:[any] switched_off:[any] not_applicable:[any] suggestions:[any] \
         reason:text as_of:time source:text asked:time? exact:bool above:[any] \
         children:[Explained] children_count:int overrides:any present:any inputs:[any] \
         history:[any] history_missing:text",
    ),
    (
        "Alert",
        "id:text fingerprint:text source:text tenant:text? service:text? instance:text? alertname:text \
         policy:text level:text phase:text labels:any annotations:any value:number? threshold:number? \
         runbooks:[text] starts_at:time ends_at:time? last_seen:time reason:text",
    ),
    (
        "AlertPage",
        "alert:Alert transitions:[any] deliveries:[any] incidents:[Incident] ack:any hold:any",
    ),
    (
        "Incident",
        "id:text runbook:text tenant:text? service:text? instance:text? alert_id:text alertname:text \
         state:text reason:text count:int reopened:int opened_at:time closed_at:time? operation:text?",
    ),
    (
        "IncidentPage",
        "incident:Incident decisions:[any] evidence:[any] alert:any operation:any waits_with:text?",
    ),
    ("Runbook", "name:text number:int alerts:[text] does:text available:bool modes:[any] rev:int"),
    (
        "ItemDoc",
        "name:text scope:text description:text unit:text kind:text source:any cadence_s:int \
         timeout_ms:int enabled:bool",
    ),
    ("ItemItem", "id:text item:ItemDoc rev:int by:text at:time with_value:int with_fault:int"),
    (
        "ItemPage",
        "as_of:time id:text item:ItemDoc rev:int flaws:[any] cost:any instances:[text] points:[any] \
         revisions:[any] test:any",
    ),
    ("ScorePolicyDoc", "scope:text"),
    (
        "ScorePolicyItem",
        "id:text rev:int fields:[text] services:int by:text approver:text reason:text at:time",
    ),
    (
        "ScorePolicyPage",
        "as_of:time id:text rev:int doc:ScorePolicyDoc profile:text profile_from:text \
         effective:[any] ignored:[any] above:[text] revisions:[any] preview:any",
    ),
    ("PolicyDoc", "policy:text scope:text"),
    (
        "PolicyItem",
        "id:text alertnames:[text] signal:text levels:[text] shipped:bool enabled:bool engine:text \
         layers:[text] firing:int by:text at:time?",
    ),
    (
        "PolicyPage",
        "as_of:time id:text scope:text instance:text? rev:int doc:PolicyDoc text:text effective:[any] \
         problem:text shipped:bool layers:[any] revisions:[any] firing:int check:any backtest:any",
    ),
    ("KillSwitch", "scope:text active:bool reason:text by:text at:time"),
    ("Planned", "plan:any hash:text error:any"),
    (
        "OperationItem",
        "id:text kind:text service:text title:text state:text reason:text steps_done:int steps:int \
         created_by:text created_at:time ended_at:time? elapsed_ms:int",
    ),
    (
        "Operation",
        "id:text kind:text idem_key:text tenant:text service:text plan:any plan_hash:text state:text \
         reason:text cancel_requested:bool lease_owner:text lease_until:time fence:int created_by:text \
         why:text created_at:time started_at:time? ended_at:time? incident:text? outcome:any \
         parent:text?",
    ),
    (
        "OperationPage",
        "operation:Operation steps:[any] events:[any] cancellable:bool approvals:[any] \
         approvable:bool pausable:bool resumable:bool rows:[any]",
    ),
    ("Diff", "dry_run:bool changes:[any] unchanged:int"),
    (
        "AuditRecord",
        "seq:int chain:text at:time actor:any via:text address:text request_id:text action:text \
         target:text scope:text before:any after:any plan_hash:text approvers:[text] result:text \
         code:text prev:text hash:text",
    ),
    ("DocItem", "name:text title:text"),
    ("DocPage", "name:text title:text text:text"),
    ("ChainReport", "chain:text records:int fault:any"),
];

/// The shapes as JSON Schema.
pub fn schemas() -> Value {
    let mut all = Map::new();
    for (name, fields) in SHAPES {
        let pairs = || fields.split_whitespace().filter_map(|f| f.split_once(':'));
        let properties: Map<String, Value> =
            pairs().map(|(field, kind)| (field.to_string(), schema(kind))).collect();
        let required: Vec<&str> = pairs().map(|(field, _)| field).collect();
        let object = json!({ "type": "object", "required": required, "properties": properties });
        all.insert((*name).to_string(), object);
    }
    let codes: Vec<&str> = Code::ALL.iter().map(|c| c.as_str()).collect();
    let text = json!({ "type": "string" });
    let mut problem = schema("any");
    problem["type"] = "object".into();
    problem["required"] =
        json!(["type", "title", "status", "detail", "code", "request_id", "next", "errors"]);
    problem["properties"] = json!({
        "type": text, "title": text, "status": { "type": "integer" }, "detail": text,
        "code": { "enum": codes }, "request_id": text, "next": text,
        "errors": { "type": "array", "items": {} },
    });
    all.insert("Problem".into(), problem);
    Value::Object(all)
}

fn schema(kind: &str) -> Value {
    if let Some(inner) = kind.strip_prefix('[').and_then(|k| k.strip_suffix(']')) {
        return json!({ "type": "array", "items": schema(inner) });
    }
    let (kind, null) = match kind.strip_suffix('?') {
        Some(kind) => (kind, true),
        None => (kind, false),
    };
    let word = match kind {
        "text" | "time" => "string",
        "int" => "integer",
        "number" => "number",
        "bool" => "boolean",
        "any" => return json!({}),
        name => return reference(name),
    };
    let mut schema = match null {
        true => json!({ "type": [word, "null"] }),
        false => json!({ "type": word }),
    };
    if kind == "time" {
        schema["format"] = "date-time".into();
    }
    schema
}

/// Columns of a list for a table: the fields of its items, those of a part with the part's name
/// before them.
pub fn columns(id: &str) -> Vec<String> {
    if id.ends_with(".health") {
        return columns_of("Bar");
    }
    if id == "zone.loss" {
        return columns_of("ServiceLoss");
    }
    let list = answer(id);
    let item = list["allOf"][1]["properties"]["items"]["items"]["$ref"].as_str();
    let name = item.and_then(|r| r.rsplit('/').next()).unwrap_or_default();
    columns_of(name)
}

fn columns_of(name: &str) -> Vec<String> {
    let found = SHAPES.iter().find(|(n, _)| *n == name);
    let fields = found.into_iter().flat_map(|(_, fields)| fields.split_whitespace());
    let mut columns = Vec::new();
    for (field, kind) in fields.filter_map(|f| f.split_once(':')) {
        match columns_of(kind) {
            part if part.is_empty() => columns.push(field.to_string()),
            part => columns.extend(part.iter().map(|c| format!("{field}.{c}"))),
        }
    }
    columns
}

/// Fields of a schema, for tests that hold real answers against it.
pub fn fields(name: &str) -> Vec<&'static str> {
    let found = SHAPES.iter().find(|(n, _)| *n == name);
    found.map_or_else(Vec::new, |(_, fields)| {
        fields.split_whitespace().filter_map(|f| f.split_once(':')).map(|(f, _)| f).collect()
    })
}
