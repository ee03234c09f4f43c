//! Commands that write and delete strings: SET and its relatives, several keys at once, and changes in place.
//!
//! SET with a key and a value alone is a path of its own: one search of the table, no look at the options that are not
//! there. A moment in the past, wherever one may be given, removes the key at once.

use super::get::reply_value;
use super::text::{Text, changed, set_and_tell, to_store};
use crate::command::args::{self, ExpiryOption, TimeForm, TimeOption, Words};
use crate::command::effects::EventClass;
use crate::command::spec::{Acl, Arg, ArgKind, BeginSearch, FindKeys, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error};
use crate::store::{BLOB_MIN, ExpireChange, Key, NewStr, Removal, StrView};
use std::sync::Arc;
use weir_resp::BATCH_BYTES_MAX;
use weir_structs::digest::{DIGEST_HEX_LEN, digest_hex};
use weir_structs::number::format_i64;

const WRITE_DENYOOM: Flags = Flags::WRITE.union(Flags::DENYOOM);
const WRITE_DENYOOM_FAST: Flags = Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST);
const WRITE_FAST: Flags = Flags::WRITE.union(Flags::FAST);
const ACL_WRITE_STRING_FAST: Acl = Acl::WRITE.union(Acl::STRING).union(Acl::FAST);
const ACL_WRITE_STRING_SLOW: Acl = Acl::WRITE.union(Acl::STRING).union(Acl::SLOW);
const KEY_OW_INSERT: KeyFlags = KeyFlags::OW.union(KeyFlags::INSERT);
const KEY_OW_UPDATE: KeyFlags = KeyFlags::OW.union(KeyFlags::UPDATE);

