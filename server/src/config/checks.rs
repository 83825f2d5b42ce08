//! What a value means: ranges with their reason, addresses, files that must be there.

use std::net::SocketAddr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::{Config, Tls};
use crate::http::tls::Certificate;

/// Below this a poll of a far zone ends before its answer; above, a hung server holds its watch
/// longer than any interval.
const DEADLINE_MS: std::ops::RangeInclusive<u64> = 100..=30_000;
/// 1: somebody wants it gentle; above 5 000 the ports of one address run out within a minute.
const CONNECTS_PER_S: std::ops::RangeInclusive<u32> = 1..=5_000;
/// Below a second Redis pays more for being watched than for its work; above five minutes
/// Prometheus itself calls a series stale.
const INTERVAL_S: std::ops::RangeInclusive<u32> = 1..=300;
/// Each probe is a login on the server: more than one a second is an attack, fewer than one an hour
/// no watch.
const ACCEPT_INTERVAL_S: std::ops::RangeInclusive<u32> = 1..=3600;

/// Length of the wrapping key: AES-256.
const KEY_BYTES: usize = 32;

/// The first thing that is wrong, in words; begins with its key.
pub(super) fn first_fault(config: &Config) -> Option<String> {
    check(config).err()
}

fn check(config: &Config) -> Result<(), String> {
    let http = &config.http;
    http.listen.parse::<SocketAddr>().map_err(|_| {
        format!(
            "http.listen = {:?}: expected an IP address and a port, such as 127.0.0.1:9850",
            http.listen
        )
    })?;
    address("http.public_url", &http.public_url)?;
    if let Some(tls) = &http.tls {
        tls_files(tls)?;
    }
    log_level(&config.log.level)?;
    if let Some(history) = &config.history {
        address("history.url", &history.url)?;
    }
    store_place(&config.store)?;
    paces(config)?;
    config.scorer.check()?;
    config.alerter.check()?;
    for (n, am) in config.alerter.alertmanager.iter().enumerate() {
        for (key, path) in
            [("bearer_file", &am.bearer_file), ("basic_password_file", &am.basic_password_file)]
        {
            if let Some(path) = path {
                readable(&format!("alerter.alertmanager[{n}].{key}"), path)?;
            }
        }
    }
    config.ops.check()?;
    config.portal.check()
}

/// What `check` looks at and a start does not: a process whose key is wrong starts sealed, for
/// watching must go on; whoever asks before the start is told.
pub(super) fn sealing_fault(config: &Config) -> Option<String> {
    let store = &config.store;
    let (what, text) = match (&store.key_file, &store.key_env) {
        (Some(file), _) => {
            let key = format!("store.key_file = {file:?}");
            match std::fs::read_to_string(file) {
                Ok(text) => (key, text),
                // Not made yet: a note says how.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => return None,
                Err(e) => return Some(format!("{key}: {e}")),
            }
        }
        // Set where the process runs, not where it is checked.
        (None, Some(name)) => (format!("store.key_env = {name:?}"), std::env::var(name).ok()?),
        (None, None) => return None,
    };
    let mut key = [0_u8; KEY_BYTES];
    let wrong = hex::decode_to_slice(text.trim(), &mut key).is_err();
    wrong.then(|| {
        format!(
            "{what}: expected 64 hex digits, found {} characters that are not; make one with \
             `cachewarden setup --new-key FILE`",
            text.trim().chars().count()
        )
    })
}

fn log_level(level: &str) -> Result<(), String> {
    let refuse = |why: &str| {
        Err(format!(
            "log.level = {level:?}: expected error, warn, info, debug or trace, or target=level \
             separated by commas{why}"
        ))
    };
    if let Err(e) = EnvFilter::try_new(level) {
        return refuse(&format!(" ({e})"));
    }
    // The filter takes a word it does not know for a target and then logs nothing else.
    let mut words = level.split(',').map(str::trim).filter(|w| !w.contains('='));
    match words.find(|w| w.parse::<LevelFilter>().is_err()) {
        Some(word) => refuse(&format!("; {word:?} is no level")),
        None => Ok(()),
    }
}

