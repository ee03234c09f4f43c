//! A hash table that grows by splitting one part of bounded size, never as a whole.
//!
//! ```text
//!  directory   [ 0 | 1 | 0 | 2 ]      by the upper bits of the hash
//!                │   │   │   └──► part 2   at depth 2: all whose two bits are 11
//!                │   └───│──────► part 1   at depth 2
//!                └───────┴──────► part 0   at depth 1
//! ```
//!
//! A part that is full goes into two by one bit more; where the directory does not tell that bit yet, it doubles, which
//! copies four bytes a part. So no insertion takes longer than moving [`PART_ITEMS_MAX`] items. The bits of the directory
//! are not those that choose a place within a part.
//!
//! What must stay true: each item is in the part that the directory has for its hash.

use hashbrown::HashTable;

/// How many items a part holds before it is split.
const PART_ITEMS_MAX: usize = 2048;

/// How far parts are told apart: items beyond that share a part even if it is too large, which takes as many equal hashes.
const DEPTH_MAX: u32 = 22;

/// The lowest bit of a hash that chooses a part. Places within a part are chosen by the bits below, and the highest seven
/// tell items at one place apart.
const PART_BITS_FROM: u32 = 30;

/// Items by their hashes; hashing and comparing are the caller's.
#[derive(Clone, Debug)]
pub(crate) struct SplitTable<T> {
    /// Indexes of parts; 2 to the power of `depth` of them.
    directory: Vec<u32>,
    depth: u32,
    parts: Vec<Part<T>>,
    len: usize,
    /// Allocated by the parts.
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Part<T> {
    depth: u32,
    items: HashTable<T>,
}

impl<T> Default for SplitTable<T> {
    fn default() -> SplitTable<T> {
        SplitTable { directory: Vec::new(), depth: 0, parts: Vec::new(), len: 0, bytes: 0 }
    }
}

impl<T> SplitTable<T> {
    /// Number of items.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes on the heap, without what the items own. O(1).
    pub(crate) fn memory_bytes(&self) -> usize {
        self.directory.capacity() * size_of::<u32>() + self.parts.capacity() * size_of::<Part<T>>() + self.bytes
    }

    /// The item with a hash that is meant.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is_meant: impl FnMut(&T) -> bool) -> Option<&T> {
        let part = *self.directory.get(place(hash, self.depth))?;
        self.parts[part as usize].items.find(hash, is_meant)
    }

    /// The same, to be changed.
    pub(crate) fn find_mut(&mut self, hash: u64, is_meant: impl FnMut(&T) -> bool) -> Option<&mut T> {
        let part = *self.directory.get(place(hash, self.depth))?;
        self.parts[part as usize].items.find_mut(hash, is_meant)
    }

    /// Adds an item that is not there. `hash_of` gives the hash of any item.
    pub(crate) fn insert(&mut self, hash: u64, item: T, hash_of: impl Fn(&T) -> u64) {
        if self.directory.is_empty() {
            self.directory.push(0);
            self.parts.push(Part { depth: 0, items: HashTable::new() });
        }
        let mut at = self.directory[place(hash, self.depth)] as usize;
        while self.parts[at].items.len() >= PART_ITEMS_MAX && self.parts[at].depth < DEPTH_MAX {
            self.split(at, &hash_of);
            at = self.directory[place(hash, self.depth)] as usize;
        }
        let items = &mut self.parts[at].items;
        self.bytes -= items.allocation_size();
        items.insert_unique(hash, item, hash_of);
        self.bytes += items.allocation_size();
        self.len += 1;
    }

    /// Removes the item that is meant.
    pub(crate) fn remove(
        &mut self,
        hash: u64,
        is_meant: impl FnMut(&T) -> bool,
        hash_of: impl Fn(&T) -> u64,
    ) -> Option<T> {
        let part = *self.directory.get(place(hash, self.depth))?;
        let items = &mut self.parts[part as usize].items;
        let (item, _) = items.find_entry(hash, is_meant).ok()?.remove();
        self.len -= 1;
        if self.len == 0 {
            *self = SplitTable::default();
        } else if items.len() < items.capacity() / 8 {
            self.bytes -= items.allocation_size();
            items.shrink_to(items.len() * 2, hash_of);
            self.bytes += items.allocation_size();
        }
        Some(item)
    }

