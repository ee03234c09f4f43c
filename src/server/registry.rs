//! Driving the registry: units end, histories are cut, durable stores keep what they have said.

use super::Server;
use super::client::{ClientFlags, ClientId, Clients, Slot};
use crate::command::error::Error;
use crate::command::ground::{Ground, now_ms};
use crate::registry::{Registry, Writer, tree_of};
use weir_structs::tree::Tree;

/// After so many microseconds of a turn what is left waits for the next one.
const TEND_US: u64 = 1_000;

impl Server {
    /// The registry, and what it works on: the database that a client has chosen.
    pub(super) fn registry_ground(&mut self, slot: Slot) -> (&mut Registry, Ground<'_>) {
        let db = self.clients.get(slot).map_or(0, |client| client.db);
        let Server { registry, store, effects, .. } = self;
        (registry, Ground { store, effects, db })
    }

    /// Lets a client's command write to a store; see [`Registry::write`]. What a durable store has taken is on disk before
    /// the client is told.
    ///
    /// # Errors
    /// What `change` says; there is something else at the key; the store is durable, and there is no file.
    pub(super) fn write_registry<R>(
        &mut self,
        slot: Slot,
        name: &[u8],
        change: impl FnOnce(&mut Writer<'_>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let (_, ground) = self.registry_ground(slot);
        if ground.tree(name)?.is_some_and(|tree| tree.options().durable) {
            self.confirm_on_disk(slot, Error::CFG_NO_FILE)?;
        }
        let (registry, mut ground) = self.registry_ground(slot);
        registry.write(&mut ground, name, change)
    }

    /// The registry and the store at a key, for what a client is to be told of it: that of a durable store is on disk before.
    ///
    /// # Errors
    /// There is something else.
    pub(super) fn read_registry(&mut self, slot: Slot, name: &[u8]) -> Result<(&Registry, Option<&Tree>), Error> {
        self.await_durable(slot, name);
        let db = self.clients.get(slot).map_or(0, |client| client.db);
        Ok((&self.registry, tree_of(&self.store, db, name)?))
    }

    /// What a client is told of a durable store is on disk before. Says nothing of other stores.
    pub(super) fn await_durable(&mut self, slot: Slot, name: &[u8]) {
        if !self.is_confirming() {
            return;
        }
        let (_, ground) = self.registry_ground(slot);
        if ground.tree(name).is_ok_and(|tree| tree.is_some_and(|tree| tree.options().durable)) {
            self.confirm_what_waits(slot);
        }
    }

    /// After each command: what it did to stores as keys.
    #[inline]
    pub(super) fn note_registry_changes(&mut self) {
        if self.store.has_registry_changes() {
            // What comes out of a file has kept its epochs there.
            let from_file = self.is_loading() || self.store.holds_deadlines();
            self.registry.note_changes(&mut self.store, from_file);
        }
    }

    /// A unit is over: revisions that it has written are whole, and it goes into the feed. Not so while a script is suspended.
    #[inline(always)]
    pub(super) fn end_unit(&mut self) {
        if self.registry.is_open() || self.has_feed_unit() {
            self.end_unit_that_changed();
        }
    }

    fn end_unit_that_changed(&mut self) {
        if self.scripts.is_suspended() {
            return;
        }
        if self.registry.is_open() {
            self.seal_revisions();
        }
        self.end_feed_unit();
    }

    fn seal_revisions(&mut self) {
        if self.registry.seal(&mut self.store) {
            self.confirm_changes();
        }
        while let Some(db) = self.registry.tell_epoch(&self.store, &mut self.effects) {
            if self.feed.is_wanted() {
                self.feed_own(db);
            }
            self.effects.clear();
        }
    }

    /// At the end of a turn: what is due in stores.
    pub(super) fn tend_registry(&mut self) {
        // Stores go by themselves too.
        self.note_registry_changes();
        self.do_what_is_due();
        // Nobody waits for a store but for a lock in it.
        if self.registry.has_woken() {
            self.serve_waiters();
        }
    }

    fn do_what_is_due(&mut self) {
        let now_ms = now_ms(&self.store);
        let is_due = self.registry.next_alarm_ms().is_some_and(|at_ms| at_ms <= now_ms);
        if !is_due || !self.layers_may_work() {
            return;
        }
        loop {
            // Who is to be told what is in a history is told before it is cut.
            let may_trim = self.may_trim();
            let Server { registry, store, effects, clients, .. } = self;
            let at_ms = store.now_ms();
            let heard = |client| heard_ms(clients, client, at_ms);
            let Some(db) = registry.run_due(store, effects, &heard, may_trim) else { break };
            self.propagate_own(db);
            if self.turn_us() >= TEND_US {
                break;
            }
        }
    }

    /// When a connection was last heard of, in Unix ms.
    pub(super) fn last_heard_ms(&self, client: u64) -> u64 {
        heard_ms(&self.clients, client, self.store.now_ms())
    }

    /// Runs the commands again of those who wait for something in the registry that is theirs now.
    pub(super) fn serve_woken(&mut self) {
        while let Some(client) = self.registry.next_woken() {
            self.wake(ClientId(client));
        }
    }

    /// When the registry is to be looked after next, in Unix ms.
    pub(super) fn registry_alarm_ms(&self) -> Option<i64> {
        let alarm_ms = self.registry.next_alarm_ms().filter(|_| self.layers_may_work())?;
        Some(i64::try_from(alarm_ms).unwrap_or(i64::MAX))
    }
}

/// When a connection was last heard of, in Unix ms. One that waits for this server is there: nothing it could say would be
/// heard.
fn heard_ms(clients: &Clients, client: u64, now_ms: i64) -> u64 {
    let found = clients.slot_of(ClientId(client)).and_then(|slot| clients.get(slot));
    let heard_ms = found.map_or(0, |client| {
        let waits = client.flags.intersects(ClientFlags::BLOCKED | ClientFlags::PAUSED | ClientFlags::UNFINISHED);
        if waits { now_ms } else { client.heard_ms }
    });
    u64::try_from(heard_ms).unwrap_or_default()
}
