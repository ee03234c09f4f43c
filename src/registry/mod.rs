//! The registry: what all stores of configuration have in common.
//!
//! ```text
//!  PUT, DEL, TXN, publish ──► Writer ──► Tree, under the revision of the unit ──► record in the feed
//!                                                  │
//!            the unit (command, transaction, script) is over: the revision is whole
//!                                                  ▼
//!                       observers, polls, waiting locks ◄── history, from each one's cursor on
//! ```
//!
//! A store is the value of a key ([`weir_structs::tree`]): paths, their history, leases. This room knows where stores are, who
//! observes them and who waits for a lock; it reaches keys through the broker's way, the store of the server, says what it
//! changed in [`Effects`](crate::command::effects::Effects), and knows neither clients nor connections but by number: whoever
//! drives it takes frames and wake-ups out and delivers them.
//!
//! What must stay true: every write goes through [`Registry::write`], so that it has the revision of its unit and is in the feed
//! with it; nobody is told of a revision before it is whole.

mod drafts;
mod effect;
mod fields;
mod files;
pub mod formats;
mod gray;
mod hidden;
mod labels;
mod leases;
mod locks;
mod numbered;
pub mod observers;
mod options;
mod places;
mod releases;
mod rules;
pub mod view;
mod writer;

pub use drafts::{Draft, discard, draft, drafts};
pub use files::{Imported, export, import};
pub use gray::{Gray, abandon, grays, promote, set_rule};
pub use labels::Labels;
pub use leases::{LEASE_MS_MAX, check_ttl, end, grant};
pub use locks::{Held, hold, holder, proclaim, release};
pub use numbered::Numbered;
pub use options::options;
pub use releases::{Note, Origin, Published, Release, present, publish, releases, roll_back};
pub use rules::{CONDITIONS_MAX, Condition, Rule, Test};
pub use writer::Writer;

use crate::command::effects::{Effects, EventClass};
use crate::command::error::Error;
use crate::command::ground::{Ground, now_ms};
use crate::store::{RegistryChange, Store, ValueRef};
use hashbrown::HashMap;
use observers::{Message, Observers, PollEntry, Polled, Served, Sight, Standing};
use places::{At, Opened, Places};
use weir_structs::number::format_u64;
use weir_structs::pieces::BigPieces;
use weir_structs::tree::{self, LeaseId, REVISION_MAX, Revision, Tree, Version};
use writer::Done;

/// Epochs are random numbers of so many bits, which are exact in a floating-point number too.
const EPOCH_BITS: u32 = 53;
/// A history that is cut by age is looked at so many times while it is as old as it may be, at least a second apart.
const TRIMS_PER_AGE: u64 = 64;
const TRIM_MS_MIN: u64 = 1_000;
/// Pieces of history that are freed in one go.
const TIDY_STEPS: usize = 512;

impl Ground<'_> {
    /// The store at a key, to be looked at.
    ///
    /// # Errors
    /// There is something else.
    pub fn tree(&self, name: &[u8]) -> Result<Option<&Tree>, Error> {
        tree_of(self.store, self.db, name)
    }
}

/// The store at a key of a database.
///
/// # Errors
/// There is something else.
pub fn tree_of<'s>(store: &'s Store, db: usize, name: &[u8]) -> Result<Option<&'s Tree>, Error> {
    match store.view(db, store.key(name)).map(|entry| entry.value()) {
        None => Ok(None),
        Some(ValueRef::Tree(tree)) => Ok(Some(tree)),
        Some(_) => Err(Error::WRONG_TYPE),
    }
}

/// The same; whatever else is there is no store.
fn tree_at<'s>(store: &'s Store, db: usize, name: &[u8]) -> Option<&'s Tree> {
    tree_of(store, db, name).ok().flatten()
}

/// Whether these bytes are a path.
///
/// # Errors
/// They are not, and why.
pub fn check_path(path: &[u8]) -> Result<(), Error> {
    tree::check_path(path).map_err(|error| Error::cfg_path(error.text()))
}

/// The same of the beginning of paths: a path, with a `/` behind it perhaps, or `/` alone.
///
/// # Errors
/// They are not, and why.
pub fn check_prefix(prefix: &[u8]) -> Result<(), Error> {
    if prefix == b"/" { Ok(()) } else { check_path(prefix.strip_suffix(b"/").unwrap_or(prefix)) }
}

