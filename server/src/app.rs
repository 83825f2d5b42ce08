//! What every handler and loop shares: made once by `serve`, then only read, apart from the places
//! that are swapped whole.
//!
//! Invariant: the inventory and the targets are replaced together and whole; nobody keeps one of
//! them over an await. Refuses to know requests.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use alerter::Alerter;
use anyhow::Context as _;
use arc_swap::ArcSwap;
use axum::http::HeaderMap;
use exporter::encode::{CertificateEnd, RemovedInstance};
use model::At;
use model::board::Board;
use model::caller::Caller;
use model::inventory::Inventory;
use model::{HostId, InstanceId};
use store::Store;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::auth::Auth;
use crate::config::Config;
use crate::evidence::Zones;
use crate::facts::FleetFacts;
use crate::history::History;
use crate::http::PageCache;
use crate::items::ItemBook;
use crate::loops::LoopBook;
use crate::prometheus::Prometheus;
use crate::reach::{self, Targets};
use crate::score_book::ScoreBook;
use crate::self_metrics::SelfMetrics;

/// Shared state of the process.
pub struct App {
    /// As loaded.
    pub config: Config,
    /// Durable state.
    pub store: Arc<Store>,
    /// Latest readings and scores.
    pub board: Arc<Board>,
    /// The present tree.
    pub inventory: Arc<ArcSwap<Inventory>>,
    /// Addresses and secrets of its instances.
    pub targets: Arc<ArcSwap<Targets>>,
    /// Policies to alerts to deliveries.
    pub alerter: Arc<Alerter>,
    /// Operations.
    pub engine: Arc<ops::Engine>,
    /// Renderer.
    pub portal: portal::Portal,
    /// Sessions, tokens, delays.
    pub auth: Auth,
    /// The wall clock.
    pub clock: fn() -> At,
    /// When the process started.
    pub started_at: At,
    /// How the loops are doing.
    pub loops: LoopBook,
    /// The last hour, in memory.
    pub history: History,
    /// What scores were: in memory, and on their way to the store.
    pub(crate) scores: ScoreBook,
    /// The history service; none: not configured.
    pub(crate) prometheus: Option<Prometheus>,
    /// The weeks behind every shard.
    pub(crate) usage: crate::usage::Usage,
    /// Good, bad and unknown seconds of every service.
    pub(crate) slo: crate::slo::SloBook,
    /// Policies as rule files for Prometheus.
    pub(crate) rules: crate::rules::RuleBook,
    /// The last hour of values, for backtests without a history service.
    pub(crate) recent: crate::recent::Recent,
    /// Latest rates by instance.
    pub rates: RatesBook,
    /// Instances that left the inventory, and when.
    pub(crate) removed: RwLock<BTreeMap<InstanceId, (At, RemovedInstance)>>,
    /// Which instances share a host.
    pub(crate) on_host: ArcSwap<BTreeMap<HostId, Vec<InstanceId>>>,
    /// What `/metrics` says of alerts and operations.
    pub(crate) fleet: ArcSwap<FleetFacts>,
    /// When our own certificates end.
    pub(crate) certificates: ArcSwap<Vec<CertificateEnd>>,
    /// How every service is judged.
    pub(crate) policies: ArcSwap<scorer::Policies>,
    /// Newest revision of the threshold policies in force.
    pub(crate) policy_generation: AtomicI64,
    /// Custom items by service.
    pub(crate) items: ArcSwap<ItemBook>,
    /// Parameters that drift.
    pub(crate) drift: crate::drift::Drift,
    /// How whole zones look from here.
    pub(crate) zones: Zones,
    /// What other processes of the same store see.
    pub(crate) vantages: crate::vantage::Vantages,
    /// Rendered pages.
    pub(crate) pages: PageCache,
    /// Figures about this process.
    pub metrics: SelfMetrics,
    /// What the watch tasks share.
    pub(crate) watching: crate::watch::Watching,
    /// Whose turn it is to read the tree anew.
    pub(crate) reloading: tokio::sync::Mutex<()>,
    /// Woken when the tree or its secrets changed.
    pub inventory_moved: Notify,
    /// Cancelled at the end.
    pub shutdown: CancellationToken,
}

impl App {
    /// The time.
    pub fn now(&self) -> At {
        (self.clock)()
    }

    /// The present tree.
    pub fn inventory(&self) -> Arc<Inventory> {
        self.inventory.load_full()
    }

