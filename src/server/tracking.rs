//! Client-side caching: from changed keys to messages.
//!
//! After every command, and before anybody's next one, the store is asked which keys have changed, and their readers are
//! told; so a client has the message in its connection before any reply that could show it the new value, but behind the
//! reply of the command that made the change, if that is its own. Broadcasts wait for the end of the turn, so that a burst
//! of changes makes one message a prefix. The state itself is in the room `tracking`.
//!
//! What must stay true: a client has a [`Tracker`] exactly if it has [`ClientFlags::TRACKING`]; it has
//! [`ClientFlags::REMEMBERS`] exactly if keys that it reads now are remembered.

use super::Server;
use super::client::{Client, ClientFlags, ClientId, Slot};
use super::keys::{KeyUse, find_keys};
use super::table::Command;
use crate::command::reply::Resp;
use crate::command::spec::{FindKeys, Flags, KeySpec};
use crate::store::{ChangedKeys, TellChanged};
use crate::tracking::{Broadcast, Mode, Prefixes, Readers, Refused, Request, Table, TrackerId};
use std::sync::Arc;
use weir_resp::{Argv, reply_bytes};

/// Where a client in RESP2 gets the messages of another one.
const CHANNEL: &[u8] = b"__redis__:invalidate";
/// Keys that leave the table when it is found to be too full while one comes in.
const EVICTED_AT_ONCE: usize = 2;
/// The same when the limit has been lowered: at once, and a while later again, twice as many each time.
const EVICTED_FIRST: usize = 1_000;
/// Most that leave in one go.
const EVICTED_MOST: usize = 16_000;
/// A table of at least so many keys is freed away from the executor.
const FREE_ELSEWHERE_KEYS: usize = 1_000;

/// Everything about clients that keep copies.
#[derive(Debug, Default)]
pub(super) struct Tracking {
    table: Table,
    prefixes: Prefixes,
    broadcast: Broadcast,
    /// Clients that track.
    clients: usize,
    /// Those of them that want prefixes.
    broadcasting: usize,
    /// How many keys leave next time, should there still be too many.
    evict_next: usize,
    /// To be used again.
    changed: ChangedKeys,
    found: Vec<KeyUse>,
}

/// Figures for INFO.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TrackingFigures {
    /// Clients that track.
    pub(super) clients: usize,
    /// Keys that are remembered.
    pub(super) keys: usize,
    /// Readers of all of them.
    pub(super) items: usize,
    /// Prefixes that somebody wants.
    pub(super) prefixes: usize,
}

impl Tracking {
    /// For INFO.
    pub(super) fn figures(&self) -> TrackingFigures {
        let (keys, items) = (self.table.keys(), self.table.readers());
        TrackingFigures { clients: self.clients, keys, items, prefixes: self.prefixes.len() }
    }
}

/// What readers are told, in each form once.
struct Told<'a> {
    /// Keys; `None` for all keys.
    names: Option<&'a [&'a [u8]]>,
    push: Option<Arc<[u8]>>,
    message: Option<Arc<[u8]>>,
}

impl<'a> Told<'a> {
    fn keys(names: &'a [&'a [u8]]) -> Told<'a> {
        Told { names: Some(names), push: None, message: None }
    }

    fn all_keys() -> Told<'static> {
        Told { names: None, push: None, message: None }
    }

    /// For a client that speaks RESP3.
    fn push(&mut self) -> Arc<[u8]> {
        let names = self.names;
        let made = self.push.get_or_insert_with(|| {
            let mut bytes = Vec::new();
            reply_bytes::push_header(&mut bytes, 2);
            reply_bytes::bulk(&mut bytes, b"invalidate");
            put_names(&mut bytes, names, b"_\r\n");
            bytes.into()
        });
        Arc::clone(made)
    }

    /// For a client in RESP2's subscribed mode.
    fn message(&mut self) -> Arc<[u8]> {
        let names = self.names;
        let made = self.message.get_or_insert_with(|| {
            let mut bytes = Vec::new();
            reply_bytes::array_header(&mut bytes, 3);
            reply_bytes::bulk(&mut bytes, b"message");
            reply_bytes::bulk(&mut bytes, CHANNEL);
            put_names(&mut bytes, names, b"$-1\r\n");
            bytes.into()
        });
        Arc::clone(made)
    }
}

