//! XPENDING, XCLAIM and XAUTOCLAIM: looking at what is pending, and giving it to another consumer.

use super::append::now_ms;
use super::entries::{reply_entry, reply_id};
use super::fed::GroupFeed;
use super::read_group::{DELIVERIES_MAX, idle_for};
use super::{
    ACL_READ_STREAM_SLOW, ACL_WRITE_STREAM_FAST, KEY_RO_ACCESS, KEY_RW_DELETE, KEY_RW_UPDATE, WRITE_FAST, ids,
    no_group, place,
};
use crate::command::args::int;
use crate::command::effects::EventClass;
use crate::command::spec::{Arg, ArgKind, Flags, Group, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error};
use weir_structs::stream::{GroupMut, Pending, StreamId};

/// XPENDING, XCLAIM and XAUTOCLAIM.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new("xpending", -3, Flags::READONLY, ACL_READ_STREAM_SLOW, Group::Stream, "5.0.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .tips(&["nondeterministic_output"])
            .doc(
                "O(N) where N is the number of entries looked at, or of consumers in the short form.",
                "Describes what a consumer group has pending, as a whole or entry by entry.",
            )
            .history(&[("6.2.0", "Gained the `IDLE` option; either end of the range may be excluded.")])
            .args(&[
                Arg::key("key", 0),
                Arg::new("group", ArgKind::String),
                Arg::block(
                    "filters",
                    &[
                        Arg::new("min-idle-time", ArgKind::Integer).token("IDLE").since("6.2.0").optional(),
                        Arg::new("start", ArgKind::String),
                        Arg::new("end", ArgKind::String),
                        Arg::new("count", ArgKind::Integer),
                        Arg::new("consumer", ArgKind::String).optional(),
                    ],
                )
                .optional(),
            ]),
        xpending_command,
    ),
    Row::new(
        Spec::new("xclaim", -6, WRITE_FAST, ACL_WRITE_STREAM_FAST, Group::Stream, "5.0.0")
            .keys(&[KeySpec::one(1, KEY_RW_UPDATE)])
            .tips(&["nondeterministic_output"])
            .doc(
                "O(N*log(M)) where N is the number of ids and M the number of pending entries.",
                "Gives named entries that have been pending for long to another consumer.",
            )
            .args(&[
                Arg::key("key", 0),
                Arg::new("group", ArgKind::String),
                Arg::new("consumer", ArgKind::String),
                Arg::new("min-idle-time", ArgKind::String),
                Arg::new("id", ArgKind::String).multiple(),
                Arg::new("ms", ArgKind::Integer).token("IDLE").optional(),
                Arg::new("unix-time-milliseconds", ArgKind::UnixTime).token("TIME").optional(),
                Arg::new("count", ArgKind::Integer).token("RETRYCOUNT").optional(),
                Arg::word("force", "FORCE").optional(),
                Arg::word("justid", "JUSTID").optional(),
                Arg::new("lastid", ArgKind::String).token("LASTID").optional(),
            ]),
        xclaim_command,
    ),
    Row::new(
        Spec::new("xautoclaim", -6, WRITE_FAST, ACL_WRITE_STREAM_FAST, Group::Stream, "6.2.0")
            .keys(&[KeySpec::one(1, KEY_RW_DELETE)])
            .tips(&["nondeterministic_output"])
            .doc(
                "O(N) where N is the number of entries looked at.",
                "Gives entries that have been pending for long to another consumer.",
            )
            .history(&[("7.0.0", "The reply lists pending entries that are no longer in the stream.")])
            .args(&[
                Arg::key("key", 0),
                Arg::new("group", ArgKind::String),
                Arg::new("consumer", ArgKind::String),
                Arg::new("min-idle-time", ArgKind::String),
                Arg::new("start", ArgKind::String),
                Arg::new("count", ArgKind::Integer).token("COUNT").optional(),
                Arg::word("justid", "JUSTID").optional(),
            ]),
        xautoclaim_command,
    ),
];

