//! Which queues have too many bodies in memory, and which wait for one that is not.
//!
//! A queue that has more than `mq-page-after` bytes of bodies in memory is *long*: bodies of it are chosen here, moved by whoever
//! drives the broker, and their parcels exchanged. A queue whose next message has a body that is not near is *far*: nothing is
//! handed out of it until something was brought near.

use super::Broker;
use crate::command::effects::Effects;
use crate::command::ground::Ground;
use crate::store::Store;
use hashbrown::{HashMap, HashSet};
use std::collections::BTreeSet;
use std::mem::take;
use std::sync::Arc;
use weir_structs::queue::{BodyPlace, MessageId, Parcel, ToMove};

/// Messages that are looked at before others have their turn.
const LOOK: usize = 512;
/// Bytes of bodies that are moved at once.
const MOVE_BYTES: u64 = 1024 * 1024;
/// Parcels of several queues that are remembered after one of these has had its body moved.
const SHARED_MAX: usize = 65_536;
/// A message whose body cannot be read is tried again after so many ms.
pub(super) const UNREADABLE_MS: u64 = 60_000;

/// What is known of bodies in memory and elsewhere.
#[derive(Debug)]
pub(super) struct Bodies {
    /// A queue is long with more bytes than this in memory.
    after: u64,
    /// Databases and numbers of queues that are.
    long: BTreeSet<(usize, u64)>,
    /// Long queues of which bodies are being moved.
    moving: BTreeSet<(usize, u64)>,
    /// Parcels of several queues of which one is having its body moved, by where they are in memory.
    in_flight: HashSet<usize>,
    /// Long queues that wait for such a move.
    postponed: BTreeSet<(usize, u64)>,
    /// Queues that wait for a body.
    far: BTreeSet<(usize, u64)>,
    /// What several queues have, by where it is in memory, beside the same with its body elsewhere.
    shared: HashMap<usize, (Parcel, Parcel)>,
    /// With so many of them, those that are shared no more are forgotten.
    shared_trim: usize,
}

impl Default for Bodies {
    fn default() -> Bodies {
        Bodies {
            after: u64::MAX,
            long: BTreeSet::new(),
            moving: BTreeSet::new(),
            in_flight: HashSet::new(),
            postponed: BTreeSet::new(),
            far: BTreeSet::new(),
            shared: HashMap::new(),
            shared_trim: 64,
        }
    }
}

impl Bodies {
    /// A queue has so many bytes of bodies in memory.
    #[inline]
    pub(super) fn note(&mut self, db: usize, uid: u64, bytes: u64) {
        if bytes > self.after && !self.moving.contains(&(db, uid)) {
            self.long.insert((db, uid));
        }
    }

    /// The next message of a queue has a body that is not near.
    #[cold]
    pub(super) fn note_far(&mut self, db: usize, uid: u64) {
        self.far.insert((db, uid));
    }
}

/// What a look at a long queue led to.
enum Choice {
    Messages(ToMove),
    /// Another queue's move of the same bodies is under way.
    Later,
}

/// Messages whose bodies should go.
#[derive(Debug)]
pub struct LongQueue {
    /// Its database.
    pub db: usize,
    /// Its number.
    pub uid: u64,
    /// Which they are.
    pub messages: Vec<(MessageId, Parcel)>,
}

impl Broker {
    /// From how many bytes of bodies in memory on a queue is long; `None` if none ever is. Bodies that are elsewhere stay there.
    pub fn set_page_after(&mut self, bytes: Option<u64>) {
        let after = bytes.unwrap_or(u64::MAX);
        if std::mem::replace(&mut self.bodies.after, after) == after {
            return;
        }
        if bytes.is_none() {
            self.bodies.long.clear();
            return;
        }
        for (db, places) in self.databases.iter().enumerate() {
            self.bodies.long.extend(places.queue_uids().map(|uid| (db, uid)));
        }
    }

    /// Whether there is a queue of which bodies should go.
    #[inline]
    pub fn has_long_queues(&self) -> bool {
        !self.bodies.long.is_empty()
    }

