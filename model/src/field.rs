//! The scalar facts of a reading: one line per INFO, CLUSTER INFO or INFO sentinel field.
//!
//! Invariant: this table is the allow-list of the INFO parser (a field counts only in its section)
//! and the one place that ties a field to its Prometheus name. Metric names, types and scales are
//! those of redis_exporter 1.69 (`cachewarden_redis_*` where it has none). Labelled families stand
//! in `reading`.

/// How a series behaves over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, or starts anew.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// What is known of a field.
#[derive(Debug, Clone, Copy)]
pub struct FieldInfo {
    /// Section of the reply, lower case; `cluster_info` is CLUSTER INFO, `keydb` any section.
    pub section: &'static str,
    /// Name in the reply.
    pub name: &'static str,
    /// Prometheus name.
    pub metric: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// Value in the series = value in the reply × scale.
    pub scale: f64,
}

macro_rules! fields {
    ($($v:ident, $section:literal, $name:literal, $metric:literal, $kind:ident, $scale:literal;)*) => {
        /// A scalar fact of a reading.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[allow(missing_docs, reason = "each is documented by its row")]
        pub enum Field { $($v,)* }

        /// Every field, in the order of `Field`.
        pub const FIELDS: &[FieldInfo] = &[$(FieldInfo {
            section: $section, name: $name, metric: $metric, kind: Kind::$kind, scale: $scale,
        },)*];

        const ALL: &[Field] = &[$(Field::$v,)*];
    };
}

