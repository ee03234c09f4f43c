//! DEBUG: tools for tests and for taking the server apart. Not for applications, and off unless `enable-debug-command` says
//! otherwise.
//!
//! DEBUG has no rows for its subcommands, as in Redis: each is a line of [`TOOLS`]. What tunes a mechanism that this
//! server does not have is accepted without effect, so that test suites written for it go on; what would have to do
//! something and cannot says so.

use super::digest::DataDigest;
use crate::command::args::{float, int, is};
use crate::command::blocking::{Awaited, Block, TimeoutReply};
use crate::command::error::Error;
use crate::command::generic::object::encoding_name;
use crate::command::spec::{Acl, Flags, Group, Spec};
use crate::command::table::Row;
use crate::config;
use crate::server::ServerCx;
use crate::server::ServerFn;
use crate::server::client::{ClientFlags, ReplyPeaks};
use crate::server::client_memory::bucket_begins;
use crate::server::repeat::load_again;
use crate::store::{EntryRef, ExpireChange, NewStr, PackedKind, StrView, ValueRef};
use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::time::Duration;
use weir_structs::list::{ChunkFigures, Encoding, End, ListRef};
use weir_structs::number::format_i64;
use weir_structs::packed::Packed;

/// `DEBUG`.
pub(super) const COMMANDS: &[Row<ServerFn>] = &[Row::new(
    Spec::new(
        "debug",
        -2,
        Flags::ADMIN
            .union(Flags::NOSCRIPT)
            .union(Flags::LOADING)
            .union(Flags::STALE)
            .union(Flags::PROTECTED)
            .union(Flags::SYSCMD),
        Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS),
        Group::Server,
        "1.0.0",
    )
    .doc("Depends on the subcommand.", "Groups the commands for testing and taking apart the server."),
    debug_command,
)];

/// A subcommand: its name, how many arguments it takes behind that, and what it does.
type Tool = (&'static str, std::ops::RangeInclusive<usize>, ServerFn);

const MANY: usize = usize::MAX;

const TOOLS: &[Tool] = &[
    ("AOF-FLUSH-SLEEP", 1..=1, aof_flush_sleep),
    ("ASSERT", 0..=0, assert_now),
    ("CHANGE-REPL-ID", 0..=0, change_repl_id),
    ("CLIENT-ENFORCE-REPLY-LIST", 1..=1, accept),
    ("CLIENT-EVICTION", 0..=0, client_eviction),
    ("CONFIG-REWRITE-FORCE-ALL", 0..=0, config_rewrite_force_all),
    ("DICT-RESIZING", 1..=1, accept),
    ("DIGEST", 0..=0, digest),
    ("DIGEST-VALUE", 0..=MANY, digest_value),
    ("DROP-CLUSTER-PACKET-FILTER", 1..=1, accept),
    ("ERROR", 1..=1, error),
    ("HASHTABLE-CAN-ABORT-SHRINK", 1..=1, accept),
    ("HELP", 0..=0, help),
    ("HTSTATS", 1..=2, htstats),
    ("HTSTATS-KEY", 1..=2, htstats_key),
    ("LISTPACK", 1..=1, listpack),
    ("LOADAOF", 0..=0, loadaof),
    ("LOG", 1..=1, log),
    ("OBJECT", 1..=2, object),
    ("PANIC", 0..=0, panic_now),
    ("PAUSE-AFTER-FORK", 1..=1, accept),
    ("PAUSE-CRON", 1..=1, pause_cron),
    ("POPULATE", 1..=3, populate),
    ("PROTOCOL", 1..=1, protocol),
    ("QUICKLIST", 1..=2, quicklist),
    ("QUICKLIST-PACKED-THRESHOLD", 1..=1, quicklist_packed_threshold),
    ("RELOAD", 0..=MANY, reload),
    ("REPLICATE", 1..=MANY, replicate),
    ("REPLYBUFFER", 2..=2, replybuffer),
    ("SDSLEN", 1..=1, sdslen),
    ("SEGFAULT", 0..=0, fault_now),
    ("SET-ACTIVE-EXPIRE", 1..=1, set_active_expire),
    ("SET-DISABLE-DENY-SCRIPTS", 1..=1, set_disable_deny_scripts),
    ("SET-SKIP-CHECKSUM-VALIDATION", 1..=1, set_skip_checksums),
    ("SLEEP", 1..=1, sleep),
    ("STRUCTSIZE", 0..=0, structsize),
];

fn debug_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (word, given) = (cx.arg(1), cx.argc() - 2);
    // Of all these, a file of commands has but the one that makes data; LOADAOF in it would begin anew without end.
    if cx.client().flags.contains(ClientFlags::REPEATER) && !is(word, "POPULATE") {
        return Err(Error::NOT_REPEATED);
    }
    match TOOLS.iter().find(|(name, takes, _)| is(word, name) && takes.contains(&given)) {
        Some((_, _, run)) => run(cx),
        None => Err(unknown(cx)),
    }
}

