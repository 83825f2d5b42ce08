//! How many files this process may open: raised as far as the system lets us, and said when that is
//! too few for the inventory.
//!
//! Invariant: changes the soft limit only, never above the hard one.

use std::sync::atomic::{AtomicBool, Ordering};

use model::inventory::Inventory;
use model::service::InstanceKind;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Besides connections to instances: HTTP clients, store, log, accept probes, operations. A listener
/// takes 2 000 requests at once; probes 64; the rest is small.
const BESIDES: u64 = 2_500;

/// Raises the soft limit to the hard one.
pub(crate) fn raise() {
    let present = getrlimit(Resource::Nofile);
    if present.current == present.maximum {
        return;
    }
    let wished = Rlimit { current: present.maximum, maximum: present.maximum };
    if let Err(e) = setrlimit(Resource::Nofile, wished) {
        let limit = present.current.unwrap_or(u64::MAX);
        tracing::warn!(error = %e, limit, "the limit of open files could not be raised");
    }
}

/// Says, once until it fits again, that an inventory needs more files than we may open.
pub(crate) fn check(inventory: &Inventory) {
    static SAID: AtomicBool = AtomicBool::new(false);
    let (needed, limit) = (needed(inventory), getrlimit(Resource::Nofile).current);
    let short = limit.is_some_and(|limit| limit < needed);
    if short && !SAID.swap(true, Ordering::Relaxed) {
        tracing::error!(
            instances = inventory.instances.len(),
            needed,
            limit,
            "the hard limit of open files is too low for the inventory: some instances cannot be \
             polled. Raise it (LimitNOFILE= of the systemd unit, or ulimit -Hn) and restart"
        );
    } else if !short {
        SAID.store(false, Ordering::Relaxed);
    }
}

/// A kept connection for each instance, one more for the events of a Sentinel, and the rest.
fn needed(inventory: &Inventory) -> u64 {
    let sentinels = inventory.instances.values().filter(|i| i.kind == InstanceKind::Sentinel);
    (inventory.instances.len() + sentinels.count()) as u64 + BESIDES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        raise();
        let now = getrlimit(Resource::Nofile);
        assert_eq!(now.current, now.maximum);
    }
}
