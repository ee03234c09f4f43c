//! Commands about the deadlines of fields.
//!
//! A hash of which a field gets a deadline becomes a table. A deadline that has passed already removes the field at once.

use super::access::{self, Changes};
use super::fed::Fed;
use crate::command::args::{self, ExpiryOption, TimeForm, Words};
use crate::command::effects::EventClass;
use crate::command::generic::expire::{Conditions, rounded_seconds};
use crate::command::reply::Reply;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error};
use weir_structs::hash::{FieldDeadline, HashMut, SetField};
use weir_structs::number::{format_i64, format_u64};

const READONLY_FAST: Flags = Flags::READONLY.union(Flags::FAST);
const WRITE_DENYOOM_FAST: Flags = Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST);
const WRITE_FAST: Flags = Flags::WRITE.union(Flags::FAST);
const ACL_READ_HASH_FAST: Acl = Acl::READ.union(Acl::HASH).union(Acl::FAST);
const ACL_WRITE_HASH_FAST: Acl = Acl::WRITE.union(Acl::HASH).union(Acl::FAST);
const KEY_RO_ACCESS: KeyFlags = KeyFlags::RO.union(KeyFlags::ACCESS);
const KEY_RW_ACCESS_UPDATE: KeyFlags = KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE);
const KEY_RW_UPDATE: KeyFlags = KeyFlags::RW.union(KeyFlags::UPDATE);

