//! Observing paths: CFG.WATCH, CFG.UNWATCH, CFG.PROGRESS.

use super::read::prefix_or_range;
use super::rows::{READ, READS, spec, store};
use super::{next_number, put_field};
use crate::command::error::Error;
use crate::command::ground::now_ms;
use crate::command::reply::Resp;
use crate::command::spec::{Acl, Arg, Flags};
use crate::command::table::Row;
use crate::registry::check_path;
use crate::registry::observers::{Marks, Wish};
use crate::server::commands::row_parts::{flag, int, option, text};
use crate::server::{ServerCx, ServerFn};
use weir_structs::tree::Span;

/// The longest name of an observer, in bytes.
const ID_BYTES_MAX: usize = 64;

const WHICH: &[Arg] = &[Arg::word("prefix", "PREFIX"), text("end").token("TO")];

pub(in crate::server::commands) const ROWS: &[Row<ServerFn>] = &[
    Row::new(
        spec("cfg.watch", -3, READS.union(Flags::NOSCRIPT), Acl::CFGREAD)
            .keys(READ)
            .doc(
                "O(log(N)), N being the ranges that are watched; later what is sent.",
                "Has every change of a path, of paths that begin alike, or of those between two sent to this connection, from \
                 any revision that history has or behind a snapshot.",
            )
            .args(&[
                store(),
                text("path"),
                Arg::one_of("which", WHICH).optional(),
                option(text("id"), "ID"),
                option(int("revision"), "FROM"),
                option(int("epoch"), "EPOCH"),
                flag("snapshot", "SNAPSHOT"),
                flag("prev", "PREV"),
                flag("noput", "NOPUT"),
                flag("nodel", "NODEL"),
                option(int("milliseconds"), "PROGRESS"),
                flag("once", "ONCE"),
            ]),
        watch_command,
    ),
    Row::new(
        spec("cfg.unwatch", 2, Flags::NOSCRIPT.union(Flags::FAST), Acl::CFGREAD)
            .doc("O(1)", "Ends a watch of this connection.")
            .args(&[text("id")]),
        unwatch_command,
    ),
    Row::new(
        spec("cfg.progress", 2, Flags::NOSCRIPT.union(Flags::FAST), Acl::CFGREAD)
            .doc("O(1)", "Has it sent up to which revision a watch of this connection was told everything.")
            .args(&[text("id")]),
        progress_command,
    ),
];

fn watch_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    if cx.client().resp != Resp::V3 {
        return Err(Error::CFG_NO_PROTO);
    }
    let (client, db) = (cx.client().id.0, cx.client().db);
    let (store, path) = (cx.arg(1), cx.arg(2));
    let mut words = cx.words(3);
    let mut wish = Wish {
        client,
        db,
        store,
        span: Span::One(path),
        id: None,
        from: None,
        epoch: None,
        snapshot: false,
        marks: Marks::empty(),
        progress_ms: None,
    };
    match prefix_or_range(path, &mut words)? {
        Some(span) => wish.span = span,
        None => check_path(path)?,
    }
    while words.left() > 0 {
        if words.accept("ID") {
            let id = words.expect()?;
            if id.is_empty() || id.len() > ID_BYTES_MAX {
                return Err(Error::CFG_ID);
            }
            wish.id = Some(id);
        } else if words.accept("FROM") {
            wish.from = Some(next_number(&mut words)?);
        } else if words.accept("EPOCH") {
            wish.epoch = Some(next_number(&mut words)?);
        } else if words.accept("SNAPSHOT") {
            wish.snapshot = true;
        } else if words.accept("PREV") {
            wish.marks.insert(Marks::PREV);
        } else if words.accept("NOPUT") {
            wish.marks.insert(Marks::NO_PUT);
        } else if words.accept("NODEL") {
            wish.marks.insert(Marks::NO_DEL);
        } else if words.accept("PROGRESS") {
            wish.progress_ms = Some(next_number(&mut words)?);
        } else if words.accept("ONCE") {
            wish.marks.insert(Marks::ONCE);
        } else {
            return Err(Error::SYNTAX);
        }
    }
    // A snapshot is where it begins; only with a revision does an epoch say anything.
    if wish.snapshot && wish.from.is_some() || wish.epoch.is_some() && wish.from.is_none() {
        return Err(Error::SYNTAX);
    }
    let server = &mut *cx.server;
    server.await_durable(cx.slot, store);
    let standing = server.registry.standing(&server.store, db, store)?;
    let (now_ms, random) = (now_ms(&server.store), server.store.random_u64());
    let watching = server.registry.observers.observe(&wish, standing, now_ms, random)?;
    server.observes(cx.slot);
    let reply = &mut cx.reply;
    reply.map(3);
    reply.text("id");
    reply.bulk(&watching.id);
    put_field(reply, "revision", watching.revision);
    put_field(reply, "epoch", watching.epoch);
    Ok(())
}

fn unwatch_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (id, client) = (cx.arg(1), cx.client().id.0);
    if !cx.server.registry.observers.unobserve(client, id) {
        return Err(Error::CFG_NO_ID);
    }
    cx.reply.ok();
    Ok(())
}

fn progress_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (id, client) = (cx.arg(1), cx.client().id.0);
    if !cx.server.registry.observers.ask_progress(client, id) {
        return Err(Error::CFG_NO_ID);
    }
    cx.reply.ok();
    Ok(())
}
