//! COMMAND: what clients and tools ask to learn about commands. Everything is read from the rows.

use crate::command::args::is;
use crate::command::error::Error;
use crate::command::reply::Reply;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, Spec};
use crate::command::spec::{BeginSearch, FindKeys, KeyFlags, KeySpec};
use crate::command::table::Row;
use crate::server::ServerCx;
use crate::server::ServerFn;
use crate::server::keys::{KeyUse, NoKeys, find_keys};
use crate::server::table::{Command, acl_names, commands};
use weir_resp::Argv;
use weir_structs::glob::GlobPattern;

const LOADING_STALE: Flags = Flags::LOADING.union(Flags::STALE);
const ACL_SLOW_CONNECTION: Acl = Acl::SLOW.union(Acl::CONNECTION);

/// `COMMAND` and its subcommands.
pub(super) const COMMANDS: &[Row<ServerFn>] = &[Row {
    spec: Spec::new("command", -1, LOADING_STALE, ACL_SLOW_CONNECTION, Group::Server, "2.8.13")
        .tips(&["nondeterministic_output_order"])
        .doc("O(N) where N is the number of commands.", "Describes every command."),
    run: Some(command_command),
    subs: &[
        Row::new(
            Spec::new("count", 2, LOADING_STALE, ACL_SLOW_CONNECTION, Group::Server, "2.8.13")
                .doc("O(1)", "Counts the commands."),
            command_count_command,
        ),
        Row::new(
            Spec::new("docs", -2, LOADING_STALE, ACL_SLOW_CONNECTION, Group::Server, "7.0.0")
                .tips(&["nondeterministic_output_order"])
                .doc(
                    "O(N) where N is the number of commands asked for.",
                    "Returns the documentation of commands, all or the named ones.",
                )
                .args(&[Arg::new("command-name", ArgKind::String).optional().multiple()]),
            command_docs_command,
        ),
        Row::new(
            Spec::new("getkeys", -3, LOADING_STALE, ACL_SLOW_CONNECTION, Group::Server, "2.8.13")
                .doc("O(N) where N is the number of arguments.", "Finds the keys in a complete command.")
                .args(&[Arg::new("command", ArgKind::String), Arg::new("arg", ArgKind::String).optional().multiple()]),
            command_getkeys_command,
        ),
        Row::new(
            Spec::new("getkeysandflags", -3, LOADING_STALE, ACL_SLOW_CONNECTION, Group::Server, "7.0.0")
                .doc(
                    "O(N) where N is the number of arguments.",
                    "Finds the keys in a complete command and says how each is accessed.",
                )
                .args(&[Arg::new("command", ArgKind::String), Arg::new("arg", ArgKind::String).optional().multiple()]),
            command_getkeysandflags_command,
        ),
        Row::new(
            Spec::new("help", 2, LOADING_STALE, ACL_SLOW_CONNECTION, Group::Server, "5.0.0")
                .doc("O(1)", "Lists the subcommands of `COMMAND` and what they do."),
            command_help_command,
        ),
        Row::new(
            Spec::new("info", -2, LOADING_STALE, ACL_SLOW_CONNECTION, Group::Server, "2.8.13")
                .tips(&["nondeterministic_output_order"])
                .doc("O(N) where N is the number of commands asked for.", "Describes commands, all or the named ones.")
                .history(&[("7.0.0", "Without a name it describes every command.")])
                .args(&[Arg::new("command-name", ArgKind::String).optional().multiple()]),
            command_info_command,
        ),
        Row::new(
            Spec::new("list", -2, LOADING_STALE, ACL_SLOW_CONNECTION, Group::Server, "7.0.0")
                .tips(&["nondeterministic_output_order"])
                .doc(
                    "O(N) where N is the number of commands.",
                    "Lists the names of commands, all or those that pass a filter.",
                )
                .args(&[Arg::one_of(
                    "filterby",
                    &[
                        Arg::new("module-name", ArgKind::String).token("MODULE"),
                        Arg::new("category", ArgKind::String).token("ACLCAT"),
                        Arg::new("pattern", ArgKind::Pattern).token("PATTERN"),
                    ],
                )
                .token("FILTERBY")
                .optional()]),
            command_list_command,
        ),
    ],
}];

fn command_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let all: Vec<_> = known(cx).collect();
    cx.reply.array(all.len());
    for command in all {
        describe(&mut cx.reply, command);
    }
    Ok(())
}

fn command_count_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.count(cx.server.names.len());
    Ok(())
}

fn command_help_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.lines(COMMAND_HELP);
    Ok(())
}

