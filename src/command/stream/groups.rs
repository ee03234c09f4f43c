//! XGROUP: consumer groups and their consumers.

use super::append::now_ms;
use super::{
    ACL_STREAM_SLOW, ACL_WRITE_STREAM_SLOW, KEY_RW_DELETE, KEY_RW_INSERT, KEY_RW_UPDATE, WRITE_DENYOOM, ids, place,
};
use crate::command::args::int;
use crate::command::effects::EventClass;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::{Cx, Error};
use weir_structs::stream::{GroupMut, Stream};

const LOADING_STALE: Flags = Flags::LOADING.union(Flags::STALE);

/// XGROUP and its subcommands.
pub const COMMANDS: &[Row<DataFn>] = &[Row::container(
    Spec::new("xgroup", -2, Flags::empty(), Acl::SLOW, Group::Stream, "5.0.0")
        .doc("Depends on the subcommand.", "Groups the commands about the consumer groups of a stream."),
    &[
        Row::new(
            Spec::new("create", -5, WRITE_DENYOOM, ACL_WRITE_STREAM_SLOW, Group::Stream, "5.0.0")
                .keys(&[KeySpec::one(2, KEY_RW_INSERT)])
                .doc("O(1)", "Creates a consumer group of a stream.")
                .history(&[("7.0.0", "Gained the `ENTRIESREAD` option.")])
                .args(&[
                    Arg::key("key", 0),
                    Arg::new("group", ArgKind::String),
                    Arg::one_of("id-selector", &[Arg::new("id", ArgKind::String), Arg::word("new-id", "$")]),
                    Arg::word("mkstream", "MKSTREAM").optional(),
                    Arg::new("entriesread", ArgKind::Integer).token("ENTRIESREAD").display("entries-read").optional(),
                ]),
            xgroup_create_command,
        ),
        Row::new(
            Spec::new("createconsumer", 5, WRITE_DENYOOM, ACL_WRITE_STREAM_SLOW, Group::Stream, "6.2.0")
                .keys(&[KeySpec::one(2, KEY_RW_INSERT)])
                .doc("O(1)", "Adds a consumer to a consumer group before it reads.")
                .args(&[Arg::key("key", 0), Arg::new("group", ArgKind::String), Arg::new("consumer", ArgKind::String)]),
            xgroup_createconsumer_command,
        ),
        Row::new(
            Spec::new("delconsumer", 5, Flags::WRITE, ACL_WRITE_STREAM_SLOW, Group::Stream, "5.0.0")
                .keys(&[KeySpec::one(2, KEY_RW_DELETE)])
                .doc(
                    "O(N) where N is the number of pending entries of the consumer.",
                    "Removes a consumer and what it has pending from a consumer group.",
                )
                .args(&[Arg::key("key", 0), Arg::new("group", ArgKind::String), Arg::new("consumer", ArgKind::String)]),
            xgroup_delconsumer_command,
        ),
        Row::new(
            Spec::new("destroy", 4, Flags::WRITE, ACL_WRITE_STREAM_SLOW, Group::Stream, "5.0.0")
                .keys(&[KeySpec::one(2, KEY_RW_DELETE)])
                .doc(
                    "O(N) where N is the number of pending entries of the group.",
                    "Removes a consumer group from a stream.",
                )
                .args(&[Arg::key("key", 0), Arg::new("group", ArgKind::String)]),
            xgroup_destroy_command,
        ),
        Row::new(
            Spec::new("help", 2, LOADING_STALE, ACL_STREAM_SLOW, Group::Stream, "5.0.0")
                .doc("O(1)", "Lists the subcommands of `XGROUP` and what they do."),
            xgroup_help_command,
        ),
        Row::new(
            Spec::new("setid", -5, Flags::WRITE, ACL_WRITE_STREAM_SLOW, Group::Stream, "5.0.0")
                .keys(&[KeySpec::one(2, KEY_RW_UPDATE)])
                .doc("O(1)", "Sets behind which entry a consumer group goes on reading.")
                .history(&[("7.0.0", "Gained the `ENTRIESREAD` option.")])
                .args(&[
                    Arg::key("key", 0),
                    Arg::new("group", ArgKind::String),
                    Arg::one_of("id-selector", &[Arg::new("id", ArgKind::String), Arg::word("new-id", "$")]),
                    Arg::new("entriesread", ArgKind::Integer).token("ENTRIESREAD").display("entries-read").optional(),
                ]),
            xgroup_setid_command,
        ),
    ],
)];

/// `XGROUP HELP`.
const HELP: &[&str] = &[
    "XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CREATE <key> <groupname> <id|$> [option]",
    "    Make a new group that has read up to the id. Options are:",
    "    * MKSTREAM",
    "      Make the stream too where it is missing.",
    "    * ENTRIESREAD entries_read",
    "      Say how many entries the group has read.",
    "CREATECONSUMER <key> <groupname> <consumer>",
    "    Make a new consumer of a group.",
    "DELCONSUMER <key> <groupname> <consumer>",
    "    Remove a consumer and what it has pending.",
    "DESTROY <key> <groupname>",
    "    Remove a group.",
    "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
    "    Set the id up to which a group has read, and how many entries.",
    "HELP",
    "    Show these lines.",
];

