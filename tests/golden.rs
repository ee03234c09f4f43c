//! Golden transcripts against the executor: no sockets, no real time.
//!
//! Each `tests/golden/*.txt` is a conversation whose replies were confirmed by a real Valkey or Redis (`replay.py`); here
//! Weir is held to the same text. One test a file; every block on a server that has just started. A failure names the
//! file, the line, the block, and what was expected and received.
//!
//! A new file needs its name in the list below; a test fails until it is there.

mod in_process;
#[path = "golden/reply.rs"]
mod reply;
#[path = "golden/transcript.rs"]
mod transcript;

use in_process::repeat::{repeat, same};
use in_process::{Connection, InProcess, append_command, facts, move_clock};
use reply::{Expected, Found};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;
use transcript::{Action, Block, Step};
use weir::server::Facts;

/// What the server is started with, beside its defaults: as the real ones are for `replay.py`.
const OPTIONS: [&str; 6] = ["--enable-debug-command", "yes", "--save", "", "--appendonly", "no"];

/// How much later the feed of a block is repeated.
const LATER_US: i64 = 1_000_000_000_000;

/// DEBUG SLEEP: moves the clock, and really sleeps as well, because durations of commands are taken from the processor's
/// counter, and slow commands are what it is used for.
fn sleep(time: Duration) {
    move_clock(i64::try_from(time.as_micros()).expect("a transcript waits for less than an age"));
    std::thread::sleep(time);
}

macro_rules! transcripts {
    ($($test:ident: $file:literal,)*) => {
        $(#[test]
        fn $test() {
            follow_file($file);
        })*

        const LISTED: &[&str] = &[$($file),*];
    };
}

transcripts! {
    acl_check: "acl-check.txt",
    acl_log: "acl-log.txt",
    acl_rules: "acl-rules.txt",
    acl_users: "acl-users.txt",
    after_redis_8_0: "after-redis-8.0.txt",
    bitmap_bits: "bitmap-bits.txt",
    bitmap_fields: "bitmap-fields.txt",
    broker_command: "broker-command.txt",
    broker_counters: "broker-counters.txt",
    client: "client.txt",
    client_flow: "client-flow.txt",
    client_list: "client-list.txt",
    connection: "connection.txt",
    eviction: "eviction.txt",
    functions_call: "functions-call.txt",
    functions_dump: "functions-dump.txt",
    functions_load: "functions-load.txt",
    functions_manage: "functions-manage.txt",
    functions_register: "functions-register.txt",
    generic_dump: "generic-dump.txt",
    generic_expire: "generic-expire.txt",
    generic_keys: "generic-keys.txt",
    geo_index: "geo-index.txt",
    geo_search: "geo-search.txt",
    hash_expire: "hash-expire.txt",
    hash_fields: "hash-fields.txt",
    hash_random_and_scan: "hash-random-and-scan.txt",
    hot_keys: "hot-keys.txt",
    hyperloglog: "hyperloglog.txt",
    list_blocking: "list-blocking.txt",
    list_encoding: "list-encoding.txt",
    list_pop_and_move: "list-pop-and-move.txt",
    list_push_and_read: "list-push-and-read.txt",
    protocol: "protocol.txt",
    pubsub_channels: "pubsub-channels.txt",
    pubsub_events: "pubsub-events.txt",
    pubsub_resp3: "pubsub-resp3.txt",
    scripting_api: "scripting-api.txt",
    scripting_run: "scripting-run.txt",
    scripting_script: "scripting-script.txt",
    server_command: "server-command.txt",
    server_config: "server-config.txt",
    server_keyspace: "server-keyspace.txt",
    server_stats: "server-stats.txt",
    set_algebra: "set-algebra.txt",
    set_encodings: "set-encodings.txt",
    set_members: "set-members.txt",
    set_random: "set-random.txt",
    sort: "sort.txt",
    stream_after_redis_8_0: "stream-after-redis-8.0.txt",
    stream_append: "stream-append.txt",
    stream_groups_claim: "stream-groups-claim.txt",
    stream_groups_info: "stream-groups-info.txt",
    stream_groups_manage: "stream-groups-manage.txt",
    stream_groups_pending: "stream-groups-pending.txt",
    stream_groups_read: "stream-groups-read.txt",
    stream_range: "stream-range.txt",
    stream_read: "stream-read.txt",
    stream_remove: "stream-remove.txt",
    string_get_and_change: "string-get-and-change.txt",
    string_lcs: "string-lcs.txt",
    string_many_keys: "string-many-keys.txt",
    string_numbers: "string-numbers.txt",
    string_ranges: "string-ranges.txt",
    string_set: "string-set.txt",
    transactions: "transactions.txt",
    tracking_broadcast: "tracking-broadcast.txt",
    tracking_default: "tracking-default.txt",
    tracking_options: "tracking-options.txt",
    zset_add_and_remove: "zset-add-and-remove.txt",
    zset_algebra: "zset-algebra.txt",
    zset_pop: "zset-pop.txt",
    zset_range: "zset-range.txt",
    zset_read: "zset-read.txt",
}

