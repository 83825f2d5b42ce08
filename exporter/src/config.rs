//! Section `[exporter]` of the configuration.

use serde::{Deserialize, Serialize};

/// How instances are read and shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Seconds between two polls of an instance.
    pub interval_s: u32,
    /// Seconds between two accept probes of an instance.
    pub accept_interval_s: u32,
    /// How much a page shows.
    pub profile: Profile,
    /// Which durations of commands are read every minute.
    pub latency: Latency,
    /// Families redis_exporter shows only when asked to.
    pub families: Vec<Optional>,
    /// Service discovery.
    pub sd: Sd,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            interval_s: 15,
            accept_interval_s: 60,
            profile: Profile::Full,
            latency: Latency::Both,
            families: Vec::new(),
            sd: Sd::default(),
        }
    }
}

impl Config {
    /// Whether an optional family is asked for.
    pub fn shows(&self, family: Optional) -> bool {
        self.families.contains(&family)
    }
}

/// How much a `/scrape` page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Everything redis_exporter shows by default, and our own.
    #[default]
    Full,
    /// At most 150 series an instance: enough for the shipped rules and dashboards.
    Lean,
}

/// Which durations of commands are read every minute (Redis ≥ 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Latency {
    /// INFO latencystats: quantiles; costs Redis 0.1 ms.
    Stats,
    /// LATENCY HISTOGRAM; costs Redis 0.25 ms.
    Histogram,
    /// Both, as redis_exporter shows by default.
    #[default]
    Both,
    /// Neither.
    Off,
}

impl Latency {
    /// Whether quantiles are read.
    pub fn stats(self) -> bool {
        matches!(self, Latency::Stats | Latency::Both)
    }

    /// Whether histograms are read.
    pub fn histogram(self) -> bool {
        matches!(self, Latency::Histogram | Latency::Both)
    }
}

/// A family shown only when asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Optional {
    /// `redis_config_value` and `redis_config_key_value`: every parameter but passwords.
    Config,
    /// `redis_module_info` and the values of modules (search, JSON, Bloom filters).
    Modules,
    /// `redis_connected_client_*`: a series per client, of up to 128 clients.
    ClientList,
    /// `cachewarden_redis_clients_by_name`: names are free text of the clients.
    ClientNames,
    /// `redis_sentinel_peer_info`: a series per other Sentinel of each master.
    SentinelPeers,
    /// Custom items under the names redis_exporter's checks of keys and streams have
    /// (`redis_key_size`, `redis_stream_group_lag` …). Keys are labels then.
    Items,
}

/// Labels that service discovery adds for dashboards made for others.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sd {
    /// Adds `namespace` (tenant) and `pod` (instance), which Kubernetes dashboards expect.
    pub compat_labels: bool,
    /// Adds `node_name`, `service_name`, `cluster` and `environment`, which PMM expects.
    pub pmm_labels: bool,
}