/// Commands that write and delete strings.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new("set", -3, WRITE_DENYOOM, ACL_WRITE_STRING_SLOW, Group::String, "1.0.0")
            .keys(&[KeySpec::one(
                1,
                KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE).union(KeyFlags::VARIABLE_FLAGS),
            )
            .notes("Also reads the value for `GET` and conditions on it.")])
            .doc("O(1)", "Stores a string at a key, replacing what was there, under conditions and with an expiry.")
            .history(&[
                ("2.6.12", "Gained the `EX`, `PX`, `NX` and `XX` options."),
                ("6.0.0", "Gained the `KEEPTTL` option."),
                ("6.2.0", "Gained the `GET`, `EXAT` and `PXAT` options."),
                ("7.0.0", "`NX` and `GET` may be combined."),
                ("8.1.0", "Gained the `IFEQ` option."),
                ("8.4.0", "Gained the `IFNE`, `IFDEQ` and `IFDNE` options."),
            ])
            .args(&[
                Arg::key("key", 0),
                Arg::new("value", ArgKind::String),
                Arg::one_of(
                    "condition",
                    &[
                        Arg::word("nx", "NX").since("2.6.12"),
                        Arg::word("xx", "XX").since("2.6.12"),
                        Arg::new("comparison-value", ArgKind::String).token("IFEQ").since("8.1.0"),
                        Arg::new("different-value", ArgKind::String).token("IFNE").since("8.4.0"),
                        Arg::new("digest", ArgKind::String).token("IFDEQ").since("8.4.0"),
                        Arg::new("different-digest", ArgKind::String).token("IFDNE").since("8.4.0"),
                    ],
                )
                .optional(),
                Arg::word("get", "GET").since("6.2.0").optional(),
                Arg::one_of(
                    "expiration",
                    &[
                        Arg::new("seconds", ArgKind::Integer).token("EX").since("2.6.12"),
                        Arg::new("milliseconds", ArgKind::Integer).token("PX").since("2.6.12"),
                        Arg::new("unix-time-seconds", ArgKind::UnixTime).token("EXAT").since("6.2.0"),
                        Arg::new("unix-time-milliseconds", ArgKind::UnixTime).token("PXAT").since("6.2.0"),
                        Arg::word("keepttl", "KEEPTTL").since("6.0.0"),
                    ],
                )
                .optional(),
            ]),
        set_command,
    ),
    Row::new(
        Spec::new("setex", 4, WRITE_DENYOOM, ACL_WRITE_STRING_SLOW, Group::String, "2.0.0")
            .keys(&[KeySpec::one(1, KEY_OW_UPDATE)])
            .doc("O(1)", "Stores a string at a key with an expiry in seconds.")
            .args(&[Arg::key("key", 0), Arg::new("seconds", ArgKind::Integer), Arg::new("value", ArgKind::String)]),
        setex_command,
    ),
    Row::new(
        Spec::new("psetex", 4, WRITE_DENYOOM, ACL_WRITE_STRING_SLOW, Group::String, "2.6.0")
            .keys(&[KeySpec::one(1, KEY_OW_UPDATE)])
            .doc("O(1)", "Stores a string at a key with an expiry in milliseconds.")
            .args(&[
                Arg::key("key", 0),
                Arg::new("milliseconds", ArgKind::Integer),
                Arg::new("value", ArgKind::String),
            ]),
        psetex_command,
    ),
    Row::new(
        Spec::new("setnx", 3, WRITE_DENYOOM_FAST, ACL_WRITE_STRING_FAST, Group::String, "1.0.0")
            .keys(&[KeySpec::one(1, KEY_OW_INSERT)])
            .doc("O(1)", "Stores a string at a key unless the key exists.")
            .args(&[Arg::key("key", 0), Arg::new("value", ArgKind::String)]),
        setnx_command,
    ),
    Row::new(
        Spec::new("getset", 3, WRITE_DENYOOM_FAST, ACL_WRITE_STRING_FAST, Group::String, "1.0.0")
            .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))])
            .doc("O(1)", "Stores a string at a key and returns the one it replaces.")
            .args(&[Arg::key("key", 0), Arg::new("value", ArgKind::String)]),
        getset_command,
    ),
    Row::new(
        Spec::new("mset", -3, WRITE_DENYOOM, ACL_WRITE_STRING_SLOW, Group::String, "1.0.1")
            .keys(&[KeySpec::range(1, -1, 2, KEY_OW_UPDATE)])
            .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
            .doc("O(N) where N is the number of keys.", "Stores strings at several keys in one step.")
            .args(&[Arg::block("data", &[Arg::key("key", 0), Arg::new("value", ArgKind::String)]).multiple()]),
        mset_command,
    ),
    Row::new(
        Spec::new("msetnx", -3, WRITE_DENYOOM, ACL_WRITE_STRING_SLOW, Group::String, "1.0.1")
            .keys(&[KeySpec::range(1, -1, 2, KEY_OW_INSERT)])
            .doc(
                "O(N) where N is the number of keys.",
                "Stores strings at several keys in one step, or at none if any of the keys exists.",
            )
            .args(&[Arg::block("data", &[Arg::key("key", 0), Arg::new("value", ArgKind::String)]).multiple()]),
        msetnx_command,
    ),
    Row::new(
        Spec::new(
            "msetex",
            -4,
            Flags::WRITE.union(Flags::DENYOOM).union(Flags::MOVABLEKEYS),
            ACL_WRITE_STRING_SLOW,
            Group::String,
            "8.4.0",
        )
        .keys(&[KeySpec {
            flags: KEY_OW_UPDATE,
            begin: BeginSearch::Index(1),
            find: FindKeys::KeyNum { count_at: 0, first: 1, step: 2 },
            notes: "",
        }])
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .doc(
            "O(N) where N is the number of keys.",
            "Stores strings at several keys in one step, under a condition and with an expiry.",
        )
        .args(&[
            Arg::new("numkeys", ArgKind::Integer),
            Arg::block("data", &[Arg::key("key", 0), Arg::new("value", ArgKind::String)]).multiple(),
            Arg::one_of("condition", &[Arg::word("nx", "NX"), Arg::word("xx", "XX")]).optional(),
            Arg::one_of(
                "expiration",
                &[
                    Arg::new("seconds", ArgKind::Integer).token("EX"),
                    Arg::new("milliseconds", ArgKind::Integer).token("PX"),
                    Arg::new("unix-time-seconds", ArgKind::UnixTime).token("EXAT"),
                    Arg::new("unix-time-milliseconds", ArgKind::UnixTime).token("PXAT"),
                    Arg::word("keepttl", "KEEPTTL"),
                ],
            )
            .optional(),
        ]),
        msetex_command,
    ),
    Row::new(
        Spec::new("append", 3, WRITE_DENYOOM_FAST, ACL_WRITE_STRING_FAST, Group::String, "2.0.0")
            .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::INSERT))])
            .doc(
                "O(1) amortized, not counting the N bytes that are appended.",
                "Adds bytes to the end of the string at a key, creating it where missing.",
            )
            .args(&[Arg::key("key", 0), Arg::new("value", ArgKind::String)]),
        append_command,
    ),
    Row::new(
        Spec::new("setrange", 4, WRITE_DENYOOM, ACL_WRITE_STRING_SLOW, Group::String, "2.2.0")
            .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))])
            .doc(
                "O(M) where M is the length of the value, O(1) for a small one.",
                "Overwrites part of a string from an offset on, padding a short one with zero bytes.",
            )
            .args(&[Arg::key("key", 0), Arg::new("offset", ArgKind::Integer), Arg::new("value", ArgKind::String)]),
        setrange_command,
    ),
    Row::new(
        Spec::new("delifeq", 3, WRITE_FAST, ACL_WRITE_STRING_FAST, Group::String, "9.0.0")
            .keys(&[KeySpec::one(1, KeyFlags::RM.union(KeyFlags::DELETE))])
            .doc("O(1)", "Deletes a key if its string equals a given value.")
            .args(&[Arg::key("key", 0), Arg::new("value", ArgKind::String)]),
        delifeq_command,
    ),
    Row::new(
        Spec::new("delex", -2, WRITE_FAST, ACL_WRITE_STRING_FAST, Group::String, "8.4.0")
            .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::DELETE).union(KeyFlags::VARIABLE_FLAGS))
                .notes("Reads the value too if there is a condition.")])
            .doc(
                "O(1), with `IFDEQ` or `IFDNE` O(N) where N is the length of the string.",
                "Deletes a key, optionally only if its string or that string's digest compares as asked.",
            )
            .args(&[
                Arg::key("key", 0),
                Arg::one_of(
                    "condition",
                    &[
                        Arg::new("value", ArgKind::String).token("IFEQ"),
                        Arg::new("different-value", ArgKind::String).token("IFNE"),
                        Arg::new("digest", ArgKind::String).token("IFDEQ"),
                        Arg::new("different-digest", ArgKind::String).token("IFDNE"),
                    ],
                )
                .optional(),
            ]),
        delex_command,
    ),
];

