//! Directives of primaries and replicas.

use super::super::directive::Kind::Special;
use super::super::directive::{
    Apply, Directive, INT_MAX, LONG_MAX, choice, flag, int, memory, optional_text, piece, row, secret,
};
use super::super::special;
use super::super::values::{PropagationErrorBehavior, ReplDisklessLoad};

const ALONE: &str = "this server has no replicas and is none";
/// A smaller backlog could not hold what is sent while a replica reconnects.
const BACKLOG_BYTES_MIN: u64 = 16 << 10;

/// A row without effect until there are replicas.
const fn repl(directive: Directive) -> Directive {
    directive.until(piece::REPLICATION, ALONE)
}

pub(super) static ROWS: &[Directive] = &[
    repl(row("replicaof", Special(&special::REPLICAOF), ""))
        .alias("slaveof")
        .multi_arg()
        .immutable()
        .doc("Makes this server a replica of that host and port."),
    repl(row("masterauth", secret!(masterauth), ""))
        .alias("primaryauth")
        .sensitive()
        .doc("Password to give to the primary."),
    repl(row("masteruser", secret!(masteruser), ""))
        .alias("primaryuser")
        .sensitive()
        .doc("User to log in as at the primary; empty is the default user."),
    repl(row("replica-serve-stale-data", flag!(replica_serve_stale_data), "yes"))
        .alias("slave-serve-stale-data")
        .doc("Answers from a copy that may be old while the primary cannot be reached."),
    repl(row("replica-read-only", flag!(replica_read_only), "yes"))
        .alias("slave-read-only")
        .doc("Refuses writes of clients on a replica."),
    repl(row("replica-priority", int!(replica_priority, 0, INT_MAX), "100"))
        .alias("slave-priority")
        .doc("Replicas with a lower number are promoted first; 0 never is."),
    repl(row("replica-announced", flag!(replica_announced), "yes"))
        .doc("Lets Sentinel tell clients about this replica."),
    repl(row("replica-announce-ip", optional_text!(replica_announce_ip), ""))
        .alias("slave-announce-ip")
        .doc("Address to give to the primary instead of the one it sees."),
    repl(row("replica-announce-port", int!(replica_announce_port, 0, 65535), "0"))
        .alias("slave-announce-port")
        .doc("Port to give to the primary instead of `port`; 0 gives that."),
    repl(row("replica-ignore-maxmemory", flag!(replica_ignore_maxmemory), "yes"))
        .alias("slave-ignore-maxmemory")
        .doc("Leaves eviction to the primary."),
    repl(row("replica-ignore-disk-write-errors", flag!(replica_ignore_disk_write_errors), "no"))
        .doc("Goes on replicating when the disk fails instead of giving up."),
    repl(row("replica-lazy-flush", flag!(replica_lazy_flush), "yes"))
        .alias("slave-lazy-flush")
        .doc("Frees the old data in the background before a full synchronisation."),
    repl(row("replica-full-sync-buffer-limit", memory!(replica_full_sync_buffer_limit, 0, LONG_MAX), "0")).doc(
        "Changes a replica may pile up during a full synchronisation; 0 takes the output buffer limit of replicas.",
    ),
    repl(row("repl-ping-replica-period", int!(repl_ping_replica_period, 1, INT_MAX), "10"))
        .alias("repl-ping-slave-period")
        .doc("Seconds between pings to replicas."),
    repl(row("repl-timeout", int!(repl_timeout, 1, INT_MAX), "60"))
        .doc("Seconds of silence after which a replication link is given up."),
    repl(row("repl-disable-tcp-nodelay", flag!(repl_disable_tcp_nodelay), "no"))
        .doc("Saves packets to replicas at the price of delay."),
    repl(row("repl-backlog-size", memory!(repl_backlog_size, 1, LONG_MAX), "10mb"))
        .adjust(|config| config.repl_backlog_size = config.repl_backlog_size.max(BACKLOG_BYTES_MIN))
        .apply(Apply::ReplBacklog)
        .doc("Changes that are kept for replicas that come back; at least 16 KiB."),
    repl(row("repl-backlog-ttl", int!(repl_backlog_ttl, 0, LONG_MAX), "3600"))
        .doc("Seconds without replicas after which the backlog is freed; 0 keeps it."),
    repl(row("repl-diskless-sync", flag!(repl_diskless_sync), "yes"))
        .doc("Sends a full synchronisation without a file in between."),
    repl(row("repl-diskless-sync-delay", int!(repl_diskless_sync_delay, 0, INT_MAX), "5"))
        .doc("Seconds to wait for more replicas before a full synchronisation starts."),
    repl(row("repl-diskless-sync-max-replicas", int!(repl_diskless_sync_max_replicas, 0, INT_MAX), "0"))
        .doc("Waiting replicas that start it earlier; 0 always waits."),
    repl(row("repl-diskless-load", choice!(repl_diskless_load, ReplDisklessLoad), "disabled"))
        .doc("How a replica loads a full synchronisation straight from the socket."),
    repl(row("repl-mptcp", flag!(repl_mptcp), "no"))
        .immutable()
        .not_needed("links are plain TCP")
        .doc("Replicates over Multipath TCP."),
    repl(row("repl-rdb-channel", flag!(repl_rdb_channel), "yes"))
        .hidden()
        .doc("Sends a full synchronisation over a second connection."),
    repl(row("dual-channel-replication-enabled", flag!(dual_channel_replication_enabled), "no"))
        .doc("Sends a full synchronisation over a second connection, the other side willing."),
    repl(row("min-replicas-to-write", int!(min_replicas_to_write, 0, INT_MAX), "0"))
        .alias("min-slaves-to-write")
        .apply(Apply::GoodReplicas)
        .doc("Replicas that must be near for writes to be taken; 0 asks for none."),
    repl(row("min-replicas-max-lag", int!(min_replicas_max_lag, 0, INT_MAX), "10"))
        .alias("min-slaves-max-lag")
        .apply(Apply::GoodReplicas)
        .doc("Seconds of silence up to which a replica counts as near."),
    repl(row("propagation-error-behavior", choice!(propagation_error_behavior, PropagationErrorBehavior), "ignore"))
        .doc("What to do when a replicated command fails."),
    repl(row("import-mode", flag!(import_mode), "no"))
        .doc("Leaves expiry and eviction to a client that copies data in."),
];