fields! {
    BlockedClients, "clients", "blocked_clients", "redis_blocked_clients", Gauge, 1.0;
    ClientBiggestInputBuf, "clients", "client_biggest_input_buf", "redis_client_biggest_input_buf", Gauge, 1.0;
    ClientLongestOutputList, "clients", "client_longest_output_list", "redis_client_longest_output_list", Gauge, 1.0;
    ClientRecentMaxInputBuffer, "clients", "client_recent_max_input_buffer", "redis_client_recent_max_input_buffer_bytes", Gauge, 1.0;
    ClientRecentMaxOutputBuffer, "clients", "client_recent_max_output_buffer", "redis_client_recent_max_output_buffer_bytes", Gauge, 1.0;
    ClientsInTimeoutTable, "clients", "clients_in_timeout_table", "redis_clients_in_timeout_table", Gauge, 1.0;
    ClusterConnections, "clients", "cluster_connections", "redis_cluster_connections", Gauge, 1.0;
    ConnectedClients, "clients", "connected_clients", "redis_connected_clients", Gauge, 1.0;
    Maxclients, "clients", "maxclients", "redis_max_clients", Gauge, 1.0;
    PubsubClients, "clients", "pubsub_clients", "redis_pubsub_clients", Gauge, 1.0;
    TotalBlockingKeys, "clients", "total_blocking_keys", "redis_total_blocking_keys", Gauge, 1.0;
    TotalBlockingKeysOnNokey, "clients", "total_blocking_keys_on_nokey", "redis_total_blocking_keys_on_nokey", Gauge, 1.0;
    TotalWatchedKeys, "clients", "total_watched_keys", "redis_total_watched_keys", Gauge, 1.0;
    TrackingClients, "clients", "tracking_clients", "redis_tracking_clients", Gauge, 1.0;
    WatchingClients, "clients", "watching_clients", "redis_watching_clients", Gauge, 1.0;
    PausedTimeoutMilliseconds, "clients", "paused_timeout_milliseconds", "cachewarden_redis_clients_paused_seconds", Gauge, 0.001;
    ClusterEnabled, "cluster", "cluster_enabled", "redis_cluster_enabled", Gauge, 1.0;
    ClusterCurrentEpoch, "cluster_info", "cluster_current_epoch", "redis_cluster_current_epoch", Gauge, 1.0;
    ClusterKnownNodes, "cluster_info", "cluster_known_nodes", "redis_cluster_known_nodes", Gauge, 1.0;
    ClusterMyEpoch, "cluster_info", "cluster_my_epoch", "redis_cluster_my_epoch", Gauge, 1.0;
    ClusterSize, "cluster_info", "cluster_size", "redis_cluster_size", Gauge, 1.0;
    ClusterSlotsAssigned, "cluster_info", "cluster_slots_assigned", "redis_cluster_slots_assigned", Gauge, 1.0;
    ClusterSlotsFail, "cluster_info", "cluster_slots_fail", "redis_cluster_slots_fail", Gauge, 1.0;
    ClusterSlotsOk, "cluster_info", "cluster_slots_ok", "redis_cluster_slots_ok", Gauge, 1.0;
    ClusterSlotsPfail, "cluster_info", "cluster_slots_pfail", "redis_cluster_slots_pfail", Gauge, 1.0;
    ClusterState, "cluster_info", "cluster_state", "redis_cluster_state", Gauge, 1.0;
    ClusterStatsMessagesReceived, "cluster_info", "cluster_stats_messages_received", "redis_cluster_messages_received_total", Gauge, 1.0;
    ClusterStatsMessagesSent, "cluster_info", "cluster_stats_messages_sent", "redis_cluster_messages_sent_total", Gauge, 1.0;
    CurrentClientThread, "cpu", "current_client_thread", "redis_current_client_thread", Gauge, 1.0;
    ServerThreads, "cpu", "server_threads", "redis_server_threads_total", Gauge, 1.0;
    UsedActiveTimeMainThread, "cpu", "used_active_time_main_thread", "redis_active_time_main_thread_seconds_total", Counter, 1.0;
    UsedCpuSys, "cpu", "used_cpu_sys", "redis_cpu_sys_seconds_total", Counter, 1.0;
    UsedCpuSysChildren, "cpu", "used_cpu_sys_children", "redis_cpu_sys_children_seconds_total", Counter, 1.0;
    UsedCpuSysMainThread, "cpu", "used_cpu_sys_main_thread", "redis_cpu_sys_main_thread_seconds_total", Counter, 1.0;
    UsedCpuUser, "cpu", "used_cpu_user", "redis_cpu_user_seconds_total", Counter, 1.0;
    UsedCpuUserChildren, "cpu", "used_cpu_user_children", "redis_cpu_user_children_seconds_total", Counter, 1.0;
    UsedCpuUserMainThread, "cpu", "used_cpu_user_main_thread", "redis_cpu_user_main_thread_seconds_total", Counter, 1.0;
    CachedKeys, "keydb", "cached_keys", "redis_cached_keys_total", Counter, 1.0;
    StorageProviderReadHits, "keydb", "storage_provider_read_hits", "redis_storage_provider_read_hits", Counter, 1.0;
    StorageProviderReadMisses, "keydb", "storage_provider_read_misses", "redis_storage_provider_read_misses", Counter, 1.0;
    ActiveDefragRunning, "memory", "active_defrag_running", "redis_active_defrag_running", Gauge, 1.0;
    AllocatorActive, "memory", "allocator_active", "redis_allocator_active_bytes", Gauge, 1.0;
    AllocatorAllocated, "memory", "allocator_allocated", "redis_allocator_allocated_bytes", Gauge, 1.0;
    AllocatorFragBytes, "memory", "allocator_frag_bytes", "redis_allocator_frag_bytes", Gauge, 1.0;
    AllocatorFragRatio, "memory", "allocator_frag_ratio", "redis_allocator_frag_ratio", Gauge, 1.0;
    AllocatorMuzzy, "memory", "allocator_muzzy", "redis_allocator_muzzy_bytes", Gauge, 1.0;
    AllocatorResident, "memory", "allocator_resident", "redis_allocator_resident_bytes", Gauge, 1.0;
    AllocatorRssBytes, "memory", "allocator_rss_bytes", "redis_allocator_rss_bytes", Gauge, 1.0;
    AllocatorRssRatio, "memory", "allocator_rss_ratio", "redis_allocator_rss_ratio", Gauge, 1.0;
    LazyfreePendingObjects, "memory", "lazyfree_pending_objects", "redis_lazyfree_pending_objects", Gauge, 1.0;
    LazyfreedObjects, "memory", "lazyfreed_objects", "redis_lazyfreed_objects", Gauge, 1.0;
    MaxfragmentationmemoryDesiredReservation, "memory", "maxfragmentationmemory_desired_reservation", "redis_memory_max_fragmentation_reservation_desired_bytes", Gauge, 1.0;
    MaxfragmentationmemoryReservation, "memory", "maxfragmentationmemory_reservation", "redis_memory_max_fragmentation_reservation_bytes", Gauge, 1.0;
    Maxmemory, "memory", "maxmemory", "redis_memory_max_bytes", Gauge, 1.0;
    MaxmemoryDesiredReservation, "memory", "maxmemory_desired_reservation", "redis_memory_max_reservation_desired_bytes", Gauge, 1.0;
    MaxmemoryReservation, "memory", "maxmemory_reservation", "redis_memory_max_reservation_bytes", Gauge, 1.0;
    MemAofBuffer, "memory", "mem_aof_buffer", "redis_mem_aof_buffer_bytes", Gauge, 1.0;
    MemClientsNormal, "memory", "mem_clients_normal", "redis_mem_clients_normal", Gauge, 1.0;
    MemClientsSlaves, "memory", "mem_clients_slaves", "redis_mem_clients_slaves", Gauge, 1.0;
    MemClusterLinks, "memory", "mem_cluster_links", "redis_mem_cluster_links_bytes", Gauge, 1.0;
    MemFragmentationBytes, "memory", "mem_fragmentation_bytes", "redis_mem_fragmentation_bytes", Gauge, 1.0;
    MemFragmentationRatio, "memory", "mem_fragmentation_ratio", "redis_mem_fragmentation_ratio", Gauge, 1.0;
    MemNotCountedForEvict, "memory", "mem_not_counted_for_evict", "redis_mem_not_counted_for_eviction_bytes", Gauge, 1.0;
    MemOverheadDbHashtableRehashing, "memory", "mem_overhead_db_hashtable_rehashing", "redis_mem_overhead_db_hashtable_rehashing_bytes", Gauge, 1.0;
    MemReplicationBacklog, "memory", "mem_replication_backlog", "redis_mem_replication_backlog_bytes", Gauge, 1.0;
    MemTotalReplicationBuffers, "memory", "mem_total_replication_buffers", "redis_mem_total_replication_buffers_bytes", Gauge, 1.0;
    NumberOfCachedScripts, "memory", "number_of_cached_scripts", "redis_number_of_cached_scripts", Gauge, 1.0;
    NumberOfFunctions, "memory", "number_of_functions", "redis_number_of_functions", Gauge, 1.0;
    NumberOfLibraries, "memory", "number_of_libraries", "redis_number_of_libraries", Gauge, 1.0;
    RssOverheadBytes, "memory", "rss_overhead_bytes", "cachewarden_redis_rss_overhead_bytes", Gauge, 1.0;
    RssOverheadRatio, "memory", "rss_overhead_ratio", "cachewarden_redis_rss_overhead_ratio", Gauge, 1.0;
    TotalSystemMemory, "memory", "total_system_memory", "redis_total_system_memory_bytes", Gauge, 1.0;
    UsedMemory, "memory", "used_memory", "redis_memory_used_bytes", Gauge, 1.0;
    UsedMemoryDataset, "memory", "used_memory_dataset", "redis_memory_used_dataset_bytes", Gauge, 1.0;
    UsedMemoryFunctions, "memory", "used_memory_functions", "redis_memory_used_functions_bytes", Gauge, 1.0;
    UsedMemoryLua, "memory", "used_memory_lua", "redis_memory_used_lua_bytes", Gauge, 1.0;
    UsedMemoryOverhead, "memory", "used_memory_overhead", "redis_memory_used_overhead_bytes", Gauge, 1.0;
    UsedMemoryPeak, "memory", "used_memory_peak", "redis_memory_used_peak_bytes", Gauge, 1.0;
    UsedMemoryRss, "memory", "used_memory_rss", "redis_memory_used_rss_bytes", Gauge, 1.0;
    UsedMemoryScripts, "memory", "used_memory_scripts", "redis_memory_used_scripts_bytes", Gauge, 1.0;
    UsedMemoryScriptsEval, "memory", "used_memory_scripts_eval", "redis_memory_used_scripts_eval_bytes", Gauge, 1.0;
    UsedMemoryStartup, "memory", "used_memory_startup", "redis_memory_used_startup_bytes", Gauge, 1.0;
    UsedMemoryVmEval, "memory", "used_memory_vm_eval", "redis_memory_used_vm_eval_bytes", Gauge, 1.0;
    UsedMemoryVmFunctions, "memory", "used_memory_vm_functions", "redis_memory_used_vm_functions_bytes", Gauge, 1.0;
    UsedMemoryVmTotal, "memory", "used_memory_vm_total", "redis_memory_used_vm_total", Gauge, 1.0;
    MemReplicaFullSyncBuffer, "memory", "mem_replica_full_sync_buffer", "cachewarden_redis_mem_replica_full_sync_buffer_bytes", Gauge, 1.0;
    AofBaseSize, "persistence", "aof_base_size", "redis_aof_base_size_bytes", Gauge, 1.0;
    AofBufferLength, "persistence", "aof_buffer_length", "redis_aof_buffer_length", Gauge, 1.0;
    AofCurrentRewriteTimeSec, "persistence", "aof_current_rewrite_time_sec", "redis_aof_current_rewrite_duration_sec", Gauge, 1.0;
    AofCurrentSize, "persistence", "aof_current_size", "redis_aof_current_size_bytes", Gauge, 1.0;
    AofDelayedFsync, "persistence", "aof_delayed_fsync", "redis_aof_delayed_fsync", Gauge, 1.0;
    AofEnabled, "persistence", "aof_enabled", "redis_aof_enabled", Gauge, 1.0;
    AofLastBgrewriteStatus, "persistence", "aof_last_bgrewrite_status", "redis_aof_last_bgrewrite_status", Gauge, 1.0;
    AofLastCowSize, "persistence", "aof_last_cow_size", "redis_aof_last_cow_size_bytes", Gauge, 1.0;
    AofLastRewriteTimeSec, "persistence", "aof_last_rewrite_time_sec", "redis_aof_last_rewrite_duration_sec", Gauge, 1.0;
    AofLastWriteStatus, "persistence", "aof_last_write_status", "redis_aof_last_write_status", Gauge, 1.0;
    AofPendingBioFsync, "persistence", "aof_pending_bio_fsync", "redis_aof_pending_bio_fsync", Gauge, 1.0;
    AofPendingRewrite, "persistence", "aof_pending_rewrite", "redis_aof_pending_rewrite", Gauge, 1.0;
    AofRewriteBufferLength, "persistence", "aof_rewrite_buffer_length", "redis_aof_rewrite_buffer_length", Gauge, 1.0;
    AofRewriteInProgress, "persistence", "aof_rewrite_in_progress", "redis_aof_rewrite_in_progress", Gauge, 1.0;
    AofRewriteScheduled, "persistence", "aof_rewrite_scheduled", "redis_aof_rewrite_scheduled", Gauge, 1.0;
    AsyncLoading, "persistence", "async_loading", "redis_async_loading", Gauge, 1.0;
    CurrentCowSize, "persistence", "current_cow_size", "cachewarden_redis_current_cow_bytes", Gauge, 1.0;
    CurrentForkPerc, "persistence", "current_fork_perc", "cachewarden_redis_current_fork_percent", Gauge, 1.0;
    Loading, "persistence", "loading", "redis_loading_dump_file", Gauge, 1.0;
    LoadingEtaSeconds, "persistence", "loading_eta_seconds", "cachewarden_redis_loading_eta_seconds", Gauge, 1.0;
    LoadingLoadedPerc, "persistence", "loading_loaded_perc", "cachewarden_redis_loading_loaded_percent", Gauge, 1.0;
    ModuleForkInProgress, "persistence", "module_fork_in_progress", "redis_module_fork_in_progress", Gauge, 1.0;
    ModuleForkLastCowSize, "persistence", "module_fork_last_cow_size", "redis_module_fork_last_cow_size", Gauge, 1.0;
    RdbBgsaveInProgress, "persistence", "rdb_bgsave_in_progress", "redis_rdb_bgsave_in_progress", Gauge, 1.0;
    RdbChangesSinceLastSave, "persistence", "rdb_changes_since_last_save", "redis_rdb_changes_since_last_save", Gauge, 1.0;
    RdbCurrentBgsaveTimeSec, "persistence", "rdb_current_bgsave_time_sec", "redis_rdb_current_bgsave_duration_sec", Gauge, 1.0;
    RdbLastBgsaveStatus, "persistence", "rdb_last_bgsave_status", "redis_rdb_last_bgsave_status", Gauge, 1.0;
    RdbLastBgsaveTimeSec, "persistence", "rdb_last_bgsave_time_sec", "redis_rdb_last_bgsave_duration_sec", Gauge, 1.0;
    RdbLastCowSize, "persistence", "rdb_last_cow_size", "redis_rdb_last_cow_size_bytes", Gauge, 1.0;
    RdbLastLoadKeysExpired, "persistence", "rdb_last_load_keys_expired", "redis_rdb_last_load_expired_keys", Gauge, 1.0;
    RdbLastLoadKeysLoaded, "persistence", "rdb_last_load_keys_loaded", "redis_rdb_last_load_loaded_keys", Gauge, 1.0;
    RdbLastSaveTime, "persistence", "rdb_last_save_time", "redis_rdb_last_save_timestamp_seconds", Gauge, 1.0;
    RdbSaves, "persistence", "rdb_saves", "redis_rdb_saves_total", Gauge, 1.0;
    AofRewrites, "persistence", "aof_rewrites", "cachewarden_redis_aof_rewrites_total", Counter, 1.0;
    AofRewritesConsecutiveFailures, "persistence", "aof_rewrites_consecutive_failures", "cachewarden_redis_aof_rewrites_consecutive_failures", Gauge, 1.0;
    CurrentCowPeak, "persistence", "current_cow_peak", "cachewarden_redis_current_cow_peak_bytes", Gauge, 1.0;
    CurrentSaveKeysProcessed, "persistence", "current_save_keys_processed", "cachewarden_redis_current_save_keys_processed", Gauge, 1.0;
    CurrentSaveKeysTotal, "persistence", "current_save_keys_total", "cachewarden_redis_current_save_keys_expected", Gauge, 1.0;
    LoadingLoadedBytes, "persistence", "loading_loaded_bytes", "cachewarden_redis_loading_loaded_bytes", Gauge, 1.0;
    LoadingTotalBytes, "persistence", "loading_total_bytes", "cachewarden_redis_loading_expected_bytes", Gauge, 1.0;
    ConnectedSlaves, "replication", "connected_slaves", "redis_connected_slaves", Gauge, 1.0;
    MasterLastIoSecondsAgo, "replication", "master_last_io_seconds_ago", "redis_master_last_io_seconds_ago", Gauge, 1.0;
    MasterLinkDownSinceSeconds, "replication", "master_link_down_since_seconds", "cachewarden_redis_master_link_down_since_seconds", Gauge, 1.0;
    MasterLinkStatus, "replication", "master_link_status", "redis_master_link_up", Gauge, 1.0;
    MasterReplOffset, "replication", "master_repl_offset", "redis_master_repl_offset", Gauge, 1.0;
    MasterSyncInProgress, "replication", "master_sync_in_progress", "redis_master_sync_in_progress", Gauge, 1.0;
    MasterSyncLeftBytes, "replication", "master_sync_left_bytes", "cachewarden_redis_master_sync_left_bytes", Gauge, 1.0;
    MasterSyncTotalBytes, "replication", "master_sync_total_bytes", "cachewarden_redis_master_sync_total_bytes", Gauge, 1.0;
    MinSlavesGoodSlaves, "replication", "min_slaves_good_slaves", "cachewarden_redis_min_replicas_good", Gauge, 1.0;
    ReplBacklogActive, "replication", "repl_backlog_active", "redis_repl_backlog_is_active", Gauge, 1.0;
    ReplBacklogFirstByteOffset, "replication", "repl_backlog_first_byte_offset", "redis_repl_backlog_first_byte_offset", Gauge, 1.0;
    ReplBacklogHistlen, "replication", "repl_backlog_histlen", "redis_repl_backlog_history_bytes", Gauge, 1.0;
    ReplBacklogSize, "replication", "repl_backlog_size", "redis_replication_backlog_bytes", Gauge, 1.0;
    SecondReplOffset, "replication", "second_repl_offset", "redis_second_repl_offset", Gauge, 1.0;
    SlavePriority, "replication", "slave_priority", "redis_slave_priority", Gauge, 1.0;
    SlaveReadOnly, "replication", "slave_read_only", "redis_slave_info", Gauge, 1.0;
    SlaveReadReplOffset, "replication", "slave_read_repl_offset", "cachewarden_redis_replica_read_repl_offset_bytes", Gauge, 1.0;
    SlaveReplOffset, "replication", "slave_repl_offset", "redis_slave_repl_offset", Gauge, 1.0;
    MasterSyncLastIoSecondsAgo, "replication", "master_sync_last_io_seconds_ago", "cachewarden_redis_master_sync_last_io_seconds_ago", Gauge, 1.0;
    MasterSyncPerc, "replication", "master_sync_perc", "cachewarden_redis_master_sync_percent", Gauge, 1.0;
    MasterSyncReadBytes, "replication", "master_sync_read_bytes", "cachewarden_redis_master_sync_read_bytes", Gauge, 1.0;
    ReplicaFullSyncBufferPeak, "replication", "replica_full_sync_buffer_peak", "cachewarden_redis_replica_full_sync_buffer_peak_bytes", Gauge, 1.0;
    ReplicaFullSyncBufferSize, "replication", "replica_full_sync_buffer_size", "cachewarden_redis_replica_full_sync_buffer_bytes", Gauge, 1.0;
    ReplicasReplBufferPeak, "replication", "replicas_repl_buffer_peak", "cachewarden_redis_replicas_repl_buffer_peak_bytes", Gauge, 1.0;
    ReplicasReplBufferSize, "replication", "replicas_repl_buffer_size", "cachewarden_redis_replicas_repl_buffer_bytes", Gauge, 1.0;
    ReplicasWaitingPsync, "replication", "replicas_waiting_psync", "cachewarden_redis_replicas_waiting_psync", Gauge, 1.0;
    SentinelMasters, "sentinel", "sentinel_masters", "redis_sentinel_masters", Gauge, 1.0;
    SentinelRunningScripts, "sentinel", "sentinel_running_scripts", "redis_sentinel_running_scripts", Gauge, 1.0;
    SentinelScriptsQueueLength, "sentinel", "sentinel_scripts_queue_length", "redis_sentinel_scripts_queue_length", Gauge, 1.0;
    SentinelSimulateFailureFlags, "sentinel", "sentinel_simulate_failure_flags", "redis_sentinel_simulate_failure_flags", Gauge, 1.0;
    SentinelTilt, "sentinel", "sentinel_tilt", "redis_sentinel_tilt", Gauge, 1.0;
    SentinelTiltSinceSeconds, "sentinel", "sentinel_tilt_since_seconds", "cachewarden_redis_sentinel_tilt_since_seconds", Gauge, 1.0;
    ConfiguredHz, "server", "configured_hz", "redis_configured_hz", Gauge, 1.0;
    Hz, "server", "hz", "redis_hz", Gauge, 1.0;
    IoThreadsActive, "server", "io_threads_active", "redis_io_threads_active", Gauge, 1.0;
    ProcessId, "server", "process_id", "redis_process_id", Gauge, 1.0;
    UptimeInSeconds, "server", "uptime_in_seconds", "redis_uptime_in_seconds", Gauge, 1.0;
    ServerTimeUsec, "server", "server_time_usec", "cachewarden_redis_server_time_seconds", Gauge, 1e-6;
    AclAccessDeniedAuth, "stats", "acl_access_denied_auth", "redis_acl_access_denied_auth_total", Counter, 1.0;
    AclAccessDeniedChannel, "stats", "acl_access_denied_channel", "redis_acl_access_denied_channel_total", Counter, 1.0;
    AclAccessDeniedCmd, "stats", "acl_access_denied_cmd", "redis_acl_access_denied_cmd_total", Counter, 1.0;
    AclAccessDeniedKey, "stats", "acl_access_denied_key", "redis_acl_access_denied_key_total", Counter, 1.0;
    ActiveDefragHits, "stats", "active_defrag_hits", "redis_defrag_hits", Gauge, 1.0;
    ActiveDefragKeyHits, "stats", "active_defrag_key_hits", "redis_defrag_key_hits", Gauge, 1.0;
    ActiveDefragKeyMisses, "stats", "active_defrag_key_misses", "redis_defrag_key_misses", Gauge, 1.0;
    ActiveDefragMisses, "stats", "active_defrag_misses", "redis_defrag_misses", Gauge, 1.0;
    ClientOutputBufferLimitDisconnections, "stats", "client_output_buffer_limit_disconnections", "redis_client_output_buffer_limit_disconnections_total", Counter, 1.0;
    ClientQueryBufferLimitDisconnections, "stats", "client_query_buffer_limit_disconnections", "redis_client_query_buffer_limit_disconnections_total", Counter, 1.0;
    CurrentEvictionExceededTime, "stats", "current_eviction_exceeded_time", "redis_current_eviction_exceeded_time_ms", Gauge, 1.0;
    DumpPayloadSanitizations, "stats", "dump_payload_sanitizations", "redis_dump_payload_sanitizations", Counter, 1.0;
    EventloopCycles, "stats", "eventloop_cycles", "redis_eventloop_cycles_total", Counter, 1.0;
    EventloopDurationCmdSum, "stats", "eventloop_duration_cmd_sum", "redis_eventloop_duration_cmd_sum_usec_total", Counter, 1.0;
    EventloopDurationSum, "stats", "eventloop_duration_sum", "redis_eventloop_duration_sum_usec_total", Counter, 1.0;
    EvictedClients, "stats", "evicted_clients", "redis_evicted_clients_total", Counter, 1.0;
    EvictedKeys, "stats", "evicted_keys", "redis_evicted_keys_total", Counter, 1.0;
    EvictedScripts, "stats", "evicted_scripts", "redis_evicted_scripts_total", Counter, 1.0;
    ExpireCycleCpuMilliseconds, "stats", "expire_cycle_cpu_milliseconds", "redis_expire_cycle_cpu_time_ms_total", Counter, 1.0;
    ExpiredKeys, "stats", "expired_keys", "redis_expired_keys_total", Counter, 1.0;
    ExpiredStalePerc, "stats", "expired_stale_perc", "redis_expired_stale_percentage", Gauge, 1.0;
    ExpiredSubkeys, "stats", "expired_subkeys", "redis_expired_subkeys_total", Counter, 1.0;
    ExpiredTimeCapReachedCount, "stats", "expired_time_cap_reached_count", "redis_expired_time_cap_reached_total", Counter, 1.0;
    InstantaneousEventloopCyclesPerSec, "stats", "instantaneous_eventloop_cycles_per_sec", "redis_instantaneous_eventloop_cycles_per_sec", Gauge, 1.0;
    InstantaneousEventloopDurationUsec, "stats", "instantaneous_eventloop_duration_usec", "redis_instantaneous_eventloop_duration_usec", Gauge, 1.0;
    InstantaneousInputKbps, "stats", "instantaneous_input_kbps", "cachewarden_redis_instantaneous_input_kibibytes_per_second", Gauge, 1.0;
    InstantaneousOpsPerSec, "stats", "instantaneous_ops_per_sec", "cachewarden_redis_instantaneous_ops_per_second", Gauge, 1.0;
    InstantaneousOutputKbps, "stats", "instantaneous_output_kbps", "cachewarden_redis_instantaneous_output_kibibytes_per_second", Gauge, 1.0;
    IoThreadedReadsProcessed, "stats", "io_threaded_reads_processed", "redis_io_threaded_reads_processed", Counter, 1.0;
    IoThreadedWritesProcessed, "stats", "io_threaded_writes_processed", "redis_io_threaded_writes_processed", Counter, 1.0;
    KeyspaceHits, "stats", "keyspace_hits", "redis_keyspace_hits_total", Counter, 1.0;
    KeyspaceMisses, "stats", "keyspace_misses", "redis_keyspace_misses_total", Counter, 1.0;
    LatestForkUsec, "stats", "latest_fork_usec", "redis_latest_fork_seconds", Gauge, 1e-06;
    LongLockWaits, "stats", "long_lock_waits", "redis_long_lock_waits_total", Gauge, 1.0;
    MigrateCachedSockets, "stats", "migrate_cached_sockets", "redis_migrate_cached_sockets_total", Gauge, 1.0;
    PubsubChannels, "stats", "pubsub_channels", "redis_pubsub_channels", Gauge, 1.0;
    PubsubPatterns, "stats", "pubsub_patterns", "redis_pubsub_patterns", Gauge, 1.0;
    PubsubshardChannels, "stats", "pubsubshard_channels", "redis_pubsubshard_channels", Gauge, 1.0;
    RejectedConnections, "stats", "rejected_connections", "redis_rejected_connections_total", Counter, 1.0;
    ReplyBufferExpands, "stats", "reply_buffer_expands", "redis_reply_buffer_expands_total", Counter, 1.0;
    ReplyBufferShrinks, "stats", "reply_buffer_shrinks", "redis_reply_buffer_shrinks_total", Counter, 1.0;
    SlaveExpiresTrackedKeys, "stats", "slave_expires_tracked_keys", "redis_slave_expires_tracked_keys", Gauge, 1.0;
    SyncFull, "stats", "sync_full", "redis_replica_resyncs_full", Gauge, 1.0;
    SyncPartialErr, "stats", "sync_partial_err", "redis_replica_partial_resync_denied", Gauge, 1.0;
    SyncPartialOk, "stats", "sync_partial_ok", "redis_replica_partial_resync_accepted", Gauge, 1.0;
    TotalCommandsProcessed, "stats", "total_commands_processed", "redis_commands_processed_total", Counter, 1.0;
    TotalConnectionsReceived, "stats", "total_connections_received", "redis_connections_received_total", Counter, 1.0;
    TotalErrorReplies, "stats", "total_error_replies", "redis_total_error_replies", Counter, 1.0;
    TotalEvictionExceededTime, "stats", "total_eviction_exceeded_time", "redis_eviction_exceeded_time_ms_total", Counter, 1.0;
    TotalForks, "stats", "total_forks", "cachewarden_redis_forks_total", Counter, 1.0;
    TotalNetInputBytes, "stats", "total_net_input_bytes", "redis_net_input_bytes_total", Counter, 1.0;
    TotalNetOutputBytes, "stats", "total_net_output_bytes", "redis_net_output_bytes_total", Counter, 1.0;
    TotalNetReplInputBytes, "stats", "total_net_repl_input_bytes", "redis_net_repl_input_bytes_total", Counter, 1.0;
    TotalNetReplOutputBytes, "stats", "total_net_repl_output_bytes", "redis_net_repl_output_bytes_total", Counter, 1.0;
    TotalReadsProcessed, "stats", "total_reads_processed", "redis_total_reads_processed", Counter, 1.0;
    TotalWritesProcessed, "stats", "total_writes_processed", "redis_total_writes_processed", Counter, 1.0;
    TrackingTotalItems, "stats", "tracking_total_items", "redis_tracking_total_items", Gauge, 1.0;
    TrackingTotalKeys, "stats", "tracking_total_keys", "redis_tracking_total_keys", Gauge, 1.0;
    TrackingTotalPrefixes, "stats", "tracking_total_prefixes", "redis_tracking_total_prefixes", Gauge, 1.0;
    UnexpectedErrorReplies, "stats", "unexpected_error_replies", "redis_unexpected_error_replies", Counter, 1.0;
    InstantaneousInputReplKbps, "stats", "instantaneous_input_repl_kbps", "cachewarden_redis_instantaneous_input_replication_kibibytes_per_second", Gauge, 1.0;
    InstantaneousOutputReplKbps, "stats", "instantaneous_output_repl_kbps", "cachewarden_redis_instantaneous_output_replication_kibibytes_per_second", Gauge, 1.0;
    IoThreadedAcceptProcessed, "stats", "io_threaded_accept_processed", "cachewarden_redis_io_threaded_accept_processed_total", Counter, 1.0;
    IoThreadedFreedObjects, "stats", "io_threaded_freed_objects", "cachewarden_redis_io_threaded_freed_objects_total", Counter, 1.0;
    IoThreadedPollProcessed, "stats", "io_threaded_poll_processed", "cachewarden_redis_io_threaded_poll_processed_total", Counter, 1.0;
    IoThreadedPrefetchBatches, "stats", "io_threaded_total_prefetch_batches", "cachewarden_redis_io_threaded_prefetch_batches_total", Counter, 1.0;
    IoThreadedPrefetchEntries, "stats", "io_threaded_total_prefetch_entries", "cachewarden_redis_io_threaded_prefetch_entries_total", Counter, 1.0;
    TotalActiveDefragTime, "stats", "total_active_defrag_time", "cachewarden_redis_active_defrag_seconds_total", Counter, 0.001;
}