fn put_names(bytes: &mut Vec<u8>, names: Option<&[&[u8]]>, null: &[u8]) {
    let Some(names) = names else {
        bytes.extend_from_slice(null);
        return;
    };
    reply_bytes::array_header(bytes, names.len());
    for name in names {
        reply_bytes::bulk(bytes, name);
    }
}

impl Client {
    fn tracker_id(&self) -> TrackerId {
        // The lower half: what is beyond it tells nobody apart who is there at the same time.
        TrackerId { place: self.slot.0, number: self.id.0 as u32 }
    }

    fn has_mode(&self, mode: Mode) -> bool {
        self.tracker.as_ref().is_some_and(|tracker| tracker.mode.intersects(mode))
    }

    fn tracker_changed(&mut self) {
        let remembers = self.tracker.as_ref().is_some_and(|tracker| tracker.remembers());
        self.flags.set(ClientFlags::TRACKING, self.tracker.is_some());
        self.flags.set(ClientFlags::REMEMBERS, remembers);
        self.flags.set(ClientFlags::CACHING, self.has_mode(Mode::CACHING));
    }

    /// CLIENT CACHING: the next command is different.
    pub(super) fn set_caching(&mut self, caching: bool) {
        if let Some(tracker) = &mut self.tracker {
            tracker.mode.set(Mode::CACHING, caching);
        }
        self.tracker_changed();
    }

    /// After a command of a client with [`ClientFlags::CACHING`]: that was the next one, unless it says of itself that it
    /// was not, or waits in a transaction, which is one command.
    #[cold]
    pub(super) fn caching_is_over(&mut self, command: Option<&Command>) {
        let keeps = command.is_some_and(|command| command.flags().contains(Flags::KEEPS_CACHING));
        if !keeps && !self.in_transaction() {
            self.set_caching(false);
        }
    }
}

impl Server {
    /// CLIENT TRACKING ON.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed then.
    pub(super) fn track(&mut self, slot: Slot, request: &Request<'_>) -> Result<(), Refused> {
        // Who comes now is not told of what was before.
        self.broadcast();
        let Some(client) = self.clients.get_mut(slot) else { return Ok(()) };
        let tracks = client.tracker.is_some();
        let mut tracker = client.tracker.take().unwrap_or_default();
        let chosen = tracker.choose(tracks, request);
        client.tracker = (tracks || chosen.is_ok()).then_some(tracker);
        let new_prefixes = chosen?;
        client.tracker_changed();
        let id = client.tracker_id();
        for prefix in new_prefixes {
            self.tracking.prefixes.add(prefix, id);
        }
        if !tracks {
            self.tracking.clients += 1;
            self.tracking.broadcasting += usize::from(request.mode.contains(Mode::BCAST));
            self.tell_as_needed();
        }
        Ok(())
    }

    /// The end of a client's tracking, if it does track. Keys that it has read stay in the table until they change.
    pub(super) fn stop_tracking(&mut self, slot: Slot) {
        let tracks = |client: &&mut Client| client.flags.contains(ClientFlags::TRACKING);
        let Some(client) = self.clients.get_mut(slot).filter(tracks) else { return };
        let (id, tracker) = (client.tracker_id(), client.tracker.take());
        client.tracker_changed();
        let Some(tracker) = tracker else { return };
        if tracker.mode.contains(Mode::BCAST) {
            self.broadcast();
            for prefix in tracker.prefixes() {
                self.tracking.prefixes.remove(prefix, id);
            }
            self.tracking.broadcasting -= 1;
        }
        self.tracking.clients -= 1;
        if self.tracking.clients == 0 {
            self.forget_readers();
        }
        self.tell_as_needed();
    }

    fn tell_as_needed(&mut self) {
        self.store.set_tell_changed(match (self.tracking.clients, self.tracking.broadcasting) {
            (0, _) => TellChanged::Nothing,
            (_, 0) => TellChanged::Positions,
            _ => TellChanged::Names,
        });
    }

