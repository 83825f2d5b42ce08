//! The intake's side of the alerts table: what an Alertmanager posted becomes rows.
//!
//! Invariant: the effect of each posted alert is decided and written in one transaction with the
//! rows it was decided on; the decision itself is `alerter`'s, handed in. Whoever posts may post
//! for the tenants of its token only. No message holds the writer for long: it is committed in
//! parts, and a message of which only some were committed has, sent again, the effect of one.

use model::alert::{Alert, Phase, Transition};
use model::caller::Caller;
use model::right::{Place, Right, Scope};
use model::{At, TenantId};

use crate::alert::{AlertRow, TOMBSTONE_MS, names, open_key};
use crate::delivery::DeliveryMark;
use crate::tx::Tx;
use crate::{Error, Result, Store};

/// What the store knows of a fingerprint when it is posted.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The open row.
    pub open: Option<Alert>,
    /// The latest closed row.
    pub closed: Option<Alert>,
    /// End of a tombstone.
    pub tombstone: Option<At>,
    /// Our own occurrence the sender's link names, when it is ours and of the same name.
    pub own: Option<String>,
}

/// What one posted alert does.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// A new row.
    Open(Box<Alert>),
    /// The open row was seen again; its id and start stay.
    Touch(String),
    /// The row of that id ends.
    Close {
        /// The row.
        id: String,
        /// When it ended.
        ends_at: At,
    },
    /// An end without a beginning is remembered.
    Tombstone {
        /// When it ended.
        ends_at: At,
    },
    /// Our own alert came back: the delivery log only.
    Seen {
        /// Our occurrence.
        alert_id: String,
        /// It came back as resolved.
        resolved: bool,
    },
    /// Nothing, and why: `late`, `duplicate`, `own_unknown`.
    Ignore(&'static str),
}

impl Effect {
    /// Label value of `cachewarden_intake_total`.
    pub fn result(&self) -> &'static str {
        match self {
            Effect::Open(_) => "opened",
            Effect::Touch(_) => "touched",
            Effect::Close { .. } => "closed",
            Effect::Tombstone { .. } => "tombstone",
            Effect::Seen { .. } => "own",
            Effect::Ignore(why) => why,
        }
    }
}

/// A posted alert, as far as the store must know it.
#[derive(Debug, Clone)]
pub struct Posted {
    /// As a row, should it be opened.
    pub alert: Alert,
    /// Id of ours in its link, when the link points to us.
    pub link_id: Option<String>,
}

/// Alerts of one transaction: the only writer of a file must be free again well within the 2 s others
/// wait for it; 500 take some 50 ms.
const PART_MAX: usize = 500;
/// Races of two senders that open one fingerprint at once are tried again this often.
const RACES_MAX: u32 = 3;

impl Store {
    /// Decides and writes the effects of a message, part by part; answers them, when all are
    /// committed, in the order of alert names, tenants and fingerprints. `truncated`: the sender
    /// left alerts out. Refuses the whole message when one alert is of a tenant the caller may not
    /// post for; after any other error some parts may be committed and all must be sent again.
    pub async fn intake_commit<F>(
        &self,
        caller: &Caller,
        source: &str,
        posted: &[Posted],
        truncated: u64,
        decide: F,
        now: At,
    ) -> Result<Vec<Effect>>
    where
        F: Fn(&Posted, &Known) -> Effect,
    {
        for p in posted {
            let place = p.alert.tenant.as_ref().map_or(Place::platform(), Place::tenant);
            caller.require(Right::IntakePost, &place)?;
        }
        // A message may name no alert, only that some were left out.
        if !caller.may_somewhere(Right::IntakePost) {
            caller.require(Right::IntakePost, &Place::platform())?;
        }
        // One order for all senders: two of them that carry the same alerts never wait in a circle.
        let mut ordered: Vec<&Posted> = posted.iter().collect();
        ordered.sort_by(|a, b| order(a).cmp(&order(b)));
        let mut message = Message { source, truncated, tenants: tenants(caller) };
        #[cfg(feature = "fault")]
        crate::fault::point("intake.commit", "before").map_err(Error::NotWritable)?;
        let mut effects = Vec::with_capacity(posted.len());
        for part in parts(&ordered) {
            effects.extend(self.intake_part(&message, part, &decide, now).await?);
            // Said with the first part, before anybody reacts to what is incomplete.
            message.truncated = 0;
        }
        Ok(effects)
    }

    async fn intake_part<F>(
        &self,
        message: &Message<'_>,
        part: &[&Posted],
        decide: &F,
        now: At,
    ) -> Result<Vec<Effect>>
    where
        F: Fn(&Posted, &Known) -> Effect,
    {
        let mut tries = 0;
        loop {
            let done = self.intake_once(message, part, decide, now).await;
            tries += 1;
            match done {
                Err(Error::Conflict(_)) if tries < RACES_MAX => continue,
                // A sender repeats what is not available, never what is in conflict.
                Err(Error::Conflict(why)) => return Err(Error::NotWritable(why)),
                other => return other,
            }
        }
    }