fn xpending_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    if cx.argc() == 3 {
        return xpending_summary(cx);
    }
    // What stands behind the consumer is ignored, but not too much of it, as in Redis.
    if !(6..=9).contains(&cx.argc()) {
        return Err(Error::SYNTAX);
    }
    let mut words = cx.words(3);
    let mut min_idle_ms = 0;
    if words.accept("IDLE") {
        min_idle_ms = words.expect_int()?;
    }
    if words.left() < 3 {
        return Err(Error::SYNTAX);
    }
    let (start, end, count) = (words.expect()?, words.expect()?, words.expect_int()?);
    let count = usize::try_from(count).unwrap_or(0);
    let (start, end) = (ids::range_start(start)?, ids::range_end(end)?);
    let consumer = words.next();
    let (key, name) = (cx.key(1), cx.arg(2));
    let now_ms = now_ms(cx);
    let stream = place::read(cx.store.db(cx.db_index), cx.effects, key)?;
    let group = stream.and_then(|stream| stream.group(name)).ok_or_else(|| no_group(key.name, name))?;
    let idle_enough = |pending: &Pending| is_idle(pending, min_idle_ms, now_ms);
    let array = cx.reply.deferred_array();
    let mut found = 0;
    let mut reply_pending = |pending: Pending| {
        let owner = pending.consumer.and_then(|slot| group.consumer(slot));
        cx.reply.array(4);
        reply_id(&mut cx.reply, pending.id);
        cx.reply.bulk(owner.map_or(&[], |owner| owner.name()));
        cx.reply.int(idle_for(&pending, now_ms));
        cx.reply.int(i64::try_from(pending.deliveries).unwrap_or(i64::MAX));
        found += 1;
    };
    match consumer.map(|consumer| group.find_consumer(consumer)) {
        None => group.pending_range(start, end).filter(idle_enough).take(count).for_each(&mut reply_pending),
        Some(Some(slot)) => {
            group.pending_range_of(slot, start, end).filter(idle_enough).take(count).for_each(&mut reply_pending);
        }
        Some(None) => {}
    }
    cx.reply.close(array, found);
    Ok(())
}

/// Whether an entry has been pending for at least so long; for ever, if it was given back.
fn is_idle(pending: &Pending, min_idle_ms: i64, now_ms: u64) -> bool {
    pending.consumer.is_none() || min_idle_ms <= 0 || idle_for(pending, now_ms) >= min_idle_ms
}

fn xpending_summary(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (key, name) = (cx.key(1), cx.arg(2));
    let stream = place::read(cx.store.db(cx.db_index), cx.effects, key)?;
    let group = stream.and_then(|stream| stream.group(name)).ok_or_else(|| no_group(key.name, name))?;
    let reply = &mut cx.reply;
    reply.array(4);
    reply.int(i64::try_from(group.pending_count()).unwrap_or(i64::MAX));
    let (Some(first), Some(last)) = (group.next_pending(StreamId::MIN), group.last_pending()) else {
        reply.null();
        reply.null();
        reply.null_array();
        return Ok(());
    };
    reply_id(reply, first.id);
    reply_id(reply, last.id);
    let array = reply.deferred_array();
    let mut owners = 0;
    for (_, consumer) in group.consumers().filter(|(_, consumer)| consumer.pending_count() > 0) {
        reply.array(2);
        reply.bulk(consumer.name());
        reply.bulk_int(i64::try_from(consumer.pending_count()).unwrap_or(i64::MAX));
        owners += 1;
    }
    reply.close(array, owners);
    Ok(())
}

/// The arguments of XCLAIM behind the consumer.
struct ClaimOptions {
    min_idle_ms: i64,
    ids: Vec<StreamId>,
    delivery_ms: u64,
    deliveries: Option<u64>,
    force: bool,
    only_ids: bool,
    last_id: Option<StreamId>,
}

