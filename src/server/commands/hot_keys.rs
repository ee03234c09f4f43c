//! HOTKEYS: which keys cost most, found while the server works and without a scan.

use crate::command::args::int_in;
use crate::command::error::Error;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, Spec};
use crate::command::table::Row;
use crate::server::hot_keys::HotKeysOrder;
use crate::server::{ServerCx, ServerFn};

const ADMIN_NOSCRIPT: Flags = Flags::ADMIN.union(Flags::NOSCRIPT);
const ACL_ADMIN_SLOW_DANGEROUS: Acl = Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS);

/// `HOTKEYS` and its subcommands.
pub(super) const COMMANDS: &[Row<ServerFn>] = &[Row::container(
    Spec::new("hotkeys", -2, Flags::empty(), Acl::SLOW, Group::Server, "8.6.0")
        .doc("Depends on the subcommand.", "Groups the commands that find the keys that cost most."),
    &[
        Row::new(
            Spec::new("get", 2, ADMIN_NOSCRIPT, ACL_ADMIN_SLOW_DANGEROUS, Group::Server, "8.6.0").doc(
                "O(K) where K is the number of keys returned.",
                "Returns the keys that cost most in the current or last session, and what the session was.",
            ),
            hotkeys_get_command,
        ),
        Row::new(
            Spec::new("help", 2, Flags::LOADING.union(Flags::STALE), Acl::SLOW, Group::Server, "8.6.0")
                .doc("O(1)", "Lists the subcommands of `HOTKEYS` and what they do."),
            hotkeys_help_command,
        ),
        Row::new(
            Spec::new("reset", 2, ADMIN_NOSCRIPT, ACL_ADMIN_SLOW_DANGEROUS, Group::Server, "8.6.0")
                .doc("O(1)", "Forgets the results of a session that is over."),
            hotkeys_reset_command,
        ),
        Row::new(
            Spec::new("start", -2, ADMIN_NOSCRIPT, ACL_ADMIN_SLOW_DANGEROUS, Group::Server, "8.6.0")
                .doc("O(1)", "Begins a session in which the keys that cost most are found.")
                .args(&[
                    Arg::block(
                        "metrics",
                        &[
                            Arg::new("count", ArgKind::Integer),
                            Arg::word("cpu", "CPU").optional(),
                            Arg::word("net", "NET").optional(),
                        ],
                    )
                    .token("METRICS"),
                    Arg::new("k", ArgKind::Integer).token("COUNT").optional(),
                    Arg::new("seconds", ArgKind::Integer).token("DURATION").optional(),
                    Arg::new("ratio", ArgKind::Integer).token("SAMPLE").optional(),
                    Arg::block(
                        "slots",
                        &[Arg::new("count", ArgKind::Integer), Arg::new("slot", ArgKind::Integer).multiple()],
                    )
                    .token("SLOTS")
                    .optional(),
                ]),
            hotkeys_start_command,
        ),
        Row::new(
            Spec::new("stop", 2, ADMIN_NOSCRIPT, ACL_ADMIN_SLOW_DANGEROUS, Group::Server, "8.6.0")
                .doc("O(1)", "Ends the session; its results stay."),
            hotkeys_stop_command,
        ),
    ],
)];

const METRICS: i64 = 2;
const KEYS_DEFAULT: usize = 10;
const KEYS_MAX: i64 = 64;
const SECONDS_MAX: i64 = 1_000_000;
const LAST_SLOT: i64 = 16_383;

fn hotkeys_start_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.server.end_hot_keys_in_time();
    if cx.server.hot_keys_run() {
        return Err(Error::HOTKEYS_RUNNING);
    }
    let order = order(cx)?;
    cx.server.start_hot_keys(order);
    cx.reply.ok();
    Ok(())
}