    async fn intake_once<F>(
        &self,
        message: &Message<'_>,
        part: &[&Posted],
        decide: &F,
        now: At,
    ) -> Result<Vec<Effect>>
    where
        F: Fn(&Posted, &Known) -> Effect,
    {
        let Message { source, truncated, tenants } = message;
        let mut tx = self.begin().await?;
        let mut effects = Vec::with_capacity(part.len());
        for p in part {
            let known = tx.known(p).await?;
            let effect = decide(p, &known);
            tx.effect_write(p, &effect, &known, source, now).await?;
            effects.push(effect);
        }
        let began = effects.iter().filter_map(|e| match e {
            Effect::Open(alert) => Some(&**alert),
            _ => None,
        });
        tx.mass_events(&names(began), now).await?;
        if *truncated > 0 {
            let detail = format!("{source} left {truncated} alerts out of a message");
            for tenant in tenants {
                tx.fact_write("truncated", tenant, source, &detail, now).await?;
            }
        }
        tx.commit().await?;
        #[cfg(feature = "fault")]
        crate::fault::point("intake.commit", "after").map_err(Error::NotWritable)?;
        Ok(effects)
    }
}

/// One message, as it is stored.
struct Message<'a> {
    source: &'a str,
    truncated: u64,
    /// Whose alerts may have been left out: of those the sender posts for; empty: of anybody.
    tenants: Vec<String>,
}

/// What a mass event is counted by comes first, so that it is seen within a part.
fn order(p: &Posted) -> (&str, Option<&TenantId>, &str) {
    (&p.alert.alertname, p.alert.tenant.as_ref(), &p.alert.fingerprint)
}

/// Parts of at most `PART_MAX`, at least one. Alerts of one name stay together unless they are more:
/// nobody may see, and react to, a few of those that are a mass event together.
fn parts<'a, 'p>(ordered: &'a [&'p Posted]) -> Vec<&'a [&'p Posted]> {
    let mut parts = Vec::new();
    let mut rest = ordered;
    while rest.len() > PART_MAX {
        let name = |i: usize| &rest[i].alert.alertname;
        let cut = (1..=PART_MAX).rev().find(|i| name(*i) != name(*i - 1)).unwrap_or(PART_MAX);
        let (part, left) = rest.split_at(cut);
        parts.push(part);
        rest = left;
    }
    parts.push(rest);
    parts
}

/// Tenants the caller may post for; the empty name for the whole platform.
fn tenants(caller: &Caller) -> Vec<String> {
    let mut tenants: Vec<String> = Vec::new();
    for scope in caller.scopes(Right::IntakePost) {
        tenants.push(match scope {
            Scope::Platform => return vec![String::new()],
            Scope::Tenant(tenant) => tenant.to_string(),
            Scope::System(system) => system.tenant().to_string(),
            Scope::Service(service) => service.tenant().to_string(),
        });
    }
    tenants.sort_unstable();
    tenants.dedup();
    tenants
}

const BY_FINGERPRINT: &str = "SELECT id, fingerprint, source, tenant, service, instance, \
     alertname, policy, level, phase, labels, annotations, value, threshold, runbooks, starts_at, \
     ends_at, last_seen, reason FROM alert WHERE fingerprint = $1 \
     AND coalesce(tenant, '') = $2 ORDER BY CASE WHEN open_key IS NULL THEN 1 ELSE 0 END, starts_at DESC LIMIT 2";

impl Tx {
    /// Of the posted alert's own tenant only: a fingerprint has 64 bits and can be met on purpose,
    /// and a link can name any alert.
    async fn known(&mut self, p: &Posted) -> Result<Known> {
        let tenant = p.alert.tenant.as_ref().map_or("", |t| t.as_str());
        let rows: Vec<AlertRow> = wr!(self, c => sqlx::query_as::<_, AlertRow>(BY_FINGERPRINT)
            .bind(&p.alert.fingerprint).bind(tenant).fetch_all(c).await)?;
        let mut known = Known::default();
        for row in rows {
            let alert = row.into_alert()?;
            match alert.phase {
                Phase::Resolved => known.closed = known.closed.or(Some(alert)),
                _ => known.open = Some(alert),
            }
        }
        if known.open.is_some() && p.link_id.is_none() {
            return Ok(known);
        }
        let tombstone: Option<i64> = wr!(self, c => sqlx::query_scalar(
            "SELECT ends_at FROM tombstone WHERE fingerprint = $1")
            .bind(open_key(&p.alert)).fetch_optional(c).await)?;
        known.tombstone = tombstone.map(At::from_ms);
        if let Some(id) = &p.link_id {
            known.own = wr!(self, c => sqlx::query_scalar(
                "SELECT id FROM alert WHERE id = $1 AND source = 'embedded' AND alertname = $2 \
                 AND coalesce(tenant, '') = $3")
                .bind(id).bind(&p.alert.alertname).bind(tenant).fetch_optional(c).await)?;
        }
        Ok(known)
    }

