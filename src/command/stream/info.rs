//! XINFO: what there is to know about streams, groups and consumers.

use super::append::now_ms;
use super::entries::{reply_entries, reply_entry, reply_id};
use super::{ACL_READ_STREAM_SLOW, ACL_STREAM_SLOW, KEY_RO_ACCESS, place};
use crate::command::reply::Reply;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error};
use weir_structs::stream::{self, ConsumerSlot, Idempotency, IdempotencyCounts, Stream, StreamId};

const LOADING_STALE: Flags = Flags::LOADING.union(Flags::STALE);

/// XINFO and its subcommands.
pub const COMMANDS: &[Row<DataFn>] = &[Row::container(
    Spec::new("xinfo", -2, Flags::empty(), Acl::SLOW, Group::Stream, "5.0.0")
        .doc("Depends on the subcommand.", "Groups the commands that describe streams."),
    &[
        Row::new(
            Spec::new("consumers", 4, Flags::READONLY, ACL_READ_STREAM_SLOW, Group::Stream, "5.0.0")
                .keys(&[KeySpec::one(2, KEY_RO_ACCESS)])
                .tips(&["nondeterministic_output"])
                .doc("O(N) where N is the number of consumers.", "Describes the consumers of a consumer group.")
                .history(&[("7.2.0", "Gained the `inactive` field; `idle` counts from the last attempt to read.")])
                .args(&[Arg::key("key", 0), Arg::new("group", ArgKind::String)]),
            xinfo_consumers_command,
        ),
        Row::new(
            Spec::new("groups", 3, Flags::READONLY, ACL_READ_STREAM_SLOW, Group::Stream, "5.0.0")
                .keys(&[KeySpec::one(2, KEY_RO_ACCESS)])
                .doc("O(N) where N is the number of groups.", "Describes the consumer groups of a stream.")
                .history(&[("7.0.0", "Gained the `entries-read` and `lag` fields.")])
                .args(&[Arg::key("key", 0)]),
            xinfo_groups_command,
        ),
        Row::new(
            Spec::new("help", 2, LOADING_STALE, ACL_STREAM_SLOW, Group::Stream, "5.0.0")
                .doc("O(1)", "Lists the subcommands of `XINFO` and what they do."),
            xinfo_help_command,
        ),
        Row::new(
            Spec::new("stream", -3, Flags::READONLY, ACL_READ_STREAM_SLOW, Group::Stream, "5.0.0")
                .keys(&[KeySpec::one(2, KEY_RO_ACCESS)])
                .doc(
                    "O(1), with `FULL` O(N) where N is the number of parts described.",
                    "Describes a stream, with its entries, groups and consumers if asked to.",
                )
                .history(&[
                    ("6.0.0", "Gained the `FULL` option."),
                    ("7.0.0", "Gained `max-deleted-entry-id`, `entries-added` and `recorded-first-entry-id`."),
                    ("7.0.0", "Gained the `entries-read` and `lag` fields of groups."),
                    ("7.2.0", "Gained `active-time` of consumers; `seen-time` is the last attempt to read."),
                    ("8.6.0", "Gained the fields about ids of producers."),
                    ("8.8.0", "Gained the `nacked-count` field of groups."),
                ])
                .args(&[
                    Arg::key("key", 0),
                    Arg::block(
                        "full-block",
                        &[Arg::word("full", "FULL"), Arg::new("count", ArgKind::Integer).token("COUNT").optional()],
                    )
                    .optional(),
                ]),
            xinfo_stream_command,
        ),
    ],
)];

/// How many entries and pending entries XINFO STREAM FULL shows unless told otherwise.
const FULL_COUNT: usize = 10;

/// `XINFO HELP`.
const HELP: &[&str] = &[
    "XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CONSUMERS <key> <groupname>",
    "    Describe the consumers of a group.",
    "GROUPS <key>",
    "    Describe the groups of a stream.",
    "STREAM <key> [FULL [COUNT <count>]]",
    "    Describe a stream, with all that belongs to it if asked to.",
    "HELP",
    "    Show these lines.",
];

