//! Locks and elections: CFG.LOCK, CFG.UNLOCK, CFG.ELECT.

use super::lease::lease_id;
use super::rows::{
    ADDS, ADDS_FAST, CHANGED, CHANGED_BY_SUB, READ_BY_SUB, READS_FAST, WRITES_FAST, container, ms, spec, store,
};
use super::{put_field, put_number};
use crate::command::args::{Words, timeout_ms};
use crate::command::blocking::{Awaited, Block, TimeoutReply};
use crate::command::error::Error;
use crate::command::spec::{Acl, Flags};
use crate::command::table::Row;
use crate::registry::{self, check_path};
use crate::server::commands::row_parts::{int, option, text};
use crate::server::{ServerCx, ServerFn};
use weir_structs::tree::LeaseId;

/// What may wait for its turn.
const WAITS: Flags = ADDS.union(Flags::BLOCKING);

pub(in crate::server::commands) const ROWS: &[Row<ServerFn>] = &[
    Row::new(
        spec("cfg.lock", -5, WAITS, Acl::CFGWRITE)
            .keys(CHANGED)
            .doc(
                "O(log(N)), N being the paths of the store.",
                "Takes a lock for as long as a lease lasts, and returns its key and a token that rises from holder to holder.",
            )
            .args(&[store(), text("name"), int("lease-id").token("LEASE"), option(ms("milliseconds"), "BLOCK")]),
        lock_command,
    ),
    Row::new(
        spec("cfg.unlock", 3, WRITES_FAST, Acl::CFGWRITE)
            .keys(CHANGED)
            .doc("O(log(N)), N being the paths of the store.", "Gives a lock back.")
            .args(&[store(), text("lock-key")]),
        unlock_command,
    ),
    Row::container(container("cfg.elect", "Groups the commands about elections in a store."), ELECT),
];

const ELECT: &[Row<ServerFn>] = &[
    Row::new(
        spec("campaign", -7, WAITS, Acl::CFGWRITE)
            .keys(CHANGED_BY_SUB)
            .doc(
                "O(log(N)), N being the paths of the store.",
                "Becomes the leader for as long as a lease lasts, with a value that everybody can read.",
            )
            .args(&[
                store(),
                text("name"),
                text("value"),
                int("lease-id").token("LEASE"),
                option(ms("milliseconds"), "BLOCK"),
            ]),
        campaign_command,
    ),
    Row::new(
        spec("help", 2, Flags::LOADING.union(Flags::STALE), Acl::CFGREAD.union(Acl::CFGWRITE))
            .doc("O(1)", "Lists the subcommands of `CFG.ELECT` and what they do."),
        help_command,
    ),
    Row::new(
        spec("leader", 4, READS_FAST, Acl::CFGREAD)
            .keys(READ_BY_SUB)
            .doc("O(log(N)), N being the paths of the store.", "Returns who leads and what the leader says.")
            .args(&[store(), text("name")]),
        leader_command,
    ),
    Row::new(
        spec("proclaim", 5, ADDS_FAST, Acl::CFGWRITE)
            .keys(CHANGED_BY_SUB)
            .doc("O(log(N)), N being the paths of the store.", "Changes what the leader says.")
            .args(&[store(), text("leader-key"), text("value")]),
        proclaim_command,
    ),
    Row::new(
        spec("resign", 4, WRITES_FAST, Acl::CFGWRITE)
            .keys(CHANGED_BY_SUB)
            .doc("O(log(N)), N being the paths of the store.", "Leads no longer; whoever has waited longest does.")
            .args(&[store(), text("leader-key")]),
        resign_command,
    ),
];

fn help_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.lines(HELP);
    Ok(())
}

