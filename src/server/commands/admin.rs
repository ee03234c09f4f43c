//! What an operator needs that belongs to no container: the end, the clock, watching, and a picture.

use super::lolwut;
use crate::command::args::{int, is};
use crate::command::error::Error;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, Spec};
use crate::command::table::Row;
use crate::server::ServerFn;
use crate::server::client::ClientFlags;
use crate::server::gates::Armed;
use crate::server::snapshots::Purpose;
use crate::server::{ServerCx, ShutdownRequest};

const ACL_ADMIN_SLOW_DANGEROUS: Acl = Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS);

/// Commands for the operator that belong to no container.
pub(super) const COMMANDS: &[Row<ServerFn>] = &[
    Row::new(
        Spec::new(
            "shutdown",
            -1,
            Flags::ADMIN
                .union(Flags::NOSCRIPT)
                .union(Flags::LOADING)
                .union(Flags::STALE)
                .union(Flags::NO_MULTI)
                .union(Flags::ALLOW_BUSY),
            ACL_ADMIN_SLOW_DANGEROUS,
            Group::Server,
            "1.0.0",
        )
        .doc(
            "O(N) where N is the number of keys if it saves, otherwise O(1).",
            "Saves the data where so configured or asked, and ends the server.",
        )
        .history(&[
            ("7.0.0", "Gained the `NOW`, `FORCE` and `ABORT` options."),
            ("9.0.0", "Gained the `SAFE` and `FAILOVER` options."),
        ])
        .args(&[Arg::one_of(
            "abort-selector",
            &[
                Arg::block(
                    "save-selector-block",
                    &[
                        Arg::one_of("save-selector", &[Arg::word("nosave", "NOSAVE"), Arg::word("save", "SAVE")])
                            .optional(),
                        Arg::word("now", "NOW").since("7.0.0").optional(),
                        Arg::word("force", "FORCE").since("7.0.0").optional(),
                        Arg::word("safe", "SAFE").since("9.0.0").optional(),
                        Arg::word("failover", "FAILOVER").since("9.0.0").optional(),
                    ],
                ),
                Arg::word("abort", "ABORT").since("7.0.0"),
            ],
        )
        .optional()]),
        shutdown_command,
    ),
    Row::new(
        Spec::new(
            "save",
            1,
            Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::NO_ASYNC_LOADING).union(Flags::NO_MULTI),
            ACL_ADMIN_SLOW_DANGEROUS,
            Group::Server,
            "1.0.0",
        )
        .doc("O(N) where N is the number of keys.", "Writes a snapshot of all databases while everybody waits."),
        save_command,
    ),
    Row::new(
        Spec::new(
            "bgsave",
            -1,
            Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::NO_ASYNC_LOADING),
            ACL_ADMIN_SLOW_DANGEROUS,
            Group::Server,
            "1.0.0",
        )
        .doc("O(1)", "Writes a snapshot of all databases while commands go on, or calls it off.")
        .history(&[("3.2.2", "Gained the `SCHEDULE` option."), ("8.1.0", "Gained the `CANCEL` option.")])
        .args(&[Arg::one_of(
            "operation",
            &[Arg::word("schedule", "SCHEDULE").since("3.2.2"), Arg::word("cancel", "CANCEL").since("8.1.0")],
        )
        .optional()]),
        bgsave_command,
    ),
    Row::new(
        Spec::new(
            "lastsave",
            1,
            Flags::LOADING.union(Flags::STALE).union(Flags::FAST),
            Acl::ADMIN.union(Acl::FAST).union(Acl::DANGEROUS),
            Group::Server,
            "1.0.0",
        )
        .tips(&["nondeterministic_output"])
        .doc("O(1)", "Tells when the last snapshot was written, in seconds since 1970."),
        lastsave_command,
    ),
    Row::new(
        Spec::new("time", 1, Flags::LOADING.union(Flags::STALE).union(Flags::FAST), Acl::FAST, Group::Server, "2.6.0")
            .tips(&["nondeterministic_output"])
            .doc("O(1)", "Returns the server's clock as Unix seconds and the microseconds within the second."),
        time_command,
    ),
    Row::new(
        Spec::new("lolwut", -1, Flags::READONLY.union(Flags::FAST), Acl::READ.union(Acl::FAST), Group::Server, "5.0.0")
            .doc("", "Draws something and names the server's version.")
            .args(&[Arg::new("version", ArgKind::Integer).token("VERSION").optional()]),
        lolwut_command,
    ),
    Row::new(
        Spec::new(
            "monitor",
            1,
            Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE),
            ACL_ADMIN_SLOW_DANGEROUS,
            Group::Server,
            "1.0.0",
        )
        .doc("", "Shows the connection every command that the server runs from then on."),
        monitor_command,
    ),
];

bitflags::bitflags! {
    /// Words of SHUTDOWN.
    #[derive(Clone, Copy, PartialEq, Eq)]
    struct ShutdownWords: u8 {
        const NOSAVE = 1 << 0;
        const SAVE = 1 << 1;
        const NOW = 1 << 2;
        const FORCE = 1 << 3;
        const SAFE = 1 << 4;
        const FAILOVER = 1 << 5;
        const ABORT = 1 << 6;
    }
}