/// Under which condition a key is written or deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Condition<'a> {
    Always,
    Absent,
    Present,
    Equals(&'a [u8]),
    Differs(&'a [u8]),
    DigestEquals(&'a [u8]),
    DigestDiffers(&'a [u8]),
}

impl<'a> Condition<'a> {
    /// Takes the next word if it is `NX` or `XX`. Saying the same twice is fine.
    fn take_existence(words: &mut Words<'a>, so_far: &mut Condition<'a>) -> Result<bool, Error> {
        let taken = if words.accept("NX") {
            Condition::Absent
        } else if words.accept("XX") {
            Condition::Present
        } else {
            return Ok(false);
        };
        if *so_far != Condition::Always && *so_far != taken {
            return Err(Error::SYNTAX);
        }
        *so_far = taken;
        Ok(true)
    }

    /// Takes the next two words if they compare the value or its digest.
    fn take_comparison(words: &mut Words<'a>) -> Result<Option<Condition<'a>>, Error> {
        let make: fn(&'a [u8]) -> Condition<'a> = if words.accept("IFEQ") {
            Condition::Equals
        } else if words.accept("IFNE") {
            Condition::Differs
        } else if words.accept("IFDEQ") {
            Condition::DigestEquals
        } else if words.accept("IFDNE") {
            Condition::DigestDiffers
        } else {
            return Ok(None);
        };
        words.expect().map(|word| Some(make(word)))
    }

    /// Whether it holds for a string that is there.
    ///
    /// # Errors
    /// Its digest is none.
    fn holds_for(self, value: &StrView<'_>) -> Result<bool, Error> {
        let text = Text::of(value);
        match self {
            Condition::Always | Condition::Present => Ok(true),
            Condition::Absent => Ok(false),
            Condition::Equals(wanted) => Ok(*text == *wanted),
            Condition::Differs(other) => Ok(*text != *other),
            Condition::DigestEquals(wanted) => has_digest(&text, wanted),
            Condition::DigestDiffers(other) => has_digest(&text, other).map(|has| !has),
        }
    }

    /// Whether it holds now for a key of any type.
    ///
    /// # Errors
    /// It compares, and the value is no string; its digest is none.
    fn holds(self, cx: &mut Cx<'_>, key: Key<'_>) -> Result<bool, Error> {
        match self {
            Condition::Always => Ok(true),
            Condition::Absent => Ok(cx.db().get_mut(key).is_none()),
            Condition::Present => Ok(cx.db().get_mut(key).is_some()),
            comparison => match cx.db().get_mut(key) {
                Some(entry) => comparison.holds_for(&entry.str().ok_or(Error::WRONG_TYPE)?),
                // What is not there differs from everything.
                None => Ok(matches!(comparison, Condition::Differs(_) | Condition::DigestDiffers(_))),
            },
        }
    }
}

/// Whether a text's digest is this one, its digits in either case.
fn has_digest(text: &[u8], digest: &[u8]) -> Result<bool, Error> {
    if digest.len() != DIGEST_HEX_LEN {
        return Err(Error::NOT_DIGEST);
    }
    Ok(digest_hex(text).eq_ignore_ascii_case(digest))
}

fn set_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (key, value) = (cx.key(1), cx.arg(2));
    if cx.argc() > 3 {
        return set_with_options(cx, key, value);
    }
    set_and_tell(cx, key, value, ExpireChange::Clear);
    cx.reply.ok();
    Ok(())
}

fn set_with_options(cx: &mut Cx<'_>, key: Key<'_>, value: &[u8]) -> Result<(), Error> {
    let (mut condition, mut get, mut expiry) = (Condition::Always, false, None);
    let mut words = cx.words(3);
    while words.peek().is_some() {
        if ExpiryOption::take(&mut words, &mut expiry, ExpiryOption::Keep)?
            || Condition::take_existence(&mut words, &mut condition)?
        {
            continue;
        }
        if words.accept("GET") {
            get = true;
        } else if condition == Condition::Always
            && let Some(comparison) = Condition::take_comparison(&mut words)?
        {
            condition = comparison;
        } else {
            return Err(Error::SYNTAX);
        }
    }
    let change = expire_change(expiry, "set", cx.now_ms())?;

    let holds = condition.holds(cx, key)?;
    if get {
        reply_value(cx, key)?;
    } else if holds {
        cx.reply.ok();
    } else {
        cx.reply.null();
    }
    if holds {
        feed_set(cx, key, value, change);
        set_unless_past(cx, key, value, change);
    }
    Ok(())
}

/// What an expiry option of a command means for the deadlines of the keys that it sets.
fn expire_change(expiry: Option<ExpiryOption<'_>>, command: &str, now_ms: i64) -> Result<ExpireChange, Error> {
    Ok(match expiry {
        None | Some(ExpiryOption::Persist) => ExpireChange::Clear,
        Some(ExpiryOption::Keep) => ExpireChange::Keep,
        Some(ExpiryOption::At(time)) => ExpireChange::At(time.unix_ms(command, now_ms)?),
    })
}

/// Has SET repeated without its conditions, which hold, and with the deadline as a moment.
pub(super) fn feed_set(cx: &mut Cx<'_>, key: Key<'_>, value: &[u8], change: ExpireChange) {
    let words: [&[u8]; 3] = [b"SET", key.name, value];
    match change {
        ExpireChange::Clear => cx.effects.feed_as(&words),
        ExpireChange::Keep => cx.effects.feed_as(&[words[0], words[1], words[2], b"KEEPTTL"]),
        // That it is gone is told as of every key that expired.
        ExpireChange::At(at) if at <= cx.due_ms() => cx.effects.feed_nothing(),
        ExpireChange::At(at) => {
            cx.effects.feed_as(&[words[0], words[1], words[2], b"PXAT", &format_i64(at)]);
        }
    }
}

/// Sets a key, or removes it where the deadline is past already.
fn set_unless_past(cx: &mut Cx<'_>, key: Key<'_>, value: &[u8], change: ExpireChange) {
    match change {
        ExpireChange::At(at) if at <= cx.due_ms() => {
            if cx.db().expire_now(key) == Removal::Removed {
                cx.effects.changed(1);
            }
        }
        _ => set_and_tell(cx, key, value, change),
    }
}

fn setex_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    set_for(cx, TimeForm::Seconds, "setex")
}

fn psetex_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    set_for(cx, TimeForm::Milliseconds, "psetex")
}

fn set_for(cx: &mut Cx<'_>, form: TimeForm, command: &str) -> Result<(), Error> {
    let expire_at = TimeOption { form, number: cx.arg(2) }.unix_ms(command, cx.now_ms())?;
    let (key, value) = (cx.key(1), cx.arg(3));
    feed_set(cx, key, value, ExpireChange::At(expire_at));
    set_and_tell(cx, key, value, ExpireChange::At(expire_at));
    cx.reply.ok();
    Ok(())
}

fn setnx_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (key, value) = (cx.key(1), cx.arg(2));
    let absent = Condition::Absent.holds(cx, key)?;
    if absent {
        set_and_tell(cx, key, value, ExpireChange::Clear);
    }
    cx.reply.int(i64::from(absent));
    Ok(())
}

fn getset_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (key, value) = (cx.key(1), cx.arg(2));
    reply_value(cx, key)?;
    feed_set(cx, key, value, ExpireChange::Clear);
    set_and_tell(cx, key, value, ExpireChange::Clear);
    Ok(())
}

