//! Commands that count.
//!
//! Integers are kept as integers and counted in place. Floating point numbers are kept as the text that the last increment
//! replied, and computed with the precision of the x87's 80 bits, as clients of Redis see it.

use super::set::feed_set;
use super::text::{Text, changed};
use crate::command::args::{self, ExpiryOption};
use crate::command::effects::EventClass;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error};
use crate::store::{ExpireChange, Key, NewStr, Removal, StrView};
use weir_structs::decimal::{self, IncrementError, LongDouble};
use weir_structs::number;

const WRITE_DENYOOM_FAST: Flags = Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST);
const ACL_WRITE_STRING_FAST: Acl = Acl::WRITE.union(Acl::STRING).union(Acl::FAST);
const KEY_RW_ACCESS_UPDATE: KeyFlags = KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE);

/// Commands that count.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new("incr", 2, WRITE_DENYOOM_FAST, ACL_WRITE_STRING_FAST, Group::String, "1.0.0")
            .keys(&[KeySpec::one(1, KEY_RW_ACCESS_UPDATE)])
            .doc("O(1)", "Adds one to the integer at a key, a missing key counting as 0.")
            .args(&[Arg::key("key", 0)]),
        incr_command,
    ),
    Row::new(
        Spec::new("decr", 2, WRITE_DENYOOM_FAST, ACL_WRITE_STRING_FAST, Group::String, "1.0.0")
            .keys(&[KeySpec::one(1, KEY_RW_ACCESS_UPDATE)])
            .doc("O(1)", "Subtracts one from the integer at a key, a missing key counting as 0.")
            .args(&[Arg::key("key", 0)]),
        decr_command,
    ),
    Row::new(
        Spec::new("incrby", 3, WRITE_DENYOOM_FAST, ACL_WRITE_STRING_FAST, Group::String, "1.0.0")
            .keys(&[KeySpec::one(1, KEY_RW_ACCESS_UPDATE)])
            .doc("O(1)", "Adds an integer to the integer at a key, a missing key counting as 0.")
            .args(&[Arg::key("key", 0), Arg::new("increment", ArgKind::Integer)]),
        incrby_command,
    ),
    Row::new(
        Spec::new("decrby", 3, WRITE_DENYOOM_FAST, ACL_WRITE_STRING_FAST, Group::String, "1.0.0")
            .keys(&[KeySpec::one(1, KEY_RW_ACCESS_UPDATE)])
            .doc("O(1)", "Subtracts an integer from the integer at a key, a missing key counting as 0.")
            .args(&[Arg::key("key", 0), Arg::new("decrement", ArgKind::Integer)]),
        decrby_command,
    ),
    Row::new(
        Spec::new("incrbyfloat", 3, WRITE_DENYOOM_FAST, ACL_WRITE_STRING_FAST, Group::String, "2.6.0")
            .keys(&[KeySpec::one(1, KEY_RW_ACCESS_UPDATE)])
            .doc("O(1)", "Adds a floating point number to the number at a key, a missing key counting as 0.")
            .args(&[Arg::key("key", 0), Arg::new("increment", ArgKind::Double)]),
        incrbyfloat_command,
    ),
    Row::new(
        Spec::new("increx", -2, WRITE_DENYOOM_FAST, ACL_WRITE_STRING_FAST, Group::String, "8.8.0")
            .keys(&[KeySpec::one(1, KEY_RW_ACCESS_UPDATE)])
            .doc("O(1)", "Adds to the number at a key within bounds and sets or removes the key's expiry.")
            .args(&[
                Arg::key("key", 0),
                Arg::one_of(
                    "increment",
                    &[
                        Arg::new("float-increment", ArgKind::Double).token("BYFLOAT"),
                        Arg::new("integer-increment", ArgKind::Integer).token("BYINT"),
                    ],
                )
                .optional(),
                Arg::new("lower-bound", ArgKind::String).token("LBOUND").optional(),
                Arg::new("upper-bound", ArgKind::String).token("UBOUND").optional(),
                Arg::word("saturate", "SATURATE").optional(),
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
                Arg::word("enx", "ENX").optional(),
            ]),
        increx_command,
    ),
];

fn incr_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    count(cx, 1)
}

fn decr_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    count(cx, -1)
}

fn incrby_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let by = cx.int(2)?;
    count(cx, by)
}

fn decrby_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let by = cx.int(2)?.checked_neg().ok_or(Error::DECREMENT_OVERFLOW)?;
    count(cx, by)
}