impl ClaimOptions {
    fn parse(cx: &Cx<'_>, now_ms: u64) -> Result<ClaimOptions, Error> {
        let latest_ms = if cx.repeats() { u64::MAX } else { now_ms };
        let min_idle_ms = int(cx.arg(4)).map_err(|_| Error::invalid_claim_argument("min-idle-time", "XCLAIM"))?;
        let mut words = cx.words(5);
        let mut ids = Vec::new();
        while let Some(id) = words.peek().and_then(|word| ids::id(word).ok()) {
            ids.push(id);
            words.next();
        }
        let mut options = ClaimOptions {
            min_idle_ms,
            ids,
            delivery_ms: now_ms,
            deliveries: None,
            force: false,
            only_ids: false,
            last_id: None,
        };
        let number = |word: &[u8], option: &str| {
            int(word).map_err(|_| Error::invalid_claim_argument(&format!("{option} option"), "XCLAIM"))
        };
        // A moment before 1970 or in the future counts as now.
        let past =
            |ms: Option<i64>| ms.and_then(|ms| u64::try_from(ms).ok()).filter(|&ms| ms <= latest_ms).unwrap_or(now_ms);
        while let Some(word) = words.peek() {
            let has_argument = words.left() > 1;
            if words.accept("FORCE") {
                options.force = true;
            } else if words.accept("JUSTID") {
                options.only_ids = true;
            } else if has_argument && words.accept("IDLE") {
                let idle_ms = number(words.expect()?, "IDLE")?;
                let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
                options.delivery_ms = past(now_ms.checked_sub(idle_ms));
            } else if has_argument && words.accept("TIME") {
                options.delivery_ms = past(Some(number(words.expect()?, "TIME")?));
            } else if has_argument && words.accept("RETRYCOUNT") {
                options.deliveries = u64::try_from(number(words.expect()?, "RETRYCOUNT")?).ok();
            } else if has_argument && words.accept("LASTID") {
                options.last_id = Some(ids::id(words.expect()?)?);
            } else {
                return Err(Error::unrecognized_option("XCLAIM", word));
            }
        }
        Ok(options)
    }
}

/// What claiming changed.
#[derive(Default)]
struct Claimed {
    created_consumer: bool,
    changes: u64,
}

/// Counts and tells what claiming changed.
fn tell(cx: &mut Cx<'_>, claimed: &Claimed) {
    if claimed.created_consumer {
        let (key, db) = (cx.arg(1), cx.db_index);
        cx.effects.event(EventClass::STREAM, "xgroup-createconsumer", key, db);
    }
    cx.effects.changed(claimed.changes + u64::from(claimed.created_consumer));
}

fn xclaim_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (key, name, consumer) = (cx.key(1), cx.arg(2), cx.arg(3));
    let now_ms = now_ms(cx);
    let stream = place::read(cx.store.db(cx.db_index), cx.effects, key)?;
    stream.and_then(|stream| stream.group(name)).ok_or_else(|| no_group(key.name, name))?;
    let options = ClaimOptions::parse(cx, now_ms)?;
    let reply = &mut cx.reply;
    let mut fed = GroupFeed::new(cx.effects);
    let claimed = place::note(cx.store.db(cx.db_index), key, |stream| {
        let mut group = stream.group_mut(name).ok_or_else(|| no_group(key.name, name))?;
        let log = group.log();
        let mut moved_on = false;
        if let Some(last_id) = options.last_id.filter(|&last_id| last_id > group.last_delivered()) {
            let entries_read = group.entries_read();
            group.set_position(last_id, entries_read);
            moved_on = true;
        }
        let (slot, created_consumer) = group.find_or_create_consumer(consumer, now_ms);
        group.mark_seen(slot, now_ms);
        fed.created_consumer(created_consumer);
        let array = reply.deferred_array();
        let (mut replied, mut changes) = (0, 0);
        for &id in &options.ids {
            let pending = group.pending(id);
            let Some(entry) = log.get(id) else {
                // What the stream has no longer is pending no longer either.
                if group.acknowledge(id) {
                    fed.gone(id);
                    changes += 1;
                }
                continue;
            };
            // One that is made pending only now has been given to nobody else before, but counts as given once.
            let deliveries = match pending {
                Some(pending) if !is_idle(&pending, options.min_idle_ms, now_ms) => continue,
                Some(pending) => pending.deliveries,
                None if options.force => 1,
                None => continue,
            };
            let counted = (deliveries + u64::from(!options.only_ids)).min(DELIVERIES_MAX);
            let deliveries = options.deliveries.unwrap_or(counted);
            group.claim(id, slot, options.delivery_ms, deliveries);
            fed.claimed(id, options.delivery_ms, deliveries);
            group.mark_active(slot, now_ms);
            if options.only_ids {
                reply_id(reply, id);
            } else {
                reply_entry(reply, &entry);
            }
            (replied, changes) = (replied + 1, changes + 1);
        }
        reply.close(array, replied);
        if moved_on {
            fed.read_on(&group);
        }
        fed.ends(&group);
        if changes == 0 {
            changes = u64::from(moved_on);
        }
        Ok(Claimed { created_consumer, changes })
    })?;
    fed.feed(cx.effects, key.name, name, consumer);
    tell(cx, &claimed.unwrap_or_default());
    Ok(())
}

