//! XREADGROUP.
//!
//! For each stream there are two ways to read: `>` gives entries that nobody of the group was given yet (and, with CLAIM,
//! before them those that somebody was given too long ago); an id gives again what this consumer was given and has not
//! acknowledged. Only the first way waits.

use super::append::now_ms;
use super::entries::{reply_entry, reply_id, reply_pairs};
use super::fed::GroupFeed;
use super::read::{ReadOptions, reply_stream, reply_streams};
use super::{KEY_RO_ACCESS, ids, place};
use crate::command::blocking::{Awaited, Block, TimeoutReply};
use crate::command::effects::EventClass;
use crate::command::reply::{Deferred, Reply};
use crate::command::spec::{Acl, Arg, ArgKind, BeginSearch, FindKeys, Flags, Group, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error};
use weir_structs::stream::{ConsumerSlot, GroupMut, Pending, Stream, StreamId};

/// XREADGROUP.
pub const COMMANDS: &[Row<DataFn>] = &[Row::new(
    Spec::new(
        "xreadgroup",
        -7,
        Flags::WRITE.union(Flags::BLOCKING).union(Flags::MOVABLEKEYS),
        Acl::WRITE.union(Acl::STREAM).union(Acl::SLOW).union(Acl::BLOCKING),
        Group::Stream,
        "5.0.0",
    )
    .keys(&[KeySpec {
        flags: KEY_RO_ACCESS,
        begin: BeginSearch::Keyword("STREAMS", 4),
        find: FindKeys::Range { last: -1, step: 1, limit: 2 },
        notes: "",
    }])
    .doc(
        "O(N) where N is the number of entries returned.",
        "Returns entries of streams to a consumer of a group, waiting for one if there is none.",
    )
    .history(&[("8.4.0", "Gained the `CLAIM` option.")])
    .args(&[
        Arg::block("group-block", &[Arg::new("group", ArgKind::String), Arg::new("consumer", ArgKind::String)])
            .token("GROUP"),
        Arg::new("count", ArgKind::Integer).token("COUNT").optional(),
        Arg::new("milliseconds", ArgKind::Integer).token("BLOCK").optional(),
        Arg::new("min-idle-time", ArgKind::Integer).token("CLAIM").since("8.4.0").optional(),
        Arg::word("noack", "NOACK").optional(),
        Arg::block("streams", &[Arg::key("key", 0).multiple(), Arg::new("id", ArgKind::String).multiple()])
            .token("STREAMS"),
    ]),
    xreadgroup_command,
)];

/// Deliveries are counted up to here.
pub(super) const DELIVERIES_MAX: u64 = i64::MAX as u64;

/// Which entries of a stream are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wanted {
    /// `>`
    New,
    /// Those of the consumer behind an id.
    History(StreamId),
}

impl Wanted {
    fn parse(id: &[u8]) -> Result<Wanted, Error> {
        match id {
            b">" => Ok(Wanted::New),
            b"$" => Err(Error::meaningless_id('$')),
            b"+" => Err(Error::meaningless_id('+')),
            // There is nothing behind the last id, which therefore means the same as `>`.
            _ => Ok(match ids::id(id)? {
                StreamId::MAX => Wanted::New,
                id => Wanted::History(id),
            }),
        }
    }
}

/// What is read of each stream.
struct Reading<'a> {
    group: &'a [u8],
    consumer: &'a [u8],
    count: usize,
    keep: bool,
    claim_idle_ms: Option<u64>,
    now_ms: u64,
    /// Whether there is but one stream, so that the reply's header is known once that has something.
    only: bool,
}

/// What reading a stream came to.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Outcome {
    /// Whether there is something in the reply.
    served: bool,
    /// Whether the consumer is new.
    created_consumer: bool,
    /// How often something was changed that outlives the command.
    changes: u64,
    /// When an entry will have been pending for long enough to be claimed, in Unix ms.
    claimable_at_ms: Option<i64>,
}

fn no_group(key: &[u8], group: &[u8]) -> Error {
    Error::no_such_group(key, group, " in XREADGROUP with GROUP option")
}