fn count(cx: &mut Cx<'_>, by: i64) -> Result<(), Error> {
    let key = cx.key(1);
    if let Some(mut entry) = cx.db().get_mut(key) {
        let old = integer(&entry.str().ok_or(Error::WRONG_TYPE)?)?;
        let new = old.checked_add(by).ok_or(Error::OVERFLOW)?;
        entry.set_int(new);
        changed(cx, key, false, "incrby");
        cx.reply.int(new);
    } else {
        cx.db().set(key, NewStr::Int(by), ExpireChange::Clear);
        changed(cx, key, true, "incrby");
        cx.reply.int(by);
    }
    Ok(())
}

/// The integer that a string is.
#[inline]
fn integer(value: &StrView<'_>) -> Result<i64, Error> {
    match value {
        StrView::Int(int) => Ok(*int),
        other => args::int(&Text::of(other)),
    }
}

fn incrbyfloat_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (key, by) = (cx.key(1), cx.arg(2));
    let refused = |error| match error {
        IncrementError::NotAFloat => Error::NOT_FLOAT,
        IncrementError::NotFinite => Error::NAN_OR_INFINITY,
    };
    let text;
    if let Some(mut entry) = cx.db().get_mut(key) {
        text = decimal::increment(&Text::of(&entry.str().ok_or(Error::WRONG_TYPE)?), by).map_err(refused)?;
        entry.set_str(NewStr::Bytes(&text));
        changed(cx, key, false, "incrbyfloat");
    } else {
        text = decimal::increment(b"0", by).map_err(refused)?;
        cx.db().set(key, NewStr::Bytes(&text), ExpireChange::Clear);
        changed(cx, key, true, "incrbyfloat");
    }
    cx.effects.feed_as(&[b"SET", key.name, &text, b"KEEPTTL"]);
    cx.reply.bulk(&text);
    Ok(())
}

/// The arguments of INCREX, its numbers still text: which kind they are follows from all of the options.
#[derive(Clone, Copy, Default)]
struct BoundedCount<'a> {
    by_int: Option<&'a [u8]>,
    by_float: Option<&'a [u8]>,
    lower: Option<&'a [u8]>,
    upper: Option<&'a [u8]>,
    saturate: bool,
    expiry: Option<ExpiryOption<'a>>,
    /// The expiry is only for a key that has none.
    expiry_if_none: bool,
}

impl<'a> BoundedCount<'a> {
    fn read(mut words: args::Words<'a>) -> Result<BoundedCount<'a>, Error> {
        let mut read = BoundedCount::default();
        while words.peek().is_some() {
            // No option may be given twice.
            let expires_already = read.expiry.is_some();
            if ExpiryOption::take(&mut words, &mut read.expiry, ExpiryOption::Persist)? {
                if expires_already {
                    return Err(Error::SYNTAX);
                }
                continue;
            }
            let number = if words.accept("BYINT") {
                &mut read.by_int
            } else if words.accept("BYFLOAT") {
                &mut read.by_float
            } else if words.accept("LBOUND") {
                &mut read.lower
            } else if words.accept("UBOUND") {
                &mut read.upper
            } else {
                let flag = if words.accept("SATURATE") {
                    &mut read.saturate
                } else if words.accept("ENX") {
                    &mut read.expiry_if_none
                } else {
                    return Err(Error::SYNTAX);
                };
                if std::mem::replace(flag, true) {
                    return Err(Error::SYNTAX);
                }
                continue;
            };
            if number.replace(words.expect()?).is_some() {
                return Err(Error::SYNTAX);
            }
        }
        let two_kinds = read.by_int.is_some() && read.by_float.is_some();
        if two_kinds || (read.expiry_if_none && read.expiry == Some(ExpiryOption::Persist)) {
            return Err(Error::SYNTAX);
        }
        if read.expiry_if_none && read.expiry.is_none() {
            return Err(Error::ENX_NEEDS_EXPIRY);
        }
        Ok(read)
    }
}

/// What became of a bounded increment.
enum Step<T> {
    /// It would leave the bounds; the value is as it was.
    Refused { value: T },
    /// The value is now this, by as much more.
    Done { value: T, by: T },
}

fn increx_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let count = BoundedCount::read(cx.words(2))?;
    if count.by_float.is_some() { increx_float(cx, &count) } else { increx_int(cx, &count) }
}

