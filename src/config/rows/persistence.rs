//! Directives of RDB files and the append-only file.

use super::super::directive::Kind::Special;
use super::super::directive::{Apply, Directive, INT_MAX, LONG_MAX, choice, flag, int, memory, piece, row, text};
use super::super::special;
use super::super::values::{AppendFsync, RdbDialect, RdbVersionCheck};

/// What `persist` makes of it at most.
const JOURNAL_BYTES_MAX: i128 = 1024 * 1024 * 1024;
const INT_MIN: i128 = i32::MIN as i128;
pub(super) static ROWS: &[Directive] = &[
    row("save", Special(&special::SAVE), "3600 1 300 100 60 10000")
        .multi_arg()
        .apply(Apply::Save)
        .doc("Takes a snapshot when within so many seconds at least so many changes were made; empty never does."),
    row("dbfilename", text!(dbfilename, dbfilename), "dump.rdb").protected().doc("Name of the snapshot file."),
    row("rdbcompression", flag!(rdbcompression), "yes").doc("Compresses texts in snapshots and in what DUMP answers."),
    row("rdb-dialect", choice!(rdb_dialect, RdbDialect), "redis")
        .doc("Whose form is written where version 11, which both read, has none: deadlines of fields, producers of streams."),
    row("rdbchecksum", flag!(rdbchecksum), "yes").immutable().doc("Guards snapshots by a checksum."),
    row("rdb-version-check", choice!(rdb_version_check, RdbVersionCheck), "strict")
        .doc("Refuses snapshots and payloads of a newer format (strict), or tries to read them (relaxed)."),
    row("rdb-del-sync-files", flag!(rdb_del_sync_files), "no")
        .until(piece::REPLICATION, "there are no such snapshots yet")
        .doc("Deletes snapshots that only served a replica when nothing else asks for files."),
    row("rdb-save-incremental-fsync", flag!(rdb_save_incremental_fsync), "yes")
        .doc("Forces a snapshot to disk bit by bit while it is written."),
    row("rdb-key-save-delay", int!(rdb_key_save_delay, INT_MIN, INT_MAX), "0")
        .hidden()
        .doc("Microseconds to wait for each key that is saved; a testing aid."),
    row("key-load-delay", int!(key_load_delay, INT_MIN, INT_MAX), "0")
        .hidden()
        .doc("Microseconds to wait for each key that is loaded; a testing aid."),
    row("loading-process-events-interval-bytes", int!(loading_process_events_interval_bytes, 1024, INT_MAX), "2097152")
        .not_needed("clients are looked at every two milliseconds")
        .hidden()
        .doc("Bytes that are loaded between looks at the clients."),
    row("stop-writes-on-bgsave-error", flag!(stop_writes_on_bgsave_error), "yes")
        .doc("Refuses writes while snapshots fail, where there are save points."),
    row("appendonly", flag!(appendonly), "no").not_while_loading().apply(Apply::AppendOnly).doc("Logs every change to a file."),
    row("appendfilename", text!(appendfilename, appendfilename), "appendonly.aof")
        .immutable()
        .doc("Beginning of the names of the append-only files."),
    row("appenddirname", text!(appenddirname, appenddirname), "appendonlydir")
        .immutable()
        .doc("Folder of the append-only files, inside `dir`."),
    row("appendfsync", choice!(appendfsync, AppendFsync), "everysec")
        .doc(
            "When the append-only file is forced to disk; with `always` every reply waits for that, and the server ends if it \
             fails.",
        ),
    row("no-appendfsync-on-rewrite", flag!(no_appendfsync_on_rewrite), "no")
        .doc("Does not force it to disk while a snapshot or rewrite is under way."),
    row("auto-aof-rewrite-percentage", int!(auto_aof_rewrite_percentage, 0, INT_MAX), "100")
        .doc("Growth in percent since the last rewrite that starts the next; 0 starts none."),
    row("auto-aof-rewrite-min-size", memory!(auto_aof_rewrite_min_size, 0, LONG_MAX), "64mb")
        .doc("Size below which no rewrite starts by itself."),
    row("aof-journal-size", memory!(aof_journal_size, 0, JOURNAL_BYTES_MAX), "16mb")
        .immutable()
        .doc(
            "Bytes of the file that stands in for the end of the append-only file with `appendfsync always`, which is quicker \
             on most disks; at least 4mb, and 0 for none.",
        ),
    row("aof-load-truncated", flag!(aof_load_truncated), "yes")
        .doc("Starts in spite of an append-only file whose end is missing."),
    row("aof-use-rdb-preamble", flag!(aof_use_rdb_preamble), "yes")
        .doc("Writes the base of the append-only file in the snapshot format."),
    row("aof-timestamp-enabled", flag!(aof_timestamp_enabled), "no")
        .doc("Notes times in the append-only file, for going back to a point in time."),
    row("aof-rewrite-incremental-fsync", flag!(aof_rewrite_incremental_fsync), "yes")
        .doc("Forces a rewritten file to disk bit by bit while it is written."),
    row("aof-disable-auto-gc", flag!(aof_disable_auto_gc), "no")
        .hidden()
        .doc("Keeps append-only files that are no longer needed; a testing aid."),
];

fn dbfilename(name: &str) -> Result<(), &'static str> {
    plain_name(name, "dbfilename can't be empty", "dbfilename can't be a path, just a filename")
}

fn appendfilename(name: &str) -> Result<(), &'static str> {
    plain_name(name, "appendfilename can't be empty", "appendfilename can't be a path, just a filename")
}

fn appenddirname(name: &str) -> Result<(), &'static str> {
    plain_name(name, "appenddirname can't be empty", "appenddirname can't be a path, just a dirname")
}

/// A name inside a folder. `.` and `..` are paths too.
fn plain_name(name: &str, empty: &'static str, path: &'static str) -> Result<(), &'static str> {
    match name {
        "" => Err(empty),
        "." | ".." => Err(path),
        _ if name.contains('/') => Err(path),
        _ => Ok(()),
    }
}