fn unknown(cx: &ServerCx<'_>) -> Error {
    Error::subcommand_syntax(cx.arg(1), "debug")
}

fn help(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.lines(DEBUG_HELP);
    Ok(())
}

/// Tunes what is not there.
fn accept(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.ok();
    Ok(())
}

/// A switch: any number but 0 turns it on, as does nothing that is no number.
fn switch(arg: &[u8]) -> bool {
    int(arg).is_ok_and(|n| n != 0)
}

// Data

/// The value at the key in argument 2.
fn entry<'s>(cx: &'s mut ServerCx<'_>) -> Result<EntryRef<'s>, Error> {
    let (db, name) = (cx.client().db, cx.arg(2));
    let store = &mut cx.server.store;
    let key = store.key(name);
    store.db(db).peek(key).ok_or(Error::NO_SUCH_KEY)
}

fn digest(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let digest = DataDigest::of_store(&mut cx.server.store);
    cx.reply.simple(&digest.to_string());
    Ok(())
}

fn digest_value(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let db = cx.client().db;
    let now_ms = cx.server.store.now_ms();
    cx.reply.array(cx.argc() - 2);
    for name in cx.words(2) {
        let key = cx.server.store.key(name);
        let found = cx.server.store.db(db).peek(key);
        let digest = found.map(|entry| DataDigest::of_value(entry, now_ms)).unwrap_or_default();
        cx.reply.simple(&digest.to_string());
    }
    Ok(())
}

fn object(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let fast = cx.argc() == 4;
    if fast && !is(cx.arg(3), "fast") {
        return Err(unknown(cx));
    }
    let (access, now_s) = (*cx.server.store.access(), cx.server.store.now_ms() / 1000);
    let chunk_max = cx.server.config.list_max_listpack_size;
    let entry = entry(cx)?;
    let idle_s = access.idle_s(entry.clock());
    let length = if fast { String::new() } else { format!(" serializedlength:{}", serialized_len(entry)) };
    // Redis counts in 24 bits of seconds.
    let lru = now_s.unsigned_abs().wrapping_sub(idle_s) & 0xff_ffff;
    let mut line = format!(
        "Value at:{:p} refcount:1 encoding:{}{length} lru:{lru} lru_seconds_idle:{idle_s}",
        entry.key().as_ptr(),
        encoding_name(entry),
    );
    if let Some(list) = ListRef::of(entry)
        && list.encoding() == Encoding::Quicklist
    {
        line.push_str(&chunks_line(list, chunk_max));
    }
    cx.reply.simple(&line);
    Ok(())
}

