//! How many servers are asked at once: polls by zone, accept probes in all.
//!
//! Invariant: a zone that does not answer holds at most `ZONE_POLLS_MAX` sockets and timers, and
//! never a place of another zone; accept probes never take a place of a poll.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::ZoneId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Polls of one zone at once. A poll takes milliseconds, so 10 000 instances need some ten places;
/// when a whole zone of 3 333 is gone, each holds one for the deadline of 3 s: all of them are known
/// to be silent within ten seconds.
const ZONE_POLLS_MAX: usize = 1_024;
/// Accept probes at once: 10 000 a minute are 170 a second, each some milliseconds.
const ACCEPTS_MAX: usize = 64;

/// The places.
#[derive(Debug)]
pub(crate) struct Places {
    zones: Mutex<BTreeMap<ZoneId, Arc<Semaphore>>>,
    accepts: Arc<Semaphore>,
}

impl Default for Places {
    fn default() -> Places {
        Places { zones: Mutex::default(), accepts: Arc::new(Semaphore::new(ACCEPTS_MAX)) }
    }
}

impl Places {
    /// Waits for a place to poll in a zone; in order of arrival.
    pub(super) async fn of_zone(&self, zone: &ZoneId) -> OwnedSemaphorePermit {
        let places = {
            let mut zones = self.zones.lock().unwrap_or_else(PoisonError::into_inner);
            match zones.get(zone) {
                Some(places) => places.clone(),
                None => {
                    let places = Arc::new(Semaphore::new(ZONE_POLLS_MAX));
                    zones.insert(zone.clone(), places.clone());
                    places
                }
            }
        };
        places.acquire_owned().await.expect("places are never closed")
    }

    /// Waits for a place for an accept probe.
    pub(super) async fn of_accept(&self) -> OwnedSemaphorePermit {
        self.accepts.clone().acquire_owned().await.expect("places are never closed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn a_zone_that_holds_all_its_places_keeps_none_of_another_one() {
        let places = Places::default();
        let (a, b): (ZoneId, ZoneId) = ("az-1".parse().unwrap(), "az-2".parse().unwrap());
        let mut held: Vec<_> = (0..ZONE_POLLS_MAX)
            .map(|_| places.of_zone(&a).now_or_never().expect("there is a place"))
            .collect();
        assert!(places.of_zone(&a).now_or_never().is_none());
        assert!(places.of_zone(&b).now_or_never().is_some());
        assert!(places.of_accept().now_or_never().is_some());
        held.pop();
        assert!(places.of_zone(&a).now_or_never().is_some());
    }
}
