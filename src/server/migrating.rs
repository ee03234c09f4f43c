//! MIGRATE: keys on their way to another server, while everybody else is served.
//!
//! ```text
//!  executor: payloads made ─► held: the keys ─────────────────────────────► accepted ones deleted ─► reply, nobody held
//!  a thread:                   └► connection, RESTORE ..., replies ─ Outcome ─┘
//! ```
//!
//! What a key holds must not change between its payload and its end here, or the change would be lost. So commands that
//! could write it are held meanwhile, each step for no longer than the command's timeout; all others run
//! ([0021](../../docs/adr/0021-migrate.md)). In transactions and scripts, which nothing may interrupt, everybody waits.

use super::Server;
use super::client::{ClientId, Slot};
use super::gates::Armed;
use super::keys::find_keys;
use super::message::Order;
use super::table::Command;
use crate::command::effects::EventClass;
use crate::command::error::Error;
use crate::command::reply::{Output, Reply, Resp};
use crate::command::spec::Flags;
use crate::command::value_forms;
use crate::migrate::{Failure, Links, Outcome, Parcel, Request};
use crate::store::Removal;
use crate::threads;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use weir_rdb::payload;
use weir_resp::{Argv, Batch};

/// Threads that send at the same time; what comes beyond waits for one of them.
const SENDERS_MAX: usize = 16;

/// What a key has left at most when it is sent, in milliseconds: no clock comes so far that this overflows.
const TTL_MAX_MS: i64 = i64::MAX / 2;

/// A migration that has not ended.
#[derive(Debug)]
struct Running {
    /// Who waits for it, and where its commands go; it may have gone.
    client: (ClientId, Slot),
    db: usize,
    names: Vec<Vec<u8>>,
    positions: Vec<u64>,
    /// The keys stay here as well.
    copy: bool,
}

/// The number of a migration, and what came of it.
type Ended = (u64, Outcome);

/// All migrations.
#[derive(Debug)]
pub(super) struct Migrations {
    links: Arc<Links>,
    running: HashMap<u64, Running>,
    /// What no thread has begun with.
    waiting: VecDeque<(u64, Request)>,
    senders: usize,
    last_number: u64,
    ended: (Sender<Ended>, Receiver<Ended>),
}

impl Default for Migrations {
    fn default() -> Migrations {
        Migrations {
            links: Arc::default(),
            running: HashMap::new(),
            waiting: VecDeque::new(),
            senders: 0,
            last_number: 0,
            ended: mpsc::channel(),
        }
    }
}

impl Migrations {
    /// Whether none is under way.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Connections that are kept.
    pub(super) fn cached_links(&self) -> usize {
        self.links.len()
    }

    /// Gives waiting requests to threads, as many as there may be.
    fn begin_waiting_ones(&mut self) {
        while self.senders < SENDERS_MAX
            && let Some((number, request)) = self.waiting.pop_front()
        {
            let (links, ended) = (Arc::clone(&self.links), self.ended.0.clone());
            let keys = request.parcels.len();
            let send = move || {
                // Nobody is left to hear it when the server ends.
                let _ = ended.send((number, links.transfer(&request)));
            };
            match threads::spawn("weir-migrate", send) {
                Ok(_) => self.senders += 1,
                Err(error) => {
                    tracing::warn!("could not start a thread for MIGRATE: {error}");
                    let outcome = Outcome { accepted: vec![false; keys], failure: Some(Failure::Connect) };
                    self.senders += 1;
                    // The other end is beside it.
                    let _ = self.ended.0.send((number, outcome));
                }
            }
        }
    }
}

/// What MIGRATE was told besides the keys.
#[derive(Debug)]
pub(super) struct Migration {
    /// Everything but the keys themselves.
    pub(super) request: Request,
    /// The keys stay here as well.
    pub(super) copy: bool,
}

/// How MIGRATE goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Migrated {
    /// There is none of the keys.
    NoKey,
    /// Its client waits for the reply.
    Later,
    /// It has ended.
    Ended(Result<(), Error>),
}

