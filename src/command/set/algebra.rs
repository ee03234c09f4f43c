//! Several sets together: what all of them have, what any has, what the first has alone; replied, counted or stored.

use super::place::{limits, read, reply_member};
use crate::command::effects::{Effects, EventClass};
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error, args};
use crate::store::{Big, PackedKind, Removal, Store};
use std::ops::{ControlFlow, Range};
use weir_resp::Argv;
use weir_structs::keyspace::KeyHasher;
use weir_structs::set::{self, Difference, Emit, OwnedSet, SetForm, SetLimits, SetMut, SetRef};

const WRITE_DENYOOM: Flags = Flags::WRITE.union(Flags::DENYOOM);
const ACL_READ_SET_SLOW: Acl = Acl::READ.union(Acl::SET).union(Acl::SLOW);
const ACL_WRITE_SET_SLOW: Acl = Acl::WRITE.union(Acl::SET).union(Acl::SLOW);
const KEY_OW_UPDATE: KeyFlags = KeyFlags::OW.union(KeyFlags::UPDATE);
const KEY_RO_ACCESS: KeyFlags = KeyFlags::RO.union(KeyFlags::ACCESS);

/// Commands on several sets.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new("sinter", -2, Flags::READONLY, ACL_READ_SET_SLOW, Group::Set, "1.0.0")
            .keys(&[KeySpec::range(1, -1, 1, KEY_RO_ACCESS)])
            .tips(&["nondeterministic_output_order"])
            .doc(
                "O(N*M) where N is the size of the smallest set and M the number of sets.",
                "Returns the members that all of the sets have.",
            )
            .args(&[Arg::key("key", 0).multiple()]),
        sinter_command,
    ),
    Row::new(
        Spec::new("sinterstore", -3, WRITE_DENYOOM, ACL_WRITE_SET_SLOW, Group::Set, "1.0.0")
            .keys(&[KeySpec::one(1, KEY_OW_UPDATE), KeySpec::range(2, -1, 1, KEY_RO_ACCESS)])
            .doc(
                "O(N*M) where N is the size of the smallest set and M the number of sets.",
                "Stores the members that all of the sets have.",
            )
            .args(&[Arg::key("destination", 0), Arg::key("key", 1).multiple()]),
        sinterstore_command,
    ),
    Row::new(
        Spec::new("sintercard", -3, Flags::READONLY.union(Flags::MOVABLEKEYS), ACL_READ_SET_SLOW, Group::Set, "7.0.0")
            .keys(&[KeySpec::counted(1, KEY_RO_ACCESS)])
            .doc(
                "O(N*M) where N is the size of the smallest set and M the number of sets.",
                "Counts the members that all of the sets have, up to a limit if asked to.",
            )
            .args(&[
                Arg::new("numkeys", ArgKind::Integer),
                Arg::key("key", 0).multiple(),
                Arg::new("limit", ArgKind::Integer).token("LIMIT").optional(),
            ]),
        sintercard_command,
    ),
    Row::new(
        Spec::new("sunion", -2, Flags::READONLY, ACL_READ_SET_SLOW, Group::Set, "1.0.0")
            .keys(&[KeySpec::range(1, -1, 1, KEY_RO_ACCESS)])
            .tips(&["nondeterministic_output_order"])
            .doc("O(N) where N is the sum of the sizes of the sets.", "Returns the members that any of the sets has.")
            .args(&[Arg::key("key", 0).multiple()]),
        sunion_command,
    ),
    Row::new(
        Spec::new("sunionstore", -3, WRITE_DENYOOM, ACL_WRITE_SET_SLOW, Group::Set, "1.0.0")
            .keys(&[KeySpec::one(1, KEY_OW_UPDATE), KeySpec::range(2, -1, 1, KEY_RO_ACCESS)])
            .doc("O(N) where N is the sum of the sizes of the sets.", "Stores the members that any of the sets has.")
            .args(&[Arg::key("destination", 0), Arg::key("key", 1).multiple()]),
        sunionstore_command,
    ),
    Row::new(
        Spec::new("sdiff", -2, Flags::READONLY, ACL_READ_SET_SLOW, Group::Set, "1.0.0")
            .keys(&[KeySpec::range(1, -1, 1, KEY_RO_ACCESS)])
            .tips(&["nondeterministic_output_order"])
            .doc(
                "O(N) where N is the sum of the sizes of the sets.",
                "Returns the members of a set that none of the other sets has.",
            )
            .args(&[Arg::key("key", 0).multiple()]),
        sdiff_command,
    ),
    Row::new(
        Spec::new("sdiffstore", -3, WRITE_DENYOOM, ACL_WRITE_SET_SLOW, Group::Set, "1.0.0")
            .keys(&[KeySpec::one(1, KEY_OW_UPDATE), KeySpec::range(2, -1, 1, KEY_RO_ACCESS)])
            .doc(
                "O(N) where N is the sum of the sizes of the sets.",
                "Stores the members of a set that none of the other sets has.",
            )
            .args(&[Arg::key("destination", 0), Arg::key("key", 1).multiple()]),
        sdiffstore_command,
    ),
];

fn sinter_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    reply(cx, Operation::Intersection)
}

fn sinterstore_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    store(cx, Operation::Intersection)
}

fn sunion_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    reply(cx, Operation::Union)
}

fn sunionstore_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    store(cx, Operation::Union)
}

fn sdiff_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    reply(cx, Operation::Difference)
}