/// Whether a store takes a value.
///
/// # Errors
/// It is too long.
pub fn check_value(tree: &Tree, value: &[u8]) -> Result<(), Error> {
    if value.len() as u64 > tree.options().value_max { Err(Error::CFG_VALUE_TOO_LONG) } else { Ok(()) }
}

/// Whether a path may be attached to a lease.
///
/// # Errors
/// There is no such lease, or the path is attached to another.
pub fn check_lease(tree: &Tree, path: &[u8], lease: LeaseId) -> Result<(), Error> {
    if lease == 0 {
        return Ok(());
    }
    if tree.lease(lease).is_none() {
        return Err(Error::CFG_NO_LEASE);
    }
    match tree.get(path).map(Version::lease) {
        None | Some(0) => Ok(()),
        Some(other) if other == lease => Ok(()),
        Some(other) => Err(Error::cfg_lease(&format!("path is attached to lease {other}"))),
    }
}

/// Whether a store can still tell what was there at a revision.
///
/// # Errors
/// It cannot, or the revision has not come yet.
pub fn check_revision(tree: &Tree, at: Revision) -> Result<(), Error> {
    if at > tree.revision() {
        Err(Error::cfg_future(tree.revision()))
    } else if at < tree.compacted() {
        Err(Error::cfg_compacted(tree.compacted()))
    } else {
        Ok(())
    }
}

/// Everything that is not in a store.
#[derive(Debug, Default)]
pub struct Registry {
    places: Places,
    /// Stores with a revision that is not whole yet.
    open: Vec<Opened>,
    /// Stores whose epoch is new and not in the feed.
    news: Vec<u64>,
    /// Stores that have forgotten history which is not freed yet.
    untidy: Vec<u64>,
    /// When leases are due, and whose they are.
    leases: leases::Leases,
    /// Who waits for a lock.
    lines: locks::Lines,
    /// What is being put together from the pieces of a file.
    unfinished: HashMap<(usize, Box<[u8]>), BigPieces>,
    viewers: view::Viewers,
    /// Who wants to hear of changes.
    pub observers: Observers,
}

impl Registry {
    /// How a store stands for who begins to observe it or comes back.
    ///
    /// # Errors
    /// There is something else.
    pub fn standing(&self, store: &Store, db: usize, name: &[u8]) -> Result<Standing, Error> {
        let tree = tree_of(store, db, name)?;
        let opened = tree.and_then(|tree| self.open.iter().find(|opened| opened.uid == tree.uid()));
        Ok(Standing::of(tree, opened.map(|opened| opened.revision)))
    }

    /// Tells observers what they have not seen; see [`Observers::deliver`].
    pub fn deliver(&mut self, store: &Store, may_go_on: &mut dyn FnMut() -> bool, send: &mut dyn FnMut(u64, Message)) {
        let Registry { observers, viewers, .. } = self;
        observers.deliver(&SeenBy { store, viewers }, may_go_on, send);
    }

    /// The same for one client; see [`Observers::bring_up`].
    pub fn bring_up(
        &mut self,
        client: u64,
        store: &Store,
        may_go_on: &mut dyn FnMut() -> bool,
        send: &mut dyn FnMut(Message),
    ) -> Served {
        let Registry { observers, viewers, .. } = self;
        observers.bring_up(client, &SeenBy { store, viewers }, may_go_on, send)
    }

