//! Directives of cluster nodes.

use super::super::directive::{
    Apply, Directive, INT_MAX, LONG_MAX, choice, flag, int, memory, optional_text, piece, row, text,
};
use super::super::values::{ClusterSaveBehavior, EndpointType};

const ALONE: &str = "this server is no cluster node";
const HOSTNAME_BYTES_MAX: usize = 255;
const ADDRESS_BYTES_MAX: usize = 45;

/// A row without effect until there are clusters.
const fn node(directive: Directive) -> Directive {
    directive.until(piece::CLUSTER, ALONE)
}

/// A row that says what this node tells others about itself.
const fn announced(directive: Directive) -> Directive {
    node(directive).apply(Apply::ClusterAnnounce)
}

pub(super) static ROWS: &[Directive] = &[
    node(row("cluster-enabled", flag!(cluster_enabled), "no")).immutable().doc("Makes this server a cluster node."),
    node(row("cluster-config-file", text!(cluster_config_file, nodes_file), "nodes.conf"))
        .immutable()
        .doc("File in which the node keeps what it knows about the cluster."),
    node(row("cluster-config-save-behavior", choice!(cluster_config_save_behavior, ClusterSaveBehavior), "sync"))
        .doc("Gives up, or goes on, when that file cannot be written."),
    node(row("cluster-node-timeout", int!(cluster_node_timeout, 0, LONG_MAX), "15000"))
        .doc("Milliseconds of silence after which a node is suspected to be down."),
    node(row("cluster-port", int!(cluster_port, 0, 65535), "0"))
        .immutable()
        .doc("Port of the cluster bus; 0 is `port` plus 10000."),
    node(row("cluster-databases", int!(cluster_databases, 1, INT_MAX), "1"))
        .immutable()
        .doc("Numbered databases of a cluster node."),
    node(row("cluster-replica-validity-factor", int!(cluster_replica_validity_factor, 0, INT_MAX), "10"))
        .alias("cluster-slave-validity-factor")
        .doc("How old a replica's data may be for it to be promoted, in node timeouts; 0 sets no limit."),
    node(row("cluster-replica-no-failover", flag!(cluster_replica_no_failover), "no"))
        .alias("cluster-slave-no-failover")
        .apply(Apply::ClusterFlags)
        .doc("Keeps this replica from promoting itself."),
    node(row("cluster-migration-barrier", int!(cluster_migration_barrier, 0, INT_MAX), "1"))
        .doc("Replicas that a primary keeps before one moves to a primary without any."),
    node(row("cluster-allow-replica-migration", flag!(cluster_allow_replica_migration), "yes"))
        .doc("Lets replicas move to primaries without any."),
    node(row("cluster-require-full-coverage", flag!(cluster_require_full_coverage), "yes"))
        .doc("Stops answering when some slot is served by nobody."),
    node(row("cluster-allow-reads-when-down", flag!(cluster_allow_reads_when_down), "no"))
        .doc("Still answers reads then."),
    node(row("cluster-allow-pubsubshard-when-down", flag!(cluster_allow_pubsubshard_when_down), "yes"))
        .doc("Still delivers shard channels then."),
    node(row("cluster-link-sendbuf-limit", memory!(cluster_link_sendbuf_limit, 0, u64::MAX as i128), "0"))
        .doc("Unsent bytes to another node at which the link is closed; 0 sets no limit."),
    announced(row("cluster-announce-ip", optional_text!(cluster_announce_ip, announced_address), ""))
        .doc("Address to give to others; empty lets them see for themselves."),
    announced(row("cluster-announce-hostname", optional_text!(cluster_announce_hostname, hostname), ""))
        .doc("Host name to give to others."),
    announced(row("cluster-announce-human-nodename", optional_text!(cluster_announce_human_nodename, node_name), ""))
        .doc("Name of this node for people."),
    announced(row("cluster-announce-port", int!(cluster_announce_port, 0, 65535), "0"))
        .doc("Port to give to others; 0 gives `port`."),
    announced(row("cluster-announce-tls-port", int!(cluster_announce_tls_port, 0, 65535), "0"))
        .doc("TLS port to give to others; 0 gives `tls-port`."),
    announced(row("cluster-announce-bus-port", int!(cluster_announce_bus_port, 0, 65535), "0"))
        .doc("Bus port to give to others; 0 gives `cluster-port`."),
    announced(row("cluster-announce-client-ipv4", text!(cluster_announce_client_ipv4, ipv4), ""))
        .doc("IPv4 address to give to clients."),
    announced(row("cluster-announce-client-ipv6", text!(cluster_announce_client_ipv6, ipv6), ""))
        .doc("IPv6 address to give to clients."),
    announced(row("cluster-announce-client-port", int!(cluster_announce_client_port, 0, 65535), "0"))
        .doc("Port to give to clients; 0 gives what other nodes are given."),
    announced(row("cluster-announce-client-tls-port", int!(cluster_announce_client_tls_port, 0, 65535), "0"))
        .doc("TLS port to give to clients; 0 gives what other nodes are given."),
    node(row("cluster-preferred-endpoint-type", choice!(cluster_preferred_endpoint_type, EndpointType), "ip"))
        .doc("How redirections name a node."),
    node(row("cluster-blacklist-ttl", int!(cluster_blacklist_ttl, i64::MIN as i128, LONG_MAX), "60"))
        .doc("Seconds for which a forgotten node is not learned again."),
    node(row("cluster-manual-failover-timeout", int!(cluster_manual_failover_timeout, 1, INT_MAX), "5000"))
        .doc("Milliseconds a manual failover may take."),
    node(row("cluster-ping-interval", int!(cluster_ping_interval, 0, LONG_MAX), "0"))
        .hidden()
        .doc("Milliseconds between pings on the bus; 0 leaves it to the server."),
    node(row("cluster-message-gossip-perc", int!(cluster_message_gossip_perc, 1, 100), "10"))
        .hidden()
        .doc("Share of the nodes that a ping tells about, in percent."),
    node(row("cluster-slot-stats-enabled", flag!(cluster_slot_stats_enabled), "no"))
        .doc("Counts processor time and traffic for each slot."),
    node(row("cluster-slot-migration-log-max-len", int!(cluster_slot_migration_log_max_len, 0, LONG_MAX), "1000"))
        .doc("Finished migrations of slots that are remembered."),
    node(row(
        "slot-migration-max-failover-repl-bytes",
        memory!(slot_migration_max_failover_repl_bytes, -1, LONG_MAX),
        "0",
    ))
    .doc("Bytes still to be sent at which a migration of slots pauses writes to finish; -1 always does."),
    node(row("cluster-compatibility-sample-ratio", int!(cluster_compatibility_sample_ratio, 0, 100), "0"))
        .doc("Share of commands, in percent, checked for whether a cluster would take them."),
];