fn xreadgroup_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let options = ReadOptions::parse(cx, true)?;
    let (group, consumer) = options.group.ok_or(Error::XREADGROUP_NO_GROUP)?;
    let reading = Reading {
        group,
        consumer,
        count: options.count,
        keep: options.keep,
        claim_idle_ms: options.claim_idle_ms,
        now_ms: now_ms(cx),
        only: options.streams == 1,
    };
    if !reading.only {
        // Everything that may be wrong is found before the first entry is given.
        for at in 0..options.streams {
            let key = cx.key(options.key_at(at));
            let stream = place::read(cx.store.db(cx.db_index), cx.effects, key)?;
            stream.and_then(|stream| stream.group(group)).ok_or_else(|| no_group(key.name, group))?;
            Wanted::parse(cx.arg(options.id_at(at)))?;
        }
    }
    let header = if cx.reply.is_resp3() { cx.reply.deferred_map() } else { cx.reply.deferred_array() };
    let (mut served, mut again_at_ms) = (0, None);
    for at in 0..options.streams {
        let (key, id) = (cx.key(options.key_at(at)), cx.arg(options.id_at(at)));
        let reply = &mut cx.reply;
        let mut fed = GroupFeed::new(cx.effects);
        let outcome =
            place::note(cx.store.db(cx.db_index), key, |stream| reading.read(key.name, id, stream, reply, &mut fed))?;
        let outcome = outcome.ok_or_else(|| no_group(key.name, group))?;
        fed.feed(cx.effects, key.name, group, consumer);
        served += usize::from(outcome.served);
        again_at_ms = [again_at_ms, outcome.claimable_at_ms].into_iter().flatten().min();
        if outcome.created_consumer {
            cx.effects.event(EventClass::STREAM, "xgroup-createconsumer", key.name, cx.db_index);
        }
        cx.effects.changed(outcome.changes);
    }
    match (served, options.block) {
        (0, None) => cx.reply.null_array(),
        (0, Some(until_ms)) => cx.block(Block {
            keys: options.key_places(),
            others: Vec::new(),
            until_ms,
            awaited: Awaited::StreamGroup,
            on_timeout: TimeoutReply::NullArray,
            again_at_ms,
            argv: Vec::new(),
        }),
        _ if reading.only => {}
        _ => cx.reply.close(header, served),
    }
    Ok(())
}