    /// What has happened in a store since somebody who polls has looked; see [`Observers::poll`].
    ///
    /// # Errors
    /// There is something else; an entry is of another epoch, or wants what is compacted or in the future.
    pub fn poll<'s>(
        &self,
        store: &'s Store,
        db: usize,
        client: u64,
        entries: &[PollEntry<'_>],
        count: usize,
    ) -> Result<Option<Polled<'s>>, Error> {
        let Some(first) = entries.first() else { return Ok(None) };
        let standing = self.standing(store, db, first.store)?;
        let tree = tree_at(store, db, first.store);
        self.observers.poll(tree, standing, entries, count, self.labels(client))
    }

    /// Observers look what is at a key now.
    fn look(&mut self, store: &Store, db: usize, name: &[u8], born: bool) {
        if self.observers.is_empty() {
            return;
        }
        self.observers.look(db, name, tree_at(store, db, name), born);
    }

    /// The same for all keys of a database.
    fn look_at_all(&mut self, store: &Store, db: usize) {
        for name in self.observers.names(db) {
            self.look(store, db, &name, false);
        }
    }

    /// Lets `change` write to a store, which is made if it is missing, as a part of the revision of the unit. `change` looks at
    /// everything before it writes: an error changes nothing.
    ///
    /// # Errors
    /// What `change` says; there is something else at the key.
    pub fn write<R>(
        &mut self,
        ground: &mut Ground<'_>,
        name: &[u8],
        change: impl FnOnce(&mut Writer<'_>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let now_ms = ground.now_ms();
        let is_open = self.places.get_mut(ground.db, name).is_some_and(|place| place.is_open);
        let key = ground.store.key(name);
        let Ground { store, effects, db } = ground;
        let writer = |tree: &mut Tree| {
            let revision = if is_open { tree.revision() } else { tree.revision() + 1 };
            if revision > REVISION_MAX {
                return (Done::default(), Err(Error::cfg_limit("there are no revisions left")));
            }
            let mut writer = Writer { tree, effects, store: name, revision, now_ms, done: Done::default() };
            let result = change(&mut writer);
            (writer.done, result.map(|result| (result, revision)))
        };
        let (uid, done, result) = if let Some(mut entry) = store.db(*db).get_mut(key) {
            entry.try_change(|value| {
                let Some(mut tree) = value.tree_mut() else {
                    return (false, (0, Done::default(), Err(Error::WRONG_TYPE)));
                };
                let (done, result) = writer(&mut tree);
                (done.any(), (tree.uid(), done, result))
            })
        } else {
            let mut tree = Tree::new(new_epoch(store));
            let (done, result) = writer(&mut tree);
            let uid = if done.any() { self.settle_new(ground, name, tree) } else { 0 };
            (uid, done, result)
        };
        if done.any() {
            ground.effects.changed(done.puts + done.deletions + done.others);
            self.tell(ground, name, done);
        }
        let (result, revision) = result?;
        if done.others > 0 {
            self.lease_granted(ground, name);
            self.plan_trim_at(ground.store, ground.db, name);
        }
        if done.in_revision() {
            self.open(uid, revision);
        }
        Ok(result)
    }

    fn tell(&self, ground: &mut Ground<'_>, name: &[u8], done: Done) {
        if !ground.effects.wants(EventClass::MODULE) {
            return;
        }
        if done.puts > 0 {
            ground.event("cfg.put", name);
        }
        if done.deletions > 0 {
            ground.event("cfg.del", name);
        }
        if done.others > 0 {
            ground.event("cfg.set", name);
        }
    }

    /// Puts a store at a key. Gives its number.
    fn settle_new(&mut self, ground: &mut Ground<'_>, name: &[u8], mut tree: Tree) -> u64 {
        let uid = self.places.new_uid();
        tree.set_uid(uid);
        let key = ground.store.key(name);
        ground.store.db(ground.db).put_big(key, tree.into());
        self.places.put(uid, ground.db, name);
        uid
    }

    /// Something was written to a store in the unit that is not over.
    fn open(&mut self, uid: u64, revision: Revision) {
        let Some((db, name)) = self.places.at(uid).cloned() else { return };
        let Some(place) = self.places.get_mut(db, &name) else { return };
        if !std::mem::replace(&mut place.is_open, true) {
            self.open.push(Opened { uid, revision });
        }
    }

    /// Whether the unit has done something that is to be seen to when it is over.
    #[inline]
    pub fn is_open(&self) -> bool {
        !self.open.is_empty() || !self.news.is_empty()
    }

    /// The unit is over: what it wrote is whole. Says whether it wrote to a durable store.
    pub fn seal(&mut self, store: &mut Store) -> bool {
        let now_ms = now_ms(store);
        let mut durable = false;
        for Opened { uid, revision } in std::mem::take(&mut self.open) {
            let Some((db, name)) = self.places.at(uid).cloned() else { continue };
            if let Some(place) = self.places.get_mut(db, &name) {
                place.is_open = false;
            }
            let Some(tree) = tree_at(store, db, &name) else { continue };
            durable |= tree.options().durable;
            // There is none if all that it has made was taken back.
            let change = tree.change(revision);
            if let Some(change) = change {
                self.lines.sealed(db, &name, change);
            }
            if !self.observers.is_empty() {
                self.observers.sealed(db, &name, tree, |touch| {
                    if let Some(change) = change {
                        view::touched(tree, change, touch);
                    }
                });
            }
            self.plan_trim(uid, tree, now_ms);
        }
        durable
    }

    /// Says into the feed which epoch a store has that came from elsewhere. Gives its database; `None` if there is none left.
    pub fn tell_epoch(&mut self, store: &Store, effects: &mut Effects) -> Option<usize> {
        loop {
            let uid = self.news.pop()?;
            let Some((db, name)) = self.places.at(uid) else { continue };
            if let Some(tree) = tree_at(store, *db, name) {
                effects.feed_as(&[b"CFG.EFFECT", b"EPOCH", name, &format_u64(tree.epoch())]);
                return Some(*db);
            }
        }
    }

    /// Decides when the history of a store is to be looked at.
    fn plan_trim(&mut self, uid: u64, tree: &Tree, now_ms: u64) {
        let age_ms = tree.options().history_ms;
        if tree.beyond(now_ms).is_some() {
            self.places.set_trim(uid, now_ms);
        } else if age_ms > 0 && tree.revision() > tree.compacted() {
            self.places.set_trim(uid, now_ms.saturating_add((age_ms / TRIMS_PER_AGE).max(TRIM_MS_MIN)));
        }
    }

    fn plan_trim_at(&mut self, store: &Store, db: usize, name: &[u8]) {
        if let Some(tree) = tree_at(store, db, name) {
            self.plan_trim(tree.uid(), tree, now_ms(store));
        }
    }

    /// When there is something to do next, in Unix ms; at once if there is work.
    pub fn next_alarm_ms(&self) -> Option<u64> {
        if !self.untidy.is_empty() {
            return Some(0);
        }
        self.places.next_trim_ms().into_iter().chain(self.leases.next_alarm_ms()).min()
    }

    /// Does one thing that is due. Gives the database that it was done in, for the feed. `heard`: when a connection was last
    /// heard of, in Unix ms. `may_trim`: histories may be cut.
    pub fn run_due(
        &mut self,
        store: &mut Store,
        effects: &mut Effects,
        heard: &dyn Fn(u64) -> u64,
        may_trim: bool,
    ) -> Option<usize> {
        if let Some(db) = self.run_due_lease(store, effects, heard) {
            return Some(db);
        }
        if may_trim && let Some((db, name)) = self.places.take_trim(now_ms(store)) {
            let mut ground = Ground { store, effects, db };
            let now_ms = ground.now_ms();
            let beyond = ground.tree(&name).ok().flatten().and_then(|tree| tree.beyond(now_ms));
            if let Some(to) = beyond {
                // A store that was just found is there.
                let _ = self.compact(&mut ground, &name, to);
            }
            self.note_untidy(&ground, &name);
            self.plan_trim_at(ground.store, db, &name);
            return Some(db);
        }
        let uid = *self.untidy.last()?;
        if !self.tidy(store, uid) {
            self.untidy.pop();
        }
        Some(0)
    }

    /// Frees a part of what a store has forgotten. Says whether there is more.
    fn tidy(&mut self, store: &mut Store, uid: u64) -> bool {
        let Some((db, name)) = self.places.at(uid).cloned() else { return false };
        let (key, now_ms) = (store.key(&name), now_ms(store));
        let Some(mut entry) = store.db(db).get_mut(key) else { return false };
        let mut value = entry.value_mut_unheard();
        let Some(mut tree) = value.tree_mut() else { return false };
        let goes_on = tree.tidy(TIDY_STEPS);
        if !goes_on && tree.has_over() {
            // It is frozen; that will be over.
            self.places.set_trim(uid, now_ms.saturating_add(TRIM_MS_MIN));
        }
        goes_on
    }

    /// Forgets the history of a store up to a revision.
    ///
    /// # Errors
    /// There is no such store, or something else; the revision has not come yet, or was forgotten before.
    pub fn compact(&mut self, ground: &mut Ground<'_>, name: &[u8], to: Revision) -> Result<(), Error> {
        if ground.tree(name)?.is_none() {
            return Err(Error::CFG_NO_STORE);
        }
        // What is not whole has been told to nobody.
        let Standing { revision, compacted, .. } = self.standing(ground.store, ground.db, name)?;
        if to > revision {
            return Err(Error::cfg_future(revision));
        }
        if to <= compacted {
            return Err(Error::cfg_compacted(compacted));
        }
        self.observers.compacts(ground.db, name, to);
        self.write(ground, name, |writer| {
            writer.compact(to);
            Ok(())
        })?;
        self.note_untidy(ground, name);
        Ok(())
    }

    fn note_untidy(&mut self, ground: &Ground<'_>, name: &[u8]) {
        if let Ok(Some(tree)) = ground.tree(name)
            && tree.has_over()
            && !self.untidy.contains(&tree.uid())
        {
            self.untidy.push(tree.uid());
        }
    }

    /// Takes note of stores that have appeared or gone, by whatever command. `keep_epochs`: they come out of files of this server.
    pub fn note_changes(&mut self, store: &mut Store, keep_epochs: bool) {
        for change in store.take_registry_changes() {
            match change {
                RegistryChange::Appeared { db, name } => self.note_appeared(store, db, &name, keep_epochs),
                RegistryChange::Gone { uid } => {
                    self.leases.store_gone(uid);
                    if let Some(at) = self.places.remove(uid) {
                        self.note_gone(&at);
                        self.look(store, at.0, &at.1, false);
                    }
                }
                RegistryChange::Flushed { db } => {
                    for name in self.places.flush(db) {
                        self.note_gone(&(db, name));
                    }
                    self.leases.stores_gone(&self.places);
                    self.look_at_all(store, db);
                }
                RegistryChange::Swapped { a, b } => {
                    self.places.swap(a, b);
                    self.lines.database_gone(a);
                    self.lines.database_gone(b);
                    self.look_at_all(store, a);
                    self.look_at_all(store, b);
                }
            }
        }
        for db in 0..self.places.databases() {
            store.set_registry_keys(db, self.places.in_database(db));
        }
    }

    fn note_appeared(&mut self, store: &mut Store, db: usize, name: &[u8], keep_epoch: bool) {
        let key = store.key(name);
        let (epoch, now_ms) = (new_epoch(store), now_ms(store));
        let uid = {
            let Some(mut entry) = store.db(db).get_mut(key) else { return };
            let mut value = entry.value_mut_unheard();
            let Some(mut tree) = value.tree_mut() else { return };
            if tree.uid() == 0 {
                // It comes from elsewhere: what was told of it there may be otherwise here.
                tree.set_uid(self.places.new_uid());
                tree.renew_leases(now_ms);
                if !keep_epoch {
                    tree.set_epoch(epoch);
                    self.news.push(tree.uid());
                }
            }
            self.leases.plan(tree.uid(), &tree);
            tree.uid()
        };
        // One that a write has made is known.
        let born = self.places.at(uid).is_some_and(|(of, known)| *of == db && **known == *name);
        if let Some(before) = self.places.put(uid, db, name) {
            self.note_gone(&before);
            self.look(store, before.0, &before.1, false);
        }
        self.plan_trim_at(store, db, name);
        self.look(store, db, name, born);
    }

    /// There is no store, or another one, at a key where there was one.
    fn note_gone(&mut self, at: &At) {
        self.lines.store_gone(at.0, &at.1);
        self.open.retain(|opened| self.places.at(opened.uid).is_some_and(|known| known != at));
    }

    /// Counts the revisions of a store in another epoch from now on. For a store that is not durable any more: what is told of
    /// it now may be lost together with the record that it is not, and then its epoch would be kept.
    pub fn begin_epoch(&mut self, ground: &mut Ground<'_>, name: &[u8]) {
        let (key, epoch) = (ground.store.key(name), new_epoch(ground.store));
        if let Some(mut entry) = ground.store.db(ground.db).get_mut(key)
            && let Some(mut tree) = entry.value_mut().tree_mut()
        {
            tree.set_epoch(epoch);
            self.news.push(tree.uid());
        }
        self.look(ground.store, ground.db, name, false);
    }

    /// There is no append-only file any more: what is told of durable stores now is in none, though an old one may be read later.
    pub fn file_ends(&mut self, store: &mut Store, effects: &mut Effects) {
        let all: Vec<At> = self.places.all().map(|(_, at)| at.clone()).collect();
        for (db, name) in all {
            let mut ground = Ground { store: &mut *store, effects: &mut *effects, db };
            if ground.tree(&name).is_ok_and(|tree| tree.is_some_and(|tree| tree.options().durable)) {
                self.begin_epoch(&mut ground, &name);
            }
        }
    }

    /// Data were loaded: leases start anew, and so does the counting of revisions where what was told may not be in the file.
    /// `kept_all`: the file is one that durable stores wait for.
    pub fn loaded(&mut self, store: &mut Store, kept_all: bool) {
        self.open.clear();
        self.news.clear();
        self.unfinished.clear();
        let now_ms = now_ms(store);
        let all: Vec<(u64, At)> = self.places.all().map(|(uid, at)| (uid, at.clone())).collect();
        for (uid, (db, name)) in all {
            let (key, epoch) = (store.key(&name), new_epoch(store));
            let Some(mut entry) = store.db(db).get_mut(key) else { continue };
            let mut value = entry.value_mut_unheard();
            let Some(mut tree) = value.tree_mut() else { continue };
            tree.renew_leases(now_ms);
            self.leases.plan(uid, &tree);
            if !(tree.options().durable && kept_all) {
                tree.set_epoch(epoch);
                self.news.push(uid);
            }
            self.plan_trim(uid, &tree, now_ms);
            if let Some(place) = self.places.get_mut(db, &name) {
                place.is_open = false;
            }
        }
        for db in 0..store.databases() {
            self.look_at_all(store, db);
        }
    }

    /// What a client has said of itself.
    #[inline]
    pub fn labels(&self, client: u64) -> &Labels {
        self.viewers.of(client)
    }

    /// Gives a client labels in place of those that it had; no names: none.
    ///
    /// # Errors
    /// They are too many or too long; or they are others while the client observes, who would not be told of what that changes.
    pub fn set_labels(&mut self, client: u64, pairs: &[(&[u8], &[u8])]) -> Result<(), Error> {
        let labels = self.viewers.labels(pairs)?;
        if labels != *self.viewers.of(client) {
            if self.observers.count_of(client) > 0 {
                return Err(Error::cfg_labels("labels cannot change while the connection observes"));
            }
            self.viewers.set(client, labels);
        }
        Ok(())
    }

    /// Clients that have labels, in no order.
    pub fn labelled(&self) -> impl Iterator<Item = u64> {
        self.viewers.clients()
    }

    /// A client has no labels any more.
    pub fn forget_labels(&mut self, client: u64) {
        self.viewers.forget(client);
    }

    /// A client is gone.
    pub fn client_gone(&mut self, client: u64) {
        self.observers.client_gone(client);
        self.viewers.forget(client);
        self.leases.client_gone(client);
        self.lines.leave(client);
    }

    /// All stores, in no order, behind their databases and names.
    pub fn all<'s>(&'s self, store: &'s Store) -> impl Iterator<Item = (usize, &'s [u8], &'s Tree)> {
        self.places.all().filter_map(|(_, (db, name))| Some((*db, &**name, tree_at(store, *db, name)?)))
    }
}

