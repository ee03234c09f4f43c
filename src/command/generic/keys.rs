//! Commands on keys whatever they hold: deleting, looking, renaming, copying and moving.
//!
//! Many keys at once are taken in windows, so that their memory is fetched together rather than one after the other.

use crate::command::args;
use crate::command::effects::EventClass;
use crate::command::spec::{Acl, Arg, ArgKind, DatabaseArgs, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::value_type::type_name;
use crate::command::{Cx, Error};
use crate::store::{EntryRef, Key, Removal, TakenValue};

const READONLY_FAST: Flags = Flags::READONLY.union(Flags::FAST);
const WRITE_FAST: Flags = Flags::WRITE.union(Flags::FAST);
const ACL_KEYSPACE_READ_FAST: Acl = Acl::KEYSPACE.union(Acl::READ).union(Acl::FAST);
const ACL_KEYSPACE_WRITE_FAST: Acl = Acl::KEYSPACE.union(Acl::WRITE).union(Acl::FAST);
const ACL_KEYSPACE_WRITE_SLOW: Acl = Acl::KEYSPACE.union(Acl::WRITE).union(Acl::SLOW);
const KEY_OW_UPDATE: KeyFlags = KeyFlags::OW.union(KeyFlags::UPDATE);
const KEY_RM_DELETE: KeyFlags = KeyFlags::RM.union(KeyFlags::DELETE);
const KEY_RW_ACCESS_DELETE: KeyFlags = KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE);

/// Commands on keys of any type.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new("del", -2, Flags::WRITE, ACL_KEYSPACE_WRITE_SLOW, Group::Generic, "1.0.0")
            .keys(&[KeySpec::range(1, -1, 1, KEY_RM_DELETE)])
            .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
            .doc("O(N) where N is the number of keys, plus O(M) for each collection of M elements.", "Deletes keys.")
            .args(&[Arg::key("key", 0).multiple()]),
        del_command,
    ),
    Row::new(
        Spec::new("unlink", -2, WRITE_FAST, ACL_KEYSPACE_WRITE_FAST, Group::Generic, "4.0.0")
            .keys(&[KeySpec::range(1, -1, 1, KEY_RM_DELETE)])
            .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
            .doc(
                "O(1) for each key, plus O(N) in the background for its N allocations.",
                "Deletes keys at once and frees their memory in the background.",
            )
            .args(&[Arg::key("key", 0).multiple()]),
        unlink_command,
    ),
    Row::new(
        Spec::new("exists", -2, READONLY_FAST, ACL_KEYSPACE_READ_FAST, Group::Generic, "1.0.0")
            .keys(&[KeySpec::range(1, -1, 1, KeyFlags::RO)])
            .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
            .doc(
                "O(N) where N is the number of keys.",
                "Counts how many of the given keys exist, one named twice counting twice.",
            )
            .history(&[("3.0.3", "Takes more than one key.")])
            .args(&[Arg::key("key", 0).multiple()]),
        exists_command,
    ),
    Row::new(
        Spec::new("touch", -2, READONLY_FAST, ACL_KEYSPACE_READ_FAST, Group::Generic, "3.2.1")
            .keys(&[KeySpec::range(1, -1, 1, KeyFlags::RO)])
            .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
            .doc("O(N) where N is the number of keys.", "Marks keys as just accessed and counts those that exist.")
            .args(&[Arg::key("key", 0).multiple()]),
        touch_command,
    ),
    Row::new(
        Spec::new("type", 2, READONLY_FAST, ACL_KEYSPACE_READ_FAST, Group::Generic, "1.0.0")
            .keys(&[KeySpec::one(1, KeyFlags::RO)])
            .doc("O(1)", "Returns the name of the type of a key's value.")
            .args(&[Arg::key("key", 0)]),
        type_command,
    ),
    Row::new(
        Spec::new("rename", 3, Flags::WRITE, ACL_KEYSPACE_WRITE_SLOW, Group::Generic, "1.0.0")
            .keys(&[KeySpec::one(1, KEY_RW_ACCESS_DELETE), KeySpec::one(2, KEY_OW_UPDATE)])
            .doc("O(1)", "Gives a key another name, replacing any key of that name.")
            .args(&[Arg::key("key", 0), Arg::key("newkey", 1)]),
        rename_command,
    ),
    Row::new(
        Spec::new("renamenx", 3, WRITE_FAST, ACL_KEYSPACE_WRITE_FAST, Group::Generic, "1.0.0")
            .keys(&[KeySpec::one(1, KEY_RW_ACCESS_DELETE), KeySpec::one(2, KeyFlags::OW.union(KeyFlags::INSERT))])
            .doc("O(1)", "Gives a key another name unless a key of that name exists.")
            .history(&[("3.2.0", "Equal names are no error any more.")])
            .args(&[Arg::key("key", 0), Arg::key("newkey", 1)]),
        renamenx_command,
    ),
    Row::new(
        Spec::new("copy", -3, Flags::WRITE.union(Flags::DENYOOM), ACL_KEYSPACE_WRITE_SLOW, Group::Generic, "6.2.0")
            .keys(&[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS)), KeySpec::one(2, KEY_OW_UPDATE)])
            .databases(DatabaseArgs::Behind("DB"))
            .doc(
                "O(N) where N is the number of elements of a collection, O(1) for a string.",
                "Copies the value of a key and its expiry to another key.",
            )
            .args(&[
                Arg::key("source", 0),
                Arg::key("destination", 1),
                Arg::new("destination-db", ArgKind::Integer).token("DB").optional(),
                Arg::word("replace", "REPLACE").optional(),
            ]),
        copy_command,
    ),
    Row::new(
        Spec::new("move", 3, WRITE_FAST, ACL_KEYSPACE_WRITE_FAST, Group::Generic, "1.0.0")
            .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))])
            .databases(DatabaseArgs::At(&[2]))
            .doc("O(1)", "Moves a key to another database unless it exists there.")
            .args(&[Arg::key("key", 0), Arg::new("db", ArgKind::Integer)]),
        move_command,
    ),
    Row::new(
        Spec::new(
            "randomkey",
            1,
            Flags::READONLY,
            Acl::KEYSPACE.union(Acl::READ).union(Acl::SLOW),
            Group::Generic,
            "1.0.0",
        )
        .tips(&["request_policy:all_shards", "response_policy:special", "nondeterministic_output"])
        .doc("O(1)", "Returns the name of a key picked at random from the database."),
        randomkey_command,
    ),
];

