//! The Alertmanager webhook: what it says, and what that does to the alerts table.
//!
//! Invariant: parsing and deciding are pure. Identity is recomputed from the labels, never taken
//! from the sender; labels are data and never name a command; a message repeated any number of
//! times has the effect of one.

use std::collections::BTreeMap;

use model::alert::{Alert, AlertSource, Phase, fingerprint, occurrence_id};
use model::caller::{Caller, Denied};
use model::inventory::Inventory;
use model::policy::AlertLevel;
use model::{At, InstanceId, ServiceId, TenantId};
use serde::Deserialize;
use store::{Effect, Known, Posted};

use crate::persist::WATCHDOG;
use crate::{Alerter, lock};

/// A body whose newest time is further away than this is a replay or comes from a broken clock.
pub const STALE_MS: i64 = 24 * 3_600_000;
/// Alerts of one message: as many as a fleet of thousands has when all of it burns, stored in some
/// seconds; more are no group anybody reads, and hold the writer that everybody needs.
pub const ALERTS_MAX: usize = 20_000;
/// Evaluators whose Watchdog is remembered; the label is the sender's.
const WATCHDOGS_MAX: usize = 16;

/// A webhook message, as far as we use it.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Alerts of the group, new and old.
    pub alerts: Vec<Received>,
    /// Alerts the sender left out.
    pub truncated: u64,
}

/// One alert of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// It is over.
    pub resolved: bool,
    /// Labels, without empty ones.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// When it began.
    pub starts_at: At,
    /// When it ended; none while firing.
    pub ends_at: Option<At>,
    /// Page of whoever evaluated it.
    pub generator_url: String,
}

/// The body is not a webhook message: repeating it cannot help.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("not an Alertmanager webhook message: {0}")]
pub struct Malformed(pub String);

/// Why a message had no effect.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// 400.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// 400: every alert of it is over a day away from now and none is open here.
    #[error("the newest time in the message is {0}, more than 24 hours away from now")]
    Stale(At),
    /// 413: more than `ALERTS_MAX` alerts; none is taken.
    #[error("the message has {0} alerts; at most {ALERTS_MAX} are taken in one message")]
    TooMany(usize),
    /// 403: an alert of a tenant this source may not post for.
    #[error(transparent)]
    Denied(Denied),
    /// 503: the sender repeats it.
    #[error(transparent)]
    Store(store::Error),
}

impl IntakeError {
    /// The HTTP status to answer. Alertmanager repeats 5xx and never 4xx.
    pub fn status(&self) -> u16 {
        match self {
            IntakeError::Malformed(_) | IntakeError::Stale(_) => 400,
            IntakeError::Denied(_) => 403,
            IntakeError::TooMany(_) => 413,
            IntakeError::Store(_) => 503,
        }
    }
}

/// What a message did: alerts by result (`opened`, `touched`, `closed`, `tombstone`, `own`,
/// `duplicate`, `late`, `own_unknown`, `watchdog`, `stale`).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Receipt {
    /// Counts by result.
    pub results: BTreeMap<&'static str, u64>,
    /// Alerts the sender left out.
    pub truncated: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMessage {
    version: String,
    #[serde(default)]
    truncated_alerts: u64,
    alerts: Vec<RawAlert>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawAlert {
    status: String,
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    starts_at: At,
    #[serde(default)]
    ends_at: Option<At>,
    #[serde(default, rename = "generatorURL")]
    generator_url: String,
}

/// Reads a webhook body, version 4 (Alertmanager) or 1 (Grafana). Unknown fields are ignored.
pub fn parse(body: &[u8]) -> Result<Message, Malformed> {
    let raw: RawMessage = serde_json::from_slice(body).map_err(|e| Malformed(e.to_string()))?;
    if !matches!(raw.version.as_str(), "4" | "1") {
        return Err(Malformed(format!("version {:?}; taken are 4 and 1", raw.version)));
    }
    let alerts = raw.alerts.into_iter().map(received).collect::<Result<_, _>>()?;
    Ok(Message { alerts, truncated: raw.truncated_alerts })
}

fn within(message: Message, max: usize) -> Result<Message, IntakeError> {
    match message.alerts.len() {
        n if n > max => Err(IntakeError::TooMany(n)),
        _ => Ok(message),
    }
}

fn received(raw: RawAlert) -> Result<Received, Malformed> {
    let resolved = match raw.status.as_str() {
        "firing" => false,
        "resolved" => true,
        other => return Err(Malformed(format!("status {other:?}"))),
    };
    let mut labels = raw.labels;
    labels.retain(|_, value| !value.is_empty());
    // PostgreSQL has no NUL in text: refused there, such an alert would hold up its group for ever.
    labels.values_mut().for_each(|v| *v = v.replace('\0', "\u{fffd}"));
    if !labels.contains_key("alertname") {
        return Err(Malformed("an alert without alertname".into()));
    }
    // While firing, endsAt is the year 1.
    let ends_at = raw.ends_at.filter(|at| resolved && *at > At::EPOCH);
    Ok(Received {
        resolved,
        labels,
        annotations: raw.annotations,
        starts_at: raw.starts_at,
        ends_at,
        generator_url: raw.generator_url,
    })
}

/// Runbooks that may react to an alert evaluated elsewhere, by its name; a label names none.
pub fn runbooks(alertname: &str) -> &'static [&'static str] {
    match alertname {
        "RedisDown" => &["replica-restart", "master-failover", "standalone-restart"],
        "RedisNoMaster" => &["master-failover"],
        "RedisReplicaLinkDown" | "RedisFullResyncLoop" | "RedisOutputBufferKills" => {
            &["replica-link"]
        }
        "RedisReplicaLag" => &["replica-lag"],
        "RedisTooManyMasters" => &["split-brain"],
        "RedisMemoryHigh" | "RedisMemoryCritical" => &["memory-high"],
        "RedisFragmentationHigh" | "RedisSwapping" => &["fragmentation"],
        "RedisClientsHigh" | "RedisClientsCritical" => &["clients-high"],
        "RedisRejectedConnections" => &["clients-rejected"],
        "RedisSlowlogRate" | "RedisCpuSaturated" => &["slow-storm"],
        "RedisEvicting" | "RedisOomErrors" => &["evictions"],
        "RedisBgsaveFailed" | "RedisRdbStale" | "RedisAofWriteFailed" => &["persistence"],
        "RedisClusterDown" | "RedisClusterSlotsFail" => &["cluster-down"],
        "RedisClusterSlotsUnassigned" => &["cluster-down", "open-slot"],
        "SentinelQuorumLost" => &["sentinel-down"],
        "RedisZoneSkew" => &["return-home"],
        "RedisConfigDrift" | "RedisReplicaWritable" => &["config-drift"],
        "CertificateExpiring" | "SecretExpiring" => &["expiring"],
        "ZoneOutage" => &["zone-outage"],
        _ => &[],
    }
}

