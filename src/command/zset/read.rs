//! Commands that look at members one by one, count them, or pick some.

use super::bounds::{Bounds, By};
use super::place::read;
use super::rows::{open, pair};
use crate::command::args;
use crate::command::cursor::{self, Found, ScanOptions, Walked};
use crate::command::reply::Reply;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error, repeats};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::collections::HashSet;
use weir_resp::number_text::{self, DOUBLE_TEXT_MAX};
use weir_structs::zset::ZsetRef;

const READONLY_FAST: Flags = Flags::READONLY.union(Flags::FAST);
const ACL_READ_SORTEDSET_FAST: Acl = Acl::READ.union(Acl::SORTEDSET).union(Acl::FAST);
const ACL_READ_SORTEDSET_SLOW: Acl = Acl::READ.union(Acl::SORTEDSET).union(Acl::SLOW);
const KEY_RO_ACCESS: KeyFlags = KeyFlags::RO.union(KeyFlags::ACCESS);

/// Commands that look at members one by one, count them, or pick some.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new("zcard", 2, READONLY_FAST, ACL_READ_SORTEDSET_FAST, Group::SortedSet, "1.2.0")
            .keys(&[KeySpec::one(1, KeyFlags::RO)])
            .doc("O(1)", "Counts the members of a sorted set.")
            .args(&[Arg::key("key", 0)]),
        zcard_command,
    ),
    Row::new(
        Spec::new("zscore", 3, READONLY_FAST, ACL_READ_SORTEDSET_FAST, Group::SortedSet, "1.2.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc("O(1)", "Returns the score of a member of a sorted set.")
            .args(&[Arg::key("key", 0), Arg::new("member", ArgKind::String)]),
        zscore_command,
    ),
    Row::new(
        Spec::new("zmscore", -3, READONLY_FAST, ACL_READ_SORTEDSET_FAST, Group::SortedSet, "6.2.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc(
                "O(N) where N is the number of members given.",
                "Returns the scores of several members of a sorted set.",
            )
            .args(&[Arg::key("key", 0), Arg::new("member", ArgKind::String).multiple()]),
        zmscore_command,
    ),
    Row::new(
        Spec::new("zrank", -3, READONLY_FAST, ACL_READ_SORTEDSET_FAST, Group::SortedSet, "2.0.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc(
                "O(log(N)) where N is the number of members.",
                "Returns how many members of a sorted set stand before a member.",
            )
            .history(&[("7.2.0", "Gained the `WITHSCORE` option.")])
            .args(&[
                Arg::key("key", 0),
                Arg::new("member", ArgKind::String),
                Arg::word("withscore", "WITHSCORE").optional(),
            ]),
        zrank_command,
    ),
    Row::new(
        Spec::new("zrevrank", -3, READONLY_FAST, ACL_READ_SORTEDSET_FAST, Group::SortedSet, "2.0.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc(
                "O(log(N)) where N is the number of members.",
                "Returns how many members of a sorted set stand behind a member.",
            )
            .history(&[("7.2.0", "Gained the `WITHSCORE` option.")])
            .args(&[
                Arg::key("key", 0),
                Arg::new("member", ArgKind::String),
                Arg::word("withscore", "WITHSCORE").optional(),
            ]),
        zrevrank_command,
    ),
    Row::new(
        Spec::new("zcount", 4, READONLY_FAST, ACL_READ_SORTEDSET_FAST, Group::SortedSet, "2.0.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc(
                "O(log(N)) where N is the number of members.",
                "Counts the members of a sorted set with scores in a range.",
            )
            .args(&[Arg::key("key", 0), Arg::new("min", ArgKind::Double), Arg::new("max", ArgKind::Double)]),
        zcount_command,
    ),
    Row::new(
        Spec::new("zlexcount", 4, READONLY_FAST, ACL_READ_SORTEDSET_FAST, Group::SortedSet, "2.8.9")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc(
                "O(log(N)) where N is the number of members.",
                "Counts the members of a sorted set between two in byte order.",
            )
            .args(&[Arg::key("key", 0), Arg::new("min", ArgKind::String), Arg::new("max", ArgKind::String)]),
        zlexcount_command,
    ),
    Row::new(
        Spec::new("zrandmember", -2, Flags::READONLY, ACL_READ_SORTEDSET_SLOW, Group::SortedSet, "6.2.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .tips(&["nondeterministic_output"])
            .doc(
                "O(N) where N is the number of members returned.",
                "Returns members of a sorted set picked at random, with their scores if asked to.",
            )
            .args(&[
                Arg::key("key", 0),
                Arg::block(
                    "options",
                    &[Arg::new("count", ArgKind::Integer), Arg::word("withscores", "WITHSCORES").optional()],
                )
                .optional(),
            ]),
        zrandmember_command,
    ),
    Row::new(
        Spec::new("zscan", -3, Flags::READONLY, ACL_READ_SORTEDSET_SLOW, Group::SortedSet, "2.8.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .tips(&["nondeterministic_output"])
            .doc(
                "O(1) for each call, O(N) for a whole walk where N is the number of members.",
                "Walks the members of a sorted set, some of them with each call.",
            )
            .history(&[("8.0.0", "Gained the `NOSCORES` option.")])
            .args(&[
                Arg::key("key", 0),
                Arg::new("cursor", ArgKind::Integer),
                Arg::new("pattern", ArgKind::Pattern).token("MATCH").optional(),
                Arg::new("count", ArgKind::Integer).token("COUNT").optional(),
                Arg::word("noscores", "NOSCORES").optional(),
            ]),
        zscan_command,
    ),
];

/// Distinct members are picked one by one if there are more than so many times as many; otherwise all are walked, and each
/// is taken with the chance that is due to it.
const PICK_ONE_IN: u64 = 3;

fn zcard_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let key = cx.key(1);
    let zset = read(cx.store, cx.db_index, key, cx.effects)?;
    count(&mut cx.reply, zset.map_or(0, ZsetRef::len));
    Ok(())
}

fn zscore_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (key, member) = (cx.key(1), cx.arg(2));
    match read(cx.store, cx.db_index, key, cx.effects)?.and_then(|zset| zset.score(member)) {
        Some(score) => cx.reply.double(score),
        None => cx.reply.null(),
    }
    Ok(())
}