/// Commands about the deadlines of fields.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new("hexpire", -6, WRITE_FAST, ACL_WRITE_HASH_FAST, Group::Hash, "7.4.0")
            .keys(&[KeySpec::one(1, KEY_RW_UPDATE)])
            .doc("O(N) where N is the number of fields named.", "Sets in how many seconds fields of a hash expire.")
            .args(&[
                Arg::key("key", 0),
                Arg::new("seconds", ArgKind::Integer),
                Arg::one_of(
                    "condition",
                    &[Arg::word("nx", "NX"), Arg::word("xx", "XX"), Arg::word("gt", "GT"), Arg::word("lt", "LT")],
                )
                .optional(),
                Arg::block(
                    "fields",
                    &[Arg::new("numfields", ArgKind::Integer), Arg::new("field", ArgKind::String).multiple()],
                )
                .token("FIELDS"),
            ]),
        hexpire_command,
    ),
    Row::new(
        Spec::new("hexpireat", -6, WRITE_FAST, ACL_WRITE_HASH_FAST, Group::Hash, "7.4.0")
            .keys(&[KeySpec::one(1, KEY_RW_UPDATE)])
            .doc(
                "O(N) where N is the number of fields named.",
                "Sets at which Unix time in seconds fields of a hash expire.",
            )
            .args(&[
                Arg::key("key", 0),
                Arg::new("unix-time-seconds", ArgKind::UnixTime),
                Arg::one_of(
                    "condition",
                    &[Arg::word("nx", "NX"), Arg::word("xx", "XX"), Arg::word("gt", "GT"), Arg::word("lt", "LT")],
                )
                .since("9.0.0")
                .optional(),
                Arg::block(
                    "fields",
                    &[Arg::new("numfields", ArgKind::Integer), Arg::new("field", ArgKind::String).multiple()],
                )
                .token("FIELDS"),
            ]),
        hexpireat_command,
    ),
    Row::new(
        Spec::new("hpexpire", -6, WRITE_FAST, ACL_WRITE_HASH_FAST, Group::Hash, "7.4.0")
            .keys(&[KeySpec::one(1, KEY_RW_UPDATE)])
            .doc(
                "O(N) where N is the number of fields named.",
                "Sets in how many milliseconds fields of a hash expire.",
            )
            .args(&[
                Arg::key("key", 0),
                Arg::new("milliseconds", ArgKind::Integer),
                Arg::one_of(
                    "condition",
                    &[Arg::word("nx", "NX"), Arg::word("xx", "XX"), Arg::word("gt", "GT"), Arg::word("lt", "LT")],
                )
                .since("9.0.0")
                .optional(),
                Arg::block(
                    "fields",
                    &[Arg::new("numfields", ArgKind::Integer), Arg::new("field", ArgKind::String).multiple()],
                )
                .token("FIELDS"),
            ]),
        hpexpire_command,
    ),
    Row::new(
        Spec::new("hpexpireat", -6, WRITE_FAST, ACL_WRITE_HASH_FAST, Group::Hash, "7.4.0")
            .keys(&[KeySpec::one(1, KEY_RW_UPDATE)])
            .doc(
                "O(N) where N is the number of fields named.",
                "Sets at which Unix time in milliseconds fields of a hash expire.",
            )
            .args(&[
                Arg::key("key", 0),
                Arg::new("unix-time-milliseconds", ArgKind::UnixTime),
                Arg::one_of(
                    "condition",
                    &[Arg::word("nx", "NX"), Arg::word("xx", "XX"), Arg::word("gt", "GT"), Arg::word("lt", "LT")],
                )
                .since("9.0.0")
                .optional(),
                Arg::block(
                    "fields",
                    &[Arg::new("numfields", ArgKind::Integer), Arg::new("field", ArgKind::String).multiple()],
                )
                .token("FIELDS"),
            ]),
        hpexpireat_command,
    ),
    Row::new(
        Spec::new("httl", -5, READONLY_FAST, ACL_READ_HASH_FAST, Group::Hash, "7.4.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc("O(N) where N is the number of fields named.", "Returns in how many seconds fields of a hash expire.")
            .args(&[
                Arg::key("key", 0),
                Arg::block(
                    "fields",
                    &[Arg::new("numfields", ArgKind::Integer), Arg::new("field", ArgKind::String).multiple()],
                )
                .token("FIELDS"),
            ]),
        httl_command,
    ),
    Row::new(
        Spec::new("hpttl", -5, READONLY_FAST, ACL_READ_HASH_FAST, Group::Hash, "7.4.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc(
                "O(N) where N is the number of fields named.",
                "Returns in how many milliseconds fields of a hash expire.",
            )
            .args(&[
                Arg::key("key", 0),
                Arg::block(
                    "fields",
                    &[Arg::new("numfields", ArgKind::Integer), Arg::new("field", ArgKind::String).multiple()],
                )
                .token("FIELDS"),
            ]),
        hpttl_command,
    ),
    Row::new(
        Spec::new("hexpiretime", -5, READONLY_FAST, ACL_READ_HASH_FAST, Group::Hash, "7.4.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc(
                "O(N) where N is the number of fields named.",
                "Returns at which Unix time in seconds fields of a hash expire.",
            )
            .args(&[
                Arg::key("key", 0),
                Arg::block(
                    "fields",
                    &[Arg::new("numfields", ArgKind::Integer), Arg::new("field", ArgKind::String).multiple()],
                )
                .token("FIELDS"),
            ]),
        hexpiretime_command,
    ),
    Row::new(
        Spec::new("hpexpiretime", -5, READONLY_FAST, ACL_READ_HASH_FAST, Group::Hash, "7.4.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc(
                "O(N) where N is the number of fields named.",
                "Returns at which Unix time in milliseconds fields of a hash expire.",
            )
            .args(&[
                Arg::key("key", 0),
                Arg::block(
                    "fields",
                    &[Arg::new("numfields", ArgKind::Integer), Arg::new("field", ArgKind::String).multiple()],
                )
                .token("FIELDS"),
            ]),
        hpexpiretime_command,
    ),
    Row::new(
        Spec::new("hpersist", -5, WRITE_FAST, ACL_WRITE_HASH_FAST, Group::Hash, "7.4.0")
            .keys(&[KeySpec::one(1, KEY_RW_UPDATE)])
            .doc("O(N) where N is the number of fields named.", "Takes the expiry from fields of a hash.")
            .args(&[
                Arg::key("key", 0),
                Arg::block(
                    "fields",
                    &[Arg::new("numfields", ArgKind::Integer), Arg::new("field", ArgKind::String).multiple()],
                )
                .token("FIELDS"),
            ]),
        hpersist_command,
    ),
    Row::new(
        Spec::new("hgetex", -5, WRITE_FAST, ACL_WRITE_HASH_FAST, Group::Hash, "8.0.0")
            .keys(&[KeySpec::one(1, KEY_RW_ACCESS_UPDATE)])
            .doc(
                "O(N) where N is the number of fields named.",
                "Returns the values of fields of a hash and sets or removes the fields' expiry.",
            )
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
                Arg::block(
                    "fields",
                    &[Arg::new("numfields", ArgKind::Integer), Arg::new("field", ArgKind::String).multiple()],
                )
                .token("FIELDS"),
            ]),
        hgetex_command,
    ),
    Row::new(
        Spec::new("hsetex", -6, WRITE_DENYOOM_FAST, ACL_WRITE_HASH_FAST, Group::Hash, "8.0.0")
            .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::INSERT))])
            .doc(
                "O(N) where N is the number of fields named.",
                "Sets fields of a hash under a condition and with an expiry.",
            )
            .args(&[
                Arg::key("key", 0),
                Arg::one_of("key-condition", &[Arg::word("nx", "NX"), Arg::word("xx", "XX")]).optional(),
                Arg::one_of("fields-condition", &[Arg::word("fnx", "FNX"), Arg::word("fxx", "FXX")]).optional(),
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
                Arg::block(
                    "fields",
                    &[
                        Arg::new("numfields", ArgKind::Integer),
                        Arg::block("data", &[Arg::new("field", ArgKind::String), Arg::new("value", ArgKind::String)])
                            .multiple(),
                    ],
                )
                .token("FIELDS"),
            ]),
        hsetex_command,
    ),
];

