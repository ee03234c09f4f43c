//! Commands on the deadlines of keys.
//!
//! Deadlines are unix milliseconds, whatever unit a command speaks. One that is past already removes the key at once, as if
//! it had expired: subscribers see `expired`, and it counts as such.

use super::keys::look;
use crate::command::args::{self, TimeForm};
use crate::command::effects::EventClass;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error};
use crate::store::Key;
use weir_structs::number::format_i64;

const READONLY_FAST: Flags = Flags::READONLY.union(Flags::FAST);
const WRITE_FAST: Flags = Flags::WRITE.union(Flags::FAST);
const ACL_KEYSPACE_READ_FAST: Acl = Acl::KEYSPACE.union(Acl::READ).union(Acl::FAST);
const ACL_KEYSPACE_WRITE_FAST: Acl = Acl::KEYSPACE.union(Acl::WRITE).union(Acl::FAST);
const KEY_RO_ACCESS: KeyFlags = KeyFlags::RO.union(KeyFlags::ACCESS);
const KEY_RW_UPDATE: KeyFlags = KeyFlags::RW.union(KeyFlags::UPDATE);

/// Commands on the expiry of keys.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new("expire", -3, WRITE_FAST, ACL_KEYSPACE_WRITE_FAST, Group::Generic, "1.0.0")
            .keys(&[KeySpec::one(1, KEY_RW_UPDATE)])
            .doc("O(1)", "Sets in how many seconds a key expires.")
            .history(&[("7.0.0", "Gained the `NX`, `XX`, `GT` and `LT` options.")])
            .args(&[
                Arg::key("key", 0),
                Arg::new("seconds", ArgKind::Integer),
                Arg::one_of(
                    "condition",
                    &[Arg::word("nx", "NX"), Arg::word("xx", "XX"), Arg::word("gt", "GT"), Arg::word("lt", "LT")],
                )
                .since("7.0.0")
                .optional(),
            ]),
        expire_command,
    ),
    Row::new(
        Spec::new("expireat", -3, WRITE_FAST, ACL_KEYSPACE_WRITE_FAST, Group::Generic, "1.2.0")
            .keys(&[KeySpec::one(1, KEY_RW_UPDATE)])
            .doc("O(1)", "Sets at which Unix time in seconds a key expires.")
            .history(&[("7.0.0", "Gained the `NX`, `XX`, `GT` and `LT` options.")])
            .args(&[
                Arg::key("key", 0),
                Arg::new("unix-time-seconds", ArgKind::UnixTime),
                Arg::one_of(
                    "condition",
                    &[Arg::word("nx", "NX"), Arg::word("xx", "XX"), Arg::word("gt", "GT"), Arg::word("lt", "LT")],
                )
                .since("7.0.0")
                .optional(),
            ]),
        expireat_command,
    ),
    Row::new(
        Spec::new("pexpire", -3, WRITE_FAST, ACL_KEYSPACE_WRITE_FAST, Group::Generic, "2.6.0")
            .keys(&[KeySpec::one(1, KEY_RW_UPDATE)])
            .doc("O(1)", "Sets in how many milliseconds a key expires.")
            .history(&[("7.0.0", "Gained the `NX`, `XX`, `GT` and `LT` options.")])
            .args(&[
                Arg::key("key", 0),
                Arg::new("milliseconds", ArgKind::Integer),
                Arg::one_of(
                    "condition",
                    &[Arg::word("nx", "NX"), Arg::word("xx", "XX"), Arg::word("gt", "GT"), Arg::word("lt", "LT")],
                )
                .since("7.0.0")
                .optional(),
            ]),
        pexpire_command,
    ),
    Row::new(
        Spec::new("pexpireat", -3, WRITE_FAST, ACL_KEYSPACE_WRITE_FAST, Group::Generic, "2.6.0")
            .keys(&[KeySpec::one(1, KEY_RW_UPDATE)])
            .doc("O(1)", "Sets at which Unix time in milliseconds a key expires.")
            .history(&[("7.0.0", "Gained the `NX`, `XX`, `GT` and `LT` options.")])
            .args(&[
                Arg::key("key", 0),
                Arg::new("unix-time-milliseconds", ArgKind::UnixTime),
                Arg::one_of(
                    "condition",
                    &[Arg::word("nx", "NX"), Arg::word("xx", "XX"), Arg::word("gt", "GT"), Arg::word("lt", "LT")],
                )
                .since("7.0.0")
                .optional(),
            ]),
        pexpireat_command,
    ),
    Row::new(
        Spec::new("ttl", 2, READONLY_FAST, ACL_KEYSPACE_READ_FAST, Group::Generic, "1.0.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .tips(&["nondeterministic_output"])
            .doc("O(1)", "Returns in how many seconds a key expires.")
            .history(&[("2.8.0", "Replies -2 for a missing key.")])
            .args(&[Arg::key("key", 0)]),
        ttl_command,
    ),
    Row::new(
        Spec::new("pttl", 2, READONLY_FAST, ACL_KEYSPACE_READ_FAST, Group::Generic, "2.6.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .tips(&["nondeterministic_output"])
            .doc("O(1)", "Returns in how many milliseconds a key expires.")
            .history(&[("2.8.0", "Replies -2 for a missing key.")])
            .args(&[Arg::key("key", 0)]),
        pttl_command,
    ),
    Row::new(
        Spec::new("expiretime", 2, READONLY_FAST, ACL_KEYSPACE_READ_FAST, Group::Generic, "7.0.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc("O(1)", "Returns at which Unix time in seconds a key expires.")
            .args(&[Arg::key("key", 0)]),
        expiretime_command,
    ),
    Row::new(
        Spec::new("pexpiretime", 2, READONLY_FAST, ACL_KEYSPACE_READ_FAST, Group::Generic, "7.0.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc("O(1)", "Returns at which Unix time in milliseconds a key expires.")
            .args(&[Arg::key("key", 0)]),
        pexpiretime_command,
    ),
    Row::new(
        Spec::new("persist", 2, WRITE_FAST, ACL_KEYSPACE_WRITE_FAST, Group::Generic, "2.2.0")
            .keys(&[KeySpec::one(1, KEY_RW_UPDATE)])
            .doc("O(1)", "Takes the expiry from a key.")
            .args(&[Arg::key("key", 0)]),
        persist_command,
    ),
];

fn expire_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    expire(cx, TimeForm::Seconds, "expire")
}

fn expireat_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    expire(cx, TimeForm::UnixSeconds, "expireat")
}

fn pexpire_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    expire(cx, TimeForm::Milliseconds, "pexpire")
}

