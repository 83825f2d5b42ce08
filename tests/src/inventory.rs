//! Inventory documents for the fleets tests make: tenant `demo`, zones `az-1` to `az-3`, a host per
//! zone, hosts under the provider `local`.

use serde_json::{Value, json};

use crate::fleet::ZONES;

/// A service to be listed.
pub struct Listed {
    /// Slug: `cart` is `demo.cart`.
    pub id: String,
    /// `standalone`, `sentinel` or `cluster`.
    pub mode: &'static str,
    /// Addresses of its data nodes.
    pub data: Vec<String>,
    /// Addresses of its Sentinels, who know the master by the service's slug.
    pub sentinels: Vec<String>,
    /// Password of its data nodes.
    pub password: Option<String>,
}

impl Listed {
    /// A service without Sentinels and password.
    pub fn new(id: &str, mode: &'static str, data: Vec<String>) -> Listed {
        Listed { id: id.into(), mode, data, sentinels: Vec::new(), password: None }
    }

    fn json(&self) -> Value {
        let mut instances = listed(&self.data, "redis");
        instances.extend(listed(&self.sentinels, "sentinel"));
        let mut service = json!({
            "id": self.id, "system": "shop", "tier": "important", "class": "zone",
            "mode": self.mode, "profile": "cache", "managed": true, "instances": instances,
        });
        if !self.sentinels.is_empty() {
            service["sentinel"] = json!({"master_name": self.id});
        }
        if let Some(password) = &self.password {
            service["auth"] = json!({"password": password});
        }
        service
    }
}

fn listed(addresses: &[String], kind: &str) -> Vec<Value> {
    let one = |address: &String| {
        let zone = 1 + zone_of(address);
        json!({"address": address, "kind": kind, "zone": format!("az-{zone}"),
               "host": format!("node-{zone}")})
    };
    addresses.iter().map(one).collect()
}

/// Index of the zone an address lies in.
fn zone_of(address: &str) -> usize {
    let zone = ZONES.iter().position(|z| address.starts_with(&format!("{z}:")));
    zone.unwrap_or_else(|| panic!("{address} lies in no zone"))
}

/// The document that lists the services; `down_for` is how long a node must be down until the alert
/// `RedisDown` fires.
pub fn document(services: &[Listed], down_for: &str) -> Value {
    let zones: Vec<Value> =
        (1..=3).map(|z| json!({"id": format!("az-{z}"), "site": "loopback"})).collect();
    let host = |z: usize| {
        json!({"id": format!("node-{z}"), "zone": format!("az-{z}"), "address": ZONES[z - 1],
               "provider": "local"})
    };
    json!({
        "version": 1,
        "sites": [{"id": "loopback"}],
        "zones": zones,
        "hosts": (1..=3).map(host).collect::<Vec<_>>(),
        "tenants": [{
            "id": "demo",
            "networks": ["127.0.0.0/8"],
            "systems": [{"id": "shop", "owner": "test-admin"}],
            "services": services.iter().map(Listed::json).collect::<Vec<_>>(),
        }],
        "policies": [{
            "policy": "instance-down", "scope": "tenant:demo", "keep_firing_for": "0s",
            "levels": {"critical": {"for": down_for}},
        }],
    })
}