fn number(reply: &mut Reply<'_>, name: &str, value: u64) {
    reply.text(name);
    reply.int(i64::try_from(value).unwrap_or(i64::MAX));
}

fn maybe_number(reply: &mut Reply<'_>, name: &str, value: Option<i64>) {
    match value {
        Some(value) => {
            reply.text(name);
            reply.int(value);
        }
        None => {
            reply.text(name);
            reply.null();
        }
    }
}

fn id(reply: &mut Reply<'_>, name: &str, id: StreamId) {
    reply.text(name);
    reply_id(reply, id);
}

fn xinfo_stream_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let key = cx.key(2);
    let mut words = cx.words(3);
    let stream = place::read(cx.store.db(cx.db_index), cx.effects, key)?.ok_or(Error::NO_SUCH_KEY)?;
    let reply = &mut cx.reply;
    let Some(_) = words.peek() else {
        reply.map(summary_fields(stream) + 3);
        reply_summary(reply, stream);
        number(reply, "groups", stream.group_count() as u64);
        for (name, entry) in [("first-entry", stream.log().first()), ("last-entry", stream.log().last())] {
            reply.text(name);
            match entry {
                Some(entry) => reply_entry(reply, &entry),
                None => reply.null(),
            }
        }
        return Ok(());
    };
    let syntax = || Error::subcommand_syntax(cx.argv.at(1), "xinfo");
    let mut count = FULL_COUNT;
    if !words.accept("FULL") {
        return Err(syntax());
    }
    if words.left() > 0 {
        if words.left() != 2 || !words.accept("COUNT") {
            return Err(syntax());
        }
        // 0 shows all, and less than nothing is taken for nothing said.
        count = match words.expect_int()? {
            ..0 => FULL_COUNT,
            0 => usize::MAX,
            count => usize::try_from(count).unwrap_or(usize::MAX),
        };
    }
    reply.map(summary_fields(stream) + 2);
    reply_summary(reply, stream);
    reply.text("entries");
    reply_entries(reply, stream.log().range(StreamId::MIN, StreamId::MAX).take(count));
    reply.text("groups");
    reply.array(stream.group_count());
    for (name, group) in stream.groups() {
        reply_group_in_full(reply, stream, name, group, count);
    }
    Ok(())
}

/// Fields of [`reply_summary`].
fn summary_fields(stream: &Stream) -> usize {
    if has_producers(stream) { 13 } else { 7 }
}

/// Whether anything was ever said of producers: only then they are told of. Who does not use them gets the reply that
/// servers before 8.6 give.
fn has_producers(stream: &Stream) -> bool {
    let (fresh, producers) = (Stream::new(), stream.idempotency());
    let settings = |of: &Idempotency| (of.duration_s(), of.messages_max());
    producers.counts() != IdempotencyCounts::default() || settings(producers) != settings(fresh.idempotency())
}

/// What both forms of XINFO STREAM begin with.
fn reply_summary(reply: &mut Reply<'_>, stream: &Stream) {
    let log = stream.log();
    number(reply, "length", log.len());
    number(reply, "radix-tree-keys", log.node_count());
    number(reply, "radix-tree-nodes", log.radix_tree_nodes());
    id(reply, "last-generated-id", log.last_id());
    id(reply, "max-deleted-entry-id", log.max_deleted_id());
    number(reply, "entries-added", log.entries_added());
    id(reply, "recorded-first-entry-id", log.first_id());
    if !has_producers(stream) {
        return;
    }
    let producers = stream.idempotency();
    let counts = producers.counts();
    number(reply, "idmp-duration", producers.duration_s());
    number(reply, "idmp-maxsize", producers.messages_max());
    number(reply, "pids-tracked", counts.producers);
    number(reply, "iids-tracked", counts.messages);
    number(reply, "iids-added", counts.added);
    number(reply, "iids-duplicates", counts.duplicates);
}