impl Reading<'_> {
    /// Reads one stream as its id says, and writes what was read.
    fn read(
        &self,
        key: &[u8],
        id: &[u8],
        stream: &mut Stream,
        reply: &mut Reply<'_>,
        fed: &mut GroupFeed,
    ) -> Result<Outcome, Error> {
        let mut group = stream.group_mut(self.group).ok_or_else(|| no_group(key, self.group))?;
        let wanted = Wanted::parse(id)?;
        let (slot, created_consumer) = group.find_or_create_consumer(self.consumer, self.now_ms);
        group.mark_seen(slot, self.now_ms);
        fed.created_consumer(created_consumer);
        let mut writer = Writer { reply, key, only: self.only, array: None, count: 0 };
        let changes = match wanted {
            Wanted::New => {
                let claimed =
                    self.claim_idle_ms.map_or(0, |idle_ms| self.claim(&mut group, slot, idle_ms, &mut writer, fed));
                claimed + u64::from(self.deliver(&mut group, slot, &mut writer, fed))
            }
            Wanted::History(id) => {
                self.repeat(&mut group, slot, id, &mut writer, fed);
                0
            }
        };
        fed.ends(&group);
        let served = writer.finish();
        let claimable_at_ms = self.claim_idle_ms.filter(|_| !served).and_then(|idle_ms| {
            let at_ms = group.oldest_delivery_ms()?.saturating_add(idle_ms);
            i64::try_from(at_ms).ok()
        });
        let changes = changes + u64::from(created_consumer);
        Ok(Outcome { served, created_consumer, changes, claimable_at_ms })
    }

    /// Gives the consumer entries that the group has not read yet.
    fn deliver(
        &self,
        group: &mut GroupMut<'_>,
        slot: ConsumerSlot,
        writer: &mut Writer<'_, '_>,
        fed: &mut GroupFeed,
    ) -> bool {
        let log = group.log();
        let (left, first) = (self.count - writer.count, group.last_delivered().next());
        let Some(first) = first.filter(|&first| first <= log.last_id()) else { return false };
        let mut delivered = false;
        for entry in log.range(first, StreamId::MAX).take(left) {
            let reply = writer.next(self.count == 1);
            if self.claim_idle_ms.is_some() {
                reply.array(4);
                reply_id(reply, entry.id);
                reply_pairs(reply, &entry);
                reply.int(0);
                reply.int(0);
            } else {
                reply_entry(reply, &entry);
            }
            group.deliver(log, entry.id, slot, self.now_ms, self.keep);
            if self.keep {
                fed.claimed(entry.id, self.now_ms, 1);
            }
            delivered = true;
        }
        if delivered {
            fed.read_on(group);
        }
        if delivered && self.keep {
            group.mark_active(slot, self.now_ms);
        }
        delivered
    }

    /// Gives the consumer what has been pending for long, the longest first. Returns the number of changes: entries that
    /// are its own now, and pending ones that are dropped because the stream has them no longer.
    fn claim(
        &self,
        group: &mut GroupMut<'_>,
        slot: ConsumerSlot,
        idle_ms: u64,
        writer: &mut Writer<'_, '_>,
        fed: &mut GroupFeed,
    ) -> u64 {
        let log = group.log();
        let mut changes = 0;
        let mut until_ms = self.now_ms.saturating_sub(idle_ms);
        loop {
            let left = self.count - writer.count;
            let found = group.idle_pending(until_ms, left);
            let mut dropped = false;
            for pending in &found {
                changes += 1;
                let Some(entry) = log.get(pending.id) else {
                    group.acknowledge(pending.id);
                    fed.gone(pending.id);
                    dropped = true;
                    continue;
                };
                let reply = writer.next(self.count == 1);
                reply.array(4);
                reply_id(reply, entry.id);
                reply_pairs(reply, &entry);
                reply.int(idle_for(pending, self.now_ms));
                reply.int(i64::try_from(pending.deliveries).unwrap_or(i64::MAX));
                let deliveries = (pending.deliveries + 1).min(DELIVERIES_MAX);
                group.claim(pending.id, slot, self.now_ms, deliveries);
                fed.claimed(pending.id, self.now_ms, deliveries);
                group.mark_active(slot, self.now_ms);
            }
            // Where some were dropped others may take their place, but none of those that were claimed just now.
            if writer.count > 0 {
                until_ms = until_ms.min(self.now_ms.saturating_sub(1));
            }
            if !dropped || found.len() < left || writer.count == self.count {
                return changes;
            }
        }
    }

    /// Gives the consumer again what it has pending behind `id`.
    fn repeat(
        &self,
        group: &mut GroupMut<'_>,
        slot: ConsumerSlot,
        id: StreamId,
        writer: &mut Writer<'_, '_>,
        fed: &mut GroupFeed,
    ) {
        let log = group.log();
        writer.begin(false);
        let mut next = id.next();
        while let Some(pending) = next.and_then(|from| group.next_pending_of(slot, from)) {
            if writer.count == self.count {
                return;
            }
            let reply = writer.next(false);
            match log.get(pending.id) {
                Some(entry) => {
                    reply_entry(reply, &entry);
                    group.redeliver(pending.id, self.now_ms);
                    if let Some(now) = group.pending(pending.id) {
                        fed.claimed(now.id, now.delivery_ms, now.deliveries);
                    }
                }
                // What was deleted is not delivered.
                None => {
                    reply.array(2);
                    reply_id(reply, pending.id);
                    reply.null_array();
                }
            }
            next = pending.id.next();
        }
    }
}

/// How long an entry has been pending, in ms; -1 for one that was given back.
pub(super) fn idle_for(pending: &Pending, now_ms: u64) -> i64 {
    match pending.consumer {
        Some(_) => i64::try_from(now_ms.saturating_sub(pending.delivery_ms)).unwrap_or(i64::MAX),
        None => -1,
    }
}

/// Writes the entries of one stream, with what stands before them once there is one.
struct Writer<'r, 'o> {
    reply: &'r mut Reply<'o>,
    key: &'r [u8],
    only: bool,
    array: Option<Deferred>,
    count: usize,
}

impl<'o> Writer<'_, 'o> {
    /// Writes what stands before the entries. Of a `lone` entry nothing need be told later.
    fn begin(&mut self, lone: bool) {
        if self.only {
            reply_streams(self.reply, 1);
        }
        reply_stream(self.reply, self.key);
        if lone {
            self.reply.array(1);
        } else {
            self.array = Some(self.reply.deferred_array());
        }
    }

    /// Where the next entry goes.
    #[inline]
    fn next(&mut self, lone: bool) -> &mut Reply<'o> {
        if self.count == 0 && self.array.is_none() {
            self.begin(lone);
        }
        self.count += 1;
        self.reply
    }

    /// Closes it, and says whether anything was written.
    fn finish(self) -> bool {
        match self.array {
            Some(array) => {
                self.reply.close(array, self.count);
                true
            }
            None => self.count > 0,
        }
    }
}