fn increx_int(cx: &mut Cx<'_>, count: &BoundedCount<'_>) -> Result<(), Error> {
    let read = |text: Option<&[u8]>, default: i64, error: Error| match text {
        None => Ok(default),
        Some(text) => number::parse_i64(text).ok_or(error),
    };
    let by = read(count.by_int, 1, Error::INCREMENT_NOT_INTEGER)?;
    let lower = read(count.lower, i64::MIN, Error::LBOUND_NOT_INTEGER)?;
    let upper = read(count.upper, i64::MAX, Error::UBOUND_NOT_INTEGER)?;
    if lower > upper {
        return Err(Error::BOUNDS_CROSSED);
    }
    let expire_at = expire_at(cx, count)?;

    let key = cx.key(1);
    let found = match cx.db().get_mut(key) {
        None => None,
        Some(entry) => Some((integer(&entry.str().ok_or(Error::WRONG_TYPE)?)?, entry.expire_at())),
    };
    let old = found.map_or(0, |(value, _)| value);
    match step_int(old, by, lower, upper, count.saturate)? {
        Step::Refused { value } => reply_two(cx, |cx| cx.reply.int(value), |cx| cx.reply.int(0)),
        Step::Done { value, by } => {
            store_count(cx, key, NewStr::Int(value), "incrby", found.map(|(_, at)| at), count, expire_at);
            reply_two(cx, |cx| cx.reply.int(value), |cx| cx.reply.int(by));
        }
    }
    Ok(())
}

fn step_int(old: i64, by: i64, lower: i64, upper: i64, saturate: bool) -> Result<Step<i64>, Error> {
    // Two 64-bit numbers never overflow 128 bits, and the bounds are within 64.
    let wanted = i128::from(old) + i128::from(by);
    let value = wanted.clamp(i128::from(lower), i128::from(upper));
    if value != wanted && !saturate {
        return Ok(Step::Refused { value: old });
    }
    let by = i64::try_from(value - i128::from(old)).map_err(|_| Error::APPLIED_OVERFLOW)?;
    let value = i64::try_from(value).map_err(|_| Error::APPLIED_OVERFLOW)?;
    Ok(Step::Done { value, by })
}

fn increx_float(cx: &mut Cx<'_>, count: &BoundedCount<'_>) -> Result<(), Error> {
    let read = |text: Option<&[u8]>, default: LongDouble, error: Error| match text {
        None => Ok(default),
        Some(text) => LongDouble::parse(text).ok_or(error),
    };
    let by = read(count.by_float, LongDouble::ZERO, Error::INCREMENT_NOT_FLOAT)?;
    if by.is_infinite() {
        return Err(Error::INCREMENT_INFINITE);
    }
    let lower = read(count.lower, -LongDouble::MAX, Error::LBOUND_NOT_FLOAT)?;
    let upper = read(count.upper, LongDouble::MAX, Error::UBOUND_NOT_FLOAT)?;
    if lower > upper {
        return Err(Error::BOUNDS_CROSSED);
    }
    let expire_at = expire_at(cx, count)?;

    let key = cx.key(1);
    let found = match cx.db().get_mut(key) {
        None => None,
        Some(entry) => {
            let value = match entry.str().ok_or(Error::WRONG_TYPE)? {
                StrView::Int(int) => LongDouble::from(int),
                other => LongDouble::parse(&Text::of(&other)).ok_or(Error::NOT_FLOAT)?,
            };
            if value.is_infinite() {
                return Err(Error::VALUE_INFINITE);
            }
            Some((value, entry.expire_at()))
        }
    };
    let old = found.map_or(LongDouble::ZERO, |(value, _)| value);
    match step_float(old, by, lower, upper, count.saturate)? {
        Step::Refused { value } => {
            let value = value.to_human();
            reply_two(cx, |cx| cx.reply.decimal(&value), |cx| cx.reply.decimal(b"0"));
        }
        Step::Done { value, by } => {
            let (value, by) = (value.to_human(), by.to_human());
            store_count(cx, key, NewStr::Bytes(&value), "incrbyfloat", found.map(|(_, at)| at), count, expire_at);
            reply_two(cx, |cx| cx.reply.decimal(&value), |cx| cx.reply.decimal(&by));
        }
    }
    Ok(())
}

fn step_float(
    old: LongDouble,
    by: LongDouble,
    lower: LongDouble,
    upper: LongDouble,
    saturate: bool,
) -> Result<Step<LongDouble>, Error> {
    // Infinite bounds are those of the type.
    let lower = if lower < -LongDouble::MAX { -LongDouble::MAX } else { lower };
    let upper = if upper > LongDouble::MAX { LongDouble::MAX } else { upper };
    let wanted = old + by;
    if wanted >= lower && wanted <= upper {
        return Ok(Step::Done { value: wanted, by });
    }
    if !saturate {
        return Ok(Step::Refused { value: old });
    }
    let value = if wanted > upper { upper } else { lower };
    let by = value - old;
    if by.is_finite() { Ok(Step::Done { value, by }) } else { Err(Error::APPLIED_INFINITE) }
}

/// The deadline that INCREX was given.
fn expire_at(cx: &Cx<'_>, count: &BoundedCount<'_>) -> Result<Option<i64>, Error> {
    match count.expiry {
        Some(ExpiryOption::At(time)) => time.unix_ms("increx", cx.now_ms()).map(Some),
        _ => Ok(None),
    }
}

