//! Commands on the append-only file.

use crate::command::args::int;
use crate::command::blocking::{Awaited, Block, TimeoutReply};
use crate::command::error::Error;
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, Spec};
use crate::command::table::Row;
use crate::server::append_only::{RewriteAnswer, wait_reply};
use crate::server::{ServerCx, ServerFn};

/// Commands on the append-only file.
pub(super) const COMMANDS: &[Row<ServerFn>] = &[
    Row::new(
        Spec::new(
            "bgrewriteaof",
            1,
            Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::NO_ASYNC_LOADING),
            Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS),
            Group::Server,
            "1.0.0",
        )
        .doc("O(1)", "Writes the append-only file anew from the data while commands go on."),
        bgrewriteaof_command,
    ),
    Row::new(
        Spec::new(
            "waitaof",
            4,
            Flags::BLOCKING,
            Acl::SLOW.union(Acl::BLOCKING).union(Acl::CONNECTION),
            Group::Generic,
            "7.2.0",
        )
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .doc("O(1)", "Waits until what the connection has changed is on disk, here and on so many replicas.")
        .args(&[
            Arg::new("numlocal", ArgKind::Integer),
            Arg::new("numreplicas", ArgKind::Integer),
            Arg::new("timeout", ArgKind::Integer),
        ]),
        waitaof_command,
    ),
];

fn bgrewriteaof_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    match cx.server.ask_for_rewrite() {
        Ok(RewriteAnswer::Started) => cx.reply.simple("Background append only file rewriting started"),
        Ok(RewriteAnswer::Scheduled) => cx.reply.simple("Background append only file rewriting scheduled"),
        Ok(RewriteAnswer::InProgress) => {
            return Err(Error::fixed("ERR Background append only file rewriting already in progress"));
        }
        Err(_) => {
            return Err(Error::fixed(
                "ERR Can't execute an AOF background rewriting. Please check the server logs for more information.",
            ));
        }
    }
    Ok(())
}

fn waitaof_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let mut words = cx.words(1);
    let here = words.expect_int()?;
    if !(0..=1).contains(&here) {
        return Err(Error::fixed("ERR value is out of range, value must between 0 and 1"));
    }
    let replicas = words.expect()?;
    if !int(replicas).is_ok_and(|replicas| replicas >= 0) {
        return Err(Error::fixed("ERR value is out of range, must be positive"));
    }
    let for_replicas = int(replicas)? > 0;
    let until_ms = crate::command::args::timeout_ms(words.expect()?, cx.server.store.now_ms())?;
    if here > 0 && !cx.server.config.appendonly {
        return Err(Error::WAITAOF_WITHOUT_FILE);
    }
    let behind = cx.server.changes_to_sync();
    let done = here == 0 || behind.is_none();
    if done && !for_replicas || !cx.server.effects.may_block {
        wait_reply(&mut cx.reply, behind.is_none());
        return Ok(());
    }
    let id = cx.client().id;
    cx.server.await_sync(id, behind.unwrap_or(0), here > 0, for_replicas);
    cx.server.effects.block = Some(Box::new(Block::without_keys(Awaited::Nothing, until_ms, TimeoutReply::Synced)));
    Ok(())
}