/// Fields as these commands take them: `FIELDS numfields field [field ...]`, up to the end.
#[derive(Clone)]
pub(super) struct FieldNames<'a> {
    words: Words<'a>,
    /// How many there are.
    pub(super) count: usize,
}

impl<'a> FieldNames<'a> {
    /// Reads them at argument `at`.
    ///
    /// # Errors
    /// They are not there; `mismatch` if there are not as many as it says, or none.
    pub(super) fn at(cx: &Cx<'a>, at: usize, mismatch: Error) -> Result<FieldNames<'a>, Error> {
        if !args::is(cx.arg(at), "FIELDS") {
            return Err(Error::SYNTAX);
        }
        FieldNames::counted(cx, at + 1, 1, mismatch)
    }

    /// Reads their number at argument `at`; each is so many words.
    fn counted(cx: &Cx<'a>, at: usize, words_each: usize, mismatch: Error) -> Result<FieldNames<'a>, Error> {
        let (words, count) = (cx.words(at + 1), cx.int(at)?);
        match usize::try_from(count) {
            Ok(count) if count > 0 && count.checked_mul(words_each) == Some(words.left()) => {
                Ok(FieldNames { words, count })
            }
            _ => Err(mismatch),
        }
    }

    /// The names, one after the other.
    pub(super) fn words(&self) -> Words<'a> {
        self.words.clone()
    }

    /// The reply where nothing is there.
    pub(super) fn reply_nulls(&self, reply: &mut Reply<'_>) {
        reply.array(self.count);
        self.words().for_each(|_| reply.null());
    }
}

/// Where `FIELDS` is, from argument `from` on, with at least one word behind it.
fn find_fields(cx: &Cx<'_>, from: usize) -> Result<usize, Error> {
    (from..cx.argc().saturating_sub(1)).find(|&at| args::is(cx.arg(at), "FIELDS")).ok_or(Error::NUMFIELDS)
}

/// A moment from a number that may be 0, but not below.
fn moment(number: &[u8], form: TimeForm, command: &str, now_ms: i64) -> Result<i64, Error> {
    let number = args::int(number)?;
    let moment = if number >= 0 { form.unix_ms(number, now_ms) } else { None };
    moment.ok_or_else(|| Error::invalid_expire(command))
}

fn hexpire_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    expire(cx, TimeForm::Seconds, "hexpire")
}

fn hexpireat_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    expire(cx, TimeForm::UnixSeconds, "hexpireat")
}

fn hpexpire_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    expire(cx, TimeForm::Milliseconds, "hpexpire")
}

fn hpexpireat_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    expire(cx, TimeForm::UnixMilliseconds, "hpexpireat")
}

/// How many fields were given a deadline, and how many were removed because it has passed.
#[derive(Clone, Copy, Default)]
struct Set {
    later: usize,
    past: usize,
}

impl Set {
    fn changes(self) -> Changes {
        Changes { count: self.later + self.past, expired: self.past }
    }

    /// Gives a field that is there a deadline.
    fn set(&mut self, hash: &mut HashMut<'_, '_>, field: &[u8], at_ms: i64, due_ms: i64) {
        if at_ms <= due_ms {
            hash.remove(field, due_ms);
            self.past += 1;
        } else {
            hash.set_deadline(field, Some(at_ms), due_ms);
            self.later += 1;
        }
    }

