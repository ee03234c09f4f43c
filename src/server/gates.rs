//! Gates: may this command run now?
//!
//! An ordered list of functions, one a reason. Most of the time none of them has anything to say, so what could make one
//! speak is kept as a bit ([`Armed`]), on the server or on a client; commands pass a closed list with one comparison.
//! Special cases are flags of a command's row, never its name.

use super::Server;
use super::client::{ClientFlags, Slot};
use super::message::Order;
use super::pause::Held;
use super::table::Command;
use crate::command::error::Error;
use crate::command::spec::Flags;
use crate::config::LocalAccess;
use weir_resp::Argv;

bitflags::bitflags! {
    /// Gates that have something to check.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Armed: u16 {
        /// The client has not authenticated.
        const AUTH = 1 << 0;
        /// There is no memory for commands that need some.
        const MEMORY = 1 << 1;
        /// CLIENT PAUSE is on.
        const PAUSE = 1 << 2;
        /// The client has called MULTI.
        const MULTI = 1 << 3;
        /// The client subscribes to something, in RESP2.
        const SUBSCRIBED = 1 << 4;
        /// The client is in MONITOR.
        const MONITOR = 1 << 5;
        /// The client's user may not do everything.
        const ACL = 1 << 6;
        /// A script has been running for long.
        const BUSY = 1 << 7;
        /// Waiters of a stream are being served, over several turns.
        const SERVING = 1 << 8;
        /// Data are being read.
        const LOADING = 1 << 9;
        /// The disk is too far behind for more changes.
        const DISK = 1 << 10;
        /// Keys are on their way to another server.
        const MIGRATING = 1 << 11;
        /// Snapshots fail.
        const UNSAVED = 1 << 12;
        /// It takes none at all.
        const FAILING = 1 << 13;
    }
}

bitflags::bitflags! {
    /// What is written to a disk that may be too far behind.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Behind: u8 {
        /// A snapshot: what is changed has to be written first.
        const SNAPSHOT = 1 << 0;
    }
}

/// What a gate says.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Go on to the next gate.
    Pass,
    /// The command is answered with this.
    Refuse(Error),
    /// The command, and what its client sent after it, waits.
    Hold,
    /// The command is put into its client's transaction.
    Queue,
}

/// A command that wants to run.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    /// Whose it is.
    pub(super) slot: Slot,
    /// What it is.
    pub(super) command: &'static Command,
    /// Its flags; of EXEC, those of the queued commands as well.
    pub(super) flags: Flags,
    /// Its name and arguments.
    pub(super) argv: Argv<'a>,
}

