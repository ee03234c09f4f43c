//! Commands that set, count and remove fields.

use super::access::{self, Changes};
use super::expire::FieldNames;
use super::fed::Fed;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error};
use weir_structs::decimal::LongDouble;
use weir_structs::hash::{FieldDeadline, SetField};
use weir_structs::number::format_i64;

const WRITE_DENYOOM_FAST: Flags = Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST);
const WRITE_FAST: Flags = Flags::WRITE.union(Flags::FAST);
const ACL_WRITE_HASH_FAST: Acl = Acl::WRITE.union(Acl::HASH).union(Acl::FAST);
const KEY_RW_ACCESS_UPDATE: KeyFlags = KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE);
const KEY_RW_UPDATE: KeyFlags = KeyFlags::RW.union(KeyFlags::UPDATE);

/// Commands that set, count and remove fields.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new("hset", -4, WRITE_DENYOOM_FAST, ACL_WRITE_HASH_FAST, Group::Hash, "2.0.0")
            .keys(&[KeySpec::one(1, KEY_RW_UPDATE)])
            .doc(
                "O(N) where N is the number of fields named.",
                "Sets fields of a hash, which is created where missing.",
            )
            .history(&[("4.0.0", "Takes more than one field.")])
            .args(&[
                Arg::key("key", 0),
                Arg::block("data", &[Arg::new("field", ArgKind::String), Arg::new("value", ArgKind::String)])
                    .multiple(),
            ]),
        hset_command,
    ),
    Row::new(
        Spec::new("hsetnx", 4, WRITE_DENYOOM_FAST, ACL_WRITE_HASH_FAST, Group::Hash, "2.0.0")
            .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::INSERT))])
            .doc("O(1)", "Sets a field of a hash unless the field exists.")
            .args(&[Arg::key("key", 0), Arg::new("field", ArgKind::String), Arg::new("value", ArgKind::String)]),
        hsetnx_command,
    ),
    Row::new(
        Spec::new("hmset", -4, WRITE_DENYOOM_FAST, ACL_WRITE_HASH_FAST, Group::Hash, "2.0.0")
            .keys(&[KeySpec::one(1, KEY_RW_UPDATE)])
            .doc("O(N) where N is the number of fields named.", "Sets several fields of a hash.")
            .deprecated("4.0.0", "`HSET` with several fields")
            .args(&[
                Arg::key("key", 0),
                Arg::block("data", &[Arg::new("field", ArgKind::String), Arg::new("value", ArgKind::String)])
                    .multiple(),
            ]),
        hmset_command,
    ),
    Row::new(
        Spec::new("hdel", -3, WRITE_FAST, ACL_WRITE_HASH_FAST, Group::Hash, "2.0.0")
            .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::DELETE))])
            .doc("O(N) where N is the number of fields named.", "Removes fields from a hash.")
            .history(&[("2.4.0", "Takes more than one field.")])
            .args(&[Arg::key("key", 0), Arg::new("field", ArgKind::String).multiple()]),
        hdel_command,
    ),
    Row::new(
        Spec::new("hincrby", 4, WRITE_DENYOOM_FAST, ACL_WRITE_HASH_FAST, Group::Hash, "2.0.0")
            .keys(&[KeySpec::one(1, KEY_RW_ACCESS_UPDATE)])
            .doc("O(1)", "Adds an integer to the integer in a field of a hash, a missing field counting as 0.")
            .args(&[Arg::key("key", 0), Arg::new("field", ArgKind::String), Arg::new("increment", ArgKind::Integer)]),
        hincrby_command,
    ),
    Row::new(
        Spec::new("hincrbyfloat", 4, WRITE_DENYOOM_FAST, ACL_WRITE_HASH_FAST, Group::Hash, "2.6.0")
            .keys(&[KeySpec::one(1, KEY_RW_ACCESS_UPDATE)])
            .doc("O(1)", "Adds a floating point number to the number in a field of a hash, 0 if it is missing.")
            .args(&[Arg::key("key", 0), Arg::new("field", ArgKind::String), Arg::new("increment", ArgKind::Double)]),
        hincrbyfloat_command,
    ),
    Row::new(
        Spec::new("hgetdel", -5, WRITE_FAST, ACL_WRITE_HASH_FAST, Group::Hash, "8.0.0")
            .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE))])
            .doc(
                "O(N) where N is the number of fields named.",
                "Returns the values of fields of a hash and removes those fields.",
            )
            .args(&[
                Arg::key("key", 0),
                Arg::block(
                    "fields",
                    &[Arg::new("numfields", ArgKind::Integer), Arg::new("field", ArgKind::String).multiple()],
                )
                .token("FIELDS"),
            ]),
        hgetdel_command,
    ),
];

fn hset_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let new = set_pairs(cx, "hset")?;
    cx.reply.count(new);
    Ok(())
}

fn hmset_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    set_pairs(cx, "hmset")?;
    cx.reply.ok();
    Ok(())
}

/// Sets all fields that are arguments. Returns how many are new.
fn set_pairs(cx: &mut Cx<'_>, command: &str) -> Result<usize, Error> {
    if !cx.argc().is_multiple_of(2) {
        return Err(Error::arity(command));
    }
    let (mut words, due_ms) = (cx.words(2), cx.due_ms());
    let count = words.left() / 2;
    let done = access::change_or_create(cx, |_, hash| {
        let mut expired = 0;
        let pairs = std::iter::from_fn(|| Some((words.next()?, words.next()?)));
        let new = hash.set_each(pairs, count, due_ms, || expired += 1);
        Ok((Changes { count, expired }, (new, expired)))
    })?;
    let (new, expired) = done.result;
    done.tell(cx, set_events(expired > 0, &["hexpired", "hset"]));
    Ok(new)
}

