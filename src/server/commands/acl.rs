//! ACL: users, what they may do, and who was refused what.

use crate::acl::{
    self, Catalog, Denied, Entry, GENERATED_BITS_MAX, NameError, Reason, Selector, User, check_name, generate_password,
    merge_selectors,
};
use crate::command::args::{int, is};
use crate::command::error::Error;
use crate::command::reply::Reply;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, Spec};
use crate::command::table::Row;
use crate::server::permissions::{all_channels, refusal_text};
use crate::server::table::{Command, acl_names, catalog};
use crate::server::{ServerCx, ServerFn};
use weir_resp::Argv;

const NOSCRIPT_LOADING_STALE: Flags = Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE);
const ADMIN_NOSCRIPT_LOADING_STALE: Flags = Flags::ADMIN.union(NOSCRIPT_LOADING_STALE);
const ACL_ADMIN_SLOW_DANGEROUS: Acl = Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS);
const ON_ALL_NODES: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

/// An operator's subcommand.
const fn operators(name: &'static str, arity: i16) -> Spec {
    Spec::new(name, arity, ADMIN_NOSCRIPT_LOADING_STALE, ACL_ADMIN_SLOW_DANGEROUS, Group::Server, "6.0.0")
}

/// One whose arguments are not to be seen in any log.
const fn operators_secret(name: &'static str, arity: i16) -> Spec {
    let flags = ADMIN_NOSCRIPT_LOADING_STALE.union(Flags::SENSITIVE);
    Spec::new(name, arity, flags, ACL_ADMIN_SLOW_DANGEROUS, Group::Server, "6.0.0")
}

/// `ACL` and its subcommands.
pub(super) const COMMANDS: &[Row<ServerFn>] = &[Row::container(
    Spec::new("acl", -2, Flags::empty(), Acl::SLOW, Group::Server, "6.0.0")
        .doc("Depends on subcommand.", "Groups the commands about users and their permissions."),
    &[
        Row::new(
            Spec::new("cat", -2, NOSCRIPT_LOADING_STALE, Acl::SLOW, Group::Server, "6.0.0")
                .doc(
                    "O(1) since the categories and commands are a fixed set.",
                    "Lists the categories of commands, or the commands of one.",
                )
                .args(&[Arg::new("category", ArgKind::String).optional()]),
            cat_command,
        ),
        Row::new(
            operators_secret("deluser", -3)
                .tips(ON_ALL_NODES)
                .doc("O(1) amortized time considering the typical user.", "Removes users and ends their connections.")
                .args(&[Arg::new("username", ArgKind::String).multiple()]),
            deluser_command,
        ),
        Row::new(
            Spec::new("dryrun", -4, ADMIN_NOSCRIPT_LOADING_STALE, ACL_ADMIN_SLOW_DANGEROUS, Group::Server, "7.0.0")
                .doc("O(1).", "Says whether a user might run a command, without running it.")
                .args(&[
                    Arg::new("username", ArgKind::String),
                    Arg::new("command", ArgKind::String),
                    Arg::new("arg", ArgKind::String).optional().multiple(),
                ]),
            dryrun_command,
        ),
        Row::new(
            Spec::new("genpass", -2, NOSCRIPT_LOADING_STALE, Acl::SLOW, Group::Server, "6.0.0")
                .doc("O(1)", "Makes a password that nobody can guess.")
                .args(&[Arg::new("bits", ArgKind::Integer).optional()]),
            genpass_command,
        ),
        Row::new(
            operators_secret("getuser", 3)
                .doc(
                    "O(N). Where N is the number of password, command and pattern rules that the user has.",
                    "Returns the rules of a user.",
                )
                .history(&[
                    ("6.2.0", "Shows channel patterns."),
                    ("7.0.0", "Shows selectors, and patterns as rules."),
                    ("9.1.0", "Shows databases."),
                ])
                .args(&[Arg::new("username", ArgKind::String)]),
            getuser_command,
        ),
        Row::new(
            Spec::new("help", 2, Flags::LOADING.union(Flags::STALE), Acl::SLOW, Group::Server, "6.0.0")
                .doc("O(1)", "Lists the subcommands of `ACL` and what they do."),
            help_command,
        ),
        Row::new(
            operators("list", 2).doc(
                "O(N). Where N is the number of configured users.",
                "Lists all users with their rules, as in a file.",
            ),
            list_command,
        ),
        Row::new(
            operators("load", 2).doc(
                "O(N). Where N is the number of configured users.",
                "Puts the users of the file in the place of those that there are.",
            ),
            load_command,
        ),
        Row::new(
            operators("log", -2)
                .doc("O(N) with N being the number of entries shown.", "Lists who was refused what, newest first.")
                .history(&[("7.2.0", "Shows a number and two times of each entry.")])
                .args(&[Arg::one_of("operation", &[Arg::new("count", ArgKind::Integer), Arg::word("reset", "RESET")])
                    .optional()]),
            log_command,
        ),
        Row::new(
            operators("save", 2)
                .tips(ON_ALL_NODES)
                .doc("O(N). Where N is the number of configured users.", "Writes the users into their file."),
            save_command,
        ),
        Row::new(
            operators_secret("setuser", -3)
                .tips(ON_ALL_NODES)
                .doc("O(N). Where N is the number of rules provided.", "Makes or changes a user.")
                .history(&[
                    ("6.2.0", "Knows channel patterns."),
                    ("7.0.0", "Knows selectors, and patterns for reading and for writing."),
                    ("9.1.0", "Knows databases."),
                ])
                .args(&[
                    Arg::new("username", ArgKind::String),
                    Arg::new("rule", ArgKind::String).optional().multiple(),
                ]),
            setuser_command,
        ),
        Row::new(
            operators("users", 2)
                .doc("O(N). Where N is the number of configured users.", "Lists the names of all users."),
            users_command,
        ),
        Row::new(
            Spec::new("whoami", 2, NOSCRIPT_LOADING_STALE, Acl::SLOW, Group::Server, "6.0.0")
                .doc("O(1)", "Returns the name of the connection's user."),
            whoami_command,
        ),
    ],
)];