fn level(labels: &BTreeMap<String, String>) -> AlertLevel {
    let word = labels.get("level").or_else(|| labels.get("severity")).map_or("", String::as_str);
    match word {
        "page" | "emergency" => AlertLevel::Critical,
        "none" => AlertLevel::Info,
        word => AlertLevel::parse(word).unwrap_or(AlertLevel::Warning),
    }
}

/// The row a received alert would open. Tenant from its label; service and instance only when the
/// inventory has them and they belong to that tenant.
pub fn posted(
    received: &Received,
    inventory: &Inventory,
    public_url: &str,
    now: At,
) -> Result<Posted, Malformed> {
    let labels = &received.labels;
    let label = |name: &str| labels.get(name).map_or("", String::as_str);
    let tenant: Option<TenantId> = match label("tenant") {
        "" => None,
        text => Some(text.parse().map_err(|e| Malformed(format!("{e}")))?),
    };
    let instance: Option<InstanceId> = label("instance")
        .parse()
        .ok()
        .filter(|i: &InstanceId| inventory.instances.contains_key(i) && Some(i.tenant()) == tenant);
    let named = tenant.as_ref().and_then(|t| ServiceId::new(t, label("service")).ok());
    let service = instance
        .as_ref()
        .map(InstanceId::service)
        .or(named)
        .filter(|s| inventory.services.contains_key(s));
    let fingerprint = fingerprint(labels);
    let alertname = label("alertname").to_string();
    let link_id = received.generator_url.strip_prefix(&format!("{public_url}/alerts/"));
    let alert = Alert {
        id: occurrence_id(tenant.as_ref(), &fingerprint, received.starts_at),
        fingerprint,
        source: AlertSource::Alertmanager,
        tenant,
        service,
        instance,
        policy: String::new(),
        level: level(labels),
        phase: if received.resolved { Phase::Resolved } else { Phase::Firing },
        labels: labels.clone(),
        annotations: received.annotations.clone(),
        value: None,
        threshold: None,
        runbooks: runbooks(&alertname).iter().map(|r| r.to_string()).collect(),
        alertname,
        starts_at: received.starts_at,
        ends_at: received.resolved.then(|| ended(received, now)),
        last_seen: now,
        reason: "reported".into(),
    };
    Ok(Posted { alert, link_id: link_id.map(str::to_string) })
}

/// When a resolved alert ended: what the sender says, but no later than now. An end in a far future
/// would make a late duplicate of every firing before it.
fn ended(received: &Received, now: At) -> At {
    // A sender whose clock is ahead of ours began in our future; the end still lies behind it.
    let latest = now.max(received.starts_at + 1);
    received.ends_at.unwrap_or(now).min(latest)
}

