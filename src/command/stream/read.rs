//! XLEN, XRANGE, XREVRANGE and XREAD, and how the arguments of XREAD and XREADGROUP are read.

use super::entries::{reply_entries, reply_entry};
use super::{ACL_READ_STREAM_SLOW, KEY_RO_ACCESS, ids, place};
use crate::command::args::{Words, int, timeout_ms};
use crate::command::blocking::{Awaited, Block, TimeoutReply};
use crate::command::effects::EventClass;
use crate::command::reply::Reply;
use crate::command::spec::{Acl, Arg, ArgKind, BeginSearch, FindKeys, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error};
use weir_structs::stream::{Stream, StreamId};

/// XLEN, XRANGE, XREVRANGE and XREAD.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new(
            "xlen",
            2,
            Flags::READONLY.union(Flags::FAST),
            Acl::READ.union(Acl::STREAM).union(Acl::FAST),
            Group::Stream,
            "5.0.0",
        )
        .keys(&[KeySpec::one(1, KeyFlags::RO)])
        .doc("O(1)", "Counts the entries of a stream.")
        .args(&[Arg::key("key", 0)]),
        xlen_command,
    ),
    Row::new(
        Spec::new("xrange", -4, Flags::READONLY, ACL_READ_STREAM_SLOW, Group::Stream, "5.0.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc("O(N) where N is the number of entries returned.", "Returns the entries of a stream between two ids.")
            .history(&[("6.2.0", "Either end of the range may be excluded.")])
            .args(&[
                Arg::key("key", 0),
                Arg::new("start", ArgKind::String),
                Arg::new("end", ArgKind::String),
                Arg::new("count", ArgKind::Integer).token("COUNT").optional(),
            ]),
        xrange_command,
    ),
    Row::new(
        Spec::new("xrevrange", -4, Flags::READONLY, ACL_READ_STREAM_SLOW, Group::Stream, "5.0.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc(
                "O(N) where N is the number of entries returned.",
                "Returns the entries of a stream between two ids, the newest first.",
            )
            .history(&[("6.2.0", "Either end of the range may be excluded.")])
            .args(&[
                Arg::key("key", 0),
                Arg::new("end", ArgKind::String),
                Arg::new("start", ArgKind::String),
                Arg::new("count", ArgKind::Integer).token("COUNT").optional(),
            ]),
        xrevrange_command,
    ),
    Row::new(
        Spec::new(
            "xread",
            -4,
            Flags::READONLY.union(Flags::BLOCKING).union(Flags::MOVABLEKEYS),
            Acl::READ.union(Acl::STREAM).union(Acl::SLOW).union(Acl::BLOCKING),
            Group::Stream,
            "5.0.0",
        )
        .keys(&[KeySpec {
            flags: KEY_RO_ACCESS,
            begin: BeginSearch::Keyword("STREAMS", 1),
            find: FindKeys::Range { last: -1, step: 1, limit: 2 },
            notes: "",
        }])
        .doc(
            "O(N) where N is the number of entries returned.",
            "Returns entries behind given ids of several streams, waiting for one if there is none.",
        )
        .args(&[
            Arg::new("count", ArgKind::Integer).token("COUNT").optional(),
            Arg::new("milliseconds", ArgKind::Integer).token("BLOCK").optional(),
            Arg::block("streams", &[Arg::key("key", 0).multiple(), Arg::new("id", ArgKind::String).multiple()])
                .token("STREAMS"),
        ]),
        xread_command,
    ),
];

fn xlen_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let key = cx.key(1);
    let len = place::read(cx.store.db(cx.db_index), cx.effects, key)?.map_or(0, |stream| stream.log().len());
    cx.reply.int(i64::try_from(len).unwrap_or(i64::MAX));
    Ok(())
}

fn xrange_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let start = ids::range_start(cx.arg(2))?;
    let end = ids::range_end(cx.arg(3))?;
    reply_range(cx, start, end, false)
}

fn xrevrange_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let end = ids::range_end(cx.arg(2));
    let start = ids::range_start(cx.arg(3))?;
    reply_range(cx, start, end?, true)
}