/// What DEBUG OBJECT tells of a list's chunks.
fn chunks_line(list: ListRef<'_>, chunk_max: i32) -> String {
    let (mut chunks, mut bytes, mut squeezed) = (0_u32, 0, false);
    if let Some(big) = list.as_big() {
        big.each_chunk(|chunk| {
            chunks += 1;
            bytes += chunk_bytes(&chunk);
            squeezed |= chunk.squeezed.is_some();
        });
    }
    let mean = list.len() as f64 / f64::from(chunks.max(1));
    format!(
        " ql_nodes:{chunks} ql_avg_node:{mean:.2} ql_listpack_max:{chunk_max} ql_compressed:{} \
         ql_uncompressed_size:{bytes}",
        i32::from(squeezed),
    )
}

/// Bytes of a chunk as a listpack, or of the one large element in it.
fn chunk_bytes(chunk: &ChunkFigures) -> usize {
    chunk.bytes + if chunk.is_apart { 0 } else { LISTPACK_FRAME_BYTES }
}

/// What a listpack has besides its elements.
const LISTPACK_FRAME_BYTES: usize = 7;

/// Bytes of a list in an RDB file without compression: their number, and for each chunk its kind and its bytes.
fn serialized_list_len(list: ListRef<'_>) -> usize {
    let mut len = 0;
    match list.as_big() {
        None => len = 2 + len_with_prefix(list.body_bytes() + LISTPACK_FRAME_BYTES),
        Some(big) => {
            len += len_with_prefix(big.items()) - big.items();
            big.each_chunk(|chunk| len += 1 + len_with_prefix(chunk_bytes(&chunk)));
        }
    }
    len
}

/// Bytes of a value in an RDB file without compression.
fn serialized_len(entry: EntryRef<'_>) -> usize {
    if let Some(list) = ListRef::of(entry) {
        return serialized_list_len(list);
    }
    match entry.str() {
        Some(StrView::Int(int)) if i8::try_from(int).is_ok() => 2,
        Some(StrView::Int(int)) if i16::try_from(int).is_ok() => 3,
        Some(StrView::Int(int)) if i32::try_from(int).is_ok() => 5,
        Some(StrView::Int(int)) => 1 + format_i64(int).as_bytes().len(),
        Some(StrView::Bytes(bytes)) => len_with_prefix(bytes.len()),
        Some(StrView::Blob(blob)) => len_with_prefix(blob.len()),
        None => 0,
    }
}

fn len_with_prefix(len: usize) -> usize {
    len + match len {
        0..64 => 1,
        64..16_384 => 2,
        _ if u32::try_from(len).is_ok() => 5,
        _ => 9,
    }
}

fn sdslen(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let entry = entry(cx)?;
    let (len, spare) = match entry.str() {
        Some(StrView::Bytes(bytes)) => (bytes.len(), 0),
        Some(StrView::Blob(blob)) => (blob.len(), blob.capacity() - blob.len()),
        Some(StrView::Int(_)) | None => return Err(Error::fixed("ERR Not an sds encoded string.")),
    };
    let line = format!(
        "key_sds_len:{} key_sds_avail:0 obj_alloc:{} val_sds_len:{len} val_sds_avail:{spare} val_alloc:0",
        entry.key().len(),
        entry.memory_bytes(),
    );
    cx.reply.simple(&line);
    Ok(())
}

fn listpack(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let entry = entry(cx)?;
    let mut text = String::new();
    match (encoding_name(entry), entry.value()) {
        ("listpack", ValueRef::Packed(kind, bytes)) if kind != PackedKind::List => {
            let packed = Packed::new(bytes);
            let _ = writeln!(text, "{{total bytes {}}} {{num entries {}}}", packed.listpack_bytes(), packed.len());
            for item in packed {
                let _ = writeln!(
                    text,
                    "{{{}, {} bytes}} {}",
                    item.start,
                    item.end - item.start,
                    shown(&item.element.text())
                );
            }
        }
        ("listpack", _) => {
            let Some(list) = ListRef::of(entry) else { return Err(Error::NOT_LISTPACK) };
            let bytes = list.body_bytes() + LISTPACK_FRAME_BYTES;
            let _ = writeln!(text, "{{total bytes {bytes}}} {{num entries {}}}", list.len());
            list.visit(0, usize::MAX, End::Back, |element| {
                let _ = writeln!(text, "{}", shown(&element.text()));
                ControlFlow::Continue(())
            });
        }
        _ => return Err(Error::NOT_LISTPACK),
    }
    print_out(&text);
    cx.reply.simple("Listpack structure printed on stdout");
    Ok(())
}

