//! Every metric of `/scrape` and `/metrics`, stated once.
//!
//! Invariant: the encoder writes HELP and TYPE from here and from nowhere else, and
//! `docs/reference/metrics.md` is generated from here, so none can say something different. Scalar
//! facts come from `model::field`; labelled families stand in the table below. Names, types and
//! labels of `redis_*` are redis_exporter's, slips included.

pub(crate) mod tier;

use std::borrow::Cow;
use std::sync::LazyLock;

use model::field::{self, Field};

use crate::modules;

pub use tier::Tier;

/// Prometheus type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, or starts anew.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Count and sum, and quantiles.
    Summary,
    /// Cumulative buckets, count and sum.
    Histogram,
}

impl Kind {
    /// As written after `# TYPE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Summary => "summary",
            Kind::Histogram => "histogram",
        }
    }
}

/// Where a metric is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// `/scrape?target=`: one instance, labels attached by discovery.
    Scrape,
    /// `/metrics`: the fleet, all labels on the page.
    Metrics,
}

/// One metric.
#[derive(Debug, Clone)]
pub struct Metric {
    /// Prometheus name; `<…>` stands for a part taken from the reply.
    pub name: &'static str,
    /// Type.
    pub kind: Kind,
    /// One sentence.
    pub help: Cow<'static, str>,
    /// Labels on the page, in the order written (`/metrics`: on top of the object's own).
    pub labels: &'static [&'static str],
    /// Where the value comes from.
    pub source: Cow<'static, str>,
    /// Which page.
    pub page: Page,
    /// Part of the lean profile.
    pub lean: bool,
}

impl Metric {
    /// Base unit, by the name's suffix; empty when it has none.
    pub fn unit(&self) -> &'static str {
        let stem = self.name.strip_suffix("_total").unwrap_or(self.name);
        ["bytes", "seconds", "ratio"]
            .into_iter()
            .find(|unit| stem.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')))
            .unwrap_or("")
    }

    /// How often its source is read.
    pub fn tier(&self) -> Tier {
        tier::of(&self.source, self.page)
    }
}

const MASTER: &[&str] = &["master_host", "master_port"];
const SLAVE: &[&str] = &["slave_ip", "slave_port", "slave_state"];
const WATCHED: &[&str] = &["master_address", "master_name"];
const OBJECT: &[&str] = &["level", "id"];

macro_rules! families {
    ($($v:ident, $name:literal, $kind:ident, $page:ident, $lean:literal, $labels:expr, $source:literal, $help:literal;)*) => {
        /// A family that is not one scalar fact of `model::field`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each is documented by its row")]
        pub enum Family { $($v,)* }

        impl Family {
            /// All families, in the order of the enum.
            pub const ALL: &'static [Family] = &[$(Family::$v,)*];

            /// Its row of the table.
            pub fn metric(self) -> &'static Metric {
                static TABLE: LazyLock<Vec<Metric>> = LazyLock::new(|| vec![$(Metric {
                    name: $name, kind: Kind::$kind, help: Cow::Borrowed($help), labels: $labels,
                    source: Cow::Borrowed($source), page: Page::$page, lean: $lean,
                },)*]);
                &TABLE[self as usize]
            }
        }
    };
}