fn reply_group_in_full(reply: &mut Reply<'_>, stream: &Stream, name: &[u8], group: &stream::Group, count: usize) {
    let owned = group.consumers().map(|(_, consumer)| consumer.pending_count()).sum::<u64>();
    let given_back = group.pending_count().saturating_sub(owned);
    reply.map(7 + usize::from(given_back > 0));
    reply.text("name");
    reply.bulk(name);
    id(reply, "last-delivered-id", group.last_delivered());
    maybe_number(reply, "entries-read", group.entries_read().map(|read| read as i64));
    maybe_number(reply, "lag", group.lag(stream.log()));
    number(reply, "pel-count", group.pending_count());
    if given_back > 0 {
        number(reply, "nacked-count", given_back);
    }
    reply.text("pending");
    let array = reply.deferred_array();
    let mut shown = 0;
    for pending in group.pending_range(StreamId::MIN, StreamId::MAX).take(count) {
        let owner = pending.consumer.and_then(|slot| group.consumer(slot));
        reply.array(4);
        reply_id(reply, pending.id);
        reply.bulk(owner.map_or(&[], |owner| owner.name()));
        reply.int(i64::try_from(pending.delivery_ms).unwrap_or(i64::MAX));
        reply.int(i64::try_from(pending.deliveries).unwrap_or(i64::MAX));
        shown += 1;
    }
    reply.close(array, shown);
    reply.text("consumers");
    reply.array(group.consumer_count());
    for (slot, consumer) in group.consumers() {
        reply_consumer_in_full(reply, group, slot, consumer, count);
    }
}

fn reply_consumer_in_full(
    reply: &mut Reply<'_>,
    group: &stream::Group,
    slot: ConsumerSlot,
    consumer: &stream::Consumer,
    count: usize,
) {
    reply.map(5);
    reply.text("name");
    reply.bulk(consumer.name());
    number(reply, "seen-time", consumer.seen_ms());
    reply.text("active-time");
    reply.int(consumer.active_ms().map_or(-1, |ms| i64::try_from(ms).unwrap_or(i64::MAX)));
    number(reply, "pel-count", consumer.pending_count());
    reply.text("pending");
    let array = reply.deferred_array();
    let mut shown = 0;
    for pending in group.pending_range_of(slot, StreamId::MIN, StreamId::MAX).take(count) {
        reply.array(3);
        reply_id(reply, pending.id);
        reply.int(i64::try_from(pending.delivery_ms).unwrap_or(i64::MAX));
        reply.int(i64::try_from(pending.deliveries).unwrap_or(i64::MAX));
        shown += 1;
    }
    reply.close(array, shown);
}

fn xinfo_groups_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let key = cx.key(2);
    let stream = place::read(cx.store.db(cx.db_index), cx.effects, key)?.ok_or(Error::NO_SUCH_KEY)?;
    let reply = &mut cx.reply;
    reply.array(stream.group_count());
    for (name, group) in stream.groups() {
        reply.map(6);
        reply.text("name");
        reply.bulk(name);
        number(reply, "consumers", group.consumer_count() as u64);
        number(reply, "pending", group.pending_count());
        id(reply, "last-delivered-id", group.last_delivered());
        maybe_number(reply, "entries-read", group.entries_read().map(|read| read as i64));
        maybe_number(reply, "lag", group.lag(stream.log()));
    }
    Ok(())
}

fn xinfo_consumers_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (key, name) = (cx.key(2), cx.arg(3));
    let now_ms = now_ms(cx);
    let stream = place::read(cx.store.db(cx.db_index), cx.effects, key)?.ok_or(Error::NO_SUCH_KEY)?;
    let group = stream.group(name).ok_or_else(|| Error::no_such_group_of_key(key.name, name))?;
    let reply = &mut cx.reply;
    reply.array(group.consumer_count());
    for (_, consumer) in group.consumers() {
        reply.map(4);
        reply.text("name");
        reply.bulk(consumer.name());
        number(reply, "pending", consumer.pending_count());
        number(reply, "idle", now_ms.saturating_sub(consumer.seen_ms()));
        reply.text("inactive");
        let inactive_ms = consumer.active_ms().map(|ms| now_ms.saturating_sub(ms));
        reply.int(inactive_ms.map_or(-1, |ms| i64::try_from(ms).unwrap_or(i64::MAX)));
    }
    Ok(())
}

fn xinfo_help_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    cx.reply.lines(HELP);
    Ok(())
}
