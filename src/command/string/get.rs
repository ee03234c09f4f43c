//! Commands that read strings: GET and what else returns a value, a part of it, or something computed from it.
//!
//! GET is the commonest command there is: one look-up, and either the bytes are copied into the reply or, if they are many,
//! the reply refers to them. Nothing is allocated on the way.

use super::text::{KeptText, Text, with_string};
use crate::command::args::ExpiryOption;
use crate::command::effects::EventClass;
use crate::command::generic::expire::{Conditions, drop_deadline, set_deadline};
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error};
use crate::store::{Key, Removal};
use std::ops::Range;
use weir_structs::digest::digest_hex;
use weir_structs::lcs::{self, LcsError};

const READONLY_FAST: Flags = Flags::READONLY.union(Flags::FAST);
const WRITE_FAST: Flags = Flags::WRITE.union(Flags::FAST);
const ACL_READ_STRING_FAST: Acl = Acl::READ.union(Acl::STRING).union(Acl::FAST);
const ACL_READ_STRING_SLOW: Acl = Acl::READ.union(Acl::STRING).union(Acl::SLOW);
const ACL_WRITE_STRING_FAST: Acl = Acl::WRITE.union(Acl::STRING).union(Acl::FAST);
const KEY_RO_ACCESS: KeyFlags = KeyFlags::RO.union(KeyFlags::ACCESS);

/// Commands that read strings.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new("get", 2, READONLY_FAST, ACL_READ_STRING_FAST, Group::String, "1.0.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc("O(1)", "Returns the string at a key.")
            .args(&[Arg::key("key", 0)]),
        get_command,
    ),
    Row::new(
        Spec::new("getdel", 2, WRITE_FAST, ACL_WRITE_STRING_FAST, Group::String, "6.2.0")
            .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE))])
            .doc("O(1)", "Returns the string at a key and deletes the key.")
            .args(&[Arg::key("key", 0)]),
        getdel_command,
    ),
    Row::new(
        Spec::new("getex", -2, WRITE_FAST, ACL_WRITE_STRING_FAST, Group::String, "6.2.0")
            .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))
                .notes("Changes the expiry, hence RW and UPDATE.")])
            .doc("O(1)", "Returns the string at a key and sets or removes the key's expiry.")
            .args(&[
                Arg::key("key", 0),
                Arg::one_of(
                    "expiration",
                    &[
                        Arg::new("seconds", ArgKind::Integer).token("EX"),
                        Arg::new("milliseconds", ArgKind::Integer).token("PX"),
                        Arg::new("unix-time-seconds", ArgKind::UnixTime).token("EXAT"),
                        Arg::new("unix-time-milliseconds", ArgKind::UnixTime).token("PXAT"),
                        Arg::word("persist", "PERSIST"),
                    ],
                )
                .optional(),
            ]),
        getex_command,
    ),
    Row::new(
        Spec::new("getrange", 4, Flags::READONLY, ACL_READ_STRING_SLOW, Group::String, "2.4.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc(
                "O(N) where N is the length of the returned string.",
                "Returns the part of a string between two offsets.",
            )
            .args(&[Arg::key("key", 0), Arg::new("start", ArgKind::Integer), Arg::new("end", ArgKind::Integer)]),
        getrange_command,
    ),
    Row::new(
        Spec::new("substr", 4, Flags::READONLY, ACL_READ_STRING_SLOW, Group::String, "1.0.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc(
                "O(N) where N is the length of the returned string.",
                "Returns the part of a string between two offsets; the former name of `GETRANGE`.",
            )
            .args(&[Arg::key("key", 0), Arg::new("start", ArgKind::Integer), Arg::new("end", ArgKind::Integer)]),
        substr_command,
    ),
    Row::new(
        Spec::new("strlen", 2, READONLY_FAST, ACL_READ_STRING_FAST, Group::String, "2.2.0")
            .keys(&[KeySpec::one(1, KeyFlags::RO)])
            .doc("O(1)", "Returns how many bytes the string at a key has.")
            .args(&[Arg::key("key", 0)]),
        strlen_command,
    ),
    Row::new(
        Spec::new("mget", -2, READONLY_FAST, ACL_READ_STRING_FAST, Group::String, "1.0.0")
            .keys(&[KeySpec::range(1, -1, 1, KEY_RO_ACCESS)])
            .tips(&["request_policy:multi_shard"])
            .doc("O(N) where N is the number of keys.", "Returns the strings at several keys in one step.")
            .args(&[Arg::key("key", 0).multiple()]),
        mget_command,
    ),
    Row::new(
        Spec::new("lcs", -3, Flags::READONLY, ACL_READ_STRING_SLOW, Group::String, "7.0.0")
            .keys(&[KeySpec::range(1, 1, 1, KEY_RO_ACCESS)])
            .doc(
                "O(N*M) where N and M are the lengths of the two strings.",
                "Finds the longest common subsequence of two strings.",
            )
            .args(&[
                Arg::key("key1", 0),
                Arg::key("key2", 0),
                Arg::word("len", "LEN").optional(),
                Arg::word("idx", "IDX").optional(),
                Arg::new("min-match-len", ArgKind::Integer).token("MINMATCHLEN").optional(),
                Arg::word("withmatchlen", "WITHMATCHLEN").optional(),
            ]),
        lcs_command,
    ),
    Row::new(
        Spec::new("digest", 2, READONLY_FAST, ACL_READ_STRING_FAST, Group::String, "8.4.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc(
                "O(N) where N is the length of the string.",
                "Returns the XXH3 hash of the string at a key as 16 hexadecimal digits.",
            )
            .args(&[Arg::key("key", 0)]),
        digest_command,
    ),
];