fn reply_range(cx: &mut Cx<'_>, start: StreamId, end: StreamId, reversed: bool) -> Result<(), Error> {
    let mut words = cx.words(4);
    let mut count = None;
    while words.left() > 0 {
        if words.left() < 2 || !words.accept("COUNT") {
            return Err(Error::SYNTAX);
        }
        count = Some(usize::try_from(words.expect_int()?).unwrap_or(0));
    }
    let key = cx.key(1);
    let Some(stream) = place::read(cx.store.db(cx.db_index), cx.effects, key)? else {
        cx.reply.array(0);
        return Ok(());
    };
    let log = stream.log();
    match (count, reversed) {
        (Some(0), _) => cx.reply.null_array(),
        (_, false) => reply_entries(&mut cx.reply, log.range(start, end).take(count.unwrap_or(usize::MAX))),
        (_, true) => reply_entries(&mut cx.reply, log.range_reversed(start, end).take(count.unwrap_or(usize::MAX))),
    }
    Ok(())
}

/// The options of XREAD and XREADGROUP.
pub(super) struct ReadOptions<'a> {
    /// Group and consumer.
    pub(super) group: Option<(&'a [u8], &'a [u8])>,
    /// Most entries of a stream.
    pub(super) count: usize,
    /// Whether to wait, and until when.
    pub(super) block: Option<Option<i64>>,
    /// Whether entries become pending.
    pub(super) keep: bool,
    /// How long entries must have been pending to be claimed, in ms.
    pub(super) claim_idle_ms: Option<u64>,
    /// Where the keys are among the arguments.
    keys_at: usize,
    /// How many streams there are.
    pub(super) streams: usize,
}

impl<'a> ReadOptions<'a> {
    /// Reads the arguments of XREAD, or of XREADGROUP.
    pub(super) fn parse(cx: &Cx<'a>, with_group: bool) -> Result<ReadOptions<'a>, Error> {
        let mut options = ReadOptions {
            group: None,
            count: usize::MAX,
            block: None,
            keep: true,
            claim_idle_ms: None,
            keys_at: 0,
            streams: 0,
        };
        let mut words = cx.words(1);
        while options.streams == 0 {
            let arguments = words.left().saturating_sub(1);
            if arguments >= 1 && words.accept("BLOCK") {
                options.block = Some(timeout_ms(words.expect()?, cx.now_ms())?);
            } else if arguments >= 1 && words.accept("COUNT") {
                // 0 and below set no limit.
                let count = usize::try_from(words.expect_int()?).unwrap_or(0);
                options.count = if count == 0 { usize::MAX } else { count };
            } else if arguments >= 1 && words.accept("STREAMS") {
                options.take_streams(&words, with_group)?;
            } else if arguments >= 2 && words.accept("GROUP") {
                if !with_group {
                    return Err(Error::XREAD_GROUP);
                }
                options.group = Some((words.expect()?, words.expect()?));
            } else if words.accept("NOACK") {
                if !with_group {
                    return Err(Error::XREAD_NOACK);
                }
                options.keep = false;
            } else if arguments >= 1 && words.accept("CLAIM") {
                if !with_group {
                    return Err(Error::XREAD_CLAIM);
                }
                let idle_ms = int(words.expect()?).map_err(|_| Error::MIN_IDLE_NOT_INTEGER)?;
                options.claim_idle_ms = Some(u64::try_from(idle_ms).map_err(|_| Error::MIN_IDLE_NEGATIVE)?);
            } else {
                return Err(Error::SYNTAX);
            }
        }
        if with_group && options.group.is_none() {
            return Err(Error::XREADGROUP_NO_GROUP);
        }
        Ok(options)
    }

    fn take_streams(&mut self, words: &Words<'_>, with_group: bool) -> Result<(), Error> {
        if !words.left().is_multiple_of(2) {
            let (command, special) = if with_group { ("xreadgroup", '>') } else { ("xread", '$') };
            return Err(Error::unbalanced_streams(command, special));
        }
        self.keys_at = words.at();
        self.streams = words.left() / 2;
        Ok(())
    }

    /// Where the key of a stream is among the arguments.
    pub(super) fn key_at(&self, stream: usize) -> usize {
        self.keys_at + stream
    }

    /// Where the id of a stream is among the arguments.
    pub(super) fn id_at(&self, stream: usize) -> usize {
        self.keys_at + self.streams + stream
    }

    /// The keys' places, for a command that waits.
    pub(super) fn key_places(&self) -> Vec<usize> {
        (self.keys_at..self.keys_at + self.streams).collect()
    }
}

/// Where XREAD begins to read a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ReadFrom {
    /// Behind an id.
    Behind(StreamId),
    /// With the last entry.
    Last,
}

