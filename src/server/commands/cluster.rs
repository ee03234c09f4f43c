//! What clients of a cluster say to any server, before they know whether it is part of one. This one is not.

use crate::command::error::Error;
use crate::command::spec::{Acl, Flags, Group, Spec};
use crate::command::table::Row;
use crate::server::client::ClientFlags;
use crate::server::{ServerCx, ServerFn};

const FAST_CONNECTION: Acl = Acl::FAST.union(Acl::CONNECTION);
const LOADING_STALE_FAST: Flags = Flags::LOADING.union(Flags::STALE).union(Flags::FAST);

/// Commands of a cluster's clients.
pub(super) const COMMANDS: &[Row<ServerFn>] = &[
    Row::new(
        Spec::new("asking", 1, Flags::FAST, FAST_CONNECTION, Group::Cluster, "3.0.0")
            .doc("O(1)", "Says that the next command follows a redirection of a slot that is on its way."),
        asking_command,
    ),
    Row::new(
        Spec::new("readonly", 1, LOADING_STALE_FAST, FAST_CONNECTION, Group::Cluster, "3.0.0")
            .doc("O(1)", "Says that the connection only reads, and takes the data of a replica for it."),
        readonly_command,
    ),
    Row::new(
        Spec::new("readwrite", 1, LOADING_STALE_FAST, FAST_CONNECTION, Group::Cluster, "3.0.0")
            .doc("O(1)", "Takes back what `READONLY` has said."),
        readwrite_command,
    ),
];

fn asking_command(_cx: &mut ServerCx<'_>) -> Result<(), Error> {
    Err(Error::NO_CLUSTER)
}

fn readonly_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    set_readonly(cx, true)
}

fn readwrite_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    set_readonly(cx, false)
}

/// Kept to be shown. What a script says of itself is not said of its client.
fn set_readonly(cx: &mut ServerCx<'_>, readonly: bool) -> Result<(), Error> {
    if !cx.server.effects.in_script {
        cx.client().flags.set(ClientFlags::READONLY, readonly);
    }
    cx.reply.ok();
    Ok(())
}
