//! Families redis_exporter shows only when asked to, with its names.
//!
//! Invariant: no parameter that may hold a password is shown, not even masked.

use link::reply::config::is_secret;
use model::detail::{CLIENT_NUMBERS, Clients, Parameters, Settings};
use model::reading::Facts;

use super::detail::groups;
use super::scrape::distinct;
use super::writer::Writer;
use super::{VALUES_MAX, head, items};
use crate::catalog::{self, Family};
use crate::config::{Config, Optional};

/// Parameters shown of one instance; Redis 8 has 250.
const PARAMETERS_MAX: usize = 400;

/// What the configuration asks for.
pub(super) fn write(w: &mut Writer, facts: &Facts, sentinel: bool, config: &Config) {
    let detail = &facts.detail;
    if config.shows(Optional::SentinelPeers) {
        peers(w, facts);
    }
    if config.shows(Optional::Items) {
        items::as_peer(w, &facts.items);
    }
    let settings = detail.settings.as_deref();
    if config.shows(Optional::Config)
        && let Some(parameters) = settings.and_then(|s| s.parameters.as_ref())
    {
        self::parameters(w, parameters, sentinel);
    }
    if config.shows(Optional::Modules)
        && let Some(settings) = settings
    {
        modules(w, settings);
    }
    if let Some(clients) = &detail.clients {
        if config.shows(Optional::ClientNames) {
            groups(w, Family::ClientsByName, "name", &clients.by_name);
        }
        if config.shows(Optional::ClientList) {
            client_list(w, clients);
        }
    }
}

fn peers(w: &mut Writer, facts: &Facts) {
    // A Sentinel that lists one twice must not make one series twice.
    let shown = distinct(w, &facts.sentinel_peers, |a, b| a == b);
    w.family(Family::SentinelPeerInfo);
    for peer in shown {
        let master = facts.masters.iter().find(|m| m.name == peer.master);
        let port = peer.port.to_string();
        let labels = [
            ("master_name", peer.master.as_str()),
            ("master_address", master.map_or("", |m| &m.address)),
            ("name", &peer.name),
            ("ip", &peer.ip),
            ("port", &port),
            ("runid", &peer.run_id),
            ("flags", &peer.flags),
        ];
        w.sample(&labels, 1.0);
    }
}

fn parameters(w: &mut Writer, parameters: &Parameters, sentinel: bool) {
    let (text, number) = match sentinel {
        true => (Family::SentinelConfigKeyValue, Family::SentinelConfigValue),
        false => (Family::ConfigKeyValue, Family::ConfigValue),
    };
    let shown = || parameters.iter().filter(|(name, _)| !is_secret(name)).take(PARAMETERS_MAX);
    w.family(text);
    for (key, value) in shown() {
        w.sample(&[("key", key), ("value", value)], 1.0);
    }
    w.family(number);
    for (key, value) in shown() {
        if let Some(value) = value.parse::<f64>().ok().filter(|v| v.is_finite()) {
            w.sample(&[("key", key)], value);
        }
    }
}

fn modules(w: &mut Writer, settings: &Settings) {
    w.family(Family::ModuleInfo);
    for module in settings.modules.iter().take(VALUES_MAX) {
        let [api, filters, usedby, using] = &module.links;
        let version = module.version.to_string();
        let labels = [
            ("name", &*module.name),
            ("ver", &version),
            ("api", api),
            ("filters", filters),
            ("usedby", usedby),
            ("using", using),
        ];
        w.sample(&labels, 1.0);
    }
    for (name, value) in &settings.module_values {
        if let Some(metric) = catalog::of_module(name) {
            w.named(name, &head::lines(name, &metric, w.format()), *value);
        }
    }
}

fn client_list(w: &mut Writer, clients: &Clients) {
    w.family(Family::ClientInfo);
    for client in &clients.each {
        let [id, name, flags, db, host, user, resp] = &client.labels;
        let labels = [
            ("id", &**id),
            ("name", name),
            ("flags", flags),
            ("db", db),
            ("host", host),
            ("user", user),
            ("resp", resp),
        ];
        w.sample(&labels, 1.0);
    }
    for (at, family) in [Family::ClientCreated, Family::ClientIdleSince].into_iter().enumerate() {
        w.family(family);
        for client in clients.each.iter().filter(|c| !c.since_s[at].is_nan()) {
            w.sample(&[("id", &client.labels[0]), ("name", &client.labels[1])], client.since_s[at]);
        }
    }
    const NUMBERS: [(Family, &str); 10] = [
        (Family::ClientSub, "sub"),
        (Family::ClientPsub, "psub"),
        (Family::ClientSsub, "ssub"),
        (Family::ClientWatch, "watch"),
        (Family::ClientQbuf, "qbuf"),
        (Family::ClientQbufFree, "qbuf-free"),
        (Family::ClientObl, "obl"),
        (Family::ClientOll, "oll"),
        (Family::ClientOmem, "omem"),
        (Family::ClientTotMem, "tot-mem"),
    ];
    for (family, name) in NUMBERS {
        let at = CLIENT_NUMBERS.iter().position(|n| *n == name);
        w.family(family);
        for client in &clients.each {
            let value = at.map_or(f64::NAN, |at| client.numbers[at]);
            if !value.is_nan() {
                w.sample(&[("id", &client.labels[0]), ("name", &client.labels[1])], value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::reading::{SentinelMaster, SentinelPeer};

    use super::*;
    use crate::encode::Format;

    #[test]
    fn other_sentinels_are_shown_once_each_and_only_when_asked_for() {
        let peer = SentinelPeer {
            master: "cart".into(),
            name: "0a1b".into(),
            ip: "10.0.0.3".into(),
            port: 26379,
            run_id: "0a1b".into(),
            flags: "sentinel".into(),
        };
        let master = SentinelMaster {
            name: "cart".into(),
            address: "10.0.0.1:6379".into(),
            ..SentinelMaster::default()
        };
        let facts = Facts {
            masters: vec![master],
            sentinel_peers: vec![peer.clone(), peer],
            ..Facts::default()
        };
        let page = |config: &Config| {
            let mut w = Writer::new(Format::Text, 100, 0);
            write(&mut w, &facts, true, config);
            String::from_utf8(w.finish().body).unwrap()
        };
        assert_eq!(page(&Config::default()), "");
        let families = vec![Optional::SentinelPeers];
        let page = page(&Config { families, ..Config::default() });
        let series = "redis_sentinel_peer_info{master_name=\"cart\",\
                      master_address=\"10.0.0.1:6379\",name=\"0a1b\",ip=\"10.0.0.3\",\
                      port=\"26379\",runid=\"0a1b\",flags=\"sentinel\"} 1\n";
        assert!(page.ends_with(series), "{page}");
        assert_eq!(page.matches("redis_sentinel_peer_info{").count(), 1);
    }
}