/// Expired keys that RANDOMKEY removes before it gives up picking and takes the first live key there is.
const RANDOM_TRIES: usize = 1000;

fn del_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    delete(cx, cx.config.lazyfree_lazy_user_del)
}

fn unlink_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    delete(cx, true)
}

/// Large values are freed elsewhere in any case; `lazily` says whether that was asked for.
fn delete(cx: &mut Cx<'_>, lazily: bool) -> Result<(), Error> {
    let deleted = count_keys(cx, |cx, key| {
        let removed = cx.db().delete(key, lazily) == Removal::Removed;
        if removed {
            cx.effects.changed(1);
            cx.effects.event(EventClass::GENERIC, "del", key.name, cx.db_index);
        }
        removed
    });
    cx.reply.count(deleted);
    Ok(())
}

fn exists_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let found = count_keys(cx, |cx, key| look(cx, key, |_| ()).is_some());
    cx.reply.count(found);
    Ok(())
}

fn touch_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let found = count_keys(cx, |cx, key| {
        let there = cx.db().touch(key);
        if !there {
            tell_miss(cx, key);
        }
        there
    });
    cx.reply.count(found);
    Ok(())
}

fn type_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let key = cx.key(1);
    let name = look(cx, key, type_name).unwrap_or("none");
    cx.reply.simple(name);
    Ok(())
}

/// Of how many of the keys that are the command's arguments `each` says yes.
fn count_keys<'c>(cx: &mut Cx<'c>, mut each: impl FnMut(&mut Cx<'c>, Key<'c>) -> bool) -> usize {
    if cx.argc() == 2 {
        let key = cx.key(1);
        return usize::from(each(cx, key));
    }
    let argv = cx.argv;
    let mut names = argv.iter().skip(1);
    let mut count = 0;
    loop {
        let window = cx.store.key_window(cx.db_index, &mut names);
        if window.is_empty() {
            return count;
        }
        for &key in window.keys() {
            count += usize::from(each(cx, key));
        }
    }
}

/// Looks at a key without moving its access clock. Counts a hit or a miss, and tells of a miss.
pub(super) fn look<T>(cx: &mut Cx<'_>, key: Key<'_>, read: impl FnOnce(EntryRef<'_>) -> T) -> Option<T> {
    let seen = cx.db().look(key).map(read);
    if seen.is_none() {
        tell_miss(cx, key);
    }
    seen
}

pub(super) fn tell_miss(cx: &mut Cx<'_>, key: Key<'_>) {
    cx.effects.event(EventClass::MISS, "keymiss", key.name, cx.db_index);
}

fn rename_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    rename(cx, false)?;
    cx.reply.ok();
    Ok(())
}

fn renamenx_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let renamed = rename(cx, true)?;
    cx.reply.int(i64::from(renamed));
    Ok(())
}