fn sdiffstore_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    store(cx, Operation::Difference)
}

fn sintercard_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let keys = cx.int(1).ok().and_then(|keys| usize::try_from(keys).ok()).filter(|&keys| keys > 0);
    let keys = keys.ok_or(Error::NUMKEYS_NOT_POSITIVE)?;
    if keys > cx.argc() - 2 {
        return Err(Error::NUMKEYS_TOO_LARGE);
    }
    let (mut limit, mut words) = (0, cx.words(2 + keys));
    while words.peek().is_some() {
        if !words.accept("LIMIT") {
            return Err(Error::SYNTAX);
        }
        let number = args::int(words.expect()?).ok().and_then(|limit| usize::try_from(limit).ok());
        limit = number.ok_or(Error::LIMIT_NEGATIVE)?;
    }
    let mut sets = sets(cx.store, cx.db_index, cx.argv, 2..2 + keys, cx.effects)?;
    let mut count = 0;
    match sets.as_slice() {
        [only] if limit == 0 => count = only.len(),
        [only] => count = only.len().min(limit),
        _ => set::intersection(&mut sets, &mut |_| {
            count += 1;
            if count == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }),
    }
    cx.reply.count(count);
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Intersection,
    Union,
    Difference,
}

impl Operation {
    fn event(self) -> &'static str {
        match self {
            Operation::Intersection => "sinterstore",
            Operation::Union => "sunionstore",
            Operation::Difference => "sdiffstore",
        }
    }

    /// Gives the members of the result, each once.
    fn run<'s>(self, sets: &mut [SetRef<'s>], hasher: &KeyHasher, limits: &SetLimits, emit: Emit<'_, 's>) {
        match self {
            Operation::Intersection => set::intersection(sets, emit),
            Operation::Union => set::union(sets, hasher, limits, emit),
            Operation::Difference => {
                if let Some((first, others)) = sets.split_first_mut() {
                    set::difference(*first, others, emit);
                }
            }
        }
    }
}

/// Looks up the sets at these arguments, one after the other, and shows all of them; a missing one is empty.
///
/// # Errors
/// One of them is no set.
fn sets<'s>(
    store: &'s mut Store,
    db: usize,
    argv: Argv<'_>,
    keys: Range<usize>,
    effects: &mut Effects,
) -> Result<Vec<SetRef<'s>>, Error> {
    let names = || keys.clone().filter_map(|at| argv.get(at));
    let mut rest = names();
    loop {
        let window = store.key_window(db, &mut rest);
        if window.is_empty() {
            break;
        }
        for &key in window.keys() {
            read(store, db, key, effects)?;
        }
    }
    let store: &Store = store;
    let shown = |name| store.view(db, store.key(name)).and_then(SetRef::of).unwrap_or(SetRef::EMPTY);
    Ok(names().map(shown).collect())
}

fn reply(cx: &mut Cx<'_>, operation: Operation) -> Result<(), Error> {
    let (limits, hasher, keys) = (limits(cx.config), cx.store.hasher().clone(), 1..cx.argc());
    let mut sets = sets(cx.store, cx.db_index, cx.argv, keys, cx.effects)?;
    let (header, mut count) = (cx.reply.deferred_set(), 0);
    operation.run(&mut sets, &hasher, &limits, &mut |member| {
        reply_member(&mut cx.reply, member);
        count += 1;
        ControlFlow::Continue(())
    });
    cx.reply.close(header, count);
    Ok(())
}

fn store(cx: &mut Cx<'_>, operation: Operation) -> Result<(), Error> {
    let (target, keys) = (cx.key(1), 2..cx.argc());
    let (limits, hasher) = (limits(cx.config), cx.store.hasher().clone());
    let mut sets = sets(cx.store, cx.db_index, cx.argv, keys, cx.effects)?;
    let mut members = Vec::new();
    operation.run(&mut sets, &hasher, &limits, &mut |member| {
        members.push(member);
        ControlFlow::Continue(())
    });
    let len = members.len();
    let mut built = OwnedSet::of_distinct(&members, &hasher, &limits);
    // Where the others' members are marked in the first set, the reference servers remove them from a copy of it, and the
    // result keeps the form that the copy had.
    if operation == Operation::Difference
        && len > 0
        && let [first, others @ ..] = sets.as_slice()
        && Difference::cheaper(*first, others) == Difference::MarkFirst
        && !limits.keep_small(*first)
    {
        SetMut::new(&mut built, &limits).make_big();
    }

    if len == 0 {
        if cx.db().remove(target) == Removal::Removed {
            cx.effects.changed(1);
            cx.effects.event(EventClass::GENERIC, "del", target.name, cx.db_index);
        }
    } else {
        cx.overwrites(target, "set");
        let db = cx.store.db(cx.db_index);
        let is_new = match built.into_form() {
            SetForm::Ints(bytes) => db.put_packed(target, PackedKind::SetInts, &bytes),
            SetForm::Packed(bytes) => db.put_packed(target, PackedKind::Set, &bytes),
            SetForm::Big(set) => db.put_big(target, Big::Set(set)),
        };
        cx.effects.changed(1);
        if is_new {
            cx.effects.event(EventClass::NEW, "new", target.name, cx.db_index);
        }
        cx.effects.event(EventClass::SET, operation.event(), target.name, cx.db_index);
    }
    cx.reply.count(len);
    Ok(())
}
