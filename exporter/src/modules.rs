//! Values of modules in INFO modules, with the names redis_exporter gives them.
//!
//! Invariant: the table is facts only; a name that is not in it is not shown.

use crate::catalog::Kind;

macro_rules! values {
    ($($name:literal, $metric:literal, $kind:ident;)*) => {
        /// (name in the reply, metric, type).
        pub(crate) const VALUES: &[(&str, &str, Kind)] = &[$(($name, $metric, Kind::$kind),)*];
        /// The same without the type, as the parser takes it.
        pub(crate) const NAMES: &[(&str, &str)] = &[$(($name, $metric),)*];
    };
}

values! {
    "bf_bloom_capacity_across_objects", "redis_bf_bloom_capacity_across_objects", Gauge;
    "bf_bloom_defrag_hits", "redis_bf_bloom_defrag_hits_total", Counter;
    "bf_bloom_defrag_misses", "redis_bf_bloom_defrag_misses_total", Counter;
    "bf_bloom_num_filters_across_objects", "redis_bf_bloom_num_filters_across_objects", Gauge;
    "bf_bloom_num_items_across_objects", "redis_bf_bloom_num_items_across_objects", Gauge;
    "bf_bloom_num_objects", "redis_bf_bloom_num_objects", Gauge;
    "bf_bloom_total_memory_bytes", "redis_bf_bloom_total_memory_bytes", Gauge;
    "json_num_documents", "redis_json_num_documents", Gauge;
    "json_total_memory_bytes", "redis_json_total_memory_bytes", Gauge;
    "search_total_active_queries", "redis_search_active_queries_total", Counter;
    "search_bytes_collected", "redis_search_collected_bytes", Gauge;
    "search_total_cycles", "redis_search_cycles_total", Counter;
    "search_dialect_1", "redis_search_dialect_1", Gauge;
    "search_dialect_2", "redis_search_dialect_2", Gauge;
    "search_dialect_3", "redis_search_dialect_3", Gauge;
    "search_dialect_4", "redis_search_dialect_4", Gauge;
    "search_errors_indexing_failures", "redis_search_errors_indexing_failures", Gauge;
    "search_failure_requests_count", "redis_search_failure_requests_count", Counter;
    "search_gc_bytes_collected", "redis_search_gc_collected_bytes", Gauge;
    "search_gc_total_cycles", "redis_search_gc_cycles_total", Counter;
    "search_gc_marked_deleted_vectors", "redis_search_gc_marked_deleted_vectors", Gauge;
    "search_gc_total_ms_run", "redis_search_gc_run_ms_total", Counter;
    "search_gc_total_docs_not_collected", "redis_search_gc_total_docs_not_collected", Gauge;
    "search_global_idle", "redis_search_global_idle", Gauge;
    "search_global_idle_internal", "redis_search_global_idle_internal", Gauge;
    "search_global_idle_user", "redis_search_global_idle_user", Gauge;
    "search_global_total", "redis_search_global_total", Gauge;
    "search_global_total_internal", "redis_search_global_total_internal", Gauge;
    "search_global_total_user", "redis_search_global_total_user", Gauge;
    "search_hnsw_add_exceptions_count", "redis_search_hnsw_add_exceptions_count", Counter;
    "search_hnsw_create_exceptions_count", "redis_search_hnsw_create_exceptions_count", Counter;
    "search_hnsw_modify_exceptions_count", "redis_search_hnsw_modify_exceptions_count", Counter;
    "search_hnsw_remove_exceptions_count", "redis_search_hnsw_remove_exceptions_count", Counter;
    "search_hnsw_search_exceptions_count", "redis_search_hnsw_search_exceptions_count", Counter;
    "search_hybrid_requests_count", "redis_search_hybrid_requests_count", Counter;
    "search_total_indexing_time", "redis_search_indexing_time_ms_total", Counter;
    "search_inline_filtering_requests_count", "redis_search_inline_filtering_requests_count", Counter;
    "search_largest_memory_index", "redis_search_largest_memory_index_bytes", Gauge;
    "search_number_of_active_indexes", "redis_search_number_of_active_indexes", Gauge;
    "search_number_of_active_indexes_indexing", "redis_search_number_of_active_indexes_indexing", Gauge;
    "search_number_of_active_indexes_running_queries", "redis_search_number_of_active_indexes_running_queries", Gauge;
    "search_number_of_attributes", "redis_search_number_of_attributes", Gauge;
    "search_number_of_indexes", "redis_search_number_of_indexes", Gauge;
    "search_total_queries_processed", "redis_search_queries_processed_total", Counter;
    "search_total_query_commands", "redis_search_query_commands_total", Counter;
    "search_total_query_execution_time_ms", "redis_search_query_execution_time_ms_total", Counter;
    "search_query_queue_size", "redis_search_query_queue_size", Gauge;
    "search_rdb_load_failure_cnt", "redis_search_rdb_load_failure_count", Counter;
    "search_rdb_load_success_cnt", "redis_search_rdb_load_success_count", Counter;
    "search_rdb_save_failure_cnt", "redis_search_rdb_save_failure_count", Counter;
    "search_rdb_save_success_cnt", "redis_search_rdb_save_success_count", Counter;
    "search_reader_resumed_cnt", "redis_search_reader_resumed_count", Counter;
    "search_total_ms_run", "redis_search_run_ms_total", Counter;
    "search_smallest_memory_index", "redis_search_smallest_memory_index_bytes", Gauge;
    "search_string_interning_store_size", "redis_search_string_interning_store_size", Gauge;
    "search_successful_requests_count", "redis_search_successful_requests_count", Counter;
    "search_total_active_write_threads", "redis_search_total_active_write_threads", Gauge;
    "search_total_indexed_documents", "redis_search_total_indexed_documents", Gauge;
    "search_total_num_docs_in_indexes", "redis_search_total_num_docs_in_indexes", Gauge;
    "search_used_memory_bytes", "redis_search_used_memory_bytes", Gauge;
    "search_used_memory_indexes", "redis_search_used_memory_indexes_bytes", Gauge;
    "search_used_memory_vector_index", "redis_search_used_memory_vector_index_bytes", Gauge;
    "search_vector_externing_deferred_entry_cnt", "redis_search_vector_externing_deferred_entry_count", Counter;
    "search_vector_externing_entry_count", "redis_search_vector_externing_entry_count", Counter;
    "search_vector_externing_generated_value_cnt", "redis_search_vector_externing_generated_value_count", Counter;
    "search_vector_externing_hash_extern_errors", "redis_search_vector_externing_hash_extern_errors", Gauge;
    "search_vector_externing_lru_promote_cnt", "redis_search_vector_externing_lru_promote_count", Counter;
    "search_vector_externing_num_lru_entries", "redis_search_vector_externing_num_lru_entries", Gauge;
    "search_worker_pool_suspend_cnt", "redis_search_worker_pool_suspend_count", Counter;
    "search_writer_queue_size", "redis_search_writer_queue_size", Gauge;
    "search_writer_resumed_cnt", "redis_search_writer_resumed_count", Counter;
    "search_writer_suspension_expired_cnt", "redis_search_writer_suspension_expired_count", Counter;
}