fn paces(config: &Config) -> Result<(), String> {
    let link = &config.link;
    within("link.deadline_ms", link.deadline_ms, DEADLINE_MS)?;
    within("link.connects_per_s_max", link.connects_per_s_max, CONNECTS_PER_S)?;
    within("exporter.interval_s", config.exporter.interval_s, INTERVAL_S)?;
    within("exporter.accept_interval_s", config.exporter.accept_interval_s, ACCEPT_INTERVAL_S)?;
    let interval_ms = u64::from(config.exporter.interval_s) * 1000;
    if link.deadline_ms > interval_ms {
        return Err(format!(
            "link.deadline_ms = {}: must not exceed exporter.interval_s ({interval_ms} ms), or a \
             hung server is still being asked when its next poll is due",
            link.deadline_ms
        ));
    }
    Ok(())
}

fn within<T: PartialOrd + std::fmt::Display>(
    key: &str,
    value: T,
    range: std::ops::RangeInclusive<T>,
) -> Result<(), String> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(format!("{key} = {value}: allowed are {} to {}", range.start(), range.end()))
}

fn url(key: &str, text: &str) -> Result<(), String> {
    let parsed = reqwest::Url::parse(text).ok();
    let fine = parsed.is_some_and(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
    if fine {
        Ok(())
    } else {
        Err(format!("{key} = {text:?}: expected http(s)://host[:port][/path]"))
    }
}

/// A URL that paths are appended to.
fn address(key: &str, text: &str) -> Result<(), String> {
    url(key, text)?;
    let parsed = reqwest::Url::parse(text).map_err(|e| format!("{key} = {text:?}: {e}"))?;
    let more = parsed.query().is_some()
        || parsed.fragment().is_some()
        || !parsed.username().is_empty()
        || parsed.password().is_some();
    match more {
        false => Ok(()),
        true => Err(format!(
            "{key}: expected http(s)://host[:port][/path] without a user, a query or a fragment"
        )),
    }
}

fn tls_files(tls: &Tls) -> Result<(), String> {
    readable("http.tls.cert_file", &tls.cert_file)?;
    readable("http.tls.key_file", &tls.key_file)?;
    if let Some(file) = &tls.client_ca_file {
        readable("http.tls.client_ca_file", file)?;
    }
    // Read as the listener reads them, so that what passes here also starts.
    Certificate::load(tls).map(drop).map_err(|e| match e.to_string() {
        text if text.starts_with("http.tls") => format!("{e:#}"),
        _ => format!("http.tls: {e:#}"),
    })
}

fn readable(key: &str, path: &str) -> Result<(), String> {
    std::fs::File::open(path).map(drop).map_err(|e| format!("{key} = {path:?}: {e}"))
}

fn store_place(store: &store::Config) -> Result<(), String> {
    let known = store.url.strip_prefix("sqlite:").is_some_and(|p| !p.is_empty())
        || store.url.starts_with("postgres://")
        || store.url.starts_with("postgresql://");
    if !known {
        // The URL may hold a password.
        return Err(
            "store.url: expected sqlite:/path/file.db or postgres://user@host/database".into()
        );
    }
    let ways = [store.key_file.is_some(), store.key_env.is_some(), store.key_command.is_some()];
    if ways.iter().filter(|w| **w).count() > 1 {
        return Err("store: only one of key_file, key_env and key_command".into());
    }
    if let Some(path) = store.url.strip_prefix("sqlite:")
        && std::path::Path::new(path).is_dir()
    {
        return Err(format!("store.url: {path} is a folder; expected a file in it"));
    }
    key_command(store.key_command.as_deref())
}

fn key_command(command: Option<&[String]>) -> Result<(), String> {
    let Some(command) = command else { return Ok(()) };
    let program = command.first().map(String::as_str).unwrap_or_default();
    match std::path::Path::new(program).is_absolute() {
        true => readable("store.key_command", program),
        false => Err(format!(
            "store.key_command = {command:?}: expected a program by its whole path, then its \
             arguments"
        )),
    }
}
