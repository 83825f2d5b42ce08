//! Awaiting conditions: the only way tests let time pass.

use std::future::Future;
use std::time::{Duration, Instant};

/// Generous: a loaded two-core machine must not make a test fail. Only a failure takes that long.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks: short at first, for most waits are; longer later, for every look costs the
/// program under test what it needs itself.
const PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(50)];

/// Asks `what` until it answers something; panics with `why` after `patience`.
pub async fn until_within<T, F, Fut>(why: &str, patience: Duration, mut what: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let end = Instant::now() + patience;
    let mut pause = PAUSES[0];
    loop {
        if let Some(found) = what().await {
            return found;
        }
        assert!(Instant::now() < end, "gave up after {patience:?}: {why}");
        tokio::time::sleep(pause).await;
        pause = PAUSES[1].min(pause * 5 / 4);
    }
}

/// `until_within` with the usual patience.
pub async fn until<T, F, Fut>(why: &str, what: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    until_within(why, PATIENCE, what).await
}
