//! Taking elements out of lists: from the ends, by value, and all but a range.

use super::ends::{self, Wanted, change_list, limits, list_to_change, move_element, take};
use crate::command::args::{self, Words};
use crate::command::effects::EventClass;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error};
use weir_structs::list::{End, ListMut, ListRef};
use weir_structs::number::format_u64;

const WRITE_DENYOOM: Flags = Flags::WRITE.union(Flags::DENYOOM);
const WRITE_FAST: Flags = Flags::WRITE.union(Flags::FAST);
const ACL_WRITE_LIST_FAST: Acl = Acl::WRITE.union(Acl::LIST).union(Acl::FAST);
const ACL_WRITE_LIST_SLOW: Acl = Acl::WRITE.union(Acl::LIST).union(Acl::SLOW);
const KEY_RW_ACCESS_DELETE: KeyFlags = KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE);
const KEY_RW_DELETE: KeyFlags = KeyFlags::RW.union(KeyFlags::DELETE);
const KEY_RW_INSERT: KeyFlags = KeyFlags::RW.union(KeyFlags::INSERT);

/// Rows of this file.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new("lpop", -2, WRITE_FAST, ACL_WRITE_LIST_FAST, Group::List, "1.0.0")
            .keys(&[KeySpec::one(1, KEY_RW_ACCESS_DELETE)])
            .doc("O(N) where N is the number of elements returned.", "Takes elements from the front of a list.")
            .history(&[("6.2.0", "Gained the `count` argument.")])
            .args(&[Arg::key("key", 0), Arg::new("count", ArgKind::Integer).since("6.2.0").optional()]),
        lpop_command,
    ),
    Row::new(
        Spec::new("rpop", -2, WRITE_FAST, ACL_WRITE_LIST_FAST, Group::List, "1.0.0")
            .keys(&[KeySpec::one(1, KEY_RW_ACCESS_DELETE)])
            .doc("O(N) where N is the number of elements returned.", "Takes elements from the end of a list.")
            .history(&[("6.2.0", "Gained the `count` argument.")])
            .args(&[Arg::key("key", 0), Arg::new("count", ArgKind::Integer).since("6.2.0").optional()]),
        rpop_command,
    ),
    Row::new(
        Spec::new("lmpop", -4, Flags::WRITE.union(Flags::MOVABLEKEYS), ACL_WRITE_LIST_SLOW, Group::List, "7.0.0")
            .keys(&[KeySpec::counted(1, KEY_RW_ACCESS_DELETE)])
            .doc(
                "O(N+M) where N is the number of keys and M the number of elements returned.",
                "Takes elements from one end of the first list that has any.",
            )
            .args(&[
                Arg::new("numkeys", ArgKind::Integer),
                Arg::key("key", 0).multiple(),
                Arg::one_of("where", &[Arg::word("left", "LEFT"), Arg::word("right", "RIGHT")]),
                Arg::new("count", ArgKind::Integer).token("COUNT").optional(),
            ]),
        lmpop_command,
    ),
    Row::new(
        Spec::new("lmove", 5, WRITE_DENYOOM, ACL_WRITE_LIST_SLOW, Group::List, "6.2.0")
            .keys(&[KeySpec::one(1, KEY_RW_ACCESS_DELETE), KeySpec::one(2, KEY_RW_INSERT)])
            .doc("O(1)", "Moves an element from one end of a list to an end of another and returns it.")
            .args(&[
                Arg::key("source", 0),
                Arg::key("destination", 1),
                Arg::one_of("wherefrom", &[Arg::word("left", "LEFT"), Arg::word("right", "RIGHT")]),
                Arg::one_of("whereto", &[Arg::word("left", "LEFT"), Arg::word("right", "RIGHT")]),
            ]),
        lmove_command,
    ),
    Row::new(
        Spec::new("rpoplpush", 3, WRITE_DENYOOM, ACL_WRITE_LIST_SLOW, Group::List, "1.2.0")
            .keys(&[KeySpec::one(1, KEY_RW_ACCESS_DELETE), KeySpec::one(2, KEY_RW_INSERT)])
            .doc("O(1)", "Moves the last element of a list to the front of another and returns it.")
            .deprecated("6.2.0", "`LMOVE` with `RIGHT` and `LEFT`")
            .args(&[Arg::key("source", 0), Arg::key("destination", 1)]),
        rpoplpush_command,
    ),
    Row::new(
        Spec::new("lrem", 4, Flags::WRITE, ACL_WRITE_LIST_SLOW, Group::List, "1.0.0")
            .keys(&[KeySpec::one(1, KEY_RW_DELETE)])
            .doc(
                "O(N+M) where N is the number of elements and M the number of those removed.",
                "Removes elements equal to a given one from a list, from either end.",
            )
            .args(&[Arg::key("key", 0), Arg::new("count", ArgKind::Integer), Arg::new("element", ArgKind::String)]),
        lrem_command,
    ),
    Row::new(
        Spec::new("ltrim", 4, Flags::WRITE, ACL_WRITE_LIST_SLOW, Group::List, "1.0.0")
            .keys(&[KeySpec::one(1, KEY_RW_DELETE)])
            .doc(
                "O(N) where N is the number of elements removed.",
                "Cuts a list down to the elements between two indexes.",
            )
            .args(&[Arg::key("key", 0), Arg::new("start", ArgKind::Integer), Arg::new("stop", ArgKind::Integer)]),
        ltrim_command,
    ),
];

fn lpop_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    pop(cx, End::Front)
}

fn rpop_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    pop(cx, End::Back)
}