    fn forget_readers(&mut self) {
        let table = std::mem::take(&mut self.tracking.table);
        if table.keys() >= FREE_ELSEWHERE_KEYS {
            self.background.drop_elsewhere(Box::new(table));
        }
    }

    /// A client with [`ClientFlags::REMEMBERS`] has run a command that reads: remembers the keys. `key` is the position of
    /// its first key, if that is known.
    #[inline]
    pub(super) fn remember_keys(&mut self, slot: Slot, command: &Command, argv: Argv<'_>, key: Option<(usize, u64)>) {
        if command.flags().contains(Flags::READONLY) && !command.flags().contains(Flags::NO_MANDATORY_KEYS) {
            self.remember_keys_read(slot, command, argv, key);
        }
    }

    fn remember_keys_read(&mut self, slot: Slot, command: &Command, argv: Argv<'_>, key: Option<(usize, u64)>) {
        let Server { clients, tracking, store, .. } = self;
        let Some(client) = clients.get(slot) else { return };
        let reader = client.tracker_id();
        let is_there = |id: TrackerId| {
            let client = clients.get(Slot(id.place));
            client.is_some_and(|c| c.tracker_id() == id && c.flags.contains(ClientFlags::TRACKING))
        };
        if let ([KeySpec { find: FindKeys::Range { last: 0, .. }, .. }], Some(at)) =
            (command.spec.keys, command.first_key_at)
            && let Some(name) = argv.get(usize::from(at))
        {
            let position = key.map_or_else(|| store.key(name).position, |(_, position)| position);
            tracking.table.remember(position, name, reader, is_there);
        } else {
            // Those of a key spec that does not fit are not looked for: the command was an error.
            let _ = find_keys(command.spec, argv, &mut tracking.found);
            for key in &tracking.found {
                let name = argv.at(key.at);
                tracking.table.remember(store.key(name).position, name, reader, is_there);
            }
        }
        if self.tracking_is_full() {
            self.evict_tracked(EVICTED_AT_ONCE);
        }
    }

    /// After a command: tells those who keep copies of what was changed, by a client's command or by nobody's.
    #[inline]
    pub(super) fn tell_changes(&mut self, by: Option<Slot>) {
        if self.store.has_changed_keys() {
            self.tell_changes_to_trackers(by);
        }
    }

    #[cold]
    fn tell_changes_to_trackers(&mut self, by: Option<Slot>) {
        let changed = self.store.take_changed_keys(std::mem::take(&mut self.tracking.changed));
        let mut table = std::mem::take(&mut self.tracking.table);
        let changer = by.and_then(|slot| self.clients.get(slot)).map(Client::tracker_id);
        for key in changed.iter() {
            if self.tracking.broadcasting > 0 {
                let changer = changer.filter(|_| !key.by_itself);
                self.tracking.broadcast.changed(key.position, key.name, changer);
            }
            table.invalidate(key.position, |name, readers| self.tell_readers(name, readers, changer));
        }
        self.tracking.table = table;
        if changed.flushed() {
            self.forget_readers();
            let mut told = Told::all_keys();
            let all: Vec<Slot> =
                self.clients.iter().filter(|c| c.flags.contains(ClientFlags::TRACKING)).map(|c| c.slot).collect();
            for slot in all {
                self.tell(slot, &mut told);
            }
        }
        self.tracking.changed = changed;
        if self.tracking.broadcast.bytes() > Broadcast::BYTES_MAX {
            self.broadcast();
        }
    }

    /// Tells the readers of a key that it was changed, or that changes of it are not known any more.
    fn tell_readers(&mut self, name: &[u8], readers: &Readers, changer: Option<TrackerId>) {
        let names = [name];
        let mut told = Told::keys(&names);
        for reader in readers.iter() {
            let Some(client) = self.clients.get(Slot(reader.place)).filter(|c| c.tracker_id() == reader) else {
                continue;
            };
            let own = changer == Some(reader) && client.has_mode(Mode::NOLOOP);
            // Who has changed to broadcasting is not told of what it had read before.
            if client.flags.contains(ClientFlags::TRACKING) && !client.has_mode(Mode::BCAST) && !own {
                let slot = client.slot;
                self.tell(slot, &mut told);
            }
        }
    }