families! {
    Up, "redis_up", Gauge, Scrape, true, &[], "poll", "Whether INFO was read at the latest poll.";
    LastScrapeError, "redis_exporter_last_scrape_error", Gauge, Scrape, true, &["err"], "poll", "Whether the latest poll failed, with the message.";
    LastScrapeDuration, "redis_exporter_last_scrape_duration_seconds", Gauge, Scrape, true, &[], "poll", "Duration of the latest poll.";
    LastScrapeConnectTime, "redis_exporter_last_scrape_connect_time_seconds", Gauge, Scrape, true, &[], "poll", "TCP, TLS and AUTH of the latest connect.";
    LastScrapePingTime, "redis_exporter_last_scrape_ping_time_seconds", Gauge, Scrape, true, &[], "PING", "Round trip of the PING that heads the poll.";
    ScrapeDuration, "redis_exporter_scrape_duration_seconds", Summary, Scrape, false, &[], "poll", "Duration of the latest poll, as a summary.";
    ScrapesTotal, "redis_exporter_scrapes_total", Counter, Scrape, false, &[], "constant", "Always 1, as on redis_exporter's page of one target.";
    BuildInfo, "redis_exporter_build_info", Gauge, Scrape, false, &["version", "commit_sha", "build_date", "golang_version"], "constant", "Version of what made this page.";
    TargetScrapeRequestErrors, "redis_target_scrape_request_errors_total", Counter, Scrape, false, &[], "constant", "Always 0: a bad request is answered with an error instead.";
    LastKeyGroups, "redis_last_key_groups_scrape_duration_milliseconds", Gauge, Scrape, false, &[], "constant", "Always 0: key groups are custom items here.";
    ReadingAge, "cachewarden_reading_age_seconds", Gauge, Scrape, true, &[], "poll", "Age of the values on this page.";
    StartTime, "redis_start_time_seconds", Gauge, Scrape, true, &[], "time of the poll - INFO uptime_in_seconds", "Unix time at which the server started.";
    InstanceInfo, "redis_instance_info", Gauge, Scrape, true, &["role", "redis_version", "redis_build_id", "redis_mode", "os", "maxmemory_policy", "tcp_port", "run_id", "process_id", "master_replid", "valkey_version", "valkey_release_stage"], "INFO server, memory, replication; role from ROLE", "Facts of the server as labels.";
    SlaveInfo, "redis_slave_info", Gauge, Scrape, true, &["master_host", "master_port", "read_only"], "INFO replication", "Which master a replica follows.";
    ConnectedSlaveOffset, "redis_connected_slave_offset_bytes", Gauge, Scrape, true, SLAVE, "INFO replication slaveN offset", "Offset a replica acknowledged.";
    ConnectedSlaveLag, "redis_connected_slave_lag_seconds", Gauge, Scrape, true, SLAVE, "INFO replication slaveN lag", "Seconds since a replica's last acknowledgement.";
    DbKeys, "redis_db_keys", Gauge, Scrape, true, &["db"], "INFO keyspace keys", "Keys of a database; 0 for empty ones.";
    DbKeysExpiring, "redis_db_keys_expiring", Gauge, Scrape, true, &["db"], "INFO keyspace expires", "Keys with a time to live; 0 for empty databases.";
    DbAvgTtl, "redis_db_avg_ttl_seconds", Gauge, Scrape, true, &["db"], "INFO keyspace avg_ttl / 1e3", "Mean time to live of a database's keys.";
    CommandsTotal, "redis_commands_total", Counter, Scrape, true, &["cmd"], "INFO commandstats calls", "Calls of a command.";
    CommandsDuration, "redis_commands_duration_seconds_total", Counter, Scrape, true, &["cmd"], "INFO commandstats usec / 1e6", "Time spent in a command.";
    CommandsRejected, "redis_commands_rejected_calls_total", Counter, Scrape, false, &["cmd"], "INFO commandstats rejected_calls", "Calls refused before execution.";
    CommandsFailed, "redis_commands_failed_calls_total", Counter, Scrape, false, &["cmd"], "INFO commandstats failed_calls", "Calls that answered an error.";
    ErrorsTotal, "redis_errors_total", Counter, Scrape, true, &["err"], "INFO errorstats", "Error replies by name.";
    SlowlogLength, "redis_slowlog_length", Gauge, Scrape, true, &[], "SLOWLOG LEN", "Entries the slow log holds.";
    SlowlogLastId, "redis_slowlog_last_id", Gauge, Scrape, true, &[], "SLOWLOG GET 1", "Id of the newest slow-log entry; ids count slow commands.";
    LastSlowExecution, "redis_last_slow_execution_duration_seconds", Gauge, Scrape, true, &[], "SLOWLOG GET 1", "Duration of the newest slow-log entry.";
    LatencySpikeLast, "redis_latency_spike_last", Gauge, Scrape, true, &["event_name"], "LATENCY LATEST", "Unix time of the latest spike of an event.";
    LatencySpikeDuration, "redis_latency_spike_duration_seconds", Gauge, Scrape, true, &["event_name"], "LATENCY LATEST", "Length of the latest spike of an event.";
    IoThreadActive, "redis_active_time_io_thread_seconds_total", Counter, Scrape, false, &["thread"], "INFO cpu used_active_time_io_thread_N", "Time an IO thread was busy (Valkey).";
    ClusterMessages, "redis_cluster_stats_messages_<type>_<sent or received>", Gauge, Scrape, false, &[], "CLUSTER INFO cluster_stats_messages_*", "Cluster bus messages by type.";
    SentinelStatus, "redis_sentinel_master_status", Gauge, Scrape, true, &["master_address", "master_name", "master_status"], "SENTINEL MASTERS flags", "1 while the Sentinel finds the master well.";
    SentinelSlaves, "redis_sentinel_master_slaves", Gauge, Scrape, true, WATCHED, "SENTINEL MASTERS num-slaves", "Replicas the Sentinel knows.";
    SentinelSentinels, "redis_sentinel_master_sentinels", Gauge, Scrape, true, WATCHED, "SENTINEL MASTERS num-other-sentinels + 1", "Sentinels that watch the master.";
    SentinelOkSlaves, "redis_sentinel_master_ok_slaves", Gauge, Scrape, true, WATCHED, "SENTINEL SLAVES", "Replicas neither s_down nor o_down.";
    SentinelOkSentinels, "redis_sentinel_master_ok_sentinels", Gauge, Scrape, true, WATCHED, "SENTINEL SENTINELS", "Sentinels neither s_down nor o_down, plus this one.";
    SentinelCkquorum, "redis_sentinel_master_ckquorum_status", Gauge, Scrape, true, &["master_name", "message"], "SENTINEL CKQUORUM", "1 while a failover could be authorised.";
    SentinelSettingQuorum, "redis_sentinel_master_setting_ckquorum", Gauge, Scrape, true, WATCHED, "SENTINEL MASTERS quorum", "Votes needed to find the master down.";
    SentinelSettingDownAfter, "redis_sentinel_master_setting_down_after_milliseconds", Gauge, Scrape, true, WATCHED, "SENTINEL MASTERS", "Silence after which the Sentinel finds the master down.";
    SentinelSettingFailoverTimeout, "redis_sentinel_master_setting_failover_timeout", Gauge, Scrape, true, WATCHED, "SENTINEL MASTERS", "Milliseconds a failover may take.";
    SentinelSettingParallelSyncs, "redis_sentinel_master_setting_parallel_syncs", Gauge, Scrape, true, WATCHED, "SENTINEL MASTERS", "Replicas that synchronise at once after a failover.";
    SentinelConfigEpoch, "redis_sentinel_master_config_epoch", Gauge, Scrape, true, WATCHED, "SENTINEL MASTERS config-epoch", "Epoch of the master's configuration; grows with each failover.";
    SentinelLastOkPing, "redis_sentinel_master_last_ok_ping_reply_seconds", Gauge, Scrape, true, WATCHED, "SENTINEL MASTERS last-ok-ping-reply / 1e3", "Time since the master last answered the Sentinel.";
    SentinelPeerInfo, "redis_sentinel_peer_info", Gauge, Scrape, false, &["master_name", "master_address", "name", "ip", "port", "runid", "flags"], "SENTINEL SENTINELS", "Another Sentinel of a master, as this one knows it.";
    LatencyPercentiles, "redis_latency_percentiles_usec", Summary, Scrape, false, &["cmd"], "INFO latencystats; sum and count INFO commandstats", "Quantiles of a command's duration, in µs.";
    CommandLatencies, "redis_commands_latencies_usec", Histogram, Scrape, false, &["cmd"], "LATENCY HISTOGRAM; sum INFO commandstats", "Durations of a command, in µs.";
    ConfigMaxclients, "redis_config_maxclients", Gauge, Scrape, false, &[], "CONFIG GET maxclients", "Connections the server allows.";
    ConfigMaxmemory, "redis_config_maxmemory", Gauge, Scrape, false, &[], "CONFIG GET maxmemory", "Limit of the memory, bytes; 0: none.";
    ConfigReplBacklog, "redis_config_repl_backlog_size", Gauge, Scrape, false, &[], "CONFIG GET repl-backlog-size", "Size of the replication backlog, bytes.";
    ConfigIoThreads, "redis_config_io_threads", Gauge, Scrape, false, &[], "CONFIG GET io-threads", "Threads that read and write for clients.";
    ConfigOutputLimit, "redis_config_client_output_buffer_limit_bytes", Gauge, Scrape, false, &["class", "limit"], "CONFIG GET client-output-buffer-limit", "Limits of a client's output buffer, by class.";
    ConfigOutputSeconds, "redis_config_client_output_buffer_limit_overcome_seconds", Gauge, Scrape, false, &["class", "limit"], "CONFIG GET client-output-buffer-limit", "How long the soft limit may be exceeded.";
    CommandlogSlow, "redis_commandlog_slow_length", Gauge, Scrape, false, &[], "COMMANDLOG LEN slow", "Entries the log of slow commands holds (Valkey ≥ 8.1).";
    CommandlogRequests, "redis_commandlog_large_request_length", Gauge, Scrape, false, &[], "COMMANDLOG LEN large-request", "Entries the log of large requests holds (Valkey ≥ 8.1).";
    CommandlogReplies, "redis_commandlog_large_reply_length", Gauge, Scrape, false, &[], "COMMANDLOG LEN large-reply", "Entries the log of large replies holds (Valkey ≥ 8.1).";
    CommandlogSlowerThan, "redis_commandlog_execution_slower_than", Gauge, Scrape, false, &[], "CONFIG GET commandlog-execution-slower-than", "From how many µs on a command is logged.";
    CommandlogRequestLargerThan, "redis_commandlog_request_larger_than", Gauge, Scrape, false, &[], "CONFIG GET commandlog-request-larger-than", "From how many bytes on a request is logged.";
    CommandlogReplyLargerThan, "redis_commandlog_reply_larger_than", Gauge, Scrape, false, &[], "CONFIG GET commandlog-reply-larger-than", "From how many bytes on a reply is logged.";
    CommandlogSlowMaxLen, "redis_commandlog_slow_execution_max_len", Gauge, Scrape, false, &[], "CONFIG GET commandlog-slow-execution-max-len", "Entries the log of slow commands may hold.";
    CommandlogRequestMaxLen, "redis_commandlog_large_request_max_len", Gauge, Scrape, false, &[], "CONFIG GET commandlog-large-request-max-len", "Entries the log of large requests may hold.";
    CommandlogReplyMaxLen, "redis_commandlog_large_reply_max_len", Gauge, Scrape, false, &[], "CONFIG GET commandlog-large-reply-max-len", "Entries the log of large replies may hold.";
    DbKeysCached, "redis_db_keys_cached", Gauge, Scrape, false, &["db"], "INFO keyspace cached_keys or subexpiry", "Keys of a database held in memory (KeyDB); where Redis ≥ 7.4 prints subexpiry, that, as redis_exporter does.";
    DbSubexpiry, "cachewarden_redis_db_subexpiry_keys", Gauge, Scrape, false, &["db"], "INFO keyspace subexpiry", "Hashes of a database with fields that have a time to live (Redis ≥ 7.4).";
    ConfigValue, "redis_config_value", Gauge, Scrape, false, &["key"], "CONFIG GET *", "A parameter that is a number.";
    ConfigKeyValue, "redis_config_key_value", Gauge, Scrape, false, &["key", "value"], "CONFIG GET *", "A parameter as a label; passwords are left out.";
    SentinelConfigValue, "redis_sentinel_config_value", Gauge, Scrape, false, &["key"], "SENTINEL CONFIG GET *", "A Sentinel's parameter that is a number.";
    SentinelConfigKeyValue, "redis_sentinel_config_key_value", Gauge, Scrape, false, &["key", "value"], "SENTINEL CONFIG GET *", "A Sentinel's parameter as a label; passwords are left out.";
    ModuleInfo, "redis_module_info", Gauge, Scrape, false, &["name", "ver", "api", "filters", "usedby", "using"], "INFO modules", "A loaded module.";
    KeySize, "redis_key_size", Gauge, Scrape, false, &["db", "key"], "custom items", "Length of a key's value, by an item that asks LLEN, SCARD, ZCARD, HLEN, XLEN or STRLEN.";
    KeyValue, "redis_key_value", Gauge, Scrape, false, &["db", "key"], "custom items", "Number a key holds, by an item that asks GET.";
    KeyMemory, "redis_key_memory_usage_bytes", Gauge, Scrape, false, &["db", "key"], "custom items", "Memory of a key, by an item that asks MEMORY USAGE.";
    KeysCount, "redis_keys_count", Gauge, Scrape, false, &["db", "key"], "custom items", "Keys that match a pattern, by an item that counts them.";
    StreamLength, "redis_stream_length", Gauge, Scrape, false, &["db", "stream"], "custom items", "Entries of a stream, by an item that asks XINFO STREAM.";
    StreamRadixKeys, "redis_stream_radix_tree_keys", Gauge, Scrape, false, &["db", "stream"], "custom items", "Keys of the radix tree of a stream, by an item that asks XINFO STREAM.";
    StreamRadixNodes, "redis_stream_radix_tree_nodes", Gauge, Scrape, false, &["db", "stream"], "custom items", "Nodes of the radix tree of a stream, by an item that asks XINFO STREAM.";
    StreamGroups, "redis_stream_groups", Gauge, Scrape, false, &["db", "stream"], "custom items", "Groups of a stream, by an item that asks XINFO STREAM.";
    StreamAdded, "redis_stream_entries_added_total", Counter, Scrape, false, &["db", "stream"], "custom items", "Entries ever added to a stream, by an item that asks XINFO STREAM.";
    GroupConsumers, "redis_stream_group_consumers", Gauge, Scrape, false, &["db", "stream", "group"], "custom items", "Consumers of a group, by an item that asks XINFO GROUPS.";
    GroupPending, "redis_stream_group_messages_pending", Gauge, Scrape, false, &["db", "stream", "group"], "custom items", "Entries a group has not acknowledged, by an item that asks XINFO GROUPS.";
    GroupLag, "redis_stream_group_lag", Gauge, Scrape, false, &["db", "stream", "group"], "custom items", "Entries a group has not read, by an item that asks XINFO GROUPS.";
    GroupRead, "redis_stream_group_entries_read", Gauge, Scrape, false, &["db", "stream", "group"], "custom items", "Entries a group has read, by an item that asks XINFO GROUPS.";
    ConsumerPending, "redis_stream_group_consumer_messages_pending", Gauge, Scrape, false, &["db", "stream", "group", "consumer"], "custom items", "Entries a consumer has not acknowledged, by an item that asks XINFO CONSUMERS.";
    ConsumerIdle, "redis_stream_group_consumer_idle_seconds", Gauge, Scrape, false, &["db", "stream", "group", "consumer"], "custom items", "Time since a consumer's latest attempt, by an item that asks XINFO CONSUMERS.";
    ClientInfo, "redis_connected_client_info", Gauge, Scrape, false, &["id", "name", "flags", "db", "host", "user", "resp"], "CLIENT LIST", "A client.";
    ClientCreated, "redis_connected_client_created_at_timestamp", Gauge, Scrape, false, &["id", "name"], "CLIENT LIST now - age", "Unix time at which a client connected.";
    ClientIdleSince, "redis_connected_client_idle_since_timestamp", Gauge, Scrape, false, &["id", "name"], "CLIENT LIST now - idle", "Unix time of a client's latest command.";
    ClientSub, "redis_connected_client_channel_subscriptions_count", Gauge, Scrape, false, &["id", "name"], "CLIENT LIST sub", "Channels a client is subscribed to.";
    ClientPsub, "redis_connected_client_pattern_matching_subscriptions_count", Gauge, Scrape, false, &["id", "name"], "CLIENT LIST psub", "Patterns a client is subscribed to.";
    ClientSsub, "redis_connected_client_shard_channel_subscriptions_count", Gauge, Scrape, false, &["id", "name"], "CLIENT LIST ssub", "Shard channels a client is subscribed to.";
    ClientWatch, "redis_connected_client_shard_channel_watched_keys", Gauge, Scrape, false, &["id", "name"], "CLIENT LIST watch", "Keys a client watches.";
    ClientQbuf, "redis_connected_client_query_buffer_length_bytes", Gauge, Scrape, false, &["id", "name"], "CLIENT LIST qbuf", "Used part of a client's query buffer.";
    ClientQbufFree, "redis_connected_client_query_buffer_free_space_bytes", Gauge, Scrape, false, &["id", "name"], "CLIENT LIST qbuf-free", "Free part of a client's query buffer.";
    ClientObl, "redis_connected_client_output_buffer_length_bytes", Gauge, Scrape, false, &["id", "name"], "CLIENT LIST obl", "Used part of a client's fixed output buffer.";
    ClientOll, "redis_connected_client_output_list_length", Gauge, Scrape, false, &["id", "name"], "CLIENT LIST oll", "Replies waiting beyond a client's fixed output buffer.";
    ClientOmem, "redis_connected_client_output_buffer_memory_usage_bytes", Gauge, Scrape, false, &["id", "name"], "CLIENT LIST omem", "Memory of the replies that wait for a client.";
    ClientTotMem, "redis_connected_client_total_memory_consumed_bytes", Gauge, Scrape, false, &["id", "name"], "CLIENT LIST tot-mem", "Memory of a client.";
    ClientsByName, "cachewarden_redis_clients_by_name", Gauge, Scrape, false, &["name"], "CLIENT LIST", "Clients by the name they gave themselves; the 50 largest groups.";
    ClientsByUser, "cachewarden_redis_clients_by_user", Gauge, Scrape, false, &["user"], "CLIENT LIST", "Clients by ACL user; the 50 largest groups.";
    ClientsByAddress, "cachewarden_redis_clients_by_address", Gauge, Scrape, false, &["address"], "CLIENT LIST", "Clients by address; the 50 largest groups.";
    ClientsByKind, "cachewarden_redis_clients", Gauge, Scrape, false, &["kind"], "CLIENT LIST flags", "Clients by kind: normal, replica, master, pubsub, monitor.";
    ClientsAgeMax, "cachewarden_redis_clients_age_max_seconds", Gauge, Scrape, false, &[], "CLIENT LIST age", "Age of the oldest connection.";
    ClientsIdleMax, "cachewarden_redis_clients_idle_max_seconds", Gauge, Scrape, false, &[], "CLIENT LIST idle", "Longest time a client has sent nothing.";
    ClientsIdle1h, "cachewarden_redis_clients_idle_over_1h", Gauge, Scrape, false, &[], "CLIENT LIST idle", "Clients that have sent nothing for an hour.";
    ClientsQueryMax, "cachewarden_redis_clients_query_buffer_max_bytes", Gauge, Scrape, false, &[], "CLIENT LIST qbuf + qbuf-free", "Largest query buffer of a client.";
    ClientsOutputMax, "cachewarden_redis_clients_output_buffer_max_bytes", Gauge, Scrape, false, &[], "CLIENT LIST obl + omem", "Largest output buffer of a client.";
    ClientsMemory, "cachewarden_redis_clients_memory_bytes", Gauge, Scrape, false, &[], "CLIENT LIST tot-mem", "Memory of all clients.";
    ClientsMemoryMax, "cachewarden_redis_clients_memory_max_bytes", Gauge, Scrape, false, &[], "CLIENT LIST tot-mem", "Memory of the largest client.";
    AclUsers, "cachewarden_redis_acl_users", Gauge, Scrape, false, &["kind"], "ACL LIST", "Accounts: all, enabled, without_password, unlimited.";
    AclDenials, "cachewarden_redis_acl_denials", Gauge, Scrape, false, &["reason"], "ACL LOG", "Refusals among the entries the log holds.";
    ModuleVersion, "cachewarden_redis_module_version", Gauge, Scrape, false, &["module"], "MODULE LIST", "Version of a loaded module, as it counts.";
    ClusterShards, "cachewarden_redis_cluster_shards", Gauge, Scrape, false, &[], "CLUSTER SHARDS", "Shards this node knows.";
    ClusterNodesByHealth, "cachewarden_redis_cluster_nodes", Gauge, Scrape, false, &["health"], "CLUSTER SHARDS health", "Nodes by health: online, loading, failed.";
    SlotKeys, "cachewarden_redis_slot_keys", Gauge, Scrape, false, &["slot"], "CLUSTER SLOT-STATS key-count", "Keys of a slot; the 16 largest (Valkey ≥ 8).";
    SlotCpu, "cachewarden_redis_slot_cpu_seconds_total", Counter, Scrape, false, &["slot"], "CLUSTER SLOT-STATS cpu-usec", "CPU spent for a slot, when the server counts it.";
    SlotReceived, "cachewarden_redis_slot_received_bytes_total", Counter, Scrape, false, &["slot"], "CLUSTER SLOT-STATS network-bytes-in", "Received for a slot, when the server counts it.";
    SlotSent, "cachewarden_redis_slot_sent_bytes_total", Counter, Scrape, false, &["slot"], "CLUSTER SLOT-STATS network-bytes-out", "Sent for a slot, when the server counts it.";
    SlowCommands, "cachewarden_redis_slow_commands_total", Counter, Scrape, false, &["cmd"], "SLOWLOG GET", "Slow commands by shape since watching began.";
    SlowDuration, "cachewarden_redis_slow_commands_duration_seconds_total", Counter, Scrape, false, &["cmd"], "SLOWLOG GET", "Time spent in slow commands by shape since watching began.";
    SlowMax, "cachewarden_redis_slow_commands_duration_max_seconds", Gauge, Scrape, false, &["cmd"], "SLOWLOG GET", "Longest slow command of a shape since watching began.";
    HitRatio, "cachewarden_redis_keyspace_hit_ratio", Gauge, Scrape, false, &[], "INFO stats keyspace_hits, keyspace_misses", "Share of lookups that found their key, since the server's start.";
    MemoryFill, "cachewarden_redis_memory_fill_ratio", Gauge, Scrape, false, &[], "INFO memory used_memory / maxmemory", "Used share of the memory limit; absent without a limit.";
    ClientsFill, "cachewarden_redis_clients_fill_ratio", Gauge, Scrape, false, &[], "INFO clients connected_clients / maxclients", "Used share of the connections allowed.";
    BacklogFill, "cachewarden_redis_repl_backlog_fill_ratio", Gauge, Scrape, false, &[], "INFO replication repl_backlog_histlen / repl_backlog_size", "Filled share of the replication backlog.";
    SlowlogFill, "cachewarden_redis_slowlog_fill_ratio", Gauge, Scrape, false, &[], "SLOWLOG LEN / CONFIG GET slowlog-max-len", "Filled share of the slow log; full, it forgets.";
    ConnectedReplicaLag, "cachewarden_redis_connected_replica_lag_bytes", Gauge, Scrape, false, &["slave_ip", "slave_port"], "INFO replication master_repl_offset - slaveN offset", "Bytes a replica has not acknowledged to this master.";
    TimeSkew, "cachewarden_redis_time_skew_seconds", Gauge, Scrape, false, &[], "INFO server server_time_usec - our clock", "How far the server's clock is ahead of ours.";
    PingMin, "cachewarden_redis_ping_min_seconds", Gauge, Scrape, false, &[], "PING", "Shortest round trip of the polls of five minutes.";
    PingAvg, "cachewarden_redis_ping_avg_seconds", Gauge, Scrape, false, &[], "PING", "Mean round trip of the polls of five minutes.";
    PingMax, "cachewarden_redis_ping_max_seconds", Gauge, Scrape, false, &[], "PING", "Longest round trip of the polls of five minutes.";
    FailoverState, "cachewarden_redis_master_failover_state", Gauge, Scrape, false, &["state"], "INFO replication master_failover_state", "State of a FAILOVER: no-failover, waiting-for-sync, failover-in-progress.";
    DetailAge, "cachewarden_detail_age_seconds", Gauge, Scrape, false, &["part"], "slower polls", "Age of the values that slower polls read.";
    CommandMissing, "cachewarden_command_missing", Gauge, Scrape, false, &["command", "reason"], "replies", "1 while a command is refused: what it would tell is unknown.";

    FleetInfo, "cachewarden_instance_info", Gauge, Metrics, true, &["kind", "tier", "env", "class", "engine"], "inventory, INFO", "Facts of an instance as labels.";
    Expected, "cachewarden_instance_expected", Gauge, Metrics, true, &[], "inventory", "1 while the instance is in the inventory.";
    Removed, "cachewarden_instance_removed", Gauge, Metrics, true, &[], "inventory", "1 for an hour and more after the instance left the inventory.";
    Maintenance, "cachewarden_instance_maintenance", Gauge, Metrics, true, &[], "maintenance windows", "1 while a maintenance window covers the instance.";
    State, "cachewarden_instance_state", Gauge, Metrics, true, &["state"], "verdict", "1 for the present verdict: up, down or unknown.";
    ServiceExpected, "cachewarden_service_expected", Gauge, Metrics, true, &[], "inventory", "1 while the service is in the inventory.";
    MastersExpected, "cachewarden_masters_expected", Gauge, Metrics, true, &[], "inventory", "Masters the service should have.";
    ReplicasExpected, "cachewarden_replicas_expected", Gauge, Metrics, true, &[], "inventory, ROLE", "Replicas wanted, on the present master.";
    ZoneShare, "cachewarden_service_zone_share", Gauge, Metrics, true, &["zone"], "inventory", "Share of the service's nodes in the zone, for zone classes.";
    ScrapeError, "cachewarden_scrape_error", Gauge, Metrics, true, &["reason"], "poll", "1 while polls fail, with the reason.";
    IntervalEffective, "cachewarden_scrape_interval_effective_seconds", Gauge, Metrics, true, &[], "scheduler", "Interval in force between polls.";
    AcceptUp, "cachewarden_accept_up", Gauge, Metrics, true, &[], "accept probe", "Whether a new client could connect, sign in and PING at the latest accept probe.";
    AcceptDuration, "cachewarden_accept_duration_seconds", Gauge, Metrics, true, &[], "accept probe", "Connect, TLS, AUTH and PING of the latest accept probe together.";
    InfoConflict, "cachewarden_info_conflict", Gauge, Metrics, true, &[], "INFO, CLUSTER NODES", "1 while replies contradict themselves: planted lines.";
    SeriesDropped, "cachewarden_series_dropped_total", Counter, Metrics, true, &["reason"], "encoder", "Series left out of pages by a limit.";
    CertificateExpires, "cachewarden_certificate_expires_timestamp_seconds", Gauge, Metrics, true, &["use"], "TLS", "When a certificate ends; use server: the one the instance showed last, client: ours for the servers of a service, listener: that of our own port.";
    DiscoveryRefused, "cachewarden_discovery_refused_total", Counter, Metrics, true, &["reason"], "topology", "Nodes named by replies that were not dialled.";
    SlowlogLost, "cachewarden_slowlog_lost_total", Counter, Metrics, true, &[], "slow log", "Slow-log entries gone before they were read.";
    ReplicaLag, "cachewarden_replica_lag_bytes", Gauge, Metrics, true, &[], "ROLE of replica and master", "Bytes a replica is behind its master; both polled within one interval.";
    HealthScore, "cachewarden_health_score", Gauge, Metrics, true, OBJECT, "scorer", "Health score, 0 to 100; absent while it is unknown.";
    HealthGrade, "cachewarden_health_grade", Gauge, Metrics, true, OBJECT, "scorer", "Grade: A 5, B 4, C 3, D 2, E 1, unknown 0.";
    HealthConfidence, "cachewarden_health_confidence", Gauge, Metrics, true, OBJECT, "scorer", "Share of the evidence that is known, 0 to 1.";
    HealthCoverage, "cachewarden_health_coverage", Gauge, Metrics, true, OBJECT, "scorer", "Share of the children's weight that is known, 0 to 1.";
    HealthLoss, "cachewarden_health_loss", Gauge, Metrics, true, &["level", "id", "dimension", "signal"], "scorer", "Points lost; empty signal: the whole dimension.";
    HealthGate, "cachewarden_health_gate", Gauge, Metrics, true, &["level", "id", "gate"], "scorer", "Highest score while the gate holds; absent otherwise.";
    HealthUnknown, "cachewarden_health_unknown", Gauge, Metrics, true, &["level", "id", "signal", "reason"], "scorer", "1 while a signal cannot be read.";
    CapacityDays, "cachewarden_capacity_days_to_full", Gauge, Metrics, true, &["shard", "resource", "bound"], "scorer", "Days until a limit is met: bound low, mid and high of the 80 % interval; +Inf: no end in sight.";
    SloSeconds, "cachewarden_slo_seconds_total", Counter, Metrics, true, &["state", "planned"], "scorer", "Seconds of the service, weighted by slots: state good, bad or unknown; planned: while an operation ran.";
    SloTarget, "cachewarden_slo_target_ratio", Gauge, Metrics, true, &[], "policy", "Share of good seconds wanted; absent without a target.";
    SloBurn, "cachewarden_slo_burn_rate", Gauge, Metrics, true, &["window"], "scorer", "Bad seconds outside planned work per second known, in parts of what the target allows.";
    SloUnknown, "cachewarden_slo_unknown_ratio", Gauge, Metrics, true, &["window"], "scorer", "Share of the window nobody can tell about.";
    SloBudget, "cachewarden_slo_budget_remaining_ratio", Gauge, Metrics, true, &["bound"], "scorer", "Part of the 30-day error budget that is left: bound low counts unknown as bad, high as good.";
    ItemValue, "cachewarden_item_value", Gauge, Metrics, true, &["item", "<defined>"], "custom items", "Value of a custom item, in the unit of its definition; absent while it is not known.";
    ItemError, "cachewarden_item_error", Gauge, Metrics, true, &["item", "reason"], "custom items", "1 while a custom item has no value, or not all of them, with the reason.";
    AlertState, "cachewarden_alert_state", Gauge, Metrics, true, &["alertname", "policy", "level", "state"], "alerter", "1 per alert that is not inactive.";
    PolicyThreshold, "cachewarden_policy_threshold", Gauge, Metrics, true, &["policy", "level"], "alerter", "Threshold in force: for an instance that deviates, else (no instance) for all.";
    Operations, "cachewarden_operations", Gauge, Metrics, true, &["kind", "state"], "ops", "Operations by kind and state.";
    OperationRefusals, "cachewarden_operation_refusals_total", Counter, Metrics, true, &["check"], "ops", "Operations refused, by check.";
    ConfigDrift, "cachewarden_config_drift", Gauge, Metrics, true, &["parameter"], "ops", "1 for a parameter the instance runs, or would start, with another value than wished or than its fellows; 0 while it is as wished; by the daily look.";
    ZoneRisk, "cachewarden_zone_risk", Gauge, Metrics, true, &["risk"], "ops", "Findings of the zone-risk check by class: A data or quorum, B layout or failover, C weaker than promised.";
    Decisions, "cachewarden_remediation_decisions_total", Counter, Metrics, true, &["runbook", "decision", "guard"], "ops", "Decisions about incidents.";
}