impl Field {
    /// How many fields there are.
    pub const COUNT: usize = FIELDS.len();

    /// All fields.
    pub fn all() -> &'static [Field] {
        ALL
    }

    /// Its row of the table.
    pub fn info(self) -> &'static FieldInfo {
        &FIELDS[self as usize]
    }

    /// The field behind a Prometheus name.
    pub fn by_metric(metric: &str) -> Option<Field> {
        ALL.iter().copied().find(|f| f.info().metric == metric)
    }
}

/// The scalar values of one reading, in the unit of the series (scale applied); absent = unknown.
#[derive(Clone, PartialEq)]
pub struct Values(Box<[f64]>);

impl Default for Values {
    fn default() -> Values {
        Values(vec![f64::NAN; Field::COUNT].into())
    }
}

impl Values {
    /// The value, `None` when the reply did not hold the field.
    pub fn get(&self, field: Field) -> Option<f64> {
        let v = self.0[field as usize];
        (!v.is_nan()).then_some(v)
    }

    /// Sets a value; NaN removes it.
    pub fn set(&mut self, field: Field, value: f64) {
        self.0[field as usize] = value;
    }

    /// The fields that are known, in table order.
    pub fn known(&self) -> impl Iterator<Item = (Field, f64)> + '_ {
        ALL.iter().copied().zip(self.0.iter().copied()).filter(|(_, v)| !v.is_nan())
    }
}

impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.known()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_a_name_of_its_own() {
        let mut names: Vec<_> = FIELDS.iter().map(|f| f.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Field::COUNT);
    }

    #[test]
    fn an_unset_value_is_unknown_and_not_zero() {
        let mut v = Values::default();
        assert_eq!(v.get(Field::UsedMemory), None);
        v.set(Field::UsedMemory, 0.0);
        assert_eq!(v.get(Field::UsedMemory), Some(0.0));
        assert_eq!(v.known().count(), 1);
    }
}