fn mset_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let pairs = Pairs::all(cx, "mset")?;
    pairs.set(cx, ExpireChange::Clear);
    cx.reply.ok();
    Ok(())
}

fn msetnx_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let pairs = Pairs::all(cx, "msetnx")?;
    let hold = pairs.hold(cx, Condition::Absent)?;
    if hold {
        pairs.set(cx, ExpireChange::Clear);
    }
    cx.reply.int(i64::from(hold));
    Ok(())
}

fn msetex_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let count = args::int_in(cx.arg(1), 1, i64::from(i32::MAX)).map_err(|_| Error::INVALID_NUMKEYS)?;
    let pairs = usize::try_from(count)
        .ok()
        .and_then(|count| count.checked_mul(2)?.checked_add(2))
        .filter(|&end| end <= cx.argc())
        .map(|end| Pairs { at: 2, end })
        .ok_or(Error::SYNTAX)?;
    let (mut condition, mut expiry) = (Condition::Always, None);
    let mut words = cx.words(pairs.end);
    while words.peek().is_some() {
        if !ExpiryOption::take(&mut words, &mut expiry, ExpiryOption::Keep)?
            && !Condition::take_existence(&mut words, &mut condition)?
        {
            return Err(Error::SYNTAX);
        }
    }
    let change = expire_change(expiry, "msetex", cx.now_ms())?;
    let hold = pairs.hold(cx, condition)?;
    if hold {
        pairs.feed(cx, change);
        pairs.set(cx, change);
    }
    cx.reply.int(i64::from(hold));
    Ok(())
}