    /// Bodies of the next long queue that should go: about a mebibyte. `None` if nothing was found in this step, which looks at a few
    /// hundred messages.
    pub fn next_to_move(&mut self, store: &mut Store, effects: &mut Effects) -> Option<LongQueue> {
        let (db, uid) = self.bodies.long.pop_first()?;
        let name = Arc::clone(&self.places(db).get(uid)?.name);
        let keep = self.bodies.after - self.bodies.after / 8;
        let mut ground = Ground { store, effects, db };
        let key = ground.store.key(&name);
        let (shared, in_flight) = (take(&mut self.bodies.shared), take(&mut self.bodies.in_flight));
        let found = self.change(&mut ground, key, |queue| {
            let figures = queue.figures();
            if figures.bytes - figures.away_bytes <= keep {
                return (false, Choice::Messages(ToMove::default()));
            }
            let mut found = queue.to_move(keep, MOVE_BYTES, LOOK);
            if found.messages.iter().any(|(_, parcel)| in_flight.contains(&parcel.address())) {
                queue.put_back(&found);
                return (false, Choice::Later);
            }
            // Two have it that are not somebody else: the queue, and what was found. Where others' bodies were good for it,
            // there may be more to be found at once.
            let mut messages = take(&mut found.messages);
            messages.retain(|(id, parcel)| {
                let others = parcel.shared_by() > 2;
                let moved = if others { shared.get(&parcel.address()) } else { None };
                let exchanged = moved.is_some_and(|(_, away)| queue.exchange_parcel(*id, parcel, away.clone()));
                found.more |= exchanged;
                !exchanged
            });
            found.messages = messages;
            (false, Choice::Messages(found))
        });
        (self.bodies.shared, self.bodies.in_flight) = (shared, in_flight);
        // A change of a long queue makes it one again; what was found now is what there is to be done about it.
        self.bodies.long.remove(&(db, uid));
        let ToMove { messages, more, .. } = match found {
            Ok(Some(Choice::Messages(found))) => found,
            Ok(Some(Choice::Later)) => {
                self.bodies.postponed.insert((db, uid));
                return None;
            }
            Ok(None) | Err(_) => return None,
        };
        if messages.is_empty() {
            if more {
                self.bodies.long.insert((db, uid));
            }
            return None;
        }
        let shared = messages.iter().filter(|(_, parcel)| parcel.shared_by() > 2);
        self.bodies.in_flight.extend(shared.map(|(_, parcel)| parcel.address()));
        self.bodies.moving.insert((db, uid));
        Some(LongQueue { db, uid, messages })
    }

    /// Bodies were moved: from now on the queue has them there. `None` for places if that failed: they stay.
    pub fn moved(
        &mut self,
        store: &mut Store,
        effects: &mut Effects,
        queue: LongQueue,
        places: Option<Vec<BodyPlace>>,
    ) {
        let LongQueue { db, uid, messages } = queue;
        self.bodies.moving.remove(&(db, uid));
        for (_, parcel) in &messages {
            self.bodies.in_flight.remove(&parcel.address());
        }
        let postponed = take(&mut self.bodies.postponed);
        self.bodies.long.extend(postponed);
        // It may be in another database by now.
        let at =
            self.databases.iter().enumerate().find_map(|(db, places)| Some((db, Arc::clone(&places.get(uid)?.name))));
        let Some((db, name)) = at else { return };
        let mut ground = Ground { store, effects, db };
        let key = ground.store.key(&name);
        let mut shared = Vec::new();
        let done = self.change(&mut ground, key, |queue| {
            match places {
                Some(places) => {
                    for ((id, parcel), place) in messages.into_iter().zip(places) {
                        let away = parcel.with_body_at(place);
                        if queue.exchange_parcel(id, &parcel, away.clone()) && parcel.shared_by() > 1 {
                            shared.push((parcel, away));
                        }
                    }
                }
                None => queue.sweep_again(),
            }
            (false, ())
        });
        if done.is_err() {
            return;
        }
        self.remember_shared(shared);
    }

    /// What other queues have as well: they need not write it again.
    fn remember_shared(&mut self, parcels: Vec<(Parcel, Parcel)>) {
        let Bodies { shared, shared_trim, .. } = &mut self.bodies;
        for (parcel, away) in parcels {
            if shared.len() >= *shared_trim {
                shared.retain(|_, (parcel, _)| parcel.shared_by() > 1);
                *shared_trim = (2 * shared.len()).max(64);
            }
            if shared.len() < SHARED_MAX {
                shared.insert(parcel.address(), (parcel, away));
            }
        }
    }

    /// Forgets what was shared by several queues and is not any more. To be called now and then. O(what is remembered).
    pub fn forget_shared_bodies(&mut self) {
        if !self.bodies.shared.is_empty() {
            self.bodies.shared.retain(|_, (parcel, _)| parcel.shared_by() > 1);
        }
    }

    /// Whether a queue waits for a body.
    #[inline]
    pub fn has_far_queues(&self) -> bool {
        !self.bodies.far.is_empty()
    }

    /// Something was brought near: who waits for a body tries again.
    pub fn bodies_are_near(&mut self, store: &mut Store, effects: &mut Effects) {
        for (db, uid) in take(&mut self.bodies.far) {
            let Some(name) = self.places(db).get(uid).map(|place| Arc::clone(&place.name)) else { continue };
            let mut ground = Ground { store: &mut *store, effects: &mut *effects, db };
            let key = ground.store.key(&name);
            if let Some(mut entry) = ground.store.db(db).get_mut(key) {
                entry.wake_waiters();
            }
            // An error says that there is no queue any more.
            let _ = self.has_news(&mut ground, &name);
        }
    }
}
