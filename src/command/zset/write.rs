//! Commands that change members one by one or in ranges.

use super::bounds::{Bounds, By};
use super::place::{find, limits, remove_ranks, set_of, tell_removed};
use crate::command::args;
use crate::command::effects::EventClass;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error};
use crate::store::PackedKind;
use weir_structs::number::format_u64;
use weir_structs::zset::{AddRule, Added, ZsetMut};

const WRITE_DENYOOM_FAST: Flags = Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST);
const WRITE_FAST: Flags = Flags::WRITE.union(Flags::FAST);
const ACL_WRITE_SORTEDSET_FAST: Acl = Acl::WRITE.union(Acl::SORTEDSET).union(Acl::FAST);
const ACL_WRITE_SORTEDSET_SLOW: Acl = Acl::WRITE.union(Acl::SORTEDSET).union(Acl::SLOW);
const KEY_RW_DELETE: KeyFlags = KeyFlags::RW.union(KeyFlags::DELETE);

/// Commands that change members one by one or in ranges.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new("zadd", -4, WRITE_DENYOOM_FAST, ACL_WRITE_SORTEDSET_FAST, Group::SortedSet, "1.2.0")
            .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))])
            .doc(
                "O(log(N)) for each member given where N is the number of members.",
                "Sets the scores of members of a sorted set, adding those that are missing.",
            )
            .history(&[
                ("2.4.0", "Takes more than one member."),
                ("3.0.2", "Gained the `XX`, `NX`, `CH` and `INCR` options."),
                ("6.2.0", "Gained the `GT` and `LT` options."),
            ])
            .args(&[
                Arg::key("key", 0),
                Arg::one_of("condition", &[Arg::word("nx", "NX"), Arg::word("xx", "XX")]).since("3.0.2").optional(),
                Arg::one_of("comparison", &[Arg::word("gt", "GT"), Arg::word("lt", "LT")]).since("6.2.0").optional(),
                Arg::word("change", "CH").since("3.0.2").optional(),
                Arg::word("increment", "INCR").since("3.0.2").optional(),
                Arg::block("data", &[Arg::new("score", ArgKind::Double), Arg::new("member", ArgKind::String)])
                    .multiple(),
            ]),
        zadd_command,
    ),
    Row::new(
        Spec::new("zincrby", 4, WRITE_DENYOOM_FAST, ACL_WRITE_SORTEDSET_FAST, Group::SortedSet, "1.2.0")
            .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))])
            .doc(
                "O(log(N)) where N is the number of members.",
                "Adds to the score of a member of a sorted set, a missing one counting as 0.",
            )
            .args(&[Arg::key("key", 0), Arg::new("increment", ArgKind::Integer), Arg::new("member", ArgKind::String)]),
        zincrby_command,
    ),
    Row::new(
        Spec::new("zrem", -3, WRITE_FAST, ACL_WRITE_SORTEDSET_FAST, Group::SortedSet, "1.2.0")
            .keys(&[KeySpec::one(1, KEY_RW_DELETE)])
            .doc(
                "O(M*log(N)) where N is the number of members and M the number of those given.",
                "Removes members from a sorted set.",
            )
            .history(&[("2.4.0", "Takes more than one member.")])
            .args(&[Arg::key("key", 0), Arg::new("member", ArgKind::String).multiple()]),
        zrem_command,
    ),
    Row::new(
        Spec::new("zremrangebyrank", 4, Flags::WRITE, ACL_WRITE_SORTEDSET_SLOW, Group::SortedSet, "2.0.0")
            .keys(&[KeySpec::one(1, KEY_RW_DELETE)])
            .doc(
                "O(log(N)+M) where N is the number of members and M how many of them are in the range.",
                "Removes the members of a sorted set in a range of ranks.",
            )
            .args(&[Arg::key("key", 0), Arg::new("start", ArgKind::Integer), Arg::new("stop", ArgKind::Integer)]),
        zremrangebyrank_command,
    ),
    Row::new(
        Spec::new("zremrangebyscore", 4, Flags::WRITE, ACL_WRITE_SORTEDSET_SLOW, Group::SortedSet, "1.2.0")
            .keys(&[KeySpec::one(1, KEY_RW_DELETE)])
            .doc(
                "O(log(N)+M) where N is the number of members and M how many of them are in the range.",
                "Removes the members of a sorted set with scores in a range.",
            )
            .args(&[Arg::key("key", 0), Arg::new("min", ArgKind::Double), Arg::new("max", ArgKind::Double)]),
        zremrangebyscore_command,
    ),
    Row::new(
        Spec::new("zremrangebylex", 4, Flags::WRITE, ACL_WRITE_SORTEDSET_SLOW, Group::SortedSet, "2.8.9")
            .keys(&[KeySpec::one(1, KEY_RW_DELETE)])
            .doc(
                "O(log(N)+M) where N is the number of members and M how many of them are in the range.",
                "Removes the members of a sorted set between two in byte order.",
            )
            .args(&[Arg::key("key", 0), Arg::new("min", ArgKind::String), Arg::new("max", ArgKind::String)]),
        zremrangebylex_command,
    ),
];