fn quicklist(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let in_detail = cx.argc() == 4 && switch(cx.arg(3));
    let entry = entry(cx)?;
    let Some(list) = ListRef::of(entry).filter(|_| encoding_name(entry) == "quicklist").and_then(ListRef::as_big)
    else {
        return Err(Error::NOT_QUICKLIST);
    };
    let mut text = format!("{{count : {}}}\n{{nodes : {}}}\n", list.len(), list.items());
    let mut number = 0;
    list.each_chunk(|chunk| {
        let (container, encoding) =
            (if chunk.is_apart { "PLAIN" } else { "PACKED" }, if chunk.squeezed.is_some() { "LZF" } else { "RAW" });
        let _ = writeln!(
            text,
            "{{quicklist node({number})\n{{container : {container}, encoding: {encoding}, size: {}, count: {}}}}}",
            chunk.bytes, chunk.items,
        );
        number += 1;
    });
    if in_detail {
        list.visit(0, usize::MAX, End::Back, |element| {
            let _ = writeln!(text, "{}", shown(&element.text()));
            ControlFlow::Continue(())
        });
    }
    print_out(&text);
    cx.reply.simple("Quicklist structure printed on stdout");
    Ok(())
}

/// The beginning of an element, on one line.
fn shown(text: &[u8]) -> String {
    const BYTES_MAX: usize = 40;
    text.get(..BYTES_MAX).unwrap_or(text).escape_ascii().to_string()
}

