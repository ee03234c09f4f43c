//! HELP of the broker's commands that are groups of commands.

use crate::command::error::Error;
use crate::server::ServerCx;

pub(super) fn queue_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.lines(QUEUE);
    Ok(())
}

pub(super) fn exchange_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.lines(EXCHANGE);
    Ok(())
}

pub(super) fn policy_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.lines(POLICY);
    Ok(())
}

pub(super) fn schedule_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.lines(SCHEDULE);
    Ok(())
}

const QUEUE: &[&str] = &[
    "MQ.QUEUE <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CONSUMERS <queue>",
    "    List the subscriptions to a queue.",
    "DECLARE <queue> [EXCLUSIVE] [AUTODELETE] [EXPIRES <ms>] [MSGTTL <ms>] [MAXLEN <n>]",
    "        [MAXBYTES <n>] [OVERFLOW drophead|reject|rejectdl|block] [DLX <exchange>]",
    "        [DLRK <routing-key>] [DLSTRATEGY retain|drop] [DELIVERYLIMIT <n>]",
    "        [RETRY none|all|failed|returned <min-ms> <max-ms>] [LEASE <ms>] [MAXPRIORITY <n>]",
    "        [SAC] [GROUPS] [LASTVALUE <header>] [DEDUP <ms> <max-ids>] [TRACK yes|no] [PASSIVE]",
    "    Create a queue, or make sure that it was declared like that. PASSIVE: only if it is there.",
    "DELETE <queue> [IFEMPTY] [IFUNUSED]",
    "    Delete a queue with its messages and the bindings to it.",
    "INFO <queue>",
    "    Show messages, counters and rates of a queue, and the rules in force for it.",
    "LIST [MATCH <pattern>] [COUNT <n>]",
    "    List the names of queues.",
    "PAUSE <queue> in|out|all|none|state",
    "    Close a queue to publishers, consumers or both, open it, or tell what is closed.",
    "PURGE <queue>",
    "    Remove the messages that are ready.",
    "HELP",
    "    Show these lines.",
];

const EXCHANGE: &[&str] = &[
    "MQ.EXCHANGE <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DECLARE <exchange> TYPE direct|fanout|topic|headers|hash|modhash|random [ALTERNATE <exchange>]",
    "        [AUTODELETE] [INTERNAL] [RKACL yes|no] [PASSIVE]",
    "    Create an exchange, or make sure that it was declared like that. PASSIVE: only if it is there.",
    "DELETE <exchange> [IFUNUSED]",
    "    Delete an exchange with its bindings and those to it.",
    "INFO <exchange>",
    "    Show the options of an exchange, and how many bindings it has.",
    "LIST [MATCH <pattern>] [COUNT <n>]",
    "    List the names of exchanges.",
    "HELP",
    "    Show these lines.",
];

const POLICY: &[&str] = &[
    "MQ.POLICY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DEL <name>",
    "    Remove a policy.",
    "LIST",
    "    List the policies with their definitions.",
    "SET <name> PATTERN <pattern> APPLY queues|exchanges|all PRIORITY <n> [OPERATOR]",
    "        DEF <n> <option> <value> [<option> <value> ...]",
    "    Give rules to all queues or exchanges whose names match. OPERATOR: limits besides other rules.",
    "HELP",
    "    Show these lines.",
];

const SCHEDULE: &[&str] = &[
    "MQ.SCHEDULE <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DEL <name>",
    "    Remove a schedule.",
    "LIST",
    "    List the schedules, and when each publishes next.",
    "PAUSE <name>",
    "    Stop a schedule until it is resumed.",
    "RESUME <name>",
    "    Let a schedule go on.",
    "RUN <name>",
    "    Publish what a schedule says at once.",
    "SET <name> CRON <pattern>|EVERY <ms> [ZONE <zone>] PUB <exchange> <routing-key> <body>",
    "        [HEADERS <n> <name> <value> [<name> <value> ...]]",
    "    Have a message published at times of a calendar, or every so many milliseconds.",
    "HELP",
    "    Show these lines.",
];
