//! Commands that take the first or the last members out.

use super::place::{find, limits, remove_ranks, set_of, tell_removed};
use crate::command::args::{self, Words};
use crate::command::blocking::{Awaited, Block, TimeoutReply};
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error};
use crate::store::Write;
use std::ops::Range;
use weir_structs::number::format_u64;

const WRITE_BLOCKING_FAST: Flags = Flags::WRITE.union(Flags::BLOCKING).union(Flags::FAST);
const WRITE_FAST: Flags = Flags::WRITE.union(Flags::FAST);
const ACL_WRITE_SORTEDSET_FAST: Acl = Acl::WRITE.union(Acl::SORTEDSET).union(Acl::FAST);
const ACL_WRITE_SORTEDSET_FAST_BLOCKING: Acl = Acl::WRITE.union(Acl::SORTEDSET).union(Acl::FAST).union(Acl::BLOCKING);
const ACL_WRITE_SORTEDSET_SLOW: Acl = Acl::WRITE.union(Acl::SORTEDSET).union(Acl::SLOW);
const KEY_RW_ACCESS_DELETE: KeyFlags = KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE);

/// Commands that take the first or the last members out.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new("zpopmin", -2, WRITE_FAST, ACL_WRITE_SORTEDSET_FAST, Group::SortedSet, "5.0.0")
            .keys(&[KeySpec::one(1, KEY_RW_ACCESS_DELETE)])
            .doc(
                "O(M*log(N)) where N is the number of members and M the number of those taken.",
                "Takes the members with the lowest scores from a sorted set.",
            )
            .args(&[Arg::key("key", 0), Arg::new("count", ArgKind::Integer).optional()]),
        zpopmin_command,
    ),
    Row::new(
        Spec::new("zpopmax", -2, WRITE_FAST, ACL_WRITE_SORTEDSET_FAST, Group::SortedSet, "5.0.0")
            .keys(&[KeySpec::one(1, KEY_RW_ACCESS_DELETE)])
            .doc(
                "O(M*log(N)) where N is the number of members and M the number of those taken.",
                "Takes the members with the highest scores from a sorted set.",
            )
            .args(&[Arg::key("key", 0), Arg::new("count", ArgKind::Integer).optional()]),
        zpopmax_command,
    ),
    Row::new(
        Spec::new(
            "zmpop",
            -4,
            Flags::WRITE.union(Flags::MOVABLEKEYS),
            ACL_WRITE_SORTEDSET_SLOW,
            Group::SortedSet,
            "7.0.0",
        )
        .keys(&[KeySpec::counted(1, KEY_RW_ACCESS_DELETE)])
        .doc(
            "O(K+M*log(N)) where K is the number of keys, N of members and M of those taken.",
            "Takes the lowest or highest members of the first sorted set that has any.",
        )
        .args(&[
            Arg::new("numkeys", ArgKind::Integer),
            Arg::key("key", 0).multiple(),
            Arg::one_of("where", &[Arg::word("min", "MIN"), Arg::word("max", "MAX")]),
            Arg::new("count", ArgKind::Integer).token("COUNT").optional(),
        ]),
        zmpop_command,
    ),
    Row::new(
        Spec::new("bzpopmin", -3, WRITE_BLOCKING_FAST, ACL_WRITE_SORTEDSET_FAST_BLOCKING, Group::SortedSet, "5.0.0")
            .keys(&[KeySpec::range(1, -2, 1, KEY_RW_ACCESS_DELETE)])
            .doc(
                "O(log(N)) where N is the number of members.",
                "Takes the lowest member of the first sorted set that has any, waiting if none has.",
            )
            .history(&[("6.0.0", "The timeout may have a fraction.")])
            .args(&[Arg::key("key", 0).multiple(), Arg::new("timeout", ArgKind::Double)]),
        bzpopmin_command,
    ),
    Row::new(
        Spec::new("bzpopmax", -3, WRITE_BLOCKING_FAST, ACL_WRITE_SORTEDSET_FAST_BLOCKING, Group::SortedSet, "5.0.0")
            .keys(&[KeySpec::range(1, -2, 1, KEY_RW_ACCESS_DELETE)])
            .doc(
                "O(log(N)) where N is the number of members.",
                "Takes the highest member of the first sorted set that has any, waiting if none has.",
            )
            .history(&[("6.0.0", "The timeout may have a fraction.")])
            .args(&[Arg::key("key", 0).multiple(), Arg::new("timeout", ArgKind::Double)]),
        bzpopmax_command,
    ),
    Row::new(
        Spec::new(
            "bzmpop",
            -5,
            Flags::WRITE.union(Flags::BLOCKING).union(Flags::MOVABLEKEYS),
            Acl::WRITE.union(Acl::SORTEDSET).union(Acl::SLOW).union(Acl::BLOCKING),
            Group::SortedSet,
            "7.0.0",
        )
        .keys(&[KeySpec::counted(2, KEY_RW_ACCESS_DELETE)])
        .doc(
            "O(K+M*log(N)) where K is the number of keys, N of members and M of those taken.",
            "Takes members from the first sorted set that has any, waiting for one if none has.",
        )
        .args(&[
            Arg::new("timeout", ArgKind::Double),
            Arg::new("numkeys", ArgKind::Integer),
            Arg::key("key", 0).multiple(),
            Arg::one_of("where", &[Arg::word("min", "MIN"), Arg::word("max", "MAX")]),
            Arg::new("count", ArgKind::Integer).token("COUNT").optional(),
        ]),
        bzmpop_command,
    ),
];