/// Keys and values in turn, from argument `at` to before `end`.
#[derive(Clone, Copy, Debug)]
struct Pairs {
    at: usize,
    end: usize,
}

impl Pairs {
    /// All arguments.
    fn all(cx: &Cx<'_>, command: &str) -> Result<Pairs, Error> {
        if cx.argc().is_multiple_of(2) {
            return Err(Error::arity(command));
        }
        Ok(Pairs { at: 1, end: cx.argc() })
    }

    /// Whether a condition holds for every key.
    fn hold(self, cx: &mut Cx<'_>, condition: Condition<'_>) -> Result<bool, Error> {
        if condition == Condition::Always {
            return Ok(true);
        }
        let argv = cx.argv;
        let mut names = argv.iter().take(self.end).skip(self.at).step_by(2);
        loop {
            let window = cx.store.key_window(cx.db_index, &mut names);
            if window.is_empty() {
                return Ok(true);
            }
            for &key in window.keys() {
                if !condition.holds(cx, key)? {
                    return Ok(false);
                }
            }
        }
    }

    /// Has MSETEX repeated without its conditions, which hold, and with the deadline as a moment.
    fn feed(self, cx: &mut Cx<'_>, change: ExpireChange) {
        let at_ms;
        let options: &[&[u8]] = match change {
            ExpireChange::Clear => &[],
            ExpireChange::Keep => &[b"KEEPTTL"],
            ExpireChange::At(at) if at <= cx.due_ms() => return cx.effects.feed_nothing(),
            ExpireChange::At(at) => {
                at_ms = format_i64(at);
                &[b"PXAT", &at_ms]
            }
        };
        let argv = cx.argv;
        let words = argv.iter().take(self.end).chain(options.iter().copied());
        cx.effects.feed_words(self.end + options.len(), words);
    }

