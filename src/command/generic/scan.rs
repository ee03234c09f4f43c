//! Commands that find keys: SCAN a bit at a time, KEYS all at once.
//!
//! A step of SCAN visits buckets of the table until it has seen `COUNT` keys, and never more than ten times as many
//! buckets: what a filter throws away counts as seen, so a step takes the same time whatever it finds. Expired keys that
//! it meets are removed.

use super::keys::type_name;
use crate::command::args;
use crate::command::reply::{Output, Reply};
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error};
use weir_structs::glob::GlobPattern;
use weir_structs::number;

/// Commands that find keys.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new(
            "scan",
            -2,
            Flags::READONLY,
            Acl::KEYSPACE.union(Acl::READ).union(Acl::SLOW),
            Group::Generic,
            "2.8.0",
        )
        .tips(&["nondeterministic_output", "request_policy:special", "response_policy:special"])
        .doc(
            "O(1) for each call, O(N) for a whole walk where N is the number of keys.",
            "Walks the keys of the database, some of them with each call.",
        )
        .history(&[("6.0.0", "Gained the `TYPE` option.")])
        .args(&[
            Arg::new("cursor", ArgKind::Integer),
            Arg::new("pattern", ArgKind::Pattern).token("MATCH").optional(),
            Arg::new("count", ArgKind::Integer).token("COUNT").optional(),
            Arg::new("type", ArgKind::String).token("TYPE").since("6.0.0").optional(),
        ]),
        scan_command,
    ),
    Row::new(
        Spec::new(
            "keys",
            2,
            Flags::READONLY,
            Acl::KEYSPACE.union(Acl::READ).union(Acl::SLOW).union(Acl::DANGEROUS),
            Group::Generic,
            "1.0.0",
        )
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"])
        .doc("O(N) where N is the number of keys in the database.", "Lists every key whose name matches a pattern.")
        .args(&[Arg::new("pattern", ArgKind::Pattern)]),
        keys_command,
    ),
];

/// Keys that a step of SCAN looks at where no COUNT is given.
const COUNT_DEFAULT: u64 = 10;
/// Buckets a step may visit, for each key it may look at.
const BUCKETS_PER_KEY: u64 = 10;
/// Types that SCAN can be asked for.
const TYPES: &[&str] = &["string", "list", "set", "zset", "hash", "stream"];

fn scan_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let mut cursor = cursor(cx.arg(1)).ok_or(Error::INVALID_CURSOR)?;
    let (mut count, mut pattern, mut wanted_type) = (COUNT_DEFAULT, None, None);
    let mut words = cx.words(2);
    while words.peek().is_some() {
        if words.accept("COUNT") {
            count = u64::try_from(words.expect_int()?).ok().filter(|&n| n > 0).ok_or(Error::SYNTAX)?;
        } else if words.accept("MATCH") {
            pattern = Some(words.expect()?);
        } else if words.accept("TYPE") {
            let name = words.expect()?;
            let known = TYPES.iter().find(|known| args::is(name, known));
            wanted_type = Some(*known.ok_or_else(|| Error::unknown_type(name))?);
        } else if words.accept("NOVALUES") {
            return Err(Error::NOVALUES_NOT_HSCAN);
        } else if words.accept("NOSCORES") {
            return Err(Error::NOSCORES_NOT_ZSCAN);
        } else {
            return Err(Error::SYNTAX);
        }
    }
    let pattern = pattern.map(|p| GlobPattern::new(p, false)).filter(|p| !p.is_all());
    let fits = |name: &[u8]| pattern.as_ref().is_none_or(|p| p.matches(name));

    // The cursor goes first in the reply and is known last.
    let (mut names, mut found) = (Output::default(), 0);
    let mut names_reply = Reply::new(&mut names, cx.reply.resp());
    let mut expired: Vec<Box<[u8]>> = Vec::new();
    let now_ms = cx.now_ms();
    let (mut seen, mut buckets_left) = (0, count.saturating_mul(BUCKETS_PER_KEY));
    let db = cx.store.db(cx.db_index);
    loop {
        cursor = db.scan(cursor, &mut |entry| {
            seen += 1;
            if !fits(entry.key()) || wanted_type.is_some_and(|wanted| wanted != type_name(entry)) {
                return;
            }
            if entry.expire_at().is_some_and(|at| at <= now_ms) {
                expired.push(entry.key().into());
                return;
            }
            names_reply.bulk(entry.key());
            found += 1;
        });
        buckets_left -= 1;
        if cursor == 0 || buckets_left == 0 || seen >= count {
            break;
        }
    }
    for name in &expired {
        let key = cx.store.key(name);
        // Looking at it is what removes an expired key.
        cx.db().peek(key);
    }

    cx.reply.array(2);
    cx.reply.bulk(&number::format_u64(cursor));
    cx.reply.array(found);
    cx.reply.output().append(names);
    Ok(())
}

