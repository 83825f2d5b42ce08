//! TLS configurations kept from dial to dial, so that a handshake continues the session before it.
//!
//! Invariant: one is in use only while the files it was made of are what they were; the session of one
//! address is never offered to another. A handshake that continues a session verifies no certificate,
//! so none is continued for longer than an hour, or beyond the end of the server's certificate.

use std::collections::HashMap;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::{ClientConfig, NamedGroup};
use rustls_pki_types::{ServerName, UnixTime};

use crate::Tls;
use crate::error::Error;

/// After this time a server is verified anew: one probe in sixty, and no authority takes back a
/// certificate faster than within an hour.
const VERIFIED_FOR: Duration = Duration::from_secs(3600);
/// Addresses of which something is kept: twice the largest fleet, some 3 KiB each.
const ADDRESSES_MAX: usize = 20_000;
/// Between two looks for what nobody uses any more.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// What tells a file from the one that was there before: a new file has another inode, a changed one
/// another time.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

/// What all targets with the same settings share: authorities, our certificate, the verifier.
struct Made {
    stamps: Vec<Option<Stamp>>,
    config: Arc<ClientConfig>,
}

/// One target's configuration with its session.
pub(super) struct Kept {
    config: Arc<ClientConfig>,
    /// Of which `Made` it is.
    made: Arc<ClientConfig>,
    since: Instant,
    /// End of the server's certificate, Unix seconds.
    ends_at: AtomicI64,
}

impl Kept {
    /// What to shake hands with.
    pub(super) fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }

    /// A handshake succeeded with a certificate that ends then.
    pub(super) fn met(&self, ends_at: Option<i64>) {
        self.ends_at.store(ends_at.unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    fn is_over(&self, now: Instant) -> bool {
        let unix = i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX);
        now.saturating_duration_since(self.since) >= VERIFIED_FOR
            || unix >= self.ends_at.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
struct Targets {
    all: HashMap<(String, Tls), Arc<Kept>>,
    swept: Option<Instant>,
}

static MADE: LazyLock<Mutex<HashMap<Tls, Made>>> = LazyLock::new(Mutex::default);
static TARGETS: LazyLock<Mutex<Targets>> = LazyLock::new(Mutex::default);

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The configuration for a dial to `address`. Looks at files, so it may block.
pub(super) fn take(address: &str, tls: &Tls, now: Instant) -> Result<Arc<Kept>, Error> {
    let made = made(tls)?;
    let key = (address.to_string(), tls.clone());
    let mut targets = lock(&TARGETS);
    if let Some(kept) = targets.all.get(&key)
        && Arc::ptr_eq(&kept.made, &made)
        && !kept.is_over(now)
    {
        return Ok(kept.clone());
    }
    let mut config = (*made).clone();
    config.resumption = Resumption::store(Arc::new(Session::default()));
    let ends_at = AtomicI64::new(i64::MAX);
    let kept = Arc::new(Kept { config: Arc::new(config), made, since: now, ends_at });
    targets.sweep(now);
    if targets.all.len() < ADDRESSES_MAX || targets.all.contains_key(&key) {
        targets.all.insert(key, kept.clone());
    }
    Ok(kept)
}

/// A handshake failed: whatever session there was, the next one begins anew.
pub(super) fn forget(address: &str, tls: &Tls) {
    lock(&TARGETS).all.remove(&(address.to_string(), tls.clone()));
}

impl Targets {
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_none_or(|at| now.saturating_duration_since(at) >= SWEEP_EVERY) {
            self.swept = Some(now);
            self.all.retain(|_, kept| !kept.is_over(now));
        }
    }
}

fn made(tls: &Tls) -> Result<Arc<ClientConfig>, Error> {
    // Before the files are read: what changes meanwhile has another stamp the next time.
    let stamps: Vec<Option<Stamp>> =
        [&tls.ca_file, &tls.cert_file, &tls.key_file].into_iter().flatten().map(stamp).collect();
    // A file that is not there has no stamp: it is asked for, and missed, at every dial.
    let whole = stamps.iter().all(Option::is_some);
    if whole
        && let Some(made) = lock(&MADE).get(tls)
        && made.stamps == stamps
    {
        return Ok(made.config.clone());
    }
    let mut config = super::client_config(tls)?;
    config.resumption = Resumption::disabled();
    let config = Arc::new(config);
    let mut all = lock(&MADE);
    if all.len() >= ADDRESSES_MAX {
        all.clear();
    }
    all.insert(tls.clone(), Made { stamps, config: config.clone() });
    Ok(config)
}

fn stamp(file: &String) -> Option<Stamp> {
    let of = std::fs::metadata(file).ok()?;
    let (changed, moved) = ((of.mtime(), of.mtime_nsec()), (of.ctime(), of.ctime_nsec()));
    Some((of.dev(), of.ino(), of.size(), changed, moved))
}

/// The latest session with one server. Only the latest: each holds the server's certificates.
#[derive(Default)]
struct Session(Mutex<Held>);

#[derive(Default)]
struct Held {
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    tls13: Option<Tls13ClientSessionValue>,
}

/// Without what is held: those are secrets.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

impl ClientSessionStore for Session {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        lock(&self.0).group = Some(group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        lock(&self.0).group
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        lock(&self.0).tls12 = Some(value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        lock(&self.0).tls12.clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        lock(&self.0).tls12 = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        lock(&self.0).tls13 = Some(value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        lock(&self.0).tls13.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Settings no other test of this process has; they need no file.
    fn settings(name: &str) -> Tls {
        Tls { insecure: true, server_name: Some(name.into()), ..Tls::default() }
    }

    #[test]
    fn each_target_keeps_one_and_no_two_share_a_session() {
        let (tls, now) = (settings("kept.example"), Instant::now());
        let first = take("10.0.0.1:6379", &tls, now).unwrap();
        assert!(Arc::ptr_eq(&first, &take("10.0.0.1:6379", &tls, now).unwrap()));
        let other = take("10.0.0.2:6379", &tls, now).unwrap();
        assert!(!Arc::ptr_eq(&first.config, &other.config));
        assert!(Arc::ptr_eq(&first.made, &other.made), "what is large is shared");
        let elsewhere = take("10.0.0.1:6379", &settings("other.example"), now).unwrap();
        assert!(!Arc::ptr_eq(&first.made, &elsewhere.made));
    }

    #[test]
    fn a_server_is_verified_anew_in_time_after_a_failure_and_when_its_certificate_ends() {
        let (tls, now) = (settings("over.example"), Instant::now());
        let address = "10.0.0.1:6379";
        let first = take(address, &tls, now).unwrap();
        first.met(None);
        let later = now + VERIFIED_FOR;
        assert!(Arc::ptr_eq(&first, &take(address, &tls, later - SWEEP_EVERY).unwrap()));
        let second = take(address, &tls, later).unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        forget(address, &tls);
        let third = take(address, &tls, later).unwrap();
        assert!(!Arc::ptr_eq(&second, &third));
        third.met(Some(1));
        assert!(!Arc::ptr_eq(&third, &take(address, &tls, later).unwrap()));
    }

    #[test]
    fn a_file_that_is_missing_is_missed_at_every_dial_and_a_changed_one_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem").display().to_string();
        let tls = Tls { ca_file: Some(file.clone()), ..Tls::default() };
        for _ in 0..2 {
            assert!(take("10.0.0.3:6379", &tls, Instant::now()).is_err());
        }
        std::fs::write(&file, "one").unwrap();
        let before = stamp(&file);
        std::fs::write(&file, "another").unwrap();
        assert!(before.is_some() && before != stamp(&file));
    }
}
