//! XACK, XACKDEL and XNACK: what a consumer does with an entry when it is done with it.

use super::read_group::DELIVERIES_MAX;
use super::remove::{CountedIds, deleted, deletion_number};
use super::{ACL_WRITE_STREAM_FAST, KEY_RW_UPDATE, WRITE_FAST, ids, no_group, place};
use crate::command::args::int;
use crate::command::effects::EventClass;
use crate::command::spec::{Arg, ArgKind, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error};
use weir_structs::stream::{Deletion, GroupMut, StreamId};

/// XACK, XACKDEL and XNACK.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new("xack", -4, WRITE_FAST, ACL_WRITE_STREAM_FAST, Group::Stream, "5.0.0")
            .keys(&[KeySpec::one(1, KEY_RW_UPDATE)])
            .doc(
                "O(N) where N is the number of ids.",
                "Acknowledges entries, so that a consumer group no longer counts them as pending.",
            )
            .args(&[
                Arg::key("key", 0),
                Arg::new("group", ArgKind::String),
                Arg::new("id", ArgKind::String).multiple(),
            ]),
        xack_command,
    ),
    Row::new(
        Spec::new("xackdel", -6, WRITE_FAST, ACL_WRITE_STREAM_FAST, Group::Stream, "8.2.0")
            .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE).union(KeyFlags::DELETE))])
            .doc(
                "O(N) where N is the number of ids.",
                "Acknowledges entries for a consumer group and deletes them from the stream as asked.",
            )
            .args(&[
                Arg::key("key", 0),
                Arg::new("group", ArgKind::String),
                Arg::one_of(
                    "condition",
                    &[Arg::word("keepref", "KEEPREF"), Arg::word("delref", "DELREF"), Arg::word("acked", "ACKED")],
                )
                .optional(),
                Arg::block("ids", &[Arg::new("numids", ArgKind::Integer), Arg::new("id", ArgKind::String).multiple()])
                    .token("IDS"),
            ]),
        xackdel_command,
    ),
    Row::new(
        Spec::new("xnack", -7, WRITE_FAST, ACL_WRITE_STREAM_FAST, Group::Stream, "8.8.0")
            .keys(&[KeySpec::one(1, KEY_RW_UPDATE)])
            .doc(
                "O(N) where N is the number of ids.",
                "Gives up entries that are pending, so that other consumers may get them at once.",
            )
            .args(&[
                Arg::key("key", 0),
                Arg::new("group", ArgKind::String),
                Arg::one_of(
                    "mode",
                    &[Arg::word("silent", "SILENT"), Arg::word("fail", "FAIL"), Arg::word("fatal", "FATAL")],
                ),
                Arg::block("ids", &[Arg::new("numids", ArgKind::Integer), Arg::new("id", ArgKind::String).multiple()])
                    .token("IDS"),
                Arg::new("count", ArgKind::Integer).token("RETRYCOUNT").optional(),
                Arg::word("force", "FORCE").optional(),
            ]),
        xnack_command,
    ),
];

fn xack_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (key, name) = (cx.key(1), cx.arg(2));
    let words = cx.words(3);
    let acknowledged = place::note(cx.db(), key, |stream| {
        let Some(mut group) = stream.group_mut(name) else { return Ok(0) };
        if words.left() == 1 {
            let id = ids::id(words.peek().unwrap_or_default())?;
            return Ok(u64::from(group.acknowledge(id)));
        }
        // All of them are read before the first goes.
        for word in words.clone() {
            ids::id(word)?;
        }
        let ids = words.filter_map(|word| ids::id(word).ok());
        Ok(ids.filter(|&id| group.acknowledge(id)).count() as u64)
    })?;
    if acknowledged.is_none() {
        cx.effects.event(EventClass::MISS, "keymiss", key.name, cx.db_index);
    }
    let acknowledged = acknowledged.unwrap_or(0);
    cx.effects.changed(acknowledged);
    cx.reply.int(i64::try_from(acknowledged).unwrap_or(i64::MAX));
    Ok(())
}