type Gate = fn(&mut Server, Asking<'_>) -> Verdict;

/// In the order in which Redis checks.
const GATES: &[Gate] = &[
    protected, auth, no_multi, acl, memory, unsaved, subscribed, loading, busy, monitor, pause, multi, serving,
    migrating, disk,
];

/// Asks every gate.
#[cold]
pub(super) fn check(server: &mut Server, slot: Slot, command: &'static Command, argv: Argv<'_>) -> Verdict {
    let mut flags = command.flags();
    if flags.contains(Flags::RUNS_QUEUED) {
        let tx = server.clients.get(slot).and_then(|client| client.tx.as_deref());
        flags |= tx.map_or(Flags::empty(), |tx| tx.flags());
    }
    if command.flags().contains(Flags::RUNS_SCRIPT) {
        flags = server.flags_of_script(command, argv);
    }
    for gate in GATES {
        match gate(server, Asking { slot, command, flags, argv }) {
            Verdict::Pass => {}
            spoken => return spoken,
        }
    }
    Verdict::Pass
}

/// Asks the one gate that is armed where everything is as it always is, but for a user who may not do everything.
#[inline]
pub(super) fn check_permissions(server: &mut Server, slot: Slot, command: &'static Command, argv: Argv<'_>) -> Verdict {
    acl(server, Asking { slot, command, flags: command.flags(), argv })
}

/// Commands that some gate must see, however calm it is.
pub(super) const ALWAYS: Flags = Flags::PROTECTED.union(Flags::FOREIGN_KEYS);

impl Server {
    /// Works out which gates have something to check.
    pub(super) fn rearm(&mut self) {
        self.armed.set(Armed::PAUSE, self.pause.current().is_some());
        self.armed.set(Armed::LOADING, self.is_loading());
        self.armed.set(Armed::MIGRATING, !self.migrations.is_empty());
        self.armed.set(Armed::FAILING, self.append_only_failure().is_some());
        self.store.keep_expired(self.pause.current().is_some());
    }

    /// Holds commands that change data back, or lets them go on, as far as `what` is concerned.
    pub(super) fn set_behind(&mut self, what: Behind, is_behind: bool) {
        self.behind.set(what, is_behind);
        let held = !self.behind.is_empty();
        if self.armed.contains(Armed::DISK) && !held {
            self.outbox.order(Order::Resume);
        }
        self.armed.set(Armed::DISK, held);
    }
}

fn protected(server: &mut Server, Asking { slot, command, .. }: Asking<'_>) -> Verdict {
    if !command.flags().contains(Flags::PROTECTED) {
        return Verdict::Pass;
    }
    let local = server.clients.get(slot).is_some_and(|c| c.flags.contains(ClientFlags::LOCAL));
    let allowed = match server.config.enable_debug_command {
        LocalAccess::No => false,
        LocalAccess::Local => local,
        LocalAccess::Yes => true,
    };
    if allowed {
        return Verdict::Pass;
    }
    Verdict::Refuse(Error::protected_command(command.spec.name))
}

fn auth(server: &mut Server, Asking { slot, command, .. }: Asking<'_>) -> Verdict {
    let known = server.clients.get(slot).is_some_and(|c| c.is_authenticated());
    if known || command.flags().contains(Flags::NO_AUTH) {
        return Verdict::Pass;
    }
    Verdict::Refuse(Error::NO_AUTH)
}

fn no_multi(server: &mut Server, asking: Asking<'_>) -> Verdict {
    if asking.flags.contains(Flags::NO_MULTI) && server.clients.get(asking.slot).is_some_and(|c| c.in_transaction()) {
        return Verdict::Refuse(Error::NOT_IN_MULTI);
    }
    Verdict::Pass
}

fn acl(server: &mut Server, Asking { slot, command, argv, .. }: Asking<'_>) -> Verdict {
    let Some(client) = server.clients.get(slot) else { return Verdict::Pass };
    // Before the login there are only commands that everybody may call.
    if client.user.is_none() {
        return Verdict::Pass;
    }
    let db = client.db;
    match server.check_call(slot, command, argv, db) {
        Ok(()) => Verdict::Pass,
        Err(error) => Verdict::Refuse(error),
    }
}

fn memory(server: &mut Server, asking: Asking<'_>) -> Verdict {
    if server.out_of_memory() && asking.flags.contains(Flags::DENYOOM) {
        return Verdict::Refuse(Error::OOM);
    }
    Verdict::Pass
}

/// What is changed could not be saved, or not be written down. Who asks whether the server is well is told.
fn unsaved(server: &mut Server, asking: Asking<'_>) -> Verdict {
    match server.write_refusal() {
        Some(error) if asking.flags.intersects(Flags::WRITE | Flags::TELLS_HEALTH) => Verdict::Refuse(error),
        _ => Verdict::Pass,
    }
}

/// In RESP2 a client that subscribes to something could not tell replies from messages.
fn subscribed(server: &mut Server, Asking { slot, command, flags, .. }: Asking<'_>) -> Verdict {
    let armed = server.clients.get(slot).is_some_and(|client| client.armed.contains(Armed::SUBSCRIBED));
    if !armed || flags.contains(Flags::SUBSCRIBED_OK) {
        return Verdict::Pass;
    }
    Verdict::Refuse(Error::only_while_not_subscribed(command.full_name))
}

/// Not all data are there yet.
fn loading(server: &mut Server, asking: Asking<'_>) -> Verdict {
    if server.is_loading() && !asking.command.flags().contains(Flags::LOADING) {
        return Verdict::Refuse(Error::LOADING);
    }
    Verdict::Pass
}

/// A script is in the middle of what it does, for longer than others want to wait.
fn busy(server: &mut Server, asking: Asking<'_>) -> Verdict {
    match server.busy_script() {
        Some(error) if !asking.flags.contains(Flags::ALLOW_BUSY) => Verdict::Refuse(error),
        _ => Verdict::Pass,
    }
}

/// Who is shown every command has data of nobody: its replies and what it is shown would be hard to tell apart.
fn monitor(server: &mut Server, asking: Asking<'_>) -> Verdict {
    let armed = server.clients.get(asking.slot).is_some_and(|client| client.armed.contains(Armed::MONITOR));
    let keyspace = Flags::READONLY.union(Flags::WRITE).union(Flags::MAY_REPLICATE);
    if armed && asking.flags.intersects(keyspace) {
        return Verdict::Refuse(Error::NO_KEYS_IN_MONITOR);
    }
    Verdict::Pass
}

fn pause(server: &mut Server, asking: Asking<'_>) -> Verdict {
    let holds = match server.pause.current() {
        None => false,
        Some((Held::All, _)) => true,
        Some((Held::Writes, _)) => asking.flags.intersects(Flags::WRITE.union(Flags::MAY_REPLICATE)),
    };
    if !holds {
        return Verdict::Pass;
    }
    if let Some(client) = server.clients.get_mut(asking.slot) {
        client.flags.insert(ClientFlags::PAUSED);
    }
    Verdict::Hold
}

/// What a change leaves to be written has to wait in memory, and there is enough of that.
fn disk(server: &mut Server, asking: Asking<'_>) -> Verdict {
    if server.behind.is_empty() || !asking.flags.intersects(Flags::WRITE.union(Flags::MAY_REPLICATE)) {
        return Verdict::Pass;
    }
    Verdict::Hold
}

/// What gets here may run, and so may be queued.
fn multi(server: &mut Server, asking: Asking<'_>) -> Verdict {
    let queues = !asking.flags.contains(Flags::NOT_QUEUED)
        && server.clients.get(asking.slot).is_some_and(|client| client.in_transaction());
    if queues { Verdict::Queue } else { Verdict::Pass }
}

/// What waiters of a stream have not been given yet is not to be changed; what is only queued changes nothing.
fn serving(server: &mut Server, Asking { command, flags, argv, .. }: Asking<'_>) -> Verdict {
    if server.disturbs_round(command, flags, argv) { Verdict::Hold } else { Verdict::Pass }
}

/// What is being sent to another server is not to be changed meanwhile.
fn migrating(server: &mut Server, Asking { command, flags, argv, .. }: Asking<'_>) -> Verdict {
    if server.disturbs_migration(command, flags, argv) { Verdict::Hold } else { Verdict::Pass }
}