/// `LEASE id [BLOCK ms]`: the lease, and until when to wait, in Unix ms, if at all (`None` in it: as long as it takes).
fn lease_and_block(mut words: Words<'_>, now_ms: i64) -> Result<(LeaseId, Option<Option<i64>>), Error> {
    if !words.accept("LEASE") {
        return Err(Error::SYNTAX);
    }
    let lease = lease_id(words.expect()?)?;
    let block = if words.accept("BLOCK") { Some(timeout_ms(words.expect()?, now_ms)?) } else { None };
    if words.left() > 0 { Err(Error::SYNTAX) } else { Ok((lease, block)) }
}

fn lock_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (lease, block) = lease_and_block(cx.words(3), cx.server.store.now_ms())?;
    hold(cx, cx.arg(1), cx.arg(2), lease, None, block)
}

fn campaign_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (lease, block) = lease_and_block(cx.words(5), cx.server.store.now_ms())?;
    hold(cx, cx.arg(2), cx.arg(3), lease, Some(cx.arg(4)), block)
}

fn hold(
    cx: &mut ServerCx<'_>,
    store: &[u8],
    name: &[u8],
    lease: LeaseId,
    value: Option<&[u8]>,
    block: Option<Option<i64>>,
) -> Result<(), Error> {
    check_path(name)?;
    let (client, db) = (cx.client().id.0, cx.client().db);
    let is_next = cx.server.registry.is_next_in_line(db, store, name, client);
    let held =
        cx.server.write_registry(cx.slot, store, |writer| registry::hold(writer, name, lease, value, is_next))?;
    if let Some(held) = held {
        cx.server.registry.has_lock(client);
        cx.reply.map(2);
        cx.reply.text("key");
        cx.reply.bulk(&held.key);
        put_field(&mut cx.reply, "token", held.token);
        return Ok(());
    }
    let Some(until_ms) = block.filter(|_| cx.server.effects.may_block) else {
        cx.reply.null();
        return Ok(());
    };
    cx.server.registry.join_line(db, store, name, client, lease);
    cx.server.effects.block = Some(Box::new(Block::without_keys(Awaited::Nothing, until_ms, TimeoutReply::Null)));
    Ok(())
}

fn unlock_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    release(cx, cx.arg(1), cx.arg(2))
}

fn resign_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    release(cx, cx.arg(2), cx.arg(3))
}

fn release(cx: &mut ServerCx<'_>, store: &[u8], key: &[u8]) -> Result<(), Error> {
    let revision = cx.server.write_registry(cx.slot, store, |writer| registry::release(writer, key))?;
    put_number(&mut cx.reply, revision);
    Ok(())
}

fn proclaim_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (store, key, value) = (cx.arg(2), cx.arg(3), cx.arg(4));
    let revision = cx.server.write_registry(cx.slot, store, |writer| registry::proclaim(writer, key, value))?;
    put_number(&mut cx.reply, revision);
    Ok(())
}

fn leader_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (store, name) = (cx.arg(2), cx.arg(3));
    check_path(name)?;
    let ServerCx { server, slot, reply, .. } = cx;
    let (_, tree) = server.read_registry(*slot, store)?;
    match tree.and_then(|tree| registry::holder(tree, name)) {
        None => reply.null(),
        Some((key, version)) => {
            reply.map(5);
            reply.text("key");
            reply.bulk(key);
            reply.text("value");
            reply.bulk(version.value());
            put_field(reply, "token", version.create());
            put_field(reply, "revision", version.modified());
            put_field(reply, "lease", version.lease());
        }
    }
    Ok(())
}

/// `CFG.ELECT HELP`.
const HELP: &[&str] = &[
    "CFG.ELECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CAMPAIGN <store> <name> <value> LEASE <id> [BLOCK <milliseconds>]",
    "    Become the leader, now or when it is one's turn.",
    "LEADER <store> <name>",
    "    Show who leads and what the leader says.",
    "PROCLAIM <store> <key> <value>",
    "    Say something else as the leader who has this key.",
    "RESIGN <store> <key>",
    "    Lead no longer.",
    "HELP",
    "    Show these lines.",
];
