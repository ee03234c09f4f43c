//! What paths are to be: CFG.DRAFT.

use super::rows::{ADDS, CHANGED_BY_SUB, READ_BY_SUB, READS, WRITES, container, spec, store};
use super::{put_field, put_number};
use crate::command::error::Error;
use crate::command::spec::{Acl, Flags};
use crate::command::table::Row;
use crate::registry::{check_path, discard, draft, drafts};
use crate::server::commands::row_parts::text;
use crate::server::{ServerCx, ServerFn};
use weir_structs::tree::Version;

pub(in crate::server::commands) const ROWS: &[Row<ServerFn>] =
    &[Row::container(container("cfg.draft", "Groups the commands on drafts of a namespace."), DRAFT)];

const DRAFT: &[Row<ServerFn>] = &[
    Row::new(
        spec("del", 5, ADDS, Acl::CFGWRITE)
            .keys(CHANGED_BY_SUB)
            .doc("O(log(N)), N being the paths of the store.", "Drafts that a path of a namespace is to be deleted.")
            .args(&[store(), text("namespace"), text("path")]),
        del_command,
    ),
    Row::new(
        spec("discard", -4, WRITES, Acl::CFGWRITE)
            .keys(CHANGED_BY_SUB)
            .doc(
                "O(D*log(N)), D being the drafts and N the paths of the store.",
                "Forgets the draft of a path, or all of a namespace.",
            )
            .args(&[store(), text("namespace"), text("path").optional()]),
        discard_command,
    ),
    Row::new(
        spec("help", 2, Flags::LOADING.union(Flags::STALE), Acl::CFGREAD.union(Acl::CFGWRITE))
            .doc("O(1)", "Lists the subcommands of `CFG.DRAFT` and what they do."),
        help_command,
    ),
    Row::new(
        spec("set", 6, ADDS, Acl::CFGWRITE)
            .keys(CHANGED_BY_SUB)
            .doc(
                "O(log(N)), N being the paths of the store.",
                "Drafts the value of a path of a namespace, which nobody sees before it is published.",
            )
            .args(&[store(), text("namespace"), text("path"), text("value")]),
        set_command,
    ),
    Row::new(
        spec("show", 4, READS, Acl::CFGREAD)
            .keys(READ_BY_SUB)
            .doc(
                "O(D*log(N)), D being the drafts and N the paths of the store.",
                "Returns what is drafted for a namespace, and what stands there now.",
            )
            .args(&[store(), text("namespace")]),
        show_command,
    ),
];

const HELP: &[&str] = &[
    "CFG.DRAFT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DEL <store> <namespace> <path>",
    "    Draft that a path is to be deleted.",
    "DISCARD <store> <namespace> [<path>]",
    "    Forget the draft of a path, or all of them.",
    "SET <store> <namespace> <path> <value>",
    "    Draft the value of a path.",
    "SHOW <store> <namespace>",
    "    List the drafts beside what stands there now.",
    "HELP",
    "    Show these lines.",
];

fn help_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.lines(HELP);
    Ok(())
}

fn set_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let value = cx.arg(5);
    write(cx, Some(value))
}

fn del_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    write(cx, None)
}

fn write(cx: &mut ServerCx<'_>, value: Option<&[u8]>) -> Result<(), Error> {
    let (name, namespace, path) = (cx.arg(2), cx.arg(3), cx.arg(4));
    let revision = cx.server.write_registry(cx.slot, name, |writer| draft(writer, namespace, path, value))?;
    put_number(&mut cx.reply, revision);
    Ok(())
}

fn discard_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (name, namespace) = (cx.arg(2), cx.arg(3));
    let mut words = cx.words(4);
    let path = words.next();
    if words.left() > 0 {
        return Err(Error::SYNTAX);
    }
    let count = cx.server.write_registry(cx.slot, name, |writer| discard(writer, namespace, path))?;
    put_number(&mut cx.reply, count);
    Ok(())
}

fn show_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (name, namespace) = (cx.arg(2), cx.arg(3));
    check_path(namespace)?;
    let ServerCx { server, slot, reply, .. } = cx;
    let (_, tree) = server.read_registry(*slot, name)?;
    let shown = reply.deferred_array();
    let mut count = 0;
    for draft in tree.into_iter().flat_map(|tree| drafts(tree, namespace)) {
        count += 1;
        reply.map(5);
        reply.text("path");
        reply.bulk(draft.path);
        reply.text("type");
        reply.text(if draft.value.is_some() { "put" } else { "del" });
        for (field, value) in [("value", draft.value), ("now", draft.now.map(Version::value))] {
            reply.text(field);
            match value {
                Some(value) => reply.bulk(value),
                None => reply.null(),
            }
        }
        put_field(reply, "mod", draft.now.map_or(0, Version::modified));
    }
    reply.close(shown, count);
    Ok(())
}