fn zmscore_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (key, words) = (cx.key(1), cx.words(2));
    let zset = read(cx.store, cx.db_index, key, cx.effects)?;
    cx.reply.array(words.left());
    for member in words {
        match zset.and_then(|zset| zset.score(member)) {
            Some(score) => cx.reply.double(score),
            None => cx.reply.null(),
        }
    }
    Ok(())
}

fn zrank_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    rank(cx, "zrank", false)
}

fn zrevrank_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    rank(cx, "zrevrank", true)
}

fn rank(cx: &mut Cx<'_>, command: &str, from_end: bool) -> Result<(), Error> {
    let with_score = match cx.argc() {
        ..=3 => false,
        4 if args::is(cx.arg(3), "WITHSCORE") => true,
        4 => return Err(Error::SYNTAX),
        _ => return Err(Error::arity(command)),
    };
    let (key, member) = (cx.key(1), cx.arg(2));
    let zset = read(cx.store, cx.db_index, key, cx.effects)?;
    match zset.and_then(|zset| Some((zset.len(), zset.rank(member)?))) {
        Some((len, (rank, score))) => {
            let rank = if from_end { len - 1 - rank } else { rank };
            if with_score {
                cx.reply.array(2);
            }
            count(&mut cx.reply, rank);
            if with_score {
                cx.reply.double(score);
            }
        }
        None if with_score => cx.reply.null_array(),
        None => cx.reply.null(),
    }
    Ok(())
}

fn zcount_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    count_range(cx, By::Score)
}

fn zlexcount_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    count_range(cx, By::Lex)
}

fn count_range(cx: &mut Cx<'_>, by: By) -> Result<(), Error> {
    let bounds = Bounds::parse(by, cx.arg(2), cx.arg(3))?;
    let key = cx.key(1);
    let zset = read(cx.store, cx.db_index, key, cx.effects)?;
    let ranks = zset.map_or(0..0, |zset| bounds.ranks(zset, false));
    count(&mut cx.reply, ranks.end - ranks.start);
    Ok(())
}