fn get_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let key = cx.key(1);
    reply_value(cx, key)
}

/// Replies with the string at a key, or null.
#[inline]
pub(super) fn reply_value(cx: &mut Cx<'_>, key: Key<'_>) -> Result<(), Error> {
    with_string(cx, key, |reply, value| match value {
        Some(value) => reply.string(&value),
        None => reply.null(),
    })
}

fn getdel_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let key = cx.key(1);
    reply_value(cx, key)?;
    if cx.db().remove(key) == Removal::Removed {
        cx.effects.feed_as(&[b"DEL", key.name]);
        cx.effects.changed(1);
        cx.effects.event(EventClass::GENERIC, "del", key.name, cx.db_index);
    }
    Ok(())
}

fn getex_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let mut words = cx.words(2);
    let mut option = None;
    while words.peek().is_some() {
        if !ExpiryOption::take(&mut words, &mut option, ExpiryOption::Persist)? {
            return Err(Error::SYNTAX);
        }
    }
    let expire_at = match option {
        Some(ExpiryOption::At(time)) => Some(time.unix_ms("getex", cx.now_ms())?),
        _ => None,
    };
    let key = cx.key(1);
    reply_value(cx, key)?;
    if let Some(at) = expire_at {
        set_deadline(cx, key, at, Conditions::default());
    } else if option == Some(ExpiryOption::Persist) {
        drop_deadline(cx, key);
    }
    Ok(())
}

fn getrange_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (start, end) = (cx.int(2)?, cx.int(3)?);
    let key = cx.key(1);
    with_string(cx, key, |reply, value| {
        let Some(value) = value else { return reply.bulk(b"") };
        let text = Text::of(&value);
        match bytes_between(text.len(), start, end) {
            Some(all) if all.len() == text.len() => reply.string(&value),
            range => reply.bulk(range.and_then(|r| text.get(r)).unwrap_or_default()),
        }
    })
}

fn substr_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    getrange_command(cx)
}

/// The part of `len` bytes from `start` to `end`, both included, negative ones counted from the end. A negative offset
/// from before the first byte is the first byte, even as an end; `None` if nothing is between.
fn bytes_between(len: usize, start: i64, end: i64) -> Option<Range<usize>> {
    if start < 0 && end < 0 && start > end {
        return None;
    }
    let len_signed = i64::try_from(len).ok()?;
    let from_front = |at: i64| if at < 0 { at.saturating_add(len_signed).max(0) } else { at };
    let (start, end) = (from_front(start), from_front(end).min(len_signed - 1));
    if start > end {
        return None;
    }
    Some(usize::try_from(start).ok()?..usize::try_from(end).ok()? + 1)
}

