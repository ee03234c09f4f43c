//! Leases: CFG.LEASE.
//!
//! Who asks for a lease that is not there is told `CFGLEASE`; only of several that KEEPALIVE names does each have its answer, -1
//! for what is gone.

use super::rows::{
    ADDS_FAST, CHANGED_BY_SUB, READ_BY_SUB, READS, READS_FAST, WRITES, WRITES_FAST, container, spec, store,
};
use super::{ground, put_field, put_number};
use crate::command::args::int as integer;
use crate::command::error::Error;
use crate::command::spec::{Acl, Flags};
use crate::command::table::Row;
use crate::registry::{self, Registry};
use crate::server::client::Slot;
use crate::server::commands::row_parts::{flag, int, option};
use crate::server::{Server, ServerCx, ServerFn};
use weir_structs::tree::LeaseId;

pub(in crate::server::commands) const ROWS: &[Row<ServerFn>] =
    &[Row::container(container("cfg.lease", "Groups the commands about leases of a store."), SUBS)];

const SUBS: &[Row<ServerFn>] = &[
    Row::new(
        spec("grant", -4, ADDS_FAST, Acl::CFGWRITE)
            .keys(CHANGED_BY_SUB)
            .tips(&["nondeterministic_output"])
            .doc("O(log(L)), L being the leases of the store.", "Grants a lease, which ends unless it is kept alive.")
            .args(&[store(), int("ttl-milliseconds"), option(int("id"), "ID"), flag("conn", "CONN")]),
        grant_command,
    ),
    Row::new(
        spec("help", 2, Flags::LOADING.union(Flags::STALE), Acl::CFGREAD.union(Acl::CFGWRITE))
            .doc("O(1)", "Lists the subcommands of `CFG.LEASE` and what they do."),
        help_command,
    ),
    Row::new(
        spec("keepalive", -4, WRITES_FAST, Acl::CFGWRITE)
            .keys(CHANGED_BY_SUB)
            .doc("O(log(L)) for each lease, L being those of the store.", "Lets leases begin anew.")
            .args(&[store(), int("id").multiple()]),
        keepalive_command,
    ),
    Row::new(
        spec("list", 3, READS, Acl::CFGREAD)
            .keys(READ_BY_SUB)
            .doc("O(L), L being the leases of the store.", "Lists the ids of the leases of a store.")
            .args(&[store()]),
        list_command,
    ),
    Row::new(
        spec("revoke", 4, WRITES, Acl::CFGWRITE)
            .keys(CHANGED_BY_SUB)
            .doc(
                "O(M*log(N)), M being the paths of the lease and N those of the store.",
                "Ends a lease and deletes all paths that are attached to it.",
            )
            .args(&[store(), int("id")]),
        revoke_command,
    ),
    Row::new(
        spec("ttl", -4, READS_FAST, Acl::CFGREAD)
            .keys(READ_BY_SUB)
            .tips(&["nondeterministic_output"])
            .doc(
                "O(log(L)), L being the leases of the store; with KEYS for each path.",
                "Returns how long a lease lasts.",
            )
            .args(&[store(), int("id"), flag("keys", "KEYS")]),
        ttl_command,
    ),
];

fn help_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.lines(HELP);
    Ok(())
}

/// The number of a lease.
pub(super) fn lease_id(word: &[u8]) -> Result<LeaseId, Error> {
    match u64::try_from(integer(word)?) {
        Ok(id @ 1..) => Ok(id),
        _ => Err(Error::cfg_lease("an id is above 0")),
    }
}

fn grant_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (name, ttl_ms) = (cx.arg(2), registry::check_ttl(integer(cx.arg(3))?)?);
    let (mut id, mut conn) = (None, false);
    let mut words = cx.words(4);
    while words.left() > 0 {
        if words.accept("ID") && id.is_none() {
            id = Some(lease_id(words.expect()?)?);
        } else if words.accept("CONN") && !conn {
            conn = true;
        } else {
            return Err(Error::SYNTAX);
        }
    }
    let id = match id {
        Some(id) => id,
        None => Registry::new_lease_id(&mut ground(cx).1, name)?,
    };
    cx.server.write_registry(cx.slot, name, |writer| registry::grant(writer, id, ttl_ms, conn))?;
    if conn {
        let client = cx.client().id.0;
        let (registry, ground) = ground(cx);
        registry.own_lease(&ground, name, id, client);
    }
    cx.reply.map(2);
    put_field(&mut cx.reply, "id", id);
    put_field(&mut cx.reply, "ttl", ttl_ms);
    Ok(())
}