impl Server {
    /// Sends the keys that are there. `names`: without those that do not exist nothing is left to be done for them.
    pub(super) fn migrate<'n>(
        &mut self,
        slot: Slot,
        db: usize,
        mut migration: Migration,
        names: impl Iterator<Item = &'n [u8]>,
    ) -> Migrated {
        let (forms, now_ms) = (value_forms(&self.config), self.store.now_ms());
        let (mut sent, mut positions) = (Vec::new(), Vec::new());
        for name in names {
            let key = self.store.key(name);
            let Some(entry) = self.store.db(db).get(key) else { continue };
            // Who names a key twice sends it once.
            if positions.contains(&key.position) && sent.iter().any(|sent| sent == name) {
                continue;
            }
            // What is left of its time is at least a little, or it would never expire there; and not so much that it is too
            // much there, where the clock shows more by then.
            let ttl_ms = entry.expire_at().map_or(0, |at| at.saturating_sub(now_ms).clamp(1, TTL_MAX_MS));
            let payload = payload::dump(entry, forms);
            migration.request.parcels.push(Parcel { name: name.to_vec(), ttl_ms, payload });
            sent.push(name.to_vec());
            positions.push(key.position);
        }
        if sent.is_empty() {
            return Migrated::NoKey;
        }
        let client = self.clients.get(slot).map_or(ClientId(0), |client| client.id);
        let running = Running { client: (client, slot), db, names: sent, positions, copy: migration.copy };
        if !self.effects.may_block {
            let outcome = self.migrations.links.transfer(&migration.request);
            let deleted = self.delete_accepted(&running, &outcome.accepted);
            self.effects.changed(deleted.len() as u64);
            let words = deleted.iter().map(|&at| running.names[at].as_slice());
            if deleted.is_empty() {
                self.effects.feed_nothing();
            } else {
                self.effects.feed_list(&[b"DEL"], words);
            }
            return Migrated::Ended(said_of(outcome.failure));
        }
        let migrations = &mut self.migrations;
        migrations.last_number += 1;
        let number = migrations.last_number;
        migrations.running.insert(number, running);
        migrations.waiting.push_back((number, migration.request));
        migrations.begin_waiting_ones();
        self.rearm();
        Migrated::Later
    }

    /// Deletes the keys that the target has. Gives their places in the list.
    fn delete_accepted(&mut self, running: &Running, accepted: &[bool]) -> Vec<usize> {
        let lazily = self.config.lazyfree_lazy_server_del;
        let mut deleted = Vec::new();
        for (at, name) in running.names.iter().enumerate() {
            if running.copy || accepted.get(at) != Some(&true) {
                continue;
            }
            let key = self.store.key(name);
            if self.store.db(running.db).delete(key, lazily) == Removal::Removed {
                self.effects.event(EventClass::GENERIC, "del", name, running.db);
                deleted.push(at);
            }
        }
        deleted
    }

    /// Whether a command may change a key that is on its way. Scripts and transactions may change anything.
    pub(super) fn disturbs_migration(&self, command: &Command, flags: Flags, argv: Argv<'_>) -> bool {
        let writes = flags.intersects(Flags::WRITE | Flags::MAY_REPLICATE) && !flags.contains(Flags::PUBSUB);
        if self.migrations.is_empty() || !writes {
            return false;
        }
        let mut keys = Vec::new();
        if find_keys(command.spec, argv, &mut keys).is_err() || keys.is_empty() || flags.contains(Flags::MAY_REPLICATE)
        {
            return true;
        }
        let held = |position| self.migrations.running.values().any(|running| running.positions.contains(&position));
        keys.iter().any(|key| held(self.store.key(argv.at(key.at)).position))
    }

    /// Draws the conclusions from migrations that have ended; in every turn.
    pub(super) fn end_migrations(&mut self) {
        if self.migrations.is_empty() {
            return;
        }
        while let Ok((number, outcome)) = self.migrations.ended.1.try_recv() {
            self.migrations.senders -= 1;
            self.migrations.begin_waiting_ones();
            if let Some(running) = self.migrations.running.remove(&number) {
                self.end_migration(&running, outcome);
            }
        }
        if self.migrations.is_empty() {
            self.rearm();
        }
    }

    fn end_migration(&mut self, running: &Running, outcome: Outcome) {
        let (id, slot) = running.client;
        let is_there = self.clients.get(slot).is_some_and(|client| client.id == id);
        // Of who has gone nobody else is to have the slot.
        let slot = if is_there { slot } else { Slot(u32::MAX) };
        let deleted = self.delete_accepted(running, &outcome.accepted);
        if !deleted.is_empty() {
            self.effects.changed(deleted.len() as u64);
            let mut batch = Batch::new();
            let words =
                std::iter::once(b"DEL".as_slice()).chain(deleted.iter().map(|&at| running.names[at].as_slice()));
            if batch.push_command(words).is_err() {
                unreachable!("names that came in one batch fit into another");
            }
            self.propagate(slot, running.db, batch.command(0));
            self.end_unit();
        }
        if !self.waiters.is_empty() {
            self.serve_waiters();
        }
        // Commands that were held can go on, or are held by another one.
        self.outbox.order(Order::Resume);
        if is_there {
            let result = said_of(outcome.failure);
            let resp = self.clients.get(slot).map_or(Resp::V2, |client| client.resp);
            let mut out = Output::default();
            match &result {
                Ok(()) => Reply::new(&mut out, resp).ok(),
                Err(error) => Reply::new(&mut out, resp).error(error),
            }
            self.answer_waiter(id, out, result.err().as_ref());
        }
    }

    /// Ends connections to targets that nobody has used for a while.
    pub(super) fn end_old_links(&mut self) {
        if !self.migrations.links.is_empty() {
            self.migrations.links.end_old(self.store.now_ms());
        }
    }

    /// Whether keys are on their way, so that nothing may change by itself what it wants to.
    #[inline]
    pub(super) fn is_migrating(&self) -> bool {
        self.armed.contains(Armed::MIGRATING)
    }
}

/// What the client is told.
fn said_of(failure: Option<Failure>) -> Result<(), Error> {
    Err(match failure {
        None => return Ok(()),
        Some(Failure::Connect) => Error::MIGRATE_CONNECT,
        Some(Failure::Write) => Error::MIGRATE_WRITE,
        Some(Failure::Read) => Error::MIGRATE_READ,
        Some(Failure::Target(error)) => {
            Error::new(format!("ERR Target instance replied with error: {}", String::from_utf8_lossy(&error)))
        }
    })
}