/// Gives key 1 the name of key 2. Returns whether anything changed.
fn rename(cx: &mut Cx<'_>, only_to_free_name: bool) -> Result<bool, Error> {
    let (from, to) = (cx.key(1), cx.key(2));
    if cx.db().get_mut(from).is_none() {
        return Err(Error::NO_SUCH_KEY);
    }
    if from.name == to.name || (only_to_free_name && cx.db().get_mut(to).is_some()) {
        return Ok(false);
    }
    if cx.store.holds_name(cx.db_index, from) {
        return Err(Error::MQ_NAME_IN_USE);
    }
    let renamed = cx.store.view(cx.db_index, from).map_or("", type_name);
    let replaced = cx.replaces(cx.db_index, to, renamed);
    let Some(taken) = cx.db().get_mut(from).map(|entry| entry.take()) else { return Err(Error::NO_SUCH_KEY) };
    put(cx, cx.db_index, to, taken);
    cx.effects.changed(1);
    cx.effects.event(EventClass::NEW, "new", to.name, cx.db_index);
    cx.effects.event(EventClass::GENERIC, "rename_from", from.name, cx.db_index);
    cx.effects.event(EventClass::GENERIC, "rename_to", to.name, cx.db_index);
    cx.tell_replaced(replaced, cx.db_index, to);
    Ok(true)
}

/// Puts a value at a key, in place of what is there.
fn put(cx: &mut Cx<'_>, db_index: usize, key: Key<'_>, value: TakenValue) {
    cx.store.db(db_index).remove(key);
    cx.store.db(db_index).put(key, value);
}

fn copy_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (mut to_db, mut replace) = (cx.db_index, false);
    let mut words = cx.words(3);
    while words.peek().is_some() {
        if words.accept("REPLACE") {
            replace = true;
        } else if words.accept("DB") {
            to_db = database(cx, words.expect()?)?;
        } else {
            return Err(Error::SYNTAX);
        }
    }
    let (from, to) = (cx.key(1), cx.key(2));
    if to_db == cx.db_index && from.name == to.name {
        return Err(Error::SAME_OBJECT);
    }
    let Some(copy) = cx.db().get(from).map(|entry| entry.copy_value()) else {
        tell_miss(cx, from);
        cx.reply.int(0);
        return Ok(());
    };
    if !replace && cx.store.db(to_db).get_mut(to).is_some() {
        cx.reply.int(0);
        return Ok(());
    }
    let copied = cx.store.view(cx.db_index, from).map_or("", type_name);
    let replaced = cx.replaces(to_db, to, copied);
    put(cx, to_db, to, copy);
    cx.effects.changed(1);
    cx.effects.event(EventClass::NEW, "new", to.name, to_db);
    cx.effects.event(EventClass::GENERIC, "copy_to", to.name, to_db);
    cx.tell_replaced(replaced, to_db, to);
    cx.reply.int(1);
    Ok(())
}

fn move_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let to_db = database(cx, cx.arg(2))?;
    if to_db == cx.db_index {
        return Err(Error::SAME_OBJECT);
    }
    let key = cx.key(1);
    let is_free = |cx: &mut Cx<'_>| cx.store.db(to_db).get_mut(key).is_none();
    let moves = cx.db().get_mut(key).is_some() && is_free(cx);
    if moves && cx.store.holds_name(cx.db_index, key) {
        return Err(Error::MQ_NAME_IN_USE);
    }
    if moves && let Some(taken) = cx.db().get_mut(key).map(|entry| entry.take()) {
        cx.store.db(to_db).put(key, taken);
        cx.effects.changed(1);
        cx.effects.event(EventClass::NEW, "new", key.name, to_db);
        cx.effects.event(EventClass::GENERIC, "move_from", key.name, cx.db_index);
        cx.effects.event(EventClass::GENERIC, "move_to", key.name, to_db);
    }
    cx.reply.int(i64::from(moves));
    Ok(())
}

/// The database that an argument names.
fn database(cx: &Cx<'_>, arg: &[u8]) -> Result<usize, Error> {
    let index = args::int_in(arg, i64::from(i32::MIN), i64::from(i32::MAX))?;
    usize::try_from(index).ok().filter(|&i| i < cx.store.databases()).ok_or(Error::DB_OUT_OF_RANGE)
}

fn randomkey_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let due_ms = cx.due_ms();
    for _ in 0..RANDOM_TRIES {
        let Some(entry) = cx.store.db(cx.db_index).random() else {
            cx.reply.null();
            return Ok(());
        };
        if entry.expire_at().is_none_or(|at| at > due_ms) {
            cx.reply.bulk(entry.key());
            return Ok(());
        }
        let name: Box<[u8]> = entry.key().into();
        let key = cx.store.key(&name);
        // Looking at it is what removes an expired key.
        cx.db().peek(key);
    }
    let db = cx.store.db(cx.db_index);
    let live = db.iter().find(|entry| entry.expire_at().is_none_or(|at| at > due_ms));
    match live {
        Some(entry) => cx.reply.bulk(entry.key()),
        None => cx.reply.null(),
    }
    Ok(())
}
