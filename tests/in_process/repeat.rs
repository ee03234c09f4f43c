//! Whether the feed of a server makes another server what the first one is.
//!
//! The second one begins empty, later, with other seeds; deadlines are held while it runs the feed. Then both must hold
//! exactly the same, those keys and fields included whose time has come and that nobody has removed yet.

use super::{accepted, config, facts};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::ControlFlow;
use weir::command::reply::Output;
use weir::server::message::{Job, JobState};
use weir::server::{Facts, Server};
use weir::store::{EntryRef, StrView, ValueRef};
use weir_resp::{Batch, Limits, Parser};
use weir_structs::exchange::Exchange;
use weir_structs::hash::HashRef;
use weir_structs::hll::{Hll, Registers};
use weir_structs::list::{End, ListRef};
use weir_structs::number::format_i64;
use weir_structs::queue::{MessageId, Queue, State, Wait};
use weir_structs::set::SetRef;
use weir_structs::stream::{Stream, StreamId};
use weir_structs::tree::{Span, Tree, Version};
use weir_structs::zset::ZsetRef;

/// Bytes that are told of anything.
const TOLD_MAX: usize = 300;
/// Commands that are repeated in one turn.
const TURN_COMMANDS: usize = 64;

/// Runs a feed on an empty server.
///
/// # Errors
/// A command that fails or waits, as text.
pub(crate) fn repeat(feed: &[u8], options: &[&str]) -> Result<Server, String> {
    let facts = Facts { run_id: "fedcba9876543210fedcba9876543210fedcba98".to_owned(), ..facts() };
    let mut server = Server::new(config(options), facts, 77);
    server.begin_turn();
    server.begin_repeating();
    let slot = server.connect(accepted(0, false)).map_err(|refusal| shown(&refusal))?;
    let mut batch = Batch::new();
    batch.read_buffer().extend_from_slice(feed);
    // Argument lists of any length are taken from those who are logged in.
    let limits = Limits { authenticated: true, ..Limits::default() };
    let mut parser = Parser::new();
    loop {
        parser.parse(&mut batch, &limits).map_err(|error| format!("the feed is no protocol: {error:?}"))?;
        let texts: Vec<String> = batch.commands().map(|argv| shown_command(argv.iter())).collect();
        if texts.is_empty() {
            return if batch.tail().is_empty() { Ok(server) } else { Err("the feed ends in a command".to_owned()) };
        }
        let mut next = 0;
        while next < texts.len() {
            server.begin_turn();
            let mut jobs = [Job {
                slot,
                batch: std::mem::take(&mut batch),
                next,
                error: None,
                out: Output::default(),
                state: JobState::Ready,
                // One command a job, so that each reply can be told from the others.
                out_bytes_max: 1,
                ends_at_max: false,
            }];
            for _ in 0..TURN_COMMANDS {
                let [job] = &mut jobs;
                if job.next == texts.len() {
                    break;
                }
                (job.state, job.out) = (JobState::Ready, Output::default());
                let at = job.next;
                server.run(&mut jobs);
                let [job] = &mut jobs;
                let reply = job.out.bytes();
                if reply.starts_with(b"-") || reply.windows(3).any(|bytes| bytes == b"\n-E" || bytes == b"\n-W") {
                    return Err(format!("{} fails: {}", texts[at], told(reply)));
                }
                if !matches!(job.state, JobState::Full | JobState::Done | JobState::Unfinished) {
                    return Err(format!("{} leaves the server {:?}", texts[at], job.state));
                }
            }
            let [job] = jobs;
            (next, batch) = (job.next, job.batch);
            server.end_turn();
        }
        batch.discard_complete();
    }
}

