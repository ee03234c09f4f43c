//! A store as a whole: CFG.INFO, CFG.SET, CFG.COMPACT, and CFG.EFFECT, which repeats changes.

use super::rows::{CHANGED, CHANGED_BY_SUB, READ, READS, WRITES_FAST, spec, store};
use super::{ground, number, put_field};
use crate::command::args::is;
use crate::command::error::Error;
use crate::command::spec::{Acl, Flags};
use crate::command::table::Row;
use crate::registry::options;
use crate::server::commands::row_parts::{int, text};
use crate::server::{ServerCx, ServerFn};

pub(in crate::server::commands) const ROWS: &[Row<ServerFn>] = &[
    Row::new(
        spec("cfg.info", 2, READS, Acl::CFGREAD.union(Acl::CFGADMIN))
            .keys(READ)
            .doc("O(1)", "Returns figures and settings of a store.")
            .args(&[store()]),
        info_command,
    ),
    Row::new(
        spec("cfg.set", 4, WRITES_FAST, Acl::CFGADMIN)
            .keys(CHANGED)
            .doc("O(1)", "Changes a setting of a store.")
            .args(&[store(), text("option"), text("value")]),
        set_command,
    ),
    Row::new(
        spec("cfg.compact", 3, WRITES_FAST, Acl::CFGADMIN)
            .keys(CHANGED)
            .doc(
                "O(1); what is forgotten is freed bit by bit.",
                "Forgets the history of a store up to a revision, and with it every way to read or observe from there.",
            )
            .args(&[store(), int("revision")]),
        compact_command,
    ),
    Row::new(
        spec("cfg.effect", -3, Flags::WRITE.union(Flags::ADMIN).union(Flags::NOSCRIPT), Acl::empty())
            .keys(CHANGED_BY_SUB)
            .doc("O(log(N)) for each path, N being the paths of the store.", "Repeats a change of a store as it was.")
            .args(&[text("what"), store(), text("word").optional().multiple()]),
        effect_command,
    ),
];

fn info_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let name = cx.arg(1);
    let (_, tree) = cx.server.read_registry(cx.slot, name)?;
    let tree = tree.ok_or(Error::CFG_NO_STORE)?;
    let settings = options(tree.options());
    let reply = &mut cx.reply;
    reply.map(6 + settings.len());
    put_field(reply, "revision", tree.revision());
    put_field(reply, "epoch", tree.epoch());
    put_field(reply, "compacted", tree.compacted());
    put_field(reply, "paths", tree.len() as u64);
    put_field(reply, "leases", tree.lease_count() as u64);
    put_field(reply, "memory", tree.memory_bytes() as u64);
    for (setting, value) in settings {
        reply.text(setting);
        reply.text(&value);
    }
    Ok(())
}

fn set_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (name, option, value) = (cx.arg(1), cx.arg(2), cx.arg(3));
    if is(option, "DURABLE") && is(value, "YES") {
        cx.server.confirm_on_disk(cx.slot, Error::CFG_NO_FILE)?;
    }
    let ends_durable = cx.server.write_registry(cx.slot, name, |writer| {
        let before = writer.tree().options().durable;
        writer.set_option(option, value)?;
        Ok(before && !writer.tree().options().durable)
    })?;
    if ends_durable {
        let (registry, mut ground) = ground(cx);
        registry.begin_epoch(&mut ground, name);
    }
    cx.reply.ok();
    Ok(())
}

fn compact_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (name, to) = (cx.arg(1), number(cx.arg(2))?);
    cx.server.deliver_before_compaction();
    let (registry, mut ground) = ground(cx);
    registry.compact(&mut ground, name, to)?;
    cx.reply.ok();
    Ok(())
}

fn effect_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let words = cx.words(1);
    let (registry, mut ground) = ground(cx);
    registry.repeat_effect(&mut ground, words)?;
    cx.reply.ok();
    Ok(())
}