fn pop(cx: &mut Cx<'_>, end: End) -> Result<(), Error> {
    let key = cx.key(1);
    let wanted = match cx.argc() {
        2 => Wanted::One,
        3 => {
            let count = cx.int(2).ok().and_then(|count| usize::try_from(count).ok());
            Wanted::UpTo(count.ok_or(Error::NOT_POSITIVE)?)
        }
        _ => {
            return Err(Error::arity(match end {
                End::Front => "lpop",
                End::Back => "rpop",
            }));
        }
    };
    if wanted == Wanted::UpTo(0) {
        match list_to_change(cx.store, cx.db_index, key)? {
            Some(_) => cx.reply.array(0),
            None => cx.reply.null_array(),
        }
        return Ok(());
    }
    if !take(cx, key, end, wanted, |_| ())? {
        match wanted {
            Wanted::One => cx.reply.null(),
            Wanted::UpTo(_) => cx.reply.null_array(),
        }
    }
    Ok(())
}

/// What LMPOP and BLMPOP are asked for.
pub(super) struct ManyKeys {
    /// Arguments that are keys.
    pub(super) keys: std::ops::Range<usize>,
    /// Which end elements are taken from.
    pub(super) end: End,
    /// How many of them at most.
    pub(super) count: usize,
}

impl ManyKeys {
    /// Reads `numkeys key .. LEFT|RIGHT [COUNT count]`, to the last argument.
    pub(super) fn read(mut words: Words<'_>) -> Result<ManyKeys, Error> {
        let positive = |arg: &[u8]| args::int(arg).ok().filter(|&n| n > 0).and_then(|n| usize::try_from(n).ok());
        let numkeys = words.next().and_then(positive).ok_or(Error::NUMKEYS_NOT_POSITIVE)?;
        let first = words.at();
        if numkeys >= words.left() {
            return Err(Error::SYNTAX);
        }
        let end = ends::end(words.nth(numkeys).unwrap_or_default())?;
        let mut count = None;
        while words.left() > 0 {
            if count.is_some() || !words.accept("COUNT") {
                return Err(Error::SYNTAX);
            }
            count = Some(positive(words.expect()?).ok_or(Error::COUNT_NOT_POSITIVE)?);
        }
        Ok(ManyKeys { keys: first..first + numkeys, end, count: count.unwrap_or(1) })
    }

    /// Takes elements from the first list that is there; `false` if none is.
    pub(super) fn take(&self, cx: &mut Cx<'_>) -> Result<bool, Error> {
        for at in self.keys.clone() {
            let key = cx.key(at);
            let taken = take(cx, key, self.end, Wanted::UpTo(self.count), |reply| {
                reply.array(2);
                reply.bulk(key.name);
            })?;
            if taken {
                cx.effects.feed_as(&[ends::pop_name(self.end), key.name, &format_u64(self.count as u64)]);
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn lmpop_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let many = ManyKeys::read(cx.words(1))?;
    if !many.take(cx)? {
        cx.reply.null_array();
    }
    Ok(())
}

fn lmove_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (from, to) = (ends::end(cx.arg(3))?, ends::end(cx.arg(4))?);
    move_or_null(cx, from, to)
}

fn rpoplpush_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    move_or_null(cx, End::Back, End::Front)
}

fn move_or_null(cx: &mut Cx<'_>, from: End, to: End) -> Result<(), Error> {
    if !move_element(cx, from, to)? {
        cx.reply.null();
    }
    Ok(())
}

fn lrem_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let count = args::int_in(cx.arg(2), -i64::MAX, i64::MAX)?;
    let (end, max) = match (count, usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX)) {
        (0, _) => (End::Front, usize::MAX),
        (..0, max) => (End::Back, max),
        (_, max) => (End::Front, max),
    };
    let (key, value, limits) = (cx.key(1), cx.arg(3), limits(cx));
    let Some(mut write) = list_to_change(cx.store, cx.db_index, key)? else {
        cx.reply.int(0);
        return Ok(());
    };
    let (removed, emptied) = change_list(&mut write, limits, |list| {
        let removed = list.remove_equal(value, end, max);
        (removed > 0, (removed, list.as_ref().len() == 0))
    })?;
    if removed > 0 {
        if emptied {
            write.remove();
        }
        cx.effects.changed(removed as u64);
        cx.effects.event(EventClass::LIST, "lrem", key.name, cx.db_index);
    }
    if emptied {
        cx.effects.event(EventClass::GENERIC, "del", key.name, cx.db_index);
    }
    cx.reply.count(removed);
    Ok(())
}

fn ltrim_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (start, stop) = (cx.int(2)?, cx.int(3)?);
    let (key, limits) = (cx.key(1), limits(cx));
    let Some(mut write) = list_to_change(cx.store, cx.db_index, key)? else {
        cx.reply.ok();
        return Ok(());
    };
    let len = ListRef::of(write.as_ref()).ok_or(Error::WRONG_TYPE)?.len();
    let kept = ends::range(start, stop, len);
    let removed = len - kept.len();
    if kept.is_empty() {
        write.remove();
    } else {
        write.try_change(|value| {
            let list = ListMut::of(value, limits);
            let rest = list.map(|mut list| [list.cut(End::Front, kept.start), list.cut(End::Back, len - kept.end)]);
            rest.into_iter().flatten().for_each(|rest| value.free(rest));
            (removed > 0, ())
        });
    }
    cx.reply.ok();
    cx.effects.changed(removed as u64);
    cx.effects.event(EventClass::LIST, "ltrim", key.name, cx.db_index);
    if kept.is_empty() {
        cx.effects.event(EventClass::GENERIC, "del", key.name, cx.db_index);
    }
    Ok(())
}
