//! Directives of data types, events and scripts.

use super::super::directive::Kind::Special;
use super::super::directive::{Apply, Directive, INT_MAX, LONG_MAX, choice, flag, int, memory, row};
use super::super::special;
use super::super::values::SanitizeDump;

const INT_MIN: i128 = i32::MIN as i128;

pub(super) static ROWS: &[Directive] = &[
    row("hash-max-listpack-entries", int!(hash_max_listpack_entries, 0, LONG_MAX), "512")
        .alias("hash-max-ziplist-entries")
        .doc("Fields up to which a hash is kept packed."),
    row("hash-max-listpack-value", memory!(hash_max_listpack_value, 0, LONG_MAX), "64")
        .alias("hash-max-ziplist-value")
        .doc("Bytes of a field or value up to which a hash is kept packed."),
    row("list-max-listpack-size", int!(list_max_listpack_size, INT_MIN, INT_MAX), "-2")
        .alias("list-max-ziplist-size")
        .doc("Size of a list's chunk: so many elements, or -1 to -5 for 4, 8, 16, 32 or 64 KiB."),
    row("list-compress-depth", int!(list_compress_depth, 0, INT_MAX), "0")
        .doc("Chunks at each end of a list that are left uncompressed; 0 compresses none."),
    row("set-max-intset-entries", int!(set_max_intset_entries, 0, LONG_MAX), "512")
        .doc("Members up to which a set of integers is kept as an array of them."),
    row("set-max-listpack-entries", int!(set_max_listpack_entries, 0, LONG_MAX), "128")
        .doc("Members up to which a set is kept packed."),
    row("set-max-listpack-value", int!(set_max_listpack_value, 0, LONG_MAX), "64")
        .doc("Bytes of a member up to which a set is kept packed."),
    row("zset-max-listpack-entries", int!(zset_max_listpack_entries, 0, LONG_MAX), "128")
        .alias("zset-max-ziplist-entries")
        .doc("Members up to which a sorted set is kept packed."),
    row("zset-max-listpack-value", memory!(zset_max_listpack_value, 0, LONG_MAX), "64")
        .alias("zset-max-ziplist-value")
        .doc("Bytes of a member up to which a sorted set is kept packed."),
    row("hll-sparse-max-bytes", memory!(hll_sparse_max_bytes, 0, LONG_MAX), "3000")
        .doc("Size up to which a HyperLogLog is kept sparse."),
    row("stream-node-max-bytes", memory!(stream_node_max_bytes, 0, LONG_MAX), "4kb")
        .doc("Size of a stream's block; 0 sets no limit."),
    row("stream-node-max-entries", int!(stream_node_max_entries, 0, LONG_MAX), "100")
        .doc("Entries of a stream's block; 0 sets no limit."),
    row("sanitize-dump-payload", choice!(sanitize_dump_payload, SanitizeDump), "no")
        .not_needed("every payload is checked while it is decoded")
        .doc("Checks serialized values deeply before use."),
    row("notify-keyspace-events", Special(&special::NOTIFY_KEYSPACE_EVENTS), "")
        .apply(Apply::Notifications)
        .doc("Events on keys that are published, one letter a class; empty publishes none."),
    row("busy-reply-threshold", int!(busy_reply_threshold, 0, LONG_MAX), "5000")
        .alias("lua-time-limit")
        .doc("Milliseconds a script may run before other clients are answered with an error; 0 sets no limit."),
    row("script-memory-limit", memory!(script_memory_limit, 0, LONG_MAX), "512mb")
        .doc("Bytes that the values of scripts may take, and as many those of functions; 0 sets no limit."),
    row("lua-enable-deprecated-api", flag!(lua_enable_deprecated_api), "no")
        .hidden()
        .not_needed("scripts never get what would let them out of their box")
        .doc("Offers functions to scripts that were given up for safety."),
    row("lua-enable-insecure-api", flag!(lua_enable_insecure_api), "no")
        .hidden()
        .not_needed("scripts never get what would let them out of their box")
        .doc("Offers functions to scripts that let one script disturb another."),
];