/// Says where two servers differ.
///
/// # Errors
/// The first key that differs, with what either holds.
pub(crate) fn same(first: &mut Server, second: &mut Server) -> Result<(), String> {
    for index in 0..first.store.databases() {
        let (mut one, mut other) = (contents(first, index), contents(second, index));
        one.retain(|key, text| other.get(key) != Some(text) || other.remove(key).is_none());
        let key = one.keys().chain(other.keys()).next().cloned();
        if let Some(key) = key {
            let text = |all: &BTreeMap<Vec<u8>, String>| {
                all.get(&key).map_or_else(|| "nothing".to_owned(), |text| text.chars().take(TOLD_MAX).collect())
            };
            let (one, other): (String, String) = (text(&one), text(&other));
            return Err(format!("key {} of database {index} is\n  {one}\nand repeated\n  {other}", told(&key)));
        }
    }
    Ok(())
}

fn contents(server: &Server, index: usize) -> BTreeMap<Vec<u8>, String> {
    let entries = server.store.entries(index);
    entries.map(|entry| (entry.key().to_vec(), format!("{:?} {}", entry.expire_at(), value_text(entry)))).collect()
}

/// Everything about a value that is not told from the clock alone.
fn value_text(entry: EntryRef<'_>) -> String {
    let mut text = String::new();
    if let Some(list) = ListRef::of(entry) {
        text.push_str("list");
        list.visit(0, list.len(), End::Back, |element| {
            let _ = write!(text, " {}", shown(&element.text()));
            ControlFlow::Continue(())
        });
    } else if let Some(set) = SetRef::of(entry) {
        let mut members: Vec<String> = set.iter().map(|member| shown(&member.text())).collect();
        members.sort_unstable();
        let _ = write!(text, "set {}", members.join(" "));
    } else if let Some(zset) = ZsetRef::of(entry) {
        text.push_str("zset");
        zset.for_each(|member, score| {
            // A small set knows one zero only.
            let _ = write!(text, " {}={:?}", shown(member), score + 0.0);
        });
    } else if let Some(hash) = HashRef::of(entry) {
        let mut fields = Vec::new();
        hash.for_each(i64::MIN, |field, value| {
            let deadline = hash.deadline(&field.text(), i64::MIN).flatten();
            fields.push(format!("{}={} {deadline:?}", shown(&field.text()), shown(&value.text())));
        });
        fields.sort_unstable();
        let _ = write!(text, "hash {}", fields.join(", "));
    } else if let ValueRef::Stream(stream) = entry.value() {
        put_stream(&mut text, stream);
    } else if let ValueRef::Queue(queue) = entry.value() {
        put_queue(&mut text, queue);
    } else if let ValueRef::Exchange(exchange) = entry.value() {
        put_exchange(&mut text, exchange);
    } else if let ValueRef::Tree(tree) = entry.value() {
        put_tree(&mut text, tree);
    } else {
        match entry.str() {
            Some(StrView::Int(int)) => text.push_str(&shown(&format_i64(int))),
            Some(StrView::Bytes(bytes)) => text.push_str(&string_text(bytes)),
            Some(StrView::Blob(blob)) => text.push_str(&string_text(blob.as_bytes())),
            None => panic!("a value of no type"),
        }
    }
    text
}

/// Of a HyperLogLog its registers: whether they are written sparsely is a question of the settings at that time.
fn string_text(bytes: &[u8]) -> String {
    let mut registers = Registers::new();
    match Hll::of(bytes).map(|hll| hll.merge_into(&mut registers)) {
        Ok(Ok(())) => format!("HyperLogLog {}", shown(registers.values())),
        _ => shown(bytes),
    }
}