/// What one posted alert does, given what is known of its fingerprint.
pub fn effect(posted: &Posted, known: &Known, stale: bool) -> Effect {
    let alert = &posted.alert;
    let resolved = alert.phase == Phase::Resolved;
    if let Some(own) = own(posted, known) {
        return Effect::Seen { alert_id: own, resolved };
    }
    if posted.link_id.is_some() {
        return Effect::Ignore("own_unknown");
    }
    // What starts nothing may be as old as it likes: a Watchdog fires for months.
    if stale && known.open.is_none() && !alert.runbooks.is_empty() {
        return Effect::Ignore("stale");
    }
    let ended = |a: &Alert| a.ends_at.unwrap_or(a.last_seen);
    let closed_at = known.closed.as_ref().map(ended);
    let over = closed_at.is_some_and(|at| alert.starts_at <= at);
    match (&known.open, alert.ends_at) {
        (Some(open), Some(end)) if end <= open.starts_at => Effect::Ignore("late"),
        (Some(open), Some(end)) => Effect::Close { id: open.id.clone(), ends_at: end },
        (Some(open), None) => Effect::Touch(open.id.clone()),
        (None, _) if over => Effect::Ignore("duplicate"),
        (None, Some(end)) => Effect::Tombstone { ends_at: end },
        (None, None) if known.tombstone.is_some_and(|end| alert.starts_at <= end) => {
            Effect::Ignore("late")
        }
        (None, None) => Effect::Open(Box::new(alert.clone())),
    }
}

/// Our own occurrence that came back: named by its link, or by its labels. A closed one only when
/// the posted one began before it ended; a later one is somebody else's.
fn own(posted: &Posted, known: &Known) -> Option<String> {
    let embedded = |a: &&Alert| a.source == AlertSource::Embedded;
    let within = |a: &&Alert| a.ends_at.is_some_and(|end| posted.alert.starts_at <= end);
    known
        .own
        .clone()
        .or_else(|| known.open.as_ref().filter(embedded).map(|a| a.id.clone()))
        .or_else(|| known.closed.as_ref().filter(embedded).filter(within).map(|a| a.id.clone()))
}

impl Alerter {
    /// Takes a webhook body of `source` (name of its token): everything it says is committed when
    /// this answers. `caller` holds the rights of the token.
    pub async fn intake(
        &self,
        caller: &Caller,
        source: &str,
        body: &[u8],
        now: At,
    ) -> Result<Receipt, IntakeError> {
        let message = within(parse(body)?, ALERTS_MAX)?;
        let inventory = self.plan.load().inventory.clone();
        let posted = message
            .alerts
            .iter()
            .map(|a| posted(a, &inventory, &self.public_url, now))
            .collect::<Result<Vec<_>, _>>()?;
        let times = posted.iter().flat_map(|p| [Some(p.alert.starts_at), p.alert.ends_at]);
        let newest = times.flatten().max().unwrap_or(now);
        let stale = now.since_ms(newest).abs() > STALE_MS;
        let decide = |p: &Posted, known: &Known| self.decide(p, known, stale);
        let committed =
            self.store.intake_commit(caller, source, &posted, message.truncated, decide, now).await;
        let effects = committed.map_err(|e| match e {
            store::Error::Denied(denied) => IntakeError::Denied(denied),
            other => IntakeError::Store(other),
        })?;
        self.note_watchdogs(&posted, now);
        self.count(&effects);
        let refused = |e: &Effect| *e == Effect::Ignore("stale");
        if !effects.is_empty() && effects.iter().all(refused) {
            return Err(IntakeError::Stale(newest));
        }
        let mut receipt = Receipt { truncated: message.truncated, ..Receipt::default() };
        for e in &effects {
            *receipt.results.entry(e.result()).or_default() += 1;
        }
        Ok(receipt)
    }

    /// `effect`, with what only memory knows: our own alert may come back before its row is
    /// written, and our Watchdog has none.
    fn decide(&self, posted: &Posted, known: &Known, stale: bool) -> Effect {
        let own = self.own(&posted.alert.fingerprint);
        match own.filter(|own| own.tenant == posted.alert.tenant) {
            Some(own) if own.policy == WATCHDOG => Effect::Ignore("watchdog"),
            Some(own) if known.open.is_none() && known.own.is_none() => Effect::Seen {
                alert_id: own.id.clone(),
                resolved: posted.alert.phase == Phase::Resolved,
            },
            _ => effect(posted, known, stale),
        }
    }

    /// Counts what posted or listed alerts did.
    pub(crate) fn count(&self, effects: &[Effect]) {
        let mut taken = lock(&self.taken);
        for effect in effects {
            *taken.entry(effect.result()).or_default() += 1;
        }
    }

    fn note_watchdogs(&self, posted: &[Posted], now: At) {
        let mut seen = lock(&self.watchdogs);
        // Of the platform only: a tenant's token must not keep the alarm of the alert path quiet.
        let ours = |p: &&Posted| p.alert.alertname == "Watchdog" && p.alert.tenant.is_none();
        for p in posted.iter().filter(ours) {
            let evaluator = p.alert.labels.get("evaluator").cloned().unwrap_or_default();
            if p.alert.phase == Phase::Firing
                && (seen.len() < WATCHDOGS_MAX || seen.contains_key(&evaluator))
            {
                seen.insert(evaluator, now);
            }
        }
    }
}
