//! Commands that list ranges.
//!
//! ZRANGE can do what all the others do; they are rows of their own, and the same code with its mind made up.

use super::bounds::{Bounds, By};
use super::place::{limits, read};
use super::rows::{Rows, open, pair};
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error};
use std::ops::Range;
use weir_structs::number::format_u64;

const ACL_READ_SORTEDSET_SLOW: Acl = Acl::READ.union(Acl::SORTEDSET).union(Acl::SLOW);
const ACL_WRITE_SORTEDSET_SLOW: Acl = Acl::WRITE.union(Acl::SORTEDSET).union(Acl::SLOW);
const KEY_OW_UPDATE: KeyFlags = KeyFlags::OW.union(KeyFlags::UPDATE);
const KEY_RO_ACCESS: KeyFlags = KeyFlags::RO.union(KeyFlags::ACCESS);

/// Commands that list ranges.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new("zrange", -4, Flags::READONLY, ACL_READ_SORTEDSET_SLOW, Group::SortedSet, "1.2.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc(
                "O(log(N)+M) where N is the number of members and M how many of them are in the range.",
                "Returns the members of a sorted set in a range of ranks, scores or byte order.",
            )
            .history(&[("6.2.0", "Gained the `REV`, `BYSCORE`, `BYLEX` and `LIMIT` options.")])
            .args(&[
                Arg::key("key", 0),
                Arg::new("start", ArgKind::String),
                Arg::new("stop", ArgKind::String),
                Arg::one_of("sortby", &[Arg::word("byscore", "BYSCORE"), Arg::word("bylex", "BYLEX")])
                    .since("6.2.0")
                    .optional(),
                Arg::word("rev", "REV").since("6.2.0").optional(),
                Arg::block("limit", &[Arg::new("offset", ArgKind::Integer), Arg::new("count", ArgKind::Integer)])
                    .token("LIMIT")
                    .since("6.2.0")
                    .optional(),
                Arg::word("withscores", "WITHSCORES").optional(),
            ]),
        zrange_command,
    ),
    Row::new(
        Spec::new(
            "zrangestore",
            -5,
            Flags::WRITE.union(Flags::DENYOOM),
            ACL_WRITE_SORTEDSET_SLOW,
            Group::SortedSet,
            "6.2.0",
        )
        .keys(&[KeySpec::one(1, KEY_OW_UPDATE), KeySpec::one(2, KEY_RO_ACCESS)])
        .doc(
            "O(log(N)+M) where N is the number of members and M how many of them are in the range.",
            "Stores the members of a sorted set in a range of ranks, scores or byte order.",
        )
        .args(&[
            Arg::key("dst", 0),
            Arg::key("src", 1),
            Arg::new("min", ArgKind::String),
            Arg::new("max", ArgKind::String),
            Arg::one_of("sortby", &[Arg::word("byscore", "BYSCORE"), Arg::word("bylex", "BYLEX")]).optional(),
            Arg::word("rev", "REV").optional(),
            Arg::block("limit", &[Arg::new("offset", ArgKind::Integer), Arg::new("count", ArgKind::Integer)])
                .token("LIMIT")
                .optional(),
        ]),
        zrangestore_command,
    ),
    Row::new(
        Spec::new("zrevrange", -4, Flags::READONLY, ACL_READ_SORTEDSET_SLOW, Group::SortedSet, "1.2.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc(
                "O(log(N)+M) where N is the number of members and M how many of them are in the range.",
                "Returns the members of a sorted set in a range of ranks counted from the highest score.",
            )
            .deprecated("6.2.0", "`ZRANGE` with `REV`")
            .args(&[
                Arg::key("key", 0),
                Arg::new("start", ArgKind::Integer),
                Arg::new("stop", ArgKind::Integer),
                Arg::word("withscores", "WITHSCORES").optional(),
            ]),
        zrevrange_command,
    ),
    Row::new(
        Spec::new("zrangebyscore", -4, Flags::READONLY, ACL_READ_SORTEDSET_SLOW, Group::SortedSet, "1.0.5")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc(
                "O(log(N)+M) where N is the number of members and M how many of them are in the range.",
                "Returns the members of a sorted set with scores in a range.",
            )
            .deprecated("6.2.0", "`ZRANGE` with `BYSCORE`")
            .history(&[("2.0.0", "Gained the `WITHSCORES` option.")])
            .args(&[
                Arg::key("key", 0),
                Arg::new("min", ArgKind::Double),
                Arg::new("max", ArgKind::Double),
                Arg::word("withscores", "WITHSCORES").since("2.0.0").optional(),
                Arg::block("limit", &[Arg::new("offset", ArgKind::Integer), Arg::new("count", ArgKind::Integer)])
                    .token("LIMIT")
                    .optional(),
            ]),
        zrangebyscore_command,
    ),
    Row::new(
        Spec::new("zrevrangebyscore", -4, Flags::READONLY, ACL_READ_SORTEDSET_SLOW, Group::SortedSet, "2.2.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc(
                "O(log(N)+M) where N is the number of members and M how many of them are in the range.",
                "Returns the members of a sorted set with scores in a range, the highest first.",
            )
            .deprecated("6.2.0", "`ZRANGE` with `REV` and `BYSCORE`")
            .history(&[("2.1.6", "Either end of the range may be excluded.")])
            .args(&[
                Arg::key("key", 0),
                Arg::new("max", ArgKind::Double),
                Arg::new("min", ArgKind::Double),
                Arg::word("withscores", "WITHSCORES").optional(),
                Arg::block("limit", &[Arg::new("offset", ArgKind::Integer), Arg::new("count", ArgKind::Integer)])
                    .token("LIMIT")
                    .optional(),
            ]),
        zrevrangebyscore_command,
    ),
    Row::new(
        Spec::new("zrangebylex", -4, Flags::READONLY, ACL_READ_SORTEDSET_SLOW, Group::SortedSet, "2.8.9")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc(
                "O(log(N)+M) where N is the number of members and M how many of them are in the range.",
                "Returns the members of a sorted set between two in byte order.",
            )
            .deprecated("6.2.0", "`ZRANGE` with `BYLEX`")
            .args(&[
                Arg::key("key", 0),
                Arg::new("min", ArgKind::String),
                Arg::new("max", ArgKind::String),
                Arg::block("limit", &[Arg::new("offset", ArgKind::Integer), Arg::new("count", ArgKind::Integer)])
                    .token("LIMIT")
                    .optional(),
            ]),
        zrangebylex_command,
    ),
    Row::new(
        Spec::new("zrevrangebylex", -4, Flags::READONLY, ACL_READ_SORTEDSET_SLOW, Group::SortedSet, "2.8.9")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc(
                "O(log(N)+M) where N is the number of members and M how many of them are in the range.",
                "Returns the members of a sorted set between two, in reverse byte order.",
            )
            .deprecated("6.2.0", "`ZRANGE` with `REV` and `BYLEX`")
            .args(&[
                Arg::key("key", 0),
                Arg::new("max", ArgKind::String),
                Arg::new("min", ArgKind::String),
                Arg::block("limit", &[Arg::new("offset", ArgKind::Integer), Arg::new("count", ArgKind::Integer)])
                    .token("LIMIT")
                    .optional(),
            ]),
        zrevrangebylex_command,
    ),
];

