//! Stores of the registry that have appeared or gone, for the room that knows where they are: as with queues and exchanges
//! ([`broker`](super::broker)).

use super::{Env, Kind};

/// What has happened to a store of the registry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RegistryChange {
    /// One is at a key. It may have been at another one before.
    Appeared {
        /// The database.
        db: usize,
        /// The key.
        name: Box<[u8]>,
    },
    /// One is gone.
    Gone {
        /// Its number.
        uid: u64,
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

/// Whether a value is a store of the registry.
#[inline]
pub(super) fn is_of_registry(kind: Kind) -> bool {
    kind == Kind::Tree
}

impl Env {
    /// Something has happened to whole databases. Where there never was a store, nobody has to know.
    pub(super) fn note_databases(&mut self, change: RegistryChange) {
        if self.has_had_trees {
            self.registry_changes.push(change);
        }
    }
}

impl super::Store {
    /// Whether stores of the registry have appeared or gone since [`Store::take_registry_changes`](super::Store::take_registry_changes).
    #[inline]
    pub fn has_registry_changes(&self) -> bool {
        !self.env.registry_changes.is_empty()
    }

    /// What has happened to stores of the registry since the last call, in order.
    pub fn take_registry_changes(&mut self) -> Vec<RegistryChange> {
        std::mem::take(&mut self.env.registry_changes)
    }

    /// Says how many keys of a database hold stores of the registry.
    pub fn set_registry_keys(&mut self, db: usize, keys: usize) {
        if let Some(database) = self.databases.get_mut(db) {
            database.meta.registry_keys = keys;
        }
    }
}
