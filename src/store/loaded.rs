//! Putting what was read from a file where it belongs: the way of very many keys, none of which is expected to be there.

use super::db::{Db, Key};
use super::expiry::Deadlines;
use super::snapshot::keep_old;
use super::{Measure, NewValue};
use weir_structs::keyspace::{KeyHasher, Keyspace};

/// What a file has of a key.
#[derive(Debug)]
pub struct LoadedKey<'a> {
    /// The value.
    pub value: NewValue<'a>,
    /// When it expires, in Unix milliseconds.
    pub expire_at_ms: Option<i64>,
    /// For how many seconds nobody had used it.
    pub idle_s: Option<u64>,
    /// How often it was used, as LFU counts.
    pub frequency: Option<u8>,
}

/// A table that is as large as it has to be: made on another thread, since that takes its time.
#[derive(Debug)]
pub struct Room(Box<Keyspace>);

impl Room {
    /// For so many keys. `hasher` is that of the store.
    pub fn for_keys(hasher: KeyHasher, keys: usize) -> Room {
        Room(Box::new(Keyspace::with_capacity(hasher, keys)))
    }
}

impl Db<'_> {
    /// Takes a table into use, if the database is empty and nobody walks over it.
    pub fn use_room(self, room: Room) {
        if self.keys.is_empty() && self.meta.walk.is_none() {
            *self.keys = *room.0;
        }
    }

    /// Puts a value at a key. `false`, and nothing done, if the key is there.
    #[inline]
    pub fn put_loaded(self, key: Key<'_>, loaded: LoadedKey<'_>) -> bool {
        if self.keys.get(key.position, key.name).is_some() {
            return false;
        }
        keep_old(self.keys, self.meta, self.env, key.position);
        let access = &self.env.access;
        let clock = access.with(loaded.idle_s, loaded.frequency).unwrap_or_else(|| access.fresh());
        let deadline = loaded.expire_at_ms;
        let entry = self.keys.insert(key.position, key.name, loaded.value, deadline, clock);
        let entry = entry.as_ref();
        let deadlines = Deadlines { key: deadline, ..Deadlines::inside(entry) };
        self.meta.resized(Measure::NOTHING, self.env.measure(entry));
        self.env.note_value(entry.kind(), self.index, key.name);
        self.meta.changed(&mut self.env.changed, key, Deadlines::default(), deadlines);
        true
    }
}
