//! Commands that look at fields.

use super::access;
use crate::command::cursor::{self, Found, ScanOptions, Walked};
use crate::command::reply::Reply;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error, args, repeats};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use weir_structs::hash::HashRef;
use weir_structs::packed::Element;

const READONLY_FAST: Flags = Flags::READONLY.union(Flags::FAST);
const ACL_READ_HASH_FAST: Acl = Acl::READ.union(Acl::HASH).union(Acl::FAST);
const ACL_READ_HASH_SLOW: Acl = Acl::READ.union(Acl::HASH).union(Acl::SLOW);
const KEY_RO_ACCESS: KeyFlags = KeyFlags::RO.union(KeyFlags::ACCESS);

/// Commands that look at fields.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new("hget", 3, READONLY_FAST, ACL_READ_HASH_FAST, Group::Hash, "2.0.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc("O(1)", "Returns the value of a field of a hash.")
            .args(&[Arg::key("key", 0), Arg::new("field", ArgKind::String)]),
        hget_command,
    ),
    Row::new(
        Spec::new("hmget", -3, READONLY_FAST, ACL_READ_HASH_FAST, Group::Hash, "2.0.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc("O(N) where N is the number of fields named.", "Returns the values of several fields of a hash.")
            .args(&[Arg::key("key", 0), Arg::new("field", ArgKind::String).multiple()]),
        hmget_command,
    ),
    Row::new(
        Spec::new("hgetall", 2, Flags::READONLY, ACL_READ_HASH_SLOW, Group::Hash, "2.0.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .tips(&["nondeterministic_output_order"])
            .doc("O(N) where N is the number of fields of the hash.", "Returns the fields of a hash with their values.")
            .args(&[Arg::key("key", 0)]),
        hgetall_command,
    ),
    Row::new(
        Spec::new("hkeys", 2, Flags::READONLY, ACL_READ_HASH_SLOW, Group::Hash, "2.0.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .tips(&["nondeterministic_output_order"])
            .doc("O(N) where N is the number of fields of the hash.", "Returns the names of the fields of a hash.")
            .args(&[Arg::key("key", 0)]),
        hkeys_command,
    ),
    Row::new(
        Spec::new("hvals", 2, Flags::READONLY, ACL_READ_HASH_SLOW, Group::Hash, "2.0.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .tips(&["nondeterministic_output_order"])
            .doc("O(N) where N is the number of fields of the hash.", "Returns the values of all fields of a hash.")
            .args(&[Arg::key("key", 0)]),
        hvals_command,
    ),
    Row::new(
        Spec::new("hlen", 2, READONLY_FAST, ACL_READ_HASH_FAST, Group::Hash, "2.0.0")
            .keys(&[KeySpec::one(1, KeyFlags::RO)])
            .doc("O(1)", "Counts the fields of a hash.")
            .args(&[Arg::key("key", 0)]),
        hlen_command,
    ),
    Row::new(
        Spec::new("hexists", 3, READONLY_FAST, ACL_READ_HASH_FAST, Group::Hash, "2.0.0")
            .keys(&[KeySpec::one(1, KeyFlags::RO)])
            .doc("O(1)", "Says whether a hash has a field.")
            .args(&[Arg::key("key", 0), Arg::new("field", ArgKind::String)]),
        hexists_command,
    ),
    Row::new(
        Spec::new("hstrlen", 3, READONLY_FAST, ACL_READ_HASH_FAST, Group::Hash, "3.2.0")
            .keys(&[KeySpec::one(1, KeyFlags::RO)])
            .doc("O(1)", "Returns how many bytes the value of a field of a hash has.")
            .args(&[Arg::key("key", 0), Arg::new("field", ArgKind::String)]),
        hstrlen_command,
    ),
    Row::new(
        Spec::new("hrandfield", -2, Flags::READONLY, ACL_READ_HASH_SLOW, Group::Hash, "6.2.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .tips(&["nondeterministic_output"])
            .doc(
                "O(N) where N is the number of fields returned.",
                "Returns fields of a hash picked at random, with their values if asked to.",
            )
            .args(&[
                Arg::key("key", 0),
                Arg::block(
                    "options",
                    &[Arg::new("count", ArgKind::Integer), Arg::word("withvalues", "WITHVALUES").optional()],
                )
                .optional(),
            ]),
        hrandfield_command,
    ),
    Row::new(
        Spec::new("hscan", -3, Flags::READONLY, ACL_READ_HASH_SLOW, Group::Hash, "2.8.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .tips(&["nondeterministic_output"])
            .doc(
                "O(1) for each call, O(N) for a whole walk where N is the number of fields.",
                "Walks the fields of a hash, some of them with each call.",
            )
            .args(&[
                Arg::key("key", 0),
                Arg::new("cursor", ArgKind::Integer),
                Arg::new("pattern", ArgKind::Pattern).token("MATCH").optional(),
                Arg::new("count", ArgKind::Integer).token("COUNT").optional(),
                Arg::word("novalues", "NOVALUES").optional(),
            ]),
        hscan_command,
    ),
];

fn hget_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (field, due_ms) = (cx.arg(2), cx.due_ms());
    access::read(cx, |reply, hash| reply_value(reply, hash.and_then(|hash| hash.get(field, due_ms))))
}

fn reply_value(reply: &mut Reply<'_>, value: Option<Element<'_>>) {
    match value {
        Some(value) => reply.element(value),
        None => reply.null(),
    }
}

fn hmget_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (fields, due_ms) = (cx.words(2), cx.due_ms());
    access::read(cx, |reply, hash| {
        reply.array(fields.left());
        match hash {
            Some(hash) => hash.get_each(fields, due_ms, |value| reply_value(reply, value)),
            None => fields.for_each(|_| reply.null()),
        }
    })
}

fn hgetall_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let due_ms = cx.due_ms();
    access::read(cx, |reply, hash| {
        reply.map(hash.map_or(0, |hash| hash.live_len(due_ms)));
        if let Some(hash) = hash {
            hash.for_each(due_ms, |field, value| {
                reply.element(field);
                reply.element(value);
            });
        }
    })
}

fn hkeys_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    reply_each(cx, |reply, field, _| reply.element(field))
}

fn hvals_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    reply_each(cx, |reply, _, value| reply.element(value))
}

