//! What all runs of one engine share.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::ServiceId;
use store::Store;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::OperationNotice;
use crate::{Config, World};

/// Notices a slow page may be behind before it is told to read the state again.
const NOTICES_MAX: usize = 256;

pub(super) struct Core {
    pub(super) config: Config,
    pub(super) store: Arc<Store>,
    pub(super) world: World,
    pub(super) worker_id: String,
    pub(super) wake: Arc<Notify>,
    pub(super) runs: TaskTracker,
    pub(super) draining: CancellationToken,
    pub(super) notices: broadcast::Sender<OperationNotice>,
    active: Mutex<HashSet<String>>,
    touched: Mutex<HashMap<ServiceId, Instant>>,
    refusals: Mutex<BTreeMap<String, u64>>,
}

impl Core {
    pub(super) fn new(config: Config, store: Arc<Store>, world: World, worker_id: String) -> Core {
        Core {
            config,
            store,
            world,
            worker_id,
            wake: Arc::new(Notify::new()),
            runs: TaskTracker::new(),
            draining: CancellationToken::new(),
            notices: broadcast::channel(NOTICES_MAX).0,
            active: Mutex::default(),
            touched: Mutex::default(),
            refusals: Mutex::default(),
        }
    }

    pub(super) fn lease(&self) -> Duration {
        Duration::from_secs(self.config.lease_s)
    }

    pub(super) fn lease_ms(&self) -> i64 {
        i64::try_from(self.lease().as_millis()).unwrap_or(i64::MAX)
    }

    /// Tells pages that an operation changed; nobody listening is fine.
    pub(super) fn notice(&self, id: &str) {
        let _ = self.notices.send(OperationNotice { id: id.to_string() });
    }

    /// When a run of each service last committed an order; grows with the services, no further.
    pub(super) fn touched(&self) -> MutexGuard<'_, HashMap<ServiceId, Instant>> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Operations with a run alive here, also when its lease is gone: its last command may still be
    /// on its way, so this process does not claim it again before that run ended.
    pub(super) fn active(&self) -> MutexGuard<'_, HashSet<String>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn refused(&self, check: &str) {
        *self.refusals().entry(check.to_string()).or_default() += 1;
    }

    pub(super) fn refusals(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