/// Writes to the standard output; if that cannot take it, nobody wanted to see it.
fn print_out(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn htstats_key(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    entry(cx)?;
    Err(Error::fixed("ERR The value stored at the specified key is not represented using an hash table"))
}

fn htstats(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let index = int(cx.arg(2))?;
    let index = usize::try_from(index).ok().filter(|&index| index < cx.server.store.databases());
    let index = index.ok_or(Error::fixed("ERR Out of range database"))?;
    let figures = cx.server.store.figures(index);
    let (table_bytes, index_bytes) = cx.server.store.overhead_bytes(index);
    let mut text = String::from("[Dictionary HT]\n");
    if figures.keys > 0 {
        // A place in the table is a word.
        let places = table_bytes / size_of::<u64>();
        text.push_str(&format!(
            "Hash table 0 stats (main hash table):\n table size: {places}\n number of entries: {}\n rehashing index: -1\n",
            figures.keys,
        ));
    }
    text.push_str("[Expires HT]\n");
    if figures.expires > 0 {
        text.push_str(&format!(" number of entries: {}\n index bytes: {index_bytes}\n", figures.expires));
    }
    cx.reply.verbatim(b"txt", text.as_bytes());
    Ok(())
}

fn populate(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let positive = |arg: &[u8]| int(arg).ok().and_then(|n| u64::try_from(n).ok()).ok_or(Error::NOT_POSITIVE);
    let count = positive(cx.arg(2))?;
    let prefix = if cx.argc() > 3 { cx.arg(3) } else { b"key" };
    let size = if cx.argc() > 4 { positive(cx.arg(4))? } else { 0 };
    if size > cx.server.config.proto_max_bulk_len {
        return Err(Error::STRING_TOO_LONG);
    }
    let size = usize::try_from(size).map_err(|_| Error::STRING_TOO_LONG)?;
    let db = cx.client().db;
    cx.server.effects.feed_words(cx.argv.len(), cx.argv.iter());
    let store = &mut cx.server.store;
    let (mut name, mut value) = (Vec::new(), Vec::new());
    for number in 0..count {
        name.clear();
        name.extend_from_slice(prefix);
        name.extend_from_slice(format!(":{number}").as_bytes());
        let key = store.key(&name);
        if store.db(db).peek(key).is_some() {
            continue;
        }
        value.clear();
        value.extend_from_slice(format!("value:{number}").as_bytes());
        if size > 0 {
            value.resize(size, 0);
        }
        store.db(db).set(key, NewStr::Bytes(&value), ExpireChange::Clear);
    }
    cx.reply.ok();
    Ok(())
}

fn set_active_expire(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.server.active_expire = switch(cx.arg(2));
    cx.reply.ok();
    Ok(())
}

fn set_skip_checksums(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let skips = switch(cx.arg(2));
    cx.server.store.set_skips_checksums(skips);
    cx.reply.ok();
    Ok(())
}

fn set_disable_deny_scripts(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.server.scripts.may_call_all = switch(cx.arg(2));
    cx.reply.ok();
    Ok(())
}

fn reload(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    if cx.words(2).any(|word| !["MERGE", "NOFLUSH", "NOSAVE"].iter().any(|option| is(word, option))) {
        return Err(Error::fixed("ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options."));
    }
    let has = |option: &str| cx.words(2).any(|word| is(word, option));
    let (merge, flush, save) = (has("MERGE"), !has("NOFLUSH"), !has("NOSAVE"));
    // What a snapshot leaves out because its time has come must be told as gone.
    if cx.server.effects.feeds() {
        cx.server.store.expire_all_due();
    }
    if save {
        cx.server.save_snapshot().map_err(|_| Error::NOT_SAVED)?;
    }
    if flush {
        for index in 0..cx.server.store.databases() {
            cx.server.store.flush(index, false);
        }
        cx.server.flush_functions(true);
    }
    if let Err(error) = cx.server.load_snapshot(merge) {
        tracing::error!("{error}");
        return Err(Error::fixed(
            "ERR Error trying to load the RDB dump, check server logs and the server log for more details",
        ));
    }
    cx.reply.ok();
    Ok(())
}

fn loadaof(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let waiter = cx.client().id;
    if !load_again(cx.server, cx.server.effects.may_block.then_some(waiter))? {
        cx.reply.ok();
        return Ok(());
    }
    cx.server.effects.block = Some(Box::new(Block::without_keys(Awaited::Reply, None, TimeoutReply::Null)));
    Ok(())
}

fn aof_flush_sleep(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let us = u64::try_from(int(cx.arg(2))?).unwrap_or(0);
    cx.server.set_append_only_sleep(Duration::from_micros(us));
    cx.reply.ok();
    Ok(())
}

// Server and process

fn sleep(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    // What is no time is none.
    let seconds = float(cx.arg(2)).ok().filter(|seconds| *seconds > 0.0).unwrap_or(0.0);
    if let Ok(time) = Duration::try_from_secs_f64(seconds) {
        (cx.server.facts.sleep)(time);
        cx.server.refresh_time();
    }
    cx.reply.ok();
    Ok(())
}

fn pause_cron(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.server.cron_paused = switch(cx.arg(2));
    cx.reply.ok();
    Ok(())
}

fn change_repl_id(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.server.change_replication_id();
    cx.reply.ok();
    Ok(())
}

fn replicate(_: &mut ServerCx<'_>) -> Result<(), Error> {
    Err(Error::fixed("ERR DEBUG REPLICATE is not available: this version has no replication"))
}

fn client_eviction(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let buckets = cx.server.client_memory.buckets().ok_or(Error::fixed("ERR maxmemory-clients is disabled."))?;
    let mut text = String::from("Clients by what they take:\n");
    for (at, bucket) in buckets.iter().enumerate() {
        let (clients, bytes) = bucket.figures();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "from {} bytes: {clients} clients, {bytes} bytes", bucket_begins(at));
    }
    cx.reply.verbatim(b"txt", text.as_bytes());
    Ok(())
}