fn zrandmember_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let key = cx.key(1);
    if cx.argc() == 2 {
        let random = cx.store.random_u64();
        match read(cx.store, cx.db_index, key, cx.effects)? {
            Some(zset) => drop(zset.at(below(random, zset.len()), |member, _| cx.reply.bulk(member))),
            None => cx.reply.null(),
        }
        return Ok(());
    }
    let wanted = args::int_in(cx.arg(2), -i64::MAX, i64::MAX)?;
    let with_scores = match cx.argc() {
        3 => false,
        4 if args::is(cx.arg(3), "WITHSCORES") => true,
        _ => return Err(Error::SYNTAX),
    };
    if with_scores && wanted.unsigned_abs() > i64::MAX.unsigned_abs() / 2 {
        return Err(Error::OUT_OF_RANGE);
    }
    let mut rng = SmallRng::seed_from_u64(cx.store.random_u64());
    let Some(zset) = read(cx.store, cx.db_index, key, cx.effects)? else {
        cx.reply.array(0);
        return Ok(());
    };
    let (number, reply) = (wanted.unsigned_abs(), &mut cx.reply);
    if wanted < 0 {
        repeats::check(number, zset.len(), zset.memory_bytes())?;
        open(reply, number, with_scores);
        sample_repeated(zset, number, &mut rng, |member, score| pair(reply, member, score, with_scores));
    } else {
        open(reply, number.min(zset.len()), with_scores);
        sample_distinct(zset, number, &mut rng, |member, score| pair(reply, member, score, with_scores));
    }
    Ok(())
}

/// `number` members by chance, the same one perhaps more than once.
fn sample_repeated(zset: ZsetRef<'_>, number: u64, rng: &mut SmallRng, mut visit: impl FnMut(&[u8], f64)) {
    let len = zset.len();
    for _ in 0..number {
        zset.at(below(rng.random(), len), &mut visit);
    }
}

/// `number` distinct members by chance, or all if there are not more.
fn sample_distinct(zset: ZsetRef<'_>, number: u64, rng: &mut SmallRng, mut visit: impl FnMut(&[u8], f64)) {
    let len = zset.len();
    if number < len / PICK_ONE_IN {
        let mut picked = HashSet::new();
        while (picked.len() as u64) < number {
            let rank = below(rng.random(), len);
            if picked.insert(rank) {
                zset.at(rank, &mut visit);
            }
        }
        return;
    }
    let (mut wanted, mut left) = (number.min(len), len);
    zset.for_each(|member, score| {
        if below(rng.random(), left) < wanted {
            visit(member, score);
            wanted -= 1;
        }
        left -= 1;
    });
}

/// A number below `limit`, as evenly as 64 bits allow.
fn below(random: u64, limit: u64) -> u64 {
    let product = u128::from(random) * u128::from(limit);
    u64::try_from(product >> 64).unwrap_or(0)
}

fn zscan_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let mut cursor = cursor::parse(cx.arg(2))?;
    let (key, words) = (cx.key(1), cx.words(3));
    let mut found = Found::default();
    if let Some(zset) = read(cx.store, cx.db_index, key, cx.effects)? {
        let options = ScanOptions::parse(words, Walked::Zset)?;
        cursor = options.step(cursor, |cursor, seen| {
            zset.scan(cursor, &mut |member, score| {
                *seen += 1;
                if options.fits(member) {
                    found.push(member);
                    if !options.keys_only {
                        push_score(&mut found, zset, score);
                    }
                }
            })
        });
    } else {
        cursor = 0;
    }
    found.reply(&mut cx.reply, cursor);
    Ok(())
}

/// A score as ZSCAN shows it: of a small set as elsewhere, of a big one with 17 digits.
fn push_score(found: &mut Found, zset: ZsetRef<'_>, score: f64) {
    match zset {
        ZsetRef::Packed(_) => found.push(number_text::format_double(score, &mut [0; DOUBLE_TEXT_MAX])),
        ZsetRef::Big(_) => found.push(text_of_17_digits(score).as_bytes()),
    }
}

