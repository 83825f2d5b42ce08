//! The files the demonstration runs on: those of `deploy/` with its addresses put in, the
//! process' configuration, the inventory.

use std::path::Path;

use anyhow::{Context, ensure};
use model::At;
use serde_json::{Value, json};

use super::fleet::{Fleet, MASTER_NAME, ZONES};

const PROMETHEUS: &str = include_str!("../../../deploy/prometheus.yml");
const ALERTMANAGER: &str = include_str!("../../../deploy/alertmanager.yml");
const RULES: &[(&str, &str)] = &[
    ("cw-meta.yml", include_str!("../../../rules/cw-meta.yml")),
    ("recording.yml", include_str!("../../../rules/recording.yml")),
];

/// How long restarts are no news, hours: a demonstration is over by then.
const QUIET_H: i64 = 24;

/// Addresses of the parts.
pub(super) struct Parts {
    /// cachewarden, `host:port`.
    pub warden: String,
    /// Prometheus.
    pub prometheus: String,
    /// Alertmanager.
    pub alertmanager: String,
    /// Pager sink.
    pub pager: String,
}

/// Puts an address into a file of `deploy/`; an error when the file no longer holds the default.
fn swap(text: &str, from: &str, to: &str) -> anyhow::Result<String> {
    ensure!(
        text.contains(from),
        "deploy/ no longer holds {from}, which the demonstration replaces"
    );
    Ok(text.replace(from, to))
}

/// Writes the configuration of cachewarden.
pub(super) fn warden(dir: &Path, parts: &Parts) -> anyhow::Result<()> {
    let shown = dir.display();
    let (warden, prometheus, alertmanager) =
        (&parts.warden, &parts.prometheus, &parts.alertmanager);
    let text = format!(
        r#"[http]
listen = "{warden}"
public_url = "http://{warden}"
[log]
format = "text"
[history]
url = "http://{prometheus}"
[store]
url = "sqlite:{shown}/cachewarden.db"
key_file = "{shown}/key"
[exporter]
interval_s = 5
[[alerter.alertmanager]]
url = "http://{alertmanager}"
[[ops.provider]]
name = "local"
kind = "local"
dir = "{shown}/nodes"
"#
    );
    std::fs::write(dir.join("cachewarden.toml"), text)?;
    std::fs::write(dir.join("key"), format!("{}\n", super::random_hex(32)?))?;
    Ok(())
}

/// Writes the configurations of Prometheus and Alertmanager.
pub(super) fn peers(dir: &Path, parts: &Parts, intake_token: &str) -> anyhow::Result<()> {
    let rules = dir.join("rules");
    std::fs::create_dir_all(&rules)?;
    for (name, text) in RULES {
        std::fs::write(rules.join(name), text)?;
    }
    let text = swap(PROMETHEUS, "127.0.0.1:9850", &parts.warden)?;
    let text = swap(&text, "127.0.0.1:9093", &parts.alertmanager)?;
    let text = swap(&text, "/etc/cachewarden/rules", &rules.display().to_string())?;
    std::fs::write(dir.join("prometheus.yml"), text.replace("15s", "5s").replace("30s", "5s"))?;
    let token = dir.join("intake-token");
    std::fs::write(&token, intake_token)?;
    let text = swap(ALERTMANAGER, "127.0.0.1:9850", &parts.warden)?;
    let text = swap(&text, "/etc/cachewarden/intake-token", &token.display().to_string())?;
    let text = swap(&text, "http://127.0.0.1:9099/page", &format!("http://{}/page", parts.pager))?;
    std::fs::write(dir.join("alertmanager.yml"), text).context("alertmanager.yml")
}

/// The inventory document: three services of tenant `demo`.
pub(super) fn inventory(fleet: &Fleet, now: At) -> Value {
    let zone_of = |address: &str| {
        let zone = ZONES.iter().position(|z| address.starts_with(&format!("{z}:"))).unwrap_or(0);
        format!("az-{}", zone + 1)
    };
    let host_of = |address: &str| zone_of(address).replace("az-", "node-");
    let nodes = |addresses: &[String], kind: &str| -> Vec<Value> {
        let one = |a: &String| json!({"address": a, "kind": kind, "zone": zone_of(a), "host": host_of(a)});
        addresses.iter().map(one).collect()
    };
    let mut cart = nodes(&fleet.cart, "redis");
    cart.extend(nodes(&fleet.sentinels, "sentinel"));
    let service = |id: &str, system: &str, tier: &str, class: &str, mode: &str| {
        json!({"id": id, "system": system, "tier": tier, "class": class, "mode": mode,
               "profile": "cache", "managed": true})
    };
    let with = |mut service: Value, key: &str, value: Value| {
        service[key] = value;
        service
    };
    let solo = service("solo", "lab", "test", "single", "standalone");
    let solo = with(solo, "instances", nodes(std::slice::from_ref(&fleet.solo), "redis").into());
    let shop = service("cart", "shop", "core", "zone", "sentinel");
    let shop = with(shop, "sentinel", json!({"master_name": MASTER_NAME}));
    let shop = with(shop, "instances", cart.into());
    let catalog = service("catalog", "shop", "important", "zone", "cluster");
    let catalog = with(catalog, "instances", nodes(&fleet.catalog, "redis").into());
    let zones: Vec<Value> =
        (1..=3).map(|z| json!({"id": format!("az-{z}"), "site": "loopback"})).collect();
    let hosts: Vec<Value> = (1..=3)
        .map(|z| {
            json!({"id": format!("node-{z}"), "zone": format!("az-{z}"),
                   "address": ZONES[z - 1], "provider": "local"})
        })
        .collect();
    json!({
        "version": 1,
        "sites": [{"id": "loopback", "display": "This machine"}],
        "zones": zones,
        "hosts": hosts,
        "tenants": [{
            "id": "demo",
            "display": "Demonstration",
            "networks": ["127.0.0.0/8"],
            "systems": [
                {"id": "shop", "display": "Web shop", "owner": "demo-admin"},
                {"id": "lab", "display": "Laboratory", "env": "dev", "owner": "demo-admin"},
            ],
            "services": [solo, shop, catalog],
        }],
        "policies": policies(now),
    })
}

/// So that the demonstration need not wait a minute, and is not full of the news that servers it
/// started minutes ago were started; everything else is inherited.
fn policies(now: At) -> Value {
    json!([
        {"policy": "instance-down", "scope": "tenant:demo", "levels": {"critical": {"for": "15s"}}},
        {"policy": "restarted", "scope": "tenant:demo", "enabled": false,
         "until": now + QUIET_H * 3_600_000},
    ])
}

#[cfg(test)]
mod tests {
    use model::policy::PolicyDoc;
    use model::policy::check::flaws;

    use super::*;

    #[test]
    fn the_policies_of_the_demonstration_are_taken() {
        let now = At::from_ms(1_763_800_000_000);
        let docs: Vec<PolicyDoc> = serde_json::from_value(policies(now)).expect("policies");
        for doc in docs {
            assert_eq!(flaws(&doc, now), []);
        }
    }
}