    /// Sets them all.
    fn set(self, cx: &mut Cx<'_>, change: ExpireChange) {
        let argv = cx.argv;
        let mut names = argv.iter().take(self.end).skip(self.at).step_by(2);
        let mut values = argv.iter().take(self.end).skip(self.at + 1).step_by(2);
        loop {
            let window = cx.store.key_window(cx.db_index, &mut names);
            if window.is_empty() {
                return;
            }
            for (&key, value) in window.keys().iter().zip(&mut values) {
                set_unless_past(cx, key, value, change);
            }
        }
    }
}

fn append_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (key, tail) = (cx.key(1), cx.arg(2));
    let len_max = cx.config.proto_max_bulk_len;
    if let Some(mut entry) = cx.db().get_mut(key) {
        let len = Text::of(&entry.str().ok_or(Error::WRONG_TYPE)?).len();
        check_len(len, tail.len(), len_max)?;
        let len = entry.append(tail);
        changed(cx, key, false, "append");
        cx.reply.count(len);
    } else {
        cx.db().set(key, to_store(tail), ExpireChange::Clear);
        changed(cx, key, true, "append");
        cx.reply.count(tail.len());
    }
    Ok(())
}

fn setrange_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let offset = cx.int(2)?;
    let offset = u64::try_from(offset).map_err(|_| Error::OFFSET_OUT_OF_RANGE)?;
    // What does not fit is too long as well.
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    let (key, patch) = (cx.key(1), cx.arg(3));
    let len_max = cx.config.proto_max_bulk_len;
    if let Some(mut entry) = cx.db().get_mut(key) {
        let len = Text::of(&entry.str().ok_or(Error::WRONG_TYPE)?).len();
        if patch.is_empty() {
            cx.reply.count(len);
            return Ok(());
        }
        check_len(offset, patch.len(), len_max)?;
        let len = entry.overwrite(offset, patch);
        changed(cx, key, false, "setrange");
        cx.reply.count(len);
    } else {
        if patch.is_empty() {
            cx.reply.int(0);
            return Ok(());
        }
        check_len(offset, patch.len(), len_max)?;
        let len = offset + patch.len();
        let mut value = vec![0; len];
        value[offset..].copy_from_slice(patch);
        let value = if len > BLOB_MIN { NewStr::Blob(Arc::new(value)) } else { NewStr::Raw(&value) };
        cx.db().set(key, value, ExpireChange::Clear);
        changed(cx, key, true, "setrange");
        cx.reply.count(len);
    }
    Ok(())
}

/// Refuses strings that would become too long.
fn check_len(len: usize, more: usize, len_max: u64) -> Result<(), Error> {
    match len.checked_add(more) {
        Some(len) if len as u64 <= len_max && len <= BATCH_BYTES_MAX => Ok(()),
        _ => Err(Error::STRING_TOO_LONG),
    }
}

fn delifeq_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (key, value) = (cx.key(1), cx.arg(2));
    delete_if(cx, key, Condition::Equals(value), Error::WRONG_TYPE)
}

fn delex_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let key = cx.key(1);
    let condition = match cx.argc() {
        2 => Condition::Always,
        4 => Condition::take_comparison(&mut cx.words(2))?.ok_or(Error::INVALID_CONDITION)?,
        _ => return Err(Error::arity("delex")),
    };
    delete_if(cx, key, condition, Error::CONDITION_NEEDS_STRING)
}

/// Deletes a key if a condition holds. A missing key is not deleted, whatever the condition says of it.
fn delete_if(cx: &mut Cx<'_>, key: Key<'_>, condition: Condition<'_>, no_string: Error) -> Result<(), Error> {
    let deleted = match cx.db().get_mut(key) {
        None => false,
        Some(entry) => {
            let holds = match (condition, entry.str()) {
                (Condition::Always, _) => true,
                (_, Some(value)) => condition.holds_for(&value)?,
                (_, None) => return Err(no_string),
            };
            if holds {
                entry.remove();
            }
            holds
        }
    };
    if deleted {
        cx.effects.feed_as(&[b"DEL", key.name]);
        cx.effects.changed(1);
        cx.effects.event(EventClass::GENERIC, "del", key.name, cx.db_index);
    }
    cx.reply.int(i64::from(deleted));
    Ok(())
}
