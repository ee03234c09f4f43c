//! Transactions: what a client has queued since MULTI, and which keys it watches.
//!
//! The gates let a queued command pass as far as the queue, so that it is checked like any other when it is sent; EXEC
//! runs the queue with [`Server::call`]. A watched key has a version in the store, which every change of it moves on.
//!
//! What must stay true: a client with an open transaction has [`Armed::MULTI`] and no other has; every watched key of a
//! client is watched in the store until [`Server::unwatch`], which the end of the client calls too.

use super::Server;
use super::client::Slot;
use super::gates::Armed;
use super::table::Command;
use crate::command::spec::Flags;
use crate::store::Version;
use weir_resp::{Argv, Batch};

/// A batch of queued commands takes no more when it holds so many bytes: a queue grows by batches, so that no command
/// has to wait until a long one was copied.
const BATCH_BYTES: usize = 32 * 1024;

/// A transaction that is open, or keys that are watched for one.
#[derive(Debug, Default)]
pub struct Transaction {
    /// MULTI was called.
    open: bool,
    /// A command was refused instead of queued: EXEC will refuse the rest.
    aborted: bool,
    queue: Queue,
    /// Commands that EXEC has taken out to run them, and the bytes of their arguments.
    running: (usize, usize),
    watched: Vec<Watched>,
    /// Bytes of the watched keys' names.
    watched_bytes: usize,
}

/// Commands that wait for EXEC.
#[derive(Debug, Default)]
pub(super) struct Queue {
    batches: Vec<Batch>,
    commands: Vec<&'static Command>,
    /// What all of them together are.
    flags: Flags,
    /// Bytes of their arguments.
    bytes: usize,
    /// Bytes of heap behind the batches.
    heap: usize,
}

#[derive(Debug)]
struct Watched {
    db: usize,
    name: Box<[u8]>,
    version: Version,
}

impl Queue {
    /// Number of commands.
    pub(super) fn len(&self) -> usize {
        self.commands.len()
    }

    /// The commands in their order, with the bytes that each took in its batch.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static Command, Argv<'_>, usize)> {
        let calls = self
            .batches
            .iter()
            .flat_map(|batch| batch.commands().enumerate().map(|(index, argv)| (argv, batch.command_bytes(index))));
        self.commands.iter().zip(calls).map(|(&command, (argv, bytes))| (command, argv, bytes))
    }

    fn push(&mut self, command: &'static Command, flags: Flags, argv: Argv<'_>) {
        if self.batches.last_mut().is_none_or(|batch| batch.read_buffer().len() >= BATCH_BYTES) {
            self.batches.push(Batch::new());
        }
        self.heap -= self.batches.last().map_or(0, Batch::heap_bytes);
        let batches = self.batches.len();
        if let Some(batch) = self.batches.last_mut()
            && batch.push_command(argv.iter()).is_err()
        {
            let mut fresh = Batch::new();
            if fresh.push_command(argv.iter()).is_err() {
                unreachable!("a command that came in one batch fits into another");
            }
            self.batches.push(fresh);
        }
        self.heap += self.batches[batches - 1..].iter().map(Batch::heap_bytes).sum::<usize>();
        self.commands.push(command);
        self.flags |= flags;
        self.bytes += argv.payload_bytes();
    }
}

impl Transaction {
    /// Whether MULTI was called.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Number of queued commands, if it is open.
    pub fn queued(&self) -> Option<usize> {
        self.open.then(|| self.queue.len() + self.running.0)
    }

    /// Number of watched keys.
    pub fn watched(&self) -> usize {
        self.watched.len()
    }

    /// Bytes of the queued commands' arguments.
    pub fn queued_bytes(&self) -> usize {
        self.queue.bytes + self.running.1
    }

    /// Bytes of heap behind it.
    pub fn heap_bytes(&self) -> usize {
        let watched = size_of_val(&*self.watched) + self.watched_bytes;
        size_of::<Transaction>() + self.queue.heap + size_of_val(&*self.queue.commands) + watched
    }

