//! Queues and exchanges that have appeared or gone, for the room that knows where they are.
//!
//! They are values of keys, and any command may put one somewhere or remove it: so the store notes it at its choke points.
//! Who has none pays for a comparison.

use super::registry::is_of_registry;
use super::{Big, Env, Kind, RegistryChange};
use weir_structs::exchange::Target;
use weir_structs::queue::Figures;

/// What has happened to a queue or an exchange.
#[derive(Clone, PartialEq, Debug)]
pub enum BrokerChange {
    /// One is at a key. It may have been at another one before.
    Appeared {
        /// The database.
        db: usize,
        /// The key.
        name: Box<[u8]>,
    },
    /// A queue is gone.
    GoneQueue {
        /// Its number.
        uid: u64,
        /// What was in it.
        figures: Figures,
    },
    /// An exchange is gone.
    GoneExchange {
        /// Its number.
        uid: u64,
        /// Where its bindings led.
        destinations: Vec<(Target, Box<[u8]>)>,
    },
    /// A database was emptied.
    Flushed {
        /// The database.
        db: usize,
    },
    /// Two databases have exchanged their contents.
    Swapped {
        /// One.
        a: usize,
        /// The other.
        b: usize,
    },
}

/// Whether a value is one of the broker.
#[inline]
pub(super) fn is_of_broker(kind: Kind) -> bool {
    matches!(kind, Kind::Queue | Kind::Exchange)
}

impl Env {
    /// A value is at a key from now on.
    #[inline]
    pub(super) fn note_value(&mut self, kind: Kind, db: usize, name: &[u8]) {
        if is_of_broker(kind) {
            self.broker_changes.push(BrokerChange::Appeared { db, name: name.into() });
        } else if is_of_registry(kind) {
            self.has_had_trees = true;
            self.registry_changes.push(RegistryChange::Appeared { db, name: name.into() });
        }
    }

    /// A big value is gone.
    #[inline]
    pub(super) fn note_gone(&mut self, big: &Big) {
        match big {
            Big::Queue(queue) => {
                self.broker_changes.push(BrokerChange::GoneQueue { uid: queue.uid(), figures: queue.figures() });
            }
            Big::Exchange(exchange) => {
                let destinations = exchange.destinations().map(|(target, name)| (target, name.into())).collect();
                self.broker_changes.push(BrokerChange::GoneExchange { uid: exchange.uid(), destinations });
            }
            Big::Tree(tree) => self.registry_changes.push(RegistryChange::Gone { uid: tree.uid() }),
            _ => {}
        }
    }
}

impl super::Store {
    /// Whether queues or exchanges have appeared or gone since [`Store::take_broker_changes`](super::Store::take_broker_changes).
    #[inline]
    pub fn has_broker_changes(&self) -> bool {
        !self.env.broker_changes.is_empty()
    }

    /// What has happened to queues and exchanges since the last call, in order.
    pub fn take_broker_changes(&mut self) -> Vec<BrokerChange> {
        std::mem::take(&mut self.env.broker_changes)
    }

    /// Says how many keys of a database hold queues and exchanges.
    pub fn set_broker_keys(&mut self, db: usize, keys: usize) {
        if let Some(database) = self.databases.get_mut(db) {
            database.meta.broker_keys = keys;
        }
    }

    /// Says whether a key must keep its name: something leads to it, or somebody consumes it.
    pub fn hold_name(&mut self, db: usize, name: &[u8], holds: bool) {
        let position = self.key(name).position;
        if holds {
            self.env.held_names.insert((db, position));
        } else {
            self.env.held_names.remove(&(db, position));
        }
    }

    /// Whether it must. A key that shares its position in hash space with one that must is held as well.
    pub fn holds_name(&self, db: usize, key: super::Key<'_>) -> bool {
        !self.env.held_names.is_empty() && self.env.held_names.contains(&(db, key.position))
    }

    /// Has something freed elsewhere.
    pub fn discard_elsewhere(&mut self, what: Box<dyn Send>) {
        self.env.discard(super::Garbage::Kept(what), 0);
    }
}