const DEFAULT_STAYS: Error = Error::fixed("ERR The 'default' user cannot be removed");
const BAD_NAME: Error = Error::fixed("ERR Usernames can't contain spaces or null characters");
const GENPASS_BITS: Error = Error::fixed(
    "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096",
);
const NO_FILE: Error = Error::fixed(
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command \
     and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users in the \
     Redis configuration.",
);
const NOT_SAVED: Error =
    Error::fixed("ERR There was an error trying to save the ACLs. Please check the server logs for more information");

/// Bits of a password unless told otherwise.
const GENERATED_BITS: i64 = 256;
/// Entries that ACL LOG shows unless told otherwise.
const LOG_COUNT: usize = 10;

fn cat_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    match cx.argc() {
        2 => {
            let names: Vec<String> = acl_names(Acl::all()).collect();
            cx.reply.array(names.len());
            names.iter().for_each(|name| cx.reply.text(name.trim_start_matches('@')));
        }
        3 => {
            let name = cx.arg(2);
            let category = Catalog::category(name).ok_or_else(|| Error::unknown_category(name))?;
            let found: Vec<_> = catalog().iter().filter(|(_, facts)| facts.acl.intersects(category)).collect();
            cx.reply.array(found.len());
            found.iter().for_each(|(_, facts)| cx.reply.text(facts.name));
        }
        _ => return Err(Error::subcommand_syntax(cx.arg(1), "acl")),
    }
    Ok(())
}

fn whoami_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let user = cx.server.users.get(cx.server.user_of(cx.slot));
    cx.reply.bulk(user.name());
    Ok(())
}

fn users_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.array(cx.server.users.len());
    cx.server.users.iter().for_each(|user| cx.reply.bulk(user.name()));
    Ok(())
}

