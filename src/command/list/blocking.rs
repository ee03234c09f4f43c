//! Commands that wait for an element where there is none.

use super::ends::{self, Wanted, move_element, take};
use super::pop::ManyKeys;
use crate::command::args::timeout_s;
use crate::command::blocking::{Awaited, Block, TimeoutReply};
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error};
use weir_structs::list::End;

const WRITE_BLOCKING: Flags = Flags::WRITE.union(Flags::BLOCKING);
const WRITE_DENYOOM_BLOCKING: Flags = Flags::WRITE.union(Flags::DENYOOM).union(Flags::BLOCKING);
const ACL_WRITE_LIST_SLOW_BLOCKING: Acl = Acl::WRITE.union(Acl::LIST).union(Acl::SLOW).union(Acl::BLOCKING);
const KEY_RW_ACCESS_DELETE: KeyFlags = KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE);
const KEY_RW_INSERT: KeyFlags = KeyFlags::RW.union(KeyFlags::INSERT);

/// Rows of this file.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new("blpop", -3, WRITE_BLOCKING, ACL_WRITE_LIST_SLOW_BLOCKING, Group::List, "2.0.0")
            .keys(&[KeySpec::range(1, -2, 1, KEY_RW_ACCESS_DELETE)])
            .doc(
                "O(N) where N is the number of keys.",
                "Takes the first element of the first list that has any, waiting if none has.",
            )
            .history(&[("6.0.0", "The timeout may have a fraction.")])
            .args(&[Arg::key("key", 0).multiple(), Arg::new("timeout", ArgKind::Double)]),
        blpop_command,
    ),
    Row::new(
        Spec::new("brpop", -3, WRITE_BLOCKING, ACL_WRITE_LIST_SLOW_BLOCKING, Group::List, "2.0.0")
            .keys(&[KeySpec::range(1, -2, 1, KEY_RW_ACCESS_DELETE)])
            .doc(
                "O(N) where N is the number of keys.",
                "Takes the last element of the first list that has any, waiting if none has.",
            )
            .history(&[("6.0.0", "The timeout may have a fraction.")])
            .args(&[Arg::key("key", 0).multiple(), Arg::new("timeout", ArgKind::Double)]),
        brpop_command,
    ),
    Row::new(
        Spec::new(
            "blmpop",
            -5,
            Flags::WRITE.union(Flags::BLOCKING).union(Flags::MOVABLEKEYS),
            ACL_WRITE_LIST_SLOW_BLOCKING,
            Group::List,
            "7.0.0",
        )
        .keys(&[KeySpec::counted(2, KEY_RW_ACCESS_DELETE)])
        .doc(
            "O(N+M) where N is the number of keys and M the number of elements returned.",
            "Takes elements from the first list that has any, waiting for one if none has.",
        )
        .args(&[
            Arg::new("timeout", ArgKind::Double),
            Arg::new("numkeys", ArgKind::Integer),
            Arg::key("key", 0).multiple(),
            Arg::one_of("where", &[Arg::word("left", "LEFT"), Arg::word("right", "RIGHT")]),
            Arg::new("count", ArgKind::Integer).token("COUNT").optional(),
        ]),
        blmpop_command,
    ),
    Row::new(
        Spec::new("blmove", 6, WRITE_DENYOOM_BLOCKING, ACL_WRITE_LIST_SLOW_BLOCKING, Group::List, "6.2.0")
            .keys(&[KeySpec::one(1, KEY_RW_ACCESS_DELETE), KeySpec::one(2, KEY_RW_INSERT)])
            .doc("O(1)", "Moves an element between ends of two lists, waiting for one if there is none.")
            .args(&[
                Arg::key("source", 0),
                Arg::key("destination", 1),
                Arg::one_of("wherefrom", &[Arg::word("left", "LEFT"), Arg::word("right", "RIGHT")]),
                Arg::one_of("whereto", &[Arg::word("left", "LEFT"), Arg::word("right", "RIGHT")]),
                Arg::new("timeout", ArgKind::Double),
            ]),
        blmove_command,
    ),
    Row::new(
        Spec::new("brpoplpush", 4, WRITE_DENYOOM_BLOCKING, ACL_WRITE_LIST_SLOW_BLOCKING, Group::List, "2.2.0")
            .keys(&[KeySpec::one(1, KEY_RW_ACCESS_DELETE), KeySpec::one(2, KEY_RW_INSERT)])
            .doc("O(1)", "Moves the last element of a list to the front of another, waiting if there is none.")
            .deprecated("6.2.0", "`BLMOVE` with `RIGHT` and `LEFT`")
            .history(&[("6.0.0", "The timeout may have a fraction.")])
            .args(&[Arg::key("source", 0), Arg::key("destination", 1), Arg::new("timeout", ArgKind::Double)]),
        brpoplpush_command,
    ),
];

fn blpop_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    pop_or_wait(cx, End::Front)
}

fn brpop_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    pop_or_wait(cx, End::Back)
}

fn pop_or_wait(cx: &mut Cx<'_>, end: End) -> Result<(), Error> {
    let last = cx.argc() - 1;
    let until_ms = timeout_s(cx.arg(last), cx.now_ms())?;
    for at in 1..last {
        let key = cx.key(at);
        let taken = take(cx, key, end, Wanted::One, |reply| {
            reply.array(2);
            reply.bulk(key.name);
        })?;
        if taken {
            cx.effects.feed_as(&[ends::pop_name(end), key.name]);
            return Ok(());
        }
    }
    cx.block(wait(1..last, until_ms));
    Ok(())
}

fn blmpop_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let many = ManyKeys::read(cx.words(2))?;
    let until_ms = timeout_s(cx.arg(1), cx.now_ms())?;
    if !many.take(cx)? {
        cx.block(wait(many.keys, until_ms));
    }
    Ok(())
}

fn blmove_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (from, to) = (ends::end(cx.arg(3))?, ends::end(cx.arg(4))?);
    if move_or_wait(cx, from, to, 5)? {
        cx.effects.feed_as(&[b"LMOVE", cx.arg(1), cx.arg(2), cx.arg(3), cx.arg(4)]);
    }
    Ok(())
}

fn brpoplpush_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    if move_or_wait(cx, End::Back, End::Front, 3)? {
        cx.effects.feed_as(&[b"RPOPLPUSH", cx.arg(1), cx.arg(2)]);
    }
    Ok(())
}

/// Says whether an element was moved.
fn move_or_wait(cx: &mut Cx<'_>, from: End, to: End, timeout_at: usize) -> Result<bool, Error> {
    let until_ms = timeout_s(cx.arg(timeout_at), cx.now_ms())?;
    let moved = move_element(cx, from, to)?;
    if !moved {
        if cx.effects.may_block {
            cx.block(wait(1..2, until_ms));
        } else {
            // As LMOVE of no list, and not as a wait that is over.
            cx.reply.null();
        }
    }
    Ok(moved)
}

fn wait(keys: std::ops::Range<usize>, until_ms: Option<i64>) -> Block {
    Block {
        keys: keys.collect(),
        others: Vec::new(),
        until_ms,
        awaited: Awaited::List,
        on_timeout: TimeoutReply::NullArray,
        again_at_ms: None,
        argv: Vec::new(),
    }
}