fn nodes_file(name: &str) -> Result<(), &'static str> {
    if name.is_empty() { Err("cluster-config-file can't be empty") } else { Ok(()) }
}

fn announced_address(address: &str) -> Result<(), &'static str> {
    if address.len() > ADDRESS_BYTES_MAX {
        return Err("cluster-announce-ip is too long");
    }
    if is_announceable(address) { Ok(()) } else { Err("cluster-announce-ip contains invalid character") }
}

fn hostname(name: &str) -> Result<(), &'static str> {
    if name.len() > HOSTNAME_BYTES_MAX {
        return Err("Hostnames must be less than 256 characters");
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    if name.bytes().all(allowed) {
        Ok(())
    } else {
        Err("Hostnames may only contain alphanumeric characters, hyphens or dots")
    }
}

fn node_name(name: &str) -> Result<(), &'static str> {
    if is_announceable(name) { Ok(()) } else { Err("Announced human node name contained invalid character") }
}

/// Whether a text survives the node file and bus messages, where most punctuation means something.
fn is_announceable(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-./:_`".contains(&byte) || !byte.is_ascii())
}

fn ipv4(address: &str) -> Result<(), &'static str> {
    let valid = address.is_empty() || address.parse::<std::net::Ipv4Addr>().is_ok();
    if valid { Ok(()) } else { Err("Invalid IPv4 address") }
}

fn ipv6(address: &str) -> Result<(), &'static str> {
    let valid = address.is_empty() || address.parse::<std::net::Ipv6Addr>().is_ok();
    if valid { Ok(()) } else { Err("Invalid IPv6 address") }
}