/// Reads a cursor as Redis does: an integer that is not negative, or else whatever C's `strtoull` takes from a string that
/// ends at its first NUL (blanks in front, a sign, any number of zeros).
fn cursor(arg: &[u8]) -> Option<u64> {
    if let Some(int) = number::parse_i64(arg) {
        return u64::try_from(int).ok();
    }
    let text = arg.split(|&byte| byte == 0).next().unwrap_or_default();
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
    let text = text.get(blanks..).unwrap_or_default();
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let zeros = digits.iter().take_while(|&&byte| byte == b'0').count();
    let magnitude = match digits.get(zeros..).unwrap_or_default() {
        [] if zeros > 0 => 0,
        rest => number::parse_u64(rest)?,
    };
    Some(if negative { magnitude.wrapping_neg() } else { magnitude })
}

fn keys_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let pattern = GlobPattern::new(cx.arg(1), false);
    if let Some(name) = pattern.literal() {
        let key = cx.store.key(name);
        let there = cx.db().peek(key).is_some();
        cx.reply.array(usize::from(there));
        if there {
            cx.reply.bulk(name);
        }
        return Ok(());
    }
    let now_ms = cx.now_ms();
    let list = cx.reply.deferred_array();
    let mut found = 0;
    let db = cx.store.db(cx.db_index);
    for entry in db.iter() {
        let name = entry.key();
        if (pattern.is_all() || pattern.matches(name)) && entry.expire_at().is_none_or(|at| at > now_ms) {
            cx.reply.bulk(name);
            found += 1;
        }
    }
    cx.reply.close(list, found);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::cursor;

    #[test]
    fn cursors_are_read_as_c_reads_them() {
        let cases: &[(&[u8], Option<u64>)] = &[
            (b"0", Some(0)),
            (b"00", Some(0)),
            (b"000000000000000000000000000000000012", Some(12)),
            (b"+5", Some(5)),
            (b" 1", Some(1)),
            (b"\t\n\x0b\x0c\r 7", Some(7)),
            (b" -1", Some(u64::MAX)),
            (b"-0", Some(0)),
            (b"0\0zz", Some(0)),
            (b"18446744073709551615", Some(u64::MAX)),
            (b"-18446744073709551615", Some(1)),
            (b"18446744073709551616", None),
            (b"-18446744073709551616", None),
            (b"-1", None),
            (b"-5", None),
            (b"", None),
            (b" ", None),
            (b"+", None),
            (b"--1", None),
            (b"+-1", None),
            (b"1 ", None),
            (b"0 ", None),
            (b"0x1", None),
            (b"1.5", None),
            (b"\x000", None),
            (b"\x850", None),
            (b"abc", None),
        ];
        for (arg, expected) in cases {
            assert_eq!(cursor(arg), *expected, "{:?}", String::from_utf8_lossy(arg));
        }
    }
}