    /// Reads tree, secrets and policies anew and puts them in force: watch tasks follow, new
    /// instances get their policies, alerts of what is gone resolve. Called after every change of
    /// the tree or of a policy.
    ///
    /// Everything is read before anything is swapped, and nothing waits in between: a read that
    /// fails, or a client that goes away, leaves all of the old in force, generation included, so
    /// that it is tried again. A tree without its policies would look done and never alert. One
    /// reload at a time: of two at once the one that read first could publish last, and the older
    /// tree would stay in force.
    pub async fn reload_inventory(&self) -> anyhow::Result<()> {
        let _turn = self.reloading.lock().await;
        let fresh = Arc::new(self.store.inventory().await.context("reading the inventory")?);
        let tls_dir = Path::new(&self.config.link.tls_dir);
        let targets =
            reach::targets(&self.store, &fresh, tls_dir).await.context("reading the secrets")?;
        let caller = Caller::system("policies", format!("policies-{}", self.now().ms()));
        // Its number first: what is published in between is read twice, not never.
        let generation = self.store.policy_generation().await.context("reading the policies")?;
        let documents = self.store.policies(&caller).await.context("reading the policies")?;
        let (items, revisions) = self.store.items_in_force().await.context("reading the items")?;
        let items = ItemBook::build(items, &revisions, &fresh);
        let (newest, documents_of_scores) =
            self.store.score_policies_in_force().await.context("reading the score policies")?;
        let (policies, ignored) = scorer::Policies::build(newest, documents_of_scores, &fresh);
        let policies = policies.rising_in(self.config.scorer.rise_s);
        for one in ignored {
            tracing::warn!(scope = one.scope, field = one.field, why = one.why, "not in force");
        }
        let now = self.now();
        let before = self.inventory.load_full();
        self.note_removed(&before, &fresh, now);
        self.targets.store(Arc::new(targets));
        self.on_host.store(Arc::new(on_host(&fresh)));
        self.inventory.store(fresh.clone());
        self.items.store(Arc::new(items));
        self.policies.store(Arc::new(policies));
        // After the tree: whoever still reads the old one finds its rows gone at worst, and nobody
        // who reads the new one meets rows of the old.
        self.board.reshape(fresh.instances.keys());
        self.rates.keep(&fresh);
        self.recent.keep(&fresh);
        self.rules.take(&fresh, &documents);
        for (policy, why) in self.alerter.rebuild(&fresh, &documents, now) {
            tracing::warn!(policy, why, "a policy cannot be evaluated; the others are");
        }
        self.policy_generation.store(generation, Ordering::Relaxed);
        self.inventory_moved.notify_waiters();
        Ok(())
    }

    /// The address others reach us by, without a trailing slash.
    pub fn public_url(&self) -> &str {
        self.config.http.public_url.trim_end_matches('/')
    }

    /// `host:port` of it, as a target of Prometheus.
    pub(crate) fn public_host(&self) -> String {
        let rest = self.public_url().split_once("://").map_or("", |(_, rest)| rest);
        let host = rest.split('/').next().unwrap_or_default();
        match host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
            true => host.to_string(),
            false => format!("{host}:{}", if self.tls() { 443 } else { 80 }),
        }
    }

    /// Whether others reach us by TLS, ours or a proxy's.
    pub fn tls(&self) -> bool {
        self.config.http.public_url.starts_with("https://")
    }

    /// Instances that left the inventory not long ago.
    pub(crate) fn removed_instances(&self) -> Vec<RemovedInstance> {
        let removed = self.removed.read().unwrap_or_else(PoisonError::into_inner);
        removed.values().map(|(_, instance)| instance.clone()).collect()
    }

    /// Whether the store's secrets are out of reach.
    pub fn is_sealed(&self) -> bool {
        self.store.is_sealed()
    }

    /// The client's address: the peer's, or what a declared proxy says of it.
    pub fn client_address(&self, headers: &HeaderMap, peer: IpAddr) -> String {
        let trusted = |ip: IpAddr| self.config.http.trusted_proxies.iter().any(|p| p.covers(ip));
        if !trusted(peer) {
            return peer.to_canonical().to_string();
        }
        // From the right: the last address no proxy of ours added is the client.
        let forwarded = headers.get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok());
        let hops: Vec<IpAddr> =
            forwarded.flat_map(|v| v.split(',')).filter_map(|h| h.trim().parse().ok()).collect();
        let client = hops.into_iter().rev().find(|ip| !trusted(*ip)).unwrap_or(peer);
        client.to_canonical().to_string()
    }

    fn note_removed(&self, before: &Inventory, after: &Inventory, now: At) {
        /// Longer than any hold of an alert, so that Prometheus sees why the series ended.
        const REMEMBERED_MS: i64 = 2 * 3_600_000;
        let mut removed = self.removed.write().unwrap_or_else(PoisonError::into_inner);
        removed.retain(|id, (at, _)| {
            now.since_ms(*at) < REMEMBERED_MS && !after.instances.contains_key(id)
        });
        let gone = before.instances.values().filter(|i| !after.instances.contains_key(&i.id));
        removed.extend(gone.filter_map(|instance| {
            let (service, _) = before.owner(&instance.id)?;
            let (id, zone) = (instance.id.clone(), instance.zone.clone());
            let gone = RemovedInstance { id: id.clone(), system: service.system.clone(), zone };
            Some((id, (now, gone)))
        }));
    }
}

pub(crate) fn on_host(inventory: &Inventory) -> BTreeMap<HostId, Vec<InstanceId>> {
    let mut all: BTreeMap<HostId, Vec<InstanceId>> = BTreeMap::new();
    for instance in inventory.instances.values() {
        if let Some(host) = &instance.host {
            all.entry(host.clone()).or_default().push(instance.id.clone());
        }
    }
    all
}

/// The latest rates of each instance.
#[derive(Default)]
pub struct RatesBook(RwLock<HashMap<InstanceId, scorer::Rates>>);

impl RatesBook {
    /// Latest rates of an instance; empty ones before two good polls.
    pub fn get(&self, id: &InstanceId) -> scorer::Rates {
        let book = self.0.read().unwrap_or_else(PoisonError::into_inner);
        book.get(id).copied().unwrap_or_default()
    }

    /// Sets them. Called by the instance's watch task.
    pub(crate) fn set(&self, id: &InstanceId, rates: scorer::Rates) {
        let mut book = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match book.get_mut(id) {
            Some(slot) => *slot = rates,
            None => drop(book.insert(id.clone(), rates)),
        }
    }

    fn keep(&self, inventory: &Inventory) {
        let mut book = self.0.write().unwrap_or_else(PoisonError::into_inner);
        book.retain(|id, _| inventory.instances.contains_key(id));
    }
}