#[test]
fn every_transcript_is_listed() {
    let present: BTreeSet<String> = fs::read_dir(folder())
        .expect("the folder of transcripts")
        .map(|entry| entry.expect("an entry of the folder").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".txt"))
        .collect();
    assert_eq!(present, LISTED.iter().map(|name| (*name).to_owned()).collect());
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn follow_file(name: &str) {
    let text = fs::read(folder().join(name)).expect("a transcript that can be read");
    let failures = follow(&text);
    if !failures.is_empty() {
        let report: Vec<String> = failures.iter().map(|failure| format!("tests/golden/{name}:{failure}")).collect();
        panic!("{} blocks failed\n\n{}\n", failures.len(), report.join("\n\n"));
    }
}

/// Follows every block that Weir is to follow. Returns what failed, each with its line.
fn follow(text: &[u8]) -> Vec<String> {
    let blocks = match transcript::parse(text) {
        Ok(blocks) => blocks,
        Err(error) => return vec![error],
    };
    blocks.iter().filter(|block| !block.not_followed).filter_map(|block| follow_block(block).err()).collect()
}

fn follow_block(block: &Block) -> Result<(), String> {
    let line = Cell::new(block.line);
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut play = Play {
            host: InProcess::start(&OPTIONS, Facts { sleep, ..facts() }),
            peers: BTreeMap::new(),
            name: "a".to_owned(),
        };
        play.host.server.want_feed(true);
        play.enter();
        for step in &block.steps {
            line.set(step.line);
            play.step(step)?;
        }
        play.nothing_left()?;
        play.repeats()
    }));
    let result = result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("the server panicked: {}", text.unwrap_or_default()))
    });
    result.map_err(|failure| format!("{}: in the block at {}: {}\n{failure}", line.get(), block.line, block.title))
}

/// A block while it runs.
struct Play {
    host: InProcess,
    /// Which connection each client has.
    peers: BTreeMap<String, usize>,
    /// Of the current client.
    name: String,
}

impl Play {
    /// Connects the current client unless it is.
    fn enter(&mut self) -> usize {
        *self.peers.entry(self.name.clone()).or_insert_with(|| self.host.connect(false))
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let peer = self.enter();
        match &step.action {
            Action::Client(name) => {
                self.name.clone_from(name);
                self.enter();
            }
            Action::Send(args) => {
                let mut bytes = Vec::new();
                append_command(&mut bytes, args);
                self.send(peer, &bytes);
            }
            Action::SendBytes(bytes) => self.send(peer, bytes),
            Action::Pass(time_ms) => self.host.pass(Duration::from_millis(time_ms.unsigned_abs())),
            Action::Receive(expected) => self.receive(peer, expected)?,
        }
        Ok(())
    }

    /// Sends bytes as a client, and executes what follows from it.
    fn send(&mut self, peer: usize, bytes: &[u8]) {
        if !self.host.connections[peer].closed {
            self.host.arrive(peer, bytes);
            self.host.turn();
        }
    }

    /// Takes the next reply of a client and compares it.
    fn receive(&mut self, peer: usize, expected: &Expected) -> Result<(), String> {
        let Connection { received, closed, .. } = &mut self.host.connections[peer];
        let mut unread = received.as_slice();
        let before = unread.len();
        let found = Found::take(&mut unread)?;
        let taken = before - unread.len();
        received.drain(..taken);
        let as_expected = match (&found, expected) {
            (None, Expected::Closed) => before == 0 && *closed,
            (None, Expected::Silence) => before == 0 && !*closed,
            (Some(found), expected) => expected.matches(found),
            (None, _) => false,
        };
        if as_expected {
            return Ok(());
        }
        let got = match found {
            Some(found) => found.lines(),
            None if before > 0 => vec![format!("half a reply: {}", received.escape_ascii())],
            None if *closed => vec!["(closed)".to_owned()],
            None => vec!["(none)".to_owned()],
        };
        Err(format!("  expected\n    {}\n  got\n    {}", expected.lines().join("\n    "), got.join("\n    ")))
    }

    /// What the block has done, put into commands by the feed, makes the same data on another server and later.
    fn repeats(&mut self) -> Result<(), String> {
        let feed = self.host.server.take_feed();
        if self.host.server.is_in_script() {
            // What it has done so far is repeated when it is over.
            return Ok(());
        }
        move_clock(LATER_US);
        let same = repeat(&feed, &OPTIONS).and_then(|mut other| same(&mut self.host.server, &mut other));
        same.map_err(|what| format!("  what the feed has does not do the same: {what}"))
    }

    /// After the last line: no client has received more than the block says.
    fn nothing_left(&mut self) -> Result<(), String> {
        for (name, &peer) in &self.peers {
            let left = &self.host.connections[peer].received;
            if !left.is_empty() {
                return Err(format!("  client {name} got more than the block says: {}", left.escape_ascii()));
            }
        }
        Ok(())
    }
}

/// The runner itself: it accepts what is right and says what is wrong.
mod runner {
    use super::*;