fn strlen_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let key = cx.key(1);
    with_string(cx, key, |reply, value| reply.count(value.map_or(0, |v| Text::of(&v).len())))
}

fn mget_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (argv, db_index) = (cx.argv, cx.db_index);
    cx.reply.array(argv.len() - 1);
    let mut names = argv.iter().skip(1);
    loop {
        let window = cx.store.key_window(db_index, &mut names);
        if window.is_empty() {
            return Ok(());
        }
        for &key in window.keys() {
            match cx.store.db(db_index).get(key).map(|entry| entry.str()) {
                Some(Some(value)) => cx.reply.string(&value),
                // A value of another type is null here, not an error.
                Some(None) => cx.reply.null(),
                None => {
                    cx.effects.event(EventClass::MISS, "keymiss", key.name, db_index);
                    cx.reply.null();
                }
            }
        }
    }
}

fn lcs_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let wrong_type = |_| Error::LCS_NEEDS_STRINGS;
    let (a, b) = (cx.key(1), cx.key(2));
    // Both keys are looked at, hits and misses counted, before either type is judged.
    let a = with_string(cx, a, |_, value| KeptText::of(value));
    let b = with_string(cx, b, |_, value| KeptText::of(value));
    let (a, b) = (a.map_err(wrong_type)?, b.map_err(wrong_type)?);

    let (mut len_only, mut runs, mut run_lens, mut run_len_min) = (false, false, false, 0);
    let mut words = cx.words(3);
    while words.peek().is_some() {
        if words.accept("IDX") {
            runs = true;
        } else if words.accept("LEN") {
            len_only = true;
        } else if words.accept("WITHMATCHLEN") {
            run_lens = true;
        } else if words.accept("MINMATCHLEN") {
            run_len_min = usize::try_from(words.expect_int()?).unwrap_or(0);
        } else {
            return Err(Error::SYNTAX);
        }
    }
    if len_only && runs {
        return Err(Error::LCS_LEN_AND_IDX);
    }

    let refused = |error: LcsError| Error::new(format!("ERR {error}"));
    lcs::check_size(a.len(), b.len(), cx.config.proto_max_bulk_len).map_err(refused)?;
    if len_only {
        let len = lcs::lcs_len(&a, &b).map_err(refused)?;
        cx.reply.count(len);
        return Ok(());
    }
    let found = lcs::lcs(&a, &b).map_err(refused)?;
    if !runs {
        cx.reply.bulk(&found.text);
        return Ok(());
    }
    let reply = &mut cx.reply;
    reply.map(2);
    reply.text("matches");
    reply.array(found.matches_of_at_least(run_len_min).count());
    for run in found.matches_of_at_least(run_len_min) {
        reply.array(2 + usize::from(run_lens));
        for range in [&run.a, &run.b] {
            reply.array(2);
            reply.count(*range.start());
            reply.count(*range.end());
        }
        if run_lens {
            reply.count(run.run_len());
        }
    }
    reply.text("len");
    reply.count(found.text.len());
    Ok(())
}

fn digest_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let key = cx.key(1);
    with_string(cx, key, |reply, value| match value {
        Some(value) => reply.bulk(&digest_hex(&Text::of(&value))),
        None => reply.null(),
    })
}

#[cfg(test)]
mod tests {
    use super::bytes_between;

    #[test]
    fn ranges_are_cut_to_the_string() {
        let cases = [
            (11, 0, 4, Some(0..5)),
            (11, 0, -1, Some(0..11)),
            (11, -5, -1, Some(6..11)),
            (11, 6, 100, Some(6..11)),
            (11, -1, -5, None),
            (11, 5, 3, None),
            (11, 11, 20, None),
            (11, -100, -50, Some(0..1)),
            (11, 0, -100, Some(0..1)),
            (5, i64::MIN, i64::MAX, Some(0..5)),
            (5, i64::MIN, i64::MIN, Some(0..1)),
            (5, i64::MAX, i64::MAX, None),
            (0, 0, -1, None),
            (0, 0, 0, None),
        ];
        for (len, start, end, expected) in cases {
            assert_eq!(bytes_between(len, start, end), expected, "{len} {start} {end}");
        }
    }
}