/// Scores of a command that are kept on the stack.
const SCORES_NEAR: usize = 16;

/// How far ahead of a long list of members the table's memory is asked for.
const AHEAD: usize = 6;

fn zadd_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (mut rule, mut count_changed) = (AddRule::default(), false);
    let mut words = cx.words(2);
    loop {
        if words.accept("NX") {
            rule.only_new = true;
        } else if words.accept("XX") {
            rule.only_present = true;
        } else if words.accept("GT") {
            rule.only_higher = true;
        } else if words.accept("LT") {
            rule.only_lower = true;
        } else if words.accept("CH") {
            count_changed = true;
        } else if words.accept("INCR") {
            rule.increment = true;
        } else {
            break;
        }
    }
    let first = words.at();
    if words.left() == 0 || !words.left().is_multiple_of(2) {
        return Err(Error::SYNTAX);
    }
    if rule.only_new && rule.only_present {
        return Err(Error::ZADD_NX_WITH_XX);
    }
    if rule.only_higher && (rule.only_new || rule.only_lower) || rule.only_lower && rule.only_new {
        return Err(Error::ZADD_GT_LT_NX);
    }
    if rule.increment && words.left() > 2 {
        return Err(Error::ZADD_INCR_PAIRS);
    }
    add(cx, first, rule, count_changed)
}

fn zincrby_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    add(cx, 2, AddRule { increment: true, ..AddRule::default() }, false)
}

/// What became of the pairs of a command.
#[derive(Default)]
struct Tally {
    new: u64,
    changed: u64,
    last: Option<Added>,
}

/// Adds pairs of score and member, from argument `first` on.
fn add(cx: &mut Cx<'_>, first: usize, rule: AddRule, count_changed: bool) -> Result<(), Error> {
    let pairs = cx.argc().saturating_sub(first) / 2;
    let (mut near, mut far) = ([0.0; SCORES_NEAR], Vec::new());
    let scores = match near.get_mut(..pairs) {
        Some(scores) => scores,
        None => {
            far.resize(pairs, 0.0);
            &mut far
        }
    };
    for (at, score) in scores.iter_mut().enumerate() {
        *score = args::float(cx.arg(first + 2 * at))?;
    }
    add_scored(cx, scores, (first + 1, 2), rule, count_changed)
}