/// Which end of a sorted set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Min,
    Max,
}

impl End {
    fn event(self) -> &'static str {
        match self {
            End::Min => "zpopmin",
            End::Max => "zpopmax",
        }
    }

    /// The command that takes members from this end of one set.
    fn command(self) -> &'static [u8] {
        match self {
            End::Min => b"ZPOPMIN",
            End::Max => b"ZPOPMAX",
        }
    }
}

/// How members are replied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    /// Members and scores in turn.
    Flat,
    /// A pair for each.
    Pairs,
    /// The key, then members and scores in turn.
    KeyThenFlat,
    /// The key, then a list of pairs.
    KeyThenPairs,
}

fn zpopmin_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    pop_at_key(cx, End::Min)
}

fn zpopmax_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    pop_at_key(cx, End::Max)
}

fn pop_at_key(cx: &mut Cx<'_>, end: End) -> Result<(), Error> {
    let count = match cx.argc() {
        ..=2 => None,
        3 => {
            let count = number_of_members(cx.arg(2)).ok_or(Error::NOT_POSITIVE)?;
            Some(count)
        }
        _ => return Err(Error::SYNTAX),
    };
    let form = if count.is_some() && cx.reply.is_resp3() { Form::Pairs } else { Form::Flat };
    let popped = pop(cx, 1..2, end, count.unwrap_or(1), form)?;
    if !popped {
        cx.reply.array(0);
    }
    Ok(())
}

/// A number that is not negative.
fn number_of_members(arg: &[u8]) -> Option<u64> {
    u64::try_from(args::int(arg).ok()?).ok()
}

fn zmpop_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let wish = Wish::parse(cx, 1)?;
    if !pop(cx, wish.keys, wish.end, wish.count, Form::KeyThenPairs)? {
        cx.reply.null_array();
    }
    Ok(())
}

fn bzpopmin_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    pop_or_wait(cx, End::Min)
}

fn bzpopmax_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    pop_or_wait(cx, End::Max)
}

fn pop_or_wait(cx: &mut Cx<'_>, end: End) -> Result<(), Error> {
    let last = cx.argc() - 1;
    let until_ms = args::timeout_s(cx.arg(last), cx.now_ms())?;
    if !pop(cx, 1..last, end, 1, Form::KeyThenFlat)? {
        wait(cx, 1..last, until_ms);
    }
    Ok(())
}

fn bzmpop_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let wish = Wish::parse(cx, 2)?;
    let until_ms = args::timeout_s(cx.arg(1), cx.now_ms())?;
    if !pop(cx, wish.keys.clone(), wish.end, wish.count, Form::KeyThenPairs)? {
        wait(cx, wish.keys, until_ms);
    }
    Ok(())
}