fn order(cx: &ServerCx<'_>) -> Result<HotKeysOrder, Error> {
    let mut words = cx.words(2);
    if cx.argc() < 4 || !words.accept("METRICS") {
        return Err(Error::HOTKEYS_METRICS_REQUIRED);
    }
    let metrics = int_in(words.expect()?, 1, METRICS).map_err(|_| Error::HOTKEYS_METRICS_COUNT)?;
    let mut order = HotKeysOrder { cpu: false, net: false, keys: KEYS_DEFAULT, duration_ms: 0, ratio: 1 };
    for _ in 0..metrics {
        // A word that is unknown may be a metric of a later version.
        if words.accept("CPU") {
            if std::mem::replace(&mut order.cpu, true) {
                return Err(Error::HOTKEYS_CPU_TWICE);
            }
        } else if words.accept("NET") {
            if std::mem::replace(&mut order.net, true) {
                return Err(Error::HOTKEYS_NET_TWICE);
            }
        } else {
            words.expect().map_err(|_| Error::HOTKEYS_METRICS_MISMATCH)?;
        }
    }
    if !order.cpu && !order.net {
        return Err(Error::HOTKEYS_NO_METRICS);
    }
    while words.left() > 0 {
        if words.left() > 1 && words.accept("COUNT") {
            let keys = int_in(words.expect()?, 1, KEYS_MAX).map_err(|_| Error::HOTKEYS_COUNT)?;
            order.keys = usize::try_from(keys).unwrap_or(KEYS_DEFAULT);
        } else if words.left() > 1 && words.accept("DURATION") {
            order.duration_ms = int_in(words.expect()?, 1, SECONDS_MAX).map_err(|_| Error::HOTKEYS_DURATION)? * 1000;
        } else if words.left() > 1 && words.accept("SAMPLE") {
            let ratio = int_in(words.expect()?, 1, i64::from(i32::MAX)).map_err(|_| Error::HOTKEYS_SAMPLE)?;
            order.ratio = u32::try_from(ratio).unwrap_or(1);
        } else if words.left() > 1 && words.accept("SLOTS") {
            return Err(Error::HOTKEYS_SLOTS);
        } else {
            return Err(Error::SYNTAX);
        }
    }
    Ok(order)
}

fn hotkeys_stop_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.server.end_hot_keys_in_time();
    if cx.server.stop_hot_keys() {
        cx.reply.ok()
    } else {
        cx.reply.null()
    }
    Ok(())
}

fn hotkeys_reset_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    if !cx.server.reset_hot_keys() {
        return Err(Error::HOTKEYS_STILL_RUNNING);
    }
    cx.reply.ok();
    Ok(())
}

fn hotkeys_get_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.server.end_hot_keys_in_time();
    let ServerCx { server, reply, .. } = cx;
    let Some(report) = server.hot_keys_report() else {
        reply.null();
        return Ok(());
    };
    let (cpu, net) = (report.order.cpu, report.order.net);
    reply.array(1);
    reply.map(7 + if cpu { 3 } else { 0 } + if net { 2 } else { 0 });
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    reply.text("tracking-active");
    reply.int(report.active.into());
    reply.text("sample-ratio");
    reply.int(report.order.ratio.into());
    reply.text("selected-slots");
    reply.array(1);
    reply.array(2);
    reply.int(0);
    reply.int(LAST_SLOT);
    for (name, value) in [
        ("all-commands-all-slots-us", number(report.commands_us)),
        ("net-bytes-all-commands-all-slots", number(report.commands_bytes)),
        ("collection-start-time-unix-ms", report.began_unix_ms),
        ("collection-duration-ms", report.duration_ms),
    ] {
        reply.text(name);
        reply.int(value);
    }
    if cpu {
        reply.text("total-cpu-time-user-ms");
        reply.int(number(report.cpu_user_ms));
        reply.text("total-cpu-time-sys-ms");
        reply.int(number(report.cpu_sys_ms));
    }
    if net {
        reply.text("total-net-bytes");
        reply.int(number(report.net_bytes));
    }
    let lists = [(cpu, "by-cpu-time-us", &report.by_cpu_us), (net, "by-net-bytes", &report.by_net_bytes)];
    for (_, name, keys) in lists.into_iter().filter(|(wanted, ..)| *wanted) {
        reply.text(name);
        reply.array(2 * keys.len());
        for (key, value) in keys {
            reply.bulk(key);
            reply.int(number(*value));
        }
    }
    Ok(())
}

fn hotkeys_help_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.lines(HELP);
    Ok(())
}

/// `HOTKEYS HELP`.
const HELP: &[&str] = &[
    "HOTKEYS <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "START METRICS count [CPU] [NET] [COUNT k] [DURATION seconds] [SAMPLE ratio] [SLOTS count slot ...]",
    "    Begin to find the keys that cost most processor time (CPU) or bytes on the network (NET).",
    "    COUNT: so many keys of each are told, 10 unless given.",
    "    DURATION: the session ends after so many seconds, otherwise with STOP.",
    "    SAMPLE: one command in so many is looked at, every one unless given.",
    "    SLOTS: only keys in these slots count; in cluster mode only.",
    "STOP",
    "    End the session. GET still shows its results.",
    "GET",
    "    Show the results of the current or last session.",
    "RESET",
    "    Forget the results of a session that is over.",
    "HELP",
    "    Show these lines.",
];