fn keepalive_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let name = cx.arg(2);
    let mut words = cx.words(3);
    let mut ids = Vec::new();
    while words.left() > 0 {
        ids.push(lease_id(words.expect()?)?);
    }
    cx.server.effects.feed_nothing();
    let (registry, mut ground) = ground(cx);
    let mut left = Vec::with_capacity(ids.len());
    for id in ids {
        left.push(registry.keep_alive(&mut ground, name, id)?);
    }
    if left == [None] {
        return Err(Error::CFG_NO_LEASE);
    }
    cx.reply.array(left.len());
    for left_ms in left {
        match left_ms {
            Some(left_ms) => put_number(&mut cx.reply, left_ms),
            None => cx.reply.int(-1),
        }
    }
    Ok(())
}

fn revoke_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (name, id) = (cx.arg(2), lease_id(cx.arg(3))?);
    let (deleted, revision) = cx.server.write_registry(cx.slot, name, |writer| {
        let deleted = registry::end(writer, id)?;
        Ok((deleted, writer.last_revision()))
    })?;
    let (registry, ground) = ground(cx);
    registry.lease_ended(&ground, name, id);
    cx.reply.map(2);
    put_field(&mut cx.reply, "deleted", deleted);
    put_field(&mut cx.reply, "revision", revision);
    Ok(())
}

fn ttl_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (name, id) = (cx.arg(2), lease_id(cx.arg(3))?);
    let mut words = cx.words(4);
    let with_keys = words.left() > 0;
    if with_keys && !(words.accept("KEYS") && words.left() == 0) {
        return Err(Error::SYNTAX);
    }
    let left_ms = cx.server.lease_left_ms(cx.slot, name, id)?.ok_or(Error::CFG_NO_LEASE)?;
    let ServerCx { server, slot, reply, .. } = cx;
    let (_, tree) = server.read_registry(*slot, name)?;
    let lease = tree.and_then(|tree| tree.lease(id)).ok_or(Error::CFG_NO_LEASE)?;
    reply.map(4 + usize::from(with_keys));
    put_field(reply, "id", id);
    put_field(reply, "granted", lease.ttl_ms());
    put_field(reply, "ttl", left_ms);
    reply.text("type");
    reply.text(if lease.conn() { "conn" } else { "time" });
    if with_keys {
        reply.text("keys");
        reply.array(lease.len());
        lease.paths().for_each(|path| reply.bulk(path));
    }
    Ok(())
}

fn list_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let name = cx.arg(2);
    let ServerCx { server, slot, reply, .. } = cx;
    let (_, tree) = server.read_registry(*slot, name)?;
    let Some(tree) = tree else {
        reply.array(0);
        return Ok(());
    };
    reply.array(tree.lease_count());
    tree.leases().for_each(|(id, _)| put_number(reply, id));
    Ok(())
}

impl Server {
    /// How long a lease lasts from now, in ms.
    fn lease_left_ms(&mut self, slot: Slot, name: &[u8], id: LeaseId) -> Result<Option<u64>, Error> {
        let (registry, ground) = self.registry_ground(slot);
        let now_ms = ground.now_ms();
        let owner = registry.owner_of_lease(&ground, name, id);
        let Some(lease) = ground.tree(name)?.and_then(|tree| tree.lease(id)) else { return Ok(None) };
        let (due_ms, ttl_ms) = (lease.due_ms(), lease.ttl_ms());
        let heard_ms = owner.map_or(0, |client| self.last_heard_ms(client));
        Ok(Some(due_ms.max(heard_ms.saturating_add(ttl_ms)).saturating_sub(now_ms)))
    }
}

/// `CFG.LEASE HELP`.
const HELP: &[&str] = &[
    "CFG.LEASE <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GRANT <store> <ttl-milliseconds> [ID <id>] [CONN]",
    "    Grant a lease, which ends when nobody keeps it alive; with CONN, when",
    "    the connection closes or falls silent.",
    "KEEPALIVE <store> <id> [<id> ...]",
    "    Let leases begin anew, and tell for how long; -1 of several for one",
    "    that has ended.",
    "LIST <store>",
    "    List the ids of all leases.",
    "REVOKE <store> <id>",
    "    End a lease, and delete the paths that are attached to it.",
    "TTL <store> <id> [KEYS]",
    "    Tell how long a lease lasts, and which paths are attached to it.",
    "HELP",
    "    Show these lines.",
];