    /// Fields of one command have one deadline, so only one of the two events ever comes.
    fn events(self) -> &'static [&'static str] {
        match self {
            Set { past: 1.., .. } => &["hexpired"],
            Set { later: 1.., .. } => &["hexpire"],
            _ => &[],
        }
    }
}

fn expire(cx: &mut Cx<'_>, form: TimeForm, command: &str) -> Result<(), Error> {
    let fields_at = find_fields(cx, 3)?;
    let conditions = Conditions::read(cx.words(3).take(fields_at - 3))?;
    let names = FieldNames::counted(cx, fields_at + 1, 1, Error::NUMFIELDS)?;
    let due_ms = cx.due_ms();
    let at_ms = moment(cx.arg(2), form, command, cx.now_ms())?;
    let mut fed = Fed::new(cx);
    let done = access::change(cx, |reply, hash| {
        let mut set = Set::default();
        reply.array(names.count);
        for field in names.words() {
            let answer = match hash.as_ref().deadline(field, due_ms) {
                None => -2,
                Some(old) if !conditions.hold(old, at_ms) => 0,
                Some(_) => {
                    set.set(hash, field, at_ms, due_ms);
                    fed.note(true, field);
                    if at_ms <= due_ms { 2 } else { 1 }
                }
            };
            reply.int(answer);
        }
        Ok((set.changes(), set))
    })?;
    feed_deadline(cx, &fed, at_ms);
    match done {
        Some(done) => done.tell(cx, done.result.events()),
        None => reply_absent(&mut cx.reply, &names),
    }
    Ok(())
}

/// Has a deadline repeated for fields that were given it, or their removal if it is past.
fn feed_deadline(cx: &mut Cx<'_>, fed: &Fed<'_>, at_ms: i64) {
    let key = cx.arg(1);
    if at_ms <= cx.due_ms() {
        fed.feed(cx, &[b"HDEL", key]);
    } else {
        fed.feed(cx, &[b"HPEXPIREAT", key, &format_i64(at_ms), b"FIELDS", &fed.count()]);
    }
}

/// The reply of a command that answers for each field, where there is no such key.
fn reply_absent(reply: &mut Reply<'_>, names: &FieldNames<'_>) {
    reply.array(names.count);
    names.words().for_each(|_| reply.int(-2));
}

fn httl_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    reply_deadlines(cx, |at_ms, now_ms| rounded_seconds(at_ms.saturating_sub(now_ms)))
}

fn hpttl_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    reply_deadlines(cx, |at_ms, now_ms| at_ms.saturating_sub(now_ms))
}

fn hexpiretime_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    reply_deadlines(cx, |at_ms, _| rounded_seconds(at_ms))
}

fn hpexpiretime_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    reply_deadlines(cx, |at_ms, _| at_ms)
}

/// Replies for each field with what `shown` makes of its deadline and the time now; -1 for one without, -2 for none.
fn reply_deadlines(cx: &mut Cx<'_>, shown: impl Fn(i64, i64) -> i64) -> Result<(), Error> {
    let (names, now_ms, due_ms) = (FieldNames::at(cx, 2, Error::SYNTAX)?, cx.now_ms(), cx.due_ms());
    access::read(cx, |reply, hash| {
        let Some(hash) = hash else { return reply_absent(reply, &names) };
        reply.array(names.count);
        for field in names.words() {
            reply.int(match hash.deadline(field, due_ms) {
                None => -2,
                Some(None) => -1,
                Some(Some(at_ms)) => shown(at_ms, now_ms),
            });
        }
    })
}

fn hpersist_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (names, due_ms) = (FieldNames::at(cx, 2, Error::NUMFIELDS)?, cx.due_ms());
    let mut fed = Fed::new(cx);
    let done = access::change(cx, |reply, hash| {
        let mut persisted = 0;
        reply.array(names.count);
        for field in names.words() {
            reply.int(match hash.as_ref().deadline(field, due_ms) {
                None => -2,
                Some(None) => -1,
                Some(Some(_)) => {
                    hash.set_deadline(field, None, due_ms);
                    fed.note(true, field);
                    persisted += 1;
                    1
                }
            });
        }
        Ok((Changes { count: persisted, expired: 0 }, persisted))
    })?;
    fed.feed(cx, &[b"HPERSIST", cx.arg(1), b"FIELDS", &fed.count()]);
    match done {
        Some(done) if done.result > 0 => done.tell(cx, &["hpersist"]),
        Some(_) => {}
        None => reply_absent(&mut cx.reply, &names),
    }
    Ok(())
}