/// The options of XGROUP CREATE and SETID.
#[derive(Clone, Copy, Default)]
struct PositionOptions {
    make_stream: bool,
    entries_read: Option<u64>,
}

impl PositionOptions {
    fn parse(cx: &Cx<'_>, may_make_stream: bool) -> Result<PositionOptions, Error> {
        let mut options = PositionOptions::default();
        let mut words = cx.words(5);
        // Options may be repeated as far as there is room for each of them once.
        let too_many = words.left() > 2 + usize::from(may_make_stream);
        while words.left() > 0 {
            if may_make_stream && words.accept("MKSTREAM") {
                options.make_stream = true;
            } else if words.left() > 1 && words.accept("ENTRIESREAD") {
                let number = int(words.expect()?)?;
                if number < -1 {
                    return Err(Error::ENTRIESREAD_RANGE);
                }
                // -1 says that it is not known.
                options.entries_read = u64::try_from(number).ok();
            } else {
                return Err(Error::subcommand_syntax(cx.arg(1), "xgroup"));
            }
        }
        if too_many {
            return Err(Error::subcommand_syntax(cx.arg(1), "xgroup"));
        }
        Ok(options)
    }
}

/// Lets `note` change the group that arguments 2 and 3 name.
fn note_group<R>(cx: &mut Cx<'_>, note: impl FnOnce(&mut GroupMut<'_>) -> Result<R, Error>) -> Result<R, Error> {
    let (key, name) = (cx.key(2), cx.arg(3));
    let done = place::note(cx.db(), key, |stream| {
        let mut group = stream.group_mut(name).ok_or_else(|| Error::no_such_group_of_key(key.name, name))?;
        note(&mut group)
    })?;
    done.ok_or(Error::XGROUP_NO_KEY)
}

/// Counts a change and tells the event.
fn tell(cx: &mut Cx<'_>, event: &'static str) {
    cx.effects.changed(1);
    let (key, db) = (cx.arg(2), cx.db_index);
    cx.effects.event(EventClass::STREAM, event, key, db);
}

fn xgroup_create_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let options = PositionOptions::parse(cx, true)?;
    let (key, name, id) = (cx.key(2), cx.arg(3), cx.arg(4));
    let create = |stream: &mut Stream| {
        let id = if id == b"$" { stream.log().last_id() } else { ids::id(id)? };
        if stream.create_group(name, id, options.entries_read) { Ok(()) } else { Err(Error::GROUP_EXISTS) }
    };
    if place::note(cx.db(), key, create)?.is_none() {
        if !options.make_stream {
            return Err(Error::XGROUP_NO_KEY);
        }
        let mut stream = Box::new(Stream::new());
        create(&mut stream)?;
        place::create(cx.db(), key, stream);
        cx.effects.event(EventClass::NEW, "new", key.name, cx.db_index);
    }
    tell(cx, "xgroup-create");
    cx.reply.ok();
    Ok(())
}

fn xgroup_setid_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let options = PositionOptions::parse(cx, false)?;
    let id = cx.arg(4);
    note_group(cx, |group| {
        let id = if id == b"$" { group.log().last_id() } else { ids::id_or_extreme(id, 0)? };
        group.set_position(id, options.entries_read);
        Ok(())
    })?;
    tell(cx, "xgroup-setid");
    cx.reply.ok();
    Ok(())
}

fn xgroup_destroy_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (key, name) = (cx.key(2), cx.arg(3));
    // Those who wait for entries of the group are to hear of its end.
    let removed = place::note_and_wake(cx.db(), key, |stream| Ok(stream.remove_group(name)), Option::is_some)?;
    let removed = removed.ok_or(Error::XGROUP_NO_KEY)?.is_some();
    if removed {
        tell(cx, "xgroup-destroy");
    }
    cx.reply.int(i64::from(removed));
    Ok(())
}

fn xgroup_createconsumer_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (name, now_ms) = (cx.arg(4), now_ms(cx));
    let created = note_group(cx, |group| Ok(group.find_or_create_consumer(name, now_ms).1))?;
    if created {
        tell(cx, "xgroup-createconsumer");
    }
    cx.reply.int(i64::from(created));
    Ok(())
}

fn xgroup_delconsumer_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let name = cx.arg(4);
    let pending = note_group(cx, |group| {
        let slot = group.find_consumer(name);
        Ok(slot.map(|slot| group.remove_consumer(slot)))
    })?;
    if pending.is_some() {
        tell(cx, "xgroup-delconsumer");
    }
    cx.reply.int(i64::try_from(pending.unwrap_or(0)).unwrap_or(i64::MAX));
    Ok(())
}

fn xgroup_help_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    cx.reply.lines(HELP);
    Ok(())
}