fn zrange_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    list(cx, None, None)
}

fn zrevrange_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    list(cx, Some(By::Rank), Some(true))
}

fn zrangebyscore_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    list(cx, Some(By::Score), Some(false))
}

fn zrevrangebyscore_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    list(cx, Some(By::Score), Some(true))
}

fn zrangebylex_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    list(cx, Some(By::Lex), Some(false))
}

fn zrevrangebylex_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    list(cx, Some(By::Lex), Some(true))
}

/// A part of a sorted set, as one of these commands asks for it.
struct Query<'a> {
    bounds: Bounds<'a>,
    backwards: bool,
    offset: i64,
    /// Negative for all.
    limit: i64,
    with_scores: bool,
}

impl<'a> Query<'a> {
    /// Reads the arguments from the lower bound on. What the command itself has decided is no option of its.
    fn parse(
        cx: &Cx<'a>,
        at: usize,
        by_fixed: Option<By>,
        backwards_fixed: Option<bool>,
        may_have_scores: bool,
    ) -> Result<Query<'a>, Error> {
        let (mut by, mut backwards) = (by_fixed, backwards_fixed);
        let (mut offset, mut limit, mut with_scores) = (0, -1, false);
        let mut words = cx.words(at + 2);
        while words.left() > 0 {
            if may_have_scores && words.accept("WITHSCORES") {
                with_scores = true;
            } else if words.left() > 2 && words.accept("LIMIT") {
                (offset, limit) = (words.expect_int()?, words.expect_int()?);
            } else if backwards.is_none() && words.accept("REV") {
                backwards = Some(true);
            } else if by.is_none() && words.accept("BYLEX") {
                by = Some(By::Lex);
            } else if by.is_none() && words.accept("BYSCORE") {
                by = Some(By::Score);
            } else {
                return Err(Error::SYNTAX);
            }
        }
        let (by, backwards) = (by.unwrap_or(By::Rank), backwards.unwrap_or(false));
        if by == By::Rank {
            if limit != -1 {
                return Err(Error::LIMIT_NEEDS_BY);
            }
            // No limit, so where it would begin does not matter.
            offset = 0;
        }
        if with_scores && by == By::Lex {
            return Err(Error::WITHSCORES_WITH_BYLEX);
        }
        if by == By::Rank {
            // An offset goes without saying anything here.
            offset = 0;
        }
        let (mut min, mut max) = (cx.arg(at), cx.arg(at + 1));
        // Backwards, the bound to begin from stands first.
        if backwards && by != By::Rank {
            std::mem::swap(&mut min, &mut max);
        }
        Ok(Query { bounds: Bounds::parse(by, min, max)?, backwards, offset, limit, with_scores })
    }

    /// What is left of some ranks when the first `offset` are passed over and no more than `limit` are taken.
    fn cut(&self, ranks: Range<u64>) -> Range<u64> {
        // Negative offsets pass over everything.
        let Ok(offset) = u64::try_from(self.offset) else { return 0..0 };
        let left = (ranks.end - ranks.start).saturating_sub(offset);
        let taken = u64::try_from(self.limit).unwrap_or(u64::MAX).min(left);
        if taken == 0 {
            return 0..0;
        }
        if self.backwards {
            let end = ranks.end - offset;
            end - taken..end
        } else {
            let start = ranks.start + offset;
            start..start + taken
        }
    }
}