/// Scalar facts that carry the master they are about.
pub(crate) fn names_master(field: Field) -> bool {
    use Field::{MasterLastIoSecondsAgo, MasterLinkStatus, MasterSyncInProgress, SlaveReplOffset};
    matches!(
        field,
        MasterLinkStatus | MasterLastIoSecondsAgo | MasterSyncInProgress | SlaveReplOffset
    )
}

/// Scalar facts the lean profile leaves out: allocator detail, fork and AOF history, defragmentation,
/// tracking, event loop and script detail. No shipped rule, dashboard or score needs them.
fn is_lean(field: Field) -> bool {
    const OUT: [&str; 41] = [
        "process_id",
        "migrate_cached",
        "dump_payload",
        "second_repl_offset",
        "slave_expires_tracked",
        "expire_cycle",
        "expired_time_cap",
        "expired_stale",
        "clients_in_timeout",
        "cluster_connections",
        "eviction_exceeded",
        "put_repl_kbps",
        "paused_timeout",
        "tilt_since",
        "full_sync_buffer",
        "current_cow_peak",
        "current_save_keys",
        "repl_buffer",
        "waiting_psync",
        "server_time_usec",
        "allocator_",
        "aof_",
        "defrag",
        "tracking_",
        "eventloop",
        "vm_",
        "scripts",
        "functions",
        "libraries",
        "module_fork",
        "io_thread",
        "acl_access_denied_c",
        "acl_access_denied_key",
        "reply_buffer",
        "rdb_last_load",
        "reservation",
        "client_",
        "blocking_keys",
        "watch",
        "lazyfree",
        "hz",
    ];
    const IN: [&str; 3] =
        ["aof_enabled", "aof_last_write_status", "client_output_buffer_limit_disconnections"];
    let name = field.info().name;
    IN.contains(&name) || !OUT.iter().any(|part| name.contains(part))
}