/// What HGETEX and HSETEX are told to do about deadlines, the number read.
#[derive(Clone, Copy)]
enum Deadline {
    AsItIs,
    None,
    At(i64),
}

impl Deadline {
    fn read(option: Option<ExpiryOption<'_>>, command: &str, now_ms: i64) -> Result<Deadline, Error> {
        Ok(match option {
            Some(ExpiryOption::At(time)) => Deadline::At(moment(time.number, time.form, command, now_ms)?),
            Some(ExpiryOption::Persist) => Deadline::None,
            Some(ExpiryOption::Keep) | None => Deadline::AsItIs,
        })
    }
}

fn hgetex_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let fields_at = find_fields(cx, 2)?;
    let (mut words, mut expiry) = (cx.words(2), None);
    while words.at() < fields_at {
        if !ExpiryOption::take(&mut words, &mut expiry, ExpiryOption::Persist)? {
            return Err(Error::SYNTAX);
        }
    }
    if words.at() != fields_at {
        return Err(Error::SYNTAX);
    }
    let names = FieldNames::counted(cx, fields_at + 1, 1, Error::NUMFIELDS)?;
    let due_ms = cx.due_ms();
    // The key's type is an error before the number is.
    let deadline = Deadline::read(expiry, "hgetex", cx.now_ms());
    let mut fed = Fed::new(cx);
    let done = access::change(cx, |reply, hash| {
        let deadline = deadline.clone()?;
        let (mut set, mut persisted) = (Set::default(), 0);
        reply.array(names.count);
        for field in names.words() {
            let Some(value) = hash.as_ref().get(field, due_ms) else {
                reply.null();
                continue;
            };
            reply.element(value);
            match deadline {
                Deadline::AsItIs => {}
                Deadline::At(at_ms) => {
                    set.set(hash, field, at_ms, due_ms);
                    fed.note(true, field);
                }
                Deadline::None => {
                    if hash.as_ref().deadline(field, due_ms).flatten().is_some() {
                        hash.set_deadline(field, None, due_ms);
                        fed.note(true, field);
                        persisted += 1;
                    }
                }
            }
        }
        let changes = set.changes();
        Ok((Changes { count: changes.count + persisted, ..changes }, (set, persisted)))
    })?;
    match deadline {
        Ok(Deadline::At(at_ms)) => feed_deadline(cx, &fed, at_ms),
        _ => fed.feed(cx, &[b"HPERSIST", cx.arg(1), b"FIELDS", &fed.count()]),
    }
    match done {
        Some(done) if done.result.1 > 0 => done.tell(cx, &["hpersist"]),
        Some(done) => done.tell(cx, done.result.0.events()),
        None => {
            deadline?;
            names.reply_nulls(&mut cx.reply);
            cx.effects.event(EventClass::MISS, "keymiss", cx.arg(1), cx.db_index);
        }
    }
    Ok(())
}

/// What must be so before HSETEX sets anything.
#[derive(Clone, Copy, Default)]
struct SetConditions {
    /// `NX`, `XX`: whether the key must exist.
    key_exists: Option<bool>,
    /// `FNX`, `FXX`: whether every field must exist, or none.
    fields_exist: Option<bool>,
}

impl SetConditions {
    /// Whether a key may be used that exists, or does not.
    fn hold_for_key(self, exists: bool) -> bool {
        self.key_exists.is_none_or(|wanted| wanted == exists)
    }

    /// Whether the fields of a key may be set that exists, or does not; of one that exists they must be looked at.
    fn may_hold_for_fields(self, exists: bool) -> bool {
        exists || self.fields_exist != Some(true)
    }

    /// Takes the next word if it is a condition.
    fn take(&mut self, words: &mut Words<'_>) -> Result<bool, Error> {
        let (condition, wanted) = if words.accept("NX") {
            (&mut self.key_exists, false)
        } else if words.accept("XX") {
            (&mut self.key_exists, true)
        } else if words.accept("FNX") {
            (&mut self.fields_exist, false)
        } else if words.accept("FXX") {
            (&mut self.fields_exist, true)
        } else {
            return Ok(false);
        };
        if condition.replace(wanted).is_some_and(|before| before != wanted) {
            return Err(Error::SYNTAX);
        }
        Ok(true)
    }
}