fn pexpireat_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    expire(cx, TimeForm::UnixMilliseconds, "pexpireat")
}

/// Under which conditions EXPIRE changes a deadline; a key without one counts as living forever.
#[derive(Clone, Copy, Default, Debug)]
pub(in crate::command) struct Conditions {
    none_yet: bool,
    has_one: bool,
    later: bool,
    sooner: bool,
}

impl Conditions {
    /// Reads all of the words.
    ///
    /// # Errors
    /// One that is no condition, or two that exclude each other.
    pub(in crate::command) fn read<'w>(words: impl Iterator<Item = &'w [u8]>) -> Result<Conditions, Error> {
        let mut read = Conditions::default();
        for word in words {
            let flag = if args::is(word, "NX") {
                &mut read.none_yet
            } else if args::is(word, "XX") {
                &mut read.has_one
            } else if args::is(word, "GT") {
                &mut read.later
            } else if args::is(word, "LT") {
                &mut read.sooner
            } else {
                return Err(Error::unsupported_option(word));
            };
            *flag = true;
        }
        if read.none_yet && (read.has_one || read.later || read.sooner) {
            return Err(Error::EXPIRE_NX_WITH_OTHERS);
        }
        if read.later && read.sooner {
            return Err(Error::EXPIRE_GT_WITH_LT);
        }
        Ok(read)
    }

    /// Whether a deadline may go from `old` to `new`.
    pub(in crate::command) fn hold(self, old: Option<i64>, new: i64) -> bool {
        match old {
            None => !self.has_one && !self.later,
            Some(old) => !(self.none_yet || (self.later && new <= old) || (self.sooner && new >= old)),
        }
    }
}

