//! The values of all settings, as plain public fields.
//!
//! A field carries its directive's name with underscores; its meaning, unit, range and default stand in that
//! directive's row under [`super::rows`]. Fields are written only through rows, so a reader may trust a value's range.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::directive::Flags;
use super::rows::directives;
use super::values::*;

macro_rules! fields {
    ($($(#[$meta:meta])* $field:ident: $kind:ty = $name:literal,)*) => {
        /// The configuration: one public field per directive. Cheap to clone (a few microseconds), which is how a
        /// change is tried before it is adopted.
        #[derive(Clone, PartialEq)]
        pub struct Config {
            $(#[doc = concat!("Value of `", $name, "`.")] $(#[$meta])* pub $field: $kind,)*
        }

        impl Config {
            /// All fields zero or empty: the canvas for the rows' defaults, never shown to anybody.
            fn blank() -> Self {
                Self { $($field: Default::default(),)* }
            }
        }
    };
}

fields! {
    // Network
    /// Addresses to listen on; `*` is any IPv4, `::*` any IPv6; a leading `-` forgives an address that is not
    /// available.
    bind: Vec<String> = "bind",
    bind_source_addr: Option<String> = "bind-source-addr",
    port: u16 = "port",
    tcp_backlog: u32 = "tcp-backlog",
    /// Seconds; 0 turns probes off.
    tcp_keepalive: u32 = "tcp-keepalive",
    busy_poll_us: u32 = "busy-poll-us",
    /// Seconds; 0 never closes idle clients.
    timeout: u32 = "timeout",
    unixsocket: Option<String> = "unixsocket",
    /// The mode itself (0o700 is 448); 0 leaves it to the umask.
    unixsocketperm: u32 = "unixsocketperm",
    unixsocketgroup: Option<String> = "unixsocketgroup",
    maxclients: u32 = "maxclients",
    max_new_connections_per_cycle: u32 = "max-new-connections-per-cycle",
    max_new_tls_connections_per_cycle: u32 = "max-new-tls-connections-per-cycle",
    protected_mode: bool = "protected-mode",
    socket_mark_id: u32 = "socket-mark-id",
    mptcp: bool = "mptcp",
    /// Indexed by [`ClientClass`].
    client_output_buffer_limit: [OutputBufferLimit; 3] = "client-output-buffer-limit",
    /// Bytes.
    client_query_buffer_limit: u64 = "client-query-buffer-limit",
    /// Bytes.
    proto_max_bulk_len: u64 = "proto-max-bulk-len",
    client_default_resp: u8 = "client-default-resp",
    io_threads: u32 = "io-threads",
    io_threads_always_active: bool = "io-threads-always-active",
    prefetch_batch_max_size: u32 = "prefetch-batch-max-size",
    min_io_threads_avoid_copy_reply: u32 = "min-io-threads-avoid-copy-reply",
    min_string_size_avoid_copy_reply: u32 = "min-string-size-avoid-copy-reply",
    min_string_size_avoid_copy_reply_threaded: u32 = "min-string-size-avoid-copy-reply-threaded",
    rdma_bind: Vec<String> = "rdma-bind",
    rdma_port: u16 = "rdma-port",
    rdma_rx_size: u32 = "rdma-rx-size",
    rdma_completion_vector: i32 = "rdma-completion-vector",
    req_res_logfile: Option<String> = "req-res-logfile",

    // TLS
    tls_port: u16 = "tls-port",
    tls_cert_file: Option<String> = "tls-cert-file",
    tls_key_file: Option<String> = "tls-key-file",
    tls_key_file_pass: Option<Vec<u8>> = "tls-key-file-pass",
    tls_client_cert_file: Option<String> = "tls-client-cert-file",
    tls_client_key_file: Option<String> = "tls-client-key-file",
    tls_client_key_file_pass: Option<Vec<u8>> = "tls-client-key-file-pass",
    tls_ca_cert_file: Option<String> = "tls-ca-cert-file",
    tls_ca_cert_dir: Option<String> = "tls-ca-cert-dir",
    tls_dh_params_file: Option<String> = "tls-dh-params-file",
    tls_auth_clients: TlsAuthClients = "tls-auth-clients",
    tls_auth_clients_user: TlsAuthClientsUser = "tls-auth-clients-user",
    tls_replication: bool = "tls-replication",
    tls_cluster: bool = "tls-cluster",
    tls_protocols: Option<String> = "tls-protocols",
    tls_ciphers: Option<String> = "tls-ciphers",
    tls_ciphersuites: Option<String> = "tls-ciphersuites",
    tls_prefer_server_ciphers: bool = "tls-prefer-server-ciphers",
    tls_session_caching: bool = "tls-session-caching",
    tls_session_cache_size: u32 = "tls-session-cache-size",
    /// Seconds.
    tls_session_cache_timeout: u32 = "tls-session-cache-timeout",
    /// Seconds; 0 never reloads.
    tls_auto_reload_interval: u32 = "tls-auto-reload-interval",

    // Process
    daemonize: bool = "daemonize",
    supervised: Supervised = "supervised",
    pidfile: Option<String> = "pidfile",
    /// Absolute once loaded from [`super::Sources`]; relative file names are meant inside it.
    dir: String = "dir",
    databases: u32 = "databases",
    /// Turns of the housekeeping timer a second, 1 to 500.
    hz: u32 = "hz",
    dynamic_hz: bool = "dynamic-hz",
    always_show_logo: bool = "always-show-logo",
    set_proc_title: bool = "set-proc-title",
    proc_title_template: String = "proc-title-template",
    locale_collate: String = "locale-collate",
    ignore_warnings: Option<String> = "ignore-warnings",
    oom_score_adj: OomScoreAdj = "oom-score-adj",
    /// For a primary, a replica and a background child.
    oom_score_adj_values: [i32; 3] = "oom-score-adj-values",
    disable_thp: bool = "disable-thp",
    server_cpulist: Option<String> = "server-cpulist",
    bio_cpulist: Option<String> = "bio-cpulist",
    aof_rewrite_cpulist: Option<String> = "aof-rewrite-cpulist",
    bgsave_cpulist: Option<String> = "bgsave-cpulist",
    /// Seconds to wait for lagging replicas.
    shutdown_timeout: u32 = "shutdown-timeout",
    shutdown_on_sigint: ShutdownFlags = "shutdown-on-sigint",
    shutdown_on_sigterm: ShutdownFlags = "shutdown-on-sigterm",
    crash_log_enabled: bool = "crash-log-enabled",
    crash_memcheck_enabled: bool = "crash-memcheck-enabled",
    use_exit_on_panic: bool = "use-exit-on-panic",
    /// Milliseconds; 0 turns it off.
    watchdog_period: u32 = "watchdog-period",
    extended_redis_compatibility: bool = "extended-redis-compatibility",
    availability_zone: String = "availability-zone",
    enable_debug_command: LocalAccess = "enable-debug-command",
    enable_module_command: LocalAccess = "enable-module-command",
    enable_protected_configs: LocalAccess = "enable-protected-configs",
    enable_debug_assert: bool = "enable-debug-assert",
    debug_context: Option<String> = "debug-context",
    hash_seed: Option<String> = "hash-seed",
    renamed_commands: Vec<RenamedCommand> = "rename-command",
    modules: Vec<ModuleLine> = "loadmodule",

    // Log and monitoring
    loglevel: LogLevel = "loglevel",
    /// Empty means standard output.
    logfile: String = "logfile",
    log_format: LogFormat = "log-format",
    log_timestamp_format: LogTimestampFormat = "log-timestamp-format",
    syslog_enabled: bool = "syslog-enabled",
    syslog_ident: String = "syslog-ident",
    syslog_facility: SyslogFacility = "syslog-facility",
    hide_user_data_from_log: bool = "hide-user-data-from-log",
    /// Microseconds; negative turns the log off.
    slowlog_log_slower_than: i64 = "slowlog-log-slower-than",
    slowlog_max_len: u64 = "slowlog-max-len",
    /// Bytes; negative turns the log off.
    commandlog_request_larger_than: i64 = "commandlog-request-larger-than",
    commandlog_large_request_max_len: u64 = "commandlog-large-request-max-len",
    /// Bytes; negative turns the log off.
    commandlog_reply_larger_than: i64 = "commandlog-reply-larger-than",
    commandlog_large_reply_max_len: u64 = "commandlog-large-reply-max-len",
    /// Milliseconds; 0 turns it off.
    latency_monitor_threshold: u64 = "latency-monitor-threshold",
    latency_tracking: bool = "latency-tracking",
    latency_tracking_info_percentiles: Vec<f64> = "latency-tracking-info-percentiles",

    // Security
    requirepass: Option<Vec<u8>> = "requirepass",
    aclfile: Option<String> = "aclfile",
    acl_pubsub_default: AclPubsubDefault = "acl-pubsub-default",
    acllog_max_len: u64 = "acllog-max-len",
    users: Vec<UserLine> = "user",

    // Memory
    /// Bytes; 0 means no limit.
    maxmemory: u64 = "maxmemory",
    maxmemory_policy: MaxmemoryPolicy = "maxmemory-policy",
    maxmemory_samples: u32 = "maxmemory-samples",
    maxmemory_eviction_tenacity: u32 = "maxmemory-eviction-tenacity",
    maxmemory_clients: MemoryOrPercent = "maxmemory-clients",
    /// Bytes; 0 means no limit.
    mq_maxmemory: u64 = "mq-maxmemory",
    /// Bytes; 0 means no limit.
    mq_page_after: u64 = "mq-page-after",
    lfu_log_factor: u32 = "lfu-log-factor",
    /// Minutes.
    lfu_decay_time: u32 = "lfu-decay-time",
    active_expire_effort: u32 = "active-expire-effort",
    lazyfree_lazy_eviction: bool = "lazyfree-lazy-eviction",
    lazyfree_lazy_expire: bool = "lazyfree-lazy-expire",
    lazyfree_lazy_server_del: bool = "lazyfree-lazy-server-del",
    lazyfree_lazy_user_del: bool = "lazyfree-lazy-user-del",
    lazyfree_lazy_user_flush: bool = "lazyfree-lazy-user-flush",
    key_memory_histograms: bool = "key-memory-histograms",
    activerehashing: bool = "activerehashing",
    activedefrag: bool = "activedefrag",
    active_defrag_cycle_min: u32 = "active-defrag-cycle-min",
    active_defrag_cycle_max: u32 = "active-defrag-cycle-max",
    active_defrag_cycle_us: u32 = "active-defrag-cycle-us",
    active_defrag_ignore_bytes: u64 = "active-defrag-ignore-bytes",
    active_defrag_max_scan_fields: u64 = "active-defrag-max-scan-fields",
    active_defrag_threshold_lower: u32 = "active-defrag-threshold-lower",
    active_defrag_threshold_upper: u32 = "active-defrag-threshold-upper",
    jemalloc_bg_thread: bool = "jemalloc-bg-thread",
    tracking_table_max_keys: u64 = "tracking-table-max-keys",

    // Data types
    hash_max_listpack_entries: u64 = "hash-max-listpack-entries",
    /// Bytes.
    hash_max_listpack_value: u64 = "hash-max-listpack-value",
    /// Positive: entries; -1 to -5: 4, 8, 16, 32, 64 KiB.
    list_max_listpack_size: i32 = "list-max-listpack-size",
    list_compress_depth: u32 = "list-compress-depth",
    set_max_intset_entries: u64 = "set-max-intset-entries",
    set_max_listpack_entries: u64 = "set-max-listpack-entries",
    /// Bytes.
    set_max_listpack_value: u64 = "set-max-listpack-value",
    zset_max_listpack_entries: u64 = "zset-max-listpack-entries",
    /// Bytes.
    zset_max_listpack_value: u64 = "zset-max-listpack-value",
    /// Bytes.
    hll_sparse_max_bytes: u64 = "hll-sparse-max-bytes",
    /// Bytes; 0 means no limit.
    stream_node_max_bytes: u64 = "stream-node-max-bytes",
    /// 0 means no limit.
    stream_node_max_entries: u64 = "stream-node-max-entries",
    sanitize_dump_payload: SanitizeDump = "sanitize-dump-payload",
    notify_keyspace_events: NotifyFlags = "notify-keyspace-events",

    // Scripting
    /// Milliseconds; 0 means no limit.
    busy_reply_threshold: u64 = "busy-reply-threshold",
    script_memory_limit: u64 = "script-memory-limit",
    lua_enable_deprecated_api: bool = "lua-enable-deprecated-api",
    lua_enable_insecure_api: bool = "lua-enable-insecure-api",

    // Persistence
    /// Empty means no automatic snapshots.
    save: Vec<SavePoint> = "save",
    dbfilename: String = "dbfilename",
    rdbcompression: bool = "rdbcompression",
    rdb_dialect: RdbDialect = "rdb-dialect",
    rdbchecksum: bool = "rdbchecksum",
    rdb_version_check: RdbVersionCheck = "rdb-version-check",
    rdb_del_sync_files: bool = "rdb-del-sync-files",
    rdb_save_incremental_fsync: bool = "rdb-save-incremental-fsync",
    /// Microseconds a key.
    rdb_key_save_delay: i32 = "rdb-key-save-delay",
    /// Microseconds a key.
    key_load_delay: i32 = "key-load-delay",
    /// Bytes.
    loading_process_events_interval_bytes: u32 = "loading-process-events-interval-bytes",
    stop_writes_on_bgsave_error: bool = "stop-writes-on-bgsave-error",
    appendonly: bool = "appendonly",
    appendfilename: String = "appendfilename",
    appenddirname: String = "appenddirname",
    appendfsync: AppendFsync = "appendfsync",
    no_appendfsync_on_rewrite: bool = "no-appendfsync-on-rewrite",
    /// Percent of growth; 0 never rewrites by itself.
    auto_aof_rewrite_percentage: u32 = "auto-aof-rewrite-percentage",
    /// Bytes.
    auto_aof_rewrite_min_size: u64 = "auto-aof-rewrite-min-size",
    aof_journal_size: u64 = "aof-journal-size",
    aof_load_truncated: bool = "aof-load-truncated",
    aof_use_rdb_preamble: bool = "aof-use-rdb-preamble",
    aof_timestamp_enabled: bool = "aof-timestamp-enabled",
    aof_rewrite_incremental_fsync: bool = "aof-rewrite-incremental-fsync",
    aof_disable_auto_gc: bool = "aof-disable-auto-gc",

    // Replication
    replicaof: Option<ReplicaOf> = "replicaof",
    masterauth: Option<Vec<u8>> = "masterauth",
    masteruser: Option<Vec<u8>> = "masteruser",
    replica_serve_stale_data: bool = "replica-serve-stale-data",
    replica_read_only: bool = "replica-read-only",
    replica_priority: u32 = "replica-priority",
    replica_announced: bool = "replica-announced",
    replica_announce_ip: Option<String> = "replica-announce-ip",
    replica_announce_port: u16 = "replica-announce-port",
    replica_ignore_maxmemory: bool = "replica-ignore-maxmemory",
    replica_ignore_disk_write_errors: bool = "replica-ignore-disk-write-errors",
    replica_lazy_flush: bool = "replica-lazy-flush",
    /// Bytes; 0 means the replica class of `client-output-buffer-limit`.
    replica_full_sync_buffer_limit: u64 = "replica-full-sync-buffer-limit",
    /// Seconds.
    repl_ping_replica_period: u32 = "repl-ping-replica-period",
    /// Seconds.
    repl_timeout: u32 = "repl-timeout",
    repl_disable_tcp_nodelay: bool = "repl-disable-tcp-nodelay",
    /// Bytes, at least 16 KiB.
    repl_backlog_size: u64 = "repl-backlog-size",
    /// Seconds; 0 keeps the backlog for good.
    repl_backlog_ttl: u64 = "repl-backlog-ttl",
    repl_diskless_sync: bool = "repl-diskless-sync",
    /// Seconds.
    repl_diskless_sync_delay: u32 = "repl-diskless-sync-delay",
    repl_diskless_sync_max_replicas: u32 = "repl-diskless-sync-max-replicas",
    repl_diskless_load: ReplDisklessLoad = "repl-diskless-load",
    repl_mptcp: bool = "repl-mptcp",
    repl_rdb_channel: bool = "repl-rdb-channel",
    dual_channel_replication_enabled: bool = "dual-channel-replication-enabled",
    min_replicas_to_write: u32 = "min-replicas-to-write",
    /// Seconds.
    min_replicas_max_lag: u32 = "min-replicas-max-lag",
    propagation_error_behavior: PropagationErrorBehavior = "propagation-error-behavior",
    import_mode: bool = "import-mode",

    // Cluster
    cluster_enabled: bool = "cluster-enabled",
    cluster_config_file: String = "cluster-config-file",
    cluster_config_save_behavior: ClusterSaveBehavior = "cluster-config-save-behavior",
    /// Milliseconds.
    cluster_node_timeout: u64 = "cluster-node-timeout",
    /// 0 means `port` + 10000.
    cluster_port: u16 = "cluster-port",
    cluster_databases: u32 = "cluster-databases",
    cluster_replica_validity_factor: u32 = "cluster-replica-validity-factor",
    cluster_replica_no_failover: bool = "cluster-replica-no-failover",
    cluster_migration_barrier: u32 = "cluster-migration-barrier",
    cluster_allow_replica_migration: bool = "cluster-allow-replica-migration",
    cluster_require_full_coverage: bool = "cluster-require-full-coverage",
    cluster_allow_reads_when_down: bool = "cluster-allow-reads-when-down",
    cluster_allow_pubsubshard_when_down: bool = "cluster-allow-pubsubshard-when-down",
    /// Bytes; 0 means no limit.
    cluster_link_sendbuf_limit: u64 = "cluster-link-sendbuf-limit",
    cluster_announce_ip: Option<String> = "cluster-announce-ip",
    cluster_announce_hostname: Option<String> = "cluster-announce-hostname",
    cluster_announce_human_nodename: Option<String> = "cluster-announce-human-nodename",
    cluster_announce_port: u16 = "cluster-announce-port",
    cluster_announce_tls_port: u16 = "cluster-announce-tls-port",
    cluster_announce_bus_port: u16 = "cluster-announce-bus-port",
    cluster_announce_client_ipv4: String = "cluster-announce-client-ipv4",
    cluster_announce_client_ipv6: String = "cluster-announce-client-ipv6",
    cluster_announce_client_port: u16 = "cluster-announce-client-port",
    cluster_announce_client_tls_port: u16 = "cluster-announce-client-tls-port",
    cluster_preferred_endpoint_type: EndpointType = "cluster-preferred-endpoint-type",
    /// Seconds.
    cluster_blacklist_ttl: i64 = "cluster-blacklist-ttl",
    /// Milliseconds.
    cluster_manual_failover_timeout: u32 = "cluster-manual-failover-timeout",
    /// Milliseconds; 0 leaves it to the server.
    cluster_ping_interval: u64 = "cluster-ping-interval",
    /// Percent.
    cluster_message_gossip_perc: u32 = "cluster-message-gossip-perc",
    cluster_slot_stats_enabled: bool = "cluster-slot-stats-enabled",
    cluster_slot_migration_log_max_len: u64 = "cluster-slot-migration-log-max-len",
    /// Bytes; -1 means no limit.
    slot_migration_max_failover_repl_bytes: i64 = "slot-migration-max-failover-repl-bytes",
    /// Percent.
    cluster_compatibility_sample_ratio: u32 = "cluster-compatibility-sample-ratio",
}

impl Default for Config {
    /// Every directive at its default.
    fn default() -> Self {
        Self::defaults().clone()
    }
}

impl fmt::Debug for Config {
    /// Shows only what differs from the defaults, and never a secret.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let defaults = Self::defaults();
        let mut shown = out.debug_struct("Config");
        for directive in directives() {
            let value = directive.get(self);
            if value == directive.get(defaults) {
                continue;
            }
            if directive.flags.has(Flags::SENSITIVE) {
                shown.field(directive.name, &"(hidden)");
            } else {
                shown.field(directive.name, &String::from_utf8_lossy(&value));
            }
        }
        shown.finish_non_exhaustive()
    }
}

impl Config {
    /// Every directive at its default, to compare with; made once.
    pub fn defaults() -> &'static Self {
        static DEFAULTS: OnceLock<Config> = OnceLock::new();
        DEFAULTS.get_or_init(|| {
            let mut config = Self::blank();
            for directive in directives() {
                directive.set_default(&mut config);
            }
            config
        })
    }

    /// The output buffer limit of one class of clients.
    pub fn output_buffer_limit(&self, class: ClientClass) -> OutputBufferLimit {
        let [normal, replica, pubsub] = self.client_output_buffer_limit;
        match class {
            ClientClass::Normal => normal,
            ClientClass::Replica => replica,
            ClientClass::Pubsub => pubsub,
        }
    }

    /// Where a file that a directive names lies: as it is when absolute, else inside `dir`.
    pub fn path_in_dir(&self, file: &str) -> PathBuf {
        Path::new(&self.dir).join(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_changes_and_hides_secrets() {
        let mut config = Config::default();
        assert_eq!(format!("{config:?}"), "Config { .. }");
        config.port = 7000;
        config.requirepass = Some(b"hunter2".to_vec());
        assert_eq!(format!("{config:?}"), "Config { port: \"7000\", requirepass: \"(hidden)\", .. }");
    }

    #[test]
    fn relative_files_lie_inside_dir_and_absolute_ones_where_they_say() {
        let config = Config { dir: "/data".to_owned(), ..Config::default() };
        assert_eq!(config.path_in_dir("dump.rdb"), Path::new("/data/dump.rdb"));
        assert_eq!(config.path_in_dir("/etc/users.acl"), Path::new("/etc/users.acl"));
    }
}