fn hsetex_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let fields_at = find_fields(cx, 2)?;
    let (mut words, mut expiry, mut conditions) = (cx.words(2), None, SetConditions::default());
    while words.at() < fields_at {
        if !conditions.take(&mut words)? && !ExpiryOption::take(&mut words, &mut expiry, ExpiryOption::Keep)? {
            return Err(Error::SYNTAX);
        }
    }
    if words.at() != fields_at {
        return Err(Error::SYNTAX);
    }
    let names = FieldNames::counted(cx, fields_at + 1, 2, Error::NUMFIELDS)?;
    let due_ms = cx.due_ms();
    // The key's type is an error before the number is.
    let exists = access::exists(cx)?;
    if !conditions.hold_for_key(exists) {
        cx.reply.int(0);
        return Ok(());
    }
    let deadline = Deadline::read(expiry, "hsetex", cx.now_ms())?;
    let is_past = matches!(deadline, Deadline::At(at_ms) if at_ms <= due_ms);
    let stands = conditions.may_hold_for_fields(exists);
    if !stands || (is_past && !exists) {
        if stands {
            // It would be gone at once, so it does not come to be at all.
            cx.store.count_expired_fields(names.count);
            cx.effects.event(EventClass::NEW, "new", cx.arg(1), cx.db_index);
            access::tell(cx, &["hset", "hexpire", "hexpired"], true);
        }
        cx.reply.int(i64::from(stands));
        return Ok(());
    }
    let keeps = expiry == Some(ExpiryOption::Keep);
    let pairs = || {
        let mut words = names.words();
        std::iter::from_fn(move || Some((words.next()?, words.next()?)))
    };
    let mut fed = Fed::new(cx);
    let done = access::change_or_create(cx, |_, hash| {
        let mut fields = pairs().map(|(field, _)| hash.as_ref().get(field, due_ms).is_some());
        if conditions.fields_exist.is_some_and(|wanted| fields.any(|exists| exists != wanted)) {
            return Ok((Changes::default(), None));
        }
        if is_past {
            // Events are told of all fields, but only those that were there count as changes.
            let removed = pairs().filter(|(field, _)| fed.note(hash.remove(field, due_ms), field)).count();
            return Ok((Changes { count: removed, expired: names.count }, Some(false)));
        }
        let deadline = match deadline {
            Deadline::At(at_ms) => FieldDeadline::At(at_ms),
            _ if keeps => FieldDeadline::Keep,
            _ => FieldDeadline::Clear,
        };
        let set = pairs().map(|(field, value)| (field, hash.set(field, value, deadline, due_ms)));
        let revived = set.filter(|&(field, set)| fed.note(set == SetField::Revived, field)).count();
        Ok((Changes { count: names.count, expired: revived }, Some(revived > 0)))
    })?;
    if done.result.is_some() {
        if is_past {
            fed.feed(cx, &[b"HDEL", cx.arg(1)]);
            cx.effects.feed_nothing();
        } else {
            feed_hsetex(cx, &names, deadline, keeps, &fed);
        }
    }
    if let Some(had_expired) = done.result {
        let events = ["hexpired", "hset", "hexpire", "hexpired"];
        let end = match deadline {
            Deadline::At(_) if is_past => 4,
            Deadline::At(_) => 3,
            _ => 2,
        };
        done.tell(cx, &events[usize::from(!had_expired)..end]);
    }
    cx.reply.int(i64::from(done.result.is_some()));
    Ok(())
}

/// Has HSETEX repeated without its conditions, which hold, and with the deadline as a moment. `revived`: fields that had
/// expired, which therefore keep no deadline.
fn feed_hsetex(cx: &mut Cx<'_>, names: &FieldNames<'_>, deadline: Deadline, keeps: bool, revived: &Fed<'_>) {
    if !cx.effects.feeds() {
        return;
    }
    let (key, count) = (cx.arg(1), format_u64(names.count as u64));
    let at_ms;
    let first: &[&[u8]] = match deadline {
        Deadline::At(at) => {
            at_ms = format_i64(at);
            &[b"HSETEX", key, b"PXAT", &at_ms, b"FIELDS", &count]
        }
        _ if keeps => {
            // When it is repeated nothing has expired.
            revived.feed(cx, &[b"HPERSIST", key, b"FIELDS", &revived.count()]);
            &[b"HSETEX", key, b"KEEPTTL", b"FIELDS", &count]
        }
        _ => &[b"HSET", key],
    };
    cx.effects.feed_words(first.len() + 2 * names.count, first.iter().copied().chain(names.words()));
}