fn xackdel_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (key, name) = (cx.key(1), cx.arg(2));
    let CountedIds { references, ids } = CountedIds::parse(cx.words(3))?;
    let mut acknowledged = 0;
    let change = place::change(
        cx.db(),
        key,
        |stream| {
            let mut outcomes = Vec::with_capacity(ids.len());
            for &id in &ids {
                let was_pending = stream.group_mut(name).is_some_and(|mut group| group.acknowledge(id));
                acknowledged += u64::from(was_pending);
                if !was_pending {
                    outcomes.push((false, deletion_number(Deletion::Missing)));
                    continue;
                }
                let (deletion, forgotten) = stream.delete(id, references);
                acknowledged += forgotten;
                outcomes.push(match deletion {
                    // One that was pending is done with, also where the stream has it no longer.
                    Deletion::Missing => (false, deletion_number(Deletion::Deleted)),
                    deletion => (deletion == Deletion::Deleted, deletion_number(deletion)),
                });
            }
            Ok(outcomes)
        },
        |outcomes| outcomes.iter().any(|&(deleted, _)| deleted),
    )?;
    let outcomes = change.unwrap_or_else(|| vec![(false, deletion_number(Deletion::Missing)); ids.len()]);
    cx.effects.changed(acknowledged);
    deleted(cx, key.name, "xdel", outcomes.iter().filter(|&&(deleted, _)| deleted).count() as u64);
    cx.reply.array(outcomes.len());
    for (_, number) in outcomes {
        cx.reply.int(number);
    }
    Ok(())
}

/// How XNACK counts the delivery that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Failure {
    /// Not at all.
    Silent,
    /// As any other.
    Fail,
    /// As the last one: nobody should try again.
    Fatal,
}

/// The arguments of XNACK.
struct NackOptions {
    failure: Failure,
    ids: Vec<StreamId>,
    deliveries: Option<u64>,
    force: bool,
}

impl NackOptions {
    fn parse(cx: &Cx<'_>) -> Result<NackOptions, Error> {
        let mut words = cx.words(3);
        let failure = if words.accept("SILENT") {
            Failure::Silent
        } else if words.accept("FAIL") {
            Failure::Fail
        } else if words.accept("FATAL") {
            Failure::Fatal
        } else {
            return Err(Error::XNACK_MODE);
        };
        let (mut ids, mut deliveries, mut force) = (None, None, false);
        while let Some(word) = words.peek() {
            if ids.is_none() && words.left() > 1 && words.accept("IDS") {
                let count = int(words.expect()?).ok().and_then(|count| usize::try_from(count).ok());
                let count = count.filter(|&count| count > 0).ok_or(Error::XNACK_NUMIDS)?;
                if count > words.left() {
                    return Err(Error::XNACK_NUMIDS_MISMATCH);
                }
                ids = Some(words.by_ref().take(count).map(ids::id).collect::<Result<Vec<_>, _>>()?);
            } else if words.left() > 1 && words.accept("RETRYCOUNT") {
                let count = int(words.expect()?)?;
                deliveries = Some(u64::try_from(count).map_err(|_| Error::XNACK_RETRYCOUNT)?);
            } else if words.accept("FORCE") {
                force = true;
            } else {
                return Err(Error::unrecognized_option("XNACK", word));
            }
        }
        Ok(NackOptions { failure, ids: ids.ok_or(Error::XNACK_NO_IDS)?, deliveries, force })
    }

    /// Gives one entry back. False if it is not pending.
    fn release(&self, group: &mut GroupMut<'_>, id: StreamId) -> bool {
        let so_far = match group.pending(id) {
            Some(pending) => pending.deliveries,
            None if self.force && group.log().contains(id) => 0,
            None => return false,
        };
        let counted = match self.failure {
            Failure::Silent => so_far.saturating_sub(1),
            Failure::Fail => so_far,
            Failure::Fatal => DELIVERIES_MAX,
        };
        group.release(id, self.deliveries.unwrap_or(counted));
        true
    }
}

fn xnack_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let options = NackOptions::parse(cx)?;
    let (key, name) = (cx.key(1), cx.arg(2));
    // Whoever waits for entries that others have had for long may have these at once.
    let released = place::note_and_wake(
        cx.db(),
        key,
        |stream| {
            let mut group = stream.group_mut(name).ok_or_else(|| no_group(key.name, name))?;
            Ok(options.ids.iter().filter(|&&id| options.release(&mut group, id)).count())
        },
        |&released| released > 0,
    )?;
    let released = released.ok_or_else(|| no_group(key.name, name))?;
    cx.effects.changed(released as u64);
    cx.reply.count(released);
    Ok(())
}
