//! What is allowed but worth a look: said by `check`, and at every start.
//!
//! Invariant: pure but for looking whether files are there; nothing here keeps a process from
//! starting.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use super::Config;

/// Every note, the most important first.
pub(super) fn notes(config: &Config) -> Vec<String> {
    [clear_text(config), sign_in(config), key(config), place(config)]
        .into_iter()
        .flatten()
        .collect()
}

fn clear_text(config: &Config) -> Option<String> {
    let http = &config.http;
    let local = http.listen.parse::<SocketAddr>().is_ok_and(|a| a.ip().is_loopback());
    if local || http.tls.is_some() || !http.trusted_proxies.is_empty() {
        return None;
    }
    Some(format!(
        "http.listen = {:?} is reachable from outside without TLS or a proxy: passwords and tokens \
         travel in clear; set http.tls, or listen on 127.0.0.1 behind a proxy named in \
         http.trusted_proxies",
        http.listen
    ))
}

/// The cookie of a session is Secure: browsers keep it for https, and for loopback.
fn sign_in(config: &Config) -> Option<String> {
    let text = &config.http.public_url;
    let url = reqwest::Url::parse(text).ok()?;
    if url.scheme() == "https" || is_loopback(url.host_str()?) {
        return None;
    }
    Some(format!(
        "http.public_url = {text:?} is plain http on a name that is not this machine's: browsers do \
         not keep the session cookie there and nobody can sign in to the portal; give an https:// \
         address (http.tls, or a proxy with TLS)"
    ))
}

pub(super) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || bare.to_ascii_lowercase().ends_with(".localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn key(config: &Config) -> Option<String> {
    let store = &config.store;
    match (&store.key_file, &store.key_env, &store.key_command) {
        (None, None, None) => Some(
            "store has no key_file, key_env or key_command: it starts sealed, without passwords"
                .into(),
        ),
        (Some(file), _, _) if !Path::new(file).exists() => Some(format!(
            "store.key_file = {file:?} does not exist: it starts sealed; make one with \
             `cachewarden setup --new-key {file}`"
        )),
        (Some(file), _, _) if others_read(file) => Some(format!(
            "store.key_file = {file:?} can be read by others than its owner: chmod 600 {file}"
        )),
        _ => None,
    }
}

fn others_read(file: &str) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(file).is_ok_and(|m| m.mode() & 0o007 != 0)
}

fn place(config: &Config) -> Option<String> {
    let file = Path::new(config.store.url.strip_prefix("sqlite:")?);
    if file.is_relative() {
        return Some(format!(
            "store.url names {} relative to the folder the process is started in: give the whole \
             path",
            file.display()
        ));
    }
    let folder = file.parent().filter(|f| !f.is_dir())?;
    Some(format!(
        "store.url: the folder {} does not exist; make it before the first start",
        folder.display()
    ))
}