/// How many pending entries XAUTOCLAIM looks at for each that it may claim.
const ATTEMPTS: u64 = 10;
/// The most that XAUTOCLAIM claims: what Redis can hold the ids of.
const AUTOCLAIM_COUNT_MAX: u64 = i64::MAX as u64 / 16;
/// How many XAUTOCLAIM claims unless told otherwise.
const AUTOCLAIM_COUNT: u64 = 100;

fn xautoclaim_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let min_idle_ms = int(cx.arg(4)).map_err(|_| Error::invalid_claim_argument("min-idle-time", "XAUTOCLAIM"))?;
    let start = ids::range_start(cx.arg(5))?;
    let mut words = cx.words(6);
    let (mut count, mut only_ids) = (AUTOCLAIM_COUNT, false);
    while words.left() > 0 {
        if words.left() > 1 && words.accept("COUNT") {
            let number = int(words.expect()?).ok().and_then(|number| u64::try_from(number).ok());
            count = number.filter(|count| (1..=AUTOCLAIM_COUNT_MAX).contains(count)).ok_or(Error::XAUTOCLAIM_COUNT)?;
        } else if words.accept("JUSTID") {
            only_ids = true;
        } else {
            return Err(Error::SYNTAX);
        }
    }
    let (key, name, consumer) = (cx.key(1), cx.arg(2), cx.arg(3));
    let now_ms = now_ms(cx);
    let reply = &mut cx.reply;
    let mut fed = GroupFeed::new(cx.effects);
    let claimed = place::note(cx.store.db(cx.db_index), key, |stream| {
        let mut group = stream.group_mut(name).ok_or_else(|| no_group(key.name, name))?;
        let log = group.log();
        let (slot, created_consumer) = group.find_or_create_consumer(consumer, now_ms);
        group.mark_seen(slot, now_ms);
        fed.created_consumer(created_consumer);
        let walk = Walk::over(&mut group, start, count, min_idle_ms, now_ms);
        reply.array(3);
        reply_id(reply, walk.next.unwrap_or(StreamId::MIN));
        let array = reply.deferred_array();
        let (mut replied, mut gone) = (0, Vec::new());
        for pending in &walk.found {
            let Some(entry) = log.get(pending.id) else {
                gone.push(pending.id);
                continue;
            };
            let deliveries = (pending.deliveries + u64::from(!only_ids)).min(DELIVERIES_MAX);
            group.claim(pending.id, slot, now_ms, deliveries);
            fed.claimed(pending.id, now_ms, deliveries);
            group.mark_active(slot, now_ms);
            if only_ids {
                reply_id(reply, entry.id);
            } else {
                reply_entry(reply, &entry);
            }
            replied += 1;
        }
        reply.close(array, replied);
        reply.array(gone.len());
        for &id in &gone {
            group.acknowledge(id);
            fed.gone(id);
            reply_id(reply, id);
        }
        fed.ends(&group);
        Ok(Claimed { created_consumer, changes: (replied + gone.len()) as u64 })
    })?;
    fed.feed(cx.effects, key.name, name, consumer);
    tell(cx, &claimed.ok_or_else(|| no_group(key.name, name))?);
    Ok(())
}

/// What XAUTOCLAIM finds on its way over the pending entries.
struct Walk {
    /// Entries to claim, or to drop where the stream has them no longer.
    found: Vec<Pending>,
    /// Where the next walk begins; `None` at the end.
    next: Option<StreamId>,
}

impl Walk {
    fn over(group: &mut GroupMut<'_>, start: StreamId, count: u64, min_idle_ms: i64, now_ms: u64) -> Walk {
        let log = group.log();
        let mut attempts = count.saturating_mul(ATTEMPTS);
        let mut found = Vec::new();
        for pending in group.pending_range(start, StreamId::MAX) {
            if attempts == 0 || found.len() as u64 == count {
                return Walk { found, next: Some(pending.id) };
            }
            attempts -= 1;
            // One that the stream has no longer is dropped, however long it has been pending.
            if is_idle(&pending, min_idle_ms, now_ms) || !log.contains(pending.id) {
                found.push(pending);
            }
        }
        Walk { found, next: None }
    }
}