fn reply_each<'c>(cx: &mut Cx<'c>, each: impl Fn(&mut Reply<'c>, Element<'_>, Element<'_>)) -> Result<(), Error> {
    let due_ms = cx.due_ms();
    access::read(cx, |reply, hash| {
        reply.array(hash.map_or(0, |hash| hash.live_len(due_ms)));
        if let Some(hash) = hash {
            hash.for_each(due_ms, |field, value| each(reply, field, value));
        }
    })
}

fn hlen_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    // Fields that are due count until they have been taken out.
    access::read(cx, |reply, hash| reply.count(hash.map_or(0, HashRef::len)))
}

fn hexists_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (field, due_ms) = (cx.arg(2), cx.due_ms());
    access::read(cx, |reply, hash| {
        let there = hash.is_some_and(|hash| hash.get(field, due_ms).is_some());
        reply.int(i64::from(there));
    })
}

fn hstrlen_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (field, due_ms) = (cx.arg(2), cx.due_ms());
    access::read(cx, |reply, hash| {
        let value = hash.and_then(|hash| hash.get(field, due_ms));
        reply.count(value.map_or(0, Element::text_len));
    })
}

fn hrandfield_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let due_ms = cx.due_ms();
    let mut random = SmallRng::seed_from_u64(cx.store.random_u64());
    let mut rng = || random.random();
    if cx.argc() == 2 {
        return access::read(cx, |reply, hash| match hash.and_then(|hash| hash.random(due_ms, &mut rng)) {
            Some((field, _)) => reply.element(field),
            None => reply.null(),
        });
    }
    let count = args::int_in(cx.arg(2), -i64::MAX, i64::MAX)?;
    let with_values = cx.argc() > 3;
    if cx.argc() > 4 || (with_values && !args::is(cx.arg(3), "WITHVALUES")) {
        return Err(Error::SYNTAX);
    }
    if with_values && count.unsigned_abs() > (i64::MAX / 2) as u64 {
        return Err(Error::OUT_OF_RANGE);
    }
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    access::read(cx, |reply, hash| {
        let live = hash.map_or(0, |hash| hash.live_len(due_ms));
        if let Some(hash) = hash.filter(|_| count < 0) {
            repeats::check(count.unsigned_abs(), live as u64, hash.memory_bytes())?;
        }
        let len = match count {
            _ if live == 0 => 0,
            0.. => wanted.min(live),
            _ => wanted,
        };
        let nested = with_values && reply.is_resp3();
        reply.array(if with_values && !nested { 2 * len } else { len });
        let each = |field: Element<'_>, value: Element<'_>| {
            if nested {
                reply.array(2);
            }
            reply.element(field);
            if with_values {
                reply.element(value);
            }
        };
        match hash {
            Some(hash) if count > 0 => hash.random_distinct(wanted, due_ms, &mut rng, each),
            Some(hash) if count < 0 => hash.random_repeated(wanted, due_ms, &mut rng, each),
            _ => {}
        }
        Ok(())
    })?
}

fn hscan_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (cursor, words, due_ms) = (cursor::parse(cx.arg(2))?, cx.words(3), cx.due_ms());
    access::read(cx, |reply, hash| {
        let mut found = Found::default();
        let Some(hash) = hash else {
            found.reply(reply, 0);
            return Ok(());
        };
        let options = ScanOptions::parse(words, Walked::Hash)?;
        let cursor = options.step(cursor, |cursor, seen| {
            hash.scan(cursor, due_ms, &mut |field, value| {
                *seen += 1;
                if options.fits(&field.text()) {
                    found.push(&field.text());
                    if !options.keys_only {
                        found.push(&value.text());
                    }
                }
            })
        });
        found.reply(reply, cursor);
        Ok(())
    })?
}
