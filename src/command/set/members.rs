//! Commands on the members of one set.

use super::place::{limits, read, reply_member, tell_added, tell_removed};
use crate::command::cursor::{self, Found, ScanOptions, Walked};
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error};
use crate::store::{Key, PackedKind};
use weir_structs::set::{SetMut, SetRef};

const READONLY_FAST: Flags = Flags::READONLY.union(Flags::FAST);
const WRITE_FAST: Flags = Flags::WRITE.union(Flags::FAST);
const ACL_READ_SET_FAST: Acl = Acl::READ.union(Acl::SET).union(Acl::FAST);
const ACL_READ_SET_SLOW: Acl = Acl::READ.union(Acl::SET).union(Acl::SLOW);
const ACL_WRITE_SET_FAST: Acl = Acl::WRITE.union(Acl::SET).union(Acl::FAST);
const KEY_RO_ACCESS: KeyFlags = KeyFlags::RO.union(KeyFlags::ACCESS);
const KEY_RW_ACCESS_DELETE: KeyFlags = KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE);
const KEY_RW_INSERT: KeyFlags = KeyFlags::RW.union(KeyFlags::INSERT);

/// Commands on the members of one set.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new(
            "sadd",
            -3,
            Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
            ACL_WRITE_SET_FAST,
            Group::Set,
            "1.0.0",
        )
        .keys(&[KeySpec::one(1, KEY_RW_INSERT)])
        .member(2)
        .doc("O(N) where N is the number of members given.", "Adds members to a set, creating it where missing.")
        .history(&[("2.4.0", "Takes more than one member.")])
        .args(&[Arg::key("key", 0), Arg::new("member", ArgKind::String).multiple()]),
        sadd_command,
    ),
    Row::new(
        Spec::new("srem", -3, WRITE_FAST, ACL_WRITE_SET_FAST, Group::Set, "1.0.0")
            .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::DELETE))])
            .member(2)
            .doc("O(N) where N is the number of members given.", "Removes members from a set.")
            .history(&[("2.4.0", "Takes more than one member.")])
            .args(&[Arg::key("key", 0), Arg::new("member", ArgKind::String).multiple()]),
        srem_command,
    ),
    Row::new(
        Spec::new("smove", 4, WRITE_FAST, ACL_WRITE_SET_FAST, Group::Set, "1.0.0")
            .keys(&[KeySpec::one(1, KEY_RW_ACCESS_DELETE), KeySpec::one(2, KEY_RW_INSERT)])
            .member(3)
            .doc("O(1)", "Moves a member of one set to another one.")
            .args(&[Arg::key("source", 0), Arg::key("destination", 1), Arg::new("member", ArgKind::String)]),
        smove_command,
    ),
    Row::new(
        Spec::new("sismember", 3, READONLY_FAST, ACL_READ_SET_FAST, Group::Set, "1.0.0")
            .keys(&[KeySpec::one(1, KeyFlags::RO)])
            .member(2)
            .doc("O(1)", "Says whether a set has a member.")
            .args(&[Arg::key("key", 0), Arg::new("member", ArgKind::String)]),
        sismember_command,
    ),
    Row::new(
        Spec::new("smismember", -3, READONLY_FAST, ACL_READ_SET_FAST, Group::Set, "6.2.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .member(2)
            .doc("O(N) where N is the number of members given.", "Says of several members whether a set has them.")
            .args(&[Arg::key("key", 0), Arg::new("member", ArgKind::String).multiple()]),
        smismember_command,
    ),
    Row::new(
        Spec::new("scard", 2, READONLY_FAST, ACL_READ_SET_FAST, Group::Set, "1.0.0")
            .keys(&[KeySpec::one(1, KeyFlags::RO)])
            .doc("O(1)", "Counts the members of a set.")
            .args(&[Arg::key("key", 0)]),
        scard_command,
    ),
    Row::new(
        Spec::new("smembers", 2, Flags::READONLY, ACL_READ_SET_SLOW, Group::Set, "1.0.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .tips(&["nondeterministic_output_order"])
            .doc("O(N) where N is the number of members of the set.", "Returns the members of a set.")
            .args(&[Arg::key("key", 0)]),
        smembers_command,
    ),
    Row::new(
        Spec::new("sscan", -3, Flags::READONLY, ACL_READ_SET_SLOW, Group::Set, "2.8.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .tips(&["nondeterministic_output"])
            .doc(
                "O(1) for each call, O(N) for a whole walk where N is the number of members.",
                "Walks the members of a set, some of them with each call.",
            )
            .args(&[
                Arg::key("key", 0),
                Arg::new("cursor", ArgKind::Integer),
                Arg::new("pattern", ArgKind::Pattern).token("MATCH").optional(),
                Arg::new("count", ArgKind::Integer).token("COUNT").optional(),
            ]),
        sscan_command,
    ),
];

fn sadd_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let key = cx.key(1);
    let (added, is_new) = add(cx, key, 2)?;
    if added > 0 {
        tell_added(cx, key, is_new);
        cx.effects.changed(added as u64);
    }
    cx.reply.count(added);
    Ok(())
}

/// Adds the arguments from `at` on, at least one, to the set at a key, which is made if it is missing. Says how many
/// are new, and whether the key is.
fn add(cx: &mut Cx<'_>, key: Key<'_>, at: usize) -> Result<(usize, bool), Error> {
    let (limits, words) = (limits(cx.config), cx.words(at));
    let (mut entry, is_new) = cx.store.db(cx.db_index).get_or_create(key, PackedKind::SetInts);
    if SetRef::of(entry.as_ref()).is_none() {
        return Err(Error::WRONG_TYPE);
    }
    let added = entry.try_change(|value| {
        let added = SetMut::of(value, &limits)
            .map_or(0, |mut set| set.add_all(words.peek().unwrap_or_default(), words.left(), words));
        (added > 0, added)
    });
    Ok((added, is_new))
}

fn srem_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let key = cx.key(1);
    let (removed, emptied) = remove(cx, key, 2, usize::MAX)?;
    if removed > 0 {
        tell_removed(cx, key, "srem", emptied);
        cx.effects.changed(removed as u64);
    }
    cx.reply.count(removed);
    Ok(())
}