    /// Tells those who want prefixes of all changes since the last time. At the end of a turn.
    #[inline]
    pub(super) fn broadcast(&mut self) {
        if !self.tracking.broadcast.is_empty() {
            self.broadcast_changes();
        }
    }

    #[cold]
    fn broadcast_changes(&mut self) {
        let mut changes = std::mem::take(&mut self.tracking.broadcast);
        for change in changes.by_prefix(&self.tracking.prefixes) {
            let names = changes.names(&change);
            let mut told = Told::keys(&names);
            let wanted_by: Vec<TrackerId> = self.tracking.prefixes.wanted_by(change.prefix()).collect();
            for id in wanted_by {
                let Some(client) = self.clients.get(Slot(id.place)).filter(|c| c.tracker_id() == id) else { continue };
                let slot = client.slot;
                if !client.has_mode(Mode::NOLOOP) {
                    self.tell(slot, &mut told);
                    continue;
                }
                let others = changes.names_for(&change, id);
                if others.len() == names.len() {
                    self.tell(slot, &mut told);
                } else if !others.is_empty() {
                    self.tell(slot, &mut Told::keys(&others));
                }
            }
        }
        changes.clear();
        self.tracking.broadcast = changes;
    }

    /// Sends what a tracking client is told to where it wants it.
    fn tell(&mut self, slot: Slot, told: &mut Told<'_>) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        let Some(tracker) = &mut client.tracker else { return };
        let Some(redirect) = tracker.redirect else {
            if client.resp == Resp::V3 {
                self.push(slot, told.push());
            }
            return;
        };
        let resp = client.resp;
        let Some(target) = self.clients.slot_of(ClientId(redirect)).and_then(|slot| self.clients.get(slot)) else {
            if let Some(tracker) = self.clients.get_mut(slot).and_then(|client| client.tracker.as_mut()) {
                tracker.mode.insert(Mode::BROKEN_REDIRECT);
            }
            if resp == Resp::V3 {
                let mut bytes = Vec::new();
                reply_bytes::push_header(&mut bytes, 2);
                reply_bytes::bulk(&mut bytes, b"tracking-redir-broken");
                reply_bytes::integer(&mut bytes, i64::try_from(redirect).unwrap_or(i64::MAX));
                self.push(slot, bytes.into());
            }
            return;
        };
        let target_slot = target.slot;
        match target.resp {
            Resp::V3 => self.push(target_slot, told.push()),
            Resp::V2 if target.flags.contains(ClientFlags::SUBSCRIBER) => self.push(target_slot, told.message()),
            Resp::V2 => {}
        }
    }

    fn tracking_is_full(&self) -> bool {
        let max = self.config.tracking_table_max_keys;
        max > 0 && self.tracking.table.keys() as u64 > max
    }

    /// Takes at most so many keys out of the table as are too many, picked at random. Their readers are told as if the keys
    /// had been changed, since nobody will know when they are.
    fn evict_tracked(&mut self, most: usize) {
        let mut table = std::mem::take(&mut self.tracking.table);
        let max = self.config.tracking_table_max_keys;
        for _ in 0..most {
            if max == 0 || table.keys() as u64 <= max {
                break;
            }
            let random = self.store.random_u64();
            table.evict(random, |name, readers| self.tell_readers(name, readers, None));
        }
        self.tracking.table = table;
    }

    /// Sees to it that the table is not fuller than allowed for long after the limit was lowered: called then, and
    /// periodically.
    pub(super) fn limit_tracking(&mut self) {
        if !self.tracking_is_full() {
            self.tracking.evict_next = EVICTED_FIRST;
            return;
        }
        let most = self.tracking.evict_next.clamp(EVICTED_FIRST, EVICTED_MOST);
        self.evict_tracked(most);
        self.tracking.evict_next = 2 * most;
    }
}