fn command_info_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    if cx.argc() == 2 {
        return command_command(cx);
    }
    cx.reply.array(cx.argc() - 2);
    for name in cx.words(2) {
        match find(cx, name) {
            Some(command) => describe(&mut cx.reply, command),
            None => cx.reply.null(),
        }
    }
    Ok(())
}

fn command_docs_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let asked: Vec<_> = match cx.argc() {
        2 => known(cx).collect(),
        _ => cx.words(2).filter_map(|name| find(cx, name)).collect(),
    };
    cx.reply.map(asked.len());
    for command in asked {
        cx.reply.text(command.full_name);
        document(&mut cx.reply, command);
    }
    Ok(())
}

fn command_list_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let filter = Filter::parse(cx)?;
    let mut names = Vec::new();
    for command in known(cx) {
        names.extend(std::iter::once(command).chain(&command.subs).filter(|c| filter.fits(c)).map(|c| c.full_name));
    }
    cx.reply.array(names.len());
    for name in names {
        cx.reply.text(name);
    }
    Ok(())
}

fn command_getkeys_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (argv, keys) = keys_of_call(cx)?;
    cx.reply.array(keys.len());
    for key in keys {
        cx.reply.bulk(argv.at(key.at));
    }
    Ok(())
}

fn command_getkeysandflags_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (argv, keys) = keys_of_call(cx)?;
    cx.reply.array(keys.len());
    for key in keys {
        cx.reply.array(2);
        cx.reply.bulk(argv.at(key.at));
        put_key_flags(&mut cx.reply, key.flags);
    }
    Ok(())
}

