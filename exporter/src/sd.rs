//! Service discovery for Prometheus (`http_sd_configs`): one target per instance.
//!
//! Invariant: everything comes from the inventory, so no Redis can add a target or change a label;
//! roles are not labels, for they change.

use model::ServiceId;
use model::inventory::Inventory;
use model::service::Instance;
use serde_json::{Map, Value, json};

use crate::config::Sd;
use crate::shard::Shard;

/// Which instances are wanted.
pub struct SdFilter<'a> {
    /// Part of the fleet; none: all.
    pub shard: Option<Shard>,
    /// One service only.
    pub service: Option<ServiceId>,
    /// What the caller may see.
    pub visible: &'a dyn Fn(&Instance) -> bool,
}

/// The document; `listen` is our own public `host:port`, which Prometheus scrapes.
pub fn targets(inventory: &Inventory, filter: &SdFilter<'_>, config: &Sd, listen: &str) -> Vec<u8> {
    let wanted = |i: &&Instance| {
        filter.shard.is_none_or(|s| s.holds(i.id.as_str()))
            && filter.service.as_ref().is_none_or(|s| i.id.service() == *s)
            && (filter.visible)(i)
    };
    let all: Vec<Value> = inventory
        .instances
        .values()
        .filter(wanted)
        .map(|i| json!({ "targets": [listen], "labels": labels(inventory, i, config) }))
        .collect();
    serde_json::to_vec(&all).expect("plain data becomes JSON")
}

fn labels(inventory: &Inventory, instance: &Instance, config: &Sd) -> Map<String, Value> {
    let mut out = Map::new();
    let mut set = |name: &str, value: String| {
        out.insert(name.to_string(), Value::String(value));
    };
    set("__metrics_path__", "/scrape".into());
    set("__param_target", instance.id.to_string());
    let own = inventory.labels(instance);
    let get = |wanted: &str| {
        own.iter().find(|(name, _)| *name == wanted).map(|(_, v)| v.clone()).unwrap_or_default()
    };
    if config.compat_labels {
        set("namespace", get("tenant"));
        set("pod", get("instance"));
    }
    if config.pmm_labels {
        set("node_name", instance.host.as_ref().map(ToString::to_string).unwrap_or_default());
        set("service_name", get("instance"));
        set("cluster", get("service"));
        set("environment", get("env"));
    }
    for (name, value) in &own {
        set(name, value.clone());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::inventory;

    fn all(filter: &SdFilter<'_>, config: &Sd) -> Vec<Value> {
        let body = targets(&inventory(), filter, config, "cw.example:9850");
        serde_json::from_slice(&body).unwrap()
    }

    const EVERYBODY: SdFilter<'static> =
        SdFilter { shard: None, service: None, visible: &|_| true };

    #[test]
    fn every_instance_is_a_target_that_prometheus_scrapes_from_us() {
        let found = all(&EVERYBODY, &Sd::default());
        assert_eq!(found.len(), 5, "Sentinels included");
        let one = &found[0];
        assert_eq!(one["targets"], json!(["cw.example:9850"]));
        assert_eq!(one["labels"]["__metrics_path__"], "/scrape");
        assert_eq!(one["labels"]["__param_target"], one["labels"]["instance"]);
        assert_eq!(one["labels"]["tenant"], "pay");
        assert!(one["labels"].get("role").is_none(), "a role changes");
    }

    #[test]
    fn filters_narrow_and_parts_add_up() {
        let service = Some(ServiceId::parse("pay.book").unwrap());
        assert_eq!(all(&SdFilter { service, ..EVERYBODY }, &Sd::default()).len(), 2);
        let hidden = SdFilter { visible: &|i| i.zone.as_str() == "az-2", ..EVERYBODY };
        assert_eq!(all(&hidden, &Sd::default()).len(), 2);
        let parts = (0..3).map(|i| SdFilter { shard: Shard::new(i, 3), ..EVERYBODY });
        assert_eq!(parts.map(|f| all(&f, &Sd::default()).len()).sum::<usize>(), 5);
    }

    #[test]
    fn labels_for_other_dashboards_come_only_when_asked_for() {
        let plain = &all(&EVERYBODY, &Sd::default())[0];
        assert!(plain["labels"].get("namespace").is_none());
        let config = Sd { compat_labels: true, pmm_labels: true };
        let more = &all(&EVERYBODY, &config)[0];
        assert_eq!(more["labels"]["namespace"], "pay");
        assert_eq!(more["labels"]["environment"], "uat");
        assert_eq!(more["labels"]["pod"], more["labels"]["instance"]);
    }
}
