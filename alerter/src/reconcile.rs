//! Every minute the alerts evaluated elsewhere are held against what the Alertmanagers list.
//!
//! Invariant: what is listed and unknown is opened as if it had been posted; what was listed before
//! and is missing in two rounds ends, reason `reconciled`: Alertmanager never posts the end of what
//! ended while it was silenced. An Alertmanager that does not answer, or runs for less than five
//! minutes, proves nothing, so nothing ends while there is one. An alert no Alertmanager of ours
//! ever listed came from another one and is left alone.

use std::collections::BTreeMap;

use model::At;
use model::caller::Caller;
use model::silence::Silence;
use store::{Known, Posted};

use crate::config::AlertmanagerConfig;
use crate::intake::{ALERTS_MAX, Received, effect, posted};
use crate::peer::Peer;
use crate::persist::WATCHDOG;
use crate::{Alerter, lock};

/// One that runs shorter has not heard of everything yet: rules are evaluated each minute or so, and
/// alerts are sent again within a few.
const UPTIME_MIN_MS: i64 = 300_000;
/// Between two rounds.
const PERIOD_MS: i64 = 60_000;
/// Copies of silences are this old at most.
const SILENCES_MS: i64 = 15_000;

/// What the latest rounds came to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reconciled {
    at: At,
    silences_at: At,
    /// Alertmanagers that proved nothing in the latest round, and why.
    pub unproven: BTreeMap<String, String>,
}

impl Alerter {
    /// Whether there is an Alertmanager to be asked.
    pub fn has_alertmanager(&self) -> bool {
        !self.config.alertmanager.is_empty()
    }

    /// One round, when it is due: copies the silences, and every minute reconciles. Errors of an
    /// Alertmanager are its state and not ours; an error is the store's.
    pub async fn peers_round(&self, now: At) -> Result<(), store::Error> {
        let due = |at: At, period: i64| !(0..period).contains(&now.since_ms(at));
        let kept = lock(&self.reconciled).clone();
        if due(kept.silences_at, SILENCES_MS) {
            self.copy_silences().await?;
            lock(&self.reconciled).silences_at = now;
        }
        if due(kept.at, PERIOD_MS) {
            self.reconcile(now).await?;
            lock(&self.reconciled).at = now;
        }
        Ok(())
    }

    fn peer<'a>(&'a self, config: &'a AlertmanagerConfig) -> Peer<'a> {
        Peer { http: &self.http, config }
    }

    /// Holds our rows against what the Alertmanagers list now. Answers (opened, ended).
    pub async fn reconcile(&self, now: At) -> Result<(usize, usize), store::Error> {
        let mut listed: BTreeMap<String, Received> = BTreeMap::new();
        let mut unproven = BTreeMap::new();
        for config in &self.config.alertmanager {
            match self.listed(config, now).await {
                Ok(alerts) => {
                    for alert in alerts {
                        listed.entry(model::alert::fingerprint(&alert.labels)).or_insert(alert);
                    }
                }
                Err(why) => drop(unproven.insert(config.url.clone(), why)),
            }
        }
        let proven = unproven.is_empty() && !self.config.alertmanager.is_empty();
        lock(&self.reconciled).unproven = unproven;
        let inventory = self.plan.load().inventory.clone();
        let foreign = listed.into_values().filter(|r| !self.is_ours(r));
        let all: Vec<Posted> = foreign
            .filter_map(|r| posted(&r, &inventory, &self.public_url, now).ok())
            .filter(|p| p.link_id.is_none())
            .collect();
        let caller = Caller::system("reconcile", format!("reconcile-{}", now.ms()));
        let decide = |p: &Posted, known: &Known| effect(p, known, false);
        let mut opened = 0;
        for part in all.chunks(ALERTS_MAX) {
            let done = self.store.intake_commit(&caller, "reconcile", part, 0, decide, now).await?;
            self.count(&done);
            opened += done.iter().filter(|e| e.result() == "opened").count();
        }
        let alerts: Vec<_> = all.iter().map(|p| &p.alert).collect();
        let closed = self.store.alerts_reconcile(&caller, &alerts, proven, now).await?;
        *lock(&self.taken).entry("reconciled").or_default() += closed as u64;
        Ok((opened, closed))
    }

    /// What one Alertmanager lists, if that proves anything.
    async fn listed(&self, config: &AlertmanagerConfig, now: At) -> Result<Vec<Received>, String> {
        let peer = self.peer(config);
        let up_ms = now.since_ms(peer.status().await?.uptime);
        if up_ms < UPTIME_MIN_MS {
            return Err(format!("it runs for {} s only", up_ms.max(0) / 1000));
        }
        peer.alerts().await
    }

    /// Whether our own engine evaluates it: then memory knows better.
    fn is_ours(&self, received: &Received) -> bool {
        let policy = received.labels.get("policy").map(String::as_str);
        let watchdog = policy == Some(WATCHDOG);
        watchdog || self.own(&model::alert::fingerprint(&received.labels)).is_some()
    }

    /// Copies the silences of every Alertmanager that answers; of one that does not, the copy stays.
    pub(crate) async fn copy_silences(&self) -> Result<(), store::Error> {
        let mut keepers = Vec::new();
        for config in &self.config.alertmanager {
            keepers.push(config.base().to_string());
            match self.peer(config).silences().await {
                Ok(silences) => self.store.silences_copy(config.base(), &silences).await?,
                Err(why) => {
                    tracing::debug!(url = config.url, why, "silences cannot be read");
                }
            }
        }
        self.store.silences_keep_only(&keepers).await
    }

    /// Makes a silence in every Alertmanager; those that gossip get it once. Answers its id. It was
    /// checked, authorised and recorded before.
    pub async fn silence_make(&self, silence: &Silence) -> Result<String, String> {
        let mut id = None;
        let mut reached: Vec<String> = Vec::new();
        let mut failed = Vec::new();
        for config in &self.config.alertmanager {
            let peer = self.peer(config);
            let cluster = peer.status().await.map(|s| s.cluster).unwrap_or_default();
            if !cluster.name.is_empty() && reached.contains(&cluster.name) {
                continue;
            }
            match peer.silence(silence).await {
                Ok(made) => {
                    id.get_or_insert(made);
                    reached.extend(cluster.peers.into_iter().flatten().map(|p| p.name));
                }
                Err(why) => failed.push(format!("{}: {why}", config.url)),
            }
        }
        let _ = self.copy_silences().await;
        match (id, failed.is_empty()) {
            (Some(id), true) => Ok(id),
            _ => Err(failed.join("; ")),
        }
    }

    /// Expires a silence wherever it or its twin is kept.
    pub async fn silence_end(&self, kept: &[Silence]) -> Result<(), String> {
        let mut failed = Vec::new();
        for silence in kept {
            let keeper = self.config.alertmanager.iter().find(|c| c.base() == silence.keeper);
            let Some(config) = keeper else { continue };
            if let Err(why) = self.peer(config).expire(&silence.id).await {
                failed.push(format!("{}: {why}", config.url));
            }
        }
        let _ = self.copy_silences().await;
        // Those that gossip have it expired once: the others then say it is over.
        match failed.len() < kept.len() {
            true => Ok(()),
            false => Err(failed.join("; ")),
        }
    }
}
