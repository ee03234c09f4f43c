//! Directives of listening, clients and their buffers.

use super::super::directive::Kind::Special;
use super::super::directive::{
    Apply, Directive, INT_MAX, LONG_MAX, flag, int, memory, octal, optional_text, piece, row,
};
use super::super::special;

const IO: &str = "the executor serves all sockets itself";
const RDMA: &str = "there is no RDMA transport";
const MIB: i128 = 1 << 20;
const OUTPUT_LIMITS: &str = "normal 0 0 0 slave 256mb 64mb 60 pubsub 32mb 8mb 60";

pub(super) static ROWS: &[Directive] = &[
    row("bind", Special(&special::BIND), "* -::*")
        .multi_arg()
        .apply(Apply::Listeners)
        .doc("Addresses to listen on; `*` and `::*` are all, and a leading `-` makes an address optional."),
    row("port", int!(port, 0, 65535), "6379")
        .apply(Apply::Listeners)
        .doc("TCP port for plain connections; 0 opens none."),
    row("unixsocket", optional_text!(unixsocket), "").immutable().doc("Path of a Unix socket to listen on as well."),
    row("unixsocketperm", octal!(unixsocketperm, 0, 0o777), "0")
        .immutable()
        .doc("Mode of the Unix socket; 0 leaves it to the umask."),
    row("unixsocketgroup", optional_text!(unixsocketgroup), "")
        .immutable()
        .doc("Group that owns the Unix socket: its name in `/etc/group`, or its number."),
    row("tcp-backlog", int!(tcp_backlog, 0, INT_MAX), "511")
        .immutable()
        .doc("Connections the kernel may queue before they are accepted."),
    row("tcp-keepalive", int!(tcp_keepalive, 0, INT_MAX), "300")
        .doc("Seconds between probes of silent connections; 0 sends none."),
    row("busy-poll-us", int!(busy_poll_us, 0, 1000), "40")
        .doc(
            "Microseconds for which the server looks for the next request before it sleeps, where requests come that soon; 0 \
             sleeps at once.",
        ),
    row("timeout", int!(timeout, 0, INT_MAX), "0")
        .doc("Seconds after which an idle client is disconnected; 0 never does."),
    row("maxclients", int!(maxclients, 1, u32::MAX as i128), "10000")
        .apply(Apply::MaxClients)
        .doc("Clients that may be connected at once."),
    row("max-new-connections-per-cycle", int!(max_new_connections_per_cycle, 1, 1000), "10")
        .doc("Connections accepted in one turn of the event loop."),
    row("max-new-tls-connections-per-cycle", int!(max_new_tls_connections_per_cycle, 1, 1000), "1")
        .doc("TLS connections accepted in one turn of the event loop."),
    row("protected-mode", flag!(protected_mode), "yes")
        .doc("Turns away clients of other machines while no password is set and no address was bound on purpose."),
    row("socket-mark-id", int!(socket_mark_id, 0, u32::MAX as i128), "0")
        .immutable()
        .doc("Mark put on listening sockets for packet filters and routing; 0 puts none."),
    row("bind-source-addr", optional_text!(bind_source_addr), "")
        .until(piece::REPLICATION, "the server opens no connections of its own yet")
        .doc("Local address of outgoing connections."),
    row("mptcp", flag!(mptcp), "no")
        .immutable()
        .not_needed("listeners are plain TCP")
        .doc("Listens with Multipath TCP."),
    row("client-query-buffer-limit", memory!(client_query_buffer_limit, MIB, LONG_MAX), "1gb")
        .doc("Unparsed input a client may pile up before it is disconnected."),
    row("client-output-buffer-limit", Special(&special::OUTPUT_BUFFER_LIMIT), OUTPUT_LIMITS)
        .multi_arg()
        .doc("Unread replies a class of clients may pile up: hard limit, soft limit, seconds at the soft one."),
    row("proto-max-bulk-len", memory!(proto_max_bulk_len, MIB, LONG_MAX), "512mb")
        .doc("Largest single argument of a request."),
    row("client-default-resp", int!(client_default_resp, 2, 3), "2")
        .immutable()
        .hidden()
        .not_needed("a connection starts in RESP2 and asks for RESP3 by HELLO")
        .doc("Protocol version that new connections start with; a testing aid."),
    row("req-res-logfile", optional_text!(req_res_logfile), "")
        .immutable()
        .hidden()
        .not_needed("requests and replies are not recorded")
        .doc("File to record all requests and replies in; a testing aid."),
    row("io-threads", int!(io_threads, 1, 256), "1")
        .apply(Apply::IoThreads)
        .until(piece::IO_THREADS, IO)
        .doc("Threads that read, parse and write, the executor included."),
    row("io-threads-always-active", flag!(io_threads_always_active), "no")
        .hidden()
        .until(piece::IO_THREADS, IO)
        .doc("Uses every I/O thread at any load; a testing aid."),
    row("prefetch-batch-max-size", int!(prefetch_batch_max_size, 0, 128), "16")
        .until(piece::IO_THREADS, "batches have a fixed size")
        .doc("Commands whose keys are fetched into the processor's cache together; 0 and 1 fetch none ahead."),
    row("min-io-threads-avoid-copy-reply", int!(min_io_threads_avoid_copy_reply, 0, INT_MAX), "7")
        .hidden()
        .until(piece::IO_THREADS, IO)
        .doc("Threads from which on large values are sent without copying."),
    row("min-string-size-avoid-copy-reply", int!(min_string_size_avoid_copy_reply, 0, INT_MAX), "16384")
        .hidden()
        .until(piece::IO_THREADS, IO)
        .doc("Size in bytes from which on values are sent without copying when there is one thread."),
    row(
        "min-string-size-avoid-copy-reply-threaded",
        int!(min_string_size_avoid_copy_reply_threaded, 0, INT_MAX),
        "65536",
    )
    .hidden()
    .until(piece::IO_THREADS, IO)
    .doc("Size in bytes from which on values are sent without copying when there are several threads."),
    row("rdma-bind", Special(&special::RDMA_BIND), "")
        .multi_arg()
        .not_needed(RDMA)
        .doc("Addresses to listen on for RDMA; only the empty list is taken."),
    row("rdma-port", int!(rdma_port, 0, 65535), "0")
        .refuse_change(|config| (config.rdma_port != 0).then_some("No RDMA building support."))
        .not_needed(RDMA)
        .doc("Port for RDMA; 0 opens none."),
    row("rdma-rx-size", int!(rdma_rx_size, 65536, 16_777_216), "1048576")
        .immutable()
        .not_needed(RDMA)
        .doc("Receive buffer of an RDMA connection in bytes."),
    row("rdma-completion-vector", int!(rdma_completion_vector, -1, 1024), "-1")
        .immutable()
        .not_needed(RDMA)
        .doc("Completion vector of RDMA; -1 picks one at random."),
];