    async fn effect_write(
        &mut self,
        p: &Posted,
        effect: &Effect,
        known: &Known,
        source: &str,
        now: At,
    ) -> Result<()> {
        match effect {
            Effect::Open(alert) => {
                self.alert_open(alert).await?;
                self.step(alert, Phase::Inactive, Phase::Firing, alert.starts_at).await
            }
            Effect::Touch(id) => {
                wr!(self, c => sqlx::query("UPDATE alert SET last_seen = $2 WHERE id = $1")
                    .bind(id).bind(now.ms()).execute(c).await.map(|d| d.rows_affected()))?;
                Ok(())
            }
            Effect::Close { id, ends_at } => {
                let Some(open) = known.open.clone().filter(|a| a.id == *id) else {
                    return Err(Error::Internal(format!("alert {id} closed but not open")));
                };
                let reason = "reported".to_string();
                let phase = Phase::Resolved;
                let ended =
                    Alert { phase, ends_at: Some(*ends_at), last_seen: now, reason, ..open };
                self.alert_write(&ended).await?;
                self.step(&ended, Phase::Firing, Phase::Resolved, *ends_at).await
            }
            Effect::Tombstone { ends_at } => {
                wr!(self, c => sqlx::query("DELETE FROM tombstone WHERE at < $1")
                    .bind((now - TOMBSTONE_MS).ms()).execute(c).await.map(|d| d.rows_affected()))?;
                wr!(self, c => sqlx::query(
                    "INSERT INTO tombstone (fingerprint, ends_at, at) VALUES ($1, $2, $3) \
                     ON CONFLICT (fingerprint) DO UPDATE SET ends_at = excluded.ends_at, \
                     at = excluded.at")
                    .bind(open_key(&p.alert)).bind(ends_at.ms()).bind(now.ms())
                    .execute(c).await.map(|d| d.rows_affected()))?;
                Ok(())
            }
            Effect::Seen { alert_id, resolved } => {
                let mark = DeliveryMark {
                    alert_id: alert_id.clone(),
                    receiver: format!("webhook:{source}"),
                    state: "seen",
                    resolved: *resolved,
                    at: now,
                    detail: if *resolved { "resolved".into() } else { "firing".into() },
                };
                self.delivery_write(&mark).await
            }
            Effect::Ignore(_) => Ok(()),
        }
    }

    async fn step(&mut self, alert: &Alert, from: Phase, to: Phase, at: At) -> Result<()> {
        let t = Transition {
            alert_id: alert.id.clone(),
            at,
            from,
            to,
            value: alert.value,
            threshold: alert.threshold,
            reason: alert.reason.clone(),
            in_maintenance: false,
        };
        self.transition_write(&t).await
    }
}

#[cfg(test)]
mod tests {
    use model::alert::AlertSource;
    use model::policy::AlertLevel;

    use super::*;

    fn posted(name: &str, n: usize) -> Posted {
        let alert = Alert {
            id: format!("{name}{n}"),
            fingerprint: format!("{n:016x}"),
            source: AlertSource::Alertmanager,
            tenant: None,
            service: None,
            instance: None,
            alertname: name.into(),
            policy: String::new(),
            level: AlertLevel::Warning,
            phase: Phase::Firing,
            labels: Default::default(),
            annotations: Default::default(),
            value: None,
            threshold: None,
            runbooks: Vec::new(),
            starts_at: At::from_ms(1),
            ends_at: None,
            last_seen: At::from_ms(1),
            reason: String::new(),
        };
        Posted { alert, link_id: None }
    }

    #[test]
    fn parts_are_bounded_and_keep_alerts_of_one_name_together() {
        let of = |name: &'static str, n: usize| (0..n).map(move |i| posted(name, i));
        let lengths = |posted: Vec<Posted>| -> Vec<usize> {
            let ordered: Vec<&Posted> = posted.iter().collect();
            parts(&ordered).iter().map(|part| part.len()).collect()
        };
        assert_eq!(lengths(Vec::new()), [0], "left-out alerts are stored even with no alert");
        assert_eq!(lengths(of("a", 500).collect()), [500]);
        assert_eq!(lengths(of("a", 490).chain(of("b", 20)).collect()), [490, 20]);
        assert_eq!(lengths(of("a", 500).chain(of("b", 1)).collect()), [500, 1]);
        assert_eq!(lengths(of("a", 1_100).collect()), [500, 500, 100]);
    }

    #[tokio::test]
    async fn a_message_of_several_parts_is_stored_whole_and_again_with_no_effect() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("cw.db").display());
        let config = crate::Config { url, key_file: None, key_env: None, key_command: None };
        let store = Store::open(&config, crate::Migrate::AtStart).await.unwrap();
        let message: Vec<Posted> = (0..1_001).map(|n| posted("a", n)).collect();
        let caller = Caller::system("test", "test");
        let decide = |p: &Posted, known: &Known| match &known.open {
            Some(open) => Effect::Touch(open.id.clone()),
            None => Effect::Open(Box::new(p.alert.clone())),
        };
        for result in ["opened", "touched"] {
            let done =
                store.intake_commit(&caller, "am", &message, 0, decide, At::from_ms(2)).await;
            let effects = done.unwrap();
            assert_eq!(effects.len(), message.len());
            assert!(effects.iter().all(|e| e.result() == result), "{result}");
        }
    }
}