/// Every metric: scalar facts first, then the families.
pub fn metrics() -> &'static [Metric] {
    static ALL: LazyLock<Vec<Metric>> = LazyLock::new(|| {
        let fields = Field::all().iter().copied().filter(|f| *f != Field::SlaveReadOnly);
        fields
            .map(of_field)
            .chain(Family::ALL.iter().map(|family| family.metric().clone()))
            .chain(modules::VALUES.iter().filter_map(|(_, name, _)| of_module(name)))
            .collect()
    });
    &ALL
}

/// The metric of a scalar fact.
pub(crate) fn of_field(field: Field) -> Metric {
    let info = field.info();
    let reply = match info.section {
        "cluster_info" => "CLUSTER INFO".to_string(),
        "keydb" => "INFO".to_string(),
        section => format!("INFO {section}"),
    };
    let scaled = if info.scale == 1.0 { "" } else { ", scaled to base units" };
    Metric {
        name: info.metric,
        kind: match info.kind {
            field::Kind::Counter => Kind::Counter,
            field::Kind::Gauge => Kind::Gauge,
        },
        help: format!("{} of {reply}{scaled}.", info.name).into(),
        labels: if names_master(field) { MASTER } else { &[] },
        source: format!("{reply} {}", info.name).into(),
        page: Page::Scrape,
        lean: is_lean(field),
    }
}

