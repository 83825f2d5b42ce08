//! Which connections of a server's CLIENT LIST are ours: by their address, as the server shows it.
//!
//! Invariant: an address stands here exactly as long as its connection is open. Two connections of one
//! host never have the same address at a time, so no stranger is taken for us; behind a translation of
//! addresses we are strangers to ourselves, which costs a reconnect.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{LazyLock, Mutex, PoisonError};

static OPEN: LazyLock<Mutex<HashSet<SocketAddr>>> = LazyLock::new(Mutex::default);

/// Keeps an address listed until it is dropped.
#[derive(Debug)]
pub(crate) struct Own(SocketAddr);

impl Own {
    pub(crate) fn new(address: SocketAddr) -> Own {
        OPEN.lock().unwrap_or_else(PoisonError::into_inner).insert(address);
        Own(address)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        OPEN.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

/// Whether this process holds the connection a server lists with that `addr`.
pub fn is_own(address: &str) -> bool {
    let parsed: Option<SocketAddr> = address.parse().ok();
    parsed.is_some_and(|a| OPEN.lock().unwrap_or_else(PoisonError::into_inner).contains(&a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_ours_while_it_is_open() {
        let address: SocketAddr = "127.9.9.9:4711".parse().unwrap();
        assert!(!is_own("127.9.9.9:4711") && !is_own("garbage"));
        let own = Own::new(address);
        assert!(is_own("127.9.9.9:4711") && !is_own("127.9.9.9:4712"));
        drop(own);
        assert!(!is_own("127.9.9.9:4711"));
    }
}
