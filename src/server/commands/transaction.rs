//! MULTI, EXEC and what belongs to them.

use crate::command::error::Error;
use crate::command::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::Row;
use crate::server::scripting::Caller;
use crate::server::{ServerCx, ServerFn};

const NOSCRIPT_LOADING_STALE_FAST_ALLOW_BUSY: Flags =
    Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE).union(Flags::FAST).union(Flags::ALLOW_BUSY);
const ACL_FAST_TRANSACTION: Acl = Acl::FAST.union(Acl::TRANSACTION);

/// Commands of transactions.
pub(super) const COMMANDS: &[Row<ServerFn>] = &[
    Row::new(
        Spec::new(
            "discard",
            1,
            NOSCRIPT_LOADING_STALE_FAST_ALLOW_BUSY.union(Flags::NOT_QUEUED),
            ACL_FAST_TRANSACTION,
            Group::Transactions,
            "2.0.0",
        )
        .doc("O(N), when N is the number of queued commands", "Forgets the queued commands and the watched keys."),
        discard_command,
    ),
    Row::new(
        Spec::new(
            "exec",
            1,
            Flags::NOSCRIPT
                .union(Flags::LOADING)
                .union(Flags::STALE)
                .union(Flags::SKIP_SLOWLOG)
                .union(Flags::NOT_QUEUED)
                .union(Flags::RUNS_QUEUED),
            Acl::SLOW.union(Acl::TRANSACTION),
            Group::Transactions,
            "1.2.0",
        )
        .doc("Depends on commands in the transaction", "Runs the queued commands, unless a watched key was changed."),
        exec_command,
    ),
    Row::new(
        Spec::new(
            "multi",
            1,
            NOSCRIPT_LOADING_STALE_FAST_ALLOW_BUSY.union(Flags::NOT_QUEUED),
            ACL_FAST_TRANSACTION,
            Group::Transactions,
            "1.2.0",
        )
        .doc("O(1)", "Queues the commands that follow until EXEC runs all of them at once."),
        multi_command,
    ),
    Row::new(
        Spec::new(
            "unwatch",
            1,
            NOSCRIPT_LOADING_STALE_FAST_ALLOW_BUSY,
            ACL_FAST_TRANSACTION,
            Group::Transactions,
            "2.2.0",
        )
        .doc("O(1)", "Ends the watching of all keys."),
        unwatch_command,
    ),
    Row::new(
        Spec::new(
            "watch",
            -2,
            NOSCRIPT_LOADING_STALE_FAST_ALLOW_BUSY.union(Flags::NOT_QUEUED),
            ACL_FAST_TRANSACTION,
            Group::Transactions,
            "2.2.0",
        )
        .keys(&[KeySpec::range(1, -1, 1, KeyFlags::RO)])
        .doc("O(1) for every key.", "Lets the next EXEC run only if none of these keys has been changed by then.")
        .args(&[Arg::key("key", 0).multiple()]),
        watch_command,
    ),
];

fn multi_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    if !cx.server.open_transaction(cx.slot) {
        return Err(Error::NESTED_MULTI);
    }
    cx.reply.ok();
    Ok(())
}

fn discard_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    if !cx.client().in_transaction() {
        return Err(Error::DISCARD_WITHOUT_MULTI);
    }
    cx.server.end_transaction(cx.slot);
    cx.reply.ok();
    Ok(())
}

fn watch_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    if cx.client().in_transaction() {
        return Err(Error::WATCH_IN_MULTI);
    }
    let slot = cx.slot;
    // Where EXEC will fail already, one key more makes no difference.
    if !cx.server.watched_has_changed(slot) {
        for at in 1..cx.argc() {
            cx.server.watch(slot, cx.argv.at(at));
        }
    }
    cx.reply.ok();
    Ok(())
}

fn unwatch_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.server.unwatch(cx.slot);
    cx.reply.ok();
    Ok(())
}

fn exec_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let slot = cx.slot;
    if !cx.client().in_transaction() {
        return Err(Error::EXEC_WITHOUT_MULTI);
    }
    let unchanged = cx.server.watched_unchanged(slot);
    let queue = cx.client().tx.as_deref_mut().and_then(|tx| tx.take_queue());
    let Some(queue) = queue else {
        cx.server.end_transaction(slot);
        return Err(Error::EXEC_ABORT);
    };
    cx.server.unwatch(slot);
    if unchanged {
        cx.reply.array(queue.len());
        let (caller, began) = (Caller::of(cx), cx.server.stats.ticks.now());
        if cx.server.call_queued(caller, queue, 0, began, cx.reply.output()) {
            return Ok(());
        }
    } else {
        cx.reply.null_array();
    }
    cx.server.end_transaction(slot);
    Ok(())
}