fn wait(cx: &mut Cx<'_>, keys: Range<usize>, until_ms: Option<i64>) {
    cx.block(Block {
        keys: keys.collect(),
        others: Vec::new(),
        until_ms,
        awaited: Awaited::Zset,
        on_timeout: TimeoutReply::NullArray,
        again_at_ms: None,
        argv: Vec::new(),
    });
}

/// What ZMPOP asks for.
struct Wish {
    keys: Range<usize>,
    end: End,
    count: u64,
}

impl Wish {
    /// Reads the arguments from the number of keys on.
    fn parse(cx: &Cx<'_>, at: usize) -> Result<Wish, Error> {
        let number = number_of_members(cx.arg(at)).filter(|&n| n > 0).ok_or(Error::NUMKEYS_NOT_POSITIVE)?;
        let end_at = usize::try_from(number).ok().and_then(|n| n.checked_add(at + 1)).ok_or(Error::SYNTAX)?;
        if end_at >= cx.argc() {
            return Err(Error::SYNTAX);
        }
        let mut words = cx.words(end_at);
        let end = if words.accept("MIN") {
            End::Min
        } else if words.accept("MAX") {
            End::Max
        } else {
            return Err(Error::SYNTAX);
        };
        Ok(Wish { keys: at + 1..end_at, end, count: count_option(words)? })
    }
}

fn count_option(mut words: Words<'_>) -> Result<u64, Error> {
    let mut count = None;
    while words.left() > 0 {
        if count.is_some() || words.left() < 2 || !words.accept("COUNT") {
            return Err(Error::SYNTAX);
        }
        let number = number_of_members(words.expect()?).filter(|&n| n > 0);
        count = Some(number.ok_or(Error::COUNT_NOT_POSITIVE)?);
    }
    Ok(count.unwrap_or(1))
}

/// Takes up to `count` members from the first of the keys that has a sorted set, and replies them. `false` if none has, and
/// then nothing was replied.
fn pop(cx: &mut Cx<'_>, keys: Range<usize>, end: End, count: u64, form: Form) -> Result<bool, Error> {
    for at in keys {
        let key = cx.key(at);
        let Some(write) = find(cx.store, cx.db_index, key)? else { continue };
        if count == 0 {
            return Ok(false);
        }
        let limits = limits(cx.config);
        let len = set_of(&write)?.len();
        let ranks = match end {
            End::Min => 0..count.min(len),
            End::Max => len - count.min(len)..len,
        };
        let number = ranks.end - ranks.start;
        let listed = usize::try_from(number).unwrap_or(usize::MAX);
        match form {
            Form::Flat => cx.reply.array(listed.saturating_mul(2)),
            Form::Pairs => cx.reply.array(listed),
            Form::KeyThenFlat => {
                cx.reply.array(listed.saturating_mul(2).saturating_add(1));
                cx.reply.bulk(key.name);
            }
            Form::KeyThenPairs => {
                cx.reply.array(2);
                cx.reply.bulk(key.name);
                cx.reply.array(listed);
            }
        }
        reply_members(&write, ranks.clone(), end, &mut |member, score| {
            if matches!(form, Form::Pairs | Form::KeyThenPairs) {
                cx.reply.array(2);
            }
            cx.reply.bulk(member);
            cx.reply.double(score);
        })?;
        let emptied = remove_ranks(write, ranks, limits);
        match form {
            Form::Flat | Form::Pairs => {}
            Form::KeyThenFlat => cx.effects.feed_as(&[end.command(), key.name]),
            Form::KeyThenPairs => cx.effects.feed_as(&[end.command(), key.name, &format_u64(number)]),
        }
        tell_removed(cx, key, end.event(), number, emptied);
        return Ok(true);
    }
    Ok(false)
}

fn reply_members(
    write: &Write<'_>,
    ranks: Range<u64>,
    end: End,
    visit: &mut dyn FnMut(&[u8], f64),
) -> Result<(), Error> {
    let zset = set_of(write)?;
    match end {
        End::Min => zset.walk(ranks, visit),
        End::Max => zset.walk_back(ranks, visit),
    }
    Ok(())
}