fn list_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.array(cx.server.users.len());
    cx.server.users.iter().for_each(|user| cx.reply.bulk(&[b"user ", &*user.line()].concat()));
    Ok(())
}

fn genpass_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let bits = match cx.argc() {
        2 => GENERATED_BITS,
        3 => int(cx.arg(2))?,
        _ => return Err(Error::subcommand_syntax(cx.arg(1), "acl")),
    };
    let bits = usize::try_from(bits).ok().filter(|bits| (1..=GENERATED_BITS_MAX).contains(bits));
    let password = generate_password(bits.ok_or(GENPASS_BITS)?);
    let password = password.map_err(|error| Error::new(format!("ERR no random numbers: {error}")))?;
    cx.reply.text(&password);
    Ok(())
}

fn getuser_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let Some(id) = cx.server.users.find(cx.arg(2)) else {
        cx.reply.null();
        return Ok(());
    };
    let user = cx.server.users.get(id);
    let reply = &mut cx.reply;
    reply.map(7);
    reply.text("flags");
    reply.set(user.flags().count());
    user.flags().for_each(|flag| reply.text(flag));
    reply.text("passwords");
    reply.array(user.password_digests().len());
    user.password_digests().for_each(|digest| reply.text(&digest));
    put_selector(reply, user.root());
    reply.text("selectors");
    reply.array(user.selectors().len());
    for selector in user.selectors() {
        reply.map(4);
        put_selector(reply, selector);
    }
    Ok(())
}

/// Four pairs.
fn put_selector(reply: &mut Reply<'_>, selector: &Selector) {
    reply.text("commands");
    reply.bulk(&selector.command_rules());
    reply.text("keys");
    reply.bulk(&selector.key_rules());
    reply.text("channels");
    reply.bulk(&selector.channel_rules());
    reply.text("databases");
    reply.text(&selector.database_rules());
}

fn setuser_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let name = cx.arg(2);
    check_name(name).map_err(|NameError| BAD_NAME)?;
    let rules = merge_selectors(cx.words(3)).map_err(|unmatched| Error::acl_parenthesis(&unmatched.start))?;
    let staged = cx.server.users.staged(name, &rules);
    let user = staged.map_err(|(at, error)| {
        let rule = rules.get(at).map_or(&[][..], Vec::as_slice);
        Error::acl_rule(rule, &error.to_string())
    })?;
    cx.server.users.put(user);
    cx.server.users_changed();
    cx.server.end_forbidden_subscribers(cx.slot);
    cx.reply.ok();
    Ok(())
}

fn deluser_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    if cx.words(2).any(|name| name == b"default") {
        return Err(DEFAULT_STAYS);
    }
    let gone: Vec<_> = cx.words(2).filter_map(|name| cx.server.users.remove(name)).collect();
    cx.server.end_clients_of(&gone, cx.slot);
    cx.reply.count(gone.len());
    Ok(())
}

fn load_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let config = &cx.server.config;
    let Some(file) = &config.aclfile else { return Err(NO_FILE) };
    let read = acl::read_file(&config.path_in_dir(file), file, catalog(), all_channels(config));
    let users = read.map_err(|error| {
        tracing::warn!("{error}");
        Error::new(format!("ERR {error}"))
    })?;
    let gone = cx.server.users.replace(users);
    cx.server.end_clients_of(&gone, cx.slot);
    cx.server.users_changed();
    cx.server.end_forbidden_subscribers(cx.slot);
    cx.reply.ok();
    Ok(())
}

fn save_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let config = &cx.server.config;
    let Some(file) = &config.aclfile else { return Err(NO_FILE) };
    acl::write_file(&config.path_in_dir(file), &cx.server.users).map_err(|error| {
        tracing::warn!("ACL SAVE of '{file}' failed: {error}");
        NOT_SAVED
    })?;
    cx.reply.ok();
    Ok(())
}

