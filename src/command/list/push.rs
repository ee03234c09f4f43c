//! Adding elements to lists and replacing them: at the ends, beside another one, at an index.

use super::ends::{change_list, limits, list_to_change, place, push_event};
use crate::command::effects::EventClass;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error};
use crate::store::{PackedKind, Write};
use weir_resp::ArgvIter;
use weir_structs::list::{End, Limits};

const WRITE_DENYOOM: Flags = Flags::WRITE.union(Flags::DENYOOM);
const WRITE_DENYOOM_FAST: Flags = Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST);
const ACL_WRITE_LIST_FAST: Acl = Acl::WRITE.union(Acl::LIST).union(Acl::FAST);
const ACL_WRITE_LIST_SLOW: Acl = Acl::WRITE.union(Acl::LIST).union(Acl::SLOW);
const KEY_RW_INSERT: KeyFlags = KeyFlags::RW.union(KeyFlags::INSERT);

/// Rows of this file.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new("lpush", -3, WRITE_DENYOOM_FAST, ACL_WRITE_LIST_FAST, Group::List, "1.0.0")
            .keys(&[KeySpec::one(1, KEY_RW_INSERT)])
            .doc(
                "O(N) where N is the number of elements given.",
                "Puts elements in front of a list, one after the other, creating it where missing.",
            )
            .history(&[("2.4.0", "Takes more than one element.")])
            .args(&[Arg::key("key", 0), Arg::new("element", ArgKind::String).multiple()]),
        lpush_command,
    ),
    Row::new(
        Spec::new("rpush", -3, WRITE_DENYOOM_FAST, ACL_WRITE_LIST_FAST, Group::List, "1.0.0")
            .keys(&[KeySpec::one(1, KEY_RW_INSERT)])
            .doc(
                "O(N) where N is the number of elements given.",
                "Puts elements at the end of a list, creating it where missing.",
            )
            .history(&[("2.4.0", "Takes more than one element.")])
            .args(&[Arg::key("key", 0), Arg::new("element", ArgKind::String).multiple()]),
        rpush_command,
    ),
    Row::new(
        Spec::new("lpushx", -3, WRITE_DENYOOM_FAST, ACL_WRITE_LIST_FAST, Group::List, "2.2.0")
            .keys(&[KeySpec::one(1, KEY_RW_INSERT)])
            .doc("O(N) where N is the number of elements given.", "Puts elements in front of a list if it exists.")
            .history(&[("4.0.0", "Takes more than one element.")])
            .args(&[Arg::key("key", 0), Arg::new("element", ArgKind::String).multiple()]),
        lpushx_command,
    ),
    Row::new(
        Spec::new("rpushx", -3, WRITE_DENYOOM_FAST, ACL_WRITE_LIST_FAST, Group::List, "2.2.0")
            .keys(&[KeySpec::one(1, KEY_RW_INSERT)])
            .doc("O(N) where N is the number of elements given.", "Puts elements at the end of a list if it exists.")
            .history(&[("4.0.0", "Takes more than one element.")])
            .args(&[Arg::key("key", 0), Arg::new("element", ArgKind::String).multiple()]),
        rpushx_command,
    ),
    Row::new(
        Spec::new("linsert", 5, WRITE_DENYOOM, ACL_WRITE_LIST_SLOW, Group::List, "2.2.0")
            .keys(&[KeySpec::one(1, KEY_RW_INSERT)])
            .doc(
                "O(N) where N is the number of elements in front of the given one.",
                "Inserts an element into a list before or after a given one.",
            )
            .args(&[
                Arg::key("key", 0),
                Arg::one_of("where", &[Arg::word("before", "BEFORE"), Arg::word("after", "AFTER")]),
                Arg::new("pivot", ArgKind::String),
                Arg::new("element", ArgKind::String),
            ]),
        linsert_command,
    ),
    Row::new(
        Spec::new("lset", 4, WRITE_DENYOOM, ACL_WRITE_LIST_SLOW, Group::List, "1.0.0")
            .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))])
            .doc(
                "O(N) where N is the distance of the element from the nearer end.",
                "Replaces the element of a list at an index.",
            )
            .args(&[Arg::key("key", 0), Arg::new("index", ArgKind::Integer), Arg::new("element", ArgKind::String)]),
        lset_command,
    ),
];