    /// What all queued commands together are.
    pub(super) fn flags(&self) -> Flags {
        self.queue.flags
    }

    /// Takes the queued commands out to run them. `None` if one had been refused.
    pub(super) fn take_queue(&mut self) -> Option<Queue> {
        let queue = std::mem::take(&mut self.queue);
        self.running = (queue.len(), queue.bytes);
        (!self.aborted).then_some(queue)
    }
}

impl Server {
    fn transaction(&mut self, slot: Slot) -> Option<&mut Transaction> {
        Some(self.clients.get_mut(slot)?.tx.get_or_insert_default())
    }

    /// MULTI: commands of the client are queued from now on. `false` if they were already.
    pub(super) fn open_transaction(&mut self, slot: Slot) -> bool {
        let Some(tx) = self.transaction(slot) else { return false };
        if std::mem::replace(&mut tx.open, true) {
            return false;
        }
        if let Some(client) = self.clients.get_mut(slot) {
            client.armed.insert(Armed::MULTI);
        }
        true
    }

    /// Puts a command behind those that wait for EXEC.
    pub(super) fn queue(&mut self, slot: Slot, command: &'static Command, argv: Argv<'_>) {
        let script = command.flags().contains(Flags::RUNS_SCRIPT);
        let flags = if script { self.flags_of_script(command, argv) } else { command.flags() };
        if let Some(tx) = self.transaction(slot)
            && !tx.aborted
        {
            tx.queue.push(command, flags, argv);
        }
    }

    /// A command was refused: the transaction, if one is open, will be as well.
    pub(super) fn abort_transaction(&mut self, slot: Slot) {
        if let Some(tx) = self.clients.get_mut(slot).and_then(|client| client.tx.as_deref_mut())
            && tx.open
        {
            tx.aborted = true;
            tx.queue = Queue::default();
        }
    }

    /// Ends a transaction and all watching, whatever their state.
    pub(super) fn end_transaction(&mut self, slot: Slot) {
        self.unwatch(slot);
        if let Some(client) = self.clients.get_mut(slot) {
            client.tx = None;
            client.armed.remove(Armed::MULTI);
        }
    }

    /// Watches a key of the client's database. Once is enough.
    pub(super) fn watch(&mut self, slot: Slot, name: &[u8]) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        let (db, tx) = (client.db, client.tx.get_or_insert_default());
        if tx.watched.iter().any(|watched| watched.db == db && *watched.name == *name) {
            return;
        }
        let key = self.store.key(name);
        let version = self.store.db(db).watch(key);
        tx.watched_bytes += name.len();
        tx.watched.push(Watched { db, name: name.into(), version });
    }

    /// Ends the watching of all keys of a client.
    pub(super) fn unwatch(&mut self, slot: Slot) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        let Some(tx) = client.tx.as_deref_mut() else { return };
        let watched = std::mem::take(&mut tx.watched);
        tx.watched_bytes = 0;
        if !tx.open {
            client.tx = None;
        }
        for watched in watched {
            let key = self.store.key(&watched.name);
            self.store.db(watched.db).unwatch(key);
        }
    }

    /// Whether no watched key was changed since it was first watched.
    pub(super) fn watched_unchanged(&mut self, slot: Slot) -> bool {
        let tx = self.clients.get(slot).and_then(|client| client.tx.as_deref());
        tx.into_iter().flat_map(|tx| &tx.watched).all(|watched| {
            let key = self.store.key(&watched.name);
            self.store.db(watched.db).is_unchanged(key, watched.version)
        })
    }

    /// Whether it is known already that EXEC will find a watched key changed.
    pub(super) fn watched_has_changed(&self, slot: Slot) -> bool {
        let tx = self.clients.get(slot).and_then(|client| client.tx.as_deref());
        tx.into_iter().flat_map(|tx| &tx.watched).any(|watched| {
            let key = self.store.key(&watched.name);
            !self.store.has_version(watched.db, key, watched.version)
        })
    }
}