fn log_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let count = match cx.argc() {
        2 => LOG_COUNT,
        3 if is(cx.arg(2), "RESET") => {
            cx.server.acl_log.reset();
            cx.reply.ok();
            return Ok(());
        }
        3 => usize::try_from(int(cx.arg(2))?).unwrap_or(0),
        _ => return Err(Error::subcommand_syntax(cx.arg(1), "acl")),
    };
    let now_ms = cx.server.store.now_ms();
    let entries = cx.server.acl_log.latest(count);
    cx.reply.array(entries.len());
    entries.for_each(|entry| put_entry(&mut cx.reply, entry, now_ms));
    Ok(())
}

fn put_entry(reply: &mut Reply<'_>, entry: &Entry, now_ms: i64) {
    reply.map(10);
    reply.text("count");
    reply.int(i64::try_from(entry.count).unwrap_or(i64::MAX));
    reply.text("reason");
    reply.text(entry.reason.name());
    reply.text("context");
    reply.text(entry.context.name());
    reply.text("object");
    reply.bulk(&entry.object);
    reply.text("username");
    reply.bulk(&entry.username);
    reply.text("age-seconds");
    reply.double((now_ms - entry.updated_ms) as f64 / 1000.0);
    reply.text("client-info");
    reply.text(&entry.client);
    reply.text("entry-id");
    reply.int(i64::try_from(entry.id).unwrap_or(i64::MAX));
    reply.text("timestamp-created");
    reply.int(entry.created_ms);
    reply.text("timestamp-last-updated");
    reply.int(entry.updated_ms);
}

fn dryrun_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let name = cx.arg(2);
    let id = cx.server.users.find(name).ok_or_else(|| Error::user_not_found(name))?;
    let argv = cx.argv.skip(3);
    let found = cx.server.names.find(argv.name()).and_then(|command| command.resolve(argv.get(1)).ok());
    let command = found.ok_or_else(|| Error::command_not_found(argv.name()))?;
    if !command.spec.arity_fits(argv.len()) {
        return Err(Error::arity(command.full_name));
    }
    let db = cx.client().db;
    match cx.server.acl_check(id, command, argv, db) {
        Ok(()) => cx.reply.ok(),
        Err(denied) => cx.reply.bulk(&explained(cx.server.users.get(id), command, argv, &denied)),
    }
    Ok(())
}

/// What is refused, in more words than its client is told.
fn explained(user: &User, command: &Command, argv: Argv<'_>, denied: &Denied) -> Vec<u8> {
    let object = denied.object(argv);
    let (before, after): (&[u8], &[u8]) = match denied.reason {
        Reason::Key => (b"access the '", b"' key"),
        Reason::Channel => (b"access the '", b"' channel"),
        Reason::Database => (b"access database ", b""),
        Reason::Command | Reason::Auth | Reason::Certificate => {
            return refusal_text(user, command, denied).into_bytes();
        }
    };
    [b"User ", user.name(), b" has no permissions to ", before, object, after].concat()
}

fn help_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.lines(HELP);
    Ok(())
}

/// `ACL HELP`.
const HELP: &[&str] = &[
    "ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CAT [<category>]",
    "    Show the categories of commands, or the commands of one.",
    "DELUSER <username> [<username> ...]",
    "    Remove users and end their connections.",
    "DRYRUN <username> <command> [<arg> ...]",
    "    Say whether a user might run a command, without running it.",
    "GENPASS [<bits>]",
    "    Make a password of 256 random bits, or as many as given.",
    "GETUSER <username>",
    "    Show the rules of a user.",
    "LIST",
    "    Show all users with their rules, as in a file.",
    "LOAD",
    "    Take the users of the file in the place of those there are.",
    "LOG [<count> | RESET]",
    "    Show who was refused what, newest first, or forget it.",
    "SAVE",
    "    Write the users into their file.",
    "SETUSER <username> [<rule> ...]",
    "    Make or change a user.",
    "USERS",
    "    Show the names of all users.",
    "WHOAMI",
    "    Show the name of this connection's user.",
    "HELP",
    "    Show these lines.",
];