/// The metric of a module's value.
pub(crate) fn of_module(name: &str) -> Option<Metric> {
    let (field, name, kind) = modules::VALUES.iter().find(|(_, metric, _)| *metric == name)?;
    Some(Metric {
        name,
        kind: *kind,
        help: format!("{field} of INFO modules.").into(),
        labels: &[],
        source: format!("INFO modules {field}").into(),
        page: Page::Scrape,
        lean: false,
    })
}

/// The word in `[exporter] families` that a metric is shown for; none: it is shown by default.
pub fn shown_for(name: &str) -> Option<&'static str> {
    let of_module = name == "redis_module_info" || modules::VALUES.iter().any(|v| v.1 == name);
    match name {
        "redis_config_value" | "redis_config_key_value" => Some("config"),
        "redis_sentinel_config_value" | "redis_sentinel_config_key_value" => Some("config"),
        "cachewarden_redis_clients_by_name" => Some("client_names"),
        "redis_sentinel_peer_info" => Some("sentinel_peers"),
        "redis_keys_count" => Some("items"),
        _ if name.starts_with("redis_key_") || name.starts_with("redis_stream_") => Some("items"),
        _ if of_module => Some("modules"),
        _ if name.starts_with("redis_connected_client_") => Some("client_list"),
        _ => None,
    }
}