/// Removes the arguments from `at` on, at most `count`, from the set at a key, and the key with the last member. Says how
/// many were there, and whether the key is gone.
fn remove(cx: &mut Cx<'_>, key: Key<'_>, at: usize, count: usize) -> Result<(usize, bool), Error> {
    let (limits, words) = (limits(cx.config), cx.words(at));
    let Some(mut entry) = cx.store.db(cx.db_index).get_mut(key) else { return Ok((0, false)) };
    if SetRef::of(entry.as_ref()).is_none() {
        return Err(Error::WRONG_TYPE);
    }
    let (removed, emptied) = entry.try_change(|value| {
        let Some(mut set) = SetMut::of(value, &limits) else { return (false, (0, false)) };
        let removed = set.remove_all(words.take(count));
        (removed > 0, (removed, set.is_empty()))
    });
    if emptied {
        entry.remove();
    }
    Ok((removed, emptied))
}

fn smove_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (from, to, member) = (cx.key(1), cx.key(2), cx.arg(3));
    let db = cx.db_index;
    let Some(source) = cx.store.db(db).get_mut(from) else {
        cx.reply.int(0);
        return Ok(());
    };
    let source = SetRef::of(source.as_ref()).ok_or(Error::WRONG_TYPE)?;
    let is_member = source.contains(member);
    if let Some(target) = cx.store.db(db).get_mut(to)
        && SetRef::of(target.as_ref()).is_none()
    {
        return Err(Error::WRONG_TYPE);
    }
    if !is_member || from.name == to.name {
        cx.reply.int(i64::from(is_member));
        return Ok(());
    }
    let (_, emptied) = remove(cx, from, 3, 1)?;
    tell_removed(cx, from, "srem", emptied);
    cx.effects.changed(1);
    let (added, is_new) = add(cx, to, 3)?;
    if added > 0 {
        tell_added(cx, to, is_new);
        cx.effects.changed(1);
    }
    cx.reply.int(1);
    Ok(())
}

fn sismember_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let set = read(cx.store, cx.db_index, cx.key(1), cx.effects)?;
    let is_member = set.is_some_and(|set| set.contains(cx.argv.get(2).unwrap_or_default()));
    cx.reply.int(i64::from(is_member));
    Ok(())
}

fn smismember_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (key, words) = (cx.key(1), cx.words(2));
    let set = read(cx.store, cx.db_index, key, cx.effects)?;
    cx.reply.array(words.left());
    for member in words {
        cx.reply.int(i64::from(set.is_some_and(|set| set.contains(member))));
    }
    Ok(())
}

fn scard_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let set = read(cx.store, cx.db_index, cx.key(1), cx.effects)?;
    cx.reply.count(set.map_or(0, SetRef::len));
    Ok(())
}

fn smembers_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let set = read(cx.store, cx.db_index, cx.key(1), cx.effects)?;
    cx.reply.set(set.map_or(0, SetRef::len));
    if let Some(set) = set {
        set.iter().for_each(|member| reply_member(&mut cx.reply, member));
    }
    Ok(())
}

fn sscan_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (cursor, words) = (cursor::parse(cx.arg(2))?, cx.words(3));
    let Some(set) = read(cx.store, cx.db_index, cx.key(1), cx.effects)? else {
        Found::default().reply(&mut cx.reply, 0);
        return Ok(());
    };
    let options = ScanOptions::parse(words, Walked::Set)?;
    let mut found = Found::default();
    let cursor = options.step(cursor, |cursor, seen| {
        set.scan(cursor, &mut |member| {
            *seen += 1;
            let text = member.text();
            if options.fits(&text) {
                found.push(&text);
            }
        })
    });
    found.reply(&mut cx.reply, cursor);
    Ok(())
}