/// Adds members with these scores to the set at the first argument and replies as ZADD does. Where the members stand
/// among the arguments: the first, and how far apart they are.
///
/// # Errors
/// The value is no sorted set; an increment would make a score no number.
pub(in crate::command) fn add_scored(
    cx: &mut Cx<'_>,
    scores: &[f64],
    (first, distance): (usize, usize),
    rule: AddRule,
    count_changed: bool,
) -> Result<(), Error> {
    let (key, argv, limits, db) = (cx.key(1), cx.argv, limits(cx.config), cx.db_index);
    let (mut write, is_new) = if rule.only_present {
        let Some(write) = find(cx.store, db, key)? else {
            if rule.increment {
                cx.reply.null()
            } else {
                cx.reply.int(0)
            }
            return Ok(());
        };
        (write, false)
    } else {
        cx.store.db(db).get_or_create(key, PackedKind::Zset)
    };
    let members = || (0..scores.len()).map(|at| argv.get(first + distance * at).unwrap_or_default());
    let tally = write.try_change(|value| {
        let Some(mut zset) = ZsetMut::of(value, limits) else { return (false, Err(Error::WRONG_TYPE)) };
        zset.expect(scores.len(), members().map(<[u8]>::len).max().unwrap_or(0));
        let mut tally = Tally::default();
        let mut ahead = members().skip(AHEAD);
        for (member, &score) in members().zip(scores) {
            if let Some(later) = ahead.next() {
                zset.as_ref().prefetch(later);
            }
            let added = zset.add(member, score, rule);
            match added {
                Added::New(_) => tally.new += 1,
                Added::Changed(_) => tally.changed += 1,
                // Only an increment can be that, and there is only one of them.
                Added::NotANumber => return (false, Err(Error::SCORE_NOT_A_NUMBER)),
                Added::Same(_) | Added::Refused => {}
            }
            tally.last = Some(added);
        }
        (tally.new + tally.changed > 0, Ok(tally))
    })?;

    if tally.new + tally.changed > 0 {
        cx.effects.changed(tally.new + tally.changed);
        if is_new {
            cx.effects.event(EventClass::NEW, "new", key.name, db);
        }
        let event = if rule.increment { "zincr" } else { "zadd" };
        cx.effects.event(EventClass::ZSET, event, key.name, db);
    }
    if rule.increment {
        match tally.last {
            Some(Added::New(score) | Added::Changed(score) | Added::Same(score)) => cx.reply.double(score),
            _ => cx.reply.null(),
        }
    } else {
        let count = tally.new + if count_changed { tally.changed } else { 0 };
        cx.reply.count(usize::try_from(count).unwrap_or(usize::MAX));
    }
    Ok(())
}

fn zrem_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (key, limits) = (cx.key(1), limits(cx.config));
    let words = cx.words(2);
    let (mut removed, mut emptied) = (0, false);
    if let Some(mut write) = find(cx.store, cx.db_index, key)? {
        (removed, emptied) = write.try_change(|value| {
            let Some(mut zset) = ZsetMut::of(value, limits) else { return (false, (0, false)) };
            let mut left = zset.as_ref().len();
            let before = left;
            for member in words {
                left -= u64::from(zset.remove(member));
                if left == 0 {
                    break;
                }
            }
            (left < before, (before - left, left == 0))
        });
        if emptied {
            write.remove();
        }
    }
    if removed > 0 {
        tell_removed(cx, key, "zrem", removed, emptied);
    }
    cx.reply.count(usize::try_from(removed).unwrap_or(usize::MAX));
    Ok(())
}

fn zremrangebyrank_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    remove_range(cx, By::Rank, "zremrangebyrank")
}

fn zremrangebyscore_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    remove_range(cx, By::Score, "zremrangebyscore")
}

fn zremrangebylex_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    remove_range(cx, By::Lex, "zremrangebylex")
}

fn remove_range(cx: &mut Cx<'_>, by: By, event: &'static str) -> Result<(), Error> {
    let bounds = Bounds::parse(by, cx.arg(2), cx.arg(3))?;
    let (key, limits) = (cx.key(1), limits(cx.config));
    let Some(write) = find(cx.store, cx.db_index, key)? else {
        cx.reply.int(0);
        return Ok(());
    };
    let zset = set_of(&write)?;
    let ranks = bounds.ranks(zset, false);
    let count = ranks.end - ranks.start;
    if count > 0 {
        if cx.effects.feeds() && bounds.depend_on_form(zset) {
            let (first, last) = (format_u64(ranks.start), format_u64(ranks.end - 1));
            cx.effects.feed_as(&[b"ZREMRANGEBYRANK", key.name, &first, &last]);
        }
        let emptied = remove_ranks(write, ranks, limits);
        tell_removed(cx, key, event, count, emptied);
    }
    cx.reply.count(usize::try_from(count).unwrap_or(usize::MAX));
    Ok(())
}
