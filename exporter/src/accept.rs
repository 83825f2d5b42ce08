//! Whether a new client could get in: connect, TLS, AUTH and PING on a connection of its own.
//!
//! Invariant: nothing is kept of it, and the kept connection of the polls is never used, so a server
//! whose limit of connections is reached, or whose password changed, shows. Refuses to know when to
//! look and what a failure means.

use std::time::{Duration, Instant};

use link::Target;

/// A new client was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Connect, TLS, AUTH and PING together, µs.
    pub total_us: u32,
    /// Round trip of the PING alone, µs; none when it was not answered in time to be measured.
    pub ping_us: Option<u32>,
}

/// Comes as a new client; `deadline` covers the whole.
pub async fn accept(target: &Target, deadline: Duration) -> Result<Accepted, link::Error> {
    let mut link = link::dial(target, deadline).await?;
    let connected = u64::from(link.connect_us());
    let left = deadline.saturating_sub(Duration::from_micros(connected));
    // The wait for our own limit of connects is not the server's, so time is counted from here.
    let began = Instant::now();
    link.call(&["PING"], left).await?;
    let total = connected + began.elapsed().as_micros() as u64;
    Ok(Accepted { total_us: u32::try_from(total).unwrap_or(u32::MAX), ping_us: link.first_us() })
}