    fn failures(block: &str) -> Vec<String> {
        follow(format!("%peers valkey9\n== a block\n{block}").as_bytes())
    }

    #[track_caller]
    fn fails_with(block: &str, words: &str) {
        let failures = failures(block);
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert!(failures[0].contains(words), "{}", failures[0]);
    }

    #[test]
    fn accepts_what_is_right() {
        let block = "> SET k v\n< +OK\n> GET k\n< \"v\"\n> GET k\n< ~ \"[uvw]\"\n> MGET k x\n< *2\n<   \"v\"\n<   (nil)\n\
            @ b\n> MGET x k\n< unordered *2\n<   \"v\"\n<   (nil)\n> PING\n< ...\n>> \"PI\"\n< (none)\n>> \"NG\\r\\n\"\n< +PONG\n\
            > QUIT\n< +OK\n< (closed)\n";
        assert_eq!(failures(block), Vec::<String>::new());
    }

    #[test]
    fn tells_a_wrong_reply_with_file_line_block_and_both_replies() {
        let failures = failures("> SET k v\n< +OK\n\n> GET k\n< \"w\"\n");
        assert_eq!(failures, ["7: in the block at 2: a block\n  expected\n    \"w\"\n  got\n    \"v\""]);
    }

    #[test]
    fn tells_replies_that_are_missing_or_too_many() {
        fails_with("> PING\n< +PONG\n< +PONG\n", "got\n    (none)");
        fails_with("> PING\n< (none)\n", "got\n    +PONG");
        fails_with(">> \"PING\\r\\nPING\\r\\n\"\n< +PONG\n", "client a got more than the block says: +PONG");
        fails_with("> CLIENT REPLY OFF\n< +OK\n", "got\n    (none)");
    }

    #[test]
    fn tells_whether_a_connection_is_closed() {
        fails_with("> PING\n< +PONG\n< (closed)\n", "expected\n    (closed)\n  got\n    (none)");
        fails_with("> QUIT\n< +OK\n< (none)\n", "expected\n    (none)\n  got\n    (closed)");
        fails_with("> QUIT\n< +OK\n> PING\n< +PONG\n", "got\n    (closed)");
    }

    #[test]
    fn tells_elements_that_differ_in_number_order_or_value() {
        let set = "> MSET a 1 b 2\n< +OK\n> MGET a b\n";
        fails_with(
            &format!("{set}< *1\n<   \"1\"\n"),
            "expected\n    *1\n      \"1\"\n  got\n    *2\n      \"1\"\n      \"2\"",
        );
        fails_with(&format!("{set}< *2\n<   \"2\"\n<   \"1\"\n"), "got");
        fails_with(&format!("{set}< unordered *2\n<   \"2\"\n<   \"2\"\n"), "unordered *2");
        fails_with(&format!("{set}< unordered pairs *2\n<   \"2\"\n<   \"1\"\n"), "unordered pairs *2");
        fails_with(&format!("{set}< ~ .*\n"), "got\n    *2");
        fails_with("> ECHO abc\n< ~ \"a\n", "got\n    \"abc\"");
    }

    #[test]
    fn every_block_begins_anew_and_one_that_fails_does_not_end_the_file() {
        let text = "%peers valkey9\n== one\n> SET k v\n< -ERR\n== two\n> GET k\n< (nil)\n== three\n> PING\n< +PANG\n";
        let lines: Vec<String> =
            follow(text.as_bytes()).iter().map(|f| f.split(':').next().unwrap_or("").to_owned()).collect();
        assert_eq!(lines, ["4", "10"]);
    }

    #[test]
    fn skips_what_the_server_does_not_follow() {
        assert_eq!(failures("%weir no it says PONG\n> PING\n< +PANG\n"), Vec::<String>::new());
    }

    #[test]
    fn the_clock_moves_only_when_told() {
        let block = "> SET k v PX 100\n< +OK\n> PTTL k\n< :100\n+ 99\n> PTTL k\n< :1\n+ 1\n> GET k\n< (nil)\n";
        assert_eq!(failures(block), Vec::<String>::new());
    }

    #[test]
    fn refuses_what_is_not_in_the_format() {
        let refused = |text: &str| follow(text.as_bytes()).pop().unwrap_or_default();
        assert_eq!(refused("== a\n"), "line 1: no %peers before the first block: == a");
        assert_eq!(refused("%peers x\n> PING\n"), "line 2: before the first block: > PING");
        assert_eq!(refused("%peers x\n== a\n> PING\n"), "line 3: no reply given");
        assert_eq!(refused("%peers x\n== a\n? PING\n"), "line 3: nothing that the format knows: ? PING");
        assert_eq!(refused("%peers x\n== a\n> \"PING\n< ...\n"), "line 3: unbalanced quotes: > \"PING");
        assert_eq!(refused("%peers x\n== a\n> PING\n< *2\n<   :1\n"), "line 4: *2 has 1 of 2 elements");
        assert!(refused("%peers x\n== a\n> PING\n< ~ (\n").contains("unclosed group"));
    }
}