fn put_stream(text: &mut String, stream: &Stream) {
    let log = stream.log();
    let _ = write!(
        text,
        "stream last {} added {} deleted up to {}:",
        log.last_id(),
        log.entries_added(),
        log.max_deleted_id()
    );
    for entry in log.range(StreamId::MIN, StreamId::MAX) {
        let _ = write!(text, " {}", entry.id);
        for (field, value) in entry.pairs() {
            value.with_text(|value| {
                let _ = write!(text, " {}={}", shown(field), shown(value));
            });
        }
        text.push(',');
    }
    for (name, group) in stream.groups() {
        let _ = write!(text, " group {} at {} read {:?}", shown(name), group.last_delivered(), group.entries_read());
        let mut consumers: Vec<String> = group.consumers().map(|(_, consumer)| shown(consumer.name())).collect();
        consumers.sort_unstable();
        let _ = write!(text, " consumers {}, pending", consumers.join(" "));
        for pending in group.pending_range(StreamId::MIN, StreamId::MAX) {
            let owner = pending.consumer.and_then(|slot| group.consumer(slot)).map(|owner| shown(owner.name()));
            let _ = write!(text, " {} {owner:?} {} {},", pending.id, pending.delivery_ms, pending.deliveries);
        }
    }
}

/// What was handed out is ready again where it is repeated, and nobody knows how often; when a queue was declared is
/// the moment in which it is repeated.
fn put_queue(text: &mut String, queue: &Queue) {
    let _ = write!(text, "queue {:?} {:?}:", queue.options(), queue.paused());
    for message in queue.all_ids(MessageId::MIN).filter_map(|id| queue.message(id)) {
        let state = if message.state == State::Unacked { State::Ready } else { message.state };
        let (id, place) = (message.id.text(), message.key.text());
        let _ = write!(
            text,
            " {} at {} {state:?} {} priority {} expires {:?} failed {} due {:?} {:?} {:?},",
            shown(&id),
            shown(&place),
            shown(&message.parcel.bytes(Wait::UntilRead).expect("its body is in memory")),
            message.priority,
            message.expires_ms,
            message.deliveries,
            message.due_ms,
            message.reason,
            message.story,
        );
    }
}

/// What a store tells that asks for all of it; when leases end is a question of when they were heard of.
fn put_tree(text: &mut String, tree: &Tree) {
    let put_version = |text: &mut String, path: &[u8], version: Option<&Version>| {
        let _ = write!(text, " {}=", shown(path));
        match version {
            Some(version) => {
                let numbers =
                    [version.create(), version.modified(), version.version(), version.lease(), version.flags()];
                let _ = write!(text, "{} {numbers:?}", shown(version.value()));
            }
            None => text.push_str("deleted"),
        }
    };
    let (revision, compacted) = (tree.revision(), tree.compacted());
    let _ = write!(text, "store {revision} compacted {compacted} {:?}:", tree.options());
    for (path, version) in tree.span(Span::Prefix(b"\0"), None).chain(tree.span(Span::Prefix(b""), None)) {
        put_version(text, path, Some(version));
    }
    for change in tree.changes(0) {
        let _ = write!(text, " {} at {}:", change.revision, change.time_ms);
        for event in change.events {
            put_version(text, &event.path, event.after.as_ref());
        }
    }
    for (id, lease) in tree.leases() {
        let paths: Vec<_> = lease.paths().map(|path| shown(path)).collect();
        let _ = write!(text, " lease {id} {} {} {paths:?}", lease.ttl_ms(), lease.conn());
    }
}

fn put_exchange(text: &mut String, exchange: &Exchange) {
    let _ = write!(text, "exchange {:?}:", exchange.options());
    for bound in exchange.bindings() {
        let _ = write!(text, " {} {} {}", bound.target, shown(bound.name), shown(bound.rkey));
        bound.args().for_each(|(name, value)| {
            let _ = write!(text, " {}={}", shown(name), shown(value));
        });
        text.push(',');
    }
}

/// A command as text.
pub(crate) fn shown_command<'w>(words: impl Iterator<Item = &'w [u8]>) -> String {
    words.map(told).collect::<Vec<_>>().join(" ")
}

/// Bytes as text, the beginning of many.
fn told(bytes: &[u8]) -> String {
    match bytes.get(..TOLD_MAX) {
        Some(beginning) => format!("{}...({} bytes)", shown(beginning), bytes.len()),
        None => shown(bytes),
    }
}

fn shown(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
    if plain { text } else { format!("\"{text}\"") }
}
