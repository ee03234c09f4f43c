//! SLOWLOG and COMMANDLOG: commands that were slow, large, or had a large reply. SLOWLOG is the first of the three logs.

use crate::command::args::int;
use crate::command::error::Error;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, Spec};
use crate::command::table::Row;
use crate::server::ServerCx;
use crate::server::ServerFn;
use crate::stats::{CommandLogEntry, LogKind};

const ADMIN_LOADING_STALE: Flags = Flags::ADMIN.union(Flags::LOADING).union(Flags::STALE);
const LOADING_STALE: Flags = Flags::LOADING.union(Flags::STALE);
const ACL_ADMIN_SLOW_DANGEROUS: Acl = Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS);

/// `SLOWLOG`, `COMMANDLOG` and their subcommands.
pub(super) const COMMANDS: &[Row<ServerFn>] = &[
    Row::container(
        Spec::new("slowlog", -2, Flags::empty(), Acl::SLOW, Group::Server, "2.2.12")
            .doc("Depends on the subcommand.", "Groups the commands about the log of slow commands."),
        &[
            Row::new(
                Spec::new("get", -2, ADMIN_LOADING_STALE, ACL_ADMIN_SLOW_DANGEROUS, Group::Server, "2.2.12")
                    .tips(&["request_policy:all_nodes", "nondeterministic_output"])
                    .doc(
                        "O(N) where N is the number of entries returned.",
                        "Returns the newest entries of the slow log.",
                    )
                    .history(&[("4.0.0", "Entries have the client's address and name.")])
                    .args(&[Arg::new("count", ArgKind::Integer).optional()]),
                slowlog_get_command,
            ),
            Row::new(
                Spec::new("help", 2, LOADING_STALE, Acl::SLOW, Group::Server, "6.2.0")
                    .doc("O(1)", "Lists the subcommands of `SLOWLOG` and what they do."),
                slowlog_help_command,
            ),
            Row::new(
                Spec::new("len", 2, ADMIN_LOADING_STALE, ACL_ADMIN_SLOW_DANGEROUS, Group::Server, "2.2.12")
                    .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"])
                    .doc("O(1)", "Counts the entries of the slow log."),
                slowlog_len_command,
            ),
            Row::new(
                Spec::new("reset", 2, ADMIN_LOADING_STALE, ACL_ADMIN_SLOW_DANGEROUS, Group::Server, "2.2.12")
                    .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
                    .doc("O(N) where N is the number of entries.", "Empties the slow log."),
                slowlog_reset_command,
            ),
        ],
    ),
    Row::container(
        Spec::new("commandlog", -2, Flags::empty(), Acl::SLOW, Group::Server, "8.1.0").doc(
            "Depends on the subcommand.",
            "Groups the commands about the logs of slow commands, large requests and large replies.",
        ),
        &[
            Row::new(
                Spec::new("get", 4, ADMIN_LOADING_STALE, ACL_ADMIN_SLOW_DANGEROUS, Group::Server, "8.1.0")
                    .tips(&["request_policy:all_nodes", "nondeterministic_output"])
                    .doc(
                        "O(N) where N is the number of entries returned.",
                        "Returns the newest entries of one of the command logs.",
                    )
                    .args(&[
                        Arg::new("count", ArgKind::Integer),
                        Arg::one_of(
                            "type",
                            &[
                                Arg::word("slow", "SLOW"),
                                Arg::word("large-request", "LARGE-REQUEST"),
                                Arg::word("large-reply", "LARGE-REPLY"),
                            ],
                        ),
                    ]),
                commandlog_get_command,
            ),
            Row::new(
                Spec::new("help", 2, LOADING_STALE, Acl::SLOW, Group::Server, "8.1.0")
                    .doc("O(1)", "Lists the subcommands of `COMMANDLOG` and what they do."),
                commandlog_help_command,
            ),
            Row::new(
                Spec::new("len", 3, ADMIN_LOADING_STALE, ACL_ADMIN_SLOW_DANGEROUS, Group::Server, "8.1.0")
                    .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"])
                    .doc("O(1)", "Counts the entries of one of the command logs.")
                    .args(&[Arg::one_of(
                        "type",
                        &[
                            Arg::word("slow", "SLOW"),
                            Arg::word("large-request", "LARGE-REQUEST"),
                            Arg::word("large-reply", "LARGE-REPLY"),
                        ],
                    )]),
                commandlog_len_command,
            ),
            Row::new(
                Spec::new("reset", 3, ADMIN_LOADING_STALE, ACL_ADMIN_SLOW_DANGEROUS, Group::Server, "8.1.0")
                    .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
                    .doc("O(N) where N is the number of entries.", "Empties one of the command logs.")
                    .args(&[Arg::one_of(
                        "type",
                        &[
                            Arg::word("slow", "SLOW"),
                            Arg::word("large-request", "LARGE-REQUEST"),
                            Arg::word("large-reply", "LARGE-REPLY"),
                        ],
                    )]),
                commandlog_reset_command,
            ),
        ],
    ),
];

