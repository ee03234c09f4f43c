//! Leases: who is not heard of in time loses what he has.
//!
//! ```text
//!  GRANT ──► lease of a store ◄── paths attached to it
//!              │      ▲
//!              │      └── KEEPALIVE; of a connection: whatever it sends
//!              ▼
//!  due, revoked, its connection gone ──► one revision that deletes all its paths, and the lease is gone
//! ```
//!
//! A lease is a part of its store. What is known here is when somebody is to look at a store's leases next, and which connection
//! has which. A connection sends much more often than anybody asks: so nothing is noted when it does, and when its lease seems
//! to be due its last sign is looked at.
//!
//! What must stay true: a lease that is in its store can be kept alive, one that is not cannot. So whoever keeps one alive and
//! whoever ends it never both win: one is before the other, and the second finds what the first has left.

use super::Registry;
use super::places::Places;
use super::writer::Writer;
use crate::command::effects::Effects;
use crate::command::error::Error;
use crate::command::ground::{Ground, now_ms};
use crate::store::Store;
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use weir_structs::tree::{LeaseId, Tree};

/// Longest time to live of a lease: ten years.
pub const LEASE_MS_MAX: u64 = 10 * 365 * 24 * 3600 * 1000;

/// Numbers that are chosen here have so many bits, which are exact in a floating-point number too.
const LEASE_ID_BITS: u32 = 53;

/// What is known of leases beside what is in their stores. Stores go by their numbers.
#[derive(Debug, Default)]
pub(super) struct Leases {
    /// When the leases of a store are to be looked at, in Unix ms.
    alarms: BTreeSet<(u64, u64)>,
    alarm_of: HashMap<u64, u64>,
    /// The connection that a lease ends with.
    owners: BTreeMap<(u64, LeaseId), u64>,
    by_client: HashMap<u64, BTreeSet<(u64, LeaseId)>>,
    /// Leases whose connection is gone.
    orphans: Vec<(u64, LeaseId)>,
}

impl Leases {
    /// Sees to it that the leases of a store are looked at when the first of them is due.
    pub(super) fn plan(&mut self, uid: u64, tree: &Tree) {
        let Some((due_ms, _)) = tree.first_lease_due() else { return };
        let known_ms = self.alarm_of.get(&uid).copied();
        if known_ms.is_some_and(|known_ms| known_ms <= due_ms) {
            return;
        }
        if let Some(known_ms) = known_ms {
            self.alarms.remove(&(known_ms, uid));
        }
        self.alarms.insert((due_ms, uid));
        self.alarm_of.insert(uid, due_ms);
    }

    /// When there is something to do next, in Unix ms.
    pub(super) fn next_alarm_ms(&self) -> Option<u64> {
        if self.orphans.is_empty() { self.alarms.first().map(|(ms, _)| *ms) } else { Some(0) }
    }

    /// A store whose leases are to be looked at by now; it has no alarm then.
    fn take_alarm(&mut self, now_ms: u64) -> Option<u64> {
        let &(ms, uid) = self.alarms.first()?;
        if ms > now_ms {
            return None;
        }
        self.alarms.pop_first();
        self.alarm_of.remove(&uid);
        Some(uid)
    }

    fn own(&mut self, uid: u64, id: LeaseId, client: u64) {
        self.owners.insert((uid, id), client);
        self.by_client.entry(client).or_default().insert((uid, id));
    }

    fn disown(&mut self, uid: u64, id: LeaseId) {
        let Some(client) = self.owners.remove(&(uid, id)) else { return };
        if let Some(leases) = self.by_client.get_mut(&client) {
            leases.remove(&(uid, id));
            if leases.is_empty() {
                self.by_client.remove(&client);
            }
        }
    }

    /// A connection is gone.
    pub(super) fn client_gone(&mut self, client: u64) {
        for lease in self.by_client.remove(&client).unwrap_or_default() {
            self.owners.remove(&lease);
            self.orphans.push(lease);
        }
    }

    /// A store is gone.
    pub(super) fn store_gone(&mut self, uid: u64) {
        if let Some(ms) = self.alarm_of.remove(&uid) {
            self.alarms.remove(&(ms, uid));
        }
        let ids: Vec<LeaseId> = self.owners.range((uid, 0)..=(uid, LeaseId::MAX)).map(|((_, id), _)| *id).collect();
        ids.into_iter().for_each(|id| self.disown(uid, id));
    }

    /// Many stores are gone at once.
    pub(super) fn stores_gone(&mut self, places: &Places) {
        let uids: BTreeSet<u64> =
            self.alarm_of.keys().copied().chain(self.owners.keys().map(|(uid, _)| *uid)).collect();
        for uid in uids.into_iter().filter(|uid| places.at(*uid).is_none()) {
            self.store_gone(uid);
        }
    }
}

/// Whether a lease may last so long.
///
/// # Errors
/// It may not.
pub fn check_ttl(ttl_ms: i64) -> Result<u64, Error> {
    match u64::try_from(ttl_ms) {
        Ok(ttl_ms @ 1..=LEASE_MS_MAX) => Ok(ttl_ms),
        _ => Err(Error::cfg_lease(&format!("the time to live is 1 to {LEASE_MS_MAX} ms"))),
    }
}

/// Grants a lease; without a number, with one that nobody guesses.
///
/// # Errors
/// The number is taken, or too large.
pub fn grant(writer: &mut Writer<'_>, id: LeaseId, ttl_ms: u64, conn: bool) -> Result<(), Error> {
    let due_ms = writer.now_ms().saturating_add(ttl_ms);
    if writer.grant(id, ttl_ms, conn, due_ms) {
        return Ok(());
    }
    Err(Error::cfg_lease(if writer.tree().lease(id).is_some() { "this id is taken" } else { "this id is too large" }))
}

