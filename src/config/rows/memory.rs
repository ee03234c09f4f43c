//! Directives of memory: limit, eviction, expiry, freeing, defragmentation.

use super::super::directive::Kind::Special;
use super::super::directive::{Apply, Directive, INT_MAX, LONG_MAX, choice, flag, int, memory, row};
use super::super::model::Config;
use super::super::special;
use super::super::values::MaxmemoryPolicy;

const DEFRAG: &str = "values are not moved in memory";

pub(super) static ROWS: &[Directive] = &[
    row("maxmemory", memory!(maxmemory, 0, u64::MAX as i128), "0")
        .apply(Apply::MaxMemory)
        .doc("Memory that data and buffers may take together; 0 sets no limit."),
    row("maxmemory-policy", choice!(maxmemory_policy, MaxmemoryPolicy), "noeviction")
        .apply(Apply::MemoryPolicy)
        .doc("Which keys give way when the limit is reached."),
    row("maxmemory-samples", int!(maxmemory_samples, 1, 64), "5")
        .doc("Keys that are compared to find the one to evict."),
    row("maxmemory-eviction-tenacity", int!(maxmemory_eviction_tenacity, 0, 100), "10")
        .doc("How much time eviction may take: 0 hardly any, 100 all it needs."),
    row("maxmemory-clients", Special(&special::MAXMEMORY_CLIENTS), "0")
        .apply(Apply::ClientMemory)
        .doc("Memory that all clients' buffers may take together; beyond it the greediest are disconnected."),
    row("mq-maxmemory", memory!(mq_maxmemory, 0, u64::MAX as i128), "0")
        .doc("Bytes that the bodies of all messages in queues may take together in memory, 0 for any number; beyond it publishing is refused."),
    row("mq-page-after", memory!(mq_page_after, 0, u64::MAX as i128), "0")
        .doc("Bytes of bodies that a queue keeps in memory; of a longer one, those that are wanted last are moved to files in `dir`. 0 keeps all in memory."),
    row("lfu-log-factor", int!(lfu_log_factor, 0, INT_MAX), "10").doc("How slowly the counter of uses grows."),
    row("lfu-decay-time", int!(lfu_decay_time, 0, INT_MAX), "1")
        .doc("Minutes after which the counter of uses of an idle key shrinks by one; 0 never shrinks it."),
    row("active-expire-effort", int!(active_expire_effort, 1, 10), "1")
        .doc("How much time is spent on removing expired keys that nobody asks for."),
    row("lazyfree-lazy-eviction", flag!(lazyfree_lazy_eviction), "yes")
        .doc("Counts large evicted values as freed in the background, where they are freed in any case."),
    row("lazyfree-lazy-expire", flag!(lazyfree_lazy_expire), "yes")
        .doc("Counts large expired values as freed in the background, where they are freed in any case."),
    row("lazyfree-lazy-server-del", flag!(lazyfree_lazy_server_del), "yes").doc(
        "Counts large values that a command replaces as freed in the background, where they are freed in any case.",
    ),
    row("lazyfree-lazy-user-del", flag!(lazyfree_lazy_user_del), "yes")
        .doc("Lets DEL count as UNLINK does; both free large values in the background."),
    row("lazyfree-lazy-user-flush", flag!(lazyfree_lazy_user_flush), "yes").doc(
        "Lets FLUSHDB and FLUSHALL count as with ASYNC unless told otherwise; they free in the background in any case.",
    ),
    row("key-memory-histograms", flag!(key_memory_histograms), "no")
        .immutable()
        .doc("Counts in INFO keysizes also how much memory collections take."),
    row("activerehashing", flag!(activerehashing), "yes")
        .not_needed("tables grow segment by segment")
        .doc("Spends idle time on finishing the growth of hash tables."),
    row("activedefrag", flag!(activedefrag), "no")
        .refuse_change(defrag_unavailable)
        .not_needed(DEFRAG)
        .doc("Moves values together to give memory back."),
    row("active-defrag-cycle-min", int!(active_defrag_cycle_min, 1, 99), "1")
        .not_needed(DEFRAG)
        .doc("Least share of time in percent."),
    row("active-defrag-cycle-max", int!(active_defrag_cycle_max, 1, 99), "25")
        .not_needed(DEFRAG)
        .doc("Largest share of time in percent."),
    row("active-defrag-cycle-us", int!(active_defrag_cycle_us, 0, 100_000), "500")
        .not_needed(DEFRAG)
        .doc("Length of one slice in microseconds."),
    row("active-defrag-ignore-bytes", memory!(active_defrag_ignore_bytes, 1, LONG_MAX), "100mb")
        .not_needed(DEFRAG)
        .doc("Waste from which on it starts."),
    row("active-defrag-max-scan-fields", int!(active_defrag_max_scan_fields, 1, LONG_MAX), "1000")
        .not_needed(DEFRAG)
        .doc("Elements of a collection that are handled at once."),
    row("active-defrag-threshold-lower", int!(active_defrag_threshold_lower, 0, 1000), "10")
        .not_needed(DEFRAG)
        .doc("Waste in percent from which on it starts."),
    row("active-defrag-threshold-upper", int!(active_defrag_threshold_upper, 0, 1000), "100")
        .not_needed(DEFRAG)
        .doc("Waste in percent at which it takes its largest share of time."),
    row("jemalloc-bg-thread", flag!(jemalloc_bg_thread), "yes")
        .not_needed("the allocator needs no such thread")
        .doc("Lets a thread give free memory back to the operating system."),
    row("tracking-table-max-keys", int!(tracking_table_max_keys, 0, LONG_MAX), "1000000")
        .apply(Apply::Tracking)
        .doc("Keys that are remembered for client-side caching; 0 sets no limit."),
];

/// A file may ask for it, so that it loads; a client that tries to turn it on is told, since test suites ask that way.
fn defrag_unavailable(config: &Config) -> Option<&'static str> {
    config.activedefrag.then_some(
        "Active defragmentation cannot be enabled: it requires a server compiled with a modified Jemalloc \
         like the one shipped by default with the source distribution",
    )
}