fn lpush_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    push(cx, End::Front)
}

fn rpush_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    push(cx, End::Back)
}

fn lpushx_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    push_if_exists(cx, End::Front)
}

fn rpushx_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    push_if_exists(cx, End::Back)
}

fn push(cx: &mut Cx<'_>, end: End) -> Result<(), Error> {
    let (key, limits) = (cx.key(1), limits(cx));
    let values = cx.argv.skip(2).iter();
    let (write, created) = &mut cx.store.db(cx.db_index).get_or_create(key, PackedKind::List);
    let len = add(write, end, values, limits)?;
    if *created {
        cx.effects.event(EventClass::NEW, "new", key.name, cx.db_index);
    }
    tell_pushed(cx, end, len);
    Ok(())
}

fn push_if_exists(cx: &mut Cx<'_>, end: End) -> Result<(), Error> {
    let (key, limits) = (cx.key(1), limits(cx));
    let values = cx.argv.skip(2).iter();
    match cx.store.db(cx.db_index).get_mut(key) {
        None => cx.reply.int(0),
        Some(mut write) => {
            let len = add(&mut write, end, values, limits)?;
            tell_pushed(cx, end, len);
        }
    }
    Ok(())
}

/// Adds elements one after the other; how long the list is then.
#[inline]
fn add(write: &mut Write<'_>, end: End, values: ArgvIter<'_>, limits: Limits) -> Result<usize, Error> {
    change_list(write, limits, |list| (true, list.extend(end, values)))
}

#[inline]
fn tell_pushed(cx: &mut Cx<'_>, end: End, len: usize) {
    cx.reply.count(len);
    cx.effects.changed(cx.argc() as u64 - 2);
    cx.effects.event(EventClass::LIST, push_event(end), cx.arg(1), cx.db_index);
}

fn linsert_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let side = match cx.arg(2) {
        word if word.eq_ignore_ascii_case(b"BEFORE") => End::Front,
        word if word.eq_ignore_ascii_case(b"AFTER") => End::Back,
        _ => return Err(Error::SYNTAX),
    };
    let (key, pivot, value, limits) = (cx.key(1), cx.arg(3), cx.arg(4), limits(cx));
    let Some(mut write) = list_to_change(cx.store, cx.db_index, key)? else {
        cx.reply.int(0);
        return Ok(());
    };
    let (inserted, len) = change_list(&mut write, limits, |list| {
        list.expect_more(value.len(), 1);
        let inserted = list.insert_beside(pivot, side, value);
        (inserted, (inserted, list.as_ref().len()))
    })?;
    if !inserted {
        cx.reply.int(-1);
        return Ok(());
    }
    cx.reply.count(len);
    cx.effects.changed(1);
    cx.effects.event(EventClass::LIST, "linsert", key.name, cx.db_index);
    Ok(())
}

fn lset_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (key, index, value, limits) = (cx.key(1), cx.int(2), cx.arg(3), limits(cx));
    let mut write = list_to_change(cx.store, cx.db_index, key)?.ok_or(Error::NO_SUCH_KEY)?;
    let index = index?;
    let set = change_list(&mut write, limits, |list| {
        let at = place(index, list.as_ref().len());
        list.expect_more(value.len(), 1);
        let set = at.is_some_and(|at| list.set(at, value));
        (set, set)
    })?;
    if !set {
        return Err(Error::INDEX_OUT_OF_RANGE);
    }
    cx.reply.ok();
    cx.effects.changed(1);
    cx.effects.event(EventClass::LIST, "lset", key.name, cx.db_index);
    Ok(())
}