fn shutdown_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let mut words = ShutdownWords::empty();
    for word in cx.words(1) {
        let word = ShutdownWords::all().iter_names().find(|(name, _)| is(word, name));
        words |= word.ok_or(Error::SYNTAX)?.1;
    }
    let contradiction = ShutdownWords::SAVE | ShutdownWords::NOSAVE;
    let aborts = words.contains(ShutdownWords::ABORT);
    if words.contains(contradiction) || aborts && words != ShutdownWords::ABORT {
        return Err(Error::SYNTAX);
    }
    if aborts {
        // On its way down the server waits for nothing but the end of a script.
        if !cx.server.abort_end() {
            return Err(Error::fixed("ERR No shutdown in progress."));
        }
        cx.reply.ok();
        return Ok(());
    }
    if let Some(busy) = cx.server.busy_script()
        && !words.contains(ShutdownWords::NOSAVE)
    {
        return Err(busy);
    }
    if words.contains(ShutdownWords::FAILOVER) {
        return Err(Error::fixed("ERR SHUTDOWN FAILOVER is only supported in cluster mode."));
    }
    // What is not all there yet is not to be saved.
    let loading = cx.server.is_loading();
    let save = (loading || words.intersects(contradiction)).then(|| !loading && words.contains(ShutdownWords::SAVE));
    if cx.server.prepare_end(save).is_err() && !words.contains(ShutdownWords::FORCE) {
        return Err(Error::fixed("ERR Errors trying to SHUTDOWN. Check logs."));
    }
    cx.server.shutdown = Some(ShutdownRequest { by: "SHUTDOWN", failed: false });
    // There is no reply, and what the client sent behind this is not run.
    cx.client().flags.insert(ClientFlags::CLOSE_AFTER_REPLY);
    Ok(())
}

fn save_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    if cx.server.snapshots.purpose() == Some(&Purpose::Rdb) {
        return Err(Error::SAVE_IN_PROGRESS);
    }
    cx.server.snapshots.saves += 1;
    cx.server.save_snapshot().map_err(|_| Error::NOT_SAVED)?;
    cx.reply.ok();
    Ok(())
}

fn bgsave_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let mut words = cx.words(1);
    let (mut schedule, mut cancel) = (false, false);
    if words.peek().is_some() {
        schedule = words.accept("SCHEDULE");
        cancel = !schedule && words.accept("CANCEL");
        if !schedule && !cancel || words.peek().is_some() {
            return Err(Error::SYNTAX);
        }
    }
    if cancel {
        return cancel_bgsave(cx);
    }
    // A transaction is one moment: what it is about to change is not to be divided.
    let in_exec = cx.client().in_transaction();
    if cx.server.snapshots.purpose() == Some(&Purpose::Rdb) {
        return Err(Error::SAVE_IN_PROGRESS);
    }
    if !cx.server.is_writing_snapshot() && !in_exec {
        cx.server.begin_save().map_err(|_| Error::NOT_SAVED)?;
        cx.reply.simple("Background saving started");
    } else if schedule || in_exec {
        cx.server.snapshots.is_scheduled = true;
        cx.reply.simple("Background saving scheduled");
    } else {
        return Err(Error::OTHER_SNAPSHOT_IN_PROGRESS);
    }
    Ok(())
}

fn cancel_bgsave(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    if cx.server.snapshots.purpose() == Some(&Purpose::Rdb) {
        tracing::info!("Background saving cancelled by a client");
        cx.server.cancel_snapshot();
        cx.reply.simple("Background saving cancelled");
    } else if std::mem::take(&mut cx.server.snapshots.is_scheduled) {
        cx.reply.simple("Scheduled background saving cancelled");
    } else {
        return Err(Error::fixed("ERR Background saving is currently not in progress or scheduled"));
    }
    Ok(())
}

fn lastsave_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.int(cx.server.snapshots.last_save_s);
    Ok(())
}

fn time_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let now_us = cx.server.scripts.told_us().unwrap_or_else(cx.server.facts.wall_clock_us);
    cx.reply.array(2);
    cx.reply.bulk_int(now_us / 1_000_000);
    cx.reply.bulk_int(now_us % 1_000_000);
    Ok(())
}

fn lolwut_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let mut words = cx.words(1);
    if words.accept("VERSION") {
        // There is one picture only; the number is looked at so that wrong ones are told.
        words.expect_int()?;
    }
    let mut sizes = [lolwut::COLUMNS_DEFAULT, lolwut::ROWS_DEFAULT];
    for (at, word) in words.enumerate() {
        let size = int(word)?;
        if let Some(place) = sizes.get_mut(at) {
            *place = usize::try_from(size).unwrap_or(0);
        }
    }
    let [columns, rows] = sizes;
    let mut picture = lolwut::draw(columns, rows, cx.server.store.random_u64());
    picture.push_str(&format!("\nWeir ver. {}\n", cx.server.facts.version));
    cx.reply.verbatim(b"txt", picture.as_bytes());
    Ok(())
}

fn monitor_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let slot = cx.slot;
    if !cx.server.effects.may_block {
        // Its replies would end up inside of another one.
        return Err(Error::MONITOR_DENIED);
    }
    let client = cx.client();
    if client.flags.contains(ClientFlags::MONITOR) {
        // As Redis does: it already gets what it asks for, and that is no reply.
        return Ok(());
    }
    client.flags.insert(ClientFlags::MONITOR);
    client.armed.insert(Armed::MONITOR);
    cx.server.clients.monitors.push(slot);
    cx.reply.ok();
    Ok(())
}