fn list(cx: &mut Cx<'_>, by: Option<By>, backwards: Option<bool>) -> Result<(), Error> {
    let query = Query::parse(cx, 2, by, backwards, true)?;
    let key = cx.key(1);
    let Some(zset) = read(cx.store, cx.db_index, key, cx.effects)? else {
        cx.reply.array(0);
        return Ok(());
    };
    let ranks = query.cut(query.bounds.ranks(zset, query.backwards));
    let reply = &mut cx.reply;
    open(reply, ranks.end - ranks.start, query.with_scores);
    if query.backwards {
        zset.walk_back(ranks, |member, score| pair(reply, member, score, query.with_scores));
    } else {
        zset.walk(ranks, |member, score| pair(reply, member, score, query.with_scores));
    }
    Ok(())
}

fn zrangestore_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let query = Query::parse(cx, 3, None, None, false)?;
    let (target, source) = (cx.key(1), cx.key(2));
    let limits = limits(cx.config);
    let mut rows = Rows::default();
    if let Some(zset) = read(cx.store, cx.db_index, source, cx.effects)? {
        let ranks = query.cut(query.bounds.ranks(zset, query.backwards));
        if cx.effects.feeds() && !ranks.is_empty() && query.bounds.depend_on_form(zset) {
            let (first, last) = (format_u64(ranks.start), format_u64(ranks.end - 1));
            cx.effects.feed_as(&[b"ZRANGESTORE", target.name, source.name, &first, &last]);
        }
        // The reference servers begin with a small set unless they know better, and a small set has no -0.
        let is_counted = matches!(query.bounds, Bounds::Ranks(..));
        let mut is_small = !is_counted || ranks.end - ranks.start <= limits.entries as u64;
        // Whichever way they are listed, they are stored in order.
        zset.walk(ranks, |member, score| {
            is_small = is_small && rows.len() < limits.entries && member.len() <= limits.value_bytes;
            rows.push(member, if is_small { score + 0.0 } else { score });
        });
    }
    if rows.len() == 0 && cx.store.view(cx.db_index, target).is_some() {
        // With an offset below zero others store something.
        cx.effects.feed_as(&[b"DEL", target.name]);
    }
    rows.store(cx, target, "zrangestore")
}
