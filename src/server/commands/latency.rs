//! LATENCY: what was slow and when, and how long calls of commands take.

use crate::command::error::Error;
use crate::command::reply::Reply;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, Spec};
use crate::command::table::Row;
use crate::server::ServerCx;
use crate::server::ServerFn;
use crate::server::statistics::Statistics;
use crate::server::table::{Command, commands};
use crate::stats::latency_monitor::DoctorFacts;
use std::fs;

const ADMIN_NOSCRIPT_LOADING_STALE: Flags =
    Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE);
const ACL_ADMIN_SLOW_DANGEROUS: Acl = Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS);

/// `LATENCY` and its subcommands.
pub(super) const COMMANDS: &[Row<ServerFn>] = &[Row::container(
    Spec::new("latency", -2, Flags::empty(), Acl::SLOW, Group::Server, "2.8.13")
        .doc("Depends on the subcommand.", "Groups the commands about latency spikes and command durations."),
    &[
        Row::new(
            Spec::new("doctor", 2, ADMIN_NOSCRIPT_LOADING_STALE, ACL_ADMIN_SLOW_DANGEROUS, Group::Server, "2.8.13")
                .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
                .doc("O(1)", "Says in words which events were slow and what could be done about it."),
            latency_doctor_command,
        ),
        Row::new(
            Spec::new("graph", 3, ADMIN_NOSCRIPT_LOADING_STALE, ACL_ADMIN_SLOW_DANGEROUS, Group::Server, "2.8.13")
                .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
                .doc("O(1)", "Draws the samples of an event in characters.")
                .args(&[Arg::new("event", ArgKind::String)]),
            latency_graph_command,
        ),
        Row::new(
            Spec::new("help", 2, Flags::LOADING.union(Flags::STALE), Acl::SLOW, Group::Server, "2.8.13")
                .doc("O(1)", "Lists the subcommands of `LATENCY` and what they do."),
            latency_help_command,
        ),
        Row::new(
            Spec::new("histogram", -2, ADMIN_NOSCRIPT_LOADING_STALE, ACL_ADMIN_SLOW_DANGEROUS, Group::Server, "7.0.0")
                .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
                .doc(
                    "O(N) where N is the number of commands that have been measured.",
                    "Returns how long calls of commands took, as counts below doubling limits.",
                )
                .args(&[Arg::new("command", ArgKind::String).optional().multiple()]),
            latency_histogram_command,
        ),
        Row::new(
            Spec::new("history", 3, ADMIN_NOSCRIPT_LOADING_STALE, ACL_ADMIN_SLOW_DANGEROUS, Group::Server, "2.8.13")
                .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
                .doc("O(1)", "Returns the samples of an event, each with its time.")
                .args(&[Arg::new("event", ArgKind::String)]),
            latency_history_command,
        ),
        Row::new(
            Spec::new("latest", 2, ADMIN_NOSCRIPT_LOADING_STALE, ACL_ADMIN_SLOW_DANGEROUS, Group::Server, "2.8.13")
                .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
                .doc("O(1)", "Returns the last and the worst sample of every event."),
            latency_latest_command,
        ),
        Row::new(
            Spec::new("reset", -2, ADMIN_NOSCRIPT_LOADING_STALE, ACL_ADMIN_SLOW_DANGEROUS, Group::Server, "2.8.13")
                .tips(&["request_policy:all_nodes", "response_policy:agg_sum"])
                .doc("O(1)", "Forgets the samples of events, all or the named ones.")
                .args(&[Arg::new("event", ArgKind::String).optional().multiple()]),
            latency_reset_command,
        ),
    ],
)];

fn latency_doctor_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let facts = DoctorFacts {
        slowlog_threshold_us: cx.server.config.slowlog_log_slower_than,
        transparent_huge_pages: !cx.server.config.disable_thp && huge_pages_are_on(),
    };
    let report = cx.server.stats.latency.doctor(facts, now_s(cx));
    cx.reply.verbatim(b"txt", report.as_bytes());
    Ok(())
}