/// All stores, and what clients see of them.
struct SeenBy<'s> {
    store: &'s Store,
    viewers: &'s view::Viewers,
}

impl Sight for SeenBy<'_> {
    fn tree(&self, db: usize, name: &[u8]) -> Option<&Tree> {
        tree_at(self.store, db, name)
    }

    fn labels(&self, client: u64) -> &Labels {
        self.viewers.of(client)
    }

    fn now_ms(&self) -> u64 {
        now_ms(self.store)
    }
}

/// A number that no store has had, as far as chance can tell.
fn new_epoch(store: &mut Store) -> u64 {
    (store.random_u64() >> (u64::BITS - EPOCH_BITS)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compacted_while_a_store_is_frozen_is_freed_when_it_is_not() {
        let (mut store, mut effects, mut registry) =
            (Store::new(1, 1, 2, 1_000), Effects::default(), Registry::default());
        for _ in 0..1_000 {
            let mut ground = Ground { store: &mut store, effects: &mut effects, db: 0 };
            let put = |writer: &mut Writer<'_>| {
                writer.put(b"/a", b"value", 0, 0);
                Ok(())
            };
            registry.write(&mut ground, b"s", put).expect("it is written");
            registry.seal(&mut store);
        }
        let frozen = |store: &mut Store, is_frozen: bool| {
            let key = store.key(b"s");
            let mut entry = store.db(0).get_mut(key).expect("it is there");
            let mut value = entry.value_mut_unheard();
            let mut tree = value.tree_mut().expect("it is a store");
            if is_frozen { tree.freeze(1) } else { drop(tree.thaw()) }
        };
        let run = |registry: &mut Registry, store: &mut Store, effects: &mut Effects| {
            let mut steps = 0;
            while registry.run_due(store, effects, &|_| 0, true).is_some() {
                steps += 1;
                assert!(steps < 100, "it ends");
            }
        };
        frozen(&mut store, true);
        let mut ground = Ground { store: &mut store, effects: &mut effects, db: 0 };
        registry.compact(&mut ground, b"s", 1_000).expect("it is compacted");
        run(&mut registry, &mut store, &mut effects);
        assert!(tree_at(&store, 0, b"s").is_some_and(Tree::has_over));
        frozen(&mut store, false);
        store.set_now(10_000);
        run(&mut registry, &mut store, &mut effects);
        assert!(!tree_at(&store, 0, b"s").is_some_and(Tree::has_over));
    }
}
