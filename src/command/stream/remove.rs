//! XDEL, XDELEX, XTRIM, and XSETID, which sets what deletions leave behind.

use super::fed::feed_trim;
use super::trim::{TrimOptions, TrimmedTo, take_references};
use super::{
    ACL_WRITE_STREAM_FAST, ACL_WRITE_STREAM_SLOW, KEY_RW_DELETE, KEY_RW_UPDATE, WRITE_DENYOOM_FAST, WRITE_FAST, ids,
    place,
};
use crate::command::args::{Words, int};
use crate::command::effects::EventClass;
use crate::command::spec::{Arg, ArgKind, Flags, Group, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error};
use weir_structs::stream::{Deletion, References, StreamId};

use super::append::TRIM_PARTS;

/// XTRIM, XDEL, XDELEX and XSETID.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new("xtrim", -4, Flags::WRITE, ACL_WRITE_STREAM_SLOW, Group::Stream, "5.0.0")
            .keys(&[KeySpec::one(1, KEY_RW_DELETE)])
            .tips(&["nondeterministic_output"])
            .doc("O(N) where N is the number of entries deleted.", "Deletes the oldest entries of a stream.")
            .history(&[
                ("6.2.0", "Gained the `MINID` and `LIMIT` options."),
                ("8.2.0", "Gained the `KEEPREF`, `DELREF` and `ACKED` options."),
            ])
            .args(&[
                Arg::key("key", 0),
                Arg::block("trim", TRIM_PARTS),
                Arg::one_of(
                    "condition",
                    &[Arg::word("keepref", "KEEPREF"), Arg::word("delref", "DELREF"), Arg::word("acked", "ACKED")],
                )
                .since("8.2.0")
                .optional(),
            ]),
        xtrim_command,
    ),
    Row::new(
        Spec::new("xdel", -3, WRITE_FAST, ACL_WRITE_STREAM_FAST, Group::Stream, "5.0.0")
            .keys(&[KeySpec::one(1, KEY_RW_DELETE)])
            .doc("O(N) where N is the number of ids.", "Deletes entries from a stream.")
            .args(&[Arg::key("key", 0), Arg::new("id", ArgKind::String).multiple()]),
        xdel_command,
    ),
    Row::new(
        Spec::new("xdelex", -5, WRITE_FAST, ACL_WRITE_STREAM_FAST, Group::Stream, "8.2.0")
            .keys(&[KeySpec::one(1, KEY_RW_DELETE)])
            .doc(
                "O(N) where N is the number of ids.",
                "Deletes entries from a stream and says what becomes of references to them.",
            )
            .args(&[
                Arg::key("key", 0),
                Arg::one_of(
                    "condition",
                    &[Arg::word("keepref", "KEEPREF"), Arg::word("delref", "DELREF"), Arg::word("acked", "ACKED")],
                )
                .optional(),
                Arg::block("ids", &[Arg::new("numids", ArgKind::Integer), Arg::new("id", ArgKind::String).multiple()])
                    .token("IDS"),
            ]),
        xdelex_command,
    ),
    Row::new(
        Spec::new("xsetid", -3, WRITE_DENYOOM_FAST, ACL_WRITE_STREAM_FAST, Group::Stream, "5.0.0")
            .keys(&[KeySpec::one(1, KEY_RW_UPDATE)])
            .doc("O(1)", "Sets the last id of a stream; written by the server for its replicas.")
            .history(&[("7.0.0", "Gained the `ENTRIESADDED` and `MAXDELETEDID` options.")])
            .args(&[
                Arg::key("key", 0),
                Arg::new("last-id", ArgKind::String),
                Arg::new("entries-added", ArgKind::Integer).token("ENTRIESADDED").since("7.0.0").optional(),
                Arg::new("max-deleted-id", ArgKind::String).token("MAXDELETEDID").since("7.0.0").optional(),
            ]),
        xsetid_command,
    ),
];

/// The arguments `[KEEPREF | DELREF | ACKED] IDS count id ...` of XDELEX and XACKDEL, in any order.
pub(super) struct CountedIds {
    pub(super) references: References,
    pub(super) ids: Vec<StreamId>,
}

impl CountedIds {
    pub(super) fn parse(mut words: Words<'_>) -> Result<CountedIds, Error> {
        let mut references = None;
        let mut ids = None;
        while words.left() > 0 {
            if take_references(&mut words, &mut references)? {
                continue;
            }
            if ids.is_some() || !words.accept("IDS") {
                return Err(Error::SYNTAX);
            }
            let count = int(words.expect()?).ok().and_then(|count| usize::try_from(count).ok());
            let count = count.filter(|&count| count > 0).ok_or(Error::NUMIDS)?;
            if count > words.left() {
                return Err(Error::NUMIDS_MISMATCH);
            }
            ids = Some(words.by_ref().take(count).map(ids::id).collect::<Result<Vec<_>, _>>()?);
        }
        Ok(CountedIds { references: references.unwrap_or_default(), ids: ids.ok_or(Error::SYNTAX)? })
    }
}