/// The commands that clients can call, in the order of their names.
fn known(cx: &ServerCx<'_>) -> impl Iterator<Item = &'static Command> {
    let mut ids: Vec<usize> = cx.server.names.iter().map(|(_, command)| command.id).collect();
    ids.sort_unstable();
    commands().iter().filter(move |command| ids.binary_search(&command.id).is_ok())
}

/// The command called `get` or `config|get`, in upper or lower case.
pub(super) fn find(cx: &ServerCx<'_>, name: &[u8]) -> Option<&'static Command> {
    match name.iter().position(|&byte| byte == b'|') {
        None => cx.server.names.find(name),
        Some(bar) => cx.server.names.find(&name[..bar])?.sub(&name[bar + 1..]),
    }
}

/// The call that stands behind COMMAND GETKEYS, and its keys.
fn keys_of_call<'a>(cx: &ServerCx<'a>) -> Result<(Argv<'a>, Vec<KeyUse>), Error> {
    let argv = cx.argv.skip(2);
    let command = cx.server.names.find(argv.name()).and_then(|command| command.resolve(argv.get(1)).ok());
    let command = command.ok_or(Error::fixed("ERR Invalid command specified"))?;
    if !command.has_keys() {
        return Err(Error::fixed("ERR The command has no key arguments"));
    }
    if !command.spec.arity_fits(argv.len()) {
        return Err(Error::fixed("ERR Invalid number of arguments specified for command"));
    }
    let mut keys = Vec::new();
    match find_keys(command.spec, argv, &mut keys) {
        Ok(()) => {}
        Err(NoKeys) if command.flags().contains(Flags::NO_MANDATORY_KEYS) => keys.clear(),
        Err(NoKeys) => return Err(Error::fixed("ERR Invalid arguments specified for command")),
    }
    Ok((argv, keys))
}

/// Which commands COMMAND LIST names.
enum Filter {
    All,
    Nothing,
    Category(Acl),
    Pattern(GlobPattern),
}

impl Filter {
    fn parse(cx: &ServerCx<'_>) -> Result<Filter, Error> {
        if cx.argc() == 2 {
            return Ok(Filter::All);
        }
        if cx.argc() != 5 || !is(cx.arg(2), "FILTERBY") {
            return Err(Error::SYNTAX);
        }
        let (kind, value) = (cx.arg(3), cx.arg(4));
        if is(kind, "MODULE") {
            Ok(Filter::Nothing)
        } else if is(kind, "ACLCAT") {
            let category = std::str::from_utf8(value).ok().and_then(|name| Acl::from_name(&name.to_ascii_uppercase()));
            Ok(category.map_or(Filter::Nothing, Filter::Category))
        } else if is(kind, "PATTERN") {
            Ok(Filter::Pattern(GlobPattern::new(value, true)))
        } else {
            Err(Error::SYNTAX)
        }
    }

    fn fits(&self, command: &Command) -> bool {
        match self {
            Filter::All => true,
            Filter::Nothing => false,
            Filter::Category(category) => command.spec.acl.contains(*category),
            Filter::Pattern(pattern) => pattern.matches(command.full_name.as_bytes()),
        }
    }
}

/// An entry of COMMAND INFO.
fn describe(reply: &mut Reply<'_>, command: &Command) {
    let spec = command.spec;
    reply.array(10);
    reply.text(command.full_name);
    reply.int(spec.arity.into());
    let flags = || Flags::WIRE.iter().filter(|(flag, _)| spec.flags.contains(*flag));
    reply.set(flags().count());
    flags().for_each(|(_, name)| reply.simple(name));
    for number in key_positions(spec.keys) {
        reply.int(number);
    }
    reply.set(acl_names(spec.acl).count());
    acl_names(spec.acl).for_each(|name| reply.simple(&name));
    reply.set(spec.tips.len());
    spec.tips.iter().for_each(|tip| reply.text(tip));
    reply.set(spec.keys.len());
    spec.keys.iter().for_each(|key| put_key_spec(reply, key));
    reply.array(command.subs.len());
    command.subs.iter().for_each(|sub| describe(reply, sub));
}

/// First key, last key and step, as clients older than key specs expect them: the range that begins with the first key,
/// as far as the specs go on without a gap. Zeros if there is none.
fn key_positions(keys: &[KeySpec]) -> [i64; 3] {
    let ranges = keys.iter().filter_map(|key| match (key.begin, key.find) {
        (BeginSearch::Index(at), FindKeys::Range { last, step, .. }) => {
            let (first, last) = (i64::from(at), i64::from(last));
            Some([first, if last >= 0 { first + last } else { last }, i64::from(step)])
        }
        _ => None,
    });
    let mut whole: Option<[i64; 3]> = None;
    for [first, last, step] in ranges {
        match &mut whole {
            None => whole = Some([first, last, step]),
            Some([_, end, 1]) if *end >= 0 && first == *end + 1 && step == 1 => *end = last,
            Some(_) => {}
        }
    }
    whole.unwrap_or_default()
}

fn put_key_flags(reply: &mut Reply<'_>, flags: KeyFlags) {
    let names = || KeyFlags::WIRE.iter().filter(|(flag, _)| flags.contains(*flag));
    reply.set(names().count());
    names().for_each(|(_, name)| reply.simple(name));
}

fn put_key_spec(reply: &mut Reply<'_>, key: &KeySpec) {
    reply.map(if key.notes.is_empty() { 3 } else { 4 });
    if !key.notes.is_empty() {
        reply.text("notes");
        reply.text(key.notes);
    }
    reply.text("flags");
    put_key_flags(reply, key.flags);
    reply.text("begin_search");
    match key.begin {
        BeginSearch::Index(at) => {
            put_search(reply, "index", 1);
            put_number(reply, "index", at.into());
        }
        BeginSearch::Keyword(word, from) => {
            put_search(reply, "keyword", 2);
            reply.text("keyword");
            reply.text(word);
            put_number(reply, "startfrom", from.into());
        }
        BeginSearch::Unknown => put_search(reply, "unknown", 0),
    }
    reply.text("find_keys");
    match key.find {
        FindKeys::Range { last, step, limit } => {
            put_search(reply, "range", 3);
            put_number(reply, "lastkey", last.into());
            put_number(reply, "keystep", step.into());
            put_number(reply, "limit", limit.into());
        }
        FindKeys::KeyNum { count_at, first, step } => {
            put_search(reply, "keynum", 3);
            put_number(reply, "keynumidx", count_at.into());
            put_number(reply, "firstkey", first.into());
            put_number(reply, "keystep", step.into());
        }
        FindKeys::Unknown => put_search(reply, "unknown", 0),
    }
}

/// A type, and the header of its `fields` parameters.
fn put_search(reply: &mut Reply<'_>, kind: &str, fields: usize) {
    reply.map(2);
    reply.text("type");
    reply.text(kind);
    reply.text("spec");
    reply.map(fields);
}

fn put_number(reply: &mut Reply<'_>, name: &str, value: i64) {
    reply.text(name);
    reply.int(value);
}

fn put_text(reply: &mut Reply<'_>, name: &str, value: &str) {
    reply.text(name);
    reply.text(value);
}

/// An entry of COMMAND DOCS.
fn document(reply: &mut Reply<'_>, command: &Command) {
    let spec = command.spec;
    let mut doc_flags = Vec::new();
    if spec.deprecated.is_some() {
        doc_flags.push("deprecated");
    }
    if spec.flags.contains(Flags::SYSCMD) {
        doc_flags.push("syscmd");
    }
    let optional = [
        !spec.complexity.is_empty(),
        !doc_flags.is_empty(),
        spec.deprecated.is_some(),
        spec.deprecated.is_some(),
        !spec.history.is_empty(),
        !spec.args.is_empty(),
        !command.subs.is_empty(),
    ];
    reply.map(3 + optional.iter().filter(|there| **there).count());
    put_text(reply, "summary", spec.summary);
    put_text(reply, "since", spec.since);
    put_text(reply, "group", spec.group.wire_name());
    if !spec.complexity.is_empty() {
        put_text(reply, "complexity", spec.complexity);
    }
    if !doc_flags.is_empty() {
        reply.text("doc_flags");
        reply.set(doc_flags.len());
        doc_flags.iter().for_each(|flag| reply.simple(flag));
    }
    if let Some((since, replaced_by)) = spec.deprecated {
        put_text(reply, "deprecated_since", since);
        put_text(reply, "replaced_by", replaced_by);
    }
    if !spec.history.is_empty() {
        reply.text("history");
        reply.set(spec.history.len());
        for (version, change) in spec.history {
            reply.array(2);
            reply.text(version);
            reply.text(change);
        }
    }
    if !spec.args.is_empty() {
        put_args(reply, spec.args);
    }
    if !command.subs.is_empty() {
        reply.text("subcommands");
        reply.map(command.subs.len());
        for sub in &command.subs {
            reply.text(sub.full_name);
            document(reply, sub);
        }
    }
}

fn put_args(reply: &mut Reply<'_>, args: &[Arg]) {
    reply.text("arguments");
    reply.array(args.len());
    args.iter().for_each(|arg| put_arg(reply, arg));
}

fn put_arg(reply: &mut Reply<'_>, arg: &Arg) {
    let display = match arg.kind {
        ArgKind::OneOf | ArgKind::Block => None,
        _ => Some(arg.display.unwrap_or(arg.name)),
    };
    let flags = [(arg.optional, "optional"), (arg.multiple, "multiple"), (arg.multiple_token, "multiple_token")];
    let flags: Vec<_> = flags.iter().filter(|(set, _)| *set).collect();
    let optional = [
        display.is_some(),
        arg.key_spec.is_some(),
        arg.token.is_some(),
        arg.since.is_some(),
        arg.deprecated_since.is_some(),
        !flags.is_empty(),
        !arg.parts.is_empty(),
    ];
    reply.map(2 + optional.iter().filter(|there| **there).count());
    put_text(reply, "name", arg.name);
    put_text(reply, "type", arg.kind.wire_name());
    if let Some(display) = display {
        put_text(reply, "display_text", display);
    }
    if let Some(key_spec) = arg.key_spec {
        put_number(reply, "key_spec_index", key_spec.into());
    }
    for (name, value) in [("token", arg.token), ("since", arg.since), ("deprecated_since", arg.deprecated_since)] {
        if let Some(value) = value {
            put_text(reply, name, value);
        }
    }
    if !flags.is_empty() {
        reply.text("flags");
        reply.set(flags.len());
        flags.iter().for_each(|(_, name)| reply.simple(name));
    }
    if !arg.parts.is_empty() {
        put_args(reply, arg.parts);
    }
}

/// `COMMAND HELP`.
const COMMAND_HELP: &[&str] = &[
    "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "(no subcommand)",
    "    Describe every command.",
    "COUNT",
    "    Show how many commands there are.",
    "DOCS [<command-name> ...]",
    "    Show the documentation of these commands, or of all.",
    "GETKEYS <full-command>",
    "    Show the keys in a complete command.",
    "GETKEYSANDFLAGS <full-command>",
    "    Show the keys in a complete command and what it does with each.",
    "INFO [<command-name> ...]",
    "    Describe these commands, or all.",
    "LIST [FILTERBY (MODULE <module-name>|ACLCAT <category>|PATTERN <pattern>)]",
    "    Show the names of commands, all or those that pass the filter.",
    "HELP",
    "    Show these lines.",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_of_keys_join_ranges_without_a_gap() {
        const RW: KeyFlags = KeyFlags::RW;
        let counted = KeySpec::counted(2, RW);
        let cases: [(&[KeySpec], [i64; 3]); 7] = [
            (&[], [0, 0, 0]),
            (&[KeySpec::one(1, RW)], [1, 1, 1]),
            (&[KeySpec::range(1, -1, 2, RW)], [1, -1, 2]),
            (&[KeySpec::one(1, RW), KeySpec::one(2, RW)], [1, 2, 1]),
            (&[KeySpec::one(2, RW), KeySpec::range(3, -1, 1, RW)], [2, -1, 1]),
            (&[KeySpec::one(1, RW), counted], [1, 1, 1]),
            (&[counted], [0, 0, 0]),
        ];
        for (keys, positions) in cases {
            assert_eq!(key_positions(keys), positions, "{keys:?}");
        }
    }
}