fn expire(cx: &mut Cx<'_>, form: TimeForm, command: &str) -> Result<(), Error> {
    let conditions = Conditions::read(cx.words(3))?;
    let expire_at = form.unix_ms(cx.int(2)?, cx.now_ms()).ok_or_else(|| Error::invalid_expire(command))?;
    let key = cx.key(1);
    let changed = set_deadline(cx, key, expire_at, conditions);
    cx.reply.int(i64::from(changed));
    Ok(())
}

/// Sets the deadline of a key, if it is there and the conditions hold, or removes the key if the deadline is past. Returns
/// whether it did either.
pub(in crate::command) fn set_deadline(cx: &mut Cx<'_>, key: Key<'_>, expire_at: i64, conditions: Conditions) -> bool {
    let is_past = expire_at <= cx.due_ms();
    let changes = match cx.db().get_mut(key) {
        None => false,
        Some(entry) if !conditions.hold(entry.expire_at(), expire_at) => false,
        Some(mut entry) => {
            if !is_past {
                entry.set_expire(Some(expire_at));
            }
            true
        }
    };
    if changes {
        if is_past {
            // That it is gone is told as of every key that expired.
            cx.effects.feed_nothing();
            cx.db().expire_now(key);
        } else {
            cx.effects.feed_as(&[b"PEXPIREAT", key.name, &format_i64(expire_at)]);
            cx.effects.event(EventClass::GENERIC, "expire", key.name, cx.db_index);
        }
        cx.effects.changed(1);
    }
    changes
}

fn ttl_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    reply_deadline(cx, |at, now_ms| rounded_seconds(at.saturating_sub(now_ms)))
}

fn pttl_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    reply_deadline(cx, |at, now_ms| at.saturating_sub(now_ms))
}

fn expiretime_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    reply_deadline(cx, |at, _| rounded_seconds(at))
}

fn pexpiretime_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    reply_deadline(cx, |at, _| at)
}

/// Replies with what `shown` makes of a deadline and the time now; -1 for a key without one, -2 for none.
fn reply_deadline(cx: &mut Cx<'_>, shown: impl FnOnce(i64, i64) -> i64) -> Result<(), Error> {
    let (key, now_ms) = (cx.key(1), cx.now_ms());
    let reply = match look(cx, key, |entry| entry.expire_at()) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => shown(at, now_ms).max(0),
    };
    cx.reply.int(reply);
    Ok(())
}

/// Seconds, to the nearest, half a second upwards.
pub(in crate::command) fn rounded_seconds(ms: i64) -> i64 {
    ms / 1000 + i64::from(ms % 1000 >= 500)
}

fn persist_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let key = cx.key(1);
    let changed = drop_deadline(cx, key);
    cx.reply.int(i64::from(changed));
    Ok(())
}

/// Takes the deadline from a key. Returns whether there was one.
pub(in crate::command) fn drop_deadline(cx: &mut Cx<'_>, key: Key<'_>) -> bool {
    let persists = match cx.db().get_mut(key) {
        Some(mut entry) if entry.expire_at().is_some() => {
            entry.set_expire(None);
            true
        }
        _ => false,
    };
    if persists {
        cx.effects.feed_as(&[b"PERSIST", key.name]);
        cx.effects.changed(1);
        cx.effects.event(EventClass::GENERIC, "persist", key.name, cx.db_index);
    }
    persists
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_without_overflow() {
        for (ms, seconds) in [(0, 0), (1, 0), (499, 0), (500, 1), (1499, 1), (i64::MAX, 9_223_372_036_854_776)] {
            assert_eq!(rounded_seconds(ms), seconds, "{ms}");
        }
    }

    #[test]
    fn no_deadline_is_later_than_any() {
        let later = Conditions { later: true, ..Conditions::default() };
        let sooner = Conditions { sooner: true, ..Conditions::default() };
        assert!(!later.hold(None, i64::MAX));
        assert!(sooner.hold(None, i64::MAX));
        assert!(!later.hold(Some(5), 5) && !sooner.hold(Some(5), 5));
        assert!(later.hold(Some(5), 6) && sooner.hold(Some(5), 4));
    }
}