/// Says that entries were deleted.
pub(super) fn deleted(cx: &mut Cx<'_>, key: &[u8], event: &'static str, count: u64) {
    if count > 0 {
        cx.effects.changed(count);
        cx.effects.event(EventClass::STREAM, event, key, cx.db_index);
    }
}

/// The number by which XDELEX and XACKDEL tell what became of an entry.
pub(super) fn deletion_number(deletion: Deletion) -> i64 {
    match deletion {
        Deletion::Missing => -1,
        Deletion::Deleted => 1,
        Deletion::Referenced => 2,
    }
}

fn xtrim_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let mut words = cx.words(2);
    let mut options = TrimOptions::default();
    while words.left() > 0 {
        if !options.take(&mut words)? {
            return Err(Error::SYNTAX);
        }
    }
    let (Some(trim), references) = options.finish(true, cx.repeats(), cx.config)? else {
        return Err(Error::STREAM_TRIM_WITHOUT_STRATEGY);
    };
    let key = cx.key(1);
    let trimmed = place::change(
        cx.db(),
        key,
        |stream| Ok(TrimmedTo::trim(stream, trim, references)),
        |trimmed| trimmed.count > 0,
    )?;
    let trimmed = trimmed.unwrap_or_default();
    if trimmed.count > 0 {
        feed_trim(cx, key.name, &trimmed);
    }
    let trimmed = trimmed.count;
    deleted(cx, key.name, "xtrim", trimmed);
    cx.reply.int(i64::try_from(trimmed).unwrap_or(i64::MAX));
    Ok(())
}

fn xdel_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let key = cx.key(1);
    let words = cx.words(2);
    let change = place::change(
        cx.db(),
        key,
        |stream| {
            // All of them are read before the first goes.
            for word in words.clone() {
                ids::id(word)?;
            }
            let deleted = words.clone().filter_map(|word| ids::id(word).ok());
            let deleted = deleted.filter(|&id| stream.delete(id, References::Keep).0 == Deletion::Deleted);
            Ok(deleted.count() as u64)
        },
        |&count| count > 0,
    )?;
    let count = change.unwrap_or(0);
    deleted(cx, key.name, "xdel", count);
    cx.reply.int(i64::try_from(count).unwrap_or(i64::MAX));
    Ok(())
}

fn xdelex_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let CountedIds { references, ids } = CountedIds::parse(cx.words(2))?;
    let key = cx.key(1);
    let change = place::change(
        cx.db(),
        key,
        |stream| Ok(ids.iter().map(|&id| stream.delete(id, references)).collect::<Vec<_>>()),
        |deletions| deletions.iter().any(|&(deletion, _)| deletion == Deletion::Deleted),
    )?;
    let deletions = change.unwrap_or_else(|| vec![(Deletion::Missing, 0); ids.len()]);
    let count = deletions.iter().filter(|&&(deletion, _)| deletion == Deletion::Deleted).count();
    // References to what was gone before are a change as well, though not of the key.
    cx.effects.changed(deletions.iter().map(|&(_, forgotten)| forgotten).sum());
    deleted(cx, key.name, "xdel", count as u64);
    cx.reply.array(deletions.len());
    for (deletion, _) in deletions {
        cx.reply.int(deletion_number(deletion));
    }
    Ok(())
}

fn xsetid_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let id = ids::id(cx.arg(2))?;
    let mut words = cx.words(3);
    let (mut added, mut max_deleted) = (None, None);
    while words.left() > 0 {
        if words.left() > 1 && words.accept("ENTRIESADDED") {
            let number = words.expect_int()?;
            added = Some(u64::try_from(number).map_err(|_| Error::XSETID_ADDED_NEGATIVE)?);
        } else if words.left() > 1 && words.accept("MAXDELETEDID") {
            let deleted = ids::id(words.expect()?)?;
            if id < deleted {
                return Err(Error::XSETID_BELOW_GIVEN_DELETED);
            }
            // 0-0 says nothing of what was deleted.
            max_deleted = Some(deleted).filter(|&deleted| deleted != StreamId::MIN);
        } else {
            return Err(Error::SYNTAX);
        }
    }
    let key = cx.key(1);
    let set = place::note(cx.db(), key, |stream| {
        let log = stream.log();
        if id < log.max_deleted_id() {
            return Err(Error::XSETID_BELOW_DELETED);
        }
        if let Some(last) = log.last() {
            if id < last.id {
                return Err(Error::XSETID_BELOW_TOP);
            }
            if added.is_some_and(|added| added < log.len()) {
                return Err(Error::XSETID_FEWER_ADDED);
            }
        }
        stream.set_id(id, added, max_deleted);
        Ok(())
    })?;
    set.ok_or(Error::NO_SUCH_KEY)?;
    cx.effects.changed(1);
    cx.effects.event(EventClass::STREAM, "xsetid", key.name, cx.db_index);
    cx.reply.ok();
    Ok(())
}