    /// Makes two of a part.
    fn split(&mut self, at: usize, hash_of: impl Fn(&T) -> u64) {
        let new = self.parts.len();
        let part = &mut self.parts[at];
        part.depth += 1;
        let depth = part.depth;
        if depth > self.depth {
            self.directory = self.directory.iter().flat_map(|&part| [part, part]).collect();
            self.depth = depth;
        }
        self.bytes -= part.items.allocation_size();
        // Half of them, and a few more.
        let room = part.items.len() / 2 + part.items.len() / 8;
        let (mut stay, mut go) = (HashTable::with_capacity(room), HashTable::with_capacity(room));
        for item in std::mem::take(&mut part.items) {
            let hash = hash_of(&item);
            let to = if place(hash, depth) & 1 == 0 { &mut stay } else { &mut go };
            to.insert_unique(hash, item, &hash_of);
        }
        self.bytes += stay.allocation_size() + go.allocation_size();
        part.items = stay;
        self.parts.push(Part { depth, items: go });
        let further_bits = self.depth - depth;
        for (place, part) in self.directory.iter_mut().enumerate() {
            if *part as usize == at && (place >> further_bits) & 1 == 1 {
                *part = new as u32;
            }
        }
    }
}

/// Where a hash is in a directory of so many bits.
#[inline]
fn place(hash: u64, depth: u32) -> usize {
    let bits = (hash >> PART_BITS_FROM) as u32 & ((1 << DEPTH_MAX) - 1);
    (bits >> (DEPTH_MAX - depth)) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::testing::Rng;

    fn mixed(key: u64) -> u64 {
        Rng::new(key).next()
    }

    fn check(table: &SplitTable<(u64, u64)>, model: &HashMap<u64, u64>) {
        assert_eq!(table.len(), model.len());
        assert_eq!(table.bytes, table.parts.iter().map(|part| part.items.allocation_size()).sum::<usize>());
        for (&key, &value) in model {
            assert_eq!(table.find(mixed(key), |item| item.0 == key), Some(&(key, value)));
        }
    }

    #[test]
    fn it_holds_what_a_map_holds() {
        let mut rng = Rng::new(1);
        let (mut table, mut model) = (SplitTable::default(), HashMap::new());
        for round in 0..6 {
            for _ in 0..20_000 {
                let key = rng.below(40_000) as u64;
                let add = rng.below(10) < if round % 2 == 0 { 8 } else { 2 };
                if add && model.insert(key, round).is_none() {
                    table.insert(mixed(key), (key, round), |item| mixed(item.0));
                } else if add {
                    table.find_mut(mixed(key), |item| item.0 == key).unwrap().1 = round;
                } else {
                    let removed = table.remove(mixed(key), |item| item.0 == key, |item| mixed(item.0));
                    assert_eq!(removed.map(|(_, value)| value), model.remove(&key));
                }
            }
            check(&table, &model);
        }
        for key in model.keys() {
            table.remove(mixed(*key), |item| item.0 == *key, |item| mixed(item.0));
        }
        assert_eq!((table.len(), table.memory_bytes()), (0, 0));
    }

    #[test]
    fn no_part_is_larger_than_its_limit() {
        let mut table = SplitTable::default();
        for key in 0..100_000 {
            table.insert(mixed(key), (key, 0), |item| mixed(item.0));
        }
        assert!(table.parts.iter().all(|part| part.items.len() <= PART_ITEMS_MAX));
        assert!(table.parts.len() < 4 * 100_000 / PART_ITEMS_MAX);
    }

    #[test]
    fn equal_hashes_find_their_items() {
        let mut table = SplitTable::default();
        for key in 0..3000 {
            table.insert(7, (key, 0), |_| 7);
        }
        assert!((0..3000).all(|key| table.find(7, |item: &(u64, u64)| item.0 == key).is_some()));
    }
}