fn config_rewrite_force_all(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let Some(path) = &cx.server.facts.config_file else { return Err(super::config::WITHOUT_FILE) };
    if let Err(error) = config::rewrite_all(&cx.server.config, path) {
        tracing::warn!("CONFIG-REWRITE-FORCE-ALL failed: {error}");
        return Err(Error::fixed("ERR CONFIG-REWRITE-FORCE-ALL failed"));
    }
    cx.reply.ok();
    Ok(())
}

fn log(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    tracing::warn!("DEBUG LOG: {}", String::from_utf8_lossy(cx.arg(2)));
    cx.reply.ok();
    Ok(())
}

fn error(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    Err(Error::new(String::from_utf8_lossy(cx.arg(2))))
}

fn panic_now(_: &mut ServerCx<'_>) -> Result<(), Error> {
    panic!("DEBUG PANIC was called");
}

fn assert_now(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    assert!(cx.argc() == 0, "DEBUG ASSERT was called");
    Ok(())
}

/// The signal of a bad memory access, without one.
fn fault_now(_: &mut ServerCx<'_>) -> Result<(), Error> {
    // Comes at once; if it is blocked after all, the client learns of it.
    signal_hook::low_level::raise(libc::SIGSEGV).map_err(|error| Error::new(format!("ERR {error}")))
}

fn structsize(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    use crate::server::client::Client;
    let text = format!("bits:{} client:{} entryslot:{} ", usize::BITS, size_of::<Client>(), size_of::<u64>());
    cx.reply.text(&text);
    Ok(())
}

// Protocol

