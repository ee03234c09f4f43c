//! Keys that were changed in a turn, for clients that want to hear of prefixes.
//!
//! Each key is kept once, with who changed it last, until the turn is over; then every prefix with changed keys makes one
//! message, with the keys in the order of their bytes, that all who want that prefix share.

use super::prefixes::{PrefixAt, Prefixes};
use super::table::TrackerId;
use hashbrown::HashTable;
use std::ops::Range;

#[derive(Clone, Debug)]
struct Changed {
    position: u64,
    name: Range<usize>,
    by: Option<TrackerId>,
}

/// Changed keys that have not been told.
#[derive(Debug, Default)]
pub struct Broadcast {
    names: Vec<u8>,
    keys: Vec<Changed>,
    /// Places in `keys`, by position.
    places: HashTable<usize>,
}

/// Changed keys that have one prefix.
#[derive(Debug)]
pub struct PrefixChanges {
    prefix: PrefixAt,
    /// Places of the keys, in the order of their names.
    keys: Vec<usize>,
}

impl Broadcast {
    /// Bytes of names from which on the changes should be told before the turn is over.
    pub const BYTES_MAX: usize = 1024 * 1024;

    /// Whether there is nothing to tell.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Bytes of the changed keys' names and what is kept of each.
    pub fn bytes(&self) -> usize {
        self.names.len() + self.keys.len() * size_of::<Changed>()
    }

    /// A key was changed, by a client's command or by nobody's.
    pub fn changed(&mut self, position: u64, name: &[u8], by: Option<TrackerId>) {
        let known = self.places.find(position, |&at| {
            self.keys.get(at).is_some_and(|key| key.position == position && self.names[key.name.clone()] == *name)
        });
        if let Some(key) = known.and_then(|&at| self.keys.get_mut(at)) {
            key.by = by;
            return;
        }
        let begin = self.names.len();
        self.names.extend_from_slice(name);
        let keys = &mut self.keys;
        keys.push(Changed { position, name: begin..self.names.len(), by });
        self.places.insert_unique(position, keys.len() - 1, |&at| keys[at].position);
    }

    /// Sorts the changes by prefix, and prefixes by their bytes.
    pub fn by_prefix(&self, prefixes: &Prefixes) -> Vec<PrefixChanges> {
        let mut found: Vec<(&[u8], PrefixAt, usize)> = Vec::new();
        for (at, key) in self.keys.iter().enumerate() {
            let name = &self.names[key.name.clone()];
            prefixes.of_key(name, |prefix, len| found.push((&name[..len], prefix, at)));
        }
        found.sort_unstable_by_key(|&(prefix, _, at)| (prefix, self.name(at)));
        let of_one = |found: &[(&[u8], PrefixAt, usize)]| PrefixChanges {
            prefix: found[0].1,
            keys: found.iter().map(|&(_, _, at)| at).collect(),
        };
        found.chunk_by(|a, b| a.1 == b.1).map(of_one).collect()
    }

    /// Names of the changed keys of a prefix.
    pub fn names(&self, changes: &PrefixChanges) -> Vec<&[u8]> {
        changes.keys.iter().map(|&at| self.name(at)).collect()
    }

    /// The same without those that a client has changed itself.
    pub fn names_for(&self, changes: &PrefixChanges, client: TrackerId) -> Vec<&[u8]> {
        let others = changes.keys.iter().filter(|&&at| self.keys.get(at).is_some_and(|key| key.by != Some(client)));
        others.map(|&at| self.name(at)).collect()
    }

    /// All is told. Keeps a little memory for the next time.
    pub fn clear(&mut self) {
        const KEPT: usize = 1024;
        self.names.clear();
        self.names.shrink_to(16 * KEPT);
        self.keys.clear();
        self.keys.shrink_to(KEPT);
        self.places.clear();
        self.places.shrink_to(KEPT, |_| 0);
    }

    fn name(&self, at: usize) -> &[u8] {
        self.keys.get(at).and_then(|key| self.names.get(key.name.clone())).unwrap_or_default()
    }
}

impl PrefixChanges {
    /// Which prefix it is.
    pub fn prefix(&self) -> PrefixAt {
        self.prefix
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(place: u32) -> TrackerId {
        TrackerId { place, number: place }
    }

    #[test]
    fn each_prefix_hears_of_its_keys_once_and_in_order() {
        let mut prefixes = Prefixes::default();
        prefixes.add(b"a:", id(1));
        prefixes.add(b"", id(2));
        let mut changes = Broadcast::default();
        for (position, name, by) in [
            (1, "a:2", Some(id(1))),
            (2, "b:1", None),
            (3, "a:1", Some(id(3))),
            (1, "a:2", None),
            (1, "c", Some(id(1))),
        ] {
            changes.changed(position, name.as_bytes(), by);
        }
        let by_prefix = changes.by_prefix(&prefixes);
        let found: Vec<(Vec<u32>, Vec<&[u8]>)> = by_prefix
            .iter()
            .map(|change| (prefixes.wanted_by(change.prefix()).map(|c| c.place).collect(), changes.names(change)))
            .collect();
        assert_eq!(
            found,
            [(vec![2], vec![b"a:1".as_slice(), b"a:2", b"b:1", b"c"]), (vec![1], vec![b"a:1".as_slice(), b"a:2"]),]
        );
        assert_eq!(changes.names_for(&by_prefix[0], id(1)), [b"a:1".as_slice(), b"a:2", b"b:1"]);
        assert_eq!(changes.names_for(&by_prefix[1], id(3)), [b"a:2"]);
        changes.clear();
        assert!(changes.is_empty() && changes.by_prefix(&prefixes).is_empty());
    }
}
