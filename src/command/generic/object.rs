//! OBJECT: how a value is stored and when or how often its key was used. None of it moves the key's access clock.

use crate::command::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error};
use crate::store::{AccessPolicy, EntryRef, Kind, StrView};
use weir_structs::list::{Encoding, ListRef};

const ACL_KEYSPACE_READ_SLOW: Acl = Acl::KEYSPACE.union(Acl::READ).union(Acl::SLOW);

/// `OBJECT` and its subcommands.
pub const COMMANDS: &[Row<DataFn>] = &[Row::container(
    Spec::new("object", -2, Flags::empty(), Acl::SLOW, Group::Generic, "2.2.3")
        .doc("Depends on the subcommand.", "Groups the commands that look into how a value is stored."),
    &[
        Row::new(
            Spec::new("encoding", 3, Flags::READONLY, ACL_KEYSPACE_READ_SLOW, Group::Generic, "2.2.3")
                .keys(&[KeySpec::one(2, KeyFlags::RO)])
                .tips(&["nondeterministic_output"])
                .doc("O(1)", "Returns the name of the encoding in which a value is stored.")
                .args(&[Arg::key("key", 0)]),
            object_encoding_command,
        ),
        Row::new(
            Spec::new("freq", 3, Flags::READONLY, ACL_KEYSPACE_READ_SLOW, Group::Generic, "4.0.0")
                .keys(&[KeySpec::one(2, KeyFlags::RO)])
                .tips(&["nondeterministic_output"])
                .doc("O(1)", "Returns the access frequency counter of a key under an LFU policy.")
                .args(&[Arg::key("key", 0)]),
            object_freq_command,
        ),
        Row::new(
            Spec::new(
                "help",
                2,
                Flags::LOADING.union(Flags::STALE),
                Acl::KEYSPACE.union(Acl::SLOW),
                Group::Generic,
                "6.2.0",
            )
            .doc("O(1)", "Lists the subcommands of `OBJECT` and what they do."),
            object_help_command,
        ),
        Row::new(
            Spec::new("idletime", 3, Flags::READONLY, ACL_KEYSPACE_READ_SLOW, Group::Generic, "2.2.3")
                .keys(&[KeySpec::one(2, KeyFlags::RO)])
                .tips(&["nondeterministic_output"])
                .doc("O(1)", "Returns for how many seconds a key has not been accessed.")
                .args(&[Arg::key("key", 0)]),
            object_idletime_command,
        ),
        Row::new(
            Spec::new("refcount", 3, Flags::READONLY, ACL_KEYSPACE_READ_SLOW, Group::Generic, "2.2.3")
                .keys(&[KeySpec::one(2, KeyFlags::RO)])
                .tips(&["nondeterministic_output"])
                .doc("O(1)", "Returns how many references to a value are held.")
                .args(&[Arg::key("key", 0)]),
            object_refcount_command,
        ),
    ],
)];

/// Longest string whose encoding is called `embstr`.
const EMBSTR_LEN_MAX: usize = 44;

/// `OBJECT HELP`.
const HELP: &[&str] = &[
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Show the name of the encoding in which the value is stored.",
    "FREQ <key>",
    "    Show the access frequency counter of a key; needs an LFU maxmemory-policy.",
    "IDLETIME <key>",
    "    Show for how many seconds a key has not been accessed; not with an LFU policy.",
    "REFCOUNT <key>",
    "    Show how many references to the value are held.",
    "HELP",
    "    Show these lines.",
];

/// The encoding of a value, as OBJECT ENCODING replies it.
pub fn encoding_name(entry: EntryRef<'_>) -> &'static str {
    match entry.kind() {
        Kind::Int => "int",
        Kind::Str => match entry.str() {
            Some(StrView::Bytes(bytes)) if bytes.len() <= EMBSTR_LEN_MAX => "embstr",
            _ => "raw",
        },
        Kind::StrRaw | Kind::Blob => "raw",
        Kind::HashPacked | Kind::SetPacked | Kind::ZsetPacked | Kind::ListPacked => "listpack",
        Kind::SetInts => "intset",
        Kind::Hash | Kind::Set => "hashtable",
        Kind::Zset => "skiplist",
        Kind::List => match ListRef::of(entry).map(ListRef::encoding) {
            Some(Encoding::Listpack) => "listpack",
            _ => "quicklist",
        },
        Kind::Stream => "stream",
        Kind::Queue => "queue",
        Kind::Exchange => "exchange",
        Kind::Tree => "tree",
    }
}

fn object_encoding_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let key = cx.key(2);
    match cx.db().look(key).map(encoding_name) {
        Some(name) => cx.reply.text(name),
        None => cx.reply.null(),
    }
    Ok(())
}

fn object_freq_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let Some(clock) = clock(cx) else { return Ok(()) };
    let access = *cx.store.access();
    match access.policy() {
        AccessPolicy::Lru | AccessPolicy::Lrm => return Err(Error::FREQUENCY_NOT_TRACKED),
        AccessPolicy::Lfu { .. } => cx.reply.int(i64::from(access.frequency(clock))),
    }
    Ok(())
}

fn object_idletime_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let Some(clock) = clock(cx) else { return Ok(()) };
    let access = *cx.store.access();
    match access.policy() {
        AccessPolicy::Lru | AccessPolicy::Lrm => cx.reply.int(i64::try_from(access.idle_s(clock)).unwrap_or(i64::MAX)),
        AccessPolicy::Lfu { .. } => return Err(Error::IDLE_TIME_NOT_TRACKED),
    }
    Ok(())
}

/// The access clock of key 2; if it is missing, the reply is null.
fn clock(cx: &mut Cx<'_>) -> Option<u16> {
    let key = cx.key(2);
    let clock = cx.db().look(key).map(|entry| entry.clock());
    if clock.is_none() {
        cx.reply.null();
    }
    clock
}

fn object_refcount_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let key = cx.key(2);
    if cx.db().look(key).is_some() {
        // Keys share no values here.
        cx.reply.int(1);
    } else {
        cx.reply.null();
    }
    Ok(())
}

fn object_help_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    cx.reply.array(HELP.len());
    for line in HELP {
        cx.reply.simple(line);
    }
    Ok(())
}