#[expect(clippy::approx_constant, reason = "the sample that clients' tests expect, not a circle's")]
fn protocol(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let kind = cx.arg(2).to_ascii_lowercase();
    let reply = &mut cx.reply;
    match kind.as_slice() {
        b"string" => reply.text("Hello World"),
        b"integer" => reply.int(12_345),
        b"double" => reply.double(3.141),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|n| reply.int(n));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|n| reply.int(n));
        }
        b"map" => {
            reply.map(3);
            (0..3).for_each(|n| {
                reply.int(n);
                reply.boolean(n == 1);
            });
        }
        b"attrib" => {
            if reply.is_resp3() {
                reply.attribute(1);
                reply.text("key-popularity");
                reply.array(2);
                reply.text("key:123");
                reply.int(90);
            }
            reply.text("Some real reply following the attribute");
        }
        b"push" => {
            if !reply.is_resp3() {
                return Err(Error::fixed("ERR RESP2 is not supported by this command"));
            }
            reply.text("Some real reply following the push reply");
            reply.push(2);
            reply.text("server-cpu-usage");
            reply.int(42);
        }
        b"verbatim" => reply.verbatim(b"txt", b"This is a verbatim\nstring"),
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        b"bignum" => reply.big_number("1234567999999999999999999999999999999"),
        _ => {
            return Err(Error::fixed(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(())
}

fn replybuffer(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let peaks = &mut cx.server.reply_peaks;
    if is(cx.argv.at(2), "PEAK-RESET-TIME") {
        peaks.kept_ms = match cx.argv.at(3) {
            word if is(word, "NEVER") => i64::MAX,
            word if is(word, "RESET") => ReplyPeaks::default().kept_ms,
            word => int(word)?,
        };
    } else if is(cx.argv.at(2), "RESIZING") {
        peaks.forgotten = int(cx.argv.at(3))? != 0;
    } else {
        return Err(unknown(cx));
    }
    accept(cx)
}

fn quicklist_packed_threshold(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    const BYTES_MAX: u64 = 1 << 32;
    let bytes = std::str::from_utf8(cx.arg(2)).ok().and_then(config::parse_memory);
    let Some(bytes) = bytes.filter(|&bytes| bytes < BYTES_MAX) else {
        return Err(Error::fixed("ERR argument must be a memory value bigger than 1 and smaller than 4gb"));
    };
    let bytes = (bytes > 0).then(|| usize::try_from(bytes).unwrap_or(usize::MAX));
    cx.server.store.set_list_apart_from(bytes);
    accept(cx)
}

/// `DEBUG HELP`.
const DEBUG_HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "AOF-FLUSH-SLEEP <microsec>",
    "    Wait so long before each write of the append-only file.",
    "ASSERT",
    "    End the server as a failed check would.",
    "CHANGE-REPL-ID",
    "    Take new replication ids.",
    "CLIENT-EVICTION",
    "    Show which clients would be evicted first.",
    "CONFIG-REWRITE-FORCE-ALL",
    "    Rewrite the configuration file with every parameter in it, defaults too.",
    "DICT-RESIZING <0|1>",
    "    Forbid or allow tables to grow and shrink.",
    "DIGEST",
    "    Show a digest of all data, equal wherever the data are equal.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Show a digest of each key's value.",
    "ERROR <string>",
    "    Reply with this error.",
    "HTSTATS <dbid> [full]",
    "    Show figures of a database's table.",
    "HTSTATS-KEY <key> [full]",
    "    Show figures of the table in which a value is stored.",
    "LISTPACK <key>",
    "    Write the packed form of a value to the standard output.",
    "LOADAOF",
    "    Load the data again from the append-only file.",
    "LOG <message>",
    "    Write a line to the server's log.",
    "OBJECT <key> [fast]",
    "    Show how a value is stored; with fast, leave out what takes long to find.",
    "PANIC",
    "    End the server as a bug would.",
    "PAUSE-CRON <0|1>",
    "    Stop or resume periodic work.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Create strings <prefix>:0, <prefix>:1 and so on (key:0 unless said otherwise),",
    "    each of <size> bytes if given. Keys that exist stay, nothing is replicated.",
    "PROTOCOL <type>",
    "    Reply with a sample of a type: string, integer, double, bignum, null, array,",
    "    set, map, attrib, push, verbatim, true, false.",
    "QUICKLIST-PACKED-THRESHOLD <size>",
    "    Store elements of lists apart from this size on; 0 restores the default.",
    "QUICKLIST <key> [<0|1>]",
    "    Write the structure of a list to the standard output, with 1 in detail.",
    "RELOAD [option ...]",
    "    Save the data and load them again. Options are:",
    "    * MERGE: let the file win where a key is in both.",
    "    * NOFLUSH: keep the data in memory; without MERGE no key may be in both.",
    "    * NOSAVE: load the file as it is.",
    "REPLICATE <string>",
    "    Send a command to the replicas only.",
    "REPLYBUFFER PEAK-RESET-TIME (NEVER|RESET|<time>)",
    "    Set after how many milliseconds the peak of a reply buffer is forgotten.",
    "REPLYBUFFER RESIZING <0|1>",
    "    Forbid or allow reply buffers to shrink.",
    "SDSLEN <key>",
    "    Show the lengths of a key and its string.",
    "SEGFAULT",
    "    End the server as a bad memory access would.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Stop or resume the removal of expired keys that nobody asks for.",
    "SET-DISABLE-DENY-SCRIPTS <0|1>",
    "    Lets scripts call commands that are not for scripts.",
    "SET-SKIP-CHECKSUM-VALIDATION <0|1>",
    "    Check or ignore the checksums of RDB files and RESTORE.",
    "SLEEP <seconds>",
    "    Do nothing for so long; fractions are allowed.",
    "STRUCTSIZE",
    "    Show the sizes of basic structures.",
    "HELP",
    "    Show these lines.",
];
