//! Labels of connections, and what each connection sees: CFG.CLIENT.

use super::rows::{READ_BY_SUB, READS, container, spec, store};
use super::{ground, next_number, put_field};
use crate::command::error::Error;
use crate::command::spec::{Acl, Arg, Flags};
use crate::command::table::Row;
use crate::registry::{Labels, Release, check_path, present, view};
use crate::server::client::ClientId;
use crate::server::commands::row_parts::{int, text};
use crate::server::{ServerCx, ServerFn};
use hashbrown::HashMap;

/// More pairs than a connection may have labels: the rest cannot be right.
const PAIRS_MAX: u64 = 1_024;

pub(in crate::server::commands) const ROWS: &[Row<ServerFn>] =
    &[Row::container(container("cfg.client", "Groups the commands on what connections see."), CLIENT)];

const CLIENT: &[Row<ServerFn>] = &[
    Row::new(
        spec("help", 2, Flags::LOADING.union(Flags::STALE), Acl::CFGREAD.union(Acl::CFGADMIN))
            .doc("O(1)", "Lists the subcommands of `CFG.CLIENT` and what they do."),
        help_command,
    ),
    Row::new(
        spec("labels", -3, Flags::FAST.union(Flags::NOSCRIPT), Acl::CFGREAD.union(Acl::CONNECTION))
            .doc(
                "O(L), L being the labels.",
                "Gives the connection labels in place of those that it had: gray releases are for connections by their labels.",
            )
            .args(&[int("numlabels"), Arg::block("label", &[text("name"), text("value")]).optional().multiple()]),
        labels_command,
    ),
    Row::new(
        spec("who", 4, READS, Acl::CFGADMIN)
            .keys(READ_BY_SUB)
            .doc(
                "O(C*G), C being the connections that have labels or observe the namespace, and G its gray releases.",
                "Lists connections that have labels, or observe a namespace, and the release that each of them sees.",
            )
            .args(&[store(), text("namespace")]),
        who_command,
    ),
];

const HELP: &[&str] = &[
    "CFG.CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "LABELS <n> [<name> <value> ...]",
    "    Give this connection labels, by which gray releases are chosen.",
    "WHO <store> <namespace>",
    "    List connections with labels, or that observe the namespace, and what they see.",
    "HELP",
    "    Show these lines.",
];

fn help_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.lines(HELP);
    Ok(())
}

fn labels_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let mut words = cx.words(2);
    let count = next_number(&mut words)?;
    if count > PAIRS_MAX {
        return Err(Error::cfg_limit("too many labels"));
    }
    let mut pairs = Vec::new();
    for _ in 0..count {
        pairs.push((words.expect()?, words.expect()?));
    }
    if words.left() > 0 {
        return Err(Error::SYNTAX);
    }
    let client = cx.client().id.0;
    let (registry, _) = ground(cx);
    registry.set_labels(client, &pairs)?;
    cx.reply.ok();
    Ok(())
}

/// A connection, for CFG.CLIENT WHO.
struct Viewer {
    id: u64,
    addr: String,
    name: Vec<u8>,
    labels: Labels,
}

fn who_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (name, namespace) = (cx.arg(2), cx.arg(3));
    check_path(namespace)?;
    let viewers = viewers(cx, name, namespace);
    let ServerCx { server, slot, reply, .. } = cx;
    let (_, tree) = server.read_registry(*slot, name)?;
    // Those who see the same are many.
    let mut numbers: HashMap<Option<&[u8]>, u64> = HashMap::new();
    reply.array(viewers.len());
    for viewer in &viewers {
        let gray = tree.and_then(|tree| view::gray_for(tree, namespace, &viewer.labels));
        let number = *numbers.entry(gray).or_insert_with(|| {
            let of = |gray| tree.and_then(|tree| present(tree, namespace, gray));
            // A gray release that nothing was published for is the namespace.
            of(gray).or_else(|| of(None)).map_or(0, |release: Release<'_>| release.number)
        });
        reply.map(6);
        put_field(reply, "id", viewer.id);
        reply.text("addr");
        reply.text(&viewer.addr);
        reply.text("name");
        reply.bulk(&viewer.name);
        reply.text("labels");
        reply.map(viewer.labels.pairs().len());
        for (label, value) in viewer.labels.pairs() {
            reply.bulk(label);
            reply.bulk(value);
        }
        reply.text("gray");
        match gray {
            Some(gray) => reply.bulk(gray),
            None => reply.null(),
        }
        put_field(reply, "release", number);
    }
    Ok(())
}

/// Connections on the caller's database that have labels, and those that observe paths of the namespace, by their numbers.
fn viewers(cx: &mut ServerCx<'_>, store: &[u8], namespace: &[u8]) -> Vec<Viewer> {
    let (registry, ground) = ground(cx);
    let db = ground.db;
    let observers = registry.observers.clients_at(db, store, &[namespace, b"/"].concat());
    let mut ids: Vec<(u64, bool)> = observers.into_iter().map(|id| (id, true)).collect();
    ids.extend(registry.labelled().map(|id| (id, false)));
    ids.sort_unstable_by_key(|(id, observes)| (*id, !observes));
    ids.dedup_by_key(|(id, _)| *id);
    let mut viewers = Vec::with_capacity(ids.len());
    for (id, observes) in ids {
        let slot = cx.server.clients.slot_of(ClientId(id));
        let Some(client) = slot.and_then(|slot| cx.server.clients.get(slot)) else { continue };
        if observes || client.db == db {
            let labels = cx.server.registry.labels(id).clone();
            viewers.push(Viewer { id, addr: client.addr.clone(), name: client.name.clone(), labels });
        }
    }
    viewers
}