/// Stores what INCREX computed. `found` is the deadline of the key if there was one.
fn store_count(
    cx: &mut Cx<'_>,
    key: Key<'_>,
    value: NewStr<'_>,
    event: &'static str,
    found: Option<Option<i64>>,
    count: &BoundedCount<'_>,
    expire_at: Option<i64>,
) {
    let has_deadline = found.is_some_and(|at| at.is_some());
    let expire_at = expire_at.filter(|_| !(count.expiry_if_none && has_deadline));
    let persist = count.expiry == Some(ExpiryOption::Persist);
    if expire_at.is_some_and(|at| at <= cx.due_ms()) {
        if cx.db().remove(key) == Removal::Removed {
            cx.effects.feed_as(&[b"DEL", key.name]);
            cx.effects.changed(1);
            cx.effects.event(EventClass::GENERIC, "del", key.name, cx.db_index);
        }
        return;
    }
    let change = match expire_at {
        Some(at) => ExpireChange::At(at),
        None if persist => ExpireChange::Clear,
        None => ExpireChange::Keep,
    };
    let int;
    let text = match &value {
        NewStr::Int(value) => {
            int = number::format_i64(*value);
            &int
        }
        NewStr::Bytes(text) | NewStr::Raw(text) => *text,
        NewStr::Blob(blob) => blob.as_slice(),
    };
    feed_set(cx, key, text, change);
    cx.db().set(key, value, change);
    changed(cx, key, found.is_none(), event);
    if expire_at.is_some() {
        cx.effects.event(EventClass::GENERIC, "expire", key.name, cx.db_index);
    } else if persist && has_deadline {
        cx.effects.event(EventClass::GENERIC, "persist", key.name, cx.db_index);
    }
}

fn reply_two(cx: &mut Cx<'_>, first: impl FnOnce(&mut Cx<'_>), second: impl FnOnce(&mut Cx<'_>)) {
    cx.reply.array(2);
    first(cx);
    second(cx);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(old: i64, by: i64, lower: i64, upper: i64, saturate: bool) -> Result<(i64, i64), Error> {
        step_int(old, by, lower, upper, saturate).map(|step| match step {
            Step::Refused { value } => (value, 0),
            Step::Done { value, by } => (value, by),
        })
    }

    #[test]
    fn an_integer_stays_within_its_bounds_or_as_it_is() {
        let (min, max) = (i64::MIN, i64::MAX);
        assert_eq!(int(50, 100, min, 80, false), Ok((50, 0)));
        assert_eq!(int(50, 100, min, 80, true), Ok((80, 30)));
        assert_eq!(int(50, -25, min, 30, false), Ok((25, -25)));
        assert_eq!(int(50, 5, min, 30, true), Ok((30, -20)));
        assert_eq!(int(max, 1, min, max, false), Ok((max, 0)));
        assert_eq!(int(max - 7, max, min, max, true), Ok((max, 7)));
        assert_eq!(int(min, -1, min, max, true), Ok((min, 0)));
        assert_eq!(int(min, max, min, max, false), Ok((-1, max)));
        assert_eq!(int(min, 1, max, max, true), Err(Error::APPLIED_OVERFLOW));
    }

    fn float(old: &str, by: &str, lower: &str, upper: &str, saturate: bool) -> Result<(String, String), Error> {
        let read = |text: &str| LongDouble::parse(text.as_bytes()).expect("a number");
        let text = |value: LongDouble| String::from_utf8(value.to_human()).expect("ASCII");
        let step = step_float(read(old), read(by), read(lower), read(upper), saturate);
        step.map(|step| match step {
            Step::Refused { value } => (text(value), String::from("0")),
            Step::Done { value, by } => (text(value), text(by)),
        })
    }

    #[test]
    fn a_float_stays_within_its_bounds_or_as_it_is() {
        let pair = |a: &str, b: &str| Ok((String::from(a), String::from(b)));
        assert_eq!(float("10", "100", "-inf", "42.5", true), pair("42.5", "32.5"));
        assert_eq!(float("10", "100", "-inf", "42.5", false), pair("10", "0"));
        assert_eq!(float("1.5", "-3", "-inf", "inf", false), pair("-1.5", "-3"));
        assert_eq!(float("1.5", "-3", "0.25", "inf", true), pair("0.25", "-1.25"));
        assert_eq!(float("0", "1", "inf", "inf", true), Err(Error::APPLIED_INFINITE));
        // The sum is infinite: past the type's largest number, so as it is.
        assert_eq!(float("1e4932", "1e4932", "-inf", "inf", false).map(|(_, by)| by), Ok(String::from("0")));
    }
}