/// The events of a field that was set, the first only if an expired one was in its place.
fn set_events<'e>(had_expired: bool, events: &'e [&'static str; 2]) -> &'e [&'static str] {
    if had_expired { events } else { &events[1..] }
}

fn hsetnx_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (field, value, due_ms) = (cx.arg(2), cx.arg(3), cx.due_ms());
    let done = access::change_or_create(cx, |_, hash| {
        if hash.as_ref().get(field, due_ms).is_some() {
            return Ok((Changes::default(), None));
        }
        let set = hash.set(field, value, FieldDeadline::Clear, due_ms);
        Ok((one_change(set), Some(set)))
    })?;
    if let Some(set) = done.result {
        feed_revived(cx, set, value);
        done.tell(cx, set_events(set == SetField::Revived, &["hexpired", "hset"]));
    }
    cx.reply.int(i64::from(done.result.is_some()));
    Ok(())
}

/// Where a field has expired that nobody has taken out yet, has the value set whatever is there: when the command is repeated
/// nothing has expired.
fn feed_revived(cx: &mut Cx<'_>, set: SetField, value: &[u8]) {
    if set == SetField::Revived {
        cx.effects.feed_as(&[b"HSET", cx.arg(1), cx.arg(2), value]);
    }
}

fn one_change(set: SetField) -> Changes {
    Changes { count: 1, expired: usize::from(set == SetField::Revived) }
}

fn hdel_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (fields, due_ms) = (cx.words(2), cx.due_ms());
    let mut fed = Fed::new(cx);
    let done = access::change(cx, |_, hash| {
        fed.wanted &= hash.as_ref().live_len(due_ms) < hash.as_ref().len();
        let removed = fields.filter(|field| fed.note(hash.remove(field, due_ms), field)).count();
        Ok((Changes { count: removed, expired: 0 }, removed))
    })?;
    fed.feed(cx, &[b"HDEL", cx.arg(1)]);
    let removed = done.map_or(0, |done| done.result);
    if let Some(done) = done.filter(|_| removed > 0) {
        done.tell(cx, &["hdel"]);
    }
    cx.reply.count(removed);
    Ok(())
}

fn hgetdel_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (names, due_ms) = (FieldNames::at(cx, 2, Error::NUMFIELDS)?, cx.due_ms());
    let mut fed = Fed::new(cx);
    let done = access::change(cx, |reply, hash| {
        let mut removed = 0;
        reply.array(names.count);
        for field in names.words() {
            match hash.as_ref().get(field, due_ms) {
                Some(value) => reply.element(value),
                None => reply.null(),
            }
            removed += usize::from(fed.note(hash.remove(field, due_ms), field));
        }
        Ok((Changes { count: removed, expired: 0 }, removed))
    })?;
    fed.feed(cx, &[b"HDEL", cx.arg(1)]);
    match done {
        Some(done) if done.result > 0 => done.tell(cx, &["hdel"]),
        Some(_) => {}
        None => names.reply_nulls(&mut cx.reply),
    }
    Ok(())
}

fn hincrby_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (field, by, due_ms) = (cx.arg(2), cx.int(3)?, cx.due_ms());
    let done = access::change_or_create(cx, |_, hash| {
        let old = match hash.as_ref().get(field, due_ms) {
            Some(value) => value.as_i64().ok_or(Error::HASH_VALUE_NOT_INTEGER)?,
            None => 0,
        };
        let new = old.checked_add(by).ok_or(Error::OVERFLOW)?;
        let set = hash.set(field, &format_i64(new), FieldDeadline::Keep, due_ms);
        Ok((one_change(set), (new, set)))
    })?;
    let (new, set) = done.result;
    feed_revived(cx, set, &format_i64(new));
    done.tell(cx, set_events(set == SetField::Revived, &["hexpired", "hincrby"]));
    cx.reply.int(new);
    Ok(())
}

fn hincrbyfloat_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (field, due_ms) = (cx.arg(2), cx.due_ms());
    let by = LongDouble::parse(cx.arg(3)).ok_or(Error::NOT_FLOAT)?;
    if !by.is_finite() {
        return Err(Error::VALUE_NAN_OR_INFINITY);
    }
    let done = access::change_or_create(cx, |_, hash| {
        let old = match hash.as_ref().get(field, due_ms) {
            Some(value) => LongDouble::parse(&value.text()).ok_or(Error::HASH_VALUE_NOT_FLOAT)?,
            None => LongDouble::ZERO,
        };
        let new = old + by;
        if !new.is_finite() {
            return Err(Error::NAN_OR_INFINITY);
        }
        let text = new.to_human();
        let has_deadline = hash.as_ref().deadline(field, due_ms).flatten().is_some();
        let set = hash.set(field, &text, FieldDeadline::Keep, due_ms);
        Ok((one_change(set), (text, set, has_deadline)))
    })?;
    let (text, set, has_deadline) = &done.result;
    // HSET is known everywhere, but does not keep a deadline.
    if *has_deadline {
        cx.effects.feed_as(&[b"HSETEX", cx.arg(1), b"KEEPTTL", b"FIELDS", b"1", field, text]);
    } else {
        cx.effects.feed_as(&[b"HSET", cx.arg(1), field, text]);
    }
    let had_expired = *set == SetField::Revived;
    done.tell(cx, set_events(had_expired, &["hexpired", "hincrbyfloat"]));
    cx.reply.bulk(&done.result.0);
    Ok(())
}
