//! Where stores are: by name, and by the number that a value keeps when its key is renamed.

use hashbrown::HashMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use weir_structs::tree::Revision;

/// A key of a database.
pub(super) type At = (usize, Arc<[u8]>);

/// What is known of a store beside what is in it.
#[derive(Debug)]
pub(super) struct Place {
    /// The number of the value.
    pub(super) uid: u64,
    /// Something was written to it in the unit that is not over.
    pub(super) is_open: bool,
    /// When its history is to be looked at next, in Unix ms.
    trim_ms: Option<u64>,
}

/// All stores that are there.
#[derive(Debug, Default)]
pub(super) struct Places {
    by_name: Vec<HashMap<Arc<[u8]>, Place>>,
    by_uid: HashMap<u64, At>,
    trims: BTreeSet<(u64, u64)>,
    last_uid: u64,
}

impl Places {
    /// A number that no value has had.
    pub(super) fn new_uid(&mut self) -> u64 {
        self.last_uid += 1;
        self.last_uid
    }

    pub(super) fn get_mut(&mut self, db: usize, name: &[u8]) -> Option<&mut Place> {
        self.by_name.get_mut(db)?.get_mut(name)
    }

    /// Where a value is.
    pub(super) fn at(&self, uid: u64) -> Option<&At> {
        self.by_uid.get(&uid)
    }

    /// A value is at a key from now on. Gives where it was before.
    pub(super) fn put(&mut self, uid: u64, db: usize, name: &[u8]) -> Option<At> {
        if self.by_uid.get(&uid).is_some_and(|(known_db, known)| *known_db == db && **known == *name) {
            return None;
        }
        let (moved, known) = self.take(uid).unzip();
        if self.by_name.len() <= db {
            self.by_name.resize_with(db + 1, HashMap::new);
        }
        let name: Arc<[u8]> = name.into();
        self.by_uid.insert(uid, (db, Arc::clone(&name)));
        if let Some(names) = self.by_name.get_mut(db) {
            let place = known.flatten().unwrap_or(Place { uid, is_open: false, trim_ms: None });
            names.insert(name, place);
        }
        moved
    }

    /// A value is gone. Gives where it was.
    pub(super) fn remove(&mut self, uid: u64) -> Option<At> {
        let (at, place) = self.take(uid)?;
        if let Some(place) = place {
            self.forget_trim(&place);
        }
        Some(at)
    }

    /// Takes out a value: where it was, and what is known of it unless another one is there by now.
    fn take(&mut self, uid: u64) -> Option<(At, Option<Place>)> {
        let at = self.by_uid.remove(&uid)?;
        let names = self.by_name.get_mut(at.0);
        let place = names.filter(|names| names.get(&at.1).is_some_and(|place| place.uid == uid));
        let place = place.and_then(|names| names.remove(&at.1));
        Some((at, place))
    }

    fn forget_trim(&mut self, place: &Place) {
        if let Some(at_ms) = place.trim_ms {
            self.trims.remove(&(at_ms, place.uid));
        }
    }

    /// Its history is to be looked at, unless it will be sooner.
    pub(super) fn set_trim(&mut self, uid: u64, at_ms: u64) {
        let Places { by_name, by_uid, trims, .. } = self;
        let Some((db, name)) = by_uid.get(&uid) else { return };
        let Some(place) = by_name.get_mut(*db).and_then(|names| names.get_mut(name)) else { return };
        if place.trim_ms.is_some_and(|known_ms| known_ms <= at_ms) {
            return;
        }
        if let Some(known_ms) = place.trim_ms.replace(at_ms) {
            trims.remove(&(known_ms, uid));
        }
        trims.insert((at_ms, uid));
    }

    /// When the first history is to be looked at, in Unix ms.
    pub(super) fn next_trim_ms(&self) -> Option<u64> {
        self.trims.first().map(|(ms, _)| *ms)
    }

    /// A store whose history is to be looked at by now.
    pub(super) fn take_trim(&mut self, now_ms: u64) -> Option<At> {
        let &(ms, uid) = self.trims.first()?;
        if ms > now_ms {
            return None;
        }
        self.trims.remove(&(ms, uid));
        let at = self.by_uid.get(&uid)?.clone();
        if let Some(place) = self.get_mut(at.0, &at.1) {
            place.trim_ms = None;
        }
        Some(at)
    }

    /// All stores.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, &At)> {
        self.by_uid.iter().map(|(uid, at)| (*uid, at))
    }

    /// Stores of a database.
    pub(super) fn in_database(&self, db: usize) -> usize {
        self.by_name.get(db).map_or(0, HashMap::len)
    }

    /// Databases that have or had some.
    pub(super) fn databases(&self) -> usize {
        self.by_name.len()
    }

    /// Forgets all stores of a database. Gives their names.
    pub(super) fn flush(&mut self, db: usize) -> Vec<Arc<[u8]>> {
        let Some(names) = self.by_name.get_mut(db).map(std::mem::take) else { return Vec::new() };
        for place in names.values() {
            self.forget_trim(place);
            self.by_uid.remove(&place.uid);
        }
        names.into_keys().collect()
    }

    /// Two databases have changed places. Gives the stores that are in the one and in the other now.
    pub(super) fn swap(&mut self, a: usize, b: usize) {
        if self.by_name.len() <= a.max(b) {
            self.by_name.resize_with(a.max(b) + 1, HashMap::new);
        }
        self.by_name.swap(a, b);
        for db in [a, b] {
            for (name, place) in self.by_name.get(db).into_iter().flatten() {
                self.by_uid.insert(place.uid, (db, Arc::clone(name)));
            }
        }
    }
}

/// A store that something was written to in a unit.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) uid: u64,
    /// The revision of the unit.
    pub(super) revision: Revision,
}