/// Entries that SLOWLOG GET returns unless told otherwise.
const COUNT_DEFAULT: usize = 10;

fn slowlog_get_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let count = match cx.argc() {
        2 => Some(COUNT_DEFAULT),
        3 => count_arg(cx.arg(2))?,
        _ => return Err(Error::subcommand_syntax(cx.arg(1), "slowlog")),
    };
    put_latest(cx, LogKind::Slow, count);
    Ok(())
}

fn slowlog_len_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.count(cx.server.stats.logs.get(LogKind::Slow).len());
    Ok(())
}

fn slowlog_reset_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.server.stats.logs.get_mut(LogKind::Slow).reset();
    cx.reply.ok();
    Ok(())
}

fn slowlog_help_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.lines(SLOWLOG_HELP);
    Ok(())
}

fn commandlog_get_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let count = count_arg(cx.arg(2))?;
    let kind = kind_arg(cx.arg(3))?;
    put_latest(cx, kind, count);
    Ok(())
}

fn commandlog_len_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let kind = kind_arg(cx.arg(2))?;
    cx.reply.count(cx.server.stats.logs.get(kind).len());
    Ok(())
}

fn commandlog_reset_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let kind = kind_arg(cx.arg(2))?;
    cx.server.stats.logs.get_mut(kind).reset();
    cx.reply.ok();
    Ok(())
}

fn commandlog_help_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.lines(COMMANDLOG_HELP);
    Ok(())
}

/// A number of entries; -1 is all of them.
fn count_arg(arg: &[u8]) -> Result<Option<usize>, Error> {
    match int(arg) {
        Ok(-1) => Ok(None),
        Ok(count) if count >= 0 => Ok(Some(usize::try_from(count).unwrap_or(usize::MAX))),
        _ => Err(Error::fixed("ERR count should be greater than or equal to -1")),
    }
}

fn kind_arg(arg: &[u8]) -> Result<LogKind, Error> {
    LogKind::parse(arg).ok_or(Error::fixed("ERR type should be one of the following: slow, large-request, large-reply"))
}

fn put_latest(cx: &mut ServerCx<'_>, kind: LogKind, count: Option<usize>) {
    let entries = cx.server.stats.logs.get(kind).latest(count);
    cx.reply.array(entries.len());
    for CommandLogEntry { id, unix_time_s, value, argv, client_addr, client_name } in entries {
        cx.reply.array(6);
        cx.reply.int(i64::try_from(*id).unwrap_or(i64::MAX));
        cx.reply.int(*unix_time_s);
        cx.reply.int(i64::try_from(*value).unwrap_or(i64::MAX));
        cx.reply.array(argv.len());
        argv.iter().for_each(|arg| cx.reply.bulk(arg));
        cx.reply.text(client_addr);
        cx.reply.bulk(client_name);
    }
}

/// `SLOWLOG HELP`.
const SLOWLOG_HELP: &[&str] = &[
    "SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET [<count>]",
    "    Show the newest <count> entries (10 unless said otherwise, -1 for all). An entry",
    "    has: id, Unix time, microseconds, arguments, client address, client name.",
    "LEN",
    "    Show how many entries there are.",
    "RESET",
    "    Remove all entries.",
    "HELP",
    "    Show these lines.",
];

/// `COMMANDLOG HELP`.
const COMMANDLOG_HELP: &[&str] = &[
    "COMMANDLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET <count> <type>",
    "    Show the newest <count> entries of a log (-1 for all). An entry has: id, Unix",
    "    time, microseconds or bytes, arguments, client address, client name. Types are:",
    "    * slow: commands that ran for long.",
    "    * large-request: commands with large arguments.",
    "    * large-reply: commands with a large reply.",
    "LEN <type>",
    "    Show how many entries a log has.",
    "RESET <type>",
    "    Remove all entries of a log.",
    "HELP",
    "    Show these lines.",
];