/// Ends a lease with everything that is attached to it. Gives how many paths that were.
///
/// # Errors
/// There is no such lease.
pub fn end(writer: &mut Writer<'_>, id: LeaseId) -> Result<u64, Error> {
    let lease = writer.tree().lease(id).ok_or(Error::CFG_NO_LEASE)?;
    let paths: Vec<Arc<[u8]>> = lease.paths().cloned().collect();
    let deleted = writer.delete_all(&paths);
    writer.forget_lease(id);
    Ok(deleted)
}

impl Registry {
    /// A number for a lease that no other of the store has.
    pub fn new_lease_id(ground: &mut Ground<'_>, store: &[u8]) -> Result<LeaseId, Error> {
        loop {
            let id = ground.store.random_u64() >> (u64::BITS - LEASE_ID_BITS);
            if id > 0 && ground.tree(store)?.is_none_or(|tree| tree.lease(id).is_none()) {
                return Ok(id);
            }
        }
    }

    /// A lease ends with a connection.
    pub fn own_lease(&mut self, ground: &Ground<'_>, store: &[u8], id: LeaseId, client: u64) {
        if let Ok(Some(tree)) = ground.tree(store) {
            self.leases.own(tree.uid(), id, client);
        }
    }

    /// The connection that a lease ends with.
    pub fn owner_of_lease(&self, ground: &Ground<'_>, store: &[u8], id: LeaseId) -> Option<u64> {
        let tree = ground.tree(store).ok()??;
        self.leases.owners.get(&(tree.uid(), id)).copied()
    }

    /// A lease lasts as long as it was granted for, from now on. Gives how long that is, in ms; `None` if there is none.
    ///
    /// # Errors
    /// There is something else at the key.
    pub fn keep_alive(&mut self, ground: &mut Ground<'_>, store: &[u8], id: LeaseId) -> Result<Option<u64>, Error> {
        let Some(lease) = ground.tree(store)?.and_then(|tree| tree.lease(id)) else { return Ok(None) };
        let (ttl_ms, now_ms) = (lease.ttl_ms(), ground.now_ms());
        self.put_off(ground, store, id, now_ms.saturating_add(ttl_ms));
        Ok(Some(ttl_ms))
    }

    /// A lease was granted.
    pub(super) fn lease_granted(&mut self, ground: &Ground<'_>, store: &[u8]) {
        if let Ok(Some(tree)) = ground.tree(store) {
            self.leases.plan(tree.uid(), tree);
        }
    }

    /// A lease was ended by somebody.
    pub fn lease_ended(&mut self, ground: &Ground<'_>, store: &[u8], id: LeaseId) {
        if let Ok(Some(tree)) = ground.tree(store) {
            self.leases.disown(tree.uid(), id);
        }
        self.lines.lease_ended(ground.db, store, id);
    }

    /// Does one thing that is due: ends a lease, or finds that it is not due after all. Gives the database. `heard`: when a
    /// connection was last heard of, in Unix ms.
    pub(super) fn run_due_lease(
        &mut self,
        store: &mut Store,
        effects: &mut Effects,
        heard: &dyn Fn(u64) -> u64,
    ) -> Option<usize> {
        while let Some((uid, id)) = self.leases.orphans.pop() {
            let Some((db, name)) = self.places.at(uid).cloned() else { continue };
            let mut ground = Ground { store: &mut *store, effects: &mut *effects, db };
            // Its number may have been given to another meanwhile.
            let is_own = |tree: &Tree| tree.lease(id).is_some_and(|lease| lease.conn());
            if !self.leases.owners.contains_key(&(uid, id)) && ground.tree(&name).ok().flatten().is_some_and(is_own) {
                self.end_lease(&mut ground, &name, id);
                return Some(db);
            }
        }
        let now_ms = now_ms(store);
        loop {
            let uid = self.leases.take_alarm(now_ms)?;
            let Some((db, name)) = self.places.at(uid).cloned() else { continue };
            let mut ground = Ground { store: &mut *store, effects: &mut *effects, db };
            let Ok(Some(tree)) = ground.tree(&name) else { continue };
            if let Some((_, id)) = tree.first_lease_due().filter(|(due_ms, _)| *due_ms <= now_ms) {
                let ttl_ms = tree.lease(id).map_or(0, |lease| lease.ttl_ms());
                let heard_ms = self.leases.owners.get(&(uid, id)).map_or(0, |client| heard(*client));
                let due_ms = heard_ms.saturating_add(ttl_ms);
                if due_ms > now_ms {
                    self.put_off(&mut ground, &name, id, due_ms);
                } else {
                    self.end_lease(&mut ground, &name, id);
                }
            }
            if let Ok(Some(tree)) = ground.tree(&name) {
                self.leases.plan(uid, tree);
            }
            return Some(db);
        }
    }

    fn end_lease(&mut self, ground: &mut Ground<'_>, store: &[u8], id: LeaseId) {
        if self.write(ground, store, |writer| end(writer, id)).is_err() {
            // There are no revisions left: it is not to be looked at over and over.
            let again_ms = ground.now_ms().saturating_add(LEASE_MS_MAX);
            self.put_off(ground, store, id, again_ms);
        }
        self.lease_ended(ground, store, id);
    }

    fn put_off(&mut self, ground: &mut Ground<'_>, store: &[u8], id: LeaseId, due_ms: u64) {
        let key = ground.store.key(store);
        if let Some(mut entry) = ground.store.db(ground.db).get_mut(key)
            && let Some(mut tree) = entry.value_mut_unheard().tree_mut()
        {
            tree.keep_alive(id, due_ms);
        }
    }
}