/// The reference page, Markdown.
pub fn reference() -> String {
    let mut out = String::from(
        "# Metrics\n\n\
         Generated from the catalogue in `exporter/src/catalog.rs`; a test fails when this page is \
         stale (`BLESS=1 cargo test -p exporter` rewrites it).\n\n\
         Names, types and labels of `redis_*` are those of redis_exporter. Discovery attaches \
         tenant, system, service, shard, instance, zone, site, env and tier to every series of \
         `/scrape`; series of `/metrics` carry tenant, system, service and, where they are about \
         one, instance and zone.\n\n\
         Profile `on request`: shown when `[exporter] families` names the word in brackets. The column \
         `read` says how often the source is read: with every poll (15 s unless configured otherwise), \
         every minute, every five, as a custom item's definition says, or – where nothing is asked. \
         `cachewarden_detail_age_seconds` tells how old the slower ones are.\n",
    );
    for (page, title) in [(Page::Scrape, "/scrape?target="), (Page::Metrics, "/metrics")] {
        out.push_str(&format!(
            "\n## `{title}`\n\n| name | type | unit | labels | source | read | profile | help |\n\
             |---|---|---|---|---|---|---|---|\n"
        ));
        let mut of_page: Vec<_> = metrics().iter().filter(|m| m.page == page).collect();
        of_page.sort_by_key(|m| m.name);
        for m in of_page {
            let name = m.name.replace('<', "&lt;").replace('>', "&gt;");
            let profile = match (shown_for(m.name), m.lean) {
                (Some(word), _) => format!("on request ({word})"),
                (None, true) => "lean, full".into(),
                (None, false) => "full".into(),
            };
            out.push_str(&format!(
                "| {name} | {} | {} | {} | {} | {} | {profile} | {} |\n",
                m.kind.as_str(),
                m.unit(),
                m.labels.join(", "),
                m.source.replace('|', "\\|"),
                m.tier().as_str(),
                m.help.replace('|', "\\|"),
            ));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_stated_once_and_says_what_it_is() {
        let mut names: Vec<_> = metrics().iter().map(|m| m.name).collect();
        names.sort_unstable();
        let n = names.len();
        names.dedup();
        assert_eq!(names.len(), n);
        for m in metrics() {
            assert!(m.help.ends_with('.') && !m.source.is_empty(), "{}", m.name);
            let right = m.name.starts_with("redis_") || m.name.starts_with("cachewarden_");
            assert!(right, "{} has a foreign prefix", m.name);
        }
    }

    #[test]
    fn our_own_counters_and_only_they_end_in_total() {
        for m in metrics().iter().filter(|m| m.name.starts_with("cachewarden_")) {
            assert_eq!(m.name.ends_with("_total"), m.kind == Kind::Counter, "{}", m.name);
        }
    }

    #[test]
    fn the_reference_page_is_the_catalogue() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/metrics.md");
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference"))
                .unwrap();
            std::fs::write(path, reference()).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == reference(), "{path} is stale; BLESS=1 rewrites it");
    }
}