/// Whether the system gives huge pages without being asked.
fn huge_pages_are_on() -> bool {
    fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").is_ok_and(|modes| modes.contains("[always]"))
}

fn latency_graph_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let event = cx.arg(2);
    match cx.server.stats.latency.graph(event, now_s(cx)) {
        Some(graph) => cx.reply.verbatim(b"txt", graph.as_bytes()),
        None => {
            let event = String::from_utf8_lossy(event);
            return Err(Error::new(format!("ERR No samples available for event '{event}'")));
        }
    }
    Ok(())
}

fn latency_help_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.lines(LATENCY_HELP);
    Ok(())
}

fn latency_history_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let Some(event) = cx.server.stats.latency.event(cx.arg(2)) else {
        cx.reply.array(0);
        return Ok(());
    };
    let samples = event.history();
    cx.reply.array(samples.len());
    for sample in samples {
        cx.reply.array(2);
        cx.reply.int(sample.unix_time_s);
        cx.reply.int(sample.latency_ms.into());
    }
    Ok(())
}

fn latency_latest_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let latest = || cx.server.stats.latency.events().iter().filter_map(|event| Some((event, event.latest()?)));
    cx.reply.array(latest().count());
    for (event, sample) in latest() {
        cx.reply.array(6);
        cx.reply.text(event.name());
        cx.reply.int(sample.unix_time_s);
        cx.reply.int(sample.latency_ms.into());
        cx.reply.int(event.all_time_max_ms().into());
        cx.reply.int(i64::try_from(event.sum_ms()).unwrap_or(i64::MAX));
        cx.reply.int(i64::try_from(event.count()).unwrap_or(i64::MAX));
    }
    Ok(())
}

fn latency_reset_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let words = cx.words(2);
    let latency = &mut cx.server.stats.latency;
    let forgotten = match words.left() {
        0 => latency.reset_all(),
        _ => words.filter(|event| latency.reset(event)).count(),
    };
    cx.reply.count(forgotten);
    Ok(())
}

fn latency_histogram_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let asked: Vec<&Command> = match cx.argc() {
        2 => commands().iter().collect(),
        _ => cx.words(2).filter_map(|name| super::command::find(cx, name)).collect(),
    };
    let map = cx.reply.deferred_map();
    let mut pairs = 0;
    for command in asked {
        for command in std::iter::once(command).chain(&command.subs) {
            pairs += usize::from(put_histogram(&mut cx.reply, &cx.server.stats, command));
        }
    }
    cx.reply.close(map, pairs);
    Ok(())
}

/// A command and its histogram, if it has been called while durations were tracked. Returns whether it has.
fn put_histogram(reply: &mut Reply<'_>, stats: &Statistics, command: &Command) -> bool {
    let Some(histogram) = stats.commands.get(command.id).and_then(|stats| stats.histogram.as_deref()) else {
        return false;
    };
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    reply.text(command.full_name);
    reply.map(2);
    reply.text("calls");
    reply.int(number(histogram.total()));
    reply.text("histogram_usec");
    let buckets = histogram.cumulative_buckets();
    reply.map(buckets.len());
    for (limit_us, calls) in buckets {
        reply.int(number(limit_us));
        reply.int(number(calls));
    }
    true
}

fn now_s(cx: &ServerCx<'_>) -> i64 {
    cx.server.store.now_ms() / 1000
}

/// `LATENCY HELP`.
const LATENCY_HELP: &[&str] = &[
    "LATENCY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DOCTOR",
    "    Say which events were slow and what to do about it.",
    "GRAPH <event>",
    "    Draw the samples of an event.",
    "HISTORY <event>",
    "    Show the samples of an event, each with its time.",
    "LATEST",
    "    Show the last and the worst sample of every event.",
    "RESET [<event> ...]",
    "    Forget the samples of these events, or of all.",
    "HISTOGRAM [COMMAND ...]",
    "    Show how long calls of these commands took, or of all.",
    "HELP",
    "    Show these lines.",
];