/// Where to begin, and the id that stands for it if the command has to wait.
fn read_from(id: &[u8], stream: Option<&Stream>) -> Result<(ReadFrom, Option<StreamId>), Error> {
    let last_id = || stream.map_or(StreamId::MIN, |stream| stream.log().last_id());
    Ok(match id {
        b"$" => (ReadFrom::Behind(last_id()), Some(last_id())),
        b"+" if stream.is_some_and(|stream| !stream.log().is_empty()) => (ReadFrom::Last, None),
        b"+" => (ReadFrom::Behind(last_id()), Some(last_id())),
        b">" => return Err(Error::XREAD_UNDELIVERED),
        _ => (ReadFrom::Behind(ids::id(id)?), None),
    })
}

/// The first id that is read behind `id`, if the stream has entries from there on.
fn first_unread(stream: &Stream, id: StreamId) -> Option<StreamId> {
    if stream.log().last_id() <= id {
        return None;
    }
    let next = id.next()?;
    stream.log().range(next, StreamId::MAX).next().map(|_| next)
}

fn xread_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let options = ReadOptions::parse(cx, false)?;
    let mut waiting_ids = Vec::new();
    let mut served = 0;
    for at in 0..options.streams {
        let (key, id) = (cx.key(options.key_at(at)), cx.arg(options.id_at(at)));
        let stream = place::read(cx.store.db(cx.db_index), cx.effects, key)?;
        let (from, waiting_id) = read_from(id, stream)?;
        waiting_ids.extend(waiting_id.map(|id| (options.id_at(at), id)));
        served += usize::from(stream.is_some_and(|stream| match from {
            ReadFrom::Behind(id) => first_unread(stream, id).is_some(),
            ReadFrom::Last => true,
        }));
    }
    // It looks everywhere twice: for what to wait for, and for what to give.
    for at in 0..options.streams {
        let key = cx.key(options.key_at(at));
        if cx.effects.wants(EventClass::MISS) && place::peek(cx.store.db(cx.db_index), key).is_none() {
            cx.effects.event(EventClass::MISS, "keymiss", key.name, cx.db_index);
        }
    }
    if served == 0 {
        let Some(until_ms) = options.block else {
            cx.reply.null_array();
            return Ok(());
        };
        let text = |(at, id): (usize, StreamId)| (at, id.text().as_bytes().into());
        cx.block(Block {
            keys: options.key_places(),
            others: Vec::new(),
            until_ms,
            awaited: Awaited::Stream,
            on_timeout: TimeoutReply::NullArray,
            again_at_ms: None,
            argv: waiting_ids.into_iter().map(text).collect(),
        });
        return Ok(());
    }
    reply_streams(&mut cx.reply, served);
    for at in 0..options.streams {
        let (key, id) = (cx.key(options.key_at(at)), cx.arg(options.id_at(at)));
        let Some(stream) = place::peek(cx.store.db(cx.db_index), key) else { continue };
        match read_from(id, Some(stream))?.0 {
            ReadFrom::Behind(id) => {
                let Some(next) = first_unread(stream, id) else { continue };
                reply_stream(&mut cx.reply, key.name);
                reply_entries(&mut cx.reply, stream.log().range(next, StreamId::MAX).take(options.count));
            }
            ReadFrom::Last => {
                let Some(last) = stream.log().last() else { continue };
                reply_stream(&mut cx.reply, key.name);
                cx.reply.array(1);
                reply_entry(&mut cx.reply, &last);
            }
        }
    }
    Ok(())
}

/// The header of a reply with entries of `streams` streams.
pub(super) fn reply_streams(reply: &mut Reply<'_>, streams: usize) {
    if reply.is_resp3() {
        reply.map(streams);
    } else {
        reply.array(streams);
    }
}

/// The key of a stream, before its entries.
pub(super) fn reply_stream(reply: &mut Reply<'_>, key: &[u8]) {
    if !reply.is_resp3() {
        reply.array(2);
    }
    reply.bulk(key);
}