/// What C's `%.17g` makes of a number.
fn text_of_17_digits(value: f64) -> String {
    const DIGITS: i32 = 17;
    if !value.is_finite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{value:.16e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if mantissa.starts_with('-') { "-" } else { "" };
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_end_matches('0');
    if digits.is_empty() {
        return format!("{sign}0");
    }
    if !(-4..DIGITS).contains(&exponent) {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let exponent_sign = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{first}{point}{rest}e{exponent_sign}{:02}", exponent.unsigned_abs());
    }
    let whole_len = usize::try_from(exponent + 1).unwrap_or(0);
    if whole_len == 0 {
        let zeros = "0".repeat(usize::try_from(-exponent - 1).unwrap_or(0));
        return format!("{sign}0.{zeros}{digits}");
    }
    match digits.split_at_checked(whole_len) {
        Some((whole, "")) => format!("{sign}{whole}"),
        Some((whole, fraction)) => format!("{sign}{whole}.{fraction}"),
        None => format!("{sign}{digits}{}", "0".repeat(whole_len - digits.len())),
    }
}

#[inline]
fn count(reply: &mut Reply<'_>, number: u64) {
    reply.int(i64::try_from(number).unwrap_or(i64::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_structs::keyspace::KeyHasher;
    use weir_structs::zset::Zset;

    /// Asserts that `draws` draws by `sample`, of `per_draw` members each, hit every one of `len` members as often as chance
    /// would have it: the chance to fail by bad luck is below one in a million, and the seed is fixed.
    fn assert_fair(len: usize, per_draw: usize, draws: usize, sample: impl Fn(ZsetRef<'_>, &mut SmallRng, &mut [u64])) {
        let mut zset = Zset::new(KeyHasher::new(1));
        (0..len).for_each(|at| zset.insert(at.to_string().as_bytes(), (at / 3) as f64));
        let mut rng = SmallRng::seed_from_u64(7);
        let mut hits = vec![0; len];
        (0..draws).for_each(|_| sample(ZsetRef::Big(&zset), &mut rng, &mut hits));
        assert_eq!(hits.iter().sum::<u64>(), (draws * per_draw) as u64);
        let expected = (draws * per_draw) as f64 / len as f64;
        // Draws without repetition vary less than independent ones.
        let variance = expected * (1.0 - if per_draw > 1 { per_draw as f64 / len as f64 } else { 0.0 });
        let chi_square: f64 = hits.iter().map(|&hits| (hits as f64 - expected).powi(2) / variance).sum();
        let freedom = (len - 1) as f64;
        // Chi-square is nearly normal at so many degrees of freedom.
        assert!((chi_square - freedom).abs() < 5.0 * (2.0 * freedom).sqrt(), "{chi_square} at {freedom}");
    }

    fn hit(hits: &mut [u64]) -> impl FnMut(&[u8], f64) {
        |member, _| {
            let at: usize = std::str::from_utf8(member).expect("digits").parse().expect("a number");
            hits[at] += 1;
        }
    }

    #[test]
    fn every_member_has_the_same_chance() {
        assert_fair(200, 1, 100_000, |zset, rng, hits| sample_repeated(zset, 1, rng, hit(hits)));
        assert_fair(200, 50, 4_000, |zset, rng, hits| sample_distinct(zset, 50, rng, hit(hits)));
        assert_fair(200, 150, 4_000, |zset, rng, hits| sample_distinct(zset, 150, rng, hit(hits)));
    }

    #[test]
    fn distinct_members_are_distinct_and_as_many_as_there_are() {
        for (number, expected) in [(0, 0), (5, 5), (99, 99), (100, 100), (1_000, 100)] {
            let mut zset = Zset::new(KeyHasher::new(1));
            (0..100).for_each(|at| zset.insert(at.to_string().as_bytes(), 0.5));
            let mut hits = [0; 100];
            sample_distinct(ZsetRef::Big(&zset), number, &mut SmallRng::seed_from_u64(3), hit(&mut hits));
            assert!(hits.iter().all(|&hits| hits < 2));
            assert_eq!(hits.iter().sum::<u64>(), expected);
        }
    }

    #[test]
    fn seventeen_digits_are_laid_out_as_c_does() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.5, "1.5"),
            (0.1, "0.10000000000000001"),
            (-123.456, "-123.456"),
            (1e15, "1000000000000000"),
            (1e17, "1e+17"),
            (12345678901234567890.0, "1.2345678901234567e+19"),
            (1e-5, "1.0000000000000001e-05"),
            (0.0001, "0.0001"),
            (1e300, "1.0000000000000001e+300"),
            (123_456_789.123_456_79, "123456789.12345679"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(text_of_17_digits(value), text);
        }
    }
}
